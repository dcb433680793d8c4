/* A file with other metadata: the same keys in the same order but for the changes, the same
 * tensors. Always a new file, because almost every change moves what lies behind it. */
#include "bitnet/doctor.h"

#include "copy.h"

#include "bitnet/alloc.h"
#include "bitnet/text.h"

#include <inttypes.h>
#include <math.h>

/* ------------------------------------------------------------------ KEY=TYPE:VALUE */

/* What a user may call the types; the limits of the integers. */
static const struct spelling {
    const char *name;
    enum bitnet_gguf_type type;
    int64_t low;
    uint64_t high;
} spellings[] = {
    {"u8", BITNET_GGUF_U8, 0, UINT8_MAX},
    {"i8", BITNET_GGUF_I8, INT8_MIN, INT8_MAX},
    {"u16", BITNET_GGUF_U16, 0, UINT16_MAX},
    {"i16", BITNET_GGUF_I16, INT16_MIN, INT16_MAX},
    {"u32", BITNET_GGUF_U32, 0, UINT32_MAX},
    {"i32", BITNET_GGUF_I32, INT32_MIN, INT32_MAX},
    {"u64", BITNET_GGUF_U64, 0, UINT64_MAX},
    {"i64", BITNET_GGUF_I64, INT64_MIN, INT64_MAX},
    {"int", BITNET_GGUF_I64, INT64_MIN, INT64_MAX},
    {"f32", BITNET_GGUF_F32, 0, 0},
    {"float", BITNET_GGUF_F32, 0, 0},
    {"f64", BITNET_GGUF_F64, 0, 0},
    {"bool", BITNET_GGUF_BOOL, 0, 0},
    {"string", BITNET_GGUF_STRING, 0, 0},
    {"str", BITNET_GGUF_STRING, 0, 0},
};

static const struct spelling *find_spelling(struct bitnet_str name)
{
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++)
        if (bitnet_str_is(name, spellings[i].name)) return &spellings[i];
    return NULL;
}

static enum bitnet_status parse_integer(const struct spelling *type, struct bitnet_str text,
                                        struct bitnet_gguf_value *value, struct bitnet_error *err)
{
    bool is_signed = type->low < 0;
    bool ok = is_signed ? bitnet_parse_i64(text, &value->i64) && value->i64 >= type->low &&
                              value->i64 <= (int64_t)type->high
                        : bitnet_parse_u64(text, &value->u64) && value->u64 <= type->high;
    if (ok) return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE, "%s is no %s (allowed %" PRIi64 " to %" PRIu64 ")",
                       BITNET_QUOTE(text), type->name, type->low, type->high);
}

static enum bitnet_status parse_float(const struct spelling *type, struct bitnet_str text,
                                      struct bitnet_gguf_value *value, struct bitnet_error *err)
{
    if (bitnet_parse_f64(text, &value->f64) &&
        (type->type == BITNET_GGUF_F64 || isfinite((float)value->f64)))
        return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE, "%s is no finite %s", BITNET_QUOTE(text), type->name);
}

static enum bitnet_status parse_value(const struct spelling *type, struct bitnet_str text,
                                      struct bitnet_gguf_value *value, struct bitnet_error *err)
{
    *value = (struct bitnet_gguf_value){.type = type->type};
    switch (type->type) {
    case BITNET_GGUF_STRING:
        value->text = text;
        if (bitnet_utf8_valid(text)) return BITNET_OK;
        return bitnet_fail(err, BITNET_USAGE, "%s is no UTF-8", BITNET_QUOTE(text));
    case BITNET_GGUF_F32:
    case BITNET_GGUF_F64:
        return parse_float(type, text, value, err);
    case BITNET_GGUF_BOOL:
        value->boolean = bitnet_str_is(text, "true");
        if (value->boolean || bitnet_str_is(text, "false")) return BITNET_OK;
        return bitnet_fail(err, BITNET_USAGE, "%s is no bool (allowed true, false)",
                           BITNET_QUOTE(text));
    default:
        return parse_integer(type, text, value, err);
    }
}

enum bitnet_status bitnet_gguf_edit_parse(struct bitnet_gguf_edit *edit, struct bitnet_str text,
                                          struct bitnet_error *err)
{
    const char *equals = text.n ? memchr(text.at, '=', text.n) : NULL;
    size_t n_key = equals ? (size_t)(equals - text.at) : 0;
    struct bitnet_str rest = {equals ? equals + 1 : NULL, equals ? text.n - n_key - 1 : 0};
    const char *colon = rest.n ? memchr(rest.at, ':', rest.n) : NULL;
    if (!colon || n_key == 0)
        return bitnet_fail(err, BITNET_USAGE, "%s is not KEY=TYPE:VALUE", BITNET_QUOTE(text));
    struct bitnet_str name = {rest.at, (size_t)(colon - rest.at)};
    struct bitnet_str value = {colon + 1, rest.n - name.n - 1};
    const struct spelling *type = find_spelling(name);
    if (!bitnet_utf8_valid((struct bitnet_str){text.at, n_key}))
        return bitnet_fail(err, BITNET_USAGE, "key %s is no UTF-8",
                           BITNET_QUOTE(((struct bitnet_str){text.at, n_key})));
    *edit = (struct bitnet_gguf_edit){.key = {text.at, n_key}};
    if (!type) {
        bitnet_fail(err, BITNET_USAGE, "key %s: there is no type %s", BITNET_QUOTE(edit->key),
                    BITNET_QUOTE(name));
        return bitnet_hint(err, BITNET_USAGE, "u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 bool string");
    }
    enum bitnet_status status = parse_value(type, value, &edit->value, err);
    if (status) return bitnet_error_prefix(err, status, "key %s", BITNET_QUOTE(edit->key));
    return BITNET_OK;
}

