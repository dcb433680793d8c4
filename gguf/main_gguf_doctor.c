/* bitnet gguf diff, hash, edit, split and merge: each parses its options, calls one function of the
 * library, and prints. */
#include "main_gguf.h"

#include "bitnet/doctor.h"
#include "bitnet/logical.h"
#include "bitnet/repair.h"
#include "bitnet/sha.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAME                  "bitnet-gguf"
#define OPTION_COUNT(options) (sizeof(options) / sizeof(options)[0])

/* clang-format off */
#define OPTION_JSON      {"--json", NULL, BITNET_OPTION_FLAG, &call.json, "JSON on standard output", 0, 0}
#define OPTION_FORCE     {"--force", NULL, BITNET_OPTION_FLAG, &call.overwrite, "replace files that exist", 0, 0}
#define OPTION_OUTPUT    {"-o, --output", "OUT", BITNET_OPTION_TEXT, &call.output, "the file to write", 0, 0}
#define OPTION_DIALECT   {"--dialect", "NAME", BITNET_OPTION_TEXT, &call.dialect, "whose type numbers: ggml, bitnet.cpp or ik (default: from evidence)", 0, 0}
#define OPTION_LOGICAL   {"--logical", NULL, BITNET_OPTION_FLAG, &call.logical, "by value, whatever the types", 0, 0}
/* clang-format on */

/* ------------------------------------------------------------------ diff */

static void print_line(void *user, const char *line)
{
    (void)user;
    puts(line);
}

/* For what is true only when the end is reached. */
static void gather_line(void *user, const char *line)
{
    bitnet_buf_printf(user, "%s\n", line);
}

static void keep_line(void *user, const char *line)
{
    cJSON_AddItemToArray(user, cJSON_CreateString(line));
}

/* Runs the comparison; what differs goes to standard output as it is found, or into `list`. */
static enum bitnet_status compare(const struct call *call, cJSON *list, size_t *n_differences,
                                  struct bitnet_error *err)
{
    struct bitnet_gguf *a = NULL, *b = NULL;
    struct bitnet_gguf_diff diff = {.say = list ? keep_line : print_line,
                                    .user = list,
                                    .only = call->tensor,
                                    .compare = call->logical ? bitnet_logical_compare : NULL};
    enum bitnet_status status = call_open(call, call->operands[0], &a, err);
    if (!status) status = call_open(call, call->operands[1], &b, err);
    if (!status) status = bitnet_gguf_compare(a, b, &diff, err);
    *n_differences = diff.n_differences;
    bitnet_gguf_close(a);
    bitnet_gguf_close(b);
    return status;
}

static enum bitnet_status compare_json(const struct call *call, struct bitnet_error *err)
{
    json_begin();
    size_t n = 0;
    cJSON *root = cJSON_CreateObject(), *list = cJSON_CreateArray();
    enum bitnet_status status = compare(call, list, &n, err);
    cJSON_AddStringToObject(root, "schema", "bitnet-gguf-diff");
    cJSON_AddNumberToObject(root, "schema_version", 1);
    cJSON_AddItemToObject(root, "differences", list);
    if (status && status != BITNET_CHECK) {
        cJSON_Delete(root);
        return status;
    }
    struct bitnet_error printing = {0};
    if (!json_print(root, &printing)) return status;
    *err = printing;
    return printing.status;
}

enum bitnet_status verb_diff(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {0};
    const struct bitnet_option options[] = {
        OPTION_LOGICAL,
        {"--tensor", "NAME", BITNET_OPTION_TEXT, &call.tensor, "only this tensor", 0, 0},
        OPTION_JSON,
        OPTION_DIALECT};
    const struct bitnet_command command = {
        .name = NAME " diff",
        .synopsis = "A B [OPTION]...",
        .summary = "Says what differs between two files: keys, and tensors by bytes or by value. "
                   "Order and alignment do not count. Exit code 0 when nothing does, else 1.",
        .examples = NAME " diff a.gguf b.gguf\n" NAME " diff --logical i2_s.gguf tl2.gguf\n" NAME
                         " diff --tensor token_embd.weight a.gguf b.gguf",
        .options = options,
        .n_options = OPTION_COUNT(options),
        .min_operands = 2,
        .max_operands = 2};
    size_t n = 0;
    enum bitnet_status status = call_parse(&call, &command, argc, argv, err);
    if (status || call.is_done) return status;
    status = call.json ? compare_json(&call, err) : compare(&call, NULL, &n, err);
    if (status && status != BITNET_CHECK) return status;
    enum bitnet_status flushed = call_flush(err);
    return flushed ? flushed : status;
}

