/* Template: the ternary product by table lookup, the way of TL2 (formats.md 3.5): three
 * neighbouring trits have 27 values -13 .. 13, four bits and a fifth. Where a shuffle takes 16
 * bytes, the four bits are the magnitude, the fifth the sign, and it is the sum of 16 bits that is
 * negated; where it takes 32 (LT_WIDE) the five are one code, value + 13. Exact, and checked and
 * timed like lookup_driver.h, behind which it is included; no set uses it.
 *
 *   panel  LK_ROWS rows; per 24 columns five registers, byte r belongs to row r:
 *          four of codes (triples 2 i in the low, 2 i + 1 in the high four bits), one of fifth
 * bits, that of triple k in place LT_PLACE(k) table  LT_ENTRIES sums of 16 bits for each three
 * columns, low bytes and high bytes apart
 *
 * Three sums are at most 381 in magnitude, so 80 make 30480 < 32768; then lanes are widened.
 *
 * Needs, beside what lookup_driver.h does: LT_WIDE or not, LT_PLACE(k), lt_bits, lt_bits_of() and
 * lt_add(acc, tables, codes, bits, k), which looks up triple k. Yields bitnet_<LK_NAME>_triples. */

enum {
    LT_COLUMNS = 24,
    LT_REGS = 5,
    LT_CHUNK = 240, /* columns between two widenings, and whose tables stay in the first cache */
    LT_MIDDLE = 13
};
#if defined(LT_WIDE)
enum { LT_ENTRIES = 32, LT_LOWEST = -LT_MIDDLE };
#else
enum { LT_ENTRIES = 16, LT_LOWEST = 0 };
#endif

static size_t triples_panel_bytes(size_t cols)
{
    return (cols + LT_COLUMNS - 1) / LT_COLUMNS * LT_REGS * LK_ROWS;
}

/* Five bits. */
static unsigned code_of_triple(const int8_t *row, size_t cols, size_t c)
{
    int value = 0;
    for (size_t i = c; i < c + 3; i++) value = 3 * value + (i < cols ? row[i] : 0);
#if defined(LT_WIDE)
    return (unsigned)(value + LT_MIDDLE);
#else
    return value < 0 ? 16u | (unsigned)-value : (unsigned)value;
#endif
}

static void put_triple(uint8_t *group, size_t r, size_t k, unsigned code)
{
    uint8_t *nibbles = group + k / 2 * LK_ROWS + r, *bits = group + (LT_REGS - 1) * LK_ROWS + r;
    *nibbles = (uint8_t)(*nibbles | (code & 15) << (k % 2 * 4));
    *bits = (uint8_t)(*bits | (code >> 4) << LT_PLACE(k));
}

static void triples_pack(const int8_t *trits, size_t rows, size_t cols, size_t panel, uint8_t *w)
{
    memset(w, 0, triples_panel_bytes(cols)); /* rows beyond the last give what nobody reads */
    for (size_t r = 0; r < LK_ROWS && panel * LK_ROWS + r < rows; r++) {
        const int8_t *row = trits + (panel * LK_ROWS + r) * cols;
        for (size_t c = 0; c < cols; c += LT_COLUMNS) {
            uint8_t *group = w + c / LT_COLUMNS * LT_REGS * LK_ROWS;
            for (size_t k = 0; k < LT_COLUMNS / 3; k++) {
                put_triple(group, r, k, code_of_triple(row, cols, c + 3 * k));
            }
        }
    }
}

/* The trits of each entry: digit d of its value in balanced ternary. */
static void make_digits(int16_t digits[3][LT_ENTRIES])
{
    for (int e = 0; e < LT_ENTRIES; e++) {
        int rest = e + LT_LOWEST <= LT_MIDDLE ? e + LT_LOWEST : 0;
        for (size_t d = 3; d-- > 0;) {
            const int digit = ((rest + LT_MIDDLE + 15) % 3) - 1;
            digits[d][e] = (int16_t)digit;
            rest = (rest - digit) / 3;
        }
    }
}

