/* Owns the hand-written matchers and the iterator over passes. See split.h. Every matcher reads
 * forward and gives back at most one character, so a pass is linear in its piece. */
#include "split.h"

#include "unicode.h"

#include <assert.h>

/* ------------------------------------------------------------------ characters */

#define LETTER  UNICODE_L
#define NUMBER  UNICODE_N
#define WHITE   UNICODE_WHITE
#define NEWLINE (UINT32_C(1) << 30)

/* clang-format off */
#define CC UNICODE_BIT(CATEGORY_CC)
#define WS (UNICODE_BIT(CATEGORY_CC) | WHITE)
#define NL (UNICODE_BIT(CATEGORY_CC) | WHITE | NEWLINE)
#define SP (UNICODE_BIT(CATEGORY_ZS) | WHITE)
#define PO UNICODE_BIT(CATEGORY_PO)
#define PS UNICODE_BIT(CATEGORY_PS)
#define PE UNICODE_BIT(CATEGORY_PE)
#define PD UNICODE_BIT(CATEGORY_PD)
#define PC UNICODE_BIT(CATEGORY_PC)
#define SM UNICODE_BIT(CATEGORY_SM)
#define SC UNICODE_BIT(CATEGORY_SC)
#define SK UNICODE_BIT(CATEGORY_SK)
#define ND UNICODE_BIT(CATEGORY_ND)
#define LU UNICODE_BIT(CATEGORY_LU)
#define LL UNICODE_BIT(CATEGORY_LL)
static const uint32_t ascii_bits[128] = {
    CC, CC, CC, CC, CC, CC, CC, CC, CC, WS, NL, WS, WS, NL, CC, CC,
    CC, CC, CC, CC, CC, CC, CC, CC, CC, CC, CC, CC, CC, CC, CC, CC,
    SP, PO, PO, PO, SC, PO, PO, PO, PS, PE, PO, SM, PO, PD, PO, PO,
    ND, ND, ND, ND, ND, ND, ND, ND, ND, ND, PO, PO, SM, SM, SM, PO,
    PO, LU, LU, LU, LU, LU, LU, LU, LU, LU, LU, LU, LU, LU, LU, LU,
    LU, LU, LU, LU, LU, LU, LU, LU, LU, LU, LU, PS, PO, PE, SK, PC,
    SK, LL, LL, LL, LL, LL, LL, LL, LL, LL, LL, LL, LL, LL, LL, LL,
    LL, LL, LL, LL, LL, LL, LL, LL, LL, LL, LL, PS, SM, PE, SM, CC,
};
/* clang-format on */

struct piece {
    const char *at;
    size_t n;
};

/* The bits of the character at `pos` (0 at the end of the piece) and where the next one begins. */
static inline uint32_t peek(struct piece piece, size_t pos, size_t *next)
{
    if (pos >= piece.n) {
        *next = pos;
        return 0;
    }
    uint8_t byte = (uint8_t)piece.at[pos];
    if (byte < 0x80) {
        *next = pos + 1;
        return ascii_bits[byte];
    }
    uint32_t c = 0xFFFD;
    size_t length = unicode_decode_lenient(piece.at + pos, piece.n - pos, &c);
    *next = pos + (length ? length : 1);
    return unicode_bits(c);
}

/* The end of the run of characters that have one of `bits`. */
static size_t run_of(struct piece piece, size_t pos, uint32_t bits)
{
    for (size_t next; pos < piece.n && (peek(piece, pos, &next) & bits); pos = next) {
    }
    return pos;
}

static size_t run_without(struct piece piece, size_t pos, uint32_t bits)
{
    for (size_t next; pos < piece.n && !(peek(piece, pos, &next) & bits); pos = next) {
    }
    return pos;
}

/* ------------------------------------------------------------------ parts of the expressions */

