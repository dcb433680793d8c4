/* The order of float sums (see <bitnet/kernels.h>): 32 lanes that take every 32nd product by fused
 * multiply-add, then a tree. */
#ifndef BITNET_KERNELS_LANES_H
#define BITNET_KERNELS_LANES_H

#include <bitnet/kernels.h>

#include <math.h>

struct lanes {
    float acc[BITNET_LANES];
};

/* Adds a[i] * b[i]; n is a multiple of 32 but for the last call. */
static inline void lanes_add(struct lanes *l, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        l->acc[i % BITNET_LANES] = fmaf(a[i], b[i], l->acc[i % BITNET_LANES]);
    }
}

static inline float lanes_sum(struct lanes l)
{
    for (size_t step = BITNET_LANES / 2; step; step /= 2) {
        for (size_t i = 0; i < step; i++) l.acc[i] += l.acc[i + step];
    }
    return l.acc[0];
}

#endif
