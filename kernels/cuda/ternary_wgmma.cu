/* Ternary products of many tokens on Hopper: two warpgroups multiply 128 rows by N tokens with
 * wgmma, codes of the rows from registers, of the tokens from shared memory. Beside the running
 * products all threads fetch the next group of 128 columns.
 *
 *   group g        the matrix unit multiplies         threads
 *   registers      a[g % 2], 4 steps                  a[(g + 1) % 2] from the words fetched before
 *   shared memory  stage g % 3                        stage (g + 1) % 3 from registers
 *
 * Tokens' codes lie in memory in the order of device_layout.h; a thread that fetches the 64 bytes
 * of half a group holds a square of 4 x 4 words, and writes it to shared memory by columns: so they
 * are in their natural order there, as the instruction's rows of codes are, and in its swizzle. */
#include "ternary.cuh"
#include "wgmma.cuh"

namespace
{

enum { BLOCK_WARPS = 8, BLOCK_THREADS = BLOCK_WARPS * WARP, BLOCK_STAGES = 3, GROUP_BYTES = 128 };

#ifdef HAS_WGMMA

/* Half a group of a token: 64 bytes, which threads carry from memory to shared memory. */
template <int N> struct carried {
    enum { HALVES = 2 * N, PER_THREAD = (HALVES + BLOCK_THREADS - 1) / BLOCK_THREADS };
    uint4 at[PER_THREAD][4];
};

template <int N>
static __device__ __forceinline__ void fetch(struct carried<N> &carried, const struct input &x,
                                             size_t first_token, unsigned group)
{
#    pragma unroll
    for (int i = 0; i < carried.PER_THREAD; i++) {
        const unsigned half = threadIdx.x + i * BLOCK_THREADS;
        const size_t token = min(first_token + half / 2, x.n - 1);
        const uint4 *from =
            (const uint4 *)(x.words + token * x.stride + group * 32) + 4 * (half % 2);
#    pragma unroll
        for (int t = 0; t < 4; t++)
            carried.at[i][t] = group < x.groups ? __ldg(from + t) : make_uint4(0, 0, 0, 0);
    }
}

template <int N>
static __device__ __forceinline__ void put_down(const struct carried<N> &carried, uint4 *stage)
{
#    pragma unroll
    for (int i = 0; i < carried.PER_THREAD; i++) {
        const unsigned half = threadIdx.x + i * BLOCK_THREADS, token = half / 2;
        if (half >= carried.HALVES) break;
        const uint4(&c)[4] = carried.at[i];
        uint4 *row = stage + token * (GROUP_BYTES / 16);
        const unsigned first = 4 * (half % 2), swizzle = token % 8;
        row[(first + 0) ^ swizzle] = make_uint4(c[0].x, c[1].x, c[2].x, c[3].x);
        row[(first + 1) ^ swizzle] = make_uint4(c[0].y, c[1].y, c[2].y, c[3].y);
        row[(first + 2) ^ swizzle] = make_uint4(c[0].z, c[1].z, c[2].z, c[3].z);
        row[(first + 3) ^ swizzle] = make_uint4(c[0].w, c[1].w, c[2].w, c[3].w);
    }
    fence_shared_for_async();
}

/* What a thread has of the rows: a tile of 16 per warp. */
struct rows_of_warp {
    const uint4 *words;
    const struct bitnet_cuda_product *product;
    size_t first_row;
    bool exists;
};

static __device__ __forceinline__ struct rows_of_warp rows_of(const struct products &products,
                                                              const struct input &x)
{
    const unsigned n_tiles = products.first_tile[products.n];
    const unsigned wanted = blockIdx.x * BLOCK_WARPS + threadIdx.x / WARP;
    const unsigned tile = min(wanted, n_tiles - 1), which = product_of(products, tile);
    const size_t own = tile - products.first_tile[which];
    return {(const uint4 *)products.at[which].weights + own * x.groups * WARP + threadIdx.x % WARP,
            &products.at[which], own * DEVICE_TILE_ROWS, wanted < n_tiles};
}

/* Starts the products of a group. */
template <int N>
static __device__ __forceinline__ void multiply(int (&c)[N / 2], uint32_t (&a)[4][4],
                                                const uint4 &words, const uint4 *stage)
{
    operand(a[0], words.x);
    operand(a[1], words.y);
    operand(a[2], words.z);
    operand(a[3], words.w);
    const uint64_t b = wgmma_descriptor(stage);
#    pragma unroll
    for (int s = 0; s < 4; s++) pin(a[s]);
    wgmma_fence();
#    pragma unroll
    for (int s = 0; s < 4; s++) wgmma_u8s8<N>(c, a[s], b + 2 * s);
    wgmma_commit();
}

template <int N>
static __device__ __forceinline__ void put_all(const int (&c)[N / 2],
                                               const struct rows_of_warp &rows,
                                               const struct input &x, size_t first_token)
{
    const unsigned g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    if (!rows.exists) return;
#    pragma unroll
    for (int i = 0; i < N / 2; i++)
        put(*rows.product, x, rows.first_row + g + (i & 2 ? 8 : 0),
            first_token + i / 4 * 8 + 2 * t + (i & 1), c[i]);
}

#endif

template <int N>
static __global__ void __launch_bounds__(BLOCK_THREADS, 1)
    wgmma_kernel(struct products products, struct input x)
{
    await_earlier();
#ifdef HAS_WGMMA
    enum { STAGE_CHUNKS = N * GROUP_BYTES / 16 };
    uint8_t *const memory = (uint8_t *)dynamic_shared();
    /* The swizzle's unit is 1024 bytes. */
    uint4 *const stages = (uint4 *)(memory + (1024 - shared_address(memory) % 1024) % 1024);
    const size_t first_token = (size_t)blockIdx.y * N;
    const struct rows_of_warp rows = rows_of(products, x);
    const unsigned last = x.groups - 1;
    struct carried<N> carried;
    int c[N / 2] = {};
    uint32_t even[4][4], odd[4][4];
    unsigned stage = 0;

    /* Between two groups: what comes next goes to shared memory as soon as the group before the one
     * that runs is done; its stage was everybody's last but two. */
    const auto prepare = [&](unsigned next) {
        const unsigned next_stage = stage == BLOCK_STAGES - 1 ? 0 : stage + 1;
        fetch(carried, x, first_token, next);
        wgmma_wait<1>();
        put_down(carried, stages + next_stage * STAGE_CHUNKS);
        __syncthreads();
        stage = next_stage;
    };
    uint4 words = __ldg(rows.words), ahead = words;
    fetch(carried, x, first_token, 0);
    put_down(carried, stages);
    __syncthreads();
    for (unsigned group = 0; group < x.groups; group += 2) {
        ahead = __ldg(rows.words + (size_t)min(group + 1, last) * WARP);
        multiply<N>(c, even, words, stages + stage * STAGE_CHUNKS);
        prepare(group + 1);
        words = __ldg(rows.words + (size_t)min(group + 2, last) * WARP);
        multiply<N>(c, odd, ahead, stages + stage * STAGE_CHUNKS); /* zeros after the last group */
        prepare(group + 2);
    }
    wgmma_wait<0>();
    put_all<N>(c, rows, x, first_token);
#else
    (void)products, (void)x;
#endif
}

template <int N>
static void launch_tile(struct bitnet_cuda *cuda, const struct products &products,
                        const struct input &x)
{
    const size_t shared = (size_t)BLOCK_STAGES * N * GROUP_BYTES + 1024;
    cudaFuncSetAttribute(wgmma_kernel<N>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
    launch(wgmma_kernel<N>,
           dim3(ceil_div(products.first_tile[products.n], BLOCK_WARPS), ceil_div(x.n, N)),
           dim3(BLOCK_THREADS), shared, cuda, products, x);
}

/* Time of a tile of this many tokens, as a number to compare: rounds of the multiprocessors, each
 * as long as its tokens and what a block needs to begin and to end. */
static size_t rounds_of(const struct bitnet_cuda *cuda, size_t n_tiles, size_t n, size_t tokens)
{
    const size_t blocks = (size_t)ceil_div(n_tiles, BLOCK_WARPS) * ceil_div(n, tokens);
    return ceil_div(blocks, (size_t)cuda->properties.multiProcessorCount) * (tokens + 24);
}

} // namespace

bool wgmma_is_better(const struct bitnet_cuda *cuda, size_t n)
{
    return cuda->uses[BITNET_CUDA_WGMMA] && n > 64;
}

void launch_wgmma(struct bitnet_cuda *cuda, const struct products &products, const struct input &x)
{
    static const size_t sizes[] = {64, 128, 160, 192, 256};
    size_t best = 0;
    for (size_t i = 1; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t n_tiles = products.first_tile[products.n];
        if (rounds_of(cuda, n_tiles, x.n, sizes[i]) <= rounds_of(cuda, n_tiles, x.n, sizes[best]))
            best = i;
    }
    switch (sizes[best]) {
    case 64:
        launch_tile<64>(cuda, products, x);
        break;
    case 128:
        launch_tile<128>(cuda, products, x);
        break;
    case 160:
        launch_tile<160>(cuda, products, x);
        break;
    case 192:
        launch_tile<192>(cuda, products, x);
        break;
    default:
        launch_tile<256>(cuda, products, x);
    }
}
