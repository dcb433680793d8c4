/* Opening a model: map the GGUF, check it against its architecture, bind every role, pack the
 * linear layers. Comes in: a path. Goes out: a struct that nobody changes until close.
 *
 * What the descriptor of the architecture says is bound; a tensor of the file that no role claims
 * is refused, because a forward pass that ignores a bias is silently wrong. */
#include "placement.h"

#include "bitnet/alloc.h"
#include "bitnet/cpu.h"
#include "bitnet/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ tasks */

/* One matrix to bind. Tasks are independent, so the pool takes them in any order. */
struct bind_task {
    struct matrix *matrix;
    struct matrix_source source;
    enum bitnet_status status;
    struct bitnet_error error;
};

/* Everything that lives only while a model is bound. */
struct binder {
    struct bitnet_model *model;
    const struct bitnet_model_options *options;
    struct bind_task *tasks; /* [n_tasks] */
    size_t n_tasks, max_tasks;
    struct matrix_scratch *scratch; /* [n_threads] */
    unsigned n_threads;
    bool *is_claimed; /* [tensors of the file] */
    struct room rooms;
};

static void bind_slice(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct binder *binder = ctx;
    for (size_t i = begin; i < end; i++) {
        struct bind_task *task = &binder->tasks[i];
        task->status = matrix_bind(task->matrix, &task->source, &binder->model->kernels,
                                   &binder->scratch[thread], &task->error);
    }
}

/* What packed tensors will take, and those of the file that are read where they lie. */
static uint64_t weights_bytes(const struct binder *binder)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < binder->n_tasks; i++) {
        const struct matrix_source *source = &binder->tasks[i].source;
        uint64_t n = matrix_room(source, &binder->model->kernels);
        if (!n && source->is_multiplied && !source->device) n = source->tensor->data.n;
        if (!bitnet_add_u64(sum, n, &sum)) return UINT64_MAX;
    }
    return sum;
}

/* One block of memory for the trits of all tensors that may have some, so that huge pages are not
 * broken at the end of every matrix. A tensor that turns out to be dense leaves its place
 * untouched, which costs addresses only. */
static enum bitnet_status make_room(struct binder *binder, struct bitnet_error *err)
{
    struct bitnet_model *model = binder->model;
    enum bitnet_status status =
        budget_take(model->budget, weights_bytes(binder), "the weights", err);
    uint64_t n = 0;
    if (status) return status;
    bool fits = true;
    for (int pass = 0; pass < 2; pass++) {
        n = 0;
        for (size_t i = 0; i < binder->n_tasks && fits; i++) {
            struct matrix_source *source = &binder->tasks[i].source;
            uint64_t room = matrix_room(source, &model->kernels);
            if (pass && room) source->room = model->room + n;
            source->rooms = &binder->rooms;
            fits = room < UINT64_MAX && bitnet_align_up_u64(room, 64, &room) &&
                   bitnet_add_u64(n, room, &n) && n <= SIZE_MAX / 2;
        }
        if (n == 0 && fits) return BITNET_OK;
        if (fits && !pass) model->room = bitnet_alloc_pages((size_t)n);
        if (!model->room) break;
        model->room_bytes = n;
        binder->rooms.at = model->room;
        binder->rooms.end = model->room + n;
    }
    if (model->room) return BITNET_OK;
    return bitnet_fail(err, BITNET_MEMORY, "no memory for %" PRIu64 " bytes of weights", n);
}

/* The first task in file order that failed, so that the message does not depend on threads. */
static enum bitnet_status run_tasks(struct binder *binder, struct bitnet_error *err)
{
    bitnet_pool_run(binder->options->pool, binder->n_tasks, 1, bind_slice, binder);
    for (size_t i = 0; i < binder->n_tasks; i++) {
        if (!binder->tasks[i].status) continue;
        if (err) *err = binder->tasks[i].error;
        return binder->tasks[i].status;
    }
    return BITNET_OK;
}

