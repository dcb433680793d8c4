/* See bench_tune.h. The measure is the time of n_prompt tokens in, n_generate tokens out. */
#include "bench_tune.h"

#include "bitnet/cpu.h"
#include "bitnet/kernels.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define GAIN_MIN       1.02 /* less may be noise */
#define CANDIDATES_MAX 32
#define FINAL_ROUNDS   3

/* One way to run the model. */
struct setup {
    const char *kernels;
    unsigned threads;
    uint32_t batch;
};

struct rates {
    double prompt, generate; /* tokens per second */
};

struct tuner {
    const struct tune_options *options;
    struct bitnet_pool *pool;
    struct bitnet_model *model;
    const char *kernels; /* of the open model */
    unsigned threads;    /* of the pool */
};

static double seconds_of(const struct tuner *t, const struct rates *r)
{
    return t->options->n_prompt / r->prompt + t->options->n_generate / r->generate;
}

/* ------------------------------------------------------------------ measuring */

static void close_all(struct tuner *t)
{
    bitnet_model_close(t->model);
    bitnet_pool_free(t->pool);
    t->model = NULL;
    t->pool = NULL;
    t->kernels = NULL;
}

/* Opens what is not open yet. A model is packed for its kernels, whatever the threads. */
static enum bitnet_status prepare(struct tuner *t, const struct setup *s, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (!t->pool || t->threads != s->threads) {
        bitnet_pool_free(t->pool);
        t->pool = NULL;
        status = bitnet_pool_new(&t->pool, s->threads, err);
        t->threads = s->threads;
    }
    if (status || (t->kernels && strcmp(t->kernels, s->kernels) == 0)) return status;
    struct bitnet_model_options options = {.cpu_is_given = true, .pool = t->pool};
    bitnet_model_close(t->model);
    t->model = NULL;
    t->kernels = NULL;
    bitnet_cpu_mask(s->kernels, &options.cpu_mask);
    status = bitnet_model_open(&t->model, t->options->model_path, &options, err);
    if (!status) t->kernels = s->kernels;
    return status;
}

static enum bitnet_status measure(struct tuner *t, const struct setup *s, struct rates *rates,
                                  struct bitnet_error *err)
{
    struct bitnet_bench_result prompt, generate;
    enum bitnet_status status = prepare(t, s, err);
    if (status) return status;
    struct bitnet_bench_options options = {.n_prompt = t->options->n_prompt,
                                           .n_batch = s->batch,
                                           .n_repeats = t->options->n_repeats,
                                           .pool = t->pool,
                                           .cancel = t->options->cancel};
    status = bitnet_bench(t->model, &options, &prompt, err);
    options.n_prompt = 0;
    options.n_generate = t->options->n_generate;
    if (!status) status = bitnet_bench(t->model, &options, &generate, err);
    if (status) return status;
    *rates = (struct rates){prompt.median, generate.median};
    bitnet_log_say(t->options->log, BITNET_LOG_INFO,
                   "%s, %u threads, batches of %" PRIu32 ": prompt %.1f, generation %.1f tokens/s",
                   s->kernels, s->threads, s->batch, rates->prompt, rates->generate);
    return BITNET_OK;
}

/* ------------------------------------------------------------------ choosing */

struct choice {
    struct setup setup;
    struct rates rates;
};

/* Replaces *best by the fastest candidate that is clearly faster. */
static enum bitnet_status choose(struct tuner *t, const struct setup *candidates, size_t n,
                                 struct choice *best, struct bitnet_error *err)
{
    const struct setup first = best->setup;
    double limit = seconds_of(t, &best->rates) / GAIN_MIN;
    for (size_t i = 0; i < n; i++) {
        struct rates rates;
        const struct setup *s = &candidates[i];
        if (strcmp(s->kernels, first.kernels) == 0 && s->threads == first.threads &&
            s->batch == first.batch)
            continue;
        enum bitnet_status status = measure(t, s, &rates, err);
        if (status) return status;
        if (seconds_of(t, &rates) >= limit) continue;
        limit = seconds_of(t, &rates);
        *best = (struct choice){*s, rates};
    }
    return BITNET_OK;
}

/* Sets that this CPU can run, but for those older than AVX2 where there is AVX2. */
static enum bitnet_status choose_kernels(struct tuner *t, struct choice *best,
                                         struct bitnet_error *err)
{
    struct setup candidates[CANDIDATES_MAX];
    uint32_t cpu = bitnet_cpu_detect() & t->options->cpu;
    uint32_t base = cpu & (BITNET_CPU_AVX2 | BITNET_CPU_NEON);
    size_t n = 0;
    for (size_t i = 0; i < bitnet_kernels_count() && n < CANDIDATES_MAX; i++) {
        const struct bitnet_kernel_set *set = bitnet_kernels_at(i);
        if ((set->needs & ~cpu) || (base & ~set->needs)) continue;
        candidates[n] = best->setup;
        candidates[n++].kernels = set->name;
    }
    return choose(t, candidates, n, best, err);
}

