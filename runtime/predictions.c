/* See predictions.h. The format has no description but the program that writes it (llama.cpp,
 * tools/perplexity/perplexity.cpp); little-endian:
 *
 *   "_logits_"  u32 n_context  i32 n_vocab  i32 n_chunks
 *   i32 tokens[n_chunks][n_context]                 as tokenized, bos not yet put in
 *   rows[n_chunks][n_context - 1 - n_context/2]:    one per scored position
 *       f32 step   f32 lowest   u16 codes[n_vocab]   and two bytes more when n_vocab is odd
 *
 * ln p(token) = step * code + lowest. Logits more than 16 below the largest count as 16 below. */
#include "predictions.h"

#include <inttypes.h>
#include <math.h>

#define MAGIC         "_logits_"
#define HEADER_BYTES  20u
#define CONTEXT_MIN   4u
#define CONTEXT_MAX   (1u << 24)
#define CHUNKS_MAX    (1u << 28)
#define DEEPEST       16.0f
#define HIGHEST_CODE  65535.0f
#define LOG_TOO_LARGE 1e-3f /* a probability above 1 by more than rounding */

size_t predictions_row_bytes(size_t n_vocab)
{
    return 2 * sizeof(float) + 2 * (n_vocab + n_vocab % 2);
}

/* ------------------------------------------------------------------ reading */

static enum bitnet_status read_header(struct predictions *p, uint32_t n_vocab,
                                      struct bitnet_error *err)
{
    struct bitnet_cursor c = bitnet_cursor_over(p->file.bytes);
    const uint8_t *magic = bitnet_take(&c, sizeof MAGIC - 1);
    if (!magic || memcmp(magic, MAGIC, sizeof MAGIC - 1) != 0)
        return bitnet_fail(err, BITNET_FORMAT,
                           "this is no file of stored predictions: it does not begin with " MAGIC);
    p->n_context = bitnet_take_u32(&c);
    p->n_vocab = bitnet_take_u32(&c);
    p->n_chunks = bitnet_take_u32(&c);
    if (c.bad) return bitnet_fail(err, BITNET_FORMAT, "it ends within its header");
    if (p->n_context < CONTEXT_MIN || p->n_context > CONTEXT_MAX || p->n_chunks < 1 ||
        p->n_chunks > CHUNKS_MAX)
        return bitnet_fail(err, BITNET_FORMAT, "it claims %" PRIu32 " chunks of %" PRIu32 " tokens",
                           p->n_chunks, p->n_context);
    if (p->n_vocab != n_vocab)
        return bitnet_fail(err, BITNET_FORMAT,
                           "its vocabulary has %" PRIu32 " tokens, the model's %" PRIu32,
                           p->n_vocab, n_vocab);
    return BITNET_OK;
}

/* The whole file must be there and nothing more; the ceilings above keep the sums in range. */
static enum bitnet_status find_parts(struct predictions *p, struct bitnet_error *err)
{
    p->row_bytes = predictions_row_bytes(p->n_vocab);
    p->rows_per_chunk = p->n_context - 1 - p->n_context / 2;
    uint64_t token_bytes = (uint64_t)p->n_chunks * p->n_context * 4, row_bytes, expected;
    bool ok = bitnet_mul_u64((uint64_t)p->n_chunks * p->rows_per_chunk, p->row_bytes, &row_bytes) &&
              bitnet_add_u64(HEADER_BYTES + token_bytes, row_bytes, &expected);
    if (!ok || expected != p->file.bytes.n)
        return bitnet_fail(err, BITNET_FORMAT,
                           "it has %zu bytes, but %" PRIu32 " chunks of %" PRIu32
                           " tokens of a vocabulary of %" PRIu32 " need %" PRIu64,
                           p->file.bytes.n, p->n_chunks, p->n_context, p->n_vocab,
                           ok ? expected : UINT64_MAX);
    p->tokens = p->file.bytes.at + HEADER_BYTES;
    p->rows = p->tokens + token_bytes;
    return BITNET_OK;
}

enum bitnet_status predictions_open(struct predictions *p, const char *path, uint32_t n_vocab,
                                    struct bitnet_error *err)
{
    *p = (struct predictions){.file = {.fd = -1}};
    enum bitnet_status status = bitnet_file_open(&p->file, path, err);
    if (status) return status;
    status = read_header(p, n_vocab, err);
    if (!status) status = find_parts(p, err);
    if (!status) return BITNET_OK;
    predictions_close(p);
    return bitnet_error_prefix(err, status, "%s", path);
}

