/* Tensors become matrices. In comes a view into the mapping, out goes something to multiply with.
 *
 * All ternary file types spell the same trits, so each is decoded to trits and packed into the
 * layout that the kernel set loves; a float tensor whose rows are {-s, 0, +s} spells trits too, so
 * the F16 file of a BitNet model gives the logits of its I2_S file. What is not ternary stays
 * where it is and runs dense, or, when no kernel reads its type, is decoded to f32 once.
 *
 * Source of the arithmetic: formats.md 2.4; of the scales of each type: the codecs' files. */
#include "matrix.h"

#include "bitnet/alloc.h"
#include "bitnet/text.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define TILE_MAX 1048576u

/* ------------------------------------------------------------------ layout */

/* One number of a tile: bitnet.tl.<rows>x<cols>.<what>. */
static enum bitnet_status tile_number(const struct bitnet_gguf *gguf,
                                      const struct bitnet_layout *layout, const char *what,
                                      uint32_t *value, struct bitnet_error *err)
{
    char key[96];
    uint64_t number = 0;
    snprintf(key, sizeof key, "bitnet.tl.%zux%zu.%s", layout->rows, layout->cols, what);
    enum bitnet_status status =
        bitnet_gguf_u64(gguf, key, 1, TILE_MAX, BITNET_GGUF_OPTIONAL, &number, err);
    *value = (uint32_t)number;
    return status;
}

/* The file's own word, then the published tables, then an error: a guess would be noise. */
static enum bitnet_status find_tile(struct bitnet_layout *layout, const struct bitnet_gguf *gguf,
                                    struct bitnet_error *err)
{
    struct bitnet_tile *tile = &layout->tile;
    enum bitnet_status status = tile_number(gguf, layout, "bm", &tile->rows, err);
    if (!status) status = tile_number(gguf, layout, "bk", &tile->cols, err);
    if (!status) status = tile_number(gguf, layout, "bmm", &tile->sub_rows, err);
    if (status) return status;
    if (tile->rows && tile->cols && tile->sub_rows) return BITNET_OK;
    if (tile->rows || tile->cols || tile->sub_rows)
        return bitnet_fail(err, BITNET_FORMAT,
                           "the keys bitnet.tl.%zux%zu.bm, .bk and .bmm are not all there",
                           layout->rows, layout->cols);
    if (bitnet_tile_known(layout->type, layout->rows, layout->cols, tile)) return BITNET_OK;
    bitnet_fail(err, BITNET_UNSUPPORTED, "the tile of %s for shape %zu x %zu is not known",
                bitnet_dtype_info(layout->type)->label, layout->rows, layout->cols);
    return bitnet_hint(err, BITNET_UNSUPPORTED,
                       "files by bitnet-convert say it in bitnet.tl.%zux%zu.bm, .bk, .bmm",
                       layout->rows, layout->cols);
}

enum bitnet_status matrix_layout(struct bitnet_layout *layout, const struct bitnet_gguf *gguf,
                                 const struct bitnet_tensor *tensor, struct bitnet_error *err)
{
    *layout = (struct bitnet_layout){
        .type = tensor->type, .rows = (size_t)tensor->dims[1], .cols = (size_t)tensor->dims[0]};
    if (tensor->type == BITNET_DTYPE_tl1 || tensor->type == BITNET_DTYPE_tl2) {
        enum bitnet_status status = find_tile(layout, gguf, err);
        if (status) return status;
    }
    return bitnet_layout_check(layout, err);
}

/* ------------------------------------------------------------------ scratch */

static bool grow(void **at, size_t *have, size_t need, size_t size)
{
    if (*have >= need) return true;
    bitnet_free(*at);
    *at = bitnet_alloc(need, size);
    *have = *at ? need : 0;
    return *at != NULL;
}

static int8_t *scratch_trits(struct matrix_scratch *scratch, size_t n)
{
    void *at = scratch->trits;
    bool ok = grow(&at, &scratch->n_trits, n, sizeof(int8_t));
    scratch->trits = at;
    return ok ? scratch->trits : NULL;
}

