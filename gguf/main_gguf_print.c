/* bitnet gguf show and dump: what a file says, as text for people or JSON for programs. All text
 * that comes from the file is escaped. Long lists and texts are shortened for people; --full shows
 * all of them.
 *
 * JSON: {"schema": "bitnet-gguf", "schema_version": 1, ...}. Integers are exact, floats have the
 * digits that give them back, numbers that JSON lacks are the strings "nan", "inf", "-inf". A text
 * that is no UTF-8, or holds a NUL, is {"hex": "..."}. */
#include "main_gguf.h"

#include "bitnet/arch.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define SCHEMA_VERSION 1
#define LIST_SHOWN     6
#define TEXT_SHOWN     76

/* ------------------------------------------------------------------ text */

/* bitnet_quote() cuts at 80 bytes, so long text goes through it in pieces, quotes taken off. */
static void print_pieces(FILE *out, struct bitnet_str text)
{
    while (text.n > 0) {
        struct bitnet_str piece = {text.at, text.n < TEXT_SHOWN ? text.n : TEXT_SHOWN};
        if (piece.n < text.n) piece.n -= bitnet_utf8_incomplete_tail(piece);
        struct bitnet_quoted quoted;
        bitnet_quote(&quoted, piece);
        fprintf(out, "%.*s", (int)strlen(quoted.text) - 2, quoted.text + 1);
        text.at += piece.n;
        text.n -= piece.n;
    }
}

void print_escaped(FILE *out, struct bitnet_str text)
{
    fputc('\'', out);
    print_pieces(out, text);
    fputc('\'', out);
}

static void print_text(FILE *out, struct bitnet_str text, bool full)
{
    if (full || text.n <= TEXT_SHOWN) {
        print_escaped(out, text);
        return;
    }
    struct bitnet_str head = {text.at, TEXT_SHOWN};
    head.n -= bitnet_utf8_incomplete_tail(head);
    print_escaped(out, head);
    fprintf(out, "... (%zu bytes)", text.n);
}

struct number_text {
    char text[40];
};

/* A scalar that is no string. */
static const char *number_text(const struct bitnet_gguf_value *value, struct number_text *out)
{
    char *text = out->text;
    switch (value->type) {
    case BITNET_GGUF_BOOL:
        snprintf(text, sizeof *out, "%s", value->boolean ? "true" : "false");
        break;
    case BITNET_GGUF_F32:
        snprintf(text, sizeof *out, "%.9g", value->f64);
        break;
    case BITNET_GGUF_F64:
        snprintf(text, sizeof *out, "%.17g", value->f64);
        break;
    case BITNET_GGUF_I8:
    case BITNET_GGUF_I16:
    case BITNET_GGUF_I32:
    case BITNET_GGUF_I64:
        snprintf(text, sizeof *out, "%" PRIi64, value->i64);
        break;
    default:
        snprintf(text, sizeof *out, "%" PRIu64, value->u64);
        break;
    }
    return text;
}

static void print_scalar(FILE *out, const struct bitnet_gguf_value *value, bool full)
{
    struct number_text number;
    if (value->type == BITNET_GGUF_STRING)
        print_text(out, value->text, full);
    else
        fputs(number_text(value, &number), out);
}

void print_value(FILE *out, const struct bitnet_gguf_value *value, bool full)
{
    if (value->type != BITNET_GGUF_ARRAY) {
        print_scalar(out, value, full);
        return;
    }
    fprintf(out, "[%zu] ", value->n);
    if (value->element == BITNET_GGUF_ARRAY) {
        fprintf(out, "(arrays, not shown)");
        return;
    }
    size_t n_shown = full || value->n <= LIST_SHOWN ? value->n : LIST_SHOWN;
    fputc('{', out);
    for (size_t i = 0; i < n_shown; i++) {
        struct bitnet_gguf_value element = bitnet_gguf_element(value, i);
        fputs(i ? ", " : "", out);
        print_scalar(out, &element, full);
    }
    fputs(n_shown < value->n ? ", ...}" : "}", out);
}

