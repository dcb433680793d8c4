/* Template: attention in lanes. All queries that share keys are handled together, KEYS keys (then
 * values) after the other: these are widened into a buffer that stays in the first cache, and every
 * query uses them. The order of each query's own sums is that of <bitnet/kernels.h>, which has 32
 * lanes along the head and then a tree. There are two ways to walk it:
 *
 *   rows     for few queries (a token that is decoded): a register holds neighbouring elements of
 *            one key, and the tree is a matter of shuffles.
 *   columns  for many (a prompt): keys are turned once, so that a register holds one element of
 *            neighbouring keys, and an element of a query meets them all; the tree is additions
 *            between registers, 31 beside the head's 128 products, and nothing is shuffled. Four
 *            queries and two registers of keys share what they load.
 *
 * Values need no turning: a register holds neighbouring elements of a sum, and they are added value
 * by value, for four queries at a time.
 *
 * Scratch: one row per query: the scores of a block, which become its weights, padded with zeros to
 * a whole register; the largest score and the sum so far; the weighted sum of values so far.
 *
 * Included once by the float file of each set, after its vec and with NAME(slot) defined. */
#include "../scalar/scalar.h"

#include <bitnet/bytes.h>

#include <math.h>
#include <string.h>

enum {
    KEYS = 32,
    DIM_MAX = 512,
    KEY_TILE = ATTENTION_KEYS,
    Q8_0_BYTES = 34,
    COLUMNS_MIN = 8, /* queries that pay for turning the keys */
    QUERIES = ATTENTION_QUERIES,
    KEY_REGS = ATTENTION_KEY_REGS,
    KEY_COLUMNS = KEY_REGS * VEC_LANES
};

struct job {
    const float *q;
    const uint8_t *k, *v;
    float *scratch, *out;
    enum bitnet_dtype kv_type;
    size_t q_stride, n_heads, n_queries, kv_stride, n_keys, n_all, head_dim, padded_dim;
    size_t covered_dim; /* elements of state.values that whole registers cover */
    size_t state_floats;
    float scale;
};

/* A query's row of scratch. */
struct state {
    float weights[BITNET_ATTENTION_BLOCK];
    float max, sum;
    union {
        struct {
            const float *q;
            size_t n_seen; /* positions in all */
        };
        float room[14];
    };
    float values[]; /* [head_dim] */
};
_Static_assert(offsetof(struct state, values) == (BITNET_ATTENTION_BLOCK + 16) * sizeof(float),
               "bitnet_attention_floats() counts these");

/* Query i is head i % n_heads of token i / n_heads. */
static struct state *state_of(const struct job *j, size_t i)
{
    return (struct state *)(void *)(j->scratch + i * j->state_floats);
}

static size_t at(const struct job *j, size_t i)
{
    return i / j->n_heads * j->q_stride + i % j->n_heads * j->head_dim;
}

