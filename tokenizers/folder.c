/* Owns the reading of model folders. See folder.h. What a file is shows by its first bytes where
 * its name is ambiguous: tokenizer.model is SentencePiece's protobuf or tiktoken's lines. */
#include "folder.h"

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/text.h>

#include <dirent.h>
#include <string.h>

#include "sources.h"

#define MAX_TOKENIZER_JSON ((size_t)128 << 20)
#define MAX_VOCABULARY     ((size_t)64 << 20)
#define MAX_CONFIG         ((size_t)16 << 20)
#define MAX_TEMPLATE       ((size_t)1 << 20)

/* ------------------------------------------------------------------ files */

/* An absent file leaves *text NULL. */
static enum bitnet_status read_text(const char *dir, const char *name, size_t max_bytes,
                                    struct bitnet_str *text, struct bitnet_error *err)
{
    char *path = bitnet_path_join(dir, bitnet_str_of(name));
    enum bitnet_status status = BITNET_OK;
    *text = (struct bitnet_str){0};
    if (!path)
        status = bitnet_fail(err, BITNET_MEMORY, "out of memory");
    else if (bitnet_path_exists(path))
        status = bitnet_read_file(path, max_bytes, text, err);
    bitnet_free(path);
    return status;
}

static void free_text(struct bitnet_str text)
{
    bitnet_free((void *)(uintptr_t)text.at);
}

static void document_close(struct document *document)
{
    free_text(document->text);
    bitnet_arena_free(&document->arena);
}

static enum bitnet_status document_open(struct document *document, const char *dir,
                                        const char *name, struct bitnet_error *err)
{
    enum bitnet_status status = read_text(dir, name, MAX_CONFIG, &document->text, err);
    if (status || !document->text.at) return status;
    status = bitnet_json_parse(&document->root, document->text, NULL, &document->arena, err);
    if (!status && document->root->kind != BITNET_JSON_OBJECT)
        status = bitnet_fail(err, BITNET_FORMAT, "the file is no JSON object");
    return status ? bitnet_error_prefix(err, status, "%s", name) : BITNET_OK;
}

/* ------------------------------------------------------------------ the vocabulary */

static enum bitnet_status take(struct folder *folder, enum folder_kind kind, const char *name,
                               struct bitnet_error *err)
{
    size_t n = strlen(name) + 1;
    folder->kind = kind;
    folder->name = bitnet_alloc(n, 1);
    if (!folder->name) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    memcpy(folder->name, name, n);
    return BITNET_OK;
}

/* Tries one file; *folder->name tells whether it was there. */
static enum bitnet_status try_file(struct folder *folder, enum folder_kind kind, const char *name,
                                   size_t max_bytes, struct bitnet_error *err)
{
    if (folder->name) return BITNET_OK;
    enum bitnet_status status = read_text(folder->dir, name, max_bytes, &folder->vocab, err);
    if (status || !folder->vocab.at) return status;
    if (!folder->n_skip) return take(folder, kind, name, err);
    folder->n_skip--;
    free_text(folder->vocab);
    folder->vocab = (struct bitnet_str){0};
    return BITNET_OK;
}

static enum bitnet_status try_model(struct folder *folder, const char *name,
                                    struct bitnet_error *err)
{
    bool had_name = folder->name != NULL;
    enum bitnet_status status = try_file(folder, FOLDER_MODEL, name, MAX_VOCABULARY, err);
    if (!status && !had_name && folder->name && is_tiktoken(folder->vocab))
        folder->kind = FOLDER_TIKTOKEN;
    return status;
}

static enum bitnet_status try_merges(struct folder *folder, struct bitnet_error *err)
{
    if (folder->name) return BITNET_OK;
    enum bitnet_status status =
        read_text(folder->dir, "merges.txt", MAX_VOCABULARY, &folder->merges, err);
    if (status || !folder->merges.at) return status;
    status = try_file(folder, FOLDER_MERGES, "vocab.json", MAX_TOKENIZER_JSON, err);
    if (folder->name) return status;
    free_text(folder->merges);
    folder->merges = (struct bitnet_str){0};
    return status;
}

/* The first *.tiktoken in the order of names, so that the choice does not depend on the disk. */
static enum bitnet_status try_tiktoken(struct folder *folder, struct bitnet_error *err)
{
    char *best = NULL;
    enum bitnet_status status = BITNET_OK;
    DIR *list = folder->name ? NULL : opendir(folder->dir);
    for (const struct dirent *entry; list && !status && (entry = readdir(list));) {
        struct bitnet_str name = bitnet_str_of(entry->d_name);
        if (!bitnet_str_ends(name, ".tiktoken") || (best && strcmp(entry->d_name, best) >= 0))
            continue;
        char *copy = bitnet_alloc(name.n + 1, 1);
        if (!copy) {
            status = bitnet_fail(err, BITNET_MEMORY, "out of memory");
            continue;
        }
        memcpy(copy, name.at, name.n);
        bitnet_free(best);
        best = copy;
    }
    if (list) closedir(list);
    if (!status && best) status = try_file(folder, FOLDER_TIKTOKEN, best, MAX_VOCABULARY, err);
    bitnet_free(best);
    return status;
}

static enum bitnet_status find_vocabulary(struct folder *folder, struct bitnet_error *err)
{
    enum bitnet_status status =
        try_file(folder, FOLDER_JSON, "tokenizer.json", MAX_TOKENIZER_JSON, err);
    if (!status) status = try_model(folder, "tokenizer.model", err);
    if (!status) status = try_model(folder, "spiece.model", err);
    if (!status) status = try_merges(folder, err);
    if (!status) status = try_tiktoken(folder, err);
    if (!status) status = try_file(folder, FOLDER_WORDS, "vocab.txt", MAX_VOCABULARY, err);
    if (!status)
        status = try_file(folder, FOLDER_RWKV, "rwkv_vocab_v20230424.txt", MAX_VOCABULARY, err);
    if (status || folder->name) return status;
    return bitnet_hint(
        err, bitnet_fail(err, BITNET_NOT_FOUND, "%s: there is no tokenizer", folder->dir),
        "looked for tokenizer.json, tokenizer.model, spiece.model, vocab.json with merges.txt, "
        "*.tiktoken, vocab.txt and rwkv_vocab_v20230424.txt");
}

