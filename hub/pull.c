/* A pull: plan, space, fetch, publish. In come a repository, a revision and a selection; out comes
 * a folder in which every selected file is present and right. Written last, and only then: the ref,
 * so that an interrupted update leaves the old revision usable, and the listing of the commit, so
 * that completeness can be judged without a network. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include <bitnet/alloc.h>
#include <bitnet/json.h>

#include "collide.h"
#include "download.h"
#include "guess.h"
#include "local_dir.h"
#include "select.h"
#include "verify.h"

enum { TREE_BYTES_MAX = 64 << 20, INDEX_BYTES_MAX = 64 << 20, SPARE_BYTES = 64 << 20 };

struct pull {
    struct bitnet_hub *hub;
    const struct bitnet_hub_pull_options *options;
    const struct bitnet_hub_ref *ref;
    struct bitnet_hub_pull_options own_options; /* what was given, once a type became a name */
    char commit[41];
    struct hub_repo repo;   /* dir -1: not in the cache yet */
    struct hub_local local; /* dir -1: into the cache, or the folder is not there yet */
    struct hub_tree tree;
    bool tree_is_stored;  /* came from the disk */
    bool tree_is_guess;   /* made from what the snapshot holds: nothing says what is missing */
    bool without_network; /* offline, or the network failed and the cache has to do */
    bool is_stale;        /* the hub no longer knows the commit that it named */
    struct hub_selection selection;
    const struct hub_tree_file **missing;
    size_t n_missing;
    uint64_t missing_bytes;
};

static bool is_local(const struct pull *p)
{
    return p->options->local_dir != NULL;
}

/* --- the cache as a place --- */

static bool cache_is_present(void *user, const struct hub_tree_file *file)
{
    const struct pull *p = user;
    if (hub_blob_presence(&p->repo, file->etag, file->size) == HUB_PRESENT) return true;
    return hub_entry_presence(&p->repo, p->commit, file->path, file->etag, file->size) ==
           HUB_PRESENT; /* without links the file itself is there, and no blob */
}

static enum bitnet_status cache_link(void *user, const struct hub_tree_file *file,
                                     struct bitnet_error *err)
{
    const struct pull *p = user;
    if (hub_entry_presence(&p->repo, p->commit, file->path, file->etag, file->size) == HUB_PRESENT)
        return BITNET_OK;
    return hub_link_entry(&p->repo, p->commit, file->path, file->etag, p->hub->settings.no_symlinks,
                          err);
}

static enum hub_lock_result cache_lock(void *user, const struct hub_tree_file *file, int *fd)
{
    return hub_lock_try(&((const struct pull *)user)->repo, file->etag, fd);
}

/* The name of the partial is gone: give the open file a name again through its descriptor. */
static int link_open_file(const struct pull *p, int fd, const char *blob)
{
    char path[64];
    const char *name;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int dir = hub_open_parent(p->repo.dir, blob, true, &name);
    if (dir < 0) return errno;
    int failed = linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
    close(dir);
    return failed;
}

static int rename_to_blob(const struct pull *p, const char *partial, const char *blob)
{
    const char *from_name, *to_name;
    int from = hub_open_parent(p->repo.dir, partial, false, &from_name);
    if (from < 0) return errno;
    int to = hub_open_parent(p->repo.dir, blob, true, &to_name);
    int failed = to < 0 ? errno : 0;
    if (!failed && hub_io->rename(from, from_name, to, to_name) != 0) failed = errno;
    close(from);
    if (to >= 0) close(to);
    return failed;
}

