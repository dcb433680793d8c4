/* The ternary product by table lookup (lookup_driver.h, lookup_triples.h) with AVX2: VPSHUFB, 32
 * rows at once. */
#include "../lookup.h"
#include "../unroll.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define LK_NAME avx2
enum { LK_ROWS = 32 };

typedef __m256i lk_reg;

/* Sums of 16 bits: rows 0 .. 7 and 8 .. 15 of each 128 bits. */
typedef struct {
    __m256i low, high;
} lk_sums;

INLINE lk_sums lk_none(void)
{
    return (lk_sums){_mm256_setzero_si256(), _mm256_setzero_si256()};
}
INLINE lk_reg lk_load(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)at);
}
INLINE lk_reg lk_table(const uint8_t *at)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)at));
}
INLINE lk_reg lk_low(lk_reg codes)
{
    return _mm256_and_si256(codes, _mm256_set1_epi8(15));
}
INLINE lk_reg lk_high(lk_reg codes)
{
    return _mm256_and_si256(_mm256_srli_epi16(codes, 4), _mm256_set1_epi8(15));
}
INLINE lk_reg lk_shuffle(lk_reg table, lk_reg codes)
{
    return _mm256_shuffle_epi8(table, codes);
}
INLINE lk_sums lk_add(lk_sums s, lk_reg low, lk_reg high)
{
    s.low = _mm256_add_epi16(s.low, _mm256_unpacklo_epi8(low, high));
    s.high = _mm256_add_epi16(s.high, _mm256_unpackhi_epi8(low, high));
    return s;
}

INLINE void lk_flush(lk_sums s, int32_t *sums)
{
    int16_t low[LK_ROWS / 2], high[LK_ROWS / 2];
    _mm256_storeu_si256((__m256i *)low, s.low);
    _mm256_storeu_si256((__m256i *)high, s.high);
    for (size_t i = 0; i < LK_ROWS / 2; i++) {
        sums[i / 8 * 16 + i % 8] += low[i];
        sums[i / 8 * 16 + 8 + i % 8] += high[i];
    }
}

/* Fifth bits as the sign of words that are never zero: VPSIGNW. */
#define LT_PLACE(k) (7 - (k))
typedef struct {
    __m256i low, high;
} lt_bits;

INLINE lt_bits lt_bits_of(lk_reg bits)
{
    const __m256i one = _mm256_set1_epi16(1);
    return (lt_bits){_mm256_or_si256(_mm256_unpacklo_epi8(bits, bits), one),
                     _mm256_or_si256(_mm256_unpackhi_epi8(bits, bits), one)};
}

INLINE lk_sums lt_add(lk_sums s, uint8_t (*table)[16], lk_reg codes, lt_bits *bits, size_t k)
{
    const lk_reg low = lk_shuffle(lk_table(table[0]), codes);
    const lk_reg high = lk_shuffle(lk_table(table[1]), codes);
    (void)k;
    s.low = _mm256_add_epi16(s.low, _mm256_sign_epi16(_mm256_unpacklo_epi8(low, high), bits->low));
    s.high =
        _mm256_add_epi16(s.high, _mm256_sign_epi16(_mm256_unpackhi_epi8(low, high), bits->high));
    bits->low = _mm256_add_epi16(bits->low, bits->low);
    bits->high = _mm256_add_epi16(bits->high, bits->high);
    return s;
}

#include "../lookup_driver.h"
#include "../lookup_triples.h"
