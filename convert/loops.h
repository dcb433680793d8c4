/* The loops over rows of numbers that a whole checkpoint goes through several times. There is one
 * body (loops_body.h), compiled for every set of instructions that pays; all give the same bits,
 * because every sum in them has a defined order. Pure functions of their arguments. */
#ifndef CONVERT_LOOPS_H
#define CONVERT_LOOPS_H

#include <stddef.h>
#include <stdint.h>

/* What one pass over a row's floats tells. Magnitudes as IEEE bits, which order like the numbers.
 */
struct row_facts {
    double sum_abs;
    uint32_t largest;  /* 0x7f800000 or more: the row holds an infinity or a NaN */
    uint32_t smallest; /* of those that are not zero; 0xffffffff: all are zero */
};

#define TERNARY_NOT_FINITE 0x7f800000u
#define TERNARY_ALL_ZERO   0xffffffffu

struct loops {
    const char *name;
    uint32_t needs; /* CPU bits; all must be present */

    /* n numbers of 16 bits, widened. `in` need not be aligned. */
    void (*load_f16)(const uint8_t *in, size_t n, float *out);
    void (*load_bf16)(const uint8_t *in, size_t n, float *out);

    /* sum_abs is defined as 16 lanes of double, lane l adding |x[c]| for c = l, l+16, ... in order;
     * lanes are then added in halves: 8, 4, 2, 1. */
    void (*measure_row)(const float *x, size_t n, struct row_facts *facts);
    /* The largest magnitude of n floats, as bits. */
    uint32_t (*largest)(const float *x, size_t n);
    /* trit = clamp(round_half_even(x * inverse), -1, 1), the product in f32. */
    void (*round_row)(const float *x, size_t n, float inverse, int8_t *trits);
    /* trit = sign of x; -0 is zero. */
    void (*sign_row)(const float *x, size_t n, int8_t *trits);

    /* The same said a second time, in other words, for the proof (verify.c): what round_row must
     * have given, with the sum of |x| in another order; */
    double (*expect_rounded)(const float *x, size_t n, float inverse, int8_t *trits);
    /* what sign_row must have given of -scale, 0, scale: 2, which no codec gives, for others. */
    void (*expect_signs)(const float *x, size_t n, float scale, int8_t *trits);
    double (*largest_difference)(const float *a, const float *b, size_t n); /* of finite numbers */
};

/* The strongest set that this CPU word allows. */
const struct loops *loops_select(uint32_t cpu);
/* Set number i of this build, weakest first; NULL: there is none. */
const struct loops *loops_at(size_t i);

#endif
