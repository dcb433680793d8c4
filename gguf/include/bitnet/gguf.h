/* GGUF files (versions 2 and 3, little-endian): a reader that checks everything once, and a writer
 * that streams. Source: ggml's docs/gguf.md and src/gguf.cpp; the dialects of bitnet.cpp and
 * ik_llama.cpp differ only in type numbers and tensor sizes (dtypes.def).
 *
 * Who reads a file, and why, is not known here. */
#ifndef BITNET_GGUF_H
#define BITNET_GGUF_H

#include "bitnet/bytes.h"
#include "bitnet/dtype.h"
#include "bitnet/error.h"
#include "bitnet/log.h"

/* ------------------------------------------------------------------ reading */

/* One GGUF model open for reading, possibly of several split parts. Immutable, so any number of
 * threads may use it. Every pointer returned below belongs to it and dies with
 * bitnet_gguf_close(). */
struct bitnet_gguf;

enum bitnet_gguf_type { /* numbers are those of the format */
                        BITNET_GGUF_U8 = 0,
                        BITNET_GGUF_I8 = 1,
                        BITNET_GGUF_U16 = 2,
                        BITNET_GGUF_I16 = 3,
                        BITNET_GGUF_U32 = 4,
                        BITNET_GGUF_I32 = 5,
                        BITNET_GGUF_F32 = 6,
                        BITNET_GGUF_BOOL = 7,
                        BITNET_GGUF_STRING = 8,
                        BITNET_GGUF_ARRAY = 9,
                        BITNET_GGUF_U64 = 10,
                        BITNET_GGUF_I64 = 11,
                        BITNET_GGUF_F64 = 12,
                        BITNET_GGUF_TYPE_COUNT = 13
};

/* A metadata value. Scalars: `u64` (unsigned), `i64` (signed), `f64` (floats), `boolean` or `text`
 * by `type`. Arrays: `n` elements of `element`; numbers and bools lie packed, little-endian, in
 * `raw`; strings in `strings[n]`. An array of arrays has element ARRAY, n, and nothing else. */
struct bitnet_gguf_value {
    enum bitnet_gguf_type type;
    enum bitnet_gguf_type element;
    uint64_t u64;
    int64_t i64;
    double f64;
    bool boolean;
    struct bitnet_str text;
    size_t n;
    struct bitnet_bytes raw;
    const struct bitnet_str *strings;
};

struct bitnet_gguf_pair {
    struct bitnet_str key;
    struct bitnet_gguf_value value;
};

/* A tensor's place. dims[0] runs fastest, as GGUF stores it: a matrix [rows][cols] has dims =
 * {cols, rows}. Dimensions beyond n_dims are 1. */
struct bitnet_tensor {
    struct bitnet_str name; /* valid UTF-8, no control characters; not NUL-terminated */
    enum bitnet_dtype type;
    uint32_t type_number; /* as the file has it */
    uint32_t n_dims;
    uint64_t dims[BITNET_DIMS_MAX];
    uint64_t offset;          /* from the start of the data section of its part */
    struct bitnet_bytes data; /* exactly bitnet_tensor_bytes() long, in the mapping */
    uint32_t part;            /* 0 unless split */
};

struct bitnet_gguf_options {
    const struct bitnet_log *log; /* warnings; NULL: silence */
    uint64_t max_metadata_bytes;  /* 0: 512 MiB */
    /* Forces the meaning of the ambiguous type numbers; otherwise resolved from evidence. */
    bool dialect_is_given;
    enum bitnet_dialect dialect;
};

/* Maps `path` (and, when it is part 1 of a split set, the other parts) and checks the whole
 * directory: header, metadata, tensor infos, sizes against the file, alignment, overlaps,
 * duplicates. What opens can be walked without further checks. Tensor contents are not read.
 * Metadata is copied, so a change of the file cannot change it afterwards.
 * Fails with NOT_FOUND, IO, FORMAT (byte offset, key or tensor named), LIMIT, UNSUPPORTED (a type
 * number that no dialect here has), MEMORY; then *gguf is NULL. The text begins with the path. */
enum bitnet_status bitnet_gguf_open(struct bitnet_gguf **gguf, const char *path,
                                    const struct bitnet_gguf_options *options,
                                    struct bitnet_error *err);
/* The same over memory, which must outlive the handle. */
enum bitnet_status bitnet_gguf_open_mem(struct bitnet_gguf **gguf, struct bitnet_bytes bytes,
                                        const struct bitnet_gguf_options *options,
                                        struct bitnet_error *err);
