/* perplexity.c against a direct computation from all logits of each chunk, in the words of its
 * definition. */
#include "run_model.h"

#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct bitnet_model *model;
static char path[200];
static char text[1200];

static int open_model(void **state)
{
    (void)state;
    struct tiny_spec spec = tiny_spec_llama();
    struct tiny_model *tiny = tiny_model_new(&spec);
    struct bitnet_error err;
    uint64_t random = 4;
    for (size_t i = 0; i + 1 < sizeof text; i++)
        text[i] = "etaoin shrdlu.\n"[tiny_random(&random) % 15];
    tiny_path(path, sizeof path, "perplexity.gguf");
    bool ok = tiny_model_write(tiny, path,
                               &(struct tiny_file){.linear = BITNET_DTYPE_i2_s,
                                                   .embed = BITNET_DTYPE_f16,
                                                   .dialect = BITNET_DIALECT_BITNETCPP});
    tiny_model_free(tiny);
    return !ok || bitnet_model_open(&model, path, NULL, &err) != BITNET_OK;
}

static int close_model(void **state)
{
    (void)state;
    bitnet_model_close(model);
    unlink(path);
    return 0;
}

/* Every chunk in one eval with all logits; -ln p of each scored position. */
static double direct(const struct bitnet_tokens *tokens, size_t chunk, size_t n_chunks,
                     size_t *n_scored, double *squares)
{
    double nats = 0;
    struct bitnet_context *context;
    const struct bitnet_context_options options = {.n_context = 560, .all_logits = true};
    assert_int_equal(bitnet_context_new(&context, model, &options, NULL), BITNET_OK);
    *n_scored = 0;
    *squares = 0;
    for (size_t c = 0; c < n_chunks; c++) {
        int32_t ids[560];
        memcpy(ids, tokens->at + c * chunk, chunk * sizeof *ids);
        ids[0] = 1; /* bos */
        bitnet_context_reset(context);
        assert_int_equal(bitnet_eval(context, ids, chunk, NULL), BITNET_OK);
        for (size_t p = chunk / 2; p <= chunk - 2; p++) {
            const float *row = bitnet_logits(context, p);
            double sum = 0;
            for (size_t v = 0; v < 270; v++) sum += exp((double)row[v]);
            double loss = log(sum) - (double)row[ids[p + 1]];
            nats += loss;
            *squares += loss * loss;
            ++*n_scored;
        }
    }
    bitnet_context_free(context);
    return nats;
}

static void assert_as_defined(uint32_t chunk, uint32_t n_chunks_max)
{
    struct bitnet_tokens tokens = {0};
    struct bitnet_error err;
    struct bitnet_perplexity_result r;
    const struct bitnet_perplexity_options options = {.n_context = chunk, .n_chunks = n_chunks_max};
    assert_int_equal(
        bitnet_tokenize(bitnet_model_tokenizer(model), bitnet_str_of(text), NULL, &tokens, &err),
        BITNET_OK);
    assert_int_equal(bitnet_perplexity(model, bitnet_str_of(text), &options, &r, &err), BITNET_OK);
    size_t n_chunks = tokens.n / chunk, n_scored;
    if (n_chunks_max && n_chunks_max < n_chunks) n_chunks = n_chunks_max;
    double squares, nats = direct(&tokens, chunk, n_chunks, &n_scored, &squares);
    assert_int_equal(r.n_chunks, n_chunks);
    assert_int_equal(r.n_tokens, tokens.n);
    assert_int_equal(r.n_scored, n_scored);
    assert_int_equal(r.n_scored, n_chunks * (chunk - chunk / 2 - 1));
    assert_true(fabs(r.nats - nats) <= 1e-6 * nats);
    assert_true(fabs(r.perplexity - exp(nats / (double)n_scored)) <= 1e-5 * r.perplexity);
    double n = (double)n_scored, mean = nats / n;
    double deviation = sqrt((squares / n - mean * mean) / (n - 1)) * exp(mean);
    assert_true(fabs(r.standard_error - deviation) <= 1e-5 * deviation);
    bitnet_tokens_free(&tokens);
}

TEST(scores_the_second_half_of_each_chunk_as_defined)
{
    assert_as_defined(32, 0);
    assert_as_defined(33, 0); /* odd: 16 .. 31 */
    assert_as_defined(4, 5);
    assert_as_defined(560, 2); /* more scored positions than one piece holds */
}

TEST(threads_do_not_change_a_bit_of_it)
{
    struct bitnet_perplexity_result a, b;
    struct bitnet_pool *pool;
    assert_int_equal(bitnet_pool_new(&pool, 5, NULL), BITNET_OK);
    struct bitnet_perplexity_options options = {.n_context = 100};
    assert_int_equal(bitnet_perplexity(model, bitnet_str_of(text), &options, &a, NULL), BITNET_OK);
    options.pool = pool;
    assert_int_equal(bitnet_perplexity(model, bitnet_str_of(text), &options, &b, NULL), BITNET_OK);
    assert_memory_equal(&a.nats, &b.nats, sizeof a.nats);
    bitnet_pool_free(pool);
}

TEST(a_text_shorter_than_two_contexts_is_a_limit)
{
    struct bitnet_perplexity_result r;
    struct bitnet_error err;
    const struct bitnet_perplexity_options options = {.n_context = 64};
    assert_int_equal(bitnet_perplexity(model, (struct bitnet_str){text, 100}, &options, &r, &err),
                     BITNET_LIMIT);
    assert_text_has(err.text, "two contexts of 64");
}

TEST(a_request_to_stop_is_cancelled)
{
    volatile sig_atomic_t stop = 1;
    struct bitnet_perplexity_result r;
    const struct bitnet_perplexity_options options = {.n_context = 32, .cancel = &stop};
    assert_int_equal(bitnet_perplexity(model, bitnet_str_of(text), &options, &r, NULL),
                     BITNET_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_the_second_half_of_each_chunk_as_defined),
        cmocka_unit_test(threads_do_not_change_a_bit_of_it),
        cmocka_unit_test(a_text_shorter_than_two_contexts_is_a_limit),
        cmocka_unit_test(a_request_to_stop_is_cancelled),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
