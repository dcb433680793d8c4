/* sampler.c: draws against exact probabilities, filters one by one against their definitions,
 * damaged logits, ties. */
#include "cm.h"

#include "bitnet/alloc.h"
#include "bitnet/runtime.h"

#include "tiny_model.h"

#include <math.h>
#include <stdlib.h>

static struct bitnet_sampler_options plain(void)
{
    struct bitnet_sampler_options o = bitnet_sampler_defaults();
    o.temperature = 1;
    o.top_k = 0;
    o.top_p = 1;
    return o;
}

static struct bitnet_sampler *make(size_t n, struct bitnet_sampler_options options)
{
    struct bitnet_sampler *s;
    struct bitnet_error err;
    assert_int_equal(bitnet_sampler_new(&s, n, &options, &err), BITNET_OK);
    return s;
}

static int32_t sample(struct bitnet_sampler *s, const float *logits)
{
    int32_t token = -1;
    struct bitnet_error err;
    assert_int_equal(bitnet_sample(s, logits, &token, &err), BITNET_OK);
    return token;
}

/* Draws n times; how often each id came. */
static void draw_many(const float *logits, size_t n_vocab, struct bitnet_sampler_options options,
                      size_t n, size_t *counts)
{
    struct bitnet_sampler *s = make(n_vocab, options);
    for (size_t i = 0; i < n_vocab; i++) counts[i] = 0;
    for (size_t i = 0; i < n; i++) counts[sample(s, logits)]++;
    bitnet_sampler_free(s);
}

/* ------------------------------------------------------------------ distributions */

#define VOCAB 40
#define DRAWS 40000

/* Chi-square of the counts against softmax(logits / temperature) over the ids that `may` allows.
 * Cells that expect fewer than 8 draws are put together. The bound is mean + 4 standard
 * deviations of the chi-square distribution: with fixed seeds the test is not a lottery. */
static void assert_draws_follow(const float *logits, struct bitnet_sampler_options options,
                                const bool *may)
{
    size_t counts[VOCAB], rest = 0, cells = 0;
    double p[VOCAB], sum = 0, expected_rest = 0, chi = 0;
    for (size_t i = 0; i < VOCAB; i++) {
        p[i] = may[i] ? exp((double)logits[i] / (double)options.temperature) : 0;
        sum += p[i];
    }
    draw_many(logits, VOCAB, options, DRAWS, counts);
    for (size_t i = 0; i < VOCAB; i++) {
        double expected = p[i] / sum * DRAWS;
        if (!may[i]) assert_int_equal(counts[i], 0);
        if (expected < 8) {
            expected_rest += expected;
            rest += counts[i];
            continue;
        }
        chi += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
        cells++;
    }
    if (expected_rest >= 1) {
        chi += ((double)rest - expected_rest) * ((double)rest - expected_rest) / expected_rest;
        cells++;
    }
    double df = (double)cells - 1;
    print_message("chi-square %.1f with %g degrees of freedom\n", chi, df);
    assert_true(chi <= df + 4 * sqrt(2 * df) + 1e-9);
}

static void make_logits(int kind, float *logits)
{
    uint64_t random = (uint64_t)kind + 5;
    for (int i = 0; i < VOCAB; i++) {
        double u = tiny_uniform(&random);
        switch (kind) {
        case 0:
            logits[i] = 0;
            break; /* all alike */
        case 1:
            logits[i] = (float)(6 * u - 3);
            break; /* mild */
        case 2:
            logits[i] = (float)(-0.4 * i);
            break; /* geometric */
        case 3:
            logits[i] = (float)(log(u + 1e-12) * 2 + 300);
            break; /* far from zero */
        default:
            logits[i] = i == 17 ? 8.0f : (float)(3 * u);
            break; /* a peak */
        }
    }
}

