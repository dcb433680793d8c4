/* Reading --metadata FILE. In: a JSON object. Out: keys and values for the file, in the order in
 * which they stand there. Which members count, and as which GGUF type, is a table; lists of base
 * models and data sets become numbered keys and a count. Source: gguf-py's metadata.py and
 * gguf_writer.py (llama.cpp's --metadata), docs/metadata.md. */
#include "metadata.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/json.h"
#include "bitnet/text.h"

#include <math.h>
#include <stdio.h> /* snprintf */

#define FILE_BYTES_MAX (1u << 20)

enum member_kind {
    MEMBER_TEXT,
    MEMBER_F32,
    MEMBER_I32,
    MEMBER_LIST,
    MEMBER_LICENSE,
    MEMBER_ORIGINS
};

/* For ORIGINS, `gguf` is the stem of the numbered keys. NULL: as in the JSON. */
static const struct member {
    const char *name;
    enum member_kind kind;
    const char *gguf;
} members[] = {
    {"general.name", MEMBER_TEXT, NULL},
    {"general.author", MEMBER_TEXT, NULL},
    {"general.version", MEMBER_TEXT, NULL},
    {"general.organization", MEMBER_TEXT, NULL},
    {"general.finetune", MEMBER_TEXT, NULL},
    {"general.basename", MEMBER_TEXT, NULL},
    {"general.description", MEMBER_TEXT, NULL},
    {"general.quantized_by", MEMBER_TEXT, NULL},
    {"general.size_label", MEMBER_TEXT, NULL},
    {"general.license", MEMBER_LICENSE, NULL},
    {"general.license.name", MEMBER_TEXT, NULL},
    {"general.license.link", MEMBER_TEXT, NULL},
    {"general.url", MEMBER_TEXT, NULL},
    {"general.doi", MEMBER_TEXT, NULL},
    {"general.uuid", MEMBER_TEXT, NULL},
    {"general.repo_url", MEMBER_TEXT, NULL},
    {"general.source.url", MEMBER_TEXT, NULL},
    {"general.source.doi", MEMBER_TEXT, NULL},
    {"general.source.uuid", MEMBER_TEXT, NULL},
    {"general.source.repo_url", MEMBER_TEXT, NULL},
    {"general.tags", MEMBER_LIST, NULL},
    {"general.languages", MEMBER_LIST, NULL},
    {"general.base_models", MEMBER_ORIGINS, "general.base_model"},
    {"general.datasets", MEMBER_ORIGINS, "general.dataset"},
    {"general.sampling.sequence", MEMBER_TEXT, NULL},
    {"general.sampling.top_k", MEMBER_I32, NULL},
    {"general.sampling.top_p", MEMBER_F32, NULL},
    {"general.sampling.min_p", MEMBER_F32, NULL},
    {"general.sampling.xtc_probability", MEMBER_F32, NULL},
    {"general.sampling.xtc_threshold", MEMBER_F32, NULL},
    {"general.sampling.temp", MEMBER_F32, NULL},
    {"general.sampling.penalty_last_n", MEMBER_I32, NULL},
    {"general.sampling.penalty_repeat", MEMBER_F32, NULL},
    {"general.sampling.mirostat", MEMBER_I32, NULL},
    {"general.sampling.mirostat_tau", MEMBER_F32, NULL},
    {"general.sampling.mirostat_eta", MEMBER_F32, NULL},
};

/* What is known of a base model or data set. */
static const char *const origin_fields[] = {
    "name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url"};
#define N_ORIGIN_FIELDS (sizeof origin_fields / sizeof origin_fields[0])

struct reader {
    struct metadata *out;
    struct bitnet_arena *arena;
    const struct bitnet_log *log;
};

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for metadata");
}

static enum bitnet_status fail_kind(struct bitnet_str key, const struct bitnet_json *value,
                                    const char *expected, struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_FORMAT, "line %u column %u: %s must be %s", value->line,
                       value->column, BITNET_QUOTE(key), expected);
}

static enum bitnet_status add(struct reader *r, struct bitnet_str key,
                              struct bitnet_gguf_value value, struct bitnet_error *err)
{
    struct bitnet_gguf_edit *edit = &r->out->edits[r->out->n_edits];
    *edit = (struct bitnet_gguf_edit){.key = bitnet_arena_copy(r->arena, key), .value = value};
    if (!edit->key.at) return no_memory(err);
    r->out->n_edits++;
    return BITNET_OK;
}

