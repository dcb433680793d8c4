/* Activations with AVX2: quantization to int8 and back, RMS norm, gates, residual sum, narrowing.
 * Each is bit-equal to its scalar twin: the operations per element are the same, and the sums have
 * the lanes that <bitnet/kernels.h> fixes. Tails run the same code under a mask. */
#include "avx2.h"

#include <float.h>
#include <math.h>
#include <string.h>

static __m256 load_some(const float *x, size_t n)
{
    return _mm256_maskload_ps(x, avx2_mask(n));
}

/* --- quantization --- */

static __m256 magnitude(__m256 v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

static float largest_lane(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* max |x|; false when an element is not finite. */
static bool largest_magnitude(const float *x, size_t n, float *amax)
{
    __m256 max = _mm256_setzero_ps(), finite = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    for (size_t i = 0; i < n; i += 8) {
        const __m256 v = magnitude(n - i >= 8 ? _mm256_loadu_ps(x + i) : load_some(x + i, n - i));
        finite = _mm256_and_ps(finite, _mm256_cmp_ps(v, _mm256_set1_ps(FLT_MAX), _CMP_LE_OQ));
        max = _mm256_max_ps(max, v);
    }
    *amax = largest_lane(max);
    return _mm256_movemask_ps(finite) == 0xff;
}

/* VCVTPS2DQ rounds half to even, and |x * s| never rounds beyond 127. */
static __m256i levels_of(const float *x, size_t n, __m256 s)
{
    if (n == 0) return _mm256_setzero_si256();
    return _mm256_cvtps_epi32(_mm256_mul_ps(n >= 8 ? _mm256_loadu_ps(x) : load_some(x, n), s));
}

static size_t left_at(size_t n, size_t i)
{
    return n > i ? n - i : 0;
}

/* Packing works in 128-bit halves, so the dwords come out as 0 4 1 5 2 6 3 7. */
static void quantize_32(const float *x, size_t n, __m256 s, int8_t *q)
{
    const __m256i a = levels_of(x, n, s), b = levels_of(x + 8, left_at(n, 8), s);
    const __m256i c = levels_of(x + 16, left_at(n, 16), s),
                  d = levels_of(x + 24, left_at(n, 24), s);
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i *)q, _mm256_permutevar8x32_epi32(bytes, order));
}

float bitnet_avx2_quantize_row_i8(const float *x, size_t n, int8_t *q)
{
    const size_t padded = (n + 127) / 128 * 128;
    float amax;
    if (!largest_magnitude(x, n, &amax)) {
        memset(q, 0, padded);
        return NAN;
    }
    const float s = (float)(127.0 / fmax((double)amax, 1e-5));
    for (size_t i = 0; i < padded; i += 32) {
        quantize_32(i < n ? x + i : x, left_at(n, i), _mm256_set1_ps(s), q + i);
    }
    return s;
}

static __m256 rescale_8(__m256i sum, __m256 s, __m256 scale)
{
    return _mm256_mul_ps(_mm256_div_ps(_mm256_cvtepi32_ps(sum), s), scale);
}

void bitnet_avx2_rescale(const int32_t *sum, size_t n, float s, float w_scale, float *y)
{
    const __m256 vs = _mm256_set1_ps(s), scale = _mm256_set1_ps(w_scale);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(sum + i));
        _mm256_storeu_ps(y + i, rescale_8(v, vs, scale));
    }
    if (i == n) return;
    const __m256i mask = avx2_mask(n - i);
    _mm256_maskstore_ps(y + i, mask, rescale_8(_mm256_maskload_epi32(sum + i, mask), vs, scale));
}

/* --- norm --- */

static double sum_of_squares(const float *x, size_t n)
{
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd(); /* lanes 0 .. 3, 4 .. 7 */
    for (size_t i = 0; i < n; i += 8) {
        const __m256 v = n - i >= 8 ? _mm256_loadu_ps(x + i) : load_some(x + i, n - i);
        const __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
        const __m256d b = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
        low = _mm256_fmadd_pd(a, a, low);
        high = _mm256_fmadd_pd(b, b, high);
    }
    const __m256d four = _mm256_add_pd(low, high);
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

void bitnet_avx2_rms_norm(const float *x, const float *w, size_t n, float eps, float *y)
{
    const float mean = (float)(sum_of_squares(x, n) / (double)n);
    const __m256 inverse = _mm256_set1_ps(1.0f / sqrtf(mean + eps));
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), inverse);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(v, _mm256_loadu_ps(w + i)));
    }
    if (i == n) return;
    const __m256 v = _mm256_mul_ps(load_some(x + i, n - i), inverse);
    _mm256_maskstore_ps(y + i, avx2_mask(n - i), _mm256_mul_ps(v, load_some(w + i, n - i)));
}

/* --- gates and sums --- */

static __m256 silu_8(__m256 gate, __m256 up)
{
    const __m256 minus = _mm256_xor_ps(gate, _mm256_set1_ps(-0.0f));
    const __m256 below = _mm256_add_ps(_mm256_set1_ps(1.0f), avx2_expf(minus));
    return _mm256_mul_ps(_mm256_div_ps(gate, below), up);
}

/* MAXPS returns its second operand when one is NaN, so a NaN passes. */
static __m256 relu2_8(__m256 gate, __m256 up)
{
    const __m256 r = _mm256_max_ps(_mm256_setzero_ps(), gate);
    return _mm256_mul_ps(_mm256_mul_ps(r, r), up);
}

static __m256 add_8(__m256 y, __m256 x)
{
    return _mm256_add_ps(y, x);
}

/* y[i] = f(y[i], x[i]) */
static inline __attribute__((always_inline)) void for_pairs(float *y, const float *x, size_t n,
                                                            __m256 (*f)(__m256, __m256))
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, f(_mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    }
    if (i == n) return;
    const __m256 last = f(load_some(y + i, n - i), load_some(x + i, n - i));
    _mm256_maskstore_ps(y + i, avx2_mask(n - i), last);
}

void bitnet_avx2_gate_silu(float *gate, const float *up, size_t n)
{
    for_pairs(gate, up, n, silu_8);
}

void bitnet_avx2_gate_relu2(float *gate, const float *up, size_t n)
{
    for_pairs(gate, up, n, relu2_8);
}

void bitnet_avx2_add(float *y, const float *x, size_t n)
{
    for_pairs(y, x, n, add_8);
}

void bitnet_avx2_to_f16(const float *x, size_t n, uint16_t *h)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m128i v = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)(h + i), v);
    }
    if (i == n) return;
    uint16_t last[8];
    _mm_storeu_si128((__m128i *)last,
                     _mm256_cvtps_ph(load_some(x + i, n - i), _MM_FROUND_TO_NEAREST_INT));
    memcpy(h + i, last, (n - i) * sizeof *h);
}
