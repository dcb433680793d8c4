/* What happens to activations one token at a time: norm and quantization in one pass, angles, RoPE
 * and the cache, gates, the residual sum, the greedy choice. The order of every operation is that
 * of <bitnet/kernels.h>, so results are the CPU's, bit for bit; the one exception is the mean of
 * squares, which both sum in double but in different orders, and then round to float. */
#include "device.cuh"
#include "expf.cuh"

#include <math.h>

enum { THREADS = 256, HEAD_THREADS = 64 };

/* ------------------------------------------------------------------ sums over a block */

template <typename T> struct add_up {
    __device__ T operator()(T a, T b) const { return a + b; }
};
struct larger {
    __device__ float operator()(float a, float b) const { return a > b ? a : b; }
};

template <typename A, typename B> struct is_same {
    enum { value = 0 };
};
template <typename A> struct is_same<A, A> {
    enum { value = 1 };
};

/* Every thread gets the result; the order is fixed. Any block of up to 1024 threads, whole warps.
 */
template <typename T, typename Op> static __device__ T block_reduce(T value, Op op)
{
    __shared__ T of_warp[WARP];
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const unsigned n_warps = blockDim.x / WARP;
    for (int bits = 16; bits; bits /= 2)
        value = op(value, __shfl_xor_sync(WHOLE_WARP, value, bits));
    __syncthreads(); /* an earlier reduction may still be read */
    if (lane == 0) of_warp[warp] = value;
    __syncthreads();
    value = of_warp[0];
    for (unsigned w = 1; w < n_warps; w++) value = op(value, of_warp[w]);
    return value;
}

/* ------------------------------------------------------------------ gates */

static __device__ __forceinline__ float activate(enum bitnet_cuda_gate act, float x)
{
    if (act == BITNET_CUDA_RELU2) {
        const float r = x < 0 ? 0 : x; /* a NaN must pass */
        return __fmul_rn(r, r);
    }
    float t = x;
    if (act == BITNET_CUDA_GELU) /* the numbers of <bitnet/kernels.h> */
        t = __fmul_rn(__fadd_rn(__fmul_rn(0.07135481283f, __fmul_rn(x, x)), 1.5957691216f), x);
    return __fdiv_rn(x, __fadd_rn(1.0f, device_expf(-t)));
}

/* What happens to an element before its norm. */
struct as_it_is {
    __device__ float operator()(float x, size_t, size_t) const { return x; }
};
struct plus {
    struct bitnet_cuda_vectors addend;
    __device__ float operator()(float x, size_t token, size_t c) const
    {
        return __fadd_rn(x, addend.at[token * addend.stride + c]);
    }
};
struct gated {
    struct bitnet_cuda_vectors up;
    enum bitnet_cuda_gate act;
    __device__ float operator()(float x, size_t token, size_t c) const
    {
        return __fmul_rn(activate(act, x), up.at[token * up.stride + c]);
    }
};

/* ------------------------------------------------------------------ norm, quantization */

struct norm_job {
    struct bitnet_cuda_vectors x, y;
    const float *weight;
    float eps;
    struct bitnet_cuda_codes codes;
};

/* Column c of what is quantized. */
static __device__ __forceinline__ float normed(const float *x, const float *weight, float inverse,
                                               size_t c)
{
    return weight ? __fmul_rn(__fmul_rn(x[c], inverse), weight[c]) : x[c];
}

/* Codes of a token's values, whose largest magnitude is `max`. */
static __device__ __forceinline__ void put_codes(const struct norm_job &job, size_t token,
                                                 const float *x, float inverse, float max,
                                                 bool is_usual)
{
    const size_t width = job.x.width, n_words = device_code_words(width);
    const double divisor = (double)max > 1e-5 ? (double)max : 1e-5;
    const float scale = is_usual ? (float)(127.0 / divisor) : __uint_as_float(0x7fc00000u);
    uint32_t *words = job.codes.words + token * n_words;
    int sum = 0;
    for (size_t word = threadIdx.x; word < n_words; word += THREADS) {
        const size_t column = device_code_column(word);
        uint32_t packed = 0;
        for (size_t b = 0; b < 4 && column + b < width && is_usual; b++) {
            const int code =
                __float2int_rn(__fmul_rn(normed(x, job.weight, inverse, column + b), scale));
            sum += code;
            packed |= (uint32_t)(uint8_t)(int8_t)code << 8 * b;
        }
        words[word] = packed;
    }
    sum = block_reduce(sum, add_up<int>());
    if (threadIdx.x == 0) {
        job.codes.scales[token] = scale;
        job.codes.sums[token] = sum;
    }
}

