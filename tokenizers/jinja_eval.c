/* Expressions of a template. Comes in: a node and the values of names; goes out: its value.
 * Recursion follows the tree, whose depth the parser has limited; every node costs a step. See
 * jinja.h. */
#include "jinja.h"

#include <inttypes.h>
#include <math.h>

/* ------------------------------------------------------------------ operators */

static bool to_real(struct jinja_value value, double *real)
{
    if (value.kind == JINJA_INT) *real = (double)value.as.integer;
    if (value.kind == JINJA_BOOL) *real = value.as.boolean;
    if (value.kind == JINJA_FLOAT) *real = value.as.real;
    return value.kind == JINJA_INT || value.kind == JINJA_FLOAT || value.kind == JINJA_BOOL;
}

static bool to_integer(struct jinja_value value, int64_t *integer)
{
    if (value.kind == JINJA_INT) *integer = value.as.integer;
    if (value.kind == JINJA_BOOL) *integer = value.as.boolean;
    return value.kind == JINJA_INT || value.kind == JINJA_BOOL;
}

/* Python's // and %: toward minus infinity. */
static bool integer_op(enum jinja_op op, int64_t a, int64_t b, int64_t *r)
{
    switch (op) {
    case JINJA_ADD:
        return !__builtin_add_overflow(a, b, r);
    case JINJA_SUB:
        return !__builtin_sub_overflow(a, b, r);
    case JINJA_MUL:
        return !__builtin_mul_overflow(a, b, r);
    case JINJA_FLOOR:
    case JINJA_MOD:
        if (b == 0 || (a == INT64_MIN && b == -1)) return false;
        *r = a % b;
        if (*r && (*r < 0) != (b < 0)) *r += b;
        if (op == JINJA_FLOOR) *r = (a - *r) / b;
        return true;
    default:
        return false;
    }
}

static enum bitnet_status number_op(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value a, struct jinja_value b,
                                    struct jinja_value *value)
{
    int64_t x, y, integer;
    double u, v, real = 0;
    if (node->op != JINJA_DIV && to_integer(a, &x) && to_integer(b, &y)) {
        if (!integer_op(node->op, x, y, &integer))
            return jinja_error(jinja, node, BITNET_LIMIT, "a number out of range");
        *value = jinja_int(integer);
        return BITNET_OK;
    }
    if (!to_real(a, &u) || !to_real(b, &v))
        return jinja_error(jinja, node, BITNET_FORMAT, "this is not defined for %s and %s",
                           jinja_kind_name(a.kind), jinja_kind_name(b.kind));
    if (v == 0 && node->op != JINJA_ADD && node->op != JINJA_SUB && node->op != JINJA_MUL)
        return jinja_error(jinja, node, BITNET_FORMAT, "division by zero");
    if (node->op == JINJA_ADD) real = u + v;
    if (node->op == JINJA_SUB) real = u - v;
    if (node->op == JINJA_MUL) real = u * v;
    if (node->op == JINJA_DIV) real = u / v;
    if (node->op == JINJA_FLOOR) real = floor(u / v);
    if (node->op == JINJA_MOD) real = u - v * floor(u / v);
    *value = (struct jinja_value){.kind = JINJA_FLOAT, .as.real = real};
    return BITNET_OK;
}

static enum bitnet_status join_texts(struct jinja *jinja, struct bitnet_str a, struct bitnet_str b,
                                     struct jinja_value *value)
{
    char *made = a.n > JINJA_MAX_OUTPUT - (b.n < JINJA_MAX_OUTPUT ? b.n : JINJA_MAX_OUTPUT)
                     ? NULL
                     : jinja_alloc(jinja, a.n + b.n + 1, 1);
    if (!made) return jinja_memory(jinja);
    if (a.n) memcpy(made, a.at, a.n);
    if (b.n) memcpy(made + a.n, b.at, b.n);
    *value = jinja_str((struct bitnet_str){made, a.n + b.n});
    return BITNET_OK;
}

static enum bitnet_status concat(struct jinja *jinja, struct jinja_value a, struct jinja_value b,
                                 struct jinja_value *value)
{
    struct bitnet_buf buf = {.max = JINJA_MAX_OUTPUT};
    if (!jinja_print(a, false, 0, &buf) || !jinja_print(b, false, 0, &buf)) {
        bitnet_buf_free(&buf);
        return jinja_memory(jinja);
    }
    return jinja_keep(jinja, &buf, value);
}

static enum bitnet_status join_lists(struct jinja *jinja, const struct jinja_list *a,
                                     const struct jinja_list *b, struct jinja_value *value)
{
    enum bitnet_status status = jinja_new_list(jinja, a->n + b->n, value);
    for (size_t i = 0; i < a->n + b->n && !status; i++)
        value->as.list->at[i] = i < a->n ? a->at[i] : b->at[i - a->n];
    return status;
}