static float *scratch_floats(struct matrix_scratch *scratch, size_t n)
{
    void *at = scratch->floats;
    bool ok = grow(&at, &scratch->n_floats, n, sizeof(float));
    scratch->floats = at;
    return ok ? scratch->floats : NULL;
}

void matrix_scratch_free(struct matrix_scratch *scratch)
{
    bitnet_free(scratch->trits);
    bitnet_free(scratch->floats);
    *scratch = (struct matrix_scratch){0};
}

/* ------------------------------------------------------------------ binding */

/* What the steps of one bind share. */
struct binding {
    struct matrix *matrix;
    const struct matrix_source *source;
    const struct bitnet_kernel_set *kernels;
    struct matrix_scratch *scratch;
    struct bitnet_layout layout;
    const struct bitnet_codec *codec; /* NULL: the type can only be sized */
};

static enum bitnet_status no_memory(struct bitnet_error *err, uint64_t n_bytes)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for %" PRIu64 " bytes", n_bytes);
}

static enum bitnet_status own(struct matrix *m, size_t n_bytes, struct bitnet_error *err)
{
    m->owned = bitnet_alloc_aligned(n_bytes);
    if (!m->owned) return no_memory(err, n_bytes);
    m->bytes = m->owned;
    m->owned_bytes = n_bytes;
    return BITNET_OK;
}

static bitnet_dense_fn *dense_slot(const struct bitnet_kernel_set *k, enum bitnet_dtype type)
{
    switch (type) {
    case BITNET_DTYPE_f32:
        return k->dense_f32;
    case BITNET_DTYPE_f16:
        return k->dense_f16;
    case BITNET_DTYPE_bf16:
        return k->dense_bf16;
    case BITNET_DTYPE_q8_0:
        return k->dense_q8_0;
    case BITNET_DTYPE_q6_k:
        return k->dense_q6_k;
    case BITNET_DTYPE_q4_0:
        return k->dense_q4_0;
    default:
        return NULL;
    }
}

/* A row's blocks as one scale. A block without a non-zero trit says nothing about the scale, one
 * with scale 0 has no non-zero value, whatever its trits. False when blocks disagree. */
static bool one_scale(int8_t *trits, const float *scales, size_t n_blocks, size_t block,
                      float *scale, bool *is_free)
{
    *is_free = true;
    *scale = 0;
    for (size_t b = 0; b < n_blocks; b++, trits += block) {
        if (scales[b] == 0) memset(trits, 0, block);
        size_t used = 0;
        while (used < block && trits[used] == 0) used++;
        if (used == block) continue;
        if (!*is_free && scales[b] != *scale) return false;
        *scale = scales[b];
        *is_free = false;
    }
    return true;
}

/* One scale when all rows agree (rows of zeros agree with everybody), else one per row. */
static enum bitnet_status keep_scales(struct matrix *m, const float *scales, const bool *is_free,
                                      struct bitnet_error *err)
{
    size_t first = 0;
    while (first < m->rows && is_free[first]) first++;
    m->scale = first < m->rows ? scales[first] : 0;
    bool agree = true;
    for (size_t r = first; r < m->rows && agree; r++) agree = is_free[r] || scales[r] == m->scale;
    if (agree) return BITNET_OK;
    m->row_scales = bitnet_alloc(m->rows, sizeof(float));
    if (!m->row_scales) return no_memory(err, m->rows * sizeof(float));
    for (size_t r = 0; r < m->rows; r++) m->row_scales[r] = is_free[r] ? 0 : scales[r];
    return BITNET_OK;
}

/* Trits as binary16: the dense kernel's float sums stand in for the ternary path. */
static enum bitnet_status keep_trits_as_floats(struct binding *b, const int8_t *trits,
                                               struct bitnet_error *err)
{
    struct matrix *m = b->matrix;
    static const uint16_t spelled[3] = {0xbc00, 0x0000, 0x3c00}; /* -1, 0, +1 */
    size_t n = m->rows * m->cols;
    enum bitnet_status status = own(m, n * sizeof(uint16_t), err);
    if (status) return status;
    for (size_t i = 0; i < n; i++) bitnet_store_u16(m->owned + 2 * i, spelled[trits[i] + 1]);
    m->dense = b->kernels->dense_f16;
    return BITNET_OK;
}

