/* Keys and values: lookups, and the one place where a value's type and range are checked before
 * anybody uses it. */
#include "reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define ARCHITECTURE_BYTES_MAX 64
#define KEY_TEXT_MAX           160

/* ------------------------------------------------------------------ value types */

const char *bitnet_gguf_type_name(enum bitnet_gguf_type type)
{
    static const char *const names[BITNET_GGUF_TYPE_COUNT] = {
        "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
        "bool", "string", "array", "u64", "i64", "f64"};
    return (unsigned)type < BITNET_GGUF_TYPE_COUNT ? names[type] : "unknown";
}

size_t bitnet_gguf_type_bytes(enum bitnet_gguf_type type)
{
    static const uint8_t sizes[BITNET_GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return (unsigned)type < BITNET_GGUF_TYPE_COUNT ? sizes[type] : 0;
}

void gguf_load_number(struct bitnet_gguf_value *value, const uint8_t *at)
{
    switch (value->type) {
    case BITNET_GGUF_U8:
        value->u64 = at[0];
        break;
    case BITNET_GGUF_I8:
        value->i64 = (int8_t)at[0];
        break;
    case BITNET_GGUF_U16:
        value->u64 = bitnet_load_u16(at);
        break;
    case BITNET_GGUF_I16:
        value->i64 = (int16_t)bitnet_load_u16(at);
        break;
    case BITNET_GGUF_U32:
        value->u64 = bitnet_load_u32(at);
        break;
    case BITNET_GGUF_I32:
        value->i64 = (int32_t)bitnet_load_u32(at);
        break;
    case BITNET_GGUF_U64:
        value->u64 = bitnet_load_u64(at);
        break;
    case BITNET_GGUF_I64:
        value->i64 = (int64_t)bitnet_load_u64(at);
        break;
    case BITNET_GGUF_F32:
        value->f64 = (double)bitnet_load_f32(at);
        break;
    case BITNET_GGUF_F64:
        value->f64 = bitnet_load_f64(at);
        break;
    case BITNET_GGUF_BOOL:
        value->boolean = at[0] != 0;
        break;
    default:
        break;
    }
}

struct bitnet_gguf_value bitnet_gguf_element(const struct bitnet_gguf_value *array, size_t i)
{
    struct bitnet_gguf_value value = {.type = array->element};
    assert(array->type == BITNET_GGUF_ARRAY && i < array->n);
    if (array->element == BITNET_GGUF_STRING)
        value.text = array->strings[i];
    else if (array->element != BITNET_GGUF_ARRAY)
        gguf_load_number(&value, array->raw.at + i * bitnet_gguf_type_bytes(array->element));
    return value;
}

/* ------------------------------------------------------------------ looking up */

size_t bitnet_gguf_pair_count(const struct bitnet_gguf *gguf)
{
    return gguf->parts[0].n_pairs;
}

const struct bitnet_gguf_pair *bitnet_gguf_pair_at(const struct bitnet_gguf *gguf, size_t i)
{
    return i < gguf->parts[0].n_pairs ? &gguf->parts[0].pairs[i] : NULL;
}

size_t bitnet_gguf_tensor_count(const struct bitnet_gguf *gguf)
{
    return gguf->n_tensors;
}

const struct bitnet_tensor *bitnet_gguf_tensor_at(const struct bitnet_gguf *gguf, size_t i)
{
    return i < gguf->n_tensors ? &gguf->tensors[i] : NULL;
}

const struct bitnet_gguf_value *bitnet_gguf_find(const struct bitnet_gguf *gguf,
                                                 struct bitnet_str key)
{
    uint32_t i;
    return bitnet_map_get(&gguf->parts[0].keys, key, &i) ? &gguf->parts[0].pairs[i].value : NULL;
}

const struct bitnet_tensor *bitnet_gguf_find_tensor(const struct bitnet_gguf *gguf,
                                                    struct bitnet_str name)
{
    uint32_t i;
    return bitnet_map_get(&gguf->names, name, &i) ? &gguf->tensors[i] : NULL;
}

/* ------------------------------------------------------------------ keys */

struct key_text {
    char text[KEY_TEXT_MAX];
};

static enum bitnet_status architecture_of(const struct bitnet_gguf *gguf, struct bitnet_str *arch,
                                          struct bitnet_error *err)
{
    const struct bitnet_gguf_value *value =
        bitnet_gguf_find(gguf, BITNET_STR("general.architecture"));
    if (!value) return bitnet_fail(err, BITNET_FORMAT, "key 'general.architecture' is missing");
    if (value->type != BITNET_GGUF_STRING)
        return bitnet_fail(err, BITNET_FORMAT,
                           "key 'general.architecture': expected string, found %s",
                           bitnet_gguf_type_name(value->type));
    if (value->text.n == 0 || value->text.n > ARCHITECTURE_BYTES_MAX)
        return bitnet_fail(err, BITNET_FORMAT,
                           "key 'general.architecture': name of %zu bytes (allowed 1 to %d)",
                           value->text.n, ARCHITECTURE_BYTES_MAX);
    *arch = value->text;
    return BITNET_OK;
}

/* `key` with "%s" replaced by the architecture's name. */
static enum bitnet_status expand_key(const struct bitnet_gguf *gguf, const char *key,
                                     struct key_text *out, struct bitnet_error *err)
{
    struct bitnet_str arch = {0};
    const char *mark = strstr(key, "%s"), *tail = mark ? mark + 2 : "";
    if (mark) {
        enum bitnet_status status = architecture_of(gguf, &arch, err);
        if (status) return status;
    }
    size_t head = mark ? (size_t)(mark - key) : strlen(key);
    assert(head + ARCHITECTURE_BYTES_MAX + strlen(tail) < sizeof out->text);
    memcpy(out->text, key, head);
    if (arch.n) memcpy(out->text + head, arch.at, arch.n);
    memcpy(out->text + head + arch.n, tail, strlen(tail) + 1);
    return BITNET_OK;
}

/* The value, or NULL when it is optional and absent. */
static enum bitnet_status look_up(const struct bitnet_gguf *gguf, const char *key,
                                  enum bitnet_gguf_need need, struct key_text *name,
                                  const struct bitnet_gguf_value **value, struct bitnet_error *err)
{
    enum bitnet_status status = expand_key(gguf, key, name, err);
    if (status) return status;
    *value = bitnet_gguf_find(gguf, bitnet_str_of(name->text));
    if (*value || need == BITNET_GGUF_OPTIONAL) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "key %s is missing",
                       BITNET_QUOTE(bitnet_str_of(name->text)));
}

