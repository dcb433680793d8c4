/* The ternary product with AVX-512 BW but no VNNI (Skylake-X of 2017), over panels (panel.h).
 *
 * As ternary_avx2.c, with whole lines: VPMADDUBSW sums pairs in 16 bits, at most 508 in magnitude;
 * a lane takes four per line, so 16 lines make 64 * 508 = 32512 < 32768, and then VPMADDWD widens
 * them into 32 bits. */
#include "../panel.h"
#include "../unroll.h"
#include "avx512.h"
#include "codes_avx512.h"

enum { TILE = 8, FLUSH_LINES = 16, PREFETCH_BYTES = 2048 };
#define STREAMS 4

static int32_t sum_of(const int8_t *x, size_t cols)
{
    const __m512i one8 = _mm512_set1_epi8(1), one16 = _mm512_set1_epi16(1);
    __m512i acc = _mm512_setzero_si512();
    for (size_t c = 0; c < cols; c += 64) {
        const __m512i pairs = _mm512_maddubs_epi16(one8, _mm512_loadu_si512(x + c));
        acc = _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, one16));
    }
    return _mm512_reduce_add_epi32(acc);
}

/* Adds n_lines lines of codes times activations to the 16-bit sums. */
INLINE void add_lines(const uint8_t *w, size_t n_lines, const int8_t *x, size_t x_stride, size_t n,
                      __m512i acc[TILE])
{
    for (size_t line = 0; line < n_lines; line++, w += PANEL_LINE, x += 16) {
        if (n == 1) _mm_prefetch((const char *)w + PREFETCH_BYTES, _MM_HINT_T0);
        const __m512i line_of_codes = _mm512_loadu_si512(w);
        UNROLL for (size_t j = 0; j < 4; j++)
        {
            const __m512i rows = line_codes(line_of_codes, j);
            UNROLL for (size_t t = 0; t < n; t++)
            {
                const __m512i four = broadcast_four(x + t * x_stride + 4 * j);
                acc[t] = _mm512_add_epi16(acc[t], _mm512_maddubs_epi16(rows, four));
                SETTLE(acc[t]);
            }
        }
    }
}

/* One panel times n tokens (n is a constant after inlining). */
INLINE void tile(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                 int32_t sums[TILE][PANEL_ROWS])
{
    const size_t n_lines = panel_cols(cols) / 16;
    __m512i wide[TILE];
    UNROLL for (size_t t = 0; t < n; t++) wide[t] = _mm512_setzero_si512();
    for (size_t line = 0; line < n_lines; line += FLUSH_LINES) {
        const size_t left = n_lines - line;
        __m512i acc[TILE];
        UNROLL for (size_t t = 0; t < n; t++) acc[t] = _mm512_setzero_si512();
        add_lines(w + line * PANEL_LINE, left < FLUSH_LINES ? left : FLUSH_LINES, x + line * 16,
                  x_stride, n, acc);
        UNROLL for (size_t t = 0; t < n; t++)
        {
            const __m512i pairs = _mm512_madd_epi16(acc[t], _mm512_set1_epi16(1));
            wide[t] = _mm512_add_epi32(wide[t], pairs);
        }
    }
    UNROLL for (size_t t = 0; t < n; t++) _mm512_storeu_si512(sums[t], wide[t]);
}

static size_t tile_of(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                      int32_t sums[TILE][PANEL_ROWS])
{
    if (n >= 8) return tile(w, cols, x, x_stride, 8, sums), 8;
    if (n >= 4) return tile(w, cols, x, x_stride, 4, sums), 4;
    if (n >= 2) return tile(w, cols, x, x_stride, 2, sums), 2;
    return tile(w, cols, x, x_stride, 1, sums), 1;
}

/* Adds n_lines lines of all panels times the activations to the 16-bit sums. */
INLINE void add_stream_lines(const uint8_t *w, size_t step, size_t n_lines, size_t ahead,
                             const int8_t *x, __m512i acc[STREAMS])
{
    for (size_t line = 0; line < n_lines; line++, w += PANEL_LINE, x += 16) {
        __m512i lines[STREAMS];
        UNROLL for (size_t p = 0; p < STREAMS; p++)
        {
            _mm_prefetch((const char *)w + p * step + ahead, _MM_HINT_T0);
            lines[p] = _mm512_loadu_si512(w + p * step);
        }
        UNROLL for (size_t j = 0; j < 4; j++)
        {
            const __m512i four = broadcast_four(x + 4 * j);
            UNROLL for (size_t p = 0; p < STREAMS; p++)
            {
                const __m512i pairs = _mm512_maddubs_epi16(line_codes(lines[p], j), four);
                acc[p] = _mm512_add_epi16(acc[p], pairs);
            }
        }
    }
}

static void streams_of(const uint8_t *w, size_t step, size_t cols, const int8_t *x,
                       int32_t sums[STREAMS][PANEL_ROWS])
{
    const size_t n_lines = panel_cols(cols) / 16;
    __m512i wide[STREAMS];
    UNROLL for (size_t p = 0; p < STREAMS; p++) wide[p] = _mm512_setzero_si512();
    for (size_t line = 0; line < n_lines; line += FLUSH_LINES) {
        const size_t left = n_lines - line;
        __m512i acc[STREAMS];
        UNROLL for (size_t p = 0; p < STREAMS; p++) acc[p] = _mm512_setzero_si512();
        add_stream_lines(w + line * PANEL_LINE, step, left < FLUSH_LINES ? left : FLUSH_LINES,
                         panel_ahead(line, n_lines, STREAMS, step), x + line * 16, acc);
        UNROLL for (size_t p = 0; p < STREAMS; p++)
        {
            const __m512i pairs = _mm512_madd_epi16(acc[p], _mm512_set1_epi16(1));
            wide[p] = _mm512_add_epi32(wide[p], pairs);
        }
    }
    UNROLL for (size_t p = 0; p < STREAMS; p++) _mm512_storeu_si512(sums[p], wide[p]);
}

#include "../panel_driver.h"

const struct bitnet_ternary_path bitnet_avx512_ternary = {.name = "panel16",
                                                          .panel_rows = PANEL_ROWS,
                                                          .panel_bytes = bitnet_panel_bytes,
                                                          .pack = bitnet_avx2_panel_pack,
                                                          .matmul = matmul};