static enum bitnet_status undefined(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value value)
{
    return jinja_error(jinja, node, BITNET_FORMAT, "%s is undefined", BITNET_QUOTE(value.as.text));
}

static enum bitnet_status eval_binary(struct jinja *jinja, const struct jinja_node *node,
                                      struct jinja_value *value)
{
    struct jinja_value a, b;
    enum bitnet_status status = jinja_eval(jinja, node->a, &a);
    if (!status) status = jinja_eval(jinja, node->b, &b);
    if (status) return status;
    if (node->op == JINJA_CONCAT) return concat(jinja, a, b, value);
    if (a.kind == JINJA_UNDEFINED) return undefined(jinja, node, a);
    if (b.kind == JINJA_UNDEFINED) return undefined(jinja, node, b);
    if (node->op == JINJA_ADD && a.kind == JINJA_STR && b.kind == JINJA_STR)
        return join_texts(jinja, a.as.text, b.as.text, value);
    if (node->op == JINJA_ADD && a.kind == JINJA_LIST && b.kind == JINJA_LIST)
        return join_lists(jinja, a.as.list, b.as.list, value);
    return number_op(jinja, node, a, b, value);
}

/* ------------------------------------------------------------------ items and slices */

static enum bitnet_status eval_item(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value *value)
{
    struct jinja_value a, b;
    enum bitnet_status status = jinja_eval(jinja, node->a, &a);
    if (!status) status = jinja_eval(jinja, node->b, &b);
    if (status) return status;
    if (a.kind == JINJA_UNDEFINED) return undefined(jinja, node, a);
    *value = (struct jinja_value){.kind = JINJA_UNDEFINED, .as.text = BITNET_STR("item")};
    if (b.kind == JINJA_STR) return jinja_attribute(jinja, node, a, b.as.text, value);
    int64_t i;
    if (!to_integer(b, &i)) return BITNET_OK;
    if (a.kind == JINJA_LIST) {
        int64_t n = (int64_t)a.as.list->n;
        if (i < 0) i += n;
        if (i >= 0 && i < n) *value = a.as.list->at[i];
    }
    if (a.kind != JINJA_STR) return BITNET_OK;
    return jinja_slice(jinja, a, i, i == -1 ? INT64_MAX : i + 1, 1, value);
}

static enum bitnet_status eval_bound(struct jinja *jinja, const struct jinja_node *node,
                                     const struct jinja_node *bound, int64_t *value)
{
    struct jinja_value v;
    if (!bound) return BITNET_OK;
    enum bitnet_status status = jinja_eval(jinja, bound, &v);
    if (!status && v.kind != JINJA_NONE && !to_integer(v, value))
        status = jinja_error(jinja, node, BITNET_FORMAT, "a slice needs integers");
    return status;
}

static enum bitnet_status eval_slice(struct jinja *jinja, const struct jinja_node *node,
                                     struct jinja_value *value)
{
    struct jinja_value a;
    int64_t step = 1;
    enum bitnet_status status = jinja_eval(jinja, node->a, &a);
    if (!status) status = eval_bound(jinja, node, node->d, &step);
    int64_t from = step < 0 ? INT64_MAX : 0, to = step < 0 ? INT64_MIN : INT64_MAX;
    if (!status) status = eval_bound(jinja, node, node->b, &from);
    if (!status) status = eval_bound(jinja, node, node->c, &to);
    if (status) return status;
    if (a.kind == JINJA_UNDEFINED) return undefined(jinja, node, a);
    *value = (struct jinja_value){.kind = JINJA_UNDEFINED, .as.text = BITNET_STR("slice")};
    if (a.kind != JINJA_LIST && a.kind != JINJA_STR) return BITNET_OK;
    if (step == 0) return jinja_error(jinja, node, BITNET_FORMAT, "a slice with step 0");
    return jinja_slice(jinja, a, from, to, step, value);
}

/* ------------------------------------------------------------------ calls */

static enum bitnet_status eval_arguments(struct jinja *jinja, const struct jinja_node *node,
                                         struct jinja_arguments *arguments)
{
    enum bitnet_status status = BITNET_OK;
    *arguments = (struct jinja_arguments){0};
    for (const struct jinja_node *n = node->list; n && !status; n = n->next) {
        if (arguments->n == sizeof arguments->at / sizeof arguments->at[0])
            return jinja_error(jinja, node, BITNET_UNSUPPORTED, "too many arguments");
        status = jinja_eval(jinja, n, &arguments->at[arguments->n++]);
    }
    for (const struct jinja_node *n = node->names; n && !status; n = n->next) {
        struct jinja_value value;
        status = jinja_eval(jinja, n->a, &value);
        if (!status) status = jinja_put(jinja, &arguments->named, n->text, value);
    }
    return status;
}

