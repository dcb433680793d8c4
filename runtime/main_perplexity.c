/* bitnet perplexity: a number for a text, and, with --expect, a pass or fail line for CI. */
#include "../hub/main_model.h"
#include "predictions.h"
#include "session.h"
#include "tools.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/kernels.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define TEXT_BYTES_MAX (1u << 30)

struct perplexity {
    struct session session;
    const char *file;
    uint64_t n_context, n_chunks;
    double expected, tolerance;
    const char *base_path, *stored_path, *save_path;
    bool wants_divergence, overwrite;
    double max_divergence;
    bool as_json;
    struct bitnet_model *base; /* --base that is a model */
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
        {"--base", "FILE", BITNET_OPTION_TEXT, &p->base_path, "compare with the predictions of this model, or with stored ones", 0, 0},
        {"--kl-divergence", NULL, BITNET_OPTION_FLAG, &p->wants_divergence, "the same said by llama.cpp's word; wants --base or --kl-divergence-base", 0, 0},
        {"--save-logits, --save-all-logits", "FILE", BITNET_OPTION_TEXT, &p->save_path, "store the predictions, as llama-perplexity does", 0, 0},
        {"--kl-divergence-base", "FILE", BITNET_OPTION_TEXT, &p->stored_path, "with --kl-divergence as --base, else as --save-logits", 0, 0},
        {"--force", NULL, BITNET_OPTION_FLAG, &p->overwrite, "replace a file that is stored already", 0, 0},
        {"--max-divergence", "D", BITNET_OPTION_F64, &p->max_divergence, "fail (exit code 1) when the mean divergence from it is above D", 0, 0},
        {"--json", NULL, BITNET_OPTION_FLAG, &p->as_json, "print JSON", 0, 0},
    };
    /* clang-format on */
    const struct bitnet_command command = {
        .name = "bitnet-perplexity",
        .synopsis = "-m FILE -f TEXT [OPTION]...",
        .summary = "Perplexity of a text as llama-perplexity defines it: chunks without overlap, "
                   "the second half of each scored.",
        .examples =
            "bitnet-perplexity -m model.gguf -f text.txt\n"
            "bitnet-perplexity -m model.gguf -f text.txt -c 256 --chunks 8 --json\n"
            "bitnet-perplexity -m model.gguf -f text.txt --expect 17.109 --tol 0.05\n"
            "bitnet-perplexity -m tl2.gguf --base i2_s.gguf -f text.txt --max-divergence 0\n"
            "bitnet-perplexity -m f16.gguf -f text.txt --save-logits f16.kld\n"
            "bitnet-perplexity -m q4_0.gguf --base f16.kld",
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

static const double quantile_shares[BITNET_QUANTILES] = {
#define X(share) share,
    BITNET_QUANTILE_LIST(X)
#undef X
};

static void add_quantiles(cJSON *object, const char *name, const double quantiles[BITNET_QUANTILES])
{
    cJSON *list = cJSON_AddArrayToObject(object, name);
    for (int i = 0; i < BITNET_QUANTILES; i++) {
        cJSON *pair = cJSON_CreateObject();
        add_number(pair, "share", quantile_shares[i]);
        add_number(pair, "value", quantiles[i]);
        cJSON_AddItemToArray(list, pair);
    }
}

static void add_divergence(const struct perplexity *p, cJSON *root)
{
    const struct bitnet_divergence_result *d = &p->divergence;
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"mean", d->mean},
        {"standard_error", d->standard_error},
        {"max", d->max},
        {"p99", d->p99},
        {"median", d->median},
        {"base_perplexity", d->base_perplexity},
        {"base_perplexity_error", d->base_perplexity_error},
        {"correlation", d->correlation},
        {"log_ratio", d->log_ratio},
        {"log_ratio_error", d->log_ratio_error},
        {"difference", d->difference},
        {"difference_error", d->difference_error},
        {"same_best", d->same_best},
        {"same_best_error", d->same_best_error},
        {"mean_change", d->mean_change},
        {"mean_change_error", d->mean_change_error},
        {"rms_change", d->rms_change},
        {"rms_change_error", d->rms_change_error},
        {"equal", (double)d->n_equal},
    };
    cJSON *object = cJSON_AddObjectToObject(root, "divergence");
    cJSON_AddStringToObject(object, "base", p->base_path);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        add_number(object, numbers[i].name, numbers[i].value);
    add_quantiles(object, "quantiles", d->quantiles);
    add_quantiles(object, "change_quantiles", d->change_quantiles);
}

