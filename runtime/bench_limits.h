/* Loops that do nothing but what a limit is of. See bench_limits.c. Part of the programs. */
#ifndef BITNET_RUNTIME_BENCH_LIMITS_H
#define BITNET_RUNTIME_BENCH_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Reads n bytes (a multiple of 64) with software prefetch; the sum of all words, so that nothing is
 * left out. */
uint64_t limit_read(const uint8_t *bytes, size_t n);

/* Runs of int8 dot products in registers, or NULL when `cpu` allows none of them. The function
 * does some number of them, writes it (multiplications and additions counted apart), and returns
 * something computed from all results. */
typedef int32_t limit_products_fn(double *n_ops);
limit_products_fn *limit_products(uint32_t cpu);

#endif
