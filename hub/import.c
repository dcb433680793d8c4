/* A bundle into the cache. In comes a .tar.zst that anybody may have made; out comes a snapshot.
 * Nothing is believed: names and hashes are checked before they become paths, every file goes into
 * a partial of its own, is hashed as it arrives and renamed only when it is what bundle.json says.
 * The ref comes last. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <zstd.h>

#include <bitnet/alloc.h>
#include <bitnet/json.h>

#include "client.h"
#include "hash.h"
#include "shelf.h"
#include "tar.h"

enum { BLOCK_BYTES = 1 << 17, TEXT_BYTES_MAX = 64 << 20, RECORD_BYTES_MAX = 1 << 16 };

struct arrival {
    int fd;
    uint64_t read_at;
    ZSTD_DCtx *zstd;
    uint8_t *packed, *block;
    ZSTD_inBuffer in;
    bool is_over; /* no more input */
    struct bitnet_hub_ref ref;
    char commit[41];
    struct hub_tree files;  /* as bundle.json lists them */
    struct bitnet_str tree; /* tree.json, owned */
    struct hub_repo repo;
    size_t n_arrived;
    bool no_symlinks;
};

/* --- the stream --- */

static enum bitnet_status refill(struct arrival *a, struct bitnet_error *err)
{
    ssize_t n = hub_read_at(a->fd, a->packed, BLOCK_BYTES, a->read_at);
    if (n < 0) return hub_io_error(err, errno, "read", "the bundle");
    a->read_at += (uint64_t)n;
    a->in = (ZSTD_inBuffer){a->packed, (size_t)n, 0};
    a->is_over = n == 0;
    return BITNET_OK;
}

/* Exactly n unpacked bytes. */
static enum bitnet_status take(struct arrival *a, uint8_t *bytes, size_t n,
                               struct bitnet_error *err)
{
    ZSTD_outBuffer out = {bytes, n, 0};
    while (out.pos < n) {
        if (a->in.pos == a->in.size && !a->is_over) {
            enum bitnet_status status = refill(a, err);
            if (status) return status;
        }
        size_t before = out.pos, left = ZSTD_decompressStream(a->zstd, &out, &a->in);
        if (ZSTD_isError(left))
            return bitnet_fail(err, BITNET_FORMAT, "not a bundle, or a damaged one (zstd: %s)",
                               ZSTD_getErrorName(left));
        if (out.pos == before && a->is_over)
            return bitnet_fail(err, BITNET_FORMAT, "the bundle ends early");
    }
    return BITNET_OK;
}

static enum bitnet_status skip_pad(struct arrival *a, uint64_t size, struct bitnet_error *err)
{
    uint8_t pad[HUB_TAR_BLOCK];
    size_t over = (size_t)(size % HUB_TAR_BLOCK);
    return over ? take(a, pad, HUB_TAR_BLOCK - over, err) : BITNET_OK;
}

static enum bitnet_status take_text(struct arrival *a, uint64_t size, size_t size_max,
                                    struct bitnet_str *text, struct bitnet_error *err)
{
    if (size > size_max)
        return bitnet_fail(err, BITNET_LIMIT, "a list in the bundle is larger than %zu bytes",
                           size_max);
    char *at = bitnet_alloc((size_t)size + 1, 1);
    if (!at) return bitnet_fail(err, BITNET_MEMORY, "no memory for a bundle");
    *text = (struct bitnet_str){at, (size_t)size};
    enum bitnet_status status = take(a, (uint8_t *)at, (size_t)size, err);
    return status ? status : skip_pad(a, size, err);
}

static void free_text(struct bitnet_str *text)
{
    bitnet_free((void *)(uintptr_t)text->at);
    *text = (struct bitnet_str){NULL, 0};
}

