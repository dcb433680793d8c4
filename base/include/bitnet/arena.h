/* A bag of memory with one owner and one end. Everything put in lives until the arena is freed or
 * reset; nothing is freed singly. Not thread-safe: an arena belongs to exactly one struct. */
#ifndef BITNET_ARENA_H
#define BITNET_ARENA_H

#include "bitnet/bytes.h"

struct bitnet_arena {
    struct arena_block *block; /* private: the block in use, linked to the full ones */
    size_t used_bytes;         /* sum of what was asked for */
};

/* An arena begins as {0}. n * size zeroed bytes, aligned for any type (64 bytes when the block is
 * larger than 1 KiB); NULL when out of memory or on overflow. */
void *bitnet_arena_alloc(struct bitnet_arena *arena, size_t n, size_t size);
/* A copy with a NUL behind it (not counted). `at` is NULL when out of memory. */
struct bitnet_str bitnet_arena_copy(struct bitnet_arena *arena, struct bitnet_str text);
/* Frees everything; the arena is empty and usable again. */
void bitnet_arena_free(struct bitnet_arena *arena);

#endif
