/* Filters, tests, methods and comparisons of templates: one table each, one function per entry that
 * needs more than a line. See jinja.h. Unknown names are refused by name. */
#include "jinja.h"

#include <inttypes.h>

#include "normal.h"
#include "unicode.h"

static enum bitnet_status no_such(struct jinja *jinja, const struct jinja_node *node,
                                  const char *what, struct bitnet_str name,
                                  struct jinja_value subject)
{
    return jinja_error(jinja, node, BITNET_UNSUPPORTED, "%s %s of a %s is not supported", what,
                       BITNET_QUOTE(name), jinja_kind_name(subject.kind));
}

static struct jinja_value argument(const struct jinja_arguments *arguments, size_t i,
                                   const char *name)
{
    const struct jinja_value *named = jinja_get(&arguments->named, bitnet_str_of(name));
    if (i < arguments->n) return arguments->at[i];
    return named ? *named : (struct jinja_value){.kind = JINJA_UNDEFINED};
}

static bool text_argument(const struct jinja_arguments *arguments, size_t i, const char *name,
                          struct bitnet_str *text)
{
    struct jinja_value value = argument(arguments, i, name);
    if (value.kind == JINJA_STR) *text = value.as.text;
    return value.kind == JINJA_STR;
}

/* ------------------------------------------------------------------ slices and attributes */

static size_t count_characters(struct bitnet_str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) n += ((uint8_t)text.at[i] & 0xC0) != 0x80;
    return n;
}

/* Characters of a string as a list of strings. */
static enum bitnet_status characters(struct jinja *jinja, struct bitnet_str text,
                                     struct jinja_value *list)
{
    enum bitnet_status status = jinja_new_list(jinja, count_characters(text), list);
    size_t at = 0;
    for (size_t i = 0; !status && i < list->as.list->n; i++) {
        size_t end = at + 1;
        while (end < text.n && ((uint8_t)text.at[end] & 0xC0) == 0x80) end++;
        list->as.list->at[i] = jinja_str((struct bitnet_str){text.at + at, end - at});
        at = end;
    }
    return status;
}

static enum bitnet_status join(struct jinja *jinja, const struct jinja_list *list,
                               struct bitnet_str separator, struct jinja_value *value)
{
    struct bitnet_buf buf = {.max = JINJA_MAX_OUTPUT};
    bool ok = bitnet_buf_add(&buf, "", 0);
    for (size_t i = 0; i < list->n && ok; i++)
        ok =
            (!i || bitnet_buf_add_str(&buf, separator)) && jinja_print(list->at[i], false, 0, &buf);
    if (ok) return jinja_keep(jinja, &buf, value);
    bitnet_buf_free(&buf);
    return jinja_memory(jinja);
}

static int64_t clip(int64_t i, int64_t n, int64_t low, int64_t high)
{
    if (i < 0 && i != INT64_MIN) i += n;
    return i < low ? low : i > high ? high : i;
}

enum bitnet_status jinja_slice(struct jinja *jinja, struct jinja_value subject, int64_t from,
                               int64_t to, int64_t step, struct jinja_value *value)
{
    struct jinja_value items = subject, made;
    enum bitnet_status status = BITNET_OK;
    bool is_text = subject.kind == JINJA_STR;
    if (is_text) status = characters(jinja, subject.as.text, &items);
    if (status) return status;
    int64_t n = (int64_t)items.as.list->n;
    from = step < 0 ? clip(from, n, -1, n - 1) : clip(from, n, 0, n);
    to = step < 0 ? clip(to, n, -1, n - 1) : clip(to, n, 0, n);
    status = jinja_new_list(jinja, items.as.list->n, &made);
    if (status) return status;
    made.as.list->n = 0;
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
        made.as.list->at[made.as.list->n++] = items.as.list->at[i];
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    *value = made;
    return is_text ? join(jinja, made.as.list, BITNET_STR(""), value) : BITNET_OK;
}

enum bitnet_status jinja_attribute(struct jinja *jinja, const struct jinja_node *node,
                                   struct jinja_value subject, struct bitnet_str name,
                                   struct jinja_value *result)
{
    (void)jinja;
    (void)node;
    const struct jinja_value *found =
        subject.kind == JINJA_DICT ? jinja_get(subject.as.dict, name) : NULL;
    *result = found ? *found : (struct jinja_value){.kind = JINJA_UNDEFINED, .as.text = name};
    return BITNET_OK;
}

