/* Executing a plan: a block of rows in memory at a time. Threads take its bands: numbers from the
 * source, trits and scales from them, bytes from those, each into its place in the block, which is
 * then written. The file is verified before it gets its name, and a source that changed meanwhile
 * voids everything.
 *
 * Which thread computes which rows never shows in the bytes: a band is computed by one thread from
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

/* --- bands --- */

/* A block of rows that is being encoded. */
struct block {
    const struct plan_item *item;
    const struct workspace *space;
    struct bitnet_layout layout; /* the rows as a matrix; first_row is theirs */
    size_t band_rows;
    uint32_t too_large;       /* by rows: a magnitude (bits) from here on cannot be written */
    _Atomic size_t first_bad; /* lowest row of a band that failed; SIZE_MAX: none */
};

static void lower_to(_Atomic size_t *a, size_t b)
{
    size_t seen = atomic_load(a);
    while (b < seen && !atomic_compare_exchange_weak(a, &seen, b)) {
    }
}

static size_t rows_in_band(const struct block *block, size_t row)
{
    size_t end = block->layout.first_row + block->layout.rows;
    return end - row < block->band_rows ? end - row : block->band_rows;
}

/* The band's trits [n_rows][cols]: on the bench, or where they were loaded. */
static const int8_t *band_trits(const struct weight *band, size_t row, size_t n_rows,
                                const struct bench *bench)
{
    if (band->loaded) return band->loaded;
    for (size_t r = 0; r < n_rows; r++)
        weight_trits(band, row + r, bench->row, bench->trits + r * band->cols);
    return bench->trits;
}

/* --- by trits --- */

/* The rounding that docs/conversion.md tells of; a number below binary16's normal ones (6e-5) has
 * fewer bits and may be off by more. */
#define F16_ROUNDING (1.0f / 2048)

static enum bitnet_status fail_rounding(float s, float stored, enum bitnet_dtype type,
                                        struct bitnet_error *err)
{
    bitnet_fail(err, BITNET_INEXACT,
                "its scale %.9g becomes %.9g in the f16 of %s, off by %.2g %% where rounding is at "
                "most 0.049 %%",
                (double)s, (double)stored, bitnet_dtype_info(type)->label,
                100 * fabs((double)stored - (double)s) / fabs((double)s));
    return bitnet_hint(err, BITNET_INEXACT, "--allow-lossy writes it all the same, and reports it");
}

/* A scale that binary16 turns into zero or infinity would change every weight beyond recognition;
 * one that is merely rounded is reported. */
static enum bitnet_status check_scales(const struct bitnet_layout *to_band, const float *scales,
                                       bool is_lossy_allowed, struct bitnet_error *err)
{
    const struct bitnet_codec *codec = bitnet_codec(to_band->type);
    size_t n = bitnet_scale_count(to_band), per_row = n / to_band->rows;
    for (size_t i = 0; i < n; i++) {
        float s = scales[i], stored = s;
        if (!isfinite(s))
            return bitnet_fail(err, BITNET_INEXACT, "scale %zu is infinite",
                               to_band->first_row * per_row + i);
        if (codec->scales_are_f16) stored = bitnet_f16_to_f32(bitnet_f32_to_f16(s));
        if (!isfinite(stored) || (stored == 0 && s != 0))
            return bitnet_fail(err, BITNET_INEXACT,
                               "its scale %.9g does not fit into the f16 of %s", (double)s,
                               bitnet_dtype_info(to_band->type)->label);
        if (!is_lossy_allowed && fabsf(stored - s) > fabsf(s) * F16_ROUNDING)
            return fail_rounding(s, stored, to_band->type, err);
    }
    return BITNET_OK;
}

