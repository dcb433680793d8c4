/* TL2, bitnet.cpp's lookup-table type for AVX2: triples of trits as a sign and an index 0 .. 13,
 * and pairs (as in TL1) for the columns that no whole tile of triples covers.
 *
 *   K3 = cols - cols % BK columns are triples, K2 = cols % BK are pairs
 *   T(m, t) = 9 w[m][3t] + 3 w[m][3t+1] + w[m][3t+2];   index = |T|, sign = T < 0
 *   P(m, j) = 3 w[m][2j] + w[m][2j+1] + 4
 *
 *   segment 1   rows * K3 / 6  bytes   |index(m, t)|index(m, t+1)|          high nibble first
 *   segment 2   rows * K3 / 24 bytes   signs, u16 words of one bit per (triple, row half)
 *   segment 3   rows * K2 / 4  bytes   |P(m, j)|P(m, j+1)|
 *   zeros up to the size that bitnet_tensor_bytes() knows, less 32; f32 scale; 28 zeros
 *
 * The bytes of segments 1 and 3 come in strips of 32: the same columns of 32 rows, whose order
 * swaps the two middle eights. Tiles of BM x BK rows and columns follow each other as the peers'
 * generated kernel reads them. The formula for the size takes 256 columns of pairs whatever the
 * real split is, so the scale is found by the size and never by the payload. The tile is not in the
 * file: see tile.c. Source: formats.md 3.2. */
#include "codec.h"
#include "tile.h"

enum { ROWS = 32, TAIL = 32, SIGN_BLOCK = 32, PAIR_TILE = 32 };

/* What the loops below run over, outermost first: row tile, column tile, 32 rows, step. */
struct walk {
    size_t rows, cols;           /* of the matrix */
    size_t tile_rows, tile_cols; /* BM; BK, or 32 for pairs */
    size_t n_tile_cols, n_steps; /* steps: strips or sign blocks per column tile */
};

static size_t triple_cols(const struct bitnet_layout *layout)
{
    return layout->cols - layout->cols % layout->tile.cols;
}

static struct walk walk_over(const struct bitnet_layout *layout, size_t cols, size_t tile_cols,
                             size_t cols_per_step)
{
    return (struct walk){layout->rows, layout->cols,     layout->tile.rows,
                         tile_cols,    cols / tile_cols, tile_cols / cols_per_step};
}

/* Position number `at` of the walk: the first of its 32 rows, its column tile and step. */
static void place(const struct walk *w, size_t at, size_t *row, size_t *tile_col, size_t *step)
{
    *step = at % w->n_steps;
    at /= w->n_steps;
    const size_t sub_row = at % (w->tile_rows / ROWS);
    at /= w->tile_rows / ROWS;
    *tile_col = at % w->n_tile_cols;
    *row = at / w->n_tile_cols * w->tile_rows + sub_row * ROWS;
}

static size_t walk_length(const struct walk *w)
{
    return w->rows / ROWS * w->n_tile_cols * w->n_steps;
}

/* Row of position p within its 32; position of row p too, because swapping twice is nothing. */
static size_t swapped(size_t p)
{
    return (p & 7u) | (p & 8u) << 1 | (p & 16u) >> 1;
}

struct segments {
    size_t signs, pairs, end; /* offsets; the indices start at 0 */
};

static struct segments segments_of(const struct bitnet_layout *layout)
{
    const size_t k3 = triple_cols(layout);
    struct segments s;
    s.signs = layout->rows * k3 / 6;
    s.pairs = s.signs + layout->rows * k3 / 24;
    s.end = s.pairs + layout->rows * (layout->cols - k3) / 4;
    return s;
}

/* Strips, sign blocks and pairs of a row tile stand together in each segment. */
static void row_bytes_of(const struct bitnet_layout *layout, size_t row_bytes[BITNET_SEGMENTS_MAX])
{
    const size_t k3 = triple_cols(layout);
    row_bytes[0] = k3 / 6;
    row_bytes[1] = k3 / 24;
    row_bytes[2] = (layout->cols - k3) / 4;
}

static enum bitnet_status tensor_bytes(const struct bitnet_layout *layout, size_t *n_bytes,
                                       struct bitnet_error *err)
{
    const uint64_t dims[2] = {layout->cols, layout->rows};
    uint64_t n;
    enum bitnet_status status = bitnet_tensor_bytes(BITNET_DTYPE_tl2, dims, 2, &n, err);
    if (!status) *n_bytes = (size_t)n;
    return status;
}

static enum bitnet_status check_tile(const struct bitnet_layout *layout, struct bitnet_error *err)
{
    const struct bitnet_tile t = layout->tile;
    if (t.sub_rows == ROWS && t.rows && t.rows % ROWS == 0 && t.cols && t.cols % 24 == 0 &&
        t.cols <= 256) {
        return BITNET_OK;
    }
    return bitnet_fail(err, BITNET_UNSUPPORTED, "TL2: tile %u,%u,%u is not legal", t.rows, t.cols,
                       t.sub_rows);
}

