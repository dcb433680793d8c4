/* The product over block panels (block_panel.h) with plain NEON.
 *
 * SMULL and SMLAL make 16-bit products: of levels up to 63 four are at most 4 * 63 * 128 = 32256 in
 * magnitude, below 32768; of levels of 8 bits one. Then pairs are widened into 32 bits. */
#include "blocks_neon.h"
#include "neon.h"

INLINE int8x16_t four_of(const int8_t *x)
{
    return bp_bytes(bp_all((const uint8_t *)x));
}

INLINE bp_int narrow_dot(bp_int acc, const bp_int codes[4], const int8_t *x)
{
    int16x8_t low = vdupq_n_s16(0), high = vdupq_n_s16(0);
    UNROLL for (size_t j = 0; j < 4; j++)
    {
        const int8x16_t level = bp_level(codes[j], false), four = four_of(x + 4 * j);
        low = vmlal_s8(low, vget_low_s8(level), vget_low_s8(four));
        high = vmlal_high_s8(high, level, four);
    }
    return vaddq_s32(acc, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}

INLINE bp_int bp_dot(bp_int acc, const bp_int codes[4], const int8_t *x, bool wide)
{
    if (!wide) return narrow_dot(acc, codes, x);
    int32x4_t low = vdupq_n_s32(0), high = vdupq_n_s32(0);
    UNROLL for (size_t j = 0; j < 4; j++)
    {
        const int8x16_t level = bp_level(codes[j], true), four = four_of(x + 4 * j);
        low = vpadalq_s16(low, vmull_s8(vget_low_s8(level), vget_low_s8(four)));
        high = vpadalq_s16(high, vmull_high_s8(level, four));
    }
    return vaddq_s32(acc, vpaddq_s32(low, high));
}

#include "../block_driver.h"

const struct bitnet_block_path bitnet_neon_blocks_q6_k = BLOCK_PANEL_PATH(q6_k, matmul_q6_k);
const struct bitnet_block_path bitnet_neon_blocks_q4_0 = BLOCK_PANEL_PATH(q4_0, matmul_q4_0);
const struct bitnet_block_path bitnet_neon_blocks_q8_0 = BLOCK_PANEL_PATH(q8_0, matmul_q8_0);
