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
    size_t stride = weight->cols * element_bytes(weight->dtype);
    floats_load(weight->dtype, weight->data.at + source_row * stride, weight->cols, out);
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

static void judge(const struct row_facts *facts, size_t rows, struct weight_verdict *verdict)
{
    uint32_t s = 0;
    *verdict = (struct weight_verdict){.is_ternary = true};
    for (size_t r = 0; r < rows; r++) {
        if (facts[r].smallest == TERNARY_ALL_ZERO) continue;
        if (s == 0) s = facts[r].smallest;
        uint32_t other = facts[r].smallest != s ? facts[r].smallest : facts[r].largest;
        if (other == s) continue;
        *verdict = (struct weight_verdict){
            .row = r, .magnitude = ternary_magnitude(s), .other = ternary_magnitude(other)};
        return;
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
    return measure_floats(weight, pool, verdict, err);
}

size_t weight_measure_bytes(const struct weight *weight, unsigned n_threads)
{
    if (weight->kind == WEIGHT_PACKED) return 0;
    return weight->rows * sizeof(struct row_facts) + n_threads * weight->cols * sizeof(float);
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
    for (size_t c = 0; c < weight->cols; c++) out[c] = (float)trits[c] * weight->scale;
}

const char *weight_kind_text(const struct weight *weight)
{
    static const char *const texts[3][4] = {
        {"F64", "F32", "F16", "BF16"},
        {"F64 masters", "F32 masters", "F16 masters", "BF16 masters"},
        {"F64 ternary", "F32 ternary", "F16 ternary", "BF16 ternary"},
    };
    if (weight->kind == WEIGHT_PACKED) return "U8 packed";
    return texts[weight->kind][weight->dtype];
}