void print_tensor(FILE *out, const struct bitnet_tensor *tensor)
{
    char shape[100];
    size_t n = 0;
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        n += (size_t)snprintf(shape + n, sizeof shape - n, i ? " x %" PRIu64 : "%" PRIu64,
                              tensor->dims[i]);
    fprintf(out, "%-10s %-16s %12zu bytes  ", bitnet_dtype_info(tensor->type)->label, shape,
            tensor->data.n);
    print_pieces(out, tensor->name);
    fputc('\n', out);
}

static void print_pair(FILE *out, const struct bitnet_gguf_pair *pair, bool full)
{
    const struct bitnet_gguf_value *value = &pair->value;
    bool is_array = value->type == BITNET_GGUF_ARRAY;
    fprintf(out, "%-6s ", bitnet_gguf_type_name(is_array ? value->element : value->type));
    print_pieces(out, pair->key);
    fputs(" = ", out);
    print_value(out, value, full);
    fputc('\n', out);
}

/* ------------------------------------------------------------------ JSON */

/* cJSON drops what it has no memory for without a word; its allocator keeps the word for it. */
static bool json_failed;

static void *json_alloc(size_t n)
{
    void *p = malloc(n);
    if (!p) json_failed = true;
    return p;
}

void json_begin(void)
{
    json_failed = false;
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = json_alloc, .free_fn = free});
}

/* cJSON's strings end at a NUL and are not checked, so only clean UTF-8 goes in as text. */
struct cJSON *json_text(struct bitnet_str text)
{
    struct bitnet_buf buf = {.max = SIZE_MAX / 4};
    bitnet_buf_add(&buf, "", 0);
    bool is_clean = bitnet_utf8_valid(text) && !memchr(text.n ? text.at : "", 0, text.n);
    cJSON *item = NULL;
    if (is_clean) {
        if (bitnet_buf_add_str(&buf, text)) item = cJSON_CreateString(buf.at);
    } else {
        for (size_t i = 0; i < text.n; i++)
            bitnet_buf_printf(&buf, "%02x", (unsigned)(unsigned char)text.at[i]);
        item = cJSON_CreateObject();
        if (!buf.failed) cJSON_AddStringToObject(item, "hex", buf.at);
    }
    json_failed = json_failed || buf.failed;
    bitnet_buf_free(&buf);
    return item;
}

static cJSON *json_u64(uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    return cJSON_CreateRaw(text);
}

static cJSON *json_scalar(const struct bitnet_gguf_value *value)
{
    struct number_text number;
    bool is_float = value->type == BITNET_GGUF_F32 || value->type == BITNET_GGUF_F64;
    if (value->type == BITNET_GGUF_STRING) return json_text(value->text);
    if (is_float && isnan(value->f64)) return cJSON_CreateString("nan");
    if (is_float && isinf(value->f64)) return cJSON_CreateString(value->f64 < 0 ? "-inf" : "inf");
    return cJSON_CreateRaw(number_text(value, &number));
}

static cJSON *json_list(const struct bitnet_gguf_value *value, size_t n)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < n; i++) {
        struct bitnet_gguf_value element = bitnet_gguf_element(value, i);
        cJSON_AddItemToArray(list, json_scalar(&element));
    }
    return list;
}

static cJSON *json_pair(const struct bitnet_gguf_pair *pair, bool full)
{
    const struct bitnet_gguf_value *value = &pair->value;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToObject(item, "key", json_text(pair->key));
    cJSON_AddStringToObject(item, "type", bitnet_gguf_type_name(value->type));
    if (value->type != BITNET_GGUF_ARRAY) {
        cJSON_AddItemToObject(item, "value", json_scalar(value));
        return item;
    }
    cJSON_AddStringToObject(item, "element", bitnet_gguf_type_name(value->element));
    cJSON_AddItemToObject(item, "count", json_u64(value->n));
    if (value->element == BITNET_GGUF_ARRAY) return item;
    size_t n = full || value->n <= LIST_SHOWN ? value->n : LIST_SHOWN;
    cJSON_AddItemToObject(item, "values", json_list(value, n));
    if (n < value->n) cJSON_AddBoolToObject(item, "shortened", true);
    return item;
}

