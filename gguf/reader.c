/* The directory of one GGUF file: bytes in; header, keys, values and tensor infos out, each number
 * checked against its limit and against the bytes that are really there.
 *
 *     'GGUF'  u32 version  u64 n_tensors  u64 n_keys
 *     n_keys    x { string name; u32 type; value }
 *     n_tensors x { string name; u32 n_dims; u64 dim[n_dims]; u32 type; u64 offset }
 *     padding to the alignment, then the data section
 *
 * A string is a u64 length and its bytes; an array is a u32 element type, a u64 count and the
 * elements. Source: ggml's docs/gguf.md and src/gguf.cpp. Limits: reliability.md section 4.
 *
 * The metadata's length is stated nowhere. So it is read into a buffer that starts small; when the
 * parser needs bytes beyond the buffer that the file does have, the parse starts again with a
 * larger one. Growth by four makes the repeated work a third of the whole at most. */
#include "reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Ceilings, all of them. */
#define HEADER_BYTES       24
#define METADATA_BYTES_MAX (512ull << 20)
#define KEYS_MAX           1048576
#define TENSORS_MAX        262144
#define KEY_BYTES_MAX      65535
#define TEXT_BYTES_MAX     (64ull << 20)
#define NAME_BYTES_MAX     255
#define NESTING_MAX        4
#define ALIGNMENT_MAX      65536
#define KEY_BYTES_MIN      13 /* of a key with its value: what a count is believed by */
#define INFO_BYTES_MIN     24 /* of a tensor info */
#define STRING_BYTES_MIN   8
#define ARRAY_BYTES_MIN    12

#define ALIGNMENT_DEFAULT  32
#define FIRST_BUFFER_BYTES (1u << 20)
#define BUFFER_GROWTH      4

/* What the parser is inside of, for its messages. */
enum place { IN_KEY_NAME, IN_KEY, IN_TENSOR_NAME, IN_TENSOR };

struct parser {
    struct bitnet_cursor at;
    uint64_t file_bytes;
    uint64_t max_bytes; /* of header and metadata */
    bool is_short;      /* the buffer ends, the file does not: start again with `wanted` bytes */
    uint64_t wanted;
    enum place place;
    uint64_t number; /* of the key or tensor, from 1 */
    struct bitnet_str name;
    struct gguf_part *part;
    uint64_t n_keys, n_tensors;
    size_t pairs_cap, tensors_cap;
};

/* ------------------------------------------------------------------ messages */

static const char *place_text(const struct parser *p, char *out, size_t n)
{
    switch (p->place) {
    case IN_KEY_NAME:
        snprintf(out, n, "key %" PRIu64, p->number);
        break;
    case IN_KEY:
        snprintf(out, n, "key %s", BITNET_QUOTE(p->name));
        break;
    case IN_TENSOR_NAME:
        snprintf(out, n, "tensor %" PRIu64, p->number);
        break;
    case IN_TENSOR:
        snprintf(out, n, "tensor %s", BITNET_QUOTE(p->name));
        break;
    }
    return out;
}

/* "key 'general.name': " + the text. Things without a name yet get their byte position too. */
__attribute__((format(printf, 4, 5))) static enum bitnet_status refuse(const struct parser *p,
                                                                       enum bitnet_status status,
                                                                       struct bitnet_error *err,
                                                                       const char *format, ...)
{
    char text[400], place[440];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    place_text(p, place, sizeof place);
    if (p->place == IN_KEY_NAME || p->place == IN_TENSOR_NAME)
        return bitnet_fail(err, status, "byte %zu: %s: %s", p->at.pos, place, text);
    return bitnet_fail(err, status, "%s: %s", place, text);
}

