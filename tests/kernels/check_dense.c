/* The dense products: every float type, every tail of rows and columns that the type can have, one
 * to many tokens, bit for bit. Weights are random bytes with finite scales, which covers every
 * level.
 */
#include "check.h"

#include <bitnet/quant.h>

#include <string.h>

struct problem {
    struct bitnet_layout layout;
    uint8_t *w;
    float *x, *y;
    size_t n_tokens, x_stride, y_stride;
    bitnet_dense_fn *ref, *fn;
};

/* Through the codec, so that the bytes are a legal matrix. */
static uint8_t *weights(struct check *c, const struct bitnet_layout *l)
{
    const size_t row_bytes = bitnet_rows_bytes(l, 1);
    uint8_t *w = check_buffer(c, l->rows * row_bytes, 1);
    float row[16384];
    for (size_t r = 0; r < l->rows; r++) {
        for (size_t i = 0; i < l->cols; i++) {
            row[i] = check_float(c, 1) * (check_below(c, 50) ? 1.0f : 30.0f);
        }
        bitnet_codec(l->type)->encode_rows(l, row, 1, NULL, w + r * row_bytes);
    }
    return w;
}

/* What is timed lies as a caller would have it. */
static struct problem make_aligned(struct check *c, enum bitnet_dtype type, size_t rows,
                                   size_t cols, size_t n_tokens)
{
    struct problem p = {.layout = {.type = type, .rows = rows, .cols = cols}};
    p.n_tokens = n_tokens;
    p.x_stride = cols;
    p.y_stride = rows;
    p.w = weights(c, &p.layout);
    p.x = check_buffer(c, n_tokens * cols * sizeof *p.x, 64);
    p.y = check_buffer(c, n_tokens * rows * sizeof *p.y, 64);
    for (size_t i = 0; i < n_tokens * cols; i++) p.x[i] = check_float(c, 2);
    return p;
}

static struct problem make(struct check *c, enum bitnet_dtype type, size_t rows, size_t cols,
                           size_t n_tokens)
{
    struct problem p = {.layout = {.type = type, .rows = rows, .cols = cols}};
    p.n_tokens = n_tokens;
    p.x_stride = cols + check_below(c, 5);
    p.y_stride = rows + check_below(c, 3);
    p.w = weights(c, &p.layout);
    p.x = check_floats(c, (n_tokens - 1) * p.x_stride + cols, 2);
    return p;
}

static float *multiply(struct check *c, bitnet_dense_fn *fn, const struct problem *p)
{
    const size_t n = (p->n_tokens - 1) * p->y_stride + p->layout.rows;
    float *y = check_buffer(c, n * sizeof *y, sizeof *y);
    const size_t cut = check_below(c, p->layout.rows + 1);
    fn(p->w, p->layout.cols, 0, cut, p->x, p->x_stride, p->n_tokens, y, p->y_stride);
    fn(p->w, p->layout.cols, cut, p->layout.rows, p->x, p->x_stride, p->n_tokens, y, p->y_stride);
    return y;
}

static void compare(struct check *c, bitnet_dense_fn *ref, bitnet_dense_fn *fn,
                    enum bitnet_dtype type, size_t rows, size_t cols, size_t n_tokens)
{
    const struct problem p = make(c, type, rows, cols, n_tokens);
    const float *want = multiply(c, ref, &p), *got = multiply(c, fn, &p);
    for (size_t t = 0; t < n_tokens; t++) {
        check_same_floats(c, got + t * p.y_stride, want + t * p.y_stride, rows,
                          "%zu x %zu, token %zu of %zu", rows, cols, t, n_tokens);
    }
    check_release(c);
}

static void run(const struct bitnet_kernel_set *set, void *ctx)
{
    const struct problem *p = ctx;
    bitnet_dense_fn *fn = set->name == bitnet_kernels_at(0)->name ? p->ref : p->fn;
    fn(p->w, p->layout.cols, 0, p->layout.rows, p->x, p->x_stride, p->n_tokens, p->y, p->y_stride);
}

static void time_shape(struct check *c, bitnet_dense_fn *ref, bitnet_dense_fn *fn,
                       enum bitnet_dtype type, size_t rows, size_t n_tokens, const char *what)
{
    struct problem p = make_aligned(c, type, rows, 2560, n_tokens);
    p.ref = ref;
    p.fn = fn;
    const double n = (double)rows * 2560;
    check_time(c, what, (double)bitnet_rows_bytes(&p.layout, rows), 2 * n * (double)n_tokens, run,
               &p);
    check_release(c);
}

static void check_type(struct check *c, bitnet_dense_fn *ref, bitnet_dense_fn *fn,
                       enum bitnet_dtype type)
{
    const size_t block = bitnet_dtype_info(type)->block;
    for (size_t n = 1; n <= 40; n++) {
        compare(c, ref, fn, type, 1 + check_below(c, 7), n * block, 1 + check_below(c, 8));
    }
    for (size_t n_tokens = 1; n_tokens <= 60; n_tokens += 7) {
        compare(c, ref, fn, type, 5, 2560 / block * block, n_tokens);
    }
    if (block == 1) {
        for (size_t cols = 30; cols < 1300; cols += 1 + check_below(c, 60)) {
            compare(c, ref, fn, type, 3, cols, 1 + check_below(c, 5));
        }
    }
    if (!c->bench) return;
    time_shape(c, ref, fn, type, 4096, 1, "4096 x 2560, 1 token");
    time_shape(c, ref, fn, type, 1024, 64, "1024 x 2560, 64 tokens");
}

#define DENSE(type)                                                                                \
    void check_dense_##type(struct check *c)                                                       \
    {                                                                                              \
        check_type(c, c->ref->dense_##type, c->set->dense_##type, BITNET_DTYPE_##type);            \
    }
DENSE(f32)
DENSE(f16)
DENSE(bf16)
