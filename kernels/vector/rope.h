/* Template: rotary position embedding in lanes, both pairings.
 *
 *   a' = fma(a, c, -(b * s)),  b' = fma(a, s, b * c)
 *
 * Included once by the float file of each set, after its vec and with NAME(slot) defined. */
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
    for (; i + VEC_LANES <= half; i += VEC_LANES) {
        const vec a = vec_load(v + i), b = vec_load(v + half + i);
        const vec c = vec_load(cosines + i), s = vec_load(sines + i);
        vec_store(v + i, vec_fma(a, c, vec_neg(vec_mul(b, s))));
        vec_store(v + half + i, vec_fma(a, s, vec_mul(b, c)));
    }
    for (; i < half; i++) rotate_pair(v + i, v + half + i, cosines[i], sines[i]);
}

static void rotate_neighbours(float *v, size_t half, const float *cosines, const float *sines)
{
    size_t i = 0;
    for (; i + VEC_LANES / 2 <= half; i += VEC_LANES / 2) {
        vec_store(v + 2 * i, vec_rotate_pairs(vec_load(v + 2 * i), cosines + i, sines + i));
    }
    for (; i < half; i++) rotate_pair(v + 2 * i, v + 2 * i + 1, cosines[i], sines[i]);
}

void NAME(rope)(float *v, size_t n_heads, size_t head_dim, size_t n_rot, const float *cosines,
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
