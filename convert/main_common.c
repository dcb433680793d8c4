/* Words into options, signals, and one run from source to report. See main_common.h. */
#include "main_common.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitnet/certificate.h"
#include "bitnet/cpu.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/hub.h"
#include "bitnet/quant.h"
#include "bitnet/text.h"

#include "main_report.h"
#include "main_runner.h"

/* --- signals --- */

static volatile sig_atomic_t stop_signal;
static const char *tool_name = "bitnet"; /* for handlers, which get no context */

static void on_stop(int number)
{
    if (stop_signal) { /* asked twice: leave at once, but leave nothing behind */
        bitnet_output_abort_all_from_signal();
        _exit(128 + number);
    }
    stop_signal = number;
}

void main_handle_signals(const char *name)
{
    tool_name = name;
    struct sigaction stop = {.sa_handler = on_stop};
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) sigaction(stops[i], &stop, NULL);
    signal(SIGPIPE, SIG_IGN); /* a peer that hangs up while fetching is an error of write() */
}

/* --- what was asked --- */

static enum bitnet_status parse_type(enum bitnet_dtype *type, const char *option, const char *text,
                                     struct bitnet_error *err)
{
    if (bitnet_dtype_from_name(bitnet_str_of(text), type)) return BITNET_OK;
    char names[200];
    size_t n = 0;
    for (int t = 0; t < BITNET_DTYPE_COUNT && n < sizeof names; t++) {
        const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)t);
        if (codec && (codec->encode_rows || codec->encode_trits))
            n += (size_t)snprintf(names + n, sizeof names - n, n ? ", %s" : "%s",
                                  bitnet_dtype_info((enum bitnet_dtype)t)->name);
    }
    bitnet_fail(err, BITNET_USAGE, "%s: there is no type %s", option,
                BITNET_QUOTE(bitnet_str_of(text)));
    return bitnet_hint(err, BITNET_USAGE, "types that can be written: %s", names);
}

/* "256,96,32" */
static enum bitnet_status parse_tile_numbers(struct bitnet_tile *tile, const char *text,
                                             struct bitnet_error *err)
{
    uint32_t *const fields[3] = {&tile->rows, &tile->cols, &tile->sub_rows};
    struct bitnet_str rest = bitnet_str_of(text);
    for (int i = 0; i < 3; i++) {
        const char *comma = i < 2 ? memchr(rest.at, ',', rest.n) : rest.at + rest.n;
        uint64_t v = 0;
        struct bitnet_str part = {rest.at, comma ? (size_t)(comma - rest.at) : 0};
        if (!comma || !bitnet_parse_u64(part, &v) || v == 0 || v > 65536)
            return bitnet_fail(err, BITNET_USAGE, "--tile: %s is not BM,BK,bm",
                               BITNET_QUOTE(bitnet_str_of(text)));
        *fields[i] = (uint32_t)v;
        if (i < 2) rest = (struct bitnet_str){comma + 1, rest.n - part.n - 1};
    }
    return BITNET_OK;
}

/* The name of an ini file, or numbers. */
static enum bitnet_status parse_tile(struct bitnet_convert_options *o, const char *text,
                                     struct bitnet_error *err)
{
    if (!text || strcmp(text, "auto") == 0) return BITNET_OK;
    if (!bitnet_str_ends(bitnet_str_of(text), ".ini"))
        return parse_tile_numbers(&o->tile, text, err);
    o->tile_ini = text;
    return BITNET_OK;
}

static enum bitnet_status parse_layout(enum bitnet_i2_s_order *order, const char *text,
                                       struct bitnet_error *err)
{
    if (!text) return BITNET_OK;
    const char *letters = "AaBbCc", *at = strlen(text) == 1 ? strchr(letters, text[0]) : NULL;
    if (!at)
        return bitnet_fail(err, BITNET_USAGE, "--i2s-layout %s (allowed: A, B, C)",
                           BITNET_QUOTE(bitnet_str_of(text)));
    *order = (enum bitnet_i2_s_order)((at - letters) / 2);
    return BITNET_OK;
}

static const struct {
    const char *name;
    enum bitnet_verify level;
} verify_levels[] = {{"tensors", BITNET_VERIFY_TENSORS},
                     {"none", BITNET_VERIFY_NONE},
                     {"logits", BITNET_VERIFY_LOGITS},
                     {"ppl", BITNET_VERIFY_PPL}};

static enum bitnet_status parse_verify(enum bitnet_verify *verify, const char *text,
                                       struct bitnet_error *err)
{
    for (size_t i = 0; i < sizeof verify_levels / sizeof verify_levels[0]; i++) {
        *verify = verify_levels[i].level;
        if (!text || strcmp(text, verify_levels[i].name) == 0) return BITNET_OK;
    }
    return bitnet_fail(err, BITNET_USAGE, "--verify: %s is not none, tensors, logits or ppl",
                       BITNET_QUOTE(bitnet_str_of(text)));
}

