/* The program and the network: a repository is fetched once and found again, only what a tokenizer
 * is made of; offline sends no request; a killed download goes on; a wrong one is kept and refused.
 * Its path is the first argument; the hub is a fake one on loopback. */
#include "cm.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include "fake_hub.h"
#include "tool.h"
#include "vocabulary.h"

enum { LARGE = 6 << 20 };

static const char *program;
static struct tool tool;
static struct fake_hub *hub;
static struct bitnet_str json;
static char *large; /* the same tokenizer.json with spaces behind it */

static int begin(void **state)
{
    (void)state;
    assert_int_equal(bitnet_read_file(BITNET_SOURCE_DIR "/tests/golden/tokenizers/gpt2.json",
                                      (size_t)1 << 24, &json, NULL),
                     BITNET_OK);
    large = malloc(LARGE);
    assert_non_null(large);
    memset(large, ' ', LARGE);
    memcpy(large, json.at, json.n);
    tool_begin(&tool, program);
    hub = fake_hub_start();
    tool.endpoint = fake_hub_endpoint(hub);
    fake_hub_put(hub, "tokenizer.json", json.at, json.n, false);
    fake_hub_put(hub, "model.safetensors", large, LARGE, true);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fake_hub_stop(hub);
    tool_end(&tool);
    bitnet_free((void *)(uintptr_t)json.at);
    free(large);
    return 0;
}

static size_t n_requests(void)
{
    return fake_hub_n_requests(hub, FAKE_ANY, "/");
}

/* A GGUF without tokenizer that names the fake hub's repository, in a folder of its own. */
static const char *sourced_model(size_t rows)
{
    static const struct vocabulary_key keys[] = {
        {"general.source.repo_url", 's', 0, "https://huggingface.co/org/model"}, {0}};
    const struct vocabulary v = {.model = "none", .rows = rows, .keys = keys};
    mkdir(temp_dir_file(&tool.dir, "a"), 0700);
    mkdir(temp_dir_file(&tool.dir, "a/b"), 0700);
    const char *path = temp_dir_file(&tool.dir, "a/b/model.gguf");
    vocabulary_write(path, &v);
    return path;
}

TEST(a_repository_is_fetched_once_without_its_weights)
{
    TOOL(&tool, "-m", "org/model", "-p", "they", "--pieces");
    tool_must(&tool, 0, "'they'", "");
    assert_int_equal(fake_hub_n_requests(hub, FAKE_ANY, "model.safetensors"), 0);
    size_t n = n_requests();
    TOOL(&tool, "-m", "org/model", "--explain");
    tool_must(&tool, 0, "the cached tokenizer of org/model, ", "");
    assert_int_equal(n_requests(), n);
}

TEST(what_the_metadata_names_is_fetched_and_then_cached)
{
    const char *model = sourced_model(420);
    TOOL(&tool, "-m", model, "--explain");
    tool_must(&tool, 0, "the tokenizer of org/model, downloaded to ", "");
    assert_text_has(tool.out, "network      downloaded\n");
    assert_text_has(tool.out, "cache        yes\n");
    assert_text_has(tool.out, "org/model in ");
    assert_text_has(tool.out, ": not cached\n");
    size_t n = n_requests();
    TOOL(&tool, "-m", model, "--explain");
    tool_must(&tool, 0, "the cached tokenizer of org/model, ", "");
    assert_int_equal(n_requests(), n);
}

static void must_stay_silent(const char *const *arguments)
{
    tool_run(&tool, arguments);
    tool_must(&tool, 11, NULL, "offline, and no usable tokenizer is on this machine");
    assert_int_equal(n_requests(), 0);
}

TEST(offline_sends_no_request)
{
    const char *model = sourced_model(420);
    const char *const named[] = {"-m", model, "-p", "x", NULL};
    const char *const repository[] = {"-m", "org/model", "-p", "x", NULL};
    const char *const flagged[] = {"-m", model, "-p", "x", "--offline", NULL};
    const char *const guessing[] = {"-m", model, "-p", "x", "--offline", "--guess", NULL};
    must_stay_silent(flagged);
    must_stay_silent(guessing);
    static const char *const ours[] = {"BITNET_OFFLINE=1", NULL};
    tool.environment = ours;
    must_stay_silent(named);
    must_stay_silent(repository);
    static const char *const theirs[] = {"HF_HUB_OFFLINE=1", NULL};
    tool.environment = theirs;
    must_stay_silent(named);
    must_stay_silent(repository);
    tool.environment = NULL;
    TOOL(&tool, "-m", model, "-p", "they", "--count");
    tool_must(&tool, 0, "1\n", NULL);
    tool.environment = ours; /* what is cached needs no network */
    TOOL(&tool, "-m", model, "-p", "they", "--count");
    tool_must(&tool, 0, "1\n", NULL);
}

