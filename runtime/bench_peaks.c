/* What a profile is held against, measured with all threads at once: bytes per second that they
 * read, int8 operations per second in registers, and operations per second of the ternary kernel
 * on a matrix and activations that stay in the second cache. */
#include "bench_report.h"

#include "bench_limits.h"

#include "bitnet/alloc.h"
#include "bitnet/cpu.h"
#include "bitnet/kernels.h"

#include <string.h>
#include <time.h>

#define REPEATS      5
#define MAX_THREADS  1024 /* of a pool */
#define READ_BYTES   (256u << 20)
#define READ_SLICE   (1u << 20)
#define TRIT_ROWS    128u
#define TRIT_COLS    2048u
#define TRIT_TOKENS  64u
#define TRIT_REPEATS 64u

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct read_job {
    const uint8_t *bytes;
    uint64_t sums[MAX_THREADS]; /* asked for, so that the reading is not left out */
};

static void read_slice(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct read_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        job->sums[thread] += limit_read(job->bytes + i * READ_SLICE, READ_SLICE);
}

static double measure_reading(struct bitnet_pool *pool)
{
    uint8_t *bytes = bitnet_alloc_pages(READ_BYTES); /* where the model lies too */
    struct read_job job = {.bytes = bytes};
    double best = 0;
    if (!bytes) return 0;
    memset(bytes, 2, READ_BYTES); /* pages of their own, not the one page of zeros */
    for (int i = 0; i < REPEATS; i++) {
        double start = now_s();
        bitnet_pool_run(pool, READ_BYTES / READ_SLICE, 4, read_slice, &job);
        double rate = READ_BYTES / (now_s() - start) / 1e9;
        if (rate > best) best = rate;
    }
    bitnet_free_pages(bytes, READ_BYTES);
    return best;
}

struct product_job {
    limit_products_fn *run;
    double n_ops[MAX_THREADS];
    int32_t results[MAX_THREADS];
};

static void multiply_in_registers(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct product_job *job = ctx;
    for (size_t i = begin; i < end; i++) {
        double n_ops;
        job->results[thread] += job->run(&n_ops);
        job->n_ops[thread] += n_ops;
    }
}

static double measure_products_in_registers(struct bitnet_pool *pool, uint32_t cpu)
{
    struct product_job job = {.run = limit_products(cpu)};
    double best = 0;
    for (int i = 0; i < REPEATS && job.run; i++) {
        double n_ops = 0, start = now_s();
        memset(job.n_ops, 0, sizeof job.n_ops);
        bitnet_pool_run(pool, 8 * bitnet_pool_threads(pool), 1, multiply_in_registers, &job);
        double seconds = now_s() - start;
        for (int t = 0; t < MAX_THREADS; t++) n_ops += job.n_ops[t];
        if (n_ops / seconds > best) best = n_ops / seconds;
    }
    return best / 1e9;
}

struct trit_job {
    const struct bitnet_ternary_path *path;
    uint8_t *panels;
    int8_t *x;
    int32_t *y; /* [thread][tokens][rows] */
};

static void multiply_again(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct trit_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        job->path->matmul(job->panels, TRIT_ROWS, TRIT_COLS, 0, TRIT_ROWS / job->path->panel_rows,
                          job->x, TRIT_COLS, TRIT_TOKENS,
                          job->y + (size_t)thread * TRIT_TOKENS * TRIT_ROWS, TRIT_ROWS);
}

static double time_products(struct bitnet_pool *pool, struct trit_job *job, size_t n)
{
    double best = 0;
    for (int i = 0; i < 5; i++) {
        double start = now_s();
        bitnet_pool_run(pool, n, 1, multiply_again, job);
        double rate = 2.0 * TRIT_ROWS * TRIT_COLS * TRIT_TOKENS * (double)n / (now_s() - start);
        if (rate > best) best = rate;
    }
    return best / 1e9;
}

static double measure_products(struct bitnet_pool *pool, const struct bitnet_ternary_path *path)
{
    size_t n_threads = bitnet_pool_threads(pool);
    struct trit_job job = {.path = path};
    int8_t *trits = bitnet_alloc(TRIT_ROWS, TRIT_COLS);
    size_t panel_bytes = path->panel_bytes(TRIT_COLS), n_panels = TRIT_ROWS / path->panel_rows;
    job.panels = bitnet_alloc_aligned(panel_bytes * n_panels);
    job.x = bitnet_alloc_aligned((size_t)TRIT_TOKENS * TRIT_COLS);
    job.y = bitnet_alloc_aligned(n_threads * TRIT_TOKENS * TRIT_ROWS * sizeof *job.y);
    double gops = 0;
    if (trits && job.panels && job.x && job.y) {
        for (size_t panel = 0; panel < n_panels; panel++)
            path->pack(trits, TRIT_ROWS, TRIT_COLS, panel, job.panels + panel * panel_bytes);
        gops = time_products(pool, &job, n_threads * TRIT_REPEATS);
    }
    bitnet_free_aligned(job.y);
    bitnet_free_aligned(job.x);
    bitnet_free_aligned(job.panels);
    bitnet_free(trits);
    return gops;
}

void bench_measure_peaks(struct bitnet_pool *pool, uint32_t cpu, struct bench_peaks *peaks)
{
    struct bitnet_kernel_set set;
    bitnet_kernels_select(&set, cpu);
    peaks->gb_per_s = measure_reading(pool);
    peaks->int8_gops = measure_products_in_registers(pool, cpu);
    peaks->ternary_gops = measure_products(pool, set.ternary);
}
