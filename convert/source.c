/* Snapshot directories.
 *
 * In: a folder. Out: one checked list of tensors. A shard name comes from a file and becomes a
 * path, so it is held to letters, digits and ._- of one component. Source of truth: the index
 * format as transformers writes and reads it (metadata, weight_map: tensor name -> shard). */
#include "source.h"

#include "bitnet/alloc.h"
#include "bitnet/json.h"

#include <stdlib.h>

/* --- ceilings --- */
#define INDEX_BYTES_MAX (64u << 20)
#define SHARDS_MAX      10000u
#define SHARD_NAME_MAX  255u

#define SINGLE_NAME "model.safetensors"
#define INDEX_NAME  "model.safetensors.index.json"

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for the list of tensors");
}

static bool is_in_dir(const char *dir, const char *name, bool *is_there)
{
    char *path = bitnet_path_join(dir, bitnet_str_of(name));
    if (!path) return false;
    *is_there = bitnet_path_exists(path);
    bitnet_free(path);
    return true;
}

/* --- shards --- */

static bool is_plain_name(struct bitnet_str name)
{
    if (name.n == 0 || name.n > SHARD_NAME_MAX || name.at[0] == '.' || name.at[0] == '-')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return bitnet_str_ends(name, ".safetensors");
}

static enum bitnet_status open_shard(struct source *source, const char *dir, struct bitnet_str name,
                                     struct bitnet_error *err)
{
    struct shard *shard = &source->shards[source->n_shards];
    struct bitnet_str copy = bitnet_arena_copy(&source->arena, name);
    char *path = bitnet_path_join(dir, name);
    enum bitnet_status status = BITNET_OK;
    if (!copy.at || !path) {
        status = no_memory(err);
        goto done;
    }
    shard->name = (char *)(uintptr_t)copy.at;
    shard->file.fd = -1;
    if (!bitnet_path_exists(path)) {
        status = bitnet_fail(err, BITNET_NOT_FOUND, "%s: shard %s does not exist", dir,
                             BITNET_QUOTE(name));
        bitnet_hint(err, status, "the index names it; fetch it again");
        goto done;
    }
    status = bitnet_file_open(&shard->file, path, err);
    if (!status) source->n_shards++;
done:
    bitnet_free(path);
    return status;
}

static enum bitnet_status prefix_shard(const struct shard *shard, enum bitnet_status status,
                                       struct bitnet_error *err)
{
    return status ? bitnet_error_prefix(err, status, "%s", shard->file.path) : BITNET_OK;
}

/* Room for n more tensors at the end of the list. */
static bool make_room(struct source *source, size_t n)
{
    size_t total;
    if (!bitnet_add_size(source->n_tensors, n, &total)) return false;
    void *tensors = bitnet_realloc(source->tensors, total + 1, sizeof *source->tensors);
    if (!tensors) return false;
    source->tensors = tensors;
    void *shard_of = bitnet_realloc(source->tensor_shard, total + 1, sizeof *source->tensor_shard);
    if (!shard_of) return false;
    source->tensor_shard = shard_of;
    return true;
}

static enum bitnet_status add_tensor(struct source *source, const struct st_tensor *tensor,
                                     uint32_t shard, struct bitnet_error *err)
{
    switch (bitnet_map_put(&source->by_name, tensor->name, (uint32_t)source->n_tensors, NULL)) {
    case BITNET_MAP_MEMORY:
        return no_memory(err);
    case BITNET_MAP_EXISTS:
        return bitnet_fail(err, BITNET_FORMAT, "tensor %s appears twice",
                           BITNET_QUOTE(tensor->name));
    default:
        break;
    }
    source->tensors[source->n_tensors] = *tensor;
    source->tensor_shard[source->n_tensors++] = shard;
    return BITNET_OK;
}

static enum bitnet_status read_shard(struct source *source, uint32_t shard, struct st_list *list,
                                     struct bitnet_error *err)
{
    const struct shard *s = &source->shards[shard];
    return prefix_shard(s, st_read(list, &s->file, &source->arena, err), err);
}

static enum bitnet_status open_single(struct source *source, const char *dir,
                                      struct bitnet_error *err)
{
    struct st_list list;
    source->shards = bitnet_alloc(1, sizeof *source->shards);
    if (!source->shards) return no_memory(err);
    enum bitnet_status status = open_shard(source, dir, BITNET_STR(SINGLE_NAME), err);
    if (!status) status = read_shard(source, 0, &list, err);
    if (status) return status;
    if (!make_room(source, list.n)) return no_memory(err);
    for (size_t i = 0; i < list.n && !status; i++)
        status = prefix_shard(&source->shards[0], add_tensor(source, &list.at[i], 0, err), err);
    return status;
}

