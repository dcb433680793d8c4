/* A zoo of files that are wrong about themselves. Each is diagnosed by `bitnet gguf validate
 * --deep` in one line that ends in a command; the command is run as it stands there; the file that
 * it makes has nothing left to complain about, and the weights that it ought to have. The model is
 * the trained one of models/tiny. Argument: the bitnet program. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/doctor.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/logical.h"
#include "bitnet/text.h"
#include "temp_dir.h"

static const char *program;
static struct temp_dir dir;
static struct bitnet_error err;

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static const char *file(const char *name)
{
    return temp_dir_file(&dir, name);
}

/* ------------------------------------------------------------------ running commands */

static char heard[16384];

/* Runs `command` with "bitnet" at its front replaced by the program; what it says goes to `heard`.
 */
static int run(const char *command)
{
    char line[4096];
    snprintf(line, sizeof line, "'%s'%s 2>&1 </dev/null", program, command + strlen("bitnet"));
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    size_t n = fread(heard, 1, sizeof heard - 1, pipe);
    heard[n] = '\0';
    int how = pclose(pipe);
    return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

/* The warnings of validate --deep about a file. */
static void validate(const char *name)
{
    char command[1024];
    snprintf(command, sizeof command, "bitnet gguf validate --deep '%s'", file(name));
    if (run(command) != 0) fail_msg("%s: %s", name, heard);
}

static void hash(const char *path, uint8_t digest[BITNET_DIGEST_BYTES])
{
    struct bitnet_gguf *gguf = NULL;
    const struct bitnet_hash_options options = {.kind = BITNET_HASH_LOGICAL};
    MUST(bitnet_gguf_open(&gguf, path, NULL, &err));
    MUST(bitnet_hash_model(gguf, &options, digest, &err));
    bitnet_gguf_close(gguf);
}

/* Diagnosis in one line, the command of that line, a file without complaints and with the weights
 * of `right`. */
static void cure(const char *name, const char *symptom, const char *right)
{
    uint8_t want[BITNET_DIGEST_BYTES], got[BITNET_DIGEST_BYTES];
    char command[2048], mended[512];
    validate(name);
    char *line = strstr(heard, symptom), *mend = line ? strstr(line, "mend: ") : NULL;
    if (!mend) fail_msg("%s: no '%s' with a command in: %s", name, symptom, heard);
    char *end = strchr(line, '\n');
    assert_non_null(end);
    assert_true(mend < end); /* one line */
    snprintf(command, sizeof command, "%.*s", (int)(end - mend) - 6, mend + 6);
    if (run(command) != 0) fail_msg("%s: %s", command, heard);
    snprintf(mended, sizeof mended, "%.*s.mended.gguf", (int)strlen(name) - 5, name);
    validate(mended);
    if (strstr(heard, "warning")) fail_msg("after %s: %s", command, heard);
    hash(file(mended), got);
    hash(file(right), want);
    assert_memory_equal(got, want, sizeof got);
}

/* ------------------------------------------------------------------ making files */

static void convert(const char *name, enum bitnet_dtype type, const char *model)
{
    struct bitnet_convert_options options = {.type = type, .overwrite = true};
    struct bitnet_plan *plan = NULL;
    if (model)
        MUST(bitnet_plan_from_gguf(&plan, file(model), &options, &err));
    else
        MUST(bitnet_plan_new(&plan, BITNET_SOURCE_DIR "/models/tiny", &options, &err));
    MUST(bitnet_plan_run(plan, file(name), &err));
    bitnet_plan_free(plan);
}

static void edit(const char *in, const char *out, const char *const *sets, size_t n,
                 const struct bitnet_gguf_transform *transform)
{
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_gguf_edit edits[16];
    for (size_t i = 0; i < n; i++) {
        if (strchr(sets[i], '='))
            MUST(bitnet_gguf_edit_parse(&edits[i], bitnet_str_of(sets[i]), &err));
        else
            edits[i] = (struct bitnet_gguf_edit){.key = bitnet_str_of(sets[i]), .is_removal = true};
    }
    MUST(bitnet_gguf_open(&gguf, file(in), NULL, &err));
    MUST(bitnet_gguf_edit_file(gguf, edits, n, transform, file(out), true, &err));
    bitnet_gguf_close(gguf);
}

static void edit_one(const char *in, const char *out, const char *set)
{
    edit(in, out, &set, 1, NULL);
}

static bool is_i2s(void *user, const struct bitnet_tensor *tensor)
{
    (void)user;
    return tensor->type == BITNET_DTYPE_i2_s;
}

/* The definitions of formats.md 2.2, from elements to bits. */
static enum bitnet_status respell(void *user, const struct bitnet_tensor *t, uint8_t *out,
                                  struct bitnet_error *e)
{
    char letter = *(const char *)user;
    size_t cols = (size_t)t->dims[0], n = cols * (size_t)t->dims[1];
    (void)e;
    memcpy(out, t->data.at, t->data.n);
    memset(out, 0, n / 4);
    for (size_t i = 0; i < n; i++) {
        unsigned code = t->data.at[i / 128 * 32 + i % 32] >> (6 - 2 * (i % 128 / 32)) & 3;
        size_t byte = letter == 'B' ? i / 64 * 16 + i % 16 : i / cols / 4 * cols + i % cols;
        size_t s = letter == 'B' ? i % 64 / 16 : i / cols % 4;
        out[byte] |= (uint8_t)(code << (6 - 2 * s));
    }
    return BITNET_OK;
}

static void append(const char *in, const char *out, const void *bytes, size_t n)
{
    struct bitnet_str text = {0};
    MUST(bitnet_read_file(file(in), 64u << 20, &text, &err));
    char *longer = malloc(text.n + n);
    assert_non_null(longer);
    memcpy(longer, text.at, text.n);
    memcpy(longer + text.n, bytes, n);
    temp_dir_write(&dir, out, longer, text.n + n);
    bitnet_free((void *)(uintptr_t)text.at);
    free(longer);
}

/* ------------------------------------------------------------------ the zoo */

TEST(a_sound_model_is_not_ill)
{
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_i2_s, BITNET_DTYPE_tl2,
                                              BITNET_DTYPE_tq2_0, BITNET_DTYPE_f16};
    for (size_t i = 0; i < COUNT(types); i++) {
        convert("a.gguf", types[i], NULL);
        validate("a.gguf");
        if (strstr(heard, "warning")) fail_msg("%s", heard);
    }
}

