/* Attention on tensor cores. A warp has 16 rows (queries); keys and values of a tile wait in shared
 * memory, the next tile on its way. Products are of binary16, as keys and values are; queries
 * (after scaling each by a power of two) and weights come in two parts, the nearest binary16 and
 * what that leaves, so that results are as good as those of floats.
 *
 * Chunks and tiles begin where those of attention.cu do, and a row's numbers depend on nothing
 * else. With rows enough a block goes through all chunks and combines them as it goes, by the same
 * operations as the combination of partial results: the same bits either way. Maxima and exponents
 * are of base 2 here. */
#include "attention.cuh"
#include "mma_f16.cuh"

namespace
{

enum { WARP_ROWS = 16 };

/* A kernel's shape: dimensions of a head at most, keys of a tile, warps; whether it combines. */
template <int DIM_, int TILE_, int WARPS_, bool WHOLE_> struct plan {
    enum {
        DIM = DIM_,
        TILE = TILE_,
        WARPS = WARPS_,
        WHOLE = WHOLE_,
        THREADS = WARPS_ * WARP,
        ROWS = WARPS_ * WARP_ROWS,
        CHUNKS = DIM_ / 8, /* of 16 bytes in a row */
        STAGES = 2
    };
    /* In shared memory, as rows of chunk_of(). */
    struct board {
        uint4 queries[2][ROWS * CHUNKS]; /* heads of the numbers, rests */
        uint4 keys[STAGES][TILE * CHUNKS], values[STAGES][TILE * CHUNKS];
        float factors[ROWS]; /* what scores are multiplied by */
    };
};

#ifdef HAS_MMA_F16

/* ------------------------------------------------------------------ queries */

/* 2^-e for the e of the largest of a row, and 2^e times `scale` in base 2. */
static __device__ __forceinline__ float scaling_of(float largest, float scale, float *factor)
{
    const unsigned exponent = __float_as_uint(largest) >> 23;
    if (exponent == 0 || exponent == 255) { /* nothing to scale, or nothing to save */
        *factor = __fmul_rn(scale, 1.44269504f);
        return 1.0f;
    }
    const unsigned e = exponent < 253 ? exponent : 253;
    *factor = __fmul_rn(__fmul_rn(scale, 1.44269504f), __uint_as_float(e << 23));
    return __uint_as_float((254 - e) << 23);
}

/* A warp's rows, from memory to shared memory; rows and dimensions that do not exist are 0. */
template <typename P>
static __device__ __forceinline__ void load_queries(typename P::board &board,
                                                    const struct attend_job &job, struct rows rows)
{
    const unsigned lane = threadIdx.x % WARP, dim = (unsigned)job.shape.head_dim;
    for (unsigned r = threadIdx.x / WARP * WARP_ROWS, end = r + WARP_ROWS; r < end; r++) {
        const size_t row = rows.first + r, token = row / job.group;
        const float *q = job.q.at + token * job.q.stride +
                         (blockIdx.z * job.group + row % job.group) * (size_t)dim;
        float v[P::DIM / WARP], largest = 0;
#    pragma unroll
        for (int i = 0; i < P::DIM / WARP / 2; i++)
#    pragma unroll
            for (int j = 0; j < 2; j++) {
                const unsigned d = 64 * i + 2 * lane + j;
                v[2 * i + j] = r < rows.n && d < dim ? q[d] : 0.0f;
                largest = fmaxf(largest, fabsf(v[2 * i + j]));
            }
        for (int bits = 16; bits; bits /= 2)
            largest = fmaxf(largest, __shfl_xor_sync(WHOLE_WARP, largest, bits));
        float factor;
        const float scaling = scaling_of(largest, job.shape.scale, &factor);
        if (lane == 0) board.factors[r] = factor;
#    pragma unroll
        for (int i = 0; i < P::DIM / WARP / 2; i++) {
            const float a = __fmul_rn(v[2 * i], scaling), b = __fmul_rn(v[2 * i + 1], scaling);
            const uint32_t head = pack_halves(a, b);
            const uint32_t rest = pack_halves(__fadd_rn(a, -half_to_float((uint16_t)head)),
                                              __fadd_rn(b, -half_to_float((uint16_t)(head >> 16))));
            const unsigned chunk = 8 * i + lane / 4, word = lane % 4;
            ((uint32_t *)chunk_of<P::CHUNKS>(board.queries[0], r, chunk))[word] = head;
            ((uint32_t *)chunk_of<P::CHUNKS>(board.queries[1], r, chunk))[word] = rest;
        }
    }
}

/* ------------------------------------------------------------------ keys and values */

/* A run's keys and values in memory. */
struct cells {
    const uint16_t *keys, *values;
    unsigned end, dim; /* cells; dimensions of each */
};

static __device__ __forceinline__ struct cells cells_of(const struct attend_job &job,
                                                        const struct run &run)
{
    const struct bitnet_cuda_attention &shape = job.shape;
    const struct bitnet_cuda_token &text = job.tokens[run.first];
    const size_t dim = shape.head_dim, plane = shape.n_kv_heads * shape.n_cells * dim;
    const uint16_t *keys = text.cache + 2 * shape.layer * plane +
                           (blockIdx.z * shape.n_cells + (size_t)text.first_cell) * dim;
    return {keys, keys + plane, (unsigned)run.sight.end, (unsigned)dim};
}

/* Sends for a tile. What lies beyond the cells or the dimensions becomes 0, so that a weight of 0
 * takes nothing of it. */
template <typename P>
static __device__ __forceinline__ void send_for(typename P::board &board, const struct cells &cells,
                                                unsigned tile, unsigned stage)
{
#    pragma unroll 2 /* registers are short */
    for (unsigned i = threadIdx.x; i < P::TILE * P::CHUNKS; i += P::THREADS) {
        const unsigned row = i / P::CHUNKS, chunk = i % P::CHUNKS;
        const bool exists = tile + row < cells.end && 8 * chunk < cells.dim;
        const size_t at = exists ? (size_t)(tile + row) * cells.dim + 8 * chunk : 0;
        copy16_async_or_zero(chunk_of<P::CHUNKS>(board.keys[stage], row, chunk), cells.keys + at,
                             exists);
        copy16_async_or_zero(chunk_of<P::CHUNKS>(board.values[stage], row, chunk),
                             cells.values + at, exists);
    }
}

/* ------------------------------------------------------------------ a tile's arithmetic */

/* What a lane has of its rows g (0) and g + 8 (1): numbers so far, of a chunk or of all. */
template <typename P> struct part {
    float out[P::DIM / 8][4];
    float maximum[2], sum[2];
};

template <typename P> static __device__ __forceinline__ void clear(struct part<P> &part)
{
#    pragma unroll
    for (int j = 0; j < P::DIM / 8; j++)
#    pragma unroll
        for (int i = 0; i < 4; i++) part.out[j][i] = 0;
#    pragma unroll
    for (int r = 0; r < 2; r++) {
        part.maximum[r] = MINUS_INFINITY;
        part.sum[r] = 0;
    }
}

/* Where a lane's rows are in the world. */
struct own_rows {
    unsigned row[2];           /* of the job */
    unsigned begin[2], end[2]; /* cells seen; none of a row that is not there or not of the run */
    float factor[2];
};

template <typename P>
static __device__ __forceinline__ void multiply_keys(float (&score)[P::TILE / 8][4],
                                                     typename P::board &board, unsigned stage)
{
    const unsigned lane = threadIdx.x % WARP, r = lane % 8, m = lane / 8;
    const unsigned query = threadIdx.x / WARP * WARP_ROWS + (m & 1) * 8 + r;
#    pragma unroll
    for (int n = 0; n < P::TILE / 8; n++)
#    pragma unroll
        for (int i = 0; i < 4; i++) score[n][i] = 0;
#    pragma unroll
    for (int k = 0; k < P::DIM / 16; k += 2) {
        uint32_t heads[2][4], rests[2][4];
#    pragma unroll
        for (int i = 0; i < 2; i++) {
            const unsigned chunk = 2 * (k + i) + (m >> 1);
            load_matrices(heads[i], chunk_of<P::CHUNKS>(board.queries[0], query, chunk));
            load_matrices(rests[i], chunk_of<P::CHUNKS>(board.queries[1], query, chunk));
        }
#    pragma unroll
        for (int n = 0; n < P::TILE / 8; n++) {
            uint32_t keys[4];
            load_matrices(keys, chunk_of<P::CHUNKS>(board.keys[stage], 8 * n + r, 2 * k + m));
            mma_f16(score[n], heads[0], keys);
            mma_f16(score[n], rests[0], keys);
            mma_f16(score[n], heads[1], keys + 2);
            mma_f16(score[n], rests[1], keys + 2);
        }
    }
}

/* Scores into base 2, -infinity where nothing is seen; the largest of each row. */
template <typename P>
static __device__ __forceinline__ void
mask(float (&score)[P::TILE / 8][4], const struct own_rows &rows, unsigned tile, float (&best)[2])
{
    const unsigned t = threadIdx.x % 4;
    best[0] = best[1] = MINUS_INFINITY;
#    pragma unroll
    for (int n = 0; n < P::TILE / 8; n++)
#    pragma unroll
        for (int i = 0; i < 4; i++) {
            const int r = i / 2;
            const unsigned key = tile + 8 * n + 2 * t + (i & 1);
            const bool is_seen = key >= rows.begin[r] && key < rows.end[r];
            score[n][i] = is_seen ? __fmul_rn(score[n][i], rows.factor[r]) : MINUS_INFINITY;
            best[r] = score[n][i] > best[r] ? score[n][i] : best[r];
        }
#    pragma unroll
    for (int r = 0; r < 2; r++)
        for (int bits = 1; bits < 4; bits *= 2) {
            const float other = __shfl_xor_sync(WHOLE_WARP, best[r], bits);
            best[r] = other > best[r] ? other : best[r];
        }
}

/* Scores into weights, and the earlier tiles shrunk. */
template <typename P>
static __device__ __forceinline__ void weigh(float (&score)[P::TILE / 8][4], struct part<P> &part,
                                             const float (&best)[2])
{
    float base[2], shrink[2];
#    pragma unroll
    for (int r = 0; r < 2; r++) {
        const float maximum = best[r] > part.maximum[r] ? best[r] : part.maximum[r];
        base[r] = maximum == MINUS_INFINITY ? 0.0f : maximum; /* a row that has seen nothing yet */
        shrink[r] = exp2_fast(__fadd_rn(part.maximum[r], -base[r]));
        part.maximum[r] = maximum;
        part.sum[r] = __fmul_rn(part.sum[r], shrink[r]);
    }
#    pragma unroll
    for (int n = 0; n < P::TILE / 8; n++)
#    pragma unroll
        for (int i = 0; i < 4; i++) {
            score[n][i] = exp2_fast(__fadd_rn(score[n][i], -base[i / 2]));
            part.sum[i / 2] = __fadd_rn(part.sum[i / 2], score[n][i]);
        }
#    pragma unroll
    for (int j = 0; j < P::DIM / 8; j++)
#    pragma unroll
        for (int i = 0; i < 4; i++) part.out[j][i] = __fmul_rn(part.out[j][i], shrink[i / 2]);
}

/* Two weights as binary16, and what that leaves of them. */
static __device__ __forceinline__ void split(const float *pair, uint32_t &head, uint32_t &rest)
{
    head = pack_halves(pair[0], pair[1]);
    rest = pack_halves(__fadd_rn(pair[0], -half_to_float((uint16_t)head)),
                       __fadd_rn(pair[1], -half_to_float((uint16_t)(head >> 16))));
}

template <typename P>
static __device__ __forceinline__ void multiply_values(struct part<P> &part,
                                                       const float (&weight)[P::TILE / 8][4],
                                                       typename P::board &board, unsigned stage)
{
    const unsigned lane = threadIdx.x % WARP, r = lane % 8, m = lane / 8;
#    pragma unroll
    for (int k = 0; k < P::TILE / 16; k++) {
        uint32_t heads[4], rests[4];
#    pragma unroll
        for (int i = 0; i < 4; i++) /* rows g and g + 8 of keys 0 .. 7, then of keys 8 .. 15 */
            split(&weight[2 * k + i / 2][2 * (i % 2)], heads[i], rests[i]);
#    pragma unroll
        for (int j = 0; j < P::DIM / 8; j += 2) {
            uint32_t values[4];
            load_matrices_turned(
                values,
                chunk_of<P::CHUNKS>(board.values[stage], 16 * k + (m & 1) * 8 + r, j + (m >> 1)));
            mma_f16(part.out[j], heads, values);
            mma_f16(part.out[j], rests, values);
            mma_f16(part.out[j + 1], heads, values + 2);
            mma_f16(part.out[j + 1], rests, values + 2);
        }
    }
}

/* A tile for a warp; nothing to do when none of its rows sees any of it. */
template <typename P>
static __device__ __forceinline__ void attend_tile(struct part<P> &part, typename P::board &board,
                                                   const struct own_rows &rows, unsigned tile,
                                                   unsigned stage)
{
    bool sees = false;
#    pragma unroll
    for (int r = 0; r < 2; r++)
        sees = sees || (rows.begin[r] < tile + P::TILE && rows.end[r] > tile);
    if (!__any_sync(WHOLE_WARP, sees)) return;
    float score[P::TILE / 8][4], best[2];
    multiply_keys<P>(score, board, stage);
    mask<P>(score, rows, tile, best);
    weigh<P>(score, part, best);
    multiply_values<P>(part, score, board, stage);
}

/* ------------------------------------------------------------------ chunks */

template <typename P> static __device__ __forceinline__ void finish_sums(struct part<P> &part)
{
#    pragma unroll
    for (int r = 0; r < 2; r++)
        for (int bits = 1; bits < 4; bits *= 2)
            part.sum[r] = __fadd_rn(part.sum[r], __shfl_xor_sync(WHOLE_WARP, part.sum[r], bits));
}

static __device__ __forceinline__ bool sees_chunk(const struct own_rows &rows, int r,
                                                  unsigned chunk)
{
    return rows.begin[r] < (chunk + 1) * BITNET_CUDA_CHUNK &&
           rows.end[r] > chunk * BITNET_CUDA_CHUNK;
}

/* The combination of a finished chunk with those before it, as combine_kernel() does it. */
template <typename P>
static __device__ __forceinline__ void add_chunk(struct part<P> &all, const struct part<P> &part,
                                                 const struct own_rows &rows, unsigned chunk)
{
#    pragma unroll
    for (int r = 0; r < 2; r++) {
        if (!sees_chunk(rows, r, chunk)) continue;
        const bool is_first = chunk == rows.begin[r] / BITNET_CUDA_CHUNK;
        const float maximum =
            is_first || part.maximum[r] > all.maximum[r] ? part.maximum[r] : all.maximum[r];
        const float old_part = exp2_fast(__fadd_rn(all.maximum[r], -maximum));
        const float new_part = exp2_fast(__fadd_rn(part.maximum[r], -maximum));
        all.sum[r] =
            is_first ? part.sum[r] : fmaf(part.sum[r], new_part, __fmul_rn(all.sum[r], old_part));
#    pragma unroll
        for (int j = 0; j < P::DIM / 8; j++)
#    pragma unroll
            for (int i = 2 * r; i < 2 * r + 2; i++)
                all.out[j][i] =
                    is_first ? part.out[j][i]
                             : fmaf(part.out[j][i], new_part, __fmul_rn(all.out[j][i], old_part));
        all.maximum[r] = maximum;
    }
}

template <typename P>
static __device__ __forceinline__ void leave(const struct attend_job &job,
                                             const struct part<P> &part,
                                             const struct own_rows &rows, unsigned chunk)
{
    const unsigned t = threadIdx.x % 4, dim = (unsigned)job.shape.head_dim;
#    pragma unroll
    for (int r = 0; r < 2; r++) {
        if (!sees_chunk(rows, r, chunk)) continue;
        const size_t head = blockIdx.z * job.group + rows.row[r] % job.group;
        float *partial = partial_of(job, rows.row[r] / job.group, head,
                                    chunk - rows.begin[r] / BITNET_CUDA_CHUNK);
#    pragma unroll
        for (int j = 0; j < P::DIM / 8; j++)
#    pragma unroll
            for (int i = 0; i < 2; i++)
                if (8 * j + 2 * t + i < dim) partial[8 * j + 2 * t + i] = part.out[j][2 * r + i];
        if (t == 0) {
            partial[dim] = part.maximum[r];
            partial[dim + 1] = part.sum[r];
        }
    }
}

template <typename P>
static __device__ __forceinline__ void put(const struct attend_job &job, const struct part<P> &all,
                                           const struct own_rows &rows)
{
    const unsigned t = threadIdx.x % 4, dim = (unsigned)job.shape.head_dim;
#    pragma unroll
    for (int r = 0; r < 2; r++) {
        if (rows.end[r] == 0) continue;
        float *q = job.q.at + rows.row[r] / job.group * job.q.stride +
                   (blockIdx.z * job.group + rows.row[r] % job.group) * (size_t)dim;
#    pragma unroll
        for (int j = 0; j < P::DIM / 8; j++)
#    pragma unroll
            for (int i = 0; i < 2; i++)
                if (8 * j + 2 * t + i < dim)
                    q[8 * j + 2 * t + i] = __fdiv_rn(all.out[j][2 * r + i], all.sum[r]);
    }
}

/* ------------------------------------------------------------------ the kernel */

template <typename P>
static __device__ __forceinline__ struct own_rows
own_rows_of(const struct attend_job &job, const typename P::board &board, struct rows rows,
            const struct run &run)
{
    const unsigned first = threadIdx.x / WARP * WARP_ROWS + threadIdx.x % WARP / 4;
    struct own_rows own;
#    pragma unroll
    for (int r = 0; r < 2; r++) {
        const unsigned in_block = first + 8 * r;
        const size_t row = rows.first + in_block, token = row / job.group;
        const bool exists = in_block < rows.n && token >= run.first && token < run.end;
        struct sight sight = {0, 0};
        if (exists) sight = sight_of(job, token);
        own.row[r] = (unsigned)row;
        own.begin[r] = (unsigned)sight.begin;
        own.end[r] = (unsigned)sight.end;
        own.factor[r] = board.factors[in_block];
    }
    return own;
}

/* The tiles from `tile` to `end` for a run, chunk by chunk. */
template <typename P>
static __device__ __forceinline__ void
attend_cells(const struct attend_job &job, typename P::board &board, const struct own_rows &rows,
             const struct cells &cells, unsigned tile, unsigned end, struct part<P> &all)
{
    struct part<P> part;
    unsigned stage = 0;
    send_for<P>(board, cells, tile, stage);
    copy_commit();
    clear(part);
    for (; tile < end; tile += P::TILE, stage ^= 1) {
        __syncthreads(); /* nobody reads the other stage any more */
        if (tile + P::TILE < end) send_for<P>(board, cells, tile + P::TILE, stage ^ 1);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        attend_tile<P>(part, board, rows, tile, stage);
        const unsigned chunk = tile / BITNET_CUDA_CHUNK;
        if (tile + P::TILE < end && (tile + P::TILE) % BITNET_CUDA_CHUNK != 0) continue;
        finish_sums(part);
        if (P::WHOLE)
            add_chunk(all, part, rows, chunk);
        else
            leave(job, part, rows, chunk);
        clear(part);
    }
    __syncthreads(); /* the stages are free for what comes next */
}

#endif

template <typename P>
static __global__ void __launch_bounds__(P::THREADS, 1) tensor_kernel(struct attend_job job)
{
    await_earlier();
#ifdef HAS_MMA_F16
    typename P::board &board = *(typename P::board *)dynamic_shared();
    const struct rows rows = rows_of_block(job);
    const size_t token_end = (rows.first + rows.n - 1) / job.group + 1;
    load_queries<P>(board, job, rows);
    __syncwarp(); /* a warp reads its own rows */
    struct run run;
    for (size_t token = rows.first / job.group; token < token_end; token = run.end) {
        run = run_from(job, token, token_end);
        const struct own_rows own = own_rows_of<P>(job, board, rows, run);
        const struct cells cells = cells_of(job, run);
        const unsigned begin = (unsigned)run.sight.begin / P::TILE * P::TILE;
        struct part<P> all;
        if (P::WHOLE) {
            clear(all);
            attend_cells<P>(job, board, own, cells, begin, cells.end, all);
            put(job, all, own);
        } else {
            for (unsigned chunk = (unsigned)first_chunk_of(run);
                 chunk * BITNET_CUDA_CHUNK < cells.end; chunk += gridDim.x)
                attend_cells<P>(job, board, own, cells, max(begin, chunk * BITNET_CUDA_CHUNK),
                                min(cells.end, (chunk + 1) * BITNET_CUDA_CHUNK), all);
        }
    }
#else
    (void)job;
#endif
}

static __global__ void combine_kernel(struct attend_job job)
{
    await_earlier();
#ifdef HAS_MMA_F16
    combine_chunks<exp2_fast>(job);
#else
    (void)job;
#endif
}

template <typename P> static void launch_plan(struct bitnet_cuda *cuda, struct attend_job job)
{
    const bool shares = job.shape.one_sequence || job.group >= P::ROWS;
    job.block_rows = shares ? unsigned(P::ROWS) : unsigned(job.group);
    const dim3 grid(P::WHOLE ? 1 : job.n_chunks, ceil_div(job.n * job.group, job.block_rows),
                    (unsigned)job.shape.n_kv_heads);
    cudaFuncSetAttribute(tensor_kernel<P>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         (int)sizeof(typename P::board));
    launch(tensor_kernel<P>, grid, dim3(P::THREADS), sizeof(typename P::board), cuda, job);
    if (!P::WHOLE)
        launch(combine_kernel, dim3((unsigned)job.shape.n_heads, (unsigned)job.n), dim3(128), 0,
               cuda, job);
}

} // namespace

