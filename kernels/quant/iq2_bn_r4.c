/* IQ2_BN_R4: IQ2_BN with four rows interleaved, so that one load serves four rows.
 *
 *   four rows | f32 scale[4] | 64 bytes per 64 columns ...
 *   byte 16 l + 4 k + i (l, k, i = 0 .. 3) of the 64: row k, columns 16 l + i + {0, 4, 8, 12} at
 *   bits 0, 2, 4, 6
 *
 * Codes 0, 1, 2 for -1, 0, +1; 3 is never written. Source: formats.md 5.8. */
#include "codec.h"
#include "ternary_row.h"

struct block {
    uint8_t qs[16];
};
BLOCK_IS(struct block, iq2_bn_r4);

enum { ROWS = 4, HEAD = ROWS * ROW_iq2_bn_r4 };

static enum bitnet_status check(struct bitnet_layout *layout, struct bitnet_error *err)
{
    return codec_check_multiple(layout, "rows", layout->rows, ROWS, err);
}

/* Of row k, column c: the byte's place within the four rows, and the bit. */
static size_t byte_of(size_t k, size_t c)
{
    return HEAD + c / 64 * 64 + 16 * (c % 64 / 16) + 4 * k + c % 4;
}

static unsigned shift_of(size_t c)
{
    return (unsigned)(c % 16 / 4 * 2);
}

static void put(uint8_t *four, size_t k, size_t c, int8_t trit)
{
    uint8_t *byte = four + byte_of(k, c);
    const unsigned code = (unsigned)(trit + 1) << shift_of(c);
    *byte = (uint8_t)(shift_of(c) ? *byte | code : code); /* columns ascend: bit 0 comes first */
}

static void encode_rows(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                        const float *importance, uint8_t *out)
{
    (void)importance;
    for (size_t r = 0; r < n_rows; r++, in += layout->cols) {
        uint8_t *four = out + bitnet_rows_bytes(layout, r / ROWS * ROWS);
        const float scale = row_scale(in, layout->cols);
        bitnet_store_f32(four + 4 * (r % ROWS), scale);
        for (size_t c = 0; c < layout->cols; c++) put(four, r % ROWS, c, row_trit(in[c], scale));
    }
}

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *four = in + bitnet_rows_bytes(layout, r / ROWS * ROWS);
        const float scale = bitnet_load_f32(four + 4 * (r % ROWS));
        for (size_t c = 0; c < layout->cols; c++) {
            const unsigned code = four[byte_of(r % ROWS, c)] >> shift_of(c) & 3u;
            *out++ = ((float)code - 1) * scale;
        }
    }
}

static enum bitnet_status decode_row(const struct bitnet_layout *layout, const uint8_t *four,
                                     size_t r, int8_t *trits, float *scales,
                                     struct bitnet_error *err)
{
    for (size_t c = 0; c < layout->cols; c++) {
        const unsigned code = four[byte_of(r % ROWS, c)] >> shift_of(c) & 3u;
        if (code == 3) return codec_bad_code(layout, r, c, 3, err);
        trits[c] = (int8_t)code - 1;
    }
    scales[r] = bitnet_load_f32(four + 4 * (r % ROWS));
    return codec_check_scale(layout, r, scales[r], err);
}

static enum bitnet_status decode_trits(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t n_bytes, int8_t *trits, float *scales,
                                       struct bitnet_error *err)
{
    enum bitnet_status status =
        codec_check_size(layout, n_bytes, bitnet_rows_bytes(layout, layout->rows), err);
    for (size_t r = 0; !status && r < layout->rows; r++) {
        const uint8_t *four = in + bitnet_rows_bytes(layout, r / ROWS * ROWS);
        status = decode_row(layout, four, r, trits + r * layout->cols, scales, err);
    }
    return status;
}

static void encode_trits(const struct bitnet_layout *layout, const int8_t *trits,
                         const float *scales, uint8_t *out, size_t n_bytes)
{
    (void)n_bytes;
    for (size_t r = 0; r < layout->rows; r++) {
        uint8_t *four = out + bitnet_rows_bytes(layout, r / ROWS * ROWS);
        bitnet_store_f32(four + 4 * (r % ROWS), scales[r]);
        for (size_t c = 0; c < layout->cols; c++) put(four, r % ROWS, c, *trits++);
    }
}

const struct bitnet_codec bitnet_codec_iq2_bn_r4 = {.type = BITNET_DTYPE_iq2_bn_r4,
                                                    .scales = BITNET_SCALES_ROW,
                                                    .check = check,
                                                    .decode_rows = decode_rows,
                                                    .encode_rows = encode_rows,
                                                    .decode_trits = decode_trits,
                                                    .encode_trits = encode_trits};
