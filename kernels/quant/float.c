/* F32, F16 and BF16: one number per weight, little-endian, rows after rows. Rounding to the
 * narrower types is to nearest even, as bitnet_f32_to_f16() and _bf16() define it (formats.md
 * 5.9). */
#include "codec.h"

static void decode_f32(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                       float *out)
{
    for (size_t i = 0, n = n_rows * layout->cols; i < n; i++) out[i] = bitnet_load_f32(in + 4 * i);
}

static void encode_f32(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                       const float *importance, uint8_t *out)
{
    (void)importance;
    for (size_t i = 0, n = n_rows * layout->cols; i < n; i++) bitnet_store_f32(out + 4 * i, in[i]);
}

static void decode_f16(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                       float *out)
{
    for (size_t i = 0, n = n_rows * layout->cols; i < n; i++) out[i] = codec_f16(in + 2 * i);
}

static void encode_f16(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                       const float *importance, uint8_t *out)
{
    (void)importance;
    for (size_t i = 0, n = n_rows * layout->cols; i < n; i++) codec_store_f16(out + 2 * i, in[i]);
}

static void decode_bf16(const struct bitnet_layout *layout, const uint8_t *in, size_t n_rows,
                        float *out)
{
    for (size_t i = 0, n = n_rows * layout->cols; i < n; i++) {
        out[i] = bitnet_bf16_to_f32(bitnet_load_u16(in + 2 * i));
    }
}

static void encode_bf16(const struct bitnet_layout *layout, const float *in, size_t n_rows,
                        const float *importance, uint8_t *out)
{
    (void)importance;
    for (size_t i = 0, n = n_rows * layout->cols; i < n; i++) {
        bitnet_store_u16(out + 2 * i, bitnet_f32_to_bf16(in[i]));
    }
}

const struct bitnet_codec bitnet_codec_f32 = {
    .type = BITNET_DTYPE_f32, .decode_rows = decode_f32, .encode_rows = encode_f32};
const struct bitnet_codec bitnet_codec_f16 = {
    .type = BITNET_DTYPE_f16, .decode_rows = decode_f16, .encode_rows = encode_f16};
const struct bitnet_codec bitnet_codec_bf16 = {
    .type = BITNET_DTYPE_bf16, .decode_rows = decode_bf16, .encode_rows = encode_bf16};
