/* The product over block panels (block_panel.h) with SSSE3: four rows per register. */
#include "ssse3.h"
#include "vec_ssse3.h"

#include <stdbool.h>

enum { BP_LANES = 4, BP_STREAMS = 2, BP_TOKENS = 2 };

typedef __m128i bp_int;
typedef __m128 bp_float;

INLINE bp_int bp_load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)at);
}

INLINE bp_int bp_nibbles(bp_int v, bool high)
{
    return _mm_and_si128(high ? _mm_srli_epi16(v, 4) : v, _mm_set1_epi8(15));
}

/* Bits 2 j, 2 j + 1 of h in places 4 and 5. */
INLINE bp_int bp_pair(bp_int h, size_t j)
{
    switch (j) {
    case 0:
        return _mm_slli_epi16(h, 4);
    case 1:
        return _mm_slli_epi16(h, 2);
    case 2:
        return h;
    default:
        return _mm_srli_epi16(h, 2);
    }
}

INLINE bp_int bp_six(bp_int v, bool high, bp_int h, size_t j)
{
    const __m128i top = _mm_and_si128(bp_pair(h, j), _mm_set1_epi8(0x30));
    return _mm_or_si128(bp_nibbles(v, high), top);
}

INLINE bp_int bp_zero(void)
{
    return _mm_setzero_si128();
}
INLINE bp_int bp_all(const uint8_t *at)
{
    int32_t v;
    memcpy(&v, at, sizeof v);
    return _mm_set1_epi32(v);
}
INLINE bp_int bp_sub(bp_int a, bp_int b)
{
    return _mm_sub_epi32(a, b);
}
INLINE bp_int bp_shl(bp_int v, int n)
{
    return _mm_slli_epi32(v, n);
}

/* Sums of 32 bits of two registers of levels times their activations. Levels of 4 or 6 bits: pairs
 * of products are at most 2 * 63 * 128 = 16128 in magnitude, two of them 32256 < 32768. */
INLINE bp_int two_dots(bp_int code, bp_int x, bp_int next_code, bp_int next_x)
{
    const __m128i a = _mm_maddubs_epi16(code, x), b = _mm_maddubs_epi16(next_code, next_x);
    return _mm_madd_epi16(_mm_add_epi16(a, b), _mm_set1_epi16(1));
}

INLINE bp_int narrow_dot(bp_int acc, const bp_int codes[4], const int8_t *x)
{
    const __m128i all = _mm_loadu_si128((const __m128i *)x);
    const __m128i first =
        two_dots(codes[0], _mm_shuffle_epi32(all, 0x00), codes[1], _mm_shuffle_epi32(all, 0x55));
    const __m128i second =
        two_dots(codes[2], _mm_shuffle_epi32(all, 0xaa), codes[3], _mm_shuffle_epi32(all, 0xff));
    return _mm_add_epi32(acc, _mm_add_epi32(first, second));
}

/* Levels of 8 bits would not fit: 16 * upper nibble + lower nibble. */
INLINE bp_int bp_dot(bp_int acc, const bp_int codes[4], const int8_t *x, bool wide)
{
    if (!wide) return narrow_dot(acc, codes, x);
    bp_int upper[4], lower[4];
    UNROLL for (size_t j = 0; j < 4; j++)
    {
        upper[j] = bp_nibbles(codes[j], true);
        lower[j] = bp_nibbles(codes[j], false);
    }
    const bp_int sixteenths = narrow_dot(bp_zero(), upper, x);
    return _mm_add_epi32(narrow_dot(acc, lower, x), bp_shl(sixteenths, 4));
}

/* |high| < 2^20 and |rest| < 2^28, so their sum is exact in double. */
INLINE __m128d two_terms(bp_int high, vec rest)
{
    return _mm_add_pd(_mm_mul_pd(_mm_cvtepi32_pd(high), _mm_set1_pd(65536)), _mm_cvtps_pd(rest));
}

INLINE bp_float bp_term(bp_int high, bp_int middle, bp_int low)
{
    const vec rest = _mm_cvtepi32_ps(_mm_add_epi32(_mm_slli_epi32(middle, 8), low));
    return vec_narrow(two_terms(high, rest),
                      two_terms(_mm_unpackhi_epi64(high, high), _mm_movehl_ps(rest, rest)));
}
INLINE bp_float bp_fma(bp_float a, bp_float b, bp_float c)
{
    return vec_fma(a, b, c);
}
INLINE bp_float bp_mul(bp_float a, bp_float b)
{
    return _mm_mul_ps(a, b);
}
INLINE bp_float bp_set_zero(void)
{
    return _mm_setzero_ps();
}
INLINE bp_float bp_load_floats(const uint8_t *at)
{
    return _mm_loadu_ps((const float *)(const void *)at);
}
INLINE void bp_store_floats(float *to, bp_float v)
{
    _mm_storeu_ps(to, v);
}
INLINE bp_float bp_i8_floats(const uint8_t *at)
{
    return vec_from_i8((const int8_t *)at);
}
INLINE bp_float bp_f16_floats(const uint8_t *at)
{
    return vec_from_f16(at);
}

#include "../block_driver.h"

const struct bitnet_block_path bitnet_ssse3_blocks_q6_k = BLOCK_PANEL_PATH(q6_k, matmul_q6_k);
const struct bitnet_block_path bitnet_ssse3_blocks_q4_0 = BLOCK_PANEL_PATH(q4_0, matmul_q4_0);
const struct bitnet_block_path bitnet_ssse3_blocks_q8_0 = BLOCK_PANEL_PATH(q8_0, matmul_q8_0);
