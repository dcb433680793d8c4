/* Files and vectors that other people's programs wrote, through the whole room.
 *
 * ../shared/data/golden: a packed checkpoint and the GGUF that bitnet.cpp's converter made of it;
 * matrices and the TL1 and TL2 bytes its converter made of them. ../shared/data/stories260K: a
 * trained Llama in its own format and as a GGUF. Without these folders (or without python3, which
 * rewrites stories260K as a checkpoint) the tests skip by name; test_convert.c tests the same paths
 * against numbers of its own. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "checkpoint.h"
#include "temp_dir.h"

#define SHARED BITNET_SOURCE_DIR "/../shared/data/"

static struct temp_dir dir;
static struct bitnet_error err;

static void expect_ok(enum bitnet_status status)
{
    if (status) fail_msg("%s: %s", bitnet_status_name(status), err.text);
}

static void skip_without(const char *path)
{
    if (bitnet_path_exists(path)) return;
    print_message("SKIPPED: %s is not there\n", path);
    skip();
}

static struct bitnet_gguf *convert(const struct bitnet_convert_options *options)
{
    struct bitnet_plan *plan = NULL;
    struct bitnet_gguf *gguf = NULL;
    const char *out = temp_dir_file(&dir, "out.gguf");
    expect_ok(bitnet_plan_new(&plan, dir.path, options, &err));
    expect_ok(bitnet_plan_run(plan, out, &err));
    bitnet_plan_free(plan);
    expect_ok(bitnet_gguf_open(&gguf, out, NULL, &err));
    return gguf;
}

static void copy_in(const char *from, const char *name)
{
    struct bitnet_str text = {0};
    expect_ok(bitnet_read_file(from, 64u << 20, &text, &err));
    temp_dir_write(&dir, name, text.at, text.n);
    bitnet_free((void *)(uintptr_t)text.at);
}

/* Bytes that mean something: the peer leaves 28 of I2_S's last 32 uninitialised. */
static size_t meaningful_bytes(const struct bitnet_tensor *t)
{
    return t->type == BITNET_DTYPE_i2_s ? t->data.n - 28 : t->data.n;
}

TEST(a_packed_checkpoint_gives_the_tensors_of_bitnet_cpps_converter)
{
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_i2_s};
    struct bitnet_gguf *theirs = NULL;
    skip_without(SHARED "golden/gguf/tiny-b158.I2_S.gguf");
    /* the checkpoint has a SentencePiece vocabulary; any other does for its tensors */
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, dir.path);
    cp_free(cp);
    copy_in(SHARED "golden/hf/b158-packed/config.json", "config.json");
    copy_in(SHARED "golden/hf/b158-packed/model.safetensors", "model.safetensors");
    struct bitnet_gguf *ours = convert(&options);
    expect_ok(bitnet_gguf_open(&theirs, SHARED "golden/gguf/tiny-b158.I2_S.gguf", NULL, &err));
    assert_int_equal(bitnet_gguf_tensor_count(ours), bitnet_gguf_tensor_count(theirs));
    size_t n_ternary = 0;
    for (size_t i = 0; i < bitnet_gguf_tensor_count(theirs); i++) {
        const struct bitnet_tensor *a = bitnet_gguf_tensor_at(theirs, i);
        const struct bitnet_tensor *b = bitnet_gguf_find_tensor(ours, a->name);
        if (!b) fail_msg("%.*s is missing", BITNET_STR_ARGS(a->name));
        assert_int_equal(a->type_number, b->type_number);
        assert_memory_equal(a->dims, b->dims, sizeof a->dims);
        assert_int_equal(a->data.n, b->data.n);
        assert_memory_equal(a->data.at, b->data.at, meaningful_bytes(a));
        n_ternary += a->type == BITNET_DTYPE_i2_s;
    }
    assert_int_equal(n_ternary, 7);
    bitnet_gguf_close(ours);
    bitnet_gguf_close(theirs);
}

