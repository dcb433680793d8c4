/* The AVX-512 kernels (F, BW, VL, DQ): Skylake-X of 2017, Ice Lake, Zen 4 and what followed. */
#ifndef BITNET_KERNELS_AVX512_H
#define BITNET_KERNELS_AVX512_H

#include <bitnet/kernels.h>

extern const struct bitnet_ternary_path bitnet_avx512_ternary;

bitnet_quantize_fn bitnet_avx512_quantize_row_i8;
bitnet_norm_fn bitnet_avx512_rms_norm;
bitnet_dense_fn bitnet_avx512_dense_f32;
bitnet_dense_fn bitnet_avx512_dense_f16;
bitnet_dense_fn bitnet_avx512_dense_bf16;
extern const struct bitnet_block_path bitnet_avx512_blocks_q8_0;
extern const struct bitnet_block_path bitnet_avx512_blocks_q6_k;
extern const struct bitnet_block_path bitnet_avx512_blocks_q4_0;
bitnet_rope_fn bitnet_avx512_rope;
bitnet_attention_fn bitnet_avx512_attention;
bitnet_gate_fn bitnet_avx512_gate_silu;
bitnet_gate_fn bitnet_avx512_gate_relu2;
bitnet_gate_fn bitnet_avx512_gate_gelu;
bitnet_add_fn bitnet_avx512_add;
bitnet_rescale_fn bitnet_avx512_rescale;
bitnet_to_f16_fn bitnet_avx512_to_f16;
bitnet_largest_fn bitnet_avx512_largest;
bitnet_above_fn bitnet_avx512_above;
bitnet_sum_exp_fn bitnet_avx512_sum_exp;

#endif
