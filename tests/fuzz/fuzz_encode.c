/* Any bytes as a text, through every committed small vocabulary: encoding never faults, ids are in
 * range, and for valid UTF-8 a byte-level vocabulary gives the text back. The first byte picks the
 * vocabulary. Run from the root of the repository. */
#include <stdlib.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/text.h>
#include <bitnet/tokenizer.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"llama3", "gpt2", "starcoder", "llama2"};
#define N_NAMES (sizeof names / sizeof names[0])

static struct bitnet_tokenizer *open_vocabulary(const char *name)
{
    struct bitnet_buf path = {.max = 4096};
    struct bitnet_str json;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    bitnet_buf_printf(&path, BITNET_SOURCE_DIR "/tests/golden/tokenizers/%s.json", name);
    if (bitnet_read_file(path.at, (size_t)1 << 24, &json, &err)) abort();
    if (bitnet_tokenizer_from_json(&tokenizer, json, NULL, &err)) abort();
    bitnet_free((void *)(uintptr_t)json.at);
    bitnet_buf_free(&path);
    return tokenizer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bitnet_tokenizer *tokenizers[N_NAMES];
    if (!size) return 0;
    size_t which = data[0] % N_NAMES;
    if (!tokenizers[which]) tokenizers[which] = open_vocabulary(names[which]);
    const struct bitnet_tokenizer *tokenizer = tokenizers[which];
    struct bitnet_str text = {(const char *)data + 1, size - 1};
    struct bitnet_tokens ids = {0};
    struct bitnet_buf out = {.max = (size_t)1 << 28};
    struct bitnet_error err;
    if (bitnet_tokenize(tokenizer, text, NULL, &ids, &err)) abort();
    for (size_t i = 0; i < ids.n; i++)
        if (ids.at[i] < 0 || (size_t)ids.at[i] >= bitnet_tokenizer_size(tokenizer)) abort();
    if (bitnet_detokenize(tokenizer, ids.at, ids.n, true, &out, &err)) abort();
    struct bitnet_str back = {out.at, out.n};
    if (which != 3 && bitnet_utf8_valid(text) &&
        (back.n < text.n || (text.n && memcmp(back.at + back.n - text.n, text.at, text.n) != 0)))
        abort();
    bitnet_tokens_free(&ids);
    bitnet_buf_free(&out);
    return 0;
}
