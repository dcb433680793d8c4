/* The heap behind everything: zeroed, checked for overflow, counted, and able to fail on demand.
 * The counters are the only state; they are atomic, and only tests read them. */
#include "bitnet/alloc.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet/bytes.h"

enum { ALIGNMENT = 64 };

static atomic_long n_asked, n_live, fail_number = -1;

/* Counts one request; true when this is the one that a test wants to fail. */
static bool must_fail(void)
{
    long number = atomic_fetch_add_explicit(&n_asked, 1, memory_order_relaxed);
    return number == atomic_load_explicit(&fail_number, memory_order_relaxed);
}

static void *counted(void *p)
{
    if (p) atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    return p;
}

void *bitnet_alloc(size_t n, size_t size)
{
    size_t n_bytes;
    if (!bitnet_mul_size(n, size, &n_bytes) || n_bytes > PTRDIFF_MAX) return NULL;
    if (must_fail()) return NULL;
    return counted(calloc(1, n_bytes ? n_bytes : 1));
}

void *bitnet_realloc(void *p, size_t n, size_t size)
{
    size_t n_bytes;
    if (!bitnet_mul_size(n, size, &n_bytes) || n_bytes > PTRDIFF_MAX) return NULL;
    if (must_fail()) return NULL;
    void *moved = realloc(p, n_bytes ? n_bytes : 1);
    return p ? moved : counted(moved);
}

void bitnet_free(void *p)
{
    if (!p) return;
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    free(p);
}

/* calloc gives big blocks as untouched pages, which aligned_alloc + memset would all touch. So the
 * aligned block lies inside a calloc block, and the byte before it holds the distance. */
void *bitnet_alloc_aligned(size_t n_bytes)
{
    size_t padded;
    if (!bitnet_add_size(n_bytes, ALIGNMENT, &padded)) return NULL;
    uint8_t *base = bitnet_alloc(padded, 1);
    if (!base) return NULL;
    size_t shift = ALIGNMENT - (uintptr_t)base % ALIGNMENT; /* 1 .. 64 */
    base[shift - 1] = (uint8_t)shift;
    return base + shift;
}

void bitnet_free_aligned(void *p)
{
    if (!p) return;
    uint8_t *aligned = p;
    bitnet_free(aligned - aligned[-1]);
}

int bitnet_grow(void **array, size_t size, size_t n, size_t *cap, size_t max)
{
    if (n < *cap) return 1;
    if (n >= max) return 0;
    size_t wanted = *cap < 8 ? 8 : *cap > max / 2 ? max : 2 * *cap;
    if (wanted <= n) wanted = n + 1;
    if (wanted > max) wanted = max;
    void *moved = bitnet_realloc(*array, wanted, size);
    if (!moved) return 0;
    *array = moved;
    *cap = wanted;
    return 1;
}

void bitnet_alloc_fail_at(long number)
{
    atomic_store_explicit(&fail_number, number, memory_order_relaxed);
    atomic_store_explicit(&n_asked, 0, memory_order_relaxed);
}

long bitnet_alloc_count(void)
{
    return atomic_load_explicit(&n_asked, memory_order_relaxed);
}

long bitnet_alloc_live(void)
{
    return atomic_load_explicit(&n_live, memory_order_relaxed);
}
