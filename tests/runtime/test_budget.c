/* budget.c: what is left is told, what is too much is refused before it is taken; a model and its
 * contexts ask. */
#include "run_model.h"

#include "bitnet/alloc.h"

#include "budget.h"
#include "context.h"
#include "tiny_model.h"

#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

TEST(what_was_given_back_can_be_taken_again)
{
    struct budget b = {.limit = 10 * MIB};
    struct bitnet_error err;
    assert_int_equal(budget_take(&b, 6 * MIB, "this", &err), BITNET_OK);
    assert_int_equal(budget_take(&b, 5 * MIB, "that", &err), BITNET_MEMORY);
    assert_string_equal(err.text, "that would take 5 MiB, the memory limit of 10 MiB leaves 4");
    assert_int_equal(budget_take(&b, 4 * MIB, "that", &err), BITNET_OK);
    assert_int_equal(budget_take(&b, 1, "a byte", &err), BITNET_MEMORY);
    budget_give(&b, 6 * MIB);
    assert_int_equal(budget_take(&b, 6 * MIB, "this", &err), BITNET_OK);
}

TEST(without_a_limit_there_is_always_room)
{
    struct budget b = {0};
    assert_int_equal(budget_take(&b, UINT64_MAX / 2, "all", NULL), BITNET_OK);
}

/* The weights alone, and with one context: the smallest limits that admit them. */
TEST(a_model_and_its_contexts_keep_the_limit_or_are_refused_before_they_take_anything)
{
    struct tiny_spec spec = tiny_spec_b158();
    struct tiny_model *tiny = tiny_model_new(&spec);
    struct bitnet_model *model;
    struct bitnet_context *a, *b;
    struct bitnet_error err;
    char path[200];
    tiny_path(path, sizeof path, "budget.gguf");
    assert_true(tiny_model_write(tiny, path,
                                 &(struct tiny_file){.linear = BITNET_DTYPE_i2_s,
                                                     .embed = BITNET_DTYPE_f16,
                                                     .dialect = BITNET_DIALECT_BITNETCPP}));
    struct bitnet_model_options options = {.memory_limit = 1000};
    long live = bitnet_alloc_live();
    assert_int_equal(bitnet_model_open(&model, path, &options, &err), BITNET_MEMORY);
    assert_text_has(err.text, "the weights would take 1 MiB");
    assert_int_equal(bitnet_alloc_live(), live);

    const struct bitnet_context_options small = {.n_context = 16, .n_batch = 4};
    options.memory_limit = 0;
    assert_int_equal(bitnet_model_open(&model, path, &options, &err), BITNET_OK);
    uint64_t weights = model->budget->used, context = bitnet_context_bytes(model, &small);
    assert_true(weights >= bitnet_model_packed_bytes(model));
    bitnet_model_close(model);

    options.memory_limit = weights + context;
    assert_int_equal(bitnet_model_open(&model, path, &options, &err), BITNET_OK);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(bitnet_context_new(&a, model, &small, &err), BITNET_OK);
        live = bitnet_alloc_live();
        assert_int_equal(bitnet_context_new(&b, model, &small, &err), BITNET_MEMORY);
        assert_text_has(err.text, "a context of 16 tokens would take");
        assert_int_equal(bitnet_alloc_live(), live);
        bitnet_context_free(a);
    }
    bitnet_model_close(model);
    unlink(path);
    tiny_model_free(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_given_back_can_be_taken_again),
        cmocka_unit_test(without_a_limit_there_is_always_room),
        cmocka_unit_test(
            a_model_and_its_contexts_keep_the_limit_or_are_refused_before_they_take_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
