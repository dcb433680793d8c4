/* Two files compared by name: keys by type and value, tensors by type, shape and bytes. What does
 * not change the model does not count: order, alignment, padding, version. */
#include "bitnet/doctor.h"

#include "bitnet/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define LINE_BYTES_MAX 1024

struct comparison {
    const struct bitnet_gguf *a, *b;
    struct bitnet_gguf_diff *diff;
};

__attribute__((format(printf, 2, 3))) static void say(const struct comparison *c,
                                                      const char *format, ...)
{
    char line[LINE_BYTES_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    c->diff->n_differences++;
    if (c->diff->say) c->diff->say(c->diff->user, line);
}

/* ------------------------------------------------------------------ keys */

struct value_text {
    char text[440];
};

/* "u32 5", "string 'x'", "array of 12 i32". */
static const char *value_text(const struct bitnet_gguf_value *value, struct value_text *out)
{
    const char *type = bitnet_gguf_type_name(value->type);
    char *text = out->text;
    size_t n = sizeof out->text;
    switch (value->type) {
    case BITNET_GGUF_ARRAY:
        snprintf(text, n, "array of %zu %s", value->n, bitnet_gguf_type_name(value->element));
        break;
    case BITNET_GGUF_STRING:
        snprintf(text, n, "string %s", BITNET_QUOTE(value->text));
        break;
    case BITNET_GGUF_BOOL:
        snprintf(text, n, "bool %s", value->boolean ? "true" : "false");
        break;
    case BITNET_GGUF_F32:
        snprintf(text, n, "f32 %.9g", value->f64);
        break;
    case BITNET_GGUF_F64:
        snprintf(text, n, "f64 %.17g", value->f64);
        break;
    case BITNET_GGUF_I8:
    case BITNET_GGUF_I16:
    case BITNET_GGUF_I32:
    case BITNET_GGUF_I64:
        snprintf(text, n, "%s %" PRIi64, type, value->i64);
        break;
    default:
        snprintf(text, n, "%s %" PRIu64, type, value->u64);
        break;
    }
    return text;
}

/* Floats by their bits, so that a NaN equals itself. */
static bool equal_scalars(const struct bitnet_gguf_value *a, const struct bitnet_gguf_value *b)
{
    return a->type == b->type && a->u64 == b->u64 && a->i64 == b->i64 && a->boolean == b->boolean &&
           memcmp(&a->f64, &b->f64, sizeof a->f64) == 0 && bitnet_str_equal(a->text, b->text);
}

/* Index of the first element that differs; n when none does. */
static size_t first_difference(const struct bitnet_gguf_value *a, const struct bitnet_gguf_value *b)
{
    size_t n = a->n < b->n ? a->n : b->n;
    if (a->element == BITNET_GGUF_ARRAY) return n; /* not looked into */
    for (size_t i = 0; i < n; i++) {
        struct bitnet_gguf_value x = bitnet_gguf_element(a, i), y = bitnet_gguf_element(b, i);
        if (!equal_scalars(&x, &y)) return i;
    }
    return n;
}

static void compare_arrays(const struct comparison *c, struct bitnet_str key,
                           const struct bitnet_gguf_value *a, const struct bitnet_gguf_value *b)
{
    struct value_text in_a, in_b;
    size_t i = first_difference(a, b);
    if (i < a->n && i < b->n) {
        struct bitnet_gguf_value x = bitnet_gguf_element(a, i), y = bitnet_gguf_element(b, i);
        say(c, "key %s: element %zu is %s in A, %s in B", BITNET_QUOTE(key), i,
            value_text(&x, &in_a), value_text(&y, &in_b));
    } else if (a->n != b->n) {
        say(c, "key %s: %s in A, %s in B", BITNET_QUOTE(key), value_text(a, &in_a),
            value_text(b, &in_b));
    }
}

static void compare_values(const struct comparison *c, struct bitnet_str key,
                           const struct bitnet_gguf_value *a, const struct bitnet_gguf_value *b)
{
    struct value_text in_a, in_b;
    bool are_arrays = a->type == BITNET_GGUF_ARRAY && b->type == BITNET_GGUF_ARRAY;
    if (are_arrays && a->element == b->element)
        compare_arrays(c, key, a, b);
    else if (are_arrays || !equal_scalars(a, b))
        say(c, "key %s: %s in A, %s in B", BITNET_QUOTE(key), value_text(a, &in_a),
            value_text(b, &in_b));
}

/* What a key says of how the tensors are spelled does not count where they are judged by value. */
static bool counts(const struct comparison *c, struct bitnet_str key)
{
    return !c->diff->compare || !(bitnet_str_is(key, "general.file_type") ||
                                  bitnet_str_is(key, "general.quantization_version") ||
                                  bitnet_str_starts(key, "bitnet.tl."));
}

static void compare_keys(const struct comparison *c)
{
    for (size_t i = 0; i < bitnet_gguf_pair_count(c->a); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(c->a, i);
        if (!counts(c, pair->key)) continue;
        const struct bitnet_gguf_value *other = bitnet_gguf_find(c->b, pair->key);
        if (other)
            compare_values(c, pair->key, &pair->value, other);
        else
            say(c, "key %s is only in A", BITNET_QUOTE(pair->key));
    }
    for (size_t i = 0; i < bitnet_gguf_pair_count(c->b); i++) {
        struct bitnet_str key = bitnet_gguf_pair_at(c->b, i)->key;
        if (counts(c, key) && !bitnet_gguf_find(c->a, key))
            say(c, "key %s is only in B", BITNET_QUOTE(key));
    }
}

/* ------------------------------------------------------------------ tensors */

static void compare_bytes(const struct comparison *c, const struct bitnet_tensor *a,
                          const struct bitnet_tensor *b)
{
    if (memcmp(a->data.at, b->data.at, a->data.n) == 0) return;
    size_t first = a->data.n, n = 0;
    for (size_t i = a->data.n; i-- > 0;)
        if (a->data.at[i] != b->data.at[i]) {
            first = i;
            n++;
        }
    say(c, "tensor %s: %zu of %zu bytes differ, the first is %zu (%02x in A, %02x in B)",
        BITNET_QUOTE(a->name), n, a->data.n, first, a->data.at[first], b->data.at[first]);
}

/* CHECK from the caller's function is a difference, anything else an error. */
static enum bitnet_status ask(const struct comparison *c, const struct bitnet_tensor *a,
                              const struct bitnet_tensor *b, struct bitnet_error *err)
{
    struct bitnet_error said = {0};
    enum bitnet_status status = c->diff->compare(c->a, a, c->b, b, &said);
    if (status == BITNET_CHECK) {
        say(c, "tensor %s: %s", BITNET_QUOTE(a->name), said.text);
        return BITNET_OK;
    }
    if (status && err) *err = said;
    return status ? bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(a->name)) : status;
}

