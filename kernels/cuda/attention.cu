/* Attention in two steps, the same for one token and for thousands.
 *
 *   partial   one block: ROWS queries (heads that share keys, tokens that share a cache) times one
 *             chunk of BITNET_CUDA_CHUNK keys, by online softmax over tiles of TILE keys; leaves
 * for every query the chunk's maximum, its sum of weights and its weighted sum of values combine
 * one block per query: the chunks in order
 *
 * A query's numbers depend on its own keys only, and tiles and chunks begin at fixed positions, so
 * a token's result has the same bits alone, in a batch, and beside other sequences. */
#include "device.cuh"
#include "expf.cuh"

enum {
    ROWS = 16,
    TILE = 32,
    ATTEND_THREADS = 128,
    LANES = ATTEND_THREADS / ROWS, /* threads of a query */
    KEYS_PER_LANE = TILE / LANES
};
/* Scratch that attend() uses at most, unless one token alone needs more. */
#define SCRATCH_FLOATS_MAX ((size_t)16 << 20)

struct attend_job {
    struct bitnet_cuda_attention shape;
    const struct bitnet_cuda_token *tokens;
    struct bitnet_cuda_vectors q;
    size_t n, group;     /* tokens; query heads per key head */
    unsigned n_chunks;   /* of the scratch */
    unsigned block_rows; /* queries of a block: ROWS, or one token's when sequences differ */
};

/* [token][head][chunk] of: values[head_dim], maximum, sum */
static __device__ __forceinline__ float *partial_of(const struct attend_job &job, size_t token,
                                                    size_t head, size_t chunk)
{
    const size_t at = (token * job.shape.n_heads + head) * job.n_chunks + chunk;
    return job.shape.scratch + at * (job.shape.head_dim + 2);
}

#define MINUS_INFINITY __uint_as_float(0xff800000u)

template <int DIM_MAX>
static __global__ void __launch_bounds__(ATTEND_THREADS, 2) partial_kernel(struct attend_job job)
{
    enum { DIMS = DIM_MAX / LANES, KEY_STRIDE = DIM_MAX + 2 };
    __shared__ float queries[ROWS][DIM_MAX + 1];
    __shared__ uint16_t cells[TILE][KEY_STRIDE];
    __shared__ float weights[ROWS][TILE + 1];
    const struct bitnet_cuda_attention &shape = job.shape;
    const size_t dim = shape.head_dim, kv_head = blockIdx.z, chunk = blockIdx.x;
    const unsigned r = threadIdx.x / LANES, lane = threadIdx.x % LANES;

    /* Rows are tokens times heads of the group. */
    const size_t first_row = (size_t)blockIdx.y * job.block_rows, n_rows = job.n * job.group;
    const size_t row = first_row + r;
    const bool is_mine = r < job.block_rows && row < n_rows;
    const size_t token = is_mine ? row / job.group : first_row / job.group;
    const size_t head = kv_head * job.group + row % job.group;
    const size_t chunk_begin = chunk * BITNET_CUDA_CHUNK;
    const size_t n_seen = is_mine ? (size_t)job.tokens[token].position + 1 : 0;

    const size_t last_row = min(first_row + job.block_rows, n_rows) - 1;
    size_t block_seen = 0;
    for (size_t t = first_row / job.group; t <= last_row / job.group; t++)
        block_seen = max(block_seen, (size_t)job.tokens[t].position + 1);
    if (chunk_begin >= block_seen) return;
    const size_t block_end = min(chunk_begin + BITNET_CUDA_CHUNK, block_seen);

    for (size_t i = threadIdx.x; i < ROWS * dim; i += ATTEND_THREADS) {
        const size_t q_row = first_row + i / dim;
        if (i / dim < job.block_rows && q_row < n_rows)
            queries[i / dim][i % dim] =
                job.q.at[q_row / job.group * job.q.stride +
                         (kv_head * job.group + q_row % job.group) * dim + i % dim];
    }
    const size_t plane = shape.n_kv_heads * shape.n_cells * dim;
    const uint16_t *keys = job.tokens[first_row / job.group].cache + 2 * shape.layer * plane +
                           kv_head * shape.n_cells * dim;
    const uint16_t *values = keys + plane;

    float maximum = MINUS_INFINITY, sum = 0, out[DIMS];
#pragma unroll
    for (int i = 0; i < DIMS; i++) out[i] = 0;
    for (size_t tile = chunk_begin; tile < block_end; tile += TILE) {
        const size_t n_cells = min((size_t)TILE, block_end - tile);
        __syncthreads();
        for (size_t i = threadIdx.x; i < n_cells * dim; i += ATTEND_THREADS)
            cells[i / dim][i % dim] = keys[tile * dim + i];
        __syncthreads();

        /* Keys that this query sees in the tile; the same for all its lanes. */
        const size_t n_keys = n_seen > tile ? min(n_cells, n_seen - tile) : 0;
        float score[KEYS_PER_LANE], best = MINUS_INFINITY;
#pragma unroll
        for (int i = 0; i < KEYS_PER_LANE; i++) {
            const size_t key = lane + (size_t)i * LANES;
            float dot = 0;
            if (key < n_keys) {
                for (size_t d = 0; d < dim; d++)
                    dot = fmaf(queries[r][d], half_to_float(cells[key][d]), dot);
            }
            score[i] = key < n_keys ? __fmul_rn(dot, shape.scale) : MINUS_INFINITY;
            best = score[i] > best ? score[i] : best;
        }
        for (int bits = 1; bits < LANES; bits *= 2) {
            const float other = __shfl_xor_sync(WHOLE_WARP, best, bits);
            best = other > best ? other : best;
        }
        const float new_maximum = best > maximum ? best : maximum;
        float tile_sum = 0;
#pragma unroll
        for (int i = 0; i < KEYS_PER_LANE; i++) {
            const size_t key = lane + (size_t)i * LANES;
            const float weight =
                key < n_keys ? device_expf(__fadd_rn(score[i], -new_maximum)) : 0.0f;
            weights[r][key] = weight;
            tile_sum = __fadd_rn(tile_sum, weight);
        }
        for (int bits = 1; bits < LANES; bits *= 2)
            tile_sum = __fadd_rn(tile_sum, __shfl_xor_sync(WHOLE_WARP, tile_sum, bits));
        __syncthreads(); /* keys were read, weights are written */
        for (size_t i = threadIdx.x; i < n_cells * dim; i += ATTEND_THREADS)
            cells[i / dim][i % dim] = values[tile * dim + i];
        __syncthreads();
        if (n_keys) {
            const float shrink = device_expf(__fadd_rn(maximum, -new_maximum));
            maximum = new_maximum;
            sum = fmaf(sum, shrink, tile_sum);
#pragma unroll
            for (int i = 0; i < DIMS; i++) {
                const size_t d = lane + (size_t)i * LANES;
                if (d >= dim) break;
                float acc = __fmul_rn(out[i], shrink);
                for (size_t key = 0; key < n_keys; key++)
                    acc = fmaf(weights[r][key], half_to_float(cells[key][d]), acc);
                out[i] = acc;
            }
        }
    }
    if (!is_mine || n_seen <= chunk_begin) return;
    float *partial = partial_of(job, token, head, chunk);
#pragma unroll
    for (int i = 0; i < DIMS; i++) {
        const size_t d = lane + (size_t)i * LANES;
        if (d < dim) partial[d] = out[i];
    }
    if (lane == 0) {
        partial[dim] = maximum;
        partial[dim + 1] = sum;
    }
}