static enum bitnet_status cache_publish(void *user, const struct hub_tree_file *file,
                                        const char *partial, int fd, struct bitnet_error *err)
{
    const struct pull *p = user;
    char blob[HUB_NAME_MAX];
    if (p->hub->settings.no_symlinks)
        return hub_move_to_entry(&p->repo, partial, p->commit, file->path, err);
    snprintf(blob, sizeof blob, "blobs/%s", file->etag);
    int failed = rename_to_blob(p, partial, blob);
    if (failed == ENOENT) failed = link_open_file(p, fd, blob);
    if (failed == EEXIST) failed = 0; /* somebody else was faster; the same contents */
    if (failed == ENOENT)
        return bitnet_fail(err, BITNET_NOT_FOUND, "somebody removed a download under way");
    if (failed) return hub_io_error(err, failed, "write", blob);
    hub_stamp(&p->repo, file->etag);
    return hub_link_entry(&p->repo, p->commit, file->path, file->etag, false, err);
}

static struct hub_place cache_place(struct pull *p)
{
    return (struct hub_place){
        .partials = {.dir = p->repo.dir, .data = "blobs", .journal = HUB_STATE_DIR "/partial"},
        .user = p,
        .is_present = cache_is_present,
        .link = cache_link,
        .lock = cache_lock,
        .publish = cache_publish,
    };
}

/* --- plan: which commit --- */

static enum bitnet_status use_cached_commit(struct pull *p, enum bitnet_status why,
                                            struct bitnet_error *err)
{
    if (p->repo.dir >= 0 && hub_read_ref(&p->repo, p->ref->revision, p->commit)) {
        p->without_network = true;
        return BITNET_OK;
    }
    if (why) return why; /* the network's own words are the better message */
    return bitnet_fail(err, BITNET_OFFLINE, "'%s' at %s is not in the cache, and we are offline",
                       p->ref->repo, BITNET_QUOTE(bitnet_str_of(p->ref->revision)));
}

static enum bitnet_status find_commit(struct pull *p, struct bitnet_error *err)
{
    struct bitnet_str revision = bitnet_str_of(p->ref->revision);
    p->without_network = p->hub->settings.offline;
    if (hub_is_commit(revision)) {
        memcpy(p->commit, revision.at, 41);
        return BITNET_OK;
    }
    if (p->hub->settings.offline) return use_cached_commit(p, BITNET_OK, err);
    enum bitnet_status status = hub_resolve(p->hub, p->ref, p->commit, err);
    if (status != BITNET_NETWORK) return status;
    status = use_cached_commit(p, status, err);
    if (!status)
        hub_notice(p->hub, BITNET_HUB_NOTICE, "the hub cannot be asked (%s); using what is cached",
                   err ? err->text : "network");
    return status;
}

/* --- plan: which files --- */

static bool read_stored_tree(struct pull *p)
{
    char name[HUB_NAME_MAX];
    struct bitnet_str text;
    int dir = is_local(p) ? p->local.dir : p->repo.dir;
    if (dir < 0) return false;
    snprintf(name, sizeof name, "%strees/%s.json", is_local(p) ? ".cache/huggingface/" : "",
             p->commit);
    if (!hub_read_small(dir, name, TREE_BYTES_MAX, &text)) return false;
    bool ok = hub_tree_add_stored(&p->tree, text, NULL) == BITNET_OK;
    bitnet_free((void *)(uintptr_t)text.at);
    if (ok)
        hub_tree_finish(&p->tree);
    else
        hub_tree_free(&p->tree);
    p->tree_is_stored = ok;
    return ok;
}

static enum bitnet_status guess_tree(struct pull *p, enum bitnet_status why,
                                     struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_NOT_FOUND;
    if (p->repo.dir >= 0 && !is_local(p)) status = hub_guess(&p->repo, p->commit, &p->tree, err);
    if (status == BITNET_NOT_FOUND && why) return why;
    if (status == BITNET_NOT_FOUND)
        return bitnet_fail(err, BITNET_OFFLINE,
                           "'%s' at %s is not in the cache, and we are "
                           "offline",
                           p->ref->repo, p->commit);
    if (status) return status;
    p->tree_is_guess = p->without_network = true;
    hub_notice(p->hub, BITNET_HUB_NOTICE,
               "no listing of this commit is cached: whether the "
               "snapshot is complete cannot be told");
    return BITNET_OK;
}

