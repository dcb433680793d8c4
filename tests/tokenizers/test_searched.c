/* Vocabularies that are searched: T5's Unigram and RWKV's byte strings. GGUF files made here by
 * hand from the published sources, by the converter's rules, give llama.cpp's ids (shared data),
 * and what our writer makes of the same sources has the same keys, one by one. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>

#include <bitnet/alloc.h>
#include <bitnet/arena.h>

#include "cases.h"
#include "same_keys.h"
#include "spm_model.h"
#include "temp_dir.h"

static void must_be_equal(struct verdict verdict, size_t at_least, const char *name)
{
    printf("  %s: %zu equal, %zu different, %zu unspecified\n", name, verdict.n_equal,
           verdict.n_different, verdict.n_unspecified);
    assert_int_equal(verdict.n_different, 0);
    assert_true(verdict.n_equal >= at_least);
}

static void check(struct bitnet_tokenizer *tokenizer, const char *name)
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

#define MAX_ROWS 70000

/* A vocabulary on its way into a file. */
static struct {
    struct bitnet_arena arena;
    struct bitnet_str text[MAX_ROWS];
    uint8_t score[4 * MAX_ROWS], type[4 * MAX_ROWS];
    size_t n;
} rows;

static void add_row(struct bitnet_str text, float score, enum bitnet_token_type type)
{
    rows.text[rows.n] = bitnet_arena_copy(&rows.arena, text);
    bitnet_store_f32(rows.score + 4 * rows.n, score);
    bitnet_store_u32(rows.type + 4 * rows.n, (uint32_t)type);
    rows.n++;
}

static void add_pads(size_t n)
{
    while (rows.n < n) {
        char name[32];
        snprintf(name, sizeof name, "[PAD%zu]", rows.n);
        add_row(bitnet_str_of(name), -10000.0f, BITNET_TOKEN_UNUSED);
    }
}

static void put_rows(struct bitnet_gguf_writer *writer, const char *model)
{
    bool is_t5 = strcmp(model, "t5") == 0;
    bitnet_gguf_put_str(writer, "tokenizer.ggml.model", bitnet_str_of(model));
    if (is_t5) bitnet_gguf_put_str(writer, "tokenizer.ggml.pre", BITNET_STR("default"));
    bitnet_gguf_put_strings(writer, "tokenizer.ggml.tokens", rows.text, rows.n);
    if (is_t5)
        bitnet_gguf_put_array(writer, "tokenizer.ggml.scores", BITNET_GGUF_F32, rows.score, rows.n);
    bitnet_gguf_put_array(writer, "tokenizer.ggml.token_type", BITNET_GGUF_I32, rows.type, rows.n);
    bitnet_arena_free(&rows.arena);
    rows.n = 0;
}

/* The tokenizer of a finished file, which must have the keys that our writer makes of `dir`. */
static struct bitnet_tokenizer *reopen(struct bitnet_gguf_writer *writer, const char *path,
                                       const struct temp_dir *dir, size_t n_vocab)
{
    struct bitnet_tokenizer *source = NULL;
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_tokenizer *tokenizer = NULL;
    struct bitnet_error err;
    if (bitnet_gguf_begin(writer, &err) || bitnet_gguf_finish(writer, &err) ||
        bitnet_gguf_open(&gguf, path, NULL, &err) ||
        bitnet_tokenizer_from_gguf(&tokenizer, gguf, NULL, &err))
        fail_msg("%s", err.text);
    if (bitnet_tokenizer_from_dir(&source, dir->path, n_vocab, NULL, &err))
        fail_msg("%s", err.text);
    struct bitnet_gguf *ours = same_keys_written(source);
    same_keys(ours, gguf, NULL);
    bitnet_gguf_close(ours);
    bitnet_tokenizer_free(source);
    bitnet_gguf_close(gguf);
    temp_dir_remove(dir);
    return tokenizer;
}

static struct bitnet_gguf_writer *new_writer(const char *path)
{
    struct bitnet_gguf_writer *writer;
    struct bitnet_error err;
    if (bitnet_gguf_writer_new(&writer, path, &(struct bitnet_gguf_writer_options){0}, &err))
        fail_msg("%s", err.text);
    return writer;
}

static void write_text(const struct temp_dir *dir, const char *name, const char *text)
{
    temp_dir_write(dir, name, text, strlen(text));
}

static void skip_without_data(const char *name)
{
    if (cases_are_there()) return;
    printf("skipped: shared/data/tokenizers, %s\n", name);
    skip();
}

