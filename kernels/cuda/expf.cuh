/* bitnet_expf() on a device: the operations of scalar/expf.c. */
#ifndef BITNET_CUDA_EXPF_CUH
#define BITNET_CUDA_EXPF_CUH

#include "../expf.h"
#include "portable.cuh"

static __device__ __forceinline__ float device_expf(float x)
{
    if (x < BITNET_EXP_MIN) return 0;
    if (x > BITNET_EXP_MAX) return __uint_as_float(0x7f800000u);
    if (x != x) return x;
    const float n = __fadd_rn(fmaf(x, BITNET_EXP_LOG2E, BITNET_EXP_SHIFT), -BITNET_EXP_SHIFT);
    float r = fmaf(n, -BITNET_EXP_LN2_HIGH, x);
    r = fmaf(n, -BITNET_EXP_LN2_LOW, r);
    float p = BITNET_EXP_C7;
    p = fmaf(p, r, BITNET_EXP_C6);
    p = fmaf(p, r, BITNET_EXP_C5);
    p = fmaf(p, r, BITNET_EXP_C4);
    p = fmaf(p, r, BITNET_EXP_C3);
    p = fmaf(p, r, BITNET_EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    const int k = (int)n, half = k >> 1;
    return __fmul_rn(__fmul_rn(p, __uint_as_float((unsigned)(half + 127) << 23)),
                     __uint_as_float((unsigned)(k - half + 127) << 23));
}

#endif
