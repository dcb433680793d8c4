/* Q3_K (read only): 256 weights as 3-bit levels; each 16 have a 6-bit signed scale.
 *
 *   | hmask[32] | qs[64] | scales[12] | f16 d |
 *
 *   element e: half h = e / 128, part p = e % 128 / 32, l = e % 32
 *     low bits at bits 2 p of qs[32 h + l]; high bit, bit 4 h + p of hmask[l]
 *   scale s of 16: low nibble in scales[s % 8] (high half for s >= 8), two high bits at bits
 *     2 (s / 4) of scales[8 + s % 4]; stored plus 32
 *
 * Value = d * (scale - 32) * (level - 4). Source: ggml/src/ggml-common.h and ggml-quants.c (2025).
 */
#include "codec.h"

struct block {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint8_t d[2];
};
BLOCK_IS(struct block, q3_k);

static int scale_at(const struct block *b, size_t s)
{
    const unsigned low = b->scales[s % 8] >> (s / 8 * 4) & 15u;
    const unsigned high = b->scales[8 + s % 4] >> (s / 4 * 2) & 3u;
    return (int)(low | high << 4) - 32;
}

static int level_at(const struct block *b, size_t e)
{
    const size_t h = e / 128, p = e % 128 / 32, l = e % 32;
    const int low = b->qs[32 * h + l] >> (2 * p) & 3;
    const int high = b->hmask[l] >> (4 * h + p) & 1;
    return low + 4 * high - 4;
}

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols; i++) {
        const struct block *b = blocks + i / 256;
        const size_t e = i % 256;
        out[i] = codec_f16(b->d) * (float)scale_at(b, e / 16) * (float)level_at(b, e);
    }
}

const struct bitnet_codec bitnet_codec_q3_k = {.type = BITNET_DTYPE_q3_k,
                                               .decode_rows = decode_rows};
