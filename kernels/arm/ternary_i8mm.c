/* The ternary product with SMMLA, for four tokens at a time; fewer go the way of SDOT.
 *
 * SMMLA multiplies two rows of eight with two columns of eight into a 2 x 2 block, twice the work
 * of SDOT. A quarter of a line holds four rows of four columns per code position, so interleaving
 * two positions gives two rows of eight; two tokens' activations, side by side, are the other
 * operand.
 */
#include "neon.h"
#include "sdot.h"

enum { ROW_PAIRS = PANEL_ROWS / 2, TOKEN_PAIRS = TILE / 2 };

/* Lanes: row a token a, row a token b, row b token a, row b token b. */
struct blocks {
    int32x4_t acc[TOKEN_PAIRS][ROW_PAIRS];
};

INLINE int8x16_t side_by_side(int8x16_t a, int8x16_t b, bool second_half)
{
    const int64x2_t wide_a = vreinterpretq_s64_s8(a), wide_b = vreinterpretq_s64_s8(b);
    return vreinterpretq_s8_s64(second_half ? vzip2q_s64(wide_a, wide_b)
                                            : vzip1q_s64(wide_a, wide_b));
}

/* Columns 8 half .. 8 half + 7 of a quarter's rows 0 and 1, or 2 and 3. */
INLINE int8x16_t two_rows(uint8x16_t quarter, size_t half, bool second_rows)
{
    const int32x4_t a = vreinterpretq_s32_s8(quarter_codes(quarter, 2 * half));
    const int32x4_t b = vreinterpretq_s32_s8(quarter_codes(quarter, 2 * half + 1));
    return vreinterpretq_s8_s32(second_rows ? vzip2q_s32(a, b) : vzip1q_s32(a, b));
}

INLINE void add_line(const uint8_t *w, const int8_t *x, size_t x_stride, struct blocks *s)
{
    UNROLL for (size_t half = 0; half < 2; half++)
    {
        int8x16_t tokens[TOKEN_PAIRS];
        UNROLL for (size_t p = 0; p < TOKEN_PAIRS; p++)
        {
            const int8_t *first = x + 2 * p * x_stride;
            tokens[p] = side_by_side(vld1q_s8(first), vld1q_s8(first + x_stride), half);
        }
        UNROLL for (size_t r = 0; r < ROW_PAIRS; r++)
        {
            const int8x16_t rows = two_rows(vld1q_u8(w + 16 * (r / 2)), half, r % 2);
            UNROLL for (size_t p = 0; p < TOKEN_PAIRS; p++)
            {
                s->acc[p][r] = vmmlaq_s32(s->acc[p][r], rows, tokens[p]);
            }
        }
    }
}

/* One panel times four tokens. */
static void four_tokens(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride,
                        int32_t sums[TILE][PANEL_ROWS])
{
    struct blocks s;
    UNROLL for (size_t p = 0; p < TOKEN_PAIRS; p++)
    {
        UNROLL for (size_t r = 0; r < ROW_PAIRS; r++) s.acc[p][r] = vdupq_n_s32(0);
    }
    for (size_t line = 0; line < panel_cols(cols) / 16; line++) {
        add_line(w + line * PANEL_LINE, x + line * 16, x_stride, &s);
    }
    for (size_t p = 0; p < TOKEN_PAIRS; p++) {
        for (size_t r = 0; r < ROW_PAIRS; r++) {
            int32_t block[4];
            vst1q_s32(block, s.acc[p][r]);
            for (size_t i = 0; i < 4; i++) sums[2 * p + i % 2][2 * r + i / 2] = block[i];
        }
    }
}

static size_t tile_of(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                      int32_t sums[TILE][PANEL_ROWS])
{
    if (n >= 4) return four_tokens(w, cols, x, x_stride, sums), 4;
    if (n >= 2) return sdot_tile(w, cols, x, x_stride, 2, sums), 2;
    return sdot_tile(w, cols, x, x_stride, 1, sums), 1;
}

#include "../panel_driver.h"

const struct bitnet_ternary_path bitnet_i8mm_ternary = {.name = "panel16",
                                                        .panel_rows = PANEL_ROWS,
                                                        .panel_bytes = bitnet_panel_bytes,
                                                        .pack = bitnet_panel_pack,
                                                        .matmul = matmul};
