/* The i8mm set: a ternary product of many tokens by SMMLA; all else is NEON's. */
#include "../sets.h"
#include "neon.h"

const struct bitnet_kernel_set bitnet_kernels_i8mm = {
    .name = "i8mm",
    .needs = BITNET_CPU_NEON | BITNET_CPU_DOTPROD | BITNET_CPU_I8MM,
    .ternary = &bitnet_i8mm_ternary,
};
