/* The scalar kernels: the reference that every other set is compared with, and the floor that runs
 * everywhere. Plain C, one element after the other, written to be believed by reading. Contracts
 * are those of the slots in <bitnet/kernels.h>. */
#ifndef BITNET_KERNELS_SCALAR_H
#define BITNET_KERNELS_SCALAR_H

#include <bitnet/kernels.h>

extern const struct bitnet_ternary_path bitnet_scalar_ternary;

bitnet_quantize_fn bitnet_scalar_quantize_row_i8;
bitnet_norm_fn bitnet_scalar_rms_norm;
bitnet_dense_fn bitnet_scalar_dense_f32;
bitnet_dense_fn bitnet_scalar_dense_f16;
bitnet_dense_fn bitnet_scalar_dense_bf16;
extern const struct bitnet_block_path bitnet_scalar_blocks_q8_0;
extern const struct bitnet_block_path bitnet_scalar_blocks_q6_k;
extern const struct bitnet_block_path bitnet_scalar_blocks_q4_0;
bitnet_rope_fn bitnet_scalar_rope;
bitnet_attention_fn bitnet_scalar_attention;
bitnet_gate_fn bitnet_scalar_gate_silu;
bitnet_gate_fn bitnet_scalar_gate_relu2;
bitnet_gate_fn bitnet_scalar_gate_gelu;
bitnet_add_fn bitnet_scalar_add;
bitnet_rescale_fn bitnet_scalar_rescale;
bitnet_to_f16_fn bitnet_scalar_to_f16;
bitnet_largest_fn bitnet_scalar_largest;
bitnet_above_fn bitnet_scalar_above;
bitnet_sum_exp_fn bitnet_scalar_sum_exp;

#endif