static enum bitnet_status call_range(struct jinja *jinja, const struct jinja_node *node,
                                     const struct jinja_arguments *arguments,
                                     struct jinja_value *value)
{
    int64_t v[3] = {0, 0, 1};
    for (size_t i = 0; i < arguments->n && i < 3; i++)
        if (!to_integer(arguments->at[i], &v[i]))
            return jinja_error(jinja, node, BITNET_FORMAT, "range needs integers");
    int64_t from = arguments->n > 1 ? v[0] : 0, to = arguments->n > 1 ? v[1] : v[0], step = v[2];
    if (!step || !arguments->n) return jinja_error(jinja, node, BITNET_FORMAT, "an empty range");
    size_t n = 0;
    for (int64_t i = from; (step > 0 ? i < to : i > to) && n <= 100000; n++)
        if (__builtin_add_overflow(i, step, &i)) break;
    if (n > 100000) return jinja_error(jinja, node, BITNET_LIMIT, "a range of more than 100000");
    enum bitnet_status status = jinja_new_list(jinja, n, value);
    for (size_t i = 0; i < n && !status; i++)
        value->as.list->at[i] = jinja_int(from + (int64_t)i * step);
    return status;
}

static enum bitnet_status call_builtin(struct jinja *jinja, const struct jinja_node *node,
                                       int which, const struct jinja_arguments *arguments,
                                       struct jinja_value *value)
{
    enum bitnet_status status;
    switch ((enum builtin)which) {
    case BUILTIN_NAMESPACE:
    case BUILTIN_DICT:
        status = jinja_new_dict(jinja, value);
        if (status) return status;
        *value->as.dict = arguments->named;
        value->as.dict->is_namespace = which == BUILTIN_NAMESPACE;
        return BITNET_OK;
    case BUILTIN_RANGE:
        return call_range(jinja, node, arguments, value);
    case BUILTIN_DATE:
        *value = jinja_str(jinja->date);
        return BITNET_OK;
    case BUILTIN_RAISE:
        break;
    }
    bool has_text = arguments->n && arguments->at[0].kind == JINJA_STR;
    return jinja_error(jinja, node, BITNET_FORMAT, "the template says: %s",
                       has_text ? BITNET_QUOTE(arguments->at[0].as.text) : "an error");
}

static enum bitnet_status eval_call(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value *value)
{
    struct jinja_arguments arguments;
    struct jinja_value callee;
    const struct jinja_node *what = node->a;
    enum bitnet_status status = eval_arguments(jinja, node, &arguments);
    if (status) return status;
    if (what->kind == JINJA_ATTR) {
        status = jinja_eval(jinja, what->a, &callee);
        return status ? status : jinja_method(jinja, node, callee, what->text, &arguments, value);
    }
    status = jinja_eval(jinja, what, &callee);
    if (status) return status;
    if (callee.kind == JINJA_MACRO)
        return jinja_call_macro(jinja, node, callee.as.macro, &arguments, value);
    if (callee.kind == JINJA_BUILTIN)
        return call_builtin(jinja, node, callee.as.builtin, &arguments, value);
    if (callee.kind == JINJA_UNDEFINED)
        return jinja_error(jinja, node, BITNET_UNSUPPORTED, "function %s is not supported",
                           BITNET_QUOTE(callee.as.text));
    return jinja_error(jinja, node, BITNET_FORMAT, "a %s cannot be called",
                       jinja_kind_name(callee.kind));
}

/* ------------------------------------------------------------------ expressions */

static enum bitnet_status eval_test(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value *value)
{
    struct jinja_arguments arguments;
    struct jinja_value subject;
    bool result = false;
    enum bitnet_status status = jinja_eval(jinja, node->a, &subject);
    if (!status) status = eval_arguments(jinja, node, &arguments);
    if (!status) status = jinja_test(jinja, node, subject, node->text, &arguments, &result);
    *value = jinja_bool(result != node->negated);
    return status;
}

static enum bitnet_status eval_filter(struct jinja *jinja, const struct jinja_node *node,
                                      struct jinja_value *value)
{
    struct jinja_arguments arguments;
    struct jinja_value subject;
    enum bitnet_status status = jinja_eval(jinja, node->a, &subject);
    if (!status) status = eval_arguments(jinja, node, &arguments);
    return status ? status : jinja_filter(jinja, node, subject, node->text, &arguments, value);
}

static enum bitnet_status eval_list(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value *value)
{
    size_t n = 0, i = 0;
    for (const struct jinja_node *c = node->list; c; c = c->next) n++;
    enum bitnet_status status = jinja_new_list(jinja, n, value);
    for (const struct jinja_node *c = node->list; c && !status; c = c->next)
        status = jinja_eval(jinja, c, &value->as.list->at[i++]);
    return status;
}

