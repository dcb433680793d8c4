/* The choice of a device. `auto` takes the first CUDA device when the plug-in, the driver, the
 * kernels and the memory are there, and the CPU otherwise; what was asked for by name is taken or
 * is an error. A model is never split: 0.6 to 3 GB fit one device or none. */
#include "placement.h"

#include "backend_cuda.h"

#include <inttypes.h>
#include <stdio.h>

/* ------------------------------------------------------------------ what is lacking */

/* The operation that this model or its contexts need and the device has no kernel for; "" when all
 * are there. What is lacking for a tensor's type is no matter of operations: such a tensor is
 * decoded to F32, see model.c. */
static void lacking_operation(const struct bitnet_model *model,
                              const struct bitnet_model_options *options, char *text, size_t n)
{
    const struct bitnet_hparams *hp = &model->hparams;
    text[0] = '\0';
    if (hp->head_dim > CUDA_HEAD_DIM_MAX)
        snprintf(text, n, "attention with heads of %" PRIu32 " numbers (%" PRIu32 " layers)",
                 hp->head_dim, hp->n_layers);
    else if (options->quantized_cache)
        snprintf(text, n, "attention over a cache of type q8_0 (%" PRIu32 " layers)", hp->n_layers);
}

/* What the weights take on the device, at least: floats may turn out to be trits. */
static uint64_t least_bytes(const struct bitnet_model *model)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bitnet_gguf_tensor_count(model->gguf); i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(model->gguf, i);
        const uint64_t trits = t->dims[0] * t->dims[1] / 4;
        sum += trits < t->data.n ? trits : t->data.n;
    }
    return sum;
}

/* ------------------------------------------------------------------ falling back, or not */

/* The CPU takes the model for this reason. */
static void stay(struct bitnet_model *model, const struct bitnet_model_options *options,
                 enum bitnet_log_level level, const char *reason)
{
    snprintf(model->device_reason, sizeof model->device_reason, "%s", reason);
    bitnet_log_say(options->log, level, "the model runs on the CPU: %s", reason);
    cuda_weights_close(model->device);
    model->device = NULL;
}

static bool is_auto(const struct bitnet_model_options *options)
{
    return options->device->kind == BITNET_DEVICE_AUTO;
}

static enum bitnet_status check_kernels(struct bitnet_model *model,
                                        const struct bitnet_model_options *options,
                                        struct bitnet_error *err)
{
    char operation[160], reason[256];
    lacking_operation(model, options, operation, sizeof operation);
    if (!operation[0]) return BITNET_OK;
    snprintf(reason, sizeof reason, "%s has no kernel for %s", model->device->id, operation);
    if (options->strict_device) return bitnet_fail(err, BITNET_UNSUPPORTED, "%s", reason);
    stay(model, options, BITNET_LOG_WARNING, reason);
    return BITNET_OK;
}

static enum bitnet_status check_memory(struct bitnet_model *model,
                                       const struct bitnet_model_options *options,
                                       struct bitnet_error *err)
{
    struct bitnet_cuda_stats stats;
    char reason[256];
    const struct cuda_weights *device = model->device;
    const uint64_t need = least_bytes(model);
    device->api->stats(device->cuda, &stats);
    if (need <= stats.memory_free) return BITNET_OK;
    snprintf(reason, sizeof reason,
             "%s has %" PRIu64 " MiB of memory free, the weights need %" PRIu64, device->id,
             stats.memory_free >> 20, (need >> 20) + 1);
    if (!is_auto(options)) return bitnet_fail(err, BITNET_MEMORY, "%s", reason);
    stay(model, options, BITNET_LOG_WARNING, reason);
    return BITNET_OK;
}

enum bitnet_status placement_choose(struct bitnet_model *model,
                                    const struct bitnet_model_options *options,
                                    struct bitnet_error *err)
{
    char why[256] = "";
    const struct bitnet_device_choice *choice = options->device;
    if (!choice || choice->kind == BITNET_DEVICE_CPU) return BITNET_OK;
    if (!cuda_weights_open(&model->device, options->cuda_plugin, choice->index, why, sizeof why)) {
        if (is_auto(options)) {
            stay(model, options, BITNET_LOG_INFO, why);
            return BITNET_OK;
        }
        bitnet_fail(err, BITNET_UNSUPPORTED, "cuda:%d cannot be used: %s", choice->index, why);
        return bitnet_hint(err, BITNET_UNSUPPORTED,
                           "--device auto takes the CPU then; bitnet-bench --detect lists devices");
    }
    enum bitnet_status status = check_kernels(model, options, err);
    if (!status && model->device) status = check_memory(model, options, err);
    if (!status && model->device)
        bitnet_log_say(options->log, BITNET_LOG_INFO, "the model runs on %s, %s, by %s",
                       model->device->id, model->device->name, model->device->kernels);
    return status;
}

bool placement_may_fall_back(struct bitnet_model *model, const struct bitnet_model_options *options,
                             const struct bitnet_error *err)
{
    if (!model->device || !model->device->has_failed || !is_auto(options)) return false;
    stay(model, options, BITNET_LOG_WARNING, err->text);
    return true;
}