static cJSON *json_tensor(const struct bitnet_gguf *gguf, const struct bitnet_tensor *tensor)
{
    cJSON *item = cJSON_CreateObject(), *dims = cJSON_CreateArray();
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        cJSON_AddItemToArray(dims, json_u64(tensor->dims[i]));
    cJSON_AddItemToObject(item, "name", json_text(tensor->name));
    cJSON_AddStringToObject(item, "type", bitnet_dtype_info(tensor->type)->label);
    cJSON_AddItemToObject(item, "type_number", json_u64(tensor->type_number));
    cJSON_AddItemToObject(item, "dims", dims);
    cJSON_AddItemToObject(item, "part", json_u64(tensor->part));
    cJSON_AddItemToObject(item, "offset", json_u64(tensor->offset));
    cJSON_AddItemToObject(item, "position", json_u64(bitnet_gguf_position(gguf, tensor)));
    cJSON_AddItemToObject(item, "bytes", json_u64(tensor->data.n));
    return item;
}

static cJSON *json_head(const struct bitnet_gguf *gguf)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "schema", "bitnet-gguf");
    cJSON_AddItemToObject(root, "schema_version", json_u64(SCHEMA_VERSION));
    cJSON_AddItemToObject(root, "file", json_text(bitnet_str_of(bitnet_gguf_path(gguf))));
    cJSON_AddItemToObject(root, "file_bytes", json_u64(bitnet_gguf_file_bytes(gguf)));
    cJSON_AddItemToObject(root, "version", json_u64(bitnet_gguf_version(gguf)));
    cJSON_AddItemToObject(root, "alignment", json_u64(bitnet_gguf_alignment(gguf)));
    cJSON_AddStringToObject(root, "dialect", bitnet_dialect_name(bitnet_gguf_dialect(gguf)));
    return root;
}

static cJSON *json_tensors(const struct bitnet_gguf *gguf)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++)
        cJSON_AddItemToArray(list, json_tensor(gguf, bitnet_gguf_tensor_at(gguf, i)));
    return list;
}

enum bitnet_status json_print(struct cJSON *root, struct bitnet_error *err)
{
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    bool is_whole = text && !json_failed;
    if (is_whole) puts(text);
    cJSON_free(text);
    return is_whole ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

/* ------------------------------------------------------------------ dump */

/* False when keys were named on the command line and this is none of them. */
static bool is_wanted(const struct call *call, struct bitnet_str key)
{
    for (size_t i = 1; i < call->n_operands; i++)
        if (bitnet_str_is(key, call->operands[i])) return true;
    return call->n_operands == 1;
}

static enum bitnet_status check_wanted(const struct call *call, const struct bitnet_gguf *gguf,
                                       struct bitnet_error *err)
{
    for (size_t i = 1; i < call->n_operands; i++)
        if (!bitnet_gguf_find(gguf, bitnet_str_of(call->operands[i])))
            return bitnet_fail(err, BITNET_NOT_FOUND, "%s: key %s is missing",
                               bitnet_gguf_path(gguf),
                               BITNET_QUOTE(bitnet_str_of(call->operands[i])));
    return BITNET_OK;
}

static void dump_text(const struct call *call, const struct bitnet_gguf *gguf)
{
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++)
        if (is_wanted(call, bitnet_gguf_pair_at(gguf, i)->key))
            print_pair(stdout, bitnet_gguf_pair_at(gguf, i), call->full);
    for (size_t i = 0; call->n_operands == 1 && i < bitnet_gguf_tensor_count(gguf); i++)
        print_tensor(stdout, bitnet_gguf_tensor_at(gguf, i));
}

static enum bitnet_status dump_json(const struct call *call, const struct bitnet_gguf *gguf,
                                    struct bitnet_error *err)
{
    json_begin();
    cJSON *root = json_head(gguf), *pairs = cJSON_AddArrayToObject(root, "metadata");
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++)
        if (is_wanted(call, bitnet_gguf_pair_at(gguf, i)->key))
            cJSON_AddItemToArray(pairs, json_pair(bitnet_gguf_pair_at(gguf, i), call->full));
    if (call->n_operands == 1) cJSON_AddItemToObject(root, "tensors", json_tensors(gguf));
    return json_print(root, err);
}

