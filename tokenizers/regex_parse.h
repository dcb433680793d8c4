/* The parser of expressions, which has two parts: regex_set.c reads what stands for one character
 * (a class in brackets, a property, an escape) and owns the reading of characters, regex_parse.c
 * all else. */
#ifndef BITNET_TOKENIZERS_REGEX_PARSE_H
#define BITNET_TOKENIZERS_REGEX_PARSE_H

#include "regex_program.h"

struct regex_parser {
    struct regex *regex;
    struct bitnet_str source;
    size_t at;
    bool any_case;
    struct bitnet_error *err;
};

/* Failures, with the place. */
enum bitnet_status regex_wrong(struct regex_parser *parser, const char *what);
enum bitnet_status regex_unsupported(struct regex_parser *parser, const char *what);
enum bitnet_status regex_no_memory(struct regex_parser *parser);

/* The source: its end, its next character, whether `text` comes next, and taking it. */
bool regex_at_end(const struct regex_parser *parser);
char regex_look(const struct regex_parser *parser);
bool regex_follows(const struct regex_parser *parser, const char *text);
bool regex_accept(struct regex_parser *parser, const char *text);
uint32_t regex_take(struct regex_parser *parser);

/* Sets of characters, and what is read into them. */
enum bitnet_status regex_new_set(struct regex_parser *parser, uint32_t *set);
enum bitnet_status regex_add_item(struct regex_parser *parser, uint32_t set,
                                  struct regex_item item);
enum bitnet_status regex_parse_class(struct regex_parser *parser, int depth, uint32_t *set);
enum bitnet_status regex_parse_property(struct regex_parser *parser, uint32_t set, bool negated);
bool regex_class_of(char letter, struct regex_item *item);
enum bitnet_status regex_parse_escape(struct regex_parser *parser, uint32_t *c);
enum bitnet_status regex_add_range(struct regex_parser *parser, uint32_t set, uint32_t first,
                                   uint32_t last);

#endif
