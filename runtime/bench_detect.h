/* This machine and what would run on it, as JSON: `bitnet bench --detect`, and the head of every
 * result. Part of the programs, not of the library. */
#ifndef BITNET_RUNTIME_BENCH_DETECT_H
#define BITNET_RUNTIME_BENCH_DETECT_H

#include "machine.h"

#include "bitnet/error.h"

#include <cjson/cJSON.h>

/* `allowed`: the CPU bits that may be used. NULL: out of memory. */
cJSON *detect_as_json(const struct machine *machine, uint32_t allowed);
/* Adds the CUDA devices that models can run on, or the reason why there are none. The plug-in's
 * path is NULL for the installed one. */
void detect_add_cuda(cJSON *root, const char *plugin_path);
/* A line for each member on standard output. */
void detect_print(const cJSON *machine);

#endif
