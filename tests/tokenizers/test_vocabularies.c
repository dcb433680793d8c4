/* Small vocabularies of our own (tests/golden/tokenizers) against what Hugging Face tokenizers made
 * of them; the same vocabularies written as GGUF and read back must give the same ids. Needs no
 * shared data. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/text.h>
#include <bitnet/tokenizer.h>

#include "temp_dir.h"

#define GOLDEN BITNET_SOURCE_DIR "/tests/golden/tokenizers/"

static struct bitnet_str read_golden(const char *name, const char *extension)
{
    char path[512];
    struct bitnet_str text;
    struct bitnet_error err;
    snprintf(path, sizeof path, GOLDEN "%s.%s", name, extension);
    if (bitnet_read_file(path, (size_t)1 << 24, &text, &err)) fail_msg("%s", err.text);
    return text;
}

static struct bitnet_tokenizer *open_golden(const char *name)
{
    struct bitnet_str json = read_golden(name, "json");
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (bitnet_tokenizer_from_json(&tokenizer, json, NULL, &err)) fail_msg("%s", err.text);
    bitnet_free((void *)(uintptr_t)json.at);
    return tokenizer;
}

/* One line of a .tsv. */
struct line {
    struct bitnet_buf text, decoded;
    struct bitnet_tokens ids;
};

static void unhex(const char **at, char end, struct bitnet_buf *out)
{
    out->n = 0;
    for (; **at != end; *at += 2) {
        char pair[3] = {(*at)[0], (*at)[1], 0}, byte;
        byte = (char)strtol(pair, NULL, 16);
        bitnet_buf_add(out, &byte, 1);
    }
    (*at)++;
}

static bool next_line(const char **at, struct line *line)
{
    while (**at == '#') *at = strchr(*at, '\n') + 1;
    if (!**at) return false;
    unhex(at, '\t', &line->text);
    line->ids.n = 0;
    while (**at != '\t') {
        char *end;
        bitnet_tokens_add(&line->ids, (int32_t)strtol(*at, &end, 10));
        *at = *end == ' ' ? end + 1 : end;
    }
    (*at)++;
    unhex(at, '\n', &line->decoded);
    return true;
}

static void line_free(struct line *line)
{
    bitnet_buf_free(&line->text);
    bitnet_buf_free(&line->decoded);
    bitnet_tokens_free(&line->ids);
}

static struct bitnet_str str_of(const struct bitnet_buf *buf)
{
    return (struct bitnet_str){buf->n ? buf->at : "", buf->n};
}

static void must_be_ids(struct bitnet_str text, const struct bitnet_tokens *got,
                        const struct bitnet_tokens *want)
{
    for (size_t i = 0; i < got->n || i < want->n; i++)
        if (i >= got->n || i >= want->n || got->at[i] != want->at[i])
            fail_msg("%s: token %zu of %zu (want %zu): %d, want %d", BITNET_QUOTE(text), i, got->n,
                     want->n, i < got->n ? got->at[i] : -1, i < want->n ? want->at[i] : -1);
}

static void check_json(const char *name, const char *pre)
{
    struct bitnet_tokenizer *tokenizer = open_golden(name);
    struct bitnet_str file = read_golden(name, "tsv");
    struct line line = {.text.max = 1 << 20, .decoded.max = 1 << 20};
    size_t n = 0;
    assert_string_equal(bitnet_tokenizer_pre(tokenizer), pre);
    for (const char *at = file.at; next_line(&at, &line); n++) {
        struct bitnet_tokens got = {0};
        struct bitnet_buf text = {.max = 1 << 20};
        assert_int_equal(bitnet_tokenize(tokenizer, str_of(&line.text), NULL, &got, NULL), 0);
        must_be_ids(str_of(&line.text), &got, &line.ids);
        assert_int_equal(bitnet_detokenize(tokenizer, got.at, got.n, false, &text, NULL), 0);
        if (!bitnet_str_equal(str_of(&text), str_of(&line.decoded)))
            fail_msg("%s decodes to %s", BITNET_QUOTE(str_of(&line.decoded)),
                     BITNET_QUOTE(str_of(&text)));
        bitnet_tokens_free(&got);
        bitnet_buf_free(&text);
    }
    assert_true(n > 90);
    line_free(&line);
    bitnet_free((void *)(uintptr_t)file.at);
    bitnet_tokenizer_free(tokenizer);
}

/* ------------------------------------------------------------------ through a GGUF */

