/* What both kinds of attention kernel share: the job, what a query sees, where it leaves partial
 * results. Rows are queries: tokens times the heads that share keys. */
#ifndef BITNET_CUDA_ATTENTION_CUH
#define BITNET_CUDA_ATTENTION_CUH

#include "device.cuh"
#include "expf.cuh"

struct attend_job {
    struct bitnet_cuda_attention shape;
    const struct bitnet_cuda_token *tokens;
    struct bitnet_cuda_vectors q;
    size_t n, group;     /* tokens; query heads per key head */
    unsigned n_chunks;   /* that a token may see: of the scratch, and of the launch */
    unsigned block_rows; /* queries of a block: as many as it holds, or one token's */
};

/* [token][head][chunk] of: values[head_dim], maximum, sum */
static __device__ __forceinline__ float *partial_of(const struct attend_job &job, size_t token,
                                                    size_t head, size_t chunk)
{
    const size_t at = (token * job.shape.n_heads + head) * job.n_chunks + chunk;
    return job.shape.scratch + at * (job.shape.head_dim + 2);
}

#define MINUS_INFINITY __uint_as_float(0xff800000u)

/* Which queries a block has: rows are tokens times heads of the group. */
struct rows {
    size_t first, n; /* n: those that exist, at most block_rows */
};

static __device__ __forceinline__ struct rows rows_of_block(const struct attend_job &job)
{
    const size_t first = (size_t)blockIdx.y * job.block_rows;
    return {first, min((size_t)job.block_rows, job.n * job.group - first)};
}

/* Cells that a token sees, counted from its text's first. */
struct sight {
    size_t begin, end;
};

static __device__ __forceinline__ struct sight sight_of(const struct attend_job &job, size_t token)
{
    const size_t end = (size_t)(job.tokens[token].cell - job.tokens[token].first_cell) + 1;
    const size_t window = job.shape.window;
    return {window && end > window ? end - window : 0, end};
}

/* Neighbouring tokens of one text, and what they see together. */
struct run {
    size_t first, end; /* tokens */
    struct sight sight;
};

static __device__ __forceinline__ struct run run_from(const struct attend_job &job, size_t first,
                                                      size_t token_end)
{
    const struct bitnet_cuda_token &text = job.tokens[first];
    struct run run = {first, first, sight_of(job, first)};
    while (run.end < token_end && job.tokens[run.end].cache == text.cache &&
           job.tokens[run.end].first_cell == text.first_cell) {
        const struct sight sight = sight_of(job, run.end++);
        run.sight.begin = min(run.sight.begin, sight.begin);
        run.sight.end = max(run.sight.end, sight.end);
    }
    return run;
}

/* The chunks of a run that block x of the launch has: every gridDim.x-th. */
static __device__ __forceinline__ size_t first_chunk_of(const struct run &run)
{
    return run.sight.begin / BITNET_CUDA_CHUNK + blockIdx.x;
}

/* A block's work of one token and head: the partial results of all chunks become one, in their
 * order, by the exponential that made them. */
template <float (*EXPONENTIAL)(float)>
static __device__ __forceinline__ void combine_chunks(const struct attend_job &job)
{
    const size_t token = blockIdx.y, head = blockIdx.x, dim = job.shape.head_dim;
    const struct sight sight = sight_of(job, token);
    const size_t n_chunks =
        (sight.end - 1) / BITNET_CUDA_CHUNK - sight.begin / BITNET_CUDA_CHUNK + 1;
    for (size_t d = threadIdx.x; d < dim; d += blockDim.x) {
        const float *partial = partial_of(job, token, head, 0);
        float maximum = partial[dim], sum = partial[dim + 1], out = partial[d];
        for (size_t chunk = 1; chunk < n_chunks; chunk++) {
            partial = partial_of(job, token, head, chunk);
            const float larger = partial[dim] > maximum ? partial[dim] : maximum;
            const float old_part = EXPONENTIAL(__fadd_rn(maximum, -larger));
            const float new_part = EXPONENTIAL(__fadd_rn(partial[dim], -larger));
            sum = fmaf(partial[dim + 1], new_part, __fmul_rn(sum, old_part));
            out = fmaf(partial[d], new_part, __fmul_rn(out, old_part));
            maximum = larger;
        }
        job.q.at[token * job.q.stride + head * dim + d] = __fdiv_rn(out, sum);
    }
}

/* Attention on tensor cores: whether it can be had for this shape; its launch, in the same terms:
 * partial results and their combination, or, where there are rows enough, all of it at once. */
bool tensor_attention_is_better(const struct bitnet_cuda *cuda,
                                const struct bitnet_cuda_attention *shape);
void launch_tensor_attention(struct bitnet_cuda *cuda, const struct attend_job &job);
/* Whether it will not need scratch for n tokens. */
bool tensor_attention_is_whole(const struct bitnet_cuda *cuda,
                               const struct bitnet_cuda_attention *shape, size_t n);

#endif
