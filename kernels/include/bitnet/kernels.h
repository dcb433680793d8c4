/* Kernels: the slot list, the sets, and the choice among them.
 *
 * A kernel is a pure function of its arguments: no allocation, no threads, no errors, no CPU test.
 * Who computes which rows is the caller's matter.
 *
 * Exactness. Integer sums are exact, so they agree on every set. Float sums are defined here with
 * a fixed order, in terms of L = 32 lanes and fused multiply-add, and every set must follow it, so
 * that results are bit-equal on every CPU and for every thread count:
 *
 *   lane sum     acc[l] = fma(a[i], b[i], acc[l]) for i = l, l+32, l+64, ... ; a missing tail
 *                element leaves its lane as it is. All acc start at +0.
 *   reduction    for step 16, 8, 4, 2, 1: acc[l] += acc[l + step] for l < step. The sum is acc[0].
 *
 * expf, where a kernel needs it, is bitnet_expf() below: a polynomial with fixed operations. */
#ifndef BITNET_KERNELS_H
#define BITNET_KERNELS_H

#include "bitnet/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITNET_LANES 32

/* Machine layout of a ternary matrix and the kernels that read it. They travel together. The
 * matrix is cut into panels of `panel_rows` rows, panel_bytes(cols) each, the last padded with
 * zero trits; panels are independent, so a caller can give each thread some of them. */
struct bitnet_ternary_path {
    const char *name;
    size_t panel_rows;
    size_t (*panel_bytes)(size_t cols);
    /* Packs rows panel*panel_rows ... of trits[rows][cols] into one panel at `w` (64-byte
     * aligned). */
    void (*pack)(const int8_t *trits, size_t rows, size_t cols, size_t panel, uint8_t *w);
    /* y[t][r] = sum over c of trit[r][c] * x[t][c], exactly, for tokens t < n_tokens and the rows r
     * of panels panel_begin .. panel_end-1 that exist. `w` is the start of panel 0. x is
     * [n_tokens][x_stride] int8 in -127..127 (-128 never occurs; see quantize_row_i8), padded with
     * zeros to a multiple of 128 columns and 64-byte aligned (x_stride is a multiple of 64); y is
     * [n_tokens][y_stride]. Sums fit int32 as long as 127 * cols < 2^31, that is cols < 16.9
     * million; the limits of a model stop at 8388608. */
    void (*matmul)(const uint8_t *w, size_t rows, size_t cols, size_t panel_begin, size_t panel_end,
                   const int8_t *x, size_t x_stride, size_t n_tokens, int32_t *y, size_t y_stride);
};

/* q[c] = round_half_even(x[c] * s), s = (float)(127 / max(max |x|, 1e-5)) with the quotient formed
 * in double; returns s (formats.md 2.4). A NaN or an infinity in x gives NaN and q = 0. q beyond n
 * up to the next multiple of 128 becomes zero. */
typedef float bitnet_quantize_fn(const float *x, size_t n, int8_t *q);
/* y[c] = (x[c] * (1 / sqrt(m + eps))) * w[c], m = (float)(mean of x^2, summed in double over 8
 * lanes: lane l takes c = l mod 8, acc = acc + (double)x * (double)x, lanes reduced 4, 2, 1).
 * x and y may be the same. */
typedef void bitnet_norm_fn(const float *x, const float *w, size_t n, float eps, float *y);
/* y[r] = lane sum of row r of W [rows][cols] with x, for row_begin <= r < row_end; W in file layout
 * of the type that the slot stands for; each weight is widened to f32 first. n_tokens vectors x of
 * stride x_stride, results at y[t * y_stride + r]. */
typedef void bitnet_dense_fn(const uint8_t *w, size_t cols, size_t row_begin, size_t row_end,
                             const float *x, size_t x_stride, size_t n_tokens, float *y,
                             size_t y_stride);
/* --- matrices of blocks: small integers ("levels") times a scale for each 16 or 32 columns --- */

