/* The safetensors header: u64 length, JSON object, data.
 *
 *     u64 n | { "name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, ... } | data
 *
 * The object may carry "__metadata__", texts only, and may be padded with spaces. Offsets count
 * from the start of the data; sorted, they must tile it exactly.
 *
 * In: an open file. Out: a checked list of tensors. Source of truth: the format section of
 * huggingface/safetensors' README and the checks of its reference reader. */
#include "safetensors.h"

#include "bitnet/json.h"
#include "bitnet/text.h"

#include <inttypes.h>
#include <stdio.h> /* snprintf */
#include <stdlib.h>

/* --- ceilings --- */
#define HEADER_BYTES_MAX   100000000u /* the reference reader's */
#define TENSORS_MAX        262144u
#define NAME_BYTES_MAX     1024u
#define METADATA_BYTES_MAX (16u << 20)
#define DIMS_MAX           64u

static const struct st_dtype dtypes[] = {
    {"F64", 64, ST_F64},          {"F32", 32, ST_F32},      {"F16", 16, ST_F16},
    {"BF16", 16, ST_BF16},        {"U8", 8, ST_U8},         {"BOOL", 8, ST_OTHER},
    {"I8", 8, ST_OTHER},          {"I16", 16, ST_OTHER},    {"U16", 16, ST_OTHER},
    {"I32", 32, ST_OTHER},        {"U32", 32, ST_OTHER},    {"I64", 64, ST_OTHER},
    {"U64", 64, ST_OTHER},        {"C64", 64, ST_OTHER},    {"F8_E4M3", 8, ST_OTHER},
    {"F8_E5M2", 8, ST_OTHER},     {"F8_E8M0", 8, ST_OTHER}, {"F8_E4M3FNUZ", 8, ST_OTHER},
    {"F8_E5M2FNUZ", 8, ST_OTHER}, {"F6_E2M3", 6, ST_OTHER}, {"F6_E3M2", 6, ST_OTHER},
    {"F4", 4, ST_OTHER},
};

static const struct st_dtype *find_dtype(struct bitnet_str name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (bitnet_str_is(name, dtypes[i].name)) return &dtypes[i];
    return NULL;
}

/* A header that makes no sense is most often no safetensors file at all: say which it is. */
static enum bitnet_status fail_header(const struct bitnet_file *file, enum bitnet_status status,
                                      struct bitnet_error *err)
{
    uint8_t head[512];
    size_t n = file->bytes.n < sizeof head ? file->bytes.n : sizeof head;
    if (bitnet_file_read(file, 0, head, n, NULL) != BITNET_OK) return status;
    const char *hint = NULL;
    const char *accident = bitnet_file_accident((struct bitnet_bytes){head, n}, &hint);
    if (!accident || strstr(accident, "safetensors")) return status;
    bitnet_fail(err, status, "%s", accident);
    return hint ? bitnet_hint(err, status, "%s", hint) : status;
}

static enum bitnet_status check_length(const struct bitnet_file *file, uint64_t *header_bytes,
                                       struct bitnet_error *err)
{
    uint8_t prefix[8];
    if (file->bytes.n == 0) return bitnet_fail(err, BITNET_FORMAT, "file is empty");
    if (file->bytes.n < sizeof prefix)
        return bitnet_fail(err, BITNET_FORMAT,
                           "file of %zu bytes is shorter than the 8 bytes of the header length",
                           file->bytes.n);
    enum bitnet_status status = bitnet_file_read(file, 0, prefix, sizeof prefix, err);
    if (status) return status;

    uint64_t n = bitnet_load_u64(prefix), present = file->bytes.n - sizeof prefix;
    *header_bytes = n;
    if (n > HEADER_BYTES_MAX) {
        bitnet_fail(err, BITNET_LIMIT, "header length %" PRIu64 " exceeds the limit %u", n,
                    HEADER_BYTES_MAX);
        return fail_header(file, BITNET_LIMIT, err);
    }
    if (n > present) {
        bitnet_fail(err, BITNET_FORMAT,
                    "header of %" PRIu64 " bytes announced, %" PRIu64 " present", n, present);
        bitnet_hint(err, BITNET_FORMAT, "incomplete download or copy");
        return fail_header(file, BITNET_FORMAT, err);
    }
    if (n < 2) {
        bitnet_fail(err, BITNET_FORMAT, "header length %" PRIu64 " is too short for '{}'", n);
        return fail_header(file, BITNET_FORMAT, err);
    }
    return BITNET_OK;
}

