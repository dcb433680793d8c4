/* The body of a set of loops: included once by each file that makes one, which defines LOOPS (the
 * set), LOOPS_NAME and LOOPS_NEEDS before, and is compiled with its own instructions. Lanes of a
 * fixed number in local arrays let every compiler use its vectors; what a loop computes is stated
 * in loops.h. */
#include "loops.h"

#include <math.h>
#include <string.h>

#include <bitnet/bytes.h>

enum { LANES = 16, AHEAD_FLOATS = 512 };

/* gcc would unroll a loop over lanes before it looks for vectors, and then find none. */
#if defined(__GNUC__) && !defined(__clang__)
#    define FOR_LANES _Pragma("GCC unroll 1") for
#else
#    define FOR_LANES for
#endif

static inline uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t magnitude_of(float x)
{
    return bits_of(x) & 0x7fffffffu;
}

/* Rows come straight from a mapped file, in order: what is needed two kilobytes later is asked for
 * now, so that memory and arithmetic work at the same time. */
static inline void ask_ahead(const float *x)
{
    __builtin_prefetch((const char *)x + AHEAD_FLOATS * sizeof *x);
}

/* --- 16-bit floats --- */

/* `yes` where the condition holds, else `no`: in bits, so that both are always computed. (With ?:
 * the compiler keeps a branch, because a float operation could trap, and then finds no vectors.) */
static inline uint32_t select_bits(int condition, uint32_t yes, uint32_t no)
{
    uint32_t mask = 0u - (uint32_t)condition;
    return (yes & mask) | (no & ~mask);
}

/* Exponent and fraction in their new places, times 2^112: the bias of f32 is larger by that, and a
 * subnormal becomes the normal number it stands for. */
static inline float f16_value(uint32_t h)
{
    uint32_t size = h & 0x7fffu, finite = bits_of(float_of(size << 13) * 0x1p112f);
    uint32_t special = size << 13 | 0x7f800000u; /* infinity, NaN with its payload */
    return float_of((h & 0x8000u) << 16 | select_bits(size >= 0x7c00u, special, finite));
}

static void load_f16(const uint8_t *in, size_t n, float *out)
{
    uint16_t h[LANES];
    size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        bitnet_load_u16s(in + 2 * i, LANES, h);
        FOR_LANES(size_t l = 0; l < LANES; l++) out[i + l] = f16_value(h[l]);
    }
    for (size_t i = whole; i < n; i++) out[i] = f16_value(bitnet_load_u16(in + 2 * i));
}

static void load_bf16(const uint8_t *in, size_t n, float *out)
{
    uint16_t h[LANES];
    size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        bitnet_load_u16s(in + 2 * i, LANES, h);
        FOR_LANES(size_t l = 0; l < LANES; l++) out[i + l] = float_of((uint32_t)h[l] << 16);
    }
    for (size_t i = whole; i < n; i++)
        out[i] = float_of((uint32_t)bitnet_load_u16(in + 2 * i) << 16);
}

/* --- measuring and rounding --- */

static uint32_t largest(const float *x, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) most = magnitude_of(x[i]) > most ? magnitude_of(x[i]) : most;
    return most;
}

/* One step of all lanes. */
static inline void measure_lanes(const float *x, double *sum, uint32_t *most, uint32_t *least)
{
    FOR_LANES(size_t l = 0; l < LANES; l++)
    {
        uint32_t magnitude = magnitude_of(x[l]);
        sum[l] += (double)float_of(magnitude);
        most[l] = magnitude > most[l] ? magnitude : most[l];
        uint32_t below = magnitude - 1; /* zero wraps to the top and so never is the smallest */
        least[l] = below < least[l] ? below : least[l];
    }
}

static void measure_row(const float *x, size_t n, struct row_facts *facts)
{
    double sum[LANES] = {0};
    uint32_t most[LANES] = {0}, least[LANES];
    float tail[LANES] = {0}; /* a zero changes nothing */
    memset(least, 0xff, sizeof least);
    size_t whole = n - n % LANES;
    for (size_t c = 0; c < whole; c += LANES) {
        ask_ahead(x + c);
        measure_lanes(x + c, sum, most, least);
    }
    if (whole < n) {
        memcpy(tail, x + whole, (n - whole) * sizeof *x);
        measure_lanes(tail, sum, most, least);
    }
    for (size_t step = LANES / 2; step > 0; step /= 2)
        for (size_t l = 0; l < step; l++) {
            sum[l] += sum[l + step];
            if (most[l + step] > most[l]) most[l] = most[l + step];
            if (least[l + step] < least[l]) least[l] = least[l + step];
        }
    facts->sum_abs = sum[0];
    facts->largest = most[0];
    facts->smallest = least[0] == 0xffffffffu ? TERNARY_ALL_ZERO : least[0] + 1;
}

