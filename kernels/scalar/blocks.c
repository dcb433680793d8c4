/* The product of matrices whose weights are small integers times the scale of a block, one row and
 * one level after the other, in the order that <bitnet/kernels.h> fixes. Machine layout: a panel is
 * one row as the file has it. */
#include "scalar.h"

#include "../quant/codec.h"

#include <bitnet/bytes.h>

#include <assert.h>
#include <math.h>
#include <string.h>

/* 256 or 32 columns as signed levels, with a scale for every `per_scale`. */
struct block {
    int levels[256];
    float scales[16];
};

static void decode_q6_k(const uint8_t *in, struct block *b)
{
    const float d = codec_f16(in + 208);
    for (size_t e = 0; e < 256; e++) {
        const size_t h = e / 128, part = e % 128 / 32, l = e % 32;
        const unsigned low = in[64 * h + 32 * (part % 2) + l] >> (part < 2 ? 0 : 4) & 15u;
        const unsigned high = in[128 + 32 * h + l] >> (2 * part) & 3u;
        b->levels[e] = (int)(low | high << 4) - 32;
    }
    for (size_t j = 0; j < 16; j++) b->scales[j] = d * (float)(int8_t)in[192 + j];
}

static void decode_q4_0(const uint8_t *in, struct block *b)
{
    b->scales[0] = codec_f16(in);
    for (size_t j = 0; j < 16; j++) {
        b->levels[j] = (in[2 + j] & 15) - 8;
        b->levels[16 + j] = (in[2 + j] >> 4) - 8;
    }
}

static void decode_q8_0(const uint8_t *in, struct block *b)
{
    b->scales[0] = codec_f16(in);
    for (size_t j = 0; j < 32; j++) b->levels[j] = (int8_t)in[2 + j];
}

/* A block type in numbers. */
struct type {
    size_t block, bytes, per_scale;
    void (*decode)(const uint8_t *in, struct block *b);
};

/* acc = fma(fma(high, 65536, low), scale, acc) with exact sums of the columns that share it. */
static float add_group(const int *levels, size_t n, const uint8_t *x, float scale, float acc)
{
    int32_t high = 0, low = 0;
    for (size_t i = 0; i < n; i++) {
        const int8_t *at =
            (const int8_t *)x + i / BITNET_FIXED_COLS * BITNET_FIXED_BYTES + i % BITNET_FIXED_COLS;
        high += levels[i] * at[2 * BITNET_FIXED_COLS];
        low += levels[i] * (256 * at[BITNET_FIXED_COLS] + at[0]);
    }
    return fmaf(fmaf((float)high, 65536.0f, (float)low), scale, acc);
}

static float dot(const struct type *type, const uint8_t *row, size_t cols, const uint8_t *x)
{
    float acc = 0;
    for (size_t c = 0; c < cols; c += type->block, row += type->bytes) {
        struct block b;
        type->decode(row, &b);
        for (size_t i = 0; i < type->block; i += type->per_scale) {
            acc = add_group(b.levels + i, type->per_scale,
                            x + (c + i) / BITNET_FIXED_COLS * BITNET_FIXED_BYTES,
                            b.scales[i / type->per_scale], acc);
        }
    }
    return acc;
}

static void matmul(const struct type *type, const uint8_t *w, size_t cols, size_t begin, size_t end,
                   const uint8_t *x, size_t x_stride, const float *x_scales, size_t n_tokens,
                   float *y, size_t y_stride)
{
    const size_t row_bytes = cols / type->block * type->bytes;
    for (size_t r = begin; r < end; r++) {
        for (size_t t = 0; t < n_tokens; t++) {
            y[t * y_stride + r] =
                dot(type, w + r * row_bytes, cols, x + t * x_stride) / x_scales[t];
        }
    }
}

#define BLOCKS(name_, n_per_scale)                                                                 \
    static size_t panel_bytes_##name_(size_t cols)                                                 \
    {                                                                                              \
        return cols / BLOCK_##name_ * BYTES_##name_;                                               \
    }                                                                                              \
    static void pack_##name_(const uint8_t *rows, size_t n_rows, size_t cols, uint8_t *w)          \
    {                                                                                              \
        assert(n_rows == 1);                                                                       \
        memcpy(w, rows, n_rows *panel_bytes_##name_(cols));                                        \
    }                                                                                              \
    static void matmul_##name_(const uint8_t *w, size_t rows, size_t cols, size_t panel_begin,     \
                               size_t panel_end, const uint8_t *x, size_t x_stride,                \
                               const float *x_scales, size_t n_tokens, float *y, size_t y_stride)  \
    {                                                                                              \
        static const struct type numbers = {BLOCK_##name_, BYTES_##name_, n_per_scale,             \
                                            decode_##name_};                                       \
        assert(panel_end <= rows);                                                                 \
        (void)rows;                                                                                \
        matmul(&numbers, w, cols, panel_begin, panel_end, x, x_stride, x_scales, n_tokens, y,      \
               y_stride);                                                                          \
    }                                                                                              \
    const struct bitnet_block_path bitnet_scalar_blocks_##name_ = {                                \
        .name = "row",                                                                             \
        .panel_rows = 1,                                                                           \
        .panel_bytes = panel_bytes_##name_,                                                        \
        .pack = pack_##name_,                                                                      \
        .matmul = matmul_##name_,                                                                  \
    };
BLOCKS(q6_k, 16)
BLOCKS(q4_0, 32)
BLOCKS(q8_0, 32)
