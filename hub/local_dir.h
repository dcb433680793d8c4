/* A folder of the user's with plain files, and huggingface_hub's notes about them:
 *
 *   D/<path>
 *   D/.cache/huggingface/{CACHEDIR.TAG,.gitignore}
 *   D/.cache/huggingface/download/<path>.metadata     commit, etag, time
 *   D/.cache/huggingface/download/<path>.lock
 *   D/.cache/huggingface/trees/<commit>.json
 */
#ifndef BITNET_HUB_LOCAL_DIR_H
#define BITNET_HUB_LOCAL_DIR_H

#include "download.h"

/* A folder of ours below the local one. */
#define HUB_LOCAL_SCRATCH ".cache/huggingface/.bitnet-hub/tmp"

struct hub_local {
    int dir;
    char path[HUB_PATH_BYTES];
    char commit[41];
};

/* With `create`, makes the folder and its notes' folder. NOT_FOUND, IO, POLICY. */
enum bitnet_status hub_local_open(struct hub_local *local, const char *path, const char *commit,
                                  bool create, struct bitnet_error *err);
void hub_local_close(struct hub_local *local);
/* The file is there, unchanged since it was noted with this etag; or it has no note but the right
 * SHA-256 (then it is noted, unless `dry_run`). */
bool hub_local_is_present(struct hub_local *local, const struct hub_tree_file *file, bool dry_run);
/* Hashes a file that is there; what is wrong loses its note, so that it is fetched again. */
bool hub_local_is_right(struct hub_local *local, const struct hub_tree_file *file);
/* The place to download to. Borrowed from `local`. */
struct hub_place hub_local_place(struct hub_local *local);

#endif
