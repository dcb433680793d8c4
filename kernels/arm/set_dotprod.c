/* The SDOT set: a ternary product by SDOT; all else is NEON's. */
#include "../sets.h"
#include "neon.h"

const struct bitnet_kernel_set bitnet_kernels_dotprod = {
    .name = "dotprod",
    .needs = BITNET_CPU_NEON | BITNET_CPU_DOTPROD,
    .ternary = &bitnet_dotprod_ternary,
    .blocks_q8_0 = &bitnet_dotprod_blocks_q8_0,
    .blocks_q6_k = &bitnet_dotprod_blocks_q6_k,
    .blocks_q4_0 = &bitnet_dotprod_blocks_q4_0,
};
