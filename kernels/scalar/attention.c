/* Attention of one query after the other, block by block of keys: scores, weights against the
 * largest score so far, weighted sum of values, in the order that <bitnet/kernels.h> fixes. */
#include "lanes.h"
#include "scalar.h"

#include <bitnet/quant.h>

/* Keys or values: a row per position. */
struct rows {
    const uint8_t *at;
    size_t stride; /* bytes */
    enum bitnet_dtype type;
};

static float element(const struct rows *rows, size_t p, size_t d)
{
    const uint8_t *row = rows->at + p * rows->stride;
    if (rows->type == BITNET_DTYPE_f16) return bitnet_f16_to_f32(bitnet_load_u16(row + 2 * d));
    const uint8_t *block = row + d / 32 * 34; /* q8_0: f16 scale, 32 levels */
    return bitnet_f16_to_f32(bitnet_load_u16(block)) * (float)(int8_t)block[2 + d % 32];
}

static float score(const float *q, const struct rows *k, size_t p, size_t head_dim)
{
    struct lanes l = {{0}};
    for (size_t d = 0; d < head_dim; d++) {
        float *acc = &l.acc[d % BITNET_LANES];
        *acc = fmaf(q[d], element(k, p, d), *acc);
    }
    return lanes_sum(l);
}

/* Scores into weights against `max`; returns their sum. */
static float weigh(float *scores, size_t n, float max)
{
    struct lanes l = {{0}};
    for (size_t p = 0; p < n; p++) {
        scores[p] = bitnet_expf(scores[p] - max);
        l.acc[p % BITNET_LANES] += scores[p];
    }
    return lanes_sum(l);
}

static void add_values(const float *weights, const struct rows *v, size_t first, size_t n,
                       size_t head_dim, float factor, float *out)
{
    for (size_t d = 0; d < head_dim; d++) {
        float acc = out[d] * factor;
        for (size_t p = 0; p < n; p++) acc = fmaf(weights[p], element(v, first + p, d), acc);
        out[d] = acc;
    }
}

static void attend(const float *q, const struct rows *k, const struct rows *v, size_t n_keys,
                   size_t head_dim, float scale, float *acc, float *out)
{
    float weights[BITNET_ATTENTION_BLOCK], max = -INFINITY, sum = 0;
    for (size_t d = 0; d < head_dim; d++) acc[d] = 0;
    for (size_t first = 0; first < n_keys; first += BITNET_ATTENTION_BLOCK) {
        const size_t left = n_keys - first;
        const size_t n = left < BITNET_ATTENTION_BLOCK ? left : BITNET_ATTENTION_BLOCK;
        const float before = max;
        for (size_t p = 0; p < n; p++) {
            weights[p] = score(q, k, first + p, head_dim) * scale;
            max = weights[p] > max ? weights[p] : max;
        }
        const float factor = bitnet_expf(before - max);
        sum = fmaf(sum, factor, weigh(weights, n, max));
        add_values(weights, v, first, n, head_dim, factor, acc);
    }
    for (size_t d = 0; d < head_dim; d++) out[d] = acc[d] / sum;
}

void bitnet_scalar_attention(const float *q, size_t q_stride, size_t n_heads, size_t n_tokens,
                             const uint8_t *k, const uint8_t *v, size_t kv_stride,
                             enum bitnet_dtype kv_type, size_t n_keys, size_t head_dim, float scale,
                             float *scratch, float *out)
{
    const struct rows keys = {k, kv_stride, kv_type}, values = {v, kv_stride, kv_type};
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t h = 0; h < n_heads; h++) {
            const size_t at = t * q_stride + h * head_dim;
            attend(q + at, &keys, &values, n_keys + t, head_dim, scale, scratch, out + at);
        }
    }
}
