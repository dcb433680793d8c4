/* What a commit holds. In come pages of the API's listing, or the stored form; out comes one list
 * whose names and hashes may become paths, sorted, without duplicates. The stored form is that of
 * huggingface_hub (trees/<commit>.json, format_version 1). */
#include "tree.h"

#include <inttypes.h>
#include <stdlib.h>

#include <bitnet/alloc.h>
#include <bitnet/json.h>

enum { FILES_MAX = 200000 };

static const struct bitnet_json_limits json_limits = {.max_bytes = (size_t)64 << 20};

static const char *copy(struct hub_tree *tree, struct bitnet_str text)
{
    return bitnet_arena_copy(&tree->arena, text).at;
}

static enum bitnet_status check(const struct hub_tree_file *f, struct bitnet_error *err)
{
    struct bitnet_str path = bitnet_str_of(f->path);
    const char *fault = hub_path_fault(path);
    if (fault)
        return bitnet_fail(err, BITNET_POLICY, "the server lists a file named %s: %s",
                           BITNET_QUOTE(path), fault);
    if (!hub_is_commit(bitnet_str_of(f->blob_id)))
        return bitnet_fail(err, BITNET_POLICY, "file %s: %s is no git hash", BITNET_QUOTE(path),
                           BITNET_QUOTE(bitnet_str_of(f->blob_id)));
    struct bitnet_str sha = bitnet_str_of(f->lfs_sha256);
    if (f->lfs_sha256 && (sha.n != 64 || !hub_is_etag(sha)))
        return bitnet_fail(err, BITNET_POLICY, "file %s: %s is no SHA-256", BITNET_QUOTE(path),
                           BITNET_QUOTE(sha));
    if (f->size > INT64_MAX)
        return bitnet_fail(err, BITNET_FORMAT, "file %s: a size of %" PRIu64 " is impossible",
                           BITNET_QUOTE(path), f->size);
    return BITNET_OK;
}

enum bitnet_status hub_tree_add(struct hub_tree *tree, struct hub_tree_file file,
                                struct bitnet_error *err)
{
    enum bitnet_status status = check(&file, err);
    if (status) return status;
    if (tree->n == FILES_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "the repository holds more than %d files", FILES_MAX);
    if (!BITNET_GROW(tree->files, tree->n, tree->cap, FILES_MAX))
        return bitnet_fail(err, BITNET_MEMORY, "no memory for the list of files");
    file.path = copy(tree, bitnet_str_of(file.path));
    file.blob_id = copy(tree, bitnet_str_of(file.blob_id));
    if (file.lfs_sha256) file.lfs_sha256 = copy(tree, bitnet_str_of(file.lfs_sha256));
    if (file.xet_hash) file.xet_hash = copy(tree, bitnet_str_of(file.xet_hash));
    file.etag = file.lfs_sha256 ? file.lfs_sha256 : file.blob_id;
    if (!file.path || !file.etag || !file.blob_id)
        return bitnet_fail(err, BITNET_MEMORY, "no memory for the list of files");
    switch (bitnet_map_put(&tree->names, bitnet_str_of(file.path), (uint32_t)tree->n, NULL)) {
    case BITNET_MAP_NEW:
        break;
    case BITNET_MAP_EXISTS:
        return bitnet_fail(err, BITNET_FORMAT, "the server lists %s twice",
                           BITNET_QUOTE(bitnet_str_of(file.path)));
    default:
        return bitnet_fail(err, BITNET_MEMORY, "no memory for the list of files");
    }
    if (tree->n == 0) tree->is_storable = true;
    tree->files[tree->n++] = file;
    return BITNET_OK;
}

/* Text of a JSON string as a C string in `scratch`; refused when it holds a NUL. */
static enum bitnet_status c_text(struct bitnet_str text, struct bitnet_arena *scratch,
                                 const char **out, struct bitnet_error *err)
{
    if (text.n > 0 && memchr(text.at, 0, text.n))
        return bitnet_fail(err, BITNET_POLICY, "the server sent text with a zero byte: %s",
                           BITNET_QUOTE(text));
    *out = bitnet_arena_copy(scratch, text).at;
    return *out ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "no memory for the list of files");
}

static enum bitnet_status get_text(const struct bitnet_json *object, const char *name,
                                   enum bitnet_json_need need, struct bitnet_arena *scratch,
                                   const char **out, struct bitnet_error *err)
{
    struct bitnet_str text = {NULL, 0};
    enum bitnet_status status = bitnet_json_str(object, name, need, &text, err);
    if (status || !text.at) return status;
    return c_text(text, scratch, out, err);
}