/* Of the n positions from `first` on, how many query i sees. */
static size_t visible(const struct job *j, size_t i, size_t first, size_t n)
{
    const size_t n_seen = state_of(j, i)->n_seen;
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

/* --- scores, by rows --- */

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
static void score_rows(const struct job *j, size_t first, size_t done, size_t n, float *buffer)
{
    widen(j, j->k + (first + done) * j->kv_stride, n, buffer);
    for (size_t i = 0; i < j->n_queries; i++) {
        const size_t seen = visible(j, i, first + done, n);
        const float *q = state_of(j, i)->q;
        float *scores = state_of(j, i)->weights + done;
        size_t p = 0;
        for (; p + KEY_TILE <= seen; p += KEY_TILE) {
            scores_of(q, buffer + p * j->padded_dim, j->padded_dim, j->head_dim, KEY_TILE, j->scale,
                      scores + p);
        }
        for (; p < seen; p++) {
            scores_of(q, buffer + p * j->padded_dim, j->padded_dim, j->head_dim, 1, j->scale,
                      scores + p);
        }
    }
}

/* --- scores, by columns --- */

/* n vectors into buffer[KEYS / KEY_COLUMNS][padded_dim][KEY_COLUMNS], zeros for those that fill up
 * the last register. */
static void turn(const struct job *j, const uint8_t *from, size_t n, float *buffer)
{
    _Alignas(64) float rows[VEC_LANES * DIM_MAX];
    for (size_t p = 0; p < n; p += VEC_LANES) {
        const size_t some = n - p < VEC_LANES ? n - p : VEC_LANES;
        float *to = buffer + p / KEY_COLUMNS * KEY_COLUMNS * j->padded_dim + p % KEY_COLUMNS;
        widen(j, from + p * j->kv_stride, some, rows);
        memset(rows + some * j->padded_dim, 0, (VEC_LANES - some) * j->padded_dim * sizeof(float));
        for (size_t d = 0; d < j->padded_dim; d += VEC_LANES) {
            vec v[VEC_LANES];
            UNROLL for (size_t i = 0; i < VEC_LANES; i++)
            {
                v[i] = vec_load(rows + i * j->padded_dim + d);
            }
            vec_transpose(v);
            UNROLL for (size_t i = 0; i < VEC_LANES; i++)
            {
                vec_store(to + (d + i) * KEY_COLUMNS, v[i]);
            }
        }
    }
}

/* Sums of some queries times some keys. */
struct tile {
    vec v[QUERIES][KEY_REGS];
};

/* Lane l of these sums. */
INLINE struct tile lane_of(const float *const q[QUERIES], const float *keys, size_t dim, size_t l)
{
    struct tile t;
    UNROLL for (size_t i = 0; i < QUERIES; i++)
    {
        UNROLL for (size_t r = 0; r < KEY_REGS; r++) t.v[i][r] = vec_zero();
    }
    for (size_t d = l; d < dim; d += BITNET_LANES) {
        vec k[KEY_REGS];
        UNROLL for (size_t r = 0; r < KEY_REGS; r++)
        {
            k[r] = vec_load(keys + d * KEY_COLUMNS + r * VEC_LANES);
        }
        UNROLL for (size_t i = 0; i < QUERIES; i++)
        {
            const vec x = vec_set(q[i][d]);
            UNROLL for (size_t r = 0; r < KEY_REGS; r++) t.v[i][r] = vec_fma(x, k[r], t.v[i][r]);
        }
    }
    return t;
}

/* a + b */
INLINE struct tile add_tiles(struct tile a, const struct tile *b)
{
    UNROLL for (size_t i = 0; i < QUERIES; i++)
    {
        UNROLL for (size_t r = 0; r < KEY_REGS; r++) a.v[i][r] = vec_add(a.v[i][r], b->v[i][r]);
    }
    return a;
}

/* What is in lane l after the steps 16 and 8 of the tree. */
INLINE struct tile four_lanes(const float *const q[QUERIES], const float *keys, size_t dim,
                              size_t l)
{
    struct tile lower = lane_of(q, keys, dim, l), upper = lane_of(q, keys, dim, l + 16);
    const struct tile sum = add_tiles(lower, &upper);
    lower = lane_of(q, keys, dim, l + 8);
    upper = lane_of(q, keys, dim, l + 24);
    lower = add_tiles(lower, &upper);
    return add_tiles(sum, &lower);
}

/* And after the steps 4 and 2. */
INLINE struct tile sixteen_lanes(const float *const q[QUERIES], const float *keys, size_t dim,
                                 size_t l)
{
    static const uint8_t more[4] = {0, 4, 2, 6};
    struct tile sums[4];
    UNROLL for (size_t g = 0; g < 4; g++) sums[g] = four_lanes(q, keys, dim, l + more[g]);
    sums[0] = add_tiles(sums[0], &sums[1]);
    sums[2] = add_tiles(sums[2], &sums[3]);
    return add_tiles(sums[0], &sums[2]);
}

/* The sums of all lanes. Loops keep the code small: written out, the tree has 32 leaves. */
INLINE struct tile all_lanes(const float *const q[QUERIES], const float *keys, size_t dim)
{
    struct tile sums[2];
    for (size_t l = 0; l < 2; l++) sums[l] = sixteen_lanes(q, keys, dim, l);
    return add_tiles(sums[0], &sums[1]);
}

/* Query i + k of those that are handled together; the last stands in for those behind the end. */
static size_t in_tile(const struct job *j, size_t i, size_t k)
{
    return i + k < j->n_queries ? i + k : j->n_queries - 1;
}

/* Some queries times KEY_COLUMNS keys, into the weights from p on. */
static void score_tile(const struct job *j, struct state *const s[QUERIES], const float *keys,
                       size_t p)
{
    const float *q[QUERIES];
    UNROLL for (size_t k = 0; k < QUERIES; k++) q[k] = s[k]->q;
    const struct tile sums = all_lanes(q, keys, j->head_dim);
    UNROLL for (size_t k = 0; k < QUERIES; k++)
    {
        UNROLL for (size_t r = 0; r < KEY_REGS; r++)
        {
            vec_store(s[k]->weights + p + r * VEC_LANES, vec_mul(sums.v[k][r], vec_set(j->scale)));
        }
    }
}

/* As score_rows(). A score that a query of the tile may not see lies behind those that it sees, and
 * is not read. */
static void score_columns(const struct job *j, size_t first, size_t done, size_t n, float *buffer)
{
    turn(j, j->k + (first + done) * j->kv_stride, n, buffer);
    for (size_t i = 0; i < j->n_queries; i += QUERIES) {
        const size_t seen = visible(j, in_tile(j, i, QUERIES - 1), first + done, n);
        struct state *s[QUERIES];
        for (size_t k = 0; k < QUERIES; k++) s[k] = state_of(j, in_tile(j, i, k));
        for (size_t p = 0; p < seen; p += KEY_COLUMNS) {
            score_tile(j, s, buffer + p * j->padded_dim, done + p);
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

/* What a block does to the sums before it, in three steps, each for all queries of a register, so
 * that many are under way at once. */

/* The largest score so far; scores padded with -infinity to a whole register. */
static void raise_max(struct state *s, size_t n, float *change)
{
    for (size_t p = n; p % VEC_LANES; p++) s->weights[p] = -INFINITY;
    const float in_block = largest(s->weights, n), max = in_block > s->max ? in_block : s->max;
    *change = s->max - max;
    s->max = max;
}

/* Scores into weights, those of the padding zeros. */
static void exponentiate(struct state *s, size_t n)
{
    const vec max = vec_set(s->max);
    for (size_t p = 0; p < n; p += VEC_LANES) {
        vec_store(s->weights + p, vec_expf(vec_sub(vec_load(s->weights + p), max)));
    }
}

static void add_weights(struct state *s, size_t n, float factor)
{
    vec acc[VEC_REGS];
    UNROLL for (size_t i = 0; i < VEC_REGS; i++) acc[i] = vec_zero();
    for (size_t p = 0; p < n; p += BITNET_LANES) {
        UNROLL for (size_t i = 0; i < VEC_REGS; i++)
        {
            if (p + i * VEC_LANES < n) {
                acc[i] = vec_add(acc[i], vec_load(s->weights + p + i * VEC_LANES));
            }
        }
    }
    s->sum = fmaf(s->sum, factor, vec_sum(acc));
}

/* out[d] = out[d] * factor; a factor of 1 changes nothing. */
static void rescale_values(const struct job *j, struct state *s, float factor)
{
    if (factor == 1.0f) return;
    for (size_t d = 0; d < j->covered_dim; d += VEC_LANES) {
        vec_store(s->values + d, vec_mul(vec_load(s->values + d), vec_set(factor)));
    }
}

/* `count` queries from i on, a register of them at most. */
static void weigh(const struct job *j, size_t i, size_t count, size_t first, size_t n)
{
    size_t seen[VEC_LANES];
    float factors[VEC_LANES] = {0};
    for (size_t k = 0; k < count; k++) {
        seen[k] = visible(j, i + k, first, n);
        if (seen[k]) raise_max(state_of(j, i + k), seen[k], &factors[k]);
    }
    vec_store(factors, vec_expf(vec_load(factors)));
    for (size_t k = 0; k < count; k++) exponentiate(state_of(j, i + k), seen[k]);
    for (size_t k = 0; k < count; k++) {
        if (seen[k] == 0) continue;
        add_weights(state_of(j, i + k), seen[k], factors[k]);
        rescale_values(j, state_of(j, i + k), factors[k]);
    }
}

static void weigh_block(const struct job *j, size_t first, size_t n)
{
    for (size_t i = 0; i < j->n_queries; i += VEC_LANES) {
        const size_t left = j->n_queries - i;
        weigh(j, i, left < VEC_LANES ? left : VEC_LANES, first, n);
    }
}

/* --- weighted sum of values --- */

/* out[k][0 .. n_regs registers) += weights[k][p] * v[p] for begin <= p < end, p ascending, for n
 * queries; n and n_regs are constants. */
INLINE void add_values(float *const *weights, size_t n, size_t begin, size_t end, const float *v,
                       size_t v_stride, size_t n_regs, float *const *out, size_t d)
{
    vec acc[QUERIES][ATTENTION_VALUE_REGS];
    UNROLL for (size_t k = 0; k < n; k++)
    {
        UNROLL for (size_t i = 0; i < n_regs; i++) acc[k][i] = vec_load(out[k] + d + VEC_LANES * i);
    }
    for (size_t p = begin; p < end; p++) {
        vec value[ATTENTION_VALUE_REGS];
        UNROLL for (size_t i = 0; i < n_regs; i++)
        {
            value[i] = vec_load(v + p * v_stride + d + VEC_LANES * i);
        }
        UNROLL for (size_t k = 0; k < n; k++)
        {
            const vec w = vec_set(weights[k][p]);
            UNROLL for (size_t i = 0; i < n_regs; i++) acc[k][i] = vec_fma(w, value[i], acc[k][i]);
        }
    }
    UNROLL for (size_t k = 0; k < n; k++)
    {
        UNROLL for (size_t i = 0; i < n_regs; i++) vec_store(out[k] + d + VEC_LANES * i, acc[k][i]);
    }
}

/* The same over the whole head. */
INLINE void add_values_of(const struct job *j, float *const *weights, size_t n, size_t begin,
                          size_t end, const float *v, float *const *out)
{
    enum { MANY = ATTENTION_VALUE_REGS, SOME = MANY / 2 };
    const size_t dim = j->covered_dim;
    size_t d = 0;
    if (begin == end) return;
    for (; d + MANY * VEC_LANES <= dim; d += MANY * VEC_LANES) {
        add_values(weights, n, begin, end, v, j->padded_dim, MANY, out, d);
    }
    for (; d + SOME * VEC_LANES <= dim; d += SOME * VEC_LANES) {
        add_values(weights, n, begin, end, v, j->padded_dim, SOME, out, d);
    }
    for (; d < dim; d += VEC_LANES) add_values(weights, n, begin, end, v, j->padded_dim, 1, out, d);
}

/* Queries i .. share what all of them see; what only later ones see they add alone. */
static void sum_values(const struct job *j, size_t first, size_t done, size_t n, float *buffer)
{
    widen(j, j->v + (first + done) * j->kv_stride, n, buffer);
    for (size_t i = 0; i < j->n_queries; i += QUERIES) {
        const size_t shared = visible(j, i, first + done, n);
        float *weights[QUERIES], *out[QUERIES];
        for (size_t k = 0; k < QUERIES; k++) {
            struct state *s = state_of(j, in_tile(j, i, k));
            weights[k] = s->weights + done;
            out[k] = s->values;
        }
        add_values_of(j, weights, QUERIES, 0, shared, buffer, out);
        for (size_t k = 1; k < QUERIES && i + k < j->n_queries; k++) {
            add_values_of(j, weights + k, 1, shared, visible(j, i + k, first + done, n), buffer,
                          out + k);
        }
    }
}

/* --- all of it --- */

static void begin(const struct job *j)
{
    for (size_t i = 0; i < j->n_queries; i++) {
        struct state *s = state_of(j, i);
        s->max = -INFINITY;
        s->sum = 0;
        s->q = j->q + at(j, i);
        s->n_seen = j->n_keys + i / j->n_heads;
        memset(s->values, 0, j->covered_dim * sizeof(float));
    }
}

static void end(const struct job *j)
{
    for (size_t i = 0; i < j->n_queries; i++) {
        const struct state *s = state_of(j, i);
        float *out = j->out + at(j, i);
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
    begin(j);
    for (size_t first = 0; first < j->n_all; first += BITNET_ATTENTION_BLOCK) {
        const size_t left = j->n_all - first;
        const size_t n = left < BITNET_ATTENTION_BLOCK ? left : BITNET_ATTENTION_BLOCK;
        for (size_t done = 0; done < n; done += KEYS) {
            const size_t some = n - done < KEYS ? n - done : KEYS;
            if (j->n_queries < COLUMNS_MIN)
                score_rows(j, first, done, some, buffer);
            else
                score_columns(j, first, done, some, buffer);
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
                          .n_queries = n_tokens * n_heads,
                          .kv_stride = kv_stride,
                          .n_keys = n_keys,
                          .n_all = n_keys + n_tokens - 1,
                          .head_dim = head_dim,
                          .padded_dim = (head_dim + 31) / 32 * 32,
                          .covered_dim = (head_dim + VEC_LANES - 1) / VEC_LANES * VEC_LANES,
                          .state_floats = bitnet_attention_floats(head_dim),
                          .scale = scale};
    if (head_dim > DIM_MAX) {
        bitnet_scalar_attention(q, q_stride, n_heads, n_tokens, k, v, kv_stride, kv_type, n_keys,
                                head_dim, scale, scratch, out);
    } else if (j.n_queries) {
        attend(&j);
    }
}
