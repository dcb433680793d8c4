/* Runs a program over text. Backtracking on a stack of its own; whatever place of the program has
 * failed at a place of the text is never tried there again, in this search or a later one over the
 * same text, because what follows depends on nothing else. See regex.h. */
#include "regex_program.h"

#include <assert.h>

#include <bitnet/alloc.h>

#include "unicode.h"

/* What is left to try. BEEN marks an instruction that is being tried: when it is popped, it has
 * failed; when the search succeeds while it is there, it has not. */
enum frame_kind { FRAME_BEEN, FRAME_TRY, FRAME_LOOP };

struct regex_frame {
    enum frame_kind kind;
    uint32_t pc;
    size_t at;        /* TRY: where; BEEN, LOOP: where the instruction was entered */
    size_t now, last; /* LOOP: where it has given back to, and where it had come to */
};

void regex_free(struct regex *regex)
{
    if (!regex) return;
    for (size_t i = 0; i < regex->n_sets; i++) bitnet_free(regex->sets[i].items);
    bitnet_free(regex->sets);
    bitnet_free(regex->code);
    bitnet_free(regex);
}

void regex_work_free(struct regex_work *work)
{
    bitnet_free(work->stack);
    bitnet_free(work->failed);
    *work = (struct regex_work){0};
}

/* ------------------------------------------------------------------ sets */

static bool in_items(const struct regex *regex, const struct regex_set *set, uint32_t c)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct regex_item *item = &set->items[i];
        bool found = item->set_plus_1 ? regex_in_set(regex, item->set_plus_1 - 1, c)
                     : item->bits     ? (unicode_bits(c) & item->bits) != 0
                                      : c >= item->first && c <= item->last;
        if (found != item->negated) return true;
    }
    return false;
}

/* Sets lie in sets as deep as the parser allows: REGEX_MAX_DEPTH. The && chain is a loop. */
bool regex_in_set(const struct regex *regex, uint32_t set, uint32_t c)
{
    const struct regex_set *first = &regex->sets[set];
    bool found = true;
    for (const struct regex_set *part = first; part && found;
         part = part->also_plus_1 ? &regex->sets[part->also_plus_1 - 1] : NULL)
        found = in_items(regex, part, c);
    return found != first->negated;
}

/* Whether the character at `at` is in the set; *next is where the one after it begins. */
static bool matches(const struct regex *regex, uint32_t set, struct bitnet_str text, size_t at,
                    size_t *next)
{
    if (at >= text.n) return false;
    uint8_t byte = (uint8_t)text.at[at];
    if (byte < 0x80) {
        *next = at + 1;
        return regex->sets[set].ascii[byte >> 5] >> (byte & 31) & 1;
    }
    uint32_t c = 0xFFFD;
    size_t length = unicode_decode_lenient(text.at + at, text.n - at, &c);
    *next = at + (length ? length : 1);
    return regex_in_set(regex, set, c);
}

static size_t before(struct bitnet_str text, size_t at)
{
    do at--;
    while (at && ((uint8_t)text.at[at] & 0xC0) == 0x80);
    return at;
}

static uint32_t char_at(struct bitnet_str text, size_t at, size_t *next)
{
    uint32_t c = 0xFFFD;
    size_t length = unicode_decode_lenient(text.at + at, text.n - at, &c);
    *next = at + (length ? length : 1);
    return c;
}

/* ------------------------------------------------------------------ anchors */

static bool is_word_at(struct bitnet_str text, size_t at)
{
    size_t next;
    return at < text.n && (unicode_bits(char_at(text, at, &next)) &
                           (UNICODE_L | UNICODE_M | UNICODE_BIT(CATEGORY_ND) |
                            UNICODE_BIT(CATEGORY_NL) | UNICODE_BIT(CATEGORY_PC)));
}

