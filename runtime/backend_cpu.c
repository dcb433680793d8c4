/* The verbs on the CPU: each cuts its work into slices for the pool and calls one kernel per
 * slice. A slice writes its own output only, and no sum crosses slices, so the thread count and
 * the cut cannot change a bit. */
#include "backend.h"

#include "forward.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <time.h>

/* Work below this many floats is not worth waking anybody for. */
#define ALONE_MAX 16384u

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void run(struct bitnet_context *c, enum bitnet_op op, size_t n, size_t grain,
                bitnet_work_fn *work, void *ctx)
{
    double start = c->costs ? now_ms() : 0;
    if (n <= grain || c->n_threads == 1)
        work(ctx, 0, n, 0);
    else
        bitnet_pool_run(c->pool, n, grain, work, ctx);
    if (!c->costs) return;
    c->costs[op].ms += now_ms() - start;
    c->costs[op].calls++;
}

static void count(struct bitnet_context *c, enum bitnet_op op, uint64_t bytes, uint64_t ops)
{
    if (!c->costs) return;
    c->costs[op].bytes += bytes;
    c->costs[op].ops += ops;
}

/* Tokens per slice for a verb that touches `width` floats of each. */
static size_t token_grain(size_t width)
{
    size_t grain = ALONE_MAX / (width ? width : 1);
    return grain ? grain : 1;
}

/* ------------------------------------------------------------------ one token each */

/* What the simple verbs need; each uses some of it. */
struct token_job {
    struct bitnet_context *c;
    const struct vectors *x, *y;
    const float *weight;
    const struct angles *angles;
    const double *steps;
    size_t layer, n_heads;
};

static void embed_tokens(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct token_job *job = ctx;
    const struct embedding *e = &job->c->model->embedding;
    for (size_t t = begin; t < end; t++) {
        size_t row = (size_t)job->c->step.tokens[t];
        float *x = vector_at(job->x, t);
        if (e->decoded)
            memcpy(x, e->decoded + row * job->x->width, job->x->width * sizeof *x);
        else
            e->codec->decode_rows(&e->layout, e->bytes + row * e->row_bytes, 1, x);
        for (size_t i = 0; e->scale != 1 && i < job->x->width; i++) x[i] *= e->scale;
    }
}

static void embed(struct bitnet_context *c, size_t n, const struct vectors *x)
{
    struct token_job job = {.c = c, .x = x};
    run(c, BITNET_OP_embed, n, token_grain(x->width), embed_tokens, &job);
    if (c->model->embedding.released)
        bitnet_gguf_release(c->model->gguf, c->model->embedding.released);
}

static void angle_tokens(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct token_job *job = ctx;
    for (size_t t = begin; t < end; t++) {
        const struct place *place = &job->c->step.places[t];
        double position = (double)(place->cell - place->first_cell);
        float *cosines = vector_at(&job->angles->cosines, t);
        float *sines = vector_at(&job->angles->sines, t);
        for (size_t i = 0; i < job->angles->cosines.width; i++) {
            cosines[i] = (float)cos(position * job->steps[i]);
            sines[i] = (float)sin(position * job->steps[i]);
        }
    }
}

static void angles(struct bitnet_context *c, size_t n)
{
    const struct bitnet_model *model = c->model;
    struct token_job job = {.c = c, .angles = &c->step.angles, .steps = model->rope_steps};
    run(c, BITNET_OP_angles, n, 16, angle_tokens, &job);
    if (!model->local_rope_steps) return;
    job.angles = &c->step.local_angles;
    job.steps = model->local_rope_steps;
    run(c, BITNET_OP_angles, n, 16, angle_tokens, &job);
}

static void norm_tokens(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct token_job *job = ctx;
    const struct bitnet_model *model = job->c->model;
    for (size_t t = begin; t < end; t++)
        model->kernels.rms_norm(vector_at(job->x, t), job->weight, job->x->width,
                                model->hparams.norm_eps, vector_at(job->y, t));
}

static void norm(struct bitnet_context *c, const struct vectors *x, const float *weight, size_t n,
                 const struct vectors *y)
{
    assert(weight && x->width == y->width);
    struct token_job job = {.c = c, .x = x, .y = y, .weight = weight};
    run(c, BITNET_OP_norm, n, token_grain(x->width), norm_tokens, &job);
}

