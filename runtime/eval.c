/* An eval: slices of tokens, each of another sequence, are cut into batches and laid out in the
 * step that their contexts share. What happens to a batch is forward.c's.
 *
 * The order of tokens within a batch is free, because each has its place and all of a layer's keys
 * are stored before any are read. So those whose logits are kept come last: forward() leaves the
 * others behind in the last layer. */
#include "context.h"

#include "backend.h"

#include <inttypes.h>
#include <time.h>

/* ------------------------------------------------------------------ what may be asked */

static enum bitnet_status check_slice(const struct slice *slice, struct bitnet_error *err)
{
    const struct bitnet_context *c = slice->context;
    uint32_t n_left = c->n_cells - c->n_used, n_vocab = c->model->hparams.n_vocab;
    if (slice->n == 0) return bitnet_fail(err, BITNET_USAGE, "no tokens to evaluate");
    if (slice->n > n_left)
        return bitnet_fail(err, BITNET_LIMIT,
                           "%zu tokens do not fit: the context has %" PRIu32 " of %" PRIu32
                           " cells left",
                           slice->n, n_left, c->n_cells);
    for (size_t i = 0; i < slice->n; i++)
        if (slice->tokens[i] < 0 || (uint32_t)slice->tokens[i] >= n_vocab)
            return bitnet_fail(err, BITNET_LIMIT,
                               "token id %" PRId32 " at place %zu is outside the vocabulary of "
                               "%" PRIu32,
                               slice->tokens[i], i, n_vocab);
    return BITNET_OK;
}

static size_t n_kept_of(const struct slice *slice)
{
    return slice->n > slice->first_kept ? slice->n - slice->first_kept : 0;
}

/* Each context once, all of one family. */
static enum bitnet_status check_names(const struct slice *slices, size_t n,
                                      struct bitnet_error *err)
{
    bool is_twice = false, is_foreign = false;
    for (size_t i = 0; i < n; i++) {
        is_foreign = is_foreign || slices[i].context->owner != slices[0].context->owner;
        is_twice = is_twice || slices[i].context->is_named;
        slices[i].context->is_named = true;
    }
    for (size_t i = 0; i < n; i++) slices[i].context->is_named = false;
    if (is_foreign)
        return bitnet_fail(err, BITNET_USAGE, "contexts that share no step, in one eval");
    if (is_twice) return bitnet_fail(err, BITNET_USAGE, "one context twice in one eval");
    return BITNET_OK;
}

static enum bitnet_status check(const struct slice *slices, size_t n, struct bitnet_error *err)
{
    size_t n_kept = 0;
    enum bitnet_status status = check_names(slices, n, err);
    for (size_t i = 0; i < n && !status; i++) {
        status = check_slice(&slices[i], err);
        n_kept += n_kept_of(&slices[i]);
    }
    if (!status && n_kept > slices[0].context->owner->n_logits)
        return bitnet_fail(err, BITNET_LIMIT,
                           "logits of %zu tokens were asked for, the context keeps %" PRIu32,
                           n_kept, slices[0].context->owner->n_logits);
    return status;
}

/* ------------------------------------------------------------------ batches */

/* The next token of an eval: slice by slice. */
struct cursor {
    const struct slice *slice;
    size_t token;
};

static void advance(struct cursor *at)
{
    if (++at->token < at->slice->n) return;
    at->slice++;
    at->token = 0;
}

/* Those of the next n tokens whose logits are kept, or those whose are not, into the step from
 * `filled` on. Returns how far it is filled then. */