template <typename Before>
static __global__ void __launch_bounds__(THREADS) norm_kernel(struct norm_job job, Before before)
{
    await_earlier();
    const size_t token = blockIdx.x, width = job.x.width;
    float *x = job.x.at + token * job.x.stride;
    float *y = job.y.at ? job.y.at + token * job.y.stride : NULL;
    double sum = 0;
    for (size_t c = threadIdx.x; c < width; c += THREADS) {
        const float old = x[c], value = before(old, token, c);
        if (!is_same<Before, as_it_is>::value) x[c] = value;
        sum += (double)value * (double)value;
    }
    float inverse = 1;
    if (job.weight) {
        const float mean = (float)(block_reduce(sum, add_up<double>()) / (double)width);
        inverse = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, job.eps)));
    }
    float max = 0, unusual = 0; /* unusual: an infinity or a NaN was seen */
    for (size_t c = threadIdx.x; c < width; c += THREADS) {
        const float value = normed(x, job.weight, inverse, c), magnitude = fabsf(value);
        if (!(magnitude <= 3.402823466e38f)) unusual = 1;
        if (magnitude > max) max = magnitude;
        if (y && y != x) y[c] = value;
    }
    if (job.codes.words) {
        max = block_reduce(max, larger()); /* and what `before` wrote is everybody's now */
        unusual = block_reduce(unusual, larger());
        put_codes(job, token, x, inverse, max, unusual == 0);
    }
    if (y == x && job.weight) {
        __syncthreads(); /* all have read x for their codes */
        for (size_t c = threadIdx.x; c < width; c += THREADS)
            y[c] = normed(x, job.weight, inverse, c);
    }
}

template <typename Before>
static bool launch_norm(struct bitnet_cuda *cuda, const char *verb, const struct norm_job &job,
                        Before before, size_t n)
{
    if (!cuda_may_launch(cuda, verb)) return false;
    if (n == 0) return true;
    launch(norm_kernel<Before>, dim3((unsigned)n), dim3(THREADS), 0, cuda, job, before);
    return cuda_launched(cuda, verb);
}

bool cuda_norm(struct bitnet_cuda *cuda, struct bitnet_cuda_vectors x, const float *weight,
               float eps, size_t n, struct bitnet_cuda_vectors y, struct bitnet_cuda_codes codes)
{
    return launch_norm(cuda, "norm", {x, y, weight, eps, codes}, as_it_is(), n);
}

bool cuda_add_norm(struct bitnet_cuda *cuda, struct bitnet_cuda_vectors x,
                   struct bitnet_cuda_vectors addend, const float *weight, float eps, size_t n,
                   struct bitnet_cuda_vectors y, struct bitnet_cuda_codes codes)
{
    return launch_norm(cuda, "add and norm", {x, y, weight, eps, codes}, plus{addend}, n);
}

bool cuda_gate_norm(struct bitnet_cuda *cuda, enum bitnet_cuda_gate act,
                    struct bitnet_cuda_vectors gate, struct bitnet_cuda_vectors up,
                    const float *weight, float eps, size_t n, struct bitnet_cuda_vectors y,
                    struct bitnet_cuda_codes codes)
{
    return launch_norm(cuda, "gate and norm", {gate, y, weight, eps, codes}, gated{up, act}, n);
}

/* A warp per head. */
static __global__ void __launch_bounds__(THREADS)
    norm_heads_kernel(struct bitnet_cuda_vectors x, size_t n_heads, const float *weight, float eps)
{
    await_earlier();
    const unsigned lane = threadIdx.x % WARP;
    const size_t head = (size_t)blockIdx.y * (THREADS / WARP) + threadIdx.x / WARP;
    if (head >= n_heads) return; /* a whole warp */
    const size_t dim = x.width / n_heads;
    float *at = x.at + blockIdx.x * x.stride + head * dim;
    double sum = 0;
    for (size_t d = lane; d < dim; d += WARP) sum += (double)at[d] * (double)at[d];
    for (int bits = 16; bits; bits /= 2) sum += __shfl_xor_sync(WHOLE_WARP, sum, bits);
    const float mean = (float)(sum / (double)dim);
    const float inverse = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, eps)));
    for (size_t d = lane; d < dim; d += WARP) at[d] = normed(at, weight, inverse, d);
}

