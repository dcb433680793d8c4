/* BPE by rank over characters (gemma4, granite-embed-multi-311m, sarvam-moe), rule by rule
 * (tokenizers.md section 5, R-NEWLINES), on a small vocabulary of our own. The ids were found by
 * hand; Hugging Face tokenizers gives the same for the same merges with byte fallback, where no
 * rule is llama.cpp's alone. */
#include "cm.h"

#include <bitnet/alloc.h>
#include <bitnet/text.h>

#include "temp_dir.h"
#include "ids_text.h"
#include "vocabulary.h"

#define MARK "\xE2\x96\x81"

/* After 256 bytes: */
static const struct vocabulary_token tokens[] = {
    {"<bos>", 3, 0},    {MARK, 0, 0},
    {"a", 0, 0},        {"b", 0, 0}, /* 256 to 259 */
    {"c", 0, 0},        {"ab", 0, 0},
    {"abc", 0, 0},      {MARK "ab", 0, 0}, /* to 263 */
    {"\n", 0, 0},       {"\n\n", 0, 0},
    {MARK MARK, 0, 0},  {"\xC3\xA9", 0, 0}, /* to 267 */
    {"bc", 0, 0},       {"<user>", 4, 0},
    {"\xC4\xA0", 0, 0}, {"?", 0, 0}, /* to 271 */
    {"c\n", 0, 0},      {0}};
/* "cc" is no token. */
static const char *const merges[] = {"b c",         "a b", MARK " ab", "a bc",
                                     MARK " " MARK, "c c", "c \n",     NULL};
static const struct vocabulary_key keys[] = {{"tokenizer.ggml.bos_token_id", 'u', 256, NULL},
                                             {"tokenizer.ggml.add_bos_token", 'b', 0, NULL},
                                             {0}};
static const struct vocabulary gemma = {
    .model = "gemma4", .tokens = tokens, .with_bytes = true, .merges = merges, .keys = keys};

TEST(characters_are_merged_by_rank_and_spaces_are_marks)
{
    struct bitnet_tokenizer *t = vocabulary_open(&gemma, NULL);
    assert_string_equal(bitnet_tokenizer_pre(t), "gemma4");
    IDS(t, "", &bare, "");
    IDS(t, "abc", &bare, "262");
    IDS(t, "ab", &bare, "261");
    IDS(t, "abab", &bare, "261 261");
    IDS(t, " ab", &bare, "263");
    IDS(t, " abc", &bare, "257 262");
    IDS(t, "  ab", &bare, "257 263");
    IDS(t, "   ab", &bare, "266 263");
    IDS(t, "ab ab abc", &bare, "261 263 257 262");
    IDS(t, MARK "ab", &bare, "263");
    bitnet_tokenizer_free(t);
}

TEST(what_is_no_token_is_spelled_in_bytes)
{
    struct bitnet_tokenizer *t = vocabulary_open(&gemma, NULL);
    IDS(t, "\xC3\xA9", &bare, "267");
    IDS(t, "\xC3\xBC", &bare, "195 188");
    IDS(t,
        "a\xE6\x97\xA5"
        "b",
        &bare, "258 230 151 165 259");
    IDS(t, "\t", &bare, "9");
    IDS(t, "acc", &bare, "258 99 99");
    IDS(t, "\xFF", &bare, "239 191 189");
    IDS(t, "\xC4\xA0", &bare, "270");
    bitnet_tokenizer_free(t);
}

TEST(text_is_cut_at_newlines_and_a_run_of_them_that_is_a_token_is_that_token)
{
    struct bitnet_tokenizer *t = vocabulary_open(&gemma, NULL);
    IDS(t, "\n", &bare, "264");
    IDS(t, "a\n\nb", &bare, "258 265 259");
    IDS(t, "\n\n\n", &bare, "264 264 264");
    IDS(t, "c\n", &bare, "260 264");
    IDS(t, "ab\n ab", &bare, "261 264 263");
    IDS(t, "a\rb", &bare, "258 13 259");
    bitnet_tokenizer_free(t);
}

TEST(special_tokens_are_cut_out_before_spaces_become_marks)
{
    struct bitnet_tokenizer *t = vocabulary_open(&gemma, NULL);
    IDS(t, "a<user> ab", &bare, "258 269 263");
    IDS(t, "<bos>ab", &parsed, "256 261");
    IDS(t, "<bos>", &bare, "60 259 111 115 62");
    bitnet_tokenizer_free(t);
}

TEST(gemma_begins_with_bos_whatever_the_file_says_and_has_no_ids_that_it_does_not_name)
{
    struct vocabulary v = gemma;
    struct bitnet_tokenizer *t = vocabulary_open(&v, NULL);
    IDS(t, "ab", NULL, "256 261");
    assert_int_equal(bitnet_tokenizer_special(t)->eos, BITNET_NO_TOKEN);
    bitnet_tokenizer_free(t);
    v.keys = NULL;
    v.pre = "gpt-2"; /* the model's name counts */
    t = vocabulary_open(&v, NULL);
    assert_string_equal(bitnet_tokenizer_pre(t), "gemma4");
    assert_int_equal(bitnet_tokenizer_special(t)->bos, BITNET_NO_TOKEN);
    IDS(t, " ab", NULL, "263");
    bitnet_tokenizer_free(t);
}

/* The names that say so for "gpt2". */
static const struct vocabulary_token few_tokens[] = {
    {"<s>", 3, 0}, {MARK, 0, 0}, {"a", 0, 0}, {"<0xC3>", 6, 0}, {"<0xBC>", 6, 0}, {"?", 0, 0}, {0}};
