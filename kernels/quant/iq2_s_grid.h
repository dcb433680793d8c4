/* The grid of IQ2_S: 1024 points of {0, 1, 2}^8, a point as a code with coordinate j in bits
 * 2j..2j+1, codes ascending with the index. A trained table; formats.md 4.2. */
#ifndef BITNET_QUANT_IQ2_S_GRID_H
#define BITNET_QUANT_IQ2_S_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint16_t iq2_s_grid_code(unsigned index); /* index < 1024 */
unsigned iq2_s_grid_index(uint16_t code); /* of a code that the grid has */

/* The codes of the grid as a set, which a quantizer makes once per call. */
struct iq2_s_set {
    uint32_t bits[65536 / 32];
};

void iq2_s_set_init(struct iq2_s_set *set);

static inline bool iq2_s_set_has(const struct iq2_s_set *set, uint16_t code)
{
    return set->bits[code / 32] >> (code % 32) & 1u;
}

/* Of the grid points at the least distance from `code`, the one that fits best: least sum over j of
 * root[j] * (scale * (2 * coordinate + 1) - x[j])^2, the lowest code on ties (formats.md 4.4). */
uint16_t iq2_s_set_near(const struct iq2_s_set *set, uint16_t code, const float *x,
                        const float *root, float scale);

#endif
