/* Walks the tree of a template. Comes in: nodes and values; goes out: text. Recursion follows the
 * tree, whose depth the parser has limited, and macro calls, which count against the same limit;
 * every node costs a step. See jinja.h. */
#include "jinja.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* How a row of statements ended. */
enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

static enum bitnet_status run_body(struct jinja *jinja, const struct jinja_node *body,
                                   enum flow *flow);
static enum bitnet_status eval(struct jinja *jinja, const struct jinja_node *node,
                               struct jinja_value *value);

enum bitnet_status jinja_error(struct jinja *jinja, const struct jinja_node *node,
                               enum bitnet_status status, const char *format, ...)
{
    char line[400] = "";
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    return bitnet_fail(jinja->err, status, "chat template, line %" PRIu32 ": %s", node->line, line);
}

static enum bitnet_status enter(struct jinja *jinja, const struct jinja_node *node)
{
    if (++jinja->n_steps > JINJA_MAX_STEPS)
        return jinja_error(jinja, node, BITNET_LIMIT, "more than %u steps", JINJA_MAX_STEPS);
    if (++jinja->depth > 4 * JINJA_MAX_DEPTH)
        return jinja_error(jinja, node, BITNET_LIMIT, "nested too deep");
    return BITNET_OK;
}

/* ------------------------------------------------------------------ names */

enum builtin { BUILTIN_NAMESPACE, BUILTIN_RANGE, BUILTIN_RAISE, BUILTIN_DATE, BUILTIN_DICT };

static const char *const builtins[] = {"namespace", "range", "raise_exception", "strftime_now",
                                       "dict"};

static struct jinja_value *find(const struct jinja *jinja, struct bitnet_str name)
{
    for (struct jinja_scope *scope = jinja->scope; scope; scope = scope->parent) {
        struct jinja_value *found = jinja_get(&scope->vars, name);
        if (found) return found;
    }
    return NULL;
}

static void eval_name(struct jinja *jinja, struct bitnet_str name, struct jinja_value *value)
{
    const struct jinja_value *found = find(jinja, name);
    *value = (struct jinja_value){.kind = JINJA_UNDEFINED, .as.text = name};
    for (size_t i = 0; i < sizeof builtins / sizeof builtins[0] && !found; i++)
        if (bitnet_str_is(name, builtins[i]))
            *value = (struct jinja_value){.kind = JINJA_BUILTIN, .as.builtin = (int)i};
    if (found) *value = *found;
}

static enum bitnet_status assign(struct jinja *jinja, struct bitnet_str name,
                                 struct jinja_value value)
{
    return jinja_put(jinja, &jinja->scope->vars, name, value);
}

/* `names` get `value`, or its items one by one. */
static enum bitnet_status unpack(struct jinja *jinja, const struct jinja_node *node,
                                 struct jinja_value value)
{
    const struct jinja_node *names = node->names;
    if (!names->next) return assign(jinja, names->text, value);
    enum bitnet_status status = BITNET_OK;
    size_t i = 0;
    if (value.kind != JINJA_LIST)
        return jinja_error(jinja, node, BITNET_FORMAT, "a %s cannot be taken apart",
                           jinja_kind_name(value.kind));
    for (; names && i < value.as.list->n && !status; names = names->next, i++)
        status = assign(jinja, names->text, value.as.list->at[i]);
    if (!status && (names || i < value.as.list->n))
        status = jinja_error(jinja, node, BITNET_FORMAT, "as many names as values are needed");
    return status;
}

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
    enum bitnet_status status = eval(jinja, node->a, &a);
    if (!status) status = eval(jinja, node->b, &b);
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
    enum bitnet_status status = eval(jinja, node->a, &a);
    if (!status) status = eval(jinja, node->b, &b);
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
    enum bitnet_status status = eval(jinja, bound, &v);
    if (!status && v.kind != JINJA_NONE && !to_integer(v, value))
        status = jinja_error(jinja, node, BITNET_FORMAT, "a slice needs integers");
    return status;
}

