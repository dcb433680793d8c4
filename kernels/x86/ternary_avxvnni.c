/* The ternary product with AVX-VNNI (Alder Lake of 2021, Zen 5 of 2024), over panels (panel.h).
 *
 * VPDPBUSD multiplies four codes (unsigned) with four activations and adds all to a 32-bit lane at
 * once, so there is no 16-bit sum to watch. Otherwise as ternary_avx2.c. */
#include "../panel.h"
#include "../unroll.h"
#include "ternary.h"

#include <immintrin.h>
#include <string.h>

enum { TILE = 6, PREFETCH_BYTES = 2048 };
#define STREAMS 2

static int32_t sum_of(const int8_t *x, size_t cols)
{
    __m256i acc = _mm256_setzero_si256();
    for (size_t c = 0; c < cols; c += 32) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(x + c));
        acc = _mm256_dpbusd_avx_epi32(acc, _mm256_set1_epi8(1), v);
    }
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(acc), _mm256_extracti128_si256(acc, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
    return _mm_cvtsi128_si32(four);
}

INLINE __m256i broadcast_four(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* One panel times n tokens with n_chains sums each (constants after inlining; n_chains divides 4,
 * n * n_chains <= TILE). Few tokens need several chains, because one waits for the latency of
 * VPDPBUSD, five cycles. */
INLINE void tile(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                 size_t n_chains, int32_t sums[TILE][PANEL_ROWS])
{
    const __m256i three = _mm256_set1_epi8(3);
    __m256i low[TILE], high[TILE];
    UNROLL for (size_t i = 0; i < n * n_chains; i++) low[i] = high[i] = _mm256_setzero_si256();
    for (size_t line = 0; line < panel_cols(cols) / 16; line++, w += PANEL_LINE, x += 16) {
        if (n == 1) _mm_prefetch((const char *)w + PREFETCH_BYTES, _MM_HINT_T0);
        const __m256i a = _mm256_loadu_si256((const __m256i *)w);
        const __m256i b = _mm256_loadu_si256((const __m256i *)(w + 32));
        UNROLL for (int j = 0; j < 4; j++)
        {
            const __m256i rows_low = _mm256_and_si256(_mm256_srli_epi16(a, 2 * j), three);
            const __m256i rows_high = _mm256_and_si256(_mm256_srli_epi16(b, 2 * j), three);
            UNROLL for (size_t t = 0; t < n; t++)
            {
                const __m256i four = broadcast_four(x + t * x_stride + 4 * j);
                const size_t i = t * n_chains + (size_t)j % n_chains;
                low[i] = _mm256_dpbusd_avx_epi32(low[i], rows_low, four);
                high[i] = _mm256_dpbusd_avx_epi32(high[i], rows_high, four);
                SETTLE(low[i]);
                SETTLE(high[i]);
            }
        }
    }
    UNROLL for (size_t t = 0; t < n; t++)
    {
        __m256i l = low[t * n_chains], h = high[t * n_chains];
        UNROLL for (size_t i = 1; i < n_chains; i++)
        {
            l = _mm256_add_epi32(l, low[t * n_chains + i]);
            h = _mm256_add_epi32(h, high[t * n_chains + i]);
        }
        _mm256_storeu_si256((__m256i *)sums[t], l);
        _mm256_storeu_si256((__m256i *)sums[t] + 1, h);
    }
}

static size_t tile_of(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                      int32_t sums[TILE][PANEL_ROWS])
{
    if (n >= 6) return tile(w, cols, x, x_stride, 6, 1, sums), 6;
    if (n >= 4) return tile(w, cols, x, x_stride, 4, 1, sums), 4;
    if (n >= 2) return tile(w, cols, x, x_stride, 2, 2, sums), 2;
    return tile(w, cols, x, x_stride, 1, 4, sums), 1;
}

/* Adds n_lines lines of all panels times the activations; two chains per half of a panel. */
INLINE void add_stream_lines(const uint8_t *w, size_t step, size_t n_lines, size_t ahead,
                             const int8_t *x, __m256i acc[2 * STREAMS][2])
{
    const __m256i three = _mm256_set1_epi8(3);
    for (size_t line = 0; line < n_lines; line++, w += PANEL_LINE, x += 16) {
        __m256i halves[2 * STREAMS];
        UNROLL for (size_t h = 0; h < 2 * STREAMS; h++)
        {
            const uint8_t *at = w + h / 2 * step + h % 2 * 32;
            if (h % 2 == 0) _mm_prefetch((const char *)at + ahead, _MM_HINT_T0);
            halves[h] = _mm256_loadu_si256((const __m256i *)at);
        }
        UNROLL for (int j = 0; j < 4; j++)
        {
            const __m256i four = broadcast_four(x + 4 * j);
            UNROLL for (size_t h = 0; h < 2 * STREAMS; h++)
            {
                const __m256i rows = _mm256_and_si256(_mm256_srli_epi16(halves[h], 2 * j), three);
                acc[h][j % 2] = _mm256_dpbusd_avx_epi32(acc[h][j % 2], rows, four);
            }
        }
    }
}

static void streams_of(const uint8_t *w, size_t step, size_t cols, const int8_t *x,
                       int32_t sums[STREAMS][PANEL_ROWS])
{
    const size_t n_lines = panel_cols(cols) / 16;
    __m256i acc[2 * STREAMS][2];
    UNROLL for (size_t h = 0; h < 2 * STREAMS; h++) acc[h][0] = acc[h][1] = _mm256_setzero_si256();
    for (size_t line = 0; line < n_lines; line += STREAM_LINES) {
        const size_t left = n_lines - line, n = left < STREAM_LINES ? left : STREAM_LINES;
        add_stream_lines(w + line * PANEL_LINE, step, n, panel_ahead(line, n_lines, STREAMS, step),
                         x + line * 16, acc);
    }
    UNROLL for (size_t h = 0; h < 2 * STREAMS; h++)
    {
        __m256i *to = (__m256i *)(sums[h / 2] + 8 * (h % 2));
        _mm256_storeu_si256(to, _mm256_add_epi32(acc[h][0], acc[h][1]));
    }
}

#include "../panel_driver.h"

const struct bitnet_ternary_path bitnet_avxvnni_ternary = {.name = "panel16",
                                                           .panel_rows = PANEL_ROWS,
                                                           .panel_bytes = bitnet_panel_bytes,
                                                           .pack = bitnet_avx2_panel_pack,
                                                           .matmul = matmul};