static enum bitnet_status next_entry(struct arrival *a, struct hub_tar_entry *entry,
                                     struct bitnet_error *err)
{
    uint8_t block[HUB_TAR_BLOCK];
    struct bitnet_str record = {NULL, 0};
    enum bitnet_status status = take(a, block, sizeof block, err);
    if (!status) status = hub_tar_read(entry, block, err);
    if (status || entry->kind != HUB_TAR_RECORD) return status;
    status = take_text(a, entry->size, RECORD_BYTES_MAX, &record, err);
    if (!status) status = take(a, block, sizeof block, err);
    if (!status) status = hub_tar_read(entry, block, err);
    if (!status && entry->kind != HUB_TAR_FILE)
        status = bitnet_fail(err, BITNET_FORMAT, "a record in the bundle speaks of nothing");
    if (!status) status = hub_tar_record(entry, record, err);
    free_text(&record);
    return status;
}

/* --- what it says it is --- */

static enum bitnet_status copy_name(const struct bitnet_json *root, const char *name, char *out,
                                    size_t room, struct bitnet_error *err)
{
    struct bitnet_str text = {NULL, 0};
    enum bitnet_status status = bitnet_json_str(root, name, BITNET_REQUIRED, &text, err);
    if (status) return status;
    if (text.n == 0 || text.n >= room || memchr(text.at, 0, text.n))
        return bitnet_fail(err, BITNET_POLICY, "the bundle's %s is %s", name, BITNET_QUOTE(text));
    memcpy(out, text.at, text.n);
    out[text.n] = 0;
    return BITNET_OK;
}

static enum bitnet_status read_identity(struct arrival *a, const struct bitnet_json *root,
                                        struct bitnet_error *err)
{
    char type[16] = "";
    uint64_t schema = 0;
    enum bitnet_status status =
        bitnet_json_u64(root, "schema", 1, 1, BITNET_REQUIRED, &schema, err);
    if (!status) status = copy_name(root, "type", type, sizeof type, err);
    if (!status) status = copy_name(root, "repo", a->ref.repo, sizeof a->ref.repo, err);
    if (!status) status = copy_name(root, "revision", a->ref.revision, sizeof a->ref.revision, err);
    if (!status) status = copy_name(root, "commit", a->commit, sizeof a->commit, err);
    if (status) return status;
    bool known = false;
    for (int t = BITNET_HUB_MODEL; t <= BITNET_HUB_KERNEL; t++)
        if (strcmp(type, hub_type_plural((enum bitnet_hub_type)t)) == 0) {
            a->ref.type = (enum bitnet_hub_type)t;
            known = true;
        }
    if (known && hub_is_repo_id(bitnet_str_of(a->ref.repo)) &&
        hub_is_revision(bitnet_str_of(a->ref.revision)) && hub_is_commit(bitnet_str_of(a->commit)))
        return BITNET_OK;
    return bitnet_fail(err, BITNET_POLICY, "the bundle's names cannot be used (%s)",
                       BITNET_QUOTE(bitnet_str_of(a->ref.repo)));
}

static enum bitnet_status read_file(struct arrival *a, const struct bitnet_json *file,
                                    struct bitnet_error *err)
{
    char path[BITNET_HUB_FILE_MAX + 1], etag[65] = "";
    static const char none[] = "0000000000000000000000000000000000000000";
    struct hub_tree_file f = {.path = path};
    enum bitnet_status status = copy_name(file, "path", path, sizeof path, err);
    if (!status) status = copy_name(file, "etag", etag, sizeof etag, err);
    if (!status)
        status = bitnet_json_u64(file, "size", 0, INT64_MAX, BITNET_REQUIRED, &f.size, err);
    if (status) return status;
    bool is_large = strlen(etag) == 64;
    f.blob_id = is_large ? none : etag;
    f.lfs_sha256 = is_large ? etag : NULL;
    return hub_tree_add(&a->files, f, err);
}

static enum bitnet_status read_contents(struct arrival *a, struct bitnet_error *err)
{
    struct hub_tar_entry entry;
    struct bitnet_str text = {NULL, 0};
    struct bitnet_arena arena = {0};
    const struct bitnet_json *root = NULL, *files = NULL;
    enum bitnet_status status = next_entry(a, &entry, err);
    if (!status && (entry.kind != HUB_TAR_FILE || strcmp(entry.name, "bundle.json") != 0))
        status =
            bitnet_fail(err, BITNET_FORMAT, "not a bundle: it does not begin with bundle.json");
    if (!status) status = take_text(a, entry.size, TEXT_BYTES_MAX, &text, err);
    if (!status) status = bitnet_json_parse(&root, text, NULL, &arena, err);
    if (!status) status = read_identity(a, root, err);
    if (!status) files = bitnet_json_get(root, "files");
    if (!status && (!files || files->kind != BITNET_JSON_ARRAY || !files->child))
        status = bitnet_fail(err, BITNET_FORMAT, "the bundle lists no files");
    for (const struct bitnet_json *f = status ? NULL : files->child; f && !status; f = f->next)
        status = read_file(a, f, err);
    if (!status) hub_tree_finish(&a->files);
    bitnet_arena_free(&arena);
    free_text(&text);
    return status;
}

