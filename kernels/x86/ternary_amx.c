/* The ternary product with AMX-INT8 (Sapphire Rapids of 2023), over panels (panel.h), for many
 * tokens; few tokens and a last panel that is not full go the way of AVX-512 VNNI.
 *
 *   C[16 tokens][16 rows] += A[16 tokens][64 columns] * B[16 fours of columns][16 rows][4]
 *
 * A is the activations as they lie. A line of a panel holds four of B's rows, so eight lines' worth
 * of shifts make what TDPBSSD wants for 64 columns of two panels. Unpacking costs about as much as
 * one block of tokens' products: so a stretch of columns of two panels is unpacked into a buffer
 * (trits as signed bytes, nothing to subtract later) and used for all tokens, 32 at a time: four C
 * tiles, two A, two B. Between stretches C rests in y.
 *
 * TDPBSSD takes 16 cycles for 16384 products. Four of them per step hide the loads of A and B. */
#include "../panel.h"
#include "codes_avx512.h"
#include "ternary.h"

#include <assert.h>

enum {
    TILE_TOKENS = 16,
    FEW_TOKENS = 12,     /* fewer: VNNI is faster */
    STRETCH_STEPS = 16,  /* of 64 columns: a buffer of 32 KiB */
    STEP_BYTES = 16 * 64 /* of one panel, unpacked */
};

/* The operand of LDTILECFG (Intel SDM volume 1, 18.3). */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* tmm0 .. 3: C, token tile by panel; 4, 5: A; 6, 7: B. */
static void configure(size_t n_first, size_t n_second)
{
    struct tile_config c = {.palette = 1};
    const size_t rows[8] = {n_first, n_first, n_second, n_second, n_first, n_second, 16, 16};
    for (size_t i = 0; i < 8; i++) {
        c.rows[i] = (uint8_t)(rows[i] ? rows[i] : 1);
        c.row_bytes[i] = 64;
    }
    _tile_loadconfig(&c);
}

/* Some compilers do not know that tile loads read memory. */
#define MEMORY_IS_USED() __asm__ volatile("" ::: "memory")

/* n_steps times 64 columns of one panel as signed trits: rows of B, four columns each. */
static void unpack(const uint8_t *w, size_t n_steps, int8_t *b)
{
    const __m512i one = _mm512_set1_epi8(1);
    for (size_t line = 0; line < 4 * n_steps; line++, w += PANEL_LINE) {
        const __m512i codes = _mm512_loadu_si512(w);
        UNROLL for (size_t j = 0; j < 4; j++, b += 64)
        {
            _mm512_storeu_si512(b, _mm512_sub_epi8(line_codes(codes, j), one));
        }
    }
}

struct job {
    const int8_t *x; /* at the stretch's first column */
    const int8_t *b[2];
    int32_t *y; /* at the first row of the first panel */
    size_t x_stride, y_stride, n_steps;
    bool first_stretch;
};

/* Up to 32 tokens times one or two panels. All counts that choose instructions are constants. */
INLINE void multiply(const struct job *j, const int8_t *x, int32_t *y, bool two_tiles,
                     bool two_panels)
{
    const size_t y_bytes = 4 * j->y_stride;
    int32_t *y1 = y + TILE_TOKENS * j->y_stride;
    if (j->first_stretch) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, y, y_bytes);
        if (two_panels) _tile_loadd(1, y + PANEL_ROWS, y_bytes);
        if (two_tiles) _tile_loadd(2, y1, y_bytes);
        if (two_tiles && two_panels) _tile_loadd(3, y1 + PANEL_ROWS, y_bytes);
    }
    for (size_t step = 0; step < j->n_steps; step++) {
        _tile_loadd(6, j->b[0] + step * STEP_BYTES, 64);
        _tile_loadd(4, x + step * 64, j->x_stride);
        _tile_dpbssd(0, 4, 6);
        if (two_panels) {
            _tile_loadd(7, j->b[1] + step * STEP_BYTES, 64);
            _tile_dpbssd(1, 4, 7);
        }
        if (two_tiles) {
            _tile_loadd(5, x + TILE_TOKENS * j->x_stride + step * 64, j->x_stride);
            _tile_dpbssd(2, 5, 6);
            if (two_panels) _tile_dpbssd(3, 5, 7);
        }
    }
    _tile_stored(0, y, y_bytes);
    if (two_panels) _tile_stored(1, y + PANEL_ROWS, y_bytes);
    if (two_tiles) _tile_stored(2, y1, y_bytes);
    if (two_tiles && two_panels) _tile_stored(3, y1 + PANEL_ROWS, y_bytes);
}

