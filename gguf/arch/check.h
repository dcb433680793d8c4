/* The two halves of what "a model" means beyond a well-formed container: tensors by role (arch.c)
 * and the vocabulary (vocabulary.c). Only this room sees it. */
#ifndef BITNET_ARCH_CHECK_H
#define BITNET_ARCH_CHECK_H

#include "bitnet/arch.h"

/* bitnet_arch_validate(), with warnings about what is skipped. */
enum bitnet_status arch_validate(const struct bitnet_gguf *gguf, const struct bitnet_log *log,
                                 struct bitnet_error *err);

/* The keys under "tokenizer.": present, of the right type, as long as each other, ids in range, no
 * two tokens the same. `n_rows` is the number of rows of the token embedding. */
enum bitnet_status arch_check_vocabulary(const struct bitnet_gguf *gguf, uint64_t n_rows,
                                         struct bitnet_error *err);
/* Length of the token list; 0 when the file says that it has none ("no_vocab"). */
enum bitnet_status arch_count_tokens(const struct bitnet_gguf *gguf, size_t *n_tokens,
                                     struct bitnet_error *err);

#endif
