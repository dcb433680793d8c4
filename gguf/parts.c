/* The files of a model: one, or the parts of a split set, opened together and joined into one list
 * of tensors. Owns the handle's life.
 *
 * A split set is named <prefix>-00001-of-00003.gguf and so on; each part is a whole GGUF whose keys
 * split.no (from 0), split.count and split.tensors.count say what it is part of. Part 1 carries the
 * model's metadata. Source: llama.cpp's gguf-py/gguf/gguf_writer.py and src/llama-model-loader.cpp.
 */
#include "reader.h"

#include <inttypes.h>
#include <stdio.h>

#define PARTS_MAX 1000

static enum bitnet_status out_of_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

static char *copy_text(struct bitnet_str text)
{
    char *copy = bitnet_alloc(text.n + 1, 1);
    if (copy && text.n) memcpy(copy, text.at, text.n);
    return copy;
}

/* ------------------------------------------------------------------ split sets */

struct split {
    uint64_t number; /* from 0 */
    uint64_t count;  /* 1: not split */
    uint64_t n_tensors;
    bool has_n_tensors;
};

/* An integer of any width; the peers disagree about u16 and i32. */
static enum bitnet_status read_count(const struct gguf_part *part, const char *key, uint64_t max,
                                     uint64_t *count, bool *is_there, struct bitnet_error *err)
{
    const struct bitnet_gguf_value *value = gguf_part_find(part, key);
    *is_there = value != NULL;
    if (!value) return BITNET_OK;
    switch (value->type) {
    case BITNET_GGUF_U8:
    case BITNET_GGUF_U16:
    case BITNET_GGUF_U32:
    case BITNET_GGUF_U64:
        *count = value->u64;
        break;
    case BITNET_GGUF_I8:
    case BITNET_GGUF_I16:
    case BITNET_GGUF_I32:
    case BITNET_GGUF_I64:
        *count = (uint64_t)value->i64;
        break; /* negative: beyond any max */
    default:
        return bitnet_fail(err, BITNET_FORMAT, "key '%s': expected an integer, found %s", key,
                           bitnet_gguf_type_name(value->type));
    }
    if (*count > max)
        return bitnet_fail(err, BITNET_FORMAT, "key '%s': %" PRIi64 " (allowed 0 to %" PRIu64 ")",
                           key, (int64_t)*count, max);
    return BITNET_OK;
}

static enum bitnet_status read_split(const struct gguf_part *part, struct split *split,
                                     struct bitnet_error *err)
{
    bool has_number, has_count;
    *split = (struct split){.count = 1};
    enum bitnet_status status =
        read_count(part, "split.count", PARTS_MAX, &split->count, &has_count, err);
    if (!status) status = read_count(part, "split.no", PARTS_MAX, &split->number, &has_number, err);
    if (!status)
        status = read_count(part, "split.tensors.count", INT32_MAX, &split->n_tensors,
                            &split->has_n_tensors, err);
    if (status) return status;
    if (split->count < 2) split->count = 1;
    if (split->number >= split->count)
        return bitnet_fail(err, BITNET_FORMAT,
                           "key 'split.no': %" PRIu64 " (allowed 0 to %" PRIu64 ")", split->number,
                           split->count - 1);
    return BITNET_OK;
}

/* "-00001-of-00003.gguf" */
struct split_suffix {
    char text[32];
};

static struct bitnet_str split_suffix(struct split_suffix *out, uint64_t number, uint64_t count)
{
    int n = snprintf(out->text, sizeof out->text, "-%05u-of-%05u.gguf", (unsigned)number + 1,
                     (unsigned)count);
    return (struct bitnet_str){out->text, (size_t)n};
}

/* The path of another part of the same set; NULL when out of memory. `path` ends as part 1 does. */
static char *sibling_path(const char *path, uint64_t number, uint64_t count)
{
    char *sibling = copy_text(bitnet_str_of(path));
    if (!sibling) return NULL;
    struct split_suffix room;
    struct bitnet_str suffix = split_suffix(&room, number, count);
    memcpy(sibling + strlen(path) - suffix.n, suffix.at, suffix.n);
    return sibling;
}