static enum bitnet_status keep_trits(struct binding *b, const int8_t *trits,
                                     struct bitnet_error *err)
{
    if (b->source->float_activations) return keep_trits_as_floats(b, trits, err);
    struct matrix *m = b->matrix;
    const struct bitnet_ternary_path *path = b->kernels->ternary;
    assert(MATRIX_SLICE_ROWS % path->panel_rows == 0);
    size_t panel_bytes = path->panel_bytes(m->cols);
    size_t n_panels = (m->rows + path->panel_rows - 1) / path->panel_rows, n_bytes;
    if (!bitnet_mul_size(n_panels, panel_bytes, &n_bytes)) return no_memory(err, UINT64_MAX);
    enum bitnet_status status = own(m, n_bytes, err);
    if (status) return status;
    for (size_t panel = 0; panel < n_panels; panel++)
        path->pack(trits, m->rows, m->cols, panel, m->owned + panel * panel_bytes);
    return BITNET_OK;
}

/* Gathers the scales of all rows; *same is false when a row has more than one. */
static void gather_scales(struct binding *b, int8_t *trits, const float *scales, float *row_scales,
                          bool *is_free, bool *same)
{
    size_t rows = b->layout.rows, cols = b->layout.cols, n_blocks = 1, per_row = 1;
    if (b->codec->scales == BITNET_SCALES_BLOCK)
        n_blocks = per_row = bitnet_scale_count(&b->layout) / rows;
    if (b->codec->scales == BITNET_SCALES_TENSOR) per_row = 0;
    *same = true;
    for (size_t r = 0; r < rows && *same; r++)
        *same = one_scale(trits + r * cols, scales + r * per_row, n_blocks, cols / n_blocks,
                          &row_scales[r], &is_free[r]);
}

/* A ternary type. *done is false when its scales need the dense way. */
static enum bitnet_status bind_codes(struct binding *b, bool *done, struct bitnet_error *err)
{
    const struct bitnet_tensor *tensor = b->source->tensor;
    size_t n_scales = bitnet_scale_count(&b->layout), rows = b->layout.rows;
    int8_t *trits = scratch_trits(b->scratch, rows * b->layout.cols);
    float *scales = bitnet_alloc(n_scales, sizeof(float));
    float *row_scales = bitnet_alloc(rows, sizeof(float));
    bool *is_free = bitnet_alloc(rows, sizeof(bool));
    enum bitnet_status status = BITNET_OK;
    if (!trits || !scales || !row_scales || !is_free)
        status = no_memory(err, rows * b->layout.cols);
    if (!status)
        status =
            b->codec->decode_trits(&b->layout, tensor->data.at, tensor->data.n, trits, scales, err);
    if (!status) {
        gather_scales(b, trits, scales, row_scales, is_free, done);
        if (*done) status = keep_scales(b->matrix, row_scales, is_free, err);
        if (*done && !status) status = keep_trits(b, trits, err);
    }
    bitnet_free(is_free);
    bitnet_free(row_scales);
    bitnet_free(scales);
    return status;
}

/* A row of floats as trits and a scale; false when it is not {-s, 0, +s}. */
static bool row_is_ternary(const float *x, size_t n, int8_t *trits, float *scale, bool *is_free)
{
    float s = 0;
    for (size_t c = 0; c < n; c++) {
        float size = fabsf(x[c]);
        if (s == 0 && size > 0 && isfinite(size)) s = size;
        if (size != 0 && size != s) return false;
        trits[c] = (int8_t)((x[c] > 0) - (x[c] < 0));
    }
    *scale = s;
    *is_free = s == 0;
    return true;
}

/* A float type whose rows all spell trits. *done is false when one does not: usually the first,
 * so that a dense model costs one row's look. */