/* ------------------------------------------------------------------ comparing */

static bool contains(struct bitnet_str text, struct bitnet_str what)
{
    return !what.n || (text.n >= what.n && memmem(text.at, text.n, what.at, what.n));
}

static enum bitnet_status is_in(struct jinja *jinja, const struct jinja_node *node,
                                struct jinja_value a, struct jinja_value b, bool *result)
{
    *result = false;
    if (b.kind == JINJA_STR && a.kind == JINJA_STR)
        *result = contains(b.as.text, a.as.text);
    else if (b.kind == JINJA_DICT)
        *result = a.kind == JINJA_STR && jinja_get(b.as.dict, a.as.text);
    else if (b.kind == JINJA_LIST)
        for (size_t i = 0; i < b.as.list->n && !*result; i++)
            *result = jinja_equal(a, b.as.list->at[i], 0);
    else if (b.kind != JINJA_UNDEFINED)
        return jinja_error(jinja, node, BITNET_FORMAT, "'in' of a %s", jinja_kind_name(b.kind));
    return BITNET_OK;
}

static bool real_of(struct jinja_value value, double *real)
{
    *real = value.kind == JINJA_FLOAT ? value.as.real
            : value.kind == JINJA_INT ? (double)value.as.integer
                                      : (double)(value.kind == JINJA_BOOL && value.as.boolean);
    return value.kind == JINJA_FLOAT || value.kind == JINJA_INT || value.kind == JINJA_BOOL;
}

enum bitnet_status jinja_compare(struct jinja *jinja, const struct jinja_node *node,
                                 enum jinja_op op, struct jinja_value a, struct jinja_value b,
                                 bool *result)
{
    double x, y;
    int order;
    enum bitnet_status status;
    *result = false;
    if (op == JINJA_EQ || op == JINJA_NE) {
        *result = jinja_equal(a, b, 0) == (op == JINJA_EQ);
        return BITNET_OK;
    }
    if (op == JINJA_IN || op == JINJA_NOT_IN) {
        status = is_in(jinja, node, a, b, result);
        *result = *result == (op == JINJA_IN);
        return status;
    }
    if (real_of(a, &x) && real_of(b, &y)) {
        order = x < y ? -1 : x > y;
    } else if (a.kind == JINJA_STR && b.kind == JINJA_STR) {
        size_t n = a.as.text.n < b.as.text.n ? a.as.text.n : b.as.text.n;
        order = n ? memcmp(a.as.text.at, b.as.text.at, n) : 0;
        if (!order) order = a.as.text.n < b.as.text.n ? -1 : a.as.text.n > b.as.text.n;
    } else {
        return jinja_error(jinja, node, BITNET_FORMAT, "a %s and a %s have no order",
                           jinja_kind_name(a.kind), jinja_kind_name(b.kind));
    }
    *result = op == JINJA_LT   ? order < 0
              : op == JINJA_LE ? order <= 0
              : op == JINJA_GT ? order > 0
                               : order >= 0;
    return BITNET_OK;
}

/* ------------------------------------------------------------------ tests */

static bool is_number(struct jinja_value value)
{
    return value.kind == JINJA_INT || value.kind == JINJA_FLOAT || value.kind == JINJA_BOOL;
}

static bool has_items(struct jinja_value value)
{
    return value.kind == JINJA_LIST || value.kind == JINJA_DICT || value.kind == JINJA_STR ||
           value.kind == JINJA_UNDEFINED;
}

/* Truth values are numbers to Python. */
static bool is_odd(struct jinja_value value, bool want)
{
    if (value.kind == JINJA_BOOL) return value.as.boolean == want;
    return value.kind == JINJA_INT && (value.as.integer % 2 != 0) == want;
}

