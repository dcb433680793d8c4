/* IQ1_BN, ik_llama.cpp's dense ternary type (read only): a row is its binary16 scale and blocks of
 * 64 trits in 13 bytes.
 *
 *   block   | ql[12] | extra |
 *
 *   Group g = 0 .. 3 of 16 elements: ql[3g + b], b = 0 .. 2, holds elements 5b .. 5b + 4 as five
 *   digits, `extra` holds element 15 of all four groups.
 *
 * Digits are in base 3 as in TQ1_0 (a fixed-point fraction: multiply by 3^n mod 256, then by 3, and
 * the ninth bit up is the digit) but in reversed order: element j is digit 4 - j. Value =
 * (digit - 1) * scale. Source: ik_llama.cpp ggml/src/iqk_quantize.cpp (2026-08). */
#include "codec.h"

struct block {
    uint8_t ql[12];
    uint8_t extra;
};
BLOCK_IS(struct block, iq1_bn);

static int8_t trit_of(unsigned byte, size_t element)
{
    static const uint8_t power[5] = {81, 27, 9, 3, 1};
    return (int8_t)((byte * power[element] & 255u) * 3 >> 8) - 1;
}

static int8_t trit_at(const struct block *b, size_t e)
{
    const size_t g = e / 16, i = e % 16;
    return i == 15 ? trit_of(b->extra, g) : trit_of(b->ql[3 * g + i / 5], i % 5);
}

static const struct block *blocks_of(const uint8_t *row)
{
    return (const struct block *)(row + ROW_iq1_bn);
}

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    for (size_t r = 0; r < n_rows; r++, in += bitnet_rows_bytes(layout, 1)) {
        for (size_t c = 0; c < layout->cols; c++) {
            *out++ = (float)trit_at(blocks_of(in) + c / 64, c % 64) * codec_f16(in);
        }
    }
}

static enum bitnet_status decode_trits(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t n_bytes, int8_t *trits, float *scales,
                                       struct bitnet_error *err)
{
    const size_t row_bytes = bitnet_rows_bytes(layout, 1);
    enum bitnet_status status = codec_check_size(layout, n_bytes, layout->rows * row_bytes, err);
    for (size_t r = 0; !status && r < layout->rows; r++, in += row_bytes) {
        for (size_t c = 0; c < layout->cols; c++) {
            *trits++ = trit_at(blocks_of(in) + c / 64, c % 64);
        }
        scales[r] = codec_f16(in);
        status = codec_check_scale(layout, r, scales[r], err);
    }
    return status;
}

const struct bitnet_codec bitnet_codec_iq1_bn = {.type = BITNET_DTYPE_iq1_bn,
                                                 .scales = BITNET_SCALES_ROW,
                                                 .scales_are_f16 = true,
                                                 .decode_rows = decode_rows,
                                                 .decode_trits = decode_trits};
