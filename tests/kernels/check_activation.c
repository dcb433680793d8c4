/* Slots that work element by element: quantization to int8 and back, norm, gates, residual sum,
 * narrowing, rotation. Every length up to a few registers, misaligned starts, and the values at
 * which formulas bend: zeros of both signs, halves, NaN, infinities, subnormals. */
#include "check.h"

#include <math.h>
#include <string.h>

enum { LENGTHS = 300, LONG = 6912 };

static const float bends[] = {0.0f,  -0.0f,    1.0f,     -1.0f,  0.5f,     -1.5f,  127.0f,
                              1e-6f, -1e-5f,   1e-38f,   1e-42f, -1e-45f,  1e5f,   -65504.0f,
                              88.6f, -87.2f,   -87.4f,   89.0f,  65520.0f, 1e30f,  -1e30f,
                              2e-8f, 5.97e-8f, -6.1e-5f, 0.1f,   3.0f,     -20.0f, 20.0f};

static float *bent(struct check *c, size_t n)
{
    float *x = check_floats(c, n, 3);
    for (size_t i = 0; i < n; i += 1 + check_below(c, 5)) {
        x[i] = bends[check_below(c, sizeof bends / sizeof bends[0])];
    }
    return x;
}

static float *copy_of(struct check *c, const float *x, size_t n)
{
    float *y = check_buffer(c, n * sizeof *y, sizeof *y);
    memcpy(y, x, n * sizeof *y);
    return y;
}

/* Lengths worth trying: all short ones, then a real one. */
static size_t next_length(size_t n)
{
    return n < LENGTHS ? n + 1 : n < LONG ? LONG : LONG + 1;
}

/* --- quantize_row_i8 --- */

static void compare_quantized(struct check *c, const float *x, size_t n, const char *kind)
{
    const size_t padded = (n + 127) / 128 * 128;
    int8_t *want = check_buffer(c, padded, 64), *got = check_buffer(c, padded, 64);
    const float want_s = c->ref->quantize_row_i8(x, n, want);
    const float got_s = c->set->quantize_row_i8(x, n, got);
    check_same_floats(c, &got_s, &want_s, 1, "scale of %zu %s numbers", n, kind);
    check_same_bytes(c, got, want, padded, "%zu %s numbers", n, kind);
}

struct pair {
    float *y, *x;
    int8_t *q;
    int32_t *sums;
    uint16_t *h;
    size_t n;
};

static struct pair timed_pair(struct check *c)
{
    struct pair p = {check_floats(c, LONG, 2), check_floats(c, LONG, 2), NULL, NULL, NULL, LONG};
    p.q = check_buffer(c, LONG, 64);
    p.sums = check_buffer(c, 4 * LONG, 64);
    p.h = check_buffer(c, 2 * LONG, 64);
    return p;
}

static void run_quantize(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct pair *p = ctx;
    set->quantize_row_i8(p->x, p->n, p->q);
}

void check_quantize_row_i8(struct check *c)
{
    for (size_t n = 1; n <= LONG; n = next_length(n)) {
        compare_quantized(c, bent(c, n), n, "bent");
        compare_quantized(c, check_floats(c, n, 1.0f), n, "random");
        float *x = check_floats(c, n, 1e-7f);
        compare_quantized(c, x, n, "tiny");
        memset(x, 0, n * sizeof *x);
        compare_quantized(c, x, n, "zero");
        for (size_t i = 0; i < n; i++) x[i] = (float)(i % 2 ? 127 : -127) / 2; /* halves */
        compare_quantized(c, x, n, "half");
        x[check_below(c, n)] = check_below(c, 2) ? NAN : INFINITY;
        compare_quantized(c, x, n, "not finite");
        check_release(c);
    }
    if (!c->bench) return;
    struct pair p = timed_pair(c);
    check_time(c, "6912", 4 * LONG, LONG, run_quantize, &p);
}

/* --- rescale --- */

static void run_rescale(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct pair *p = ctx;
    set->rescale(p->sums, p->n, 3.0f, 0.5f, p->y);
}

