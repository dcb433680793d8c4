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
    const struct bitnet_gguf *gguf;
    const struct bitnet_tensor *written; /* in it */
    size_t band_rows;
    size_t first_band;          /* of those that are looked at now */
    _Atomic size_t first_bad;   /* lowest row of a band that differs; SIZE_MAX: none */
    _Atomic uint64_t deviation; /* largest |written - source|, as bits */
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

/* In `scratch`, or where they lie. */
static const float *source_floats(const struct weight *w, size_t source_row, float *scratch)
{
    const uint8_t *in = w->data.at + source_row * (w->data.n / w->rows);
    if (w->codec) {
        w->codec->decode_rows(&w->from, in, 1, scratch);
        return scratch;
    }
    const float *row = w->shift == 0 ? floats_in_place(w->dtype, in) : NULL;
    if (row) return row;
    floats_load(weight_loops(w), w->dtype, in, w->cols, scratch);
    for (size_t c = 0; w->shift != 0 && c < w->cols; c++)
        scratch[c] = 1.0f + scratch[c]; /* Gemma's norms */
    return scratch;
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

/* The scale of the number at this place of the source. */
static float scale_of(const struct weight *w, size_t source_row, size_t col)
{
    size_t row = source_row - w->first_loaded;
    if (w->granularity == BITNET_SCALES_ROW) return w->scales[row];
    if (w->granularity != BITNET_SCALES_BLOCK) return w->scale;
    size_t block = bitnet_dtype_info(w->from.type)->block;
    return w->scales[row * (w->cols / block) + col / block];
}

/* The trits that a row of the source must have given. Returns its floats, when it has any; `sum` is
 * of the magnitudes of masters. */
static const float *source_trits(const struct weight *w, size_t source_row, float *scratch,
                                 int8_t *out, double *sum)
{
    if (w->kind == WEIGHT_PACKED) {
        packed_trits(w, source_row, out);
        return NULL;
    }
    if (w->kind == WEIGHT_ENCODED) {
        memcpy(out, w->loaded + (source_row - w->first_loaded) * w->cols, w->cols);
        return NULL;
    }
    const float *floats = source_floats(w, source_row, scratch);
    if (w->kind == WEIGHT_MASTERS)
        *sum = weight_loops(w)->expect_rounded(floats, w->cols, w->inverse, out);
    else
        weight_loops(w)->expect_signs(floats, w->cols, scale_of(w, source_row, 0), out);
    return floats;
}

/* --- by trits --- */

static void raise_to(_Atomic uint64_t *a, double b)
{
    uint64_t bits, seen = atomic_load(a);
    memcpy(&bits, &b, sizeof bits); /* magnitudes order like their bits */
    while (bits > seen && !atomic_compare_exchange_weak(a, &seen, bits)) {
    }
}

static double largest_deviation(const struct check *k)
{
    uint64_t bits = atomic_load(&k->deviation);
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* A band of rows of the file, decoded, and what the source says there. */
struct band {
    const struct weight *source;
    const int8_t *trits; /* [rows][cols] */
    const float *scales; /* as many as the type keeps for these rows */
    size_t first_row;
};

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
static float written_scale(const struct check *k, const struct band *band, size_t row, size_t col)
{
    size_t block = bitnet_dtype_info(k->layout.type)->block, r = row - band->first_row;
    switch (k->item->codec->scales) {
    case BITNET_SCALES_ROW:
        return band->scales[r];
    case BITNET_SCALES_BLOCK:
        return band->scales[r * (k->layout.cols / block) + col / block];
    default:
        return band->scales[0];
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

/* Scales that were joined by their mean: the one of the whole tensor, or that of this row, computed
 * again. How far it is from each of them is the deviation. */
static bool is_joined_mean(const struct check *k, const struct band *band, size_t row, float got)
{
    const struct weight *w = band->source;
    double sum = 0, n = 0;
    if (k->item->codec->scales == BITNET_SCALES_TENSOR)
        return memcmp(&got, &k->item->weight.scale, sizeof got) == 0;
    const int8_t *trits = band->trits + (row - band->first_row) * w->cols;
    for (size_t c = w->cols; c-- > 0;) {
        if (trits[c] == 0) continue;
        sum += (double)scale_of(w, k->space->source_rows[row], c);
        n++;
    }
    return fabs((double)got * n - sum) <= 1e-6 * fabs(sum);
}

static enum bitnet_status check_scale(struct check *k, const struct band *band, size_t row,
                                      size_t col, struct bitnet_error *err)
{
    float source = scale_of(band->source, k->space->source_rows[row], col), expected = source;
    float got = written_scale(k, band, row, col);
    if (k->item->codec->scales_are_f16) expected = bitnet_f16_to_f32(bitnet_f32_to_f16(source));
    bool is_right = memcmp(&got, &expected, sizeof got) == 0 ||
                    (k->item->weight.joins_by_mean && is_joined_mean(k, band, row, got));
    if (!is_right)
        return bitnet_fail(err, BITNET_INTEGRITY,
                           "the scale at row %zu column %zu is %.9g, the source has %.9g", row, col,
                           (double)got, (double)expected);
    raise_to(&k->deviation, fabs((double)got - (double)source));
    return BITNET_OK;
}

/* Every scale of the file against the one of the source, bit for bit (or its f16). Where there is
 * no trit that it scales, a file with fewer scales may have another. */
static enum bitnet_status check_scales(struct check *k, const struct band *band, size_t n_rows,
                                       struct bitnet_error *err)
{
    const struct weight *w = band->source;
    size_t step = scale_step(k), row = band->first_row;
    bool is_one =
        k->item->codec->scales == BITNET_SCALES_TENSOR && w->granularity <= BITNET_SCALES_TENSOR;
    enum bitnet_status status = BITNET_OK;
    if (is_one) return check_scale(k, band, row, 0, err);
    for (size_t r = 0; r < n_rows && !status; r++)
        for (size_t c = 0; c < w->cols && !status; c += step) {
            size_t n = w->cols - c < step ? w->cols - c : step;
            if (any_trit(band->trits + r * w->cols + c, n))
                status = check_scale(k, band, row + r, c, err);
        }
    return status;
}

static void measure_loss(struct check *k, const float *floats, const int8_t *trits)
{
    double worst = 0, scale = (double)k->item->weight.scale;
    for (size_t c = 0; c < k->layout.cols; c++)
        worst = fmax(worst, fabs((double)floats[c] - trits[c] * scale));
    raise_to(&k->deviation, worst);
}

static enum bitnet_status check_row(struct check *k, const struct band *band, size_t row,
                                    const struct bench *bench, struct bitnet_error *err)
{
    const struct weight *w = band->source;
    int8_t *expected = (int8_t *)(bench->row + k->space->widest);
    const int8_t *got = band->trits + (row - band->first_row) * w->cols;
    size_t source_row = k->space->source_rows[row], c = 0;
    double *sum = &k->space->row_sums[source_row];
    const float *floats = source_trits(w, source_row, bench->row, expected, sum);
    if (w->is_lossy) measure_loss(k, floats, got);
    if (memcmp(expected, got, w->cols) == 0) return BITNET_OK;
    while (expected[c] == got[c]) c++;
    return bitnet_fail(err, BITNET_INTEGRITY,
                       "row %zu column %zu holds the trit %d, the source has %d (its row %zu)", row,
                       c, got[c], expected[c], source_row);
}

static size_t rows_in_band(const struct check *k, size_t row)
{
    size_t rest = k->layout.rows - row;
    return rest < k->band_rows ? rest : k->band_rows;
}

static enum bitnet_status check_band(struct check *k, size_t row, const struct bench *bench,
                                     struct bitnet_error *err)
{
    struct weight source;
    struct bitnet_bytes written = k->written->data;
    size_t n = rows_in_band(k, row);
    enum bitnet_status status =
        weight_load_band(&source, &k->item->weight, row, n, &bench->source, err);
    if (status) return status;
    status = bitnet_band_decode(&k->layout, row, n, written.at, written.n, bench->bytes,
                                bench->trits, bench->scales, err);
    if (status == BITNET_FORMAT && err) err->status = BITNET_INTEGRITY;
    if (status) return BITNET_INTEGRITY;
    struct band band = {&source, bench->trits, bench->scales, row};
    status = check_scales(k, &band, n, err);
    for (size_t r = row; r < row + n && !status; r++) status = check_row(k, &band, r, bench, err);
    return status;
}

static void check_bands(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct check *k = ctx;
    for (size_t b = k->first_band + begin; b < k->first_band + end; b++)
        if (check_band(k, b * k->band_rows, &k->space->benches[thread], NULL))
            lower_to(&k->first_bad, b * k->band_rows);
}

/* All bands, some at a time; what was looked at need not stay in memory. */
static void run_bands(struct bitnet_plan *plan, struct check *k, bitnet_work_fn *work)
{
    enum { AT_ONCE = 256 };
    size_t n = (k->layout.rows + k->band_rows - 1) / k->band_rows;
    for (k->first_band = 0; k->first_band < n; k->first_band += AT_ONCE) {
        size_t rest = n - k->first_band;
        bitnet_pool_run(plan->pool, rest < AT_ONCE ? rest : AT_ONCE, 1, work, k);
        bitnet_gguf_release(k->gguf, k->written);
        plan_release(plan, (size_t)(k->item - plan->items));
    }
}

/* Threads only tell which band is wrong; the lowest one is looked at again, for its words. */
static enum bitnet_status verify_trits(struct bitnet_plan *plan, struct check *k,
                                       struct bitnet_plan_row *row, struct bitnet_error *err)
{
    const struct weight *w = &k->item->weight;
    for (size_t r = 0; r < w->rows; r++) k->space->source_rows[target_row(w, r)] = r;
    run_bands(plan, k, check_bands);
    size_t bad = atomic_load(&k->first_bad);
    if (bad != SIZE_MAX) return check_band(k, bad, &k->space->benches[0], err);
    row->max_deviation = largest_deviation(k);
    row->is_exact = row->max_deviation == 0 && !w->is_lossy;
    return w->kind == WEIGHT_MASTERS ? check_mean(k, err) : BITNET_OK;
}

/* --- by rows of floats --- */

static const float *source_values(const struct weight *w, size_t source_row, int8_t *trits,
                                  float *scratch)
{
    if (w->kind == WEIGHT_FLOATS) return source_floats(w, source_row, scratch);
    double sum;
    size_t step =
        w->granularity == BITNET_SCALES_BLOCK ? bitnet_dtype_info(w->from.type)->block : w->cols;
    source_trits(w, source_row, scratch, trits, &sum);
    for (size_t begin = 0; begin < w->cols; begin += step) {
        float scale = scale_of(w, source_row, begin);
        for (size_t c = begin; c < begin + step; c++)
            scratch[c] = trits[c] == 0 ? 0.0f : (float)trits[c] * scale;
    }
    return scratch;
}

static enum bitnet_status fail_value(const struct check *k, size_t source_row, const float *values,
                                     const uint8_t *again, const uint8_t *bytes,
                                     struct bitnet_error *err)
{
    const struct bitnet_dtype_info *info = bitnet_dtype_info(k->layout.type);
    struct bitnet_layout one = {.type = k->layout.type, .rows = 1, .cols = 1};
    size_t row = target_row(&k->item->weight, source_row), c = 0;
    float written;
    if (info->kind != BITNET_KIND_FLOAT)
        return bitnet_fail(err, BITNET_INTEGRITY, "row %zu is not what the source's row %zu gives",
                           row, source_row);
    while (memcmp(again + c * info->block_bytes, bytes + c * info->block_bytes,
                  info->block_bytes) == 0)
        c++;
    k->item->codec->decode_rows(&one, bytes + c * info->block_bytes, 1, &written);
    return bitnet_fail(err, BITNET_INTEGRITY,
                       "value [%zu][%zu] is %.9g, the source has %.9g (its row %zu)", row, c,
                       (double)written, (double)values[c], source_row);
}

/* A row in the file is right when its bytes are those that the documented rounding, or the
 * quantizer, makes of the source's numbers now, and stand for finite numbers. */
static enum bitnet_status check_values(struct check *k, const struct weight *band,
                                       size_t source_row, const struct bench *bench,
                                       struct bitnet_error *err)
{
    size_t cols = k->layout.cols, row_bytes = bitnet_rows_bytes(&k->layout, 1);
    const struct loops *loops = weight_loops(band);
    const uint8_t *bytes =
        k->written->data.at + target_row(&k->item->weight, source_row) * row_bytes;
    const float *values = source_values(band, source_row, bench->trits, bench->row);
    float *decoded = bench->row + k->space->widest;
    uint8_t *again = (uint8_t *)decoded; /* no type is wider than f32 */
    k->item->codec->encode_rows(&k->layout, values, 1, k->item->importance, again);
    if (memcmp(again, bytes, row_bytes) != 0)
        return fail_value(k, source_row, values, again, bytes, err);
    k->item->codec->decode_rows(&k->layout, bytes, 1, decoded);
    if (loops->largest(decoded, cols) >= TERNARY_NOT_FINITE)
        return bitnet_fail(err, BITNET_INTEGRITY, "row %zu holds what is no number",
                           target_row(&k->item->weight, source_row));
    raise_to(&k->deviation, loops->largest_difference(decoded, values, cols));
    return BITNET_OK;
}

static enum bitnet_status check_rows(struct check *k, size_t row, const struct bench *bench,
                                     struct bitnet_error *err)
{
    struct weight band;
    size_t n = rows_in_band(k, row);
    enum bitnet_status status =
        weight_load_band(&band, &k->item->weight, row, n, &bench->source, err);
    for (size_t r = row; r < row + n && !status; r++)
        status = check_values(k, &band, r, bench, err);
    return status;
}

static void check_bands_of_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct check *k = ctx;
    for (size_t b = k->first_band + begin; b < k->first_band + end; b++)
        if (check_rows(k, b * k->band_rows, &k->space->benches[thread], NULL))
            lower_to(&k->first_bad, b * k->band_rows);
}

static enum bitnet_status verify_rows(struct bitnet_plan *plan, struct check *k,
                                      struct bitnet_plan_row *row, struct bitnet_error *err)
{
    run_bands(plan, k, check_bands_of_rows);
    size_t bad = atomic_load(&k->first_bad);
    if (bad != SIZE_MAX) return check_rows(k, bad, &k->space->benches[0], err);
    row->max_deviation = largest_deviation(k);
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
                      .gguf = gguf,
                      .written = bitnet_gguf_find_tensor(gguf, row->target),
                      .band_rows = plan_band_rows(plan, item),
                      .first_bad = SIZE_MAX};
    enum bitnet_status status = check_directory(row, k.written, err);
    if (!status) status = read_tile(&k.layout, gguf, err);
    if (!status) status = compare(plan, &k, row, err);
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
