/* embed.c: vectors are those that logits are made of, texts do not disturb each other, and what
 * cannot be embedded is refused in words. That the vectors are right is shown in
 * tests/end_to_end/test_families.c, against transformers. */
#include "run_model.h"

#include "bitnet/alloc.h"
#include "bitnet/embed.h"

#include "tiny_model.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static struct bitnet_model *model;
static struct tiny_model *tiny;
static struct bitnet_error err;
static char path[200];

static int open_model(void **state)
{
    (void)state;
    struct tiny_spec spec = tiny_spec_llama();
    tiny = tiny_model_new(&spec);
    tiny_path(path, sizeof path, "embed.gguf");
    bool ok = tiny_model_write(tiny, path,
                               &(struct tiny_file){.linear = BITNET_DTYPE_i2_s,
                                                   .embed = BITNET_DTYPE_f16,
                                                   .dialect = BITNET_DIALECT_BITNETCPP});
    return !ok || bitnet_model_open(&model, path, NULL, &err) != BITNET_OK;
}

static int close_model(void **state)
{
    (void)state;
    bitnet_model_close(model);
    tiny_model_free(tiny);
    unlink(path);
    return 0;
}

TEST(vectors_times_the_output_matrix_are_the_logits)
{
    enum { N = 37 };
    int32_t ids[N];
    struct bitnet_embeddings e;
    struct bitnet_tokens text = {.at = ids, .n = N};
    struct bitnet_embed_options options = {
        .pooling = BITNET_POOLING_NONE, .keeps_length = true, .n_batch = 8};
    for (int i = 0; i < N; i++) ids[i] = 3 + i * i % 200;
    if (bitnet_embed_tokens(&e, model, &text, 1, &options, &err)) fail_msg("%s", err.text);
    assert_true(e.n_texts == 1 && e.n_vectors == N && e.n_tokens == N && !e.is_pooled);
    float *logits = run_model(path, ids, N, &(struct run){.n_batch = 16});
    size_t n_vocab = tiny->spec.n_vocab, width = tiny->spec.n_embd;
    for (size_t t = 0; t < N; t++)
        for (size_t v = 0; v < n_vocab; v += 7) {
            double sum = 0, size = 0;
            for (size_t i = 0; i < width; i++) {
                double product = (double)tiny->output[v * width + i] * (double)e.at[t * width + i];
                sum += product;
                size += fabs(product);
            }
            assert_true(fabs(sum - (double)logits[t * n_vocab + v]) <= 1e-5 * size);
        }
    free(logits);
    bitnet_embeddings_free(&e);
}

TEST(what_comes_out_for_one_text_does_not_depend_on_others_or_threads)
{
    enum { N = 30 };
    struct bitnet_str texts[N];
    char room[N][40];
    struct bitnet_embeddings all, one;
    struct bitnet_pool *pool = NULL;
    assert_int_equal(bitnet_pool_new(&pool, 3, &err), BITNET_OK);
    for (int i = 0; i < N; i++)
        texts[i] =
            (struct bitnet_str){room[i], (size_t)snprintf(room[i], sizeof room[i], "%.*s %d", i,
                                                          "abcdefghijklmnopqrstuvwxyzabcd", i)};
    struct bitnet_embed_options options = {
        .pooling = BITNET_POOLING_MEAN, .pool = pool, .n_batch = 50};
    if (bitnet_embed(&all, model, texts, N, &options, &err)) fail_msg("%s", err.text);
    options = (struct bitnet_embed_options){.pooling = BITNET_POOLING_MEAN};
    for (size_t i = 0; i < N; i++) {
        if (bitnet_embed(&one, model, &texts[i], 1, &options, &err)) fail_msg("%s", err.text);
        assert_memory_equal(one.at, all.at + i * all.width, all.width * sizeof *one.at);
        bitnet_embeddings_free(&one);
    }
    bitnet_embeddings_free(&all);
    bitnet_pool_free(pool);
}