/* The tables of n columns (a multiple of 3): low bytes, high bytes. */
static void make_triple_tables(int16_t digits[3][LT_ENTRIES], const int8_t *x, size_t n,
                               uint8_t (*tables)[2][LT_ENTRIES])
{
    for (size_t i = 0; i < n; i += 3, tables++) {
        for (size_t e = 0; e < LT_ENTRIES; e++) {
            const int sum = digits[0][e] * x[i] + digits[1][e] * x[i + 1] + digits[2][e] * x[i + 2];
            tables[0][0][e] = (uint8_t)sum;
            tables[0][1][e] = (uint8_t)(sum >> 8);
        }
    }
}

static void add_triples(const uint8_t *w, const uint8_t *next, size_t n_groups,
                        uint8_t (*tables)[2][LT_ENTRIES], int32_t *sums)
{
    lk_sums acc = lk_none();
    assert(n_groups * LT_COLUMNS <= LT_CHUNK);
    for (size_t g = 0; g < n_groups; g++, tables += LT_COLUMNS / 3) {
        lt_bits bits = lt_bits_of(lk_load(w + (LT_REGS - 1) * LK_ROWS));
        UNROLL for (size_t i = 0; i < LT_REGS; i++) __builtin_prefetch(next + i * LK_ROWS);
        UNROLL for (size_t i = 0; i < 4; i++)
        {
            const lk_reg codes = lk_load(w + i * LK_ROWS);
            acc = lt_add(acc, tables[2 * i], lk_low(codes), &bits, 2 * i);
            acc = lt_add(acc, tables[2 * i + 1], lk_high(codes), &bits, 2 * i + 1);
        }
        w += LT_REGS * LK_ROWS;
        next += LT_REGS * LK_ROWS;
    }
    lk_flush(acc, sums);
}

static void triples_matmul(const uint8_t *w, size_t rows, size_t cols, size_t panel_begin,
                           size_t panel_end, const int8_t *x, size_t x_stride, size_t n_tokens,
                           int32_t *y, size_t y_stride)
{
    int16_t digits[3][LT_ENTRIES];
    make_digits(digits);
    for (size_t t = 0; t < n_tokens; t++) {
        int32_t *out = y + t * y_stride;
        const size_t first = panel_begin * LK_ROWS;
        const size_t last = panel_end * LK_ROWS < rows ? panel_end * LK_ROWS : rows;
        if (first < last) memset(out + first, 0, (last - first) * sizeof *out);
        for (size_t c = 0; c < cols; c += LT_CHUNK) {
            uint8_t tables[LT_CHUNK / 3][2][LT_ENTRIES];
            int8_t columns[LT_CHUNK] = {0};
            const size_t n = cols - c < LT_CHUNK ? cols - c : LT_CHUNK;
            const size_t n_groups = (n + LT_COLUMNS - 1) / LT_COLUMNS;
            memcpy(columns, x + t * x_stride + c, n);
            make_triple_tables(digits, columns, n_groups * LT_COLUMNS, tables);
            for (size_t p = panel_begin; p < panel_end; p++) {
                int32_t sums[LK_ROWS] = {0};
                const size_t row = p * LK_ROWS, left = rows - row;
                const uint8_t *at =
                    w + p * triples_panel_bytes(cols) + c / LT_COLUMNS * LT_REGS * LK_ROWS;
                add_triples(at, at + triples_panel_bytes(cols), n_groups, tables, sums);
                for (size_t r = 0; r < left && r < LK_ROWS; r++) out[row + r] += sums[r];
            }
        }
    }
}

#define LT_PATH_NAME(set) LK_JOIN(bitnet_, set, _triples)
const struct bitnet_ternary_path LT_PATH_NAME(LK_NAME) = {.name = "triples",
                                                          .panel_rows = LK_ROWS,
                                                          .panel_bytes = triples_panel_bytes,
                                                          .pack = triples_pack,
                                                          .matmul = triples_matmul};
