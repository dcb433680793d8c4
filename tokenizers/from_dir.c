/* A tokenizer from a model folder. Comes in: a path; goes out: the tokenizer of its tokenizer.json,
 * with special ids, flags and chat template from the files beside it. Which file says what is
 * tokenizers.md section 13: tokenizer_config.json names special tokens by text, which must be among
 * the added tokens; config.json fills gaps by id; generation_config.json adds what ends a reply. */
#include "hf.h"

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include <inttypes.h>

#define MAX_TOKENIZER_JSON ((size_t)128 << 20)
#define MAX_CONFIG         ((size_t)16 << 20)
#define MAX_EOG            64

/* One JSON file of the folder; `root` is NULL when the file is absent. */
struct document {
    struct bitnet_str text;
    struct bitnet_arena arena;
    const struct bitnet_json *root;
};

static void document_close(struct document *document)
{
    bitnet_free((void *)(uintptr_t)document->text.at);
    bitnet_arena_free(&document->arena);
}

static enum bitnet_status read_text(const char *dir, const char *name, size_t max_bytes,
                                    bool required, struct bitnet_str *text,
                                    struct bitnet_error *err)
{
    char *path = bitnet_path_join(dir, bitnet_str_of(name));
    enum bitnet_status status = BITNET_OK;
    *text = (struct bitnet_str){0};
    if (!path)
        status = bitnet_fail(err, BITNET_MEMORY, "out of memory");
    else if (required || bitnet_path_exists(path))
        status = bitnet_read_file(path, max_bytes, text, err);
    bitnet_free(path);
    return status;
}

static enum bitnet_status document_open(struct document *document, const char *dir,
                                        const char *name, struct bitnet_error *err)
{
    enum bitnet_status status = read_text(dir, name, MAX_CONFIG, false, &document->text, err);
    if (status || !document->text.at) return status;
    status = bitnet_json_parse(&document->root, document->text, NULL, &document->arena, err);
    if (!status && document->root->kind != BITNET_JSON_OBJECT)
        status = bitnet_fail(err, BITNET_FORMAT, "the file is no JSON object");
    return status ? bitnet_error_prefix(err, status, "%s", name) : BITNET_OK;
}

/* ------------------------------------------------------------------ special ids */

struct special_names {
    const char *token; /* in tokenizer_config.json */
    const char *id;    /* in config.json */
};

static int32_t *special_slot(struct bitnet_tokenizer *tokenizer, size_t i)
{
    struct bitnet_special_tokens *special = &tokenizer->special;
    int32_t *const slots[] = {&special->bos, &special->eos,   &special->unk,   &special->sep,
                              &special->pad, &tokenizer->cls, &tokenizer->mask};
    return slots[i];
}

static const struct special_names special_names[] = {
    {"bos_token", "bos_token_id"},   {"eos_token", "eos_token_id"}, {"unk_token", "unk_token_id"},
    {"sep_token", "sep_token_id"},   {"pad_token", "pad_token_id"}, {"cls_token", "cls_token_id"},
    {"mask_token", "mask_token_id"},
};

/* "<s>" or {"content": "<s>"}. */
static struct bitnet_str token_text(const struct bitnet_json *config, const char *name)
{
    const struct bitnet_json *node = bitnet_json_get(config, name);
    const struct bitnet_json *content = bitnet_json_get(node, "content");
    if (content) node = content;
    return node && node->kind == BITNET_JSON_STRING ? node->text : (struct bitnet_str){0};
}

static bool is_added(const struct bitnet_tokenizer *tokenizer, int32_t id)
{
    enum bitnet_token_type type = bitnet_token_type(tokenizer, id);
    return type == BITNET_TOKEN_CONTROL || type == BITNET_TOKEN_USER;
}