TEST(what_cannot_be_embedded_is_refused_in_words)
{
    struct bitnet_embeddings e;
    int32_t *long_text = calloc(tiny->spec.n_context + 1, sizeof *long_text),
            strange[] = {1, 1 << 30};
    struct bitnet_tokens tokens[2] = {{.at = strange, .n = 1}, {.at = long_text, .n = 0}};
    struct bitnet_embed_options options = {.pooling = BITNET_POOLING_LAST};
    assert_non_null(long_text);
    assert_int_equal(bitnet_embed_tokens(&e, model, tokens, 1, NULL, &err), BITNET_USAGE);
    assert_text_has(err.text, "the model does not say how its vectors are pooled");
    assert_int_equal(bitnet_embed_tokens(&e, model, tokens, 2, &options, &err), BITNET_FORMAT);
    assert_text_has(err.text, "text 1 has no tokens");
    tokens[1].n = tiny->spec.n_context + 1;
    assert_int_equal(bitnet_embed_tokens(&e, model, tokens, 2, &options, &err), BITNET_LIMIT);
    assert_text_has(err.text, "text 1 has");
    tokens[0].n = 2;
    assert_int_equal(bitnet_embed_tokens(&e, model, tokens, 1, &options, &err), BITNET_LIMIT);
    assert_text_has(err.text, "token id 1073741824");
    assert_true(e.at == NULL && e.first == NULL);
    const volatile sig_atomic_t stop = 1;
    options.cancel = &stop;
    tokens[0].n = 1;
    assert_int_equal(bitnet_embed_tokens(&e, model, tokens, 1, &options, &err), BITNET_CANCELLED);
    options.cancel = NULL;
    assert_int_equal(bitnet_embed_tokens(&e, model, tokens, 0, &options, &err), BITNET_OK);
    assert_int_equal(e.n_vectors, 0);
    bitnet_embeddings_free(&e);
    free(long_text);
}

TEST(any_failing_allocation_is_out_of_memory_and_leaves_nothing)
{
    struct bitnet_str texts[] = {BITNET_STR("one"), BITNET_STR("two")};
    struct bitnet_embed_options options = {.pooling = BITNET_POOLING_CLS};
    enum bitnet_status status = BITNET_MEMORY;
    long live = bitnet_alloc_live();
    for (long n = 0; status; n++) {
        struct bitnet_embeddings e;
        bitnet_alloc_fail_at(n);
        status = bitnet_embed(&e, model, texts, 2, &options, &err);
        bool was_hit = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        assert_int_equal(status, was_hit ? BITNET_MEMORY : BITNET_OK);
        if (!status) bitnet_embeddings_free(&e);
        assert_int_equal(bitnet_alloc_live(), live);
        assert_true(n < 1000);
    }
}

TEST(vectors_are_compared_by_their_angle)
{
    const float a[] = {3, 4, 0}, b[] = {4, 3, 0}, zero[] = {0, 0, 0}, minus[] = {-6, -8, 0};
    assert_true(fabs(bitnet_similarity(a, b, 3) - 24.0 / 25) < 1e-15);
    assert_true(bitnet_similarity(a, a, 3) == 1 && bitnet_similarity(a, minus, 3) == -1);
    assert_true(bitnet_similarity(a, zero, 3) == 0 && bitnet_similarity(zero, zero, 3) == 0);
}

TEST(the_most_similar_come_first_and_ties_by_index)
{
    const float query[] = {1, 0};
    const float vectors[] = {0, 1, 2, 0, 1, 1, 5, 0, -1, 0, 1, 1};
    struct bitnet_similar best[6];
    assert_int_equal(bitnet_most_similar(query, vectors, 6, 2, 6, best), 6);
    static const size_t order[] = {1, 3, 2, 5, 0, 4};
    for (size_t i = 0; i < 6; i++) assert_int_equal(best[i].index, order[i]);
    assert_true(best[0].similarity == 1 && best[5].similarity == -1);
    assert_int_equal(bitnet_most_similar(query, vectors, 6, 2, 3, best), 3);
    assert_true(best[0].index == 1 && best[1].index == 3 && best[2].index == 2);
    assert_int_equal(bitnet_most_similar(query, vectors, 6, 2, 0, best), 0);
    assert_int_equal(bitnet_most_similar(query, vectors, 0, 2, 3, best), 0);
    assert_int_equal(bitnet_most_similar(query, vectors, 2, 2, 9, best), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_times_the_output_matrix_are_the_logits),
        cmocka_unit_test(what_comes_out_for_one_text_does_not_depend_on_others_or_threads),
        cmocka_unit_test(what_cannot_be_embedded_is_refused_in_words),
        cmocka_unit_test(any_failing_allocation_is_out_of_memory_and_leaves_nothing),
        cmocka_unit_test(vectors_are_compared_by_their_angle),
        cmocka_unit_test(the_most_similar_come_first_and_ties_by_index),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
