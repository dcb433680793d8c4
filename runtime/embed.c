/* Embeddings: tokens of many texts laid out one behind the other in the cache, evaluated in batches
 * that do not care where a text ends, and pooled as they come out. Sums are doubles. Source of the
 * poolings: formats.md 6.6 and 7.4; sentence-transformers' Pooling module. */
#include "bitnet/embed.h"

#include "bitnet/alloc.h"

#include "context.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Tokens that are laid out together, unless one text is longer. */
#define ROUND_TOKENS  2048u
#define DEFAULT_BATCH 256u

/* One call of bitnet_embed_tokens(). */
struct job {
    const struct bitnet_model *model;
    const struct bitnet_tokens *texts;
    const struct bitnet_embed_options *options;
    struct bitnet_embeddings *out;
    enum bitnet_pooling pooling;
    struct bitnet_context *context;
    uint32_t n_round, n_batch;
    int32_t *tokens;       /* [n_round] of a round */
    uint32_t *first_cells; /* [n_round] */
    double *sum;           /* [width], of the text whose tokens come out now */
    size_t text, token;    /* what comes out next */
};

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for embeddings");
}

void bitnet_embeddings_free(struct bitnet_embeddings *embeddings)
{
    bitnet_free(embeddings->first);
    bitnet_free(embeddings->at);
    *embeddings = (struct bitnet_embeddings){0};
}

/* ------------------------------------------------------------------ pooling */

/* The sum or vector in `sum` becomes vector number `index`. */
static enum bitnet_status put_vector(struct job *job, size_t index, struct bitnet_error *err)
{
    size_t width = job->out->width;
    float *out = job->out->at + index * width;
    double square = 0;
    for (size_t i = 0; i < width; i++) square += job->sum[i] * job->sum[i];
    double scale = job->options->keeps_length || square == 0 ? 1 : 1 / sqrt(square);
    if (!isfinite(square))
        return bitnet_fail(err, BITNET_FORMAT, "the vector of text %zu is not finite", job->text);
    for (size_t i = 0; i < width; i++) out[i] = (float)(job->sum[i] * scale);
    return BITNET_OK;
}

/* Takes one token's vector; a text's last one completes it. */
static enum bitnet_status take(struct job *job, const float *vector, struct bitnet_error *err)
{
    size_t width = job->out->width, n = job->texts[job->text].n;
    bool is_first = job->token == 0, is_last = job->token + 1 == n;
    bool is_mean = job->pooling == BITNET_POOLING_MEAN,
         is_each = job->pooling == BITNET_POOLING_NONE;
    enum bitnet_status status = BITNET_OK;
    if (!is_mean || is_first) memset(job->sum, 0, width * sizeof *job->sum);
    for (size_t i = 0; i < width; i++) job->sum[i] += (double)vector[i] / (is_mean ? (double)n : 1);
    bool is_wanted = is_each || (job->pooling == BITNET_POOLING_CLS ? is_first : is_last);
    if (is_wanted)
        status = put_vector(job, job->out->first[job->text] + (is_each ? job->token : 0), err);
    job->token = is_last ? 0 : job->token + 1;
    job->text += is_last;
    return status;
}

/* ------------------------------------------------------------------ rounds */

static enum bitnet_status eval_round(struct job *job, size_t n, struct bitnet_error *err)
{
    bitnet_context_reset(job->context);
    for (size_t done = 0; done < n;) {
        size_t batch = n - done < job->n_batch ? n - done : job->n_batch;
        if (job->options->cancel && *job->options->cancel)
            return bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
        const struct slice slice = {job->context, job->tokens + done, batch, 0,
                                    job->first_cells + done};
        enum bitnet_status status = eval_slices(&slice, 1, err);
        for (size_t i = 0; i < batch && !status; i++)
            status = take(job, bitnet_logits(job->context, i), err);
        if (status) return status;
        done += batch;
    }
    return BITNET_OK;
}

/* As many whole texts as a round holds. */
static enum bitnet_status run_rounds(struct job *job, struct bitnet_error *err)
{
    size_t n_texts = job->out->n_texts, next = 0;
    enum bitnet_status status = BITNET_OK;
    while (next < n_texts && !status) {
        size_t n = 0;
        for (; next < n_texts && n + job->texts[next].n <= job->n_round; next++)
            for (size_t i = 0, first = n; i < job->texts[next].n; i++, n++) {
                job->tokens[n] = job->texts[next].at[i];
                job->first_cells[n] = (uint32_t)first;
            }
        status = eval_round(job, n, err);
    }
    return status;
}

/* ------------------------------------------------------------------ the whole */

/* Counts tokens and vectors; a round must hold the longest text. */
static enum bitnet_status measure(struct job *job, struct bitnet_error *err)
{
    struct bitnet_embeddings *out = job->out;
    uint32_t trained = job->model->hparams.n_context;
    size_t longest = 1;
    for (size_t i = 0; i < out->n_texts; i++) {
        size_t n = job->texts[i].n;
        if (n == 0) return bitnet_fail(err, BITNET_FORMAT, "text %zu has no tokens", i);
        if (n > trained)
            return bitnet_fail(err, BITNET_LIMIT,
                               "text %zu has %zu tokens, the model was trained for %" PRIu32, i, n,
                               trained);
        longest = n > longest ? n : longest;
        out->first[i] = out->n_vectors;
        out->n_vectors += job->pooling == BITNET_POOLING_NONE ? n : 1;
        out->n_tokens += n;
    }
    out->first[out->n_texts] = out->n_vectors;
    size_t round = out->n_tokens < ROUND_TOKENS ? out->n_tokens : ROUND_TOKENS;
    job->n_round = (uint32_t)(longest > round ? longest : round);
    return BITNET_OK;
}