static bool kind_test(struct bitnet_str name, struct jinja_value v, bool *result)
{
    const struct {
        const char *name;
        bool result;
    } tests[] = {
        {"defined", v.kind != JINJA_UNDEFINED},
        {"undefined", v.kind == JINJA_UNDEFINED},
        {"none", v.kind == JINJA_NONE},
        {"boolean", v.kind == JINJA_BOOL},
        {"integer", v.kind == JINJA_INT},
        {"float", v.kind == JINJA_FLOAT},
        {"number", is_number(v)},
        {"string", v.kind == JINJA_STR},
        {"mapping", v.kind == JINJA_DICT},
        {"sequence", has_items(v)},
        {"iterable", has_items(v)},
        {"callable", v.kind == JINJA_MACRO || v.kind == JINJA_BUILTIN},
        {"true", v.kind == JINJA_BOOL && v.as.boolean},
        {"false", v.kind == JINJA_BOOL && !v.as.boolean},
        {"odd", is_odd(v, true)},
        {"even", is_odd(v, false)},
    };
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        if (bitnet_str_is(name, tests[i].name)) {
            *result = tests[i].result;
            return true;
        }
    return false;
}

enum bitnet_status jinja_test(struct jinja *jinja, const struct jinja_node *node,
                              struct jinja_value subject, struct bitnet_str name,
                              const struct jinja_arguments *arguments, bool *result)
{
    static const struct {
        const char *name;
        enum jinja_op op;
    } comparisons[] = {
        {"equalto", JINJA_EQ}, {"eq", JINJA_EQ}, {"==", JINJA_EQ}, {"sameas", JINJA_EQ},
        {"ne", JINJA_NE},      {"!=", JINJA_NE}, {"lt", JINJA_LT}, {"lessthan", JINJA_LT},
        {"le", JINJA_LE},      {"gt", JINJA_GT}, {"ge", JINJA_GE}, {"greaterthan", JINJA_GT},
        {"in", JINJA_IN},
    };
    if (kind_test(name, subject, result)) return BITNET_OK;
    for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++)
        if (bitnet_str_is(name, comparisons[i].name))
            return jinja_compare(jinja, node, comparisons[i].op, subject,
                                 argument(arguments, 0, "other"), result);
    return no_such(jinja, node, "test", name, subject);
}

/* ------------------------------------------------------------------ strings */

static bool is_strip_char(struct bitnet_str rest, struct bitnet_str chars, bool has_chars,
                          size_t *length)
{
    uint32_t c = 0;
    *length = bitnet_utf8_decode(rest.at, rest.n, &c);
    if (!*length) return false;
    if (!has_chars) return unicode_bits(c) & UNICODE_WHITE || (c >= 0x1C && c <= 0x1F);
    return memmem(chars.at, chars.n, rest.at, *length) != NULL;
}

static struct bitnet_str strip(struct bitnet_str text, const struct jinja_arguments *arguments,
                               bool left, bool right)
{
    struct bitnet_str chars = {0};
    size_t length;
    bool has_chars = text_argument(arguments, 0, "chars", &chars);
    while (left && text.n && is_strip_char(text, chars, has_chars, &length)) {
        text.at += length;
        text.n -= length;
    }
    while (right && text.n) {
        size_t last = text.n - 1;
        while (last && ((uint8_t)text.at[last] & 0xC0) == 0x80) last--;
        if (!is_strip_char((struct bitnet_str){text.at + last, text.n - last}, chars, has_chars,
                           &length))
            break;
        text.n = last;
    }
    return text;
}

enum letter_case { CASE_LOWER, CASE_UPPER, CASE_CAPITAL, CASE_TITLE };

static enum bitnet_status change_case(struct jinja *jinja, struct bitnet_str text,
                                      enum letter_case to, struct jinja_value *value)
{
    struct bitnet_buf out = {.max = JINJA_MAX_OUTPUT};
    bool ok = bitnet_buf_add(&out, "", 0), in_word = false;
    for (size_t at = 0; at < text.n && ok;) {
        uint32_t c = 0xFFFD, lower[2];
        size_t length = bitnet_utf8_decode(text.at + at, text.n - at, &c);
        bool first = to == CASE_CAPITAL ? at == 0 : !in_word;
        bool up = to == CASE_UPPER || (to != CASE_LOWER && first);
        bool is_letter = (unicode_bits(c) & UNICODE_L) != 0;
        size_t n = 1;
        if (!length) length = 1;
        lower[0] = normal_upper(c);
        if (!up) n = normal_lower(c, lower);
        for (size_t i = 0; i < n && ok; i++) {
            char bytes[4];
            ok = bitnet_buf_add(&out, bytes, unicode_encode_lenient(lower[i], bytes));
        }
        in_word = is_letter;
        at += length;
    }
    if (ok) return jinja_keep(jinja, &out, value);
    bitnet_buf_free(&out);
    return jinja_memory(jinja);
}

