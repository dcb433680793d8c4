/* Proof by reading back: the unpublished file goes through the reader and the codecs, as any user
 * of it would, and is compared with the source, read anew.
 *
 * What the source means is spelt out here a second time, in the plainest way and from the other
 * end: by rows of the source (writing goes by rows of the target), with division instead of
 * shifts, with rounding instead of comparisons, with another order of the sum in the mean. A
 * mistake in ternary.c or weight.c therefore shows, instead of agreeing with itself. Only the
 * widening of f16 and bf16 is shared (base tests it against every value). */
#include "plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>

struct check {
    const struct plan_item *item;
    const struct workspace *space;
    struct bitnet_layout layout; /* with the tile that the file says */
    const struct bitnet_tensor *written;
    _Atomic size_t first_bad; /* lowest row of the source that differs; SIZE_MAX: none */
    double *deviations;       /* [rows], largest of each */
    _Atomic uint64_t loss;    /* of lossy masters: largest |source - trit * scale|, as bits */
};

static void lower_to(_Atomic size_t *a, size_t b)
{
    size_t seen = atomic_load(a);
    while (b < seen && !atomic_compare_exchange_weak(a, &seen, b)) {
    }
}

/* --- the source, spelt out again --- */

/* Where a row of the source must lie in the file: halves become pairs. */
static size_t target_row(const struct weight *w, size_t source_row)
{
    if (w->n_heads == 0) return source_row;
    size_t head_dim = w->rows / w->n_heads, half = head_dim / 2;
    size_t head = source_row / head_dim, i = source_row % head_dim;
    return head * head_dim + (i < half ? 2 * i : 2 * (i - half) + 1);
}

static void source_floats(const struct weight *w, size_t source_row, float *out)
{
    if (w->codec) {
        size_t row_bytes = w->data.n / w->rows;
        w->codec->decode_rows(&w->from, w->data.at + source_row * row_bytes, 1, out);
        return;
    }
    size_t n_bytes = w->data.n / w->rows;
    floats_load(w->dtype, w->data.at + source_row * n_bytes, w->cols, out);
    for (size_t c = 0; w->shift != 0 && c < w->cols; c++)
        out[c] = 1.0f + out[c]; /* Gemma's norms */
}

static void packed_trits(const struct weight *w, size_t source_row, int8_t *out)
{
    static const int place_value[4] = {1, 4, 16, 64};
    size_t n_packed = w->data.n / w->cols; /* packed rows */
    int8_t trit_of[256];
    for (int byte = 0; byte < 256; byte++)
        trit_of[byte] = (int8_t)(byte / place_value[source_row / n_packed] % 4 - 1);
    const uint8_t *in = w->data.at + source_row % n_packed * w->cols;
    for (size_t c = 0; c < w->cols; c++) out[c] = trit_of[in[c]];
}

/* Adding 1.5 * 2^23 leaves no room for a fraction, so the hardware rounds half to even. (Where |v|
 * is too large for that there is nothing to round, and the sign is kept.) */
static void master_trits(const float *x, size_t n, float inverse, int8_t *out)
{
    for (size_t c = 0; c < n; c++) {
        float v = x[c] * inverse;
        v = (v + 12582912.0f) - 12582912.0f;
        out[c] = (int8_t)((v > 0) - (v < 0));
    }
}

/* 2, which no codec gives, for what is none of the three numbers. */
static void float_trits(const float *x, size_t n, float scale, int8_t *out)
{
    for (size_t c = 0; c < n; c++)
        out[c] = x[c] == 0 ? 0 : x[c] == scale ? 1 : x[c] == -scale ? -1 : 2;
}

/* The scale of the number at this place of the source. */
static float scale_of(const struct weight *w, size_t source_row, size_t col)
{
    if (w->granularity == BITNET_SCALES_ROW) return w->scales[source_row];
    if (w->granularity != BITNET_SCALES_BLOCK) return w->scale;
    size_t block = bitnet_dtype_info(w->from.type)->block;
    return w->scales[source_row * (w->cols / block) + col / block];
}

