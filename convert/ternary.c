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

void floats_load(const struct loops *loops, enum st_kind kind, const uint8_t *in, size_t n,
                 float *out)
{
    switch (kind) {
    case ST_F32:
        bitnet_load_f32s(in, n, out);
        break;
    case ST_BF16:
        loops->load_bf16(in, n, out);
        break;
    case ST_F16:
        loops->load_f16(in, n, out);
        break;
    case ST_F64:
        for (size_t i = 0; i < n; i++) out[i] = (float)bitnet_load_f64(in + 8 * i);
        break;
    default:
        assert(false && "a dtype that is no float");
    }
}

const float *floats_in_place(enum st_kind kind, const uint8_t *in)
{
    bool is_aligned = (uintptr_t)in % _Alignof(float) == 0;
    return kind == ST_F32 && BITNET_IS_LITTLE_ENDIAN && is_aligned ? (const float *)(const void *)in
                                                                   : NULL;
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

void ternary_unpack_row(const uint8_t *packed, size_t rows, size_t cols, size_t row, int8_t *trits)
{
    size_t packed_rows = (rows + 3) / 4;
    unsigned shift = (unsigned)(row / packed_rows) * 2;
    const uint8_t *in = packed + row % packed_rows * cols;
    for (size_t c = 0; c < cols; c++) trits[c] = (int8_t)((int)(in[c] >> shift & 3) - 1);
}
