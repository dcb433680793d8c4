/* Vocabularies in the files that their publishers give out: tiktoken, vocab.json with merges.txt,
 * vocab.txt, RWKV's list. Each gives the ids of the program that owns the format (shared data);
 * damaged files are refused with their place. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>

#include <bitnet/alloc.h>

#include "alphabet.h"
#include "cases.h"
#include "sources.h"
#include "temp_dir.h"

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
    printf("skipped: shared/data/tokenizers, %s\n", name);
    skip();
}

static const struct bitnet_tokenize_options plain = {.no_special = true};
static const struct bitnet_tokenize_options special = {.no_special = true, .parse_special = true};

/* ------------------------------------------------------------------ tiktoken */

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void add_line(struct bitnet_buf *out, struct bitnet_str bytes, size_t rank)
{
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t n = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++) bits = bits << 8 | (k < n ? (uint8_t)bytes.at[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            bitnet_buf_add(out, k > n ? "=" : &letters[bits >> (18 - 6 * k) & 63], 1);
    }
    bitnet_buf_printf(out, " %zu\n", rank);
}

TEST(llama_3_tiktoken_equals_tiktoken)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    skip_without_data("Llama 3");
    struct bitnet_str file = cases_file("tiktoken/llama3-tokenizer.model");
    if (bitnet_tokenizer_from_tiktoken(&tokenizer, file, NULL, &err)) fail_msg("%s", err.text);
    bitnet_free((void *)(uintptr_t)file.at);
    assert_int_equal(bitnet_tokenizer_size(tokenizer), 128256);
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), "llama-bpe");
    assert_int_equal(bitnet_tokenizer_special(tokenizer)->bos, 128000);
    assert_int_equal(bitnet_tokenizer_special(tokenizer)->eos, 128001);
    assert_int_equal(bitnet_tokenizer_special(tokenizer)->eot, 128009);
    assert_true(
        bitnet_str_is(bitnet_token_text(tokenizer, 128255), "<|reserved_special_token_250|>"));
    must_be_equal(cases_compare(tokenizer, "expected/llama3-tokenizer.tiktoken.tsv", &plain), 800,
                  "tiktoken");
    must_be_equal(
        cases_compare(tokenizer, "expected/llama3-tokenizer.tiktoken.special.tsv", &special), 100,
        "tiktoken, special tokens");
    bitnet_tokenizer_free(tokenizer);
}

/* Any 256 letters in rank order, and two tokens that can be made in two ways. */
static void add_alphabet(struct bitnet_buf *out)
{
    for (unsigned byte = 0; byte < 256; byte++)
        add_line(out, (struct bitnet_str){&(char){(char)byte}, 1}, byte);
}

static void must_become(const struct bitnet_tokenizer *tokenizer, const char *text,
                        const int32_t *want, size_t n)
{
    struct bitnet_tokens got = {0};
    assert_int_equal(bitnet_tokenize(tokenizer, bitnet_str_of(text), &plain, &got, NULL), 0);
    assert_int_equal(got.n, n);
    assert_memory_equal(got.at, want, n * sizeof *want);
    bitnet_tokens_free(&got);
}

TEST(joint_bytes_of_the_lowest_rank_are_joined_first_the_leftmost_among_equals)
{
    struct bitnet_buf file = {.max = 1 << 20};
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    add_alphabet(&file);
    add_line(&file, BITNET_STR("aa"), 256);
    add_line(&file, BITNET_STR("aaa"), 257);
    add_line(&file, BITNET_STR("whole"), 258); /* no two tokens make it */
    if (bitnet_tokenizer_from_tiktoken(&tokenizer, (struct bitnet_str){file.at, file.n}, "gpt-2",
                                       &err))
        fail_msg("%s", err.text);
    must_become(tokenizer, "aaa", (int32_t[]){257}, 1);
    must_become(tokenizer, "aaaaa", (int32_t[]){256, 257}, 2);
    must_become(tokenizer, "baaaa", (int32_t[]){'b', 256, 256}, 3);
    must_become(tokenizer, "whole", (int32_t[]){258}, 1);
    bitnet_tokenizer_free(tokenizer);
    bitnet_buf_free(&file);
}