TEST(draws_follow_the_softmax_of_five_distributions)
{
    float logits[VOCAB];
    bool all[VOCAB];
    memset(all, 1, sizeof all);
    for (int kind = 0; kind < 5; kind++) {
        struct bitnet_sampler_options o = plain();
        o.seed = 1000 + (uint64_t)kind;
        make_logits(kind, logits);
        assert_draws_follow(logits, o, all);
        o.temperature = 0.6f;
        assert_draws_follow(logits, o, all);
    }
}

/* How many logits are larger, or equal with a lower id. */
static size_t rank(const float *logits, size_t id)
{
    size_t before = 0;
    for (size_t i = 0; i < VOCAB; i++)
        before += logits[i] > logits[id] || (logits[i] == logits[id] && i < id);
    return before;
}

TEST(top_k_keeps_the_k_best_and_their_proportions)
{
    float logits[VOCAB];
    bool may[VOCAB];
    for (int kind = 0; kind < 5; kind++) {
        struct bitnet_sampler_options o = plain();
        o.top_k = 7;
        o.seed = 2000;
        make_logits(kind, logits);
        for (size_t i = 0; i < VOCAB; i++) may[i] = rank(logits, i) < 7;
        assert_draws_follow(logits, o, may);
    }
}

/* The smallest set of best candidates whose share reaches p, among the `may` of before. */
static void cut_top_p(const float *logits, double p, bool *may)
{
    double sum = 0, reached = 0;
    for (size_t i = 0; i < VOCAB; i++) sum += may[i] ? exp((double)logits[i] - 300) : 0;
    for (size_t r = 0; r < VOCAB; r++)
        for (size_t i = 0; i < VOCAB; i++) {
            if (rank(logits, i) != r || !may[i]) continue;
            may[i] = reached < p * sum;
            reached += exp((double)logits[i] - 300);
        }
}

TEST(top_p_keeps_the_smallest_set_that_reaches_p)
{
    static const float shares[] = {0.05f, 0.3f, 0.77f, 0.95f};
    float logits[VOCAB];
    bool may[VOCAB];
    for (int kind = 1; kind < 5; kind++)
        for (size_t i = 0; i < COUNT(shares); i++) {
            struct bitnet_sampler_options o = plain();
            o.top_p = shares[i];
            o.seed = 3000;
            make_logits(kind, logits);
            memset(may, 1, sizeof may);
            cut_top_p(logits, (double)shares[i], may);
            assert_draws_follow(logits, o, may);
        }
}

TEST(top_p_works_on_what_top_k_left)
{
    float logits[VOCAB];
    bool may[VOCAB];
    struct bitnet_sampler_options o = plain();
    o.top_k = 5;
    o.top_p = 0.6f;
    make_logits(2, logits);
    for (size_t i = 0; i < VOCAB; i++) may[i] = rank(logits, i) < 5;
    cut_top_p(logits, 0.6, may);
    /* of all 40 the share 0.6 needs three: 1 - exp(-0.4 * 3) = 0.70; of five, two: 0.55 < 0.6 */
    assert_draws_follow(logits, o, may);
}

TEST(min_p_drops_what_is_small_beside_the_best)
{
    float logits[VOCAB];
    bool may[VOCAB];
    for (int kind = 1; kind < 5; kind++) {
        struct bitnet_sampler_options o = plain();
        double best = -INFINITY;
        o.min_p = 0.1f;
        make_logits(kind, logits);
        for (size_t i = 0; i < VOCAB; i++) best = fmax(best, (double)logits[i]);
        for (size_t i = 0; i < VOCAB; i++)
            may[i] = exp((double)logits[i] - best) >= (double)o.min_p;
        assert_draws_follow(logits, o, may);
    }
}

TEST(filters_look_at_probabilities_before_the_temperature)
{
    float logits[VOCAB];
    bool may[VOCAB];
    struct bitnet_sampler_options o = plain();
    o.temperature = 5;
    o.top_p = 0.5f;
    make_logits(2, logits);
    memset(may, 1, sizeof may);
    cut_top_p(logits, 0.5, may); /* at temperature 1, as llama.cpp's default chain */
    assert_draws_follow(logits, o, may);
}