static __global__ void combine_kernel(struct attend_job job)
{
    const size_t token = blockIdx.y, head = blockIdx.x, dim = job.shape.head_dim;
    const unsigned n_chunks = (unsigned)(job.tokens[token].position / BITNET_CUDA_CHUNK) + 1;
    for (size_t d = threadIdx.x; d < dim; d += blockDim.x) {
        const float *partial = partial_of(job, token, head, 0);
        float maximum = partial[dim], sum = partial[dim + 1], out = partial[d];
        for (unsigned chunk = 1; chunk < n_chunks; chunk++) {
            partial = partial_of(job, token, head, chunk);
            const float larger = partial[dim] > maximum ? partial[dim] : maximum;
            const float old_part = device_expf(__fadd_rn(maximum, -larger));
            const float new_part = device_expf(__fadd_rn(partial[dim], -larger));
            sum = fmaf(partial[dim + 1], new_part, __fmul_rn(sum, old_part));
            out = fmaf(partial[d], new_part, __fmul_rn(out, old_part));
            maximum = larger;
        }
        job.q.at[token * job.q.stride + head * dim + d] = __fdiv_rn(out, sum);
    }
}

static unsigned chunks_of(size_t n_keys)
{
    return ceil_div(n_keys, BITNET_CUDA_CHUNK);
}

static size_t floats_of_token(const struct bitnet_cuda_attention *shape)
{
    return shape->n_heads * chunks_of(shape->n_keys) * (shape->head_dim + 2);
}

/* Tokens whose partial results fit the scratch. */
static size_t tokens_together(const struct bitnet_cuda_attention *shape, size_t n)
{
    const size_t fit = SCRATCH_FLOATS_MAX / floats_of_token(shape);
    return fit < 1 ? 1 : fit < n ? fit : n;
}

size_t cuda_attention_scratch(const struct bitnet_cuda_attention *shape, size_t n)
{
    return tokens_together(shape, n) * floats_of_token(shape);
}

bool cuda_attend(struct bitnet_cuda *cuda, const struct bitnet_cuda_attention *shape,
                 const struct bitnet_cuda_token *tokens, size_t n, struct bitnet_cuda_vectors q)
{
    if (!cuda_may_launch(cuda, "attention")) return false;
    struct attend_job job = {
        *shape, tokens, q, 0, shape->n_heads / shape->n_kv_heads, chunks_of(shape->n_keys), 0};
    const size_t together = tokens_together(shape, n ? n : 1);
    for (size_t first = 0; first < n; first += together) {
        job.tokens = tokens + first;
        job.q.at = q.at + first * q.stride;
        job.n = n - first < together ? n - first : together;
        /* Queries of several tokens share a block only if they share a cache. */
        job.block_rows =
            shape->one_sequence || job.group >= ROWS ? unsigned(ROWS) : unsigned(job.group);
        const dim3 grid(job.n_chunks, ceil_div(job.n * job.group, job.block_rows),
                        (unsigned)shape->n_kv_heads);
        const dim3 block(ATTEND_THREADS);
        if (shape->head_dim <= 64)
            launch(partial_kernel<64>, grid, block, 0, cuda->stream, job);
        else if (shape->head_dim <= 128)
            launch(partial_kernel<128>, grid, block, 0, cuda->stream, job);
        else
            launch(partial_kernel<256>, grid, block, 0, cuda->stream, job);
        launch(combine_kernel, dim3((unsigned)shape->n_heads, (unsigned)job.n), dim3(128), 0,
               cuda->stream, job);
    }
    return cuda_launched(cuda, "attention");
}
