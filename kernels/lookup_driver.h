/* Template: the ternary product by table lookup, the way of TL1 (formats.md 3.4; lookup_triples.h
 * has TL2's): two neighbouring
 * trits of a row are a code of 0 .. 8, the nine sums that two activations can give are a table, and
 * a byte shuffle looks up as many rows at once as a register has bytes. No set uses it; it is kept,
 * checked and timed beside the panels of panel.h, so that what is said about it stays measured
 * (README.md, "Measured").
 *
 *   panel  LK_ROWS rows; per four columns one register: byte r = code of columns 2, 3 << 4 | code
 *          of columns 0, 1, of row r; code = 3 * trit[0] + trit[1] + 4
 *   table  16 sums of 16 bits for each two columns, low bytes and high bytes apart
 *
 * Two sums are at most 508 in magnitude, so 64 registers make 32512 < 32768; then lanes are
 * widened.
 *
 * Included once by a file that has defined LK_ROWS, lk_reg, lk_sums, lk_none(), lk_load(),
 * lk_table(), lk_low(), lk_high(), lk_shuffle(), lk_add() and lk_flush() (the sums of rows
 * 0 .. LK_ROWS - 1, in order, added to int32). Yields bitnet_<LK_NAME>_lookup. */
#include <bitnet/kernels.h>

#include <assert.h>
#include <string.h>

enum {
    LK_COLUMNS = 4,
    LK_FLUSH = 64,
    LK_CHUNK = 256 /* columns whose tables stay in the first cache */
};

static size_t panel_bytes(size_t cols)
{
    return (cols + LK_COLUMNS - 1) / LK_COLUMNS * LK_ROWS;
}

static unsigned code_of(const int8_t *row, size_t cols, size_t c)
{
    const int a = c < cols ? row[c] : 0, b = c + 1 < cols ? row[c + 1] : 0;
    return (unsigned)(3 * a + b + 4);
}

static void pack(const int8_t *trits, size_t rows, size_t cols, size_t panel, uint8_t *w)
{
    memset(w, 0x44, panel_bytes(cols)); /* rows beyond the last: trits 0 */
    for (size_t r = 0; r < LK_ROWS && panel * LK_ROWS + r < rows; r++) {
        const int8_t *row = trits + (panel * LK_ROWS + r) * cols;
        for (size_t c = 0; c < cols; c += LK_COLUMNS) {
            w[c / LK_COLUMNS * LK_ROWS + r] =
                (uint8_t)(code_of(row, cols, c) | code_of(row, cols, c + 2) << 4);
        }
    }
}

/* The tables of n columns (a multiple of 2): low bytes, high bytes. */
static void make_tables(const int8_t *x, size_t n, uint8_t (*tables)[2][16])
{
    static const int16_t first[16] = {-1, -1, -1, 0, 0, 0, 1, 1, 1};
    static const int16_t second[16] = {-1, 0, 1, -1, 0, 1, -1, 0, 1};
    for (size_t i = 0; i < n / 2; i++) {
        for (size_t code = 0; code < 16; code++) {
            const int sum = first[code] * x[2 * i] + second[code] * x[2 * i + 1];
            tables[i][0][code] = (uint8_t)sum;
            tables[i][1][code] = (uint8_t)(sum >> 8);
        }
    }
}

/* `next` is where the same columns of the next panel lie. */
static void add_chunk(const uint8_t *w, const uint8_t *next, size_t n_groups,
                      uint8_t (*tables)[2][16], int32_t *sums)
{
    lk_sums acc = lk_none();
    assert(n_groups <= LK_FLUSH);
    for (size_t g = 0; g < n_groups; g++, w += LK_ROWS, next += LK_ROWS, tables += 2) {
        const lk_reg codes = lk_load(w), first = lk_low(codes), second = lk_high(codes);
        __builtin_prefetch(next);
        acc = lk_add(acc, lk_shuffle(lk_table(tables[0][0]), first),
                     lk_shuffle(lk_table(tables[0][1]), first));
        acc = lk_add(acc, lk_shuffle(lk_table(tables[1][0]), second),
                     lk_shuffle(lk_table(tables[1][1]), second));
    }
    lk_flush(acc, sums);
}

/* Tables are made for every call: a caller gives it many panels. */
static void matmul(const uint8_t *w, size_t rows, size_t cols, size_t panel_begin, size_t panel_end,
                   const int8_t *x, size_t x_stride, size_t n_tokens, int32_t *y, size_t y_stride)
{
    uint8_t tables[LK_CHUNK / 2][2][16];
    for (size_t t = 0; t < n_tokens; t++) {
        int32_t *out = y + t * y_stride;
        const size_t first = panel_begin * LK_ROWS;
        const size_t last = panel_end * LK_ROWS < rows ? panel_end * LK_ROWS : rows;
        if (first < last) memset(out + first, 0, (last - first) * sizeof *out);
        for (size_t c = 0; c < cols; c += LK_CHUNK) {
            const size_t n = cols - c < LK_CHUNK ? cols - c : LK_CHUNK;
            const size_t n_groups = (n + LK_COLUMNS - 1) / LK_COLUMNS;
            make_tables(x + t * x_stride + c, n_groups * LK_COLUMNS, tables);
            for (size_t p = panel_begin; p < panel_end; p++) {
                int32_t sums[LK_ROWS] = {0};
                const size_t row = p * LK_ROWS, left = rows - row;
                const uint8_t *at = w + p * panel_bytes(cols) + c / LK_COLUMNS * LK_ROWS;
                add_chunk(at, at + panel_bytes(cols), n_groups, tables, sums);
                for (size_t r = 0; r < left && r < LK_ROWS; r++) out[row + r] += sums[r];
            }
        }
    }
}

#define LK_JOIN(a, b, c)  a##b##c
#define LK_PATH_NAME(set) LK_JOIN(bitnet_, set, _lookup)
const struct bitnet_ternary_path LK_PATH_NAME(LK_NAME) = {.name = "lookup",
                                                          .panel_rows = LK_ROWS,
                                                          .panel_bytes = panel_bytes,
                                                          .pack = pack,
                                                          .matmul = matmul};
