/* Four rows of a block panel per register, with NEON, as block_driver.h wants them; bp_dot() is the
 * including file's. Products are signed, so Q8_0 levels are turned back into signed ones. */
#ifndef BITNET_KERNELS_BLOCKS_NEON_H
#define BITNET_KERNELS_BLOCKS_NEON_H

#include "../unroll.h"

#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { BP_LANES = 4, BP_STREAMS = 1, BP_TOKENS = 2 };
#define BP_SIGNED 1

typedef int32x4_t bp_int;
typedef float32x4_t bp_float;

INLINE int8x16_t bp_bytes(bp_int v)
{
    return vreinterpretq_s8_s32(v);
}
INLINE bp_int bp_of(uint8x16_t v)
{
    return vreinterpretq_s32_u8(v);
}

INLINE bp_int bp_load(const uint8_t *at)
{
    return bp_of(vld1q_u8(at));
}

INLINE bp_int bp_nibbles(bp_int v, bool high)
{
    const uint8x16_t bytes = vreinterpretq_u8_s32(v);
    return bp_of(high ? vshrq_n_u8(bytes, 4) : vandq_u8(bytes, vdupq_n_u8(15)));
}

/* Bits 2 j, 2 j + 1 of h in places 4 and 5. */
INLINE uint8x16_t bp_pair(uint8x16_t h, size_t j)
{
    switch (j) {
    case 0:
        return vshlq_n_u8(h, 4);
    case 1:
        return vshlq_n_u8(h, 2);
    case 2:
        return h;
    default:
        return vshrq_n_u8(h, 2);
    }
}

INLINE bp_int bp_six(bp_int v, bool high, bp_int h, size_t j)
{
    const uint8x16_t top = vandq_u8(bp_pair(vreinterpretq_u8_s32(h), j), vdupq_n_u8(0x30));
    return bp_of(vorrq_u8(vreinterpretq_u8_s32(bp_nibbles(v, high)), top));
}

/* A level of 8 bits without its offset. */
INLINE int8x16_t bp_level(bp_int code, bool wide)
{
    const int8x16_t bytes = bp_bytes(code);
    return wide ? veorq_s8(bytes, vdupq_n_s8(-128)) : bytes;
}

INLINE bp_int bp_zero(void)
{
    return vdupq_n_s32(0);
}
INLINE bp_int bp_all(const uint8_t *at)
{
    int32_t v;
    memcpy(&v, at, sizeof v);
    return vdupq_n_s32(v);
}
INLINE bp_int bp_sub(bp_int a, bp_int b)
{
    return vsubq_s32(a, b);
}
INLINE bp_int bp_shl(bp_int v, int n)
{
    return vshlq_s32(v, vdupq_n_s32(n));
}

INLINE bp_float bp_term(bp_int high, bp_int middle, bp_int low)
{
    const int32x4_t rest = vaddq_s32(vshlq_n_s32(middle, 8), low);
    return vfmaq_f32(vcvtq_f32_s32(rest), vcvtq_f32_s32(high), vdupq_n_f32(65536.0f));
}
INLINE bp_float bp_fma(bp_float a, bp_float b, bp_float c)
{
    return vfmaq_f32(c, a, b);
}
INLINE bp_float bp_mul(bp_float a, bp_float b)
{
    return vmulq_f32(a, b);
}
INLINE bp_float bp_set_zero(void)
{
    return vdupq_n_f32(0);
}
INLINE bp_float bp_load_floats(const uint8_t *at)
{
    return vld1q_f32((const float *)(const void *)at);
}
INLINE void bp_store_floats(float *to, bp_float v)
{
    vst1q_f32(to, v);
}
INLINE bp_float bp_i8_floats(const uint8_t *at)
{
    int8_t four[8] = {0};
    memcpy(four, at, 4);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(four)))));
}
INLINE bp_float bp_f16_floats(const uint8_t *at)
{
    uint16_t four[4];
    memcpy(four, at, sizeof four);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(four)));
}

#endif
