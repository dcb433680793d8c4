/* .model files against the ids and texts that SentencePiece gave (shared data), what a GGUF of
 * Llama 2 has of its .model, and damaged files. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>

#include "cases.h"
#include "spm_model.h"

static void must_be_equal(struct verdict verdict, size_t at_least, const char *name)
{
    printf("  %s: %zu equal, %zu different\n", name, verdict.n_equal, verdict.n_different);
    assert_int_equal(verdict.n_different, 0);
    assert_true(verdict.n_equal >= at_least);
}

static struct bitnet_tokenizer *open_model(const char *path)
{
    struct bitnet_str file = cases_file(path);
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (bitnet_tokenizer_from_spm(&tokenizer,
                                  (struct bitnet_bytes){(const uint8_t *)file.at, file.n}, &err))
        fail_msg("%s: %s", path, err.text);
    bitnet_free((void *)(uintptr_t)file.at);
    return tokenizer;
}

static void skip_without_data(const char *name)
{
    if (cases_are_there()) return;
    printf("skipped: shared/data/tokenizers, %s\n", name);
    skip();
}

static void check(const char *model, const char *name)
{
    char ids[256], texts[256];
    skip_without_data(name);
    struct bitnet_tokenizer *tokenizer = open_model(model);
    snprintf(ids, sizeof ids, "expected/%s.sentencepiece.tsv", name);
    snprintf(texts, sizeof texts, "expected/%s.sentencepiece.decode.jsonl", name);
    must_be_equal(
        cases_compare(tokenizer, ids, &(struct bitnet_tokenize_options){.no_special = true}), 800,
        ids);
    must_be_equal(cases_decode(tokenizer, ids, texts), 100, texts);
    bitnet_tokenizer_free(tokenizer);
}

TEST(llama_2_model_equals_sentencepiece)
{
    check("spm/llama2-tokenizer.model", "llama2-tokenizer");
}
TEST(a_bpe_model_without_bytes_equals_sentencepiece)
{
    check("spm/test_sentencepiece_bpe.model", "test_sentencepiece_bpe");
}
TEST(a_unigram_model_equals_sentencepiece)
{
    check("spm/test_sentencepiece.model", "test_sentencepiece");
}
TEST(a_unigram_model_with_nfkc_equals_sentencepiece)
{
    check("spm/sp-python-test_model.model", "sp-python-test_model");
}
TEST(a_japanese_model_equals_sentencepiece)
{
    check("spm/sp-python-test_ja_model.model", "sp-python-test_ja_model");
}
TEST(t5_model_equals_sentencepiece)
{
    check("hf/t5-legal-fr-en/spiece.model", "t5-legal-fr-en-spiece");
}

TEST(llama_2_model_holds_what_its_gguf_holds)
{
    skip_without_data("Llama 2");
    struct bitnet_tokenizer *model = open_model("spm/llama2-tokenizer.model");
    struct bitnet_tokenizer *gguf = cases_open_gguf("ggml-vocab/ggml-vocab-llama-spm.gguf");
    assert_int_equal(bitnet_tokenizer_size(model), bitnet_tokenizer_size(gguf));
    for (int32_t id = 0; id < (int32_t)bitnet_tokenizer_size(model); id++) {
        assert_int_equal(bitnet_token_type(model, id), bitnet_token_type(gguf, id));
        assert_true(bitnet_str_equal(bitnet_token_text(model, id), bitnet_token_text(gguf, id)));
    }
    bitnet_tokenizer_free(model);
    bitnet_tokenizer_free(gguf);
}

/* ------------------------------------------------------------------ damaged files */

static void must_refuse(const char *bytes, size_t n, const char *words)
{
    struct spm_model model;
    struct bitnet_error err = {0};
    assert_int_equal(spm_model_read(&model, (struct bitnet_bytes){(const uint8_t *)bytes, n}, &err),
                     BITNET_FORMAT);
    assert_null(model.pieces);
    assert_text_has(err.text, words);
}
#define MUST_REFUSE(literal, words) must_refuse(literal, sizeof(literal) - 1, words)

TEST(damaged_files_are_refused_with_their_place)
{
    MUST_REFUSE("", "there are no pieces");
    MUST_REFUSE("\x0A\x7F\x0A\x01x", "byte 0: 127 bytes run past the end");
    MUST_REFUSE("\x0B", "group fields are not supported");
    MUST_REFUSE("\x0E", "a wire type that does not exist");
    MUST_REFUSE("\x02\x00", "a field number that does not exist");
    MUST_REFUSE("\x08\x01", "a field of the wrong type");
    MUST_REFUSE("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "a damaged field number");
    MUST_REFUSE("\x0A\x00", "piece 0 has no text");
    MUST_REFUSE("\x0A\x03\x0A\x01x", "beginning id 1 is no piece (there are 1)");
    MUST_REFUSE("\x0A\x03\x0A\x01x\x0A\x03\x0A\x01y\x0A\x03\x0A\x01z", "no unknown piece");
    MUST_REFUSE("\x0A\x05\x0A\x01x\x18\x63", "type 99");
    MUST_REFUSE("\x0A\x08\x0A\x01x\x15\x00\x00\xC0\x7F", "score is not a number");
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
        cmocka_unit_test(damaged_files_are_refused_with_their_place),
        cmocka_unit_test(llama_2_model_equals_sentencepiece),
        cmocka_unit_test(a_bpe_model_without_bytes_equals_sentencepiece),
        cmocka_unit_test(a_unigram_model_equals_sentencepiece),
        cmocka_unit_test(a_unigram_model_with_nfkc_equals_sentencepiece),
        cmocka_unit_test(a_japanese_model_equals_sentencepiece),
        cmocka_unit_test(t5_model_equals_sentencepiece),
        cmocka_unit_test(llama_2_model_holds_what_its_gguf_holds),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
