/* huggingface_hub itself, in both directions: it finds what we pulled and fetches nothing again, we
 * find what it pulled, and the files both write beside the contents are equal byte for byte. Needs
 * the Python environment of scripts/oracle/venv.sh; without it this test is skipped by name. */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char python[600];

static bool find_python(void)
{
    const char *venv = getenv("BITNET_VENV");
    if (venv)
        snprintf(python, sizeof python, "%s/bin/python", venv);
    else
        snprintf(python, sizeof python, "%s/build/venv/bin/python", BITNET_SOURCE_DIR);
    return access(python, X_OK) == 0;
}

static void run_python(struct rig *rig, const char *mode, const char *place, const char *commit)
{
    int status;
    int pid = fork();
    if (pid == 0) {
        setenv("HF_ENDPOINT", fake_hub_endpoint(rig->fake), 1);
        execl(python, python, BITNET_SOURCE_DIR "/scripts/oracle/check_hub.py", mode, place, commit,
              (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_msg("check_hub.py %s failed", mode);
}

static void pull(struct rig *rig)
{
    enum bitnet_status status = rig_pull(rig);
    if (status) fail_msg("%s", rig->err.text);
}

static char *read_all(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is not there", path);
    char *text = calloc(1, 1 << 20);
    *n = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    return text;
}

static void add_files(struct rig *rig)
{
    fake_hub_put(rig->fake, "sub/d\xc3\xa9j\xc3\xa0.json", "{}", 2, false);
    fake_hub_put(rig->fake, "empty.txt", "", 0, false);
    rig->options.all = true;
}

TEST(huggingface_hub_finds_what_we_pulled_and_fetches_nothing_again)
{
    struct rig *rig = *state;
    add_files(rig);
    pull(rig);
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "absent.json");
    assert_int_equal(rig_pull(rig), BITNET_NOT_FOUND);
    run_python(rig, "finds", rig->cache, fake_hub_head(rig->fake));
    fake_hub_clear(rig->fake);
    run_python(rig, "again", rig->cache, fake_hub_head(rig->fake));
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_CDN, NULL), 0);
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_HUB, "/resolve/"), 0);
    rig_lint(rig, true);
}

TEST(we_find_what_huggingface_hub_pulled_also_offline)
{
    struct rig *rig = *state;
    add_files(rig);
    run_python(rig, "pull", rig->cache, NULL);
    rig_lint(rig, true);
    rig->settings.offline = true;
    pull(rig);
    assert_int_equal(rig->n_files, 4);
    rig->settings.offline = false;
    pull(rig);
    assert_int_equal(rig->fetched, 0);
    assert_int_equal(rig->n_requests, 1);
}

TEST(listing_tag_and_ref_are_equal_byte_for_byte)
{
    struct rig *rig = *state;
    char tree[200];
    static const char *const names[] = {NULL, "refs/main", "../CACHEDIR.TAG"};
    add_files(rig);
    snprintf(tree, sizeof tree, "trees/%s.json", fake_hub_head(rig->fake));
    char *ours[3];
    size_t n[3], theirs_n;
    pull(rig);
    for (size_t i = 0; i < 3; i++)
        ours[i] = read_all(rig_file(rig, names[i] ? names[i] : tree), &n[i]);
    snprintf(rig->cache, sizeof rig->cache, "%s/theirs", rig->dir.path);
    run_python(rig, "pull", rig->cache, NULL);
    for (size_t i = 0; i < 3; i++) {
        char *theirs = read_all(rig_file(rig, names[i] ? names[i] : tree), &theirs_n);
        assert_int_equal(theirs_n, n[i]);
        assert_memory_equal(theirs, ours[i], theirs_n);
        free(theirs);
        free(ours[i]);
    }
}

TEST(a_local_folder_is_understood_in_both_directions)
{
    struct rig *rig = *state;
    add_files(rig);
    rig->options.local_dir = temp_dir_file(&rig->dir, "mine");
    pull(rig);
    fake_hub_clear(rig->fake);
    run_python(rig, "local", rig->options.local_dir, NULL);
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_CDN, NULL), 0);
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_HUB, "/resolve/"), 0);
    rig->options.local_dir = temp_dir_file(&rig->dir, "theirs");
    run_python(rig, "pull-local", rig->options.local_dir, NULL);
    pull(rig);
    assert_int_equal(rig->fetched, 0);
}

