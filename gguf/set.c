/* Writing a model as one file, or directly as the parts of a split set. In: the sizes of the
 * tensors and a limit. Out: a writer for each part; then all parts published, or none.
 *
 * The cut is greedy, in the order of the tensors. All parts are written while none is visible, and
 * published from the last to the first: a set is opened by its part 1, so one that can be opened is
 * complete. Where an older set is replaced, its part 1 goes first, for the same reason. Names and
 * keys are llama.cpp's (parts.c). */
#include "set.h"

#include "reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* Parts are open outputs until all are written, and base/file.h has 64 of them. */
#define PARTS_MAX 60

struct part {
    size_t first, n;                   /* tensors */
    struct bitnet_gguf_writer *writer; /* NULL: published, or given up */
    char *path;
};

struct bitnet_gguf_set {
    struct part *parts;
    size_t n_parts, cap;
    size_t n_tensors;
    uint32_t *part_of; /* [n_tensors] */
    bool is_numbered, overwrite;
};

static enum bitnet_status out_of_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

static void free_set(struct bitnet_gguf_set *set)
{
    for (size_t i = 0; i < set->n_parts; i++) bitnet_free(set->parts[i].path);
    bitnet_free(set->parts);
    bitnet_free(set->part_of);
    bitnet_free(set);
}

/* ------------------------------------------------------------------ the cut */

static enum bitnet_status begin_part(struct bitnet_gguf_set *set, size_t first,
                                     struct bitnet_error *err)
{
    if (set->n_parts == PARTS_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "more than %d parts; give them a larger size",
                           PARTS_MAX);
    if (!BITNET_GROW(set->parts, set->n_parts, set->cap, PARTS_MAX)) return out_of_memory(err);
    set->parts[set->n_parts++] = (struct part){.first = first};
    return BITNET_OK;
}

static enum bitnet_status cut(struct bitnet_gguf_set *set, const uint64_t *tensor_bytes,
                              uint64_t alignment, uint64_t max_bytes, struct bitnet_error *err)
{
    uint64_t used = 0;
    enum bitnet_status status = set->n_tensors == 0 ? begin_part(set, 0, err) : BITNET_OK;
    for (size_t i = 0; i < set->n_tensors && !status; i++) {
        uint64_t n_bytes = tensor_bytes[i];
        bitnet_align_up_u64(n_bytes, alignment, &n_bytes);
        bool is_full =
            max_bytes != 0 && used > 0 && (used > max_bytes || n_bytes > max_bytes - used);
        if (i == 0 || is_full) {
            status = begin_part(set, i, err);
            used = 0;
        }
        if (status) return status;
        set->part_of[i] = (uint32_t)(set->n_parts - 1);
        set->parts[set->n_parts - 1].n++;
        used += n_bytes;
    }
    return status;
}

/* "model.gguf" -> "model-00001-of-00003.gguf"; a file that is not split keeps its name. */
static char *part_path(const struct bitnet_gguf_set *set, const char *path, size_t number)
{
    struct bitnet_str stem = bitnet_str_of(path);
    char *name = bitnet_alloc(stem.n + 32, 1);
    if (!name) return NULL;
    if (!set->is_numbered) {
        memcpy(name, stem.at, stem.n);
        return name;
    }
    if (bitnet_str_ends(stem, ".gguf")) stem.n -= strlen(".gguf");
    snprintf(name, stem.n + 32, "%.*s-%05zu-of-%05zu.gguf", BITNET_STR_ARGS(stem), number + 1,
             set->n_parts);
    return name;
}

static enum bitnet_status make_writers(struct bitnet_gguf_set *set, const char *path,
                                       const struct bitnet_gguf_set_options *options,
                                       struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < set->n_parts && !status; i++) {
        struct part *part = &set->parts[i];
        part->path = part_path(set, path, i);
        status = part->path
                     ? bitnet_gguf_writer_new(&part->writer, part->path, &options->writer, err)
                     : out_of_memory(err);
    }
    return status;
}

enum bitnet_status bitnet_gguf_set_new(struct bitnet_gguf_set **out, const char *path,
                                       const uint64_t *tensor_bytes, size_t n_tensors,
                                       const struct bitnet_gguf_set_options *options,
                                       struct bitnet_error *err)
{
    *out = NULL;
    uint64_t alignment = options->writer.alignment ? options->writer.alignment : 32;
    struct bitnet_gguf_set *set = bitnet_alloc(1, sizeof *set);
    if (!set) return out_of_memory(err);
    set->n_tensors = n_tensors;
    set->overwrite = options->writer.overwrite;
    set->part_of = bitnet_alloc(n_tensors + 1, sizeof *set->part_of);
    enum bitnet_status status = set->part_of
                                    ? cut(set, tensor_bytes, alignment, options->max_bytes, err)
                                    : out_of_memory(err);
    set->is_numbered = set->n_parts > 1 || options->always_numbered;
    if (!status) status = make_writers(set, path, options, err);
    if (status)
        bitnet_gguf_set_abort(set);
    else
        *out = set;
    return status;
}