static enum bitnet_status replace(struct jinja *jinja, const struct jinja_node *node,
                                  struct bitnet_str text, const struct jinja_arguments *arguments,
                                  struct jinja_value *value)
{
    struct bitnet_str from = {0}, to = {0};
    struct bitnet_buf out = {.max = JINJA_MAX_OUTPUT};
    if (!text_argument(arguments, 0, "old", &from) || !text_argument(arguments, 1, "new", &to) ||
        !from.n || arguments->n > 2)
        return jinja_error(jinja, node, BITNET_UNSUPPORTED, "these arguments of 'replace'");
    bool ok = bitnet_buf_add(&out, "", 0);
    for (size_t at = 0; ok && at <= text.n;) {
        const char *found =
            text.n - at >= from.n ? memmem(text.at + at, text.n - at, from.at, from.n) : NULL;
        size_t end = found ? (size_t)(found - text.at) : text.n;
        ok = bitnet_buf_add(&out, text.at + at, end - at) &&
             (!found || bitnet_buf_add_str(&out, to));
        if (!found) break;
        at = end + from.n;
    }
    if (ok) return jinja_keep(jinja, &out, value);
    bitnet_buf_free(&out);
    return jinja_memory(jinja);
}

/* split(), which cuts at white space, and split(separator, maxsplit). */
static enum bitnet_status split(struct jinja *jinja, const struct jinja_node *node,
                                struct bitnet_str text, const struct jinja_arguments *arguments,
                                struct jinja_value *value)
{
    struct bitnet_str by = {0};
    struct jinja_value max = argument(arguments, 1, "maxsplit");
    int64_t left = max.kind == JINJA_INT && max.as.integer >= 0 ? max.as.integer : INT64_MAX;
    bool at_white = !text_argument(arguments, 0, "sep", &by);
    size_t cap = text.n + 2;
    if (!at_white && !by.n) return jinja_error(jinja, node, BITNET_FORMAT, "an empty separator");
    enum bitnet_status status = jinja_new_list(jinja, cap, value);
    if (status) return status;
    struct jinja_list *list = value->as.list;
    list->n = 0;
    for (size_t at = 0, end, length = 0; at <= text.n;) {
        while (at_white && at < text.n &&
               is_strip_char((struct bitnet_str){text.at + at, text.n - at}, by, false, &length))
            at += length;
        if (at_white && at == text.n) break;
        for (end = at; end < text.n; end++) {
            struct bitnet_str rest = {text.at + end, text.n - end};
            if (left && (at_white ? is_strip_char(rest, by, false, &length)
                                  : rest.n >= by.n && memcmp(rest.at, by.at, by.n) == 0))
                break;
        }
        list->at[list->n++] = jinja_str((struct bitnet_str){text.at + at, end - at});
        if (end == text.n) break;
        left--;
        at = end + (at_white ? length : by.n);
    }
    return BITNET_OK;
}

static bool starts_or_ends(struct bitnet_str text, struct bitnet_str what, bool at_end)
{
    return text.n >= what.n &&
           (!what.n || memcmp(at_end ? text.at + text.n - what.n : text.at, what.at, what.n) == 0);
}

static enum bitnet_status string_method(struct jinja *jinja, const struct jinja_node *node,
                                        struct jinja_value subject, struct bitnet_str name,
                                        const struct jinja_arguments *arguments,
                                        struct jinja_value *result)
{
    struct bitnet_str text = subject.as.text, what = {0};
    bool starts = bitnet_str_is(name, "startswith"), ends = bitnet_str_is(name, "endswith");
    if (bitnet_str_is(name, "strip") || bitnet_str_is(name, "lstrip") ||
        bitnet_str_is(name, "rstrip")) {
        *result = jinja_str(strip(text, arguments, name.at[0] != 'r', name.at[0] != 'l'));
        return BITNET_OK;
    }
    if (bitnet_str_is(name, "lower")) return change_case(jinja, text, CASE_LOWER, result);
    if (bitnet_str_is(name, "upper")) return change_case(jinja, text, CASE_UPPER, result);
    if (bitnet_str_is(name, "title")) return change_case(jinja, text, CASE_TITLE, result);
    if (bitnet_str_is(name, "capitalize")) return change_case(jinja, text, CASE_CAPITAL, result);
    if (bitnet_str_is(name, "replace")) return replace(jinja, node, text, arguments, result);
    if (bitnet_str_is(name, "split")) return split(jinja, node, text, arguments, result);
    if ((starts || ends) && text_argument(arguments, 0, "prefix", &what)) {
        *result = jinja_bool(starts_or_ends(text, what, ends));
        return BITNET_OK;
    }
    if (bitnet_str_is(name, "join") && arguments->n && arguments->at[0].kind == JINJA_LIST)
        return join(jinja, arguments->at[0].as.list, text, result);
    return no_such(jinja, node, "method", name, subject);
}

