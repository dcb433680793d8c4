/* One model as several files, and back. The names and keys are those of llama.cpp (parts.c); the
 * cut is greedy, in the order of the tensors. All parts are written and compared with their source
 * while none is visible, then published from the last to the first. */
#include "bitnet/doctor.h"

#include "copy.h"

#include "bitnet/alloc.h"
#include "bitnet/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARTS_MAX 1000

struct part {
    size_t first, n;
    struct bitnet_gguf_writer *writer; /* NULL: not begun, or published */
    char *path;
};

struct split {
    const struct bitnet_gguf *gguf;
    bool overwrite;
    struct part *parts;
    size_t n_parts, cap;
    size_t n_published; /* from the end */
};

static enum bitnet_status out_of_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

/* ------------------------------------------------------------------ the cut */

static enum bitnet_status cut(struct split *split, uint64_t max_bytes, struct bitnet_error *err)
{
    size_t n_tensors = bitnet_gguf_tensor_count(split->gguf);
    uint64_t alignment = bitnet_gguf_alignment(split->gguf), used = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        uint64_t n_bytes = bitnet_gguf_tensor_at(split->gguf, i)->data.n;
        bitnet_align_up_u64(n_bytes, alignment, &n_bytes);
        if (split->n_parts == 0 || (used > 0 && n_bytes > max_bytes - used) || used > max_bytes) {
            if (!BITNET_GROW(split->parts, split->n_parts, split->cap, PARTS_MAX))
                return split->n_parts == PARTS_MAX
                           ? bitnet_fail(err, BITNET_LIMIT, "more than %d parts", PARTS_MAX)
                           : out_of_memory(err);
            split->parts[split->n_parts++] = (struct part){.first = i};
            used = 0;
        }
        split->parts[split->n_parts - 1].n++;
        used += n_bytes;
    }
    if (split->n_parts > 0) return BITNET_OK;
    return bitnet_fail(err, BITNET_UNSUPPORTED, "there are no tensors to split");
}

static enum bitnet_status name_parts(struct split *split, const char *prefix,
                                     struct bitnet_error *err)
{
    size_t size = strlen(prefix) + 32;
    for (size_t i = 0; i < split->n_parts; i++) {
        split->parts[i].path = bitnet_alloc(size, 1);
        if (!split->parts[i].path) return out_of_memory(err);
        snprintf(split->parts[i].path, size, "%s-%05zu-of-%05zu.gguf", prefix, i + 1,
                 split->n_parts);
    }
    return BITNET_OK;
}

/* ------------------------------------------------------------------ writing */

static void put_keys(const struct split *split, size_t number, struct bitnet_gguf_writer *writer)
{
    for (size_t i = 0; number == 0 && i < bitnet_gguf_pair_count(split->gguf); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(split->gguf, i);
        if (!copy_is_split_key(pair->key)) bitnet_gguf_put_value(writer, pair->key, &pair->value);
    }
    bitnet_gguf_put_u16(writer, "split.no", (uint16_t)number);
    bitnet_gguf_put_u16(writer, "split.count", (uint16_t)split->n_parts);
    bitnet_gguf_put_i32(writer, "split.tensors.count",
                        (int32_t)bitnet_gguf_tensor_count(split->gguf));
}

static enum bitnet_status write_part(struct split *split, size_t number, struct bitnet_error *err)
{
    struct part *part = &split->parts[number];
    const struct bitnet_gguf_writer_options options = {
        .alignment = (uint32_t)bitnet_gguf_alignment(split->gguf),
        .dialect = bitnet_gguf_dialect(split->gguf),
        .overwrite = split->overwrite};
    enum bitnet_status status = bitnet_gguf_writer_new(&part->writer, part->path, &options, err);
    if (status) return status;
    put_keys(split, number, part->writer);
    return copy_tensors(part->writer, split->gguf, part->first, part->n, NULL, err);
}

/* 0: there is no such file. */
static ino_t inode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* A part whose folder cannot be synced is an error, but it has its name: another file lies there
 * than before. */
static enum bitnet_status publish(struct split *split, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = split->n_parts; i-- > 0 && !status;) {
        struct part *part = &split->parts[i];
        struct bitnet_gguf_writer *writer = part->writer;
        ino_t before = inode_of(part->path);
        part->writer = NULL; /* finish frees it, whatever happens */
        status = bitnet_gguf_finish(writer, err);
        if (inode_of(part->path) != before) split->n_published++;
    }
    return status;
}

/* Takes back what was published, and forgets the rest. */
static void abandon(struct split *split)
{
    for (size_t i = 0; i < split->n_parts; i++) {
        bitnet_gguf_abort(split->parts[i].writer);
        split->parts[i].writer = NULL;
        if (i >= split->n_parts - split->n_published) unlink(split->parts[i].path);
    }
}

enum bitnet_status bitnet_gguf_split(const struct bitnet_gguf *gguf, const char *prefix,
                                     uint64_t max_bytes, bool overwrite, size_t *n_parts,
                                     struct bitnet_error *err)
{
    struct split split = {.gguf = gguf, .overwrite = overwrite};
    enum bitnet_status status = cut(&split, max_bytes, err);
    if (!status) status = name_parts(&split, prefix, err);
    for (size_t i = 0; i < split.n_parts && !status; i++) status = write_part(&split, i, err);
    if (!status) status = publish(&split, err);
    if (status) abandon(&split);
    *n_parts = split.n_parts;
    for (size_t i = 0; i < split.n_parts; i++) bitnet_free(split.parts[i].path);
    bitnet_free(split.parts);
    return status;
}

/* ------------------------------------------------------------------ merging */

enum bitnet_status bitnet_gguf_merge(const struct bitnet_gguf *gguf, const char *path,
                                     bool overwrite, struct bitnet_error *err)
{
    return bitnet_gguf_edit_file(gguf, NULL, 0, NULL, path, overwrite, err);
}
