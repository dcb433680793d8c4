/* A tokenizer from a tokenizer.json. Comes in: its text; goes out: a tokenizer that follows Hugging
 * Face's rules, whose tokens have the types that a GGUF needs. Source: tokenizers.md sections 11
 * and 13; limits: reliability.md section 4. Ids must be dense and spellings different; nothing that
 * changes ids is skipped. */
#include "added.h"
#include "hf.h"
#include "json_text.h"
#include "sources.h"

#include <bitnet/alloc.h>

#include <inttypes.h>

#define MAX_JSON_BYTES ((size_t)128 << 20)
#define MAX_ADDED      65536u

struct entry {
    struct bitnet_str model;         /* spelling in the model's vocabulary; NULL: it is not there */
    double score;                    /* Unigram */
    const struct bitnet_json *added; /* in added_tokens */
};

struct source {
    const struct json_parts *parts;
    struct bitnet_tokenizer *tokenizer;
    struct entry *entries; /* [n_entries] by id */
    size_t n_entries;
    struct bitnet_error *err;
};

/* ------------------------------------------------------------------ vocabulary */

static enum bitnet_status bad_id(struct source *source, struct bitnet_str token,
                                 const struct bitnet_json *id)
{
    bool has_text = id->kind == BITNET_JSON_NUMBER || id->kind == BITNET_JSON_STRING;
    return bitnet_fail(source->err, BITNET_FORMAT,
                       "line %" PRIu32 ": token %s: id %s (allowed 0 to %u)", id->line,
                       BITNET_QUOTE(token), has_text ? BITNET_QUOTE(id->text) : "is no number",
                       VOCAB_MAX_TOKENS - 1);
}

/* Ids are dense, so none can reach the number of entries. */
static enum bitnet_status entry_of(struct source *source, struct bitnet_str token,
                                   const struct bitnet_json *id, struct entry **entry)
{
    uint64_t value;
    if (id->kind != BITNET_JSON_NUMBER || !bitnet_json_as_u64(id, &value) ||
        value >= VOCAB_MAX_TOKENS)
        return bad_id(source, token, id);
    if (value >= source->n_entries)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "token %s: id %" PRIu64
                           ", but there are only %zu tokens: ids have a hole",
                           BITNET_QUOTE(token), value, source->n_entries);
    *entry = &source->entries[value];
    return BITNET_OK;
}

/* BPE, WordPiece, WordLevel: {"spelling": id, ...}. */
static enum bitnet_status place_model_tokens(struct source *source, const struct bitnet_json *vocab)
{
    for (const struct bitnet_json *token = vocab->child; token; token = token->next) {
        struct entry *entry;
        enum bitnet_status status = entry_of(source, token->key, token, &entry);
        if (status) return status;
        if (entry->model.at)
            return bitnet_fail(source->err, BITNET_FORMAT, "tokens %s and %s have the same id %.*s",
                               BITNET_QUOTE(entry->model), BITNET_QUOTE(token->key),
                               BITNET_STR_ARGS(token->text));
        entry->model = token->key;
    }
    return BITNET_OK;
}

/* Unigram: [["spelling", score], ...]; the place is the id. */
static enum bitnet_status place_scored_tokens(struct source *source,
                                              const struct bitnet_json *vocab)
{
    size_t id = 0;
    for (const struct bitnet_json *pair = vocab->child; pair; pair = pair->next, id++) {
        bool is_pair = pair->kind == BITNET_JSON_ARRAY && pair->n_children == 2;
        const struct bitnet_json *text = is_pair ? pair->child : NULL;
        const struct bitnet_json *score = is_pair ? text->next : NULL;
        struct entry *entry = &source->entries[id];
        if (!text || text->kind != BITNET_JSON_STRING || score->kind != BITNET_JSON_NUMBER ||
            !bitnet_json_as_f64(score, &entry->score))
            return bitnet_fail(source->err, BITNET_FORMAT,
                               "line %" PRIu32 ": piece %zu is no text with a score", pair->line,
                               id);
        entry->model = text->text;
    }
    return BITNET_OK;
}

