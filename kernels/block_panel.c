/* Packing rows of Q6_K, Q4_0 and Q8_0 into panels (block_panel.h). Plain C, because it runs once
 * per model; four or eight bytes at a time, because a model has hundreds of millions of them. */
#include "block_panel.h"

#include <bitnet/bytes.h>

#include <assert.h>
#include <string.h>

#include "quant/codec.h"

/* --- levels of one row, unsigned --- */

/* 64 levels of half a Q6_K block from byte l = 8 i of its parts, eight at a time. */
static void levels_q6_k(const uint8_t *block, uint8_t levels[256])
{
    const uint64_t nibbles = UINT64_C(0x0f0f0f0f0f0f0f0f), pairs = UINT64_C(0x3030303030303030);
    for (size_t h = 0; h < 2; h++) {
        const uint8_t *ql = block + 64 * h, *qh = block + 128 + 32 * h;
        for (size_t l = 0; l < 32; l += 8) {
            const uint64_t a = bitnet_load_u64(ql + l), b = bitnet_load_u64(ql + l + 32);
            const uint64_t high = bitnet_load_u64(qh + l);
            uint8_t *to = levels + 128 * h + l;
            bitnet_store_u64(to, (a & nibbles) | (high << 4 & pairs));
            bitnet_store_u64(to + 32, (b & nibbles) | (high << 2 & pairs));
            bitnet_store_u64(to + 64, (a >> 4 & nibbles) | (high & pairs));
            bitnet_store_u64(to + 96, (b >> 4 & nibbles) | (high >> 2 & pairs));
        }
    }
}

static void levels_q4_0(const uint8_t *block, uint8_t levels[32])
{
    for (size_t i = 0; i < 16; i++) {
        levels[i] = block[2 + i] & 15;
        levels[16 + i] = block[2 + i] >> 4;
    }
}

static void levels_q8_0(const uint8_t *block, uint8_t levels[32])
{
    for (size_t i = 0; i < 32; i++) levels[i] = block[2 + i] ^ 0x80;
}

/* --- groups of one row into its four bytes of each line --- */

static void put_low(const uint8_t *levels, uint8_t *w)
{
    for (size_t i = 0; i < 2; i++) {
        const uint32_t even = bitnet_load_u32(levels + 8 * i) & 0x0f0f0f0fu;
        const uint32_t odd = bitnet_load_u32(levels + 8 * i + 4) & 0x0f0f0f0fu;
        bitnet_store_u32(w + i * BLOCK_LINE, even | odd << 4);
    }
}

static void put_high(const uint8_t *levels, uint8_t *w)
{
    uint32_t high = 0;
    for (unsigned j = 0; j < 4; j++) {
        high |= (bitnet_load_u32(levels + 4 * j) >> 4 & 0x03030303u) << (2 * j);
    }
    bitnet_store_u32(w, high);
}

/* --- rows --- */

static void pack_row_q6_k(const uint8_t *row, size_t cols, size_t r, uint8_t *w)
{
    for (size_t c = 0; c < cols; c += 256, row += BYTES_q6_k, w += Q6_K_BLOCK_BYTES) {
        uint8_t levels[256];
        levels_q6_k(row, levels);
        bitnet_store_f32(w + 4 * r, codec_f16(row + 208));
        for (size_t g = 0; g < 16; g++) {
            uint8_t *step = w + Q6_K_D_BYTES + g / 4 * Q6_K_STEP_BYTES;
            uint8_t *group = step + g % 4 * 3 * BLOCK_LINE + 4 * r;
            put_high(levels + 16 * g, group);
            put_low(levels + 16 * g, group + BLOCK_LINE);
            step[BLOCK_GROUPS * 3 * BLOCK_LINE + g % 4 * 16 + r] = row[192 + g];
        }
    }
}

static void pack_row_q4_0(const uint8_t *row, size_t cols, size_t r, uint8_t *w)
{
    for (size_t b = 0; b < cols / 32; b++, row += BYTES_q4_0) {
        uint8_t levels[32], *step = w + b / 2 * Q4_0_STEP_BYTES;
        levels_q4_0(row, levels);
        for (size_t g = 0; g < 2; g++) {
            put_low(levels + 16 * g, step + (b % 2 * 2 + g) * 2 * BLOCK_LINE + 4 * r);
        }
        memcpy(step + BLOCK_GROUPS * 2 * BLOCK_LINE + b % 2 * 32 + 2 * r, row, 2);
    }
}

static void pack_row_q8_0(const uint8_t *row, size_t cols, size_t r, uint8_t *w)
{
    for (size_t b = 0; b < cols / 32; b++, row += BYTES_q8_0) {
        uint8_t levels[32], *step = w + b / 2 * Q8_0_STEP_BYTES;
        levels_q8_0(row, levels);
        for (size_t i = 0; i < 8; i++) {
            memcpy(step + (b % 2 * 8 + i) * BLOCK_LINE + 4 * r, levels + 4 * i, 4);
        }
        memcpy(step + BLOCK_GROUPS * 4 * BLOCK_LINE + b % 2 * 32 + 2 * r, row, 2);
    }
}

/* A panel that no row fills, or whose last step is not full, is zero there: scale 0. */
#define BLOCK_PANEL(type)                                                                          \
    size_t bitnet_block_panel_bytes_##type(size_t cols)                                            \
    {                                                                                              \
        const size_t n = block_steps(cols);                                                        \
        return block_step_at(BLOCK_KIND_##type, n) - block_step_at(BLOCK_KIND_##type, 0);          \
    }                                                                                              \
    void bitnet_block_panel_pack_##type(const uint8_t *rows, size_t n_rows, size_t cols,           \
                                        uint8_t *w)                                                \
    {                                                                                              \
        assert(n_rows <= BLOCK_PANEL_ROWS && cols % BLOCK_##type == 0);                            \
        if (n_rows < BLOCK_PANEL_ROWS || cols % BLOCK_STEP) {                                      \
            memset(w, 0, bitnet_block_panel_bytes_##type(cols));                                   \
        }                                                                                          \
        for (size_t r = 0; r < n_rows; r++) {                                                      \
            pack_row_##type(rows + r * (cols / BLOCK_##type * BYTES_##type), cols, r, w);          \
        }                                                                                          \
    }
BLOCK_PANEL(q6_k)
BLOCK_PANEL(q4_0)
BLOCK_PANEL(q8_0)