/* After a forced push the hub may for a while name a commit that is gone; its list of refs knows.
 */
static bool find_newer_commit(struct pull *p)
{
    char other[41];
    if (hub_is_commit(bitnet_str_of(p->ref->revision)) || p->without_network) return false;
    if (hub_resolve_by_refs(p->hub, p->ref, other, NULL) || strcmp(other, p->commit) == 0)
        return false;
    memcpy(p->commit, other, 41);
    return true;
}

static enum bitnet_status find_files(struct pull *p, struct bitnet_error *err)
{
    if (read_stored_tree(p)) return BITNET_OK;
    if (p->without_network) return guess_tree(p, BITNET_OK, err);
    enum bitnet_status status = hub_list(p->hub, p->ref, p->commit, &p->tree, err);
    if (status == BITNET_NOT_FOUND && find_newer_commit(p)) {
        hub_tree_free(&p->tree);
        status = hub_list(p->hub, p->ref, p->commit, &p->tree, err);
    }
    if (status != BITNET_NETWORK) return status;
    hub_tree_free(&p->tree);
    return guess_tree(p, status, err);
}

/* Only beside a snapshot: a repository's folder with nothing else in it would be called broken. */
static void remember_absence(struct pull *p)
{
    if (p->options->dry_run || is_local(p) || p->tree_is_guess || p->repo.dir < 0) return;
    if (hub_exists(p->repo.dir, "snapshots"))
        hub_mark_absent(&p->repo, p->commit, p->selection.missing);
}

/* "user/name:i2_s" names a type: then the file is the one that has it in its name. */
static void read_type(struct pull *p)
{
    struct bitnet_str word = bitnet_str_of(p->ref->file);
    if (word.n == 0 || hub_tree_find(&p->tree, word) || strpbrk(word.at, "./")) return;
    const char *file = hub_gguf_of_type(&p->tree, word);
    if (!file || strlen(file) > BITNET_HUB_FILE_MAX) return;
    p->own_options = *p->options;
    memcpy(p->own_options.ref.file, file, strlen(file) + 1);
    p->options = &p->own_options;
    p->ref = &p->own_options.ref;
}

static enum bitnet_status choose(struct pull *p, struct bitnet_error *err)
{
    read_type(p);
    enum bitnet_status status = hub_select(&p->selection, &p->tree, p->options, err);
    if (status == BITNET_NOT_FOUND && p->tree_is_guess)
        return bitnet_fail(err, BITNET_OFFLINE, "what was asked for of '%s' is not in the cache",
                           p->ref->repo);
    if (status == BITNET_NOT_FOUND && p->selection.missing) remember_absence(p);
    return status;
}

static const struct hub_tree_file *selected(const struct pull *p, size_t i)
{
    return &p->tree.files[p->selection.index[i]];
}

static bool is_there(struct pull *p, const struct hub_tree_file *file)
{
    if (is_local(p)) return hub_local_is_present(&p->local, file, p->options->dry_run);
    if (p->repo.dir < 0) return false;
    const char *etag = p->tree_is_guess ? NULL : file->etag;
    return hub_entry_presence(&p->repo, p->commit, file->path, etag, file->size) == HUB_PRESENT;
}

/* With `verify`, what is there must also be right. */
static enum bitnet_status is_sound(struct pull *p, const struct hub_tree_file *file, bool *sound,
                                   struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    *sound = is_there(p, file);
    if (!*sound || !p->options->verify || p->options->dry_run || p->tree_is_guess) return BITNET_OK;
    if (is_local(p))
        *sound = hub_local_is_right(&p->local, file);
    else
        status =
            hub_verify_entry(&p->repo, p->commit, file->path, file->etag, file->size, sound, err);
    if (!status && !*sound)
        hub_notice(p->hub, BITNET_HUB_NOTICE, "%s was damaged; it is fetched again",
                   BITNET_QUOTE(bitnet_str_of(file->path)));
    return status;
}

