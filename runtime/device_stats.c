/* What a context's device has done and has left, as numbers and as a line of text. */
#include "backend_cuda.h"

#include "cuda_weights.h"

#include <inttypes.h>
#include <stdio.h>

void bitnet_context_device_stats(const struct bitnet_context *context,
                                 struct bitnet_device_stats *stats)
{
    const struct bitnet_context *c = context->owner;
    const struct cuda_step *s = c->cuda;
    struct bitnet_cuda_stats device = {0};
    if (s) s->api->stats(s->cuda, &device);
    *stats = (struct bitnet_device_stats){.device = bitnet_model_device(c->model),
                                          .device_share = s ? 1 : 0,
                                          .n_steps = c->n_steps,
                                          .n_tokens = c->n_tokens,
                                          .ms = c->step_ms,
                                          .n_fallbacks = c->model->device_reason[0] != '\0',
                                          .n_failures = s ? s->n_failures : 0,
                                          .n_launches = device.n_launches,
                                          .n_graph_launches = device.n_graph_launches,
                                          .bytes_to_device = device.bytes_to_device,
                                          .bytes_to_host = device.bytes_to_host,
                                          .memory_used = device.memory_used,
                                          .memory_free = device.memory_free,
                                          .memory_total = device.memory_total};
    snprintf(stats->last_error, sizeof stats->last_error, "%s",
             s ? s->last_error : c->model->device_reason);
}

void bitnet_context_reset_device_stats(struct bitnet_context *context)
{
    struct bitnet_context *c = context->owner;
    c->n_steps = c->n_tokens = 0;
    c->step_ms = 0;
    if (!c->cuda) return;
    c->cuda->api->reset_stats(c->cuda->cuda);
    c->cuda->n_failures = 0;
    c->cuda->last_error[0] = '\0';
}

void bitnet_device_stats_text(const struct bitnet_device_stats *stats, char *text, size_t n)
{
    const int used = snprintf(text, n, "%s: %" PRIu64 " steps, %" PRIu64 " tokens in %.1f ms",
                              stats->device, stats->n_steps, stats->n_tokens, stats->ms);
    size_t at = used < 0 || (size_t)used >= n ? n : (size_t)used;
    if (stats->device_share > 0 && at < n)
        at += (size_t)snprintf(text + at, n - at,
                               "; %" PRIu64 " launches, %" PRIu64 " graphs; %" PRIu64
                               " MiB in use, %" PRIu64 " of %" PRIu64 " free",
                               stats->n_launches, stats->n_graph_launches, stats->memory_used >> 20,
                               stats->memory_free >> 20, stats->memory_total >> 20);
    if (stats->last_error[0] && at < n)
        snprintf(text + at, n - at, "; last error: %s", stats->last_error);
}

enum bitnet_status bitnet_context_sync(struct bitnet_context *context, struct bitnet_error *err)
{
    const struct cuda_step *s = context->owner->cuda;
    if (!s || s->api->sync(s->cuda)) return BITNET_OK;
    return cuda_error(s->api, s->cuda, BITNET_DEVICE, err);
}

void *bitnet_context_native_stream(const struct bitnet_context *context)
{
    const struct cuda_step *s = context->owner->cuda;
    return s ? s->api->native_stream(s->cuda) : NULL;
}
