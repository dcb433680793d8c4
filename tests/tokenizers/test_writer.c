/* What we write into a GGUF against GGUF files that llama.cpp's converter wrote from the same
 * source, and a model with known ids. Needs the shared data. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include "cases.h"
#include "same_keys.h"
#include "temp_dir.h"

#define STORIES BITNET_SOURCE_DIR "/../shared/data/stories260K/"

static struct bitnet_gguf *open_gguf(const char *path)
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err;
    if (bitnet_gguf_open(&gguf, path, NULL, &err)) fail_msg("%s", err.text);
    return gguf;
}

static const struct bitnet_gguf_value *value_of(const struct bitnet_gguf *gguf, const char *key)
{
    const struct bitnet_gguf_value *value = bitnet_gguf_find(gguf, bitnet_str_of(key));
    if (!value) fail_msg("key %s is missing", key);
    return value;
}

/* The first n elements of an array are the same, and so is its type. */
static void must_start_alike(const struct bitnet_gguf *got, const struct bitnet_gguf *want,
                             const char *key, size_t n)
{
    const struct bitnet_gguf_value *a = value_of(got, key), *b = value_of(want, key);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->element, b->element);
    assert_true(a->n >= n && b->n >= n);
    if (a->element != BITNET_GGUF_STRING) {
        assert_memory_equal(a->raw.at, b->raw.at, n * (b->raw.n / b->n));
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (!bitnet_str_equal(a->strings[i], b->strings[i]))
            fail_msg("%s[%zu] is %s, want %s", key, i, BITNET_QUOTE(a->strings[i]),
                     BITNET_QUOTE(b->strings[i]));
}

static void must_be_alike(const struct bitnet_gguf *got, const struct bitnet_gguf *want,
                          const char *key)
{
    assert_int_equal(value_of(got, key)->n, value_of(want, key)->n);
    must_start_alike(got, want, key, value_of(want, key)->n);
}

static struct bitnet_tokenizer *open_json(const char *name)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    struct bitnet_str json = cases_file(name);
    if (bitnet_tokenizer_from_json(&tokenizer, json, NULL, &err)) fail_msg("%s", err.text);
    bitnet_free((void *)(uintptr_t)json.at);
    return tokenizer;
}

static void skip_without_data(const char *what)
{
    if (cases_are_there()) return;
    printf("skipped: shared/data/tokenizers, %s\n", what);
    skip();
}

/* A folder as its publisher gives it, against the GGUF that llama.cpp's converter made of it: every
 * tokenizer.* key, in order. */
static void check_pair(const char *name, const char *source, const char *as, const char *config,
                       const char *model_config, const char *gguf, const char *const *except)
{
    struct temp_dir dir;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    char path[512];
    skip_without_data(name);
    struct bitnet_str file = cases_file(source);
    temp_dir_make(&dir);
    temp_dir_write(&dir, as, file.at, file.n);
    temp_dir_write(&dir, "tokenizer_config.json", config, strlen(config));
    temp_dir_write(&dir, "config.json", model_config, strlen(model_config));
    if (bitnet_tokenizer_from_dir(&tokenizer, dir.path, 0, NULL, &err)) fail_msg("%s", err.text);
    snprintf(path, sizeof path, CASES_DIR "ggml-vocab/%s", gguf);
    struct bitnet_gguf *got = same_keys_written(tokenizer), *want = open_gguf(path);
    same_keys(got, want, except);
    bitnet_gguf_close(got);
    bitnet_gguf_close(want);
    bitnet_tokenizer_free(tokenizer);
    bitnet_free((void *)(uintptr_t)file.at);
    temp_dir_remove(&dir);
}

TEST(falcon_becomes_the_converters_gguf_key_by_key)
{
    check_pair("Falcon", "hf/falcon/tokenizer.json", "tokenizer.json",
               "{\"eos_token\":\"<|endoftext|>\",\"add_prefix_space\":false}",
               "{\"bos_token_id\":11,\"eos_token_id\":11,\"vocab_size\":65024}",
               "ggml-vocab-falcon.gguf", NULL);
}