static bool holds(enum regex_op op, struct bitnet_str text, size_t at)
{
    bool edge = (at && is_word_at(text, before(text, at))) != is_word_at(text, at);
    switch (op) {
    case REGEX_LINE_BEGIN:
        return at == 0 || text.at[at - 1] == '\n';
    case REGEX_LINE_END:
        return at == text.n || text.at[at] == '\n';
    case REGEX_BEGIN:
        return at == 0;
    case REGEX_END:
        return at == text.n;
    case REGEX_END_LINE:
        return at == text.n || (at + 1 == text.n && text.at[at] == '\n');
    case REGEX_WORD_EDGE:
        return edge;
    case REGEX_NO_WORD_EDGE:
        return !edge;
    default:
        return false;
    }
}

/* ------------------------------------------------------------------ memory of failures */

bool regex_text(const struct regex *regex, struct regex_work *work, struct bitnet_str text)
{
    size_t n_bits, n_words;
    work->text = text;
    work->out_of_memory = true;
    if (!bitnet_mul_size(text.n + 1, regex->n_memories, &n_bits)) return false;
    n_words = n_bits / 64 + 1;
    if (n_words > work->failed_cap) {
        uint64_t *bigger = bitnet_realloc(work->failed, n_words, sizeof *bigger);
        if (!bigger) return false;
        work->failed = bigger;
        work->failed_cap = n_words;
    }
    memset(work->failed, 0, n_words * sizeof *work->failed);
    work->out_of_memory = false;
    return true;
}

static uint64_t *word_of(const struct regex *regex, struct regex_work *work, uint32_t pc, size_t at,
                         uint64_t *bit)
{
    size_t index = regex->code[pc].memory * (work->text.n + 1) + at;
    *bit = UINT64_C(1) << (index & 63);
    return &work->failed[index / 64];
}

/* Marks an instruction as tried here; false when it has been already. */
static bool enter(const struct regex *regex, struct regex_work *work, uint32_t pc, size_t at)
{
    uint64_t bit, *word = word_of(regex, work, pc, at, &bit);
    if (*word & bit) return false;
    *word |= bit;
    return true;
}

static void leave(const struct regex *regex, struct regex_work *work, uint32_t pc, size_t at)
{
    uint64_t bit, *word = word_of(regex, work, pc, at, &bit);
    *word &= ~bit;
}

static bool push(struct regex_work *work, struct regex_frame frame)
{
    if (!BITNET_GROW(work->stack, work->n_stack, work->stack_cap, SIZE_MAX / sizeof frame)) {
        work->out_of_memory = true;
        return false;
    }
    work->stack[work->n_stack++] = frame;
    return true;
}

/* ------------------------------------------------------------------ the machine */

struct run {
    const struct regex *regex;
    struct regex_work *work;
    size_t base; /* of the stack, for this run */
    uint32_t pc;
    size_t at;
};

static bool match_here(const struct regex *regex, struct regex_work *work, uint32_t pc, size_t at,
                       size_t *end);

static bool step_char(struct run *run, uint32_t want)
{
    struct bitnet_str text = run->work->text;
    size_t next;
    if (run->at >= text.n || char_at(text, run->at, &next) != want) return false;
    run->at = next;
    return true;
}

static bool has_been(struct run *run, size_t at)
{
    uint64_t bit, *word = word_of(run->regex, run->work, run->pc, at, &bit);
    return *word & bit;
}

/* All the way, remembering that one less may do; but not to a place from which this loop has
 * failed before, because then every place beyond it fails too. */
static bool step_loop(struct run *run, const struct regex_code *code)
{
    size_t begin = run->at, next;
    if (!enter(run->regex, run->work, run->pc, begin)) return false;
    while (matches(run->regex, code->value, run->work->text, run->at, &next) &&
           !has_been(run, next))
        run->at = next;
    return push(run->work, (struct regex_frame){FRAME_LOOP, run->pc, begin, run->at, run->at});
}

