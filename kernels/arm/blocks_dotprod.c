/* The product over block panels (block_panel.h) with SDOT: the levels of four rows times four
 * activations, chosen by lane, added to one 32-bit lane per row. */
#include "blocks_neon.h"
#include "neon.h"

INLINE bp_int bp_dot(bp_int acc, const bp_int codes[4], const int8_t *x, bool wide)
{
    const int8x16_t sixteen = vld1q_s8(x);
    acc = vdotq_laneq_s32(acc, bp_level(codes[0], wide), sixteen, 0);
    acc = vdotq_laneq_s32(acc, bp_level(codes[1], wide), sixteen, 1);
    acc = vdotq_laneq_s32(acc, bp_level(codes[2], wide), sixteen, 2);
    return vdotq_laneq_s32(acc, bp_level(codes[3], wide), sixteen, 3);
}

#include "../block_driver.h"

const struct bitnet_block_path bitnet_dotprod_blocks_q6_k = BLOCK_PANEL_PATH(q6_k, matmul_q6_k);
const struct bitnet_block_path bitnet_dotprod_blocks_q4_0 = BLOCK_PANEL_PATH(q4_0, matmul_q4_0);
const struct bitnet_block_path bitnet_dotprod_blocks_q8_0 = BLOCK_PANEL_PATH(q8_0, matmul_q8_0);