static enum bitnet_status bind_floats(struct binding *b, bool *done, struct bitnet_error *err)
{
    const struct bitnet_layout *layout = &b->layout;
    size_t rows = layout->rows, cols = layout->cols, row_bytes = bitnet_rows_bytes(layout, 1);
    float *x = scratch_floats(b->scratch, cols);
    float *scales = bitnet_alloc(rows, sizeof(float));
    bool *is_free = bitnet_alloc(rows, sizeof(bool));
    int8_t *trits = NULL;
    *done = true;
    for (size_t r = 0; r < rows && *done && x && scales && is_free; r++) {
        b->codec->decode_rows(layout, b->source->tensor->data.at + r * row_bytes, 1, x);
        if (!trits) trits = scratch_trits(b->scratch, rows * cols);
        if (!trits) break;
        *done = row_is_ternary(x, cols, trits + r * cols, &scales[r], &is_free[r]);
    }
    enum bitnet_status status = BITNET_OK;
    if (!trits || !x || !scales || !is_free) status = no_memory(err, rows * cols);
    if (!status && *done) status = keep_scales(b->matrix, scales, is_free, err);
    if (!status && *done) status = keep_trits(b, trits, err);
    bitnet_free(is_free);
    bitnet_free(scales);
    return status;
}

/* Floats of a ternary tensor whose scales no row shares. */
static enum bitnet_status decode_codes(struct binding *b, float *out, struct bitnet_error *err)
{
    const struct bitnet_layout *layout = &b->layout;
    size_t n = layout->rows * layout->cols, n_scales = bitnet_scale_count(layout);
    int8_t *trits = scratch_trits(b->scratch, n);
    float *scales = bitnet_alloc(n_scales, sizeof(float));
    enum bitnet_status status = BITNET_OK;
    if (!trits || !scales) status = no_memory(err, n);
    if (!status)
        status = b->codec->decode_trits(layout, b->source->tensor->data.at,
                                        b->source->tensor->data.n, trits, scales, err);
    for (size_t i = 0; !status && i < n; i++) out[i] = (float)trits[i] * scales[i / (n / n_scales)];
    bitnet_free(scales);
    return status;
}

/* A type that no dense kernel reads: f32 is the only float that holds every block type exactly. */
static enum bitnet_status decode_all(struct binding *b, struct bitnet_error *err)
{
    const struct bitnet_layout *layout = &b->layout;
    size_t n_bytes;
    if (!b->codec || !(b->codec->decode_rows || b->codec->decode_trits))
        return bitnet_fail(err, BITNET_UNSUPPORTED, "type %s cannot be run",
                           bitnet_dtype_info(layout->type)->label);
    if (!bitnet_mul_size(layout->rows, layout->cols, &n_bytes) ||
        !bitnet_mul_size(n_bytes, sizeof(float), &n_bytes))
        return no_memory(err, UINT64_MAX);
    enum bitnet_status status = own(b->matrix, n_bytes, err);
    if (status) return status;
    float *out = (float *)(void *)b->matrix->owned;
    b->matrix->dense = b->kernels->dense_f32;
    b->matrix->is_decoded = true;
    if (!b->codec->decode_rows) return decode_codes(b, out, err);
    b->codec->decode_rows(layout, b->source->tensor->data.at, layout->rows, out);
    return BITNET_OK;
}

static enum bitnet_status bind_dense(struct binding *b, struct bitnet_error *err)
{
    b->matrix->scale = 1;
    b->matrix->is_inexact = b->source->may_be_ternary;
    b->matrix->dense = dense_slot(b->kernels, b->layout.type);
    if (!b->matrix->dense) return decode_all(b, err);
    b->matrix->bytes = b->source->tensor->data.at;
    return BITNET_OK;
}

/* ik_llama.cpp keeps -1/0/+1 in some files and the true scale beside: result times it. */
static enum bitnet_status apply_extra_scale(struct binding *b, struct bitnet_error *err)
{
    const struct bitnet_tensor *extra = b->source->scale;
    if (!extra) return BITNET_OK;
    if (extra->type != BITNET_DTYPE_f32 || extra->data.n != sizeof(float))
        return bitnet_fail(err, BITNET_FORMAT, "its .scale is not one F32");
    float scale = bitnet_load_f32(extra->data.at);
    if (!isfinite(scale)) return bitnet_fail(err, BITNET_FORMAT, "its .scale is %g", (double)scale);
    b->matrix->scale *= scale;
    for (size_t r = 0; b->matrix->row_scales && r < b->matrix->rows; r++)
        b->matrix->row_scales[r] *= scale;
    return BITNET_OK;
}

