/* I2_S, bitnet.cpp's two-bit type, in the one byte order that exchange files have (A of formats.md
 * 2.2). The orders B and C of some builds carry no mark; they are read on request, never written.
 *
 *   element   e = row * cols + col, one flat sequence, rows are not padded
 *   group g   elements 128 g .. 128 g + 127 in 32 bytes
 *
 *     byte 32 g + p    |7 6|5 4|3 2|1 0|     p = 0 .. 31
 *     element 128 g +   p   32+p 64+p 96+p
 *
 *   order B   groups of 64 in 16 bytes: byte 16 g + p, p = 0 .. 15, elements 64 g + p, + 16, ...
 *   order C   rows 4 q .. 4 q + 3 interleaved: byte q * cols + c, the same bits, column c of each
 *
 *   codes     0 = -1, 1 = 0, 2 = +1; 3 does not exist
 *   tail      f32 scale at byte n/4, then 28 bytes that mean nothing (we write zeros)
 *
 * Value = (code - 1) * scale. Source: formats.md 2, golden vectors of the peers' quantizer. */
#include "codec.h"
#include "codes.h"

enum { GROUP = 128, GROUP_BYTES = 32, TAIL = 32 };

static enum bitnet_status check(struct bitnet_layout *layout, struct bitnet_error *err)
{
    /* Packing is flat, so other widths have bytes too, but every product kernel of the peers
     * starts a row at a group: such a file would run wrong there. */
    return codec_check_multiple(layout, "cols", layout->cols, GROUP, err);
}

/* Where the code at bits 6 - 2 s of byte number `at` belongs. */
static size_t element_of(const struct bitnet_layout *layout, size_t at, size_t s)
{
    const size_t cols = layout->cols;
    switch (layout->order) {
    case BITNET_I2_S_A:
        return at / 32 * 128 + 32 * s + at % 32;
    case BITNET_I2_S_B:
        return at / 16 * 64 + 16 * s + at % 16;
    case BITNET_I2_S_C:
        break;
    }
    return (4 * (at / cols) + s) * cols + at % cols;
}

/* Names the first code 3 of bytes that have one. */
static enum bitnet_status refuse(const struct bitnet_layout *layout, const uint8_t *in, size_t at,
                                 struct bitnet_error *err)
{
    size_t s = 0;
    while ((in[at + s / 4] >> (6 - 2 * (s % 4)) & 3) != 3) s++;
    const size_t e = element_of(layout, at + s / 4, s % 4);
    return codec_bad_code(layout, e / layout->cols, e % layout->cols, 3, err);
}

/* Bytes at .. at + n - 1 in the slow way, which serves every order. */
static void decode_bytes(const struct bitnet_layout *layout, const uint8_t *in, size_t at, size_t n,
                         int8_t *trits)
{
    for (size_t i = at; i < at + n; i++) {
        for (size_t s = 0; s < 4; s++) {
            trits[element_of(layout, i, s)] = (int8_t)((in[i] >> (6 - 2 * s) & 3) - 1);
        }
    }
}

/* The unit of elements that the order is made of. */
static enum bitnet_status check_whole(const struct bitnet_layout *layout, struct bitnet_error *err)
{
    const size_t n = layout->rows * layout->cols;
    enum bitnet_status status = codec_check_multiple(layout, "rows * cols", n, GROUP, err);
    if (!status && layout->order == BITNET_I2_S_C) {
        status = codec_check_multiple(layout, "rows (order C)", layout->rows, 4, err);
    }
    return status;
}

/* Reads widths that check() refuses as well, as long as the whole tensor is made of groups. */
static enum bitnet_status decode_trits(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t n_bytes, int8_t *trits, float *scales,
                                       struct bitnet_error *err)
{
    const size_t n = layout->rows * layout->cols;
    enum bitnet_status status = check_whole(layout, err);
    if (!status) status = codec_check_size(layout, n_bytes, n / 4 + TAIL, err);
    for (size_t at = 0; !status && at < n / 4; at += GROUP_BYTES) {
        if (codes_have_3(in + at, GROUP_BYTES)) return refuse(layout, in, at, err);
        if (layout->order == BITNET_I2_S_A) {
            codes_to_trits(in + at, GROUP_BYTES, 6, -2, trits + 4 * at);
        } else {
            decode_bytes(layout, in, at, GROUP_BYTES, trits);
        }
    }
    if (status) return status;
    scales[0] = bitnet_load_f32(in + n / 4);
    return codec_check_scale(layout, 0, scales[0], err);
}

/* Order A, whatever the layout says. */
static void encode_trits(const struct bitnet_layout *layout, const int8_t *trits,
                         const float *scales, uint8_t *out, size_t n_bytes)
{
    const size_t n = layout->rows * layout->cols;
    for (size_t g = 0; g < n / GROUP; g++) {
        trits_to_codes(trits + GROUP * g, GROUP_BYTES, 6, -2, out + GROUP_BYTES * g);
    }
    memset(out + n / 4, 0, n_bytes - n / 4);
    bitnet_store_f32(out + n / 4, scales[0]);
}

const struct bitnet_codec bitnet_codec_i2_s = {.type = BITNET_DTYPE_i2_s,
                                               .scales = BITNET_SCALES_TENSOR,
                                               .check = check,
                                               .decode_trits = decode_trits,
                                               .encode_trits = encode_trits};
