/* How a checkpoint's numbers become trits.
 *
 * Masters by absmean: s = 1 / max(mean|W|, 1e-5), trit = clamp(round_half_even(W * s), -1, 1),
 * scale 1 / s; in f32, as transformers' BitNet integration and the GGUF converters compute it. They
 * leave the order of the sum in the mean to torch, whose result depends on its version and the CPU;
 * ours is a sum in double of a fixed order, so the mean is the correctly rounded one but for the
 * rarest of ties, and may differ from theirs in the last bits. A weight changes its trit only if
 * |W| * s lies within those last bits of 0.5.
 *
 * Packed: two bits per trit, four row groups interleaved (transformers' pack_weights). */
#include "ternary.h"

#include <assert.h>

#include "bitnet/dtype.h"

#define LANES 16

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

void floats_load(enum st_kind kind, const uint8_t *in, size_t n, float *out)
{
    switch (kind) {
    case ST_F32:
        for (size_t i = 0; i < n; i++) out[i] = bitnet_load_f32(in + 4 * i);
        break;
    case ST_BF16:
        for (size_t i = 0; i < n; i++)
            out[i] = ternary_magnitude((uint32_t)bitnet_load_u16(in + 2 * i) << 16);
        break;
    case ST_F16:
        for (size_t i = 0; i < n; i++) out[i] = bitnet_f16_to_f32(bitnet_load_u16(in + 2 * i));
        break;
    case ST_F64:
        for (size_t i = 0; i < n; i++) out[i] = (float)bitnet_load_f64(in + 8 * i);
        break;
    default:
        assert(false && "a dtype that is no float");
    }
}

uint32_t floats_largest(const float *x, size_t n)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t magnitude = bits_of(x[i]) & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* One step of all lanes. A fixed trip count lets every compiler use its vectors. */
static void measure_lanes(const float *x, double *sum, uint32_t *largest, uint32_t *smallest)
{
    for (size_t l = 0; l < LANES; l++) {
        uint32_t magnitude = bits_of(x[l]) & 0x7fffffffu;
        sum[l] += (double)ternary_magnitude(magnitude);
        largest[l] = magnitude > largest[l] ? magnitude : largest[l];
        uint32_t below = magnitude - 1; /* zero wraps to the top and so never is the smallest */
        smallest[l] = below < smallest[l] ? below : smallest[l];
    }
}

void ternary_measure_row(const float *x, size_t n, struct row_facts *facts)
{
    double sum[LANES] = {0};
    uint32_t largest[LANES] = {0}, smallest[LANES];
    float tail[LANES] = {0}; /* a zero changes nothing */
    memset(smallest, 0xff, sizeof smallest);
    size_t whole = n - n % LANES;
    for (size_t c = 0; c < whole; c += LANES) measure_lanes(x + c, sum, largest, smallest);
    if (whole < n) {
        memcpy(tail, x + whole, (n - whole) * sizeof *x);
        measure_lanes(tail, sum, largest, smallest);
    }
    for (size_t step = LANES / 2; step > 0; step /= 2)
        for (size_t l = 0; l < step; l++) {
            sum[l] += sum[l + step];
            if (largest[l + step] > largest[l]) largest[l] = largest[l + step];
            if (smallest[l + step] < smallest[l]) smallest[l] = smallest[l + step];
        }
    facts->sum_abs = sum[0];
    facts->largest = largest[0];
    facts->smallest = smallest[0] == 0xffffffffu ? TERNARY_ALL_ZERO : smallest[0] + 1;
}

struct absmean ternary_absmean(const struct row_facts *facts, size_t rows, size_t cols)
{
    double sum = 0;
    for (size_t r = 0; r < rows; r++) sum += facts[r].sum_abs;
    float mean = (float)(sum / ((double)rows * (double)cols));
    struct absmean result;
    result.inverse = 1.0f / (mean > 1e-5f ? mean : 1e-5f);
    result.scale = 1.0f / result.inverse;
    return result;
}

void ternary_round_row(const float *x, size_t n, float inverse, int8_t *trits)
{
    for (size_t c = 0; c < n; c++) {
        float v = x[c] * inverse; /* exactly 0.5 goes to the even neighbour, which is 0 */
        trits[c] = (int8_t)((v > 0.5f) - (v < -0.5f));
    }
}

void ternary_sign_row(const float *x, size_t n, int8_t *trits)
{
    for (size_t c = 0; c < n; c++) trits[c] = (int8_t)((x[c] > 0) - (x[c] < 0));
}

void ternary_unpack_row(const uint8_t *packed, size_t rows, size_t cols, size_t row, int8_t *trits)
{
    size_t packed_rows = (rows + 3) / 4;
    unsigned shift = (unsigned)(row / packed_rows) * 2;
    const uint8_t *in = packed + row % packed_rows * cols;
    for (size_t c = 0; c < cols; c++) trits[c] = (int8_t)((int)(in[c] >> shift & 3) - 1);
}