/* --- index --- */

struct index {
    struct bitnet_arena arena; /* the parsed document */
    struct bitnet_str text;
    const struct bitnet_json *map;
    struct bitnet_map shard_number; /* shard name -> number */
    struct bitnet_map mapped;       /* tensor name -> shard number */
};

static enum bitnet_status index_read(struct index *index, const char *path,
                                     struct bitnet_error *err)
{
    const struct bitnet_json *root = NULL;
    enum bitnet_status status = bitnet_read_file(path, INDEX_BYTES_MAX, &index->text, err);
    if (status) return status;
    struct bitnet_json_limits limits = {.max_bytes = INDEX_BYTES_MAX};
    status = bitnet_json_parse(&root, index->text, &limits, &index->arena, err);
    if (status) {
        const char *hint = NULL,
                   *accident = bitnet_file_accident(
                       (struct bitnet_bytes){(const uint8_t *)index->text.at, index->text.n},
                       &hint);
        if (accident && status == BITNET_FORMAT) {
            bitnet_fail(err, status, "%s", accident);
            if (hint) bitnet_hint(err, status, "%s", hint);
        }
        return bitnet_error_prefix(err, status, "%s", path);
    }
    index->map = bitnet_json_get(root, "weight_map");
    if (!index->map) return bitnet_fail(err, BITNET_FORMAT, "%s: 'weight_map' is missing", path);
    if (index->map->kind != BITNET_JSON_OBJECT || !index->map->child)
        return bitnet_fail(err, BITNET_FORMAT, "%s: 'weight_map' is not an object with entries",
                           path);
    return BITNET_OK;
}

static enum bitnet_status number_shard(struct index *index, const struct bitnet_json *entry,
                                       uint32_t *number, const char *path, struct bitnet_error *err)
{
    if (entry->kind != BITNET_JSON_STRING)
        return bitnet_fail(err, BITNET_FORMAT, "%s: tensor %s: the shard name is not text", path,
                           BITNET_QUOTE(entry->key));
    if (!is_plain_name(entry->text)) {
        bitnet_fail(err, BITNET_FORMAT, "%s: shard name %s is not a plain file name", path,
                    BITNET_QUOTE(entry->text));
        return bitnet_hint(err, BITNET_FORMAT,
                           "letters, digits and ._- in one component, ending .safetensors");
    }
    switch (bitnet_map_put(&index->shard_number, entry->text, (uint32_t)index->shard_number.n,
                           number)) {
    case BITNET_MAP_MEMORY:
        return no_memory(err);
    case BITNET_MAP_NEW:
        *number = (uint32_t)index->shard_number.n - 1;
        break;
    case BITNET_MAP_EXISTS:
        break;
    }
    if (index->shard_number.n > SHARDS_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "%s: more than %u shards", path, SHARDS_MAX);
    return BITNET_OK;
}

/* Numbers the shards in the order of their first mention and remembers who is mapped where. */
static enum bitnet_status index_walk(struct index *index, const char *path,
                                     struct bitnet_error *err)
{
    for (const struct bitnet_json *e = index->map->child; e; e = e->next) {
        uint32_t shard = 0;
        enum bitnet_status status = number_shard(index, e, &shard, path, err);
        if (status) return status;
        switch (bitnet_map_put(&index->mapped, e->key, shard, NULL)) {
        case BITNET_MAP_MEMORY:
            return no_memory(err);
        case BITNET_MAP_EXISTS:
            return bitnet_fail(err, BITNET_FORMAT, "%s: %s is mapped twice", path,
                               BITNET_QUOTE(e->key));
        case BITNET_MAP_NEW:
            break;
        }
    }
    return BITNET_OK;
}

/* Takes from one shard the tensors that the index maps to it. */
static enum bitnet_status take_mapped(struct source *source, const struct index *index,
                                      uint32_t shard, struct bitnet_error *err)
{
    struct st_list list;
    enum bitnet_status status = read_shard(source, shard, &list, err);
    if (status) return status;
    if (!make_room(source, list.n)) return no_memory(err);
    for (size_t i = 0; i < list.n && !status; i++) {
        uint32_t home;
        if (bitnet_map_get(&index->mapped, list.at[i].name, &home) && home == shard)
            status = add_tensor(source, &list.at[i], shard, err);
    }
    return status;
}

