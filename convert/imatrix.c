/* Reading importance matrices.
 *
 *   old form   i32 n; n times { i32 length, name, i32 n_calls, i32 n_values, f32 sums[n_values] };
 *              then, in younger files, i32 last chunk, i32 length, name of the text
 *              value = sum / n_calls (sums as they are when n_calls is 0)
 *   GGUF       tensors "<name>.in_sum2" f32 [cols][matrices] and "<name>.counts" f32 [1][matrices]
 *              value = in_sum2 / counts; a matrix that was never used counts as all ones
 *
 * Source: llama.cpp, tools/imatrix (writer) and tools/quantize (reader), in both forms. */
#include "imatrix.h"

#include "bitnet/alloc.h"
#include "bitnet/arena.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/text.h"

#include <inttypes.h>
#include <math.h>

/* --- ceilings --- */
#define FILE_BYTES_MAX (1u << 30)
#define ENTRIES_MAX    262144u
#define NAME_BYTES_MAX 255u
#define VALUES_MAX     (1u << 24)

struct entry {
    struct bitnet_str name;
    float *values;
    size_t n;
};

struct imatrix {
    struct bitnet_arena arena;
    struct entry *entries;
    size_t n, cap;
    struct bitnet_map by_name;
};

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for the importance matrix");
}

/* Room for one more entry, with its name taken and its values still to be filled. */
static enum bitnet_status add_entry(struct imatrix *im, struct bitnet_str name, size_t n,
                                    struct entry **out, struct bitnet_error *err)
{
    if (!BITNET_GROW(im->entries, im->n, im->cap, ENTRIES_MAX))
        return im->n >= ENTRIES_MAX
                   ? bitnet_fail(err, BITNET_LIMIT, "more than %u entries", ENTRIES_MAX)
                   : no_memory(err);
    struct entry e = {.name = bitnet_arena_copy(&im->arena, name),
                      .values = bitnet_arena_alloc(&im->arena, n, sizeof *e.values),
                      .n = n};
    if (!e.name.at || !e.values) return no_memory(err);
    switch (bitnet_map_put(&im->by_name, e.name, (uint32_t)im->n, NULL)) {
    case BITNET_MAP_MEMORY:
        return no_memory(err);
    case BITNET_MAP_EXISTS:
        return bitnet_fail(err, BITNET_FORMAT, "entry %s appears twice", BITNET_QUOTE(name));
    case BITNET_MAP_NEW:
        break;
    }
    im->entries[im->n] = e;
    *out = &im->entries[im->n++];
    return BITNET_OK;
}

static enum bitnet_status check_values(const struct entry *e, struct bitnet_error *err)
{
    for (size_t i = 0; i < e->n; i++)
        if (!(isfinite(e->values[i]) && e->values[i] >= 0))
            return bitnet_fail(err, BITNET_FORMAT,
                               "entry %s: value %zu is %g (must be finite and not negative)",
                               BITNET_QUOTE(e->name), i, (double)e->values[i]);
    return BITNET_OK;
}

/* --- the old form --- */

static enum bitnet_status parse_entry(struct imatrix *im, struct bitnet_cursor *c, size_t number,
                                      struct bitnet_error *err)
{
    uint32_t n_name = bitnet_take_u32(c);
    if (c->bad || n_name == 0 || n_name > NAME_BYTES_MAX)
        return bitnet_fail(err, BITNET_FORMAT, "entry %zu: name of %u bytes (allowed 1 to %u)",
                           number, n_name, NAME_BYTES_MAX);
    const char *name_at = (const char *)bitnet_take(c, n_name);
    uint32_t n_calls = bitnet_take_u32(c), n = bitnet_take_u32(c);
    if (c->bad) return bitnet_fail(err, BITNET_FORMAT, "the file ends inside entry %zu", number);
    struct bitnet_str name = {name_at, n_name};
    if (n == 0 || n > VALUES_MAX || n_calls > INT32_MAX || n > bitnet_cursor_left(c) / 4)
        return bitnet_fail(err, BITNET_FORMAT,
                           "entry %s: %u values of %u calls in the remaining %zu bytes",
                           BITNET_QUOTE(name), n, n_calls, bitnet_cursor_left(c));
    struct entry *e = NULL;
    enum bitnet_status status = add_entry(im, name, n, &e, err);
    if (status) return status;
    const uint8_t *values = bitnet_take(c, 4 * (uint64_t)n);
    for (size_t i = 0; i < n; i++) {
        e->values[i] = bitnet_load_f32(values + 4 * i);
        if (n_calls > 0) e->values[i] /= (float)n_calls;
    }
    return check_values(e, err);
}

static enum bitnet_status parse_old(struct imatrix *im, struct bitnet_bytes bytes,
                                    struct bitnet_error *err)
{
    struct bitnet_cursor c = bitnet_cursor_over(bytes);
    uint32_t n = bitnet_take_u32(&c);
    if (c.bad || n == 0 || n > ENTRIES_MAX || n > bitnet_cursor_left(&c) / 17)
        return bitnet_fail(err, BITNET_FORMAT,
                           "%u entries are impossible in an importance matrix of %zu bytes", n,
                           bytes.n);
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < n && !status; i++) status = parse_entry(im, &c, i, err);
    return status; /* what follows names the text that was measured */
}

