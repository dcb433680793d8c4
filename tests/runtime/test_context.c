/* context.c and kv_cache.c: sizes said before they are taken, limits that change nothing, logits
 * kept as asked, nothing allocated by a step. */
#include "run_model.h"

#include "bitnet/alloc.h"
#include "bitnet/quant.h"

#include "backend.h"
#include "context.h"
#include "tiny_model.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const int32_t tokens[8] = {1, 20, 33, 47, 5, 250, 12, 8};
static struct bitnet_model *model;
static char path[200];

static int open_model(void **state)
{
    (void)state;
    return !open_tiny(&model, path, sizeof path, "context.gguf");
}

static int close_model(void **state)
{
    (void)state;
    bitnet_model_close(model);
    unlink(path);
    return 0;
}

static struct bitnet_context *new_context(struct bitnet_context_options options)
{
    struct bitnet_context *context;
    struct bitnet_error err;
    assert_int_equal(bitnet_context_new(&context, model, &options, &err), BITNET_OK);
    return context;
}

TEST(the_size_is_as_trained_unless_said)
{
    struct bitnet_context *context = new_context((struct bitnet_context_options){0});
    assert_int_equal(bitnet_context_size(context), 64);
    bitnet_context_free(context);
    context = new_context((struct bitnet_context_options){.n_context = 7});
    assert_int_equal(bitnet_context_size(context), 7);
    bitnet_context_free(context);
}

TEST(a_context_is_one_allocation_and_a_step_is_none)
{
    bitnet_alloc_fail_at(-1);
    long before = bitnet_alloc_count();
    struct bitnet_context *context = new_context((struct bitnet_context_options){.n_batch = 3});
    assert_int_equal(bitnet_alloc_count() - before, 1);
    assert_int_equal(bitnet_eval(context, tokens, 8, NULL), BITNET_OK);
    assert_int_equal(bitnet_eval(context, tokens, 1, NULL), BITNET_OK);
    assert_int_equal(bitnet_alloc_count() - before, 1);
    bitnet_context_free(context);
}

TEST(the_bytes_grow_by_the_cache_for_each_cell)
{
    struct bitnet_context_options a = {.n_context = 1000, .n_batch = 16};
    struct bitnet_context_options b = {.n_context = 2000, .n_batch = 16};
    uint64_t grown = bitnet_context_bytes(model, &b) - bitnet_context_bytes(model, &a);
    uint64_t cache = 2u * 2 * 128 * 1000 * 2; /* key and value, layers, width, cells, bytes */
    assert_true(grown >= cache && grown <= cache + 4096);
    a.quantized_cache = b.quantized_cache = true;
    grown = bitnet_context_bytes(model, &b) - bitnet_context_bytes(model, &a);
    assert_true(grown >= cache / 64 * 34 && grown <= cache / 64 * 34 + 4096);
}

/* The residual stream, a block's input or output, and the wider of a block's two halves: what a
 * token of a batch needs at a time, beside its quantized input and the sums of a slice. */
TEST(a_token_of_a_batch_costs_what_one_half_of_a_block_needs)
{
    const struct bitnet_hparams *hp = bitnet_model_hparams(model);
    struct bitnet_context_options a = {.n_context = 1000, .n_batch = 100};
    struct bitnet_context_options b = {.n_context = 1000, .n_batch = 600};
    uint64_t grown = (bitnet_context_bytes(model, &b) - bitnet_context_bytes(model, &a)) / 500;
    uint64_t q = (uint64_t)hp->n_heads * hp->head_dim, kv = (uint64_t)hp->n_kv_heads * hp->head_dim;
    uint64_t half = q + 2 * kv > 2 * hp->n_ffn ? q + 2 * kv : 2 * hp->n_ffn;
    uint64_t widest = hp->n_ffn > hp->n_embd ? hp->n_ffn : hp->n_embd;
    uint64_t floats = 2 * hp->n_embd + half + hp->n_rot, codes = widest + 127;
    uint64_t sums = 4 * MATRIX_SLICE_ROWS;
    assert_true(q <= widest);
    assert_true(grown > 4 * (2 * hp->n_embd + half));
    assert_true(grown <= 4 * floats + codes + bitnet_fixed_bytes(widest) + sums + 128);
}

