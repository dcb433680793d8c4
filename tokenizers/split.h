/* Cutting text into the words that are merged one by one. A pre-tokenizer is a row of passes; each
 * pass cuts every piece that the pass before has left. Comes in: well-formed text and passes; goes
 * out: words, one by one, by an iterator that allocates nothing.
 *
 * A pass finds its matches with a hand-written matcher, linear and without recursion; what lies
 * between two matches is a piece of its own. The expressions that the matchers spell are in
 * tokenizers.md section 5 and above each matcher. */
#ifndef BITNET_TOKENIZERS_SPLIT_H
#define BITNET_TOKENIZERS_SPLIT_H

#include "regex.h"

enum split_matcher {
    SPLIT_GPT2,
    SPLIT_LLAMA3,           /* numbers of at most three digits */
    SPLIT_QWEN2,            /* as LLAMA3, numbers of one digit */
    SPLIT_NUMBER,           /* \p{N} */
    SPLIT_NUMBERS,          /* \p{N}+ */
    SPLIT_DIGITS3,          /* [0-9][0-9][0-9] */
    SPLIT_GROUPS3,          /* ASCII digits in threes, counted from the right */
    SPLIT_PUNCTUATION,      /* [\p{P}$+<=>^~|]+ */
    SPLIT_PUNCTUATION_TICK, /* the same with a backtick */
    SPLIT_MARK,             /* one character of \p{P} or ASCII punctuation */
    SPLIT_WHITE,            /* one character of white space */
    SPLIT_STRING,           /* `string` */
    SPLIT_REGEX
};

/* What becomes of a match; the words of Hugging Face tokenizers. */
enum split_behavior {
    SPLIT_ISOLATED,
    SPLIT_REMOVED,
    SPLIT_CONTIGUOUS,
    SPLIT_WITH_PREVIOUS,
    SPLIT_WITH_NEXT
};

struct split_pass {
    enum split_matcher matcher;
    enum split_behavior behavior;
    bool invert;               /* what lies between the matches is the match */
    bool long_s;               /* U+017F counts as s in contractions */
    struct bitnet_str string;  /* for SPLIT_STRING */
    const struct regex *regex; /* for SPLIT_REGEX */
};

#define SPLIT_MAX_PASSES 16

struct split_range {
    size_t begin, end;
    bool is_match;
};

struct split_level {
    const struct split_pass *pass;
    struct regex_work *work;
    const char *text;
    struct split_range piece;    /* what this pass cuts */
    size_t at;                   /* up to here it has been cut */
    struct split_range queue[2]; /* found but not yet handed on */
    size_t n_queue;
    size_t run_end; /* GROUPS3: of the digits last seen */
};

/* Memory for the expressions of each pass; begins as {0}. */
struct split_work {
    struct regex_work regex[SPLIT_MAX_PASSES];
};
void split_work_free(struct split_work *work);

struct splitter {
    struct split_work *work;
    bool out_of_memory; /* the words ended early */
    const struct split_pass *passes;
    size_t n_passes;
    const char *text;
    struct split_level level[SPLIT_MAX_PASSES];
    size_t depth; /* levels in use */
    bool whole;   /* no passes: the text is one word, not yet handed out */
    size_t n_text;
};

/* Begins to cut `text`, valid in the lenient sense of unicode.h. n_passes <= SPLIT_MAX_PASSES. */
void split_begin(struct splitter *splitter, struct split_work *work,
                 const struct split_pass *passes, size_t n_passes, struct bitnet_str text);
/* The next word; false at the end, or out_of_memory. Words are never empty. */
bool split_next(struct splitter *splitter, struct bitnet_str *word);

#endif