TEST(a_wrong_file_type)
{
    convert("a.gguf", BITNET_DTYPE_i2_s, NULL);
    edit_one("a.gguf", "b.gguf", "general.file_type=u32:2");
    cure("b.gguf", "general.file_type is 2, but most weights are I2_S", "a.gguf");
}

TEST(f16_disguised_as_i2_s)
{
    convert("a.gguf", BITNET_DTYPE_f16, NULL);
    edit_one("a.gguf", "b.gguf", "general.file_type=u32:40");
    cure("b.gguf", "general.file_type is 40, but most weights are F16", "a.gguf");
}

TEST(silu_where_the_vocabulary_says_squared_relu)
{
    struct bitnet_gguf *gguf = NULL;
    static char renamed[12][128];
    size_t n = 0, n_renamed = 0;
    convert("a.gguf", BITNET_DTYPE_i2_s, NULL);
    MUST(bitnet_gguf_open(&gguf, file("a.gguf"), NULL, &err));
    static char removed[12][96];
    struct bitnet_gguf_edit edits[32];
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(gguf, i);
        if (!bitnet_str_starts(pair->key, "bitnet-b1.58.")) continue;
        snprintf(removed[n_renamed], sizeof removed[0], "%.*s", BITNET_STR_ARGS(pair->key));
        snprintf(renamed[n_renamed], sizeof renamed[0], "bitnet.%s", removed[n_renamed] + 13);
        edits[n++] =
            (struct bitnet_gguf_edit){.key = bitnet_str_of(removed[n_renamed]), .is_removal = true};
        edits[n++] = (struct bitnet_gguf_edit){.key = bitnet_str_of(renamed[n_renamed++]),
                                               .value = pair->value};
    }
    MUST(bitnet_gguf_edit_parse(&edits[n++], BITNET_STR("general.architecture=string:bitnet"),
                                &err));
    MUST(bitnet_gguf_edit_file(gguf, edits, n, NULL, file("b.gguf"), true, &err));
    bitnet_gguf_close(gguf);
    cure("b.gguf", "the architecture 'bitnet' means SiLU", "a.gguf");
}

