/* The SDOT set: a ternary product by SDOT; all else is NEON's. */
#include "../sets.h"
#include "neon.h"

const struct bitnet_kernel_set bitnet_kernels_dotprod = {
    .name = "dotprod",
    .needs = BITNET_CPU_NEON | BITNET_CPU_DOTPROD,
    .ternary = &bitnet_dotprod_ternary,
};
