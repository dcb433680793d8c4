/* The AVX2 kernels (with FMA and F16C): Haswell of 2013, Zen of 2017 and everything since. What the
 * AVX2 files share: the exponential, the sum of 32 lanes, masks for tails. */
#ifndef BITNET_KERNELS_AVX2_H
#define BITNET_KERNELS_AVX2_H

#include "../expf.h"

#include <bitnet/kernels.h>

#include <immintrin.h>

extern const struct bitnet_ternary_path bitnet_avx2_ternary;

bitnet_quantize_fn bitnet_avx2_quantize_row_i8;
bitnet_norm_fn bitnet_avx2_rms_norm;
bitnet_dense_fn bitnet_avx2_dense_f32;
bitnet_dense_fn bitnet_avx2_dense_f16;
bitnet_dense_fn bitnet_avx2_dense_bf16;
bitnet_dense_fn bitnet_avx2_dense_q8_0;
bitnet_dense_fn bitnet_avx2_dense_q6_k;
bitnet_dense_fn bitnet_avx2_dense_q4_0;
bitnet_rope_fn bitnet_avx2_rope;
bitnet_attention_fn bitnet_avx2_attention;
bitnet_gate_fn bitnet_avx2_gate_silu;
bitnet_gate_fn bitnet_avx2_gate_relu2;
bitnet_add_fn bitnet_avx2_add;
bitnet_rescale_fn bitnet_avx2_rescale;
bitnet_to_f16_fn bitnet_avx2_to_f16;

/* The tree over 32 lanes of which a .. d hold eight each, in order. */
static inline float avx2_sum(__m256 a, __m256 b, __m256 c, __m256 d)
{
    const __m256 eight = _mm256_add_ps(_mm256_add_ps(a, c), _mm256_add_ps(b, d));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

/* All ones in lanes below n (0 .. 8). */
static inline __m256i avx2_mask(size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

/* bitnet_expf() in eight lanes: the same operations in the same order. */
static inline __m256 avx2_expf(__m256 x)
{
    const __m256 shift = _mm256_set1_ps(BITNET_EXP_SHIFT), one = _mm256_set1_ps(1.0f);
    const __m256 n =
        _mm256_sub_ps(_mm256_fmadd_ps(x, _mm256_set1_ps(BITNET_EXP_LOG2E), shift), shift);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-BITNET_EXP_LN2_HIGH), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-BITNET_EXP_LN2_LOW), r);
    __m256 p = _mm256_set1_ps(BITNET_EXP_C7);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BITNET_EXP_C6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BITNET_EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BITNET_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BITNET_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BITNET_EXP_C2));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);
    const __m256i k = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(k, 1);
    const __m256i rest = _mm256_sub_epi32(k, half), bias = _mm256_set1_epi32(127);
    const __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i b = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
    p = _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
    /* The edges; the comparisons are false for NaN, which p then already is. */
    p = _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(BITNET_EXP_MIN), _CMP_LT_OQ), p);
    const __m256 over = _mm256_cmp_ps(x, _mm256_set1_ps(BITNET_EXP_MAX), _CMP_GT_OQ);
    return _mm256_blendv_ps(p, _mm256_set1_ps(__builtin_inff()), over);
}

#endif
