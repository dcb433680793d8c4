/* Any bytes as the files of a folder without tokenizer.json: vocab.json, merges.txt and
 * tokenizer_config.json, with the byte FF between them; or, when the first byte is w or r, as
 * vocab.txt or RWKV's list. Refused, or it encodes, decodes and is exported without a fault. */
#include "use_tokenizer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bitnet/file.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[400];

static void remove_files(void)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json",
                                        "vocab.txt", "rwkv_vocab_v20230424.txt"};
    char path[500];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
}

static void remove_folder(void)
{
    remove_files();
    rmdir(folder);
}

static void make_folder(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/bitnet-fuzz-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder) || atexit(remove_folder) != 0) abort();
}

static void write_file(const char *name, const uint8_t *data, size_t size)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (!size) return 0;
    if (!folder[0]) make_folder();
    if (data[0] == 'w' || data[0] == 'r') {
        write_file(data[0] == 'w' ? "vocab.txt" : "rwkv_vocab_v20230424.txt", data + 1, size - 1);
    } else {
        static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
        for (size_t i = 0; i < 3; i++) {
            const uint8_t *end = size ? memchr(data, 0xFF, size) : NULL;
            size_t n = end ? (size_t)(end - data) : size;
            write_file(names[i], data, n);
            data += end ? n + 1 : n;
            size -= end ? n + 1 : n;
        }
    }
    if (!bitnet_tokenizer_from_dir(&tokenizer, folder, 0, NULL, &err)) use_tokenizer(tokenizer);
    remove_files();
    return 0;
}
