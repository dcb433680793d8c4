/* Template: matrix times vectors for weights that are numbers, in lanes.
 *
 * A sum has 32 lanes (<bitnet/kernels.h>), VEC_REGS registers. One template serves all types; a
 * type gives it one inline function: `load` widens 32 neighbouring weights of a row.
 *
 * One or two tokens: weights are widened as they stream by, DENSE_ROWS rows at a time, which makes
 * as many independent chains as the latency of FMA asks for, and as many streams of neighbouring
 * rows; each is prefetched 4 KiB ahead, because plain loads leave a third of the memory's speed
 * unused. More tokens: a stretch of ROWS rows is widened once into a buffer and multiplied with
 * DENSE_TILE_TOKENS tokens at a time, as many as the registers hold sums for; the buffer and those
 * tokens' activations share the first cache. Both keep the lanes' order, so the results are equal
 * bit by bit.
 *
 * Included once by the float file of each set, after its vec and with NAME(slot) defined. */
#include "../quant/codec.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 256, STRETCH = 1024, ROWS = 4, TOKENS = 24, AHEAD_BYTES = 4096 };

/* --- the types --- */

INLINE void load_f32(const uint8_t *row, size_t c, vec w[VEC_REGS])
{
    const float *at = (const float *)(const void *)(row + 4 * c);
    UNROLL for (size_t i = 0; i < VEC_REGS; i++) w[i] = vec_load(at + VEC_LANES * i);
}

INLINE void load_f16(const uint8_t *row, size_t c, vec w[VEC_REGS])
{
    UNROLL for (size_t i = 0; i < VEC_REGS; i++) w[i] = vec_from_f16(row + 2 * (c + VEC_LANES * i));
}

INLINE void load_bf16(const uint8_t *row, size_t c, vec w[VEC_REGS])
{
    UNROLL for (size_t i = 0; i < VEC_REGS; i++) w[i] =
        vec_from_bf16(row + 2 * (c + VEC_LANES * i));
}

/* --- the template --- */

typedef void load_fn(const uint8_t *row, size_t c, vec w[VEC_REGS]);

struct lanes {
    vec v[VEC_REGS];
};

/* A matrix and what is known about its type at compile time. */
struct matrix {
    const struct bitnet_codec *codec;
    load_fn *load;
    const uint8_t *w;
    size_t cols, row_bytes, block_bytes; /* block_bytes: of BLOCK columns */
};

INLINE void multiply_add(const vec w[VEC_REGS], const float *x, struct lanes *acc)
{
    UNROLL for (size_t i = 0; i < VEC_REGS; i++)
    {
        acc->v[i] = vec_fma(w[i], vec_load(x + VEC_LANES * i), acc->v[i]);
    }
}

INLINE struct lanes no_lanes(void)
{
    struct lanes l;
    UNROLL for (size_t i = 0; i < VEC_REGS; i++) l.v[i] = vec_zero();
    return l;
}

/* The columns after the last 32, for types of block 1; then the tree. */
INLINE float finish(struct lanes acc, const float *w, const float *x, size_t n)
{
    if (n == 0) return vec_sum(acc.v);
    float lane[BITNET_LANES];
    UNROLL for (size_t i = 0; i < VEC_REGS; i++) vec_store(lane + VEC_LANES * i, acc.v[i]);
    for (size_t i = 0; i < n; i++) lane[i] = fmaf(w[i], x[i], lane[i]);
    UNROLL for (size_t i = 0; i < VEC_REGS; i++) acc.v[i] = vec_load(lane + VEC_LANES * i);
    return vec_sum(acc.v);
}

/* A row's columns from c on (fewer than 32), widened. */
static void last_columns(const struct bitnet_codec *codec, const uint8_t *row, size_t c, size_t n,
                         float *w)
{
    const struct bitnet_layout before = {.type = codec->type, .rows = 1, .cols = c};
    const struct bitnet_layout last = {.type = codec->type, .rows = 1, .cols = n};
    if (n) codec->decode_rows(&last, row + bitnet_rows_bytes(&before, 1), 1, w);
}

/* What comes 4 KiB later in this row's stream: behind its end follows the next row; behind the last
 * row of the stream, `jump` bytes further, where the same stream of the next slice will begin. */
INLINE void prefetch_next(const struct matrix *m, const uint8_t *row, size_t jump, size_t c)
{
    const size_t place = c / BLOCK * m->block_bytes + AHEAD_BYTES;
    const uint8_t *from = row + place + (place < m->row_bytes ? 0 : jump);
    for (size_t at = 0; at < m->block_bytes; at += 64) vec_prefetch(from + at);
}