TEST(llama_2_becomes_the_converters_gguf_key_by_key)
{
    check_pair("Llama 2", "spm/llama2-tokenizer.model", "tokenizer.model",
               "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":{\"content\":\"</s>\"},"
               "\"unk_token\":{\"content\":\"<unk>\"},\"add_bos_token\":true,"
               "\"add_eos_token\":false}",
               "{\"bos_token_id\":1,\"eos_token_id\":2,\"vocab_size\":32000}",
               "ggml-vocab-llama-spm.gguf", NULL);
}

/* The file is older than two changes of the converter: there was only one name for this vocabulary
 * then, and cls had a key. */
TEST(bert_becomes_the_converters_gguf_key_by_key)
{
    static const char *const older[] = {"ggml.pre", "cls_token_id", NULL};
    check_pair("BERT", "hf/bert-base-uncased/tokenizer.json", "tokenizer.json",
               "{\"unk_token\":\"[UNK]\",\"sep_token\":\"[SEP]\",\"pad_token\":\"[PAD]\","
               "\"cls_token\":\"[CLS]\",\"mask_token\":\"[MASK]\"}",
               "{\"type_vocab_size\":2,\"vocab_size\":30522}", "ggml-vocab-bert-bge.gguf", older);
}

TEST(phi_2_tokenizer_json_begins_like_gpt_2)
{
    skip_without_data("phi-2");
    struct bitnet_tokenizer *tokenizer = open_json("hf/phi-2/tokenizer.json");
    struct bitnet_gguf *got = same_keys_written(tokenizer);
    struct bitnet_gguf *want = open_gguf(CASES_DIR "ggml-vocab/ggml-vocab-gpt-2.gguf");
    must_start_alike(got, want, "tokenizer.ggml.tokens", 50257);
    must_be_alike(got, want, "tokenizer.ggml.merges");
    bitnet_gguf_close(got);
    bitnet_gguf_close(want);
    bitnet_tokenizer_free(tokenizer);
}

/* What was read from a GGUF and written again has every key that the tokenizer knows, unchanged. */
static void check_again(const char *name)
{
    static const char *const keys[] = {"tokenizer.ggml.tokens",       "tokenizer.ggml.token_type",
                                       "tokenizer.ggml.scores",       "tokenizer.ggml.merges",
                                       "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.add_bos_token"};
    char path[512];
    skip_without_data(name);
    snprintf(path, sizeof path, "ggml-vocab/ggml-vocab-%s.gguf", name);
    struct bitnet_tokenizer *tokenizer = cases_open_gguf(path);
    struct bitnet_gguf *got = same_keys_written(tokenizer);
    snprintf(path, sizeof path, CASES_DIR "ggml-vocab/ggml-vocab-%s.gguf", name);
    struct bitnet_gguf *want = open_gguf(path);
    for (size_t i = 0; i < COUNT(keys); i++) {
        const struct bitnet_gguf_value *value = bitnet_gguf_find(want, bitnet_str_of(keys[i]));
        if (value && value->type == BITNET_GGUF_ARRAY) must_be_alike(got, want, keys[i]);
        if (value && value->type == BITNET_GGUF_U32)
            assert_int_equal(value_of(got, keys[i])->u64, value->u64);
        if (value && value->type == BITNET_GGUF_BOOL)
            assert_int_equal(value_of(got, keys[i])->boolean, value->boolean);
    }
    bitnet_gguf_close(got);
    bitnet_gguf_close(want);
    bitnet_tokenizer_free(tokenizer);
}

TEST(llama_2_read_and_written_again_is_unchanged)
{
    check_again("llama-spm");
}
TEST(starcoder_read_and_written_again_is_unchanged)
{
    check_again("starcoder");
}

/* The folder of a Llama-2-like model: tokenizer.model, and tokens that other files add. */
TEST(a_folder_with_a_model_file_becomes_the_converters_gguf)
{
    static const char config[] = "{\"bos_token\":\"<s>\",\"eos_token\":\"</"
                                 "s>\",\"add_bos_token\":true,\"add_eos_token\":false}";
    static const char added[] = "{\"<pad>\":32000}", model[] = "{\"vocab_size\":32002}";
    struct temp_dir dir;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    skip_without_data("llama2-tokenizer.model");
    struct bitnet_str file = cases_file("spm/llama2-tokenizer.model");
    temp_dir_make(&dir);
    temp_dir_write(&dir, "tokenizer.model", file.at, file.n);
    temp_dir_write(&dir, "tokenizer_config.json", config, sizeof config - 1);
    temp_dir_write(&dir, "added_tokens.json", added, sizeof added - 1);
    temp_dir_write(&dir, "config.json", model, sizeof model - 1);
    if (bitnet_tokenizer_from_dir(&tokenizer, dir.path, 32002, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(bitnet_tokenizer_size(tokenizer), 32002);
    assert_true(bitnet_str_is(bitnet_token_text(tokenizer, 32000), "<pad>"));
    assert_int_equal(bitnet_token_type(tokenizer, 32000), BITNET_TOKEN_USER);
    assert_true(bitnet_str_is(bitnet_token_text(tokenizer, 32001), "[PAD32001]"));
    assert_int_equal(bitnet_token_type(tokenizer, 32001), BITNET_TOKEN_UNUSED);

    struct bitnet_gguf *got = same_keys_written(tokenizer);
    struct bitnet_gguf *want = open_gguf(CASES_DIR "ggml-vocab/ggml-vocab-llama-spm.gguf");
    must_start_alike(got, want, "tokenizer.ggml.tokens", 32000);
    must_start_alike(got, want, "tokenizer.ggml.scores", 32000);
    must_start_alike(got, want, "tokenizer.ggml.token_type", 32000);
    assert_int_equal(value_of(got, "tokenizer.ggml.bos_token_id")->u64, 1);
    assert_int_equal(value_of(got, "tokenizer.ggml.eos_token_id")->u64, 2);
    assert_true(value_of(got, "tokenizer.ggml.add_bos_token")->boolean);
    assert_false(value_of(got, "tokenizer.ggml.add_eos_token")->boolean);
    bitnet_gguf_close(got);
    bitnet_gguf_close(want);
    bitnet_tokenizer_free(tokenizer);
    bitnet_free((void *)(uintptr_t)file.at);
    temp_dir_remove(&dir);
}

/* With both files there, ids are those of tokenizer.json and scores those of the .model. */
TEST(a_model_file_beside_a_tokenizer_json_gives_it_its_scores)
{
    struct temp_dir dir;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    skip_without_data("llama2");
    struct bitnet_str model = cases_file("spm/llama2-tokenizer.model");
    struct bitnet_str json = cases_file("hf/llama2/tokenizer.json");
    temp_dir_make(&dir);
    temp_dir_write(&dir, "tokenizer.model", model.at, model.n);
    temp_dir_write(&dir, "tokenizer.json", json.at, json.n);
    if (bitnet_tokenizer_from_dir(&tokenizer, dir.path, 0, NULL, &err)) fail_msg("%s", err.text);
    struct bitnet_gguf *got = same_keys_written(tokenizer);
    struct bitnet_gguf *want = open_gguf(CASES_DIR "ggml-vocab/ggml-vocab-llama-spm.gguf");
    must_start_alike(got, want, "tokenizer.ggml.tokens", 32000);
    must_start_alike(got, want, "tokenizer.ggml.scores", 32000);
    must_start_alike(got, want, "tokenizer.ggml.token_type", 32000);
    bitnet_gguf_close(got);
    bitnet_gguf_close(want);
    bitnet_tokenizer_free(tokenizer);
    bitnet_free((void *)(uintptr_t)model.at);
    bitnet_free((void *)(uintptr_t)json.at);
    temp_dir_remove(&dir);
}

/* ------------------------------------------------------------------ stories260K */

static void must_tokenize(const struct bitnet_tokenizer *tokenizer, const char *text, bool special,
                          const int32_t *want, size_t n)
{
    struct bitnet_tokens got = {0};
    struct bitnet_tokenize_options options = {.no_special = !special};
    assert_int_equal(bitnet_tokenize(tokenizer, bitnet_str_of(text), &options, &got, NULL), 0);
    assert_int_equal(got.n, n);
    if (n) assert_memory_equal(got.at, want, n * sizeof *want);
    bitnet_tokens_free(&got);
}

TEST(stories260k_gives_the_stored_ids)
{
    static const int32_t hello[] = {1, 346, 306, 414, 263, 304, 341},
                         once[] = {1, 403, 407, 261, 378};
    if (!bitnet_path_exists(STORIES "stories260K-f32.gguf")) {
        printf("skipped: shared/data/stories260K\n");
        skip();
    }
    struct bitnet_gguf *gguf = open_gguf(STORIES "stories260K-f32.gguf");
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_str text;
    struct bitnet_tokens got = {0};
    assert_int_equal(bitnet_tokenizer_from_gguf(&tokenizer, gguf, NULL, NULL), BITNET_OK);
    bitnet_gguf_close(gguf); /* the tokenizer lives on */
    must_tokenize(tokenizer, "Hello world", true, hello, COUNT(hello));
    must_tokenize(tokenizer, "Hello world", false, hello + 1, COUNT(hello) - 1);
    must_tokenize(tokenizer, "Once upon a time", true, once, COUNT(once));
    assert_int_equal(bitnet_read_file(STORIES "expected/ppl-text.txt", 1 << 20, &text, NULL), 0);
    assert_int_equal(bitnet_tokenize(tokenizer, text, NULL, &got, NULL), BITNET_OK);
    assert_int_equal(got.n, 11671);
    bitnet_tokens_free(&got);
    bitnet_free((void *)(uintptr_t)text.at);
    bitnet_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(falcon_becomes_the_converters_gguf_key_by_key),
        cmocka_unit_test(llama_2_becomes_the_converters_gguf_key_by_key),
        cmocka_unit_test(bert_becomes_the_converters_gguf_key_by_key),
        cmocka_unit_test(phi_2_tokenizer_json_begins_like_gpt_2),
        cmocka_unit_test(llama_2_read_and_written_again_is_unchanged),
        cmocka_unit_test(starcoder_read_and_written_again_is_unchanged),
        cmocka_unit_test(a_folder_with_a_model_file_becomes_the_converters_gguf),
        cmocka_unit_test(a_model_file_beside_a_tokenizer_json_gives_it_its_scores),
        cmocka_unit_test(stories260k_gives_the_stored_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
