/* The inside of an open GGUF: parts, their directories, and the steps that open() takes in turn:
 *
 *     reader.c    bytes of one part          -> keys, values, tensor infos as the file states them
 *     parts.c     a path or memory           -> all parts of the model
 *     dialect.c   type numbers and evidence  -> tensor types
 *     layout.c    types, shapes, offsets     -> checked views of the data
 *
 * Only files of this room see it. */
#ifndef BITNET_GGUF_READER_H
#define BITNET_GGUF_READER_H

#include "bitnet/alloc.h"
#include "bitnet/arena.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/text.h"

/* One file of a model. A model that is not split has one. */
struct gguf_part {
    struct bitnet_file file;   /* .path is NULL when the bytes are the caller's */
    struct bitnet_bytes bytes; /* all of the part: the mapping, or the caller's memory */
    uint8_t *copy;             /* our copy of header and metadata; NULL: they are read in place */
    uint32_t version;
    uint64_t alignment;
    uint64_t data_start;       /* where the data section begins */
    struct bitnet_arena arena; /* lists of strings */
    struct bitnet_gguf_pair *pairs;
    size_t n_pairs;
    struct bitnet_map keys;        /* name -> index in pairs */
    struct bitnet_tensor *tensors; /* type and data are not known yet */
    size_t n_tensors;
};

struct bitnet_gguf {
    char *path;
    struct gguf_part *parts;
    size_t n_parts;
    struct bitnet_tensor *tensors; /* of all parts, in order */
    size_t n_tensors;
    struct bitnet_map names; /* name -> index in tensors */
    enum bitnet_dialect dialect;
};

/* Where the bytes of a part's directory are taken from. */
enum gguf_source {
    GGUF_FROM_FILE,  /* pread into a private copy: nobody can change it under the parser */
    GGUF_FROM_MEMORY /* part->bytes itself */
};

/* Reads header, metadata and tensor infos of part->bytes / part->file. On failure the part is
 * still to be released. */
enum bitnet_status gguf_part_read(struct gguf_part *part, enum gguf_source source,
                                  uint64_t max_metadata_bytes, struct bitnet_error *err);
void gguf_part_release(struct gguf_part *part);
const struct bitnet_gguf_value *gguf_part_find(const struct gguf_part *part, const char *key);

/* Opens files that are already mapped (a writer's unpublished ones): one by itself, even when it is
 * a part of a split set, or all parts of a set in their order. Takes over the files, also on
 * failure. */
enum bitnet_status gguf_open_mapped(struct bitnet_gguf **gguf, struct bitnet_file *files, size_t n,
                                    const struct bitnet_gguf_options *options,
                                    struct bitnet_error *err);
/* A finished but unpublished writer's file. */
enum bitnet_status gguf_writer_map(struct bitnet_gguf_writer *writer, struct bitnet_file *file,
                                   enum bitnet_dialect *dialect, struct bitnet_error *err);

/* Sets the type of every tensor and gguf->dialect. */
enum bitnet_status gguf_resolve_types(struct bitnet_gguf *gguf,
                                      const struct bitnet_gguf_options *options,
                                      struct bitnet_error *err);

/* Sets the data of every tensor, or says which one breaks the file. */
enum bitnet_status gguf_lay_out(struct bitnet_gguf *gguf, struct bitnet_error *err);
/* rooms[i]: bytes from the offset of tensor i to the next offset in its part, or to the part's end:
 * what the writer of the file can have meant the tensor to occupy. */
enum bitnet_status gguf_measure_rooms(const struct bitnet_gguf *gguf, uint64_t *rooms,
                                      struct bitnet_error *err);

/* Fills the scalar of value->type, which is no string or array, from its bytes. */
void gguf_load_number(struct bitnet_gguf_value *value, const uint8_t *at);
/* A key or tensor name: not empty, well-formed UTF-8, no control characters. */
enum bitnet_status gguf_name_check(struct bitnet_str name, struct bitnet_error *err);

#endif
