/* Q4_0: 32 weights as 4-bit levels under one binary16 scale.
 *
 *   | f16 d | qs[16] |   qs[j] = | level of j + 16 | level of j |      value = (level - 8) * d
 *
 * Plain: d from the signed element of largest magnitude, which becomes level 0. With an importance:
 * the scale search, weighted by importance * sqrt(sigma2 + x^2), sigma2 = the row's mean square.
 * Source: formats.md 5.2. */
#include "codec.h"
#include "search.h"

#include <math.h>

struct block {
    uint8_t d[2];
    uint8_t qs[16];
};
BLOCK_IS(struct block, q4_0);

static void pack_levels(const uint8_t *levels, struct block *b)
{
    for (size_t j = 0; j < 16; j++) b->qs[j] = (uint8_t)(levels[j] | levels[j + 16] << 4);
}

/* Truncates toward zero, as the format's rounding rule has it; NaN and below 0 give level 0. */
static uint8_t level_of(float v)
{
    return v < 16 ? (uint8_t)(v > 0 ? v : 0) : v >= 16 ? 15 : 0;
}

static void encode_block(const float *x, struct block *b)
{
    float max = 0;
    for (size_t i = 0; i < 32; i++) {
        if (fabsf(x[i]) > fabsf(max)) max = x[i];
    }
    const float d = max / -8, id = d != 0 ? 1.0f / d : 0.0f;
    uint8_t levels[32];
    for (size_t i = 0; i < 32; i++) levels[i] = level_of(x[i] * id + 8.5f);
    codec_store_f16(b->d, d);
    pack_levels(levels, b);
}

static void encode_weighted(const float *x, const float *importance, float sigma2, struct block *b)
{
    float weight[32];
    uint8_t levels[32];
    for (size_t i = 0; i < 32; i++) weight[i] = importance[i] * sqrtf(sigma2 + x[i] * x[i]);
    codec_store_f16(b->d, bitnet_search_scale(x, 32, 8, weight, levels));
    pack_levels(levels, b);
}

static void encode_row(const float *x, size_t cols, const float *importance, struct block *blocks)
{
    float sum = 0;
    for (size_t i = 0; importance && i < cols; i++) sum += x[i] * x[i];
    for (size_t i = 0; i < cols / 32; i++) {
        if (importance) {
            encode_weighted(x + 32 * i, importance + 32 * i, sum / (float)cols, blocks + i);
        } else {
            encode_block(x + 32 * i, blocks + i);
        }
    }
}

static void encode_rows(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                        const float *importance, uint8_t *out)
{
    struct block *blocks = (struct block *)out;
    for (size_t r = 0; r < n_rows; r++) {
        encode_row(in + r * layout->cols, layout->cols, importance, blocks + r * layout->cols / 32);
    }
}

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols; i++) {
        const struct block *b = blocks + i / 32;
        const int level = b->qs[i % 16] >> (i % 32 / 16 * 4) & 15;
        out[i] = (float)(level - 8) * codec_f16(b->d);
    }
}

const struct bitnet_codec bitnet_codec_q4_0 = {
    .type = BITNET_DTYPE_q4_0, .decode_rows = decode_rows, .encode_rows = encode_rows};
