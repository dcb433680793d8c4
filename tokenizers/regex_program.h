/* The program that an expression becomes. Between regex_parse.c, which writes it, and regex.c,
 * which runs it. Jumps are relative, so that a piece of program can be copied. */
#ifndef BITNET_TOKENIZERS_REGEX_PROGRAM_H
#define BITNET_TOKENIZERS_REGEX_PROGRAM_H

#include "regex.h"

enum regex_op {
    REGEX_CHAR,      /* the character `value` */
    REGEX_SET,       /* a character of set `value` */
    REGEX_LOOP,      /* as many characters of set `value` as there are, gives back one by one */
    REGEX_SPLIT,     /* goes to `x`, and if that fails to `y` */
    REGEX_JUMP,      /* goes to `x` */
    REGEX_AHEAD,     /* the body (up to `x`) must match here; nothing is consumed */
    REGEX_NOT_AHEAD, /* the body must not match here */
    REGEX_ATOMIC,    /* the body's first match is taken for good */
    REGEX_LINE_BEGIN,
    REGEX_LINE_END, /* $ : at the end, or before a newline */
    REGEX_BEGIN,
    REGEX_END,
    REGEX_END_LINE, /* \Z : at the end, or before the newline there */
    REGEX_WORD_EDGE,
    REGEX_NO_WORD_EDGE,
    REGEX_MATCH
};

struct regex_code {
    enum regex_op op;
    uint32_t value;
    int32_t x, y;    /* relative to this instruction */
    uint32_t memory; /* SPLIT, LOOP: which row of remembered failures */
};

/* Characters: any item, and all of `also`, unless `negated`. */
struct regex_item {
    uint32_t first, last; /* a range, when `bits` is 0 and there is no set */
    uint32_t bits;        /* or general categories (UNICODE_*) */
    uint32_t set_plus_1;  /* or another set */
    bool negated;         /* of bits or set */
};
struct regex_set {
    struct regex_item *items;
    size_t n, cap;
    uint32_t also_plus_1; /* && another set */
    bool negated;
    uint32_t ascii[4]; /* a bit per character below 0x80, all of the above in it */
};

struct regex {
    struct regex_code *code;
    size_t n, cap;
    struct regex_set *sets;
    size_t n_sets, sets_cap;
    uint32_t n_memories;
};

/* `c` in set number `set`, asking the items (not `ascii`). */
bool regex_in_set(const struct regex *regex, uint32_t set, uint32_t c);

#endif
