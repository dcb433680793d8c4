/* JSON (RFC 8259) -> a tree in an arena. One loop over the text, no recursion: where the parser is
 * in the tree is a stack of open containers with a fixed ceiling. Strings without escapes stay
 * where they are in the text; others are unescaped into the arena. Every refusal names line and
 * column (in bytes, from 1).
 *
 * Duplicate keys are looked for when an object closes: small ones by comparing all pairs, larger
 * ones through a hash table, so that an object of 100 000 keys costs no more than its length. */
#include "bitnet/json.h"

#include <inttypes.h>
#include <limits.h>

#include "bitnet/alloc.h"
#include "bitnet/text.h"

enum {
    NODES_MAX = 8000000,
    DEPTH_MAX = 64,
    DEPTH_CEILING = 1024, /* no limit asked for may be larger: the stack below has this size */
    NUMBER_CHARS_MAX = 400,
    FEW_KEYS = 8,
    /* A value of two bytes ("0,") becomes a node of eighty. So that a hostile file cannot take
     * memory out of proportion, all that parsing takes is at most 64 MiB and 16 times the text: 14
     * times as the arena counts, which rounds what it gives up to 16 bytes. */
    MEMORY_BASE = 60 << 20,
    MEMORY_FACTOR = 14,
    KEY_BYTES = 4 * sizeof(struct bitnet_map_slot) /* of a hash table that is growing */
};

struct parser {
    const char *at, *end;
    const char *line_start;
    uint32_t line;
    struct bitnet_arena *arena;
    struct bitnet_error *err;
    size_t n_nodes, max_nodes;
    size_t max_arena_bytes;
    unsigned depth, max_depth;
    struct bitnet_json *open[DEPTH_CEILING]; /* open[depth - 1]: the innermost container */
    struct bitnet_json *last[DEPTH_CEILING]; /* its last child */
};

/* --- errors --- */

static uint32_t column_of(const struct parser *p, const char *at)
{
    size_t column = (size_t)(at - p->line_start) + 1;
    return column < UINT32_MAX ? (uint32_t)column : UINT32_MAX;
}

static enum bitnet_status fail_at(const struct parser *p, const char *place,
                                  enum bitnet_status status, const char *what)
{
    return bitnet_fail(p->err, status, "line %" PRIu32 " column %" PRIu32 ": %s", p->line,
                       column_of(p, place), what);
}

/* "expected ':', found '}'", or that the file ends. */
static enum bitnet_status fail_expected(const struct parser *p, const char *expected)
{
    if (p->at == p->end)
        return bitnet_fail(p->err, BITNET_FORMAT,
                           "line %" PRIu32 " column %" PRIu32 ": file ends, expected %s", p->line,
                           column_of(p, p->at), expected);
    return bitnet_fail(
        p->err, BITNET_FORMAT, "line %" PRIu32 " column %" PRIu32 ": expected %s, found %s",
        p->line, column_of(p, p->at), expected, BITNET_QUOTE(((struct bitnet_str){p->at, 1})));
}

static enum bitnet_status fail_memory(const struct parser *p)
{
    return bitnet_fail(p->err, BITNET_MEMORY, "line %" PRIu32 ": out of memory", p->line);
}

/* LIMIT when the tree and `more` bytes beside it are out of proportion to the text. */
static enum bitnet_status check_memory(const struct parser *p, size_t more)
{
    if (p->arena->used_bytes + more <= p->max_arena_bytes) return BITNET_OK;
    return fail_at(p, p->at, BITNET_LIMIT, "so many values take more than 16 times the text");
}

/* --- strings --- */

static void skip_space(struct parser *p)
{
    for (; p->at < p->end; p->at++) {
        if (*p->at == '\n') {
            p->line++;
            p->line_start = p->at + 1;
        } else if (*p->at != ' ' && *p->at != '\t' && *p->at != '\r') {
            return;
        }
    }
}

/* Skips what needs no look: ASCII but quote, backslash and control characters, eight at a time.
 * (x - 0x01..) & ~x & 0x80.. marks the bytes of x that are zero, maybe also later ones; here any
 * mark only means "look closer". */