/* The content of an added token, checked. */
static enum bitnet_status content_of(struct source *source, const struct bitnet_json *token,
                                     struct bitnet_str *content)
{
    enum bitnet_status status =
        bitnet_json_str(token, "content", BITNET_REQUIRED, content, source->err);
    if (status) return status;
    if (!content->n)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "line %" PRIu32 ": added token: text is empty", token->line);
    return BITNET_OK;
}

static enum bitnet_status place_added_token(struct source *source, const struct bitnet_json *token)
{
    struct bitnet_str content = {0}, other = {0};
    struct entry *entry = NULL;
    if (token->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "line %" PRIu32 ": an added token is no object", token->line);
    enum bitnet_status status = content_of(source, token, &content);
    const struct bitnet_json *id = bitnet_json_get(token, "id");
    if (!status && !id)
        return bitnet_fail(source->err, BITNET_FORMAT, "line %" PRIu32 ": added token %s has no id",
                           token->line, BITNET_QUOTE(content));
    if (!status) status = entry_of(source, content, id, &entry);
    if (status) return status;
    if (entry->model.at)
        other = entry->model;
    else if (entry->added)
        status = content_of(source, entry->added, &other);
    if (!status && other.at && !bitnet_str_equal(content, other))
        return bitnet_fail(source->err, BITNET_FORMAT, "tokens %s and %s have the same id %.*s",
                           BITNET_QUOTE(other), BITNET_QUOTE(content), BITNET_STR_ARGS(id->text));
    if (!status && !entry->added) entry->added = token;
    return status;
}

static enum bitnet_status read_flag(struct source *source, const struct bitnet_json *token,
                                    const char *name, bool *flag)
{
    return bitnet_json_bool(token, name, BITNET_OPTIONAL, flag, source->err);
}

/* Registers an added token with the cutter. */
static enum bitnet_status list_added(struct source *source, const struct bitnet_json *node,
                                     struct bitnet_str text, uint32_t id, bool *is_special)
{
    struct hf *hf = source->tokenizer->hf;
    struct special special = {.id = id, .text = text};
    bool normalized = true;
    enum bitnet_status status = read_flag(source, node, "special", is_special);
    normalized = !*is_special;
    if (!status) status = read_flag(source, node, "normalized", &normalized);
    if (!status) status = read_flag(source, node, "lstrip", &special.lstrip);
    if (!status) status = read_flag(source, node, "rstrip", &special.rstrip);
    if (!status) status = read_flag(source, node, "single_word", &special.single_word);
    if (status) return status;

    struct bitnet_buf form = {.max = 64 * (size_t)VOCAB_MAX_TOKEN_BYTES};
    bool ok = true;
    if (normalized && hf->n_normalizers) ok = hf_normalize(hf, text, &form);
    special.text = bitnet_arena_copy(&source->tokenizer->arena,
                                     form.n ? (struct bitnet_str){form.at, form.n} : text);
    ok = ok && special.text.at && special_add(normalized ? &hf->normalized : &hf->raw, special);
    bitnet_buf_free(&form);
    if (form.is_full)
        return bitnet_fail(source->err, BITNET_LIMIT, "the normalized form of %s is too long",
                           BITNET_QUOTE(text));
    return ok ? BITNET_OK : bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
}

static enum bitnet_status add_entry(struct source *source, const struct entry *entry)
{
    struct bitnet_tokenizer *tokenizer = source->tokenizer;
    uint32_t id = tokenizer->vocab.n;
    enum bitnet_token_type type = BITNET_TOKEN_NORMAL;
    struct bitnet_str text = {0};
    enum bitnet_status status = BITNET_OK;
    bool is_special = false;
    if (entry->model.at)
        text = entry->model;
    else if (entry->added)
        status = content_of(source, entry->added, &text);
    else
        return bitnet_fail(source->err, BITNET_FORMAT, "token ids have a hole at %" PRIu32, id);
    if (!status && text.n > VOCAB_MAX_TOKEN_BYTES)
        return bitnet_fail(source->err, BITNET_LIMIT, "token %" PRIu32 " has %zu bytes (limit %u)",
                           id, text.n, VOCAB_MAX_TOKEN_BYTES);
    if (!status && entry->added) {
        status = list_added(source, entry->added, text, id, &is_special);
        type = is_special || added_looks_special(text) ? BITNET_TOKEN_CONTROL : BITNET_TOKEN_USER;
    } else if (tokenizer->hf->byte_fallback && byte_of_token(text) >= 0) {
        type = BITNET_TOKEN_BYTE;
    }
    return status ? status
                  : tokenizer_add_token(tokenizer, text, type, (float)entry->score, source->err);
}

