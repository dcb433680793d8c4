/* The machine layout of matrices whose weights are small integers times the scale of a block (Q6_K,
 * Q4_0, Q8_0: the output matrix of most models, half of what a token reads). It lies in memory
 * only. As in panel.h a panel is 16 rows, and a row's sum is a lane.
 *
 *   panel    steps of 64 columns after each other; columns beyond the last have scale 0
 *   step     4 groups of 16 columns, then scales
 *   line     64 bytes; byte 4 r + k belongs to row r = 0 .. 15 and to columns 4 j + k of a group
 *
 *   Q6_K  group  | line: two high bits, j at bits 2 j | line: low nibbles, j = 0, 1 | j = 2, 3 |
 *         scales | i8[4 groups][16 rows] |, and before every fourth step | f32 d[16 rows] |
 *   Q4_0  group  | line: nibbles, j = 0, 1 | j = 2, 3 |      scales | f16 [2][16 rows] |
 *   Q8_0  group  | line j = 0 | 1 | 2 | 3 |                  scales | f16 [2][16 rows] |
 *
 * Levels are kept unsigned, with an offset of 32, 8 and 128. */
#ifndef BITNET_KERNELS_BLOCK_PANEL_H
#define BITNET_KERNELS_BLOCK_PANEL_H

#include <bitnet/kernels.h>

enum {
    BLOCK_STEP = 64,
    BLOCK_GROUP = 16,
    BLOCK_GROUPS = 4,
    BLOCK_PANEL_ROWS = 16,
    BLOCK_LINE = 64
};
enum block_kind { BLOCK_KIND_q6_k, BLOCK_KIND_q4_0, BLOCK_KIND_q8_0 };
enum {
    Q6_K_D_BYTES = 64,
    Q6_K_STEP_BYTES = BLOCK_GROUPS * 3 * BLOCK_LINE + 64,
    Q6_K_BLOCK_BYTES = Q6_K_D_BYTES + 4 * Q6_K_STEP_BYTES,
    Q4_0_STEP_BYTES = BLOCK_GROUPS * 2 * BLOCK_LINE + 64,
    Q8_0_STEP_BYTES = BLOCK_GROUPS * 4 * BLOCK_LINE + 64
};

/* Where step s of a panel begins. */
static inline size_t block_step_at(enum block_kind kind, size_t s)
{
    switch (kind) {
    case BLOCK_KIND_q6_k:
        return s / 4 * Q6_K_BLOCK_BYTES + Q6_K_D_BYTES + s % 4 * Q6_K_STEP_BYTES;
    case BLOCK_KIND_q4_0:
        return s * Q4_0_STEP_BYTES;
    default:
        return s * Q8_0_STEP_BYTES;
    }
}

static inline size_t block_steps(size_t cols)
{
    return (cols + BLOCK_STEP - 1) / BLOCK_STEP;
}

#define BLOCK_PANEL(type)                                                                          \
    size_t bitnet_block_panel_bytes_##type(size_t cols);                                           \
    void bitnet_block_panel_pack_##type(const uint8_t *rows, size_t n_rows, size_t cols,           \
                                        uint8_t *w);
BLOCK_PANEL(q6_k)
BLOCK_PANEL(q4_0)
BLOCK_PANEL(q8_0)
#undef BLOCK_PANEL

/* What a set that uses this layout puts into its table. */
#define BLOCK_PANEL_PATH(type, function)                                                           \
    {                                                                                              \
        .name = "panel16", .panel_rows = BLOCK_PANEL_ROWS,                                         \
        .panel_bytes = bitnet_block_panel_bytes_##type, .pack = bitnet_block_panel_pack_##type,    \
        .matmul = function                                                                         \
    }

#endif
