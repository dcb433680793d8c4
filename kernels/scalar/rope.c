/* Rotary position embedding: each pair (a, b) of a head turns by the angle whose cosine and sine
 * the caller tabulated: a' = a cos - b sin, b' = a sin + b cos. */
#include "scalar.h"

#include <math.h>

void bitnet_scalar_rope(float *v, size_t n_heads, size_t head_dim, size_t n_rot,
                        const float *cosines, const float *sines, bool halves)
{
    for (size_t h = 0; h < n_heads; h++) {
        for (size_t i = 0; i < n_rot / 2; i++) {
            float *a = v + h * head_dim + (halves ? i : 2 * i);
            float *b = halves ? a + n_rot / 2 : a + 1;
            const float turned_a = fmaf(*a, cosines[i], -(*b * sines[i]));
            const float turned_b = fmaf(*a, sines[i], *b * cosines[i]);
            *a = turned_a;
            *b = turned_b;
        }
    }
}