static enum bitnet_status prepare(struct job *job, struct bitnet_error *err)
{
    struct bitnet_embeddings *out = job->out;
    job->n_batch = job->options->n_batch ? job->options->n_batch : DEFAULT_BATCH;
    struct bitnet_context_options options = {.n_context = job->n_round,
                                             .n_batch = job->n_batch,
                                             .pool = job->options->pool,
                                             .all_logits = true,
                                             .n_logits = job->n_batch};
    out->at = bitnet_alloc(out->n_vectors + 1, out->width * sizeof *out->at);
    job->tokens = bitnet_alloc(job->n_round, sizeof *job->tokens);
    job->first_cells = bitnet_alloc(job->n_round, sizeof *job->first_cells);
    job->sum = bitnet_alloc(out->width, sizeof *job->sum);
    if (!out->at || !job->tokens || !job->first_cells || !job->sum) return no_memory(err);
    return context_new(&job->context, job->model, &options, true, err);
}

static enum bitnet_status choose_pooling(struct job *job, struct bitnet_error *err)
{
    job->pooling = job->options->pooling ? job->options->pooling : job->model->hparams.pooling;
    job->out->is_pooled = job->pooling != BITNET_POOLING_NONE;
    if (job->pooling) return BITNET_OK;
    bitnet_fail(err, BITNET_USAGE, "the model does not say how its vectors are pooled");
    return bitnet_hint(err, BITNET_USAGE,
                       "it is no embedding model: name a pooling to use it as one");
}

enum bitnet_status bitnet_embed_tokens(struct bitnet_embeddings *embeddings,
                                       const struct bitnet_model *model,
                                       const struct bitnet_tokens *texts, size_t n_texts,
                                       const struct bitnet_embed_options *options,
                                       struct bitnet_error *err)
{
    static const struct bitnet_embed_options defaults = {0};
    struct job job = {.model = model,
                      .texts = texts,
                      .options = options ? options : &defaults,
                      .out = embeddings};
    *embeddings = (struct bitnet_embeddings){
        .n_texts = n_texts, .width = model->hparams.n_embd, .is_pooled = true};
    embeddings->first = bitnet_alloc(n_texts + 1, sizeof *embeddings->first);
    enum bitnet_status status = embeddings->first ? BITNET_OK : no_memory(err);
    if (!status) status = choose_pooling(&job, err);
    if (!status) status = measure(&job, err);
    if (!status) status = prepare(&job, err);
    if (!status) status = run_rounds(&job, err);
    bitnet_context_free(job.context);
    bitnet_free(job.tokens);
    bitnet_free(job.first_cells);
    bitnet_free(job.sum);
    if (status) bitnet_embeddings_free(embeddings);
    return status;
}

enum bitnet_status bitnet_embed(struct bitnet_embeddings *embeddings,
                                const struct bitnet_model *model, const struct bitnet_str *texts,
                                size_t n_texts, const struct bitnet_embed_options *options,
                                struct bitnet_error *err)
{
    *embeddings = (struct bitnet_embeddings){0};
    const struct bitnet_tokenizer *tokenizer;
    enum bitnet_status status = bitnet_model_need_tokenizer(model, &tokenizer, err);
    if (status) return status;
    struct bitnet_tokens *tokens = bitnet_alloc(n_texts + 1, sizeof *tokens);
    if (!tokens) status = no_memory(err);
    for (size_t i = 0; i < n_texts && !status; i++)
        status = bitnet_tokenize(tokenizer, texts[i], NULL, &tokens[i], err);
    if (!status) status = bitnet_embed_tokens(embeddings, model, tokens, n_texts, options, err);
    for (size_t i = 0; tokens && i < n_texts; i++) bitnet_tokens_free(&tokens[i]);
    bitnet_free(tokens);
    return status;
}

/* ------------------------------------------------------------------ comparing */

double bitnet_similarity(const float *a, const float *b, size_t width)
{
    double dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < width; i++) {
        dot += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa == 0 || bb == 0 ? 0 : dot / (sqrt(aa) * sqrt(bb));
}

size_t bitnet_most_similar(const float *query, const float *vectors, size_t n, size_t width,
                           size_t k, struct bitnet_similar *best)
{
    size_t n_best = 0;
    for (size_t i = 0; i < n && k > 0; i++) {
        struct bitnet_similar now = {i, bitnet_similarity(query, vectors + i * width, width)};
        size_t at = n_best;
        while (at > 0 && best[at - 1].similarity < now.similarity) at--;
        if (at == k) continue;
        if (n_best < k) n_best++;
        memmove(best + at + 1, best + at, (n_best - 1 - at) * sizeof *best);
        best[at] = now;
    }
    return n_best;
}
