/* The tiny models of ../shared/data/golden/gguf with logits that other programs computed
 * (index.json there says which, and how tight each comparison can be). Skipped by name without the
 * data. */
#include "run_model.h"

#include <stdio.h>
#include <stdlib.h>

#define N_TOKENS 12
static const int32_t tokens[N_TOKENS] = {1, 20, 33, 47, 5, 250, 12, 8, 100, 2, 77, 201};

/* One model file, one file of logits, and how far apart they may be. */
struct golden {
    const char *model, *logits;
    bool float_activations;
    double first_rms;  /* of position 0 */
    double rms, max;   /* of all positions */
    size_t other_best; /* positions whose best token may be another */
};

static void compare(const struct golden *g)
{
    char model[400], logits[400];
    if (!shared_path(model, sizeof model, g->model) ||
        !shared_path(logits, sizeof logits, g->logits))
        skip();
    size_t n_bytes;
    float *stored = read_all(logits, &n_bytes);
    size_t n_vocab = n_bytes / sizeof *stored / N_TOKENS;
    double *want = calloc((size_t)N_TOKENS * n_vocab, sizeof *want);
    for (size_t i = 0; i < N_TOKENS * n_vocab; i++) want[i] = (double)stored[i];
    float *got = run_model(model, tokens, N_TOKENS,
                           &(struct run){.float_activations = g->float_activations});
    struct difference first = compare_logits(got, want, 1, n_vocab);
    struct difference all = compare_logits(got, want, N_TOKENS, n_vocab);
    print_message(
        "%s: position 0 rms %.4f max %.4f; all rms %.4f max %.4f of %.1f, other best %zu\n",
        g->logits, first.rms, first.max, all.rms, all.max, all.spread, all.n_other_best);
    assert_true(first.rms <= g->first_rms);
    assert_true(all.rms <= g->rms && all.max <= g->max);
    assert_true(all.n_other_best <= g->other_best);
    free(stored);
    free(want);
    free(got);
}

/* llama.cpp's float sums have another order and its cache is binary16 as ours: an independent
 * double-precision implementation is 0.02 away. */
TEST(bitnet_with_float_activations_equals_llama_cpp)
{
    compare(&(struct golden){.model = "golden/gguf/tiny-bitnet.I2_S.gguf",
                             .logits = "golden/gguf/tiny-bitnet.f32acts.logits.f32",
                             .float_activations = true,
                             .first_rms = 0.005,
                             .rms = 0.01,
                             .max = 0.03,
                             .other_best = 0});
}

TEST(b158_with_float_activations_equals_ik_llama)
{
    compare(&(struct golden){.model = "golden/gguf/tiny-b158.I2_S.gguf",
                             .logits = "golden/gguf/tiny-b158.f32acts.logits.f32",
                             .float_activations = true,
                             .first_rms = 0.005,
                             .rms = 0.02,
                             .max = 0.05,
                             .other_best = 0});
}

TEST(bitnet_i2_s_equals_bitnet_cpp)
{
    compare(&(struct golden){.model = "golden/gguf/tiny-bitnet.I2_S.gguf",
                             .logits = "golden/gguf/tiny-bitnet.I2_S.int8acts.logits.f32",
                             .first_rms = 0.01,
                             .rms = 0.35,
                             .max = 2,
                             .other_best = 0});
}

/* Its activations are quantized in blocks of 256 there, per token here. */
TEST(bitnet_tq2_0_is_near_llama_cpp)
{
    compare(&(struct golden){.model = "golden/gguf/tiny-bitnet.TQ2_0.gguf",
                             .logits = "golden/gguf/tiny-bitnet.TQ2_0.int8acts.logits.f32",
                             .first_rms = 0.3,
                             .rms = 0.5,
                             .max = 3,
                             .other_best = 1});
}

/* There 64-blocks of activations have their own scale; the file's own note says 0.3 at 19. */
TEST(b158_i2_s_is_near_ik_llama)
{
    compare(&(struct golden){.model = "golden/gguf/tiny-b158.I2_S.gguf",
                             .logits = "golden/gguf/tiny-b158.IQ2_BN.int8acts.logits.f32",
                             .first_rms = 0.5,
                             .rms = 0.5,
                             .max = 3,
                             .other_best = 1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bitnet_with_float_activations_equals_llama_cpp),
        cmocka_unit_test(b158_with_float_activations_equals_ik_llama),
        cmocka_unit_test(bitnet_i2_s_equals_bitnet_cpp),
        cmocka_unit_test(bitnet_tq2_0_is_near_llama_cpp),
        cmocka_unit_test(b158_i2_s_is_near_ik_llama),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