static enum bitnet_status find_missing(struct pull *p, struct bitnet_error *err)
{
    p->missing = bitnet_alloc(p->selection.n + 1, sizeof p->missing[0]);
    if (!p->missing) return bitnet_fail(err, BITNET_MEMORY, "no memory for the plan");
    for (size_t i = 0; i < p->selection.n; i++) {
        const struct hub_tree_file *file = selected(p, i);
        bool sound;
        enum bitnet_status status = is_sound(p, file, &sound, err);
        if (status) return status;
        if (sound) continue;
        p->missing[p->n_missing++] = file;
        if (!bitnet_add_u64(p->missing_bytes, file->size, &p->missing_bytes))
            return bitnet_fail(err, BITNET_FORMAT, "the sizes of the files make no sense");
    }
    return BITNET_OK;
}

static enum bitnet_status fail_offline(struct pull *p, struct bitnet_error *err)
{
    char names[300] = "";
    size_t n = 0;
    for (size_t i = 0; i < p->n_missing && i < 3 && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%.80s", i ? ", " : "",
                              p->missing[i]->path);
    enum bitnet_status status = bitnet_fail(
        err, BITNET_OFFLINE, "%zu of %zu files of '%s' are not in the cache: %s%s", p->n_missing,
        p->selection.n, p->ref->repo, names, p->n_missing > 3 ? ", ..." : "");
    return bitnet_hint(err, status, "%s",
                       p->hub->settings.offline
                           ? "run the same command once without --offline"
                           : "run the same command again when the hub can be reached");
}

/* --- space --- */

static enum bitnet_status check_space(struct pull *p, const struct hub_place *place,
                                      struct bitnet_error *err)
{
    uint64_t have = 0, need = 0, reusable = 0;
    for (size_t i = 0; i < p->n_missing; i++) {
        if (place->is_present(place->user, p->missing[i])) continue;
        need += p->missing[i]->size;
        reusable +=
            hub_partial_reusable(&place->partials, p->missing[i]->etag, p->missing[i]->size);
    }
    if (need == 0 || hub_io->free_bytes(place->partials.dir, &have) != 0) return BITNET_OK;
    if (have + reusable >= need + SPARE_BYTES) return BITNET_OK;
    const char *where = is_local(p) ? p->local.path : p->repo.path;
    bitnet_fail(err, BITNET_IO, "%.1f MiB are needed, %.1f MiB are free at %s",
                (double)(need - (reusable < need ? reusable : need) + SPARE_BYTES) / 1048576,
                (double)have / 1048576, BITNET_QUOTE(bitnet_str_of(where)));
    return bitnet_hint(err, BITNET_IO, "free some space, or choose another cache (HF_HUB_CACHE)");
}

/* --- fetch --- */

static enum bitnet_status open_target(struct pull *p, struct bitnet_error *err)
{
    if (is_local(p)) {
        hub_local_close(&p->local);
        return hub_local_open(&p->local, p->options->local_dir, p->commit, true, err);
    }
    hub_repo_close(&p->repo);
    return hub_repo_open(&p->repo, p->hub->settings.cache_dir, p->ref, true, err);
}

static void warn_repairs(struct pull *p)
{
    for (size_t i = 0; i < p->n_missing && !is_local(p); i++) {
        const struct hub_tree_file *f = p->missing[i];
        if (hub_entry_presence(&p->repo, p->commit, f->path, f->etag, f->size) == HUB_WRONG)
            hub_notice(p->hub, BITNET_HUB_NOTICE,
                       "%s in the cache is not what it should be; "
                       "it is replaced",
                       BITNET_QUOTE(bitnet_str_of(f->path)));
    }
}