/* Activations of one token in fixed point, for these: X[c] = round_half_even(x[c] * s), s =
 * (float)(8355000 / max(max |x|, 1e-30)), so an activation is kept to 2^-24 of the largest, as a
 * float would keep the largest. Written as bitnet_fixed_bytes(n) bytes, 64 per 16 columns, padded
 * with zeros: with X = 65536 h + 256 m + l of signed bytes, l[16], m[16], h[16], then int32 sums
 * over the 16: h, 256 m + l, and both times -32. Returns s; a NaN or an infinity in x gives NaN and
 * X = 0. */
enum { BITNET_FIXED_COLS = 16, BITNET_FIXED_BYTES = 64 };
size_t bitnet_fixed_bytes(size_t n);
float bitnet_fixed_row(const float *x, size_t n, uint8_t *fixed);

/* Machine layout of such a matrix and the kernel that reads it, as bitnet_ternary_path.
 *
 * The order of sums: for every run of columns that share a scale, in order,
 *
 *   acc = fma(fma((float)H, 65536, (float)L), scale, acc),   H = sum of level * h,
 *                                                            L = sum of level * (256 m + l)
 *
 * from +0, H and L exact in int32 (|level| <= 128, 32 columns); then y = acc / s. Fewer roundings
 * than a float sum of every product has, and none that depends on how wide a register is. */
struct bitnet_block_path {
    const char *name;
    size_t panel_rows;
    size_t (*panel_bytes)(size_t cols);
    /* Packs n_rows (1 .. panel_rows) rows of the file into one panel at `w` (64-byte aligned). */
    void (*pack)(const uint8_t *rows, size_t n_rows, size_t cols, uint8_t *w);
    /* y[t][r] for the rows r of panels panel_begin .. panel_end-1 that exist; `w` is the start of
     * panel 0, x [n_tokens][x_stride] bytes of bitnet_fixed_row(), x_scales what it returned. */
    void (*matmul)(const uint8_t *w, size_t rows, size_t cols, size_t panel_begin, size_t panel_end,
                   const uint8_t *x, size_t x_stride, const float *x_scales, size_t n_tokens,
                   float *y, size_t y_stride);
};

/* Rotates n_heads vectors of head_dim in place; cos and sin are [n_rot/2] for the token's
 * position. halves: pairs (i, i + n_rot/2), else (2i, 2i+1). a' = fma(a, c, -(b*s)),
 * b' = fma(a, s, b*c). */
typedef void bitnet_rope_fn(float *v, size_t n_heads, size_t head_dim, size_t n_rot,
                            const float *cosines, const float *sines, bool halves);
/* Attention of the n_heads query heads that share one key/value head, for n_tokens consecutive
 * tokens: the query of token t and head h is q + t * q_stride + h * head_dim, its result goes to
 * the same place of `out`, and it sees positions 0 .. n_keys + t - 1 (n_keys: those that token 0
 * sees, itself included). Keys and values are f16, or q8_0 where head_dim is a multiple of 32;
 * position p at k + p * kv_stride, in bytes.
 *
 * Each query is defined on its own, so that results do not depend on how queries are grouped: an
 * online softmax (Milakov, Gimelshein 2018) over blocks of 64 positions in order, from max =
 * -infinity, sum = 0 and out = 0. Per block:
 *
 *   score[p] = lane sum(q, k_p) * scale;  max' = the largest of max and all scores
 *   f = bitnet_expf(max - max');  weight[p] = bitnet_expf(score[p] - max')
 *   sum = fma(sum, f, lane sum of weight[p]);  out[d] = out[d] * f, then for p in order
 *   out[d] = fma(weight[p], v_p[d], out[d])
 *
 * and in the end out[d] / sum. `scratch` has n_heads * n_tokens * bitnet_attention_floats(head_dim)
 * floats. `out` and `q` may be the same. */
enum { BITNET_ATTENTION_BLOCK = 64 };
static inline size_t bitnet_attention_floats(size_t head_dim)
{
    return BITNET_ATTENTION_BLOCK + 16 + (head_dim + 15) / 16 * 16;
}
typedef void bitnet_attention_fn(const float *q, size_t q_stride, size_t n_heads, size_t n_tokens,
                                 const uint8_t *k, const uint8_t *v, size_t kv_stride,
                                 enum bitnet_dtype kv_type, size_t n_keys, size_t head_dim,
                                 float scale, float *scratch, float *out);
