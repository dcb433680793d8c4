/* Template: attention in lanes. All queries that share keys are handled together, one block of keys
 * after the other: sixteen keys (then values) at a time are widened into a buffer that stays in the
 * first cache, and every query uses them. The order of each query's own sums is that of
 * <bitnet/kernels.h>.
 *
 * Scratch: one row per query: the scores of a block, which become its weights, padded with zeros to
 * a whole register; the largest score and the sum so far; the weighted sum of values so far.
 *
 * Included once by the float file of each set, after its vec and with NAME(slot) defined. */
#include "../scalar/scalar.h"

#include <bitnet/bytes.h>

#include <math.h>
#include <string.h>

enum { KEYS = 16, DIM_MAX = 512, KEY_TILE = ATTENTION_KEYS, Q8_0_BYTES = 34 };

struct job {
    const float *q;
    const uint8_t *k, *v;
    float *scratch, *out;
    enum bitnet_dtype kv_type;
    size_t q_stride, n_heads, n_tokens, kv_stride, n_keys, head_dim, padded_dim;
    float scale;
};

/* A query's row of scratch. */
struct state {
    float weights[BITNET_ATTENTION_BLOCK];
    float max, sum, factor, unused[13];
    float values[]; /* [head_dim] */
};

static struct state *state_of(const struct job *j, size_t t, size_t h)
{
    float *row = j->scratch + (t * j->n_heads + h) * bitnet_attention_floats(j->head_dim);
    return (struct state *)(void *)row;
}

static size_t at(const struct job *j, size_t t, size_t h)
{
    return t * j->q_stride + h * j->head_dim;
}

/* Of the n positions from `first` on, how many token t sees. */
static size_t visible(const struct job *j, size_t t, size_t first, size_t n)
{
    const size_t n_seen = j->n_keys + t;
    return n_seen <= first ? 0 : n_seen - first < n ? n_seen - first : n;
}

static void widen_f16(const struct job *j, const uint8_t *from, float *buffer)
{
    size_t d = 0;
    for (; d + VEC_LANES <= j->head_dim; d += VEC_LANES) {
        vec_store(buffer + d, vec_from_f16(from + 2 * d));
    }
    for (; d < j->head_dim; d++) buffer[d] = bitnet_f16_to_f32(bitnet_load_u16(from + 2 * d));
    for (; d < j->padded_dim; d++) buffer[d] = 0;
}

static void widen_q8_0(const struct job *j, const uint8_t *from, float *buffer)
{
    for (size_t d = 0; d < j->head_dim; d += 32, from += Q8_0_BYTES, buffer += 32) {
        const vec scale = vec_set(vec_f16_at(from));
        UNROLL for (size_t i = 0; i < 32; i += VEC_LANES)
        {
            vec_store(buffer + i, vec_mul(scale, vec_from_i8((const int8_t *)from + 2 + i)));
        }
    }
}

