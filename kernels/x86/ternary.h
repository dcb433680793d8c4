/* The ternary kernels of the sets that bring nothing but a better ternary product. */
#ifndef BITNET_KERNELS_TERNARY_H
#define BITNET_KERNELS_TERNARY_H

#include <bitnet/kernels.h>

extern const struct bitnet_ternary_path bitnet_ssse3_ternary;
extern const struct bitnet_ternary_path bitnet_avxvnni_ternary;
extern const struct bitnet_ternary_path bitnet_avx512vnni_ternary;
extern const struct bitnet_ternary_path bitnet_amx_ternary;

#endif
