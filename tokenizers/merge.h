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
    uint32_t
        *byte_pairs; /* [256][256]: slot + 1 of the rule for two bytes, or 0; NULL: not indexed */
    bool by_result;  /* a rule ranks by the id of its result (tiktoken), not by its place */
};

bool merge_table_reserve(struct merge_table *table, size_t n);
/* Adds the rule with the next rank; a pair listed twice keeps its first rank but still counts.
 * False: out of memory. */
bool merge_table_add(struct merge_table *table, uint32_t left, uint32_t right, uint32_t result);
/* Asks for the memory of a rule that will be added soon. */
void merge_table_fetch(const struct merge_table *table, uint32_t left, uint32_t right);
/* NULL when the pair has no rule. */
const struct merge_slot *merge_table_find(const struct merge_table *table, uint32_t left,
                                          uint32_t right);
#define MERGE_SURE (UINT32_C(1) << 31)
/* The symbol that two bytes side by side become in any text; MERGE_NO_ID when that depends. */
uint32_t merge_table_sure_pair(const struct merge_table *table, char left, char right);
/* Byte-level vocabularies, once all rules are there: `symbols` spell the bytes. Every word begins
 * with a lookup per pair of bytes. False: out of memory. */
bool merge_table_index_bytes(struct merge_table *table, const uint32_t symbols[256]);
void merge_table_free(struct merge_table *table);

#define MERGE_NO_ID UINT32_MAX

struct merge_symbol {
    uint32_t id;    /* MERGE_NO_ID: a spelling that is in no table */
    uint32_t begin; /* first byte in the text */
    uint32_t bytes; /* 0: joined to its left neighbour */
    int32_t prev, next;
};

/* What a pair makes. */
struct merge_found {
    uint32_t key; /* smaller is better; UINT32_MAX: nothing */
    uint32_t result;
};

/* A pair that has been looked up. */
struct merge_memo {
    uint32_t left, right;
    struct merge_found found;
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
    struct merge_memo *memo; /* pairs looked up last, once a text is long enough */
    size_t n_seen;           /* symbols so far */
    bool only_text;          /* control, unknown and byte tokens are no result (SentencePiece) */
    size_t last_left;        /* bytes of the left side of the last join */
};

/* Appends a symbol to the row. False: out of memory. */
bool merge_push(struct merge_work *work, uint32_t id, size_t begin, size_t bytes);
/* Joins pairs by `table`, or, when it is NULL, by the scores of `vocab` and the joint spelling in
 * `text`. With a table that has indexed bytes, `text` holds the bytes of the symbols; NULL: they
 * are not bytes. Afterwards symbols[0], and then each `next` until -1, are what is left. False: out
 * of memory. */
bool merge_run(struct merge_work *work, const struct merge_table *table, const struct vocab *vocab,
               const char *text);
void merge_work_free(struct merge_work *work);

#endif
