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