void bitnet_gguf_close(struct bitnet_gguf *gguf); /* NULL is fine */

/* "ggml", "bitnet.cpp", "ik": the words of --dialect. ("llama.cpp" is understood as "ggml".) */
const char *bitnet_dialect_name(enum bitnet_dialect dialect);
bool bitnet_dialect_from_name(struct bitnet_str name, enum bitnet_dialect *dialect);

uint32_t bitnet_gguf_version(const struct bitnet_gguf *gguf);
uint64_t bitnet_gguf_alignment(const struct bitnet_gguf *gguf);
enum bitnet_dialect bitnet_gguf_dialect(const struct bitnet_gguf *gguf);
uint64_t bitnet_gguf_file_bytes(const struct bitnet_gguf *gguf); /* all parts */
/* The path given to open; "" for memory. */
const char *bitnet_gguf_path(const struct bitnet_gguf *gguf);
/* The files that it is made of, and their paths ("" for memory). */
size_t bitnet_gguf_part_count(const struct bitnet_gguf *gguf);
const char *bitnet_gguf_part_path(const struct bitnet_gguf *gguf, size_t part);
/* IO when a mapped part changed since it was opened. */
enum bitnet_status bitnet_gguf_unchanged(const struct bitnet_gguf *gguf, struct bitnet_error *err);
/* Where the tensor's data begins in the file of its part, in bytes. */
uint64_t bitnet_gguf_position(const struct bitnet_gguf *gguf, const struct bitnet_tensor *tensor);
/* The pages of this tensor will not be read again soon. */
void bitnet_gguf_release(const struct bitnet_gguf *gguf, const struct bitnet_tensor *tensor);
/* The same for n bytes of it. */
void bitnet_gguf_release_part(const struct bitnet_gguf *gguf, const struct bitnet_tensor *tensor,
                              uint64_t offset, uint64_t n);

size_t bitnet_gguf_pair_count(const struct bitnet_gguf *gguf);
const struct bitnet_gguf_pair *bitnet_gguf_pair_at(const struct bitnet_gguf *gguf, size_t i);
size_t bitnet_gguf_tensor_count(const struct bitnet_gguf *gguf);
const struct bitnet_tensor *bitnet_gguf_tensor_at(const struct bitnet_gguf *gguf, size_t i);
/* Hash lookups; NULL when there is none. */
const struct bitnet_gguf_value *bitnet_gguf_find(const struct bitnet_gguf *gguf,
                                                 struct bitnet_str key);
const struct bitnet_tensor *bitnet_gguf_find_tensor(const struct bitnet_gguf *gguf,
                                                    struct bitnet_str name);

/* "u32", "string", "array", ... */
const char *bitnet_gguf_type_name(enum bitnet_gguf_type type);
/* Bytes of one element; 0 for strings and arrays. */
size_t bitnet_gguf_type_bytes(enum bitnet_gguf_type type);
/* Element i < array->n as a value of its own (not for arrays of arrays). */
struct bitnet_gguf_value bitnet_gguf_element(const struct bitnet_gguf_value *array, size_t i);

/* Typed access: the one place where type and range are checked. Integer types widen when the value
 * fits; floats never stand in for integers. `key` may hold one "%s" for the architecture's name
 * ("%s.block_count"). OPTIONAL and missing: OK, *value untouched. Fails with FORMAT naming the key,
 * what was found and what is allowed. */
enum bitnet_gguf_need { BITNET_GGUF_OPTIONAL, BITNET_GGUF_REQUIRED };
enum bitnet_status bitnet_gguf_u64(const struct bitnet_gguf *gguf, const char *key, uint64_t low,
                                   uint64_t high, enum bitnet_gguf_need need, uint64_t *value,
                                   struct bitnet_error *err);
enum bitnet_status bitnet_gguf_f64(const struct bitnet_gguf *gguf, const char *key,
                                   enum bitnet_gguf_need need, double *value,
                                   struct bitnet_error *err);
enum bitnet_status bitnet_gguf_bool(const struct bitnet_gguf *gguf, const char *key,
                                    enum bitnet_gguf_need need, bool *value,
                                    struct bitnet_error *err);
enum bitnet_status bitnet_gguf_str(const struct bitnet_gguf *gguf, const char *key,
                                   enum bitnet_gguf_need need, struct bitnet_str *value,
                                   struct bitnet_error *err);
/* Array of strings. */
enum bitnet_status bitnet_gguf_strings(const struct bitnet_gguf *gguf, const char *key,
                                       enum bitnet_gguf_need need,
                                       const struct bitnet_str **strings, size_t *n,
                                       struct bitnet_error *err);
