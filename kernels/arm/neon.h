/* The NEON kernels: every 64-bit ARM. Beside them, the ternary products of CPUs that have SDOT
 * (Cortex-A76 of 2018, Apple M1) and SMMLA (Neoverse V1 of 2021, Apple M2). */
#ifndef BITNET_KERNELS_NEON_H
#define BITNET_KERNELS_NEON_H

#include <bitnet/kernels.h>

extern const struct bitnet_ternary_path bitnet_neon_ternary;
extern const struct bitnet_ternary_path bitnet_dotprod_ternary;
extern const struct bitnet_ternary_path bitnet_i8mm_ternary;

bitnet_quantize_fn bitnet_neon_quantize_row_i8;
bitnet_norm_fn bitnet_neon_rms_norm;
bitnet_dense_fn bitnet_neon_dense_f32;
bitnet_dense_fn bitnet_neon_dense_f16;
bitnet_dense_fn bitnet_neon_dense_bf16;
extern const struct bitnet_block_path bitnet_neon_blocks_q8_0;
extern const struct bitnet_block_path bitnet_neon_blocks_q6_k;
extern const struct bitnet_block_path bitnet_neon_blocks_q4_0;
extern const struct bitnet_block_path bitnet_dotprod_blocks_q8_0;
extern const struct bitnet_block_path bitnet_dotprod_blocks_q6_k;
extern const struct bitnet_block_path bitnet_dotprod_blocks_q4_0;
bitnet_rope_fn bitnet_neon_rope;
bitnet_attention_fn bitnet_neon_attention;
bitnet_gate_fn bitnet_neon_gate_silu;
bitnet_gate_fn bitnet_neon_gate_relu2;
bitnet_gate_fn bitnet_neon_gate_gelu;
bitnet_add_fn bitnet_neon_add;
bitnet_rescale_fn bitnet_neon_rescale;
bitnet_to_f16_fn bitnet_neon_to_f16;
bitnet_largest_fn bitnet_neon_largest;
bitnet_above_fn bitnet_neon_above;
bitnet_sum_exp_fn bitnet_neon_sum_exp;

#endif
