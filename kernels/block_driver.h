/* Template: the product over block panels (block_panel.h), the same on every set. Included once by
 * a file that has defined its registers:
 *
 *   BP_LANES                   rows per register: 16, 8 or 4; a register has 4 bytes per row
 *   BP_STREAMS, BP_TOKENS      panels that one token meets at once; tokens that share the unpacking
 *   BP_SIGNED                  (a macro) its products take signed levels
 *   bp_int, bp_float           registers
 *   bp_load()                  of levels
 *   bp_nibbles(v, high)        4 bits of every byte
 *   bp_six(v, high, h, j)      those and the two bits j of h above them
 *   bp_dot(acc, codes, x, wide)  acc + sum over the 16 columns of four registers of levels (of 8
 * bits when `wide`) times 16 activations bp_all(at), bp_sub(), bp_shl(v, n), bp_zero()   of 32-bit
 * lanes bp_term(high, middle, low) fma(high, 65536, 256 * middle + low) as floats bp_fma(),
 * bp_mul(), bp_set_zero(), bp_load_floats(), bp_store_floats() bp_i8_floats(at), bp_f16_floats(at)
 * BP_LANES scales
 *
 * and yields matmul_q6_k(), matmul_q4_0(), matmul_q8_0(). */
#include "block_panel.h"

#include "unroll.h"

#include <assert.h>

enum { BP_PARTS = BLOCK_PANEL_ROWS / BP_LANES, BP_PART_BYTES = 4 * BP_LANES };
enum { BP_AHEAD = 2048 };

/* Places in a group of fixed-point activations (<bitnet/kernels.h>). */
enum { FIXED_SUM_HIGH = 48, FIXED_SUM_LOW = 52, FIXED_OFFSET_HIGH = 56, FIXED_OFFSET_LOW = 60 };

/* The levels of a group, four registers of four columns. */
INLINE void codes_of(enum block_kind kind, const uint8_t *step, size_t g, size_t part,
                     bp_int codes[4])
{
    const uint8_t *at = step + part * BP_PART_BYTES;
    if (kind == BLOCK_KIND_q8_0) {
        UNROLL for (size_t j = 0; j < 4; j++)
        {
            codes[j] = bp_load(at + (4 * g + j) * BLOCK_LINE);
        }
        return;
    }
    const size_t n_lines = kind == BLOCK_KIND_q6_k ? 3 : 2;
    const uint8_t *low = at + (g * n_lines + n_lines - 2) * BLOCK_LINE;
    const bp_int a = bp_load(low), b = bp_load(low + BLOCK_LINE);
    if (kind == BLOCK_KIND_q4_0) {
        codes[0] = bp_nibbles(a, false);
        codes[1] = bp_nibbles(a, true);
        codes[2] = bp_nibbles(b, false);
        codes[3] = bp_nibbles(b, true);
        return;
    }
    const bp_int high = bp_load(at + g * 3 * BLOCK_LINE);
    codes[0] = bp_six(a, false, high, 0);
    codes[1] = bp_six(a, true, high, 1);
    codes[2] = bp_six(b, false, high, 2);
    codes[3] = bp_six(b, true, high, 3);
}

/* The scale of a group (Q6_K), or of two. */
INLINE bp_float scale_of(enum block_kind kind, const uint8_t *step, size_t g, size_t part,
                         bp_float d)
{
    if (kind == BLOCK_KIND_q6_k) {
        const uint8_t *scales = step + BLOCK_GROUPS * 3 * BLOCK_LINE;
        return bp_mul(d, bp_i8_floats(scales + g * BLOCK_PANEL_ROWS + part * BP_LANES));
    }
    const size_t n_lines = kind == BLOCK_KIND_q4_0 ? 2 : 4;
    const uint8_t *scales = step + BLOCK_GROUPS * n_lines * BLOCK_LINE;
    return bp_f16_floats(scales + g / 2 * 32 + part * 2 * BP_LANES);
}

struct bp_sums {
    bp_int high, middle, low;
};

/* What the offset of the levels takes from the sums of a group. */
INLINE struct bp_sums before_group(enum block_kind kind, const uint8_t *x, struct bp_sums s)
{
    if (kind == BLOCK_KIND_q6_k)
        return (struct bp_sums){bp_all(x + FIXED_OFFSET_HIGH), bp_zero(),
                                bp_all(x + FIXED_OFFSET_LOW)};
#if defined(BP_SIGNED)
    if (kind == BLOCK_KIND_q8_0) return s;
#endif
    if (kind == BLOCK_KIND_q4_0) {
        s.high = bp_sub(s.high, bp_shl(bp_all(x + FIXED_SUM_HIGH), 3));
        s.low = bp_sub(s.low, bp_shl(bp_all(x + FIXED_SUM_LOW), 3));
    } else {
        s.high = bp_sub(s.high, bp_shl(bp_all(x + FIXED_SUM_HIGH), 7));
        s.low = bp_sub(s.low, bp_shl(bp_all(x + FIXED_SUM_LOW), 7));
    }
    return s;
}

