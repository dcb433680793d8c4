/* The product over block panels (block_panel.h) with AVX-512 VNNI: VPDPBUSD multiplies four levels
 * of each row with four activations and adds them to the row's 32-bit lane. */
#include "blocks_avx512.h"
#include "ternary.h"

INLINE bp_int bp_dot(bp_int acc, const bp_int codes[4], const int8_t *x, bool wide)
{
    (void)wide;
    UNROLL for (size_t j = 0; j < 4; j++)
    {
        acc = _mm512_dpbusd_epi32(acc, codes[j], bp_four(x + 4 * j));
    }
    return acc;
}

#include "../block_driver.h"

const struct bitnet_block_path bitnet_avx512vnni_blocks_q6_k = BLOCK_PANEL_PATH(q6_k, matmul_q6_k);
const struct bitnet_block_path bitnet_avx512vnni_blocks_q4_0 = BLOCK_PANEL_PATH(q4_0, matmul_q4_0);
const struct bitnet_block_path bitnet_avx512vnni_blocks_q8_0 = BLOCK_PANEL_PATH(q8_0, matmul_q8_0);
