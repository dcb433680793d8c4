/* Expressions: a recursive descent, a function per level of the grammar, loosest last. Comes in:
 * tokens of a tag; goes out: nodes in the arena. The depth is limited. See jinja_parse.h. */
#include "jinja_parse.h"

typedef enum bitnet_status parse_fn(struct jinja_parser *parser, struct jinja_node **node);

static enum bitnet_status parse_unary(struct jinja_parser *parser, struct jinja_node **node,
                                      bool with_filter);

void jinja_link_last(const struct jinja_node **first, struct jinja_node **last,
                     struct jinja_node *node)
{
    if (*last)
        (*last)->next = node;
    else
        *first = node;
    *last = node;
}

/* "(a, b, name=c)": behind the opening parenthesis. */
static enum bitnet_status parse_arguments(struct jinja_parser *parser, struct jinja_node *call)
{
    struct jinja_node *last = NULL, *last_named = NULL;
    enum bitnet_status status = BITNET_OK;
    while (!status && !jinja_is_op(parser, ")")) {
        struct jinja_node *argument, *named;
        status = jinja_parse_expression(parser, &argument);
        if (!status && jinja_is_op(parser, "=") && argument->kind == JINJA_NAME) {
            named = argument;
            status = jinja_advance(parser);
            if (!status) status = jinja_parse_expression(parser, &argument);
            named->a = argument;
            if (!status) jinja_link_last(&call->names, &last_named, named);
        } else if (!status) {
            jinja_link_last(&call->list, &last, argument);
        }
        if (!status && !jinja_is_op(parser, ")")) status = jinja_expect_op(parser, ",");
    }
    return status ? status : jinja_advance(parser);
}

static enum bitnet_status parse_items(struct jinja_parser *parser, const char *end, bool as_pairs,
                                      struct jinja_node *into)
{
    struct jinja_node *last = NULL, *item;
    enum bitnet_status status = BITNET_OK;
    while (!status && !jinja_is_op(parser, end)) {
        status = jinja_parse_expression(parser, &item);
        if (!status) jinja_link_last(&into->list, &last, item);
        if (!status && as_pairs) {
            status = jinja_expect_op(parser, ":");
            if (!status) status = jinja_parse_expression(parser, &item);
            if (!status) jinja_link_last(&into->list, &last, item);
        }
        if (!status && !jinja_is_op(parser, end)) status = jinja_expect_op(parser, ",");
    }
    return status ? status : jinja_advance(parser);
}

static enum bitnet_status parse_literal(struct jinja_parser *parser, struct jinja_value value,
                                        struct jinja_node **node)
{
    enum bitnet_status status = jinja_new_node(parser, JINJA_LITERAL, node);
    if (status) return status;
    (*node)->value = value;
    return jinja_advance(parser);
}

static bool constant_of(struct bitnet_str name, struct jinja_value *value)
{
    bool is_true = bitnet_str_is(name, "true") || bitnet_str_is(name, "True");
    bool is_false = bitnet_str_is(name, "false") || bitnet_str_is(name, "False");
    *value = is_true || is_false ? jinja_bool(is_true) : (struct jinja_value){.kind = JINJA_NONE};
    return is_true || is_false || bitnet_str_is(name, "none") || bitnet_str_is(name, "None");
}

/* "(a)", or a tuple "()", "(a, b)", which is a list to us. */
static enum bitnet_status parse_parenthesis(struct jinja_parser *parser, struct jinja_node **node)
{
    enum bitnet_status status = jinja_advance(parser);
    if (!status && jinja_is_op(parser, ")")) {
        status = jinja_new_node(parser, JINJA_LIST_OF, node);
        return status ? status : jinja_advance(parser);
    }
    if (!status) status = jinja_parse_expression(parser, node);
    if (status || !jinja_is_op(parser, ",")) return status ? status : jinja_expect_op(parser, ")");
    struct jinja_node *first = *node, *tuple;
    status = jinja_new_node(parser, JINJA_LIST_OF, &tuple);
    if (!status) status = jinja_advance(parser);
    if (!status) status = parse_items(parser, ")", false, tuple);
    if (status) return status;
    first->next = tuple->list;
    tuple->list = first;
    *node = tuple;
    return BITNET_OK;
}

