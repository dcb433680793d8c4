/* eval.c: sequences of one model in one step. Whatever is evaluated together, each sequence's
 * logits are those that it gets alone, bit for bit. */
#include "run_model.h"

#include "bitnet/alloc.h"

#include "context.h"
#include "tiny_model.h"

#include <stdlib.h>
#include <unistd.h>

#define N_VOCAB       300
#define SEQUENCES_MAX 64
#define LENGTH_MAX    48

static struct bitnet_model *model;
static char path[200];

static int open_model(void **state)
{
    (void)state;
    return !open_tiny(&model, path, sizeof path, "eval.gguf");
}

static int close_model(void **state)
{
    (void)state;
    bitnet_model_close(model);
    unlink(path);
    return 0;
}

static void must_be_ok(enum bitnet_status status, const struct bitnet_error *err)
{
    if (status) fail_msg("%s: %s", bitnet_status_name(status), err->text);
}

static struct bitnet_context *new_context(struct bitnet_context_options options)
{
    struct bitnet_context *context;
    struct bitnet_error err;
    must_be_ok(bitnet_context_new(&context, model, &options, &err), &err);
    return context;
}

/* ------------------------------------------------------------------ families */

/* Contexts that share the first one's step. */
struct family {
    struct bitnet_context *at[SEQUENCES_MAX];
    size_t n;
};

static struct family new_family(size_t n, struct bitnet_context_options options)
{
    struct family f = {.n = n};
    options.n_sequences = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        f.at[i] = new_context(options);
        options.shares = f.at[0];
    }
    return f;
}

static void free_family(struct family *f)
{
    for (size_t i = f->n; i-- > 0;) bitnet_context_free(f->at[i]);
}

/* Sequence i: its own tokens, a length of its own. */
static int32_t token_of(size_t sequence, size_t position)
{
    return (int32_t)((sequence * 131 + position * 37 + position * position * 5 + 3) % N_VOCAB);
}

static size_t length_of(size_t sequence)
{
    return LENGTH_MAX - (sequence * 11) % 29;
}

/* Logits of all tokens of the sequence, evaluated alone. For free(). */
static float *alone(size_t sequence, bool quantized_cache)
{
    int32_t tokens[LENGTH_MAX];
    size_t n = length_of(sequence);
    float *logits = malloc(n * N_VOCAB * sizeof *logits);
    struct bitnet_context *c = new_context((struct bitnet_context_options){
        .n_context = LENGTH_MAX, .all_logits = true, .quantized_cache = quantized_cache});
    for (size_t i = 0; i < n; i++) tokens[i] = token_of(sequence, i);
    assert_non_null(logits);
    must_be_ok(bitnet_eval(c, tokens, n, NULL), &(struct bitnet_error){.text = "alone"});
    memcpy(logits, bitnet_logits(c, 0), n * N_VOCAB * sizeof *logits);
    bitnet_context_free(c);
    return logits;
}

/* Steps of a family: in each, every sequence that is not done gets a part of its tokens. */
struct parts {
    int32_t tokens[SEQUENCES_MAX][LENGTH_MAX];
    struct bitnet_slice slices[SEQUENCES_MAX];
    size_t sequence[SEQUENCES_MAX]; /* of the slice */
    size_t n;
};

/* A prompt of any size at first, then sometimes a few tokens, most often one; sometimes none. */
static size_t part_of(size_t sequence, size_t step)
{
    if (step == 0) return sequence % 3 == 2 ? 0 : 1 + sequence * 7 % 20;
    return (sequence + step) % 5 == 0 ? 0 : (sequence * step) % 7 == 3 ? 4 : 1;
}

static void cut_step(struct parts *p, const struct family *f, size_t step)
{
    p->n = 0;
    for (size_t i = 0; i < f->n; i++) {
        size_t used = bitnet_context_used(f->at[i]), n = part_of(i, step);
        if (n > length_of(i) - used) n = length_of(i) - used;
        if (n == 0) continue;
        for (size_t k = 0; k < n; k++) p->tokens[p->n][k] = token_of(i, used + k);
        p->slices[p->n] = (struct bitnet_slice){f->at[i], p->tokens[p->n], n};
        p->sequence[p->n++] = i;
    }
}

