/* Expression -> program. One pass over the source, writing code as it goes; a counted atom is
 * copied, which relative jumps allow. Depth of groups, counts and size are limited, so neither
 * recursion nor the program can run away. See regex.h; limits: reliability.md section 4. */
#include "regex_parse.h"

#include <bitnet/alloc.h>
#include <bitnet/text.h>

#include "unicode.h"

static enum bitnet_status parse_alternatives(struct regex_parser *parser, int depth);

/* ------------------------------------------------------------------ code */

static enum bitnet_status emit(struct regex_parser *parser, struct regex_code code)
{
    struct regex *regex = parser->regex;
    if (regex->n >= REGEX_MAX_STATES)
        return bitnet_fail(parser->err, BITNET_LIMIT, "position %zu: more than %u states",
                           parser->at, REGEX_MAX_STATES);
    if (!BITNET_GROW(regex->code, regex->n, regex->cap, (size_t)REGEX_MAX_STATES))
        return regex_no_memory(parser);
    if (code.op == REGEX_SPLIT || code.op == REGEX_LOOP) code.memory = regex->n_memories++;
    regex->code[regex->n++] = code;
    return BITNET_OK;
}

static enum bitnet_status insert(struct regex_parser *parser, size_t at, struct regex_code code)
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
static enum bitnet_status copy_code(struct regex_parser *parser, size_t begin, size_t end)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = begin; i < end && !status; i++) status = emit(parser, parser->regex->code[i]);
    return status;
}

/* ------------------------------------------------------------------ atoms */

static enum bitnet_status emit_set(struct regex_parser *parser, uint32_t set)
{
    return emit(parser, (struct regex_code){.op = REGEX_SET, .value = set});
}

static enum bitnet_status emit_item(struct regex_parser *parser, struct regex_item item)
{
    uint32_t set;
    enum bitnet_status status = regex_new_set(parser, &set);
    if (!status) status = regex_add_item(parser, set, item);
    return status ? status : emit_set(parser, set);
}

static enum bitnet_status emit_char(struct regex_parser *parser, uint32_t c)
{
    uint32_t set;
    if (!parser->any_case) return emit(parser, (struct regex_code){.op = REGEX_CHAR, .value = c});
    enum bitnet_status status = regex_new_set(parser, &set);
    if (!status) status = regex_add_range(parser, set, c, c);
    return status ? status : emit_set(parser, set);
}

/* A body that is matched by itself: look-ahead, atomic group. */
static enum bitnet_status parse_body(struct regex_parser *parser, enum regex_op op, int depth)
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
static enum bitnet_status parse_flags(struct regex_parser *parser, int depth, bool *stays)
{
    bool on = true;
    for (; !regex_at_end(parser) && regex_look(parser) != ':' && regex_look(parser) != ')';
         parser->at++) {
        if (regex_look(parser) == '-')
            on = false;
        else if (regex_look(parser) == 'i')
            parser->any_case = on;
        else if (regex_look(parser) != 'u')
            return regex_unsupported(parser, "this kind of group");
    }
    *stays = regex_look(parser) == ')';
    if (*stays) return BITNET_OK;
    if (!regex_accept(parser, ":"))
        return regex_wrong(parser, "a group without its closing parenthesis");
    return parse_alternatives(parser, depth + 1);
}

static enum bitnet_status parse_group(struct regex_parser *parser, int depth)
{
    enum bitnet_status status;
    if (depth > REGEX_MAX_DEPTH) return regex_wrong(parser, "groups nested too deep");
    bool before = parser->any_case, stays = false;
    if (regex_accept(parser, "?="))
        status = parse_body(parser, REGEX_AHEAD, depth);
    else if (regex_accept(parser, "?!"))
        status = parse_body(parser, REGEX_NOT_AHEAD, depth);
    else if (regex_accept(parser, "?>"))
        status = parse_body(parser, REGEX_ATOMIC, depth);
    else if (regex_follows(parser, "?<") || regex_follows(parser, "?P"))
        return regex_unsupported(parser, "look-behind or a named group");
    else if (regex_accept(parser, "?"))
        status = parse_flags(parser, depth, &stays);
    else
        status = parse_alternatives(parser, depth + 1);
    if (status) return status;
    if (!stays) parser->any_case = before;
    return regex_accept(parser, ")")
               ? BITNET_OK
               : regex_wrong(parser, "a group without its closing parenthesis");
}

static enum bitnet_status parse_backslash(struct regex_parser *parser)
{
    static const struct {
        char letter;
        enum regex_op op;
    } anchors[] = {{'b', REGEX_WORD_EDGE},
                   {'B', REGEX_NO_WORD_EDGE},
                   {'A', REGEX_BEGIN},
                   {'z', REGEX_END},
                   {'Z', REGEX_END_LINE}};
    char letter = regex_look(parser);
    struct regex_item item;
    uint32_t set, c;
    for (size_t i = 0; i < sizeof anchors / sizeof anchors[0]; i++)
        if (letter == anchors[i].letter) {
            parser->at++;
            return emit(parser, (struct regex_code){.op = anchors[i].op});
        }
    if (letter == 'p' || letter == 'P') {
        parser->at++;
        enum bitnet_status status = regex_new_set(parser, &set);
        if (!status) status = regex_parse_property(parser, set, letter == 'P');
        return status ? status : emit_set(parser, set);
    }
    if (regex_class_of(letter, &item)) {
        parser->at++;
        return emit_item(parser, item);
    }
    enum bitnet_status status = regex_parse_escape(parser, &c);
    return status ? status : emit_char(parser, c);
}