/* ------------------------------------------------------------------ greedy, ties, penalty, seed */

TEST(temperature_zero_is_the_largest_logit_whatever_else_is_set)
{
    float logits[VOCAB];
    make_logits(4, logits);
    struct bitnet_sampler_options o = bitnet_sampler_defaults();
    o.temperature = 0;
    o.min_p = 0.3f;
    struct bitnet_sampler *s = make(VOCAB, o);
    for (int i = 0; i < 20; i++) assert_int_equal(sample(s, logits), 17);
    bitnet_sampler_free(s);
}

TEST(ties_go_to_the_lower_id)
{
    float logits[VOCAB] = {0};
    logits[9] = logits[23] = logits[31] = 4;
    struct bitnet_sampler_options o = plain();
    o.temperature = 0;
    struct bitnet_sampler *s = make(VOCAB, o);
    assert_int_equal(sample(s, logits), 9);
    bitnet_sampler_free(s);
    o.temperature = 1;
    o.top_k = 2; /* 9 and 23, never 31 */
    size_t counts[VOCAB];
    draw_many(logits, VOCAB, o, 400, counts);
    assert_int_equal(counts[9] + counts[23], 400);
    assert_true(counts[9] > 100 && counts[23] > 100);
}

TEST(the_penalty_divides_positive_and_multiplies_negative_logits)
{
    const float logits[4] = {3.0f, 2.0f, -1.0f, 2.9f};
    struct bitnet_sampler_options o = plain();
    o.temperature = 0;
    o.repeat_penalty = 2;
    struct bitnet_sampler *s = make(4, o);
    assert_int_equal(sample(s, logits), 0);
    bitnet_sampler_accept(s, 0); /* 3 -> 1.5 */
    assert_int_equal(sample(s, logits), 3);
    bitnet_sampler_accept(s, 3); /* 2.9 -> 1.45 */
    bitnet_sampler_accept(s, 3); /* twice is penalised once */
    assert_int_equal(sample(s, logits), 1);
    bitnet_sampler_accept(s, 1); /* 2 -> 1: best is 0 again */
    assert_int_equal(sample(s, logits), 0);
    bitnet_sampler_free(s);

    const float negative[2] = {-1.0f, -1.5f};
    s = make(2, o);
    bitnet_sampler_accept(s, 0); /* -1 -> -2 */
    assert_int_equal(sample(s, negative), 1);
    bitnet_sampler_free(s);
}

TEST(the_penalty_forgets_what_left_its_window)
{
    const float logits[4] = {3.0f, 2.0f, 1.0f, 0.5f};
    struct bitnet_sampler_options o = plain();
    o.temperature = 0;
    o.repeat_penalty = 10;
    o.repeat_last = 2;
    struct bitnet_sampler *s = make(4, o);
    bitnet_sampler_accept(s, 0);
    assert_int_equal(sample(s, logits), 1);
    bitnet_sampler_accept(s, 3);
    assert_int_equal(sample(s, logits), 1);
    bitnet_sampler_accept(s, 3); /* 0 is out of the window of two */
    assert_int_equal(sample(s, logits), 0);
    bitnet_sampler_free(s);
}

TEST(a_seed_fixes_the_whole_sequence)
{
    float logits[VOCAB];
    make_logits(1, logits);
    struct bitnet_sampler_options o = bitnet_sampler_defaults();
    o.seed = 42;
    struct bitnet_sampler *a = make(VOCAB, o), *b = make(VOCAB, o);
    o.seed = 43;
    struct bitnet_sampler *c = make(VOCAB, o);
    size_t n_other = 0;
    for (int i = 0; i < 200; i++) {
        int32_t first = sample(a, logits);
        assert_int_equal(first, sample(b, logits));
        n_other += first != sample(c, logits);
    }
    assert_true(n_other > 50);
    bitnet_sampler_free(a);
    bitnet_sampler_free(b);
    bitnet_sampler_free(c);
}

