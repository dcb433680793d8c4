/* Weights on their way to a device. Every function holds the lock while it talks to the device,
 * because a device is one thread's at a time; decoding, which is the work, goes on beside it. */
#include "cuda_weights.h"

#include "bitnet/alloc.h"

#include "../kernels/cuda/device_layout.h"

#include <stdio.h>
#include <string.h>

/* Rows that are packed together: what the device keeps of unpacked trits at a time. */
#define STAGED_ROWS 256u
/* Bytes per copy, so that the driver's own staging stays small. */
#define PUT_BYTES ((size_t)64 << 20)

enum bitnet_status cuda_error(const struct bitnet_cuda_api *api, struct bitnet_cuda *cuda,
                              enum bitnet_status status, struct bitnet_error *err)
{
    const char *text = api->last_error(cuda);
    bitnet_fail(err, status, "%s", *text ? text : "the device failed without a word");
    api->clear_error(cuda);
    return status;
}

static enum bitnet_status failed(struct cuda_weights *w, enum bitnet_status status,
                                 struct bitnet_error *err)
{
    w->has_failed = true;
    return cuda_error(w->api, w->cuda, status, err);
}

bool cuda_weights_open(struct cuda_weights **weights, const char *plugin_path, int index, char *why,
                       size_t why_size)
{
    struct cuda_weights *w = bitnet_alloc(1, sizeof *w);
    *weights = NULL;
    if (!w) {
        snprintf(why, why_size, "no memory for a device");
        return false;
    }
    pthread_mutex_init(&w->lock, NULL);
    w->index = index;
    snprintf(w->id, sizeof w->id, "cuda:%d", index);
    bitnet_cuda_plugin_open(&w->plugin, plugin_path);
    w->api = w->plugin.api;
    if (!w->api)
        snprintf(why, why_size, "%s", w->plugin.why);
    else {
        const int n = w->api->count(why, why_size);
        if (n > 0 && index >= n)
            snprintf(why, why_size, "there is no %s, only %d device%s", w->id, n, n > 1 ? "s" : "");
        if (index < n) w->cuda = w->api->open(index, why, why_size);
    }
    struct bitnet_cuda_info info = {.name = ""};
    if (w->cuda && w->api->info(index, &info)) {
        snprintf(w->name, sizeof w->name, "%s", info.name);
        snprintf(w->kernels, sizeof w->kernels, "cuda-sm%d%d", info.compute_major,
                 info.compute_minor);
        *weights = w;
        return true;
    }
    cuda_weights_close(w);
    return false;
}

void cuda_weights_close(struct cuda_weights *w)
{
    if (!w) return;
    if (w->cuda) w->api->close(w->cuda); /* with all its memory */
    bitnet_cuda_plugin_close(&w->plugin);
    pthread_mutex_destroy(&w->lock);
    bitnet_free(w);
}

bool cuda_weights_reads(enum bitnet_dtype type, enum bitnet_cuda_dense *dense)
{
    static const struct {
        enum bitnet_dtype type;
        enum bitnet_cuda_dense dense;
    } types[] = {{BITNET_DTYPE_f32, BITNET_CUDA_F32},   {BITNET_DTYPE_f16, BITNET_CUDA_F16},
                 {BITNET_DTYPE_bf16, BITNET_CUDA_BF16}, {BITNET_DTYPE_q8_0, BITNET_CUDA_Q8_0},
                 {BITNET_DTYPE_q6_k, BITNET_CUDA_Q6_K}, {BITNET_DTYPE_q4_0, BITNET_CUDA_Q4_0}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (types[i].type != type) continue;
        *dense = types[i].dense;
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------ trits */

enum bitnet_status cuda_weights_new_trits(struct cuda_weights *w, size_t rows, size_t cols,
                                          const uint8_t **at, uint64_t *n_bytes,
                                          struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    *n_bytes = (uint64_t)device_weight_words(rows, cols) * sizeof(uint32_t);
    pthread_mutex_lock(&w->lock);
    *at = w->api->alloc(w->cuda, (size_t)*n_bytes);
    if (!*at) status = failed(w, BITNET_MEMORY, err);
    pthread_mutex_unlock(&w->lock);
    return status;
}

static bool stage(struct cuda_weights *w, size_t n)
{
    if (w->n_staging >= n) return true;
    w->api->free(w->cuda, w->staging);
    w->staging = w->api->alloc(w->cuda, n);
    w->n_staging = w->staging ? n : 0;
    return w->staging != NULL;
}

enum bitnet_status cuda_weights_put_trits(struct cuda_weights *w, const uint8_t *at,
                                          const int8_t *trits, size_t row, size_t n, size_t cols,
                                          struct bitnet_error *err)
{
    uint32_t *words = (uint32_t *)(uintptr_t)at;
    bool good = true;
    pthread_mutex_lock(&w->lock);
    for (size_t done = 0; done < n && good; done += STAGED_ROWS) {
        const size_t part = n - done < STAGED_ROWS ? n - done : STAGED_ROWS;
        const size_t tile = (row + done) / DEVICE_TILE_ROWS;
        good =
            stage(w, part * cols) &&
            w->api->write(w->cuda, w->staging, trits + done * cols, part * cols) &&
            w->api->pack(w->cuda, w->staging, part, cols, words + tile * device_tile_words(cols));
    }
    good = good && w->api->sync(w->cuda);
    enum bitnet_status status = good ? BITNET_OK : failed(w, BITNET_DEVICE, err);
    pthread_mutex_unlock(&w->lock);
    return status;
}

/* ------------------------------------------------------------------ bytes */

enum bitnet_status cuda_weights_put(struct cuda_weights *w, const void *bytes, size_t n,
                                    const void **at, struct bitnet_error *err)
{
    pthread_mutex_lock(&w->lock);
    uint8_t *to = w->api->alloc(w->cuda, n);
    bool good = to != NULL;
    for (size_t done = 0; done < n && good; done += PUT_BYTES) {
        const size_t part = n - done < PUT_BYTES ? n - done : PUT_BYTES;
        good = w->api->write(w->cuda, to + done, (const uint8_t *)bytes + done, part);
    }
    good = good && w->api->sync(w->cuda); /* other streams read it */
    enum bitnet_status status = BITNET_OK;
    if (!good) status = failed(w, to ? BITNET_DEVICE : BITNET_MEMORY, err);
    if (!good) w->api->free(w->cuda, to);
    pthread_mutex_unlock(&w->lock);
    *at = good ? to : NULL;
    return status;
}

void cuda_weights_drop(struct cuda_weights *w, const void *at)
{
    if (!at) return;
    pthread_mutex_lock(&w->lock);
    w->api->free(w->cuda, (void *)(uintptr_t)at);
    pthread_mutex_unlock(&w->lock);
}
