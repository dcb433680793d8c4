/* Ternary products by table lookup, beside those that the sets use: to be checked and timed
 * (lookup_driver.h). */
#ifndef BITNET_KERNELS_LOOKUP_H
#define BITNET_KERNELS_LOOKUP_H

#include <bitnet/kernels.h>

extern const struct bitnet_ternary_path bitnet_ssse3_lookup;
extern const struct bitnet_ternary_path bitnet_avx2_lookup;
extern const struct bitnet_ternary_path bitnet_avx512_lookup;
extern const struct bitnet_ternary_path bitnet_neon_lookup;

#endif
