/* Tiles of the lookup-table types: which shapes a tile fits, and which tile a shape gets when
 * nobody names one. */
#ifndef BITNET_QUANT_TILE_H
#define BITNET_QUANT_TILE_H

#include <bitnet/quant.h>

/* Fills a zero tile: the known one, else `fallback_cols` columns, sub_rows 32 and the largest
 * customary row count that divides the matrix (formats.md 3.5). False: none divides it. */
bool bitnet_tile_fill(struct bitnet_layout *layout, uint32_t fallback_cols);

#endif
