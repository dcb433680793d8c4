/* Perplexity of a text, as llama-perplexity defines it (the door has the definition): chunks that
 * do not overlap, bos in place of each chunk's first token, the second half of each chunk scored.
 *
 * Logits are wanted of the second half only, and only some rows at a time: a chunk is evaluated in
 * pieces, each piece's log-probabilities are summed in double before the next overwrites them. How
 * a chunk is cut does not change a bit of its logits. */
#include "context.h"
#include "predictions.h"

#include "bitnet/alloc.h"

#include <inttypes.h>
#include <math.h>

#define DEFAULT_CHUNK 512u
#define CHUNK_MIN     4u
#define PIECE_MAX     256u        /* positions whose logits exist at a time */
#define PIECE_BYTES   (64u << 20) /* of logits, for large vocabularies */

struct scoring {
    const struct bitnet_perplexity_options *options;
    struct bitnet_context *context;
    size_t chunk; /* tokens */
    size_t piece; /* positions scored together */
    double nats, squares;
    size_t n_scored;
    struct bitnet_output *output; /* NULL: predictions are not written down */
    uint8_t *rows;                /* [piece] encoded predictions */
};

/* One piece: the log-probability of what really came next, for each row of logits. */
struct score_job {
    const float *logits; /* [n][n_vocab] */
    const int32_t *next; /* [n] */
    size_t n_vocab;
    uint8_t *rows; /* [n] where predictions are encoded; or NULL */
    double nats[PIECE_MAX];
};

static void score_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct score_job *job = ctx;
    for (size_t row = begin; row < end; row++) {
        const float *logits = job->logits + row * job->n_vocab;
        float top = logits[0];
        for (size_t i = 1; i < job->n_vocab; i++) top = logits[i] > top ? logits[i] : top;
        double sum = 0;
        for (size_t i = 0; i < job->n_vocab; i++) sum += (double)bitnet_expf(logits[i] - top);
        job->nats[row] = log(sum) - ((double)logits[job->next[row]] - (double)top);
        if (job->rows)
            predictions_encode(logits, job->n_vocab, (float)log(sum),
                               job->rows + row * predictions_row_bytes(job->n_vocab));
    }
}

/* Evaluates tokens[begin .. end) of the chunk and scores what each of them predicts. */
static enum bitnet_status score_piece(struct scoring *s, const int32_t *tokens, size_t begin,
                                      size_t end, struct bitnet_error *err)
{
    enum bitnet_status status = context_eval(s->context, tokens + begin, end - begin, 0, err);
    if (status) return status;
    struct score_job job = {.logits = s->context->logits,
                            .next = tokens + begin + 1,
                            .n_vocab = s->context->model->hparams.n_vocab,
                            .rows = s->rows};
    bitnet_pool_run(s->context->pool, end - begin, 1, score_rows, &job);
    for (size_t i = 0; i < end - begin; i++) {
        if (!isfinite(job.nats[i]))
            return bitnet_fail(err, BITNET_FORMAT,
                               "the model gives %g nats to token %" PRId32 " at position %zu",
                               job.nats[i], job.next[i], begin + i + 1);
        s->nats += job.nats[i];
        s->squares += job.nats[i] * job.nats[i];
        s->n_scored++;
    }
    if (!s->output) return BITNET_OK;
    return bitnet_output_write(s->output, s->rows,
                               (end - begin) * predictions_row_bytes(job.n_vocab), err);
}

static enum bitnet_status check_cancel(const struct scoring *s, struct bitnet_error *err)
{
    if (s->options->cancel && *s->options->cancel)
        return bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
    return BITNET_OK;
}

/* Positions chunk/2 .. chunk-2 are scored; the last token of a chunk need not be evaluated. */
static enum bitnet_status score_chunk(struct scoring *s, const int32_t *tokens,
                                      struct bitnet_error *err)
{
    size_t first = s->chunk / 2;
    bitnet_context_reset(s->context);
    enum bitnet_status status = context_eval(s->context, tokens, first, first, err);
    for (size_t begin = first; begin + 1 < s->chunk && !status; begin += s->piece) {
        size_t end = begin + s->piece < s->chunk - 1 ? begin + s->piece : s->chunk - 1;
        status = check_cancel(s, err);
        if (!status) status = score_piece(s, tokens, begin, end, err);
    }
    return status;
}

static enum bitnet_status score_chunks(struct scoring *s, int32_t *tokens, size_t n_chunks,
                                       int32_t bos, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < n_chunks && !status; i++) {
        int32_t *chunk = tokens + i * s->chunk;
        if (bos != BITNET_NO_TOKEN) chunk[0] = bos;
        status = check_cancel(s, err);
        if (!status) status = score_chunk(s, chunk, err);
        if (!status && s->options->progress)
            s->options->progress(s->options->user, i + 1, n_chunks,
                                 exp(s->nats / (double)s->n_scored));
    }
    return status;
}

