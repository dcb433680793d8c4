/* See main_runner.h. Tokens are evaluated a few at a time, so that only their logits are kept. */
#include "main_runner.h"

#include "bitnet/runtime.h"

#define BATCH 8

static enum bitnet_status evaluate(struct bitnet_context *context, const struct bitnet_run *run,
                                   size_t n_vocab, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t at = 0; at < run->n && !status; at += BATCH) {
        size_t n = run->n - at < BATCH ? run->n - at : BATCH;
        status = bitnet_eval(context, run->tokens + at, n, err);
        for (size_t i = 0; i < n && !status; i++) {
            const float *logits = bitnet_logits(context, i);
            if (logits)
                run->each(run->user, at + i, logits, n_vocab);
            else
                status = bitnet_fail(err, BITNET_UNSUPPORTED,
                                     "this model has no logits; --verify tensors is what there is");
        }
    }
    return status;
}

static enum bitnet_status run_model(struct bitnet_gguf *gguf, struct bitnet_pool *pool,
                                    const struct bitnet_run *run, struct bitnet_error *err)
{
    const struct bitnet_model_options options = {.float_activations = run->float_activations,
                                                 .pool = pool};
    struct bitnet_model *model = NULL;
    struct bitnet_context *context = NULL;
    enum bitnet_status status = bitnet_model_from_gguf(&model, gguf, &options, err);
    if (!status)
        status = bitnet_context_new(&context, model,
                                    &(struct bitnet_context_options){.n_context = (uint32_t)run->n,
                                                                     .n_batch = BATCH,
                                                                     .n_logits = BATCH,
                                                                     .all_logits = true,
                                                                     .pool = pool},
                                    err);
    if (!status) status = evaluate(context, run, bitnet_model_hparams(model)->n_vocab, err);
    bitnet_context_free(context);
    bitnet_model_close(model);
    return status;
}

static enum bitnet_status run_with_pool(void *user, struct bitnet_gguf *gguf,
                                        const struct bitnet_run *run, struct bitnet_error *err)
{
    struct bitnet_pool *pool = user;
    enum bitnet_status status = pool ? BITNET_OK : bitnet_pool_new(&pool, 0, err);
    if (!status) status = run_model(gguf, pool, run, err);
    if (!user) bitnet_pool_free(pool);
    return status;
}

const struct bitnet_runner main_runner = {.run = run_with_pool};
