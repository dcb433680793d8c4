/* The ternary product with SSSE3 (Core 2 of 2006, Bulldozer), over panels (panel.h).
 *
 * PMADDUBSW multiplies codes (unsigned, 0 .. 2) with activations and adds pairs in 16 bits: at most
 * 508 in magnitude. A lane takes four such results per line of 16 columns, so 16 lines make
 * 64 * 508 = 32512 < 32768; then PMADDWD widens them into 32 bits. A line is four quarters of four
 * rows. */
#include "../panel.h"
#include "../unroll.h"
#include "ssse3.h"

#include <string.h>
#include <tmmintrin.h>

enum { TILE = 2, FLUSH_LINES = 16, QUARTERS = 4 };
#define STREAMS 2

static int32_t sum_of(const int8_t *x, size_t cols)
{
    __m128i acc = _mm_setzero_si128();
    for (size_t c = 0; c < cols; c += 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(x + c));
        const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), v);
        acc = _mm_add_epi32(acc, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
    }
    acc = _mm_hadd_epi32(acc, acc);
    return _mm_cvtsi128_si32(_mm_hadd_epi32(acc, acc));
}

INLINE __m128i broadcast_four(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm_set1_epi32(four);
}

/* Adds n_lines lines of codes times activations to the 16-bit sums. */
INLINE void add_lines(const uint8_t *w, size_t n_lines, const int8_t *x, size_t x_stride, size_t n,
                      __m128i acc[TILE][QUARTERS])
{
    const __m128i three = _mm_set1_epi8(3);
    for (size_t line = 0; line < n_lines; line++, w += PANEL_LINE, x += 16) {
        UNROLL for (size_t q = 0; q < QUARTERS; q++)
        {
            const __m128i quarter = _mm_loadu_si128((const __m128i *)(w + 16 * q));
            UNROLL for (int j = 0; j < 4; j++)
            {
                const __m128i rows = _mm_and_si128(_mm_srli_epi16(quarter, 2 * j), three);
                UNROLL for (size_t t = 0; t < n; t++)
                {
                    const __m128i four = broadcast_four(x + t * x_stride + 4 * j);
                    acc[t][q] = _mm_add_epi16(acc[t][q], _mm_maddubs_epi16(rows, four));
                    SETTLE(acc[t][q]);
                }
            }
        }
    }
}

/* One panel times n tokens (n is a constant after inlining). */
INLINE void tile(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                 int32_t sums[TILE][PANEL_ROWS])
{
    const size_t n_lines = panel_cols(cols) / 16;
    memset(sums, 0, n * sizeof sums[0]);
    for (size_t line = 0; line < n_lines; line += FLUSH_LINES) {
        const size_t left = n_lines - line;
        __m128i acc[TILE][QUARTERS];
        UNROLL for (size_t t = 0; t < n; t++)
        {
            UNROLL for (size_t q = 0; q < QUARTERS; q++) acc[t][q] = _mm_setzero_si128();
        }
        add_lines(w + line * PANEL_LINE, left < FLUSH_LINES ? left : FLUSH_LINES, x + line * 16,
                  x_stride, n, acc);
        UNROLL for (size_t t = 0; t < n; t++)
        {
            UNROLL for (size_t q = 0; q < QUARTERS; q++)
            {
                __m128i *s = (__m128i *)sums[t] + q;
                const __m128i wide = _mm_madd_epi16(acc[t][q], _mm_set1_epi16(1));
                _mm_storeu_si128(s, _mm_add_epi32(_mm_loadu_si128(s), wide));
            }
        }
    }
}

static size_t tile_of(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                      int32_t sums[TILE][PANEL_ROWS])
{
    if (n >= 2) return tile(w, cols, x, x_stride, 2, sums), 2;
    return tile(w, cols, x, x_stride, 1, sums), 1;
}

/* --- one token --- */

/* Adds n_lines lines of both panels times the activations to the 16-bit sums of their quarters. */
INLINE void add_stream_lines(const uint8_t *w, size_t step, size_t n_lines, size_t ahead,
                             const int8_t *x, __m128i acc[STREAMS * QUARTERS])
{
    const __m128i three = _mm_set1_epi8(3);
    for (size_t line = 0; line < n_lines; line++, w += PANEL_LINE, x += 16) {
        __m128i four[4];
        UNROLL for (int j = 0; j < 4; j++) four[j] = broadcast_four(x + 4 * j);
        UNROLL for (size_t p = 0; p < STREAMS; p++)
        {
            _mm_prefetch((const char *)w + p * step + ahead, _MM_HINT_T0);
        }
        UNROLL for (size_t q = 0; q < STREAMS * QUARTERS; q++)
        {
            const uint8_t *at = w + q / QUARTERS * step + q % QUARTERS * 16;
            const __m128i quarter = _mm_loadu_si128((const __m128i *)at);
            UNROLL for (int j = 0; j < 4; j++)
            {
                const __m128i rows = _mm_and_si128(_mm_srli_epi16(quarter, 2 * j), three);
                acc[q] = _mm_add_epi16(acc[q], _mm_maddubs_epi16(rows, four[j]));
                SETTLE(acc[q]);
            }
        }
    }
}

static void streams_of(const uint8_t *w, size_t step, size_t cols, const int8_t *x,
                       int32_t sums[STREAMS][PANEL_ROWS])
{
    const size_t n_lines = panel_cols(cols) / 16;
    memset(sums, 0, STREAMS * sizeof sums[0]);
    for (size_t line = 0; line < n_lines; line += FLUSH_LINES) {
        const size_t left = n_lines - line;
        __m128i acc[STREAMS * QUARTERS];
        UNROLL for (size_t q = 0; q < STREAMS * QUARTERS; q++) acc[q] = _mm_setzero_si128();
        add_stream_lines(w + line * PANEL_LINE, step, left < FLUSH_LINES ? left : FLUSH_LINES,
                         panel_ahead(line, n_lines, STREAMS, step), x + line * 16, acc);
        UNROLL for (size_t q = 0; q < STREAMS * QUARTERS; q++)
        {
            __m128i *s = (__m128i *)sums[q / QUARTERS] + q % QUARTERS;
            const __m128i wide = _mm_madd_epi16(acc[q], _mm_set1_epi16(1));
            _mm_storeu_si128(s, _mm_add_epi32(_mm_loadu_si128(s), wide));
        }
    }
}

#include "../panel_driver.h"

const struct bitnet_ternary_path bitnet_ssse3_ternary = {.name = "panel16",
                                                         .panel_rows = PANEL_ROWS,
                                                         .panel_bytes = bitnet_panel_bytes,
                                                         .pack = bitnet_panel_pack,
                                                         .matmul = matmul};
