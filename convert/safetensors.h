/* One safetensors file: a header that lists tensors, then their bytes. Everything about the list is
 * checked here, once, so that a listed tensor can be read without further checks.
 *
 * Source: the format description and reference reader of huggingface/safetensors. */
#ifndef CONVERT_SAFETENSORS_H
#define CONVERT_SAFETENSORS_H

#include "bitnet/arena.h"
#include "bitnet/error.h"
#include "bitnet/file.h"

#include <stdint.h>

enum st_kind { ST_F64, ST_F32, ST_F16, ST_BF16, ST_U8, ST_OTHER };

/* How a dtype is spelled and how wide it is. Only the first kinds can be weights. */
struct st_dtype {
    const char *name;
    unsigned bits; /* F4 and F6 are narrower than a byte */
    enum st_kind kind;
};

struct st_tensor {
    struct bitnet_str name; /* UTF-8 without control characters, 1..1024 bytes */
    const struct st_dtype *dtype;
    uint32_t n_dims;
    const uint64_t *dims; /* slowest first, as the file has them; product below 2^63 */
    struct bitnet_bytes
        data; /* in the mapping, not aligned; exactly as long as dims and dtype say */
};

struct st_list {
    struct st_tensor *at; /* in the order of their bytes */
    size_t n;
};

/* Reads the header of `file` (with pread, not from the mapping) into a list that lives in `arena`;
 * data pointers die with the file. Refuses, as the reference reader does, whatever leaves a byte
 * unclaimed or claimed twice. Fails with FORMAT, LIMIT, IO, MEMORY; the text does not name the
 * file. */
enum bitnet_status st_read(struct st_list *list, const struct bitnet_file *file,
                           struct bitnet_arena *arena, struct bitnet_error *err);

#endif