/* The output matrix is half of what a token reads: it moves to where reading is fastest. */
static enum bitnet_status settle_tasks(struct binder *binder, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    bool to_pages = bitnet_pages_are_huge();
    for (size_t i = 0; i < binder->n_tasks && !status; i++) {
        struct bind_task *task = &binder->tasks[i];
        bool is_output = task->source.is_multiplied && !task->source.may_be_ternary;
        status = matrix_settle(task->matrix, &task->source, is_output && to_pages,
                               binder->options->pool, err);
    }
    return status;
}

/* Without an output matrix of its own a model multiplies with the token embedding. */
static void mark_multiplied(struct binder *binder)
{
    const struct layer *global = &binder->model->global;
    const struct matrix *embedding = &global->matrix[BITNET_ROLE_TOKEN_EMBED];
    const struct matrix *output = &global->matrix[BITNET_ROLE_OUTPUT];
    bool has_output = false;
    for (size_t i = 0; i < binder->n_tasks; i++)
        has_output = has_output || binder->tasks[i].matrix == output;
    for (size_t i = 0; i < binder->n_tasks; i++)
        binder->tasks[i].source.is_multiplied = !has_output || binder->tasks[i].matrix != embedding;
}

/* ------------------------------------------------------------------ roles */

static void claim(struct binder *binder, const struct bitnet_tensor *tensor)
{
    const struct bitnet_gguf *gguf = binder->model->gguf;
    size_t i = 0;
    while (tensor && bitnet_gguf_tensor_at(gguf, i) != tensor) i++;
    if (tensor) binder->is_claimed[i] = true;
}

/* From here to where the model's weights lie. */
static enum bitnet_status send_vector(struct bitnet_model *model, float **vector, size_t n,
                                      struct bitnet_error *err)
{
    const void *there;
    enum bitnet_status status =
        cuda_weights_put(model->device, *vector, n * sizeof **vector, &there, err);
    bitnet_free_aligned(*vector);
    *vector = (float *)(uintptr_t)there;
    return status;
}

/* Norms are small: always f32 in memory, whatever the file has. */
static enum bitnet_status bind_vector(float **vector, const struct bitnet_tensor *tensor,
                                      struct bitnet_error *err)
{
    struct bitnet_layout layout = {
        .type = tensor->type, .rows = 1, .cols = (size_t)tensor->dims[0]};
    const struct bitnet_codec *codec = bitnet_codec(tensor->type);
    if (!codec || !codec->decode_rows ||
        bitnet_dtype_info(tensor->type)->kind == BITNET_KIND_INTEGER)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "tensor %s: a vector of type %s cannot be used",
                           BITNET_QUOTE(tensor->name), bitnet_dtype_info(tensor->type)->label);
    *vector = bitnet_alloc_aligned(layout.cols * sizeof(float));
    if (!*vector)
        return bitnet_fail(err, BITNET_MEMORY, "no memory for tensor %s",
                           BITNET_QUOTE(tensor->name));
    codec->decode_rows(&layout, tensor->data.at, 1, *vector);
    return BITNET_OK;
}

/* The divisors of angles are read here, once; every other vector is where the weights are. */
static bool is_on_device(const struct bitnet_model *model, enum bitnet_role role)
{
    return model->device && role != BITNET_ROLE_ROPE_FREQS;
}

/* "blk.0.attn_q.weight" -> the tensor "blk.0.attn_q.scale", if there is one. */
static const struct bitnet_tensor *extra_scale(const struct bitnet_gguf *gguf,
                                               struct bitnet_str name)
{
    char text[128];
    if (!bitnet_str_ends(name, ".weight") || name.n >= sizeof text) return NULL;
    size_t stem = name.n - strlen(".weight");
    memcpy(text, name.at, stem);
    memcpy(text + stem, ".scale", sizeof ".scale");
    return bitnet_gguf_find_tensor(gguf, bitnet_str_of(text));
}

static void add_task(struct binder *binder, struct matrix *matrix,
                     const struct bitnet_tensor *tensor, bool is_linear)
{
    struct bind_task *task = &binder->tasks[binder->n_tasks++];
    task->matrix = matrix;
    task->source = (struct matrix_source){
        .gguf = binder->model->gguf,
        .tensor = tensor,
        .scale = is_linear ? extra_scale(binder->model->gguf, tensor->name) : NULL,
        .may_be_ternary = is_linear,
        .float_activations = binder->options->float_activations,
        .device = binder->model->device};
    claim(binder, task->source.scale);
}

