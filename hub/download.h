/* Files of one commit, fetched at once over several connections, verified, and put in place. */
#ifndef BITNET_HUB_DOWNLOAD_H
#define BITNET_HUB_DOWNLOAD_H

#include "client.h"
#include "lock.h"
#include "partial.h"

/* Where files go when they are right: the cache, or a folder of the user's. */
struct hub_place {
    struct hub_partial_place partials;
    void *user;
    /* Is it there (another process may have finished)? Then only link() is left to do. */
    bool (*is_present)(void *user, const struct hub_tree_file *file);
    enum bitnet_status (*link)(void *user, const struct hub_tree_file *file,
                               struct bitnet_error *err);
    enum hub_lock_result (*lock)(void *user, const struct hub_tree_file *file, int *fd);
    /* Gives the verified data (`partial`, a name below partials.dir) its final name. NOT_FOUND when
     * somebody removed the partial meanwhile; `fd` is still open on it. */
    enum bitnet_status (*publish)(void *user, const struct hub_tree_file *file, const char *partial,
                                  int fd, struct bitnet_error *err);
};

/* Fetches all, or fails as bitnet_hub_pull() does and leaves partials for the next time. `hub`
 * tells events. *is_stale: every file asked for was unknown at this commit. */
enum bitnet_status hub_download(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                const char *commit, const struct hub_tree_file *const *files,
                                size_t n_files, const struct hub_place *place, bool *is_stale,
                                struct bitnet_error *err);

#endif
