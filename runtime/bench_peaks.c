/* The two limits that a profile is held against, measured: bytes per second that all threads read
 * together, and operations per second of the ternary kernel on a matrix and activations that stay
 * in the second cache. */
#include "bench_report.h"

#include "bitnet/alloc.h"
#include "bitnet/cpu.h"
#include "bitnet/kernels.h"

#include <string.h>
#include <time.h>

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
    bool is_found; /* asked for, so that the search is not left out */
};

/* memchr() looks at every byte with the widest loads the C library has. */
static void read_slice(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct read_job *job = ctx;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        if (memchr(job->bytes + i * READ_SLICE, 1, READ_SLICE)) job->is_found = true;
}

static double measure_reading(struct bitnet_pool *pool)
{
    uint8_t *bytes = bitnet_alloc(READ_BYTES, 1);
    struct read_job job = {.bytes = bytes};
    double best = 0;
    if (!bytes) return 0;
    memset(bytes, 2, READ_BYTES); /* pages of their own, not the one page of zeros */
    for (int i = 0; i < 5; i++) {
        double start = now_s();
        bitnet_pool_run(pool, READ_BYTES / READ_SLICE, 4, read_slice, &job);
        double rate = READ_BYTES / (now_s() - start) / 1e9;
        if (rate > best) best = rate;
    }
    bitnet_free(bytes);
    return job.is_found ? 0 : best;
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
    peaks->ternary_gops = measure_products(pool, set.ternary);
}
