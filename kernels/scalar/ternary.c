/* The ternary product, one trit after the other.
 *
 *   y[t][r] = sum over c of trit[r][c] * x[t][c]
 *
 * Machine layout: a panel is one row, four codes per byte, column c at bits 2 (c % 4) of byte
 * c / 4; code = trit + 1, so the padding (trit 0) is code 1. */
#include "scalar.h"

#include <assert.h>
#include <string.h>

static size_t panel_bytes(size_t cols)
{
    return (cols + 3) / 4;
}

static void pack(const int8_t *trits, size_t rows, size_t cols, size_t panel, uint8_t *w)
{
    assert(panel < rows);
    (void)rows;
    memset(w, 0x55, panel_bytes(cols));
    for (size_t c = 0; c < cols; c++) {
        const unsigned code = (unsigned)(trits[panel * cols + c] + 1);
        w[c / 4] = (uint8_t)((w[c / 4] & ~(3u << (2 * (c % 4)))) | code << (2 * (c % 4)));
    }
}

static int32_t dot(const uint8_t *w, const int8_t *x, size_t cols)
{
    int32_t sum = 0;
    for (size_t c = 0; c < cols; c++) {
        const int trit = (w[c / 4] >> (2 * (c % 4)) & 3) - 1;
        sum += trit * x[c];
    }
    return sum;
}

static void matmul(const uint8_t *w, size_t rows, size_t cols, size_t panel_begin, size_t panel_end,
                   const int8_t *x, size_t x_stride, size_t n_tokens, int32_t *y, size_t y_stride)
{
    assert(panel_end <= rows);
    (void)rows;
    for (size_t r = panel_begin; r < panel_end; r++) {
        for (size_t t = 0; t < n_tokens; t++) {
            y[t * y_stride + r] = dot(w + r * panel_bytes(cols), x + t * x_stride, cols);
        }
    }
}

const struct bitnet_ternary_path bitnet_scalar_ternary = {
    .name = "row", .panel_rows = 1, .panel_bytes = panel_bytes, .pack = pack, .matmul = matmul};
