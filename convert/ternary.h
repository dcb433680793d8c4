/* Rows of floats and packed bytes -> trits. Pure functions on rows; who calls them for which rows,
 * and on which thread, cannot change a bit of the result. */
#ifndef CONVERT_TERNARY_H
#define CONVERT_TERNARY_H

#include "loops.h"
#include "safetensors.h"

#include <string.h>

static inline float ternary_magnitude(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* n numbers of a float dtype, widened (F64: rounded) to f32. `in` need not be aligned. */
void floats_load(const struct loops *loops, enum st_kind kind, const uint8_t *in, size_t n,
                 float *out);

/* The same numbers where they lie, when they are f32 as this machine has them (little-endian and
 * aligned: so is nearly every file); else NULL. Spares a copy of gigabytes. */
const float *floats_in_place(enum st_kind kind, const uint8_t *in);

/* The absmean scale of a matrix from its rows' facts: mean = (f32) of the sum over rows in order,
 * divided by the count; inverse = 1 / max(mean, 1e-5); scale = 1 / inverse, all f32.
 * (formats.md 2.3) */
struct absmean {
    float scale, inverse;
};
struct absmean ternary_absmean(const struct row_facts *facts, size_t rows, size_t cols);

/* Columns of row `row` out of U8 [ceil(rows/4)][cols], where packed row p holds rows p, p + R,
 * p + 2R, p + 3R (R = number of packed rows) in bits 0-1, 2-3, 4-5, 6-7 as trit + 1.
 * (formats.md 6.1) */
void ternary_unpack_row(const uint8_t *packed, size_t rows, size_t cols, size_t row, int8_t *trits);

#endif