static const char *skip_plain(const char *at, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    for (; end - at >= 8; at += 8) {
        uint64_t x = bitnet_load_u64(at), quote = x ^ ones * '"', slash = x ^ ones * '\\';
        uint64_t special = (quote - ones) | (slash - ones) | (x - ones * 0x20) | x;
        if (special & highs) break;
    }
    return at;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The number after "\u" at `at`, or -1. */
static int32_t hex4(const char *at, const char *end)
{
    int32_t value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

static bool is_high_surrogate(int32_t unit)
{
    return unit >= 0xD800 && unit < 0xDC00;
}

static bool is_low_surrogate(int32_t unit)
{
    return unit >= 0xDC00 && unit < 0xE000;
}

/* Checks the escape at *at (a backslash) and moves behind it. */
static enum bitnet_status check_escape(const struct parser *p, const char **at)
{
    const char *e = *at;
    if (p->end - e < 2) return fail_at(p, p->end, BITNET_FORMAT, "file ends inside a string");
    if (e[1] != 'u') {
        if (!memchr("\"\\/bfnrt", e[1], 8))
            return fail_at(p, e, BITNET_FORMAT, "this escape does not exist in JSON");
        *at = e + 2;
        return BITNET_OK;
    }
    int32_t unit = hex4(e + 2, p->end);
    if (unit < 0) return fail_at(p, e, BITNET_FORMAT, "\\u needs four hexadecimal digits");
    *at = e + 6;
    if (is_low_surrogate(unit)) return fail_at(p, e, BITNET_FORMAT, "half of a surrogate pair");
    if (!is_high_surrogate(unit)) return BITNET_OK;
    bool pair =
        p->end - e >= 8 && e[6] == '\\' && e[7] == 'u' && is_low_surrogate(hex4(e + 8, p->end));
    if (!pair) return fail_at(p, e, BITNET_FORMAT, "half of a surrogate pair");
    *at = e + 12;
    return BITNET_OK;
}

/* From behind the opening quote to behind the closing one. `*raw` is what lies between. */
static enum bitnet_status scan_string(struct parser *p, struct bitnet_str *raw, bool *has_escape)
{
    const char *begin = p->at, *at = begin;
    *has_escape = false;
    for (;;) {
        at = skip_plain(at, p->end);
        if (at == p->end) return fail_at(p, at, BITNET_FORMAT, "file ends inside a string");
        uint8_t c = (uint8_t)*at;
        if (c == '"') break;
        if (c == '\\') {
            *has_escape = true;
            enum bitnet_status status = check_escape(p, &at);
            if (status) return status;
        } else if (c < 0x20) {
            return fail_at(p, at, BITNET_FORMAT, "a control character in a string");
        } else {
            uint32_t code_point;
            size_t n = bitnet_utf8_decode(at, (size_t)(p->end - at), &code_point);
            if (n == 0) return fail_at(p, at, BITNET_FORMAT, "a string is not valid UTF-8");
            at += n;
        }
    }
    *raw = (struct bitnet_str){begin, (size_t)(at - begin)};
    p->at = at + 1;
    return BITNET_OK;
}

/* The character of the checked escape at `at`; *n is its length in the source. */
static uint32_t escaped_character(const char *at, const char *end, size_t *n)
{
    *n = 2;
    switch (at[1]) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        break;
    default:
        return (uint8_t)at[1];
    }
    int32_t unit = hex4(at + 2, end);
    *n = 6;
    if (!is_high_surrogate(unit)) return (uint32_t)unit;
    *n = 12;
    return 0x10000u + ((uint32_t)(unit - 0xD800) << 10) + (uint32_t)(hex4(at + 8, end) - 0xDC00);
}

/* An escape is never shorter than the UTF-8 it stands for, so raw.n bytes are enough. */
static enum bitnet_status unescape(const struct parser *p, struct bitnet_str raw,
                                   struct bitnet_str *text)
{
    char *to = bitnet_arena_alloc(p->arena, raw.n, 1);
    if (!to) return fail_memory(p);
    text->at = to;
    for (const char *at = raw.at, *end = raw.at + raw.n; at < end;) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        size_t n;
        uint32_t character = escaped_character(at, end, &n);
        to += bitnet_utf8_encode(character, to);
        at += n;
    }
    text->n = (size_t)(to - text->at);
    return BITNET_OK;
}

static enum bitnet_status parse_string(struct parser *p, struct bitnet_str *text)
{
    bool has_escape;
    p->at++;
    enum bitnet_status status = scan_string(p, text, &has_escape);
    if (status || !has_escape) return status;
    return unescape(p, *text, text);
}

/* --- numbers and words --- */

static bool is_digit(const char *at, const char *end)
{
    return at < end && *at >= '0' && *at <= '9';
}

