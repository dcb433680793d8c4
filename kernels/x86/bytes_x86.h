/* What the float files of all x86 sets from AVX2 on do in the same way. */
#ifndef BITNET_KERNELS_BYTES_X86_H
#define BITNET_KERNELS_BYTES_X86_H

#include "../unroll.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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
