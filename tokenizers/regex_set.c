/* What stands for one character in an expression: classes, properties, escapes, and the sets that
 * they become. Comes in: source; goes out: sets of the program. See regex_parse.h. */
#include "regex_parse.h"

#include <bitnet/alloc.h>
#include <bitnet/text.h>

#include "unicode.h"

enum bitnet_status regex_wrong(struct regex_parser *parser, const char *what)
{
    return bitnet_fail(parser->err, BITNET_FORMAT, "position %zu: %s", parser->at, what);
}

enum bitnet_status regex_unsupported(struct regex_parser *parser, const char *what)
{
    return bitnet_fail(parser->err, BITNET_UNSUPPORTED, "position %zu: %s is not supported",
                       parser->at, what);
}

enum bitnet_status regex_no_memory(struct regex_parser *parser)
{
    return bitnet_fail(parser->err, BITNET_MEMORY, "out of memory for an expression");
}

bool regex_at_end(const struct regex_parser *parser)
{
    return parser->at >= parser->source.n;
}

char regex_look(const struct regex_parser *parser)
{
    return regex_at_end(parser) ? '\0' : parser->source.at[parser->at];
}

bool regex_follows(const struct regex_parser *parser, const char *text)
{
    struct bitnet_str rest = {parser->source.at + parser->at, parser->source.n - parser->at};
    return bitnet_str_starts(rest, text);
}

bool regex_accept(struct regex_parser *parser, const char *text)
{
    if (!regex_follows(parser, text)) return false;
    parser->at += strlen(text);
    return true;
}

/* The next character of the source; it is valid UTF-8 (checked in regex_new). */
uint32_t regex_take(struct regex_parser *parser)
{
    uint32_t c = 0;
    parser->at +=
        bitnet_utf8_decode(parser->source.at + parser->at, parser->source.n - parser->at, &c);
    return c;
}

/* ------------------------------------------------------------------ sets */

enum bitnet_status regex_new_set(struct regex_parser *parser, uint32_t *set)
{
    struct regex *regex = parser->regex;
    if (!BITNET_GROW(regex->sets, regex->n_sets, regex->sets_cap, (size_t)REGEX_MAX_STATES))
        return regex_no_memory(parser);
    regex->sets[regex->n_sets] = (struct regex_set){0};
    *set = (uint32_t)regex->n_sets++;
    return BITNET_OK;
}

enum bitnet_status regex_add_item(struct regex_parser *parser, uint32_t set, struct regex_item item)
{
    struct regex_set *s = &parser->regex->sets[set];
    if (!BITNET_GROW(s->items, s->n, s->cap, (size_t)REGEX_MAX_SOURCE))
        return regex_no_memory(parser);
    s->items[s->n++] = item;
    return BITNET_OK;
}

/* The other cases of ASCII letters, and the two characters outside that fold to one. */
static enum bitnet_status regex_add_cases(struct regex_parser *parser, uint32_t set, uint32_t first,
                                          uint32_t last)
{
    enum bitnet_status status = BITNET_OK;
    for (uint32_t c = first; c <= last && c < 0x80 && !status; c++) {
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        uint32_t other = c ^ 0x20, more = (c | 0x20) == 's'   ? 0x17F
                                          : (c | 0x20) == 'k' ? 0x212A
                                                              : 0;
        if (letter)
            status =
                regex_add_item(parser, set, (struct regex_item){.first = other, .last = other});
        if (letter && more && !status)
            status = regex_add_item(parser, set, (struct regex_item){.first = more, .last = more});
    }
    if (!status && last >= 0x80 && (unicode_bits(last) & (UNICODE_L | UNICODE_M)))
        status = regex_unsupported(parser, "a letter outside ASCII without regard to case");
    return status;
}

