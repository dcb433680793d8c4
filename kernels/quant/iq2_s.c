/* IQ2_S: 256 weights as points of a trained grid of 8 dimensions, signs apart; each 16 have a 4-bit
 * scale. It has no level zero, so ternary weights are not exact in it.
 *
 *   | f16 d | index[32] | signs[32] | qh[8] | scales[8] |
 *
 *   group g = 0 .. 31 of 8 weights: grid point index[g] | (qh[g / 4] >> 2 (g % 4) & 3) << 8;
 *   sign of weight j, bit j of signs[g]; scale of sub-block s = g / 2: nibble s % 2 of
 *   scales[s / 2]
 *
 * Value = d * (0.5 + scale) * 0.25 * grid * sign; a point's coordinates are 8, 25 and 43, which
 * stand for 1, 3 and 5. The quantizer tries 19 scales per sub-block; a group whose rounded levels
 * are no grid point takes the best of the points nearest to them. Every operation is one float32
 * operation in a fixed order, so the bytes are those of the peers' build without FMA.
 * Source: formats.md 4. */
#include "codec.h"
#include "iq2_s_grid.h"
#include "search.h"

#include <math.h>

struct block {
    uint8_t d[2];
    uint8_t index[32];
    uint8_t signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
};
BLOCK_IS(struct block, iq2_s);

/* --- decode --- */

static float value_at(const struct block *b, size_t e)
{
    static const float coordinate[4] = {8, 25, 43, 0};
    const size_t g = e / 8, j = e % 8;
    const unsigned index = b->index[g] | (b->qh[g / 4] >> (2 * (g % 4)) & 3u) << 8;
    const int nibble = b->scales[g / 4] >> (g % 4 / 2 * 4) & 15;
    const float scale = codec_f16(b->d) * (0.5f + (float)nibble) * 0.25f;
    const float point = coordinate[iq2_s_grid_code(index) >> (2 * j) & 3u];
    return scale * point * (b->signs[g] >> j & 1 ? -1.0f : 1.0f);
}

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols; i++) out[i] = value_at(blocks + i / 256, i % 256);
}

/* --- encode: one sub-block of 16 weights, two groups --- */

struct sub_block {
    float weight[16]; /* of each squared error */
    float root[16];   /* square roots of the weights */
    float magnitude[16];
    uint8_t signs[2];
    float max;
    const struct iq2_s_set *set;
};

struct choice {
    uint16_t code[2]; /* a grid point per group */
    bool on_grid[2];  /* the rounded levels were a grid point themselves */
    float scale;
};

static struct sub_block sub_block_of(const float *x, const float *importance, float sigma2,
                                     const struct iq2_s_set *set)
{
    struct sub_block s = {.max = 0, .set = set};
    for (size_t i = 0; i < 16; i++) {
        const float energy = x[i] * x[i];
        s.weight[i] = importance ? importance[i] * sqrtf(sigma2 + energy) : 0.25f * sigma2 + energy;
        s.root[i] = sqrtf(s.weight[i]);
        s.magnitude[i] = x[i] >= 0 ? x[i] : -x[i];
        if (x[i] < 0) s.signs[i / 8] = (uint8_t)(s.signs[i / 8] | 1u << (i % 8));
        s.max = fmaxf(s.max, s.magnitude[i]);
    }
    return s;
}

/* Levels are 0, 1, 2 for the odd multiples 1, 3, 5 of the scale. */
static float odd(uint16_t code, size_t j)
{
    return (float)(2 * (code >> (2 * j) & 3u) + 1);
}

static uint16_t rounded_code(const float *magnitude, float inverse_scale)
{
    unsigned code = 0;
    for (size_t j = 0; j < 8; j++) {
        const int level = nearest_even(0.5f * (inverse_scale * magnitude[j] - 1));
        code |= (unsigned)clamp_int(level, 0, 2) << (2 * j);
    }
    return (uint16_t)code;
}

/* Levels for group k; the point is chosen with `scale` where the rounding leaves the grid. */
static void choose_point(const struct sub_block *s, size_t k, float inverse_scale, float scale,
                         struct choice *c)
{
    const uint16_t code = rounded_code(s->magnitude + 8 * k, inverse_scale);
    c->on_grid[k] = iq2_s_set_has(s->set, code);
    c->code[k] = c->on_grid[k]
                     ? code
                     : iq2_s_set_near(s->set, code, s->magnitude + 8 * k, s->root + 8 * k, scale);
}

