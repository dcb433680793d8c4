/* Q4_K (read only): 256 weights as 4-bit levels; each 32 have a 6-bit scale and a 6-bit minimum.
 *
 *   | f16 d | f16 dmin | scales[12] | qs[128] |
 *
 *   element e: s = e / 32; level in qs[32 (s / 2) + e % 32], low nibble for even s, high for odd
 *
 * Value = d * scale[s] * level - dmin * minimum[s]; k_scales.h unpacks the twelve bytes.
 * Source: ggml/src/ggml-common.h and ggml-quants.c (2025). */
#include "codec.h"
#include "k_scales.h"

struct block {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t scales[12];
    uint8_t qs[128];
};
BLOCK_IS(struct block, q4_k);

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols; i++) {
        const struct block *b = blocks + i / 256;
        const size_t s = i % 256 / 32;
        const int level = b->qs[s / 2 * 32 + i % 32] >> (s % 2 * 4) & 15;
        const float scale = codec_f16(b->d) * (float)k_scale(b->scales, s);
        out[i] = scale * (float)level - codec_f16(b->dmin) * (float)k_minimum(b->scales, s);
    }
}

const struct bitnet_codec bitnet_codec_q4_k = {.type = BITNET_DTYPE_q4_k,
                                               .decode_rows = decode_rows};
