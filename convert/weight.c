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

static void load_source_row(const struct weight *weight, size_t source_row, float *out)
{
    if (weight->codec) {
        const uint8_t *in = weight->data.at + source_row * bitnet_rows_bytes(&weight->from, 1);
        weight->codec->decode_rows(&weight->from, in, 1, out);
        return;
    }
    size_t stride = weight->cols * element_bytes(weight->dtype);
    floats_load(weight->dtype, weight->data.at + source_row * stride, weight->cols, out);
    if (weight->shift == 0) return;
    for (size_t c = 0; c < weight->cols; c++) out[c] += weight->shift;
}

static void measure_slice(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct measuring *m = ctx;
    float *row = m->scratch + (size_t)thread * m->weight->cols;
    for (size_t r = begin; r < end; r++) {
        load_source_row(m->weight, r, row);
        ternary_measure_row(row, m->weight->cols, &m->facts[r]);
    }
}

static enum bitnet_status fail_not_finite(const struct weight *weight, size_t row, float *scratch,
                                          struct bitnet_error *err)
{
    size_t c = 0;
    load_source_row(weight, row, scratch);
    while (c + 1 < weight->cols && isfinite(scratch[c])) c++;
    return bitnet_fail(err, BITNET_FORMAT, "value [%zu][%zu] is %s", row, c,
                       isnan(scratch[c]) ? "nan" : "infinite");
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
    if (weight->kind == WEIGHT_ENCODED) return BITNET_OK; /* weight_load() looks at all of it */
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
        load_source_row(weight, r, row);
        out[r] = ternary_magnitude(floats_largest(row, weight->cols));
    }
    bitnet_free(row);
    return BITNET_OK;
}

enum bitnet_status weight_load(struct weight *weight, int8_t *trits, float *scales,
                               struct bitnet_error *err)
{
    assert(weight->kind == WEIGHT_ENCODED);
    enum bitnet_status status = weight->codec->decode_trits(&weight->from, weight->data.at,
                                                            weight->data.n, trits, scales, err);
    weight->loaded = trits;
    weight->scales = scales;
    weight->scale = scales[0];
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
        return weight->scales[weight_source_row(weight, row)];
    case BITNET_SCALES_BLOCK: {
        size_t width = scale_width(BITNET_SCALES_BLOCK, &weight->from);
        return weight->scales[row * (weight->cols / width) + col / width];
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

static enum bitnet_status join(const struct weight *weight, const int8_t *trits, struct group g,
                               size_t width, float *out, struct bitnet_error *err)
{
    bool is_set = false;
    size_t first_row = g.row;
    *out = scale_at(weight, g.row, g.col);
    for (size_t r = g.row; r < g.row_end; r++)
        for (size_t c = g.col; c < g.col_end; c += width) {
            float s = scale_at(weight, r, c);
            size_t n = g.col_end - c < width ? g.col_end - c : width;
            if (is_set && memcmp(&s, out, sizeof s) == 0) continue;
            if (!has_trit(trits + r * weight->cols + c, n)) continue;
            if (is_set)
                return bitnet_fail(err, BITNET_INEXACT,
                                   "rows %zu and %zu have the scales %.9g and %.9g, but the type "
                                   "keeps one for both",
                                   first_row, r, (double)*out, (double)s);
            *out = s;
            first_row = r;
            is_set = true;
        }
    return BITNET_OK;
}

enum bitnet_status weight_regroup(const struct weight *weight, const int8_t *trits,
                                  const struct bitnet_layout *to, float *out,
                                  struct bitnet_error *err)
{
    enum bitnet_scales wanted = bitnet_codec(to->type)->scales;
    size_t n = bitnet_scale_count(to), to_width = scale_width(wanted, to);
    bool is_one = !weight->scales || weight->granularity == BITNET_SCALES_TENSOR;
    if (is_one) {
        for (size_t i = 0; i < n; i++) out[i] = weight->scale;
        return BITNET_OK;
    }
    size_t from_width = weight->granularity == BITNET_SCALES_ROW
                            ? weight->cols
                            : scale_width(BITNET_SCALES_BLOCK, &weight->from);
    size_t width = from_width < to_width ? from_width : to_width, per_row = weight->cols / to_width;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < n && !status; i++) {
        struct group g = {0, weight->rows, 0, weight->cols};
        if (wanted != BITNET_SCALES_TENSOR)
            g = (struct group){i / per_row, i / per_row + 1, i % per_row * to_width,
                               (i % per_row + 1) * to_width};
        status = join(weight, trits, g, width, &out[i], err);
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
        load_source_row(weight, source_row, scratch);
        ternary_round_row(scratch, weight->cols, weight->inverse, out);
        return;
    case WEIGHT_TERNARY:
        load_source_row(weight, source_row, scratch);
        ternary_sign_row(scratch, weight->cols, out);
        return;
    case WEIGHT_ENCODED:
        memcpy(out, weight->loaded + row * weight->cols, weight->cols);
        return;
    case WEIGHT_FLOATS:
        break;
    }
    assert(false && "floats are no trits");
}

void weight_floats(const struct weight *weight, size_t row, int8_t *trits, float *out)
{
    if (!weight_is_ternary(weight)) {
        load_source_row(weight, weight_source_row(weight, row), out);
        return;
    }
    weight_trits(weight, row, out, trits);
    size_t width = weight->granularity == BITNET_SCALES_BLOCK
                       ? scale_width(BITNET_SCALES_BLOCK, &weight->from)
                       : weight->cols;
    for (size_t begin = 0; begin < weight->cols; begin += width) {
        float s = scale_at(weight, row, begin);
        for (size_t c = begin; c < begin + width; c++) out[c] = (float)trits[c] * s;
    }
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
