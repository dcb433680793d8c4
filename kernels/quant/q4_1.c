/* Q4_1 (read only): 32 weights as 4-bit levels above a minimum.
 *
 *   | f16 d | f16 m | qs[16] |   qs[j] = | level of j + 16 | level of j |   value = level * d + m
 *
 * Source: ggml/src/ggml-common.h and ggml-quants.c (2025). */
#include "codec.h"

struct block {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t qs[16];
};
BLOCK_IS(struct block, q4_1);

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols; i++) {
        const struct block *b = blocks + i / 32;
        const int level = b->qs[i % 16] >> (i % 32 / 16 * 4) & 15;
        out[i] = (float)level * codec_f16(b->d) + codec_f16(b->m);
    }
}

const struct bitnet_codec bitnet_codec_q4_1 = {.type = BITNET_DTYPE_q4_1,
                                               .decode_rows = decode_rows};