/* The reader of JSON is content with any white space around the value; this format is not. */
static enum bitnet_status check_frame(struct bitnet_str *header, struct bitnet_error *err)
{
    if (header->at[0] != '{')
        return bitnet_fail(err, BITNET_FORMAT, "header must begin with '{', found %s",
                           BITNET_QUOTE(((struct bitnet_str){header->at, 1})));
    while (header->n > 1 && header->at[header->n - 1] == ' ') header->n--;
    if (header->at[header->n - 1] != '}')
        return bitnet_fail(
            err, BITNET_FORMAT, "header must end with '}' and spaces, found %s at byte %zu",
            BITNET_QUOTE(((struct bitnet_str){header->at + header->n - 1, 1})), 8 + header->n - 1);
    return BITNET_OK;
}

static enum bitnet_status check_metadata(const struct bitnet_json *metadata,
                                         struct bitnet_error *err)
{
    if (metadata->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(err, BITNET_FORMAT, "__metadata__ is not an object");
    for (const struct bitnet_json *v = metadata->child; v; v = v->next) {
        if (v->kind != BITNET_JSON_STRING)
            return bitnet_fail(err, BITNET_FORMAT, "__metadata__ %s is not text",
                               BITNET_QUOTE(v->key));
        if (v->text.n > METADATA_BYTES_MAX)
            return bitnet_fail(err, BITNET_LIMIT, "__metadata__ %s: %zu bytes (limit %u)",
                               BITNET_QUOTE(v->key), v->text.n, METADATA_BYTES_MAX);
    }
    return BITNET_OK;
}

static enum bitnet_status check_name(struct bitnet_str name, struct bitnet_error *err)
{
    if (name.n == 0) return bitnet_fail(err, BITNET_FORMAT, "a tensor's name is empty");
    if (name.n > NAME_BYTES_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "tensor %s: name of %zu bytes (limit %u)",
                           BITNET_QUOTE(name), name.n, NAME_BYTES_MAX);
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.at[i] < 0x20 || name.at[i] == 0x7f)
            return bitnet_fail(err, BITNET_FORMAT, "tensor %s: name contains a control character",
                               BITNET_QUOTE(name));
    return BITNET_OK;
}

static enum bitnet_status need(const struct bitnet_json *entry, const char *field,
                               enum bitnet_json_kind kind, const struct bitnet_json **value,
                               struct bitnet_error *err)
{
    *value = bitnet_json_get(entry, field);
    if (!*value)
        return bitnet_fail(err, BITNET_FORMAT, "tensor %s: '%s' is missing",
                           BITNET_QUOTE(entry->key), field);
    if ((*value)->kind != kind)
        return bitnet_fail(err, BITNET_FORMAT, "tensor %s: '%s' is not %s",
                           BITNET_QUOTE(entry->key), field,
                           kind == BITNET_JSON_STRING ? "text" : "a list");
    return BITNET_OK;
}

static enum bitnet_status read_dtype(struct st_tensor *tensor, const struct bitnet_json *entry,
                                     struct bitnet_error *err)
{
    const struct bitnet_json *value;
    enum bitnet_status status = need(entry, "dtype", BITNET_JSON_STRING, &value, err);
    if (status) return status;
    tensor->dtype = find_dtype(value->text);
    if (tensor->dtype) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "tensor %s: dtype %s is not known",
                       BITNET_QUOTE(tensor->name), BITNET_QUOTE(value->text));
}

static enum bitnet_status read_dims(struct st_tensor *tensor, const struct bitnet_json *entry,
                                    struct bitnet_arena *arena, struct bitnet_error *err)
{
    const struct bitnet_json *list;
    enum bitnet_status status = need(entry, "shape", BITNET_JSON_ARRAY, &list, err);
    if (status) return status;
    if (list->n_children > DIMS_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "tensor %s: %zu dimensions (allowed 0 to %u)",
                           BITNET_QUOTE(tensor->name), list->n_children, DIMS_MAX);

    uint64_t *dims = bitnet_arena_alloc(arena, list->n_children + 1, sizeof *dims);
    if (!dims) return bitnet_fail(err, BITNET_MEMORY, "no memory for the header");
    for (const struct bitnet_json *v = list->child; v; v = v->next)
        if (!bitnet_json_as_u64(v, &dims[tensor->n_dims++]))
            return bitnet_fail(err, BITNET_FORMAT,
                               "tensor %s: dimension %u is not a whole number in range",
                               BITNET_QUOTE(tensor->name), tensor->n_dims - 1);
    tensor->dims = dims;
    return BITNET_OK;
}

