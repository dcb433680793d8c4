/* A source tensor as rows. See weight.h; the numbers themselves are ternary.c's matter. */
#include "weight.h"

#include "bitnet/alloc.h"

#include <assert.h>
#include <math.h>

/* Columns per thread are in the megabytes at most, so one row is a sensible slice for wide
 * matrices; narrow ones go by many rows. */
#define SLICE_ELEMENTS 65536u

static size_t rows_per_slice(size_t cols)
{
    size_t rows = SLICE_ELEMENTS / (cols ? cols : 1);
    return rows ? rows : 1;
}

static size_t element_bytes(enum st_kind dtype)
{
    switch (dtype) {
    case ST_F64:
        return 8;
    case ST_F32:
        return 4;
    case ST_F16:
    case ST_BF16:
        return 2;
    default:
        return 1;
    }
}

/* Target: [head][i][half], source: [head][half][i]. (formats.md 6.4) */
size_t weight_source_row(const struct weight *weight, size_t row)
{
    if (weight->n_heads == 0) return row;
    size_t head_dim = weight->rows / weight->n_heads;
    size_t head = row / head_dim, within = row % head_dim;
    return head * head_dim + within % 2 * (head_dim / 2) + within / 2;
}

/* --- measuring --- */

struct measuring {
    const struct weight *weight;
    struct row_facts *facts; /* [rows], source order */
    float *scratch;          /* [threads][cols] */
};

/* The row's numbers: where they lie, or in `scratch`. */
static const float *source_row_floats(const struct weight *weight, size_t source_row,
                                      float *scratch)
{
    if (weight->codec) {
        const uint8_t *in = weight->data.at + source_row * bitnet_rows_bytes(&weight->from, 1);
        weight->codec->decode_rows(&weight->from, in, 1, scratch);
        return scratch;
    }
    const uint8_t *in = weight->data.at + source_row * weight->cols * element_bytes(weight->dtype);
    const float *row = weight->shift == 0 ? floats_in_place(weight->dtype, in) : NULL;
    if (row) return row;
    floats_load(weight_loops(weight), weight->dtype, in, weight->cols, scratch);
    for (size_t c = 0; weight->shift != 0 && c < weight->cols; c++) scratch[c] += weight->shift;
    return scratch;
}

static void measure_slice(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct measuring *m = ctx;
    float *scratch = m->scratch + (size_t)thread * m->weight->cols;
    for (size_t r = begin; r < end; r++)
        weight_loops(m->weight)->measure_row(source_row_floats(m->weight, r, scratch),
                                             m->weight->cols, &m->facts[r]);
}

static enum bitnet_status fail_not_finite(const struct weight *weight, size_t row, float *scratch,
                                          struct bitnet_error *err)
{
    size_t c = 0;
    const float *values = source_row_floats(weight, row, scratch);
    while (c + 1 < weight->cols && isfinite(values[c])) c++;
    return bitnet_fail(err, BITNET_FORMAT, "value [%zu][%zu] is %s", row, c,
                       isnan(values[c]) ? "nan" : "infinite");
}

/* The first two magnitudes that differ, by row. */
static void judge(const struct row_facts *facts, size_t rows, struct weight_verdict *verdict)
{
    uint32_t s = 0;
    *verdict = (struct weight_verdict){.is_ternary = true, .is_ternary_by_row = true};
    for (size_t r = 0; r < rows; r++) {
        if (facts[r].smallest == TERNARY_ALL_ZERO) continue;
        if (facts[r].smallest != facts[r].largest) verdict->is_ternary_by_row = false;
        if (s == 0) s = facts[r].smallest;
        uint32_t other = facts[r].smallest != s ? facts[r].smallest : facts[r].largest;
        if (other == s || !verdict->is_ternary) continue;
        verdict->is_ternary = false;
        verdict->row = r;
        verdict->magnitude = ternary_magnitude(s);
        verdict->other = ternary_magnitude(other);
    }
    verdict->s = ternary_magnitude(s);
}

