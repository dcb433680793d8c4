/* The plan: every output tensor decided before the first byte is written.
 *
 * In: a snapshot directory and options. Out: rows that say what becomes of each tensor, or a
 * refusal that names the tensor and the numbers. Shapes, dtypes, quantization, target types and
 * tiles are all checked here, so that writing can only fail for want of memory, disk, or finite
 * numbers. The checkpoint's columns of the architecture table decide which tensors there are. */
#include "plan.h"

#include "bitnet/alloc.h"
#include "bitnet/cpu.h"

#include "pooling.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h> /* snprintf */

/* Encoded rows that are gathered before they are written, and numbers that a thread handles at
 * once: enough to forget the cost of handing them over, few enough for a cache. Less under
 * --max-memory. */
#define BLOCK_BYTES   (8u << 20)
#define BAND_ELEMENTS 65536u

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for the plan");
}

static enum bitnet_status prefix_tensor(struct bitnet_str name, enum bitnet_status status,
                                        struct bitnet_error *err)
{
    return status ? bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(name)) : BITNET_OK;
}

/* --- types --- */

bool plan_is_ternary_type(enum bitnet_dtype type)
{
    return bitnet_dtype_info(type)->kind == BITNET_KIND_TERNARY;
}

/* A model of floats keeps its embedding in the same type; all others have it in f16. */
enum bitnet_dtype plan_embed_type(const struct bitnet_convert_options *options)
{
    if (options->embed_type_is_given) return options->embed_type;
    bool keeps_own = options->type == BITNET_DTYPE_f32 || options->type == BITNET_DTYPE_bf16;
    return keeps_own ? options->type : BITNET_DTYPE_f16;
}

static enum bitnet_dtype output_type(const struct bitnet_convert_options *options)
{
    return options->output_type_is_given ? options->output_type : plan_embed_type(options);
}

static enum bitnet_status check_type(enum bitnet_dtype type, const char *what, bool may_be_ternary,
                                     struct bitnet_error *err)
{
    const struct bitnet_codec *codec = bitnet_codec(type);
    if (!codec || (!codec->encode_rows && !codec->encode_trits))
        return bitnet_fail(err, BITNET_UNSUPPORTED, "%s: %s cannot be written", what,
                           bitnet_dtype_info(type)->label);
    if (plan_is_ternary_type(type) && !may_be_ternary)
        return bitnet_fail(err, BITNET_INEXACT, "%s: %s would destroy a matrix that is not ternary",
                           what, bitnet_dtype_info(type)->label);
    return BITNET_OK;
}

enum bitnet_status plan_check_types(struct bitnet_plan *plan, struct bitnet_error *err)
{
    const struct bitnet_convert_options *o = &plan->options;
    enum bitnet_status status = check_type(o->type, "linear layers", true, err);
    if (!status) status = check_type(plan_embed_type(o), "token embedding", false, err);
    if (!status) status = check_type(output_type(o), "output matrix", false, err);
    return status;
}

/* --- one tensor --- */

static enum bitnet_status fail_shape(const struct st_tensor *tensor, uint64_t rows, uint64_t cols,
                                     struct bitnet_error *err)
{
    char found[128];
    size_t used = 0;
    found[0] = '\0';
    for (uint32_t i = 0; i < tensor->n_dims && i < 5; i++)
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%" PRIu64, i ? " x " : "",
                                 tensor->dims[i]);
    if (cols == 0)
        return bitnet_fail(err, BITNET_FORMAT, "shape %s, expected %" PRIu64, found, rows);
    return bitnet_fail(err, BITNET_FORMAT, "shape %s, expected %" PRIu64 " x %" PRIu64, found, rows,
                       cols);
}

/* cols 0: a vector. */
static enum bitnet_status check_shape(const struct st_tensor *tensor, uint64_t rows, uint64_t cols,
                                      struct bitnet_error *err)
{
    bool fits = cols == 0
                    ? tensor->n_dims == 1 && tensor->dims[0] == rows
                    : tensor->n_dims == 2 && tensor->dims[0] == rows && tensor->dims[1] == cols;
    return fits ? BITNET_OK : fail_shape(tensor, rows, cols, err);
}

