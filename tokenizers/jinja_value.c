/* Values of templates: making, comparing, spelling. See jinja.h. */
#include "jinja.h"

#include <inttypes.h>
#include <math.h>

void *jinja_alloc(struct jinja *jinja, size_t n, size_t size)
{
    size_t n_bytes;
    if (!bitnet_mul_size(n, size, &n_bytes) || n_bytes > JINJA_MAX_MEMORY ||
        jinja->arena.used_bytes > JINJA_MAX_MEMORY - n_bytes)
        return NULL;
    return bitnet_arena_alloc(&jinja->arena, n ? n : 1, size);
}

enum bitnet_status jinja_memory(struct jinja *jinja)
{
    return bitnet_fail(jinja->err, BITNET_LIMIT, "chat template: more than %zu bytes of memory",
                       JINJA_MAX_MEMORY);
}

struct jinja_value jinja_str(struct bitnet_str text)
{
    return (struct jinja_value){.kind = JINJA_STR, .as.text = text};
}

struct jinja_value jinja_bool(bool boolean)
{
    return (struct jinja_value){.kind = JINJA_BOOL, .as.boolean = boolean};
}

struct jinja_value jinja_int(int64_t integer)
{
    return (struct jinja_value){.kind = JINJA_INT, .as.integer = integer};
}

enum bitnet_status jinja_new_list(struct jinja *jinja, size_t n, struct jinja_value *list)
{
    struct jinja_list *made = jinja_alloc(jinja, 1, sizeof *made);
    if (made) made->at = jinja_alloc(jinja, n, sizeof *made->at);
    if (!made || !made->at) return jinja_memory(jinja);
    made->n = n;
    *list = (struct jinja_value){.kind = JINJA_LIST, .as.list = made};
    return BITNET_OK;
}

enum bitnet_status jinja_new_dict(struct jinja *jinja, struct jinja_value *dict)
{
    struct jinja_dict *made = jinja_alloc(jinja, 1, sizeof *made);
    if (!made) return jinja_memory(jinja);
    *dict = (struct jinja_value){.kind = JINJA_DICT, .as.dict = made};
    return BITNET_OK;
}

struct jinja_value *jinja_get(const struct jinja_dict *dict, struct bitnet_str key)
{
    for (struct jinja_pair *pair = dict->first; pair; pair = pair->next)
        if (bitnet_str_equal(pair->key, key)) return &pair->value;
    return NULL;
}

enum bitnet_status jinja_put(struct jinja *jinja, struct jinja_dict *dict, struct bitnet_str key,
                             struct jinja_value value)
{
    struct jinja_value *old = jinja_get(dict, key);
    if (old) {
        *old = value;
        return BITNET_OK;
    }
    struct jinja_pair *pair = jinja_alloc(jinja, 1, sizeof *pair);
    if (!pair) return jinja_memory(jinja);
    *pair = (struct jinja_pair){.key = key, .value = value};
    *(dict->last ? &dict->last->next : &dict->first) = pair;
    dict->last = pair;
    dict->n++;
    return BITNET_OK;
}

/* ------------------------------------------------------------------ from JSON */

static enum bitnet_status number_of(struct jinja *jinja, const struct bitnet_json *json,
                                    struct jinja_value *value)
{
    int64_t integer;
    double real;
    if (bitnet_json_as_i64(json, &integer)) {
        *value = jinja_int(integer);
        return BITNET_OK;
    }
    if (!bitnet_json_as_f64(json, &real))
        return bitnet_fail(jinja->err, BITNET_LIMIT, "line %" PRIu32 ": the number is out of range",
                           json->line);
    *value = (struct jinja_value){.kind = JINJA_FLOAT, .as.real = real};
    return BITNET_OK;
}