static enum bitnet_status measure_floats(struct weight *weight, struct bitnet_pool *pool,
                                         struct weight_verdict *verdict, struct bitnet_error *err)
{
    unsigned n_threads = pool ? bitnet_pool_threads(pool) : 1;
    struct measuring m = {.weight = weight};
    enum bitnet_status status = BITNET_OK;
    m.facts = bitnet_alloc(weight->rows, sizeof *m.facts);
    m.scratch = bitnet_alloc(n_threads, weight->cols * sizeof *m.scratch);
    if (!m.facts || !m.scratch) {
        status = bitnet_fail(err, BITNET_MEMORY, "no memory to measure it");
        goto done;
    }
    bitnet_pool_run(pool, weight->rows, rows_per_slice(weight->cols), measure_slice, &m);
    for (size_t r = 0; r < weight->rows && !status; r++)
        if (m.facts[r].largest >= TERNARY_NOT_FINITE)
            status = fail_not_finite(weight, r, m.scratch, err);
    if (status) goto done;
    if (weight->kind == WEIGHT_MASTERS) {
        struct absmean absmean = ternary_absmean(m.facts, weight->rows, weight->cols);
        weight->scale = absmean.scale;
        weight->inverse = absmean.inverse;
    }
    if (verdict) judge(m.facts, weight->rows, verdict);
done:
    bitnet_free(m.facts);
    bitnet_free(m.scratch);
    return status;
}

/* Both bits of a pair set is code 3. The last packed row group may be padding. */
static enum bitnet_status check_codes(const struct weight *weight, struct bitnet_error *err)
{
    size_t packed_rows = (weight->rows + 3) / 4;
    for (size_t p = 0; p < packed_rows; p++) {
        const uint8_t *in = weight->data.at + p * weight->cols;
        unsigned mask = 0;
        for (unsigned group = 0; group < 4; group++)
            if (group * packed_rows + p < weight->rows) mask |= 1u << 2 * group;
        unsigned seen = 0;
        for (size_t c = 0; c < weight->cols; c++) seen |= in[c] & in[c] >> 1;
        if (!(seen & mask)) continue;
        for (size_t c = 0; c < weight->cols; c++)
            for (unsigned group = 0; group < 4; group++)
                if ((in[c] & in[c] >> 1) & mask & 1u << 2 * group)
                    return bitnet_fail(err, BITNET_FORMAT,
                                       "packed byte %zu of row %zu is 0x%02x: code 3 for row %zu "
                                       "is no trit",
                                       c, p, in[c], group * packed_rows + p);
    }
    return BITNET_OK;
}

enum bitnet_status weight_measure(struct weight *weight, struct bitnet_pool *pool,
                                  struct weight_verdict *verdict, struct bitnet_error *err)
{
    if (weight->kind == WEIGHT_PACKED) return check_codes(weight, err);
    if (weight->kind == WEIGHT_ENCODED) return BITNET_OK; /* looked at when loaded */
    return measure_floats(weight, pool, verdict, err);
}

size_t weight_measure_bytes(const struct weight *weight, unsigned n_threads)
{
    if (weight->kind == WEIGHT_PACKED || weight->kind == WEIGHT_ENCODED) return 0;
    return weight->rows * sizeof(struct row_facts) + n_threads * weight->cols * sizeof(float);
}

/* --- scales --- */

enum bitnet_status weight_row_scales(const struct weight *weight, float *out,
                                     struct bitnet_error *err)
{
    float *row = bitnet_alloc(weight->cols, sizeof *row);
    if (!row) return bitnet_fail(err, BITNET_MEMORY, "no memory to measure it");
    for (size_t r = 0; r < weight->rows; r++) {
        const float *values = source_row_floats(weight, r, row);
        out[r] = ternary_magnitude(weight_loops(weight)->largest(values, weight->cols));
    }
    bitnet_free(row);
    return BITNET_OK;
}

size_t weight_band_step(const struct weight *weight)
{
    return weight->kind == WEIGHT_ENCODED ? bitnet_band_step(&weight->from) : 1;
}

enum bitnet_status weight_load_band(struct weight *band, const struct weight *weight, size_t row,
                                    size_t n_rows, const struct band_memory *memory,
                                    struct bitnet_error *err)
{
    *band = *weight;
    if (weight->kind != WEIGHT_ENCODED) return BITNET_OK;
    assert(weight->n_heads == 0 && "the order of rows is the file's");
    band->loaded = memory->trits;
    band->first_loaded = row;
    band->scales = memory->scales;
    enum bitnet_status status =
        bitnet_band_decode(&weight->from, row, n_rows, weight->data.at, weight->data.n,
                           memory->bytes, memory->trits, memory->scales, err);
    if (weight->granularity <= BITNET_SCALES_TENSOR) band->scale = memory->scales[0];
    return status;
}