static enum bitnet_status fetch(struct pull *p, struct bitnet_error *err)
{
    bool is_stale = false;
    enum bitnet_status status = open_target(p, err);
    if (status) return status;
    struct hub_place place = is_local(p) ? hub_local_place(&p->local) : cache_place(p);
    status = hub_check_collisions(place.partials.dir,
                                  is_local(p) ? HUB_LOCAL_SCRATCH : HUB_STATE_DIR "/tmp", &p->tree,
                                  p->selection.index, p->selection.n, err);
    if (!status) status = check_space(p, &place, err);
    if (status) return status;
    warn_repairs(p);
    status =
        hub_download(p->hub, p->ref, p->commit, p->missing, p->n_missing, &place, &is_stale, err);
    if (!is_stale) return status;
    p->is_stale = true;
    return bitnet_hint(err, status,
                       "the commit may be gone after a forced push: try again, or name a commit");
}

/* --- publish --- */

static enum bitnet_status check_shard(const struct pull *p, const char *index,
                                      const struct bitnet_json *shard, struct bitnet_error *err)
{
    char path[HUB_NAME_MAX];
    const char *slash = strrchr(index, '/');
    int folder = slash ? (int)(slash - index) + 1 : 0;
    if (shard->kind != BITNET_JSON_STRING) return BITNET_OK;
    int n = snprintf(path, sizeof path, "%.*s%.*s", folder, index, BITNET_STR_ARGS(shard->text));
    if (n > 0 && n < (int)sizeof path && hub_tree_find(&p->tree, bitnet_str_of(path)))
        return BITNET_OK;
    return bitnet_fail(err, BITNET_NOT_FOUND, "%s names the shard %s, which the repository lacks",
                       BITNET_QUOTE(bitnet_str_of(index)), BITNET_QUOTE(shard->text));
}

/* An index is a promise about other files of the repository: a model without one of its shards is
 * not published as complete. */
static enum bitnet_status check_index(const struct pull *p, const char *index,
                                      struct bitnet_error *err)
{
    char name[HUB_NAME_MAX], etag[65];
    struct bitnet_str text;
    struct bitnet_arena arena = {0};
    const struct bitnet_json *root = NULL;
    if (is_local(p))
        snprintf(name, sizeof name, "%s", index);
    else if (hub_entry_etag(&p->repo, p->commit, index, etag))
        snprintf(name, sizeof name, "blobs/%s", etag);
    else
        snprintf(name, sizeof name, "snapshots/%s/%s", p->commit, index);
    int dir = is_local(p) ? p->local.dir : p->repo.dir;
    if (!hub_read_small(dir, name, INDEX_BYTES_MAX, &text)) return BITNET_OK;
    enum bitnet_status status = BITNET_OK;
    if (bitnet_json_parse(&root, text, NULL, &arena, NULL) == BITNET_OK) {
        const struct bitnet_json *map = bitnet_json_get(root, "weight_map");
        for (const struct bitnet_json *s = map ? map->child : NULL; s && !status; s = s->next)
            status = check_shard(p, index, s, err);
    }
    bitnet_arena_free(&arena);
    bitnet_free((void *)(uintptr_t)text.at);
    return status;
}

static enum bitnet_status check_indexes(const struct pull *p, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < p->selection.n && !status; i++)
        if (bitnet_str_ends(bitnet_str_of(selected(p, i)->path), ".safetensors.index.json"))
            status = check_index(p, selected(p, i)->path, err);
    return status;
}

/* Best effort: a cache without it works, it only has to ask again. */
static void store_tree(struct pull *p)
{
    char name[HUB_NAME_MAX], temp[HUB_NAME_MAX], random[9];
    struct bitnet_buf text = {.max = TREE_BYTES_MAX};
    int dir = is_local(p) ? p->local.dir : p->repo.dir;
    const char *base = is_local(p) ? ".cache/huggingface/" : "";
    if (p->tree_is_stored || p->tree_is_guess || !p->tree.is_storable || dir < 0) return;
    hub_random_hex(random);
    snprintf(temp, sizeof temp, "%s%s/tmp/%s", base, HUB_STATE_DIR, random);
    snprintf(name, sizeof name, "%strees/%s.json", base, p->commit);
    if (hub_tree_write(&p->tree, &text))
        hub_write_small(dir, temp, name, (struct bitnet_str){text.at, text.n}, false);
    bitnet_buf_free(&text);
}

