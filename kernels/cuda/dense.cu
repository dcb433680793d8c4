/* Weights that are numbers: rows of an embedding, and the output matrix. A warp per row; lane l
 * takes elements l, l + 32, ..., then the lanes are added in steps 16, 8, 4, 2, 1: the lane sum of
 * <bitnet/kernels.h>. For F32, F16 and BF16 results are the CPU's bit for bit; blocks, which the
 * CPU multiplies in fixed point, are summed like the others, within a bound that the tests state.
 * In every type 32 neighbours share what they share, so a warp's loads are whole sectors. */
#include "device.cuh"

#include <assert.h>

enum { DENSE_WARPS = 8, DENSE_TOKENS = 8 };

/* Element `i` of a row, i % 32 being the lane. Layouts: formats.md 5; kernels/quant has a drawing
 * of each. */
template <enum bitnet_cuda_dense TYPE>
static __device__ __forceinline__ float element(const uint8_t *row, size_t i);

template <> __device__ __forceinline__ float element<BITNET_CUDA_F32>(const uint8_t *row, size_t i)
{
    return __ldg((const float *)row + i);
}
template <> __device__ __forceinline__ float element<BITNET_CUDA_F16>(const uint8_t *row, size_t i)
{
    return half_to_float(__ldg((const uint16_t *)row + i));
}
template <> __device__ __forceinline__ float element<BITNET_CUDA_BF16>(const uint8_t *row, size_t i)
{
    return bf16_to_float(__ldg((const uint16_t *)row + i));
}
/* Blocks of 32: binary16 scale, 32 signed bytes. */
template <> __device__ __forceinline__ float element<BITNET_CUDA_Q8_0>(const uint8_t *row, size_t i)
{
    const uint8_t *block = row + i / 32 * 34;
    return __fmul_rn((float)(int8_t)__ldg(block + 2 + i % 32),
                     half_to_float(__ldg((const uint16_t *)block)));
}
/* Blocks of 32: binary16 scale, 16 bytes; the low nibbles come first. */
template <> __device__ __forceinline__ float element<BITNET_CUDA_Q4_0>(const uint8_t *row, size_t i)
{
    const uint8_t *block = row + i / 32 * 18;
    const int nibble = __ldg(block + 2 + i % 16) >> (i & 16 ? 4 : 0) & 15;
    return __fmul_rn((float)(nibble - 8), half_to_float(__ldg((const uint16_t *)block)));
}
/* Blocks of 256: 128 bytes of low nibbles, 64 of high pairs, 16 scales, binary16 scale. */
template <> __device__ __forceinline__ float element<BITNET_CUDA_Q6_K>(const uint8_t *row, size_t i)
{
    const uint8_t *block = row + i / 256 * 210;
    const unsigned e = (unsigned)(i % 256), half = e / 128, quarter = e / 32 % 4, l = e % 32;
    const int low = __ldg(block + 64 * half + 32 * (quarter & 1) + l) >> (quarter & 2 ? 4 : 0) & 15;
    const int high = __ldg(block + 128 + 32 * half + l) >> 2 * quarter & 3;
    const float scale = __fmul_rn(half_to_float(__ldg((const uint16_t *)(block + 208))),
                                  (float)(int8_t)__ldg(block + 192 + e / 16));
    return __fmul_rn(scale, (float)((low | high << 4) - 32));
}

static size_t row_bytes(enum bitnet_cuda_dense type, size_t cols)
{
    switch (type) {
    case BITNET_CUDA_F32:
        return cols * 4;
    case BITNET_CUDA_F16:
    case BITNET_CUDA_BF16:
        return cols * 2;
    case BITNET_CUDA_Q8_0:
        return cols / 32 * 34;
    case BITNET_CUDA_Q4_0:
        return cols / 32 * 18;
    case BITNET_CUDA_Q6_K:
        return cols / 256 * 210;
    case BITNET_CUDA_DENSE_COUNT:
        break;
    }
    assert(!"a dense type");
    return 0;
}

/* ------------------------------------------------------------------ matrix times vectors */

struct dense_job {
    const uint8_t *weights;
    size_t rows, row_bytes, n;
    struct bitnet_cuda_vectors x;
    float *y;
    size_t y_stride;
    float scale;
    const float *row_scales;
};

/* Groups of tokens are neighbouring blocks: they read the same weights at the same time, so that
 * these come from memory once. TOKENS tokens, fewer at the end. */
template <enum bitnet_cuda_dense TYPE, int TOKENS>
static __global__ void __launch_bounds__(DENSE_WARPS *WARP, 1) dense_kernel(struct dense_job job)
{
    await_earlier();
    const unsigned lane = threadIdx.x % WARP;
    const unsigned n_groups = (unsigned)((job.n + DENSE_TOKENS - 1) / DENSE_TOKENS);
    const size_t row = (size_t)(blockIdx.x / n_groups) * DENSE_WARPS + threadIdx.x / WARP;
    if (row >= job.rows) return; /* a whole warp */
    const uint8_t *weights = job.weights + row * job.row_bytes;
    const size_t first = (size_t)(blockIdx.x % n_groups) * DENSE_TOKENS;
    const float *x[TOKENS];
    float sum[TOKENS];
#pragma unroll
    for (int t = 0; t < TOKENS; t++) {
        x[t] = job.x.at + min(first + t, job.n - 1) * job.x.stride;
        sum[t] = 0;
    }
#pragma unroll 8
    for (size_t c = lane; c < job.x.width; c += WARP) {
        const float w = element<TYPE>(weights, c);
#pragma unroll
        for (int t = 0; t < TOKENS; t++) sum[t] = fmaf(w, __ldg(x[t] + c), sum[t]);
    }
#pragma unroll
    for (int t = 0; t < TOKENS; t++) {
        for (unsigned step = 16; step; step /= 2)
            sum[t] = __fadd_rn(sum[t], __shfl_down_sync(WHOLE_WARP, sum[t], step));
        if (lane == 0 && first + t < job.n)
            job.y[(first + t) * job.y_stride + row] =
                __fmul_rn(sum[t], job.row_scales ? job.row_scales[row] : job.scale);
    }
}

