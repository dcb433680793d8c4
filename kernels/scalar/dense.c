/* Matrix times vector for weights that are numbers: each row is widened by the type's codec, 256
 * columns at a time, and summed in the fixed order. One function serves all types, because the
 * codec is the definition of the type. */
#include "lanes.h"
#include "scalar.h"

#include "../quant/codec.h"

enum { CHUNK = 256 };

static float dot(const struct bitnet_codec *codec, const uint8_t *row, const float *x, size_t cols)
{
    struct lanes l = {{0}};
    for (size_t c = 0; c < cols; c += CHUNK) {
        const size_t n = cols - c < CHUNK ? cols - c : CHUNK;
        const struct bitnet_layout chunk = {.type = codec->type, .rows = 1, .cols = n};
        float w[CHUNK];
        codec->decode_rows(&chunk, row, 1, w);
        lanes_add(&l, w, x + c, n);
        row += bitnet_rows_bytes(&chunk, 1);
    }
    return lanes_sum(l);
}

static void dense(const struct bitnet_codec *codec, const uint8_t *w, size_t cols, size_t row_begin,
                  size_t row_end, const float *x, size_t x_stride, size_t n_tokens, float *y,
                  size_t y_stride)
{
    const struct bitnet_layout layout = {.type = codec->type, .rows = 1, .cols = cols};
    const size_t row_bytes = bitnet_rows_bytes(&layout, 1);
    for (size_t r = row_begin; r < row_end; r++) {
        for (size_t t = 0; t < n_tokens; t++) {
            y[t * y_stride + r] = dot(codec, w + r * row_bytes, x + t * x_stride, cols);
        }
    }
}

#define DENSE(type)                                                                                \
    void bitnet_scalar_dense_##type(const uint8_t *w, size_t cols, size_t row_begin,               \
                                    size_t row_end, const float *x, size_t x_stride,               \
                                    size_t n_tokens, float *y, size_t y_stride)                    \
    {                                                                                              \
        dense(&bitnet_codec_##type, w, cols, row_begin, row_end, x, x_stride, n_tokens, y,         \
              y_stride);                                                                           \
    }
DENSE(f32)
DENSE(f16)
DENSE(bf16)
