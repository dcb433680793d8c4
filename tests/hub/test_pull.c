/* Clean pulls: layout, selection, repeated pulls, offline, local folders. Numbers in comments are
 * those of the scenario list in the hub's reference. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *read_all(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = calloc(1, 1 << 20);
    *n = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    return text;
}

/* 1, 5 */
TEST(a_clean_pull_makes_the_layout_of_huggingface_hub)
{
    struct rig *rig = *state;
    struct stat st;
    char target[256], name[300];
    size_t n;
    rig->settings.token = "hf_secret";
    assert_int_equal(rig_pull(rig), BITNET_OK);
    rig_lint(rig, true);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
    char *ref = read_all(rig_file(rig, "refs/main"), &n);
    assert_int_equal(n, 40);
    assert_memory_equal(ref, fake_hub_head(rig->fake), 40);
    free(ref);
    char *tag = read_all(temp_dir_file(&rig->dir, "hub/CACHEDIR.TAG"), &n);
    assert_int_equal(n, 191);
    free(tag);
    snprintf(name, sizeof name, "snapshots/%s/config.json", fake_hub_head(rig->fake));
    ssize_t length = readlink(rig_file(rig, name), target, sizeof target - 1);
    assert_true(length > 0);
    target[length] = 0;
    snprintf(name, sizeof name, "../../blobs/%s", fake_hub_etag(rig->fake, "config.json"));
    assert_string_equal(target, name);
    snprintf(name, sizeof name, "blobs/%s", fake_hub_etag(rig->fake, "config.json"));
    assert_int_equal(stat(rig_file(rig, name), &st), 0);
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
    snprintf(name, sizeof name, "blobs/%s", fake_hub_etag(rig->fake, "model.safetensors"));
    assert_int_equal(stat(rig_file(rig, name), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
    assert_true(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL) > 0);
    assert_false(fake_hub_token_leaked(rig->fake));
    struct fake_request r;
    for (size_t i = 0; fake_hub_request(rig->fake, i, &r); i++)
        if (r.origin == FAKE_HUB) assert_string_equal(r.token, "hf_secret");
}

/* 2, 3 */
TEST(a_second_pull_asks_once_and_a_pinned_one_never)
{
    struct rig *rig = *state;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    uint64_t before = rig_fingerprint(rig);
    fake_hub_clear(rig->fake);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_requests, 1);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "/revision/main"), 1);
    assert_int_equal(rig->fetched, 0);
    assert_true(rig_fingerprint(rig) == before);
    snprintf(rig->options.ref.revision, sizeof rig->options.ref.revision, "%s",
             fake_hub_head(rig->fake));
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_requests, 0);
    assert_true(rig_fingerprint(rig) == before);
}

/* 4 */
TEST(a_new_commit_shares_what_did_not_change)
{
    struct rig *rig = *state;
    static const char other[] = "{\"model_type\": \"llama\"}\n";
    fake_hub_put(rig->fake, "generation_config.json", "{}", 2, false);
    fake_hub_put(rig->fake, "tokenizer.json", "{\"a\": 1}", 8, false);
    fake_hub_put(rig->fake, "tokenizer_config.json", "{\"b\": 2}", 8, false);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_files, 5);
    fake_hub_commit(rig->fake, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    fake_hub_put(rig->fake, "config.json", other, sizeof other - 1, false);
    fake_hub_clear(rig->fake);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->fetched, sizeof other - 1);
    assert_int_equal(rig_count(rig, "snapshots"), 2);
    assert_int_equal(rig_count(rig, "blobs"), 5 + 1);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, "/resolve/"), 1);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 0);
    rig_assert_holds(rig, "config.json", other, sizeof other - 1);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
    rig_lint(rig, true);
}

/* 6, 48 */
TEST(a_private_repository_needs_its_token_also_behind_a_relative_redirect)
{
    struct rig *rig = *state;
    fake_hub_set_private(rig->fake, "hf_secret");
    fake_hub_set_redirect_small(rig->fake, true);
    assert_int_equal(rig_pull(rig), BITNET_NOT_FOUND);
    assert_text_has(rig->err.text, "private");
    assert_text_has(rig->err.hint, "HF_TOKEN");
    assert_false(rig_exists(rig, ""));
    rig->settings.token = "hf_secret";
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_true(fake_hub_n_requests(rig->fake, FAKE_HUB, "/api/resolve-cache/") > 0);
    rig_lint(rig, true);
}

