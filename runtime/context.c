/* A context's life: its size, its one allocation, its position. What it evaluates is eval.c's. */
#include "context.h"

#include "bitnet/alloc.h"

#include "backend.h"

#include <inttypes.h>

#define CELLS_MAX      16777216u
#define CODE_ALIGNMENT 128u /* kernels.h: int8 vectors are padded to it */

/* ------------------------------------------------------------------ size and layout */

/* Deals out one block of memory. Runs twice: without memory, to count; with it, to place. */
struct carver {
    uint8_t *base; /* NULL: counting */
    uint64_t used;
    bool overflowed;
};

static void *carve(struct carver *carver, uint64_t n, uint64_t size)
{
    uint64_t at = carver->used, n_bytes;
    if (!bitnet_mul_u64(n, size, &n_bytes) || !bitnet_align_up_u64(n_bytes, 64, &n_bytes) ||
        !bitnet_add_u64(at, n_bytes, &carver->used) || carver->used > SIZE_MAX / 2)
        carver->overflowed = true;
    if (carver->overflowed || !carver->base) return NULL;
    return carver->base + at;
}

static uint64_t product(struct carver *carver, uint64_t a, uint64_t b)
{
    uint64_t r = 0;
    if (!bitnet_mul_u64(a, b, &r)) carver->overflowed = true;
    return r;
}

static struct vectors carve_vectors(struct carver *carver, uint64_t n, uint64_t width)
{
    uint64_t stride = (width + 15) / 16 * 16;
    return (struct vectors){.at = carve(carver, product(carver, n, stride), sizeof(float)),
                            .width = (size_t)width,
                            .stride = (size_t)stride};
}

