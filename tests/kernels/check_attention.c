/* Attention: every head dimension that models have and the odd ones between, any number of keys
 * around the tile sizes, several heads and tokens at once, in place and not; and a query's result
 * must not depend on who shares its call. */
#include "check.h"

#include <bitnet/quant.h>

#include <math.h>
#include <string.h>

struct problem {
    size_t n_heads, n_tokens, n_keys, dim, q_stride, kv_stride;
    float scale;
    float *q, *scratch, *out;
    enum bitnet_dtype kv_type;
    uint8_t *k, *v;
};

static size_t scratch_floats(const struct problem *p)
{
    return p->n_heads * p->n_tokens * bitnet_attention_floats(p->dim);
}

static size_t q_floats(const struct problem *p)
{
    return (p->n_tokens - 1) * p->q_stride + p->n_heads * p->dim;
}

static size_t vector_bytes(enum bitnet_dtype type, size_t dim)
{
    return type == BITNET_DTYPE_f16 ? 2 * dim : dim / 32 * 34;
}

/* n vectors, kv_stride apart. */
static uint8_t *vectors(struct check *c, const struct problem *p, size_t n)
{
    const struct bitnet_layout one = {.type = p->kv_type, .rows = 1, .cols = p->dim};
    uint8_t *to = check_buffer(c, (n - 1) * p->kv_stride + vector_bytes(p->kv_type, p->dim), 2);
    float *row = check_floats(c, p->dim, 1);
    for (size_t i = 0; i < n; i++) {
        for (size_t d = 0; d < p->dim; d++) row[d] = check_float(c, 2);
        bitnet_codec(p->kv_type)->encode_rows(&one, row, 1, NULL, to + i * p->kv_stride);
    }
    return to;
}

static struct problem make(struct check *c, enum bitnet_dtype kv_type, size_t n_heads,
                           size_t n_tokens, size_t n_keys, size_t dim)
{
    struct problem p = {
        .n_heads = n_heads, .n_tokens = n_tokens, .n_keys = n_keys, .dim = dim, .kv_type = kv_type};
    const size_t n_positions = n_keys + n_tokens - 1;
    p.q_stride = n_heads * dim + check_below(c, 9);
    p.kv_stride = vector_bytes(kv_type, dim) + 2 * check_below(c, 17);
    p.scale = 1.0f / sqrtf((float)dim) * (check_below(c, 4) ? 1.0f : 20.0f);
    p.q = check_floats(c, q_floats(&p), 2);
    p.k = vectors(c, &p, n_positions);
    p.v = vectors(c, &p, n_positions);
    p.scratch = check_buffer(c, 4 * scratch_floats(&p), 4);
    return p;
}

static void attend(bitnet_attention_fn *fn, const struct problem *p, float *out)
{
    fn(p->q, p->q_stride, p->n_heads, p->n_tokens, p->k, p->v, p->kv_stride, p->kv_type, p->n_keys,
       p->dim, p->scale, p->scratch, out);
}

static void compare(struct check *c, enum bitnet_dtype kv_type, size_t n_heads, size_t n_tokens,
                    size_t n_keys, size_t dim)
{
    const struct problem p = make(c, kv_type, n_heads, n_tokens, n_keys, dim);
    const size_t n = q_floats(&p);
    float *want = check_floats(c, n, 1), *got = check_buffer(c, 4 * n, 4);
    memcpy(got, want, 4 * n); /* what lies between the tokens must stay */
    attend(c->ref->attention, &p, want);
    attend(c->set->attention, &p, got);
    check_same_floats(c, got, want, n, "%zu heads, %zu tokens, %zu keys of %zu", n_heads, n_tokens,
                      n_keys, dim);
    attend(c->set->attention, &p, p.q);
    for (size_t t = 0; t < n_tokens; t++) {
        check_same_floats(c, p.q + t * p.q_stride, want + t * p.q_stride, n_heads * dim,
                          "%zu heads, %zu tokens, %zu keys of %zu in place", n_heads, n_tokens,
                          n_keys, dim);
    }
    check_release(c);
}

static void run(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct problem *p = ctx;
    attend(set->attention, p, p->out);
}

