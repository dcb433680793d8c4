/* The 12 bytes in which Q4_K and Q5_K keep eight 6-bit scales and eight 6-bit minimums:
 *
 *   s < 4    scale = bytes[s] & 63, minimum = bytes[s + 4] & 63
 *   s >= 4   low nibbles in bytes[s + 4] = | minimum | scale |, the two high bits of the scale on
 *            top of bytes[s - 4], of the minimum on top of bytes[s]
 *
 * Source: ggml/src/ggml-quants.c (2025). */
#ifndef BITNET_QUANT_K_SCALES_H
#define BITNET_QUANT_K_SCALES_H

#include <stddef.h>
#include <stdint.h>

static inline int k_scale(const uint8_t *bytes, size_t s)
{
    return s < 4 ? bytes[s] & 63 : (bytes[s + 4] & 15) | bytes[s - 4] >> 6 << 4;
}

static inline int k_minimum(const uint8_t *bytes, size_t s)
{
    return s < 4 ? bytes[s + 4] & 63 : bytes[s + 4] >> 4 | bytes[s] >> 6 << 4;
}

#endif
