/* Template: what a sampler asks of all logits of a token, in lanes. Most logits are far below those
 * that matter, so they are looked at 32 at a time and passed over together. Included once by the
 * float file of each set, after its vec and with NAME(slot) defined. */
#include <math.h>
#include <string.h>

enum { RUN = 512 /* a multiple of every register */ };

static float largest_of_run(const float *x, size_t n, vec_bits *bits)
{
    vec max = vec_set(-INFINITY);
    for (size_t i = 0; i < n; i += VEC_LANES) {
        const vec v = vec_load(x + i);
        *bits = vec_max_bits(*bits, v);
        max = vec_max(v, max);
    }
    return vec_largest(max);
}

/* The first run that has the largest is remembered, and looked through in the end. */
bool NAME(largest)(const float *x, size_t n, size_t *at)
{
    vec_bits bits = vec_no_bits();
    float best = -INFINITY;
    size_t run = 0, i = 0;
    bool finite = true;
    for (; i + RUN <= n; i += RUN) {
        const float in_run = largest_of_run(x + i, RUN, &bits);
        if (in_run > best) {
            best = in_run;
            run = i;
        }
    }
    for (; i < n; i++) {
        finite = finite && isfinite(x[i]);
        if (x[i] > best) {
            best = x[i];
            run = i;
        }
    }
    *at = run;
    while (*at + 1 < n && x[*at] != best) (*at)++;
    return finite && vec_largest_bits(bits) < 0x7f800000;
}

static size_t above_in(const float *x, size_t begin, size_t end, float floor, uint32_t *at,
                       size_t n)
{
    for (size_t i = begin; i < end; i++) {
        at[n] = (uint32_t)i; /* n <= i; the next one takes its place if this is below */
        n += x[i] >= floor;
    }
    return n;
}

size_t NAME(above)(const float *x, size_t n, float floor, uint32_t *at)
{
    size_t n_above = 0, i = 0;
    for (; i + BITNET_LANES <= n; i += BITNET_LANES) {
        vec max = vec_load(x + i);
        UNROLL for (size_t k = 1; k < VEC_REGS; k++)
        {
            max = vec_max(vec_load(x + i + VEC_LANES * k), max);
        }
        if (vec_largest(max) >= floor) {
            n_above = above_in(x, i, i + BITNET_LANES, floor, at, n_above);
        }
    }
    return above_in(x, i, n, floor, at, n_above);
}

float NAME(sum_exp)(const float *x, size_t n, float top)
{
    vec acc[VEC_REGS];
    size_t i = 0;
    UNROLL for (size_t k = 0; k < VEC_REGS; k++) acc[k] = vec_zero();
    for (; i + BITNET_LANES <= n; i += BITNET_LANES) {
        UNROLL for (size_t k = 0; k < VEC_REGS; k++)
        {
            const vec v = vec_load(x + i + VEC_LANES * k);
            acc[k] = vec_add(acc[k], vec_expf(vec_sub(v, vec_set(top))));
        }
    }
    if (i < n) { /* e^-infinity is 0, and a sum of what is not negative keeps its bits */
        float last[BITNET_LANES];
        for (size_t k = 0; k < BITNET_LANES; k++) last[k] = i + k < n ? x[i + k] : -INFINITY;
        UNROLL for (size_t k = 0; k < VEC_REGS; k++)
        {
            const vec v = vec_load(last + VEC_LANES * k);
            acc[k] = vec_add(acc[k], vec_expf(vec_sub(v, vec_set(top))));
        }
    }
    return vec_sum(acc);
}
