/* divergence.c: nothing between two spellings of one model, and the definition between two models.
 */
#include "run_model.h"

#include "divergence.h"

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

/* ------------------------------------------------------------------ a stored base */

#define N_VOCAB 301 /* odd: rows are padded */

static char stored[200];

/* Reads the text with `model` and stores what it predicts. */
static void store(const struct bitnet_model *model)
{
    struct bitnet_perplexity_result r;
    struct bitnet_error err = {0};
    tiny_path(stored, sizeof stored, "divergence.kld");
    const struct bitnet_perplexity_options options = {
        .n_context = CHUNK, .save_path = stored, .overwrite = true};
    if (bitnet_perplexity(model, bitnet_str_of(text), &options, &r, &err)) fail_msg("%s", err.text);
}

/* What is stored of a logit: nothing lies more than 16 below the largest. */
static double stored_log(const float *row, int token)
{
    double sum = 0, top = (double)row[0];
    for (int i = 0; i < N_VOCAB; i++) {
        sum += exp((double)row[i]);
        top = fmax(top, (double)row[i]);
    }
    return fmax((double)row[token], top - 16) - log(sum);
}

static double stored_perplexity(const struct bitnet_model *model)
{
    static float logits[CHUNK * N_VOCAB];
    struct bitnet_tokens tokens = {0};
    double nats = 0;
    size_t n = 0;
    assert_int_equal(
        bitnet_tokenize(bitnet_model_tokenizer(model), bitnet_str_of(text), NULL, &tokens, NULL),
        BITNET_OK);
    for (size_t chunk = 0; chunk < tokens.n / CHUNK; chunk++) {
        int32_t *ids = tokens.at + chunk * CHUNK;
        ids[0] = 1;
        logits_of(model, ids, logits);
        for (size_t i = CHUNK / 2; i <= CHUNK - 2; i++, n++)
            nats -= stored_log(logits + i * N_VOCAB, ids[i + 1]);
    }
    bitnet_tokens_free(&tokens);
    return exp(nats / (double)n);
}

TEST(a_stored_base_tells_what_the_base_itself_tells)
{
    struct bitnet_model *a = make(1, BITNET_DTYPE_i2_s, N_VOCAB),
                        *b = make(2, BITNET_DTYPE_i2_s, N_VOCAB);
    struct bitnet_divergence_result live, late;
    struct bitnet_error err = {0};
    const struct bitnet_perplexity_options options = {.n_context = CHUNK};
    store(b);
    assert_int_equal(bitnet_divergence(a, b, bitnet_str_of(text), &options, &live, NULL),
                     BITNET_OK);
    if (bitnet_divergence_from_file(a, stored, NULL, &late, &err)) fail_msg("%s", err.text);
    assert_int_equal(late.n_scored, live.n_scored);
    assert_int_equal(late.n_context, CHUNK);
    assert_int_equal(late.n_equal, 0);
    /* A step is at most 16 / 65535. */
    assert_true(fabs(late.mean - live.mean) < 2e-4 && fabs(late.max - live.max) < 1e-3);
    assert_true(fabs(late.base_perplexity / stored_perplexity(b) - 1) < 2e-4);
    assert_true(late.perplexity == live.perplexity && late.same_best == live.same_best);
    for (int i = 0; i < BITNET_QUANTILES; i++) {
        assert_true(fabs(late.quantiles[i] - live.quantiles[i]) < 1e-3);
        assert_true(fabs(late.change_quantiles[i] - live.change_quantiles[i]) < 1e-4);
    }
    unlink(stored);
    bitnet_model_close(a);
    bitnet_model_close(b);
}

