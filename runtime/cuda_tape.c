/* From verbs to launches. Three things are seen here that no single verb knows: a norm whose result
 * is only multiplied by trits need only be quantized; a sum or a gate in front of a norm is one
 * pass with it; the rotation of queries and keys and the way into the cache are one launch. */
#include "cuda_tape.h"

#include "cuda_weights.h"

#include <assert.h>

/* forward.c says this much for a layer when every trait is there, and around the layers. */
enum { OPS_PER_LAYER = 32, OPS_AROUND = 8 };

size_t tape_length(const struct bitnet_model *model)
{
    return (size_t)model->hparams.n_layers * OPS_PER_LAYER + OPS_AROUND;
}

struct tape_op *tape_add(struct tape *tape, enum tape_verb verb, size_t n)
{
    assert(tape->n < tape->n_max);
    struct tape_op *op = &tape->ops[tape->n++];
    *op = (struct tape_op){.verb = verb, .n = n};
    return op;
}

static struct bitnet_cuda_vectors vectors(const struct vectors *v)
{
    return (struct bitnet_cuda_vectors){.at = v->at, .width = v->width, .stride = v->stride};
}

/* ------------------------------------------------------------------ who reads what */

static bool overlap(const struct vectors *a, size_t n_a, const struct vectors *b, size_t n_b)
{
    return a->at && b->at && a->at < b->at + n_b * b->stride && b->at < a->at + n_a * a->stride;
}

static size_t n_ternary(const struct tape_op *op)
{
    size_t n = 0;
    for (size_t i = 0; i < op->n_products; i++) n += matrix_is_ternary(op->products[i].matrix);
    return n;
}

static bool reads(const struct tape_op *op, const struct vectors *v, size_t n)
{
    switch (op->verb) {
    case TAPE_EMBED:
    case TAPE_ANGLES:
        return false;
    case TAPE_REMEMBER:
    case TAPE_GATE:
    case TAPE_ADD:
        return overlap(&op->x, op->n, v, n) || overlap(&op->y, op->n, v, n);
    case TAPE_NORM:
    case TAPE_NORM_HEADS:
    case TAPE_MULTIPLY:
    case TAPE_ROPE:
    case TAPE_ATTEND:
        break;
    }
    return overlap(&op->x, op->n, v, n);
}

/* Whether op leaves nothing of what v held. */
static bool rewrites(const struct tape_op *op, const struct vectors *v, size_t n)
{
    if (op->n < n) return false;
    if (op->verb == TAPE_EMBED) return op->x.at == v->at;
    if (op->verb == TAPE_NORM) return op->y.at == v->at;
    for (size_t i = 0; op->verb == TAPE_MULTIPLY && i < op->n_products; i++)
        if (op->products[i].y.at == v->at) return true;
    return false;
}

/* Whether the floats of v are read by entry `from` or later. */
static bool is_read(const struct tape *tape, size_t from, const struct vectors *v, size_t n)
{
    for (size_t i = from; i < tape->n; i++) {
        if (reads(&tape->ops[i], v, n)) return true;
        if (rewrites(&tape->ops[i], v, n)) return false;
    }
    return false;
}

/* ------------------------------------------------------------------ playing */

/* How far the tape is, and whose codes the buffer holds. */
struct state {
    const struct tape *tape;
    const struct tape_player *p;
    size_t at;
    const float *quantized; /* NULL: nobody's */
    size_t n_quantized;
};

static const struct tape_op *ahead(const struct state *s, size_t i)
{
    return s->at + i < s->tape->n ? &s->tape->ops[s->at + i] : NULL;
}

/* Where a norm's results go: floats, codes, or both. */
struct outcome {
    struct bitnet_cuda_vectors floats; /* at NULL: nobody reads them */
    struct bitnet_cuda_codes codes;    /* words NULL: no trits multiply them */
};

/* Of y, that n tokens get from the entry that is `skip` ahead. */
static struct outcome outcome_of(struct state *s, size_t skip, const struct vectors *y, size_t n)
{
    const struct tape_op *next = ahead(s, skip + 1);
    struct outcome out = {.floats = vectors(y)};
    if (!next || next->verb != TAPE_MULTIPLY || next->x.at != y->at || next->n != n ||
        n_ternary(next) == 0)
        return out;
    out.codes = s->p->codes;
    s->quantized = y->at;
    s->n_quantized = n;
    if (n_ternary(next) == next->n_products && !is_read(s->tape, s->at + skip + 2, y, n))
        out.floats.at = NULL;
    return out;
}

