/* Files damaged at random: opening, evaluating and closing end in a status, never in a crash.
 * Meant for AddressSanitizer; without it the test still sees crashes and wrong statuses. And every
 * allocation of a whole run, from open to text and perplexity, fails once. */
#include "run_model.h"

#include "bitnet/alloc.h"

#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define N_DAMAGED 600
static const int32_t tokens[6] = {1, 20, 33, 47, 5, 250};
static char path[200];

static struct tiny_model *write_model(enum bitnet_dtype type)
{
    struct tiny_spec spec = tiny_spec_b158();
    spec.n_layers = 1;
    struct tiny_model *tiny = tiny_model_new(&spec);
    tiny_path(path, sizeof path, "damaged.gguf");
    assert_true(tiny_model_write(tiny, path,
                                 &(struct tiny_file){.linear = type,
                                                     .embed = BITNET_DTYPE_q8_0,
                                                     .dialect = BITNET_DIALECT_BITNETCPP}));
    return tiny;
}

static void write_bytes(const uint8_t *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static enum bitnet_status open_and_eval(void)
{
    struct bitnet_model *model = NULL;
    struct bitnet_context *context = NULL;
    struct bitnet_error err = {0};
    const struct bitnet_context_options options = {.n_context = 8, .all_logits = true};
    enum bitnet_status status = bitnet_model_open(&model, path, NULL, &err);
    if (status) assert_true(err.text[0] != '\0');
    if (!status) status = bitnet_context_new(&context, model, &options, &err);
    if (!status) status = bitnet_eval(context, tokens, 6, &err);
    bitnet_context_free(context);
    bitnet_model_close(model);
    return status;
}

/* Some bytes in the first 12 KiB (header, metadata, vocabulary, tensor list) or anywhere. */
static void damage(uint8_t *bytes, size_t n, uint64_t *random)
{
    size_t where = tiny_random(random) % 4 ? 12288 : n;
    size_t n_changes = 1 + tiny_random(random) % 4;
    for (size_t i = 0; i < n_changes; i++) {
        size_t at = tiny_random(random) % (where < n ? where : n);
        if (tiny_random(random) % 2)
            bytes[at] ^= (uint8_t)(1u << tiny_random(random) % 8);
        else
            bytes[at] = (uint8_t)tiny_random(random);
    }
}

static void damage_many(enum bitnet_dtype type, uint64_t seed)
{
    struct tiny_model *tiny = write_model(type);
    size_t n, n_refused = 0;
    uint8_t *whole = read_all(path, &n), *bytes = malloc(n);
    assert_non_null(bytes);
    for (int i = 0; i < N_DAMAGED; i++) {
        memcpy(bytes, whole, n);
        damage(bytes, n, &seed);
        write_bytes(bytes, tiny_random(&seed) % 16 ? n : tiny_random(&seed) % n);
        long live = bitnet_alloc_live();
        n_refused += open_and_eval() != BITNET_OK;
        assert_int_equal(bitnet_alloc_live(), live);
    }
    print_message("%zu of %d refused\n", n_refused, N_DAMAGED);
    assert_true(n_refused > N_DAMAGED / 10);
    free(bytes);
    free(whole);
    unlink(path);
    tiny_model_free(tiny);
}

TEST(damaged_i2_s_files_end_in_a_status)
{
    damage_many(BITNET_DTYPE_i2_s, 1);
}

TEST(damaged_tl2_files_end_in_a_status)
{
    damage_many(BITNET_DTYPE_tl2, 2);
}

TEST(damaged_f16_files_end_in_a_status)
{
    damage_many(BITNET_DTYPE_f16, 3);
}

static bool ignore_piece(void *user, struct bitnet_str text)
{
    (void)user;
    (void)text;
    return true;
}

static enum bitnet_status generate(const struct bitnet_model *model)
{
    struct bitnet_sampler *sampler = NULL;
    struct bitnet_context *context = NULL;
    struct bitnet_tokens made = {0};
    const struct bitnet_sampler_options sampling = bitnet_sampler_defaults();
    const struct bitnet_context_options options = {.n_context = 20};
    const struct bitnet_generate_options generating = {
        .n_predict = 9, .ignore_eog = true, .piece = ignore_piece};
    enum bitnet_status status = bitnet_sampler_new(&sampler, 300, &sampling, NULL);
    if (!status) status = bitnet_context_new(&context, model, &options, NULL);
    if (!status)
        status = bitnet_generate(context, sampler, tokens, 6, &generating, &made, NULL, NULL, NULL);
    bitnet_tokens_free(&made);
    bitnet_context_free(context);
    bitnet_sampler_free(sampler);
    return status;
}

/* Everything that the programs do, in one go. */
static enum bitnet_status use_all(const struct bitnet_model *model)
{
    static const char text[] = "in the beginning was the word, and the word was a number of trits";
    const struct bitnet_str all = {text, sizeof text - 1};
    const struct bitnet_perplexity_options options = {.n_context = 16};
    struct bitnet_perplexity_result perplexity;
    struct bitnet_divergence_result divergence;
    struct bitnet_bench_result bench;
    enum bitnet_status status = generate(model);
    if (!status) status = bitnet_perplexity(model, all, &options, &perplexity, NULL);
    if (!status) status = bitnet_divergence(model, model, all, &options, &divergence, NULL);
    if (!status)
        status = bitnet_bench(
            model, &(struct bitnet_bench_options){.n_generate = 1, .n_repeats = 1}, &bench, NULL);
    return status;
}

TEST(every_failing_allocation_of_every_use_is_reported_and_leaks_nothing)
{
    struct tiny_model *tiny = write_model(BITNET_DTYPE_i2_s);
    struct bitnet_model *model;
    assert_int_equal(bitnet_model_open(&model, path, NULL, NULL), BITNET_OK);
    long live = bitnet_alloc_live(), n = 0;
    for (;; n++) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = use_all(model);
        bool was_reached = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!was_reached) {
            assert_int_equal(status, BITNET_OK);
            break;
        }
        if (status != BITNET_MEMORY) fail_msg("allocation %ld: status %d", n, (int)status);
    }
    print_message("%ld allocations\n", n);
    assert_true(n > 15);
    bitnet_model_close(model);
    unlink(path);
    tiny_model_free(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_i2_s_files_end_in_a_status),
        cmocka_unit_test(damaged_tl2_files_end_in_a_status),
        cmocka_unit_test(damaged_f16_files_end_in_a_status),
        cmocka_unit_test(every_failing_allocation_of_every_use_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
