/* How the vectors of a text's tokens become one: what sentence-transformers wrote beside a model.
 *
 * In: the folder's modules.json and the config.json of its Pooling module. Out: the pooling, or
 * nothing when the folder says nothing. A module that would change the vectors (Dense) is refused
 * by name; Normalize is what whoever asks for an embedding does anyway. Source:
 * sentence-transformers' SentenceTransformer.save and models/Pooling.py. */
#include "pooling.h"

#include "bitnet/alloc.h"
#include "bitnet/arena.h"
#include "bitnet/file.h"
#include "bitnet/json.h"
#include "bitnet/text.h"

#define FILE_BYTES_MAX 65536u

/* *root in `arena`. NOT_FOUND when there is no such file. */
static enum bitnet_status read_json(const struct bitnet_json **root, const char *path,
                                    struct bitnet_arena *arena, struct bitnet_error *err)
{
    struct bitnet_str text = {0}, kept;
    struct bitnet_json_limits limits = {.max_bytes = FILE_BYTES_MAX};
    enum bitnet_status status = bitnet_read_file(path, FILE_BYTES_MAX, &text, err);
    if (status) return status;
    kept = bitnet_arena_copy(arena, text); /* the tree points into it */
    bitnet_free((void *)(uintptr_t)text.at);
    if (!kept.at) return bitnet_fail(err, BITNET_MEMORY, "no memory for %s", path);
    status = bitnet_json_parse(root, kept, &limits, arena, err);
    return status ? bitnet_error_prefix(err, status, "%s", path) : BITNET_OK;
}

static enum bitnet_status read_modes(enum bitnet_pooling *pooling, const struct bitnet_json *root,
                                     uint32_t width, struct bitnet_error *err)
{
    static const struct {
        const char *key;
        enum bitnet_pooling pooling; /* UNSAID: not supported */
    } modes[] = {{"pooling_mode_cls_token", BITNET_POOLING_CLS},
                 {"pooling_mode_mean_tokens", BITNET_POOLING_MEAN},
                 {"pooling_mode_lasttoken", BITNET_POOLING_LAST},
                 {"pooling_mode_max_tokens", BITNET_POOLING_UNSAID},
                 {"pooling_mode_mean_sqrt_len_tokens", BITNET_POOLING_UNSAID},
                 {"pooling_mode_weightedmean_tokens", BITNET_POOLING_UNSAID}};
    uint64_t dimension = width;
    enum bitnet_status status = bitnet_json_u64(root, "word_embedding_dimension", 1, UINT32_MAX,
                                                BITNET_OPTIONAL, &dimension, err);
    if (!status && dimension != width)
        status =
            bitnet_fail(err, BITNET_FORMAT,
                        "'word_embedding_dimension' is not the model's 'hidden_size' %u", width);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0] && !status; i++) {
        bool is_on = false;
        status = bitnet_json_bool(root, modes[i].key, BITNET_OPTIONAL, &is_on, err);
        if (status || !is_on) continue;
        if (modes[i].pooling == BITNET_POOLING_UNSAID || *pooling != BITNET_POOLING_UNSAID)
            return bitnet_fail(err, BITNET_UNSUPPORTED, "'%s' true is not supported%s",
                               modes[i].key, *pooling ? " beside another mode" : "");
        *pooling = modes[i].pooling;
    }
    if (status || *pooling != BITNET_POOLING_UNSAID) return status;
    return bitnet_fail(err, BITNET_UNSUPPORTED, "no pooling mode that is known is true");
}

static bool is_inside(struct bitnet_str path)
{
    bool is_safe = path.n > 0 && path.at[0] != '/';
    for (size_t i = 0; i + 1 < path.n; i++)
        is_safe = is_safe && !(path.at[i] == '.' && path.at[i + 1] == '.');
    return is_safe;
}

static enum bitnet_status read_pooling_module(enum bitnet_pooling *pooling, const char *dir,
                                              const struct bitnet_json *module, uint32_t width,
                                              struct bitnet_arena *arena, struct bitnet_error *err)
{
    struct bitnet_str name = {0};
    const struct bitnet_json *root = NULL;
    enum bitnet_status status = bitnet_json_str(module, "path", BITNET_REQUIRED, &name, err);
    if (status) return status;
    if (!is_inside(name))
        return bitnet_fail(err, BITNET_FORMAT, "'path' %s is no folder inside the model's",
                           BITNET_QUOTE(name));
    char *folder = bitnet_path_join(dir, name);
    char *path = folder ? bitnet_path_join(folder, BITNET_STR("config.json")) : NULL;
    if (!path) status = bitnet_fail(err, BITNET_MEMORY, "no memory for modules.json");
    if (!status) status = read_json(&root, path, arena, err);
    if (!status) {
        status = read_modes(pooling, root, width, err);
        if (status) bitnet_error_prefix(err, status, "%s", path);
    }
    bitnet_free(path);
    bitnet_free(folder);
    return status;
}

static enum bitnet_status read_modules(enum bitnet_pooling *pooling, const char *dir,
                                       const struct bitnet_json *root, uint32_t width,
                                       struct bitnet_arena *arena, struct bitnet_error *err)
{
    if (root->kind != BITNET_JSON_ARRAY)
        return bitnet_fail(err, BITNET_FORMAT, "modules.json is no list");
    for (const struct bitnet_json *module = root->child; module; module = module->next) {
        struct bitnet_str type = {0};
        enum bitnet_status status = bitnet_json_str(module, "type", BITNET_REQUIRED, &type, err);
        if (!status && bitnet_str_ends(type, ".Pooling"))
            status = read_pooling_module(pooling, dir, module, width, arena, err);
        else if (!status && !bitnet_str_ends(type, ".Transformer") &&
                 !bitnet_str_ends(type, ".Normalize"))
            status =
                bitnet_fail(err, BITNET_UNSUPPORTED, "modules.json: the module %s is not supported",
                            BITNET_QUOTE(type));
        if (status) return status;
    }
    return BITNET_OK;
}

enum bitnet_status pooling_read(enum bitnet_pooling *pooling, const char *dir, uint32_t width,
                                struct bitnet_error *err)
{
    struct bitnet_arena arena = {0};
    const struct bitnet_json *root = NULL;
    *pooling = BITNET_POOLING_UNSAID;
    char *path = bitnet_path_join(dir, BITNET_STR("modules.json"));
    if (!path) return bitnet_fail(err, BITNET_MEMORY, "no memory for modules.json");
    enum bitnet_status status = read_json(&root, path, &arena, err);
    if (!status)
        status = read_modules(pooling, dir, root, width, &arena, err);
    else if (status == BITNET_NOT_FOUND)
        status = BITNET_OK; /* no model of sentence-transformers */
    bitnet_arena_free(&arena);
    bitnet_free(path);
    return status;
}
