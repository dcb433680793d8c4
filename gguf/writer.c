/* A GGUF v3 file in the making: keys and tensor declarations in, then the tensors' bytes in order;
 * out comes a file with sequential, aligned offsets, as every reader accepts it. One pass, nothing
 * is written twice, no tensor is held in memory. Publishing is base/file.h's: until finish nobody
 * sees the file.
 *
 * Keys are spelt into `keys` as they come, so the header needs only a count in front. Layout: see
 * reader.c. Names are held to the limits of the strictest reader (ggml: below 64 bytes). */
#include "reader.h"

#include <assert.h>
#include <inttypes.h>

#define VERSION            3
#define HEADER_BYTES       24
#define METADATA_BYTES_MAX (512u << 20)
#define KEY_BYTES_MAX      65535
#define NAME_BYTES_MAX     63
#define TENSORS_MAX        262144
#define ALIGNMENT_DEFAULT  32
#define ALIGNMENT_MAX      65536
#define ALIGNMENT_KEY      "general.alignment"

enum stage { DECLARING, WRITING };

struct declared {
    struct bitnet_str name;
    uint32_t type_number;
    uint32_t n_dims;
    uint64_t dims[BITNET_DIMS_MAX];
    uint64_t offset;
    uint64_t n_bytes;
};

struct bitnet_gguf_writer {
    enum stage stage;
    char *path;
    uint64_t alignment;
    enum bitnet_dialect dialect;
    enum bitnet_overwrite overwrite;
    struct bitnet_arena names;
    struct bitnet_buf keys; /* spelt out */
    uint64_t n_keys;
    struct bitnet_map key_set;
    struct declared *tensors;
    size_t n_tensors, tensors_cap;
    struct bitnet_map tensor_set;
    uint64_t infos_bytes;
    uint64_t data_bytes;       /* padding included */
    struct bitnet_error first; /* of the key calls */
    struct bitnet_output *out;
    size_t tensor;       /* the one being written */
    uint64_t tensor_pos; /* bytes of it that are there */
};

static enum bitnet_status out_of_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

static void free_writer(struct bitnet_gguf_writer *writer)
{
    bitnet_map_free(&writer->key_set);
    bitnet_map_free(&writer->tensor_set);
    bitnet_buf_free(&writer->keys);
    bitnet_arena_free(&writer->names);
    bitnet_free(writer->tensors);
    bitnet_free(writer->path);
    bitnet_free(writer);
}

enum bitnet_status bitnet_gguf_writer_new(struct bitnet_gguf_writer **out, const char *path,
                                          const struct bitnet_gguf_writer_options *options,
                                          struct bitnet_error *err)
{
    static const struct bitnet_gguf_writer_options defaults;
    if (!options) options = &defaults;
    *out = NULL;
    uint64_t alignment = options->alignment ? options->alignment : ALIGNMENT_DEFAULT;
    if (!bitnet_is_power_of_two(alignment) || alignment > ALIGNMENT_MAX)
        return bitnet_fail(err, BITNET_USAGE,
                           "alignment %" PRIu64 " is not a power of two from 1 to %d", alignment,
                           ALIGNMENT_MAX);
    struct bitnet_gguf_writer *writer = bitnet_alloc(1, sizeof *writer);
    if (!writer) return out_of_memory(err);
    writer->alignment = alignment;
    writer->dialect = options->dialect;
    writer->overwrite = options->overwrite ? BITNET_REPLACE_EXISTING : BITNET_KEEP_EXISTING;
    writer->keys.max = METADATA_BYTES_MAX;
    writer->path = bitnet_alloc(strlen(path) + 1, 1);
    if (!writer->path) {
        free_writer(writer);
        return out_of_memory(err);
    }
    memcpy(writer->path, path, strlen(path));
    *out = writer;
    return BITNET_OK;
}

/* ------------------------------------------------------------------ keys */

static void spell_u32(struct bitnet_buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    bitnet_store_u32(bytes, value);
    bitnet_buf_add(buf, bytes, sizeof bytes);
}

static void spell_u64(struct bitnet_buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    bitnet_store_u64(bytes, value);
    bitnet_buf_add(buf, bytes, sizeof bytes);
}

static void spell_str(struct bitnet_buf *buf, struct bitnet_str text)
{
    spell_u64(buf, text.n);
    bitnet_buf_add_str(buf, text);
}