/* Array of `element`, packed in *raw. */
enum bitnet_status bitnet_gguf_array(const struct bitnet_gguf *gguf, const char *key,
                                     enum bitnet_gguf_type element, enum bitnet_gguf_need need,
                                     struct bitnet_bytes *raw, size_t *n, struct bitnet_error *err);

/* ------------------------------------------------------------------ judging */

/* What a file holds, in numbers. */
struct bitnet_gguf_summary {
    uint64_t n_parameters;       /* elements of all tensors */
    uint64_t n_bytes;            /* of all tensors */
    enum bitnet_dtype main_type; /* of most parameters in matrices, embedding and output aside */
    struct {
        uint64_t n_tensors, n_parameters, n_bytes;
    } types[BITNET_DTYPE_COUNT];
};
void bitnet_gguf_summarize(const struct bitnet_gguf *gguf, struct bitnet_gguf_summary *summary);

enum bitnet_gguf_level {
    BITNET_GGUF_LEVEL_STRUCTURE, /* the container: what open has checked */
    BITNET_GGUF_LEVEL_MODEL      /* and hyper-parameters, tensors by role, vocabulary */
};
/* Judges an open file up to `level`. What makes it wrong is an error; what is doubtful, or refused
 * by other readers, is a warning to `log`. (The values of the weights: <bitnet/check.h>.) */
enum bitnet_status bitnet_gguf_validate(const struct bitnet_gguf *gguf,
                                        enum bitnet_gguf_level level, const struct bitnet_log *log,
                                        struct bitnet_error *err);

/* ------------------------------------------------------------------ writing */

/* A GGUF v3 file in the making. Order of calls: new; any number of key calls; every
 * tensor_declare; begin; for each tensor in the order declared its bytes by one or more
 * tensor_write; then reopen (optional) and finish, or abort. Offsets are sequential and aligned,
 * metadata keys keep the order of the calls. A writer that is not finished leaves nothing behind
 * (base/file.h). Text keys and names are checked here too: a wrong call is a status, not a file. */
struct bitnet_gguf_writer;

struct bitnet_gguf_writer_options {
    uint32_t alignment; /* 0: 32 */
    enum bitnet_dialect dialect;
    bool overwrite;
};

enum bitnet_status bitnet_gguf_writer_new(struct bitnet_gguf_writer **writer, const char *path,
                                          const struct bitnet_gguf_writer_options *options,
                                          struct bitnet_error *err);

/* A key given twice fails with FORMAT. Strings are copied. The first failure is remembered and
 * returned by begin, so a row of these calls needs one check. */
void bitnet_gguf_put_u8(struct bitnet_gguf_writer *writer, const char *key, uint8_t value);
void bitnet_gguf_put_u16(struct bitnet_gguf_writer *writer, const char *key, uint16_t value);
void bitnet_gguf_put_u32(struct bitnet_gguf_writer *writer, const char *key, uint32_t value);
void bitnet_gguf_put_i32(struct bitnet_gguf_writer *writer, const char *key, int32_t value);
void bitnet_gguf_put_u64(struct bitnet_gguf_writer *writer, const char *key, uint64_t value);
void bitnet_gguf_put_f32(struct bitnet_gguf_writer *writer, const char *key, float value);
void bitnet_gguf_put_bool(struct bitnet_gguf_writer *writer, const char *key, bool value);
void bitnet_gguf_put_str(struct bitnet_gguf_writer *writer, const char *key,
                         struct bitnet_str value);
void bitnet_gguf_put_strings(struct bitnet_gguf_writer *writer, const char *key,
                             const struct bitnet_str *strings, size_t n);
/* `raw` holds n packed little-endian elements of a number type. */
void bitnet_gguf_put_array(struct bitnet_gguf_writer *writer, const char *key,
                           enum bitnet_gguf_type element, const void *raw, size_t n);
/* Any value that a reader returned. */
void bitnet_gguf_put_value(struct bitnet_gguf_writer *writer, struct bitnet_str key,
                           const struct bitnet_gguf_value *value);

/* dims as in struct bitnet_tensor. UNSUPPORTED when the dialect has no number for the type. */
enum bitnet_status bitnet_gguf_tensor_declare(struct bitnet_gguf_writer *writer,
                                              struct bitnet_str name, enum bitnet_dtype type,
                                              const uint64_t *dims, uint32_t n_dims,
                                              struct bitnet_error *err);
