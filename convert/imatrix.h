/* An importance matrix: for each tensor the mean square of every input column, as llama-imatrix
 * measured it. Two file forms, the old binary one and GGUF. */
#ifndef CONVERT_IMATRIX_H
#define CONVERT_IMATRIX_H

#include "bitnet/bytes.h"
#include "bitnet/error.h"

struct imatrix;

/* Fails with NOT_FOUND, FORMAT, LIMIT, IO, MEMORY; texts name the file. */
enum bitnet_status imatrix_open(struct imatrix **imatrix, const char *path,
                                struct bitnet_error *err);
/* The same from the bytes of the old form; for fuzzing. */
enum bitnet_status imatrix_parse(struct imatrix **imatrix, struct bitnet_bytes bytes,
                                 struct bitnet_error *err);
void imatrix_free(struct imatrix *imatrix); /* NULL is fine */
/* The values of a tensor by its GGUF name, all finite and not negative; NULL when it has none. */
const float *imatrix_find(const struct imatrix *imatrix, struct bitnet_str name, size_t *n);

#endif