static enum bitnet_status wrong_type(const struct key_text *name, const char *expected,
                                     const struct bitnet_gguf_value *value,
                                     struct bitnet_error *err)
{
    const char *name_quoted = BITNET_QUOTE(bitnet_str_of(name->text));
    if (value->type == BITNET_GGUF_ARRAY)
        return bitnet_fail(err, BITNET_FORMAT, "key %s: expected %s, found array of %s",
                           name_quoted, expected, bitnet_gguf_type_name(value->element));
    return bitnet_fail(err, BITNET_FORMAT, "key %s: expected %s, found %s", name_quoted, expected,
                       bitnet_gguf_type_name(value->type));
}

/* ------------------------------------------------------------------ typed access */

/* False when it is no integer; *negative when it is below zero (then *value is its size). */
static bool as_integer(const struct bitnet_gguf_value *value, uint64_t *number, bool *negative)
{
    *negative = false;
    switch (value->type) {
    case BITNET_GGUF_U8:
    case BITNET_GGUF_U16:
    case BITNET_GGUF_U32:
    case BITNET_GGUF_U64:
        *number = value->u64;
        return true;
    case BITNET_GGUF_I8:
    case BITNET_GGUF_I16:
    case BITNET_GGUF_I32:
    case BITNET_GGUF_I64:
        *negative = value->i64 < 0;
        *number = *negative ? 0 - (uint64_t)value->i64 : (uint64_t)value->i64;
        return true;
    default:
        return false;
    }
}

