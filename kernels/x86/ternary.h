/* The kernels of the sets that bring nothing but better products of integers. */
#ifndef BITNET_KERNELS_TERNARY_H
#define BITNET_KERNELS_TERNARY_H

#include <bitnet/kernels.h>

extern const struct bitnet_ternary_path bitnet_avxvnni_ternary;
extern const struct bitnet_ternary_path bitnet_avx512vnni_ternary;
extern const struct bitnet_ternary_path bitnet_amx_ternary;

extern const struct bitnet_block_path bitnet_avxvnni_blocks_q8_0;
extern const struct bitnet_block_path bitnet_avxvnni_blocks_q6_k;
extern const struct bitnet_block_path bitnet_avxvnni_blocks_q4_0;
extern const struct bitnet_block_path bitnet_avx512vnni_blocks_q8_0;
extern const struct bitnet_block_path bitnet_avx512vnni_blocks_q6_k;
extern const struct bitnet_block_path bitnet_avx512vnni_blocks_q4_0;

#endif
