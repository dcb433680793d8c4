/* The one merge loop behind all BPE flavours: join the best pair of neighbours, the leftmost among
 * equals, until no pair can be joined. What differs is only how a pair finds its result and rank:
 * by two ids in the table of merges (byte-level BPE, Hugging Face BPE) or by the joint spelling in
 * the vocabulary, whose score ranks it (SentencePiece as llama.cpp does it).
 *
 * Comes in: a row of symbols; goes out: the row that is left. n log n with a heap, no recursion;
 * short rows are scanned instead, which is faster and gives the same. */
#ifndef BITNET_TOKENIZERS_MERGE_H
#define BITNET_TOKENIZERS_MERGE_H

#include "vocab.h"

#define MERGE_MAX_RULES 4194304u

struct merge_slot {
    uint32_t left, right; /* symbol ids */
    uint32_t rank_plus_1; /* 0: empty */
    uint32_t result;
};

/* (left, right) -> rank, result. Begins as {0}. Most pairs that are asked for have no rule, and the
 * slots of a large vocabulary do not fit into a cache, so a bit per hash says first who need not
 * look. (Llama 3, Japanese text: 1.5 times as fast as without.) */
struct merge_table {
    struct merge_slot *slots;
    uint64_t *filter; /* [n_slots / 8]: 8 bits per slot */
    size_t n_slots;   /* power of two */
    uint32_t n;
    size_t cap;
    uint32_t (*rules)[2]; /* [n]: left and right by rank, as listed */
    bool by_result;       /* a rule ranks by the id of its result (tiktoken), not by its place */
};

bool merge_table_reserve(struct merge_table *table, size_t n);
/* Adds the rule with the next rank; a pair listed twice keeps its first rank but still counts.
 * False: out of memory. */
bool merge_table_add(struct merge_table *table, uint32_t left, uint32_t right, uint32_t result);
/* NULL when the pair has no rule. */
const struct merge_slot *merge_table_find(const struct merge_table *table, uint32_t left,
                                          uint32_t right);
void merge_table_free(struct merge_table *table);

#define MERGE_NO_ID UINT32_MAX

struct merge_symbol {
    uint32_t id;    /* MERGE_NO_ID: a spelling that is in no table */
    uint32_t begin; /* first byte in the text */
    uint32_t bytes; /* 0: joined to its left neighbour */
    int32_t prev, next;
};

struct merge_candidate {
    uint32_t key; /* smaller is better */
    int32_t at;   /* index of the left symbol */
    uint32_t bytes;
    uint32_t result;
};

/* Working memory of one call of tokenize; begins as {0}, reused from word to word. */
struct merge_work {
    struct merge_symbol *symbols;
    size_t n_symbols, symbols_cap;
    struct merge_candidate *heap;
    size_t n_heap, heap_cap;
    bool only_text;   /* control, unknown and byte tokens are no result (SentencePiece) */
    size_t last_left; /* bytes of the left side of the last join */
};

/* Appends a symbol to the row. False: out of memory. */
bool merge_push(struct merge_work *work, uint32_t id, size_t begin, size_t bytes);
/* Joins pairs by `table`, or, when it is NULL, by the scores of `vocab` and the joint spelling in
 * `text`. Afterwards symbols[0], and then each `next` until -1, are what is left. False: out of
 * memory. */
bool merge_run(struct merge_work *work, const struct merge_table *table, const struct vocab *vocab,
               const char *text);
void merge_work_free(struct merge_work *work);

#endif
