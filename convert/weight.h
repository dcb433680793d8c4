/* One tensor of the source as rows of numbers, whatever its spelling there: floats, float masters
 * that stand for trits, packed trits of a checkpoint, or any type of a GGUF. Rows are asked for in
 * the order of the target, so the permutation that a rope convention asks for lives here and
 * nowhere else. */
#ifndef CONVERT_WEIGHT_H
#define CONVERT_WEIGHT_H

#include "bitnet/error.h"
#include "bitnet/pool.h"
#include "bitnet/quant.h"

#include "ternary.h"

enum weight_kind {
    WEIGHT_FLOATS,  /* numbers */
    WEIGHT_MASTERS, /* floats that the model makes ternary by absmean */
    WEIGHT_TERNARY, /* floats that are exactly -s, 0, +s already */
    WEIGHT_PACKED,  /* U8 trits and one scale */
    WEIGHT_ENCODED  /* a GGUF tensor of a ternary type: to be loaded whole before rows are read */
};

struct weight {
    enum weight_kind kind;
    enum st_kind dtype; /* of `data`: a float kind, or ST_U8 when packed; unused with a codec */
    struct bitnet_bytes data;
    size_t rows, cols;
    bool is_lossy;  /* masters that stand for themselves: rounding them changes the model */
    float shift;    /* added to every number: the checkpoint holds w - 1 */
    size_t n_heads; /* not 0: the rows of each head go from halves to interleaved pairs */
    float inverse;  /* masters: what they are multiplied by before rounding */

    /* The weight is trit * its scale: one for all (`scale`: given, or found by weight_measure()),
     * or one for each row or block (`scales`). */
    enum bitnet_scales granularity; /* zero: BITNET_SCALES_TENSOR is meant too */
    float scale;
    const float *scales;

    /* A tensor of a GGUF: how its bytes are read. */
    const struct bitnet_codec *codec;
    struct bitnet_layout from;
    const int8_t *loaded; /* encoded: [rows][cols], by weight_load() */
};

/* What a pass over all numbers told. */
struct weight_verdict {
    bool is_ternary;        /* exactly -s, 0, +s with one s */
    bool is_ternary_by_row; /* with one s for each row */
    float s;                /* 0 when all are zero */
    size_t row; /* where it is not: the first row with two magnitudes, or another one ... */
    float magnitude, other; /* ... and the two magnitudes */
};

static inline bool weight_is_ternary(const struct weight *weight)
{
    return weight->kind != WEIGHT_FLOATS;
}

/* The row of the source that is row `row` of the target. */
size_t weight_source_row(const struct weight *weight, size_t row);

/* Reads all of it once, in parallel: refuses NaN and infinity (row and column of the source named)
 * and packed codes that no trit has; gives masters their scale. `verdict` may be NULL; it is only
 * filled for float dtypes. Memory: 16 bytes per row, and a row of floats per thread. */
enum bitnet_status weight_measure(struct weight *weight, struct bitnet_pool *pool,
                                  struct weight_verdict *verdict, struct bitnet_error *err);
size_t weight_measure_bytes(const struct weight *weight, unsigned n_threads);

/* The largest magnitude of each row of the source; out[rows]. */
enum bitnet_status weight_row_scales(const struct weight *weight, float *out,
                                     struct bitnet_error *err);

/* Decodes an encoded weight into trits[rows][cols] and scales[bitnet_scale_count(&from)], which
 * stay the caller's. FORMAT when a code or scale is damaged. */
enum bitnet_status weight_load(struct weight *weight, int8_t *trits, float *scales,
                               struct bitnet_error *err);

/* The scales that a type of other granularity needs for the same numbers: out[scale count of `to`].
 * INEXACT, with the numbers, when groups that it joins differ; groups without a nonzero trit agree
 * with any. `trits` [rows][cols] in target order. */
enum bitnet_status weight_regroup(const struct weight *weight, const int8_t *trits,
                                  const struct bitnet_layout *to, float *out,
                                  struct bitnet_error *err);

/* Target row `row` as floats, out[cols]; ternary kinds give trit * scale. `trits` is scratch of
 * cols bytes, used by ternary kinds only. */
void weight_floats(const struct weight *weight, size_t row, int8_t *trits, float *out);
/* Target row `row` of a ternary kind as trits, out[cols]. `scratch` has cols floats, used by float
 * dtypes only. */
void weight_trits(const struct weight *weight, size_t row, float *scratch, int8_t *out);

/* "U8 packed", "BF16 masters", "F16 ternary", "F32", "I2_S" */
const char *weight_kind_text(const struct weight *weight);

#endif
