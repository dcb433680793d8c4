/* The AVX-512 VBMI set: a Q6_K product whose widening is one shuffle; all else is from below. */
#include "avx512.h"

#include "../sets.h"

const struct bitnet_kernel_set bitnet_kernels_avx512vbmi = {
    .name = "avx512vbmi",
    .needs = BITNET_CPU_AVX2 | BITNET_CPU_AVX512 | BITNET_CPU_AVX512VNNI | BITNET_CPU_AVX512VBMI,
    .dense_q6_k = bitnet_avx512vbmi_dense_q6_k,
};