static enum bitnet_status eval_slice(struct jinja *jinja, const struct jinja_node *node,
                                     struct jinja_value *value)
{
    struct jinja_value a;
    int64_t step = 1;
    enum bitnet_status status = eval(jinja, node->a, &a);
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
        status = eval(jinja, n, &arguments->at[arguments->n++]);
    }
    for (const struct jinja_node *n = node->names; n && !status; n = n->next) {
        struct jinja_value value;
        status = eval(jinja, n->a, &value);
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

/* A macro sees the names around its definition's template, and its parameters. */
static enum bitnet_status call_macro(struct jinja *jinja, const struct jinja_node *node,
                                     const struct jinja_node *macro,
                                     const struct jinja_arguments *arguments,
                                     struct jinja_value *value)
{
    struct jinja_scope *around = jinja->scope, *global = around;
    struct bitnet_buf text = {.max = JINJA_MAX_OUTPUT}, *out = jinja->out;
    struct jinja_scope scope = {0};
    enum flow flow;
    enum bitnet_status status = BITNET_OK;
    size_t i = 0;
    while (global->parent && global->parent->parent) global = global->parent;
    scope.parent = global;
    for (const struct jinja_node *p = macro->names; p && !status; p = p->next, i++) {
        const struct jinja_value *named = jinja_get(&arguments->named, p->text);
        struct jinja_value v = {.kind = JINJA_UNDEFINED, .as.text = p->text};
        if (i < arguments->n)
            v = arguments->at[i];
        else if (named)
            v = *named;
        else if (p->a)
            status = eval(jinja, p->a, &v);
        if (!status) status = jinja_put(jinja, &scope.vars, p->text, v);
    }
    if (!status && arguments->n > i)
        status = jinja_error(jinja, node, BITNET_FORMAT, "too many arguments for the macro");
    jinja->scope = &scope;
    jinja->out = &text;
    if (!status) status = run_body(jinja, macro->body, &flow);
    jinja->scope = around;
    jinja->out = out;
    if (!status) return jinja_keep(jinja, &text, value);
    bitnet_buf_free(&text);
    return status;
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
        status = eval(jinja, what->a, &callee);
        return status ? status : jinja_method(jinja, node, callee, what->text, &arguments, value);
    }
    status = eval(jinja, what, &callee);
    if (status) return status;
    if (callee.kind == JINJA_MACRO)
        return call_macro(jinja, node, callee.as.macro, &arguments, value);
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
    enum bitnet_status status = eval(jinja, node->a, &subject);
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
    enum bitnet_status status = eval(jinja, node->a, &subject);
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
        status = eval(jinja, c, &value->as.list->at[i++]);
    return status;
}

