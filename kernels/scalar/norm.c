/* RMS norm: y = x / sqrt(mean(x^2) + eps) * w, the mean in double over eight lanes. A product of
 * two floats is exact in double, so it does not matter whether the sum is fused. */
#include "scalar.h"

#include <math.h>

static double sum_of_squares(const float *x, size_t n)
{
    double acc[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (size_t c = 0; c < n; c++) acc[c % 8] += (double)x[c] * (double)x[c];
    for (size_t step = 4; step; step /= 2) {
        for (size_t l = 0; l < step; l++) acc[l] += acc[l + step];
    }
    return acc[0];
}

void bitnet_scalar_rms_norm(const float *x, const float *w, size_t n, float eps, float *y)
{
    const float mean = (float)(sum_of_squares(x, n) / (double)n);
    const float inverse = 1.0f / sqrtf(mean + eps);
    for (size_t c = 0; c < n; c++) y[c] = x[c] * inverse * w[c];
}
