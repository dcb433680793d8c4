/* See session.h. Part of the programs, not of the library. */
#include "session.h"

#include "../hub/main_model.h"
#include "tuning.h"

#include "bitnet/alloc.h"
#include "bitnet/cpu.h"
#include "bitnet/file.h"
#include "bitnet/kernels.h"
#include "bitnet/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

volatile sig_atomic_t session_stop;

static void stop_soon(int signal_number)
{
    if (session_stop) _exit(128 + signal_number);
    session_stop = 1;
}

void session_catch_signals(void)
{
    struct sigaction action = {.sa_handler = stop_soon};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

double session_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void say(void *user, enum bitnet_log_level level, const char *text)
{
    const struct session *s = user;
    if (s->is_quiet || (level != BITNET_LOG_WARNING && !s->is_verbose)) return;
    fprintf(stderr, "%s: %s%s\n", s->tool, level == BITNET_LOG_WARNING ? "warning: " : "", text);
}

void session_start_log(struct session *s)
{
    s->log = (struct bitnet_log){.say = say, .user = s};
}

enum bitnet_status session_parse(const struct bitnet_command *command, int argc, char **argv,
                                 bool *done, struct bitnet_error *err)
{
    struct bitnet_buf help = {.max = 65536};
    const char *operands[1];
    size_t n_operands = 0;
    *done = false;
    enum bitnet_status status =
        bitnet_args_parse(command, argc, argv, operands, &n_operands, &help, done, err);
    if (!status && *done) fwrite(help.at, 1, help.n, stdout);
    bitnet_buf_free(&help);
    return status;
}

/* "scalar, avx2, ..." into text. */
static void list_sets(char *text, size_t n)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < bitnet_kernels_count() && used < n; i++)
        used += (size_t)snprintf(text + used, n - used, "%s%s", i ? ", " : "",
                                 bitnet_kernels_at(i)->name);
}

enum bitnet_status session_cpu(const struct session *s, uint32_t *mask, bool *is_given,
                               struct bitnet_error *err)
{
    const char *name = s->cpu ? s->cpu : getenv("BITNET_CPU");
    char sets[200];
    *is_given = name && *name;
    *mask = 0;
    if (!*is_given || bitnet_cpu_mask(name, mask)) return BITNET_OK;
    list_sets(sets, sizeof sets);
    bitnet_fail(err, BITNET_USAGE, "there is no CPU level %s", BITNET_QUOTE(bitnet_str_of(name)));
    return bitnet_hint(err, BITNET_USAGE, "kernel sets are %s; names of chips work too", sets);
}

/* ------------------------------------------------------------------ the tuning profile */

void session_tuning_path(const struct session *s, char path[SESSION_PATH_MAX], bool *is_asked_for)
{
    const char *name = s->tuning_path ? s->tuning_path : getenv("BITNET_TUNING");
    *is_asked_for = name != NULL;
    if (name)
        snprintf(path, SESSION_PATH_MAX, "%s", strcmp(name, "none") == 0 ? "" : name);
    else
        tuning_default_path(path, getenv("XDG_CACHE_HOME"), getenv("HOME"));
}

/* The shape of the model's file; false when it cannot be read, which opening it will explain. */
static bool read_shape(const char *path, char text[SHAPE_TEXT_MAX])
{
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_hparams hparams;
    struct shape shape = {.hparams = &hparams};
    if (bitnet_gguf_open(&gguf, path, NULL, NULL)) return false;
    bool ok = bitnet_hparams_from_gguf(&hparams, &shape.arch, gguf, NULL) == BITNET_OK;
    shape.gguf = gguf;
    if (ok) shape_text(&shape, text);
    bitnet_gguf_close(gguf);
    return ok;
}

static void apply(struct session *s, const struct tuning *t, const char *path,
                  struct bitnet_model_options *options)
{
    if (!s->n_threads) s->n_threads = t->threads;
    if (!options->cpu_is_given)
        options->cpu_is_given = bitnet_cpu_mask(t->kernels, &options->cpu_mask);
    s->tuned_batch = t->batch;
    bitnet_log_say(&s->log, BITNET_LOG_INFO, "tuning profile %s: %s, %u threads, batches of %u",
                   path, t->kernels, t->threads, (unsigned)t->batch);
}

