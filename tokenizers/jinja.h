/* A small Jinja for chat templates: what the templates of open models use, nothing that reaches out
 * of its input. Comes in: a template and values; goes out: text, or the error of a template that
 * raises one or uses what we do not know (it is named). Settings are transformers': trim_blocks and
 * lstrip_blocks on. Source: the Jinja 2 manual and Jinja2's own behaviour.
 *
 * A render has a budget: steps, depth, memory and output (reliability.md section 4). Everything
 * made on the way lies in one arena. jinja_parse.c makes the tree, jinja_run.c walks it,
 * jinja_filter.c has filters, tests and methods, jinja_value.c values and their spellings. */
#ifndef BITNET_TOKENIZERS_JINJA_H
#define BITNET_TOKENIZERS_JINJA_H

#include <bitnet/arena.h>
#include <bitnet/json.h>
#include <bitnet/text.h>

#define JINJA_MAX_SOURCE ((size_t)1 << 20)
#define JINJA_MAX_DEPTH  128
#define JINJA_MAX_STEPS  1000000u
#define JINJA_MAX_OUTPUT ((size_t)16 << 20)
#define JINJA_MAX_MEMORY ((size_t)64 << 20)

/* ------------------------------------------------------------------ values */

enum jinja_kind {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STR,
    JINJA_LIST,
    JINJA_DICT,
    JINJA_MACRO,
    JINJA_BUILTIN
};

struct jinja_value {
    enum jinja_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct bitnet_str text; /* STR; UNDEFINED: the name that was looked for */
        struct jinja_list *list;
        struct jinja_dict *dict;
        const struct jinja_node *macro;
        int builtin;
    } as;
};

struct jinja_list {
    struct jinja_value *at;
    size_t n;
};

struct jinja_pair {
    struct bitnet_str key;
    struct jinja_value value;
    struct jinja_pair *next;
};
struct jinja_dict {
    struct jinja_pair *first, *last; /* in the order they were put */
    size_t n;
    bool is_namespace; /* `set ns.x = ...` may write to it */
};

/* The state of one render; also what a parse needs. */
struct jinja {
    struct bitnet_arena arena;
    struct bitnet_str source;
    struct bitnet_buf *out;
    struct jinja_scope *scope;
    unsigned depth;
    uint32_t n_steps;
    struct bitnet_str date; /* what strftime_now gives */
    struct bitnet_error *err;
};

/* Memory in the arena; NULL when the budget is spent (jinja_memory makes the error). */
void *jinja_alloc(struct jinja *jinja, size_t n, size_t size);
enum bitnet_status jinja_memory(struct jinja *jinja);

struct jinja_value jinja_str(struct bitnet_str text);
struct jinja_value jinja_bool(bool boolean);
struct jinja_value jinja_int(int64_t integer);
enum bitnet_status jinja_new_list(struct jinja *jinja, size_t n, struct jinja_value *list);
enum bitnet_status jinja_new_dict(struct jinja *jinja, struct jinja_value *dict);
enum bitnet_status jinja_put(struct jinja *jinja, struct jinja_dict *dict, struct bitnet_str key,
                             struct jinja_value value);
/* NULL: there is none. */
struct jinja_value *jinja_get(const struct jinja_dict *dict, struct bitnet_str key);
/* A tree of JSON as values; its texts must outlive the render. */
enum bitnet_status jinja_from_json(struct jinja *jinja, const struct bitnet_json *json,
                                   struct jinja_value *value);

bool jinja_truth(struct jinja_value value);
bool jinja_equal(struct jinja_value a, struct jinja_value b, unsigned depth);
/* As Python's str() spells it; `as_repr`: texts in quotes, as within lists. */
bool jinja_print(struct jinja_value value, bool as_repr, unsigned depth, struct bitnet_buf *out);
/* As json.dumps(ensure_ascii=False) does; indent < 0: on one line. */
enum bitnet_status jinja_to_json(struct jinja *jinja, struct jinja_value value, int indent,
                                 unsigned depth, struct bitnet_buf *out);
/* The text of a buffer as a value; frees the buffer. */
enum bitnet_status jinja_keep(struct jinja *jinja, struct bitnet_buf *buf,
                              struct jinja_value *value);
/* "string", "list", ...: for messages. */
const char *jinja_kind_name(enum jinja_kind kind);

/* ------------------------------------------------------------------ the tree */