enum bitnet_status imatrix_parse(struct imatrix **result, struct bitnet_bytes bytes,
                                 struct bitnet_error *err)
{
    *result = NULL;
    struct imatrix *im = bitnet_alloc(1, sizeof *im);
    if (!im) return no_memory(err);
    enum bitnet_status status = parse_old(im, bytes, err);
    if (status)
        imatrix_free(im);
    else
        *result = im;
    return status;
}

/* --- GGUF --- */

#define SUMS_SUFFIX ".in_sum2"

static enum bitnet_status read_sums(struct imatrix *im, const struct bitnet_tensor *sums,
                                    const struct bitnet_tensor *counts, struct bitnet_str name,
                                    struct bitnet_error *err)
{
    uint64_t cols = sums->dims[0], matrices = sums->dims[1];
    if (!counts || sums->type != BITNET_DTYPE_f32 || counts->type != BITNET_DTYPE_f32 ||
        counts->data.n != 4 * matrices || cols * matrices > VALUES_MAX)
        return bitnet_fail(err, BITNET_FORMAT, "entry %s: sums and counts do not fit together",
                           BITNET_QUOTE(name));
    struct entry *e = NULL;
    enum bitnet_status status = add_entry(im, name, (size_t)(cols * matrices), &e, err);
    for (size_t m = 0; m < matrices && !status; m++) {
        float count = bitnet_load_f32(counts->data.at + 4 * m);
        for (size_t c = 0; c < cols; c++) {
            float sum = bitnet_load_f32(sums->data.at + 4 * (m * cols + c));
            e->values[m * cols + c] = count > 0 ? sum / count : 1.0f;
        }
    }
    return status ? status : check_values(e, err);
}

static enum bitnet_status read_gguf(struct imatrix *im, const struct bitnet_gguf *gguf,
                                    struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf) && !status; i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(gguf, i);
        char counts_name[300];
        if (!bitnet_str_ends(t->name, SUMS_SUFFIX) || t->name.n > 255) continue;
        struct bitnet_str name = {t->name.at, t->name.n - strlen(SUMS_SUFFIX)};
        memcpy(counts_name, name.at, name.n);
        memcpy(counts_name + name.n, ".counts", sizeof ".counts");
        status =
            read_sums(im, t, bitnet_gguf_find_tensor(gguf, bitnet_str_of(counts_name)), name, err);
    }
    if (status || im->n > 0) return status;
    return bitnet_fail(err, BITNET_FORMAT, "this GGUF holds no importance matrix");
}

static enum bitnet_status open_gguf(struct imatrix *im, const char *path, struct bitnet_error *err)
{
    struct bitnet_gguf *gguf = NULL;
    enum bitnet_status status = bitnet_gguf_open(&gguf, path, NULL, err);
    if (status) return status; /* the text begins with the path already */
    status = read_gguf(im, gguf, err);
    bitnet_gguf_close(gguf);
    return status ? bitnet_error_prefix(err, status, "%s", path) : BITNET_OK;
}

/* --- either --- */

static enum bitnet_status open_old(struct imatrix *im, const char *path, struct bitnet_error *err)
{
    struct bitnet_str text = {0};
    enum bitnet_status status = bitnet_read_file(path, FILE_BYTES_MAX, &text, err);
    if (status) return status;
    status = parse_old(im, (struct bitnet_bytes){(const uint8_t *)text.at, text.n}, err);
    bitnet_free((void *)(uintptr_t)text.at);
    return status ? bitnet_error_prefix(err, status, "%s", path) : BITNET_OK;
}

static enum bitnet_status is_gguf_file(const char *path, bool *is_gguf, struct bitnet_error *err)
{
    struct bitnet_file file;
    char magic[4] = {0};
    enum bitnet_status status = bitnet_file_open(&file, path, err);
    if (status) return status;
    if (file.bytes.n >= sizeof magic) status = bitnet_file_read(&file, 0, magic, sizeof magic, err);
    bitnet_file_close(&file);
    *is_gguf = memcmp(magic, "GGUF", sizeof magic) == 0;
    return status;
}

enum bitnet_status imatrix_open(struct imatrix **result, const char *path, struct bitnet_error *err)
{
    bool is_gguf = false;
    *result = NULL;
    enum bitnet_status status = is_gguf_file(path, &is_gguf, err);
    if (status) return status;
    struct imatrix *im = bitnet_alloc(1, sizeof *im);
    if (!im) return no_memory(err);
    status = is_gguf ? open_gguf(im, path, err) : open_old(im, path, err);
    if (status)
        imatrix_free(im);
    else
        *result = im;
    return status;
}

void imatrix_free(struct imatrix *imatrix)
{
    if (!imatrix) return;
    bitnet_map_free(&imatrix->by_name);
    bitnet_free(imatrix->entries);
    bitnet_arena_free(&imatrix->arena);
    bitnet_free(imatrix);
}

const float *imatrix_find(const struct imatrix *imatrix, struct bitnet_str name, size_t *n)
{
    uint32_t i;
    if (!bitnet_map_get(&imatrix->by_name, name, &i)) return NULL;
    *n = imatrix->entries[i].n;
    return imatrix->entries[i].values;
}
