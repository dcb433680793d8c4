/* What the runtime's programs share: the options that choose model, CPU and threads, the
 * environment (read here and nowhere else), Ctrl-C, and the way messages are told. */
#ifndef BITNET_RUNTIME_SESSION_H
#define BITNET_RUNTIME_SESSION_H

#include "bitnet/args.h"
#include "bitnet/runtime.h"

struct session {
    const char *tool; /* "bitnet-cli", in front of every message */
    /* Set by the command line before session_open(): */
    const char *model_path;
    const char *cpu; /* kernel set or chip by name; NULL: BITNET_CPU, else all the CPU has */
    uint64_t n_threads;
    bool is_quiet, is_verbose;
    /* Filled by session_open(): */
    struct bitnet_log log;
    struct bitnet_pool *pool;
    struct bitnet_model *model;
    double load_ms;
};

/* The rows of an option table that fill a session. */
/* clang-format off */
#define SESSION_OPTIONS(s)                                                                         \
    {"-m, --model", "FILE", BITNET_OPTION_TEXT, &(s)->model_path, "the GGUF model", 0, 0},          \
    {"-t, --threads", "N", BITNET_OPTION_U64, &(s)->n_threads,                                      \
     "threads (default: physical cores)", 0, 1024},                                                \
    {"--cpu", "NAME", BITNET_OPTION_TEXT, &(s)->cpu,                                                \
     "use this kernel set or chip's sets only: scalar, avx2, ... (also BITNET_CPU)", 0, 0},         \
    {"-q, --quiet", NULL, BITNET_OPTION_FLAG, &(s)->is_quiet, "errors only", 0, 0},                 \
    {"-v, --verbose", NULL, BITNET_OPTION_FLAG, &(s)->is_verbose, "say more", 0, 0}
/* clang-format on */

/* Parses; on OK with *done the help has been printed. */
enum bitnet_status session_parse(const struct bitnet_command *command, int argc, char **argv,
                                 bool *done, struct bitnet_error *err);
/* The kernel sets to use: --cpu, else BITNET_CPU. */
enum bitnet_status session_cpu(const struct session *s, uint32_t *mask, bool *is_given,
                               struct bitnet_error *err);
/* Pool and model. USAGE when no model was named. */
enum bitnet_status session_open(struct session *s, struct bitnet_error *err);
void session_close(struct session *s);
/* Closes, reports an error if there is one, and returns the exit code. */
int session_end(struct session *s, enum bitnet_status status, const struct bitnet_error *err);

/* Nonzero after the first SIGINT, SIGTERM or SIGHUP; a second one leaves at once. */
extern volatile sig_atomic_t session_stop;
void session_catch_signals(void);

double session_now_ms(void);

#endif
