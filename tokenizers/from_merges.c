/* A tokenizer from vocab.json and merges.txt, the files that byte-level BPE had before
 * tokenizer.json. They hold the vocabulary and nothing else: how text is normalized and cut is
 * known by the name of the class in tokenizer_config.json, as transformers knows it, and special
 * tokens are listed by the files beside them. Comes in: these files; goes out: the tokenizer of the
 * tokenizer.json that transformers would make of them. Source: transformers,
 * tokenization_<class>.py. */
#include "json_text.h"
#include "sources.h"

#include <bitnet/alloc.h>

#include <inttypes.h>

/* ------------------------------------------------------------------ what a class means */

#define BYTES                                                                                      \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"trim_offsets\":true,\"use_regex\":%s}"
#define BYTES_BACK "{\"type\":\"ByteLevel\"}"
#define QWEN2_SPLIT                                                                                \
    "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|" \
    "'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+"         \
    "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}}"
#define CLIP_SPLIT                                                                                 \
    "{\"type\":\"Split\",\"behavior\":\"Removed\",\"invert\":true,\"pattern\":{\"Regex\":"         \
    "\"'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"}}"

/* `pre` gets add_prefix_space; `around`: cls and sep are put around a text. */
static const struct tokenizer_class {
    const char *name, *model_type; /* in tokenizer_config.json; in config.json */
    const char *normalizer, *pre, *decoder, *model;
    bool around;
    const char *specials; /* of files that list none, separated by spaces */
} classes[] = {
    {"GPT2Tokenizer", "gpt2", "null", BYTES, BYTES_BACK, "", false, "<|endoftext|>"},
    {"CodeGenTokenizer", "phi", "null", BYTES, BYTES_BACK, "", false, "<|endoftext|>"},
    {"Qwen2Tokenizer", "qwen2", "{\"type\":\"NFC\"}",
     "{\"type\":\"Sequence\",\"pretokenizers\":[" QWEN2_SPLIT "," BYTES "]}", BYTES_BACK, "", false,
     "<|endoftext|>"},
    {"RobertaTokenizer", "roberta", "null", BYTES, BYTES_BACK, "", true,
     "<s> </s> <unk> <pad> <mask>"},
    {"BartTokenizer", "bart", "null", BYTES, BYTES_BACK, "", true, "<s> </s> <unk> <pad> <mask>"},
    {"LongformerTokenizer", "longformer", "null", BYTES, BYTES_BACK, "", true,
     "<s> </s> <unk> <pad> <mask>"},
    {"CLIPTokenizer", "clip",
     "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":"
     "{\"Regex\":\"\\\\s+\"},\"content\":\" \"},{\"type\":\"Lowercase\"}]}",
     "{\"type\":\"Sequence\",\"pretokenizers\":[" CLIP_SPLIT "," BYTES "]}",
     "{\"type\":\"Sequence\",\"decoders\":[" BYTES_BACK ",{\"type\":\"Replace\",\"pattern\":"
     "{\"String\":\"</w>\"},\"content\":\" \"}]}",
     ",\"end_of_word_suffix\":\"</w>\",\"unk_token\":\"<|endoftext|>\"", true,
     "<|startoftext|> <|endoftext|>"},
};

/* "Qwen2TokenizerFast" is Qwen2Tokenizer. */
static bool is_class(const struct bitnet_json *config, const char *name)
{
    const struct bitnet_json *node = bitnet_json_get(config, "tokenizer_class");
    if (!node || node->kind != BITNET_JSON_STRING) return false;
    struct bitnet_str text = node->text;
    if (bitnet_str_ends(text, "Fast")) text.n -= 4;
    return bitnet_str_is(text, name);
}

static bool is_model(const struct bitnet_json *config, const char *type)
{
    const struct bitnet_json *node = bitnet_json_get(config, "model_type");
    return node && node->kind == BITNET_JSON_STRING && bitnet_str_is(node->text, type);
}

