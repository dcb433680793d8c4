/* Tensors become matrices. In comes a view into the mapping, out goes something to multiply with.
 *
 * All ternary file types spell the same trits, so each is decoded to trits and packed into the
 * layout that the kernel set loves; a float tensor whose rows are {-s, 0, +s} spells trits too, so
 * the F16 file of a BitNet model gives the logits of its I2_S file. What is not ternary stays
 * where it is and runs dense, or, when no kernel reads its type, is decoded to f32 once.
 *
 * Trits pass through in slices of rows small enough for the cache: a model has billions of them,
 * and each is written and read once on its way.
 *
 * Source: formats.md 2 to 5 by way of the codecs; 6.5 for the scale beside a matrix. */
#include "matrix.h"

#include "bitnet/alloc.h"
#include "bitnet/text.h"
#include "bitnet/tile_keys.h"

#include "cuda_weights.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Rows that pass through together: a multiple of every panel and, times any width, of every
 * group of codes. */
#define SLICE_ROWS MATRIX_SLICE_ROWS

/* ------------------------------------------------------------------ layout */

/* The file's own word, then the published tables, then an error: a guess would be noise. */
static enum bitnet_status find_tile(struct bitnet_layout *layout, const struct bitnet_gguf *gguf,
                                    struct bitnet_error *err)
{
    struct bitnet_tile *tile = &layout->tile;
    struct bitnet_tile_keys keys;
    enum bitnet_status status = bitnet_tile_keys_read(&keys, gguf, layout->rows, layout->cols, err);
    *tile = (struct bitnet_tile){.rows = keys.bm, .cols = keys.bk, .sub_rows = keys.bmm};
    if (status || keys.bm) return status;
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

static uint8_t *scratch_bytes(struct matrix_scratch *scratch, size_t n)
{
    void *at = scratch->bytes;
    bool ok = grow(&at, &scratch->n_bytes, n, 1);
    scratch->bytes = at;
    return ok ? scratch->bytes : NULL;
}

void matrix_scratch_free(struct matrix_scratch *scratch)
{
    bitnet_free(scratch->bytes);
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
    float *row_scales;                /* [rows] */
    bool *is_free;                    /* [rows]: a row of zeros, which agrees with every scale */
};

static enum bitnet_status no_memory(struct bitnet_error *err, uint64_t n_bytes)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for %" PRIu64 " bytes", n_bytes);
}

/* Trits that meet float activations are spelled as binary16 here, wherever they go then. */
static bool packs_on_device(const struct binding *b)
{
    return b->source->device && !b->source->float_activations;
}

/* What was packed was no ternary matrix after all. */
static void leave_room(struct binding *b)
{
    struct matrix *m = b->matrix;
    if (packs_on_device(b)) cuda_weights_drop(b->source->device, m->bytes);
    m->bytes = NULL;
    m->n_bytes = 0;
    m->in_room = false;
    m->dense = NULL;
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
    default:
        return NULL;
    }
}

static const struct bitnet_block_path *block_slot(const struct bitnet_kernel_set *k,
                                                  enum bitnet_dtype type)
{
    switch (type) {
    case BITNET_DTYPE_q8_0:
        return k->blocks_q8_0;
    case BITNET_DTYPE_q6_k:
        return k->blocks_q6_k;
    case BITNET_DTYPE_q4_0:
        return k->blocks_q4_0;
    default:
        return NULL;
    }
}

/* ------------------------------------------------------------------ packing */

/* Panels, or binary16 where the dense kernel's float sums stand in for the ternary path. */
static uint64_t packed_bytes(size_t rows, size_t cols, bool float_activations,
                             const struct bitnet_ternary_path *path)
{
    uint64_t n_panels = (rows + path->panel_rows - 1) / path->panel_rows, n;
    bool fits = float_activations
                    ? bitnet_mul_u64(rows, cols, &n) && bitnet_mul_u64(n, sizeof(uint16_t), &n)
                    : bitnet_mul_u64(n_panels, path->panel_bytes(cols), &n);
    return fits && n < SIZE_MAX / 2 ? n : UINT64_MAX;
}

