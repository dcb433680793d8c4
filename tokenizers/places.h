/* Where a model's tokenizer may lie beside the model itself. Comes in: metadata and cache folders;
 * goes out: repositories and paths. */
#ifndef BITNET_TOKENIZERS_PLACES_H
#define BITNET_TOKENIZERS_PLACES_H

#include <bitnet/arena.h>
#include <bitnet/gguf.h>

#define PLACES_MAX_SOURCES 16

/* Where answers are kept; `failed` once memory ran out, and then no answer counts. */
struct places {
    struct bitnet_arena *arena;
    bool failed;
};

/* "org/name" of every repository that the metadata names as the model's source or base, without
 * repetitions. Returns how many. */
size_t places_sources(const struct bitnet_gguf *gguf, struct places *places,
                      const char *sources[PLACES_MAX_SOURCES]);
/* The repository that is known for a vocabulary of this many tokens, or NULL. */
const char *places_guess(size_t n_tokens);
/* The folder of a cached repository's revision "main", else of any; NULL when there is none. */
const char *places_cached(const char *cache, const char *repository, struct places *places);
/* The folder that holds `path`, and the one above that one. */
const char *places_folder(const char *path, struct places *places);
const char *places_parent(const char *folder, struct places *places);
/* The only GGUF of a folder, or the first part of the only set; NULL when there is none or more. */
const char *places_gguf(const char *folder, struct places *places);
/* "org/name", as a repository is written: both halves are safe as parts of a path. */
bool places_is_repository(struct bitnet_str text);

#endif
