/* A context's life: its size, its one allocation, its position. What it evaluates is eval.c's. */
#include "context.h"

#include "bitnet/alloc.h"

#include "backend_cuda.h"

#include <inttypes.h>
#include <stdio.h>

#define CELLS_MAX      16777216u
#define CODE_ALIGNMENT 128u /* kernels.h: int8 vectors are padded to it */

/* ------------------------------------------------------------------ size and layout */

static struct vectors carve_vectors(struct carver *carver, uint64_t n, uint64_t width)
{
    uint64_t stride = (width + 15) / 16 * 16;
    return (struct vectors){.at = carve(carver, carver_product(carver, n, stride), sizeof(float)),
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

static uint64_t widest(const struct bitnet_hparams *hp)
{
    return max_u64(max_u64(hp->n_embd, (uint64_t)hp->n_heads * hp->head_dim), hp->n_ffn);
}

/* What passes from verb to verb. On the CPU one place serves what is never needed at the same time:
 * a block's input and its output, the attention's vectors and the feed-forward network's. A device
 * fuses verbs, so there each has its own. */
static void carve_activations(struct carver *carver, struct step *s, const struct bitnet_context *c)
{
    const struct bitnet_hparams *hp = &c->model->hparams;
    const bool share = !c->model->device;
    uint64_t batch = c->n_batch, q_width = (uint64_t)hp->n_heads * hp->head_dim;
    uint64_t kv_width = (uint64_t)hp->n_kv_heads * hp->head_dim;
    s->x = carve_vectors(carver, batch, hp->n_embd);
    s->h = carve_vectors(carver, batch, hp->n_embd);
    s->y = share ? s->h : carve_vectors(carver, batch, hp->n_embd);
    const uint64_t begin = carver->used;
    s->q = carve_vectors(carver, batch, q_width);
    s->k = carve_vectors(carver, batch, kv_width);
    s->v = carve_vectors(carver, batch, kv_width);
    const uint64_t end = carver->used;
    if (share) carver->used = begin;
    s->gate = carve_vectors(carver, batch, hp->n_ffn);
    s->up = carve_vectors(carver, batch, hp->n_ffn);
    carver->used = max_u64(carver->used, end);
    s->angles = carve_angles(carver, batch, hp->n_rot);
    if (hp->window) s->local_angles = carve_angles(carver, batch, hp->n_rot);
    if (c->model->layers[0].norm[BITNET_ROLE_ATTN_Q_NORM_IN])
        s->normed = carve_vectors(carver, batch, widest(hp));
}

/* What the CPU's verbs keep to themselves. */
static void carve_scratch(struct carver *carver, struct step *s, const struct bitnet_context *c)
{
    const struct bitnet_hparams *hp = &c->model->hparams;
    uint64_t batch = c->n_batch;
    s->runs = carve(carver, batch, sizeof *s->runs);
    s->code_stride = (size_t)((widest(hp) + CODE_ALIGNMENT - 1) / CODE_ALIGNMENT * CODE_ALIGNMENT);
    s->codes = carve(carver, carver_product(carver, batch, s->code_stride), 1);
    s->code_scales = carve(carver, batch, sizeof(float));
    s->fixed_stride = bitnet_fixed_bytes((size_t)widest(hp));
    s->fixed = carve(carver, carver_product(carver, batch, s->fixed_stride), 1);
    s->fixed_scales = carve(carver, batch, sizeof(float));
    uint64_t sums = carver_product(carver, batch, MATRIX_SLICE_ROWS);
    s->sums = carve(carver, carver_product(carver, c->n_threads, sums), sizeof(int32_t));
    s->n_scores = (size_t)carver_product(carver, ATTENTION_QUERIES_MAX,
                                         bitnet_attention_floats(hp->head_dim));
    s->scores = carve(carver, carver_product(carver, c->n_threads, s->n_scores), sizeof(float));
}

/* `device` has what verbs touch, `host` all else: on the CPU one and the same. */
static void carve_context(struct carver *host, struct carver *device, struct bitnet_context *c)
{
    uint64_t n_bytes = 0;
    if (!kv_cache_bytes(&c->cache, &n_bytes)) device->overflowed = true;
    c->cache.at = carve(device, n_bytes, 1);
    if (c->owner) return; /* it uses that one's */
    carve_activations(device, &c->step, c);
    c->step.tokens = carve(host, c->n_batch, sizeof *c->step.tokens);
    c->step.places = carve(host, c->n_batch, sizeof *c->step.places);
    c->step.slices = carve(host, c->n_logits, sizeof *c->step.slices);
    if (c->model->device)
        cuda_step_carve(c, host, device);
    else
        carve_scratch(host, &c->step, c);
    c->logits = carve(host, carver_product(host, c->n_logits, c->result_width), sizeof(float));
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
    const bool on_device = model->device != NULL;
    c.backend = on_device ? &backend_cuda : &backend_cpu;
    c.gives_vectors = gives_vectors;
    c.result_width = gives_vectors ? hp->n_embd : hp->n_vocab;
    c.n_threads = o->pool ? bitnet_pool_threads(o->pool) : 1;
    c.n_cells = o->n_context ? o->n_context : hp->n_context;
    uint32_t n_sequences = o->n_sequences ? o->n_sequences : 1;
    uint64_t all_cells = (uint64_t)n_sequences * c.n_cells;
    c.n_batch = o->n_batch ? o->n_batch : on_device ? CUDA_BATCH_DEFAULT : BITNET_BATCH_DEFAULT;
    if (on_device && c.n_batch > CUDA_BATCH_MAX) c.n_batch = CUDA_BATCH_MAX;
    if (c.n_batch > all_cells) c.n_batch = (uint32_t)all_cells;
    c.n_logits = !o->all_logits ? n_sequences : o->n_logits ? o->n_logits : c.n_cells;
    if (c.n_logits > all_cells) c.n_logits = (uint32_t)all_cells;
    c.owner = o->shares ? o->shares->owner : NULL;
    c.cache = (struct kv_cache){.type = o->quantized_cache ? BITNET_DTYPE_q8_0 : BITNET_DTYPE_f16,
                                .n_layers = hp->n_layers,
                                .n_cells = c.n_cells,
                                .n_kv_heads = hp->n_kv_heads,
                                .head_dim = hp->head_dim};
    /* A device's caches that are read in one launch have one geometry. */
    if (on_device && c.owner && c.owner->n_cells > c.n_cells) c.cache.n_cells = c.owner->n_cells;
    return c;
}

/* The context lies at the beginning of its own memory, its share of the device behind it. */
static struct bitnet_context *carve_head(struct carver *host, const struct bitnet_context *c)
{
    struct bitnet_context *head = carve(host, 1, sizeof *head);
    struct cuda_step *cuda = NULL;
    if (c->model->device && !c->owner) cuda = carve(host, 1, sizeof *cuda);
    if (head) {
        *head = *c;
        head->cuda = c->owner ? c->owner->cuda : cuda;
    }
    return head;
}

/* Bytes of this machine's memory and of the device's; false when no number can say it. */
static bool count_bytes(struct bitnet_context *c, uint64_t *n_host, uint64_t *n_device)
{
    struct carver host = {0}, device = {0};
    carve_head(&host, c);
    carve_context(&host, c->model->device ? &device : &host, c);
    *n_host = host.used;
    *n_device = device.used;
    return !host.overflowed && !device.overflowed;
}

uint64_t bitnet_context_bytes(const struct bitnet_model *model,
                              const struct bitnet_context_options *options)
{
    struct bitnet_context c = settle(model, options, false);
    uint64_t n_host, n_device;
    return count_bytes(&c, &n_host, &n_device) ? n_host + n_device : UINT64_MAX;
}

enum bitnet_status bitnet_context_new(struct bitnet_context **context,
                                      const struct bitnet_model *model,
                                      const struct bitnet_context_options *options,
                                      struct bitnet_error *err)
{
    return context_new(context, model, options, false, err);
}

/* What no context of this model can be. */
static enum bitnet_status check_settled(const struct bitnet_context *c, struct bitnet_error *err)
{
    const struct cuda_weights *device = c->model->device;
    if (c->owner && c->owner->model != c->model)
        return bitnet_fail(err, BITNET_USAGE, "contexts of two models cannot share a step");
    if (c->n_cells == 0 || c->n_cells > CELLS_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "a context of %" PRIu32 " tokens (allowed: 1 to %u)",
                           c->n_cells, CELLS_MAX);
    if (device && c->owner && c->n_cells > c->owner->n_cells)
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "on %s a context is no larger than the one whose step it shares "
                           "(%" PRIu32 " and %" PRIu32 " tokens)",
                           device->id, c->n_cells, c->owner->n_cells);
    if (c->cache.type == BITNET_DTYPE_f16) return BITNET_OK;
    if (device)
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "%s has no kernel for attention over a cache of type q8_0", device->id);
    if (c->cache.head_dim % 32)
        return bitnet_fail(
            err, BITNET_UNSUPPORTED,
            "a cache of type q8_0 with heads of size %zu (a multiple of 32 is needed)",
            c->cache.head_dim);
    return BITNET_OK;
}

