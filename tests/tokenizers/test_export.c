/* A tokenizer.json written from any tokenizer and read back gives equal ids: on the stored cases
 * for every kind and source (shared data), and on small vocabularies always. What the schema cannot
 * hold is refused by name. That Hugging Face's own package reads the same is scripts/oracle's. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include "cases.h"
#include "json_text.h"
#include "sources.h"
#include "unicode.h"

#define GOLDEN BITNET_SOURCE_DIR "/tests/golden/tokenizers/"

static void skip_without_data(const char *name)
{
    if (cases_are_there()) return;
    printf("skipped: shared/data/tokenizers, %s\n", name);
    skip();
}

static struct bitnet_tokenizer *through_export(const struct bitnet_tokenizer *tokenizer)
{
    struct bitnet_buf json = {.max = (size_t)1 << 30};
    struct bitnet_tokenizer *again = NULL;
    struct bitnet_error err;
    if (bitnet_tokenizer_export_json(tokenizer, &json, &err) ||
        bitnet_tokenizer_from_json(&again, (struct bitnet_str){json.at, json.n}, NULL, &err))
        fail_msg("%s", err.text);
    bitnet_buf_free(&json);
    return again;
}

/* ------------------------------------------------------------------ JSON text */

static void must_print(const char *text, const char *want)
{
    struct bitnet_arena arena = {0};
    struct bitnet_buf out = {.max = 4096};
    const struct bitnet_json *root;
    assert_int_equal(bitnet_json_parse(&root, bitnet_str_of(text), NULL, &arena, NULL), BITNET_OK);
    assert_true(json_text_print(&out, root));
    assert_string_equal(out.at, want);
    bitnet_buf_free(&out);
    bitnet_arena_free(&arena);
}

TEST(json_is_printed_as_it_was_read)
{
    must_print("null", "null");
    must_print(" [ ] ", "[]");
    must_print("{ }", "{}");
    must_print("[1, [2.50, []], {\"a\" : {\"b\":[true,false]}, \"c\":null}, \"x\"]",
               "[1,[2.50,[]],{\"a\":{\"b\":[true,false]},\"c\":null},\"x\"]");
    must_print("\"\\u0000 \\\" \\\\ \\n \xC3\xA9\"", "\"\\u0000 \\\" \\\\ \\u000a \xC3\xA9\"");
}

/* ------------------------------------------------------------------ small vocabularies */

static struct bitnet_tokenizer *open_golden(const char *name)
{
    char path[512];
    struct bitnet_str json;
    struct bitnet_tokenizer *tokenizer = NULL;
    struct bitnet_error err;
    snprintf(path, sizeof path, GOLDEN "%s.json", name);
    if (bitnet_read_file(path, (size_t)1 << 24, &json, &err) ||
        bitnet_tokenizer_from_json(&tokenizer, json, NULL, &err))
        fail_msg("%s", err.text);
    bitnet_free((void *)(uintptr_t)json.at);
    return tokenizer;
}

/* Unigram: SentencePiece and llama.cpp add scores as floats, Hugging Face as doubles, so two ways
 * of cutting that are equal to one are not to the other. */
static bool is_tie(const struct bitnet_tokenizer *tokenizer, const struct bitnet_tokens ids[2])
{
    double sum[2] = {0, 0};
    if (bitnet_tokenizer_kind(tokenizer) != BITNET_TOKENIZER_UNIGRAM || tokenizer->hf) return false;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < ids[k].n; i++)
            sum[k] += (double)tokenizer->vocab.score[ids[k].at[i]];
    return sum[0] - sum[1] < 1e-4 && sum[1] - sum[0] < 1e-4;
}

static void must_agree(const struct bitnet_tokenizer *one, const struct bitnet_tokenizer *other,
                       const struct bitnet_tokenize_options *options, struct bitnet_str text)
{
    struct bitnet_tokens ids[2] = {{0}, {0}};
    struct bitnet_error err;
    if (bitnet_tokenize(one, text, options, &ids[0], &err) ||
        bitnet_tokenize(other, text, options, &ids[1], &err))
        fail_msg("%s: %s", BITNET_QUOTE(text), err.text);
    bool same =
        ids[0].n == ids[1].n && (!ids[0].n || memcmp(ids[0].at, ids[1].at, 4 * ids[0].n) == 0);
    if (!same && !is_tie(one, ids))
        fail_msg("%s has %zu ids and %zu, or others", BITNET_QUOTE(text), ids[0].n, ids[1].n);
    bitnet_tokens_free(&ids[0]);
    bitnet_tokens_free(&ids[1]);
}

TEST(a_tokenizer_json_written_again_gives_equal_ids)
{
    static const char *const names[] = {"gpt2", "llama2", "llama3", "qwen2", "starcoder"};
    static const char *const texts[] = {
        "", " ", "Hello world, it's 12345!", "<s>a</s> <|eot_id|><|endoftext|> <unk>",
        "  two  spaces\n\n\ttab \xC3\xA9\xE2\x80\x99s \xF0\x9F\x98\x80"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct bitnet_tokenizer *tokenizer = open_golden(names[i]);
        struct bitnet_tokenizer *again = through_export(tokenizer);
        struct bitnet_tokenizer *third = through_export(again);
        assert_int_equal(bitnet_tokenizer_size(again), bitnet_tokenizer_size(tokenizer));
        for (size_t k = 0; k < COUNT(texts); k++) {
            must_agree(tokenizer, again, NULL, bitnet_str_of(texts[k]));
            must_agree(again, third, NULL, bitnet_str_of(texts[k]));
        }
        bitnet_tokenizer_free(tokenizer);
        bitnet_tokenizer_free(again);
        bitnet_tokenizer_free(third);
    }
}

