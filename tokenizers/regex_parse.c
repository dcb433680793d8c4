/* Expression -> program. One pass over the source, writing code as it goes; a counted atom is
 * copied, which relative jumps allow. Depth of groups, counts and size are limited, so neither
 * recursion nor the program can run away. See regex.h; limits: reliability.md section 4. */
#include "regex_program.h"

#include <bitnet/alloc.h>
#include <bitnet/text.h>

#include "unicode.h"

struct parser {
    struct regex *regex;
    struct bitnet_str source;
    size_t at;
    bool any_case;
    struct bitnet_error *err;
};

static enum bitnet_status parse_alternatives(struct parser *parser, int depth);

static enum bitnet_status wrong(struct parser *parser, const char *what)
{
    return bitnet_fail(parser->err, BITNET_FORMAT, "position %zu: %s", parser->at, what);
}

static enum bitnet_status unsupported(struct parser *parser, const char *what)
{
    return bitnet_fail(parser->err, BITNET_UNSUPPORTED, "position %zu: %s is not supported",
                       parser->at, what);
}

static enum bitnet_status no_memory(struct parser *parser)
{
    return bitnet_fail(parser->err, BITNET_MEMORY, "out of memory for an expression");
}

static bool at_end(const struct parser *parser)
{
    return parser->at >= parser->source.n;
}

static char look(const struct parser *parser)
{
    return at_end(parser) ? '\0' : parser->source.at[parser->at];
}

static bool follows(const struct parser *parser, const char *text)
{
    struct bitnet_str rest = {parser->source.at + parser->at, parser->source.n - parser->at};
    return bitnet_str_starts(rest, text);
}

static bool accept(struct parser *parser, const char *text)
{
    if (!follows(parser, text)) return false;
    parser->at += strlen(text);
    return true;
}

/* The next character of the source; it is valid UTF-8 (checked in regex_new). */
static uint32_t take(struct parser *parser)
{
    uint32_t c = 0;
    parser->at +=
        bitnet_utf8_decode(parser->source.at + parser->at, parser->source.n - parser->at, &c);
    return c;
}

/* ------------------------------------------------------------------ code */

static enum bitnet_status emit(struct parser *parser, struct regex_code code)
{
    struct regex *regex = parser->regex;
    if (regex->n >= REGEX_MAX_STATES)
        return bitnet_fail(parser->err, BITNET_LIMIT, "position %zu: more than %u states",
                           parser->at, REGEX_MAX_STATES);
    if (!BITNET_GROW(regex->code, regex->n, regex->cap, (size_t)REGEX_MAX_STATES))
        return no_memory(parser);
    if (code.op == REGEX_SPLIT || code.op == REGEX_LOOP) code.memory = regex->n_memories++;
    regex->code[regex->n++] = code;
    return BITNET_OK;
}

static enum bitnet_status insert(struct parser *parser, size_t at, struct regex_code code)
{
    struct regex *regex = parser->regex;
    enum bitnet_status status = emit(parser, code);
    if (status) return status;
    code = regex->code[regex->n - 1];
    memmove(regex->code + at + 1, regex->code + at, (regex->n - 1 - at) * sizeof *regex->code);
    regex->code[at] = code;
    return BITNET_OK;
}

/* Appends a copy of the code from `begin` to `end`. */
static enum bitnet_status copy_code(struct parser *parser, size_t begin, size_t end)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = begin; i < end && !status; i++) status = emit(parser, parser->regex->code[i]);
    return status;
}

/* ------------------------------------------------------------------ sets */

static enum bitnet_status new_set(struct parser *parser, uint32_t *set)
{
    struct regex *regex = parser->regex;
    if (!BITNET_GROW(regex->sets, regex->n_sets, regex->sets_cap, (size_t)REGEX_MAX_STATES))
        return no_memory(parser);
    regex->sets[regex->n_sets] = (struct regex_set){0};
    *set = (uint32_t)regex->n_sets++;
    return BITNET_OK;
}

static enum bitnet_status add_item(struct parser *parser, uint32_t set, struct regex_item item)
{
    struct regex_set *s = &parser->regex->sets[set];
    if (!BITNET_GROW(s->items, s->n, s->cap, (size_t)REGEX_MAX_SOURCE)) return no_memory(parser);
    s->items[s->n++] = item;
    return BITNET_OK;
}

