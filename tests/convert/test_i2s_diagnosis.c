/* convert/i2s_diagnosis.c: a trained model tells the layout of its I2_S tensors; a random one tells
 * nothing, and then nothing is said. (The command of the diagnosis is run in test_zoo.c.) */
#include "cm.h"

#include <stdio.h>

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/text.h"
#include "checkpoint.h"
#include "i2s_diagnosis.h"
#include "temp_dir.h"

static struct temp_dir dir;
static struct bitnet_error err;
static char said[1024];

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static void hear(void *user, enum bitnet_log_level level, const char *text)
{
    (void)user, (void)level;
    snprintf(said, sizeof said, "%s", text);
}

/* Converted to I2_S and, unless 'A', spelt in the layout. */
static struct bitnet_gguf *make(const char *model, char letter)
{
    const struct bitnet_convert_options options = {.type = BITNET_DTYPE_i2_s, .overwrite = true};
    struct bitnet_plan *plan = NULL;
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_str text = {0};
    const char *path = temp_dir_file(&dir, "a.gguf");
    MUST(bitnet_plan_new(&plan, model, &options, &err));
    MUST(bitnet_plan_run(plan, path, &err));
    bitnet_plan_free(plan);
    MUST(bitnet_gguf_open(&gguf, path, NULL, &err));
    if (letter == 'A') return gguf;
    MUST(bitnet_read_file(path, 64u << 20, &text, &err));
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(gguf, i);
        size_t cols = (size_t)t->dims[0], n = cols * (size_t)t->dims[1];
        if (t->type != BITNET_DTYPE_i2_s) continue;
        uint8_t *bytes = (uint8_t *)(uintptr_t)text.at + bitnet_gguf_position(gguf, t);
        memset(bytes, 0, n / 4);
        for (size_t e = 0; e < n; e++) {
            unsigned code = t->data.at[e / 128 * 32 + e % 32] >> (6 - 2 * (e % 128 / 32)) & 3;
            size_t byte = letter == 'B' ? e / 64 * 16 + e % 16 : e / cols / 4 * cols + e % cols;
            size_t s = letter == 'B' ? e % 64 / 16 : e / cols % 4;
            bytes[byte] |= (uint8_t)(code << (6 - 2 * s));
        }
    }
    bitnet_gguf_close(gguf);
    temp_dir_write(&dir, "b.gguf", text.at, text.n);
    bitnet_free((void *)(uintptr_t)text.at);
    MUST(bitnet_gguf_open(&gguf, temp_dir_file(&dir, "b.gguf"), NULL, &err));
    return gguf;
}

TEST(a_trained_model_tells_its_layout_whatever_is_assumed)
{
    const struct bitnet_log log = {.say = hear};
    for (int truth = 0; truth < 3; truth++) {
        struct bitnet_gguf *gguf = make(BITNET_SOURCE_DIR "/models/tiny", (char)('A' + truth));
        for (int assumed = 0; assumed < 3; assumed++) {
            double scores[3];
            char words[64];
            assert_int_equal(i2s_judge(gguf, (enum bitnet_i2_s_order)assumed, scores), truth);
            for (int o = 0; o < 3; o++)
                if (o != truth) assert_true(scores[truth] > 4 * scores[o]);
            said[0] = '\0';
            i2s_diagnose(gguf, (enum bitnet_i2_s_order)assumed, &log);
            snprintf(words, sizeof words, "layout %c (", 'A' + truth);
            if (assumed == truth)
                assert_string_equal(said, "");
            else
                assert_text_has(said, words);
        }
        bitnet_gguf_close(gguf);
    }
}

TEST(random_weights_tell_nothing)
{
    const struct bitnet_log log = {.say = hear};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_MASTERS);
        spec.seed = seed;
        struct checkpoint *cp = cp_new(&spec);
        cp_write(cp, dir.path);
        cp_free(cp);
        struct bitnet_gguf *gguf = make(dir.path, "ABC"[seed % 3]);
        for (int assumed = 0; assumed < 3; assumed++) {
            said[0] = '\0';
            i2s_diagnose(gguf, (enum bitnet_i2_s_order)assumed, &log);
            assert_string_equal(said, "");
        }
        bitnet_gguf_close(gguf);
    }
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
        T(a_trained_model_tells_its_layout_whatever_is_assumed),
        T(random_weights_tell_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