/* number = [ "-" ] int [ frac ] [ exp ], exactly. NULL: this is none. */
static const char *number_end(const char *at, const char *end, bool *is_integer)
{
    *is_integer = true;
    if (at < end && *at == '-') at++;
    if (!is_digit(at, end)) return NULL;
    if (*at++ != '0')
        while (is_digit(at, end)) at++;
    if (at < end && *at == '.') {
        *is_integer = false;
        if (!is_digit(++at, end)) return NULL;
        while (is_digit(at, end)) at++;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        *is_integer = false;
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        if (!is_digit(at, end)) return NULL;
        while (is_digit(at, end)) at++;
    }
    return at;
}

static enum bitnet_status parse_number(struct parser *p, struct bitnet_json *node)
{
    const char *end = number_end(p->at, p->end, &node->is_integer);
    if (!end) return fail_at(p, p->at, BITNET_FORMAT, "a number is malformed");
    if (is_digit(end, p->end))
        return fail_at(p, p->at, BITNET_FORMAT, "a number begins with a zero too many");
    node->kind = BITNET_JSON_NUMBER;
    node->text = (struct bitnet_str){p->at, (size_t)(end - p->at)};
    if (node->text.n > NUMBER_CHARS_MAX)
        return fail_at(p, p->at, BITNET_LIMIT, "a number has more than 400 characters");
    p->at = end;
    return BITNET_OK;
}

static bool take_word(struct parser *p, const char *word)
{
    struct bitnet_str rest = {p->at, (size_t)(p->end - p->at)};
    if (!bitnet_str_starts(rest, word)) return false;
    p->at += strlen(word);
    return true;
}

static enum bitnet_status parse_word(struct parser *p, struct bitnet_json *node)
{
    if (take_word(p, "null")) return BITNET_OK;
    node->kind = BITNET_JSON_BOOL;
    node->boolean = take_word(p, "true");
    if (node->boolean || take_word(p, "false")) return BITNET_OK;
    return fail_expected(p, "a value");
}

/* --- containers --- */

static enum bitnet_status open_container(struct parser *p, struct bitnet_json *node)
{
    if (p->depth == p->max_depth) {
        return bitnet_fail(p->err, BITNET_LIMIT,
                           "line %" PRIu32 " column %" PRIu32 ": nested deeper than %u", p->line,
                           column_of(p, p->at), p->max_depth);
    }
    node->kind = *p->at++ == '{' ? BITNET_JSON_OBJECT : BITNET_JSON_ARRAY;
    p->open[p->depth] = node;
    p->last[p->depth] = NULL;
    p->depth++;
    return BITNET_OK;
}

static enum bitnet_status fail_duplicate(const struct parser *p, const struct bitnet_json *node)
{
    return bitnet_fail(p->err, BITNET_FORMAT,
                       "line %" PRIu32 " column %" PRIu32 ": %s appears twice", node->line,
                       node->column, BITNET_QUOTE(node->key));
}

static enum bitnet_status compare_pairs(const struct parser *p, const struct bitnet_json *object)
{
    for (const struct bitnet_json *a = object->child; a; a = a->next)
        for (const struct bitnet_json *b = a->next; b; b = b->next)
            if (bitnet_str_equal(a->key, b->key)) return fail_duplicate(p, b);
    return BITNET_OK;
}

static enum bitnet_status refuse_duplicates(const struct parser *p,
                                            const struct bitnet_json *object)
{
    if (object->n_children <= FEW_KEYS) return compare_pairs(p, object);
    struct bitnet_map map = {0};
    enum bitnet_status status = check_memory(p, object->n_children * KEY_BYTES);
    for (const struct bitnet_json *node = object->child; node && !status; node = node->next) {
        switch (bitnet_map_put(&map, node->key, 0, NULL)) {
        case BITNET_MAP_NEW:
            break;
        case BITNET_MAP_EXISTS:
            status = fail_duplicate(p, node);
            break;
        case BITNET_MAP_MEMORY:
            status = fail_memory(p);
            break;
        }
    }
    bitnet_map_free(&map);
    return status;
}

static enum bitnet_status close_container(struct parser *p)
{
    const struct bitnet_json *node = p->open[--p->depth];
    p->at++;
    return node->kind == BITNET_JSON_OBJECT ? refuse_duplicates(p, node) : BITNET_OK;
}

/* --- the loop --- */

/* A new node as the last child of the innermost container, if there is one. */
static enum bitnet_status add_node(struct parser *p, struct bitnet_str key,
                                   struct bitnet_json **result)
{
    if (p->n_nodes == p->max_nodes) return fail_at(p, p->at, BITNET_LIMIT, "too many values");
    enum bitnet_status status = check_memory(p, sizeof(struct bitnet_json));
    if (status) return status;
    struct bitnet_json *node = bitnet_arena_alloc(p->arena, 1, sizeof *node);
    if (!node) return fail_memory(p);
    p->n_nodes++;
    node->key = key;
    node->line = p->line;
    node->column = column_of(p, p->at);
    *result = node;
    if (p->depth == 0) return BITNET_OK;

