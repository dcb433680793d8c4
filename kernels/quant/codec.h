/* What the files of quant/ share: the list of codecs, the numbers of dtypes.def as constants (so
 * that a block struct can be tied to its row), and the three sentences with which trit decoders
 * refuse bad bytes. */
#ifndef BITNET_QUANT_CODEC_H
#define BITNET_QUANT_CODEC_H

#include <bitnet/quant.h>

/* clang-format off */
#define CODECS(X)                                                                                  \
    X(f32) X(f16) X(bf16)                                                                          \
    X(i2_s) X(tl1) X(tl2) X(tq1_0) X(tq2_0) X(iq2_bn) X(iq2_bn_r4) X(iq1_bn) X(q2_0)               \
    X(q4_0) X(q4_1) X(q5_0) X(q5_1) X(q8_0) X(q2_k) X(q3_k) X(q4_k) X(q5_k) X(q6_k)                \
    X(iq4_nl) X(iq2_s)
/* clang-format on */

#define X(name) extern const struct bitnet_codec bitnet_codec_##name;
CODECS(X)
#undef X

/* BLOCK_q8_0 = 32, BYTES_q8_0 = 34, ROW_iq2_bn = 4, ... */
enum {
#define DTYPE(name, label, block, bytes, row, ...)                                                 \
    BLOCK_##name = block, BYTES_##name = bytes, ROW_##name = row,
#include <bitnet/dtypes.def>
#undef DTYPE
    CODEC_CONSTANTS_END
};

/* A struct of bytes that lies in the file exactly as dtypes.def says. */
#define BLOCK_IS(type, name)                                                                       \
    _Static_assert(sizeof(type) == BYTES_##name, #name ": block size differs from dtypes.def")

/* UNSUPPORTED "I2_S: cols 8640 is not a multiple of 128" unless it is. */
enum bitnet_status codec_check_multiple(const struct bitnet_layout *layout, const char *what,
                                        size_t value, size_t of, struct bitnet_error *err);
/* FORMAT, naming row, column and code. */
enum bitnet_status codec_bad_code(const struct bitnet_layout *layout, size_t row, size_t col,
                                  unsigned code, struct bitnet_error *err);
/* OK when the scale is finite, else FORMAT with its index. */
enum bitnet_status codec_check_scale(const struct bitnet_layout *layout, size_t index, float scale,
                                     struct bitnet_error *err);
/* OK when n_bytes is what the layout needs, else FORMAT with both. */
enum bitnet_status codec_check_size(const struct bitnet_layout *layout, size_t n_bytes, size_t need,
                                    struct bitnet_error *err);

static inline float codec_f16(const uint8_t *at)
{
    return bitnet_f16_to_f32(bitnet_load_u16(at));
}

static inline void codec_store_f16(uint8_t *at, float value)
{
    bitnet_store_u16(at, bitnet_f32_to_f16(value));
}

#endif