static enum bitnet_status load_scale(float *ws, const struct st_tensor *tensor,
                                     struct bitnet_error *err)
{
    bool is_single = true;
    for (uint32_t i = 0; i < tensor->n_dims; i++) is_single = is_single && tensor->dims[i] == 1;
    if (!is_single || tensor->dtype->kind > ST_BF16)
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "weight_scale is %s with %zu bytes, expected one float",
                           tensor->dtype->name, tensor->data.n);
    floats_load(loops_at(0), tensor->dtype->kind, tensor->data.at, 1, ws);
    if (isfinite(*ws) && *ws > 0) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "weight_scale is %g (must be positive and finite)",
                       (double)*ws);
}

/* "<module>.weight" -> "<module>.weight_scale", whose meaning depends on the linear class. */
static enum bitnet_status read_scale(struct bitnet_plan *plan, struct weight *weight,
                                     struct bitnet_str name, bool *used, struct bitnet_error *err)
{
    char scale_name[1100];
    int n = snprintf(scale_name, sizeof scale_name, "%.*s_scale", BITNET_STR_ARGS(name));
    const struct st_tensor *tensor =
        source_find(&plan->source, (struct bitnet_str){scale_name, (size_t)n});
    float ws = 0;
    if (!tensor)
        return bitnet_fail(err, BITNET_FORMAT, "its scale '%s' is missing",
                           strrchr(scale_name, '.') + 1);
    used[tensor - plan->source.tensors] = true;
    enum bitnet_status status = load_scale(&ws, tensor, err);
    if (status) return status;
    weight->scale = plan->config.quantization == QUANTIZATION_PACKED_MULTIPLY ? ws : 1.0f / ws;
    if (isfinite(weight->scale)) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "weight_scale is %g, its inverse is infinite",
                       (double)ws);
}

static enum bitnet_status set_packed(struct bitnet_plan *plan, struct weight *weight,
                                     const struct st_tensor *tensor, bool *used,
                                     struct bitnet_error *err)
{
    enum quantization q = plan->config.quantization;
    if (q != QUANTIZATION_PACKED_MULTIPLY && q != QUANTIZATION_PACKED_DIVIDE) {
        bitnet_fail(err, BITNET_UNSUPPORTED,
                    "dtype U8, but config.json does not say that weights are packed");
        return bitnet_hint(err, BITNET_UNSUPPORTED,
                           "'quantization_config' with linear_class tells what weight_scale means");
    }
    weight->kind = WEIGHT_PACKED;
    enum bitnet_status status = check_shape(tensor, (weight->rows + 3) / 4, weight->cols, err);
    return status ? status : read_scale(plan, weight, tensor->name, used, err);
}

/* Each row has its own scale. */
static enum bitnet_status set_ternary_rows(struct bitnet_plan *plan, struct weight *weight,
                                           struct bitnet_error *err)
{
    float *scales = bitnet_arena_alloc(&plan->arena, weight->rows, sizeof *scales);
    if (!scales) return no_memory(err);
    enum bitnet_status status = weight_row_scales(weight, scales, err);
    if (status) return status;
    weight->kind = WEIGHT_TERNARY;
    weight->granularity = BITNET_SCALES_ROW;
    weight->scales = scales;
    weight->scale = scales[0];
    return BITNET_OK;
}

