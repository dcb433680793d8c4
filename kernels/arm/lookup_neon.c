/* The ternary product by table lookup (lookup_driver.h, lookup_triples.h) with NEON: TBL of one or
 * two registers, 16 rows at once. */
#include "../lookup.h"
#include "../unroll.h"

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define LK_NAME neon
enum { LK_ROWS = 16 };

typedef uint8x16_t lk_reg;

/* Sums of 16 bits: rows 0 .. 7 and 8 .. 15. */
typedef struct {
    int16x8_t low, high;
} lk_sums;

INLINE lk_sums lk_none(void)
{
    return (lk_sums){vdupq_n_s16(0), vdupq_n_s16(0)};
}
INLINE lk_reg lk_load(const uint8_t *at)
{
    return vld1q_u8(at);
}
INLINE lk_reg lk_table(const uint8_t *at)
{
    return vld1q_u8(at);
}
INLINE lk_reg lk_low(lk_reg codes)
{
    return vandq_u8(codes, vdupq_n_u8(15));
}
INLINE lk_reg lk_high(lk_reg codes)
{
    return vshrq_n_u8(codes, 4);
}
INLINE lk_reg lk_shuffle(lk_reg table, lk_reg codes)
{
    return vqtbl1q_u8(table, codes);
}
INLINE lk_sums lk_add(lk_sums s, lk_reg low, lk_reg high)
{
    s.low = vaddq_s16(s.low, vreinterpretq_s16_u8(vzip1q_u8(low, high)));
    s.high = vaddq_s16(s.high, vreinterpretq_s16_u8(vzip2q_u8(low, high)));
    return s;
}

INLINE void lk_flush(lk_sums s, int32_t *sums)
{
    const int16x8_t halves[2] = {s.low, s.high};
    for (size_t h = 0; h < 2; h++) {
        int32_t *at = sums + 8 * h;
        vst1q_s32(at, vaddw_s16(vld1q_s32(at), vget_low_s16(halves[h])));
        vst1q_s32(at + 4, vaddw_s16(vld1q_s32(at + 4), vget_high_s16(halves[h])));
    }
}

/* The fifth bit of triple k goes to place 4. */
#define LT_WIDE     1
#define LT_PLACE(k) (((k) + 4) % 8)
typedef uint8x16_t lt_bits;

INLINE lt_bits lt_bits_of(lk_reg bits)
{
    return bits;
}

INLINE uint8x16_t lt_move(uint8x16_t bits, size_t k)
{
    const int places = k < 4 ? -(int)k : 8 - (int)k;
    return vshlq_u8(bits, vdupq_n_s8((int8_t)places));
}

INLINE lk_sums lt_add(lk_sums s, uint8_t (*table)[32], lk_reg codes, lt_bits *bits, size_t k)
{
    const uint8x16_t at = vorrq_u8(codes, vandq_u8(lt_move(*bits, k), vdupq_n_u8(16)));
    return lk_add(s, vqtbl2q_u8(vld1q_u8_x2(table[0]), at), vqtbl2q_u8(vld1q_u8_x2(table[1]), at));
}

#include "../lookup_driver.h"
#include "../lookup_triples.h"