/* Contents were synced one by one; their names all at once, before the ref promises them. */
static void sync_names(const struct pull *p)
{
    int blobs = hub_open_dir(p->repo.dir, "blobs", false);
    if (blobs < 0) return;
    fsync(blobs);
    close(blobs);
}

static bool has_blob(void *user, const char *etag)
{
    char name[HUB_NAME_MAX];
    snprintf(name, sizeof name, "blobs/%s", etag);
    return hub_exists(((const struct pull *)user)->repo.dir, name);
}

/* What a process left that died between finishing a file and tidying up. */
static void tidy(struct pull *p)
{
    if (is_local(p)) return;
    struct hub_place place = cache_place(p);
    hub_partial_sweep_all(&place.partials, has_blob, p);
    hub_clean_temp(&p->repo);
}

/* What was put in place must still be there: somebody may have tidied up, and on some file systems
 * two names are one. */
static enum bitnet_status check_entries(struct pull *p, struct bitnet_error *err)
{
    for (size_t i = 0; i < p->selection.n; i++) {
        const struct hub_tree_file *file = selected(p, i);
        if (is_there(p, file)) continue;
        bitnet_fail(err, BITNET_IO, "%s was put in place and is not there any more",
                    BITNET_QUOTE(bitnet_str_of(file->path)));
        return bitnet_hint(err, BITNET_IO,
                           "another file's name may be the same one on this file system");
    }
    return BITNET_OK;
}

static enum bitnet_status publish(struct pull *p, struct bitnet_error *err)
{
    enum bitnet_status status = p->n_missing > 0 ? check_entries(p, err) : BITNET_OK;
    if (!status) status = check_indexes(p, err);
    if (status) return status;
    if (p->n_missing > 0 && !is_local(p)) sync_names(p);
    bool names_ref = !hub_is_commit(bitnet_str_of(p->ref->revision));
    if (!is_local(p) && names_ref && !p->without_network) {
        status = hub_write_ref(&p->repo, p->ref->revision, p->commit, err);
        if (status && p->n_missing == 0) { /* a read-only cache that has all is good enough */
            hub_notice(p->hub, BITNET_HUB_NOTICE, "%s", err ? err->text : "the ref is not written");
            status = BITNET_OK;
        }
    }
    if (!status) store_tree(p);
    if (!status) tidy(p);
    return status;
}

/* --- the result --- */

static const char *single_file(const struct pull *p)
{
    if (p->options->n_include > 0 || p->selection.n != 1) return NULL;
    if (p->ref->file[0] || p->options->n_files == 1) return selected(p, 0)->path;
    return NULL;
}

static enum bitnet_status fill_snapshot(const struct pull *p, struct bitnet_hub_snapshot *s,
                                        struct bitnet_error *err)
{
    struct bitnet_buf path = {.max = HUB_PATH_BYTES * 2};
    struct bitnet_hub_file *files =
        bitnet_arena_alloc(&s->arena, p->selection.n + 1, sizeof files[0]);
    if (is_local(p))
        bitnet_buf_printf(&path, "%s", p->options->local_dir);
    else
        bitnet_buf_printf(&path, "%s/snapshots/%s", p->repo.path, p->commit);
    const char *file = single_file(p);
    if (file) bitnet_buf_printf(&path, "/%s", file);
    s->path = path.failed ? NULL : bitnet_arena_copy(&s->arena, bitnet_str_of(path.at)).at;
    s->commit = bitnet_arena_copy(&s->arena, bitnet_str_of(p->commit)).at;
    bitnet_buf_free(&path);
    bool ok = files && s->path && s->commit;
    size_t next_missing = 0; /* both lists are in the order of the tree */
    for (size_t i = 0; ok && i < p->selection.n; i++) {
        const struct hub_tree_file *f = selected(p, i);
        bool missed = next_missing < p->n_missing && p->missing[next_missing] == f;
        next_missing += missed;
        files[i] = (struct bitnet_hub_file){
            .path = bitnet_arena_copy(&s->arena, bitnet_str_of(f->path)).at,
            .size = f->size,
            .etag = bitnet_arena_copy(&s->arena, bitnet_str_of(p->tree_is_guess ? "" : f->etag)).at,
            .state = !missed               ? BITNET_HUB_CACHED
                     : p->options->dry_run ? BITNET_HUB_MISSING
                                           : BITNET_HUB_FETCHED};
        s->total_bytes += f->size;
        ok = files[i].path && files[i].etag;
    }
    s->files = files;
    s->n_files = p->selection.n;
    s->n_skipped = p->selection.n_unsafe;
    return ok ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "no memory for the result");
}