    struct bitnet_json *parent = p->open[p->depth - 1], *last = p->last[p->depth - 1];
    if (last)
        last->next = node;
    else
        parent->child = node;
    parent->n_children++;
    p->last[p->depth - 1] = node;
    return BITNET_OK;
}

/* One value; of an array or object only its opening bracket. */
static enum bitnet_status parse_value(struct parser *p, struct bitnet_str key,
                                      struct bitnet_json **node)
{
    skip_space(p);
    if (p->at == p->end) return fail_expected(p, "a value");
    enum bitnet_status status = add_node(p, key, node);
    if (status) return status;
    char c = *p->at;
    if (c == '{' || c == '[') return open_container(p, *node);
    if (c == '-' || is_digit(p->at, p->end)) return parse_number(p, *node);
    if (c != '"') return parse_word(p, *node);
    (*node)->kind = BITNET_JSON_STRING;
    return parse_string(p, &(*node)->text);
}

static enum bitnet_status parse_key(struct parser *p, struct bitnet_str *key)
{
    skip_space(p);
    if (p->at == p->end || *p->at != '"') return fail_expected(p, "a name in quotes");
    enum bitnet_status status = parse_string(p, key);
    if (status) return status;
    skip_space(p);
    if (p->at == p->end || *p->at != ':') return fail_expected(p, "':'");
    p->at++;
    return BITNET_OK;
}

/* Inside a container: its end, or a comma (not before the first) and one more member. */
static enum bitnet_status parse_next(struct parser *p)
{
    bool is_object = p->open[p->depth - 1]->kind == BITNET_JSON_OBJECT;
    bool is_first = p->last[p->depth - 1] == NULL;
    struct bitnet_str key = {NULL, 0};
    struct bitnet_json *node;

    skip_space(p);
    if (p->at < p->end && *p->at == (is_object ? '}' : ']')) return close_container(p);
    if (!is_first) {
        if (p->at == p->end || *p->at != ',')
            return fail_expected(p, is_object ? "',' or '}'" : "',' or ']'");
        p->at++;
    }
    if (is_object) {
        enum bitnet_status status = parse_key(p, &key);
        if (status) return status;
    }
    return parse_value(p, key, &node);
}

static enum bitnet_status parse_document(struct parser *p, struct bitnet_json **root)
{
    enum bitnet_status status = parse_value(p, (struct bitnet_str){NULL, 0}, root);
    while (!status && p->depth > 0) status = parse_next(p);
    if (status) return status;
    skip_space(p);
    return p->at == p->end ? BITNET_OK : fail_expected(p, "the end of the file");
}

enum bitnet_status bitnet_json_parse(const struct bitnet_json **root, struct bitnet_str text,
                                     const struct bitnet_json_limits *limits,
                                     struct bitnet_arena *arena, struct bitnet_error *err)
{
    struct bitnet_json_limits given = limits ? *limits : (struct bitnet_json_limits){0};
    struct parser p = {.at = text.at,
                       .end = text.at + text.n,
                       .line_start = text.at,
                       .line = 1,
                       .arena = arena,
                       .err = err,
                       .max_nodes = given.max_nodes ? given.max_nodes : NODES_MAX,
                       .max_depth = given.max_depth ? given.max_depth : DEPTH_MAX};
    if (!bitnet_mul_size(text.n, MEMORY_FACTOR, &p.max_arena_bytes) ||
        !bitnet_add_size(p.max_arena_bytes, MEMORY_BASE + arena->used_bytes, &p.max_arena_bytes))
        p.max_arena_bytes = SIZE_MAX;
    if (p.max_depth > DEPTH_CEILING) p.max_depth = DEPTH_CEILING;
    *root = NULL;
    if (given.max_bytes && text.n > given.max_bytes)
        return bitnet_fail(err, BITNET_LIMIT, "%zu bytes of JSON, the limit is %zu", text.n,
                           given.max_bytes);
    struct bitnet_json *tree = NULL;
    enum bitnet_status status = parse_document(&p, &tree);
    if (!status) *root = tree;
    return status;
}

/* --- access --- */