static enum bitnet_status parse_primary(struct jinja_parser *parser, struct jinja_node **node)
{
    struct jinja_token token = parser->token;
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
        status = jinja_new_node(parser, JINJA_NAME, node);
        if (status) return status;
        (*node)->text = token.text;
        return jinja_advance(parser);
    case TOKEN_OP:
        if (jinja_is_op(parser, "(")) return parse_parenthesis(parser, node);
        if (jinja_is_op(parser, "[") || jinja_is_op(parser, "{")) {
            bool is_dict = jinja_is_op(parser, "{");
            status = jinja_new_node(parser, is_dict ? JINJA_DICT_OF : JINJA_LIST_OF, node);
            if (!status) status = jinja_advance(parser);
            return status ? status : parse_items(parser, is_dict ? "}" : "]", is_dict, *node);
        }
        break;
    case TOKEN_END:
        return jinja_wrong(parser, "the tag ends inside an expression");
    }
    return jinja_unsupported(parser, token.text);
}

/* "[i]" or "[a:b:c]"; behind the opening bracket. */
static enum bitnet_status parse_subscript(struct jinja_parser *parser, struct jinja_node **node)
{
    struct jinja_node *made, *parts[3] = {NULL, NULL, NULL};
    size_t n = 0;
    enum bitnet_status status = jinja_new_node(parser, JINJA_ITEM, &made);
    for (; !status && !jinja_is_op(parser, "]") && n < 3; n++) {
        if (!jinja_is_op(parser, ":")) status = jinja_parse_expression(parser, &parts[n]);
        if (status || !jinja_is_op(parser, ":")) break;
        made->kind = JINJA_SLICE;
        status = jinja_advance(parser);
    }
    if (!status) status = jinja_expect_op(parser, "]");
    if (status) return status;
    made->a = *node;
    made->b = parts[0];
    made->c = parts[1];
    made->d = parts[2];
    if (made->kind == JINJA_ITEM && !made->b) return jinja_wrong(parser, "an empty subscript");
    *node = made;
    return BITNET_OK;
}

static enum bitnet_status parse_call(struct jinja_parser *parser, struct jinja_node **node)
{
    struct jinja_node *made;
    enum bitnet_status status = jinja_new_node(parser, JINJA_CALL, &made);
    if (!status) status = jinja_advance(parser);
    if (status) return status;
    made->a = *node;
    *node = made;
    return parse_arguments(parser, made);
}

static enum bitnet_status parse_postfix(struct jinja_parser *parser, struct jinja_node **node)
{
    enum bitnet_status status = BITNET_OK;
    while (!status) {
        if (jinja_is_op(parser, ".")) {
            struct jinja_node *made;
            status = jinja_new_node(parser, JINJA_ATTR, &made);
            if (!status) status = jinja_advance(parser);
            if (!status) status = jinja_expect_name(parser, &made->text);
            if (status) return status;
            made->a = *node;
            *node = made;
        } else if (jinja_is_op(parser, "[")) {
            status = jinja_advance(parser);
            if (!status) status = parse_subscript(parser, node);
        } else if (jinja_is_op(parser, "(")) {
            status = parse_call(parser, node);
        } else {
            break;
        }
    }
    return status;
}

