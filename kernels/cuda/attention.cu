/* Attention in two steps, the same for one token and for thousands.
 *
 *   partial   one block: ROWS queries (heads that share keys, of neighbouring tokens) times chunks
 *             of BITNET_CUDA_CHUNK keys, by online softmax over tiles of TILE keys; leaves for
 *             every query and chunk the maximum, the sum of weights and the weighted sum of values
 *   combine   one block per query: the chunks in order
 *
 * A query's numbers depend on its own keys only, and tiles and chunks begin at fixed places of its
 * text, so a token's result has the same bits alone, in a batch, beside other sequences, and
 * wherever in the cache its text lies. */
#include "attention.cuh"

enum {
    ROWS = 16,
    TILE = 32,
    ATTEND_THREADS = 128,
    LANES = ATTEND_THREADS / ROWS, /* threads of a query */
    KEYS_PER_LANE = TILE / LANES
};
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

/* Scores of the tile's keys first .. n_keys - 1 for one query; returns the largest of all its
 * lanes. */
template <int DIM_MAX>
static __device__ __forceinline__ float
score_keys(const struct board<DIM_MAX> &board, unsigned r, unsigned lane, size_t first,
           size_t n_keys, size_t dim, float scale, float score[KEYS_PER_LANE])
{
    float best = MINUS_INFINITY;
#pragma unroll
    for (int i = 0; i < KEYS_PER_LANE; i++) {
        const size_t key = lane + (size_t)i * LANES;
        float dot = 0;
        const bool is_seen = key >= first && key < n_keys;
        for (size_t d = 0; is_seen && d < dim; d++)
            dot = fmaf(board.queries[r][d], half_to_float(board.cells[key][d]), dot);
        score[i] = is_seen ? __fmul_rn(dot, scale) : MINUS_INFINITY;
        best = score[i] > best ? score[i] : best;
    }
    for (int bits = 1; bits < LANES; bits *= 2) {
        const float other = __shfl_xor_sync(WHOLE_WARP, best, bits);
        best = other > best ? other : best;
    }
    return best;
}

