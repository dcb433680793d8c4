/* The AVX2 set: complete, so that nothing falls to the scalar floor on any x86 CPU of the last
 * decade. */
#include "avx2.h"

#include "../sets.h"

const struct bitnet_kernel_set bitnet_kernels_avx2 = {
    .name = "avx2",
    .needs = BITNET_CPU_AVX2,
    .ternary = &bitnet_avx2_ternary,
    .quantize_row_i8 = bitnet_avx2_quantize_row_i8,
    .rms_norm = bitnet_avx2_rms_norm,
    .dense_f32 = bitnet_avx2_dense_f32,
    .dense_f16 = bitnet_avx2_dense_f16,
    .dense_bf16 = bitnet_avx2_dense_bf16,
    .blocks_q8_0 = &bitnet_avx2_blocks_q8_0,
    .blocks_q6_k = &bitnet_avx2_blocks_q6_k,
    .blocks_q4_0 = &bitnet_avx2_blocks_q4_0,
    .rope = bitnet_avx2_rope,
    .attention = bitnet_avx2_attention,
    .gate_silu = bitnet_avx2_gate_silu,
    .gate_relu2 = bitnet_avx2_gate_relu2,
    .gate_gelu = bitnet_avx2_gate_gelu,
    .add = bitnet_avx2_add,
    .rescale = bitnet_avx2_rescale,
    .to_f16 = bitnet_avx2_to_f16,
    .largest = bitnet_avx2_largest,
    .above = bitnet_avx2_above,
    .sum_exp = bitnet_avx2_sum_exp,
};