static enum bitnet_status bind_role(struct binder *binder, const struct bitnet_tensor_role *role,
                                    uint32_t layer, struct layer *target, struct bitnet_error *err)
{
    struct bitnet_model *model = binder->model;
    const struct bitnet_tensor *tensor;
    enum bitnet_status status = bitnet_arch_find(&tensor, model->arch, &model->hparams, model->gguf,
                                                 role->role, layer, err);
    if (status || !tensor) return status;
    claim(binder, tensor);
    if (role->kind == BITNET_TENSOR_NORM) {
        float **vector = &target->norm[role->role];
        status = bind_vector(vector, tensor, err);
        if (status || !is_on_device(model, role->role)) return status;
        return send_vector(model, vector, (size_t)tensor->dims[0], err);
    }
    add_task(binder, &target->matrix[role->role], tensor, role->kind == BITNET_TENSOR_LINEAR);
    return BITNET_OK;
}

static bool has_layers(const struct bitnet_tensor_role *role)
{
    return strstr(role->gguf, "%u") != NULL;
}

static enum bitnet_status bind_roles(struct binder *binder, struct bitnet_error *err)
{
    struct bitnet_model *model = binder->model;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < model->arch->n_roles && !status; i++)
        if (!has_layers(&model->arch->roles[i]))
            status = bind_role(binder, &model->arch->roles[i], 0, &model->global, err);
    for (uint32_t layer = 0; layer < model->hparams.n_layers && !status; layer++)
        for (size_t i = 0; i < model->arch->n_roles && !status; i++)
            if (has_layers(&model->arch->roles[i]))
                status =
                    bind_role(binder, &model->arch->roles[i], layer, &model->layers[layer], err);
    return status;
}

static enum bitnet_status check_claims(const struct binder *binder, struct bitnet_error *err)
{
    const struct bitnet_gguf *gguf = binder->model->gguf;
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++)
        if (!binder->is_claimed[i])
            return bitnet_fail(
                err, BITNET_UNSUPPORTED, "tensor %s has no place in architecture '%s'",
                BITNET_QUOTE(bitnet_gguf_tensor_at(gguf, i)->name), binder->model->arch->name);
    return BITNET_OK;
}

/* ------------------------------------------------------------------ what follows from the roles */

static enum bitnet_status bind_embedding(struct bitnet_model *model, struct bitnet_error *err)
{
    struct embedding *e = &model->embedding;
    e->scale = model->arch->scales_embedding ? sqrtf((float)model->hparams.n_embd) : 1;
    const struct matrix *matrix = &model->global.matrix[BITNET_ROLE_TOKEN_EMBED];
    const struct matrix *output = &model->global.matrix[BITNET_ROLE_OUTPUT];
    const struct bitnet_tensor *tensor;
    model->output = output->rows ? output : matrix;
    if (model->device) return BITNET_OK; /* looks up rows of the matrix itself */
    enum bitnet_status status = bitnet_arch_find(&tensor, model->arch, &model->hparams, model->gguf,
                                                 BITNET_ROLE_TOKEN_EMBED, 0, err);
    if (!status) status = matrix_layout(&e->layout, model->gguf, tensor, err);
    if (status) return status;
    if (matrix->is_decoded) {
        e->decoded = (const float *)(const void *)matrix->bytes;
        return BITNET_OK;
    }
    e->codec = bitnet_codec(tensor->type);
    if (!e->codec || !e->codec->decode_rows)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "tensor %s: type %s cannot be decoded",
                           BITNET_QUOTE(tensor->name), bitnet_dtype_info(tensor->type)->label);
    e->bytes = matrix->pages ? matrix->pages : tensor->data.at;
    e->released = matrix->blocks ? tensor : NULL;
    e->row_bytes = bitnet_rows_bytes(&e->layout, 1);
    return BITNET_OK;
}

/* Angle of pair i at position p is p * steps[i]: base^(-2i/n_rot), over the linear scaling and the
 * pair's own divisor (Llama 3.1's rope_freqs). In double, narrowed only after cos and sin. */