enum bitnet_status verb_dump(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {0};
    const struct bitnet_option options[] = {
        {"--json", NULL, BITNET_OPTION_FLAG, &call.json, "JSON on standard output", 0, 0},
        {"--full", NULL, BITNET_OPTION_FLAG, &call.full, "long lists and texts in full", 0, 0},
        {"--dialect", "NAME", BITNET_OPTION_TEXT, &call.dialect,
         "whose type numbers: ggml, bitnet.cpp or ik (default: from evidence)", 0, 0},
    };
    const struct bitnet_command command = {
        .name = "bitnet-gguf dump",
        .synopsis = "FILE [KEY]... [OPTION]...",
        .summary =
            "Prints all metadata and tensors of a GGUF file, or the values of the keys named.",
        .examples = "bitnet-gguf dump model.gguf\nbitnet-gguf dump --json --full model.gguf\n"
                    "bitnet-gguf dump --full model.gguf tokenizer.chat_template",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .min_operands = 1,
        .max_operands = GGUF_OPERANDS_MAX};
    struct bitnet_gguf *gguf = NULL;
    enum bitnet_status status = call_parse(&call, &command, argc, argv, err);
    if (status || call.is_done) return status;
    status = call_open(&call, call.operands[0], &gguf, err);
    if (!status) status = check_wanted(&call, gguf, err);
    if (!status && call.json) status = dump_json(&call, gguf, err);
    if (!status && !call.json) dump_text(&call, gguf);
    bitnet_gguf_close(gguf);
    return status ? status : call_flush(err);
}

/* ------------------------------------------------------------------ show */

static double bits_per_weight(const struct bitnet_gguf_summary *summary)
{
    return summary->n_parameters ? 8.0 * (double)summary->n_bytes / (double)summary->n_parameters
                                 : 0.0;
}

/* How many times smaller than with two bytes for each. */
static double compression(const struct bitnet_gguf_summary *summary)
{
    return summary->n_bytes ? 2.0 * (double)summary->n_parameters / (double)summary->n_bytes : 0.0;
}

#define FEATURES_MAX 6

/* What distinguishes the model's mathematics, in words. Returns how many there are. */
static size_t features(const struct bitnet_gguf *gguf, const struct bitnet_arch *arch,
                       const struct bitnet_hparams *h, const char *words[FEATURES_MAX])
{
    static const char *const poolings[] = {"", "", "mean pooling", "cls pooling", "last pooling"};
    size_t n = 0;
    words[n++] = bitnet_gate_name(arch->gate);
    if (arch->has_sub_norms) words[n++] = "sub-norms";
    if (h->n_kv_heads < h->n_heads) words[n++] = "grouped queries";
    if (h->window) words[n++] = "sliding window";
    if (!bitnet_gguf_find_tensor(gguf, bitnet_str_of("output.weight"))) words[n++] = "tied output";
    if (h->pooling > BITNET_POOLING_NONE) words[n++] = poolings[h->pooling];
    return n;
}

/* Prints the key's value, if it is there, behind a label. */
static void show_key(const struct bitnet_gguf *gguf, const char *label, const char *key)
{
    const struct bitnet_gguf_value *value = bitnet_gguf_find(gguf, bitnet_str_of(key));
    if (!value) return;
    printf("%-14s ", label);
    print_value(stdout, value, false);
    putchar('\n');
}

static void show_hparams(const struct bitnet_gguf *gguf)
{
    struct bitnet_hparams h;
    const struct bitnet_arch *arch;
    struct bitnet_error err;
    if (bitnet_hparams_from_gguf(&h, &arch, gguf, &err)) {
        printf("%-14s not a model that we can run: %s\n", "model", err.text);
        return;
    }
    printf("%-14s %" PRIu32 " layers, width %" PRIu32 ", feed-forward %" PRIu32 "\n", "model",
           h.n_layers, h.n_embd, h.n_ffn);
    printf("%-14s %" PRIu32 " heads of %" PRIu32 ", %" PRIu32 " for keys and values\n", "attention",
           h.n_heads, h.head_dim, h.n_kv_heads);
    printf("%-14s %" PRIu32 " tokens, base %g, epsilon %g\n", "context", h.n_context,
           (double)h.rope_base, (double)h.norm_eps);
    printf("%-14s %" PRIu32 " tokens\n", "vocabulary", h.n_vocab);
    const char *words[FEATURES_MAX];
    size_t n = features(gguf, arch, &h, words);
    for (size_t i = 0; i < n; i++) printf("%-*s%s", i ? 2 : 15, i ? "," : "features", words[i]);
    putchar('\n');
}