/* Plain floats asked for as trits: right only if they are trits already. */
enum bitnet_status plan_set_if_ternary(struct bitnet_plan *plan, struct weight *weight,
                                       enum bitnet_dtype type, struct bitnet_error *err)
{
    struct weight_verdict verdict;
    enum bitnet_status status = weight_measure(weight, plan->pool, &verdict, err);
    if (status) return status;
    if (verdict.is_ternary) {
        weight->kind = WEIGHT_TERNARY;
        weight->scale = verdict.s;
        return BITNET_OK;
    }
    bool keeps_one = bitnet_codec(type)->scales == BITNET_SCALES_TENSOR;
    if (verdict.is_ternary_by_row && (!keeps_one || plan->options.allow_lossy))
        return set_ternary_rows(plan, weight, err);
    if (verdict.is_ternary_by_row)
        return bitnet_fail(err, BITNET_INEXACT,
                           "each row has its own scale (%.9g, and %.9g in row %zu), %s keeps one",
                           (double)verdict.magnitude, (double)verdict.other, verdict.row,
                           bitnet_dtype_info(type)->label);
    weight->kind = WEIGHT_MASTERS;
    weight->is_lossy = true;
    if (plan->options.allow_lossy) return BITNET_OK;
    bitnet_fail(err, BITNET_INEXACT,
                "not ternary: it holds the magnitudes %.9g and %.9g (row %zu); %s would destroy it",
                (double)verdict.magnitude, (double)verdict.other, verdict.row,
                bitnet_dtype_info(type)->label);
    return bitnet_hint(err, BITNET_INEXACT,
                       "f16 or bf16 keep it; masters of a ternary model need a quantization_config "
                       "that says so; --allow-lossy rounds anyway");
}

static enum bitnet_status set_floats(struct bitnet_plan *plan, struct weight *weight,
                                     bool is_linear, enum bitnet_dtype type,
                                     struct bitnet_error *err)
{
    weight->kind = WEIGHT_FLOATS;
    if (!is_linear)
        return plan_is_ternary_type(type) ? plan_set_if_ternary(plan, weight, type, err)
                                          : BITNET_OK;
    switch (plan->config.quantization) {
    case QUANTIZATION_ONLINE:
        weight->kind = WEIGHT_MASTERS;
        return BITNET_OK;
    case QUANTIZATION_PACKED_MULTIPLY:
    case QUANTIZATION_PACKED_DIVIDE:
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "dtype is no U8, but config.json says that weights are packed");
    case QUANTIZATION_NONE:
        break;
    }
    return plan_is_ternary_type(type) ? plan_set_if_ternary(plan, weight, type, err) : BITNET_OK;
}

/* With --tile FILE every shape must be in the file: whoever names it means that build's kernels. */
static enum bitnet_status find_given_tile(const struct bitnet_plan *plan,
                                          struct bitnet_layout *layout, struct bitnet_error *err)
{
    if (plan->tiles.n == 0 ||
        tiles_find(&plan->tiles, layout->type, layout->rows, layout->cols, &layout->tile))
        return BITNET_OK;
    return bitnet_fail(err, BITNET_UNSUPPORTED, "%s: %s has no section for shape %zu x %zu",
                       bitnet_dtype_info(layout->type)->label, plan->options.tile_ini, layout->rows,
                       layout->cols);
}

/* The ternary types whose blocks fit where the one asked for does not. */
static enum bitnet_status hint_at_types(const struct bitnet_layout *layout,
                                        struct bitnet_error *err)
{
    char names[160];
    size_t used = 0;
    names[0] = '\0';
    for (int t = 0; t < BITNET_DTYPE_COUNT; t++) {
        const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)t);
        struct bitnet_layout other = {
            .type = (enum bitnet_dtype)t, .rows = layout->rows, .cols = layout->cols};
        bool fits = plan_is_ternary_type(other.type) && codec && codec->encode_trits &&
                    bitnet_layout_check(&other, NULL) == BITNET_OK;
        if (fits && used < sizeof names - 16)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                                     bitnet_dtype_info(other.type)->name);
    }
    return bitnet_hint(err, BITNET_UNSUPPORTED,
                       "types that hold %zu x %zu exactly: %s%sf32 (--tensor-type gives one tensor "
                       "another type)",
                       layout->rows, layout->cols, names, used ? ", " : "");
}

