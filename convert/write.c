/* Executing a plan: one tensor (or block of rows) in memory at a time, each in two steps: numbers
 * from the source by all threads, then bytes by the codec. The file is verified before it gets its
 * name, and a source that changed meanwhile voids everything.
 *
 * Which thread computes which rows never shows in the bytes: a row is computed by one thread from
 * its own numbers, and a matrix has its scale from a sum of defined order (ternary.h). */
#include "plan.h"

#include "proof.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>

/* Bytes of a copied tensor that are written at once. */
#define COPY_BYTES (8u << 20)

/* --- the workspace --- */

size_t rows_per_block(const struct bitnet_plan *plan, const struct plan_item *item)
{
    size_t row_bytes = bitnet_rows_bytes(&item->layout, 1);
    size_t rows = plan->block_bytes / (row_bytes ? row_bytes : 1);
    return rows == 0 ? 1 : rows < item->layout.rows ? rows : item->layout.rows;
}

static void raise_to(size_t *a, size_t b)
{
    if (b > *a) *a = b;
}

/* Columns times rows of a matrix as bytes of trits, scales as floats. */
static void measure_item(struct workspace_sizes *s, const struct bitnet_plan *plan, size_t i)
{
    const struct plan_item *item = &plan->items[i];
    const struct bitnet_layout *to = &item->layout, *from = &item->weight.from;
    if (item->mode == PLAN_BY_COPY) return;
    if (item->weight.kind == WEIGHT_ENCODED) {
        raise_to(&s->source_trits, from->rows * from->cols);
        raise_to(&s->source_scales, bitnet_scale_count(from) * sizeof(float));
    }
    if (item->mode == PLAN_BY_ROWS) {
        raise_to(&s->bytes, bitnet_rows_bytes(to, rows_per_block(plan, item)));
        return;
    }
    raise_to(&s->trits, to->rows * to->cols);
    raise_to(&s->scales, bitnet_scale_count(to) * sizeof(float));
    raise_to(&s->bytes, (size_t)plan->rows[i].n_bytes);
}

struct workspace_sizes workspace_measure(const struct bitnet_plan *plan)
{
    struct workspace_sizes s = {0};
    size_t n_threads = bitnet_pool_threads(plan->pool), tallest = 0;
    for (size_t i = 0; i < plan->n; i++) {
        const struct plan_item *item = &plan->items[i];
        raise_to(&s.widest, item->layout.cols);
        raise_to(&tallest, item->layout.rows);
        measure_item(&s, plan, i);
    }
    raise_to(&s.trits, n_threads * s.widest);
    s.row = n_threads * 2 * s.widest * sizeof(float);
    s.row_sums = tallest * sizeof(double);
    return s;
}

uint64_t workspace_total(const struct workspace_sizes *s)
{
    return (uint64_t)s->trits + 2 * (uint64_t)s->scales + s->source_trits + s->source_scales +
           s->bytes + s->row + s->row_sums;
}

static enum bitnet_status workspace_take(struct workspace *space, const struct bitnet_plan *plan,
                                         struct bitnet_error *err)
{
    struct workspace_sizes s = workspace_measure(plan);
    const struct {
        void **field;
        size_t n_bytes;
    } fields[] = {
        {(void **)&space->trits, s.trits},
        {(void **)&space->scales, s.scales},
        {(void **)&space->expected, s.scales},
        {(void **)&space->source_trits, s.source_trits},
        {(void **)&space->source_scales, s.source_scales},
        {(void **)&space->bytes, s.bytes},
        {(void **)&space->row, s.row},
        {(void **)&space->row_sums, s.row_sums},
    };
    space->widest = s.widest;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *fields[i].field = bitnet_alloc_aligned(fields[i].n_bytes);
        if (!*fields[i].field)
            return bitnet_fail(err, BITNET_MEMORY, "no memory for a workspace of %" PRIu64 " bytes",
                               workspace_total(&s));
    }
    return BITNET_OK;
}

