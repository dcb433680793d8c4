/* Whole models of many shapes on a CUDA device against the same models on the CPU: every family,
 * every type of head, long contexts; a trained model's text and perplexity. How near is near:
 * on_device.h. */
#include "on_device.h"

#include "bitnet/convert.h"
#include "bitnet/embed.h"
#include "bitnet/text.h"

#include "../convert/family.h"
#include "backend_cuda.h"
#include "temp_dir.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void assert_both_near(const struct tiny_spec *spec, enum bitnet_dtype linear,
                             enum bitnet_dtype embed)
{
    assert_near(spec, linear, embed, N_TOKENS, true);
    assert_near(spec, linear, embed, N_TOKENS, false);
}

static struct bitnet_model *open_on(const char *path, const struct bitnet_device_choice *device)
{
    const struct bitnet_model_options options = {.device = device,
                                                 .cuda_plugin = cuda_plugin_path()};
    struct bitnet_model *model = NULL;
    struct bitnet_error err;
    if (bitnet_model_open(&model, path, &options, &err)) fail_msg("%s", err.text);
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

/* ------------------------------------------------------------------ shapes and types */

TEST(b158_is_near_the_cpu)
{
    struct tiny_spec spec = tiny_spec_b158();
    assert_both_near(&spec, BITNET_DTYPE_i2_s, BITNET_DTYPE_f16);
}

TEST(bitnet_is_near_the_cpu)
{
    struct tiny_spec spec = tiny_spec_bitnet();
    assert_both_near(&spec, BITNET_DTYPE_i2_s, BITNET_DTYPE_f32);
}

TEST(llama_with_its_own_output_and_divided_angles_is_near_the_cpu)
{
    struct tiny_spec spec = tiny_spec_llama();
    spec.own_output = true;
    spec.rope_freqs = true;
    assert_both_near(&spec, BITNET_DTYPE_i2_s, BITNET_DTYPE_bf16);
}

TEST(odd_widths_are_near_the_cpu)
{
    struct tiny_spec spec = {.arch = "bitnet",
                             .n_layers = 2,
                             .n_embd = 300,
                             .n_ffn = 452,
                             .n_heads = 6,
                             .n_kv_heads = 3,
                             .head_dim = 50,
                             .n_rot = 34,
                             .n_vocab = 257,
                             .n_context = 64,
                             .rope_base = 10000,
                             .seed = 9};
    assert_both_near(&spec, BITNET_DTYPE_f16, BITNET_DTYPE_f16);
}

TEST(each_row_may_have_its_own_scale)
{
    struct tiny_spec spec = tiny_spec_b158();
    spec.row_scales = true;
    assert_both_near(&spec, BITNET_DTYPE_f32, BITNET_DTYPE_f16);
}

/* Heads of blocks: the device sums floats where the CPU works in fixed point of 24 bits. */
TEST(heads_of_blocks_are_near_the_cpu)
{
    struct tiny_spec spec = tiny_spec_b158();
    assert_both_near(&spec, BITNET_DTYPE_i2_s, BITNET_DTYPE_q8_0);
    assert_both_near(&spec, BITNET_DTYPE_i2_s, BITNET_DTYPE_q6_k);
    assert_both_near(&spec, BITNET_DTYPE_i2_s, BITNET_DTYPE_q4_0);
}

static void assert_dense_is_near(enum bitnet_dtype type)
{
    struct tiny_spec spec = tiny_spec_llama();
    struct tiny_model *m = tiny_model_new(&spec);
    char path[200];
    tiny_model_make_dense(m, type);
    write_typed(m, type, BITNET_DTYPE_f16, path, sizeof path);
    struct difference d = against_cpu(path, N_TOKENS, spec.n_vocab, false);
    unlink(path);
    tiny_model_free(m);
    assert_true(d.max <= 1e-3 * d.spread);
}

TEST(models_without_trits_are_near_the_cpu)
{
    assert_dense_is_near(BITNET_DTYPE_f16);
    assert_dense_is_near(BITNET_DTYPE_q8_0);
    assert_dense_is_near(BITNET_DTYPE_iq2_s); /* decoded to F32 */
}

TEST(every_ternary_type_gives_the_same_bits)
{
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_tl1, BITNET_DTYPE_tl2,
                                              BITNET_DTYPE_tq1_0, BITNET_DTYPE_tq2_0,
                                              BITNET_DTYPE_f16};
    struct tiny_spec spec = tiny_spec_b158();
    struct tiny_model *m = tiny_model_new(&spec);
    struct run run = on_device();
    char path[200];
    write_typed(m, BITNET_DTYPE_i2_s, BITNET_DTYPE_f16, path, sizeof path);
    float *want = run_model(path, some_tokens, N_TOKENS, &run);
    unlink(path);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        write_typed(m, types[i], BITNET_DTYPE_f16, path, sizeof path);
        float *got = run_model(path, some_tokens, N_TOKENS, &run);
        unlink(path);
        assert_same_logits(bitnet_dtype_info(types[i])->name, want, got, N_TOKENS, spec.n_vocab);
        free(got);
    }
    free(want);
    tiny_model_free(m);
}