static float eps(const struct state *s)
{
    return s->p->model->hparams.norm_eps;
}

static bool play_norm(struct state *s)
{
    const struct tape_op *op = ahead(s, 0);
    const struct outcome out = outcome_of(s, 0, &op->y, op->n);
    s->at++;
    return s->p->api->norm(s->p->cuda, vectors(&op->x), op->weight, eps(s), op->n, out.floats,
                           out.codes);
}

/* Is the next entry the norm of what this one leaves in x? */
static bool norm_follows(const struct state *s)
{
    const struct tape_op *op = ahead(s, 0), *norm = ahead(s, 1);
    return norm && norm->verb == TAPE_NORM && norm->x.at == op->x.at && norm->n == op->n;
}

static bool play_add(struct state *s)
{
    const struct tape_op *op = ahead(s, 0), *norm = ahead(s, 1);
    const struct bitnet_cuda_api *api = s->p->api;
    if (!norm_follows(s)) {
        s->at++;
        return api->add(s->p->cuda, vectors(&op->x), vectors(&op->y), op->n);
    }
    const struct outcome out = outcome_of(s, 1, &norm->y, op->n);
    s->at += 2;
    return api->add_norm(s->p->cuda, vectors(&op->x), vectors(&op->y), norm->weight, eps(s), op->n,
                         out.floats, out.codes);
}

static bool play_gate(struct state *s)
{
    static const enum bitnet_cuda_gate gates[] = {[BITNET_GATE_SILU] = BITNET_CUDA_SILU,
                                                  [BITNET_GATE_RELU2] = BITNET_CUDA_RELU2,
                                                  [BITNET_GATE_GELU] = BITNET_CUDA_GELU};
    const struct tape_op *op = ahead(s, 0), *norm = ahead(s, 1);
    const struct bitnet_cuda_api *api = s->p->api;
    const enum bitnet_cuda_gate act = gates[s->p->model->arch->gate];
    const struct bitnet_cuda_vectors x = vectors(&op->x), up = vectors(&op->y);
    const bool is_normed = norm_follows(s);
    const struct outcome out = outcome_of(s, is_normed, is_normed ? &norm->y : &op->x, op->n);
    s->at += 1 + (size_t)is_normed;
    if (is_normed)
        return api->gate_norm(s->p->cuda, act, x, up, norm->weight, eps(s), op->n, out.floats,
                              out.codes);
    if (!out.codes.words) return api->gate(s->p->cuda, act, x, up, op->n);
    return api->gate_norm(s->p->cuda, act, x, up, NULL, 0, op->n,
                          (struct bitnet_cuda_vectors){.width = x.width}, out.codes);
}

static bool play_dense(const struct state *s, const struct tape_op *op, size_t i)
{
    const struct matrix *m = op->products[i].matrix;
    const struct vectors *y = &op->products[i].y;
    enum bitnet_cuda_dense type;
    const bool known = cuda_weights_reads(m->type, &type);
    assert(known);
    (void)known;
    return s->p->api->dense(s->p->cuda, type, m->bytes, m->rows, m->scale, m->row_scales,
                            vectors(&op->x), op->n, y->at, y->stride);
}

static bool play_multiply(struct state *s)
{
    const struct tape_op *op = ahead(s, 0);
    const struct bitnet_cuda_api *api = s->p->api;
    const struct bitnet_cuda_vectors nowhere = {.width = op->x.width};
    struct bitnet_cuda_product products[BITNET_CUDA_PRODUCTS];
    size_t n = 0;
    bool good = true;
    for (size_t i = 0; i < op->n_products && good; i++) {
        const struct matrix *m = op->products[i].matrix;
        if (matrix_is_ternary(m))
            products[n++] =
                (struct bitnet_cuda_product){.weights = (const uint32_t *)(const void *)m->bytes,
                                             .rows = m->rows,
                                             .scale = m->scale,
                                             .row_scales = m->row_scales,
                                             .y = op->products[i].y.at,
                                             .y_stride = op->products[i].y.stride};
        else
            good = play_dense(s, op, i);
    }
    s->at++;
    if (n == 0 || !good) return good;
    if (s->quantized != op->x.at || s->n_quantized != op->n)
        good = api->norm(s->p->cuda, vectors(&op->x), NULL, 0, op->n, nowhere, s->p->codes);
    s->quantized = NULL;
    return good && api->ternary(s->p->cuda, s->p->codes, op->x.width, op->n, products, n);
}

