/* The ternary product: integers, so equal on every set. Random and extreme trits and activations
 * (all -1, all +1, all +-127, zero rows), every tail of rows and columns, slices of panels, more
 * tokens than a tile. */
#include "check.h"

#include "../../kernels/lookup.h"

#include <bitnet/cpu.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum input { RANDOM, ALL_PLUS, ALL_MINUS, ALTERNATING, ZERO, N_INPUTS };

static const char *const names[N_INPUTS] = {"random", "all +", "all -", "alternating", "zero"};

struct problem {
    size_t rows, cols, n_tokens, x_stride, y_stride;
    enum input trit_kind, x_kind;
    int8_t *trits, *x;
};

static int value(struct check *c, enum input kind, size_t i, int limit)
{
    switch (kind) {
    case ALL_PLUS:
        return limit;
    case ALL_MINUS:
        return -limit;
    case ALTERNATING:
        return i % 2 ? limit : -limit;
    case ZERO:
        return 0;
    default:
        return (int)check_below(c, 2 * (size_t)limit + 1) - limit;
    }
}

static struct problem make(struct check *c, size_t rows, size_t cols, size_t n_tokens,
                           enum input trit_kind, enum input x_kind)
{
    struct problem p = {rows,   cols, n_tokens, (cols + 127) / 128 * 128, 0, trit_kind,
                        x_kind, NULL, NULL};
    p.y_stride = rows + check_below(c, 3);
    p.trits = check_buffer(c, rows * cols, 1);
    p.x = check_buffer(c, n_tokens * p.x_stride, 64);
    for (size_t i = 0; i < rows * cols; i++) p.trits[i] = (int8_t)value(c, trit_kind, i, 1);
    memset(p.x, 0, n_tokens * p.x_stride);
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t i = 0; i < cols; i++) {
            p.x[t * p.x_stride + i] = (int8_t)value(c, x_kind, i, 127);
        }
    }
    return p;
}

static size_t panels_of(const struct bitnet_ternary_path *path, size_t rows)
{
    return (rows + path->panel_rows - 1) / path->panel_rows;
}

static uint8_t *packed(struct check *c, const struct bitnet_ternary_path *path,
                       const struct problem *p)
{
    const size_t bytes = path->panel_bytes(p->cols), n = panels_of(path, p->rows);
    uint8_t *w = check_buffer(c, n * bytes, 64);
    for (size_t i = 0; i < n; i++) path->pack(p->trits, p->rows, p->cols, i, w + i * bytes);
    return w;
}

/* In two slices of panels, so that slicing is part of what is compared. */
static int32_t *multiply(struct check *c, const struct bitnet_ternary_path *path,
                         const struct problem *p)
{
    const uint8_t *w = packed(c, path, p);
    const size_t n = panels_of(path, p->rows), cut = check_below(c, n + 1);
    const size_t n_sums = p->n_tokens ? (p->n_tokens - 1) * p->y_stride + p->rows : 0;
    int32_t *y = check_buffer(c, n_sums * sizeof *y, sizeof *y);
    path->matmul(w, p->rows, p->cols, 0, cut, p->x, p->x_stride, p->n_tokens, y, p->y_stride);
    path->matmul(w, p->rows, p->cols, cut, n, p->x, p->x_stride, p->n_tokens, y, p->y_stride);
    return y;
}

static void compare(struct check *c, size_t rows, size_t cols, size_t n_tokens,
                    enum input trit_kind, enum input x_kind)
{
    const struct problem p = make(c, rows, cols, n_tokens, trit_kind, x_kind);
    const int32_t *want = multiply(c, c->ref->ternary, &p);
    const int32_t *got = multiply(c, c->set->ternary, &p);
    for (size_t t = 0; t < n_tokens; t++) {
        check_same_bytes(c, got + t * p.y_stride, want + t * p.y_stride, 4 * rows,
                         "%zu x %zu, token %zu of %zu, %s trits, %s x", rows, cols, t, n_tokens,
                         names[trit_kind], names[x_kind]);
    }
    check_release(c);
}

/* Nothing of the reference in the reference: a sum that anybody can check. */
static void compare_with_known_sum(struct check *c)
{
    const struct problem p = make(c, 17, 8192, 1, ALL_MINUS, ALL_PLUS);
    const int32_t *y = multiply(c, c->set->ternary, &p);
    const int32_t want = -8192 * 127;
    for (size_t r = 0; r < p.rows; r++) check_same_bytes(c, y + r, &want, 4, "17 x 8192 of -127");
    check_release(c);
}

/* The widest row that a model may have (8388608 columns, gguf/arch/hparams.c), of equal trits,
 * times activations of 127 or -127: codes times x reach 2 * 127 * 8388608 = 2130706432, just below
 * 2^31, and any sum of 16 bits would have wrapped long before. Nothing of the reference in it.
 * Tiles of AMX want a whole panel, others one row. */
static void compare_widest(struct check *c, size_t n_tokens)
{
    enum { WIDEST = 8388608 };
    const struct bitnet_ternary_path *path = c->set->ternary;
    const size_t rows = strcmp(c->set->name, "amx") == 0 && n_tokens > 1 ? 16 : 1;
    int8_t *trits = check_buffer(c, rows * WIDEST, 64), *x = check_buffer(c, WIDEST, 64);
    uint8_t *w = check_buffer(c, path->panel_bytes(WIDEST), 64);
    int32_t *y = check_buffer(c, n_tokens * rows * sizeof *y, sizeof *y);
    for (int trit = -1; trit <= 1; trit += 2) {
        memset(trits, trit, rows * WIDEST);
        path->pack(trits, rows, WIDEST, 0, w);
        for (int value = -127; value <= 127; value += 254) {
            const int32_t want = trit * value * WIDEST;
            memset(x, value, WIDEST);
            path->matmul(w, rows, WIDEST, 0, 1, x, 0, n_tokens, y, rows); /* one row for all */
            for (size_t i = 0; i < n_tokens * rows; i++) {
                check_same_bytes(c, y + i, &want, 4, "%d times %d, 8388608 times", trit, value);
            }
        }
    }
    check_release(c);
}