static void workspace_free(struct workspace *space)
{
    bitnet_free_aligned(space->trits);
    bitnet_free_aligned(space->scales);
    bitnet_free_aligned(space->expected);
    bitnet_free_aligned(space->source_trits);
    bitnet_free_aligned(space->source_scales);
    bitnet_free_aligned(space->bytes);
    bitnet_free_aligned(space->row);
    bitnet_free_aligned(space->row_sums);
}

static size_t slice_rows(size_t cols)
{
    size_t rows = 65536 / cols;
    return rows ? rows : 1;
}

/* --- one tensor by trits --- */

struct trits_work {
    const struct plan_item *item;
    const struct workspace *space;
};

static void read_trits(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct trits_work *w = ctx;
    size_t cols = w->item->layout.cols;
    float *scratch = w->space->row + (size_t)thread * 2 * w->space->widest;
    for (size_t r = begin; r < end; r++)
        weight_trits(&w->item->weight, r, scratch, w->space->trits + r * cols);
}

/* A scale that binary16 turns into zero or infinity would change every weight beyond recognition;
 * one that is merely rounded is reported. */
static enum bitnet_status check_scales(const struct plan_item *item, const float *scales, size_t n,
                                       struct bitnet_error *err)
{
    for (size_t i = 0; i < n; i++) {
        float s = scales[i], stored = s;
        if (!isfinite(s)) return bitnet_fail(err, BITNET_INEXACT, "scale %zu is infinite", i);
        if (item->codec->scales_are_f16) stored = bitnet_f16_to_f32(bitnet_f32_to_f16(s));
        if (!isfinite(stored) || (stored == 0 && s != 0))
            return bitnet_fail(err, BITNET_INEXACT,
                               "its scale %.9g does not fit into the f16 of %s", (double)s,
                               bitnet_dtype_info(item->layout.type)->label);
    }
    return BITNET_OK;
}

static enum bitnet_status write_trits(const struct bitnet_plan *plan, size_t i,
                                      struct workspace *space, struct bitnet_gguf_writer *writer,
                                      struct bitnet_error *err)
{
    const struct plan_item *item = &plan->items[i];
    const struct bitnet_layout *layout = &item->layout;
    size_t n_bytes = (size_t)plan->rows[i].n_bytes;
    const int8_t *trits = item->weight.loaded;
    if (!trits) {
        struct trits_work work = {item, space};
        bitnet_pool_run(plan->pool, layout->rows, slice_rows(layout->cols), read_trits, &work);
        trits = space->trits;
    }
    enum bitnet_status status = weight_regroup(&item->weight, trits, layout, space->scales, err);
    if (!status) status = check_scales(item, space->scales, bitnet_scale_count(layout), err);
    if (status) return status;
    item->codec->encode_trits(layout, trits, space->scales, space->bytes, n_bytes);
    return bitnet_gguf_tensor_write(writer, space->bytes, n_bytes, err);
}

/* --- one tensor by rows of floats --- */

struct rows_work {
    const struct plan_item *item;
    const struct workspace *space;
    size_t first_row;          /* of the block */
    uint32_t too_large;        /* a magnitude (bits) from here on cannot be written */
    _Atomic size_t unwritable; /* lowest row that holds one; SIZE_MAX: none */
};

static void lower_to(_Atomic size_t *a, size_t b)
{
    size_t seen = atomic_load(a);
    while (b < seen && !atomic_compare_exchange_weak(a, &seen, b)) {
    }
}

static void encode_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct rows_work *w = ctx;
    const struct bitnet_layout *layout = &w->item->layout;
    float *row = w->space->row + (size_t)thread * 2 * w->space->widest;
    int8_t *trits = w->space->trits + (size_t)thread * w->space->widest;
    size_t row_bytes = bitnet_rows_bytes(layout, 1);
    for (size_t r = begin; r < end; r++) {
        weight_floats(&w->item->weight, w->first_row + r, trits, row);
        if (floats_largest(row, layout->cols) >= w->too_large)
            lower_to(&w->unwritable, w->first_row + r);
        w->item->codec->encode_rows(layout, row, 1, w->item->importance,
                                    w->space->bytes + r * row_bytes);
    }
}

