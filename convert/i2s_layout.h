/* The two foreign byte layouts of I2_S (formats.md 2.2), read. Their files carry no mark, so only
 * the user can say that a file is in one. */
#ifndef BITNET_I2S_LAYOUT_H
#define BITNET_I2S_LAYOUT_H

#include "bitnet/error.h"

#include <stddef.h>
#include <stdint.h>

/* trits[rows * cols] from the codes of layout 'b' or 'c'. UNSUPPORTED when the shape cannot have
 * it, FORMAT when a code is 3. */
enum bitnet_status i2s_read(char layout, const uint8_t *in, size_t rows, size_t cols, int8_t *trits,
                            struct bitnet_error *err);

#endif
