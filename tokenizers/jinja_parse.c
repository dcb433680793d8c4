/* Template -> tree. Comes in: source; goes out: nodes in the arena. Tags are found first, with the
 * white space that goes with them; inside a tag a recursive-descent parser whose depth is limited.
 * See jinja.h. */
#include "jinja.h"

#include <inttypes.h>

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_INT, TOKEN_FLOAT, TOKEN_STR, TOKEN_OP };

struct token {
    enum token_kind kind;
    struct bitnet_str text; /* STR: unescaped */
    int64_t integer;
    double real;
};

struct parser {
    struct jinja *jinja;
    size_t at; /* in the source */
    uint32_t line;
    struct bitnet_str in; /* what is left of the tag */
    struct token token;   /* the next one */
    bool line_start;      /* the last tag took the newline behind it */
    bool strip_next;      /* the last tag ended in -%} */
    unsigned depth;
};

static enum bitnet_status wrong(struct parser *parser, const char *what)
{
    return bitnet_fail(parser->jinja->err, BITNET_FORMAT, "chat template, line %" PRIu32 ": %s",
                       parser->line, what);
}

static enum bitnet_status unsupported(struct parser *parser, struct bitnet_str what)
{
    return bitnet_fail(parser->jinja->err, BITNET_UNSUPPORTED,
                       "chat template, line %" PRIu32 ": %s is not supported", parser->line,
                       BITNET_QUOTE(what));
}

static enum bitnet_status new_node(struct parser *parser, enum jinja_node_kind kind,
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

static enum bitnet_status take_string(struct parser *parser)
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
        return wrong(parser, "a damaged string");
    }
    struct jinja_value value;
    enum bitnet_status status = jinja_keep(parser->jinja, &out, &value);
    parser->token = (struct token){.kind = TOKEN_STR, .text = value.as.text};
    parser->in.at += at + 1;
    parser->in.n -= at + 1;
    return status;
}

static enum bitnet_status take_number(struct parser *parser)
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
    parser->token = (struct token){.kind = is_real ? TOKEN_FLOAT : TOKEN_INT, .text = text};
    if (!(is_real ? bitnet_parse_f64(text, &parser->token.real)
                  : bitnet_parse_i64(text, &parser->token.integer)))
        return wrong(parser, "a number out of range");
    parser->in.at += n;
    parser->in.n -= n;
    return BITNET_OK;
}

