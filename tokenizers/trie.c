/* Owns the building of byte tries. See trie.h. */
#include "trie.h"

#include <bitnet/alloc.h>

#define TRIE_MAX_NODES ((size_t)1 << 31)

static bool add_node(struct trie *trie, struct trie_node node)
{
    if (!BITNET_GROW(trie->nodes, trie->n, trie->cap, TRIE_MAX_NODES)) return false;
    trie->nodes[trie->n++] = node;
    return true;
}

static uint32_t add_child(struct trie *trie, uint32_t parent, uint8_t byte)
{
    uint32_t id = (uint32_t)trie->n;
    if (!add_node(trie, (struct trie_node){.byte = byte, .sibling = trie->nodes[parent].child}))
        return 0;
    trie->nodes[parent].child = id;
    if (!parent) trie->root[byte] = id;
    return id;
}

bool trie_add(struct trie *trie, struct bitnet_str text, uint32_t value)
{
    if (!trie->n && !add_node(trie, (struct trie_node){0})) return false;
    uint32_t node = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint32_t child = trie_step(trie, node, (uint8_t)text.at[i]);
        if (!child) child = add_child(trie, node, (uint8_t)text.at[i]);
        if (!child) return false;
        node = child;
    }
    if (!trie->nodes[node].value_plus_1) trie->nodes[node].value_plus_1 = value + 1;
    return true;
}

void trie_free(struct trie *trie)
{
    bitnet_free(trie->nodes);
    *trie = (struct trie){0};
}