TEST(t5_equals_llama_cpp)
{
    struct temp_dir dir;
    struct spm_model model;
    struct bitnet_error err;
    skip_without_data("T5");
    struct bitnet_str file = cases_file("hf/t5-legal-fr-en/spiece.model");
    if (spm_model_read(&model, (struct bitnet_bytes){(const uint8_t *)file.at, file.n}, &err))
        fail_msg("%s", err.text);
    for (size_t id = 0; id < model.n; id++)
        add_row(model.pieces[id].text, model.pieces[id].score, model.pieces[id].type);
    struct bitnet_buf added = {.max = 65536};
    for (int i = 99; i >= 0; i--) {
        char name[32];
        snprintf(name, sizeof name, "<extra_id_%d>", i);
        bitnet_buf_printf(&added, "%s\"%s\":%zu", added.n ? "," : "{", name, rows.n);
        add_row(bitnet_str_of(name), -1000.0f, BITNET_TOKEN_USER);
    }
    bitnet_buf_add(&added, "}", 1);
    add_pads(32128);
    temp_dir_make(&dir);
    temp_dir_write(&dir, "spiece.model", file.at, file.n);
    temp_dir_write(&dir, "added_tokens.json", added.at, added.n);
    write_text(&dir, "tokenizer_config.json",
               "{\"eos_token\":\"</s>\",\"unk_token\":\"<unk>\",\"pad_token\":\"<pad>\"}");
    write_text(&dir, "config.json", "{\"eos_token_id\":1,\"pad_token_id\":0,\"vocab_size\":32128}");
    bitnet_buf_free(&added);
    const char *path = temp_dir_file(&dir, "t5.gguf");
    struct bitnet_gguf_writer *writer = new_writer(path);
    put_rows(writer, "t5");
    bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", model.add_dummy_prefix);
    bitnet_gguf_put_bool(writer, "tokenizer.ggml.remove_extra_whitespaces",
                         model.remove_extra_whitespaces);
    bitnet_gguf_put_array(writer, "tokenizer.ggml.precompiled_charsmap", BITNET_GGUF_U8,
                          model.charsmap.at, model.charsmap.n);
    bitnet_gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", 1);
    bitnet_gguf_put_u32(writer, "tokenizer.ggml.unknown_token_id", 2);
    bitnet_gguf_put_u32(writer, "tokenizer.ggml.padding_token_id", 0);
    bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", false);
    bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_eos_token", true);
    spm_model_free(&model);
    bitnet_free((void *)(uintptr_t)file.at);
    check(reopen(writer, path, &dir, 32128), "t5-from-spiece");
}

/* ------------------------------------------------------------------ RWKV */

static unsigned hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* A Python literal, 'text' or b'bytes', as the bytes it means. */
static size_t read_literal(const char *at, const char *end, char *out)
{
    size_t n = 0;
    if (*at == 'b') at++;
    for (at++, end--; at < end; at++) {
        if (*at != '\\') {
            out[n++] = *at;
            continue;
        }
        at++;
        if (*at == 'x' || *at == 'u') {
            uint32_t c = 0;
            for (int k = *at == 'x' ? 2 : 4; k > 0; k--) c = c << 4 | hex(*++at);
            bool as_byte = c < 0x80;
            n += as_byte ? (out[n] = (char)c, 1) : bitnet_utf8_encode(c, out + n);
        } else {
            out[n++] = *at == 'n' ? '\n' : *at == 't' ? '\t' : *at == 'r' ? '\r' : *at;
        }
    }
    return n;
}

/* The same for b'...', where \xHH is a byte. */
static size_t read_bytes(const char *at, const char *end, char *out)
{
    size_t n = 0;
    for (at += 2, end--; at < end; at++) {
        if (*at != '\\') {
            out[n++] = *at;
        } else if (*++at == 'x') {
            out[n++] = (char)(hex(at[1]) << 4 | hex(at[2]));
            at += 2;
        } else {
            out[n++] = *at == 'n' ? '\n' : *at == 't' ? '\t' : *at == 'r' ? '\r' : *at;
        }
    }
    return n;
}

/* As Python prints bytes, without the quotes. */
static void escape(const char *bytes, size_t n, struct bitnet_buf *out)
{
    bool has_single = memchr(bytes, '\'', n), has_double = memchr(bytes, '"', n);
    out->n = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)bytes[i];
        if (c == '\\' || (c == '\'' && has_single && has_double))
            bitnet_buf_printf(out, "\\%c", c);
        else if (c == '\n' || c == '\t' || c == '\r')
            bitnet_buf_printf(out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        else if (c < 0x20 || c >= 0x7F)
            bitnet_buf_printf(out, "\\x%02x", c);
        else
            bitnet_buf_add(out, &c, 1);
    }
}

TEST(rwkv_world_equals_llama_cpp)
{
    struct temp_dir dir;
    struct bitnet_buf escaped = {.max = 4096};
    skip_without_data("RWKV World");
    struct bitnet_str file = cases_file("rwkv/rwkv_vocab_v20230424.txt");
    add_row(BITNET_STR("<s>"), 0, BITNET_TOKEN_CONTROL);
    for (const char *line = file.at, *end; (end = strchr(line, '\n')); line = end + 1) {
        char bytes[1024];
        const char *first = strchr(line, ' ') + 1, *last = end;
        while (*--last != ' ') {
        }
        size_t n = *first == 'b' && (first[1] == '\'' || first[1] == '"')
                       ? read_bytes(first, last, bytes)
                       : read_literal(first, last, bytes);
        assert_int_equal(n, strtol(last, NULL, 10));
        escape(bytes, n, &escaped);
        add_row((struct bitnet_str){escaped.at, escaped.n}, 0, BITNET_TOKEN_NORMAL);
    }
    while (rows.n < 65536) {
        char name[32];
        snprintf(name, sizeof name, "[PAD%zu]", rows.n);
        add_row(bitnet_str_of(name), 0, BITNET_TOKEN_UNUSED);
    }
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "rwkv.gguf");
    struct bitnet_gguf_writer *writer = new_writer(path);
    put_rows(writer, "rwkv");
    bitnet_gguf_put_u32(writer, "tokenizer.ggml.eot_token_id", 261);
    bitnet_gguf_put_str(writer, "tokenizer.chat_template", BITNET_STR("rwkv-world"));
    temp_dir_write(&dir, "rwkv_vocab_v20230424.txt", file.at, file.n);
    bitnet_buf_free(&escaped);
    bitnet_free((void *)(uintptr_t)file.at);
    check(reopen(writer, path, &dir, 65536), "rwkv-world");
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
        cmocka_unit_test(t5_equals_llama_cpp),
        cmocka_unit_test(rwkv_world_equals_llama_cpp),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
