/* Rows of floats and packed bytes -> trits. Pure functions on rows; who calls them for which rows,
 * and on which thread, cannot change a bit of the result. */
#ifndef CONVERT_TERNARY_H
#define CONVERT_TERNARY_H

#include "safetensors.h"

#include <string.h>

/* What one pass over a row's floats tells. Magnitudes as IEEE bits, which order like the numbers.
 */
struct row_facts {
    double sum_abs;
    uint32_t largest;  /* 0x7f800000 or more: the row holds an infinity or a NaN */
    uint32_t smallest; /* of those that are not zero; 0xffffffff: all are zero */
};

#define TERNARY_NOT_FINITE 0x7f800000u
#define TERNARY_ALL_ZERO   0xffffffffu

static inline float ternary_magnitude(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* n numbers of a float dtype, widened (F64: rounded) to f32. `in` need not be aligned. */
void floats_load(enum st_kind kind, const uint8_t *in, size_t n, float *out);

/* The largest magnitude of n floats, as bits. */
uint32_t floats_largest(const float *x, size_t n);

/* sum_abs is defined as 16 lanes of double, lane l adding |x[c]| for c = l, l+16, ... in order;
 * lanes are then added in halves: 8, 4, 2, 1. */
void ternary_measure_row(const float *x, size_t n, struct row_facts *facts);

/* The absmean scale of a matrix from its rows' facts: mean = (f32) of the sum over rows in order,
 * divided by the count; inverse = 1 / max(mean, 1e-5); scale = 1 / inverse, all f32.
 * (formats.md 2.3) */
struct absmean {
    float scale, inverse;
};
struct absmean ternary_absmean(const struct row_facts *facts, size_t rows, size_t cols);

/* trit = clamp(round_half_even(x * inverse), -1, 1), the product in f32. */
void ternary_round_row(const float *x, size_t n, float inverse, int8_t *trits);
/* trit = sign of x; -0 is zero. */
void ternary_sign_row(const float *x, size_t n, int8_t *trits);

/* Columns of row `row` out of U8 [ceil(rows/4)][cols], where packed row p holds rows p, p + R,
 * p + 2R, p + 3R (R = number of packed rows) in bits 0-1, 2-3, 4-5, 6-7 as trit + 1.
 * (formats.md 6.1) */
void ternary_unpack_row(const uint8_t *packed, size_t rows, size_t cols, size_t row, int8_t *trits);

#endif