static enum bitnet_status encode_trits(const struct block *block, const struct weight *band,
                                       size_t row, size_t n_rows, const struct bench *bench,
                                       struct bitnet_error *err)
{
    struct bitnet_layout to = bitnet_band_layout(&block->item->layout, row, n_rows);
    const int8_t *trits = band_trits(band, row, n_rows, bench);
    enum bitnet_status status = weight_band_scales(band, trits, row, &to, bench->scales, err);
    if (!status) status = check_scales(&to, bench->scales, band->joins_by_mean, err);
    if (!status)
        bitnet_band_encode(&block->layout, row - block->layout.first_row, n_rows, trits,
                           bench->scales, bench->bytes, block->space->bytes);
    return status;
}

/* --- by rows of floats --- */

/* Magnitudes that would round to infinity. For types of blocks only what is not finite already. */
static uint32_t too_large_for(enum bitnet_dtype type)
{
    if (type == BITNET_DTYPE_f16) return 0x477ff000u;  /* 65520: half way past the largest f16 */
    if (type == BITNET_DTYPE_bf16) return 0x7f7f8000u; /* half way past the largest bf16 */
    return TERNARY_NOT_FINITE;
}

static enum bitnet_status fail_unwritable(const struct block *block, const float *values,
                                          size_t row, struct bitnet_error *err)
{
    size_t c = 0;
    while (weight_loops(&block->item->weight)->largest(values + c, 1) < block->too_large) c++;
    size_t source_row = weight_source_row(&block->item->weight, row);
    if (isfinite(values[c]))
        return bitnet_fail(err, BITNET_INEXACT, "value [%zu][%zu] is %.9g, too large for %s",
                           source_row, c, (double)values[c],
                           bitnet_dtype_info(block->layout.type)->label);
    return bitnet_fail(err, BITNET_FORMAT, "value [%zu][%zu] is %s", source_row, c,
                       isnan(values[c]) ? "nan" : "infinite");
}

static enum bitnet_status encode_rows(const struct block *block, const struct weight *band,
                                      size_t row, size_t n_rows, const struct bench *bench,
                                      struct bitnet_error *err)
{
    const struct plan_item *item = block->item;
    size_t row_bytes = bitnet_rows_bytes(&block->layout, 1);
    uint8_t *out = block->space->bytes + (row - block->layout.first_row) * row_bytes;
    for (size_t r = row; r < row + n_rows; r++, out += row_bytes) {
        const float *values = weight_floats(band, r, bench->trits, bench->row);
        if (weight_loops(band)->largest(values, band->cols) >= block->too_large)
            return fail_unwritable(block, values, r, err);
        item->codec->encode_rows(&item->layout, values, 1, item->importance, out);
    }
    return BITNET_OK;
}

/* --- one tensor by blocks --- */

static enum bitnet_status encode_band(const struct block *block, size_t row,
                                      const struct bench *bench, struct bitnet_error *err)
{
    struct weight band;
    size_t n = rows_in_band(block, row);
    enum bitnet_status status =
        weight_load_band(&band, &block->item->weight, row, n, &bench->source, err);
    if (status) return status;
    return block->item->mode == PLAN_BY_TRITS ? encode_trits(block, &band, row, n, bench, err)
                                              : encode_rows(block, &band, row, n, bench, err);
}

static void encode_bands(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct block *block = ctx;
    for (size_t b = begin; b < end; b++) {
        size_t row = block->layout.first_row + b * block->band_rows;
        if (encode_band(block, row, &block->space->benches[thread], NULL))
            lower_to(&block->first_bad, row);
    }
}

/* Threads only tell which band fails; the lowest one is done again, for its words. */
static enum bitnet_status encode_block(const struct bitnet_plan *plan, struct block *block,
                                       struct bitnet_error *err)
{
    size_t n_bands = (block->layout.rows + block->band_rows - 1) / block->band_rows;
    atomic_store(&block->first_bad, SIZE_MAX);
    bitnet_pool_run(plan->pool, n_bands, 1, encode_bands, block);
    size_t bad = atomic_load(&block->first_bad);
    if (bad != SIZE_MAX) return encode_band(block, bad, &block->space->benches[0], err);
    if (plan_cancelled(plan))
        return bitnet_fail(err, BITNET_CANCELLED, "stopped on request; nothing was kept");
    return BITNET_OK;
}

