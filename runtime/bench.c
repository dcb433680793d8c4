/* Tokens per second of one test, repeated. The tokens are arbitrary but fixed; what is timed is
 * evaluation alone. */
#include "context.h"

#include "bitnet/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#define DEFAULT_REPEATS 5u
#define PROMPT_BATCH    4096u

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The sequences that go on together, all with the same tokens. */
struct rig {
    struct bitnet_context **contexts; /* [n] */
    struct slice *slices;             /* [n] */
    size_t n;
};

/* Any id will do; a spread avoids reading one row of the embedding only. */
static int32_t some_token(const struct rig *rig, size_t i)
{
    return (int32_t)((i * 7919 + 1) % rig->contexts[0]->model->hparams.n_vocab);
}

static enum bitnet_status eval_all(struct rig *rig, const int32_t *tokens, size_t n,
                                   size_t first_kept, struct bitnet_error *err)
{
    for (size_t i = 0; i < rig->n; i++)
        rig->slices[i] = (struct slice){rig->contexts[i], tokens, n, first_kept, NULL};
    return eval_slices(rig->slices, rig->n, err);
}

/* As a greedy text goes on: who evaluates on a device gets ids back. */
static enum bitnet_status decode_all(struct rig *rig, const int32_t *token,
                                     struct bitnet_error *err)
{
    for (size_t i = 0; i < rig->n; i++)
        rig->slices[i] = (struct slice){rig->contexts[i], token, 1, 0, NULL};
    return eval_slices_best(rig->slices, rig->n, err);
}

static enum bitnet_status eval_prompt(struct rig *rig, size_t n, struct bitnet_error *err)
{
    int32_t tokens[PROMPT_BATCH];
    enum bitnet_status status = BITNET_OK;
    for (size_t done = 0; done < n && !status;) {
        size_t batch = n - done < PROMPT_BATCH ? n - done : PROMPT_BATCH;
        for (size_t i = 0; i < batch; i++) tokens[i] = some_token(rig, done + i);
        done += batch;
        /* As a prompt: logits of the very last token only. */
        status = eval_all(rig, tokens, batch, done == n ? batch - 1 : batch, err);
    }
    return status;
}

/* One repeat, its two parts timed apart. */
struct run {
    double prompt_s, generate_s;
};

static enum bitnet_status fill(struct rig *rig, const struct bitnet_bench_options *options,
                               struct bitnet_error *err)
{
    struct bitnet_context *first = rig->contexts[0];
    struct bitnet_op_cost *costs = first->costs; /* not of the filling */
    first->costs = NULL;
    for (size_t i = 0; i < rig->n; i++) bitnet_context_reset(rig->contexts[i]);
    enum bitnet_status status = eval_prompt(rig, options->n_filled, err);
    first->costs = costs;
    return status;
}

static enum bitnet_status check_cancel(const struct bitnet_bench_options *options,
                                       struct bitnet_error *err)
{
    if (options->cancel && *options->cancel)
        return bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
    return BITNET_OK;
}

static enum bitnet_status run_once(struct rig *rig, const struct bitnet_bench_options *options,
                                   struct run *run, struct bitnet_error *err)
{
    enum bitnet_status status = fill(rig, options, err);
    double start = now_s();
    if (!status) status = eval_prompt(rig, options->n_prompt, err);
    double middle = now_s();
    for (uint32_t i = 0; i < options->n_generate && !status; i++) {
        int32_t token = some_token(rig, i);
        status = decode_all(rig, &token, err);
        if (!status) status = check_cancel(options, err);
    }
    run->prompt_s = middle - start;
    run->generate_s = now_s() - middle;
    return status ? status : check_cancel(options, err);
}

/* ------------------------------------------------------------------ statistics */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two neighbours of the share; `sorted` has n values. */
static double quantile(const double *sorted, uint32_t n, double share)
{
    double at = share * (n - 1);
    uint32_t below = (uint32_t)at, above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

static double median_of(double *values, uint32_t n)
{
    qsort(values, n, sizeof *values, compare);
    return quantile(values, n, 0.5);
}

static void summarise_rates(double *rates, uint32_t n, struct bitnet_bench_result *result)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < n; i++) sum += rates[i];
    result->mean = sum / n;
    for (uint32_t i = 0; i < n; i++)
        squares += (rates[i] - result->mean) * (rates[i] - result->mean);
    result->deviation = n > 1 ? sqrt(squares / (n - 1)) : 0;
    result->median = median_of(rates, n);
    result->quartiles[0] = quantile(rates, n, 0.25);
    result->quartiles[1] = quantile(rates, n, 0.75);
    result->worst = rates[0];
    result->best = rates[n - 1];
}