/* What begin would say about the keys so far: the first failure of the calls above. */
enum bitnet_status bitnet_gguf_writer_check(const struct bitnet_gguf_writer *writer,
                                            struct bitnet_error *err);
/* Whose numbers it writes. */
enum bitnet_dialect bitnet_gguf_writer_dialect(const struct bitnet_gguf_writer *writer);
/* The size that the finished file will have. Valid after the last declare. */
uint64_t bitnet_gguf_writer_bytes(const struct bitnet_gguf_writer *writer);
/* Appends the file of the keys so far, without tensors, to `image`: metadata as a reader sees it,
 * for bitnet_gguf_open_mem(). The writer is as it was. */
struct bitnet_buf;
enum bitnet_status bitnet_gguf_writer_image(const struct bitnet_gguf_writer *writer,
                                            struct bitnet_buf *image, struct bitnet_error *err);
/* Creates the temporary file, reserves its size, writes header, metadata and tensor infos. */
enum bitnet_status bitnet_gguf_begin(struct bitnet_gguf_writer *writer, struct bitnet_error *err);
/* Appends bytes of the current tensor; the next one begins by itself when it is full, padding
 * included. More bytes than declared is INTERNAL. */
enum bitnet_status bitnet_gguf_tensor_write(struct bitnet_gguf_writer *writer, const void *bytes,
                                            size_t n, struct bitnet_error *err);
/* Opens what was written, still unpublished, with all checks of a reader. Close it before finish.
 */
enum bitnet_status bitnet_gguf_writer_reopen(struct bitnet_gguf_writer *writer,
                                             struct bitnet_gguf **gguf, struct bitnet_error *err);
/* Publishes the file under its name and frees the writer, also on failure (then nothing is
 * published). INTERNAL when a tensor is missing bytes. */
enum bitnet_status bitnet_gguf_finish(struct bitnet_gguf_writer *writer, struct bitnet_error *err);
void bitnet_gguf_abort(struct bitnet_gguf_writer *writer); /* NULL is fine */

/* ------------------------------------------------------------------ writing a split set */

/* A model as one file, or as parts of at most `max_bytes` of tensors each (one tensor at least):
 * <path without .gguf>-00001-of-00003.gguf and so on, as llama.cpp reads them. Order of calls: new
 * with the sizes of all tensors; the model's keys into part 0; declare each tensor in its part;
 * put_keys; begin; each tensor's bytes into its part, in order; reopen (optional); finish or abort.
 * Nothing of it is visible before finish, and part 1 comes last, so that a set which can be opened
 * is complete. When it fails nothing is left. */
struct bitnet_gguf_set;

struct bitnet_gguf_set_options {
    struct bitnet_gguf_writer_options writer;
    uint64_t max_bytes;   /* 0: one file, under `path` itself */
    bool always_numbered; /* else a set of one part is that single file too */
};

/* LIMIT: more than 60 parts. */
enum bitnet_status bitnet_gguf_set_new(struct bitnet_gguf_set **set, const char *path,
                                       const uint64_t *tensor_bytes, size_t n_tensors,
                                       const struct bitnet_gguf_set_options *options,
                                       struct bitnet_error *err);
size_t bitnet_gguf_set_count(const struct bitnet_gguf_set *set);
struct bitnet_gguf_writer *bitnet_gguf_set_part(struct bitnet_gguf_set *set, size_t part);
/* The part that takes this tensor. */
struct bitnet_gguf_writer *bitnet_gguf_set_of(struct bitnet_gguf_set *set, size_t tensor);
/* The name that a part will have. */
const char *bitnet_gguf_set_path(const struct bitnet_gguf_set *set, size_t part);
void bitnet_gguf_set_put_keys(struct bitnet_gguf_set *set);        /* "split.no" and so on */
uint64_t bitnet_gguf_set_bytes(const struct bitnet_gguf_set *set); /* of all files */
enum bitnet_status bitnet_gguf_set_begin(struct bitnet_gguf_set *set, struct bitnet_error *err);
/* All parts, still unpublished, as one model. Close it before finish. */
enum bitnet_status bitnet_gguf_set_reopen(struct bitnet_gguf_set *set, struct bitnet_gguf **gguf,
                                          struct bitnet_error *err);
/* Publishes all parts and frees the set, also on failure. */
enum bitnet_status bitnet_gguf_set_finish(struct bitnet_gguf_set *set, struct bitnet_error *err);
void bitnet_gguf_set_abort(struct bitnet_gguf_set *set); /* NULL is fine */

#endif
