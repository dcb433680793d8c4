/* The scale search that Q6_K and (with an importance) Q4_0 share, and the rounding that all
 * searching quantizers use. Bytes are reproducible because every operation here is one float32
 * operation in a fixed order, without fused multiply-add (formats.md 5.4 and 5.9). */
#ifndef BITNET_QUANT_SEARCH_H
#define BITNET_QUANT_SEARCH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Half to even by adding 1.5 * 2^23, for |x| < 2^22. */
static inline int nearest_even(float x)
{
    const float shifted = x + 12582912.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (int)(bits & 0x007fffffu) - 0x00400000;
}

static inline int clamp_int(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

/* Levels 0 .. 2*n_max-1 of x[n] (n <= 32) such that scale * (level - n_max) is near x in the
 * weighted sense; `weight` NULL stands for x^2. Returns the scale; 0 with all levels 0 when x is
 * tiny. */
float bitnet_search_scale(const float *x, size_t n, int n_max, const float *weight,
                          uint8_t *levels);

#endif