/* Not only no request: no socket. Without offline the same call is killed, so the trap works. */
TEST(offline_opens_no_socket_and_finds_what_is_cached)
{
    const char *model = sourced_model(420);
    tool.no_sockets = true;
    TOOL(&tool, "-m", model, "-p", "they", "--count");
    if (tool.code == 126) skip(); /* this kernel has no such filter */
    assert_true(tool.code >= 128);
    TOOL(&tool, "-m", model, "-p", "they", "--count", "--offline");
    tool_must(&tool, 11, "", "offline");
    tool.no_sockets = false;
    TOOL(&tool, "-m", model, "-p", "they", "--count");
    tool_must(&tool, 0, "1\n", NULL);
    tool.no_sockets = true;
    TOOL(&tool, "-m", model, "-p", "they", "--count", "--offline");
    tool_must(&tool, 0, "1\n", NULL);
    TOOL(&tool, "-m", "org/model", "-p", "they", "--count"); /* nor when it is cached */
    tool_must(&tool, 0, "1\n", NULL);
    tool.no_sockets = false;
}

TEST(a_wrong_download_is_kept_and_refused)
{
    TOOL(&tool, "-m", sourced_model(100), "-p", "x");
    tool_must(&tool, 3, "",
              "the tokenizer of org/model does not belong to this model: it has 420 tokens, the "
              "model only 100 rows; it was kept in ");
    const char *kept = strstr(tool.err, "kept in ") + strlen("kept in ");
    char path[1024];
    snprintf(path, sizeof path, "%.*s/tokenizer.json", (int)strcspn(kept, "\n"), kept);
    assert_true(bitnet_path_exists(path));
    /* Next time it is in the cache, and still not taken. */
    TOOL(&tool, "-m", sourced_model(100), "-p", "x");
    tool_must(&tool, 3, "", "it has 420 tokens, the model only 100 rows");
}

TEST(a_repository_that_is_not_there_is_told)
{
    TOOL(&tool, "-m", "org/absent", "-p", "x");
    tool_must(&tool, 4, "", "org/absent");
}

/* Sends 40 percent of each range that is asked for, kills who asked, and lets it ask again. What
 * was sent each time. */
static void kill_and_resume(uint64_t *first, uint64_t *second)
{
    const char *const arguments[] = {"-m", "org/model", "-p", "they", "-q", NULL};
    struct temp_dir cache;
    snprintf(cache.path, sizeof cache.path, "%s", temp_dir_file(&tool.dir, "cache"));
    temp_dir_remove(&cache);
    fake_hub_clear(hub);
    fake_hub_rule(
        hub,
        (struct fake_rule){
            .origin = FAKE_CDN, .from = 1, .action = FAKE_STALL, .n = LARGE * 4 / 10, .ms = 60000});
    int status, pid = tool_spawn(&tool, arguments);
    for (int i = 0; i < 6000 && fake_hub_bytes(hub, FAKE_CDN, "") < LARGE * 4 / 10; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL); /* to read what was sent */
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); /* until the hub has noticed */
    *first = fake_hub_bytes(hub, FAKE_CDN, "");
    fake_hub_clear(hub);
    tool_run(&tool, arguments);
    tool_must(&tool, 0, NULL, "");
    *second = fake_hub_bytes(hub, FAKE_CDN, "");
    printf("  sent %.1f %%, then %.1f %%\n", 100.0 * (double)*first / LARGE,
           100.0 * (double)*second / LARGE);
}

/* K10: killed after 40 percent of each range that it asked for, the second run asks for what is
 * missing, and for little that was on its way when the first one died. How much that is depends on
 * who is given the processor: the best of some tries counts. */
TEST(a_killed_download_goes_on_where_it_stopped)
{
    uint64_t first, second;
    bool is_thrifty = false;
    fake_hub_put(hub, "tokenizer.json", large, LARGE, true);
    for (int i = 0; i < 10 && !is_thrifty; i++) {
        kill_and_resume(&first, &second);
        is_thrifty = first >= LARGE * 4 / 10 && first < LARGE && first + second >= LARGE &&
                     first + second <= LARGE * 106 / 100;
    }
    assert_true(is_thrifty);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    program = argv[1];
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
        T(a_repository_is_fetched_once_without_its_weights),
        T(what_the_metadata_names_is_fetched_and_then_cached),
        T(offline_sends_no_request),
        T(offline_opens_no_socket_and_finds_what_is_cached),
        T(a_wrong_download_is_kept_and_refused),
        T(a_repository_that_is_not_there_is_told),
        T(a_killed_download_goes_on_where_it_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
