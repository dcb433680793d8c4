/* Everything that happens to activations element by element: quantization to int8 and back, the
 * gates, the residual sum, the narrowing for the cache. Source of the quantization: formats.md
 * 2.4. */
#include "scalar.h"

#include <math.h>
#include <string.h>

float bitnet_scalar_quantize_row_i8(const float *x, size_t n, int8_t *q)
{
    float amax = 0;
    bool finite = true;
    for (size_t c = 0; c < n; c++) {
        if (!isfinite(x[c])) finite = false;
        if (fabsf(x[c]) > amax) amax = fabsf(x[c]);
    }
    memset(q, 0, (n + 127) / 128 * 128);
    if (!finite) return NAN;
    const float s = (float)(127.0 / fmax((double)amax, 1e-5));
    for (size_t c = 0; c < n; c++) q[c] = (int8_t)nearbyintf(x[c] * s);
    return s;
}

void bitnet_scalar_rescale(const int32_t *sum, size_t n, float s, float w_scale, float *y)
{
    for (size_t r = 0; r < n; r++) y[r] = (float)sum[r] / s * w_scale;
}

void bitnet_scalar_gate_silu(float *gate, const float *up, size_t n)
{
    for (size_t c = 0; c < n; c++) gate[c] = gate[c] / (1.0f + bitnet_expf(-gate[c])) * up[c];
}

/* `< 0 ? 0` and not `> 0 ?`: a NaN must pass. */
void bitnet_scalar_gate_relu2(float *gate, const float *up, size_t n)
{
    for (size_t c = 0; c < n; c++) {
        const float r = gate[c] < 0 ? 0 : gate[c];
        gate[c] = r * r * up[c];
    }
}

void bitnet_scalar_gate_gelu(float *gate, const float *up, size_t n)
{
    for (size_t c = 0; c < n; c++) {
        const float x = gate[c];
        const float t = (BITNET_GELU_X3 * (x * x) + BITNET_GELU_X) * x;
        gate[c] = x / (1.0f + bitnet_expf(-t)) * up[c];
    }
}

void bitnet_scalar_add(float *y, const float *x, size_t n)
{
    for (size_t c = 0; c < n; c++) y[c] += x[c];
}

void bitnet_scalar_to_f16(const float *x, size_t n, uint16_t *h)
{
    for (size_t c = 0; c < n; c++) h[c] = bitnet_f32_to_f16(x[c]);
}