/* 49, 50 */
TEST(a_bad_token_and_a_gate_are_told_apart)
{
    struct rig *rig = *state;
    rig->settings.token = "bad";
    rig->settings.token_source = "HF_TOKEN";
    assert_int_equal(rig_pull(rig), BITNET_AUTH);
    assert_text_has(rig->err.text, "HF_TOKEN");
    assert_false(rig_exists(rig, ""));
    rig->settings.token = NULL;
    fake_hub_set_gated(rig->fake, true);
    assert_int_equal(rig_pull(rig), BITNET_AUTH);
    assert_text_has(rig->err.text, "gated");
    assert_text_has(rig->err.hint, "/org/model, then set HF_TOKEN");
    rig->settings.token = "hf_other";
    assert_int_equal(rig_pull(rig), BITNET_AUTH);
    assert_text_has(rig->err.text, "not on the list");
    assert_text_has(rig->err.hint, "ask for access at http://127.0.0.1:");
    assert_text_has(rig->err.hint, "/org/model");
    assert_int_equal(rig_count(rig, "blobs"), 0);
    assert_false(rig_exists(rig, "refs/main"));
}

/* 52 */
TEST(what_is_not_there_is_named_with_the_nearest_name)
{
    struct rig *rig = *state;
    char name[300];
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "confg.json");
    assert_int_equal(rig_pull(rig), BITNET_NOT_FOUND);
    assert_false(rig_exists(rig, "")); /* no folder for a marker alone */
    rig->options.ref.file[0] = 0;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    snprintf(rig->options.ref.revision, sizeof rig->options.ref.revision, "v9");
    assert_int_equal(rig_pull(rig), BITNET_NOT_FOUND);
    assert_text_has(rig->err.text, "no such revision");
    assert_text_has(rig->err.hint, "most like it is 'main'");
    snprintf(rig->options.ref.revision, sizeof rig->options.ref.revision, "main");
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "confg.json");
    assert_int_equal(rig_pull(rig), BITNET_NOT_FOUND);
    assert_text_has(rig->err.hint, "config.json");
    snprintf(name, sizeof name, ".no_exist/%s/confg.json", fake_hub_head(rig->fake));
    assert_true(rig_exists(rig, name));
    rig->options.ref.file[0] = 0;
    rig->options.include = (const char *const[]){"confg*.json"};
    rig->options.n_include = 1;
    assert_int_equal(rig_pull(rig), BITNET_NOT_FOUND);
    assert_text_has(rig->err.text, "no file of the repository was selected");
    assert_text_has(rig->err.hint, "'config.json' is most like the pattern");
    *strrchr(name, '/') = 0;
    assert_int_equal(rig_count(rig, name), 1); /* a mark for the named file only */
    assert_int_equal(rig_count(rig, ".no_exist"), 1);
}

/* 99 */
TEST(pickles_and_code_are_left_out_unless_named)
{
    struct rig *rig = *state;
    fake_hub_put(rig->fake, "pytorch_model.bin", "PK", 2, false);
    fake_hub_put(rig->fake, "modeling.py", "import os", 9, false);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_files, 2);
    assert_int_equal(rig->n_skipped, 2);
    assert_text_has(rig->notices, "left out");
    assert_text_has(rig->notices, "modeling.py");
    assert_text_has(rig->notices, "pytorch_model.bin");
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, "modeling.py"), 0);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, "pytorch_model.bin"), 0);
    rig->options.include = (const char *const[]){"*.bin"};
    rig->options.n_include = 1;
    assert_int_equal(rig_pull(rig), BITNET_POLICY);
    rig->options.n_include = 0;
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "modeling.py");
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_files, 1);
    rig->options.ref.file[0] = 0;
    rig->options.all = rig->options.allow_unsafe = true;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_files, 4);
    rig_lint(rig, true);
}