TEST(what_the_schema_cannot_hold_is_refused)
{
    struct bitnet_buf file = {.max = 1 << 16}, out = {.max = 1 << 16};
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    for (unsigned byte = 0; byte < 256; byte++)
        bitnet_buf_printf(&file, "%u b'\\x%02x' 1\n", byte + 1, byte);
    if (tokenizer_read_rwkv(&tokenizer, (struct bitnet_str){file.at, file.n}, &err) ||
        tokenizer_finish(tokenizer, &err))
        fail_msg("%s", err.text);
    assert_int_equal(bitnet_tokenizer_export_json(tokenizer, &out, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "a tokenizer.json cannot hold RWKV's vocabulary");
    assert_int_equal(out.n, 0);
    bitnet_tokenizer_free(tokenizer);
    bitnet_buf_free(&file);
    bitnet_buf_free(&out);
}

/* ------------------------------------------------------------------ every kind and source */

static size_t n_compared;

static bool has_marks(struct bitnet_str text)
{
    for (size_t at = 0, length; at < text.n; at += length) {
        uint32_t c;
        length = bitnet_utf8_decode(text.at + at, text.n - at, &c);
        if (unicode_bits(c) & UNICODE_M) return true;
    }
    return false;
}

/* All stored texts that are UTF-8 and not the giant ones. Hugging Face applies a character map to
 * grapheme clusters, SentencePiece and llama.cpp to the longest match, so combining marks may
 * differ where there is a map. */
static void agree_on_cases(const struct bitnet_tokenizer *one, const struct bitnet_tokenizer *other,
                           bool parse_special, const char *expected)
{
    const struct bitnet_tokenize_options options = {.parse_special = parse_special};
    struct bitnet_str file = cases_file(expected);
    n_compared = 0;
    for (const char *line = file.at, *end; (end = strchr(line, '\n')); line = end + 1) {
        const char *tab = memchr(line, '\t', (size_t)(end - line));
        if (*line == '#' || !tab) continue;
        struct bitnet_str text = cases_text(line, (size_t)(tab - line));
        if (!text.at || text.n > 100000 || !bitnet_utf8_valid(text)) continue;
        if (one->words.map.trie.n && has_marks(text)) continue;
        if (memmem(text.at, text.n, "\0", 1))
            continue; /* BERT drops it, llama.cpp's unknown token */
        must_agree(one, other, &options, text);
        n_compared++;
    }
    assert_true(n_compared > 600);
    bitnet_free((void *)(uintptr_t)file.at);
}

static void check_gguf(const char *name)
{
    char path[256];
    skip_without_data(name);
    snprintf(path, sizeof path, "ggml-vocab/ggml-vocab-%s.gguf", name);
    struct bitnet_tokenizer *tokenizer = cases_open_gguf(path), *again = through_export(tokenizer);
    agree_on_cases(tokenizer, again, true, "expected/llama-spm.llamacpp.tsv");
    bitnet_tokenizer_free(tokenizer);
    bitnet_tokenizer_free(again);
}

TEST(byte_level_vocabularies_of_gguf_files_are_exported)
{
    check_gguf("gpt-2");
    check_gguf("starcoder");
    check_gguf("falcon");
    check_gguf("deepseek-coder");
}

TEST(llama_2_of_a_gguf_is_exported)
{
    check_gguf("llama-spm");
}

TEST(phi_3_of_a_gguf_is_exported)
{
    check_gguf("phi-3");
}

static void check_model(const char *name, struct bitnet_tokenizer *tokenizer)
{
    struct bitnet_tokenizer *again = through_export(tokenizer);
    printf("  %s\n", name);
    agree_on_cases(tokenizer, again, true, "expected/llama-spm.llamacpp.tsv");
    bitnet_tokenizer_free(tokenizer);
    bitnet_tokenizer_free(again);
}

static struct bitnet_tokenizer *open_file(const char *name)
{
    char *path = bitnet_path_join(CASES_DIR, bitnet_str_of(name));
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (bitnet_tokenizer_from_file(&tokenizer, path, NULL, &err)) fail_msg("%s", err.text);
    bitnet_free(path);
    return tokenizer;
}

TEST(sentencepiece_models_are_exported)
{
    skip_without_data("SentencePiece");
    check_model("Llama 2", open_file("spm/llama2-tokenizer.model"));
    check_model("BPE without bytes", open_file("spm/test_sentencepiece_bpe.model"));
    check_model("Unigram", open_file("spm/test_sentencepiece.model"));
}

TEST(tiktoken_vocabularies_are_exported)
{
    skip_without_data("Llama 3");
    check_model("Llama 3", open_file("tiktoken/llama3-tokenizer.model"));
}

TEST(tokenizer_json_files_are_exported)
{
    static const char *const names[] = {
        "bert-base-uncased", "roberta-base", "t5-legal-fr-en", "llama2", "phi-2", "falcon"};
    skip_without_data("tokenizer.json");
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[256];
        snprintf(path, sizeof path, "hf/%s/tokenizer.json", names[i]);
        check_model(names[i], open_file(path));
    }
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
        cmocka_unit_test(json_is_printed_as_it_was_read),
        cmocka_unit_test(a_tokenizer_json_written_again_gives_equal_ids),
        cmocka_unit_test(what_the_schema_cannot_hold_is_refused),
        cmocka_unit_test(byte_level_vocabularies_of_gguf_files_are_exported),
        cmocka_unit_test(llama_2_of_a_gguf_is_exported),
        cmocka_unit_test(phi_3_of_a_gguf_is_exported),
        cmocka_unit_test(sentencepiece_models_are_exported),
        cmocka_unit_test(tiktoken_vocabularies_are_exported),
        cmocka_unit_test(tokenizer_json_files_are_exported),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