/* 's|'t|'re|'ve|'m|'ll|'d at `pos`: where it ends, or `pos`. */
static size_t contraction(struct piece piece, size_t pos, bool any_case, bool long_s)
{
    if (pos >= piece.n || piece.at[pos] != '\'') return pos;
    char letter[2] = {0, 0};
    for (size_t i = 0; i < 2 && pos + 1 + i < piece.n; i++) {
        char c = piece.at[pos + 1 + i];
        letter[i] = any_case && c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    if (letter[0] && strchr("stmd", letter[0])) return pos + 2;
    if ((letter[1] == 'e' && (letter[0] == 'r' || letter[0] == 'v')) ||
        (letter[0] == 'l' && letter[1] == 'l'))
        return pos + 3;
    if (long_s && piece.n - pos >= 3 && memcmp(piece.at + pos + 1, "\xC5\xBF", 2) == 0)
        return pos + 3;
    return pos;
}

/* \s+(?!\S)|\s+ : white space, but its last character is left to the word that follows. */
static size_t white(struct piece piece, size_t pos)
{
    size_t last = pos, end = pos;
    for (size_t next; end < piece.n && (peek(piece, end, &next) & WHITE); end = next) last = end;
    return end == piece.n || last == pos ? end : last;
}

/* \s*[\r\n]+ : up to the last newline of the white space here, or `pos`. */
static size_t white_to_newline(struct piece piece, size_t pos)
{
    size_t found = pos;
    uint32_t bits;
    for (size_t at = pos, next; (bits = peek(piece, at, &next)) & WHITE; at = next)
        if (bits & NEWLINE) found = next;
    return found;
}

static size_t skip_space(struct piece piece, size_t pos)
{
    return pos < piece.n && piece.at[pos] == ' ' ? pos + 1 : pos;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t match_gpt2(struct piece piece, size_t pos)
{
    size_t end = contraction(piece, pos, false, false);
    if (end > pos) return end;
    size_t begin = skip_space(piece, pos), next;
    uint32_t bits = peek(piece, begin, &next);
    if (bits & LETTER) return run_of(piece, next, LETTER);
    if (bits & NUMBER) return run_of(piece, next, NUMBER);
    if (bits && !(bits & WHITE)) return run_without(piece, next, LETTER | NUMBER | WHITE);
    return white(piece, pos);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
 * |\s*[\r\n]+|\s+(?!\S)|\s+ with `digits` in place of the 3. */
static size_t match_llama3(struct piece piece, size_t pos, int digits, bool long_s)
{
    size_t end = contraction(piece, pos, true, long_s);
    if (end > pos) return end;
    size_t next, after;
    uint32_t bits = peek(piece, pos, &next);
    if (bits & LETTER) return run_of(piece, next, LETTER);
    if (bits & NUMBER) {
        for (int i = 1; i < digits && (peek(piece, next, &after) & NUMBER); i++) next = after;
        return next;
    }
    if (!(bits & NEWLINE) && (peek(piece, next, &after) & LETTER))
        return run_of(piece, after, LETTER);

    size_t begin = skip_space(piece, pos);
    end = run_without(piece, begin, LETTER | NUMBER | WHITE);
    if (end > begin) {
        while (end < piece.n && (piece.at[end] == '\r' || piece.at[end] == '\n')) end++;
        return end;
    }
    end = white_to_newline(piece, pos);
    return end > pos ? end : white(piece, pos);
}

/* ------------------------------------------------------------------ searching matchers */

static bool is_listed(struct piece piece, size_t pos, const char *list)
{
    return (uint8_t)piece.at[pos] < 0x80 && piece.at[pos] && strchr(list, piece.at[pos]);
}

static bool is_mark(struct piece piece, size_t pos, const char *more, size_t *next)
{
    return (peek(piece, pos, next) & UNICODE_P) || is_listed(piece, pos, more);
}

/* [\p{P}...]+, or one character of it. */
static bool find_punctuation(struct piece piece, size_t from, const char *more, bool run,
                             struct split_range *found)
{
    size_t pos = from, next = from;
    while (pos < piece.n && !is_mark(piece, pos, more, &next)) pos = next;
    found->begin = found->end = pos;
    if (pos == piece.n) return false;
    found->end = next;
    while (run && found->end < piece.n && is_mark(piece, found->end, more, &next))
        found->end = next;
    return true;
}

/* One mark, as Hugging Face's Punctuation sees it: by the tables of Unicode 8.0. */
static bool find_mark(struct piece piece, size_t from, struct split_range *found)
{
    while (find_punctuation(piece, from, "$+<=>^~|`", false, found)) {
        uint32_t c = 0;
        unicode_decode_lenient(piece.at + found->begin, piece.n - found->begin, &c);
        if (!unicode_is_newer(UNICODE_8, c)) return true;
        from = found->end;
    }
    return false;
}

static bool find_number(struct piece piece, size_t from, bool run, struct split_range *found)
{
    found->begin = run_without(piece, from, NUMBER);
    if (found->begin == piece.n) return false;
    peek(piece, found->begin, &found->end);
    if (run) found->end = run_of(piece, found->end, NUMBER);
    return true;
}

static bool find_digits3(struct piece piece, size_t from, struct split_range *found)
{
    size_t n_digits = 0;
    for (size_t pos = from; pos < piece.n; pos++) {
        n_digits = piece.at[pos] >= '0' && piece.at[pos] <= '9' ? n_digits + 1 : 0;
        if (n_digits == 3) {
            found->begin = pos - 2;
            found->end = pos + 1;
            return true;
        }
    }
    return false;
}

static bool find_white(struct piece piece, size_t from, struct split_range *found)
{
    found->begin = run_without(piece, from, WHITE);
    if (found->begin == piece.n) return false;
    peek(piece, found->begin, &found->end);
    return true;
}

static bool find_string(struct piece piece, size_t from, struct bitnet_str what,
                        struct split_range *found)
{
    const char *at = what.n ? memmem(piece.at + from, piece.n - from, what.at, what.n) : NULL;
    if (!at) return false;
    found->begin = (size_t)(at - piece.at);
    found->end = found->begin + what.n;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One group: [0-9]{1,3}(?=([0-9]{3})*(?![0-9])). *run_end keeps the end of the digits from group to
 * group, or a long number would be read once per group. */
static bool find_group(struct piece piece, size_t from, size_t *run_end, struct split_range *found)
{
    while (from < piece.n && !is_digit(piece.at[from])) from++;
    if (from == piece.n) return false;
    if (*run_end <= from) {
        *run_end = from;
        while (*run_end < piece.n && is_digit(piece.at[*run_end])) ++*run_end;
    }
    found->begin = from;
    found->end = from + (*run_end - from - 1) % 3 + 1;
    return true;
}

/* The first match at or after `from`. */
static bool find(struct split_level *level, struct piece piece, size_t from,
                 struct split_range *found)
{
    const struct split_pass *pass = level->pass;
    found->begin = from;
    switch (pass->matcher) {
    case SPLIT_GPT2:
        found->end = match_gpt2(piece, from);
        return true;
    case SPLIT_LLAMA3:
        found->end = match_llama3(piece, from, 3, pass->long_s);
        return true;
    case SPLIT_QWEN2:
        found->end = match_llama3(piece, from, 1, pass->long_s);
        return true;
    case SPLIT_NUMBER:
        return find_number(piece, from, false, found);
    case SPLIT_NUMBERS:
        return find_number(piece, from, true, found);
    case SPLIT_DIGITS3:
        return find_digits3(piece, from, found);
    case SPLIT_GROUPS3:
        return find_group(piece, from, &level->run_end, found);
    case SPLIT_PUNCTUATION:
        return find_punctuation(piece, from, "$+<=>^~|", true, found);
    case SPLIT_PUNCTUATION_TICK:
        return find_punctuation(piece, from, "$+<=>^~|`", true, found);
    case SPLIT_MARK:
        return find_mark(piece, from, found);
    case SPLIT_WHITE:
        return find_white(piece, from, found);
    case SPLIT_STRING:
        return find_string(piece, from, pass->string, found);
    case SPLIT_REGEX:
        return regex_find(pass->regex, level->work, from, &found->begin, &found->end);
    }
    return false;
}

/* ------------------------------------------------------------------ passes */

/* Fills the queue with the next stretch of the piece: what lies before a match, and the match. */
static void refill(struct split_level *level)
{
    const struct split_pass *pass = level->pass;
    size_t base = level->piece.begin, n = level->piece.end - base, at = level->at - base;
    struct split_range match = {n, n, false};
    if (!find(level, (struct piece){level->text + base, n}, at, &match))
        match.begin = match.end = n;
    if (match.begin > at)
        level->queue[level->n_queue++] =
            (struct split_range){base + at, base + match.begin, pass->invert};
    if (match.end > match.begin)
        level->queue[level->n_queue++] =
            (struct split_range){base + match.begin, base + match.end, !pass->invert};
    level->at = base + match.end;
}

static bool look(struct split_level *level, struct split_range *range)
{
    if (!level->n_queue && level->at < level->piece.end) refill(level);
    if (!level->n_queue) return false;
    *range = level->queue[0];
    return true;
}

static bool take(struct split_level *level, struct split_range *range)
{
    if (!look(level, range)) return false;
    level->queue[0] = level->queue[1];
    level->n_queue--;
    return true;
}

static bool joins(enum split_behavior behavior, struct split_range left, struct split_range right)
{
    switch (behavior) {
    case SPLIT_CONTIGUOUS:
        return left.is_match == right.is_match;
    case SPLIT_WITH_PREVIOUS:
        return !left.is_match && right.is_match;
    case SPLIT_WITH_NEXT:
        return left.is_match && !right.is_match;
    case SPLIT_ISOLATED:
    case SPLIT_REMOVED:
        break;
    }
    return false;
}

static bool next_piece(struct split_level *level, struct split_range *range)
{
    enum split_behavior behavior = level->pass->behavior;
    do {
        if (!take(level, range)) return false;
    } while (behavior == SPLIT_REMOVED && range->is_match);

    struct split_range right;
    if (behavior == SPLIT_ISOLATED || behavior == SPLIT_REMOVED) return true;
    while (look(level, &right) && joins(behavior, *range, right)) {
        take(level, &right);
        range->end = right.end;
        if (behavior != SPLIT_CONTIGUOUS) break;
    }
    return true;
}

/* Goes one pass deeper, into `piece`. */
static void enter(struct splitter *splitter, struct split_range piece)
{
    size_t depth = splitter->depth++;
    struct split_level *level = &splitter->level[depth];
    *level = (struct split_level){.pass = &splitter->passes[depth],
                                  .work = &splitter->work->regex[depth],
                                  .text = splitter->text,
                                  .piece = piece,
                                  .at = piece.begin};
    struct bitnet_str text = {splitter->text + piece.begin, piece.end - piece.begin};
    if (level->pass->matcher == SPLIT_REGEX && !regex_text(level->pass->regex, level->work, text))
        splitter->out_of_memory = true;
}

void split_work_free(struct split_work *work)
{
    for (size_t i = 0; i < SPLIT_MAX_PASSES; i++) regex_work_free(&work->regex[i]);
}

void split_begin(struct splitter *splitter, struct split_work *work,
                 const struct split_pass *passes, size_t n_passes, struct bitnet_str text)
{
    assert(n_passes <= SPLIT_MAX_PASSES);
    splitter->work = work;
    splitter->out_of_memory = false;
    splitter->passes = passes;
    splitter->n_passes = n_passes;
    splitter->text = text.at;
    splitter->n_text = text.n;
    splitter->whole = n_passes == 0 && text.n > 0;
    splitter->depth = 0;
    if (n_passes && text.n) enter(splitter, (struct split_range){0, text.n, false});
}

static bool failed(struct splitter *splitter, size_t depth)
{
    if (splitter->passes[depth].matcher == SPLIT_REGEX &&
        splitter->work->regex[depth].out_of_memory)
        splitter->out_of_memory = true;
    return splitter->out_of_memory;
}

bool split_next(struct splitter *splitter, struct bitnet_str *word)
{
    if (splitter->whole) {
        splitter->whole = false;
        *word = (struct bitnet_str){splitter->text, splitter->n_text};
        return true;
    }
    while (splitter->depth && !splitter->out_of_memory) {
        size_t top = splitter->depth - 1;
        struct split_range range;
        bool found = next_piece(&splitter->level[top], &range);
        if (failed(splitter, top)) return false;
        if (!found) {
            splitter->depth--;
        } else if (splitter->depth == splitter->n_passes) {
            *word = (struct bitnet_str){splitter->text + range.begin, range.end - range.begin};
            return true;
        } else {
            enter(splitter, range);
        }
    }
    return false;
}
