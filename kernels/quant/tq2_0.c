/* TQ2_0: 256 trits as two-bit codes under one binary16 scale.
 *
 *   | qs[64] | f16 d |
 *
 *   byte 32 h + m, h = 0, 1   |7 6|5 4|3 2|1 0|     m = 0 .. 31
 *   element 128 h +            96+m 64+m 32+m m
 *
 * Codes 0, 1, 2 for -1, 0, +1; value = (code - 1) * d. Code 3 is never written; as numbers it
 * reads +2, as a trit it is refused. Source: formats.md 5.6. */
#include "codec.h"
#include "codes.h"
#include "ternary_block.h"

struct block {
    uint8_t qs[64];
    uint8_t d[2];
};
BLOCK_IS(struct block, tq2_0);

static unsigned code_at(const struct block *b, size_t e)
{
    return b->qs[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3u;
}

static void pack_block(const int8_t *trits, float scale, struct block *b)
{
    for (size_t h = 0; h < 2; h++) trits_to_codes(trits + 128 * h, 32, 0, 2, b->qs + 32 * h);
    codec_store_f16(b->d, scale);
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
    for (size_t i = 0; i < n_rows * layout->cols; i++) {
        const struct block *b = blocks + i / 256;
        out[i] = ((float)code_at(b, i % 256) - 1) * codec_f16(b->d);
    }
}

/* Names the first code 3 of a block that has one. */
static enum bitnet_status refuse_block(const struct bitnet_layout *layout, const struct block *b,
                                       size_t first, struct bitnet_error *err)
{
    size_t e = 0;
    while (code_at(b, e) != 3) e++;
    e += first;
    return codec_bad_code(layout, e / layout->cols, e % layout->cols, 3, err);
}

static enum bitnet_status decode_trits(const struct bitnet_layout *layout, const uint8_t *in,
                                       size_t n_bytes, int8_t *trits, float *scales,
                                       struct bitnet_error *err)
{
    const struct block *blocks = (const struct block *)in;
    const size_t n = layout->rows * layout->cols / 256;
    enum bitnet_status status = codec_check_size(layout, n_bytes, n * sizeof *blocks, err);
    for (size_t i = 0; !status && i < n; i++) {
        const struct block *b = blocks + i;
        if (codes_have_3(b->qs, sizeof b->qs)) return refuse_block(layout, b, 256 * i, err);
        codes_to_trits(b->qs, 32, 0, 2, trits + 256 * i);
        codes_to_trits(b->qs + 32, 32, 0, 2, trits + 256 * i + 128);
        scales[i] = codec_f16(b->d);
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

const struct bitnet_codec bitnet_codec_tq2_0 = {.type = BITNET_DTYPE_tq2_0,
                                                .scales = BITNET_SCALES_BLOCK,
                                                .scales_are_f16 = true,
                                                .decode_rows = decode_rows,
                                                .encode_rows = encode_rows,
                                                .decode_trits = decode_trits,
                                                .encode_trits = encode_trits};
