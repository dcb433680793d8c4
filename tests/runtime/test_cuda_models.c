/* Whole models on a CUDA device: near the CPU's results, and their contexts, batches, graphs and
 * failures. More shapes: test_cuda_numbers.c. */
#include "on_device.h"

#include "backend_cuda.h"
#include "context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TEST(a_model_is_near_the_cpu)
{
    struct tiny_spec spec = tiny_spec_b158();
    assert_near(&spec, BITNET_DTYPE_i2_s, BITNET_DTYPE_f16, 3, false);
}

/* ------------------------------------------------------------------ batches, contexts */

/* Most of what follows needs a model and no more. */
static char small_path[200];
static const struct tiny_spec *small_spec(void)
{
    static struct tiny_spec spec;
    spec = tiny_spec_b158();
    spec.n_context = 1024;
    spec.n_heads = 2;
    spec.n_kv_heads = 1;
    return &spec;
}

static int write_small(void **state)
{
    (void)state;
    struct tiny_model *m = tiny_model_new(small_spec());
    const struct tiny_file file = {.linear = BITNET_DTYPE_f16, .embed = BITNET_DTYPE_f16};
    tiny_path(small_path, sizeof small_path, "small");
    assert_true(tiny_model_write(m, small_path, &file));
    tiny_model_free(m);
    return 0;
}

static int remove_small(void **state)
{
    (void)state;
    unlink(small_path);
    return 0;
}

static struct bitnet_model *open_small(void)
{
    const struct bitnet_model_options options = {.device = &cuda0,
                                                 .cuda_plugin = cuda_plugin_path()};
    struct bitnet_model *model = NULL;
    struct bitnet_error err;
    if (bitnet_model_open(&model, small_path, &options, &err)) fail_msg("%s", err.text);
    assert_string_equal(bitnet_model_device(model), "cuda:0");
    return model;
}

static struct bitnet_context *new_context(const struct bitnet_model *model,
                                          const struct bitnet_context_options *options)
{
    struct bitnet_context *context = NULL;
    struct bitnet_error err;
    if (bitnet_context_new(&context, model, options, &err)) fail_msg("%s", err.text);
    return context;
}

static void eval(struct bitnet_context *context, const int32_t *ids, size_t n)
{
    struct bitnet_error err;
    if (bitnet_eval(context, ids, n, &err)) fail_msg("%s", err.text);
}

TEST(batches_of_any_size_give_the_same_bits)
{
    static const uint32_t batches[] = {1, 3, 7, 0};
    const size_t n_vocab = small_spec()->n_vocab;
    struct run run = on_device();
    float *want = run_model(small_path, some_tokens, N_TOKENS, &run);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        run.n_batch = batches[i];
        run.n_first = i;
        float *got = run_model(small_path, some_tokens, N_TOKENS, &run);
        assert_same_logits("another batch", want, got, N_TOKENS, n_vocab);
        free(got);
    }
    free(want);
}

/* 5 sequences together, each in another place of its text, are what each is alone. */
TEST(sequences_evaluated_together_are_what_each_is_alone)
{
    enum { N = 5 };
    struct bitnet_model *model = open_small();
    const size_t n_vocab = small_spec()->n_vocab;
    struct bitnet_context *together[N], *alone[N];
    struct bitnet_slice slices[N];
    struct bitnet_error err;
    struct bitnet_context_options options = {.n_context = 64, .n_sequences = N};
    for (size_t i = 0; i < N; i++) {
        if (i > 0)
            options = (struct bitnet_context_options){.n_context = 64 - 3 * (uint32_t)i,
                                                      .shares = together[0]};
        together[i] = new_context(model, &options);
        alone[i] = new_context(model, &(struct bitnet_context_options){.n_context = 64});
        slices[i] = (struct bitnet_slice){together[i], some_tokens + i, 1 + i};
    }
    for (int round = 0; round < 3; round++) {
        if (bitnet_eval_many(slices, N, &err)) fail_msg("%s", err.text);
        for (size_t i = 0; i < N; i++) {
            eval(alone[i], slices[i].tokens, slices[i].n);
            assert_same_logits("together", bitnet_logits(alone[i], slices[i].n - 1),
                               bitnet_logits(together[i], slices[i].n - 1), 1, n_vocab);
            slices[i].n = 1;
        }
    }
    for (size_t i = N; i-- > 0;) {
        bitnet_context_free(together[i]);
        bitnet_context_free(alone[i]);
    }
    bitnet_model_close(model);
}