static enum bitnet_status check_shape(const struct bitnet_layout *layout, struct bitnet_error *err)
{
    enum bitnet_status status =
        codec_check_multiple(layout, "rows", layout->rows, layout->tile.rows, err);
    if (status) return status;
    if ((layout->cols - triple_cols(layout)) % PAIR_TILE) {
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "TL2: cols %zu leave %zu beside tiles of %u, not a multiple of 32",
                           layout->cols, layout->cols % layout->tile.cols, layout->tile.cols);
    }
    size_t n_bytes;
    status = tensor_bytes(layout, &n_bytes, err);
    if (!status && segments_of(layout).end > n_bytes - TAIL) {
        status = bitnet_fail(err, BITNET_UNSUPPORTED,
                             "TL2: the payload of %zu x %zu with %u columns per tile exceeds the "
                             "size that readers compute",
                             layout->rows, layout->cols, layout->tile.cols);
    }
    return status;
}

static enum bitnet_status check(struct bitnet_layout *layout, struct bitnet_error *err)
{
    if (layout->cols < 256) {
        return bitnet_fail(err, BITNET_UNSUPPORTED, "TL2: cols %zu are fewer than 256",
                           layout->cols);
    }
    if (!bitnet_tile_fill(layout, 96)) {
        return codec_check_multiple(layout, "rows", layout->rows, ROWS, err);
    }
    enum bitnet_status status = check_tile(layout, err);
    return status ? status : check_shape(layout, err);
}

/* --- one number at a time --- */

static int triple_code(const int8_t *t)
{
    return 9 * t[0] + 3 * t[1] + t[2];
}

static unsigned pair_code(const int8_t *t)
{
    return (unsigned)(3 * t[0] + t[1] + 4);
}

static void pair_trits(unsigned code, int8_t *t)
{
    t[0] = (int8_t)(code / 3) - 1;
    t[1] = (int8_t)(code % 3) - 1;
}

/* --- encode --- */

static void encode_indices(const struct bitnet_layout *layout, const int8_t *trits, uint8_t *out)
{
    const struct walk w = walk_over(layout, triple_cols(layout), layout->tile.cols, 6);
    for (size_t at = 0; at < walk_length(&w); at++) {
        size_t row, tile_col, step;
        place(&w, at, &row, &tile_col, &step);
        for (size_t p = 0; p < ROWS; p++) {
            const int8_t *t =
                trits + (row + swapped(p)) * w.cols + tile_col * w.tile_cols + 6 * step;
            const int a = triple_code(t), b = triple_code(t + 3);
            *out++ = (uint8_t)((a < 0 ? -a : a) << 4 | (b < 0 ? -b : b));
        }
    }
}

/* Word j of a sign block holds rows j and 16 + j; bit 15 - (2c + h) is triple c of row 16h + j. */
static void encode_signs(const struct bitnet_layout *layout, const int8_t *trits, uint8_t *out)
{
    const struct walk w = walk_over(layout, triple_cols(layout), layout->tile.cols, 24);
    for (size_t at = 0; at < walk_length(&w); at++, out += SIGN_BLOCK) {
        size_t row, tile_col, step;
        place(&w, at, &row, &tile_col, &step);
        for (size_t r = 0; r < ROWS; r++) {
            const int8_t *t = trits + (row + r) * w.cols + tile_col * w.tile_cols + 24 * step;
            uint8_t *word = out + 2 * (r % 16);
            unsigned bits = r < 16 ? 0 : bitnet_load_u16(word);
            for (size_t c = 0; c < 8; c++) {
                bits |= (unsigned)(triple_code(t + 3 * c) < 0) << (15 - (2 * c + r / 16));
            }
            bitnet_store_u16(word, (uint16_t)bits);
        }
    }
}

static void encode_pairs(const struct bitnet_layout *layout, const int8_t *trits, uint8_t *out)
{
    const size_t k3 = triple_cols(layout);
    const struct walk w = walk_over(layout, layout->cols - k3, PAIR_TILE, 4);
    for (size_t at = 0; at < walk_length(&w); at++) {
        size_t row, tile_col, step;
        place(&w, at, &row, &tile_col, &step);
        for (size_t p = 0; p < ROWS; p++) {
            const int8_t *t =
                trits + (row + swapped(p)) * w.cols + k3 + tile_col * PAIR_TILE + 4 * step;
            *out++ = (uint8_t)(pair_code(t) << 4 | pair_code(t + 2));
        }
    }
}

static void encode_trits(const struct bitnet_layout *layout, const int8_t *trits,
                         const float *scales, uint8_t *out, size_t n_bytes)
{
    const struct segments s = segments_of(layout);
    encode_indices(layout, trits, out);
    encode_signs(layout, trits, out + s.signs);
    encode_pairs(layout, trits, out + s.pairs);
    memset(out + s.end, 0, n_bytes - s.end);
    bitnet_store_f32(out + n_bytes - TAIL, scales[0]);
}

/* --- decode --- */

#define TRITS(code)                                                                                \
    {                                                                                              \
        ((code) + 13) / 9 - 1, ((code) + 13) / 3 % 3 - 1, ((code) + 13) % 3 - 1, 0                 \
    }
#define NO_TRITS                                                                                   \
    {                                                                                              \
        0, 0, 0, 1                                                                                 \
    }