static enum bitnet_status apply_tuning(struct session *s, struct bitnet_model_options *options,
                                       struct bitnet_error *err)
{
    char path[SESSION_PATH_MAX], shape[SHAPE_TEXT_MAX];
    bool is_asked_for;
    s->tuned_batch = 0;
    session_tuning_path(s, path, &is_asked_for);
    if (!path[0] || (!is_asked_for && access(path, F_OK) != 0)) return BITNET_OK;
    struct tunings *tunings = bitnet_alloc(1, sizeof *tunings);
    struct machine *machine = bitnet_alloc(1, sizeof *machine);
    struct bitnet_error own;
    enum bitnet_status status = BITNET_OK;
    if (!tunings || !machine)
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for the tuning profile");
    if (!status) machine_detect(machine, "");
    if (!status) status = tuning_read(path, machine, tunings, is_asked_for ? err : &own);
    if (status && status != BITNET_MEMORY && !is_asked_for) {
        bitnet_log_say(&s->log, BITNET_LOG_WARNING, "the tuning profile is not used: %s", own.text);
        status = BITNET_OK;
    }
    if (!status && tunings->n_models && read_shape(s->model_path, shape)) {
        const struct tuning *tuning = tuning_of(tunings, shape);
        if (tuning) apply(s, tuning, path, options);
    }
    bitnet_free(machine);
    bitnet_free(tunings);
    return status;
}

static enum bitnet_status read_cache_type(struct session *s, struct bitnet_error *err)
{
    s->quantized_cache = s->cache_type && strcmp(s->cache_type, "q8_0") == 0;
    if (!s->cache_type || s->quantized_cache || strcmp(s->cache_type, "f16") == 0) return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE, "--cache-type %s: f16 or q8_0",
                       BITNET_QUOTE(bitnet_str_of(s->cache_type)));
}

static enum bitnet_status read_standard_input(size_t max_bytes, struct bitnet_str *text,
                                              struct bitnet_error *err)
{
    struct bitnet_buf buf = {.max = max_bytes};
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, stdin)) > 0) bitnet_buf_add(&buf, block, n);
    if (ferror(stdin) || buf.failed) {
        bool is_full = buf.is_full;
        bitnet_buf_free(&buf);
        return is_full ? bitnet_fail(err, BITNET_LIMIT, "more than %zu bytes of standard input",
                                     max_bytes)
                       : bitnet_fail(err, BITNET_IO, "standard input cannot be read");
    }
    *text = (struct bitnet_str){buf.at, buf.n};
    return BITNET_OK;
}

void session_print_string(struct bitnet_str text)
{
    putchar('"');
    for (size_t i = 0; i < text.n; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte == '"' || byte == '\\')
            printf("\\%c", byte);
        else if (byte == '\n')
            fputs("\\n", stdout);
        else if (byte < 0x20 || byte == 0x7f)
            printf("\\u%04x", byte);
        else
            putchar(byte);
    }
    putchar('"');
}

enum bitnet_status session_env_number(const char *name, uint64_t low, uint64_t high,
                                      uint64_t *value, struct bitnet_error *err)
{
    const char *text = getenv(name);
    uint64_t number;
    if (!text || !*text) return BITNET_OK;
    if (!bitnet_parse_u64(bitnet_str_of(text), &number) || number < low || number > high)
        return bitnet_fail(err, BITNET_USAGE, "%s is %s (allowed: %" PRIu64 " to %" PRIu64 ")",
                           name, BITNET_QUOTE(bitnet_str_of(text)), low, high);
    *value = number;
    return BITNET_OK;
}

/* What the command line leaves open; it goes before a tuning profile. */
static enum bitnet_status read_environment(struct session *s, uint64_t *batch,
                                           struct bitnet_error *err)
{
    static const char *const threads[] = {"BITNET_NUM_THREADS", "RAYON_NUM_THREADS"};
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < 2 && !s->n_threads && !status; i++)
        status = session_env_number(threads[i], 1, 1024, &s->n_threads, err);
    if (!status) status = session_env_number("BITNET_BATCH_SIZE", 1, 65536, batch, err);
    const char *limit = getenv("BITNET_MEMORY_LIMIT");
    if (status || s->max_memory || !limit || !*limit) return status;
    if (bitnet_parse_size(bitnet_str_of(limit), &s->max_memory)) return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE, "BITNET_MEMORY_LIMIT is %s (for example 4G)",
                       BITNET_QUOTE(bitnet_str_of(limit)));
}