static double *rope_steps(const struct bitnet_hparams *hp, float base, float scale,
                          const float *divisors)
{
    size_t n = hp->n_rot / 2;
    double *steps = bitnet_alloc(n + 1, sizeof *steps);
    for (size_t i = 0; steps && i < n; i++) {
        double step = pow((double)base, -2.0 * (double)i / (double)hp->n_rot);
        steps[i] = step / (double)scale / (divisors ? (double)divisors[i] : 1);
    }
    return steps;
}

static enum bitnet_status make_rope_steps(struct bitnet_model *model, struct bitnet_error *err)
{
    const struct bitnet_hparams *hp = &model->hparams;
    model->rope_steps =
        rope_steps(hp, hp->rope_base, hp->rope_scale, model->global.norm[BITNET_ROLE_ROPE_FREQS]);
    if (hp->window) model->local_rope_steps = rope_steps(hp, hp->local_rope_base, 1, NULL);
    if (!model->rope_steps || (hp->window && !model->local_rope_steps))
        return bitnet_fail(err, BITNET_MEMORY, "no memory for rope");
    return BITNET_OK;
}

static enum bitnet_status send_rope_steps(struct bitnet_model *model, struct bitnet_error *err)
{
    const size_t n_bytes = model->hparams.n_rot / 2 * sizeof(double);
    const void *steps = NULL, *local_steps = NULL;
    enum bitnet_status status =
        cuda_weights_put(model->device, model->rope_steps, n_bytes, &steps, err);
    if (!status && model->local_rope_steps)
        status =
            cuda_weights_put(model->device, model->local_rope_steps, n_bytes, &local_steps, err);
    model->device_rope_steps = steps;
    model->device_local_rope_steps = local_steps;
    return status;
}

static void count_sizes(struct bitnet_model *model, const struct binder *binder)
{
    for (size_t i = 0; i < bitnet_gguf_tensor_count(model->gguf); i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(model->gguf, i);
        model->n_parameters += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
        model->tensor_bytes += t->data.n;
    }
    for (size_t i = 0; i < binder->n_tasks; i++)
        if (binder->tasks[i].matrix->in_room || binder->tasks[i].matrix->decoded)
            model->packed_bytes += binder->tasks[i].matrix->n_bytes;
    if (!model->device) return;
    struct bitnet_cuda_stats stats;
    model->device->api->stats(model->device->cuda, &stats);
    model->packed_bytes = stats.memory_used;
}

/* True when the architecture is used for ternary models only. */
static bool is_ternary_kind(const struct bitnet_model *model)
{
    return model->arch->has_sub_norms || model->layers[0].norm[BITNET_ROLE_ATTN_Q_NORM_IN];
}

/* One line when a model runs otherwise than its kind should. */
static void tell_exceptions(const struct binder *binder)
{
    const struct bitnet_log *log = binder->options->log;
    const struct bind_task *inexact = NULL;
    size_t n_inexact = 0;
    for (size_t i = binder->n_tasks; i-- > 0;)
        if (binder->tasks[i].matrix->is_inexact) n_inexact++, inexact = &binder->tasks[i];
    if (inexact && is_ternary_kind(binder->model))
        bitnet_log_say(log, BITNET_LOG_WARNING,
                       "%zu linear layers are not exactly ternary and run with float activations "
                       "(first: %s, %s)",
                       n_inexact, BITNET_QUOTE(inexact->source.tensor->name),
                       bitnet_dtype_info(inexact->source.tensor->type)->label);
}

/* Tensors of this type that no kernel reads, from task `first` on. */
static size_t count_decoded(const struct binder *binder, size_t first, enum bitnet_dtype type)
{
    size_t n = 0;
    for (size_t i = first; i < binder->n_tasks; i++)
        n += binder->tasks[i].matrix->is_decoded && binder->tasks[i].source.tensor->type == type;
    return n;
}

/* One line for each type that was decoded to F32, because no kernel of the model's place reads it:
 * a warning, or the error that strict_device asks for. */
