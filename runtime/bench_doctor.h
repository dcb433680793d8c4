/* Can this machine run that file? Five answers for `bitnet bench --detect -m FILE`, in the order in
 * which things go wrong: the file, its format, its types, memory, kernels. Part of the programs,
 * not of the library. */
#ifndef BITNET_RUNTIME_BENCH_DOCTOR_H
#define BITNET_RUNTIME_BENCH_DOCTOR_H

#include "machine.h"

#include <cjson/cJSON.h>

enum { DOCTOR_CHECKS = 5 };

enum doctor_answer { DOCTOR_NOT_LOOKED_AT, DOCTOR_OK, DOCTOR_FAILED };

struct doctor_line {
    const char *check; /* "file", "format", "types", "memory", "kernels" */
    enum doctor_answer answer;
    char text[700]; /* what was found, or what is wrong and what to do */
};

/* Looks at the directory of the file, not at its weights. `kernels` names the set that would run,
 * `context` is the KV cache to count, in tokens. After a failure the rest that hangs on it says
 * that it was not looked at. Returns how many failed. */
unsigned doctor_examine(const char *path, const struct machine *machine, const char *kernels,
                        uint32_t context, struct doctor_line lines[DOCTOR_CHECKS]);
/* "file      ok      /models/a.gguf, 758.3 MiB" */
void doctor_print(const char *path, const struct doctor_line lines[DOCTOR_CHECKS]);
/* {"model": ..., "checks": [{"check", "ok": true, false or null, "text"}, ...]}; NULL: out of
 * memory. */
cJSON *doctor_as_json(const char *path, const struct doctor_line lines[DOCTOR_CHECKS]);

#endif
