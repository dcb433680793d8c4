/* Which files of a repository a pull is about. */
#ifndef BITNET_HUB_SELECT_H
#define BITNET_HUB_SELECT_H

#include "tree.h"

/* Python's fnmatch, case-sensitive, over the whole path: '*' crosses '/', "[...]" and "[!...]",
 * no escape character; a pattern that ends in '/' means all below. */
bool hub_pattern_match(struct bitnet_str pattern, struct bitnet_str path);
/* Files that can run code when opened (pickles) or are code. */
bool hub_is_unsafe(struct bitnet_str path);

enum { HUB_UNSAFE_SHOWN = 8 };

struct hub_selection {
    size_t *index; /* into tree->files */
    size_t n;
    size_t n_unsafe;                      /* left out by policy */
    const char *unsafe[HUB_UNSAFE_SHOWN]; /* the first of them, for messages */
    const char *missing;                  /* a file asked for by name that is not there; borrowed */
};

/* NOT_FOUND (a name or a pattern meets nothing; nearest names in the hint), POLICY (only unsafe
 * files are left), MEMORY. Free `index` with bitnet_free(), also on failure. */
enum bitnet_status hub_select(struct hub_selection *selection, const struct hub_tree *tree,
                              const struct bitnet_hub_pull_options *options,
                              struct bitnet_error *err);

/* The one GGUF file whose name has this type as a word ("i2_s" in "model-I2_S.gguf", or its first
 * part); NULL when there is none, or several. */
const char *hub_gguf_of_type(const struct hub_tree *tree, struct bitnet_str type);

#endif
