/* The SSSE3 kernels: Core 2 of 2006, Bobcat, Bulldozer and all that came before AVX2. */
#ifndef BITNET_KERNELS_SSSE3_H
#define BITNET_KERNELS_SSSE3_H

#include <bitnet/kernels.h>

extern const struct bitnet_ternary_path bitnet_ssse3_ternary;

bitnet_quantize_fn bitnet_ssse3_quantize_row_i8;
bitnet_norm_fn bitnet_ssse3_rms_norm;
bitnet_dense_fn bitnet_ssse3_dense_f32;
bitnet_dense_fn bitnet_ssse3_dense_f16;
bitnet_dense_fn bitnet_ssse3_dense_bf16;
extern const struct bitnet_block_path bitnet_ssse3_blocks_q8_0;
extern const struct bitnet_block_path bitnet_ssse3_blocks_q6_k;
extern const struct bitnet_block_path bitnet_ssse3_blocks_q4_0;
bitnet_rope_fn bitnet_ssse3_rope;
bitnet_attention_fn bitnet_ssse3_attention;
bitnet_gate_fn bitnet_ssse3_gate_silu;
bitnet_gate_fn bitnet_ssse3_gate_relu2;
bitnet_gate_fn bitnet_ssse3_gate_gelu;
bitnet_add_fn bitnet_ssse3_add;
bitnet_rescale_fn bitnet_ssse3_rescale;
bitnet_to_f16_fn bitnet_ssse3_to_f16;
bitnet_largest_fn bitnet_ssse3_largest;
bitnet_above_fn bitnet_ssse3_above;
bitnet_sum_exp_fn bitnet_ssse3_sum_exp;

#endif
