/* From prompts to texts: each reads its prompt, then samples, tells, evaluates, one token at a
 * time. Several go on together in steps, as many as there are contexts; where one ends the next
 * begins. What is shown is whole UTF-8 characters only, and nothing of a stop text. */
#include "context.h"

#include "bitnet/alloc.h"
#include "bitnet/text.h"

#include "sampler.h"
#include "stops.h"

#include <time.h>

#define PIECE_BYTES_MAX 1048576u

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* One text on its way. */
struct generation {
    struct bitnet_context *context;
    struct bitnet_sampler *sampler;
    const struct bitnet_generate_options *options;
    const int32_t *prompt;
    size_t n_prompt, n_read;      /* tokens of the prompt that are evaluated */
    int32_t next;                 /* behind the prompt: what is evaluated next */
    struct bitnet_tokens *tokens; /* gets the new ones; may be NULL */
    struct bitnet_stream stream;
    struct stops stops;
    struct bitnet_buf piece, shown;
    bool is_under_way;
    bool is_silent; /* the callback has had enough, or a stop text was found */
    double begin_ms, read_ms, end_ms;
    size_t n_decoded;
    enum bitnet_finish finish;
    enum bitnet_status status;
    struct bitnet_error *err; /* may be NULL */
};

/* ------------------------------------------------------------------ one text */

/* The text goes on behind words, so its first space is a space. Behind bos alone it begins. */
static bool begins_in_text(const struct bitnet_tokenizer *tokenizer, const int32_t *prompt,
                           size_t n)
{
    for (size_t i = 0; tokenizer && i < n; i++)
        if (bitnet_token_type(tokenizer, prompt[i]) != BITNET_TOKEN_CONTROL) return true;
    return false;
}

/* Lets out what is whole and no stop text. */
static enum bitnet_status let_out(struct generation *g, struct bitnet_error *err)
{
    const struct bitnet_generate_options *o = g->options;
    if (g->shown.failed)
        return bitnet_fail(err, BITNET_MEMORY, "no memory for the text of a token");
    if (g->shown.n && o->piece &&
        !o->piece(o->user, (struct bitnet_str){g->shown.at, g->shown.n})) {
        g->is_silent = true;
        g->finish = BITNET_FINISH_STOPPED;
    }
    return BITNET_OK;
}

static enum bitnet_status show(struct generation *g, int32_t id, struct bitnet_error *err)
{
    const struct bitnet_tokenizer *tokenizer = g->context->model->tokenizer;
    bool is_stop = false;
    if ((!g->options->piece && !g->stops.n) || !tokenizer) return BITNET_OK;
    g->piece.n = 0;
    g->shown.n = 0;
    if (!bitnet_stream_token(&g->stream, tokenizer, id, g->options->with_special, &g->piece) ||
        !stops_take(&g->stops, (struct bitnet_str){g->piece.at, g->piece.n}, &g->shown, &is_stop))
        return bitnet_fail(err, BITNET_MEMORY, "no memory for the text of a token");
    enum bitnet_status status = let_out(g, err);
    if (is_stop && !g->is_silent) {
        g->is_silent = true;
        g->finish = BITNET_FINISH_STOP_TEXT;
    }
    return status;
}

/* What is still held comes out, also after a failure: what was decoded is shown whole. */
static enum bitnet_status show_rest(struct generation *g, struct bitnet_error *err)
{
    if (g->is_silent) return BITNET_OK;
    enum bitnet_status status = show(g, BITNET_NO_TOKEN, err);
    if (status || g->is_silent) return status;
    g->shown.n = 0;
    stops_end(&g->stops, &g->shown);
    return let_out(g, err);
}

static void end(struct generation *g, enum bitnet_status status)
{
    enum bitnet_finish finish = g->finish;
    enum bitnet_status shown = show_rest(g, status ? NULL : g->err);
    if (g->finish == BITNET_FINISH_STOPPED) g->finish = finish; /* it had ended before */
    g->status = status ? status : shown;
    g->is_under_way = false;
    g->end_ms = now_ms();
    stops_free(&g->stops);
    bitnet_buf_free(&g->piece);
    bitnet_buf_free(&g->shown);
}

static enum bitnet_status check_prompt(const struct generation *g)
{
    uint32_t n_left = g->context->n_cells - g->context->n_used;
    if (g->n_prompt == 0) return bitnet_fail(g->err, BITNET_USAGE, "the prompt has no tokens");
    if (g->n_prompt > n_left)
        return bitnet_fail(g->err, BITNET_LIMIT,
                           "the prompt has %zu tokens, the context room for %u", g->n_prompt,
                           (unsigned)n_left);
    return BITNET_OK;
}

