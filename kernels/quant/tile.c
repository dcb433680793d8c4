/* Tile parameters (BM, BK, bm) of TL1 and TL2. The file format does not record them, so the reader
 * and the writer must agree by table: bitnet.cpp's setup_env.py, as listed in formats.md 3.3.
 * Shapes outside it get the default of 3.5. */
#include "tile.h"

struct known_tile {
    size_t rows, cols;
    struct bitnet_tile tl1, tl2;
};

/* clang-format off */
static const struct known_tile known[] = {
    /* rows   cols    TL1 BM  BK  bm    TL2 BM  BK  bm */
    {  1536,  4096, { 256, 128, 32 }, { 256,  96, 32 } }, /* bitnet_b1_58-large */
    {  1536,  1536, { 128,  64, 64 }, { 128, 192, 32 } },
    {  4096,  1536, { 256, 128, 32 }, { 256,  96, 32 } },
    {  3200,  8640, { 160,  64, 32 }, { 160,  96, 32 } }, /* bitnet_b1_58-3B */
    {  3200,  3200, { 320, 128, 64 }, { 320,  96, 32 } },
    {  8640,  3200, { 320,  64, 32 }, { 320,  96, 32 } },
    { 14336,  4096, { 256, 128, 32 }, { 256,  96, 32 } }, /* Llama3-8B-1.58 */
    {  4096, 14336, { 128,  64, 64 }, { 128,  96, 32 } },
    {  1024,  4096, { 256, 128, 32 }, { 256,  96, 32 } },
    {  4096,  4096, { 128,  64, 64 }, { 128,  96, 32 } },
};
/* clang-format on */

bool bitnet_tile_known(enum bitnet_dtype type, size_t rows, size_t cols, struct bitnet_tile *tile)
{
    if (type != BITNET_DTYPE_tl1 && type != BITNET_DTYPE_tl2) return false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].rows == rows && known[i].cols == cols) {
            *tile = type == BITNET_DTYPE_tl1 ? known[i].tl1 : known[i].tl2;
            return true;
        }
    }
    return false;
}

/* The customary sizes first, then any multiple of 32, so that every legal matrix gets a tile. */
static uint32_t rows_that_divide(size_t rows)
{
    static const uint32_t customary[] = {320, 256, 160, 128, 64, 32};
    for (size_t i = 0; i < sizeof customary / sizeof customary[0]; i++) {
        if (rows % customary[i] == 0) return customary[i];
    }
    return 0;
}

bool bitnet_tile_fill(struct bitnet_layout *layout, uint32_t fallback_cols)
{
    if (layout->tile.rows || layout->tile.cols || layout->tile.sub_rows) return true;
    if (bitnet_tile_known(layout->type, layout->rows, layout->cols, &layout->tile)) return true;
    layout->tile = (struct bitnet_tile){
        .rows = rows_that_divide(layout->rows), .cols = fallback_cols, .sub_rows = 32};
    return layout->tile.rows != 0;
}
