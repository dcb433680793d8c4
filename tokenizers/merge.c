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

void merge_table_fetch(const struct merge_table *table, uint32_t left, uint32_t right)
{
    uint64_t bit, hash = hash_of(left, right);
    if (!table->n_slots) return;
    __builtin_prefetch(filter_word(table, hash, &bit), 1);
    __builtin_prefetch(&table->slots[(size_t)(hash >> 24) & (table->n_slots - 1)], 1);
}

const struct merge_slot *merge_table_find(const struct merge_table *table, uint32_t left,
                                          uint32_t right)
{
    uint64_t bit;
    if (!table->n_slots || !(*filter_word(table, hash_of(left, right), &bit) & bit)) return NULL;
    const struct merge_slot *slot = &table->slots[slot_of(table, left, right)];
    return slot->rank_plus_1 ? slot : NULL;
}

/* The best rank of any rule in which each byte stands on one side. */
struct byte_ranks {
    uint32_t on_left[256], on_right[256];
};

static void take_better(uint32_t *best, uint32_t key)
{
    if (key < *best) *best = key;
}

static bool find_byte_ranks(const struct merge_table *table, const uint32_t symbols[256],
                            struct byte_ranks *ranks)
{
    uint32_t n = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        ranks->on_left[byte] = ranks->on_right[byte] = UINT32_MAX;
        if (symbols[byte] != MERGE_NO_ID && symbols[byte] >= n) n = symbols[byte] + 1;
    }
    uint16_t *byte_plus_1 = bitnet_alloc(n + 1u, sizeof *byte_plus_1);
    if (!byte_plus_1) return false;
    for (unsigned byte = 0; byte < 256; byte++)
        if (symbols[byte] != MERGE_NO_ID) byte_plus_1[symbols[byte]] = (uint16_t)(byte + 1);
    for (uint32_t rank = 0; rank < table->n; rank++) {
        uint32_t left = table->rules[rank][0], right = table->rules[rank][1];
        unsigned a = left < n ? byte_plus_1[left] : 0, b = right < n ? byte_plus_1[right] : 0;
        if (!a && !b) continue;
        uint32_t key = merge_table_find(table, left, right)->rank_plus_1;
        if (a) take_better(&ranks->on_left[a - 1], key);
        if (b) take_better(&ranks->on_right[b - 1], key);
    }
    bitnet_free(byte_plus_1);
    return true;
}

/* A pair of bytes is sure to be joined when its rule goes before every rule that could take the
 * first byte to the left or the second one to the right: whatever stands around, both are still
 * there when its turn comes. Half of the characters of most scripts begin so. */
bool merge_table_index_bytes(struct merge_table *table, const uint32_t symbols[256])
{
    struct byte_ranks ranks;
    table->byte_pairs = bitnet_alloc((size_t)256 * 256, sizeof *table->byte_pairs);
    if (!table->byte_pairs || !find_byte_ranks(table, symbols, &ranks)) return false;
    for (unsigned pair = 0; pair < 256 * 256; pair++) {
        const struct merge_slot *slot =
            merge_table_find(table, symbols[pair >> 8], symbols[pair & 255]);
        if (!slot) continue;
        bool is_sure = slot->rank_plus_1 < ranks.on_right[pair >> 8] &&
                       slot->rank_plus_1 < ranks.on_left[pair & 255];
        table->byte_pairs[pair] = (uint32_t)(slot - table->slots) + 1;
        if (is_sure) table->byte_pairs[pair] |= MERGE_SURE;
    }
    return true;
}

static const struct merge_slot *find_bytes(const struct merge_table *table, char left, char right)
{
    uint32_t place = table->byte_pairs[(unsigned)(uint8_t)left << 8 | (uint8_t)right];
    return place ? &table->slots[(place & ~MERGE_SURE) - 1] : NULL;
}

uint32_t merge_table_sure_pair(const struct merge_table *table, char left, char right)
{
    uint32_t place = table->byte_pairs[(unsigned)(uint8_t)left << 8 | (uint8_t)right];
    return place & MERGE_SURE ? table->slots[(place & ~MERGE_SURE) - 1].result : MERGE_NO_ID;
}

