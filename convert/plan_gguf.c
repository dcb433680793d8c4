/* A plan from a GGUF: the linear layers get another type, everything else stays as it is unless a
 * type for it is named. The same rows, the same writing and the same proof as for a checkpoint;
 * only where the numbers come from differs. Which tensors are linear layers is told by the
 * architecture's descriptor, never by their shape. */
#include "plan.h"

#include "i2s_diagnosis.h"

#include "bitnet/alloc.h"

#include <stdio.h> /* snprintf */

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for the plan");
}

/* --- roles --- */

/* "blk.12.attn_q.weight" -> 12; 0 for others. */
static uint32_t layer_of(struct bitnet_str name)
{
    uint64_t layer = 0;
    if (!bitnet_str_starts(name, "blk.")) return 0;
    const char *dot = memchr(name.at + 4, '.', name.n - 4);
    if (!dot) return 0;
    bool is_number =
        bitnet_parse_u64((struct bitnet_str){name.at + 4, (size_t)(dot - name.at) - 4}, &layer);
    return is_number && layer < BITNET_LAYERS_MAX ? (uint32_t)layer : 0;
}

static const struct bitnet_tensor_role *role_of(const struct bitnet_arch *arch,
                                                struct bitnet_str name)
{
    char text[256];
    for (size_t i = 0; i < arch->n_roles; i++) {
        int n = snprintf(text, sizeof text, arch->roles[i].gguf, layer_of(name));
        if (bitnet_str_equal(name, (struct bitnet_str){text, (size_t)n})) return &arch->roles[i];
    }
    return NULL;
}

/* The type asked for; the tensor's own where nothing was. */
static enum bitnet_dtype wanted_type(const struct bitnet_plan *plan,
                                     const struct bitnet_tensor_role *role, enum bitnet_dtype own)
{
    const struct bitnet_convert_options *o = &plan->options;
    if (!role || role->kind == BITNET_TENSOR_NORM) return own;
    if (role->kind == BITNET_TENSOR_LINEAR) return o->type;
    bool is_output = role->role == BITNET_ROLE_OUTPUT;
    if (is_output && o->output_type_is_given) return o->output_type;
    return o->embed_type_is_given ? o->embed_type : own;
}

/* --- one tensor --- */

static bool is_float(enum bitnet_dtype type)
{
    return bitnet_dtype_info(type)->kind == BITNET_KIND_FLOAT;
}

/* Copied bytes are looked at on their way, if there is a codec for them: rows of floats, or, of a
 * ternary tensor, its trits. */
static enum bitnet_status set_copy(struct bitnet_plan *plan, struct plan_item *item,
                                   struct bitnet_plan_row *row)
{
    struct weight *w = &item->weight;
    const struct bitnet_tensor *t = item->gguf_tensor;
    bool is_ternary = plan_is_ternary_type(t->type);
    item->mode = PLAN_BY_COPY;
    w->from.rows = item->layout.rows = w->rows = (size_t)(t->dims[1] * t->dims[2] * t->dims[3]);
    w->codec = bitnet_codec(t->type);
    if (is_ternary && tile_find(&w->from, plan->gguf, &plan->source_tiles, NULL)) w->codec = NULL;
    w->kind = is_ternary && w->codec ? WEIGHT_ENCODED : WEIGHT_FLOATS;
    row->n_bytes = t->data.n;
    if (!w->codec && bitnet_dtype_info(t->type)->kind != BITNET_KIND_INTEGER)
        bitnet_log_say(plan->options.log, BITNET_LOG_WARNING,
                       "tensor %s: %s cannot be read here; it is copied unseen",
                       BITNET_QUOTE(t->name), bitnet_dtype_info(t->type)->label);
    return BITNET_OK;
}

static enum bitnet_status set_source(struct bitnet_plan *plan, struct plan_item *item,
                                     struct bitnet_error *err)
{
    struct weight *w = &item->weight;
    w->codec = bitnet_codec(w->from.type);
    bool is_ternary = plan_is_ternary_type(w->from.type);
    if (!w->codec || (is_ternary ? !w->codec->decode_trits : !w->codec->decode_rows))
        return bitnet_fail(err, BITNET_UNSUPPORTED, "%s cannot be read",
                           bitnet_dtype_info(w->from.type)->label);
    w->kind = is_ternary ? WEIGHT_ENCODED : WEIGHT_FLOATS;
    w->granularity = is_ternary ? w->codec->scales : BITNET_SCALES_TENSOR;
    return tile_find(&w->from, plan->gguf, &plan->source_tiles, err);
}

