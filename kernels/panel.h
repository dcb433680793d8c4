/* The machine layout that every x86 and NEON set shares: panels of 16 rows, column by column in
 * fours, two bits per trit.
 *
 *   panel    64 columns after each other, 256 bytes per 64 columns; the last 64 padded with trit 0
 *   line     g = 0 .. 3 of the 256 bytes: 64 bytes, columns 16 g .. 16 g + 15
 *   byte     4 r + k of a line, r = 0 .. 15 the row, k = 0 .. 3:
 *              |7 6|5 4|3 2|1 0|   codes (trit + 1) of columns
 *               12+k 8+k 4+k k     16 g +
 *
 * So one shift and one mask turn a line into 64 bytes that hold 4 neighbouring columns of 16 rows:
 * the operand shape of VPDPBUSD and of an AMX tile row, and, in quarters, of SDOT. The four columns
 * of an activation row are one 32-bit broadcast. A row's sum is a lane, so nothing is ever added
 * across a register.
 *
 * The kernels multiply codes 0, 1, 2 instead of trits and subtract the sum of the activations once:
 * sum(code * x) - sum(x) = sum(trit * x). Padding rows and columns have code 1, and x is zero
 * there.
 */
#ifndef BITNET_KERNELS_PANEL_H
#define BITNET_KERNELS_PANEL_H

#include <stddef.h>
#include <stdint.h>

enum { PANEL_ROWS = 16, PANEL_COLS = 64, PANEL_LINE = 64, PANEL_STEP_BYTES = 256 };

/* Columns as the layout pads them. */
static inline size_t panel_cols(size_t cols)
{
    return (cols + PANEL_COLS - 1) / PANEL_COLS * PANEL_COLS;
}

/* How far before its use a line is fetched: measured best between 1 and 4 KiB. */
enum { PREFETCH_LINES = 32, STREAM_LINES = 16 /* that are read between two looks at this */ };

/* What is fetched while line `line` of some panels, `step` bytes apart, is read as so many streams:
 * bytes from there. Behind the end of a panel lies its neighbour, which is read already; what comes
 * next for each stream lies behind all of them. */
static inline size_t panel_ahead(size_t line, size_t n_lines, size_t n_streams, size_t step)
{
    const size_t lines = PREFETCH_LINES * PANEL_LINE;
    return line + PREFETCH_LINES < n_lines ? lines : lines + (n_streams - 1) * step;
}

size_t bitnet_panel_bytes(size_t cols);
void bitnet_panel_pack(const int8_t *trits, size_t rows, size_t cols, size_t panel, uint8_t *w);
#if defined(__x86_64__)
/* The same for CPUs that have AVX2. */
void bitnet_avx2_panel_pack(const int8_t *trits, size_t rows, size_t cols, size_t panel,
                            uint8_t *w);
#endif

#endif
