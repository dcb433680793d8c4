/* Does a tokenizer belong to a model? */
#ifndef BITNET_TOKENIZERS_FIT_H
#define BITNET_TOKENIZERS_FIT_H

#include <bitnet/tokenizer.h>

/* Rows of the model's embedding; 0 when the file has none. */
size_t fit_rows(const struct bitnet_gguf *gguf);
/* FORMAT with the reason when the tokenizer is not this model's. */
enum bitnet_status fit_check(const struct bitnet_tokenizer *tokenizer,
                             const struct bitnet_gguf *gguf, struct bitnet_error *err);
/* No more tokens than rows. 0 rows: not known. */
enum bitnet_status fit_check_size(const struct bitnet_tokenizer *tokenizer, size_t n_rows,
                                  struct bitnet_error *err);

#endif