static uint64_t panels_bytes(const struct bitnet_block_path *path, uint64_t rows, uint64_t cols)
{
    uint64_t n_panels = (rows + path->panel_rows - 1) / path->panel_rows, n;
    bool fits = bitnet_mul_u64(n_panels, path->panel_bytes((size_t)cols), &n);
    return fits && n < SIZE_MAX / 2 ? n : UINT64_MAX;
}

static bool is_by_codes(enum bitnet_dtype type)
{
    const struct bitnet_codec *codec = bitnet_codec(type);
    return codec && codec->decode_trits && bitnet_dtype_info(type)->kind == BITNET_KIND_TERNARY;
}

static bool is_by_floats(enum bitnet_dtype type)
{
    const struct bitnet_codec *codec = bitnet_codec(type);
    return codec && codec->decode_rows && bitnet_dtype_info(type)->kind == BITNET_KIND_FLOAT;
}

uint64_t matrix_room(const struct matrix_source *source, const struct bitnet_kernel_set *kernels)
{
    const struct bitnet_tensor *t = source->tensor;
    const struct bitnet_block_path *path = block_slot(kernels, t->type);
    if (source->device && !source->float_activations) return 0;
    if (path && !source->device && source->is_multiplied)
        return panels_bytes(path, t->dims[1], t->dims[0]);
    if (!source->may_be_ternary || !(is_by_codes(t->type) || is_by_floats(t->type))) return 0;
    return packed_bytes((size_t)t->dims[1], (size_t)t->dims[0], source->float_activations,
                        kernels->ternary);
}

static enum bitnet_status pack_begin(struct binding *b, struct bitnet_error *err)
{
    struct matrix *m = b->matrix;
    if (packs_on_device(b))
        return cuda_weights_new_trits(b->source->device, m->rows, m->cols, &m->bytes, &m->n_bytes,
                                      err);
    assert(SLICE_ROWS % b->kernels->ternary->panel_rows == 0 && b->source->room);
    if (b->source->float_activations) m->dense = b->kernels->dense_f16;
    m->type = BITNET_DTYPE_f16;
    m->bytes = b->source->room;
    m->n_bytes = packed_bytes(m->rows, m->cols, b->source->float_activations, b->kernels->ternary);
    m->in_room = true;
    bitnet_pages_touch(b->source->room, (size_t)m->n_bytes, b->source->rooms->end,
                       &b->source->rooms->waited_us);
    return BITNET_OK;
}

/* Rows row .. row + n - 1, row a multiple of SLICE_ROWS. */
static enum bitnet_status pack_rows(struct binding *b, const int8_t *trits, size_t row, size_t n,
                                    struct bitnet_error *err)
{
    static const uint16_t spelled[3] = {0xbc00, 0x0000, 0x3c00}; /* -1, 0, +1 */
    const struct bitnet_ternary_path *path = b->kernels->ternary;
    struct matrix *m = b->matrix;
    if (packs_on_device(b))
        return cuda_weights_put_trits(b->source->device, m->bytes, trits, row, n, m->cols, err);
    if (b->source->float_activations) {
        uint8_t *out = b->source->room + 2 * row * m->cols;
        for (size_t i = 0; i < n * m->cols; i++)
            bitnet_store_u16(out + 2 * i, spelled[trits[i] + 1]);
        return BITNET_OK;
    }
    size_t panel_bytes = path->panel_bytes(m->cols),
           n_panels = (n + path->panel_rows - 1) / path->panel_rows;
    uint8_t *out = b->source->room + row / path->panel_rows * panel_bytes;
    for (size_t panel = 0; panel < n_panels; panel++)
        path->pack(trits, n, m->cols, panel, out + panel * panel_bytes);
    return BITNET_OK;
}

