/* forward.c, backend_cpu.c and matrix.c against the naive double-precision forward pass of
 * tests/support/tiny_model.c, and against themselves: the same bits for every type, CPU level,
 * thread count and batch size. */
#include "run_model.h"

#include "bitnet/cpu.h"
#include "bitnet/kernels.h"
#include "bitnet/quant.h"

#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_TOKENS 11
static const int32_t tokens[N_TOKENS] = {1, 20, 33, 47, 5, 250, 12, 8, 100, 2, 77};

/* Shapes with odd head sizes and widths: no power of two, partial rotation, tails everywhere. */
static struct tiny_spec spec_odd(void)
{
    return (struct tiny_spec){.arch = "bitnet",
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
}

static void write_model(const struct tiny_model *m, enum bitnet_dtype linear,
                        enum bitnet_dtype embed, char *path, size_t n)
{
    const struct tiny_file file = {
        .linear = linear,
        .embed = embed,
        .dialect = linear == BITNET_DTYPE_iq2_bn || linear == BITNET_DTYPE_iq2_bn_r4 ||
                           linear == BITNET_DTYPE_iq1_bn
                       ? BITNET_DIALECT_IK
                   : linear == BITNET_DTYPE_i2_s || linear == BITNET_DTYPE_tl1 ||
                           linear == BITNET_DTYPE_tl2
                       ? BITNET_DIALECT_BITNETCPP
                       : BITNET_DIALECT_GGML};
    tiny_path(path, n, bitnet_dtype_info(linear)->name);
    assert_true(tiny_model_write(m, path, &file));
}

static float *run_as(const struct tiny_model *m, enum bitnet_dtype linear, const struct run *run)
{
    char path[200];
    write_model(m, linear, BITNET_DTYPE_f16, path, sizeof path);
    float *logits = run_model(path, tokens, N_TOKENS, run);
    unlink(path);
    return logits;
}

/* ------------------------------------------------------------------ against the oracle */

static struct difference against_oracle(const struct tiny_spec *spec, enum bitnet_dtype linear,
                                        bool int8_activations)
{
    struct tiny_model *m = tiny_model_new(spec);
    const struct tiny_oracle how = {.int8_activations = int8_activations};
    double *want = calloc((size_t)N_TOKENS * spec->n_vocab, sizeof *want);
    tiny_model_logits(m, tokens, N_TOKENS, &how, want);
    float *got = run_as(m, linear, &(struct run){.float_activations = !int8_activations});
    struct difference d = compare_logits(got, want, N_TOKENS, spec->n_vocab);
    print_message("%s %s: max %.3g rms %.3g of %.3g, other best %zu\n", spec->arch,
                  int8_activations ? "int8" : "float", d.max, d.rms, d.spread, d.n_other_best);
    free(got);
    free(want);
    tiny_model_free(m);
    return d;
}

/* Float sums against double ones. What shows is a key or value that lies between two binary16
 * numbers and is rounded to the other one, one part in 2000 of one element: measured at most 1e-4
 * of the spread of the logits. */
static void assert_close_with_float_activations(const struct tiny_spec *spec,
                                                enum bitnet_dtype linear)
{
    struct difference d = against_oracle(spec, linear, false);
    assert_true(d.spread > 1);
    assert_true(d.max <= 1e-3 * d.spread);
    assert_int_equal(d.n_other_best, 0);
}

/* int8 rounding turns a difference of one float ulp into a step of one code now and then, so the
 * bound is statistical. */
static void assert_close_with_int8_activations(const struct tiny_spec *spec,
                                               enum bitnet_dtype linear)
{
    struct difference d = against_oracle(spec, linear, true);
    assert_true(d.rms <= 0.03 * d.spread);
    assert_int_equal(d.n_other_best, 0);
}

TEST(b158_matches_the_double_precision_forward_pass)
{
    struct tiny_spec spec = tiny_spec_b158();
    assert_close_with_float_activations(&spec, BITNET_DTYPE_i2_s);
    assert_close_with_int8_activations(&spec, BITNET_DTYPE_i2_s);
}

TEST(bitnet_matches_the_double_precision_forward_pass)
{
    struct tiny_spec spec = tiny_spec_bitnet();
    assert_close_with_float_activations(&spec, BITNET_DTYPE_i2_s);
    assert_close_with_int8_activations(&spec, BITNET_DTYPE_i2_s);
}

TEST(llama_matches_the_double_precision_forward_pass)
{
    struct tiny_spec spec = tiny_spec_llama();
    assert_close_with_float_activations(&spec, BITNET_DTYPE_i2_s);
    assert_close_with_int8_activations(&spec, BITNET_DTYPE_i2_s);
}

TEST(odd_head_sizes_match_the_double_precision_forward_pass)
{
    struct tiny_spec spec = spec_odd();
    assert_close_with_float_activations(&spec, BITNET_DTYPE_f16);
    assert_close_with_int8_activations(&spec, BITNET_DTYPE_f16);
}

TEST(each_row_may_have_its_own_scale)
{
    struct tiny_spec spec = tiny_spec_b158();
    spec.row_scales = true;
    assert_close_with_float_activations(&spec, BITNET_DTYPE_f32);
    assert_close_with_int8_activations(&spec, BITNET_DTYPE_f32);
}

/* The type's own numbers in the oracle, so the bound is that of float sums. */
static void assert_dense_type_runs(enum bitnet_dtype type)
{
    struct tiny_spec spec = tiny_spec_llama();
    struct tiny_model *m = tiny_model_new(&spec);
    tiny_model_make_dense(m, type);
    const struct tiny_oracle how = {0};
    double *want = calloc((size_t)N_TOKENS * spec.n_vocab, sizeof *want);
    tiny_model_logits(m, tokens, N_TOKENS, &how, want);
    float *got = run_as(m, type, &(struct run){0});
    struct difference d = compare_logits(got, want, N_TOKENS, spec.n_vocab);
    print_message("%s: max %.3g of %.3g\n", bitnet_dtype_info(type)->name, d.max, d.spread);
    assert_true(d.max <= 1e-3 * d.spread);
    free(got);
    free(want);
    tiny_model_free(m);
}

TEST(every_type_that_holds_floats_runs_as_it_is)
{
    size_t n_run = 0;
    for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
        const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)type);
        const struct bitnet_dtype_info *info = bitnet_dtype_info((enum bitnet_dtype)type);
        bool is_candidate = info->kind == BITNET_KIND_FLOAT || info->kind == BITNET_KIND_BLOCK;
        if (!is_candidate || !codec || !codec->encode_rows || !codec->decode_rows) continue;
        assert_dense_type_runs((enum bitnet_dtype)type);
        n_run++;
    }
    assert_true(n_run >= 6); /* f32 f16 bf16 q8_0 q6_k q4_0 */
}