/* The device is opened for the context, and its block of memory there taken. */
static enum bitnet_status open_device(struct bitnet_context *c, uint64_t n_bytes,
                                      struct bitnet_error *err)
{
    enum bitnet_status status = c->owner ? BITNET_OK : cuda_step_open(c, err);
    if (status) return status;
    const struct cuda_step *s = c->cuda;
    c->device_block = s->api->alloc(s->cuda, (size_t)n_bytes);
    if (c->device_block) return BITNET_OK;
    cuda_error(s->api, s->cuda, BITNET_MEMORY, err);
    return bitnet_error_prefix(err, BITNET_MEMORY, "a context of %" PRIu32 " tokens", c->n_cells);
}

static enum bitnet_status ask_budget(const struct bitnet_context *c, struct bitnet_error *err)
{
    char what[64];
    snprintf(what, sizeof what, "a context of %" PRIu32 " tokens", c->n_cells);
    return budget_take(c->model->budget, c->n_bytes, what, err);
}

enum bitnet_status context_new(struct bitnet_context **context, const struct bitnet_model *model,
                               const struct bitnet_context_options *options, bool gives_vectors,
                               struct bitnet_error *err)
{
    *context = NULL;
    struct bitnet_context settled = settle(model, options, gives_vectors);
    enum bitnet_status status = check_settled(&settled, err);
    if (status) return status;
    uint64_t n_host, n_device;
    bool fits = count_bytes(&settled, &n_host, &n_device);
    settled.n_bytes = n_host;
    if (fits) status = ask_budget(&settled, err);
    if (status) return status;
    void *block = fits ? bitnet_alloc_aligned((size_t)n_host) : NULL;
    if (!block && fits) budget_give(model->budget, n_host);
    if (!block)
        return bitnet_fail(err, BITNET_MEMORY,
                           "no memory for a context of %" PRIu32 " tokens (%" PRIu64 " MiB)",
                           settled.n_cells, fits ? n_host >> 20 : UINT64_MAX >> 20);
    struct carver host = {.base = block}, device = {0};
    struct bitnet_context *c = carve_head(&host, &settled);
    if (model->device) status = open_device(c, n_device, err);
    if (status) {
        bitnet_context_free(c);
        return status;
    }
    device.base = c->device_block;
    carve_context(&host, model->device ? &device : &host, c);
    if (!c->owner) c->owner = c;
    *context = c;
    return BITNET_OK;
}

void bitnet_context_free(struct bitnet_context *context)
{
    if (!context) return;
    const struct cuda_step *s = context->cuda;
    if (context->device_block) s->api->free(s->cuda, context->device_block);
    if (s && (!context->owner || context->owner == context)) cuda_step_close(context);
    budget_give(context->model->budget, context->n_bytes);
    bitnet_free_aligned(context);
}

void bitnet_context_reset(struct bitnet_context *context)
{
    context->n_used = 0;
    context->n_kept = 0;
}

enum bitnet_status bitnet_context_keep(struct bitnet_context *context, uint32_t n,
                                       struct bitnet_error *err)
{
    if (n > context->n_used)
        return bitnet_fail(err, BITNET_LIMIT,
                           "%" PRIu32 " tokens to keep of a context that has %" PRIu32, n,
                           context->n_used);
    context->n_used = n;
    context->n_kept = 0;
    return BITNET_OK;
}

uint32_t bitnet_context_used(const struct bitnet_context *context)
{
    return context->n_used;
}

uint32_t bitnet_context_size(const struct bitnet_context *context)
{
    return context->n_cells;
}
