/* The products of matrices of blocks: every type, every tail of rows and columns that the type can
 * have, one to many tokens, slices of panels, bit for bit; extreme levels with extreme activations,
 * where 16-bit sums would wrap; and against a sum in double, because a definition can be wrong
 * everywhere. */
#include "check.h"

#include <bitnet/quant.h>

#include <math.h>
#include <string.h>

enum input { RANDOM, LARGEST, SMALLEST, N_INPUTS };

static const char *const names[N_INPUTS] = {"random", "largest", "smallest"};

struct problem {
    struct bitnet_layout layout;
    uint8_t *w, *fixed;
    float *x, *x_scales;
    size_t n_tokens, x_stride, y_stride;
};

static size_t row_bytes(const struct problem *p)
{
    return bitnet_rows_bytes(&p->layout, 1);
}

/* Bytes with finite scales; every pattern of levels and scales is legal. */
static void fill_rows(struct check *c, struct problem *p, enum input kind)
{
    const size_t n = p->layout.rows * row_bytes(p);
    const size_t block = bitnet_dtype_info(p->layout.type)->block_bytes;
    const size_t at = p->layout.type == BITNET_DTYPE_q6_k ? 208 : 0;
    static const uint8_t extreme[] = {0, 0xff, 0x80};
    for (size_t i = 0; i < n; i++) {
        p->w[i] = kind == RANDOM ? (uint8_t)check_random(c) : extreme[kind];
        if (kind == SMALLEST && p->layout.type == BITNET_DTYPE_q8_0) p->w[i] = 0x80;
        if (kind == SMALLEST && p->layout.type != BITNET_DTYPE_q8_0) p->w[i] = 0;
        if (kind == LARGEST && p->layout.type == BITNET_DTYPE_q8_0) p->w[i] = 0x7f;
    }
    for (size_t b = 0; b < n; b += block) {
        p->w[b + at] = (uint8_t)check_random(c);
        p->w[b + at + 1] = (uint8_t)(check_random(c) & 0xbf);
        if (at == 208 && kind != RANDOM) memset(p->w + b + 192, 127, 16);
    }
}

static struct problem make(struct check *c, enum bitnet_dtype type, size_t rows, size_t cols,
                           size_t n_tokens, enum input w_kind, enum input x_kind)
{
    struct problem p = {.layout = {.type = type, .rows = rows, .cols = cols}, .n_tokens = n_tokens};
    p.y_stride = rows + check_below(c, 3);
    p.x_stride = bitnet_fixed_bytes(cols) + 64 * check_below(c, 2);
    p.w = check_buffer(c, rows * row_bytes(&p), 1);
    p.x = check_floats(c, n_tokens * cols, 2);
    p.x_scales = check_floats(c, n_tokens, 1);
    p.fixed = check_buffer(c, n_tokens * p.x_stride, 64);
    fill_rows(c, &p, w_kind);
    for (size_t i = 0; x_kind && i < n_tokens * cols; i++) p.x[i] = x_kind == LARGEST ? 3 : -3;
    for (size_t t = 0; t < n_tokens; t++) {
        p.x_scales[t] = bitnet_fixed_row(p.x + t * cols, cols, p.fixed + t * p.x_stride);
    }
    return p;
}

static size_t panels_of(const struct bitnet_block_path *path, size_t rows)
{
    return (rows + path->panel_rows - 1) / path->panel_rows;
}

static uint8_t *packed(struct check *c, const struct bitnet_block_path *path,
                       const struct problem *p)
{
    const size_t bytes = path->panel_bytes(p->layout.cols), n = panels_of(path, p->layout.rows);
    uint8_t *w = check_buffer(c, n * bytes, 64);
    for (size_t i = 0; i < n; i++) {
        const size_t row = i * path->panel_rows, left = p->layout.rows - row;
        path->pack(p->w + row * row_bytes(p), left < path->panel_rows ? left : path->panel_rows,
                   p->layout.cols, w + i * bytes);
    }
    return w;
}

/* In two slices of panels, so that slicing is part of what is compared. */
static float *multiply(struct check *c, const struct bitnet_block_path *path,
                       const struct problem *p)
{
    const uint8_t *w = packed(c, path, p);
    const size_t rows = p->layout.rows, cols = p->layout.cols, n = panels_of(path, rows);
    const size_t cut = check_below(c, n + 1), n_sums = (p->n_tokens - 1) * p->y_stride + rows;
    float *y = check_buffer(c, n_sums * sizeof *y, sizeof *y);
    path->matmul(w, rows, cols, 0, cut, p->fixed, p->x_stride, p->x_scales, p->n_tokens, y,
                 p->y_stride);
    path->matmul(w, rows, cols, cut, n, p->fixed, p->x_stride, p->x_scales, p->n_tokens, y,
                 p->y_stride);
    return y;
}