/* "is [not] name [argument]". */
static enum bitnet_status parse_test(struct jinja_parser *parser, struct jinja_node **node)
{
    struct jinja_node *made, *argument;
    enum bitnet_status status = jinja_new_node(parser, JINJA_TEST, &made);
    if (!status) status = jinja_advance(parser);
    if (!status && jinja_is_word(parser, "not")) {
        made->negated = true;
        status = jinja_advance(parser);
    }
    if (!status) status = jinja_expect_name(parser, &made->text);
    if (status) return status;
    made->a = *node;
    *node = made;
    bool is_value = parser->token.kind == TOKEN_STR || parser->token.kind == TOKEN_INT ||
                    parser->token.kind == TOKEN_FLOAT || jinja_is_op(parser, "[") ||
                    jinja_is_op(parser, "{");
    bool is_name = parser->token.kind == TOKEN_NAME && !jinja_is_word(parser, "and") &&
                   !jinja_is_word(parser, "or") && !jinja_is_word(parser, "else") &&
                   !jinja_is_word(parser, "is") && !jinja_is_word(parser, "if") &&
                   !jinja_is_word(parser, "in") && !jinja_is_word(parser, "not");
    if (jinja_is_op(parser, "(")) {
        status = jinja_advance(parser);
        return status ? status : parse_arguments(parser, made);
    }
    if (!is_value && !is_name) return BITNET_OK;
    status = parse_primary(parser, &argument);
    if (!status) status = parse_postfix(parser, &argument);
    made->list = argument;
    return status;
}

static enum bitnet_status parse_filters(struct jinja_parser *parser, struct jinja_node **node)
{
    enum bitnet_status status = BITNET_OK;
    while (!status) {
        if (jinja_is_op(parser, "|")) {
            struct jinja_node *made;
            status = jinja_new_node(parser, JINJA_FILTER, &made);
            if (!status) status = jinja_advance(parser);
            if (!status) status = jinja_expect_name(parser, &made->text);
            if (status) return status;
            made->a = *node;
            *node = made;
            if (jinja_is_op(parser, "(")) {
                status = jinja_advance(parser);
                if (!status) status = parse_arguments(parser, made);
            }
        } else if (jinja_is_word(parser, "is")) {
            status = parse_test(parser, node);
        } else if (jinja_is_op(parser, "(")) {
            status = parse_call(parser, node);
        } else {
            break;
        }
    }
    return status;
}

