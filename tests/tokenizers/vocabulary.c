/* See vocabulary.h. */
#include "vocabulary.h"

#include "cm.h"

#include <stdlib.h>

#include <bitnet/text.h>

#include "alphabet.h"
#include "temp_dir.h"

enum { MAX_TOKENS = 160000 };

struct columns {
    struct bitnet_str *texts;
    int32_t *types;
    float *scores;
    char (*names)[16];
    size_t n;
};

static void add(struct columns *columns, struct bitnet_str text, int type, float score)
{
    assert_true(columns->n < MAX_TOKENS);
    columns->texts[columns->n] = text;
    columns->types[columns->n] = type;
    columns->scores[columns->n++] = score;
}

static void add_bytes(struct columns *columns, bool is_byte_level)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char *name = columns->names[columns->n], raw = (char)byte;
        size_t n = is_byte_level ? alphabet_spell(&raw, 1, name)
                                 : (size_t)snprintf(name, 16, "<0x%02X>", byte);
        add(columns, (struct bitnet_str){name, n},
            is_byte_level ? BITNET_TOKEN_NORMAL : BITNET_TOKEN_BYTE, 0);
    }
}

static void add_tokens(struct columns *columns, const struct vocabulary *v)
{
    if (v->with_bytes) add_bytes(columns, strcmp(v->model, "gpt2") == 0);
    for (const struct vocabulary_token *t = v->tokens; t && t->text; t++)
        add(columns, bitnet_str_of(t->text), t->type ? t->type : BITNET_TOKEN_NORMAL, t->score);
    while (columns->n < v->n_tokens) {
        char *name = columns->names[columns->n];
        size_t n = (size_t)snprintf(name, 16, "[PAD%zu]", columns->n);
        add(columns, (struct bitnet_str){name, n}, BITNET_TOKEN_UNUSED, 0);
    }
}

static void put_merges(struct bitnet_gguf_writer *writer, const char *const *merges)
{
    struct bitnet_str texts[256];
    size_t n = 0;
    for (; merges[n]; n++) {
        assert_true(n < COUNT(texts));
        texts[n] = bitnet_str_of(merges[n]);
    }
    bitnet_gguf_put_strings(writer, "tokenizer.ggml.merges", texts, n);
}

static void put_keys(struct bitnet_gguf_writer *writer, const struct vocabulary_key *keys)
{
    for (const struct vocabulary_key *k = keys; k && k->key; k++) {
        if (k->kind == 'u') bitnet_gguf_put_u32(writer, k->key, k->number);
        if (k->kind == 'b') bitnet_gguf_put_bool(writer, k->key, k->number);
        if (k->kind == 's') bitnet_gguf_put_str(writer, k->key, bitnet_str_of(k->text));
    }
}

static void put_all(struct bitnet_gguf_writer *writer, const struct vocabulary *v)
{
    struct columns columns = {
        .texts = calloc(MAX_TOKENS, sizeof *columns.texts),
        .types = calloc(MAX_TOKENS, sizeof *columns.types),
        .scores = calloc(MAX_TOKENS, sizeof *columns.scores),
        .names = calloc(MAX_TOKENS, sizeof *columns.names),
    };
    assert_true(columns.texts && columns.types && columns.scores && columns.names);
    add_tokens(&columns, v);
    bitnet_gguf_put_str(writer, "tokenizer.ggml.model", bitnet_str_of(v->model));
    if (v->pre) bitnet_gguf_put_str(writer, "tokenizer.ggml.pre", bitnet_str_of(v->pre));
    bitnet_gguf_put_strings(writer, "tokenizer.ggml.tokens", columns.texts, columns.n);
    bitnet_gguf_put_array(writer, "tokenizer.ggml.scores", BITNET_GGUF_F32, columns.scores,
                          columns.n);
    bitnet_gguf_put_array(writer, "tokenizer.ggml.token_type", BITNET_GGUF_I32, columns.types,
                          columns.n);
    if (v->merges) put_merges(writer, v->merges);
    put_keys(writer, v->keys);
    free(columns.texts);
    free(columns.types);
    free(columns.scores);
    free(columns.names);
}

void vocabulary_write(const char *path, const struct vocabulary *v)
{
    struct bitnet_gguf_writer *writer;
    struct bitnet_error err = {0};
    if (bitnet_gguf_writer_new(&writer, path,
                               &(struct bitnet_gguf_writer_options){.overwrite = true}, &err))
        fail_msg("%s", err.text);
    put_all(writer, v);
    const uint64_t dims[] = {1, v->rows};
    if (v->rows && bitnet_gguf_tensor_declare(writer, BITNET_STR("token_embd.weight"),
                                              BITNET_DTYPE_f32, dims, 2, &err))
        fail_msg("%s", err.text);
    if (bitnet_gguf_begin(writer, &err)) fail_msg("%s", err.text);
    static const float zero;
    for (uint64_t i = 0; i < v->rows; i++)
        if (bitnet_gguf_tensor_write(writer, &zero, sizeof zero, &err)) fail_msg("%s", err.text);
    if (bitnet_gguf_finish(writer, &err)) fail_msg("%s", err.text);
}

struct bitnet_tokenizer *vocabulary_open(const struct vocabulary *v, const struct bitnet_log *log)
{
    struct temp_dir dir;
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_tokenizer *tokenizer = NULL;
    struct bitnet_error err = {0};
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "vocabulary.gguf");
    vocabulary_write(path, v);
    if (bitnet_gguf_open(&gguf, path, NULL, &err) ||
        bitnet_tokenizer_from_gguf(&tokenizer, gguf, log, &err))
        fail_msg("%s", err.text);
    bitnet_gguf_close(gguf);
    temp_dir_remove(&dir);
    return tokenizer;
}

void vocabulary_copy_with_pre(const struct bitnet_gguf *gguf, const char *path, const char *pre)
{
    struct bitnet_gguf_writer *writer;
    struct bitnet_error err = {0};
    if (bitnet_gguf_writer_new(&writer, path,
                               &(struct bitnet_gguf_writer_options){.overwrite = true}, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(gguf, i);
        if (bitnet_str_is(pair->key, "tokenizer.ggml.pre")) continue;
        bitnet_gguf_put_value(writer, pair->key, &pair->value);
    }
    if (pre) bitnet_gguf_put_str(writer, "tokenizer.ggml.pre", bitnet_str_of(pre));
    if (bitnet_gguf_begin(writer, &err) || bitnet_gguf_finish(writer, &err))
        fail_msg("%s", err.text);
}

void vocabulary_hear(void *user, enum bitnet_log_level level, const char *text)
{
    struct vocabulary_talk *talk = user;
    if (level != BITNET_LOG_WARNING) return;
    snprintf(talk->text, sizeof talk->text, "%s", text);
    talk->n_warnings++;
}