static enum bitnet_status add_text(struct reader *r, struct bitnet_str key,
                                   const struct bitnet_json *value, struct bitnet_error *err)
{
    if (value->kind != BITNET_JSON_STRING) return fail_kind(key, value, "a text", err);
    struct bitnet_str text = bitnet_arena_copy(r->arena, value->text);
    if (!text.at) return no_memory(err);
    return add(r, key, (struct bitnet_gguf_value){.type = BITNET_GGUF_STRING, .text = text}, err);
}

static enum bitnet_status add_f32(struct reader *r, struct bitnet_str key,
                                  const struct bitnet_json *value, struct bitnet_error *err)
{
    double number = 0;
    if (!bitnet_json_as_f64(value, &number) || !isfinite((float)number))
        return fail_kind(key, value, "a number", err);
    return add(r, key, (struct bitnet_gguf_value){.type = BITNET_GGUF_F32, .f64 = number}, err);
}

static enum bitnet_status add_i32(struct reader *r, struct bitnet_str key,
                                  const struct bitnet_json *value, struct bitnet_error *err)
{
    int64_t number = 0;
    if (!bitnet_json_as_i64(value, &number) || number < INT32_MIN || number > INT32_MAX)
        return fail_kind(key, value, "a whole number of 32 bits", err);
    return add(r, key, (struct bitnet_gguf_value){.type = BITNET_GGUF_I32, .i64 = number}, err);
}

static enum bitnet_status read_list(struct reader *r, struct bitnet_str key,
                                    const struct bitnet_json *value, struct bitnet_str **texts,
                                    struct bitnet_error *err)
{
    size_t i = 0;
    if (value->kind != BITNET_JSON_ARRAY) return fail_kind(key, value, "a list of texts", err);
    *texts = bitnet_arena_alloc(r->arena, value->n_children + 1, sizeof **texts);
    if (!*texts) return no_memory(err);
    for (const struct bitnet_json *v = value->child; v; v = v->next, i++) {
        if (v->kind != BITNET_JSON_STRING) return fail_kind(key, v, "a list of texts", err);
        (*texts)[i] = bitnet_arena_copy(r->arena, v->text);
        if (!(*texts)[i].at) return no_memory(err);
    }
    return BITNET_OK;
}

static enum bitnet_status add_list(struct reader *r, struct bitnet_str key,
                                   const struct bitnet_json *value, struct bitnet_error *err)
{
    struct bitnet_str *texts = NULL;
    enum bitnet_status status = read_list(r, key, value, &texts, err);
    if (status) return status;
    return add(r, key,
               (struct bitnet_gguf_value){.type = BITNET_GGUF_ARRAY,
                                          .element = BITNET_GGUF_STRING,
                                          .n = value->n_children,
                                          .strings = texts},
               err);
}

/* Several licenses are joined by commas. */
static enum bitnet_status add_license(struct reader *r, struct bitnet_str key,
                                      const struct bitnet_json *value, struct bitnet_error *err)
{
    struct bitnet_str *texts = NULL;
    struct bitnet_buf joined = {.max = FILE_BYTES_MAX};
    if (value->kind == BITNET_JSON_STRING) return add_text(r, key, value, err);
    enum bitnet_status status = read_list(r, key, value, &texts, err);
    for (size_t i = 0; i < value->n_children && !status; i++)
        bitnet_buf_printf(&joined, "%s%.*s", i ? "," : "", BITNET_STR_ARGS(texts[i]));
    struct bitnet_str text =
        bitnet_arena_copy(r->arena, (struct bitnet_str){joined.at ? joined.at : "", joined.n});
    bool is_short = joined.failed || !text.at;
    bitnet_buf_free(&joined);
    if (status || is_short) return status ? status : no_memory(err);
    return add(r, key, (struct bitnet_gguf_value){.type = BITNET_GGUF_STRING, .text = text}, err);
}

static enum bitnet_status add_origin(struct reader *r, const char *stem, size_t number,
                                     const struct bitnet_json *origin, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (origin->kind != BITNET_JSON_OBJECT)
        return fail_kind(bitnet_str_of(stem), origin, "a list of objects", err);
    for (size_t f = 0; f < N_ORIGIN_FIELDS && !status; f++) {
        const struct bitnet_json *value = bitnet_json_get(origin, origin_fields[f]);
        char key[96];
        int n = snprintf(key, sizeof key, "%s.%zu.%s", stem, number, origin_fields[f]);
        if (value) status = add_text(r, (struct bitnet_str){key, (size_t)n}, value, err);
    }
    return status;
}