static void summarise(const struct run *runs, uint32_t n, double n_tokens,
                      struct bitnet_bench_result *result)
{
    double values[BITNET_BENCH_REPEATS_MAX], seconds = 0;
    for (uint32_t i = 0; i < n; i++) {
        double s = runs[i].prompt_s + runs[i].generate_s;
        values[i] = n_tokens / (s > 1e-9 ? s : 1e-9);
        seconds += s;
    }
    summarise_rates(values, n, result);
    for (uint32_t i = 0; i < n; i++) values[i] = 1e3 * runs[i].prompt_s;
    result->prompt_ms = median_of(values, n);
    for (uint32_t i = 0; i < n; i++) values[i] = 1e3 * runs[i].generate_s;
    result->generate_ms = median_of(values, n);
    result->seconds = seconds / n;
    result->n_repeats = n;
}

/* ------------------------------------------------------------------ the door */

static double read_joules(const struct bitnet_bench_options *options)
{
    return options->joules ? options->joules(options->user) : -1;
}

static enum bitnet_status run_all(struct rig *rig, const struct bitnet_bench_options *options,
                                  struct bitnet_bench_result *result, struct bitnet_error *err)
{
    struct run runs[BITNET_BENCH_REPEATS_MAX];
    uint32_t n = options->n_repeats ? options->n_repeats : DEFAULT_REPEATS;
    if (n > BITNET_BENCH_REPEATS_MAX)
        return bitnet_fail(err, BITNET_USAGE, "%u repeats, at most %d", (unsigned)n,
                           BITNET_BENCH_REPEATS_MAX);
    enum bitnet_status status = run_once(rig, options, &runs[0], err); /* warms caches and pages */
    double before = read_joules(options);
    for (uint32_t i = 0; i < n && !status; i++) status = run_once(rig, options, &runs[i], err);
    double after = read_joules(options);
    if (status) return status;
    double n_tokens = (double)options->n_prompt + (double)options->n_generate;
    summarise(runs, n, n_tokens * (double)rig->n, result);
    result->joules = before >= 0 && after >= before ? (after - before) / n : -1;
    rig->contexts[0]->costs = result->costs;
    return options->with_costs ? run_once(rig, options, &runs[0], err) : BITNET_OK;
}

static enum bitnet_status open_contexts(struct rig *rig, const struct bitnet_model *model,
                                        struct bitnet_context_options options,
                                        struct bitnet_bench_result *result,
                                        struct bitnet_error *err)
{
    size_t n = options.n_sequences;
    enum bitnet_status status = BITNET_OK;
    rig->contexts = bitnet_alloc(n, sizeof(struct bitnet_context *));
    rig->slices = bitnet_alloc(n, sizeof *rig->slices);
    if (!rig->contexts || !rig->slices)
        return bitnet_fail(err, BITNET_MEMORY, "no memory for %zu sequences", n);
    for (; rig->n < n && !status; rig->n += !status) {
        result->context_bytes += bitnet_context_bytes(model, &options);
        status = bitnet_context_new(&rig->contexts[rig->n], model, &options, err);
        options.shares = rig->contexts[0];
    }
    return status;
}

static void close_contexts(struct rig *rig)
{
    while (rig->n > 0) bitnet_context_free(rig->contexts[--rig->n]);
    bitnet_free(rig->contexts);
    bitnet_free(rig->slices);
}

enum bitnet_status bitnet_bench(const struct bitnet_model *model,
                                const struct bitnet_bench_options *options,
                                struct bitnet_bench_result *result, struct bitnet_error *err)
{
    *result = (struct bitnet_bench_result){0};
    uint64_t n_cells =
        (uint64_t)options->n_filled + (uint64_t)options->n_prompt + (uint64_t)options->n_generate;
    if (options->n_prompt == 0 && options->n_generate == 0)
        return bitnet_fail(err, BITNET_USAGE, "a test of no tokens");
    if (n_cells > UINT32_MAX) return bitnet_fail(err, BITNET_USAGE, "a test of too many tokens");
    if (options->n_context && n_cells > options->n_context)
        return bitnet_fail(err, BITNET_USAGE,
                           "a test of %" PRIu64 " tokens in a context of %" PRIu32, n_cells,
                           options->n_context);
    result->n_context = options->n_context ? options->n_context : (uint32_t)n_cells;
    struct rig rig = {0};
    const struct bitnet_context_options context = {
        .n_context = result->n_context,
        .n_batch = options->n_batch,
        .pool = options->pool,
        .quantized_cache = options->quantized_cache,
        .n_sequences = options->n_sequences ? options->n_sequences : 1};
    enum bitnet_status status = open_contexts(&rig, model, context, result, err);
    if (!status) status = run_all(&rig, options, result, err);
    close_contexts(&rig);
    return status;
}