static size_t n_unfinished(const struct family *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) n += bitnet_context_used(f->at[i]) < length_of(i);
    return n;
}

static void check_together(size_t n, struct bitnet_context_options options)
{
    static struct parts p;
    struct bitnet_error err;
    float *want[SEQUENCES_MAX];
    for (size_t i = 0; i < n; i++) want[i] = alone(i, options.quantized_cache);
    options.n_context = LENGTH_MAX;
    struct family f = new_family(n, options);
    for (size_t step = 0; n_unfinished(&f) > 0; step++) {
        cut_step(&p, &f, step);
        if (p.n == 0) continue;
        must_be_ok(bitnet_eval_many(p.slices, p.n, &err), &err);
        for (size_t s = 0; s < p.n; s++) {
            size_t sequence = p.sequence[s], n_tokens = p.slices[s].n;
            size_t begin = bitnet_context_used(p.slices[s].context) - n_tokens;
            for (size_t i = options.all_logits ? 0 : n_tokens - 1; i < n_tokens; i++) {
                char what[80];
                snprintf(what, sizeof what, "%zu sequences, number %zu, token %zu", n, sequence,
                         begin + i);
                const float *got = bitnet_logits(p.slices[s].context, i);
                assert_non_null(got);
                assert_same_logits(what, want[sequence] + (begin + i) * N_VOCAB, got, 1, N_VOCAB);
            }
        }
    }
    free_family(&f);
    for (size_t i = 0; i < n; i++) free(want[i]);
}

TEST(sequences_together_get_the_logits_that_each_gets_alone)
{
    static const size_t numbers[] = {1, 2, 3, 7, 64};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        check_together(numbers[i], (struct bitnet_context_options){0});
}

TEST(no_batch_size_cuts_a_sequence_apart)
{
    static const uint32_t sizes[] = {1, 2, 5, 33};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_together(7, (struct bitnet_context_options){.n_batch = sizes[i]});
}

TEST(all_logits_of_all_sequences_are_kept_when_asked_for)
{
    check_together(7, (struct bitnet_context_options){
                          .n_batch = 10, .all_logits = true, .n_logits = 7 * LENGTH_MAX});
}

TEST(sequences_with_quantized_caches_do_not_mix)
{
    check_together(5, (struct bitnet_context_options){.quantized_cache = true});
}

TEST(threads_change_nothing)
{
    struct bitnet_pool *pool;
    struct bitnet_error err;
    must_be_ok(bitnet_pool_new(&pool, 3, &err), &err);
    check_together(7, (struct bitnet_context_options){.pool = pool});
    bitnet_pool_free(pool);
}

/* ------------------------------------------------------------------ what a family is */

TEST(a_family_holds_one_step)
{
    struct bitnet_context_options first = {.n_context = 32, .n_batch = 64, .n_sequences = 64};
    struct bitnet_context *owner = new_context(first);
    struct bitnet_context_options other = {.n_context = 32, .shares = owner};
    uint64_t cache = 2u * 2 * 128 * 32 * 2; /* key and value, layers, width, cells, bytes */
    assert_true(bitnet_context_bytes(model, &other) <= cache + 4096);
    assert_true(bitnet_context_bytes(model, &first) > 2 * bitnet_context_bytes(model, &other));
    bitnet_context_free(owner);
}

TEST(a_step_of_many_allocates_nothing)
{
    static struct parts p;
    struct family f = new_family(40, (struct bitnet_context_options){.n_context = LENGTH_MAX});
    bitnet_alloc_fail_at(-1);
    long before = bitnet_alloc_count();
    for (size_t step = 0; step < 3; step++) {
        cut_step(&p, &f, step);
        assert_int_equal(bitnet_eval_many(p.slices, p.n, NULL), BITNET_OK);
    }
    assert_int_equal(bitnet_alloc_count() - before, 0);
    free_family(&f);
}

