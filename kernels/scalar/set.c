/* The scalar set: every slot filled, so that whatever a stronger set leaves empty falls here. */
#include "scalar.h"
#include "../sets.h"

const struct bitnet_kernel_set bitnet_kernels_scalar = {
    .name = "scalar",
    .needs = 0,
    .ternary = &bitnet_scalar_ternary,
    .quantize_row_i8 = bitnet_scalar_quantize_row_i8,
    .rms_norm = bitnet_scalar_rms_norm,
    .dense_f32 = bitnet_scalar_dense_f32,
    .dense_f16 = bitnet_scalar_dense_f16,
    .dense_bf16 = bitnet_scalar_dense_bf16,
    .blocks_q8_0 = &bitnet_scalar_blocks_q8_0,
    .blocks_q6_k = &bitnet_scalar_blocks_q6_k,
    .blocks_q4_0 = &bitnet_scalar_blocks_q4_0,
    .rope = bitnet_scalar_rope,
    .attention = bitnet_scalar_attention,
    .gate_silu = bitnet_scalar_gate_silu,
    .gate_relu2 = bitnet_scalar_gate_relu2,
    .gate_gelu = bitnet_scalar_gate_gelu,
    .add = bitnet_scalar_add,
    .rescale = bitnet_scalar_rescale,
    .to_f16 = bitnet_scalar_to_f16,
    .largest = bitnet_scalar_largest,
    .above = bitnet_scalar_above,
    .sum_exp = bitnet_scalar_sum_exp,
};
