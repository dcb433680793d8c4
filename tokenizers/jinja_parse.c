/* Template -> tree. Comes in: source; goes out: nodes in the arena. Tags are found, with the white
 * space that goes with them; what a tag says becomes a statement. See jinja_parse.h. */
#include "jinja_parse.h"

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
static struct bitnet_str take_text(struct jinja_parser *parser, enum tag *tag)
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
static enum bitnet_status take_tag(struct jinja_parser *parser, enum tag tag)
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
    if (end + 1 >= source.n) return jinja_wrong(parser, "a tag is not closed");
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

static enum bitnet_status parse_body(struct jinja_parser *parser, const char *const *ends,
                                     const struct jinja_node **body, struct bitnet_str *ended_by);

static enum bitnet_status end_of_tag(struct jinja_parser *parser)
{
    if (parser->token.kind == TOKEN_END) return BITNET_OK;
    return jinja_unsupported(parser, parser->token.text);
}

static enum bitnet_status parse_if(struct jinja_parser *parser, struct jinja_node **node)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    struct jinja_node *made, *condition, *inner;
    struct bitnet_str end;
    enum bitnet_status status = jinja_new_node(parser, JINJA_IF, &made);
    if (!status) status = jinja_parse_expression(parser, &condition);
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

static enum bitnet_status parse_targets(struct jinja_parser *parser, struct jinja_node *into)
{
    struct jinja_node *last = NULL, *name;
    enum bitnet_status status = BITNET_OK;
    do {
        if (last) status = jinja_advance(parser);
        if (!status) status = jinja_new_node(parser, JINJA_NAME, &name);
        if (!status) status = jinja_expect_name(parser, &name->text);
        if (!status) jinja_link_last(&into->names, &last, name);
    } while (!status && jinja_is_op(parser, ","));
    return status;
}

