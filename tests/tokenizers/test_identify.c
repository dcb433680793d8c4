/* A GGUF whose tokenizer.ggml.pre is missing or "default": a vocabulary that is known gets its name
 * back with a warning, one that is not says so. With shared data: every published vocabulary is
 * proven by its ids, and gives llama.cpp's ids again. */
#include "cm.h"

#include <bitnet/alloc.h>

#include "cases.h"
#include "probe.h"
#include "skeleton.h"
#include "temp_dir.h"
#include "vocabulary.h"

struct repaired {
    struct bitnet_pre_identity identity;
    struct bitnet_tokenizer *tokenizer;
    struct vocabulary_talk talk;
};

/* What becomes of the file, its pre-tokenizer replaced; NULL: removed. */
static struct repaired repair(const struct bitnet_gguf *gguf, const char *pre)
{
    struct repaired r = {0};
    struct temp_dir dir;
    struct bitnet_gguf *changed = NULL;
    struct bitnet_error err = {0};
    const struct bitnet_log log = {.say = vocabulary_hear, .user = &r.talk};
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "changed.gguf");
    vocabulary_copy_with_pre(gguf, path, pre);
    if (bitnet_gguf_open(&changed, path, NULL, &err) ||
        bitnet_tokenizer_identify_pre(changed, &r.identity, &err) ||
        bitnet_tokenizer_from_gguf(&r.tokenizer, changed, &log, &err))
        fail_msg("%s", err.text);
    bitnet_gguf_close(changed);
    temp_dir_remove(&dir);
    return r;
}

static void must_repair(const struct bitnet_gguf *gguf, const char *pre, const char *expected)
{
    static const struct bitnet_tokenize_options plain = {.no_special = true};
    const char *words[] = {"key 'tokenizer.ggml.pre' is missing: read as '%s', because",
                           "key 'tokenizer.ggml.pre' is 'default': read as '%s', because"};
    for (int i = 0; i < 2; i++) {
        struct repaired r = repair(gguf, i ? "default" : NULL);
        char text[128];
        if (!r.identity.name) fail_msg("%s is not recognized", pre);
        assert_string_equal(r.identity.name, pre);
        assert_true(r.identity.is_proven);
        assert_string_equal(bitnet_tokenizer_pre(r.tokenizer), pre);
        snprintf(text, sizeof text, words[i], pre);
        assert_text_has(r.talk.text, text);
        assert_int_equal(r.talk.n_warnings, 1);
        struct verdict verdict = cases_compare(r.tokenizer, expected, &plain);
        assert_int_equal(verdict.n_different, 0);
        assert_true(verdict.n_equal > 800);
        bitnet_tokenizer_free(r.tokenizer);
    }
}

static void check_file(const char *name, const char *pre)
{
    char path[256];
    struct bitnet_gguf *gguf;
    struct bitnet_error err;
    if (!cases_are_there()) {
        printf("skipped: shared/data/tokenizers, vocabulary %s\n", name);
        skip();
    }
    snprintf(path, sizeof path, CASES_DIR "ggml-vocab/ggml-vocab-%s.gguf", name);
    if (bitnet_gguf_open(&gguf, path, NULL, &err)) fail_msg("%s", err.text);
    snprintf(path, sizeof path, "expected/%s.llamacpp.tsv", name);
    must_repair(gguf, pre, path);
    bitnet_gguf_close(gguf);
}

TEST(falcon_is_proven_by_its_ids)
{
    check_file("falcon", "falcon");
}
TEST(starcoder_is_proven_by_its_ids)
{
    check_file("starcoder", "starcoder");
}
TEST(gpt_2_is_proven_by_its_ids)
{
    check_file("gpt-2", "gpt-2");
}
TEST(deepseek_coder_is_proven_by_its_ids)
{
    check_file("deepseek-coder", "deepseek-coder");
}

/* A tokenizer.json and the bos that its model has, as GGUF. */
static void check_json(struct bitnet_str json, const char *bos, size_t n_vocab, const char *pre,
                       const char *expected)
{
    struct temp_dir dir;
    struct bitnet_tokenizer *made = NULL;
    struct bitnet_gguf_writer *writer = NULL;
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_error err = {0};
    char config[128];
    snprintf(config, sizeof config, "{\"bos_token\":\"%s\",\"eos_token\":\"%s\"}", bos, bos);
    temp_dir_make(&dir);
    temp_dir_write(&dir, "tokenizer.json", json.at, json.n);
    temp_dir_write(&dir, "tokenizer_config.json", config, strlen(config));
    const char *path = temp_dir_file(&dir, "vocabulary.gguf");
    if (bitnet_tokenizer_from_dir(&made, dir.path, n_vocab, NULL, &err) ||
        bitnet_gguf_writer_new(&writer, path, &(struct bitnet_gguf_writer_options){0}, &err) ||
        bitnet_tokenizer_to_gguf(made, writer, &err) || bitnet_gguf_begin(writer, &err) ||
        bitnet_gguf_finish(writer, &err) || bitnet_gguf_open(&gguf, path, NULL, &err))
        fail_msg("%s", err.text);
    must_repair(gguf, pre, expected);
    bitnet_gguf_close(gguf);
    bitnet_tokenizer_free(made);
    bitnet_free((void *)(uintptr_t)json.at);
    temp_dir_remove(&dir);
}