static void begin(struct generation *g)
{
    const struct bitnet_tokenizer *tokenizer = g->context->model->tokenizer;
    g->piece.max = g->shown.max = PIECE_BYTES_MAX;
    g->stream.started = begins_in_text(tokenizer, g->prompt, g->n_prompt);
    g->finish = BITNET_FINISH_LENGTH;
    g->begin_ms = g->read_ms = now_ms();
    g->is_under_way = true;
    enum bitnet_status status = check_prompt(g);
    if (!status && g->options->n_stops && !tokenizer)
        status = bitnet_fail(g->err, BITNET_USAGE, "stop texts of a model without a tokenizer");
    if (!status) status = stops_begin(&g->stops, g->options->stops, g->options->n_stops, g->err);
    if (status) end(g, status);
}

/* The token is chosen; is it the end, shown, kept? */
static enum bitnet_status take(struct generation *g, bool *ends)
{
    const struct bitnet_tokenizer *tokenizer = g->context->model->tokenizer;
    *ends = !g->options->ignore_eog && tokenizer && bitnet_token_is_eog(tokenizer, g->next);
    if (*ends) g->finish = BITNET_FINISH_EOG;
    if (*ends) return BITNET_OK;
    g->n_decoded++;
    bitnet_sampler_accept(g->sampler, g->next);
    if (g->tokens && !bitnet_tokens_add(g->tokens, g->next))
        return bitnet_fail(g->err, BITNET_MEMORY, "no memory for the list of tokens");
    enum bitnet_status status = show(g, g->next, g->err);
    bool is_full = g->context->n_used == g->context->n_cells;
    *ends = g->is_silent || is_full || g->n_decoded == g->options->n_predict;
    return status;
}

/* Its tokens were evaluated: on in the prompt, or the next token. */
static void advance(struct generation *g, const struct slice *slice)
{
    bool ends = false;
    if (g->n_read < g->n_prompt) {
        for (size_t i = 0; i < slice->n; i++) bitnet_sampler_accept(g->sampler, slice->tokens[i]);
        g->n_read += slice->n;
        g->read_ms = now_ms();
        if (g->n_read < g->n_prompt) return;
    }
    const float *logits;
    enum bitnet_status status = BITNET_OK;
    g->next = context_best(g->context, slice->n - 1, &logits);
    if (g->next < 0) status = bitnet_sample(g->sampler, logits, &g->next, g->err);
    if (!status) status = take(g, &ends);
    if (status || ends) end(g, status);
}

static struct bitnet_timings timings_of(const struct generation *g)
{
    return (struct bitnet_timings){.prefill_ms = g->read_ms - g->begin_ms,
                                   .decode_ms = g->end_ms - g->read_ms,
                                   .n_prompt = g->n_prompt,
                                   .n_decoded = g->n_decoded};
}

/* ------------------------------------------------------------------ steps of several */

/* What this one adds to a step: one token, or as much of its prompt as `room` has. */
static struct slice next_slice(struct generation *g, size_t room)
{
    size_t left = g->n_prompt - g->n_read;
    struct slice slice = {.context = g->context, .tokens = &g->next, .n = 1};
    if (left == 0) return slice;
    slice.tokens = g->prompt + g->n_read;
    slice.n = left < room ? left : room;
    slice.first_kept = slice.n < left ? slice.n : slice.n - 1;
    return slice;
}

/* One token of each that generates, and the last batch filled up with prompts: so a long prompt
 * holds nobody up for more than a batch. `of` says whose slice it is. Returns how many there are.
 */
static size_t plan(struct generation *g, size_t n, struct slice *slices, struct generation **of)
{
    size_t n_slices = 0, n_batch = g->context->owner->n_batch;
    for (size_t i = 0; i < n; i++)
        if (g[i].is_under_way && g[i].n_read == g[i].n_prompt) {
            of[n_slices] = &g[i];
            slices[n_slices++] = next_slice(&g[i], 1);
        }
    size_t room = n_batch - n_slices % n_batch;
    for (size_t i = 0; i < n && room > 0; i++)
        if (g[i].is_under_way && g[i].n_read < g[i].n_prompt) {
            of[n_slices] = &g[i];
            slices[n_slices] = next_slice(&g[i], room);
            room -= slices[n_slices++].n;
        }
    return n_slices;
}

static void end_cancelled(struct generation *g, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (g[i].is_under_way && g[i].options->cancel && *g[i].options->cancel)
            end(&g[i], bitnet_fail(g[i].err, BITNET_CANCELLED, "stopped on request"));
}

