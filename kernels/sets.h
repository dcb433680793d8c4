/* The sets that this build has. Each lives in its own file, with its own instruction flags. */
#ifndef BITNET_KERNELS_SETS_H
#define BITNET_KERNELS_SETS_H

#include <bitnet/cpu.h>
#include <bitnet/kernels.h>

extern const struct bitnet_kernel_set bitnet_kernels_scalar;
#if defined(__x86_64__)
extern const struct bitnet_kernel_set bitnet_kernels_ssse3;
extern const struct bitnet_kernel_set bitnet_kernels_avx2;
extern const struct bitnet_kernel_set bitnet_kernels_avxvnni;
extern const struct bitnet_kernel_set bitnet_kernels_avx512;
extern const struct bitnet_kernel_set bitnet_kernels_avx512vnni;
extern const struct bitnet_kernel_set bitnet_kernels_amx;
#elif defined(__aarch64__)
extern const struct bitnet_kernel_set bitnet_kernels_neon;
extern const struct bitnet_kernel_set bitnet_kernels_dotprod;
extern const struct bitnet_kernel_set bitnet_kernels_i8mm;
#endif

#endif