/* One scale when all rows agree, else one per row. */
static enum bitnet_status keep_scales(struct binding *b, struct bitnet_error *err)
{
    struct matrix *m = b->matrix;
    size_t first = 0;
    while (first < m->rows && b->is_free[first]) first++;
    m->scale = first < m->rows ? b->row_scales[first] : 0;
    bool agree = true;
    for (size_t r = first; r < m->rows && agree; r++)
        agree = b->is_free[r] || b->row_scales[r] == m->scale;
    if (agree) return BITNET_OK;
    m->row_scales = bitnet_alloc(m->rows, sizeof(float));
    if (!m->row_scales) return no_memory(err, m->rows * sizeof(float));
    for (size_t r = 0; r < m->rows; r++) m->row_scales[r] = b->is_free[r] ? 0 : b->row_scales[r];
    return BITNET_OK;
}

/* ------------------------------------------------------------------ ternary types */

/* A row's blocks as one scale. A block without a non-zero trit says nothing about the scale, one
 * with scale 0 has no non-zero value, whatever its trits. False when blocks disagree. */
static bool one_scale(int8_t *trits, const float *scales, size_t n_blocks, size_t block,
                      float *scale, bool *is_free)
{
    *is_free = true;
    *scale = 0;
    for (size_t k = 0; k < n_blocks; k++, trits += block) {
        if (scales[k] == 0) memset(trits, 0, block);
        size_t used = 0;
        while (used < block && trits[used] == 0) used++;
        if (used == block) continue;
        if (!*is_free && scales[k] != *scale) return false;
        *scale = scales[k];
        *is_free = false;
    }
    return true;
}

/* Gathers the scales of rows that were decoded; false when a row has more than one. */
static bool gather_scales(struct binding *b, int8_t *trits, const float *scales, size_t row,
                          size_t n)
{
    const struct bitnet_layout *layout = &b->layout;
    size_t n_blocks = 1, per_row = b->codec->scales == BITNET_SCALES_TENSOR ? 0 : 1;
    if (b->codec->scales == BITNET_SCALES_BLOCK)
        n_blocks = per_row = bitnet_scale_count(layout) / layout->rows;
    for (size_t r = 0; r < n; r++)
        if (!one_scale(trits + r * layout->cols, scales + r * per_row, n_blocks,
                       layout->cols / n_blocks, &b->row_scales[row + r], &b->is_free[row + r]))
            return false;
    return true;
}

/* Where the bytes of some rows are. Rows of PLAIN types stand alone. A FLAT type without tiles is
 * all codes in order, then the tail: its rows are some codes and a copy of the tail. Tiled types
 * scatter their rows. */
static size_t slice_rows(const struct bitnet_layout *layout)
{
    bool stands_alone = bitnet_dtype_info(layout->type)->rule == BITNET_SIZE_PLAIN;
    bool is_flat = bitnet_dtype_info(layout->type)->rule == BITNET_SIZE_FLAT && !layout->tile.rows;
    return (stands_alone || is_flat) && layout->rows > SLICE_ROWS ? SLICE_ROWS : layout->rows;
}

static struct bitnet_bytes slice_bytes(struct binding *b, size_t row, size_t n)
{
    struct bitnet_bytes data = b->source->tensor->data;
    if (n == b->layout.rows) return data;
    if (bitnet_dtype_info(b->layout.type)->rule == BITNET_SIZE_PLAIN) {
        size_t row_bytes = bitnet_rows_bytes(&b->layout, 1);
        return (struct bitnet_bytes){data.at + row * row_bytes, n * row_bytes};
    }
    size_t all = b->layout.rows * b->layout.cols / 4, tail = data.n - all;
    size_t codes = n * b->layout.cols / 4;
    uint8_t *copy = scratch_bytes(b->scratch, codes + tail);
    if (!copy) return (struct bitnet_bytes){0};
    memcpy(copy, data.at + row * b->layout.cols / 4, codes);
    memcpy(copy + codes, data.at + all, tail);
    return (struct bitnet_bytes){copy, codes + tail};
}

