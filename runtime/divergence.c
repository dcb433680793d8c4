/* Two models read the same text; how do their predictions differ? Chunks, bos and scored positions
 * are those of perplexity.c. Both are evaluated piece by piece, so only a few rows of logits exist
 * at a time, and nothing is written to disk.
 *
 *   D = sum over tokens t of p(t) * (ln p(t) - ln q(t)),  p: base, q: model */
#include "context.h"

#include "bitnet/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CHUNK 512u
#define CHUNK_MIN     4u
#define PIECE_ROWS    64u

/* What one position says. */
struct position {
    double divergence, nats, base_nats, change;
    bool same_best, is_equal;
};

struct comparison {
    const struct bitnet_perplexity_options *options;
    struct bitnet_context *context[2]; /* model, base */
    size_t chunk, n_vocab;
    struct position rows[PIECE_ROWS];
    double *divergences; /* [n_max] of all positions, for the quantiles */
    double nats, base_nats, changes;
    size_t n_scored, n_same, n_equal;
};

struct row_job {
    struct comparison *comparison;
    const int32_t *next;
};

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

static void compare_row(const float *q, const float *p, size_t n, int32_t next,
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

static void compare_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    const struct row_job *job = ctx;
    struct comparison *c = job->comparison;
    for (size_t row = begin; row < end; row++)
        compare_row(c->context[0]->logits + row * c->n_vocab,
                    c->context[1]->logits + row * c->n_vocab, c->n_vocab, job->next[row],
                    &c->rows[row]);
}

static enum bitnet_status add_rows(struct comparison *c, size_t n, size_t first,
                                   struct bitnet_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct position *row = &c->rows[i];
        if (!isfinite(row->divergence) || !isfinite(row->nats))
            return bitnet_fail(err, BITNET_FORMAT,
                               "the models give %g and %g nats, divergence %g, at position %zu",
                               row->nats, row->base_nats, row->divergence, first + i + 1);
        c->divergences[c->n_scored++] = row->divergence;
        c->nats += row->nats;
        c->base_nats += row->base_nats;
        c->changes += row->change * row->change;
        c->n_same += row->same_best;
        c->n_equal += row->is_equal;
    }
    return BITNET_OK;
}

static enum bitnet_status eval_both(struct comparison *c, const int32_t *tokens, size_t n,
                                    size_t first_kept, struct bitnet_error *err)
{
    if (c->options->cancel && *c->options->cancel)
        return bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
    enum bitnet_status status = context_eval(c->context[0], tokens, n, first_kept, err);
    if (!status) status = context_eval(c->context[1], tokens, n, first_kept, err);
    return status;
}

static enum bitnet_status compare_chunk(struct comparison *c, const int32_t *tokens,
                                        struct bitnet_error *err)
{
    size_t first = c->chunk / 2;
    bitnet_context_reset(c->context[0]);
    bitnet_context_reset(c->context[1]);
    enum bitnet_status status = eval_both(c, tokens, first, first, err);
    for (size_t begin = first; begin + 1 < c->chunk && !status; begin += PIECE_ROWS) {
        size_t n = c->chunk - 1 - begin < PIECE_ROWS ? c->chunk - 1 - begin : PIECE_ROWS;
        struct row_job job = {.comparison = c, .next = tokens + begin + 1};
        status = eval_both(c, tokens + begin, n, 0, err);
        if (status) break;
        bitnet_pool_run(c->options->pool, n, 1, compare_rows, &job);
        status = add_rows(c, n, begin, err);
    }
    return status;
}

/* ------------------------------------------------------------------ statistics */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void summarise(struct comparison *c, struct bitnet_divergence_result *result)
{
    double n = (double)c->n_scored, sum = 0, squares = 0;
    for (size_t i = 0; i < c->n_scored; i++) sum += c->divergences[i];
    result->mean = sum / n;
    for (size_t i = 0; i < c->n_scored; i++) {
        double d = c->divergences[i] - result->mean;
        squares += d * d;
    }
    result->standard_error = n > 1 ? sqrt(squares / n / (n - 1)) : 0;
    qsort(c->divergences, c->n_scored, sizeof *c->divergences, compare_doubles);
    result->max = c->divergences[c->n_scored - 1];
    result->p99 = c->divergences[(size_t)(0.99 * (n - 1))];
    result->median = c->divergences[c->n_scored / 2];
    result->perplexity = exp(c->nats / n);
    result->base_perplexity = exp(c->base_nats / n);
    result->same_best = (double)c->n_same / n;
    result->rms_change = sqrt(c->changes / n);
    result->n_equal = c->n_equal;
    result->n_scored = c->n_scored;
}

/* ------------------------------------------------------------------ the door */

