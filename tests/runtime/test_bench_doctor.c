/* bench_doctor.c: each of the five ways in which a model cannot run has its own answer, and what
 * hangs on it is not looked at. */
#include "cm.h"

#include "bench_doctor.h"
#include "temp_dir.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct temp_dir dir;
static char path[sizeof dir.path + 32];

static int make_model(void **s)
{
    (void)s;
    const struct tiny_spec spec = tiny_spec_b158();
    struct tiny_model *m = tiny_model_new(&spec);
    temp_dir_make(&dir);
    snprintf(path, sizeof path, "%s/model.gguf", dir.path);
    const struct tiny_file file = {.linear = BITNET_DTYPE_i2_s,
                                   .embed = BITNET_DTYPE_f16,
                                   .dialect = BITNET_DIALECT_BITNETCPP};
    const bool ok = tiny_model_write(m, path, &file);
    tiny_model_free(m);
    return ok ? 0 : -1;
}

static int remove_model(void **s)
{
    (void)s;
    temp_dir_remove(&dir);
    return 0;
}

/* One word per check: o, F, - (not looked at). */
static void examine(const char *file, uint64_t free_bytes, uint64_t limit_bytes, const char *want,
                    struct doctor_line lines[DOCTOR_CHECKS])
{
    const struct machine machine = {.memory_free_bytes = free_bytes,
                                    .memory_limit_bytes = limit_bytes};
    char got[DOCTOR_CHECKS + 1] = "";
    const unsigned n_failed = doctor_examine(file, &machine, "avx2", 4096, lines);
    for (int i = 0; i < DOCTOR_CHECKS; i++) got[i] = "-oF"[lines[i].answer];
    assert_string_equal(got, want);
    assert_int_equal(n_failed, strchr(want, 'F') ? 1 : 0);
}

TEST(a_good_model_passes_all_five)
{
    struct doctor_line lines[DOCTOR_CHECKS];
    examine(path, 1 << 30, 0, "ooooo", lines);
    assert_text_has(lines[1].text, "bitnet-b1.58");
    assert_text_has(lines[2].text, "I2_S");
    assert_text_has(lines[4].text, "avx2");
}

TEST(a_missing_file_is_the_files_fault)
{
    struct doctor_line lines[DOCTOR_CHECKS];
    examine("/nowhere/model.gguf", 1 << 30, 0, "F---o", lines);
    assert_text_has(lines[0].text, "/nowhere/model.gguf");
}

TEST(another_magic_and_a_cut_directory_are_the_formats_fault)
{
    struct doctor_line lines[DOCTOR_CHECKS];
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fputs("GGML", f);
    fclose(f);
    examine(path, 1 << 30, 0, "oF--o", lines);
    assert_text_has(lines[1].text, "not a GGUF");
    f = fopen(path, "r+b");
    assert_non_null(f);
    fputs("GGUF", f);
    fclose(f);
    assert_int_equal(truncate(path, 1000), 0);
    examine(path, 1 << 30, 0, "oF--o", lines);
}

/* The type's number stands behind the name, the number of dimensions and two of them. */
TEST(an_unknown_type_is_named)
{
    static char bytes[1 << 20];
    static const char name[] = "blk.0.attn_q.weight";
    struct doctor_line lines[DOCTOR_CHECKS];
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    size_t at = 0;
    while (at + sizeof name < n && memcmp(bytes + at, name, sizeof name - 1) != 0) at++;
    fseek(f, (long)(at + sizeof name - 1 + 4 + 16), SEEK_SET);
    fwrite("\x0f\x27\0\0", 1, 4, f); /* 9999 */
    fclose(f);
    examine(path, 1 << 30, 0, "ooF-o", lines);
    assert_text_has(lines[2].text, "9999");
}

TEST(too_little_memory_is_said_with_a_way_out)
{
    struct doctor_line lines[DOCTOR_CHECKS];
    examine(path, 1000, 0, "oooFo", lines);
    assert_text_has(lines[3].text, "--cache-type q8_0");
    examine(path, 1 << 30, 1000, "oooFo", lines);
    assert_text_has(lines[3].text, "control group");
}

TEST(json_has_what_the_lines_say)
{
    struct doctor_line lines[DOCTOR_CHECKS];
    examine("/nowhere/model.gguf", 1 << 30, 0, "F---o", lines);
    cJSON *model = doctor_as_json("/nowhere/model.gguf", lines);
    const cJSON *checks = cJSON_GetObjectItem(model, "checks");
    assert_int_equal(cJSON_GetArraySize(checks), DOCTOR_CHECKS);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(cJSON_GetArrayItem(checks, 0), "ok")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(cJSON_GetArrayItem(checks, 1), "ok")));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(cJSON_GetArrayItem(checks, 4), "ok")));
    cJSON_Delete(model);
}

#define WITH_MODEL(test) cmocka_unit_test_setup_teardown(test, make_model, remove_model)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MODEL(a_good_model_passes_all_five),
        WITH_MODEL(a_missing_file_is_the_files_fault),
        WITH_MODEL(another_magic_and_a_cut_directory_are_the_formats_fault),
        WITH_MODEL(an_unknown_type_is_named),
        WITH_MODEL(too_little_memory_is_said_with_a_way_out),
        WITH_MODEL(json_has_what_the_lines_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
