/* Looks at every weight of a GGUF: ternary types through their trits (a code that no trit has is an
 * error there), all others row by row as floats. What comes in is an open file, what goes out is a
 * verdict; nothing is kept. Which bytes mean what is known by kernels/quant alone. */
#include "bitnet/check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "bitnet/alloc.h"
#include "bitnet/quant.h"
#include "bitnet/text.h"

/* Floats decoded at a time, rounded up to whole rows. */
#define CHUNK_FLOATS 65536

static enum bitnet_status out_of_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

static enum bitnet_status layout_of(const struct bitnet_tensor *tensor,
                                    struct bitnet_layout *layout, struct bitnet_error *err)
{
    uint64_t rows = tensor->dims[1] * tensor->dims[2] * tensor->dims[3]; /* open: below 2^63 */
    *layout = (struct bitnet_layout){.type = tensor->type};
    if (bitnet_to_size(tensor->dims[0], &layout->cols) && bitnet_to_size(rows, &layout->rows))
        return BITNET_OK;
    return bitnet_fail(err, BITNET_LIMIT, "shape is too large for this machine");
}

/* ------------------------------------------------------------------ tiles */

static enum bitnet_status tile_number(const struct bitnet_gguf *gguf,
                                      const struct bitnet_layout *layout, const char *field,
                                      uint32_t *number, struct bitnet_error *err)
{
    char key[96];
    uint64_t value = 0;
    snprintf(key, sizeof key, "bitnet.tl.%zux%zu.%s", layout->rows, layout->cols, field);
    enum bitnet_status status =
        bitnet_gguf_u64(gguf, key, 1, 65536, BITNET_GGUF_OPTIONAL, &value, err);
    *number = (uint32_t)value;
    return status;
}

/* The file's own word, else the published table. (formats.md 3.5) */
static enum bitnet_status find_tile(const struct bitnet_gguf *gguf, struct bitnet_layout *layout,
                                    struct bitnet_error *err)
{
    struct bitnet_tile *tile = &layout->tile;
    enum bitnet_status status = tile_number(gguf, layout, "bm", &tile->rows, err);
    if (!status) status = tile_number(gguf, layout, "bk", &tile->cols, err);
    if (!status) status = tile_number(gguf, layout, "bmm", &tile->sub_rows, err);
    if (status || (tile->rows && tile->cols && tile->sub_rows)) return status;
    if (bitnet_tile_known(layout->type, layout->rows, layout->cols, tile)) return BITNET_OK;
    return bitnet_fail(err, BITNET_UNSUPPORTED,
                       "%s: the file does not say the tile for shape %zu x %zu",
                       bitnet_dtype_info(layout->type)->label, layout->rows, layout->cols);
}

static bool is_tiled(enum bitnet_dtype type)
{
    return type == BITNET_DTYPE_tl1 || type == BITNET_DTYPE_tl2;
}

/* ------------------------------------------------------------------ values */

static enum bitnet_status check_trits(const struct bitnet_codec *codec,
                                      const struct bitnet_layout *layout, struct bitnet_bytes data,
                                      struct bitnet_error *err)
{
    size_t n_trits;
    if (!bitnet_mul_size(layout->rows, layout->cols, &n_trits)) return out_of_memory(err);
    int8_t *trits = bitnet_alloc(n_trits, sizeof *trits);
    float *scales = bitnet_alloc(bitnet_scale_count(layout), sizeof *scales);
    enum bitnet_status status =
        trits && scales ? codec->decode_trits(layout, data.at, data.n, trits, scales, err)
                        : out_of_memory(err);
    bitnet_free(trits);
    bitnet_free(scales);
    return status;
}

static enum bitnet_status check_floats(const float *values, size_t n, size_t first_row, size_t cols,
                                       struct bitnet_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return bitnet_fail(err, BITNET_FORMAT, "row %zu, column %zu is %s",
                               first_row + i / cols, i % cols,
                               isnan(values[i])   ? "nan"
                               : values[i] < 0.0f ? "-inf"
                                                  : "inf");
    return BITNET_OK;
}

static enum bitnet_status check_rows(const struct bitnet_codec *codec,
                                     const struct bitnet_layout *layout, struct bitnet_bytes data,
                                     struct bitnet_error *err)
{
    size_t per_chunk = 1 + (CHUNK_FLOATS - 1) / layout->cols,
           row_bytes = bitnet_rows_bytes(layout, 1);
    float *values = bitnet_alloc(per_chunk * layout->cols, sizeof *values);
    if (!values) return out_of_memory(err);
    enum bitnet_status status = BITNET_OK;
    for (size_t row = 0; row < layout->rows && !status; row += per_chunk) {
        size_t left = layout->rows - row, n = left < per_chunk ? left : per_chunk;
        codec->decode_rows(layout, data.at + row * row_bytes, n, values);
        status = check_floats(values, n * layout->cols, row, layout->cols, err);
    }
    bitnet_free(values);
    return status;
}

static enum bitnet_status check_tensor(const struct bitnet_gguf *gguf,
                                       const struct bitnet_tensor *tensor,
                                       const struct bitnet_log *log, struct bitnet_error *err)
{
    struct bitnet_layout layout;
    const struct bitnet_dtype_info *info = bitnet_dtype_info(tensor->type);
    const struct bitnet_codec *codec = bitnet_codec(tensor->type);
    if (info->kind == BITNET_KIND_INTEGER) return BITNET_OK;
    if (!codec) {
        bitnet_log_say(log, BITNET_LOG_WARNING, "tensor %s: values of type %s were not checked",
                       BITNET_QUOTE(tensor->name), info->label);
        return BITNET_OK;
    }
    enum bitnet_status status = layout_of(tensor, &layout, err);
    if (!status && is_tiled(tensor->type)) status = find_tile(gguf, &layout, err);
    if (!status) status = bitnet_layout_check(&layout, err);
    if (status) return status;
    return codec->decode_trits ? check_trits(codec, &layout, tensor->data, err)
                               : check_rows(codec, &layout, tensor->data, err);
}

enum bitnet_status bitnet_check_data(const struct bitnet_gguf *gguf, const struct bitnet_log *log,
                                     struct bitnet_error *err)
{
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++) {
        const struct bitnet_tensor *tensor = bitnet_gguf_tensor_at(gguf, i);
        enum bitnet_status status = check_tensor(gguf, tensor, log, err);
        bitnet_gguf_release(gguf, tensor);
        if (!status) continue;
        bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(tensor->name));
        const char *path = bitnet_gguf_path(gguf);
        return path[0] ? bitnet_error_prefix(err, status, "%s", path) : status;
    }
    return bitnet_gguf_unchanged(gguf, err);
}
