/* A snapshot directory as one list of named tensors: a single model.safetensors, or the shards that
 * model.safetensors.index.json lists. Nothing is copied; tensor bytes stay in the mappings. */
#ifndef CONVERT_SOURCE_H
#define CONVERT_SOURCE_H

#include "bitnet/arena.h"
#include "bitnet/error.h"
#include "bitnet/file.h"
#include "bitnet/text.h"

#include "safetensors.h"

struct shard {
    struct bitnet_file file;
    char *name; /* in the arena */
};

/* Begins as {0}. Immutable after source_open(). */
struct source {
    struct bitnet_arena arena;
    struct shard *shards;
    size_t n_shards;
    struct st_tensor *tensors; /* of all shards, as the index maps them */
    uint32_t *tensor_shard;
    size_t n_tensors;
    struct bitnet_map by_name; /* -> index into tensors */
};

/* Fails with NOT_FOUND (naming the files looked for), POLICY (only pickle files are there), FORMAT,
 * LIMIT, IO, MEMORY; texts name the file. On failure *source is {0}. */
enum bitnet_status source_open(struct source *source, const char *dir, struct bitnet_error *err);
/* NULL when there is none. */
const struct st_tensor *source_find(const struct source *source, struct bitnet_str name);
/* The tensor's pages will not be read again soon. */
void source_release(const struct source *source, const struct st_tensor *tensor);
/* IO when a shard changed since it was opened. */
enum bitnet_status source_unchanged(const struct source *source, struct bitnet_error *err);
void source_close(struct source *source);

#endif
