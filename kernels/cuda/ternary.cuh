/* What the kernels of ternary products share: matrices and tokens of a launch, the operand
 * registers, and the last step of every sum. */
#ifndef BITNET_CUDA_TERNARY_CUH
#define BITNET_CUDA_TERNARY_CUH

#include "device.cuh"

/* Several matrices as one: tiles numbered through. */
struct products {
    struct bitnet_cuda_product at[BITNET_CUDA_PRODUCTS];
    unsigned first_tile[BITNET_CUDA_PRODUCTS + 1];
    unsigned n;
};

struct input {
    const uint32_t *words;
    const float *scales;
    const int32_t *sums;
    size_t n, stride; /* tokens; words per token */
    unsigned groups;
};

static __device__ __forceinline__ unsigned product_of(const struct products &p, unsigned tile)
{
    unsigned i = 0;
    while (i + 1 < p.n && tile >= p.first_tile[i + 1]) i++;
    return i;
}

/* One result: the codes' excess taken away, then the rescale of <bitnet/kernels.h>. */
static __device__ __forceinline__ void put(const struct bitnet_cuda_product &p,
                                           const struct input &x, size_t row, size_t token, int sum)
{
    if (row >= p.rows || token >= x.n) return;
    const float scale = p.row_scales ? p.row_scales[row] : p.scale;
    const float quotient = __fdiv_rn(__int2float_rn(sum - x.sums[token]), x.scales[token]);
    p.y[token * p.y_stride + row] = __fmul_rn(quotient, scale);
}

/* The operand registers of a step: one plane each. */
static __device__ __forceinline__ void operand(uint32_t a[4], uint32_t w)
{
    a[0] = w & 0x03030303u;
    a[1] = w >> 2 & 0x03030303u;
    a[2] = w >> 4 & 0x03030303u;
    a[3] = w >> 6 & 0x03030303u;
}

/* Whether Hopper's kernel is there, wanted, and worth it for n tokens; and its launch. */
bool wgmma_is_better(const struct bitnet_cuda *cuda, size_t n);
void launch_wgmma(struct bitnet_cuda *cuda, const struct products &products, const struct input &x);

#endif
