/* bench_report.c, bench_json.c, bench_compare.c: a real slowdown is caught and noise is not; what
 * is printed is what is documented. */
#include "cm.h"

#include "bench_limits.h"
#include "bench_report.h"
#include "temp_dir.h"

#include "bitnet/alloc.h"
#include "bitnet/cpu.h"
#include "bitnet/file.h"

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
                              .cache_type = "f16",
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

/* ------------------------------------------------------------------ the documented JSON */

/* Enough of JSON Schema (2020-12) for docs/bench.schema.json: type, required, properties,
 * additionalProperties, items, minimum, $ref to $defs. A violation is named by its path. */
static void check_value(const cJSON *root, const cJSON *schema, const cJSON *value,
                        const char *path);

static bool has_type(const cJSON *value, const char *type)
{
    if (strcmp(type, "object") == 0) return cJSON_IsObject(value);
    if (strcmp(type, "array") == 0) return cJSON_IsArray(value);
    if (strcmp(type, "string") == 0) return cJSON_IsString(value);
    if (strcmp(type, "boolean") == 0) return cJSON_IsBool(value);
    if (strcmp(type, "null") == 0) return cJSON_IsNull(value);
    if (strcmp(type, "integer") == 0)
        return cJSON_IsNumber(value) && value->valuedouble == floor(value->valuedouble);
    return strcmp(type, "number") == 0 && cJSON_IsNumber(value);
}

static void check_type(const cJSON *type, const cJSON *value, const char *path)
{
    bool ok = type->child == NULL && has_type(value, type->valuestring);
    for (const cJSON *one = type->child; one; one = one->next)
        ok |= has_type(value, one->valuestring);
    if (!ok) fail_msg("%s has another type", path);
}

static void check_members(const cJSON *root, const cJSON *schema, const cJSON *value,
                          const char *path)
{
    const cJSON *properties = cJSON_GetObjectItem(schema, "properties"), *item;
    const cJSON *others = cJSON_GetObjectItem(schema, "additionalProperties");
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(schema, "required"))
    {
        if (!cJSON_GetObjectItemCaseSensitive(value, item->valuestring))
            fail_msg("%s lacks %s", path, item->valuestring);
    }
    cJSON_ArrayForEach(item, value)
    {
        char inner[300];
        snprintf(inner, sizeof inner, "%s.%s", path, item->string);
        const cJSON *known = cJSON_GetObjectItemCaseSensitive(properties, item->string);
        if (!known && cJSON_IsFalse(others)) fail_msg("%s is not documented", inner);
        if (known && !cJSON_GetObjectItem(known, "description") &&
            !cJSON_GetObjectItem(known, "$ref"))
            fail_msg("%s has no description", inner);
        if (!known && cJSON_IsObject(others)) known = others;
        if (known) check_value(root, known, item, inner);
    }
}

static void check_value(const cJSON *root, const cJSON *schema, const cJSON *value,
                        const char *path)
{
    const cJSON *reference = cJSON_GetObjectItem(schema, "$ref"), *item;
    if (reference)
        schema = cJSON_GetObjectItem(cJSON_GetObjectItem(root, "$defs"),
                                     strrchr(reference->valuestring, '/') + 1);
    assert_non_null(schema);
    const cJSON *type = cJSON_GetObjectItem(schema, "type");
    const cJSON *minimum = cJSON_GetObjectItem(schema, "minimum");
    if (type) check_type(type, value, path);
    if (minimum && value->valuedouble < minimum->valuedouble)
        fail_msg("%s is %g, below %g", path, value->valuedouble, minimum->valuedouble);
    if (cJSON_IsObject(value)) check_members(root, schema, value, path);
    if (!cJSON_IsArray(value)) return;
    cJSON_ArrayForEach(item, value)
    {
        char inner[300];
        snprintf(inner, sizeof inner, "%s[]", path);
        check_value(root, cJSON_GetObjectItem(schema, "items"), item, inner);
    }
}

static cJSON *read_schema(void)
{
    struct bitnet_str text;
    assert_int_equal(
        bitnet_read_file(BITNET_SOURCE_DIR "/docs/bench.schema.json", 1 << 20, &text, NULL),
        BITNET_OK);
    cJSON *schema = cJSON_ParseWithLength(text.at, text.n);
    bitnet_free((void *)(uintptr_t)text.at);
    assert_non_null(schema);
    return schema;
}