static enum bitnet_status claim_name(struct bitnet_gguf_writer *writer, struct bitnet_map *set,
                                     const char *what, size_t max_bytes, struct bitnet_str name,
                                     struct bitnet_str *copy, struct bitnet_error *err)
{
    enum bitnet_status status = gguf_name_check(name, err);
    if (!status && name.n > max_bytes)
        status = bitnet_fail(err, BITNET_LIMIT, "name of %zu bytes (limit %zu)", name.n, max_bytes);
    if (status) return bitnet_error_prefix(err, status, "%s %s", what, BITNET_QUOTE(name));
    *copy = bitnet_arena_copy(&writer->names, name);
    if (!copy->at) return out_of_memory(err);
    switch (bitnet_map_put(set, *copy, 0, NULL)) {
    case BITNET_MAP_NEW:
        return BITNET_OK;
    case BITNET_MAP_EXISTS:
        return bitnet_fail(err, BITNET_FORMAT, "%s %s appears twice", what, BITNET_QUOTE(name));
    default:
        return out_of_memory(err);
    }
}

/* Spells the name and the type; the caller adds the value. False after a failure, which is kept. */
static bool begin_key(struct bitnet_gguf_writer *writer, struct bitnet_str key,
                      enum bitnet_gguf_type type)
{
    struct bitnet_str copy;
    assert(writer->stage == DECLARING);
    if (writer->first.status) return false;
    if (type != BITNET_GGUF_U32 && bitnet_str_is(key, ALIGNMENT_KEY)) {
        bitnet_fail(&writer->first, BITNET_FORMAT, "key '%s': expected u32, found %s",
                    ALIGNMENT_KEY, bitnet_gguf_type_name(type));
        return false;
    }
    if (claim_name(writer, &writer->key_set, "key", KEY_BYTES_MAX, key, &copy, &writer->first))
        return false;
    spell_str(&writer->keys, copy);
    spell_u32(&writer->keys, (uint32_t)type);
    writer->n_keys++;
    return true;
}

static void put_scalar(struct bitnet_gguf_writer *writer, const char *key,
                       enum bitnet_gguf_type type, const void *bytes)
{
    if (begin_key(writer, bitnet_str_of(key), type))
        bitnet_buf_add(&writer->keys, bytes, bitnet_gguf_type_bytes(type));
}

void bitnet_gguf_put_u8(struct bitnet_gguf_writer *writer, const char *key, uint8_t value)
{
    put_scalar(writer, key, BITNET_GGUF_U8, &value);
}

void bitnet_gguf_put_u16(struct bitnet_gguf_writer *writer, const char *key, uint16_t value)
{
    uint8_t bytes[2];
    bitnet_store_u16(bytes, value);
    put_scalar(writer, key, BITNET_GGUF_U16, bytes);
}

static void put_u32(struct bitnet_gguf_writer *writer, struct bitnet_str key, uint32_t value)
{
    if (!begin_key(writer, key, BITNET_GGUF_U32)) return;
    spell_u32(&writer->keys, value);
    if (bitnet_str_is(key, ALIGNMENT_KEY) && value != writer->alignment)
        bitnet_fail(&writer->first, BITNET_FORMAT,
                    "key '%s': %" PRIu32 ", but the file is aligned to %" PRIu64, ALIGNMENT_KEY,
                    value, writer->alignment);
}

void bitnet_gguf_put_u32(struct bitnet_gguf_writer *writer, const char *key, uint32_t value)
{
    put_u32(writer, bitnet_str_of(key), value);
}

void bitnet_gguf_put_i32(struct bitnet_gguf_writer *writer, const char *key, int32_t value)
{
    uint8_t bytes[4];
    bitnet_store_u32(bytes, (uint32_t)value);
    put_scalar(writer, key, BITNET_GGUF_I32, bytes);
}

void bitnet_gguf_put_u64(struct bitnet_gguf_writer *writer, const char *key, uint64_t value)
{
    uint8_t bytes[8];
    bitnet_store_u64(bytes, value);
    put_scalar(writer, key, BITNET_GGUF_U64, bytes);
}

void bitnet_gguf_put_f32(struct bitnet_gguf_writer *writer, const char *key, float value)
{
    uint8_t bytes[4];
    bitnet_store_f32(bytes, value);
    put_scalar(writer, key, BITNET_GGUF_F32, bytes);
}

void bitnet_gguf_put_bool(struct bitnet_gguf_writer *writer, const char *key, bool value)
{
    uint8_t byte = value;
    put_scalar(writer, key, BITNET_GGUF_BOOL, &byte);
}

void bitnet_gguf_put_str(struct bitnet_gguf_writer *writer, const char *key,
                         struct bitnet_str value)
{
    if (begin_key(writer, bitnet_str_of(key), BITNET_GGUF_STRING)) spell_str(&writer->keys, value);
}