/* The other cases of ASCII letters, and the two characters outside that fold to one. */
static enum bitnet_status add_cases(struct parser *parser, uint32_t set, uint32_t first,
                                    uint32_t last)
{
    enum bitnet_status status = BITNET_OK;
    for (uint32_t c = first; c <= last && c < 0x80 && !status; c++) {
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        uint32_t other = c ^ 0x20, more = (c | 0x20) == 's'   ? 0x17F
                                          : (c | 0x20) == 'k' ? 0x212A
                                                              : 0;
        if (letter)
            status = add_item(parser, set, (struct regex_item){.first = other, .last = other});
        if (letter && more && !status)
            status = add_item(parser, set, (struct regex_item){.first = more, .last = more});
    }
    if (!status && last >= 0x80 && (unicode_bits(last) & (UNICODE_L | UNICODE_M)))
        status = unsupported(parser, "a letter outside ASCII without regard to case");
    return status;
}

static enum bitnet_status add_range(struct parser *parser, uint32_t set, uint32_t first,
                                    uint32_t last)
{
    enum bitnet_status status =
        add_item(parser, set, (struct regex_item){.first = first, .last = last});
    return !status && parser->any_case ? add_cases(parser, set, first, last) : status;
}

/* Script=Han of Unicode 15.1. */
static const uint32_t han[][2] = {
    {0x2E80, 0x2E99},   {0x2E9B, 0x2EF3},   {0x2F00, 0x2FD5},   {0x3005, 0x3005},
    {0x3007, 0x3007},   {0x3021, 0x3029},   {0x3038, 0x303B},   {0x3400, 0x4DBF},
    {0x4E00, 0x9FFF},   {0xF900, 0xFA6D},   {0xFA70, 0xFAD9},   {0x16FE2, 0x16FE3},
    {0x16FF0, 0x16FF1}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B739}, {0x2B740, 0x2B81D},
    {0x2B820, 0x2CEA1}, {0x2CEB0, 0x2EBE0}, {0x2EBF0, 0x2EE5D}, {0x2F800, 0x2FA1D},
    {0x30000, 0x3134A}, {0x31350, 0x323AF},
};

static enum bitnet_status add_han(struct parser *parser, uint32_t set, bool negated)
{
    uint32_t inner;
    enum bitnet_status status = new_set(parser, &inner);
    for (size_t i = 0; i < sizeof han / sizeof han[0] && !status; i++)
        status =
            add_item(parser, inner, (struct regex_item){.first = han[i][0], .last = han[i][1]});
    if (!status)
        status =
            add_item(parser, set, (struct regex_item){.set_plus_1 = inner + 1, .negated = negated});
    return status;
}

static const struct property {
    const char *name;
    uint32_t bits;
} properties[] = {
    {"L", UNICODE_L},
    {"Letter", UNICODE_L},
    {"Lu", UNICODE_BIT(CATEGORY_LU)},
    {"Ll", UNICODE_BIT(CATEGORY_LL)},
    {"Lt", UNICODE_BIT(CATEGORY_LT)},
    {"Lm", UNICODE_BIT(CATEGORY_LM)},
    {"Lo", UNICODE_BIT(CATEGORY_LO)},
    {"M", UNICODE_M},
    {"Mark", UNICODE_M},
    {"Mn", UNICODE_BIT(CATEGORY_MN)},
    {"Mc", UNICODE_BIT(CATEGORY_MC)},
    {"Me", UNICODE_BIT(CATEGORY_ME)},
    {"N", UNICODE_N},
    {"Number", UNICODE_N},
    {"Nd", UNICODE_BIT(CATEGORY_ND)},
    {"Nl", UNICODE_BIT(CATEGORY_NL)},
    {"No", UNICODE_BIT(CATEGORY_NO)},
    {"P", UNICODE_P},
    {"Punctuation", UNICODE_P},
    {"Pc", UNICODE_BIT(CATEGORY_PC)},
    {"Pd", UNICODE_BIT(CATEGORY_PD)},
    {"Ps", UNICODE_BIT(CATEGORY_PS)},
    {"Pe", UNICODE_BIT(CATEGORY_PE)},
    {"Pi", UNICODE_BIT(CATEGORY_PI)},
    {"Pf", UNICODE_BIT(CATEGORY_PF)},
    {"Po", UNICODE_BIT(CATEGORY_PO)},
    {"S", UNICODE_S},
    {"Symbol", UNICODE_S},
    {"Sm", UNICODE_BIT(CATEGORY_SM)},
    {"Sc", UNICODE_BIT(CATEGORY_SC)},
    {"Sk", UNICODE_BIT(CATEGORY_SK)},
    {"So", UNICODE_BIT(CATEGORY_SO)},
    {"Z", UNICODE_Z},
    {"Separator", UNICODE_Z},
    {"Zs", UNICODE_BIT(CATEGORY_ZS)},
    {"Zl", UNICODE_BIT(CATEGORY_ZL)},
    {"Zp", UNICODE_BIT(CATEGORY_ZP)},
    {"C", UNICODE_C},
    {"Other", UNICODE_C},
    {"Cc", UNICODE_BIT(CATEGORY_CC)},
    {"Cf", UNICODE_BIT(CATEGORY_CF)},
    {"Co", UNICODE_BIT(CATEGORY_CO)},
    {"Cn", UNICODE_BIT(CATEGORY_CN)},
    {"Cs", UNICODE_BIT(CATEGORY_CS)},
    {"White_Space", UNICODE_WHITE},
};