/* A hash that is no hash was redacted: the file is used all the same, the listing not stored. */
static void drop_redacted(struct hub_tree_file *file, bool *is_storable)
{
    if (!file->xet_hash) return;
    struct bitnet_str hash = bitnet_str_of(file->xet_hash);
    if (hash.n == 64 && hub_is_etag(hash)) return;
    file->xet_hash = NULL;
    *is_storable = false;
}

static enum bitnet_status read_lfs(const struct bitnet_json *lfs, struct bitnet_arena *scratch,
                                   struct hub_tree_file *file, struct bitnet_error *err)
{
    uint64_t size = file->size;
    enum bitnet_status status =
        get_text(lfs, "oid", BITNET_REQUIRED, scratch, &file->lfs_sha256, err);
    if (!status) status = bitnet_json_u64(lfs, "size", 0, INT64_MAX, BITNET_OPTIONAL, &size, err);
    if (!status && size != file->size)
        status = bitnet_fail(err, BITNET_FORMAT, "file %s has two sizes, %" PRIu64 " and %" PRIu64,
                             BITNET_QUOTE(bitnet_str_of(file->path)), file->size, size);
    return status;
}

static enum bitnet_status add_api_entry(struct hub_tree *tree, const struct bitnet_json *entry,
                                        struct bitnet_arena *scratch, struct bitnet_error *err)
{
    struct bitnet_str type = {NULL, 0};
    struct hub_tree_file file = {0};
    bool is_storable = true;
    enum bitnet_status status = bitnet_json_str(entry, "type", BITNET_REQUIRED, &type, err);
    if (status || !bitnet_str_is(type, "file")) return status;
    status = get_text(entry, "path", BITNET_REQUIRED, scratch, &file.path, err);
    if (!status) status = get_text(entry, "oid", BITNET_REQUIRED, scratch, &file.blob_id, err);
    if (!status)
        status = bitnet_json_u64(entry, "size", 0, INT64_MAX, BITNET_REQUIRED, &file.size, err);
    if (!status) status = get_text(entry, "xetHash", BITNET_OPTIONAL, scratch, &file.xet_hash, err);
    const struct bitnet_json *lfs = bitnet_json_get(entry, "lfs");
    if (!status && lfs && lfs->kind == BITNET_JSON_OBJECT)
        status = read_lfs(lfs, scratch, &file, err);
    if (!status) drop_redacted(&file, &is_storable);
    if (!status) status = hub_tree_add(tree, file, err);
    if (!status && !is_storable) tree->is_storable = false;
    return status;
}

static enum bitnet_status add_stored_entry(struct hub_tree *tree, const struct bitnet_json *entry,
                                           struct bitnet_arena *scratch, struct bitnet_error *err)
{
    struct hub_tree_file file = {0};
    bool is_storable = true;
    enum bitnet_status status = c_text(entry->key, scratch, &file.path, err);
    if (!status)
        status = bitnet_json_u64(entry, "size", 0, INT64_MAX, BITNET_REQUIRED, &file.size, err);
    if (!status) status = get_text(entry, "blob_id", BITNET_REQUIRED, scratch, &file.blob_id, err);
    if (!status)
        status = get_text(entry, "lfs_sha256", BITNET_OPTIONAL, scratch, &file.lfs_sha256, err);
    if (!status)
        status = get_text(entry, "xet_hash", BITNET_OPTIONAL, scratch, &file.xet_hash, err);
    if (!status) drop_redacted(&file, &is_storable);
    return status ? status : hub_tree_add(tree, file, err);
}

enum bitnet_status hub_tree_add_page(struct hub_tree *tree, struct bitnet_str json,
                                     struct bitnet_error *err)
{
    struct bitnet_arena scratch = {0};
    const struct bitnet_json *root = NULL;
    bool was_storable = tree->is_storable || tree->n == 0;
    enum bitnet_status status = bitnet_json_parse(&root, json, &json_limits, &scratch, err);
    if (!status && root->kind != BITNET_JSON_ARRAY)
        status = bitnet_fail(err, BITNET_FORMAT, "the listing is no array");
    for (const struct bitnet_json *e = status ? NULL : root->child; e && !status; e = e->next)
        status = add_api_entry(tree, e, &scratch, err);
    tree->is_storable = tree->is_storable && was_storable;
    bitnet_arena_free(&scratch);
    return status;
}

