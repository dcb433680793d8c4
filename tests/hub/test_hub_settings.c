/* The environment as huggingface_hub reads it, and the stored form of a listing. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>
#include <bitnet/hub.h>

#include <sys/stat.h>

#include "temp_dir.h"
#include "tree.h"

struct variable {
    const char *name, *value;
};

static const char *look_up(void *user, const char *name)
{
    for (const struct variable *v = user; v->name; v++)
        if (strcmp(v->name, name) == 0) return v->value;
    return NULL;
}

static struct bitnet_arena arena;
static unsigned n_warnings;

static void hear(void *user, enum bitnet_log_level level, const char *text)
{
    (void)user, (void)text;
    n_warnings += level == BITNET_LOG_WARNING;
}

static struct bitnet_hub_settings read_settings(struct variable *variables)
{
    static const struct bitnet_log log = {.say = hear};
    struct bitnet_hub_settings s;
    n_warnings = 0;
    assert_int_equal(bitnet_hub_settings_read(&s, &arena, look_up, variables, &log, NULL),
                     BITNET_OK);
    return s;
}
#define WITH(...) read_settings((struct variable[]){__VA_ARGS__, {NULL, NULL}})

TEST(the_cache_is_where_huggingface_hub_has_it)
{
    assert_string_equal(WITH({"HOME", "/h"}).cache_dir, "/h/.cache/huggingface/hub");
    assert_string_equal(WITH({"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}).cache_dir,
                        "/x/huggingface/hub");
    assert_string_equal(WITH({"HOME", "/h"}, {"HF_HOME", "~/hf"}).cache_dir, "/h/hf/hub");
    assert_string_equal(WITH({"HOME", "/h"}, {"HF_HUB_CACHE", "$HOME/c"}).cache_dir, "/h/c");
    assert_string_equal(WITH({"HF_HUB_CACHE", "/c"}, {"HUGGINGFACE_HUB_CACHE", "/d"}).cache_dir,
                        "/c");
    assert_string_equal(WITH({"HUGGINGFACE_HUB_CACHE", "/d"}).cache_dir, "/d");
    struct variable none[] = {{NULL, NULL}};
    struct bitnet_hub_settings s;
    assert_int_equal(bitnet_hub_settings_read(&s, &arena, look_up, none, NULL, NULL), BITNET_IO);
}

TEST(tokens_come_from_variables_or_from_a_file)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    temp_dir_write(&dir, "token", " hf_file \n", 10);
    struct bitnet_hub_settings s =
        WITH({"HF_HOME", dir.path}, {"HF_TOKEN", " hf_env\n"}, {"HUGGING_FACE_HUB_TOKEN", "x"});
    assert_string_equal(s.token, "hf_env");
    assert_string_equal(s.token_source, "HF_TOKEN");
    s = WITH({"HF_HOME", dir.path}, {"HF_TOKEN", ""});
    assert_string_equal(s.token, "hf_file");
    s = WITH({"HF_HOME", dir.path}, {"HF_TOKEN", "t"}, {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "YES"});
    assert_null(s.token);
    temp_dir_remove(&dir);
}

TEST(stored_tokens_tell_whether_a_token_is_a_log_in_and_until_when)
{
    static const char stored[] = "[ci]\nhf_token = hf_other\n\n[browser]\nhf_token = hf_file\n"
                                 "refresh_token = r\nexpires_at = 4102444800.5\n";
    static const char ended[] = "[browser]\nexpires_at = 1000000000\nrefresh_token=r\n"
                                "hf_token=hf_file";
    struct temp_dir dir;
    temp_dir_make(&dir);
    temp_dir_write(&dir, "token", "hf_file\n", 8);
    assert_int_equal(chmod(temp_dir_file(&dir, "token"), 0600), 0);
    struct bitnet_hub_settings s = WITH({"HF_HOME", dir.path});
    assert_string_equal(s.token, "hf_file");
    assert_false(s.token_is_login);
    assert_int_equal(n_warnings, 0);
    temp_dir_write(&dir, "stored_tokens", stored, sizeof stored - 1);
    s = WITH({"HF_HOME", dir.path});
    assert_true(s.token_is_login);
    assert_int_equal(s.token_expiry, 4102444800);
    assert_int_equal(n_warnings, 0);
    temp_dir_write(&dir, "stored_tokens", ended, sizeof ended - 1);
    s = WITH({"HF_TOKEN_PATH", temp_dir_file(&dir, "token")}, {"HOME", "/h"});
    assert_true(s.token_is_login);
    assert_int_equal(s.token_expiry, 1000000000);
    assert_int_equal(n_warnings, 1); /* it has ended */
    temp_dir_write(&dir, "stored_tokens", "[x\n=\n[[\nhf_token", 17);
    assert_false(WITH({"HF_HOME", dir.path}).token_is_login);
    s = WITH({"HF_HOME", dir.path}, {"HF_TOKEN", "hf_env"}, {"HF_OIDC_RESOURCE", "x"});
    assert_string_equal(s.token, "hf_env");
    assert_int_equal(n_warnings, 1); /* identities of CI jobs are not exchanged */
    temp_dir_remove(&dir);
}

TEST(a_token_file_that_others_can_read_is_warned_about)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    temp_dir_write(&dir, "token", "hf_file\n", 8);
    assert_int_equal(chmod(temp_dir_file(&dir, "token"), 0644), 0);
    assert_string_equal(WITH({"HF_HOME", dir.path}).token, "hf_file");
    assert_int_equal(n_warnings, 1);
    temp_dir_remove(&dir);
}