/* The trits that a row of the source must have given; `floats` is scratch, and keeps the row. */
static void source_trits(const struct weight *w, size_t source_row, float *floats, int8_t *out)
{
    if (w->kind == WEIGHT_PACKED) {
        packed_trits(w, source_row, out);
        return;
    }
    if (w->kind == WEIGHT_ENCODED) {
        memcpy(out, w->loaded + source_row * w->cols, w->cols);
        return;
    }
    source_floats(w, source_row, floats);
    if (w->kind == WEIGHT_MASTERS)
        master_trits(floats, w->cols, w->inverse, out);
    else
        float_trits(floats, w->cols, scale_of(w, source_row, 0), out);
}

static double sum_of_magnitudes(const float *x, size_t n)
{
    double even = 0, odd = 0;
    for (size_t c = 0; c + 1 < n; c += 2) {
        even += fabs((double)x[c]);
        odd += fabs((double)x[c + 1]);
    }
    if (n % 2) even += fabs((double)x[n - 1]);
    return even + odd;
}

/* --- by trits --- */

static void raise_to(_Atomic uint64_t *a, double b)
{
    uint64_t bits, seen = atomic_load(a);
    memcpy(&bits, &b, sizeof bits); /* magnitudes order like their bits */
    while (bits > seen && !atomic_compare_exchange_weak(a, &seen, bits)) {
    }
}

static void measure_loss(struct check *k, const float *floats, const int8_t *trits)
{
    double worst = 0, scale = (double)k->item->weight.scale;
    for (size_t c = 0; c < k->layout.cols; c++)
        worst = fmax(worst, fabs((double)floats[c] - trits[c] * scale));
    raise_to(&k->loss, worst);
}

static void compare_trits(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct check *k = ctx;
    const struct weight *w = &k->item->weight;
    float *floats = k->space->row + (size_t)thread * 2 * k->space->widest;
    int8_t *expected = (int8_t *)(floats + k->space->widest);
    for (size_t r = begin; r < end; r++) {
        source_trits(w, r, floats, expected);
        const int8_t *got = k->space->trits + target_row(w, r) * w->cols;
        if (memcmp(expected, got, w->cols) != 0) lower_to(&k->first_bad, r);
        if (w->kind == WEIGHT_MASTERS) k->space->row_sums[r] = sum_of_magnitudes(floats, w->cols);
        if (w->is_lossy) measure_loss(k, floats, got);
    }
}

static enum bitnet_status fail_trit(const struct check *k, struct bitnet_error *err)
{
    const struct weight *w = &k->item->weight;
    float *floats = k->space->row;
    int8_t *expected = (int8_t *)(floats + k->space->widest);
    size_t r = atomic_load(&k->first_bad), c = 0;
    source_trits(w, r, floats, expected);
    const int8_t *got = k->space->trits + target_row(w, r) * w->cols;
    while (expected[c] == got[c]) c++;
    return bitnet_fail(err, BITNET_INTEGRITY,
                       "row %zu column %zu holds the trit %d, the source has %d (its row %zu)",
                       target_row(w, r), c, got[c], expected[c], r);
}

/* The mean of the masters, summed in another order, must agree to the last bits of a double. */
static enum bitnet_status check_mean(const struct check *k, struct bitnet_error *err)
{
    const struct weight *w = &k->item->weight;
    double sum = 0;
    for (size_t r = 0; r < w->rows; r++) sum += k->space->row_sums[r];
    double mean = sum / (double)w->rows / (double)w->cols, scale = (double)w->scale;
    if (mean < 1e-5) mean = 1e-5;
    if (fabs(scale - mean) <= 3e-7 * mean) return BITNET_OK; /* two roundings to f32 */
    return bitnet_fail(err, BITNET_INTEGRITY, "scale is %.9g, but the mean of |W| is %.9g", scale,
                       mean);
}

