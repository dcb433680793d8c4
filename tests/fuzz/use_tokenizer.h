/* What the fuzz targets of tokenizers do with one that opened. */
#ifndef BITNET_FUZZ_USE_TOKENIZER_H
#define BITNET_FUZZ_USE_TOKENIZER_H

#include <stdlib.h>

#include <bitnet/text.h>
#include <bitnet/tokenizer.h>

/* Encodes and decodes fixed texts, writes it as a tokenizer.json, frees it. Aborts when an id is
 * out of range. */
static inline void use_tokenizer(struct bitnet_tokenizer *tokenizer)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "Hello world",
                                        "a\xC3\xA9 12345 it's\n\n x",
                                        "<s><|eot_id|> \xF0\x9F\x98\x80 \xFF\xC3",
                                        "\xE2\x96\x81 \xE2\x96\x81\xE2\x96\x81 aaab<u>cab"};
    struct bitnet_buf json = {.max = (size_t)1 << 26};
    struct bitnet_error err;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct bitnet_tokens ids = {0};
        struct bitnet_buf out = {.max = (size_t)1 << 24};
        if (!bitnet_tokenize(tokenizer, bitnet_str_of(texts[i]), NULL, &ids, &err)) {
            for (size_t k = 0; k < ids.n; k++)
                if (ids.at[k] < 0 || (size_t)ids.at[k] >= bitnet_tokenizer_size(tokenizer)) abort();
            (void)bitnet_detokenize(tokenizer, ids.at, ids.n, true, &out, &err);
            out.n = 0;
            (void)bitnet_detokenize(tokenizer, ids.at, ids.n, false, &out, &err);
        }
        bitnet_tokens_free(&ids);
        bitnet_buf_free(&out);
    }
    (void)bitnet_tokenizer_export_json(tokenizer, &json, &err);
    bitnet_buf_free(&json);
    bitnet_tokenizer_free(tokenizer);
}

#endif