static bool begin_array(struct bitnet_gguf_writer *writer, struct bitnet_str key,
                        enum bitnet_gguf_type element, size_t n)
{
    if (!begin_key(writer, key, BITNET_GGUF_ARRAY)) return false;
    spell_u32(&writer->keys, (uint32_t)element);
    spell_u64(&writer->keys, n);
    return true;
}

static void put_strings(struct bitnet_gguf_writer *writer, struct bitnet_str key,
                        const struct bitnet_str *strings, size_t n)
{
    if (!begin_array(writer, key, BITNET_GGUF_STRING, n)) return;
    for (size_t i = 0; i < n; i++) spell_str(&writer->keys, strings[i]);
}

static void put_array(struct bitnet_gguf_writer *writer, struct bitnet_str key,
                      enum bitnet_gguf_type element, const void *raw, size_t n)
{
    assert(bitnet_gguf_type_bytes(element) > 0);
    if (begin_array(writer, key, element, n))
        bitnet_buf_add(&writer->keys, raw, n * bitnet_gguf_type_bytes(element));
}

void bitnet_gguf_put_strings(struct bitnet_gguf_writer *writer, const char *key,
                             const struct bitnet_str *strings, size_t n)
{
    put_strings(writer, bitnet_str_of(key), strings, n);
}

void bitnet_gguf_put_array(struct bitnet_gguf_writer *writer, const char *key,
                           enum bitnet_gguf_type element, const void *raw, size_t n)
{
    put_array(writer, bitnet_str_of(key), element, raw, n);
}

/* A number back into its bytes: the low ones of a 64-bit word, or a float. */
static void spell_number(struct bitnet_buf *buf, const struct bitnet_gguf_value *value)
{
    uint8_t bytes[8] = {0};
    switch (value->type) {
    case BITNET_GGUF_BOOL:
        bytes[0] = value->boolean;
        break;
    case BITNET_GGUF_F32:
        bitnet_store_f32(bytes, (float)value->f64);
        break;
    case BITNET_GGUF_F64:
        bitnet_store_f64(bytes, value->f64);
        break;
    case BITNET_GGUF_I8:
    case BITNET_GGUF_I16:
    case BITNET_GGUF_I32:
    case BITNET_GGUF_I64:
        bitnet_store_u64(bytes, (uint64_t)value->i64);
        break;
    default:
        bitnet_store_u64(bytes, value->u64);
        break;
    }
    bitnet_buf_add(buf, bytes, bitnet_gguf_type_bytes(value->type));
}

void bitnet_gguf_put_value(struct bitnet_gguf_writer *writer, struct bitnet_str key,
                           const struct bitnet_gguf_value *value)
{
    bool is_array = value->type == BITNET_GGUF_ARRAY;
    if (is_array && value->element == BITNET_GGUF_ARRAY) {
        if (!writer->first.status)
            bitnet_fail(&writer->first, BITNET_UNSUPPORTED,
                        "key %s: arrays of arrays are not written", BITNET_QUOTE(key));
    } else if (is_array && value->element == BITNET_GGUF_STRING) {
        put_strings(writer, key, value->strings, value->n);
    } else if (is_array) {
        put_array(writer, key, value->element, value->raw.at, value->n);
    } else if (value->type == BITNET_GGUF_U32) {
        put_u32(writer, key, (uint32_t)value->u64);
    } else if (begin_key(writer, key, value->type)) {
        if (value->type == BITNET_GGUF_STRING)
            spell_str(&writer->keys, value->text);
        else
            spell_number(&writer->keys, value);
    }
}

/* ------------------------------------------------------------------ tensors */

