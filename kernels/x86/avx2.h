/* The AVX2 kernels (with FMA and F16C): Haswell of 2013, Zen of 2017 and everything since. */
#ifndef BITNET_KERNELS_AVX2_H
#define BITNET_KERNELS_AVX2_H

#include <bitnet/kernels.h>

extern const struct bitnet_ternary_path bitnet_avx2_ternary;

bitnet_quantize_fn bitnet_avx2_quantize_row_i8;
bitnet_norm_fn bitnet_avx2_rms_norm;
bitnet_dense_fn bitnet_avx2_dense_f32;
bitnet_dense_fn bitnet_avx2_dense_f16;
bitnet_dense_fn bitnet_avx2_dense_bf16;
extern const struct bitnet_block_path bitnet_avx2_blocks_q8_0;
extern const struct bitnet_block_path bitnet_avx2_blocks_q6_k;
extern const struct bitnet_block_path bitnet_avx2_blocks_q4_0;
bitnet_rope_fn bitnet_avx2_rope;
bitnet_attention_fn bitnet_avx2_attention;
bitnet_gate_fn bitnet_avx2_gate_silu;
bitnet_gate_fn bitnet_avx2_gate_relu2;
bitnet_gate_fn bitnet_avx2_gate_gelu;
bitnet_add_fn bitnet_avx2_add;
bitnet_rescale_fn bitnet_avx2_rescale;
bitnet_to_f16_fn bitnet_avx2_to_f16;
bitnet_largest_fn bitnet_avx2_largest;
bitnet_above_fn bitnet_avx2_above;
bitnet_sum_exp_fn bitnet_avx2_sum_exp;

#endif
