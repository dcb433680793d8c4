/* The ids of a text as words, "256 3 9", so that a test compares and prints them as one string. */
#ifndef BITNET_TESTS_IDS_TEXT_H
#define BITNET_TESTS_IDS_TEXT_H

#include "bitnet/tokenizer.h"

#include "cm.h"

static const char *ids_of(const struct bitnet_tokenizer *tokenizer, const char *text,
                          const struct bitnet_tokenize_options *options)
{
    static char out[512];
    struct bitnet_tokens ids = {0};
    struct bitnet_error err;
    size_t n = 0;
    if (bitnet_tokenize(tokenizer, bitnet_str_of(text), options, &ids, &err))
        fail_msg("%s", err.text);
    out[0] = 0;
    for (size_t i = 0; i < ids.n && n < sizeof out - 16; i++)
        n += (size_t)snprintf(out + n, sizeof out - n, i ? " %d" : "%d", (int)ids.at[i]);
    bitnet_tokens_free(&ids);
    return out;
}

static const struct bitnet_tokenize_options bare = {.no_special = true};
static const struct bitnet_tokenize_options parsed = {.no_special = true, .parse_special = true};

#define IDS(tokenizer, text, options, words)                                                       \
    assert_string_equal(ids_of(tokenizer, text, options), words)

#endif
