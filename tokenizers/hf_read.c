/* Reads the components of a tokenizer.json into struct hf. Comes in: JSON that is well-formed;
 * goes out: rows of components, sequences flattened. A type that is not known is refused by its
 * name, because ignoring it would change ids. See hf.h. */
#include "hf.h"

#include "base64.h"

#include <inttypes.h>
#include <string.h>

struct reader {
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error *err;
    const char *part; /* "normalizer", for messages */
};

typedef enum bitnet_status read_fn(struct reader *reader, const struct bitnet_json *node,
                                   struct bitnet_str type);

static enum bitnet_status no_memory(struct reader *reader)
{
    return bitnet_fail(reader->err, BITNET_MEMORY, "out of memory");
}

static enum bitnet_status full(struct reader *reader)
{
    return bitnet_fail(reader->err, BITNET_LIMIT, "%s has more than %d components", reader->part,
                       HF_MAX_COMPONENTS);
}

static enum bitnet_status unknown(struct reader *reader, struct bitnet_str type)
{
    return bitnet_fail(reader->err, BITNET_UNSUPPORTED, "%s type %s is not supported", reader->part,
                       BITNET_QUOTE(type));
}

static enum bitnet_status copy(struct reader *reader, struct bitnet_str text,
                               struct bitnet_str *kept)
{
    *kept = bitnet_arena_copy(&reader->tokenizer->arena, text);
    return kept->at ? BITNET_OK : no_memory(reader);
}

static enum bitnet_status read_text(struct reader *reader, const struct bitnet_json *node,
                                    const char *name, struct bitnet_str *kept)
{
    struct bitnet_str text = {0};
    enum bitnet_status status = bitnet_json_str(node, name, BITNET_REQUIRED, &text, reader->err);
    return status ? status : copy(reader, text, kept);
}

/* Calls `read` for the component, or, when it is a Sequence, for each of its members in `list`. A
 * stack of its own: sequences may lie in sequences as deep as JSON allows. */
#define MAX_DEPTH 64

static enum bitnet_status read_each(struct reader *reader, const struct bitnet_json *node,
                                    const char *list, read_fn *read)
{
    const struct bitnet_json *stack[MAX_DEPTH];
    size_t depth = 0;
    stack[depth++] = node;
    bool is_member = false;
    while (depth) {
        const struct bitnet_json *top = stack[--depth];
        if (!top) continue;
        if (is_member) stack[depth++] = top->next;
        struct bitnet_str type = {0};
        if (top->kind != BITNET_JSON_OBJECT)
            return bitnet_fail(reader->err, BITNET_FORMAT, "%s: line %" PRIu32 " is no object",
                               reader->part, top->line);
        enum bitnet_status status =
            bitnet_json_str(top, "type", BITNET_REQUIRED, &type, reader->err);
        if (status) return bitnet_error_prefix(reader->err, status, "%s", reader->part);
        if (!bitnet_str_is(type, "Sequence")) {
            status = read(reader, top, type);
            if (status) return status;
            if (!is_member) return BITNET_OK;
            continue;
        }
        const struct bitnet_json *members = bitnet_json_get(top, list);
        if (!members || members->kind != BITNET_JSON_ARRAY)
            return bitnet_fail(reader->err, BITNET_FORMAT, "%s: '%s' is no list", reader->part,
                               list);
        if (depth == MAX_DEPTH) return full(reader);
        stack[depth++] = members->child;
        is_member = true;
    }
    return BITNET_OK;
}

static bool is_absent(const struct bitnet_json *node)
{
    return !node || node->kind == BITNET_JSON_NULL;
}

/* ------------------------------------------------------------------ patterns */

