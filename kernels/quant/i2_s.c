/* I2_S, bitnet.cpp's two-bit type, in the one byte layout that exchange files have (layout A of
 * formats.md 2.2; the layouts B and C of some builds carry no mark and are never written).
 *
 *   element   e = row * cols + col, one flat sequence, rows are not padded
 *   group g   elements 128 g .. 128 g + 127 in 32 bytes
 *
 *     byte 32 g + p    |7 6|5 4|3 2|1 0|     p = 0 .. 31
 *     element 128 g +   p   32+p 64+p 96+p
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

/* Names the first code 3 of a group that has one. */
static enum bitnet_status refuse_group(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t first, struct bitnet_error *err)
{
    size_t e = 0;
    while (((in[e % 32] >> (6 - 2 * (e / 32))) & 3) != 3) e++;
    e += first;
    return codec_bad_code(layout, e / layout->cols, e % layout->cols, 3, err);
}

/* Reads widths that check() refuses as well, as long as the whole tensor is made of groups. */
static enum bitnet_status decode_trits(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t n_bytes, int8_t *trits, float *scales,
                                       struct bitnet_error *err)
{
    const size_t n = layout->rows * layout->cols;
    enum bitnet_status status = codec_check_multiple(layout, "rows * cols", n, GROUP, err);
    if (!status) status = codec_check_size(layout, n_bytes, n / 4 + TAIL, err);
    for (size_t g = 0; !status && g < n / GROUP; g++) {
        const uint8_t *group = in + GROUP_BYTES * g;
        if (codes_have_3(group, GROUP_BYTES)) return refuse_group(layout, group, GROUP * g, err);
        codes_to_trits(group, GROUP_BYTES, 6, -2, trits + GROUP * g);
    }
    if (status) return status;
    scales[0] = bitnet_load_f32(in + n / 4);
    return codec_check_scale(layout, 0, scales[0], err);
}

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