static void tiled_vector(const char *name, enum bitnet_dtype type, uint32_t cols,
                         struct bitnet_tile tile)
{
    char path[256];
    struct bitnet_str trits = {0}, bytes = {0};
    struct bitnet_convert_options options = {.type = type, .tile = tile, .overwrite = true};
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    const char *label = bitnet_dtype_info(type)->label;
    snprintf(path, sizeof path, SHARED "golden/inputs/%s.i8", name);
    expect_ok(bitnet_read_file(path, 1 << 20, &trits, &err));
    snprintf(path, sizeof path, SHARED "golden/q/%s.%s.bin", name, label);
    expect_ok(bitnet_read_file(path, 1 << 20, &bytes, &err));
    spec.n_layers = 1;
    spec.n_embd = cols; /* so that k is a matrix of 256 rows and this many columns */
    spec.n_heads = cols / 32;
    spec.n_kv_heads = 8;
    spec.n_ffn = 2 * cols;
    struct checkpoint *cp = cp_new(&spec);
    assert_int_equal(trits.n, 256 * cols);
    cp_set_trits(cp, "blk.0.attn_k.weight", (const int8_t *)trits.at, 0.5703125f);
    cp_write(cp, dir.path);
    struct bitnet_gguf *gguf = convert(&options);
    const struct bitnet_tensor *t =
        bitnet_gguf_find_tensor(gguf, BITNET_STR("blk.0.attn_k.weight"));
    assert_int_equal(t->data.n, bytes.n);
    assert_memory_equal(t->data.at, bytes.at, bytes.n);
    bitnet_gguf_close(gguf);
    cp_free(cp);
    bitnet_free((void *)(uintptr_t)trits.at);
    bitnet_free((void *)(uintptr_t)bytes.at);
}

TEST(tl1_and_tl2_tensors_are_those_of_bitnet_cpps_converter)
{
    skip_without(SHARED "golden/q/trit_256x512_tl2.TL2.bin");
    tiled_vector("trit_256x512_tl2", BITNET_DTYPE_tl2, 512, (struct bitnet_tile){128, 96, 32});
    tiled_vector("trit_256x768_tl2", BITNET_DTYPE_tl2, 768, (struct bitnet_tile){256, 192, 32});
    tiled_vector("trit_256x512_tl1", BITNET_DTYPE_tl1, 512, (struct bitnet_tile){256, 128, 64});
}

/* Runs a Python script; false when there is no python3. */
static bool run_python(const char *script, const char *a, const char *b)
{
    pid_t child = fork();
    if (child == 0) {
        execlp("python3", "python3", script, a, b, (char *)NULL);
        _exit(127);
    }
    int how = 0;
    waitpid(child, &how, 0);
    if (WIFEXITED(how) && WEXITSTATUS(how) == 127) return false;
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    return true;
}

TEST(stories260k_from_its_files_is_the_given_gguf)
{
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_f32};
    struct bitnet_gguf *theirs = NULL;
    skip_without(SHARED "stories260K/stories260K.bin");
    if (!run_python(BITNET_SOURCE_DIR "/scripts/oracle/stories260k_checkpoint.py",
                    SHARED "stories260K", dir.path)) {
        print_message("SKIPPED: there is no python3\n");
        skip();
    }
    struct bitnet_gguf *ours = convert(&options);
    expect_ok(bitnet_gguf_open(&theirs, SHARED "stories260K/stories260K-f32.gguf", NULL, &err));
    assert_int_equal(bitnet_gguf_tensor_count(ours), bitnet_gguf_tensor_count(theirs));
    for (size_t i = 0; i < bitnet_gguf_tensor_count(theirs); i++) {
        const struct bitnet_tensor *a = bitnet_gguf_tensor_at(theirs, i);
        const struct bitnet_tensor *b = bitnet_gguf_find_tensor(ours, a->name);
        if (!b) fail_msg("%.*s is missing", BITNET_STR_ARGS(a->name));
        assert_memory_equal(a->dims, b->dims, sizeof a->dims);
        assert_int_equal(a->data.n, b->data.n);
        assert_memory_equal(a->data.at, b->data.at, a->data.n);
    }
    const struct bitnet_str *tokens_a, *tokens_b;
    size_t n_a = 0, n_b = 0;
    expect_ok(bitnet_gguf_strings(theirs, "tokenizer.ggml.tokens", BITNET_GGUF_REQUIRED, &tokens_a,
                                  &n_a, &err));
    expect_ok(bitnet_gguf_strings(ours, "tokenizer.ggml.tokens", BITNET_GGUF_REQUIRED, &tokens_b,
                                  &n_b, &err));
    assert_int_equal(n_a, n_b);
    for (size_t i = 0; i < n_a; i++) assert_true(bitnet_str_equal(tokens_a[i], tokens_b[i]));
    bitnet_gguf_close(ours);
    bitnet_gguf_close(theirs);
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
        T(a_packed_checkpoint_gives_the_tensors_of_bitnet_cpps_converter),
        T(tl1_and_tl2_tensors_are_those_of_bitnet_cpps_converter),
        T(stories260k_from_its_files_is_the_given_gguf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
