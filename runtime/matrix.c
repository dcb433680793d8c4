/* Multiplying some rows of a matrix, and its end. How a tensor becomes one is matrix_bind.c's.
 * Source of the arithmetic: formats.md 2.4. */
#include "matrix.h"

#include "bitnet/alloc.h"

#include <assert.h>

void matrix_free(struct matrix *matrix)
{
    bitnet_free_aligned(matrix->decoded);
    bitnet_free_pages(matrix->pages, (size_t)matrix->n_bytes);
    if (!matrix->on_device) bitnet_free(matrix->row_scales);
    *matrix = (struct matrix){0};
}

static void scale_rows(const struct matrix *m, size_t row, size_t n, float *y)
{
    if (m->row_scales)
        for (size_t i = 0; i < n; i++) y[i] *= m->row_scales[row + i];
    else if (m->scale != 1)
        for (size_t i = 0; i < n; i++) y[i] *= m->scale;
}

static void multiply_ternary(const struct matrix *m, const struct bitnet_kernel_set *k,
                             const struct activations *in, size_t row_begin, size_t row_end,
                             int32_t *sums, float *y, size_t y_stride)
{
    const struct bitnet_ternary_path *path = k->ternary;
    size_t n = row_end - row_begin, panel = row_begin / path->panel_rows;
    assert(row_begin % path->panel_rows == 0 && n <= MATRIX_SLICE_ROWS);
    /* The slice is a matrix of its own: its panels, its rows. */
    path->matmul(m->bytes + panel * path->panel_bytes(m->cols), n, m->cols, 0,
                 (n + path->panel_rows - 1) / path->panel_rows, in->codes, in->code_stride,
                 in->n_tokens, sums, MATRIX_SLICE_ROWS);
    for (size_t t = 0; t < in->n_tokens; t++) {
        float *out = y + t * y_stride + row_begin;
        k->rescale(sums + t * MATRIX_SLICE_ROWS, n, in->code_scales[t],
                   m->row_scales ? 1.0f : m->scale, out);
        if (m->row_scales) scale_rows(m, row_begin, n, out);
    }
}

static void multiply_blocks(const struct matrix *m, const struct activations *in, size_t row_begin,
                            size_t row_end, float *y, size_t y_stride)
{
    const struct bitnet_block_path *path = m->blocks;
    assert(row_begin % path->panel_rows == 0);
    path->matmul(m->bytes, m->rows, m->cols, row_begin / path->panel_rows,
                 (row_end + path->panel_rows - 1) / path->panel_rows, in->fixed, in->fixed_stride,
                 in->fixed_scales, in->n_tokens, y, y_stride);
}

void matrix_multiply(const struct matrix *m, const struct bitnet_kernel_set *k,
                     const struct activations *in, size_t row_begin, size_t row_end, int32_t *sums,
                     float *y, size_t y_stride)
{
    assert(row_begin < row_end && row_end <= m->rows);
    if (matrix_is_ternary(m)) {
        multiply_ternary(m, k, in, row_begin, row_end, sums, y, y_stride);
        return;
    }
    if (m->blocks)
        multiply_blocks(m, in, row_begin, row_end, y, y_stride);
    else
        m->dense(m->bytes, m->cols, row_begin, row_end, in->floats, in->float_stride, in->n_tokens,
                 y, y_stride);
    for (size_t t = 0; t < in->n_tokens; t++)
        scale_rows(m, row_begin, row_end - row_begin, y + t * y_stride + row_begin);
}
