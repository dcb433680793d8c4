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
    return !open_tiny(&model, path, sizeof path, "generate.gguf");
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

/* ------------------------------------------------------------------ stop texts */

/* Wild text of this seed, whole. */
static struct result wild_text(uint64_t seed, size_t n_predict)
{
    return generate(wild(seed),
                    (struct bitnet_generate_options){.n_predict = n_predict, .ignore_eog = true},
                    64, 0);
}

TEST(text_ends_before_a_stop_text_wherever_tokens_cut_it)
{
    struct result whole = wild_text(5, 40);
    for (size_t at = 1; at + 4 < whole.shown.n; at += 3) {
        struct bitnet_str stop = {whole.shown.text + at, 4};
        const struct bitnet_str stops[2] = {bitnet_str_of("never in it"), stop};
        size_t cut = 0; /* where it is first */
        while (memcmp(whole.shown.text + cut, stop.at, stop.n) != 0) cut++;
        if (!bitnet_utf8_valid(stop)) continue;
        struct result r =
            generate(wild(5),
                     (struct bitnet_generate_options){
                         .n_predict = 40, .ignore_eog = true, .stops = stops, .n_stops = 2},
                     64, 0);
        assert_int_equal(r.status, BITNET_OK);
        assert_int_equal(r.finish, BITNET_FINISH_STOP_TEXT);
        assert_int_equal(r.shown.n, cut);
        assert_memory_equal(r.shown.text, whole.shown.text, cut);
        assert_true(r.tokens.n < whole.tokens.n);
        bitnet_tokens_free(&r.tokens);
    }
    bitnet_tokens_free(&whole.tokens);
}

TEST(a_stop_text_that_only_begins_is_shown_in_the_end)
{
    struct result whole = wild_text(5, 40);
    char text[64];
    snprintf(text, sizeof text, "%.*sx", 9, whole.shown.text + whole.shown.n - 9);
    const struct bitnet_str stop = bitnet_str_of(text);
    struct result r =
        generate(wild(5),
                 (struct bitnet_generate_options){
                     .n_predict = 40, .ignore_eog = true, .stops = &stop, .n_stops = 1},
                 64, 0);
    if (bitnet_utf8_valid(stop)) {
        assert_int_equal(r.finish, BITNET_FINISH_LENGTH);
        assert_int_equal(r.shown.n, whole.shown.n);
        assert_memory_equal(r.shown.text, whole.shown.text, whole.shown.n);
    } else
        assert_int_equal(r.status, BITNET_USAGE);
    bitnet_tokens_free(&r.tokens);
    bitnet_tokens_free(&whole.tokens);
}

/* ------------------------------------------------------------------ many at once */

#define MANY 23

/* One request: its own prompt, seed, length, and sometimes a stop text or a way to fail. */
struct order {
    int32_t prompt[40];
    struct bitnet_str stop;
    struct shown shown;
    size_t n_ended;
    volatile sig_atomic_t cancel;
};

static const char letters[] = "e";

static bool take_order_piece(void *user, struct bitnet_str text)
{
    return take_piece(&((struct order *)user)->shown, text);
}

static void count_end(void *user, struct bitnet_request *request)
{
    struct order *order = user;
    order->n_ended++;
    assert_true(request->options.user == order);
}

static struct bitnet_request make_request(size_t i, struct order *order)
{
    struct bitnet_request r = {.prompt = order->prompt,
                               .n_prompt = 1 + i * 13 % 38,
                               .sampling = i % 3 ? wild(i) : greedy(),
                               .ended = count_end};
    *order = (struct order){.shown = {.all_whole = true}};
    for (size_t k = 0; k < r.n_prompt; k++)
        order->prompt[k] = k ? (int32_t)(3 + (i * 31 + k * k) % 250) : 1;
    r.options = (struct bitnet_generate_options){.n_predict = 1 + i * 7 % 20,
                                                 .ignore_eog = i % 2,
                                                 .piece = take_order_piece,
                                                 .user = order,
                                                 .cancel = &order->cancel};
    order->stop = (struct bitnet_str){letters, 1};
    if (i % 4 == 1) r.options.stops = &order->stop, r.options.n_stops = 1;
    if (i == 8) order->shown.stop_after = 2;  /* its callback has enough */
    if (i == 9) r.n_prompt = 0;               /* USAGE */
    if (i == 14) order->cancel = 1;           /* CANCELLED */
    if (i == 17) r.sampling.temperature = -1; /* USAGE, of the sampler */
    if (i == 20) r.options.n_predict = 0;     /* until its context is full */
    return r;
}