/* Columns that one scale covers. */
static size_t scale_width(enum bitnet_scales granularity, const struct bitnet_layout *layout)
{
    return granularity == BITNET_SCALES_BLOCK ? bitnet_dtype_info(layout->type)->block
                                              : layout->cols;
}

static float scale_at(const struct weight *weight, size_t row, size_t col)
{
    switch (weight->granularity) {
    case BITNET_SCALES_ROW:
        return weight->scales[weight_source_row(weight, row) - weight->first_loaded];
    case BITNET_SCALES_BLOCK: {
        size_t width = scale_width(BITNET_SCALES_BLOCK, &weight->from);
        size_t per_row = weight->cols / width;
        return weight->scales[(row - weight->first_loaded) * per_row + col / width];
    }
    default:
        return weight->scale;
    }
}

static bool has_trit(const int8_t *trits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (trits[i]) return true;
    return false;
}

/* One group of the target, rows and columns half open, out of the groups of the source. */
struct group {
    size_t row, row_end, col, col_end;
};

static enum bitnet_status fail_to_join(const struct joined_scale *joined, size_t row, float scale,
                                       struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_INEXACT,
                       "rows %zu and %zu have the scales %.9g and %.9g, but the type keeps one for "
                       "both",
                       joined->first_row, row, (double)joined->scale, (double)scale);
}

static size_t source_width(const struct weight *weight)
{
    return weight->granularity == BITNET_SCALES_BLOCK
               ? scale_width(BITNET_SCALES_BLOCK, &weight->from)
               : weight->cols;
}

/* `trits` begin with row `first`. */
static enum bitnet_status join_group(const struct weight *weight, const int8_t *trits, size_t first,
                                     struct group g, size_t width, struct joined_scale *joined,
                                     struct bitnet_error *err)
{
    *joined = (struct joined_scale){.first_row = g.row, .scale = scale_at(weight, g.row, g.col)};
    for (size_t r = g.row; r < g.row_end; r++)
        for (size_t c = g.col; c < g.col_end; c += width) {
            float s = scale_at(weight, r, c);
            size_t n = g.col_end - c < width ? g.col_end - c : width;
            if (joined->is_set && memcmp(&s, &joined->scale, sizeof s) == 0) continue;
            if (!has_trit(trits + (r - first) * weight->cols + c, n)) continue;
            if (joined->is_set) return fail_to_join(joined, r, s, err);
            *joined = (struct joined_scale){true, r, s};
        }
    return BITNET_OK;
}

static bool has_one_scale(const struct weight *weight)
{
    return weight->granularity <= BITNET_SCALES_TENSOR;
}

bool weight_needs_joining(const struct weight *weight, const struct bitnet_layout *to)
{
    return !has_one_scale(weight) && bitnet_codec(to->type)->scales == BITNET_SCALES_TENSOR;
}

enum bitnet_status weight_join_band(const struct weight *band, const int8_t *trits, size_t row,
                                    size_t n_rows, struct joined_scale *joined,
                                    struct bitnet_error *err)
{
    struct group all = {row, row + n_rows, 0, band->cols};
    return join_group(band, trits, row, all, source_width(band), joined, err);
}

enum bitnet_status weight_join(struct joined_scale *all, const struct joined_scale *next,
                               struct bitnet_error *err)
{
    if (!next->is_set) return BITNET_OK;
    if (all->is_set && memcmp(&all->scale, &next->scale, sizeof all->scale) != 0)
        return fail_to_join(all, next->first_row, next->scale, err);
    if (!all->is_set) *all = *next;
    return BITNET_OK;
}

static void sum_group(const struct weight *weight, const int8_t *trits, size_t first,
                      struct group g, size_t width, double *sum, uint64_t *n)
{
    for (size_t r = g.row; r < g.row_end; r++)
        for (size_t c = g.col; c < g.col_end; c += width) {
            const int8_t *at = trits + (r - first) * weight->cols + c;
            size_t n_cols = g.col_end - c < width ? g.col_end - c : width, n_trits = 0;
            for (size_t i = 0; i < n_cols; i++) n_trits += at[i] != 0;
            *sum += (double)n_trits * (double)scale_at(weight, r, c);
            *n += n_trits;
        }
}

