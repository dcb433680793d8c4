/* Two-bit codes, four to a byte, as I2_S, TQ2_0 and IQ2_BN keep them: 0, 1, 2 for -1, 0, +1, and 3
 * for nothing. Loops of constant length over separate arrays, which compilers turn into vector
 * code: a model has billions of these. */
#ifndef BITNET_QUANT_CODES_H
#define BITNET_QUANT_CODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Does one of the bytes hold code 3? (Both bits of a pair.) */
static inline bool codes_have_3(const uint8_t *in, size_t n)
{
    unsigned seen = 0;
    for (size_t i = 0; i < n; i++) seen |= in[i] & (unsigned)(in[i] >> 1);
    return (seen & 0x55u) != 0;
}

/* trits[n * k + p] from bits first_shift + k * step of in[p], for k = 0 .. 3. `n` is a constant. */
static inline __attribute__((always_inline)) void codes_to_trits(const uint8_t *restrict in,
                                                                 size_t n, int first_shift,
                                                                 int step, int8_t *restrict trits)
{
    for (int k = 0; k < 4; k++) {
        const int shift = first_shift + k * step;
        for (size_t p = 0; p < n; p++) {
            trits[n * (size_t)k + p] = (int8_t)((in[p] >> shift & 3) - 1);
        }
    }
}

/* The other way round. */
static inline __attribute__((always_inline)) void trits_to_codes(const int8_t *restrict trits,
                                                                 size_t n, int first_shift,
                                                                 int step, uint8_t *restrict out)
{
    for (size_t p = 0; p < n; p++) {
        unsigned byte = 0;
        for (int k = 0; k < 4; k++) {
            byte |= (unsigned)(trits[n * (size_t)k + p] + 1) << (first_shift + k * step);
        }
        out[p] = (uint8_t)byte;
    }
}

#endif