enum bitnet_status plan_set_layout(const struct bitnet_plan *plan, struct plan_item *item,
                                   struct bitnet_plan_row *row, struct bitnet_error *err)
{
    item->layout = (struct bitnet_layout){
        .type = row->type, .rows = item->weight.rows, .cols = item->weight.cols};
    bool is_tiled = row->type == BITNET_DTYPE_tl1 || row->type == BITNET_DTYPE_tl2;
    if (is_tiled) item->layout.tile = plan->options.tile;
    enum bitnet_status status = is_tiled ? find_given_tile(plan, &item->layout, err) : BITNET_OK;
    if (!status) status = bitnet_layout_check(&item->layout, err);
    if (status == BITNET_UNSUPPORTED && plan_is_ternary_type(row->type))
        return hint_at_types(&item->layout, err);
    if (status) return status;
    row->tile = item->layout.tile;
    item->codec = bitnet_codec(row->type);
    bool by_trits = weight_is_ternary(&item->weight) && plan_is_ternary_type(row->type);
    item->mode = by_trits ? PLAN_BY_TRITS : PLAN_BY_ROWS;
    status = plan_find_importance(plan, item, row->target, err);
    return status ? status
                  : bitnet_tensor_bytes(row->type, row->dims, row->n_dims, &row->n_bytes, err);
}

static enum bitnet_dtype target_type(const struct bitnet_plan *plan,
                                     const struct bitnet_tensor_role *role, bool is_linear)
{
    if (role->kind == BITNET_TENSOR_NORM) return BITNET_DTYPE_f32;
    if (is_linear) return plan->options.type;
    return role->role == BITNET_ROLE_OUTPUT ? output_type(&plan->options)
                                            : plan_embed_type(&plan->options);
}

static enum bitnet_status set_weight(struct bitnet_plan *plan, struct plan_item *item,
                                     const struct bitnet_tensor_role *role, bool is_linear,
                                     enum bitnet_dtype type, bool *used, struct bitnet_error *err)
{
    const struct bitnet_hparams *h = &plan->config.hparams;
    const struct st_tensor *tensor = item->tensor;
    bool is_vector = role->cols == BITNET_DIM_NONE;
    uint64_t n = bitnet_dim_size(h, role->rows), m = is_vector ? 0 : bitnet_dim_size(h, role->cols);
    item->weight = (struct weight){.loops = plan->loops,
                                   .dtype = tensor->dtype->kind,
                                   .data = tensor->data,
                                   .rows = is_vector ? 1 : (size_t)n,
                                   .cols = (size_t)(is_vector ? n : m)};
    if (role->order == BITNET_ROWS_ROPE_Q) item->weight.n_heads = h->n_heads;
    if (role->order == BITNET_ROWS_ROPE_KV) item->weight.n_heads = h->n_kv_heads;
    if (role->is_shifted) item->weight.shift = 1;

    if (tensor->dtype->kind == ST_U8 && is_linear)
        return set_packed(plan, &item->weight, tensor, used, err);
    if (tensor->dtype->kind > ST_BF16)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "dtype %s is not supported here",
                           tensor->dtype->name);
    enum bitnet_status status = check_shape(tensor, n, m, err);
    return status ? status : set_floats(plan, &item->weight, is_linear, type, err);
}

static enum bitnet_status set_names(struct bitnet_plan *plan, struct bitnet_plan_row *row,
                                    const struct bitnet_tensor_role *role, uint32_t layer,
                                    struct bitnet_error *err)
{
    char target[256];
    int n = snprintf(target, sizeof target, role->gguf, layer);
    row->target = bitnet_arena_copy(&plan->arena, (struct bitnet_str){target, (size_t)n});
    return row->target.at ? BITNET_OK : no_memory(err);
}

static enum bitnet_status add_row(struct bitnet_plan *plan, const struct bitnet_tensor_role *role,
                                  uint32_t layer, const struct st_tensor *tensor, bool *used,
                                  struct bitnet_error *err)
{
    struct bitnet_plan_row *row = &plan->rows[plan->n];
    struct plan_item *item = &plan->items[plan->n];
    /* what is packed was converted, whatever the list of modules says */
    bool is_kept = tensor->dtype->kind != ST_U8 && config_keeps(&plan->config, tensor->name);
    bool is_linear = role->kind == BITNET_TENSOR_LINEAR && !is_kept;
    used[tensor - plan->source.tensors] = true;
    item->tensor = tensor;
    row->source = tensor->name;

