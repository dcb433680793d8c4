/* A cached revision as one .tar.zst, for machines without a network:
 *
 *   bundle.json            repository, revision, commit; every file with size and hash
 *   tree.json              the stored listing of the commit, if there is one
 *   files/<path> ...       the contents, in the order of bundle.json
 *
 * In comes a snapshot, out goes a stream; nothing is held in memory but a block, and every file is
 * hashed as it passes. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include <zstd.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include "client.h"
#include "hash.h"
#include "shelf.h"
#include "tar.h"

/* Packed ternary weights hardly shrink: speed counts. */
enum { LEVEL = 1, BLOCK_BYTES = 1 << 17, HEAD_BYTES_MAX = 64 << 20, TREE_BYTES_MAX = 64 << 20 };

struct bundle {
    struct bitnet_output *out;
    ZSTD_CCtx *zstd;
    uint8_t *block, *packed;
    struct hub_repo *repo;
    const struct hub_shelf_snapshot *snapshot;
    struct hub_tree tree;
    struct bitnet_str stored_tree; /* as on disk */
};

/* --- the stream --- */

static enum bitnet_status write_packed(struct bundle *b, const void *bytes, size_t n,
                                       ZSTD_EndDirective mode, struct bitnet_error *err)
{
    ZSTD_inBuffer in = {bytes, n, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {b->packed, BLOCK_BYTES, 0};
        left = ZSTD_compressStream2(b->zstd, &out, &in, mode);
        if (ZSTD_isError(left))
            return bitnet_fail(err, BITNET_INTERNAL, "zstd: %s", ZSTD_getErrorName(left));
        enum bitnet_status status =
            out.pos ? bitnet_output_write(b->out, b->packed, out.pos, err) : BITNET_OK;
        if (status) return status;
    } while (mode == ZSTD_e_end ? left > 0 : in.pos < in.size);
    return BITNET_OK;
}

static enum bitnet_status write_bytes(struct bundle *b, const void *bytes, size_t n,
                                      struct bitnet_error *err)
{
    return write_packed(b, bytes, n, ZSTD_e_continue, err);
}

static enum bitnet_status write_head(struct bundle *b, const char *name, uint64_t size,
                                     struct bitnet_error *err)
{
    struct bitnet_buf head = {.max = 65536};
    enum bitnet_status status = hub_tar_head(&head, name, size)
                                    ? write_bytes(b, head.at, head.n, err)
                                    : bitnet_fail(err, BITNET_MEMORY, "no memory for a bundle");
    bitnet_buf_free(&head);
    return status;
}

static enum bitnet_status write_pad(struct bundle *b, uint64_t size, struct bitnet_error *err)
{
    static const uint8_t zeros[HUB_TAR_BLOCK];
    size_t over = (size_t)(size % HUB_TAR_BLOCK);
    return over ? write_bytes(b, zeros, HUB_TAR_BLOCK - over, err) : BITNET_OK;
}

static enum bitnet_status write_text(struct bundle *b, const char *name, struct bitnet_str text,
                                     struct bitnet_error *err)
{
    enum bitnet_status status = write_head(b, name, text.n, err);
    if (!status) status = write_bytes(b, text.at, text.n, err);
    return status ? status : write_pad(b, text.n, err);
}

/* --- what goes in --- */

static const char *etag_of(const struct bundle *b, const struct hub_shelf_entry *e)
{
    if (e->etag[0]) return e->etag;
    const struct hub_tree_file *f = hub_tree_find(&b->tree, bitnet_str_of(e->path));
    return f ? f->etag : "";
}

static void put_json_text(struct bitnet_buf *out, const char *text)
{
    bitnet_buf_add(out, "\"", 1);
    for (; *text; text++) /* names hold no control characters */
        bitnet_buf_printf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    bitnet_buf_add(out, "\"", 1);
}