void merge_table_free(struct merge_table *table)
{
    bitnet_free(table->byte_pairs);
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

static void find_scored(const struct merge_rules *rules, const struct merge_symbol *left,
                        const struct merge_symbol *right, struct merge_found *found)
{
    struct bitnet_str joint = {rules->text + left->begin, (size_t)left->bytes + right->bytes};
    int32_t id = vocab_find(rules->vocab, joint);
    found->key = UINT32_MAX;
    if (id < 0 || (rules->only_text && !is_text(rules->vocab->type[id]))) return;
    found->key = key_of_score(rules->vocab->score[id]);
    found->result = (uint32_t)id;
}

static void find_ranked(const struct merge_table *table, uint32_t left, uint32_t right,
                        struct merge_found *found)
{
    const struct merge_slot *slot = merge_table_find(table, left, right);
    found->key = slot ? slot->rank_plus_1 : UINT32_MAX;
    found->result = slot ? slot->result : 0;
}

#define N_MEMO     4096u /* 64 KiB: a share of a second-level cache */
#define MEMO_AFTER 2048u /* short texts do without */

/* The table of a large vocabulary lies in the third-level cache at best, but texts ask for the same
 * pairs again and again: what was found last is kept near. */
static void find_again(struct merge_work *work, const struct merge_table *table, uint32_t left,
                       uint32_t right, struct merge_found *found)
{
    struct merge_memo *memo = &work->memo[(hash_of(left, right) >> 40) & (N_MEMO - 1)];
    if (memo->left != left || memo->right != right) {
        memo->left = left;
        memo->right = right;
        find_ranked(table, left, right, &memo->found);
    }
    *found = memo->found;
}

static void find_pair(struct merge_work *work, const struct merge_rules *rules,
                      const struct merge_symbol *left, const struct merge_symbol *right,
                      struct merge_found *found)
{
    if (!rules->table)
        find_scored(rules, left, right, found);
    else if (work->memo)
        find_again(work, rules->table, left->id, right->id, found);
    else
        find_ranked(rules->table, left->id, right->id, found);
}

/* Without memory the table is asked each time. */
static void begin_memo(struct merge_work *work)
{
    work->n_seen += work->n_symbols;
    if (work->memo || work->n_seen < MEMO_AFTER) return;
    work->memo = bitnet_alloc(N_MEMO, sizeof *work->memo);
    for (size_t i = 0; work->memo && i < N_MEMO; i++)
        work->memo[i] = (struct merge_memo){MERGE_NO_ID, MERGE_NO_ID, {UINT32_MAX, 0}};
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
    struct merge_found found;
    find_pair(work, rules, left, right, &found);
    if (found.key == UINT32_MAX) return true;
    return heap_push(work, (struct merge_candidate){.key = found.key,
                                                    .at = at,
                                                    .bytes = left->bytes + right->bytes,
                                                    .result = found.result});
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

#define SHORT_ROW 64

/* A symbol, and what it and the next one make. */
struct pair {
    struct merge_found found;
    struct merge_symbol symbol;
};

static void look_up(struct merge_work *work, const struct merge_rules *rules, struct pair *row,
                    size_t n, size_t i)
{
    if (i + 1 < n)
        find_pair(work, rules, &row[i].symbol, &row[i + 1].symbol, &row[i].found);
    else
        row[i].found.key = UINT32_MAX;
}

static void look_up_bytes(struct merge_work *work, const struct merge_rules *rules,
                          struct pair *row, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        if (row[i].symbol.bytes + row[i + 1].symbol.bytes > 2) {
            look_up(work, rules, row, n, i);
            continue;
        }
        const struct merge_slot *slot = find_bytes(rules->table, rules->text[row[i].symbol.begin],
                                                   rules->text[row[i + 1].symbol.begin]);
        row[i].found.key = slot ? slot->rank_plus_1 : UINT32_MAX;
        row[i].found.result = slot ? slot->result : 0;
    }
    row[n - 1].found.key = UINT32_MAX;
}

static size_t find_least(const struct pair *row, size_t n)
{
    size_t best = 0;
    uint32_t least = row[0].found.key;
    for (size_t i = 1; i < n; i++) {
        best = row[i].found.key < least ? i : best;
        least = row[i].found.key < least ? row[i].found.key : least;
    }
    return best;
}

/* The same for a short row: it is kept without gaps, and the best pair found by looking. */
static void run_short(struct merge_work *work, const struct merge_rules *rules)
{
    struct pair row[SHORT_ROW];
    size_t n = work->n_symbols;
    for (size_t i = 0; i < n; i++) row[i].symbol = work->symbols[i];
    if (rules->table && rules->text)
        look_up_bytes(work, rules, row, n);
    else
        for (size_t i = 0; i < n; i++) look_up(work, rules, row, n, i);
    for (;;) {
        size_t best = find_least(row, n);
        if (row[best].found.key == UINT32_MAX) break;
        struct merge_symbol *left = &row[best].symbol;
        work->last_left = left->bytes;
        left->id = row[best].found.result;
        left->bytes += row[best + 1].symbol.bytes;
        n--;
        for (size_t i = best + 1; i < n; i++) row[i] = row[i + 1];
        look_up(work, rules, row, n, best);
        if (best) look_up(work, rules, row, n, best - 1);
    }
    for (size_t i = 0; i < n; i++) {
        work->symbols[i] = row[i].symbol;
        work->symbols[i].prev = (int32_t)i - 1;
        work->symbols[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
    }
    work->n_symbols = n;
}

bool merge_run(struct merge_work *work, const struct merge_table *table, const struct vocab *vocab,
               const char *text)
{
    struct merge_rules rules = {table, vocab, text, work->only_text};
    if (work->n_symbols < 2) return true;
    begin_memo(work);
    if (work->n_symbols > SHORT_ROW) return run_heap(work, &rules);
    run_short(work, &rules);
    return true;
}

void merge_work_free(struct merge_work *work)
{
    bitnet_free(work->symbols);
    bitnet_free(work->heap);
    bitnet_free(work->memo);
    *work = (struct merge_work){0};
}
