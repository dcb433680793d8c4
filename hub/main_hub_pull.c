/* bitnet hub pull: the command line, and what a person sees while bytes arrive: one line that is
 * drawn over on a terminal, plain lines now and then elsewhere, JSON events for programs. */
#include "main_hub.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../runtime/tools.h"

enum { DRAW_MS = 100, PLAIN_MS = 10000, BAR_WIDTH = 24 };

/* The first signal asks the pull to stop and keep what it has; the second leaves at once. */
static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    if (stop_signal) _exit(128 + number);
    stop_signal = number;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* --- talk --- */

struct talk {
    const struct hub_tool *tool;
    bool draws;    /* standard error is a terminal */
    bool is_drawn; /* an unfinished line stands there */
    uint64_t last_ms;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void clear_line(struct talk *t)
{
    if (t->is_drawn) fputs("\r\033[K", stderr);
    t->is_drawn = false;
}

static void put_eta(char out[32], const struct bitnet_hub_event *e)
{
    uint64_t left = e->total_bytes - e->done_bytes;
    out[0] = 0;
    if (e->bytes_per_second == 0 || left == 0) return;
    uint64_t s = left / e->bytes_per_second;
    if (s < 360000)
        snprintf(out, 32, "  %02u:%02u:%02u left", (unsigned)(s / 3600), (unsigned)(s / 60 % 60),
                 (unsigned)(s % 60));
}

static void draw(struct talk *t, const struct bitnet_hub_event *e)
{
    char bar[BAR_WIDTH + 1], done[32], total[32], rate[32], eta[32];
    unsigned filled = (unsigned)((double)e->done_bytes / (double)e->total_bytes * BAR_WIDTH);
    for (unsigned i = 0; i < BAR_WIDTH; i++) bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = 0;
    put_eta(eta, e);
    clear_line(t);
    fprintf(stderr, "[%s] %3.0f%%  %s of %s  %s/s%s  %" PRIu64 "/%" PRIu64 " files", bar,
            (double)e->done_bytes * 100 / (double)e->total_bytes,
            hub_tool_bytes(done, e->done_bytes), hub_tool_bytes(total, e->total_bytes),
            hub_tool_bytes(rate, e->bytes_per_second), eta, e->n_files_done, e->n_files);
    t->is_drawn = true;
}

static void show_progress(struct talk *t, const struct bitnet_hub_event *e)
{
    char done[32], total[32], rate[32];
    uint64_t now = now_ms();
    if (e->total_bytes == 0 || now - t->last_ms < (t->draws ? DRAW_MS : PLAIN_MS)) return;
    t->last_ms = now;
    if (t->draws)
        draw(t, e);
    else
        fprintf(stderr, "%s of %s, %s/s\n", hub_tool_bytes(done, e->done_bytes),
                hub_tool_bytes(total, e->total_bytes), hub_tool_bytes(rate, e->bytes_per_second));
}

static void show_words(struct talk *t, const struct bitnet_hub_event *e)
{
    clear_line(t);
    if (e->file) fprintf(stderr, "%s: ", BITNET_QUOTE(bitnet_str_of(e->file)));
    fprintf(stderr, "%s\n", e->text ? e->text : "done");
}

static void print_event(const struct bitnet_hub_event *e)
{
    static const char *const kinds[] = {"plan",  "progress", "file",   "wait",
                                        "retry", "notice",   "request"};
    printf("{\"event\":\"%s\"", kinds[e->kind]);
    if (e->file) printf(",\"file\":"), hub_tool_json_text(stdout, e->file);
    if (e->text) printf(",\"text\":"), hub_tool_json_text(stdout, e->text);
    if (e->total_bytes)
        printf(",\"done_bytes\":%" PRIu64 ",\"total_bytes\":%" PRIu64
               ",\"bytes_per_second\":%" PRIu64,
               e->done_bytes, e->total_bytes, e->bytes_per_second);
    printf(",\"files_done\":%" PRIu64 ",\"files\":%" PRIu64 "}\n", e->n_files_done, e->n_files);
    fflush(stdout);
}

static bool hear(void *user, const struct bitnet_hub_event *e)
{
    struct talk *t = user;
    bool is_idle = e->kind == BITNET_HUB_PROGRESS && e->total_bytes == 0;
    if (t->tool->json) {
        bool is_due = e->kind != BITNET_HUB_PROGRESS || now_ms() - t->last_ms >= 1000;
        if (!is_idle && is_due) {
            if (e->kind == BITNET_HUB_PROGRESS) t->last_ms = now_ms();
            print_event(e);
        }
    } else if (!t->tool->quiet) {
        if (e->kind == BITNET_HUB_PROGRESS && !t->tool->no_progress)
            show_progress(t, e);
        else if (e->kind == BITNET_HUB_FILE_DONE && t->draws)
            show_words(t, e);
        else if (e->kind >= BITNET_HUB_WAITING)
            show_words(t, e);
    }
    return stop_signal == 0;
}

/* --- results --- */

static void print_plan(const struct bitnet_hub_snapshot *s)
{
    char bytes[32];
    uint64_t missing = 0;
    for (size_t i = 0; i < s->n_files; i++) {
        const struct bitnet_hub_file *f = &s->files[i];
        bool cached = f->state == BITNET_HUB_CACHED;
        if (!cached) missing += f->size;
        printf("%-7s %12" PRIu64 "  %-64s  %s\n", cached ? "cached" : "fetch", f->size, f->etag,
               BITNET_QUOTE(bitnet_str_of(f->path)));
    }
    printf("%s to fetch\n", hub_tool_bytes(bytes, missing));
}

static void print_result_json(const struct bitnet_hub_snapshot *s)
{
    static const char *const states[] = {"cached", "missing", "fetched"};
    printf("{\"event\":\"done\",\"schema\":1,\"path\":");
    hub_tool_json_text(stdout, s->path);
    printf(",\"commit\":\"%s\",\"total_bytes\":%" PRIu64 ",\"fetched_bytes\":%" PRIu64
           ",\"skipped_files\":%zu,\"files\":[",
           s->commit, s->total_bytes, s->fetched_bytes, s->n_skipped);
    for (size_t i = 0; i < s->n_files; i++) {
        printf("%s{\"path\":", i ? "," : "");
        hub_tool_json_text(stdout, s->files[i].path);
        printf(",\"bytes\":%" PRIu64 ",\"hash\":\"%s\",\"state\":\"%s\"}", s->files[i].size,
               s->files[i].etag, states[s->files[i].state]);
    }
    printf("]}\n");
}

/* What `pull --qtype` does with a snapshot: the converter itself, with its own words and exit code,
 * as if it had been called with this folder. */
struct conversion {
    const char *type, *out;
    int code;
};

static void convert(const struct hub_tool *tool, const struct bitnet_hub_ref *ref, const char *path,
                    struct conversion *c)
{
    const char *slash = strrchr(ref->repo, '/');
    const char *argv[12] = {"bitnet-convert", path,     "--qtype",
                            c->type,          "--name", slash ? slash + 1 : ref->repo};
    int n = 6;
    if (c->out) {
        argv[n++] = "-o";
        argv[n++] = c->out;
    }
    if (tool->json) argv[n++] = "--json";
    if (tool->quiet) argv[n++] = "--quiet";
    fflush(stdout);
    c->code = bitnet_convert_main(n, (char **)(uintptr_t)argv);
}

static enum bitnet_status print_result(const struct hub_tool *tool, bool dry_run,
                                       const struct bitnet_hub_snapshot *s,
                                       struct bitnet_error *err)
{
    if (tool->json)
        print_result_json(s);
    else if (dry_run)
        print_plan(s);
    else
        printf("%s\n", s->path);
    return hub_tool_flush(err);
}

static bool wants_progress(void)
{
    const char *disabled = getenv("HF_HUB_DISABLE_PROGRESS_BARS");
    return !disabled || !disabled[0] || strchr("0nNfF", disabled[0]) != NULL;
}

static enum bitnet_status run(struct hub_tool *tool, struct bitnet_hub_pull_options *pull,
                              struct conversion *conversion, struct bitnet_error *err)
{
    struct bitnet_hub_snapshot snapshot;
    bool has_revision;
    struct talk talk = {.tool = tool, .draws = isatty(STDERR_FILENO) != 0 && wants_progress()};
    enum bitnet_status status = hub_tool_ref(tool, 0, &pull->ref, &has_revision, err);
    if (status) return status;
    pull->files = tool->operands + 1;
    pull->n_files = tool->n_operands - 1;
    pull->event = hear;
    pull->user = &talk;
    catch_signals();
    status = bitnet_hub_pull(tool->hub, pull, &snapshot, err);
    clear_line(&talk);
    if (!status && conversion->type && !pull->dry_run)
        convert(tool, &pull->ref, snapshot.path, conversion);
    else if (!status)
        status = print_result(tool, pull->dry_run, &snapshot, err);
    bitnet_hub_snapshot_free(&snapshot);
    return status;
}

enum bitnet_status hub_tool_pull(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {0};
    struct bitnet_hub_pull_options pull = {0};
    struct conversion conversion = {0};
    struct bitnet_args_list include = {0}, exclude = {0};
    bool xet = false;
    uint64_t jobs = 0, rate = 0, lock_timeout = 0, max_wait = 0, max_stall = 0;
    const struct bitnet_option options[] = {
        HUB_TOOL_OPTIONS(tool),
        {"--revision", "REV", BITNET_OPTION_TEXT, &tool.revision, "branch, tag or commit", 0, 0},
        {"--include", "PATTERN", BITNET_OPTION_LIST, &include, "only files like this", 0, 0},
        {"--exclude", "PATTERN", BITNET_OPTION_LIST, &exclude, "but none like this", 0, 0},
        {"--all", NULL, BITNET_OPTION_FLAG, &pull.all, "every file, not only what an engine reads",
         0, 0},
        {"--allow-unsafe", NULL, BITNET_OPTION_FLAG, &pull.allow_unsafe,
         "also pickles and code, which can run when they are opened", 0, 0},
        {"--local-dir", "DIR", BITNET_OPTION_TEXT, &pull.local_dir,
         "plain files into this folder instead of the cache", 0, 0},
        {"--dry-run", NULL, BITNET_OPTION_FLAG, &pull.dry_run, "only say what would be fetched", 0,
         0},
        {"--verify", NULL, BITNET_OPTION_FLAG, &pull.verify,
         "hash what is there already, too; what is damaged is fetched again", 0, 0},
        {"--qtype", "TYPE", BITNET_OPTION_TEXT, &conversion.type,
         "then convert to GGUF with this type, and verify (see `bitnet convert --help`)", 0, 0},
        {"-o, --outfile", "FILE", BITNET_OPTION_TEXT, &conversion.out,
         "with --qtype: where to write the GGUF", 0, 0},
        {"--offline", NULL, BITNET_OPTION_FLAG, &tool.offline, "ask nobody; exit 11 if incomplete",
         0, 0},
        {"--token-file", "FILE", BITNET_OPTION_TEXT, &tool.token_file,
         "the access token (default: HF_TOKEN, or the file of `hf auth login`)", 0, 0},
        {"--jobs", "N", BITNET_OPTION_U64, &jobs, "connections at most (default 16)", 1, 64},
        {"--limit-rate", "BYTES", BITNET_OPTION_SIZE, &rate, "per second, e.g. 5M", 0, 0},
        {"--xet", NULL, BITNET_OPTION_FLAG, &xet,
         "fetch over the Xet protocol first (default: when plain HTTP is refused)", 0, 0},
        {"--lock-timeout", "SECONDS", BITNET_OPTION_U64, &lock_timeout,
         "wait so long for another pull of the same file (default: for ever)", 1, 86400},
        {"--max-wait", "SECONDS", BITNET_OPTION_U64, &max_wait,
         "longest pause that a server may ask for (default 300)", 1, 86400},
        {"--max-stall", "SECONDS", BITNET_OPTION_U64, &max_stall,
         "give up without a new byte for so long (default 300)", 1, 86400},
        {"--allow-http", NULL, BITNET_OPTION_FLAG, &tool.allow_http,
         "an endpoint without encryption beyond this machine", 0, 0},
        {"--no-progress", NULL, BITNET_OPTION_FLAG, &tool.no_progress, "no progress line", 0, 0},
    };
    const struct bitnet_command command = {
        .name = HUB_TOOL " pull",
        .synopsis = "REPO[@REV] [FILE]... [OPTION]...",
        .summary = "Fetches files of a repository, verified, and prints where they are. An "
                   "interrupted pull goes on where it stopped.",
        .examples = HUB_TOOL " pull microsoft/bitnet-b1.58-2B-4T\n" HUB_TOOL
                             " pull user/model@v2 config.json\n" HUB_TOOL
                             " pull user/model --include '*.gguf' --dry-run",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .min_operands = 1,
        .max_operands = HUB_OPERANDS_MAX};
    enum bitnet_status status = hub_tool_parse(&tool, &command, argc, argv, err);
    if (!status && !tool.is_done) status = hub_tool_settings(&tool, err);
    if (!status && !tool.is_done) {
        pull.include = include.at;
        pull.n_include = include.n;
        pull.exclude = exclude.at;
        pull.n_exclude = exclude.n;
        tool.settings.connections = (unsigned)jobs;
        tool.settings.rate_limit = rate;
        if (xet) tool.settings.xet = BITNET_HUB_XET_FIRST;
        tool.settings.lock_timeout_ms = lock_timeout * 1000;
        tool.settings.max_wait_ms = max_wait * 1000;
        tool.settings.max_stall_ms = max_stall * 1000;
        tool.settings.log = NULL; /* everything is told as an event */
        status = bitnet_hub_new(&tool.hub, &tool.settings, err);
        if (!status) status = run(&tool, &pull, &conversion, err);
    }
    hub_tool_close(&tool);
    if (status == BITNET_CANCELLED && stop_signal) { /* so that a shell sees why we ended */
        bitnet_report_error(HUB_TOOL, err);
        signal(stop_signal, SIG_DFL);
        raise(stop_signal);
    }
    if (!status && conversion.code) exit(conversion.code); /* the converter has said why */
    return status;
}
