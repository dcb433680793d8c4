/* bitnet perplexity: a number for a text, and, with --expect, a pass or fail line for CI. */
#include "session.h"
#include "tools.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/kernels.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

#define TEXT_BYTES_MAX (1u << 30)

struct perplexity {
    struct session session;
    const char *file;
    uint64_t n_context, n_chunks;
    double expected, tolerance;
    const char *base_path;
    double max_divergence;
    bool as_json;
    struct bitnet_model *base; /* --base */
    struct bitnet_divergence_result divergence;
    struct bitnet_str text; /* owned */
    struct bitnet_perplexity_result result;
    double ms;
};

static enum bitnet_status parse(struct perplexity *p, int argc, char **argv, bool *done,
                                struct bitnet_error *err)
{
    /* clang-format off */
    const struct bitnet_option options[] = {
        SESSION_OPTIONS(&p->session),
        {"-f, --file", "FILE", BITNET_OPTION_TEXT, &p->file, "the text", 0, 0},
        {"-c, --ctx-size", "N", BITNET_OPTION_U64, &p->n_context, "tokens per chunk (default: 512)", 4, 1u << 24},
        {"--chunks", "N", BITNET_OPTION_U64, &p->n_chunks, "the first N chunks only", 1, 1u << 30},
        {"--expect", "P", BITNET_OPTION_F64, &p->expected, "fail (exit code 1) unless it is P ...", 0, 0},
        {"--tol", "T", BITNET_OPTION_F64, &p->tolerance, "... within T (default: 0.05)", 0, 0},
        {"--base", "FILE", BITNET_OPTION_TEXT, &p->base_path, "compare with the predictions of this model, too", 0, 0},
        {"--max-divergence", "D", BITNET_OPTION_F64, &p->max_divergence, "fail (exit code 1) when the mean divergence from it is above D", 0, 0},
        {"--json", NULL, BITNET_OPTION_FLAG, &p->as_json, "print JSON", 0, 0},
    };
    /* clang-format on */
    const struct bitnet_command command = {
        .name = "bitnet-perplexity",
        .synopsis = "-m FILE -f TEXT [OPTION]...",
        .summary = "Perplexity of a text as llama-perplexity defines it: chunks without overlap, "
                   "the second half of each scored.",
        .examples = "bitnet-perplexity -m model.gguf -f text.txt\n"
                    "bitnet-perplexity -m model.gguf -f text.txt -c 256 --chunks 8 --json\n"
                    "bitnet-perplexity -m model.gguf -f text.txt --expect 17.109 --tol 0.05\n"
                    "bitnet-perplexity -m tl2.gguf --base i2_s.gguf -f text.txt --max-divergence 0",
        .options = options,
        .n_options = sizeof options / sizeof options[0]};
    return session_parse(&command, argc, argv, done, err);
}

static void show_progress(void *user, size_t chunk, size_t n_chunks, double perplexity)
{
    const struct perplexity *p = user;
    if (p->session.is_verbose)
        fprintf(stderr, "chunk %zu of %zu: %.4f\n", chunk, n_chunks, perplexity);
}

static void add_number(cJSON *object, const char *name, double value)
{
    cJSON_AddNumberToObject(object, name, value);
}

static void add_divergence(const struct perplexity *p, cJSON *root)
{
    const struct bitnet_divergence_result *d = &p->divergence;
    cJSON *object = cJSON_AddObjectToObject(root, "divergence");
    cJSON_AddStringToObject(object, "base", p->base_path);
    add_number(object, "mean", d->mean);
    add_number(object, "standard_error", d->standard_error);
    add_number(object, "max", d->max);
    add_number(object, "p99", d->p99);
    add_number(object, "median", d->median);
    add_number(object, "base_perplexity", d->base_perplexity);
    add_number(object, "same_best", d->same_best);
    add_number(object, "rms_change", d->rms_change);
    add_number(object, "equal", (double)d->n_equal);
}

static void print_divergence(const struct perplexity *p)
{
    const struct bitnet_divergence_result *d = &p->divergence;
    printf("perplexity of the base %.4f\n"
           "divergence %.6f +- %.6f nats (median %.6f, 99%% %.6f, largest %.6f)\n"
           "same best token %.3f%%, probability of the next token changes by %.4f%% (rms), "
           "%zu of %zu positions equal bit for bit\n",
           d->base_perplexity, d->mean, d->standard_error, d->median, d->p99, d->max,
           100 * d->same_best, 100 * d->rms_change, d->n_equal, d->n_scored);
}

