/* Keys and values of the tokens seen so far, as binary16. One block of memory that the context
 * owns: [layer][key or value][kv head][cell][head_dim], so that one head's past is one run of
 * bytes. */
#ifndef BITNET_RUNTIME_KV_CACHE_H
#define BITNET_RUNTIME_KV_CACHE_H

#include "bitnet/kernels.h"

struct kv_cache {
    uint16_t *at;
    size_t n_layers, n_cells, n_kv_heads, head_dim;
};

/* Elements of a cache of this size; false on overflow. */
bool kv_cache_elements(const struct kv_cache *cache, uint64_t *n);
/* First cell of a head; cells follow at head_dim elements. */
uint16_t *kv_cache_keys(const struct kv_cache *cache, size_t layer, size_t head);
uint16_t *kv_cache_values(const struct kv_cache *cache, size_t layer, size_t head);
/* Narrows one token's keys and values [n_kv_heads][head_dim] into its cell. */
void kv_cache_store(const struct kv_cache *cache, bitnet_to_f16_fn *to_f16, size_t layer,
                    size_t cell, const float *keys, const float *values);

#endif
