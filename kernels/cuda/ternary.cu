/* Ternary products: int8 activations times trits, exact in int32, then one rescale. Four kernels on
 * one layout (device_layout.h):
 *
 *   gemv     1 .. 4 tokens: dp4a on masked codes; memory-bound, so every lane has 16-byte loads in
 *            flight and four warps share a tile's columns
 *   skinny   5 .. 16 tokens: tensor cores, the same division of work
 *   gemm     more: tensor cores, activations staged through shared memory
 *   wgmma    as gemm, with Hopper's instructions: ternary_wgmma.cu
 *
 * All multiply codes (trit + 1) and subtract the sum of the activations: sum(code x) - sum(x) =
 * sum(trit x). Integer sums have no order, so all agree bit for bit. A sum of codes is at
 * most 2 * 127 * cols, below 2^31 for the 8388608 columns that a model may have. */
#include "ternary.cuh"

#include <assert.h>

enum { GEMV_WARPS = 4, GEMV_TOKENS_MAX = 4, SKINNY_TOKENS_MAX = 16 };

/* ------------------------------------------------------------------ gemv */

/* Sums of planes 0 .. 3: codes stay where they are in their bytes, so plane p counts 4^p fold. */
struct planes {
    int at[4];
};

static __device__ __forceinline__ void add_step(struct planes &sum, uint32_t w, uint32_t x0,
                                                uint32_t x1)
{
    sum.at[0] = dot4_u8s8(w & 0x03030303u, x0, sum.at[0]);
    sum.at[1] = dot4_u8s8(w & 0x0c0c0c0cu, x0, sum.at[1]);
    sum.at[2] = dot4_u8s8(w & 0x30303030u, x1, sum.at[2]);
    sum.at[3] = dot4_u8s8(w & 0xc0c0c0c0u, x1, sum.at[3]);
}

/* Groups that a lane may add up in plane 3 before it must fold: each adds at most 4 words of
 * 4 * 127 * 128. */
enum { FOLD_GROUPS = 4096 };

template <int TOKENS>
static __global__ void __launch_bounds__(GEMV_WARPS *WARP, 4)
    gemv_kernel(struct products products, struct input x)
{
    __shared__ int partial[GEMV_WARPS][TOKENS][DEVICE_TILE_ROWS];
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, t = lane % 4;
    const unsigned which = product_of(products, blockIdx.x);
    const struct bitnet_cuda_product &product = products.at[which];
    const unsigned tile = blockIdx.x - products.first_tile[which];
    const uint4 *weights = (const uint4 *)product.weights + (size_t)tile * x.groups * WARP + lane;
    if (threadIdx.x == 0) ask_for(weights, x.groups * WARP * 16);
    await_earlier();

    int low[TOKENS], high[TOKENS]; /* rows g and g + 8 */
#pragma unroll
    for (int i = 0; i < TOKENS; i++) low[i] = high[i] = 0;
    for (unsigned begin = 0; begin < x.groups; begin += FOLD_GROUPS * GEMV_WARPS) {
        struct planes sum[TOKENS] = {};
        const unsigned end = min(x.groups, begin + FOLD_GROUPS * GEMV_WARPS);
#pragma unroll(TOKENS == 1 ? 4 : TOKENS == 2 ? 2 : 1)
        for (unsigned group = begin + warp; group < end; group += GEMV_WARPS) {
            const uint4 w = __ldg(weights + (size_t)group * WARP);
#pragma unroll
            for (int i = 0; i < TOKENS; i++) {
                const uint4 *codes = (const uint4 *)(x.words + i * x.stride + group * 32);
                const uint4 a = __ldg(codes + t), b = __ldg(codes + 4 + t);
                add_step(sum[i], w.x, a.x, a.y);
                add_step(sum[i], w.y, a.z, a.w);
                add_step(sum[i], w.z, b.x, b.y);
                add_step(sum[i], w.w, b.z, b.w);
            }
        }
#pragma unroll
        for (int i = 0; i < TOKENS; i++) {
            low[i] += sum[i].at[0] + sum[i].at[2] / 16;
            high[i] += sum[i].at[1] / 4 + sum[i].at[3] / 64;
        }
    }
#pragma unroll
    for (int i = 0; i < TOKENS; i++) {
        for (int bits = 1; bits < 4; bits *= 2) {
            low[i] += __shfl_xor_sync(WHOLE_WARP, low[i], bits);
            high[i] += __shfl_xor_sync(WHOLE_WARP, high[i], bits);
        }
        if (t == 0) {
            partial[warp][i][lane / 4] = low[i];
            partial[warp][i][lane / 4 + 8] = high[i];
        }
    }
    __syncthreads();
    if (threadIdx.x < TOKENS * DEVICE_TILE_ROWS) {
        const unsigned i = threadIdx.x / DEVICE_TILE_ROWS, row = threadIdx.x % DEVICE_TILE_ROWS;
        int sum = 0;
#pragma unroll
        for (int w = 0; w < GEMV_WARPS; w++) sum += partial[w][i][row];
        put(product, x, (size_t)tile * DEVICE_TILE_ROWS + row, i, sum);
    }
}