/* ------------------------------------------------------------------ hash */

struct hex {
    char text[2 * BITNET_DIGEST_BYTES + 1];
};

static const char *hex_of(const uint8_t *digest, struct hex *out)
{
    bitnet_hex(digest, BITNET_DIGEST_BYTES, out->text);
    return out->text;
}

static void print_digest(void *user, struct bitnet_str name, const uint8_t *digest)
{
    struct hex hex;
    (void)user;
    printf("%s  ", hex_of(digest, &hex));
    print_escaped(stdout, name);
    putchar('\n');
}

static void keep_digest(void *user, struct bitnet_str name, const uint8_t *digest)
{
    struct hex hex;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToObject(item, "name", json_text(name));
    cJSON_AddStringToObject(item, "sha256", hex_of(digest, &hex));
    cJSON_AddItemToArray(user, item);
}

static enum bitnet_status print_hash(const struct call *call, const struct bitnet_gguf *gguf,
                                     struct bitnet_error *err)
{
    struct hex hex;
    uint8_t digest[BITNET_DIGEST_BYTES];
    const struct bitnet_hash_options options = {.kind = call->logical ? BITNET_HASH_LOGICAL
                                                                      : BITNET_HASH_RAW,
                                                .each = call->per_tensor ? print_digest : NULL};
    enum bitnet_status status = bitnet_hash_model(gguf, &options, digest, err);
    if (!status) printf("%s  %s\n", hex_of(digest, &hex), call->operands[0]);
    return status;
}

static enum bitnet_status print_hash_json(const struct call *call, const struct bitnet_gguf *gguf,
                                          struct bitnet_error *err)
{
    json_begin();
    struct hex hex;
    uint8_t digest[BITNET_DIGEST_BYTES];
    cJSON *root = cJSON_CreateObject(), *list = cJSON_CreateArray();
    const struct bitnet_hash_options options = {.kind = call->logical ? BITNET_HASH_LOGICAL
                                                                      : BITNET_HASH_RAW,
                                                .each = call->per_tensor ? keep_digest : NULL,
                                                .user = list};
    enum bitnet_status status = bitnet_hash_model(gguf, &options, digest, err);
    cJSON_AddStringToObject(root, "schema", "bitnet-gguf-hash");
    cJSON_AddNumberToObject(root, "schema_version", 1);
    cJSON_AddStringToObject(root, "file", call->operands[0]);
    cJSON_AddStringToObject(root, "kind", call->logical ? "logical" : "raw");
    cJSON_AddItemToObject(root, "tensors", list);
    if (!status) {
        cJSON_AddStringToObject(root, "sha256", hex_of(digest, &hex));
        return json_print(root, err);
    }
    cJSON_Delete(root);
    return status;
}

enum bitnet_status verb_hash(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {0};
    const struct bitnet_option options[] = {
        OPTION_LOGICAL,
        {"--raw", NULL, BITNET_OPTION_FLAG, &call.full, "by types and bytes (the default)", 0, 0},
        {"--per-tensor", NULL, BITNET_OPTION_FLAG, &call.per_tensor, "each tensor's own, too", 0,
         0},
        OPTION_JSON,
        OPTION_DIALECT};
    const struct bitnet_command command = {
        .name = NAME " hash",
        .synopsis = "FILE [OPTION]...",
        .summary =
            "Prints the SHA-256 of a file's tensors. With --logical it is the same for every "
            "type that holds the same trits and scales.",
        .examples = NAME " hash model.gguf\n" NAME " hash --logical model.gguf\n" NAME
                         " hash --logical --per-tensor model.gguf",
        .options = options,
        .n_options = OPTION_COUNT(options),
        .min_operands = 1,
        .max_operands = 1};
    struct bitnet_gguf *gguf = NULL;
    enum bitnet_status status = call_parse(&call, &command, argc, argv, err);
    if (status || call.is_done) return status;
    if (call.full && call.logical)
        return bitnet_fail(err, BITNET_USAGE, "--raw and --logical exclude each other");
    status = call_open(&call, call.operands[0], &gguf, err);
    if (!status)
        status = call.json ? print_hash_json(&call, gguf, err) : print_hash(&call, gguf, err);
    if (status) bitnet_error_prefix(err, status, "%s", call.operands[0]);
    bitnet_gguf_close(gguf);
    return status ? status : call_flush(err);
}