static enum bitnet_status set_weight(struct bitnet_plan *plan, struct plan_item *item,
                                     struct bitnet_plan_row *row, bool is_linear,
                                     struct bitnet_error *err)
{
    const struct bitnet_tensor *t = item->gguf_tensor;
    struct weight *w = &item->weight;
    *w = (struct weight){.loops = plan->loops,
                         .data = t->data,
                         .rows = (size_t)t->dims[1],
                         .cols = (size_t)t->dims[0]};
    w->from = (struct bitnet_layout){.type = t->type, .rows = w->rows, .cols = w->cols};
    if (t->type == BITNET_DTYPE_i2_s) w->from.order = plan->options.i2_s_order;
    item->layout = w->from;
    bool is_same = row->type == t->type && w->from.order == BITNET_I2_S_A;
    if (is_same && !(is_linear && plan_is_ternary_type(t->type)) && !is_float(t->type))
        return set_copy(plan, item, row);
    if (t->dims[2] * t->dims[3] != 1) { /* more than a matrix */
        if (is_same) return set_copy(plan, item, row);
        return bitnet_fail(err, BITNET_UNSUPPORTED, "%u dimensions cannot change their type",
                           t->n_dims);
    }
    enum bitnet_status status = set_source(plan, item, err);
    if (!status && plan_is_ternary_type(row->type) && w->kind == WEIGHT_FLOATS)
        status = plan_set_if_ternary(plan, w, row->type, err);
    return status ? status : plan_set_layout(plan, item, row, err);
}

static enum bitnet_status add_row(struct bitnet_plan *plan, const struct bitnet_tensor *t,
                                  struct bitnet_error *err)
{
    struct bitnet_plan_row *row = &plan->rows[plan->n];
    struct plan_item *item = &plan->items[plan->n];
    const struct bitnet_tensor_role *role = role_of(plan->config.arch, t->name);
    item->gguf_tensor = t;
    row->source = row->target = t->name;
    row->type = plan_type_for(plan, t->name, wanted_type(plan, role, t->type));
    row->n_dims = t->n_dims;
    memcpy(row->dims, t->dims, sizeof row->dims);
    bool is_linear = role && role->kind == BITNET_TENSOR_LINEAR;
    enum bitnet_status status = set_weight(plan, item, row, is_linear, err);
    if (status) return bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(t->name));
    row->source_dtype = bitnet_dtype_info(t->type)->label;
    plan->parameters += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    plan->n++;
    return BITNET_OK;
}

/* --- all tensors --- */

static enum bitnet_status plan_tensors(struct bitnet_plan *plan, struct bitnet_error *err)
{
    size_t n = bitnet_gguf_tensor_count(plan->gguf);
    plan->rows = bitnet_arena_alloc(&plan->arena, n + 1, sizeof *plan->rows);
    plan->items = bitnet_arena_alloc(&plan->arena, n + 1, sizeof *plan->items);
    if (!plan->rows || !plan->items) return no_memory(err);
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = add_row(plan, bitnet_gguf_tensor_at(plan->gguf, i), err);
    return status;
}

/* A file whose words are cut by the wrong rules would be copied with its fault. */
static enum bitnet_status check_pre(const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    struct bitnet_pre_identity identity;
    struct bitnet_str pre = {0};
    bitnet_gguf_str(gguf, "tokenizer.ggml.pre", BITNET_GGUF_OPTIONAL, &pre, NULL);
    if (pre.n && !bitnet_str_is(pre, "default")) return BITNET_OK;
    enum bitnet_status status = bitnet_tokenizer_identify_pre(gguf, &identity, err);
    if (status || !identity.name) return status;
    bitnet_fail(err, BITNET_UNSUPPORTED,
                "key 'tokenizer.ggml.pre' is %s, but the vocabulary needs '%s': %s",
                pre.n ? "'default'" : "missing", identity.name, identity.evidence);
    return bitnet_hint(err, BITNET_UNSUPPORTED, "bitnet gguf repair --fix pretok makes it right");
}

static enum bitnet_status make(struct bitnet_plan *plan, const char *path, struct bitnet_error *err)
{
    struct bitnet_gguf_options options = {.log = plan->options.log};
    enum bitnet_status status = plan_check_types(plan, err);
    if (!status) status = plan_read_requests(plan, err);
    if (!status) status = bitnet_gguf_open(&plan->gguf, path, &options, err);
    if (status) return status;
    status = check_pre(plan->gguf, err);
    if (!status)
        status =
            bitnet_hparams_from_gguf(&plan->config.hparams, &plan->config.arch, plan->gguf, err);
    plan->has_norms_in =
        bitnet_gguf_find_tensor(plan->gguf, BITNET_STR("blk.0.attn_q_norm_in.weight")) != NULL;
    if (!status) status = bitnet_arch_validate(plan->gguf, err);
    if (!status) status = plan_choose_means(plan, err);
    if (!status) i2s_diagnose(plan->gguf, plan->options.i2_s_order, plan->options.log);
    if (!status) status = plan_tensors(plan, err);
    if (!status) plan_tell_unused(plan);
    if (!status) status = plan_choose_dialect(plan, err);
    if (!status) status = plan_names(plan, path, err);
    if (!status) status = plan_measure(plan, err);
    return status ? bitnet_error_prefix(err, status, "%s", path) : BITNET_OK;
}

enum bitnet_status bitnet_plan_from_gguf(struct bitnet_plan **result, const char *path,
                                         const struct bitnet_convert_options *options,
                                         struct bitnet_error *err)
{
    *result = NULL;
    struct bitnet_plan *plan = bitnet_alloc(1, sizeof *plan);
    if (!plan) return no_memory(err);
    if (options) plan->options = *options;
    enum bitnet_status status = make(plan, path, err);
    if (status) {
        bitnet_plan_free(plan);
        return status;
    }
    *result = plan;
    return BITNET_OK;
}
