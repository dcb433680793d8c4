/* One vocabulary, two engines' rules: a tokenizer.json answers as llama.cpp does and a GGUF as
 * Hugging Face tokenizers do, when the caller says so. With shared data: every case that names the
 * other engine. Without: the documented differences, on small vocabularies of our own. */
#include "cm.h"

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/text.h>

#include "cases.h"
#include "skeleton.h"
#include "temp_dir.h"
#include "vocabulary.h"

static const struct bitnet_tokenize_options plain = {.no_special = true};
static const struct bitnet_tokenize_options special = {.parse_special = true};

static void must_follow(struct bitnet_tokenizer **tokenizer, enum bitnet_compat compat)
{
    struct bitnet_error err = {0};
    if (bitnet_tokenizer_follow(tokenizer, compat, NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(bitnet_tokenizer_compat(*tokenizer), compat);
}

/* `n_other` cases spell a token that this file of the model does not have. */
static void compare_but(const struct bitnet_tokenizer *tokenizer, const char *expected,
                        const struct bitnet_tokenize_options *options, size_t at_least,
                        size_t n_other)
{
    char path[256];
    snprintf(path, sizeof path, "expected/%s.tsv", expected);
    struct verdict v = cases_compare(tokenizer, path, options);
    printf("  %s: %zu equal, %zu different, %zu unspecified\n", expected, v.n_equal, v.n_different,
           v.n_unspecified);
    assert_int_equal(v.n_different, n_other);
    assert_true(v.n_equal >= at_least);
}

static void compare(const struct bitnet_tokenizer *tokenizer, const char *expected,
                    const struct bitnet_tokenize_options *options, size_t at_least)
{
    compare_but(tokenizer, expected, options, at_least, 0);
}

static bool is_skipped(const char *name)
{
    if (cases_are_there()) return false;
    printf("skipped: shared/data/tokenizers, %s\n", name);
    return true;
}

/* ------------------------------------------------------------------ llama.cpp's rules */

static struct bitnet_tokenizer *from_json(struct bitnet_str json, const char *config,
                                          size_t n_vocab)
{
    struct temp_dir dir;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    temp_dir_make(&dir);
    temp_dir_write(&dir, "tokenizer.json", json.at, json.n);
    temp_dir_write(&dir, "tokenizer_config.json", config, strlen(config));
    if (bitnet_tokenizer_from_dir(&tokenizer, dir.path, n_vocab, NULL, &err))
        fail_msg("%s", err.text);
    bitnet_free((void *)(uintptr_t)json.at);
    temp_dir_remove(&dir);
    return tokenizer;
}

static void check_llamacpp(struct bitnet_tokenizer *tokenizer, const char *name)
{
    char path[128];
    must_follow(&tokenizer, BITNET_COMPAT_LLAMACPP);
    snprintf(path, sizeof path, "%s.llamacpp", name);
    compare(tokenizer, path, &plain, 800);
    snprintf(path, sizeof path, "%s.llamacpp.special", name);
    compare(tokenizer, path, &special, 100);
    bitnet_tokenizer_free(tokenizer);
}

static struct bitnet_str published(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "hf/%s/tokenizer.json", name);
    return cases_file(path);
}

TEST(falcon_s_tokenizer_json_as_llama_cpp)
{
    if (is_skipped("Falcon")) skip();
    check_llamacpp(from_json(published("falcon"), "{\"eos_token\":\"<|endoftext|>\"}", 0),
                   "falcon");
}

/* The published file has two tokens more than the GGUF, and one case spells one of them. */
TEST(llama_2_s_tokenizer_json_as_llama_cpp)
{
    if (is_skipped("Llama 2")) skip();
    struct bitnet_tokenizer *tokenizer =
        from_json(published("llama2"),
                  "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"unk_token\":\"<unk>\"}", 0);
    must_follow(&tokenizer, BITNET_COMPAT_LLAMACPP);
    compare(tokenizer, "llama-spm.llamacpp", &plain, 800);
    compare_but(tokenizer, "llama-spm.llamacpp.special", &special, 400, 1);
    bitnet_tokenizer_free(tokenizer);
}

TEST(llama_3_s_tokenizer_json_as_llama_cpp)
{
    if (is_skipped("Llama 3")) skip();
    check_llamacpp(
        from_json(skeleton_llama3(),
                  "{\"bos_token\":\"<|begin_of_text|>\",\"eos_token\":\"<|end_of_text|>\"}",
                  128256),
        "llama3-from-tiktoken");
}

/* Hugging Face normalizes to NFC here, llama.cpp never does. */
TEST(qwen_2_s_tokenizer_json_as_llama_cpp)
{
    if (is_skipped("Qwen 2")) skip();
    check_llamacpp(from_json(skeleton_qwen2(),
                             "{\"bos_token\":\"<|endoftext|>\",\"eos_token\":\"<|endoftext|>\","
                             "\"pad_token\":\"<|endoftext|>\",\"add_bos_token\":false}",
                             151936),
                   "qwen2-from-vocab-merges");
}

TEST(bert_s_tokenizer_json_as_llama_cpp)
{
    if (is_skipped("BERT")) skip();
    check_llamacpp(from_json(published("bert-base-uncased"),
                             "{\"cls_token\":\"[CLS]\",\"sep_token\":\"[SEP]\",\"unk_token\":"
                             "\"[UNK]\",\"pad_token\":\"[PAD]\",\"mask_token\":\"[MASK]\"}",
                             0),
                   "bert-bge");
}

TEST(sentencepiece_s_llama_2_as_llama_cpp)
{
    if (is_skipped("Llama 2")) skip();
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (bitnet_tokenizer_from_file(&tokenizer, CASES_DIR "spm/llama2-tokenizer.model", NULL, &err))
        fail_msg("%s", err.text);
    check_llamacpp(tokenizer, "llama-spm");
}

/* ------------------------------------------------------------------ Hugging Face's rules */

static void check_hf(struct bitnet_tokenizer *tokenizer, const char *name)
{
    char path[128];
    must_follow(&tokenizer, BITNET_COMPAT_HF);
    snprintf(path, sizeof path, "%s.hf", name);
    compare(tokenizer, path, &plain, 800);
    snprintf(path, sizeof path, "%s.hf.special", name);
    compare(tokenizer, path, &special, 100);
    bitnet_tokenizer_free(tokenizer);
}

TEST(falcon_s_gguf_as_hugging_face)
{
    if (is_skipped("Falcon")) skip();
    check_hf(cases_open_gguf("ggml-vocab/ggml-vocab-falcon.gguf"), "falcon");
}

TEST(bert_s_gguf_as_hugging_face)
{
    if (is_skipped("BERT")) skip();
    check_hf(cases_open_gguf("ggml-vocab/ggml-vocab-bert-bge.gguf"), "bert-base-uncased");
}

TEST(llama_2_s_gguf_as_hugging_face)
{
    if (is_skipped("Llama 2")) skip();
    struct bitnet_tokenizer *tokenizer = cases_open_gguf("ggml-vocab/ggml-vocab-llama-spm.gguf");
    must_follow(&tokenizer, BITNET_COMPAT_HF);
    compare_but(tokenizer, "llama2.hf", &plain, 800, 1);
    compare_but(tokenizer, "llama2.hf.special", &special, 400, 1);
    bitnet_tokenizer_free(tokenizer);
}

/* There is no GGUF of these in the data: what llama.cpp would have, and back again. */
static struct bitnet_tokenizer *as_gguf(struct bitnet_tokenizer *tokenizer)
{
    must_follow(&tokenizer, BITNET_COMPAT_LLAMACPP);
    return tokenizer;
}

TEST(llama_3_s_gguf_as_hugging_face)
{
    if (is_skipped("Llama 3")) skip();
    check_hf(
        as_gguf(from_json(skeleton_llama3(),
                          "{\"bos_token\":\"<|begin_of_text|>\",\"eos_token\":\"<|end_of_text|>\"}",
                          128256)),
        "llama3-skeleton");
}

TEST(qwen_2_s_gguf_as_hugging_face)
{
    if (is_skipped("Qwen 2")) skip();
    check_hf(as_gguf(from_json(skeleton_qwen2(),
                               "{\"eos_token\":\"<|endoftext|>\",\"pad_token\":"
                               "\"<|endoftext|>\",\"add_bos_token\":false}",
                               151936)),
             "qwen2-skeleton");
}

TEST(t5_s_gguf_as_hugging_face)
{
    if (is_skipped("T5")) skip();
    check_hf(as_gguf(from_json(published("t5-legal-fr-en"), "{}", 0)), "t5-legal-fr-en");
}

/* ------------------------------------------------------------------ without shared data */

static const char *ids_of(const struct bitnet_tokenizer *tokenizer, const char *text,
                          const struct bitnet_tokenize_options *options)
{
    static char out[256];
    struct bitnet_tokens ids = {0};
    size_t n = 0;
    assert_int_equal(bitnet_tokenize(tokenizer, bitnet_str_of(text), options, &ids, NULL), 0);
    out[0] = 0;
    for (size_t i = 0; i < ids.n && n < sizeof out - 16; i++)
        n += (size_t)snprintf(out + n, sizeof out - n, i ? " %d" : "%d", (int)ids.at[i]);
    bitnet_tokens_free(&ids);
    return out;
}

/* One text, both answers, and back again. */
static void check_difference(const struct vocabulary *v, const char *text, const char *llamacpp,
                             const char *hf)
{
    struct bitnet_tokenizer *tokenizer = vocabulary_open(v, NULL);
    must_follow(&tokenizer, BITNET_COMPAT_LLAMACPP);
    assert_string_equal(ids_of(tokenizer, text, &plain), llamacpp);
    must_follow(&tokenizer, BITNET_COMPAT_HF);
    assert_string_equal(ids_of(tokenizer, text, &plain), hf);
    must_follow(&tokenizer, BITNET_COMPAT_LLAMACPP);
    assert_string_equal(ids_of(tokenizer, text, &plain), llamacpp);
    bitnet_tokenizer_free(tokenizer);
}

static const struct vocabulary_token byte_tokens[] = {
    {"ab", 1, 0}, {"<a>", 3, 0}, {"<a><b>", 3, 0}, {"<b>", 3, 0}, {0}};
static const char *const byte_merges[] = {"a b", NULL};

TEST(control_tokens_in_text_and_which_of_two_comes_first)
{
    const struct vocabulary v = {.model = "gpt2",
                                 .pre = "gpt-2",
                                 .tokens = byte_tokens,
                                 .with_bytes = true,
                                 .merges = byte_merges};
    check_difference(&v, "x<a>", "120 60 97 62", "120 257");
    check_difference(&v, "ab", "256", "256");
}

TEST(normalization_to_nfc)
{
    struct vocabulary v = {.model = "gpt2",
                           .pre = "qwen2",
                           .tokens = byte_tokens,
                           .with_bytes = true,
                           .merges = byte_merges};
    check_difference(&v, "e\xCC\x81", "101 204 129", "195 169");
    v.pre = "gpt-2"; /* a family without */
    check_difference(&v, "e\xCC\x81", "101 204 129", "101 204 129");
}

TEST(bytes_that_are_no_text)
{
    static const struct vocabulary_token tokens[] = {
        {"\xE2\x96\x81", 1, -1}, {"<s>", 3, 0}, {"</s>", 3, 0}, {"<unk>", 2, 0}, {0}};
    static const struct vocabulary_key keys[] = {
        {"tokenizer.ggml.bos_token_id", 'u', 257, NULL},
        {"tokenizer.ggml.eos_token_id", 'u', 258, NULL},
        {"tokenizer.ggml.unknown_token_id", 'u', 259, NULL},
        {0}};
    const struct vocabulary v = {
        .model = "llama", .tokens = tokens, .with_bytes = true, .keys = keys};
    check_difference(&v, "\xFF", "256 255", "256 239 191 189");
}

/* 100 letters are a word, 101 are none, for Hugging Face. */
TEST(long_words_of_bert)
{
    static const struct vocabulary_token tokens[] = {{"[PAD]", 3, 0},
                                                     {"[UNK]", 3, 0},
                                                     {"[CLS]", 3, 0},
                                                     {"[SEP]", 3, 0},
                                                     {"\xE2\x96\x81"
                                                      "a",
                                                      1, 0},
                                                     {"aaaaaaaaaaaaaaaaaaaaaaaaa", 1, 0},
                                                     {0}};
    static const struct vocabulary_key keys[] = {
        {"tokenizer.ggml.bos_token_id", 'u', 2, NULL},
        {"tokenizer.ggml.seperator_token_id", 'u', 3, NULL},
        {"tokenizer.ggml.unknown_token_id", 'u', 1, NULL},
        {0}};
    const struct vocabulary v = {.model = "bert", .tokens = tokens, .keys = keys};
    char text[128] = "";
    memset(text, 'a', 101);
    check_difference(&v, text, "4 5 5 5 5", "1");
    text[76] = 0;
    check_difference(&v, text, "4 5 5 5", "4 5 5 5");
}

static struct bitnet_tokenizer *open_golden(const char *name)
{
    char path[512];
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    snprintf(path, sizeof path, BITNET_SOURCE_DIR "/tests/golden/tokenizers/%s.json", name);
    if (bitnet_tokenizer_from_file(&tokenizer, path, NULL, &err)) fail_msg("%s", err.text);
    return tokenizer;
}

TEST(a_tokenizer_json_by_llama_cpp_s_rules_leaves_control_tokens_in_text)
{
    struct bitnet_tokenizer *tokenizer = open_golden("llama3");
    int32_t eot = bitnet_token_find(tokenizer, BITNET_STR("<|eot_id|>"));
    char id[16];
    snprintf(id, sizeof id, "%d", (int)eot);
    assert_string_equal(ids_of(tokenizer, "<|eot_id|>", &plain), id);
    must_follow(&tokenizer, BITNET_COMPAT_LLAMACPP);
    assert_true(strlen(ids_of(tokenizer, "<|eot_id|>", &plain)) > strlen(id));
    assert_string_equal(
        ids_of(tokenizer, "<|eot_id|>",
               &(struct bitnet_tokenize_options){.no_special = true, .parse_special = true}),
        id);
    bitnet_tokenizer_free(tokenizer);
}

TEST(what_the_other_engine_cannot_run_is_refused_and_stays_as_it_was)
{
    struct bitnet_error err;
    struct bitnet_tokenizer *tokenizer = open_golden("qwen2"), *same = tokenizer;
    assert_int_equal(bitnet_tokenizer_follow(&tokenizer, BITNET_COMPAT_LLAMACPP, NULL, &err),
                     BITNET_UNSUPPORTED);
    assert_text_has(err.text, "it cannot be run by llama.cpp's rules: llama.cpp has no");
    assert_ptr_equal(tokenizer, same);
    assert_int_equal(bitnet_tokenizer_compat(tokenizer), BITNET_COMPAT_HF);
    bitnet_tokenizer_free(tokenizer);

    static const struct vocabulary_token tokens[] = {{"<s>", 3, 0}, {"a", 1, 0}, {0}};
    const struct vocabulary v = {.model = "rwkv", .tokens = tokens};
    same = tokenizer = vocabulary_open(&v, NULL);
    assert_int_equal(bitnet_tokenizer_follow(&tokenizer, BITNET_COMPAT_HF, NULL, &err),
                     BITNET_UNSUPPORTED);
    assert_text_has(err.text, "it cannot be run by Hugging Face's rules: ");
    assert_ptr_equal(tokenizer, same);
    bitnet_tokenizer_free(tokenizer);
}

TEST(templates_and_ends_of_generation_come_along)
{
    struct temp_dir dir;
    struct bitnet_str json;
    temp_dir_make(&dir);
    assert_int_equal(bitnet_read_file(BITNET_SOURCE_DIR "/tests/golden/tokenizers/llama3.json",
                                      (size_t)1 << 24, &json, NULL),
                     BITNET_OK);
    temp_dir_write(&dir, "tokenizer.json", json.at, json.n);
    bitnet_free((void *)(uintptr_t)json.at);
    temp_dir_write(&dir, "tokenizer_config.json", "{\"chat_template\":\"hello\"}", 25);
    temp_dir_write(&dir, "generation_config.json", "{\"eos_token_id\":[7,9]}", 22);
    struct bitnet_tokenizer *tokenizer;
    assert_int_equal(bitnet_tokenizer_from_dir(&tokenizer, dir.path, 0, NULL, NULL), BITNET_OK);
    for (int i = 0; i < 2; i++) {
        assert_true(bitnet_str_is(bitnet_chat_template(tokenizer), "hello"));
        assert_true(bitnet_token_is_eog(tokenizer, 7));
        assert_true(bitnet_token_is_eog(tokenizer, 9));
        must_follow(&tokenizer, BITNET_COMPAT_LLAMACPP);
    }
    bitnet_tokenizer_free(tokenizer);
    temp_dir_remove(&dir);
}

static void fail_each(struct bitnet_tokenizer *tokenizer, enum bitnet_compat compat)
{
    long live = bitnet_alloc_live();
    struct bitnet_tokenizer *same = tokenizer;
    for (long n = 0;; n++) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = bitnet_tokenizer_follow(&tokenizer, compat, NULL, NULL);
        bool reached = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        if (!reached) {
            assert_int_equal(status, BITNET_OK);
            break;
        }
        if (status != BITNET_MEMORY)
            fail_msg("allocation %ld failed and the status was %s", n, bitnet_status_name(status));
        assert_int_equal(bitnet_alloc_live(), live);
        assert_ptr_equal(tokenizer, same);
    }
    bitnet_tokenizer_free(tokenizer);
}

