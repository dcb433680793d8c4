/* A tokenizer from a model folder. Comes in: a path; goes out: the tokenizer of the vocabulary
 * there (folder.h says which), with special ids, flags and chat template from the files beside it.
 * Which file says what is tokenizers.md section 13: tokenizer_config.json names special tokens by
 * text, which must be among the added tokens; config.json fills gaps by id; generation_config.json
 * adds what ends a reply. */
#include "added.h"
#include "folder.h"
#include "hf.h"
#include "sources.h"

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include <inttypes.h>

#define MAX_EOG 64

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
    return type == BITNET_TOKEN_CONTROL || type == BITNET_TOKEN_USER ||
           type == BITNET_TOKEN_UNKNOWN;
}

#define N_SPECIAL (sizeof special_names / sizeof special_names[0])

static void note_found(struct bitnet_tokenizer *tokenizer, size_t i)
{
    for (size_t k = 0; k < tokenizer->n_ids; k++)
        if (tokenizer->id_order[k] == i) return;
    tokenizer->id_order[tokenizer->n_ids++] = (uint8_t)i;
}

/* tokenizer_config.json, by text. */
static void find_named(struct bitnet_tokenizer *tokenizer, const struct bitnet_json *config)
{
    for (size_t i = 0; i < N_SPECIAL; i++) {
        struct bitnet_str text = token_text(config, special_names[i].token);
        int32_t id = text.n ? vocab_find_token(&tokenizer->vocab, text) : BITNET_NO_TOKEN;
        *special_slot(tokenizer, i) = is_added(tokenizer, id) ? id : BITNET_NO_TOKEN;
        if (is_added(tokenizer, id)) note_found(tokenizer, i);
    }
}

/* config.json, by id, where nothing has been found. Some configurations hold ids of a larger
 * vocabulary; those name no token of ours. */
static enum bitnet_status find_numbered(struct bitnet_tokenizer *tokenizer,
                                        const struct bitnet_json *config, struct bitnet_error *err)
{
    for (size_t i = 0; i < N_SPECIAL; i++) {
        int32_t *slot = special_slot(tokenizer, i);
        const struct bitnet_json *node = bitnet_json_get(config, special_names[i].id);
        uint64_t value;
        if (*slot >= 0 || !node || node->kind != BITNET_JSON_NUMBER) continue;
        if (!bitnet_json_as_u64(node, &value) && node->text.n && node->text.at[0] != '-')
            return bitnet_fail(err, BITNET_FORMAT, "config.json: '%s': %.*s is no token",
                               special_names[i].id, BITNET_STR_ARGS(node->text));
        if (!bitnet_json_as_u64(node, &value) || value >= tokenizer->vocab.n_tokens) continue;
        *slot = (int32_t)value;
        note_found(tokenizer, i);
    }
    return BITNET_OK;
}

static enum bitnet_status read_special(struct bitnet_tokenizer *tokenizer,
                                       const struct bitnet_json *tokenizer_config,
                                       const struct bitnet_json *config, struct bitnet_error *err)
{
    int32_t before[N_SPECIAL];
    for (size_t i = 0; i < N_SPECIAL; i++) before[i] = *special_slot(tokenizer, i);
    find_named(tokenizer, tokenizer_config);
    enum bitnet_status status = find_numbered(tokenizer, config, err);
    for (size_t i = 0; i < N_SPECIAL; i++) {
        int32_t *slot = special_slot(tokenizer, i);
        if (*slot >= 0 || before[i] < 0) continue;
        *slot = before[i]; /* what the vocabulary's own file says */
        if (tokenizer->kind != BITNET_TOKENIZER_WORDPIECE) note_found(tokenizer, i);
    }
    return status;
}

