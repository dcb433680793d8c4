/* Names from outside: repositories, revisions, files, hashes, folders; and the line they come on.
 */
#include "cm.h"

#include "names.h"

static bool parse(const char *text, struct bitnet_hub_ref *ref)
{
    return bitnet_hub_ref_parse(ref, bitnet_str_of(text), NULL) == BITNET_OK;
}

TEST(a_reference_has_a_repository_and_maybe_a_revision_and_a_file)
{
    static const struct {
        const char *text, *repo, *revision, *file;
        enum bitnet_hub_type type;
    } cases[] = {
        {"gpt2", "gpt2", "main", "", BITNET_HUB_MODEL},
        {"org/model", "org/model", "main", "", BITNET_HUB_MODEL},
        {"org/model@v1.0", "org/model", "v1.0", "", BITNET_HUB_MODEL},
        {"org/model@refs/pr/1:a/b.json", "org/model", "refs/pr/1", "a/b.json", BITNET_HUB_MODEL},
        {"org/model:a b.gguf", "org/model", "main", "a b.gguf", BITNET_HUB_MODEL},
        {"hf:org/model:x.gguf@dev", "org/model", "dev", "x.gguf", BITNET_HUB_MODEL},
        {"hf://org/model", "org/model", "main", "", BITNET_HUB_MODEL},
        {"hf://datasets/org/set@v2/dir/x", "org/set", "v2", "dir/x", BITNET_HUB_DATASET},
        {"hf://org/model@refs/pr/7/config.json", "org/model", "refs/pr/7", "config.json",
         BITNET_HUB_MODEL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bitnet_hub_ref ref;
        if (!parse(cases[i].text, &ref)) fail_msg("%s is refused", cases[i].text);
        assert_string_equal(ref.repo, cases[i].repo);
        assert_string_equal(ref.revision, cases[i].revision);
        assert_string_equal(ref.file, cases[i].file);
        assert_int_equal(ref.type, cases[i].type);
    }
}

TEST(a_reference_that_could_lead_astray_is_refused)
{
    static const char *const cases[] = {"",
                                        "/",
                                        "a/b/c",
                                        "../x",
                                        "a/..",
                                        "-a/b",
                                        "a/b-",
                                        "a--b/c",
                                        "a..b/c",
                                        "a/b.git",
                                        "a b/c",
                                        "org/model@",
                                        "org/model@../x",
                                        "org/model@a//b",
                                        "org/model@/x",
                                        "org/model:",
                                        "org/model:../x",
                                        "org/model:/etc/passwd",
                                        "org/model:a\\b",
                                        "org/model:.git/config",
                                        "org/model:~/x",
                                        "org/model:a/./b",
                                        "hf://",
                                        "hf:///x",
                                        "org/model@v1:",
                                        "\xc3\xa9/x"};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bitnet_hub_ref ref;
        if (parse(cases[i], &ref)) fail_msg("%s is taken", cases[i]);
    }
    struct bitnet_hub_ref ref;
    assert_int_not_equal(bitnet_hub_ref_parse(&ref, BITNET_STR("org/mo\0del"), NULL), BITNET_OK);
    char long_name[400];
    memset(long_name, 'a', sizeof long_name);
    assert_int_not_equal(
        bitnet_hub_ref_parse(&ref, (struct bitnet_str){long_name, sizeof long_name}, NULL),
        BITNET_OK);
}

TEST(a_path_is_never_mistaken_for_a_repository)
{
    assert_true(bitnet_hub_ref_plausible(BITNET_STR("org/model")));
    assert_true(bitnet_hub_ref_plausible(BITNET_STR("org/model@v1:x.gguf")));
    assert_false(bitnet_hub_ref_plausible(BITNET_STR("model.gguf")));
    assert_false(bitnet_hub_ref_plausible(BITNET_STR("./org/model")));
    assert_false(bitnet_hub_ref_plausible(BITNET_STR("/models/x")));
    assert_false(bitnet_hub_ref_plausible(BITNET_STR("~/x")));
    assert_false(bitnet_hub_ref_plausible(BITNET_STR("")));
}

TEST(hashes_are_lower_case_and_of_the_right_length)
{
    assert_true(hub_is_commit(BITNET_STR("0123456789abcdef0123456789abcdef01234567")));
    assert_false(hub_is_commit(BITNET_STR("0123456789abcdef0123456789abcdef0123456")));
    assert_false(hub_is_commit(BITNET_STR("0123456789ABCDEF0123456789abcdef01234567")));
    assert_false(hub_is_commit(BITNET_STR("../../../../../../../../../../etc/passwd")));
    assert_true(hub_is_etag(
        BITNET_STR("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")));
    assert_false(hub_is_etag(BITNET_STR("0123456789abcdef")));
    assert_false(hub_is_etag(BITNET_STR("")));
}

TEST(folders_of_the_cache_are_named_as_huggingface_hub_names_them)
{
    char folder[HUB_FOLDER_MAX], repo[BITNET_HUB_REPO_MAX + 1];
    enum bitnet_hub_type type;
    assert_true(hub_folder_name(BITNET_HUB_MODEL, "org/model", folder));
    assert_string_equal(folder, "models--org--model");
    assert_true(hub_folder_name(BITNET_HUB_DATASET, "squad", folder));
    assert_string_equal(folder, "datasets--squad");
    assert_true(hub_folder_parse(BITNET_STR("models--org--model-1"), &type, repo));
    assert_string_equal(repo, "org/model-1");
    assert_int_equal(type, BITNET_HUB_MODEL);
    assert_false(hub_folder_parse(BITNET_STR(".locks"), &type, repo));
    assert_false(hub_folder_parse(BITNET_STR("models--a--b--c"), &type, repo));
    assert_false(hub_folder_parse(BITNET_STR("models--"), &type, repo));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reference_has_a_repository_and_maybe_a_revision_and_a_file),
        cmocka_unit_test(a_reference_that_could_lead_astray_is_refused),
        cmocka_unit_test(a_path_is_never_mistaken_for_a_repository),
        cmocka_unit_test(hashes_are_lower_case_and_of_the_right_length),
        cmocka_unit_test(folders_of_the_cache_are_named_as_huggingface_hub_names_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
