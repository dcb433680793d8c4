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

/* What the threads of a block share. */
template <int DIM_MAX> struct board {
    float queries[ROWS][DIM_MAX + 1];
    float weights[ROWS][TILE + 1];
    uint16_t cells[TILE][DIM_MAX + 2]; /* keys, then values of a tile */
};

/* One thread's share of a query: the chunk so far. */
template <int DIM_MAX> struct share {
    enum { DIMS = DIM_MAX / LANES };
    float maximum, sum, out[DIMS]; /* out: dimensions lane, lane + LANES, ... */
};

/* Which queries a block has: rows are tokens times heads of the group. */
struct rows {
    size_t first, n; /* n: those that exist, at most block_rows */
};

static __device__ __forceinline__ struct rows rows_of_block(const struct attend_job &job)
{
    const size_t first = (size_t)blockIdx.y * job.block_rows;
    return {first, min((size_t)job.block_rows, job.n * job.group - first)};
}

static __device__ __forceinline__ size_t cells_seen(const struct attend_job &job, struct rows rows)
{
    size_t seen = 0;
    for (size_t t = rows.first / job.group; t <= (rows.first + rows.n - 1) / job.group; t++)
        seen = max(seen, (size_t)job.tokens[t].position + 1);
    return seen;
}

template <int DIM_MAX>
static __device__ __forceinline__ void load_queries(struct board<DIM_MAX> &board,
                                                    const struct attend_job &job, struct rows rows)
{
    const size_t dim = job.shape.head_dim;
    for (size_t i = threadIdx.x; i < rows.n * dim; i += ATTEND_THREADS) {
        const size_t row = rows.first + i / dim;
        const size_t head = blockIdx.z * job.group + row % job.group;
        board.queries[i / dim][i % dim] =
            job.q.at[row / job.group * job.q.stride + head * dim + i % dim];
    }
}

/* All threads: n cells into shared memory, when nobody reads the last ones any more. */
template <int DIM_MAX>
static __device__ __forceinline__ void load_cells(struct board<DIM_MAX> &board,
                                                  const uint16_t *from, size_t n, size_t dim)
{
    __syncthreads();
    for (size_t i = threadIdx.x; i < n * dim; i += ATTEND_THREADS)
        board.cells[i / dim][i % dim] = from[i];
    __syncthreads();
}

/* Scores of a tile's keys for one query; returns the largest of all its lanes. */
template <int DIM_MAX>
static __device__ __forceinline__ float score_keys(const struct board<DIM_MAX> &board, unsigned r,
                                                   unsigned lane, size_t n_keys, size_t dim,
                                                   float scale, float score[KEYS_PER_LANE])
{
    float best = MINUS_INFINITY;
#pragma unroll
    for (int i = 0; i < KEYS_PER_LANE; i++) {
        const size_t key = lane + (size_t)i * LANES;
        float dot = 0;
        for (size_t d = 0; key < n_keys && d < dim; d++)
            dot = fmaf(board.queries[r][d], half_to_float(board.cells[key][d]), dot);
        score[i] = key < n_keys ? __fmul_rn(dot, scale) : MINUS_INFINITY;
        best = score[i] > best ? score[i] : best;
    }
    for (int bits = 1; bits < LANES; bits *= 2) {
        const float other = __shfl_xor_sync(WHOLE_WARP, best, bits);
        best = other > best ? other : best;
    }
    return best;
}

/* Scores into weights; returns their sum over all lanes. */
template <int DIM_MAX>
static __device__ __forceinline__ float weigh_keys(struct board<DIM_MAX> &board, unsigned r,
                                                   unsigned lane, size_t n_keys, float maximum,
                                                   const float score[KEYS_PER_LANE])
{
    float sum = 0;
#pragma unroll
    for (int i = 0; i < KEYS_PER_LANE; i++) {
        const size_t key = lane + (size_t)i * LANES;
        const float weight = key < n_keys ? device_expf(__fadd_rn(score[i], -maximum)) : 0.0f;
        board.weights[r][key] = weight;
        sum = __fadd_rn(sum, weight);
    }
    for (int bits = 1; bits < LANES; bits *= 2)
        sum = __fadd_rn(sum, __shfl_xor_sync(WHOLE_WARP, sum, bits));
    return sum;
}

