/* Sixteen floats at a time with AVX-512 (F, BW, VL, DQ), as the templates of vector/ want them. */
#ifndef BITNET_KERNELS_VEC_AVX512_H
#define BITNET_KERNELS_VEC_AVX512_H

#include "../unroll.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

enum { VEC_LANES = 16, VEC_REGS = 2 /* that make 32 lanes */ };
enum { DENSE_ROWS = 4, DENSE_TILE_ROWS = 2, DENSE_TILE_TOKENS = 4 }; /* 16 sums of 32 registers */
enum { ATTENTION_KEYS = 8 }; /* that share the loads of a query */
enum { ATTENTION_QUERIES = 4, ATTENTION_KEY_REGS = 2, ATTENTION_VALUE_REGS = 4 };
enum { VEC_FAST_FMA = 1 }; /* five of these cost less than a quotient */

typedef __m512 vec;
typedef __m512i vec_bits;

INLINE vec vec_zero(void)
{
    return _mm512_setzero_ps();
}
INLINE vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}
INLINE vec vec_load(const float *x)
{
    return _mm512_loadu_ps(x);
}
INLINE void vec_store(float *x, vec v)
{
    _mm512_storeu_ps(x, v);
}
INLINE vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}
INLINE vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}
INLINE vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}
INLINE vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}
INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}
INLINE vec vec_neg(vec a)
{
    return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f));
}
INLINE vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}
/* x < 0 ? 0 : x. VMAXPS returns its second operand when one is NaN, so a NaN passes. */
INLINE vec vec_relu(vec x)
{
    return _mm512_max_ps(_mm512_setzero_ps(), x);
}

/* The first n lanes; nothing behind them is touched, and they load as zero. */
INLINE __mmask16 vec_below(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}
INLINE vec vec_load_some(const float *x, size_t n)
{
    return _mm512_maskz_loadu_ps(vec_below(n), x);
}
INLINE void vec_store_some(float *x, vec v, size_t n)
{
    _mm512_mask_storeu_ps(x, vec_below(n), v);
}
INLINE vec vec_choose_some(vec first, vec rest, size_t n)
{
    return _mm512_mask_blend_ps(vec_below(n), rest, first);
}

/* --- conversions --- */

INLINE vec vec_from_f16(const void *h)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)h));
}

INLINE void vec_to_f16(void *h, vec v)
{
    /* The form with a mask, because without one gcc's macro converts a sign, and warns. */
    const __mmask16 all = 0xffff;
    _mm256_storeu_si256((__m256i *)h, _mm512_maskz_cvtps_ph(all, v, _MM_FROUND_TO_NEAREST_INT));
}

INLINE vec vec_from_bf16(const void *h)
{
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)h));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

INLINE vec vec_from_i32(const int32_t *x)
{
    return _mm512_cvtepi32_ps(_mm512_loadu_si512(x));
}

INLINE vec vec_from_i8(const int8_t *x)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)x)));
}

/* Half to even, for |x| <= 127; 32 floats. */
INLINE void vec_to_bytes(const vec x[VEC_REGS], int8_t *q)
{
    const __m128i a = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x[0]));
    const __m128i b = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x[1]));
    _mm256_storeu_si256((__m256i *)q, _mm256_set_m128i(b, a));
}

/* --- largest magnitude, as the bits of a float without its sign: a NaN or an infinity is the
 *     largest of all --- */

INLINE vec_bits vec_no_bits(void)
{
    return _mm512_setzero_si512();
}

INLINE vec_bits vec_max_bits(vec_bits max, vec x)
{
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
    return _mm512_max_epi32(max, bits);
}

INLINE int32_t vec_largest_bits(vec_bits v)
{
    return _mm512_reduce_max_epi32(v);
}

/* --- sums and the like --- */