/* The same, alone. */
static void check_alone(const struct bitnet_request *got, size_t i)
{
    static struct order order;
    struct bitnet_request want = make_request(i, &order);
    struct bitnet_context *context;
    struct bitnet_sampler *sampler = NULL;
    const struct bitnet_context_options o = {.n_context = 48};
    assert_int_equal(bitnet_context_new(&context, model, &o, &want.error), BITNET_OK);
    want.status = bitnet_sampler_new(&sampler, 300, &want.sampling, &want.error);
    if (!want.status)
        want.status = bitnet_generate(context, sampler, want.prompt, want.n_prompt, &want.options,
                                      &want.tokens, &want.finish, &want.timings, &want.error);
    const struct order *had = got->options.user;
    assert_int_equal(got->status, want.status);
    if (want.status) assert_string_equal(got->error.text, want.error.text);
    if (!want.status) assert_int_equal(got->finish, want.finish);
    assert_int_equal(got->tokens.n, want.tokens.n);
    assert_int_equal(got->timings.n_decoded, want.timings.n_decoded);
    if (want.tokens.n)
        assert_memory_equal(got->tokens.at, want.tokens.at, want.tokens.n * sizeof(int32_t));
    assert_int_equal(had->shown.n, order.shown.n);
    assert_memory_equal(had->shown.text, order.shown.text, order.shown.n);
    assert_int_equal(had->n_ended, 1);
    bitnet_tokens_free(&want.tokens);
    bitnet_sampler_free(sampler);
    bitnet_context_free(context);
}

static void check_many(size_t n_contexts, uint32_t n_batch)
{
    static struct order orders[MANY];
    struct bitnet_context *contexts[MANY + 1];
    struct bitnet_request requests[MANY];
    struct bitnet_error err;
    struct bitnet_context_options o = {
        .n_context = 48, .n_batch = n_batch, .n_sequences = (uint32_t)n_contexts};
    for (size_t i = 0; i < n_contexts; i++) {
        assert_int_equal(bitnet_context_new(&contexts[i], model, &o, &err), BITNET_OK);
        o.shares = contexts[0];
    }
    for (size_t i = 0; i < MANY; i++) requests[i] = make_request(i, &orders[i]);
    assert_int_equal(bitnet_generate_many(contexts, n_contexts, requests, MANY, &err), BITNET_OK);
    for (size_t i = 0; i < MANY; i++) {
        check_alone(&requests[i], i);
        bitnet_tokens_free(&requests[i].tokens);
    }
    for (size_t i = n_contexts; i-- > 0;) bitnet_context_free(contexts[i]);
}

TEST(texts_generated_together_are_those_generated_alone)
{
    static const size_t numbers[] = {1, 2, 3, 7, MANY + 1};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) check_many(numbers[i], 0);
}

TEST(prompts_longer_than_a_batch_hold_nobody_up_and_change_nothing)
{
    check_many(5, 3);
    check_many(5, 5);
    check_many(7, 20);
}

TEST(no_requests_are_soon_done_and_no_contexts_are_refused)
{
    struct bitnet_context *context;
    struct bitnet_error err;
    struct order order;
    struct bitnet_request request = make_request(0, &order);
    const struct bitnet_context_options o = {.n_context = 48};
    assert_int_equal(bitnet_context_new(&context, model, &o, &err), BITNET_OK);
    assert_int_equal(bitnet_generate_many(&context, 1, NULL, 0, &err), BITNET_OK);
    assert_int_equal(bitnet_generate_many(&context, 0, &request, 1, &err), BITNET_USAGE);
    bitnet_context_free(context);
}

TEST(no_memory_ends_one_text_or_all_and_leaks_nothing)
{
    static struct order orders[6];
    struct bitnet_context *contexts[2];
    struct bitnet_error err;
    struct bitnet_context_options o = {.n_context = 48, .n_sequences = 2};
    assert_int_equal(bitnet_context_new(&contexts[0], model, &o, &err), BITNET_OK);
    o.shares = contexts[0];
    assert_int_equal(bitnet_context_new(&contexts[1], model, &o, &err), BITNET_OK);
    long live = bitnet_alloc_live();
    bool failed = true;
    for (long k = 0; failed; k++) {
        struct bitnet_request requests[6];
        for (size_t i = 0; i < 6; i++) requests[i] = make_request(i, &orders[i]);
        bitnet_alloc_fail_at(k);
        failed = bitnet_generate_many(contexts, 2, requests, 6, &err) == BITNET_MEMORY;
        size_t n_failed = 0;
        for (size_t i = 0; i < 6; i++) {
            n_failed += requests[i].status == BITNET_MEMORY;
            assert_int_equal(orders[i].n_ended, !failed);
            bitnet_tokens_free(&requests[i].tokens);
        }
        assert_true(n_failed <= 1);
        failed = failed || n_failed;
        assert_int_equal(bitnet_alloc_live(), live);
    }
    bitnet_alloc_fail_at(-1);
    bitnet_context_free(contexts[1]);
    bitnet_context_free(contexts[0]);
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
        cmocka_unit_test(text_ends_before_a_stop_text_wherever_tokens_cut_it),
        cmocka_unit_test(a_stop_text_that_only_begins_is_shown_in_the_end),
        cmocka_unit_test(texts_generated_together_are_those_generated_alone),
        cmocka_unit_test(prompts_longer_than_a_batch_hold_nobody_up_and_change_nothing),
        cmocka_unit_test(no_requests_are_soon_done_and_no_contexts_are_refused),
        cmocka_unit_test(no_memory_ends_one_text_or_all_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
