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

enum { GROUP = 128, GROUP_BYTES = 32, TAIL = 32 };

static enum bitnet_status check(struct bitnet_layout *layout, struct bitnet_error *err)
{
    /* Packing is flat, so other widths have bytes too, but every product kernel of the peers
     * starts a row at a group: such a file would run wrong there. */
    return codec_check_multiple(layout, "cols", layout->cols, GROUP, err);
}

/* Where the code 3 is, in words. */
static enum bitnet_status name_bad_code(const struct bitnet_layout *layout, const uint8_t *in,
                                        size_t first, struct bitnet_error *err)
{
    size_t p = 0, s = 0;
    while (!(in[p] & (in[p] >> 1) & 0x55u)) p++;
    while ((in[p] >> (6 - 2 * s) & 3u) != 3u) s++;
    const size_t e = first + 32 * s + p;
    return codec_bad_code(layout, e / layout->cols, e % layout->cols, 3, err);
}

/* Loops of a fixed count without a way out over bytes that do not overlap, so that the compiler
 * makes vectors of them: a model has billions of trits. */
static enum bitnet_status decode_group(const struct bitnet_layout *layout,
                                       const uint8_t *restrict in, size_t first,
                                       int8_t *restrict trits, struct bitnet_error *err)
{
    uint8_t bad = 0; /* both bits of a pair: code 3 */
    for (size_t p = 0; p < GROUP_BYTES; p++) bad |= (uint8_t)(in[p] & (in[p] >> 1) & 0x55u);
    if (bad) return name_bad_code(layout, in, first, err);
    for (size_t p = 0; p < GROUP_BYTES; p++) trits[p] = (int8_t)((in[p] >> 6) - 1);
    for (size_t p = 0; p < GROUP_BYTES; p++) trits[32 + p] = (int8_t)((in[p] >> 4 & 3) - 1);
    for (size_t p = 0; p < GROUP_BYTES; p++) trits[64 + p] = (int8_t)((in[p] >> 2 & 3) - 1);
    for (size_t p = 0; p < GROUP_BYTES; p++) trits[96 + p] = (int8_t)((in[p] & 3) - 1);
    return BITNET_OK;
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
        status = decode_group(layout, in + GROUP_BYTES * g, GROUP * g, trits + GROUP * g, err);
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
        const int8_t *t = trits + GROUP * g;
        for (size_t p = 0; p < GROUP_BYTES; p++) {
            out[GROUP_BYTES * g + p] = (uint8_t)((t[p] + 1) << 6 | (t[p + 32] + 1) << 4 |
                                                 (t[p + 64] + 1) << 2 | (t[p + 96] + 1));
        }
    }
    memset(out + n / 4, 0, n_bytes - n / 4);
    bitnet_store_f32(out + n / 4, scales[0]);
}

const struct bitnet_codec bitnet_codec_i2_s = {.type = BITNET_DTYPE_i2_s,
                                               .scales = BITNET_SCALES_TENSOR,
                                               .check = check,
                                               .decode_trits = decode_trits,
                                               .encode_trits = encode_trits};
