/* The tokenizer's metadata as far as it can be judged without knowing how to tokenize: present, of
 * the right type, as long as each other, ids in range, byte tokens well-formed, no two tokens the
 * same, merges of two pieces. Keys and meaning: tokenizers.md section 2 (llama.cpp's
 * src/llama-vocab.cpp and gguf-py's constants.py); limits: reliability.md section 4. */
#include "bitnet/text.h"

#include "check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define TOKENS_MAX      2097152
#define TOKEN_BYTES_MAX 65536
#define MERGES_MAX      4194304
#define TOKEN_TYPE_BYTE 6

struct vocabulary {
    const struct bitnet_gguf *gguf;
    const struct bitnet_str *tokens;
    size_t n_tokens;
};

/* What tokenizer.ggml.model may say, and what each kind cannot do without. */
static const struct kind {
    const char *name;
    bool has_tokens, has_scores, has_merges;
} kinds[] = {
    {"llama", true, true, false},      {"gpt2", true, false, true},   {"bert", true, false, false},
    {"t5", true, true, false},         {"rwkv", true, false, false},  {"none", false, false, false},
    {"no_vocab", false, false, false}, {"gemma4", true, false, true},
};

static enum bitnet_status read_kind(const struct bitnet_gguf *gguf, const struct kind **kind,
                                    struct bitnet_error *err)
{
    struct bitnet_str name;
    enum bitnet_status status =
        bitnet_gguf_str(gguf, "tokenizer.ggml.model", BITNET_GGUF_REQUIRED, &name, err);
    if (status) return status;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        *kind = &kinds[i];
        if (bitnet_str_is(name, kinds[i].name)) return BITNET_OK;
    }
    return bitnet_fail(err, BITNET_UNSUPPORTED, "key 'tokenizer.ggml.model': %s is not known",
                       BITNET_QUOTE(name));
}

static enum bitnet_status read_tokens(struct vocabulary *v, const struct kind *kind,
                                      struct bitnet_error *err)
{
    enum bitnet_status status =
        bitnet_gguf_strings(v->gguf, "tokenizer.ggml.tokens",
                            kind->has_tokens ? BITNET_GGUF_REQUIRED : BITNET_GGUF_OPTIONAL,
                            &v->tokens, &v->n_tokens, err);
    if (status) return status;
    if (kind->has_tokens && v->n_tokens == 0)
        return bitnet_fail(err, BITNET_FORMAT, "key 'tokenizer.ggml.tokens': the list is empty");
    if (v->n_tokens > TOKENS_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "key 'tokenizer.ggml.tokens': %zu tokens (limit %d)",
                           v->n_tokens, TOKENS_MAX);
    return BITNET_OK;
}

enum bitnet_status arch_count_tokens(const struct bitnet_gguf *gguf, size_t *n_tokens,
                                     struct bitnet_error *err)
{
    const struct kind *kind;
    struct vocabulary v = {.gguf = gguf};
    enum bitnet_status status = read_kind(gguf, &kind, err);
    if (!status) status = read_tokens(&v, kind, err);
    *n_tokens = v.n_tokens;
    return status;
}

/* ------------------------------------------------------------------ tokens */

/* Two tokens of the same text would make encoding ambiguous. Empty ones are holes: readers name
 * them [EMPTY_<id>]. */
static enum bitnet_status check_texts(const struct vocabulary *v, struct bitnet_error *err)
{
    struct bitnet_map map = {0};
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < v->n_tokens && !status; i++) {
        struct bitnet_str token = v->tokens[i];
        uint32_t other = 0;
        if (token.n == 0) continue;
        if (token.n > TOKEN_BYTES_MAX) {
            status = bitnet_fail(err, BITNET_LIMIT, "token %zu: %zu bytes (limit %d)", i, token.n,
                                 TOKEN_BYTES_MAX);
            continue;
        }
        switch (bitnet_map_put(&map, token, (uint32_t)i, &other)) {
        case BITNET_MAP_NEW:
            break;
        case BITNET_MAP_EXISTS:
            status = bitnet_fail(err, BITNET_FORMAT, "tokens %" PRIu32 " and %zu are both %s",
                                 other, i, BITNET_QUOTE(token));
            break;
        default:
            status = bitnet_fail(err, BITNET_MEMORY, "out of memory");
        }
    }
    if (!status && v->n_tokens > 0 && map.n == 0)
        status = bitnet_fail(err, BITNET_FORMAT, "all %zu tokens are empty", v->n_tokens);
    bitnet_map_free(&map);
    return status;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_byte_token(struct bitnet_str token)
{
    return token.n == 6 && memcmp(token.at, "<0x", 3) == 0 && is_hex(token.at[3]) &&
           is_hex(token.at[4]) && token.at[5] == '>';
}

static enum bitnet_status check_length(const char *key, const char *what, size_t n,
                                       const struct vocabulary *v, struct bitnet_error *err)
{
    if (n == v->n_tokens) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "key '%s': %zu %s for %zu tokens", key, n, what,
                       v->n_tokens);
}

