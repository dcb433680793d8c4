/* What happens to text before the model sees it and to tokens on the way back, in the words of
 * tokenizer.json, for tokenizers from other files. See export.h. Expressions are those of
 * tokenizers.md section 5 as their matchers spell them (split.h), in the dialect that Hugging Face
 * tokenizers and regex_parse.c share. */
#include "export.h"

#include "base64.h"
#include "json_text.h"

#define MARK "\xE2\x96\x81"

/* ------------------------------------------------------------------ byte-level BPE */

#define CONTRACTION "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define ANY_CASE    "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LLAMA3(contraction, digits)                                                                \
    contraction "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits                                     \
                "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* NULL: no byte-level vocabulary is cut by it. */
static const char *expression_of(const struct split_pass *pass, const struct pre_pass *named)
{
    switch (pass->matcher) {
    case SPLIT_GPT2:
        return "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    case SPLIT_LLAMA3:
        return pass->long_s ? LLAMA3(ANY_CASE, "{1,3}") : LLAMA3(CONTRACTION, "{1,3}");
    case SPLIT_QWEN2:
        return pass->long_s ? LLAMA3(ANY_CASE, "") : LLAMA3(CONTRACTION, "");
    case SPLIT_NUMBER:
        return "\\p{N}";
    case SPLIT_NUMBERS:
        return "\\p{N}+";
    case SPLIT_DIGITS3:
        return "[0-9][0-9][0-9]";
    case SPLIT_GROUPS3:
        return "[0-9]{1,3}(?=(?:[0-9]{3})*(?![0-9]))";
    case SPLIT_PUNCTUATION:
        return "[\\p{P}\\$\\+<=>\\^~\\|]+";
    case SPLIT_PUNCTUATION_TICK:
        return "[\\p{P}\\$\\+<=>\\^~\\|`]+";
    case SPLIT_REGEX:
        return named->regex;
    case SPLIT_MARK:
    case SPLIT_WHITE:
    case SPLIT_STRING:
        break;
    }
    return NULL;
}

static enum bitnet_status byte_level(struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    const struct pre *pre = tokenizer->pre;
    struct bitnet_buf *out = export->out;
    bool ok =
        bitnet_buf_printf(out, ",\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Sequence\","
                               "\"pretokenizers\":[");
    for (size_t i = 0; i < tokenizer->n_passes && ok; i++) {
        const char *expression = expression_of(&tokenizer->passes[i], &pre->passes[i]);
        if (!expression) return export_refuse(export, "its pre-tokenizer");
        ok = bitnet_buf_printf(out, "{\"type\":\"Split\",\"pattern\":{\"Regex\":") &&
             json_text_quote(out, bitnet_str_of(expression)) &&
             bitnet_buf_printf(out, "},\"behavior\":\"Isolated\",\"invert\":false},");
    }
    ok = ok &&
         bitnet_buf_printf(out, "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                                "\"trim_offsets\":true,\"use_regex\":false}]},"
                                "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                                "\"trim_offsets\":true,\"use_regex\":false}");
    return ok ? BITNET_OK : export_no_memory(export);
}

/* ------------------------------------------------------------------ marks for spaces */

static bool add_map(struct bitnet_buf *out, const struct charsmap *map)
{
    struct bitnet_bytes blob = charsmap_blob(map);
    return bitnet_buf_printf(out, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"") &&
           base64_encode((struct bitnet_str){(const char *)blob.at, blob.n}, out) &&
           bitnet_buf_printf(out, "\"},");
}

static bool add_replace(struct bitnet_buf *out, const char *kind, const char *what, const char *by)
{
    return bitnet_buf_printf(
        out, "{\"type\":\"Replace\",\"pattern\":{\"%s\":\"%s\"},\"content\":\"%s\"}", kind, what,
        by);
}

/* Runs of spaces become one, and none is left at the ends. SentencePiece takes marks away from the
 * end, whatever they were in the text. */
static bool add_normalizers(struct export *export, bool add_prefix)
{
    const struct words *words = &export->tokenizer->words;
    struct bitnet_buf *out = export->out;
    bool ok = bitnet_buf_printf(out, ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    if (ok && words->map.trie.n) ok = add_map(out, &words->map);
    if (ok && words->merge_spaces)
        ok = add_replace(out, "Regex", "\\\\A +| +\\\\z", "") && bitnet_buf_add(out, ",", 1) &&
             add_replace(out, "Regex", " {2,}", " ") && bitnet_buf_add(out, ",", 1);
    ok = ok && add_replace(out, "String", " ", MARK);
    if (ok && words->merge_spaces && words->is_sentencepiece)
        ok = bitnet_buf_add(out, ",", 1) && add_replace(out, "Regex", "(?:" MARK ")+\\\\z", "");
    if (ok && add_prefix)
        ok = bitnet_buf_printf(out, ",{\"type\":\"Prepend\",\"prepend\":\"" MARK "\"}");
    return ok && bitnet_buf_printf(out, "]}");
}

static enum bitnet_status marked(struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    struct bitnet_buf *out = export->out;
    bool prefix = tokenizer->special.add_space_prefix;
    bool ok = add_normalizers(export, prefix) &&
              bitnet_buf_printf(out, ",\"pre_tokenizer\":null,\"decoder\":{\"type\":\"Sequence\","
                                     "\"decoders\":[") &&
              add_replace(out, "String", MARK, " ") &&
              bitnet_buf_printf(out, ",{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}%s]}",
                                prefix ? ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,"
                                         "\"stop\":0}"
                                       : "");
    return ok ? BITNET_OK : export_no_memory(export);
}

/* ------------------------------------------------------------------ WordPiece */

static enum bitnet_status bert(struct export *export)
{
    bool ok = bitnet_buf_printf(
        export->out, ",\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
                     "\"handle_chinese_chars\":true,\"strip_accents\":true,\"lowercase\":true},"
                     "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
                     "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}");
    return ok ? BITNET_OK : export_no_memory(export);
}

enum bitnet_status export_rules(struct export *export)
{
    switch (export->tokenizer->kind) {
    case BITNET_TOKENIZER_BPE:
        return byte_level(export);
    case BITNET_TOKENIZER_SPM:
    case BITNET_TOKENIZER_UNIGRAM:
        return marked(export);
    case BITNET_TOKENIZER_WORDPIECE:
        return bert(export);
    case BITNET_TOKENIZER_RWKV:
    case BITNET_TOKENIZER_WORDS:
        break;
    }
    return export_refuse(export, "its kind");
}