TEST(contexts_of_one_model_do_not_disturb_each_other)
{
    struct bitnet_model *model = open_small();
    const size_t n_vocab = small_spec()->n_vocab;
    struct bitnet_context *a = new_context(model, NULL), *b = new_context(model, NULL);
    eval(a, some_tokens, 3);
    eval(b, some_tokens + 5, 4);
    eval(a, some_tokens + 3, 1);
    eval(b, some_tokens, 2);
    struct bitnet_context *c = new_context(model, NULL);
    eval(c, some_tokens, 4);
    assert_same_logits("a", bitnet_logits(c, 3), bitnet_logits(a, 0), 1, n_vocab);
    bitnet_context_free(a);
    bitnet_context_reset(c);
    eval(c,
         (int32_t[]){some_tokens[5], some_tokens[6], some_tokens[7], some_tokens[8], some_tokens[0],
                     some_tokens[1]},
         6);
    assert_same_logits("b", bitnet_logits(c, 5), bitnet_logits(b, 1), 1, n_vocab);
    bitnet_context_free(b);
    bitnet_context_free(c);
    bitnet_model_close(model);
}

/* ------------------------------------------------------------------ graphs */

TEST(steps_of_one_shape_run_one_graph)
{
    struct bitnet_model *model = open_small();
    struct bitnet_context *context = new_context(model, NULL);
    struct bitnet_cuda_stats before, after;
    struct cuda_step *s = context->cuda;
    eval(context, some_tokens, 1);
    s->api->stats(s->cuda, &before);
    for (size_t i = 1; i < N_TOKENS; i++) eval(context, some_tokens + i, 1);
    s->api->stats(s->cuda, &after);
    assert_int_equal(after.n_launches, before.n_launches);
    assert_int_equal(after.n_graph_launches - before.n_graph_launches, N_TOKENS - 1);
    /* What moves: a token's few numbers there, its logits back. */
    assert_int_equal(after.bytes_to_device - before.bytes_to_device,
                     (N_TOKENS - 1) * sizeof(struct bitnet_cuda_token));
    assert_int_equal(after.bytes_to_host - before.bytes_to_host,
                     (N_TOKENS - 1) * small_spec()->n_vocab * sizeof(float));
    bitnet_context_free(context);
    bitnet_model_close(model);
}