static enum bitnet_status read_tokens(struct source *source, const struct bitnet_json *vocab,
                                      const struct bitnet_json *added)
{
    enum bitnet_status status = vocab->kind == BITNET_JSON_ARRAY
                                    ? place_scored_tokens(source, vocab)
                                    : place_model_tokens(source, vocab);
    for (const struct bitnet_json *t = added ? added->child : NULL; t && !status; t = t->next)
        status = place_added_token(source, t);
    size_t n = source->n_entries;
    while (n && !source->entries[n - 1].model.at && !source->entries[n - 1].added) n--;
    for (size_t id = 0; id < n && !status; id++) status = add_entry(source, &source->entries[id]);
    struct hf *hf = source->tokenizer->hf;
    if (!status && !(special_finish(&hf->raw) && special_finish(&hf->normalized)))
        status = bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    return status;
}

/* ------------------------------------------------------------------ merges */

/* A token of the model, not one that was only added. */
static int32_t find_in_model(const struct source *source, struct bitnet_str text)
{
    int32_t id = vocab_find_token(&source->tokenizer->vocab, text);
    return id >= 0 && source->entries[id].model.at ? id : -1;
}

/* "a b" with exactly one space, or ["a", "b"]; one form throughout. */
static bool parts_of(const struct bitnet_json *merge, bool as_pairs, struct bitnet_str part[2])
{
    if (as_pairs) {
        if (merge->kind != BITNET_JSON_ARRAY || merge->n_children != 2) return false;
        const struct bitnet_json *left = merge->child, *right = left->next;
        part[0] = left->text;
        part[1] = right->text;
        return left->kind == BITNET_JSON_STRING && right->kind == BITNET_JSON_STRING;
    }
    if (merge->kind != BITNET_JSON_STRING || !merge->text.n) return false;
    const char *space = memchr(merge->text.at, ' ', merge->text.n);
    if (!space) return false;
    size_t n = (size_t)(space - merge->text.at);
    part[0] = (struct bitnet_str){merge->text.at, n};
    part[1] = (struct bitnet_str){space + 1, merge->text.n - n - 1};
    return !memchr(part[1].at, ' ', part[1].n);
}

static enum bitnet_status read_merge(struct source *source, const struct bitnet_json *merge,
                                     bool as_pairs, struct bitnet_buf *joint)
{
    struct merge_table *merges = &source->tokenizer->merges;
    struct bitnet_str part[2], prefix = source->tokenizer->hf->inner_prefix;
    uint32_t number = merges->n, id[2];
    if (!parts_of(merge, as_pairs, part) || !part[0].n || !part[1].n)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "line %" PRIu32 ": merge %" PRIu32
                           " is not two parts like the first one",
                           merge->line, number);
    joint->n = 0;
    for (int i = 0; i < 2; i++) {
        int32_t found = find_in_model(source, part[i]);
        if (found < 0)
            return bitnet_fail(source->err, BITNET_FORMAT,
                               "merge %" PRIu32 ": %s is not in the vocabulary", number,
                               BITNET_QUOTE(part[i]));
        id[i] = (uint32_t)found;
        /* What a merge makes has the prefix of its left side only. */
        size_t skip = i && part[i].n >= prefix.n ? prefix.n : 0;
        if (!bitnet_buf_add(joint, part[i].at + skip, part[i].n - skip))
            return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    }
    struct bitnet_str result = {joint->at, joint->n};
    int32_t result_id = find_in_model(source, result);
    if (result_id < 0)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "merge %" PRIu32 ": its result %s is not in the vocabulary", number,
                           BITNET_QUOTE(result));
    if (merge_table_find(merges, id[0], id[1]))
        return bitnet_fail(source->err, BITNET_FORMAT, "merge %" PRIu32 ": %s and %s occur twice",
                           number, BITNET_QUOTE(part[0]), BITNET_QUOTE(part[1]));
    if (!merge_table_add(merges, id[0], id[1], (uint32_t)result_id))
        return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    return BITNET_OK;
}