/* The scale that covers this place in the file. */
static float written_scale(const struct check *k, size_t row, size_t col)
{
    switch (k->item->codec->scales) {
    case BITNET_SCALES_ROW:
        return k->space->scales[row];
    case BITNET_SCALES_BLOCK: {
        size_t block = bitnet_dtype_info(k->layout.type)->block;
        return k->space->scales[row * (k->layout.cols / block) + col / block];
    }
    default:
        return k->space->scales[0];
    }
}

/* Columns after which a scale of the source or of the file may change. */
static size_t scale_step(const struct check *k)
{
    size_t step = k->layout.cols, from = bitnet_dtype_info(k->item->weight.from.type)->block;
    size_t to = bitnet_dtype_info(k->layout.type)->block;
    if (k->item->codec->scales == BITNET_SCALES_BLOCK && to < step) step = to;
    if (k->item->weight.granularity == BITNET_SCALES_BLOCK && from < step) step = from;
    return step;
}

static bool any_trit(const int8_t *trits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (trits[i]) return true;
    return false;
}

static enum bitnet_status check_scale(const struct check *k, size_t source_row, size_t col,
                                      struct bitnet_plan_row *row, struct bitnet_error *err)
{
    const struct weight *w = &k->item->weight;
    float source = scale_of(w, source_row, col), expected = source;
    float got = written_scale(k, target_row(w, source_row), col);
    if (k->item->codec->scales_are_f16) expected = bitnet_f16_to_f32(bitnet_f32_to_f16(source));
    if (memcmp(&got, &expected, sizeof got) != 0)
        return bitnet_fail(err, BITNET_INTEGRITY,
                           "the scale at row %zu column %zu is %.9g, the source has %.9g",
                           target_row(w, source_row), col, (double)got, (double)expected);
    row->max_deviation = fmax(row->max_deviation, fabs((double)got - (double)source));
    return BITNET_OK;
}

/* Every scale of the file against the one of the source, bit for bit (or its f16). Where there is
 * no trit that it scales, a file with fewer scales may have another. */
static enum bitnet_status check_scales(const struct check *k, struct bitnet_plan_row *row,
                                       struct bitnet_error *err)
{
    const struct weight *w = &k->item->weight;
    size_t step = scale_step(k);
    bool is_one =
        k->item->codec->scales == BITNET_SCALES_TENSOR && w->granularity <= BITNET_SCALES_TENSOR;
    enum bitnet_status status = BITNET_OK;
    row->max_deviation = 0;
    for (size_t r = 0; r < (is_one ? 1 : w->rows) && !status; r++)
        for (size_t c = 0; c < w->cols && !status; c += step) {
            size_t n = w->cols - c < step ? w->cols - c : step;
            const int8_t *trits = k->space->trits + target_row(w, r) * w->cols + c;
            if (is_one || any_trit(trits, n)) status = check_scale(k, r, c, row, err);
        }
    row->is_exact = row->max_deviation == 0;
    return status;
}

static enum bitnet_status verify_trits(struct bitnet_plan *plan, struct check *k,
                                       struct bitnet_plan_row *row, struct bitnet_error *err)
{
    const struct weight *w = &k->item->weight;
    enum bitnet_status status =
        k->item->codec->decode_trits(&k->layout, k->written->data.at, k->written->data.n,
                                     k->space->trits, k->space->scales, err);
    if (status == BITNET_FORMAT && err) err->status = BITNET_INTEGRITY;
    if (status) return BITNET_INTEGRITY;
    status = check_scales(k, row, err);
    if (status) return status;
    bitnet_pool_run(plan->pool, w->rows, 64, compare_trits, k);
    if (atomic_load(&k->first_bad) != SIZE_MAX) return fail_trit(k, err);
    if (w->is_lossy) {
        uint64_t bits = atomic_load(&k->loss);
        memcpy(&row->max_deviation, &bits, sizeof bits);
        row->is_exact = false;
    }
    return w->kind == WEIGHT_MASTERS ? check_mean(k, err) : BITNET_OK;
}