void check_rescale(struct check *c)
{
    for (size_t n = 1; n <= LONG; n = next_length(n)) {
        int32_t *sums = check_buffer(c, 4 * n, 4);
        for (size_t i = 0; i < n; i++) {
            sums[i] = (int32_t)(check_random(c) >> 32) >> check_below(c, 31);
        }
        float *want = check_floats(c, n, 1), *got = check_floats(c, n, 1);
        const float scale = check_float(c, 2);
        for (int i = 0; i < 8; i++) { /* what a quantizer gives, and what it never would */
            const float any = check_float(c, 100),
                        size = 1 + (float)check_below(c, 1 << 23) / 0x1p23f;
            const float s = i == 0 ? any : ldexpf(size, (int)check_below(c, 160) - 80);
            c->ref->rescale(sums, n, s, scale, want);
            c->set->rescale(sums, n, s, scale, got);
            check_same_floats(c, got, want, n, "%zu sums by %a", n, (double)s);
        }
        check_release(c);
    }
    if (!c->bench) return;
    struct pair p = timed_pair(c);
    check_time(c, "6912", 8 * LONG, 2 * LONG, run_rescale, &p);
}

/* --- rms_norm --- */

static void run_norm(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct pair *p = ctx;
    set->rms_norm(p->x, p->y, p->n, 1e-5f, (float *)(void *)p->sums);
}

void check_rms_norm(struct check *c)
{
    for (size_t n = 1; n <= LONG; n = next_length(n)) {
        for (int kind = 0; kind < 2; kind++) {
            float *x = kind ? bent(c, n) : check_floats(c, n, 5), *w = check_floats(c, n, 2);
            float *want = check_floats(c, n, 1), *got = check_floats(c, n, 1);
            c->ref->rms_norm(x, w, n, 1e-5f, want);
            c->set->rms_norm(x, w, n, 1e-5f, got);
            check_same_floats(c, got, want, n, "%zu numbers", n);
            c->set->rms_norm(x, w, n, 1e-5f, x);
            check_same_floats(c, x, want, n, "%zu numbers in place", n);
        }
        check_release(c);
    }
    if (!c->bench) return;
    struct pair p = timed_pair(c);
    check_time(c, "6912", 12 * LONG, 4 * LONG, run_norm, &p);
}

/* --- y = f(y, x) --- */

static void compare_pairs(struct check *c, void (*ref)(float *, const float *, size_t),
                          void (*set)(float *, const float *, size_t))
{
    for (size_t n = 1; n <= LONG; n = next_length(n)) {
        float *want = bent(c, n), *x = bent(c, n);
        if (n % 7 == 0) want[check_below(c, n)] = NAN;
        float *got = copy_of(c, want, n);
        ref(want, x, n);
        set(got, x, n);
        check_same_floats(c, got, want, n, "%zu pairs", n);
        check_release(c);
    }
}

static void run_silu(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct pair *p = ctx;
    set->gate_silu(p->y, p->x, p->n);
}

void check_gate_silu(struct check *c)
{
    compare_pairs(c, c->ref->gate_silu, c->set->gate_silu);
    if (!c->bench) return;
    struct pair p = timed_pair(c);
    check_time(c, "6912", 12 * LONG, LONG, run_silu, &p);
}

static void run_relu2(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct pair *p = ctx;
    set->gate_relu2(p->y, p->x, p->n);
}

void check_gate_relu2(struct check *c)
{
    compare_pairs(c, c->ref->gate_relu2, c->set->gate_relu2);
    if (!c->bench) return;
    struct pair p = timed_pair(c);
    check_time(c, "6912", 12 * LONG, 3 * LONG, run_relu2, &p);
}

static void run_gelu(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct pair *p = ctx;
    set->gate_gelu(p->y, p->x, p->n);
}

