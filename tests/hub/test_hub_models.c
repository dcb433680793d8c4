/* MODEL of every tool may be a repository: found in the cache without a single request, fetched
 * when it is not there and we are not offline, and said in words when neither helps. The model is
 * the small one of the repository, converted here. The program's path is the first argument. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *program;

static struct ran {
    int code;
    char out[16384], err[16384];
} ran;

static void read_back(FILE *f, char *text, size_t room)
{
    rewind(f);
    text[fread(text, 1, room - 1, f)] = 0;
    fclose(f);
}

static int run(struct rig *rig, bool offline, const char *const *arguments)
{
    const char *argv[24] = {program};
    size_t n = 1;
    for (; *arguments && n < 23; arguments++) argv[n++] = *arguments;
    FILE *out = tmpfile(), *err = tmpfile();
    int status, pid = fork();
    if (pid == 0) {
        dup2(fileno(out), 1);
        dup2(fileno(err), 2);
        setenv("HF_ENDPOINT", fake_hub_endpoint(rig->fake), 1);
        setenv("HF_HUB_CACHE", rig->cache, 1);
        setenv("HF_TOKEN", "hf_secret", 1);
        setenv("BITNET_TUNING", "none", 1);
        if (offline) setenv("BITNET_OFFLINE", "1", 1);
        execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    read_back(out, ran.out, sizeof ran.out);
    read_back(err, ran.err, sizeof ran.err);
    assert_null(strstr(ran.out, "hf_secret"));
    assert_null(strstr(ran.err, "hf_secret"));
    return ran.code;
}
#define RUN(rig, offline, ...) run(rig, offline, (const char *const[]){__VA_ARGS__, NULL})

static void expect(const char *what, int code)
{
    if (ran.code != code) fail_msg("%s: %d: %s", what, ran.code, ran.err);
}

static char *read_all(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is not there", path);
    char *bytes = malloc(32 << 20);
    *n = fread(bytes, 1, 32 << 20, f);
    fclose(f);
    return bytes;
}

static const char *const checkpoint[] = {"config.json", "generation_config.json", "tokenizer.json",
                                         "tokenizer_config.json", "model.safetensors"};
static char *served[8];

/* org/model holds the checkpoint (when wanted) and one GGUF file of it. */
static void serve(struct rig *rig, bool with_checkpoint)
{
    const char *gguf = temp_dir_file(&rig->dir, "made.gguf");
    size_t n;
    fake_hub_drop(rig->fake, "config.json");
    fake_hub_drop(rig->fake, "model.safetensors");
    RUN(rig, true, "convert", BITNET_SOURCE_DIR "/models/tiny", "--qtype", "i2_s", "--name",
        "model", "-o", gguf, "--quiet");
    expect("convert models/tiny", 0);
    served[0] = read_all(gguf, &n);
    fake_hub_put(rig->fake, "tiny-I2_S.gguf", served[0], n, true);
    for (size_t i = 0; with_checkpoint && i < COUNT(checkpoint); i++) {
        char path[500];
        snprintf(path, sizeof path, BITNET_SOURCE_DIR "/models/tiny/%s", checkpoint[i]);
        served[i + 1] = read_all(path, &n);
        fake_hub_put(rig->fake, checkpoint[i], served[i + 1], n, strstr(path, "safetensors"));
    }
}

static void unserve(void)
{
    for (size_t i = 0; i < COUNT(served); i++) {
        free(served[i]);
        served[i] = NULL;
    }
}

static void ask_every_tool(struct rig *rig, const char *model)
{
    const char *text = temp_dir_file(&rig->dir, "text.txt");
    const char *out = temp_dir_file(&rig->dir, "out.gguf");
    const struct {
        const char *arguments[16];
    } calls[] = {
        {{"cli", "-m", model, "-p", "Once", "-n", "3", "--temp", "0", "-q", "-t", "1"}},
        {{"bench", "-m", model, "-p", "4", "-n", "2", "-r", "1", "-q", "-t", "1"}},
        {{"perplexity", "-m", model, "-f", text, "-c", "16", "-q", "-t", "1"}},
        {{"perplexity", "-m", model, "--base", model, "-f", text, "-c", "16", "-q", "-t", "1"}},
        {{"tokenize", "-m", model, "-p", "Once upon a time"}},
        {{"gguf", "show", model}},
        {{"gguf", "dump", model}},
        {{"gguf", "validate", model, "--deep"}},
        {{"gguf", "hash", model}},
        {{"gguf", "diff", model, model}},
        {{"quantize", model, out, "tq2_0", "--force"}},
    };
    static const char words[] = "Once upon a time there was a cat. ";
    char story[10 * sizeof words];
    for (size_t i = 0; i < 10; i++) memcpy(story + i * (sizeof words - 1), words, sizeof words);
    temp_dir_write(&rig->dir, "text.txt", story, strlen(story));
    for (size_t i = 0; i < COUNT(calls); i++) {
        run(rig, true, calls[i].arguments);
        if (ran.code != 0)
            fail_msg("%s %s: %d: %s", calls[i].arguments[0], calls[i].arguments[1], ran.code,
                     ran.err);
    }
}

