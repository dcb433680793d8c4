/* LZ4 frames, unpacked into a buffer of known size. */
#ifndef BITNET_HUB_LZ4_H
#define BITNET_HUB_LZ4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when `in` is one whole frame that unpacks to exactly `n_out` bytes. Check sums in the frame
 * are passed over: what is unpacked here is judged by a stronger one later. */
bool hub_lz4_frame(const uint8_t *in, size_t n, uint8_t *out, size_t n_out);

#endif