static void norm_heads_of_tokens(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct token_job *job = ctx;
    const struct bitnet_model *model = job->c->model;
    size_t n = model->hparams.head_dim;
    for (size_t t = begin; t < end; t++)
        for (size_t head = 0; head < job->n_heads; head++) {
            float *x = vector_at(job->x, t) + head * n;
            model->kernels.rms_norm(x, job->weight, n, model->hparams.norm_eps, x);
        }
}

static void norm_heads(struct bitnet_context *c, const struct vectors *x, size_t n_heads,
                       const float *weight, size_t n)
{
    struct token_job job = {.c = c, .x = x, .weight = weight, .n_heads = n_heads};
    run(c, BITNET_OP_norm, n, token_grain(x->width), norm_heads_of_tokens, &job);
}

static void rope_tokens(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct token_job *job = ctx;
    const struct bitnet_model *model = job->c->model;
    for (size_t t = begin; t < end; t++)
        model->kernels.rope(vector_at(job->x, t), job->n_heads, model->hparams.head_dim,
                            model->hparams.n_rot, vector_at(&job->angles->cosines, t),
                            vector_at(&job->angles->sines, t),
                            model->arch->rope == BITNET_ROPE_HALVES);
}

static void rope(struct bitnet_context *c, const struct vectors *x, size_t n_heads, bool is_local,
                 size_t n)
{
    struct token_job job = {.c = c, .x = x, .n_heads = n_heads};
    job.angles = is_local ? &c->step.local_angles : &c->step.angles;
    run(c, BITNET_OP_rope, n, token_grain(x->width), rope_tokens, &job);
}

static void remember_tokens(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct token_job *job = ctx;
    for (size_t t = begin; t < end; t++) {
        const struct place *place = &job->c->step.places[t];
        kv_cache_store(&place->context->cache, job->c->model->kernels.to_f16, job->layer,
                       place->cell, vector_at(job->x, t), vector_at(job->y, t));
    }
}

static void remember(struct bitnet_context *c, size_t layer, const struct vectors *k,
                     const struct vectors *v, size_t n)
{
    struct token_job job = {.c = c, .layer = layer, .x = k, .y = v};
    run(c, BITNET_OP_remember, n, token_grain(2 * k->width), remember_tokens, &job);
}

static void gate_tokens(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct token_job *job = ctx;
    for (size_t t = begin; t < end; t++)
        job->c->model->gate(vector_at(job->x, t), vector_at(job->y, t), job->x->width);
}

static void gate(struct bitnet_context *c, const struct vectors *gate, const struct vectors *up,
                 size_t n)
{
    struct token_job job = {.c = c, .x = gate, .y = up};
    run(c, BITNET_OP_gate, n, token_grain(gate->width), gate_tokens, &job);
}

static void add_tokens(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct token_job *job = ctx;
    for (size_t t = begin; t < end; t++)
        job->c->model->kernels.add(vector_at(job->x, t), vector_at(job->y, t), job->x->width);
}

static void add(struct bitnet_context *c, const struct vectors *x, const struct vectors *y,
                size_t n)
{
    struct token_job job = {.c = c, .x = x, .y = y};
    run(c, BITNET_OP_add, n, token_grain(x->width), add_tokens, &job);
}

/* ------------------------------------------------------------------ linear layers */

static void quantize_tokens(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct token_job *job = ctx;
    struct step *s = &job->c->step;
    for (size_t t = begin; t < end; t++)
        s->code_scales[t] = job->c->model->kernels.quantize_row_i8(
            vector_at(job->x, t), job->x->width, s->codes + t * s->code_stride);
}

static void fix_tokens(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    struct token_job *job = ctx;
    struct step *s = &job->c->step;
    for (size_t t = begin; t < end; t++)
        s->fixed_scales[t] =
            bitnet_fixed_row(vector_at(job->x, t), job->x->width, s->fixed + t * s->fixed_stride);
}

/* Several products of one input as one job: slices of rows, numbered through. */
#define PRODUCTS_MAX 3
struct multiply_job {
    struct bitnet_context *c;
    const struct product *products;
    size_t n_products;
    size_t first_slice[PRODUCTS_MAX + 1];
    size_t slice_rows;
    struct activations in;
};

