/* Command lines: one table of options parses, and prints --help. Long GNU options ("--name value"
 * and "--name=value") and one-letter spellings ("-m value"). For the main*.c files only. */
#ifndef BITNET_ARGS_H
#define BITNET_ARGS_H

#include "bitnet/bytes.h"
#include "bitnet/error.h"

enum bitnet_option_kind {
    BITNET_OPTION_FLAG, /* bool *        : present or not */
    BITNET_OPTION_TEXT, /* const char ** : points into argv */
    BITNET_OPTION_U64,  /* uint64_t *    : low..high */
    BITNET_OPTION_I64,  /* int64_t *     : any */
    BITNET_OPTION_F64,  /* double *      : finite */
    BITNET_OPTION_SIZE, /* uint64_t *    : "512M" */
    BITNET_OPTION_LIST  /* struct bitnet_args_list * : may be repeated */
};

struct bitnet_args_list {
    const char *at[64];
    size_t n;
};

struct bitnet_option {
    const char *names;    /* "-m, --model" */
    const char *argument; /* "FILE"; NULL for a flag */
    enum bitnet_option_kind kind;
    void *value;
    const char *help;
    uint64_t low, high; /* for U64; high 0: no ceiling */
};

struct bitnet_command {
    const char *name;     /* "bitnet-convert" */
    const char *synopsis; /* "MODEL -o OUT --qtype TYPE" */
    const char *summary;  /* one or two sentences */
    const char *examples; /* three lines */
    const struct bitnet_option *options;
    size_t n_options;
    size_t min_operands, max_operands;
};

/* Parses argv[1..]. Operands (what is no option) are gathered in `operands` (room for
 * max_operands). "--" ends options. Fails with USAGE, text naming the word that is wrong.
 * Adds --help, --version: then OK with *done = true, and the text is in `help` (caller frees with
 * bitnet_buf_free). */
struct bitnet_buf;
enum bitnet_status bitnet_args_parse(const struct bitnet_command *command, int argc, char **argv,
                                     const char **operands, size_t *n_operands,
                                     struct bitnet_buf *help, bool *done, struct bitnet_error *err);

/* Writes "NAME: error: TEXT" and, if there is one, "NAME: hint: HINT" to standard error with one
 * write(2) each, and returns the exit code of the status. Allocates nothing. */
int bitnet_report_error(const char *name, const struct bitnet_error *err);

#endif