static struct angles carve_angles(struct carver *carver, uint64_t n, uint64_t n_rot)
{
    struct vectors cosines = carve_vectors(carver, n, n_rot / 2);
    return (struct angles){.cosines = cosines, .sines = carve_vectors(carver, n, n_rot / 2)};
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void carve_step(struct carver *carver, struct step *s, const struct bitnet_context *c)
{
    const struct bitnet_hparams *hp = &c->model->hparams;
    uint64_t batch = c->n_batch, q_width = (uint64_t)hp->n_heads * hp->head_dim;
    uint64_t kv_width = (uint64_t)hp->n_kv_heads * hp->head_dim;
    s->x = carve_vectors(carver, batch, hp->n_embd);
    s->h = carve_vectors(carver, batch, hp->n_embd);
    s->q = carve_vectors(carver, batch, q_width);
    s->k = carve_vectors(carver, batch, kv_width);
    s->v = carve_vectors(carver, batch, kv_width);
    s->gate = carve_vectors(carver, batch, hp->n_ffn);
    s->up = carve_vectors(carver, batch, hp->n_ffn);
    s->y = carve_vectors(carver, batch, hp->n_embd);
    s->angles = carve_angles(carver, batch, hp->n_rot);
    if (hp->window) s->local_angles = carve_angles(carver, batch, hp->n_rot);
    uint64_t widest = max_u64(max_u64(hp->n_embd, q_width), hp->n_ffn);
    if (c->model->layers[0].norm[BITNET_ROLE_ATTN_Q_NORM_IN])
        s->normed = carve_vectors(carver, batch, widest);
    s->tokens = carve(carver, batch, sizeof *s->tokens);
    s->places = carve(carver, batch, sizeof *s->places);
    s->runs = carve(carver, batch, sizeof *s->runs);
    s->slices = carve(carver, c->n_logits, sizeof *s->slices);
    s->code_stride = (size_t)((widest + CODE_ALIGNMENT - 1) / CODE_ALIGNMENT * CODE_ALIGNMENT);
    s->codes = carve(carver, product(carver, batch, s->code_stride), 1);
    s->code_scales = carve(carver, batch, sizeof(float));
    s->fixed_stride = bitnet_fixed_bytes((size_t)widest);
    s->fixed = carve(carver, product(carver, batch, s->fixed_stride), 1);
    s->fixed_scales = carve(carver, batch, sizeof(float));
    s->sums =
        carve(carver, product(carver, c->n_threads, product(carver, batch, MATRIX_SLICE_ROWS)),
              sizeof(int32_t));
    s->n_scores =
        (size_t)product(carver, ATTENTION_QUERIES_MAX, bitnet_attention_floats(hp->head_dim));
    s->scores = carve(carver, product(carver, c->n_threads, s->n_scores), sizeof(float));
}

static void carve_context(struct carver *carver, struct bitnet_context *c)
{
    uint64_t n_bytes = 0;
    if (!kv_cache_bytes(&c->cache, &n_bytes)) carver->overflowed = true;
    c->cache.at = carve(carver, n_bytes, 1);
    if (c->owner) return; /* it uses that one's */
    carve_step(carver, &c->step, c);
    c->logits = carve(carver, product(carver, c->n_logits, c->result_width), sizeof(float));
}

/* The numbers that the options and the model decide. */
static struct bitnet_context settle(const struct bitnet_model *model,
                                    const struct bitnet_context_options *options,
                                    bool gives_vectors)
{
    static const struct bitnet_context_options defaults = {0};
    const struct bitnet_context_options *o = options ? options : &defaults;
    const struct bitnet_hparams *hp = &model->hparams;
    struct bitnet_context c = {
        .model = model, .pool = o->pool, .all_logits = o->all_logits, .costs = o->costs};
    c.backend = &backend_cpu;
    c.gives_vectors = gives_vectors;
    c.result_width = gives_vectors ? hp->n_embd : hp->n_vocab;
    c.n_threads = o->pool ? bitnet_pool_threads(o->pool) : 1;
    c.n_cells = o->n_context ? o->n_context : hp->n_context;
    uint32_t n_sequences = o->n_sequences ? o->n_sequences : 1;
    uint64_t all_cells = (uint64_t)n_sequences * c.n_cells;
    c.n_batch = o->n_batch ? o->n_batch : BITNET_BATCH_DEFAULT;
    if (c.n_batch > all_cells) c.n_batch = (uint32_t)all_cells;
    c.n_logits = !o->all_logits ? n_sequences : o->n_logits ? o->n_logits : c.n_cells;
    if (c.n_logits > all_cells) c.n_logits = (uint32_t)all_cells;
    c.owner = o->shares ? o->shares->owner : NULL;
    c.cache = (struct kv_cache){.type = o->quantized_cache ? BITNET_DTYPE_q8_0 : BITNET_DTYPE_f16,
                                .n_layers = hp->n_layers,
                                .n_cells = c.n_cells,
                                .n_kv_heads = hp->n_kv_heads,
                                .head_dim = hp->head_dim};
    return c;
}

/* The context lies at the beginning of its own memory. */
static uint64_t count_bytes(struct bitnet_context *c)
{
    struct carver carver = {0};
    carve(&carver, 1, sizeof *c);
    carve_context(&carver, c);
    return carver.overflowed ? UINT64_MAX : carver.used;
}

uint64_t bitnet_context_bytes(const struct bitnet_model *model,
                              const struct bitnet_context_options *options)
{
    struct bitnet_context c = settle(model, options, false);
    return count_bytes(&c);
}

enum bitnet_status bitnet_context_new(struct bitnet_context **context,
                                      const struct bitnet_model *model,
                                      const struct bitnet_context_options *options,
                                      struct bitnet_error *err)
{
    return context_new(context, model, options, false, err);
}

enum bitnet_status context_new(struct bitnet_context **context, const struct bitnet_model *model,
                               const struct bitnet_context_options *options, bool gives_vectors,
                               struct bitnet_error *err)
{
    *context = NULL;
    struct bitnet_context settled = settle(model, options, gives_vectors);
    if (settled.owner && settled.owner->model != model)
        return bitnet_fail(err, BITNET_USAGE, "contexts of two models cannot share a step");
    if (settled.n_cells == 0 || settled.n_cells > CELLS_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "a context of %" PRIu32 " tokens (allowed: 1 to %u)",
                           settled.n_cells, CELLS_MAX);
    if (settled.cache.type == BITNET_DTYPE_q8_0 && settled.cache.head_dim % 32)
        return bitnet_fail(
            err, BITNET_UNSUPPORTED,
            "a cache of type q8_0 with heads of size %zu (a multiple of 32 is needed)",
            settled.cache.head_dim);
    uint64_t n_bytes = count_bytes(&settled);
    void *block = n_bytes < UINT64_MAX ? bitnet_alloc_aligned((size_t)n_bytes) : NULL;
    if (!block)
        return bitnet_fail(err, BITNET_MEMORY,
                           "no memory for a context of %" PRIu32 " tokens (%" PRIu64 " MiB)",
                           settled.n_cells, n_bytes >> 20);
    struct carver carver = {.base = block};
    *context = carve(&carver, 1, sizeof settled);
    **context = settled;
    carve_context(&carver, *context);
    if (!settled.owner) (*context)->owner = *context;
    return BITNET_OK;
}

void bitnet_context_free(struct bitnet_context *context)
{
    bitnet_free_aligned(context); /* NULL is fine */
}

void bitnet_context_reset(struct bitnet_context *context)
{
    context->n_used = 0;
    context->n_kept = 0;
}

uint32_t bitnet_context_used(const struct bitnet_context *context)
{
    return context->n_used;
}

uint32_t bitnet_context_size(const struct bitnet_context *context)
{
    return context->n_cells;
}