/* The tile's values, by their weights, into what the earlier tiles left. */
template <int DIM_MAX>
static __device__ __forceinline__ void
add_values(struct share<DIM_MAX> &share, const struct board<DIM_MAX> &board, unsigned r,
           unsigned lane, size_t n_keys, size_t dim, float shrink)
{
#pragma unroll
    for (int i = 0; i < share.DIMS; i++) {
        const size_t d = lane + (size_t)i * LANES;
        if (d >= dim) break;
        float acc = __fmul_rn(share.out[i], shrink);
        for (size_t key = 0; key < n_keys; key++)
            acc = fmaf(board.weights[r][key], half_to_float(board.cells[key][d]), acc);
        share.out[i] = acc;
    }
}

template <int DIM_MAX>
static __device__ __forceinline__ void leave(const struct share<DIM_MAX> &share, float *partial,
                                             unsigned lane, size_t dim)
{
#pragma unroll
    for (int i = 0; i < share.DIMS; i++) {
        const size_t d = lane + (size_t)i * LANES;
        if (d < dim) partial[d] = share.out[i];
    }
    if (lane == 0) {
        partial[dim] = share.maximum;
        partial[dim + 1] = share.sum;
    }
}

template <int DIM_MAX>
static __global__ void __launch_bounds__(ATTEND_THREADS, 2) partial_kernel(struct attend_job job)
{
    __shared__ struct board<DIM_MAX> board;
    const struct bitnet_cuda_attention &shape = job.shape;
    const size_t dim = shape.head_dim, begin = (size_t)blockIdx.x * BITNET_CUDA_CHUNK;
    const unsigned r = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const struct rows rows = rows_of_block(job);
    const size_t row = rows.first + r, token = row / job.group;
    const size_t n_seen = r < rows.n ? (size_t)job.tokens[token].position + 1 : 0;
    const size_t end = min(begin + BITNET_CUDA_CHUNK, cells_seen(job, rows));
    if (begin >= end) return;

    const size_t plane = shape.n_kv_heads * shape.n_cells * dim;
    const uint16_t *keys = job.tokens[rows.first / job.group].cache + 2 * shape.layer * plane +
                           blockIdx.z * shape.n_cells * dim;
    const uint16_t *values = keys + plane;
    struct share<DIM_MAX> share = {
        MINUS_INFINITY, 0, {}
    };
    load_queries(board, job, rows);
    for (size_t tile = begin; tile < end; tile += TILE) {
        const size_t n_cells = min((size_t)TILE, end - tile);
        const size_t n_keys = n_seen > tile ? min(n_cells, n_seen - tile) : 0; /* of this query */
        float score[KEYS_PER_LANE];
        load_cells(board, keys + tile * dim, n_cells, dim);
        const float best = score_keys(board, r, lane, n_keys, dim, shape.scale, score);
        const float maximum = best > share.maximum ? best : share.maximum;
        const float sum = weigh_keys(board, r, lane, n_keys, maximum, score);
        load_cells(board, values + tile * dim, n_cells, dim);
        if (n_keys == 0) continue;
        const float shrink = device_expf(__fadd_rn(share.maximum, -maximum));
        add_values(share, board, r, lane, n_keys, dim, shrink);
        share.sum = fmaf(share.sum, shrink, sum);
        share.maximum = maximum;
    }
    if (n_seen <= begin) return;
    const size_t head = blockIdx.z * job.group + row % job.group;
    leave(share, partial_of(job, token, head, blockIdx.x), lane, dim);
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