#define N_CLASSES (sizeof classes / sizeof classes[0])

static enum bitnet_status find_class(const struct merges_source *source,
                                     const struct tokenizer_class **found, struct bitnet_error *err)
{
    const struct bitnet_json *named = bitnet_json_get(source->tokenizer_config, "tokenizer_class");
    const struct bitnet_json *config = named ? source->tokenizer_config : source->config;
    for (size_t i = 0; i < N_CLASSES; i++)
        if (is_class(config, classes[i].name)) {
            *found = &classes[i];
            return BITNET_OK;
        }
    const struct bitnet_json *word = bitnet_json_get(config, "tokenizer_class");
    if (word && word->kind == BITNET_JSON_STRING)
        return bitnet_hint(err,
                           bitnet_fail(err, BITNET_UNSUPPORTED,
                                       "tokenizer_class %s is not known to be made of these files",
                                       BITNET_QUOTE(word->text)),
                           "a tokenizer.json says how text is cut");
    for (size_t i = 0; i < N_CLASSES; i++)
        if (is_model(source->config, classes[i].model_type)) {
            *found = &classes[i];
            return BITNET_OK;
        }
    return bitnet_hint(
        err,
        bitnet_fail(err, BITNET_UNSUPPORTED,
                    "nothing beside vocab.json says how text is cut into words"),
        "looked for tokenizer_class in tokenizer_config.json and for model_type in config.json");
}

/* ------------------------------------------------------------------ added tokens */

struct added {
    struct bitnet_str text;
    uint64_t id;
    bool has_id, special, lstrip, rstrip, single_word, normalized;
};

struct writer {
    const struct merges_source *source;
    const struct bitnet_json *vocab; /* root of vocab.json */
    struct added *added;
    size_t n_added, cap;
    struct bitnet_buf json; /* the tokenizer.json without its model */
    struct bitnet_error *err;
};

static enum bitnet_status no_memory(struct writer *writer)
{
    return bitnet_fail(writer->err, BITNET_MEMORY, "out of memory");
}

/* The token of this text, which is listed anew if it was not. */
static struct added *added_of(struct writer *writer, struct bitnet_str text)
{
    for (size_t i = 0; i < writer->n_added; i++)
        if (bitnet_str_equal(writer->added[i].text, text)) return &writer->added[i];
    if (!BITNET_GROW(writer->added, writer->n_added, writer->cap, (size_t)MERGES_MAX_ADDED))
        return NULL;
    struct added *made = &writer->added[writer->n_added++];
    *made = (struct added){.text = text, .normalized = true};
    return made;
}

static enum bitnet_status read_flags(struct writer *writer, const struct bitnet_json *node,
                                     struct added *added)
{
    struct bitnet_error *err = writer->err;
    added->normalized = !added->special;
    enum bitnet_status status =
        bitnet_json_bool(node, "normalized", BITNET_OPTIONAL, &added->normalized, err);
    if (!status) status = bitnet_json_bool(node, "lstrip", BITNET_OPTIONAL, &added->lstrip, err);
    if (!status) status = bitnet_json_bool(node, "rstrip", BITNET_OPTIONAL, &added->rstrip, err);
    if (!status)
        status = bitnet_json_bool(node, "single_word", BITNET_OPTIONAL, &added->single_word, err);
    return status;
}

static enum bitnet_status read_special(struct writer *writer, const struct bitnet_json *node)
{
    const struct bitnet_json *content = bitnet_json_get(node, "content");
    if (!content) content = node;
    if (content->kind != BITNET_JSON_STRING || !content->text.n) return BITNET_OK; /* null */
    struct added *added = added_of(writer, content->text);
    if (!added) return no_memory(writer);
    added->special = true;
    added->normalized = false;
    return content == node ? BITNET_OK : read_flags(writer, node, added);
}

