/* Attention of one query after the other: scores, softmax, weighted sum of values, in the order
 * that <bitnet/kernels.h> fixes. */
#include "lanes.h"
#include "scalar.h"

static float score(const float *q, const uint16_t *k, size_t head_dim)
{
    struct lanes l = {{0}};
    for (size_t d = 0; d < head_dim; d++) {
        const float key = bitnet_f16_to_f32(k[d]);
        float *acc = &l.acc[d % BITNET_LANES];
        *acc = fmaf(q[d], key, *acc);
    }
    return lanes_sum(l);
}

/* Scores into weights; returns their sum. */
static float softmax(float *scores, size_t n)
{
    float max = -INFINITY;
    for (size_t p = 0; p < n; p++) max = scores[p] > max ? scores[p] : max;
    struct lanes l = {{0}};
    for (size_t p = 0; p < n; p++) {
        scores[p] = bitnet_expf(scores[p] - max);
        l.acc[p % BITNET_LANES] += scores[p];
    }
    return lanes_sum(l);
}

static void attend(const float *q, const uint16_t *k, const uint16_t *v, size_t kv_stride,
                   size_t n_keys, size_t head_dim, float scale, float *weights, float *out)
{
    for (size_t p = 0; p < n_keys; p++) weights[p] = score(q, k + p * kv_stride, head_dim) * scale;
    const float sum = softmax(weights, n_keys);
    for (size_t d = 0; d < head_dim; d++) {
        float acc = 0;
        for (size_t p = 0; p < n_keys; p++) {
            acc = fmaf(weights[p], bitnet_f16_to_f32(v[p * kv_stride + d]), acc);
        }
        out[d] = acc / sum;
    }
}

void bitnet_scalar_attention(const float *q, size_t q_stride, size_t n_heads, size_t n_tokens,
                             const uint16_t *k, const uint16_t *v, size_t kv_stride, size_t n_keys,
                             size_t head_dim, float scale, float *scratch, float *out)
{
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t h = 0; h < n_heads; h++) {
            const size_t at = t * q_stride + h * head_dim;
            attend(q + at, k, v, kv_stride, n_keys + t, head_dim, scale, scratch, out + at);
        }
    }
}
