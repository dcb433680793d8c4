/* libsentencepiece behind C: a .model file encodes and decodes by the library that made it. Text
 * and files come with their lengths; no exception leaves. A build without the library
 * (BITNET_SENTENCEPIECE=OFF, or it is not there) has no shims, and .model files are encoded by
 * sentencepiece.c, which gives the same ids and refuses by name what it cannot do. */
#ifndef BITNET_TOKENIZERS_SPM_SHIM_H
#define BITNET_TOKENIZERS_SPM_SHIM_H

#include <bitnet/text.h>
#include <bitnet/tokenizer.h>

/* Immutable, for any number of threads. */
struct spm_shim;

/* `file` has been checked by spm_model_read() and need not outlive the call. *shim is NULL, without
 * an error, in a build without the library. FORMAT (in the library's words), MEMORY. */
enum bitnet_status spm_shim_open(struct spm_shim **shim, struct bitnet_bytes file,
                                 struct bitnet_error *err);
void spm_shim_close(struct spm_shim *shim); /* NULL is fine */

/* Appends ids, without bos and eos. */
enum bitnet_status spm_shim_encode(const struct spm_shim *shim, struct bitnet_str text,
                                   struct bitnet_tokens *ids, struct bitnet_error *err);
/* True when all ids are pieces of the file. */
bool spm_shim_knows(const struct spm_shim *shim, const int32_t *ids, size_t n);
/* Appends the text of ids that it knows. */
enum bitnet_status spm_shim_decode(const struct spm_shim *shim, const int32_t *ids, size_t n,
                                   struct bitnet_buf *out, struct bitnet_error *err);

#endif