static void must_refuse(const char *text, enum bitnet_status status, const char *words)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err = {0};
    assert_int_equal(bitnet_tokenizer_from_tiktoken(&tokenizer, bitnet_str_of(text), NULL, &err),
                     status);
    assert_null(tokenizer);
    assert_text_has(err.text, words);
}

TEST(damaged_tiktoken_files_are_refused_with_their_line)
{
    must_refuse("", BITNET_FORMAT, "the file is empty");
    must_refuse("YQ== 0\nYg==1\n", BITNET_FORMAT, "line 2: no Base64, space and rank");
    must_refuse("YQ== 0\n 1\n", BITNET_FORMAT, "line 2: the token is empty");
    must_refuse("YQ== 0\nY*== 1\n", BITNET_FORMAT, "line 2: the token is no Base64");
    must_refuse("YQ== zero\n", BITNET_FORMAT, "line 1: rank 'zero' is no number");
    must_refuse("YQ== -1\n", BITNET_FORMAT, "line 1: rank '-1' is no number");
    must_refuse("YQ== 0\nYg== 0\n", BITNET_FORMAT, "lines 1 and 2 have the same rank 0");
    must_refuse("YQ== 0\nYg== 2\n", BITNET_FORMAT, "ranks have a hole");
    must_refuse("YQ== 0\nYQ== 1\n", BITNET_FORMAT, "line 2: tokens 0 and 1 are both spelled 'a'");
    must_refuse("YQ== 0\n", BITNET_FORMAT, "there is no token for byte 0x00");
}

TEST(a_tiktoken_vocabulary_that_nobody_knows_needs_the_name_of_its_pre_tokenizer)
{
    struct bitnet_buf file = {.max = 1 << 20};
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err = {0};
    add_alphabet(&file);
    struct bitnet_str text = {file.at, file.n};
    assert_true(is_tiktoken(text));
    assert_int_equal(bitnet_tokenizer_from_tiktoken(&tokenizer, text, NULL, &err),
                     BITNET_UNSUPPORTED);
    assert_text_has(err.text, "a tiktoken vocabulary of 256 tokens is not known");
    assert_int_equal(bitnet_tokenizer_from_tiktoken(&tokenizer, text, "no-such", &err),
                     BITNET_UNSUPPORTED);
    assert_text_has(err.text, "pre-tokenizer 'no-such' is not supported");
    bitnet_buf_free(&file);
}

/* GPT-2's tokens in tiktoken's form are recognized; changed ones of the same number are not. */
TEST(a_known_vocabulary_is_proved_by_its_ids)
{
    struct bitnet_buf file = {.max = 1 << 26}, changed = {.max = 1 << 26};
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err = {0};
    skip_without_data("GPT-2");
    struct bitnet_tokenizer *gguf = cases_open_gguf("ggml-vocab/ggml-vocab-gpt-2.gguf");
    for (int32_t id = 0; id < 50256; id++) {
        struct bitnet_str text = bitnet_token_text(gguf, id);
        char bytes[1024];
        size_t n = 0;
        assert_true(text.n < sizeof bytes && alphabet_unspell(text, bytes, &n));
        add_line(&file, (struct bitnet_str){bytes, n}, (size_t)id);
        add_line(&changed, (struct bitnet_str){bytes, n}, (size_t)(id < 256 ? id : 50511 - id));
    }
    assert_int_equal(bitnet_tokenizer_from_tiktoken(
                         &tokenizer, (struct bitnet_str){changed.at, changed.n}, NULL, &err),
                     BITNET_UNSUPPORTED);
    assert_text_has(err.text, "of the size of GPT-2, with other ids");
    if (bitnet_tokenizer_from_tiktoken(&tokenizer, (struct bitnet_str){file.at, file.n}, NULL,
                                       &err))
        fail_msg("%s", err.text);
    assert_int_equal(bitnet_tokenizer_special(tokenizer)->eos, 50256);
    must_be_equal(cases_compare(tokenizer, "expected/gpt-2.llamacpp.tsv", &plain), 800, "gpt-2");
    bitnet_tokenizer_free(tokenizer);
    bitnet_tokenizer_free(gguf);
    bitnet_buf_free(&file);
    bitnet_buf_free(&changed);
}

