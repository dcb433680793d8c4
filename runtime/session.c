/* See session.h. Part of the programs, not of the library. */
#include "session.h"

#include "bitnet/cpu.h"
#include "bitnet/kernels.h"
#include "bitnet/text.h"

#include <stdio.h>
#include <stdlib.h>
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

enum bitnet_status session_open(struct session *s, struct bitnet_error *err)
{
    s->log = (struct bitnet_log){.say = say, .user = s};
    if (!s->model_path) return bitnet_fail(err, BITNET_USAGE, "no model; say -m FILE");
    struct bitnet_model_options options = {.log = &s->log};
    double start = session_now_ms();
    enum bitnet_status status = session_cpu(s, &options.cpu_mask, &options.cpu_is_given, err);
    if (!status) status = bitnet_pool_new(&s->pool, (unsigned)s->n_threads, err);
    options.pool = s->pool;
    if (!status) status = bitnet_model_open(&s->model, s->model_path, &options, err);
    s->load_ms = session_now_ms() - start;
    return status;
}

void session_close(struct session *s)
{
    bitnet_model_close(s->model);
    bitnet_pool_free(s->pool);
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