/* Decodes rows into scratch trits; scales[] as the codec gives them. */
static enum bitnet_status decode_rows(struct binding *b, size_t row, size_t n, int8_t **trits,
                                      float **scales, struct bitnet_error *err)
{
    struct bitnet_layout part = b->layout;
    part.rows = n;
    struct bitnet_bytes bytes = slice_bytes(b, row, n);
    *trits = scratch_trits(b->scratch, n * part.cols);
    *scales = scratch_floats(b->scratch, bitnet_scale_count(&part));
    if (!bytes.at || !*trits || !*scales) return no_memory(err, n * part.cols);
    return b->codec->decode_trits(&part, bytes.at, bytes.n, *trits, *scales, err);
}

/* A slice is damaged. Its error counts rows from the slice; the whole tensor's counts from 0. */
static enum bitnet_status name_damage(struct binding *b, enum bitnet_status status,
                                      struct bitnet_error *err)
{
    struct bitnet_error whole;
    int8_t *trits;
    float *scales;
    if (status != BITNET_FORMAT) return status;
    if (decode_rows(b, 0, b->layout.rows, &trits, &scales, &whole) == BITNET_FORMAT && err)
        *err = whole;
    return status;
}

/* A ternary type. *done is false when its scales need the dense way. */
static enum bitnet_status bind_codes(struct binding *b, bool *done, struct bitnet_error *err)
{
    size_t rows = b->layout.rows, step = slice_rows(&b->layout);
    enum bitnet_status status = pack_begin(b, err);
    *done = true;
    for (size_t row = 0; row < rows && !status && *done; row += step) {
        size_t n = rows - row < step ? rows - row : step;
        int8_t *trits;
        float *scales;
        status = decode_rows(b, row, n, &trits, &scales, err);
        if (status) return n < rows ? name_damage(b, status, err) : status;
        *done = gather_scales(b, trits, scales, row, n);
        if (*done) status = pack_rows(b, trits, row, n, err);
    }
    if (!*done) leave_room(b);
    return status || !*done ? status : keep_scales(b, err);
}

/* ------------------------------------------------------------------ floats that are trits */

/* All float types are a sign bit above a magnitude, so equal sizes are equal bits and nothing need
 * be converted. Blocks of a fixed length, so that the compiler makes vectors of them. */
#define FLOAT_BLOCK 64u

/* Bits that some magnitude has which is neither zero nor `size`. */
static uint32_t trits_of_u16(const uint8_t *restrict in, size_t n, uint16_t size,
                             int8_t *restrict trits)
{
    uint16_t other = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t v = bitnet_load_u16(in + 2 * i), magnitude = v & 0x7fff;
        uint16_t is_used = (uint16_t) - (magnitude != 0);
        other |= is_used & (magnitude ^ size);
        trits[i] = (int8_t)(is_used & (1 - (v >> 15) * 2));
    }
    return other;
}

static uint32_t trits_of_u32(const uint8_t *restrict in, size_t n, uint32_t size,
                             int8_t *restrict trits)
{
    uint32_t other = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t v = bitnet_load_u32(in + 4 * i), magnitude = v & 0x7fffffff;
        uint32_t is_used = (uint32_t) - (int32_t)(magnitude != 0);
        other |= is_used & (magnitude ^ size);
        trits[i] = (int8_t)(is_used & (1 - (v >> 31) * 2));
    }
    return other;
}

static uint32_t magnitude_at(const uint8_t *in, size_t i, size_t width)
{
    return width == 2 ? bitnet_load_u16(in + 2 * i) & 0x7fffu
                      : bitnet_load_u32(in + 4 * i) & 0x7fffffffu;
}

/* A row of floats of 2 or 4 bytes as trits; false when it is not {-s, 0, +s}. *first is where s is,
 * n when the row is all zeros. */