/* "4294967296 x 4294967296", cut after some dimensions. */
static const char *shape_text(const struct st_tensor *tensor, struct bitnet_quoted *out)
{
    size_t used = 0;
    out->text[0] = '\0';
    for (uint32_t i = 0; i < tensor->n_dims && i < 8; i++)
        used += (size_t)snprintf(out->text + used, sizeof out->text - used, "%s%" PRIu64,
                                 i ? " x " : "", tensor->dims[i]);
    return out->text;
}

/* A dimension of zero does not excuse the others: the product is checked in the order stored. */
static enum bitnet_status count_bytes(const struct st_tensor *tensor, uint64_t *n_bytes,
                                      struct bitnet_error *err)
{
    uint64_t n = 1, largest = 1;
    bool fits = true;
    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        uint64_t d = tensor->dims[i];
        fits = fits && bitnet_mul_u64(n, d, &n) && bitnet_mul_u64(largest, d ? d : 1, &largest) &&
               largest < UINT64_C(1) << 63;
    }
    uint64_t bits = 0;
    if (!fits || !bitnet_mul_u64(n, tensor->dtype->bits, &bits))
        return bitnet_fail(err, BITNET_FORMAT, "tensor %s: shape %s is too large",
                           BITNET_QUOTE(tensor->name),
                           shape_text(tensor, &(struct bitnet_quoted){{0}}));
    if (bits % 8 != 0)
        return bitnet_fail(err, BITNET_FORMAT,
                           "tensor %s: %" PRIu64 " numbers of %u bits do not fill whole bytes",
                           BITNET_QUOTE(tensor->name), n, tensor->dtype->bits);
    *n_bytes = bits / 8;
    return BITNET_OK;
}

static enum bitnet_status read_offsets(const struct st_tensor *tensor,
                                       const struct bitnet_json *entry, uint64_t range[2],
                                       struct bitnet_error *err)
{
    const struct bitnet_json *list;
    enum bitnet_status status = need(entry, "data_offsets", BITNET_JSON_ARRAY, &list, err);
    if (status) return status;
    if (list->n_children != 2)
        return bitnet_fail(err, BITNET_FORMAT, "tensor %s: 'data_offsets' has %zu numbers, not 2",
                           BITNET_QUOTE(tensor->name), list->n_children);
    if (!bitnet_json_as_u64(list->child, &range[0]) ||
        !bitnet_json_as_u64(list->child->next, &range[1]))
        return bitnet_fail(err, BITNET_FORMAT,
                           "tensor %s: 'data_offsets' are not whole numbers in range",
                           BITNET_QUOTE(tensor->name));
    if (range[1] < range[0])
        return bitnet_fail(err, BITNET_FORMAT,
                           "tensor %s: data ends (%" PRIu64 ") before it begins (%" PRIu64 ")",
                           BITNET_QUOTE(tensor->name), range[1], range[0]);
    return BITNET_OK;
}

static enum bitnet_status place(struct st_tensor *tensor, const uint64_t range[2],
                                struct bitnet_bytes data, struct bitnet_error *err)
{
    uint64_t n_bytes = 0;
    enum bitnet_status status = count_bytes(tensor, &n_bytes, err);
    if (status) return status;
    if (range[1] - range[0] != n_bytes)
        return bitnet_fail(
            err, BITNET_FORMAT,
            "tensor %s: %s of shape %s needs %" PRIu64 " bytes, its offsets span %" PRIu64,
            BITNET_QUOTE(tensor->name), tensor->dtype->name,
            shape_text(tensor, &(struct bitnet_quoted){{0}}), n_bytes, range[1] - range[0]);
    if (!bitnet_range_ok(range[0], n_bytes, data.n)) {
        bitnet_fail(err, BITNET_FORMAT,
                    "tensor %s: data ends at byte %" PRIu64 " but only %zu bytes are present",
                    BITNET_QUOTE(tensor->name), range[1], data.n);
        return bitnet_hint(err, BITNET_FORMAT, "incomplete download or copy");
    }
    tensor->data = (struct bitnet_bytes){data.at + range[0], (size_t)n_bytes};
    return BITNET_OK;
}

