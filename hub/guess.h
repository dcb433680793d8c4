/* What a commit holds, as far as its snapshot in the cache tells. */
#ifndef BITNET_HUB_GUESS_H
#define BITNET_HUB_GUESS_H

#include "cache.h"
#include "tree.h"

/* Fills `tree` (finished) from the snapshot's folder. Nothing says what is missing. NOT_FOUND:
 * there is no such snapshot; MEMORY. */
enum bitnet_status hub_guess(const struct hub_repo *repo, const char *commit, struct hub_tree *tree,
                             struct bitnet_error *err);

#endif