static bool row_is_ternary(const uint8_t *in, size_t n, size_t width, int8_t *trits, size_t *first)
{
    size_t at = 0;
    while (at < n && magnitude_at(in, at, width) == 0) at++;
    *first = at;
    uint32_t size = at < n ? magnitude_at(in, at, width) : 0, other = 0;
    for (size_t c = 0; c < n && !other; c += FLOAT_BLOCK) {
        size_t part = n - c < FLOAT_BLOCK ? n - c : FLOAT_BLOCK;
        const uint8_t *block = in + c * width;
        if (width == 2 && part == FLOAT_BLOCK)
            other = trits_of_u16(block, FLOAT_BLOCK, (uint16_t)size, trits + c);
        else if (width == 2)
            other = trits_of_u16(block, part, (uint16_t)size, trits + c);
        else if (part == FLOAT_BLOCK)
            other = trits_of_u32(block, FLOAT_BLOCK, size, trits + c);
        else
            other = trits_of_u32(block, part, size, trits + c);
    }
    return !other;
}

/* Row `row` of the tensor into trits; its scale noted. False: not ternary, or not finite. */
static bool take_float_row(struct binding *b, size_t row, int8_t *trits)
{
    struct bitnet_layout one = {.type = b->layout.type, .rows = 1, .cols = 1};
    size_t width = bitnet_rows_bytes(&one, 1), first;
    const uint8_t *in = b->source->tensor->data.at + row * b->layout.cols * width;
    float *scale = &b->row_scales[row];
    if (!row_is_ternary(in, b->layout.cols, width, trits, &first)) return false;
    b->is_free[row] = first == b->layout.cols;
    if (b->is_free[row]) return true;
    b->codec->decode_rows(&one, in + first * width, 1, scale);
    *scale = fabsf(*scale);
    return isfinite(*scale);
}

/* A float type whose rows all spell trits. *done is false when one does not: usually the first,
 * so that a dense model costs one row's look. */
static enum bitnet_status bind_floats(struct binding *b, bool *done, struct bitnet_error *err)
{
    size_t rows = b->layout.rows, cols = b->layout.cols;
    int8_t *trits = scratch_trits(b->scratch, (rows < SLICE_ROWS ? rows : SLICE_ROWS) * cols);
    if (!trits) return no_memory(err, SLICE_ROWS * cols);
    enum bitnet_status status = BITNET_OK;
    *done = true;
    for (size_t row = 0; row < rows && *done && !status; row += SLICE_ROWS) {
        size_t n = rows - row < SLICE_ROWS ? rows - row : SLICE_ROWS;
        for (size_t r = 0; r < n && *done; r++)
            *done = take_float_row(b, row + r, trits + r * cols);
        if (*done && row == 0) status = pack_begin(b, err);
        if (*done && !status) status = pack_rows(b, trits, row, n, err);
    }
    if (!*done) leave_room(b);
    return status || !*done ? status : keep_scales(b, err);
}

/* ------------------------------------------------------------------ everything else */

/* Floats of a ternary tensor that decodes by trits only. */
static enum bitnet_status decode_codes(struct binding *b, float *out, struct bitnet_error *err)
{
    const struct bitnet_layout *layout = &b->layout;
    size_t n = layout->rows * layout->cols, per_scale = n / bitnet_scale_count(layout);
    int8_t *trits;
    float *scales;
    enum bitnet_status status = decode_rows(b, 0, layout->rows, &trits, &scales, err);
    for (size_t i = 0; !status && i < n; i++) out[i] = (float)trits[i] * scales[i / per_scale];
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
    b->matrix->decoded = bitnet_alloc_aligned(n_bytes);
    if (!b->matrix->decoded) return no_memory(err, n_bytes);
    b->matrix->bytes = b->matrix->decoded;
    b->matrix->n_bytes = n_bytes;
    float *out = (float *)(void *)b->matrix->decoded;
    b->matrix->dense = b->kernels->dense_f32;
    b->matrix->type = BITNET_DTYPE_f32;
    b->matrix->is_decoded = true;
    if (!b->codec->decode_rows) return decode_codes(b, out, err);
    b->codec->decode_rows(layout, b->source->tensor->data.at, layout->rows, out);
    return BITNET_OK;
}

