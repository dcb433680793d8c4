/* Any bytes as a SentencePiece .model, used: refused, or it encodes, decodes and is exported
 * without a fault, by libsentencepiece where the build has it. */
#include "use_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (!bitnet_tokenizer_from_spm(&tokenizer, (struct bitnet_bytes){data, size}, &err))
        use_tokenizer(tokenizer);
    return 0;
}