TEST(the_defaults_are_those_of_the_manual)
{
    struct bitnet_sampler_options o = bitnet_sampler_defaults();
    assert_true(o.temperature == 0.7f && o.top_k == 50 && o.top_p == 0.9f);
    assert_true(o.min_p == 0 && o.repeat_penalty == 1);
}

/* ------------------------------------------------------------------ damaged logits, options */

TEST(nan_is_reported_wherever_it_is)
{
    static const size_t places[] = {0, VOCAB / 2, VOCAB - 1};
    struct bitnet_sampler_options ways[] = {plain(), bitnet_sampler_defaults(), plain()};
    ways[2].temperature = 0;
    for (size_t way = 0; way < COUNT(ways); way++)
        for (size_t i = 0; i < COUNT(places); i++) {
            float logits[VOCAB];
            int32_t token = -7;
            struct bitnet_error err;
            make_logits(1, logits);
            logits[places[i]] = NAN;
            struct bitnet_sampler *s = make(VOCAB, ways[way]);
            assert_int_equal(bitnet_sample(s, logits, &token, &err), BITNET_FORMAT);
            assert_string_equal(err.text, "1 of 40 logits are NaN");
            assert_int_equal(token, -7);
            bitnet_sampler_free(s);
        }
}

TEST(infinite_logits_are_reported_and_minus_infinity_is_never_drawn)
{
    float logits[VOCAB];
    int32_t token;
    struct bitnet_error err;
    struct bitnet_sampler *s = make(VOCAB, plain());
    for (int i = 0; i < VOCAB; i++) logits[i] = -INFINITY;
    assert_int_equal(bitnet_sample(s, logits, &token, &err), BITNET_FORMAT);
    assert_string_equal(err.text, "none of 40 logits is finite");
    logits[3] = INFINITY;
    assert_int_equal(bitnet_sample(s, logits, &token, &err), BITNET_FORMAT);
    logits[3] = 1;
    logits[30] = 0;
    for (int i = 0; i < 200; i++) {
        token = sample(s, logits);
        assert_true(token == 3 || token == 30);
    }
    bitnet_sampler_free(s);
}

TEST(repair_goes_on_and_counts)
{
    static const size_t places[] = {0, VOCAB / 2, VOCAB - 1};
    struct bitnet_sampler_options o = plain();
    o.repair = true;
    struct bitnet_sampler *s = make(VOCAB, o);
    float logits[VOCAB];
    for (size_t i = 0; i < COUNT(places); i++) {
        make_logits(0, logits);
        logits[places[i]] = NAN;
        for (int k = 0; k < 200; k++) {
            int32_t token = sample(s, logits);
            assert_true(token >= 0 && token < VOCAB && (size_t)token != places[i]);
        }
    }
    assert_int_equal(bitnet_sampler_faults(s).nan, 600);
    make_logits(1, logits);
    logits[7] = INFINITY; /* as large as can be: nothing else has weight */
    assert_int_equal(sample(s, logits), 7);
    assert_int_equal(bitnet_sampler_faults(s).infinite, 1);
    for (int i = 0; i < VOCAB; i++) logits[i] = i % 2 ? NAN : -INFINITY;
    assert_int_equal(sample(s, logits), 0);
    assert_int_equal(bitnet_sampler_faults(s).degenerate, 1);
    assert_true(logits[0] == -INFINITY && logits[1] != logits[1]); /* the caller's stay */
    bitnet_sampler_free(s);
}

