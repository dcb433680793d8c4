/* Q2_K (read only): 256 weights as 2-bit levels; each 16 have a 4-bit scale and a 4-bit minimum.
 *
 *   | scales[16] | qs[64] | f16 d | f16 dmin |
 *
 *   element e: half h = e / 128, level at bits 2 (e % 128 / 32) of qs[32 h + e % 32];
 *   scales[e / 16] = | minimum | scale |;  value = d * scale * level - dmin * minimum
 *
 * Source: ggml/src/ggml-common.h and ggml-quants.c (2025). */
#include "codec.h"

struct block {
    uint8_t scales[16];
    uint8_t qs[64];
    uint8_t d[2];
    uint8_t dmin[2];
};
BLOCK_IS(struct block, q2_k);

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols; i++) {
        const struct block *b = blocks + i / 256;
        const size_t e = i % 256;
        const int level = b->qs[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
        const float scale = codec_f16(b->d) * (float)(b->scales[e / 16] & 15);
        out[i] = scale * (float)level - codec_f16(b->dmin) * (float)(b->scales[e / 16] >> 4);
    }
}

const struct bitnet_codec bitnet_codec_q2_k = {.type = BITNET_DTYPE_q2_k,
                                               .decode_rows = decode_rows};
