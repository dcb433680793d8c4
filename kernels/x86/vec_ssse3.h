/* Four floats at a time with SSSE3, as the templates of vector/ want them, for CPUs that have
 * neither a fused multiply-add nor binary16 nor a blend.
 *
 * A product of two floats is exact in double, so the fused sum is the double sum rounded to a
 * float: two roundings, which differ from one only where the first lands on the middle between two
 * floats and was not exact. Such a middle ends in 28 zero bits; lanes that do are done again, with
 * the double rounded to odd, after which the second rounding is right (Boldo, Melquiond 2008). */
#ifndef BITNET_KERNELS_VEC_SSSE3_H
#define BITNET_KERNELS_VEC_SSSE3_H

#include "../unroll.h"

#include <bitnet/bytes.h>
#include <bitnet/dtype.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tmmintrin.h>

enum { VEC_LANES = 4, VEC_REGS = 8 /* that make 32 lanes */ };
enum { DENSE_ROWS = 1, DENSE_TILE_ROWS = 1, DENSE_TILE_TOKENS = 1 }; /* 8 sums of 16 registers */
enum { ATTENTION_KEYS = 1 };
enum { ATTENTION_QUERIES = 2, ATTENTION_KEY_REGS = 2, ATTENTION_VALUE_REGS = 2 };
enum { VEC_FAST_FMA = 0 }; /* a multiply-add costs more than a quotient */

typedef __m128 vec;
typedef __m128i vec_bits;

INLINE vec vec_zero(void)
{
    return _mm_setzero_ps();
}
INLINE vec vec_set(float x)
{
    return _mm_set1_ps(x);
}
INLINE vec vec_load(const float *x)
{
    return _mm_loadu_ps(x);
}
INLINE void vec_store(float *x, vec v)
{
    _mm_storeu_ps(x, v);
}
INLINE vec vec_add(vec a, vec b)
{
    return _mm_add_ps(a, b);
}
INLINE vec vec_sub(vec a, vec b)
{
    return _mm_sub_ps(a, b);
}
INLINE vec vec_mul(vec a, vec b)
{
    return _mm_mul_ps(a, b);
}
INLINE vec vec_div(vec a, vec b)
{
    return _mm_div_ps(a, b);
}
INLINE vec vec_neg(vec a)
{
    return _mm_xor_ps(a, _mm_set1_ps(-0.0f));
}
INLINE vec vec_max(vec a, vec b)
{
    return _mm_max_ps(a, b);
}
/* x < 0 ? 0 : x. MAXPS returns its second operand when one is NaN, so a NaN passes. */
INLINE vec vec_relu(vec x)
{
    return _mm_max_ps(_mm_setzero_ps(), x);
}

/* mask ? a : b, of all ones or none */
INLINE vec vec_choose(vec mask, vec a, vec b)
{
    return _mm_or_ps(_mm_and_ps(mask, a), _mm_andnot_ps(mask, b));
}

/* --- fused multiply-add --- */

INLINE __m128d vec_upper(vec a)
{
    return _mm_cvtps_pd(_mm_movehl_ps(a, a));
}

/* Two doubles each, to floats. */
INLINE vec vec_narrow(__m128d low, __m128d high)
{
    return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}

INLINE __m128d vec_double_fma(__m128d a, __m128d b, __m128d c)
{
    return _mm_add_pd(_mm_mul_pd(a, b), c);
}

/* Rounded to odd: an inexact sum whose last bit is 0 moves by one towards what was lost, which is
 * the exact error of the addition (Knuth's two-sum). NaN and infinity have none. */
INLINE __m128d vec_odd_fma(__m128d a, __m128d b, __m128d c)
{
    const __m128d product = _mm_mul_pd(a, b), sum = _mm_add_pd(product, c);
    const __m128d added = _mm_sub_pd(sum, product);
    const __m128d lost =
        _mm_add_pd(_mm_sub_pd(product, _mm_sub_pd(sum, added)), _mm_sub_pd(c, added));
    const __m128d zero = _mm_setzero_pd();
    const __m128d inexact = _mm_or_pd(_mm_cmplt_pd(lost, zero), _mm_cmpgt_pd(lost, zero));
    const __m128i bits = _mm_castpd_si128(sum), one = _mm_set_epi32(0, 1, 0, 1);
    const __m128i even = _mm_sub_epi64(_mm_and_si128(bits, one), one);
    const __m128i signs = _mm_castpd_si128(_mm_xor_pd(lost, sum));
    const __m128i differ = _mm_srai_epi32(_mm_shuffle_epi32(signs, 0xf5), 31);
    const __m128i step = _mm_and_si128(_mm_or_si128(differ, one), _mm_castpd_si128(inexact));
    return _mm_castsi128_pd(_mm_add_epi64(bits, _mm_and_si128(step, even)));
}

static __attribute__((noinline)) vec vec_fma_exactly(vec a, vec b, vec c)
{
    return vec_narrow(vec_odd_fma(_mm_cvtps_pd(a), _mm_cvtps_pd(b), _mm_cvtps_pd(c)),
                      vec_odd_fma(vec_upper(a), vec_upper(b), vec_upper(c)));
}

