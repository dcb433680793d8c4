/* bitnet hub VERB...: repositories of models, and the cache they are kept in. This file: the verbs
 * about the cache; `pull` is in main_hub_pull.c. Results on standard output, talk on standard
 * error. */
#include "main_hub.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/version.h>

#include "../runtime/tools.h"

/* --- shared --- */

static void say(void *user, enum bitnet_log_level level, const char *text)
{
    const struct hub_tool *tool = user;
    if (level == BITNET_LOG_WARNING && !tool->quiet) fprintf(stderr, HUB_TOOL ": %s\n", text);
}

enum bitnet_status hub_tool_parse(struct hub_tool *tool, const struct bitnet_command *command,
                                  int argc, char **argv, struct bitnet_error *err)
{
    struct bitnet_buf help = {.max = 65536};
    enum bitnet_status status = bitnet_args_parse(command, argc, argv, tool->operands,
                                                  &tool->n_operands, &help, &tool->is_done, err);
    if (!status && tool->is_done && help.at) fputs(help.at, stdout);
    bitnet_buf_free(&help);
    return status;
}

static const char *look_up(void *user, const char *name)
{
    (void)user;
    return getenv(name);
}

static enum bitnet_status read_token_file(struct hub_tool *tool, struct bitnet_error *err)
{
    struct bitnet_str text;
    enum bitnet_status status = bitnet_read_file(tool->token_file, 4096, &text, err);
    if (status) return status;
    struct bitnet_str token = {text.at, strcspn(text.at, " \r\n\t")};
    tool->settings.token = bitnet_arena_copy(&tool->arena, token).at;
    tool->settings.token_source = tool->token_file;
    explicit_bzero((char *)(uintptr_t)text.at, text.n);
    bitnet_free((void *)(uintptr_t)text.at);
    return BITNET_OK;
}

enum bitnet_status hub_tool_settings(struct hub_tool *tool, struct bitnet_error *err)
{
    struct bitnet_log *log = bitnet_arena_alloc(&tool->arena, 1, sizeof *log);
    if (!log) return bitnet_fail(err, BITNET_MEMORY, "no memory for settings");
    *log = (struct bitnet_log){.say = say, .user = tool};
    enum bitnet_status status =
        bitnet_hub_settings_read(&tool->settings, &tool->arena, look_up, NULL, log, err);
    if (status && tool->cache_dir) status = BITNET_OK; /* the one thing that can be missing */
    if (status) return status;
    if (tool->cache_dir) tool->settings.cache_dir = tool->cache_dir;
    if (tool->offline) tool->settings.offline = true;
    if (tool->allow_http) tool->settings.allow_http = true;
    return tool->token_file ? read_token_file(tool, err) : BITNET_OK;
}

enum bitnet_status hub_tool_open(struct hub_tool *tool, struct bitnet_error *err)
{
    enum bitnet_status status = hub_tool_settings(tool, err);
    return status ? status : bitnet_hub_new(&tool->hub, &tool->settings, err);
}

void hub_tool_close(struct hub_tool *tool)
{
    bitnet_hub_free(tool->hub);
    if (tool->settings.token)
        explicit_bzero((char *)(uintptr_t)tool->settings.token, strlen(tool->settings.token));
    bitnet_arena_free(&tool->arena);
}

enum bitnet_status hub_tool_ref(const struct hub_tool *tool, size_t i, struct bitnet_hub_ref *ref,
                                bool *has_revision, struct bitnet_error *err)
{
    enum bitnet_status status = bitnet_hub_ref_parse(ref, bitnet_str_of(tool->operands[i]), err);
    *has_revision = strchr(tool->operands[i], '@') != NULL || tool->revision;
    if (status || !tool->revision) return status;
    if (strchr(tool->operands[i], '@'))
        return bitnet_fail(err, BITNET_USAGE, "a revision is given twice, as @... and --revision");
    char text[BITNET_HUB_REPO_MAX + BITNET_HUB_REVISION_MAX + 2];
    struct bitnet_hub_ref checked;
    if (strlen(tool->revision) > BITNET_HUB_REVISION_MAX)
        return bitnet_fail(err, BITNET_USAGE, "--revision is too long");
    snprintf(text, sizeof text, "%s@%s", ref->repo, tool->revision);
    status = bitnet_hub_ref_parse(&checked, bitnet_str_of(text), err);
    if (!status) memcpy(ref->revision, checked.revision, sizeof ref->revision);
    return status;
}

