/* The program itself: exit codes, what is on which stream, JSON that parses, signals. Its path is
 * the first argument. Numbers in comments are those of the scenario list in the hub's reference. */
#include "rig.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bitnet/json.h>

#include "../convert/checkpoint.h"

static const char *program;

struct ran {
    int code; /* 128 + n: ended by signal n */
    char out[65536], err[65536];
};

static void read_back(FILE *f, char *text, size_t room)
{
    rewind(f);
    text[fread(text, 1, room - 1, f)] = 0;
    fclose(f);
}

/* The journal of the large file speaks of bytes that are there. */
static bool knows_bytes(const struct rig *rig)
{
    char name[700], text[4096] = "";
    const char *etag = fake_hub_etag(rig->fake, "model.safetensors");
    DIR *list = opendir(rig_file(rig, ".bitnet-hub/partial"));
    bool found = false;
    for (struct dirent *e; list && !found && (e = readdir(list));) {
        if (strncmp(e->d_name, etag, 64) != 0) continue;
        snprintf(name, sizeof name, ".bitnet-hub/partial/%s", e->d_name);
        FILE *f = fopen(rig_file(rig, name), "r");
        if (!f) continue;
        text[fread(text, 1, sizeof text - 1, f)] = 0;
        fclose(f);
        found = strstr(text, "\n+ ") != NULL;
    }
    if (list) closedir(list);
    return found;
}

/* Runs `bitnet hub ARGUMENTS`; with `stop`, it gets SIGINT when a part of the large file is there.
 */
static struct ran *run(struct rig *rig, bool stop, const char *const *arguments)
{
    static struct ran ran;
    const char *argv[32] = {program, "hub"};
    size_t n = 2;
    for (; *arguments && n < 31; arguments++) argv[n++] = *arguments;
    FILE *out = tmpfile(), *err = tmpfile();
    int status, pid = fork();
    if (pid == 0) {
        dup2(fileno(out), 1);
        dup2(fileno(err), 2);
        setenv("HF_ENDPOINT", fake_hub_endpoint(rig->fake), 1);
        setenv("HF_HUB_CACHE", rig->cache, 1);
        setenv("HF_TOKEN", "hf_secret", 1);
        execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (stop) {
        for (int i = 0; i < 6000 && !knows_bytes(rig); i++) usleep(10000);
        kill(pid, SIGINT);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    read_back(out, ran.out, sizeof ran.out);
    read_back(err, ran.err, sizeof ran.err);
    assert_null(strstr(ran.out, "hf_secret")); /* 93 */
    assert_null(strstr(ran.err, "hf_secret"));
    for (const char *c = ran.err; *c; c++) /* 92: not a terminal */
        assert_true((unsigned char)*c >= 0x20 || *c == '\n');
    return &ran;
}
#define RUN(rig, ...) run(rig, false, (const char *const[]){__VA_ARGS__, NULL})

/* 1, 92 */
TEST(a_pull_prints_the_folder_and_nothing_else)
{
    struct rig *rig = *state;
    char want[500];
    snprintf(want, sizeof want, "%s/models--org--model/snapshots/%s\n", rig->cache,
             fake_hub_head(rig->fake));
    struct ran *r = RUN(rig, "pull", "org/model");
    assert_int_equal(r->code, 0);
    assert_string_equal(r->out, want);
    r = RUN(rig, "pull", "org/model", "config.json", "--quiet");
    snprintf(want + strlen(want) - 1, 20, "/config.json\n");
    assert_string_equal(r->out, want);
    assert_string_equal(r->err, "");
    *strrchr(want, '/') = '\n';
    *(strchr(want, '\n') + 1) = 0;
    r = RUN(rig, "path", "org/model");
    assert_string_equal(r->out, want);
    rig_lint(rig, true);
}

TEST(json_is_one_object_per_line_and_parses)
{
    struct rig *rig = *state;
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){.origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1000});
    struct ran *r = RUN(rig, "pull", "org/model", "--json");
    assert_int_equal(r->code, 0);
    unsigned n_lines = 0;
    for (char *line = r->out; *line;) {
        char *end = strchr(line, '\n');
        struct bitnet_arena arena = {0};
        const struct bitnet_json *root;
        assert_non_null(end);
        assert_int_equal(bitnet_json_parse(&root, (struct bitnet_str){line, (size_t)(end - line)},
                                           NULL, &arena, NULL),
                         BITNET_OK);
        assert_non_null(bitnet_json_get(root, "event"));
        bitnet_arena_free(&arena);
        line = end + 1;
        n_lines++;
    }
    assert_true(n_lines >= 4); /* plan, retry, two files, done */
    assert_text_has(r->out, "\"event\":\"retry\"");
    assert_text_has(r->out, "\"event\":\"done\"");
    static const char *const verbs[] = {"ls", "du"};
    for (size_t i = 0; i < COUNT(verbs); i++) {
        struct bitnet_arena arena = {0};
        const struct bitnet_json *root;
        r = RUN(rig, verbs[i], "--json");
        assert_int_equal(bitnet_json_parse(&root, bitnet_str_of(r->out), NULL, &arena, NULL),
                         BITNET_OK);
        assert_int_equal(bitnet_json_get(root, "repos")->n_children, 1);
        bitnet_arena_free(&arena);
    }
}