/* ------------------------------------------------------------------ mappings */

enum part { PART_KEYS, PART_VALUES, PART_ITEMS };

static enum bitnet_status parts_of(struct jinja *jinja, const struct jinja_dict *dict,
                                   enum part part, struct jinja_value *list)
{
    enum bitnet_status status = jinja_new_list(jinja, dict->n, list);
    size_t i = 0;
    for (const struct jinja_pair *p = dict->first; p && !status; p = p->next, i++) {
        struct jinja_value pair;
        if (part != PART_ITEMS) {
            list->as.list->at[i] = part == PART_KEYS ? jinja_str(p->key) : p->value;
            continue;
        }
        status = jinja_new_list(jinja, 2, &pair);
        if (status) break;
        pair.as.list->at[0] = jinja_str(p->key);
        pair.as.list->at[1] = p->value;
        list->as.list->at[i] = pair;
    }
    return status;
}

static enum bitnet_status dict_method(struct jinja *jinja, const struct jinja_node *node,
                                      struct jinja_value subject, struct bitnet_str name,
                                      const struct jinja_arguments *arguments,
                                      struct jinja_value *result)
{
    const struct jinja_dict *dict = subject.as.dict;
    struct bitnet_str key;
    if (bitnet_str_is(name, "items")) return parts_of(jinja, dict, PART_ITEMS, result);
    if (bitnet_str_is(name, "keys")) return parts_of(jinja, dict, PART_KEYS, result);
    if (bitnet_str_is(name, "values")) return parts_of(jinja, dict, PART_VALUES, result);
    if (bitnet_str_is(name, "get") && text_argument(arguments, 0, "key", &key)) {
        const struct jinja_value *found = jinja_get(dict, key);
        struct jinja_value other = argument(arguments, 1, "default");
        if (other.kind == JINJA_UNDEFINED) other.kind = JINJA_NONE;
        *result = found ? *found : other;
        return BITNET_OK;
    }
    return no_such(jinja, node, "method", name, subject);
}

enum bitnet_status jinja_method(struct jinja *jinja, const struct jinja_node *node,
                                struct jinja_value subject, struct bitnet_str name,
                                const struct jinja_arguments *arguments, struct jinja_value *result)
{
    if (subject.kind == JINJA_STR)
        return string_method(jinja, node, subject, name, arguments, result);
    if (subject.kind == JINJA_DICT)
        return dict_method(jinja, node, subject, name, arguments, result);
    if (subject.kind == JINJA_UNDEFINED)
        return jinja_error(jinja, node, BITNET_FORMAT, "%s is undefined",
                           BITNET_QUOTE(subject.as.text));
    return no_such(jinja, node, "method", name, subject);
}

/* ------------------------------------------------------------------ filters over lists */

/* select, reject, selectattr, rejectattr: items for which a test holds (or does not). */
static enum bitnet_status select_items(struct jinja *jinja, const struct jinja_node *node,
                                       const struct jinja_list *list,
                                       const struct jinja_arguments *arguments, bool by_attribute,
                                       bool keep, struct jinja_value *result)
{
    struct bitnet_str attribute = {0}, test = {0};
    size_t first = by_attribute ? 1 : 0;
    struct jinja_arguments rest = {0};
    if (by_attribute && !text_argument(arguments, 0, "attribute", &attribute))
        return jinja_error(jinja, node, BITNET_FORMAT, "an attribute is missing");
    bool has_test = text_argument(arguments, first, "test", &test);
    for (size_t i = first + 1; i < arguments->n; i++) rest.at[rest.n++] = arguments->at[i];
    enum bitnet_status status = jinja_new_list(jinja, list->n, result);
    if (status) return status;
    result->as.list->n = 0;
    for (size_t i = 0; i < list->n && !status; i++) {
        struct jinja_value subject = list->at[i];
        if (by_attribute) status = jinja_attribute(jinja, node, subject, attribute, &subject);
        bool holds = jinja_truth(subject);
        if (!status && has_test) status = jinja_test(jinja, node, subject, test, &rest, &holds);
        if (!status && holds == keep) result->as.list->at[result->as.list->n++] = list->at[i];
    }
    return status;
}