static enum bitnet_status read_entry(struct st_tensor *tensor, const struct bitnet_json *entry,
                                     struct bitnet_bytes data, struct bitnet_arena *arena,
                                     struct bitnet_error *err)
{
    uint64_t range[2];
    enum bitnet_status status = check_name(entry->key, err);
    if (status) return status;
    if (entry->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(err, BITNET_FORMAT, "tensor %s: its entry is not an object",
                           BITNET_QUOTE(entry->key));
    tensor->name = bitnet_arena_copy(arena, entry->key);
    if (!tensor->name.at) return bitnet_fail(err, BITNET_MEMORY, "no memory for the header");
    status = read_dtype(tensor, entry, err);
    if (!status) status = read_dims(tensor, entry, arena, err);
    if (!status) status = read_offsets(tensor, entry, range, err);
    if (!status) status = place(tensor, range, data, err);
    return status;
}

static int compare_place(const void *a, const void *b)
{
    const struct st_tensor *x = a, *y = b;
    if (x->data.at != y->data.at) return x->data.at < y->data.at ? -1 : 1;
    return (x->data.n > y->data.n) - (x->data.n < y->data.n); /* empty ones first */
}

/* Sorted, each tensor begins where the one before it ends. */
static enum bitnet_status check_tiling(const struct st_list *list, struct bitnet_bytes data,
                                       struct bitnet_error *err)
{
    const uint8_t *end = data.at;
    for (size_t i = 0; i < list->n; i++) {
        const struct st_tensor *t = &list->at[i];
        if (t->data.at < end)
            return bitnet_fail(err, BITNET_FORMAT, "tensors %s and %s overlap",
                               BITNET_QUOTE(list->at[i - 1].name), BITNET_QUOTE(t->name));
        if (t->data.at > end)
            return bitnet_fail(err, BITNET_FORMAT,
                               "bytes %td to %td of the data belong to no tensor", end - data.at,
                               t->data.at - data.at - 1);
        end = t->data.at + t->data.n;
    }
    size_t tail = data.n - (size_t)(end - data.at);
    if (tail) return bitnet_fail(err, BITNET_FORMAT, "%zu bytes after the last tensor", tail);
    return BITNET_OK;
}

static enum bitnet_status read_list(struct st_list *list, struct bitnet_str header,
                                    struct bitnet_bytes data, struct bitnet_arena *arena,
                                    struct bitnet_error *err)
{
    struct bitnet_arena scratch = {0};
    const struct bitnet_json *root = NULL;
    enum bitnet_status status = bitnet_json_parse(&root, header, NULL, &scratch, err);
    if (status) {
        bitnet_error_prefix(err, status, "header");
        goto done;
    }
    if (root->n_children > TENSORS_MAX) {
        status =
            bitnet_fail(err, BITNET_LIMIT, "%zu tensors (limit %u)", root->n_children, TENSORS_MAX);
        goto done;
    }
    list->at = bitnet_arena_alloc(arena, root->n_children + 1, sizeof *list->at);
    if (!list->at) {
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for the header");
        goto done;
    }
    for (const struct bitnet_json *e = root->child; e && !status; e = e->next) {
        if (bitnet_str_is(e->key, "__metadata__"))
            status = check_metadata(e, err);
        else
            status = read_entry(&list->at[list->n++], e, data, arena, err);
    }
    if (!status) {
        qsort(list->at, list->n, sizeof *list->at, compare_place);
        status = check_tiling(list, data, err);
    }
done:
    bitnet_arena_free(&scratch);
    return status;
}

enum bitnet_status st_read(struct st_list *list, const struct bitnet_file *file,
                           struct bitnet_arena *arena, struct bitnet_error *err)
{
    struct bitnet_arena scratch = {0};
    uint64_t n = 0;
    *list = (struct st_list){0};
    enum bitnet_status status = check_length(file, &n, err);
    if (status) return status;

    char *text = bitnet_arena_alloc(&scratch, 1, (size_t)n);
    if (!text) {
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for a header of %" PRIu64 " bytes", n);
        goto done;
    }
    struct bitnet_str header = {text, (size_t)n};
    struct bitnet_bytes data = {file->bytes.at + 8 + n, file->bytes.n - 8 - (size_t)n};
    status = bitnet_file_read(file, 8, text, (size_t)n, err);
    if (!status) status = check_frame(&header, err);
    if (!status) status = read_list(list, header, data, arena, err);
done:
    bitnet_arena_free(&scratch);
    if (status) *list = (struct st_list){0};
    return status;
}
