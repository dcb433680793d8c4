/* Deals out one block of memory. Runs twice: without memory, to count; with it, to place. The block
 * may be a device's: nobody follows an address here. */
#ifndef BITNET_RUNTIME_CARVER_H
#define BITNET_RUNTIME_CARVER_H

#include "bitnet/bytes.h"

struct carver {
    uint8_t *base; /* NULL: counting */
    uint64_t used;
    bool overflowed;
};

static inline void *carve(struct carver *carver, uint64_t n, uint64_t size)
{
    uint64_t at = carver->used, n_bytes;
    if (!bitnet_mul_u64(n, size, &n_bytes) || !bitnet_align_up_u64(n_bytes, 64, &n_bytes) ||
        !bitnet_add_u64(at, n_bytes, &carver->used) || carver->used > SIZE_MAX / 2)
        carver->overflowed = true;
    if (carver->overflowed || !carver->base) return NULL;
    return carver->base + at;
}

/* a * b, or an overflow noted. */
static inline uint64_t carver_product(struct carver *carver, uint64_t a, uint64_t b)
{
    uint64_t r = 0;
    if (!bitnet_mul_u64(a, b, &r)) carver->overflowed = true;
    return r;
}

#endif