static enum bitnet_status advance(struct parser *parser)
{
    static const char *const pairs[] = {"==", "!=", "<=", ">=", "//", "**"};
    while (parser->in.n && strchr(" \t\r\n", parser->in.at[0])) {
        if (parser->in.at[0] == '\n') parser->line++;
        parser->in.at++;
        parser->in.n--;
    }
    parser->token = (struct token){.kind = TOKEN_END};
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

static bool is_op(const struct parser *parser, const char *op)
{
    return parser->token.kind == TOKEN_OP && bitnet_str_is(parser->token.text, op);
}

static bool is_word(const struct parser *parser, const char *word)
{
    return parser->token.kind == TOKEN_NAME && bitnet_str_is(parser->token.text, word);
}

static enum bitnet_status expect_op(struct parser *parser, const char *op)
{
    if (is_op(parser, op)) return advance(parser);
    return bitnet_fail(parser->jinja->err, BITNET_FORMAT,
                       "chat template, line %" PRIu32 ": '%s' is missing before %s", parser->line,
                       op, BITNET_QUOTE(parser->token.text));
}

static enum bitnet_status expect_name(struct parser *parser, struct bitnet_str *name)
{
    if (parser->token.kind != TOKEN_NAME) return wrong(parser, "a name is missing");
    *name = parser->token.text;
    return advance(parser);
}

/* ------------------------------------------------------------------ expressions */

typedef enum bitnet_status parse_fn(struct parser *parser, struct jinja_node **node);

static enum bitnet_status parse_expression(struct parser *parser, struct jinja_node **node);
static enum bitnet_status parse_unary(struct parser *parser, struct jinja_node **node,
                                      bool with_filter);

static void link_last(const struct jinja_node **first, struct jinja_node **last,
                      struct jinja_node *node)
{
    if (*last)
        (*last)->next = node;
    else
        *first = node;
    *last = node;
}

/* "(a, b, name=c)": behind the opening parenthesis. */
static enum bitnet_status parse_arguments(struct parser *parser, struct jinja_node *call)
{
    struct jinja_node *last = NULL, *last_named = NULL;
    enum bitnet_status status = BITNET_OK;
    while (!status && !is_op(parser, ")")) {
        struct jinja_node *argument, *named;
        status = parse_expression(parser, &argument);
        if (!status && is_op(parser, "=") && argument->kind == JINJA_NAME) {
            named = argument;
            status = advance(parser);
            if (!status) status = parse_expression(parser, &argument);
            named->a = argument;
            if (!status) link_last(&call->names, &last_named, named);
        } else if (!status) {
            link_last(&call->list, &last, argument);
        }
        if (!status && !is_op(parser, ")")) status = expect_op(parser, ",");
    }
    return status ? status : advance(parser);
}

static enum bitnet_status parse_items(struct parser *parser, const char *end, bool as_pairs,
                                      struct jinja_node *into)
{
    struct jinja_node *last = NULL, *item;
    enum bitnet_status status = BITNET_OK;
    while (!status && !is_op(parser, end)) {
        status = parse_expression(parser, &item);
        if (!status) link_last(&into->list, &last, item);
        if (!status && as_pairs) {
            status = expect_op(parser, ":");
            if (!status) status = parse_expression(parser, &item);
            if (!status) link_last(&into->list, &last, item);
        }
        if (!status && !is_op(parser, end)) status = expect_op(parser, ",");
    }
    return status ? status : advance(parser);
}

static enum bitnet_status parse_literal(struct parser *parser, struct jinja_value value,
                                        struct jinja_node **node)
{
    enum bitnet_status status = new_node(parser, JINJA_LITERAL, node);
    if (status) return status;
    (*node)->value = value;
    return advance(parser);
}

static bool constant_of(struct bitnet_str name, struct jinja_value *value)
{
    bool is_true = bitnet_str_is(name, "true") || bitnet_str_is(name, "True");
    bool is_false = bitnet_str_is(name, "false") || bitnet_str_is(name, "False");
    *value = is_true || is_false ? jinja_bool(is_true) : (struct jinja_value){.kind = JINJA_NONE};
    return is_true || is_false || bitnet_str_is(name, "none") || bitnet_str_is(name, "None");
}

/* "(a)", or a tuple "()", "(a, b)", which is a list to us. */
static enum bitnet_status parse_parenthesis(struct parser *parser, struct jinja_node **node)
{
    enum bitnet_status status = advance(parser);
    if (!status && is_op(parser, ")")) {
        status = new_node(parser, JINJA_LIST_OF, node);
        return status ? status : advance(parser);
    }
    if (!status) status = parse_expression(parser, node);
    if (status || !is_op(parser, ",")) return status ? status : expect_op(parser, ")");
    struct jinja_node *first = *node, *tuple;
    status = new_node(parser, JINJA_LIST_OF, &tuple);
    if (!status) status = advance(parser);
    if (!status) status = parse_items(parser, ")", false, tuple);
    if (status) return status;
    first->next = tuple->list;
    tuple->list = first;
    *node = tuple;
    return BITNET_OK;
}

static enum bitnet_status parse_primary(struct parser *parser, struct jinja_node **node)
{
    struct token token = parser->token;
    struct jinja_value value;
    enum bitnet_status status;
    switch (token.kind) {
    case TOKEN_STR:
        status = parse_literal(parser, jinja_str(token.text), node);
        return status;
    case TOKEN_INT:
        return parse_literal(parser, jinja_int(token.integer), node);
    case TOKEN_FLOAT:
        return parse_literal(
            parser, (struct jinja_value){.kind = JINJA_FLOAT, .as.real = token.real}, node);
    case TOKEN_NAME:
        if (constant_of(token.text, &value)) return parse_literal(parser, value, node);
        status = new_node(parser, JINJA_NAME, node);
        if (status) return status;
        (*node)->text = token.text;
        return advance(parser);
    case TOKEN_OP:
        if (is_op(parser, "(")) return parse_parenthesis(parser, node);
        if (is_op(parser, "[") || is_op(parser, "{")) {
            bool is_dict = is_op(parser, "{");
            status = new_node(parser, is_dict ? JINJA_DICT_OF : JINJA_LIST_OF, node);
            if (!status) status = advance(parser);
            return status ? status : parse_items(parser, is_dict ? "}" : "]", is_dict, *node);
        }
        break;
    case TOKEN_END:
        return wrong(parser, "the tag ends inside an expression");
    }
    return unsupported(parser, token.text);
}

/* "[i]" or "[a:b:c]"; behind the opening bracket. */
static enum bitnet_status parse_subscript(struct parser *parser, struct jinja_node **node)
{
    struct jinja_node *made, *parts[3] = {NULL, NULL, NULL};
    size_t n = 0;
    enum bitnet_status status = new_node(parser, JINJA_ITEM, &made);
    for (; !status && !is_op(parser, "]") && n < 3; n++) {
        if (!is_op(parser, ":")) status = parse_expression(parser, &parts[n]);
        if (status || !is_op(parser, ":")) break;
        made->kind = JINJA_SLICE;
        status = advance(parser);
    }
    if (!status) status = expect_op(parser, "]");
    if (status) return status;
    made->a = *node;
    made->b = parts[0];
    made->c = parts[1];
    made->d = parts[2];
    if (made->kind == JINJA_ITEM && !made->b) return wrong(parser, "an empty subscript");
    *node = made;
    return BITNET_OK;
}

static enum bitnet_status parse_call(struct parser *parser, struct jinja_node **node)
{
    struct jinja_node *made;
    enum bitnet_status status = new_node(parser, JINJA_CALL, &made);
    if (!status) status = advance(parser);
    if (status) return status;
    made->a = *node;
    *node = made;
    return parse_arguments(parser, made);
}

static enum bitnet_status parse_postfix(struct parser *parser, struct jinja_node **node)
{
    enum bitnet_status status = BITNET_OK;
    while (!status) {
        if (is_op(parser, ".")) {
            struct jinja_node *made;
            status = new_node(parser, JINJA_ATTR, &made);
            if (!status) status = advance(parser);
            if (!status) status = expect_name(parser, &made->text);
            if (status) return status;
            made->a = *node;
            *node = made;
        } else if (is_op(parser, "[")) {
            status = advance(parser);
            if (!status) status = parse_subscript(parser, node);
        } else if (is_op(parser, "(")) {
            status = parse_call(parser, node);
        } else {
            break;
        }
    }
    return status;
}

/* "is [not] name [argument]". */
static enum bitnet_status parse_test(struct parser *parser, struct jinja_node **node)
{
    struct jinja_node *made, *argument;
    enum bitnet_status status = new_node(parser, JINJA_TEST, &made);
    if (!status) status = advance(parser);
    if (!status && is_word(parser, "not")) {
        made->negated = true;
        status = advance(parser);
    }
    if (!status) status = expect_name(parser, &made->text);
    if (status) return status;
    made->a = *node;
    *node = made;
    bool is_value = parser->token.kind == TOKEN_STR || parser->token.kind == TOKEN_INT ||
                    parser->token.kind == TOKEN_FLOAT || is_op(parser, "[") || is_op(parser, "{");
    bool is_name = parser->token.kind == TOKEN_NAME && !is_word(parser, "and") &&
                   !is_word(parser, "or") && !is_word(parser, "else") && !is_word(parser, "is") &&
                   !is_word(parser, "if") && !is_word(parser, "in") && !is_word(parser, "not");
    if (is_op(parser, "(")) {
        status = advance(parser);
        return status ? status : parse_arguments(parser, made);
    }
    if (!is_value && !is_name) return BITNET_OK;
    status = parse_primary(parser, &argument);
    if (!status) status = parse_postfix(parser, &argument);
    made->list = argument;
    return status;
}

static enum bitnet_status parse_filters(struct parser *parser, struct jinja_node **node)
{
    enum bitnet_status status = BITNET_OK;
    while (!status) {
        if (is_op(parser, "|")) {
            struct jinja_node *made;
            status = new_node(parser, JINJA_FILTER, &made);
            if (!status) status = advance(parser);
            if (!status) status = expect_name(parser, &made->text);
            if (status) return status;
            made->a = *node;
            *node = made;
            if (is_op(parser, "(")) {
                status = advance(parser);
                if (!status) status = parse_arguments(parser, made);
            }
        } else if (is_word(parser, "is")) {
            status = parse_test(parser, node);
        } else if (is_op(parser, "(")) {
            status = parse_call(parser, node);
        } else {
            break;
        }
    }
    return status;
}

static enum bitnet_status parse_unary(struct parser *parser, struct jinja_node **node,
                                      bool with_filter)
{
    enum bitnet_status status;
    if (++parser->depth > JINJA_MAX_DEPTH) return wrong(parser, "an expression nested too deep");
    if (is_op(parser, "-")) {
        struct jinja_node *made;
        status = new_node(parser, JINJA_NEGATE, &made);
        if (!status) status = advance(parser);
        if (!status) status = parse_unary(parser, node, false);
        if (status) return status;
        made->a = *node;
        *node = made;
    } else {
        status = parse_primary(parser, node);
    }
    if (!status) status = parse_postfix(parser, node);
    if (!status && with_filter) status = parse_filters(parser, node);
    parser->depth--;
    return status;
}

static enum bitnet_status parse_operand(struct parser *parser, struct jinja_node **node)
{
    return parse_unary(parser, node, true);
}

/* One level of binary operators, from the left. */
struct level {
    const char *ops[4];
    enum jinja_op codes[4];
    size_t n;
};

static enum bitnet_status parse_level(struct parser *parser, const struct level *level,
                                      parse_fn *below, struct jinja_node **node)
{
    enum bitnet_status status = below(parser, node);
    while (!status) {
        size_t i = 0;
        while (i < level->n && !is_op(parser, level->ops[i])) i++;
        if (i == level->n) break;
        struct jinja_node *made, *right;
        status = new_node(parser, JINJA_BINARY, &made);
        if (!status) status = advance(parser);
        if (!status) status = below(parser, &right);
        if (status) return status;
        made->op = level->codes[i];
        made->a = *node;
        made->b = right;
        *node = made;
    }
    return status;
}

static enum bitnet_status parse_product(struct parser *parser, struct jinja_node **node)
{
    static const struct level level = {
        {"*", "/", "//", "%"}, {JINJA_MUL, JINJA_DIV, JINJA_FLOOR, JINJA_MOD}, 4};
    return parse_level(parser, &level, parse_operand, node);
}

static enum bitnet_status parse_concat(struct parser *parser, struct jinja_node **node)
{
    static const struct level level = {{"~"}, {JINJA_CONCAT}, 1};
    return parse_level(parser, &level, parse_product, node);
}

static enum bitnet_status parse_sum(struct parser *parser, struct jinja_node **node)
{
    static const struct level level = {{"+", "-"}, {JINJA_ADD, JINJA_SUB}, 2};
    return parse_level(parser, &level, parse_concat, node);
}

static bool comparison_of(struct parser *parser, enum jinja_op *op)
{
    static const struct {
        const char *text;
        enum jinja_op op;
    } ops[] = {{"==", JINJA_EQ}, {"!=", JINJA_NE}, {"<", JINJA_LT},
               {"<=", JINJA_LE}, {">", JINJA_GT},  {">=", JINJA_GE}};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (is_op(parser, ops[i].text)) {
            *op = ops[i].op;
            return true;
        }
    *op = is_word(parser, "in") ? JINJA_IN : JINJA_NOT_IN;
    return is_word(parser, "in") || is_word(parser, "not");
}

static enum bitnet_status parse_comparison(struct parser *parser, struct jinja_node **node)
{
    enum bitnet_status status = parse_sum(parser, node);
    enum jinja_op op;
    while (!status && comparison_of(parser, &op)) {
        struct jinja_node *made, *right;
        status = new_node(parser, JINJA_COMPARE, &made);
        if (!status) status = advance(parser);
        if (!status && op == JINJA_NOT_IN) {
            if (!is_word(parser, "in")) return wrong(parser, "'in' is missing after 'not'");
            status = advance(parser);
        }
        if (!status) status = parse_sum(parser, &right);
        if (status) return status;
        made->op = op;
        made->a = *node;
        made->b = right;
        *node = made;
    }
    return status;
}

static enum bitnet_status parse_not(struct parser *parser, struct jinja_node **node)
{
    size_t n_nots = 0;
    enum bitnet_status status = BITNET_OK;
    for (; !status && is_word(parser, "not"); n_nots++) status = advance(parser);
    if (!status) status = parse_comparison(parser, node);
    for (; !status && n_nots; n_nots--) {
        struct jinja_node *made;
        status = new_node(parser, JINJA_NOT, &made);
        if (status) return status;
        made->a = *node;
        *node = made;
    }
    return status;
}

static enum bitnet_status parse_words(struct parser *parser, const char *word,
                                      enum jinja_node_kind kind, parse_fn *below,
                                      struct jinja_node **node)
{
    enum bitnet_status status = below(parser, node);
    while (!status && is_word(parser, word)) {
        struct jinja_node *made, *right;
        status = new_node(parser, kind, &made);
        if (!status) status = advance(parser);
        if (!status) status = below(parser, &right);
        if (status) return status;
        made->a = *node;
        made->b = right;
        *node = made;
    }
    return status;
}

static enum bitnet_status parse_and(struct parser *parser, struct jinja_node **node)
{
    return parse_words(parser, "and", JINJA_AND, parse_not, node);
}

static enum bitnet_status parse_or(struct parser *parser, struct jinja_node **node)
{
    return parse_words(parser, "or", JINJA_OR, parse_and, node);
}

static enum bitnet_status parse_expression(struct parser *parser, struct jinja_node **node)
{
    if (++parser->depth > JINJA_MAX_DEPTH) return wrong(parser, "an expression nested too deep");
    enum bitnet_status status = parse_or(parser, node);
    while (!status && is_word(parser, "if")) {
        struct jinja_node *made, *condition, *other = NULL;
        status = new_node(parser, JINJA_COND, &made);
        if (!status) status = advance(parser);
        if (!status) status = parse_or(parser, &condition);
        if (!status && is_word(parser, "else")) {
            status = advance(parser);
            if (!status) status = parse_expression(parser, &other);
        }
        if (status) return status;
        made->a = *node;
        made->b = condition;
        made->c = other;
        *node = made;
    }
    parser->depth--;
    return status;
}

/* ------------------------------------------------------------------ tags */

enum tag { TAG_NONE, TAG_OUTPUT, TAG_STATEMENT, TAG_COMMENT };

static bool is_white(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static uint32_t count_lines(struct bitnet_str text)
{
    uint32_t n = 0;
    for (size_t i = 0; i < text.n; i++) n += text.at[i] == '\n';
    return n;
}

/* The text before the next tag, with what the tags on both sides strip taken off. */
static struct bitnet_str take_text(struct parser *parser, enum tag *tag)
{
    struct bitnet_str source = parser->jinja->source;
    size_t begin = parser->at, end = begin;
    for (; end + 1 < source.n; end++)
        if (source.at[end] == '{' && source.at[end + 1] && strchr("{%#", source.at[end + 1])) break;
    bool found = end + 1 < source.n;
    if (!found) end = source.n;
    char kind = found ? source.at[end + 1] : '\0';
    *tag = !found ? TAG_NONE : kind == '{' ? TAG_OUTPUT : kind == '%' ? TAG_STATEMENT : TAG_COMMENT;
    char sign = end + 2 < source.n ? source.at[end + 2] : '\0';
    parser->at = end;
    parser->line += count_lines((struct bitnet_str){source.at + begin, end - begin});

    while (parser->strip_next && begin < end && is_white(source.at[begin])) begin++;
    size_t line = end;
    while (line > begin && source.at[line - 1] != '\n' && is_white(source.at[line - 1])) line--;
    bool starts_line = line > begin ? source.at[line - 1] == '\n' : parser->line_start;
    if (found && sign == '-')
        while (end > begin && is_white(source.at[end - 1])) end--;
    else if (found && kind != '{' && sign != '+' && starts_line)
        end = line;
    return (struct bitnet_str){source.at + begin, end - begin};
}

/* Finds the end of the tag at `at`: sets `in` to its inside and steps behind it. */
static enum bitnet_status take_tag(struct parser *parser, enum tag tag)
{
    struct bitnet_str source = parser->jinja->source;
    const char *close = tag == TAG_OUTPUT ? "}}" : tag == TAG_STATEMENT ? "%}" : "#}";
    size_t begin = parser->at + 2, end = begin, n_open = 0; /* braces of mappings */
    char quote = '\0';
    for (; end + 1 < source.n; end++) {
        char c = source.at[end];
        if (tag != TAG_COMMENT && quote) {
            if (c == '\\') end++;
            if (c == quote) quote = '\0';
        } else if (tag != TAG_COMMENT && (c == '\'' || c == '"')) {
            quote = c;
        } else if (!n_open && memcmp(source.at + end, close, 2) == 0) {
            break;
        } else if (tag != TAG_COMMENT && c == '{') {
            n_open++;
        } else if (tag != TAG_COMMENT && c == '}' && n_open) {
            n_open--;
        }
    }
    if (end + 1 >= source.n) return wrong(parser, "a tag is not closed");
    size_t next = end + 2;
    if (begin < end && (source.at[begin] == '-' || source.at[begin] == '+')) begin++;
    parser->strip_next = end > begin && source.at[end - 1] == '-';
    bool keeps = end > begin && source.at[end - 1] == '+' && tag != TAG_OUTPUT;
    if (parser->strip_next || keeps) end--;
    parser->in = (struct bitnet_str){source.at + begin, end - begin};
    parser->line_start = false;
    if (tag != TAG_OUTPUT && !keeps && !parser->strip_next && next < source.n &&
        source.at[next] == '\n') {
        parser->line_start = true;
        parser->line++;
        next++;
    }
    parser->at = next;
    return BITNET_OK;
}

/* ------------------------------------------------------------------ statements */

static enum bitnet_status parse_body(struct parser *parser, const char *const *ends,
                                     const struct jinja_node **body, struct bitnet_str *ended_by);

static enum bitnet_status end_of_tag(struct parser *parser)
{
    if (parser->token.kind == TOKEN_END) return BITNET_OK;
    return unsupported(parser, parser->token.text);
}

static enum bitnet_status parse_if(struct parser *parser, struct jinja_node **node)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    struct jinja_node *made, *condition, *inner;
    struct bitnet_str end;
    enum bitnet_status status = new_node(parser, JINJA_IF, &made);
    if (!status) status = parse_expression(parser, &condition);
    if (!status) status = end_of_tag(parser);
    if (status) return status;
    *node = made;
    made->a = condition;
    status = parse_body(parser, ends, &made->body, &end);
    if (!status && bitnet_str_is(end, "elif")) {
        status = parse_if(parser, &inner);
        made->other = inner;
    } else if (!status && bitnet_str_is(end, "else")) {
        status = parse_body(parser, last, &made->other, &end);
    }
    return status;
}

static enum bitnet_status parse_targets(struct parser *parser, struct jinja_node *into)
{
    struct jinja_node *last = NULL, *name;
    enum bitnet_status status = BITNET_OK;
    do {
        if (last) status = advance(parser);
        if (!status) status = new_node(parser, JINJA_NAME, &name);
        if (!status) status = expect_name(parser, &name->text);
        if (!status) link_last(&into->names, &last, name);
    } while (!status && is_op(parser, ","));
    return status;
}

static enum bitnet_status parse_for(struct parser *parser, struct jinja_node **node)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    static const char *const last[] = {"endfor", NULL};
    struct jinja_node *made, *what, *condition = NULL;
    struct bitnet_str end;
    enum bitnet_status status = new_node(parser, JINJA_FOR, &made);
    if (!status) status = parse_targets(parser, made);
    if (!status && !is_word(parser, "in")) return wrong(parser, "'in' is missing");
    if (!status) status = advance(parser);
    if (!status) status = parse_or(parser, &what);
    if (!status && is_word(parser, "if")) {
        status = advance(parser);
        if (!status) status = parse_expression(parser, &condition);
    }
    if (!status) status = end_of_tag(parser);
    if (status) return status;
    *node = made;
    made->a = what;
    made->b = condition;
    status = parse_body(parser, ends, &made->body, &end);
    if (!status && bitnet_str_is(end, "else"))
        status = parse_body(parser, last, &made->other, &end);
    return status;
}