static void print_divergence(const struct perplexity *p)
{
    const struct bitnet_divergence_result *d = &p->divergence;
    printf("perplexity of the base %.4f +- %.4f, ratio %.6f +- %.6f, difference %.4f +- %.4f, "
           "correlation %.2f%%\n"
           "divergence %.6f +- %.6f nats (median %.6f, 99%% %.6f, largest %.6f)\n"
           "same best token %.3f%% +- %.3f%%, probability of the next token changes by %.4f%% +- "
           "%.4f%% (mean), %.4f%% +- %.4f%% (rms)\n",
           d->base_perplexity, d->base_perplexity_error, exp(d->log_ratio),
           exp(d->log_ratio) * d->log_ratio_error, d->difference, d->difference_error,
           100 * d->correlation, d->mean, d->standard_error, d->median, d->p99, d->max,
           100 * d->same_best, 100 * d->same_best_error, 100 * d->mean_change,
           100 * d->mean_change_error, 100 * d->rms_change, 100 * d->rms_change_error);
    if (p->base) printf("%zu of %zu positions equal bit for bit\n", d->n_equal, d->n_scored);
    printf("share of positions   divergence below   change below\n");
    for (int i = 0; i < BITNET_QUANTILES; i++)
        printf("%17.1f%%   %16.6f   %11.4f%%\n", 100 * quantile_shares[i], d->quantiles[i],
               100 * d->change_quantiles[i]);
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
    if (p->base_path) add_divergence(p, root);
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
    if (p->base_path) print_divergence(p);
    if (!p->session.is_quiet)
        fprintf(stderr, "%.1f s, %u threads, %s\n", p->ms / 1e3,
                bitnet_pool_threads(p->session.pool), bitnet_model_kernels(p->session.model));
    return BITNET_OK;
}

static enum bitnet_status judge(const struct perplexity *p, struct bitnet_error *err)
{
    if (p->base_path && p->divergence.mean > p->max_divergence)
        return bitnet_fail(err, BITNET_CHECK, "the divergence is %.6g nats, allowed are %g",
                           p->divergence.mean, p->max_divergence);
    if (isnan(p->expected) || fabs(p->result.perplexity - p->expected) <= p->tolerance)
        return BITNET_OK;
    return bitnet_fail(err, BITNET_CHECK, "perplexity is %.4f, expected %.4f within %g",
                       p->result.perplexity, p->expected, p->tolerance);
}

/* The base model with the same threads and kernels. */
static enum bitnet_status open_base(struct perplexity *p, struct bitnet_error *err)
{
    struct bitnet_model_options model = p->session.model_options;
    model.tokenizer = NULL;
    enum bitnet_status status = session_cpu(&p->session, &model.cpu_mask, &model.cpu_is_given, err);
    bitnet_model_close(p->base);
    p->base = NULL;
    const char *path = NULL;
    if (!status)
        status = main_model_gguf(p->base_path, p->session.is_quiet, p->session.finder.offline,
                                 &p->session.places, &path, err);
    if (!status) status = bitnet_model_open(&p->base, path, &model, err);
    return status;
}

/* Both at once; the model's own perplexity comes with it. */
static enum bitnet_status compare(struct perplexity *p, struct bitnet_perplexity_options *options,
                                  struct bitnet_error *err)
{
    const struct bitnet_divergence_result *d = &p->divergence;
    bool is_stored = predictions_is_file(p->base_path);
    options->progress = NULL; /* it tells perplexities */
    enum bitnet_status status = BITNET_OK;
    if (is_stored) {
        status = bitnet_divergence_from_file(p->session.model, p->base_path, options,
                                             &p->divergence, err);
    } else {
        status = open_base(p, err);
        if (!status)
            status =
                bitnet_divergence(p->session.model, p->base, p->text, options, &p->divergence, err);
    }
    p->n_context = d->n_context;
    p->result = (struct bitnet_perplexity_result){.perplexity = d->perplexity,
                                                  .standard_error = d->perplexity_error,
                                                  .nats = log(d->perplexity) * (double)d->n_scored,
                                                  .n_scored = d->n_scored,
                                                  .n_chunks = d->n_chunks,
                                                  .n_tokens = d->n_tokens};
    return status;
}

/* Which of the files is read and which written. */
static enum bitnet_status settle_files(struct perplexity *p, struct bitnet_error *err)
{
    if (p->stored_path && p->wants_divergence && !p->base_path)
        p->base_path = p->stored_path;
    else if (p->stored_path && !p->save_path)
        p->save_path = p->stored_path;
    if (p->wants_divergence && !p->base_path)
        return bitnet_fail(err, BITNET_USAGE, "divergence from what? say --base FILE");
    if (p->base_path && p->save_path)
        return bitnet_fail(err, BITNET_USAGE, "--save-logits goes without --base");
    if (!p->file && !(p->base_path && predictions_is_file(p->base_path)))
        return bitnet_fail(err, BITNET_USAGE, "no text; say -f FILE");
    return BITNET_OK;
}

static enum bitnet_status measure(struct perplexity *p, struct bitnet_perplexity_options *options,
                                  struct bitnet_error *err)
{
    if (p->base_path) return compare(p, options, err);
    return bitnet_perplexity(p->session.model, p->text, options, &p->result, err);
}

static enum bitnet_status run(struct perplexity *p, struct bitnet_error *err)
{
    enum bitnet_status status = settle_files(p, err);
    if (!status && p->file) status = bitnet_read_file(p->file, TEXT_BYTES_MAX, &p->text, err);
    if (!status) status = session_open(&p->session, err);
    if (status) return status;
    struct bitnet_perplexity_options options = {.n_context = (uint32_t)p->n_context,
                                                .n_chunks = (uint32_t)p->n_chunks,
                                                .pool = p->session.pool,
                                                .quantized_cache = p->session.quantized_cache,
                                                .progress = show_progress,
                                                .user = p,
                                                .cancel = &session_stop,
                                                .save_path = p->save_path,
                                                .overwrite = p->overwrite};
    double start = session_now_ms();
    status = measure(p, &options, err);
    if (session_falls_back(&p->session, status, err)) status = measure(p, &options, err);
    p->ms = session_now_ms() - start;
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