static const char *size_text(uint64_t n_bytes, char out[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (n_bytes >= 10240 && unit < 4) {
        n_bytes /= 1024;
        unit++;
    }
    snprintf(out, 32, "%" PRIu64 " %s", n_bytes, units[unit]);
    return out;
}

/* ------------------------------------------------------------------ taking bytes */

static uint64_t file_left(const struct parser *p)
{
    return p->file_bytes - p->at.pos;
}

/* After OK the next n bytes can be taken. */
static enum bitnet_status need(struct parser *p, uint64_t n, struct bitnet_error *err)
{
    if (n <= bitnet_cursor_left(&p->at)) return BITNET_OK;
    if (n > file_left(p)) {
        char place[440];
        return bitnet_fail(err, BITNET_FORMAT, "byte %zu: file ends inside %s", p->at.pos,
                           place_text(p, place, sizeof place));
    }
    if (n > p->max_bytes - p->at.pos)
        return bitnet_fail(err, BITNET_LIMIT,
                           "byte %zu: header and metadata exceed the limit of %" PRIu64 " bytes",
                           p->at.pos, p->max_bytes);
    p->is_short = true;
    p->wanted = p->at.pos + n;
    return BITNET_FORMAT;
}

static enum bitnet_status take_u32(struct parser *p, uint32_t *value, struct bitnet_error *err)
{
    enum bitnet_status status = need(p, 4, err);
    if (!status) *value = bitnet_take_u32(&p->at);
    return status;
}

static enum bitnet_status take_u64(struct parser *p, uint64_t *value, struct bitnet_error *err)
{
    enum bitnet_status status = need(p, 8, err);
    if (!status) *value = bitnet_take_u64(&p->at);
    return status;
}

/* `what` is "name" or "text". */
static enum bitnet_status take_string(struct parser *p, const char *what, uint64_t max_bytes,
                                      struct bitnet_str *text, struct bitnet_error *err)
{
    uint64_t n = 0;
    enum bitnet_status status = take_u64(p, &n, err);
    if (status) return status;
    if (n > max_bytes)
        return refuse(p, BITNET_LIMIT, err, "length %" PRIu64 " exceeds the limit %" PRIu64, n,
                      max_bytes);
    if (n > file_left(p))
        return refuse(p, BITNET_FORMAT, err,
                      "%s of %" PRIu64 " bytes runs past the end of the file", what, n);
    status = need(p, n, err);
    if (status) return status;
    text->n = (size_t)n;
    text->at = (const char *)bitnet_take(&p->at, n);
    return BITNET_OK;
}

static bool is_control(uint32_t code_point)
{
    return code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0);
}

enum bitnet_status gguf_name_check(struct bitnet_str name, struct bitnet_error *err)
{
    if (name.n == 0) return bitnet_fail(err, BITNET_FORMAT, "name is empty");
    for (size_t i = 0; i < name.n;) {
        uint32_t code_point = 0;
        size_t n = bitnet_utf8_decode(name.at + i, name.n - i, &code_point);
        if (n == 0)
            return bitnet_fail(err, BITNET_FORMAT, "name %s is not valid UTF-8",
                               BITNET_QUOTE(name));
        if (is_control(code_point))
            return bitnet_fail(err, BITNET_FORMAT,
                               "name contains the control character \\x%02" PRIx32, code_point);
        i += n;
    }
    return BITNET_OK;
}

static enum bitnet_status take_name(struct parser *p, uint64_t max_bytes, struct bitnet_str *name,
                                    struct bitnet_error *err)
{
    enum bitnet_status status = take_string(p, "name", max_bytes, name, err);
    if (status) return status;
    status = gguf_name_check(*name, err);
    if (status) {
        char place[440];
        return bitnet_error_prefix(err, status, "%s", place_text(p, place, sizeof place));
    }
    return BITNET_OK;
}

/* ------------------------------------------------------------------ header */

static bool has_magic(struct bitnet_bytes head)
{
    return head.n >= 4 && memcmp(head.at, "GGUF", 4) == 0;
}

static enum bitnet_status refuse_other_format(struct bitnet_bytes head, struct bitnet_error *err)
{
    const char *hint = NULL;
    const char *accident = bitnet_file_accident(head, &hint);
    if (accident) {
        bitnet_fail(err, BITNET_FORMAT, "%s", accident);
        return hint ? bitnet_hint(err, BITNET_FORMAT, "%s", hint) : BITNET_FORMAT;
    }
    if (head.n < 4)
        return bitnet_fail(err, BITNET_FORMAT,
                           "byte 0: file ends inside the header (%zu bytes, at least %d needed)",
                           head.n, HEADER_BYTES);
    bitnet_fail(err, BITNET_FORMAT, "not a GGUF file (starts with %02x %02x %02x %02x)", head.at[0],
                head.at[1], head.at[2], head.at[3]);
    return bitnet_hint(err, BITNET_FORMAT, "`bitnet convert` makes one from a checkpoint's folder");
}