TEST(exit_codes_are_as_documented)
{
    struct rig *rig = *state;
    static const struct {
        const char *arguments[5];
        int code;
    } cases[] = {
        {{"--help"}, 0},
        {{"pull", "--help"}, 0},
        {{"nothing"}, 2},
        {{"pull"}, 2},
        {{"pull", "../x"}, 2},
        {{"pull", "org/model", "--no-such-option"}, 2},
        {{"pull", "org/model", "--jobs", "0"}, 2},
        {{"pull", "org/model@v9"}, 4},
        {{"pull", "org/absent"}, 4},
        {{"pull", "org/model", "absent.json"}, 4},
        {{"path", "org/model"}, 4},
        {{"show", "org/model"}, 4},
        {{"rm", "org/model"}, 4},
        {{"verify"}, 0},
        {{"ls"}, 0},
        {{"prune"}, 0},
        {{"pull", "org/model", "--offline"}, 11},
        {{"pull", "org/model", "--dry-run"}, 0},
        {{"pull", "org/model", "--revision", "main"}, 0},
        {{"pull", "org/model@main", "--revision", "main"}, 2},
        {{"verify", "org/model", "--rehash"}, 0},
        {{"export", "org/model", "/nonexistent/x.tar.zst"}, 4},
        {{"import", "/nonexistent/x.tar.zst"}, 4},
        {{"rm", "org/model@main"}, 0},
        {{"path", "org/model"}, 4},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ran *r = run(rig, false, cases[i].arguments);
        if (r->code != cases[i].code)
            fail_msg("%s %s: %d instead of %d: %s", cases[i].arguments[0],
                     cases[i].arguments[1] ? cases[i].arguments[1] : "", r->code, cases[i].code,
                     r->err);
        if (r->code) assert_text_has(r->err, "bitnet-hub: error: ");
    }
}

/* 24 */
TEST(a_hash_that_is_wrong_ends_with_six)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_FLIP, .n = 5});
    struct ran *r = RUN(rig, "pull", "org/model");
    assert_int_equal(r->code, 6);
    assert_string_equal(r->out, "");
    assert_text_has(r->err, "'model.safetensors': the hash of what 127.0.0.1:");
    assert_text_has(r->err, fake_hub_etag(rig->fake, "model.safetensors"));
}

/* 16 */
TEST(an_interrupt_keeps_what_is_there_and_tells_the_shell)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_HOLD, .n = RIG_LARGE / 2});
    struct ran *r = run(rig, true, (const char *const[]){"pull", "org/model", NULL});
    assert_int_equal(r->code, 128 + SIGINT);
    assert_text_has(r->err, "goes on from here");
    assert_string_equal(r->out, "");
    assert_true(rig_count(rig, ".bitnet-hub/partial") > 0);
    assert_false(rig_exists(rig, "refs/main"));
    fake_hub_clear(rig->fake);
    assert_int_equal(RUN(rig, "pull", "org/model")->code, 0);
    assert_true(fake_hub_bytes(rig->fake, FAKE_CDN, NULL) <= (uint64_t)RIG_LARGE * 51 / 100);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
    rig_lint(rig, true);
}

TEST(a_damaged_file_is_repaired_by_verify_and_pull)
{
    struct rig *rig = *state;
    char name[300];
    assert_int_equal(RUN(rig, "pull", "org/model")->code, 0);
    snprintf(name, sizeof name, "hub/models--org--model/blobs/%s",
             fake_hub_etag(rig->fake, "config.json"));
    temp_dir_write(&rig->dir, name, "{\"model_type\": \"bitnot\"}\n", 25);
    struct ran *r = RUN(rig, "verify", "org/model", "--repair");
    assert_int_equal(r->code, 6);
    assert_text_has(r->out, "'config.json': damaged");
    assert_int_equal(RUN(rig, "pull", "org/model")->code, 0);
    assert_int_equal(RUN(rig, "verify", "org/model", "--rehash")->code, 0);
}

