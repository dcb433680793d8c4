/* The quantizer's work on a CUDA device: memory there for one call, the verbs, and the bytes back.
 * Every failure gives everything back, is told in one line, and leaves the device usable. */
#include "quantizer.h"

#include "bitnet/alloc.h"

#include "cuda/device_layout.h"

#include <stdio.h>
#include <string.h>

void quantizer_cuda_open(struct bitnet_quantizer *q, const struct bitnet_cuda_api *api, char *why,
                         size_t why_size)
{
    q->api = api;
    q->cuda = api->open(q->device.index, why, why_size);
}

void quantizer_cuda_close(struct bitnet_quantizer *q)
{
    if (q->cuda) q->api->close(q->cuda);
    q->cuda = NULL;
}

/* Device memory of a call. */
enum { BUFFERS_MAX = 8 };
struct buffers {
    struct bitnet_quantizer *q;
    void *at[BUFFERS_MAX];
    size_t n;
    bool failed;
};

/* NULL after a failure, now or before. `from` NULL: not written. */
static void *buffer(struct buffers *b, const void *from, size_t bytes)
{
    if (b->failed) return NULL;
    void *at = b->q->api->alloc(b->q->cuda, bytes);
    b->failed = !at || (from && !b->q->api->write(b->q->cuda, at, from, bytes));
    if (at) b->at[b->n++] = at;
    return b->failed ? NULL : at;
}

/* Gives all back; whether all went well, else why not. */
static bool finish(struct buffers *b, bool is_good, char *why, size_t why_size)
{
    const struct bitnet_cuda_api *api = b->q->api;
    is_good = is_good && !b->failed;
    if (!is_good) {
        const char *error = api->last_error(b->q->cuda);
        snprintf(why, why_size, "%s", error[0] ? error : "no memory");
        api->clear_error(b->q->cuda);
    }
    for (size_t i = 0; i < b->n; i++) api->free(b->q->cuda, b->at[i]);
    return is_good;
}

/* ------------------------------------------------------------------ encoding */

static bool device_type(enum bitnet_dtype type, enum bitnet_cuda_file_type *to)
{
    switch (type) {
    case BITNET_DTYPE_i2_s:
        *to = BITNET_CUDA_TO_I2_S;
        return true;
    case BITNET_DTYPE_tl2:
        *to = BITNET_CUDA_TO_TL2;
        return true;
    case BITNET_DTYPE_tq2_0:
        *to = BITNET_CUDA_TO_TQ2_0;
        return true;
    default:
        return false;
    }
}

/* The facts of all rows, judged in order. */
static bool judge_on_device(struct buffers *b, const struct bitnet_layout *layout,
                            const float *weights, const float *on_device,
                            struct quantizer_judgement *j, enum bitnet_status *status,
                            struct bitnet_error *err)
{
    const struct bitnet_cuda_api *api = b->q->api;
    const size_t bytes = layout->rows * sizeof(struct bitnet_cuda_row_facts);
    struct bitnet_cuda_row_facts *facts = bitnet_alloc(layout->rows, sizeof *facts);
    struct bitnet_cuda_row_facts *measured = buffer(b, NULL, bytes);
    const bool is_good =
        facts && measured &&
        api->measure(b->q->cuda, on_device, layout->rows, layout->cols, measured) &&
        api->read(b->q->cuda, facts, measured, bytes);
    for (size_t r = 0; is_good && r < layout->rows && !*status; r++)
        *status = quantizer_judge_row(j, &facts[r], weights, layout->cols, err);
    bitnet_free(facts);
    return is_good;
}

static bool encode(struct buffers *b, const struct bitnet_layout *layout, const float *weights,
                   uint8_t *out, enum bitnet_cuda_file_type type, enum bitnet_status *status,
                   struct bitnet_error *err)
{
    const struct bitnet_cuda_api *api = b->q->api;
    const size_t n = layout->rows * layout->cols, n_bytes = bitnet_layout_bytes(layout);
    struct quantizer_judgement j = {0};
    const float *x = buffer(b, weights, n * sizeof *weights);
    uint8_t *bytes = buffer(b, NULL, n_bytes);
    if (!x || !bytes || !judge_on_device(b, layout, weights, x, &j, status, err)) return false;
    if (*status) return true;
    const struct quantizer_rule rule = quantizer_rule_of(&j, n);
    const struct bitnet_cuda_encoding what = {.type = type,
                                              .x = x,
                                              .rows = layout->rows,
                                              .cols = layout->cols,
                                              .tile_rows = layout->tile.rows,
                                              .tile_cols = layout->tile.cols,
                                              .inverse = rule.inverse,
                                              .scale = rule.scale,
                                              .out = bytes,
                                              .n_bytes = n_bytes};
    return api->encode(b->q->cuda, &what) && api->read(b->q->cuda, out, bytes, n_bytes);
}

