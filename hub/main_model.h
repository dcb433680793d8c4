/* MODEL on the command line of a program that runs or reads GGUF files. For mains only. */
#ifndef BITNET_MAIN_MODEL_H
#define BITNET_MAIN_MODEL_H

#include "bitnet/arena.h"
#include "bitnet/error.h"

#include <stdbool.h>

/* A path, a folder with one GGUF file, or a repository, which is fetched when the cache has not got
 * it (and neither `offline` nor the environment forbids that); a person at a terminal sees how far
 * that is. The path lives in `arena`. Fails as bitnet_hub_model_gguf(). */
enum bitnet_status main_model_gguf(const char *model, bool quiet, bool offline,
                                   struct bitnet_arena *arena, const char **path,
                                   struct bitnet_error *err);

#endif
