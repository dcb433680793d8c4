/* The verbs on a CUDA device. Each writes itself on the tape; step() lets forward.c say a step,
 * plays the tape into a graph, and from then on runs that graph for every step of the same shape:
 * only the tokens, a few numbers each, go to the device, and only logits or ids come back.
 *
 * A step either happens or does not: after a failure the sequence is where it was, the device's
 * error is told and cleared, and no graph is kept. */
#include "backend_cuda.h"

#include "cuda_weights.h"
#include "forward.h"

#include "../kernels/cuda/device_layout.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ the verbs */

static struct tape_op *say(struct bitnet_context *c, enum tape_verb verb, size_t n)
{
    return tape_add(&c->cuda->tape, verb, n);
}

static void embed(struct bitnet_context *c, size_t n, const struct vectors *x)
{
    say(c, TAPE_EMBED, n)->x = *x;
}

static void angles(struct bitnet_context *c, size_t n)
{
    say(c, TAPE_ANGLES, n);
}

static void norm(struct bitnet_context *c, const struct vectors *x, const float *weight, size_t n,
                 const struct vectors *y)
{
    struct tape_op *op = say(c, TAPE_NORM, n);
    op->x = *x;
    op->y = *y;
    op->weight = weight;
}

static void norm_heads(struct bitnet_context *c, const struct vectors *x, size_t n_heads,
                       const float *weight, size_t n)
{
    struct tape_op *op = say(c, TAPE_NORM_HEADS, n);
    op->x = *x;
    op->n_heads = n_heads;
    op->weight = weight;
}

static void multiply(struct bitnet_context *c, const struct vectors *x, size_t n,
                     const struct product *products, size_t n_products)
{
    struct tape_op *op = say(c, TAPE_MULTIPLY, n);
    op->x = *x;
    op->n_products = n_products;
    for (size_t i = 0; i < n_products; i++) {
        op->products[i].matrix = products[i].matrix;
        op->products[i].y = *products[i].y;
    }
}

static void rope(struct bitnet_context *c, const struct vectors *x, size_t n_heads, bool is_local,
                 size_t n)
{
    struct tape_op *op = say(c, TAPE_ROPE, n);
    op->x = *x;
    op->n_heads = n_heads;
    op->is_local = is_local;
}

static void remember(struct bitnet_context *c, size_t layer, const struct vectors *k,
                     const struct vectors *v, size_t n)
{
    struct tape_op *op = say(c, TAPE_REMEMBER, n);
    op->layer = layer;
    op->x = *k;
    op->y = *v;
}

static void attend(struct bitnet_context *c, size_t layer, const struct vectors *q, size_t first,
                   size_t n)
{
    struct tape_op *op = say(c, TAPE_ATTEND, n);
    op->layer = layer;
    op->first = first;
    op->x = *q;
}

static void gate(struct bitnet_context *c, const struct vectors *gate_, const struct vectors *up,
                 size_t n)
{
    struct tape_op *op = say(c, TAPE_GATE, n);
    op->x = *gate_;
    op->y = *up;
}

static void add(struct bitnet_context *c, const struct vectors *x, const struct vectors *y,
                size_t n)
{
    struct tape_op *op = say(c, TAPE_ADD, n);
    op->x = *x;
    op->y = *y;
}

/* ------------------------------------------------------------------ the shape of a step */

/* The bound of a step's keys, one of few, so that a graph serves many steps. */
static size_t keys_bound(size_t n_keys, size_t n_cells)
{
    size_t bound = BITNET_CUDA_CHUNK;
    while (bound < n_keys) bound *= 2;
    return bound < n_cells ? bound : n_cells;
}

static struct cuda_step_shape shape_of(const struct bitnet_context *c, size_t n, size_t n_kept)
{
    const struct place *places = c->step.places;
    size_t n_keys = 0, n_cells = 0, n_neighbours = 0;
    for (size_t t = 0; t < n; t++) {
        const size_t seen = places[t].cell + 1 - places[t].first_cell;
        if (seen > n_keys) n_keys = seen;
        if (places[t].context->n_cells > n_cells) n_cells = places[t].context->n_cells;
        n_neighbours += t > 0 && places[t].context == places[t - 1].context;
    }
    return (struct cuda_step_shape){.n = n,
                                    .n_kept = n_kept,
                                    .n_keys = keys_bound(n_keys, n_cells),
                                    .one_sequence = 2 * n_neighbours + 1 >= n,
                                    .wants_ids = c->wants_ids};
}