/* By sign and index: three trits, and whether there are none. */
/* clang-format off */
static const int8_t trits_of[2][16][4] = {
    {TRITS(0), TRITS(1), TRITS(2), TRITS(3), TRITS(4), TRITS(5), TRITS(6), TRITS(7), TRITS(8),
     TRITS(9), TRITS(10), TRITS(11), TRITS(12), TRITS(13), NO_TRITS, NO_TRITS},
    {TRITS(0), TRITS(-1), TRITS(-2), TRITS(-3), TRITS(-4), TRITS(-5), TRITS(-6), TRITS(-7),
     TRITS(-8), TRITS(-9), TRITS(-10), TRITS(-11), TRITS(-12), TRITS(-13), NO_TRITS, NO_TRITS},
};
/* clang-format on */

/* 24 columns of one row: its bytes of four strips, and its word of signs, first triple on top. The
 * lowest bit of the result is set when an index is none. */
static int decode_24(const uint8_t *strips, unsigned signs, int8_t *trits)
{
    int bad = 0;
    for (size_t c = 0; c < 8; c++) {
        const unsigned byte = strips[c / 2 * ROWS], index = c % 2 ? byte & 15u : byte >> 4;
        const int8_t *t = trits_of[signs >> (15 - 2 * c) & 1u][index];
        for (size_t i = 0; i < 3; i++) trits[3 * c + i] = t[i];
        bad |= t[3];
    }
    return bad;
}

/* Names the first index of these 24 columns that is none. */
static enum bitnet_status refuse_24(const struct bitnet_layout *layout, const uint8_t *strips,
                                    size_t row, size_t col, struct bitnet_error *err)
{
    size_t c = 0;
    while ((c % 2 ? strips[c / 2 * ROWS] & 15u : strips[c / 2 * ROWS] >> 4) < 14) c++;
    const unsigned byte = strips[c / 2 * ROWS];
    return codec_bad_code(layout, row, col + 3 * c, c % 2 ? byte & 15u : byte >> 4, err);
}

/* A block of signs covers four strips of indices, and both come in the same order. */
static enum bitnet_status decode_triples(const struct bitnet_layout *layout, const uint8_t *in,
                                         const uint8_t *signs, int8_t *trits,
                                         struct bitnet_error *err)
{
    const struct walk w = walk_over(layout, triple_cols(layout), layout->tile.cols, 24);
    for (size_t at = 0; at < walk_length(&w); at++, in += 4 * ROWS, signs += SIGN_BLOCK) {
        size_t row, tile_col, step;
        place(&w, at, &row, &tile_col, &step);
        const size_t col = tile_col * w.tile_cols + 24 * step;
        for (size_t r = 0; r < ROWS; r++) {
            const unsigned word = (unsigned)bitnet_load_u16(signs + 2 * (r % 16)) << (r / 16);
            const uint8_t *strips = in + swapped(r);
            if (decode_24(strips, word, trits + (row + r) * w.cols + col)) {
                return refuse_24(layout, strips, row + r, col, err);
            }
        }
    }
    return BITNET_OK;
}

static enum bitnet_status decode_pairs(const struct bitnet_layout *layout, const uint8_t *in,
                                       int8_t *trits, struct bitnet_error *err)
{
    const size_t k3 = triple_cols(layout);
    const struct walk w = walk_over(layout, layout->cols - k3, PAIR_TILE, 4);
    for (size_t at = 0; at < walk_length(&w); at++) {
        size_t row, tile_col, step;
        place(&w, at, &row, &tile_col, &step);
        const size_t col = k3 + tile_col * PAIR_TILE + 4 * step;
        for (size_t p = 0; p < ROWS; p++) {
            const unsigned b = *in++, high = b >> 4, low = b & 15u;
            const size_t r = row + swapped(p);
            if (high > 8) return codec_bad_code(layout, r, col, high, err);
            if (low > 8) return codec_bad_code(layout, r, col + 2, low, err);
            pair_trits(high, trits + r * w.cols + col);
            pair_trits(low, trits + r * w.cols + col + 2);
        }
    }
    return BITNET_OK;
}

static enum bitnet_status decode_trits(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t n_bytes, int8_t *trits, float *scales,
                                       struct bitnet_error *err)
{
    size_t need = 0;
    enum bitnet_status status = tensor_bytes(layout, &need, err);
    if (!status) status = codec_check_size(layout, n_bytes, need, err);
    if (status) return status;
    const struct segments s = segments_of(layout);
    status = decode_triples(layout, in, in + s.signs, trits, err);
    if (!status) status = decode_pairs(layout, in + s.pairs, trits, err);
    if (status) return status;
    scales[0] = bitnet_load_f32(in + n_bytes - TAIL);
    return codec_check_scale(layout, 0, scales[0], err);
}

const struct bitnet_codec bitnet_codec_tl2 = {.type = BITNET_DTYPE_tl2,
                                              .scales = BITNET_SCALES_TENSOR,
                                              .check = check,
                                              .decode_trits = decode_trits,
                                              .encode_trits = encode_trits,
                                              .segments = row_bytes_of};