/* ------------------------------------------------------------------ tensor cores */

/* One group of 128 columns: a tile of 16 rows times 8 tokens, whose two chunks of codes are given.
 */
static __device__ __forceinline__ void multiply_group(int c[4], const uint4 &w, const uint4 &first,
                                                      const uint4 &second)
{
    const uint32_t steps[4] = {w.x, w.y, w.z, w.w};
    const uint32_t codes[8] = {first.x,  first.y,  first.z,  first.w,
                               second.x, second.y, second.z, second.w};
#pragma unroll
    for (int s = 0; s < 4; s++) {
        uint32_t a[4];
        operand(a, steps[s]);
        mma_u8s8(c, a, codes + 2 * s);
    }
}

/* NT times 8 tokens. A token beyond the last reads the last one's codes; its result goes nowhere.
 */
template <int NT>
static __global__ void __launch_bounds__(GEMV_WARPS *WARP, 4)
    skinny_kernel(struct products products, struct input x)
{
    __shared__ int partial[GEMV_WARPS][NT * 8][DEVICE_TILE_ROWS];
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    const unsigned which = product_of(products, blockIdx.x);
    const struct bitnet_cuda_product &product = products.at[which];
    const unsigned tile = blockIdx.x - products.first_tile[which];
    const uint4 *weights = (const uint4 *)product.weights + (size_t)tile * x.groups * WARP + lane;
    if (threadIdx.x == 0) ask_for(weights, x.groups * WARP * 16);
    await_earlier();

    int c[NT][4] = {};
#pragma unroll 2
    for (unsigned group = warp; group < x.groups; group += GEMV_WARPS) {
        const uint4 w = __ldg(weights + (size_t)group * WARP);
#pragma unroll
        for (int i = 0; i < NT; i++) {
            const size_t token = min((size_t)(8 * i + g), x.n - 1);
            const uint4 *codes = (const uint4 *)(x.words + token * x.stride + group * 32);
            multiply_group(c[i], w, __ldg(codes + t), __ldg(codes + 4 + t));
        }
    }
#pragma unroll
    for (int i = 0; i < NT; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++)
            partial[warp][8 * i + 2 * t + (j & 1)][g + (j < 2 ? 0 : 8)] = c[i][j];
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; k < NT * 8 * DEVICE_TILE_ROWS; k += GEMV_WARPS * WARP) {
        const unsigned token = k / DEVICE_TILE_ROWS, row = k % DEVICE_TILE_ROWS;
        int sum = 0;
#pragma unroll
        for (int w = 0; w < GEMV_WARPS; w++) sum += partial[w][token][row];
        put(product, x, (size_t)tile * DEVICE_TILE_ROWS + row, token, sum);
    }
}

/* A block computes WM * MT tiles of rows times WN * NT * 8 tokens with WM * WN warps, each MT tiles
 * times NT * 8 tokens. Codes of a group wait in shared memory, STAGES groups ahead; weights go from
 * memory into registers, one group ahead. */
enum { STAGES = 3 };

template <int WM, int WN, int MT, int NT>
static __global__ void __launch_bounds__(WM *WN *WARP)
    gemm_kernel(struct products products, struct input x)
{
    await_earlier();
    enum { TOKENS = WN * NT * 8, THREADS = WM * WN * WARP, CHUNKS = TOKENS * 8 };
    uint4 *const stage = (uint4 *)dynamic_shared(); /* [STAGES][TOKENS][8] */
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    const unsigned wm = warp / WN, wn = warp % WN;
    const unsigned n_tiles = products.first_tile[products.n];
    const size_t first_token = (size_t)blockIdx.y * TOKENS;

    const uint4 *weights[MT];
#pragma unroll
    for (int m = 0; m < MT; m++) {
        const unsigned tile = min((blockIdx.x * WM + wm) * MT + m, n_tiles - 1);
        const unsigned which = product_of(products, tile);
        weights[m] = (const uint4 *)products.at[which].weights +
                     (size_t)(tile - products.first_tile[which]) * x.groups * WARP + lane;
    }

    /* The halves of every other token's 128 bytes change places: then the eight lanes of a shared
     * memory phase, two tokens times four chunks, touch all 32 banks once. */
    const auto fetch = [&](unsigned group) {
        if (group < x.groups) {
            for (unsigned k = threadIdx.x; k < CHUNKS; k += THREADS) {
                const unsigned token = k / 8, chunk = k % 8;
                const size_t from = min(first_token + token, x.n - 1);
                copy16_async(stage + (group % STAGES * TOKENS + token) * 8 +
                                 (chunk ^ ((token & 1) << 2)),
                             (const uint4 *)(x.words + from * x.stride + group * 32) + chunk);
            }
        }
        copy_commit();
    };
    for (unsigned group = 0; group < STAGES - 1; group++) fetch(group);

    int c[MT][NT][4] = {};
    uint4 w[MT];
#pragma unroll
    for (int m = 0; m < MT; m++) w[m] = __ldg(weights[m]);
    for (unsigned group = 0; group < x.groups; group++) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        fetch(group + STAGES - 1);
        uint4 next[MT];
        const unsigned ahead = min(group + 1, x.groups - 1);
#pragma unroll
        for (int m = 0; m < MT; m++) next[m] = __ldg(weights[m] + (size_t)ahead * WARP);
        const uint4 *codes = stage + (group % STAGES * TOKENS + wn * NT * 8 + g) * 8;
        const unsigned flip = (g & 1) << 2;
#pragma unroll
        for (int i = 0; i < NT; i++) {
            const uint4 first = codes[i * 64 + (t ^ flip)],
                        second = codes[i * 64 + ((4 + t) ^ flip)];
#pragma unroll
            for (int m = 0; m < MT; m++) multiply_group(c[m][i], w[m], first, second);
        }
#pragma unroll
        for (int m = 0; m < MT; m++) w[m] = next[m];
    }

