/* What the float files of all x86 sets from AVX2 on do in the same way. */
#ifndef BITNET_KERNELS_BYTES_X86_H
#define BITNET_KERNELS_BYTES_X86_H

#include "../unroll.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The 32 levels of a Q4_0 block (quant/q4_0.c) from its 16 bytes. */
INLINE void vec_q4_0_levels(const uint8_t *qs, int8_t *levels)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)qs), nibble = _mm_set1_epi8(15);
    const __m128i low = _mm_and_si128(bytes, nibble), bias = _mm_set1_epi8(8);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble);
    _mm_storeu_si128((__m128i *)levels, _mm_sub_epi8(low, bias));
    _mm_storeu_si128((__m128i *)levels + 1, _mm_sub_epi8(high, bias));
}

INLINE float vec_f16_at(const uint8_t *at)
{
    uint16_t h;
    memcpy(&h, at, sizeof h);
    return _cvtsh_ss(h);
}

INLINE void vec_prefetch(const void *at)
{
    _mm_prefetch((const char *)at, _MM_HINT_T0);
}

#endif