/* \p{Name}, \p{^Name}, \P{Name}, \pL; the p is taken. */
static enum bitnet_status parse_property(struct parser *parser, uint32_t set, bool negated)
{
    struct bitnet_str name = {parser->source.at + parser->at, 1};
    if (look(parser) == '{') {
        parser->at++;
        if (accept(parser, "^")) negated = !negated;
        const char *begin = parser->source.at + parser->at;
        const char *end = memchr(begin, '}', parser->source.n - parser->at);
        if (!end) return wrong(parser, "a property without its closing brace");
        name = (struct bitnet_str){begin, (size_t)(end - begin)};
        parser->at++;
    }
    parser->at += name.n;
    if (parser->at > parser->source.n) return wrong(parser, "a property without a name");
    if (bitnet_str_is(name, "Han") || bitnet_str_is(name, "Script=Han"))
        return add_han(parser, set, negated);
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
        if (bitnet_str_is(name, properties[i].name))
            return add_item(parser, set,
                            (struct regex_item){.bits = properties[i].bits, .negated = negated});
    return bitnet_fail(parser->err, BITNET_UNSUPPORTED,
                       "position %zu: Unicode property %s is not supported", parser->at,
                       BITNET_QUOTE(name));
}

#define WORD_BITS                                                                                  \
    (UNICODE_L | UNICODE_M | UNICODE_BIT(CATEGORY_ND) | UNICODE_BIT(CATEGORY_NL) |                 \
     UNICODE_BIT(CATEGORY_PC))