/* --- timing --- */

struct timed {
    struct problem p;
    uint8_t *w[2]; /* of the set, of the reference */
    const struct bitnet_kernel_set *set;
    int32_t *y;
};

static void run(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct timed *t = ctx;
    const struct problem *p = &t->p;
    set->ternary->matmul(t->w[set != t->set], p->rows, p->cols, 0, panels_of(set->ternary, p->rows),
                         p->x, p->x_stride, p->n_tokens, t->y, p->y_stride);
}

static void time_shape(struct check *c, size_t rows, size_t cols, size_t n_tokens, const char *what)
{
    struct timed t = {.p = make(c, rows, cols, n_tokens, RANDOM, RANDOM), .set = c->set};
    t.w[0] = packed(c, c->set->ternary, &t.p);
    t.w[1] = packed(c, c->ref->ternary, &t.p);
    t.y = check_buffer(c, 4 * n_tokens * t.p.y_stride, 64);
    const double n = (double)rows * (double)cols;
    check_time(c, what, n / 4, 2 * n * (double)n_tokens, run, &t);
    check_release(c);
}

/* Paths that no set uses: by whose side each is checked, and what it needs beyond that set. */
static const struct {
    const char *set, *what;
    uint32_t needs;
    const struct bitnet_ternary_path *path;
} lookups[] = {
#if defined(__x86_64__)
    {"ssse3", "pairs", 0, &bitnet_ssse3_lookup},
    {"ssse3", "triples", 0, &bitnet_ssse3_triples},
    {"avx2", "pairs", 0, &bitnet_avx2_lookup},
    {"avx2", "triples", 0, &bitnet_avx2_triples},
    {"avx512", "pairs", 0, &bitnet_avx512_lookup},
    {"avx512", "triples", 0, &bitnet_avx512_triples},
    {"avx512", "triples, VBMI", BITNET_CPU_AVX512VBMI, &bitnet_avx512vbmi_triples},
#elif defined(__aarch64__)
    {"neon", "pairs", 0, &bitnet_neon_lookup},
    {"neon", "triples", 0, &bitnet_neon_triples},
#endif
    {"", "", 0, NULL}};

/* The same checks for a path that no set uses, and its time beside the set's. */
static void check_lookup(struct check *c, const struct bitnet_ternary_path *path, const char *what)
{
    const struct bitnet_kernel_set *own = c->set;
    struct bitnet_kernel_set with_lookup = *own;
    with_lookup.ternary = path;
    c->set = &with_lookup;
    for (size_t cols = 1; cols <= 600; cols += 1 + check_below(c, 30)) {
        compare(c, 1 + check_below(c, 140), cols, 1 + check_below(c, 3), RANDOM, RANDOM);
    }
    for (int trits = 0; trits < N_INPUTS; trits++) {
        for (int x = 0; x < N_INPUTS; x++) {
            compare(c, 18, 4096 + 192, 2, (enum input)trits, (enum input)x);
        }
    }
    compare_widest(c, 1);
    if (c->bench) {
        char line[64];
        snprintf(line, sizeof line, "2560 x 6912, %s", what);
        time_shape(c, 2560, 6912, 1, line);
    }
    c->set = own;
}

static void check_lookups(struct check *c)
{
    for (size_t i = 0; lookups[i].path; i++) {
        const bool is_here = (lookups[i].needs & ~bitnet_cpu_detect()) == 0;
        if (is_here && strcmp(lookups[i].set, c->set->name) == 0) {
            check_lookup(c, lookups[i].path, lookups[i].what);
        }
    }
}

void check_ternary(struct check *c)
{
    for (size_t cols = 1; cols <= 300; cols += 1 + check_below(c, 9)) {
        compare(c, 1 + check_below(c, 40), cols, 1 + check_below(c, 9), RANDOM, RANDOM);
    }
    for (size_t n_tokens = 1; n_tokens <= 70; n_tokens += n_tokens < 20 ? 1 : 9) {
        compare(c, 33, 320, n_tokens, RANDOM, RANDOM);
    }
    for (size_t rows = 1; rows <= 70; rows++) compare(c, rows, 192, 3, RANDOM, RANDOM);
    for (int trits = 0; trits < N_INPUTS; trits++) {
        for (int x = 0; x < N_INPUTS; x++) {
            compare(c, 18, 4096 + 192, 5, (enum input)trits, (enum input)x);
            compare(c, 40, 1600, 33, (enum input)trits, (enum input)x);
        }
    }
    compare_with_known_sum(c);
    compare_widest(c, 1);
    if (c->set != c->ref && c->set->ternary != c->ref->ternary) compare_widest(c, 16);
    check_lookups(c);
    if (!c->bench) return;
    static const size_t tokens[] = {1, 2, 4, 8, 16, 32, 128};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        char what[64];
        snprintf(what, sizeof what, "2560 x 6912, %zu tokens", tokens[i]);
        time_shape(c, 2560, 6912, tokens[i], what);
    }
}
