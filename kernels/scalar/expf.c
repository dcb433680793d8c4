/* e^x with the same operations in every set.
 *
 *   n = x / ln 2 to the nearest integer, by adding 1.5 * 2^23;  r = x - n ln 2, ln 2 in two parts
 *   e^x = 2^n (1 + r + r^2/2! + ... + r^7/7!)
 *
 * |r| <= 0.347, so the first term left out is below 5.3e-9 of the result, a tenth of an ulp. 2^n is
 * applied in two halves, because 2^128 is no float. Tested against double: at most 2 ulp. */
#include "../expf.h"

#include <bitnet/kernels.h>

#include <math.h>
#include <string.h>

static float power_of_two(int32_t n)
{
    const uint32_t bits = (uint32_t)(n + 127) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

float bitnet_expf(float x)
{
    if (x < BITNET_EXP_MIN) return 0;
    if (x > BITNET_EXP_MAX) return INFINITY;
    if (isnan(x)) return x;
    const float shifted = fmaf(x, BITNET_EXP_LOG2E, BITNET_EXP_SHIFT);
    const float n = shifted - BITNET_EXP_SHIFT;
    float r = fmaf(n, -BITNET_EXP_LN2_HIGH, x);
    r = fmaf(n, -BITNET_EXP_LN2_LOW, r);
    float p = BITNET_EXP_C7;
    p = fmaf(p, r, BITNET_EXP_C6);
    p = fmaf(p, r, BITNET_EXP_C5);
    p = fmaf(p, r, BITNET_EXP_C4);
    p = fmaf(p, r, BITNET_EXP_C3);
    p = fmaf(p, r, BITNET_EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    const int32_t k = (int32_t)n;
    return p * power_of_two(k >> 1) * power_of_two(k - (k >> 1));
}
