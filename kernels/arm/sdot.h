/* A tile of the ternary product by SDOT, over panels (panel.h): the codes of four rows times four
 * activations, chosen by lane, added to one 32-bit lane per row. TILE tokens at most. */
#ifndef BITNET_KERNELS_SDOT_H
#define BITNET_KERNELS_SDOT_H

#include "../panel.h"
#include "codes_neon.h"

enum { TILE = 4, QUARTERS = 4, PREFETCH_BYTES = 1024 };
#define STREAMS 2

INLINE int32x4_t sdot_lane(int32x4_t acc, int8x16_t codes, int8x16_t x, size_t j)
{
    switch (j) {
    case 0:
        return vdotq_laneq_s32(acc, codes, x, 0);
    case 1:
        return vdotq_laneq_s32(acc, codes, x, 1);
    case 2:
        return vdotq_laneq_s32(acc, codes, x, 2);
    default:
        return vdotq_laneq_s32(acc, codes, x, 3);
    }
}

/* One panel times n tokens (n is a constant after inlining). */
INLINE void sdot_tile(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                      int32_t sums[TILE][PANEL_ROWS])
{
    int32x4_t acc[TILE][QUARTERS];
    UNROLL for (size_t t = 0; t < n; t++)
    {
        UNROLL for (size_t q = 0; q < QUARTERS; q++) acc[t][q] = vdupq_n_s32(0);
    }
    for (size_t line = 0; line < panel_cols(cols) / 16; line++, w += PANEL_LINE, x += 16) {
        int8x16_t sixteen[TILE];
        if (n == 1) __builtin_prefetch(w + PREFETCH_BYTES);
        UNROLL for (size_t t = 0; t < n; t++) sixteen[t] = vld1q_s8(x + t * x_stride);
        UNROLL for (size_t q = 0; q < QUARTERS; q++)
        {
            const uint8x16_t quarter = vld1q_u8(w + 16 * q);
            UNROLL for (size_t j = 0; j < 4; j++)
            {
                const int8x16_t codes = quarter_codes(quarter, j);
                UNROLL for (size_t t = 0; t < n; t++)
                {
                    acc[t][q] = sdot_lane(acc[t][q], codes, sixteen[t], j);
                }
            }
        }
    }
    UNROLL for (size_t t = 0; t < n; t++)
    {
        UNROLL for (size_t q = 0; q < QUARTERS; q++) vst1q_s32(sums[t] + 4 * q, acc[t][q]);
    }
}

/* STREAMS panels, `step` bytes apart, times one token. */
static void streams_of(const uint8_t *w, size_t step, size_t cols, const int8_t *x,
                       int32_t sums[STREAMS][PANEL_ROWS])
{
    int32x4_t acc[STREAMS][QUARTERS];
    UNROLL for (size_t p = 0; p < STREAMS; p++)
    {
        UNROLL for (size_t q = 0; q < QUARTERS; q++) acc[p][q] = vdupq_n_s32(0);
    }
    const size_t n_lines = panel_cols(cols) / 16;
    for (size_t line = 0; line < n_lines; line++, w += PANEL_LINE, x += 16) {
        const int8x16_t sixteen = vld1q_s8(x);
        const size_t ahead = panel_ahead(line, n_lines, STREAMS, step);
        UNROLL for (size_t p = 0; p < STREAMS; p++)
        {
            __builtin_prefetch(w + p * step + ahead);
            UNROLL for (size_t q = 0; q < QUARTERS; q++)
            {
                const uint8x16_t quarter = vld1q_u8(w + p * step + 16 * q);
                UNROLL for (size_t j = 0; j < 4; j++)
                {
                    acc[p][q] = sdot_lane(acc[p][q], quarter_codes(quarter, j), sixteen, j);
                }
            }
        }
    }
    UNROLL for (size_t p = 0; p < STREAMS; p++)
    {
        UNROLL for (size_t q = 0; q < QUARTERS; q++) vst1q_s32(sums[p] + 4 * q, acc[p][q]);
    }
}

#endif
