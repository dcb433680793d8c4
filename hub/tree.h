/* What a commit holds: every file with its size and hash. */
#ifndef BITNET_HUB_TREE_H
#define BITNET_HUB_TREE_H

#include <bitnet/arena.h>
#include <bitnet/text.h>

#include "names.h"

struct hub_tree_file {
    const char *path;
    uint64_t size;
    const char *etag;       /* the name of its blob: lfs_sha256, or blob_id */
    const char *blob_id;    /* git's hash (of the pointer, for a large file) */
    const char *lfs_sha256; /* NULL: a plain git file */
    const char *xet_hash;   /* NULL: not stored there, or not told */
};

struct hub_tree {
    struct hub_tree_file *files; /* by path once hub_tree_finish() was called */
    size_t n, cap;
    bool is_storable; /* huggingface_hub would store it too (no redacted hash in it) */
    struct bitnet_arena arena;
    struct bitnet_map names;
};

/* Begins as {0}, is_storable true after the first add. Adds one page of the API's listing.
 * FORMAT, LIMIT, POLICY (a name or hash that must not become a path), MEMORY. */
enum bitnet_status hub_tree_add_page(struct hub_tree *tree, struct bitnet_str json,
                                     struct bitnet_error *err);
/* Reads a stored listing (trees/<commit>.json). */
enum bitnet_status hub_tree_add_stored(struct hub_tree *tree, struct bitnet_str json,
                                       struct bitnet_error *err);
/* Adds one file that is known otherwise. */
enum bitnet_status hub_tree_add(struct hub_tree *tree, struct hub_tree_file file,
                                struct bitnet_error *err);
void hub_tree_finish(struct hub_tree *tree);
/* Writes the stored form, byte for byte as Python's json.dump(indent=1) does. */
bool hub_tree_write(const struct hub_tree *tree, struct bitnet_buf *out);
const struct hub_tree_file *hub_tree_find(const struct hub_tree *tree, struct bitnet_str path);
void hub_tree_free(struct hub_tree *tree);

#endif