static enum bitnet_status parse_unary(struct jinja_parser *parser, struct jinja_node **node,
                                      bool with_filter)
{
    enum bitnet_status status;
    if (++parser->depth > JINJA_MAX_DEPTH)
        return jinja_wrong(parser, "an expression nested too deep");
    if (jinja_is_op(parser, "-")) {
        struct jinja_node *made;
        status = jinja_new_node(parser, JINJA_NEGATE, &made);
        if (!status) status = jinja_advance(parser);
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

static enum bitnet_status parse_operand(struct jinja_parser *parser, struct jinja_node **node)
{
    return parse_unary(parser, node, true);
}

/* One level of binary operators, from the left. */
struct level {
    const char *ops[4];
    enum jinja_op codes[4];
    size_t n;
};

static enum bitnet_status parse_level(struct jinja_parser *parser, const struct level *level,
                                      parse_fn *below, struct jinja_node **node)
{
    enum bitnet_status status = below(parser, node);
    while (!status) {
        size_t i = 0;
        while (i < level->n && !jinja_is_op(parser, level->ops[i])) i++;
        if (i == level->n) break;
        struct jinja_node *made, *right;
        status = jinja_new_node(parser, JINJA_BINARY, &made);
        if (!status) status = jinja_advance(parser);
        if (!status) status = below(parser, &right);
        if (status) return status;
        made->op = level->codes[i];
        made->a = *node;
        made->b = right;
        *node = made;
    }
    return status;
}

static enum bitnet_status parse_product(struct jinja_parser *parser, struct jinja_node **node)
{
    static const struct level level = {
        {"*", "/", "//", "%"}, {JINJA_MUL, JINJA_DIV, JINJA_FLOOR, JINJA_MOD}, 4};
    return parse_level(parser, &level, parse_operand, node);
}

static enum bitnet_status parse_concat(struct jinja_parser *parser, struct jinja_node **node)
{
    static const struct level level = {{"~"}, {JINJA_CONCAT}, 1};
    return parse_level(parser, &level, parse_product, node);
}

static enum bitnet_status parse_sum(struct jinja_parser *parser, struct jinja_node **node)
{
    static const struct level level = {{"+", "-"}, {JINJA_ADD, JINJA_SUB}, 2};
    return parse_level(parser, &level, parse_concat, node);
}

static bool comparison_of(struct jinja_parser *parser, enum jinja_op *op)
{
    static const struct {
        const char *text;
        enum jinja_op op;
    } ops[] = {{"==", JINJA_EQ}, {"!=", JINJA_NE}, {"<", JINJA_LT},
               {"<=", JINJA_LE}, {">", JINJA_GT},  {">=", JINJA_GE}};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (jinja_is_op(parser, ops[i].text)) {
            *op = ops[i].op;
            return true;
        }
    *op = jinja_is_word(parser, "in") ? JINJA_IN : JINJA_NOT_IN;
    return jinja_is_word(parser, "in") || jinja_is_word(parser, "not");
}

static enum bitnet_status parse_comparison(struct jinja_parser *parser, struct jinja_node **node)
{
    enum bitnet_status status = parse_sum(parser, node);
    enum jinja_op op;
    while (!status && comparison_of(parser, &op)) {
        struct jinja_node *made, *right;
        status = jinja_new_node(parser, JINJA_COMPARE, &made);
        if (!status) status = jinja_advance(parser);
        if (!status && op == JINJA_NOT_IN) {
            if (!jinja_is_word(parser, "in"))
                return jinja_wrong(parser, "'in' is missing after 'not'");
            status = jinja_advance(parser);
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

static enum bitnet_status parse_not(struct jinja_parser *parser, struct jinja_node **node)
{
    size_t n_nots = 0;
    enum bitnet_status status = BITNET_OK;
    for (; !status && jinja_is_word(parser, "not"); n_nots++) status = jinja_advance(parser);
    if (!status) status = parse_comparison(parser, node);
    for (; !status && n_nots; n_nots--) {
        struct jinja_node *made;
        status = jinja_new_node(parser, JINJA_NOT, &made);
        if (status) return status;
        made->a = *node;
        *node = made;
    }
    return status;
}

static enum bitnet_status parse_words(struct jinja_parser *parser, const char *word,
                                      enum jinja_node_kind kind, parse_fn *below,
                                      struct jinja_node **node)
{
    enum bitnet_status status = below(parser, node);
    while (!status && jinja_is_word(parser, word)) {
        struct jinja_node *made, *right;
        status = jinja_new_node(parser, kind, &made);
        if (!status) status = jinja_advance(parser);
        if (!status) status = below(parser, &right);
        if (status) return status;
        made->a = *node;
        made->b = right;
        *node = made;
    }
    return status;
}

static enum bitnet_status parse_and(struct jinja_parser *parser, struct jinja_node **node)
{
    return parse_words(parser, "and", JINJA_AND, parse_not, node);
}

enum bitnet_status jinja_parse_or(struct jinja_parser *parser, struct jinja_node **node)
{
    return parse_words(parser, "or", JINJA_OR, parse_and, node);
}

enum bitnet_status jinja_parse_expression(struct jinja_parser *parser, struct jinja_node **node)
{
    if (++parser->depth > JINJA_MAX_DEPTH)
        return jinja_wrong(parser, "an expression nested too deep");
    enum bitnet_status status = jinja_parse_or(parser, node);
    while (!status && jinja_is_word(parser, "if")) {
        struct jinja_node *made, *condition, *other = NULL;
        status = jinja_new_node(parser, JINJA_COND, &made);
        if (!status) status = jinja_advance(parser);
        if (!status) status = jinja_parse_or(parser, &condition);
        if (!status && jinja_is_word(parser, "else")) {
            status = jinja_advance(parser);
            if (!status) status = jinja_parse_expression(parser, &other);
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