enum bitnet_status bitnet_gguf_tensor_declare(struct bitnet_gguf_writer *writer,
                                              struct bitnet_str name, enum bitnet_dtype type,
                                              const uint64_t *dims, uint32_t n_dims,
                                              struct bitnet_error *err)
{
    assert(writer->stage == DECLARING);
    assert(n_dims >= 1 && n_dims <= BITNET_DIMS_MAX);
    const struct bitnet_dtype_info *info = bitnet_dtype_info(type);
    struct declared tensor = {.n_dims = n_dims, .offset = writer->data_bytes};
    enum bitnet_status status =
        claim_name(writer, &writer->tensor_set, "tensor", NAME_BYTES_MAX, name, &tensor.name, err);
    if (status) return status;
    if (info->type_number[writer->dialect] == BITNET_NO_NUMBER)
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "tensor %s: %s does not exist in the dialect %s", BITNET_QUOTE(name),
                           info->label, bitnet_dialect_name(writer->dialect));
    tensor.type_number = (uint32_t)info->type_number[writer->dialect];
    status = bitnet_tensor_bytes(type, dims, n_dims, &tensor.n_bytes, err);
    if (status) return bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(name));
    memcpy(tensor.dims, dims, n_dims * sizeof *dims);

    if (!bitnet_add_u64(writer->data_bytes, tensor.n_bytes, &writer->data_bytes) ||
        !bitnet_align_up_u64(writer->data_bytes, writer->alignment, &writer->data_bytes) ||
        writer->data_bytes > INT64_MAX / 2)
        return bitnet_fail(err, BITNET_LIMIT, "tensor %s: the file becomes too large",
                           BITNET_QUOTE(name));
    if (!BITNET_GROW(writer->tensors, writer->n_tensors, writer->tensors_cap, TENSORS_MAX))
        return writer->n_tensors >= TENSORS_MAX
                   ? bitnet_fail(err, BITNET_LIMIT, "more than %d tensors", TENSORS_MAX)
                   : out_of_memory(err);
    writer->infos_bytes += 8 + name.n + 4 + 8 * (uint64_t)n_dims + 4 + 8;
    writer->tensors[writer->n_tensors++] = tensor;
    return BITNET_OK;
}

/* The key that says the alignment is added by begin() where the caller has not put it. */
static bool lacks_alignment_key(const struct bitnet_gguf_writer *writer)
{
    uint32_t ignored;
    return writer->alignment != ALIGNMENT_DEFAULT &&
           !bitnet_map_get(&writer->key_set, BITNET_STR(ALIGNMENT_KEY), &ignored);
}

static uint64_t data_start(const struct bitnet_gguf_writer *writer)
{
    uint64_t start = HEADER_BYTES + writer->keys.n + writer->infos_bytes;
    if (lacks_alignment_key(writer)) start += 8 + sizeof ALIGNMENT_KEY - 1 + 4 + 4;
    bitnet_align_up_u64(start, writer->alignment, &start);
    return start;
}

enum bitnet_dialect bitnet_gguf_writer_dialect(const struct bitnet_gguf_writer *writer)
{
    return writer->dialect;
}

uint64_t bitnet_gguf_writer_bytes(const struct bitnet_gguf_writer *writer)
{
    return data_start(writer) + writer->data_bytes;
}

static void spell_infos(const struct bitnet_gguf_writer *writer, struct bitnet_buf *buf)
{
    for (size_t i = 0; i < writer->n_tensors; i++) {
        const struct declared *tensor = &writer->tensors[i];
        spell_str(buf, tensor->name);
        spell_u32(buf, tensor->n_dims);
        for (uint32_t d = 0; d < tensor->n_dims; d++) spell_u64(buf, tensor->dims[d]);
        spell_u32(buf, tensor->type_number);
        spell_u64(buf, tensor->offset);
    }
}

/* Zeros up to the next multiple of the alignment. */
static enum bitnet_status pad(struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    static const uint8_t zeros[512];
    uint64_t size = bitnet_output_size(writer->out), end = size;
    bitnet_align_up_u64(size, writer->alignment, &end);
    enum bitnet_status status = BITNET_OK;
    for (uint64_t left = end - size; left > 0 && !status;) {
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        status = bitnet_output_write(writer->out, zeros, n, err);
        left -= n;
    }
    return status;
}

static void spell_header(struct bitnet_buf *buf, uint64_t n_tensors, uint64_t n_keys)
{
    bitnet_buf_add(buf, "GGUF", 4);
    spell_u32(buf, VERSION);
    spell_u64(buf, n_tensors);
    spell_u64(buf, n_keys);
}

/* Header, keys and infos, padded: all that comes before the data. */
static enum bitnet_status write_directory(struct bitnet_gguf_writer *writer,
                                          struct bitnet_error *err)
{
    struct bitnet_buf head = {.max = HEADER_BYTES}, infos = {.max = METADATA_BYTES_MAX};
    spell_header(&head, writer->n_tensors, writer->n_keys);
    spell_infos(writer, &infos);
    enum bitnet_status status = BITNET_OK;
    if (head.failed || infos.failed) status = out_of_memory(err);
    if (!status) status = bitnet_output_write(writer->out, head.at, head.n, err);
    if (!status && writer->keys.n)
        status = bitnet_output_write(writer->out, writer->keys.at, writer->keys.n, err);
    if (!status && infos.n) status = bitnet_output_write(writer->out, infos.at, infos.n, err);
    if (!status) status = pad(writer, err);
    bitnet_buf_free(&head);
    bitnet_buf_free(&infos);
    return status;
}