static struct bitnet_tokenizer *through_gguf(const struct bitnet_tokenizer *tokenizer)
{
    struct temp_dir dir;
    struct bitnet_gguf_writer *writer;
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_tokenizer *again = NULL;
    struct bitnet_error err = {0};
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "vocabulary.gguf");
    if (bitnet_gguf_writer_new(&writer, path, &(struct bitnet_gguf_writer_options){0}, &err) ||
        bitnet_tokenizer_to_gguf(tokenizer, writer, &err) || bitnet_gguf_begin(writer, &err) ||
        bitnet_gguf_finish(writer, &err) || bitnet_gguf_open(&gguf, path, NULL, &err) ||
        bitnet_tokenizer_from_gguf(&again, gguf, NULL, &err))
        fail_msg("%s", err.text);
    bitnet_gguf_close(gguf);
    temp_dir_remove(&dir);
    return again;
}

/* Texts that spell special tokens are left out: there the two engines differ on purpose. */
static void check_gguf(const char *name)
{
    struct bitnet_tokenizer *tokenizer = open_golden(name), *again = through_gguf(tokenizer);
    struct bitnet_str file = read_golden(name, "tsv");
    struct line line = {.text.max = 1 << 20, .decoded.max = 1 << 20};
    assert_string_equal(bitnet_tokenizer_pre(again), bitnet_tokenizer_pre(tokenizer));
    assert_int_equal(bitnet_tokenizer_size(again), bitnet_tokenizer_size(tokenizer));
    for (const char *at = file.at; next_line(&at, &line);) {
        struct bitnet_tokens got = {0};
        if (line.text.n && memchr(line.text.at, '<', line.text.n)) continue;
        /* An empty text gets its prefix space from Hugging Face's rule only if it is not empty. */
        assert_int_equal(bitnet_tokenize(again, str_of(&line.text), NULL, &got, NULL), 0);
        must_be_ids(str_of(&line.text), &got, &line.ids);
        bitnet_tokens_free(&got);
    }
    line_free(&line);
    bitnet_free((void *)(uintptr_t)file.at);
    bitnet_tokenizer_free(tokenizer);
    bitnet_tokenizer_free(again);
}

TEST(llama_3_structure_equals_hugging_face)
{
    check_json("llama3", "llama-bpe");
}
TEST(gpt_2_structure_equals_hugging_face)
{
    check_json("gpt2", "gpt-2");
}
TEST(starcoder_structure_equals_hugging_face)
{
    check_json("starcoder", "starcoder");
}
/* NFC and an unknown vocabulary: llama.cpp would not normalize, so it has no name for this one. */
TEST(qwen_2_structure_equals_hugging_face_and_has_no_name_in_llama_cpp)
{
    check_json("qwen2", "");
    struct bitnet_tokenizer *tokenizer = open_golden("qwen2");
    struct bitnet_gguf_writer *writer;
    struct temp_dir dir;
    struct bitnet_error err = {0};
    temp_dir_make(&dir);
    assert_int_equal(bitnet_gguf_writer_new(&writer, temp_dir_file(&dir, "x.gguf"),
                                            &(struct bitnet_gguf_writer_options){0}, &err),
                     BITNET_OK);
    assert_int_equal(bitnet_tokenizer_to_gguf(tokenizer, writer, &err), BITNET_UNSUPPORTED);
    bitnet_gguf_abort(writer);
    temp_dir_remove(&dir);
    bitnet_tokenizer_free(tokenizer);
}

TEST(llama_2_structure_equals_hugging_face)
{
    check_json("llama2", "default");
}
TEST(llama_3_structure_gives_the_same_ids_as_gguf)
{
    check_gguf("llama3");
}
TEST(gpt_2_structure_gives_the_same_ids_as_gguf)
{
    check_gguf("gpt2");
}
TEST(starcoder_structure_gives_the_same_ids_as_gguf)
{
    check_gguf("starcoder");
}
TEST(llama_2_structure_gives_the_same_ids_as_gguf)
{
    check_gguf("llama2");
}

/* ------------------------------------------------------------------ streams */

static void stream_all(const struct bitnet_tokenizer *tokenizer, const struct bitnet_tokens *ids,
                       struct bitnet_buf *out)
{
    struct bitnet_stream stream = {0};
    for (size_t i = 0; i <= ids->n; i++) {
        size_t before = out->n;
        int32_t id = i < ids->n ? ids->at[i] : BITNET_NO_TOKEN;
        assert_true(bitnet_stream_token(&stream, tokenizer, id, false, out));
        if (out->n > before)
            assert_true(bitnet_utf8_valid((struct bitnet_str){out->at + before, out->n - before}));
    }
}