/* gate[c] = act(gate[c]) * up[c]. silu: x / (1 + bitnet_expf(-x)); relu2: max(x, 0)^2; gelu, by its
 * tanh: x / (1 + bitnet_expf(-t)), t = x * (BITNET_GELU_X3 * x * x + BITNET_GELU_X). */
#define BITNET_GELU_X  1.5957691216f  /* 2 sqrt(2 / pi) */
#define BITNET_GELU_X3 0.07135481283f /* 0.044715 of that */
typedef void bitnet_gate_fn(float *gate, const float *up, size_t n);
/* y[c] += x[c] */
typedef void bitnet_add_fn(float *y, const float *x, size_t n);
/* y[r] = ((float)sum[r] / s) * w_scale, in this order (formats.md 2.4). */
typedef void bitnet_rescale_fn(const int32_t *sum, size_t n, float s, float w_scale, float *y);
/* Binary16 of each element, round to nearest even. */
typedef void bitnet_to_f16_fn(const float *x, size_t n, uint16_t *h);

/* Where the largest of n logits is, the first of equal ones. False when one is NaN or infinite;
 * then *at is some place. */
typedef bool bitnet_largest_fn(const float *x, size_t n, size_t *at);
/* The places i with x[i] >= floor, ascending, into at[n]; returns how many. What it
 * leaves behind them is undefined. No x is NaN. */
typedef size_t bitnet_above_fn(const float *x, size_t n, float floor, uint32_t *at);
/* The lane sum of bitnet_expf(x[i] - top) (b = 1). */
typedef float bitnet_sum_exp_fn(const float *x, size_t n, float top);

/* The only list of slots. check_kernels expands it too: no check, no link. */
#define BITNET_KERNELS(K)                                                                          \
    K(const struct bitnet_ternary_path *, ternary)                                                 \
    K(bitnet_quantize_fn *, quantize_row_i8)                                                       \
    K(bitnet_norm_fn *, rms_norm)                                                                  \
    K(bitnet_dense_fn *, dense_f32)                                                                \
    K(bitnet_dense_fn *, dense_f16)                                                                \
    K(bitnet_dense_fn *, dense_bf16)                                                               \
    K(const struct bitnet_block_path *, blocks_q8_0)                                               \
    K(const struct bitnet_block_path *, blocks_q6_k)                                               \
    K(const struct bitnet_block_path *, blocks_q4_0)                                               \
    K(bitnet_rope_fn *, rope)                                                                      \
    K(bitnet_attention_fn *, attention)                                                            \
    K(bitnet_gate_fn *, gate_silu)                                                                 \
    K(bitnet_gate_fn *, gate_relu2)                                                                \
    K(bitnet_gate_fn *, gate_gelu)                                                                 \
    K(bitnet_add_fn *, add)                                                                        \
    K(bitnet_rescale_fn *, rescale)                                                                \
    K(bitnet_to_f16_fn *, to_f16)                                                                  \
    K(bitnet_largest_fn *, largest)                                                                \
    K(bitnet_above_fn *, above)                                                                    \
    K(bitnet_sum_exp_fn *, sum_exp)

struct bitnet_kernel_set {
    const char *name;
    uint32_t needs; /* CPU bits; all must be present */
#define K(type, slot) type slot;
    BITNET_KERNELS(K)
#undef K
};

/* Lays the sets over the scalar floor, weak to strong, as far as `cpu` (bitnet_cpu_detect() and a
 * mask) allows, into a value the caller owns. set->name is the strongest that took part. */
void bitnet_kernels_select(struct bitnet_kernel_set *set, uint32_t cpu);
/* The sets themselves, weak to strong, scalar first; for tests and --help. */
size_t bitnet_kernels_count(void);
const struct bitnet_kernel_set *bitnet_kernels_at(size_t i);

/* e^x for x <= 0 or moderate x, within 2 ulp, by the same operations in every set; 0 below -87.3,
 * +inf above 88.7, NaN for NaN. */
float bitnet_expf(float x);

#endif
