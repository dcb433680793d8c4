/* The ternary product with AVX-512 VNNI (Cascade Lake of 2019, Ice Lake, Zen 4), over panels
 * (panel.h).
 *
 * A line of a panel is one register; each of its four code positions is the first operand of
 * VPDPBUSD, four activations broadcast from memory are the second. Two such instructions fit a
 * cycle, and two loads, so a tile of 16 tokens runs near the peak: 16 products for a shift and a
 * mask. VPDPBUSD takes five cycles, so a tile of few tokens keeps several chains per token. */
#include "../panel.h"
#include "../unroll.h"
#include "codes_avx512.h"
#include "ternary.h"

enum { TILE = 16, PREFETCH_BYTES = 2048 };
#define STREAMS 4

static int32_t sum_of(const int8_t *x, size_t cols)
{
    __m512i acc = _mm512_setzero_si512();
    for (size_t c = 0; c < cols; c += 64) {
        acc = _mm512_dpbusd_epi32(acc, _mm512_set1_epi8(1), _mm512_loadu_si512(x + c));
    }
    return _mm512_reduce_add_epi32(acc);
}

/* One panel times n tokens with n_chains sums each (constants after inlining; n_chains divides 4,
 * n * n_chains <= 16). */
INLINE void tile(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                 size_t n_chains, int32_t sums[TILE][PANEL_ROWS])
{
    /* Four bases, so that every token is a base plus 0, 1, 2 or 3 strides. */
    const int8_t *base[4] = {x, x + 4 * x_stride, x + 8 * x_stride, x + 12 * x_stride};
    __m512i acc[TILE];
    UNROLL for (size_t i = 0; i < n * n_chains; i++) acc[i] = _mm512_setzero_si512();
    for (size_t line = 0; line < panel_cols(cols) / 16; line++) {
        if (n == 1) _mm_prefetch((const char *)w + PREFETCH_BYTES, _MM_HINT_T0);
        const __m512i line_of_codes = _mm512_loadu_si512(w);
        UNROLL for (size_t j = 0; j < 4; j++)
        {
            const __m512i rows = line_codes(line_of_codes, j);
            UNROLL for (size_t t = 0; t < n; t++)
            {
                const int8_t *four = base[t / 4] + t % 4 * x_stride + 4 * j;
                __m512i *a = &acc[t * n_chains + j % n_chains];
                *a = _mm512_dpbusd_epi32(*a, rows, broadcast_four(four));
            }
        }
        w += PANEL_LINE;
        UNROLL for (size_t i = 0; i < (n + 3) / 4; i++) base[i] += 16;
    }
    UNROLL for (size_t t = 0; t < n; t++)
    {
        __m512i sum = acc[t * n_chains];
        UNROLL for (size_t i = 1; i < n_chains; i++)
        {
            sum = _mm512_add_epi32(sum, acc[t * n_chains + i]);
        }
        _mm512_storeu_si512(sums[t], sum);
    }
}

static size_t tile_of(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                      int32_t sums[TILE][PANEL_ROWS])
{
    if (n >= 16) return tile(w, cols, x, x_stride, 16, 1, sums), 16;
    if (n >= 8) return tile(w, cols, x, x_stride, 8, 2, sums), 8;
    if (n >= 4) return tile(w, cols, x, x_stride, 4, 4, sums), 4;
    if (n >= 2) return tile(w, cols, x, x_stride, 2, 4, sums), 2;
    return tile(w, cols, x, x_stride, 1, 4, sums), 1;
}

/* Adds n_lines lines of all panels times the activations. */
INLINE void add_stream_lines(const uint8_t *w, size_t step, size_t n_lines, size_t ahead,
                             const int8_t *x, __m512i acc[STREAMS][2])
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
                acc[p][j % 2] = _mm512_dpbusd_epi32(acc[p][j % 2], line_codes(lines[p], j), four);
            }
        }
    }
}

static void streams_of(const uint8_t *w, size_t step, size_t cols, const int8_t *x,
                       int32_t sums[STREAMS][PANEL_ROWS])
{
    const size_t n_lines = panel_cols(cols) / 16;
    __m512i acc[STREAMS][2];
    UNROLL for (size_t p = 0; p < STREAMS; p++) acc[p][0] = acc[p][1] = _mm512_setzero_si512();
    for (size_t line = 0; line < n_lines; line += STREAM_LINES) {
        const size_t left = n_lines - line, n = left < STREAM_LINES ? left : STREAM_LINES;
        add_stream_lines(w + line * PANEL_LINE, step, n, panel_ahead(line, n_lines, STREAMS, step),
                         x + line * 16, acc);
    }
    UNROLL for (size_t p = 0; p < STREAMS; p++)
    {
        _mm512_storeu_si512(sums[p], _mm512_add_epi32(acc[p][0], acc[p][1]));
    }
}

#include "../panel_driver.h"

const struct bitnet_ternary_path bitnet_avx512vnni_ternary = {.name = "panel16",
                                                              .panel_rows = PANEL_ROWS,
                                                              .panel_bytes = bitnet_panel_bytes,
                                                              .pack = bitnet_avx2_panel_pack,
                                                              .matmul = matmul};