/* ------------------------------------------------------------------ one file by its contents */

static bool is_json(struct bitnet_str text)
{
    size_t i = text.n >= 3 && memcmp(text.at, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (i < text.n && memchr(" \t\r\n", text.at[i], 4)) i++;
    return i < text.n && text.at[i] == '{';
}

/* RWKV's list begins with its first byte, "1 '\x00' 1". */
static bool is_rwkv(struct bitnet_str text)
{
    return bitnet_str_starts(text, "1 '") || bitnet_str_starts(text, "1 b'");
}

static enum bitnet_status tell_kind(const struct folder *folder, const char *name,
                                    enum folder_kind *kind, struct bitnet_error *err)
{
    struct bitnet_str text = folder->vocab;
    if (is_json(text))
        *kind = folder->merges.at ? FOLDER_MERGES : FOLDER_JSON;
    else if (text.n && text.at[0] == 0x0A)
        *kind = FOLDER_MODEL;
    else if (is_tiktoken(text))
        *kind = FOLDER_TIKTOKEN;
    else if (is_rwkv(text))
        *kind = FOLDER_RWKV;
    else if (bitnet_str_ends(bitnet_str_of(name), ".txt"))
        *kind = FOLDER_WORDS;
    else {
        const char *hint = NULL;
        const char *what =
            bitnet_file_accident((struct bitnet_bytes){(const uint8_t *)text.at, text.n}, &hint);
        enum bitnet_status status = bitnet_fail(err, BITNET_FORMAT, "%s: %s", name,
                                                what ? what : "this is no tokenizer that we know");
        return hint ? bitnet_hint(err, status, "%s", hint) : status;
    }
    return BITNET_OK;
}

/* Half of a pair stands for both. */
static enum bitnet_status read_named(struct folder *folder, const char *name,
                                     struct bitnet_error *err)
{
    bool is_half = strcmp(name, "vocab.json") == 0 || strcmp(name, "merges.txt") == 0;
    enum folder_kind kind = FOLDER_JSON;
    enum bitnet_status status = BITNET_OK;
    if (is_half) {
        name = "vocab.json";
        status = read_text(folder->dir, "merges.txt", MAX_VOCABULARY, &folder->merges, err);
    }
    if (!status) status = read_text(folder->dir, name, MAX_TOKENIZER_JSON, &folder->vocab, err);
    if (!status && !folder->vocab.at)
        return bitnet_fail(err, BITNET_NOT_FOUND, "%s/%s: there is no such file", folder->dir,
                           name);
    if (!status) status = tell_kind(folder, name, &kind, err);
    return status ? status : take(folder, kind, name, err);
}

/* ------------------------------------------------------------------ the whole */

static enum bitnet_status read_documents(struct folder *folder, struct bitnet_error *err)
{
    const char *dir = folder->dir;
    enum bitnet_status status = BITNET_OK;
    if (folder->kind == FOLDER_JSON)
        status = read_text(dir, "tokenizer.model", MAX_VOCABULARY, &folder->model, err);
    if (!status && folder->kind == FOLDER_JSON && !folder->model.at)
        status = read_text(dir, "spiece.model", MAX_VOCABULARY, &folder->model, err);
    if (!status)
        status = document_open(&folder->tokenizer_config, dir, "tokenizer_config.json", err);
    if (!status) status = document_open(&folder->config, dir, "config.json", err);
    if (!status) status = document_open(&folder->generation, dir, "generation_config.json", err);
    if (!status && folder->kind != FOLDER_JSON)
        status = document_open(&folder->added, dir, "added_tokens.json", err);
    if (!status && folder->kind == FOLDER_MERGES)
        status = document_open(&folder->special_map, dir, "special_tokens_map.json", err);
    if (!status)
        status = read_text(dir, "chat_template.jinja", MAX_TEMPLATE, &folder->template, err);
    return status;
}

enum bitnet_status folder_open(struct folder *folder, const char *dir, size_t n_skip,
                               struct bitnet_error *err)
{
    *folder = (struct folder){.dir = dir, .n_skip = n_skip};
    enum bitnet_status status = find_vocabulary(folder, err);
    return status ? status : read_documents(folder, err);
}

enum bitnet_status folder_open_file(struct folder *folder, const char *dir, const char *name,
                                    struct bitnet_error *err)
{
    *folder = (struct folder){.dir = dir};
    enum bitnet_status status = read_named(folder, name, err);
    return status ? status : read_documents(folder, err);
}

enum bitnet_status folder_open_templates(struct folder *folder, const char *dir,
                                         struct bitnet_error *err)
{
    *folder = (struct folder){.dir = dir};
    enum bitnet_status status =
        document_open(&folder->tokenizer_config, dir, "tokenizer_config.json", err);
    if (!status)
        status = read_text(dir, "chat_template.jinja", MAX_TEMPLATE, &folder->template, err);
    return status;
}

void folder_close(struct folder *folder)
{
    bitnet_free(folder->name);
    free_text(folder->vocab);
    free_text(folder->merges);
    free_text(folder->model);
    free_text(folder->template);
    document_close(&folder->tokenizer_config);
    document_close(&folder->config);
    document_close(&folder->generation);
    document_close(&folder->added);
    document_close(&folder->special_map);
}
