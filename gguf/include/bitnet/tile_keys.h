/* The metadata that says how TL1 and TL2 tensors of one shape were cut into tiles:
 * bitnet.tl.version (1, or absent) and bitnet.tl.<rows>x<cols>.{bm,bk,bmm}; docs/metadata.md. */
#ifndef BITNET_TILE_KEYS_H
#define BITNET_TILE_KEYS_H

#include "bitnet/gguf.h"

#define BITNET_TILE_KEY_BYTES 96

struct bitnet_tile_keys {
    uint32_t bm, bk, bmm; /* all 0: the file does not say */
};

/* FORMAT when some of the three are missing or out of range, LIMIT or FORMAT for another version:
 * its keys may mean something else. */
enum bitnet_status bitnet_tile_keys_read(struct bitnet_tile_keys *keys,
                                         const struct bitnet_gguf *gguf, size_t rows, size_t cols,
                                         struct bitnet_error *err);
/* "bitnet.tl.<rows>x<cols>.<field>" */
void bitnet_tile_key(char key[BITNET_TILE_KEY_BYTES], size_t rows, size_t cols, const char *field);

#endif
