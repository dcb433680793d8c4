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
    return status || !folder->vocab.at ? status : take(folder, kind, name, err);
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
    return try_file(folder, FOLDER_MERGES, "vocab.json", MAX_TOKENIZER_JSON, err);
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

/* ------------------------------------------------------------------ the whole */

enum bitnet_status folder_open(struct folder *folder, const char *dir, struct bitnet_error *err)
{
    *folder = (struct folder){.dir = dir};
    enum bitnet_status status = find_vocabulary(folder, err);
    if (!status && folder->kind == FOLDER_JSON)
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
