/* Eight rows of a block panel per register, with AVX2, FMA and F16C, as block_driver.h wants them;
 * bp_dot() is the including file's. */
#ifndef BITNET_KERNELS_BLOCKS_AVX2_H
#define BITNET_KERNELS_BLOCKS_AVX2_H

#include "../unroll.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { BP_LANES = 8, BP_STREAMS = 2, BP_TOKENS = 2 };

typedef __m256i bp_int;
typedef __m256 bp_float;

INLINE bp_int bp_load(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)at);
}

INLINE bp_int bp_nibbles(bp_int v, bool high)
{
    return _mm256_and_si256(high ? _mm256_srli_epi16(v, 4) : v, _mm256_set1_epi8(15));
}

/* Bits 2 j, 2 j + 1 of h in places 4 and 5. */
INLINE bp_int bp_pair(bp_int h, size_t j)
{
    switch (j) {
    case 0:
        return _mm256_slli_epi16(h, 4);
    case 1:
        return _mm256_slli_epi16(h, 2);
    case 2:
        return h;
    default:
        return _mm256_srli_epi16(h, 2);
    }
}

INLINE bp_int bp_six(bp_int v, bool high, bp_int h, size_t j)
{
    const __m256i top = _mm256_and_si256(bp_pair(h, j), _mm256_set1_epi8(0x30));
    return _mm256_or_si256(bp_nibbles(v, high), top);
}

INLINE bp_int bp_zero(void)
{
    return _mm256_setzero_si256();
}
INLINE bp_int bp_all(const uint8_t *at)
{
    int32_t v;
    memcpy(&v, at, sizeof v);
    return _mm256_set1_epi32(v);
}
INLINE bp_int bp_sub(bp_int a, bp_int b)
{
    return _mm256_sub_epi32(a, b);
}
INLINE bp_int bp_shl(bp_int v, int n)
{
    return _mm256_slli_epi32(v, n);
}
INLINE bp_int bp_four(const int8_t *x)
{
    return bp_all((const uint8_t *)x);
}

INLINE bp_float bp_term(bp_int high, bp_int middle, bp_int low)
{
    const __m256i rest = _mm256_add_epi32(_mm256_slli_epi32(middle, 8), low);
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(high), _mm256_set1_ps(65536.0f),
                           _mm256_cvtepi32_ps(rest));
}
INLINE bp_float bp_fma(bp_float a, bp_float b, bp_float c)
{
    return _mm256_fmadd_ps(a, b, c);
}
INLINE bp_float bp_mul(bp_float a, bp_float b)
{
    return _mm256_mul_ps(a, b);
}
INLINE bp_float bp_set_zero(void)
{
    return _mm256_setzero_ps();
}
INLINE bp_float bp_load_floats(const uint8_t *at)
{
    return _mm256_loadu_ps((const float *)(const void *)at);
}
INLINE void bp_store_floats(float *to, bp_float v)
{
    _mm256_storeu_ps(to, v);
}
INLINE bp_float bp_i8_floats(const uint8_t *at)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)at)));
}
INLINE bp_float bp_f16_floats(const uint8_t *at)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at));
}

#endif