/* tokenizer_config.json and special_tokens_map.json name them by their use. */
static enum bitnet_status read_specials(struct writer *writer, const struct bitnet_json *root)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !status; i++) {
        const struct bitnet_json *node = bitnet_json_get(root, names[i]);
        if (node) status = read_special(writer, node);
    }
    const struct bitnet_json *more = bitnet_json_get(root, "additional_special_tokens");
    if (!more || more->kind != BITNET_JSON_ARRAY) return status;
    for (const struct bitnet_json *node = more->child; node && !status; node = node->next)
        status = read_special(writer, node);
    return status;
}

/* added_tokens.json: {"text": id}. */
static enum bitnet_status read_added(struct writer *writer)
{
    const struct bitnet_json *root = writer->source->added;
    for (const struct bitnet_json *node = root ? root->child : NULL; node; node = node->next) {
        struct added *added = added_of(writer, node->key);
        if (!added) return no_memory(writer);
        added->has_id = bitnet_json_as_u64(node, &added->id);
        if (!added->has_id)
            return bitnet_fail(writer->err, BITNET_FORMAT, "added_tokens.json: %s has no id",
                               BITNET_QUOTE(node->key));
    }
    return BITNET_OK;
}

/* tokenizer_config.json, added_tokens_decoder: {"id": {"content": ..., flags}}; complete where it
 * is. */
static enum bitnet_status read_decoder(struct writer *writer, const struct bitnet_json *decoder)
{
    enum bitnet_status status = BITNET_OK;
    for (const struct bitnet_json *node = decoder->child; node && !status; node = node->next) {
        struct bitnet_str text = {0};
        status = bitnet_json_str(node, "content", BITNET_REQUIRED, &text, writer->err);
        if (status) break;
        struct added *added = added_of(writer, text);
        if (!added) return no_memory(writer);
        added->has_id = bitnet_parse_u64(node->key, &added->id);
        if (!added->has_id)
            return bitnet_fail(writer->err, BITNET_FORMAT, "added_tokens_decoder: %s is no id",
                               BITNET_QUOTE(node->key));
        status = bitnet_json_bool(node, "special", BITNET_OPTIONAL, &added->special, writer->err);
        if (!status) status = read_flags(writer, node, added);
    }
    return status;
}

static enum bitnet_status read_class_specials(struct writer *writer,
                                              const struct tokenizer_class *class)
{
    for (const char *at = class->specials; *at;) {
        size_t n = strcspn(at, " ");
        struct added *added = added_of(writer, (struct bitnet_str){at, n});
        if (!added) return no_memory(writer);
        added->special = true;
        added->normalized = false;
        added->lstrip = bitnet_str_is(added->text, "<mask>");
        at += n + (at[n] == ' ');
    }
    return BITNET_OK;
}

/* Ids from the vocabulary, for those that no list of added tokens gives one. A special token that
 * is neither is the class's habit or the file's mistake; a text never becomes it. */
static void find_ids(struct writer *writer)
{
    for (const struct bitnet_json *node = writer->vocab->child; node; node = node->next)
        for (size_t i = 0; i < writer->n_added; i++)
            if (!writer->added[i].has_id && bitnet_str_equal(writer->added[i].text, node->key))
                writer->added[i].has_id = bitnet_json_as_u64(node, &writer->added[i].id);
}

static enum bitnet_status list_added(struct writer *writer, const struct tokenizer_class *class)
{
    const struct merges_source *source = writer->source;
    const struct bitnet_json *decoder =
        bitnet_json_get(source->tokenizer_config, "added_tokens_decoder");
    enum bitnet_status status = read_added(writer);
    if (!status) status = read_specials(writer, source->special_map);
    if (!status) status = read_specials(writer, source->tokenizer_config);
    if (!status && decoder) status = read_decoder(writer, decoder);
    bool has_special = false;
    for (size_t i = 0; i < writer->n_added; i++)
        has_special = has_special || writer->added[i].special;
    if (!status && !has_special) status = read_class_specials(writer, class);
    if (!status) find_ids(writer);
    return status;
}

