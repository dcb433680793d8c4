/* The table of codecs, and the questions that every type answers the same way: what shapes it can
 * hold, how many scales it keeps, how many bytes its rows take. Source of truth: dtypes.def and
 * the codec rows themselves. */
#include "codec.h"

#include <math.h>

const struct bitnet_codec *bitnet_codec(enum bitnet_dtype type)
{
    static const struct bitnet_codec *const table[BITNET_DTYPE_COUNT] = {
#define X(name) [BITNET_DTYPE_##name] = &bitnet_codec_##name,
        CODECS(X)
#undef X
    };
    return (unsigned)type < BITNET_DTYPE_COUNT ? table[type] : NULL;
}

enum bitnet_status bitnet_layout_check(struct bitnet_layout *layout, struct bitnet_error *err)
{
    const struct bitnet_dtype_info *info = bitnet_dtype_info(layout->type);
    if (layout->rows == 0 || layout->cols == 0) {
        return bitnet_fail(err, BITNET_UNSUPPORTED, "%s: a matrix of %zu x %zu is empty",
                           info->label, layout->rows, layout->cols);
    }
    enum bitnet_status status =
        codec_check_multiple(layout, "cols", layout->cols, info->block, err);
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    if (!status && codec && codec->check) status = codec->check(layout, err);
    return status;
}

size_t bitnet_scale_count(const struct bitnet_layout *layout)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    switch (codec ? codec->scales : BITNET_SCALES_NONE) {
    case BITNET_SCALES_TENSOR:
        return 1;
    case BITNET_SCALES_ROW:
        return layout->rows;
    case BITNET_SCALES_BLOCK:
        return layout->rows * (layout->cols / bitnet_dtype_info(layout->type)->block);
    case BITNET_SCALES_NONE:
        break;
    }
    return 0;
}

size_t bitnet_rows_bytes(const struct bitnet_layout *layout, size_t n_rows)
{
    const struct bitnet_dtype_info *info = bitnet_dtype_info(layout->type);
    return n_rows * (info->row_bytes + layout->cols / info->block * info->block_bytes);
}

enum bitnet_status codec_check_multiple(const struct bitnet_layout *layout, const char *what,
                                        size_t value, size_t of, struct bitnet_error *err)
{
    if (value % of == 0) return BITNET_OK;
    return bitnet_fail(err, BITNET_UNSUPPORTED, "%s: %s %zu is not a multiple of %zu",
                       bitnet_dtype_info(layout->type)->label, what, value, of);
}

enum bitnet_status codec_bad_code(const struct bitnet_layout *layout, size_t row, size_t col,
                                  unsigned code, struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_FORMAT, "%s: row %zu, column %zu has code %u, which is no trit",
                       bitnet_dtype_info(layout->type)->label, layout->first_row + row, col, code);
}

enum bitnet_status codec_check_scale(const struct bitnet_layout *layout, size_t index, float scale,
                                     struct bitnet_error *err)
{
    if (isfinite(scale)) return BITNET_OK;
    size_t per_row = bitnet_scale_count(layout) / layout->rows; /* 0: one for the tensor */
    return bitnet_fail(err, BITNET_FORMAT, "%s: scale %zu is %f",
                       bitnet_dtype_info(layout->type)->label, layout->first_row * per_row + index,
                       (double)scale);
}

enum bitnet_status codec_check_size(const struct bitnet_layout *layout, size_t n_bytes, size_t need,
                                    struct bitnet_error *err)
{
    if (n_bytes == need) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "%s: a matrix of %zu x %zu takes %zu bytes, not %zu",
                       bitnet_dtype_info(layout->type)->label, layout->rows, layout->cols, need,
                       n_bytes);
}
