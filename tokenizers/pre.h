/* The pre-tokenizers that a GGUF names in tokenizer.ggml.pre, as data: how each cuts text and which
 * defaults it brings. Comes in: a name; goes out: a row. */
#ifndef BITNET_TOKENIZERS_PRE_H
#define BITNET_TOKENIZERS_PRE_H

#include "split.h"

enum pre_bos { PRE_BOS_KEEP, PRE_BOS_ADD, PRE_BOS_UNSET, PRE_BOS_FORCE };

struct pre_pass {
    enum split_matcher matcher;
    const char *regex; /* for SPLIT_REGEX: compiled when a tokenizer is made */
};

struct pre {
    const char *name; /* as the GGUF has it */
    const struct pre_pass *passes;
    size_t n_passes;
    bool ignore_merges; /* a word that is a token is that token */
    enum pre_bos bos;   /* default of add_bos; FORCE: whatever the file says; UNSET: no bos */
    bool clean_spaces;  /* detokenizing a whole sequence tidies spaces before punctuation */
};

/* NULL when the name is unknown. */
const struct pre *pre_find(struct bitnet_str name);
/* Cut at newlines only: such a vocabulary spells text in characters, spaces as U+2581, and what it
 * cannot spell in "<0xHH>", as SentencePiece does; its merges rank as those of other BPE do. */
bool pre_is_by_chars(const struct pre *pre);

#endif
