/* See values.h. Which bytes mean what is known by kernels/quant alone; here is only where the tile
 * of a lookup-table type is found, and which scale belongs to which trit. */
#include "values.h"

#include "bitnet/alloc.h"

static enum bitnet_status out_of_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

/* ------------------------------------------------------------------ layout */

enum bitnet_status values_layout(struct bitnet_layout *layout, const struct bitnet_gguf *gguf,
                                 const struct bitnet_tensor *tensor, const struct reading *reading,
                                 struct bitnet_error *err)
{
    uint64_t rows = tensor->dims[1] * tensor->dims[2] * tensor->dims[3]; /* open: below 2^63 */
    *layout = (struct bitnet_layout){.type = tensor->type};
    if (reading && tensor->type == BITNET_DTYPE_i2_s) layout->order = reading->i2_s_order;
    if (!bitnet_to_size(tensor->dims[0], &layout->cols) || !bitnet_to_size(rows, &layout->rows))
        return bitnet_fail(err, BITNET_LIMIT, "shape is too large for this machine");
    enum bitnet_status status = tile_find(layout, gguf, reading ? reading->tiles : NULL, err);
    return status ? status : bitnet_layout_check(layout, err);
}

/* ------------------------------------------------------------------ values */

static enum bitnet_status decode_trits(struct values *v, struct bitnet_error *err)
{
    size_t n_trits;
    if (!bitnet_mul_size(v->layout.rows, v->layout.cols, &n_trits)) return out_of_memory(err);
    v->trits = bitnet_alloc(n_trits, sizeof *v->trits);
    v->scales = bitnet_alloc(bitnet_scale_count(&v->layout), sizeof *v->scales);
    if (!v->trits || !v->scales) return out_of_memory(err);
    return v->codec->decode_trits(&v->layout, v->data.at, v->data.n, v->trits, v->scales, err);
}

enum bitnet_status values_open(struct values *values, const struct bitnet_gguf *gguf,
                               const struct bitnet_tensor *tensor, struct bitnet_error *err)
{
    return values_open_as(values, gguf, tensor, NULL, err);
}

enum bitnet_status values_open_as(struct values *values, const struct bitnet_gguf *gguf,
                                  const struct bitnet_tensor *tensor, const struct reading *reading,
                                  struct bitnet_error *err)
{
    *values = (struct values){.codec = bitnet_codec(tensor->type), .data = tensor->data};
    if (!values->codec)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "values of type %s cannot be read",
                           bitnet_dtype_info(tensor->type)->label);
    enum bitnet_status status = values_layout(&values->layout, gguf, tensor, reading, err);
    if (status) return status;
    values->row = bitnet_alloc(values->layout.cols, sizeof *values->row);
    if (!values->row) status = out_of_memory(err);
    if (!status && values->codec->decode_trits) status = decode_trits(values, err);
    if (status) values_close(values);
    return status;
}

void values_close(struct values *values)
{
    bitnet_free(values->trits);
    bitnet_free(values->scales);
    bitnet_free(values->row);
    *values = (struct values){0};
}

size_t values_run(const struct values *values)
{
    return values->codec->scales == BITNET_SCALES_BLOCK
               ? bitnet_dtype_info(values->layout.type)->block
               : values->layout.cols;
}

float values_scale(const struct values *values, size_t row, size_t col)
{
    switch (values->codec->scales) {
    case BITNET_SCALES_ROW:
        return values->scales[row];
    case BITNET_SCALES_BLOCK: {
        size_t run = values_run(values);
        return values->scales[row * (values->layout.cols / run) + col / run];
    }
    default:
        return values->scales[0];
    }
}

const float *values_row(struct values *v, size_t row)
{
    size_t cols = v->layout.cols;
    if (!v->trits) {
        v->codec->decode_rows(&v->layout, v->data.at + row * bitnet_rows_bytes(&v->layout, 1), 1,
                              v->row);
        return v->row;
    }
    const int8_t *trits = v->trits + row * cols;
    for (size_t begin = 0, run = values_run(v); begin < cols; begin += run) {
        float scale = values_scale(v, row, begin);
        for (size_t c = begin; c < begin + run && c < cols; c++)
            v->row[c] = (float)trits[c] * scale;
    }
    return v->row;
}
