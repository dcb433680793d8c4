/* --metadata: which members become which keys, what is left out with a word, what is refused, and
 * who wins when a key is said twice. */
#include "cm.h"

#include <stdio.h>

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/gguf.h"
#include "bitnet/text.h"
#include "checkpoint.h"
#include "metadata.h"
#include "temp_dir.h"

static struct temp_dir dir;
static struct bitnet_error err;
static char said[2048];

static void hear(void *user, enum bitnet_log_level level, const char *text)
{
    (void)user;
    if (level != BITNET_LOG_WARNING) return;
    size_t n = strlen(said);
    snprintf(said + n, sizeof said - n, "%s\n", text);
}

static const struct bitnet_log log_said = {.say = hear};

static enum bitnet_status parse(struct metadata *metadata, const char *text,
                                struct bitnet_arena *arena)
{
    said[0] = '\0';
    err = (struct bitnet_error){0};
    return metadata_parse(metadata, bitnet_str_of(text), arena, &log_said, &err);
}

static const struct bitnet_gguf_value *find(const struct metadata *metadata, const char *key)
{
    for (size_t i = 0; i < metadata->n_edits; i++)
        if (bitnet_str_is(metadata->edits[i].key, key)) return &metadata->edits[i].value;
    fail_msg("no key %s", key);
    return NULL;
}

TEST(members_become_keys_of_the_type_that_gguf_gives_them)
{
    struct bitnet_arena arena = {0};
    struct metadata m;
    const char *text =
        "{\"general.name\": \"Ternary \\u00e9\", \"general.author\": null,"
        " \"general.license\": [\"mit\", \"apache-2.0\"], \"general.tags\": [\"a\", \"b\"],"
        " \"general.sampling.top_k\": 40, \"general.sampling.temp\": 0.5,"
        " \"general.base_models\": [{\"name\": \"Base\", \"repo_url\": \"https://x/y\"}, {}],"
        " \"general.datasets\": []}";
    if (parse(&m, text, &arena)) fail_msg("%s", err.text);
    assert_string_equal(said, "");
    assert_true(bitnet_str_is(find(&m, "general.name")->text, "Ternary \xc3\xa9"));
    assert_true(bitnet_str_is(find(&m, "general.license")->text, "mit,apache-2.0"));
    const struct bitnet_gguf_value *tags = find(&m, "general.tags");
    assert_int_equal(tags->type, BITNET_GGUF_ARRAY);
    assert_int_equal(tags->n, 2);
    assert_true(bitnet_str_is(tags->strings[1], "b"));
    assert_int_equal(find(&m, "general.sampling.top_k")->type, BITNET_GGUF_I32);
    assert_int_equal(find(&m, "general.sampling.top_k")->i64, 40);
    assert_int_equal(find(&m, "general.sampling.temp")->type, BITNET_GGUF_F32);
    assert_true(find(&m, "general.sampling.temp")->f64 == 0.5);
    assert_int_equal(find(&m, "general.base_model.count")->u64, 2);
    assert_true(bitnet_str_is(find(&m, "general.base_model.0.name")->text, "Base"));
    assert_true(bitnet_str_is(find(&m, "general.base_model.0.repo_url")->text, "https://x/y"));
    assert_int_equal(find(&m, "general.dataset.count")->u64, 0);
    assert_int_equal(m.n_edits, 9); /* what is null is not there */
    bitnet_arena_free(&arena);
}

TEST(what_describes_no_model_is_left_out_with_a_word)
{
    struct bitnet_arena arena = {0};
    struct metadata m;
    const char *text = "{\"general.architecture\": \"llama\", \"llama.block_count\": 3,"
                       " \"general.url\": \"u\"}";
    if (parse(&m, text, &arena)) fail_msg("%s", err.text);
    assert_int_equal(m.n_edits, 1);
    assert_text_has(said, "'general.architecture' is no key that describes a model");
    assert_text_has(said, "'llama.block_count' is no key that describes a model");
    bitnet_arena_free(&arena);
}

