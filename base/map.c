/* A table from text to a number, and the keyed hash under it. The hash is SipHash-1-3 (Aumasson
 * and Bernstein, "SipHash: a fast short-input PRF", 2012, with the reduced rounds that language
 * runtimes use for tables); the key is drawn once per process, so a file cannot be written whose
 * names all fall into one bucket. */
#include "bitnet/text.h"

#include <pthread.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "bitnet/alloc.h"

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

/* Without a random source the clock and the address space still differ from run to run; the seed
 * guards against slowness, not against disclosure. */
static void draw_seed(void)
{
    if (getentropy(seed, sizeof seed) == 0) return;
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    seed[0] = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec;
    seed[1] = (uint64_t)(uintptr_t)&now ^ (uint64_t)getpid() << 48;
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

uint64_t bitnet_hash(struct bitnet_str text)
{
    pthread_once(&seed_once, draw_seed);
    struct sip s = {seed[0] ^ UINT64_C(0x736f6d6570736575), seed[1] ^ UINT64_C(0x646f72616e646f6d),
                    seed[0] ^ UINT64_C(0x6c7967656e657261), seed[1] ^ UINT64_C(0x7465646279746573)};
    size_t i = 0;
    for (; i + 8 <= text.n; i += 8) sip_word(&s, bitnet_load_u64(text.at + i));
    uint64_t last = (uint64_t)text.n << 56;
    for (int shift = 0; i < text.n; i++, shift += 8) last |= (uint64_t)(uint8_t)text.at[i] << shift;
    sip_word(&s, last);
    s.v2 ^= 0xFF;
    for (int round = 0; round < 3; round++) sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* The slot that holds `key`, or the empty one where it belongs. The table is never full. */
static struct bitnet_map_slot *find_slot(const struct bitnet_map *map, struct bitnet_str key,
                                         uint64_t hash)
{
    for (size_t i = (size_t)hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
        struct bitnet_map_slot *slot = &map->slots[i];
        if (!slot->key.at) return slot;
        if (slot->hash == hash && bitnet_str_equal(slot->key, key)) return slot;
    }
}

static bool grow(struct bitnet_map *map)
{
    size_t cap = map->cap ? 2 * map->cap : 16;
    struct bitnet_map larger = {bitnet_alloc(cap, sizeof *map->slots), map->n, cap};
    if (!larger.slots) return false;
    for (size_t i = 0; i < map->cap; i++) {
        const struct bitnet_map_slot *slot = &map->slots[i];
        if (slot->key.at) *find_slot(&larger, slot->key, slot->hash) = *slot;
    }
    bitnet_free(map->slots);
    *map = larger;
    return true;
}

enum bitnet_map_put bitnet_map_put(struct bitnet_map *map, struct bitnet_str key, uint32_t value,
                                   uint32_t *old)
{
    if (!key.at) key = BITNET_STR(""); /* at == NULL marks an empty slot */
    uint64_t hash = bitnet_hash(key);
    struct bitnet_map_slot *slot = map->cap ? find_slot(map, key, hash) : NULL;
    if (slot && slot->key.at) {
        if (old) *old = slot->value;
        return BITNET_MAP_EXISTS;
    }
    if (map->n >= map->cap / 4 * 3) {
        if (!grow(map)) return BITNET_MAP_MEMORY;
        slot = find_slot(map, key, hash);
    }
    *slot = (struct bitnet_map_slot){key, hash, value};
    map->n++;
    return BITNET_MAP_NEW;
}

bool bitnet_map_get(const struct bitnet_map *map, struct bitnet_str key, uint32_t *value)
{
    if (map->n == 0) return false;
    if (!key.at) key = BITNET_STR("");
    const struct bitnet_map_slot *slot = find_slot(map, key, bitnet_hash(key));
    if (!slot->key.at) return false;
    *value = slot->value;
    return true;
}

void bitnet_map_free(struct bitnet_map *map)
{
    bitnet_free(map->slots);
    *map = (struct bitnet_map){0};
}
