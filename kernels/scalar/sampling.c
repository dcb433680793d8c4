/* What a sampler asks of all logits of a token, one after the other. */
#include "scalar.h"

#include <math.h>

#include "lanes.h"

bool bitnet_scalar_largest(const float *x, size_t n, size_t *at)
{
    bool finite = true;
    *at = 0;
    for (size_t i = 0; i < n; i++) {
        finite = finite && isfinite(x[i]);
        if (x[i] > x[*at]) *at = i;
    }
    return finite;
}

size_t bitnet_scalar_above(const float *x, size_t n, float floor, uint32_t *at)
{
    size_t n_above = 0;
    for (size_t i = 0; i < n; i++) {
        if (x[i] >= floor) at[n_above++] = (uint32_t)i;
    }
    return n_above;
}

float bitnet_scalar_sum_exp(const float *x, size_t n, float top)
{
    struct lanes l = {{0}};
    for (size_t i = 0; i < n; i++) l.acc[i % BITNET_LANES] += bitnet_expf(x[i] - top);
    return lanes_sum(l);
}