bool tensor_attention_is_better(const struct bitnet_cuda *cuda,
                                const struct bitnet_cuda_attention *shape)
{
    return cuda->uses[BITNET_CUDA_TENSOR_ATTENTION] && shape->head_dim % 8 == 0 &&
           shape->head_dim <= 128;
}

/* One pass when there is nothing to combine, or blocks enough for the whole device. */
bool tensor_attention_is_whole(const struct bitnet_cuda *cuda,
                               const struct bitnet_cuda_attention *shape, size_t n)
{
    const size_t rows = n * (shape->n_heads / shape->n_kv_heads);
    const size_t blocks = ceil_div(rows, 4 * WARP_ROWS) * shape->n_kv_heads;
    return shape->n_keys <= BITNET_CUDA_CHUNK ||
           (shape->one_sequence && 2 * blocks >= (size_t)cuda->properties.multiProcessorCount);
}

void launch_tensor_attention(struct bitnet_cuda *cuda, const struct attend_job &job)
{
    const size_t dim = job.shape.head_dim;
    const bool is_whole = tensor_attention_is_whole(cuda, &job.shape, job.n);
    if (is_whole && dim <= 64)
        launch_plan<plan<64, 64, 4, true>>(cuda, job);
    else if (is_whole)
        launch_plan<plan<128, 32, 4, true>>(cuda, job);
    else if (dim <= 64)
        launch_plan<plan<64, 64, 1, false>>(cuda, job);
    else
        launch_plan<plan<128, 32, 1, false>>(cuda, job);
}
