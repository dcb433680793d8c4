/* A model reads a text that a base model has read, beside it or earlier; how do their predictions
 * differ? Chunks, bos and scored positions are those of perplexity.c. Models are evaluated piece by
 * piece, so only a few rows of logits exist at a time; an earlier reading is a file
 * (predictions.h).
 *
 *   D = sum over tokens t of p(t) * (ln p(t) - ln q(t)),  p: base, q: model */
#include "divergence.h"

#include "context.h"
#include "predictions.h"

#include "bitnet/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define DEFAULT_CHUNK 512u
#define CHUNK_MIN     4u
#define PIECE_ROWS    64u
/* Less weighs a base probability below e^-16 when it is stored: there it means "or less". */
#define STORED_LOG_MIN (-16.0f)

struct comparison {
    const struct bitnet_perplexity_options *options;
    struct bitnet_context *model, *base; /* base NULL: `stored` speaks for it */
    struct predictions stored;
    size_t chunk, n_vocab, n_chunks;
    int32_t bos;
    struct position *positions; /* [n_chunks * rows per chunk] */
    size_t n_scored;
};

struct row_job {
    const struct comparison *comparison;
    const int32_t *next;
    struct predicted_row stored[PIECE_ROWS];
    struct position *out; /* [PIECE_ROWS] */
};

/* ------------------------------------------------------------------ one position */

/* Largest logit, where it is, and the logarithm of the sum of exp(logit - largest). */
struct normaliser {
    double top, log_sum;
    size_t best;
};

static struct normaliser normalise(const float *logits, size_t n)
{
    struct normaliser z = {0};
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[z.best]) z.best = i;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)bitnet_expf(logits[i] - logits[z.best]);
    z.top = (double)logits[z.best];
    z.log_sum = log(sum);
    return z;
}

static double log_probability(const struct normaliser *z, float logit)
{
    return (double)logit - z->top - z->log_sum;
}

static void compare_logits(const float *q, const float *p, size_t n, int32_t next,
                           struct position *out)
{
    struct normaliser zq = normalise(q, n), zp = normalise(p, n);
    double divergence = 0;
    for (size_t i = 0; i < n; i++) {
        double base = log_probability(&zp, p[i]);
        if (base < -100) continue; /* weighs less than 1e-43 */
        divergence += exp(base) * (base - log_probability(&zq, q[i]));
    }
    double ours = log_probability(&zq, q[next]), theirs = log_probability(&zp, p[next]);
    *out = (struct position){.divergence = divergence > 0 ? divergence : 0,
                             .nats = -ours,
                             .base_nats = -theirs,
                             .change = exp(ours) - exp(theirs),
                             .same_best = zq.best == zp.best,
                             .is_equal = memcmp(q, p, n * sizeof *q) == 0};
    if (divergence != divergence) out->divergence = divergence; /* NaN is reported, not hidden */
}

/* Stored steps are coarse, so a divergence of almost nothing may come out below 0; it stays. */
static void compare_stored(const float *q, const struct predicted_row *p, size_t n, int32_t next,
                           struct position *out)
{
    struct normaliser zq = normalise(q, n);
    double divergence = 0;
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        float base = predicted_log(p, i);
        if (base > predicted_log(p, best)) best = i;
        if (base > STORED_LOG_MIN)
            divergence += (double)bitnet_expf(base) * ((double)base - log_probability(&zq, q[i]));
    }
    double ours = log_probability(&zq, q[next]), theirs = (double)predicted_log(p, (size_t)next);
    *out = (struct position){.divergence = divergence,
                             .nats = -ours,
                             .base_nats = -theirs,
                             .change = exp(ours) - exp(theirs),
                             .same_best = zq.best == best};
}

static void compare_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct row_job *job = ctx;
    const struct comparison *c = job->comparison;
    for (size_t row = begin; row < end; row++) {
        const float *q = c->model->logits + row * c->n_vocab;
        if (c->base)
            compare_logits(q, c->base->logits + row * c->n_vocab, c->n_vocab, job->next[row],
                           &job->out[row]);
        else
            compare_stored(q, &job->stored[row], c->n_vocab, job->next[row], &job->out[row]);
    }
}

/* ------------------------------------------------------------------ chunks */

static enum bitnet_status eval_both(struct comparison *c, const int32_t *tokens, size_t n,
                                    size_t first_kept, struct bitnet_error *err)
{
    if (c->options->cancel && *c->options->cancel)
        return bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
    enum bitnet_status status = context_eval(c->model, tokens, n, first_kept, err);
    if (!status && c->base) status = context_eval(c->base, tokens, n, first_kept, err);
    return status;
}

