/* Matrix times vectors for weights that are numbers, with AVX2.
 *
 * A sum has 32 lanes (<bitnet/kernels.h>), four registers of eight. One template serves all types;
 * a type gives it two inline functions: `load` widens 32 neighbouring weights of a row into four
 * registers, `prepare` does once per 256 columns what they share.
 *
 * One or two tokens: weights are widened as they stream by, two rows at a time, which makes eight
 * independent chains, as many as the latency of FMA asks for; the same place of the next two rows
 * is prefetched, because plain loads leave a quarter of the memory's speed unused. More tokens: a
 * stretch of a row is widened once into a buffer and multiplied with three tokens at a time (12
 * accumulators and the weights fill the 16 registers). Both keep the lanes' order, so the results
 * are equal bit by bit. */
#include "../quant/codec.h"
#include "avx2.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 256, STRETCH = 1024, TOKENS = 24, TILE = 3 };

/* --- the types --- */

static inline void prepare_nothing(const uint8_t *row, size_t c, float shared[16])
{
    (void)row, (void)c, (void)shared;
}

static inline void load_f32(const uint8_t *row, size_t c, const float shared[16], __m256 w[4])
{
    (void)shared;
    for (size_t i = 0; i < 4; i++) w[i] = _mm256_loadu_ps((const float *)(row + 4 * (c + 8 * i)));
}

static inline void load_f16(const uint8_t *row, size_t c, const float shared[16], __m256 w[4])
{
    (void)shared;
    for (size_t i = 0; i < 4; i++) {
        w[i] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(row + 2 * (c + 8 * i))));
    }
}

static inline void load_bf16(const uint8_t *row, size_t c, const float shared[16], __m256 w[4])
{
    (void)shared;
    for (size_t i = 0; i < 4; i++) {
        const __m128i h = _mm_loadu_si128((const __m128i *)(row + 2 * (c + 8 * i)));
        w[i] = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
    }
}

static inline __m256 widen_8(__m128i bytes)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

/* 32 signed bytes; the first half times a, the second times b. */
static inline void widen_32(__m256i bytes, __m256 a, __m256 b, __m256 w[4])
{
    const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
    w[0] = _mm256_mul_ps(a, widen_8(low));
    w[1] = _mm256_mul_ps(a, widen_8(_mm_unpackhi_epi64(low, low)));
    w[2] = _mm256_mul_ps(b, widen_8(high));
    w[3] = _mm256_mul_ps(b, widen_8(_mm_unpackhi_epi64(high, high)));
}

static inline __m256 broadcast_f16(const uint8_t *at)
{
    return _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(bitnet_load_u16(at))));
}

static inline void load_q8_0(const uint8_t *row, size_t c, const float shared[16], __m256 w[4])
{
    (void)shared;
    const uint8_t *block = row + c / 32 * BYTES_q8_0;
    const __m256 d = broadcast_f16(block);
    widen_32(_mm256_loadu_si256((const __m256i *)(block + 2)), d, d, w);
}

static inline void load_q4_0(const uint8_t *row, size_t c, const float shared[16], __m256 w[4])
{
    (void)shared;
    const uint8_t *block = row + c / 32 * BYTES_q4_0;
    const __m256 d = broadcast_f16(block);
    const __m128i qs = _mm_loadu_si128((const __m128i *)(block + 2)), nibble = _mm_set1_epi8(15);
    const __m128i low = _mm_and_si128(qs, nibble);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(qs, 4), nibble);
    widen_32(_mm256_sub_epi8(_mm256_set_m128i(high, low), _mm256_set1_epi8(8)), d, d, w);
}

/* d * scales[0 .. 15] of the block */
static inline void prepare_q6_k(const uint8_t *row, size_t c, float shared[16])
{
    const uint8_t *block = row + c / 256 * BYTES_q6_k;
    const __m128i scales = _mm_loadu_si128((const __m128i *)(block + 192));
    const __m256 d = broadcast_f16(block + 208);
    _mm256_storeu_ps(shared, _mm256_mul_ps(d, widen_8(scales)));
    _mm256_storeu_ps(shared + 8, _mm256_mul_ps(d, widen_8(_mm_unpackhi_epi64(scales, scales))));
}