/* `n_rows` rows (a constant), `stride` apart, times one token. */
INLINE void few_rows(const struct matrix *m, size_t row, size_t n_rows, size_t stride, size_t jump,
                     const float *x, float *y)
{
    const uint8_t *at = m->w + row * m->row_bytes;
    const size_t step = stride * m->row_bytes;
    struct lanes acc[DENSE_ROWS];
    UNROLL for (size_t r = 0; r < n_rows; r++) acc[r] = no_lanes();
    size_t c = 0;
    for (; c + BLOCK <= m->cols; c += BLOCK) {
        UNROLL for (size_t r = 0; r < n_rows; r++) prefetch_next(m, at + r * step, jump, c);
        UNROLL for (size_t g = 0; g < BLOCK; g += 32)
        {
            UNROLL for (size_t r = 0; r < n_rows; r++)
            {
                vec w[VEC_REGS];
                m->load(at + r * step, c + g, w);
                multiply_add(w, x + c + g, &acc[r]);
            }
        }
    }
    for (; c + 32 <= m->cols; c += 32) {
        UNROLL for (size_t r = 0; r < n_rows; r++)
        {
            vec w[VEC_REGS];
            m->load(at + r * step, c, w);
            multiply_add(w, x + c, &acc[r]);
        }
    }
    UNROLL for (size_t r = 0; r < n_rows; r++)
    {
        float last[32];
        last_columns(m->codec, at + r * step, c, m->cols - c, last);
        y[r * stride] = finish(acc[r], last, x + c, m->cols - c);
    }
}

/* Widens columns begin .. end - 1 (whole 32s) of a row. */
INLINE void widen_row(const struct matrix *m, size_t row, size_t begin, size_t end, float *out)
{
    const uint8_t *at = m->w + row * m->row_bytes;
    for (size_t c = begin; c < end; c += 32, out += 32) {
        vec w[VEC_REGS];
        m->load(at, c, w);
        UNROLL for (size_t i = 0; i < VEC_REGS; i++) vec_store(out + VEC_LANES * i, w[i]);
    }
}

/* acc[t][r] += w[r][..] * x[t][..] over n columns; both counts are constants. */
INLINE void tile(float (*w)[STRETCH], size_t n_rows, size_t n, const float *x, size_t x_stride,
                 size_t n_tokens, struct lanes (*acc)[ROWS])
{
    struct lanes a[DENSE_TILE_ROWS][DENSE_TILE_TOKENS];
    UNROLL for (size_t r = 0; r < n_rows; r++)
    {
        UNROLL for (size_t t = 0; t < n_tokens; t++) a[r][t] = acc[t][r];
    }
    for (size_t c = 0; c < n; c += 32) {
        UNROLL for (size_t r = 0; r < n_rows; r++)
        {
            vec v[VEC_REGS];
            UNROLL for (size_t i = 0; i < VEC_REGS; i++) v[i] = vec_load(w[r] + c + VEC_LANES * i);
            UNROLL for (size_t t = 0; t < n_tokens; t++)
            {
                multiply_add(v, x + t * x_stride + c, &a[r][t]);
            }
        }
    }
    UNROLL for (size_t r = 0; r < n_rows; r++)
    {
        UNROLL for (size_t t = 0; t < n_tokens; t++) acc[t][r] = a[r][t];
    }
}

/* All rows of the block meet the same tokens while their activations are in the first cache. */
INLINE void tile_rows(float (*w)[STRETCH], size_t n_rows, size_t n, const float *x, size_t x_stride,
                      size_t n_tokens, struct lanes (*acc)[ROWS])
{
    size_t r = 0;
    for (; r + DENSE_TILE_ROWS <= n_rows; r += DENSE_TILE_ROWS) {
        struct lanes(*a)[ROWS] = (struct lanes(*)[ROWS])(void *)&acc[0][r];
        tile(w + r, DENSE_TILE_ROWS, n, x, x_stride, n_tokens, a);
    }
    for (; r < n_rows; r++) {
        struct lanes(*a)[ROWS] = (struct lanes(*)[ROWS])(void *)&acc[0][r];
        tile(w + r, 1, n, x, x_stride, n_tokens, a);
    }
}

