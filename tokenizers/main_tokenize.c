/* bitnet tokenize: text -> token ids, and back; and which tokenizer a model has. MODEL is a GGUF
 * file, a model folder, a tokenizer's own file, or a repository. Results on standard output, talk
 * on standard error. */
#include "main_find.h"

#include "../runtime/tools.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#define NAME      "bitnet-tokenize"
#define MAX_INPUT ((size_t)1 << 30)

struct call {
    const char *model, *prompt, *file, *decode, *export;
    bool from_stdin, ids, pieces, json, count, no_bos, parse_special, explain, force;
    struct finder finder;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_str text;
    struct bitnet_tokens tokens;
};

static void say(void *user, enum bitnet_log_level level, const char *text)
{
    (void)user;
    if (level == BITNET_LOG_WARNING) fprintf(stderr, NAME ": warning: %s\n", text);
}

static const struct bitnet_log warnings = {.say = say};

/* ------------------------------------------------------------------ the text */

static enum bitnet_status read_stdin(struct bitnet_str *text, struct bitnet_error *err)
{
    struct bitnet_buf buf = {.max = MAX_INPUT};
    char chunk[65536];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        if (!bitnet_buf_add(&buf, chunk, n))
            return bitnet_fail(err, BITNET_LIMIT, "standard input exceeds %zu bytes", MAX_INPUT);
    if (ferror(stdin)) {
        bitnet_buf_free(&buf);
        return bitnet_fail(err, BITNET_IO, "standard input: %s", strerror(errno));
    }
    *text = (struct bitnet_str){buf.at, buf.n};
    return BITNET_OK;
}

static enum bitnet_status read_text(const char *path, struct bitnet_str *text,
                                    struct bitnet_error *err)
{
    enum bitnet_status status = bitnet_read_file(path, MAX_INPUT, text, err);
    if (status == BITNET_IO && !bitnet_path_is_dir(path))
        bitnet_hint(err, status, "--stdin reads from a pipe");
    return status;
}

static enum bitnet_status read_input(struct call *call, struct bitnet_error *err)
{
    int n_sources =
        (call->prompt != NULL) + (call->file != NULL) + call->from_stdin + (call->decode != NULL);
    if ((call->explain || call->export) && n_sources == 0) return BITNET_OK;
    if (call->export)
        return bitnet_fail(err, BITNET_USAGE,
                           "--export takes no text: leave out -p, -f, --stdin and --decode");
    if (call->explain)
        return bitnet_fail(err, BITNET_USAGE,
                           "--explain takes no text: leave out -p, -f, --stdin "
                           "and --decode");
    if (n_sources != 1)
        return bitnet_fail(err, BITNET_USAGE, "give one of -p, -f, --stdin, --decode");
    if (call->file) return read_text(call->file, &call->text, err);
    if (call->from_stdin) return read_stdin(&call->text, err);
    if (!call->prompt) return BITNET_OK;
    struct bitnet_buf copy = {.max = MAX_INPUT};
    if (!bitnet_buf_add_str(&copy, bitnet_str_of(call->prompt)))
        return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    call->text = (struct bitnet_str){copy.at, copy.n};
    return BITNET_OK;
}

/* ------------------------------------------------------------------ results */

/* "1,2 3": ids with commas, spaces or brackets between them. */
static enum bitnet_status parse_ids(struct call *call, struct bitnet_error *err)
{
    const char *at = call->decode;
    while (*at) {
        size_t n = strcspn(at, " ,[]\n\t");
        uint64_t id;
        if (n && (!bitnet_parse_u64((struct bitnet_str){at, n}, &id) || id > INT32_MAX ||
                  id >= bitnet_tokenizer_size(call->tokenizer))) {
            bitnet_fail(err, BITNET_USAGE, "--decode: %s is no token id",
                        BITNET_QUOTE(((struct bitnet_str){at, n})));
            return bitnet_hint(err, BITNET_USAGE, "this vocabulary has ids 0 to %zu",
                               bitnet_tokenizer_size(call->tokenizer) - 1);
        }
        if (n && !bitnet_tokens_add(&call->tokens, (int32_t)id))
            return bitnet_fail(err, BITNET_MEMORY, "out of memory");
        at += n + (at[n] != '\0');
    }
    return BITNET_OK;
}

static enum bitnet_status print_text(struct call *call, struct bitnet_error *err)
{
    struct bitnet_buf out = {.max = SIZE_MAX / 2};
    enum bitnet_status status = parse_ids(call, err);
    if (!status)
        status = bitnet_detokenize(call->tokenizer, call->tokens.at, call->tokens.n,
                                   call->parse_special, &out, err);
    if (!status && out.n) fwrite(out.at, 1, out.n, stdout);
    if (!status) putchar('\n');
    bitnet_buf_free(&out);
    return status;
}

static bool piece_of(const struct call *call, size_t i, struct bitnet_buf *piece)
{
    piece->n = 0;
    return bitnet_token_piece(call->tokenizer, call->tokens.at[i], true, piece);
}

