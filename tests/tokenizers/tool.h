/* Runs `bitnet tokenize` in an environment of its own: no home but a temporary folder, no hub but
 * the one that is named. */
#ifndef BITNET_TEST_TOOL_H
#define BITNET_TEST_TOOL_H

#include "temp_dir.h"

#include <stdbool.h>
#include <stddef.h>

struct tool {
    const char *program;            /* bitnet */
    const char *endpoint;           /* NULL: one that nobody serves */
    const char *const *environment; /* further "NAME=value", ends with NULL; or NULL */
    struct temp_dir dir;            /* home, cache and files of one test */
    bool no_sockets;                /* a call of socket() kills the program */
    const char *input;              /* standard input; NULL: empty */
    int code;                       /* of the last call; 128 + n: ended by signal n */
    char out[262144], err[65536];
    size_t n_out;
};

void tool_begin(struct tool *tool, const char *program);
void tool_end(struct tool *tool);
/* Arguments end with NULL. */
void tool_run(struct tool *tool, const char *const *arguments);
/* The same in the background; returns its pid. */
int tool_spawn(struct tool *tool, const char *const *arguments);
#define TOOL(tool, ...) tool_run((tool), (const char *const[]){__VA_ARGS__, NULL})
/* The last call ended so and said this; NULL words: anything. */
void tool_must(const struct tool *tool, int code, const char *out, const char *err);
/* A file of tests/golden/tokenizers in the tool's folder; returns its path. */
const char *tool_golden(struct tool *tool, const char *golden, const char *name);

#endif
