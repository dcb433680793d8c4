/* Template: the loops around a tile of the panel layout (panel.h), the same on every set. Included
 * once by a ternary file after it has defined
 *
 *   TILE       the most tokens that its tile takes
 *   sum_of()   the sum of a padded row of activations
 *   tile_of()  one panel times some of n (at least 1) tokens, sums[t][r] of codes times x; returns
 *              how many tokens it took, at most TILE
 *
 * and yields matmul(). A panel meets all tokens before the next panel is touched, so weights are
 * read from memory once, and TOKEN_BLOCK tokens stay in the second cache. */
#include "panel.h"

#include <assert.h>

enum { TOKEN_BLOCK = 64 };

/* One panel times up to TOKEN_BLOCK tokens, whose activation sums are known. */
static void panel_times_tokens(const uint8_t *w, size_t n_rows, size_t cols, const int8_t *x,
                               size_t x_stride, size_t n_tokens, const int32_t *x_sums, int32_t *y,
                               size_t y_stride)
{
    for (size_t first = 0, n; first < n_tokens; first += n) {
        int32_t sums[TILE][PANEL_ROWS];
        n = tile_of(w, cols, x + first * x_stride, x_stride, n_tokens - first, sums);
        for (size_t t = 0; t < n; t++) {
            int32_t *out = y + (first + t) * y_stride;
            for (size_t r = 0; r < n_rows; r++) out[r] = sums[t][r] - x_sums[first + t];
        }
    }
}

static void matmul(const uint8_t *w, size_t rows, size_t cols, size_t panel_begin, size_t panel_end,
                   const int8_t *x, size_t x_stride, size_t n_tokens, int32_t *y, size_t y_stride)
{
    assert(((uintptr_t)x | x_stride) % 64 == 0);
    assert(panel_end <= (rows + PANEL_ROWS - 1) / PANEL_ROWS);
    const size_t step = bitnet_panel_bytes(cols);
    for (size_t first = 0; first < n_tokens; first += TOKEN_BLOCK) {
        const size_t n = n_tokens - first < TOKEN_BLOCK ? n_tokens - first : TOKEN_BLOCK;
        int32_t x_sums[TOKEN_BLOCK];
        for (size_t t = 0; t < n; t++) x_sums[t] = sum_of(x + (first + t) * x_stride, cols);
        for (size_t p = panel_begin; p < panel_end; p++) {
            const size_t row = p * PANEL_ROWS, left = rows - row;
            panel_times_tokens(w + p * step, left < PANEL_ROWS ? left : PANEL_ROWS, cols,
                               x + first * x_stride, x_stride, n, x_sums,
                               y + first * y_stride + row, y_stride);
        }
    }
}
