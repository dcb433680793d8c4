/* What is not arithmetic: graphs, errors and their injection, counters. */
#include "cuda_support.h"

TEST(a_recorded_step_runs_again_on_new_input)
{
    float one[4] = {1, 2, 3, 4}, y[4];
    float *x = floats_on_device(one, 4), *sum = need(api->alloc(device, 16));
    good(api->zero(device, sum, 16));
    good(api->graph_begin(device));
    good(api->add(device, vectors(sum, 4, 4), vectors(x, 4, 4), 1));
    struct bitnet_cuda_graph *graph = need(api->graph_end(device));
    read_floats(y, sum, 4);
    assert_true(y[0] == 0); /* recording is not running */
    good(api->graph_run(device, graph));
    one[0] = 10;
    good(api->write(device, x, one, sizeof one));
    good(api->graph_run(device, graph));
    read_floats(y, sum, 4);
    assert_true(y[0] == 11 && y[3] == 8);
    api->graph_free(device, graph);
    api->free(device, x), api->free(device, sum);
}

/* Small writes pass through pinned memory: more of them than it holds, and what was written is what
 * was there when write() was called. */
TEST(many_small_writes_arrive_as_they_were)
{
    enum { N = 100, BYTES = 10000 };
    uint8_t *to[N], text[BYTES], back[BYTES];
    for (size_t i = 0; i < N; i++) {
        to[i] = need(api->alloc(device, BYTES));
        memset(text, (int)i, sizeof text);
        good(api->write(device, to[i], text, sizeof text));
    }
    for (size_t i = 0; i < N; i++) {
        memset(text, (int)i, sizeof text);
        good(api->read(device, back, to[i], sizeof back));
        assert_memory_equal(back, text, sizeof text);
        api->free(device, to[i]);
    }
}

/* A failure while a step is recorded: no graph, and afterwards everything works again. */
TEST(a_failure_within_a_recording_leaves_a_usable_device)
{
    float *x = need(api->alloc(device, 64)), y[4];
    good(api->zero(device, x, 64));
    good(api->graph_begin(device));
    api->inject(device, BITNET_CUDA_FAULT_LAUNCH, 2);
    good(api->add(device, vectors(x, 4, 4), vectors(x, 4, 4), 1));
    assert_false(api->add(device, vectors(x, 4, 4), vectors(x, 4, 4), 1));
    assert_null(api->graph_end(device));
    api->clear_error(device);
    good(api->graph_begin(device));
    good(api->add(device, vectors(x, 4, 4), vectors(x, 4, 4), 1));
    struct bitnet_cuda_graph *graph = need(api->graph_end(device));
    good(api->graph_run(device, graph));
    read_floats(y, x, 4);
    api->graph_free(device, graph);
    api->free(device, x);
}

TEST(an_ordered_failure_is_told_and_sticks)
{
    float *x = need(api->alloc(device, 64));
    api->inject(device, BITNET_CUDA_FAULT_LAUNCH, 2);
    good(api->zero(device, x, 64));
    good(api->add(device, vectors(x, 4, 4), vectors(x, 4, 4), 1));
    assert_false(api->add(device, vectors(x, 4, 4), vectors(x, 4, 4), 1));
    assert_non_null(strstr(api->last_error(device), "add"));
    float y[4];
    assert_false(api->read(device, y, x, sizeof y));
    api->clear_error(device);
    assert_string_equal(api->last_error(device), "");
    good(api->add(device, vectors(x, 4, 4), vectors(x, 4, 4), 1));
    api->inject(device, BITNET_CUDA_FAULT_ALLOC, 1);
    assert_null(api->alloc(device, 64));
    assert_non_null(strstr(api->last_error(device), "64 bytes"));
    api->clear_error(device);
    assert_null(api->alloc(device, (size_t)1 << 60));
    assert_non_null(strstr(api->last_error(device), "memory"));
    api->clear_error(device);
    api->free(device, x);
}

TEST(counters_rise_by_what_was_done)
{
    struct bitnet_cuda_stats before, after;
    api->stats(device, &before);
    float zeros[8] = {0}, *x = floats_on_device(zeros, 8);
    good(api->add(device, vectors(x, 8, 8), vectors(x, 8, 8), 1));
    good(api->add(device, vectors(x, 8, 8), vectors(x, 8, 8), 1));
    read_floats(zeros, x, 8);
    api->stats(device, &after);
    assert_int_equal(after.n_launches - before.n_launches, 2);
    assert_int_equal(after.bytes_to_device - before.bytes_to_device, 32);
    assert_int_equal(after.bytes_to_host - before.bytes_to_host, 32);
    assert_int_equal(after.memory_used - before.memory_used, 32);
    api->free(device, x);
    api->reset_stats(device);
    api->stats(device, &after);
    assert_int_equal(after.n_launches, 0);
    assert_int_equal(after.memory_used, before.memory_used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recorded_step_runs_again_on_new_input),
        cmocka_unit_test(many_small_writes_arrive_as_they_were),
        cmocka_unit_test(a_failure_within_a_recording_leaves_a_usable_device),
        cmocka_unit_test(an_ordered_failure_is_told_and_sticks),
        cmocka_unit_test(counters_rise_by_what_was_done),
    };
    return cmocka_run_group_tests_name("cuda step", tests, open_device, close_device);
}