/* Nested at most as deep as bitnet_json_parse allows, 64. */
enum bitnet_status jinja_from_json(struct jinja *jinja, const struct bitnet_json *json,
                                   struct jinja_value *value)
{
    enum bitnet_status status = BITNET_OK;
    size_t i = 0;
    *value = (struct jinja_value){.kind = JINJA_NONE};
    switch (json->kind) {
    case BITNET_JSON_NULL:
        break;
    case BITNET_JSON_BOOL:
        *value = jinja_bool(json->boolean);
        break;
    case BITNET_JSON_STRING:
        *value = jinja_str(json->text);
        break;
    case BITNET_JSON_NUMBER:
        return number_of(jinja, json, value);
    case BITNET_JSON_ARRAY:
        status = jinja_new_list(jinja, json->n_children, value);
        for (const struct bitnet_json *c = json->child; c && !status; c = c->next)
            status = jinja_from_json(jinja, c, &value->as.list->at[i++]);
        break;
    case BITNET_JSON_OBJECT:
        status = jinja_new_dict(jinja, value);
        for (const struct bitnet_json *c = json->child; c && !status; c = c->next) {
            struct jinja_value member;
            status = jinja_from_json(jinja, c, &member);
            if (!status) status = jinja_put(jinja, value->as.dict, c->key, member);
        }
        break;
    }
    return status;
}

/* ------------------------------------------------------------------ truth and equality */

bool jinja_truth(struct jinja_value value)
{
    switch (value.kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return value.as.boolean;
    case JINJA_INT:
        return value.as.integer != 0;
    case JINJA_FLOAT:
        return value.as.real != 0;
    case JINJA_STR:
        return value.as.text.n != 0;
    case JINJA_LIST:
        return value.as.list->n != 0;
    case JINJA_DICT:
        return value.as.dict->n != 0 || value.as.dict->is_namespace;
    case JINJA_MACRO:
    case JINJA_BUILTIN:
        break;
    }
    return true;
}

static bool as_number(struct jinja_value value, double *number)
{
    if (value.kind == JINJA_BOOL) *number = value.as.boolean;
    if (value.kind == JINJA_INT) *number = (double)value.as.integer;
    if (value.kind == JINJA_FLOAT) *number = value.as.real;
    return value.kind == JINJA_BOOL || value.kind == JINJA_INT || value.kind == JINJA_FLOAT;
}

static bool equal_dicts(const struct jinja_dict *a, const struct jinja_dict *b, unsigned depth)
{
    if (a->n != b->n) return false;
    for (const struct jinja_pair *pair = a->first; pair; pair = pair->next) {
        const struct jinja_value *other = jinja_get(b, pair->key);
        if (!other || !jinja_equal(pair->value, *other, depth + 1)) return false;
    }
    return true;
}

bool jinja_equal(struct jinja_value a, struct jinja_value b, unsigned depth)
{
    double x, y;
    if (depth > JINJA_MAX_DEPTH) return false;
    if (as_number(a, &x) && as_number(b, &y)) return x == y;
    if (a.kind != b.kind) return false;
    if (a.kind == JINJA_STR) return bitnet_str_equal(a.as.text, b.as.text);
    if (a.kind == JINJA_DICT) return equal_dicts(a.as.dict, b.as.dict, depth);
    if (a.kind == JINJA_LIST) {
        if (a.as.list->n != b.as.list->n) return false;
        for (size_t i = 0; i < a.as.list->n; i++)
            if (!jinja_equal(a.as.list->at[i], b.as.list->at[i], depth + 1)) return false;
        return true;
    }
    return a.kind == JINJA_NONE || a.kind == JINJA_UNDEFINED ||
           (a.kind == JINJA_MACRO && a.as.macro == b.as.macro);
}

/* ------------------------------------------------------------------ spellings */

const char *jinja_kind_name(enum jinja_kind kind)
{
    static const char *const names[] = {"undefined", "none", "boolean", "integer", "float",
                                        "string",    "list", "mapping", "macro",   "function"};
    return names[kind];
}