    enum bitnet_status status = set_names(plan, row, role, layer, err);
    row->type = plan_type_for(plan, row->target, target_type(plan, role, is_linear));
    if (!status) status = set_weight(plan, item, role, is_linear, row->type, used, err);
    if (status) return prefix_tensor(tensor->name, status, err);
    row->source_dtype = weight_kind_text(&item->weight);
    row->scale = item->weight.scale;
    row->n_dims = role->cols == BITNET_DIM_NONE ? 1 : 2;
    row->dims[0] = item->weight.cols;
    row->dims[1] = item->weight.rows;
    row->dims[2] = row->dims[3] = 1;
    status = plan_set_layout(plan, item, row, err);
    if (status) return prefix_tensor(tensor->name, status, err);
    plan->parameters += (uint64_t)item->weight.rows * item->weight.cols;
    plan->n++;
    return BITNET_OK;
}

/* --- all tensors --- */

static enum bitnet_status fail_missing(struct bitnet_plan *plan,
                                       const struct bitnet_tensor_role *role,
                                       struct bitnet_str name, struct bitnet_error *err)
{
    bitnet_fail(err, BITNET_FORMAT, "tensor %s is missing%s", BITNET_QUOTE(name),
                role->is_together ? ", but other norms of projections are there" : "");
    if (role->role != BITNET_ROLE_OUTPUT || plan->config.is_tied) return BITNET_FORMAT;
    return bitnet_hint(err, BITNET_FORMAT, "'tie_word_embeddings' of config.json is not true");
}

/* Divisors of the rope frequencies: no tensor of the checkpoint, but computed from config.json. */
static enum bitnet_status add_rope_divisors(struct bitnet_plan *plan,
                                            const struct bitnet_tensor_role *role,
                                            struct bitnet_error *err)
{
    struct bitnet_plan_row *row = &plan->rows[plan->n];
    struct plan_item *item = &plan->items[plan->n];
    uint32_t n = plan->config.hparams.n_rot / 2;
    uint8_t *bytes = bitnet_arena_alloc(&plan->arena, n, sizeof(float));
    if (!bytes) return no_memory(err);
    for (uint32_t i = 0; i < n; i++)
        bitnet_store_f32(bytes + 4 * i, config_rope_divisor(&plan->config, i));
    item->weight =
        (struct weight){.dtype = ST_F32, .data = {bytes, n * sizeof(float)}, .rows = 1, .cols = n};
    row->source = BITNET_STR("config.json");
    row->source_dtype = weight_kind_text(&item->weight);
    row->type = BITNET_DTYPE_f32;
    row->n_dims = 1;
    row->dims[0] = n;
    row->dims[1] = row->dims[2] = row->dims[3] = 1;
    enum bitnet_status status = set_names(plan, row, role, 0, err);
    if (!status) status = plan_set_layout(plan, item, row, err);
    plan->n += !status;
    return status;
}

static const char prefix[] = "model.";

/* What the names of the tensors tell: backbones are saved without the prefix, and norms on the
 * input of projections belong to layers that are made ternary whenever they run, whether
 * config.json says so or not. (microsoft/BitNet, docs/bitnet-embeddings-i2s-guide.md) */
static void read_names(struct bitnet_plan *plan)
{
    const struct source *source = &plan->source;
    plan->has_no_prefix = !source_find(source, BITNET_STR("model.embed_tokens.weight")) &&
                          source_find(source, BITNET_STR("embed_tokens.weight"));
    for (size_t i = 0; i < source->n_tensors; i++)
        if (bitnet_str_ends(source->tensors[i].name, "_proj.norm.weight"))
            plan->has_norms_in = true;
    if (plan->has_norms_in && plan->config.quantization == QUANTIZATION_NONE)
        plan->config.quantization = QUANTIZATION_ONLINE;
}