bool quantizer_cuda_encode(struct bitnet_quantizer *q, const struct bitnet_layout *layout,
                           const float *weights, uint8_t *out, enum bitnet_status *status,
                           char *why, size_t why_size, struct bitnet_error *err)
{
    enum bitnet_cuda_file_type type;
    *status = BITNET_OK;
    if (!device_type(layout->type, &type)) {
        snprintf(why, why_size, "%s has no encoder on a device",
                 bitnet_dtype_info(layout->type)->label);
        return false;
    }
    struct buffers b = {.q = q};
    return finish(&b, encode(&b, layout, weights, out, type, status, err), why, why_size);
}

/* ------------------------------------------------------------------ products */

/* Codes in the order of device_layout.h, and their sums. */
static void arrange(const struct quantizer_matrix *m, const struct quantizer_input *in,
                    uint32_t *words, int32_t *sums)
{
    const size_t n_words = device_code_words(m->cols);
    for (size_t t = 0; t < in->n; t++) {
        const int8_t *x = in->x + t * m->cols;
        for (size_t c = 0; c < m->cols; c++) sums[t] += x[c];
        for (size_t w = 0; w < n_words; w++)
            for (size_t b = 0, c = device_code_column(w); b < 4 && c + b < m->cols; b++)
                words[t * n_words + w] |= (uint32_t)(uint8_t)x[c + b] << 8 * b;
    }
}

static bool multiply(struct buffers *b, const struct quantizer_matrix *m,
                     const struct quantizer_input *in, const uint32_t *words, const int32_t *sums,
                     float *y)
{
    const struct bitnet_cuda_api *api = b->q->api;
    const size_t weight_bytes = device_weight_words(m->rows, m->cols) * 4;
    const size_t word_bytes = in->n * device_code_words(m->cols) * 4;
    const int8_t *trits = buffer(b, m->trits, m->rows * m->cols);
    uint32_t *weights = buffer(b, NULL, weight_bytes);
    const struct bitnet_cuda_codes codes = {.words = buffer(b, words, word_bytes),
                                            .scales = buffer(b, in->scales, in->n * 4),
                                            .sums = buffer(b, sums, in->n * 4)};
    const struct bitnet_cuda_product product = {.weights = weights,
                                                .rows = m->rows,
                                                .row_scales = buffer(b, m->row_scales, m->rows * 4),
                                                .y = buffer(b, NULL, in->n * m->rows * 4),
                                                .y_stride = m->rows};
    if (b->failed) return false;
    return api->pack(b->q->cuda, trits, m->rows, m->cols, weights) &&
           api->ternary(b->q->cuda, codes, m->cols, in->n, &product, 1) &&
           api->read(b->q->cuda, y, product.y, in->n * m->rows * 4);
}

bool quantizer_cuda_multiply(struct bitnet_quantizer *q, const struct quantizer_matrix *m,
                             const struct quantizer_input *in, float *y, char *why, size_t why_size)
{
    if (!m->has_row_scales) {
        snprintf(why, why_size, "blocks of different scales have no product on a device");
        return false;
    }
    if (in->n == 0) return true;
    struct buffers b = {.q = q};
    uint32_t *words = bitnet_alloc(in->n, device_code_words(m->cols) * sizeof *words);
    int32_t *sums = bitnet_alloc(in->n, sizeof *sums);
    bool is_good = words && sums;
    if (is_good) {
        arrange(m, in, words, sums);
        is_good = multiply(&b, m, in, words, sums, y);
    }
    bitnet_free(words);
    bitnet_free(sums);
    return finish(&b, is_good, why, why_size);
}