bool cuda_norm_heads(struct bitnet_cuda *cuda, struct bitnet_cuda_vectors x, size_t n_heads,
                     const float *weight, float eps, size_t n)
{
    if (!cuda_may_launch(cuda, "norm of heads")) return false;
    if (n == 0) return true;
    launch(norm_heads_kernel, dim3((unsigned)n, ceil_div(n_heads, THREADS / WARP)), dim3(THREADS),
           0, cuda, x, n_heads, weight, eps);
    return cuda_launched(cuda, "norm of heads");
}

/* ------------------------------------------------------------------ positions */

static __global__ void angles_kernel(const struct bitnet_cuda_token *tokens, const double *steps,
                                     struct bitnet_cuda_vectors cosines,
                                     struct bitnet_cuda_vectors sines)
{
    await_earlier();
    const size_t token = blockIdx.x;
    for (size_t i = threadIdx.x; i < cosines.width; i += blockDim.x) {
        const double angle = (double)tokens[token].position * steps[i];
        cosines.at[token * cosines.stride + i] = (float)cos(angle);
        sines.at[token * sines.stride + i] = (float)sin(angle);
    }
}

bool cuda_angles(struct bitnet_cuda *cuda, const struct bitnet_cuda_token *tokens, size_t n,
                 const double *steps, struct bitnet_cuda_vectors cosines,
                 struct bitnet_cuda_vectors sines)
{
    if (!cuda_may_launch(cuda, "angles")) return false;
    if (n == 0) return true;
    launch(angles_kernel, dim3((unsigned)n), dim3(64), 0, cuda, tokens, steps, cosines, sines);
    return cuda_launched(cuda, "angles");
}

struct remember_job {
    struct bitnet_cuda_attention shape;
    const struct bitnet_cuda_token *tokens;
    struct bitnet_cuda_vectors cosines, sines, q, k, v;
    size_t n_rot;
    bool halves;
};

/* The rotation of a pair. */
static __device__ __forceinline__ void rotate(const struct remember_job &job, float *head, size_t i,
                                              size_t token)
{
    const float c = job.cosines.at[token * job.cosines.stride + i];
    const float s = job.sines.at[token * job.sines.stride + i];
    float *a = head + (job.halves ? i : 2 * i), *b = job.halves ? a + job.n_rot / 2 : a + 1;
    const float turned_a = fmaf(*a, c, -__fmul_rn(*b, s));
    const float turned_b = fmaf(*a, s, __fmul_rn(*b, c));
    *a = turned_a;
    *b = turned_b;
}

/* A block per token and head; first the queries, then the keys, then the values. */
static __global__ void __launch_bounds__(HEAD_THREADS) remember_kernel(struct remember_job job)
{
    await_earlier();
    const struct bitnet_cuda_attention &shape = job.shape;
    const size_t token = blockIdx.x, dim = shape.head_dim, pairs = job.n_rot / 2;
    const bool is_query = blockIdx.y < shape.n_heads;
    const size_t row = is_query ? blockIdx.y : blockIdx.y - shape.n_heads;
    const bool is_key = !is_query && row < shape.n_kv_heads;
    const size_t head = is_query || is_key ? row : row - shape.n_kv_heads;
    const struct bitnet_cuda_vectors &from = is_query ? job.q : is_key ? job.k : job.v;
    float *x = from.at + token * from.stride + head * dim;
    if (is_query || is_key)
        for (size_t i = threadIdx.x; i < pairs; i += HEAD_THREADS) rotate(job, x, i, token);
    if (is_query) return;
    __syncthreads();
    const size_t plane = shape.n_kv_heads * shape.n_cells * dim; /* keys or values of a layer */
    uint16_t *cell = job.tokens[token].cache + (2 * shape.layer + !is_key) * plane +
                     (head * shape.n_cells + (size_t)job.tokens[token].cell) * dim;
    for (size_t d = threadIdx.x; d < dim; d += HEAD_THREADS) cell[d] = float_to_half(x[d]);
}