static enum bitnet_status parse_set(struct parser *parser, struct jinja_node **node)
{
    static const char *const ends[] = {"endset", NULL};
    struct jinja_node *made, *value;
    struct bitnet_str end;
    enum bitnet_status status = new_node(parser, JINJA_SET, &made);
    if (!status) status = parse_targets(parser, made);
    if (status) return status;
    *node = made;
    if (is_op(parser, ".")) {
        struct jinja_node *attribute;
        made->text = made->names->text;
        status = new_node(parser, JINJA_NAME, &attribute);
        if (!status) status = advance(parser);
        if (!status) status = expect_name(parser, &attribute->text);
        made->names = attribute;
        if (status) return status;
    }
    if (parser->token.kind == TOKEN_END) return parse_body(parser, ends, &made->body, &end);
    status = expect_op(parser, "=");
    if (!status) status = parse_expression(parser, &value);
    if (!status && is_op(parser, ","))
        return unsupported(parser, BITNET_STR("a tuple without parentheses"));
    made->a = value;
    return status ? status : end_of_tag(parser);
}

static enum bitnet_status parse_macro(struct parser *parser, struct jinja_node **node)
{
    static const char *const ends[] = {"endmacro", NULL};
    struct jinja_node *made, *last = NULL, *parameter, *value;
    struct bitnet_str end;
    enum bitnet_status status = new_node(parser, JINJA_MACRO_DEF, &made);
    if (!status) status = expect_name(parser, &made->text);
    if (!status) status = expect_op(parser, "(");
    while (!status && !is_op(parser, ")")) {
        status = new_node(parser, JINJA_NAME, &parameter);
        if (!status) status = expect_name(parser, &parameter->text);
        if (!status && is_op(parser, "=")) {
            status = advance(parser);
            if (!status) status = parse_expression(parser, &value);
            parameter->a = value;
        }
        if (!status) link_last(&made->names, &last, parameter);
        if (!status && !is_op(parser, ")")) status = expect_op(parser, ",");
    }
    if (!status) status = advance(parser);
    if (!status) status = end_of_tag(parser);
    if (status) return status;
    *node = made;
    return parse_body(parser, ends, &made->body, &end);
}

