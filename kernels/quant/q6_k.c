/* Q6_K: 256 weights as 6-bit levels, a signed byte of scale per 16, one binary16 scale over all.
 *
 *   | ql[128] low 4 bits | qh[64] high 2 bits | i8 scales[16] | f16 d |
 *
 *   per half h of 128, for l = 0 .. 31 (level numbers within the half):
 *     ql[64h + l]      | L[l + 64] & 15 | L[l]      & 15 |
 *     ql[64h + l + 32] | L[l + 96] & 15 | L[l + 32] & 15 |
 *     qh[32h + l]      | L[l+96] >> 4 | L[l+64] >> 4 | L[l+32] >> 4 | L[l] >> 4 |
 *
 * Value of element e = (d * scales[e / 16]) * (L[e] - 32). Source: formats.md 5.3. */
#include "codec.h"
#include "search.h"

#include <math.h>

struct block {
    uint8_t ql[128];
    uint8_t qh[64];
    uint8_t scales[16];
    uint8_t d[2];
};
BLOCK_IS(struct block, q6_k);

static void pack_levels(const uint8_t *levels, struct block *b)
{
    for (size_t h = 0; h < 2; h++) {
        const uint8_t *level = levels + 128 * h;
        for (size_t l = 0; l < 32; l++) {
            const unsigned a = level[l], e = level[l + 32], i = level[l + 64], o = level[l + 96];
            b->ql[64 * h + l] = (uint8_t)((a & 15u) | (i & 15u) << 4);
            b->ql[64 * h + l + 32] = (uint8_t)((e & 15u) | (o & 15u) << 4);
            b->qh[32 * h + l] = (uint8_t)(a >> 4 | (e >> 4) << 2 | (i >> 4) << 4 | (o >> 4) << 6);
        }
    }
}

static float largest_scale(const float *scales)
{
    float max = 0;
    for (size_t j = 0; j < 16; j++) {
        if (fabsf(scales[j]) > fabsf(max)) max = scales[j];
    }
    return max;
}

/* Levels again, now for the scale as it is stored; a scale of zero keeps the searched ones. */
static void refine_levels(const float *x, float dd, uint8_t *levels)
{
    if (dd == 0) return;
    for (size_t i = 0; i < 16; i++) {
        levels[i] = (uint8_t)(clamp_int(nearest_even(x[i] / dd), -32, 31) + 32);
    }
}

static void encode_block(const float *x, const float *importance, struct block *b)
{
    uint8_t levels[256];
    float scales[16];
    for (size_t j = 0; j < 16; j++) {
        scales[j] = bitnet_search_scale(x + 16 * j, 16, 32, importance ? importance + 16 * j : NULL,
                                        levels + 16 * j);
    }
    memset(b, 0, sizeof *b);
    const float max = largest_scale(scales);
    if (fabsf(max) < 1e-15f) return;
    const float inverse = -128.0f / max;
    codec_store_f16(b->d, 1 / inverse);
    for (size_t j = 0; j < 16; j++) {
        const int scale = nearest_even(inverse * scales[j]);
        b->scales[j] = (uint8_t)(int8_t)(scale > 127 ? 127 : scale);
        refine_levels(x + 16 * j, codec_f16(b->d) * (float)(int8_t)b->scales[j], levels + 16 * j);
    }
    pack_levels(levels, b);
}

static void encode_rows(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                        const float *importance, uint8_t *out)
{
    struct block *blocks = (struct block *)out;
    const size_t per_row = layout->cols / 256;
    for (size_t i = 0; i < n_rows * per_row; i++) {
        const float *w = importance ? importance + 256 * (i % per_row) : NULL;
        encode_block(in + 256 * i, w, blocks + i);
    }
}

static int level_at(const struct block *b, size_t e)
{
    const size_t h = e / 128, part = e % 128 / 32, l = e % 32;
    const unsigned low = b->ql[64 * h + 32 * (part % 2) + l] >> (4 * (part / 2)) & 15u;
    const unsigned high = b->qh[32 * h + l] >> (2 * part) & 3u;
    return (int)(low | high << 4) - 32;
}

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols / 256; i++) {
        const struct block *b = blocks + i;
        const float d = codec_f16(b->d);
        for (size_t e = 0; e < 256; e++)
            out[256 * i + e] = d * (float)(int8_t)b->scales[e / 16] * (float)level_at(b, e);
    }
}

const struct bitnet_codec bitnet_codec_q6_k = {
    .type = BITNET_DTYPE_q6_k, .decode_rows = decode_rows, .encode_rows = encode_rows};