static size_t lay_out(struct step *s, struct cursor at, size_t n, bool kept, size_t filled)
{
    for (size_t i = 0; i < n; i++, advance(&at)) {
        const struct slice *slice = at.slice;
        if ((at.token >= slice->first_kept) != kept) continue;
        s->tokens[filled] = slice->tokens[at.token];
        s->places[filled++] =
            (struct place){.context = slice->context,
                           .cell = slice->context->n_used + (uint32_t)at.token,
                           .first_cell = slice->first_cells ? slice->first_cells[at.token] : 0};
    }
    return filled;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void count_step(struct bitnet_context *owner, size_t n_tokens, double ms)
{
    owner->n_steps++;
    owner->n_tokens += n_tokens;
    owner->step_ms += ms;
}

static enum bitnet_status run_batches(struct bitnet_context *owner, const struct slice *slices,
                                      size_t n_tokens, struct bitnet_error *err)
{
    struct cursor at = {.slice = slices};
    float *results = owner->logits;
    enum bitnet_status status = BITNET_OK;
    for (size_t done = 0; done < n_tokens && !status;) {
        size_t batch = n_tokens - done < owner->n_batch ? n_tokens - done : owner->n_batch;
        size_t n_others = lay_out(&owner->step, at, batch, false, 0);
        lay_out(&owner->step, at, batch, true, n_others);
        const double start = now_ms();
        status = owner->backend->step(owner, batch, batch - n_others, results, err);
        if (!status) count_step(owner, batch, now_ms() - start);
        results += (batch - n_others) * owner->result_width;
        done += batch;
        for (size_t i = 0; i < batch; i++) advance(&at);
    }
    return status;
}

static enum bitnet_status eval_for(const struct slice *slices, size_t n, bool wants_ids,
                                   struct bitnet_error *err)
{
    enum bitnet_status status = check(slices, n, err);
    if (status) return status;
    struct bitnet_context *owner = slices[0].context->owner;
    size_t n_tokens = 0, row = 0;
    owner->wants_ids = wants_ids && owner->cuda;
    for (size_t i = 0; i < n; i++) n_tokens += slices[i].n;
    owner->n_evals++; /* whatever comes, older logits are gone */
    status = run_batches(owner, slices, n_tokens, err);
    for (size_t i = 0; i < n && !status; i++) {
        struct bitnet_context *c = slices[i].context;
        c->n_used += (uint32_t)slices[i].n;
        c->own_eval = owner->n_evals;
        c->first_kept = slices[i].first_kept;
        c->n_kept = n_kept_of(&slices[i]);
        c->first_row = row;
        row += c->n_kept;
    }
    return status;
}

enum bitnet_status eval_slices(const struct slice *slices, size_t n, struct bitnet_error *err)
{
    return eval_for(slices, n, false, err);
}

enum bitnet_status eval_slices_best(const struct slice *slices, size_t n, struct bitnet_error *err)
{
    return eval_for(slices, n, true, err);
}

/* ------------------------------------------------------------------ the doors */

enum bitnet_status context_eval(struct bitnet_context *c, const int32_t *tokens, size_t n,
                                size_t first_kept, struct bitnet_error *err)
{
    const struct slice slice = {c, tokens, n, first_kept, NULL};
    return eval_slices(&slice, 1, err);
}

static size_t first_kept_of(const struct bitnet_context *context, size_t n)
{
    return context->all_logits || n == 0 ? 0 : n - 1;
}

enum bitnet_status bitnet_eval(struct bitnet_context *context, const int32_t *tokens, size_t n,
                               struct bitnet_error *err)
{
    return context_eval(context, tokens, n, first_kept_of(context, n), err);
}

enum bitnet_status bitnet_eval_many(const struct bitnet_slice *slices, size_t n_slices,
                                    struct bitnet_error *err)
{
    if (n_slices == 0) return bitnet_fail(err, BITNET_USAGE, "no sequences to evaluate");
    const struct bitnet_context *owner = slices[0].context->owner;
    if (n_slices > owner->n_logits) /* each keeps those of one token at least */
        return bitnet_fail(err, BITNET_LIMIT,
                           "%zu sequences in one eval, the context was made for %" PRIu32, n_slices,
                           owner->n_logits);
    for (size_t i = 0; i < n_slices; i++) {
        const struct bitnet_slice *s = &slices[i];
        owner->step.slices[i] =
            (struct slice){s->context, s->tokens, s->n, first_kept_of(s->context, s->n), NULL};
    }
    return eval_slices(owner->step.slices, n_slices, err);
}

/* Where the results of the i-th token are; false when they were not kept. */
static bool find_row(const struct bitnet_context *c, size_t i, size_t *row)
{
    if (c->own_eval != c->owner->n_evals) return false; /* another one's took their place */
    if (i < c->first_kept || i - c->first_kept >= c->n_kept) return false;
    *row = c->first_row + i - c->first_kept;
    return true;
}

const float *bitnet_logits(const struct bitnet_context *c, size_t i)
{
    size_t row;
    if (c->owner->wants_ids || !find_row(c, i, &row)) return NULL;
    return c->owner->logits + row * c->owner->result_width;
}

int32_t context_best(const struct bitnet_context *c, size_t i, const float **logits)
{
    size_t row;
    *logits = NULL;
    if (!find_row(c, i, &row)) return -1;
    *logits = c->owner->logits + row * c->owner->result_width;
    return c->owner->wants_ids ? c->owner->ids[row] : -1;
}