static enum bitnet_status read_special(struct bitnet_tokenizer *tokenizer,
                                       const struct bitnet_json *tokenizer_config,
                                       const struct bitnet_json *config, struct bitnet_error *err)
{
    for (size_t i = 0; i < sizeof special_names / sizeof special_names[0]; i++) {
        int32_t *slot = special_slot(tokenizer, i), from_template = *slot;
        struct bitnet_str text = token_text(tokenizer_config, special_names[i].token);
        int32_t id = text.n ? vocab_find_token(&tokenizer->vocab, text) : BITNET_NO_TOKEN;
        *slot = is_added(tokenizer, id) ? id : BITNET_NO_TOKEN;
        const struct bitnet_json *node = bitnet_json_get(config, special_names[i].id);
        uint64_t value;
        if (*slot < 0 && node && node->kind == BITNET_JSON_NUMBER) {
            /* Some configurations hold ids of a larger vocabulary; those name no token of ours. */
            if (!bitnet_json_as_u64(node, &value) && node->text.n && node->text.at[0] != '-')
                return bitnet_fail(err, BITNET_FORMAT, "config.json: '%s': %.*s is no token",
                                   special_names[i].id, BITNET_STR_ARGS(node->text));
            if (bitnet_json_as_u64(node, &value) && value < tokenizer->vocab.n_tokens)
                *slot = (int32_t)value;
        }
        if (*slot < 0) *slot = from_template;
    }
    return BITNET_OK;
}

static void read_flags(struct bitnet_tokenizer *tokenizer, const struct bitnet_json *config)
{
    const struct bitnet_json *bos = bitnet_json_get(config, "add_bos_token");
    const struct bitnet_json *eos = bitnet_json_get(config, "add_eos_token");
    const struct bitnet_json *space = bitnet_json_get(config, "add_prefix_space");
    if (bos && bos->kind == BITNET_JSON_BOOL) {
        tokenizer->add_bos_is_given = true;
        tokenizer->add_bos_token = bos->boolean;
    }
    if (eos && eos->kind == BITNET_JSON_BOOL) {
        tokenizer->add_eos_is_given = true;
        tokenizer->add_eos_token = eos->boolean;
    }
    if (space && space->kind == BITNET_JSON_BOOL && tokenizer->kind == BITNET_TOKENIZER_SPM) {
        tokenizer->add_space_prefix_is_given = true;
        tokenizer->special.add_space_prefix = space->boolean;
    }
}

/* generation_config.json may list several ids that end a reply. */
static enum bitnet_status read_eog(struct bitnet_tokenizer *tokenizer,
                                   const struct bitnet_json *generation, struct bitnet_error *err)
{
    const struct bitnet_json *node = bitnet_json_get(generation, "eos_token_id");
    if (!node) return BITNET_OK;
    if (node->kind == BITNET_JSON_ARRAY) node = node->child;
    int32_t *eog = bitnet_arena_alloc(&tokenizer->arena, tokenizer->n_eog + MAX_EOG, sizeof *eog);
    if (!eog) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    memcpy(eog, tokenizer->eog, tokenizer->n_eog * sizeof *eog);
    tokenizer->eog = eog;
    for (size_t n = 0; node && n < MAX_EOG; node = node->next, n++) {
        uint64_t id;
        if (!bitnet_json_as_u64(node, &id) || id >= tokenizer->vocab.n_tokens) continue;
        if (!bitnet_token_is_eog(tokenizer, (int32_t)id)) eog[tokenizer->n_eog++] = (int32_t)id;
    }
    return BITNET_OK;
}

/* ------------------------------------------------------------------ chat templates */