INLINE vec vec_fma(vec a, vec b, vec c)
{
    const __m128d low = vec_double_fma(_mm_cvtps_pd(a), _mm_cvtps_pd(b), _mm_cvtps_pd(c));
    const __m128d high = vec_double_fma(vec_upper(a), vec_upper(b), vec_upper(c));
    const __m128 ends = _mm_shuffle_ps(_mm_castpd_ps(low), _mm_castpd_ps(high), 0x88);
    const __m128i rest = _mm_slli_epi32(_mm_castps_si128(ends), 4);
    const __m128i zeros = _mm_cmpeq_epi32(rest, _mm_setzero_si128());
    if (__builtin_expect(_mm_movemask_epi8(zeros) != 0, 0)) return vec_fma_exactly(a, b, c);
    return vec_narrow(low, high);
}

/* --- parts of a register --- */

/* The first n lanes; nothing behind them is touched, and they load as zero. */
INLINE vec vec_load_some(const float *x, size_t n)
{
    float some[VEC_LANES] = {0};
    memcpy(some, x, n * sizeof *x);
    return vec_load(some);
}

INLINE void vec_store_some(float *x, vec v, size_t n)
{
    float some[VEC_LANES];
    vec_store(some, v);
    memcpy(x, some, n * sizeof *x);
}

INLINE vec vec_choose_some(vec first, vec rest, size_t n)
{
    const __m128i lane = _mm_setr_epi32(0, 1, 2, 3);
    const __m128i below = _mm_cmpgt_epi32(_mm_set1_epi32((int)n), lane);
    return vec_choose(_mm_castsi128_ps(below), first, rest);
}

/* --- conversions --- */

/* Four halves, each in the lower end of a lane. An exponent of 0 means a whole number of 2^-24, one
 * of 31 infinity or a NaN (which turns quiet, as it does in hardware). */
INLINE vec vec_from_halves(__m128i h)
{
    const __m128i magnitude = _mm_and_si128(h, _mm_set1_epi32(0x7fff));
    const __m128i sign = _mm_slli_epi32(_mm_xor_si128(h, magnitude), 16);
    const __m128i bias = _mm_set1_epi32(112 << 23);
    const __m128i is_small = _mm_cmpgt_epi32(_mm_set1_epi32(0x400), magnitude);
    const __m128i is_odd = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff));
    const __m128i is_nan = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7c00));
    __m128i normal = _mm_add_epi32(_mm_slli_epi32(magnitude, 13), bias);
    normal = _mm_add_epi32(normal, _mm_and_si128(is_odd, bias));
    normal = _mm_or_si128(normal, _mm_and_si128(is_nan, _mm_set1_epi32(0x400000)));
    const vec small = _mm_mul_ps(_mm_cvtepi32_ps(magnitude), _mm_set1_ps(0x1p-24f));
    const vec chosen = vec_choose(_mm_castsi128_ps(is_small), small, _mm_castsi128_ps(normal));
    return _mm_or_ps(chosen, _mm_castsi128_ps(sign));
}

INLINE __m128i vec_load_halves(const void *h)
{
    return _mm_loadl_epi64((const __m128i *)h);
}

INLINE vec vec_from_f16(const void *h)
{
    return vec_from_halves(_mm_unpacklo_epi16(vec_load_halves(h), _mm_setzero_si128()));
}

INLINE void vec_to_f16(void *h, vec v)
{
    float x[VEC_LANES];
    uint16_t out[VEC_LANES];
    vec_store(x, v);
    UNROLL for (size_t i = 0; i < VEC_LANES; i++) out[i] = bitnet_f32_to_f16(x[i]);
    memcpy(h, out, sizeof out);
}

INLINE vec vec_from_bf16(const void *h)
{
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), vec_load_halves(h)));
}

INLINE vec vec_from_i32(const int32_t *x)
{
    return _mm_cvtepi32_ps(_mm_loadu_si128((const __m128i *)x));
}

INLINE vec vec_from_i8(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    __m128i v = _mm_cvtsi32_si128(four);
    v = _mm_unpacklo_epi8(v, v);
    return _mm_cvtepi32_ps(_mm_srai_epi32(_mm_unpacklo_epi16(v, v), 24));
}

/* Half to even, for |x| <= 127; 32 floats. */
INLINE void vec_to_bytes(const vec x[VEC_REGS], int8_t *q)
{
    UNROLL for (size_t i = 0; i < VEC_REGS; i += 4)
    {
        const __m128i a = _mm_packs_epi32(_mm_cvtps_epi32(x[i]), _mm_cvtps_epi32(x[i + 1]));
        const __m128i b = _mm_packs_epi32(_mm_cvtps_epi32(x[i + 2]), _mm_cvtps_epi32(x[i + 3]));
        _mm_storeu_si128((__m128i *)(q + 4 * i), _mm_packs_epi16(a, b));
    }
}

INLINE float vec_f16_at(const uint8_t *at)
{
    return bitnet_f16_to_f32(bitnet_load_u16(at));
}

/* --- largest magnitude, as the bits of a float without its sign: a NaN or an infinity is the
 *     largest of all --- */

