/* What a sampler asks of logits: the place of the largest (the first of equal ones), those above a
 * floor in order, the sum of exponentials. Every length around the registers and runs, equal
 * values, NaN and infinities. */
#include "check.h"

#include <math.h>
#include <string.h>

enum { LONG = 128256 };

static size_t next_length(size_t n)
{
    return n < 140 ? n + 1 : n < 1700 ? n + 61 : n < LONG ? LONG : LONG + 1;
}

static float *logits(struct check *c, size_t n)
{
    float *x = check_floats(c, n, 10);
    for (size_t i = 0; i < n; i += 1 + check_below(c, 9))
        x[i] = (float)check_below(c, 5); /* ties */
    return x;
}

struct timed {
    float *x;
    uint32_t *at;
    size_t found;
    float sum;
};

static struct timed make_timed(struct check *c)
{
    return (struct timed){.x = logits(c, LONG), .at = check_buffer(c, 4 * LONG, 4)};
}

/* --- largest --- */

static void compare_largest(struct check *c, const float *x, size_t n)
{
    size_t want, got;
    const uint8_t want_finite = c->ref->largest(x, n, &want);
    const uint8_t got_finite = c->set->largest(x, n, &got);
    check_same_bytes(c, &got_finite, &want_finite, 1, "%zu logits: all finite", n);
    if (want_finite) check_same_bytes(c, &got, &want, sizeof got, "%zu logits", n);
}

static void run_largest(const struct bitnet_kernel_set *set, void *ctx)
{
    struct timed *t = ctx;
    set->largest(t->x, LONG, &t->found);
}

void check_largest(struct check *c)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    for (size_t n = 1; n <= LONG; n = next_length(n)) {
        float *x = logits(c, n);
        compare_largest(c, x, n);
        x[check_below(c, n)] = 11; /* alone */
        compare_largest(c, x, n);
        x[check_below(c, n)] = odd[check_below(c, 3)];
        compare_largest(c, x, n);
        check_release(c);
    }
    if (!c->bench) return;
    struct timed t = make_timed(c);
    check_time(c, "128256", 4.0 * LONG, LONG, run_largest, &t);
}

/* --- above --- */

static void run_above(const struct bitnet_kernel_set *set, void *ctx)
{
    struct timed *t = ctx;
    t->found = set->above(t->x, LONG, 9.99f, t->at);
}

void check_above(struct check *c)
{
    for (size_t n = 1; n <= LONG; n = next_length(n)) {
        const float *x = logits(c, n);
        const float floors[] = {-11, 0, 3, 9.9f, 11};
        for (size_t f = 0; f < sizeof floors / sizeof floors[0]; f++) {
            uint32_t *want = check_buffer(c, 4 * n, 4), *got = check_buffer(c, 4 * n, 4);
            const size_t n_want = c->ref->above(x, n, floors[f], want);
            const size_t n_got = c->set->above(x, n, floors[f], got);
            check_same_bytes(c, &n_got, &n_want, sizeof n_got, "how many of %zu", n);
            check_same_bytes(c, got, want, 4 * n_want, "%zu above %g", n, (double)floors[f]);
        }
        check_release(c);
    }
    if (!c->bench) return;
    struct timed t = make_timed(c);
    check_time(c, "128256", 4.0 * LONG, LONG, run_above, &t);
}

/* --- sum_exp --- */

static void run_sum_exp(const struct bitnet_kernel_set *set, void *ctx)
{
    struct timed *t = ctx;
    t->sum = set->sum_exp(t->x, LONG, 10);
}

void check_sum_exp(struct check *c)
{
    for (size_t n = 1; n <= LONG; n = next_length(n)) {
        float *x = logits(c, n);
        if (n > 3) x[check_below(c, n)] = -INFINITY;
        const float want = c->ref->sum_exp(x, n, 10), got = c->set->sum_exp(x, n, 10);
        check_same_floats(c, &got, &want, 1, "%zu logits", n);
        check_release(c);
    }
    if (!c->bench) return;
    struct timed t = make_timed(c);
    check_time(c, "128256", 4.0 * LONG, LONG, run_sum_exp, &t);
}