/* Magnitudes that would round to infinity. For types of blocks only what is not finite already. */
static uint32_t too_large_for(enum bitnet_dtype type)
{
    if (type == BITNET_DTYPE_f16) return 0x477ff000u;  /* 65520: half way past the largest f16 */
    if (type == BITNET_DTYPE_bf16) return 0x7f7f8000u; /* half way past the largest bf16 */
    return TERNARY_NOT_FINITE;
}

static enum bitnet_status fail_unwritable(const struct rows_work *w, struct bitnet_error *err)
{
    size_t r = atomic_load(&w->unwritable), c = 0;
    float *row = w->space->row;
    weight_floats(&w->item->weight, r, w->space->trits, row);
    while (floats_largest(row + c, 1) < w->too_large) c++;
    size_t source_row = weight_source_row(&w->item->weight, r);
    if (isfinite(row[c]))
        return bitnet_fail(err, BITNET_INEXACT, "value [%zu][%zu] is %.9g, too large for %s",
                           source_row, c, (double)row[c],
                           bitnet_dtype_info(w->item->layout.type)->label);
    return bitnet_fail(err, BITNET_FORMAT, "value [%zu][%zu] is %s", source_row, c,
                       isnan(row[c]) ? "nan" : "infinite");
}

static enum bitnet_status write_rows(const struct bitnet_plan *plan, size_t i,
                                     struct workspace *space, struct bitnet_gguf_writer *writer,
                                     struct bitnet_error *err)
{
    const struct plan_item *item = &plan->items[i];
    struct rows_work work = {.item = item,
                             .space = space,
                             .too_large = too_large_for(item->layout.type),
                             .unwritable = SIZE_MAX};
    size_t block = rows_per_block(plan, item), rows = item->layout.rows;
    enum bitnet_status status = BITNET_OK;
    for (size_t r = 0; r < rows && !status; r += block) {
        size_t n = rows - r < block ? rows - r : block;
        work.first_row = r;
        bitnet_pool_run(plan->pool, n, slice_rows(item->layout.cols), encode_rows, &work);
        if (atomic_load(&work.unwritable) != SIZE_MAX)
            status = fail_unwritable(&work, err);
        else if (plan_cancelled(plan))
            status = bitnet_fail(err, BITNET_CANCELLED, "stopped on request; nothing was kept");
        else
            status = bitnet_gguf_tensor_write(writer, space->bytes,
                                              bitnet_rows_bytes(&item->layout, n), err);
    }
    return status;
}

/* --- one tensor as it is --- */

static enum bitnet_status write_copy(const struct bitnet_plan *plan, size_t i,
                                     struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    struct bitnet_bytes bytes = plan->items[i].gguf_tensor->data;
    enum bitnet_status status = BITNET_OK;
    for (size_t at = 0; at < bytes.n && !status; at += COPY_BYTES) {
        size_t n = bytes.n - at < COPY_BYTES ? bytes.n - at : COPY_BYTES;
        status = plan_cancelled(plan)
                     ? bitnet_fail(err, BITNET_CANCELLED, "stopped on request; nothing was kept")
                     : bitnet_gguf_tensor_write(writer, bytes.at + at, n, err);
    }
    return status;
}

/* --- all tensors --- */

/* What the source's numbers are before rows are read: scales found, codes looked at. */
static enum bitnet_status prepare(struct bitnet_plan *plan, struct plan_item *item,
                                  const struct workspace *space, struct bitnet_error *err)
{
    switch (item->weight.kind) {
    case WEIGHT_ENCODED:
        return weight_load(&item->weight, space->source_trits, space->source_scales, err);
    case WEIGHT_MASTERS:
    case WEIGHT_PACKED:
        return weight_measure(&item->weight, plan->pool, NULL, err);
    default:
        return BITNET_OK;
    }
}

