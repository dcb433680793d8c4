/* Template: attention in lanes. All queries that share keys are handled together: sixteen keys
 * (then values) at a time are widened from binary16 into a buffer that stays in the first cache,
 * and every query uses them. The order of each query's own sums is that of <bitnet/kernels.h>.
 *
 * Scratch: one row per query of n_keys + n_tokens + 15 floats: its scores, which become its
 * weights, padded with zeros to a whole register; the last float keeps their sum.
 *
 * Included once by the float file of each set, after its vec and with NAME(slot) defined. */
#include "../scalar/scalar.h"

#include <math.h>
#include <string.h>

enum { KEYS = 16, DIM_MAX = 512, KEY_TILE = ATTENTION_KEYS };

struct job {
    const float *q;
    const uint16_t *k, *v;
    float *scratch, *out;
    size_t q_stride, n_heads, n_tokens, kv_stride, n_keys, head_dim, padded_dim;
    float scale;
};

static size_t row_floats(const struct job *j)
{
    return j->n_keys + j->n_tokens + 15;
}

static float *weights_of(const struct job *j, size_t t, size_t h)
{
    return j->scratch + (t * j->n_heads + h) * row_floats(j);
}

static size_t at(const struct job *j, size_t t, size_t h)
{
    return t * j->q_stride + h * j->head_dim;
}

/* Of the positions first .. first + KEYS - 1, how many token t sees. */
static size_t visible(const struct job *j, size_t t, size_t first)
{
    const size_t n = j->n_keys + t;
    return n <= first ? 0 : n - first < KEYS ? n - first : KEYS;
}

/* n vectors of binary16 into buffer[n][padded_dim], zeros behind head_dim. */
static void widen(const struct job *j, const uint16_t *from, size_t n, float *buffer)
{
    for (size_t p = 0; p < n; p++, from += j->kv_stride, buffer += j->padded_dim) {
        size_t d = 0;
        for (; d + VEC_LANES <= j->head_dim; d += VEC_LANES) {
            vec_store(buffer + d, vec_from_f16(from + d));
        }
        for (; d < j->head_dim; d++) buffer[d] = bitnet_f16_to_f32(from[d]);
        for (; d < j->padded_dim; d++) buffer[d] = 0;
    }
}

/* --- scores --- */

/* Lanes that the head's dimension does not reach stay as they are: a choice, because adding zero
 * would turn -0 into +0. */
static vec add_last(const float *q, const float *k, size_t n, vec acc)
{
    return vec_choose_some(vec_fma(vec_load_some(q, n), vec_load(k), acc), acc, n);
}

/* The scores of one query and n keys (a constant), which share the loads of the query. */
INLINE void scores_of(const float *q, const float *k, size_t k_stride, size_t dim, size_t n,
                      float scale, float *scores)
{
    vec acc[KEY_TILE][VEC_REGS];
    UNROLL for (size_t p = 0; p < n; p++)
    {
        UNROLL for (size_t i = 0; i < VEC_REGS; i++) acc[p][i] = vec_zero();
    }
    size_t d = 0;
    for (; d + BITNET_LANES <= dim; d += BITNET_LANES) {
        UNROLL for (size_t i = 0; i < VEC_REGS; i++)
        {
            const size_t at_i = d + VEC_LANES * i;
            const vec part = vec_load(q + at_i);
            UNROLL for (size_t p = 0; p < n; p++)
            {
                acc[p][i] = vec_fma(part, vec_load(k + p * k_stride + at_i), acc[p][i]);
            }
        }
    }
    UNROLL for (size_t i = 0; i < VEC_REGS; i++)
    {
        const size_t from = d + VEC_LANES * i, left = dim > from ? dim - from : 0;
        if (left) {
            UNROLL for (size_t p = 0; p < n; p++)
            {
                acc[p][i] = add_last(q + from, k + p * k_stride + from,
                                     left < VEC_LANES ? left : VEC_LANES, acc[p][i]);
            }
        }
    }
    if (n == KEY_TILE) {
        vec_sum_keys(acc, scale, scores);
    } else {
        UNROLL for (size_t p = 0; p < n; p++) scores[p] = vec_sum(acc[p]) * scale;
    }
}

static void score_keys(const struct job *j, size_t first, size_t n, float *buffer)
{
    widen(j, j->k + first * j->kv_stride, n, buffer);
    for (size_t t = 0; t < j->n_tokens; t++) {
        for (size_t h = 0; h < j->n_heads; h++) {
            const float *q = j->q + at(j, t, h);
            float *scores = weights_of(j, t, h) + first;
            const size_t seen = visible(j, t, first);
            size_t p = 0;
            for (; p + KEY_TILE <= seen; p += KEY_TILE) {
                scores_of(q, buffer + p * j->padded_dim, j->padded_dim, j->head_dim, KEY_TILE,
                          j->scale, scores + p);
            }
            for (; p < seen; p++) {
                scores_of(q, buffer + p * j->padded_dim, j->padded_dim, j->head_dim, 1, j->scale,
                          scores + p);
            }
        }
    }
}

/* --- softmax --- */

static float largest(const float *scores, size_t n)
{
    vec max = vec_set(-INFINITY);
    for (size_t p = 0; p < n; p += VEC_LANES) max = vec_max(vec_load(scores + p), max);
    return vec_largest(max);
}

