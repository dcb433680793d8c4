/* divergence.c: nothing between two spellings of one model, and the definition between two models.
 */
#include "run_model.h"

#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK 24
static char text[200];

static struct bitnet_model *make(uint64_t seed, enum bitnet_dtype type, uint32_t n_vocab)
{
    struct tiny_spec spec = tiny_spec_b158();
    struct bitnet_model *model = NULL;
    struct bitnet_error err = {0};
    char path[200];
    spec.seed = seed;
    spec.n_vocab = n_vocab;
    struct tiny_model *tiny = tiny_model_new(&spec);
    tiny_path(path, sizeof path, "divergence.gguf");
    const struct tiny_file file = {
        .linear = type, .embed = BITNET_DTYPE_f16, .dialect = BITNET_DIALECT_BITNETCPP};
    assert_true(tiny_model_write(tiny, path, &file));
    tiny_model_free(tiny);
    if (bitnet_model_open(&model, path, NULL, &err)) fail_msg("%s", err.text);
    unlink(path);
    return model;
}

static int make_text(void **state)
{
    (void)state;
    uint64_t random = 4;
    for (size_t i = 0; i + 1 < sizeof text; i++)
        text[i] = "etaoin shrdlu.\n"[tiny_random(&random) % 15];
    return 0;
}

TEST(two_types_of_one_model_do_not_differ_at_all)
{
    struct bitnet_model *a = make(1, BITNET_DTYPE_i2_s, 300), *b = make(1, BITNET_DTYPE_tl2, 300);
    struct bitnet_divergence_result r;
    const struct bitnet_perplexity_options options = {.n_context = CHUNK};
    assert_int_equal(bitnet_divergence(a, b, bitnet_str_of(text), &options, &r, NULL), BITNET_OK);
    assert_true(r.n_scored > 50);
    assert_int_equal(r.n_equal, r.n_scored);
    assert_true(r.mean == 0 && r.max == 0 && r.standard_error == 0 && r.rms_change == 0);
    assert_true(r.same_best == 1 && r.perplexity == r.base_perplexity);
    bitnet_model_close(a);
    bitnet_model_close(b);
}

/* All logits of one chunk that begins with bos. */
static void logits_of(const struct bitnet_model *model, const int32_t *ids, float *out)
{
    struct bitnet_context *context;
    const struct bitnet_context_options options = {.n_context = CHUNK, .all_logits = true};
    assert_int_equal(bitnet_context_new(&context, model, &options, NULL), BITNET_OK);
    assert_int_equal(bitnet_eval(context, ids, CHUNK, NULL), BITNET_OK);
    memcpy(out, bitnet_logits(context, 0), CHUNK * 300 * sizeof *out);
    bitnet_context_free(context);
}

static double exact(const float *q, const float *p)
{
    double sum_p = 0, sum_q = 0, d = 0;
    for (int i = 0; i < 300; i++) {
        sum_p += exp((double)p[i]);
        sum_q += exp((double)q[i]);
    }
    for (int i = 0; i < 300; i++) {
        double lp = (double)p[i] - log(sum_p), lq = (double)q[i] - log(sum_q);
        d += exp(lp) * (lp - lq);
    }
    return d;
}

TEST(the_mean_and_the_largest_are_as_defined)
{
    struct bitnet_model *a = make(1, BITNET_DTYPE_i2_s, 300), *b = make(2, BITNET_DTYPE_i2_s, 300);
    struct bitnet_divergence_result r;
    struct bitnet_tokens tokens = {0};
    struct bitnet_perplexity_result own;
    const struct bitnet_perplexity_options options = {.n_context = CHUNK};
    assert_int_equal(bitnet_divergence(a, b, bitnet_str_of(text), &options, &r, NULL), BITNET_OK);
    assert_int_equal(
        bitnet_tokenize(bitnet_model_tokenizer(a), bitnet_str_of(text), NULL, &tokens, NULL),
        BITNET_OK);
    static float q[CHUNK * 300], p[CHUNK * 300];
    double sum = 0, largest = 0;
    size_t n = 0;
    for (size_t chunk = 0; chunk < tokens.n / CHUNK; chunk++) {
        int32_t *ids = tokens.at + chunk * CHUNK;
        ids[0] = 1;
        logits_of(a, ids, q);
        logits_of(b, ids, p);
        for (size_t i = CHUNK / 2; i <= CHUNK - 2; i++, n++) {
            double d = exact(q + i * 300, p + i * 300);
            sum += d;
            largest = fmax(largest, d);
        }
    }
    print_message("mean %.4f largest %.4f\n", r.mean, r.max);
    assert_int_equal(r.n_scored, n);
    assert_true(r.mean > 0.1);
    assert_true(fabs(r.mean - sum / (double)n) <= 1e-5 * r.mean);
    assert_true(fabs(r.max - largest) <= 1e-5 * largest);
    assert_true(r.median <= r.p99 && r.p99 <= r.max && r.n_equal == 0);
    assert_int_equal(bitnet_perplexity(a, bitnet_str_of(text), &options, &own, NULL), BITNET_OK);
    assert_true(fabs(r.perplexity - own.perplexity) <= 1e-9 * own.perplexity);
    bitnet_tokens_free(&tokens);
    bitnet_model_close(a);
    bitnet_model_close(b);
}

TEST(other_vocabularies_are_refused)
{
    struct bitnet_model *a = make(1, BITNET_DTYPE_i2_s, 300), *b = make(1, BITNET_DTYPE_i2_s, 301);
    struct bitnet_divergence_result r;
    struct bitnet_error err;
    const struct bitnet_perplexity_options options = {.n_context = CHUNK};
    assert_int_equal(bitnet_divergence(a, b, bitnet_str_of(text), &options, &r, &err),
                     BITNET_FORMAT);
    assert_text_has(err.text, "300 and 301");
    bitnet_model_close(a);
    bitnet_model_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_types_of_one_model_do_not_differ_at_all),
        cmocka_unit_test(the_mean_and_the_largest_are_as_defined),
        cmocka_unit_test(other_vocabularies_are_refused),
    };
    return cmocka_run_group_tests(tests, make_text, NULL);
}
