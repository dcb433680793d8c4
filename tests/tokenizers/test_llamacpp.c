/* GGUF vocabularies against the ids and texts that llama.cpp of 2025-02 gave: every shared case, of
 * every vocabulary whose kind is implemented. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include "cases.h"

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
        cmocka_unit_test(bert_vocabulary_equals_llama_cpp),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