#pragma unroll
    for (int m = 0; m < MT; m++) {
        const unsigned tile = (blockIdx.x * WM + wm) * MT + m;
        if (tile >= n_tiles) continue;
        const unsigned which = product_of(products, tile);
        const size_t row = (size_t)(tile - products.first_tile[which]) * DEVICE_TILE_ROWS + g;
#pragma unroll
        for (int i = 0; i < NT; i++) {
            const size_t token = first_token + (wn * NT + i) * 8 + 2 * t;
#pragma unroll
            for (int j = 0; j < 4; j++)
                put(products.at[which], x, row + (j < 2 ? 0 : 8), token + (j & 1), c[m][i][j]);
        }
    }
}

template <int WM, int WN, int MT, int NT>
static void launch_gemm(struct bitnet_cuda *cuda, const struct products &products,
                        const struct input &x)
{
    const size_t tokens = WN * NT * 8, shared = STAGES * tokens * 128;
    cudaFuncSetAttribute(gemm_kernel<WM, WN, MT, NT>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         (int)shared);
    launch(gemm_kernel<WM, WN, MT, NT>,
           dim3(ceil_div(products.first_tile[products.n], WM * MT), ceil_div(x.n, tokens)),
           dim3(WM * WN * WARP), shared, cuda, products, x);
}

/* ------------------------------------------------------------------ the verbs */

bool cuda_ternary(struct bitnet_cuda *cuda, struct bitnet_cuda_codes codes, size_t cols, size_t n,
                  const struct bitnet_cuda_product *list, size_t n_products)
{
    if (!cuda_may_launch(cuda, "ternary")) return false;
    if (n == 0) return true;
    assert(n_products >= 1 && n_products <= BITNET_CUDA_PRODUCTS);
    struct products products = {};
    products.n = (unsigned)n_products;
    for (size_t i = 0; i < n_products; i++) {
        products.at[i] = list[i];
        products.first_tile[i + 1] = products.first_tile[i] + (unsigned)device_tiles(list[i].rows);
    }
    const struct input x = {codes.words,
                            codes.scales,
                            codes.sums,
                            n,
                            device_code_words(cols),
                            (unsigned)device_groups(cols)};
    const dim3 tiles(products.first_tile[n_products]), block(GEMV_WARPS * WARP);
    if (wgmma_is_better(cuda, n)) {
        launch_wgmma(cuda, products, x);
        return cuda_launched(cuda, "ternary");
    }
    switch (n <= GEMV_TOKENS_MAX ? n : n <= SKINNY_TOKENS_MAX ? 8 * ((n + 7) / 8) : 0) {
    case 1:
        launch(gemv_kernel<1>, tiles, block, 0, cuda, products, x);
        break;
    case 2:
        launch(gemv_kernel<2>, tiles, block, 0, cuda, products, x);
        break;
    case 3:
        launch(gemv_kernel<3>, tiles, block, 0, cuda, products, x);
        break;
    case 4:
        launch(gemv_kernel<4>, tiles, block, 0, cuda, products, x);
        break;
    case 8:
        launch(skinny_kernel<1>, tiles, block, 0, cuda, products, x);
        break;
    case 16:
        launch(skinny_kernel<2>, tiles, block, 0, cuda, products, x);
        break;
    default:
        if (n <= 32)
            launch_gemm<4, 1, 1, 4>(cuda, products, x);
        else if (n <= 64)
            launch_gemm<4, 1, 1, 8>(cuda, products, x);
        else
            launch_gemm<4, 2, 2, 8>(cuda, products, x);
    }
    return cuda_launched(cuda, "ternary");
}

static __global__ void pack_kernel(const int8_t *trits, size_t rows, size_t cols, uint32_t *weights,
                                   size_t n_words)
{
    await_earlier();
    const size_t word = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (word < n_words) weights[word] = device_pack_word(trits, rows, cols, word);
}

bool cuda_pack(struct bitnet_cuda *cuda, const int8_t *trits, size_t rows, size_t cols,
               uint32_t *weights)
{
    if (!cuda_may_launch(cuda, "pack")) return false;
    const size_t n_words = device_weight_words(rows, cols);
    launch(pack_kernel, dim3(ceil_div(n_words, 256)), dim3(256), 0, cuda, trits, rows, cols,
           weights, n_words);
    return cuda_launched(cuda, "pack");
}