static inline void load_q6_k(const uint8_t *row, size_t c, const float shared[16], __m256 w[4])
{
    const uint8_t *block = row + c / 256 * BYTES_q6_k;
    const size_t g = c % 256 / 32, h = g / 4, part = g % 4;
    const __m256i ql = _mm256_loadu_si256((const __m256i *)(block + 64 * h + 32 * (part % 2)));
    const __m256i qh = _mm256_loadu_si256((const __m256i *)(block + 128 + 32 * h));
    const __m256i nibbles = part < 2 ? ql : _mm256_srli_epi16(ql, 4);
    const __m256i low = _mm256_and_si256(nibbles, _mm256_set1_epi8(15));
    const __m256i pairs = part == 0   ? _mm256_slli_epi16(qh, 4)
                          : part == 1 ? _mm256_slli_epi16(qh, 2)
                          : part == 2 ? qh
                                      : _mm256_srli_epi16(qh, 2);
    const __m256i high = _mm256_and_si256(pairs, _mm256_set1_epi8(0x30));
    const __m256i level = _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
    widen_32(level, _mm256_set1_ps(shared[2 * g]), _mm256_set1_ps(shared[2 * g + 1]), w);
}

/* --- the template --- */

typedef void prepare_fn(const uint8_t *row, size_t c, float shared[16]);
typedef void load_fn(const uint8_t *row, size_t c, const float shared[16], __m256 w[4]);

struct lanes {
    __m256 v[4];
};

#define INLINE static inline __attribute__((always_inline))

INLINE void multiply_add(const __m256 w[4], const float *x, struct lanes *acc)
{
    for (size_t i = 0; i < 4; i++) {
        acc->v[i] = _mm256_fmadd_ps(w[i], _mm256_loadu_ps(x + 8 * i), acc->v[i]);
    }
}

/* The columns after the last 32, for types of block 1; then the tree. */
INLINE float finish(struct lanes acc, const float *w, const float *x, size_t n)
{
    float lane[BITNET_LANES];
    for (size_t i = 0; i < 4; i++) _mm256_storeu_ps(lane + 8 * i, acc.v[i]);
    for (size_t i = 0; i < n; i++) lane[i] = fmaf(w[i], x[i], lane[i]);
    return avx2_sum(_mm256_loadu_ps(lane), _mm256_loadu_ps(lane + 8), _mm256_loadu_ps(lane + 16),
                    _mm256_loadu_ps(lane + 24));
}

/* Row's last n < 32 columns, widened. */
static void last_columns(const struct bitnet_codec *codec, const uint8_t *row, size_t c, size_t n,
                         float *w)
{
    const struct bitnet_layout all = {.type = codec->type, .rows = 1, .cols = c};
    const struct bitnet_layout some = {.type = codec->type, .rows = 1, .cols = n};
    if (n) codec->decode_rows(&some, row + bitnet_rows_bytes(&all, 1), 1, w);
}

/* `n_rows` (1 or 2, a constant) rows times one token. */
INLINE void few_rows(const struct bitnet_codec *codec, prepare_fn *prepare, load_fn *load,
                     const uint8_t *row, size_t row_bytes, size_t n_rows, size_t cols,
                     const float *x, float *y)
{
    struct lanes acc[2] = {0};
    float shared[2][16];
    size_t c = 0;
    for (; c + BLOCK <= cols; c += BLOCK) {
        const size_t here = row_bytes * c / cols, block_bytes = row_bytes * BLOCK / cols;
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *next = row + (r + n_rows) * row_bytes + here;
            for (size_t at = 0; at < block_bytes; at += 64) {
                _mm_prefetch((const char *)next + at, _MM_HINT_T0);
            }
            prepare(row + r * row_bytes, c, shared[r]);
        }
#pragma GCC unroll 8
        for (size_t g = 0; g < BLOCK; g += 32) {
            for (size_t r = 0; r < n_rows; r++) {
                __m256 w[4];
                load(row + r * row_bytes, c + g, shared[r], w);
                multiply_add(w, x + c + g, &acc[r]);
            }
        }
    }
    for (; c + 32 <= cols; c += 32) {
        for (size_t r = 0; r < n_rows; r++) {
            __m256 w[4];
            load(row + r * row_bytes, c, shared[r], w);
            multiply_add(w, x + c, &acc[r]);
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        float w[32];
        last_columns(codec, row + r * row_bytes, c, cols - c, w);
        y[r] = finish(acc[r], w, x + c, cols - c);
    }
}

/* Widens columns begin .. end - 1 (whole 32s) of a row. */
INLINE void widen(prepare_fn *prepare, load_fn *load, const uint8_t *row, size_t begin, size_t end,
                  float *out)
{
    float shared[16];
    for (size_t c = begin; c < end; c += 32, out += 32) {
        __m256 w[4];
        if (c % BLOCK == 0) prepare(row, c, shared);
        load(row, c, shared, w);
        for (size_t i = 0; i < 4; i++) _mm256_storeu_ps(out + 8 * i, w[i]);
    }
}