/* ------------------------------------------------------------------ folders */

static void copy_file(const struct temp_dir *dir, const char *name, const char *from)
{
    struct bitnet_str file = cases_file(from);
    temp_dir_write(dir, name, file.at, file.n);
    bitnet_free((void *)(uintptr_t)file.at);
}

static void write_text(const struct temp_dir *dir, const char *name, const char *text)
{
    temp_dir_write(dir, name, text, strlen(text));
}

static struct bitnet_tokenizer *open_dir(const struct temp_dir *dir, size_t n_vocab)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (bitnet_tokenizer_from_dir(&tokenizer, dir->path, n_vocab, NULL, &err))
        fail_msg("%s", err.text);
    return tokenizer;
}

static void must_not_open(const struct temp_dir *dir, enum bitnet_status status, const char *words)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err = {0};
    assert_int_equal(bitnet_tokenizer_from_dir(&tokenizer, dir->path, 0, NULL, &err), status);
    assert_text_has(err.text, words);
}

/* transformers' Qwen2Tokenizer: NFC, its own expression, added tokens from the configuration. */
TEST(qwen_2_vocab_and_merges_equal_hugging_face)
{
    struct temp_dir dir;
    skip_without_data("Qwen 2");
    temp_dir_make(&dir);
    copy_file(&dir, "vocab.json", "vocab-merges/qwen2/vocab.json");
    copy_file(&dir, "merges.txt", "vocab-merges/qwen2/merges.txt");
    copy_file(&dir, "tokenizer_config.json", "vocab-merges/qwen2/tokenizer_config.json");
    struct bitnet_tokenizer *tokenizer = open_dir(&dir, 151936);
    assert_int_equal(bitnet_tokenizer_size(tokenizer), 151936);
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), "qwen2");
    assert_int_equal(bitnet_tokenizer_special(tokenizer)->eos, 151645);
    assert_true(bitnet_chat_template(tokenizer).n > 0);
    must_be_equal(cases_compare(tokenizer, "expected/qwen2-skeleton.hf.tsv", &plain), 800, "qwen2");
    must_be_equal(cases_compare(tokenizer, "expected/qwen2-skeleton.hf.special.tsv", NULL), 100,
                  "qwen2, special tokens");
    bitnet_tokenizer_free(tokenizer);
    temp_dir_remove(&dir);
}

/* Without added_tokens_decoder: the older files say which tokens are special. */
TEST(special_tokens_of_older_folders_come_from_their_own_files)
{
    struct temp_dir dir;
    skip_without_data("Qwen 2");
    temp_dir_make(&dir);
    copy_file(&dir, "vocab.json", "vocab-merges/qwen2/vocab.json");
    copy_file(&dir, "merges.txt", "vocab-merges/qwen2/merges.txt");
    copy_file(&dir, "added_tokens.json", "vocab-merges/qwen2/added_tokens.json");
    copy_file(&dir, "special_tokens_map.json", "vocab-merges/qwen2/special_tokens_map.json");
    write_text(&dir, "config.json", "{\"model_type\":\"qwen2\",\"vocab_size\":151936}");
    struct bitnet_tokenizer *tokenizer = open_dir(&dir, 0);
    assert_int_equal(bitnet_tokenizer_size(tokenizer), 151646);
    assert_int_equal(bitnet_token_type(tokenizer, 151645), BITNET_TOKEN_CONTROL);
    must_be_equal(cases_compare(tokenizer, "expected/qwen2-skeleton.hf.special.tsv", NULL), 100,
                  "qwen2, special tokens");
    bitnet_tokenizer_free(tokenizer);
    temp_dir_remove(&dir);
}

static const char alphabet_vocab[] = "{\"a\":0,\"b\":1,\"ab\":2,\"<|endoftext|>\":3,\"x</w>\":4,"
                                     "\"a</w>\":5,\"xa</w>\":6,\"x\":7}";