static enum bitnet_status check_types(const struct vocabulary *v, struct bitnet_error *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    struct bitnet_bytes raw = {0};
    size_t n = v->n_tokens;
    enum bitnet_status status =
        bitnet_gguf_array(v->gguf, key, BITNET_GGUF_I32, BITNET_GGUF_OPTIONAL, &raw, &n, err);
    if (!status) status = check_length(key, "types", n, v, err);
    if (status || !raw.at) return status;
    for (size_t i = 0; i < n; i++)
        if (bitnet_load_u32(raw.at + 4 * i) == TOKEN_TYPE_BYTE && !is_byte_token(v->tokens[i]))
            return bitnet_fail(err, BITNET_FORMAT, "token %zu: %s is not a byte token", i,
                               BITNET_QUOTE(v->tokens[i]));
    return BITNET_OK;
}

static enum bitnet_status check_scores(const struct vocabulary *v, const struct kind *kind,
                                       struct bitnet_error *err)
{
    static const char key[] = "tokenizer.ggml.scores";
    struct bitnet_bytes raw = {0};
    size_t n = v->n_tokens;
    enum bitnet_status status = bitnet_gguf_array(
        v->gguf, key, BITNET_GGUF_F32,
        kind->has_scores ? BITNET_GGUF_REQUIRED : BITNET_GGUF_OPTIONAL, &raw, &n, err);
    if (!status) status = check_length(key, "scores", n, v, err);
    if (status || !raw.at) return status;
    for (size_t i = 0; i < n; i++) {
        double score = (double)bitnet_load_f32(raw.at + 4 * i);
        if (!isfinite(score))
            return bitnet_fail(err, BITNET_FORMAT, "token %zu: the score is %g", i, score);
    }
    return BITNET_OK;
}

/* ------------------------------------------------------------------ merges */

/* "left right", cut at the first space that is not the first byte. */
static bool is_merge(struct bitnet_str merge)
{
    if (merge.n < 3) return false;
    const char *space = memchr(merge.at + 1, ' ', merge.n - 1);
    return space && space + 1 < merge.at + merge.n;
}

static enum bitnet_status check_merges(const struct vocabulary *v, const struct kind *kind,
                                       struct bitnet_error *err)
{
    const struct bitnet_str *merges = NULL;
    size_t n = 0;
    enum bitnet_status status = bitnet_gguf_strings(
        v->gguf, "tokenizer.ggml.merges",
        kind->has_merges ? BITNET_GGUF_REQUIRED : BITNET_GGUF_OPTIONAL, &merges, &n, err);
    if (status) return status;
    if (n > MERGES_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "key 'tokenizer.ggml.merges': %zu merges (limit %d)",
                           n, MERGES_MAX);
    for (size_t i = 0; i < n; i++)
        if (!is_merge(merges[i]))
            return bitnet_fail(err, BITNET_FORMAT, "merge %zu: %s is not two pieces and a space", i,
                               BITNET_QUOTE(merges[i]));
    return BITNET_OK;
}

/* ------------------------------------------------------------------ single keys */

static enum bitnet_status check_ids(const struct vocabulary *v, struct bitnet_error *err)
{
    static const char *const names[] = {"bos",       "eos",     "eot",  "eom", "unknown",
                                        "seperator", "padding", "mask", "cls"};
    uint64_t last = v->n_tokens ? v->n_tokens - 1 : UINT32_MAX, id;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !status; i++) {
        char key[64];
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", names[i]);
        status = bitnet_gguf_u64(v->gguf, key, 0, last, BITNET_GGUF_OPTIONAL, &id, err);
    }
    return status;
}

static enum bitnet_status check_settings(const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    static const char *const texts[] = {"tokenizer.ggml.pre", "tokenizer.chat_template"};
    static const char *const flags[] = {
        "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token",
        "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.remove_extra_whitespaces"};
    struct bitnet_str text;
    bool flag;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && !status; i++)
        status = bitnet_gguf_str(gguf, texts[i], BITNET_GGUF_OPTIONAL, &text, err);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0] && !status; i++)
        status = bitnet_gguf_bool(gguf, flags[i], BITNET_GGUF_OPTIONAL, &flag, err);
    return status;
}

enum bitnet_status arch_check_vocabulary(const struct bitnet_gguf *gguf, uint64_t n_rows,
                                         struct bitnet_error *err)
{
    const struct kind *kind;
    struct vocabulary v = {.gguf = gguf};
    enum bitnet_status status = read_kind(gguf, &kind, err);
    if (!status) status = read_tokens(&v, kind, err);
    if (!status && v.n_tokens > 0 && v.n_tokens != n_rows)
        status =
            bitnet_fail(err, BITNET_FORMAT, "%zu tokens but the embedding has %" PRIu64 " rows",
                        v.n_tokens, n_rows);
    if (!status) status = check_types(&v, err);
    if (!status) status = check_texts(&v, err);
    if (!status) status = check_scores(&v, kind, err);
    if (!status) status = check_merges(&v, kind, err);
    if (!status) status = check_ids(&v, err);
    if (!status) status = check_settings(gguf, err);
    return status;
}