static enum bitnet_status write_tensor(struct bitnet_plan *plan, size_t i, struct workspace *space,
                                       struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    struct plan_item *item = &plan->items[i];
    if (item->mode == PLAN_BY_COPY) return write_copy(plan, i, writer, err);
    enum bitnet_status status = prepare(plan, item, space, err);
    plan->rows[i].scale = item->weight.scale;
    if (!status)
        status = item->mode == PLAN_BY_TRITS ? write_trits(plan, i, space, writer, err)
                                             : write_rows(plan, i, space, writer, err);
    item->weight.loaded = NULL; /* the workspace is the next tensor's */
    if (status == BITNET_FORMAT || status == BITNET_INEXACT)
        bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(plan->rows[i].source));
    return status;
}

static enum bitnet_status write_tensors(struct bitnet_plan *plan, struct workspace *space,
                                        struct bitnet_gguf_set *set, struct bitnet_error *err)
{
    const struct bitnet_convert_options *o = &plan->options;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < plan->n && !status; i++) {
        if (plan_cancelled(plan))
            return bitnet_fail(err, BITNET_CANCELLED, "stopped on request; nothing was kept");
        status = write_tensor(plan, i, space, bitnet_gguf_set_of(set, i), err);
        if (!status) plan_release(plan, i);
        if (!status && o->progress) o->progress(o->user, i + 1, plan->n, plan->rows[i].target);
    }
    return status;
}

static enum bitnet_status verify(struct bitnet_plan *plan, struct workspace *space,
                                 struct bitnet_gguf_set *set, struct bitnet_error *err)
{
    struct bitnet_gguf *gguf = NULL;
    if (plan->options.verify == BITNET_VERIFY_NONE) return BITNET_OK;
    enum bitnet_status status = bitnet_gguf_set_reopen(set, &gguf, err);
    if (!status) status = plan_verify(plan, gguf, space, err);
    bool runs =
        plan->options.verify == BITNET_VERIFY_LOGITS || plan->options.verify == BITNET_VERIFY_PPL;
    if (!status && runs) status = plan_prove(plan, gguf, err);
    bitnet_gguf_close(gguf);
    return status;
}

/* The model first: if the little file cannot follow, what is there is still complete. */
static enum bitnet_status publish(struct bitnet_gguf_set *set, struct bitnet_output *ini,
                                  struct bitnet_error *err)
{
    enum bitnet_status status = bitnet_gguf_set_finish(set, err);
    if (status || !ini) {
        bitnet_output_abort(ini);
        return status;
    }
    status = bitnet_output_finish(ini, err);
    return status ? bitnet_error_prefix(err, status, "the model file is complete, but") : BITNET_OK;
}

/* Where the model will be: the file, or part 1. */
static enum bitnet_status keep_path(struct bitnet_plan *plan, const struct bitnet_gguf_set *set,
                                    struct bitnet_error *err)
{
    const char *path = bitnet_gguf_set_path(set, 0);
    bitnet_free(plan->published);
    plan->published = bitnet_alloc(strlen(path) + 1, 1);
    if (!plan->published) return bitnet_fail(err, BITNET_MEMORY, "no memory for the path");
    memcpy(plan->published, path, strlen(path));
    return BITNET_OK;
}

enum bitnet_status bitnet_plan_run(struct bitnet_plan *plan, const char *path,
                                   struct bitnet_error *err)
{
    struct bitnet_gguf_set *set = NULL;
    struct bitnet_output *ini = NULL;
    struct workspace space = {0};
    enum bitnet_status status = plan_new_set(plan, path, &set, err);
    if (!status) status = keep_path(plan, set, err);
    if (!status) status = workspace_take(&space, plan, err);
    if (!status) status = bitnet_gguf_set_begin(set, err);
    if (!status) status = plan_begin_ini(plan, path, &ini, err);
    if (!status) status = write_tensors(plan, &space, set, err);
    if (!status) status = verify(plan, &space, set, err);
    if (!status) status = plan_source_unchanged(plan, err);
    workspace_free(&space);
    if (!status) return publish(set, ini, err);
    bitnet_output_abort(ini);
    bitnet_gguf_set_abort(set);
    return status;
}