static enum bitnet_status parse_dialect(struct bitnet_convert_options *o, const char *text,
                                        struct bitnet_error *err)
{
    if (!text) return BITNET_OK;
    o->dialect_is_given = true;
    if (strcmp(text, "llama.cpp") == 0) text = "ggml"; /* llama.cpp's numbers are ggml's */
    if (bitnet_dialect_from_name(bitnet_str_of(text), &o->dialect)) return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE, "--dialect: %s is not bitnet.cpp, llama.cpp or ik",
                       BITNET_QUOTE(bitnet_str_of(text)));
}

/* "attn_v=q6_k" into a rule; the pattern is cut off in place. */
static enum bitnet_status parse_rules(struct bitnet_convert_options *o, struct main_arguments *a,
                                      struct bitnet_error *err)
{
    for (size_t i = 0; i < a->tensor_types.n; i++) {
        const char *text = a->tensor_types.at[i], *equals = strrchr(text, '=');
        if (!equals || equals == text)
            return bitnet_fail(err, BITNET_USAGE, "--tensor-type: %s is not REGEX=TYPE",
                               BITNET_QUOTE(bitnet_str_of(text)));
        *(char *)(uintptr_t)equals = '\0'; /* the words of argv are ours to change */
        a->rules[o->n_rules++].pattern = text;
        enum bitnet_status status =
            parse_type(&a->rules[o->n_rules - 1].type, "--tensor-type", equals + 1, err);
        if (status) return status;
    }
    o->rules = a->rules;
    return BITNET_OK;
}

static enum bitnet_status parse_edits(struct bitnet_convert_options *o, struct main_arguments *a,
                                      struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < a->override_kv.n && !status; i++)
        status = bitnet_gguf_edit_parse(&a->edits[o->n_edits++],
                                        bitnet_str_of(a->override_kv.at[i]), err);
    o->edits = a->edits;
    return status ? bitnet_error_prefix(err, status, "--override-kv") : BITNET_OK;
}

/* What the environment says where no option does. RAYON_NUM_THREADS is the last word of those who
 * come from Rust. */
static enum bitnet_status read_defaults(struct bitnet_convert_options *o, struct main_arguments *a,
                                        struct bitnet_error *err)
{
    static const char *const threads[] = {"BITNET_NUM_THREADS", "RAYON_NUM_THREADS"};
    const char *text = getenv("BITNET_MEMORY_LIMIT");
    if (text && *text && !a->max_memory && !bitnet_parse_size(bitnet_str_of(text), &a->max_memory))
        return bitnet_fail(err, BITNET_USAGE, "BITNET_MEMORY_LIMIT is %s (for example 512M)",
                           BITNET_QUOTE(bitnet_str_of(text)));
    for (size_t i = 0; i < 2 && !a->n_threads; i++) {
        text = getenv(threads[i]);
        if (!text || !*text) continue;
        if (!bitnet_parse_u64(bitnet_str_of(text), &a->n_threads) || a->n_threads > 1024)
            return bitnet_fail(err, BITNET_USAGE, "%s is %s (allowed: 1 to 1024)", threads[i],
                               BITNET_QUOTE(bitnet_str_of(text)));
    }
    text = getenv("BITNET_CPU");
    o->cpu_is_given = text && *text;
    if (o->cpu_is_given && !bitnet_cpu_mask(text, &o->cpu_mask))
        return bitnet_fail(err, BITNET_USAGE, "BITNET_CPU: there is no CPU level %s",
                           BITNET_QUOTE(bitnet_str_of(text)));
    return BITNET_OK;
}

enum bitnet_status main_make_options(struct bitnet_convert_options *o, struct main_arguments *a,
                                     struct bitnet_error *err)
{
    if (!a->type)
        return bitnet_fail(err, BITNET_USAGE, "--qtype is missing (for example --qtype i2_s)");
    enum bitnet_status status = parse_type(&o->type, "--qtype", a->type, err);
    if (!status && a->embed_type) {
        o->embed_type_is_given = true;
        status = parse_type(&o->embed_type, "--embd-type", a->embed_type, err);
    }
    if (!status && a->output_type) {
        o->output_type_is_given = true;
        status = parse_type(&o->output_type, "--output-type", a->output_type, err);
    }
    if (!status) status = parse_rules(o, a, err);
    if (!status) status = parse_edits(o, a, err);
    if (!status) status = read_defaults(o, a, err);
    o->max_memory = a->max_memory;
    o->split_max_bytes = a->split_max_bytes;
    o->imatrix = a->imatrix;
    if (!status) status = parse_tile(o, a->tile, err);
    if (!status) status = parse_layout(&o->i2_s_order, a->i2s_layout, err);
    o->source_tile_ini = a->source_tiles;
    o->metadata = a->metadata;
    if (!status) status = parse_verify(&o->verify, a->verify, err);
    o->runner = &main_runner;
    if (!status) status = parse_dialect(o, a->dialect, err);
    o->n_threads = (unsigned)a->n_threads;
    o->allow_lossy = a->allow_lossy;
    o->overwrite = a->force;
    o->name = a->model_name;
    o->cancel = &stop_signal;
    return status;
}

/* --- talk --- */