/* A greedy text needs ids alone, and they are the CPU's. */
TEST(greedy_texts_bring_ids_back_and_no_logits)
{
    enum { N_PREDICT = 8 };
    struct bitnet_error err;
    struct bitnet_model *here = NULL, *there = open_small();
    struct bitnet_tokens ids[2] = {{0}, {0}};
    struct bitnet_sampler_options greedy = bitnet_sampler_defaults();
    struct bitnet_cuda_stats before, after;
    greedy.temperature = 0;
    if (bitnet_model_open(&here, small_path, NULL, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++) {
        struct bitnet_sampler *sampler = NULL;
        struct bitnet_context *c = new_context(i ? there : here, NULL);
        const struct bitnet_generate_options options = {.n_predict = N_PREDICT};
        assert_int_equal(bitnet_sampler_new(&sampler, small_spec()->n_vocab, &greedy, &err), 0);
        if (i) c->cuda->api->stats(c->cuda->cuda, &before);
        if (bitnet_generate(c, sampler, some_tokens, 4, &options, &ids[i], NULL, NULL, &err))
            fail_msg("%s", err.text);
        if (i) c->cuda->api->stats(c->cuda->cuda, &after);
        assert_true(!i || !bitnet_logits(c, 0)); /* they never came */
        bitnet_context_free(c);
        bitnet_sampler_free(sampler);
    }
    assert_int_equal(after.bytes_to_host - before.bytes_to_host, N_PREDICT * sizeof(int32_t));
    assert_int_equal(ids[0].n, N_PREDICT);
    assert_int_equal(ids[1].n, N_PREDICT);
    assert_memory_equal(ids[0].at, ids[1].at, N_PREDICT * sizeof(int32_t));
    for (int i = 0; i < 2; i++) bitnet_tokens_free(&ids[i]);
    bitnet_model_close(here);
    bitnet_model_close(there);
}

/* ------------------------------------------------------------------ failures */

static struct bitnet_error failing_eval(struct bitnet_context *context, const int32_t *ids,
                                        size_t n)
{
    struct bitnet_error err;
    assert_int_equal(bitnet_eval(context, ids, n, &err), BITNET_DEVICE);
    return err;
}

/* Before the failure 3 tokens are there; after it still, and the next ones follow them. */
static void fail_and_go_on(const struct bitnet_model *model, uint64_t nth, const float *want)
{
    struct bitnet_context *context = new_context(model, NULL);
    struct cuda_step *s = context->cuda;
    eval(context, some_tokens, 3);
    s->api->inject(s->cuda, BITNET_CUDA_FAULT_LAUNCH, nth);
    struct bitnet_error err = failing_eval(context, some_tokens + 3, 1);
    assert_non_null(strstr(err.text, "cuda:0"));
    assert_null(bitnet_logits(context, 0));
    assert_int_equal(bitnet_context_used(context), 3);
    assert_int_equal(s->n_failures, 1);
    assert_string_equal(s->last_error, err.text);
    eval(context, some_tokens + 3, 1);
    assert_same_logits("said again", want, bitnet_logits(context, 0), 1, small_spec()->n_vocab);
    s->api->inject(s->cuda, BITNET_CUDA_FAULT_LAUNCH, 1);
    assert_non_null(strstr(failing_eval(context, some_tokens, 1).text, "running a graph"));
    bitnet_context_free(context);
}

TEST(a_step_that_fails_is_told_and_can_be_said_again)
{
    struct bitnet_model *model = open_small();
    struct bitnet_context *other = new_context(model, NULL);
    eval(other, some_tokens, 4);
    for (uint64_t nth = 1; nth <= 15; nth += 7) fail_and_go_on(model, nth, bitnet_logits(other, 3));
    eval(other, some_tokens, 1); /* was never disturbed */
    bitnet_context_free(other);
    bitnet_model_close(model);
}

TEST(a_context_without_memory_is_an_error_and_leaves_none)
{
    struct bitnet_model *model = open_small();
    struct bitnet_context *context = NULL;
    struct bitnet_error err;
    struct bitnet_cuda_stats before, after;
    const struct bitnet_context_options huge = {.n_context = 16u << 20};
    if (getenv("BITNET_CUDA_PLUGIN")) { /* a real one may have that much */
        bitnet_model_close(model);
        skip();
    }
    model->device->api->stats(model->device->cuda, &before);
    assert_int_equal(bitnet_context_new(&context, model, &huge, &err), BITNET_MEMORY);
    assert_null(context);
    assert_non_null(strstr(err.text, "cuda:0"));
    model->device->api->stats(model->device->cuda, &after);
    assert_int_equal(before.memory_free, after.memory_free);
    bitnet_model_close(model);
}

TEST(a_quantized_cache_has_no_kernel_there)
{
    struct bitnet_model *model = open_small();
    struct bitnet_context *context = NULL;
    struct bitnet_error err;
    const struct bitnet_context_options options = {.quantized_cache = true};
    assert_int_equal(bitnet_context_new(&context, model, &options, &err), BITNET_UNSUPPORTED);
    assert_non_null(strstr(err.text, "q8_0"));
    bitnet_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_near_the_cpu),
        cmocka_unit_test(batches_of_any_size_give_the_same_bits),
        cmocka_unit_test(sequences_evaluated_together_are_what_each_is_alone),
        cmocka_unit_test(contexts_of_one_model_do_not_disturb_each_other),
        cmocka_unit_test(steps_of_one_shape_run_one_graph),
        cmocka_unit_test(greedy_texts_bring_ids_back_and_no_logits),
        cmocka_unit_test(a_step_that_fails_is_told_and_can_be_said_again),
        cmocka_unit_test(a_context_without_memory_is_an_error_and_leaves_none),
        cmocka_unit_test(a_quantized_cache_has_no_kernel_there),
    };
    if (!device_is_there()) return 77;
    return cmocka_run_group_tests(tests, write_small, remove_small);
}