static enum bitnet_status read_merges(struct source *source, const struct bitnet_json *list)
{
    if (!list || list->kind != BITNET_JSON_ARRAY)
        return bitnet_fail(source->err, BITNET_FORMAT, "model: 'merges' is no list");
    if (list->n_children > MERGE_MAX_RULES)
        return bitnet_fail(source->err, BITNET_LIMIT, "model: %zu merges (limit %u)",
                           list->n_children, MERGE_MAX_RULES);
    struct bitnet_buf joint = {.max = 2 * (size_t)VOCAB_MAX_TOKEN_BYTES + 1};
    enum bitnet_status status = BITNET_OK;
    if (list->n_children && !merge_table_reserve(&source->tokenizer->merges, list->n_children))
        status = bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    bool as_pairs = list->child && list->child->kind == BITNET_JSON_ARRAY;
    for (const struct bitnet_json *m = list->child; m && !status; m = m->next)
        status = read_merge(source, m, as_pairs, &joint);
    bitnet_buf_free(&joint);
    return status;
}

/* ------------------------------------------------------------------ model */

static enum bitnet_status read_affix(struct source *source, const struct bitnet_json *model,
                                     const char *name, struct bitnet_str *affix)
{
    struct bitnet_str text = {0};
    enum bitnet_status status = bitnet_json_str(model, name, BITNET_OPTIONAL, &text, source->err);
    if (status || !text.n) return status;
    *affix = bitnet_arena_copy(&source->tokenizer->arena, text);
    return affix->at ? BITNET_OK : bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
}

static enum bitnet_status read_model_flags(struct source *source, const struct bitnet_json *model)
{
    struct hf *hf = source->tokenizer->hf;
    double dropout = 0;
    enum bitnet_status status =
        bitnet_json_f64(model, "dropout", BITNET_OPTIONAL, &dropout, source->err);
    if (!status && dropout != 0)
        status = bitnet_fail(source->err, BITNET_UNSUPPORTED,
                             "model: 'dropout' makes the ids random and is not supported");
    if (!status) status = read_affix(source, model, "continuing_subword_prefix", &hf->inner_prefix);
    if (!status) status = read_affix(source, model, "end_of_word_suffix", &hf->end_suffix);
    hf->has_affix = hf->inner_prefix.n || hf->end_suffix.n;
    if (hf->has_affix) hf->is_byte_level = false; /* words are spelled before they are looked up */
    if (!status) status = read_flag(source, model, "fuse_unk", &hf->fuse_unk);
    if (!status) status = read_flag(source, model, "byte_fallback", &hf->byte_fallback);
    if (!status)
        status = read_flag(source, model, "ignore_merges", &source->tokenizer->ignore_merges);
    return status;
}

static enum bitnet_status read_unk(struct source *source, const struct bitnet_json *model)
{
    struct hf *hf = source->tokenizer->hf;
    struct bitnet_str text = {0};
    hf->unk = BITNET_NO_TOKEN;
    enum bitnet_status status =
        bitnet_json_str(model, "unk_token", BITNET_OPTIONAL, &text, source->err);
    if (status || !text.at) return status;
    hf->unk = find_in_model(source, text);
    if (hf->unk < 0)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "model: unk_token %s is not in the vocabulary", BITNET_QUOTE(text));
    return BITNET_OK;
}

static const struct bitnet_json *vocab_of(const struct source *source,
                                          const struct bitnet_json *model)
{
    return source->parts->vocab ? source->parts->vocab : bitnet_json_get(model, "vocab");
}

static const struct bitnet_json *merges_of(const struct source *source,
                                           const struct bitnet_json *model)
{
    return source->parts->merges ? source->parts->merges : bitnet_json_get(model, "merges");
}

/* What there is to know about each type of model before reading it. */
static const struct model_type {
    const char *name;
    enum bitnet_tokenizer_kind kind;
    enum bitnet_json_kind vocab;
} model_types[] = {
    {"BPE", BITNET_TOKENIZER_BPE, BITNET_JSON_OBJECT},
    {"Unigram", BITNET_TOKENIZER_UNIGRAM, BITNET_JSON_ARRAY},
    {"WordPiece", BITNET_TOKENIZER_WORDPIECE, BITNET_JSON_OBJECT},
    {"WordLevel", BITNET_TOKENIZER_WORDS, BITNET_JSON_OBJECT},
};

