/* A matrix ready to multiply: what bind makes of a tensor, and the multiplication of some of its
 * rows. Three kinds exist. Ternary: trits in the kernel set's machine layout, int8 activations,
 * exact integer sums, then one scale. Blocks (Q8_0, Q6_K, Q4_0): levels and scales in a machine
 * layout, activations in fixed point of 24 bits. Dense: floats in file layout (mapped, or decoded
 * once), float activations.
 *
 * A matrix on a device has the kind that it would have here, and is multiplied there. */
#ifndef BITNET_RUNTIME_MATRIX_H
#define BITNET_RUNTIME_MATRIX_H

#include "bitnet/gguf.h"
#include "bitnet/kernels.h"
#include "bitnet/pool.h"
#include "bitnet/quant.h"

/* Rows that one thread takes at a time, at most; a multiple of every set's panel_rows. */
#define MATRIX_SLICE_ROWS 128

struct matrix {
    size_t rows, cols;
    const uint8_t *bytes; /* ternary: panels; dense: rows in the file layout of the slot */
    uint64_t n_bytes;     /* size of what `bytes` points to */
    uint8_t *decoded;     /* == bytes when they were decoded to f32; owned */
    uint8_t *pages;       /* == bytes when matrix_to_pages() has copied them; owned */
    bool in_room;         /* packed into the room that the source gave */
    const struct bitnet_block_path *blocks;
    bitnet_dense_fn *dense; /* neither: ternary */
    float scale;            /* multiplies every result */
    float *row_scales;      /* [rows], instead of `scale`; NULL when all rows share it */
    bool is_inexact;        /* no trits were found: runs with float activations for that reason */
    bool is_decoded;        /* its type has no kernel: decoded to f32 */
    enum bitnet_dtype type; /* of `bytes` when it is not ternary */
    bool on_device;         /* bytes and row_scales are a device's, and not owned */
};

struct cuda_weights;

/* A block of large pages that is filled by several threads (bitnet_pages_touch()). */
struct room {
    uint8_t *at, *end;
    unsigned waited_us;
};

/* Everything bind needs beside the tensor. */
struct matrix_source {
    const struct bitnet_gguf *gguf;
    const struct bitnet_tensor *tensor;
    const struct bitnet_tensor *scale; /* "<linear>.scale" of ik_llama.cpp's files, or NULL */
    bool may_be_ternary;               /* a linear layer; else embedding or output matrix */
    bool is_multiplied;                /* else its rows are only looked up */
    bool float_activations;            /* trits run dense, see bitnet_model_options */
    uint8_t *room;                     /* matrix_room() bytes at a multiple of 64; NULL for 0 */
    struct room *rooms;                /* the block that it is in */
    struct cuda_weights *device;       /* where it goes; NULL: it stays here */
};

/* Bytes that this tensor needs in a machine layout; 0: it is read where it lies. A float tensor may
 * turn out to have no trits and then leaves its room untouched. UINT64_MAX: more than there is. */
uint64_t matrix_room(const struct matrix_source *source, const struct bitnet_kernel_set *kernels);

/* Memory that one thread keeps from tensor to tensor. Begins as {0}. */
struct matrix_scratch {
    int8_t *trits;
    size_t n_trits;
    float *floats;
    size_t n_floats;
    uint8_t *bytes;
    size_t n_bytes;
};
void matrix_scratch_free(struct matrix_scratch *scratch);

/* Fails with FORMAT (a damaged code or scale; the tensor is named), UNSUPPORTED (a type that we
 * cannot run, a tile that nobody knows), MEMORY. Then *matrix owns nothing. */
enum bitnet_status matrix_bind(struct matrix *matrix, const struct matrix_source *source,
                               const struct bitnet_kernel_set *kernels,
                               struct matrix_scratch *scratch, struct bitnet_error *err);
void matrix_free(struct matrix *matrix);

/* What is left to do after binding, by all threads of the pool: a matrix of blocks is packed into
 * its room; a dense one that lies in the mapping moves into large pages when `to_pages`. The pages
 * of the file are released on the way, so that memory holds it once. Fails with MEMORY. */
enum bitnet_status matrix_settle(struct matrix *matrix, const struct matrix_source *source,
                                 bool to_pages, struct bitnet_pool *pool, struct bitnet_error *err);

/* The file's layout of a 2-dimensional tensor, tile included. */
enum bitnet_status matrix_layout(struct bitnet_layout *layout, const struct bitnet_gguf *gguf,
                                 const struct bitnet_tensor *tensor, struct bitnet_error *err);

/* The input of a linear layer: floats always, int8 and their scale when a ternary matrix reads
 * them. */
struct activations {
    size_t n_tokens;
    const float *floats; /* [n_tokens][float_stride] */
    size_t float_stride;
    const int8_t *codes; /* [n_tokens][code_stride], zero up to a multiple of 128 */
    size_t code_stride;
    const float *code_scales; /* [n_tokens], what the floats were multiplied by */
    const uint8_t *fixed;     /* [n_tokens][fixed_stride], of bitnet_fixed_row() */
    size_t fixed_stride;
    const float *fixed_scales; /* [n_tokens] */
};

static inline bool matrix_is_ternary(const struct matrix *matrix)
{
    return !matrix->dense && !matrix->blocks;
}

/* y[token][row] for row_begin <= row < row_end; row_begin is a multiple of MATRIX_SLICE_ROWS or of
 * the panel, and there are at most MATRIX_SLICE_ROWS rows. `sums` is scratch of
 * [n_tokens][MATRIX_SLICE_ROWS]. */
void matrix_multiply(const struct matrix *matrix, const struct bitnet_kernel_set *kernels,
                     const struct activations *in, size_t row_begin, size_t row_end, int32_t *sums,
                     float *y, size_t y_stride);

#endif