static inline void round_lanes(const float *restrict x, float inverse, size_t n,
                               int8_t *restrict trits)
{
    FOR_LANES(size_t l = 0; l < n; l++)
    {
        float v = x[l] * inverse; /* exactly 0.5 goes to the even neighbour, which is 0 */
        trits[l] = (int8_t)((v > 0.5f) - (v < -0.5f));
    }
}

static void round_row(const float *x, size_t n, float inverse, int8_t *trits)
{
    size_t whole = n - n % LANES;
    for (size_t c = 0; c < whole; c += LANES) {
        ask_ahead(x + c);
        round_lanes(x + c, inverse, LANES, trits + c);
    }
    round_lanes(x + whole, inverse, n - whole, trits + whole);
}

static void sign_row(const float *restrict x, size_t n, int8_t *restrict trits)
{
    for (size_t c = 0; c < n; c++) trits[c] = (int8_t)((x[c] > 0) - (x[c] < 0));
}

/* --- for the proof --- */

/* Adding 1.5 * 2^23 leaves no room for a fraction, so the hardware rounds half to even. (Where |v|
 * is too large for that there is nothing to round, and the sign is kept.) */
static inline void nearest_trits(const float *restrict x, float inverse, size_t n,
                                 int8_t *restrict trits)
{
    FOR_LANES(size_t l = 0; l < n; l++)
    {
        float v = x[l] * inverse;
        v = (v + 12582912.0f) - 12582912.0f;
        trits[l] = (int8_t)((v > 0) - (v < 0));
    }
}

static inline void sum_lanes(const float *x, double *sum)
{
    FOR_LANES(size_t l = 0; l < LANES / 2; l++)
    sum[l] += fabs((double)x[l]) + fabs((double)x[l + LANES / 2]);
}

static double expect_rounded(const float *x, size_t n, float inverse, int8_t *trits)
{
    double sum[LANES / 2] = {0}, all = 0;
    size_t whole = n - n % LANES;
    for (size_t c = 0; c < whole; c += LANES) {
        ask_ahead(x + c);
        nearest_trits(x + c, inverse, LANES, trits + c);
        sum_lanes(x + c, sum);
    }
    nearest_trits(x + whole, inverse, n - whole, trits + whole);
    for (size_t c = whole; c < n; c++) all += fabs((double)x[c]);
    for (size_t l = 0; l < LANES / 2; l++) all += sum[l];
    return all;
}

static void expect_signs(const float *restrict x, size_t n, float scale, int8_t *restrict trits)
{
    for (size_t c = 0; c < n; c++)
        trits[c] = (int8_t)(x[c] == 0 ? 0 : x[c] == scale ? 1 : x[c] == -scale ? -1 : 2);
}

static double largest_difference(const float *a, const float *b, size_t n)
{
    enum { HALF = LANES / 2 };
    double worst[HALF] = {0};
    size_t whole = n - n % HALF;
    for (size_t c = 0; c < whole; c += HALF) FOR_LANES(size_t l = 0; l < HALF; l++)
        {
            double d = fabs((double)a[c + l] - (double)b[c + l]);
            worst[l] = d > worst[l] ? d : worst[l];
        }
    for (size_t c = whole; c < n; c++) worst[0] = fmax(worst[0], fabs((double)a[c] - (double)b[c]));
    for (size_t l = 1; l < HALF; l++) worst[0] = fmax(worst[0], worst[l]);
    return worst[0];
}

const struct loops LOOPS = {.name = LOOPS_NAME,
                            .needs = LOOPS_NEEDS,
                            .load_f16 = load_f16,
                            .load_bf16 = load_bf16,
                            .measure_row = measure_row,
                            .largest = largest,
                            .round_row = round_row,
                            .sign_row = sign_row,
                            .expect_rounded = expect_rounded,
                            .expect_signs = expect_signs,
                            .largest_difference = largest_difference};