struct fit {
    float xq, qq; /* sum of w x q and of w q q over the 16 */
};

static struct fit fit_of(const struct sub_block *s, const struct choice *c)
{
    struct fit f = {0, 0};
    for (size_t i = 0; i < 16; i++) {
        const float q = odd(c->code[i / 8], i % 8);
        f.xq += s->weight[i] * s->magnitude[i] * q;
        f.qq += s->weight[i] * q * q;
    }
    return f;
}

static struct choice best_choice(const struct sub_block *s)
{
    struct choice best = {.on_grid = {true, true}, .scale = s->max / 5};
    float explained = 0;
    for (int is = -9; is <= 9; is++) {
        const float inverse = (5 + (float)is * 0.1f) / s->max;
        struct choice c;
        for (size_t k = 0; k < 2; k++) choose_point(s, k, inverse, 1 / inverse, &c);
        const struct fit f = fit_of(s, &c);
        if (f.qq > 0 && f.xq * f.xq > explained * f.qq) {
            c.scale = f.xq / f.qq;
            explained = c.scale * f.xq;
            best = c;
        }
    }
    return best;
}

/* Groups that left the grid choose again, now with the scale that won. */
static void settle(const struct sub_block *s, struct choice *c)
{
    if ((c->on_grid[0] && c->on_grid[1]) || !(c->scale > 0)) return;
    for (size_t k = 0; k < 2; k++) {
        struct choice again = *c;
        if (c->on_grid[k]) continue;
        choose_point(s, k, 1 / c->scale, c->scale, &again);
        c->code[k] = again.code[k];
    }
    const struct fit f = fit_of(s, c);
    if (f.qq > 0) c->scale = f.xq / f.qq;
}

/* Writes indices and signs of sub-block number n; returns its scale. */
static float encode_sub_block(const float *x, const float *importance, float sigma2, size_t n,
                              const struct iq2_s_set *set, struct block *b)
{
    struct sub_block s = sub_block_of(x, importance, sigma2, set);
    if (s.max < 1e-8f) return 0;
    struct choice c = best_choice(&s);
    settle(&s, &c);
    const bool flip = c.scale < 0;
    for (size_t k = 0; k < 2; k++) {
        const size_t g = 2 * n + k;
        const unsigned index = iq2_s_grid_index(c.code[k]);
        b->index[g] = (uint8_t)index;
        b->qh[g / 4] = (uint8_t)(b->qh[g / 4] | index >> 8 << (2 * (g % 4)));
        b->signs[g] = flip ? (uint8_t)~s.signs[k] : s.signs[k];
    }
    return flip ? -c.scale : c.scale;
}

static void encode_scales(const float *scales, struct block *b)
{
    float max = 0;
    for (size_t n = 0; n < 16; n++) max = fmaxf(max, scales[n]);
    if (max == 0) return;
    const float d = max / 31, id = 1 / d;
    codec_store_f16(b->d, d * 0.9875f);
    for (size_t n = 0; n < 16; n++) {
        const int nibble = clamp_int(nearest_even(0.5f * (id * scales[n] - 1)), 0, 15);
        b->scales[n / 2] = (uint8_t)(b->scales[n / 2] | nibble << (n % 2 * 4));
    }
}

static void encode_block(const float *x, const float *importance, const struct iq2_s_set *set,
                         struct block *b)
{
    float sum = 0, scales[16];
    for (size_t i = 0; i < 256; i++) sum += x[i] * x[i];
    memset(b, 0, sizeof *b);
    for (size_t n = 0; n < 16; n++) {
        const float *w = importance ? importance + 16 * n : NULL;
        scales[n] = encode_sub_block(x + 16 * n, w, 2 * sum / 256, n, set, b);
    }
    encode_scales(scales, b);
}

static void encode_rows(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                        const float *importance, uint8_t *out)
{
    struct block *blocks = (struct block *)out;
    const size_t per_row = layout->cols / 256;
    struct iq2_s_set set;
    iq2_s_set_init(&set);
    for (size_t i = 0; i < n_rows * per_row; i++) {
        const float *w = importance ? importance + 256 * (i % per_row) : NULL;
        encode_block(in + 256 * i, w, &set, blocks + i);
    }
}

const struct bitnet_codec bitnet_codec_iq2_s = {
    .type = BITNET_DTYPE_iq2_s, .decode_rows = decode_rows, .encode_rows = encode_rows};
