/* Q2_0, mainline ggml's two-bit type of 2026 (read only): 64 weights of four levels under one
 * binary16 scale.
 *
 *   | f16 d | qs[16] |   element e at bits 2 (e % 4) of qs[e / 4];  value = (q - 1) * d
 *
 * Source: ggml/src/ggml-quants.c (2026). */
#include "codec.h"

struct block {
    uint8_t d[2];
    uint8_t qs[16];
};
BLOCK_IS(struct block, q2_0);

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols; i++) {
        const struct block *b = blocks + i / 64;
        const int q = b->qs[i % 64 / 4] >> (2 * (i % 4)) & 3;
        out[i] = (float)(q - 1) * codec_f16(b->d);
    }
}

const struct bitnet_codec bitnet_codec_q2_0 = {.type = BITNET_DTYPE_q2_0,
                                               .decode_rows = decode_rows};