static enum bitnet_status check_version(uint32_t version, struct bitnet_error *err)
{
    if (version == 2 || version == 3) return BITNET_OK;
    if (version != 0 && (version & 0xffff) == 0 && __builtin_bswap32(version) <= 3)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "big-endian GGUF is not supported");
    return bitnet_fail(err, BITNET_UNSUPPORTED,
                       "GGUF version %" PRIu32 " is not supported (supported: 2, 3)", version);
}

static enum bitnet_status check_count(const struct parser *p, const char *what, uint64_t n,
                                      uint64_t min_bytes, uint64_t max, struct bitnet_error *err)
{
    char size[32];
    if (n > file_left(p) / min_bytes)
        return bitnet_fail(err, BITNET_FORMAT, "%s count %" PRIu64 " is impossible in a file of %s",
                           what, n, size_text(p->file_bytes, size));
    if (n > max)
        return bitnet_fail(err, BITNET_LIMIT, "%s count %" PRIu64 " exceeds the limit %" PRIu64,
                           what, n, max);
    return BITNET_OK;
}

static enum bitnet_status parse_header(struct parser *p, struct bitnet_error *err)
{
    if (!has_magic(p->at.data)) return refuse_other_format(p->at.data, err);
    if (p->file_bytes < HEADER_BYTES)
        return bitnet_fail(err, BITNET_FORMAT,
                           "byte %d: file ends inside the header (%" PRIu64
                           " bytes, at least %d needed)",
                           p->file_bytes < 8 ? 4 : 8, p->file_bytes, HEADER_BYTES);
    bitnet_take(&p->at, 4);
    p->part->version = bitnet_take_u32(&p->at);
    enum bitnet_status status = check_version(p->part->version, err);
    if (status) return status;
    p->n_tensors = bitnet_take_u64(&p->at);
    p->n_keys = bitnet_take_u64(&p->at);
    status = check_count(p, "tensor", p->n_tensors, INFO_BYTES_MIN, TENSORS_MAX, err);
    if (!status) status = check_count(p, "key", p->n_keys, KEY_BYTES_MIN, KEYS_MAX, err);
    return status;
}

/* ------------------------------------------------------------------ values */

static enum bitnet_status check_bools(const struct parser *p, struct bitnet_bytes bools,
                                      struct bitnet_error *err)
{
    for (size_t i = 0; i < bools.n; i++)
        if (bools.at[i] > 1)
            return refuse(p, BITNET_FORMAT, err, "boolean is %d (allowed 0, 1)", bools.at[i]);
    return BITNET_OK;
}

static enum bitnet_status parse_number(struct parser *p, struct bitnet_gguf_value *value,
                                       struct bitnet_error *err)
{
    size_t n = bitnet_gguf_type_bytes(value->type);
    enum bitnet_status status = need(p, n, err);
    if (status) return status;
    const uint8_t *at = bitnet_take(&p->at, n);
    if (value->type == BITNET_GGUF_BOOL) status = check_bools(p, (struct bitnet_bytes){at, n}, err);
    if (!status) gguf_load_number(value, at);
    return status;
}

/* Element type and count of an array; the count fits what is left of the file. */
static enum bitnet_status parse_array_head(struct parser *p, enum bitnet_gguf_type *element,
                                           uint64_t *n, struct bitnet_error *err)
{
    uint32_t type = 0;
    enum bitnet_status status = take_u32(p, &type, err);
    if (status) return status;
    if (type >= BITNET_GGUF_TYPE_COUNT)
        return refuse(p, BITNET_FORMAT, err, "array element type %" PRIu32 " does not exist", type);
    *element = (enum bitnet_gguf_type)type;
    status = take_u64(p, n, err);
    if (status) return status;
    uint64_t size = type == BITNET_GGUF_STRING  ? STRING_BYTES_MIN
                    : type == BITNET_GGUF_ARRAY ? ARRAY_BYTES_MIN
                                                : bitnet_gguf_type_bytes(*element);
    if (*n > file_left(p) / size)
        return refuse(p, BITNET_FORMAT, err,
                      "%" PRIu64 " elements do not fit in the remaining %" PRIu64 " bytes", *n,
                      file_left(p));
    return BITNET_OK;
}