TEST(include_and_exclude_choose_among_all_files)
{
    struct rig *rig = *state;
    fake_hub_put(rig->fake, "a/b/x.txt", "1", 1, false);
    fake_hub_put(rig->fake, "a/y.txt", "2", 1, false);
    rig->options.include = (const char *const[]){"*.txt"};
    rig->options.n_include = 1;
    rig->options.exclude = (const char *const[]){"a/b/"};
    rig->options.n_exclude = 1;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_files, 1);
    rig_assert_holds(rig, "a/y.txt", "2", 1);
    rig_lint(rig, true);
}

TEST(a_dry_run_writes_nothing)
{
    struct rig *rig = *state;
    rig->options.dry_run = true;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_missing, 2);
    assert_int_equal(rig->fetched, 0);
    assert_false(rig_exists(rig, ""));
}

/* 47 */
TEST(offline_needs_everything_and_asks_nobody)
{
    struct rig *rig = *state;
    char name[300];
    rig->settings.offline = true;
    assert_int_equal(rig_pull(rig), BITNET_OFFLINE);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0);
    assert_false(rig_exists(rig, ""));
    rig->settings.offline = false;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    rig->settings.offline = true;
    fake_hub_clear(rig->fake);
    uint64_t before = rig_fingerprint(rig);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_true(rig_fingerprint(rig) == before);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0);
    snprintf(name, sizeof name, "snapshots/%s/config.json", fake_hub_head(rig->fake));
    assert_int_equal(unlink(rig_file(rig, name)), 0);
    before = rig_fingerprint(rig);
    assert_int_equal(rig_pull(rig), BITNET_OFFLINE);
    assert_text_has(rig->err.text, "config.json");
    assert_true(rig_fingerprint(rig) == before);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0);
    rig->settings.offline = false;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->fetched, 0);
}

/* 45, 46 */
TEST(a_broken_hub_does_not_take_away_a_cached_model)
{
    struct rig *rig = *state;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    uint64_t before = rig_fingerprint(rig);
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .path = "/api/", .origin = FAKE_HUB, .action = FAKE_STATUS, .status = 500});
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_text_has(rig->notices, "using what is cached");
    assert_true(rig_fingerprint(rig) == before);
    fake_hub_clear(rig->fake);
    char name[300];
    snprintf(name, sizeof name, "blobs/%s", fake_hub_etag(rig->fake, "model.safetensors"));
    assert_int_equal(unlink(rig_file(rig, name)), 0);
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .path = "/api/", .origin = FAKE_HUB, .action = FAKE_STATUS, .status = 500});
    before = rig_fingerprint(rig);
    assert_int_equal(rig_pull(rig), BITNET_OFFLINE);
    assert_text_has(rig->err.text, "model.safetensors");
    assert_true(rig_fingerprint(rig) == before);
}

/* 86 */
TEST(a_listing_of_many_pages_is_read_to_the_end)
{
    struct rig *rig = *state;
    char path[64];
    for (int i = 0; i < 57; i++) {
        snprintf(path, sizeof path, "extra/%02d.txt", i);
        fake_hub_put(rig->fake, path, "x", 1, false);
    }
    fake_hub_set_page(rig->fake, 10);
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){
            .path = "cursor=30", .from = 1, .to = 1, .action = FAKE_STATUS, .status = 502});
    rig->options.include = (const char *const[]){"extra/*"};
    rig->options.n_include = 1;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_files, 57);
    assert_int_equal(rig_count(rig, "blobs"), 1); /* one content, one blob */
    rig_lint(rig, true);
}

/* 88: n + 2 requests for n small files, no HEAD */
TEST(small_files_cost_one_request_each)
{
    struct rig *rig = *state;
    static char bodies[300][12];
    char path[64];
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "s/%03d.json", i);
        snprintf(bodies[i], sizeof bodies[i], "%d", i);
        fake_hub_put(rig->fake, path, bodies[i], strlen(bodies[i]), false);
    }
    rig->options.include = (const char *const[]){"s/*"};
    rig->options.n_include = 1;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_files, 300);
    assert_int_equal(rig->n_requests, 302);
    rig_lint(rig, true);
}