static enum bitnet_status print_json(const struct perplexity *p, struct bitnet_error *err)
{
    const struct bitnet_perplexity_result *r = &p->result;
    cJSON *root = cJSON_CreateObject();
    add_number(root, "schema", 1);
    cJSON_AddStringToObject(root, "model", p->session.model_path);
    add_number(root, "perplexity", r->perplexity);
    add_number(root, "standard_error", r->standard_error);
    add_number(root, "nats", r->nats);
    add_number(root, "scored", (double)r->n_scored);
    add_number(root, "chunks", (double)r->n_chunks);
    add_number(root, "tokens", (double)r->n_tokens);
    add_number(root, "context", (double)p->n_context);
    add_number(root, "seconds", p->ms / 1e3);
    add_number(root, "threads", bitnet_pool_threads(p->session.pool));
    cJSON_AddStringToObject(root, "kernels", bitnet_model_kernels(p->session.model));
    if (!isnan(p->expected)) {
        add_number(root, "expected", p->expected);
        add_number(root, "tolerance", p->tolerance);
    }
    if (p->base) add_divergence(p, root);
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    if (!text) return bitnet_fail(err, BITNET_MEMORY, "no memory for the JSON text");
    puts(text);
    cJSON_free(text);
    return BITNET_OK;
}

static enum bitnet_status print_result(const struct perplexity *p, struct bitnet_error *err)
{
    const struct bitnet_perplexity_result *r = &p->result;
    if (p->as_json) return print_json(p, err);
    printf("perplexity %.4f +- %.4f (%zu chunks of %.0f tokens, %zu positions scored)\n",
           r->perplexity, r->standard_error, r->n_chunks, (double)p->n_context, r->n_scored);
    if (p->base) print_divergence(p);
    if (!p->session.is_quiet)
        fprintf(stderr, "%.1f s, %u threads, %s\n", p->ms / 1e3,
                bitnet_pool_threads(p->session.pool), bitnet_model_kernels(p->session.model));
    return BITNET_OK;
}

static enum bitnet_status judge(const struct perplexity *p, struct bitnet_error *err)
{
    if (p->base && p->divergence.mean > p->max_divergence)
        return bitnet_fail(err, BITNET_CHECK, "the divergence is %.6g nats, allowed are %g",
                           p->divergence.mean, p->max_divergence);
    if (isnan(p->expected) || fabs(p->result.perplexity - p->expected) <= p->tolerance)
        return BITNET_OK;
    return bitnet_fail(err, BITNET_CHECK, "perplexity is %.4f, expected %.4f within %g",
                       p->result.perplexity, p->expected, p->tolerance);
}

/* The base model with the same threads and kernels, and the comparison. */
static enum bitnet_status compare(struct perplexity *p,
                                  const struct bitnet_perplexity_options *options,
                                  struct bitnet_error *err)
{
    struct bitnet_model_options model = {.log = &p->session.log, .pool = p->session.pool};
    if (!p->base_path) return BITNET_OK;
    enum bitnet_status status = session_cpu(&p->session, &model.cpu_mask, &model.cpu_is_given, err);
    if (!status) status = bitnet_model_open(&p->base, p->base_path, &model, err);
    if (!status)
        status =
            bitnet_divergence(p->session.model, p->base, p->text, options, &p->divergence, err);
    return status;
}

static enum bitnet_status run(struct perplexity *p, struct bitnet_error *err)
{
    if (!p->file) return bitnet_fail(err, BITNET_USAGE, "no text; say -f FILE");
    enum bitnet_status status = bitnet_read_file(p->file, TEXT_BYTES_MAX, &p->text, err);
    if (!status) status = session_open(&p->session, err);
    if (status) return status;
    struct bitnet_perplexity_options options = {.n_context = (uint32_t)p->n_context,
                                                .n_chunks = (uint32_t)p->n_chunks,
                                                .pool = p->session.pool,
                                                .progress = show_progress,
                                                .user = p,
                                                .cancel = &session_stop};
    double start = session_now_ms();
    status = bitnet_perplexity(p->session.model, p->text, &options, &p->result, err);
    p->ms = session_now_ms() - start;
    options.progress = NULL; /* it tells perplexities */
    if (!status) status = compare(p, &options, err);
    if (!status) status = print_result(p, err);
    if (!status) status = judge(p, err);
    return status;
}

int bitnet_perplexity_main(int argc, char **argv)
{
    struct perplexity p = {.session = {.tool = "bitnet-perplexity"},
                           .n_context = 512,
                           .expected = NAN,
                           .tolerance = 0.05,
                           .max_divergence = INFINITY};
    struct bitnet_error err = {0};
    bool done;
    enum bitnet_status status = parse(&p, argc, argv, &done, &err);
    session_catch_signals();
    if (!status && !done) status = run(&p, &err);
    bitnet_free((void *)(uintptr_t)p.text.at);
    bitnet_model_close(p.base);
    return session_end(&p.session, status, &err);
}