static void multiply_of(const struct job *j, size_t token, bool two_tiles, bool two_panels)
{
    const int8_t *x = j->x + token * j->x_stride;
    int32_t *y = j->y + token * j->y_stride;
    MEMORY_IS_USED();
    if (two_tiles) {
        if (two_panels)
            multiply(j, x, y, true, true);
        else
            multiply(j, x, y, true, false);
    } else {
        if (two_panels)
            multiply(j, x, y, false, true);
        else
            multiply(j, x, y, false, false);
    }
    MEMORY_IS_USED();
}

/* Full pairs of tiles first, with one configuration; the rest of the tokens with another. */
static void multiply_tokens(const struct job *j, size_t n_tokens, bool two_panels)
{
    const size_t whole = n_tokens / (2 * TILE_TOKENS) * (2 * TILE_TOKENS), left = n_tokens - whole;
    configure(TILE_TOKENS, TILE_TOKENS);
    for (size_t t = 0; t < whole; t += 2 * TILE_TOKENS) multiply_of(j, t, true, two_panels);
    if (left == 0) return;
    const bool two_tiles = left > TILE_TOKENS;
    configure(two_tiles ? TILE_TOKENS : left, two_tiles ? left - TILE_TOKENS : 0);
    multiply_of(j, whole, two_tiles, two_panels);
}

/* n_panels full panels times all tokens. A stretch of columns meets all panels before the next
 * stretch begins, so that its activations stay in the second cache. */
static void multiply_panels(const uint8_t *w, size_t n_panels, size_t cols, const int8_t *x,
                            size_t x_stride, size_t n_tokens, int32_t *y, size_t y_stride)
{
    _Alignas(64) int8_t b[2][STRETCH_STEPS * STEP_BYTES];
    const size_t n_steps = panel_cols(cols) / PANEL_COLS, panel_bytes = bitnet_panel_bytes(cols);
    for (size_t step = 0; step < n_steps; step += STRETCH_STEPS) {
        const size_t n = n_steps - step < STRETCH_STEPS ? n_steps - step : STRETCH_STEPS;
        for (size_t p = 0; p < n_panels; p += 2) {
            const bool two_panels = p + 1 < n_panels;
            const uint8_t *from = w + p * panel_bytes + step * PANEL_STEP_BYTES;
            unpack(from, n, b[0]);
            if (two_panels) unpack(from + panel_bytes, n, b[1]);
            const struct job j = {.x = x + step * PANEL_COLS,
                                  .b = {b[0], b[1]},
                                  .y = y + p * PANEL_ROWS,
                                  .x_stride = x_stride,
                                  .y_stride = y_stride,
                                  .n_steps = n,
                                  .first_stretch = step == 0};
            multiply_tokens(&j, n_tokens, two_panels);
        }
    }
}

static void matmul(const uint8_t *w, size_t rows, size_t cols, size_t panel_begin, size_t panel_end,
                   const int8_t *x, size_t x_stride, size_t n_tokens, int32_t *y, size_t y_stride)
{
    assert(((uintptr_t)x | x_stride) % 64 == 0);
    const size_t full = rows / PANEL_ROWS, end = panel_end < full ? panel_end : full;
    size_t p = panel_begin;
    if (n_tokens >= FEW_TOKENS && p < end) {
        multiply_panels(w + p * bitnet_panel_bytes(cols), end - p, cols, x, x_stride, n_tokens,
                        y + p * PANEL_ROWS, y_stride);
        _tile_release();
        p = end;
    }
    if (p < panel_end) {
        bitnet_avx512vnni_ternary.matmul(w, rows, cols, p, panel_end, x, x_stride, n_tokens, y,
                                         y_stride);
    }
}

const struct bitnet_ternary_path bitnet_amx_ternary = {.name = "panel16",
                                                       .panel_rows = PANEL_ROWS,
                                                       .panel_bytes = bitnet_panel_bytes,
                                                       .pack = bitnet_avx2_panel_pack,
                                                       .matmul = matmul};
