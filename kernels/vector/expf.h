/* Template: bitnet_expf() in the lanes of a vec, by the same operations in the same order. */
#include "../expf.h"

static inline vec vec_expf(vec x)
{
    const vec shift = vec_set(BITNET_EXP_SHIFT), one = vec_set(1.0f);
    const vec n = vec_sub(vec_fma(x, vec_set(BITNET_EXP_LOG2E), shift), shift);
    vec r = vec_fma(n, vec_set(-BITNET_EXP_LN2_HIGH), x);
    r = vec_fma(n, vec_set(-BITNET_EXP_LN2_LOW), r);
    vec p = vec_set(BITNET_EXP_C7);
    p = vec_fma(p, r, vec_set(BITNET_EXP_C6));
    p = vec_fma(p, r, vec_set(BITNET_EXP_C5));
    p = vec_fma(p, r, vec_set(BITNET_EXP_C4));
    p = vec_fma(p, r, vec_set(BITNET_EXP_C3));
    p = vec_fma(p, r, vec_set(BITNET_EXP_C2));
    p = vec_fma(p, r, one);
    p = vec_fma(p, r, one);
    return vec_edges(x, BITNET_EXP_MIN, BITNET_EXP_MAX, vec_scale(p, n));
}
