/* Q8_0: 32 weights as signed bytes under one binary16 scale.
 *
 *   | f16 d | i8 q[32] |        value = d * q
 *
 * d = f16(max |x| / 127); q = x times the inverse of the unrounded quotient, half away from zero.
 * Source: formats.md 5.1. */
#include "codec.h"

#include <math.h>

struct block {
    uint8_t d[2];
    uint8_t q[32];
};
BLOCK_IS(struct block, q8_0);

/* A magnitude so small that its inverse overflows gives levels at the end of the range. */
static int8_t level_of(float v)
{
    const float r = roundf(v);
    return (int8_t)(r > 127 ? 127 : r > -127 ? r : -127);
}

/* The same for many numbers of magnitudes up to 127 and a rounding more, in steps that vectors
 * have: the whole part, and one more when what remains, which is exact, is a half at least. */
static void levels_of(const float *x, float inverse, uint8_t *q)
{
    for (size_t i = 0; i < 32; i++) {
        const float v = x[i] * inverse, magnitude = fabsf(v);
        const int whole = (int)magnitude, rounded = whole + (magnitude - (float)whole >= 0.5f);
        const int level = rounded > 127 ? 127 : rounded;
        q[i] = (uint8_t)(v < 0 ? -level : level);
    }
}

static void encode_block(const float *x, struct block *b)
{
    float amax = 0;
    for (size_t i = 0; i < 32; i++) amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    const float d = amax / 127.0f, id = d != 0 ? 1.0f / d : 0.0f;
    codec_store_f16(b->d, d);
    if (isfinite(id)) {
        levels_of(x, id, b->q);
        return;
    }
    for (size_t i = 0; i < 32; i++) b->q[i] = (uint8_t)level_of(x[i] * id);
}

static void encode_rows(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                        const float *importance, uint8_t *out)
{
    (void)importance;
    struct block *blocks = (struct block *)out;
    const size_t n = n_rows * layout->cols / 32;
    for (size_t i = 0; i < n; i++) encode_block(in + 32 * i, blocks + i);
}

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols / 32; i++) {
        const float d = codec_f16(blocks[i].d);
        for (size_t e = 0; e < 32; e++) out[32 * i + e] = d * (float)(int8_t)blocks[i].q[e];
    }
}

const struct bitnet_codec bitnet_codec_q8_0 = {
    .type = BITNET_DTYPE_q8_0, .decode_rows = decode_rows, .encode_rows = encode_rows};