/* 600 cells are three chunks of keys, and the bound of a step's keys grows twice on the way. */
TEST(long_contexts_are_near_the_cpu)
{
    enum { N = 600 };
    int32_t ids[N];
    char path[200];
    struct tiny_spec spec = tiny_spec_b158();
    spec.n_context = 1024;
    struct tiny_model *m = tiny_model_new(&spec);
    write_typed(m, BITNET_DTYPE_i2_s, BITNET_DTYPE_f16, path, sizeof path);
    tiny_model_free(m);
    const size_t n_vocab = spec.n_vocab;
    double want[300];
    struct bitnet_model *there = open_on(path, &cuda0), *here = NULL;
    struct bitnet_error err;
    if (bitnet_model_open(&here, path, NULL, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < N; i++) ids[i] = (int32_t)(1 + i * 37 % 250);
    const struct bitnet_context_options options = {.n_context = 640, .n_batch = 199};
    struct bitnet_context *a = new_context(there, &options), *b = new_context(here, &options);
    eval(a, ids, N);
    eval(b, ids, N);
    for (size_t i = 0; i < n_vocab; i++) want[i] = (double)bitnet_logits(b, N - 1)[i];
    struct difference d = compare_logits(bitnet_logits(a, N - 1), want, 1, n_vocab);
    print_message("at %d: max %.3g rms %.3g of %.3g\n", N, d.max, d.rms, d.spread);
    assert_true(d.rms <= 0.03 * d.spread);
    assert_int_equal(d.n_other_best, 0);
    bitnet_context_free(a);
    bitnet_context_free(b);
    bitnet_model_close(here);
    bitnet_model_close(there);
    unlink(path);
}

/* A batch of 32 is on tensor cores, one of 3 is not; 18 shapes of step are more than there is room
 * for their graphs, and every shape comes twice. */
TEST(no_batch_and_no_graph_changes_a_bit)
{
    enum { N = 40, SHAPES = CUDA_GRAPHS_MAX + 2 };
    static const uint32_t batches[] = {1, 3, 32};
    int32_t ids[N];
    char path[200];
    struct tiny_spec spec = tiny_spec_b158();
    spec.n_layers = 1;
    spec.n_context = 512;
    struct tiny_model *m = tiny_model_new(&spec);
    write_typed(m, BITNET_DTYPE_i2_s, BITNET_DTYPE_f16, path, sizeof path);
    tiny_model_free(m);
    for (size_t i = 0; i < N; i++) ids[i] = (int32_t)(1 + i * 37 % 250);
    struct run run = on_device();
    float *want = run_model(path, ids, N, &run);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        run.n_batch = batches[i];
        float *got = run_model(path, ids, N, &run);
        assert_same_logits("another batch", want, got, N, spec.n_vocab);
        free(got);
    }
    struct bitnet_model *model = open_on(path, &cuda0);
    struct bitnet_context *c = new_context(model, NULL);
    for (size_t n = 1; n <= 2 * SHAPES; n++) {
        const size_t n_tokens = 1 + (n - 1) % SHAPES;
        bitnet_context_reset(c);
        eval(c, ids, n_tokens);
        assert_same_logits("another graph", want + (n_tokens - 1) * spec.n_vocab,
                           bitnet_logits(c, n_tokens - 1), 1, spec.n_vocab);
    }
    bitnet_context_free(c);
    bitnet_model_close(model);
    unlink(path);
    free(want);
}