static void time_shape(struct check *c, enum bitnet_dtype kv_type, size_t n_tokens, size_t n_keys,
                       const char *what)
{
    struct problem p = make(c, kv_type, 4, n_tokens, n_keys, 128);
    const size_t n_cached = (n_keys + n_tokens) * vector_bytes(kv_type, 128);
    p.q_stride = 4 * 128; /* what is timed lies as a caller would have it */
    p.kv_stride = vector_bytes(kv_type, 128);
    p.q = memcpy(check_buffer(c, 4 * n_tokens * p.q_stride, 64), p.q, 4 * q_floats(&p));
    p.out = check_buffer(c, 4 * n_tokens * p.q_stride, 64);
    p.k = memset(check_buffer(c, n_cached, 64), 0x3a, n_cached);
    p.v = memset(check_buffer(c, n_cached, 64), 0x3a, n_cached);
    const double keys = (double)(n_keys + n_tokens / 2), n = 4.0 * (double)n_tokens * keys * 128;
    check_time(c, what, 2 * (double)p.kv_stride * keys, 4 * n, run, &p);
    check_release(c);
}

/* Every query's result lies near a softmax in double over all of its keys at once: the blocks and
 * the running largest score change nothing that matters. */
static void compare_with_double(struct check *c, enum bitnet_dtype kv_type)
{
    enum { DIM = 64, KEYS = 300 };
    const struct problem p = make(c, kv_type, 1, 1, KEYS, DIM);
    const struct bitnet_layout one = {.type = kv_type, .rows = 1, .cols = DIM};
    float *out = check_floats(c, DIM, 1), *row = check_floats(c, DIM, 1);
    double sum = 0, want[DIM] = {0};
    attend(c->set->attention, &p, out);
    for (size_t i = 0; i < KEYS; i++) {
        double score = 0;
        bitnet_codec(kv_type)->decode_rows(&one, p.k + i * p.kv_stride, 1, row);
        for (size_t d = 0; d < DIM; d++) score += (double)p.q[d] * (double)row[d];
        const double weight = exp(score * (double)p.scale);
        bitnet_codec(kv_type)->decode_rows(&one, p.v + i * p.kv_stride, 1, row);
        for (size_t d = 0; d < DIM; d++) want[d] += weight * (double)row[d];
        sum += weight;
    }
    for (size_t d = 0; d < DIM; d++) {
        const float is_near = fabs((double)out[d] - want[d] / sum) < 3e-5, yes = 1;
        check_same_floats(c, &is_near, &yes, 1, "element %zu beside double", d);
    }
    check_release(c);
}

void check_attention(struct check *c)
{
    static const size_t dims[] = {1, 8, 16, 31, 32, 40, 48, 64, 72, 80, 96, 100, 128, 256, 520};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        for (size_t n_keys = 1; n_keys <= 140; n_keys += 1 + check_below(c, 12)) {
            compare(c, BITNET_DTYPE_f16, 1 + check_below(c, 4), 1 + check_below(c, 3), n_keys,
                    dims[i]);
            if (dims[i] % 32 == 0)
                compare(c, BITNET_DTYPE_q8_0, 1 + check_below(c, 4), 1 + check_below(c, 3), n_keys,
                        dims[i]);
        }
    }
    /* Enough queries that keys are turned; each token sees one key more than the one before. */
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        for (int k = 0; k < 4; k++) {
            const size_t n_heads = 1 + check_below(c, 5), n_tokens = 8 + check_below(c, 14);
            const size_t n_keys = 1 + check_below(c, 130);
            compare(c, BITNET_DTYPE_f16, n_heads, n_tokens, n_keys, dims[i]);
            if (dims[i] % 32 == 0)
                compare(c, BITNET_DTYPE_q8_0, n_heads, n_tokens, n_keys, dims[i]);
        }
    }
    compare(c, BITNET_DTYPE_f16, 4, 9, 500, 128);
    compare(c, BITNET_DTYPE_q8_0, 4, 9, 500, 128);
    compare(c, BITNET_DTYPE_f16, 1, 40, 1, 64);
    compare_with_double(c, BITNET_DTYPE_f16);
    compare_with_double(c, BITNET_DTYPE_q8_0);
    if (!c->bench) return;
    time_shape(c, BITNET_DTYPE_f16, 1, 512, "4 heads, 1 token, 512 keys");
    time_shape(c, BITNET_DTYPE_f16, 1, 4096, "4 heads, 1 token, 4096 keys");
    time_shape(c, BITNET_DTYPE_q8_0, 1, 4096, "the same, q8_0");
    time_shape(c, BITNET_DTYPE_f16, 8, 512, "4 heads, 8 tokens, 512 keys");
    time_shape(c, BITNET_DTYPE_q8_0, 8, 512, "the same, q8_0");
    time_shape(c, BITNET_DTYPE_f16, 16, 2048, "4 heads, 16 tokens, 2048 keys");
}