/* The shortest decimal that reads back as the same number, with ".0" if it looks whole. */
static bool print_real(double real, struct bitnet_buf *out)
{
    char text[64];
    for (int digits = 1; digits <= 17; digits++) {
        double back;
        struct bitnet_buf buf = {.max = sizeof text};
        bool ok = bitnet_buf_printf(&buf, "%.*g", digits, real);
        if (!ok) return false;
        memcpy(text, buf.at, buf.n + 1);
        bitnet_buf_free(&buf);
        if (bitnet_parse_f64(bitnet_str_of(text), &back) && back == real) break;
    }
    bool whole = !strpbrk(text, ".einf");
    return bitnet_buf_add(out, text, strlen(text)) && (!whole || bitnet_buf_add(out, ".0", 2));
}

static bool print_quoted(struct bitnet_str text, struct bitnet_buf *out)
{
    char quote = memchr(text.at, '\'', text.n) && !memchr(text.at, '"', text.n) ? '"' : '\'';
    bool ok = bitnet_buf_add(out, &quote, 1);
    for (size_t i = 0; i < text.n && ok; i++) {
        char c = text.at[i];
        const char *escape = c == '\n'   ? "\\n"
                             : c == '\t' ? "\\t"
                             : c == '\r' ? "\\r"
                             : c == '\\' ? "\\\\"
                                         : NULL;
        if (c == quote && !escape) ok = bitnet_buf_add(out, "\\", 1);
        ok = ok && (escape ? bitnet_buf_add(out, escape, 2) : bitnet_buf_add(out, &c, 1));
    }
    return ok && bitnet_buf_add(out, &quote, 1);
}

static bool print_list(const struct jinja_list *list, unsigned depth, struct bitnet_buf *out)
{
    bool ok = bitnet_buf_add(out, "[", 1);
    for (size_t i = 0; i < list->n && ok; i++)
        ok = (!i || bitnet_buf_add(out, ", ", 2)) && jinja_print(list->at[i], true, depth + 1, out);
    return ok && bitnet_buf_add(out, "]", 1);
}

static bool print_dict(const struct jinja_dict *dict, unsigned depth, struct bitnet_buf *out)
{
    bool ok = bitnet_buf_add(out, "{", 1);
    for (const struct jinja_pair *p = dict->first; p && ok; p = p->next)
        ok = (p == dict->first || bitnet_buf_add(out, ", ", 2)) && print_quoted(p->key, out) &&
             bitnet_buf_add(out, ": ", 2) && jinja_print(p->value, true, depth + 1, out);
    return ok && bitnet_buf_add(out, "}", 1);
}

bool jinja_print(struct jinja_value value, bool as_repr, unsigned depth, struct bitnet_buf *out)
{
    if (depth > JINJA_MAX_DEPTH) return false;
    switch (value.kind) {
    case JINJA_UNDEFINED:
        return true;
    case JINJA_NONE:
        return bitnet_buf_add(out, "None", 4);
    case JINJA_BOOL:
        return bitnet_buf_printf(out, value.as.boolean ? "True" : "False");
    case JINJA_INT:
        return bitnet_buf_printf(out, "%" PRId64, value.as.integer);
    case JINJA_FLOAT:
        return print_real(value.as.real, out);
    case JINJA_STR:
        return as_repr ? print_quoted(value.as.text, out) : bitnet_buf_add_str(out, value.as.text);
    case JINJA_LIST:
        return print_list(value.as.list, depth, out);
    case JINJA_DICT:
        return print_dict(value.as.dict, depth, out);
    case JINJA_MACRO:
    case JINJA_BUILTIN:
        break;
    }
    return true;
}