static enum bitnet_status skip_strings(struct parser *p, uint64_t n, struct bitnet_error *err)
{
    struct bitnet_str text;
    enum bitnet_status status = BITNET_OK;
    for (uint64_t i = 0; i < n && !status; i++)
        status = take_string(p, "text", TEXT_BYTES_MAX, &text, err);
    return status;
}

/* Walks the strings once to prove that they are there, then makes the list: memory follows what was
 * read, not what was announced. */
static enum bitnet_status parse_strings(struct parser *p, struct bitnet_gguf_value *value,
                                        struct bitnet_error *err)
{
    struct bitnet_cursor begin = p->at;
    enum bitnet_status status = skip_strings(p, value->n, err);
    if (status) return status;
    struct bitnet_str *strings =
        bitnet_arena_alloc(&p->part->arena, value->n ? value->n : 1, sizeof *strings);
    if (!strings) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    p->at = begin;
    for (size_t i = 0; i < value->n && !status; i++)
        status = take_string(p, "text", TEXT_BYTES_MAX, &strings[i], err);
    value->strings = strings;
    return status;
}

static enum bitnet_status parse_numbers(struct parser *p, enum bitnet_gguf_type element, uint64_t n,
                                        struct bitnet_bytes *raw, struct bitnet_error *err)
{
    uint64_t n_bytes =
        n * bitnet_gguf_type_bytes(element); /* parse_array_head: at most what is left */
    enum bitnet_status status = need(p, n_bytes, err);
    if (status) return status;
    raw->n = (size_t)n_bytes;
    raw->at = bitnet_take(&p->at, n_bytes);
    return element == BITNET_GGUF_BOOL ? check_bools(p, *raw, err) : BITNET_OK;
}

/* Arrays of arrays carry nothing that a model needs; they are checked and passed over. `open[d]` is
 * the number of arrays still to come at depth d. */
static enum bitnet_status skip_nested(struct parser *p, uint64_t n, struct bitnet_error *err)
{
    uint64_t open[NESTING_MAX] = {n};
    size_t depth = 1;
    enum bitnet_status status = BITNET_OK;
    while (depth > 0 && !status) {
        if (open[depth - 1] == 0) {
            depth--;
            continue;
        }
        open[depth - 1]--;
        enum bitnet_gguf_type element = BITNET_GGUF_U8;
        uint64_t count = 0;
        struct bitnet_bytes raw;
        status = parse_array_head(p, &element, &count, err);
        if (status) break;
        if (element != BITNET_GGUF_ARRAY)
            status = element == BITNET_GGUF_STRING ? skip_strings(p, count, err)
                                                   : parse_numbers(p, element, count, &raw, err);
        else if (depth + 1 < NESTING_MAX)
            open[depth++] = count;
        else
            status = refuse(p, BITNET_LIMIT, err, "arrays nested deeper than %d", NESTING_MAX);
    }
    return status;
}

static enum bitnet_status parse_array(struct parser *p, struct bitnet_gguf_value *value,
                                      struct bitnet_error *err)
{
    uint64_t n = 0;
    enum bitnet_status status = parse_array_head(p, &value->element, &n, err);
    if (status) return status;
    value->n = (size_t)n;
    switch (value->element) {
    case BITNET_GGUF_STRING:
        return parse_strings(p, value, err);
    case BITNET_GGUF_ARRAY:
        return skip_nested(p, n, err);
    default:
        return parse_numbers(p, value->element, n, &value->raw, err);
    }
}

