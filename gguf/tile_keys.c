/* See bitnet/tile_keys.h. The one place that reads these keys; what a tile means is the business of
 * the codecs in kernels/quant. */
#include "bitnet/tile_keys.h"

#include <stdio.h>

#define TILE_MAX 1048576u

void bitnet_tile_key(char key[BITNET_TILE_KEY_BYTES], size_t rows, size_t cols, const char *field)
{
    snprintf(key, BITNET_TILE_KEY_BYTES, "bitnet.tl.%zux%zu.%s", rows, cols, field);
}

enum bitnet_status bitnet_tile_keys_read(struct bitnet_tile_keys *keys,
                                         const struct bitnet_gguf *gguf, size_t rows, size_t cols,
                                         struct bitnet_error *err)
{
    const struct {
        const char *field;
        uint32_t *number;
    } fields[] = {{"bm", &keys->bm}, {"bk", &keys->bk}, {"bmm", &keys->bmm}};
    uint64_t value;
    *keys = (struct bitnet_tile_keys){0};
    enum bitnet_status status =
        bitnet_gguf_u64(gguf, "bitnet.tl.version", 1, 1, BITNET_GGUF_OPTIONAL, &value, err);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && !status; i++) {
        char key[BITNET_TILE_KEY_BYTES];
        value = 0;
        bitnet_tile_key(key, rows, cols, fields[i].field);
        status = bitnet_gguf_u64(gguf, key, 1, TILE_MAX, BITNET_GGUF_OPTIONAL, &value, err);
        *fields[i].number = (uint32_t)value;
    }
    if (status || (keys->bm && keys->bk && keys->bmm) || (!keys->bm && !keys->bk && !keys->bmm))
        return status;
    return bitnet_fail(err, BITNET_FORMAT,
                       "the keys bitnet.tl.%zux%zu.bm, .bk and .bmm are not all there", rows, cols);
}