/* 89, 91 */
TEST(odd_sizes_and_odd_names_arrive_as_they_are)
{
    struct rig *rig = *state;
    static const char *const names[] = {"a dir/f+1#%.json", "\xc3\xa9/x.json", "q?.json",
                                        "[x].json", "quote\".json"};
    fake_hub_put(rig->fake, "empty.txt", "", 0, false);
    fake_hub_put(rig->fake, "one.txt", "1", 1, false);
    fake_hub_put(rig->fake, "empty.lfs", "", 0, true);
    for (size_t i = 0; i < COUNT(names); i++)
        fake_hub_put(rig->fake, names[i], names[i], strlen(names[i]), i % 2);
    rig->options.all = true;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    for (size_t i = 0; i < COUNT(names); i++)
        rig_assert_holds(rig, names[i], names[i], strlen(names[i]));
    rig_assert_holds(rig, "empty.txt", "", 0);
    rig_assert_holds(rig, "empty.lfs", "", 0);
    rig_lint(rig, true);
    assert_int_equal(rig_pull(rig), BITNET_OK); /* also as read back from the stored listing */
    assert_int_equal(rig->n_requests, 1);
}

/* 53, 54, 87 */
TEST(a_hostile_listing_is_refused_whole)
{
    struct rig *rig = *state;
#define OID "\"oid\":\"0123456789012345678901234567890123456789\""
    static const struct {
        const char *json;
        enum bitnet_status status;
    } cases[] = {
        {"[{\"type\":\"file\",\"path\":\"../x\",\"size\":1," OID "}]", BITNET_POLICY},
        {"[{\"type\":\"file\",\"path\":\"/etc/x\",\"size\":1," OID "}]", BITNET_POLICY},
        {"[{\"type\":\"file\",\"path\":\"a/../../x\",\"size\":1," OID "}]", BITNET_POLICY},
        {"[{\"type\":\"file\",\"path\":\"C:\\\\x\",\"size\":1," OID "}]", BITNET_POLICY},
        {"[{\"type\":\"file\",\"path\":\"\\\\\\\\h\\\\s\",\"size\":1," OID "}]", BITNET_POLICY},
        {"[{\"type\":\"file\",\"path\":\"a\\u0000b\",\"size\":1," OID "}]", BITNET_POLICY},
        {"[{\"type\":\"file\",\"path\":\"a\\nb\",\"size\":1," OID "}]", BITNET_POLICY},
        {"[{\"type\":\"file\",\"path\":\".git/config\",\"size\":1," OID "}]", BITNET_POLICY},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"oid\":\"../../x\"}]", BITNET_POLICY},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":-1," OID "}]", BITNET_NETWORK},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":9223372036854775808," OID "}]",
         BITNET_NETWORK},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":\"1\"," OID "}]", BITNET_NETWORK},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1," OID "},"
         "{\"type\":\"file\",\"path\":\"x\",\"size\":1," OID "}]",
         BITNET_NETWORK},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1," OID, BITNET_NETWORK},
        {"{\"error\":\"x\"}", BITNET_NETWORK},
        {"<html>log in</html>", BITNET_NETWORK},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        fake_hub_set_tree(rig->fake, cases[i].json);
        rig->options.all = true;
        enum bitnet_status status = rig_pull(rig);
        if (status != cases[i].status)
            fail_msg("%s gives %s", cases[i].json, bitnet_status_name(status));
        assert_false(rig_exists(rig, ""));
        if (status == BITNET_POLICY && !strchr(rig->err.text, '\''))
            fail_msg("no quoted path: %s", rig->err.text);
        for (const char *c = rig->err.text; *c; c++) /* ... and cleaned */
            assert_true((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f);
    }
    fake_hub_set_tree(rig->fake, NULL);
}

/* 83 */
TEST(a_log_in_page_is_not_a_hub)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_ANY,
                                                .action = FAKE_BODY,
                                                .text = "<html>please log in</html>"});
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "not that of a hub");
    assert_false(rig_exists(rig, ""));
}

