/* tuning.c: what is written is read back, on the machine that it is of and nowhere else. */
#include "cm.h"

#include "temp_dir.h"
#include "tuning.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/version.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

static struct temp_dir dir;
static struct machine here;
static struct tunings tunings;
static const char *path;

static int set_up(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    path = temp_dir_file(&dir, "a/b/tuning.json");
    machine_detect(&here, "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

static struct tuning entry(const char *shape, const char *kernels, unsigned threads)
{
    struct tuning t = {.threads = threads,
                       .batch = 128,
                       .prompt_rate = 500.5,
                       .generate_rate = 30,
                       .default_prompt_rate = 400,
                       .default_generate_rate = 29};
    snprintf(t.shape, sizeof t.shape, "%s", shape);
    snprintf(t.kernels, sizeof t.kernels, "%s", kernels);
    return t;
}

static void write_entry(const char *shape, const char *kernels, unsigned threads)
{
    struct bitnet_error err = {0};
    const struct tuning t = entry(shape, kernels, threads);
    if (tuning_write(path, &here, &t, &err)) fail_msg("%s", err.text);
}

static enum bitnet_status read_file(const struct machine *machine, struct bitnet_error *err)
{
    return tuning_read(path, machine, &tunings, err);
}

TEST(the_user_s_file_lies_in_the_cache_folder)
{
    char text[TUNING_PATH_MAX];
    tuning_default_path(text, "/x/cache", "/home/u");
    assert_string_equal(text, "/x/cache/bitnet/tuning.json");
    tuning_default_path(text, NULL, "/home/u");
    assert_string_equal(text, "/home/u/.cache/bitnet/tuning.json");
    tuning_default_path(text, "relative", "/home/u"); /* the specification: to be ignored */
    assert_string_equal(text, "/home/u/.cache/bitnet/tuning.json");
    tuning_default_path(text, NULL, NULL);
    assert_string_equal(text, "");
}

TEST(what_is_written_is_read_back)
{
    struct bitnet_error err = {0};
    write_entry("one", "scalar", 3);
    write_entry("two", "avx2", 1);
    if (read_file(&here, &err)) fail_msg("%s", err.text);
    assert_int_equal(tunings.n_models, 2);
    const struct tuning *t = tuning_of(&tunings, "one"), want = entry("one", "scalar", 3);
    assert_memory_equal(t, &want, sizeof want);
    assert_null(tuning_of(&tunings, "three"));
    write_entry("one", "ssse3", 2); /* measured anew */
    assert_int_equal(read_file(&here, NULL), BITNET_OK);
    assert_int_equal(tunings.n_models, 2);
    assert_string_equal(tuning_of(&tunings, "one")->kernels, "ssse3");
}

TEST(it_begins_with_the_keys_that_launchers_read)
{
    struct bitnet_str text;
    write_entry("one", "scalar", 3);
    assert_int_equal(bitnet_read_file(path, 1 << 16, &text, NULL), BITNET_OK);
    cJSON *root = cJSON_Parse(text.at);
    assert_true(cJSON_IsString(cJSON_GetObjectItem(root, "cpu_variant")));
    assert_non_null(cJSON_GetObjectItem(root, "gpu_variant"));
    assert_string_equal(cJSON_GetObjectItem(root, "platform")->valuestring, "Linux");
    cJSON_Delete(root);
    bitnet_free((void *)(uintptr_t)text.at);
}

TEST(a_profile_of_another_machine_is_refused_and_begun_anew)
{
    struct bitnet_error err;
    struct machine other = here;
    write_entry("one", "scalar", 3);
    snprintf(other.brand, sizeof other.brand, "another chip");
    assert_int_equal(read_file(&other, &err), BITNET_CHECK);
    assert_text_has(err.text, "another CPU");
    assert_text_has(err.text, path);
    assert_int_equal(tunings.n_models, 0);
    other = here;
    other.chip.features ^= 1;
    assert_int_equal(read_file(&other, &err), BITNET_CHECK);
    other = here;
    other.cores.n_physical++;
    assert_int_equal(read_file(&other, &err), BITNET_CHECK);
    assert_text_has(err.text, "cores, here are");
    const struct tuning t = entry("two", "scalar", 1);
    assert_int_equal(tuning_write(path, &other, &t, NULL), BITNET_OK);
    assert_int_equal(read_file(&other, NULL), BITNET_OK);
    assert_int_equal(tunings.n_models, 1);
}

/* The file with one piece of its text replaced. */
static void change(const char *from, const char *to)
{
    struct bitnet_str text;
    char out[8192];
    assert_int_equal(bitnet_read_file(path, sizeof out, &text, NULL), BITNET_OK);
    const char *at = strstr(text.at, from);
    assert_non_null(at);
    int n =
        snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text.at), text.at, to, at + strlen(from));
    bitnet_free((void *)(uintptr_t)text.at);
    temp_dir_write(&dir, "a/b/tuning.json", out, (size_t)n);
}

TEST(damage_is_named_and_never_used)
{
    static const struct {
        const char *from, *to;
        enum bitnet_status status;
        const char *words;
    } rows[] = {
        {"\"schema\":\t1", "\"schema\":\t2", BITNET_FORMAT, "no tuning profile"},
        {"\"models\"", "\"odels\"", BITNET_FORMAT, "no tuning profile"},
        {BITNET_VERSION, "0.0.1", BITNET_CHECK, "version '0.0.1'"},
        {"\"threads\":\t3", "\"threads\":\t0", BITNET_FORMAT, "threads"},
        {"\"batch\":\t128", "\"batch\":\t-1", BITNET_FORMAT, "batch"},
        {"\"scalar\"", "\"pentium\"", BITNET_FORMAT, "kernels"},
        {"\"shape\":\t\"one\"", "\"shape\":\t1", BITNET_FORMAT, "shape"},
        {"{", "[", BITNET_FORMAT, "tuning.json"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bitnet_error err;
        remove(path);
        write_entry("one", "scalar", 3);
        change(rows[i].from, rows[i].to);
        enum bitnet_status status = read_file(&here, &err);
        if (status != rows[i].status) fail_msg("%zu: %d, %s", i, status, err.text);
        assert_text_has(err.text, rows[i].words);
        assert_int_equal(tunings.n_models, 0);
    }
}

TEST(what_is_no_profile_is_not_replaced)
{
    const struct tuning t = entry("one", "scalar", 3);
    struct bitnet_str text;
    write_entry("one", "scalar", 3); /* makes the folders */
    temp_dir_write(&dir, "a/b/tuning.json", "{\"mine\": 1}", 11);
    assert_int_equal(tuning_write(path, &here, &t, NULL), BITNET_FORMAT);
    assert_int_equal(bitnet_read_file(path, 64, &text, NULL), BITNET_OK);
    assert_string_equal(text.at, "{\"mine\": 1}");
    bitnet_free((void *)(uintptr_t)text.at);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(the_user_s_file_lies_in_the_cache_folder),
        IN_FOLDER(what_is_written_is_read_back),
        IN_FOLDER(it_begins_with_the_keys_that_launchers_read),
        IN_FOLDER(a_profile_of_another_machine_is_refused_and_begun_anew),
        IN_FOLDER(damage_is_named_and_never_used),
        IN_FOLDER(what_is_no_profile_is_not_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
