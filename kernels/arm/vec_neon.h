/* Four floats at a time with NEON (ARMv8-A), as the templates of vector/ want them. */
#ifndef BITNET_KERNELS_VEC_NEON_H
#define BITNET_KERNELS_VEC_NEON_H

#include "../unroll.h"

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { VEC_LANES = 4, VEC_REGS = 8 /* that make 32 lanes */ };
enum { DENSE_ROWS = 2, DENSE_TILE_ROWS = 1, DENSE_TILE_TOKENS = 2 }; /* 16 sums of 32 registers */
enum { ATTENTION_KEYS = 2 }; /* that share the loads of a query */
enum { ATTENTION_QUERIES = 4, ATTENTION_KEY_REGS = 2, ATTENTION_VALUE_REGS = 4 };
enum { VEC_FAST_FMA = 1 }; /* five of these cost less than a quotient */

typedef float32x4_t vec;
typedef int32x4_t vec_bits;

INLINE vec vec_zero(void)
{
    return vdupq_n_f32(0);
}
INLINE vec vec_set(float x)
{
    return vdupq_n_f32(x);
}
INLINE vec vec_load(const float *x)
{
    return vld1q_f32(x);
}
INLINE void vec_store(float *x, vec v)
{
    vst1q_f32(x, v);
}
INLINE vec vec_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}
INLINE vec vec_sub(vec a, vec b)
{
    return vsubq_f32(a, b);
}
INLINE vec vec_mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}
INLINE vec vec_div(vec a, vec b)
{
    return vdivq_f32(a, b);
}
INLINE vec vec_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}
INLINE vec vec_neg(vec a)
{
    return vnegq_f32(a);
}
INLINE vec vec_max(vec a, vec b)
{
    return vmaxq_f32(a, b);
}
/* x < 0 ? 0 : x. FMAX passes a NaN. */
INLINE vec vec_relu(vec x)
{
    return vmaxq_f32(vdupq_n_f32(0), x);
}

/* The first n lanes; nothing behind them is touched, and they load as zero. */
INLINE vec vec_load_some(const float *x, size_t n)
{
    float some[VEC_LANES] = {0};
    memcpy(some, x, n * sizeof *x);
    return vld1q_f32(some);
}

INLINE void vec_store_some(float *x, vec v, size_t n)
{
    float some[VEC_LANES];
    vst1q_f32(some, v);
    memcpy(x, some, n * sizeof *x);
}

INLINE vec vec_choose_some(vec first, vec rest, size_t n)
{
    static const uint32_t lane[VEC_LANES] = {0, 1, 2, 3};
    return vbslq_f32(vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n)), first, rest);
}

/* --- conversions --- */

INLINE uint16x4_t vec_halves(const void *at)
{
    uint16_t h[4];
    memcpy(h, at, sizeof h);
    return vld1_u16(h);
}

INLINE vec vec_from_f16(const void *h)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vec_halves(h)));
}

INLINE void vec_to_f16(void *h, vec v)
{
    uint16_t out[4];
    vst1_u16(out, vreinterpret_u16_f16(vcvt_f16_f32(v)));
    memcpy(h, out, sizeof out);
}

INLINE vec vec_from_bf16(const void *h)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vec_halves(h), 16));
}

INLINE vec vec_from_i32(const int32_t *x)
{
    return vcvtq_f32_s32(vld1q_s32(x));
}

INLINE vec vec_from_i8(const int8_t *x)
{
    uint32_t four;
    memcpy(&four, x, sizeof four);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(four)))));
}

/* Half to even, for |x| <= 127; 32 floats. */
INLINE void vec_to_bytes(const vec x[VEC_REGS], int8_t *q)
{
    UNROLL for (size_t i = 0; i < 4; i++)
    {
        const int16x4_t a = vmovn_s32(vcvtnq_s32_f32(x[2 * i]));
        const int16x4_t b = vmovn_s32(vcvtnq_s32_f32(x[2 * i + 1]));
        vst1_s8(q + 8 * i, vmovn_s16(vcombine_s16(a, b)));
    }
}

INLINE float vec_f16_at(const uint8_t *at)
{
    uint16_t h;
    memcpy(&h, at, sizeof h);
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}

/* --- largest magnitude, as the bits of a float without its sign: a NaN or an infinity is the
 *     largest of all --- */

INLINE vec_bits vec_no_bits(void)
{
    return vdupq_n_s32(0);
}

INLINE vec_bits vec_max_bits(vec_bits max, vec x)
{
    return vmaxq_s32(max, vandq_s32(vreinterpretq_s32_f32(x), vdupq_n_s32(0x7fffffff)));
}

INLINE int32_t vec_largest_bits(vec_bits v)
{
    return vmaxvq_s32(v);
}

/* --- sums and the like --- */

