/* Template: the loops around a tile of the panel layout (panel.h), the same on every set. Included
 * once by a ternary file after it has defined
 *
 *   TILE       the most tokens that its tile takes
 *   sum_of()   the sum of a padded row of activations
 *   tile_of()  one panel times some of n (at least 1) tokens, sums[t][r] of codes times x; returns
 *              how many tokens it took, at most TILE
 *
 *   STREAMS       (a macro; absent: one) panels that one token meets at once
 *   streams_of()  STREAMS panels, `step` bytes apart, times one token
 *
 * and yields matmul(). A panel meets all tokens before the next panel is touched, so weights are
 * read from memory once, and TOKEN_BLOCK tokens stay in the second cache. One token alone waits for
 * memory only: several panels side by side are several streams, which the memory serves faster than
 * one (measured, two threads, pages of 4 KiB: one stream 25 GB/s, two or four 33), and they share
 * the loads of the activations. */
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

#if defined(STREAMS)
/* The panels p .. end - 1 by groups of STREAMS; returns the first of the rest. */
static size_t panels_times_one(const uint8_t *w, size_t rows, size_t cols, size_t p, size_t end,
                               const int8_t *x, int32_t x_sum, int32_t *y)
{
    const size_t step = bitnet_panel_bytes(cols);
    for (; p + STREAMS <= end; p += STREAMS) {
        const size_t row = p * PANEL_ROWS, left = rows - row;
        const size_t n = left < STREAMS * PANEL_ROWS ? left : STREAMS * PANEL_ROWS;
        int32_t sums[STREAMS][PANEL_ROWS];
        streams_of(w + p * step, step, cols, x, sums);
        for (size_t r = 0; r < n; r++) y[row + r] = sums[r / PANEL_ROWS][r % PANEL_ROWS] - x_sum;
    }
    return p;
}
#endif

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
        size_t p = panel_begin;
#if defined(STREAMS)
        if (n == 1) {
            p = panels_times_one(w, rows, cols, p, panel_end, x + first * x_stride, x_sums[0],
                                 y + first * y_stride);
        }
#endif
        for (; p < panel_end; p++) {
            const size_t row = p * PANEL_ROWS, left = rows - row;
            panel_times_tokens(w + p * step, left < PANEL_ROWS ? left : PANEL_ROWS, cols,
                               x + first * x_stride, x_stride, n, x_sums,
                               y + first * y_stride + row, y_stride);
        }
    }
}