static const char *const few_merges[] = {"a a", NULL};
static const struct vocabulary_key few_keys[] = {{"tokenizer.ggml.bos_token_id", 'u', 0, NULL},
                                                 {"tokenizer.ggml.add_bos_token", 'b', 0, NULL},
                                                 {0}};

static struct bitnet_tokenizer *open_few(const char *pre)
{
    return vocabulary_open(&(struct vocabulary){.model = "gpt2",
                                                .pre = pre,
                                                .tokens = few_tokens,
                                                .merges = few_merges,
                                                .keys = few_keys},
                           NULL);
}

TEST(the_other_names_read_a_vocabulary_named_gpt2_alike)
{
    struct bitnet_tokenizer *granite = open_few("granite-embed-multi-311m");
    struct bitnet_tokenizer *sarvam = open_few("sarvam-moe");
    IDS(granite, "a \xC3\xBC?", NULL, "0 2 1 3 4 5");
    IDS(sarvam, "a \xC3\xBC?", NULL, "2 1 3 4 5");
    bitnet_tokenizer_free(granite);
    bitnet_tokenizer_free(sarvam);
}

TEST(a_byte_that_the_vocabulary_cannot_spell_is_an_error)
{
    struct bitnet_tokenizer *t = open_few("sarvam-moe");
    struct bitnet_tokens ids = {0};
    struct bitnet_error err;
    assert_int_equal(bitnet_tokenize(t, BITNET_STR("a\xC3\xA9"), &bare, &ids, &err), BITNET_FORMAT);
    assert_string_equal(err.text, "the vocabulary has no token for byte 0xA9");
    assert_int_equal(ids.n, 0);
    bitnet_tokens_free(&ids);
    bitnet_tokenizer_free(t);
}

static void must_say(const struct bitnet_tokenizer *t, const int32_t *ids, size_t n,
                     const char *text)
{
    struct bitnet_buf out = {.max = 100};
    struct bitnet_error err;
    if (bitnet_detokenize(t, ids, n, true, &out, &err)) fail_msg("%s", err.text);
    assert_string_equal(out.at, text);
    bitnet_buf_free(&out);
}

TEST(ids_become_text_with_spaces_and_bytes_and_letters_as_they_are)
{
    struct bitnet_tokenizer *t = vocabulary_open(&gemma, NULL), *sarvam = open_few("sarvam-moe");
    must_say(t, (int32_t[]){263, 266, 258, 195, 188, 267, 270, 265}, 8,
             " ab  a\xC3\xBC\xC3\xA9\xC4\xA0\n\n");
    must_say(t, (int32_t[]){261, 257, 271}, 3, "ab?");
    must_say(sarvam, (int32_t[]){2, 1, 5}, 3, "a ?");
    bitnet_tokenizer_free(t);
    bitnet_tokenizer_free(sarvam);
}

TEST(written_as_gguf_and_read_back_it_gives_the_same_ids)
{
    struct bitnet_tokenizer *t = vocabulary_open(&gemma, NULL), *again = NULL;
    struct temp_dir dir;
    struct bitnet_gguf_writer *writer = NULL;
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_error err = {0};
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "again.gguf");
    if (bitnet_gguf_writer_new(&writer, path, &(struct bitnet_gguf_writer_options){0}, &err) ||
        bitnet_tokenizer_to_gguf(t, writer, &err) || bitnet_gguf_begin(writer, &err) ||
        bitnet_gguf_finish(writer, &err) || bitnet_gguf_open(&gguf, path, NULL, &err) ||
        bitnet_tokenizer_from_gguf(&again, gguf, NULL, &err))
        fail_msg("%s", err.text);
    assert_string_equal(bitnet_tokenizer_pre(again), "gemma4");
    IDS(again, "<user> ab\n\n\xC3\xBC", NULL, "256 269 263 265 195 188");
    bitnet_gguf_close(gguf);
    bitnet_tokenizer_free(t);
    bitnet_tokenizer_free(again);
    temp_dir_remove(&dir);
}

TEST(an_export_is_refused_by_name)
{
    struct bitnet_tokenizer *t = vocabulary_open(&gemma, NULL);
    struct bitnet_buf out = {.max = 1 << 20};
    struct bitnet_error err = {0};
    assert_int_not_equal(bitnet_tokenizer_export_json(t, &out, &err), BITNET_OK);
    assert_non_null(strstr(err.text, "merges by rank over characters, cut at newlines"));
    bitnet_buf_free(&out);
    bitnet_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_are_merged_by_rank_and_spaces_are_marks),
        cmocka_unit_test(what_is_no_token_is_spelled_in_bytes),
        cmocka_unit_test(text_is_cut_at_newlines_and_a_run_of_them_that_is_a_token_is_that_token),
        cmocka_unit_test(special_tokens_are_cut_out_before_spaces_become_marks),
        cmocka_unit_test(
            gemma_begins_with_bos_whatever_the_file_says_and_has_no_ids_that_it_does_not_name),
        cmocka_unit_test(the_other_names_read_a_vocabulary_named_gpt2_alike),
        cmocka_unit_test(a_byte_that_the_vocabulary_cannot_spell_is_an_error),
        cmocka_unit_test(ids_become_text_with_spaces_and_bytes_and_letters_as_they_are),
        cmocka_unit_test(written_as_gguf_and_read_back_it_gives_the_same_ids),
        cmocka_unit_test(an_export_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
