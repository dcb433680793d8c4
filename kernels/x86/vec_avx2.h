/* Eight floats at a time with AVX2, FMA and F16C, as the templates of vector/ want them. */
#ifndef BITNET_KERNELS_VEC_AVX2_H
#define BITNET_KERNELS_VEC_AVX2_H

#include "../unroll.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

enum { VEC_LANES = 8, VEC_REGS = 4 /* that make 32 lanes */ };
enum { DENSE_ROWS = 2, DENSE_TILE_ROWS = 1, DENSE_TILE_TOKENS = 3 }; /* 12 sums of 16 registers */
enum { ATTENTION_KEYS = 2 }; /* that share the loads of a query */
enum { ATTENTION_QUERIES = 4, ATTENTION_KEY_REGS = 2, ATTENTION_VALUE_REGS = 2 };
enum { VEC_FAST_FMA = 1 }; /* five of these cost less than a quotient */

typedef __m256 vec;
typedef __m256i vec_bits;

INLINE vec vec_zero(void)
{
    return _mm256_setzero_ps();
}
INLINE vec vec_set(float x)
{
    return _mm256_set1_ps(x);
}
INLINE vec vec_load(const float *x)
{
    return _mm256_loadu_ps(x);
}
INLINE void vec_store(float *x, vec v)
{
    _mm256_storeu_ps(x, v);
}
INLINE vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}
INLINE vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}
INLINE vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}
INLINE vec vec_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}
INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}
INLINE vec vec_neg(vec a)
{
    return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f));
}
INLINE vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}
/* x < 0 ? 0 : x. MAXPS returns its second operand when one is NaN, so a NaN passes. */
INLINE vec vec_relu(vec x)
{
    return _mm256_max_ps(_mm256_setzero_ps(), x);
}

/* All ones in lanes below n. */
INLINE __m256i vec_below(size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

/* The first n lanes; nothing behind them is touched, and they load as zero. */
INLINE vec vec_load_some(const float *x, size_t n)
{
    return _mm256_maskload_ps(x, vec_below(n));
}
INLINE void vec_store_some(float *x, vec v, size_t n)
{
    _mm256_maskstore_ps(x, vec_below(n), v);
}
INLINE vec vec_choose_some(vec first, vec rest, size_t n)
{
    return _mm256_blendv_ps(rest, first, _mm256_castsi256_ps(vec_below(n)));
}

/* --- conversions --- */

INLINE vec vec_from_f16(const void *h)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)h));
}

INLINE void vec_to_f16(void *h, vec v)
{
    _mm_storeu_si128((__m128i *)h, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

INLINE vec vec_from_bf16(const void *h)
{
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)h));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

INLINE vec vec_from_i32(const int32_t *x)
{
    return _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)x));
}

INLINE vec vec_from_i8(const int8_t *x)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)x)));
}

/* Half to even, for |x| <= 127; 32 floats. Packing works in 128-bit halves, so the dwords come out
 * as 0 4 1 5 2 6 3 7. */
