/* The ternary product with AVX2, over panels (panel.h).
 *
 *   y[t][r] = sum over c of code[r][c] * x[t][c] - sum over c of x[t][c],  code = trit + 1
 *
 * VPMADDUBSW multiplies codes (unsigned, 0 .. 2) with activations (-127 .. 127) and adds pairs in
 * 16 bits: at most 2 * 2 * 127 = 508 in magnitude. A lane takes four such results per line of 16
 * columns, so 16 lines make 64 * 508 = 32512 < 32768: after FLUSH_LINES lines the 16-bit lanes are
 * widened into 32 bits by VPMADDWD, and never wrap. 32 bits hold 2 * 127 * cols for every cols
 * below 8.4 million, and the final difference for twice that; sums modulo 2^32 are exact anyway,
 * because the result fits.
 *
 * A tile is one panel times up to TILE tokens: codes are unpacked once per tile, the eight 16-bit
 * accumulators, two code registers and a broadcast fill the 16 registers. */
#include "../panel.h"
#include "../unroll.h"
#include "avx2.h"

#include <immintrin.h>
#include <string.h>

enum { TILE = 4, FLUSH_LINES = 16, PREFETCH_BYTES = 2048 };
#define STREAMS 2

static int32_t sum_of(const int8_t *x, size_t cols)
{
    const __m256i one8 = _mm256_set1_epi8(1), one16 = _mm256_set1_epi16(1);
    __m256i acc = _mm256_setzero_si256();
    for (size_t c = 0; c < cols; c += 32) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(x + c));
        acc = _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(one8, v), one16));
    }
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(acc), _mm256_extracti128_si256(acc, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
    return _mm_cvtsi128_si32(four);
}

static inline __m256i broadcast_four(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Adds n_lines lines of codes times activations to the 16-bit accumulators. */
INLINE void add_lines(const uint8_t *w, size_t n_lines, const int8_t *x, size_t x_stride, size_t n,
                      __m256i low[TILE], __m256i high[TILE])
{
    const __m256i three = _mm256_set1_epi8(3);
    for (size_t line = 0; line < n_lines; line++, w += PANEL_LINE, x += 16) {
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
                low[t] = _mm256_add_epi16(low[t], _mm256_maddubs_epi16(rows_low, four));
                high[t] = _mm256_add_epi16(high[t], _mm256_maddubs_epi16(rows_high, four));
                SETTLE(low[t]);
                SETTLE(high[t]);
            }
        }
    }
}

/* One panel times n tokens (n is a constant after inlining): sums[t][r] of codes times x. */
INLINE void tile(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                 int32_t sums[TILE][PANEL_ROWS])
{
    const __m256i one = _mm256_set1_epi16(1);
    const size_t n_lines = panel_cols(cols) / 16;
    memset(sums, 0, n * sizeof sums[0]);
    for (size_t line = 0; line < n_lines; line += FLUSH_LINES) {
        __m256i low[TILE], high[TILE];
        UNROLL for (size_t t = 0; t < n; t++) low[t] = high[t] = _mm256_setzero_si256();
        const size_t left = n_lines - line;
        add_lines(w + line * PANEL_LINE, left < FLUSH_LINES ? left : FLUSH_LINES, x + line * 16,
                  x_stride, n, low, high);
        UNROLL for (size_t t = 0; t < n; t++)
        {
            __m256i *s = (__m256i *)sums[t];
            const __m256i wide_low = _mm256_madd_epi16(low[t], one);
            const __m256i wide_high = _mm256_madd_epi16(high[t], one);
            _mm256_storeu_si256(s, _mm256_add_epi32(_mm256_loadu_si256(s), wide_low));
            _mm256_storeu_si256(s + 1, _mm256_add_epi32(_mm256_loadu_si256(s + 1), wide_high));
        }
    }
}

static size_t tile_of(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                      int32_t sums[TILE][PANEL_ROWS])
{
    switch (n) {
    case 1:
        tile(w, cols, x, x_stride, 1, sums);
        return 1;
    case 2:
        tile(w, cols, x, x_stride, 2, sums);
        return 2;
    case 3:
        tile(w, cols, x, x_stride, 3, sums);
        return 3;
    default:
        tile(w, cols, x, x_stride, 4, sums);
        return 4;
    }
}

/* Adds n_lines lines of all panels times the activations to the 16-bit sums of their halves. */
INLINE void add_stream_lines(const uint8_t *w, size_t step, size_t n_lines, size_t ahead,
                             const int8_t *x, __m256i acc[2 * STREAMS])
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
                acc[h] = _mm256_add_epi16(acc[h], _mm256_maddubs_epi16(rows, four));
                SETTLE(acc[h]);
            }
        }
    }
}

static void streams_of(const uint8_t *w, size_t step, size_t cols, const int8_t *x,
                       int32_t sums[STREAMS][PANEL_ROWS])
{
    const size_t n_lines = panel_cols(cols) / 16;
    __m256i wide[2 * STREAMS];
    UNROLL for (size_t h = 0; h < 2 * STREAMS; h++) wide[h] = _mm256_setzero_si256();
    for (size_t line = 0; line < n_lines; line += FLUSH_LINES) {
        const size_t left = n_lines - line;
        __m256i acc[2 * STREAMS];
        UNROLL for (size_t h = 0; h < 2 * STREAMS; h++) acc[h] = _mm256_setzero_si256();
        add_stream_lines(w + line * PANEL_LINE, step, left < FLUSH_LINES ? left : FLUSH_LINES,
                         panel_ahead(line, n_lines, STREAMS, step), x + line * 16, acc);
        UNROLL for (size_t h = 0; h < 2 * STREAMS; h++)
        {
            const __m256i pairs = _mm256_madd_epi16(acc[h], _mm256_set1_epi16(1));
            wide[h] = _mm256_add_epi32(wide[h], pairs);
        }
    }
    UNROLL for (size_t h = 0; h < 2 * STREAMS; h++)
    {
        _mm256_storeu_si256((__m256i *)(sums[h / 2] + 8 * (h % 2)), wide[h]);
    }
}

#include "../panel_driver.h"

const struct bitnet_ternary_path bitnet_avx2_ternary = {.name = "panel16",
                                                        .panel_rows = PANEL_ROWS,
                                                        .panel_bytes = bitnet_panel_bytes,
                                                        .pack = bitnet_avx2_panel_pack,
                                                        .matmul = matmul};