/* acc[t] += w[n] * x[t][n] for n_tokens (1 .. TILE, a constant) tokens. */
INLINE void tile(const float *w, size_t n, const float *x, size_t x_stride, size_t n_tokens,
                 struct lanes *acc)
{
    struct lanes a[TILE];
    for (size_t t = 0; t < n_tokens; t++) a[t] = acc[t];
    for (size_t c = 0; c < n; c += 32) {
        __m256 v[4];
        for (size_t i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(w + c + 8 * i);
        for (size_t t = 0; t < n_tokens; t++) multiply_add(v, x + t * x_stride + c, &a[t]);
    }
    for (size_t t = 0; t < n_tokens; t++) acc[t] = a[t];
}

static void tiles(const float *w, size_t n, const float *x, size_t x_stride, size_t n_tokens,
                  struct lanes *acc)
{
    size_t t = 0;
    for (; t + TILE <= n_tokens; t += TILE) tile(w, n, x + t * x_stride, x_stride, TILE, acc + t);
    for (; t < n_tokens; t++) tile(w, n, x + t * x_stride, x_stride, 1, acc + t);
}

/* One row times up to TOKENS tokens. */
INLINE void many_tokens(const struct bitnet_codec *codec, prepare_fn *prepare, load_fn *load,
                        const uint8_t *row, size_t cols, const float *x, size_t x_stride,
                        size_t n_tokens, float *y, size_t y_stride)
{
    const size_t whole = cols / 32 * 32;
    struct lanes acc[TOKENS];
    memset(acc, 0, sizeof acc);
    for (size_t c = 0; c < whole; c += STRETCH) {
        const size_t end = whole - c < STRETCH ? whole : c + STRETCH;
        float w[STRETCH];
        widen(prepare, load, row, c, end, w);
        tiles(w, end - c, x + c, x_stride, n_tokens, acc);
    }
    float last[32];
    last_columns(codec, row, whole, cols - whole, last);
    for (size_t t = 0; t < n_tokens; t++) {
        y[t * y_stride] = finish(acc[t], last, x + t * x_stride + whole, cols - whole);
    }
}

INLINE void dense(const struct bitnet_codec *codec, prepare_fn *prepare, load_fn *load,
                  const uint8_t *w, size_t cols, size_t row_begin, size_t row_end, const float *x,
                  size_t x_stride, size_t n_tokens, float *y, size_t y_stride)
{
    const struct bitnet_layout layout = {.type = codec->type, .rows = 1, .cols = cols};
    const size_t row_bytes = bitnet_rows_bytes(&layout, 1);
    size_t t = 0;
    for (; n_tokens - t > 2; t += n_tokens - t < TOKENS ? n_tokens - t : TOKENS) {
        const size_t n = n_tokens - t < TOKENS ? n_tokens - t : TOKENS;
        for (size_t r = row_begin; r < row_end; r++) {
            many_tokens(codec, prepare, load, w + r * row_bytes, cols, x + t * x_stride, x_stride,
                        n, y + t * y_stride + r, y_stride);
        }
    }
    for (; t < n_tokens; t++) {
        const float *xt = x + t * x_stride;
        float *yt = y + t * y_stride;
        size_t r = row_begin;
        for (; r + 2 <= row_end; r += 2) {
            few_rows(codec, prepare, load, w + r * row_bytes, row_bytes, 2, cols, xt, yt + r);
        }
        if (r < row_end) {
            few_rows(codec, prepare, load, w + r * row_bytes, row_bytes, 1, cols, xt, yt + r);
        }
    }
}

#define DENSE(type, prepare)                                                                       \
    void bitnet_avx2_dense_##type(const uint8_t *w, size_t cols, size_t row_begin, size_t row_end, \
                                  const float *x, size_t x_stride, size_t n_tokens, float *y,      \
                                  size_t y_stride)                                                 \
    {                                                                                              \
        dense(&bitnet_codec_##type, prepare, load_##type, w, cols, row_begin, row_end, x,          \
              x_stride, n_tokens, y, y_stride);                                                    \
    }
DENSE(f32, prepare_nothing)
DENSE(f16, prepare_nothing)
DENSE(bf16, prepare_nothing)
DENSE(q8_0, prepare_nothing)
DENSE(q6_k, prepare_q6_k)
DENSE(q4_0, prepare_nothing)