TEST(caches_of_a_family_may_differ_in_size_and_type)
{
    struct bitnet_context *a =
        new_context((struct bitnet_context_options){.n_context = 8, .n_sequences = 3});
    struct bitnet_context *b =
        new_context((struct bitnet_context_options){.n_context = 20, .shares = a});
    struct bitnet_context *c = new_context((struct bitnet_context_options){
        .n_context = 20, .quantized_cache = true, .shares = b}); /* of one family with both */
    int32_t tokens[16];
    for (size_t i = 0; i < 16; i++) tokens[i] = token_of(0, i);
    const struct bitnet_slice slices[] = {{c, tokens, 16}, {a, tokens, 8}, {b, tokens, 16}};
    assert_int_equal(bitnet_eval_many(slices, 3, NULL), BITNET_OK);
    float *want = alone(0, false), *narrow = alone(0, true);
    assert_same_logits("8 cells", want + 7 * N_VOCAB, bitnet_logits(a, 7), 1, N_VOCAB);
    assert_same_logits("20 cells", want + 15 * N_VOCAB, bitnet_logits(b, 15), 1, N_VOCAB);
    assert_same_logits("q8_0", narrow + 15 * N_VOCAB, bitnet_logits(c, 15), 1, N_VOCAB);
    free(want);
    free(narrow);
    bitnet_context_free(c);
    bitnet_context_free(b);
    bitnet_context_free(a);
}

TEST(logits_of_those_who_were_not_part_of_the_eval_are_gone_not_wrong)
{
    struct family f = new_family(3, (struct bitnet_context_options){.n_context = 16});
    const int32_t tokens[3] = {4, 5, 6};
    const struct bitnet_slice both[] = {{f.at[0], tokens, 3}, {f.at[1], tokens, 2}};
    assert_null(bitnet_logits(f.at[0], 0));
    assert_int_equal(bitnet_eval_many(both, 2, NULL), BITNET_OK);
    assert_non_null(bitnet_logits(f.at[0], 2));
    assert_null(bitnet_logits(f.at[0], 1));
    assert_non_null(bitnet_logits(f.at[1], 1));
    assert_null(bitnet_logits(f.at[2], 0));
    assert_int_equal(bitnet_eval(f.at[2], tokens, 1, NULL), BITNET_OK); /* alone works as well */
    assert_null(bitnet_logits(f.at[0], 2));
    assert_null(bitnet_logits(f.at[1], 1));
    assert_non_null(bitnet_logits(f.at[2], 0));
    bitnet_context_reset(f.at[2]);
    assert_null(bitnet_logits(f.at[2], 0));
    free_family(&f);
}

TEST(a_beginning_that_two_texts_share_is_evaluated_once)
{
    struct bitnet_context *c = new_context((struct bitnet_context_options){.n_context = 40});
    int32_t tokens[LENGTH_MAX];
    float *want = alone(3, false);
    struct bitnet_error err;
    for (size_t i = 0; i < 20; i++) tokens[i] = token_of(3, i);
    assert_int_equal(bitnet_eval(c, tokens, 12, NULL), BITNET_OK);
    assert_int_equal(bitnet_eval(c, (const int32_t[]){9, 8, 7, 6, 5}, 5, NULL), BITNET_OK);
    assert_int_equal(bitnet_context_keep(c, 18, &err), BITNET_LIMIT);
    assert_text_has(err.text, "18 tokens to keep of a context that has 17");
    assert_int_equal(bitnet_context_keep(c, 12, &err), BITNET_OK);
    assert_int_equal(bitnet_context_used(c), 12);
    assert_null(bitnet_logits(c, 4));
    assert_int_equal(bitnet_eval(c, tokens + 12, 8, NULL), BITNET_OK);
    assert_same_logits("kept", want + 19 * N_VOCAB, bitnet_logits(c, 7), 1, N_VOCAB);
    free(want);
    bitnet_context_free(c);
}