TEST(every_failed_allocation_leaves_it_as_it_was)
{
    struct bitnet_tokenizer *tokenizer = open_golden("gpt2");
    fail_each(tokenizer, BITNET_COMPAT_LLAMACPP);
    tokenizer = open_golden("llama2");
    must_follow(&tokenizer, BITNET_COMPAT_LLAMACPP);
    fail_each(tokenizer, BITNET_COMPAT_HF);
}

TEST(words_for_the_command_line)
{
    enum bitnet_compat compat;
    assert_true(bitnet_compat_from_name(NULL, &compat) && compat == BITNET_COMPAT_SOURCE);
    assert_true(bitnet_compat_from_name("hf", &compat) && compat == BITNET_COMPAT_HF);
    assert_true(bitnet_compat_from_name("llama.cpp", &compat) && compat == BITNET_COMPAT_LLAMACPP);
    assert_false(bitnet_compat_from_name("llamacpp", &compat));
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
        cmocka_unit_test(falcon_s_tokenizer_json_as_llama_cpp),
        cmocka_unit_test(llama_2_s_tokenizer_json_as_llama_cpp),
        cmocka_unit_test(llama_3_s_tokenizer_json_as_llama_cpp),
        cmocka_unit_test(qwen_2_s_tokenizer_json_as_llama_cpp),
        cmocka_unit_test(bert_s_tokenizer_json_as_llama_cpp),
        cmocka_unit_test(sentencepiece_s_llama_2_as_llama_cpp),
        cmocka_unit_test(falcon_s_gguf_as_hugging_face),
        cmocka_unit_test(bert_s_gguf_as_hugging_face),
        cmocka_unit_test(llama_2_s_gguf_as_hugging_face),
        cmocka_unit_test(llama_3_s_gguf_as_hugging_face),
        cmocka_unit_test(qwen_2_s_gguf_as_hugging_face),
        cmocka_unit_test(t5_s_gguf_as_hugging_face),
        cmocka_unit_test(control_tokens_in_text_and_which_of_two_comes_first),
        cmocka_unit_test(normalization_to_nfc),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(long_words_of_bert),
        cmocka_unit_test(a_tokenizer_json_by_llama_cpp_s_rules_leaves_control_tokens_in_text),
        cmocka_unit_test(what_the_other_engine_cannot_run_is_refused_and_stays_as_it_was),
        cmocka_unit_test(templates_and_ends_of_generation_come_along),
        cmocka_unit_test(every_failed_allocation_leaves_it_as_it_was),
        cmocka_unit_test(words_for_the_command_line),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
