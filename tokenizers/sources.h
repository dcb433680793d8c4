/* The makers of tokenizers from the files of a model folder, for from_dir.c, which knows what lies
 * beside them. Each reads its file; the finishing call comes when everything else is known. */
#ifndef BITNET_TOKENIZERS_SOURCES_H
#define BITNET_TOKENIZERS_SOURCES_H

#include <bitnet/json.h>

#include "insides.h"

/* from_tiktoken.c: still to be finished. `pre` names how text is cut (NULL: as the known vocabulary
 * of this size is); `config` is the root of tokenizer_config.json or NULL: its added_tokens_decoder
 * lists the special tokens, else those of the known vocabulary are taken. Pads up to n_vocab ids
 * (0: none). */
enum bitnet_status tokenizer_read_tiktoken(struct bitnet_tokenizer **tokenizer,
                                           struct bitnet_str file, const char *pre, size_t n_vocab,
                                           const struct bitnet_json *config,
                                           struct bitnet_error *err);
/* UNSUPPORTED: a vocabulary taken for a known one by its size gives other ids. */
enum bitnet_status tokenizer_finish_tiktoken(struct bitnet_tokenizer *tokenizer,
                                             struct bitnet_str file, const char *pre,
                                             struct bitnet_error *err);
/* True for text that begins with a line of a tiktoken file. */
bool is_tiktoken(struct bitnet_str file);

/* from_merges.c: vocab.json and merges.txt, and the roots of the files beside them (NULL: absent).
 */
#define MERGES_MAX_ADDED 65536u
struct merges_source {
    struct bitnet_str vocab, merges; /* texts of the two files */
    const struct bitnet_json *tokenizer_config, *special_map, *added, *config;
};
/* Still to be finished by tokenizer_finish_json(). UNSUPPORTED: how text is cut is not known. */
enum bitnet_status tokenizer_read_merges(struct bitnet_tokenizer **tokenizer,
                                         const struct merges_source *source,
                                         struct bitnet_error *err);

/* from_words.c: vocab.txt and the root of tokenizer_config.json (NULL: absent). Still to be
 * finished by tokenizer_finish_json(). */
enum bitnet_status tokenizer_read_words(struct bitnet_tokenizer **tokenizer, struct bitnet_str file,
                                        const struct bitnet_json *config, struct bitnet_error *err);

/* from_rwkv.c: RWKV's vocabulary file; still to be finished. */
enum bitnet_status tokenizer_read_rwkv(struct bitnet_tokenizer **tokenizer, struct bitnet_str file,
                                       struct bitnet_error *err);

/* from_json.c: a tokenizer.json in parts. `vocab` and `merges`, where not NULL, stand in for the
 * members of root.model. */
struct json_parts {
    const struct bitnet_json *root, *vocab, *merges;
};
enum bitnet_status tokenizer_read_parts(struct bitnet_tokenizer **tokenizer,
                                        const struct json_parts *parts, struct bitnet_error *err);

#endif
