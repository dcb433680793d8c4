/* The four code positions of a panel line (panel.h) in AVX-512 registers. A switch, because a shift
 * by an immediate wants a literal; after unrolling only one case is left. */
#ifndef BITNET_KERNELS_CODES_AVX512_H
#define BITNET_KERNELS_CODES_AVX512_H

#include "../unroll.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* 64 codes 0 .. 2: columns 4 j .. 4 j + 3 of 16 rows. */
INLINE __m512i line_codes(__m512i line, size_t j)
{
    const __m512i three = _mm512_set1_epi8(3);
    switch (j) {
    case 0:
        return _mm512_and_si512(line, three);
    case 1:
        return _mm512_and_si512(_mm512_srli_epi16(line, 2), three);
    case 2:
        return _mm512_and_si512(_mm512_srli_epi16(line, 4), three);
    default:
        return _mm512_and_si512(_mm512_srli_epi16(line, 6), three);
    }
}

/* Four activations in every 32-bit lane. */
INLINE __m512i broadcast_four(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

#endif
