/* One cached repository as it lies on disk. In comes an open folder that several programs write to;
 * out comes a description with everything that is not in order named once. Nothing is believed:
 * links count only when they lead to a blob of the same repository, refs only when they hold a
 * commit. */
#include "shelf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <bitnet/alloc.h>
#include <bitnet/text.h>

enum { THINGS_MAX = 1000000, DEPTH_MAX = 32, REPOS_MAX = 100000 };

struct hub_partial_place hub_cache_partials(const struct hub_repo *repo)
{
    return (struct hub_partial_place){
        .dir = repo->dir, .data = "blobs", .journal = HUB_STATE_DIR "/partial"};
}

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for the list of the cache");
}

static const char *keep(struct hub_shelf *s, const char *text)
{
    return bitnet_arena_copy(&s->arena, bitnet_str_of(text)).at;
}

static void note_problem(struct hub_shelf *s, const char *what, const char *name)
{
    char text[300];
    if (s->problem) return;
    snprintf(text, sizeof text, "%s: %.200s", what, BITNET_QUOTE(bitnet_str_of(name)));
    s->problem = keep(s, text);
}

/* Calls `each` for every name in a folder below `root`, sorted by nothing. An absent folder is
 * empty. */
typedef enum bitnet_status name_fn(void *user, int dir, const char *name, struct bitnet_error *err);

static enum bitnet_status each_name(int root, const char *folder, name_fn *each, void *user,
                                    struct bitnet_error *err)
{
    int fd = hub_open_dir(root, folder, false);
    if (fd < 0) return errno == ENOENT ? BITNET_OK : hub_io_error(err, errno, "read", folder);
    DIR *list = fdopendir(fd);
    if (!list) {
        close(fd);
        return no_memory(err);
    }
    enum bitnet_status status = BITNET_OK;
    for (struct dirent *e; !status && (e = readdir(list));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            status = each(user, dirfd(list), e->d_name, err);
    closedir(list);
    return status;
}

/* --- blobs --- */

static enum bitnet_status add_blob(void *user, int dir, const char *name, struct bitnet_error *err)
{
    struct hub_shelf *s = user;
    struct stat st;
    if (!hub_is_etag(bitnet_str_of(name))) return BITNET_OK; /* partials, others' files */
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) return BITNET_OK;
    const char *etag = keep(s, name);
    if (!etag || !BITNET_GROW(s->blobs, s->n_blobs, s->blobs_cap, THINGS_MAX) ||
        bitnet_map_put(&s->by_etag, bitnet_str_of(etag), (uint32_t)s->n_blobs, NULL) ==
            BITNET_MAP_MEMORY)
        return no_memory(err);
    s->blobs[s->n_blobs++] = (struct hub_shelf_blob){.etag = etag, .size = (uint64_t)st.st_size};
    return BITNET_OK;
}

struct hub_shelf_blob *hub_shelf_blob(const struct hub_shelf *s, const char *etag)
{
    uint32_t i;
    return bitnet_map_get(&s->by_etag, bitnet_str_of(etag), &i) ? &s->blobs[i] : NULL;
}

/* --- snapshots --- */

struct walk {
    struct hub_shelf *shelf;
    const struct hub_repo *repo;
    struct hub_shelf_snapshot *snapshot;
    char prefix[HUB_NAME_MAX];
    unsigned depth;
};

static enum bitnet_status add_entry(struct walk *w, struct hub_shelf_entry entry,
                                    struct bitnet_error *err)
{
    struct hub_shelf_snapshot *s = w->snapshot;
    entry.path = keep(w->shelf, entry.path);
    entry.etag = keep(w->shelf, entry.etag);
    if (!entry.path || !entry.etag || !BITNET_GROW(s->entries, s->n_entries, s->cap, THINGS_MAX))
        return no_memory(err);
    s->entries[s->n_entries++] = entry;
    if (entry.is_dead) note_problem(w->shelf, "a link leads to no blob", entry.path);
    return BITNET_OK;
}

static enum bitnet_status walk_folder(struct walk *w, int dir, struct bitnet_error *err);