static enum bitnet_status choose_threads(struct tuner *t, struct choice *best,
                                         struct bitnet_error *err)
{
    const struct bitnet_cores *cores = &t->options->machine->cores;
    unsigned most =
        cores->quota && cores->quota < cores->n_logical ? cores->quota : cores->n_logical;
    struct setup candidates[CANDIDATES_MAX];
    size_t n = 0;
    for (unsigned threads = 1; threads < most && n + 3 < CANDIDATES_MAX; threads *= 2) {
        candidates[n] = best->setup;
        candidates[n++].threads = threads;
    }
    const unsigned others[] = {cores->n_physical, cores->n_physical - 1, most};
    for (int i = 0; i < 3; i++) {
        if (others[i] == 0 || others[i] > most) continue;
        candidates[n] = best->setup;
        candidates[n++].threads = others[i];
    }
    return choose(t, candidates, n, best, err);
}

static enum bitnet_status choose_batch(struct tuner *t, struct choice *best,
                                       struct bitnet_error *err)
{
    static const uint32_t batches[] = {64, 128, 256, 512, 1024};
    struct setup candidates[CANDIDATES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        if (batches[i] > t->options->n_prompt) break;
        candidates[n] = best->setup;
        candidates[n++].batch = batches[i];
    }
    return choose(t, candidates, n, best, err);
}

/* The choice and the defaults in turn; the best of each counts, so that a disturbance of one turn
 * decides nothing. */
static enum bitnet_status confirm(struct tuner *t, struct choice *best, struct choice *defaults,
                                  struct bitnet_error *err)
{
    struct choice *pair[2] = {best, defaults};
    struct rates rates[2] = {{0, 0}, {0, 0}};
    for (int round = 0; round < FINAL_ROUNDS; round++)
        for (int i = 0; i < 2; i++) {
            struct rates now;
            enum bitnet_status status = measure(t, &pair[i]->setup, &now, err);
            if (status) return status;
            rates[i].prompt = fmax(rates[i].prompt, now.prompt);
            rates[i].generate = fmax(rates[i].generate, now.generate);
        }
    best->rates = rates[0];
    defaults->rates = rates[1];
    if (seconds_of(t, &best->rates) * GAIN_MIN > seconds_of(t, &defaults->rates)) *best = *defaults;
    return BITNET_OK;
}

static bool is_same(const struct setup *a, const struct setup *b)
{
    return strcmp(a->kernels, b->kernels) == 0 && a->threads == b->threads && a->batch == b->batch;
}

static enum bitnet_status tune(struct tuner *t, struct tuning *tuning, struct bitnet_error *err)
{
    struct bitnet_kernel_set set;
    bitnet_kernels_select(&set, bitnet_cpu_detect() & t->options->cpu);
    struct choice defaults = {
        .setup = {set.name, bitnet_pool_default_threads(), BITNET_BATCH_DEFAULT}};
    enum bitnet_status status = measure(t, &defaults.setup, &defaults.rates, err);
    struct choice best = defaults;
    if (!status) status = choose_kernels(t, &best, err);
    if (!status) status = choose_threads(t, &best, err);
    if (!status) status = choose_batch(t, &best, err);
    if (!status && !is_same(&best.setup, &defaults.setup))
        status = confirm(t, &best, &defaults, err);
    if (status) return status;
    const struct shape shape = {.arch = bitnet_model_arch(t->model),
                                .gguf = bitnet_model_gguf(t->model),
                                .hparams = bitnet_model_hparams(t->model)};
    *tuning = (struct tuning){.threads = best.setup.threads,
                              .batch = best.setup.batch,
                              .prompt_rate = best.rates.prompt,
                              .generate_rate = best.rates.generate,
                              .default_prompt_rate = defaults.rates.prompt,
                              .default_generate_rate = defaults.rates.generate};
    shape_text(&shape, tuning->shape);
    snprintf(tuning->kernels, sizeof tuning->kernels, "%s", best.setup.kernels);
    return BITNET_OK;
}

enum bitnet_status bench_tune(const struct tune_options *options, struct tuning *tuning,
                              struct bitnet_error *err)
{
    struct tuner t = {.options = options};
    enum bitnet_status status = tune(&t, tuning, err);
    close_all(&t);
    return status;
}
