/* IQ2_BN, ik_llama.cpp's two-bit ternary type: each row is its f32 scale and blocks of 64 trits.
 *
 *   row     | f32 scale | block | block | ...
 *   block   byte j = 0 .. 15   |7 6|5 4|3 2|1 0|
 *           element             48+j 32+j 16+j j
 *
 * Codes 0, 1, 2 for -1, 0, +1; 3 is never written. Value = (code - 1) * scale of the row.
 * Source: formats.md 5.7. */
#include "codec.h"
#include "codes.h"
#include "ternary_row.h"

struct block {
    uint8_t qs[16];
};
BLOCK_IS(struct block, iq2_bn);

enum { HEAD = ROW_iq2_bn };

static unsigned code_at(const uint8_t *row, size_t col)
{
    return row[HEAD + col / 64 * 16 + col % 16] >> (col % 64 / 16 * 2) & 3u;
}

static void encode_row(const float *x, size_t cols, uint8_t *row)
{
    const float scale = row_scale(x, cols);
    bitnet_store_f32(row, scale);
    for (size_t b = 0; b < cols / 64; b++) {
        int8_t trits[64];
        for (size_t i = 0; i < 64; i++) trits[i] = row_trit(x[64 * b + i], scale);
        trits_to_codes(trits, 16, 0, 2, row + HEAD + 16 * b);
    }
}

static void encode_rows(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                        const float *importance, uint8_t *out)
{
    (void)importance;
    for (size_t r = 0; r < n_rows; r++) {
        encode_row(in + r * layout->cols, layout->cols, out + r * bitnet_rows_bytes(layout, 1));
    }
}

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    for (size_t r = 0; r < n_rows; r++, in += bitnet_rows_bytes(layout, 1)) {
        for (size_t c = 0; c < layout->cols; c++) {
            *out++ = ((float)code_at(in, c) - 1) * bitnet_load_f32(in);
        }
    }
}

static enum bitnet_status decode_row(const struct bitnet_layout *layout, const uint8_t *in,
                                     size_t r, int8_t *trits, float *scales,
                                     struct bitnet_error *err)
{
    const uint8_t *codes = in + HEAD;
    if (codes_have_3(codes, layout->cols / 4)) {
        size_t c = 0;
        while (code_at(in, c) != 3) c++;
        return codec_bad_code(layout, r, c, 3, err);
    }
    for (size_t b = 0; b < layout->cols / 64; b++) {
        codes_to_trits(codes + 16 * b, 16, 0, 2, trits + 64 * b);
    }
    scales[r] = bitnet_load_f32(in);
    return codec_check_scale(layout, r, scales[r], err);
}

static enum bitnet_status decode_trits(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t n_bytes, int8_t *trits, float *scales,
                                       struct bitnet_error *err)
{
    const size_t row_bytes = bitnet_rows_bytes(layout, 1);
    enum bitnet_status status = codec_check_size(layout, n_bytes, layout->rows * row_bytes, err);
    for (size_t r = 0; !status && r < layout->rows; r++) {
        status = decode_row(layout, in + r * row_bytes, r, trits + r * layout->cols, scales, err);
    }
    return status;
}

static void encode_trits(const struct bitnet_layout *layout, const int8_t *trits,
                         const float *scales, uint8_t *out, size_t n_bytes)
{
    (void)n_bytes;
    for (size_t r = 0; r < layout->rows; r++, out += bitnet_rows_bytes(layout, 1)) {
        bitnet_store_f32(out, scales[r]);
        for (size_t b = 0; b < layout->cols / 64; b++, trits += 64) {
            trits_to_codes(trits, 16, 0, 2, out + HEAD + 16 * b);
        }
    }
}

const struct bitnet_codec bitnet_codec_iq2_bn = {.type = BITNET_DTYPE_iq2_bn,
                                                 .scales = BITNET_SCALES_ROW,
                                                 .decode_rows = decode_rows,
                                                 .encode_rows = encode_rows,
                                                 .decode_trits = decode_trits,
                                                 .encode_trits = encode_trits};
