/* The AVX-512 set: everything of AVX2 in registers of twice the width. */
#include "avx512.h"

#include "../sets.h"

const struct bitnet_kernel_set bitnet_kernels_avx512 = {
    .name = "avx512",
    .needs = BITNET_CPU_AVX2 | BITNET_CPU_AVX512,
    .ternary = &bitnet_avx512_ternary,
    .quantize_row_i8 = bitnet_avx512_quantize_row_i8,
    .rms_norm = bitnet_avx512_rms_norm,
    .dense_f32 = bitnet_avx512_dense_f32,
    .dense_f16 = bitnet_avx512_dense_f16,
    .dense_bf16 = bitnet_avx512_dense_bf16,
    .blocks_q8_0 = &bitnet_avx512_blocks_q8_0,
    .blocks_q6_k = &bitnet_avx512_blocks_q6_k,
    .blocks_q4_0 = &bitnet_avx512_blocks_q4_0,
    .rope = bitnet_avx512_rope,
    .attention = bitnet_avx512_attention,
    .gate_silu = bitnet_avx512_gate_silu,
    .gate_relu2 = bitnet_avx512_gate_relu2,
    .gate_gelu = bitnet_avx512_gate_gelu,
    .add = bitnet_avx512_add,
    .rescale = bitnet_avx512_rescale,
    .to_f16 = bitnet_avx512_to_f16,
    .largest = bitnet_avx512_largest,
    .above = bitnet_avx512_above,
    .sum_exp = bitnet_avx512_sum_exp,
};