/* --- files --- */

static enum bitnet_status receive(struct arrival *a, const struct hub_tree_file *file,
                                  struct hub_partial *partial, struct hub_hash *hash,
                                  struct bitnet_error *err)
{
    for (uint64_t at = 0; at < file->size;) {
        size_t n = file->size - at < BLOCK_BYTES ? (size_t)(file->size - at) : BLOCK_BYTES;
        enum bitnet_status status = take(a, a->block, n, err);
        if (status) return status;
        int failed = hub_write_all(partial->fd, a->block, n, at);
        if (failed) return hub_io_error(err, failed, "write", file->path);
        if (!hub_hash_add(hash, a->block, n))
            return bitnet_fail(err, BITNET_MEMORY, "hashing failed");
        at += n;
    }
    return skip_pad(a, file->size, err);
}

static enum bitnet_status publish(struct arrival *a, const struct hub_tree_file *file,
                                  struct hub_partial *partial, struct bitnet_error *err)
{
    char blob[HUB_NAME_MAX];
    if (hub_io->fsync(partial->fd) != 0) return hub_io_error(err, errno, "sync", file->path);
    if (a->no_symlinks)
        return hub_move_to_entry(&a->repo, partial->name, a->commit, file->path, err);
    snprintf(blob, sizeof blob, "blobs/%s", file->etag);
    int folder = hub_open_dir(a->repo.dir, "", false);
    int failed = folder < 0 ? errno : 0;
    if (!failed && hub_io->rename(folder, partial->name, folder, blob) != 0) failed = errno;
    if (folder >= 0) close(folder);
    if (failed) return hub_io_error(err, failed, "write", blob);
    hub_stamp(&a->repo, file->etag);
    return hub_link_entry(&a->repo, a->commit, file->path, file->etag, false, err);
}

static enum bitnet_status import_file(struct arrival *a, const struct hub_tree_file *file,
                                      struct bitnet_error *err)
{
    struct hub_partial partial;
    struct hub_partial_place place = hub_cache_partials(&a->repo);
    struct hub_hash hash = {0};
    char got[HUB_HEX_MAX] = "";
    enum bitnet_status status =
        hub_partial_open(&partial, &place, file->etag, file->size, NULL, err);
    if (status) return status;
    if (!hub_hash_begin(&hash, file->etag, file->size))
        status = bitnet_fail(err, BITNET_MEMORY, "no memory to hash a file");
    if (!status) status = receive(a, file, &partial, &hash, err);
    if (!status && (!hub_hash_finish(&hash, got) || strcmp(got, file->etag) != 0))
        status = bitnet_fail(err, BITNET_INTEGRITY,
                             "%s in the bundle is damaged: expected %s, "
                             "got %s",
                             BITNET_QUOTE(bitnet_str_of(file->path)), file->etag, got);
    hub_hash_free(&hash);
    if (!status) status = publish(a, file, &partial, err);
    if (status)
        hub_partial_discard(&partial, &place);
    else
        hub_partial_done(&partial, &place);
    return status;
}