static enum bitnet_status tell_decoded(const struct binder *binder, struct bitnet_error *err)
{
    const struct cuda_weights *device = binder->model->device;
    bool is_told[BITNET_DTYPE_COUNT] = {false};
    for (size_t i = 0; i < binder->n_tasks; i++) {
        const struct bind_task *task = &binder->tasks[i];
        const enum bitnet_dtype type = task->source.tensor->type;
        const char *what = task->source.is_multiplied ? "products" : "look-ups";
        char text[400];
        if (!task->matrix->is_decoded || is_told[type]) continue;
        is_told[type] = true;
        snprintf(text, sizeof text,
                 "%s has no kernel for %s of type %s: %zu tensors were decoded to F32 (first: %s)",
                 device ? device->id : "the CPU", what, bitnet_dtype_info(type)->label,
                 count_decoded(binder, i, type), BITNET_QUOTE(task->source.tensor->name));
        if (binder->options->strict_device) return bitnet_fail(err, BITNET_UNSUPPORTED, "%s", text);
        bitnet_log_say(binder->options->log, BITNET_LOG_WARNING, "%s", text);
    }
    return BITNET_OK;
}

/* ------------------------------------------------------------------ open and close */

static enum bitnet_status binder_init(struct binder *binder, struct bitnet_error *err)
{
    struct bitnet_model *model = binder->model;
    size_t n_tensors = bitnet_gguf_tensor_count(model->gguf);
    binder->n_threads = binder->options->pool ? bitnet_pool_threads(binder->options->pool) : 1;
    model->layers = bitnet_alloc(model->hparams.n_layers, sizeof *model->layers);
    binder->tasks = bitnet_alloc(n_tensors + 1, sizeof *binder->tasks);
    binder->scratch = bitnet_alloc(binder->n_threads, sizeof *binder->scratch);
    binder->is_claimed = bitnet_alloc(n_tensors + 1, sizeof *binder->is_claimed);
    if (!model->layers || !binder->tasks || !binder->scratch || !binder->is_claimed)
        return bitnet_fail(err, BITNET_MEMORY, "no memory for %zu tensors", n_tensors);
    return BITNET_OK;
}

static void binder_free(struct binder *binder)
{
    for (unsigned i = 0; binder->scratch && i < binder->n_threads; i++)
        matrix_scratch_free(&binder->scratch[i]);
    bitnet_free(binder->is_claimed);
    bitnet_free(binder->scratch);
    bitnet_free(binder->tasks);
}

static bool is_read_in_place(const struct binder *binder, const struct bitnet_tensor *tensor)
{
    for (size_t i = 0; i < binder->n_tasks; i++)
        if (binder->tasks[i].source.tensor == tensor)
            return binder->tasks[i].matrix->bytes == tensor->data.at;
    return false;
}

/* A page that is read brings its neighbours: those of vectors, and those beside what was packed,
 * are of no use any more. */
static void release_rest(const struct binder *binder)
{
    const struct bitnet_gguf *gguf = binder->model->gguf;
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++) {
        const struct bitnet_tensor *tensor = bitnet_gguf_tensor_at(gguf, i);
        if (!is_read_in_place(binder, tensor)) bitnet_gguf_release(gguf, tensor);
    }
}

static enum bitnet_status bind(struct bitnet_model *model,
                               const struct bitnet_model_options *options, struct bitnet_error *err)
{
    struct binder binder = {.model = model, .options = options};
    enum bitnet_status status = binder_init(&binder, err);
    if (!status) status = bind_roles(&binder, err);
    if (!status) status = check_claims(&binder, err);
    if (!status) mark_multiplied(&binder);
    if (!status) status = make_room(&binder, err);
    if (!status) status = run_tasks(&binder, err);
    if (!status) status = settle_tasks(&binder, err);
    if (!status) release_rest(&binder);
    if (!status) status = bind_embedding(model, err);
    if (!status) status = make_rope_steps(model, err);
    if (!status && model->device) status = send_rope_steps(model, err);
    if (!status) count_sizes(model, &binder);
    if (!status) tell_exceptions(&binder);
    if (!status) status = tell_decoded(&binder, err);
    binder_free(&binder);
    return status;
}

/* A model without a tokenizer still runs on tokens; one whose own is damaged, with nothing to stand
 * in for it, or whose owner named one that cannot be used, does not open. */
