/* bench_report.c and machine.c: a real slowdown is caught and noise is not; chips by signature. */
#include "cm.h"

#include "bench_report.h"
#include "temp_dir.h"

#include <math.h>
#include <stdio.h>

static struct bench_table table_of(double mean, double deviation)
{
    struct bench_table table = {.n_rows = 1};
    struct bench_row *row = &table.rows[0];
    *row = (struct bench_row){.test = "tg128",
                              .model = "m.gguf",
                              .type = "I2_S",
                              .arch = "bitnet",
                              .kernels = "avx2",
                              .threads = 2,
                              .perplexity = NAN};
    row->result = (struct bitnet_bench_result){
        .n_repeats = 5, .mean = mean, .deviation = deviation, .median = mean, .best = mean};
    return table;
}

/* The verdict on a run of `mean` when an earlier one had 100 +- 1. */
static enum bitnet_status verdict(double mean, double deviation, struct bitnet_error *err)
{
    static struct bench_table table;
    struct temp_dir dir;
    const char old[] = "{\"tests\":[{\"test\":\"tg128\",\"model\":\"m.gguf\",\"type\":\"I2_S\","
                       "\"kernels\":\"avx2\",\"threads\":2,\"tokens_per_second\":100,"
                       "\"deviation\":1,\"median\":100}]}";
    temp_dir_make(&dir);
    temp_dir_write(&dir, "old.json", old, sizeof old - 1);
    table = table_of(mean, deviation);
    enum bitnet_status status = bench_compare(&table, temp_dir_file(&dir, "old.json"), 0.05, err);
    temp_dir_remove(&dir);
    return status;
}

TEST(ten_percent_slower_is_caught)
{
    struct bitnet_error err;
    assert_int_equal(verdict(90, 1, &err), BITNET_CHECK);
    assert_text_has(err.text, "1 of 1 tests are slower by more than 5%");
}

TEST(one_percent_of_noise_is_not)
{
    assert_int_equal(verdict(99, 1, NULL), BITNET_OK);
    assert_int_equal(verdict(101, 1, NULL), BITNET_OK);
}

TEST(a_slowdown_within_the_spread_of_the_runs_is_not)
{
    assert_int_equal(verdict(90, 12, NULL), BITNET_OK);
}

TEST(faster_is_fine)
{
    assert_int_equal(verdict(150, 1, NULL), BITNET_OK);
}

TEST(another_thread_count_is_another_test)
{
    struct bitnet_error err;
    struct temp_dir dir;
    static struct bench_table table;
    const char old[] = "{\"tests\":[{\"test\":\"tg128\",\"model\":\"m.gguf\",\"type\":\"I2_S\","
                       "\"kernels\":\"avx2\",\"threads\":1,\"tokens_per_second\":100,"
                       "\"deviation\":1,\"median\":100}]}";
    temp_dir_make(&dir);
    temp_dir_write(&dir, "old.json", old, sizeof old - 1);
    table = table_of(10, 1);
    assert_int_equal(bench_compare(&table, temp_dir_file(&dir, "old.json"), 0.05, &err),
                     BITNET_FORMAT);
    assert_text_has(err.text, "no test in common");
    temp_dir_remove(&dir);
}

TEST(chips_are_known_by_their_signature)
{
    static const struct {
        const char *vendor;
        unsigned family, model, stepping;
        const char *name;
    } rows[] = {
        {"GenuineIntel", 6, 0x3f, 2, "haswell"},
        {"GenuineIntel", 6, 0x55, 4, "skylake-server"},
        {"GenuineIntel", 6, 0x55, 7, "cascadelake"},
        {"GenuineIntel", 6, 0x55, 11, "cooperlake"},
        {"GenuineIntel", 6, 0x8f, 8, "sapphirerapids"},
        {"GenuineIntel", 6, 0x9a, 3, "alderlake"},
        {"GenuineIntel", 6, 0xad, 0, "graniterapids"},
        {"AuthenticAMD", 0x17, 0x01, 2, "zen"},
        {"AuthenticAMD", 0x17, 0x31, 0, "zen2"},
        {"AuthenticAMD", 0x17, 0x71, 0, "zen2"},
        {"AuthenticAMD", 0x19, 0x01, 1, "zen3"},
        {"AuthenticAMD", 0x19, 0x21, 0, "zen3"},
        {"AuthenticAMD", 0x19, 0x11, 1, "zen4"},
        {"AuthenticAMD", 0x19, 0x61, 2, "zen4"},
        {"AuthenticAMD", 0x1a, 0x44, 0, "zen5"},
        {"HygonGenuine", 0x18, 0x00, 2, "dhyana"},
        {"GenuineIntel", 6, 0xff, 0, "unknown"},
        {"", 0, 0, 0, "unknown"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_string_equal(
            machine_architecture(rows[i].vendor, rows[i].family, rows[i].model, rows[i].stepping),
            rows[i].name);
}

TEST(memory_of_this_process_is_told)
{
    struct machine_memory memory;
    machine_memory(&memory);
    assert_true(memory.peak >= memory.own && memory.own > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_percent_slower_is_caught),
        cmocka_unit_test(one_percent_of_noise_is_not),
        cmocka_unit_test(a_slowdown_within_the_spread_of_the_runs_is_not),
        cmocka_unit_test(faster_is_fine),
        cmocka_unit_test(another_thread_count_is_another_test),
        cmocka_unit_test(chips_are_known_by_their_signature),
        cmocka_unit_test(memory_of_this_process_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