static enum bitnet_status import_entry(struct arrival *a, const struct hub_tar_entry *entry,
                                       struct bitnet_error *err)
{
    static const char folder[] = "files/";
    struct bitnet_str name = bitnet_str_of(entry->name);
    if (bitnet_str_is(name, "tree.json") && !a->tree.at)
        return take_text(a, entry->size, TEXT_BYTES_MAX, &a->tree, err);
    /* In the order of the list, each once: then counting tells that all have come. */
    const struct hub_tree_file *next =
        a->n_arrived < a->files.n ? &a->files.files[a->n_arrived] : NULL;
    if (!next || !bitnet_str_starts(name, folder) ||
        strcmp(entry->name + sizeof folder - 1, next->path) != 0 || entry->size != next->size)
        return bitnet_fail(err, BITNET_FORMAT, "the bundle holds %s where its list says otherwise",
                           BITNET_QUOTE(name));
    a->n_arrived++;
    return import_file(a, next, err);
}

/* --- all --- */

/* The stored listing is used only when it agrees with every file that came. */
static void store_tree(struct arrival *a)
{
    struct hub_tree tree = {0};
    char name[HUB_NAME_MAX], temp[HUB_TEMP_MAX];
    struct bitnet_buf text = {.max = TEXT_BYTES_MAX};
    bool agrees = a->tree.at && hub_tree_add_stored(&tree, a->tree, NULL) == BITNET_OK;
    if (agrees) hub_tree_finish(&tree);
    for (size_t i = 0; i < a->files.n && agrees; i++) {
        const struct hub_tree_file *f = &a->files.files[i];
        const struct hub_tree_file *said = hub_tree_find(&tree, bitnet_str_of(f->path));
        agrees = said && strcmp(said->etag, f->etag) == 0 && said->size == f->size;
    }
    if (agrees && hub_tree_write(&tree, &text)) {
        hub_temp_name(temp);
        snprintf(name, sizeof name, "trees/%s.json", a->commit);
        hub_write_small(a->repo.dir, temp, name, (struct bitnet_str){text.at, text.n}, false);
    }
    bitnet_buf_free(&text);
    hub_tree_free(&tree);
}

static enum bitnet_status import_all(struct arrival *a, const char *cache_dir,
                                     struct bitnet_error *err)
{
    struct hub_tar_entry entry = {.kind = HUB_TAR_FILE};
    enum bitnet_status status = read_contents(a, err);
    if (!status) status = hub_repo_open(&a->repo, cache_dir, &a->ref, true, err);
    while (!status) {
        status = next_entry(a, &entry, err);
        if (status || entry.kind == HUB_TAR_END) break;
        status = import_entry(a, &entry, err);
    }
    if (!status && a->n_arrived != a->files.n)
        status = bitnet_fail(err, BITNET_FORMAT, "the bundle ends early: %zu of %zu files",
                             a->n_arrived, a->files.n);
    if (status) return status;
    store_tree(a);
    if (hub_is_commit(bitnet_str_of(a->ref.revision))) return BITNET_OK;
    return hub_write_ref(&a->repo, a->ref.revision, a->commit, err);
}

enum bitnet_status bitnet_hub_import(struct bitnet_hub *hub, const char *path,
                                     struct bitnet_hub_ref *ref, struct bitnet_error *err)
{
    *ref = (struct bitnet_hub_ref){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return bitnet_fail(err, BITNET_NOT_FOUND, "there is no file %s",
                           BITNET_QUOTE(bitnet_str_of(path)));
    if (fd < 0) return hub_io_error(err, errno, "open", path);
    struct arrival *a = bitnet_alloc(1, sizeof *a);
    enum bitnet_status status = BITNET_OK;
    if (a) {
        *a = (struct arrival){.fd = fd,
                              .repo = {.root = -1, .dir = -1},
                              .zstd = ZSTD_createDCtx(),
                              .packed = bitnet_alloc(BLOCK_BYTES, 1),
                              .block = bitnet_alloc(BLOCK_BYTES, 1),
                              .no_symlinks = hub->settings.no_symlinks};
        if (!a->zstd || !a->packed || !a->block)
            status = bitnet_fail(err, BITNET_MEMORY, "no memory for a bundle");
        if (!status) status = import_all(a, hub->settings.cache_dir, err);
        *ref = a->ref;
        ZSTD_freeDCtx(a->zstd);
        bitnet_free(a->packed);
        bitnet_free(a->block);
        hub_tree_free(&a->files);
        free_text(&a->tree);
        hub_repo_close(&a->repo);
        bitnet_free(a);
    } else
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for a bundle");
    close(fd);
    return status;
}
