/* For scripts/oracle/check_tokenizers.py: tokenizes many texts in one run.
 *
 *     tokenize_batch PATH [special]         PATH: a GGUF, a tokenizer's file or a folder
 *     tokenize_batch PATH pre NAME           a tiktoken file, cut as a GGUF of that name
 *     tokenize_batch PATH export OUT.json
 *
 * On standard input texts, each as its length (u32 LE) and its bytes; on standard output for each
 * the number of its ids (u32 LE; all ones: refused) and the ids. Without bos and eos; `special`:
 * text that spells a special token becomes it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/text.h>
#include <bitnet/tokenizer.h>

static enum bitnet_status open_path(struct bitnet_tokenizer **tokenizer, const char *path,
                                    const char *pre, struct bitnet_error *err)
{
    struct bitnet_gguf *gguf;
    struct bitnet_str file;
    if (pre) {
        enum bitnet_status read = bitnet_read_file(path, (size_t)1 << 26, &file, err);
        if (!read) read = bitnet_tokenizer_from_tiktoken(tokenizer, file, pre, err);
        return read;
    }
    if (bitnet_path_is_dir(path)) return bitnet_tokenizer_from_dir(tokenizer, path, 0, NULL, err);
    if (!bitnet_str_ends(bitnet_str_of(path), ".gguf"))
        return bitnet_tokenizer_from_file(tokenizer, path, NULL, err);
    enum bitnet_status status = bitnet_gguf_open(&gguf, path, NULL, err);
    if (!status) status = bitnet_tokenizer_from_gguf(tokenizer, gguf, NULL, err);
    bitnet_gguf_close(gguf);
    return status;
}

static int export_to(const struct bitnet_tokenizer *tokenizer, const char *path)
{
    struct bitnet_buf json = {.max = (size_t)1 << 30};
    struct bitnet_error err;
    FILE *file = NULL;
    int failed = bitnet_tokenizer_export_json(tokenizer, &json, &err) != BITNET_OK;
    if (failed) fprintf(stderr, "%s\n", err.text);
    if (!failed) file = fopen(path, "wb");
    if (file) failed = fwrite(json.at, 1, json.n, file) != json.n;
    if (file) failed |= fclose(file) != 0;
    bitnet_buf_free(&json);
    return failed || !file;
}

static void answer(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text, bool special)
{
    const struct bitnet_tokenize_options options = {.no_special = true, .parse_special = special};
    struct bitnet_tokens ids = {0};
    uint8_t number[4];
    bool refused = bitnet_tokenize(tokenizer, text, &options, &ids, NULL) != BITNET_OK;
    bitnet_store_u32(number, refused ? UINT32_MAX : (uint32_t)ids.n);
    fwrite(number, 1, 4, stdout);
    for (size_t i = 0; i < ids.n && !refused; i++) {
        bitnet_store_u32(number, (uint32_t)ids.at[i]);
        fwrite(number, 1, 4, stdout);
    }
    fflush(stdout);
    bitnet_tokens_free(&ids);
}

int main(int argc, char **argv)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    uint8_t number[4];
    if (argc < 2) return 2;
    bool has_pre = argc == 4 && strcmp(argv[2], "pre") == 0;
    if (open_path(&tokenizer, argv[1], has_pre ? argv[3] : NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int failed = 0;
    if (argc == 4 && strcmp(argv[2], "export") == 0) {
        failed = export_to(tokenizer, argv[3]);
    } else {
        bool special = argc == 3 && strcmp(argv[2], "special") == 0;
        while (fread(number, 1, 4, stdin) == 4) {
            struct bitnet_str text = {NULL, bitnet_load_u32(number)};
            char *bytes = bitnet_alloc(text.n + 1, 1);
            if (!bytes || fread(bytes, 1, text.n, stdin) != text.n) return 1;
            text.at = bytes;
            answer(tokenizer, text, special);
            bitnet_free(bytes);
        }
    }
    bitnet_tokenizer_free(tokenizer);
    return failed;
}