static void multiply_slices(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct multiply_job *job = ctx;
    struct bitnet_context *c = job->c;
    int32_t *sums = c->step.sums + (size_t)thread * c->n_batch * MATRIX_SLICE_ROWS;
    for (size_t slice = begin; slice < end; slice++) {
        size_t i = 0;
        while (slice >= job->first_slice[i + 1]) i++;
        const struct matrix *m = job->products[i].matrix;
        const struct vectors *y = job->products[i].y;
        size_t row = (slice - job->first_slice[i]) * job->slice_rows;
        size_t row_end = row + job->slice_rows < m->rows ? row + job->slice_rows : m->rows;
        matrix_multiply(m, &c->model->kernels, &job->in, row, row_end, sums, y->at, y->stride);
    }
}

/* Rows per slice: whole panels, some slices per thread for balance, never above the scratch. */
static size_t slice_rows(const struct bitnet_context *c, size_t n_rows)
{
    size_t panel = c->model->kernels.ternary->panel_rows;
    size_t rows = n_rows / (8 * (size_t)c->n_threads) / panel * panel;
    if (rows < panel) return panel;
    return rows < MATRIX_SLICE_ROWS ? rows : MATRIX_SLICE_ROWS;
}

static void multiply(struct bitnet_context *c, const struct vectors *x, size_t n,
                     const struct product *products, size_t n_products)
{
    struct step *s = &c->step;
    struct multiply_job job = {.c = c, .products = products, .n_products = n_products};
    assert(n_products <= PRODUCTS_MAX && n <= c->n_batch);
    bool some_ternary = false, some_blocks = false;
    size_t n_rows = 0;
    for (size_t i = 0; i < n_products; i++) {
        assert(products[i].matrix->cols == x->width);
        some_ternary = some_ternary || matrix_is_ternary(products[i].matrix);
        some_blocks = some_blocks || products[i].matrix->blocks;
        n_rows += products[i].matrix->rows;
    }
    job.slice_rows = slice_rows(c, n_rows);
    for (size_t i = 0; i < n_products; i++)
        job.first_slice[i + 1] =
            job.first_slice[i] + (products[i].matrix->rows + job.slice_rows - 1) / job.slice_rows;
    job.in = (struct activations){.n_tokens = n,
                                  .floats = x->at,
                                  .float_stride = x->stride,
                                  .codes = s->codes,
                                  .code_stride = s->code_stride,
                                  .code_scales = s->code_scales,
                                  .fixed = s->fixed,
                                  .fixed_stride = s->fixed_stride,
                                  .fixed_scales = s->fixed_scales};
    struct token_job quantize = {.c = c, .x = x};
    if (some_blocks) run(c, BITNET_OP_quantize, n, token_grain(x->width), fix_tokens, &quantize);
    if (some_ternary)
        run(c, BITNET_OP_quantize, n, token_grain(x->width), quantize_tokens, &quantize);
    enum bitnet_op op = products[0].matrix == c->model->output ? BITNET_OP_head
                        : some_ternary                         ? BITNET_OP_ternary
                                                               : BITNET_OP_dense;
    run(c, op, job.first_slice[n_products], 1, multiply_slices, &job);
    for (size_t i = 0; i < n_products; i++)
        count(c, op, products[i].matrix->n_bytes,
              2 * (uint64_t)products[i].matrix->rows * products[i].matrix->cols * n);
}

/* ------------------------------------------------------------------ attention */

/* One unit of work: some heads that share keys, one run of tokens. */
struct attend_job {
    struct bitnet_context *c;
    const struct vectors *q;
    const struct place *places; /* of the tokens of q */
    size_t layer, n_runs;
    uint64_t n_keys, n_cells; /* that all tokens see; that are read, each once per sequence */
    size_t group;             /* query heads per key head */
    size_t unit_heads;        /* of these, handled together */
};

static void attend_units(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct attend_job *job = ctx;
    struct bitnet_context *c = job->c;
    const struct bitnet_model *model = c->model;
    size_t head_dim = model->hparams.head_dim;
    float *scores = c->step.scores + (size_t)thread * c->step.n_scores;
    for (size_t unit = begin; unit < end; unit++) {
        size_t head = unit / job->n_runs * job->unit_heads, kv_head = head / job->group;
        const struct token_run *r = &c->step.runs[unit % job->n_runs];
        const struct kv_cache *cache = &job->places[r->token].context->cache;
        size_t n_keys = job->places[r->token].cell + 1 - r->first_cell;
        float *q = vector_at(job->q, r->token) + head * head_dim;
        model->kernels.attention(q, job->q->stride, job->unit_heads, r->n,
                                 kv_cache_keys(cache, job->layer, kv_head, r->first_cell),
                                 kv_cache_values(cache, job->layer, kv_head, r->first_cell),
                                 kv_cache_cell_bytes(cache), cache->type, n_keys, head_dim,
                                 model->query_scale, scores, q);
    }
}

