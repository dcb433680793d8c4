/* Packing trits into panels (panel.h) with AVX2: what panel.c does, 64 columns of a row at a time.
 *
 * Within 16 columns the four code positions are the four 32-bit lanes: shifting lane j by 2 j bits
 * (a code is at most 2, so nothing leaves its byte) and adding the lanes gives the row's four bytes
 * of a line. Two levels of horizontal addition do that for four lines at once. */
#include "../panel.h"
#include "avx2.h"

#include <immintrin.h>
#include <string.h>

/* The row's four bytes of lines 0 and 1 (and of 2 and 3) as lanes to be added. */
static __m256i shifted_codes(const int8_t *trits)
{
    const __m256i by = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    const __m256i t = _mm256_loadu_si256((const __m256i *)trits);
    return _mm256_sllv_epi32(_mm256_add_epi8(t, _mm256_set1_epi8(1)), by);
}

static void pack_64(const int8_t *trits, uint8_t *w)
{
    /* lanes: lines 0 and 2 | lines 1 and 3, each twice after the second addition */
    const __m256i pairs = _mm256_hadd_epi32(shifted_codes(trits), shifted_codes(trits + 32));
    const __m256i lines = _mm256_hadd_epi32(pairs, pairs);
    const __m128i even = _mm256_castsi256_si128(lines), odd = _mm256_extracti128_si256(lines, 1);
    const int32_t four[4] = {_mm_extract_epi32(even, 0), _mm_extract_epi32(odd, 0),
                             _mm_extract_epi32(even, 1), _mm_extract_epi32(odd, 1)};
    for (size_t g = 0; g < 4; g++) memcpy(w + g * PANEL_LINE, &four[g], 4);
}

void bitnet_avx2_panel_pack(const int8_t *trits, size_t rows, size_t cols, size_t panel, uint8_t *w)
{
    const size_t first = panel * PANEL_ROWS;
    const size_t n_rows = rows - first < PANEL_ROWS ? rows - first : PANEL_ROWS;
    if (n_rows < PANEL_ROWS) memset(w, 0x55, bitnet_panel_bytes(cols)); /* missing rows: trit 0 */
    for (size_t c = 0; c < cols; c += PANEL_COLS, w += PANEL_STEP_BYTES) {
        for (size_t r = 0; r < n_rows; r++) {
            const int8_t *from = trits + (first + r) * cols + c;
            int8_t padded[PANEL_COLS] = {0};
            if (cols - c < PANEL_COLS) memcpy(padded, from, cols - c);
            pack_64(cols - c < PANEL_COLS ? padded : from, w + 4 * r);
        }
    }
}