enum bitnet_status regex_add_range(struct regex_parser *parser, uint32_t set, uint32_t first,
                                   uint32_t last)
{
    enum bitnet_status status =
        regex_add_item(parser, set, (struct regex_item){.first = first, .last = last});
    return !status && parser->any_case ? regex_add_cases(parser, set, first, last) : status;
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

static enum bitnet_status add_han(struct regex_parser *parser, uint32_t set, bool negated)
{
    uint32_t inner;
    enum bitnet_status status = regex_new_set(parser, &inner);
    for (size_t i = 0; i < sizeof han / sizeof han[0] && !status; i++)
        status = regex_add_item(parser, inner,
                                (struct regex_item){.first = han[i][0], .last = han[i][1]});
    if (!status)
        status = regex_add_item(parser, set,
                                (struct regex_item){.set_plus_1 = inner + 1, .negated = negated});
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
enum bitnet_status regex_parse_property(struct regex_parser *parser, uint32_t set, bool negated)
{
    struct bitnet_str name = {parser->source.at + parser->at, 1};
    if (regex_look(parser) == '{') {
        parser->at++;
        if (regex_accept(parser, "^")) negated = !negated;
        const char *begin = parser->source.at + parser->at;
        const char *end = memchr(begin, '}', parser->source.n - parser->at);
        if (!end) return regex_wrong(parser, "a property without its closing brace");
        name = (struct bitnet_str){begin, (size_t)(end - begin)};
        parser->at++;
    }
    parser->at += name.n;
    if (parser->at > parser->source.n) return regex_wrong(parser, "a property without a name");
    if (bitnet_str_is(name, "Han") || bitnet_str_is(name, "Script=Han"))
        return add_han(parser, set, negated);
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
        if (bitnet_str_is(name, properties[i].name))
            return regex_add_item(
                parser, set, (struct regex_item){.bits = properties[i].bits, .negated = negated});
    return bitnet_fail(parser->err, BITNET_UNSUPPORTED,
                       "position %zu: Unicode property %s is not supported", parser->at,
                       BITNET_QUOTE(name));
}

#define WORD_BITS                                                                                  \
    (UNICODE_L | UNICODE_M | UNICODE_BIT(CATEGORY_ND) | UNICODE_BIT(CATEGORY_NL) |                 \
     UNICODE_BIT(CATEGORY_PC))

/* \s \d \w \h and their opposites; `letter` is taken. False when it is none of them. */
bool regex_class_of(char letter, struct regex_item *item)
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

static enum bitnet_status parse_hex(struct regex_parser *parser, size_t n_digits, uint32_t *c)
{
    bool braced = regex_accept(parser, "{");
    *c = 0;
    size_t n = 0;
    for (; n < (braced ? 6 : n_digits) && hex_value(regex_look(parser)) >= 0; n++, parser->at++)
        *c = *c << 4 | (uint32_t)hex_value(regex_look(parser));
    if (!n || (!braced && n < n_digits) || (braced && !regex_accept(parser, "}")) || *c > 0x10FFFF)
        return regex_wrong(parser, "a damaged character number");
    return BITNET_OK;
}

/* The character that an escape stands for; the backslash is taken. */
enum bitnet_status regex_parse_escape(struct regex_parser *parser, uint32_t *c)
{
    if (regex_at_end(parser)) return regex_wrong(parser, "a lone backslash at the end");
    *c = regex_take(parser);
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
    return *c >= '1' && *c <= '9' ? regex_unsupported(parser, "a back-reference")
                                  : regex_unsupported(parser, "this escape");
}

/* One member of a class that may begin a range: a character, or (then *is_char is false) a class.
 */
static enum bitnet_status parse_member(struct regex_parser *parser, uint32_t set, uint32_t *c,
                                       bool *is_char)
{
    *is_char = true;
    if (regex_look(parser) != '\\') {
        *c = regex_take(parser);
        return BITNET_OK;
    }
    parser->at++;
    char letter = regex_look(parser);
    struct regex_item item;
    if (letter == 'p' || letter == 'P') {
        *is_char = false;
        parser->at++;
        return regex_parse_property(parser, set, letter == 'P');
    }
    if (regex_class_of(letter, &item)) {
        *is_char = false;
        parser->at++;
        return regex_add_item(parser, set, item);
    }
    if (letter == 'b') {
        parser->at++;
        *c = '\b';
        return BITNET_OK;
    }
    return regex_parse_escape(parser, c);
}

static enum bitnet_status parse_class_item(struct regex_parser *parser, int depth, uint32_t set)
{
    uint32_t first, last, inner;
    bool is_char;
    enum bitnet_status status;
    if (regex_follows(parser, "[:")) return regex_unsupported(parser, "a POSIX bracket");
    if (regex_accept(parser, "[")) {
        status = regex_parse_class(parser, depth + 1, &inner);
        return status ? status
                      : regex_add_item(parser, set, (struct regex_item){.set_plus_1 = inner + 1});
    }
    status = parse_member(parser, set, &first, &is_char);
    if (status || !is_char) return status;
    last = first;
    if (regex_follows(parser, "-") && !regex_follows(parser, "-]") &&
        !regex_follows(parser, "-[")) {
        parser->at++;
        if (regex_at_end(parser)) return regex_wrong(parser, "a class without its closing bracket");
        status = parse_member(parser, set, &last, &is_char);
        if (status) return status;
        if (!is_char) { /* [a-\s]: the hyphen is itself */
            status = regex_add_range(parser, set, '-', '-');
            last = first;
        }
    }
    if (!status && last < first) return regex_wrong(parser, "a range that runs backwards");
    return status ? status : regex_add_range(parser, set, first, last);
}

/* After the opening bracket. */
enum bitnet_status regex_parse_class(struct regex_parser *parser, int depth, uint32_t *set)
{
    uint32_t part;
    enum bitnet_status status = BITNET_OK;
    if (depth > REGEX_MAX_DEPTH) return regex_wrong(parser, "classes nested too deep");
    status = regex_new_set(parser, set);
    if (status) return status;
    bool negated = regex_accept(parser, "^"), is_first = true;
    part = *set;
    for (; !status; is_first = false) {
        if (regex_at_end(parser)) return regex_wrong(parser, "a class without its closing bracket");
        if (!is_first && regex_accept(parser, "]")) break;
        if (regex_accept(parser, "&&")) {
            uint32_t next;
            status = regex_new_set(parser, &next);
            if (!status) parser->regex->sets[part].also_plus_1 = next + 1;
            part = next;
            continue;
        }
        status = parse_class_item(parser, depth, part);
    }
    if (!status) parser->regex->sets[*set].negated = negated;
    return status;
}