/* --- all of it --- */

static void tell_unsafe(struct pull *p)
{
    const struct hub_selection *s = &p->selection;
    struct bitnet_buf names = {.max = 1024};
    for (size_t i = 0; i < s->n_unsafe && i < HUB_UNSAFE_SHOWN; i++)
        bitnet_buf_printf(&names, "%s%s", i ? ", " : "", BITNET_QUOTE(bitnet_str_of(s->unsafe[i])));
    hub_notice(p->hub, BITNET_HUB_NOTICE,
               "left out, because they can run code: %s%s; --allow-unsafe fetches them",
               names.n ? names.at : "files", s->n_unsafe > HUB_UNSAFE_SHOWN ? ", and more" : "");
    bitnet_buf_free(&names);
}

static void tell_plan(struct pull *p)
{
    if (p->selection.n_unsafe > 0) tell_unsafe(p);
    hub_tell(p->hub, &(struct bitnet_hub_event){.kind = BITNET_HUB_PLANNED,
                                                .total_bytes = p->missing_bytes,
                                                .n_files = p->n_missing});
}

static enum bitnet_status plan_commit(struct pull *p, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (is_local(p)) {
        status = hub_local_open(&p->local, p->options->local_dir, p->commit, false, err);
        if (status && status != BITNET_NOT_FOUND) return status;
    }
    status = find_files(p, err);
    if (!status) status = choose(p, err);
    if (!status) status = find_missing(p, err);
    if (!status) tell_plan(p);
    if (!status && p->n_missing > 0 && p->without_network) status = fail_offline(p, err);
    return status;
}

static enum bitnet_status plan(struct pull *p, struct bitnet_error *err)
{
    enum bitnet_status status =
        hub_repo_open(&p->repo, p->hub->settings.cache_dir, p->ref, false, err);
    if (status && status != BITNET_NOT_FOUND) return status;
    status = find_commit(p, err);
    return status ? status : plan_commit(p, err);
}

/* The same for the commit that the branch names now. What was fetched of the old one is kept. */
static enum bitnet_status fetch_again(struct pull *p, struct bitnet_error *err)
{
    bitnet_free(p->selection.index);
    bitnet_free(p->missing);
    hub_tree_free(&p->tree);
    hub_local_close(&p->local);
    p->selection = (struct hub_selection){0};
    p->missing = NULL;
    p->n_missing = 0;
    p->missing_bytes = 0;
    p->is_stale = p->tree_is_stored = false;
    hub_notice(p->hub, BITNET_HUB_NOTICE,
               "the branch was moved by force: going on with commit %.12s", p->commit);
    enum bitnet_status status = plan_commit(p, err);
    return status || p->n_missing == 0 ? status : fetch(p, err);
}
static enum bitnet_status run(struct pull *p, struct bitnet_hub_snapshot *snapshot,
                              struct bitnet_error *err)
{
    uint64_t before = p->hub->received_bytes;
    enum bitnet_status status = plan(p, err);
    if (!status && p->hub->is_stopped)
        status = bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
    if (!status && !p->options->dry_run && p->n_missing > 0) status = fetch(p, err);
    if (status && p->is_stale && find_newer_commit(p)) status = fetch_again(p, err);
    if (!status && !p->options->dry_run) status = publish(p, err);
    if (!status) status = fill_snapshot(p, snapshot, err);
    snapshot->fetched_bytes = p->hub->received_bytes - before;
    return status;
}