/* All blocks once; of each, the bytes of these segments go into the file. */
static enum bitnet_status write_segments(const struct bitnet_plan *plan, struct block *block,
                                         unsigned first, unsigned end,
                                         struct bitnet_gguf_writer *writer,
                                         struct bitnet_error *err)
{
    const struct bitnet_layout *whole = &block->item->layout;
    size_t step = plan_block_rows(plan, block->item);
    enum bitnet_status status = BITNET_OK;
    for (size_t row = 0; row < whole->rows && !status; row += step) {
        size_t n = whole->rows - row < step ? whole->rows - row : step;
        block->layout = bitnet_band_layout(whole, row, n);
        status = encode_block(plan, block, err);
        size_t begin = bitnet_segment_begin(&block->layout, first);
        size_t n_bytes = bitnet_segment_begin(&block->layout, end) - begin;
        if (!status)
            status = bitnet_gguf_tensor_write(writer, block->space->bytes + begin, n_bytes, err);
        plan_release(plan, (size_t)(block->item - plan->items)); /* what was read of it */
    }
    return status;
}

/* What follows the segments: zeros, and the tail that stands at the end of every block. */
static enum bitnet_status write_tail(const struct block *block, size_t n_bytes,
                                     struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    static const uint8_t zeros[4096];
    enum { TAIL_BYTES = 32 };
    size_t begin = bitnet_segment_begin(&block->item->layout, BITNET_SEGMENTS_MAX);
    if (begin == n_bytes) return BITNET_OK;
    enum bitnet_status status = BITNET_OK;
    for (size_t left = n_bytes - begin - TAIL_BYTES; left && !status;) {
        size_t n = left < sizeof zeros ? left : sizeof zeros;
        status = bitnet_gguf_tensor_write(writer, zeros, n, err);
        left -= n;
    }
    const uint8_t *end = block->space->bytes + bitnet_layout_bytes(&block->layout);
    return status ? status : bitnet_gguf_tensor_write(writer, end - TAIL_BYTES, TAIL_BYTES, err);
}

/* A tensor of several segments that is not held whole is gone through once for each of them. */
static enum bitnet_status write_blocks(const struct bitnet_plan *plan, size_t i,
                                       const struct workspace *space,
                                       struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    const struct plan_item *item = &plan->items[i];
    struct block block = {.item = item,
                          .space = space,
                          .band_rows = plan_band_rows(plan, item),
                          .too_large = too_large_for(item->layout.type)};
    bool is_whole = plan_block_rows(plan, item) == item->layout.rows;
    unsigned step = is_whole || !item->codec->segments ? BITNET_SEGMENTS_MAX : 1;
    enum bitnet_status status = BITNET_OK;
    for (unsigned s = 0; s < BITNET_SEGMENTS_MAX && !status; s += step)
        status = write_segments(plan, &block, s, s + step, writer, err);
    return status ? status : write_tail(&block, (size_t)plan->rows[i].n_bytes, writer, err);
}

/* --- one tensor as it is --- */

/* Bytes are copied without being understood, so they are looked at first: a copy of a scale that is
 * no number, or of a code that is no trit, would be a wrong file as well. */
struct looking {
    const struct plan_item *item;
    const struct workspace *space;
    size_t band_rows;
    _Atomic size_t first_bad; /* lowest row of a band that has such a thing; SIZE_MAX: none */
};