/* 78, 79 */
TEST(a_local_folder_gets_plain_files_and_notes)
{
    struct rig *rig = *state;
    size_t n;
    rig->options.local_dir = temp_dir_file(&rig->dir, "mine");
    assert_int_equal(rig_pull(rig), BITNET_OK);
    char *config = read_all(temp_dir_file(&rig->dir, "mine/config.json"), &n);
    assert_int_equal(n, 25);
    free(config);
    char *note = read_all(
        temp_dir_file(&rig->dir, "mine/.cache/huggingface/download/config.json.metadata"), &n);
    assert_memory_equal(note, fake_hub_head(rig->fake), 40);
    assert_memory_equal(note + 41, fake_hub_etag(rig->fake, "config.json"), 40);
    free(note);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_requests, 1);
    assert_int_equal(rig->fetched, 0);
    /* An edited file is fetched again; a file with the right hash and no note is not. */
    temp_dir_write(&rig->dir, "mine/config.json", "edited, and of another size", 27);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->fetched, 25);
    assert_int_equal(unlink(temp_dir_file(
                         &rig->dir, "mine/.cache/huggingface/download/model.safetensors.metadata")),
                     0);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->fetched, 0);
    /* A pull that fails half-way leaves the old file. */
    temp_dir_write(&rig->dir, "mine/model.safetensors", "old", 3);
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){
            .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = RIG_LARGE / 2});
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_STATUS, .status = 500});
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_true(rig->fetched >= RIG_LARGE / 2);
    char *old = read_all(temp_dir_file(&rig->dir, "mine/model.safetensors"), &n);
    assert_string_equal(old, "old");
    free(old);
    assert_false(rig_exists(rig, "snapshots"));
    fake_hub_clear(rig->fake);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->fetched, RIG_LARGE - RIG_LARGE / 2); /* the rest */
}

/* 76 */
TEST(without_links_the_files_are_in_the_snapshot)
{
    struct rig *rig = *state;
    rig->settings.no_symlinks = true;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig_count(rig, "blobs"), 0);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
    char name[200];
    struct stat st;
    snprintf(name, sizeof name, "snapshots/%s/model.safetensors", fake_hub_head(rig->fake));
    assert_int_equal(lstat(rig_file(rig, name), &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->fetched, 0);
    rig_lint(rig, true);
}

/* 100 */
TEST(an_index_that_names_a_missing_shard_publishes_no_ref)
{
    struct rig *rig = *state;
    static const char index[] =
        "{\"weight_map\": {\"a\": \"model.safetensors\", \"b\": \"model-00002-of-2.safetensors\"}}";
    fake_hub_put(rig->fake, "model.safetensors.index.json", index, sizeof index - 1, false);
    assert_int_equal(rig_pull(rig), BITNET_NOT_FOUND);
    assert_text_has(rig->err.text, "model-00002-of-2.safetensors");
    assert_false(rig_exists(rig, "refs/main"));
}

/* 55 */
TEST(an_entry_that_leads_outside_is_replaced_and_its_target_untouched)
{
    struct rig *rig = *state;
    char name[300];
    size_t n;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    temp_dir_write(&rig->dir, "precious", "mine", 4);
    snprintf(name, sizeof name, "snapshots/%s/config.json", fake_hub_head(rig->fake));
    assert_int_equal(unlink(rig_file(rig, name)), 0);
    assert_int_equal(symlink(temp_dir_file(&rig->dir, "precious"), rig_file(rig, name)), 0);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_text_has(rig->notices, "replaced");
    rig_lint(rig, true);
    char *text = read_all(temp_dir_file(&rig->dir, "precious"), &n);
    assert_string_equal(text, "mine");
    free(text);
}

