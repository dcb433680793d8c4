/* Owns spellings and their hash table. See vocab.h. */
#include "vocab.h"

#include <bitnet/alloc.h>
#include <bitnet/text.h>

uint64_t vocab_seed(void)
{
    return bitnet_hash(BITNET_STR("vocabulary")) | 1;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiply and fold, 16 bytes a step; the tail is read as two words that may overlap. */
static uint32_t hash_of(uint64_t seed, struct bitnet_str text)
{
    const uint64_t k0 = 0xA0761D6478BD642F, k1 = 0xE7037ED1A0B428DB;
    const char *at = text.at;
    size_t left = text.n;
    uint64_t h = seed ^ text.n;
    for (; left > 16; at += 16, left -= 16)
        h = mix(bitnet_load_u64(at) ^ k0, bitnet_load_u64(at + 8) ^ h);
    uint64_t a = 0, b = 0;
    if (left >= 8) {
        a = bitnet_load_u64(at);
        b = bitnet_load_u64(at + left - 8);
    } else if (left >= 4) {
        a = bitnet_load_u32(at);
        b = bitnet_load_u32(at + left - 4);
    } else if (left) {
        a = (uint64_t)(uint8_t)at[0] << 16 | (uint64_t)(uint8_t)at[left / 2] << 8 |
            (uint8_t)at[left - 1];
    }
    return (uint32_t)mix(mix(a ^ k1, b ^ h), k0 ^ seed);
}

static size_t slot_of(const struct vocab *vocab, struct bitnet_str text, uint32_t hash)
{
    size_t mask = vocab->n_slots - 1, i = hash & mask;
    for (;; i = (i + 1) & mask) {
        struct vocab_slot slot = vocab->slots[i];
        if (!slot.id_plus_1) return i;
        if (slot.hash == hash && bitnet_str_equal(vocab_text(vocab, slot.id_plus_1 - 1), text))
            return i;
    }
}

static bool grow_slots(struct vocab *vocab, size_t n)
{
    size_t n_slots = vocab->n_slots ? vocab->n_slots : 64;
    while (n_slots / 2 < n) n_slots *= 2;
    if (n_slots == vocab->n_slots) return true;
    struct vocab_slot *slots = bitnet_alloc(n_slots, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < vocab->n_slots; i++) {
        struct vocab_slot slot = vocab->slots[i];
        if (!slot.id_plus_1) continue;
        size_t at = slot.hash & (n_slots - 1);
        while (slots[at].id_plus_1) at = (at + 1) & (n_slots - 1);
        slots[at] = slot;
    }
    bitnet_free(vocab->slots);
    vocab->slots = slots;
    vocab->n_slots = n_slots;
    return true;
}

/* Grows one of the parallel arrays; on failure all of them keep what they had. */
static bool grow_array(void **array, size_t size, size_t cap)
{
    void *bigger = bitnet_realloc(*array, cap, size);
    if (!bigger) return false;
    *array = bigger;
    return true;
}

bool vocab_reserve(struct vocab *vocab, size_t n, size_t n_bytes)
{
    if (n > vocab->cap) {
        if (!grow_array((void **)&vocab->end, sizeof *vocab->end, n) ||
            !grow_array((void **)&vocab->type, sizeof *vocab->type, n) ||
            !grow_array((void **)&vocab->score, sizeof *vocab->score, n))
            return false;
        vocab->cap = n;
    }
    if (n_bytes > vocab->text_cap) {
        if (!grow_array((void **)&vocab->text, 1, n_bytes)) return false;
        vocab->text_cap = n_bytes;
    }
    return grow_slots(vocab, n + 1);
}

static bool has_room(struct vocab *vocab, size_t n_bytes)
{
    size_t n = vocab->n + 1u, cap = vocab->cap, text_cap = vocab->text_cap;
    if (n > cap) cap = cap ? 2 * cap : 512;
    if (n_bytes > text_cap) text_cap = n_bytes > 2 * text_cap ? n_bytes + 4096 : 2 * text_cap;
    if (cap == vocab->cap && text_cap == vocab->text_cap && vocab->n_slots / 2 > n) return true;
    return vocab_reserve(vocab, cap, text_cap);
}

enum vocab_added vocab_add(struct vocab *vocab, struct bitnet_str text, enum bitnet_token_type type,
                           float score, uint32_t *id)
{
    size_t used = vocab->n ? vocab->end[vocab->n - 1] : 0;
    if (vocab->n >= VOCAB_MAX_SYMBOLS || text.n > VOCAB_MAX_BYTES - used) return VOCAB_FULL;
    if (!has_room(vocab, used + text.n)) return VOCAB_MEMORY;

    uint32_t hash = hash_of(vocab->seed, text);
    struct vocab_slot *slot = &vocab->slots[slot_of(vocab, text, hash)];
    if (slot->id_plus_1) {
        *id = slot->id_plus_1 - 1;
        return VOCAB_EXISTS;
    }
    if (text.n) memcpy(vocab->text + used, text.at, text.n);
    vocab->end[vocab->n] = used + text.n;
    vocab->type[vocab->n] = (uint8_t)type;
    vocab->score[vocab->n] = score;
    if (text.n > vocab->longest) vocab->longest = (uint32_t)text.n;
    *id = vocab->n++;
    *slot = (struct vocab_slot){hash, vocab->n};
    return VOCAB_NEW;
}

int32_t vocab_find(const struct vocab *vocab, struct bitnet_str text)
{
    if (!vocab->n_slots || text.n > vocab->longest) return -1;
    size_t slot = slot_of(vocab, text, hash_of(vocab->seed, text));
    return (int32_t)vocab->slots[slot].id_plus_1 - 1;
}

uint32_t vocab_hash(const struct vocab *vocab, struct bitnet_str text)
{
    return hash_of(vocab->seed, text);
}

/* Looks at the first slot of the hash only: most are found there, and the others are found all the
 * same, later. */
void vocab_fetch(const struct vocab *vocab, uint32_t hash, enum vocab_step step)
{
    const struct vocab_slot *slot = &vocab->slots[hash & (vocab->n_slots - 1)];
    if (step == VOCAB_FETCH_SLOT) {
        __builtin_prefetch(slot);
    } else if (slot->id_plus_1 > 1) {
        const size_t *begin = &vocab->end[slot->id_plus_1 - 2];
        if (step == VOCAB_FETCH_END)
            __builtin_prefetch(begin);
        else
            __builtin_prefetch(vocab->text + *begin);
    }
}

int32_t vocab_find_hashed(const struct vocab *vocab, struct bitnet_str text, uint32_t hash)
{
    if (!vocab->n_slots || text.n > vocab->longest) return -1;
    return (int32_t)vocab->slots[slot_of(vocab, text, hash)].id_plus_1 - 1;
}

int32_t vocab_find_token(const struct vocab *vocab, struct bitnet_str text)
{
    int32_t id = vocab_find(vocab, text);
    return id >= 0 && (uint32_t)id < vocab->n_tokens ? id : -1;
}

void vocab_free(struct vocab *vocab)
{
    bitnet_free(vocab->end);
    bitnet_free(vocab->type);
    bitnet_free(vocab->score);
    bitnet_free(vocab->text);
    bitnet_free(vocab->slots);
    *vocab = (struct vocab){0};
}
