/* I2_S as some builds of bitnet.cpp write it (formats.md 2.2):
 *
 *   B   C quantizer on ARM, 2025 and 2026: groups of 64 in 16 bytes, one flat sequence;
 *       element 64 g + 16 s + p is in byte 16 g + p at shift 6 - 2 s
 *   C   x86 without ACT_PARALLEL, 2025 and 2026: four rows interleaved;
 *       row 4 q + s, column c is in byte q * cols + c at shift 6 - 2 s
 *
 * Codes as in layout A: 0 = -1, 1 = 0, 2 = +1. The scale behind them is in the same place. */
#include "i2s_layout.h"

static enum bitnet_status bad_code(size_t element, size_t cols, struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_FORMAT, "row %zu, column %zu has code 3, which is no trit",
                       element / cols, element % cols);
}

static enum bitnet_status read_b(const uint8_t *in, size_t rows, size_t cols, int8_t *trits,
                                 struct bitnet_error *err)
{
    size_t n = rows * cols;
    if (n % 64 != 0)
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "layout B: rows * cols %zu is not a multiple of 64", n);
    for (size_t e = 0; e < n; e++) {
        unsigned code = in[e / 64 * 16 + e % 16] >> (6 - 2 * (e % 64 / 16)) & 3u;
        if (code == 3) return bad_code(e, cols, err);
        trits[e] = (int8_t)((int)code - 1);
    }
    return BITNET_OK;
}

static enum bitnet_status read_c(const uint8_t *in, size_t rows, size_t cols, int8_t *trits,
                                 struct bitnet_error *err)
{
    if (rows % 4 != 0)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "layout C: rows %zu is not a multiple of 4",
                           rows);
    for (size_t e = 0; e < rows * cols; e++) {
        size_t row = e / cols;
        unsigned code = in[row / 4 * cols + e % cols] >> (6 - 2 * (row % 4)) & 3u;
        if (code == 3) return bad_code(e, cols, err);
        trits[e] = (int8_t)((int)code - 1);
    }
    return BITNET_OK;
}

enum bitnet_status i2s_read(char layout, const uint8_t *in, size_t rows, size_t cols, int8_t *trits,
                            struct bitnet_error *err)
{
    switch (layout) {
    case 'b':
        return read_b(in, rows, cols, trits, err);
    case 'c':
        return read_c(in, rows, cols, trits, err);
    default:
        return bitnet_fail(err, BITNET_USAGE, "I2_S layout '%c' (allowed: b, c)", layout);
    }
}