/* ------------------------------------------------------------------ the tokenizer.json */

static bool write_added(struct writer *writer)
{
    struct bitnet_buf *out = &writer->json;
    bool ok = true, is_first = true;
    for (size_t i = 0; i < writer->n_added && ok; i++) {
        const struct added *added = &writer->added[i];
        if (!added->has_id) continue;
        ok = bitnet_buf_printf(out, "%s{\"id\":%" PRIu64 ",\"content\":", is_first ? "" : ",",
                               added->id) &&
             json_text_quote(out, added->text) &&
             bitnet_buf_printf(out,
                               ",\"single_word\":%s,\"lstrip\":%s,\"rstrip\":%s,"
                               "\"normalized\":%s,\"special\":%s}",
                               json_text_word(added->single_word), json_text_word(added->lstrip),
                               json_text_word(added->rstrip), json_text_word(added->normalized),
                               json_text_word(added->special));
        is_first = false;
    }
    return ok;
}

/* The id of a special token by its use, from either file; false when there is none. */
static bool id_of(const struct writer *writer, const char *use, const char *fallback, uint64_t *id)
{
    const struct bitnet_json *node = bitnet_json_get(writer->source->tokenizer_config, use);
    if (!node) node = bitnet_json_get(writer->source->special_map, use);
    const struct bitnet_json *content = bitnet_json_get(node, "content");
    if (content) node = content;
    struct bitnet_str text =
        node && node->kind == BITNET_JSON_STRING ? node->text : bitnet_str_of(fallback);
    for (size_t i = 0; i < writer->n_added; i++)
        if (writer->added[i].has_id && bitnet_str_equal(writer->added[i].text, text)) {
            *id = writer->added[i].id;
            return true;
        }
    return false;
}

/* RoBERTa's family puts <s> and </s> around; CLIP its two own; GPT-2 a bos where it is told to. */
static bool write_post_processor(struct writer *writer, const struct tokenizer_class *class)
{
    bool is_clip = strcmp(class->name, "CLIPTokenizer") == 0, add_bos = false;
    const char *first = is_clip ? "bos_token" : "cls_token",
               *last = is_clip ? "eos_token" : "sep_token";
    uint64_t begin, end;
    bitnet_json_bool(writer->source->tokenizer_config, "add_bos_token", BITNET_OPTIONAL, &add_bos,
                     NULL);
    if (class->around && id_of(writer, first, is_clip ? "<|startoftext|>" : "<s>", &begin) &&
        id_of(writer, last, is_clip ? "<|endoftext|>" : "</s>", &end))
        return bitnet_buf_printf(&writer->json,
                                 "{\"type\":\"RobertaProcessing\",\"sep\":[\"\",%" PRIu64
                                 "],\"cls\":[\"\",%" PRIu64 "]}",
                                 end, begin);
    if (add_bos && !class->around && id_of(writer, "bos_token", "<|endoftext|>", &begin))
        return bitnet_buf_printf(&writer->json,
                                 "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
                                 "{\"id\":\"bos\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\","
                                 "\"type_id\":0}}],\"special_tokens\":{\"bos\":{\"id\":\"bos\","
                                 "\"ids\":[%" PRIu64 "],\"tokens\":[\"\"]}}}",
                                 begin);
    return bitnet_buf_printf(&writer->json, "null");
}

