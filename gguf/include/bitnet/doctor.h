/* GGUF files compared, edited, split and merged. Every file made here is read back and compared
 * with its source before it gets its name. */
#ifndef BITNET_DOCTOR_H
#define BITNET_DOCTOR_H

#include "bitnet/gguf.h"

/* ------------------------------------------------------------------ edit */

/* One change of metadata. */
struct bitnet_gguf_edit {
    struct bitnet_str key;
    bool is_removal;
    struct bitnet_gguf_value value; /* otherwise: the new value */
};

/* Other bytes for some tensors, of the same type and size: where `applies`, `run` fills `out`,
 * which has tensor->data.n bytes. Called twice for each tensor, and must give the same. */
struct bitnet_gguf_transform {
    bool (*applies)(void *user, const struct bitnet_tensor *tensor);
    enum bitnet_status (*run)(void *user, const struct bitnet_tensor *tensor, uint8_t *out,
                              struct bitnet_error *err);
    void *user;
};

/* "KEY=TYPE:VALUE" with TYPE u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 bool string (also str, int =
 * i64, float = f32). Points into `text`. USAGE: which part is wrong, and what is allowed. */
enum bitnet_status bitnet_gguf_edit_parse(struct bitnet_gguf_edit *edit, struct bitnet_str text,
                                          struct bitnet_error *err);
/* Writes `gguf` with the changes applied to `path`; all else is as it was, in the same order; new
 * keys come last. `transform` may be NULL. NOT_FOUND when a key to remove is not there, USAGE when
 * a key is changed twice. general.alignment lays the tensors out anew. */
enum bitnet_status bitnet_gguf_edit_file(const struct bitnet_gguf *gguf,
                                         const struct bitnet_gguf_edit *edits, size_t n_edits,
                                         const struct bitnet_gguf_transform *transform,
                                         const char *path, bool overwrite,
                                         struct bitnet_error *err);

/* ------------------------------------------------------------------ split and merge */

/* Writes <prefix>-00001-of-0000N.gguf and so on: each with at most `max_bytes` of tensors, but with
 * one tensor at least. Part 1 is published last, so that a set that can be opened is complete. On
 * failure nothing is left. *n_parts is N. USAGE: the prefix names no file. */
enum bitnet_status bitnet_gguf_split(const struct bitnet_gguf *gguf, const char *prefix,
                                     uint64_t max_bytes, bool overwrite, size_t *n_parts,
                                     struct bitnet_error *err);
/* Writes a set that was opened by its part 1 as one file. What split made of a file whose tensors
 * lie in order, merge makes that file again, byte for byte. UNSUPPORTED: it is no set. */
enum bitnet_status bitnet_gguf_merge(const struct bitnet_gguf *gguf, const char *path,
                                     bool overwrite, struct bitnet_error *err);

/* ------------------------------------------------------------------ the cure */

/* The command that mends a file, as it can be run: "mend: bitnet gguf repair 'm.gguf' -o
 * 'm.mended.gguf' --fix filetype". `command` is "gguf repair", "gguf edit" or "quantize" (which
 * takes its output without -o), `options` the rest of it. Writes into `out` and returns it. */
struct bitnet_mend {
    char text[1400];
};
const char *bitnet_gguf_mend(struct bitnet_mend *out, const struct bitnet_gguf *gguf,
                             const char *command, const char *options);
#define BITNET_MEND(gguf, command, options)                                                        \
    bitnet_gguf_mend(&(struct bitnet_mend){{0}}, (gguf), (command), (options))

/* ------------------------------------------------------------------ diff */

/* Says in one line each what differs between a and b: keys, and tensors by name, type, shape and
 * bytes (with `compare`: as that function judges instead of by type and bytes, and keys that tell
 * how tensors are spelled do not count). Order and alignment do not count. `only`: just this
 * tensor. CHECK when something differs; *n_differences counts. `compare` returns OK when equal,
 * CHECK with a text when not. */
struct bitnet_gguf_diff {
    void (*say)(void *user, const char *line); /* escaped, without a newline */
    void *user;
    const char *only; /* NULL: everything */
    enum bitnet_status (*compare)(const struct bitnet_gguf *a, const struct bitnet_tensor *in_a,
                                  const struct bitnet_gguf *b, const struct bitnet_tensor *in_b,
                                  struct bitnet_error *err);
    size_t n_differences; /* out */
};
enum bitnet_status bitnet_gguf_compare(const struct bitnet_gguf *a, const struct bitnet_gguf *b,
                                       struct bitnet_gguf_diff *diff, struct bitnet_error *err);

#endif
