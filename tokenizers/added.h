/* Tokens that files beside a SentencePiece .model add or describe anew. See added.c. */
#ifndef BITNET_TOKENIZERS_ADDED_H
#define BITNET_TOKENIZERS_ADDED_H

#include <bitnet/json.h>

#include "insides.h"
#include "spm_model.h"

bool added_looks_special(struct bitnet_str text);

/* Completes the tokenizer of a .model, before it is finished: tokens of `added` (the root of
 * added_tokens.json) and `config` (of tokenizer_config.json), either of which may be NULL, and pads
 * up to n_vocab (0: none). */
enum bitnet_status added_apply(struct bitnet_tokenizer *tokenizer, size_t n_vocab,
                               const struct bitnet_json *added, const struct bitnet_json *config,
                               struct bitnet_error *err);

/* Gives the tokens of a tokenizer.json the scores and types of the .model beside it, if it holds
 * the same spellings (*adopted). */
enum bitnet_status added_adopt(struct bitnet_tokenizer *tokenizer, const struct spm_model *model,
                               const struct bitnet_json *config, bool *adopted,
                               struct bitnet_error *err);

#endif
