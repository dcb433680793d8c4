/* The text by which llama.cpp's converter recognizes a tokenizer, and what is known of its ids. */
#ifndef BITNET_TOKENIZERS_PROBE_H
#define BITNET_TOKENIZERS_PROBE_H

#include <bitnet/tokenizer.h>

/* Appends the ids of the probe text. */
enum bitnet_status probe_encode(const struct bitnet_tokenizer *tokenizer, bool no_special,
                                struct bitnet_tokens *ids, struct bitnet_error *err);
/* The name of the tokenizer that gives these ids, `bos` before and `eos` after them
 * (BITNET_NO_TOKEN: none); NULL when nobody has hashed it. */
enum bitnet_status probe_name(int32_t bos, const struct bitnet_tokens *ids, int32_t eos,
                              const char **name, struct bitnet_error *err);
/* The i-th name that a hash is known of (some more than once); NULL after the last. */
const char *probe_known(size_t i);

#endif
