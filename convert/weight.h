/* One tensor of the source as rows of numbers, whatever its spelling there: floats, float masters
 * that stand for trits, or packed trits. Rows are asked for in the order of the target, so the
 * permutation that a rope convention asks for lives here and nowhere else. */
#ifndef CONVERT_WEIGHT_H
#define CONVERT_WEIGHT_H

#include "bitnet/error.h"
#include "bitnet/pool.h"

#include "ternary.h"

enum weight_kind {
    WEIGHT_FLOATS,  /* numbers */
    WEIGHT_MASTERS, /* floats that the model makes ternary by absmean */
    WEIGHT_TERNARY, /* floats that are exactly -s, 0, +s already */
    WEIGHT_PACKED   /* U8 trits and one scale */
};

struct weight {
    enum weight_kind kind;
    enum st_kind dtype; /* of `data`: a float kind, or ST_U8 when packed */
    struct bitnet_bytes data;
    size_t rows, cols;
    bool is_lossy;  /* masters that stand for themselves: rounding them changes the model */
    size_t n_heads; /* not 0: the rows of each head go from halves to interleaved pairs */
    float scale;    /* the weight is trit * scale; packed: given, else found by weight_measure() */
    float inverse;  /* masters: what they are multiplied by before rounding */
};

/* What a pass over all numbers told. */
struct weight_verdict {
    bool is_ternary; /* exactly -s, 0, +s with one s */
    float s;         /* 0 when all are zero */
    size_t row;      /* where it is not: the first row with two magnitudes, or another one ... */
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

/* Target row `row` as floats, out[cols]; ternary kinds give trit * scale. `trits` is scratch of
 * cols bytes, used by ternary kinds only. */
void weight_floats(const struct weight *weight, size_t row, int8_t *trits, float *out);
/* Target row `row` of a ternary kind as trits, out[cols]. `scratch` has cols floats, used by float
 * dtypes only. */
void weight_trits(const struct weight *weight, size_t row, float *scratch, int8_t *out);

/* "U8 packed", "BF16 masters", "F16 ternary", "F32" */
const char *weight_kind_text(const struct weight *weight);

#endif