/* A block that only marks its body, as transformers' {% generation %} does. */
static enum bitnet_status parse_generation(struct parser *parser, struct jinja_node **node)
{
    static const char *const ends[] = {"endgeneration", NULL};
    struct bitnet_str end;
    enum bitnet_status status = new_node(parser, JINJA_BLOCK, node);
    if (!status) status = end_of_tag(parser);
    return status ? status : parse_body(parser, ends, &(*node)->body, &end);
}

static enum bitnet_status parse_statement(struct parser *parser, struct bitnet_str word,
                                          struct jinja_node **node)
{
    if (bitnet_str_is(word, "if")) return parse_if(parser, node);
    if (bitnet_str_is(word, "for")) return parse_for(parser, node);
    if (bitnet_str_is(word, "set")) return parse_set(parser, node);
    if (bitnet_str_is(word, "macro")) return parse_macro(parser, node);
    if (bitnet_str_is(word, "generation")) return parse_generation(parser, node);
    if (bitnet_str_is(word, "break")) return new_node(parser, JINJA_BREAK, node);
    if (bitnet_str_is(word, "continue")) return new_node(parser, JINJA_CONTINUE, node);
    return unsupported(parser, word);
}

/* {% raw %} ... {% endraw %}: the text between, as it is. */
static enum bitnet_status parse_raw(struct parser *parser, struct jinja_node **node)
{
    struct bitnet_str source = parser->jinja->source;
    size_t begin = parser->at;
    for (size_t at = begin; at + 1 < source.n; at++) {
        if (source.at[at] != '{' || source.at[at + 1] != '%') continue;
        parser->at = at;
        enum bitnet_status status = take_tag(parser, TAG_STATEMENT);
        if (!status) status = advance(parser);
        if (status) return status;
        if (!is_word(parser, "endraw")) continue;
        status = new_node(parser, JINJA_TEXT, node);
        if (!status) (*node)->text = (struct bitnet_str){source.at + begin, at - begin};
        return status;
    }
    return wrong(parser, "'endraw' is missing");
}