/* --- by rows of floats --- */

static void source_values(const struct weight *w, size_t source_row, int8_t *trits, float *out)
{
    if (w->kind == WEIGHT_FLOATS) {
        source_floats(w, source_row, out);
        return;
    }
    source_trits(w, source_row, out, trits);
    for (size_t c = 0; c < w->cols; c++)
        out[c] = trits[c] == 0 ? 0.0f : trits[c] * scale_of(w, source_row, c);
}

/* True when number c of a row of bytes is what the documented rounding makes of x, bit for bit. */
static bool is_rounded(enum bitnet_dtype type, const uint8_t *bytes, size_t c, float x)
{
    if (type == BITNET_DTYPE_f16) return bitnet_load_u16(bytes + 2 * c) == bitnet_f32_to_f16(x);
    if (type == BITNET_DTYPE_bf16) return bitnet_load_u16(bytes + 2 * c) == bitnet_f32_to_bf16(x);
    return bitnet_load_f32(bytes + 4 * c) == x;
}

static bool is_float_type(enum bitnet_dtype type)
{
    return bitnet_dtype_info(type)->kind == BITNET_KIND_FLOAT;
}

/* True when the row in the file is what it must be. Float types: each number is the rounded one.
 * Quantized types: the bytes are those that the quantizer gives now, and all numbers finite. */
static bool row_is_right(const struct check *k, const float *values, const uint8_t *bytes,
                         float *decoded, double *deviation)
{
    size_t cols = k->layout.cols;
    bool is_right = true, is_float = is_float_type(k->layout.type);
    k->item->codec->decode_rows(&k->layout, bytes, 1, decoded);
    for (size_t c = 0; c < cols; c++) {
        double d = fabs((double)decoded[c] - (double)values[c]);
        if (!(d <= *deviation)) *deviation = d;
        if (is_float && !is_rounded(k->layout.type, bytes, c, values[c])) is_right = false;
        if (!isfinite(decoded[c])) is_right = false;
    }
    return is_right;
}

static void compare_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct check *k = ctx;
    const struct weight *w = &k->item->weight;
    float *values = k->space->row + (size_t)thread * 2 * k->space->widest;
    float *decoded = values + k->space->widest;
    int8_t *trits = k->space->trits + (size_t)thread * k->space->widest;
    size_t row_bytes = bitnet_rows_bytes(&k->layout, 1);
    for (size_t r = begin; r < end; r++) {
        const uint8_t *bytes = k->written->data.at + target_row(w, r) * row_bytes;
        source_values(w, r, trits, values);
        k->deviations[r] = 0;
        bool is_right = row_is_right(k, values, bytes, decoded, &k->deviations[r]);
        if (is_right && !is_float_type(k->layout.type)) {
            uint8_t *again = (uint8_t *)decoded; /* no type is wider than f32 */
            k->item->codec->encode_rows(&k->layout, values, 1, k->item->importance, again);
            is_right = memcmp(again, bytes, row_bytes) == 0;
        }
        if (!is_right) lower_to(&k->first_bad, r);
    }
}

static enum bitnet_status fail_row(const struct check *k, struct bitnet_error *err)
{
    const struct weight *w = &k->item->weight;
    float *values = k->space->row, *decoded = values + k->space->widest;
    size_t r = atomic_load(&k->first_bad), c = 0;
    size_t row_bytes = bitnet_rows_bytes(&k->layout, 1);
    source_values(w, r, k->space->trits, values);
    const uint8_t *bytes = k->written->data.at + target_row(w, r) * row_bytes;
    k->item->codec->decode_rows(&k->layout, bytes, 1, decoded);
    if (!is_float_type(k->layout.type))
        return bitnet_fail(err, BITNET_INTEGRITY, "row %zu is not what the source's row %zu gives",
                           target_row(w, r), r);
    while (c + 1 < w->cols && is_rounded(k->layout.type, bytes, c, values[c])) c++;
    return bitnet_fail(err, BITNET_INTEGRITY,
                       "value [%zu][%zu] is %.9g, the source has %.9g (its row %zu)",
                       target_row(w, r), c, (double)decoded[c], (double)values[c], r);
}