static enum bitnet_status plan_role(struct bitnet_plan *plan, const struct bitnet_tensor_role *role,
                                    uint32_t layer, bool *used, struct bitnet_error *err)
{
    char text[256];
    if (role->role == BITNET_ROLE_ROPE_FREQS && plan->config.stretch.factor != 0)
        return add_rope_divisors(plan, role, err);
    if (!role->source) return BITNET_OK;
    int n = snprintf(text, sizeof text, role->source, layer);
    struct bitnet_str name = {text, (size_t)n};
    bool is_output = role->role == BITNET_ROLE_OUTPUT;
    if (plan->has_no_prefix && bitnet_str_starts(name, prefix))
        name = (struct bitnet_str){name.at + strlen(prefix), name.n - strlen(prefix)};
    const struct st_tensor *tensor = source_find(&plan->source, name);
    if (is_output && (plan->config.is_tied || plan->config.is_backbone)) {
        if (!tensor) return BITNET_OK;
        used[tensor - plan->source.tensors] = true;
        bitnet_log_say(plan->options.log, BITNET_LOG_INFO, "tensor %s is left out: config.json %s",
                       BITNET_QUOTE(name),
                       plan->config.is_tied ? "ties it to the token embedding"
                                            : "is of a backbone without it");
        return BITNET_OK;
    }
    if (tensor) return add_row(plan, role, layer, tensor, used, err);
    bool may_be_absent = role->is_together ? !plan->has_norms_in : role->is_optional && !is_output;
    return may_be_absent ? BITNET_OK : fail_missing(plan, role, name, err);
}

static bool is_per_layer(const struct bitnet_tensor_role *role)
{
    return strstr(role->gguf, "%u") != NULL;
}

static enum bitnet_status plan_roles(struct bitnet_plan *plan, bool *used, struct bitnet_error *err)
{
    const struct bitnet_arch *arch = plan->config.arch;
    enum bitnet_status status = BITNET_OK;
    bool has_output = false;
    for (size_t i = 0; i < arch->n_roles && !status; i++) {
        has_output = has_output || arch->roles[i].role == BITNET_ROLE_OUTPUT;
        if (!is_per_layer(&arch->roles[i])) status = plan_role(plan, &arch->roles[i], 0, used, err);
    }
    for (uint32_t layer = 0; layer < plan->config.hparams.n_layers && !status; layer++)
        for (size_t i = 0; i < arch->n_roles && !status; i++)
            if (is_per_layer(&arch->roles[i]))
                status = plan_role(plan, &arch->roles[i], layer, used, err);
    if (status || has_output || plan->config.is_tied) return status;
    return bitnet_fail(err, BITNET_UNSUPPORTED,
                       "'tie_word_embeddings' is not true, but GGUF's architecture '%s' has no "
                       "output matrix of its own",
                       arch->name);
}

/* Named one by one up to this many, then counted. */
#define UNUSED_NAMED_MAX 10u

/* Tensors inside a layer that nobody asked for would be lost mathematics (a bias, a norm inside a
 * linear layer); anything else is only mentioned. Rope frequencies follow from config.json. */
static enum bitnet_status check_unused(const struct bitnet_plan *plan, const bool *used,
                                       struct bitnet_error *err)
{
    size_t n_unused = 0;
    for (size_t i = 0; i < plan->source.n_tensors; i++) {
        struct bitnet_str name = plan->source.tensors[i].name;
        if (used[i] || bitnet_str_ends(name, ".rotary_emb.inv_freq")) continue;
        bool is_in_layer = bitnet_str_starts(name, "model.layers.") ||
                           (plan->has_no_prefix && bitnet_str_starts(name, "layers."));
        if (is_in_layer || bitnet_str_ends(name, ".bias"))
            return bitnet_fail(err, BITNET_UNSUPPORTED,
                               "tensor %s has no place in architecture '%s'; leaving it out would "
                               "change the model",
                               BITNET_QUOTE(name), plan->config.arch->name);
        if (n_unused++ < UNUSED_NAMED_MAX)
            bitnet_log_say(plan->options.log, BITNET_LOG_WARNING, "tensor %s is not used",
                           BITNET_QUOTE(name));
    }
    if (n_unused > UNUSED_NAMED_MAX)
        bitnet_log_say(plan->options.log, BITNET_LOG_WARNING, "%zu more tensors are not used",
                       n_unused - UNUSED_NAMED_MAX);
    return BITNET_OK;
}

