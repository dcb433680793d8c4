/* The harness itself: guarded memory, comparison, timing. See check.h. */
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { FILL = 0xa5, REPORTED_MAX = 20 };

struct guarded {
    struct guarded *next;
    uint8_t *map, *begin; /* begin: of what was asked for */
    size_t map_bytes, n_bytes, page;
};

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t check_random(struct check *c)
{
    uint64_t z = c->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

size_t check_below(struct check *c, size_t n)
{
    return (size_t)(check_random(c) % n);
}

float check_float(struct check *c, float range)
{
    return ((float)(check_random(c) >> 40) / 8388608.0f - 1.0f) * range;
}

void *check_buffer(struct check *c, size_t n_bytes, size_t alignment)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inside = (n_bytes + alignment + page - 1) / page * page;
    struct guarded *g = malloc(sizeof *g);
    g->map_bytes = inside + 2 * page;
    g->map = mmap(NULL, g->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g->map == MAP_FAILED || mprotect(g->map + page, inside, PROT_READ | PROT_WRITE)) abort();
    g->page = page;
    g->n_bytes = n_bytes;
    const uintptr_t end = (uintptr_t)(g->map + page + inside);
    const bool at_end = check_random(c) % 4 != 0;
    g->begin = at_end ? (uint8_t *)((end - n_bytes) / alignment * alignment) : g->map + page;
    memset(g->map + page, FILL, inside);
    g->next = c->buffers;
    c->buffers = g;
    return g->begin;
}

float *check_floats(struct check *c, size_t n, float range)
{
    float *x = check_buffer(c, n * sizeof *x, sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = check_float(c, range);
    return x;
}

/* Returns true when this failure should be printed. */
static bool fails(struct check *c)
{
    if (++c->n_failures > REPORTED_MAX) return false;
    printf("FAILED %s %s: ", c->set->name, c->slot);
    return true;
}

static bool is_filled(const uint8_t *begin, const uint8_t *end)
{
    for (; begin < end; begin++) {
        if (*begin != FILL) return false;
    }
    return true;
}

void check_release(struct check *c)
{
    while (c->buffers) {
        struct guarded *g = c->buffers;
        const uint8_t *first = g->map + g->page, *last = g->map + g->map_bytes - g->page;
        if (!is_filled(first, g->begin) || !is_filled(g->begin + g->n_bytes, last)) {
            if (fails(c)) printf("wrote beside a buffer of %zu bytes\n", g->n_bytes);
        }
        munmap(g->map, g->map_bytes);
        c->buffers = g->next;
        free(g);
    }
}

static bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

void check_same_floats(struct check *c, const float *got, const float *want, size_t n,
                       const char *what, ...)
{
    c->n_checks++;
    size_t i = 0;
    while (i < n && same_float(got[i], want[i])) i++;
    if (i == n || !fails(c)) return;
    va_list args;
    va_start(args, what);
    vprintf(what, args);
    va_end(args);
    printf(": element %zu of %zu is %a (%g), not %a (%g)\n", i, n, (double)got[i], (double)got[i],
           (double)want[i], (double)want[i]);
}

void check_same_bytes(struct check *c, const void *got, const void *want, size_t n,
                      const char *what, ...)
{
    c->n_checks++;
    const uint8_t *a = got, *b = want;
    size_t i = 0;
    while (i < n && a[i] == b[i]) i++;
    if (i == n || !fails(c)) return;
    va_list args;
    va_start(args, what);
    vprintf(what, args);
    va_end(args);
    printf(": byte %zu of %zu is %u, not %u\n", i, n, a[i], b[i]);
}

/* CPU time, so that other programs on the machine count little. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The best of several calls, within about `budget` seconds. */
static double best_time(const struct bitnet_kernel_set *set,
                        void (*run)(const struct bitnet_kernel_set *, void *), void *ctx,
                        double budget)
{
    double best = INFINITY;
    const double start = now();
    for (int i = 0; i < 1000 && (i == 0 || now() - start < budget); i++) {
        const double begin = now();
        run(set, ctx);
        best = fmin(best, now() - begin);
    }
    return best;
}

void check_time(struct check *c, const char *what, double n_bytes, double n_ops,
                void (*run)(const struct bitnet_kernel_set *set, void *ctx), void *ctx)
{
    const double set = best_time(c->set, run, ctx, 0.15);
    const double ref = best_time(c->ref, run, ctx, 0); /* once: it is slow */
    printf("%-11s %-16s %-28s %10.1f us %8.2f GB/s %9.1f GOPS %8.1fx\n", c->set->name, c->slot,
           what, set * 1e6, n_bytes / set * 1e-9, n_ops / set * 1e-9, ref / set);
    fflush(stdout);
}
