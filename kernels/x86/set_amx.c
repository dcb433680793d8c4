/* The AMX set: tiles for the ternary product of many tokens; all else is AVX-512's. */
#include "../sets.h"
#include "ternary.h"

const struct bitnet_kernel_set bitnet_kernels_amx = {
    .name = "amx",
    .needs = BITNET_CPU_AVX2 | BITNET_CPU_AVX512 | BITNET_CPU_AVX512VNNI | BITNET_CPU_AMXINT8,
    .ternary = &bitnet_amx_ternary,
};
