/* The cache's geometry: where a head's past begins, and how a new token gets in. */
#include "kv_cache.h"

#include "bitnet/quant.h"

#include <assert.h>

size_t kv_cache_cell_bytes(const struct kv_cache *cache)
{
    const struct bitnet_layout one = {.type = cache->type, .rows = 1, .cols = cache->head_dim};
    return bitnet_rows_bytes(&one, 1);
}

bool kv_cache_bytes(const struct kv_cache *cache, uint64_t *n)
{
    *n = 2;
    return bitnet_mul_u64(*n, cache->n_layers, n) && bitnet_mul_u64(*n, cache->n_kv_heads, n) &&
           bitnet_mul_u64(*n, cache->n_cells, n) &&
           bitnet_mul_u64(*n, kv_cache_cell_bytes(cache), n);
}

static uint8_t *cell_at(const struct kv_cache *cache, size_t layer, size_t half, size_t head,
                        size_t cell)
{
    assert(layer < cache->n_layers && head < cache->n_kv_heads && cell < cache->n_cells);
    size_t index = (layer * 2 + half) * cache->n_kv_heads + head;
    return cache->at + (index * cache->n_cells + cell) * kv_cache_cell_bytes(cache);
}

uint8_t *kv_cache_keys(const struct kv_cache *cache, size_t layer, size_t head, size_t cell)
{
    return cell_at(cache, layer, 0, head, cell);
}

uint8_t *kv_cache_values(const struct kv_cache *cache, size_t layer, size_t head, size_t cell)
{
    return cell_at(cache, layer, 1, head, cell);
}

static void narrow(const struct kv_cache *cache, bitnet_to_f16_fn *to_f16, const float *from,
                   uint8_t *to)
{
    const struct bitnet_layout one = {.type = cache->type, .rows = 1, .cols = cache->head_dim};
    if (cache->type == BITNET_DTYPE_f16)
        to_f16(from, cache->head_dim, (uint16_t *)(void *)to);
    else
        bitnet_codec(cache->type)->encode_rows(&one, from, 1, NULL, to);
}

void kv_cache_store(const struct kv_cache *cache, bitnet_to_f16_fn *to_f16, size_t layer,
                    size_t cell, const float *keys, const float *values)
{
    size_t n = cache->head_dim;
    for (size_t head = 0; head < cache->n_kv_heads; head++) {
        narrow(cache, to_f16, keys + head * n, kv_cache_keys(cache, layer, head, cell));
        narrow(cache, to_f16, values + head * n, kv_cache_values(cache, layer, head, cell));
    }
}
