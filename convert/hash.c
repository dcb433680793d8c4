/* One number for a model's tensors. What SHA-256 is fed (integers are 8 bytes, little-endian):
 *
 * - The model: "bitnet raw 1\n" or "bitnet logical 1\n", then for each tensor, in the byte order of
 *   the names: length of the name, the name, its digest.
 * - A tensor: four dimensions (missing ones are 1), then
 *   - raw: length of the type's label, the label, the tensor's bytes;
 *   - logical, ternary: 'T', then for each row: the codes (trit + 1, four to a byte, lowest bits
 *     first, the last byte filled with zero bits), the number of scale changes, and of each change
 *     the column and the scale's four f32 bytes. A change is a trit other than zero whose scale is
 *     not that of the one before it in the row. Negative scales are turned around with their trits;
 *     a zero scale makes its trits zero.
 *   - logical, other: 'F', then all values as f32, four bytes each.
 *
 * A trit of zero has no scale, so it does not matter what a block of zeros keeps as its scale. */
#include "bitnet/logical.h"

#include "values.h"

#include "bitnet/alloc.h"
#include "bitnet/sha.h"
#include "bitnet/text.h"

#include <stdlib.h>

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

/* ------------------------------------------------------------------ one tensor */

static void add_text(struct bitnet_sha *hash, struct bitnet_str text)
{
    bitnet_sha_add_u64(hash, text.n);
    bitnet_sha_add(hash, text.at, text.n);
}

/* Scratch for the rows of one ternary tensor. */
struct ternary_row {
    uint8_t *codes;   /* [(cols + 3) / 4] */
    uint8_t *changes; /* 12 bytes each */
    size_t n_changes;
    float scale; /* of the last trit that is not zero; 0: none yet in this row */
};

static void note_change(struct ternary_row *row, size_t col, float scale)
{
    uint8_t *at = row->changes + 12 * row->n_changes++;
    bitnet_store_u64(at, col);
    bitnet_store_f32(at + 8, scale);
    row->scale = scale;
}

/* Columns begin..end share one scale. */
static void spell_run(struct ternary_row *row, const int8_t *trits, float scale, size_t begin,
                      size_t end)
{
    int sign = scale < 0 ? -1 : scale > 0 ? 1 : 0;
    for (size_t c = begin; c < end; c++) {
        int trit = trits[c] * sign;
        row->codes[c / 4] |= (uint8_t)((unsigned)(trit + 1) << (2 * (c % 4)));
        if (trit && row->scale != scale * (float)sign) note_change(row, c, scale * (float)sign);
    }
}

static void add_ternary_row(struct bitnet_sha *hash, const struct values *values, size_t r,
                            struct ternary_row *row)
{
    size_t cols = values->layout.cols, run = values_run(values);
    memset(row->codes, 0, (cols + 3) / 4);
    row->n_changes = 0;
    row->scale = 0;
    for (size_t begin = 0; begin < cols; begin += run) {
        size_t end = begin + run < cols ? begin + run : cols;
        spell_run(row, values->trits + r * cols, values_scale(values, r, begin), begin, end);
    }
    bitnet_sha_add(hash, row->codes, (cols + 3) / 4);
    bitnet_sha_add_u64(hash, row->n_changes);
    bitnet_sha_add(hash, row->changes, 12 * row->n_changes);
}

static enum bitnet_status add_ternary(struct bitnet_sha *hash, const struct values *values,
                                      struct bitnet_error *err)
{
    size_t cols = values->layout.cols, n_runs = cols / values_run(values) + 1;
    struct ternary_row row = {.codes = bitnet_alloc((cols + 3) / 4, 1),
                              .changes = bitnet_alloc(n_runs, 12)};
    bool ok = row.codes && row.changes;
    bitnet_sha_add(hash, "T", 1);
    for (size_t r = 0; ok && r < values->layout.rows; r++) add_ternary_row(hash, values, r, &row);
    bitnet_free(row.codes);
    bitnet_free(row.changes);
    return ok ? BITNET_OK : no_memory(err);
}

static void add_float_row(struct bitnet_sha *hash, const float *row, size_t cols)
{
    enum { CHUNK = 256 };
    uint8_t bytes[4 * CHUNK];
    for (size_t begin = 0; begin < cols; begin += CHUNK) {
        size_t n = cols - begin < CHUNK ? cols - begin : CHUNK;
        for (size_t i = 0; i < n; i++) bitnet_store_f32(bytes + 4 * i, row[begin + i]);
        bitnet_sha_add(hash, bytes, 4 * n);
    }
}