static bool same_shape(const struct cuda_step_shape *a, const struct cuda_step_shape *b)
{
    return a->n == b->n && a->n_kept == b->n_kept && a->n_keys == b->n_keys &&
           a->one_sequence == b->one_sequence && a->wants_ids == b->wants_ids;
}

/* ------------------------------------------------------------------ playing a step */

/* forward.c's words become launches: into the graph that is being recorded, or at once. */
static bool launch(struct bitnet_context *c, const struct cuda_step_shape *shape)
{
    struct cuda_step *s = c->cuda;
    const struct bitnet_hparams *hp = &c->model->hparams;
    const struct tape_player player = {.api = s->api,
                                       .cuda = s->cuda,
                                       .model = c->model,
                                       .tokens = s->tokens,
                                       .angles = c->step.angles,
                                       .local_angles = c->step.local_angles,
                                       .codes = s->codes,
                                       .attention = {.n_heads = hp->n_heads,
                                                     .n_kv_heads = hp->n_kv_heads,
                                                     .head_dim = hp->head_dim,
                                                     .n_cells = c->n_cells,
                                                     .n_keys = shape->n_keys,
                                                     .scale = c->model->query_scale,
                                                     .one_sequence = shape->one_sequence,
                                                     .scratch = s->scratch}};
    s->tape.n = 0;
    forward(c, shape->n, shape->n_kept, s->results);
    if (!tape_play(&s->tape, &player)) return false;
    const struct bitnet_cuda_vectors logits = {s->results, c->result_width, c->result_width};
    return !shape->wants_ids || s->api->argmax(s->cuda, logits, shape->n_kept, s->ids);
}

static void forget_graphs(struct cuda_step *s)
{
    for (size_t i = 0; i < CUDA_GRAPHS_MAX; i++) {
        s->api->graph_free(s->cuda, s->graphs[i].graph);
        s->graphs[i] = (struct cuda_graph){0};
    }
}

/* The graph of this shape, or the place of the one that was used longest ago. */
static struct cuda_graph *find_graph(struct cuda_step *s, const struct cuda_step_shape *shape)
{
    struct cuda_graph *oldest = &s->graphs[0];
    for (size_t i = 0; i < CUDA_GRAPHS_MAX; i++) {
        struct cuda_graph *g = &s->graphs[i];
        if (g->graph && same_shape(&g->shape, shape)) return g;
        if (g->last_use < oldest->last_use) oldest = g;
    }
    s->api->graph_free(s->cuda, oldest->graph);
    *oldest = (struct cuda_graph){.shape = *shape};
    return oldest;
}

static bool record(struct bitnet_context *c, struct cuda_graph *g)
{
    struct cuda_step *s = c->cuda;
    if (!s->api->graph_begin(s->cuda)) return false;
    const bool good = launch(c, &g->shape);
    g->graph = s->api->graph_end(s->cuda); /* whatever came: recording must end */
    return good && g->graph;
}

static bool run(struct bitnet_context *c, const struct cuda_step_shape *shape)
{
    struct cuda_step *s = c->cuda;
    if (shape->n > CUDA_GRAPH_TOKENS_MAX) return launch(c, shape);
    struct cuda_graph *g = find_graph(s, shape);
    g->last_use = ++s->n_uses;
    return (g->graph || record(c, g)) && s->api->graph_run(s->cuda, g->graph);
}

static bool send_tokens(struct bitnet_context *c, size_t n)
{
    struct cuda_step *s = c->cuda;
    for (size_t t = 0; t < n; t++) {
        const struct place *place = &c->step.places[t];
        s->staged[t] =
            (struct bitnet_cuda_token){.id = c->step.tokens[t],
                                       .position = (int32_t)(place->cell - place->first_cell),
                                       .cell = (int32_t)place->cell,
                                       .first_cell = (int32_t)place->first_cell,
                                       .cache = (uint16_t *)(void *)place->context->cache.at};
    }
    return s->api->write(s->cuda, s->tokens, s->staged, n * sizeof *s->staged);
}

