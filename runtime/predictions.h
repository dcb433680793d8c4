/* The predictions of a base model, written down, so that other models can be held against them
 * later or elsewhere. The file is that of `llama-perplexity --kl-divergence-base`; see
 * predictions.c. */
#ifndef BITNET_RUNTIME_PREDICTIONS_H
#define BITNET_RUNTIME_PREDICTIONS_H

#include "bitnet/bytes.h"
#include "bitnet/file.h"

/* A file open for reading; all of it is checked against its own numbers, row by row as they are
 * asked for. */
struct predictions {
    struct bitnet_file file;
    uint32_t n_context, n_chunks, n_vocab;
    const uint8_t *tokens, *rows;
    size_t row_bytes, rows_per_chunk;
};

/* One row: the logarithms of all probabilities, in 65536 steps. */
struct predicted_row {
    float step, lowest;
    const uint8_t *codes; /* [n_vocab] of 16 bits */
};

/* FORMAT naming the numbers when it is no such file, is cut off, or belongs to a vocabulary of
 * another size. */
enum bitnet_status predictions_open(struct predictions *p, const char *path, uint32_t n_vocab,
                                    struct bitnet_error *err);
void predictions_close(struct predictions *p); /* closed or zeroed is fine */
/* The ids of a chunk; FORMAT when one is outside of the vocabulary. */
enum bitnet_status predictions_tokens(const struct predictions *p, size_t chunk, int32_t *ids,
                                      struct bitnet_error *err);
/* What was predicted after the token at n_context/2 + i of a chunk. FORMAT when it is no
 * distribution. */
enum bitnet_status predictions_row(const struct predictions *p, size_t chunk, size_t i,
                                   struct predicted_row *row, struct bitnet_error *err);
static inline float predicted_log(const struct predicted_row *row, size_t token)
{
    return row->step * (float)bitnet_load_u16(row->codes + 2 * token) + row->lowest;
}

/* True when the file begins like one of these. */
bool predictions_is_file(const char *path);

size_t predictions_row_bytes(size_t n_vocab);
/* `log_sum`: ln of the sum of exp(logit - largest). */
void predictions_encode(const float *logits, size_t n_vocab, float log_sum, uint8_t *row);
/* Begins a file with its header; rows are then appended in order with bitnet_output_write(). */
enum bitnet_status predictions_begin(struct bitnet_output **output, const char *path,
                                     bool overwrite, uint32_t n_context, uint32_t n_chunks,
                                     uint32_t n_vocab, const int32_t *tokens,
                                     struct bitnet_error *err);

#endif