static enum bitnet_status print_pieces(const struct call *call, struct bitnet_error *err)
{
    struct bitnet_buf piece = {.max = (size_t)1 << 20};
    bool ok = true;
    for (size_t i = 0; i < call->tokens.n && ok; i++) {
        ok = piece_of(call, i, &piece);
        if (ok)
            printf("%7d  %s\n", (int)call->tokens.at[i],
                   BITNET_QUOTE(((struct bitnet_str){piece.at, piece.n})));
    }
    bitnet_buf_free(&piece);
    return ok ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

/* A piece may end inside a character, so its bytes are printed in hexadecimal too. */
static cJSON *json_token(const struct call *call, size_t i, struct bitnet_buf *piece)
{
    cJSON *token = cJSON_CreateObject();
    struct bitnet_buf hex = {.max = (size_t)1 << 21};
    bool ok = token && piece_of(call, i, piece);
    for (size_t k = 0; k < piece->n && ok; k++)
        ok = bitnet_buf_printf(&hex, "%02x", (unsigned)(uint8_t)piece->at[k]);
    ok = ok && cJSON_AddNumberToObject(token, "id", call->tokens.at[i]) &&
         cJSON_AddStringToObject(token, "hex", hex.at ? hex.at : "");
    if (ok && bitnet_utf8_valid((struct bitnet_str){piece->at, piece->n}) &&
        !(piece->n && memchr(piece->at, 0, piece->n)))
        ok = cJSON_AddStringToObject(token, "text", piece->n ? piece->at : "") != NULL;
    bitnet_buf_free(&hex);
    if (ok) return token;
    cJSON_Delete(token);
    return NULL;
}

static enum bitnet_status print_json(const struct call *call, struct bitnet_error *err)
{
    struct bitnet_buf piece = {.max = (size_t)1 << 20};
    cJSON *list = cJSON_CreateArray();
    bool ok = list != NULL;
    for (size_t i = 0; i < call->tokens.n && ok; i++) {
        cJSON *token = json_token(call, i, &piece);
        ok = token && cJSON_AddItemToArray(list, token);
    }
    char *text = ok ? cJSON_Print(list) : NULL;
    if (text) puts(text);
    ok = text != NULL;
    cJSON_free(text);
    cJSON_Delete(list);
    bitnet_buf_free(&piece);
    return ok ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

static enum bitnet_status print_tokens(struct call *call, struct bitnet_error *err)
{
    struct bitnet_tokenize_options options = {.no_special = call->no_bos,
                                              .parse_special = call->parse_special};
    enum bitnet_status status =
        bitnet_tokenize(call->tokenizer, call->text, &options, &call->tokens, err);
    if (status) return status;
    if (call->count) {
        printf("%zu\n", call->tokens.n);
        return BITNET_OK;
    }
    if (call->json) return print_json(call, err);
    if (call->pieces) return print_pieces(call, err);
    for (size_t i = 0; i < call->tokens.n; i++) printf(i ? " %d" : "%d", (int)call->tokens.at[i]);
    putchar('\n');
    return BITNET_OK;
}

/* ------------------------------------------------------------------ the call */

static enum bitnet_status check_call(const struct call *call, struct bitnet_error *err)
{
    if (!call->model)
        return bitnet_hint(
            err, bitnet_fail(err, BITNET_USAGE, "no model given"),
            "-m MODEL, a GGUF file, a model folder, a tokenizer's file, or user/name");
    if (call->ids + call->pieces + call->json + call->count > 1)
        return bitnet_fail(err, BITNET_USAGE,
                           "--ids, --pieces, --json and --count exclude each other");
    if (call->explain && (call->ids || call->pieces || call->count))
        return bitnet_fail(err, BITNET_USAGE, "--explain prints text, or with --json JSON");
    if (call->export && (call->ids || call->pieces || call->json || call->count || call->explain))
        return bitnet_fail(err, BITNET_USAGE, "--export prints nothing: it writes a file");
    if (call->force && !call->export)
        return bitnet_fail(err, BITNET_USAGE, "--force is about the file of --export");
    if (call->decode && (call->ids || call->pieces || call->json || call->count))
        return bitnet_fail(err, BITNET_USAGE, "--decode prints text");
    return BITNET_OK;
}

static enum bitnet_status find_tokenizer(struct call *call, struct bitnet_error *err)
{
    struct bitnet_discovery_model model;
    enum bitnet_status status =
        finder_open(&call->finder, call->finder.is_quiet ? NULL : &warnings, err);
    if (!status) status = finder_model(&call->finder, call->model, &model, err);
    return status ? status : finder_find(&call->finder, &model, &call->tokenizer, err);
}

/* The decision is told on standard output even when there is none: that is what was asked for. */
static enum bitnet_status explain(struct call *call, enum bitnet_status found,
                                  struct bitnet_error *err)
{
    const struct bitnet_discovery *record = &call->finder.record;
    if (found && !record->n_attempts) return found;
    if (!call->json) {
        finder_print(stdout, record, call->tokenizer);
        return found;
    }
    if (finder_print_json(stdout, record, call->tokenizer)) return found;
    return bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

/* A file that is there already is not written over. */
static enum bitnet_status export_tokenizer(const struct call *call, struct bitnet_error *err)
{
    struct bitnet_buf json = {.max = (size_t)1 << 30};
    struct bitnet_output *out = NULL;
    enum bitnet_status status = bitnet_tokenizer_export_json(call->tokenizer, &json, err);
    if (!status)
        status =
            bitnet_output_begin(&out, call->export, json.n,
                                call->force ? BITNET_REPLACE_EXISTING : BITNET_KEEP_EXISTING, err);
    if (!status) status = bitnet_output_write(out, json.at, json.n, err);
    if (!status)
        status = bitnet_output_finish(out, err);
    else
        bitnet_output_abort(out);
    bitnet_buf_free(&json);
    return status;
}

static enum bitnet_status run(struct call *call, struct bitnet_error *err)
{
    enum bitnet_status status = check_call(call, err);
    if (!status) status = read_input(call, err);
    if (status) return status;
    status = find_tokenizer(call, err);
    if (call->explain)
        status = explain(call, status, err);
    else if (!status && call->export)
        status = export_tokenizer(call, err);
    else if (!status)
        status = call->decode ? print_text(call, err) : print_tokens(call, err);
    if (!status && (fflush(stdout) != 0 || ferror(stdout)))
        status = bitnet_fail(err, BITNET_IO, "standard output: %s", strerror(errno));
    return status;
}

int bitnet_tokenize_main(int argc, char **argv)
{
    struct call call = {.finder = {.tool = NAME}};
    /* clang-format off */
    const struct bitnet_option options[] = {
        {"-m, --model", "MODEL", BITNET_OPTION_TEXT, &call.model,
         "a GGUF file, a model folder, a tokenizer's own file, or a repository (user/name)", 0, 0},
        {"-p, --prompt", "TEXT", BITNET_OPTION_TEXT, &call.prompt, "the text", 0, 0},
        {"-f, --file", "FILE", BITNET_OPTION_TEXT, &call.file, "read the text from a file", 0, 0},
        {"--stdin", NULL, BITNET_OPTION_FLAG, &call.from_stdin,
         "read the text from standard input", 0, 0},
        {"--decode", "IDS", BITNET_OPTION_TEXT, &call.decode,
         "print the text of these ids (with --parse-special: control tokens too)", 0, 0},
        {"--ids", NULL, BITNET_OPTION_FLAG, &call.ids, "print ids on one line (the default)", 0, 0},
        {"--pieces", NULL, BITNET_OPTION_FLAG, &call.pieces,
         "print a line per token: id and text", 0, 0},
        {"--json", NULL, BITNET_OPTION_FLAG, &call.json, "print a list of {id, hex, text}", 0, 0},
        {"--count", NULL, BITNET_OPTION_FLAG, &call.count, "print the number of tokens", 0, 0},
        {"--no-bos", NULL, BITNET_OPTION_FLAG, &call.no_bos,
         "add no token at the beginning or the end", 0, 0},
        {"--parse-special", NULL, BITNET_OPTION_FLAG, &call.parse_special,
         "text that spells a control token becomes that token", 0, 0},
        {"--explain", NULL, BITNET_OPTION_FLAG, &call.explain,
         "print which tokenizer is taken, and why (with --json: as JSON)", 0, 0},
        {"--export", "FILE", BITNET_OPTION_TEXT, &call.export,
         "write a tokenizer.json that Hugging Face tokenizers load with equal ids", 0, 0},
        {"--force", NULL, BITNET_OPTION_FLAG, &call.force,
         "with --export: replace an existing file", 0, 0},
        FINDER_OPTIONS(&call.finder),
        {"-q, --quiet", NULL, BITNET_OPTION_FLAG, &call.finder.is_quiet, "no warnings", 0, 0},
    };
    /* clang-format on */
    const struct bitnet_command command = {
        .name = NAME,
        .synopsis = "-m MODEL [-p TEXT | -f FILE | --stdin | --decode IDS | --explain] [OPTION]...",
        .summary = "Text to token ids and back. A GGUF is tokenized as llama.cpp does, a "
                   "tokenizer.json as Hugging Face tokenizers do.",
        .examples = "bitnet tokenize -m model.gguf -p \"Hello world\"\n"
                    "bitnet tokenize -m model.gguf -f text.txt --count\n"
                    "bitnet tokenize -m model-folder --decode \"9906 1917\"\n"
                    "bitnet tokenize -m model.gguf --explain\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
    };
    struct bitnet_buf help = {.max = 65536};
    struct bitnet_error err = {0};
    size_t n_operands = 0;
    bool done = false;
    enum bitnet_status status =
        bitnet_args_parse(&command, argc, argv, NULL, &n_operands, &help, &done, &err);
    if (!status && done && help.at) fputs(help.at, stdout);
    bitnet_buf_free(&help);
    if (!status && !done) status = run(&call, &err);
    bitnet_tokens_free(&call.tokens);
    bitnet_free((void *)(uintptr_t)call.text.at);
    bitnet_tokenizer_free(call.tokenizer);
    finder_close(&call.finder);
    return status ? bitnet_report_error(NAME, &err) : 0;
}