static enum bitnet_status look_at_rows(const struct weight *w, size_t row, size_t n_rows,
                                       float *values, struct bitnet_error *err)
{
    size_t row_bytes = bitnet_rows_bytes(&w->from, 1);
    for (size_t r = row; r < row + n_rows; r++) {
        size_t c = 0;
        w->codec->decode_rows(&w->from, w->data.at + r * row_bytes, 1, values);
        if (weight_loops(w)->largest(values, w->cols) < TERNARY_NOT_FINITE) continue;
        while (isfinite(values[c])) c++;
        return bitnet_fail(err, BITNET_FORMAT, "value [%zu][%zu] is %s", r, c,
                           isnan(values[c]) ? "nan" : "infinite");
    }
    return BITNET_OK;
}

static enum bitnet_status look_at_band(const struct looking *l, size_t row,
                                       const struct bench *bench, struct bitnet_error *err)
{
    struct weight band;
    const struct weight *w = &l->item->weight;
    size_t n = w->rows - row < l->band_rows ? w->rows - row : l->band_rows;
    if (w->kind == WEIGHT_ENCODED) return weight_load_band(&band, w, row, n, &bench->source, err);
    return look_at_rows(w, row, n, bench->row, err);
}

static void look_at_bands(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct looking *l = ctx;
    for (size_t b = begin; b < end; b++)
        if (look_at_band(l, b * l->band_rows, &l->space->benches[thread], NULL))
            lower_to(&l->first_bad, b * l->band_rows);
}

static enum bitnet_status check_copied(const struct bitnet_plan *plan, const struct plan_item *item,
                                       const struct workspace *space, struct bitnet_error *err)
{
    struct looking looking = {item, space, plan_band_rows(plan, item), SIZE_MAX};
    if (!item->weight.codec) return BITNET_OK;
    size_t n_bands = (item->weight.rows + looking.band_rows - 1) / looking.band_rows;
    bitnet_pool_run(plan->pool, n_bands, 1, look_at_bands, &looking);
    size_t bad = atomic_load(&looking.first_bad);
    return bad == SIZE_MAX ? BITNET_OK : look_at_band(&looking, bad, &space->benches[0], err);
}

static enum bitnet_status write_copy(const struct bitnet_plan *plan, size_t i,
                                     const struct workspace *space,
                                     struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    struct bitnet_bytes bytes = plan->items[i].gguf_tensor->data;
    enum bitnet_status status = check_copied(plan, &plan->items[i], space, err);
    if (status)
        return bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(plan->rows[i].source));
    for (size_t at = 0; at < bytes.n && !status; at += COPY_BYTES) {
        size_t n = bytes.n - at < COPY_BYTES ? bytes.n - at : COPY_BYTES;
        status = plan_cancelled(plan)
                     ? bitnet_fail(err, BITNET_CANCELLED, "stopped on request; nothing was kept")
                     : bitnet_gguf_tensor_write(writer, bytes.at + at, n, err);
    }
    return status;
}

/* --- what must be known before rows are read --- */

struct joining {
    const struct plan_item *item;
    const struct workspace *space;
    size_t band_rows;
    _Atomic size_t first_bad;
};

static enum bitnet_status join_band(const struct joining *j, size_t b, const struct bench *bench,
                                    struct bitnet_error *err)
{
    struct weight band;
    size_t row = b * j->band_rows, rest = j->item->layout.rows - row;
    size_t n = rest < j->band_rows ? rest : j->band_rows;
    enum bitnet_status status =
        weight_load_band(&band, &j->item->weight, row, n, &bench->source, err);
    if (status) return status;
    const int8_t *trits = band_trits(&band, row, n, bench);
    return weight_join_band(&band, trits, row, n, &j->space->joined[b], err);
}

static void join_bands(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct joining *j = ctx;
    for (size_t b = begin; b < end; b++)
        if (join_band(j, b, &j->space->benches[thread], NULL)) lower_to(&j->first_bad, b);
}

