/* Ternary products by table lookup, beside those that the sets use: to be checked and timed. Pairs
 * of trits as in TL1 (lookup_driver.h), triples as in TL2 (lookup_triples.h). */
#ifndef BITNET_KERNELS_LOOKUP_H
#define BITNET_KERNELS_LOOKUP_H

#include <bitnet/kernels.h>

extern const struct bitnet_ternary_path bitnet_ssse3_lookup;
extern const struct bitnet_ternary_path bitnet_avx2_lookup;
extern const struct bitnet_ternary_path bitnet_avx512_lookup;
extern const struct bitnet_ternary_path bitnet_neon_lookup;

extern const struct bitnet_ternary_path bitnet_ssse3_triples;
extern const struct bitnet_ternary_path bitnet_avx2_triples;
extern const struct bitnet_ternary_path bitnet_avx512_triples;
extern const struct bitnet_ternary_path bitnet_avx512vbmi_triples;
extern const struct bitnet_ternary_path bitnet_neon_triples;

#endif