TEST(a_folder_of_vocab_and_merges_needs_a_class_that_is_known)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    write_text(&dir, "vocab.json", alphabet_vocab);
    write_text(&dir, "merges.txt", "#version: 0.2\na b\n");
    must_not_open(&dir, BITNET_UNSUPPORTED,
                  "nothing beside vocab.json says how text is cut into words");
    write_text(&dir, "tokenizer_config.json", "{\"tokenizer_class\":\"PhobertTokenizer\"}");
    must_not_open(&dir, BITNET_UNSUPPORTED, "tokenizer_class 'PhobertTokenizer' is not known");
    write_text(&dir, "tokenizer_config.json", "{\"tokenizer_class\":\"GPT2Tokenizer\"}");
    must_not_open(&dir, BITNET_FORMAT, "the vocabulary has no token for byte 0x0A");
    write_text(&dir, "merges.txt", "a b c\n");
    must_not_open(&dir, BITNET_FORMAT, "line 1: merge 0 is not two parts");
    write_text(&dir, "merges.txt", "a c\n");
    must_not_open(&dir, BITNET_FORMAT, "merge 0: 'c' is not in the vocabulary");
    write_text(&dir, "vocab.json", "[]");
    must_not_open(&dir, BITNET_FORMAT, "vocab.json: the file is no JSON object");
    temp_dir_remove(&dir);
}

/* The last character of a word has its own spelling, and merges carry it along. */
TEST(words_of_clip_end_in_their_suffix)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    write_text(&dir, "vocab.json", alphabet_vocab);
    write_text(&dir, "merges.txt", "#version: 0.2\nx a</w>\n");
    write_text(&dir, "tokenizer_config.json", "{\"tokenizer_class\":\"CLIPTokenizer\"}");
    struct bitnet_tokenizer *tokenizer = open_dir(&dir, 0);
    must_become(tokenizer, "XA", (int32_t[]){6}, 1);
    must_become(tokenizer, "x xxa", (int32_t[]){4, 7, 6}, 3);
    must_become(tokenizer, "aba", (int32_t[]){0, 1, 5}, 3);
    bitnet_tokenizer_free(tokenizer);
    temp_dir_remove(&dir);
}

TEST(a_vocab_txt_equals_the_tokenizer_json_of_bert)
{
    struct temp_dir dir;
    struct bitnet_buf lines = {.max = 1 << 24};
    struct bitnet_tokenizer *json;
    struct bitnet_error err;
    skip_without_data("BERT");
    struct bitnet_str file = cases_file("hf/bert-base-uncased/tokenizer.json");
    if (bitnet_tokenizer_from_json(&json, file, NULL, &err)) fail_msg("%s", err.text);
    for (int32_t id = 0; id < (int32_t)bitnet_tokenizer_size(json); id++) {
        bitnet_buf_add_str(&lines, bitnet_token_text(json, id));
        bitnet_buf_add(&lines, "\n", 1);
    }
    temp_dir_make(&dir);
    temp_dir_write(&dir, "vocab.txt", lines.at, lines.n);
    struct bitnet_tokenizer *tokenizer = open_dir(&dir, 0);
    must_be_equal(cases_compare(tokenizer, "expected/bert-base-uncased.hf.tsv", &plain), 800,
                  "bert");
    must_be_equal(cases_compare(tokenizer, "expected/bert-base-uncased.hf.special.tsv", NULL), 100,
                  "bert, special tokens");
    bitnet_tokenizer_free(tokenizer);
    temp_dir_write(&dir, "vocab.txt", "a\nb\n", 4);
    must_not_open(&dir, BITNET_FORMAT, "[PAD] is not there");
    bitnet_tokenizer_free(json);
    bitnet_free((void *)(uintptr_t)file.at);
    bitnet_buf_free(&lines);
    temp_dir_remove(&dir);
}