TEST(a_stored_file_has_the_layout_of_llama_perplexity)
{
    struct bitnet_model *a = make(1, BITNET_DTYPE_i2_s, N_VOCAB);
    struct bitnet_tokens tokens = {0};
    size_t n;
    store(a);
    uint8_t *bytes = read_all(stored, &n);
    assert_int_equal(
        bitnet_tokenize(bitnet_model_tokenizer(a), bitnet_str_of(text), NULL, &tokens, NULL),
        BITNET_OK);
    size_t n_chunks = tokens.n / CHUNK, rows = CHUNK - 1 - CHUNK / 2;
    size_t words = 2 * ((N_VOCAB + 1) / 2) + 4; /* of 16 bits, as that program counts them */
    assert_memory_equal(bytes, "_logits_", 8);
    assert_int_equal(bitnet_load_u32(bytes + 8), CHUNK);
    assert_int_equal(bitnet_load_u32(bytes + 12), N_VOCAB);
    assert_int_equal(bitnet_load_u32(bytes + 16), n_chunks);
    assert_int_equal(n, 20 + n_chunks * CHUNK * 4 + n_chunks * rows * words * 2);
    for (size_t i = 0; i < n_chunks * CHUNK; i++)
        assert_int_equal(bitnet_load_u32(bytes + 20 + 4 * i), tokens.at[i]);
    /* The first row, against the logits themselves. */
    static float logits[CHUNK * N_VOCAB];
    int32_t ids[CHUNK];
    memcpy(ids, tokens.at, sizeof ids);
    ids[0] = 1;
    logits_of(a, ids, logits);
    const float *row = logits + CHUNK / 2 * N_VOCAB;
    const uint8_t *at = bytes + 20 + n_chunks * CHUNK * 4;
    for (int i = 0; i < N_VOCAB; i++) {
        double got = (double)bitnet_load_f32(at) * bitnet_load_u16(at + 8 + 2 * i) +
                     (double)bitnet_load_f32(at + 4);
        assert_true(fabs(got - stored_log(row, i)) < 2e-4);
    }
    bitnet_tokens_free(&tokens);
    free(bytes);
    unlink(stored);
    bitnet_model_close(a);
}

