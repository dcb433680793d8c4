/* Small vocabularies of our own making as GGUF files, for tests that need no shared data; and
 * copies of GGUF files with one key changed. Everything here stops the test when a file cannot be
 * made. */
#ifndef BITNET_TEST_VOCABULARY_H
#define BITNET_TEST_VOCABULARY_H

#include <bitnet/gguf.h>
#include <bitnet/tokenizer.h>

/* A token, its type (0: normal) and score. */
struct vocabulary_token {
    const char *text;
    int type;
    float score;
};

/* A key beside the vocabulary: a number, a flag or a text. */
struct vocabulary_key {
    const char *key;
    char kind; /* 'u', 'b' or 's' */
    uint32_t number;
    const char *text;
};

struct vocabulary {
    const char *model, *pre;               /* pre NULL: no such key */
    const struct vocabulary_token *tokens; /* ends with a NULL text */
    bool with_bytes;                       /* 256 byte tokens, or the byte alphabet, come first */
    size_t n_tokens;                       /* pads up to here; 0: none */
    const char *const *merges;             /* ends with NULL; NULL: none */
    const struct vocabulary_key *keys;     /* ends with a NULL key; NULL: none */
    uint64_t rows;                         /* of token_embd.weight; 0: there is none */
};

void vocabulary_write(const char *path, const struct vocabulary *vocabulary);
/* Written to a temporary folder, opened, and gone again. */
struct bitnet_tokenizer *vocabulary_open(const struct vocabulary *vocabulary,
                                         const struct bitnet_log *log);
/* The same metadata with another tokenizer.ggml.pre; NULL: without the key. */
void vocabulary_copy_with_pre(const struct bitnet_gguf *gguf, const char *path, const char *pre);

/* The last warning, for tests that ask what was said. */
struct vocabulary_talk {
    char text[512];
    size_t n_warnings;
};
void vocabulary_hear(void *talk, enum bitnet_log_level level, const char *text);

#endif
