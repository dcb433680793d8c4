/* --metadata FILE: what a model's makers say about it, as JSON with the names of GGUF's general.*
 * keys. The meaning is that of llama.cpp's converter, option --metadata. */
#ifndef CONVERT_METADATA_H
#define CONVERT_METADATA_H

#include "bitnet/arena.h"
#include "bitnet/doctor.h"
#include "bitnet/log.h"

struct metadata {
    struct bitnet_gguf_edit *edits;
    size_t n_edits;
};

/* Everything returned lives in `arena`. A member that is no key of this kind is left out with a
 * warning to `log`. Fails with NOT_FOUND, FORMAT (the key named), LIMIT, IO, MEMORY. */
enum bitnet_status metadata_read(struct metadata *metadata, const char *path,
                                 struct bitnet_arena *arena, const struct bitnet_log *log,
                                 struct bitnet_error *err);
/* The same from text; the error does not name a file. */
enum bitnet_status metadata_parse(struct metadata *metadata, struct bitnet_str text,
                                  struct bitnet_arena *arena, const struct bitnet_log *log,
                                  struct bitnet_error *err);

#endif