size_t bitnet_gguf_set_count(const struct bitnet_gguf_set *set)
{
    return set->n_parts;
}

struct bitnet_gguf_writer *bitnet_gguf_set_part(struct bitnet_gguf_set *set, size_t part)
{
    return set->parts[part].writer;
}

struct bitnet_gguf_writer *bitnet_gguf_set_of(struct bitnet_gguf_set *set, size_t tensor)
{
    return set->parts[set->part_of[tensor]].writer;
}

const char *bitnet_gguf_set_path(const struct bitnet_gguf_set *set, size_t part)
{
    return set->parts[part].path;
}

size_t gguf_set_range(const struct bitnet_gguf_set *set, size_t part, size_t *first)
{
    *first = set->parts[part].first;
    return set->parts[part].n;
}

/* ------------------------------------------------------------------ writing */

void bitnet_gguf_set_put_keys(struct bitnet_gguf_set *set)
{
    for (size_t i = 0; set->is_numbered && i < set->n_parts; i++) {
        struct bitnet_gguf_writer *writer = set->parts[i].writer;
        bitnet_gguf_put_u16(writer, "split.no", (uint16_t)i);
        bitnet_gguf_put_u16(writer, "split.count", (uint16_t)set->n_parts);
        bitnet_gguf_put_i32(writer, "split.tensors.count", (int32_t)set->n_tensors);
    }
}

uint64_t bitnet_gguf_set_bytes(const struct bitnet_gguf_set *set)
{
    uint64_t n = 0;
    for (size_t i = 0; i < set->n_parts; i++) n += bitnet_gguf_writer_bytes(set->parts[i].writer);
    return n;
}

enum bitnet_status bitnet_gguf_set_begin(struct bitnet_gguf_set *set, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < set->n_parts && !status; i++)
        status = bitnet_gguf_begin(set->parts[i].writer, err);
    return status;
}

enum bitnet_status bitnet_gguf_set_reopen(struct bitnet_gguf_set *set, struct bitnet_gguf **gguf,
                                          struct bitnet_error *err)
{
    struct bitnet_file files[PARTS_MAX];
    enum bitnet_dialect dialect = BITNET_DIALECT_GGML;
    size_t n = 0;
    enum bitnet_status status = BITNET_OK;
    *gguf = NULL;
    while (n < set->n_parts && !status) {
        status = gguf_writer_map(set->parts[n].writer, &files[n], &dialect, err);
        n += !status;
    }
    if (status) {
        while (n > 0) bitnet_file_close(&files[--n]);
        return status;
    }
    return gguf_open_mapped(
        gguf, files, n, &(struct bitnet_gguf_options){.dialect_is_given = true, .dialect = dialect},
        err);
}

/* ------------------------------------------------------------------ publishing */

/* 0: there is no such file. */
static ino_t inode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* A part whose folder cannot be synced is an error, but it has its name: another file lies there
 * than before. */
static enum bitnet_status publish(struct bitnet_gguf_set *set, size_t *n_published,
                                  struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    *n_published = 0;
    if (set->overwrite && set->n_parts > 1) unlink(set->parts[0].path); /* no set opens now */
    for (size_t i = set->n_parts; i-- > 0 && !status;) {
        struct part *part = &set->parts[i];
        struct bitnet_gguf_writer *writer = part->writer;
        ino_t before = inode_of(part->path);
        part->writer = NULL; /* finish frees it, whatever happens */
        status = bitnet_gguf_finish(writer, err);
        if (inode_of(part->path) != before) (*n_published)++;
    }
    return status;
}

enum bitnet_status bitnet_gguf_set_finish(struct bitnet_gguf_set *set, struct bitnet_error *err)
{
    size_t n_published = 0;
    enum bitnet_status status = publish(set, &n_published, err);
    /* a single file that only lacks the sync of its folder stays, as base/file.h says */
    for (size_t i = 0; status && set->n_parts > 1 && i < set->n_parts; i++)
        if (i >= set->n_parts - n_published) unlink(set->parts[i].path);
    bitnet_gguf_set_abort(set);
    return status;
}

void bitnet_gguf_set_abort(struct bitnet_gguf_set *set)
{
    if (!set) return;
    for (size_t i = 0; i < set->n_parts; i++) bitnet_gguf_abort(set->parts[i].writer);
    free_set(set);
}