/* Files of before types were written show it by their members. */
static const char *guess_type(const struct bitnet_json *model)
{
    const struct bitnet_json *vocab = bitnet_json_get(model, "vocab");
    if (bitnet_json_get(model, "merges")) return "BPE";
    if (bitnet_json_get(model, "continuing_subword_prefix")) return "WordPiece";
    return vocab && vocab->kind == BITNET_JSON_ARRAY ? "Unigram" : "WordLevel";
}

static enum bitnet_status find_type(struct source *source, const struct bitnet_json *model,
                                    const struct model_type **type)
{
    if (!model || model->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(source->err, BITNET_FORMAT, "'model' is missing or no object");
    struct bitnet_str name = bitnet_str_of(guess_type(model));
    enum bitnet_status status = bitnet_json_str(model, "type", BITNET_OPTIONAL, &name, source->err);
    for (size_t i = 0; i < sizeof model_types / sizeof model_types[0] && !status; i++)
        if (bitnet_str_is(name, model_types[i].name)) {
            *type = &model_types[i];
            return BITNET_OK;
        }
    if (status) return status;
    return bitnet_fail(source->err, BITNET_UNSUPPORTED,
                       "model type %s is not supported (BPE, Unigram, WordPiece, WordLevel)",
                       BITNET_QUOTE(name));
}

/* Unigram names its unknown token by its place. */
static enum bitnet_status read_unigram(struct source *source, const struct bitnet_json *model)
{
    struct bitnet_tokenizer *tokenizer = source->tokenizer;
    const struct bitnet_json *vocab = vocab_of(source, model);
    uint64_t unk = UINT64_MAX;
    enum bitnet_status status = bitnet_json_u64(model, "unk_id", 0, vocab->n_children - 1,
                                                BITNET_OPTIONAL, &unk, source->err);
    if (status) return status;
    tokenizer->hf->unk = unk == UINT64_MAX ? BITNET_NO_TOKEN : (int32_t)unk;
    tokenizer->words.wide_sums = true;
    double *scores =
        bitnet_arena_alloc(&tokenizer->arena, tokenizer->vocab.n_tokens, sizeof *scores);
    if (!scores) return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    for (uint32_t id = 0; id < tokenizer->vocab.n_tokens; id++)
        scores[id] = source->entries[id].score;
    tokenizer->words.wide_scores = scores;
    return BITNET_OK;
}

static enum bitnet_status read_wordpiece(struct source *source, const struct bitnet_json *model)
{
    struct words *words = &source->tokenizer->words;
    struct bitnet_str prefix = BITNET_STR("##");
    uint64_t max_chars = 100;
    enum bitnet_status status =
        bitnet_json_str(model, "continuing_subword_prefix", BITNET_OPTIONAL, &prefix, source->err);
    if (!status)
        status = bitnet_json_u64(model, "max_input_chars_per_word", 0, UINT32_MAX, BITNET_OPTIONAL,
                                 &max_chars, source->err);
    if (status) return status;
    words->max_chars = (uint32_t)max_chars;
    words->prefix = bitnet_arena_copy(&source->tokenizer->arena, prefix);
    if (!words->prefix.at) return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    return BITNET_OK;
}

static enum bitnet_status read_kind(struct source *source, const struct bitnet_json *model,
                                    const struct model_type *type)
{
    struct hf *hf = source->tokenizer->hf;
    enum bitnet_status status = BITNET_OK;
    if (type->kind == BITNET_TOKENIZER_UNIGRAM) return read_unigram(source, model);
    if (type->kind == BITNET_TOKENIZER_BPE)
        status = read_merges(source, merges_of(source, model));
    else if (type->kind == BITNET_TOKENIZER_WORDPIECE)
        status = read_wordpiece(source, model);
    if (!status) status = read_unk(source, model);
    if (!status && type->kind != BITNET_TOKENIZER_BPE && hf->unk < 0)
        status = bitnet_fail(source->err, BITNET_FORMAT, "model: 'unk_token' is missing");
    return status;
}

static enum bitnet_status read_model(struct source *source, const struct bitnet_json *model,
                                     const struct model_type *type, const struct bitnet_json *added)
{
    const struct bitnet_json *vocab = vocab_of(source, model);
    if (!vocab || vocab->kind != type->vocab || !vocab->n_children)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "model: 'vocab' is missing, empty or not what %s has", type->name);
    size_t n_added = added ? added->n_children : 0;
    if (vocab->n_children > VOCAB_MAX_TOKENS || n_added > MAX_ADDED)
        return bitnet_fail(source->err, BITNET_LIMIT,
                           "%zu tokens and %zu added tokens (limits %u and %u)", vocab->n_children,
                           n_added, VOCAB_MAX_TOKENS, MAX_ADDED);
    source->n_entries = vocab->n_children + n_added;
    source->entries = bitnet_alloc(source->n_entries, sizeof *source->entries);
    if (!source->entries) return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    enum bitnet_status status = BITNET_OK;
    if (type->kind == BITNET_TOKENIZER_BPE || type->kind == BITNET_TOKENIZER_UNIGRAM)
        status = read_model_flags(source, model);
    if (!status) status = read_tokens(source, vocab, added);
    return status ? status : read_kind(source, model, type);
}