/* What kv_cache.h promises of Q8_0, number by number. */
TEST(a_quantized_cache_keeps_each_number_to_its_bound)
{
    enum { DIM = 64, HEADS = 2, CELLS = 5 };
    uint8_t memory[2 * HEADS * CELLS * DIM / 32 * 34];
    struct kv_cache cache = {.at = memory,
                             .type = BITNET_DTYPE_q8_0,
                             .n_layers = 1,
                             .n_cells = CELLS,
                             .n_kv_heads = HEADS,
                             .head_dim = DIM};
    float keys[HEADS * DIM], values[HEADS * DIM], back[DIM];
    const struct bitnet_layout one = {.type = cache.type, .rows = 1, .cols = DIM};
    uint64_t n_bytes;
    assert_true(kv_cache_bytes(&cache, &n_bytes) && n_bytes == sizeof memory);
    for (int i = 0; i < HEADS * DIM; i++) {
        keys[i] = (float)((i * 37) % 101 - 50) * (i < 32 ? 100.0f : 0.01f);
        values[i] = (float)((i * 53) % 97 - 48) / 7;
    }
    kv_cache_store(&cache, NULL, 0, 3, keys, values);
    for (int head = 0; head < HEADS; head++)
        for (int half = 0; half < 2; half++) {
            const float *want = (half ? values : keys) + head * DIM;
            const uint8_t *cell = half ? kv_cache_values(&cache, 0, (size_t)head, 3)
                                       : kv_cache_keys(&cache, 0, (size_t)head, 3);
            bitnet_codec(cache.type)->decode_rows(&one, cell, 1, back);
            for (int i = 0; i < DIM; i++) {
                float largest = 0;
                for (int k = i / 32 * 32; k < i / 32 * 32 + 32; k++)
                    largest = fmaxf(largest, fabsf(want[k]));
                assert_true(fabsf(back[i] - want[i]) <=
                            largest / 254 * 1.001f + fabsf(want[i]) / 2048);
            }
        }
}

TEST(impossible_sizes_are_refused_with_numbers)
{
    struct bitnet_context *context;
    struct bitnet_error err;
    struct bitnet_context_options options = {.n_context = 16777217};
    assert_int_equal(bitnet_context_new(&context, model, &options, &err), BITNET_LIMIT);
    assert_text_has(err.text, "16777217");
    assert_null(context);
}

TEST(a_quantized_cache_wants_heads_of_whole_blocks)
{
    struct tiny_spec spec = tiny_spec_b158();
    spec.head_dim = spec.n_rot = 48;
    spec.n_heads = 8;
    spec.n_kv_heads = 8;
    struct tiny_model *tiny = tiny_model_new(&spec);
    struct bitnet_model *odd;
    struct bitnet_context *context;
    struct bitnet_error err;
    char name[200];
    tiny_path(name, sizeof name, "odd-heads.gguf");
    assert_true(tiny_model_write(tiny, name,
                                 &(struct tiny_file){.linear = BITNET_DTYPE_i2_s,
                                                     .embed = BITNET_DTYPE_f16,
                                                     .dialect = BITNET_DIALECT_BITNETCPP}));
    assert_int_equal(bitnet_model_open(&odd, name, NULL, &err), BITNET_OK);
    struct bitnet_context_options options = {.quantized_cache = true};
    assert_int_equal(bitnet_context_new(&context, odd, &options, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "heads of size 48");
    bitnet_model_close(odd);
    unlink(name);
    tiny_model_free(tiny);
}

TEST(a_full_context_is_a_limit_and_changes_nothing)
{
    struct bitnet_context *context = new_context((struct bitnet_context_options){.n_context = 6});
    struct bitnet_error err;
    assert_int_equal(bitnet_eval(context, tokens, 4, &err), BITNET_OK);
    float kept = bitnet_logits(context, 3)[17];
    assert_int_equal(bitnet_eval(context, tokens, 3, &err), BITNET_LIMIT);
    assert_text_has(err.text, "2 of 6 cells left");
    assert_int_equal(bitnet_context_used(context), 4);
    assert_true(bitnet_logits(context, 3)[17] == kept);
    assert_int_equal(bitnet_eval(context, tokens, 2, &err), BITNET_OK);
    assert_int_equal(bitnet_context_used(context), 6);
    bitnet_context_free(context);
}

TEST(a_token_outside_the_vocabulary_is_a_limit)
{
    struct bitnet_context *context = new_context((struct bitnet_context_options){0});
    const int32_t wrong[2][2] = {{1, 300}, {1, -1}};
    struct bitnet_error err;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bitnet_eval(context, wrong[i], 2, &err), BITNET_LIMIT);
        assert_text_has(err.text, i ? "-1" : "300");
        assert_int_equal(bitnet_context_used(context), 0);
    }
    assert_int_equal(bitnet_eval(context, tokens, 0, &err), BITNET_USAGE);
    bitnet_context_free(context);
}