void weight_sum_scales(const struct weight *band, const int8_t *trits, size_t row, size_t n_rows,
                       double *sum, uint64_t *n)
{
    struct group all = {row, row + n_rows, 0, band->cols};
    sum_group(band, trits, row, all, source_width(band), sum, n);
}

/* Scales that differ, joined as a lossy target allows. */
static float mean_of_group(const struct weight *weight, const int8_t *trits, size_t first,
                           struct group g, size_t width)
{
    double sum = 0;
    uint64_t n = 0;
    sum_group(weight, trits, first, g, width, &sum, &n);
    return (float)(sum / (double)n); /* they differ, so there are trits */
}

enum bitnet_status weight_band_scales(const struct weight *band, const int8_t *trits, size_t row,
                                      const struct bitnet_layout *to_band, float *out,
                                      struct bitnet_error *err)
{
    enum bitnet_scales wanted = bitnet_codec(to_band->type)->scales;
    size_t n = bitnet_scale_count(to_band), to_width = scale_width(wanted, to_band);
    if (has_one_scale(band) || wanted == BITNET_SCALES_TENSOR) {
        for (size_t i = 0; i < n; i++) out[i] = band->scale;
        return BITNET_OK;
    }
    size_t from_width = source_width(band), per_row = band->cols / to_width;
    size_t width = from_width < to_width ? from_width : to_width;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < n && !status; i++) {
        struct joined_scale joined;
        struct group g = {row + i / per_row, row + i / per_row + 1, i % per_row * to_width,
                          (i % per_row + 1) * to_width};
        status = join_group(band, trits, row, g, width, &joined, err);
        out[i] = joined.scale;
        if (status != BITNET_INEXACT || !band->joins_by_mean) continue;
        out[i] = mean_of_group(band, trits, row, g, width);
        status = BITNET_OK;
    }
    return status;
}

/* --- reading --- */

void weight_trits(const struct weight *weight, size_t row, float *scratch, int8_t *out)
{
    size_t source_row = weight_source_row(weight, row);
    assert(row < weight->rows);
    switch (weight->kind) {
    case WEIGHT_PACKED:
        ternary_unpack_row(weight->data.at, weight->rows, weight->cols, source_row, out);
        return;
    case WEIGHT_MASTERS:
        weight_loops(weight)->round_row(source_row_floats(weight, source_row, scratch),
                                        weight->cols, weight->inverse, out);
        return;
    case WEIGHT_TERNARY:
        weight_loops(weight)->sign_row(source_row_floats(weight, source_row, scratch), weight->cols,
                                       out);
        return;
    case WEIGHT_ENCODED:
        memcpy(out, weight->loaded + (row - weight->first_loaded) * weight->cols, weight->cols);
        return;
    case WEIGHT_FLOATS:
        break;
    }
    assert(false && "floats are no trits");
}

const float *weight_floats(const struct weight *weight, size_t row, int8_t *trits, float *scratch)
{
    if (!weight_is_ternary(weight))
        return source_row_floats(weight, weight_source_row(weight, row), scratch);
    weight_trits(weight, row, scratch, trits);
    size_t width = source_width(weight);
    for (size_t begin = 0; begin < weight->cols; begin += width) {
        float s = scale_at(weight, row, begin);
        for (size_t c = begin; c < begin + width; c++) scratch[c] = (float)trits[c] * s;
    }
    return scratch;
}

const char *weight_kind_text(const struct weight *weight)
{
    static const char *const texts[3][4] = {
        {"F64", "F32", "F16", "BF16"},
        {"F64 masters", "F32 masters", "F16 masters", "BF16 masters"},
        {"F64 ternary", "F32 ternary", "F16 ternary", "BF16 ternary"},
    };
    if (weight->codec) return bitnet_dtype_info(weight->from.type)->label;
    if (weight->kind == WEIGHT_PACKED) return "U8 packed";
    return texts[weight->kind][weight->dtype];
}
