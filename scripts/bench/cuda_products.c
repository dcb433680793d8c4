/* cuda_products [PLUGIN [quick]]
 *
 * How near the CUDA device's products are to its memory's and its tensor cores' speed, as a table
 * in Markdown: the bandwidth that a plain sum of vectors reaches there and then, and every shape of
 * ternary and dense product beside it. Each measured pass is a graph over as many copies of the
 * weights as the second-level cache cannot hold. "quick": a look whether it runs, on an emulated
 * device too; its numbers say nothing. */
#include "bitnet/device.h"

#include "../../kernels/cuda/cuda.h"
#include "../../kernels/cuda/device_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COPIES_MAX 64

static const struct bitnet_cuda_api *api;
static struct bitnet_cuda *cuda;
static struct bitnet_cuda_info info;
static bool is_quick;

static void stop(const char *what)
{
    fprintf(stderr, "cuda_products: %s: %s\n", what, cuda ? api->last_error(cuda) : "");
    exit(1);
}

static void good(bool ok, const char *what)
{
    if (!ok) stop(what);
}

static void *room(size_t bytes)
{
    void *at = api->alloc(cuda, bytes);
    if (!at) stop("memory");
    good(api->zero(cuda, at, bytes), "memory");
    return at;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ------------------------------------------------------------------ measuring */

/* One launch of what is measured, of copy i. */
typedef bool pass_fn(void *job, size_t i);

/* Seconds of one pass: the best of several runs of a graph of n passes. */
static double measure(pass_fn *pass, void *job, size_t n)
{
    const int n_runs = is_quick ? 1 : 7;
    double best = 1e30;
    good(api->graph_begin(cuda), "graph");
    for (size_t i = 0; i < n; i++) good(pass(job, i), "launch");
    struct bitnet_cuda_graph *graph = api->graph_end(cuda);
    good(graph != NULL, "graph");
    for (int run = -1; run < n_runs; run++) { /* the first one warms up */
        good(api->sync(cuda), "sync");
        const double begin = now_s();
        good(api->graph_run(cuda, graph) && api->sync(cuda), "run");
        const double s = now_s() - begin;
        if (run >= 0 && s < best) best = s;
    }
    api->graph_free(cuda, graph);
    return best / (double)n;
}

/* Copies that together exceed the second-level cache four times. */
static size_t copies_of(size_t bytes)
{
    const size_t want = 4 * (size_t)info.l2_bytes / bytes + 2;
    if (is_quick) return 2;
    return want < 4 ? 4 : want < COPIES_MAX ? want : COPIES_MAX;
}

/* ------------------------------------------------------------------ the memory */

struct sum_job {
    struct bitnet_cuda_vectors x, y;
    size_t n;
};

static bool sum_pass(void *user, size_t i)
{
    const struct sum_job *job = user;
    (void)i;
    return api->add(cuda, job->x, job->y, job->n);
}

/* Bytes per second of x += y: two numbers read and one written. */
static double bandwidth(void)
{
    const size_t width = 8192, n = is_quick ? 4 : 8192;
    struct sum_job job = {.n = n};
    job.x = (struct bitnet_cuda_vectors){room(n * width * 4), width, width};
    job.y = (struct bitnet_cuda_vectors){room(n * width * 4), width, width};
    const double s = measure(sum_pass, &job, is_quick ? 1 : 10);
    api->free(cuda, job.x.at);
    api->free(cuda, job.y.at);
    return 3.0 * (double)n * (double)width * 4 / s;
}

/* ------------------------------------------------------------------ products */

struct product_job {
    size_t rows, cols, n_tokens;
    void *weights[COPIES_MAX];
    size_t n_copies;
    struct bitnet_cuda_codes codes; /* ternary */
    struct bitnet_cuda_vectors x;   /* dense */
    enum bitnet_cuda_dense type;
    float *y;
};

static bool ternary_pass(void *user, size_t i)
{
    const struct product_job *job = user;
    const struct bitnet_cuda_product product = {.weights = job->weights[i % job->n_copies],
                                                .rows = job->rows,
                                                .scale = 1,
                                                .y = job->y,
                                                .y_stride = job->rows};
    return api->ternary(cuda, job->codes, job->cols, job->n_tokens, &product, 1);
}

static bool dense_pass(void *user, size_t i)
{
    const struct product_job *job = user;
    return api->dense(cuda, job->type, job->weights[i % job->n_copies], job->rows, 1, NULL, job->x,
                      job->n_tokens, job->y, job->rows);
}

static void print_row(const char *what, const struct product_job *job, size_t bytes, double s,
                      double peak)
{
    const double gbps = (double)bytes / s * 1e-9;
    const double tops = 2.0 * (double)job->rows * (double)job->cols * (double)job->n_tokens / s;
    printf("| %s | %zu x %zu | %zu | %.2f | %.0f | %.0f %% | %.1f |\n", what, job->rows, job->cols,
           job->n_tokens, s * 1e6, gbps, 100 * gbps * 1e9 / peak, tops * 1e-12);
}

static void measure_product(const char *what, bool is_ternary, enum bitnet_cuda_dense type,
                            size_t weight_bytes, size_t rows, size_t cols, size_t n_tokens,
                            double peak)
{
    struct product_job job = {.rows = rows, .cols = cols, .n_tokens = n_tokens, .type = type};
    job.n_copies = copies_of(weight_bytes);
    for (size_t i = 0; i < job.n_copies; i++) job.weights[i] = room(weight_bytes);
    job.codes.words = room(n_tokens * device_code_words(cols) * 4);
    job.codes.scales = room(n_tokens * 4);
    job.codes.sums = room(n_tokens * 4);
    job.x = (struct bitnet_cuda_vectors){room(n_tokens * cols * 4), cols, cols};
    job.y = room(n_tokens * rows * 4);
    const double s = measure(is_ternary ? ternary_pass : dense_pass, &job, job.n_copies);
    print_row(what, &job, weight_bytes, s, peak);
    for (size_t i = 0; i < job.n_copies; i++) api->free(cuda, job.weights[i]);
    api->free(cuda, job.codes.words);
    api->free(cuda, job.codes.scales);
    api->free(cuda, job.codes.sums);
    api->free(cuda, job.x.at);
    api->free(cuda, job.y);
}

static void measure_ternary(size_t rows, size_t cols, size_t n_tokens, double peak)
{
    measure_product("ternary", true, BITNET_CUDA_F16, device_weight_words(rows, cols) * 4, rows,
                    cols, n_tokens, peak);
}

int main(int argc, char **argv)
{
    static const size_t shapes[][2] = {{2560, 2560},  {13824, 2560}, {2560, 6912}, {28672, 4096},
                                       {4096, 14336}, {46080, 3072}, {3072, 23040}};
    static const size_t batches[] = {1, 2, 4, 8, 16, 64, 512, 2048};
    struct bitnet_cuda_plugin plugin;
    char why[200] = "";
    is_quick = argc > 2 && strcmp(argv[2], "quick") == 0;
    bitnet_cuda_plugin_open(&plugin, argc > 1 && argv[1][0] ? argv[1] : NULL);
    api = plugin.api;
    if (!api || api->count(why, sizeof why) == 0) {
        printf("SKIPPED: no CUDA device (%s)\n", api ? why : plugin.why);
        bitnet_cuda_plugin_close(&plugin);
        return 77;
    }
    cuda = api->open(0, why, sizeof why);
    if (!cuda || !api->info(0, &info)) stop(why);
    const double peak = bandwidth();
    printf("%s, sm_%d%d, %d multiprocessors; x += y moves %.1f GB/s\n\n"
           "| product | rows x columns | tokens | us | GB/s of weights | of x += y | TOPS |\n"
           "|---|---|---:|---:|---:|---:|---:|\n",
           info.name, info.compute_major, info.compute_minor, info.n_multiprocessors, peak * 1e-9);
    for (size_t s = 0; s < (is_quick ? 1 : sizeof shapes / sizeof *shapes); s++)
        for (size_t b = 0; b < (is_quick ? 2 : sizeof batches / sizeof *batches); b++)
            measure_ternary(is_quick ? 128 : shapes[s][0], is_quick ? 256 : shapes[s][1],
                            batches[b], peak);
    const size_t rows = is_quick ? 64 : 128256, cols = is_quick ? 256 : 2560;
    for (size_t b = 0; b < (is_quick ? 2 : 6); b++) {
        measure_product("F16", false, BITNET_CUDA_F16, rows * cols * 2, rows, cols, batches[b],
                        peak);
        measure_product("Q8_0", false, BITNET_CUDA_Q8_0, rows * cols / 32 * 34, rows, cols,
                        batches[b], peak);
        measure_product("Q6_K", false, BITNET_CUDA_Q6_K, rows * cols / 256 * 210, rows, cols,
                        batches[b], peak);
    }
    api->close(cuda);
    bitnet_cuda_plugin_close(&plugin);
    return 0;
}