/* The same bits in every set, and near the definition by tanh, in doubles. */
void check_gate_gelu(struct check *c)
{
    compare_pairs(c, c->ref->gate_gelu, c->set->gate_gelu);
    for (float x = -12; x <= 12; x += 0.37f) {
        float got = x;
        const float one = 1;
        c->set->gate_gelu(&got, &one, 1);
        const double d = (double)x, root = sqrt(2 / 3.14159265358979323846);
        const double exact = 0.5 * d * (1 + tanh(root * (d + 0.044715 * d * d * d)));
        const float want = (float)exact;
        if (fabs((double)got - exact) <= 2e-6 * fmax(fabs(exact), 0.05)) got = want;
        check_same_floats(c, &got, &want, 1, "gelu(%g)", (double)x);
    }
    if (!c->bench) return;
    struct pair p = timed_pair(c);
    check_time(c, "6912", 12 * LONG, 6 * LONG, run_gelu, &p);
}

static void run_add(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct pair *p = ctx;
    set->add(p->y, p->x, p->n);
}

void check_add(struct check *c)
{
    compare_pairs(c, c->ref->add, c->set->add);
    if (!c->bench) return;
    struct pair p = timed_pair(c);
    check_time(c, "6912", 12 * LONG, LONG, run_add, &p);
}

/* --- to_f16 --- */

static void run_to_f16(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct pair *p = ctx;
    set->to_f16(p->x, p->n, p->h);
}

void check_to_f16(struct check *c)
{
    for (size_t n = 1; n <= LONG; n = next_length(n)) {
        float *x = bent(c, n);
        for (size_t i = 0; i < n; i += 3) { /* any exponent, any mantissa, but no NaN */
            const uint32_t bits = (uint32_t)check_random(c);
            memcpy(x + i, &bits, sizeof bits);
            if (isnan(x[i])) x[i] = INFINITY;
        }
        uint16_t *want = check_buffer(c, 2 * n, 2), *got = check_buffer(c, 2 * n, 2);
        c->ref->to_f16(x, n, want);
        c->set->to_f16(x, n, got);
        check_same_bytes(c, got, want, 2 * n, "%zu numbers", n);
        check_release(c);
    }
    if (!c->bench) return;
    struct pair p = timed_pair(c);
    check_time(c, "6912", 6 * LONG, LONG, run_to_f16, &p);
}

/* --- rope --- */

struct heads {
    float *v, *cosines, *sines;
    size_t n_heads, dim;
    bool halves;
};

static void run_rope(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct heads *h = ctx;
    set->rope(h->v, h->n_heads, h->dim, h->dim, h->cosines, h->sines, h->halves);
}

static void compare_rope(struct check *c, size_t dim, size_t n_rot, bool halves)
{
    const size_t n_heads = 1 + check_below(c, 3), n = n_heads * dim;
    float *want = bent(c, n), *got = copy_of(c, want, n);
    const float *cosines = check_floats(c, n_rot / 2, 1), *sines = check_floats(c, n_rot / 2, 1);
    c->ref->rope(want, n_heads, dim, n_rot, cosines, sines, halves);
    c->set->rope(got, n_heads, dim, n_rot, cosines, sines, halves);
    check_same_floats(c, got, want, n, "%zu heads of %zu, %zu turned, %s", n_heads, dim, n_rot,
                      halves ? "halves" : "neighbours");
    check_release(c);
}

void check_rope(struct check *c)
{
    for (size_t dim = 2; dim <= 260; dim += 2) {
        compare_rope(c, dim, dim, true);
        compare_rope(c, dim, dim, false);
        compare_rope(c, dim, 2 * (1 + check_below(c, dim / 2)), check_below(c, 2));
    }
    if (!c->bench) return;
    for (int halves = 0; halves < 2; halves++) {
        struct heads h = {check_floats(c, 20 * 128, 1),
                          check_floats(c, 64, 1),
                          check_floats(c, 64, 1),
                          20,
                          128,
                          halves};
        check_time(c, halves ? "20 x 128 halves" : "20 x 128 neighbours", 8 * 20 * 128,
                   3 * 20 * 128, run_rope, &h);
    }
}