static void write_all(const uint8_t *bytes, size_t n)
{
    FILE *f = fopen(stored, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

TEST(damaged_stored_files_are_refused_by_name_and_numbers)
{
    static const struct {
        size_t at;
        uint32_t word;
        const char *words;
    } rows[] = {
        {0, 0x46554747, "no file of stored predictions"},
        {8, 3, "claims"},
        {8, 0x7fffffff, "claims"},
        {12, 300, "has 300 tokens, the model's 301"},
        {16, 0, "claims"},
        {16, 3, "bytes, but 3 chunks"},
        {16, 0xffffffff, "claims"},
        {20, N_VOCAB, "token 0 of chunk 0 is 301"},
        {24, 0xffffffff, "token 1 of chunk 0 is -1"},
    };
    struct bitnet_model *a = make(1, BITNET_DTYPE_i2_s, N_VOCAB);
    struct bitnet_divergence_result r;
    struct bitnet_error err;
    size_t n;
    store(a);
    uint8_t *bytes = read_all(stored, &n);
    uint8_t *rest = bytes + 20 + (size_t)bitnet_load_u32(bytes + 16) * CHUNK * 4;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint32_t old = bitnet_load_u32(bytes + rows[i].at);
        bitnet_store_u32(bytes + rows[i].at, rows[i].word);
        write_all(bytes, n);
        bitnet_store_u32(bytes + rows[i].at, old);
        assert_int_equal(bitnet_divergence_from_file(a, stored, NULL, &r, &err), BITNET_FORMAT);
        assert_text_has(err.text, rows[i].words);
        assert_text_has(err.text, stored);
    }
    bitnet_store_f32(rest + 4, 1); /* a probability of e */
    write_all(bytes, n);
    assert_int_equal(bitnet_divergence_from_file(a, stored, NULL, &r, &err), BITNET_FORMAT);
    assert_text_has(err.text, "no logarithms");
    bitnet_store_f32(rest + 4, (float)NAN);
    write_all(bytes, n);
    assert_int_equal(bitnet_divergence_from_file(a, stored, NULL, &r, &err), BITNET_FORMAT);
    for (size_t cut = 0; cut < n; cut += cut < 24 ? 1 : 997) {
        write_all(bytes, cut);
        assert_int_equal(bitnet_divergence_from_file(a, stored, NULL, &r, &err), BITNET_FORMAT);
    }
    free(bytes);
    unlink(stored);
    bitnet_model_close(a);
}

TEST(a_stored_file_is_not_replaced_unasked)
{
    struct bitnet_model *a = make(1, BITNET_DTYPE_i2_s, N_VOCAB);
    struct bitnet_perplexity_result r;
    struct bitnet_error err;
    store(a);
    const struct bitnet_perplexity_options options = {.n_context = CHUNK, .save_path = stored};
    assert_int_equal(bitnet_perplexity(a, bitnet_str_of(text), &options, &r, &err), BITNET_POLICY);
    unlink(stored);
    bitnet_model_close(a);
}

/* ------------------------------------------------------------------ statistics */

TEST(the_statistics_are_those_of_the_definitions)
{
    /* Five positions, worked by hand. */
    struct position p[5] = {
        {.divergence = 4, .nats = 2, .base_nats = 1, .change = 0.5, .same_best = true},
        {.divergence = 0, .nats = 1, .base_nats = 1, .change = 0, .same_best = true},
        {.divergence = 2, .nats = 3, .base_nats = 2, .change = -0.25, .same_best = false},
        {.divergence = 1, .nats = 2, .base_nats = 3, .change = 0.25, .same_best = true},
        {.divergence = 3, .nats = 2, .base_nats = 3, .change = 0, .is_equal = true},
    };
    struct bitnet_divergence_result r = {0};
    divergence_summarise(p, 5, &r);
    assert_float_equal(r.mean, 2, 1e-12);
    assert_float_equal(r.standard_error, sqrt(2.0 / 4), 1e-12);
    assert_float_equal(r.perplexity, exp(2), 1e-12);
    assert_float_equal(r.perplexity_error, exp(2) * sqrt(0.4 / 4), 1e-12);
    assert_float_equal(r.base_perplexity, exp(2), 1e-12);
    assert_float_equal(r.base_perplexity_error, exp(2) * sqrt(0.8 / 4), 1e-12);
    assert_float_equal(r.correlation, 0.2 / sqrt(0.4 * 0.8), 1e-12);
    assert_float_equal(r.log_ratio, 0, 1e-12);
    assert_float_equal(r.log_ratio_error, sqrt((0.4 + 0.8 - 2 * 0.2) / 4), 1e-12);
    assert_float_equal(r.difference_error, exp(2) * sqrt((0.4 + 0.8 - 2 * 0.2) / 4), 1e-12);
    assert_float_equal(r.mean_change, 0.1, 1e-12);
    assert_float_equal(r.rms_change, sqrt(0.375 / 5), 1e-12);
    assert_float_equal(r.same_best, 0.6, 1e-12);
    assert_float_equal(r.same_best_error, sqrt(0.6 * 0.4 / 4), 1e-12);
    assert_int_equal(r.n_equal, 1);
    assert_float_equal(r.quantiles[5], 1, 1e-12); /* a quarter of the way from 0 to 4 */
    assert_float_equal(r.quantiles[4], 0.4, 1e-12);
    assert_true(r.quantiles[0] == 0 && r.median == 2 && r.max == 4);
    assert_float_equal(r.p99, 3.96, 1e-12);
    assert_float_equal(r.change_quantiles[0], -0.25, 1e-12);
    assert_float_equal(r.change_quantiles[12], 0.5, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_types_of_one_model_do_not_differ_at_all),
        cmocka_unit_test(the_mean_and_the_largest_are_as_defined),
        cmocka_unit_test(other_vocabularies_are_refused),
        cmocka_unit_test(a_stored_base_tells_what_the_base_itself_tells),
        cmocka_unit_test(a_stored_file_has_the_layout_of_llama_perplexity),
        cmocka_unit_test(damaged_stored_files_are_refused_by_name_and_numbers),
        cmocka_unit_test(a_stored_file_is_not_replaced_unasked),
        cmocka_unit_test(the_statistics_are_those_of_the_definitions),
    };
    return cmocka_run_group_tests(tests, make_text, NULL);
}
