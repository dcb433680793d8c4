/* File layouts: how each tensor type spells numbers in bytes. The same bytes on every host.
 *
 * A type is one file in quant/ with a drawing of its bytes, encode, decode and validate in plain
 * C, and one row in dtypes.def. Two families of functions, either of which may be absent:
 *
 *   rows    floats <-> bytes, any number of whole rows at a time (so a big tensor can be streamed)
 *   trits   {-1, 0, +1} and scales <-> bytes, a whole tensor at a time
 *
 * All functions are pure: no allocation, no threads. */
#ifndef BITNET_QUANT_H
#define BITNET_QUANT_H

#include "bitnet/dtype.h"

/* Tile of the lookup-table types: (BM, BK, bm) of bitnet.cpp's kernel_config.ini. All zero for
 * other types. TL2 always has sub_rows 32. (formats.md 3) */
struct bitnet_tile {
    uint32_t rows;     /* BM */
    uint32_t cols;     /* BK */
    uint32_t sub_rows; /* bm, "bmm" in the ini */
};

/* The three orders in which builds of bitnet.cpp wrote I2_S (formats.md 2.2). A file carries no
 * mark of it: A is what everybody reads and we write; B and C are read when the user says so. */
enum bitnet_i2_s_order {
    BITNET_I2_S_A, /* groups of 128 */
    BITNET_I2_S_B, /* groups of 64: ARM builds of 2025 and 2026 */
    BITNET_I2_S_C  /* four rows interleaved: some x86 builds of 2025 and 2026 */
};

/* A matrix [rows][cols] as the file has it. */
struct bitnet_layout {
    enum bitnet_dtype type;
    size_t rows;
    size_t cols;
    struct bitnet_tile tile;
    enum bitnet_i2_s_order order; /* I2_S only; zero is A, and encode_trits() writes nothing else */
    size_t first_row;             /* of a band (below): what messages add to row numbers */
};

/* How many scales a ternary type keeps. */
enum bitnet_scales {
    BITNET_SCALES_NONE,   /* not ternary */
    BITNET_SCALES_TENSOR, /* 1, f32 */
    BITNET_SCALES_ROW,    /* rows */
    BITNET_SCALES_BLOCK   /* rows * cols / block, row-major */
};

#define BITNET_SEGMENTS_MAX 3

struct bitnet_codec {
    enum bitnet_dtype type;
    enum bitnet_scales scales;
    bool scales_are_f16; /* a scale is exact only if binary16 holds it */

    /* OK, or UNSUPPORTED with the numbers that do not fit ("cols 8640 is not a multiple of 128").
     * Fills a zero tile of a tiled type with the default for the shape. NULL: what dtypes.def asks
     * for is enough. */
    enum bitnet_status (*check)(struct bitnet_layout *layout, struct bitnet_error *err);

    /* out[n_rows][cols] of floats. Every byte pattern gives something; no checks. NULL: trits only.
     */
    void (*decode_rows)(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out);
    /* Bytes of n_rows rows. `importance` [cols] or NULL. NULL: we do not write this type. */
    void (*encode_rows)(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                        const float *importance, uint8_t *out);

    /* trits[rows][cols], scales[bitnet_scale_count()]. FORMAT when the bytes hold a code that no
     * trit has (row, column and code are named) or a scale is not finite. `n_bytes` is the
     * tensor's size. NULL: not ternary. */
    enum bitnet_status (*decode_trits)(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t n_bytes, int8_t *trits, float *scales,
                                       struct bitnet_error *err);
    /* Writes every one of n_bytes (padding is zero). The caller has run check(). */
    void (*encode_trits)(const struct bitnet_layout *layout, const int8_t *trits,
                         const float *scales, uint8_t *out, size_t n_bytes);

    /* Bytes that a row takes in each of the tensor's segments, which follow each other and in which
     * rows follow each other; 0 ends the list. NULL: one segment. */
    void (*segments)(const struct bitnet_layout *layout, size_t row_bytes[BITNET_SEGMENTS_MAX]);
};

/* NULL when the type has no codec (we can size it but not read it). */
const struct bitnet_codec *bitnet_codec(enum bitnet_dtype type);
/* check() of the type's codec, or of dtypes.def when it has none. */
enum bitnet_status bitnet_layout_check(struct bitnet_layout *layout, struct bitnet_error *err);
size_t bitnet_scale_count(const struct bitnet_layout *layout);
/* Bytes of n_rows rows; only for types whose rows stand alone (rule PLAIN). */
size_t bitnet_rows_bytes(const struct bitnet_layout *layout, size_t n_rows);

/* --- bands: some rows of a ternary matrix, without the rest ---
 *
 * The rows of a band are a matrix of their own, with its own bytes: the band's part of each segment
 * of the tensor and a copy of the tail. So threads can share a tensor, and memory needs to hold no
 * more than a part of one. The bytes are the same as when the whole matrix is encoded at once. */

/* Bands begin and end at multiples of this many rows, or at the last row. */
size_t bitnet_band_step(const struct bitnet_layout *layout);
/* The band of n_rows rows from `row` on, as a matrix. */
struct bitnet_layout bitnet_band_layout(const struct bitnet_layout *layout, size_t row,
                                        size_t n_rows);
/* Size of the matrix as a tensor. */
size_t bitnet_layout_bytes(const struct bitnet_layout *layout);
/* Bytes in the segments before number `segment`; for BITNET_SEGMENTS_MAX all of them: what follows
 * are zeros and the tail. */
size_t bitnet_segment_begin(const struct bitnet_layout *layout, unsigned segment);

/* Writes the band's bytes into those of the whole tensor, tensor[bitnet_layout_bytes(layout)]. The
 * band with the last row also writes what follows the segments. trits[n_rows][cols], scales
 * [bitnet_scale_count() of the band]; `scratch` has bitnet_band_scratch(). */
void bitnet_band_encode(const struct bitnet_layout *layout, size_t row, size_t n_rows,
                        const int8_t *trits, const float *scales, uint8_t *scratch,
                        uint8_t *tensor);
/* The other way; as decode_trits() of the whole, but for these rows. */
enum bitnet_status bitnet_band_decode(const struct bitnet_layout *layout, size_t row, size_t n_rows,
                                      const uint8_t *tensor, size_t n_bytes, uint8_t *scratch,
                                      int8_t *trits, float *scales, struct bitnet_error *err);
size_t bitnet_band_scratch(const struct bitnet_layout *layout, size_t n_rows);

/* The tile that bitnet.cpp's published configurations use for this shape, if they know it.
 * False: not in the table (formats.md 3.3). */
bool bitnet_tile_known(enum bitnet_dtype type, size_t rows, size_t cols, struct bitnet_tile *tile);

#endif
