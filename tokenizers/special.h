/* Tokens that are cut out of the text before it is split and merged. llama.cpp and Hugging Face
 * cut differently; each way is one function. Comes in: text; goes out: a row of fragments, raw
 * text and tokens in turn. */
#ifndef BITNET_TOKENIZERS_SPECIAL_H
#define BITNET_TOKENIZERS_SPECIAL_H

#include "trie.h"
#include "vocab.h"

struct special {
    uint32_t id;
    struct bitnet_str text; /* what is looked for */
    bool always;            /* cut out even when special tokens are not to be parsed */
    bool lstrip, rstrip;    /* swallows the white space beside it */
    bool single_word;       /* Hugging Face: no word character may touch it */
};

/* Begins as {0}. Built once, then read by any number of threads. */
struct special_list {
    struct special *at;
    size_t n, cap;
    struct trie trie; /* text -> index in `at` */
};

bool special_add(struct special_list *list, struct special special);
/* Sorts, longest first and then by id, and builds the trie. False: out of memory. */
bool special_finish(struct special_list *list);
void special_free(struct special_list *list);

#define FRAGMENT_TEXT (-1)

struct fragment {
    size_t begin, end; /* of the text */
    int32_t id;        /* FRAGMENT_TEXT, or the token */
};

/* Begins as {0}. */
struct fragments {
    struct fragment *at;
    size_t n, cap;
};

bool fragments_add(struct fragments *fragments, size_t begin, size_t end, int32_t id);
void fragments_free(struct fragments *fragments);

/* llama.cpp: the longest token first, over all that is still text; then the next. False: out of
 * memory. */
bool special_cut_by_length(const struct special_list *list, struct bitnet_str text,
                           bool parse_special, struct fragments *fragments);
/* Hugging Face: at the leftmost place where a token begins, the longest one there. Cuts the text
 * from `begin` to `end`. False: out of memory. */
bool special_cut_by_place(const struct special_list *list, struct bitnet_str text,
                          struct fragments *fragments);

#endif
