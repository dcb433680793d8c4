/* A writer fed from open files: what edit, split and merge have in common. */
#ifndef BITNET_GGUF_COPY_H
#define BITNET_GGUF_COPY_H

#include "bitnet/doctor.h"

/* Declares the tensors first .. first + n - 1 of `gguf`, begins the file, writes them, and reads
 * the unpublished file back: INTEGRITY when a tensor is not what it was in the source, IO when the
 * source changed meanwhile. `transform` may be NULL. The caller has put the keys, and finishes or
 * aborts. */
enum bitnet_status copy_tensors(struct bitnet_gguf_writer *writer, const struct bitnet_gguf *gguf,
                                size_t first, size_t n,
                                const struct bitnet_gguf_transform *transform,
                                struct bitnet_error *err);

/* "split.no" and its two companions. */
bool copy_is_split_key(struct bitnet_str key);

#endif