/* {"String": s} or {"Regex": s}. */
static enum bitnet_status read_pattern(struct reader *reader, const struct bitnet_json *node,
                                       struct bitnet_str *text, bool *is_regex)
{
    const struct bitnet_json *pattern = bitnet_json_get(node, "pattern");
    const struct bitnet_json *regex = bitnet_json_get(pattern, "Regex");
    const struct bitnet_json *string = bitnet_json_get(pattern, "String");
    const struct bitnet_json *found = regex ? regex : string;
    if (!found || found->kind != BITNET_JSON_STRING)
        return bitnet_fail(reader->err, BITNET_FORMAT, "%s: a pattern is missing", reader->part);
    *text = found->text;
    *is_regex = regex != NULL;
    return BITNET_OK;
}

/* The expressions for which there is a matcher. */
#define CASES "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
static const struct known_regex {
    const char *text;
    enum split_matcher matcher;
    bool long_s; /* (?i:) takes U+017F for an s */
} known_regexes[] = {
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
     " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     SPLIT_LLAMA3, true},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
     " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     SPLIT_QWEN2, true},
    {CASES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
           " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     SPLIT_LLAMA3, false},
    {CASES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
           " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     SPLIT_QWEN2, false},
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
     SPLIT_GPT2, false},
    {"[0-9][0-9][0-9]", SPLIT_DIGITS3, false},
    {"\\p{N}", SPLIT_NUMBER, false},
    {"\\p{N}+", SPLIT_NUMBERS, false},
};

static enum bitnet_status read_matcher(struct reader *reader, struct bitnet_str text, bool is_regex,
                                       struct split_pass *pass)
{
    for (size_t i = 0; is_regex && i < sizeof known_regexes / sizeof known_regexes[0]; i++)
        if (bitnet_str_is(text, known_regexes[i].text)) {
            pass->matcher = known_regexes[i].matcher;
            pass->long_s = known_regexes[i].long_s;
            return BITNET_OK;
        }
    if (!is_regex) {
        pass->matcher = SPLIT_STRING;
        return copy(reader, text, &pass->string);
    }
    pass->matcher = SPLIT_REGEX;
    enum bitnet_status status =
        tokenizer_add_regex(reader->tokenizer, text, &pass->regex, reader->err);
    return status ? bitnet_error_prefix(reader->err, status, "%s pattern", reader->part)
                  : BITNET_OK;
}

static enum bitnet_status read_behavior(struct reader *reader, const struct bitnet_json *node,
                                        enum split_behavior *behavior)
{
    static const char *const names[] = {[SPLIT_ISOLATED] = "Isolated",
                                        [SPLIT_REMOVED] = "Removed",
                                        [SPLIT_CONTIGUOUS] = "Contiguous",
                                        [SPLIT_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [SPLIT_WITH_NEXT] = "MergedWithNext"};
    struct bitnet_str name = BITNET_STR("Isolated");
    enum bitnet_status status =
        bitnet_json_str(node, "behavior", BITNET_OPTIONAL, &name, reader->err);
    if (status) return status;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (bitnet_str_is(name, names[i])) {
            *behavior = (enum split_behavior)i;
            return BITNET_OK;
        }
    return bitnet_fail(reader->err, BITNET_FORMAT, "%s: behavior %s does not exist", reader->part,
                       BITNET_QUOTE(name));
}

/* ------------------------------------------------------------------ normalizers */

static enum bitnet_status read_replace(struct reader *reader, const struct bitnet_json *node,
                                       struct bitnet_str *text, struct bitnet_str *content,
                                       const struct regex **regex)
{
    struct bitnet_str what = {0};
    bool is_regex = false;
    enum bitnet_status status = read_pattern(reader, node, &what, &is_regex);
    if (!status && is_regex) {
        status = tokenizer_add_regex(reader->tokenizer, what, regex, reader->err);
        if (status) bitnet_error_prefix(reader->err, status, "%s pattern", reader->part);
    }
    if (!status) status = copy(reader, what, text);
    if (!status) status = read_text(reader, node, "content", content);
    return status;
}

static enum bitnet_status read_flag(struct reader *reader, const struct bitnet_json *node,
                                    const char *name, bool *flag)
{
    return bitnet_json_bool(node, name, BITNET_OPTIONAL, flag, reader->err);
}

/* strip_accents null means: as lowercase. */
static enum bitnet_status read_bert(struct reader *reader, const struct bitnet_json *node,
                                    struct hf_normalizer *made)
{
    made->kind = HF_BERT;
    made->clean = made->chinese = made->lower = true;
    enum bitnet_status status = read_flag(reader, node, "clean_text", &made->clean);
    if (!status) status = read_flag(reader, node, "handle_chinese_chars", &made->chinese);
    if (!status) status = read_flag(reader, node, "lowercase", &made->lower);
    made->accents = made->lower;
    if (!status) status = read_flag(reader, node, "strip_accents", &made->accents);
    return status;
}

static enum bitnet_status read_precompiled(struct reader *reader, const struct bitnet_json *node,
                                           struct hf_normalizer *made)
{
    struct bitnet_str text = {0}, kept = {0};
    struct bitnet_buf blob = {.max = (size_t)8 << 20};
    made->kind = HF_PRECOMPILED;
    enum bitnet_status status =
        bitnet_json_str(node, "precompiled_charsmap", BITNET_REQUIRED, &text, reader->err);
    if (!status && !base64_decode(text, &blob))
        status = bitnet_fail(reader->err, BITNET_FORMAT, "%s: the character map is no Base64",
                             reader->part);
    if (!status) status = copy(reader, (struct bitnet_str){blob.at, blob.n}, &kept);
    if (!status)
        status = charsmap_open(&made->map, (struct bitnet_bytes){(const uint8_t *)kept.at, kept.n},
                               reader->err);
    bitnet_buf_free(&blob);
    return status;
}

/* Those that are known by their name alone. */
static const struct plain_normalizer {
    const char *type;
    enum hf_normalizer_kind kind;
    enum normal_form form;
} plain_normalizers[] = {
    {"NFC", HF_FORM, NORMAL_NFC},
    {"NFD", HF_FORM, NORMAL_NFD},
    {"NFKC", HF_FORM, NORMAL_NFKC},
    {"NFKD", HF_FORM, NORMAL_NFKD},
    {"Lowercase", HF_LOWERCASE, 0},
    {"StripAccents", HF_STRIP_ACCENTS, 0},
    {"Nmt", HF_NMT, 0},
    {"ByteLevel", HF_SPELL_BYTES, 0},
};

static bool plain_normalizer(struct bitnet_str type, struct hf_normalizer *made)
{
    for (size_t i = 0; i < sizeof plain_normalizers / sizeof plain_normalizers[0]; i++)
        if (bitnet_str_is(type, plain_normalizers[i].type)) {
            made->kind = plain_normalizers[i].kind;
            made->form = plain_normalizers[i].form;
            return true;
        }
    return false;
}

static enum bitnet_status read_normalizer(struct reader *reader, const struct bitnet_json *node,
                                          struct bitnet_str type)
{
    struct hf *hf = reader->tokenizer->hf;
    struct hf_normalizer made = {0};
    enum bitnet_status status = BITNET_OK;
    if (bitnet_str_is(type, "Prepend")) {
        made.kind = HF_PREPEND;
        status = read_text(reader, node, "prepend", &made.text);
    } else if (bitnet_str_is(type, "Replace")) {
        status = read_replace(reader, node, &made.text, &made.content, &made.regex);
        made.kind = made.regex ? HF_REPLACE_REGEX : HF_REPLACE;
    } else if (bitnet_str_is(type, "Strip")) {
        made.kind = HF_STRIP;
        made.left = made.right = true;
        status = read_flag(reader, node, "strip_left", &made.left);
        if (!status) status = read_flag(reader, node, "strip_right", &made.right);
    } else if (bitnet_str_is(type, "BertNormalizer")) {
        status = read_bert(reader, node, &made);
    } else if (bitnet_str_is(type, "Precompiled")) {
        status = read_precompiled(reader, node, &made);
    } else if (!plain_normalizer(type, &made)) {
        return unknown(reader, type);
    }
    if (status) return status;
    if (hf->n_normalizers == HF_MAX_COMPONENTS) return full(reader);
    hf->normalizers[hf->n_normalizers++] = made;
    return BITNET_OK;
}

enum bitnet_status hf_read_normalizer(struct bitnet_tokenizer *tokenizer,
                                      const struct bitnet_json *node, struct bitnet_error *err)
{
    struct reader reader = {tokenizer, err, "normalizer"};
    return is_absent(node) ? BITNET_OK : read_each(&reader, node, "normalizers", read_normalizer);
}

/* ------------------------------------------------------------------ pre-tokenizers */

static enum bitnet_status read_split(struct reader *reader, const struct bitnet_json *node,
                                     struct hf_splitter *made)
{
    struct bitnet_str text = {0};
    bool is_regex = false;
    enum bitnet_status status = read_pattern(reader, node, &text, &is_regex);
    if (!status) status = read_matcher(reader, text, is_regex, &made->pass);
    if (!status) status = read_behavior(reader, node, &made->pass.behavior);
    if (!status)
        status = bitnet_json_bool(node, "invert", BITNET_OPTIONAL, &made->pass.invert, reader->err);
    return status;
}

static enum bitnet_status read_byte_level(struct reader *reader, const struct bitnet_json *node,
                                          struct hf_splitter *made)
{
    made->kind = HF_BYTE_LEVEL;
    made->pass.matcher = SPLIT_GPT2;
    made->use_regex = true;
    made->add_prefix_space = true;
    enum bitnet_status status = bitnet_json_bool(node, "add_prefix_space", BITNET_OPTIONAL,
                                                 &made->add_prefix_space, reader->err);
    if (!status)
        status =
            bitnet_json_bool(node, "use_regex", BITNET_OPTIONAL, &made->use_regex, reader->err);
    return status;
}

static enum bitnet_status read_digits(struct reader *reader, const struct bitnet_json *node,
                                      struct hf_splitter *made)
{
    bool individual = false;
    made->pass.matcher = SPLIT_NUMBER;
    enum bitnet_status status =
        bitnet_json_bool(node, "individual_digits", BITNET_OPTIONAL, &individual, reader->err);
    made->pass.behavior = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    return status;
}

static enum bitnet_status read_prepend(struct reader *reader, const struct bitnet_json *node,
                                       enum hf_prepend *prepend)
{
    static const char *const names[] = {
        [HF_PREPEND_ALWAYS] = "always", [HF_PREPEND_FIRST] = "first", [HF_PREPEND_NEVER] = "never"};
    struct bitnet_str name = BITNET_STR("always");
    bool old = true; /* files of before prepend_scheme have this flag */
    enum bitnet_status status =
        bitnet_json_bool(node, "add_prefix_space", BITNET_OPTIONAL, &old, reader->err);
    if (!old) name = BITNET_STR("never");
    if (!status)
        status = bitnet_json_str(node, "prepend_scheme", BITNET_OPTIONAL, &name, reader->err);
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !status; i++)
        if (bitnet_str_is(name, names[i])) {
            *prepend = (enum hf_prepend)i;
            return BITNET_OK;
        }
    if (status) return status;
    return bitnet_fail(reader->err, BITNET_FORMAT, "%s: prepend_scheme %s does not exist",
                       reader->part, BITNET_QUOTE(name));
}

static enum bitnet_status read_mark(struct reader *reader, const struct bitnet_json *node,
                                    struct bitnet_str *mark)
{
    enum bitnet_status status = read_text(reader, node, "replacement", mark);
    uint32_t c;
    if (!status && (!mark->n || bitnet_utf8_decode(mark->at, mark->n, &c) != mark->n))
        return bitnet_fail(reader->err, BITNET_FORMAT, "%s: replacement %s is no single character",
                           reader->part, BITNET_QUOTE(*mark));
    return status;
}

static enum bitnet_status read_metaspace(struct reader *reader, const struct bitnet_json *node,
                                         struct hf_splitter *made)
{
    made->kind = HF_METASPACE;
    made->split = true;
    enum bitnet_status status = read_mark(reader, node, &made->replacement);
    if (!status) status = read_prepend(reader, node, &made->prepend);
    if (!status)
        status = bitnet_json_bool(node, "split", BITNET_OPTIONAL, &made->split, reader->err);
    return status;
}

static enum bitnet_status add_splitter(struct reader *reader, const struct hf_splitter *made)
{
    struct hf *hf = reader->tokenizer->hf;
    if (hf->n_splitters == HF_MAX_COMPONENTS) return full(reader);
    hf->splitters[hf->n_splitters++] = *made;
    return BITNET_OK;
}

/* \w as Rust's regex crate has it: also the joiners, and letters in circles and squares. */
#define RUST_WORD                                                                                  \
    "\\w\\x{200C}\\x{200D}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}"           \
    "\\x{1F170}-\\x{1F189}"

/* Whitespace: keeps \w+ and [^\w\s]+, so what lies between is removed. */
static enum bitnet_status read_whitespace(struct reader *reader, struct hf_splitter *made)
{
    made->pass =
        (struct split_pass){.matcher = SPLIT_REGEX, .behavior = SPLIT_REMOVED, .invert = true};
    return tokenizer_add_regex(reader->tokenizer,
                               BITNET_STR("[" RUST_WORD "]+|[^" RUST_WORD "\\s]+"),
                               &made->pass.regex, reader->err);
}

static enum bitnet_status read_delimiter(struct reader *reader, const struct bitnet_json *node,
                                         struct hf_splitter *made)
{
    made->pass = (struct split_pass){.matcher = SPLIT_STRING, .behavior = SPLIT_REMOVED};
    enum bitnet_status status = read_text(reader, node, "delimiter", &made->pass.string);
    if (!status && !made->pass.string.n)
        status =
            bitnet_fail(reader->err, BITNET_FORMAT, "%s: the delimiter is empty", reader->part);
    return status;
}

static enum bitnet_status read_splitter(struct reader *reader, const struct bitnet_json *node,
                                        struct bitnet_str type)
{
    struct hf_splitter made = {0};
    enum bitnet_status status = BITNET_OK;
    if (bitnet_str_is(type, "Split")) {
        status = read_split(reader, node, &made);
    } else if (bitnet_str_is(type, "ByteLevel")) {
        status = read_byte_level(reader, node, &made);
    } else if (bitnet_str_is(type, "Digits")) {
        status = read_digits(reader, node, &made);
    } else if (bitnet_str_is(type, "Metaspace")) {
        status = read_metaspace(reader, node, &made);
    } else if (bitnet_str_is(type, "Punctuation")) {
        made.pass.matcher = SPLIT_MARK;
        status = read_behavior(reader, node, &made.pass.behavior);
    } else if (bitnet_str_is(type, "Whitespace")) {
        status = read_whitespace(reader, &made);
    } else if (bitnet_str_is(type, "CharDelimiterSplit")) {
        status = read_delimiter(reader, node, &made);
    } else if (bitnet_str_is(type, "UnicodeScripts")) {
        made.kind = HF_SCRIPTS;
    } else if (bitnet_str_is(type, "FixedLength")) {
        made.kind = HF_LENGTH;
        made.length = 5;
        status = bitnet_json_u64(node, "length", 1, UINT32_MAX, BITNET_OPTIONAL, &made.length,
                                 reader->err);
    } else if (bitnet_str_is(type, "WhitespaceSplit")) {
        made.pass = (struct split_pass){.matcher = SPLIT_WHITE, .behavior = SPLIT_REMOVED};
    } else if (bitnet_str_is(type, "BertPreTokenizer")) {
        made.pass = (struct split_pass){.matcher = SPLIT_WHITE, .behavior = SPLIT_REMOVED};
        status = add_splitter(reader, &made);
        made.pass = (struct split_pass){.matcher = SPLIT_MARK};
    } else {
        return unknown(reader, type);
    }
    return status ? status : add_splitter(reader, &made);
}

/* Passes over raw bytes do what passes and a last ByteLevel do over letters. */
static void find_byte_level(struct bitnet_tokenizer *tokenizer)
{
    struct hf *hf = tokenizer->hf;
    size_t n = hf->n_splitters;
    if (!n || hf->splitters[n - 1].kind != HF_BYTE_LEVEL || hf->splitters[n - 1].add_prefix_space ||
        n > SPLIT_MAX_PASSES)
        return;
    for (size_t i = 0; i + 1 < n; i++) {
        if (hf->splitters[i].kind != HF_PASS) {
            tokenizer->n_passes = 0;
            return;
        }
        tokenizer->passes[tokenizer->n_passes++] = hf->splitters[i].pass;
    }
    if (hf->splitters[n - 1].use_regex)
        tokenizer->passes[tokenizer->n_passes++] = hf->splitters[n - 1].pass;
    hf->is_byte_level = true;
}

enum bitnet_status hf_read_pre_tokenizer(struct bitnet_tokenizer *tokenizer,
                                         const struct bitnet_json *node, struct bitnet_error *err)
{
    struct reader reader = {tokenizer, err, "pre_tokenizer"};
    if (is_absent(node)) return BITNET_OK;
    enum bitnet_status status = read_each(&reader, node, "pretokenizers", read_splitter);
    if (!status) find_byte_level(tokenizer);
    return status;
}

/* ------------------------------------------------------------------ decoders */

static enum bitnet_status read_strip(struct reader *reader, const struct bitnet_json *node,
                                     struct hf_decoder *made)
{
    made->kind = HF_DECODE_STRIP;
    enum bitnet_status status = read_text(reader, node, "content", &made->text);
    if (!status && !made->text.n)
        status = bitnet_fail(reader->err, BITNET_FORMAT, "%s: nothing to strip", reader->part);
    if (!status)
        status = bitnet_json_u64(node, "start", 0, UINT32_MAX, BITNET_REQUIRED, &made->start,
                                 reader->err);
    if (!status)
        status =
            bitnet_json_u64(node, "stop", 0, UINT32_MAX, BITNET_REQUIRED, &made->stop, reader->err);
    return status;
}

static enum bitnet_status read_decoder(struct reader *reader, const struct bitnet_json *node,
                                       struct bitnet_str type)
{
    struct hf *hf = reader->tokenizer->hf;
    struct hf_decoder made = {0};
    enum bitnet_status status = BITNET_OK;
    if (bitnet_str_is(type, "ByteLevel")) {
        made.kind = HF_DECODE_BYTE_LEVEL;
    } else if (bitnet_str_is(type, "ByteFallback")) {
        made.kind = HF_DECODE_BYTE_FALLBACK;
    } else if (bitnet_str_is(type, "Fuse")) {
        made.kind = HF_DECODE_FUSE;
    } else if (bitnet_str_is(type, "Replace")) {
        made.kind = HF_DECODE_REPLACE;
        status = read_replace(reader, node, &made.text, &made.content, &made.regex);
    } else if (bitnet_str_is(type, "WordPiece")) {
        made.kind = HF_DECODE_WORDPIECE;
        made.cleanup = true;
        status = read_text(reader, node, "prefix", &made.text);
        if (!status) status = read_flag(reader, node, "cleanup", &made.cleanup);
    } else if (bitnet_str_is(type, "BPEDecoder")) {
        made.kind = HF_DECODE_BPE;
        status = read_text(reader, node, "suffix", &made.text);
    } else if (bitnet_str_is(type, "CTC")) {
        made.kind = HF_DECODE_CTC;
        made.cleanup = true;
        status = read_text(reader, node, "pad_token", &made.text);
        if (!status) status = read_text(reader, node, "word_delimiter_token", &made.content);
        if (!status) status = read_flag(reader, node, "cleanup", &made.cleanup);
    } else if (bitnet_str_is(type, "Strip")) {
        status = read_strip(reader, node, &made);
    } else if (bitnet_str_is(type, "Metaspace")) {
        made.kind = HF_DECODE_METASPACE;
        status = read_mark(reader, node, &made.text);
        if (!status) status = read_prepend(reader, node, &made.prepend);
    } else {
        return unknown(reader, type);
    }
    if (status) return status;
    if (hf->n_decoders == HF_MAX_COMPONENTS) return full(reader);
    hf->decoders[hf->n_decoders++] = made;
    return BITNET_OK;
}

enum bitnet_status hf_read_decoder(struct bitnet_tokenizer *tokenizer,
                                   const struct bitnet_json *node, struct bitnet_error *err)
{
    struct reader reader = {tokenizer, err, "decoder"};
    if (is_absent(node)) return BITNET_OK;
    tokenizer->hf->has_decoder = true;
    return read_each(&reader, node, "decoders", read_decoder);
}

/* ------------------------------------------------------------------ post-processors */

#define MAX_AROUND 65536

/* `ids` becomes: the new ones before or after the old. */
static enum bitnet_status put_ids(struct reader *reader, struct hf_ids *ids,
                                  const struct bitnet_tokens *more, bool in_front)
{
    if (!more->n) return BITNET_OK;
    uint32_t *at = bitnet_arena_alloc(&reader->tokenizer->arena, ids->n + more->n, sizeof *at);
    if (!at) return no_memory(reader);
    if (ids->n) memcpy(in_front ? at + more->n : at, ids->at, ids->n * sizeof *at);
    memcpy(in_front ? at : at + ids->n, more->at, more->n * sizeof *at);
    *ids = (struct hf_ids){at, ids->n + more->n};
    return BITNET_OK;
}

static enum bitnet_status add_id(struct reader *reader, const struct bitnet_json *node,
                                 struct bitnet_tokens *ids)
{
    uint64_t id;
    uint32_t n = reader->tokenizer->vocab.n_tokens;
    if (!node || !bitnet_json_as_u64(node, &id) || id >= n)
        return bitnet_fail(reader->err, BITNET_FORMAT, "%s: %s is no token (there are %" PRIu32 ")",
                           reader->part, node ? BITNET_QUOTE(node->text) : "a missing id", n);
    if (ids->n >= MAX_AROUND)
        return bitnet_fail(reader->err, BITNET_LIMIT, "%s adds more than %d tokens", reader->part,
                           MAX_AROUND);
    return bitnet_tokens_add(ids, (int32_t)id) ? BITNET_OK : no_memory(reader);
}

/* {"SpecialToken": {"id": name}}: the ids that special_tokens lists for the name. */
static enum bitnet_status add_named(struct reader *reader, const struct bitnet_json *specials,
                                    const struct bitnet_json *item, struct bitnet_tokens *ids)
{
    struct bitnet_str name = {0};
    enum bitnet_status status = bitnet_json_str(item, "id", BITNET_REQUIRED, &name, reader->err);
    if (status) return status;
    const struct bitnet_json *found = specials ? specials->child : NULL;
    while (found && !bitnet_str_equal(found->key, name)) found = found->next;
    const struct bitnet_json *list = bitnet_json_get(found, "ids");
    if (!list || list->kind != BITNET_JSON_ARRAY)
        return bitnet_fail(reader->err, BITNET_FORMAT, "%s: special token %s is not defined",
                           reader->part, BITNET_QUOTE(name));
    for (const struct bitnet_json *id = list->child; id && !status; id = id->next)
        status = add_id(reader, id, ids);
    return status;
}

static enum bitnet_status check_specials(struct reader *reader, const struct bitnet_json *specials)
{
    struct bitnet_tokens ids = {0};
    enum bitnet_status status = BITNET_OK;
    for (const struct bitnet_json *s = specials ? specials->child : NULL; s && !status;
         s = s->next) {
        const struct bitnet_json *list = bitnet_json_get(s, "ids");
        for (const struct bitnet_json *id = list ? list->child : NULL; id && !status; id = id->next)
            status = add_id(reader, id, &ids);
    }
    bitnet_tokens_free(&ids);
    return status;
}

static enum bitnet_status read_template(struct reader *reader, const struct bitnet_json *node)
{
    struct hf *hf = reader->tokenizer->hf;
    const struct bitnet_json *single = bitnet_json_get(node, "single");
    const struct bitnet_json *specials = bitnet_json_get(node, "special_tokens");
    struct bitnet_tokens ids[2] = {{0}, {0}};
    size_t n_texts = 0;
    if (!single || single->kind != BITNET_JSON_ARRAY)
        return bitnet_fail(reader->err, BITNET_FORMAT, "%s: 'single' is no list", reader->part);
    enum bitnet_status status = check_specials(reader, specials);
    for (const struct bitnet_json *item = single->child; item && !status; item = item->next) {
        const struct bitnet_json *special = bitnet_json_get(item, "SpecialToken");
        if (special)
            status = add_named(reader, specials, special, &ids[n_texts ? 1 : 0]);
        else if (!bitnet_json_get(item, "Sequence") || n_texts++)
            status = bitnet_fail(reader->err, BITNET_FORMAT,
                                 "%s: 'single' does not hold the text once", reader->part);
    }
    if (!status && !n_texts)
        status = bitnet_fail(reader->err, BITNET_FORMAT, "%s: 'single' does not hold the text once",
                             reader->part);
    if (!status) status = put_ids(reader, &hf->before, &ids[0], true);
    if (!status) status = put_ids(reader, &hf->after, &ids[1], false);
    bitnet_tokens_free(&ids[0]);
    bitnet_tokens_free(&ids[1]);
    return status;
}

/* BertProcessing, RobertaProcessing: "cls": [text, id] before, "sep": [text, id] after. */
static enum bitnet_status read_cls_sep(struct reader *reader, const struct bitnet_json *node)
{
    struct hf *hf = reader->tokenizer->hf;
    struct bitnet_tokens ids[2] = {{0}, {0}};
    const char *const names[2] = {"cls", "sep"};
    enum bitnet_status status = BITNET_OK;
    for (int i = 0; i < 2 && !status; i++) {
        const struct bitnet_json *pair = bitnet_json_get(node, names[i]);
        bool is_pair = pair && pair->kind == BITNET_JSON_ARRAY && pair->n_children == 2;
        status = add_id(reader, is_pair ? pair->child->next : NULL, &ids[i]);
    }
    if (!status) status = put_ids(reader, &hf->before, &ids[0], true);
    if (!status) status = put_ids(reader, &hf->after, &ids[1], false);
    bitnet_tokens_free(&ids[0]);
    bitnet_tokens_free(&ids[1]);
    return status;
}

static enum bitnet_status read_post_processor(struct reader *reader, const struct bitnet_json *node,
                                              struct bitnet_str type)
{
    if (bitnet_str_is(type, "TemplateProcessing")) return read_template(reader, node);
    if (bitnet_str_is(type, "BertProcessing") || bitnet_str_is(type, "RobertaProcessing"))
        return read_cls_sep(reader, node);
    if (bitnet_str_is(type, "ByteLevel")) return BITNET_OK; /* moves offsets, no ids */
    return unknown(reader, type);
}

enum bitnet_status hf_read_post_processor(struct bitnet_tokenizer *tokenizer,
                                          const struct bitnet_json *node, struct bitnet_error *err)
{
    struct reader reader = {tokenizer, err, "post_processor"};
    return is_absent(node) ? BITNET_OK
                           : read_each(&reader, node, "processors", read_post_processor);
}
