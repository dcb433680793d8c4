/* A tokenizer.json from any tokenizer. Comes in: a tokenizer; goes out: text that Hugging Face
 * tokenizers load with equal ids. One that came from a tokenizer.json keeps its components word for
 * word; the others get those that do what their engine does. What the schema cannot hold is refused
 * by name. See export.h; source: tokenizers.md section 11. */
#include "export.h"

#include <bitnet/alloc.h>

#include <inttypes.h>

#include "json_text.h"

#define MAX_BYTES ((size_t)1 << 30)
#define MARK      "\xE2\x96\x81"

enum bitnet_status export_no_memory(struct export *export)
{
    return bitnet_fail(export->err, BITNET_MEMORY, "out of memory for a tokenizer.json");
}

enum bitnet_status export_refuse(struct export *export, const char *what)
{
    return bitnet_fail(export->err, BITNET_UNSUPPORTED, "a tokenizer.json cannot hold %s", what);
}

static enum bitnet_token_type type_of(const struct export *export, uint32_t id)
{
    return (enum bitnet_token_type) export->tokenizer->vocab.type[id];
}

/* Found in text before the model sees it. */
static bool is_cut(const struct export *export, uint32_t id)
{
    enum bitnet_token_type type = type_of(export, id);
    return type == BITNET_TOKEN_CONTROL || type == BITNET_TOKEN_USER ||
           type == BITNET_TOKEN_UNKNOWN;
}

/* ------------------------------------------------------------------ what can be written */

static enum bitnet_status check_sentencepiece(struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    const struct words *words = &tokenizer->words;
    if (words->plain_spaces) return export_refuse(export, "spaces that stay as they are");
    if (words->suffix_spaces) return export_refuse(export, "a space behind the text");
    for (uint32_t id = 0; id < words->n_pieces; id++) {
        if (type_of(export, id) == BITNET_TOKEN_UNUSED)
            return export_refuse(export, "unused pieces of a SentencePiece model");
        if (type_of(export, id) == BITNET_TOKEN_USER && tokenizer->special.add_space_prefix)
            return export_refuse(export, "user-defined pieces beside a space before the text");
    }
    return BITNET_OK;
}

/* Merges may speak of spellings that are no tokens; those of a tokenizer.json may not. */
static enum bitnet_status check_merges(struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    if (tokenizer->vocab.n > tokenizer->vocab.n_tokens)
        return export_refuse(export, "merges of spellings that are no tokens");
    return BITNET_OK;
}

static enum bitnet_status check(struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    enum bitnet_status status = BITNET_OK;
    for (uint32_t id = 0; id < tokenizer->vocab.n_tokens; id++)
        if (!bitnet_utf8_valid(vocab_text(&tokenizer->vocab, id)))
            return export_refuse(export, "a token that is no UTF-8");
    if (tokenizer->hf) return BITNET_OK;
    if (tokenizer->kind == BITNET_TOKENIZER_RWKV)
        return export_refuse(export, "RWKV's vocabulary, which always takes the longest token");
    if (tokenizer->kind == BITNET_TOKENIZER_WORDS)
        return export_refuse(export, "a SentencePiece model of words or characters");
    if (tokenizer->by_chars)
        return export_refuse(export, "merges by rank over characters, cut at newlines");
    if (tokenizer->words.is_sentencepiece) status = check_sentencepiece(export);
    if (!status && tokenizer->kind == BITNET_TOKENIZER_BPE) status = check_merges(export);
    return status;
}

/* Unigram sees every piece of its list, so what is only added stays out of it; elsewhere a token
 * may be in both. */
