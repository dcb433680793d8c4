/* Tokens per second of one test, repeated. The tokens are arbitrary but fixed; what is timed is
 * evaluation alone. */
#include "context.h"

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

/* Any id will do; a spread avoids reading one row of the embedding only. */
static int32_t some_token(const struct bitnet_context *c, size_t i)
{
    return (int32_t)((i * 7919 + 1) % c->model->hparams.n_vocab);
}

static enum bitnet_status eval_prompt(struct bitnet_context *c, size_t n, struct bitnet_error *err)
{
    int32_t tokens[PROMPT_BATCH];
    enum bitnet_status status = BITNET_OK;
    for (size_t done = 0; done < n && !status;) {
        size_t batch = n - done < PROMPT_BATCH ? n - done : PROMPT_BATCH;
        for (size_t i = 0; i < batch; i++) tokens[i] = some_token(c, done + i);
        done += batch;
        /* As a prompt: logits of the very last token only. */
        status = context_eval(c, tokens, batch, done == n ? batch - 1 : batch, err);
    }
    return status;
}

static enum bitnet_status run_once(struct bitnet_context *c,
                                   const struct bitnet_bench_options *options, double *seconds,
                                   struct bitnet_error *err)
{
    struct bitnet_op_cost *costs = c->costs; /* not of the filling */
    c->costs = NULL;
    bitnet_context_reset(c);
    enum bitnet_status status = eval_prompt(c, options->n_filled, err);
    c->costs = costs;
    double start = now_s();
    if (!status) status = eval_prompt(c, options->n_prompt, err);
    for (uint32_t i = 0; i < options->n_generate && !status; i++) {
        int32_t token = some_token(c, i);
        status = context_eval(c, &token, 1, 0, err);
        if (!status && options->cancel && *options->cancel)
            status = bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
    }
    *seconds = now_s() - start;
    if (!status && options->cancel && *options->cancel)
        status = bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
    return status;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void summarise(double *rates, uint32_t n, double n_tokens,
                      struct bitnet_bench_result *result)
{
    double sum = 0, squares = 0, seconds = 0;
    for (uint32_t i = 0; i < n; i++) sum += rates[i], seconds += n_tokens / rates[i];
    result->mean = sum / n;
    for (uint32_t i = 0; i < n; i++)
        squares += (rates[i] - result->mean) * (rates[i] - result->mean);
    result->deviation = n > 1 ? sqrt(squares / (n - 1)) : 0;
    qsort(rates, n, sizeof *rates, compare);
    result->median = n % 2 ? rates[n / 2] : (rates[n / 2 - 1] + rates[n / 2]) / 2;
    result->best = rates[n - 1];
    result->seconds = seconds / n;
    result->n_repeats = n;
}

static enum bitnet_status run_all(struct bitnet_context *c,
                                  const struct bitnet_bench_options *options,
                                  struct bitnet_bench_result *result, struct bitnet_error *err)
{
    double rates[BITNET_BENCH_REPEATS_MAX], seconds;
    double n_tokens = (double)options->n_prompt + (double)options->n_generate;
    uint32_t n = options->n_repeats ? options->n_repeats : DEFAULT_REPEATS;
    if (n > BITNET_BENCH_REPEATS_MAX)
        return bitnet_fail(err, BITNET_USAGE, "%u repeats, at most %d", (unsigned)n,
                           BITNET_BENCH_REPEATS_MAX);
    enum bitnet_status status = run_once(c, options, &seconds, err); /* warms caches and pages */
    for (uint32_t i = 0; i < n && !status; i++) {
        status = run_once(c, options, &seconds, err);
        rates[i] = n_tokens / (seconds > 1e-9 ? seconds : 1e-9);
    }
    if (!status) summarise(rates, n, n_tokens, result);
    c->costs = result->costs;
    if (!status) status = run_once(c, options, &seconds, err);
    return status;
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
    struct bitnet_context_options context = {
        .n_context = (uint32_t)n_cells, .n_batch = options->n_batch, .pool = options->pool};
    struct bitnet_context *c;
    result->context_bytes = bitnet_context_bytes(model, &context);
    enum bitnet_status status = bitnet_context_new(&c, model, &context, err);
    if (!status) status = run_all(c, options, result, err);
    bitnet_context_free(c);
    return status;
}