static enum bitnet_status parse_tag(struct parser *parser, enum tag tag, const char *const *ends,
                                    struct jinja_node **node, struct bitnet_str *ended_by)
{
    struct jinja_node *value;
    struct bitnet_str word = {0};
    enum bitnet_status status = take_tag(parser, tag);
    *node = NULL;
    if (status || tag == TAG_COMMENT) return status;
    status = advance(parser);
    if (!status && tag == TAG_OUTPUT) {
        status = new_node(parser, JINJA_OUTPUT, node);
        if (!status) status = parse_expression(parser, &value);
        if (!status) (*node)->a = value;
        return status ? status : end_of_tag(parser);
    }
    if (!status) status = expect_name(parser, &word);
    if (status) return status;
    for (size_t i = 0; ends[i]; i++)
        if (bitnet_str_is(word, ends[i])) {
            *ended_by = word;
            return BITNET_OK;
        }
    return bitnet_str_is(word, "raw") ? parse_raw(parser, node)
                                      : parse_statement(parser, word, node);
}

/* Up to the tag that is one of `ends`, or, when there are none, the end of the source. */
static enum bitnet_status parse_body(struct parser *parser, const char *const *ends,
                                     const struct jinja_node **body, struct bitnet_str *ended_by)
{
    struct jinja_node *last = NULL, *node;
    enum bitnet_status status = BITNET_OK;
    *ended_by = (struct bitnet_str){0};
    *body = NULL;
    if (++parser->depth > JINJA_MAX_DEPTH) return wrong(parser, "blocks nested too deep");
    while (!status && !ended_by->at) {
        enum tag tag;
        struct bitnet_str text = take_text(parser, &tag);
        if (text.n) {
            status = new_node(parser, JINJA_TEXT, &node);
            if (status) return status;
            node->text = text;
            link_last(body, &last, node);
        }
        if (tag == TAG_NONE) break;
        status = parse_tag(parser, tag, ends, &node, ended_by);
        if (!status && node) link_last(body, &last, node);
    }
    parser->depth--;
    if (!status && ends[0] && !ended_by->at)
        return bitnet_fail(parser->jinja->err, BITNET_FORMAT, "chat template: '%s' is missing",
                           ends[0]);
    return status;
}

enum bitnet_status jinja_parse(struct jinja *jinja, const struct jinja_node **body)
{
    static const char *const none[] = {NULL};
    struct parser parser = {.jinja = jinja, .line = 1, .line_start = true};
    struct bitnet_str ended_by;
    if (jinja->source.n > JINJA_MAX_SOURCE)
        return bitnet_fail(jinja->err, BITNET_LIMIT, "chat template: %zu bytes (limit %zu)",
                           jinja->source.n, JINJA_MAX_SOURCE);
    if (bitnet_str_ends(jinja->source, "\n")) jinja->source.n--;
    return parse_body(&parser, none, body, &ended_by);
}
