/* Where each tensor lies: types, shapes and offsets in; checked views of the data out. Every size
 * is compared with the bytes that are there before any tensor is used, and no two tensors share a
 * byte. Offsets need not be in the order of the list, and gaps are allowed here (a warning of
 * validate: ggml itself refuses both). */
#include "reader.h"

#include <inttypes.h>
#include <stdlib.h>

/* A file that should be larger than this was not cut: its numbers are wrong. */
#define BELIEVABLE_BYTES (UINT64_C(1) << 42)

static uint64_t data_bytes(const struct gguf_part *part)
{
    return part->bytes.n > part->data_start ? part->bytes.n - part->data_start : 0;
}

static enum bitnet_status outside(const struct gguf_part *part, uint64_t offset, uint64_t n_bytes,
                                  struct bitnet_error *err)
{
    uint64_t end;
    if (!bitnet_add_u64(part->data_start, offset, &end) || !bitnet_add_u64(end, n_bytes, &end))
        return bitnet_fail(err, BITNET_FORMAT, "data lies outside the file");
    bitnet_fail(err, BITNET_FORMAT, "data ends at byte %" PRIu64 " but the file has %zu bytes", end,
                part->bytes.n);
    if (end > BELIEVABLE_BYTES) return BITNET_FORMAT;
    return bitnet_hint(err, BITNET_FORMAT, "incomplete download or copy");
}

static enum bitnet_status place_tensor(const struct gguf_part *part, struct bitnet_tensor *tensor,
                                       struct bitnet_error *err)
{
    uint64_t n_bytes;
    enum bitnet_status status =
        bitnet_tensor_bytes(tensor->type, tensor->dims, tensor->n_dims, &n_bytes, err);
    if (status) return status;
    if (tensor->offset % part->alignment != 0)
        return bitnet_fail(err, BITNET_FORMAT, "offset %" PRIu64 " is not a multiple of %" PRIu64,
                           tensor->offset, part->alignment);
    if (!bitnet_range_ok(tensor->offset, n_bytes, data_bytes(part)))
        return outside(part, tensor->offset, n_bytes, err);
    tensor->data.at = part->bytes.at + part->data_start + tensor->offset;
    tensor->data.n = (size_t)n_bytes;
    return BITNET_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct bitnet_tensor *x = *(const struct bitnet_tensor *const *)a;
    const struct bitnet_tensor *y = *(const struct bitnet_tensor *const *)b;
    if (x->part != y->part) return x->part < y->part ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The tensors by part and offset; the caller frees the list. NULL: out of memory. */
static const struct bitnet_tensor **sort_by_place(const struct bitnet_gguf *gguf)
{
    size_t n = gguf->n_tensors;
    const struct bitnet_tensor **sorted = bitnet_alloc(n ? n : 1, sizeof *sorted);
    if (!sorted) return NULL;
    for (size_t i = 0; i < n; i++) sorted[i] = &gguf->tensors[i];
    qsort(sorted, n, sizeof *sorted, by_place);
    return sorted;
}

static bool overlap(const struct bitnet_tensor *x, const struct bitnet_tensor *y)
{
    return x->part == y->part && y->offset - x->offset < x->data.n;
}

static bool is_in_order(const struct bitnet_gguf *gguf)
{
    for (size_t i = 1; i < gguf->n_tensors; i++) {
        const struct bitnet_tensor *x = &gguf->tensors[i - 1], *y = &gguf->tensors[i];
        if (x->part == y->part && (y->offset <= x->offset || overlap(x, y))) return false;
    }
    return true;
}

static enum bitnet_status refuse_overlaps(const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    if (is_in_order(gguf)) return BITNET_OK;
    const struct bitnet_tensor **sorted = sort_by_place(gguf);
    if (!sorted) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 1; i < gguf->n_tensors && !status; i++)
        if (overlap(sorted[i - 1], sorted[i]))
            status = bitnet_fail(err, BITNET_FORMAT, "tensors %s and %s overlap",
                                 BITNET_QUOTE(sorted[i - 1]->name), BITNET_QUOTE(sorted[i]->name));
    bitnet_free(sorted);
    return status;
}

enum bitnet_status gguf_lay_out(struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct bitnet_tensor *tensor = &gguf->tensors[i];
        enum bitnet_status status = place_tensor(&gguf->parts[tensor->part], tensor, err);
        if (status)
            return bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(tensor->name));
    }
    return refuse_overlaps(gguf, err);
}

enum bitnet_status gguf_measure_rooms(const struct bitnet_gguf *gguf, uint64_t *rooms,
                                      struct bitnet_error *err)
{
    const struct bitnet_tensor **sorted = sort_by_place(gguf);
    if (!sorted) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct bitnet_tensor *tensor = sorted[i];
        bool is_last = i + 1 == gguf->n_tensors || sorted[i + 1]->part != tensor->part;
        uint64_t end = is_last ? data_bytes(&gguf->parts[tensor->part]) : sorted[i + 1]->offset;
        rooms[tensor - gguf->tensors] = end > tensor->offset ? end - tensor->offset : 0;
    }
    bitnet_free(sorted);
    return BITNET_OK;
}