static void read_flags(struct bitnet_tokenizer *tokenizer, const struct bitnet_json *config)
{
    const struct bitnet_json *bos = bitnet_json_get(config, "add_bos_token");
    const struct bitnet_json *eos = bitnet_json_get(config, "add_eos_token");
    const struct bitnet_json *space = bitnet_json_get(config, "add_prefix_space");
    if (bos && bos->kind == BITNET_JSON_BOOL) {
        tokenizer->add_bos_is_given = true;
        tokenizer->add_bos_token = bos->boolean;
        if (!tokenizer->hf) tokenizer->special.add_bos = bos->boolean;
    }
    if (eos && eos->kind == BITNET_JSON_BOOL) {
        tokenizer->add_eos_is_given = true;
        tokenizer->add_eos_token = eos->boolean;
        if (!tokenizer->hf) tokenizer->special.add_eos = eos->boolean;
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

static enum bitnet_status read_templates(struct bitnet_tokenizer *tokenizer,
                                         const struct folder *folder, struct bitnet_error *err)
{
    const struct bitnet_json *node =
        bitnet_json_get(folder->tokenizer_config.root, "chat_template");
    if (node && node->kind == BITNET_JSON_STRING)
        return keep(tokenizer, node->text, &tokenizer->chat_template, err);
    if (node && node->kind == BITNET_JSON_ARRAY) return read_template_list(tokenizer, node, err);
    if (!folder->template.at) return BITNET_OK;
    return keep(tokenizer, folder->template, &tokenizer->chat_template, err);
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

static struct bitnet_bytes bytes_of(struct bitnet_str text)
{
    return (struct bitnet_bytes){(const uint8_t *)text.at, text.n};
}

/* A protobuf begins with its first piece; anything else under this name is said to be what it is.
 */
static bool is_sentencepiece(struct bitnet_str text)
{
    return text.n && text.at[0] == 0x0A;
}

static enum bitnet_status make_from_model(struct bitnet_tokenizer **tokenizer,
                                          const struct folder *folder, size_t n_vocab,
                                          struct bitnet_error *err)
{
    const char *hint = NULL, *what = bitnet_file_accident(bytes_of(folder->vocab), &hint);
    enum bitnet_status status = BITNET_OK;
    if (what && !is_sentencepiece(folder->vocab)) {
        status = bitnet_fail(err, BITNET_FORMAT, "%s", what);
        return hint ? bitnet_hint(err, status, "%s", hint) : status;
    }
    status = tokenizer_read_spm(tokenizer, bytes_of(folder->vocab), err);
    if (!status && !n_vocab) status = check_size(*tokenizer, folder->config.root, err);
    if (!status)
        status = added_apply(*tokenizer, n_vocab, folder->added.root, folder->tokenizer_config.root,
                             err);
    return status ? status : tokenizer_finish(*tokenizer, err);
}

/* The .model beside a tokenizer.json has the scores that a GGUF needs; what is merged by rank has
 * none of its own. */
static enum bitnet_status adopt_scores(struct bitnet_tokenizer *tokenizer,
                                       const struct folder *folder, const struct bitnet_log *log,
                                       struct bitnet_error *err)
{
    struct spm_model model = {0};
    bool adopted = false;
    if (tokenizer->kind != BITNET_TOKENIZER_SPM || !is_sentencepiece(folder->model))
        return BITNET_OK;
    enum bitnet_status status = spm_model_read(&model, bytes_of(folder->model), err);
    if (status) return bitnet_error_prefix(err, status, "tokenizer.model");
    status = added_adopt(tokenizer, &model, folder->tokenizer_config.root, &adopted, err);
    if (!status && !adopted)
        bitnet_log_say(log, BITNET_LOG_WARNING,
                       "%s: tokenizer.model holds other tokens than tokenizer.json and is not used",
                       folder->dir);
    spm_model_free(&model);
    return status;
}

/* What a download left under the name of a tokenizer.json is said to be what it is. */
static enum bitnet_status check_accident(const struct folder *folder, struct bitnet_error *err)
{
    const char *hint = NULL, *what = NULL;
    if (!folder->vocab.n || folder->vocab.at[0] != '{')
        what = bitnet_file_accident(bytes_of(folder->vocab), &hint);
    if (!what) return BITNET_OK;
    enum bitnet_status status = bitnet_fail(err, BITNET_FORMAT, "%s", what);
    return hint ? bitnet_hint(err, status, "%s", hint) : status;
}

static enum bitnet_status make_from_json(struct bitnet_tokenizer **tokenizer,
                                         const struct folder *folder, size_t n_vocab,
                                         const struct bitnet_log *log, struct bitnet_error *err)
{
    enum bitnet_status status = check_accident(folder, err);
    if (!status) status = tokenizer_read_json(tokenizer, folder->vocab, log, err);
    if (!status && !n_vocab) status = check_size(*tokenizer, folder->config.root, err);
    if (!status) status = adopt_scores(*tokenizer, folder, log, err);
    return status ? status : tokenizer_finish_json(*tokenizer, n_vocab, err);
}

static enum bitnet_status make_from_merges(struct bitnet_tokenizer **tokenizer,
                                           const struct folder *folder, size_t n_vocab,
                                           struct bitnet_error *err)
{
    const struct merges_source source = {folder->vocab,
                                         folder->merges,
                                         folder->tokenizer_config.root,
                                         folder->special_map.root,
                                         folder->added.root,
                                         folder->config.root};
    enum bitnet_status status = tokenizer_read_merges(tokenizer, &source, err);
    if (!status && !n_vocab) status = check_size(*tokenizer, folder->config.root, err);
    return status ? status : tokenizer_finish_json(*tokenizer, n_vocab, err);
}

static enum bitnet_status make_from_tiktoken(struct bitnet_tokenizer **tokenizer,
                                             const struct folder *folder, size_t n_vocab,
                                             struct bitnet_error *err)
{
    enum bitnet_status status = tokenizer_read_tiktoken(tokenizer, folder->vocab, NULL, n_vocab,
                                                        folder->tokenizer_config.root, err);
    if (!status && !n_vocab) status = check_size(*tokenizer, folder->config.root, err);
    return status ? status : tokenizer_finish_tiktoken(*tokenizer, folder->vocab, NULL, err);
}

static enum bitnet_status make_from_words(struct bitnet_tokenizer **tokenizer,
                                          const struct folder *folder, size_t n_vocab,
                                          struct bitnet_error *err)
{
    enum bitnet_status status =
        tokenizer_read_words(tokenizer, folder->vocab, folder->tokenizer_config.root, err);
    if (!status && !n_vocab) status = check_size(*tokenizer, folder->config.root, err);
    return status ? status : tokenizer_finish_json(*tokenizer, n_vocab, err);
}

static enum bitnet_status make_from_rwkv(struct bitnet_tokenizer **tokenizer,
                                         const struct folder *folder, size_t n_vocab,
                                         struct bitnet_error *err)
{
    enum bitnet_status status = tokenizer_read_rwkv(tokenizer, folder->vocab, err);
    if (!status && !n_vocab) status = check_size(*tokenizer, folder->config.root, err);
    if (!status && n_vocab) status = added_apply(*tokenizer, n_vocab, NULL, NULL, err);
    return status ? status : tokenizer_finish(*tokenizer, err);
}

static enum bitnet_status make(struct bitnet_tokenizer **tokenizer, const struct folder *folder,
                               size_t n_vocab, const struct bitnet_log *log,
                               struct bitnet_error *err)
{
    switch (folder->kind) {
    case FOLDER_JSON:
        return make_from_json(tokenizer, folder, n_vocab, log, err);
    case FOLDER_MODEL:
        return make_from_model(tokenizer, folder, n_vocab, err);
    case FOLDER_TIKTOKEN:
        return make_from_tiktoken(tokenizer, folder, n_vocab, err);
    case FOLDER_MERGES:
        return make_from_merges(tokenizer, folder, n_vocab, err);
    case FOLDER_WORDS:
        return make_from_words(tokenizer, folder, n_vocab, err);
    case FOLDER_RWKV:
        break;
    }
    return make_from_rwkv(tokenizer, folder, n_vocab, err);
}

static enum bitnet_status read_beside(struct bitnet_tokenizer *tokenizer,
                                      const struct folder *folder, struct bitnet_error *err)
{
    const struct bitnet_json *config = folder->tokenizer_config.root;
    uint64_t n_segments = 0;
    enum bitnet_status status = read_special(tokenizer, config, folder->config.root, err);
    if (!status)
        status = bitnet_json_u64(folder->config.root, "type_vocab_size", 0, UINT32_MAX,
                                 BITNET_OPTIONAL, &n_segments, err);
    tokenizer->n_segments = (uint32_t)n_segments;
    if (!status) read_flags(tokenizer, config);
    if (!status) status = read_templates(tokenizer, folder, err);
    if (!status) status = tokenizer_find_eog(tokenizer, err);
    return status ? status : read_eog(tokenizer, folder->generation.root, err);
}

/* Takes the folder over, opened or not. */
static enum bitnet_status make_and_close(struct bitnet_tokenizer **tokenizer, struct folder *folder,
                                         size_t n_vocab, const struct bitnet_log *log,
                                         enum bitnet_status status, struct bitnet_error *err)
{
    *tokenizer = NULL;
    if (!status) {
        status = make(tokenizer, folder, n_vocab, log, err);
        if (!status) status = read_beside(*tokenizer, folder, err);
        if (status) bitnet_error_prefix(err, status, "%s/%s", folder->dir, folder->name);
    }
    if (status) {
        bitnet_tokenizer_free(*tokenizer);
        *tokenizer = NULL;
    }
    folder_close(folder);
    return status;
}

enum bitnet_status bitnet_tokenizer_from_dir(struct bitnet_tokenizer **tokenizer, const char *dir,
                                             size_t n_vocab, const struct bitnet_log *log,
                                             struct bitnet_error *err)
{
    struct folder folder;
    enum bitnet_status status = folder_open(&folder, dir, 0, err);
    return make_and_close(tokenizer, &folder, n_vocab, log, status, err);
}

enum bitnet_status tokenizer_from_dir_nth(struct bitnet_tokenizer **tokenizer, const char *dir,
                                          size_t n, struct bitnet_buf *path,
                                          const struct bitnet_log *log, struct bitnet_error *err)
{
    struct folder folder;
    enum bitnet_status status = folder_open(&folder, dir, n, err);
    if (folder.name && !bitnet_buf_printf(path, "%s/%s", dir, folder.name))
        status = bitnet_fail(err, BITNET_MEMORY, "out of memory for a path");
    return make_and_close(tokenizer, &folder, 0, log, status, err);
}

enum bitnet_status tokenizer_adopt_templates(struct bitnet_tokenizer *tokenizer, const char *dir,
                                             struct bitnet_error *err)
{
    struct folder folder;
    enum bitnet_status status = folder_open_templates(&folder, dir, err);
    if (!status) status = read_templates(tokenizer, &folder, err);
    folder_close(&folder);
    return status ? bitnet_error_prefix(err, status, "%s", dir) : BITNET_OK;
}

enum bitnet_status bitnet_tokenizer_from_file(struct bitnet_tokenizer **tokenizer, const char *path,
                                              const struct bitnet_log *log,
                                              struct bitnet_error *err)
{
    struct folder folder;
    const char *slash = strrchr(path, '/');
    struct bitnet_buf dir = {.max = 8192};
    *tokenizer = NULL;
    if (!(slash ? bitnet_buf_printf(&dir, "%.*s", (int)(slash - path) + (slash == path), path)
                : bitnet_buf_printf(&dir, ".")))
        return bitnet_fail(err, BITNET_MEMORY, "out of memory for a path");
    enum bitnet_status status = folder_open_file(&folder, dir.at, slash ? slash + 1 : path, err);
    status = make_and_close(tokenizer, &folder, 0, log, status, err);
    bitnet_buf_free(&dir);
    return status;
}
