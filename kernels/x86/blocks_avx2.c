/* The product over block panels (block_panel.h) with AVX2. */
#include "avx2.h"
#include "blocks_avx2.h"

/* Levels of 4 or 6 bits: pairs of products are at most 2 * 63 * 128 = 16128 in magnitude, two of
 * them 32256 < 32768. */
INLINE bp_int narrow_dot(bp_int acc, const bp_int codes[4], const int8_t *x)
{
    UNROLL for (size_t j = 0; j < 4; j += 2)
    {
        const __m256i a = _mm256_maddubs_epi16(codes[j], bp_four(x + 4 * j));
        const __m256i b = _mm256_maddubs_epi16(codes[j + 1], bp_four(x + 4 * j + 4));
        const __m256i pairs = _mm256_madd_epi16(_mm256_add_epi16(a, b), _mm256_set1_epi16(1));
        acc = _mm256_add_epi32(acc, pairs);
    }
    return acc;
}

/* Levels of 8 bits would not fit: 16 * upper nibble + lower nibble. */
INLINE bp_int bp_dot(bp_int acc, const bp_int codes[4], const int8_t *x, bool wide)
{
    if (!wide) return narrow_dot(acc, codes, x);
    bp_int upper[4], lower[4];
    UNROLL for (size_t j = 0; j < 4; j++)
    {
        upper[j] = bp_nibbles(codes[j], true);
        lower[j] = bp_nibbles(codes[j], false);
    }
    const bp_int sixteenths = narrow_dot(bp_zero(), upper, x);
    return _mm256_add_epi32(narrow_dot(acc, lower, x), bp_shl(sixteenths, 4));
}

#include "../block_driver.h"

const struct bitnet_block_path bitnet_avx2_blocks_q6_k = BLOCK_PANEL_PATH(q6_k, matmul_q6_k);
const struct bitnet_block_path bitnet_avx2_blocks_q4_0 = BLOCK_PANEL_PATH(q4_0, matmul_q4_0);
const struct bitnet_block_path bitnet_avx2_blocks_q8_0 = BLOCK_PANEL_PATH(q8_0, matmul_q8_0);