INLINE vec_bits vec_no_bits(void)
{
    return _mm_setzero_si128();
}

INLINE vec_bits vec_larger_bits(vec_bits a, vec_bits b)
{
    const __m128i first = _mm_cmpgt_epi32(a, b);
    return _mm_or_si128(_mm_and_si128(first, a), _mm_andnot_si128(first, b));
}

INLINE vec_bits vec_max_bits(vec_bits max, vec x)
{
    const __m128i bits = _mm_and_si128(_mm_castps_si128(x), _mm_set1_epi32(0x7fffffff));
    return vec_larger_bits(max, bits);
}

INLINE int32_t vec_largest_bits(vec_bits v)
{
    const __m128i m = vec_larger_bits(v, _mm_shuffle_epi32(v, 0x4e));
    return _mm_cvtsi128_si32(vec_larger_bits(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* --- sums and the like --- */

/* The tree over 32 lanes. */
INLINE float vec_sum(const vec v[VEC_REGS])
{
    vec s[4];
    UNROLL for (size_t i = 0; i < 4; i++) s[i] = _mm_add_ps(v[i], v[i + 4]);
    vec four = _mm_add_ps(_mm_add_ps(s[0], s[2]), _mm_add_ps(s[1], s[3]));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

/* The trees of several keys, each times `scale`. */
INLINE void vec_sum_keys(vec acc[ATTENTION_KEYS][VEC_REGS], float scale, float *sums)
{
    UNROLL for (size_t k = 0; k < ATTENTION_KEYS; k++) sums[k] = vec_sum(acc[k]) * scale;
}

INLINE float vec_largest(vec v)
{
    const vec m = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* Rows become columns. */
INLINE void vec_transpose(vec v[VEC_LANES])
{
    _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);
}

/* Sum of squares in double: lane l takes elements l, l + 8, ..., then the tree. A register holds
 * half of the eight lanes' elements, so the halves take turns. A square is exact in double, so it
 * need not be fused. */
struct vec_squares {
    __m128d lanes[2][2];
    size_t half;
};

INLINE struct vec_squares vec_no_squares(void)
{
    const __m128d zero = _mm_setzero_pd();
    return (struct vec_squares){{{zero, zero}, {zero, zero}}, 0};
}

INLINE void vec_add_squares(struct vec_squares *s, vec x)
{
    __m128d *lanes = s->lanes[s->half];
    const __m128d a = _mm_cvtps_pd(x), b = vec_upper(x);
    lanes[0] = _mm_add_pd(lanes[0], _mm_mul_pd(a, a));
    lanes[1] = _mm_add_pd(lanes[1], _mm_mul_pd(b, b));
    s->half ^= 1;
}

INLINE double vec_sum_squares(struct vec_squares s)
{
    const __m128d a = _mm_add_pd(s.lanes[0][0], s.lanes[1][0]);
    const __m128d b = _mm_add_pd(s.lanes[0][1], s.lanes[1][1]);
    const __m128d two = _mm_add_pd(a, b);
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* --- pieces of the exponential --- */

/* p * 2^(n >> 1) * 2^(n - (n >> 1)), n an integer as a float. */
INLINE vec vec_scale(vec p, vec n)
{
    const __m128i k = _mm_cvtps_epi32(n), half = _mm_srai_epi32(k, 1), bias = _mm_set1_epi32(127);
    const __m128i a = _mm_slli_epi32(_mm_add_epi32(half, bias), 23);
    const __m128i b = _mm_slli_epi32(_mm_add_epi32(_mm_sub_epi32(k, half), bias), 23);
    return _mm_mul_ps(_mm_mul_ps(p, _mm_castsi128_ps(a)), _mm_castsi128_ps(b));
}

/* x < low ? 0 : x > high ? infinity : p; p where x is NaN. */
INLINE vec vec_edges(vec x, float low, float high, vec p)
{
    p = _mm_andnot_ps(_mm_cmplt_ps(x, _mm_set1_ps(low)), p);
    const vec over = _mm_cmpgt_ps(x, _mm_set1_ps(high));
    return vec_choose(over, _mm_set1_ps(__builtin_inff()), p);
}

/* --- rotation of neighbours: VEC_LANES / 2 pairs (a, b) in place --- */

INLINE vec vec_doubled(const float *x)
{
    const vec two = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(const void *)x));
    return _mm_unpacklo_ps(two, two);
}

INLINE vec vec_rotate_pairs(vec pairs, const float *cosines, const float *sines)
{
    const vec even = _mm_castsi128_ps(_mm_setr_epi32(-1, 0, -1, 0));
    const vec a = _mm_moveldup_ps(pairs), b = _mm_movehdup_ps(pairs);
    const vec c = vec_doubled(cosines), s = vec_doubled(sines);
    const vec product = _mm_mul_ps(b, vec_choose(even, s, c));
    return vec_fma(a, vec_choose(even, c, s), vec_choose(even, vec_neg(product), product));
}

INLINE void vec_prefetch(const void *at)
{
    _mm_prefetch((const char *)at, _MM_HINT_T0);
}

#endif