static enum bitnet_status plan_tensors(struct bitnet_plan *plan, struct bitnet_error *err)
{
    size_t n_max = plan->config.arch->n_roles * (plan->config.hparams.n_layers + (size_t)1);
    plan->rows = bitnet_arena_alloc(&plan->arena, n_max, sizeof *plan->rows);
    plan->items = bitnet_arena_alloc(&plan->arena, n_max, sizeof *plan->items);
    bool *used = bitnet_alloc(plan->source.n_tensors + 1, sizeof *used);
    enum bitnet_status status = BITNET_OK;
    if (!plan->rows || !plan->items || !used) status = no_memory(err);
    read_names(plan);
    if (!status) status = plan_roles(plan, used, err);
    if (!status) status = check_unused(plan, used, err);
    bitnet_free(used);
    return status;
}

/* --- the whole --- */

enum bitnet_status plan_choose_means(struct bitnet_plan *plan, struct bitnet_error *err)
{
    const struct bitnet_convert_options *o = &plan->options;
    uint32_t cpu = bitnet_cpu_detect();
    if (o->cpu_mask || o->cpu_is_given) cpu &= o->cpu_mask;
    plan->loops = loops_select(cpu);
    return bitnet_pool_new(&plan->pool, o->n_threads, err);
}

/* The exact size comes from a writer that is told everything and then abandoned. */
static enum bitnet_status measure_file(struct bitnet_plan *plan, struct bitnet_error *err)
{
    struct bitnet_gguf_set *set = NULL;
    enum bitnet_status status = plan_new_set(plan, "plan.gguf", &set, err);
    if (!status) plan->file_bytes = bitnet_gguf_set_bytes(set);
    bitnet_gguf_set_abort(set);
    return status;
}

static void measure_memory(struct bitnet_plan *plan)
{
    struct workspace_sizes sizes = workspace_measure(plan);
    size_t measuring = 0;
    for (size_t i = 0; i < plan->n; i++) {
        size_t n = weight_measure_bytes(&plan->items[i].weight, bitnet_pool_threads(plan->pool));
        if (n > measuring) measuring = n;
    }
    plan->peak_bytes = workspace_total(&sizes) + measuring;
}

/* Blocks and bands can be smaller, down to the rows that a type cannot part. */
static enum bitnet_status keep_to(struct bitnet_plan *plan, uint64_t max_memory,
                                  struct bitnet_error *err)
{
    while (plan->peak_bytes > max_memory && plan->block_bytes > 1) {
        plan->block_bytes /= 2;
        plan->band_elements = (plan->band_elements + 1) / 2;
        measure_memory(plan);
    }
    if (plan->peak_bytes <= max_memory) return BITNET_OK;
    bitnet_fail(err, BITNET_MEMORY,
                "%" PRIu64 " bytes are needed beside the mapped source, allowed are %" PRIu64,
                plan->peak_bytes, max_memory);
    return bitnet_hint(err, BITNET_MEMORY, "fewer threads need less");
}

enum bitnet_status plan_measure(struct bitnet_plan *plan, struct bitnet_error *err)
{
    plan->block_bytes = BLOCK_BYTES;
    plan->band_elements = BAND_ELEMENTS;
    enum bitnet_status status = measure_file(plan, err);
    if (!status) measure_memory(plan);
    if (status || plan->options.max_memory == 0) return status;
    return keep_to(plan, plan->options.max_memory, err);
}

void plan_release(const struct bitnet_plan *plan, size_t i)
{
    if (plan->items[i].tensor) source_release(&plan->source, plan->items[i].tensor);
    if (plan->items[i].gguf_tensor) bitnet_gguf_release(plan->gguf, plan->items[i].gguf_tensor);
}