static enum bitnet_status parse_for(struct jinja_parser *parser, struct jinja_node **node)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    static const char *const last[] = {"endfor", NULL};
    struct jinja_node *made, *what, *condition = NULL;
    struct bitnet_str end;
    enum bitnet_status status = jinja_new_node(parser, JINJA_FOR, &made);
    if (!status) status = parse_targets(parser, made);
    if (!status && !jinja_is_word(parser, "in")) return jinja_wrong(parser, "'in' is missing");
    if (!status) status = jinja_advance(parser);
    if (!status) status = jinja_parse_or(parser, &what);
    if (!status && jinja_is_word(parser, "if")) {
        status = jinja_advance(parser);
        if (!status) status = jinja_parse_expression(parser, &condition);
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

static enum bitnet_status parse_set(struct jinja_parser *parser, struct jinja_node **node)
{
    static const char *const ends[] = {"endset", NULL};
    struct jinja_node *made, *value;
    struct bitnet_str end;
    enum bitnet_status status = jinja_new_node(parser, JINJA_SET, &made);
    if (!status) status = parse_targets(parser, made);
    if (status) return status;
    *node = made;
    if (jinja_is_op(parser, ".")) {
        struct jinja_node *attribute;
        made->text = made->names->text;
        status = jinja_new_node(parser, JINJA_NAME, &attribute);
        if (!status) status = jinja_advance(parser);
        if (!status) status = jinja_expect_name(parser, &attribute->text);
        made->names = attribute;
        if (status) return status;
    }
    if (parser->token.kind == TOKEN_END) return parse_body(parser, ends, &made->body, &end);
    status = jinja_expect_op(parser, "=");
    if (!status) status = jinja_parse_expression(parser, &value);
    if (!status && jinja_is_op(parser, ","))
        return jinja_unsupported(parser, BITNET_STR("a tuple without parentheses"));
    made->a = value;
    return status ? status : end_of_tag(parser);
}

static enum bitnet_status parse_macro(struct jinja_parser *parser, struct jinja_node **node)
{
    static const char *const ends[] = {"endmacro", NULL};
    struct jinja_node *made, *last = NULL, *parameter, *value;
    struct bitnet_str end;
    enum bitnet_status status = jinja_new_node(parser, JINJA_MACRO_DEF, &made);
    if (!status) status = jinja_expect_name(parser, &made->text);
    if (!status) status = jinja_expect_op(parser, "(");
    while (!status && !jinja_is_op(parser, ")")) {
        status = jinja_new_node(parser, JINJA_NAME, &parameter);
        if (!status) status = jinja_expect_name(parser, &parameter->text);
        if (!status && jinja_is_op(parser, "=")) {
            status = jinja_advance(parser);
            if (!status) status = jinja_parse_expression(parser, &value);
            parameter->a = value;
        }
        if (!status) jinja_link_last(&made->names, &last, parameter);
        if (!status && !jinja_is_op(parser, ")")) status = jinja_expect_op(parser, ",");
    }
    if (!status) status = jinja_advance(parser);
    if (!status) status = end_of_tag(parser);
    if (status) return status;
    *node = made;
    return parse_body(parser, ends, &made->body, &end);
}

/* A block that only marks its body, as transformers' {% generation %} does. */
static enum bitnet_status parse_generation(struct jinja_parser *parser, struct jinja_node **node)
{
    static const char *const ends[] = {"endgeneration", NULL};
    struct bitnet_str end;
    enum bitnet_status status = jinja_new_node(parser, JINJA_BLOCK, node);
    if (!status) status = end_of_tag(parser);
    return status ? status : parse_body(parser, ends, &(*node)->body, &end);
}

static enum bitnet_status parse_statement(struct jinja_parser *parser, struct bitnet_str word,
                                          struct jinja_node **node)
{
    if (bitnet_str_is(word, "if")) return parse_if(parser, node);
    if (bitnet_str_is(word, "for")) return parse_for(parser, node);
    if (bitnet_str_is(word, "set")) return parse_set(parser, node);
    if (bitnet_str_is(word, "macro")) return parse_macro(parser, node);
    if (bitnet_str_is(word, "generation")) return parse_generation(parser, node);
    if (bitnet_str_is(word, "break")) return jinja_new_node(parser, JINJA_BREAK, node);
    if (bitnet_str_is(word, "continue")) return jinja_new_node(parser, JINJA_CONTINUE, node);
    return jinja_unsupported(parser, word);
}

/* {% raw %} ... {% endraw %}: the text between, as it is. */
static enum bitnet_status parse_raw(struct jinja_parser *parser, struct jinja_node **node)
{
    struct bitnet_str source = parser->jinja->source;
    size_t begin = parser->at;
    for (size_t at = begin; at + 1 < source.n; at++) {
        if (source.at[at] != '{' || source.at[at + 1] != '%') continue;
        parser->at = at;
        enum bitnet_status status = take_tag(parser, TAG_STATEMENT);
        if (!status) status = jinja_advance(parser);
        if (status) return status;
        if (!jinja_is_word(parser, "endraw")) continue;
        status = jinja_new_node(parser, JINJA_TEXT, node);
        if (!status) (*node)->text = (struct bitnet_str){source.at + begin, at - begin};
        return status;
    }
    return jinja_wrong(parser, "'endraw' is missing");
}

static enum bitnet_status parse_tag(struct jinja_parser *parser, enum tag tag,
                                    const char *const *ends, struct jinja_node **node,
                                    struct bitnet_str *ended_by)
{
    struct jinja_node *value;
    struct bitnet_str word = {0};
    enum bitnet_status status = take_tag(parser, tag);
    *node = NULL;
    if (status || tag == TAG_COMMENT) return status;
    status = jinja_advance(parser);
    if (!status && tag == TAG_OUTPUT) {
        status = jinja_new_node(parser, JINJA_OUTPUT, node);
        if (!status) status = jinja_parse_expression(parser, &value);
        if (!status) (*node)->a = value;
        return status ? status : end_of_tag(parser);
    }
    if (!status) status = jinja_expect_name(parser, &word);
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
static enum bitnet_status parse_body(struct jinja_parser *parser, const char *const *ends,
                                     const struct jinja_node **body, struct bitnet_str *ended_by)
{
    struct jinja_node *last = NULL, *node;
    enum bitnet_status status = BITNET_OK;
    *ended_by = (struct bitnet_str){0};
    *body = NULL;
    if (++parser->depth > JINJA_MAX_DEPTH) return jinja_wrong(parser, "blocks nested too deep");
    while (!status && !ended_by->at) {
        enum tag tag;
        struct bitnet_str text = take_text(parser, &tag);
        if (text.n) {
            status = jinja_new_node(parser, JINJA_TEXT, &node);
            if (status) return status;
            node->text = text;
            jinja_link_last(body, &last, node);
        }
        if (tag == TAG_NONE) break;
        status = parse_tag(parser, tag, ends, &node, ended_by);
        if (!status && node) jinja_link_last(body, &last, node);
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
    struct jinja_parser parser = {.jinja = jinja, .line = 1, .line_start = true};
    struct bitnet_str ended_by;
    if (jinja->source.n > JINJA_MAX_SOURCE)
        return bitnet_fail(jinja->err, BITNET_LIMIT, "chat template: %zu bytes (limit %zu)",
                           jinja->source.n, JINJA_MAX_SOURCE);
    if (bitnet_str_ends(jinja->source, "\n")) jinja->source.n--;
    return parse_body(&parser, none, body, &ended_by);
}