enum jinja_node_kind {
    /* statements */
    JINJA_TEXT,      /* text */
    JINJA_OUTPUT,    /* a */
    JINJA_IF,        /* a: condition, body, other */
    JINJA_FOR,       /* names: targets, a: what, b: condition or NULL, body, other */
    JINJA_SET,       /* names or (text: namespace, names: attribute), a or body */
    JINJA_MACRO_DEF, /* text: name, names: parameters with defaults in list, body */
    JINJA_BREAK,
    JINJA_CONTINUE,
    JINJA_BLOCK, /* body, nothing else */
    /* expressions */
    JINJA_LITERAL, /* value */
    JINJA_NAME,    /* text */
    JINJA_ATTR,    /* a.text */
    JINJA_ITEM,    /* a[b] */
    JINJA_SLICE,   /* a[b:c:d] */
    JINJA_CALL,    /* a(list, names) */
    JINJA_FILTER,  /* a|text(list, names) */
    JINJA_TEST,    /* a is text(list) */
    JINJA_NOT,
    JINJA_NEGATE,
    JINJA_AND,
    JINJA_OR,
    JINJA_COND,    /* a if b else c */
    JINJA_BINARY,  /* a op b */
    JINJA_COMPARE, /* a op b */
    JINJA_LIST_OF, /* list */
    JINJA_DICT_OF  /* list: key, value, key, value */
};

enum jinja_op {
    JINJA_ADD,
    JINJA_SUB,
    JINJA_MUL,
    JINJA_DIV,
    JINJA_FLOOR,
    JINJA_MOD,
    JINJA_CONCAT,
    JINJA_EQ,
    JINJA_NE,
    JINJA_LT,
    JINJA_LE,
    JINJA_GT,
    JINJA_GE,
    JINJA_IN,
    JINJA_NOT_IN
};

/* Children of one kind are linked through `next`. */
struct jinja_node {
    enum jinja_node_kind kind;
    enum jinja_op op;
    uint32_t line;
    bool negated; /* TEST */
    struct bitnet_str text;
    struct jinja_value value;
    const struct jinja_node *a, *b, *c, *d;
    const struct jinja_node *list;  /* arguments without a name, items */
    const struct jinja_node *names; /* arguments with one (text = a), targets */
    const struct jinja_node *body, *other;
    const struct jinja_node *next;
};

/* Parses jinja->source. FORMAT or UNSUPPORTED with the line. */
enum bitnet_status jinja_parse(struct jinja *jinja, const struct jinja_node **body);

/* ------------------------------------------------------------------ running */

struct jinja_scope {
    struct jinja_dict vars;
    struct jinja_scope *parent;
};

/* Arguments of a call. */
struct jinja_arguments {
    struct jinja_value at[8];
    size_t n;
    struct jinja_dict named;
};

enum bitnet_status jinja_run(struct jinja *jinja, const struct jinja_node *body);
enum bitnet_status jinja_error(struct jinja *jinja, const struct jinja_node *node,
                               enum bitnet_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Functions that are always there, as numbers of a value. */
enum builtin { BUILTIN_NAMESPACE, BUILTIN_RANGE, BUILTIN_RAISE, BUILTIN_DATE, BUILTIN_DICT };

/* Counts a step and a level of depth, which the caller takes back. */
enum bitnet_status jinja_enter(struct jinja *jinja, const struct jinja_node *node);
/* The value of a name; undefined when there is none. */
void jinja_name(struct jinja *jinja, struct bitnet_str name, struct jinja_value *value);
enum bitnet_status jinja_call_macro(struct jinja *jinja, const struct jinja_node *node,
                                    const struct jinja_node *macro,
                                    const struct jinja_arguments *arguments,
                                    struct jinja_value *value);
/* jinja_eval.c: the value of an expression. */
enum bitnet_status jinja_eval(struct jinja *jinja, const struct jinja_node *node,
                              struct jinja_value *value);

/* jinja_filter.c. `result` may be `subject`. */
enum bitnet_status jinja_filter(struct jinja *jinja, const struct jinja_node *node,
                                struct jinja_value subject, struct bitnet_str name,
                                const struct jinja_arguments *arguments,
                                struct jinja_value *result);
enum bitnet_status jinja_test(struct jinja *jinja, const struct jinja_node *node,
                              struct jinja_value subject, struct bitnet_str name,
                              const struct jinja_arguments *arguments, bool *result);
/* subject.name(arguments) */
enum bitnet_status jinja_method(struct jinja *jinja, const struct jinja_node *node,
                                struct jinja_value subject, struct bitnet_str name,
                                const struct jinja_arguments *arguments,
                                struct jinja_value *result);
enum bitnet_status jinja_compare(struct jinja *jinja, const struct jinja_node *node,
                                 enum jinja_op op, struct jinja_value a, struct jinja_value b,
                                 bool *result);
/* subject[from:to:step] as Python has it; a string or a list. */
enum bitnet_status jinja_slice(struct jinja *jinja, struct jinja_value subject, int64_t from,
                               int64_t to, int64_t step, struct jinja_value *value);
/* subject.name and subject[name]; undefined when there is none. */
enum bitnet_status jinja_attribute(struct jinja *jinja, const struct jinja_node *node,
                                   struct jinja_value subject, struct bitnet_str name,
                                   struct jinja_value *result);

#endif