enum bitnet_status bitnet_gguf_u64(const struct bitnet_gguf *gguf, const char *key, uint64_t low,
                                   uint64_t high, enum bitnet_gguf_need need, uint64_t *value,
                                   struct bitnet_error *err)
{
    struct key_text name;
    const struct bitnet_gguf_value *found;
    enum bitnet_status status = look_up(gguf, key, need, &name, &found, err);
    if (status || !found) return status;
    uint64_t number;
    bool negative;
    if (!as_integer(found, &number, &negative)) return wrong_type(&name, "an integer", found, err);
    if (negative || number < low || number > high)
        return bitnet_fail(
            err, BITNET_FORMAT, "key %s: %s%" PRIu64 " (allowed %" PRIu64 " to %" PRIu64 ")",
            BITNET_QUOTE(bitnet_str_of(name.text)), negative ? "-" : "", number, low, high);
    *value = number;
    return BITNET_OK;
}

enum bitnet_status bitnet_gguf_f64(const struct bitnet_gguf *gguf, const char *key,
                                   enum bitnet_gguf_need need, double *value,
                                   struct bitnet_error *err)
{
    struct key_text name;
    const struct bitnet_gguf_value *found;
    enum bitnet_status status = look_up(gguf, key, need, &name, &found, err);
    if (status || !found) return status;
    if (found->type != BITNET_GGUF_F32 && found->type != BITNET_GGUF_F64)
        return wrong_type(&name, "a float", found, err);
    *value = found->f64;
    return BITNET_OK;
}

enum bitnet_status bitnet_gguf_bool(const struct bitnet_gguf *gguf, const char *key,
                                    enum bitnet_gguf_need need, bool *value,
                                    struct bitnet_error *err)
{
    struct key_text name;
    const struct bitnet_gguf_value *found;
    enum bitnet_status status = look_up(gguf, key, need, &name, &found, err);
    if (status || !found) return status;
    if (found->type != BITNET_GGUF_BOOL) return wrong_type(&name, "bool", found, err);
    *value = found->boolean;
    return BITNET_OK;
}

enum bitnet_status bitnet_gguf_str(const struct bitnet_gguf *gguf, const char *key,
                                   enum bitnet_gguf_need need, struct bitnet_str *value,
                                   struct bitnet_error *err)
{
    struct key_text name;
    const struct bitnet_gguf_value *found;
    enum bitnet_status status = look_up(gguf, key, need, &name, &found, err);
    if (status || !found) return status;
    if (found->type != BITNET_GGUF_STRING) return wrong_type(&name, "string", found, err);
    *value = found->text;
    return BITNET_OK;
}

static bool is_array_of(const struct bitnet_gguf_value *value, enum bitnet_gguf_type element)
{
    return value->type == BITNET_GGUF_ARRAY && value->element == element;
}

enum bitnet_status bitnet_gguf_strings(const struct bitnet_gguf *gguf, const char *key,
                                       enum bitnet_gguf_need need,
                                       const struct bitnet_str **strings, size_t *n,
                                       struct bitnet_error *err)
{
    struct key_text name;
    const struct bitnet_gguf_value *found;
    enum bitnet_status status = look_up(gguf, key, need, &name, &found, err);
    if (status || !found) return status;
    if (!is_array_of(found, BITNET_GGUF_STRING))
        return wrong_type(&name, "array of string", found, err);
    *strings = found->strings;
    *n = found->n;
    return BITNET_OK;
}

enum bitnet_status bitnet_gguf_array(const struct bitnet_gguf *gguf, const char *key,
                                     enum bitnet_gguf_type element, enum bitnet_gguf_need need,
                                     struct bitnet_bytes *raw, size_t *n, struct bitnet_error *err)
{
    struct key_text name;
    const struct bitnet_gguf_value *found;
    enum bitnet_status status = look_up(gguf, key, need, &name, &found, err);
    if (status || !found) return status;
    if (!is_array_of(found, element)) {
        char expected[32];
        snprintf(expected, sizeof expected, "array of %s", bitnet_gguf_type_name(element));
        return wrong_type(&name, expected, found, err);
    }
    *raw = found->raw;
    *n = found->n;
    return BITNET_OK;
}