static enum bitnet_status check_all_found(const struct source *source, const struct index *index,
                                          struct bitnet_error *err)
{
    for (const struct bitnet_json *e = index->map->child; e; e = e->next)
        if (!source_find(source, e->key))
            return bitnet_fail(err, BITNET_FORMAT,
                               "tensor %s is not in %s, where the index maps it",
                               BITNET_QUOTE(e->key), BITNET_QUOTE(e->text));
    return BITNET_OK;
}

static enum bitnet_status open_shards(struct source *source, const struct index *index,
                                      const char *dir, struct bitnet_error *err)
{
    size_t n = index->shard_number.n;
    enum bitnet_status status = BITNET_OK;
    source->shards = bitnet_alloc(n, sizeof *source->shards);
    if (!source->shards) return no_memory(err);
    for (const struct bitnet_json *e = index->map->child; e && !status; e = e->next) {
        uint32_t number = 0;
        bitnet_map_get(&index->shard_number, e->text, &number);
        if (number == source->n_shards) status = open_shard(source, dir, e->text, err);
    }
    for (uint32_t s = 0; s < n && !status; s++) status = take_mapped(source, index, s, err);
    return status ? status : check_all_found(source, index, err);
}

static enum bitnet_status open_index(struct source *source, const char *dir,
                                     struct bitnet_error *err)
{
    struct index index = {0};
    char *path = bitnet_path_join(dir, BITNET_STR(INDEX_NAME));
    enum bitnet_status status = path ? index_read(&index, path, err) : no_memory(err);
    if (!status) status = index_walk(&index, path, err);
    if (!status) status = open_shards(source, &index, dir, err);
    bitnet_map_free(&index.shard_number);
    bitnet_map_free(&index.mapped);
    bitnet_arena_free(&index.arena);
    bitnet_free((void *)(uintptr_t)index.text.at);
    bitnet_free(path);
    return status;
}

static enum bitnet_status nothing_found(const char *dir, struct bitnet_error *err)
{
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json",
                                          "consolidated.00.pth"};
    for (size_t i = 0; i < sizeof pickles / sizeof pickles[0]; i++) {
        bool is_there = false;
        if (!is_in_dir(dir, pickles[i], &is_there)) return no_memory(err);
        if (!is_there) continue;
        bitnet_fail(err, BITNET_POLICY, "%s: %s is a pickle file, which can run code when read",
                    dir, pickles[i]);
        return bitnet_hint(err, BITNET_POLICY, "use a revision with %s", SINGLE_NAME);
    }
    bitnet_fail(err, BITNET_NOT_FOUND, "%s: neither %s nor %s is there", dir, SINGLE_NAME,
                INDEX_NAME);
    return bitnet_hint(err, BITNET_NOT_FOUND,
                       "name the folder that holds the checkpoint; `bitnet hub pull` fetches one");
}

enum bitnet_status source_open(struct source *source, const char *dir, struct bitnet_error *err)
{
    bool has_single = false, has_index = false;
    enum bitnet_status status;
    *source = (struct source){0};
    if (!bitnet_path_is_dir(dir))
        return bitnet_fail(err, BITNET_NOT_FOUND, "%s: there is no such folder", dir);
    if (!is_in_dir(dir, SINGLE_NAME, &has_single) || !is_in_dir(dir, INDEX_NAME, &has_index))
        return no_memory(err);
    if (has_single) /* the order of transformers */
        status = open_single(source, dir, err);
    else if (has_index)
        status = open_index(source, dir, err);
    else
        status = nothing_found(dir, err);
    if (status) source_close(source);
    return status;
}

const struct st_tensor *source_find(const struct source *source, struct bitnet_str name)
{
    uint32_t i;
    return bitnet_map_get(&source->by_name, name, &i) ? &source->tensors[i] : NULL;
}

void source_release(const struct source *source, const struct st_tensor *tensor)
{
    const struct bitnet_file *file =
        &source->shards[source->tensor_shard[tensor - source->tensors]].file;
    bitnet_file_release(file, (uint64_t)(tensor->data.at - file->bytes.at), tensor->data.n);
}

enum bitnet_status source_unchanged(const struct source *source, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < source->n_shards && !status; i++)
        status = bitnet_file_unchanged(&source->shards[i].file, err);
    return status;
}

void source_close(struct source *source)
{
    for (size_t i = 0; i < source->n_shards; i++) bitnet_file_close(&source->shards[i].file);
    bitnet_free(source->shards);
    bitnet_free(source->tensors);
    bitnet_free(source->tensor_shard);
    bitnet_map_free(&source->by_name);
    bitnet_arena_free(&source->arena);
    *source = (struct source){0};
}