static void show_types(const struct bitnet_gguf_summary *summary)
{
    for (unsigned type = 0; type < BITNET_DTYPE_COUNT; type++)
        if (summary->types[type].n_tensors)
            printf("%-14s %-10s %6" PRIu64 " tensors %14" PRIu64 " parameters %14" PRIu64
                   " bytes\n",
                   "", bitnet_dtype_info((enum bitnet_dtype)type)->label,
                   summary->types[type].n_tensors, summary->types[type].n_parameters,
                   summary->types[type].n_bytes);
}

static void show_text(const struct call *call, const struct bitnet_gguf *gguf)
{
    struct bitnet_gguf_summary summary;
    bitnet_gguf_summarize(gguf, &summary);
    printf("%-14s %s\n", "file", bitnet_gguf_path(gguf));
    printf("%-14s GGUF %" PRIu32 ", alignment %" PRIu64 ", type numbers of %s, %" PRIu64 " bytes\n",
           "format", bitnet_gguf_version(gguf), bitnet_gguf_alignment(gguf),
           bitnet_dialect_name(bitnet_gguf_dialect(gguf)), bitnet_gguf_file_bytes(gguf));
    show_key(gguf, "name", "general.name");
    show_key(gguf, "architecture", "general.architecture");
    show_hparams(gguf);
    show_key(gguf, "tokenizer", "tokenizer.ggml.model");
    show_key(gguf, "splitting", "tokenizer.ggml.pre");
    printf("%-14s %s, %.2f bits per weight over all %" PRIu64
           " parameters, %.1f times smaller than F16\n",
           "weights", bitnet_dtype_info(summary.main_type)->label, bits_per_weight(&summary),
           summary.n_parameters, compression(&summary));
    show_types(&summary);
    for (size_t i = 0; call->tensors && i < bitnet_gguf_tensor_count(gguf); i++)
        print_tensor(stdout, bitnet_gguf_tensor_at(gguf, i));
}

static cJSON *json_hparams(const struct bitnet_gguf *gguf)
{
    struct bitnet_hparams h;
    const struct bitnet_arch *arch;
    if (bitnet_hparams_from_gguf(&h, &arch, gguf, NULL)) return cJSON_CreateNull();
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {
        {"layers", h.n_layers}, {"width", h.n_embd},        {"feed_forward", h.n_ffn},
        {"heads", h.n_heads},   {"kv_heads", h.n_kv_heads}, {"head_size", h.head_dim},
        {"rotated", h.n_rot},   {"context", h.n_context},   {"vocabulary", h.n_vocab},
    };
    cJSON *item = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        cJSON_AddItemToObject(item, numbers[i].name, json_u64(numbers[i].value));
    const struct bitnet_gguf_value floats[] = {
        {.type = BITNET_GGUF_F32, .f64 = (double)h.norm_eps},
        {.type = BITNET_GGUF_F32, .f64 = (double)h.rope_base},
        {.type = BITNET_GGUF_F32, .f64 = (double)h.rope_scale},
    };
    cJSON_AddItemToObject(item, "norm_epsilon", json_scalar(&floats[0]));
    cJSON_AddItemToObject(item, "rope_base", json_scalar(&floats[1]));
    cJSON_AddItemToObject(item, "rope_scale", json_scalar(&floats[2]));
    return item;
}

static cJSON *json_types(const struct bitnet_gguf_summary *summary)
{
    cJSON *list = cJSON_CreateArray();
    for (unsigned type = 0; type < BITNET_DTYPE_COUNT; type++) {
        if (!summary->types[type].n_tensors) continue;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "type", bitnet_dtype_info((enum bitnet_dtype)type)->label);
        cJSON_AddItemToObject(item, "tensors", json_u64(summary->types[type].n_tensors));
        cJSON_AddItemToObject(item, "parameters", json_u64(summary->types[type].n_parameters));
        cJSON_AddItemToObject(item, "bytes", json_u64(summary->types[type].n_bytes));
        cJSON_AddItemToArray(list, item);
    }
    return list;
}

