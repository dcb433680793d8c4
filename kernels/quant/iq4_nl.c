/* IQ4_NL (read only): 32 weights as 4-bit indices into a table of 16 uneven levels.
 *
 *   | f16 d | qs[16] |   qs[j] = | index of j + 16 | index of j |   value = d * table[index]
 *
 * Source of the table: ggml/src/ggml-common.h (2025). */
#include "codec.h"

struct block {
    uint8_t d[2];
    uint8_t qs[16];
};
BLOCK_IS(struct block, iq4_nl);

static const int8_t table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols; i++) {
        const struct block *b = blocks + i / 32;
        out[i] = codec_f16(b->d) * (float)table[b->qs[i % 16] >> (i % 32 / 16 * 4) & 15];
    }
}

const struct bitnet_codec bitnet_codec_iq4_nl = {.type = BITNET_DTYPE_iq4_nl,
                                                 .decode_rows = decode_rows};