/* The tree over 32 lanes. */
INLINE float vec_sum(const vec v[VEC_REGS])
{
    const __m512 sixteen = _mm512_add_ps(v[0], v[1]);
    const __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps(sixteen, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

/* The trees of eight keys at once, each times `scale`: halving two registers and adding the halves
 * side by side does for two trees what one costs. */
INLINE void vec_sum_keys(vec acc[ATTENTION_KEYS][VEC_REGS], float scale, float *sums)
{
    __m512 s[8];
    UNROLL for (size_t k = 0; k < 8; k++) s[k] = _mm512_add_ps(acc[k][0], acc[k][1]);
    UNROLL for (size_t k = 0; k < 4; k++)
    { /* lanes 0 .. 7 of two keys */
        s[k] = _mm512_add_ps(_mm512_shuffle_f32x4(s[2 * k], s[2 * k + 1], 0x44),
                             _mm512_shuffle_f32x4(s[2 * k], s[2 * k + 1], 0xee));
    }
    UNROLL for (size_t k = 0; k < 2; k++)
    { /* lanes 0 .. 3 of four keys */
        s[k] = _mm512_add_ps(_mm512_shuffle_f32x4(s[2 * k], s[2 * k + 1], 0x88),
                             _mm512_shuffle_f32x4(s[2 * k], s[2 * k + 1], 0xdd));
    }
    const __m512d a = _mm512_castps_pd(s[0]), b = _mm512_castps_pd(s[1]);
    const __m512 two = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                                     _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    const __m512 one = _mm512_add_ps(_mm512_moveldup_ps(two), _mm512_movehdup_ps(two));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256 sorted = _mm512_castps512_ps256(_mm512_permutexvar_ps(order, one));
    _mm256_storeu_ps(sums, _mm256_mul_ps(sorted, _mm256_set1_ps(scale)));
}

/* Rows become columns: by pairs, by fours, then whole quarters of registers. */
INLINE void vec_transpose(vec v[VEC_LANES])
{
    __m512 a[16], b[16];
    UNROLL for (size_t i = 0; i < 16; i += 2)
    {
        a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    UNROLL for (size_t i = 0; i < 16; i += 4)
    { /* b[i + k]: in quarter q, elements 4 q + k of rows i .. i + 3 */
        UNROLL for (size_t k = 0; k < 2; k++)
        {
            const __m512d low = _mm512_castps_pd(a[i + k]), high = _mm512_castps_pd(a[i + k + 2]);
            b[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            b[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    }
    UNROLL for (size_t k = 0; k < 4; k++)
    {
        const __m512 even0 = _mm512_shuffle_f32x4(b[k], b[4 + k], 0x88);
        const __m512 even1 = _mm512_shuffle_f32x4(b[8 + k], b[12 + k], 0x88);
        const __m512 odd0 = _mm512_shuffle_f32x4(b[k], b[4 + k], 0xdd);
        const __m512 odd1 = _mm512_shuffle_f32x4(b[8 + k], b[12 + k], 0xdd);
        v[k] = _mm512_shuffle_f32x4(even0, even1, 0x88);
        v[8 + k] = _mm512_shuffle_f32x4(even0, even1, 0xdd);
        v[4 + k] = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
        v[12 + k] = _mm512_shuffle_f32x4(odd0, odd1, 0xdd);
    }
}

INLINE float vec_largest(vec v)
{
    return _mm512_reduce_max_ps(v);
}

/* Sum of squares in double: lane l takes elements l, l + 8, ..., then the tree. */
struct vec_squares {
    __m512d lanes;
};

INLINE struct vec_squares vec_no_squares(void)
{
    return (struct vec_squares){_mm512_setzero_pd()};
}

INLINE void vec_add_squares(struct vec_squares *s, vec x)
{
    const __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
    const __m512d b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
    s->lanes = _mm512_fmadd_pd(a, a, s->lanes);
    s->lanes = _mm512_fmadd_pd(b, b, s->lanes);
}

INLINE double vec_sum_squares(struct vec_squares s)
{
    const __m256d four =
        _mm256_add_pd(_mm512_castpd512_pd256(s.lanes), _mm512_extractf64x4_pd(s.lanes, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* --- pieces of the exponential --- */

/* p * 2^n, n an integer as a float. The results are normal numbers, so one exact step does what
 * the other sets need two for. */
INLINE vec vec_scale(vec p, vec n)
{
    return _mm512_scalef_ps(p, n);
}

/* x < low ? 0 : x > high ? infinity : p; p where x is NaN. */
INLINE vec vec_edges(vec x, float low, float high, vec p)
{
    const __mmask16 under = _mm512_cmp_ps_mask(x, _mm512_set1_ps(low), _CMP_LT_OQ);
    const __mmask16 over = _mm512_cmp_ps_mask(x, _mm512_set1_ps(high), _CMP_GT_OQ);
    p = _mm512_mask_blend_ps(under, p, _mm512_setzero_ps());
    return _mm512_mask_blend_ps(over, p, _mm512_set1_ps(__builtin_inff()));
}

/* --- rotation of neighbours: VEC_LANES / 2 pairs (a, b) in place --- */

INLINE __m512 vec_doubled(const float *x)
{
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_loadu_ps(x)));
}

INLINE vec vec_rotate_pairs(vec pairs, const float *cosines, const float *sines)
{
    const __m512 a = _mm512_moveldup_ps(pairs), b = _mm512_movehdup_ps(pairs);
    const __m512 c = vec_doubled(cosines), s = vec_doubled(sines);
    const __m512 first = _mm512_mask_blend_ps(0xaaaa, c, s);
    const __m512 second = _mm512_mask_blend_ps(0xaaaa, s, c);
    /* subtracts in even places, adds in odd ones */
    return _mm512_fmaddsub_ps(a, first, _mm512_mul_ps(b, second));
}

#include "bytes_x86.h"

#endif