TEST(biases_come_before_everything_else)
{
    const struct bitnet_logit_bias biases[] = {{3, -INFINITY}, {17, 10}, {20, 1}, {20, 1}};
    struct bitnet_sampler_options o = plain();
    size_t counts[VOCAB];
    float logits[VOCAB], biased[VOCAB];
    make_logits(1, logits);
    o.biases = biases;
    o.n_biases = COUNT(biases);
    o.temperature = 0;
    struct bitnet_sampler *s = make(VOCAB, o);
    assert_int_equal(sample(s, logits), 17);
    bitnet_sampler_free(s);
    o.temperature = 1;
    o.n_biases = 1;
    draw_many(logits, VOCAB, o, 2000, counts);
    assert_int_equal(counts[3], 0);
    /* Draws with biases are draws of the biased logits. */
    o.biases = biases + 2;
    o.n_biases = 2;
    memcpy(biased, logits, sizeof biased);
    biased[20] += 2;
    draw_many(logits, VOCAB, o, 500, counts);
    size_t again[VOCAB];
    draw_many(biased, VOCAB, plain(), 500, again);
    assert_memory_equal(counts, again, sizeof counts);
    /* The penalty works on what the bias left. */
    o.repeat_penalty = 2;
    o.temperature = 0;
    s = make(VOCAB, o);
    bitnet_sampler_accept(s, 20);
    bitnet_sampler_accept(s, 20);
    for (int i = 0; i < VOCAB; i++) logits[i] = 0;
    logits[20] = 1;
    logits[5] = 1.4f; /* (1 + 2) / 2 is more */
    assert_int_equal(sample(s, logits), 20);
    logits[5] = 1.6f;
    assert_int_equal(sample(s, logits), 5);
    bitnet_sampler_free(s);
}

TEST(a_bias_for_no_token_or_of_no_size_is_refused)
{
    static const struct bitnet_logit_bias wrong[] = {{VOCAB, 1}, {-1, 1}, {0, NAN}, {0, INFINITY}};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct bitnet_sampler_options o = plain();
        struct bitnet_sampler *s;
        struct bitnet_error err;
        o.biases = &wrong[i];
        o.n_biases = 1;
        assert_int_equal(bitnet_sampler_new(&s, VOCAB, &o, &err), BITNET_USAGE);
        assert_text_has(err.text, "bias");
    }
}

