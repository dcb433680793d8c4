/* A tokenizer as the text of a tokenizer.json. export.c puts the file together, export_rules.c
 * writes what happens to text before and after the model, export_merges.c the merges of
 * vocabularies that merge by score. */
#ifndef BITNET_TOKENIZERS_EXPORT_H
#define BITNET_TOKENIZERS_EXPORT_H

#include "hf.h"

struct export
{
    const struct bitnet_tokenizer *tokenizer;
    struct bitnet_buf *out;
    uint32_t n_model; /* ids below are in the model's vocabulary */
    struct bitnet_error *err;
};

enum bitnet_status export_no_memory(struct export *export);
/* UNSUPPORTED: what the schema cannot hold. */
enum bitnet_status export_refuse(struct export *export, const char *what);

/* export_rules.c: ,"normalizer":...,"pre_tokenizer":...,"decoder":... of a tokenizer that is not
 * from a tokenizer.json. */
enum bitnet_status export_rules(struct export *export);

/* export_merges.c: the list of merges that joins as the scores do. */
enum bitnet_status export_scored_merges(struct export *export);
/* One merge, as "left right" or, when a side holds a space, as a pair. */
bool export_merge(struct bitnet_buf *out, struct bitnet_str left, struct bitnet_str right,
                  bool as_pairs);

#endif
