/* Float weights into the bytes of a file: I2_S, TL2 and TQ2_0, the same bytes that the CPU writes
 * (kernels/quantizer.c and kernels/quant, where each type has its drawing). Every output byte is
 * one thread's: it knows from its place which weights it spells. */
#include "device.cuh"

enum { ENCODE_THREADS = 256 };

/* ------------------------------------------------------------------ measuring */

enum { LANES = 16 };

/* 16 threads per row, one for each lane of the sum that quantizer.h defines. */
static __global__ void __launch_bounds__(ENCODE_THREADS)
    measure_kernel(const float *x, size_t rows, size_t cols, struct bitnet_cuda_row_facts *facts)
{
    await_earlier();
    const unsigned lane = threadIdx.x % LANES;
    const size_t row = (size_t)blockIdx.x * (ENCODE_THREADS / LANES) + threadIdx.x / LANES;
    double sum = 0;
    unsigned most = 0, least = 0xffffffffu; /* least: of magnitude - 1, so that 0 is never it */
    if (row < rows) {
        const float *at = x + row * cols;
        for (size_t c = lane; c < cols; c += LANES) {
            const unsigned magnitude = __float_as_uint(at[c]) & 0x7fffffffu;
            sum += (double)__uint_as_float(magnitude);
            most = max(most, magnitude);
            least = min(least, magnitude - 1);
        }
    }
    for (unsigned step = LANES / 2; step; step /= 2) {
        sum += __shfl_down_sync(WHOLE_WARP, sum, step);
        most = max(most, __shfl_down_sync(WHOLE_WARP, most, step));
        least = min(least, __shfl_down_sync(WHOLE_WARP, least, step));
    }
    if (row < rows && lane == 0) facts[row] = {sum, most, least == 0xffffffffu ? least : least + 1};
}

bool cuda_measure(struct bitnet_cuda *cuda, const float *x, size_t rows, size_t cols,
                  struct bitnet_cuda_row_facts *facts)
{
    if (!cuda_may_launch(cuda, "measure")) return false;
    if (rows == 0) return true;
    launch(measure_kernel, dim3(ceil_div(rows, ENCODE_THREADS / LANES)), dim3(ENCODE_THREADS), 0,
           cuda, x, rows, cols, facts);
    return cuda_launched(cuda, "measure");
}

/* ------------------------------------------------------------------ one trit, one byte */

struct encode_job {
    struct bitnet_cuda_encoding what;
    size_t triple_cols, signs_at, pairs_at, end; /* TL2 */
};

static __device__ __forceinline__ int trit_at(const struct bitnet_cuda_encoding &e, size_t at)
{
    if (e.inverse == 0) return (e.x[at] > 0) - (e.x[at] < 0);
    const float v = __fmul_rn(e.x[at], e.inverse); /* exactly 0.5 goes to 0, the even one */
    return (v > 0.5f) - (v < -0.5f);
}

static __device__ __forceinline__ uint8_t i2_s_byte(const struct bitnet_cuda_encoding &e, size_t at)
{
    const size_t first = at / 32 * 128 + at % 32;
    unsigned byte = 0;
    for (int s = 0; s < 4; s++) byte = byte << 2 | (unsigned)(trit_at(e, first + 32 * s) + 1);
    return (uint8_t)byte;
}

/* TL2 writes strips: the same few columns of 32 rows, in an order that swaps the middle eights. */
enum { TL2_ROWS = 32 };

/* The row and the first column of what unit number `at` of a segment holds: 32 rows by
 * `step_cols` columns are 32 units; steps, row groups, tiles of columns and tiles of rows follow
 * each other, innermost first. */
struct place {
    size_t row, col;
};

static __device__ __forceinline__ struct place place_of(const struct bitnet_cuda_encoding &e,
                                                        size_t group, size_t cols, size_t tile_cols,
                                                        size_t step_cols)
{
    const size_t n_steps = tile_cols / step_cols, step = group % n_steps;
    group /= n_steps;
    const size_t sub_rows = e.tile_rows / TL2_ROWS, sub_row = group % sub_rows;
    group /= sub_rows;
    const size_t n_tile_cols = cols / tile_cols, tile_col = group % n_tile_cols;
    return {group / n_tile_cols * e.tile_rows + sub_row * TL2_ROWS,
            tile_col * tile_cols + step * step_cols};
}

static __device__ __forceinline__ size_t swapped(size_t p)
{
    return (p & 7u) | (p & 8u) << 1 | (p & 16u) >> 1;
}

static __device__ __forceinline__ int triple_at(const struct bitnet_cuda_encoding &e, size_t at)
{
    return 9 * trit_at(e, at) + 3 * trit_at(e, at + 1) + trit_at(e, at + 2);
}

static __device__ __forceinline__ unsigned pair_at(const struct bitnet_cuda_encoding &e, size_t at)
{
    return (unsigned)(3 * trit_at(e, at) + trit_at(e, at + 1) + 4);
}

static __device__ __forceinline__ uint8_t index_byte(const struct encode_job &job, size_t at)
{
    const struct bitnet_cuda_encoding &e = job.what;
    const struct place p = place_of(e, at / TL2_ROWS, job.triple_cols, e.tile_cols, 6);
    const size_t from = (p.row + swapped(at % TL2_ROWS)) * e.cols + p.col;
    const int a = triple_at(e, from), b = triple_at(e, from + 3);
    return (uint8_t)((a < 0 ? -a : a) << 4 | (b < 0 ? -b : b));
}

