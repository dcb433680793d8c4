/* Finding a model's tokenizer, and saying which one was taken and why. Places are tried in one
 * order: the path that was given (then nothing else); inside the GGUF; files beside the model;
 * cached repositories; download. What is found is held against the model before it is taken: the
 * number of tokens, and the spelling of the first, the last, the special and a spread of others. A
 * wrong tokenizer gives fluent nonsense, so the last step is an error, never a substitute.
 *
 * Caches have the layout of huggingface_hub (models--org--name/snapshots/<commit>). The network is
 * the caller's: a callback fetches, and is never called when offline. */
#ifndef BITNET_DISCOVER_H
#define BITNET_DISCOVER_H

#include "bitnet/arena.h"
#include "bitnet/tokenizer.h"

enum bitnet_strategy { /* in the order of trying */
                       BITNET_STRATEGY_EXPLICIT,
                       BITNET_STRATEGY_EMBEDDED,
                       BITNET_STRATEGY_BESIDE,
                       BITNET_STRATEGY_CACHE,
                       BITNET_STRATEGY_DOWNLOAD
};
/* "explicit", "embedded", "beside", "cache", "download" */
const char *bitnet_strategy_name(enum bitnet_strategy strategy);

/* What there is to find a tokenizer for. */
struct bitnet_discovery_model {
    const char *path;               /* a GGUF, a model folder, or a tokenizer's own file */
    const struct bitnet_gguf *gguf; /* already open; NULL: a GGUF at `path` is opened here */
    const char *repository;         /* `path` is the cached folder of this one; or NULL. With
                                     * `path` NULL: a repository to look for */
};

/* Makes the tokenizer files of a repository present and returns their folder, in `arena`. */
typedef enum bitnet_status bitnet_fetch_fn(void *user, const char *repository,
                                           struct bitnet_arena *arena, const char **folder,
                                           struct bitnet_error *err);

struct bitnet_discovery_options {
    const char *path;          /* take this file or folder and nothing else; or NULL */
    const char *const *caches; /* [n_caches] folders that hold models--org--name/ */
    size_t n_caches;
    bool offline;
    bool guess;                /* may name a repository by the number of tokens alone */
    enum bitnet_compat compat; /* whose rules it is to follow */
    bitnet_fetch_fn *fetch;    /* NULL: there is no network */
    void *user;
    const struct bitnet_log *log; /* gets the warnings of the record, each once */
};

/* A place that was looked at. */
struct bitnet_discovery_attempt {
    enum bitnet_strategy strategy;
    const char *place;   /* a path, or a repository */
    const char *outcome; /* "taken", or why not */
    bool is_taken;
};

/* The decision. Also after a failure: then only attempts and warnings are there. */
struct bitnet_discovery {
    enum bitnet_strategy strategy;
    const char *path;        /* of what was read */
    const char *repository;  /* cache, download: whose files; else NULL */
    const char *description; /* a sentence for people */
    bool requires_network;   /* it had to be downloaded */
    bool uses_cache;         /* it lies in a cache */
    bool is_guess;           /* the repository was named by the number of tokens alone */
    bool large_vocab;        /* more than 65536 tokens */
    size_t n_tokens, n_rows; /* of the tokenizer; of the model's embedding, 0: not known */
    const struct bitnet_discovery_attempt *attempts;
    size_t n_attempts;
    const char *const *warnings;
    size_t n_warnings;
    struct bitnet_arena arena; /* owns it all */
};

/* Fails with what the path given fails with; with what is wrong with the only tokenizer there is;
 * FORMAT when what was downloaded does not fit the model (it stays where it is, which the text
 * says); OFFLINE when a download would be next; NOT_FOUND when there is nowhere else to look;
 * MEMORY. Free `discovery` in any case. */
enum bitnet_status bitnet_tokenizer_discover(struct bitnet_tokenizer **tokenizer,
                                             struct bitnet_discovery *discovery,
                                             const struct bitnet_discovery_model *model,
                                             const struct bitnet_discovery_options *options,
                                             struct bitnet_error *err);
void bitnet_discovery_free(struct bitnet_discovery *discovery);

#endif
