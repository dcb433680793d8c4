/* The AVX-VNNI set: a ternary product without 16-bit sums; all else is AVX2's. */
#include "../sets.h"
#include "ternary.h"

const struct bitnet_kernel_set bitnet_kernels_avxvnni = {
    .name = "avxvnni",
    .needs = BITNET_CPU_AVX2 | BITNET_CPU_AVXVNNI,
    .ternary = &bitnet_avxvnni_ternary,
    .blocks_q8_0 = &bitnet_avxvnni_blocks_q8_0,
    .blocks_q6_k = &bitnet_avxvnni_blocks_q6_k,
    .blocks_q4_0 = &bitnet_avxvnni_blocks_q4_0,
};
