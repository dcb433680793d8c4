/* What every program that needs a tokenizer shares: the options that say where to look, the
 * environment and the hub behind them, and the decision as text or JSON. Part of the programs, not
 * of the library. */
#ifndef BITNET_TOKENIZERS_MAIN_FIND_H
#define BITNET_TOKENIZERS_MAIN_FIND_H

#include "bitnet/args.h"
#include "bitnet/discover.h"
#include "bitnet/hub.h"

#include <stdio.h>

/* Begins as {.tool = "bitnet-..."}. */
struct finder {
    const char *tool;
    /* Set by the command line before finder_open(): */
    const char *path, *compat;
    bool guess, offline, is_quiet;
    /* Filled by finder_open(): */
    const struct bitnet_log *log;
    struct bitnet_arena arena;
    struct bitnet_hub_settings settings;
    struct bitnet_hub_ref ref; /* of the model argument, when it is a repository */
    const char *caches[2];
    bool has_hub;
    struct bitnet_discovery_options options;
    struct bitnet_discovery record;
};

/* clang-format off */
#define FINDER_OPTIONS(f)                                                                          \
    {"--tokenizer", "PATH", BITNET_OPTION_TEXT, &(f)->path,                                         \
     "the tokenizer to use: a file or a folder (default: searched for)", 0, 0},                    \
    {"--compat", "ENGINE", BITNET_OPTION_TEXT, &(f)->compat,                                        \
     "whose token ids where they differ: llama.cpp or hf (default: the source's owner)", 0, 0},    \
    {"--guess", NULL, BITNET_OPTION_FLAG, &(f)->guess,                                              \
     "when nothing names a tokenizer, go by the number of tokens alone", 0, 0},                    \
    {"--offline", NULL, BITNET_OPTION_FLAG, &(f)->offline,                                          \
     "never ask the network (also BITNET_OFFLINE, HF_HUB_OFFLINE)", 0, 0}
/* clang-format on */

/* Reads the environment; `log` gets warnings. */
enum bitnet_status finder_open(struct finder *finder, const struct bitnet_log *log,
                               struct bitnet_error *err);
/* What the word after -m is: a path, or a repository, which may be in the cache. */
enum bitnet_status finder_model(struct finder *finder, const char *word,
                                struct bitnet_discovery_model *model, struct bitnet_error *err);
/* Searches; the decision stays in finder->record, also after a failure. */
enum bitnet_status finder_find(struct finder *finder, const struct bitnet_discovery_model *model,
                               struct bitnet_tokenizer **tokenizer, struct bitnet_error *err);
void finder_close(struct finder *finder);

/* The record; `tokenizer` NULL: none was found. */
void finder_print(FILE *out, const struct bitnet_discovery *record,
                  const struct bitnet_tokenizer *tokenizer);
/* The same as one JSON object; false: out of memory. */
bool finder_print_json(FILE *out, const struct bitnet_discovery *record,
                       const struct bitnet_tokenizer *tokenizer);

#endif
