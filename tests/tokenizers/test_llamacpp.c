/* GGUF vocabularies against the ids and texts that llama.cpp of 2025-02 gave: every shared case, of
 * every vocabulary whose kind is implemented. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include "cases.h"
#include "skeleton.h"
#include "temp_dir.h"

static void must_be_equal(struct verdict verdict, size_t at_least, const char *name)
{
    printf("  %s: %zu equal, %zu different, %zu unspecified\n", name, verdict.n_equal,
           verdict.n_different, verdict.n_unspecified);
    assert_int_equal(verdict.n_different, 0);
    assert_true(verdict.n_equal >= at_least);
}

static void check_vocabulary(const char *name)
{
    char path[256];
    static const struct bitnet_tokenize_options plain = {.no_special = true};
    static const struct bitnet_tokenize_options special = {.parse_special = true};
    if (!cases_are_there()) {
        printf("skipped: shared/data/tokenizers, vocabulary %s\n", name);
        skip();
    }
    snprintf(path, sizeof path, "ggml-vocab/ggml-vocab-%s.gguf", name);
    struct bitnet_tokenizer *tokenizer = cases_open_gguf(path);
    snprintf(path, sizeof path, "expected/%s.llamacpp.tsv", name);
    must_be_equal(cases_compare(tokenizer, path, &plain), 800, path);
    snprintf(path, sizeof path, "expected/%s.llamacpp.special.tsv", name);
    must_be_equal(cases_compare(tokenizer, path, &special), 100, path);
    snprintf(path, sizeof path, "expected/%s.llamacpp.detok.jsonl", name);
    must_be_equal(cases_detokenize(tokenizer, path), 50, path);
    bitnet_tokenizer_free(tokenizer);
}

TEST(llama_2_vocabulary_equals_llama_cpp)
{
    check_vocabulary("llama-spm");
}
TEST(phi_3_vocabulary_equals_llama_cpp)
{
    check_vocabulary("phi-3");
}
TEST(gpt_2_vocabulary_equals_llama_cpp)
{
    check_vocabulary("gpt-2");
}
TEST(falcon_vocabulary_equals_llama_cpp)
{
    check_vocabulary("falcon");
}
TEST(starcoder_vocabulary_equals_llama_cpp)
{
    check_vocabulary("starcoder");
}

TEST(deepseek_coder_vocabulary_equals_llama_cpp)
{
    check_vocabulary("deepseek-coder");
}

TEST(bert_vocabulary_equals_llama_cpp)
{
    check_vocabulary("bert-bge");
}

/* A tokenizer.json written as GGUF, with the row count and ids that its model has, and read back.
 */
static struct bitnet_tokenizer *through_gguf(struct bitnet_str json, const char *config,
                                             size_t n_vocab)
{
    struct temp_dir dir;
    struct bitnet_tokenizer *made = NULL, *again = NULL;
    struct bitnet_gguf_writer *writer = NULL;
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_error err = {0};
    temp_dir_make(&dir);
    temp_dir_write(&dir, "tokenizer.json", json.at, json.n);
    temp_dir_write(&dir, "tokenizer_config.json", config, strlen(config));
    const char *path = temp_dir_file(&dir, "vocabulary.gguf");
    if (bitnet_tokenizer_from_dir(&made, dir.path, n_vocab, NULL, &err) ||
        bitnet_gguf_writer_new(&writer, path, &(struct bitnet_gguf_writer_options){0}, &err) ||
        bitnet_tokenizer_to_gguf(made, writer, &err) || bitnet_gguf_begin(writer, &err) ||
        bitnet_gguf_finish(writer, &err) || bitnet_gguf_open(&gguf, path, NULL, &err) ||
        bitnet_tokenizer_from_gguf(&again, gguf, NULL, &err))
        fail_msg("%s", err.text);
    bitnet_gguf_close(gguf);
    bitnet_tokenizer_free(made);
    bitnet_free((void *)(uintptr_t)json.at);
    temp_dir_remove(&dir);
    return again;
}

static void check_made(struct bitnet_tokenizer *tokenizer, const char *name)
{
    char path[256];
    static const struct bitnet_tokenize_options plain = {.no_special = true};
    static const struct bitnet_tokenize_options special = {.parse_special = true};
    snprintf(path, sizeof path, "expected/%s.llamacpp.tsv", name);
    must_be_equal(cases_compare(tokenizer, path, &plain), 800, path);
    snprintf(path, sizeof path, "expected/%s.llamacpp.special.tsv", name);
    must_be_equal(cases_compare(tokenizer, path, &special), 100, path);
    snprintf(path, sizeof path, "expected/%s.llamacpp.detok.jsonl", name);
    must_be_equal(cases_detokenize(tokenizer, path), 50, path);
    bitnet_tokenizer_free(tokenizer);
}

TEST(llama_3_written_as_gguf_equals_llama_cpp)
{
    if (!cases_are_there()) {
        printf("skipped: shared/data/tokenizers, Llama 3\n");
        skip();
    }
    struct bitnet_tokenizer *tokenizer = through_gguf(
        skeleton_llama3(),
        "{\"bos_token\":\"<|begin_of_text|>\",\"eos_token\":\"<|end_of_text|>\"}", 128256);
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), "llama-bpe");
    assert_int_equal(bitnet_tokenizer_special(tokenizer)->bos, 128000);
    assert_int_equal(bitnet_tokenizer_special(tokenizer)->eos, 128001);
    assert_true(bitnet_tokenizer_special(tokenizer)->add_bos);
    assert_true(bitnet_token_is_eog(tokenizer, 128001));
    assert_true(bitnet_token_is_eog(tokenizer, 128009));
    assert_false(bitnet_token_is_eog(tokenizer, 128000));
    check_made(tokenizer, "llama3-from-tiktoken");
}

TEST(qwen_2_written_as_gguf_equals_llama_cpp)
{
    if (!cases_are_there()) {
        printf("skipped: shared/data/tokenizers, Qwen 2\n");
        skip();
    }
    struct bitnet_tokenizer *tokenizer =
        through_gguf(skeleton_qwen2(),
                     "{\"bos_token\":\"<|endoftext|>\",\"eos_token\":\"<|endoftext|>\","
                     "\"pad_token\":\"<|endoftext|>\",\"add_bos_token\":false}",
                     151936);
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), "qwen2");
    check_made(tokenizer, "qwen2-from-vocab-merges");
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
        cmocka_unit_test(llama_2_vocabulary_equals_llama_cpp),
        cmocka_unit_test(phi_3_vocabulary_equals_llama_cpp),
        cmocka_unit_test(gpt_2_vocabulary_equals_llama_cpp),
        cmocka_unit_test(falcon_vocabulary_equals_llama_cpp),
        cmocka_unit_test(starcoder_vocabulary_equals_llama_cpp),
        cmocka_unit_test(deepseek_coder_vocabulary_equals_llama_cpp),
        cmocka_unit_test(llama_3_written_as_gguf_equals_llama_cpp),
        cmocka_unit_test(qwen_2_written_as_gguf_equals_llama_cpp),
        cmocka_unit_test(bert_vocabulary_equals_llama_cpp),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