static enum bitnet_status parse_atom(struct regex_parser *parser, int depth)
{
    uint32_t set;
    enum bitnet_status status;
    switch (regex_look(parser)) {
    case '(':
        parser->at++;
        return parse_group(parser, depth);
    case '[':
        parser->at++;
        status = regex_parse_class(parser, depth, &set);
        return status ? status : emit_set(parser, set);
    case '\\':
        parser->at++;
        return parse_backslash(parser);
    case '.':
        parser->at++;
        status = regex_new_set(parser, &set);
        if (!status)
            status = regex_add_item(parser, set, (struct regex_item){.first = '\n', .last = '\n'});
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
        return regex_wrong(parser, "nothing to repeat");
    default:
        return emit_char(parser, regex_take(parser));
    }
}

/* ------------------------------------------------------------------ counts */

struct count {
    uint32_t low, high; /* high UINT32_MAX: no end */
    bool lazy, possessive;
};

static bool parse_number(struct regex_parser *parser, uint32_t *number)
{
    size_t begin = parser->at;
    *number = 0;
    for (; regex_look(parser) >= '0' && regex_look(parser) <= '9'; parser->at++)
        if (*number < 1000000000u) *number = 10 * *number + (uint32_t)(regex_look(parser) - '0');
    return parser->at > begin;
}

/* "{n}", "{n,}", "{n,m}", "{,m}"; anything else in braces is itself. */
static bool parse_braces(struct regex_parser *parser, struct count *count)
{
    size_t begin = parser->at++;
    bool has_low = parse_number(parser, &count->low), has_high = true;
    count->high = count->low;
    if (regex_accept(parser, ",")) {
        has_high = parse_number(parser, &count->high);
        if (!has_high) count->high = UINT32_MAX;
    } else if (!has_low) {
        has_high = false;
    }
    if ((has_low || has_high) && regex_accept(parser, "}")) return true;
    parser->at = begin;
    return false;
}

static bool parse_count(struct regex_parser *parser, struct count *count)
{
    *count = (struct count){0, UINT32_MAX, false, false};
    bool braces = false;
    if (regex_accept(parser, "?"))
        count->high = 1;
    else if (regex_accept(parser, "+"))
        count->low = 1;
    else if (regex_look(parser) == '{')
        braces = parse_braces(parser, count);
    else if (!regex_accept(parser, "*"))
        return false;
    if (regex_look(parser) == '{' && !braces) return false;
    if (regex_accept(parser, "?"))
        count->lazy = true;
    else if (!braces &&
             regex_accept(parser, "+")) /* "{n}+" repeats the repetition, in Oniguruma too */
        count->possessive = true;
    return true;
}

static enum bitnet_status emit_split(struct regex_parser *parser, size_t at, int32_t taken,
                                     int32_t other, bool lazy)
{
    return insert(parser, at,
                  (struct regex_code){
                      .op = REGEX_SPLIT, .x = lazy ? other : taken, .y = lazy ? taken : other});
}

/* Any number more of the atom [begin, end), behind what is there. */
static enum bitnet_status emit_star(struct regex_parser *parser, size_t begin, size_t end,
                                    bool lazy)
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
static enum bitnet_status emit_optional(struct regex_parser *parser, size_t begin, size_t end,
                                        uint32_t n, bool lazy)
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
static enum bitnet_status repeat(struct regex_parser *parser, size_t begin,
                                 const struct count *count)
{
    struct regex *regex = parser->regex;
    size_t end = regex->n;
    bool endless = count->high == UINT32_MAX;
    enum bitnet_status status = BITNET_OK;
    if (count->low > REGEX_MAX_REPEAT || (!endless && count->high > REGEX_MAX_REPEAT))
        return bitnet_fail(parser->err, BITNET_LIMIT, "position %zu: repetition %u exceeds %u",
                           parser->at, endless ? count->low : count->high, REGEX_MAX_REPEAT);
    if (count->high < count->low) return regex_wrong(parser, "a count that runs backwards");
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

static enum bitnet_status parse_sequence(struct regex_parser *parser, int depth)
{
    enum bitnet_status status = BITNET_OK;
    while (!status && !regex_at_end(parser) && regex_look(parser) != '|' &&
           regex_look(parser) != ')') {
        size_t begin = parser->regex->n;
        struct count count;
        status = parse_atom(parser, depth);
        while (!status && parse_count(parser, &count)) status = repeat(parser, begin, &count);
    }
    return status;
}

/* a|b|c: each alternative but the last is SPLIT a JUMP-to-the-end. The jumps are chained through
 * `x` until the end is known. */
static enum bitnet_status parse_alternatives(struct regex_parser *parser, int depth)
{
    struct regex *regex = parser->regex;
    size_t begin = regex->n, last_jump = 0;
    if (depth > REGEX_MAX_DEPTH) return regex_wrong(parser, "groups nested too deep");
    enum bitnet_status status = parse_sequence(parser, depth);
    while (!status && regex_accept(parser, "|")) {
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
    struct regex_parser parser = {
        .regex = bitnet_alloc(1, sizeof **regex), .source = source, .err = err};
    if (!parser.regex) return regex_no_memory(&parser);
    enum bitnet_status status = parse_alternatives(&parser, 0);
    if (!status && !regex_at_end(&parser))
        status = regex_wrong(&parser, "a closing parenthesis too many");
    if (!status) status = emit(&parser, (struct regex_code){.op = REGEX_MATCH});
    if (status) {
        regex_free(parser.regex);
        return status;
    }
    fill_ascii(parser.regex);
    *regex = parser.regex;
    return BITNET_OK;
}