const struct bitnet_json *bitnet_json_get(const struct bitnet_json *object, const char *name)
{
    if (!object || object->kind != BITNET_JSON_OBJECT) return NULL;
    for (const struct bitnet_json *node = object->child; node; node = node->next)
        if (bitnet_str_is(node->key, name)) return node;
    return NULL;
}

bool bitnet_json_as_u64(const struct bitnet_json *node, uint64_t *value)
{
    return node && node->kind == BITNET_JSON_NUMBER && node->is_integer &&
           bitnet_parse_u64(node->text, value);
}

bool bitnet_json_as_i64(const struct bitnet_json *node, int64_t *value)
{
    return node && node->kind == BITNET_JSON_NUMBER && node->is_integer &&
           bitnet_parse_i64(node->text, value);
}

bool bitnet_json_as_f64(const struct bitnet_json *node, double *value)
{
    return node && node->kind == BITNET_JSON_NUMBER && bitnet_parse_f64(node->text, value);
}

static const char *kind_text(enum bitnet_json_kind kind)
{
    static const char *const words[] = {"null", "a boolean", "a number",
                                        "text", "a list",    "an object"};
    return words[kind];
}

/* The member, or NULL with *status told: OK when it may be absent. */
static const struct bitnet_json *member(const struct bitnet_json *object, const char *name,
                                        enum bitnet_json_need need, enum bitnet_status *status,
                                        struct bitnet_error *err)
{
    const struct bitnet_json *node = bitnet_json_get(object, name);
    *status = BITNET_OK;
    if (need == BITNET_OPTIONAL && node && node->kind == BITNET_JSON_NULL) return NULL;
    if (!node && need == BITNET_REQUIRED)
        *status = bitnet_fail(err, BITNET_FORMAT, "'%s' is missing", name);
    return node;
}

static enum bitnet_status fail_kind(const struct bitnet_json *node, const char *name,
                                    const char *expected, struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_FORMAT,
                       "line %" PRIu32 " column %" PRIu32 ": '%s': expected %s, found %s",
                       node->line, node->column, name, expected, kind_text(node->kind));
}

enum bitnet_status bitnet_json_u64(const struct bitnet_json *object, const char *name, uint64_t low,
                                   uint64_t high, enum bitnet_json_need need, uint64_t *value,
                                   struct bitnet_error *err)
{
    enum bitnet_status status;
    const struct bitnet_json *node = member(object, name, need, &status, err);
    if (!node) return status;
    if (node->kind != BITNET_JSON_NUMBER) return fail_kind(node, name, "an integer", err);
    uint64_t v;
    if (!bitnet_json_as_u64(node, &v) || v < low || v > high)
        return bitnet_fail(err, BITNET_FORMAT,
                           "line %" PRIu32 " column %" PRIu32
                           ": '%s': %.*s (allowed are integers from %" PRIu64 " to %" PRIu64 ")",
                           node->line, node->column, name, BITNET_STR_ARGS(node->text), low, high);
    *value = v;
    return BITNET_OK;
}

enum bitnet_status bitnet_json_f64(const struct bitnet_json *object, const char *name,
                                   enum bitnet_json_need need, double *value,
                                   struct bitnet_error *err)
{
    enum bitnet_status status;
    const struct bitnet_json *node = member(object, name, need, &status, err);
    if (!node) return status;
    if (node->kind != BITNET_JSON_NUMBER) return fail_kind(node, name, "a number", err);
    if (!bitnet_json_as_f64(node, value))
        return bitnet_fail(err, BITNET_FORMAT,
                           "line %" PRIu32 " column %" PRIu32 ": '%s': %.*s is out of range",
                           node->line, node->column, name, BITNET_STR_ARGS(node->text));
    return BITNET_OK;
}

enum bitnet_status bitnet_json_bool(const struct bitnet_json *object, const char *name,
                                    enum bitnet_json_need need, bool *value,
                                    struct bitnet_error *err)
{
    enum bitnet_status status;
    const struct bitnet_json *node = member(object, name, need, &status, err);
    if (!node) return status;
    if (node->kind != BITNET_JSON_BOOL) return fail_kind(node, name, "true or false", err);
    *value = node->boolean;
    return BITNET_OK;
}

enum bitnet_status bitnet_json_str(const struct bitnet_json *object, const char *name,
                                   enum bitnet_json_need need, struct bitnet_str *value,
                                   struct bitnet_error *err)
{
    enum bitnet_status status;
    const struct bitnet_json *node = member(object, name, need, &status, err);
    if (!node) return status;
    if (node->kind != BITNET_JSON_STRING) return fail_kind(node, name, "text", err);
    *value = node->text;
    return BITNET_OK;
}
