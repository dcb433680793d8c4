/* The levels of 32 weights of the block types, as signed bytes in one register, for every x86 set
 * from AVX2 on. Layouts: quant/q4_0.c, quant/q6_k.c. */
#ifndef BITNET_KERNELS_BYTES_AVX2_H
#define BITNET_KERNELS_BYTES_AVX2_H

#include "../unroll.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef __m256i vec_bytes;

INLINE vec_bytes vec_bytes_load(const void *at)
{
    return _mm256_loadu_si256((const __m256i *)at);
}

/* qs: the 16 bytes of a Q4_0 block. */
INLINE vec_bytes vec_q4_0_levels(const uint8_t *qs)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)qs), nibble = _mm_set1_epi8(15);
    const __m128i low = _mm_and_si128(bytes, nibble);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble);
    return _mm256_sub_epi8(_mm256_set_m128i(high, low), _mm256_set1_epi8(8));
}

/* Group g (0 .. 7) of 32 of a Q6_K block. */
INLINE vec_bytes vec_q6_k_levels(const uint8_t *block, size_t g)
{
    const size_t h = g / 4, part = g % 4;
    const __m256i ql = vec_bytes_load(block + 64 * h + 32 * (part % 2));
    const __m256i qh = vec_bytes_load(block + 128 + 32 * h);
    const __m256i nibbles = part < 2 ? ql : _mm256_srli_epi16(ql, 4);
    const __m256i low = _mm256_and_si256(nibbles, _mm256_set1_epi8(15));
    const __m256i pairs = part == 0   ? _mm256_slli_epi16(qh, 4)
                          : part == 1 ? _mm256_slli_epi16(qh, 2)
                          : part == 2 ? qh
                                      : _mm256_srli_epi16(qh, 2);
    const __m256i high = _mm256_and_si256(pairs, _mm256_set1_epi8(0x30));
    return _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
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
