/* A listing made from what a snapshot's folder holds, for a cache of another program that stored
 * none. In comes the folder; out come names, sizes, and the hashes that links tell. A file that is
 * no link has none: it gets zeros, which match nothing. */
#include "guess.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { DEPTH_MAX = 32 };

struct guess {
    const struct hub_repo *repo;
    const char *commit;
    struct hub_tree *tree;
};

static enum bitnet_status guess_folder(struct guess *g, int dir, const char *prefix, unsigned depth,
                                       struct bitnet_error *err);

static enum bitnet_status guess_entry(struct guess *g, int dir, const char *path, const char *name,
                                      unsigned depth, struct bitnet_error *err)
{
    struct stat st;
    char etag[65] = "0000000000000000000000000000000000000000", blob[HUB_NAME_MAX];
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return BITNET_OK;
    if (S_ISDIR(st.st_mode)) {
        int sub = hub_open_dir(dir, name, false);
        if (sub < 0 || depth > DEPTH_MAX) {
            if (sub >= 0) close(sub);
            return BITNET_OK;
        }
        return guess_folder(g, sub, path, depth + 1, err);
    }
    if (S_ISLNK(st.st_mode)) {
        if (!hub_entry_etag(g->repo, g->commit, path, etag)) return BITNET_OK;
        snprintf(blob, sizeof blob, "blobs/%s", etag);
        if (hub_stat(g->repo->dir, blob, &st) != 0) return BITNET_OK;
    }
    struct hub_tree_file file = {.path = path, .size = (uint64_t)st.st_size};
    bool is_large = strlen(etag) == 64;
    file.blob_id = is_large ? "0000000000000000000000000000000000000000" : etag;
    file.lfs_sha256 = is_large ? etag : NULL;
    return hub_path_fault(bitnet_str_of(path)) ? BITNET_OK : hub_tree_add(g->tree, file, err);
}

/* Takes `dir` and closes it. */
static enum bitnet_status guess_folder(struct guess *g, int dir, const char *prefix, unsigned depth,
                                       struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    DIR *list = fdopendir(dir);
    if (!list) {
        close(dir);
        return BITNET_OK;
    }
    for (struct dirent *e; !status && (e = readdir(list));) {
        char path[HUB_NAME_MAX];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] ? "/" : "", e->d_name) >=
            (int)sizeof path)
            continue;
        status = guess_entry(g, dirfd(list), path, e->d_name, depth, err);
    }
    closedir(list);
    return status;
}

enum bitnet_status hub_guess(const struct hub_repo *repo, const char *commit, struct hub_tree *tree,
                             struct bitnet_error *err)
{
    struct guess g = {repo, commit, tree};
    char name[HUB_NAME_MAX];
    snprintf(name, sizeof name, "snapshots/%s", commit);
    int dir = hub_open_dir(repo->dir, name, false);
    if (dir < 0) return bitnet_fail(err, BITNET_NOT_FOUND, "no snapshot of %s is cached", commit);
    enum bitnet_status status = guess_folder(&g, dir, "", 0, err);
    if (!status) hub_tree_finish(tree);
    return status;
}
