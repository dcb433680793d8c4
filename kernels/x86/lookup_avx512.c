/* The ternary product by table lookup (lookup_driver.h, lookup_triples.h) with AVX-512 BW: VPSHUFB,
 * 64 rows at once.
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

/* Fifth bits as the sign of words, taken into masks. */
#define LT_PLACE(k) (7 - (k))
typedef struct {
    __m512i low, high;
} lt_bits;

INLINE lt_bits lt_bits_of(lk_reg bits)
{
    return (lt_bits){_mm512_unpacklo_epi8(bits, bits), _mm512_unpackhi_epi8(bits, bits)};
}

/* v, negated where the word's sign is set; the next sign takes its place. */
INLINE __m512i lt_signed(__m512i v, __m512i *words)
{
    const __mmask32 negative = _mm512_movepi16_mask(*words);
    *words = _mm512_add_epi16(*words, *words);
    return _mm512_mask_sub_epi16(v, negative, _mm512_setzero_si512(), v);
}

INLINE lk_sums lt_add(lk_sums s, uint8_t (*table)[16], lk_reg codes, lt_bits *bits, size_t k)
{
    const lk_reg low = lk_shuffle(lk_table(table[0]), codes);
    const lk_reg high = lk_shuffle(lk_table(table[1]), codes);
    (void)k;
    s.low = _mm512_add_epi16(s.low, lt_signed(_mm512_unpacklo_epi8(low, high), &bits->low));
    s.high = _mm512_add_epi16(s.high, lt_signed(_mm512_unpackhi_epi8(low, high), &bits->high));
    return s;
}

#include "../lookup_driver.h"
#include "../lookup_triples.h"