TEST(every_tool_takes_a_repository_with_one_gguf_from_the_cache_without_a_request)
{
    struct rig *rig = *state;
    serve(rig, false);
    RUN(rig, false, "gguf", "show", "org/model"); /* the network, once */
    expect("gguf show", 0);
    assert_true(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL) > 0);
    rig_lint(rig, true);
    fake_hub_clear(rig->fake);
    ask_every_tool(rig, "org/model");
    ask_every_tool(rig, "hf:org/model:tiny-I2_S.gguf");
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0);
    unserve();
}

TEST(a_type_names_the_file_beside_a_checkpoint_and_the_checkpoint_is_converted)
{
    struct rig *rig = *state;
    const char *out = temp_dir_file(&rig->dir, "again.gguf");
    serve(rig, true);
    RUN(rig, false, "convert", "org/model", "--qtype", "i2_s", "-o", out, "--quiet");
    expect("convert", 0);
    RUN(rig, false, "gguf", "diff", "org/model:i2_s", out);
    expect("gguf diff", 0);
    fake_hub_clear(rig->fake);
    RUN(rig, true, "cli", "-m", "org/model:i2_s", "-p", "Once", "-n", "2", "-q", "-t", "1");
    expect("cli", 0);
    RUN(rig, true, "cli", "-m", "org/model", "-p", "Once", "-n", "2", "-q", "-t", "1");
    expect("cli, the one GGUF that is in the snapshot", 0);
    RUN(rig, true, "cli", "-m", "org/model:q6_k", "-p", "Once", "-n", "2", "-q", "-t", "1");
    assert_int_not_equal(ran.code, 0);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0);
    unserve();
}

TEST(what_cannot_be_a_model_is_said_in_words)
{
    struct rig *rig = *state;
    RUN(rig, true, "cli", "-m", "org/model", "-p", "x");
    expect("offline, nothing cached", 11);
    RUN(rig, false, "cli", "-m", "org/absent", "-p", "x");
    expect("no such repository", 4);
    RUN(rig, false, "gguf", "show", "no-such-file.gguf");
    expect("no such file", 4);
    assert_text_has(ran.err, "no file or folder");
    RUN(rig, false, "cli", "-m", "org/model", "-p", "x"); /* a checkpoint, no GGUF */
    expect("no GGUF in it", 3);
    assert_text_has(ran.err, "bitnet convert");
}

/* The network is there, nothing is cached: what the flag forbids is not done. */
TEST(offline_on_the_command_line_asks_for_nothing)
{
    struct rig *rig = *state;
    const char *out = temp_dir_file(&rig->dir, "never.gguf");
    const char *text = temp_dir_file(&rig->dir, "text.txt");
    const struct {
        const char *arguments[16];
    } calls[] = {
        {{"cli", "-m", "org/model", "-p", "Once", "--offline"}},
        {{"bench", "-m", "org/model", "--offline"}},
        {{"perplexity", "-m", "org/model", "-f", text, "--offline"}},
        {{"embedding", "-m", "org/model", "-p", "Once", "--offline"}},
        {{"tokenize", "-m", "org/model", "-p", "Once", "--offline"}},
        {{"convert", "org/model", "--qtype", "i2_s", "--offline"}},
        {{"quantize", "org/model", out, "i2_s", "--offline"}},
        {{"gguf", "show", "org/model", "--offline"}},
        {{"gguf", "validate", "hf:org/model", "--offline"}},
    };
    temp_dir_write(&rig->dir, "text.txt", "a text", 6);
    serve(rig, false);
    fake_hub_clear(rig->fake);
    for (size_t i = 0; i < COUNT(calls); i++) {
        run(rig, false, calls[i].arguments);
        expect(calls[i].arguments[0], 11);
        assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0);
    }
    unserve();
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(every_tool_takes_a_repository_with_one_gguf_from_the_cache_without_a_request),
        CASE(a_type_names_the_file_beside_a_checkpoint_and_the_checkpoint_is_converted),
        CASE(what_cannot_be_a_model_is_said_in_words),
        CASE(offline_on_the_command_line_asks_for_nothing),
    };
    if (argc != 2) return 2;
    program = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