/* A block of 32 bytes: 16 words, word j for rows j and 16 + j, bit 15 - (2c + h) the sign of triple
 * c of row 16h + j. */
static __device__ __forceinline__ uint8_t sign_byte(const struct encode_job &job, size_t at)
{
    const struct bitnet_cuda_encoding &e = job.what;
    const struct place p = place_of(e, at / 32, job.triple_cols, e.tile_cols, 24);
    const size_t word = at % 32 / 2;
    const unsigned first_bit = at % 2 ? 8 : 0; /* low byte first */
    unsigned byte = 0;
    for (unsigned bit = 0; bit < 8; bit++) {
        const unsigned number = 15 - (first_bit + bit), c = number / 2, h = number % 2;
        const size_t from = (p.row + 16 * h + word) * e.cols + p.col + 3 * c;
        byte |= (unsigned)(triple_at(e, from) < 0) << bit;
    }
    return (uint8_t)byte;
}

static __device__ __forceinline__ uint8_t pair_byte(const struct encode_job &job, size_t at)
{
    const struct bitnet_cuda_encoding &e = job.what;
    const struct place p = place_of(e, at / TL2_ROWS, e.cols - job.triple_cols, 32, 4);
    const size_t from = (p.row + swapped(at % TL2_ROWS)) * e.cols + job.triple_cols + p.col;
    return (uint8_t)(pair_at(e, from) << 4 | pair_at(e, from + 2));
}

static __device__ __forceinline__ uint8_t tl2_byte(const struct encode_job &job, size_t at)
{
    if (at < job.signs_at) return index_byte(job, at);
    if (at < job.pairs_at) return sign_byte(job, at - job.signs_at);
    if (at < job.end) return pair_byte(job, at - job.pairs_at);
    return 0;
}

/* Types with one scale in a tail of 32 bytes. */
static __global__ void __launch_bounds__(ENCODE_THREADS) encode_kernel(struct encode_job job)
{
    await_earlier();
    const struct bitnet_cuda_encoding &e = job.what;
    const size_t at = (size_t)blockIdx.x * ENCODE_THREADS + threadIdx.x, tail = e.n_bytes - 32;
    if (at >= e.n_bytes) return;
    uint8_t byte = 0;
    if (at < tail)
        byte = e.type == BITNET_CUDA_TO_I2_S ? i2_s_byte(e, at) : tl2_byte(job, at);
    else if (at < tail + 4)
        byte = (uint8_t)(__float_as_uint(e.scale) >> 8 * (at - tail));
    e.out[at] = byte;
}

/* ------------------------------------------------------------------ TQ2_0 */

enum { TQ2_BLOCK = 256, TQ2_BYTES = 66 };

/* A warp per block of 256: lane l finds the largest of elements l, l + 32, ..., then writes bytes l
 * and 32 + l, whose four codes are of its own elements. */
static __global__ void __launch_bounds__(ENCODE_THREADS) tq2_kernel(struct bitnet_cuda_encoding e)
{
    await_earlier();
    const unsigned lane = threadIdx.x % WARP;
    const size_t block = (size_t)blockIdx.x * (ENCODE_THREADS / WARP) + threadIdx.x / WARP;
    if (block >= e.rows * e.cols / TQ2_BLOCK) return; /* a whole warp */
    const float *x = e.x + block * TQ2_BLOCK + lane;
    uint8_t *out = e.out + block * TQ2_BYTES;
    float v[8], most = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        v[i] = x[32 * i];
        most = fmaxf(most, fabsf(v[i]));
    }
    for (int bits = 16; bits; bits /= 2)
        most = fmaxf(most, __shfl_xor_sync(WHOLE_WARP, most, bits));
    const float inverse = most != 0 ? __fdiv_rn(1.0f, most) : 0.0f;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        unsigned byte = 0;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float w = __fmul_rn(v[4 * h + k], inverse);
            byte |= (unsigned)(w >= 0.5f ? 2 : w <= -0.5f ? 0 : 1) << 2 * k;
        }
        out[32 * h + lane] = (uint8_t)byte;
    }
    if (lane < 2) out[64 + lane] = (uint8_t)(float_to_half(most) >> 8 * lane);
}

/* ------------------------------------------------------------------ the verb */

bool cuda_encode(struct bitnet_cuda *cuda, const struct bitnet_cuda_encoding *what)
{
    if (!cuda_may_launch(cuda, "encode")) return false;
    if (what->type == BITNET_CUDA_TO_TQ2_0) {
        launch(tq2_kernel,
               dim3(ceil_div(what->rows * what->cols / TQ2_BLOCK, ENCODE_THREADS / WARP)),
               dim3(ENCODE_THREADS), 0, cuda, *what);
        return cuda_launched(cuda, "encode");
    }
    struct encode_job job = {*what, 0, 0, 0, 0};
    if (what->type == BITNET_CUDA_TO_TL2) {
        job.triple_cols = what->cols - what->cols % what->tile_cols;
        job.signs_at = what->rows * job.triple_cols / 6;
        job.pairs_at = job.signs_at + what->rows * job.triple_cols / 24;
        job.end = job.pairs_at + what->rows * (what->cols - job.triple_cols) / 4;
    }
    launch(encode_kernel, dim3(ceil_div(what->n_bytes, ENCODE_THREADS)), dim3(ENCODE_THREADS), 0,
           cuda, job);
    return cuda_launched(cuda, "encode");
}