/* ------------------------------------------------------------------ edit */

static enum bitnet_status gather_edits(const struct call *call, struct bitnet_gguf_edit *edits,
                                       size_t *n, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < call->set.n && !status; i++)
        status = bitnet_gguf_edit_parse(&edits[(*n)++], bitnet_str_of(call->set.at[i]), err);
    for (size_t i = 0; i < call->del.n; i++)
        edits[(*n)++] =
            (struct bitnet_gguf_edit){.key = bitnet_str_of(call->del.at[i]), .is_removal = true};
    return status;
}

/* What a writing verb has done, as JSON: the files, and what else `root` has got already. */
static enum bitnet_status tell_written(cJSON *root, const char *verb, const char *source,
                                       cJSON *files, struct bitnet_error *err)
{
    char schema[64];
    snprintf(schema, sizeof schema, "bitnet-gguf-%s", verb);
    cJSON_AddStringToObject(root, "schema", schema);
    cJSON_AddNumberToObject(root, "schema_version", 1);
    cJSON_AddStringToObject(root, "source", source);
    cJSON_AddItemToObject(root, "files", files);
    return json_print(root, err);
}

static cJSON *one_file(const char *path)
{
    cJSON *files = cJSON_CreateArray();
    if (path) cJSON_AddItemToArray(files, cJSON_CreateString(path));
    return files;
}

static enum bitnet_status edit(const struct call *call, struct bitnet_error *err)
{
    struct bitnet_gguf_edit edits[128]; /* two lists of 64 */
    struct bitnet_gguf *gguf = NULL;
    size_t n = 0;
    enum bitnet_status status = gather_edits(call, edits, &n, err);
    if (!status) status = call_open(call, call->operands[0], &gguf, err);
    if (!status)
        status = bitnet_gguf_edit_file(gguf, edits, n, NULL, call->output, call->overwrite, err);
    bitnet_gguf_close(gguf);
    if (status || !call->json) return status;
    json_begin();
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "changes", (double)n);
    status = tell_written(root, "edit", call->operands[0], one_file(call->output), err);
    return status ? status : call_flush(err);
}

enum bitnet_status verb_edit(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {0};
    const struct bitnet_option options[] = {
        {"--set", "KEY=TYPE:VALUE", BITNET_OPTION_LIST, &call.set,
         "change or add a key; TYPE u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 bool string", 0, 0},
        {"--del", "KEY", BITNET_OPTION_LIST, &call.del, "remove a key", 0, 0},
        OPTION_OUTPUT,
        OPTION_JSON,
        OPTION_FORCE,
        OPTION_DIALECT};
    const struct bitnet_command command = {
        .name = NAME " edit",
        .synopsis = "FILE -o OUT [--set KEY=TYPE:VALUE]... [--del KEY]...",
        .summary = "Writes a file with other metadata; everything else stays as it is.",
        .examples =
            NAME " edit model.gguf -o new.gguf --set tokenizer.ggml.pre=string:llama-bpe\n" NAME
                 " edit model.gguf -o new.gguf --set general.file_type=u32:40\n" NAME
                 " edit model.gguf -o new.gguf --del tokenizer.chat_template",
        .options = options,
        .n_options = OPTION_COUNT(options),
        .min_operands = 1,
        .max_operands = 1};
    enum bitnet_status status = call_parse(&call, &command, argc, argv, err);
    if (status || call.is_done) return status;
    if (!call.output) return bitnet_fail(err, BITNET_USAGE, "-o OUT is missing");
    return edit(&call, err);
}

/* ------------------------------------------------------------------ repair */

