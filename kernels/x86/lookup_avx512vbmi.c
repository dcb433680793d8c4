/* The ternary product by table lookup (lookup_triples.h) with AVX-512 VBMI: VPERMB takes a table of
 * 64 bytes, so the 27 sums of three activations are one lookup without signs, 64 rows at once.
 * Pairs would look up 64 rows with VPSHUFB as lookup_avx512.c does, so they are not made again. */
#include "../lookup.h"
#include "../unroll.h"

#include <immintrin.h>
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LK_NAME avx512vbmi
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
INLINE lk_reg lk_low(lk_reg codes)
{
    return _mm512_and_si512(codes, _mm512_set1_epi8(15));
}
INLINE lk_reg lk_high(lk_reg codes)
{
    return _mm512_and_si512(_mm512_srli_epi16(codes, 4), _mm512_set1_epi8(15));
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

/* The fifth bit of triple k goes to place 4. */
#define LT_WIDE     1
#define LT_PLACE(k) (((k) + 4) % 8)
typedef __m512i lt_bits;

INLINE lt_bits lt_bits_of(lk_reg bits)
{
    return bits;
}

INLINE __m512i lt_move(__m512i bits, size_t k)
{
    const __m128i places = _mm_cvtsi32_si128(k < 4 ? (int)k : 8 - (int)k);
    return k < 4 ? _mm512_srl_epi16(bits, places) : _mm512_sll_epi16(bits, places);
}

INLINE lk_sums lt_add(lk_sums s, uint8_t (*table)[32], lk_reg codes, lt_bits *bits, size_t k)
{
    const __m512i moved = lt_move(*bits, k);
    const __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)table[0]));
    const __m512i high = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)table[1]));
    /* codes | (moved & 16) */
    const __m512i at = _mm512_ternarylogic_epi64(codes, moved, _mm512_set1_epi8(16), 0xf8);
    const __m512i a = _mm512_permutexvar_epi8(at, low), b = _mm512_permutexvar_epi8(at, high);
    s.low = _mm512_add_epi16(s.low, _mm512_unpacklo_epi8(a, b));
    s.high = _mm512_add_epi16(s.high, _mm512_unpackhi_epi8(a, b));
    return s;
}

#define LK_JOIN(a, b, c) a##b##c
#include "../lookup_triples.h"
