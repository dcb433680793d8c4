/* Owns the table of merge rules and the merge loop. See merge.h. The order of joins is that of
 * Sennrich et al. 2016 with the tie rule of llama.cpp and Hugging Face: equal ranks, leftmost. */
#include "merge.h"

#include <bitnet/alloc.h>

/* ------------------------------------------------------------------ the table */

static uint64_t hash_of(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 29;
}

static uint64_t *filter_word(const struct merge_table *table, uint64_t hash, uint64_t *bit)
{
    size_t index = (size_t)(hash >> 20) & (8 * table->n_slots - 1);
    *bit = UINT64_C(1) << (index & 63);
    return &table->filter[index / 64];
}

static size_t slot_of(const struct merge_table *table, uint32_t left, uint32_t right)
{
    size_t mask = table->n_slots - 1, i = (size_t)(hash_of(left, right) >> 24) & mask;
    while (table->slots[i].rank_plus_1 &&
           (table->slots[i].left != left || table->slots[i].right != right))
        i = (i + 1) & mask;
    return i;
}

/* Stores a slot unless its pair is there. */
static void put(struct merge_table *table, struct merge_slot slot)
{
    uint64_t bit, *word = filter_word(table, hash_of(slot.left, slot.right), &bit);
    struct merge_slot *place = &table->slots[slot_of(table, slot.left, slot.right)];
    *word |= bit;
    if (!place->rank_plus_1) *place = slot;
}

bool merge_table_reserve(struct merge_table *table, size_t n)
{
    if (n > table->cap) {
        uint32_t(*rules)[2] = bitnet_realloc(table->rules, n, sizeof *rules);
        if (!rules) return false;
        table->rules = rules;
        table->cap = n;
    }
    size_t n_slots = table->n_slots ? table->n_slots : 64;
    while (n_slots / 16 * 11 < n) n_slots *= 2;
    if (n_slots == table->n_slots) return true;

    struct merge_table bigger = *table;
    bigger.n_slots = n_slots;
    bigger.slots = bitnet_alloc(n_slots, sizeof *bigger.slots);
    bigger.filter = bitnet_alloc(n_slots / 8, sizeof *bigger.filter);
    if (!bigger.slots || !bigger.filter) {
        bitnet_free(bigger.slots);
        bitnet_free(bigger.filter);
        return false;
    }
    for (size_t i = 0; i < table->n_slots; i++) {
        struct merge_slot slot = table->slots[i];
        if (slot.rank_plus_1) put(&bigger, slot);
    }
    bitnet_free(table->slots);
    bitnet_free(table->filter);
    *table = bigger;
    return true;
}

bool merge_table_add(struct merge_table *table, uint32_t left, uint32_t right, uint32_t result)
{
    size_t n = table->n + 1u;
    if (n > table->cap && !merge_table_reserve(table, n < 256 ? 256 : 2 * n)) return false;
    put(table,
        (struct merge_slot){left, right, table->by_result ? result + 1 : (uint32_t)n, result});
    table->rules[table->n][0] = left;
    table->rules[table->n][1] = right;
    table->n++;
    return true;
}

const struct merge_slot *merge_table_find(const struct merge_table *table, uint32_t left,
                                          uint32_t right)
{
    uint64_t bit;
    if (!table->n_slots || !(*filter_word(table, hash_of(left, right), &bit) & bit)) return NULL;
    const struct merge_slot *slot = &table->slots[slot_of(table, left, right)];
    return slot->rank_plus_1 ? slot : NULL;
}

void merge_table_free(struct merge_table *table)
{
    bitnet_free(table->slots);
    bitnet_free(table->filter);
    bitnet_free(table->rules);
    *table = (struct merge_table){0};
}

/* ------------------------------------------------------------------ the loop */

struct merge_rules {
    const struct merge_table *table;
    const struct vocab *vocab;
    const char *text;
    bool only_text;
};

/* Floats in an order that unsigned comparison understands, the largest score first. */
static uint32_t key_of_score(float score)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    if (bits << 1 == 0) bits = 0; /* -0 equals 0 */
    uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return ~ascending;
}

static bool is_text(uint8_t type)
{
    return type == BITNET_TOKEN_NORMAL || type == BITNET_TOKEN_USER || type == BITNET_TOKEN_UNUSED;
}

static bool find_pair(const struct merge_rules *rules, const struct merge_symbol *left,
                      const struct merge_symbol *right, uint32_t *key, uint32_t *result)
{
    if (rules->table) {
        const struct merge_slot *slot = merge_table_find(rules->table, left->id, right->id);
        if (!slot) return false;
        *key = slot->rank_plus_1;
        *result = slot->result;
        return true;
    }
    struct bitnet_str joint = {rules->text + left->begin, (size_t)left->bytes + right->bytes};
    int32_t id = vocab_find(rules->vocab, joint);
    if (id < 0 || (rules->only_text && !is_text(rules->vocab->type[id]))) return false;
    *key = key_of_score(rules->vocab->score[id]);
    *result = (uint32_t)id;
    return true;
}