enum bitnet_status bitnet_gguf_writer_check(const struct bitnet_gguf_writer *writer,
                                            struct bitnet_error *err)
{
    if (writer->first.status) {
        if (err) *err = writer->first;
        return writer->first.status;
    }
    if (writer->keys.failed)
        return bitnet_fail(err, BITNET_MEMORY,
                           "metadata does not fit in memory, or exceeds %d bytes",
                           METADATA_BYTES_MAX);
    return BITNET_OK;
}

enum bitnet_status bitnet_gguf_writer_image(const struct bitnet_gguf_writer *writer,
                                            struct bitnet_buf *image, struct bitnet_error *err)
{
    enum bitnet_status status = bitnet_gguf_writer_check(writer, err);
    if (status) return status;
    spell_header(image, 0, writer->n_keys);
    if (writer->keys.n) bitnet_buf_add(image, writer->keys.at, writer->keys.n);
    return image->failed ? out_of_memory(err) : BITNET_OK;
}

enum bitnet_status bitnet_gguf_begin(struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    assert(writer->stage == DECLARING);
    if (lacks_alignment_key(writer))
        put_u32(writer, BITNET_STR(ALIGNMENT_KEY), (uint32_t)writer->alignment);
    enum bitnet_status status = bitnet_gguf_writer_check(writer, err);
    if (!status)
        status = bitnet_output_begin(&writer->out, writer->path, bitnet_gguf_writer_bytes(writer),
                                     writer->overwrite, err);
    if (status) return status;
    writer->stage = WRITING;
    return write_directory(writer, err);
}

enum bitnet_status bitnet_gguf_tensor_write(struct bitnet_gguf_writer *writer, const void *bytes,
                                            size_t n, struct bitnet_error *err)
{
    assert(writer->stage == WRITING);
    if (n == 0) return BITNET_OK;
    if (writer->tensor == writer->n_tensors)
        return bitnet_fail(err, BITNET_INTERNAL, "%zu bytes after the last tensor", n);
    const struct declared *tensor = &writer->tensors[writer->tensor];
    if (n > tensor->n_bytes - writer->tensor_pos)
        return bitnet_fail(err, BITNET_INTERNAL,
                           "tensor %s: %zu bytes written where %" PRIu64 " are left",
                           BITNET_QUOTE(tensor->name), n, tensor->n_bytes - writer->tensor_pos);
    enum bitnet_status status = bitnet_output_write(writer->out, bytes, n, err);
    if (status) return status;
    writer->tensor_pos += n;
    if (writer->tensor_pos < tensor->n_bytes) return BITNET_OK;
    writer->tensor++;
    writer->tensor_pos = 0;
    return pad(writer, err);
}

static enum bitnet_status check_complete(const struct bitnet_gguf_writer *writer,
                                         struct bitnet_error *err)
{
    if (writer->stage != WRITING)
        return bitnet_fail(err, BITNET_INTERNAL, "the file was never begun");
    if (writer->tensor < writer->n_tensors)
        return bitnet_fail(err, BITNET_INTERNAL, "tensor %s is not (fully) written",
                           BITNET_QUOTE(writer->tensors[writer->tensor].name));
    assert(bitnet_output_size(writer->out) == bitnet_gguf_writer_bytes(writer));
    return BITNET_OK;
}

enum bitnet_status gguf_writer_map(struct bitnet_gguf_writer *writer, struct bitnet_file *file,
                                   enum bitnet_dialect *dialect, struct bitnet_error *err)
{
    *dialect = writer->dialect;
    enum bitnet_status status = check_complete(writer, err);
    return status ? status : bitnet_output_reopen(writer->out, file, err);
}

enum bitnet_status bitnet_gguf_writer_reopen(struct bitnet_gguf_writer *writer,
                                             struct bitnet_gguf **gguf, struct bitnet_error *err)
{
    struct bitnet_file file;
    struct bitnet_gguf_options options = {.dialect_is_given = true};
    *gguf = NULL;
    enum bitnet_status status = gguf_writer_map(writer, &file, &options.dialect, err);
    return status ? status : gguf_open_mapped(gguf, &file, 1, &options, err);
}

enum bitnet_status bitnet_gguf_finish(struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    enum bitnet_status status = check_complete(writer, err);
    if (status) {
        bitnet_gguf_abort(writer);
        return status;
    }
    status = bitnet_output_finish(writer->out, err);
    free_writer(writer);
    return status;
}

void bitnet_gguf_abort(struct bitnet_gguf_writer *writer)
{
    if (!writer) return;
    bitnet_output_abort(writer->out);
    free_writer(writer);
}
