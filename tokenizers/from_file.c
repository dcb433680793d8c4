/* A tokenizer from one file of its own, told by its first bytes rather than by its name: JSON, or a
 * SentencePiece protobuf. Comes in: a path; goes out: what from_json.c or from_spm.c
 * make of it, or a word on what the file is instead. Source: tokenizers.md section 17. */
#include "insides.h"

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#define MAX_FILE ((size_t)128 << 20)

static bool is_json(struct bitnet_str text)
{
    size_t i = text.n >= 3 && memcmp(text.at, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (i < text.n && memchr(" \t\r\n", text.at[i], 4)) i++;
    return i < text.n && text.at[i] == '{';
}

static enum bitnet_status make(struct bitnet_tokenizer **tokenizer, struct bitnet_str file,
                               const struct bitnet_log *log, struct bitnet_error *err)
{
    struct bitnet_bytes bytes = {(const uint8_t *)file.at, file.n};
    if (is_json(file)) return bitnet_tokenizer_from_json(tokenizer, file, log, err);
    if (file.n && file.at[0] == 0x0A) return bitnet_tokenizer_from_spm(tokenizer, bytes, err);
    const char *hint = NULL, *what = bitnet_file_accident(bytes, &hint);
    enum bitnet_status status =
        bitnet_fail(err, BITNET_FORMAT, "%s",
                    what ? what : "this is no tokenizer: neither JSON nor SentencePiece's format");
    return hint ? bitnet_hint(err, status, "%s", hint) : status;
}

enum bitnet_status bitnet_tokenizer_from_file(struct bitnet_tokenizer **tokenizer, const char *path,
                                              const struct bitnet_log *log,
                                              struct bitnet_error *err)
{
    struct bitnet_str file;
    *tokenizer = NULL;
    enum bitnet_status status = bitnet_read_file(path, MAX_FILE, &file, err);
    if (status) return status;
    status = make(tokenizer, file, log, err);
    if (status) bitnet_error_prefix(err, status, "%s", path);
    bitnet_free((void *)(uintptr_t)file.at);
    return status;
}