TEST(values_of_another_kind_are_refused_by_place)
{
    static const char *const cases[][2] = {
        {"[]", "no JSON object"},
        {"{\"general.name\": 3}", "line 1 column 18: 'general.name' must be a text"},
        {"{\"general.tags\": \"a\"}", "'general.tags' must be a list of texts"},
        {"{\"general.tags\": [1]}", "'general.tags' must be a list of texts"},
        {"{\"general.sampling.top_k\": 1.5}", "must be a whole number of 32 bits"},
        {"{\"general.sampling.top_k\": 3000000000}", "must be a whole number of 32 bits"},
        {"{\"general.sampling.temp\": 1e300}", "must be a number"},
        {"{\"general.base_models\": {}}", "'general.base_models' must be a list of objects"},
        {"{\"general.base_models\": [\"x\"]}", "must be a list of objects"},
        {"{\"general.base_models\": [{\"name\": 1}]}",
         "'general.base_model.0.name' must be a text"},
        {"{\"general.name\"", "line 1"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bitnet_arena arena = {0};
        struct metadata m;
        assert_int_equal(parse(&m, cases[i][0], &arena), BITNET_FORMAT);
        assert_text_has(err.text, cases[i][1]);
        bitnet_arena_free(&arena);
    }
}

/* A converted file with --metadata, and what else is wished. */
static struct bitnet_gguf *convert(const char *json, struct bitnet_convert_options options)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_plan *plan = NULL;
    struct bitnet_gguf *gguf = NULL;
    char path[512];
    temp_dir_write(&dir, "metadata.json", json, strlen(json));
    snprintf(path, sizeof path, "%s", temp_dir_file(&dir, "metadata.json"));
    options.type = BITNET_DTYPE_i2_s;
    options.metadata = path;
    options.overwrite = true;
    cp_write(cp, dir.path);
    if (bitnet_plan_new(&plan, dir.path, &options, &err)) fail_msg("%s", err.text);
    if (!options.name) assert_text_has(bitnet_plan_file_name(plan), "Named");
    if (bitnet_plan_run(plan, temp_dir_file(&dir, "a.gguf"), &err)) fail_msg("%s", err.text);
    bitnet_plan_free(plan);
    cp_free(cp);
    if (bitnet_gguf_open(&gguf, temp_dir_file(&dir, "a.gguf"), NULL, &err))
        fail_msg("%s", err.text);
    return gguf;
}

static void expect_text(const struct bitnet_gguf *gguf, const char *key, const char *text)
{
    const struct bitnet_gguf_value *value = bitnet_gguf_find(gguf, bitnet_str_of(key));
    assert_non_null(value);
    assert_true(bitnet_str_is(value->text, text));
}

TEST(the_file_says_it_and_single_keys_win_over_it)
{
    const char *json = "{\"general.name\": \"Named\", \"general.author\": \"Ada\","
                       " \"general.url\": \"u\", \"general.size_label\": \"9B\"}";
    struct bitnet_gguf_edit edit;
    assert_int_equal(bitnet_gguf_edit_parse(&edit, BITNET_STR("general.url=string:v"), &err), 0);
    struct bitnet_gguf *gguf =
        convert(json, (struct bitnet_convert_options){.edits = &edit, .n_edits = 1});
    expect_text(gguf, "general.name", "Named");
    expect_text(gguf, "general.author", "Ada");
    expect_text(gguf, "general.url", "v");
    expect_text(gguf, "general.size_label", "9B");
    bitnet_gguf_close(gguf);
    gguf = convert(json, (struct bitnet_convert_options){.name = "Mine"});
    expect_text(gguf, "general.name", "Mine");
    bitnet_gguf_close(gguf);
}

TEST(every_allocation_that_fails_is_told_as_memory)
{
    enum bitnet_status status = BITNET_MEMORY;
    const char *text = "{\"general.name\": \"n\", \"general.license\": [\"a\", \"b\"],"
                       " \"general.base_models\": [{\"name\": \"x\"}]}";
    long live = bitnet_alloc_live();
    for (long n = 0; status; n++) {
        struct bitnet_arena arena = {0};
        struct metadata m;
        bitnet_alloc_fail_at(n);
        status = parse(&m, text, &arena);
        bitnet_alloc_fail_at(-1);
        bitnet_arena_free(&arena);
        assert_int_equal(bitnet_alloc_live(), live);
        if (status) assert_int_equal(status, BITNET_MEMORY);
    }
}

static int begin(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(members_become_keys_of_the_type_that_gguf_gives_them),
        T(what_describes_no_model_is_left_out_with_a_word),
        T(values_of_another_kind_are_refused_by_place),
        T(the_file_says_it_and_single_keys_win_over_it),
        T(every_allocation_that_fails_is_told_as_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
