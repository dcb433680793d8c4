/* A tokenizer from RWKV's vocabulary file: a line per token, its id, a Python literal ('text' or
 * b'bytes'), its number of bytes. Comes in: the text of such a file; goes out: the vocabulary that
 * llama.cpp's converter makes of it: id 0 is the control token <s>, spellings are escaped as Python
 * prints bytes. Source: ChatRWKV, rwkv_tokenizer.py (tokenizers.md sections 8 and 13). */
#include "sources.h"

#include <inttypes.h>

#define RWKV_EOT 261 /* "\n\n", which ends a turn */

struct source {
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_buf bytes, escaped;
    size_t line;
    struct bitnet_error *err;
};

static enum bitnet_status wrong(struct source *source, const char *what)
{
    return bitnet_fail(source->err, BITNET_FORMAT, "line %zu: %s", source->line, what);
}

/* ------------------------------------------------------------------ Python literals */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
    return -1;
}

/* n hexadecimal digits; false when they are none. */
static bool read_hex(struct bitnet_str text, size_t n, uint32_t *value)
{
    *value = 0;
    if (text.n < n) return false;
    for (size_t i = 0; i < n; i++) {
        int digit = hex_digit(text.at[i]);
        if (digit < 0) return false;
        *value = *value << 4 | (uint32_t)digit;
    }
    return true;
}

/* What follows a backslash; *used is its length, 0 when it is damaged. In text, \xHH is a code
 * point; in bytes it is a byte. */
static size_t read_escape(struct bitnet_str text, bool is_bytes, char out[4], size_t *used)
{
    static const char plain[] = "\\\\''\"\"n\nt\tr\r";
    uint32_t c;
    *used = 0;
    for (size_t i = 0; i + 1 < sizeof plain; i += 2)
        if (text.n && text.at[0] == plain[i]) {
            out[0] = plain[i + 1];
            *used = 1;
            return 1;
        }
    char kind = text.n ? text.at[0] : '\0';
    size_t n = kind == 'x' ? 2 : kind == 'u' && !is_bytes ? 4 : kind == 'U' && !is_bytes ? 8 : 0;
    if (!n || !read_hex((struct bitnet_str){text.at + 1, text.n - 1}, n, &c)) return 0;
    *used = n + 1;
    if (!is_bytes) return bitnet_utf8_encode(c, out);
    out[0] = (char)c;
    return 1;
}

static enum bitnet_status read_literal(struct source *source, struct bitnet_str text)
{
    bool is_bytes = bitnet_str_starts(text, "b");
    if (is_bytes) {
        text.at++;
        text.n--;
    }
    bool is_quoted = text.n >= 2 && (text.at[0] == '\'' || text.at[0] == '"') &&
                     text.at[text.n - 1] == text.at[0];
    if (!is_quoted) return wrong(source, "no Python literal");
    source->bytes.n = 0;
    for (size_t i = 1; i + 1 < text.n;) {
        char out[4] = {text.at[i]};
        size_t used = 1, n = 1;
        if (text.at[i] == '\\') {
            n = read_escape((struct bitnet_str){text.at + i + 1, text.n - i - 2}, is_bytes, out,
                            &used);
            if (!used || !n) return wrong(source, "a damaged escape");
            used++;
        }
        if (!bitnet_buf_add(&source->bytes, out, n)) return wrong(source, "the token is too long");
        i += used;
    }
    return source->bytes.n ? BITNET_OK : wrong(source, "the token is empty");
}

