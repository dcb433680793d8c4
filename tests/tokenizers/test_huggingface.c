/* tokenizer.json files against the ids and texts that Hugging Face tokenizers gave: every shared
 * case, of every tokenizer whose components are implemented. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include "cases.h"
#include "skeleton.h"

static void must_be_equal(struct verdict verdict, size_t at_least, const char *name)
{
    printf("  %s: %zu equal, %zu different, %zu unspecified\n", name, verdict.n_equal,
           verdict.n_different, verdict.n_unspecified);
    assert_int_equal(verdict.n_different, 0);
    assert_true(verdict.n_equal >= at_least);
}

static void skip_without_data(const char *name)
{
    if (cases_are_there()) return;
    printf("skipped: shared/data/tokenizers, tokenizer.json of %s\n", name);
    skip();
}

static struct bitnet_tokenizer *make(struct bitnet_str json)
{
    struct bitnet_tokenizer *tokenizer = NULL;
    struct bitnet_error err = {0};
    if (bitnet_tokenizer_from_json(&tokenizer, json, NULL, &err)) fail_msg("%s", err.text);
    bitnet_free((void *)(uintptr_t)json.at);
    return tokenizer;
}

static void check(struct bitnet_tokenizer *tokenizer, const char *name)
{
    char path[256], ids[256];
    static const struct bitnet_tokenize_options plain = {.no_special = true};
    snprintf(path, sizeof path, "expected/%s.hf.tsv", name);
    must_be_equal(cases_compare(tokenizer, path, &plain), 700, path);
    snprintf(ids, sizeof ids, "expected/%s.hf.special.tsv", name);
    must_be_equal(cases_compare(tokenizer, ids, NULL), 100, ids);
    snprintf(path, sizeof path, CASES_DIR "expected/%s.hf.decode.jsonl", name);
    if (bitnet_path_exists(path)) {
        snprintf(path, sizeof path, "expected/%s.hf.decode.jsonl", name);
        must_be_equal(cases_decode(tokenizer, ids, path), 50, path);
    }
    bitnet_tokenizer_free(tokenizer);
}

static void check_file(const char *name, const char *pre)
{
    char path[256];
    skip_without_data(name);
    snprintf(path, sizeof path, "hf/%s/tokenizer.json", name);
    struct bitnet_tokenizer *tokenizer = make(cases_file(path));
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), pre);
    check(tokenizer, name);
}

TEST(llama_2_tokenizer_json_equals_hugging_face)
{
    check_file("llama2", "default");
}
TEST(falcon_tokenizer_json_equals_hugging_face)
{
    check_file("falcon", "falcon");
}
TEST(phi_2_tokenizer_json_equals_hugging_face)
{
    check_file("phi-2", "phi-2");
}
TEST(roberta_tokenizer_json_equals_hugging_face)
{
    check_file("roberta-base", "roberta-bpe");
}

TEST(llama_3_skeleton_equals_hugging_face_and_is_known_by_its_hash)
{
    skip_without_data("Llama 3");
    struct bitnet_tokenizer *tokenizer = make(skeleton_llama3());
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), "llama-bpe");
    check(tokenizer, "llama3-skeleton");
}

TEST(qwen_2_skeleton_equals_hugging_face_and_is_known_by_its_hash)
{
    skip_without_data("Qwen 2");
    struct bitnet_tokenizer *tokenizer = make(skeleton_qwen2());
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), "qwen2");
    check(tokenizer, "qwen2-skeleton");
}

TEST(bert_tokenizer_json_equals_hugging_face)
{
    check_file("bert-base-uncased", "default");
}
TEST(t5_tokenizer_json_equals_hugging_face)
{
    check_file("t5-legal-fr-en", "default");
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
        cmocka_unit_test(llama_2_tokenizer_json_equals_hugging_face),
        cmocka_unit_test(falcon_tokenizer_json_equals_hugging_face),
        cmocka_unit_test(phi_2_tokenizer_json_equals_hugging_face),
        cmocka_unit_test(roberta_tokenizer_json_equals_hugging_face),
        cmocka_unit_test(llama_3_skeleton_equals_hugging_face_and_is_known_by_its_hash),
        cmocka_unit_test(bert_tokenizer_json_equals_hugging_face),
        cmocka_unit_test(t5_tokenizer_json_equals_hugging_face),
        cmocka_unit_test(qwen_2_skeleton_equals_hugging_face_and_is_known_by_its_hash),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