static void add_floats(struct bitnet_sha *hash, struct values *values)
{
    bitnet_sha_add(hash, "F", 1);
    for (size_t r = 0; r < values->layout.rows; r++)
        add_float_row(hash, values_row(values, r), values->layout.cols);
}

static enum bitnet_status add_values(struct bitnet_sha *hash, const struct bitnet_gguf *gguf,
                                     const struct bitnet_tensor *tensor,
                                     const struct reading *reading, struct bitnet_error *err)
{
    struct values values;
    enum bitnet_status status = values_open_as(&values, gguf, tensor, reading, err);
    if (status) return status;
    if (values.trits)
        status = add_ternary(hash, &values, err);
    else
        add_floats(hash, &values);
    values_close(&values);
    return status;
}

static enum bitnet_status hash_tensor(const struct bitnet_gguf *gguf,
                                      const struct bitnet_tensor *tensor,
                                      const struct bitnet_hash_options *options, uint8_t *digest,
                                      struct bitnet_error *err)
{
    const struct reading reading = {.i2_s_order = options->i2_s_order};
    struct bitnet_sha hash;
    enum bitnet_status status = BITNET_OK;
    bool is_integer = bitnet_dtype_info(tensor->type)->kind == BITNET_KIND_INTEGER;
    bitnet_sha_begin(&hash, BITNET_SHA256);
    for (size_t i = 0; i < BITNET_DIMS_MAX; i++) bitnet_sha_add_u64(&hash, tensor->dims[i]);
    if (options->kind == BITNET_HASH_LOGICAL && !is_integer) {
        status = add_values(&hash, gguf, tensor, &reading, err);
    } else {
        add_text(&hash, bitnet_str_of(bitnet_dtype_info(tensor->type)->label));
        bitnet_sha_add(&hash, tensor->data.at, tensor->data.n);
    }
    if (!bitnet_sha_finish(&hash, digest) && !status) status = no_memory(err);
    bitnet_gguf_release(gguf, tensor);
    return status ? bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(tensor->name))
                  : BITNET_OK;
}

/* ------------------------------------------------------------------ the model */

static int by_name(const void *a, const void *b)
{
    struct bitnet_str x = (*(const struct bitnet_tensor *const *)a)->name;
    struct bitnet_str y = (*(const struct bitnet_tensor *const *)b)->name;
    int order = memcmp(x.at, y.at, x.n < y.n ? x.n : y.n);
    return order ? order : x.n < y.n ? -1 : x.n > y.n;
}

static enum bitnet_status hash_sorted(const struct bitnet_gguf *gguf,
                                      const struct bitnet_hash_options *options,
                                      const struct bitnet_tensor **sorted, size_t n,
                                      struct bitnet_sha *hash, struct bitnet_error *err)
{
    uint8_t digest[BITNET_DIGEST_BYTES];
    for (size_t i = 0; i < n; i++) {
        enum bitnet_status status = hash_tensor(gguf, sorted[i], options, digest, err);
        if (status) return status;
        if (options->each) options->each(options->user, sorted[i]->name, digest);
        add_text(hash, sorted[i]->name);
        bitnet_sha_add(hash, digest, sizeof digest);
    }
    return BITNET_OK;
}

enum bitnet_status bitnet_hash_model(const struct bitnet_gguf *gguf,
                                     const struct bitnet_hash_options *options,
                                     uint8_t digest[BITNET_DIGEST_BYTES], struct bitnet_error *err)
{
    bool is_logical = options->kind == BITNET_HASH_LOGICAL;
    const char *title = is_logical ? "bitnet logical 1\n" : "bitnet raw 1\n";
    size_t n = bitnet_gguf_tensor_count(gguf);
    const struct bitnet_tensor **sorted = bitnet_alloc(n ? n : 1, sizeof *sorted);
    if (!sorted) return no_memory(err);
    for (size_t i = 0; i < n; i++) sorted[i] = bitnet_gguf_tensor_at(gguf, i);
    qsort(sorted, n, sizeof *sorted, by_name);
    struct bitnet_sha hash;
    bitnet_sha_begin(&hash, BITNET_SHA256);
    bitnet_sha_add(&hash, title, strlen(title));
    enum bitnet_status status = hash_sorted(gguf, options, sorted, n, &hash, err);
    bitnet_free(sorted);
    if (!status) status = bitnet_gguf_unchanged(gguf, err);
    if (!bitnet_sha_finish(&hash, digest) && !status) status = no_memory(err);
    return status;
}