/* ------------------------------------------------------------------ families */

static void convert(const struct temp_dir *dir, const char *path)
{
    struct bitnet_error err;
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_f32,
                                             .embed_type_is_given = true,
                                             .embed_type = BITNET_DTYPE_bf16,
                                             .overwrite = true,
                                             .n_threads = 1};
    struct bitnet_plan *plan = NULL;
    if (bitnet_plan_new(&plan, dir->path, &options, &err) || bitnet_plan_run(plan, path, &err))
        fail_msg("%s", err.text);
    bitnet_plan_free(plan);
}

/* Vectors behind the last layer where the family is of embeddings, else logits; of two texts. */
static float *results(const struct family *family, const struct bitnet_model *model, size_t *n)
{
    struct bitnet_error err;
    float *out;
    if (family->pooling) {
        struct bitnet_embeddings e;
        struct bitnet_embed_options options = {.pooling = BITNET_POOLING_NONE,
                                               .keeps_length = true};
        struct bitnet_tokens texts[2];
        for (size_t i = 0; i < 2; i++)
            texts[i] = (struct bitnet_tokens){.at = (int32_t *)(uintptr_t)some_tokens,
                                              .n = N_TOKENS - 2 * i};
        if (bitnet_embed_tokens(&e, model, texts, 2, &options, &err)) fail_msg("%s", err.text);
        *n = e.n_vectors * e.width;
        out = calloc(*n, sizeof *out);
        memcpy(out, e.at, *n * sizeof *out);
        bitnet_embeddings_free(&e);
        return out;
    }
    struct bitnet_context *c =
        new_context(model, &(struct bitnet_context_options){.n_context = 32, .n_batch = 7});
    *n = bitnet_model_hparams(model)->n_vocab;
    out = calloc(2 * *n, sizeof *out);
    for (size_t i = 0; i < 2; i++) {
        eval(c, some_tokens + (i ? 9 : 0), i ? 2 : 9);
        memcpy(out + i * *n, bitnet_logits(c, i ? 1 : 8), *n * sizeof *out);
    }
    *n *= 2;
    bitnet_context_free(c);
    return out;
}

TEST(every_family_is_near_the_cpu)
{
    for (size_t i = 0; i < family_count(); i++) {
        const struct family *family = family_at(i);
        struct temp_dir dir;
        temp_dir_make(&dir);
        family_write(family, dir.path);
        const char *path = temp_dir_file(&dir, "f32.gguf");
        size_t n, n_there;
        convert(&dir, path);
        struct bitnet_model *here = open_on(path, NULL), *there = open_on(path, &cuda0);
        float *a = results(family, here, &n), *b = results(family, there, &n_there);
        assert_int_equal(n, n_there);
        double *want = calloc(n, sizeof *want);
        for (size_t k = 0; k < n; k++) want[k] = (double)a[k];
        struct difference d = compare_logits(b, want, 2, n / 2);
        print_message("%s: max %.3g rms %.3g of %.3g\n", family->name, d.max, d.rms, d.spread);
        assert_true(d.rms <= 0.03 * d.spread);
        bitnet_model_close(here);
        bitnet_model_close(there);
        temp_dir_remove(&dir);
        free(want);
        free(a);
        free(b);
    }
}

/* ------------------------------------------------------------------ a trained model */

static void convert_tiny(struct temp_dir *dir, const char *path)
{
    struct bitnet_error err;
    struct bitnet_convert_options options = {
        .type = BITNET_DTYPE_i2_s, .overwrite = true, .n_threads = 1};
    struct bitnet_plan *plan = NULL;
    (void)dir;
    if (bitnet_plan_new(&plan, BITNET_SOURCE_DIR "/models/tiny", &options, &err) ||
        bitnet_plan_run(plan, path, &err))
        fail_msg("%s", err.text);
    bitnet_plan_free(plan);
}