/* ------------------------------------------------------------------ the file */

static enum bitnet_status map_edits(const struct bitnet_gguf *gguf,
                                    const struct bitnet_gguf_edit *edits, size_t n,
                                    struct bitnet_map *map, struct bitnet_error *err)
{
    for (size_t i = 0; i < n; i++) {
        switch (bitnet_map_put(map, edits[i].key, (uint32_t)i, NULL)) {
        case BITNET_MAP_NEW:
            break;
        case BITNET_MAP_EXISTS:
            return bitnet_fail(err, BITNET_USAGE, "key %s is changed twice",
                               BITNET_QUOTE(edits[i].key));
        default:
            return bitnet_fail(err, BITNET_MEMORY, "out of memory");
        }
        if (edits[i].is_removal && !bitnet_gguf_find(gguf, edits[i].key))
            return bitnet_fail(err, BITNET_NOT_FOUND, "%s: key %s is not there",
                               bitnet_gguf_path(gguf), BITNET_QUOTE(edits[i].key));
    }
    return BITNET_OK;
}

/* Old keys in their order, changed or left out; then what is new. */
static void put_keys(struct bitnet_gguf_writer *writer, const struct bitnet_gguf *gguf,
                     const struct bitnet_gguf_edit *edits, size_t n, const struct bitnet_map *map)
{
    uint32_t found;
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(gguf, i);
        bool is_edited = bitnet_map_get(map, pair->key, &found);
        if (copy_is_split_key(pair->key) || (is_edited && edits[found].is_removal)) continue;
        bitnet_gguf_put_value(writer, pair->key, is_edited ? &edits[found].value : &pair->value);
    }
    for (size_t i = 0; i < n; i++)
        if (!edits[i].is_removal && !bitnet_gguf_find(gguf, edits[i].key))
            bitnet_gguf_put_value(writer, edits[i].key, &edits[i].value);
}

/* Alignment of the new file: as edited, or the old one; 0 (the default) when its key goes. */
static enum bitnet_status new_alignment(const struct bitnet_gguf *gguf,
                                        const struct bitnet_gguf_edit *edits,
                                        const struct bitnet_map *map, uint32_t *alignment,
                                        struct bitnet_error *err)
{
    uint32_t i;
    *alignment = (uint32_t)bitnet_gguf_alignment(gguf);
    if (!bitnet_map_get(map, BITNET_STR("general.alignment"), &i)) return BITNET_OK;
    *alignment = edits[i].is_removal ? 0 : (uint32_t)edits[i].value.u64;
    if (edits[i].is_removal || edits[i].value.type == BITNET_GGUF_U32) return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE, "key 'general.alignment' is a u32");
}

static enum bitnet_status write_edited(const struct bitnet_gguf *gguf,
                                       const struct bitnet_gguf_edit *edits, size_t n,
                                       const struct bitnet_map *map,
                                       const struct bitnet_gguf_transform *transform,
                                       const char *path, bool overwrite, struct bitnet_error *err)
{
    struct bitnet_gguf_writer *writer;
    struct bitnet_gguf_writer_options options = {.dialect = bitnet_gguf_dialect(gguf),
                                                 .overwrite = overwrite};
    enum bitnet_status status = new_alignment(gguf, edits, map, &options.alignment, err);
    if (!status) status = bitnet_gguf_writer_new(&writer, path, &options, err);
    if (status) return status;
    put_keys(writer, gguf, edits, n, map);
    status = copy_tensors(writer, gguf, 0, bitnet_gguf_tensor_count(gguf), transform, err);
    if (!status) return bitnet_gguf_finish(writer, err);
    bitnet_gguf_abort(writer);
    return status;
}

enum bitnet_status bitnet_gguf_edit_file(const struct bitnet_gguf *gguf,
                                         const struct bitnet_gguf_edit *edits, size_t n_edits,
                                         const struct bitnet_gguf_transform *transform,
                                         const char *path, bool overwrite, struct bitnet_error *err)
{
    struct bitnet_map map = {0};
    enum bitnet_status status = map_edits(gguf, edits, n_edits, &map, err);
    if (!status) status = write_edited(gguf, edits, n_edits, &map, transform, path, overwrite, err);
    bitnet_map_free(&map);
    return status;
}