static cJSON *json_features(const struct bitnet_gguf *gguf)
{
    struct bitnet_hparams h;
    const struct bitnet_arch *arch;
    const char *words[FEATURES_MAX];
    cJSON *list = cJSON_CreateArray();
    size_t n = 0;
    if (!bitnet_hparams_from_gguf(&h, &arch, gguf, NULL)) n = features(gguf, arch, &h, words);
    for (size_t i = 0; i < n; i++) cJSON_AddItemToArray(list, cJSON_CreateString(words[i]));
    return list;
}

static void add_text_key(cJSON *root, const char *name, const struct bitnet_gguf *gguf,
                         const char *key)
{
    struct bitnet_str text = {0};
    if (!bitnet_gguf_str(gguf, key, BITNET_GGUF_REQUIRED, &text, NULL))
        cJSON_AddItemToObject(root, name, json_text(text));
}

static enum bitnet_status show_json(const struct call *call, const struct bitnet_gguf *gguf,
                                    struct bitnet_error *err)
{
    struct bitnet_gguf_summary summary;
    char bits[32];
    json_begin();
    bitnet_gguf_summarize(gguf, &summary);
    snprintf(bits, sizeof bits, "%.4f", bits_per_weight(&summary));
    cJSON *root = json_head(gguf);
    add_text_key(root, "name", gguf, "general.name");
    add_text_key(root, "architecture", gguf, "general.architecture");
    add_text_key(root, "tokenizer", gguf, "tokenizer.ggml.model");
    add_text_key(root, "pre_tokenizer", gguf, "tokenizer.ggml.pre");
    cJSON_AddItemToObject(root, "model", json_hparams(gguf));
    cJSON_AddItemToObject(root, "parameters", json_u64(summary.n_parameters));
    cJSON_AddItemToObject(root, "tensor_bytes", json_u64(summary.n_bytes));
    cJSON_AddRawToObject(root, "bits_per_weight", bits);
    snprintf(bits, sizeof bits, "%.4f", compression(&summary));
    cJSON_AddRawToObject(root, "compression", bits);
    cJSON_AddItemToObject(root, "features", json_features(gguf));
    cJSON_AddStringToObject(root, "main_type", bitnet_dtype_info(summary.main_type)->label);
    cJSON_AddItemToObject(root, "types", json_types(&summary));
    if (call->tensors) cJSON_AddItemToObject(root, "tensors", json_tensors(gguf));
    return json_print(root, err);
}

enum bitnet_status verb_show(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {0};
    const struct bitnet_option options[] = {
        {"--json", NULL, BITNET_OPTION_FLAG, &call.json, "JSON on standard output", 0, 0},
        {"--tensors", NULL, BITNET_OPTION_FLAG, &call.tensors, "list the tensors too", 0, 0},
        {"--dialect", "NAME", BITNET_OPTION_TEXT, &call.dialect,
         "whose type numbers: ggml, bitnet.cpp or ik (default: from evidence)", 0, 0},
    };
    const struct bitnet_command command = {
        .name = "bitnet-gguf show",
        .synopsis = "FILE [OPTION]...",
        .summary = "Says what a GGUF file is: architecture, size, types, tokenizer.",
        .examples = "bitnet-gguf show model.gguf\nbitnet-gguf show --tensors model.gguf\n"
                    "bitnet-gguf show --json model.gguf",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .min_operands = 1,
        .max_operands = 1};
    struct bitnet_gguf *gguf = NULL;
    enum bitnet_status status = call_parse(&call, &command, argc, argv, err);
    if (status || call.is_done) return status;
    status = call_open(&call, call.operands[0], &gguf, err);
    if (!status && call.json) status = show_json(&call, gguf, err);
    if (!status && !call.json) show_text(&call, gguf);
    bitnet_gguf_close(gguf);
    return status ? status : call_flush(err);
}