static void clean_up(struct pull *p)
{
    bitnet_free(p->selection.index);
    bitnet_free(p->missing);
    hub_tree_free(&p->tree);
    hub_repo_close(&p->repo);
    hub_local_close(&p->local);
}

enum bitnet_status bitnet_hub_pull(struct bitnet_hub *hub,
                                   const struct bitnet_hub_pull_options *options,
                                   struct bitnet_hub_snapshot *snapshot, struct bitnet_error *err)
{
    struct bitnet_error own; /* some decisions below read what went wrong */
    struct pull p = {.hub = hub,
                     .options = options,
                     .ref = &options->ref,
                     .repo = {.root = -1, .dir = -1},
                     .local = {.dir = -1}};
    *snapshot = (struct bitnet_hub_snapshot){0};
    hub->event = options->event;
    hub->event_user = options->user;
    hub->ref = &options->ref;
    hub->is_stopped = false;
    enum bitnet_status status = run(&p, snapshot, &own);
    hub->event = NULL;
    hub->ref = NULL;
    clean_up(&p);
    if (status) {
        bitnet_hub_snapshot_free(snapshot);
        if (err) *err = own;
    }
    return status;
}

void bitnet_hub_snapshot_free(struct bitnet_hub_snapshot *snapshot)
{
    bitnet_arena_free(&snapshot->arena);
    *snapshot = (struct bitnet_hub_snapshot){0};
}

/* The commit that a ref of the cache names, or that it is. */
static bool cached_commit(const struct hub_repo *repo, const struct bitnet_hub_ref *ref,
                          char commit[41])
{
    if (!hub_is_commit(bitnet_str_of(ref->revision)))
        return hub_read_ref(repo, ref->revision, commit);
    memcpy(commit, ref->revision, 41);
    return true;
}

static const char *cached_path(const struct hub_repo *repo, const struct bitnet_hub_ref *ref,
                               struct bitnet_arena *arena)
{
    char commit[41], snapshot[HUB_NAME_MAX];
    const char *path = NULL;
    struct bitnet_buf text = {.max = HUB_PATH_BYTES * 2};
    if (!cached_commit(repo, ref, commit)) return NULL;
    snprintf(snapshot, sizeof snapshot, "snapshots/%s", commit);
    bool is_cached = ref->file[0]
                         ? hub_entry_presence(repo, commit, ref->file, NULL, 0) == HUB_PRESENT
                         : hub_exists(repo->dir, snapshot);
    bitnet_buf_printf(&text, "%s/%s%s%s", repo->path, snapshot, ref->file[0] ? "/" : "", ref->file);
    if (is_cached && !text.failed)
        path = bitnet_arena_copy(arena, (struct bitnet_str){text.at, text.n}).at;
    bitnet_buf_free(&text);
    return path;
}

enum bitnet_status bitnet_hub_path(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                   struct bitnet_arena *arena, const char **path,
                                   struct bitnet_error *err)
{
    struct hub_repo repo;
    *path = NULL;
    enum bitnet_status status = hub_repo_open(&repo, hub->settings.cache_dir, ref, false, err);
    if (status) return status;
    *path = cached_path(&repo, ref, arena);
    hub_repo_close(&repo);
    if (*path) return BITNET_OK;
    return bitnet_fail(err, BITNET_NOT_FOUND, "'%s%s%s' at %s is not in the cache", ref->repo,
                       ref->file[0] ? "/" : "", ref->file,
                       BITNET_QUOTE(bitnet_str_of(ref->revision)));
}