/* ------------------------------------------------------------------ against themselves */

TEST(every_ternary_type_gives_the_same_bits)
{
    struct tiny_spec specs[] = {tiny_spec_b158(), tiny_spec_bitnet(), tiny_spec_llama()};
    for (size_t i = 0; i < 3; i++) {
        struct tiny_model *m = tiny_model_new(&specs[i]);
        float *want = run_as(m, BITNET_DTYPE_i2_s, &(struct run){0});
        size_t n_types = 0;
        for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
            const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)type);
            const struct bitnet_dtype_info *info = bitnet_dtype_info((enum bitnet_dtype)type);
            bool holds = type == BITNET_DTYPE_f32 || type == BITNET_DTYPE_f16 ||
                         type == BITNET_DTYPE_bf16 || info->kind == BITNET_KIND_TERNARY;
            /* bf16 has 8 bits for a scale that has 11 */
            if (!holds || !codec || type == BITNET_DTYPE_bf16) continue;
            if (info->kind == BITNET_KIND_TERNARY && !codec->encode_trits) continue;
            float *got = run_as(m, (enum bitnet_dtype)type, &(struct run){0});
            assert_same_logits(info->name, want, got, N_TOKENS, specs[i].n_vocab);
            free(got);
            n_types++;
        }
        assert_true(n_types >= 4); /* i2_s tl2 f16 f32 at least */
        free(want);
        tiny_model_free(m);
    }
}

static void assert_same_in_every_way(const struct tiny_spec *spec, enum bitnet_dtype linear,
                                     enum bitnet_dtype embed)
{
    static const unsigned threads[] = {1, 2, 3, 7, 16};
    static const uint32_t batches[] = {1, 3, N_TOKENS};
    char path[200], what[100];
    struct tiny_model *m = tiny_model_new(spec);
    write_model(m, linear, embed, path, sizeof path);
    float *want = run_model(path, tokens, N_TOKENS, &(struct run){.cpu = "scalar"});
    uint32_t cpu = bitnet_cpu_detect();
    for (size_t set = 0; set < bitnet_kernels_count(); set++) {
        const struct bitnet_kernel_set *kernels = bitnet_kernels_at(set);
        if (kernels->needs & ~cpu) continue;
        for (size_t t = 0; t < COUNT(threads); t++)
            for (size_t b = 0; b < 3; b++) {
                const struct run run = {
                    .cpu = kernels->name, .n_threads = threads[t], .n_batch = batches[b]};
                snprintf(what, sizeof what, "%s, %u threads, batch %u", kernels->name, threads[t],
                         batches[b]);
                float *got = run_model(path, tokens, N_TOKENS, &run);
                assert_same_logits(what, want, got, N_TOKENS, spec->n_vocab);
                free(got);
            }
    }
    free(want);
    unlink(path);
    tiny_model_free(m);
}