TEST(i2_s_in_the_layouts_of_some_builds)
{
    convert("a.gguf", BITNET_DTYPE_i2_s, NULL);
    for (const char *letter = "BC"; *letter; letter++) {
        char name = *letter, words[64];
        const struct bitnet_gguf_transform transform = {is_i2s, respell, &name};
        edit("a.gguf", "b.gguf", NULL, 0, &transform);
        remove(file("b.mended.gguf"));
        snprintf(words, sizeof words, "the I2_S tensors are in layout %c", name);
        cure("b.gguf", words, "a.gguf");
    }
}

TEST(tiles_that_are_not_recorded)
{
    static const uint64_t dims[2] = {1536, 1536}; /* published */
    struct bitnet_gguf_writer *w = NULL;
    uint64_t n_bytes;
    convert("tiny.gguf", BITNET_DTYPE_tl2, NULL);
    validate("tiny.gguf");
    MUST(bitnet_gguf_writer_new(&w, file("a.gguf"),
                                &(struct bitnet_gguf_writer_options){
                                    .dialect = BITNET_DIALECT_BITNETCPP, .overwrite = true},
                                &err));
    MUST(bitnet_gguf_tensor_declare(w, BITNET_STR("a.weight"), BITNET_DTYPE_tl1, dims, 2, &err));
    MUST(bitnet_tensor_bytes(BITNET_DTYPE_tl1, dims, 2, &n_bytes, &err));
    MUST(bitnet_gguf_begin(w, &err));
    uint8_t *bytes = calloc((size_t)n_bytes, 1);
    for (size_t i = 0; i < n_bytes - 32; i++) bytes[i] = (uint8_t)(i % 3 ? 0x44 : 0x80);
    bitnet_store_f32(bytes + n_bytes - 32, 0.5f);
    MUST(bitnet_gguf_tensor_write(w, bytes, (size_t)n_bytes, &err));
    free(bytes);
    MUST(bitnet_gguf_finish(w, &err));
    /* a lone tensor is no model: the structure and the data are judged */
    char command[1024];
    snprintf(command, sizeof command, "bitnet gguf validate --deep --level structure '%s'",
             file("a.gguf"));
    assert_int_equal(run(command), 0);
    char *mend = strstr(heard, "mend: ");
    assert_non_null(mend);
    *strchr(mend, '\n') = '\0';
    snprintf(command, sizeof command, "%s", mend + 6);
    if (run(command) != 0) fail_msg("%s", heard);
    snprintf(command, sizeof command, "bitnet gguf validate --deep --level structure '%s'",
             file("a.mended.gguf"));
    assert_int_equal(run(command), 0);
    assert_null(strstr(heard, "warning"));
}

