/* The parser of templates, which has three parts: jinja_lex.c cuts the inside of a tag into tokens,
 * jinja_expression.c makes expressions of them, jinja_parse.c finds the tags and makes statements.
 */
#ifndef BITNET_TOKENIZERS_JINJA_PARSE_H
#define BITNET_TOKENIZERS_JINJA_PARSE_H

#include "jinja.h"

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_INT, TOKEN_FLOAT, TOKEN_STR, TOKEN_OP };

struct jinja_token {
    enum token_kind kind;
    struct bitnet_str text; /* STR: unescaped */
    int64_t integer;
    double real;
};

struct jinja_parser {
    struct jinja *jinja;
    size_t at; /* in the source */
    uint32_t line;
    struct bitnet_str in;     /* what is left of the tag */
    struct jinja_token token; /* the next one */
    bool line_start;          /* the last tag took the newline behind it */
    bool strip_next;          /* the last tag ended in -%} */
    unsigned depth;
};

/* jinja_lex.c. FORMAT and UNSUPPORTED with the line. */
enum bitnet_status jinja_wrong(struct jinja_parser *parser, const char *what);
enum bitnet_status jinja_unsupported(struct jinja_parser *parser, struct bitnet_str what);
enum bitnet_status jinja_new_node(struct jinja_parser *parser, enum jinja_node_kind kind,
                                  struct jinja_node **node);
/* Reads the next token of the tag. */
enum bitnet_status jinja_advance(struct jinja_parser *parser);
/* Is the next token this sign, this word? */
bool jinja_is_op(const struct jinja_parser *parser, const char *op);
bool jinja_is_word(const struct jinja_parser *parser, const char *word);
/* Takes the next token, which must be this sign, or a name. */
enum bitnet_status jinja_expect_op(struct jinja_parser *parser, const char *op);
enum bitnet_status jinja_expect_name(struct jinja_parser *parser, struct bitnet_str *name);

/* jinja_expression.c: a whole expression, and one without a condition behind it. */
enum bitnet_status jinja_parse_expression(struct jinja_parser *parser, struct jinja_node **node);
enum bitnet_status jinja_parse_or(struct jinja_parser *parser, struct jinja_node **node);
/* Appends to a row of nodes. */
void jinja_link_last(const struct jinja_node **first, struct jinja_node **last,
                     struct jinja_node *node);

#endif
