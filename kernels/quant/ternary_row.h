/* How IQ2_BN and IQ2_BN_R4 make trits of a row of floats: the largest magnitude is the scale, and
 * a weight below half of it is 0 (formats.md 5.7). */
#ifndef BITNET_QUANT_TERNARY_ROW_H
#define BITNET_QUANT_TERNARY_ROW_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

static inline float row_scale(const float *x, size_t n)
{
    float amax = 0;
    for (size_t i = 0; i < n; i++) amax = fmaxf(amax, fabsf(x[i]));
    return amax;
}

static inline int8_t row_trit(float x, float scale)
{
    return fabsf(x) < 0.5f * scale ? 0 : x < 0 ? -1 : 1;
}

#endif