static const char *const record_names[] = {"variant",
                                           "model",
                                           "n_threads",
                                           "context_size",
                                           "prompt_tokens",
                                           "generated_tokens",
                                           "prompt_time_ms",
                                           "generation_time_ms",
                                           "total_time_ms",
                                           "prompt_tokens_per_sec",
                                           "generation_tokens_per_sec",
                                           "total_tokens_per_sec",
                                           "memory_used_mb"};

TEST(the_json_is_the_documented_one)
{
    static struct bench_table table;
    static struct machine machine;
    machine_detect(&machine, "");
    table = table_of(100, 1);
    struct bench_row *row = &table.rows[0];
    row->peaks = (struct bench_peaks){.gb_per_s = 30, .int8_gops = 2000, .ternary_gops = 1000};
    row->n_prompt = 16;
    row->n_generate = 4;
    row->n_sequences = 3;
    row->result.prompt_ms = 50;
    row->result.generate_ms = 150;
    row->result.joules = 3;
    row->result.costs[BITNET_OP_ternary] = (struct bitnet_op_cost){1, 2, 3, 4};
    row->perplexity = 17.1;
    snprintf(row->sha256, sizeof row->sha256, "%s", "00");
    cJSON *schema = read_schema();
    for (int with_profile = 0; with_profile < 2; with_profile++) {
        const struct bench_run run = {
            .machine = &machine, .cpu = UINT32_MAX, .has_profile = with_profile};
        cJSON *json = bench_as_json(&table, &run);
        check_value(schema, schema, json, "result");
        const cJSON *test = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "tests"), 0);
        for (size_t i = 0; i < COUNT(record_names); i++)
            if (!cJSON_GetObjectItemCaseSensitive(test, record_names[i]))
                fail_msg("no %s", record_names[i]);
        assert_float_equal(cJSON_GetObjectItem(test, "prompt_tokens_per_sec")->valuedouble, 960,
                           1e-9);
        assert_float_equal(cJSON_GetObjectItem(test, "total_time_ms")->valuedouble, 200, 1e-9);
        cJSON_Delete(json);
    }
    cJSON_Delete(schema);
}

TEST(the_loops_of_the_limits_do_what_they_say)
{
    static const char *const levels[] = {"avx2", "avxvnni", "avx512vnni", "amx", "dotprod"};
    static uint8_t bytes[4096] __attribute__((aligned(64)));
    memset(bytes, 1, sizeof bytes);
    assert_true(limit_read(bytes, sizeof bytes) == 512 * UINT64_C(0x0101010101010101));
    assert_null(limit_products(0));
    for (size_t i = 0; i < COUNT(levels); i++) {
        uint32_t mask, cpu = bitnet_cpu_detect();
        double n_ops = 0;
        assert_true(bitnet_cpu_mask(levels[i], &mask));
        limit_products_fn *run = limit_products(cpu & mask);
        if (!run) continue;
        int32_t sum = run(&n_ops);
        print_message("%s: %.0f operations, %d\n", levels[i], n_ops, (int)sum);
        assert_true(n_ops > 1e6);
        /* Twelve sums that begin with 0 .. 11; products of 1, two per element of 16 bits, four per
         * element of 32, in tiles 64. */
        const int32_t pairs = (66 + 2 * 12 * 100000) & 0xffff, fours = 66 + 4 * 12 * 100000;
        if (run == limit_products(BITNET_CPU_AVX2)) assert_int_equal(sum, pairs);
        if (run == limit_products(BITNET_CPU_AVXVNNI)) assert_int_equal(sum, fours);
        if (run == limit_products(BITNET_CPU_AVX512VNNI)) assert_int_equal(sum, 16 * fours);
        if (run == limit_products(BITNET_CPU_AMXINT8)) assert_int_equal(sum, 64 * 100000 / 8);
    }
}

TEST(this_program_has_a_build_id)
{
    char hex[65];
    machine_build_id(hex, sizeof hex);
    print_message("build id %s\n", hex);
    assert_true(strlen(hex) == strspn(hex, "0123456789abcdef"));
    machine_build_id(hex, 4); /* no room: nothing, rather than a part */
    assert_string_equal(hex, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_percent_slower_is_caught),
        cmocka_unit_test(one_percent_of_noise_is_not),
        cmocka_unit_test(a_slowdown_within_the_spread_of_the_runs_is_not),
        cmocka_unit_test(faster_is_fine),
        cmocka_unit_test(another_thread_count_is_another_test),
        cmocka_unit_test(the_json_is_the_documented_one),
        cmocka_unit_test(the_loops_of_the_limits_do_what_they_say),
        cmocka_unit_test(this_program_has_a_build_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