static void tiles(float (*w)[STRETCH], size_t n_rows, size_t n, const float *x, size_t x_stride,
                  size_t n_tokens, struct lanes (*acc)[ROWS])
{
    size_t t = 0;
    for (; t + DENSE_TILE_TOKENS <= n_tokens; t += DENSE_TILE_TOKENS) {
        tile_rows(w, n_rows, n, x + t * x_stride, x_stride, DENSE_TILE_TOKENS, acc + t);
    }
    for (; t < n_tokens; t++) tile_rows(w, n_rows, n, x + t * x_stride, x_stride, 1, acc + t);
}

/* Up to ROWS rows times up to TOKENS tokens. */
INLINE void dense_block(const struct matrix *m, size_t row, size_t n_rows, const float *x,
                        size_t x_stride, size_t n_tokens, float *y, size_t y_stride)
{
    const size_t whole = m->cols / 32 * 32, n_last = m->cols - whole;
    struct lanes acc[TOKENS][ROWS];
    memset(acc, 0, sizeof acc);
    for (size_t c = 0; c < whole; c += STRETCH) {
        const size_t end = whole - c < STRETCH ? whole : c + STRETCH;
        _Alignas(64) float w[ROWS][STRETCH];
        for (size_t r = 0; r < n_rows; r++) widen_row(m, row + r, c, end, w[r]);
        tiles(w, n_rows, end - c, x + c, x_stride, n_tokens, acc);
    }
    for (size_t r = 0; r < n_rows; r++) {
        float last[32];
        last_columns(m->codec, m->w + (row + r) * m->row_bytes, whole, n_last, last);
        for (size_t t = 0; t < n_tokens; t++) {
            y[t * y_stride + row + r] = finish(acc[t][r], last, x + t * x_stride + whole, n_last);
        }
    }
}

INLINE void dense_many(const struct matrix *m, size_t row_begin, size_t row_end, const float *x,
                       size_t x_stride, size_t n_tokens, float *y, size_t y_stride)
{
    for (size_t r = row_begin; r < row_end; r += ROWS) {
        const size_t n = row_end - r < ROWS ? row_end - r : ROWS;
        dense_block(m, r, n, x, x_stride, n_tokens, y, y_stride);
    }
}

/* DENSE_ROWS streams side by side, each a run of neighbouring rows: memory is read faster in few
 * long streams than in many short ones. */
INLINE void dense_one(const struct matrix *m, size_t row_begin, size_t row_end, const float *x,
                      float *y)
{
    const size_t n = row_end - row_begin, length = n / DENSE_ROWS;
    for (size_t i = 0; i < length; i++) {
        const size_t jump = i + 1 < length ? 0 : (n - length) * m->row_bytes;
        few_rows(m, row_begin + i, DENSE_ROWS, length, jump, x, y + row_begin + i);
    }
    for (size_t r = row_begin + length * DENSE_ROWS; r < row_end; r++) {
        few_rows(m, r, 1, 1, 0, x, y + r);
    }
}

INLINE void dense(const struct bitnet_codec *codec, load_fn *load, const uint8_t *w, size_t cols,
                  size_t row_begin, size_t row_end, const float *x, size_t x_stride,
                  size_t n_tokens, float *y, size_t y_stride)
{
    const struct bitnet_layout layout = {.type = codec->type, .rows = 1, .cols = cols};
    const size_t row_bytes = bitnet_rows_bytes(&layout, 1);
    const struct matrix m = {codec, load, w, cols, row_bytes, row_bytes * BLOCK / cols};
    while (n_tokens > 2) {
        const size_t n = n_tokens < TOKENS ? n_tokens : TOKENS;
        dense_many(&m, row_begin, row_end, x, x_stride, n, y, y_stride);
        x += n * x_stride;
        y += n * y_stride;
        n_tokens -= n;
    }
    for (; n_tokens; n_tokens--, x += x_stride, y += y_stride) {
        dense_one(&m, row_begin, row_end, x, y);
    }
}

#define DENSE(type)                                                                                \
    void NAME(dense_##type)(const uint8_t *w, size_t cols, size_t row_begin, size_t row_end,       \
                            const float *x, size_t x_stride, size_t n_tokens, float *y,            \
                            size_t y_stride)                                                       \
    {                                                                                              \
        dense(&bitnet_codec_##type, load_##type, w, cols, row_begin, row_end, x, x_stride,         \
              n_tokens, y, y_stride);                                                              \
    }
DENSE(f32)
DENSE(f16)
DENSE(bf16)