static enum bitnet_status stored_files(const struct bitnet_json *root,
                                       const struct bitnet_json **files, struct bitnet_error *err)
{
    uint64_t version = 0;
    enum bitnet_status status =
        bitnet_json_u64(root, "format_version", 0, UINT32_MAX, BITNET_REQUIRED, &version, err);
    if (status) return status;
    *files = bitnet_json_get(root, "files");
    if (version != 1 || !*files || (*files)->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "a stored listing of an unknown form");
    return BITNET_OK;
}

enum bitnet_status hub_tree_add_stored(struct hub_tree *tree, struct bitnet_str json,
                                       struct bitnet_error *err)
{
    struct bitnet_arena scratch = {0};
    const struct bitnet_json *root = NULL, *files = NULL;
    enum bitnet_status status = bitnet_json_parse(&root, json, &json_limits, &scratch, err);
    if (!status) status = stored_files(root, &files, err);
    for (const struct bitnet_json *e = status ? NULL : files->child; e && !status; e = e->next)
        status = add_stored_entry(tree, e, &scratch, err);
    bitnet_arena_free(&scratch);
    return status;
}

static int by_path(const void *a, const void *b)
{
    /* Bytes of UTF-8 sort as code points do, which is how Python sorts. */
    return strcmp(((const struct hub_tree_file *)a)->path, ((const struct hub_tree_file *)b)->path);
}

void hub_tree_finish(struct hub_tree *tree)
{
    if (tree->n > 1) qsort(tree->files, tree->n, sizeof tree->files[0], by_path);
    bitnet_map_free(&tree->names);
}

/* Paths hold no control character, but may hold a quote and anything beyond ASCII. */
static void write_string(struct bitnet_buf *out, struct bitnet_str text)
{
    bitnet_buf_add(out, "\"", 1);
    for (size_t i = 0; i < text.n;) {
        uint32_t point = 0;
        size_t n = bitnet_utf8_decode(text.at + i, text.n - i, &point);
        if (point >= 0x10000) {
            uint32_t v = point - 0x10000;
            bitnet_buf_printf(out, "\\u%04x\\u%04x", 0xd800 + (v >> 10), 0xdc00 + (v & 0x3ff));
        } else if (point >= 0x80)
            bitnet_buf_printf(out, "\\u%04x", point);
        else if (point == '"' || point == '\\')
            bitnet_buf_printf(out, "\\%c", (int)point);
        else
            bitnet_buf_add(out, text.at + i, 1);
        i += n ? n : 1;
    }
    bitnet_buf_add(out, "\"", 1);
}

static void write_file(struct bitnet_buf *out, const struct hub_tree_file *f)
{
    bitnet_buf_printf(out, "\n  ");
    write_string(out, bitnet_str_of(f->path));
    bitnet_buf_printf(out, ": {\n   \"size\": %" PRIu64 ",\n   \"blob_id\": \"%s\"", f->size,
                      f->blob_id);
    if (f->lfs_sha256)
        bitnet_buf_printf(out, ",\n   \"lfs_sha256\": \"%s\",\n   \"lfs_size\": %" PRIu64,
                          f->lfs_sha256, f->size);
    if (f->xet_hash) bitnet_buf_printf(out, ",\n   \"xet_hash\": \"%s\"", f->xet_hash);
    bitnet_buf_printf(out, "\n  }");
}

bool hub_tree_write(const struct hub_tree *tree, struct bitnet_buf *out)
{
    bitnet_buf_printf(out, "{\n \"format_version\": 1,\n \"files\": {");
    for (size_t i = 0; i < tree->n; i++) {
        if (i > 0) bitnet_buf_add(out, ",", 1);
        write_file(out, &tree->files[i]);
    }
    bitnet_buf_printf(out, tree->n > 0 ? "\n }\n}" : "}\n}");
    return !out->failed;
}

static int compare_key(const void *key, const void *element)
{
    const struct bitnet_str *path = key;
    const char *name = ((const struct hub_tree_file *)element)->path;
    size_t n = strlen(name), least = n < path->n ? n : path->n;
    int order = memcmp(path->at, name, least);
    return order ? order : (path->n > n) - (path->n < n);
}

const struct hub_tree_file *hub_tree_find(const struct hub_tree *tree, struct bitnet_str path)
{
    if (tree->n == 0 || path.n == 0) return NULL;
    return bsearch(&path, tree->files, tree->n, sizeof tree->files[0], compare_key);
}

void hub_tree_free(struct hub_tree *tree)
{
    bitnet_map_free(&tree->names);
    bitnet_free(tree->files);
    bitnet_arena_free(&tree->arena);
    *tree = (struct hub_tree){0};
}
