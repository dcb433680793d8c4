/* huggingface_hub itself, in both directions: it finds what we pulled and fetches nothing again, we
 * find what it pulled, and the files both write beside the contents are equal byte for byte. Needs
 * the Python environment of scripts/oracle/venv.sh; without it this test is skipped by name. */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
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
    fake_hub_set_rate(rig->fake, 4 << 20);
    int pid = rig_spawn_pull(rig);
    struct timespec t = {.tv_nsec = 500000000};
    nanosleep(&t, NULL);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    run_python(rig, "prune", rig->cache, NULL);
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
    };
    if (!find_python()) {
        printf("SKIPPED: hub oracle: no Python environment (scripts/oracle/venv.sh makes it; "
               "BITNET_VENV names it)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