static enum bitnet_status compare_tensors(const struct comparison *c, const struct bitnet_tensor *a,
                                          const struct bitnet_tensor *b, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (memcmp(a->dims, b->dims, sizeof a->dims) != 0)
        say(c,
            "tensor %s: shape %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64 " in A, %" PRIu64
            " x %" PRIu64 " x %" PRIu64 " x %" PRIu64 " in B",
            BITNET_QUOTE(a->name), a->dims[0], a->dims[1], a->dims[2], a->dims[3], b->dims[0],
            b->dims[1], b->dims[2], b->dims[3]);
    else if (c->diff->compare)
        status = ask(c, a, b, err);
    else if (a->type != b->type)
        say(c, "tensor %s: type %s in A, %s in B", BITNET_QUOTE(a->name),
            bitnet_dtype_info(a->type)->label, bitnet_dtype_info(b->type)->label);
    else
        compare_bytes(c, a, b);
    bitnet_gguf_release(c->a, a);
    bitnet_gguf_release(c->b, b);
    return status;
}

static bool is_wanted(const struct comparison *c, struct bitnet_str name)
{
    return !c->diff->only || bitnet_str_is(name, c->diff->only);
}

static enum bitnet_status compare_all_tensors(const struct comparison *c, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < bitnet_gguf_tensor_count(c->a) && !status; i++) {
        const struct bitnet_tensor *tensor = bitnet_gguf_tensor_at(c->a, i);
        if (!is_wanted(c, tensor->name)) continue;
        const struct bitnet_tensor *other = bitnet_gguf_find_tensor(c->b, tensor->name);
        if (other)
            status = compare_tensors(c, tensor, other, err);
        else
            say(c, "tensor %s is only in A", BITNET_QUOTE(tensor->name));
    }
    for (size_t i = 0; i < bitnet_gguf_tensor_count(c->b); i++) {
        struct bitnet_str name = bitnet_gguf_tensor_at(c->b, i)->name;
        if (is_wanted(c, name) && !bitnet_gguf_find_tensor(c->a, name))
            say(c, "tensor %s is only in B", BITNET_QUOTE(name));
    }
    return status;
}

enum bitnet_status bitnet_gguf_compare(const struct bitnet_gguf *a, const struct bitnet_gguf *b,
                                       struct bitnet_gguf_diff *diff, struct bitnet_error *err)
{
    const struct comparison c = {.a = a, .b = b, .diff = diff};
    diff->n_differences = 0;
    if (diff->only) {
        struct bitnet_str name = bitnet_str_of(diff->only);
        if (!bitnet_gguf_find_tensor(a, name) && !bitnet_gguf_find_tensor(b, name))
            return bitnet_fail(err, BITNET_NOT_FOUND, "tensor %s is in neither file",
                               BITNET_QUOTE(name));
    } else {
        compare_keys(&c);
    }
    enum bitnet_status status = compare_all_tensors(&c, err);
    if (!status) status = bitnet_gguf_unchanged(a, err);
    if (!status) status = bitnet_gguf_unchanged(b, err);
    if (status || diff->n_differences == 0) return status;
    return bitnet_fail(err, BITNET_CHECK, "%s and %s differ in %zu place%s", bitnet_gguf_path(a),
                       bitnet_gguf_path(b), diff->n_differences,
                       diff->n_differences == 1 ? "" : "s");
}