/* ------------------------------------------------------------------ the whole */

/* BPE is one of two GGUF kinds: spelled in the byte alphabet, or in text. */
static enum bitnet_tokenizer_kind kind_of(const struct hf *hf, const struct model_type *type)
{
    if (type->kind != BITNET_TOKENIZER_BPE) return type->kind;
    for (size_t i = 0; i < hf->n_splitters; i++)
        if (hf->splitters[i].kind == HF_BYTE_LEVEL) return BITNET_TOKENIZER_BPE;
    return BITNET_TOKENIZER_SPM;
}

/* What the post-processor puts around a text shows which tokens begin and end one. */
static void find_special(struct bitnet_tokenizer *tokenizer)
{
    const struct hf *hf = tokenizer->hf;
    struct bitnet_special_tokens *special = &tokenizer->special;
    special->unk = hf->unk;
    if (hf->before.n == 1) special->bos = (int32_t)hf->before.at[0];
    if (hf->after.n == 1) special->eos = (int32_t)hf->after.at[0];
    special->add_bos = hf->before.n == 1;
    special->add_eos = hf->after.n == 1;
    for (size_t i = 0; i < hf->n_normalizers; i++)
        if (hf->normalizers[i].kind == HF_PREPEND) special->add_space_prefix = true;
    for (size_t i = 0; i < hf->n_splitters; i++)
        if (hf->splitters[i].kind == HF_METASPACE && hf->splitters[i].prepend != HF_PREPEND_NEVER)
            special->add_space_prefix = true;
}

/* Vocabularies merged by rank get the scores that make llama.cpp merge in the same order: minus the
 * order in which tokens first appear as the result of a merge. */
static void set_scores(struct bitnet_tokenizer *tokenizer)
{
    const struct merge_table *merges = &tokenizer->merges;
    struct vocab *vocab = &tokenizer->vocab;
    for (uint32_t rank = 0; rank < merges->n; rank++) {
        const struct merge_slot *slot =
            merge_table_find(merges, merges->rules[rank][0], merges->rules[rank][1]);
        if (vocab->score[slot->result] == 0) vocab->score[slot->result] = -1.0f - (float)rank;
    }
}

static enum bitnet_status keep_text(struct source *source, const struct bitnet_json *node,
                                    struct bitnet_str *kept)
{
    struct bitnet_buf text = {.max = MAX_JSON_BYTES};
    bool ok = json_text_print(&text, node);
    if (ok)
        *kept = bitnet_arena_copy(&source->tokenizer->arena, (struct bitnet_str){text.at, text.n});
    bitnet_buf_free(&text);
    return ok && kept->at ? BITNET_OK : bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
}