static void compare(struct check *c, const struct bitnet_block_path *ref,
                    const struct bitnet_block_path *set, enum bitnet_dtype type, size_t rows,
                    size_t cols, size_t n_tokens, enum input w_kind, enum input x_kind)
{
    const struct problem p = make(c, type, rows, cols, n_tokens, w_kind, x_kind);
    const float *want = multiply(c, ref, &p), *got = multiply(c, set, &p);
    for (size_t t = 0; t < n_tokens; t++) {
        check_same_floats(c, got + t * p.y_stride, want + t * p.y_stride, rows,
                          "%zu x %zu, token %zu of %zu, %s levels, %s x", rows, cols, t, n_tokens,
                          names[w_kind], names[x_kind]);
    }
    check_release(c);
}

/* Every result lies as near to the sum in double as 2^-22 of the sum of what was added: a bound
 * that a float sum of the same products in 32 lanes barely keeps. */
static void compare_with_double(struct check *c, const struct bitnet_block_path *set,
                                enum bitnet_dtype type)
{
    enum { ROWS = 19, COLS = 2560 };
    const struct problem p = make(c, type, ROWS, COLS, 1, RANDOM, RANDOM);
    const float *got = multiply(c, set, &p);
    float *row = check_floats(c, COLS, 1);
    const struct bitnet_layout one = {.type = type, .rows = 1, .cols = COLS};
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0, size = 0;
        bitnet_codec(type)->decode_rows(&one, p.w + r * row_bytes(&p), 1, row);
        for (size_t i = 0; i < COLS; i++) {
            sum += (double)row[i] * (double)p.x[i];
            size += fabs((double)row[i] * (double)p.x[i]);
        }
        const float is_near = fabs((double)got[r] - sum) <= ldexp(size, -22), want = 1;
        check_same_floats(c, &is_near, &want, 1, "row %zu beside its sum in double", r);
    }
    check_release(c);
}

/* --- timing --- */

struct timed {
    struct problem p;
    uint8_t *w[2]; /* of the set, of the reference */
    const struct bitnet_block_path *set, *ref;
    float *y;
};

static void run(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct timed *t = ctx;
    const bool is_ref = set->name == bitnet_kernels_at(0)->name;
    const struct bitnet_block_path *path = is_ref ? t->ref : t->set;
    path->matmul(t->w[is_ref], t->p.layout.rows, t->p.layout.cols, 0,
                 panels_of(path, t->p.layout.rows), t->p.fixed, t->p.x_stride, t->p.x_scales,
                 t->p.n_tokens, t->y, t->p.y_stride);
}

static void time_shape(struct check *c, const struct bitnet_block_path *ref,
                       const struct bitnet_block_path *set, enum bitnet_dtype type, size_t rows,
                       size_t n_tokens, const char *what)
{
    struct timed t = {
        .p = make(c, type, rows, 2560, n_tokens, RANDOM, RANDOM), .set = set, .ref = ref};
    t.w[0] = packed(c, set, &t.p);
    t.w[1] = packed(c, ref, &t.p);
    t.y = check_buffer(c, 4 * n_tokens * t.p.y_stride, 64);
    const double n = (double)rows * 2560;
    check_time(c, what, (double)bitnet_rows_bytes(&t.p.layout, rows), 2 * n * (double)n_tokens, run,
               &t);
    check_release(c);
}

static void check_type(struct check *c, const struct bitnet_block_path *ref,
                       const struct bitnet_block_path *set, enum bitnet_dtype type)
{
    const size_t block = bitnet_dtype_info(type)->block;
    for (size_t n = 1; n <= 12; n++) {
        compare(c, ref, set, type, 1 + check_below(c, 70), n * block, 1 + check_below(c, 8), RANDOM,
                RANDOM);
    }
    for (size_t rows = 1; rows <= 50; rows++) {
        compare(c, ref, set, type, rows, 256, 1 + rows % 2, RANDOM, RANDOM);
    }
    for (int w = 0; w < N_INPUTS; w++) {
        for (int x = 0; x < N_INPUTS; x++) {
            compare(c, ref, set, type, 34, 2560, 1, (enum input)w, (enum input)x);
            compare(c, ref, set, type, 17, 768, 9, (enum input)w, (enum input)x);
        }
    }
    compare_with_double(c, set, type);
    if (!c->bench) return;
    time_shape(c, ref, set, type, 4096, 1, "4096 x 2560, 1 token");
    time_shape(c, ref, set, type, 1024, 64, "1024 x 2560, 64 tokens");
}

#define BLOCKS(type)                                                                               \
    void check_blocks_##type(struct check *c)                                                      \
    {                                                                                              \
        check_type(c, c->ref->blocks_##type, c->set->blocks_##type, BITNET_DTYPE_##type);          \
    }
BLOCKS(q8_0)
BLOCKS(q6_k)
BLOCKS(q4_0)