static enum bitnet_status eval_dict(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value *value)
{
    enum bitnet_status status = jinja_new_dict(jinja, value);
    for (const struct jinja_node *c = node->list; c && !status; c = c->next->next) {
        struct jinja_value key, member;
        status = eval(jinja, c, &key);
        if (!status) status = eval(jinja, c->next, &member);
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
    enum bitnet_status status = eval(jinja, node->a, &subject);
    if (!status && subject.kind == JINJA_UNDEFINED) return undefined(jinja, node, subject);
    return status ? status : jinja_attribute(jinja, node, subject, node->text, value);
}

static enum bitnet_status eval_and_or(struct jinja *jinja, const struct jinja_node *node,
                                      struct jinja_value *value)
{
    enum bitnet_status status = eval(jinja, node->a, value);
    if (status || jinja_truth(*value) == (node->kind == JINJA_OR)) return status;
    return eval(jinja, node->b, value);
}

static enum bitnet_status eval_condition(struct jinja *jinja, const struct jinja_node *node,
                                         struct jinja_value *value)
{
    struct jinja_value condition;
    enum bitnet_status status = eval(jinja, node->b, &condition);
    if (status) return status;
    if (jinja_truth(condition)) return eval(jinja, node->a, value);
    *value = (struct jinja_value){.kind = JINJA_UNDEFINED, .as.text = BITNET_STR("else")};
    return node->c ? eval(jinja, node->c, value) : BITNET_OK;
}

static enum bitnet_status eval_comparison(struct jinja *jinja, const struct jinja_node *node,
                                          struct jinja_value *value)
{
    struct jinja_value a, b;
    bool result = false;
    enum bitnet_status status = eval(jinja, node->a, &a);
    if (!status) status = eval(jinja, node->b, &b);
    if (!status) status = jinja_compare(jinja, node, node->op, a, b, &result);
    *value = jinja_bool(result);
    return status;
}

static enum bitnet_status eval_not_or_minus(struct jinja *jinja, const struct jinja_node *node,
                                            struct jinja_value *value)
{
    enum bitnet_status status = eval(jinja, node->a, value);
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
        eval_name(jinja, node->text, value);
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

static enum bitnet_status eval(struct jinja *jinja, const struct jinja_node *node,
                               struct jinja_value *value)
{
    enum bitnet_status status = enter(jinja, node);
    *value = (struct jinja_value){.kind = JINJA_NONE};
    if (!status) status = eval_node(jinja, node, value);
    jinja->depth--;
    return status;
}

/* ------------------------------------------------------------------ statements */

static enum bitnet_status run_output(struct jinja *jinja, const struct jinja_node *node)
{
    struct jinja_value value;
    enum bitnet_status status = eval(jinja, node->a, &value);
    if (!status && !jinja_print(value, false, 0, jinja->out))
        status = jinja_error(jinja, node, BITNET_LIMIT, "more than %zu bytes of output",
                             JINJA_MAX_OUTPUT);
    return status;
}

static enum bitnet_status put_loop(struct jinja *jinja, struct jinja_dict *loop,
                                   const struct jinja_list *items, size_t i)
{
    const struct {
        const char *name;
        struct jinja_value value;
    } facts[] = {
        {"index", jinja_int((int64_t)i + 1)},
        {"index0", jinja_int((int64_t)i)},
        {"revindex", jinja_int((int64_t)(items->n - i))},
        {"revindex0", jinja_int((int64_t)(items->n - i) - 1)},
        {"length", jinja_int((int64_t)items->n)},
        {"first", jinja_bool(i == 0)},
        {"last", jinja_bool(i + 1 == items->n)},
    };
    enum bitnet_status status = BITNET_OK;
    for (size_t k = 0; k < sizeof facts / sizeof facts[0] && !status; k++)
        status = jinja_put(jinja, loop, bitnet_str_of(facts[k].name), facts[k].value);
    struct jinja_value none = {.kind = JINJA_UNDEFINED, .as.text = BITNET_STR("item")};
    if (!status)
        status = jinja_put(jinja, loop, BITNET_STR("previtem"), i ? items->at[i - 1] : none);
    if (!status)
        status = jinja_put(jinja, loop, BITNET_STR("nextitem"),
                           i + 1 < items->n ? items->at[i + 1] : none);
    return status;
}

/* The items that a `for` walks over: a list, the keys of a mapping, the characters of a string. */
static enum bitnet_status items_of(struct jinja *jinja, const struct jinja_node *node,
                                   struct jinja_value *what)
{
    struct jinja_arguments none = {0};
    if (what->kind == JINJA_UNDEFINED) return jinja_new_list(jinja, 0, what);
    if (what->kind == JINJA_LIST) return BITNET_OK;
    return jinja_filter(jinja, node, *what, BITNET_STR("list"), &none, what);
}

/* `for x in y if condition`: the condition decides before the loop begins. */
static enum bitnet_status keep_items(struct jinja *jinja, const struct jinja_node *node,
                                     struct jinja_value *items)
{
    struct jinja_value kept, condition;
    struct jinja_scope scope = {.parent = jinja->scope};
    enum bitnet_status status = jinja_new_list(jinja, items->as.list->n, &kept);
    kept.as.list->n = 0;
    jinja->scope = &scope;
    for (size_t i = 0; i < items->as.list->n && !status; i++) {
        status = unpack(jinja, node, items->as.list->at[i]);
        if (!status) status = eval(jinja, node->b, &condition);
        if (!status && jinja_truth(condition))
            kept.as.list->at[kept.as.list->n++] = items->as.list->at[i];
    }
    jinja->scope = scope.parent;
    *items = kept;
    return status;
}

static enum bitnet_status run_loop(struct jinja *jinja, const struct jinja_node *node,
                                   const struct jinja_list *items)
{
    struct jinja_scope *around = jinja->scope;
    struct jinja_value loop;
    enum flow flow = FLOW_ON;
    enum bitnet_status status = jinja_new_dict(jinja, &loop);
    for (size_t i = 0; i < items->n && !status && flow != FLOW_BREAK; i++) {
        struct jinja_scope scope = {.parent = around};
        jinja->scope = &scope;
        status = put_loop(jinja, loop.as.dict, items, i);
        if (!status) status = assign(jinja, BITNET_STR("loop"), loop);
        if (!status) status = unpack(jinja, node, items->at[i]);
        if (!status) status = run_body(jinja, node->body, &flow);
        jinja->scope = around;
    }
    return status;
}

static enum bitnet_status run_for(struct jinja *jinja, const struct jinja_node *node,
                                  enum flow *flow)
{
    struct jinja_value items;
    enum bitnet_status status = eval(jinja, node->a, &items);
    if (!status) status = items_of(jinja, node, &items);
    if (!status && node->b) status = keep_items(jinja, node, &items);
    if (status) return status;
    if (!items.as.list->n && node->other) return run_body(jinja, node->other, flow);
    return run_loop(jinja, node, items.as.list);
}

static enum bitnet_status run_set(struct jinja *jinja, const struct jinja_node *node)
{
    struct jinja_value value;
    struct bitnet_buf text = {.max = JINJA_MAX_OUTPUT}, *out = jinja->out;
    enum bitnet_status status;
    enum flow flow;
    if (node->a) {
        status = eval(jinja, node->a, &value);
    } else {
        jinja->out = &text;
        status = run_body(jinja, node->body, &flow);
        jinja->out = out;
        if (!status)
            status = jinja_keep(jinja, &text, &value);
        else
            bitnet_buf_free(&text);
    }
    if (status) return status;
    if (!node->text.at) return unpack(jinja, node, value);
    struct jinja_value *target = find(jinja, node->text);
    if (!target || target->kind != JINJA_DICT || !target->as.dict->is_namespace)
        return jinja_error(jinja, node, BITNET_FORMAT, "%s is no namespace",
                           BITNET_QUOTE(node->text));
    return jinja_put(jinja, target->as.dict, node->names->text, value);
}

static enum bitnet_status run_if(struct jinja *jinja, const struct jinja_node *node,
                                 enum flow *flow)
{
    struct jinja_value condition;
    enum bitnet_status status = eval(jinja, node->a, &condition);
    if (status) return status;
    return run_body(jinja, jinja_truth(condition) ? node->body : node->other, flow);
}

static enum bitnet_status run_node(struct jinja *jinja, const struct jinja_node *node,
                                   enum flow *flow)
{
    switch (node->kind) {
    case JINJA_TEXT:
        if (bitnet_buf_add_str(jinja->out, node->text)) return BITNET_OK;
        return jinja_error(jinja, node, BITNET_LIMIT, "more than %zu bytes of output",
                           JINJA_MAX_OUTPUT);
    case JINJA_OUTPUT:
        return run_output(jinja, node);
    case JINJA_IF:
        return run_if(jinja, node, flow);
    case JINJA_FOR:
        return run_for(jinja, node, flow);
    case JINJA_SET:
        return run_set(jinja, node);
    case JINJA_MACRO_DEF:
        return assign(jinja, node->text,
                      (struct jinja_value){.kind = JINJA_MACRO, .as.macro = node});
    case JINJA_BREAK:
        *flow = FLOW_BREAK;
        return BITNET_OK;
    case JINJA_CONTINUE:
        *flow = FLOW_CONTINUE;
        return BITNET_OK;
    case JINJA_BLOCK:
        return run_body(jinja, node->body, flow);
    default:
        return jinja_error(jinja, node, BITNET_INTERNAL, "an expression as a statement");
    }
}

static enum bitnet_status run_body(struct jinja *jinja, const struct jinja_node *body,
                                   enum flow *flow)
{
    enum bitnet_status status = BITNET_OK;
    *flow = FLOW_ON;
    for (const struct jinja_node *node = body; node && !status && *flow == FLOW_ON;
         node = node->next) {
        status = enter(jinja, node);
        if (!status) status = run_node(jinja, node, flow);
        jinja->depth--;
    }
    return status;
}

enum bitnet_status jinja_run(struct jinja *jinja, const struct jinja_node *body)
{
    enum flow flow;
    return run_body(jinja, body, &flow);
}