static enum bitnet_status write_contents(struct bundle *b, const struct bitnet_hub_ref *ref,
                                         struct bitnet_error *err)
{
    struct bitnet_buf text = {.max = HEAD_BYTES_MAX};
    enum bitnet_status status = BITNET_OK;
    bitnet_buf_printf(&text, "{\"schema\":1,\"type\":\"%s\",\"repo\":\"%s\",\"revision\":",
                      hub_type_plural(ref->type), ref->repo);
    put_json_text(&text, ref->revision);
    bitnet_buf_printf(&text, ",\"commit\":\"%s\",\"files\":[", b->snapshot->commit);
    for (size_t i = 0; i < b->snapshot->n_entries && !status; i++) {
        const struct hub_shelf_entry *e = &b->snapshot->entries[i];
        const char *fault = hub_path_fault(bitnet_str_of(e->path)), *etag = etag_of(b, e);
        if (e->is_dead || fault || !etag[0])
            status = bitnet_fail(err, BITNET_INTEGRITY, "%s cannot be exported: %s",
                                 BITNET_QUOTE(bitnet_str_of(e->path)),
                                 e->is_dead ? "its blob is missing"
                                 : fault    ? fault
                                            : "nothing says what it should be");
        bitnet_buf_printf(&text, "%s\n{\"path\":", i ? "," : "");
        put_json_text(&text, e->path);
        bitnet_buf_printf(&text, ",\"size\":%" PRIu64 ",\"etag\":\"%s\"}", e->size, etag);
    }
    bitnet_buf_printf(&text, "]}\n");
    if (!status && text.failed) status = bitnet_fail(err, BITNET_MEMORY, "no memory for a bundle");
    if (!status) status = write_text(b, "bundle.json", (struct bitnet_str){text.at, text.n}, err);
    bitnet_buf_free(&text);
    return status;
}

static enum bitnet_status copy_hashed(struct bundle *b, int fd, uint64_t size,
                                      struct hub_hash *hash, struct bitnet_error *err)
{
    for (uint64_t at = 0; at < size;) {
        size_t want = size - at < BLOCK_BYTES ? (size_t)(size - at) : BLOCK_BYTES;
        ssize_t n = hub_read_at(fd, b->block, want, at);
        if (n <= 0) return bitnet_fail(err, BITNET_IO, "a file ended while it was exported");
        if (!hub_hash_add(hash, b->block, (size_t)n))
            return bitnet_fail(err, BITNET_MEMORY, "hashing failed");
        enum bitnet_status status = write_bytes(b, b->block, (size_t)n, err);
        if (status) return status;
        at += (uint64_t)n;
    }
    return BITNET_OK;
}

static enum bitnet_status write_file(struct bundle *b, const struct hub_shelf_entry *e,
                                     struct bitnet_error *err)
{
    char name[HUB_NAME_MAX], got[HUB_HEX_MAX] = "";
    struct hub_hash hash = {0};
    const char *etag = etag_of(b, e);
    if (e->is_file)
        snprintf(name, sizeof name, "snapshots/%s/%s", b->snapshot->commit, e->path);
    else
        snprintf(name, sizeof name, "blobs/%s", e->etag);
    int fd = hub_open_file(b->repo->dir, name, O_RDONLY, 0);
    if (fd < 0) return hub_io_error(err, errno, "open", name);
    snprintf(name, sizeof name, "files/%s", e->path);
    enum bitnet_status status = hub_hash_begin(&hash, etag, e->size)
                                    ? write_head(b, name, e->size, err)
                                    : bitnet_fail(err, BITNET_MEMORY, "no memory to hash a file");
    if (!status) status = copy_hashed(b, fd, e->size, &hash, err);
    if (!status) status = write_pad(b, e->size, err);
    if (!status && (!hub_hash_finish(&hash, got) || strcmp(got, etag) != 0)) {
        status = bitnet_fail(err, BITNET_INTEGRITY, "%s is damaged: expected %s, got %s",
                             BITNET_QUOTE(bitnet_str_of(e->path)), etag, got);
        bitnet_hint(err, status, "`bitnet-hub verify --repair` removes it; then pull again");
    }
    hub_hash_free(&hash);
    close(fd);
    return status;
}