static enum bitnet_status eval_dict(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value *value)
{
    enum bitnet_status status = jinja_new_dict(jinja, value);
    for (const struct jinja_node *c = node->list; c && !status; c = c->next->next) {
        struct jinja_value key, member;
        status = jinja_eval(jinja, c, &key);
        if (!status) status = jinja_eval(jinja, c->next, &member);
        if (!status && key.kind != JINJA_STR)
            status = jinja_error(jinja, node, BITNET_UNSUPPORTED, "a key that is no string");
        if (!status) status = jinja_put(jinja, value->as.dict, key.as.text, member);
    }
    return status;
}

static enum bitnet_status eval_attr(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value *value)
{
    struct jinja_value subject;
    enum bitnet_status status = jinja_eval(jinja, node->a, &subject);
    if (!status && subject.kind == JINJA_UNDEFINED) return undefined(jinja, node, subject);
    return status ? status : jinja_attribute(jinja, node, subject, node->text, value);
}

static enum bitnet_status eval_and_or(struct jinja *jinja, const struct jinja_node *node,
                                      struct jinja_value *value)
{
    enum bitnet_status status = jinja_eval(jinja, node->a, value);
    if (status || jinja_truth(*value) == (node->kind == JINJA_OR)) return status;
    return jinja_eval(jinja, node->b, value);
}

static enum bitnet_status eval_condition(struct jinja *jinja, const struct jinja_node *node,
                                         struct jinja_value *value)
{
    struct jinja_value condition;
    enum bitnet_status status = jinja_eval(jinja, node->b, &condition);
    if (status) return status;
    if (jinja_truth(condition)) return jinja_eval(jinja, node->a, value);
    *value = (struct jinja_value){.kind = JINJA_UNDEFINED, .as.text = BITNET_STR("else")};
    return node->c ? jinja_eval(jinja, node->c, value) : BITNET_OK;
}

static enum bitnet_status eval_comparison(struct jinja *jinja, const struct jinja_node *node,
                                          struct jinja_value *value)
{
    struct jinja_value a, b;
    bool result = false;
    enum bitnet_status status = jinja_eval(jinja, node->a, &a);
    if (!status) status = jinja_eval(jinja, node->b, &b);
    if (!status) status = jinja_compare(jinja, node, node->op, a, b, &result);
    *value = jinja_bool(result);
    return status;
}

static enum bitnet_status eval_not_or_minus(struct jinja *jinja, const struct jinja_node *node,
                                            struct jinja_value *value)
{
    enum bitnet_status status = jinja_eval(jinja, node->a, value);
    if (status) return status;
    if (node->kind == JINJA_NOT) {
        *value = jinja_bool(!jinja_truth(*value));
    } else if (value->kind == JINJA_FLOAT) {
        value->as.real = -value->as.real;
    } else if (value->kind == JINJA_INT && value->as.integer != INT64_MIN) {
        value->as.integer = -value->as.integer;
    } else {
        return jinja_error(jinja, node, BITNET_FORMAT, "a %s has no negative",
                           jinja_kind_name(value->kind));
    }
    return BITNET_OK;
}

static enum bitnet_status eval_node(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value *value)
{
    switch (node->kind) {
    case JINJA_LITERAL:
        *value = node->value;
        return BITNET_OK;
    case JINJA_NAME:
        jinja_name(jinja, node->text, value);
        return BITNET_OK;
    case JINJA_ATTR:
        return eval_attr(jinja, node, value);
    case JINJA_ITEM:
        return eval_item(jinja, node, value);
    case JINJA_SLICE:
        return eval_slice(jinja, node, value);
    case JINJA_CALL:
        return eval_call(jinja, node, value);
    case JINJA_FILTER:
        return eval_filter(jinja, node, value);
    case JINJA_TEST:
        return eval_test(jinja, node, value);
    case JINJA_NOT:
    case JINJA_NEGATE:
        return eval_not_or_minus(jinja, node, value);
    case JINJA_AND:
    case JINJA_OR:
        return eval_and_or(jinja, node, value);
    case JINJA_COND:
        return eval_condition(jinja, node, value);
    case JINJA_BINARY:
        return eval_binary(jinja, node, value);
    case JINJA_COMPARE:
        return eval_comparison(jinja, node, value);
    case JINJA_LIST_OF:
        return eval_list(jinja, node, value);
    case JINJA_DICT_OF:
        return eval_dict(jinja, node, value);
    default:
        return jinja_error(jinja, node, BITNET_INTERNAL, "a statement in an expression");
    }
}

enum bitnet_status jinja_eval(struct jinja *jinja, const struct jinja_node *node,
                              struct jinja_value *value)
{
    enum bitnet_status status = jinja_enter(jinja, node);
    *value = (struct jinja_value){.kind = JINJA_NONE};
    if (!status) status = eval_node(jinja, node, value);
    jinja->depth--;
    return status;
}