static struct bitnet_tokens greedy(const struct bitnet_model *model, const char *prompt)
{
    struct bitnet_error err;
    struct bitnet_tokens ids = {0}, made = {0};
    struct bitnet_sampler *sampler = NULL;
    struct bitnet_sampler_options sampling = bitnet_sampler_defaults();
    sampling.temperature = 0;
    if (bitnet_tokenize(bitnet_model_tokenizer(model), bitnet_str_of(prompt), NULL, &ids, &err) ||
        bitnet_sampler_new(&sampler, bitnet_model_hparams(model)->n_vocab, &sampling, &err))
        fail_msg("%s", err.text);
    struct bitnet_context *c =
        new_context(model, &(struct bitnet_context_options){.n_context = 96, .n_batch = 16});
    const struct bitnet_generate_options options = {.n_predict = 48};
    if (bitnet_generate(c, sampler, ids.at, ids.n, &options, &made, NULL, NULL, &err))
        fail_msg("%s", err.text);
    bitnet_context_free(c);
    bitnet_sampler_free(sampler);
    bitnet_tokens_free(&ids);
    return made;
}

TEST(a_trained_model_writes_the_same_text)
{
    static const char *const prompts[] = {"Once upon a time", "The", "She said: \"I"};
    struct temp_dir dir;
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "tiny.gguf");
    convert_tiny(&dir, path);
    struct bitnet_model *here = open_on(path, NULL), *there = open_on(path, &cuda0);
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        struct bitnet_tokens a = greedy(here, prompts[i]), b = greedy(there, prompts[i]);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.at, b.at, a.n * sizeof *a.at);
        bitnet_tokens_free(&a);
        bitnet_tokens_free(&b);
    }
    bitnet_model_close(here);
    bitnet_model_close(there);
    temp_dir_remove(&dir);
}

TEST(a_trained_model_has_the_same_perplexity)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "tiny.gguf");
    convert_tiny(&dir, path);
    size_t n_bytes;
    char *text = read_all(BITNET_SOURCE_DIR "/models/tiny/heldout.txt", &n_bytes);
    const struct bitnet_perplexity_options options = {.n_context = 64, .n_chunks = 3};
    struct bitnet_perplexity_result r[2];
    for (int i = 0; i < 2; i++) {
        struct bitnet_error err;
        struct bitnet_model *model = open_on(path, i ? &cuda0 : NULL);
        if (bitnet_perplexity(model, (struct bitnet_str){text, n_bytes}, &options, &r[i], &err))
            fail_msg("%s", err.text);
        bitnet_model_close(model);
    }
    print_message("perplexity %.6f here, %.6f there\n", r[0].perplexity, r[1].perplexity);
    assert_true(fabs(r[0].perplexity - r[1].perplexity) <= 0.002 * r[0].perplexity);
    free(text);
    temp_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b158_is_near_the_cpu),
        cmocka_unit_test(bitnet_is_near_the_cpu),
        cmocka_unit_test(llama_with_its_own_output_and_divided_angles_is_near_the_cpu),
        cmocka_unit_test(odd_widths_are_near_the_cpu),
        cmocka_unit_test(each_row_may_have_its_own_scale),
        cmocka_unit_test(heads_of_blocks_are_near_the_cpu),
        cmocka_unit_test(models_without_trits_are_near_the_cpu),
        cmocka_unit_test(every_ternary_type_gives_the_same_bits),
        cmocka_unit_test(long_contexts_are_near_the_cpu),
        cmocka_unit_test(no_batch_and_no_graph_changes_a_bit),
        cmocka_unit_test(every_family_is_near_the_cpu),
        cmocka_unit_test(a_trained_model_writes_the_same_text),
        cmocka_unit_test(a_trained_model_has_the_same_perplexity),
    };
    if (!device_is_there()) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