static enum bitnet_status verify_rows(struct bitnet_plan *plan, struct check *k,
                                      struct bitnet_plan_row *row, struct bitnet_error *err)
{
    const struct weight *w = &k->item->weight;
    size_t slice = 65536 / w->cols;
    k->deviations = k->space->row_sums;
    bitnet_pool_run(plan->pool, w->rows, slice ? slice : 1, compare_rows, k);
    if (atomic_load(&k->first_bad) != SIZE_MAX) return fail_row(k, err);
    row->max_deviation = 0;
    for (size_t r = 0; r < w->rows; r++)
        if (k->deviations[r] > row->max_deviation) row->max_deviation = k->deviations[r];
    row->is_exact = row->max_deviation == 0;
    return BITNET_OK;
}

/* --- all tensors --- */

/* The tile as a reader of the file will find it. */
static enum bitnet_status read_tile(struct bitnet_layout *layout, const struct bitnet_gguf *gguf,
                                    struct bitnet_error *err)
{
    const struct {
        const char *field;
        uint32_t *value;
    } fields[] = {
        {"bm", &layout->tile.rows}, {"bk", &layout->tile.cols}, {"bmm", &layout->tile.sub_rows}};
    char key[TILE_KEY_BYTES];
    if (layout->tile.rows == 0) return BITNET_OK;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        uint64_t v = 0;
        tile_key(key, layout, fields[i].field);
        enum bitnet_status status =
            bitnet_gguf_u64(gguf, key, 1, UINT32_MAX, BITNET_GGUF_REQUIRED, &v, err);
        if (status) return status;
        *fields[i].value = (uint32_t)v;
    }
    return BITNET_OK;
}

static enum bitnet_status check_directory(const struct bitnet_plan_row *row,
                                          const struct bitnet_tensor *written,
                                          struct bitnet_error *err)
{
    if (!written) return bitnet_fail(err, BITNET_INTEGRITY, "it is missing");
    bool is_same = written->type == row->type && written->n_dims == row->n_dims &&
                   written->data.n == row->n_bytes;
    for (uint32_t i = 0; i < row->n_dims; i++)
        is_same = is_same && written->dims[i] == row->dims[i];
    if (is_same) return BITNET_OK;
    return bitnet_fail(err, BITNET_INTEGRITY,
                       "it has type %s and %zu bytes, planned were %s and %" PRIu64,
                       bitnet_dtype_info(written->type)->label, written->data.n,
                       bitnet_dtype_info(row->type)->label, row->n_bytes);
}

static enum bitnet_status verify_copy(const struct check *k, struct bitnet_plan_row *row,
                                      struct bitnet_error *err)
{
    struct bitnet_bytes a = k->item->gguf_tensor->data, b = k->written->data;
    row->is_exact = a.n == b.n && memcmp(a.at, b.at, a.n) == 0;
    return row->is_exact ? BITNET_OK
                         : bitnet_fail(err, BITNET_INTEGRITY, "its bytes are not the source's");
}

static enum bitnet_status compare(struct bitnet_plan *plan, struct check *k,
                                  struct bitnet_plan_row *row, struct bitnet_error *err)
{
    switch (k->item->mode) {
    case PLAN_BY_TRITS:
        return verify_trits(plan, k, row, err);
    case PLAN_BY_ROWS:
        return verify_rows(plan, k, row, err);
    case PLAN_BY_COPY:
        break;
    }
    return verify_copy(k, row, err);
}