static bool fetch(struct bitnet_context *c, size_t n_kept, float *results)
{
    struct cuda_step *s = c->cuda;
    if (n_kept == 0) return s->api->sync(s->cuda); /* a failure belongs to the step it is of */
    if (c->wants_ids) {
        int32_t *ids = c->ids + (size_t)(results - c->logits) / c->result_width;
        if (!s->api->read(s->cuda, ids, s->ids, n_kept * sizeof *ids)) return false;
        bool all_good = true;
        for (size_t i = 0; i < n_kept; i++) all_good = all_good && ids[i] >= 0;
        if (all_good) return true;
    }
    return s->api->read(s->cuda, results, s->results, n_kept * c->result_width * sizeof *results);
}

static enum bitnet_status step(struct bitnet_context *c, size_t n, size_t n_kept, float *results,
                               struct bitnet_error *err)
{
    struct cuda_step *s = c->cuda;
    const struct cuda_step_shape shape = shape_of(c, n, n_kept);
    if (send_tokens(c, n) && run(c, &shape) && fetch(c, n_kept, results)) return BITNET_OK;
    s->n_failures++;
    snprintf(s->last_error, sizeof s->last_error, "%s", s->api->last_error(s->cuda));
    forget_graphs(s);
    return cuda_error(s->api, s->cuda, BITNET_DEVICE, err);
}

/* ------------------------------------------------------------------ a context's share */

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Attention's scratch for the worst of the bounds that steps have. */
static size_t scratch_floats(const struct bitnet_context *c)
{
    const struct bitnet_hparams *hp = &c->model->hparams;
    struct bitnet_cuda_attention shape = {
        .n_heads = hp->n_heads, .n_kv_heads = hp->n_kv_heads, .head_dim = hp->head_dim};
    shape.n_cells = c->n_cells;
    size_t most = 0;
    for (size_t n_keys = 1; shape.n_keys < c->n_cells; n_keys *= 2) {
        shape.n_keys = keys_bound(n_keys, c->n_cells);
        most = max_size(most, c->model->device->api->attention_scratch(&shape, c->n_batch));
    }
    return most;
}

void cuda_step_carve(struct bitnet_context *c, struct carver *host, struct carver *device)
{
    const struct bitnet_hparams *hp = &c->model->hparams;
    const uint64_t batch = c->n_batch, rows = c->n_logits < batch ? c->n_logits : batch;
    struct cuda_step none = {0}, *s = c->cuda ? c->cuda : &none; /* none: while counting */
    const size_t q_width = (size_t)hp->n_heads * hp->head_dim;
    const size_t widest = max_size(max_size(hp->n_embd, q_width), hp->n_ffn);
    s->staged = carve(host, batch, sizeof *s->staged);
    c->ids = carve(host, c->n_logits, sizeof *c->ids);
    s->tape.n_max = tape_length(c->model);
    s->tape.ops = carve(host, s->tape.n_max, sizeof *s->tape.ops);
    s->tokens = carve(device, batch, sizeof *s->tokens);
    s->codes.words =
        carve(device, carver_product(device, batch, device_code_words(widest)), sizeof(uint32_t));
    s->codes.scales = carve(device, batch, sizeof *s->codes.scales);
    s->codes.sums = carve(device, batch, sizeof *s->codes.sums);
    s->scratch = carve(device, scratch_floats(c), sizeof *s->scratch);
    s->results = carve(device, carver_product(device, rows, c->result_width), sizeof(float));
    s->ids = carve(device, rows, sizeof *s->ids);
}

enum bitnet_status cuda_step_open(struct bitnet_context *c, struct bitnet_error *err)
{
    const struct cuda_weights *device = c->model->device;
    char why[256];
    c->cuda->api = device->api;
    c->cuda->cuda = device->api->open(device->index, why, sizeof why);
    if (c->cuda->cuda) return BITNET_OK;
    return bitnet_fail(err, BITNET_DEVICE, "%s: %s", device->id, why);
}

void cuda_step_close(struct bitnet_context *c)
{
    struct cuda_step *s = c->cuda;
    if (!s || !s->cuda) return;
    forget_graphs(s);
    s->api->close(s->cuda);
}

const struct backend backend_cuda = {.name = "cuda",
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