static enum bitnet_status tokenize_both(const struct bitnet_model *model,
                                        const struct bitnet_model *base, struct bitnet_str text,
                                        struct bitnet_tokens *tokens, struct bitnet_error *err)
{
    struct bitnet_tokens other = {0};
    if (!model->tokenizer || !base->tokenizer)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "a model carries no vocabulary");
    if (model->hparams.n_vocab != base->hparams.n_vocab)
        return bitnet_fail(err, BITNET_FORMAT,
                           "the vocabularies have %" PRIu32 " and %" PRIu32 " tokens",
                           model->hparams.n_vocab, base->hparams.n_vocab);
    enum bitnet_status status = bitnet_tokenize(model->tokenizer, text, NULL, tokens, err);
    if (!status) status = bitnet_tokenize(base->tokenizer, text, NULL, &other, err);
    if (!status &&
        (tokens->n != other.n || memcmp(tokens->at, other.at, tokens->n * sizeof *tokens->at) != 0))
        status =
            bitnet_fail(err, BITNET_FORMAT, "the two models turn the text into different tokens");
    bitnet_tokens_free(&other);
    return status;
}

static enum bitnet_status open_contexts(struct comparison *c, const struct bitnet_model *model,
                                        const struct bitnet_model *base, struct bitnet_error *err)
{
    const struct bitnet_context_options options = {.n_context = (uint32_t)c->chunk,
                                                   .pool = c->options->pool,
                                                   .all_logits = true,
                                                   .n_logits = PIECE_ROWS};
    enum bitnet_status status = bitnet_context_new(&c->context[0], model, &options, err);
    if (!status) status = bitnet_context_new(&c->context[1], base, &options, err);
    return status;
}

static enum bitnet_status compare_chunks(struct comparison *c, int32_t *tokens, size_t n_chunks,
                                         int32_t bos, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < n_chunks && !status; i++) {
        int32_t *chunk = tokens + i * c->chunk;
        if (bos != BITNET_NO_TOKEN) chunk[0] = bos;
        status = compare_chunk(c, chunk, err);
        double sum = 0;
        for (size_t k = 0; k < c->n_scored; k++) sum += c->divergences[k];
        if (!status && c->options->progress)
            c->options->progress(c->options->user, i + 1, n_chunks, sum / (double)c->n_scored);
    }
    return status;
}

static enum bitnet_status run(struct comparison *c, const struct bitnet_model *model,
                              const struct bitnet_model *base, struct bitnet_tokens *tokens,
                              struct bitnet_divergence_result *result, struct bitnet_error *err)
{
    const struct bitnet_special_tokens *special = bitnet_tokenizer_special(model->tokenizer);
    if (tokens->n < 2 * c->chunk)
        return bitnet_fail(err, BITNET_LIMIT,
                           "the text has %zu tokens, two contexts of %zu are needed", tokens->n,
                           c->chunk);
    size_t n_chunks = tokens->n / c->chunk;
    if (c->options->n_chunks && c->options->n_chunks < n_chunks) n_chunks = c->options->n_chunks;
    c->divergences = bitnet_alloc(n_chunks * c->chunk, sizeof *c->divergences);
    if (!c->divergences)
        return bitnet_fail(err, BITNET_MEMORY, "no memory for %zu positions", n_chunks * c->chunk);
    enum bitnet_status status = open_contexts(c, model, base, err);
    if (!status)
        status = compare_chunks(c, tokens->at, n_chunks,
                                special->add_bos ? special->bos : BITNET_NO_TOKEN, err);
    if (status) return status;
    summarise(c, result);
    result->n_chunks = n_chunks;
    result->n_tokens = tokens->n;
    return BITNET_OK;
}

enum bitnet_status bitnet_divergence(const struct bitnet_model *model,
                                     const struct bitnet_model *base, struct bitnet_str text,
                                     const struct bitnet_perplexity_options *options,
                                     struct bitnet_divergence_result *result,
                                     struct bitnet_error *err)
{
    static const struct bitnet_perplexity_options defaults = {0};
    *result = (struct bitnet_divergence_result){0};
    struct comparison c = {.options = options ? options : &defaults,
                           .n_vocab = model->hparams.n_vocab};
    struct bitnet_tokens tokens = {0};
    c.chunk = c.options->n_context ? c.options->n_context : DEFAULT_CHUNK;
    if (c.chunk < CHUNK_MIN)
        return bitnet_fail(err, BITNET_USAGE, "a context of %zu tokens, at least %u are needed",
                           c.chunk, CHUNK_MIN);
    enum bitnet_status status = tokenize_both(model, base, text, &tokens, err);
    if (!status) status = run(&c, model, base, &tokens, result, err);
    bitnet_context_free(c.context[0]);
    bitnet_context_free(c.context[1]);
    bitnet_free(c.divergences);
    bitnet_tokens_free(&tokens);
    return status;
}