enum bitnet_status plan_source_unchanged(const struct bitnet_plan *plan, struct bitnet_error *err)
{
    return plan->gguf ? bitnet_gguf_unchanged(plan->gguf, err)
                      : source_unchanged(&plan->source, err);
}

/* Words about the bytes of a GGUF mean nothing for a checkpoint; whoever says them is mistaken. */
static enum bitnet_status check_source_options(const struct bitnet_convert_options *o,
                                               struct bitnet_error *err)
{
    if (o->i2_s_order != BITNET_I2_S_A)
        return bitnet_fail(err, BITNET_USAGE,
                           "an I2_S layout is said, but a checkpoint has no I2_S tensors");
    if (o->source_tile_ini)
        return bitnet_fail(err, BITNET_USAGE,
                           "tiles of the source are said, but a checkpoint has "
                           "no TL1 or TL2 tensors");
    return BITNET_OK;
}

enum bitnet_status bitnet_plan_new(struct bitnet_plan **result, const char *model_dir,
                                   const struct bitnet_convert_options *options,
                                   struct bitnet_error *err)
{
    *result = NULL;
    struct bitnet_plan *plan = bitnet_alloc(1, sizeof *plan);
    if (!plan) return no_memory(err);
    if (options) plan->options = *options;

    enum bitnet_status status = check_source_options(&plan->options, err);
    if (!status) status = plan_check_types(plan, err);
    if (!status) status = plan_read_requests(plan, err);
    if (!status) status = source_open(&plan->source, model_dir, err);
    if (!status) status = config_read(&plan->config, model_dir, err);
    if (!status)
        status = pooling_read(&plan->config.hparams.pooling, model_dir, plan->config.hparams.n_embd,
                              err);
    if (!status) status = plan_choose_means(plan, err);
    if (!status) {
        status = plan_tensors(plan, err);
        if (status) bitnet_error_prefix(err, status, "%s", model_dir);
    }
    if (!status) plan_tell_unused(plan);
    if (!status) status = plan_choose_dialect(plan, err);
    if (!status) status = plan_names(plan, model_dir, err);
    if (!status)
        status = bitnet_tokenizer_from_dir(&plan->tokenizer, model_dir,
                                           plan->config.hparams.n_vocab, plan->options.log, err);
    if (!status) status = plan_measure(plan, err);
    if (status) {
        bitnet_plan_free(plan);
        return status;
    }
    *result = plan;
    return BITNET_OK;
}

void bitnet_plan_free(struct bitnet_plan *plan)
{
    if (!plan) return;
    bitnet_pool_free(plan->pool);
    bitnet_free(plan->published);
    plan_free_requests(plan);
    bitnet_tokenizer_free(plan->tokenizer);
    bitnet_gguf_close(plan->gguf);
    config_free(&plan->config);
    source_close(&plan->source);
    bitnet_arena_free(&plan->arena);
    bitnet_free(plan);
}

size_t bitnet_plan_count(const struct bitnet_plan *plan)
{
    return plan->n;
}

const struct bitnet_plan_row *bitnet_plan_at(const struct bitnet_plan *plan, size_t i)
{
    return i < plan->n ? &plan->rows[i] : NULL;
}

const char *bitnet_plan_arch(const struct bitnet_plan *plan)
{
    return plan->config.arch->name;
}

const char *bitnet_plan_file_name(const struct bitnet_plan *plan)
{
    return plan->file_name;
}

enum bitnet_dialect bitnet_plan_dialect(const struct bitnet_plan *plan)
{
    return plan->dialect;
}

uint64_t bitnet_plan_file_bytes(const struct bitnet_plan *plan)
{
    return plan->file_bytes;
}

uint64_t bitnet_plan_peak_bytes(const struct bitnet_plan *plan)
{
    return plan->peak_bytes;
}

const char *bitnet_plan_published(const struct bitnet_plan *plan)
{
    return plan->published;
}

const struct bitnet_proof *bitnet_plan_proof(const struct bitnet_plan *plan)
{
    return &plan->proof;
}

uint64_t bitnet_plan_parameters(const struct bitnet_plan *plan)
{
    return plan->parameters;
}
