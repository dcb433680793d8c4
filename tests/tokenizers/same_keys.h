/* The tokenizer.* keys of two GGUF files, one against the other. */
#ifndef BITNET_TEST_SAME_KEYS_H
#define BITNET_TEST_SAME_KEYS_H

#include <bitnet/tokenizer.h>

/* Writes the keys of the tokenizer into a file of its own and opens it; stops the test on failure.
 */
struct bitnet_gguf *same_keys_written(const struct bitnet_tokenizer *tokenizer);
/* Every tokenizer.* key of `want`, in that order, with its type and value, and no other. Keys whose
 * end is in `except` (NULL-terminated) may differ or be absent in either. Fails the test. */
void same_keys(const struct bitnet_gguf *got, const struct bitnet_gguf *want,
               const char *const *except);

#endif