static enum bitnet_status check_positions(const struct position *positions, size_t n, size_t first,
                                          struct bitnet_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(positions[i].divergence) || !isfinite(positions[i].nats))
            return bitnet_fail(err, BITNET_FORMAT,
                               "the models give %g and %g nats, divergence %g, at position %zu",
                               positions[i].nats, positions[i].base_nats, positions[i].divergence,
                               first + i + 1);
    return BITNET_OK;
}

/* Rows begin .. begin + n of the chunk: evaluated, then compared. */
static enum bitnet_status compare_piece(struct comparison *c, size_t chunk, const int32_t *tokens,
                                        size_t begin, size_t n, struct bitnet_error *err)
{
    struct row_job job = {
        .comparison = c, .next = tokens + begin + 1, .out = c->positions + c->n_scored};
    enum bitnet_status status = eval_both(c, tokens + begin, n, 0, err);
    for (size_t i = 0; i < n && !status && !c->base; i++)
        status = predictions_row(&c->stored, chunk, begin - c->chunk / 2 + i, &job.stored[i], err);
    if (status) return status;
    bitnet_pool_run(c->options->pool, n, 1, compare_rows, &job);
    c->n_scored += n;
    return check_positions(job.out, n, begin, err);
}

static enum bitnet_status compare_chunk(struct comparison *c, size_t chunk, const int32_t *tokens,
                                        struct bitnet_error *err)
{
    size_t first = c->chunk / 2;
    bitnet_context_reset(c->model);
    if (c->base) bitnet_context_reset(c->base);
    enum bitnet_status status = eval_both(c, tokens, first, first, err);
    for (size_t begin = first; begin + 1 < c->chunk && !status; begin += PIECE_ROWS) {
        size_t n = c->chunk - 1 - begin < PIECE_ROWS ? c->chunk - 1 - begin : PIECE_ROWS;
        status = compare_piece(c, chunk, tokens, begin, n, err);
    }
    return status;
}

static double mean_so_far(const struct comparison *c)
{
    double sum = 0;
    for (size_t i = 0; i < c->n_scored; i++) sum += c->positions[i].divergence;
    return sum / (double)c->n_scored;
}

/* The ids of a chunk come from `tokens`, or from the file where that is NULL. */
static enum bitnet_status compare_chunks(struct comparison *c, const int32_t *tokens, int32_t *ids,
                                         struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t chunk = 0; chunk < c->n_chunks && !status; chunk++) {
        if (tokens)
            memcpy(ids, tokens + chunk * c->chunk, c->chunk * sizeof *ids);
        else
            status = predictions_tokens(&c->stored, chunk, ids, err);
        if (c->bos != BITNET_NO_TOKEN) ids[0] = c->bos;
        if (!status) status = compare_chunk(c, chunk, ids, err);
        if (!status && c->options->progress)
            c->options->progress(c->options->user, chunk + 1, c->n_chunks, mean_so_far(c));
    }
    return status;
}

static enum bitnet_status open_contexts(struct comparison *c, const struct bitnet_model *model,
                                        const struct bitnet_model *base, struct bitnet_error *err)
{
    const struct bitnet_context_options options = {.n_context = (uint32_t)c->chunk,
                                                   .pool = c->options->pool,
                                                   .quantized_cache = c->options->quantized_cache,
                                                   .all_logits = true,
                                                   .n_logits = PIECE_ROWS};
    enum bitnet_status status = bitnet_context_new(&c->model, model, &options, err);
    if (!status && base) status = bitnet_context_new(&c->base, base, &options, err);
    return status;
}

/* With chunk and n_chunks known: everything, to the statistics. */
static enum bitnet_status run(struct comparison *c, const struct bitnet_model *model,
                              const struct bitnet_model *base, const int32_t *tokens,
                              struct bitnet_divergence_result *result, struct bitnet_error *err)
{
    const struct bitnet_special_tokens *special = bitnet_tokenizer_special(model->tokenizer);
    size_t n_rows = c->n_chunks * (c->chunk - 1 - c->chunk / 2);
    c->bos = special->add_bos ? special->bos : BITNET_NO_TOKEN;
    c->n_vocab = model->hparams.n_vocab;
    c->positions = bitnet_alloc(n_rows, sizeof *c->positions);
    int32_t *ids = bitnet_alloc(c->chunk, sizeof *ids);
    enum bitnet_status status = BITNET_OK;
    if (!c->positions || !ids)
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for %zu positions", n_rows);
    if (!status) status = open_contexts(c, model, base, err);
    if (!status) status = compare_chunks(c, tokens, ids, err);
    if (!status) {
        divergence_summarise(c->positions, c->n_scored, result);
        result->n_chunks = c->n_chunks;
        result->n_context = (uint32_t)c->chunk;
    }
    bitnet_free(ids);
    bitnet_free(c->positions);
    bitnet_context_free(c->model);
    bitnet_context_free(c->base);
    return status;
}

