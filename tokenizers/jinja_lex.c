/* The inside of a tag as tokens: names, numbers, strings, signs. Comes in: what is left of the tag;
 * goes out: the next token, and the messages of the whole parser. See jinja_parse.h. */
#include "jinja_parse.h"

#include <inttypes.h>

enum bitnet_status jinja_wrong(struct jinja_parser *parser, const char *what)
{
    return bitnet_fail(parser->jinja->err, BITNET_FORMAT, "chat template, line %" PRIu32 ": %s",
                       parser->line, what);
}

enum bitnet_status jinja_unsupported(struct jinja_parser *parser, struct bitnet_str what)
{
    return bitnet_fail(parser->jinja->err, BITNET_UNSUPPORTED,
                       "chat template, line %" PRIu32 ": %s is not supported", parser->line,
                       BITNET_QUOTE(what));
}

enum bitnet_status jinja_new_node(struct jinja_parser *parser, enum jinja_node_kind kind,
                                  struct jinja_node **node)
{
    *node = jinja_alloc(parser->jinja, 1, sizeof **node);
    if (!*node) return jinja_memory(parser->jinja);
    (*node)->kind = kind;
    (*node)->line = parser->line;
    return BITNET_OK;
}

/* ------------------------------------------------------------------ tokens of a tag */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
    if (is_digit(c)) return c - '0';
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* One escape of a string literal; *at is behind the backslash. */
static bool add_escape(struct bitnet_str in, size_t *at, struct bitnet_buf *out)
{
    char c = in.at[(*at)++], bytes[4];
    size_t n_digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t code = 0;
    static const char from[] = "ntrabfv0", to[] = "\n\t\r\a\b\f\v";
    for (size_t i = 0; i < n_digits; i++) {
        int digit = *at < in.n ? hex_value(in.at[*at]) : -1;
        if (digit < 0) return false;
        code = code << 4 | (uint32_t)digit;
        ++*at;
    }
    if (n_digits) return bitnet_buf_add(out, bytes, bitnet_utf8_encode(code, bytes));
    const char *found = c ? strchr(from, c) : NULL;
    if (found) return bitnet_buf_add(out, &to[found - from], 1);
    if (c == '\n') return true;
    bool known = c == '\\' || c == '\'' || c == '"';
    return (known || bitnet_buf_add(out, "\\", 1)) && bitnet_buf_add(out, &c, 1);
}

static enum bitnet_status take_string(struct jinja_parser *parser)
{
    struct bitnet_str in = parser->in;
    char quote = in.at[0];
    size_t at = 1;
    struct bitnet_buf out = {.max = JINJA_MAX_SOURCE + 16};
    bool ok = true;
    while (ok && at < in.n && in.at[at] != quote) {
        if (in.at[at] == '\\' && at + 1 < in.n) {
            at++;
            ok = add_escape(in, &at, &out);
        } else {
            ok = bitnet_buf_add(&out, &in.at[at++], 1);
        }
    }
    if (!ok || at >= in.n) {
        bitnet_buf_free(&out);
        return jinja_wrong(parser, "a damaged string");
    }
    struct jinja_value value;
    enum bitnet_status status = jinja_keep(parser->jinja, &out, &value);
    parser->token = (struct jinja_token){.kind = TOKEN_STR, .text = value.as.text};
    parser->in.at += at + 1;
    parser->in.n -= at + 1;
    return status;
}

static enum bitnet_status take_number(struct jinja_parser *parser)
{
    struct bitnet_str in = parser->in;
    size_t n = 0;
    bool is_real = false;
    while (n < in.n && is_digit(in.at[n])) n++;
    if (n + 1 < in.n && in.at[n] == '.' && is_digit(in.at[n + 1])) {
        is_real = true;
        for (n++; n < in.n && is_digit(in.at[n]);) n++;
    }
    struct bitnet_str text = {in.at, n};
    parser->token = (struct jinja_token){.kind = is_real ? TOKEN_FLOAT : TOKEN_INT, .text = text};
    if (!(is_real ? bitnet_parse_f64(text, &parser->token.real)
                  : bitnet_parse_i64(text, &parser->token.integer)))
        return jinja_wrong(parser, "a number out of range");
    parser->in.at += n;
    parser->in.n -= n;
    return BITNET_OK;
}

enum bitnet_status jinja_advance(struct jinja_parser *parser)
{
    static const char *const pairs[] = {"==", "!=", "<=", ">=", "//", "**"};
    while (parser->in.n && strchr(" \t\r\n", parser->in.at[0])) {
        if (parser->in.at[0] == '\n') parser->line++;
        parser->in.at++;
        parser->in.n--;
    }
    parser->token = (struct jinja_token){.kind = TOKEN_END};
    if (!parser->in.n) return BITNET_OK;
    char c = parser->in.at[0];
    if (c == '\'' || c == '"') return take_string(parser);
    if (is_digit(c)) return take_number(parser);
    size_t n = 0;
    while (n < parser->in.n && is_name_char(parser->in.at[n])) n++;
    parser->token.kind = n ? TOKEN_NAME : TOKEN_OP;
    if (!n) n = 1;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (bitnet_str_starts(parser->in, pairs[i])) n = 2;
    parser->token.text = (struct bitnet_str){parser->in.at, n};
    parser->in.at += n;
    parser->in.n -= n;
    return BITNET_OK;
}

bool jinja_is_op(const struct jinja_parser *parser, const char *op)
{
    return parser->token.kind == TOKEN_OP && bitnet_str_is(parser->token.text, op);
}

bool jinja_is_word(const struct jinja_parser *parser, const char *word)
{
    return parser->token.kind == TOKEN_NAME && bitnet_str_is(parser->token.text, word);
}

enum bitnet_status jinja_expect_op(struct jinja_parser *parser, const char *op)
{
    if (jinja_is_op(parser, op)) return jinja_advance(parser);
    return bitnet_fail(parser->jinja->err, BITNET_FORMAT,
                       "chat template, line %" PRIu32 ": '%s' is missing before %s", parser->line,
                       op, BITNET_QUOTE(parser->token.text));
}

enum bitnet_status jinja_expect_name(struct jinja_parser *parser, struct bitnet_str *name)
{
    if (parser->token.kind != TOKEN_NAME) return jinja_wrong(parser, "a name is missing");
    *name = parser->token.text;
    return jinja_advance(parser);
}
