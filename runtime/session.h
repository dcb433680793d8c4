/* What the runtime's programs share: the options that choose model, CPU and threads, the
 * environment (read here and nowhere else), Ctrl-C, and the way messages are told. */
#ifndef BITNET_RUNTIME_SESSION_H
#define BITNET_RUNTIME_SESSION_H

#include "../tokenizers/main_find.h"

#include "bitnet/args.h"
#include "bitnet/arena.h"
#include "bitnet/runtime.h"

#define SESSION_PATH_MAX 4096

struct session {
    const char *tool; /* "bitnet-cli", in front of every message */
    /* Set by the command line before session_open(): */
    const char *model_path;
    const char *cpu; /* kernel set or chip by name; NULL: BITNET_CPU, else all the CPU has */
    uint64_t n_threads;
    /* A tuning profile, or "none"; NULL: BITNET_TUNING, else the user's, if there is one. */
    const char *tuning_path;
    const char *cache_type; /* "f16" or "q8_0"; NULL: f16 */
    uint64_t max_memory;    /* bytes; 0: BITNET_MEMORY_LIMIT, else no limit */
    const char *device;     /* "auto", "cpu", "cuda:1"; NULL: auto */
    const char *gpu_layers; /* -ngl: "0" is cpu, any other number auto */
    bool strict_device;
    bool is_quiet, is_verbose;
    bool no_text; /* the tool works on tokens alone: the network is not asked for a tokenizer */
    struct finder finder;
    /* Filled by session_open(): */
    struct bitnet_log log;
    struct bitnet_pool *pool;
    struct bitnet_model *model;
    bool quantized_cache;
    uint32_t tuned_batch; /* BITNET_BATCH_SIZE, else what the profile says about this model; or 0 */
    struct bitnet_device_choice choice;
    struct bitnet_model_options model_options; /* how the model was opened */
    double load_ms;
    struct bitnet_arena places; /* where model_path points, when it was a repository */
};

/* The rows of an option table that fill a session. */
/* clang-format off */
#define DEVICE_OPTIONS(s)                                                                          \
    {"--device", "DEVICE", BITNET_OPTION_TEXT, &(s)->device,                                        \
     "where the model runs: auto, cpu, cuda or cuda:N (default: auto)", 0, 0},                      \
    {"--strict-device", NULL, BITNET_OPTION_FLAG, &(s)->strict_device,                              \
     "an operation or type without a kernel there is an error", 0, 0},                              \
    {"-ngl, --n-gpu-layers", "N", BITNET_OPTION_TEXT, &(s)->gpu_layers,                             \
     "0: as --device cpu; else as auto: a model goes to a device as a whole", 0, 0}
#define SESSION_OPTIONS(s)                                                                         \
    {"-m, --model", "MODEL", BITNET_OPTION_TEXT, &(s)->model_path,                                   \
     "a GGUF file, a folder with one, or a repository (user/name[:FILE])", 0, 0},                  \
    {"-t, --threads", "N", BITNET_OPTION_U64, &(s)->n_threads,                                      \
     "threads (default: BITNET_NUM_THREADS, else physical cores)", 0, 1024},                                                \
    {"--cpu", "NAME", BITNET_OPTION_TEXT, &(s)->cpu,                                                \
     "use this kernel set or chip's sets only: scalar, avx2, ... (also BITNET_CPU)", 0, 0},         \
    {"--tuning", "FILE", BITNET_OPTION_TEXT, &(s)->tuning_path,                                     \
     "profile of bitnet-bench --tune, or none (also BITNET_TUNING; default: the user's)", 0, 0},    \
    {"--cache-type", "TYPE", BITNET_OPTION_TEXT, &(s)->cache_type,                                  \
     "keys and values as f16, or as q8_0 in half of the memory (default: f16)", 0, 0},             \
    {"--max-memory", "SIZE", BITNET_OPTION_SIZE, &(s)->max_memory,                                  \
     "fail rather than take more, as in 4G (default: BITNET_MEMORY_LIMIT, else no limit)", 0, 0},   \
    DEVICE_OPTIONS(s),                                                                              \
    FINDER_OPTIONS(&(s)->finder),                                                                   \
    {"-q, --quiet", NULL, BITNET_OPTION_FLAG, &(s)->is_quiet, "errors only", 0, 0},                 \
    {"-v, --verbose", NULL, BITNET_OPTION_FLAG, &(s)->is_verbose, "say more", 0, 0}
/* clang-format on */

/* Parses; on OK with *done the help has been printed. */
enum bitnet_status session_parse(const struct bitnet_command *command, int argc, char **argv,
                                 bool *done, struct bitnet_error *err);
/* The kernel sets to use: --cpu, else BITNET_CPU. */
enum bitnet_status session_cpu(const struct session *s, uint32_t *mask, bool *is_given,
                               struct bitnet_error *err);
/* What is logged goes to standard error, as quiet and verbose say. session_open() does it too. */
void session_start_log(struct session *s);
/* The profile to use: --tuning, else BITNET_TUNING, else the user's. "" when there is to be none;
 * *is_asked_for when somebody named it. */
void session_tuning_path(const struct session *s, char path[SESSION_PATH_MAX], bool *is_asked_for);
/* Pool and model; what the command line leaves open comes from the tuning profile. USAGE when no
 * model was named; a profile that somebody named must exist and be of this machine, the user's own
 * is left aside with a warning when it is not. */
enum bitnet_status session_open(struct session *s, struct bitnet_error *err);
/* A context had no memory on a device that nobody asked for by name: the model is opened again on
 * the CPU, which is told, and true says that the caller may try again. Contexts of the old model
 * must be gone. */
bool session_falls_back(struct session *s, enum bitnet_status status, struct bitnet_error *err);
void session_close(struct session *s);
/* Closes, reports an error if there is one, and returns the exit code. */
int session_end(struct session *s, enum bitnet_status status, const struct bitnet_error *err);

/* All of a file, or of standard input when the path is "-"; freed with bitnet_free(). */
enum bitnet_status session_read(const char *path, size_t max_bytes, struct bitnet_str *text,
                                struct bitnet_error *err);

/* A number from the environment; *value stays when it is not set or empty. USAGE when it is none of
 * low .. high. */
enum bitnet_status session_env_number(const char *name, uint64_t low, uint64_t high,
                                      uint64_t *value, struct bitnet_error *err);
/* The text as a JSON string, on standard output; it is UTF-8. */
void session_print_string(struct bitnet_str text);

/* Nonzero after the first SIGINT, SIGTERM or SIGHUP; a second one leaves at once. */
extern volatile sig_atomic_t session_stop;
void session_catch_signals(void);

double session_now_ms(void);

#endif