static enum bitnet_status verify_tensor(struct bitnet_plan *plan, size_t i,
                                        const struct bitnet_gguf *gguf,
                                        const struct workspace *space, struct bitnet_error *err)
{
    struct bitnet_plan_row *row = &plan->rows[i];
    struct plan_item *item = &plan->items[i];
    struct check k = {.item = item,
                      .space = space,
                      .layout = item->layout,
                      .written = bitnet_gguf_find_tensor(gguf, row->target),
                      .first_bad = SIZE_MAX};
    enum bitnet_status status = check_directory(row, k.written, err);
    if (!status) status = read_tile(&k.layout, gguf, err);
    if (!status && item->weight.kind == WEIGHT_ENCODED && item->mode != PLAN_BY_COPY)
        status = weight_load(&item->weight, space->source_trits, space->source_scales, err);
    if (!status) status = compare(plan, &k, row, err);
    item->weight.loaded = NULL;
    if (k.written) bitnet_gguf_release(gguf, k.written);
    plan_release(plan, i);
    return status;
}

/* The user's own word about the model's numbers. */
static bool has_edited_numbers(const struct bitnet_plan *plan)
{
    struct bitnet_str arch = bitnet_str_of(plan->config.arch->name);
    for (size_t i = 0; i < plan->n_edits; i++)
        if (bitnet_str_starts(plan->edits[i].key, arch.at) && plan->edits[i].key.n > arch.n &&
            plan->edits[i].key.at[arch.n] == '.')
            return true;
    return false;
}

static enum bitnet_status check_numbers(const struct bitnet_plan *plan,
                                        const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    struct bitnet_hparams h;
    const struct bitnet_arch *arch = NULL;
    enum bitnet_status status = bitnet_hparams_from_gguf(&h, &arch, gguf, err);
    if (status) return status;
    const struct bitnet_hparams *p = &plan->config.hparams;
    bool is_same = arch == plan->config.arch && h.n_layers == p->n_layers &&
                   h.n_embd == p->n_embd && h.n_ffn == p->n_ffn && h.n_heads == p->n_heads &&
                   h.n_kv_heads == p->n_kv_heads && h.head_dim == p->head_dim &&
                   h.n_rot == p->n_rot && h.n_vocab == p->n_vocab && h.n_context == p->n_context &&
                   h.norm_eps == p->norm_eps && h.rope_base == p->rope_base &&
                   h.rope_scale == p->rope_scale && h.query_scale == p->query_scale &&
                   h.window == p->window && h.window_period == p->window_period &&
                   h.local_rope_base == p->local_rope_base && h.pooling == p->pooling;
    if (is_same || has_edited_numbers(plan)) return bitnet_arch_validate(gguf, err);
    return bitnet_fail(err, BITNET_INTEGRITY, "the model's numbers were not written as planned");
}

enum bitnet_status plan_verify(struct bitnet_plan *plan, const struct bitnet_gguf *gguf,
                               const struct workspace *space, struct bitnet_error *err)
{
    enum bitnet_status status = check_numbers(plan, gguf, err);
    if (!status && bitnet_gguf_tensor_count(gguf) != plan->n)
        status = bitnet_fail(err, BITNET_INTEGRITY, "%zu tensors were written, planned were %zu",
                             bitnet_gguf_tensor_count(gguf), plan->n);
    for (size_t i = 0; i < plan->n && !status; i++) {
        if (plan_cancelled(plan))
            return bitnet_fail(err, BITNET_CANCELLED, "stopped on request; nothing was kept");
        status = verify_tensor(plan, i, gguf, space, err);
        if (status == BITNET_INTEGRITY)
            bitnet_error_prefix(err, status, "verify: tensor %s",
                                BITNET_QUOTE(plan->rows[i].target));
    }
    return status;
}