/* Where the panels will be; matrix_settle() packs them. */
static enum bitnet_status place_blocks(struct binding *b)
{
    struct matrix *m = b->matrix;
    m->bytes = b->source->room;
    m->n_bytes = panels_bytes(m->blocks, m->rows, m->cols);
    m->in_room = true;
    return BITNET_OK;
}

/* The file's bytes as they are where the device reads their type, else as f32; to_device() sends
 * them. */
static enum bitnet_status bind_for_device(struct binding *b, struct bitnet_error *err)
{
    enum bitnet_cuda_dense dense;
    struct matrix *m = b->matrix;
    if (!cuda_weights_reads(b->layout.type, &dense)) return decode_all(b, err);
    m->blocks = block_slot(b->kernels, b->layout.type);
    m->dense = dense_slot(b->kernels, b->layout.type);
    m->bytes = b->source->tensor->data.at;
    m->n_bytes = b->source->tensor->data.n;
    return BITNET_OK;
}

static enum bitnet_status bind_dense(struct binding *b, struct bitnet_error *err)
{
    b->matrix->scale = 1;
    b->matrix->is_inexact = b->source->may_be_ternary;
    b->matrix->type = b->layout.type;
    if (b->source->device) return bind_for_device(b, err);
    b->matrix->blocks = b->source->room ? block_slot(b->kernels, b->layout.type) : NULL;
    if (b->matrix->blocks) return place_blocks(b);
    if (!b->source->is_multiplied && b->codec && b->codec->decode_rows) return BITNET_OK;
    b->matrix->dense = dense_slot(b->kernels, b->layout.type);
    if (!b->matrix->dense) return decode_all(b, err);
    b->matrix->bytes = b->source->tensor->data.at;
    b->matrix->n_bytes = b->source->tensor->data.n;
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

/* What is still here of a matrix that goes to a device: bytes that are no trits, scales of rows. */
static enum bitnet_status to_device(struct binding *b, struct bitnet_error *err)
{
    struct matrix *m = b->matrix;
    struct cuda_weights *device = b->source->device;
    const void *bytes = m->bytes, *scales = NULL;
    enum bitnet_status status = BITNET_OK;
    if (!matrix_is_ternary(m))
        status = cuda_weights_put(device, m->bytes, (size_t)m->n_bytes, &bytes, err);
    if (!status && m->row_scales)
        status =
            cuda_weights_put(device, m->row_scales, m->rows * sizeof *m->row_scales, &scales, err);
    if (status) return status;
    bitnet_free_aligned(m->decoded);
    bitnet_free(m->row_scales);
    m->decoded = NULL;
    m->bytes = bytes;
    m->row_scales = (float *)(uintptr_t)scales;
    m->on_device = true;
    bitnet_gguf_release(b->source->gguf, b->source->tensor);
    return BITNET_OK;
}

static enum bitnet_status bind_ternary(struct binding *b, bool *done, struct bitnet_error *err)
{
    bool by_codes = is_by_codes(b->layout.type);
    if (!b->source->may_be_ternary || !(by_codes || is_by_floats(b->layout.type))) return BITNET_OK;
    b->row_scales = bitnet_alloc(b->layout.rows, sizeof *b->row_scales);
    b->is_free = bitnet_alloc(b->layout.rows, sizeof *b->is_free);
    enum bitnet_status status = BITNET_OK;
    if (!b->row_scales || !b->is_free)
        status = no_memory(err, b->layout.rows * sizeof *b->row_scales);
    if (!status) status = by_codes ? bind_codes(b, done, err) : bind_floats(b, done, err);
    bitnet_free(b->row_scales);
    bitnet_free(b->is_free);
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
    bool done = false;
    enum bitnet_status status = matrix_layout(&b.layout, source->gguf, tensor, err);
    if (!status) status = bind_ternary(&b, &done, err);
    if (!status && !done) status = bind_dense(&b, err);
    if (!status) status = apply_extra_scale(&b, err);
    if (!status && source->device) status = to_device(&b, err);
    if (!status) {
        if ((matrix->in_room && !matrix->blocks) || matrix->decoded)
            bitnet_gguf_release(source->gguf, tensor);
        return BITNET_OK;
    }
    matrix_free(matrix);
    return bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(tensor->name));
}

