/* generate.c on a tiny model with a vocabulary of bytes: what comes out, when it ends, and that
 * what is shown is whole characters. */
#include "run_model.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/text.h"

#include "context.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct bitnet_model *model;
static char path[200];
static const int32_t prompt[4] = {1, 'h' + 3, 'i' + 3, ' ' + 3};

static int open_model(void **state)
{
    (void)state;
    struct tiny_spec spec = tiny_spec_b158();
    struct tiny_model *tiny = tiny_model_new(&spec);
    struct bitnet_error err;
    tiny_path(path, sizeof path, "generate.gguf");
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

/* What a run said. */
struct shown {
    char text[4096];
    size_t n, n_pieces, stop_after;
    bool all_whole;
};

static bool take_piece(void *user, struct bitnet_str text)
{
    struct shown *shown = user;
    assert_true(text.n > 0 && shown->n + text.n < sizeof shown->text);
    shown->all_whole = shown->all_whole && bitnet_utf8_valid(text);
    memcpy(shown->text + shown->n, text.at, text.n);
    shown->n += text.n;
    shown->n_pieces++;
    return shown->n_pieces != shown->stop_after;
}

struct result {
    enum bitnet_status status;
    enum bitnet_finish finish;
    struct bitnet_tokens tokens;
    struct bitnet_timings timings;
    struct shown shown;
    struct bitnet_error err;
};

static struct result generate(struct bitnet_sampler_options sampling,
                              struct bitnet_generate_options options, uint32_t n_context,
                              size_t stop_after)
{
    struct result r = {.shown = {.all_whole = true, .stop_after = stop_after}};
    struct bitnet_sampler *sampler;
    struct bitnet_context *context;
    const struct bitnet_context_options o = {.n_context = n_context, .n_batch = 3};
    size_t n_vocab = bitnet_model_hparams(model)->n_vocab;
    assert_int_equal(bitnet_sampler_new(&sampler, n_vocab, &sampling, &r.err), BITNET_OK);
    assert_int_equal(bitnet_context_new(&context, model, &o, &r.err), BITNET_OK);
    options.piece = take_piece;
    options.user = &r.shown;
    r.status = bitnet_generate(context, sampler, prompt, 4, &options, &r.tokens, &r.finish,
                               &r.timings, &r.err);
    bitnet_context_free(context);
    bitnet_sampler_free(sampler);
    return r;
}

static struct bitnet_sampler_options wild(uint64_t seed)
{
    struct bitnet_sampler_options o = bitnet_sampler_defaults();
    o.temperature = 20; /* any byte: many broken and unfinished characters */
    o.top_k = 0;
    o.top_p = 1;
    o.seed = seed;
    return o;
}

static struct bitnet_sampler_options greedy(void)
{
    struct bitnet_sampler_options o = bitnet_sampler_defaults();
    o.temperature = 0;
    return o;
}

TEST(greedy_text_is_the_largest_logit_each_time)
{
    struct result r = generate(
        greedy(), (struct bitnet_generate_options){.n_predict = 6, .ignore_eog = true}, 16, 0);
    assert_int_equal(r.status, BITNET_OK);
    assert_int_equal(r.finish, BITNET_FINISH_LENGTH);
    assert_int_equal(r.tokens.n, 6);
    assert_int_equal(r.timings.n_prompt, 4);
    assert_int_equal(r.timings.n_decoded, 6);
    int32_t all[10];
    memcpy(all, prompt, sizeof prompt);
    memcpy(all + 4, r.tokens.at, 6 * sizeof *all);
    float *logits = run_model(path, all, 10, &(struct run){0});
    for (size_t i = 3; i < 9; i++) {
        size_t best = 0;
        for (size_t v = 1; v < 300; v++)
            if (logits[i * 300 + v] > logits[i * 300 + best]) best = v;
        assert_int_equal(all[i + 1], best);
    }
    free(logits);
    bitnet_tokens_free(&r.tokens);
}

TEST(pieces_are_whole_characters_and_make_the_text)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct result r =
            generate(wild(seed),
                     (struct bitnet_generate_options){.n_predict = 40, .ignore_eog = true}, 64, 0);
        assert_int_equal(r.status, BITNET_OK);
        assert_true(r.shown.all_whole);
        assert_true(r.shown.n > 20);
        bitnet_tokens_free(&r.tokens);
    }
}

TEST(generation_ends_when_the_context_is_full)
{
    struct result r = generate(
        greedy(), (struct bitnet_generate_options){.n_predict = 0, .ignore_eog = true}, 10, 0);
    assert_int_equal(r.status, BITNET_OK);
    assert_int_equal(r.finish, BITNET_FINISH_LENGTH);
    assert_int_equal(r.tokens.n, 7); /* six cells for new tokens, and one that needs none */
    bitnet_tokens_free(&r.tokens);
}

TEST(generation_ends_at_the_end_of_text_token_which_is_not_shown)
{
    /* Greedy text of this model may never hold </s>; a wild one does soon. */
    for (uint64_t seed = 1; seed < 400; seed++) {
        struct result r =
            generate(wild(seed), (struct bitnet_generate_options){.n_predict = 50}, 64, 0);
        assert_int_equal(r.status, BITNET_OK);
        bool ended = r.finish == BITNET_FINISH_EOG;
        for (size_t i = 0; i < r.tokens.n; i++) assert_int_not_equal(r.tokens.at[i], 2);
        assert_int_equal(ended, r.tokens.n < 50);
        bitnet_tokens_free(&r.tokens);
        if (ended) return;
    }
    fail_msg("no run ended at </s>");
}