/* As Python prints bytes, without b and quotes. */
static bool escape(struct bitnet_buf *out, const char *bytes, size_t n)
{
    bool both = memchr(bytes, '\'', n) && memchr(bytes, '"', n), ok = true;
    out->n = 0;
    for (size_t i = 0; i < n && ok; i++) {
        uint8_t c = (uint8_t)bytes[i];
        if (c == '\\' || (c == '\'' && both))
            ok = bitnet_buf_printf(out, "\\%c", c);
        else if (c == '\n' || c == '\t' || c == '\r')
            ok = bitnet_buf_printf(out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        else if (c < 0x20 || c >= 0x7F)
            ok = bitnet_buf_printf(out, "\\x%02x", c);
        else
            ok = bitnet_buf_add(out, &c, 1);
    }
    return ok;
}

/* ------------------------------------------------------------------ lines */

/* "id literal length": the literal may hold spaces. */
static enum bitnet_status read_line(struct source *source, struct bitnet_str line)
{
    const char *first = memchr(line.at, ' ', line.n), *last = memrchr(line.at, ' ', line.n);
    uint32_t n_tokens = source->tokenizer->vocab.n_tokens;
    uint64_t id, n;
    if (!first || first == last) return wrong(source, "no id, literal and length");
    struct bitnet_str number = {line.at, (size_t)(first - line.at)};
    struct bitnet_str literal = {first + 1, (size_t)(last - first) - 1};
    struct bitnet_str length = {last + 1, (size_t)(line.at + line.n - last) - 1};
    if (!bitnet_parse_u64(number, &id) || id != n_tokens)
        return bitnet_fail(source->err, BITNET_FORMAT, "line %zu: id %s, where %" PRIu32 " follows",
                           source->line, BITNET_QUOTE(number), n_tokens);
    enum bitnet_status status = read_literal(source, literal);
    if (status) return status;
    if (!bitnet_parse_u64(length, &n) || n != source->bytes.n)
        return bitnet_fail(source->err, BITNET_FORMAT, "line %zu: %zu bytes, but the length is %s",
                           source->line, source->bytes.n, BITNET_QUOTE(length));
    if (!escape(&source->escaped, source->bytes.at, source->bytes.n))
        return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    return tokenizer_add_token(source->tokenizer,
                               (struct bitnet_str){source->escaped.at, source->escaped.n},
                               BITNET_TOKEN_NORMAL, 0, source->err);
}

static enum bitnet_status read_lines(struct source *source, struct bitnet_str file)
{
    enum bitnet_status status = tokenizer_add_token(source->tokenizer, BITNET_STR("<s>"),
                                                    BITNET_TOKEN_CONTROL, 0, source->err);
    for (size_t at = 0; at < file.n && !status;) {
        const char *end = memchr(file.at + at, '\n', file.n - at);
        size_t n = end ? (size_t)(end - file.at) - at : file.n - at;
        struct bitnet_str line = {file.at + at, n};
        if (line.n && line.at[line.n - 1] == '\r') line.n--;
        source->line++;
        status = read_line(source, line);
        at += end ? n + 1 : n;
    }
    if (!status && source->line == 0) status = wrong(source, "the file is empty");
    return status;
}

static enum bitnet_status check_bytes(struct source *source)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char raw = (char)byte;
        if (!escape(&source->escaped, &raw, 1))
            return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
        if (vocab_find(&source->tokenizer->vocab,
                       (struct bitnet_str){source->escaped.at, source->escaped.n}) < 0)
            return bitnet_fail(source->err, BITNET_FORMAT, "there is no token for byte 0x%02X",
                               byte);
    }
    return BITNET_OK;
}

/* ------------------------------------------------------------------ the whole */

enum bitnet_status tokenizer_read_rwkv(struct bitnet_tokenizer **tokenizer, struct bitnet_str file,
                                       struct bitnet_error *err)
{
    struct source source = {.tokenizer = tokenizer_new(BITNET_TOKENIZER_RWKV),
                            .bytes.max = VOCAB_MAX_TOKEN_BYTES / 4,
                            .escaped.max = VOCAB_MAX_TOKEN_BYTES + 1,
                            .err = err};
    *tokenizer = NULL;
    enum bitnet_status status = source.tokenizer ? read_lines(&source, file)
                                                 : bitnet_fail(err, BITNET_MEMORY, "out of memory");
    if (!status) status = check_bytes(&source);
    if (!status && source.tokenizer->vocab.n_tokens > RWKV_EOT)
        source.tokenizer->special.eot = RWKV_EOT;
    if (!status) source.tokenizer->chat_template = BITNET_STR("rwkv-world");
    bitnet_buf_free(&source.bytes);
    bitnet_buf_free(&source.escaped);
    if (status)
        bitnet_tokenizer_free(source.tokenizer);
    else
        *tokenizer = source.tokenizer;
    return status;
}