enum bitnet_status session_read(const char *path, size_t max_bytes, struct bitnet_str *text,
                                struct bitnet_error *err)
{
    if (strcmp(path, "-") == 0) return read_standard_input(max_bytes, text, err);
    return bitnet_read_file(path, max_bytes, text, err);
}

/* ------------------------------------------------------------------ the device */

static enum bitnet_status read_device(struct session *s, struct bitnet_error *err)
{
    uint64_t n_layers;
    enum bitnet_status status =
        bitnet_device_parse(&s->choice, s->device ? s->device : "auto", err);
    if (status || !s->gpu_layers) return status;
    if (s->device) return bitnet_fail(err, BITNET_USAGE, "say one of --device and -ngl");
    if (!bitnet_parse_u64(bitnet_str_of(s->gpu_layers), &n_layers))
        return bitnet_fail(err, BITNET_USAGE, "-ngl wants a number of layers, not %s",
                           BITNET_QUOTE(bitnet_str_of(s->gpu_layers)));
    if (n_layers == 0) s->choice.kind = BITNET_DEVICE_CPU;
    return BITNET_OK;
}

bool session_falls_back(struct session *s, enum bitnet_status status, struct bitnet_error *err)
{
    const bool is_on_device = s->model && strcmp(bitnet_model_device(s->model), "cpu") != 0;
    if (status != BITNET_MEMORY || s->choice.kind != BITNET_DEVICE_AUTO || !is_on_device)
        return false;
    bitnet_log_say(&s->log, BITNET_LOG_WARNING, "the model is opened again on the CPU: %s",
                   err->text);
    bitnet_model_close(s->model);
    s->model = NULL;
    s->choice.kind = BITNET_DEVICE_CPU;
    return bitnet_model_open(&s->model, s->model_path, &s->model_options, err) == BITNET_OK;
}

enum bitnet_status session_open(struct session *s, struct bitnet_error *err)
{
    session_start_log(s);
    if (!s->model_path) return bitnet_fail(err, BITNET_USAGE, "no model; say -m FILE");
    struct bitnet_model_options options = {.log = &s->log, .tokenizer = &s->finder.options};
    double start = session_now_ms();
    enum bitnet_status status = main_model_gguf(s->model_path, s->is_quiet, s->finder.offline,
                                                &s->places, &s->model_path, err);
    if (!status) status = read_cache_type(s, err);
    if (!status) status = read_device(s, err);
    if (!status) status = session_cpu(s, &options.cpu_mask, &options.cpu_is_given, err);
    uint64_t batch = 0;
    if (!status) status = read_environment(s, &batch, err);
    if (!status) status = apply_tuning(s, &options, err);
    s->finder.tool = s->tool;
    s->finder.is_quiet = s->is_quiet;
    if (!status) status = finder_open(&s->finder, &s->log, err);
    if (s->no_text) s->finder.options.fetch = NULL;
    if (!status) status = bitnet_pool_new(&s->pool, (unsigned)s->n_threads, err);
    options.pool = s->pool;
    options.device = &s->choice;
    options.strict_device = s->strict_device;
    options.cuda_plugin = getenv("BITNET_CUDA_PLUGIN");
    options.quantized_cache = s->quantized_cache;
    options.memory_limit = s->max_memory;
    s->model_options = options;
    if (!status) status = bitnet_model_open(&s->model, s->model_path, &options, err);
    if (!status && strcmp(bitnet_model_device(s->model), "cpu") != 0)
        s->tuned_batch = 0; /* it is of the CPU */
    s->load_ms = session_now_ms() - start;
    if (batch) s->tuned_batch = (uint32_t)batch;
    if (!status && bitnet_model_tokenizer(s->model))
        bitnet_log_say(&s->log, BITNET_LOG_INFO, "%s",
                       bitnet_model_discovery(s->model)->description);
    return status;
}

void session_close(struct session *s)
{
    bitnet_model_close(s->model);
    bitnet_pool_free(s->pool);
    finder_close(&s->finder);
    bitnet_arena_free(&s->places);
    s->model = NULL;
    s->pool = NULL;
}

int session_end(struct session *s, enum bitnet_status status, const struct bitnet_error *err)
{
    session_close(s);
    if ((fflush(stdout) != 0 || ferror(stdout)) && !status) {
        struct bitnet_error full;
        bitnet_fail(&full, BITNET_IO, "standard output cannot be written");
        return bitnet_report_error(s->tool, &full);
    }
    return status ? bitnet_report_error(s->tool, err) : 0;
}
