/* The ternary product with plain NEON (Cortex-A53, A72), over panels (panel.h).
 *
 * SMLAL multiplies eight codes (0 .. 2) with eight activations and adds to 16-bit lanes: at most
 * 2 * 127 = 254 in magnitude. A lane takes four such products per line of 16 columns, so 32 lines
 * make 128 * 254 = 32512 < 32768; then SADALP widens pairs of lanes into 32 bits. */
#include "../panel.h"
#include "codes_neon.h"
#include "neon.h"

#include <string.h>

enum { TILE = 2, FLUSH_LINES = 32, QUARTERS = 4 };

/* Sums of one token: per quarter, rows 0 and 1, and rows 2 and 3, four lanes each. */
struct narrow {
    int16x8_t low[QUARTERS], high[QUARTERS];
};
struct wide {
    int32x4_t low[QUARTERS], high[QUARTERS]; /* two lanes per row */
};

INLINE int8x16_t broadcast_four(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

INLINE void add_lines(const uint8_t *w, size_t n_lines, const int8_t *x, size_t x_stride, size_t n,
                      struct narrow acc[TILE])
{
    for (size_t line = 0; line < n_lines; line++, w += PANEL_LINE, x += 16) {
        UNROLL for (size_t q = 0; q < QUARTERS; q++)
        {
            const uint8x16_t quarter = vld1q_u8(w + 16 * q);
            UNROLL for (size_t j = 0; j < 4; j++)
            {
                const int8x16_t codes = quarter_codes(quarter, j);
                UNROLL for (size_t t = 0; t < n; t++)
                {
                    const int8x16_t four = broadcast_four(x + t * x_stride + 4 * j);
                    acc[t].low[q] = vmlal_s8(acc[t].low[q], vget_low_s8(codes), vget_low_s8(four));
                    acc[t].high[q] = vmlal_high_s8(acc[t].high[q], codes, four);
                }
            }
        }
    }
}

/* One panel times n tokens (n is a constant after inlining). */
INLINE void tile(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                 int32_t sums[TILE][PANEL_ROWS])
{
    const size_t n_lines = panel_cols(cols) / 16;
    struct wide wide[TILE];
    memset(wide, 0, sizeof wide);
    for (size_t line = 0; line < n_lines; line += FLUSH_LINES) {
        const size_t left = n_lines - line;
        struct narrow acc[TILE];
        UNROLL for (size_t t = 0; t < n; t++)
        {
            UNROLL for (size_t q = 0; q < QUARTERS; q++)
            {
                acc[t].low[q] = acc[t].high[q] = vdupq_n_s16(0);
            }
        }
        add_lines(w + line * PANEL_LINE, left < FLUSH_LINES ? left : FLUSH_LINES, x + line * 16,
                  x_stride, n, acc);
        UNROLL for (size_t t = 0; t < n; t++)
        {
            UNROLL for (size_t q = 0; q < QUARTERS; q++)
            {
                wide[t].low[q] = vpadalq_s16(wide[t].low[q], acc[t].low[q]);
                wide[t].high[q] = vpadalq_s16(wide[t].high[q], acc[t].high[q]);
            }
        }
    }
    for (size_t t = 0; t < n; t++) {
        for (size_t q = 0; q < QUARTERS; q++) {
            vst1q_s32(sums[t] + 4 * q, vpaddq_s32(wide[t].low[q], wide[t].high[q]));
        }
    }
}

static size_t tile_of(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                      int32_t sums[TILE][PANEL_ROWS])
{
    if (n >= 2) return tile(w, cols, x, x_stride, 2, sums), 2;
    return tile(w, cols, x, x_stride, 1, sums), 1;
}

#include "../panel_driver.h"

const struct bitnet_ternary_path bitnet_neon_ternary = {.name = "panel16",
                                                        .panel_rows = PANEL_ROWS,
                                                        .panel_bytes = bitnet_panel_bytes,
                                                        .pack = bitnet_panel_pack,
                                                        .matmul = matmul};