/* map(attribute="x") or map("filter"). */
static enum bitnet_status map_items(struct jinja *jinja, const struct jinja_node *node,
                                    const struct jinja_list *list,
                                    const struct jinja_arguments *arguments,
                                    struct jinja_value *result)
{
    const struct jinja_value *attribute = jinja_get(&arguments->named, BITNET_STR("attribute"));
    struct bitnet_str name = {0};
    struct jinja_arguments rest = {0};
    bool has_filter = text_argument(arguments, 0, "filter", &name);
    for (size_t i = 1; i < arguments->n; i++) rest.at[rest.n++] = arguments->at[i];
    if ((!attribute || attribute->kind != JINJA_STR) && !has_filter)
        return jinja_error(jinja, node, BITNET_UNSUPPORTED, "these arguments of 'map'");
    enum bitnet_status status = jinja_new_list(jinja, list->n, result);
    for (size_t i = 0; i < list->n && !status; i++)
        status = has_filter
                     ? jinja_filter(jinja, node, list->at[i], name, &rest, &result->as.list->at[i])
                     : jinja_attribute(jinja, node, list->at[i], attribute->as.text,
                                       &result->as.list->at[i]);
    return status;
}

static enum bitnet_status list_filter(struct jinja *jinja, const struct jinja_node *node,
                                      struct jinja_value subject, struct bitnet_str name,
                                      const struct jinja_arguments *arguments,
                                      struct jinja_value *result)
{
    const struct jinja_list *list = subject.as.list;
    struct bitnet_str separator = BITNET_STR("");
    bool by_attribute = bitnet_str_ends(name, "attr"), keep = bitnet_str_starts(name, "select");
    if (bitnet_str_is(name, "join")) {
        (void)text_argument(arguments, 0, "d", &separator);
        return join(jinja, list, separator, result);
    }
    if (bitnet_str_is(name, "first") || bitnet_str_is(name, "last")) {
        *result = (struct jinja_value){.kind = JINJA_UNDEFINED, .as.text = name};
        if (list->n) *result = list->at[name.at[0] == 'f' ? 0 : list->n - 1];
        return BITNET_OK;
    }
    if (bitnet_str_is(name, "reverse"))
        return jinja_slice(jinja, subject, INT64_MAX, INT64_MIN, -1, result);
    if (bitnet_str_is(name, "map")) return map_items(jinja, node, list, arguments, result);
    if (keep || bitnet_str_starts(name, "reject"))
        return select_items(jinja, node, list, arguments, by_attribute, keep, result);
    return no_such(jinja, node, "filter", name, subject);
}

/* ------------------------------------------------------------------ filters */

static enum bitnet_status length_of(struct jinja *jinja, const struct jinja_node *node,
                                    struct jinja_value subject, struct jinja_value *result)
{
    size_t n = 0;
    if (subject.kind == JINJA_STR) n = count_characters(subject.as.text);
    if (subject.kind == JINJA_LIST) n = subject.as.list->n;
    if (subject.kind == JINJA_DICT) n = subject.as.dict->n;
    if (subject.kind != JINJA_STR && subject.kind != JINJA_LIST && subject.kind != JINJA_DICT &&
        subject.kind != JINJA_UNDEFINED)
        return jinja_error(jinja, node, BITNET_FORMAT, "a %s has no length",
                           jinja_kind_name(subject.kind));
    *result = jinja_int((int64_t)n);
    return BITNET_OK;
}

static enum bitnet_status to_json(struct jinja *jinja, struct jinja_value subject,
                                  const struct jinja_arguments *arguments,
                                  struct jinja_value *result)
{
    struct jinja_value indent = argument(arguments, 0, "indent");
    struct bitnet_buf out = {.max = JINJA_MAX_OUTPUT};
    bool has_indent = indent.kind == JINJA_INT && indent.as.integer >= 0 && indent.as.integer < 64;
    enum bitnet_status status =
        jinja_to_json(jinja, subject, has_indent ? (int)indent.as.integer : -1, 0, &out);
    if (!status) return jinja_keep(jinja, &out, result);
    bitnet_buf_free(&out);
    return status;
}