static uint32_t count_model(const struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    uint32_t n = tokenizer->vocab.n_tokens;
    if (tokenizer->hf) {
        while (n && tokenizer->reach[n - 1] == REACH_ADDED) n--;
    } else if (tokenizer->kind == BITNET_TOKENIZER_UNIGRAM) {
        while (n && type_of(export, n - 1) != BITNET_TOKEN_NORMAL &&
               type_of(export, n - 1) != BITNET_TOKEN_BYTE &&
               type_of(export, n - 1) != BITNET_TOKEN_UNKNOWN)
            n--;
    } else {
        while (n && type_of(export, n - 1) == BITNET_TOKEN_UNUSED) n--; /* padding */
    }
    return n;
}

/* ------------------------------------------------------------------ added tokens */

static const struct special *find_special(const struct special_list *list, uint32_t id)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->at[i].id == id) return &list->at[i];
    return NULL;
}

static bool add_token(struct export *export, uint32_t id, bool *is_first)
{
    const struct vocab *vocab = &export->tokenizer->vocab;
    enum bitnet_token_type type = type_of(export, id);
    const struct special *found = find_special(&export->tokenizer->specials, id);
    bool ok = bitnet_buf_printf(export->out,
                                "%s{\"id\":%" PRIu32 ",\"content\":", *is_first ? "" : ",", id) &&
              json_text_quote(export->out, vocab_text(vocab, id)) &&
              bitnet_buf_printf(export->out,
                                ",\"single_word\":false,\"lstrip\":%s,\"rstrip\":%s,"
                                "\"normalized\":false,\"special\":%s}",
                                json_text_word(found && found->lstrip),
                                json_text_word(found && found->rstrip),
                                json_text_word(type != BITNET_TOKEN_USER));
    *is_first = false;
    return ok;
}

/* Ids of added tokens follow the model's without a hole, so padding between them is listed too. */
static enum bitnet_status add_tokens(struct export *export)
{
    uint32_t n = export->tokenizer->vocab.n_tokens, end = n;
    bool is_first = true;
    bool ok = bitnet_buf_printf(export->out, "\"added_tokens\":[");
    while (end > export->n_model && type_of(export, end - 1) == BITNET_TOKEN_UNUSED) end--;
    for (uint32_t id = 0; id < end && ok; id++)
        if (is_cut(export, id) || id >= export->n_model) ok = add_token(export, id, &is_first);
    ok = ok && bitnet_buf_add(export->out, "]", 1);
    return ok ? BITNET_OK : export_no_memory(export);
}

/* ------------------------------------------------------------------ tokens around a text */

static bool add_around(struct bitnet_buf *out, const char *name)
{
    return bitnet_buf_printf(out, "{\"SpecialToken\":{\"id\":\"%s\",\"type_id\":0}}", name);
}

static bool define(struct export *export, const char *name, int32_t id)
{
    return bitnet_buf_printf(export->out,
                             "\"%s\":{\"id\":\"%s\",\"ids\":[%" PRId32 "],\"tokens\":[", name, name,
                             id) &&
           json_text_quote(export->out, bitnet_token_text(export->tokenizer, id)) &&
           bitnet_buf_printf(export->out, "]}");
}

