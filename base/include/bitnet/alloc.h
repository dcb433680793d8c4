/* All heap memory of the library comes through here, so that a test can let the n-th allocation
 * fail and see that every caller copes. Memory comes zeroed. Thread-safe. */
#ifndef BITNET_ALLOC_H
#define BITNET_ALLOC_H

#include <stddef.h>

/* n * size zeroed bytes, or NULL when there is no memory or the product overflows. */
void *bitnet_alloc(size_t n, size_t size);
/* As realloc for an array; new bytes are not zeroed. On failure `p` stays valid. */
void *bitnet_realloc(void *p, size_t n, size_t size);
/* NULL is fine. */
void bitnet_free(void *p);
/* Zeroed memory at a multiple of 64 bytes, released with bitnet_free_aligned(). */
void *bitnet_alloc_aligned(size_t n_bytes);
void bitnet_free_aligned(void *p);

/* Zeroed memory at a multiple of 2 MiB, in huge pages where the system gives them to those who ask
 * (Linux: madvise(MADV_HUGEPAGE)); for what is large and read again and again. Untouched parts cost
 * address space only. NULL when there is none. Released with the same size. */
void *bitnet_alloc_pages(size_t n_bytes);
void bitnet_free_pages(void *p, size_t n_bytes);
/* Makes n bytes of such a block, which ends at block_end, present before they are written. After
 * seconds of waiting for huge pages the rest of the block is asked for in small ones, which are
 * read more slowly. `waited_us`, 0 at first, is shared by all calls for a block, from any thread;
 * nobody else reads it meanwhile. */
void bitnet_pages_touch(void *begin, size_t n, void *block_end, unsigned *waited_us);
/* Whether asking helps on this system. */
int bitnet_pages_are_huge(void);

/* Makes room for one more element in a growing array: doubles *cap, never beyond `max`.
 * False when memory or the ceiling is reached; the array stays as it was. */
#define BITNET_GROW(array, n, cap, max)                                                            \
    ((n) < (cap) || bitnet_grow((void **)&(array), sizeof *(array), (n), &(cap), (max)))
int bitnet_grow(void **array, size_t size, size_t n, size_t *cap, size_t max);

/* For tests: the allocation with this number (counted from 0 at this call) fails, once; negative
 * switches the fault off. bitnet_alloc_count() tells how many were asked for since, and
 * bitnet_alloc_live() how many blocks are alive in all. */
void bitnet_alloc_fail_at(long number);
long bitnet_alloc_count(void);
long bitnet_alloc_live(void);

#endif
