/* What may go from the cache: a revision, a repository, or everything that nothing refers to. In
 * comes what to remove; gone are its links, and the blobs that no other snapshot uses. Order
 * matters for others who read at the same time: the ref goes first, then the snapshot, then blobs,
 * so that no ref ever points at nothing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "client.h"
#include "shelf.h"

struct pruning {
    bool dry_run;
    struct bitnet_hub_freed *freed;
};

static enum bitnet_status unlink_one(const struct hub_repo *repo, const char *name, bool dry_run,
                                     struct bitnet_error *err)
{
    if (dry_run || hub_unlink(repo->dir, name) == 0 || errno == ENOENT) return BITNET_OK;
    return hub_io_error(err, errno, "remove", name);
}

static enum bitnet_status remove_refs_to(const struct hub_repo *repo, const struct hub_shelf *s,
                                         const char *commit, bool dry_run, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < s->n_refs && !status; i++) {
        char name[HUB_NAME_MAX];
        if (strcmp(s->refs[i].commit, commit) != 0) continue;
        snprintf(name, sizeof name, "refs/%s", s->refs[i].name);
        status = unlink_one(repo, name, dry_run, err);
    }
    return status;
}

static enum bitnet_status remove_blob(const struct hub_repo *repo, struct hub_shelf_blob *blob,
                                      struct pruning *p, struct bitnet_error *err)
{
    char name[HUB_NAME_MAX];
    snprintf(name, sizeof name, HUB_STATE_DIR "/verified/%s", blob->etag);
    if (!p->dry_run) hub_unlink(repo->dir, name);
    snprintf(name, sizeof name, "blobs/%s", blob->etag);
    blob->n_uses = UINT_MAX; /* counted once, also in a dry run */
    p->freed->n_blobs++;
    p->freed->bytes += blob->size;
    return unlink_one(repo, name, p->dry_run, err);
}

/* The snapshot's folder, its listing, what it knew to be absent; then blobs it alone used. */
static enum bitnet_status remove_snapshot(const struct hub_repo *repo, struct hub_shelf *s,
                                          const struct hub_shelf_snapshot *snapshot,
                                          struct pruning *p, struct bitnet_error *err)
{
    char name[HUB_NAME_MAX];
    enum bitnet_status status = remove_refs_to(repo, s, snapshot->commit, p->dry_run, err);
    if (status) return status;
    snprintf(name, sizeof name, "snapshots/%s", snapshot->commit);
    if (!p->dry_run && hub_remove_tree(repo->dir, name) != 0 && errno != ENOENT)
        return hub_io_error(err, errno, "remove", name);
    snprintf(name, sizeof name, ".no_exist/%s", snapshot->commit);
    if (!p->dry_run) hub_remove_tree(repo->dir, name);
    snprintf(name, sizeof name, "trees/%s.json", snapshot->commit);
    status = unlink_one(repo, name, p->dry_run, err);
    p->freed->n_revisions++;
    for (size_t i = 0; i < snapshot->n_entries && !status; i++) {
        const struct hub_shelf_entry *e = &snapshot->entries[i];
        struct hub_shelf_blob *blob = e->etag[0] ? hub_shelf_blob(s, e->etag) : NULL;
        if (e->is_file) p->freed->bytes += e->size;
        if (blob && blob->n_uses > 0 && --blob->n_uses == 0)
            status = remove_blob(repo, blob, p, err);
    }
    return status;
}

/* --- remove --- */

static enum bitnet_status find_revision(const struct hub_repo *repo, const struct hub_shelf *s,
                                        const char *revision,
                                        const struct hub_shelf_snapshot **snapshot,
                                        struct bitnet_error *err)
{
    char commit[41];
    bool known = hub_is_commit(bitnet_str_of(revision));
    if (known)
        memcpy(commit, revision, 41);
    else
        known = hub_read_ref(repo, revision, commit);
    *snapshot = known ? hub_shelf_snapshot(s, commit) : NULL;
    if (*snapshot) return BITNET_OK;
    return bitnet_fail(err, BITNET_NOT_FOUND, "revision %s is not in the cache",
                       BITNET_QUOTE(bitnet_str_of(revision)));
}

