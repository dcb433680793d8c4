/* Rotary position embedding with AVX2, both pairings.
 *
 *   a' = fma(a, c, -(b * s)),  b' = fma(a, s, b * c)
 *
 * Halves: a and b are eight neighbours each. Pairs: with a and b doubled into both places of their
 * pair, the even places compute a' and the odd ones b'. */
#include "avx2.h"

#include <math.h>

/* The pairs that do not fill a register. */
static void rotate_pair(float *a, float *b, float c, float s)
{
    const float turned_a = fmaf(*a, c, -(*b * s)), turned_b = fmaf(*a, s, *b * c);
    *a = turned_a;
    *b = turned_b;
}

static void rotate_halves(float *v, size_t half, const float *cosines, const float *sines)
{
    size_t i = 0;
    for (; i + 8 <= half; i += 8) {
        const __m256 a = _mm256_loadu_ps(v + i), b = _mm256_loadu_ps(v + half + i);
        const __m256 c = _mm256_loadu_ps(cosines + i), s = _mm256_loadu_ps(sines + i);
        /* fmsub(a, c, b*s) rounds a*c - b*s once, exactly as fma(a, c, -(b*s)) does */
        _mm256_storeu_ps(v + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(v + half + i, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
    }
    for (; i < half; i++) rotate_pair(v + i, v + half + i, cosines[i], sines[i]);
}

/* Four numbers, each twice. */
static __m256 doubled(const float *x)
{
    const __m256 four = _mm256_castps128_ps256(_mm_loadu_ps(x));
    return _mm256_permutevar8x32_ps(four, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

static void rotate_neighbours(float *v, size_t half, const float *cosines, const float *sines)
{
    size_t i = 0;
    for (; i + 4 <= half; i += 4) {
        const __m256 pairs = _mm256_loadu_ps(v + 2 * i);
        const __m256 a = _mm256_moveldup_ps(pairs), b = _mm256_movehdup_ps(pairs);
        const __m256 c = doubled(cosines + i), s = doubled(sines + i);
        const __m256 first = _mm256_blend_ps(c, s, 0xaa), second = _mm256_blend_ps(s, c, 0xaa);
        /* subtracts in even places, adds in odd ones */
        _mm256_storeu_ps(v + 2 * i, _mm256_fmaddsub_ps(a, first, _mm256_mul_ps(b, second)));
    }
    for (; i < half; i++) rotate_pair(v + 2 * i, v + 2 * i + 1, cosines[i], sines[i]);
}

void bitnet_avx2_rope(float *v, size_t n_heads, size_t head_dim, size_t n_rot, const float *cosines,
                      const float *sines, bool halves)
{
    for (size_t h = 0; h < n_heads; h++) {
        if (halves) {
            rotate_halves(v + h * head_dim, n_rot / 2, cosines, sines);
        } else {
            rotate_neighbours(v + h * head_dim, n_rot / 2, cosines, sines);
        }
    }
}