static enum bitnet_status check_first_name(const char *path, uint64_t count,
                                           struct bitnet_error *err)
{
    struct split_suffix room;
    struct bitnet_str suffix = split_suffix(&room, 0, count);
    if (bitnet_str_ends(bitnet_str_of(path), suffix.at)) return BITNET_OK;
    bitnet_fail(err, BITNET_FORMAT, "part 1 of %" PRIu64 ", but its name does not end in %s", count,
                suffix.at);
    return bitnet_hint(err, BITNET_FORMAT, "the other parts are found by their names: rename them");
}

/* ------------------------------------------------------------------ opening */

static enum bitnet_status open_part(struct gguf_part *part, const char *path,
                                    const struct bitnet_gguf_options *options,
                                    struct bitnet_error *err)
{
    enum bitnet_status status = bitnet_file_open(&part->file, path, err);
    if (status) {
        part->file.path = NULL; /* nothing to close */
        return status;
    }
    part->bytes = part->file.bytes;
    return gguf_part_read(part, GGUF_FROM_FILE, options->max_metadata_bytes, err);
}

static enum bitnet_status open_sibling(struct bitnet_gguf *gguf, const struct split *first,
                                       uint64_t number, const struct bitnet_gguf_options *options,
                                       struct bitnet_error *err)
{
    struct split split;
    char *path = sibling_path(gguf->path, number, first->count);
    if (!path) return out_of_memory(err);
    struct gguf_part *part = &gguf->parts[gguf->n_parts++];
    enum bitnet_status status = open_part(part, path, options, err);
    bitnet_free(path);
    if (!status) status = read_split(part, &split, err);
    if (!status && (split.number != number || split.count != first->count))
        status =
            bitnet_fail(err, BITNET_FORMAT,
                        "is part %" PRIu64 " of %" PRIu64 ", expected part %" PRIu64 " of %" PRIu64,
                        split.number + 1, split.count, number + 1, first->count);
    if (status)
        bitnet_error_prefix(err, status, "part %" PRIu64 " of %" PRIu64, number + 1, first->count);
    return status;
}

static enum bitnet_status open_siblings(struct bitnet_gguf *gguf, const struct split *first,
                                        const struct bitnet_gguf_options *options,
                                        struct bitnet_error *err)
{
    enum bitnet_status status = check_first_name(gguf->path, first->count, err);
    if (status) return status;
    struct gguf_part *parts = bitnet_realloc(gguf->parts, first->count, sizeof *parts);
    if (!parts) return out_of_memory(err);
    memset(parts + 1, 0, (first->count - 1) * sizeof *parts);
    gguf->parts = parts;
    for (uint64_t i = 1; i < first->count && !status; i++)
        status = open_sibling(gguf, first, i, options, err);
    return status;
}

/* After part 1 was read: opens what belongs to it. */
static enum bitnet_status open_rest(struct bitnet_gguf *gguf,
                                    const struct bitnet_gguf_options *options,
                                    struct bitnet_error *err)
{
    struct split split;
    enum bitnet_status status = read_split(&gguf->parts[0], &split, err);
    if (status || split.count == 1) return status;
    if (!gguf->path[0])
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "part %" PRIu64 " of %" PRIu64 " of a split set: open it by its path",
                           split.number + 1, split.count);
    if (split.number != 0) {
        bitnet_fail(err, BITNET_UNSUPPORTED, "part %" PRIu64 " of %" PRIu64 " of a split set",
                    split.number + 1, split.count);
        return bitnet_hint(err, BITNET_UNSUPPORTED, "give part 1 (…-00001-of-%05u.gguf)",
                           (unsigned)split.count);
    }
    status = open_siblings(gguf, &split, options, err);
    if (status) return status;
    uint64_t n_tensors = 0;
    for (size_t i = 0; i < gguf->n_parts; i++) n_tensors += gguf->parts[i].n_tensors;
    if (split.has_n_tensors && split.n_tensors != n_tensors)
        return bitnet_fail(err, BITNET_FORMAT,
                           "key 'split.tensors.count': %" PRIu64 ", but the parts hold %" PRIu64
                           " tensors",
                           split.n_tensors, n_tensors);
    return BITNET_OK;
}

