/* Patterns as in Python's fnmatch, and what an engine reads by default. */
#include "cm.h"

#include <bitnet/alloc.h>

#include "select.h"

static const char *const files[] = {"config.json",       "a/config.json", "a/b/x.safetensors",
                                    "model.SAFETENSORS", "[x].json",      ".gitattributes"};

static void assert_matches(const char *pattern, unsigned want) /* one bit per file */
{
    for (size_t i = 0; i < COUNT(files); i++) {
        bool got = hub_pattern_match(bitnet_str_of(pattern), bitnet_str_of(files[i]));
        if (got != ((want >> i & 1) != 0)) fail_msg("%s against %s", pattern, files[i]);
    }
}

TEST(patterns_match_as_in_python)
{
    assert_matches("*.json", 1 | 2 | 16);
    assert_matches("a/*", 2 | 4);
    assert_matches("a/", 2 | 4);
    assert_matches("a\\", 2 | 4);
    assert_matches("*/", 2 | 4);
    assert_matches("**/*.json", 2);
    assert_matches("[[]x].json", 16);
    assert_matches("*.safetensors", 4);
    assert_matches("?onfig.json", 1);
    assert_matches("[!c]*", 2 | 4 | 8 | 16 | 32);
    assert_matches("[a-c]*", 1 | 2 | 4);
    assert_matches("[x", 0);
    assert_matches("*", 63);
    assert_matches("", 0);
}

TEST(many_stars_cost_no_more_than_the_product_of_the_lengths)
{
    char path[1000], pattern[200];
    memset(path, 'a', sizeof path);
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = i % 2 ? 'a' : '*';
    pattern[sizeof pattern - 1] = 'b';
    assert_false(hub_pattern_match((struct bitnet_str){pattern, sizeof pattern},
                                   (struct bitnet_str){path, sizeof path}));
}

static void fill(struct hub_tree *tree, const char *const *names, size_t n)
{
    *tree = (struct hub_tree){0};
    for (size_t i = 0; i < n; i++)
        assert_int_equal(hub_tree_add(tree,
                                      (struct hub_tree_file){
                                          .path = names[i],
                                          .blob_id = "0123456789012345678901234567890123456789"},
                                      NULL),
                         BITNET_OK);
    hub_tree_finish(tree);
}

static enum bitnet_status select_plain(const char *const *names, size_t n, struct hub_selection *s,
                                       struct bitnet_error *err)
{
    struct hub_tree tree;
    struct bitnet_hub_pull_options options = {0};
    fill(&tree, names, n);
    enum bitnet_status status = hub_select(s, &tree, &options, err);
    bitnet_free(s->index);
    hub_tree_free(&tree);
    return status;
}

TEST(an_engine_reads_weights_configuration_and_tokenizer)
{
    struct hub_selection s;
    struct bitnet_error err;
    static const char *const shards[] = {"config.json",
                                         "tokenizer.json",
                                         "LICENSE.txt",
                                         "README.md",
                                         ".gitattributes",
                                         "logo.png",
                                         "model-00001-of-00002.safetensors",
                                         "model-00002-of-00002.safetensors",
                                         "model.safetensors.index.json",
                                         "onnx/model.onnx",
                                         "modules.json",
                                         "1_Pooling/config.json",
                                         "2_Dense/config.json",
                                         "a/1_Pooling/config.json",
                                         "adapter.safetensors",
                                         "x.gguf"};
    assert_int_equal(select_plain(shards, COUNT(shards), &s, &err), BITNET_OK);
    assert_int_equal(s.n, 9);
    static const char *const one_gguf[] = {"README.md", "ggml-model-i2_s.gguf", "data.json"};
    assert_int_equal(select_plain(one_gguf, COUNT(one_gguf), &s, &err), BITNET_OK);
    assert_int_equal(s.n, 2);
    static const char *const two_gguf[] = {"README.md", "a.gguf", "b.gguf"};
    assert_int_equal(select_plain(two_gguf, COUNT(two_gguf), &s, &err), BITNET_NOT_FOUND);
    assert_text_has(err.text, "2 GGUF files");
    static const char *const pickles[] = {"pytorch_model.bin", "train.py"};
    assert_int_equal(select_plain(pickles, COUNT(pickles), &s, &err), BITNET_POLICY);
    assert_text_has(err.hint, "--allow-unsafe");
}

TEST(unsafe_files_are_known_by_their_endings_in_any_case)
{
    assert_true(hub_is_unsafe(BITNET_STR("a/pytorch_model.BIN")));
    assert_true(hub_is_unsafe(BITNET_STR("modeling_bitnet.py")));
    assert_false(hub_is_unsafe(BITNET_STR("bin")));
    assert_false(hub_is_unsafe(BITNET_STR("model.safetensors")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_in_python),
        cmocka_unit_test(many_stars_cost_no_more_than_the_product_of_the_lengths),
        cmocka_unit_test(an_engine_reads_weights_configuration_and_tokenizer),
        cmocka_unit_test(unsafe_files_are_known_by_their_endings_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
