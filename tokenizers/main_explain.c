/* The decision which tokenizer was taken, and what it is, for people and for programs. Comes in: a
 * record; goes out: text, or JSON {"schema": "bitnet-tokenizer", "schema_version": 1, ...}. */
#include "main_find.h"

#include "bitnet/text.h"

#include <string.h>

#include <cjson/cJSON.h>

static const char *yes(bool is)
{
    return is ? "yes" : "no";
}

/* ------------------------------------------------------------------ text */

static void print_token(FILE *out, const struct bitnet_tokenizer *tokenizer, const char *label,
                        int32_t id, const char *remark)
{
    if (id < 0) return;
    fprintf(out, "  %-11s %d %s%s\n", label, (int)id,
            BITNET_QUOTE(bitnet_token_text(tokenizer, id)), remark);
}

static void print_specials(FILE *out, const struct bitnet_tokenizer *tokenizer)
{
    const struct bitnet_special_tokens *s = bitnet_tokenizer_special(tokenizer);
    fprintf(out, "special tokens\n");
    print_token(out, tokenizer, "bos", s->bos, s->add_bos ? ", put in front" : "");
    print_token(out, tokenizer, "eos", s->eos, s->add_eos ? ", put behind" : "");
    print_token(out, tokenizer, "unk", s->unk, "");
    print_token(out, tokenizer, "sep", s->sep, "");
    print_token(out, tokenizer, "pad", s->pad, "");
    for (size_t id = 0; id < bitnet_tokenizer_size(tokenizer); id++)
        if (bitnet_token_is_eog(tokenizer, (int32_t)id))
            print_token(out, tokenizer, "ends reply", (int32_t)id, "");
}

void finder_print(FILE *out, const struct bitnet_discovery *r,
                  const struct bitnet_tokenizer *tokenizer)
{
    if (tokenizer) {
        fprintf(out, "%s\n\n", r->description);
        fprintf(out, "strategy     %s\n", bitnet_strategy_name(r->strategy));
        fprintf(out, "path         %s\n", r->path);
        if (r->repository) fprintf(out, "repository   %s\n", r->repository);
        fprintf(out, "network      %s\n", r->requires_network ? "downloaded" : "not needed");
        fprintf(out, "cache        %s\n", yes(r->uses_cache));
        fprintf(out, "tokens       %zu%s\n", r->n_tokens, r->large_vocab ? " (large)" : "");
        if (r->n_rows) fprintf(out, "model rows   %zu\n", r->n_rows);
        fprintf(out, "template     %s\n", bitnet_chat_template(tokenizer).n ? "yes" : "none");
        print_specials(out, tokenizer);
    }
    fprintf(out, "looked at\n");
    for (size_t i = 0; i < r->n_attempts; i++)
        fprintf(out, "  %-11s %s: %s\n", bitnet_strategy_name(r->attempts[i].strategy),
                r->attempts[i].place, r->attempts[i].outcome);
    for (size_t i = 0; i < r->n_warnings; i++) fprintf(out, "warning      %s\n", r->warnings[i]);
}

/* ------------------------------------------------------------------ JSON */

static bool add_text(cJSON *node, const char *key, const char *text)
{
    return text ? cJSON_AddStringToObject(node, key, text) != NULL
                : cJSON_AddNullToObject(node, key) != NULL;
}

static bool add_id(cJSON *node, const char *key, int32_t id)
{
    return id < 0 ? cJSON_AddNullToObject(node, key) != NULL
                  : cJSON_AddNumberToObject(node, key, id) != NULL;
}

static bool add_decision(cJSON *root, const struct bitnet_discovery *r,
                         const struct bitnet_tokenizer *tokenizer)
{
    return add_text(root, "description", r->description) &&
           add_text(root, "strategy", bitnet_strategy_name(r->strategy)) &&
           add_text(root, "path", r->path) && add_text(root, "repository", r->repository) &&
           cJSON_AddBoolToObject(root, "requires_network", r->requires_network) &&
           cJSON_AddBoolToObject(root, "uses_cache", r->uses_cache) &&
           cJSON_AddBoolToObject(root, "is_guess", r->is_guess) &&
           cJSON_AddBoolToObject(root, "large_vocab", r->large_vocab) &&
           cJSON_AddNumberToObject(root, "tokens", (double)r->n_tokens) &&
           cJSON_AddNumberToObject(root, "rows", (double)r->n_rows) &&
           add_text(root, "pre", bitnet_tokenizer_pre(tokenizer)) &&
           cJSON_AddBoolToObject(root, "chat_template", bitnet_chat_template(tokenizer).n > 0);
}

static bool add_specials(cJSON *root, const struct bitnet_tokenizer *tokenizer)
{
    const struct bitnet_special_tokens *s = bitnet_tokenizer_special(tokenizer);
    cJSON *node = cJSON_AddObjectToObject(root, "special");
    bool ok = node && add_id(node, "bos", s->bos) && add_id(node, "eos", s->eos) &&
              add_id(node, "eot", s->eot) && add_id(node, "unk", s->unk) &&
              add_id(node, "sep", s->sep) && add_id(node, "pad", s->pad) &&
              cJSON_AddBoolToObject(node, "add_bos", s->add_bos) &&
              cJSON_AddBoolToObject(node, "add_eos", s->add_eos);
    cJSON *list = ok ? cJSON_AddArrayToObject(node, "end_of_generation") : NULL;
    for (size_t id = 0; list && ok && id < bitnet_tokenizer_size(tokenizer); id++)
        if (bitnet_token_is_eog(tokenizer, (int32_t)id)) {
            cJSON *number = cJSON_CreateNumber((double)id);
            ok = number && cJSON_AddItemToArray(list, number);
        }
    return ok && list;
}

static bool add_search(cJSON *root, const struct bitnet_discovery *r)
{
    cJSON *attempts = cJSON_AddArrayToObject(root, "attempts");
    cJSON *warnings = cJSON_AddArrayToObject(root, "warnings");
    bool ok = attempts && warnings;
    for (size_t i = 0; i < r->n_attempts && ok; i++) {
        cJSON *node = cJSON_CreateObject();
        ok = node && cJSON_AddItemToArray(attempts, node) &&
             add_text(node, "strategy", bitnet_strategy_name(r->attempts[i].strategy)) &&
             add_text(node, "place", r->attempts[i].place) &&
             add_text(node, "outcome", r->attempts[i].outcome) &&
             cJSON_AddBoolToObject(node, "taken", r->attempts[i].is_taken);
    }
    for (size_t i = 0; i < r->n_warnings && ok; i++) {
        cJSON *text = cJSON_CreateString(r->warnings[i]);
        ok = text && cJSON_AddItemToArray(warnings, text);
    }
    return ok;
}

bool finder_print_json(FILE *out, const struct bitnet_discovery *r,
                       const struct bitnet_tokenizer *tokenizer)
{
    cJSON *root = cJSON_CreateObject();
    bool ok = root && add_text(root, "schema", "bitnet-tokenizer") &&
              cJSON_AddNumberToObject(root, "schema_version", 1) &&
              (!tokenizer || (add_decision(root, r, tokenizer) && add_specials(root, tokenizer))) &&
              add_search(root, r);
    char *text = ok ? cJSON_Print(root) : NULL;
    if (text) fprintf(out, "%s\n", text);
    ok = text != NULL;
    cJSON_free(text);
    cJSON_Delete(root);
    return ok;
}