bool merge_push(struct merge_work *work, uint32_t id, size_t begin, size_t bytes)
{
    size_t n = work->n_symbols;
    if (!BITNET_GROW(work->symbols, n, work->symbols_cap, (size_t)INT32_MAX)) return false;
    work->symbols[n] =
        (struct merge_symbol){id, (uint32_t)begin, (uint32_t)bytes, (int32_t)n - 1, -1};
    if (n) work->symbols[n - 1].next = (int32_t)n;
    work->n_symbols = n + 1;
    return true;
}

static void join(struct merge_work *work, int32_t at, uint32_t result)
{
    struct merge_symbol *symbols = work->symbols;
    struct merge_symbol *left = &symbols[at], *right = &symbols[left->next];
    work->last_left = left->bytes;
    left->id = result;
    left->bytes += right->bytes;
    left->next = right->next;
    right->bytes = 0;
    if (left->next >= 0) symbols[left->next].prev = at;
}

static bool is_better(const struct merge_candidate *a, const struct merge_candidate *b)
{
    return a->key < b->key || (a->key == b->key && a->at < b->at);
}

static bool heap_push(struct merge_work *work, struct merge_candidate candidate)
{
    if (!BITNET_GROW(work->heap, work->n_heap, work->heap_cap, SIZE_MAX / sizeof candidate))
        return false;
    size_t i = work->n_heap++;
    while (i && is_better(&candidate, &work->heap[(i - 1) / 2])) {
        work->heap[i] = work->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    work->heap[i] = candidate;
    return true;
}

static struct merge_candidate heap_pop(struct merge_work *work)
{
    struct merge_candidate best = work->heap[0], last = work->heap[--work->n_heap];
    size_t i = 0, n = work->n_heap;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_better(&work->heap[child + 1], &work->heap[child])) child++;
        if (!is_better(&work->heap[child], &last)) break;
        work->heap[i] = work->heap[child];
    }
    work->heap[i] = last;
    return best;
}

static bool offer(struct merge_work *work, const struct merge_rules *rules, int32_t at)
{
    if (at < 0 || work->symbols[at].next < 0) return true;
    const struct merge_symbol *left = &work->symbols[at], *right = &work->symbols[left->next];
    struct merge_candidate candidate = {.at = at, .bytes = left->bytes + right->bytes};
    if (!find_pair(rules, left, right, &candidate.key, &candidate.result)) return true;
    return heap_push(work, candidate);
}

/* A candidate is stale when its symbol was joined to the left, or is no longer followed by what it
 * was: then the two do not add up to the bytes recorded, as each only ever grows. */
static bool is_stale(const struct merge_work *work, const struct merge_candidate *candidate)
{
    const struct merge_symbol *left = &work->symbols[candidate->at];
    return left->bytes == 0 || left->next < 0 ||
           left->bytes + work->symbols[left->next].bytes != candidate->bytes;
}

static bool run_heap(struct merge_work *work, const struct merge_rules *rules)
{
    work->n_heap = 0;
    for (size_t i = 0; i + 1 < work->n_symbols; i++)
        if (!offer(work, rules, (int32_t)i)) return false;
    while (work->n_heap) {
        struct merge_candidate best = heap_pop(work);
        if (is_stale(work, &best)) continue;
        join(work, best.at, best.result);
        if (!offer(work, rules, work->symbols[best.at].prev) || !offer(work, rules, best.at))
            return false;
    }
    return true;
}

#define SHORT_ROW 32

/* The same for a short row: the candidate of each symbol is kept, the best found by looking. */
static void run_short(struct merge_work *work, const struct merge_rules *rules)
{
    struct {
        uint32_t key, result;
    } pair[SHORT_ROW];
    struct merge_symbol *symbols = work->symbols;
    for (int32_t i = 0; i < (int32_t)work->n_symbols; i++)
        if (symbols[i].next < 0 ||
            !find_pair(rules, &symbols[i], &symbols[i + 1], &pair[i].key, &pair[i].result))
            pair[i].key = UINT32_MAX;

    for (;;) {
        int32_t best = 0;
        for (int32_t i = symbols[0].next; i >= 0; i = symbols[i].next)
            if (pair[i].key < pair[best].key) best = i;
        if (pair[best].key == UINT32_MAX) return;
        join(work, best, pair[best].result);
        for (int32_t i = best, k = 0; k < 2 && i >= 0; i = symbols[i].prev, k++)
            if (symbols[i].next < 0 || !find_pair(rules, &symbols[i], &symbols[symbols[i].next],
                                                  &pair[i].key, &pair[i].result))
                pair[i].key = UINT32_MAX;
    }
}

bool merge_run(struct merge_work *work, const struct merge_table *table, const struct vocab *vocab,
               const char *text)
{
    struct merge_rules rules = {table, vocab, text, work->only_text};
    if (work->n_symbols < 2) return true;
    if (work->n_symbols > SHORT_ROW) return run_heap(work, &rules);
    run_short(work, &rules);
    return true;
}

void merge_work_free(struct merge_work *work)
{
    bitnet_free(work->symbols);
    bitnet_free(work->heap);
    *work = (struct merge_work){0};
}
