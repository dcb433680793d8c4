/* JSON (RFC 8259), read strictly: well-formed UTF-8, no duplicate keys, no lone surrogates, depth
 * and size limits, integers kept exact, every error with line and column. A document is a tree in
 * an arena; nothing recurses. Text may hold NUL: it comes with its length.
 *
 * Writing is done with cJSON where a tool prints JSON; reading is our own because the general
 * libraries accept duplicate keys, cut text at NUL and turn 64-bit integers into doubles. */
#ifndef BITNET_JSON_H
#define BITNET_JSON_H

#include "bitnet/arena.h"
#include "bitnet/error.h"

enum bitnet_json_kind {
    BITNET_JSON_NULL,
    BITNET_JSON_BOOL,
    BITNET_JSON_NUMBER,
    BITNET_JSON_STRING,
    BITNET_JSON_ARRAY,
    BITNET_JSON_OBJECT
};

/* One value. Children of an array or object are linked in source order through `next`. */
struct bitnet_json {
    enum bitnet_json_kind kind;
    bool boolean;
    bool is_integer;        /* NUMBER without fraction or exponent */
    struct bitnet_str key;  /* in an object: unescaped name */
    struct bitnet_str text; /* STRING: unescaped; NUMBER: as written */
    uint32_t line, column;  /* where it begins, from 1 */
    size_t n_children;
    const struct bitnet_json *child, *next;
};

struct bitnet_json_limits {
    size_t max_bytes;   /* 0: no limit beyond what is given */
    size_t max_nodes;   /* 0: 8 million */
    unsigned max_depth; /* 0: 64 */
};

/* Parses all of `text` (only white space may follow the value). The tree lives in `arena`; strings
 * without escapes point into `text`, which must outlive it. Parsing takes at most 64 MiB and 16
 * times the text. Fails with FORMAT ("line 3 column 18: ..."), LIMIT, MEMORY. */
enum bitnet_status bitnet_json_parse(const struct bitnet_json **root, struct bitnet_str text,
                                     const struct bitnet_json_limits *limits,
                                     struct bitnet_arena *arena, struct bitnet_error *err);

/* The member with this name, or NULL (also when `object` is NULL or no object). Linear: for an
 * object with many members walk it once instead. */
const struct bitnet_json *bitnet_json_get(const struct bitnet_json *object, const char *name);

/* Typed access to an object's member. A missing member gives false without an error; wrong type or
 * range fills `err` with FORMAT, naming the member, line and numbers: so call as
 *     status = bitnet_json_u64(config, "hidden_size", 1, 1048576, BITNET_REQUIRED, &v, err);
 * With BITNET_OPTIONAL a missing or null member leaves *value untouched and returns OK. */
enum bitnet_json_need { BITNET_OPTIONAL, BITNET_REQUIRED };
enum bitnet_status bitnet_json_u64(const struct bitnet_json *object, const char *name, uint64_t low,
                                   uint64_t high, enum bitnet_json_need need, uint64_t *value,
                                   struct bitnet_error *err);
enum bitnet_status bitnet_json_f64(const struct bitnet_json *object, const char *name,
                                   enum bitnet_json_need need, double *value,
                                   struct bitnet_error *err);
enum bitnet_status bitnet_json_bool(const struct bitnet_json *object, const char *name,
                                    enum bitnet_json_need need, bool *value,
                                    struct bitnet_error *err);
enum bitnet_status bitnet_json_str(const struct bitnet_json *object, const char *name,
                                   enum bitnet_json_need need, struct bitnet_str *value,
                                   struct bitnet_error *err);
/* A NUMBER node as an unsigned integer: false when it is negative, has a fraction, or overflows. */
bool bitnet_json_as_u64(const struct bitnet_json *node, uint64_t *value);
bool bitnet_json_as_i64(const struct bitnet_json *node, int64_t *value);
bool bitnet_json_as_f64(const struct bitnet_json *node, double *value);

#endif
