/* Keys and values of the tokens seen so far, as binary16 or, for half of the memory, as Q8_0. One
 * block of memory that the context owns: [layer][key or value][kv head][cell][head_dim], so that
 * one head's past is one run of bytes.
 *
 * Q8_0 keeps 32 neighbours as levels of -127 .. 127 times one scale: each number to half a step,
 * 1/254 of the largest of the 32, and the binary16 of the scale adds 2^-11 of the number. */
#ifndef BITNET_RUNTIME_KV_CACHE_H
#define BITNET_RUNTIME_KV_CACHE_H

#include "bitnet/kernels.h"

struct kv_cache {
    uint8_t *at;
    enum bitnet_dtype type; /* f16 or q8_0 */
    size_t n_layers, n_cells, n_kv_heads, head_dim;
};

/* Bytes of one head's vector in one cell. */
size_t kv_cache_cell_bytes(const struct kv_cache *cache);
/* Bytes of a cache of this size; false on overflow. */
bool kv_cache_bytes(const struct kv_cache *cache, uint64_t *n);
/* A head's vector in this cell; the next cell's follows it. */
uint8_t *kv_cache_keys(const struct kv_cache *cache, size_t layer, size_t head, size_t cell);
uint8_t *kv_cache_values(const struct kv_cache *cache, size_t layer, size_t head, size_t cell);
/* Narrows one token's keys and values [n_kv_heads][head_dim] into its cell. */
void kv_cache_store(const struct kv_cache *cache, bitnet_to_f16_fn *to_f16, size_t layer,
                    size_t cell, const float *keys, const float *values);

#endif