INLINE void vec_to_bytes(const vec x[VEC_REGS], int8_t *q)
{
    const __m256i a = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[1]));
    const __m256i b = _mm256_packs_epi32(_mm256_cvtps_epi32(x[2]), _mm256_cvtps_epi32(x[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order);
    _mm256_storeu_si256((__m256i *)q, bytes);
}

/* --- largest magnitude, as the bits of a float without its sign: a NaN or an infinity is the
 *     largest of all --- */

INLINE vec_bits vec_no_bits(void)
{
    return _mm256_setzero_si256();
}

INLINE vec_bits vec_max_bits(vec_bits max, vec x)
{
    const __m256i bits = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
    return _mm256_max_epi32(max, bits);
}

INLINE int32_t vec_largest_bits(vec_bits v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* --- sums and the like --- */

/* The tree over 32 lanes. */
INLINE float vec_sum(const vec v[VEC_REGS])
{
    const __m256 eight = _mm256_add_ps(_mm256_add_ps(v[0], v[2]), _mm256_add_ps(v[1], v[3]));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

/* The trees of several keys, each times `scale`. */
INLINE void vec_sum_keys(vec acc[ATTENTION_KEYS][VEC_REGS], float scale, float *sums)
{
    UNROLL for (size_t k = 0; k < ATTENTION_KEYS; k++) sums[k] = vec_sum(acc[k]) * scale;
}

/* Rows become columns: by pairs, by fours, then halves of registers. */
INLINE void vec_transpose(vec v[VEC_LANES])
{
    __m256 a[8], b[8];
    UNROLL for (size_t i = 0; i < 8; i += 2)
    {
        a[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    UNROLL for (size_t i = 0; i < 8; i += 4)
    { /* b[i + k]: in half h, elements 4 h + k of rows i .. i + 3 */
        UNROLL for (size_t k = 0; k < 2; k++)
        {
            const __m256d low = _mm256_castps_pd(a[i + k]), high = _mm256_castps_pd(a[i + k + 2]);
            b[i + 2 * k] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
            b[i + 2 * k + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
        }
    }
    UNROLL for (size_t k = 0; k < 4; k++)
    {
        v[k] = _mm256_permute2f128_ps(b[k], b[4 + k], 0x20);
        v[4 + k] = _mm256_permute2f128_ps(b[k], b[4 + k], 0x31);
    }
}

INLINE float vec_largest(vec v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* Sum of squares in double: lane l takes elements l, l + 8, ..., then the tree. */
struct vec_squares {
    __m256d low, high; /* lanes 0 .. 3, 4 .. 7 */
};

INLINE struct vec_squares vec_no_squares(void)
{
    return (struct vec_squares){_mm256_setzero_pd(), _mm256_setzero_pd()};
}

INLINE void vec_add_squares(struct vec_squares *s, vec x)
{
    const __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(x));
    const __m256d b = _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
    s->low = _mm256_fmadd_pd(a, a, s->low);
    s->high = _mm256_fmadd_pd(b, b, s->high);
}

INLINE double vec_sum_squares(struct vec_squares s)
{
    const __m256d four = _mm256_add_pd(s.low, s.high);
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* --- pieces of the exponential --- */

/* p * 2^(n >> 1) * 2^(n - (n >> 1)), n an integer as a float. */
INLINE vec vec_scale(vec p, vec n)
{
    const __m256i k = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(k, 1);
    const __m256i rest = _mm256_sub_epi32(k, half), bias = _mm256_set1_epi32(127);
    const __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i b = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}

/* x < low ? 0 : x > high ? infinity : p; p where x is NaN. */
INLINE vec vec_edges(vec x, float low, float high, vec p)
{
    p = _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(low), _CMP_LT_OQ), p);
    const __m256 over = _mm256_cmp_ps(x, _mm256_set1_ps(high), _CMP_GT_OQ);
    return _mm256_blendv_ps(p, _mm256_set1_ps(__builtin_inff()), over);
}

/* --- rotation of neighbours: VEC_LANES / 2 pairs (a, b) in place --- */

INLINE __m256 vec_doubled(const float *x)
{
    const __m256 four = _mm256_castps128_ps256(_mm_loadu_ps(x));
    return _mm256_permutevar8x32_ps(four, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

INLINE vec vec_rotate_pairs(vec pairs, const float *cosines, const float *sines)
{
    const __m256 a = _mm256_moveldup_ps(pairs), b = _mm256_movehdup_ps(pairs);
    const __m256 c = vec_doubled(cosines), s = vec_doubled(sines);
    const __m256 first = _mm256_blend_ps(c, s, 0xaa), second = _mm256_blend_ps(s, c, 0xaa);
    /* subtracts in even places, adds in odd ones */
    return _mm256_fmaddsub_ps(a, first, _mm256_mul_ps(b, second));
}

#include "bytes_x86.h"

#endif