/* ------------------------------------------------------------------ settling */

#define PIECE_BYTES (1u << 20) /* about; the file's pages of so much are there twice at a time */

/* A matrix on its way from the file to where it is read, cut into pieces. */
struct move {
    struct matrix *matrix;
    const struct matrix_source *source;
    uint8_t *to;
    struct room *room;
    size_t piece; /* bytes, or panels */
    size_t n;     /* of them in all */
};

static void copy_pieces(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct move *move = ctx;
    const struct bitnet_tensor *tensor = move->source->tensor;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        size_t at = i * move->piece, n = move->n - at < move->piece ? move->n - at : move->piece;
        bitnet_pages_touch(move->to + at, n, move->room->end, &move->room->waited_us);
        memcpy(move->to + at, tensor->data.at + at, n);
        bitnet_gguf_release_part(move->source->gguf, tensor, at, n);
    }
}

static void pack_pieces(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct move *move = ctx;
    const struct matrix *m = move->matrix;
    const struct bitnet_block_path *path = m->blocks;
    const size_t row_bytes = (size_t)move->source->tensor->data.n / m->rows;
    const size_t panel_bytes = path->panel_bytes(m->cols);
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        size_t first = i * move->piece, left = move->n - first;
        size_t n = left < move->piece ? left : move->piece, row = first * path->panel_rows;
        bitnet_pages_touch(move->to + first * panel_bytes, n * panel_bytes, move->room->end,
                           &move->room->waited_us);
        for (size_t p = first; p < first + n; p++) {
            size_t at = p * path->panel_rows, rows = m->rows - at;
            path->pack(move->source->tensor->data.at + at * row_bytes,
                       rows < path->panel_rows ? rows : path->panel_rows, m->cols,
                       move->to + p * panel_bytes);
        }
        size_t n_rows = n * path->panel_rows < m->rows - row ? n * path->panel_rows : m->rows - row;
        bitnet_gguf_release_part(move->source->gguf, move->source->tensor, row * row_bytes,
                                 n_rows * row_bytes);
    }
}

static void pack_blocks(struct matrix *matrix, const struct matrix_source *source,
                        struct bitnet_pool *pool)
{
    const struct bitnet_block_path *path = matrix->blocks;
    struct move move = {.matrix = matrix,
                        .source = source,
                        .to = source->room,
                        .room = source->rooms,
                        .piece = PIECE_BYTES / path->panel_bytes(matrix->cols) + 1,
                        .n = (matrix->rows + path->panel_rows - 1) / path->panel_rows};
    bitnet_pool_run(pool, (move.n + move.piece - 1) / move.piece, 1, pack_pieces, &move);
}

static enum bitnet_status copy_dense(struct matrix *matrix, const struct matrix_source *source,
                                     struct bitnet_pool *pool, struct bitnet_error *err)
{
    struct room room = {.at = bitnet_alloc_pages((size_t)matrix->n_bytes)};
    struct move move = {.matrix = matrix,
                        .source = source,
                        .to = room.at,
                        .room = &room,
                        .piece = PIECE_BYTES,
                        .n = (size_t)matrix->n_bytes};
    if (!room.at) return no_memory(err, matrix->n_bytes);
    room.end = room.at + matrix->n_bytes;
    bitnet_pool_run(pool, (move.n + move.piece - 1) / move.piece, 1, copy_pieces, &move);
    matrix->bytes = matrix->pages = room.at;
    return BITNET_OK;
}

enum bitnet_status matrix_settle(struct matrix *matrix, const struct matrix_source *source,
                                 bool to_pages, struct bitnet_pool *pool, struct bitnet_error *err)
{
    if (matrix->on_device) return BITNET_OK;
    if (matrix->blocks) pack_blocks(matrix, source, pool);
    if (!to_pages || !matrix->dense || matrix->bytes != source->tensor->data.at) return BITNET_OK;
    return copy_dense(matrix, source, pool, err);
}
