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

enum bitnet_status jinja_enter(struct jinja *jinja, const struct jinja_node *node)
{
    if (++jinja->n_steps > JINJA_MAX_STEPS)
        return jinja_error(jinja, node, BITNET_LIMIT, "more than %u steps", JINJA_MAX_STEPS);
    if (++jinja->depth > 4 * JINJA_MAX_DEPTH)
        return jinja_error(jinja, node, BITNET_LIMIT, "nested too deep");
    return BITNET_OK;
}

/* ------------------------------------------------------------------ names */

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

void jinja_name(struct jinja *jinja, struct bitnet_str name, struct jinja_value *value)
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

/* A macro sees the names around its definition's template, and its parameters. */
enum bitnet_status jinja_call_macro(struct jinja *jinja, const struct jinja_node *node,
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
            status = jinja_eval(jinja, p->a, &v);
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

/* ------------------------------------------------------------------ statements */

static enum bitnet_status run_output(struct jinja *jinja, const struct jinja_node *node)
{
    struct jinja_value value;
    enum bitnet_status status = jinja_eval(jinja, node->a, &value);
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
        if (!status) status = jinja_eval(jinja, node->b, &condition);
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
    enum bitnet_status status = jinja_eval(jinja, node->a, &items);
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
        status = jinja_eval(jinja, node->a, &value);
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
    enum bitnet_status status = jinja_eval(jinja, node->a, &condition);
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
        status = jinja_enter(jinja, node);
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