/* Every choice of filters on a large vocabulary, against sorting all of it. */
static int compare_weights(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

TEST(top_p_of_a_large_vocabulary_is_that_of_a_full_sort)
{
    enum { LARGE = 20000 };
    static const float top_ps[] = {0.01f, 0.3f, 0.5f, 0.9f, 0.99f, 0.9999f};
    static float logits[LARGE];
    static double sorted[LARGE];
    for (int spread = 0; spread < 4; spread++) {
        uint64_t random = 9;
        double sum = 0;
        for (int i = 0; i < LARGE; i++) {
            logits[i] = (float)((tiny_uniform(&random) + tiny_uniform(&random)) * 8 * spread);
            sorted[i] = exp((double)logits[i]);
            sum += sorted[i];
        }
        qsort(sorted, LARGE, sizeof *sorted, compare_weights);
        for (size_t p = 0; p < COUNT(top_ps); p++) {
            double reached = 0, least = 0;
            for (int i = 0; i < LARGE && reached < (double)top_ps[p] * sum; i++)
                reached += least = sorted[i];
            struct bitnet_sampler_options o = plain();
            o.top_p = top_ps[p];
            struct bitnet_sampler *s = make(LARGE, o);
            for (int i = 0; i < 50; i++)
                assert_true(exp((double)logits[sample(s, logits)]) >= least * (1 - 1e-5));
            bitnet_sampler_free(s);
        }
    }
}

TEST(softmax_and_argmax_are_as_defined)
{
    float logits[VOCAB], p[VOCAB];
    int32_t token = -1;
    struct bitnet_error err;
    for (int kind = 0; kind < 5; kind++) {
        double sum = 0, top = -INFINITY;
        make_logits(kind, logits);
        for (int i = 0; i < VOCAB; i++) top = fmax(top, (double)logits[i]);
        for (int i = 0; i < VOCAB; i++) sum += exp((double)logits[i] - top);
        bitnet_softmax(logits, VOCAB, p);
        for (int i = 0; i < VOCAB; i++)
            assert_float_equal(p[i], exp((double)logits[i] - top) / sum, 1e-7);
        assert_int_equal(bitnet_argmax(logits, VOCAB, &token, &err), BITNET_OK);
        assert_true((double)logits[token] == top);
        for (int i = 0; i < token; i++) assert_true((double)logits[i] < top);
    }
    for (int i = 0; i < VOCAB; i++) logits[i] = NAN;
    assert_int_equal(bitnet_argmax(logits, VOCAB, &token, &err), BITNET_FORMAT);
    assert_text_has(err.text, "none of 40");
    assert_int_equal(bitnet_argmax(logits, 0, &token, &err), BITNET_FORMAT);
    logits[9] = -INFINITY;
    assert_int_equal(bitnet_argmax(logits, VOCAB, &token, &err), BITNET_OK);
    assert_int_equal(token, 9);
}

TEST(options_out_of_range_are_named)
{
    struct {
        struct bitnet_sampler_options options;
        const char *name;
    } rows[] = {{plain(), "temperature"},
                {plain(), "temperature"},
                {plain(), "top-p"},
                {plain(), "min-p"},
                {plain(), "repeat penalty"}};
    rows[0].options.temperature = -1;
    rows[1].options.temperature = NAN;
    rows[2].options.top_p = 1.5f;
    rows[3].options.min_p = -0.1f;
    rows[4].options.repeat_penalty = 0;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bitnet_sampler *s;
        struct bitnet_error err;
        assert_int_equal(bitnet_sampler_new(&s, VOCAB, &rows[i].options, &err), BITNET_USAGE);
        assert_text_has(err.text, rows[i].name);
        assert_null(s);
    }
}

TEST(a_failing_allocation_leaves_nothing)
{
    long live = bitnet_alloc_live();
    struct bitnet_sampler_options o = plain();
    for (long n = 0; n < 5; n++) {
        struct bitnet_sampler *s;
        bitnet_alloc_fail_at(n);
        assert_int_equal(bitnet_sampler_new(&s, VOCAB, &o, NULL), BITNET_MEMORY);
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_softmax_of_five_distributions),
        cmocka_unit_test(top_k_keeps_the_k_best_and_their_proportions),
        cmocka_unit_test(top_p_keeps_the_smallest_set_that_reaches_p),
        cmocka_unit_test(top_p_works_on_what_top_k_left),
        cmocka_unit_test(min_p_drops_what_is_small_beside_the_best),
        cmocka_unit_test(filters_look_at_probabilities_before_the_temperature),
        cmocka_unit_test(temperature_zero_is_the_largest_logit_whatever_else_is_set),
        cmocka_unit_test(ties_go_to_the_lower_id),
        cmocka_unit_test(the_penalty_divides_positive_and_multiplies_negative_logits),
        cmocka_unit_test(the_penalty_forgets_what_left_its_window),
        cmocka_unit_test(a_seed_fixes_the_whole_sequence),
        cmocka_unit_test(the_defaults_are_those_of_the_manual),
        cmocka_unit_test(nan_is_reported_wherever_it_is),
        cmocka_unit_test(infinite_logits_are_reported_and_minus_infinity_is_never_drawn),
        cmocka_unit_test(repair_goes_on_and_counts),
        cmocka_unit_test(biases_come_before_everything_else),
        cmocka_unit_test(a_bias_for_no_token_or_of_no_size_is_refused),
        cmocka_unit_test(top_p_of_a_large_vocabulary_is_that_of_a_full_sort),
        cmocka_unit_test(softmax_and_argmax_are_as_defined),
        cmocka_unit_test(options_out_of_range_are_named),
        cmocka_unit_test(a_failing_allocation_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
