/* TL1, bitnet.cpp's lookup-table type for ARM: pairs of trits as digits 0 .. 8, two pairs per byte.
 *
 *   pair code   P(m, j) = 3 w[m][2j] + w[m][2j+1] + 4
 *   one byte    |7 6 5 4|3 2 1 0| = P(m, j), P(m, j+1): four neighbouring weights of row m
 *
 * The bytes stand in the order in which the peers' kernel, generated for a tile (BM, BK, bm),
 * reads them. With by = 256 / bm, outermost first:
 *
 *   row tile BM > column tile BK > rows bm > columns by > 16 rows > 4 columns > row of the 16
 *
 * Then the f32 scale at byte rows * cols / 4, and 28 zeros. The tile is not in the file: see
 * tile.c. Source: formats.md 3.1. */
#include "codec.h"
#include "tile.h"

enum { STRIP = 16, TAIL = 32 };

static enum bitnet_status check(struct bitnet_layout *layout, struct bitnet_error *err)
{
    uint32_t cols = 64; /* formats.md 3.5; narrower where only that divides */
    while (cols > 8 && layout->cols % cols) cols /= 2;
    if (!bitnet_tile_fill(layout, cols)) {
        return codec_check_multiple(layout, "rows", layout->rows, 32, err);
    }
    const struct bitnet_tile t = layout->tile;
    if ((t.sub_rows != 32 && t.sub_rows != 64) || t.rows == 0 || t.cols == 0 ||
        t.rows % t.sub_rows || t.cols % (256 / t.sub_rows)) {
        return bitnet_fail(err, BITNET_UNSUPPORTED, "TL1: tile %u,%u,%u is not legal", t.rows,
                           t.cols, t.sub_rows);
    }
    enum bitnet_status status = codec_check_multiple(layout, "rows", layout->rows, t.rows, err);
    return status ? status : codec_check_multiple(layout, "cols", layout->cols, t.cols, err);
}

/* The bytes come in strips of 16: the same four columns of 16 neighbouring rows. Where strip number
 * `at` lies: the mixed-radix digits of `at`, innermost first. */
static void place(const struct bitnet_layout *layout, size_t at, size_t *row, size_t *col)
{
    const struct bitnet_tile t = layout->tile;
    const size_t by = 256 / t.sub_rows;
    const size_t q = at % (by / 4);
    at /= by / 4;
    const size_t group = at % (t.sub_rows / 16);
    at /= t.sub_rows / 16;
    const size_t sub_col = at % (t.cols / by);
    at /= t.cols / by;
    const size_t sub_row = at % (t.rows / t.sub_rows);
    at /= t.rows / t.sub_rows;
    const size_t tile_col = at % (layout->cols / t.cols);
    const size_t tile_row = at / (layout->cols / t.cols);
    *row = tile_row * t.rows + sub_row * t.sub_rows + group * STRIP;
    *col = tile_col * t.cols + sub_col * by + q * 4;
}

static bool decode_pair(unsigned code, int8_t *trits)
{
    if (code > 8) return false;
    trits[0] = (int8_t)(code / 3) - 1;
    trits[1] = (int8_t)(code % 3) - 1;
    return true;
}

static enum bitnet_status decode_byte(const struct bitnet_layout *layout, unsigned byte, size_t row,
                                      size_t col, int8_t *trits, struct bitnet_error *err)
{
    int8_t *t = trits + row * layout->cols + col;
    if (!decode_pair(byte >> 4, t)) return codec_bad_code(layout, row, col, byte >> 4, err);
    if (!decode_pair(byte & 15u, t + 2)) {
        return codec_bad_code(layout, row, col + 2, byte & 15u, err);
    }
    return BITNET_OK;
}

static enum bitnet_status decode_trits(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t n_bytes, int8_t *trits, float *scales,
                                       struct bitnet_error *err)
{
    const size_t n = layout->rows * layout->cols;
    enum bitnet_status status = codec_check_size(layout, n_bytes, n / 4 + TAIL, err);
    for (size_t strip = 0; !status && strip < n / 4 / STRIP; strip++) {
        size_t row, col;
        place(layout, strip, &row, &col);
        for (size_t r = 0; !status && r < STRIP; r++) {
            status = decode_byte(layout, in[strip * STRIP + r], row + r, col, trits, err);
        }
    }
    if (status) return status;
    scales[0] = bitnet_load_f32(in + n / 4);
    return codec_check_scale(layout, 0, scales[0], err);
}

static void encode_trits(const struct bitnet_layout *layout, const int8_t *trits,
                         const float *scales, uint8_t *out, size_t n_bytes)
{
    const size_t n = layout->rows * layout->cols;
    for (size_t strip = 0; strip < n / 4 / STRIP; strip++) {
        size_t row, col;
        place(layout, strip, &row, &col);
        const int8_t *t = trits + row * layout->cols + col;
        for (size_t r = 0; r < STRIP; r++, t += layout->cols) {
            out[strip * STRIP + r] = (uint8_t)((3 * t[0] + t[1] + 4) << 4 | (3 * t[2] + t[3] + 4));
        }
    }
    memset(out + n / 4, 0, n_bytes - n / 4);
    bitnet_store_f32(out + n / 4, scales[0]);
}

const struct bitnet_codec bitnet_codec_tl1 = {.type = BITNET_DTYPE_tl1,
                                              .scales = BITNET_SCALES_TENSOR,
                                              .check = check,
                                              .decode_trits = decode_trits,
                                              .encode_trits = encode_trits};