static enum bitnet_status parse_value(struct parser *p, struct bitnet_gguf_value *value,
                                      struct bitnet_error *err)
{
    uint32_t type = 0;
    enum bitnet_status status = take_u32(p, &type, err);
    if (status) return status;
    if (type >= BITNET_GGUF_TYPE_COUNT)
        return refuse(p, BITNET_FORMAT, err, "value type %" PRIu32 " does not exist", type);
    value->type = (enum bitnet_gguf_type)type;
    switch (value->type) {
    case BITNET_GGUF_STRING:
        return take_string(p, "text", TEXT_BYTES_MAX, &value->text, err);
    case BITNET_GGUF_ARRAY:
        return parse_array(p, value, err);
    default:
        return parse_number(p, value, err);
    }
}

static enum bitnet_status parse_pair(struct parser *p, struct bitnet_error *err)
{
    struct gguf_part *part = p->part;
    struct bitnet_gguf_pair pair = {0};
    p->place = IN_KEY_NAME;
    enum bitnet_status status = take_name(p, KEY_BYTES_MAX, &pair.key, err);
    if (status) return status;
    p->place = IN_KEY;
    p->name = pair.key;
    status = parse_value(p, &pair.value, err);
    if (status) return status;

    if (!BITNET_GROW(part->pairs, part->n_pairs, p->pairs_cap, KEYS_MAX))
        return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    switch (bitnet_map_put(&part->keys, pair.key, (uint32_t)part->n_pairs, NULL)) {
    case BITNET_MAP_NEW:
        part->pairs[part->n_pairs++] = pair;
        return BITNET_OK;
    case BITNET_MAP_EXISTS:
        return bitnet_fail(err, BITNET_FORMAT, "key %s appears twice", BITNET_QUOTE(pair.key));
    default:
        return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    }
}

/* ------------------------------------------------------------------ tensor infos */

static enum bitnet_status parse_dims(struct parser *p, struct bitnet_tensor *tensor,
                                     struct bitnet_error *err)
{
    enum bitnet_status status = take_u32(p, &tensor->n_dims, err);
    if (status) return status;
    if (tensor->n_dims < 1 || tensor->n_dims > BITNET_DIMS_MAX)
        return refuse(p, BITNET_FORMAT, err, "%" PRIu32 " dimensions (allowed 1 to %d)",
                      tensor->n_dims, BITNET_DIMS_MAX);
    for (uint32_t i = 0; i < BITNET_DIMS_MAX; i++) {
        tensor->dims[i] = 1;
        if (i >= tensor->n_dims) continue;
        status = take_u64(p, &tensor->dims[i], err);
        if (status) return status;
        if (tensor->dims[i] == 0)
            return refuse(p, BITNET_FORMAT, err, "dimension %" PRIu32 " is zero", i);
    }
    return BITNET_OK;
}

static enum bitnet_status parse_tensor(struct parser *p, struct bitnet_error *err)
{
    struct gguf_part *part = p->part;
    struct bitnet_tensor tensor = {0};
    p->place = IN_TENSOR_NAME;
    enum bitnet_status status = take_name(p, NAME_BYTES_MAX, &tensor.name, err);
    if (status) return status;
    p->place = IN_TENSOR;
    p->name = tensor.name;
    status = parse_dims(p, &tensor, err);
    if (!status) status = take_u32(p, &tensor.type_number, err);
    if (!status) status = take_u64(p, &tensor.offset, err);
    if (status) return status;
    if (!BITNET_GROW(part->tensors, part->n_tensors, p->tensors_cap, TENSORS_MAX))
        return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    part->tensors[part->n_tensors++] = tensor;
    return BITNET_OK;
}

/* ------------------------------------------------------------------ the whole */

/* The one key that the container itself needs. */
static enum bitnet_status find_alignment(struct gguf_part *part, struct bitnet_error *err)
{
    const struct bitnet_gguf_value *value = gguf_part_find(part, "general.alignment");
    part->alignment = ALIGNMENT_DEFAULT;
    if (!value) return BITNET_OK;
    if (value->type != BITNET_GGUF_U32)
        return bitnet_fail(err, BITNET_FORMAT, "key 'general.alignment': expected u32, found %s",
                           bitnet_gguf_type_name(value->type));
    if (!bitnet_is_power_of_two(value->u64) || value->u64 > ALIGNMENT_MAX)
        return bitnet_fail(err, BITNET_FORMAT,
                           "key 'general.alignment': %" PRIu64
                           " is not a power of two from 1 to %d",
                           value->u64, ALIGNMENT_MAX);
    part->alignment = value->u64;
    return BITNET_OK;
}

