/* Is everything in the cache what it says it is? In comes a repository; out comes one finding per
 * file: its blob hashed against its name and against what the commit's listing says. A stamp (size,
 * time and inode at the time of the last good hash) saves reading a blob again. No network. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <bitnet/alloc.h>

#include "client.h"
#include "hash.h"
#include "shelf.h"
#include "tree.h"
#include "verify.h"

enum { TREE_BYTES_MAX = 64 << 20 };

struct verification {
    const struct bitnet_hub_verify_options *options;
    const struct bitnet_hub_ref *ref;
    struct hub_repo *repo;
    struct hub_shelf *shelf;
    size_t n_failed;
};

static enum bitnet_status tell(struct verification *v, const struct bitnet_hub_finding *finding,
                               struct bitnet_error *err)
{
    bool fails = finding->kind == BITNET_HUB_FINDING_DAMAGED ||
                 (finding->kind == BITNET_HUB_FINDING_MISSING && v->options->require_all);
    v->n_failed += fails;
    if (!v->options->finding || v->options->finding(v->options->user, finding)) return BITNET_OK;
    return bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
}

static bool read_tree(const struct hub_repo *repo, const char *commit, struct hub_tree *tree)
{
    char name[HUB_NAME_MAX];
    struct bitnet_str text;
    snprintf(name, sizeof name, "trees/%s.json", commit);
    if (!hub_read_small(repo->dir, name, TREE_BYTES_MAX, &text)) return false;
    bool ok = hub_tree_add_stored(tree, text, NULL) == BITNET_OK;
    bitnet_free((void *)(uintptr_t)text.at);
    if (ok)
        hub_tree_finish(tree);
    else
        hub_tree_free(tree);
    return ok;
}

/* Hashes the file that stands for an entry. */
static enum bitnet_status hash_entry(const struct hub_repo *repo, const char *file,
                                     const char *etag, uint64_t size, char got[HUB_HEX_MAX],
                                     struct bitnet_error *err)
{
    int fd = hub_open_file(repo->dir, file, O_RDONLY, 0);
    if (fd < 0) return hub_io_error(err, errno, "open", file);
    enum bitnet_status status = hub_hash_file(fd, etag, size, got, err);
    close(fd);
    return status;
}

enum bitnet_status hub_verify_entry(const struct hub_repo *repo, const char *commit,
                                    const char *path, const char *etag, uint64_t size,
                                    bool *is_right, struct bitnet_error *err)
{
    char file[HUB_NAME_MAX], got[HUB_HEX_MAX] = "";
    snprintf(file, sizeof file, "blobs/%s", etag);
    bool is_blob = hub_exists(repo->dir, file);
    *is_right = is_blob && hub_stamped(repo, etag);
    if (*is_right) return BITNET_OK;
    if (!is_blob) snprintf(file, sizeof file, "snapshots/%s/%s", commit, path);
    enum bitnet_status status = hash_entry(repo, file, etag, size, got, err);
    if (status) return status;
    *is_right = strcmp(got, etag) == 0;
    if (*is_right && is_blob) hub_stamp(repo, etag);
    if (!*is_right && hub_unlink(repo->dir, file) != 0)
        status = hub_io_error(err, errno, "remove the damaged", file);
    return status;
}

static void drop_damaged(struct verification *v, const char *file)
{
    if (v->options->remove_damaged) hub_unlink(v->repo->dir, file);
}

