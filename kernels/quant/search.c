/* The scale search: 19 candidate scales around max / n_max, each judged by how much of the weighted
 * energy of x its levels explain. Formula: for levels l and weights w the best scale is
 * sum(w x l) / sum(w l l), and it explains sum(w x l)^2 / sum(w l l). Source: formats.md 5.4. */
#include "search.h"

#include <assert.h>
#include <math.h>

struct fit {
    float xl, ll; /* sum of w x l and of w l l */
};

static struct fit fit_levels(const float *x, size_t n, int n_max, const float *weight,
                             float inverse_scale, uint8_t *levels)
{
    struct fit f = {0, 0};
    for (size_t i = 0; i < n; i++) {
        const int l = clamp_int(nearest_even(inverse_scale * x[i]), -n_max, n_max - 1);
        const float w = weight ? weight[i] : x[i] * x[i];
        levels[i] = (uint8_t)(l + n_max);
        f.xl += w * x[i] * (float)l;
        f.ll += w * (float)l * (float)l;
    }
    return f;
}

static float largest(const float *x, size_t n)
{
    float max = 0, amax = 0;
    for (size_t i = 0; i < n; i++) {
        if (fabsf(x[i]) > amax) {
            amax = fabsf(x[i]);
            max = x[i];
        }
    }
    return max;
}

float bitnet_search_scale(const float *x, size_t n, int n_max, const float *weight, uint8_t *levels)
{
    assert(n <= 32);
    const float max = largest(x, n);
    if (fabsf(max) < 1e-15f) {
        memset(levels, 0, n);
        return 0;
    }
    struct fit f = fit_levels(x, n, n_max, weight, (float)-n_max / max, levels);
    float scale = f.ll != 0 ? f.xl / f.ll : 0.0f, best = scale * f.xl;
    for (int is = -9; is <= 9; is++) {
        if (is == 0) continue;
        uint8_t tried[32];
        f = fit_levels(x, n, n_max, weight, -((float)n_max + 0.1f * (float)is) / max, tried);
        if (f.ll > 0 && f.xl * f.xl > best * f.ll) {
            memcpy(levels, tried, n);
            scale = f.xl / f.ll;
            best = scale * f.xl;
        }
    }
    return scale;
}
