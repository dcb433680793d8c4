/* A file of prompts for `bitnet cli --input`: one JSON object (or string) per line, all generated
 * together, one JSON object per line on standard output, in the order of the file. Part of the
 * programs, not of the library. */
#ifndef BITNET_RUNTIME_PROMPTS_H
#define BITNET_RUNTIME_PROMPTS_H

#include "session.h"

struct prompts_options {
    struct session *session; /* open */
    const char *path;        /* "-": standard input */
    /* What a line leaves open. */
    struct bitnet_sampler_options sampling;
    struct bitnet_generate_options generating; /* without callbacks */
    bool seeds_differ;  /* nobody named a seed: lines count up from that of `sampling` */
    uint32_t n_context; /* cells per sequence; 0: what the longest line needs, at most as trained */
    uint32_t n_batch;   /* 0: the default */
    uint32_t n_together; /* sequences; 0: 16, or as many as there are lines */
};

/* A line that is wrong or fails gives an error in its place, and the others go on; then the status
 * is that of the first such line. */
enum bitnet_status prompts_run(const struct prompts_options *options, struct bitnet_error *err);

#endif