bool cuda_remember(struct bitnet_cuda *cuda, const struct bitnet_cuda_attention *shape,
                   const struct bitnet_cuda_token *tokens, size_t n, size_t n_rot, bool halves,
                   struct bitnet_cuda_vectors cosines, struct bitnet_cuda_vectors sines,
                   struct bitnet_cuda_vectors q, struct bitnet_cuda_vectors k,
                   struct bitnet_cuda_vectors v)
{
    if (!cuda_may_launch(cuda, "remember")) return false;
    if (n == 0) return true;
    const struct remember_job job = {*shape, tokens, cosines, sines, q, k, v, n_rot, halves};
    const dim3 grid((unsigned)n, (unsigned)(shape->n_heads + 2 * shape->n_kv_heads));
    launch(remember_kernel, grid, dim3(HEAD_THREADS), 0, cuda, job);
    return cuda_launched(cuda, "remember");
}

/* ------------------------------------------------------------------ element by element */

static __global__ void gate_kernel(enum bitnet_cuda_gate act, struct bitnet_cuda_vectors gate,
                                   struct bitnet_cuda_vectors up)
{
    await_earlier();
    const size_t c = (size_t)blockIdx.x * blockDim.x + threadIdx.x, token = blockIdx.y;
    if (c >= gate.width) return;
    float *g = gate.at + token * gate.stride + c;
    *g = __fmul_rn(activate(act, *g), up.at[token * up.stride + c]);
}

bool cuda_gate(struct bitnet_cuda *cuda, enum bitnet_cuda_gate act, struct bitnet_cuda_vectors gate,
               struct bitnet_cuda_vectors up, size_t n)
{
    if (!cuda_may_launch(cuda, "gate")) return false;
    if (n == 0) return true;
    launch(gate_kernel, dim3(ceil_div(gate.width, THREADS), (unsigned)n), dim3(THREADS), 0, cuda,
           act, gate, up);
    return cuda_launched(cuda, "gate");
}

static __global__ void add_kernel(struct bitnet_cuda_vectors x, struct bitnet_cuda_vectors y)
{
    await_earlier();
    const size_t c = (size_t)blockIdx.x * blockDim.x + threadIdx.x, token = blockIdx.y;
    if (c < x.width) x.at[token * x.stride + c] += y.at[token * y.stride + c];
}

bool cuda_add(struct bitnet_cuda *cuda, struct bitnet_cuda_vectors x, struct bitnet_cuda_vectors y,
              size_t n)
{
    if (!cuda_may_launch(cuda, "add")) return false;
    if (n == 0) return true;
    launch(add_kernel, dim3(ceil_div(x.width, THREADS), (unsigned)n), dim3(THREADS), 0, cuda, x, y);
    return cuda_launched(cuda, "add");
}

/* ------------------------------------------------------------------ the greedy choice */

/* A candidate as one number, so that the maximum is the larger logit, then the lower id. */
static __device__ __forceinline__ unsigned long long candidate(float logit, unsigned id)
{
    const unsigned bits = __float_as_uint(logit);
    const unsigned order = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (unsigned long long)order << 32 | (0xffffffffu - id);
}

struct larger_candidate {
    __device__ unsigned long long operator()(unsigned long long a, unsigned long long b) const
    {
        return a > b ? a : b;
    }
};

static __global__ void __launch_bounds__(1024)
    argmax_kernel(struct bitnet_cuda_vectors logits, int32_t *ids)
{
    await_earlier();
    const float *row = logits.at + blockIdx.x * logits.stride;
    unsigned long long best = 0;
    float unusual = 0;
    for (size_t i = threadIdx.x; i < logits.width; i += blockDim.x) {
        const float logit = row[i] + 0.0f; /* -0 and 0 are equal */
        if (logit != logit) unusual = 1;
        const unsigned long long mine = candidate(logit, (unsigned)i);
        if (mine > best) best = mine;
    }
    best = block_reduce(best, larger_candidate());
    unusual = block_reduce(unusual, larger());
    if (threadIdx.x == 0) {
        const int32_t id = (int32_t)(0xffffffffu - (unsigned)best);
        const bool is_finite = unusual == 0 && fabsf(row[id]) <= 3.402823466e38f;
        ids[blockIdx.x] = is_finite ? id : -1;
    }
}

bool cuda_argmax(struct bitnet_cuda *cuda, struct bitnet_cuda_vectors logits, size_t n,
                 int32_t *ids)
{
    if (!cuda_may_launch(cuda, "argmax")) return false;
    if (n == 0) return true;
    launch(argmax_kernel, dim3((unsigned)n), dim3(1024), 0, cuda, logits, ids);
    return cuda_launched(cuda, "argmax");
}