INLINE struct bp_sums add_group(enum block_kind kind, const bp_int codes[4], const uint8_t *x,
                                struct bp_sums s)
{
    const int8_t *columns = (const int8_t *)x;
    const bool wide = kind == BLOCK_KIND_q8_0;
    s = before_group(kind, x, s);
    s.high = bp_dot(s.high, codes, columns + 2 * BITNET_FIXED_COLS, wide);
    s.middle = bp_dot(s.middle, codes, columns + BITNET_FIXED_COLS, wide);
    s.low = bp_dot(s.low, codes, columns, wide);
    return s;
}

INLINE struct bp_sums no_sums(void)
{
    return (struct bp_sums){bp_zero(), bp_zero(), bp_zero()};
}

/* The groups that share a scale (one, or two), for one part of a panel and n tokens. */
INLINE void add_scaled(enum block_kind kind, const uint8_t *step, size_t g, size_t part, bp_float d,
                       const uint8_t *x, size_t x_stride, size_t n, bp_float *acc,
                       size_t acc_stride)
{
    const size_t n_groups = kind == BLOCK_KIND_q6_k ? 1 : 2;
    struct bp_sums sums[BP_TOKENS];
    UNROLL for (size_t t = 0; t < n; t++) sums[t] = no_sums();
    for (size_t i = 0; i < n_groups; i++) {
        bp_int codes[4];
        codes_of(kind, step, g + i, part, codes);
        UNROLL for (size_t t = 0; t < n; t++)
        {
            sums[t] = add_group(kind, codes, x + t * x_stride + i * BITNET_FIXED_BYTES, sums[t]);
        }
    }
    const bp_float scale = scale_of(kind, step, g, part, d);
    UNROLL for (size_t t = 0; t < n; t++)
    {
        const bp_float term = bp_term(sums[t].high, sums[t].middle, sums[t].low);
        acc[t * acc_stride] = bp_fma(term, scale, acc[t * acc_stride]);
    }
}

/* What comes 2 KiB later in this stream; behind the end of a panel lies its neighbour, which is
 * read already, and what comes next lies behind all of them. */
INLINE void fetch_ahead(const uint8_t *step, size_t n_bytes, size_t at, size_t panel_bytes,
                        size_t n_panels)
{
    const size_t ahead =
        at + BP_AHEAD < panel_bytes ? BP_AHEAD : BP_AHEAD + (n_panels - 1) * panel_bytes;
    UNROLL for (size_t i = 0; i < n_bytes; i += BLOCK_LINE)
    {
        __builtin_prefetch(step + ahead + i);
    }
}

/* n_panels panels times n tokens (constants; one of them is 1). acc[token or panel][part] */
INLINE void block_tile(enum block_kind kind, const uint8_t *w, size_t panel_bytes, size_t n_panels,
                       size_t cols, const uint8_t *x, size_t x_stride, size_t n, bp_float *acc)
{
    const size_t n_steps = block_steps(cols);
    bp_float d[BP_STREAMS][BP_PARTS];
    UNROLL for (size_t i = 0; i < n * n_panels * BP_PARTS; i++) acc[i] = bp_set_zero();
    UNROLL for (size_t i = 0; i < n_panels * BP_PARTS; i++) d[i / BP_PARTS][i % BP_PARTS] =
        bp_set_zero();
    for (size_t s = 0; s < n_steps; s++) {
        const size_t at = block_step_at(kind, s), end = block_step_at(kind, s + 1);
        UNROLL for (size_t p = 0; p < n_panels; p++)
        {
            const uint8_t *panel = w + p * panel_bytes, *step = panel + at;
            if (n == 1)
                fetch_ahead(step, end - at > 1088 ? 1088 : end - at, at, panel_bytes, n_panels);
            if (kind == BLOCK_KIND_q6_k && s % 4 == 0) {
                UNROLL for (size_t part = 0; part < BP_PARTS; part++)
                {
                    d[p][part] = bp_load_floats(step - Q6_K_D_BYTES + part * BP_PART_BYTES);
                }
            }
            for (size_t g = 0; g < BLOCK_GROUPS; g += kind == BLOCK_KIND_q6_k ? 1 : 2) {
                UNROLL for (size_t part = 0; part < BP_PARTS; part++)
                {
                    add_scaled(kind, step, g, part, d[p][part],
                               x + (BLOCK_GROUPS * s + g) * BITNET_FIXED_BYTES, x_stride, n,
                               acc + p * BP_PARTS + part, BP_PARTS);
                }
            }
        }
    }
}