static enum bitnet_status write_json(struct writer *writer, const struct tokenizer_class *class)
{
    struct bitnet_buf *out = &writer->json;
    bool prefix = false, own_split = strstr(class->pre, "Sequence") != NULL;
    enum bitnet_status status =
        bitnet_json_bool(writer->source->tokenizer_config, "add_prefix_space", BITNET_OPTIONAL,
                         &prefix, writer->err);
    if (status) return status;
    bool ok =
        bitnet_buf_printf(out, "{\"added_tokens\":[") && write_added(writer) &&
        bitnet_buf_printf(out, "],\"normalizer\":%s,\"pre_tokenizer\":", class->normalizer) &&
        bitnet_buf_printf(out, class->pre, json_text_word(prefix), json_text_word(!own_split)) &&
        bitnet_buf_printf(out, ",\"decoder\":%s,\"post_processor\":", class->decoder) &&
        write_post_processor(writer, class) &&
        bitnet_buf_printf(out, ",\"model\":{\"type\":\"BPE\"%s}}", class->model);
    return ok ? BITNET_OK : no_memory(writer);
}

/* ------------------------------------------------------------------ merges.txt */

/* A list of strings, as if it stood in a JSON file. Lines are "left right"; the first may be a
 * "#version" comment. */
static enum bitnet_status read_merges(struct bitnet_str file, struct bitnet_arena *arena,
                                      struct bitnet_json *list, struct bitnet_error *err)
{
    const struct bitnet_json **place = &list->child;
    uint32_t number = 0;
    *list = (struct bitnet_json){.kind = BITNET_JSON_ARRAY};
    for (size_t at = 0; at < file.n;) {
        const char *end = memchr(file.at + at, '\n', file.n - at);
        size_t n = end ? (size_t)(end - file.at) - at : file.n - at;
        struct bitnet_str line = {file.at + at, n};
        at += end ? n + 1 : n;
        number++;
        if (line.n && line.at[line.n - 1] == '\r') line.n--;
        if (!line.n || (number == 1 && bitnet_str_starts(line, "#version"))) continue;
        struct bitnet_json *node = bitnet_arena_alloc(arena, 1, sizeof *node);
        if (!node) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
        *node = (struct bitnet_json){
            .kind = BITNET_JSON_STRING, .text = line, .line = number, .column = 1};
        *place = node;
        place = &node->next;
        list->n_children++;
    }
    return BITNET_OK;
}

/* ------------------------------------------------------------------ the whole */

#define MAX_VOCAB_BYTES ((size_t)128 << 20)

static enum bitnet_status make(struct writer *writer, struct bitnet_tokenizer **tokenizer,
                               struct bitnet_arena *arena)
{
    const struct tokenizer_class *class = NULL;
    struct json_parts parts = {0};
    struct bitnet_json merges;
    enum bitnet_status status = find_class(writer->source, &class, writer->err);
    if (status) return status;
    status = bitnet_json_parse(&writer->vocab, writer->source->vocab,
                               &(struct bitnet_json_limits){.max_bytes = MAX_VOCAB_BYTES}, arena,
                               writer->err);
    if (!status && writer->vocab->kind != BITNET_JSON_OBJECT)
        status = bitnet_fail(writer->err, BITNET_FORMAT, "the file is no JSON object");
    if (status) return bitnet_error_prefix(writer->err, status, "vocab.json");
    status = list_added(writer, class);
    if (!status) status = write_json(writer, class);
    if (!status)
        status =
            bitnet_json_parse(&parts.root, (struct bitnet_str){writer->json.at, writer->json.n},
                              NULL, arena, writer->err);
    if (!status) status = read_merges(writer->source->merges, arena, &merges, writer->err);
    parts.vocab = writer->vocab;
    parts.merges = &merges;
    return status ? status : tokenizer_read_parts(tokenizer, &parts, writer->err);
}

enum bitnet_status tokenizer_read_merges(struct bitnet_tokenizer **tokenizer,
                                         const struct merges_source *source,
                                         struct bitnet_error *err)
{
    struct writer writer = {.source = source, .json.max = (size_t)64 << 20, .err = err};
    struct bitnet_arena arena = {0};
    *tokenizer = NULL;
    enum bitnet_status status = make(&writer, tokenizer, &arena);
    bitnet_free(writer.added);
    bitnet_buf_free(&writer.json);
    bitnet_arena_free(&arena);
    return status;
}
