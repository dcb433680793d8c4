/* bitnet gguf VERB FILE...: looks into GGUF files. This file: the verbs and their options, and
 * `validate`. Results on standard output, talk on standard error. */
#include "../hub/main_model.h"
#include "main_gguf.h"

#include "bitnet/check.h"
#include "bitnet/version.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

#define NAME        "bitnet-gguf"
#define OPTIONS_MAX 32

/* ------------------------------------------------------------------ shared by the verbs */

static void say(void *user, enum bitnet_log_level level, const char *text)
{
    (void)user;
    if (level == BITNET_LOG_WARNING) fprintf(stderr, NAME ": warning: %s\n", text);
}

static const struct bitnet_log warnings = {.say = say};

const struct bitnet_log *call_log(const struct call *call)
{
    return call->quiet ? NULL : &warnings;
}

enum bitnet_status call_parse(struct call *call, const struct bitnet_command *command, int argc,
                              char **argv, struct bitnet_error *err)
{
    struct bitnet_buf help = {.max = 65536};
    struct bitnet_option options[OPTIONS_MAX];
    struct bitnet_command whole = *command;
    assert(command->n_options < OPTIONS_MAX);
    memcpy(options, command->options, command->n_options * sizeof *options);
    options[whole.n_options++] =
        (struct bitnet_option){"--offline",
                               NULL,
                               BITNET_OPTION_FLAG,
                               &call->offline,
                               "never ask the network (also BITNET_OFFLINE, HF_HUB_OFFLINE)",
                               0,
                               0};
    whole.options = options;
    enum bitnet_status status = bitnet_args_parse(&whole, argc, argv, call->operands,
                                                  &call->n_operands, &help, &call->is_done, err);
    if (!status && call->is_done && help.at) fputs(help.at, stdout);
    bitnet_buf_free(&help);
    return status;
}

enum bitnet_status call_open(const struct call *call, const char *path, struct bitnet_gguf **gguf,
                             struct bitnet_error *err)
{
    struct bitnet_gguf_options options = {.log = call_log(call)};
    if (call->dialect) {
        options.dialect_is_given = true;
        if (!bitnet_dialect_from_name(bitnet_str_of(call->dialect), &options.dialect))
            return bitnet_fail(err, BITNET_USAGE, "--dialect %s (allowed: ggml, bitnet.cpp, ik)",
                               BITNET_QUOTE(bitnet_str_of(call->dialect)));
    }
    struct bitnet_arena arena = {0};
    enum bitnet_status status =
        main_model_gguf(path, call->quiet, call->offline, &arena, &path, err);
    if (!status) status = bitnet_gguf_open(gguf, path, &options, err);
    bitnet_arena_free(&arena);
    return status;
}

enum bitnet_status call_flush(struct bitnet_error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return BITNET_OK;
    return bitnet_fail(err, BITNET_IO, "standard output: %s", strerror(errno));
}

/* ------------------------------------------------------------------ validate */

static const char *levels_text(const struct call *call, enum bitnet_gguf_level level)
{
    if (call->deep) return "structure, model, data";
    return level == BITNET_GGUF_LEVEL_STRUCTURE ? "structure" : "structure, model";
}

static enum bitnet_status judge(const struct call *call, enum bitnet_gguf_level level,
                                const struct bitnet_log *log, struct bitnet_error *err)
{
    struct bitnet_gguf *gguf = NULL;
    enum bitnet_status status = call_open(call, call->operands[0], &gguf, err);
    if (!status) status = bitnet_gguf_validate(gguf, level, log, err);
    if (!status && call->deep) status = bitnet_check_data(gguf, log, err);
    bitnet_gguf_close(gguf);
    return status;
}

/* Warnings become lines of the JSON list `user`. */
static void keep_warning(void *user, enum bitnet_log_level level, const char *text)
{
    if (level == BITNET_LOG_WARNING) cJSON_AddItemToArray(user, cJSON_CreateString(text));
}

cJSON *json_error(const struct bitnet_error *err)
{
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "status", bitnet_status_name(err->status));
    cJSON_AddStringToObject(item, "text", err->text);
    cJSON_AddStringToObject(item, "hint", err->hint);
    return item;
}

