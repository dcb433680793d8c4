/* The one machine layout of ternary weights on a device, and the order of the activations that it
 * is multiplied with. Plain C: the host packs and tests with the same functions.
 *
 * It is the register layout of mma.m16n8k32 (PTX manual, "Matrix Fragments for mma.m16n8k32"): rows
 * are cut into tiles of 16, columns into steps of 32. In a step, lane 4g + t of a warp holds rows g
 * and g + 8, columns 4t .. 4t+3 and 16+4t .. 16+4t+3: 16 trits, as codes (trit + 1) of two bits, in
 * one word. Plane p, bits 2p and 2p+1 of each byte, is the lane's operand register a_p:
 *
 *      byte b of the word   | a3  | a2  | a1  | a0  |
 *                            7   6 5   4 3   2 1   0
 *      a0: row g,   column 4t + b          a1: row g + 8, column 4t + b
 *      a2: row g,   column 16 + 4t + b     a3: row g + 8, column 16 + 4t + b
 *
 * Four steps (a group of 128 columns) lie together, so that a lane loads 16 bytes at once:
 *      word ((tile * groups + group) * 32 + lane) * 4 + step
 * Rows and columns beyond the matrix have code 1.
 *
 * Activations of one token, per group of 128 columns: 32 words (4 int8 each), as 8 chunks of 4;
 * chunk 4h + t is what lane t of a column needs for steps 2h and 2h + 1: word 16h + 4t + 2(s & 1) +
 * half = columns 32s + 16 half + 4t .. + 3,  s = 2h or 2h + 1 */
#ifndef BITNET_CUDA_DEVICE_LAYOUT_H
#define BITNET_CUDA_DEVICE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__CUDACC__)
#    define DEVICE_LAYOUT static __host__ __device__ inline
#else
#    define DEVICE_LAYOUT static inline
#endif

enum { DEVICE_TILE_ROWS = 16, DEVICE_STEP_COLS = 32, DEVICE_GROUP_COLS = 128 };

DEVICE_LAYOUT size_t device_tiles(size_t rows)
{
    return (rows + DEVICE_TILE_ROWS - 1) / DEVICE_TILE_ROWS;
}
DEVICE_LAYOUT size_t device_groups(size_t cols)
{
    return (cols + DEVICE_GROUP_COLS - 1) / DEVICE_GROUP_COLS;
}
/* Words of 16 rows: 4 words for each of 32 lanes and each group. */
DEVICE_LAYOUT size_t device_tile_words(size_t cols)
{
    return device_groups(cols) * 128;
}
DEVICE_LAYOUT size_t device_weight_words(size_t rows, size_t cols)
{
    return device_tiles(rows) * device_tile_words(cols);
}
/* Words of one token's activations. */
DEVICE_LAYOUT size_t device_code_words(size_t cols)
{
    return device_groups(cols) * 32;
}

/* One word of the weights, from trits[rows][cols]. */
DEVICE_LAYOUT uint32_t device_pack_word(const int8_t *trits, size_t rows, size_t cols, size_t word)
{
    const size_t step = word % 4, lane = word / 4 % 32, group = word / 128 % device_groups(cols);
    const size_t tile = word / 128 / device_groups(cols);
    uint32_t packed = 0;
    for (size_t plane = 0; plane < 4; plane++) {
        const size_t row = tile * DEVICE_TILE_ROWS + lane / 4 + 8 * (plane & 1);
        const size_t col = group * DEVICE_GROUP_COLS + step * DEVICE_STEP_COLS + 16 * (plane >> 1) +
                           4 * (lane % 4);
        for (size_t b = 0; b < 4; b++) {
            const int trit = row < rows && col + b < cols ? trits[row * cols + col + b] : 0;
            packed |= (uint32_t)(trit + 1) << (8 * b + 2 * plane);
        }
    }
    return packed;
}

/* The first of the four columns that word `word` of a token's activations holds. */
DEVICE_LAYOUT size_t device_code_column(size_t word)
{
    const size_t h = word / 16 % 2, t = word / 4 % 4, s = 2 * h + word / 2 % 2, half = word % 2;
    return word / 32 * DEVICE_GROUP_COLS + 32 * s + 16 * half + 4 * t;
}

#endif
