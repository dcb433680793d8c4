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
    WEIGHT_ENCODED  /* a GGUF tensor of a ternary type: rows are read from a band that is loaded */
};

struct weight {
    const struct loops *loops; /* NULL: those that any CPU runs */
    enum weight_kind kind;
    enum st_kind dtype; /* of `data`: a float kind, or ST_U8 when packed; unused with a codec */
    struct bitnet_bytes data;
    size_t rows, cols;
    bool is_lossy; /* masters that stand for themselves: rounding them changes the model */
    /* Scales that a target cannot keep apart are joined by their mean, each counted as often as it
     * has nonzero trits: what least squares asks for while the trits stay. Else they are refused.
     */
    bool joins_by_mean;
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
    /* Encoded, after weight_load_band(): the trits of the rows from `first_loaded` on, and `scales`
     * of these rows. */
    const int8_t *loaded;
    size_t first_loaded;
};

/* What a pass over all numbers told. */
struct weight_verdict {
    bool is_ternary;        /* exactly -s, 0, +s with one s */
    bool is_ternary_by_row; /* with one s for each row */
    float s;                /* 0 when all are zero */
    size_t row; /* where it is not: the first row with two magnitudes, or another one ... */
    float magnitude, other; /* ... and the two magnitudes */
};

static inline const struct loops *weight_loops(const struct weight *weight)
{
    return weight->loops ? weight->loops : loops_at(0);
}

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

/* What the rows of a band are read from: *band is the weight itself, or, for an encoded one, a copy
 * whose trits [n_rows][cols] and scales are decoded into memory that stays the caller's. FORMAT
 * when a code or scale is damaged. */
struct band_memory {
    int8_t *trits;
    float *scales;
    uint8_t *bytes;
};
enum bitnet_status weight_load_band(struct weight *band, const struct weight *weight, size_t row,
                                    size_t n_rows, const struct band_memory *memory,
                                    struct bitnet_error *err);
/* Rows that weight_load_band() can take: multiples of this. */
size_t weight_band_step(const struct weight *weight);

/* True when the target keeps one scale and the source may have several: then they are joined first.
 */
bool weight_needs_joining(const struct weight *weight, const struct bitnet_layout *to);
/* One scale out of several. Those of groups without a nonzero trit agree with any. */
struct joined_scale {
    bool is_set;      /* by a nonzero trit; else `scale` is just the first one */
    size_t first_row; /* that has it */
    float scale;
};
/* The one scale of rows row .. row + n_rows - 1, whose trits are trits[n_rows][cols]; INEXACT, with
 * the numbers, when they differ. */
enum bitnet_status weight_join_band(const struct weight *band, const int8_t *trits, size_t row,
                                    size_t n_rows, struct joined_scale *joined,
                                    struct bitnet_error *err);
/* Adds those of the rows that follow. */
enum bitnet_status weight_join(struct joined_scale *all, const struct joined_scale *next,
                               struct bitnet_error *err);

/* Adds the scales of rows row .. row + n_rows - 1 to *sum, each as often as it has nonzero trits,
 * and how many those are to *n: the joined scale of a lossy target is their mean. */
void weight_sum_scales(const struct weight *band, const int8_t *trits, size_t row, size_t n_rows,
                       double *sum, uint64_t *n);

/* The scales that the target keeps for a band of rows: out[scale count of the band]. A target with
 * one scale gets weight->scale, which is the joined one by then. */
enum bitnet_status weight_band_scales(const struct weight *band, const int8_t *trits, size_t row,
                                      const struct bitnet_layout *to_band, float *out,
                                      struct bitnet_error *err);

/* Target row `row` as floats [cols]: in `scratch`, or where they lie in the source; ternary kinds
 * give trit * scale. `trits` is scratch of cols bytes, used by ternary kinds only. Of an encoded
 * weight, this and the next need a band. */
const float *weight_floats(const struct weight *weight, size_t row, int8_t *trits, float *scratch);
/* Target row `row` of a ternary kind as trits, out[cols]. `scratch` has cols floats, used by float
 * dtypes only. */
void weight_trits(const struct weight *weight, size_t row, float *scratch, int8_t *out);

/* "U8 packed", "BF16 masters", "F16 ternary", "F32", "I2_S" */
const char *weight_kind_text(const struct weight *weight);

#endif