TEST(switches_and_numbers_are_read_as_python_reads_them)
{
    struct bitnet_hub_settings s =
        WITH({"HOME", "/h"}, {"HF_HUB_OFFLINE", "True"}, {"HF_HUB_ETAG_TIMEOUT", "3"},
             {"HF_ENDPOINT", "https://mirror/"}, {"CURL_CA_BUNDLE", "/ca"});
    assert_true(s.offline);
    assert_int_equal(s.metadata_timeout_ms, 3000);
    assert_string_equal(s.endpoint, "https://mirror/");
    assert_string_equal(s.ca_file, "/ca");
    s = WITH({"HOME", "/h"}, {"HF_HUB_OFFLINE", "0"}, {"HF_HUB_DOWNLOAD_TIMEOUT", "soon"});
    assert_false(s.offline);
    assert_int_equal(s.stall_timeout_ms, 0);
    assert_int_equal(n_warnings, 1);
    assert_true(WITH({"HOME", "/h"}, {"BITNET_OFFLINE", "1"}).offline);
    assert_true(WITH({"HOME", "/h"}, {"HF_DEBUG", "1"}).trace);
    assert_false(WITH({"HOME", "/h"}).trace);
    assert_int_equal(WITH({"HOME", "/h"}, {"HF_HUB_DISABLE_XET", "1"}).xet, BITNET_HUB_XET_NEVER);
    assert_int_equal(WITH({"HOME", "/h"}).xet, BITNET_HUB_XET_FALLBACK);
}

TEST(an_upper_case_proxy_counts_only_outside_of_a_web_server)
{
    assert_string_equal(
        WITH({"HOME", "/h"}, {"HF_ENDPOINT", "http://m"}, {"HTTP_PROXY", "p"}).proxy, "p");
    assert_null(WITH({"HOME", "/h"}, {"HF_ENDPOINT", "http://m"}, {"HTTP_PROXY", "p"},
                     {"REQUEST_METHOD", "GET"})
                    .proxy);
}

static const char page[] =
    "[{\"type\":\"directory\",\"path\":\"d\",\"oid\":\"x\",\"size\":0},"
    "{\"type\":\"file\",\"path\":\"d/\\u00e9\\ud83d\\ude00.bin\",\"size\":5,"
    "\"oid\":\"0123456789012345678901234567890123456789\",\"lfs\":{\"size\":5,\"oid\":"
    "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"},\"xetHash\":"
    "\"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\"},"
    "{\"type\":\"file\",\"path\":\"a\\\".json\",\"size\":2,"
    "\"oid\":\"0123456789012345678901234567890123456789\"}]";

/* What json.dump({...}, indent=1) writes for it. */
static const char stored[] =
    "{\n \"format_version\": 1,\n \"files\": {\n  \"a\\\".json\": {\n   \"size\": 2,\n   "
    "\"blob_id\": \"0123456789012345678901234567890123456789\"\n  },\n  "
    "\"d/\\u00e9\\ud83d\\ude00.bin\": {\n   \"size\": 5,\n   \"blob_id\": "
    "\"0123456789012345678901234567890123456789\",\n   \"lfs_sha256\": "
    "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\n   \"lfs_size\": 5,\n "
    "  \"xet_hash\": \"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\"\n  }\n "
    "}\n}";

TEST(a_listing_is_stored_as_python_stores_it_and_read_back)
{
    struct hub_tree tree = {0}, again = {0};
    struct bitnet_buf text = {.max = 10000}, twice = {.max = 10000};
    assert_int_equal(hub_tree_add_page(&tree, BITNET_STR(page), NULL), BITNET_OK);
    hub_tree_finish(&tree);
    assert_int_equal(tree.n, 2);
    assert_true(tree.is_storable);
    assert_true(hub_tree_write(&tree, &text));
    assert_string_equal(text.at, stored);
    assert_int_equal(hub_tree_add_stored(&again, (struct bitnet_str){text.at, text.n}, NULL),
                     BITNET_OK);
    hub_tree_finish(&again);
    assert_true(hub_tree_write(&again, &twice));
    assert_string_equal(twice.at, stored);
    assert_non_null(hub_tree_find(&again, BITNET_STR("a\".json")));
    assert_null(hub_tree_find(&again, BITNET_STR("a")));
    bitnet_buf_free(&text);
    bitnet_buf_free(&twice);
    hub_tree_free(&tree);
    hub_tree_free(&again);
}

TEST(a_stored_listing_of_another_version_is_not_used)
{
    struct hub_tree tree = {0};
    assert_int_equal(
        hub_tree_add_stored(&tree, BITNET_STR("{\"format_version\": 2, \"files\": {}}"), NULL),
        BITNET_UNSUPPORTED);
    assert_int_not_equal(hub_tree_add_stored(&tree, BITNET_STR("{}"), NULL), BITNET_OK);
    hub_tree_free(&tree);
}

static int free_arena(void **state)
{
    (void)state;
    bitnet_arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_cache_is_where_huggingface_hub_has_it, free_arena),
        cmocka_unit_test_teardown(tokens_come_from_variables_or_from_a_file, free_arena),
        cmocka_unit_test_teardown(stored_tokens_tell_whether_a_token_is_a_log_in_and_until_when,
                                  free_arena),
        cmocka_unit_test_teardown(a_token_file_that_others_can_read_is_warned_about, free_arena),
        cmocka_unit_test_teardown(switches_and_numbers_are_read_as_python_reads_them, free_arena),
        cmocka_unit_test_teardown(an_upper_case_proxy_counts_only_outside_of_a_web_server,
                                  free_arena),
        cmocka_unit_test(a_listing_is_stored_as_python_stores_it_and_read_back),
        cmocka_unit_test(a_stored_listing_of_another_version_is_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
