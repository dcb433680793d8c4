/* A bag of memory: a chain of blocks, the newest in front.
 *
 *     arena.block -> [header | used .... free] -> [header | full] -> [header | full] -> NULL
 *
 * Blocks double from 4 KiB to 4 MiB, so a small arena is small and a big one asks rarely. What is
 * larger than a quarter of the next block gets a block of its own behind the first, so that the
 * first one's free space is not lost. Memory is zeroed because the blocks come zeroed. */
#include "bitnet/arena.h"

#include "bitnet/alloc.h"

enum {
    FIRST_BLOCK_BYTES = 4096,
    LARGEST_BLOCK_BYTES = 4 << 20,
    SMALL_ALIGNMENT = 16, /* enough for any C type */
    LARGE_ALIGNMENT = 64, /* a cache line, and every vector register */
    LARGE_BYTES = 1024
};

struct arena_block {
    struct arena_block *next;
    size_t cap_bytes, used_bytes; /* of the payload */
};

/* The payload begins one line behind the header, so it is aligned as the block is. */
enum { HEADER_BYTES = 64 };
_Static_assert(sizeof(struct arena_block) <= HEADER_BYTES, "the header fits before the payload");

static struct arena_block *new_block(size_t cap_bytes)
{
    size_t total;
    if (!bitnet_add_size(cap_bytes, HEADER_BYTES, &total)) return NULL;
    struct arena_block *block = bitnet_alloc_aligned(total);
    if (block) block->cap_bytes = cap_bytes;
    return block;
}

static void *take(struct arena_block *block, size_t n_bytes, size_t alignment)
{
    size_t begin = (block->used_bytes + alignment - 1) & ~(alignment - 1);
    if (!bitnet_range_ok(begin, n_bytes, block->cap_bytes)) return NULL;
    block->used_bytes = begin + n_bytes;
    return (uint8_t *)block + HEADER_BYTES + begin;
}

static size_t next_block_bytes(const struct bitnet_arena *arena)
{
    if (!arena->block) return FIRST_BLOCK_BYTES;
    size_t last = arena->block->cap_bytes;
    if (last >= LARGEST_BLOCK_BYTES / 2) return LARGEST_BLOCK_BYTES;
    return last < FIRST_BLOCK_BYTES ? FIRST_BLOCK_BYTES : 2 * last;
}

static void *take_from_new_block(struct bitnet_arena *arena, size_t n_bytes, size_t alignment)
{
    size_t cap_bytes = next_block_bytes(arena);
    bool own = n_bytes > cap_bytes / 4;
    struct arena_block *block = new_block(own ? n_bytes : cap_bytes);
    if (!block) return NULL;
    if (own && arena->block) {
        block->next = arena->block->next;
        arena->block->next = block;
    } else {
        block->next = arena->block;
        arena->block = block;
    }
    return take(block, n_bytes, alignment);
}

void *bitnet_arena_alloc(struct bitnet_arena *arena, size_t n, size_t size)
{
    size_t n_bytes;
    if (!bitnet_mul_size(n, size, &n_bytes)) return NULL;
    if (n_bytes == 0) n_bytes = 1; /* every allocation is a place of its own */
    size_t alignment = n_bytes > LARGE_BYTES ? LARGE_ALIGNMENT : SMALL_ALIGNMENT;
    void *at = arena->block ? take(arena->block, n_bytes, alignment) : NULL;
    if (!at) at = take_from_new_block(arena, n_bytes, alignment);
    if (at) arena->used_bytes += n_bytes;
    return at;
}

struct bitnet_str bitnet_arena_copy(struct bitnet_arena *arena, struct bitnet_str text)
{
    size_t n;
    char *at = bitnet_add_size(text.n, 1, &n) ? bitnet_arena_alloc(arena, n, 1) : NULL;
    if (!at) return (struct bitnet_str){NULL, 0};
    if (text.n) memcpy(at, text.at, text.n);
    return (struct bitnet_str){at, text.n};
}

void bitnet_arena_free(struct bitnet_arena *arena)
{
    for (struct arena_block *block = arena->block, *next; block; block = next) {
        next = block->next;
        bitnet_free_aligned(block);
    }
    *arena = (struct bitnet_arena){0};
}