/* ------------------------------------------------------------------ what is refused */

TEST(what_cannot_be_evaluated_together_is_refused_and_changes_nothing)
{
    struct family f = new_family(2, (struct bitnet_context_options){.n_context = 8});
    struct bitnet_context *stranger = new_context((struct bitnet_context_options){.n_context = 8});
    struct bitnet_context *third =
        new_context((struct bitnet_context_options){.n_context = 8, .shares = f.at[0]});
    const int32_t tokens[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, wrong[2] = {1, N_VOCAB};
    struct bitnet_error err;
    const struct {
        struct bitnet_slice slices[3];
        size_t n;
        enum bitnet_status status;
        const char *text;
    } cases[] = {
        {{{f.at[0], tokens, 2}, {stranger, tokens, 2}}, 2, BITNET_USAGE, "share no step"},
        {{{f.at[0], tokens, 2}, {f.at[0], tokens, 2}}, 2, BITNET_USAGE, "twice"},
        {{{f.at[0], tokens, 2}, {f.at[1], tokens, 0}}, 2, BITNET_USAGE, "no tokens"},
        {{{f.at[0], tokens, 2}, {f.at[1], tokens, 9}}, 2, BITNET_LIMIT, "7 of 8 cells"},
        {{{f.at[0], tokens, 2}, {f.at[1], wrong, 2}}, 2, BITNET_LIMIT, "300 at place 1"},
        {{{f.at[0], tokens, 2}, {f.at[1], tokens, 2}, {third, tokens, 1}},
         3,
         BITNET_LIMIT,
         "3 sequences in one eval, the context was made for 2"},
    };
    assert_int_equal(bitnet_eval(f.at[1], tokens, 1, NULL), BITNET_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(bitnet_eval_many(cases[i].slices, cases[i].n, &err), cases[i].status);
        assert_text_has(err.text, cases[i].text);
        assert_int_equal(bitnet_context_used(f.at[0]), 0);
        assert_int_equal(bitnet_context_used(f.at[1]), 1);
        assert_int_equal(bitnet_context_used(stranger), 0);
        assert_non_null(bitnet_logits(f.at[1], 0));
    }
    assert_int_equal(bitnet_eval_many(NULL, 0, &err), BITNET_USAGE);
    assert_int_equal(bitnet_eval_many(cases[0].slices, 1, &err), BITNET_OK); /* not named twice */
    bitnet_context_free(third);
    bitnet_context_free(stranger);
    free_family(&f);
}

TEST(contexts_of_two_models_share_no_step)
{
    struct bitnet_model *other;
    struct bitnet_context *context;
    struct bitnet_error err;
    must_be_ok(bitnet_model_open(&other, path, NULL, &err), &err);
    struct bitnet_context *owner = new_context((struct bitnet_context_options){.n_context = 8});
    const struct bitnet_context_options options = {.n_context = 8, .shares = owner};
    assert_int_equal(bitnet_context_new(&context, other, &options, &err), BITNET_USAGE);
    assert_null(context);
    bitnet_context_free(owner);
    bitnet_model_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_together_get_the_logits_that_each_gets_alone),
        cmocka_unit_test(no_batch_size_cuts_a_sequence_apart),
        cmocka_unit_test(all_logits_of_all_sequences_are_kept_when_asked_for),
        cmocka_unit_test(sequences_with_quantized_caches_do_not_mix),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(a_family_holds_one_step),
        cmocka_unit_test(a_step_of_many_allocates_nothing),
        cmocka_unit_test(caches_of_a_family_may_differ_in_size_and_type),
        cmocka_unit_test(logits_of_those_who_were_not_part_of_the_eval_are_gone_not_wrong),
        cmocka_unit_test(a_beginning_that_two_texts_share_is_evaluated_once),
        cmocka_unit_test(what_cannot_be_evaluated_together_is_refused_and_changes_nothing),
        cmocka_unit_test(contexts_of_two_models_share_no_step),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