template <enum bitnet_cuda_dense TYPE>
static void launch_dense(struct bitnet_cuda *cuda, const struct dense_job &job)
{
    const dim3 block(DENSE_WARPS * WARP);
    const dim3 grid(ceil_div(job.rows, DENSE_WARPS) * ceil_div(job.n, DENSE_TOKENS));
    if (job.n == 1)
        launch(dense_kernel<TYPE, 1>, grid, block, 0, cuda, job);
    else if (job.n == 2)
        launch(dense_kernel<TYPE, 2>, grid, block, 0, cuda, job);
    else if (job.n <= 4)
        launch(dense_kernel<TYPE, 4>, grid, block, 0, cuda, job);
    else
        launch(dense_kernel<TYPE, DENSE_TOKENS>, grid, block, 0, cuda, job);
}

bool cuda_dense(struct bitnet_cuda *cuda, enum bitnet_cuda_dense type, const void *weights,
                size_t rows, float scale, const float *row_scales, struct bitnet_cuda_vectors x,
                size_t n, float *y, size_t y_stride)
{
    if (!cuda_may_launch(cuda, "dense")) return false;
    if (n == 0) return true;
    const struct dense_job job = {(const uint8_t *)weights,
                                  rows,
                                  row_bytes(type, x.width),
                                  n,
                                  x,
                                  y,
                                  y_stride,
                                  scale,
                                  row_scales};
    switch (type) {
    case BITNET_CUDA_F32:
        launch_dense<BITNET_CUDA_F32>(cuda, job);
        break;
    case BITNET_CUDA_F16:
        launch_dense<BITNET_CUDA_F16>(cuda, job);
        break;
    case BITNET_CUDA_BF16:
        launch_dense<BITNET_CUDA_BF16>(cuda, job);
        break;
    case BITNET_CUDA_Q8_0:
        launch_dense<BITNET_CUDA_Q8_0>(cuda, job);
        break;
    case BITNET_CUDA_Q6_K:
        launch_dense<BITNET_CUDA_Q6_K>(cuda, job);
        break;
    case BITNET_CUDA_Q4_0:
        launch_dense<BITNET_CUDA_Q4_0>(cuda, job);
        break;
    case BITNET_CUDA_DENSE_COUNT:
        break;
    }
    return cuda_launched(cuda, "dense");
}

/* ------------------------------------------------------------------ embedding */

template <enum bitnet_cuda_dense TYPE>
static __global__ void embed_kernel(const uint8_t *table, size_t bytes, float scale,
                                    const struct bitnet_cuda_token *tokens,
                                    struct bitnet_cuda_vectors x)
{
    await_earlier();
    const size_t c = (size_t)blockIdx.x * blockDim.x + threadIdx.x, token = blockIdx.y;
    const uint8_t *row = table + (size_t)tokens[token].id * bytes;
    if (c < x.width) x.at[token * x.stride + c] = __fmul_rn(element<TYPE>(row, c), scale);
}

bool cuda_embed(struct bitnet_cuda *cuda, enum bitnet_cuda_dense type, const void *table,
                float scale, const struct bitnet_cuda_token *tokens, size_t n,
                struct bitnet_cuda_vectors x)
{
    if (!cuda_may_launch(cuda, "embed")) return false;
    if (n == 0) return true;
    const dim3 grid(ceil_div(x.width, 256), (unsigned)n), block(256);
    const uint8_t *rows = (const uint8_t *)table;
    const size_t bytes = row_bytes(type, x.width);
    switch (type) {
    case BITNET_CUDA_F32:
        launch(embed_kernel<BITNET_CUDA_F32>, grid, block, 0, cuda, rows, bytes, scale, tokens, x);
        break;
    case BITNET_CUDA_F16:
        launch(embed_kernel<BITNET_CUDA_F16>, grid, block, 0, cuda, rows, bytes, scale, tokens, x);
        break;
    case BITNET_CUDA_BF16:
        launch(embed_kernel<BITNET_CUDA_BF16>, grid, block, 0, cuda, rows, bytes, scale, tokens, x);
        break;
    case BITNET_CUDA_Q8_0:
        launch(embed_kernel<BITNET_CUDA_Q8_0>, grid, block, 0, cuda, rows, bytes, scale, tokens, x);
        break;
    case BITNET_CUDA_Q6_K:
        launch(embed_kernel<BITNET_CUDA_Q6_K>, grid, block, 0, cuda, rows, bytes, scale, tokens, x);
        break;
    case BITNET_CUDA_Q4_0:
        launch(embed_kernel<BITNET_CUDA_Q4_0>, grid, block, 0, cuda, rows, bytes, scale, tokens, x);
        break;
    case BITNET_CUDA_DENSE_COUNT:
        break;
    }
    return cuda_launched(cuda, "embed");
}
