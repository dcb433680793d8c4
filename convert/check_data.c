/* Looks at every weight of a GGUF: ternary types through their trits (a code that no trit has is an
 * error there), all others row by row as floats. What comes in is an open file, what goes out is a
 * verdict; nothing is kept. Which bytes mean what is known by kernels/quant alone. */
#include "bitnet/check.h"

#include <math.h>
#include <stdio.h> /* snprintf */

#include "i2s_diagnosis.h"
#include "values.h"

#include "bitnet/alloc.h"
#include "bitnet/doctor.h"
#include "bitnet/text.h"
#include "bitnet/tokenizer.h"

/* Floats decoded at a time, rounded up to whole rows. */
#define CHUNK_FLOATS 65536

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

/* Rows of floats, some at a time: nearly as fast as they can be read. */
static enum bitnet_status check_rows(const struct bitnet_codec *codec,
                                     const struct bitnet_layout *layout, struct bitnet_bytes data,
                                     struct bitnet_error *err)
{
    size_t per_chunk = 1 + (CHUNK_FLOATS - 1) / layout->cols;
    size_t row_bytes = bitnet_rows_bytes(layout, 1);
    float *values = bitnet_alloc(per_chunk * layout->cols, sizeof *values);
    if (!values) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    enum bitnet_status status = BITNET_OK;
    for (size_t row = 0; row < layout->rows && !status; row += per_chunk) {
        size_t left = layout->rows - row, n = left < per_chunk ? left : per_chunk;
        codec->decode_rows(layout, data.at + row * row_bytes, n, values);
        status = check_floats(values, n * layout->cols, row, layout->cols, err);
    }
    bitnet_free(values);
    return status;
}

/* A ternary tensor is sound when its trits can be decoded. */
static enum bitnet_status check_trits(const struct bitnet_gguf *gguf,
                                      const struct bitnet_tensor *tensor, struct bitnet_error *err)
{
    struct values values;
    enum bitnet_status status = values_open(&values, gguf, tensor, err);
    if (!status) values_close(&values);
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
    if (codec->decode_trits) return check_trits(gguf, tensor, err);
    enum bitnet_status status = values_layout(&layout, gguf, tensor, NULL, err);
    return status ? status : check_rows(codec, &layout, tensor->data, err);
}

/* Tiles that are in the table of published ones, but not in the file: right for this reader. */
static void warn_about_tiles(const struct bitnet_gguf *gguf, const struct bitnet_log *log)
{
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(gguf, i);
        if (t->type != BITNET_DTYPE_tl1 && t->type != BITNET_DTYPE_tl2) continue;
        if (!bitnet_gguf_find(gguf, BITNET_STR("bitnet.tl.version")))
            bitnet_log_say(log, BITNET_LOG_WARNING,
                           "the tiles of %s tensors are not recorded; these are read with the "
                           "published ones; %s",
                           bitnet_dtype_info(t->type)->label,
                           BITNET_MEND(gguf, "gguf repair", "--fix tl-tiles"));
        return;
    }
}

/* A pre-tokenizer that is none, where the vocabulary proves which one it must be. */
static enum bitnet_status warn_about_pre(const struct bitnet_gguf *gguf,
                                         const struct bitnet_log *log, struct bitnet_error *err)
{
    struct bitnet_str model = {0}, pre = {0};
    struct bitnet_pre_identity identity = {0};
    char option[96];
    bitnet_gguf_str(gguf, "tokenizer.ggml.model", BITNET_GGUF_OPTIONAL, &model, NULL);
    bitnet_gguf_str(gguf, "tokenizer.ggml.pre", BITNET_GGUF_OPTIONAL, &pre, NULL);
    if (!bitnet_str_is(model, "gpt2") || !bitnet_str_is(pre, "default")) return BITNET_OK;
    enum bitnet_status status = bitnet_tokenizer_identify_pre(gguf, &identity, err);
    if (status || !identity.name || !identity.is_proven) return status;
    snprintf(option, sizeof option, "--pre %s", identity.name);
    bitnet_log_say(log, BITNET_LOG_WARNING,
                   "tokenizer.ggml.pre is 'default', but the vocabulary is of '%s': %s; %s",
                   identity.name, identity.evidence, BITNET_MEND(gguf, "gguf repair", option));
    return BITNET_OK;
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
    i2s_diagnose(gguf, BITNET_I2_S_A, log);
    warn_about_tiles(gguf, log);
    enum bitnet_status status = log ? warn_about_pre(gguf, log, err) : BITNET_OK;
    return status ? status : bitnet_gguf_unchanged(gguf, err);
}