static enum bitnet_status find_tokenizer(struct bitnet_model *model,
                                         const struct bitnet_model_options *options,
                                         struct bitnet_error *err)
{
    struct bitnet_discovery_options where =
        options->tokenizer ? *options->tokenizer : (struct bitnet_discovery_options){0};
    const char *path = bitnet_gguf_path(model->gguf); /* "" for a model in memory */
    const struct bitnet_discovery_model what = {.path = *path ? path : NULL, .gguf = model->gguf};
    if (!where.log) where.log = options->log;
    enum bitnet_status status = bitnet_tokenizer_discover(&model->tokenizer, &model->discovery,
                                                          &what, &where, &model->no_tokenizer);
    if (!status || (!where.path && (status == BITNET_NOT_FOUND || status == BITNET_OFFLINE)))
        return BITNET_OK;
    if (err) *err = model->no_tokenizer;
    return status;
}

static void choose_kernels(struct bitnet_model *model, const struct bitnet_model_options *options)
{
    uint32_t cpu = bitnet_cpu_detect();
    if (options->cpu_mask || options->cpu_is_given) cpu &= options->cpu_mask;
    bitnet_kernels_select(&model->kernels, cpu);
    bitnet_gate_fn *const gates[] = {[BITNET_GATE_SILU] = model->kernels.gate_silu,
                                     [BITNET_GATE_RELU2] = model->kernels.gate_relu2,
                                     [BITNET_GATE_GELU] = model->kernels.gate_gelu};
    const struct bitnet_hparams *hp = &model->hparams;
    model->gate = gates[model->arch->gate];
    model->query_scale =
        hp->query_scale != 0 ? hp->query_scale : (float)(1.0 / sqrt((double)hp->head_dim));
}

static void free_layer(const struct bitnet_model *model, struct layer *layer)
{
    for (size_t role = 0; role < BITNET_ROLE_COUNT; role++) {
        if (!is_on_device(model, (enum bitnet_role)role)) bitnet_free_aligned(layer->norm[role]);
        matrix_free(&layer->matrix[role]);
    }
}

/* All that bind() made. */
static void unbind(struct bitnet_model *model)
{
    for (uint32_t i = 0; model->layers && i < model->hparams.n_layers; i++)
        free_layer(model, &model->layers[i]);
    free_layer(model, &model->global);
    bitnet_free_pages(model->room, (size_t)model->room_bytes);
    bitnet_free(model->layers);
    bitnet_free(model->rope_steps);
    bitnet_free(model->local_rope_steps);
    model->global = (struct layer){0};
    model->layers = NULL;
    model->room = NULL;
    model->rope_steps = model->local_rope_steps = NULL;
    model->room_bytes = model->n_parameters = model->tensor_bytes = model->packed_bytes = 0;
    if (model->budget) model->budget->used = 0; /* no context is left */
}

/* Where placement wants it; on the CPU when the device fails on the way and that may be. */
static enum bitnet_status bind_somewhere(struct bitnet_model *model,
                                         const struct bitnet_model_options *options,
                                         struct bitnet_error *err)
{
    struct bitnet_error own;
    enum bitnet_status status = bind(model, options, &own);
    if (status) {
        const bool was_on_device = model->device != NULL;
        if (was_on_device) unbind(model);
        if (was_on_device && placement_may_fall_back(model, options, &own))
            return bind(model, options, err);
        if (err) *err = own;
    } else if (model->device) { /* what passed through here on its way to the device */
        bitnet_free_pages(model->room, (size_t)model->room_bytes);
        model->room = NULL;
    }
    return status;
}

static enum bitnet_status open_and_bind(struct bitnet_model *model, const char *path,
                                        const struct bitnet_model_options *options,
                                        struct bitnet_error *err)
{
    struct bitnet_gguf_options gguf_options = {.log = options->log};
    enum bitnet_status status = BITNET_OK;
    if (!model->gguf_is_borrowed) status = bitnet_gguf_open(&model->gguf, path, &gguf_options, err);
    if (status) return status; /* its text names the path already */
    status = bitnet_arch_validate(model->gguf, err);
    if (!status) status = bitnet_hparams_from_gguf(&model->hparams, &model->arch, model->gguf, err);
    if (!status) {
        status = find_tokenizer(model, options, err);
        if (status) return status; /* so does this one's */
    }
    if (!status) choose_kernels(model, options);
    if (!status) status = placement_choose(model, options, err);
    if (!status) status = bind_somewhere(model, options, err);
    if (!status) status = bitnet_gguf_unchanged(model->gguf, err);
    if (status) return bitnet_error_prefix(err, status, "%s", BITNET_QUOTE(bitnet_str_of(path)));
    return BITNET_OK;
}

