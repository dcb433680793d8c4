/* The table of tokens: id -> spelling, type, score, and spelling -> id. Comes in: one token after
 * the other, in the order of ids; goes out: lookups in constant time. Spellings are copied, so the
 * file they came from may be closed.
 *
 * Merges may mention spellings that are no token. They become symbols: ids from `n_tokens` on,
 * known to the merge engine and to nobody else. */
#ifndef BITNET_TOKENIZERS_VOCAB_H
#define BITNET_TOKENIZERS_VOCAB_H

#include <bitnet/tokenizer.h>

#define VOCAB_MAX_TOKENS      2097152u
#define VOCAB_MAX_TOKEN_BYTES 65536u
#define VOCAB_MAX_SYMBOLS     (4u * VOCAB_MAX_TOKENS)
#define VOCAB_MAX_BYTES       ((size_t)1 << 30)

struct vocab_slot {
    uint32_t hash;
    uint32_t id_plus_1; /* 0: empty */
};

/* Begins as {0}; {.seed = vocab_seed()} before the first add. */
struct vocab {
    uint64_t seed;
    uint32_t n; /* tokens and symbols */
    uint32_t n_tokens;
    uint32_t longest; /* bytes of the longest spelling */
    size_t cap;
    size_t *end;   /* [n]: where the spelling ends in `text`; it begins where the last one ended */
    uint8_t *type; /* [n] enum bitnet_token_type */
    float *score;  /* [n] */
    char *text;
    size_t text_cap;
    struct vocab_slot *slots;
    size_t n_slots; /* power of two */
};

/* A random number of this process, so that a file cannot aim at our buckets. */
uint64_t vocab_seed(void);
/* Makes room at once for n tokens of n_bytes in all. False: out of memory. */
bool vocab_reserve(struct vocab *vocab, size_t n, size_t n_bytes);

enum vocab_added { VOCAB_NEW, VOCAB_EXISTS, VOCAB_MEMORY, VOCAB_FULL };
/* Gives `text` the next id. EXISTS: it has one already, which is in *id. */
enum vocab_added vocab_add(struct vocab *vocab, struct bitnet_str text, enum bitnet_token_type type,
                           float score, uint32_t *id);
/* Id of a token or symbol, or -1. */
int32_t vocab_find(const struct vocab *vocab, struct bitnet_str text);
/* For many lookups at once: a table of a large vocabulary does not fit into a cache, so each step
 * of a lookup is asked for while the steps of others are waited for. First the hash of each, then
 * each step for all of them, then vocab_find_hashed(). */
uint32_t vocab_hash(const struct vocab *vocab, struct bitnet_str text);
enum vocab_step { VOCAB_FETCH_SLOT, VOCAB_FETCH_END, VOCAB_FETCH_TEXT };
void vocab_fetch(const struct vocab *vocab, uint32_t hash, enum vocab_step step);
int32_t vocab_find_hashed(const struct vocab *vocab, struct bitnet_str text, uint32_t hash);
/* Id of a token, or -1. */
int32_t vocab_find_token(const struct vocab *vocab, struct bitnet_str text);
void vocab_free(struct vocab *vocab);

/* `id` is below n. */
static inline struct bitnet_str vocab_text(const struct vocab *vocab, uint32_t id)
{
    size_t begin = id ? vocab->end[id - 1] : 0;
    return (struct bitnet_str){vocab->text + begin, vocab->end[id] - begin};
}

#endif