const char *hub_tool_bytes(char out[32], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

void hub_tool_json_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

enum bitnet_status hub_tool_flush(struct bitnet_error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return BITNET_OK;
    return bitnet_fail(err, BITNET_IO, "standard output: %s", strerror(errno));
}

/* --- ls, show, du --- */

static const char *const types[] = {"model", "dataset", "space", "kernel"};

static void print_revision_json(const struct bitnet_hub_revision *r, bool first)
{
    printf("%s{\"commit\":\"%s\",\"refs\":[", first ? "" : ",", r->commit);
    for (size_t i = 0; i < r->n_refs; i++) {
        if (i) putchar(',');
        hub_tool_json_text(stdout, r->refs[i]);
    }
    printf("],\"files\":%zu,\"bytes\":%" PRIu64 ",\"modified\":%" PRId64 "}", r->n_files, r->bytes,
           r->modified);
}

static void print_repo_json(const struct bitnet_hub_cached_repo *r, bool first)
{
    printf("%s{\"type\":\"%s\",\"repo\":\"%s\",\"path\":", first ? "" : ",", types[r->type],
           r->repo);
    hub_tool_json_text(stdout, r->path);
    printf(",\"bytes\":%" PRIu64 ",\"partial_bytes\":%" PRIu64 ",\"partials\":%zu,\"problem\":",
           r->bytes, r->partial_bytes, r->n_partials);
    if (r->problem)
        hub_tool_json_text(stdout, r->problem);
    else
        printf("null");
    printf(",\"revisions\":[");
    for (size_t i = 0; i < r->n_revisions; i++) print_revision_json(&r->revisions[i], i == 0);
    printf("]}");
}

static void print_revision(const struct bitnet_hub_revision *r)
{
    char bytes[32], when[32] = "";
    time_t modified = (time_t)r->modified;
    struct tm tm;
    if (gmtime_r(&modified, &tm)) strftime(when, sizeof when, "%Y-%m-%d", &tm);
    printf("  %.12s  %10s  %3zu files  %s ", r->commit, hub_tool_bytes(bytes, r->bytes), r->n_files,
           when);
    for (size_t i = 0; i < r->n_refs; i++) printf(" %s", r->refs[i]);
    putchar('\n');
}

static void print_repo(const struct bitnet_hub_cached_repo *r, bool detail)
{
    char bytes[32], partial[32];
    printf("%-44s %10s  %zu revision%s%s%s", r->repo, hub_tool_bytes(bytes, r->bytes),
           r->n_revisions, r->n_revisions == 1 ? "" : "s", r->type == BITNET_HUB_MODEL ? "" : "  ",
           r->type == BITNET_HUB_MODEL ? "" : types[r->type]);
    if (r->n_partials > 0)
        printf("  (%zu unfinished, %s)", r->n_partials, hub_tool_bytes(partial, r->partial_bytes));
    putchar('\n');
    if (r->problem) printf("  not in order: %s\n", r->problem);
    for (size_t i = 0; detail && i < r->n_revisions; i++) print_revision(&r->revisions[i]);
    if (detail) printf("  %s\n", r->path);
}

static enum bitnet_status list(struct hub_tool *tool, const struct bitnet_hub_ref *only,
                               bool totals, struct bitnet_error *err)
{
    struct bitnet_hub_cache cache;
    char bytes[32], partial[32];
    size_t n = 0;
    enum bitnet_status status = bitnet_hub_scan(tool->hub, &cache, err);
    if (status) return status;
    if (tool->json) printf("{\"schema\":1,\"repos\":[");
    for (size_t i = 0; i < cache.n_repos; i++) {
        const struct bitnet_hub_cached_repo *r = &cache.repos[i];
        if (only && (strcmp(r->repo, only->repo) != 0 || r->type != only->type)) continue;
        if (tool->json)
            print_repo_json(r, n == 0);
        else if (!totals)
            print_repo(r, only != NULL);
        n++;
    }
    if (tool->json)
        printf("],\"bytes\":%" PRIu64 ",\"partial_bytes\":%" PRIu64 "}\n", cache.bytes,
               cache.partial_bytes);
    else if (totals)
        printf("%s in %zu repositories, %s of unfinished downloads\n",
               hub_tool_bytes(bytes, cache.bytes), cache.n_repos,
               hub_tool_bytes(partial, cache.partial_bytes));
    bitnet_hub_cache_free(&cache);
    if (only && n == 0)
        return bitnet_fail(err, BITNET_NOT_FOUND, "'%s' is not in the cache", only->repo);
    return hub_tool_flush(err);
}

/* One table row is enough for the verbs that take nothing but a repository. */
static enum bitnet_status simple(struct hub_tool *tool, const char *verb, const char *synopsis,
                                 const char *summary, size_t min_operands, size_t max_operands,
                                 int argc, char **argv, struct bitnet_error *err)
{
    char name[64];
    const struct bitnet_option options[] = {
        HUB_TOOL_OPTIONS(*tool),
        {"--revision", "REV", BITNET_OPTION_TEXT, &tool->revision, "branch, tag or commit", 0, 0},
    };
    snprintf(name, sizeof name, HUB_TOOL " %s", verb);
    const struct bitnet_command command = {.name = name,
                                           .synopsis = synopsis,
                                           .summary = summary,
                                           .examples = "",
                                           .options = options,
                                           .n_options = sizeof options / sizeof options[0],
                                           .min_operands = min_operands,
                                           .max_operands = max_operands};
    enum bitnet_status status = hub_tool_parse(tool, &command, argc, argv, err);
    tool->settings.offline = true;
    if (!status && !tool->is_done) status = hub_tool_open(tool, err);
    return status;
}

static enum bitnet_status verb_ls(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {.offline = true};
    enum bitnet_status status =
        simple(&tool, "ls", "[OPTION]...", "Lists what is in the cache.", 0, 0, argc, argv, err);
    if (!status && !tool.is_done) status = list(&tool, NULL, false, err);
    hub_tool_close(&tool);
    return status;
}

static enum bitnet_status verb_du(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {.offline = true};
    enum bitnet_status status =
        simple(&tool, "du", "[OPTION]...", "Says how much the cache takes.", 0, 0, argc, argv, err);
    if (!status && !tool.is_done) status = list(&tool, NULL, true, err);
    hub_tool_close(&tool);
    return status;
}

static enum bitnet_status verb_show(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {.offline = true};
    struct bitnet_hub_ref ref;
    bool has_revision;
    enum bitnet_status status =
        simple(&tool, "show", "REPO [OPTION]...", "Shows a cached repository with its revisions.",
               1, 1, argc, argv, err);
    if (!status && !tool.is_done) status = hub_tool_ref(&tool, 0, &ref, &has_revision, err);
    if (!status && !tool.is_done) status = list(&tool, &ref, false, err);
    hub_tool_close(&tool);
    return status;
}

static enum bitnet_status verb_path(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {.offline = true};
    struct bitnet_hub_ref ref;
    const char *path = NULL;
    bool has_revision;
    enum bitnet_status status =
        simple(&tool, "path", "REPO[@REV] [FILE] [OPTION]...",
               "Prints where a cached revision, or a file of it, lies.", 1, 2, argc, argv, err);
    if (!status && !tool.is_done) status = hub_tool_ref(&tool, 0, &ref, &has_revision, err);
    if (!status && tool.n_operands == 2) {
        if (strlen(tool.operands[1]) >= sizeof ref.file)
            status = bitnet_fail(err, BITNET_USAGE, "the file's name is too long");
        else
            memcpy(ref.file, tool.operands[1], strlen(tool.operands[1]) + 1);
    }
    if (!status && !tool.is_done) status = bitnet_hub_path(tool.hub, &ref, &tool.arena, &path, err);
    if (!status && path) {
        if (tool.json) hub_tool_json_text(stdout, path);
        printf("%s\n", tool.json ? "" : path);
        status = hub_tool_flush(err);
    }
    hub_tool_close(&tool);
    return status;
}

/* --- verify --- */

struct verify_talk {
    struct hub_tool *tool;
    uint64_t bytes;
    size_t n_good, n_bad, n_missing, n_unknown;
};

static bool tell_finding(void *user, const struct bitnet_hub_finding *f)
{
    static const char *const words[] = {"ok", "stamped", "damaged", "missing", "unknown"};
    struct verify_talk *t = user;
    bool is_good = f->kind == BITNET_HUB_FINDING_OK || f->kind == BITNET_HUB_FINDING_STAMPED;
    t->n_good += is_good;
    t->n_bad += f->kind == BITNET_HUB_FINDING_DAMAGED;
    t->n_missing += f->kind == BITNET_HUB_FINDING_MISSING;
    t->n_unknown += f->kind == BITNET_HUB_FINDING_UNKNOWN;
    if (f->kind == BITNET_HUB_FINDING_OK) t->bytes += f->size;
    if (t->tool->json) {
        printf("{\"repo\":\"%s\",\"commit\":\"%s\",\"file\":", f->repo, f->commit);
        hub_tool_json_text(stdout, f->file);
        printf(",\"state\":\"%s\",\"expected\":\"%s\",\"got\":\"%s\",\"bytes\":%" PRIu64 "}\n",
               words[f->kind], f->expected, f->got, f->size);
    } else if (f->kind == BITNET_HUB_FINDING_DAMAGED)
        printf("%s@%.12s %s: damaged (expected %s, got %s)\n", f->repo, f->commit,
               BITNET_QUOTE(bitnet_str_of(f->file)), f->expected, f->got[0] ? f->got : "nothing");
    else if (f->kind == BITNET_HUB_FINDING_UNKNOWN && !t->tool->quiet)
        printf("%s@%.12s %s: nothing says what it should be\n", f->repo, f->commit,
               BITNET_QUOTE(bitnet_str_of(f->file)));
    return true;
}

static enum bitnet_status verb_verify(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {.offline = true};
    struct verify_talk talk = {.tool = &tool};
    struct bitnet_hub_verify_options v = {.finding = tell_finding, .user = &talk};
    struct bitnet_hub_ref ref;
    bool has_revision;
    const struct bitnet_option options[] = {
        HUB_TOOL_OPTIONS(tool),
        {"--rehash", NULL, BITNET_OPTION_FLAG, &v.rehash,
         "read every byte again, also of files unchanged since they were last hashed", 0, 0},
        {"--repair", NULL, BITNET_OPTION_FLAG, &v.remove_damaged,
         "remove damaged files, so that the next pull fetches just these", 0, 0},
        {"--complete", NULL, BITNET_OPTION_FLAG, &v.require_all,
         "files of the commit that were never pulled count as failures", 0, 0},
    };
    const struct bitnet_command command = {
        .name = HUB_TOOL " verify",
        .synopsis = "[REPO] [OPTION]...",
        .summary = "Hashes what is in the cache and compares. No network. Exit code 0 or 6.",
        .examples = HUB_TOOL " verify\n" HUB_TOOL " verify --rehash user/model\n" HUB_TOOL
                             " verify --repair user/model && " HUB_TOOL " pull user/model",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .max_operands = 1};
    enum bitnet_status status = hub_tool_parse(&tool, &command, argc, argv, err);
    if (!status && !tool.is_done) status = hub_tool_open(&tool, err);
    if (!status && tool.n_operands == 1) status = hub_tool_ref(&tool, 0, &ref, &has_revision, err);
    if (!status && !tool.is_done) {
        status = bitnet_hub_verify(tool.hub, tool.n_operands ? &ref : NULL, &v, err);
        char bytes[32];
        if (!tool.json && !tool.quiet && (!status || status == BITNET_INTEGRITY))
            printf("%zu good, %zu damaged, %zu not pulled, %zu unknown; %s hashed\n", talk.n_good,
                   talk.n_bad, talk.n_missing, talk.n_unknown, hub_tool_bytes(bytes, talk.bytes));
        if (!status) status = hub_tool_flush(err);
    }
    hub_tool_close(&tool);
    return status;
}

/* --- rm, prune --- */

static enum bitnet_status tell_freed(const struct hub_tool *tool, bool dry_run,
                                     const struct bitnet_hub_freed *f, struct bitnet_error *err)
{
    char bytes[32];
    if (tool->json)
        printf("{\"dry_run\":%s,\"bytes\":%" PRIu64
               ",\"revisions\":%zu,\"blobs\":%zu,\"partials\":%zu}\n",
               dry_run ? "true" : "false", f->bytes, f->n_revisions, f->n_blobs, f->n_partials);
    else if (!tool->quiet)
        printf("%s %s: %zu revision%s, %zu blob%s, %zu unfinished download%s\n",
               dry_run ? "would free" : "freed", hub_tool_bytes(bytes, f->bytes), f->n_revisions,
               f->n_revisions == 1 ? "" : "s", f->n_blobs, f->n_blobs == 1 ? "" : "s",
               f->n_partials, f->n_partials == 1 ? "" : "s");
    return hub_tool_flush(err);
}

static enum bitnet_status parse_removal(struct hub_tool *tool, bool *dry_run, const char *name,
                                        const char *synopsis, const char *summary,
                                        size_t n_operands, int argc, char **argv,
                                        struct bitnet_error *err)
{
    const struct bitnet_option options[] = {
        HUB_TOOL_OPTIONS(*tool),
        {"--revision", "REV", BITNET_OPTION_TEXT, &tool->revision, "branch, tag or commit", 0, 0},
        {"--dry-run", NULL, BITNET_OPTION_FLAG, dry_run, "only say what would be freed", 0, 0},
    };
    const struct bitnet_command command = {.name = name,
                                           .synopsis = synopsis,
                                           .summary = summary,
                                           .examples = "",
                                           .options = options,
                                           .n_options = sizeof options / sizeof options[0],
                                           .min_operands = n_operands,
                                           .max_operands = n_operands};
    enum bitnet_status status = hub_tool_parse(tool, &command, argc, argv, err);
    return status || tool->is_done ? status : hub_tool_open(tool, err);
}

static enum bitnet_status verb_rm(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {.offline = true};
    struct bitnet_hub_freed freed;
    struct bitnet_hub_ref ref;
    bool dry_run = false, has_revision = false;
    enum bitnet_status status = parse_removal(
        &tool, &dry_run, HUB_TOOL " rm", "REPO[@REV] [OPTION]...",
        "Removes a cached repository, or one revision of it. What another revision uses stays.", 1,
        argc, argv, err);
    if (!status && !tool.is_done) status = hub_tool_ref(&tool, 0, &ref, &has_revision, err);
    if (!status && !tool.is_done) {
        status = bitnet_hub_remove(tool.hub, &ref, has_revision, dry_run, &freed, err);
        if (!status) status = tell_freed(&tool, dry_run, &freed, err);
    }
    hub_tool_close(&tool);
    return status;
}

static enum bitnet_status verb_prune(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {.offline = true};
    struct bitnet_hub_freed freed;
    bool dry_run = false;
    enum bitnet_status status =
        parse_removal(&tool, &dry_run, HUB_TOOL " prune", "[OPTION]...",
                      "Removes revisions that no branch names, blobs that no revision uses, and "
                      "unfinished downloads of dead processes.",
                      0, argc, argv, err);
    if (!status && !tool.is_done) {
        status = bitnet_hub_prune(tool.hub, dry_run, &freed, err);
        if (!status) status = tell_freed(&tool, dry_run, &freed, err);
    }
    hub_tool_close(&tool);
    return status;
}

/* --- export, import --- */

static enum bitnet_status verb_export(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {.offline = true};
    struct bitnet_hub_ref ref;
    bool force = false, has_revision;
    const struct bitnet_option options[] = {
        HUB_TOOL_OPTIONS(tool),
        {"--revision", "REV", BITNET_OPTION_TEXT, &tool.revision, "branch, tag or commit", 0, 0},
        {"--force", NULL, BITNET_OPTION_FLAG, &force, "replace FILE if it is there", 0, 0},
    };
    const struct bitnet_command command = {
        .name = HUB_TOOL " export",
        .synopsis = "REPO[@REV] FILE.tar.zst [OPTION]...",
        .summary = "Writes a cached revision into one file, for a machine without a network.",
        .examples = HUB_TOOL " export user/model model.tar.zst\n" HUB_TOOL
                             " import model.tar.zst        (there)\n" HUB_TOOL
                             " pull --offline user/model   (there)",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .min_operands = 2,
        .max_operands = 2};
    enum bitnet_status status = hub_tool_parse(&tool, &command, argc, argv, err);
    if (!status && !tool.is_done) status = hub_tool_open(&tool, err);
    if (!status && !tool.is_done) status = hub_tool_ref(&tool, 0, &ref, &has_revision, err);
    if (!status && !tool.is_done)
        status = bitnet_hub_export(tool.hub, &ref, tool.operands[1], force, err);
    hub_tool_close(&tool);
    return status;
}

static enum bitnet_status verb_import(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {.offline = true};
    struct bitnet_hub_ref ref;
    enum bitnet_status status =
        simple(&tool, "import", "FILE.tar.zst [OPTION]...",
               "Reads a bundle into the cache; every byte is verified before it gets its name.", 1,
               1, argc, argv, err);
    if (!status && !tool.is_done) {
        status = bitnet_hub_import(tool.hub, tool.operands[0], &ref, err);
        if (!status) printf("%s@%s\n", ref.repo, ref.revision);
        if (!status) status = hub_tool_flush(err);
    }
    hub_tool_close(&tool);
    return status;
}

/* --- doctor --- */

static void print_sign(void *user, enum bitnet_hub_sign sign, const char *what, const char *words)
{
    static const char *const signs[] = {"good", "odd", "bad"};
    const struct hub_tool *tool = user;
    if (tool->json) {
        printf("{\"sign\":\"%s\",\"what\":\"%s\",\"words\":", signs[sign], what);
        hub_tool_json_text(stdout, words);
        printf("}\n");
    } else
        printf("%-4s  %-12s  %s\n", signs[sign], what, words);
}

static enum bitnet_status verb_doctor(int argc, char **argv, struct bitnet_error *err)
{
    struct hub_tool tool = {0};
    struct bitnet_hub_ref ref;
    bool has_revision;
    const struct bitnet_option options[] = {
        HUB_TOOL_OPTIONS(tool),
        {"--revision", "REV", BITNET_OPTION_TEXT, &tool.revision, "branch, tag or commit", 0, 0},
        {"--offline", NULL, BITNET_OPTION_FLAG, &tool.offline, "do not ask the network", 0, 0},
        {"--token-file", "FILE", BITNET_OPTION_TEXT, &tool.token_file, "the access token", 0, 0},
        {"--allow-http", NULL, BITNET_OPTION_FLAG, &tool.allow_http,
         "an endpoint without encryption beyond this machine", 0, 0},
    };
    const struct bitnet_command command = {
        .name = HUB_TOOL " doctor",
        .synopsis = "[REPO] [OPTION]...",
        .summary = "Tries everything that a pull needs, and says what is in its way: the cache's "
                   "folder, the token, the endpoint; with REPO every host on the way to its files.",
        .examples = HUB_TOOL " doctor\n" HUB_TOOL " doctor microsoft/bitnet-b1.58-2B-4T",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .max_operands = 1};
    enum bitnet_status status = hub_tool_parse(&tool, &command, argc, argv, err);
    if (!status && !tool.is_done) status = hub_tool_open(&tool, err);
    if (!status && tool.n_operands == 1) status = hub_tool_ref(&tool, 0, &ref, &has_revision, err);
    if (!status && !tool.is_done)
        status = bitnet_hub_doctor(tool.hub, tool.n_operands ? &ref : NULL, print_sign, &tool, err);
    hub_tool_close(&tool);
    return status;
}

/* --- verbs --- */

static const struct verb {
    const char *name;
    enum bitnet_status (*run)(int argc, char **argv, struct bitnet_error *err);
    const char *summary;
} verbs[] = {
    {"pull", hub_tool_pull, "fetch a repository, or files of it, verified, into the cache"},
    {"ls", verb_ls, "what is in the cache"},
    {"show", verb_show, "one cached repository, with its revisions"},
    {"path", verb_path, "where a cached revision or file lies"},
    {"verify", verb_verify, "whether everything in the cache is what it should be"},
    {"rm", verb_rm, "remove a repository or a revision"},
    {"prune", verb_prune, "remove what nothing refers to"},
    {"du", verb_du, "how much the cache takes"},
    {"export", verb_export, "a cached revision as one file"},
    {"import", verb_import, "such a file into the cache"},
    {"doctor", verb_doctor, "what is in the way of a pull"},
};

static void print_usage(FILE *out)
{
    fprintf(out, "Usage: " HUB_TOOL " VERB [OPTION]...\n\nVerbs:\n");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    fprintf(out, "\n`" HUB_TOOL " VERB --help` tells more.\n\n"
                 "Exit codes: 0 done, 2 wrong call, 3 malformed or over a limit, 4 not found,\n"
                 "5 network, 6 hash or size differs, 7 disk, 8 memory, 9 busy, 10 authorization,\n"
                 "11 offline and not cached, 12 refused by policy, 130 interrupted.\n");
}

int bitnet_hub_main(int argc, char **argv)
{
    struct bitnet_error err = {0};
    if (argc < 2) {
        print_usage(stderr);
        return bitnet_status_exit_code(BITNET_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf(HUB_TOOL " %s\n", BITNET_VERSION);
        return 0;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(argv[1], verbs[i].name) != 0) continue;
        enum bitnet_status status = verbs[i].run(argc - 1, argv + 1, &err);
        return status ? bitnet_report_error(HUB_TOOL, &err) : 0;
    }
    bitnet_fail(&err, BITNET_USAGE, "there is no verb %s", BITNET_QUOTE(bitnet_str_of(argv[1])));
    bitnet_hint(&err, BITNET_USAGE, "`" HUB_TOOL " --help` lists them");
    return bitnet_report_error(HUB_TOOL, &err);
}