/* \s \d \w \h and their opposites; `letter` is taken. False when it is none of them. */
static bool class_of(char letter, struct regex_item *item)
{
    *item = (struct regex_item){.negated = letter >= 'A' && letter <= 'Z'};
    switch (letter | 0x20) {
    case 's':
        item->bits = UNICODE_WHITE;
        return true;
    case 'd':
        item->bits = UNICODE_BIT(CATEGORY_ND);
        return true;
    case 'w':
        item->bits = WORD_BITS;
        return true;
    default:
        return false;
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
    return -1;
}

static enum bitnet_status parse_hex(struct parser *parser, size_t n_digits, uint32_t *c)
{
    bool braced = accept(parser, "{");
    *c = 0;
    size_t n = 0;
    for (; n < (braced ? 6 : n_digits) && hex_value(look(parser)) >= 0; n++, parser->at++)
        *c = *c << 4 | (uint32_t)hex_value(look(parser));
    if (!n || (!braced && n < n_digits) || (braced && !accept(parser, "}")) || *c > 0x10FFFF)
        return wrong(parser, "a damaged character number");
    return BITNET_OK;
}

/* The character that an escape stands for; the backslash is taken. */
static enum bitnet_status parse_escape(struct parser *parser, uint32_t *c)
{
    if (at_end(parser)) return wrong(parser, "a lone backslash at the end");
    *c = take(parser);
    switch (*c) {
    case 'n':
        *c = '\n';
        return BITNET_OK;
    case 'r':
        *c = '\r';
        return BITNET_OK;
    case 't':
        *c = '\t';
        return BITNET_OK;
    case 'f':
        *c = '\f';
        return BITNET_OK;
    case 'v':
        *c = '\v';
        return BITNET_OK;
    case 'a':
        *c = '\a';
        return BITNET_OK;
    case 'e':
        *c = 0x1B;
        return BITNET_OK;
    case 'x':
        return parse_hex(parser, 2, c);
    case 'u':
        return parse_hex(parser, 4, c);
    default:
        break;
    }
    bool plain = *c >= 0x80 || !((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                                 (*c >= 'A' && *c <= 'Z'));
    if (plain) return BITNET_OK;
    parser->at--;
    return *c >= '1' && *c <= '9' ? unsupported(parser, "a back-reference")
                                  : unsupported(parser, "this escape");
}

/* One member of a class that may begin a range: a character, or (then *is_char is false) a class.
 */
static enum bitnet_status parse_member(struct parser *parser, uint32_t set, uint32_t *c,
                                       bool *is_char)
{
    *is_char = true;
    if (look(parser) != '\\') {
        *c = take(parser);
        return BITNET_OK;
    }
    parser->at++;
    char letter = look(parser);
    struct regex_item item;
    if (letter == 'p' || letter == 'P') {
        *is_char = false;
        parser->at++;
        return parse_property(parser, set, letter == 'P');
    }
    if (class_of(letter, &item)) {
        *is_char = false;
        parser->at++;
        return add_item(parser, set, item);
    }
    if (letter == 'b') {
        parser->at++;
        *c = '\b';
        return BITNET_OK;
    }
    return parse_escape(parser, c);
}

static enum bitnet_status parse_class(struct parser *parser, int depth, uint32_t *set);

static enum bitnet_status parse_class_item(struct parser *parser, int depth, uint32_t set)
{
    uint32_t first, last, inner;
    bool is_char;
    enum bitnet_status status;
    if (follows(parser, "[:")) return unsupported(parser, "a POSIX bracket");
    if (accept(parser, "[")) {
        status = parse_class(parser, depth + 1, &inner);
        return status ? status
                      : add_item(parser, set, (struct regex_item){.set_plus_1 = inner + 1});
    }
    status = parse_member(parser, set, &first, &is_char);
    if (status || !is_char) return status;
    last = first;
    if (follows(parser, "-") && !follows(parser, "-]") && !follows(parser, "-[")) {
        parser->at++;
        if (at_end(parser)) return wrong(parser, "a class without its closing bracket");
        status = parse_member(parser, set, &last, &is_char);
        if (status) return status;
        if (!is_char) { /* [a-\s]: the hyphen is itself */
            status = add_range(parser, set, '-', '-');
            last = first;
        }
    }
    if (!status && last < first) return wrong(parser, "a range that runs backwards");
    return status ? status : add_range(parser, set, first, last);
}

/* After the opening bracket. */
static enum bitnet_status parse_class(struct parser *parser, int depth, uint32_t *set)
{
    uint32_t part;
    enum bitnet_status status = BITNET_OK;
    if (depth > REGEX_MAX_DEPTH) return wrong(parser, "classes nested too deep");
    status = new_set(parser, set);
    if (status) return status;
    bool negated = accept(parser, "^"), is_first = true;
    part = *set;
    for (; !status; is_first = false) {
        if (at_end(parser)) return wrong(parser, "a class without its closing bracket");
        if (!is_first && accept(parser, "]")) break;
        if (accept(parser, "&&")) {
            uint32_t next;
            status = new_set(parser, &next);
            if (!status) parser->regex->sets[part].also_plus_1 = next + 1;
            part = next;
            continue;
        }
        status = parse_class_item(parser, depth, part);
    }
    if (!status) parser->regex->sets[*set].negated = negated;
    return status;
}

/* ------------------------------------------------------------------ atoms */

static enum bitnet_status emit_set(struct parser *parser, uint32_t set)
{
    return emit(parser, (struct regex_code){.op = REGEX_SET, .value = set});
}

static enum bitnet_status emit_item(struct parser *parser, struct regex_item item)
{
    uint32_t set;
    enum bitnet_status status = new_set(parser, &set);
    if (!status) status = add_item(parser, set, item);
    return status ? status : emit_set(parser, set);
}

static enum bitnet_status emit_char(struct parser *parser, uint32_t c)
{
    uint32_t set;
    if (!parser->any_case) return emit(parser, (struct regex_code){.op = REGEX_CHAR, .value = c});
    enum bitnet_status status = new_set(parser, &set);
    if (!status) status = add_range(parser, set, c, c);
    return status ? status : emit_set(parser, set);
}

/* A body that is matched by itself: look-ahead, atomic group. */
static enum bitnet_status parse_body(struct parser *parser, enum regex_op op, int depth)
{
    struct regex *regex = parser->regex;
    size_t begin = regex->n;
    enum bitnet_status status = emit(parser, (struct regex_code){.op = op});
    if (!status) status = parse_alternatives(parser, depth + 1);
    if (!status) status = emit(parser, (struct regex_code){.op = REGEX_MATCH});
    if (!status) regex->code[begin].x = (int32_t)(regex->n - begin);
    return status;
}

/* After "(?": flags, then ":" or ")". Flags without a body (*stays) hold to the end of the group
 * around. */
static enum bitnet_status parse_flags(struct parser *parser, int depth, bool *stays)
{
    bool on = true;
    for (; !at_end(parser) && look(parser) != ':' && look(parser) != ')'; parser->at++) {
        if (look(parser) == '-')
            on = false;
        else if (look(parser) == 'i')
            parser->any_case = on;
        else if (look(parser) != 'u')
            return unsupported(parser, "this kind of group");
    }
    *stays = look(parser) == ')';
    if (*stays) return BITNET_OK;
    if (!accept(parser, ":")) return wrong(parser, "a group without its closing parenthesis");
    return parse_alternatives(parser, depth + 1);
}

static enum bitnet_status parse_group(struct parser *parser, int depth)
{
    enum bitnet_status status;
    if (depth > REGEX_MAX_DEPTH) return wrong(parser, "groups nested too deep");
    bool before = parser->any_case, stays = false;
    if (accept(parser, "?="))
        status = parse_body(parser, REGEX_AHEAD, depth);
    else if (accept(parser, "?!"))
        status = parse_body(parser, REGEX_NOT_AHEAD, depth);
    else if (accept(parser, "?>"))
        status = parse_body(parser, REGEX_ATOMIC, depth);
    else if (follows(parser, "?<") || follows(parser, "?P"))
        return unsupported(parser, "look-behind or a named group");
    else if (accept(parser, "?"))
        status = parse_flags(parser, depth, &stays);
    else
        status = parse_alternatives(parser, depth + 1);
    if (status) return status;
    if (!stays) parser->any_case = before;
    return accept(parser, ")") ? BITNET_OK
                               : wrong(parser, "a group without its closing parenthesis");
}

static enum bitnet_status parse_backslash(struct parser *parser)
{
    static const struct {
        char letter;
        enum regex_op op;
    } anchors[] = {{'b', REGEX_WORD_EDGE},
                   {'B', REGEX_NO_WORD_EDGE},
                   {'A', REGEX_BEGIN},
                   {'z', REGEX_END},
                   {'Z', REGEX_END_LINE}};
    char letter = look(parser);
    struct regex_item item;
    uint32_t set, c;
    for (size_t i = 0; i < sizeof anchors / sizeof anchors[0]; i++)
        if (letter == anchors[i].letter) {
            parser->at++;
            return emit(parser, (struct regex_code){.op = anchors[i].op});
        }
    if (letter == 'p' || letter == 'P') {
        parser->at++;
        enum bitnet_status status = new_set(parser, &set);
        if (!status) status = parse_property(parser, set, letter == 'P');
        return status ? status : emit_set(parser, set);
    }
    if (class_of(letter, &item)) {
        parser->at++;
        return emit_item(parser, item);
    }
    enum bitnet_status status = parse_escape(parser, &c);
    return status ? status : emit_char(parser, c);
}

static enum bitnet_status parse_atom(struct parser *parser, int depth)
{
    uint32_t set;
    enum bitnet_status status;
    switch (look(parser)) {
    case '(':
        parser->at++;
        return parse_group(parser, depth);
    case '[':
        parser->at++;
        status = parse_class(parser, depth, &set);
        return status ? status : emit_set(parser, set);
    case '\\':
        parser->at++;
        return parse_backslash(parser);
    case '.':
        parser->at++;
        status = new_set(parser, &set);
        if (!status)
            status = add_item(parser, set, (struct regex_item){.first = '\n', .last = '\n'});
        if (!status) parser->regex->sets[set].negated = true;
        return status ? status : emit_set(parser, set);
    case '^':
        parser->at++;
        return emit(parser, (struct regex_code){.op = REGEX_LINE_BEGIN});
    case '$':
        parser->at++;
        return emit(parser, (struct regex_code){.op = REGEX_LINE_END});
    case '*':
    case '+':
    case '?':
        return wrong(parser, "nothing to repeat");
    default:
        return emit_char(parser, take(parser));
    }
}

/* ------------------------------------------------------------------ counts */

struct count {
    uint32_t low, high; /* high UINT32_MAX: no end */
    bool lazy, possessive;
};

static bool parse_number(struct parser *parser, uint32_t *number)
{
    size_t begin = parser->at;
    *number = 0;
    for (; look(parser) >= '0' && look(parser) <= '9'; parser->at++)
        if (*number < 1000000000u) *number = 10 * *number + (uint32_t)(look(parser) - '0');
    return parser->at > begin;
}

/* "{n}", "{n,}", "{n,m}", "{,m}"; anything else in braces is itself. */
static bool parse_braces(struct parser *parser, struct count *count)
{
    size_t begin = parser->at++;
    bool has_low = parse_number(parser, &count->low), has_high = true;
    count->high = count->low;
    if (accept(parser, ",")) {
        has_high = parse_number(parser, &count->high);
        if (!has_high) count->high = UINT32_MAX;
    } else if (!has_low) {
        has_high = false;
    }
    if ((has_low || has_high) && accept(parser, "}")) return true;
    parser->at = begin;
    return false;
}

static bool parse_count(struct parser *parser, struct count *count)
{
    *count = (struct count){0, UINT32_MAX, false, false};
    bool braces = false;
    if (accept(parser, "?"))
        count->high = 1;
    else if (accept(parser, "+"))
        count->low = 1;
    else if (look(parser) == '{')
        braces = parse_braces(parser, count);
    else if (!accept(parser, "*"))
        return false;
    if (look(parser) == '{' && !braces) return false;
    if (accept(parser, "?"))
        count->lazy = true;
    else if (!braces && accept(parser, "+")) /* "{n}+" repeats the repetition, in Oniguruma too */
        count->possessive = true;
    return true;
}

static enum bitnet_status emit_split(struct parser *parser, size_t at, int32_t taken, int32_t other,
                                     bool lazy)
{
    return insert(parser, at,
                  (struct regex_code){
                      .op = REGEX_SPLIT, .x = lazy ? other : taken, .y = lazy ? taken : other});
}

/* Any number more of the atom [begin, end), behind what is there. */
static enum bitnet_status emit_star(struct parser *parser, size_t begin, size_t end, bool lazy)
{
    struct regex *regex = parser->regex;
    size_t at = regex->n;
    if (end - begin == 1 && regex->code[begin].op == REGEX_SET && !lazy)
        return emit(parser,
                    (struct regex_code){.op = REGEX_LOOP, .value = regex->code[begin].value});
    enum bitnet_status status = copy_code(parser, begin, end);
    int32_t length = (int32_t)(end - begin);
    if (!status) status = emit_split(parser, at, 1, length + 2, lazy);
    if (!status) status = emit(parser, (struct regex_code){.op = REGEX_JUMP, .x = -length - 1});
    return status;
}

/* Up to n more, each nested in the one before: (a(a(a)?)?)?. */
static enum bitnet_status emit_optional(struct parser *parser, size_t begin, size_t end, uint32_t n,
                                        bool lazy)
{
    enum bitnet_status status = BITNET_OK;
    int32_t length = (int32_t)(end - begin);
    for (uint32_t i = 0; i < n && !status; i++) {
        size_t at = parser->regex->n;
        int32_t rest = (int32_t)(n - i) * (length + 1);
        status = copy_code(parser, begin, end);
        if (!status) status = emit_split(parser, at, 1, rest, lazy);
    }
    return status;
}

/* The atom from `begin` to the end of the code, `count` times. It was written once; that copy is
 * dropped in the end. */
static enum bitnet_status repeat(struct parser *parser, size_t begin, const struct count *count)
{
    struct regex *regex = parser->regex;
    size_t end = regex->n;
    bool endless = count->high == UINT32_MAX;
    enum bitnet_status status = BITNET_OK;
    if (count->low > REGEX_MAX_REPEAT || (!endless && count->high > REGEX_MAX_REPEAT))
        return bitnet_fail(parser->err, BITNET_LIMIT, "position %zu: repetition %u exceeds %u",
                           parser->at, endless ? count->low : count->high, REGEX_MAX_REPEAT);
    if (count->high < count->low) return wrong(parser, "a count that runs backwards");
    if (count->possessive) status = emit(parser, (struct regex_code){.op = REGEX_ATOMIC});
    for (uint32_t i = 0; i < count->low && !status; i++) status = copy_code(parser, begin, end);
    if (!status)
        status = endless ? emit_star(parser, begin, end, count->lazy)
                         : emit_optional(parser, begin, end, count->high - count->low, count->lazy);
    if (!status && count->possessive) {
        status = emit(parser, (struct regex_code){.op = REGEX_MATCH});
        regex->code[end].x = (int32_t)(regex->n - end);
    }
    if (status) return status;
    memmove(regex->code + begin, regex->code + end, (regex->n - end) * sizeof *regex->code);
    regex->n -= end - begin;
    return BITNET_OK;
}

/* ------------------------------------------------------------------ the grammar */

static enum bitnet_status parse_sequence(struct parser *parser, int depth)
{
    enum bitnet_status status = BITNET_OK;
    while (!status && !at_end(parser) && look(parser) != '|' && look(parser) != ')') {
        size_t begin = parser->regex->n;
        struct count count;
        status = parse_atom(parser, depth);
        while (!status && parse_count(parser, &count)) status = repeat(parser, begin, &count);
    }
    return status;
}

/* a|b|c: each alternative but the last is SPLIT a JUMP-to-the-end. The jumps are chained through
 * `x` until the end is known. */
static enum bitnet_status parse_alternatives(struct parser *parser, int depth)
{
    struct regex *regex = parser->regex;
    size_t begin = regex->n, last_jump = 0;
    if (depth > REGEX_MAX_DEPTH) return wrong(parser, "groups nested too deep");
    enum bitnet_status status = parse_sequence(parser, depth);
    while (!status && accept(parser, "|")) {
        status = emit_split(parser, begin, 1, (int32_t)(regex->n - begin) + 2, false);
        if (!status)
            status = emit(parser, (struct regex_code){.op = REGEX_JUMP, .x = (int32_t)last_jump});
        if (status) return status;
        last_jump = regex->n - 1;
        begin = regex->n;
        status = parse_sequence(parser, depth);
    }
    while (!status && last_jump) {
        size_t before = (size_t)regex->code[last_jump].x;
        regex->code[last_jump].x = (int32_t)(regex->n - last_jump);
        last_jump = before;
    }
    return status;
}

static void fill_ascii(struct regex *regex)
{
    for (uint32_t set = 0; set < regex->n_sets; set++) {
        uint32_t ascii[4] = {0};
        for (uint32_t c = 0; c < 0x80; c++)
            if (regex_in_set(regex, set, c)) ascii[c >> 5] |= UINT32_C(1) << (c & 31);
        memcpy(regex->sets[set].ascii, ascii, sizeof ascii);
    }
}

enum bitnet_status regex_new(struct regex **regex, struct bitnet_str source,
                             struct bitnet_error *err)
{
    *regex = NULL;
    if (source.n > REGEX_MAX_SOURCE)
        return bitnet_fail(err, BITNET_LIMIT, "an expression of %zu bytes (limit %u)", source.n,
                           REGEX_MAX_SOURCE);
    if (!bitnet_utf8_valid(source))
        return bitnet_fail(err, BITNET_FORMAT, "the expression is not UTF-8");
    struct parser parser = {.regex = bitnet_alloc(1, sizeof **regex), .source = source, .err = err};
    if (!parser.regex) return no_memory(&parser);
    enum bitnet_status status = parse_alternatives(&parser, 0);
    if (!status && !at_end(&parser)) status = wrong(&parser, "a closing parenthesis too many");
    if (!status) status = emit(&parser, (struct regex_code){.op = REGEX_MATCH});
    if (status) {
        regex_free(parser.regex);
        return status;
    }
    fill_ascii(parser.regex);
    *regex = parser.regex;
    return BITNET_OK;
}