TEST(tiles_that_nobody_knows_are_asked_for_by_name)
{
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_gguf_edit edits[64];
    char command[2048];
    size_t n = 0;
    convert("a.gguf", BITNET_DTYPE_tl2, NULL);
    MUST(bitnet_gguf_open(&gguf, file("a.gguf"), NULL, &err));
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++)
        if (bitnet_str_starts(bitnet_gguf_pair_at(gguf, i)->key, "bitnet.tl."))
            edits[n++] = (struct bitnet_gguf_edit){.key = bitnet_gguf_pair_at(gguf, i)->key,
                                                   .is_removal = true};
    MUST(bitnet_gguf_edit_file(gguf, edits, n, NULL, file("b.gguf"), true, &err));
    bitnet_gguf_close(gguf);
    snprintf(command, sizeof command, "bitnet gguf validate --deep '%s'", file("b.gguf"));
    assert_int_not_equal(run(command), 0);
    assert_text_has(heard, "the file does not say the tile for shape");
    assert_text_has(heard, "--fix tl-tiles --kernel-config kernel_config.ini");
    snprintf(command, sizeof command,
             "bitnet gguf repair '%s' -o '%s' --fix tl-tiles --kernel-config '%s' --json",
             file("b.gguf"), file("c.gguf"), file("a.kernel_config.ini"));
    if (run(command) != 0) fail_msg("%s", heard);
    assert_text_has(heard, "\"bitnet-gguf-repair\"");
    validate("c.gguf");
    uint8_t want[BITNET_DIGEST_BYTES], got[BITNET_DIGEST_BYTES];
    hash(file("a.gguf"), want);
    hash(file("c.gguf"), got);
    assert_memory_equal(want, got, sizeof got);
}

TEST(a_vocabulary_size_that_is_not_true)
{
    convert("a.gguf", BITNET_DTYPE_i2_s, NULL);
    edit_one("a.gguf", "b.gguf", "bitnet-b1.58.vocab_size=u32:77");
    cure("b.gguf", "the vocabulary size is given as 77", "a.gguf");
}

TEST(bytes_after_the_end)
{
    convert("a.gguf", BITNET_DTYPE_i2_s, NULL);
    append("a.gguf", "b.gguf", "left over from another file", 27);
    cure("b.gguf", "bytes after the last tensor belong to no tensor", "a.gguf");
}

TEST(norms_that_others_do_not_accept)
{
    struct bitnet_type_rule rule = {"norm[.]weight$", BITNET_DTYPE_f16};
    struct bitnet_convert_options options = {
        .type = BITNET_DTYPE_i2_s, .overwrite = true, .rules = &rule, .n_rules = 1};
    struct bitnet_plan *plan = NULL;
    MUST(bitnet_plan_new(&plan, BITNET_SOURCE_DIR "/models/tiny", &options, &err));
    MUST(bitnet_plan_run(plan, file("b.gguf"), &err));
    bitnet_plan_free(plan);
    cure("b.gguf", "other runtimes expect F32 norms", "b.gguf");
}

/* What no command can mend is said to be so, in one line. */
TEST(what_is_lost_is_told_and_nothing_is_promised)
{
    static const struct {
        const char *text, *words;
    } files[] = {
        {"<!DOCTYPE html><html>sign in</html>", "this is a web page, not a model"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS"},
        {"", "empty"},
    };
    char command[1024];
    snprintf(command, sizeof command, "bitnet gguf validate --deep '%s'", file("x.gguf"));
    for (size_t i = 0; i < COUNT(files); i++) {
        temp_dir_write(&dir, "x.gguf", files[i].text, strlen(files[i].text));
        assert_int_not_equal(run(command), 0);
        assert_text_has(heard, files[i].words);
        assert_null(strstr(heard, "mend: "));
    }
    struct bitnet_str text = {0};
    convert("a.gguf", BITNET_DTYPE_i2_s, NULL);
    MUST(bitnet_read_file(file("a.gguf"), 64u << 20, &text, &err));
    temp_dir_write(&dir, "x.gguf", text.at, text.n / 2);
    bitnet_free((void *)(uintptr_t)text.at);
    assert_int_not_equal(run(command), 0);
    assert_text_has(heard, "incomplete download or copy");
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_sound_model_is_not_ill),
        T(a_wrong_file_type),
        T(f16_disguised_as_i2_s),
        T(silu_where_the_vocabulary_says_squared_relu),
        T(i2_s_in_the_layouts_of_some_builds),
        T(tiles_that_are_not_recorded),
        T(tiles_that_nobody_knows_are_asked_for_by_name),
        T(a_vocabulary_size_that_is_not_true),
        T(bytes_after_the_end),
        T(norms_that_others_do_not_accept),
        T(what_is_lost_is_told_and_nothing_is_promised),
    };
    if (argc < 2) return 77;
    program = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