static struct bitnet_cuda_attention attention_of(const struct state *s, const struct tape_op *op)
{
    const struct bitnet_hparams *hp = &s->p->model->hparams;
    struct bitnet_cuda_attention shape = s->p->attention;
    shape.layer = op->layer;
    shape.window = bitnet_layer_is_local(hp, (uint32_t)op->layer) ? hp->window : 0;
    return shape;
}

/* Queries, then keys, then both keys and values to the cache: forward.c's order. */
static bool play_rope(struct state *s)
{
    const struct tape_op *q = ahead(s, 0), *k = ahead(s, 1), *cache = ahead(s, 2);
    const struct bitnet_model *model = s->p->model;
    const struct angles *angles = q->is_local ? &s->p->local_angles : &s->p->angles;
    assert(k && cache && k->verb == TAPE_ROPE && cache->verb == TAPE_REMEMBER);
    assert(k->x.at == cache->x.at && k->is_local == q->is_local && k->n == q->n);
    const struct bitnet_cuda_attention shape = attention_of(s, cache);
    s->at += 3;
    return s->p->api->remember(s->p->cuda, &shape, s->p->tokens, q->n, model->hparams.n_rot,
                               model->arch->rope == BITNET_ROPE_HALVES, vectors(&angles->cosines),
                               vectors(&angles->sines), vectors(&q->x), vectors(&k->x),
                               vectors(&cache->y));
}

static bool play_attend(struct state *s)
{
    const struct tape_op *op = ahead(s, 0);
    const struct bitnet_cuda_attention shape = attention_of(s, op);
    s->at++;
    return s->p->api->attend(s->p->cuda, &shape, s->p->tokens + op->first, op->n, vectors(&op->x));
}

static bool play_angles(struct state *s)
{
    const struct tape_op *op = ahead(s, 0);
    const struct tape_player *p = s->p;
    const struct bitnet_model *model = p->model;
    bool good = p->api->angles(p->cuda, p->tokens, op->n, model->device_rope_steps,
                               vectors(&p->angles.cosines), vectors(&p->angles.sines));
    s->at++;
    if (!good || !model->device_local_rope_steps) return good;
    return p->api->angles(p->cuda, p->tokens, op->n, model->device_local_rope_steps,
                          vectors(&p->local_angles.cosines), vectors(&p->local_angles.sines));
}

static bool play_embed(struct state *s)
{
    const struct tape_op *op = ahead(s, 0);
    const struct bitnet_model *model = s->p->model;
    const struct matrix *table = &model->global.matrix[BITNET_ROLE_TOKEN_EMBED];
    enum bitnet_cuda_dense type;
    const bool known = cuda_weights_reads(table->type, &type);
    assert(known);
    (void)known;
    s->at++;
    return s->p->api->embed(s->p->cuda, type, table->bytes, model->embedding.scale, s->p->tokens,
                            op->n, vectors(&op->x));
}

static bool play_norm_heads(struct state *s)
{
    const struct tape_op *op = ahead(s, 0);
    s->at++;
    return s->p->api->norm_heads(s->p->cuda, vectors(&op->x), op->n_heads, op->weight, eps(s),
                                 op->n);
}

static bool play_next(struct state *s)
{
    switch (s->tape->ops[s->at].verb) {
    case TAPE_EMBED:
        return play_embed(s);
    case TAPE_ANGLES:
        return play_angles(s);
    case TAPE_NORM:
        return play_norm(s);
    case TAPE_NORM_HEADS:
        return play_norm_heads(s);
    case TAPE_MULTIPLY:
        return play_multiply(s);
    case TAPE_ROPE:
        return play_rope(s);
    case TAPE_ATTEND:
        return play_attend(s);
    case TAPE_GATE:
        return play_gate(s);
    case TAPE_ADD:
        return play_add(s);
    case TAPE_REMEMBER: /* is part of what rope begins */
        break;
    }
    assert(false && "an entry that begins something");
    return false;
}

bool tape_play(const struct tape *tape, const struct tape_player *player)
{
    struct state s = {.tape = tape, .p = player};
    bool good = true;
    while (s.at < tape->n && good) good = play_next(&s);
    return good;
}
