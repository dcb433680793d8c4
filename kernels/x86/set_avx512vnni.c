/* The AVX-512 VNNI set: a ternary product without 16-bit sums; all else is AVX-512's. */
#include "../sets.h"
#include "ternary.h"

const struct bitnet_kernel_set bitnet_kernels_avx512vnni = {
    .name = "avx512vnni",
    .needs = BITNET_CPU_AVX2 | BITNET_CPU_AVX512 | BITNET_CPU_AVX512VNNI,
    .ternary = &bitnet_avx512vnni_ternary,
    .blocks_q8_0 = &bitnet_avx512vnni_blocks_q8_0,
    .blocks_q6_k = &bitnet_avx512vnni_blocks_q6_k,
    .blocks_q4_0 = &bitnet_avx512vnni_blocks_q4_0,
};