/* ------------------------------------------------------------------ the doors */

static const struct bitnet_perplexity_options defaults = {0};

static void limit_chunks(struct comparison *c, size_t n_there)
{
    uint32_t wanted = c->options->n_chunks;
    c->n_chunks = wanted && wanted < n_there ? wanted : n_there;
}

static enum bitnet_status tokenize_both(const struct bitnet_model *model,
                                        const struct bitnet_model *base, struct bitnet_str text,
                                        struct bitnet_tokens *tokens, struct bitnet_error *err)
{
    struct bitnet_tokens other = {0};
    const struct bitnet_tokenizer *own, *its;
    enum bitnet_status status = bitnet_model_need_tokenizer(model, &own, err);
    if (!status) status = bitnet_model_need_tokenizer(base, &its, err);
    if (status) return status;
    if (model->hparams.n_vocab != base->hparams.n_vocab)
        return bitnet_fail(err, BITNET_FORMAT,
                           "the vocabularies have %" PRIu32 " and %" PRIu32 " tokens",
                           model->hparams.n_vocab, base->hparams.n_vocab);
    status = bitnet_tokenize(own, text, NULL, tokens, err);
    if (!status) status = bitnet_tokenize(its, text, NULL, &other, err);
    if (!status &&
        (tokens->n != other.n || memcmp(tokens->at, other.at, tokens->n * sizeof *tokens->at) != 0))
        status =
            bitnet_fail(err, BITNET_FORMAT, "the two models turn the text into different tokens");
    bitnet_tokens_free(&other);
    return status;
}

enum bitnet_status bitnet_divergence(const struct bitnet_model *model,
                                     const struct bitnet_model *base, struct bitnet_str text,
                                     const struct bitnet_perplexity_options *options,
                                     struct bitnet_divergence_result *result,
                                     struct bitnet_error *err)
{
    *result = (struct bitnet_divergence_result){0};
    struct comparison c = {.options = options ? options : &defaults};
    struct bitnet_tokens tokens = {0};
    c.chunk = c.options->n_context ? c.options->n_context : DEFAULT_CHUNK;
    if (c.chunk < CHUNK_MIN)
        return bitnet_fail(err, BITNET_USAGE, "a context of %zu tokens, at least %u are needed",
                           c.chunk, CHUNK_MIN);
    enum bitnet_status status = tokenize_both(model, base, text, &tokens, err);
    if (!status && tokens.n < 2 * c.chunk)
        status = bitnet_fail(err, BITNET_LIMIT,
                             "the text has %zu tokens, two contexts of %zu are needed", tokens.n,
                             c.chunk);
    limit_chunks(&c, tokens.n / c.chunk);
    if (!status) status = run(&c, model, base, tokens.at, result, err);
    result->n_tokens = tokens.n;
    bitnet_tokens_free(&tokens);
    return status;
}

enum bitnet_status bitnet_divergence_from_file(const struct bitnet_model *model, const char *path,
                                               const struct bitnet_perplexity_options *options,
                                               struct bitnet_divergence_result *result,
                                               struct bitnet_error *err)
{
    *result = (struct bitnet_divergence_result){0};
    struct comparison c = {.options = options ? options : &defaults};
    const struct bitnet_tokenizer *tokenizer; /* it says whether bos is put in */
    enum bitnet_status status = bitnet_model_need_tokenizer(model, &tokenizer, err);
    if (!status) status = predictions_open(&c.stored, path, model->hparams.n_vocab, err);
    if (status) return status;
    c.chunk = c.stored.n_context;
    limit_chunks(&c, c.stored.n_chunks);
    status = run(&c, model, NULL, NULL, result, err);
    result->n_tokens = (size_t)c.stored.n_chunks * c.chunk;
    predictions_close(&c.stored);
    return status;
}