void predictions_close(struct predictions *p)
{
    if (p->file.path) bitnet_file_close(&p->file);
    *p = (struct predictions){.file = {.fd = -1}};
}

enum bitnet_status predictions_tokens(const struct predictions *p, size_t chunk, int32_t *ids,
                                      struct bitnet_error *err)
{
    for (size_t i = 0; i < p->n_context; i++) {
        uint32_t id = bitnet_load_u32(p->tokens + (chunk * p->n_context + i) * 4);
        if (id >= p->n_vocab)
            return bitnet_fail(err, BITNET_FORMAT,
                               "%s: token %zu of chunk %zu is %" PRId32
                               ", outside of the vocabulary",
                               p->file.path, i, chunk, (int32_t)id);
        ids[i] = (int32_t)id;
    }
    return BITNET_OK;
}

enum bitnet_status predictions_row(const struct predictions *p, size_t chunk, size_t i,
                                   struct predicted_row *row, struct bitnet_error *err)
{
    const uint8_t *at = p->rows + (chunk * p->rows_per_chunk + i) * p->row_bytes;
    *row = (struct predicted_row){.step = bitnet_load_f32(at),
                                  .lowest = bitnet_load_f32(at + sizeof(float)),
                                  .codes = at + 2 * sizeof(float)};
    float highest = row->step * HIGHEST_CODE + row->lowest;
    if (row->step >= 0 && isfinite(row->lowest) && highest <= LOG_TOO_LARGE) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT,
                       "%s: row %zu of chunk %zu has step %g from %g: no logarithms of "
                       "probabilities",
                       p->file.path, i, chunk, (double)row->step, (double)row->lowest);
}

bool predictions_is_file(const char *path)
{
    struct bitnet_file file;
    if (bitnet_file_open(&file, path, NULL)) return false;
    bool is_one =
        file.bytes.n >= sizeof MAGIC - 1 && memcmp(file.bytes.at, MAGIC, sizeof MAGIC - 1) == 0;
    bitnet_file_close(&file);
    return is_one;
}

/* ------------------------------------------------------------------ writing */

/* All in float, as the program that reads it expects. */
void predictions_encode(const float *logits, size_t n_vocab, float log_sum, uint8_t *row)
{
    float top = logits[0], bottom = logits[0];
    for (size_t i = 1; i < n_vocab; i++) {
        top = fmaxf(top, logits[i]);
        bottom = fminf(bottom, logits[i]);
    }
    bottom = fmaxf(bottom, top - DEEPEST);
    float step = (top - bottom) / HIGHEST_CODE, inverse = step > 0 ? 1 / step : 0;
    bitnet_store_f32(row, step);
    bitnet_store_f32(row + sizeof(float), bottom - top - log_sum);
    uint8_t *codes = row + 2 * sizeof(float);
    for (size_t i = 0; i < n_vocab; i++) {
        float code = logits[i] > bottom ? rintf(inverse * (logits[i] - bottom)) : 0;
        bitnet_store_u16(codes + 2 * i, (uint16_t)fminf(code, HIGHEST_CODE));
    }
    if (n_vocab % 2) bitnet_store_u16(codes + 2 * n_vocab, 0);
}

enum bitnet_status predictions_begin(struct bitnet_output **output, const char *path,
                                     bool overwrite, uint32_t n_context, uint32_t n_chunks,
                                     uint32_t n_vocab, const int32_t *tokens,
                                     struct bitnet_error *err)
{
    uint8_t header[HEADER_BYTES] = MAGIC, word[4];
    uint64_t rows = (uint64_t)n_chunks * (n_context - 1 - n_context / 2);
    uint64_t n_tokens = (uint64_t)n_chunks * n_context;
    uint64_t expected = HEADER_BYTES + n_tokens * 4 + rows * predictions_row_bytes(n_vocab);
    bitnet_store_u32(header + 8, n_context);
    bitnet_store_u32(header + 12, n_vocab);
    bitnet_store_u32(header + 16, n_chunks);
    enum bitnet_status status = bitnet_output_begin(
        output, path, expected, overwrite ? BITNET_REPLACE_EXISTING : BITNET_KEEP_EXISTING, err);
    if (!status) status = bitnet_output_write(*output, header, sizeof header, err);
    for (uint64_t i = 0; i < n_tokens && !status; i++) {
        bitnet_store_u32(word, (uint32_t)tokens[i]);
        status = bitnet_output_write(*output, word, sizeof word, err);
    }
    return status;
}
