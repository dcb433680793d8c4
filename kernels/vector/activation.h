/* Template: activations in lanes. Included once by the float file of each set, after its vec and
 * with NAME(slot) defined. Per element the operations are those of scalar/activation.c and
 * scalar/norm.c, and the sums have the lanes that <bitnet/kernels.h> fixes, so all sets agree bit
 * by bit. Tails load and store only what exists. */
#include <math.h>
#include <string.h>

/* --- quantization --- */

/* max |x|, or NaN or infinity when an element is one. */
static float largest_magnitude(const float *x, size_t n)
{
    vec_bits max = vec_no_bits();
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) max = vec_max_bits(max, vec_load(x + i));
    if (i < n) max = vec_max_bits(max, vec_load_some(x + i, n - i));
    const int32_t bits = vec_largest_bits(max);
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    return amax;
}

/* |x * s| never rounds beyond 127, so no level needs clamping. */
static void quantize_32(const float *x, vec s, int8_t *q)
{
    vec v[VEC_REGS];
    UNROLL for (size_t i = 0; i < VEC_REGS; i++) v[i] = vec_mul(vec_load(x + VEC_LANES * i), s);
    vec_to_bytes(v, q);
}

float NAME(quantize_row_i8)(const float *x, size_t n, int8_t *q)
{
    const size_t padded = (n + 127) / 128 * 128;
    const float amax = largest_magnitude(x, n);
    if (!isfinite(amax)) {
        memset(q, 0, padded);
        return NAN;
    }
    const float s = (float)(127.0 / fmax((double)amax, 1e-5));
    size_t i = 0;
    for (; i + 32 <= n; i += 32) quantize_32(x + i, vec_set(s), q + i);
    memset(q + i, 0, padded - i);
    if (i < n) {
        float last[32] = {0};
        memcpy(last, x + i, (n - i) * sizeof *x);
        quantize_32(last, vec_set(s), q + i);
    }
    return s;
}

/* x / s without a division. The product with the reciprocal is two units in the last place away at
 * most; the remainder, which a fused multiply-add gives exactly, takes that to one, and from one to
 * the rounded quotient (Markstein 1990). Nothing overflows or vanishes for int32 x and these s. */
static bool has_reciprocal(float s)
{
    return VEC_FAST_FMA && s >= 0x1p-60f && s <= 0x1p60f;
}

INLINE vec quotient(vec x, vec s, vec reciprocal)
{
    vec q = vec_mul(x, reciprocal);
    UNROLL for (size_t i = 0; i < 2; i++) q = vec_fma(vec_fma(vec_neg(q), s, x), reciprocal, q);
    return q;
}

void NAME(rescale)(const int32_t *sum, size_t n, float s, float w_scale, float *y)
{
    const vec divisor = vec_set(s), reciprocal = vec_set(1.0f / s), scale = vec_set(w_scale);
    size_t i = 0;
    for (; has_reciprocal(s) && i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(y + i, vec_mul(quotient(vec_from_i32(sum + i), divisor, reciprocal), scale));
    }
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(y + i, vec_mul(vec_div(vec_from_i32(sum + i), divisor), scale));
    }
    for (; i < n; i++) y[i] = (float)sum[i] / s * w_scale;
}

/* --- norm --- */

void NAME(rms_norm)(const float *x, const float *w, size_t n, float eps, float *y)
{
    struct vec_squares squares = vec_no_squares();
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) vec_add_squares(&squares, vec_load(x + i));
    if (i < n) vec_add_squares(&squares, vec_load_some(x + i, n - i));
    const float mean = (float)(vec_sum_squares(squares) / (double)n);
    const float inverse = 1.0f / sqrtf(mean + eps);
    for (i = 0; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(y + i, vec_mul(vec_mul(vec_load(x + i), vec_set(inverse)), vec_load(w + i)));
    }
    for (; i < n; i++) y[i] = x[i] * inverse * w[i];
}

/* --- gates and sums --- */

INLINE vec silu(vec gate, vec up)
{
    const vec below = vec_add(vec_set(1.0f), vec_expf(vec_neg(gate)));
    return vec_mul(vec_div(gate, below), up);
}

INLINE vec relu2(vec gate, vec up)
{
    const vec r = vec_relu(gate);
    return vec_mul(vec_mul(r, r), up);
}

INLINE vec gelu(vec gate, vec up)
{
    const vec cubic = vec_mul(vec_set(BITNET_GELU_X3), vec_mul(gate, gate));
    const vec t = vec_mul(vec_add(cubic, vec_set(BITNET_GELU_X)), gate);
    const vec below = vec_add(vec_set(1.0f), vec_expf(vec_neg(t)));
    return vec_mul(vec_div(gate, below), up);
}

/* y[i] = f(y[i], x[i]) */
INLINE void for_pairs(float *y, const float *x, size_t n, vec (*f)(vec, vec))
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(y + i, f(vec_load(y + i), vec_load(x + i)));
    }
    if (i == n) return;
    vec_store_some(y + i, f(vec_load_some(y + i, n - i), vec_load_some(x + i, n - i)), n - i);
}

void NAME(gate_silu)(float *gate, const float *up, size_t n)
{
    for_pairs(gate, up, n, silu);
}

void NAME(gate_relu2)(float *gate, const float *up, size_t n)
{
    for_pairs(gate, up, n, relu2);
}

void NAME(gate_gelu)(float *gate, const float *up, size_t n)
{
    for_pairs(gate, up, n, gelu);
}

void NAME(add)(float *y, const float *x, size_t n)
{
    for_pairs(y, x, n, vec_add);
}

void NAME(to_f16)(const float *x, size_t n, uint16_t *h)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) vec_to_f16(h + i, vec_load(x + i));
    if (i == n) return;
    uint16_t last[VEC_LANES];
    vec_to_f16(last, vec_load_some(x + i, n - i));
    memcpy(h + i, last, (n - i) * sizeof *h);
}
