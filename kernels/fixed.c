/* Activations in fixed point, for the block kernels (<bitnet/kernels.h>): plain C for all sets,
 * because it is done once per token and matrix, and the same bits everywhere. */
#include <bitnet/bytes.h>
#include <bitnet/kernels.h>

#include <math.h>
#include <string.h>

#define FIXED_MAX 8355000.0          /* a little below 127 * 65536 + 127 * 256 + 127 */
#define ROUND     6755399441055744.0 /* 1.5 * 2^52: adding it rounds to integers, half to even */

size_t bitnet_fixed_bytes(size_t n)
{
    return (n + 63) / 64 * 64 / BITNET_FIXED_COLS * BITNET_FIXED_BYTES;
}

static int32_t nearest(float v)
{
    double shifted = (double)v + ROUND;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (int32_t)(uint32_t)bits;
}

/* Splits X into signed bytes, X = 65536 high + 256 middle + low. */
static void put_column(uint8_t *group, size_t i, int32_t x, int32_t *sum_high, int32_t *sum_low)
{
    const int32_t low = (int8_t)(uint8_t)x, rest = (x - low) >> 8;
    const int32_t middle = (int8_t)(uint8_t)rest, high = (rest - middle) >> 8;
    group[i] = (uint8_t)low;
    group[BITNET_FIXED_COLS + i] = (uint8_t)middle;
    group[2 * BITNET_FIXED_COLS + i] = (uint8_t)high;
    *sum_high += high;
    *sum_low += 256 * middle + low;
}

static void put_group(uint8_t *group, const float *x, size_t n, float s)
{
    int32_t sum_high = 0, sum_low = 0;
    for (size_t i = 0; i < n; i++) {
        put_column(group, i, nearest(x[i] * s), &sum_high, &sum_low);
    }
    const int32_t sums[4] = {sum_high, sum_low, -32 * sum_high, -32 * sum_low};
    memcpy(group + 3 * BITNET_FIXED_COLS, sums, sizeof sums);
}

float bitnet_fixed_row(const float *x, size_t n, uint8_t *fixed)
{
    float amax = 0;
    bool finite = true;
    for (size_t c = 0; c < n; c++) {
        if (!isfinite(x[c])) finite = false;
        if (fabsf(x[c]) > amax) amax = fabsf(x[c]);
    }
    memset(fixed, 0, bitnet_fixed_bytes(n));
    if (!finite) return NAN;
    const float s = (float)(FIXED_MAX / fmax((double)amax, 1e-30));
    for (size_t c = 0; c < n; c += BITNET_FIXED_COLS, fixed += BITNET_FIXED_BYTES) {
        put_group(fixed, x + c, n - c < BITNET_FIXED_COLS ? n - c : BITNET_FIXED_COLS, s);
    }
    return s;
}