/* 56 */
TEST(a_blobs_folder_that_is_a_link_is_refused)
{
    struct rig *rig = *state;
    assert_int_equal(mkdir(rig->cache, 0777), 0);
    assert_int_equal(mkdir(rig_file(rig, ""), 0777), 0);
    const char *outside = temp_dir_file(&rig->dir, "outside");
    struct stat st;
    assert_int_equal(mkdir(outside, 0777), 0);
    assert_int_equal(symlink(outside, rig_file(rig, "blobs")), 0);
    assert_int_equal(rig_pull(rig), BITNET_POLICY);
    assert_text_has(rig->err.text, "blobs");
    assert_int_equal(lstat(rig_file(rig, "blobs"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(rmdir(outside), 0); /* still empty */
    assert_false(rig_exists(rig, "refs/main"));
}

/* 70 */
TEST(a_blob_of_the_wrong_size_is_replaced)
{
    struct rig *rig = *state;
    char name[300];
    assert_int_equal(rig_pull(rig), BITNET_OK);
    snprintf(name, sizeof name, "hub/models--org--model/blobs/%s",
             fake_hub_etag(rig->fake, "config.json"));
    temp_dir_write(&rig->dir, name, "short", 5);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_text_has(rig->notices, "not what it should be");
    rig_lint(rig, true);
}

TEST(a_plain_http_endpoint_beyond_loopback_is_refused)
{
    struct rig *rig = *state;
    rig->settings.endpoint = "http://hub.example";
    assert_int_equal(rig_pull(rig), BITNET_POLICY);
    assert_text_has(rig->err.hint, "--allow-http");
}

static const char *fake_environment(void *user, const char *name)
{
    struct rig *rig = user;
    if (strcmp(name, "HF_ENDPOINT") == 0) return fake_hub_endpoint(rig->fake);
    return strcmp(name, "HF_HUB_CACHE") == 0 ? rig->cache : NULL;
}

TEST(a_model_is_a_path_or_a_repository_from_the_cache_or_the_network)
{
    struct rig *rig = *state;
    struct bitnet_arena arena = {0};
    const char *path;
    struct bitnet_hub_model_options o = {.lookup = fake_environment, .lookup_user = rig};
    assert_int_equal(bitnet_hub_model(rig->dir.path, &o, &arena, &path, &rig->err), BITNET_OK);
    assert_string_equal(path, rig->dir.path);
    assert_int_equal(bitnet_hub_model("no-such-file.gguf", &o, &arena, &path, &rig->err),
                     BITNET_NOT_FOUND);
    o.offline = true;
    assert_int_equal(bitnet_hub_model("org/model", &o, &arena, &path, &rig->err), BITNET_OFFLINE);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0);
    o.offline = false;
    assert_int_equal(bitnet_hub_model("org/model", &o, &arena, &path, &rig->err), BITNET_OK);
    assert_text_has(path, fake_hub_head(rig->fake));
    fake_hub_clear(rig->fake);
    assert_int_equal(bitnet_hub_model("hf:org/model:config.json", &o, &arena, &path, &rig->err),
                     BITNET_OK);
    assert_text_has(path, "/config.json");
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0); /* all was cached */
    bitnet_arena_free(&arena);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_clean_pull_makes_the_layout_of_huggingface_hub),
        CASE(a_second_pull_asks_once_and_a_pinned_one_never),
        CASE(a_new_commit_shares_what_did_not_change),
        CASE(a_private_repository_needs_its_token_also_behind_a_relative_redirect),
        CASE(a_bad_token_and_a_gate_are_told_apart),
        CASE(what_is_not_there_is_named_with_the_nearest_name),
        CASE(pickles_and_code_are_left_out_unless_named),
        CASE(include_and_exclude_choose_among_all_files),
        CASE(a_dry_run_writes_nothing),
        CASE(offline_needs_everything_and_asks_nobody),
        CASE(a_broken_hub_does_not_take_away_a_cached_model),
        CASE(a_listing_of_many_pages_is_read_to_the_end),
        CASE(small_files_cost_one_request_each),
        CASE(odd_sizes_and_odd_names_arrive_as_they_are),
        CASE(a_hostile_listing_is_refused_whole),
        CASE(a_log_in_page_is_not_a_hub),
        CASE(a_local_folder_gets_plain_files_and_notes),
        CASE(without_links_the_files_are_in_the_snapshot),
        CASE(an_index_that_names_a_missing_shard_publishes_no_ref),
        CASE(an_entry_that_leads_outside_is_replaced_and_its_target_untouched),
        CASE(a_blobs_folder_that_is_a_link_is_refused),
        CASE(a_blob_of_the_wrong_size_is_replaced),
        CASE(a_plain_http_endpoint_beyond_loopback_is_refused),
        CASE(a_model_is_a_path_or_a_repository_from_the_cache_or_the_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