TEST(cpu_level_threads_and_batch_size_do_not_change_a_bit)
{
    struct tiny_spec specs[] = {tiny_spec_b158(), tiny_spec_bitnet(), tiny_spec_llama(),
                                spec_odd()};
    assert_same_in_every_way(&specs[0], BITNET_DTYPE_i2_s, BITNET_DTYPE_f16);
    assert_same_in_every_way(&specs[1], BITNET_DTYPE_tl2, BITNET_DTYPE_q8_0);
    assert_same_in_every_way(&specs[2], BITNET_DTYPE_i2_s, BITNET_DTYPE_q6_k);
    assert_same_in_every_way(&specs[3], BITNET_DTYPE_f16, BITNET_DTYPE_f32);
    specs[0].row_scales = true;
    assert_same_in_every_way(&specs[0], BITNET_DTYPE_f32, BITNET_DTYPE_bf16);
}

/* Keys and values to 1/254 of the largest of 32: the logits move by less than a twentieth of their
 * spread (rms; activations of 8 bits make jumps of small steps), and by the same bits on every set
 * and for every thread count. */
TEST(a_quantized_cache_stays_near_and_is_the_same_everywhere)
{
    const struct tiny_spec spec = tiny_spec_b158();
    const unsigned threads[] = {1, 2, 3, 7, 16};
    struct tiny_model *m = tiny_model_new(&spec);
    float *f16 = run_as(m, BITNET_DTYPE_i2_s, &(struct run){0});
    float *want =
        run_as(m, BITNET_DTYPE_i2_s, &(struct run){.cpu = "scalar", .quantized_cache = true});
    double *wide = calloc((size_t)N_TOKENS * spec.n_vocab, sizeof *wide);
    for (size_t i = 0; i < (size_t)N_TOKENS * spec.n_vocab; i++) wide[i] = (double)f16[i];
    struct difference d = compare_logits(want, wide, N_TOKENS, spec.n_vocab);
    print_message("q8_0 cache: max %.3g rms %.3g of %.3g\n", d.max, d.rms, d.spread);
    assert_true(d.max > 0 && d.rms < d.spread / 20);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        float *got =
            run_as(m, BITNET_DTYPE_i2_s,
                   &(struct run){.n_threads = threads[i], .n_batch = 4, .quantized_cache = true});
        assert_same_logits("q8_0 cache", want, got, N_TOKENS, spec.n_vocab);
        free(got);
    }
    free(wide);
    free(want);
    free(f16);
    tiny_model_free(m);
}

TEST(two_evals_give_the_bits_of_one)
{
    struct tiny_spec spec = tiny_spec_b158();
    struct tiny_model *m = tiny_model_new(&spec);
    float *want = run_as(m, BITNET_DTYPE_i2_s, &(struct run){0});
    for (size_t first = 1; first < N_TOKENS; first++) {
        float *got = run_as(m, BITNET_DTYPE_i2_s, &(struct run){.n_first = first, .n_batch = 4});
        assert_same_logits("prefill(a) + prefill(b)", want, got, N_TOKENS, spec.n_vocab);
        free(got);
    }
    free(want);
    tiny_model_free(m);
}

/* Dense float layers follow the fixed lane order too. */
TEST(dense_models_do_not_depend_on_cpu_or_threads)
{
    struct tiny_spec spec = tiny_spec_llama();
    struct tiny_model *m = tiny_model_new(&spec);
    uint32_t cpu = bitnet_cpu_detect();
    tiny_model_make_dense(m, BITNET_DTYPE_q4_0);
    float *want = run_as(m, BITNET_DTYPE_q4_0, &(struct run){.cpu = "scalar"});
    for (size_t set = 0; set < bitnet_kernels_count(); set++) {
        const struct bitnet_kernel_set *kernels = bitnet_kernels_at(set);
        if (kernels->needs & ~cpu) continue;
        float *got = run_as(m, BITNET_DTYPE_q4_0,
                            &(struct run){.cpu = kernels->name, .n_threads = 3, .n_batch = 5});
        assert_same_logits(kernels->name, want, got, N_TOKENS, spec.n_vocab);
        free(got);
    }
    free(want);
    tiny_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b158_matches_the_double_precision_forward_pass),
        cmocka_unit_test(bitnet_matches_the_double_precision_forward_pass),
        cmocka_unit_test(llama_matches_the_double_precision_forward_pass),
        cmocka_unit_test(odd_head_sizes_match_the_double_precision_forward_pass),
        cmocka_unit_test(each_row_may_have_its_own_scale),
        cmocka_unit_test(every_type_that_holds_floats_runs_as_it_is),
        cmocka_unit_test(every_ternary_type_gives_the_same_bits),
        cmocka_unit_test(cpu_level_threads_and_batch_size_do_not_change_a_bit),
        cmocka_unit_test(a_quantized_cache_stays_near_and_is_the_same_everywhere),
        cmocka_unit_test(two_evals_give_the_bits_of_one),
        cmocka_unit_test(dense_models_do_not_depend_on_cpu_or_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
