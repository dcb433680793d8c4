/* Regular expressions as tokenizers use them, leftmost-first, over UTF-8: literals, classes with
 * Unicode categories and &&, groups, alternation, greedy, lazy and possessive counts, look-ahead,
 * anchors, (?i:...). The dialect is Oniguruma's as far as it goes; what is not known is refused by
 * its place and name. No captures, no back-references, no look-behind.
 *
 * Comes in: an expression; goes out: matches. Matching keeps a stack of its own, so nothing
 * recurses with the text, and remembers which (place in the program, place in the text) have
 * failed, so time is linear in the text times the size of the expression, whatever it says. */
#ifndef BITNET_TOKENIZERS_REGEX_H
#define BITNET_TOKENIZERS_REGEX_H

#include <bitnet/bytes.h>
#include <bitnet/error.h>

#define REGEX_MAX_SOURCE 65536u
#define REGEX_MAX_DEPTH  250
#define REGEX_MAX_REPEAT 1000u
#define REGEX_MAX_STATES 100000u

/* A compiled expression. Immutable, so any number of threads may match with it. */
struct regex;

/* FORMAT ("position 3: ..."), UNSUPPORTED, LIMIT, MEMORY. */
enum bitnet_status regex_new(struct regex **regex, struct bitnet_str source,
                             struct bitnet_error *err);
void regex_free(struct regex *regex); /* NULL is fine */

/* Working memory of one thread; begins as {0}. It remembers what failed in one text: regex_text()
 * must be called before the first find in another one. */
struct regex_work {
    struct regex_frame *stack;
    size_t n_stack, stack_cap;
    uint64_t *failed; /* a bit for each (remembering instruction, place) */
    size_t failed_cap;
    struct bitnet_str text;
    bool out_of_memory;
};

/* Gets ready for `text`. False: out of memory. */
bool regex_text(const struct regex *regex, struct regex_work *work, struct bitnet_str text);
/* The first match that begins at or after `from` and is not empty. False: none, or out_of_memory.
 */
bool regex_find(const struct regex *regex, struct regex_work *work, size_t from, size_t *begin,
                size_t *end);
void regex_work_free(struct regex_work *work);

#endif