static enum bitnet_status keep_texts(struct source *source, const struct bitnet_json *root)
{
    static const struct bitnet_json no_tokens = {.kind = BITNET_JSON_ARRAY};
    struct hf_texts *texts = &source->tokenizer->hf->texts;
    const struct bitnet_json *added = bitnet_json_get(root, "added_tokens");
    enum bitnet_status status = keep_text(source, added ? added : &no_tokens, &texts->added_tokens);
    if (!status)
        status = keep_text(source, bitnet_json_get(root, "normalizer"), &texts->normalizer);
    if (!status)
        status = keep_text(source, bitnet_json_get(root, "pre_tokenizer"), &texts->pre_tokenizer);
    if (!status) status = keep_text(source, bitnet_json_get(root, "decoder"), &texts->decoder);
    if (!status)
        status = keep_text(source, bitnet_json_get(root, "post_processor"), &texts->post_processor);
    return status;
}

static enum bitnet_status read_root(struct source *source, const struct bitnet_json *root)
{
    struct bitnet_tokenizer *tokenizer = source->tokenizer;
    const struct bitnet_json *model = bitnet_json_get(root, "model");
    const struct bitnet_json *added = bitnet_json_get(root, "added_tokens");
    if (root->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(source->err, BITNET_FORMAT, "the file is no JSON object");
    if (added && added->kind == BITNET_JSON_NULL) added = NULL;
    if (added && added->kind != BITNET_JSON_ARRAY)
        return bitnet_fail(source->err, BITNET_FORMAT, "'added_tokens' is no list");
    const struct model_type *type = NULL;
    enum bitnet_status status = find_type(source, model, &type);
    if (!status)
        status = hf_read_normalizer(tokenizer, bitnet_json_get(root, "normalizer"), source->err);
    if (!status)
        status =
            hf_read_pre_tokenizer(tokenizer, bitnet_json_get(root, "pre_tokenizer"), source->err);
    if (!status) status = hf_read_decoder(tokenizer, bitnet_json_get(root, "decoder"), source->err);
    if (status) return status;
    tokenizer->kind = kind_of(tokenizer->hf, type);
    status = read_model(source, model, type, added);
    if (!status)
        status =
            hf_read_post_processor(tokenizer, bitnet_json_get(root, "post_processor"), source->err);
    if (status) return status;
    status = keep_texts(source, root);
    if (status) return status;
    find_special(tokenizer);
    if (tokenizer->kind == BITNET_TOKENIZER_SPM) set_scores(tokenizer);

    tokenizer->reach = bitnet_alloc(tokenizer->vocab.n_tokens, 1);
    if (!tokenizer->reach) return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    for (uint32_t id = 0; id < tokenizer->vocab.n_tokens; id++)
        tokenizer->reach[id] = (uint8_t)(!source->entries[id].model.at ? REACH_ADDED
                                         : tokenizer->ignore_merges    ? REACH_YES
                                                                       : REACH_UNKNOWN);
    return BITNET_OK;
}

enum bitnet_status tokenizer_read_parts(struct bitnet_tokenizer **tokenizer,
                                        const struct json_parts *parts, struct bitnet_error *err)
{
    struct source source = {
        .parts = parts, .tokenizer = tokenizer_new(BITNET_TOKENIZER_BPE), .err = err};
    *tokenizer = NULL;
    if (source.tokenizer) source.tokenizer->hf = bitnet_alloc(1, sizeof *source.tokenizer->hf);
    enum bitnet_status status = BITNET_OK;
    if (!source.tokenizer || !source.tokenizer->hf)
        status = bitnet_fail(err, BITNET_MEMORY, "out of memory");
    if (!status) status = read_root(&source, parts->root);
    bitnet_free(source.entries);
    if (status)
        bitnet_tokenizer_free(source.tokenizer);
    else
        *tokenizer = source.tokenizer;
    return status;
}

enum bitnet_status tokenizer_read_json(struct bitnet_tokenizer **tokenizer, struct bitnet_str json,
                                       const struct bitnet_log *log, struct bitnet_error *err)
{
    (void)log;
    struct bitnet_arena arena = {0};
    struct json_parts parts = {0};
    *tokenizer = NULL;
    enum bitnet_status status = bitnet_json_parse(
        &parts.root, json, &(struct bitnet_json_limits){.max_bytes = MAX_JSON_BYTES}, &arena, err);
    if (!status) status = tokenizer_read_parts(tokenizer, &parts, err);
    bitnet_arena_free(&arena);
    return status;
}

/* ------------------------------------------------------------------ finishing */

static enum bitnet_status pad(struct bitnet_tokenizer *tokenizer, size_t n_vocab,
                              struct bitnet_error *err)
{
    size_t n = tokenizer->vocab.n_tokens;
    if (!n_vocab || n == n_vocab) return BITNET_OK;
    if (n > n_vocab)
        return bitnet_fail(err, BITNET_FORMAT, "the tokenizer has %zu tokens, the model only %zu",
                           n, n_vocab);
    uint8_t *reach = bitnet_realloc(tokenizer->reach, n_vocab, 1);
    if (!reach) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    tokenizer->reach = reach;
    enum bitnet_status status = BITNET_OK;
    for (size_t id = n; id < n_vocab && !status; id++) {
        struct bitnet_buf name = {.max = 64};
        reach[id] = REACH_ADDED;
        status = bitnet_buf_printf(&name, "[PAD%zu]", id)
                     ? tokenizer_add_token(tokenizer, (struct bitnet_str){name.at, name.n},
                                           BITNET_TOKEN_UNUSED, -10000.0f, err)
                     : bitnet_fail(err, BITNET_MEMORY, "out of memory");
        bitnet_buf_free(&name);
    }
    return status;
}

static void find_fallback(struct bitnet_tokenizer *tokenizer)
{
    static const char digits[] = "0123456789ABCDEF";
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        int32_t id = vocab_find_token(&tokenizer->vocab, (struct bitnet_str){text, sizeof text});
        bool is_model = id >= 0 && tokenizer->reach[id] != REACH_ADDED;
        tokenizer->hf->byte_fallback_id[byte] = is_model ? (uint32_t)id : MERGE_NO_ID;
    }
    int32_t space = vocab_find_token(&tokenizer->vocab, BITNET_STR("\xE2\x96\x81"));
    tokenizer->knows_space = space >= 0 && tokenizer->reach[space] != REACH_ADDED;
}

