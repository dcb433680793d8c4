/* The NEON set: complete, so that nothing falls to the scalar floor on any 64-bit ARM. */
#include "neon.h"

#include "../sets.h"

const struct bitnet_kernel_set bitnet_kernels_neon = {
    .name = "neon",
    .needs = BITNET_CPU_NEON,
    .ternary = &bitnet_neon_ternary,
    .quantize_row_i8 = bitnet_neon_quantize_row_i8,
    .rms_norm = bitnet_neon_rms_norm,
    .dense_f32 = bitnet_neon_dense_f32,
    .dense_f16 = bitnet_neon_dense_f16,
    .dense_bf16 = bitnet_neon_dense_bf16,
    .blocks_q8_0 = &bitnet_neon_blocks_q8_0,
    .blocks_q6_k = &bitnet_neon_blocks_q6_k,
    .blocks_q4_0 = &bitnet_neon_blocks_q4_0,
    .rope = bitnet_neon_rope,
    .attention = bitnet_neon_attention,
    .gate_silu = bitnet_neon_gate_silu,
    .gate_relu2 = bitnet_neon_gate_relu2,
    .gate_gelu = bitnet_neon_gate_gelu,
    .add = bitnet_neon_add,
    .rescale = bitnet_neon_rescale,
    .to_f16 = bitnet_neon_to_f16,
    .largest = bitnet_neon_largest,
    .above = bitnet_neon_above,
    .sum_exp = bitnet_neon_sum_exp,
};
