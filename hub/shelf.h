/* One cached repository as it lies on disk: refs, snapshots with their entries, blobs. */
#ifndef BITNET_HUB_SHELF_H
#define BITNET_HUB_SHELF_H

#include <bitnet/arena.h>

#include "cache.h"
#include "partial.h"

struct hub_shelf_ref {
    const char *name, *commit; /* commit "": the file holds none */
};

struct hub_shelf_entry {
    const char *path;
    const char *etag; /* "": a file of its own (a cache without links), or something strange */
    uint64_t size;
    bool is_file; /* of its own */
    bool is_dead; /* a link to nothing, or to somewhere else */
};

struct hub_shelf_snapshot {
    const char *commit;
    int64_t modified;
    struct hub_shelf_entry *entries;
    size_t n_entries, cap;
};

struct hub_shelf_blob {
    const char *etag;
    uint64_t size;
    unsigned n_uses; /* by entries of all snapshots */
};

struct hub_shelf {
    struct hub_shelf_ref *refs;
    struct hub_shelf_snapshot *snapshots;
    struct hub_shelf_blob *blobs;
    size_t n_refs, refs_cap, n_snapshots, snapshots_cap, n_blobs, blobs_cap;
    uint64_t partial_bytes;
    size_t n_partials;
    const char *problem; /* the first thing that is not in order, or NULL */
    struct bitnet_arena arena;
    struct bitnet_map by_etag; /* etag -> blob */
};

/* Reads it all; touches nothing. IO, LIMIT, MEMORY. */
enum bitnet_status hub_shelf_read(struct hub_shelf *shelf, const struct hub_repo *repo,
                                  struct bitnet_error *err);
void hub_shelf_free(struct hub_shelf *shelf);

struct hub_shelf_blob *hub_shelf_blob(const struct hub_shelf *shelf, const char *etag);
struct hub_shelf_snapshot *hub_shelf_snapshot(const struct hub_shelf *shelf, const char *commit);

/* Calls `each` for every repository folder of a cache, opened; stops at the first failure. */
enum bitnet_status hub_each_repo(const char *cache_dir,
                                 enum bitnet_status (*each)(void *user, struct hub_repo *repo,
                                                            const struct bitnet_hub_ref *ref,
                                                            struct bitnet_error *err),
                                 void *user, struct bitnet_error *err);

struct hub_partial_place hub_cache_partials(const struct hub_repo *repo);

#endif
