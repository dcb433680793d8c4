/* Any bytes as a tiktoken file, cut as GPT-2 does: refused, or it encodes, decodes and is exported
 * without a fault. */
#include "use_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    struct bitnet_str file = {(const char *)data, size};
    if (!bitnet_tokenizer_from_tiktoken(&tokenizer, file, "gpt-2", &err)) use_tokenizer(tokenizer);
    return 0;
}
