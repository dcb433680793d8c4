/* Packing trits into panels (see panel.h). Plain C, because it runs once per model; four bytes of
 * trits at a time, because a model has billions of them. */
#include "panel.h"

#include <bitnet/bytes.h>

#include <assert.h>
#include <string.h>

size_t bitnet_panel_bytes(size_t cols)
{
    return panel_cols(cols) / PANEL_COLS * PANEL_STEP_BYTES;
}

/* Sixteen codes of one row into its four bytes of a line. As bytes, a trit is 255, 0 or 1; its two
 * low bits plus one, modulo four, are the code, and no byte carries into the next. */
static uint32_t pack_sixteen(const int8_t *t)
{
    uint32_t packed = 0;
    for (unsigned j = 0; j < 4; j++) {
        const uint32_t four = bitnet_load_u32(t + 4 * j) & 0x03030303u;
        packed |= ((four + 0x01010101u) & 0x03030303u) << (2 * j);
    }
    return packed;
}

static void pack_row(const int8_t *trits, size_t cols, size_t r, uint8_t *w)
{
    size_t c = 0;
    for (; c + 16 <= cols; c += 16) {
        bitnet_store_u32(w + c / 16 * PANEL_LINE + 4 * r, pack_sixteen(trits + c));
    }
    for (; c < panel_cols(cols); c += 16) {
        int8_t padded[16] = {0};
        if (c < cols) memcpy(padded, trits + c, cols - c);
        bitnet_store_u32(w + c / 16 * PANEL_LINE + 4 * r, pack_sixteen(padded));
    }
}

void bitnet_panel_pack(const int8_t *trits, size_t rows, size_t cols, size_t panel, uint8_t *w)
{
    assert(panel * PANEL_ROWS < rows);
    memset(w, 0x55, bitnet_panel_bytes(cols)); /* rows beyond the last: trit 0 */
    for (size_t r = 0; r < PANEL_ROWS && panel * PANEL_ROWS + r < rows; r++) {
        pack_row(trits + (panel * PANEL_ROWS + r) * cols, cols, r, w);
    }
}
