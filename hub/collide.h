/* File systems that take two names for one: what a repository keeps apart may fall together there.
 */
#ifndef BITNET_HUB_COLLIDE_H
#define BITNET_HUB_COLLIDE_H

#include "tree.h"

/* POLICY, naming both, when two of the chosen files would be one file below the open folder `dir`:
 * their names differ only in the case of ASCII letters, and the file system does not tell case.
 * `scratch` is a folder below `dir` that is ours. MEMORY. */
enum bitnet_status hub_check_collisions(int dir, const char *scratch, const struct hub_tree *tree,
                                        const size_t *index, size_t n, struct bitnet_error *err);

#endif