TEST(llama_3_is_proven_by_its_ids)
{
    if (!cases_are_there()) {
        printf("skipped: shared/data/tokenizers, Llama 3\n");
        skip();
    }
    check_json(skeleton_llama3(), "<|begin_of_text|>", 128256, "llama-bpe",
               "expected/llama3-from-tiktoken.llamacpp.tsv");
}

TEST(qwen_2_is_proven_by_its_ids)
{
    if (!cases_are_there()) {
        printf("skipped: shared/data/tokenizers, Qwen 2\n");
        skip();
    }
    check_json(skeleton_qwen2(), "<|endoftext|>", 151936, "qwen2",
               "expected/qwen2-from-vocab-merges.llamacpp.tsv");
}

/* ------------------------------------------------------------------ without shared data */

static const char *const merges[] = {"a b", NULL};

/* The marks of one family at their places among pads, in a vocabulary that is not that family's. */
static void check_landmark(int32_t first_id, const char *first, int32_t second_id,
                           const char *second, const char *pre)
{
    static struct vocabulary_token tokens[160000];
    static char names[160000][16];
    for (int32_t i = 0; i <= second_id; i++) {
        snprintf(names[i], sizeof names[i], "t%d", (int)i);
        tokens[i] = (struct vocabulary_token){.text = names[i]};
    }
    tokens[0].text = "a";
    tokens[1].text = "b";
    tokens[first_id].text = first;
    tokens[second_id].text = second;
    tokens[second_id + 1] = (struct vocabulary_token){0};
    struct vocabulary_talk talk = {0};
    const struct bitnet_log log = {.say = vocabulary_hear, .user = &talk};
    const struct vocabulary v = {.model = "gpt2", .tokens = tokens, .merges = merges};
    struct bitnet_tokenizer *tokenizer = vocabulary_open(&v, &log);
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), pre);
    assert_text_has(talk.text, "'tokenizer.ggml.pre' is missing: read as");
    assert_text_has(talk.text, "because its special tokens are at the places of");
    bitnet_tokenizer_free(tokenizer);
}

TEST(special_tokens_at_their_places_tell_a_family)
{
    check_landmark(128000, "<|begin_of_text|>", 128009, "<|eot_id|>", "llama-bpe");
    check_landmark(151643, "<|endoftext|>", 151644, "<|im_start|>", "qwen2");
}

TEST(a_vocabulary_that_nobody_knows_keeps_the_default_and_says_so)
{
    struct vocabulary_talk talk = {0};
    const struct bitnet_log log = {.say = vocabulary_hear, .user = &talk};
    const struct vocabulary v = {.model = "gpt2", .with_bytes = true, .merges = merges};
    struct bitnet_tokenizer *tokenizer = vocabulary_open(&v, &log);
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), "default");
    assert_text_has(talk.text, "the vocabulary is not a known one");
    assert_int_equal(talk.n_warnings, 1);
    bitnet_tokenizer_free(tokenizer);
}

TEST(a_name_that_is_there_is_believed)
{
    struct vocabulary_talk talk = {0};
    const struct bitnet_log log = {.say = vocabulary_hear, .user = &talk};
    const struct vocabulary v = {
        .model = "gpt2", .pre = "starcoder", .with_bytes = true, .merges = merges};
    struct bitnet_tokenizer *tokenizer = vocabulary_open(&v, &log);
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), "starcoder");
    assert_int_equal(talk.n_warnings, 0);
    bitnet_tokenizer_free(tokenizer);
}

TEST(a_vocabulary_that_needs_no_pre_tokenizer_has_no_name)
{
    struct temp_dir dir;
    struct bitnet_gguf *gguf;
    struct bitnet_pre_identity identity = {.name = "x"};
    const struct vocabulary v = {.model = "llama", .with_bytes = true};
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "spm.gguf");
    vocabulary_write(path, &v);
    assert_int_equal(bitnet_gguf_open(&gguf, path, NULL, NULL), BITNET_OK);
    assert_int_equal(bitnet_tokenizer_identify_pre(gguf, &identity, NULL), BITNET_OK);
    assert_null(identity.name);
    bitnet_gguf_close(gguf);
    temp_dir_remove(&dir);
}

/* Every hash belongs to a name that we can cut by, or the repair would end in an error. */
TEST(every_hashed_name_is_a_pre_tokenizer_or_not_byte_level)
{
    size_t n = 0;
    for (; probe_known(n); n++) assert_true(strlen(probe_known(n)) > 2);
    assert_true(n > 40);
}

static int free_cases(void **state)
{
    (void)state;
    cases_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(falcon_is_proven_by_its_ids),
        cmocka_unit_test(starcoder_is_proven_by_its_ids),
        cmocka_unit_test(gpt_2_is_proven_by_its_ids),
        cmocka_unit_test(deepseek_coder_is_proven_by_its_ids),
        cmocka_unit_test(llama_3_is_proven_by_its_ids),
        cmocka_unit_test(qwen_2_is_proven_by_its_ids),
        cmocka_unit_test(special_tokens_at_their_places_tell_a_family),
        cmocka_unit_test(a_vocabulary_that_nobody_knows_keeps_the_default_and_says_so),
        cmocka_unit_test(a_name_that_is_there_is_believed),
        cmocka_unit_test(a_vocabulary_that_needs_no_pre_tokenizer_has_no_name),
        cmocka_unit_test(every_hashed_name_is_a_pre_tokenizer_or_not_byte_level),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