/* Byte-level vocabularies may lack control characters and bytes that are not in UTF-8 (Falcon
 * does); one that lacks ordinary text is damaged, and text would vanish. */
static enum bitnet_status check_alphabet(struct bitnet_tokenizer *tokenizer,
                                         struct bitnet_error *err)
{
    struct hf *hf = tokenizer->hf;
    bool is_complete = true;
    for (unsigned byte = 0; byte < 256 && hf->is_byte_level; byte++) {
        uint32_t *symbol = &tokenizer->byte_symbol[byte];
        if (*symbol != MERGE_NO_ID && tokenizer->reach[*symbol] == REACH_ADDED)
            *symbol = MERGE_NO_ID;
        if (*symbol != MERGE_NO_ID) continue;
        is_complete = false;
        if (hf->unk < 0 && ((byte >= 0x20 && byte <= 0x7E) || byte == '\n'))
            return bitnet_fail(err, BITNET_FORMAT, "the vocabulary has no token for byte 0x%02X",
                               byte);
    }
    if (!is_complete && hf->unk >= 0) hf->is_byte_level = false; /* the unknown token stands in */
    return BITNET_OK;
}

enum bitnet_status tokenizer_finish_json(struct bitnet_tokenizer *tokenizer, size_t n_vocab,
                                         struct bitnet_error *err)
{
    enum bitnet_status status = pad(tokenizer, n_vocab, err);
    if (!status) status = tokenizer_finish(tokenizer, err);
    if (status) return status;
    find_fallback(tokenizer);
    status = check_alphabet(tokenizer, err);
    if (!status && tokenizer->kind == BITNET_TOKENIZER_BPE)
        status = probe_pre(tokenizer, &tokenizer->pre, err);
    if (!status && tokenizer->pre) tokenizer->clean_spaces = tokenizer->pre->clean_spaces;
    return status;
}

enum bitnet_status bitnet_tokenizer_from_json(struct bitnet_tokenizer **tokenizer,
                                              struct bitnet_str json, const struct bitnet_log *log,
                                              struct bitnet_error *err)
{
    enum bitnet_status status = tokenizer_read_json(tokenizer, json, log, err);
    if (!status) status = tokenizer_finish_json(*tokenizer, 0, err);
    if (status) {
        bitnet_tokenizer_free(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}
