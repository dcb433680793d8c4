/* The layout of the cache on disk, as huggingface_hub has it, one repository at a time:
 *
 *   <cache>/CACHEDIR.TAG
 *   <cache>/.locks/models--org--name/<etag>.lock
 *   <cache>/models--org--name/
 *       blobs/<etag>                          contents, named by hash
 *       blobs/<etag>.<8 hex>.incomplete       a running or dead download
 *       refs/<revision>                       40 bytes: the commit
 *       snapshots/<commit>/<path> -> ../../blobs/<etag>
 *       trees/<commit>.json                   what the commit holds
 *       .no_exist/<commit>/<path>             known to be absent
 *       .bitnet-hub/                          ours; others do not look here
 *           partial/<etag>.<8 hex>.journal
 *           verified/<etag>                   size, time, inode when the hash was right
 *           tmp/
 */
#ifndef BITNET_HUB_CACHE_H
#define BITNET_HUB_CACHE_H

#include <bitnet/hub.h>

#include "disk.h"
#include "names.h"

#define HUB_NAME_MAX   (BITNET_HUB_FILE_MAX + 128) /* any path below a repository folder */
#define HUB_STATE_DIR  ".bitnet-hub"
#define HUB_PATH_BYTES 4096

struct hub_repo {
    int root; /* the cache folder */
    int dir;  /* the repository's folder in it */
    char folder[HUB_FOLDER_MAX];
    char path[HUB_PATH_BYTES]; /* of the repository's folder, for messages and results */
};

/* Opens the folder of a repository; with `create`, makes it (and the cache, with its tag).
 * NOT_FOUND, IO, POLICY (a link where the layout has a folder). On failure both are -1. */
enum bitnet_status hub_repo_open(struct hub_repo *repo, const char *cache_dir,
                                 const struct bitnet_hub_ref *ref, bool create,
                                 struct bitnet_error *err);
void hub_repo_close(struct hub_repo *repo);

/* The commit that refs/<revision> names; false when there is none or it is no commit. */
bool hub_read_ref(const struct hub_repo *repo, const char *revision, char commit[41]);
enum bitnet_status hub_write_ref(const struct hub_repo *repo, const char *revision,
                                 const char *commit, struct bitnet_error *err);

enum hub_presence { HUB_ABSENT, HUB_PRESENT, HUB_WRONG };

/* A blob of this size? WRONG: something else stands there. */
enum hub_presence hub_blob_presence(const struct hub_repo *repo, const char *etag, uint64_t size);
/* A snapshot entry that is a right link to a right blob, or (without links) a file of that size.
 * etag NULL: any blob, any size. */
enum hub_presence hub_entry_presence(const struct hub_repo *repo, const char *commit,
                                     const char *path, const char *etag, uint64_t size);
/* The etag that a snapshot entry links to; false when it is no such link. */
bool hub_entry_etag(const struct hub_repo *repo, const char *commit, const char *path,
                    char etag[65]);
/* Makes snapshots/<commit>/<path> stand for blobs/<etag>; whatever stood there is replaced as a
 * whole. With `copy`, as a file of its own. */
enum bitnet_status hub_link_entry(const struct hub_repo *repo, const char *commit, const char *path,
                                  const char *etag, bool copy, struct bitnet_error *err);
/* Moves a verified partial straight into the snapshot (caches without links). */
enum bitnet_status hub_move_to_entry(const struct hub_repo *repo, const char *partial,
                                     const char *commit, const char *path,
                                     struct bitnet_error *err);
/* Remembers that this file does not exist at this commit. Best effort. */
void hub_mark_absent(const struct hub_repo *repo, const char *commit, const char *path);

/* Remembers that the blob had the right hash, and asks whether it is unchanged since. Best effort.
 */
void hub_stamp(const struct hub_repo *repo, const char *etag);
bool hub_stamped(const struct hub_repo *repo, const char *etag);

/* ".bitnet-hub/tmp/<8 hex>": a name for a file to be renamed. */
#define HUB_TEMP_MAX 64
void hub_temp_name(char out[HUB_TEMP_MAX]);
/* Removes such files that are older than a day: their process died. */
void hub_clean_temp(const struct hub_repo *repo);

#endif