/* The target keeps one scale, the source has many: are they one? */
static enum bitnet_status join_scales(const struct bitnet_plan *plan, struct plan_item *item,
                                      const struct workspace *space, struct bitnet_error *err)
{
    struct joining j = {item, space, plan_band_rows(plan, item), SIZE_MAX};
    size_t n_bands = (item->layout.rows + j.band_rows - 1) / j.band_rows;
    bitnet_pool_run(plan->pool, n_bands, 1, join_bands, &j);
    size_t bad = atomic_load(&j.first_bad);
    if (bad != SIZE_MAX) return join_band(&j, bad, &space->benches[0], err);
    struct joined_scale all = space->joined[0];
    enum bitnet_status status = BITNET_OK;
    for (size_t b = 1; b < n_bands && !status; b++)
        status = weight_join(&all, &space->joined[b], err);
    item->weight.scale = all.scale;
    return status;
}

/* They are not, but the loss is allowed. */
static enum bitnet_status join_by_mean(const struct bitnet_plan *plan, struct plan_item *item,
                                       const struct workspace *space, struct bitnet_error *err)
{
    const struct bench *bench = &space->benches[0];
    size_t step = plan_band_rows(plan, item), rows = item->layout.rows;
    enum bitnet_status status = BITNET_OK;
    double sum = 0;
    uint64_t n_trits = 0;
    for (size_t row = 0; row < rows && !status; row += step) {
        struct weight band;
        size_t n = rows - row < step ? rows - row : step;
        status = weight_load_band(&band, &item->weight, row, n, &bench->source, err);
        if (!status)
            weight_sum_scales(&band, band_trits(&band, row, n, bench), row, n, &sum, &n_trits);
    }
    item->weight.scale = (float)(sum / (double)n_trits);
    return status;
}

/* The first scale, which the report shows. */
static enum bitnet_status find_scale(const struct bitnet_plan *plan, struct plan_item *item,
                                     const struct workspace *space, struct bitnet_error *err)
{
    struct weight band;
    const struct bench *bench = &space->benches[0];
    enum bitnet_status status =
        weight_load_band(&band, &item->weight, 0, plan_band_rows(plan, item), &bench->source, err);
    if (!status) item->weight.scale = bench->source.scales[0];
    return status;
}

static enum bitnet_status prepare(struct bitnet_plan *plan, struct plan_item *item,
                                  const struct workspace *space, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    item->weight.joins_by_mean = plan->options.allow_lossy;
    switch (item->weight.kind) {
    case WEIGHT_ENCODED:
        status = find_scale(plan, item, space, err);
        break;
    case WEIGHT_MASTERS:
    case WEIGHT_PACKED:
        return weight_measure(&item->weight, plan->pool, NULL, err);
    default:
        break;
    }
    if (!status && item->mode == PLAN_BY_TRITS &&
        weight_needs_joining(&item->weight, &item->layout))
        status = join_scales(plan, item, space, err);
    if (status != BITNET_INEXACT || !item->weight.joins_by_mean) return status;
    return join_by_mean(plan, item, space, err);
}

/* --- all tensors --- */

static enum bitnet_status write_tensor(struct bitnet_plan *plan, size_t i, struct workspace *space,
                                       struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    struct plan_item *item = &plan->items[i];
    if (item->mode == PLAN_BY_COPY) return write_copy(plan, i, space, writer, err);
    enum bitnet_status status = prepare(plan, item, space, err);
    plan->rows[i].scale = item->weight.scale;
    if (!status) status = write_blocks(plan, i, space, writer, err);
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

enum bitnet_status plan_check_file(struct bitnet_plan *plan, const struct bitnet_gguf *gguf,
                                   struct bitnet_error *err)
{
    struct workspace space = {0};
    enum bitnet_status status = workspace_take(&space, plan, err);
    for (size_t i = 0; i < plan->n && !status; i++) { /* what writing would have found out */
        struct plan_item *item = &plan->items[i];
        if (item->mode != PLAN_BY_COPY) status = prepare(plan, item, &space, err);
    }
    if (!status) status = plan_verify(plan, gguf, &space, err);
    workspace_free(&space);
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