/* The tree over 32 lanes. */
INLINE float vec_sum(const vec v[VEC_REGS])
{
    vec s[4];
    UNROLL for (size_t i = 0; i < 4; i++) s[i] = vaddq_f32(v[i], v[i + 4]);
    const vec four = vaddq_f32(vaddq_f32(s[0], s[2]), vaddq_f32(s[1], s[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* The trees of several keys, each times `scale`. */
INLINE void vec_sum_keys(vec acc[ATTENTION_KEYS][VEC_REGS], float scale, float *sums)
{
    UNROLL for (size_t k = 0; k < ATTENTION_KEYS; k++) sums[k] = vec_sum(acc[k]) * scale;
}

/* Rows become columns: by pairs, then halves of registers. */
INLINE void vec_transpose(vec v[VEC_LANES])
{
    const float32x4_t a0 = vtrn1q_f32(v[0], v[1]), a1 = vtrn2q_f32(v[0], v[1]);
    const float32x4_t b0 = vtrn1q_f32(v[2], v[3]), b1 = vtrn2q_f32(v[2], v[3]);
    v[0] = vcombine_f32(vget_low_f32(a0), vget_low_f32(b0));
    v[1] = vcombine_f32(vget_low_f32(a1), vget_low_f32(b1));
    v[2] = vcombine_f32(vget_high_f32(a0), vget_high_f32(b0));
    v[3] = vcombine_f32(vget_high_f32(a1), vget_high_f32(b1));
}

INLINE float vec_largest(vec v)
{
    return vmaxvq_f32(v);
}

/* Sum of squares in double: lane l takes elements l, l + 8, ..., then the tree. A register holds
 * half of the eight lanes' elements, so the halves take turns. */
struct vec_squares {
    float64x2_t lanes[2][2];
    size_t half;
};

INLINE struct vec_squares vec_no_squares(void)
{
    const float64x2_t zero = vdupq_n_f64(0);
    return (struct vec_squares){{{zero, zero}, {zero, zero}}, 0};
}

INLINE void vec_add_squares(struct vec_squares *s, vec x)
{
    float64x2_t *lanes = s->lanes[s->half];
    const float64x2_t a = vcvt_f64_f32(vget_low_f32(x)), b = vcvt_high_f64_f32(x);
    lanes[0] = vfmaq_f64(lanes[0], a, a);
    lanes[1] = vfmaq_f64(lanes[1], b, b);
    s->half ^= 1;
}

INLINE double vec_sum_squares(struct vec_squares s)
{
    const float64x2_t a = vaddq_f64(s.lanes[0][0], s.lanes[1][0]);
    const float64x2_t b = vaddq_f64(s.lanes[0][1], s.lanes[1][1]);
    const float64x2_t two = vaddq_f64(a, b);
    return vgetq_lane_f64(two, 0) + vgetq_lane_f64(two, 1);
}

/* --- pieces of the exponential --- */

/* p * 2^(n >> 1) * 2^(n - (n >> 1)), n an integer as a float. */
INLINE vec vec_scale(vec p, vec n)
{
    const int32x4_t k = vcvtq_s32_f32(n), half = vshrq_n_s32(k, 1), bias = vdupq_n_s32(127);
    const int32x4_t a = vshlq_n_s32(vaddq_s32(half, bias), 23);
    const int32x4_t b = vshlq_n_s32(vaddq_s32(vsubq_s32(k, half), bias), 23);
    return vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(a)), vreinterpretq_f32_s32(b));
}

/* x < low ? 0 : x > high ? infinity : p; p where x is NaN. */
INLINE vec vec_edges(vec x, float low, float high, vec p)
{
    p = vbslq_f32(vcltq_f32(x, vdupq_n_f32(low)), vdupq_n_f32(0), p);
    return vbslq_f32(vcgtq_f32(x, vdupq_n_f32(high)), vdupq_n_f32(__builtin_inff()), p);
}

/* --- rotation of neighbours: VEC_LANES / 2 pairs (a, b) in place --- */

INLINE vec vec_doubled(const float *x)
{
    const float32x2_t two = vld1_f32(x);
    return vcombine_f32(vdup_lane_f32(two, 0), vdup_lane_f32(two, 1));
}

INLINE vec vec_rotate_pairs(vec pairs, const float *cosines, const float *sines)
{
    static const uint32_t places[4] = {UINT32_MAX, 0, UINT32_MAX, 0};
    const uint32x4_t even = vld1q_u32(places);
    const vec a = vtrn1q_f32(pairs, pairs), b = vtrn2q_f32(pairs, pairs);
    const vec c = vec_doubled(cosines), s = vec_doubled(sines);
    const vec product = vmulq_f32(b, vbslq_f32(even, s, c));
    return vfmaq_f32(vbslq_f32(even, vnegq_f32(product), product), a, vbslq_f32(even, c, s));
}

INLINE void vec_prefetch(const void *at)
{
    __builtin_prefetch(at);
}

#endif
