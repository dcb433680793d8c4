/* The ternary product by table lookup (lookup_driver.h) with AVX-512 BW: VPSHUFB, 64 rows at once.
 */
#include "../lookup.h"
#include "../unroll.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define LK_NAME avx512
enum { LK_ROWS = 64 };

typedef __m512i lk_reg;

/* Sums of 16 bits: rows 0 .. 7 and 8 .. 15 of each 128 bits. */
typedef struct {
    __m512i low, high;
} lk_sums;

INLINE lk_sums lk_none(void)
{
    return (lk_sums){_mm512_setzero_si512(), _mm512_setzero_si512()};
}
INLINE lk_reg lk_load(const uint8_t *at)
{
    return _mm512_loadu_si512(at);
}
INLINE lk_reg lk_table(const uint8_t *at)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)at));
}
INLINE lk_reg lk_low(lk_reg codes)
{
    return _mm512_and_si512(codes, _mm512_set1_epi8(15));
}
INLINE lk_reg lk_high(lk_reg codes)
{
    return _mm512_and_si512(_mm512_srli_epi16(codes, 4), _mm512_set1_epi8(15));
}
INLINE lk_reg lk_shuffle(lk_reg table, lk_reg codes)
{
    return _mm512_shuffle_epi8(table, codes);
}
INLINE lk_sums lk_add(lk_sums s, lk_reg low, lk_reg high)
{
    s.low = _mm512_add_epi16(s.low, _mm512_unpacklo_epi8(low, high));
    s.high = _mm512_add_epi16(s.high, _mm512_unpackhi_epi8(low, high));
    return s;
}

INLINE void lk_flush(lk_sums s, int32_t *sums)
{
    int16_t low[LK_ROWS / 2], high[LK_ROWS / 2];
    _mm512_storeu_si512(low, s.low);
    _mm512_storeu_si512(high, s.high);
    for (size_t i = 0; i < LK_ROWS / 2; i++) {
        sums[i / 8 * 16 + i % 8] += low[i];
        sums[i / 8 * 16 + 8 + i % 8] += high[i];
    }
}

#include "../lookup_driver.h"