static enum bitnet_status remove_whole(const struct hub_repo *repo, struct hub_shelf *s,
                                       struct pruning *p, struct bitnet_error *err)
{
    char locks[HUB_NAME_MAX];
    p->freed->n_revisions = s->n_snapshots;
    p->freed->n_blobs = s->n_blobs;
    p->freed->n_partials = s->n_partials;
    p->freed->bytes = s->partial_bytes;
    for (size_t i = 0; i < s->n_blobs; i++) p->freed->bytes += s->blobs[i].size;
    for (size_t i = 0; i < s->n_snapshots; i++)
        for (size_t k = 0; k < s->snapshots[i].n_entries; k++)
            if (s->snapshots[i].entries[k].is_file)
                p->freed->bytes += s->snapshots[i].entries[k].size;
    if (p->dry_run) return BITNET_OK;
    /* Refs first: whoever looks meanwhile finds the repository absent, not broken. */
    hub_remove_tree(repo->dir, "refs");
    snprintf(locks, sizeof locks, ".locks/%s", repo->folder);
    hub_remove_tree(repo->root, locks);
    if (hub_remove_tree(repo->root, repo->folder) == 0) return BITNET_OK;
    return hub_io_error(err, errno, "remove", repo->path);
}

enum bitnet_status bitnet_hub_remove(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     bool has_revision, bool dry_run,
                                     struct bitnet_hub_freed *freed, struct bitnet_error *err)
{
    struct hub_repo repo;
    struct hub_shelf shelf;
    const struct hub_shelf_snapshot *snapshot = NULL;
    *freed = (struct bitnet_hub_freed){0};
    struct pruning p = {.dry_run = dry_run, .freed = freed};
    enum bitnet_status status = hub_repo_open(&repo, hub->settings.cache_dir, ref, false, err);
    if (status) return status;
    status = hub_shelf_read(&shelf, &repo, err);
    if (!status && has_revision) {
        status = find_revision(&repo, &shelf, ref->revision, &snapshot, err);
        if (!status && shelf.n_snapshots == 1)
            status = remove_whole(&repo, &shelf, &p, err);
        else if (!status)
            status = remove_snapshot(&repo, &shelf, snapshot, &p, err);
    } else if (!status)
        status = remove_whole(&repo, &shelf, &p, err);
    hub_shelf_free(&shelf);
    hub_repo_close(&repo);
    return status;
}

/* --- prune --- */

static bool is_detached(const struct hub_shelf *s, const struct hub_shelf_snapshot *snapshot)
{
    for (size_t i = 0; i < s->n_refs; i++)
        if (strcmp(s->refs[i].commit, snapshot->commit) == 0) return false;
    return true;
}

struct dead_partials {
    const struct hub_repo *repo;
    struct pruning *pruning;
    bool any_alive;
};

static void remove_partial(void *user, const struct hub_partial_found *found)
{
    struct dead_partials *d = user;
    char name[HUB_NAME_MAX];
    if (found->is_alive) {
        d->any_alive = true;
        return;
    }
    snprintf(name, sizeof name, "blobs/%s", found->name);
    if (!d->pruning->dry_run) {
        hub_unlink(d->repo->dir, name);
        if (found->is_ours) hub_unlink(d->repo->dir, found->journal_name);
    }
    d->pruning->freed->n_partials++;
    d->pruning->freed->bytes += found->bytes;
}

static enum bitnet_status prune_repo(void *user, struct hub_repo *repo,
                                     const struct bitnet_hub_ref *ref, struct bitnet_error *err)
{
    struct pruning *p = user;
    struct hub_shelf shelf;
    struct dead_partials partials = {.repo = repo, .pruning = p};
    struct hub_partial_place place = hub_cache_partials(repo);
    (void)ref;
    enum bitnet_status status = hub_shelf_read(&shelf, repo, err);
    if (status) return status;
    hub_partial_each(&place, remove_partial, &partials);
    /* While somebody downloads, blobs without an entry and snapshots without a ref may be work in
     * progress: only the dead partials go. */
    for (size_t i = 0; i < shelf.n_snapshots && !status && !partials.any_alive; i++)
        if (is_detached(&shelf, &shelf.snapshots[i]))
            status = remove_snapshot(repo, &shelf, &shelf.snapshots[i], p, err);
    for (size_t i = 0; i < shelf.n_blobs && !status && !partials.any_alive; i++)
        if (shelf.blobs[i].n_uses == 0) status = remove_blob(repo, &shelf.blobs[i], p, err);
    hub_shelf_free(&shelf);
    return status;
}

enum bitnet_status bitnet_hub_prune(struct bitnet_hub *hub, bool dry_run,
                                    struct bitnet_hub_freed *freed, struct bitnet_error *err)
{
    *freed = (struct bitnet_hub_freed){0};
    struct pruning p = {.dry_run = dry_run, .freed = freed};
    return hub_each_repo(hub->settings.cache_dir, prune_repo, &p, err);
}
