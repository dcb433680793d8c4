/* The SSSE3 set, for CPUs from before 2013: the ternary product. Those CPUs have no fused
 * multiply-add, on which the order of float sums is built, so their float kernels are the scalar
 * ones, where the C library does it in software. */
#include "../sets.h"
#include "ternary.h"

const struct bitnet_kernel_set bitnet_kernels_ssse3 = {
    .name = "ssse3",
    .needs = BITNET_CPU_SSSE3,
    .ternary = &bitnet_ssse3_ternary,
};