/* What "all" means: the faults that a file shows by itself. */
static enum bitnet_status read_fixes(const struct call *call, struct bitnet_repair_options *o,
                                     struct bitnet_error *err)
{
    const struct {
        const char *name;
        bool *flag;
        bool in_all;
    } fixes[] = {{"filetype", &o->file_type, true},
                 {"pretok", &o->pre, true},
                 {"tl-tiles", &o->tiles, true},
                 {"activation", &o->activation, false}};
    for (size_t i = 0; i < call->fix.n; i++) {
        bool is_known = false;
        for (size_t k = 0; k < OPTION_COUNT(fixes); k++) {
            bool is_all = strcmp(call->fix.at[i], "all") == 0 && fixes[k].in_all;
            if (!is_all && strcmp(call->fix.at[i], fixes[k].name) != 0) continue;
            *fixes[k].flag = is_known = true;
        }
        if (!is_known)
            return bitnet_fail(err, BITNET_USAGE,
                               "--fix %s (allowed: all, filetype, pretok, tl-tiles, activation)",
                               BITNET_QUOTE(bitnet_str_of(call->fix.at[i])));
    }
    return BITNET_OK;
}

static enum bitnet_status read_layout(const struct call *call, struct bitnet_repair_options *o,
                                      struct bitnet_error *err)
{
    const char *layout = call->i2s_layout;
    if (!layout) return BITNET_OK;
    o->i2_s_layout = layout[0] == 'B' || layout[0] == 'b' ? 'b' : 'c';
    if (strlen(layout) == 1 && strchr("BbCc", layout[0])) return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE, "--i2s-layout %s (allowed: B, C)",
                       BITNET_QUOTE(bitnet_str_of(layout)));
}

static enum bitnet_status tell_repairs(const struct call *call, cJSON *list, size_t n,
                                       struct bitnet_error *err)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddItemToObject(root, "repairs", list);
    return tell_written(root, "repair", call->operands[0], one_file(n ? call->output : NULL), err);
}

static enum bitnet_status repair(const struct call *call, struct bitnet_error *err)
{
    json_begin();
    cJSON *list = call->json ? cJSON_CreateArray() : NULL;
    struct bitnet_buf lines = {.max = 1 << 16};
    struct bitnet_repair_options options = {.pre_name = call->pre,
                                            .overwrite = call->overwrite,
                                            .kernel_config = call->kernel_config,
                                            .say = list ? keep_line : gather_line,
                                            .user = list ? (void *)list : &lines};
    struct bitnet_gguf *gguf = NULL;
    size_t n = 0;
    enum bitnet_status status = read_fixes(call, &options, err);
    if (!status) status = read_layout(call, &options, err);
    if (!status) status = call_open(call, call->operands[0], &gguf, err);
    if (!status) status = bitnet_repair_file(gguf, call->output, &options, &n, err);
    bitnet_gguf_close(gguf);
    if (!status && list) {
        status = tell_repairs(call, list, n, err);
        return status ? status : call_flush(err);
    }
    cJSON_Delete(list);
    if (!status && lines.n) fwrite(lines.at, 1, lines.n, stdout);
    if (!status && n == 0) puts("nothing to mend; no file was written");
    bitnet_buf_free(&lines);
    return status ? status : call_flush(err);
}

enum bitnet_status verb_repair(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {0};
    const struct bitnet_option options[] = {
        {"--fix", "WHAT", BITNET_OPTION_LIST, &call.fix,
         "filetype, pretok, tl-tiles, or all of these; activation: SiLU becomes squared ReLU", 0,
         0},
        {"--pre", "NAME", BITNET_OPTION_TEXT, &call.pre, "set the pre-tokenizer to this one", 0, 0},
        {"--i2s-layout", "B|C", BITNET_OPTION_TEXT, &call.i2s_layout,
         "the I2_S tensors are in this layout: pack them anew", 0, 0},
        {"--kernel-config", "FILE.ini", BITNET_OPTION_TEXT, &call.kernel_config,
         "with --fix tl-tiles: the kernel_config.ini of the file's maker", 0, 0},
        OPTION_JSON,
        OPTION_OUTPUT,
        OPTION_FORCE,
        OPTION_DIALECT};
    const struct bitnet_command command = {
        .name = NAME " repair",
        .synopsis = "FILE -o OUT [--fix WHAT]... [--pre NAME] [--i2s-layout B|C] "
                    "[--kernel-config FILE.ini]",
        .summary =
            "Writes a file that tells the truth about itself; the weights keep their values.",
        .examples = NAME " repair model.gguf -o new.gguf --fix all\n" NAME
                         " repair model.gguf -o new.gguf --pre llama-bpe\n" NAME
                         " repair arm.gguf -o new.gguf --i2s-layout B",
        .options = options,
        .n_options = OPTION_COUNT(options),
        .min_operands = 1,
        .max_operands = 1};
    enum bitnet_status status = call_parse(&call, &command, argc, argv, err);
    if (status || call.is_done) return status;
    if (!call.output) return bitnet_fail(err, BITNET_USAGE, "-o OUT is missing");
    if (call.fix.n == 0 && !call.pre && !call.i2s_layout)
        return bitnet_fail(err, BITNET_USAGE, "say what to mend: --fix all, --pre or --i2s-layout");
    return repair(&call, err);
}