static enum bitnet_status visit(void *user, int dir, const char *name, struct bitnet_error *err)
{
    struct walk *w = user;
    struct stat st;
    char etag[65] = "", path[HUB_NAME_MAX * 2];
    snprintf(path, sizeof path, "%s%s%s", w->prefix, w->prefix[0] ? "/" : "", name);
    if (strlen(path) >= HUB_NAME_MAX || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return BITNET_OK;
    if (S_ISDIR(st.st_mode)) {
        struct walk below = *w;
        memcpy(below.prefix, path, strlen(path) + 1);
        below.depth++;
        return walk_folder(&below, hub_open_dir(dir, name, false), err);
    }
    struct hub_shelf_entry entry = {.path = path, .etag = etag};
    entry.is_file = S_ISREG(st.st_mode);
    if (entry.is_file)
        entry.size = (uint64_t)st.st_size;
    else {
        struct hub_shelf_blob *blob = hub_entry_etag(w->repo, w->snapshot->commit, path, etag)
                                          ? hub_shelf_blob(w->shelf, etag)
                                          : NULL;
        entry.is_dead = !blob;
        if (blob) {
            blob->n_uses++;
            entry.size = blob->size;
        }
    }
    return add_entry(w, entry, err);
}

/* Takes `dir` and closes it. */
static enum bitnet_status walk_folder(struct walk *w, int dir, struct bitnet_error *err)
{
    if (dir < 0) return BITNET_OK;
    enum bitnet_status status =
        w->depth > DEPTH_MAX ? BITNET_OK : each_name(dir, "", visit, w, err);
    close(dir);
    return status;
}

struct reading {
    struct hub_shelf *shelf;
    const struct hub_repo *repo;
};

static enum bitnet_status add_snapshot(void *user, int dir, const char *name,
                                       struct bitnet_error *err)
{
    struct reading *r = user;
    struct hub_shelf *s = r->shelf;
    struct stat st;
    bool is_folder = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    if (!is_folder || !hub_is_commit(bitnet_str_of(name))) {
        note_problem(s, "no commit, but among the snapshots", name);
        return BITNET_OK;
    }
    const char *commit = keep(s, name);
    if (!commit || !BITNET_GROW(s->snapshots, s->n_snapshots, s->snapshots_cap, THINGS_MAX))
        return no_memory(err);
    s->snapshots[s->n_snapshots] =
        (struct hub_shelf_snapshot){.commit = commit, .modified = (int64_t)st.st_mtime};
    struct walk w = {.shelf = s, .repo = r->repo, .snapshot = &s->snapshots[s->n_snapshots++]};
    return walk_folder(&w, hub_open_dir(dir, name, false), err);
}

struct hub_shelf_snapshot *hub_shelf_snapshot(const struct hub_shelf *s, const char *commit)
{
    for (size_t i = 0; i < s->n_snapshots; i++)
        if (strcmp(s->snapshots[i].commit, commit) == 0) return &s->snapshots[i];
    return NULL;
}

/* --- refs --- */

static enum bitnet_status visit_ref(void *user, int dir, const char *name, struct bitnet_error *err)
{
    struct walk *w = user;
    struct hub_shelf *s = w->shelf;
    struct stat st;
    char path[HUB_NAME_MAX * 2], commit[41] = "";
    snprintf(path, sizeof path, "%s%s%s", w->prefix, w->prefix[0] ? "/" : "", name);
    if (strlen(path) >= BITNET_HUB_REVISION_MAX ||
        fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return BITNET_OK;
    if (S_ISDIR(st.st_mode)) {
        struct walk below = *w;
        memcpy(below.prefix, path, strlen(path) + 1);
        int sub = w->depth < DEPTH_MAX ? hub_open_dir(dir, name, false) : -1;
        below.depth++;
        enum bitnet_status status =
            sub < 0 ? BITNET_OK : each_name(sub, "", visit_ref, &below, err);
        if (sub >= 0) close(sub);
        return status;
    }
    if (!hub_read_ref(w->repo, path, commit)) note_problem(s, "a ref that holds no commit", path);
    const char *kept_name = keep(s, path), *kept_commit = keep(s, commit);
    if (!kept_name || !kept_commit || !BITNET_GROW(s->refs, s->n_refs, s->refs_cap, THINGS_MAX))
        return no_memory(err);
    s->refs[s->n_refs++] = (struct hub_shelf_ref){kept_name, kept_commit};
    return BITNET_OK;
}

static void check_refs(struct hub_shelf *s)
{
    for (size_t i = 0; i < s->n_refs; i++)
        if (s->refs[i].commit[0] && !hub_shelf_snapshot(s, s->refs[i].commit))
            note_problem(s, "a ref to a commit without snapshot", s->refs[i].name);
}

/* --- partials --- */

static void add_partial(void *user, const struct hub_partial_found *found)
{
    struct hub_shelf *s = user;
    s->n_partials++;
    s->partial_bytes += found->bytes;
}

/* --- all --- */

static int snapshots_by_commit(const void *a, const void *b)
{
    return strcmp(((const struct hub_shelf_snapshot *)a)->commit,
                  ((const struct hub_shelf_snapshot *)b)->commit);
}

static int entries_by_path(const void *a, const void *b)
{
    return strcmp(((const struct hub_shelf_entry *)a)->path,
                  ((const struct hub_shelf_entry *)b)->path);
}

static void sort_all(struct hub_shelf *s)
{
    if (s->n_snapshots > 1)
        qsort(s->snapshots, s->n_snapshots, sizeof s->snapshots[0], snapshots_by_commit);
    for (size_t i = 0; i < s->n_snapshots; i++)
        if (s->snapshots[i].n_entries > 1)
            qsort(s->snapshots[i].entries, s->snapshots[i].n_entries,
                  sizeof s->snapshots[i].entries[0], entries_by_path);
}

enum bitnet_status hub_shelf_read(struct hub_shelf *s, const struct hub_repo *repo,
                                  struct bitnet_error *err)
{
    *s = (struct hub_shelf){0};
    struct reading r = {.shelf = s, .repo = repo};
    struct walk refs = {.shelf = s, .repo = repo};
    enum bitnet_status status = each_name(repo->dir, "blobs", add_blob, s, err);
    if (!status) status = each_name(repo->dir, "snapshots", add_snapshot, &r, err);
    if (!status) status = each_name(repo->dir, "refs", visit_ref, &refs, err);
    if (status) {
        hub_shelf_free(s);
        return status;
    }
    sort_all(s);
    check_refs(s);
    struct hub_partial_place place = hub_cache_partials(repo);
    hub_partial_each(&place, add_partial, s);
    return BITNET_OK;
}

void hub_shelf_free(struct hub_shelf *s)
{
    for (size_t i = 0; i < s->n_snapshots; i++) bitnet_free(s->snapshots[i].entries);
    bitnet_free(s->refs);
    bitnet_free(s->snapshots);
    bitnet_free(s->blobs);
    bitnet_map_free(&s->by_etag);
    bitnet_arena_free(&s->arena);
    *s = (struct hub_shelf){0};
}

/* --- the whole cache --- */

struct folders {
    char (*names)[HUB_FOLDER_MAX];
    size_t n, cap;
};

static enum bitnet_status add_folder(void *user, int dir, const char *name,
                                     struct bitnet_error *err)
{
    struct folders *f = user;
    enum bitnet_hub_type type;
    char repo[BITNET_HUB_REPO_MAX + 1];
    (void)dir;
    if (!hub_folder_parse(bitnet_str_of(name), &type, repo) || strlen(name) >= HUB_FOLDER_MAX)
        return BITNET_OK;
    if (!BITNET_GROW(f->names, f->n, f->cap, REPOS_MAX)) return no_memory(err);
    memcpy(f->names[f->n++], name, strlen(name) + 1);
    return BITNET_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

enum bitnet_status hub_each_repo(const char *cache_dir,
                                 enum bitnet_status (*each)(void *user, struct hub_repo *repo,
                                                            const struct bitnet_hub_ref *ref,
                                                            struct bitnet_error *err),
                                 void *user, struct bitnet_error *err)
{
    struct folders f = {0};
    int root = open(cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return errno == ENOENT ? BITNET_OK
                               : hub_io_error(err, errno, "open the cache folder", cache_dir);
    enum bitnet_status status = each_name(root, "", add_folder, &f, err);
    close(root);
    if (!status && f.n > 1) qsort(f.names, f.n, sizeof f.names[0], by_name);
    for (size_t i = 0; i < f.n && !status; i++) {
        struct bitnet_hub_ref ref = {.revision = "main"};
        struct hub_repo repo;
        hub_folder_parse(bitnet_str_of(f.names[i]), &ref.type, ref.repo);
        status = hub_repo_open(&repo, cache_dir, &ref, false, err);
        if (status == BITNET_NOT_FOUND) { /* gone meanwhile */
            status = BITNET_OK;
            continue;
        }
        if (!status) status = each(user, &repo, &ref, err);
        hub_repo_close(&repo);
    }
    bitnet_free(f.names);
    return status;
}