/* n vectors into buffer[n][padded_dim], zeros behind head_dim. */
static void widen(const struct job *j, const uint8_t *from, size_t n, float *buffer)
{
    for (size_t p = 0; p < n; p++, from += j->kv_stride, buffer += j->padded_dim) {
        if (j->kv_type == BITNET_DTYPE_q8_0)
            widen_q8_0(j, from, buffer);
        else
            widen_f16(j, from, buffer);
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

/* Positions first + done .. of the block that begins at `first`. */
static void score_keys(const struct job *j, size_t first, size_t done, size_t n, float *buffer)
{
    widen(j, j->k + (first + done) * j->kv_stride, n, buffer);
    for (size_t t = 0; t < j->n_tokens; t++) {
        const size_t seen = visible(j, t, first + done, n);
        for (size_t h = 0; seen && h < j->n_heads; h++) {
            const float *q = j->q + at(j, t, h);
            float *scores = state_of(j, t, h)->weights + done;
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

static float exp_of(float x)
{
    float lanes[VEC_LANES];
    vec_store(lanes, vec_expf(vec_set(x)));
    return lanes[0];
}

/* A block's scores into weights, padded with zeros (e^-inf) to a whole register, and what they do
 * to the sums before them. */
static void weigh(struct state *s, size_t n)
{
    float *scores = s->weights;
    for (size_t p = n; p % VEC_LANES; p++) scores[p] = -INFINITY;
    const float in_block = largest(scores, n), max = in_block > s->max ? in_block : s->max;
    vec acc[VEC_REGS];
    UNROLL for (size_t i = 0; i < VEC_REGS; i++) acc[i] = vec_zero();
    for (size_t p = 0; p < n; p += VEC_LANES) {
        const vec w = vec_expf(vec_sub(vec_load(scores + p), vec_set(max)));
        vec_store(scores + p, w);
        acc[p / VEC_LANES % VEC_REGS] = vec_add(acc[p / VEC_LANES % VEC_REGS], w);
    }
    s->factor = exp_of(s->max - max);
    s->sum = fmaf(s->sum, s->factor, vec_sum(acc));
    s->max = max;
}

/* out[d] = out[d] * factor; a factor of 1 changes nothing. */
static void rescale_values(const struct job *j, struct state *s)
{
    size_t d = 0;
    if (s->factor == 1.0f) return;
    for (; d + VEC_LANES <= j->head_dim; d += VEC_LANES) {
        vec_store(s->values + d, vec_mul(vec_load(s->values + d), vec_set(s->factor)));
    }
    for (; d < j->head_dim; d++) s->values[d] *= s->factor;
}

static void weigh_block(const struct job *j, size_t first, size_t n)
{
    for (size_t t = 0; t < j->n_tokens; t++) {
        const size_t seen = visible(j, t, first, n);
        for (size_t h = 0; seen && h < j->n_heads; h++) {
            weigh(state_of(j, t, h), seen);
            rescale_values(j, state_of(j, t, h));
        }
    }
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

static void sum_values(const struct job *j, size_t first, size_t done, size_t n, float *buffer)
{
    widen(j, j->v + (first + done) * j->kv_stride, n, buffer);
    for (size_t t = 0; t < j->n_tokens; t++) {
        const size_t seen = visible(j, t, first + done, n);
        for (size_t h = 0; seen && h < j->n_heads; h++) {
            struct state *s = state_of(j, t, h);
            const float *weights = s->weights + done;
            float *out = s->values;
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

/* --- all of it --- */

static void begin(const struct job *j)
{
    for (size_t i = 0; i < j->n_tokens * j->n_heads; i++) {
        struct state *s = state_of(j, i / j->n_heads, i % j->n_heads);
        s->max = -INFINITY;
        s->sum = 0;
        memset(s->values, 0, j->head_dim * sizeof(float));
    }
}

static void end(const struct job *j)
{
    for (size_t i = 0; i < j->n_tokens * j->n_heads; i++) {
        const struct state *s = state_of(j, i / j->n_heads, i % j->n_heads);
        float *out = j->out + at(j, i / j->n_heads, i % j->n_heads);
        size_t d = 0;
        for (; d + VEC_LANES <= j->head_dim; d += VEC_LANES) {
            vec_store(out + d, vec_div(vec_load(s->values + d), vec_set(s->sum)));
        }
        for (; d < j->head_dim; d++) out[d] = s->values[d] / s->sum;
    }
}

static void attend(const struct job *j)
{
    _Alignas(64) float buffer[KEYS * DIM_MAX];
    const size_t n_all = j->n_keys + j->n_tokens - 1;
    begin(j);
    for (size_t first = 0; first < n_all; first += BITNET_ATTENTION_BLOCK) {
        const size_t left = n_all - first;
        const size_t n = left < BITNET_ATTENTION_BLOCK ? left : BITNET_ATTENTION_BLOCK;
        for (size_t done = 0; done < n; done += KEYS) {
            score_keys(j, first, done, n - done < KEYS ? n - done : KEYS, buffer);
        }
        weigh_block(j, first, n);
        for (size_t done = 0; done < n; done += KEYS) {
            sum_values(j, first, done, n - done < KEYS ? n - done : KEYS, buffer);
        }
    }
    end(j);
}

void NAME(attention)(const float *q, size_t q_stride, size_t n_heads, size_t n_tokens,
                     const uint8_t *k, const uint8_t *v, size_t kv_stride,
                     enum bitnet_dtype kv_type, size_t n_keys, size_t head_dim, float scale,
                     float *scratch, float *out)
{
    const struct job j = {.q = q,
                          .k = k,
                          .v = v,
                          .scratch = scratch,
                          .out = out,
                          .kv_type = kv_type,
                          .q_stride = q_stride,
                          .n_heads = n_heads,
                          .n_tokens = n_tokens,
                          .kv_stride = kv_stride,
                          .n_keys = n_keys,
                          .head_dim = head_dim,
                          .padded_dim = (head_dim + 31) / 32 * 32,
                          .scale = scale};
    if (head_dim > DIM_MAX) {
        bitnet_scalar_attention(q, q_stride, n_heads, n_tokens, k, v, kv_stride, kv_type, n_keys,
                                head_dim, scale, scratch, out);
    } else if (n_tokens && n_heads) {
        attend(&j);
    }
}
