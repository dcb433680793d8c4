/* Any bytes as a tokenizer.json: it is refused, or it encodes and decodes fixed texts without a
 * fault, and its decoded text is UTF-8. */
#include <stdlib.h>

#include <bitnet/text.h>
#include <bitnet/tokenizer.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct bitnet_tokenizer *tokenizer, const char *text)
{
    struct bitnet_tokens ids = {0};
    struct bitnet_buf out = {.max = (size_t)1 << 24};
    struct bitnet_error err;
    if (!bitnet_tokenize(tokenizer, bitnet_str_of(text), NULL, &ids, &err)) {
        for (size_t i = 0; i < ids.n; i++)
            if (ids.at[i] < 0 || (size_t)ids.at[i] >= bitnet_tokenizer_size(tokenizer)) abort();
        if (!bitnet_detokenize(tokenizer, ids.at, ids.n, true, &out, &err) &&
            !bitnet_utf8_valid((struct bitnet_str){out.at, out.n}))
            abort();
    }
    bitnet_tokens_free(&ids);
    bitnet_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const texts[] = {"", " ", "Hello world", "a\xC3\xA9 12345 it's\n\n x",
                                        "<s><|eot_id|> \xF0\x9F\x98\x80 \xFF\xC3"};
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    struct bitnet_str json = {(const char *)data, size};
    if (bitnet_tokenizer_from_json(&tokenizer, json, NULL, &err)) return 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) use(tokenizer, texts[i]);
    bitnet_tokenizer_free(tokenizer);
    return 0;
}