/* The verdict on standard output; the status is that of the file. */
static enum bitnet_status judge_json(const struct call *call, enum bitnet_gguf_level level,
                                     struct bitnet_error *err)
{
    json_begin();
    cJSON *root = cJSON_CreateObject(), *warnings_list = cJSON_CreateArray();
    const struct bitnet_log log = {.say = keep_warning, .user = warnings_list};
    enum bitnet_status status = judge(call, level, &log, err);
    cJSON_AddStringToObject(root, "schema", "bitnet-gguf-validate");
    cJSON_AddNumberToObject(root, "schema_version", 1);
    cJSON_AddStringToObject(root, "file", call->operands[0]);
    cJSON_AddStringToObject(root, "levels", levels_text(call, level));
    cJSON_AddBoolToObject(root, "ok", !status);
    cJSON_AddItemToObject(root, "warnings", warnings_list);
    cJSON_AddItemToObject(root, "error", status ? json_error(err) : cJSON_CreateNull());
    struct bitnet_error printing = {0};
    if (!json_print(root, &printing)) return status;
    *err = printing;
    return printing.status;
}

static enum bitnet_status judge_text(const struct call *call, enum bitnet_gguf_level level,
                                     struct bitnet_error *err)
{
    enum bitnet_status status = judge(call, level, call_log(call), err);
    if (!status && !call->quiet)
        printf("%s: ok (%s)\n", call->operands[0], levels_text(call, level));
    return status;
}

enum bitnet_status verb_validate(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {0};
    const struct bitnet_option options[] = {
        {"--deep", NULL, BITNET_OPTION_FLAG, &call.deep, "look at every weight too", 0, 0},
        {"--level", "LEVEL", BITNET_OPTION_TEXT, &call.level,
         "structure: the container alone; model (default): also what a model needs", 0, 0},
        {"--dialect", "NAME", BITNET_OPTION_TEXT, &call.dialect,
         "whose type numbers: ggml, bitnet.cpp or ik (default: from evidence)", 0, 0},
        {"-q, --quiet", NULL, BITNET_OPTION_FLAG, &call.quiet, "no warnings, exit code only", 0, 0},
        {"--json", NULL, BITNET_OPTION_FLAG, &call.json, "the verdict as JSON", 0, 0},
    };
    const struct bitnet_command command = {
        .name = NAME " validate",
        .synopsis = "FILE [OPTION]...",
        .summary = "Says whether a GGUF file is sound, and where it is not. Exit code 0 or 3.",
        .examples = NAME " validate model.gguf\n" NAME " validate --deep model.gguf\n" NAME
                         " validate --level structure weights-only.gguf",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .min_operands = 1,
        .max_operands = 1};
    enum bitnet_status status = call_parse(&call, &command, argc, argv, err);
    if (status || call.is_done) return status;
    bool is_structure = call.level && strcmp(call.level, "structure") == 0;
    if (call.level && !is_structure && strcmp(call.level, "model") != 0)
        return bitnet_fail(err, BITNET_USAGE, "--level %s (allowed: structure, model)",
                           BITNET_QUOTE(bitnet_str_of(call.level)));
    enum bitnet_gguf_level level =
        is_structure ? BITNET_GGUF_LEVEL_STRUCTURE : BITNET_GGUF_LEVEL_MODEL;
    status = call.json ? judge_json(&call, level, err) : judge_text(&call, level, err);
    if (status) return status;
    return call_flush(err);
}

/* ------------------------------------------------------------------ verbs */

static const struct verb {
    const char *name;
    enum bitnet_status (*run)(int argc, char **argv, struct bitnet_error *err);
    const char *summary;
} verbs[] = {
    {"show", verb_show, "what a file is: architecture, types, numbers, tokenizer"},
    {"dump", verb_dump, "all of its metadata and tensors"},
    {"validate", verb_validate, "whether it is sound, and where it is not"},
    {"diff", verb_diff, "what differs between two files"},
    {"hash", verb_hash, "one number for the weights, by bytes or by value"},
    {"verify", verb_verify, "whether it is what its certificate says"},
    {"edit", verb_edit, "the same file with other metadata"},
    {"repair", verb_repair, "the same file with its known faults mended"},
    {"split", verb_split, "one file as several"},
    {"merge", verb_merge, "several files as one"},
};

static void print_usage(FILE *out)
{
    fprintf(out, "Usage: " NAME " VERB FILE... [OPTION]...\n\nVerbs:\n");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
    fprintf(out, "\n`" NAME " VERB --help` tells more.\n");
}

int bitnet_gguf_main(int argc, char **argv)
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
        printf(NAME " %s\n", BITNET_VERSION);
        return 0;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(argv[1], verbs[i].name) != 0) continue;
        enum bitnet_status status = verbs[i].run(argc - 1, argv + 1, &err);
        return status ? bitnet_report_error(NAME, &err) : 0;
    }
    bitnet_fail(&err, BITNET_USAGE, "there is no verb %s", BITNET_QUOTE(bitnet_str_of(argv[1])));
    bitnet_hint(&err, BITNET_USAGE, "`" NAME " --help` lists them");
    return bitnet_report_error(NAME, &err);
}