static enum bitnet_status add_origins(struct reader *r, const char *stem,
                                      const struct bitnet_json *value, struct bitnet_error *err)
{
    char key[64];
    size_t i = 0;
    if (value->kind != BITNET_JSON_ARRAY)
        return fail_kind(value->key, value, "a list of objects", err);
    int n = snprintf(key, sizeof key, "%s.count", stem);
    enum bitnet_status status =
        add(r, (struct bitnet_str){key, (size_t)n},
            (struct bitnet_gguf_value){.type = BITNET_GGUF_U32, .u64 = value->n_children}, err);
    for (const struct bitnet_json *v = value->child; v && !status; v = v->next, i++)
        status = add_origin(r, stem, i, v, err);
    return status;
}

static enum bitnet_status add_member(struct reader *r, const struct member *member,
                                     const struct bitnet_json *value, struct bitnet_error *err)
{
    switch (member->kind) {
    case MEMBER_TEXT:
        return add_text(r, value->key, value, err);
    case MEMBER_F32:
        return add_f32(r, value->key, value, err);
    case MEMBER_I32:
        return add_i32(r, value->key, value, err);
    case MEMBER_LIST:
        return add_list(r, value->key, value, err);
    case MEMBER_LICENSE:
        return add_license(r, value->key, value, err);
    case MEMBER_ORIGINS:
        break;
    }
    return add_origins(r, member->gguf, value, err);
}

static const struct member *find_member(struct bitnet_str name)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (bitnet_str_is(name, members[i].name)) return &members[i];
    return NULL;
}

static enum bitnet_status read_members(struct reader *r, const struct bitnet_json *root,
                                       struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (const struct bitnet_json *v = root->child; v && !status; v = v->next) {
        const struct member *member = find_member(v->key);
        if (v->kind == BITNET_JSON_NULL) continue;
        if (member)
            status = add_member(r, member, v, err);
        else
            bitnet_log_say(r->log, BITNET_LOG_WARNING,
                           "metadata: %s is no key that describes a model; it is left out",
                           BITNET_QUOTE(v->key));
    }
    return status;
}

/* Room for every key that can come of the tree: an origin has at most as many as fields. */
static size_t count_keys(const struct bitnet_json *root)
{
    size_t n = 0;
    for (const struct bitnet_json *v = root->child; v; v = v->next)
        n += 1 + (v->kind == BITNET_JSON_ARRAY ? v->n_children * N_ORIGIN_FIELDS : 0);
    return n;
}

enum bitnet_status metadata_parse(struct metadata *metadata, struct bitnet_str text,
                                  struct bitnet_arena *arena, const struct bitnet_log *log,
                                  struct bitnet_error *err)
{
    const struct bitnet_json *root = NULL;
    struct bitnet_arena tree = {0};
    struct reader reader = {metadata, arena, log};
    *metadata = (struct metadata){0};
    enum bitnet_status status = bitnet_json_parse(&root, text, NULL, &tree, err);
    if (!status && root->kind != BITNET_JSON_OBJECT)
        status = bitnet_fail(err, BITNET_FORMAT, "it is no JSON object");
    if (!status) {
        metadata->edits = bitnet_arena_alloc(arena, count_keys(root) + 1, sizeof *metadata->edits);
        status = metadata->edits ? read_members(&reader, root, err) : no_memory(err);
    }
    bitnet_arena_free(&tree);
    return status;
}

enum bitnet_status metadata_read(struct metadata *metadata, const char *path,
                                 struct bitnet_arena *arena, const struct bitnet_log *log,
                                 struct bitnet_error *err)
{
    struct bitnet_str text = {0};
    *metadata = (struct metadata){0};
    enum bitnet_status status = bitnet_read_file(path, FILE_BYTES_MAX, &text, err);
    if (status) return status;
    status = metadata_parse(metadata, text, arena, log, err);
    bitnet_free((void *)(uintptr_t)text.at);
    return status ? bitnet_error_prefix(err, status, "%s", path) : BITNET_OK;
}
