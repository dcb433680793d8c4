/* TQ1_0: 256 trits as digits in base 3, five per byte, under one binary16 scale.
 *
 *   | qs[48] | qh[4] | f16 d |
 *
 *   qs[m], m = 0 .. 31      elements m, m + 32, m + 64, m + 96, m + 128
 *   qs[32 + m], m = 0 .. 15 elements 160 + m, + 16, + 32, + 48, + 64
 *   qh[j], j = 0 .. 3       elements 240 + j, + 4, + 8, + 12, and a fifth digit 0
 *
 * The five digits t0 .. t4 make v = t0*81 + t1*27 + t2*9 + t3*3 + t4, stored as the fixed-point
 * fraction ceil(v * 256 / 243), so that multiplying by 3^n (mod 256) brings digit n to the top:
 * t_n = ((byte * 3^n mod 256) * 3) >> 8. Value = (t - 1) * d. Every byte decodes to digits.
 * Source: formats.md 5.5. */
#include "codec.h"
#include "ternary_block.h"

struct block {
    uint8_t qs[48];
    uint8_t qh[4];
    uint8_t d[2];
};
BLOCK_IS(struct block, tq1_0);

/* Where digit n of byte number m (0 .. 51) is in the block; 256 and more: nowhere. */
static size_t element_of(size_t m, size_t n)
{
    if (m < 32) return m + 32 * n;
    if (m < 48) return 160 + (m - 32) + 16 * n;
    return n < 4 ? 240 + (m - 48) + 4 * n : 256;
}

static uint8_t *byte_at(struct block *b, size_t m)
{
    return m < 48 ? b->qs + m : b->qh + (m - 48);
}

static void pack_block(const int8_t *trits, float scale, struct block *b)
{
    for (size_t m = 0; m < 52; m++) {
        unsigned v = 0;
        for (size_t n = 0; n < 5; n++) {
            const size_t e = element_of(m, n);
            v = 3 * v + (unsigned)(e < 256 ? trits[e] + 1 : 0);
        }
        *byte_at(b, m) = (uint8_t)((v * 256 + 242) / 243);
    }
    codec_store_f16(b->d, scale);
}

/* Digit n of m bytes: trits[m * n + i] from in[i]; m is a constant, so this becomes vector code. */
static inline __attribute__((always_inline)) void
digits_to_trits(const uint8_t *restrict in, size_t m, size_t n_digits, int8_t *restrict trits)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (size_t n = 0; n < n_digits; n++) {
        for (size_t i = 0; i < m; i++) {
            const unsigned top = (uint8_t)(in[i] * power[n]);
            trits[m * n + i] = (int8_t)((top * 3 >> 8) - 1);
        }
    }
}

static float unpack_block(const struct block *b, int8_t *trits)
{
    digits_to_trits(b->qs, 32, 5, trits);
    digits_to_trits(b->qs + 32, 16, 5, trits + 160);
    digits_to_trits(b->qh, 4, 4, trits + 240);
    return codec_f16(b->d);
}

static void encode_rows(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                        const float *importance, uint8_t *out)
{
    (void)importance;
    struct block *blocks = (struct block *)out;
    for (size_t i = 0; i < n_rows * layout->cols / 256; i++) {
        int8_t trits[256];
        const float scale = ternarize_block(in + 256 * i, trits);
        pack_block(trits, scale, blocks + i);
    }
}

static void decode_rows(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    const struct block *blocks = (const struct block *)in;
    for (size_t i = 0; i < n_rows * layout->cols / 256; i++) {
        int8_t trits[256];
        const float scale = unpack_block(blocks + i, trits);
        for (size_t e = 0; e < 256; e++) out[256 * i + e] = (float)trits[e] * scale;
    }
}

static enum bitnet_status decode_trits(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t n_bytes, int8_t *trits, float *scales,
                                       struct bitnet_error *err)
{
    const struct block *blocks = (const struct block *)in;
    const size_t n = layout->rows * (layout->cols / 256);
    enum bitnet_status status = codec_check_size(layout, n_bytes, n * sizeof *blocks, err);
    for (size_t i = 0; !status && i < n; i++) {
        scales[i] = unpack_block(blocks + i, trits + 256 * i);
        status = codec_check_scale(layout, i, scales[i], err);
    }
    return status;
}

static void encode_trits(const struct bitnet_layout *layout, const int8_t *trits,
                         const float *scales, uint8_t *out, size_t n_bytes)
{
    (void)layout;
    struct block *blocks = (struct block *)out;
    for (size_t i = 0; i < n_bytes / sizeof *blocks; i++) {
        pack_block(trits + 256 * i, scales[i], blocks + i);
    }
}

const struct bitnet_codec bitnet_codec_tq1_0 = {.type = BITNET_DTYPE_tq1_0,
                                                .scales = BITNET_SCALES_BLOCK,
                                                .scales_are_f16 = true,
                                                .decode_rows = decode_rows,
                                                .encode_rows = encode_rows,
                                                .decode_trits = decode_trits,
                                                .encode_trits = encode_trits};