TEST(a_partial_of_ours_is_seen_as_one)
{
    struct rig *rig = *state;
    static const char changed[] = "{}\n";
    pull(rig);
    fake_hub_commit(rig->fake, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    static uint8_t other[RIG_LARGE];
    rig_fill(other, sizeof other, 5);
    fake_hub_put(rig->fake, "model.safetensors", other, sizeof other, true);
    fake_hub_put(rig->fake, "config.json", changed, sizeof changed - 1, false);
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_HOLD, .n = RIG_LARGE / 2});
    int pid = rig_spawn_pull(rig);
    rig_await_bytes(rig, 1 << 20);
    rig_await_file(rig, "config.json");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    run_python(rig, "prune", rig->cache, NULL);
}

static const char *const tiny[] = {
    "config.json",           "generation_config.json",  "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "model.safetensors"};

TEST(transformers_loads_what_we_pulled_without_a_network_and_we_what_it_pulled)
{
    struct rig *rig = *state;
    char *bytes[COUNT(tiny)];
    for (size_t i = 0; i < COUNT(tiny); i++) {
        char path[600];
        size_t n;
        snprintf(path, sizeof path, BITNET_SOURCE_DIR "/models/tiny/%s", tiny[i]);
        FILE *f = fopen(path, "rb");
        if (!f) fail_msg("%s is not there", path);
        bytes[i] = malloc(16 << 20);
        n = fread(bytes[i], 1, 16 << 20, f);
        fclose(f);
        fake_hub_put(rig->fake, tiny[i], bytes[i], n, strstr(tiny[i], "safetensors") != NULL);
    }
    pull(rig);
    fake_hub_clear(rig->fake);
    run_python(rig, "transformers", rig->cache, NULL);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0);
    snprintf(rig->cache, sizeof rig->cache, "%s/theirs", rig->dir.path);
    run_python(rig, "pull", rig->cache, NULL);
    rig->settings.offline = true;
    pull(rig);
    assert_int_equal(rig->n_files, COUNT(tiny));
    rig_lint(rig, true);
    for (size_t i = 0; i < COUNT(tiny); i++) free(bytes[i]);
}

/* Our store is understood by the reference client, so what we read from it is the real format. */
TEST(hf_xet_reads_the_store_that_we_read)
{
    struct rig *rig = *state;
    static uint8_t file[5 << 20];
    rig_fill(file, sizeof file, 31);
    for (size_t i = 0; i < sizeof file; i++)
        if (i >> 17 & 1) file[i] = (uint8_t)("all the world's a stage "[i % 24]);
    memcpy(file + (4 << 20) / 39999 * 39999, file, 39999 * 3); /* chunks that come twice */
    fake_hub_set_xet(rig->fake, true);
    fake_hub_put(rig->fake, "model.safetensors", file, sizeof file, true);
    run_python(rig, "xet", rig->cache, NULL);
    rig_assert_holds(rig, "model.safetensors", file, sizeof file);
    rig_lint(rig, true);
    assert_true(fake_hub_n_requests(rig->fake, FAKE_CAS, "/xorbs/") > 0);
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_CDN, NULL), 0);
    snprintf(rig->cache, sizeof rig->cache, "%s/ours", rig->dir.path);
    rig->settings.xet = BITNET_HUB_XET_FIRST;
    pull(rig);
    rig_assert_holds(rig, "model.safetensors", file, sizeof file);
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_CDN, NULL), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(huggingface_hub_finds_what_we_pulled_and_fetches_nothing_again),
        CASE(we_find_what_huggingface_hub_pulled_also_offline),
        CASE(listing_tag_and_ref_are_equal_byte_for_byte),
        CASE(a_local_folder_is_understood_in_both_directions),
        CASE(a_partial_of_ours_is_seen_as_one),
        CASE(transformers_loads_what_we_pulled_without_a_network_and_we_what_it_pulled),
        CASE(hf_xet_reads_the_store_that_we_read),
    };
    if (!find_python()) {
        printf("SKIPPED: hub oracle: no Python environment (scripts/oracle/venv.sh makes it; "
               "BITNET_VENV names it)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