static enum bitnet_status add_post_processor(struct export *export)
{
    const struct bitnet_special_tokens *special = &export->tokenizer->special;
    bool is_bert = export->tokenizer->kind == BITNET_TOKENIZER_WORDPIECE;
    int32_t first = special->add_bos ? special->bos : BITNET_NO_TOKEN;
    int32_t last = is_bert ? special->sep : special->add_eos ? special->eos : BITNET_NO_TOKEN;
    struct bitnet_buf *out = export->out;
    if (first < 0 && last < 0)
        return bitnet_buf_printf(out, ",\"post_processor\":null") ? BITNET_OK
                                                                  : export_no_memory(export);
    bool ok =
        bitnet_buf_printf(out, ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[");
    if (ok && first >= 0) ok = add_around(out, "first") && bitnet_buf_add(out, ",", 1);
    ok = ok && bitnet_buf_printf(out, "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}");
    if (ok && last >= 0) ok = bitnet_buf_add(out, ",", 1) && add_around(out, "last");
    ok = ok && bitnet_buf_printf(out, "],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
                                      "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"
                                      "\"special_tokens\":{");
    if (ok && first >= 0) ok = define(export, "first", first);
    if (ok && first >= 0 && last >= 0) ok = bitnet_buf_add(out, ",", 1);
    if (ok && last >= 0) ok = define(export, "last", last);
    ok = ok && bitnet_buf_printf(out, "}}");
    return ok ? BITNET_OK : export_no_memory(export);
}

/* ------------------------------------------------------------------ the model */

/* BERT's tokens lose the mark of llama.cpp: what begins a word is bare, what continues it has "##".
 */
static bool add_spelling(struct export *export, uint32_t id)
{
    struct bitnet_str text = vocab_text(&export->tokenizer->vocab, id);
    struct bitnet_buf made = {.max = VOCAB_MAX_TOKEN_BYTES + 4};
    bool is_marked =
        !export->tokenizer->hf && export->tokenizer->kind == BITNET_TOKENIZER_WORDPIECE;
    bool is_bracketed = bitnet_str_starts(text, "[") && bitnet_str_ends(text, "]");
    if (!is_marked || is_bracketed) return json_text_quote(export->out, text);
    if (bitnet_str_starts(text, MARK))
        return json_text_quote(export->out, (struct bitnet_str){text.at + 3, text.n - 3});
    bool ok = bitnet_buf_add(&made, "##", 2) && bitnet_buf_add_str(&made, text) &&
              json_text_quote(export->out, (struct bitnet_str){made.at, made.n});
    bitnet_buf_free(&made);
    return ok;
}

static enum bitnet_status add_vocab(struct export *export)
{
    bool is_first = true, ok = bitnet_buf_printf(export->out, ",\"vocab\":{");
    for (uint32_t id = 0; id < export->n_model && ok; id++) {
        if (export->tokenizer->hf && export->tokenizer->reach[id] == REACH_ADDED) continue;
        ok = (is_first || bitnet_buf_add(export->out, ",", 1)) && add_spelling(export, id) &&
             bitnet_buf_printf(export->out, ":%" PRIu32, id);
        is_first = false;
    }
    ok = ok && bitnet_buf_add(export->out, "}", 1);
    return ok ? BITNET_OK : export_no_memory(export);
}

/* The fewest digits that give the number back: readers that round differently in the last of
 * seventeen read what they read in the file it came from. */
static bool add_score(struct bitnet_buf *out, double score)
{
    for (int digits = 1; digits <= 17; digits++) {
        size_t begin = out->n;
        double back = 0;
        if (!bitnet_buf_printf(out, "%.*g", digits, score)) return false;
        if (digits == 17 ||
            (bitnet_parse_f64((struct bitnet_str){out->at + begin, out->n - begin}, &back) &&
             back == score))
            return true;
        out->n = begin;
    }
    return true;
}

static enum bitnet_status add_scored_vocab(struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    bool ok = bitnet_buf_printf(export->out, ",\"vocab\":[");
    for (uint32_t id = 0; id < export->n_model && ok; id++) {
        double score = tokenizer->words.wide_scores ? tokenizer->words.wide_scores[id]
                                                    : (double)tokenizer->vocab.score[id];
        ok = (!id || bitnet_buf_add(export->out, ",", 1)) && bitnet_buf_add(export->out, "[", 1) &&
             json_text_quote(export->out, vocab_text(&tokenizer->vocab, id)) &&
             bitnet_buf_add(export->out, ",", 1) && add_score(export->out, score) &&
             bitnet_buf_add(export->out, "]", 1);
    }
    ok = ok && bitnet_buf_add(export->out, "]", 1);
    return ok ? BITNET_OK : export_no_memory(export);
}

static bool holds_space(const struct bitnet_tokenizer *tokenizer)
{
    const struct merge_table *merges = &tokenizer->merges;
    for (uint32_t rank = 0; rank < merges->n; rank++)
        for (int side = 0; side < 2; side++) {
            struct bitnet_str text = vocab_text(&tokenizer->vocab, merges->rules[rank][side]);
            if (memchr(text.at, ' ', text.n)) return true;
        }
    return false;
}

/* A pair that a file lists twice counts once, at its first place. */
static enum bitnet_status add_merges(struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    const struct merge_table *merges = &tokenizer->merges;
    bool as_pairs = holds_space(tokenizer), is_first = true;
    bool ok = bitnet_buf_add(export->out, "[", 1);
    for (uint32_t rank = 0; rank < merges->n && ok; rank++) {
        const uint32_t *rule = merges->rules[rank];
        const struct merge_slot *slot = merge_table_find(merges, rule[0], rule[1]);
        if (!merges->by_result && slot->rank_plus_1 != rank + 1) continue;
        ok = (is_first || bitnet_buf_add(export->out, ",", 1)) &&
             export_merge(export->out, vocab_text(&tokenizer->vocab, rule[0]),
                          vocab_text(&tokenizer->vocab, rule[1]), as_pairs);
        is_first = false;
    }
    ok = ok && bitnet_buf_add(export->out, "]", 1);
    return ok ? BITNET_OK : export_no_memory(export);
}

/* The name of a token, or null. */
static bool add_name(struct export *export, int32_t id)
{
    if (id < 0) return bitnet_buf_printf(export->out, "null");
    return json_text_quote(export->out, bitnet_token_text(export->tokenizer, id));
}

static bool add_affix(struct bitnet_buf *out, const char *name, struct bitnet_str affix)
{
    return bitnet_buf_printf(out, ",\"%s\":", name) &&
           (affix.n ? json_text_quote(out, affix) : bitnet_buf_printf(out, "null"));
}

static enum bitnet_status add_bpe(struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    static const struct hf none;
    const struct hf *hf = tokenizer->hf ? tokenizer->hf : &none;
    bool is_scored = !tokenizer->hf && tokenizer->kind == BITNET_TOKENIZER_SPM;
    bool falls_back = tokenizer->hf ? hf->byte_fallback
                                    : is_scored && (!tokenizer->words.is_sentencepiece ||
                                                    tokenizer->words.byte_fallback);
    int32_t unk = tokenizer->hf ? hf->unk : is_scored ? tokenizer->special.unk : BITNET_NO_TOKEN;
    bool ok =
        bitnet_buf_printf(export->out, "\"type\":\"BPE\",\"dropout\":null,\"unk_token\":") &&
        add_name(export, unk) &&
        add_affix(export->out, "continuing_subword_prefix", hf->inner_prefix) &&
        add_affix(export->out, "end_of_word_suffix", hf->end_suffix) &&
        bitnet_buf_printf(export->out, ",\"fuse_unk\":%s,\"byte_fallback\":%s,\"ignore_merges\":%s",
                          json_text_word(tokenizer->hf ? hf->fuse_unk : is_scored),
                          json_text_word(falls_back), json_text_word(tokenizer->ignore_merges));
    enum bitnet_status status = ok ? add_vocab(export) : export_no_memory(export);
    if (!status && !bitnet_buf_printf(export->out, ",\"merges\":"))
        status = export_no_memory(export);
    if (status) return status;
    return is_scored ? export_scored_merges(export) : add_merges(export);
}

static enum bitnet_status add_unigram(struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    int32_t unk = tokenizer->hf ? tokenizer->hf->unk : tokenizer->special.unk;
    bool falls_back = tokenizer->hf ? tokenizer->hf->byte_fallback : tokenizer->words.byte_fallback;
    bool ok = bitnet_buf_printf(export->out, "\"type\":\"Unigram\",\"byte_fallback\":%s",
                                json_text_word(falls_back));
    if (ok && unk >= 0) ok = bitnet_buf_printf(export->out, ",\"unk_id\":%" PRId32, unk);
    return ok ? add_scored_vocab(export) : export_no_memory(export);
}

/* llama.cpp knows no longest word. */
static enum bitnet_status add_wordpiece(struct export *export)
{
    const struct bitnet_tokenizer *tokenizer = export->tokenizer;
    bool is_words = tokenizer->kind == BITNET_TOKENIZER_WORDS;
    struct bitnet_str prefix = tokenizer->hf ? tokenizer->words.prefix : BITNET_STR("##");
    uint32_t longest = tokenizer->hf ? tokenizer->words.max_chars : UINT32_MAX;
    int32_t unk = tokenizer->hf ? tokenizer->hf->unk : tokenizer->special.unk;
    bool ok =
        bitnet_buf_printf(export->out,
                          "\"type\":\"%s\",\"unk_token\":", is_words ? "WordLevel" : "WordPiece") &&
        add_name(export, unk);
    if (ok && !is_words)
        ok = bitnet_buf_printf(export->out, ",\"continuing_subword_prefix\":") &&
             json_text_quote(export->out, prefix) &&
             bitnet_buf_printf(export->out, ",\"max_input_chars_per_word\":%" PRIu32, longest);
    return ok ? add_vocab(export) : export_no_memory(export);
}

static enum bitnet_status add_model(struct export *export)
{
    enum bitnet_tokenizer_kind kind = export->tokenizer->kind;
    if (!bitnet_buf_printf(export->out, ",\"model\":{")) return export_no_memory(export);
    enum bitnet_status status = kind == BITNET_TOKENIZER_BPE || kind == BITNET_TOKENIZER_SPM
                                    ? add_bpe(export)
                                : kind == BITNET_TOKENIZER_UNIGRAM ? add_unigram(export)
                                                                   : add_wordpiece(export);
    if (!status && !bitnet_buf_add(export->out, "}", 1)) status = export_no_memory(export);
    return status;
}

/* ------------------------------------------------------------------ the whole */

/* The components of the tokenizer.json that it came from. */
static enum bitnet_status add_kept(struct export *export)
{
    const struct hf_texts *texts = &export->tokenizer->hf->texts;
    struct bitnet_buf *out = export->out;
    bool ok =
        bitnet_buf_printf(out, "\"added_tokens\":") &&
        bitnet_buf_add_str(out, texts->added_tokens) &&
        bitnet_buf_printf(out, ",\"normalizer\":") && bitnet_buf_add_str(out, texts->normalizer) &&
        bitnet_buf_printf(out, ",\"pre_tokenizer\":") &&
        bitnet_buf_add_str(out, texts->pre_tokenizer) && bitnet_buf_printf(out, ",\"decoder\":") &&
        bitnet_buf_add_str(out, texts->decoder) && bitnet_buf_printf(out, ",\"post_processor\":") &&
        bitnet_buf_add_str(out, texts->post_processor);
    return ok ? BITNET_OK : export_no_memory(export);
}

enum bitnet_status bitnet_tokenizer_export_json(const struct bitnet_tokenizer *tokenizer,
                                                struct bitnet_buf *out, struct bitnet_error *err)
{
    struct bitnet_buf text = {.max = MAX_BYTES};
    struct export export = {.tokenizer = tokenizer, .out = &text, .err = err};
    enum bitnet_status status = check(&export);
    export.n_model = count_model(&export);
    if (!status && !bitnet_buf_printf(&text, "{\"version\":\"1.0\",\"truncation\":null,"
                                             "\"padding\":null,"))
        status = export_no_memory(&export);
    if (!status && tokenizer->hf) status = add_kept(&export);
    if (!status && !tokenizer->hf) {
        status = add_tokens(&export);
        if (!status) status = export_rules(&export);
        if (!status) status = add_post_processor(&export);
    }
    if (!status) status = add_model(&export);
    if (!status && !(bitnet_buf_printf(&text, "}\n") &&
                     bitnet_buf_add_str(out, (struct bitnet_str){text.at, text.n})))
        status = export_no_memory(&export);
    bitnet_buf_free(&text);
    return status;
}