/* The hub borrows the bytes: the caller frees them when nobody asks for the file any more. */
static char *serve_file(struct rig *rig, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "checkpoint/%s", name);
    FILE *f = fopen(temp_dir_file(&rig->dir, path), "rb");
    assert_non_null(f);
    char *bytes = malloc(8 << 20);
    size_t n = fread(bytes, 1, 8 << 20, f);
    fclose(f);
    fake_hub_put(rig->fake, name, bytes, n, strstr(name, "safetensors") != NULL);
    return bytes;
}

TEST(one_command_pulls_converts_and_verifies)
{
    struct rig *rig = *state;
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_MASTERS);
    struct checkpoint *cp = cp_new(&spec);
    const char *folder = temp_dir_file(&rig->dir, "checkpoint");
    const char *out = temp_dir_file(&rig->dir, "model.gguf");
    assert_int_equal(mkdir(folder, 0755), 0);
    cp_write(cp, folder);
    cp_free(cp);
    char *served[] = {serve_file(rig, "config.json"), serve_file(rig, "tokenizer.json"),
                      serve_file(rig, "model.safetensors")};
    struct ran *r = RUN(rig, "pull", "org/model", "--qtype", "i2_s", "-o", out);
    if (r->code) fail_msg("%s", r->err);
    FILE *f = fopen(out, "rb");
    char magic[5] = "";
    assert_non_null(f);
    assert_int_equal(fread(magic, 1, 4, f), 4);
    assert_string_equal(magic, "GGUF");
    fclose(f);
    assert_int_equal(RUN(rig, "pull", "org/model", "--qtype", "nothing", "-o", out)->code, 2);
    for (size_t i = 0; i < sizeof served / sizeof served[0]; i++) free(served[i]);
}

TEST(a_doctor_names_each_thing_that_a_pull_needs_and_which_of_them_fails)
{
    struct rig *rig = *state;
    struct ran *r = RUN(rig, "doctor", "org/model");
    if (r->code) fail_msg("%d: %s%s", r->code, r->out, r->err);
    static const char *const lines[] = {"good  cache",
                                        "good  links",
                                        "good  locks",
                                        "good  token         from HF_TOKEN",
                                        "good  endpoint",
                                        "good  repository    org/model",
                                        "'config.json' can be had",
                                        "'model.safetensors' can be had"};
    for (size_t i = 0; i < COUNT(lines); i++) assert_text_has(r->out, lines[i]);
    assert_false(fake_hub_token_leaked(rig->fake));
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_STATUS, .status = 403});
    r = RUN(rig, "doctor", "org/model", "--json");
    assert_int_equal(r->code, 5);
    assert_text_has(r->out, "{\"sign\":\"bad\",\"what\":\"file\",\"words\":\"model.safetensors");
    assert_text_has(r->out, "answered 403");
    r = RUN(rig, "doctor", "org/absent");
    assert_int_equal(r->code, 4);
    assert_text_has(r->out, "bad   repository");
    fake_hub_clear(rig->fake);
    r = RUN(rig, "doctor", "--offline");
    assert_int_equal(r->code, 0);
    assert_text_has(r->out, "odd   network       not asked");
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0);
    r = RUN(rig, "doctor", "--cache-dir", "/proc/none");
    assert_int_equal(r->code, 7);
    assert_text_has(r->out, "bad   cache");
}

TEST(xet_is_used_when_it_is_asked_for)
{
    struct rig *rig = *state;
    fake_hub_set_xet(rig->fake, true);
    fake_hub_put(rig->fake, "model.safetensors", rig_large, RIG_LARGE, true);
    assert_int_equal(RUN(rig, "pull", "org/model", "--xet")->code, 0);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 0);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
    rig_lint(rig, true);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_pull_prints_the_folder_and_nothing_else),
        CASE(json_is_one_object_per_line_and_parses),
        CASE(exit_codes_are_as_documented),
        CASE(a_hash_that_is_wrong_ends_with_six),
        CASE(an_interrupt_keeps_what_is_there_and_tells_the_shell),
        CASE(a_damaged_file_is_repaired_by_verify_and_pull),
        CASE(one_command_pulls_converts_and_verifies),
        CASE(a_doctor_names_each_thing_that_a_pull_needs_and_which_of_them_fails),
        CASE(xet_is_used_when_it_is_asked_for),
    };
    if (argc != 2) return 2;
    program = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