/* One list of tensors, one table of names. */
static enum bitnet_status join_parts(struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < gguf->n_parts; i++) n += gguf->parts[i].n_tensors;
    gguf->tensors = bitnet_alloc(n ? n : 1, sizeof *gguf->tensors);
    if (!gguf->tensors) return out_of_memory(err);
    for (size_t i = 0; i < gguf->n_parts; i++) {
        struct gguf_part *part = &gguf->parts[i];
        for (size_t k = 0; k < part->n_tensors; k++) {
            struct bitnet_tensor *tensor = &gguf->tensors[gguf->n_tensors];
            *tensor = part->tensors[k];
            tensor->part = (uint32_t)i;
            switch (bitnet_map_put(&gguf->names, tensor->name, (uint32_t)gguf->n_tensors, NULL)) {
            case BITNET_MAP_NEW:
                gguf->n_tensors++;
                break;
            case BITNET_MAP_EXISTS:
                return bitnet_fail(err, BITNET_FORMAT, "tensor %s appears twice",
                                   BITNET_QUOTE(tensor->name));
            default:
                return out_of_memory(err);
            }
        }
        bitnet_free(part->tensors);
        part->tensors = NULL;
    }
    return BITNET_OK;
}

static enum bitnet_status check_all(struct bitnet_gguf *gguf,
                                    const struct bitnet_gguf_options *options,
                                    struct bitnet_error *err)
{
    enum bitnet_status status = join_parts(gguf, err);
    if (!status) status = gguf_resolve_types(gguf, options, err);
    if (!status) status = gguf_lay_out(gguf, err);
    return status;
}

static enum bitnet_status new_handle(struct bitnet_gguf **out, const char *path,
                                     struct bitnet_error *err)
{
    struct bitnet_gguf *gguf = bitnet_alloc(1, sizeof *gguf);
    if (!gguf) return out_of_memory(err);
    gguf->path = copy_text(bitnet_str_of(path));
    gguf->parts = bitnet_alloc(1, sizeof *gguf->parts);
    if (gguf->path && gguf->parts) {
        *out = gguf;
        return BITNET_OK;
    }
    bitnet_gguf_close(gguf);
    return out_of_memory(err);
}

/* Hands the finished handle to the caller, or frees it. The path goes before the message, unless it
 * is one of base/file.h, which name it themselves. */
static enum bitnet_status settle(struct bitnet_gguf **out, struct bitnet_gguf *gguf,
                                 enum bitnet_status status, struct bitnet_error *err)
{
    if (!status) {
        *out = gguf;
        return BITNET_OK;
    }
    if (err && gguf->path[0] && !strstr(err->text, gguf->path))
        bitnet_error_prefix(err, status, "%s", gguf->path);
    bitnet_gguf_close(gguf);
    return status;
}

static const struct bitnet_gguf_options no_options;

enum bitnet_status bitnet_gguf_open(struct bitnet_gguf **out, const char *path,
                                    const struct bitnet_gguf_options *options,
                                    struct bitnet_error *err)
{
    if (!options) options = &no_options;
    *out = NULL;
    struct bitnet_gguf *gguf = NULL;
    enum bitnet_status status = new_handle(&gguf, path, err);
    if (status) return status;
    gguf->n_parts = 1;
    status = open_part(&gguf->parts[0], path, options, err);
    if (!status) status = open_rest(gguf, options, err);
    if (!status) status = check_all(gguf, options, err);
    if (!status) status = bitnet_gguf_unchanged(gguf, err);
    return settle(out, gguf, status, err);
}

enum bitnet_status bitnet_gguf_open_mem(struct bitnet_gguf **out, struct bitnet_bytes bytes,
                                        const struct bitnet_gguf_options *options,
                                        struct bitnet_error *err)
{
    if (!options) options = &no_options;
    *out = NULL;
    struct bitnet_gguf *gguf = NULL;
    enum bitnet_status status = new_handle(&gguf, "", err);
    if (status) return status;
    gguf->n_parts = 1;
    gguf->parts[0].bytes = bytes;
    status = gguf_part_read(&gguf->parts[0], GGUF_FROM_MEMORY, options->max_metadata_bytes, err);
    if (!status) status = open_rest(gguf, options, err);
    if (!status) status = check_all(gguf, options, err);
    return settle(out, gguf, status, err);
}

