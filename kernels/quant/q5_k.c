/* Q5_K (read only): Q4_K with a fifth bit per level.
 *
 *   | f16 d | f16 dmin | scales[12] | qh[32] | qs[128] |
 *
 *   element e: s = e / 32; low bits in qs[32 (s / 2) + e % 32], low nibble for even s, high for
 *   odd; fifth bit, bit s of qh[e % 32]
 *
 * Value = d * scale[s] * level - dmin * minimum[s]; k_scales.h unpacks the twelve bytes.
 * Source: ggml/src/ggml-common.h and ggml-quants.c (2025). */
#include "codec.h"
#include "k_scales.h"

struct block {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
};
BLOCK_IS(struct block, q5_k);

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols; i++) {
        const struct block *b = blocks + i / 256;
        const size_t s = i % 256 / 32, l = i % 32;
        const int low = b->qs[s / 2 * 32 + l] >> (s % 2 * 4) & 15;
        const int level = low + 16 * (b->qh[l] >> s & 1);
        const float scale = codec_f16(b->d) * (float)k_scale(b->scales, s);
        out[i] = scale * (float)level - codec_f16(b->dmin) * (float)k_minimum(b->scales, s);
    }
}

const struct bitnet_codec bitnet_codec_q5_k = {.type = BITNET_DTYPE_q5_k,
                                               .decode_rows = decode_rows};
