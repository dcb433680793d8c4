/* From a prompt to text: prefill in batches, then sample, tell, evaluate, one token at a time. What
 * is shown is whole UTF-8 characters only. */
#include "context.h"

#include "bitnet/text.h"

#include <time.h>

#define PIECE_BYTES_MAX 1048576u

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* What the steps of one generation share. */
struct generation {
    struct bitnet_context *context;
    struct bitnet_sampler *sampler;
    const struct bitnet_generate_options *options;
    struct bitnet_stream stream;
    struct bitnet_buf piece;
    bool is_stopped; /* the callback has had enough */
};

static enum bitnet_status check_cancel(const struct generation *g, struct bitnet_error *err)
{
    if (g->options->cancel && *g->options->cancel)
        return bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
    return BITNET_OK;
}

/* A batch at a time, so that a cancelled prompt of thousands of tokens stops soon. */
static enum bitnet_status prefill(struct generation *g, const int32_t *prompt, size_t n,
                                  struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t done = 0; done < n && !status;) {
        size_t batch = g->context->n_batch < n - done ? g->context->n_batch : n - done;
        bool is_last = done + batch == n;
        status = check_cancel(g, err);
        if (!status)
            status =
                context_eval(g->context, prompt + done, batch, is_last ? batch - 1 : batch, err);
        for (size_t i = 0; i < batch && !status; i++)
            bitnet_sampler_accept(g->sampler, prompt[done + i]);
        done += batch;
    }
    return status;
}

/* `id` BITNET_NO_TOKEN lets out what is still held. */
static enum bitnet_status show(struct generation *g, int32_t id, struct bitnet_error *err)
{
    const struct bitnet_tokenizer *tokenizer = g->context->model->tokenizer;
    if (!g->options->piece || !tokenizer) return BITNET_OK;
    g->piece.n = 0;
    if (!bitnet_stream_token(&g->stream, tokenizer, id, g->options->with_special, &g->piece))
        return bitnet_fail(err, BITNET_MEMORY, "no memory for the text of a token");
    if (g->piece.n)
        g->is_stopped =
            !g->options->piece(g->options->user, (struct bitnet_str){g->piece.at, g->piece.n});
    return BITNET_OK;
}

/* The token is chosen; is it the end, shown, kept? */
static enum bitnet_status take(struct generation *g, int32_t id, struct bitnet_tokens *tokens,
                               bool *ends, struct bitnet_error *err)
{
    const struct bitnet_tokenizer *tokenizer = g->context->model->tokenizer;
    *ends = !g->options->ignore_eog && tokenizer && bitnet_token_is_eog(tokenizer, id);
    if (*ends) return BITNET_OK;
    bitnet_sampler_accept(g->sampler, id);
    if (tokens && !bitnet_tokens_add(tokens, id))
        return bitnet_fail(err, BITNET_MEMORY, "no memory for the list of tokens");
    return show(g, id, err);
}

static enum bitnet_status decode(struct generation *g, struct bitnet_tokens *tokens,
                                 enum bitnet_finish *finish, size_t *n_decoded,
                                 struct bitnet_error *err)
{
    size_t limit = g->options->n_predict ? g->options->n_predict : SIZE_MAX;
    *finish = BITNET_FINISH_LENGTH;
    for (size_t i = 0; i < limit; i++) {
        int32_t id;
        bool ends;
        enum bitnet_status status = check_cancel(g, err);
        if (!status) status = bitnet_sample(g->sampler, g->context->logits, &id, err);
        if (!status) status = take(g, id, tokens, &ends, err);
        if (status) return status;
        if (ends) *finish = BITNET_FINISH_EOG;
        if (g->is_stopped) *finish = BITNET_FINISH_STOPPED;
        *n_decoded += !ends;
        bool is_full = g->context->n_used == g->context->n_cells;
        if (ends || g->is_stopped || is_full || i + 1 == limit) return BITNET_OK;
        status = context_eval(g->context, &id, 1, 0, err);
        if (status) return status;
    }
    return BITNET_OK;
}

/* The text goes on behind words, so its first space is a space. Behind bos alone it begins. */
static bool begins_in_text(const struct bitnet_tokenizer *tokenizer, const int32_t *prompt,
                           size_t n)
{
    for (size_t i = 0; tokenizer && i < n; i++)
        if (bitnet_token_type(tokenizer, prompt[i]) != BITNET_TOKEN_CONTROL) return true;
    return false;
}

enum bitnet_status bitnet_generate(struct bitnet_context *context, struct bitnet_sampler *sampler,
                                   const int32_t *prompt, size_t n_prompt,
                                   const struct bitnet_generate_options *options,
                                   struct bitnet_tokens *tokens, enum bitnet_finish *finish,
                                   struct bitnet_timings *timings, struct bitnet_error *err)
{
    struct generation g = {.context = context, .sampler = sampler, .options = options};
    g.piece.max = PIECE_BYTES_MAX;
    g.stream.started = begins_in_text(context->model->tokenizer, prompt, n_prompt);
    struct bitnet_timings spent = {.n_prompt = n_prompt};
    enum bitnet_finish reason = BITNET_FINISH_LENGTH;
    enum bitnet_status status = BITNET_OK;
    if (n_prompt == 0) status = bitnet_fail(err, BITNET_USAGE, "the prompt has no tokens");
    if (!status && n_prompt > context->n_cells - context->n_used)
        status =
            bitnet_fail(err, BITNET_LIMIT, "the prompt has %zu tokens, the context room for %u",
                        n_prompt, (unsigned)(context->n_cells - context->n_used));
    double start = now_ms();
    if (!status) status = prefill(&g, prompt, n_prompt, err);
    double prefilled = now_ms();
    if (!status) status = decode(&g, tokens, &reason, &spent.n_decoded, err);
    if (!g.is_stopped) { /* also after a failure: what was decoded is shown whole */
        enum bitnet_status shown = show(&g, BITNET_NO_TOKEN, status ? NULL : err);
        if (!status) status = shown;
    }
    bitnet_buf_free(&g.piece);
    spent.prefill_ms = prefilled - start;
    spent.decode_ms = now_ms() - prefilled;
    if (finish) *finish = reason;
    if (timings) {
        spent.load_ms = timings->load_ms;
        spent.tokenize_ms = timings->tokenize_ms;
        *timings = spent;
    }
    return status;
}