static enum bitnet_status parse(struct parser *p, struct bitnet_error *err)
{
    enum bitnet_status status = parse_header(p, err);
    for (p->number = 1; p->number <= p->n_keys && !status; p->number++) status = parse_pair(p, err);
    for (p->number = 1; p->number <= p->n_tensors && !status; p->number++)
        status = parse_tensor(p, err);
    if (!status) status = find_alignment(p->part, err);
    if (status) return status;
    /* A position in a file is far from 2^64. */
    bool fits = bitnet_align_up_u64(p->at.pos, p->part->alignment, &p->part->data_start);
    assert(fits);
    (void)fits;
    return BITNET_OK;
}

static void forget_directory(struct gguf_part *part)
{
    bitnet_free(part->pairs);
    bitnet_free(part->tensors);
    bitnet_map_free(&part->keys);
    bitnet_arena_free(&part->arena);
    part->pairs = NULL;
    part->tensors = NULL;
    part->n_pairs = part->n_tensors = 0;
}

/* Bytes from..to of the file join those that part->copy already holds. */
static enum bitnet_status extend_copy(struct gguf_part *part, size_t from, size_t to,
                                      struct bitnet_error *err)
{
    uint8_t *copy = bitnet_realloc(part->copy, to ? to : 1, 1);
    if (!copy) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    part->copy = copy;
    return bitnet_file_read(&part->file, from, copy + from, to - from, err);
}

static size_t smaller(uint64_t a, uint64_t b)
{
    return (size_t)(a < b ? a : b);
}

static enum bitnet_status read_file(struct gguf_part *part, uint64_t max_bytes,
                                    struct bitnet_error *err)
{
    uint64_t file_bytes = part->bytes.n;
    size_t have = 0, want = smaller(FIRST_BUFFER_BYTES, smaller(file_bytes, max_bytes));
    for (;;) {
        enum bitnet_status status = extend_copy(part, have, want, err);
        if (status) return status;
        have = want;
        struct parser p = {.at = bitnet_cursor_over((struct bitnet_bytes){part->copy, have}),
                           .file_bytes = file_bytes,
                           .max_bytes = max_bytes,
                           .part = part};
        status = parse(&p, err);
        if (!p.is_short) return status;
        forget_directory(part);
        uint64_t more = (uint64_t)have * BUFFER_GROWTH;
        if (more < p.wanted) more = p.wanted;
        want = smaller(more, smaller(file_bytes, max_bytes));
    }
}

static enum bitnet_status read_memory(struct gguf_part *part, uint64_t max_bytes,
                                      struct bitnet_error *err)
{
    size_t n = smaller(part->bytes.n, max_bytes);
    struct parser p = {.at = bitnet_cursor_over((struct bitnet_bytes){part->bytes.at, n}),
                       .file_bytes = part->bytes.n,
                       .max_bytes = n,
                       .part = part};
    return parse(&p, err); /* is_short cannot be: the limit is the buffer's end */
}

enum bitnet_status gguf_part_read(struct gguf_part *part, enum gguf_source source,
                                  uint64_t max_metadata_bytes, struct bitnet_error *err)
{
    uint64_t max_bytes = max_metadata_bytes ? max_metadata_bytes : METADATA_BYTES_MAX;
    if (max_bytes < HEADER_BYTES) max_bytes = HEADER_BYTES;
    return source == GGUF_FROM_FILE ? read_file(part, max_bytes, err)
                                    : read_memory(part, max_bytes, err);
}

void gguf_part_release(struct gguf_part *part)
{
    forget_directory(part);
    bitnet_free(part->copy);
    part->copy = NULL;
    if (part->file.path) bitnet_file_close(&part->file);
}

const struct bitnet_gguf_value *gguf_part_find(const struct gguf_part *part, const char *key)
{
    uint32_t i;
    return bitnet_map_get(&part->keys, bitnet_str_of(key), &i) ? &part->pairs[i].value : NULL;
}
