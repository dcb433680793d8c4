/* The ternary product with SDOT: no 16-bit sums, four products per lane and instruction. */
#include "neon.h"
#include "sdot.h"

static size_t tile_of(const uint8_t *w, size_t cols, const int8_t *x, size_t x_stride, size_t n,
                      int32_t sums[TILE][PANEL_ROWS])
{
    if (n >= 4) return sdot_tile(w, cols, x, x_stride, 4, sums), 4;
    if (n >= 2) return sdot_tile(w, cols, x, x_stride, 2, sums), 2;
    return sdot_tile(w, cols, x, x_stride, 1, sums), 1;
}

#include "../panel_driver.h"

const struct bitnet_ternary_path bitnet_dotprod_ternary = {.name = "panel16",
                                                           .panel_rows = PANEL_ROWS,
                                                           .panel_bytes = bitnet_panel_bytes,
                                                           .pack = bitnet_panel_pack,
                                                           .matmul = matmul};