static void show_progress(void *user, size_t done, size_t total, struct bitnet_str tensor)
{
    (void)user;
    fprintf(stderr, "\r\033[K[%zu/%zu] %.*s", done, total, BITNET_STR_ARGS(tensor));
    if (done == total) fputs("\r\033[K", stderr);
    fflush(stderr);
}

static void say(void *user, enum bitnet_log_level level, const char *text)
{
    (void)user;
    if (level == BITNET_LOG_WARNING) fprintf(stderr, "%s: warning: %s\n", tool_name, text);
}

/* --- the whole --- */

int main_report_error(const struct main_arguments *a, const struct bitnet_error *err)
{
    int code = bitnet_report_error(a->name, err);
    return err->status == BITNET_CANCELLED && stop_signal ? 128 + (int)stop_signal : code;
}

/* --- where it is from --- */

static const char *read_environment(void *user, const char *name)
{
    (void)user;
    return getenv(name);
}

/* Fetching stops when we are asked to stop. */
static bool watch_fetching(void *user, const struct bitnet_hub_event *event)
{
    const struct main_arguments *a = user;
    if (event->kind == BITNET_HUB_PROGRESS && !a->quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[Kfetching %s: %" PRIu64 " of %" PRIu64 " MB",
                event->file ? event->file : "", event->done_bytes / 1000000,
                event->total_bytes / 1000000);
    return !stop_signal;
}

/* A snapshot's folder is named after a commit; the model is called as its repository is. */
static void name_after_repository(const char *model, struct bitnet_convert_options *options,
                                  struct bitnet_arena *arena)
{
    struct bitnet_hub_ref ref;
    if (options->name || bitnet_hub_ref_parse(&ref, bitnet_str_of(model), NULL)) return;
    const char *slash = strrchr(ref.repo, '/');
    options->name = bitnet_arena_copy(arena, bitnet_str_of(slash ? slash + 1 : ref.repo)).at;
}

/* MODEL is a path, or a repository that the hub fetches. */
static enum bitnet_status find_source(enum main_source from, struct main_arguments *a,
                                      struct bitnet_arena *arena,
                                      struct bitnet_convert_options *options,
                                      struct bitnet_error *err)
{
    const char *model = a->source;
    const struct bitnet_hub_model_options search = {.offline = a->offline,
                                                    .lookup = read_environment,
                                                    .event = watch_fetching,
                                                    .event_user = a,
                                                    .log = options->log};
    if (bitnet_path_exists(model)) return BITNET_OK;
    if (from == MAIN_FROM_GGUF)
        return bitnet_hub_model_gguf(model, &search, arena, &a->source, err);
    enum bitnet_status status = bitnet_hub_model(model, &search, arena, &a->source, err);
    if (!status && bitnet_path_is_dir(a->source)) name_after_repository(model, options, arena);
    return status;
}

static enum bitnet_status write_certificate(const struct bitnet_plan *plan, const char *path,
                                            const char *certificate, struct bitnet_error *err)
{
    enum bitnet_status status = bitnet_certificate_write(plan, path, certificate, err);
    return status ? bitnet_error_prefix(err, status, "%s is written, its certificate is not", path)
                  : BITNET_OK;
}

static int plan_and_run(enum main_source from, const struct main_arguments *a,
                        struct bitnet_convert_options *options)
{
    struct bitnet_error err = {0};
    struct bitnet_plan *plan = NULL;
    if (!a->quiet && !a->dry_run && isatty(STDERR_FILENO)) options->progress = show_progress;

    if (bitnet_str_ends(bitnet_str_of(a->source), ".gguf") && !bitnet_path_is_dir(a->source))
        from = MAIN_FROM_GGUF; /* for convert, too */
    enum bitnet_status status = from == MAIN_FROM_GGUF
                                    ? bitnet_plan_from_gguf(&plan, a->source, options, &err)
                                    : bitnet_plan_new(&plan, a->source, options, &err);
    if (status) return main_report_error(a, &err);
    const char *path = a->out ? a->out : bitnet_plan_file_name(plan);
    if (a->certificate)
        status = bitnet_certificate_possible(path, a->certificate, options->overwrite, &err);
    if (!status && !a->dry_run) {
        status = bitnet_plan_run(plan, path, &err);
        if (!status) path = bitnet_plan_published(plan);
        if (!status && a->certificate) status = write_certificate(plan, path, a->certificate, &err);
    }
    int code = 0;
    if (status)
        code = main_report_error(a, &err);
    else if (a->json)
        code = main_print_json(plan, path, a);
    else
        main_print_text(plan, path, a);
    bitnet_plan_free(plan);
    return code;
}

int main_plan_and_run(enum main_source from, struct main_arguments *a,
                      struct bitnet_convert_options *options)
{
    struct bitnet_error err = {0};
    struct bitnet_arena arena = {0};
    const struct bitnet_log log = {.say = say};
    if (!a->quiet) options->log = &log;
    enum bitnet_status status = find_source(from, a, &arena, options, &err);
    int code = status ? main_report_error(a, &err) : plan_and_run(from, a, options);
    bitnet_arena_free(&arena);
    return code;
}
