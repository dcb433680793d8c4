/* Attention with AVX2. All queries that share keys are handled together: sixteen keys (then values)
 * at a time are widened from binary16 into a buffer that stays in the first cache, and every query
 * uses them. The order of each query's own sums is that of <bitnet/kernels.h>.
 *
 * Scratch: one row per query of n_keys + n_tokens + 15 floats: its scores, which become its
 * weights, padded with zeros to a multiple of eight; the last float keeps their sum. */
#include "avx2.h"

#include "../scalar/scalar.h"

#include <string.h>

enum { KEYS = 16, DIM_MAX = 512 };

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
        for (; d + 8 <= j->head_dim; d += 8) {
            const __m128i h = _mm_loadu_si128((const __m128i *)(from + d));
            _mm256_storeu_ps(buffer + d, _mm256_cvtph_ps(h));
        }
        for (; d < j->head_dim; d++) buffer[d] = _cvtsh_ss(from[d]);
        for (; d < j->padded_dim; d++) buffer[d] = 0;
    }
}

/* --- scores --- */

/* Lanes that the head's dimension does not reach stay as they are: a blend, because adding zero
 * would turn -0 into +0. */
static __m256 add_last(const float *q, const float *k, size_t n, __m256 acc)
{
    const __m256i mask = avx2_mask(n);
    const __m256 sum = _mm256_fmadd_ps(_mm256_maskload_ps(q, mask), _mm256_loadu_ps(k), acc);
    return _mm256_blendv_ps(acc, sum, _mm256_castsi256_ps(mask));
}

static float score(const float *q, const float *k, size_t dim)
{
    __m256 acc[4];
    for (size_t i = 0; i < 4; i++) acc[i] = _mm256_setzero_ps();
    size_t d = 0;
    for (; d + 32 <= dim; d += 32) {
        for (size_t i = 0; i < 4; i++) {
            acc[i] = _mm256_fmadd_ps(_mm256_loadu_ps(q + d + 8 * i), _mm256_loadu_ps(k + d + 8 * i),
                                     acc[i]);
        }
    }
    for (size_t i = 0; d < dim; i++, d += 8) {
        acc[i] = add_last(q + d, k + d, dim - d < 8 ? dim - d : 8, acc[i]);
    }
    return avx2_sum(acc[0], acc[1], acc[2], acc[3]);
}

static void score_keys(const struct job *j, size_t first, size_t n, float *buffer)
{
    widen(j, j->k + first * j->kv_stride, n, buffer);
    for (size_t t = 0; t < j->n_tokens; t++) {
        for (size_t h = 0; h < j->n_heads; h++) {
            const float *q = j->q + at(j, t, h);
            float *scores = weights_of(j, t, h) + first;
            for (size_t p = 0; p < visible(j, t, first); p++) {
                scores[p] = score(q, buffer + p * j->padded_dim, j->head_dim) * j->scale;
            }
        }
    }
}

/* --- softmax --- */

static __m256 largest(const float *scores, size_t n)
{
    __m256 max = _mm256_set1_ps(-__builtin_inff());
    for (size_t p = 0; p < n; p += 8) max = _mm256_max_ps(_mm256_loadu_ps(scores + p), max);
    max = _mm256_max_ps(max, _mm256_permute2f128_ps(max, max, 1));
    max = _mm256_max_ps(max, _mm256_shuffle_ps(max, max, 0x4e));
    return _mm256_max_ps(max, _mm256_shuffle_ps(max, max, 0xb1));
}

/* Scores into weights, padded with zeros (e^-inf) to a multiple of eight; returns their sum. */
static float softmax(float *scores, size_t n)
{
    for (size_t p = n; p % 8; p++) scores[p] = -__builtin_inff();
    const __m256 max = largest(scores, n);
    __m256 acc[4];
    for (size_t i = 0; i < 4; i++) acc[i] = _mm256_setzero_ps();
    for (size_t p = 0; p < n; p += 8) {
        const __m256 w = avx2_expf(_mm256_sub_ps(_mm256_loadu_ps(scores + p), max));
        _mm256_storeu_ps(scores + p, w);
        acc[p / 8 % 4] = _mm256_add_ps(acc[p / 8 % 4], w);
    }
    return avx2_sum(acc[0], acc[1], acc[2], acc[3]);
}

/* --- weighted sum of values --- */

/* out[0 .. 8 n_regs) += weights[p] * v[p] for p < n, p ascending. */
static inline __attribute__((always_inline)) void add_values(const float *weights, size_t n,
                                                             const float *v, size_t v_stride,
                                                             size_t n_regs, float *out)
{
    __m256 acc[8];
    for (size_t i = 0; i < n_regs; i++) acc[i] = _mm256_loadu_ps(out + 8 * i);
    for (size_t p = 0; p < n; p++) {
        const __m256 w = _mm256_set1_ps(weights[p]);
        for (size_t i = 0; i < n_regs; i++) {
            acc[i] = _mm256_fmadd_ps(w, _mm256_loadu_ps(v + p * v_stride + 8 * i), acc[i]);
        }
    }
    for (size_t i = 0; i < n_regs; i++) _mm256_storeu_ps(out + 8 * i, acc[i]);
}

static void add_last_values(const float *weights, size_t n, const float *v, size_t v_stride,
                            size_t dim, float *out)
{
    for (size_t d = 0; d < dim; d++) {
        for (size_t p = 0; p < n; p++) {
            out[d] = __builtin_fmaf(weights[p], v[p * v_stride + d], out[d]);
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
            for (; d + 64 <= j->head_dim; d += 64) {
                add_values(weights, seen, buffer + d, j->padded_dim, 8, out + d);
            }
            for (; d + 8 <= j->head_dim; d += 8) {
                add_values(weights, seen, buffer + d, j->padded_dim, 1, out + d);
            }
            add_last_values(weights, seen, buffer + d, j->padded_dim, j->head_dim - d, out + d);
        }
    }
}

static void attend(const struct job *j)
{
    float buffer[KEYS * DIM_MAX];
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

void bitnet_avx2_attention(const float *q, size_t q_stride, size_t n_heads, size_t n_tokens,
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