static enum bitnet_status to_list(struct jinja *jinja, const struct jinja_node *node,
                                  struct jinja_value subject, struct jinja_value *result)
{
    if (subject.kind == JINJA_STR) return characters(jinja, subject.as.text, result);
    if (subject.kind == JINJA_DICT) return parts_of(jinja, subject.as.dict, PART_KEYS, result);
    if (subject.kind == JINJA_UNDEFINED) return jinja_new_list(jinja, 0, result);
    if (subject.kind == JINJA_LIST) return jinja_slice(jinja, subject, 0, INT64_MAX, 1, result);
    return jinja_error(jinja, node, BITNET_FORMAT, "a %s has no items",
                       jinja_kind_name(subject.kind));
}

static enum bitnet_status to_string(struct jinja *jinja, struct jinja_value subject,
                                    struct jinja_value *result)
{
    struct bitnet_buf out = {.max = JINJA_MAX_OUTPUT};
    if (bitnet_buf_add(&out, "", 0) && jinja_print(subject, false, 0, &out))
        return jinja_keep(jinja, &out, result);
    bitnet_buf_free(&out);
    return jinja_memory(jinja);
}

static enum bitnet_status to_integer(struct jinja_value subject, struct jinja_value *result)
{
    double real;
    int64_t integer = 0;
    if (real_of(subject, &real) && real > -9e18 && real < 9e18) integer = (int64_t)real;
    if (subject.kind == JINJA_INT) integer = subject.as.integer;
    if (subject.kind == JINJA_STR) (void)bitnet_parse_i64(subject.as.text, &integer);
    *result = jinja_int(integer);
    return BITNET_OK;
}

enum bitnet_status jinja_filter(struct jinja *jinja, const struct jinja_node *node,
                                struct jinja_value subject, struct bitnet_str name,
                                const struct jinja_arguments *arguments, struct jinja_value *result)
{
    if (bitnet_str_is(name, "default") || bitnet_str_is(name, "d")) {
        struct jinja_value other = argument(arguments, 0, "default_value");
        bool also_false = jinja_truth(argument(arguments, 1, "boolean"));
        bool use = subject.kind == JINJA_UNDEFINED || (also_false && !jinja_truth(subject));
        if (other.kind == JINJA_UNDEFINED) other = jinja_str(BITNET_STR(""));
        *result = use ? other : subject;
        return BITNET_OK;
    }
    if (bitnet_str_is(name, "length") || bitnet_str_is(name, "count"))
        return length_of(jinja, node, subject, result);
    if (bitnet_str_is(name, "list")) return to_list(jinja, node, subject, result);
    if (bitnet_str_is(name, "tojson")) return to_json(jinja, subject, arguments, result);
    if (bitnet_str_is(name, "string")) return to_string(jinja, subject, result);
    if (bitnet_str_is(name, "int")) return to_integer(subject, result);
    if (bitnet_str_is(name, "safe")) {
        *result = subject;
        return BITNET_OK;
    }
    if (bitnet_str_is(name, "items") && subject.kind == JINJA_DICT)
        return parts_of(jinja, subject.as.dict, PART_ITEMS, result);
    if (bitnet_str_is(name, "trim") || bitnet_str_is(name, "capitalize") ||
        bitnet_str_is(name, "upper") || bitnet_str_is(name, "lower") ||
        bitnet_str_is(name, "title") || bitnet_str_is(name, "replace")) {
        struct jinja_value text;
        enum bitnet_status status = to_string(jinja, subject, &text);
        if (bitnet_str_is(name, "trim")) name = BITNET_STR("strip");
        return status ? status : string_method(jinja, node, text, name, arguments, result);
    }
    if (subject.kind == JINJA_UNDEFINED)
        return jinja_error(jinja, node, BITNET_FORMAT, "%s is undefined",
                           BITNET_QUOTE(subject.as.text));
    if (subject.kind == JINJA_LIST)
        return list_filter(jinja, node, subject, name, arguments, result);
    if (subject.kind == JINJA_STR || subject.kind == JINJA_DICT) {
        struct jinja_value list;
        enum bitnet_status status = to_list(jinja, node, subject, &list);
        return status ? status : list_filter(jinja, node, list, name, arguments, result);
    }
    return no_such(jinja, node, "filter", name, subject);
}