/* `gguf` NULL: the file at `path` is opened. */
static enum bitnet_status make_model(struct bitnet_model **model, const char *path,
                                     struct bitnet_gguf *gguf,
                                     const struct bitnet_model_options *options,
                                     struct bitnet_error *err)
{
    static const struct bitnet_model_options defaults = {0};
    *model = NULL;
    struct bitnet_model *made = bitnet_alloc(1, sizeof *made);
    if (!made) return bitnet_fail(err, BITNET_MEMORY, "no memory for a model");
    if (!options) options = &defaults;
    made->gguf = gguf;
    made->gguf_is_borrowed = gguf != NULL;
    made->budget = bitnet_alloc(1, sizeof *made->budget);
    enum bitnet_status status = BITNET_OK;
    if (!made->budget) status = bitnet_fail(err, BITNET_MEMORY, "no memory for a model");
    if (!status) made->budget->limit = options->memory_limit;
    if (!status) status = open_and_bind(made, path, options, err);
    if (status)
        bitnet_model_close(made);
    else
        *model = made;
    return status;
}

enum bitnet_status bitnet_model_open(struct bitnet_model **model, const char *path,
                                     const struct bitnet_model_options *options,
                                     struct bitnet_error *err)
{
    return make_model(model, path, NULL, options, err);
}

enum bitnet_status bitnet_model_from_gguf(struct bitnet_model **model, struct bitnet_gguf *gguf,
                                          const struct bitnet_model_options *options,
                                          struct bitnet_error *err)
{
    return make_model(model, bitnet_gguf_path(gguf), gguf, options, err);
}

void bitnet_model_close(struct bitnet_model *model)
{
    if (!model) return;
    unbind(model);
    cuda_weights_close(model->device);
    bitnet_tokenizer_free(model->tokenizer);
    if (!model->gguf_is_borrowed) bitnet_gguf_close(model->gguf);
    bitnet_discovery_free(&model->discovery);
    bitnet_free(model->budget);
    bitnet_free(model);
}

/* ------------------------------------------------------------------ what it is */

const struct bitnet_hparams *bitnet_model_hparams(const struct bitnet_model *model)
{
    return &model->hparams;
}

const struct bitnet_arch *bitnet_model_arch(const struct bitnet_model *model)
{
    return model->arch;
}

const struct bitnet_tokenizer *bitnet_model_tokenizer(const struct bitnet_model *model)
{
    return model->tokenizer;
}

const struct bitnet_discovery *bitnet_model_discovery(const struct bitnet_model *model)
{
    return &model->discovery;
}

enum bitnet_status bitnet_model_need_tokenizer(const struct bitnet_model *model,
                                               const struct bitnet_tokenizer **tokenizer,
                                               struct bitnet_error *err)
{
    *tokenizer = model->tokenizer;
    if (model->tokenizer) return BITNET_OK;
    if (err) *err = model->no_tokenizer;
    return model->no_tokenizer.status;
}

const struct bitnet_gguf *bitnet_model_gguf(const struct bitnet_model *model)
{
    return model->gguf;
}

const char *bitnet_model_kernels(const struct bitnet_model *model)
{
    return model->device ? model->device->kernels : model->kernels.name;
}

const char *bitnet_model_device(const struct bitnet_model *model)
{
    return model->device ? model->device->id : "cpu";
}

const char *bitnet_model_device_reason(const struct bitnet_model *model)
{
    return model->device_reason;
}

uint64_t bitnet_model_parameters(const struct bitnet_model *model)
{
    return model->n_parameters;
}

uint64_t bitnet_model_tensor_bytes(const struct bitnet_model *model)
{
    return model->tensor_bytes;
}

uint64_t bitnet_model_packed_bytes(const struct bitnet_model *model)
{
    return model->packed_bytes;
}