static enum bitnet_status bind_by_kind(struct binding *b, struct bitnet_error *err)
{
    enum bitnet_dtype_kind kind = bitnet_dtype_info(b->layout.type)->kind;
    enum bitnet_status status = BITNET_OK;
    bool done = false;
    if (b->source->may_be_ternary && b->codec) {
        if (kind == BITNET_KIND_TERNARY && b->codec->decode_trits)
            status = bind_codes(b, &done, err);
        else if (kind == BITNET_KIND_FLOAT && b->codec->decode_rows)
            status = bind_floats(b, &done, err);
    }
    if (!status && !done) status = bind_dense(b, err);
    if (!status) status = apply_extra_scale(b, err);
    return status;
}

enum bitnet_status matrix_bind(struct matrix *matrix, const struct matrix_source *source,
                               const struct bitnet_kernel_set *kernels,
                               struct matrix_scratch *scratch, struct bitnet_error *err)
{
    const struct bitnet_tensor *tensor = source->tensor;
    *matrix = (struct matrix){.rows = (size_t)tensor->dims[1], .cols = (size_t)tensor->dims[0]};
    struct binding b = {.matrix = matrix,
                        .source = source,
                        .kernels = kernels,
                        .scratch = scratch,
                        .codec = bitnet_codec(tensor->type)};
    enum bitnet_status status = matrix_layout(&b.layout, source->gguf, tensor, err);
    if (!status) status = bind_by_kind(&b, err);
    if (!status) {
        if (matrix->owned) bitnet_gguf_release(source->gguf, tensor);
        return BITNET_OK;
    }
    matrix_free(matrix);
    return bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(tensor->name));
}

void matrix_free(struct matrix *matrix)
{
    bitnet_free_aligned(matrix->owned);
    bitnet_free(matrix->row_scales);
    *matrix = (struct matrix){0};
}

/* ------------------------------------------------------------------ multiplying */

static void scale_rows(const struct matrix *m, size_t row, size_t n, float *y)
{
    if (m->row_scales)
        for (size_t i = 0; i < n; i++) y[i] *= m->row_scales[row + i];
    else if (m->scale != 1)
        for (size_t i = 0; i < n; i++) y[i] *= m->scale;
}

static void multiply_ternary(const struct matrix *m, const struct bitnet_kernel_set *k,
                             const struct activations *in, size_t row_begin, size_t row_end,
                             int32_t *sums, float *y, size_t y_stride)
{
    const struct bitnet_ternary_path *path = k->ternary;
    size_t n = row_end - row_begin, panel = row_begin / path->panel_rows;
    assert(row_begin % path->panel_rows == 0 && n <= MATRIX_SLICE_ROWS);
    /* The slice is a matrix of its own: its panels, its rows. */
    path->matmul(m->bytes + panel * path->panel_bytes(m->cols), n, m->cols, 0,
                 (n + path->panel_rows - 1) / path->panel_rows, in->codes, in->code_stride,
                 in->n_tokens, sums, MATRIX_SLICE_ROWS);
    for (size_t t = 0; t < in->n_tokens; t++) {
        float *out = y + t * y_stride + row_begin;
        k->rescale(sums + t * MATRIX_SLICE_ROWS, n, in->code_scales[t],
                   m->row_scales ? 1.0f : m->scale, out);
        if (m->row_scales) scale_rows(m, row_begin, n, out);
    }
}

void matrix_multiply(const struct matrix *m, const struct bitnet_kernel_set *k,
                     const struct activations *in, size_t row_begin, size_t row_end, int32_t *sums,
                     float *y, size_t y_stride)
{
    assert(row_begin < row_end && row_end <= m->rows);
    if (!m->dense) {
        multiply_ternary(m, k, in, row_begin, row_end, sums, y, y_stride);
        return;
    }
    m->dense(m->bytes, m->cols, row_begin, row_end, in->floats, in->float_stride, in->n_tokens, y,
             y_stride);
    for (size_t t = 0; t < in->n_tokens; t++)
        scale_rows(m, row_begin, row_end - row_begin, y + t * y_stride + row_begin);
}
