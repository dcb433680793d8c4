/* The cache's geometry: where a head's past begins, and how a new token gets in. */
#include "kv_cache.h"

#include <assert.h>

bool kv_cache_elements(const struct kv_cache *cache, uint64_t *n)
{
    *n = 2;
    return bitnet_mul_u64(*n, cache->n_layers, n) && bitnet_mul_u64(*n, cache->n_kv_heads, n) &&
           bitnet_mul_u64(*n, cache->n_cells, n) && bitnet_mul_u64(*n, cache->head_dim, n);
}

static uint16_t *head_begin(const struct kv_cache *cache, size_t layer, size_t half, size_t head)
{
    assert(layer < cache->n_layers && head < cache->n_kv_heads);
    size_t index = (layer * 2 + half) * cache->n_kv_heads + head;
    return cache->at + index * cache->n_cells * cache->head_dim;
}

uint16_t *kv_cache_keys(const struct kv_cache *cache, size_t layer, size_t head)
{
    return head_begin(cache, layer, 0, head);
}

uint16_t *kv_cache_values(const struct kv_cache *cache, size_t layer, size_t head)
{
    return head_begin(cache, layer, 1, head);
}

void kv_cache_store(const struct kv_cache *cache, bitnet_to_f16_fn *to_f16, size_t layer,
                    size_t cell, const float *keys, const float *values)
{
    assert(cell < cache->n_cells);
    size_t n = cache->head_dim;
    for (size_t head = 0; head < cache->n_kv_heads; head++) {
        to_f16(keys + head * n, n, kv_cache_keys(cache, layer, head) + cell * n);
        to_f16(values + head * n, n, kv_cache_values(cache, layer, head) + cell * n);
    }
}
