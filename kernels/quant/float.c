/* F32, F16 and BF16: one number per weight, little-endian, rows after rows. Rounding to the
 * narrower types is to nearest even, as bitnet_f32_to_f16() and _bf16() define it (formats.md
 * 5.9). Here the same is said without branches and for many numbers at once, so that compilers find
 * vectors; tests/kernels/test_quant.c compares both for all classes of floats. */
#include "codec.h"

enum { LANES = 64 };

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* --- one number --- */

/* `yes` where the condition holds, else `no`: in bits, so that both are always computed. (With ?:
 * the compiler keeps a branch, because a float operation could trap, and then finds no vectors.) */
static inline uint32_t select_bits(int condition, uint32_t yes, uint32_t no)
{
    const uint32_t mask = 0u - (uint32_t)condition;
    return (yes & mask) | (no & ~mask);
}

/* As f32 with the bias of f32: 2^112 times too small, and exactly so, subnormals too. */
static inline float from_f16(uint32_t h)
{
    const uint32_t size = h & 0x7fffu, finite = bits_of(float_of(size << 13) * 0x1p112f);
    const uint32_t special = size << 13 | 0x7f800000u;
    return float_of((h & 0x8000u) << 16 | select_bits(size >= 0x7c00u, special, finite));
}

/* Below 2^-14 a number is a multiple of 2^-24, which is what remains of it when 0.5 is added. */
static inline uint32_t to_f16(float x)
{
    const uint32_t size = bits_of(x) & 0x7fffffffu, sign = bits_of(x) >> 16 & 0x8000u;
    const uint32_t odd = size >> 13 & 1u;
    const uint32_t normal = (size - (112u << 23) + 0xfffu + odd) >> 13;
    const uint32_t small = bits_of(float_of(size) + 0.5f) - bits_of(0.5f);
    const uint32_t payload = size >> 13 & 0x3ffu;
    const uint32_t nan = 0x7c00u | (payload ? payload : 0x200u);
    uint32_t h = select_bits(size < 0x38800000u, small, normal);
    h = select_bits(size >= 0x47800000u, 0x7c00u, h);
    return sign | select_bits(size > 0x7f800000u, nan, h);
}

static inline uint32_t to_bf16(float x)
{
    const uint32_t bits = bits_of(x), rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return (bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u : rounded;
}

/* --- many --- */

#define DECODE(name, from)                                                                         \
    static void name(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,         \
                     float *out)                                                                   \
    {                                                                                              \
        uint16_t h[LANES];                                                                         \
        for (size_t at = 0, n = n_rows * layout->cols; at < n; at += LANES) {                      \
            const size_t n_now = n - at < LANES ? n - at : LANES;                                  \
            bitnet_load_u16s(in + 2 * at, n_now, h);                                               \
            for (size_t i = 0; i < n_now; i++) out[at + i] = from(h[i]);                           \
        }                                                                                          \
    }

#define ENCODE(name, to)                                                                           \
    static void name(const struct bitnet_layout *layout, const float *in, size_t n_rows,           \
                     const float *importance, uint8_t *out)                                        \
    {                                                                                              \
        uint16_t h[LANES];                                                                         \
        (void)importance;                                                                          \
        for (size_t at = 0, n = n_rows * layout->cols; at < n; at += LANES) {                      \
            const size_t n_now = n - at < LANES ? n - at : LANES;                                  \
            for (size_t i = 0; i < n_now; i++) h[i] = (uint16_t)to(in[at + i]);                    \
            bitnet_store_u16s(out + 2 * at, h, n_now);                                             \
        }                                                                                          \
    }

static inline float from_bf16(uint32_t h)
{
    return float_of(h << 16);
}

DECODE(decode_f16, from_f16)
DECODE(decode_bf16, from_bf16)
ENCODE(encode_f16, to_f16)
ENCODE(encode_bf16, to_bf16)

static void decode_f32(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                       float *out)
{
    bitnet_load_f32s(in, n_rows * layout->cols, out);
}

static void encode_f32(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                       const float *importance, uint8_t *out)
{
    (void)importance;
    bitnet_store_f32s(out, in, n_rows * layout->cols);
}

const struct bitnet_codec bitnet_codec_f32 = {
    .type = BITNET_DTYPE_f32, .decode_rows = decode_f32, .encode_rows = encode_f32};
const struct bitnet_codec bitnet_codec_f16 = {
    .type = BITNET_DTYPE_f16, .decode_rows = decode_f16, .encode_rows = encode_f16};
const struct bitnet_codec bitnet_codec_bf16 = {
    .type = BITNET_DTYPE_bf16, .decode_rows = decode_bf16, .encode_rows = encode_bf16};