/* Scores into weights, 0 where nothing is seen; returns their sum over all lanes. */
template <int DIM_MAX>
static __device__ __forceinline__ float weigh_keys(struct board<DIM_MAX> &board, unsigned r,
                                                   unsigned lane, float maximum,
                                                   const float score[KEYS_PER_LANE])
{
    float sum = 0;
#pragma unroll
    for (int i = 0; i < KEYS_PER_LANE; i++) {
        const size_t key = lane + (size_t)i * LANES;
        const float weight = device_expf(__fadd_rn(score[i], -maximum));
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
           unsigned lane, size_t first, size_t n_keys, size_t dim, float shrink)
{
#pragma unroll
    for (int i = 0; i < share.DIMS; i++) {
        const size_t d = lane + (size_t)i * LANES;
        if (d >= dim) break;
        float acc = __fmul_rn(share.out[i], shrink);
        for (size_t key = first; key < n_keys; key++)
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

/* One chunk of a run's keys for the block's queries; those of other runs look on. */
template <int DIM_MAX>
static __device__ __forceinline__ void attend_chunk(struct board<DIM_MAX> &board,
                                                    const struct attend_job &job,
                                                    const struct run &run, size_t row, size_t chunk)
{
    const struct bitnet_cuda_attention &shape = job.shape;
    const struct bitnet_cuda_token &text = job.tokens[run.first];
    const unsigned r = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const size_t dim = shape.head_dim, token = row / job.group;
    const size_t begin = max(chunk * BITNET_CUDA_CHUNK, run.sight.begin / TILE * TILE);
    const size_t end = min((chunk + 1) * BITNET_CUDA_CHUNK, run.sight.end);
    struct sight sight = {0, 0};
    if (token >= run.first && token < run.end && row < job.n * job.group)
        sight = sight_of(job, token);

    const size_t plane = shape.n_kv_heads * shape.n_cells * dim;
    const uint16_t *keys = text.cache + 2 * shape.layer * plane +
                           (blockIdx.z * shape.n_cells + (size_t)text.first_cell) * dim;
    const uint16_t *values = keys + plane;
    struct share<DIM_MAX> share = {
        MINUS_INFINITY, 0, {}
    };
    for (size_t tile = begin; tile < end; tile += TILE) {
        const size_t n_cells = min((size_t)TILE, end - tile);
        const size_t first = sight.begin > tile ? sight.begin - tile : 0; /* of this query */
        const size_t n_keys = sight.end > tile ? min(n_cells, sight.end - tile) : 0;
        float score[KEYS_PER_LANE];
        load_cells(board, keys + tile * dim, n_cells, dim);
        const float best = score_keys(board, r, lane, first, n_keys, dim, shape.scale, score);
        const float maximum = best > share.maximum ? best : share.maximum;
        const bool sees_some = first < n_keys;
        const float sum = weigh_keys(board, r, lane, sees_some ? maximum : 0.0f, score);
        load_cells(board, values + tile * dim, n_cells, dim);
        if (!sees_some) continue;
        const float shrink = device_expf(__fadd_rn(share.maximum, -maximum));
        add_values(share, board, r, lane, first, n_keys, dim, shrink);
        share.sum = fmaf(share.sum, shrink, sum);
        share.maximum = maximum;
    }
    const size_t first_chunk = sight.begin / BITNET_CUDA_CHUNK;
    if (chunk < first_chunk || chunk * BITNET_CUDA_CHUNK >= sight.end) return;
    const size_t head = blockIdx.z * job.group + row % job.group;
    leave(share, partial_of(job, token, head, chunk - first_chunk), lane, dim);
}

template <int DIM_MAX>
static __global__ void __launch_bounds__(ATTEND_THREADS, 2) partial_kernel(struct attend_job job)
{
    await_earlier();
    __shared__ struct board<DIM_MAX> board;
    const struct rows rows = rows_of_block(job);
    const unsigned r = threadIdx.x / LANES;
    const size_t row = r < rows.n ? rows.first + r : job.n * job.group;
    const size_t token_end = (rows.first + rows.n - 1) / job.group + 1;
    load_queries(board, job, rows);
    struct run run;
    for (size_t token = rows.first / job.group; token < token_end; token = run.end) {
        run = run_from(job, token, token_end);
        for (size_t chunk = first_chunk_of(run); chunk * BITNET_CUDA_CHUNK < run.sight.end;
             chunk += gridDim.x)
            attend_chunk(board, job, run, row, chunk);
    }
}

static __global__ void combine_kernel(struct attend_job job)
{
    await_earlier();
    combine_chunks<device_expf>(job);
}

/* Scratch that attend() uses at most, unless one token alone needs more. */
#define SCRATCH_FLOATS_MAX ((size_t)16 << 20)

/* Chunks that one token may see: a window touches one more than it is long. */
static unsigned chunks_of(const struct bitnet_cuda_attention *shape)
{
    const unsigned all = ceil_div(shape->n_keys, BITNET_CUDA_CHUNK);
    const unsigned in_window = ceil_div(shape->window, BITNET_CUDA_CHUNK) + 1;
    return shape->window && in_window < all ? in_window : all;
}

static size_t floats_of_token(const struct bitnet_cuda_attention *shape)
{
    return shape->n_heads * chunks_of(shape) * (shape->head_dim + 2);
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
    struct attend_job job = {*shape,           tokens, q, 0, shape->n_heads / shape->n_kv_heads,
                             chunks_of(shape), 0};
    const bool is_tensor = tensor_attention_is_better(cuda, shape);
    size_t together = tokens_together(shape, n ? n : 1);
    if (is_tensor && tensor_attention_is_whole(cuda, shape, n)) together = n; /* without scratch */
    for (size_t first = 0; first < n; first += together) {
        job.tokens = tokens + first;
        job.q.at = q.at + first * q.stride;
        job.n = n - first < together ? n - first : together;
        if (is_tensor) {
            launch_tensor_attention(cuda, job);
            continue;
        }
        /* Queries of several tokens share a block only if they share a cache. */
        job.block_rows =
            shape->one_sequence || job.group >= ROWS ? unsigned(ROWS) : unsigned(job.group);
        const dim3 grid(job.n_chunks, ceil_div(job.n * job.group, job.block_rows),
                        (unsigned)shape->n_kv_heads);
        const dim3 block(ATTEND_THREADS);
        if (shape->head_dim <= 64)
            launch(partial_kernel<64>, grid, block, 0, cuda, job);
        else if (shape->head_dim <= 128)
            launch(partial_kernel<128>, grid, block, 0, cuda, job);
        else
            launch(partial_kernel<256>, grid, block, 0, cuda, job);
        launch(combine_kernel, dim3((unsigned)shape->n_heads, (unsigned)job.n), dim3(128), 0, cuda,
               job);
    }
    return cuda_launched(cuda, "attention");
}