/* The standard error of the mean, carried through exp(). */
static void summarise(const struct scoring *s, struct bitnet_perplexity_result *result)
{
    double n = (double)s->n_scored, mean = s->nats / n;
    double variance = s->squares / n - mean * mean;
    result->nats = s->nats;
    result->n_scored = s->n_scored;
    result->perplexity = exp(mean);
    result->standard_error =
        n > 1 && variance > 0 ? result->perplexity * sqrt(variance / (n - 1)) : 0;
}

static enum bitnet_status begin_saving(struct scoring *s, const int32_t *tokens, size_t n_chunks,
                                       struct bitnet_error *err)
{
    uint32_t n_vocab = s->context->model->hparams.n_vocab;
    if (!s->options->save_path) return BITNET_OK;
    s->rows = bitnet_alloc(s->piece, predictions_row_bytes(n_vocab));
    if (!s->rows) return bitnet_fail(err, BITNET_MEMORY, "no memory for %zu rows", s->piece);
    return predictions_begin(&s->output, s->options->save_path, s->options->overwrite,
                             (uint32_t)s->chunk, (uint32_t)n_chunks, n_vocab, tokens, err);
}

static enum bitnet_status end_saving(struct scoring *s, enum bitnet_status status,
                                     struct bitnet_error *err)
{
    if (!status && s->output)
        status = bitnet_output_finish(s->output, err);
    else
        bitnet_output_abort(s->output);
    bitnet_free(s->rows);
    return status;
}

/* How many rows of logits there are at a time. */
static size_t piece_of(size_t n_vocab)
{
    size_t rows = PIECE_BYTES / sizeof(float) / n_vocab;
    return rows < 16 ? 16 : rows < PIECE_MAX ? rows : PIECE_MAX;
}

static enum bitnet_status run_chunks(const struct bitnet_model *model, struct scoring *s,
                                     struct bitnet_tokens *tokens,
                                     struct bitnet_perplexity_result *result,
                                     struct bitnet_error *err)
{
    const struct bitnet_special_tokens *special = bitnet_tokenizer_special(model->tokenizer);
    if (tokens->n < 2 * s->chunk)
        return bitnet_fail(err, BITNET_LIMIT,
                           "the text has %zu tokens, two contexts of %zu are needed", tokens->n,
                           s->chunk);
    size_t n_chunks = tokens->n / s->chunk;
    if (s->options->n_chunks && s->options->n_chunks < n_chunks) n_chunks = s->options->n_chunks;
    s->piece = piece_of(model->hparams.n_vocab);
    struct bitnet_context_options context = {.n_context = (uint32_t)s->chunk,
                                             .pool = s->options->pool,
                                             .quantized_cache = s->options->quantized_cache,
                                             .all_logits = true,
                                             .n_logits = (uint32_t)s->piece};
    enum bitnet_status status = bitnet_context_new(&s->context, model, &context, err);
    if (status) return status;
    int32_t bos = special->add_bos ? special->bos : BITNET_NO_TOKEN;
    status = begin_saving(s, tokens->at, n_chunks, err);
    if (!status) status = score_chunks(s, tokens->at, n_chunks, bos, err);
    status = end_saving(s, status, err);
    bitnet_context_free(s->context);
    if (status) return status;
    result->n_chunks = n_chunks;
    result->n_tokens = tokens->n;
    summarise(s, result);
    return BITNET_OK;
}

enum bitnet_status bitnet_perplexity(const struct bitnet_model *model, struct bitnet_str text,
                                     const struct bitnet_perplexity_options *options,
                                     struct bitnet_perplexity_result *result,
                                     struct bitnet_error *err)
{
    static const struct bitnet_perplexity_options defaults = {0};
    *result = (struct bitnet_perplexity_result){0};
    struct scoring s = {.options = options ? options : &defaults};
    s.chunk = s.options->n_context ? s.options->n_context : DEFAULT_CHUNK;
    if (s.chunk < CHUNK_MIN)
        return bitnet_fail(err, BITNET_USAGE, "a context of %zu tokens, at least %u are needed",
                           s.chunk, CHUNK_MIN);
    struct bitnet_tokens tokens = {0};
    const struct bitnet_tokenizer *tokenizer;
    enum bitnet_status status = bitnet_model_need_tokenizer(model, &tokenizer, err);
    if (!status) status = bitnet_tokenize(tokenizer, text, NULL, &tokens, err);
    if (!status) status = run_chunks(model, &s, &tokens, result, err);
    bitnet_tokens_free(&tokens);
    return status;
}