/* Scores into weights, padded with zeros (e^-inf) to a whole register; returns their sum. */
static float softmax(float *scores, size_t n)
{
    for (size_t p = n; p % VEC_LANES; p++) scores[p] = -INFINITY;
    const vec max = vec_set(largest(scores, n));
    vec acc[VEC_REGS];
    UNROLL for (size_t i = 0; i < VEC_REGS; i++) acc[i] = vec_zero();
    for (size_t p = 0; p < n; p += VEC_LANES) {
        const vec w = vec_expf(vec_sub(vec_load(scores + p), max));
        vec_store(scores + p, w);
        acc[p / VEC_LANES % VEC_REGS] = vec_add(acc[p / VEC_LANES % VEC_REGS], w);
    }
    return vec_sum(acc);
}

/* --- weighted sum of values --- */

/* out[0 .. n_regs registers) += weights[p] * v[p] for p < n, p ascending. */
INLINE void add_values(const float *weights, size_t n, const float *v, size_t v_stride,
                       size_t n_regs, float *out)
{
    vec acc[8];
    UNROLL for (size_t i = 0; i < n_regs; i++) acc[i] = vec_load(out + VEC_LANES * i);
    for (size_t p = 0; p < n; p++) {
        const vec w = vec_set(weights[p]);
        UNROLL for (size_t i = 0; i < n_regs; i++)
        {
            acc[i] = vec_fma(w, vec_load(v + p * v_stride + VEC_LANES * i), acc[i]);
        }
    }
    UNROLL for (size_t i = 0; i < n_regs; i++) vec_store(out + VEC_LANES * i, acc[i]);
}

static void add_last_values(const float *weights, size_t n, const float *v, size_t v_stride,
                            size_t dim, float *out)
{
    for (size_t d = 0; d < dim; d++) {
        for (size_t p = 0; p < n; p++) {
            out[d] = fmaf(weights[p], v[p * v_stride + d], out[d]);
        }
    }
}

static void sum_values(const struct job *j, size_t first, size_t n, float *buffer)
{
    widen(j, j->v + first * j->kv_stride, n, buffer);
    for (size_t t = 0; t < j->n_tokens; t++) {
        const size_t seen = visible(j, t, first);
        for (size_t h = 0; seen && h < j->n_heads; h++) {
            const float *weights = weights_of(j, t, h) + first;
            float *out = j->out + at(j, t, h);
            size_t d = 0;
            for (; d + 8 * VEC_LANES <= j->head_dim; d += 8 * VEC_LANES) {
                add_values(weights, seen, buffer + d, j->padded_dim, 8, out + d);
            }
            for (; d + VEC_LANES <= j->head_dim; d += VEC_LANES) {
                add_values(weights, seen, buffer + d, j->padded_dim, 1, out + d);
            }
            add_last_values(weights, seen, buffer + d, j->padded_dim, j->head_dim - d, out + d);
        }
    }
}

static void attend(const struct job *j)
{
    _Alignas(64) float buffer[KEYS * DIM_MAX];
    const size_t n_all = j->n_keys + j->n_tokens - 1;
    for (size_t p = 0; p < n_all; p += KEYS) {
        score_keys(j, p, n_all - p < KEYS ? n_all - p : KEYS, buffer);
    }
    for (size_t t = 0; t < j->n_tokens; t++) {
        for (size_t h = 0; h < j->n_heads; h++) {
            float *weights = weights_of(j, t, h);
            weights[row_floats(j) - 1] = softmax(weights, j->n_keys + t);
            memset(j->out + at(j, t, h), 0, j->head_dim * sizeof(float));
        }
    }
    for (size_t p = 0; p < n_all; p += KEYS) {
        sum_values(j, p, n_all - p < KEYS ? n_all - p : KEYS, buffer);
    }
    for (size_t t = 0; t < j->n_tokens; t++) {
        for (size_t h = 0; h < j->n_heads; h++) {
            const float sum = weights_of(j, t, h)[row_floats(j) - 1];
            float *out = j->out + at(j, t, h);
            for (size_t d = 0; d < j->head_dim; d++) out[d] /= sum;
        }
    }
}

void NAME(attention)(const float *q, size_t q_stride, size_t n_heads, size_t n_tokens,
                     const uint16_t *k, const uint16_t *v, size_t kv_stride, size_t n_keys,
                     size_t head_dim, float scale, float *scratch, float *out)
{
    const struct job j = {.q = q,
                          .k = k,
                          .v = v,
                          .scratch = scratch,
                          .out = out,
                          .q_stride = q_stride,
                          .n_heads = n_heads,
                          .n_tokens = n_tokens,
                          .kv_stride = kv_stride,
                          .n_keys = n_keys,
                          .head_dim = head_dim,
                          .padded_dim = (head_dim + 31) / 32 * 32,
                          .scale = scale};
    if (head_dim > DIM_MAX) {
        bitnet_scalar_attention(q, q_stride, n_heads, n_tokens, k, v, kv_stride, n_keys, head_dim,
                                scale, scratch, out);
    } else if (n_tokens && n_heads) {
        attend(&j);
    }
}