TEST(the_callback_may_stop)
{
    struct result r = generate(
        greedy(), (struct bitnet_generate_options){.n_predict = 30, .ignore_eog = true}, 64, 3);
    assert_int_equal(r.status, BITNET_OK);
    assert_int_equal(r.finish, BITNET_FINISH_STOPPED);
    assert_int_equal(r.shown.n_pieces, 3);
    bitnet_tokens_free(&r.tokens);
}

TEST(a_request_to_stop_is_cancelled)
{
    volatile sig_atomic_t stop = 1;
    struct result r = generate(
        greedy(), (struct bitnet_generate_options){.n_predict = 30, .cancel = &stop}, 64, 0);
    assert_int_equal(r.status, BITNET_CANCELLED);
    assert_int_equal(r.tokens.n, 0);
    bitnet_tokens_free(&r.tokens);
}

TEST(a_prompt_that_does_not_fit_is_a_limit)
{
    struct result r = generate(greedy(), (struct bitnet_generate_options){.n_predict = 1}, 3, 0);
    assert_int_equal(r.status, BITNET_LIMIT);
    assert_text_has(r.err.text, "4 tokens");
    bitnet_tokens_free(&r.tokens);
}

TEST(the_same_seed_gives_the_same_text)
{
    struct bitnet_sampler_options o = bitnet_sampler_defaults();
    o.seed = 11;
    const struct bitnet_generate_options g = {.n_predict = 30, .ignore_eog = true};
    struct result a = generate(o, g, 64, 0), b = generate(o, g, 64, 0);
    assert_int_equal(a.tokens.n, b.tokens.n);
    assert_memory_equal(a.tokens.at, b.tokens.at, a.tokens.n * sizeof *a.tokens.at);
    bitnet_tokens_free(&a.tokens);
    bitnet_tokens_free(&b.tokens);
}

/* Whatever the model is about to say is named as an end, in a document beside the tokenizer: each
 * of several ids stops generation, not only eos. */
static struct result generate_with_ends(const char *folder, const char *gguf, const char *ends)
{
    char document[300];
    struct bitnet_error err;
    const struct bitnet_discovery_options where = {.path = folder};
    const struct bitnet_model_options options = {.tokenizer = &where};
    struct bitnet_model *usual = model;
    snprintf(document, sizeof document, "%s/generation_config.json", folder);
    FILE *f = fopen(document, "w");
    assert_non_null(f);
    fprintf(f, "{\"eos_token_id\":[%s]}", ends);
    fclose(f);
    if (bitnet_model_open(&model, gguf, &options, &err)) fail_msg("%s", err.text);
    struct result r = generate(greedy(), (struct bitnet_generate_options){.n_predict = 6}, 16, 0);
    bitnet_model_close(model);
    model = usual;
    unlink(document);
    return r;
}

TEST(every_id_that_ends_a_generation_stops_it)
{
    struct tiny_spec spec = tiny_spec_b158();
    char folder[160], gguf[200], copy[200], ends[64];
    struct bitnet_str json;
    spec.vocabulary = false;
    spec.n_vocab = 420;
    struct tiny_model *tiny = tiny_model_new(&spec);
    tiny_path(folder, sizeof folder, "ends");
    tiny_path(gguf, sizeof gguf, "ends.gguf");
    snprintf(copy, sizeof copy, "%s/tokenizer.json", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_true(tiny_model_write(tiny, gguf,
                                 &(struct tiny_file){.linear = BITNET_DTYPE_i2_s,
                                                     .embed = BITNET_DTYPE_f16,
                                                     .dialect = BITNET_DIALECT_BITNETCPP}));
    assert_int_equal(bitnet_read_file(BITNET_SOURCE_DIR "/tests/golden/tokenizers/gpt2.json",
                                      (size_t)1 << 24, &json, NULL),
                     BITNET_OK);
    FILE *f = fopen(copy, "w");
    assert_true(f && fwrite(json.at, 1, json.n, f) == json.n);
    fclose(f);
    bitnet_free((void *)(uintptr_t)json.at);

    struct result free_run = generate_with_ends(folder, gguf, "419");
    assert_int_equal(free_run.status, BITNET_OK);
    assert_true(free_run.tokens.n >= 4);
    for (size_t i = 0; i < 4; i++) {
        size_t first = 0; /* it stops where that id comes first */
        while (free_run.tokens.at[first] != free_run.tokens.at[i]) first++;
        snprintf(ends, sizeof ends, "418, %d, 417", (int)free_run.tokens.at[i]);
        struct result r = generate_with_ends(folder, gguf, ends);
        assert_int_equal(r.status, BITNET_OK);
        assert_int_equal(r.finish, BITNET_FINISH_EOG);
        assert_true(r.tokens.n == first || r.tokens.n == first + 1);
        bitnet_tokens_free(&r.tokens);
    }
    bitnet_tokens_free(&free_run.tokens);
    unlink(copy);
    rmdir(folder);
    unlink(gguf);
    tiny_model_free(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_text_is_the_largest_logit_each_time),
        cmocka_unit_test(pieces_are_whole_characters_and_make_the_text),
        cmocka_unit_test(generation_ends_when_the_context_is_full),
        cmocka_unit_test(generation_ends_at_the_end_of_text_token_which_is_not_shown),
        cmocka_unit_test(every_id_that_ends_a_generation_stops_it),
        cmocka_unit_test(the_callback_may_stop),
        cmocka_unit_test(a_request_to_stop_is_cancelled),
        cmocka_unit_test(a_prompt_that_does_not_fit_is_a_limit),
        cmocka_unit_test(the_same_seed_gives_the_same_text),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