/* Sums into y: token t of n, panel p of n_panels. */
INLINE void put_sums(const bp_float *acc, size_t n, size_t n_panels, size_t n_rows,
                     const float *x_scales, float *y, size_t y_stride)
{
    for (size_t i = 0; i < n * n_panels; i++) {
        const size_t t = n == 1 ? 0 : i, p = n == 1 ? i : 0;
        const size_t left = n_rows - p * BLOCK_PANEL_ROWS;
        float sums[BLOCK_PANEL_ROWS];
        for (size_t part = 0; part < BP_PARTS; part++) {
            bp_store_floats(sums + part * BP_LANES, acc[i * BP_PARTS + part]);
        }
        for (size_t r = 0; r < left && r < BLOCK_PANEL_ROWS; r++) {
            y[t * y_stride + p * BLOCK_PANEL_ROWS + r] = sums[r] / x_scales[t];
        }
    }
}

INLINE void one_token(enum block_kind kind, const uint8_t *w, size_t panel_bytes, size_t n_panels,
                      size_t n_rows, size_t cols, const uint8_t *x, const float *x_scale, float *y)
{
    bp_float acc[BP_STREAMS * BP_PARTS];
    block_tile(kind, w, panel_bytes, n_panels, cols, x, 0, 1, acc);
    put_sums(acc, 1, n_panels, n_rows, x_scale, y, 0);
}

INLINE void many_tokens(enum block_kind kind, const uint8_t *w, size_t n_rows, size_t cols,
                        const uint8_t *x, size_t x_stride, const float *x_scales, size_t n,
                        float *y, size_t y_stride)
{
    bp_float acc[BP_TOKENS * BP_PARTS];
    block_tile(kind, w, 0, 1, cols, x, x_stride, n, acc);
    put_sums(acc, n, 1, n_rows, x_scales, y, y_stride);
}

INLINE void block_matmul(enum block_kind kind, size_t panel_bytes, const uint8_t *w, size_t rows,
                         size_t cols, size_t p, size_t end, const uint8_t *x, size_t x_stride,
                         const float *x_scales, size_t n_tokens, float *y, size_t y_stride)
{
    const size_t whole = n_tokens / BP_TOKENS * BP_TOKENS;
    assert(end <= (rows + BLOCK_PANEL_ROWS - 1) / BLOCK_PANEL_ROWS);
    while (p < end) {
        const size_t row = p * BLOCK_PANEL_ROWS;
        const size_t n_panels = n_tokens == 1 && end - p >= BP_STREAMS ? BP_STREAMS : 1;
        const uint8_t *panel = w + p * panel_bytes;
        for (size_t t = 0; t < whole; t += BP_TOKENS) {
            many_tokens(kind, panel, rows - row, cols, x + t * x_stride, x_stride, x_scales + t,
                        BP_TOKENS, y + t * y_stride + row, y_stride);
        }
        for (size_t t = whole; t < n_tokens; t++) {
            const uint8_t *xt = x + t * x_stride;
            float *out = y + t * y_stride + row;
            if (n_panels == BP_STREAMS)
                one_token(kind, panel, panel_bytes, BP_STREAMS, rows - row, cols, xt, x_scales + t,
                          out);
            else
                one_token(kind, panel, panel_bytes, 1, rows - row, cols, xt, x_scales + t, out);
        }
        p += n_panels;
    }
}

#define BLOCKS(type)                                                                               \
    static void matmul_##type(const uint8_t *w, size_t rows, size_t cols, size_t panel_begin,      \
                              size_t panel_end, const uint8_t *x, size_t x_stride,                 \
                              const float *x_scales, size_t n_tokens, float *y, size_t y_stride)   \
    {                                                                                              \
        block_matmul(BLOCK_KIND_##type, bitnet_block_panel_bytes_##type(cols), w, rows, cols,      \
                     panel_begin, panel_end, x, x_stride, x_scales, n_tokens, y, y_stride);        \
    }
BLOCKS(q6_k)
BLOCKS(q4_0)
BLOCKS(q8_0)
#undef BLOCKS