TEST(a_folder_with_a_tiktoken_file_under_either_name)
{
    static const char *const names[] = {"tokenizer.model", "llama3.tiktoken"};
    struct temp_dir dir;
    skip_without_data("Llama 3");
    for (size_t i = 0; i < COUNT(names); i++) {
        temp_dir_make(&dir);
        copy_file(&dir, names[i], "tiktoken/llama3-tokenizer.model");
        copy_file(&dir, "tokenizer_config.json", "tiktoken/llama3-instruct-tokenizer_config.json");
        struct bitnet_tokenizer *tokenizer = open_dir(&dir, 128256);
        assert_int_equal(bitnet_tokenizer_special(tokenizer)->bos, 128000);
        assert_int_equal(bitnet_tokenizer_special(tokenizer)->eos, 128009);
        assert_true(bitnet_token_is_eog(tokenizer, 128009));
        assert_true(bitnet_chat_template(tokenizer).n > 0);
        must_become(tokenizer, "Hello", (int32_t[]){9906}, 1);
        bitnet_tokenizer_free(tokenizer);
        temp_dir_remove(&dir);
    }
}

TEST(rwkv_world_equals_llama_cpp)
{
    struct temp_dir dir;
    skip_without_data("RWKV World");
    temp_dir_make(&dir);
    copy_file(&dir, "rwkv_vocab_v20230424.txt", "rwkv/rwkv_vocab_v20230424.txt");
    struct bitnet_tokenizer *tokenizer = open_dir(&dir, 65536);
    assert_int_equal(bitnet_tokenizer_size(tokenizer), 65536);
    assert_int_equal(bitnet_tokenizer_special(tokenizer)->eot, 261);
    struct bitnet_buf prompt = {.max = 4096};
    assert_int_equal(bitnet_chat_prompt(tokenizer, NULL, 0, true, &prompt, NULL),
                     BITNET_UNSUPPORTED);
    assert_int_equal(prompt.n, 0);
    must_be_equal(cases_compare(tokenizer, "expected/rwkv-world.llamacpp.tsv", &plain), 800,
                  "rwkv");
    bitnet_tokenizer_free(tokenizer);
    temp_dir_remove(&dir);
}

TEST(damaged_lists_of_rwkv_are_refused_with_their_line)
{
    static const struct {
        const char *text, *words;
    } files[] = {
        {"", "the file is empty"},
        {"1 'a'\n", "line 1: no id, literal and length"},
        {"1 'a' 1\n3 'b' 1\n", "line 2: id '3', where 2 follows"},
        {"1 'a' 2\n", "line 1: 1 bytes, but the length is '2'"},
        {"1 a 1\n", "line 1: no Python literal"},
        {"1 '\\q' 1\n", "line 1: a damaged escape"},
        {"1 '\\ud800' 3\n", "line 1: a damaged escape"},
        {"1 b'\\xf' 1\n", "line 1: a damaged escape"},
        {"1 '' 0\n", "line 1: the token is empty"},
        {"1 'a' 1\n2 b'a' 1\n", "are both spelled 'a'"},
        {"1 'a' 1\n", "there is no token for byte 0x00"},
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        struct bitnet_tokenizer *tokenizer;
        struct bitnet_error err = {0};
        assert_int_equal(tokenizer_read_rwkv(&tokenizer, bitnet_str_of(files[i].text), &err),
                         BITNET_FORMAT);
        assert_text_has(err.text, files[i].words);
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
        cmocka_unit_test(llama_3_tiktoken_equals_tiktoken),
        cmocka_unit_test(joint_bytes_of_the_lowest_rank_are_joined_first_the_leftmost_among_equals),
        cmocka_unit_test(damaged_tiktoken_files_are_refused_with_their_line),
        cmocka_unit_test(
            a_tiktoken_vocabulary_that_nobody_knows_needs_the_name_of_its_pre_tokenizer),
        cmocka_unit_test(a_known_vocabulary_is_proved_by_its_ids),
        cmocka_unit_test(qwen_2_vocab_and_merges_equal_hugging_face),
        cmocka_unit_test(special_tokens_of_older_folders_come_from_their_own_files),
        cmocka_unit_test(a_folder_of_vocab_and_merges_needs_a_class_that_is_known),
        cmocka_unit_test(words_of_clip_end_in_their_suffix),
        cmocka_unit_test(a_vocab_txt_equals_the_tokenizer_json_of_bert),
        cmocka_unit_test(a_folder_with_a_tiktoken_file_under_either_name),
        cmocka_unit_test(rwkv_world_equals_llama_cpp),
        cmocka_unit_test(damaged_lists_of_rwkv_are_refused_with_their_line),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