static bool step_split(struct run *run, const struct regex_code *code)
{
    if (!enter(run->regex, run->work, run->pc, run->at)) return false;
    if (!push(run->work, (struct regex_frame){.kind = FRAME_BEEN, .pc = run->pc, .at = run->at}) ||
        !push(run->work, (struct regex_frame){
                             .kind = FRAME_TRY, .pc = run->pc + (uint32_t)code->y, .at = run->at}))
        return false;
    run->pc += (uint32_t)code->x;
    return true;
}

/* A body is a run of its own on the same stack; bodies lie in bodies at most REGEX_MAX_DEPTH deep.
 */
static bool step_body(struct run *run, const struct regex_code *code)
{
    size_t end;
    bool matched = match_here(run->regex, run->work, run->pc + 1, run->at, &end);
    if (run->work->out_of_memory || matched == (code->op == REGEX_NOT_AHEAD)) return false;
    if (code->op == REGEX_ATOMIC) run->at = end;
    run->pc += (uint32_t)code->x;
    return true;
}

/* One instruction: false when it fails. */
static bool step(struct run *run)
{
    const struct regex_code *code = &run->regex->code[run->pc];
    size_t next;
    switch (code->op) {
    case REGEX_CHAR:
        if (!step_char(run, code->value)) return false;
        break;
    case REGEX_SET:
        if (!matches(run->regex, code->value, run->work->text, run->at, &next)) return false;
        run->at = next;
        break;
    case REGEX_LOOP:
        if (!step_loop(run, code)) return false;
        break;
    case REGEX_SPLIT:
        return step_split(run, code);
    case REGEX_JUMP:
        run->pc += (uint32_t)code->x;
        return true;
    case REGEX_AHEAD:
    case REGEX_NOT_AHEAD:
    case REGEX_ATOMIC:
        return step_body(run, code);
    default:
        if (!holds(code->op, run->work->text, run->at)) return false;
    }
    run->pc++;
    return true;
}

/* A loop that has nothing left to give has failed from every place it passed. */
static void forget_loop(struct run *run, const struct regex_frame *frame)
{
    for (size_t at = frame->at; at <= frame->last; at++)
        (void)enter(run->regex, run->work, frame->pc, at);
}

/* The next thing to try: false when there is none. */
static bool back(struct run *run)
{
    struct regex_work *work = run->work;
    while (work->n_stack > run->base) {
        struct regex_frame *top = &work->stack[work->n_stack - 1];
        if (top->kind == FRAME_LOOP && top->now > top->at) {
            top->now = before(work->text, top->now);
            run->pc = top->pc + 1;
            run->at = top->now;
            return true;
        }
        if (top->kind == FRAME_LOOP) forget_loop(run, top);
        if (top->kind == FRAME_TRY) {
            run->pc = top->pc;
            run->at = top->at;
        }
        work->n_stack--;
        if (top->kind == FRAME_TRY) return true;
    }
    return false;
}

/* What is still on the stack has not failed. */
static void unwind(struct run *run)
{
    struct regex_work *work = run->work;
    for (; work->n_stack > run->base; work->n_stack--) {
        const struct regex_frame *top = &work->stack[work->n_stack - 1];
        if (top->kind != FRAME_TRY) leave(run->regex, work, top->pc, top->at);
    }
}

static bool match_here(const struct regex *regex, struct regex_work *work, uint32_t pc, size_t at,
                       size_t *end)
{
    struct run run = {regex, work, work->n_stack, pc, at};
    for (;;) {
        assert(run.pc < regex->n);
        if (regex->code[run.pc].op == REGEX_MATCH) {
            *end = run.at;
            unwind(&run);
            return true;
        }
        if (!step(&run) && (work->out_of_memory || !back(&run))) {
            unwind(&run);
            return false;
        }
    }
}

bool regex_find(const struct regex *regex, struct regex_work *work, size_t from, size_t *begin,
                size_t *end)
{
    size_t next;
    for (size_t at = from; at < work->text.n && !work->out_of_memory; at = next) {
        if (match_here(regex, work, 0, at, end) && *end > at) {
            *begin = at;
            return true;
        }
        char_at(work->text, at, &next);
    }
    return false;
}