/* The largest part of a group that the scratch admits and that divides it; one token alone is cut
 * finer, so that every thread has a head. */
static size_t heads_together(const struct bitnet_context *c, size_t group, size_t n)
{
    size_t n_heads = c->model->hparams.n_heads, heads = group;
    while (group % heads || heads > ATTENTION_QUERIES_MAX ||
           (n == 1 && heads > 1 && n_heads / heads < 3 * (size_t)c->n_threads))
        heads--;
    return heads;
}

/* Tokens of a run: as many as the scratch admits, because they share the keys that were widened for
 * them; fewer where some thread would stand idle at the end. */
static size_t tokens_together(const struct bitnet_context *c, size_t unit_heads, size_t n)
{
    const size_t n_parts = c->model->hparams.n_heads / unit_heads;
    size_t tokens = ATTENTION_QUERIES_MAX / unit_heads;
    while (tokens > 1 && tokens * unit_heads > ATTENTION_QUERIES_MAX / 4 &&
           n / tokens * n_parts < 8 * (size_t)c->n_threads)
        tokens /= 2;
    return tokens;
}

/* The first cell that a token sees. */
static size_t sight_begin(const struct bitnet_context *c, size_t layer, const struct place *place)
{
    const struct bitnet_hparams *hp = &c->model->hparams;
    if (!bitnet_layer_is_local(hp, (uint32_t)layer) || place->cell - place->first_cell < hp->window)
        return place->first_cell;
    return place->cell + 1 - hp->window;
}

/* Does this token's sequence go on where the one before it was? */
static bool follows(const struct place *place)
{
    return place->context == place[-1].context && place->cell == place[-1].cell + 1;
}

/* Runs of `n_max` tokens at most, and what they read. */
static void cut_runs(struct attend_job *job, size_t n, size_t n_max)
{
    struct bitnet_context *c = job->c;
    struct token_run *r = NULL;
    for (size_t token = 0; token < n; token++) {
        const struct place *place = &job->places[token];
        size_t begin = sight_begin(c, job->layer, place);
        bool goes_on = token > 0 && follows(place);
        job->n_keys += place->cell + 1 - begin;
        job->n_cells += goes_on ? 1 : place->cell + 1;
        if (!goes_on || r->n == n_max || r->first_cell != begin) {
            r = &c->step.runs[job->n_runs++];
            *r = (struct token_run){.token = token, .first_cell = begin};
        }
        r->n++;
    }
}

static void attend(struct bitnet_context *c, size_t layer, const struct vectors *q, size_t first,
                   size_t n)
{
    const struct bitnet_hparams *hp = &c->model->hparams;
    struct attend_job job = {.c = c, .q = q, .places = c->step.places + first, .layer = layer};
    if (n == 0) return;
    job.group = hp->n_heads / hp->n_kv_heads;
    job.unit_heads = heads_together(c, job.group, n);
    cut_runs(&job, n, tokens_together(c, job.unit_heads, n));
    run(c, BITNET_OP_attention, hp->n_heads / job.unit_heads * job.n_runs, 1, attend_units, &job);
    count(c, BITNET_OP_attention, 2 * job.n_cells * hp->n_kv_heads * kv_cache_cell_bytes(&c->cache),
          4 * job.n_keys * hp->n_heads * hp->head_dim);
}

/* ------------------------------------------------------------------ the table */

static enum bitnet_status step(struct bitnet_context *c, size_t n, size_t n_kept, float *results,
                               struct bitnet_error *err)
{
    (void)err;
    forward(c, n, n_kept, results);
    return BITNET_OK;
}

const struct backend backend_cpu = {.name = "cpu",
                                    .step = step,
                                    .embed = embed,
                                    .angles = angles,
                                    .norm = norm,
                                    .norm_heads = norm_heads,
                                    .multiply = multiply,
                                    .rope = rope,
                                    .remember = remember,
                                    .attend = attend,
                                    .gate = gate,
                                    .add = add};