TEST(a_stream_gives_whole_characters_and_together_the_text)
{
    struct bitnet_tokenizer *json = open_golden("llama3"), *tokenizer = through_gguf(json);
    struct bitnet_str text =
        BITNET_STR("na\xC3\xAFve \xF0\x9F\x98\x80\xF0\x9F\x87\xA9 \xE6\x97\xA5.");
    struct bitnet_tokens ids = {0};
    struct bitnet_buf out = {.max = 4096};
    assert_int_equal(bitnet_tokenize(tokenizer, text, NULL, &ids, NULL), BITNET_OK);
    assert_true(ids.n > text.n / 2); /* the vocabulary is small: characters span tokens */
    stream_all(tokenizer, &ids, &out);
    assert_true(bitnet_str_equal(str_of(&out), text));

    out.n = 0;
    ids.n -= 1; /* the full stop */
    ids.n -= 1; /* the last byte of the last character */
    stream_all(tokenizer, &ids, &out);
    assert_true(bitnet_str_ends(str_of(&out), " \xEF\xBF\xBD"));
    bitnet_tokens_free(&ids);
    bitnet_buf_free(&out);
    bitnet_tokenizer_free(json);
    bitnet_tokenizer_free(tokenizer);
}

/* ------------------------------------------------------------------ memory */

/* Loads, encodes with every road, writes, frees; the n-th allocation fails. */
static enum bitnet_status whole_life(struct bitnet_str json, const char *path)
{
    static const char text[] =
        "Hello <|eot_id|> w\xC3\xB6rld 12345\n  x aaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \xFF";
    struct bitnet_tokenizer *tokenizer = NULL, *again = NULL;
    struct bitnet_gguf_writer *writer = NULL;
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_tokens ids = {0};
    struct bitnet_buf out = {.max = 4096};
    struct bitnet_error err = {0};
    struct bitnet_tokenize_options special = {.parse_special = true};
    enum bitnet_status status = bitnet_tokenizer_from_json(&tokenizer, json, NULL, &err);
    if (!status) status = bitnet_tokenize(tokenizer, BITNET_STR(text), NULL, &ids, &err);
    if (!status) status = bitnet_detokenize(tokenizer, ids.at, ids.n, true, &out, &err);
    if (!status)
        status = bitnet_gguf_writer_new(
            &writer, path, &(struct bitnet_gguf_writer_options){.overwrite = true}, &err);
    if (!status) status = bitnet_tokenizer_to_gguf(tokenizer, writer, &err);
    if (!status) status = bitnet_gguf_begin(writer, &err);
    if (!status) {
        status = bitnet_gguf_finish(writer, &err);
        writer = NULL;
    }
    bitnet_gguf_abort(writer);
    if (!status) status = bitnet_gguf_open(&gguf, path, NULL, &err);
    if (!status) status = bitnet_tokenizer_from_gguf(&again, gguf, NULL, &err);
    if (!status) status = bitnet_tokenize(again, BITNET_STR(text), &special, &ids, &err);
    if (!status) status = bitnet_detokenize(again, ids.at, ids.n, true, &out, &err);
    bitnet_gguf_close(gguf);
    bitnet_tokens_free(&ids);
    bitnet_buf_free(&out);
    bitnet_tokenizer_free(tokenizer);
    bitnet_tokenizer_free(again);
    return status;
}

static void fail_each_allocation(const char *name)
{
    struct bitnet_str json = read_golden(name, "json");
    struct temp_dir dir;
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "vocabulary.gguf");
    long live = bitnet_alloc_live(), n = 0;
    for (;; n++) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = whole_life(json, path);
        bool reached = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!reached) {
            assert_int_equal(status, BITNET_OK);
            break;
        }
        if (status != BITNET_MEMORY)
            fail_msg("allocation %ld failed and the status was %s", n, bitnet_status_name(status));
    }
    printf("  %s: %ld allocations\n", name, n);
    assert_true(n > 50);
    bitnet_free((void *)(uintptr_t)json.at);
    temp_dir_remove(&dir);
}

TEST(every_failed_allocation_is_a_status_and_leaks_nothing_byte_level)
{
    fail_each_allocation("llama3");
}
TEST(every_failed_allocation_is_a_status_and_leaks_nothing_spm)
{
    fail_each_allocation("llama2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_3_structure_equals_hugging_face),
        cmocka_unit_test(gpt_2_structure_equals_hugging_face),
        cmocka_unit_test(starcoder_structure_equals_hugging_face),
        cmocka_unit_test(qwen_2_structure_equals_hugging_face_and_has_no_name_in_llama_cpp),
        cmocka_unit_test(llama_2_structure_equals_hugging_face),
        cmocka_unit_test(llama_3_structure_gives_the_same_ids_as_gguf),
        cmocka_unit_test(gpt_2_structure_gives_the_same_ids_as_gguf),
        cmocka_unit_test(starcoder_structure_gives_the_same_ids_as_gguf),
        cmocka_unit_test(llama_2_structure_gives_the_same_ids_as_gguf),
        cmocka_unit_test(a_stream_gives_whole_characters_and_together_the_text),
        cmocka_unit_test(every_failed_allocation_is_a_status_and_leaks_nothing_byte_level),
        cmocka_unit_test(every_failed_allocation_is_a_status_and_leaks_nothing_spm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
