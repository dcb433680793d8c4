/* Attention: every head dimension that models have and the odd ones between, any number of keys
 * around the tile sizes, several heads and tokens at once, in place and not; and a query's result
 * must not depend on who shares its call. */
#include "check.h"

#include <math.h>
#include <string.h>

struct problem {
    size_t n_heads, n_tokens, n_keys, dim, q_stride, kv_stride;
    float scale;
    float *q, *scratch, *out;
    uint16_t *k, *v;
};

static size_t scratch_floats(const struct problem *p)
{
    return p->n_heads * p->n_tokens * (p->n_keys + p->n_tokens + 15);
}

static size_t q_floats(const struct problem *p)
{
    return (p->n_tokens - 1) * p->q_stride + p->n_heads * p->dim;
}

static uint16_t *halves(struct check *c, size_t n)
{
    uint16_t *h = check_buffer(c, 2 * n, 2);
    for (size_t i = 0; i < n; i++) h[i] = bitnet_f32_to_f16(check_float(c, 2));
    return h;
}

static struct problem make(struct check *c, size_t n_heads, size_t n_tokens, size_t n_keys,
                           size_t dim)
{
    struct problem p = {.n_heads = n_heads, .n_tokens = n_tokens, .n_keys = n_keys, .dim = dim};
    const size_t n_positions = n_keys + n_tokens - 1;
    p.q_stride = n_heads * dim + check_below(c, 9);
    p.kv_stride = dim + check_below(c, 17);
    p.scale = 1.0f / sqrtf((float)dim) * (check_below(c, 4) ? 1.0f : 20.0f);
    p.q = check_floats(c, q_floats(&p), 2);
    p.k = halves(c, (n_positions - 1) * p.kv_stride + dim);
    p.v = halves(c, (n_positions - 1) * p.kv_stride + dim);
    p.scratch = check_buffer(c, 4 * scratch_floats(&p), 4);
    return p;
}

static void attend(bitnet_attention_fn *fn, const struct problem *p, float *out)
{
    fn(p->q, p->q_stride, p->n_heads, p->n_tokens, p->k, p->v, p->kv_stride, p->n_keys, p->dim,
       p->scale, p->scratch, out);
}

static void compare(struct check *c, size_t n_heads, size_t n_tokens, size_t n_keys, size_t dim)
{
    const struct problem p = make(c, n_heads, n_tokens, n_keys, dim);
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

static void time_shape(struct check *c, size_t n_tokens, size_t n_keys, const char *what)
{
    struct problem p = make(c, 4, n_tokens, n_keys, 128);
    const size_t n_cached = (n_keys + n_tokens) * 128;
    p.q_stride = 4 * 128; /* what is timed lies as a caller would have it */
    p.kv_stride = 128;
    p.q = memcpy(check_buffer(c, 4 * n_tokens * p.q_stride, 64), p.q, 4 * q_floats(&p));
    p.out = check_buffer(c, 4 * n_tokens * p.q_stride, 64);
    p.k = memset(check_buffer(c, 2 * n_cached, 64), 0x3a, 2 * n_cached);
    p.v = memset(check_buffer(c, 2 * n_cached, 64), 0x3a, 2 * n_cached);
    const double keys = (double)(n_keys + n_tokens / 2), n = 4.0 * (double)n_tokens * keys * 128;
    check_time(c, what, 2 * 2 * 128 * keys, 4 * n, run, &p);
    check_release(c);
}

void check_attention(struct check *c)
{
    static const size_t dims[] = {1, 8, 16, 31, 32, 40, 48, 64, 72, 80, 96, 100, 128, 256, 520};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        for (size_t n_keys = 1; n_keys <= 70; n_keys += 1 + check_below(c, 6)) {
            compare(c, 1 + check_below(c, 4), 1 + check_below(c, 3), n_keys, dims[i]);
        }
    }
    compare(c, 4, 9, 500, 128);
    compare(c, 1, 40, 1, 64);
    if (!c->bench) return;
    time_shape(c, 1, 512, "4 heads, 1 token, 512 keys");
    time_shape(c, 1, 4096, "4 heads, 1 token, 4096 keys");
    time_shape(c, 8, 512, "4 heads, 8 tokens, 512 keys");
}
