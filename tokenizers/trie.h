/* A set of byte strings with a number each, walked byte by byte from any place of a text. Comes in:
 * strings; goes out: steps. Built once, then read by any number of threads. */
#ifndef BITNET_TOKENIZERS_TRIE_H
#define BITNET_TOKENIZERS_TRIE_H

#include <bitnet/bytes.h>

struct trie_node {
    uint32_t child;        /* first child; 0: none (the root is nobody's child) */
    uint32_t sibling;      /* next child of the same parent; 0: none */
    uint32_t value_plus_1; /* 0: no string ends here */
    uint8_t byte;
};

/* Begins as {0}. */
struct trie {
    struct trie_node *nodes; /* [0] is the root */
    size_t n, cap;
    uint32_t root[256]; /* the root's children by byte: most walks end here */
};

/* A string that is there already keeps its first value. False: out of memory (or 2^31 nodes). */
bool trie_add(struct trie *trie, struct bitnet_str text, uint32_t value);
void trie_free(struct trie *trie);

/* The child of `node` (0: the root) by `byte`, or 0. */
static inline uint32_t trie_step(const struct trie *trie, uint32_t node, uint8_t byte)
{
    if (!node) return trie->root[byte];
    uint32_t child = trie->nodes[node].child;
    while (child && trie->nodes[child].byte != byte) child = trie->nodes[child].sibling;
    return child;
}

#endif
