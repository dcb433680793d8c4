/* How TQ1_0 and TQ2_0 make trits of 256 floats: the largest magnitude is the scale, each weight is
 * rounded to its nearest multiple, half away from zero (formats.md 5.5). */
#ifndef BITNET_QUANT_TERNARY_BLOCK_H
#define BITNET_QUANT_TERNARY_BLOCK_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Returns the scale; it is stored as binary16, while the trits come from the unrounded one. */
static inline float ternarize_block(const float *x, int8_t *trits)
{
    float amax = 0;
    for (size_t i = 0; i < 256; i++) amax = fmaxf(amax, fabsf(x[i]));
    const float id = amax != 0 ? 1.0f / amax : 0.0f;
    for (size_t i = 0; i < 256; i++) {
        const float v = x[i] * id;
        trits[i] = v >= 0.5f ? 1 : v <= -0.5f ? -1 : 0;
    }
    return amax;
}

#endif