TEST(only_the_last_logits_are_kept_unless_all_are_asked_for)
{
    struct bitnet_context *last = new_context((struct bitnet_context_options){.n_batch = 3});
    struct bitnet_context *all =
        new_context((struct bitnet_context_options){.n_batch = 3, .all_logits = true});
    assert_null(bitnet_logits(last, 0));
    assert_int_equal(bitnet_eval(last, tokens, 8, NULL), BITNET_OK);
    assert_int_equal(bitnet_eval(all, tokens, 8, NULL), BITNET_OK);
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(bitnet_logits(last, i) != NULL, i == 7);
        assert_int_equal(bitnet_logits(all, i) != NULL, i < 8);
    }
    assert_same_logits("last", bitnet_logits(all, 7), bitnet_logits(last, 7), 1, 300);
    bitnet_context_free(last);
    bitnet_context_free(all);
}

TEST(more_logits_than_there_is_room_for_are_a_limit)
{
    struct bitnet_context *context =
        new_context((struct bitnet_context_options){.all_logits = true, .n_logits = 2});
    struct bitnet_error err;
    assert_int_equal(bitnet_eval(context, tokens, 3, &err), BITNET_LIMIT);
    assert_int_equal(bitnet_eval(context, tokens, 2, &err), BITNET_OK);
    assert_non_null(bitnet_logits(context, 0));
    bitnet_context_free(context);
}

/* 2 layers: q 256, k and v 128 each, output 256, gate and up 512 each by 256; down 256 by 512. */
TEST(costs_count_what_the_mathematics_asks_for)
{
    struct bitnet_op_cost costs[BITNET_OP_COUNT] = {{0}};
    struct bitnet_context *context =
        new_context((struct bitnet_context_options){.costs = costs, .all_logits = true});
    assert_int_equal(bitnet_eval(context, tokens, 3, NULL), BITNET_OK);
    assert_int_equal(bitnet_eval(context, tokens, 1, NULL), BITNET_OK);
    uint64_t trits = 2 * ((256 + 128 + 128 + 256) * 256 + 3 * 512 * 256);
    assert_int_equal(costs[BITNET_OP_ternary].ops, 2 * trits * 4);
    assert_int_equal(costs[BITNET_OP_ternary].calls, 2 * 2 * 4);
    assert_int_equal(costs[BITNET_OP_head].ops, 2 * 300 * 256 * 4);
    assert_int_equal(costs[BITNET_OP_head].bytes, 2 * 300 * 256 * 2);
    assert_int_equal(costs[BITNET_OP_dense].calls, 0);
    /* queries see 1 + 2 + 3 keys, then 4; 4 heads of 64, a multiplication and an addition for the
     * score and for the sum of values */
    assert_int_equal(costs[BITNET_OP_attention].ops, 2 * 4 * (6 + 4) * 4 * 64);
    assert_true(costs[BITNET_OP_ternary].ms > 0);
    bitnet_context_free(context);
}

TEST(reset_forgets_every_token)
{
    struct bitnet_context *context = new_context((struct bitnet_context_options){0});
    assert_int_equal(bitnet_eval(context, tokens, 5, NULL), BITNET_OK);
    float first[300];
    for (int i = 0; i < 300; i++) first[i] = bitnet_logits(context, 4)[i];
    assert_int_equal(bitnet_eval(context, tokens, 3, NULL), BITNET_OK);
    bitnet_context_reset(context);
    assert_null(bitnet_logits(context, 2));
    assert_int_equal(bitnet_context_used(context), 0);
    assert_int_equal(bitnet_eval(context, tokens, 5, NULL), BITNET_OK);
    assert_same_logits("after reset", first, bitnet_logits(context, 4), 1, 300);
    bitnet_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_size_is_as_trained_unless_said),
        cmocka_unit_test(a_context_is_one_allocation_and_a_step_is_none),
        cmocka_unit_test(the_bytes_grow_by_the_cache_for_each_cell),
        cmocka_unit_test(a_token_of_a_batch_costs_what_one_half_of_a_block_needs),
        cmocka_unit_test(a_quantized_cache_keeps_each_number_to_its_bound),
        cmocka_unit_test(a_quantized_cache_wants_heads_of_whole_blocks),
        cmocka_unit_test(impossible_sizes_are_refused_with_numbers),
        cmocka_unit_test(a_full_context_is_a_limit_and_changes_nothing),
        cmocka_unit_test(a_token_outside_the_vocabulary_is_a_limit),
        cmocka_unit_test(only_the_last_logits_are_kept_unless_all_are_asked_for),
        cmocka_unit_test(more_logits_than_there_is_room_for_are_a_limit),
        cmocka_unit_test(costs_count_what_the_mathematics_asks_for),
        cmocka_unit_test(reset_forgets_every_token),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