static enum bitnet_status check_entry(struct verification *v,
                                      const struct hub_shelf_snapshot *snapshot,
                                      const struct hub_shelf_entry *e,
                                      const struct hub_tree_file *said, struct bitnet_error *err)
{
    char file[HUB_NAME_MAX], got[HUB_HEX_MAX] = "";
    const char *expected = said ? said->etag : e->etag;
    struct bitnet_hub_finding f = {.kind = BITNET_HUB_FINDING_OK,
                                   .repo = v->ref->repo,
                                   .commit = snapshot->commit,
                                   .file = e->path,
                                   .expected = expected,
                                   .got = got,
                                   .size = e->size};
    bool is_unknown = !expected[0] && !e->is_dead; /* a file of its own that no listing names */
    if (is_unknown || (!said && e->is_file))
        f.kind = BITNET_HUB_FINDING_UNKNOWN;
    else if (e->is_dead)
        f.kind = BITNET_HUB_FINDING_DAMAGED;
    if (f.kind != BITNET_HUB_FINDING_OK) return tell(v, &f, err);
    snprintf(file, sizeof file, "%s%s%s%s", e->is_file ? "snapshots/" : "blobs/",
             e->is_file ? snapshot->commit : e->etag, e->is_file ? "/" : "",
             e->is_file ? e->path : "");
    bool is_wrong_size = said && said->size != e->size;
    bool is_other_blob = !e->is_file && strcmp(e->etag, expected) != 0;
    if (is_other_blob)
        memcpy(got, e->etag, strlen(e->etag) + 1);
    else if (!is_wrong_size && !e->is_file && !v->options->rehash && hub_stamped(v->repo, e->etag))
        f.kind = BITNET_HUB_FINDING_STAMPED;
    else {
        enum bitnet_status status = hash_entry(v->repo, file, expected, e->size, got, err);
        if (status) return status;
    }
    bool is_right = f.kind == BITNET_HUB_FINDING_STAMPED || strcmp(got, expected) == 0;
    if (!is_right) {
        f.kind = BITNET_HUB_FINDING_DAMAGED;
        if (!is_other_blob) drop_damaged(v, file);
    } else if (!e->is_file && f.kind == BITNET_HUB_FINDING_OK)
        hub_stamp(v->repo, e->etag);
    return tell(v, &f, err);
}

static enum bitnet_status tell_missing(struct verification *v, const char *commit,
                                       const struct hub_shelf_snapshot *snapshot,
                                       const struct hub_tree *tree, struct bitnet_error *err)
{
    size_t next = 0; /* both lists are sorted by path */
    for (size_t i = 0; i < tree->n; i++) {
        const struct hub_tree_file *f = &tree->files[i];
        while (next < snapshot->n_entries && strcmp(snapshot->entries[next].path, f->path) < 0)
            next++;
        if (next < snapshot->n_entries && strcmp(snapshot->entries[next].path, f->path) == 0)
            continue;
        enum bitnet_status status =
            tell(v,
                 &(struct bitnet_hub_finding){.kind = BITNET_HUB_FINDING_MISSING,
                                              .repo = v->ref->repo,
                                              .commit = commit,
                                              .file = f->path,
                                              .expected = f->etag,
                                              .got = "",
                                              .size = f->size},
                 err);
        if (status) return status;
    }
    return BITNET_OK;
}

static enum bitnet_status check_snapshot(struct verification *v,
                                         const struct hub_shelf_snapshot *snapshot,
                                         struct bitnet_error *err)
{
    struct hub_tree tree = {0};
    bool has_tree = read_tree(v->repo, snapshot->commit, &tree);
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < snapshot->n_entries && !status; i++) {
        const struct hub_shelf_entry *e = &snapshot->entries[i];
        status = check_entry(v, snapshot, e, hub_tree_find(&tree, bitnet_str_of(e->path)), err);
    }
    if (!status && has_tree) status = tell_missing(v, snapshot->commit, snapshot, &tree, err);
    hub_tree_free(&tree);
    return status;
}

static enum bitnet_status verify_repo(void *user, struct hub_repo *repo,
                                      const struct bitnet_hub_ref *ref, struct bitnet_error *err)
{
    struct verification *v = user;
    struct hub_shelf shelf;
    enum bitnet_status status = hub_shelf_read(&shelf, repo, err);
    if (status) return status;
    v->repo = repo;
    v->ref = ref;
    v->shelf = &shelf;
    for (size_t i = 0; i < shelf.n_snapshots && !status; i++)
        status = check_snapshot(v, &shelf.snapshots[i], err);
    hub_shelf_free(&shelf);
    return status;
}

enum bitnet_status bitnet_hub_verify(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     const struct bitnet_hub_verify_options *options,
                                     struct bitnet_error *err)
{
    struct verification v = {.options = options};
    struct hub_repo repo;
    enum bitnet_status status;
    if (ref) {
        status = hub_repo_open(&repo, hub->settings.cache_dir, ref, false, err);
        if (status) return status;
        status = verify_repo(&v, &repo, ref, err);
        hub_repo_close(&repo);
    } else
        status = hub_each_repo(hub->settings.cache_dir, verify_repo, &v, err);
    if (status || v.n_failed == 0) return status;
    bitnet_fail(err, BITNET_INTEGRITY, "%zu file%s not what %s should be", v.n_failed,
                v.n_failed == 1 ? " is" : "s are", v.n_failed == 1 ? "it" : "they");
    return bitnet_hint(err, BITNET_INTEGRITY, "%s",
                       options->remove_damaged ? "pull again: only what is missing is fetched"
                                               : "verify --repair removes them; then pull again");
}