static enum bitnet_status keep(struct bitnet_tokenizer *tokenizer, struct bitnet_str text,
                               struct bitnet_str *kept, struct bitnet_error *err)
{
    *kept = bitnet_arena_copy(&tokenizer->arena, text);
    return kept->at ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

static enum bitnet_status read_template_list(struct bitnet_tokenizer *tokenizer,
                                             const struct bitnet_json *list,
                                             struct bitnet_error *err)
{
    tokenizer->templates =
        bitnet_arena_alloc(&tokenizer->arena, list->n_children + 1, sizeof *tokenizer->templates);
    if (!tokenizer->templates) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    enum bitnet_status status = BITNET_OK;
    for (const struct bitnet_json *item = list->child; item && !status; item = item->next) {
        struct named_template made = {{0}, {0}};
        struct bitnet_str name = {0}, text = {0};
        status = bitnet_json_str(item, "name", BITNET_REQUIRED, &name, err);
        if (!status) status = bitnet_json_str(item, "template", BITNET_REQUIRED, &text, err);
        if (!status) status = keep(tokenizer, name, &made.name, err);
        if (!status) status = keep(tokenizer, text, &made.text, err);
        if (!status && bitnet_str_is(name, "default"))
            tokenizer->chat_template = made.text;
        else if (!status)
            tokenizer->templates[tokenizer->n_templates++] = made;
    }
    return status;
}

static enum bitnet_status read_templates(struct bitnet_tokenizer *tokenizer, const char *dir,
                                         const struct bitnet_json *config, struct bitnet_error *err)
{
    const struct bitnet_json *node = bitnet_json_get(config, "chat_template");
    if (node && node->kind == BITNET_JSON_STRING)
        return keep(tokenizer, node->text, &tokenizer->chat_template, err);
    if (node && node->kind == BITNET_JSON_ARRAY) return read_template_list(tokenizer, node, err);
    struct bitnet_str text;
    enum bitnet_status status =
        read_text(dir, "chat_template.jinja", (size_t)1 << 20, false, &text, err);
    if (!status && text.at) status = keep(tokenizer, text, &tokenizer->chat_template, err);
    bitnet_free((void *)(uintptr_t)text.at);
    return status;
}

/* ------------------------------------------------------------------ the whole */

/* With no number from the caller, config.json's vocab_size is the ceiling, not a wish for pads. */
static enum bitnet_status check_size(const struct bitnet_tokenizer *tokenizer,
                                     const struct bitnet_json *config, struct bitnet_error *err)
{
    uint64_t n_vocab = UINT64_MAX;
    const struct bitnet_json *node = bitnet_json_get(config, "vocab_size");
    if (node && bitnet_json_as_u64(node, &n_vocab) && tokenizer->vocab.n_tokens > n_vocab)
        return bitnet_fail(err, BITNET_FORMAT,
                           "the tokenizer has %" PRIu32 " tokens, the model only %" PRIu64,
                           tokenizer->vocab.n_tokens, n_vocab);
    return BITNET_OK;
}

struct folder {
    struct document tokenizer_config, config, generation;
    struct bitnet_str json;
};

static enum bitnet_status fill(struct bitnet_tokenizer *tokenizer, const char *dir, size_t n_vocab,
                               const struct folder *folder, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (!n_vocab) status = check_size(tokenizer, folder->config.root, err);
    if (!status) status = tokenizer_finish_json(tokenizer, n_vocab, err);
    if (!status)
        status = read_special(tokenizer, folder->tokenizer_config.root, folder->config.root, err);
    if (!status) read_flags(tokenizer, folder->tokenizer_config.root);
    if (!status) status = read_templates(tokenizer, dir, folder->tokenizer_config.root, err);
    if (!status) status = tokenizer_find_eog(tokenizer, err);
    if (!status) status = read_eog(tokenizer, folder->generation.root, err);
    return status;
}

enum bitnet_status bitnet_tokenizer_from_dir(struct bitnet_tokenizer **tokenizer, const char *dir,
                                             size_t n_vocab, const struct bitnet_log *log,
                                             struct bitnet_error *err)
{
    struct folder folder = {0};
    *tokenizer = NULL;
    enum bitnet_status status =
        read_text(dir, "tokenizer.json", MAX_TOKENIZER_JSON, true, &folder.json, err);
    if (!status) {
        status = tokenizer_read_json(tokenizer, folder.json, log, err);
        if (status) bitnet_error_prefix(err, status, "%s/tokenizer.json", dir);
    }
    if (!status)
        status = document_open(&folder.tokenizer_config, dir, "tokenizer_config.json", err);
    if (!status) status = document_open(&folder.config, dir, "config.json", err);
    if (!status) status = document_open(&folder.generation, dir, "generation_config.json", err);
    if (!status) {
        status = fill(*tokenizer, dir, n_vocab, &folder, err);
        if (status) bitnet_error_prefix(err, status, "%s/tokenizer.json", dir);
    }
    if (status) {
        bitnet_tokenizer_free(*tokenizer);
        *tokenizer = NULL;
    }
    bitnet_free((void *)(uintptr_t)folder.json.at);
    document_close(&folder.tokenizer_config);
    document_close(&folder.config);
    document_close(&folder.generation);
    return status;
}
