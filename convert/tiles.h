/* The tiles of TL1 and TL2 tensors: three numbers for each matrix shape, which bitnet.cpp's own
 * files record nowhere. Ours record them as keys; a kernel_config.ini names them for others. */
#ifndef CONVERT_TILES_H
#define CONVERT_TILES_H

#include "bitnet/gguf.h"
#include "bitnet/quant.h"
#include "bitnet/tile_keys.h"

/* What a kernel_config.ini lists. {0} lists nothing. */
struct tiles {
    struct tile_of_shape {
        size_t rows, cols;
        struct bitnet_tile tile;
        unsigned line; /* where its section begins */
    } * at;
    size_t n, cap;
};

/* Fails with NOT_FOUND, FORMAT (the line named), LIMIT, IO, MEMORY. On failure *tiles is {0}. */
enum bitnet_status tiles_read(struct tiles *tiles, const char *path, struct bitnet_error *err);
/* The same from text; for tests. The error does not name a file. */
enum bitnet_status tiles_parse(struct tiles *tiles, struct bitnet_str text,
                               struct bitnet_error *err);
void tiles_free(struct tiles *tiles);
/* False when the shape is not listed. In TL2 sub_rows is 32, whatever the ini says: its format has
 * no other, and published configurations name another all the same. */
bool tiles_find(const struct tiles *tiles, enum bitnet_dtype type, size_t rows, size_t cols,
                struct bitnet_tile *tile);

/* "bitnet.tl.<rows>x<cols>.<field>" into key[96]. */
#define TILE_KEY_BYTES BITNET_TILE_KEY_BYTES
void tile_key(char key[TILE_KEY_BYTES], const struct bitnet_layout *layout, const char *field);
/* The tile of a TL1 or TL2 tensor of a file: from its keys, then from `given` (may be NULL), then
 * from the table of published ones, else UNSUPPORTED. Leaves the layouts of other types alone. */
enum bitnet_status tile_find(struct bitnet_layout *layout, const struct bitnet_gguf *gguf,
                             const struct tiles *given, struct bitnet_error *err);

#endif