/* One step of all that are under way. */
static void run_step(struct generation *g, size_t n, struct slice *slices, struct generation **of)
{
    struct bitnet_error err = {0};
    end_cancelled(g, n);
    size_t n_slices = plan(g, n, slices, of);
    if (n_slices == 0) return;
    bool are_greedy = true;
    for (size_t i = 0; i < n_slices; i++)
        are_greedy = are_greedy && sampler_is_greedy(of[i]->sampler);
    enum bitnet_status status =
        are_greedy ? eval_slices_best(slices, n_slices, &err) : eval_slices(slices, n_slices, &err);
    for (size_t i = 0; i < n_slices; i++) {
        if (status && of[i]->err) *of[i]->err = err;
        if (status)
            end(of[i], status);
        else
            advance(of[i], &slices[i]);
    }
}

enum bitnet_status bitnet_generate(struct bitnet_context *context, struct bitnet_sampler *sampler,
                                   const int32_t *prompt, size_t n_prompt,
                                   const struct bitnet_generate_options *options,
                                   struct bitnet_tokens *tokens, enum bitnet_finish *finish,
                                   struct bitnet_timings *timings, struct bitnet_error *err)
{
    struct generation g = {.context = context,
                           .sampler = sampler,
                           .options = options,
                           .prompt = prompt,
                           .n_prompt = n_prompt,
                           .tokens = tokens,
                           .err = err};
    struct generation *of;
    struct slice slice;
    begin(&g);
    while (g.is_under_way) run_step(&g, 1, &slice, &of);
    if (finish) *finish = g.finish;
    if (timings) {
        struct bitnet_timings spent = timings_of(&g);
        spent.load_ms = timings->load_ms;
        spent.tokenize_ms = timings->tokenize_ms;
        *timings = spent;
    }
    return g.status;
}

/* ------------------------------------------------------------------ a queue of requests */

/* One call of bitnet_generate_many(). Arrays: [n_contexts]. */
struct queue {
    struct bitnet_context *const *contexts;
    size_t n_contexts;
    struct bitnet_request *requests, **current; /* what each context works at; NULL: nothing */
    size_t n_requests, n_begun;
    struct generation *generations, **of;
    struct slice *slices;
};

static void complete(struct queue *q, size_t i)
{
    struct generation *g = &q->generations[i];
    struct bitnet_request *r = q->current[i];
    r->status = g->status;
    r->finish = g->finish;
    r->timings = timings_of(g);
    if (g->sampler) r->faults = bitnet_sampler_faults(g->sampler);
    bitnet_sampler_free(g->sampler);
    q->current[i] = NULL;
    if (r->ended) r->ended(r->options.user, r);
}

static void join(struct queue *q, size_t i)
{
    struct bitnet_request *r = q->current[i] = &q->requests[q->n_begun++];
    struct generation *g = &q->generations[i];
    *g = (struct generation){.context = q->contexts[i],
                             .options = &r->options,
                             .prompt = r->prompt,
                             .n_prompt = r->n_prompt,
                             .tokens = &r->tokens,
                             .err = &r->error};
    bitnet_context_reset(g->context);
    g->status = bitnet_sampler_new(&g->sampler, g->context->model->hparams.n_vocab, &r->sampling,
                                   &r->error);
    if (!g->status) begin(g);
}

/* Those who have ended leave, and the next take their places; one that fails at once leaves too. */
static void turn_over(struct queue *q)
{
    for (size_t i = 0; i < q->n_contexts; i++)
        while (!q->current[i] || !q->generations[i].is_under_way) {
            if (q->current[i]) complete(q, i);
            if (q->n_begun == q->n_requests) break;
            join(q, i);
        }
}

static bool is_busy(const struct queue *q)
{
    for (size_t i = 0; i < q->n_contexts; i++)
        if (q->current[i]) return true;
    return false;
}

enum bitnet_status bitnet_generate_many(struct bitnet_context *const *contexts, size_t n_contexts,
                                        struct bitnet_request *requests, size_t n_requests,
                                        struct bitnet_error *err)
{
    struct queue q = {.contexts = contexts, .n_contexts = n_contexts, .requests = requests};
    q.n_requests = n_requests;
    enum bitnet_status status = BITNET_OK;
    if (n_contexts == 0) return bitnet_fail(err, BITNET_USAGE, "no context to generate in");
    q.current = bitnet_alloc(n_contexts, sizeof(struct bitnet_request *));
    q.generations = bitnet_alloc(n_contexts, sizeof *q.generations);
    q.of = bitnet_alloc(n_contexts, sizeof(struct generation *));
    q.slices = bitnet_alloc(n_contexts, sizeof *q.slices);
    if (!q.current || !q.generations || !q.of || !q.slices)
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for %zu sequences", n_contexts);
    if (!status) turn_over(&q);
    while (!status && is_busy(&q)) {
        run_step(q.generations, n_contexts, q.slices, q.of);
        turn_over(&q);
    }
    bitnet_free(q.slices);
    bitnet_free(q.of);
    bitnet_free(q.generations);
    bitnet_free(q.current);
    return status;
}
