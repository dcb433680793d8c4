/* Bands of a ternary matrix: which rows stand alone in a type, and where their bytes lie.
 *
 *   tensor    | segment 0: rows ... | segment 1: rows ... | segment 2 | zeros | tail |
 *   band      | its rows of 0 | its rows of 1 | its rows of 2 | zeros | a copy of the tail |
 *
 * In most types there is one segment and no tail, so a band's bytes are a piece of the tensor's,
 * used in place. I2_S and TL1 have a tail, TL2 has three segments as well: their bands are put
 * together in scratch memory and taken apart again. What the bytes mean is the codecs' matter. */
#include "codec.h"

#include <assert.h>

enum { TAIL_BYTES = 32 };

static bool has_tail(const struct bitnet_layout *layout)
{
    return bitnet_dtype_info(layout->type)->rule != BITNET_SIZE_PLAIN;
}

/* Groups of 128 elements of I2_S may span rows where the width is odd; order C joins four rows. */
static size_t i2_s_step(const struct bitnet_layout *layout)
{
    size_t step = layout->order == BITNET_I2_S_C ? 4 : 1;
    while (step < 128 && step * layout->cols % 128) step *= 2;
    return step;
}

size_t bitnet_band_step(const struct bitnet_layout *layout)
{
    switch (layout->type) {
    case BITNET_DTYPE_i2_s:
        return i2_s_step(layout);
    case BITNET_DTYPE_tl1:
    case BITNET_DTYPE_tl2:
        return layout->tile.rows;
    case BITNET_DTYPE_iq2_bn_r4:
        return 4;
    default:
        return 1;
    }
}

struct bitnet_layout bitnet_band_layout(const struct bitnet_layout *layout, size_t row,
                                        size_t n_rows)
{
    struct bitnet_layout band = *layout;
    size_t step = bitnet_band_step(layout);
    assert(row % step == 0 && row <= layout->rows && n_rows <= layout->rows - row);
    assert(n_rows % step == 0 || row + n_rows == layout->rows);
    band.rows = n_rows;
    band.first_row = layout->first_row + row;
    return band;
}

size_t bitnet_layout_bytes(const struct bitnet_layout *layout)
{
    const uint64_t dims[2] = {layout->cols, layout->rows};
    uint64_t n_bytes = 0;
    bitnet_tensor_bytes(layout->type, dims, 2, &n_bytes, NULL);
    return (size_t)n_bytes;
}

static void row_bytes_of(const struct bitnet_layout *layout, size_t row_bytes[BITNET_SEGMENTS_MAX])
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    if (codec->segments) {
        codec->segments(layout, row_bytes);
        return;
    }
    row_bytes[0] = has_tail(layout) ? 0 : bitnet_rows_bytes(layout, 1);
    row_bytes[1] = row_bytes[2] = 0;
}

/* Flat types have four codes to a byte, and rows need not end with one. */
static bool is_flat(const struct bitnet_layout *layout)
{
    return bitnet_dtype_info(layout->type)->rule == BITNET_SIZE_FLAT;
}

size_t bitnet_segment_begin(const struct bitnet_layout *layout, unsigned segment)
{
    size_t row_bytes[BITNET_SEGMENTS_MAX], n = 0;
    if (is_flat(layout)) return segment ? layout->rows * layout->cols / 4 : 0;
    row_bytes_of(layout, row_bytes);
    for (unsigned s = 0; s < segment; s++) n += row_bytes[s] * layout->rows;
    return n;
}

/* Where the band's rows begin in segment number s of the tensor. */
static size_t place_of(const struct bitnet_layout *layout, const struct bitnet_layout *band,
                       unsigned s)
{
    struct bitnet_layout before = *layout;
    before.rows = band->first_row - layout->first_row;
    return bitnet_segment_begin(layout, s) + bitnet_segment_begin(&before, s + 1) -
           bitnet_segment_begin(&before, s);
}

static size_t piece_bytes(const struct bitnet_layout *band, unsigned s)
{
    return bitnet_segment_begin(band, s + 1) - bitnet_segment_begin(band, s);
}

size_t bitnet_band_scratch(const struct bitnet_layout *layout, size_t n_rows)
{
    struct bitnet_layout band = *layout;
    band.rows = n_rows;
    return has_tail(layout) ? bitnet_layout_bytes(&band) : 0;
}

/* The last band ends where the tensor ends: its tail is the tensor's, and so are the zeros before
 * it, of which the tensor may have more. */
static void write_tail(const struct bitnet_layout *layout, const uint8_t *band_end, uint8_t *tensor)
{
    size_t begin = bitnet_segment_begin(layout, BITNET_SEGMENTS_MAX);
    size_t end = bitnet_layout_bytes(layout) - TAIL_BYTES;
    memset(tensor + begin, 0, end - begin);
    memcpy(tensor + end, band_end - TAIL_BYTES, TAIL_BYTES);
}

void bitnet_band_encode(const struct bitnet_layout *layout, size_t row, size_t n_rows,
                        const int8_t *trits, const float *scales, uint8_t *scratch, uint8_t *tensor)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    const struct bitnet_layout band = bitnet_band_layout(layout, row, n_rows);
    size_t n_bytes = bitnet_layout_bytes(&band);
    if (!has_tail(layout)) {
        codec->encode_trits(&band, trits, scales, tensor + place_of(layout, &band, 0), n_bytes);
        return;
    }
    codec->encode_trits(&band, trits, scales, scratch, n_bytes);
    for (unsigned s = 0; s < BITNET_SEGMENTS_MAX; s++)
        memcpy(tensor + place_of(layout, &band, s), scratch + bitnet_segment_begin(&band, s),
               piece_bytes(&band, s));
    if (row + n_rows == layout->rows) write_tail(layout, scratch + n_bytes, tensor);
}

enum bitnet_status bitnet_band_decode(const struct bitnet_layout *layout, size_t row, size_t n_rows,
                                      const uint8_t *tensor, size_t n_bytes, uint8_t *scratch,
                                      int8_t *trits, float *scales, struct bitnet_error *err)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    const struct bitnet_layout band = bitnet_band_layout(layout, row, n_rows);
    enum bitnet_status status = codec_check_size(layout, n_bytes, bitnet_layout_bytes(layout), err);
    if (status) return status;
    size_t n_band = bitnet_layout_bytes(&band), payload;
    if (!has_tail(layout))
        return codec->decode_trits(&band, tensor + place_of(layout, &band, 0), n_band, trits,
                                   scales, err);
    for (unsigned s = 0; s < BITNET_SEGMENTS_MAX; s++)
        memcpy(scratch + bitnet_segment_begin(&band, s), tensor + place_of(layout, &band, s),
               piece_bytes(&band, s));
    payload = bitnet_segment_begin(&band, BITNET_SEGMENTS_MAX);
    memset(scratch + payload, 0, n_band - payload);
    memcpy(scratch + n_band - TAIL_BYTES, tensor + n_bytes - TAIL_BYTES, TAIL_BYTES);
    return codec->decode_trits(&band, scratch, n_band, trits, scales, err);
}