static void read_tree(struct bundle *b)
{
    char name[HUB_NAME_MAX];
    snprintf(name, sizeof name, "trees/%s.json", b->snapshot->commit);
    if (!hub_read_small(b->repo->dir, name, TREE_BYTES_MAX, &b->stored_tree)) return;
    if (hub_tree_add_stored(&b->tree, b->stored_tree, NULL) == BITNET_OK)
        hub_tree_finish(&b->tree);
    else {
        hub_tree_free(&b->tree);
        b->stored_tree.n = 0;
    }
}

static enum bitnet_status write_all(struct bundle *b, const struct bitnet_hub_ref *ref,
                                    struct bitnet_error *err)
{
    static const uint8_t end[2 * HUB_TAR_BLOCK];
    read_tree(b);
    enum bitnet_status status = write_contents(b, ref, err);
    if (!status && b->stored_tree.n > 0) status = write_text(b, "tree.json", b->stored_tree, err);
    for (size_t i = 0; i < b->snapshot->n_entries && !status; i++)
        status = write_file(b, &b->snapshot->entries[i], err);
    return status ? status : write_packed(b, end, sizeof end, ZSTD_e_end, err);
}

static enum bitnet_status open_stream(struct bundle *b, const char *path, bool replace,
                                      struct bitnet_error *err)
{
    b->zstd = ZSTD_createCCtx();
    b->block = bitnet_alloc(BLOCK_BYTES, 1);
    b->packed = bitnet_alloc(BLOCK_BYTES, 1);
    if (!b->zstd || !b->block || !b->packed)
        return bitnet_fail(err, BITNET_MEMORY, "no memory for a bundle");
    ZSTD_CCtx_setParameter(b->zstd, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(b->zstd, ZSTD_c_checksumFlag, 1);
    return bitnet_output_begin(&b->out, path, 0,
                               replace ? BITNET_REPLACE_EXISTING : BITNET_KEEP_EXISTING, err);
}

static void close_stream(struct bundle *b)
{
    bitnet_output_abort(b->out);
    ZSTD_freeCCtx(b->zstd);
    bitnet_free(b->block);
    bitnet_free(b->packed);
    hub_tree_free(&b->tree);
    bitnet_free((void *)(uintptr_t)b->stored_tree.at);
}

static enum bitnet_status find_snapshot(struct bundle *b, const struct hub_shelf *shelf,
                                        const struct bitnet_hub_ref *ref, struct bitnet_error *err)
{
    char commit[41];
    bool known = hub_is_commit(bitnet_str_of(ref->revision));
    if (known)
        memcpy(commit, ref->revision, 41);
    else
        known = hub_read_ref(b->repo, ref->revision, commit);
    b->snapshot = known ? hub_shelf_snapshot(shelf, commit) : NULL;
    if (b->snapshot && b->snapshot->n_entries > 0) return BITNET_OK;
    return bitnet_fail(err, BITNET_NOT_FOUND, "'%s' at %s is not in the cache", ref->repo,
                       BITNET_QUOTE(bitnet_str_of(ref->revision)));
}

enum bitnet_status bitnet_hub_export(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     const char *path, bool replace, struct bitnet_error *err)
{
    struct hub_repo repo;
    struct hub_shelf shelf;
    struct bundle b = {.repo = &repo};
    enum bitnet_status status = hub_repo_open(&repo, hub->settings.cache_dir, ref, false, err);
    if (status) return status;
    status = hub_shelf_read(&shelf, &repo, err);
    if (!status) status = find_snapshot(&b, &shelf, ref, err);
    if (!status) status = open_stream(&b, path, replace, err);
    if (!status) status = write_all(&b, ref, err);
    if (!status) {
        status = bitnet_output_finish(b.out, err);
        b.out = NULL;
    }
    close_stream(&b);
    hub_shelf_free(&shelf);
    hub_repo_close(&repo);
    return status;
}