enum bitnet_status gguf_open_mapped(struct bitnet_gguf **out, struct bitnet_file *files, size_t n,
                                    const struct bitnet_gguf_options *options,
                                    struct bitnet_error *err)
{
    *out = NULL;
    struct bitnet_gguf *gguf = NULL;
    enum bitnet_status status = new_handle(&gguf, files[0].path, err);
    struct gguf_part *parts = status ? NULL : bitnet_realloc(gguf->parts, n, sizeof *parts);
    if (!parts) {
        for (size_t i = 0; i < n; i++) bitnet_file_close(&files[i]);
        bitnet_gguf_close(gguf);
        return status ? status : out_of_memory(err);
    }
    memset(parts, 0, n * sizeof *parts);
    gguf->parts = parts;
    gguf->n_parts = n;
    for (size_t i = 0; i < n; i++) {
        parts[i].file = files[i];
        parts[i].bytes = files[i].bytes;
    }
    for (size_t i = 0; i < n && !status; i++)
        status = gguf_part_read(&parts[i], GGUF_FROM_MEMORY, options->max_metadata_bytes, err);
    if (!status) status = check_all(gguf, options, err);
    return settle(out, gguf, status, err);
}

void bitnet_gguf_close(struct bitnet_gguf *gguf)
{
    if (!gguf) return;
    for (size_t i = 0; i < gguf->n_parts; i++) gguf_part_release(&gguf->parts[i]);
    bitnet_free(gguf->parts);
    bitnet_free(gguf->tensors);
    bitnet_map_free(&gguf->names);
    bitnet_free(gguf->path);
    bitnet_free(gguf);
}

/* ------------------------------------------------------------------ while it is open */

uint32_t bitnet_gguf_version(const struct bitnet_gguf *gguf)
{
    return gguf->parts[0].version;
}

uint64_t bitnet_gguf_alignment(const struct bitnet_gguf *gguf)
{
    return gguf->parts[0].alignment;
}

enum bitnet_dialect bitnet_gguf_dialect(const struct bitnet_gguf *gguf)
{
    return gguf->dialect;
}

uint64_t bitnet_gguf_file_bytes(const struct bitnet_gguf *gguf)
{
    uint64_t n = 0;
    for (size_t i = 0; i < gguf->n_parts; i++) n += gguf->parts[i].bytes.n;
    return n;
}

const char *bitnet_gguf_path(const struct bitnet_gguf *gguf)
{
    return gguf->path;
}

size_t bitnet_gguf_part_count(const struct bitnet_gguf *gguf)
{
    return gguf->n_parts;
}

const char *bitnet_gguf_part_path(const struct bitnet_gguf *gguf, size_t part)
{
    const char *path = gguf->parts[part].file.path;
    return path ? path : "";
}

enum bitnet_status bitnet_gguf_unchanged(const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < gguf->n_parts && !status; i++)
        if (gguf->parts[i].file.path) status = bitnet_file_unchanged(&gguf->parts[i].file, err);
    return status;
}

uint64_t bitnet_gguf_position(const struct bitnet_gguf *gguf, const struct bitnet_tensor *tensor)
{
    return gguf->parts[tensor->part].data_start + tensor->offset;
}

void bitnet_gguf_release_part(const struct bitnet_gguf *gguf, const struct bitnet_tensor *tensor,
                              uint64_t offset, uint64_t n)
{
    const struct gguf_part *part = &gguf->parts[tensor->part];
    if (!part->file.path) return;
    bitnet_file_release(&part->file, bitnet_gguf_position(gguf, tensor) + offset, n);
}

void bitnet_gguf_release(const struct bitnet_gguf *gguf, const struct bitnet_tensor *tensor)
{
    bitnet_gguf_release_part(gguf, tensor, 0, tensor->data.n);
}
