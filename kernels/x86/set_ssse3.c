/* The SSSE3 set, for CPUs from before 2013: complete too. They have no fused multiply-add, on which
 * the order of float sums is built; vec_ssse3.h makes one of doubles. */
#include "ssse3.h"

#include "../sets.h"

const struct bitnet_kernel_set bitnet_kernels_ssse3 = {
    .name = "ssse3",
    .needs = BITNET_CPU_SSSE3,
    .ternary = &bitnet_ssse3_ternary,
    .quantize_row_i8 = bitnet_ssse3_quantize_row_i8,
    .rms_norm = bitnet_ssse3_rms_norm,
    .dense_f32 = bitnet_ssse3_dense_f32,
    .dense_f16 = bitnet_ssse3_dense_f16,
    .dense_bf16 = bitnet_ssse3_dense_bf16,
    .blocks_q8_0 = &bitnet_ssse3_blocks_q8_0,
    .blocks_q6_k = &bitnet_ssse3_blocks_q6_k,
    .blocks_q4_0 = &bitnet_ssse3_blocks_q4_0,
    .rope = bitnet_ssse3_rope,
    .attention = bitnet_ssse3_attention,
    .gate_silu = bitnet_ssse3_gate_silu,
    .gate_relu2 = bitnet_ssse3_gate_relu2,
    .gate_gelu = bitnet_ssse3_gate_gelu,
    .add = bitnet_ssse3_add,
    .rescale = bitnet_ssse3_rescale,
    .to_f16 = bitnet_ssse3_to_f16,
    .largest = bitnet_ssse3_largest,
    .above = bitnet_ssse3_above,
    .sum_exp = bitnet_ssse3_sum_exp,
};