/* ------------------------------------------------------------------ split and merge */

static enum bitnet_status tell_parts(const struct call *call, size_t n_parts,
                                     struct bitnet_error *err)
{
    struct bitnet_str prefix = bitnet_str_of(call->operands[1]);
    if (bitnet_str_ends(prefix, ".gguf")) prefix.n -= strlen(".gguf");
    json_begin();
    cJSON *files = cJSON_CreateArray();
    for (size_t i = 1; i <= n_parts; i++) {
        char path[4200];
        snprintf(path, sizeof path, "%.*s-%05zu-of-%05zu.gguf",
                 (int)(prefix.n < 4096 ? prefix.n : 4096), prefix.at, i, n_parts);
        cJSON_AddItemToArray(files, cJSON_CreateString(path));
    }
    return tell_written(cJSON_CreateObject(), "split", call->operands[0], files, err);
}

enum bitnet_status verb_split(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {.max_bytes = UINT64_C(2) << 30};
    const struct bitnet_option options[] = {{"--max-size", "SIZE", BITNET_OPTION_SIZE,
                                             &call.max_bytes,
                                             "tensor bytes in a part at most, as 500M or 2G "
                                             "(default: 2G); a larger tensor is a part of "
                                             "its own",
                                             0, 0},
                                            OPTION_JSON,
                                            OPTION_FORCE,
                                            OPTION_DIALECT};
    const struct bitnet_command command = {
        .name = NAME " split",
        .synopsis = "FILE PREFIX [OPTION]...",
        .summary = "Writes PREFIX-00001-of-0000N.gguf and so on, as llama.cpp reads them.",
        .examples = NAME " split model.gguf model\n" NAME
                         " split model.gguf parts/model --max-size 500M\n" NAME
                         " merge model-00001-of-00003.gguf model.gguf",
        .options = options,
        .n_options = OPTION_COUNT(options),
        .min_operands = 2,
        .max_operands = 2};
    struct bitnet_gguf *gguf = NULL;
    size_t n_parts = 0;
    enum bitnet_status status = call_parse(&call, &command, argc, argv, err);
    if (status || call.is_done) return status;
    status = call_open(&call, call.operands[0], &gguf, err);
    if (!status)
        status = bitnet_gguf_split(gguf, call.operands[1], call.max_bytes, call.overwrite, &n_parts,
                                   err);
    bitnet_gguf_close(gguf);
    if (!status && call.json)
        status = tell_parts(&call, n_parts, err);
    else if (!status)
        printf("%zu part%s: %s-00001-of-%05zu.gguf ...\n", n_parts, n_parts == 1 ? "" : "s",
               call.operands[1], n_parts);
    return status ? status : call_flush(err);
}

enum bitnet_status verb_merge(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {0};
    const struct bitnet_option options[] = {OPTION_JSON, OPTION_FORCE, OPTION_DIALECT};
    const struct bitnet_command command = {
        .name = NAME " merge",
        .synopsis = "FIRST OUT [OPTION]...",
        .summary = "Writes a split set, named by its first part, as one file.",
        .examples = NAME " merge model-00001-of-00003.gguf model.gguf",
        .options = options,
        .n_options = OPTION_COUNT(options),
        .min_operands = 2,
        .max_operands = 2};
    struct bitnet_gguf *gguf = NULL;
    enum bitnet_status status = call_parse(&call, &command, argc, argv, err);
    if (status || call.is_done) return status;
    status = call_open(&call, call.operands[0], &gguf, err);
    if (!status) status = bitnet_gguf_merge(gguf, call.operands[1], call.overwrite, err);
    bitnet_gguf_close(gguf);
    if (status || !call.json) return status;
    json_begin();
    status = tell_written(cJSON_CreateObject(), "merge", call.operands[0],
                          one_file(call.operands[1]), err);
    return status ? status : call_flush(err);
}
