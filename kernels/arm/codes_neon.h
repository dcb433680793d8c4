/* The four code positions of a panel line (panel.h) in NEON registers, and the sum of a row of
 * activations. A switch, because a shift by an immediate wants a literal. */
#ifndef BITNET_KERNELS_CODES_NEON_H
#define BITNET_KERNELS_CODES_NEON_H

#include "../unroll.h"

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

/* 16 codes 0 .. 2: columns 4 j .. 4 j + 3 of four rows, from a quarter of a line. */
INLINE int8x16_t quarter_codes(uint8x16_t quarter, size_t j)
{
    const uint8x16_t three = vdupq_n_u8(3);
    switch (j) {
    case 0:
        return vreinterpretq_s8_u8(vandq_u8(quarter, three));
    case 1:
        return vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(quarter, 2), three));
    case 2:
        return vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(quarter, 4), three));
    default:
        return vreinterpretq_s8_u8(vshrq_n_u8(quarter, 6));
    }
}

/* `cols` padded to 16. */
static inline int32_t sum_of(const int8_t *x, size_t cols)
{
    int32x4_t acc = vdupq_n_s32(0);
    for (size_t c = 0; c < cols; c += 16) acc = vpadalq_s16(acc, vpaddlq_s8(vld1q_s8(x + c)));
    return vaddvq_s32(acc);
}

#endif