static bool json_text(struct bitnet_str text, struct bitnet_buf *out)
{
    bool ok = bitnet_buf_add(out, "\"", 1);
    for (size_t i = 0; i < text.n && ok; i++) {
        uint8_t c = (uint8_t)text.at[i];
        const char *plain = c == '"'    ? "\\\""
                            : c == '\\' ? "\\\\"
                            : c == '\n' ? "\\n"
                            : c == '\r' ? "\\r"
                            : c == '\t' ? "\\t"
                            : c == '\b' ? "\\b"
                            : c == '\f' ? "\\f"
                                        : NULL;
        if (plain)
            ok = bitnet_buf_add(out, plain, 2);
        else
            ok = c < 0x20 ? bitnet_buf_printf(out, "\\u%04x", c) : bitnet_buf_add(out, &c, 1);
    }
    return ok && bitnet_buf_add(out, "\"", 1);
}

static bool json_break(int indent, unsigned depth, struct bitnet_buf *out)
{
    bool ok = indent < 0 || bitnet_buf_add(out, "\n", 1);
    for (unsigned i = 0; indent > 0 && ok && i < (unsigned)indent * depth; i++)
        ok = bitnet_buf_add(out, " ", 1);
    return ok;
}

/* What stands between two members. */
static bool json_comma(bool is_first, int indent, unsigned depth, struct bitnet_buf *out)
{
    return (is_first || bitnet_buf_add(out, indent < 0 ? ", " : ",", indent < 0 ? 2 : 1)) &&
           json_break(indent, depth, out);
}

static enum bitnet_status json_members(struct jinja *jinja, struct jinja_value value, int indent,
                                       unsigned depth, struct bitnet_buf *out)
{
    bool is_list = value.kind == JINJA_LIST, ok = bitnet_buf_add(out, is_list ? "[" : "{", 1);
    size_t n = is_list ? value.as.list->n : value.as.dict->n;
    const struct jinja_pair *pair = is_list ? NULL : value.as.dict->first;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < n && ok && !status; i++) {
        ok = json_comma(i == 0, indent, depth + 1, out);
        if (!is_list) ok = ok && json_text(pair->key, out) && bitnet_buf_add(out, ": ", 2);
        status = jinja_to_json(jinja, is_list ? value.as.list->at[i] : pair->value, indent,
                               depth + 1, out);
        if (!is_list) pair = pair->next;
    }
    ok =
        ok && (!n || json_break(indent, depth, out)) && bitnet_buf_add(out, is_list ? "]" : "}", 1);
    return status ? status : ok ? BITNET_OK : jinja_memory(jinja);
}

enum bitnet_status jinja_to_json(struct jinja *jinja, struct jinja_value value, int indent,
                                 unsigned depth, struct bitnet_buf *out)
{
    bool ok = true;
    if (depth > JINJA_MAX_DEPTH)
        return bitnet_fail(jinja->err, BITNET_LIMIT, "chat template: tojson nested too deep");
    switch (value.kind) {
    case JINJA_NONE:
        ok = bitnet_buf_add(out, "null", 4);
        break;
    case JINJA_BOOL:
        ok = bitnet_buf_printf(out, value.as.boolean ? "true" : "false");
        break;
    case JINJA_INT:
    case JINJA_FLOAT:
        ok = jinja_print(value, false, depth, out);
        break;
    case JINJA_STR:
        ok = json_text(value.as.text, out);
        break;
    case JINJA_LIST:
    case JINJA_DICT:
        return json_members(jinja, value, indent, depth, out);
    default:
        return bitnet_fail(jinja->err, BITNET_FORMAT, "chat template: tojson of %s",
                           jinja_kind_name(value.kind));
    }
    return ok ? BITNET_OK : jinja_memory(jinja);
}

enum bitnet_status jinja_keep(struct jinja *jinja, struct bitnet_buf *buf,
                              struct jinja_value *value)
{
    char *kept = buf->failed ? NULL : jinja_alloc(jinja, buf->n + 1, 1);
    if (kept && buf->n) memcpy(kept, buf->at, buf->n);
    *value = jinja_str((struct bitnet_str){kept, buf->n});
    bitnet_buf_free(buf);
    return kept ? BITNET_OK : jinja_memory(jinja);
}
