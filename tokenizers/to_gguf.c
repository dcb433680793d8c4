/* A tokenizer as GGUF metadata. Comes in: a tokenizer from any source; goes out: the tokenizer.*
 * keys with the types and in the order of llama.cpp's converter of 2025-02 (tokenizers.md section
 * 13). A tokenizer that llama.cpp cannot run as its source does is refused: written anyway, its
 * files would give other ids without a word. */
#include "hf.h"
#include "probe.h"

#include <bitnet/alloc.h>

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "out of memory for the tokenizer's metadata");
}

/* ------------------------------------------------------------------ what llama.cpp can run */

static enum bitnet_status refuse(struct bitnet_error *err, const char *what)
{
    return bitnet_hint(err, bitnet_fail(err, BITNET_UNSUPPORTED, "%s", what),
                       "a GGUF would give other token ids");
}

/* A .model as llama.cpp's BPE or Unigram. */
static enum bitnet_status check_sentencepiece(const struct bitnet_tokenizer *tokenizer,
                                              struct bitnet_error *err)
{
    const struct words *words = &tokenizer->words;
    bool is_bpe = tokenizer->kind == BITNET_TOKENIZER_SPM;
    if (words->plain_spaces)
        return refuse(err, "this SentencePiece model leaves spaces as they are, which llama.cpp "
                           "does not do");
    if (is_bpe && (words->map.trie.n || words->merge_spaces))
        return refuse(err, "this SentencePiece model normalizes text, which llama.cpp does not do "
                           "for BPE");
    if (!is_bpe && words->byte_fallback)
        return refuse(err, "this Unigram model spells unknown characters in bytes, which "
                           "llama.cpp does not do for Unigram");
    return BITNET_OK;
}

/* What a Unigram of a tokenizer.json does with text, in the three keys that llama.cpp has. */
struct unigram_rules {
    const struct charsmap *map; /* NULL: none */
    bool add_prefix, merge_spaces;
};

/* " {2,}" by one space, or by one mark: runs of spaces are merged. */
static bool merges_spaces(const struct hf_normalizer *normalizer)
{
    return normalizer->kind == HF_REPLACE_REGEX &&
           (bitnet_str_is(normalizer->text, " {2,}") || bitnet_str_is(normalizer->text, " +")) &&
           (bitnet_str_is(normalizer->content, " ") ||
            bitnet_str_is(normalizer->content, "\xE2\x96\x81"));
}

static bool read_unigram_rules(const struct hf *hf, struct unigram_rules *rules)
{
    bool has_mark = false;
    *rules = (struct unigram_rules){0};
    for (size_t i = 0; i < hf->n_normalizers; i++) {
        const struct hf_normalizer *normalizer = &hf->normalizers[i];
        if (normalizer->kind == HF_PRECOMPILED && i == 0)
            rules->map = &normalizer->map;
        else if (merges_spaces(normalizer) || normalizer->kind == HF_STRIP)
            rules->merge_spaces = true;
        else
            return false;
    }
    for (size_t i = 0; i < hf->n_splitters; i++) {
        const struct hf_splitter *splitter = &hf->splitters[i];
        if (splitter->kind == HF_PASS && splitter->pass.matcher == SPLIT_WHITE &&
            splitter->pass.behavior == SPLIT_REMOVED)
            rules->merge_spaces = true;
        else if (splitter->kind == HF_METASPACE && !has_mark &&
                 bitnet_str_is(splitter->replacement, "\xE2\x96\x81"))
            has_mark = true;
        else
            return false;
        rules->add_prefix = has_mark && splitter->prepend != HF_PREPEND_NEVER;
    }
    return has_mark && !hf->byte_fallback;
}

static enum bitnet_status find_unigram_rules(const struct bitnet_tokenizer *tokenizer,
                                             struct unigram_rules *rules, struct bitnet_error *err)
{
    const struct words *words = &tokenizer->words;
    *rules = (struct unigram_rules){.map = words->map.trie.n ? &words->map : NULL,
                                    .add_prefix = tokenizer->special.add_space_prefix,
                                    .merge_spaces = words->merge_spaces};
    if (!tokenizer->hf || read_unigram_rules(tokenizer->hf, rules)) return BITNET_OK;
    return refuse(err, "llama.cpp has no normalizer that treats text as this tokenizer.json does");
}

/* llama.cpp's BERT lower-cases and strips accents whatever a file says, and its words continue
 * with "##". */
static enum bitnet_status check_wordpiece(const struct bitnet_tokenizer *tokenizer,
                                          struct bitnet_error *err)
{
    const struct hf *hf = tokenizer->hf;
    if (!hf) return BITNET_OK;
    const struct hf_normalizer *normalizer = hf->n_normalizers == 1 ? &hf->normalizers[0] : NULL;
    bool is_bert = normalizer && normalizer->kind == HF_BERT && normalizer->lower &&
                   normalizer->accents && hf->n_splitters == 2 &&
                   hf->splitters[0].pass.matcher == SPLIT_WHITE &&
                   hf->splitters[1].pass.matcher == SPLIT_MARK;
    if (is_bert && bitnet_str_is(tokenizer->words.prefix, "##")) return BITNET_OK;
    return refuse(err, "llama.cpp runs WordPiece only as uncased BERT has it, and this "
                       "tokenizer.json is another");
}

/* Llama 2's and Gemma's BPE: spaces become marks, and nothing else happens before the merges. (A
 * pre-tokenizer that cuts at spaces finds none.) */
static bool is_spm_like(const struct hf *hf)
{
    const struct bitnet_str mark = BITNET_STR("\xE2\x96\x81");
    bool has_mark = false;
    for (size_t i = 0; i < hf->n_normalizers; i++) {
        const struct hf_normalizer *normalizer = &hf->normalizers[i];
        bool marks = normalizer->kind == HF_REPLACE && bitnet_str_is(normalizer->text, " ") &&
                     bitnet_str_equal(normalizer->content, mark);
        if (!marks && !(normalizer->kind == HF_PREPEND && bitnet_str_equal(normalizer->text, mark)))
            return false;
        has_mark = has_mark || marks;
    }
    for (size_t i = 0; i < hf->n_splitters; i++) {
        const struct hf_splitter *splitter = &hf->splitters[i];
        bool marks =
            splitter->kind == HF_METASPACE && bitnet_str_equal(splitter->replacement, mark);
        if (!marks &&
            !(has_mark && splitter->kind == HF_PASS && splitter->pass.matcher == SPLIT_STRING &&
              bitnet_str_is(splitter->pass.string, " ")))
            return false;
        has_mark = true;
    }
    return has_mark && !hf->has_affix;
}

static enum bitnet_status check(const struct bitnet_tokenizer *tokenizer, struct bitnet_error *err)
{
    struct unigram_rules rules;
    enum bitnet_status status = BITNET_OK;
    if (tokenizer->words.is_sentencepiece) status = check_sentencepiece(tokenizer, err);
    if (status) return status;
    switch (tokenizer->kind) {
    case BITNET_TOKENIZER_BPE:
        if (!tokenizer->pre)
            return refuse(err, "llama.cpp has no pre-tokenizer that cuts text as this "
                               "tokenizer.json does");
        break;
    case BITNET_TOKENIZER_UNIGRAM:
        return find_unigram_rules(tokenizer, &rules, err);
    case BITNET_TOKENIZER_WORDPIECE:
        return check_wordpiece(tokenizer, err);
    case BITNET_TOKENIZER_WORDS:
        return refuse(err, "llama.cpp has no vocabulary of whole words");
    case BITNET_TOKENIZER_SPM:
        if (tokenizer->hf && !is_spm_like(tokenizer->hf))
            return refuse(err, "llama.cpp has no BPE over characters that treats text as this "
                               "tokenizer.json does");
        break;
    case BITNET_TOKENIZER_RWKV:
        break;
    }
    return BITNET_OK;
}

/* ------------------------------------------------------------------ the vocabulary */

/* User-defined tokens match raw text in llama.cpp, so they hold spaces where the vocabulary of a
 * tokenizer.json has U+2581. */
static bool needs_spaces(const struct bitnet_tokenizer *tokenizer, uint32_t id)
{
    struct bitnet_str text = vocab_text(&tokenizer->vocab, id);
    return tokenizer->hf && tokenizer->vocab.type[id] == BITNET_TOKEN_USER &&
           memmem(text.at, text.n, "\xE2\x96\x81", 3);
}

/* BERT's tokens as llama.cpp looks for them: the beginning of a word is marked, not its inside. */
static bool mark_word(struct bitnet_str text, struct bitnet_buf *out)
{
    bool is_bracketed = bitnet_str_starts(text, "[") && bitnet_str_ends(text, "]");
    if (is_bracketed) return bitnet_buf_add_str(out, text);
    if (bitnet_str_starts(text, "##")) return bitnet_buf_add(out, text.at + 2, text.n - 2);
    return bitnet_buf_add(out, "\xE2\x96\x81", 3) && bitnet_buf_add_str(out, text);
}

/* The spelling in the GGUF; *text is changed only where it differs from ours. */
static bool spell(const struct bitnet_tokenizer *tokenizer, uint32_t id, struct bitnet_arena *arena,
                  struct bitnet_str *text)
{
    bool is_marked = tokenizer->hf && tokenizer->kind == BITNET_TOKENIZER_WORDPIECE;
    struct bitnet_buf made = {.max = VOCAB_MAX_TOKEN_BYTES + 4};
    *text = vocab_text(&tokenizer->vocab, id);
    if (!is_marked && !needs_spaces(tokenizer, id)) return true;
    bool ok = is_marked ? mark_word(*text, &made)
                        : hf_replace(&made, *text, BITNET_STR("\xE2\x96\x81"), BITNET_STR(" "));
    if (ok) *text = bitnet_arena_copy(arena, (struct bitnet_str){made.at ? made.at : "", made.n});
    bitnet_buf_free(&made);
    return ok && text->at;
}

static enum bitnet_status put_tokens(const struct bitnet_tokenizer *tokenizer,
                                     struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    uint32_t n = tokenizer->vocab.n_tokens;
    struct bitnet_arena arena = {0};
    struct bitnet_str *texts = bitnet_alloc(n, sizeof *texts);
    bool ok = texts != NULL;
    for (uint32_t id = 0; id < n && ok; id++) ok = spell(tokenizer, id, &arena, &texts[id]);
    if (ok) bitnet_gguf_put_strings(writer, "tokenizer.ggml.tokens", texts, n);
    bitnet_free(texts);
    bitnet_arena_free(&arena);
    return ok ? BITNET_OK : no_memory(err);
}

/* The converter asks a .model only for unknown, control, unused and byte pieces, so user-defined
 * ones come out as normal; and it knows the unknown token of a Unigram by its id. */
static enum bitnet_token_type type_of(const struct bitnet_tokenizer *tokenizer, uint32_t id)
{
    enum bitnet_token_type type = (enum bitnet_token_type)tokenizer->vocab.type[id];
    const struct words *words = &tokenizer->words;
    struct bitnet_str text = vocab_text(&tokenizer->vocab, id);
    if (words->is_sentencepiece && type == BITNET_TOKEN_USER &&
        words_user_prefix(words, text) == text.n)
        return BITNET_TOKEN_NORMAL;
    if (tokenizer->hf && tokenizer->kind == BITNET_TOKENIZER_UNIGRAM &&
        (int32_t)id == tokenizer->hf->unk)
        return BITNET_TOKEN_UNKNOWN;
    return type;
}

static enum bitnet_status put_scores_and_types(const struct bitnet_tokenizer *tokenizer,
                                               struct bitnet_gguf_writer *writer,
                                               struct bitnet_error *err)
{
    uint32_t n = tokenizer->vocab.n_tokens;
    uint8_t *packed = bitnet_alloc(n, 4);
    if (!packed) return no_memory(err);
    if (tokenizer->kind == BITNET_TOKENIZER_SPM || tokenizer->kind == BITNET_TOKENIZER_UNIGRAM) {
        for (uint32_t id = 0; id < n; id++)
            bitnet_store_f32(packed + 4 * (size_t)id, tokenizer->vocab.score[id]);
        bitnet_gguf_put_array(writer, "tokenizer.ggml.scores", BITNET_GGUF_F32, packed, n);
    }
    for (uint32_t id = 0; id < n; id++)
        bitnet_store_u32(packed + 4 * (size_t)id, type_of(tokenizer, id));
    bitnet_gguf_put_array(writer, "tokenizer.ggml.token_type", BITNET_GGUF_I32, packed, n);
    bitnet_free(packed);
    return BITNET_OK;
}

/* "left right". A space inside a part is shifted to U+0120, as the converter does. */
static bool add_part(struct bitnet_buf *out, struct bitnet_str part)
{
    return hf_replace(out, part, BITNET_STR(" "), BITNET_STR("\xC4\xA0"));
}

static enum bitnet_status put_merges(const struct bitnet_tokenizer *tokenizer,
                                     struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    const struct merge_table *merges = &tokenizer->merges;
    struct bitnet_buf pool = {.max = (size_t)1 << 32};
    struct bitnet_str *texts = bitnet_alloc(merges->n + 1u, sizeof *texts);
    size_t *end = bitnet_alloc(merges->n + 1u, sizeof *end);
    bool ok = texts && end;
    for (uint32_t rank = 0; rank < merges->n && ok; rank++) {
        ok = add_part(&pool, vocab_text(&tokenizer->vocab, merges->rules[rank][0])) &&
             bitnet_buf_add(&pool, " ", 1) &&
             add_part(&pool, vocab_text(&tokenizer->vocab, merges->rules[rank][1]));
        if (ok) end[rank] = pool.n;
    }
    for (uint32_t rank = 0; rank < merges->n && ok; rank++) {
        size_t begin = rank ? end[rank - 1] : 0;
        texts[rank] = (struct bitnet_str){pool.at + begin, end[rank] - begin};
    }
    if (ok) bitnet_gguf_put_strings(writer, "tokenizer.ggml.merges", texts, merges->n);
    bitnet_free(texts);
    bitnet_free(end);
    bitnet_buf_free(&pool);
    return ok ? BITNET_OK : no_memory(err);
}

/* ------------------------------------------------------------------ ids, flags, templates */

/* The token that ends a text. In GGUF one id is both what a reader appends and what ends
 * generation; where the source appends another than it names (an embedding model's end of text,
 * beside a chat model's end of turn), the appended one is it, as microsoft/BitNet's converter has
 * it too, and the other becomes the end of a turn. */
static bool ends_texts(const struct bitnet_tokenizer *tokenizer)
{
    bool is_added =
        tokenizer->add_eos_is_given ? tokenizer->add_eos_token : tokenizer->special.add_eos;
    bool is_bert = tokenizer->kind == BITNET_TOKENIZER_WORDPIECE; /* appends sep, whatever eos is */
    return is_added && !is_bert && tokenizer->hf && tokenizer->hf->after.n == 1;
}

static int32_t final_token(const struct bitnet_tokenizer *tokenizer)
{
    return ends_texts(tokenizer) ? (int32_t)tokenizer->hf->after.at[0] : tokenizer->special.eos;
}

static void put_ids(const struct bitnet_tokenizer *tokenizer, struct bitnet_gguf_writer *writer)
{
    const struct bitnet_special_tokens *special = &tokenizer->special;
    const int32_t eos = final_token(tokenizer);
    const struct {
        const char *key; /* NULL: the converter has none */
        int32_t id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", special->bos},
        {"tokenizer.ggml.eos_token_id", eos},
        {"tokenizer.ggml.unknown_token_id", special->unk},
        {"tokenizer.ggml.seperator_token_id", special->sep}, /* spelt so */
        {"tokenizer.ggml.padding_token_id", special->pad},
        {NULL, tokenizer->cls},
        {"tokenizer.ggml.mask_token_id", tokenizer->mask},
    };
    size_t n = tokenizer->n_ids ? tokenizer->n_ids : sizeof ids / sizeof ids[0];
    bool has_eos = false;
    for (size_t i = 0; i < n; i++) {
        size_t which = tokenizer->n_ids ? tokenizer->id_order[i] : i;
        has_eos = has_eos || which == 1;
        if (ids[which].key && ids[which].id >= 0)
            bitnet_gguf_put_u32(writer, ids[which].key, (uint32_t)ids[which].id);
    }
    if (!has_eos && ends_texts(tokenizer) && eos >= 0)
        bitnet_gguf_put_u32(writer, ids[1].key, (uint32_t)eos);
    if (tokenizer->kind == BITNET_TOKENIZER_RWKV && special->eot >= 0)
        bitnet_gguf_put_u32(writer, "tokenizer.ggml.eot_token_id", (uint32_t)special->eot);
    else if (eos != special->eos && special->eos >= 0)
        bitnet_gguf_put_u32(writer, "tokenizer.ggml.eot_token_id", (uint32_t)special->eos);
}

/* Flags that the source states; and where it states none, but the reader's default would add other
 * tokens than the source does, the flag that makes both agree. */
static void put_flags(const struct bitnet_tokenizer *tokenizer, struct bitnet_gguf_writer *writer)
{
    const struct bitnet_special_tokens *special = &tokenizer->special;
    bool is_spm = tokenizer->kind == BITNET_TOKENIZER_SPM;
    bool is_bpe = tokenizer->kind == BITNET_TOKENIZER_BPE;
    enum pre_bos bos = is_bpe ? tokenizer->pre->bos : PRE_BOS_KEEP;
    bool default_bos = is_spm || bos == PRE_BOS_ADD || bos == PRE_BOS_FORCE;
    if (tokenizer->kind == BITNET_TOKENIZER_RWKV) return;
    if (tokenizer->kind == BITNET_TOKENIZER_WORDPIECE) default_bos = special->add_bos;
    if (tokenizer->add_bos_is_given)
        bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", tokenizer->add_bos_token);
    else if (special->add_bos != default_bos)
        bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", special->add_bos);
    if (tokenizer->add_eos_is_given)
        bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_eos_token", tokenizer->add_eos_token);
    else if (special->add_eos && tokenizer->kind != BITNET_TOKENIZER_WORDPIECE)
        bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_eos_token", true);
    if (is_spm && (tokenizer->add_space_prefix_is_given || !special->add_space_prefix))
        bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", special->add_space_prefix);
}

/* llama.cpp does without a default here: both flags are written, and after the ids. */
static void put_unigram_flags(const struct bitnet_tokenizer *tokenizer,
                              struct bitnet_gguf_writer *writer)
{
    bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", tokenizer->special.add_bos);
    bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_eos_token", tokenizer->special.add_eos);
}

static enum bitnet_status put_unigram_rules(const struct bitnet_tokenizer *tokenizer,
                                            struct bitnet_gguf_writer *writer,
                                            struct bitnet_error *err)
{
    struct unigram_rules rules;
    enum bitnet_status status = find_unigram_rules(tokenizer, &rules, err);
    if (status) return status;
    bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", rules.add_prefix);
    bitnet_gguf_put_bool(writer, "tokenizer.ggml.remove_extra_whitespaces", rules.merge_spaces);
    struct bitnet_bytes blob = rules.map ? charsmap_blob(rules.map) : (struct bitnet_bytes){0};
    if (blob.n)
        bitnet_gguf_put_array(writer, "tokenizer.ggml.precompiled_charsmap", BITNET_GGUF_U8,
                              blob.at, blob.n);
    return BITNET_OK;
}

/* Non-alphanumerics of a template's name become underscores. */
static bool name_template(struct bitnet_str name, struct bitnet_buf *out)
{
    bool ok = true;
    for (size_t i = 0; i < name.n && ok; i++) {
        char c = name.at[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        ok = bitnet_buf_add(out, plain ? &c : "_", 1);
    }
    return ok;
}

/* Each under its name, then the list of names, then the default. */
static enum bitnet_status put_templates(const struct bitnet_tokenizer *tokenizer,
                                        struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    size_t n = tokenizer->n_templates;
    struct bitnet_arena arena = {0};
    struct bitnet_str *names = bitnet_alloc(n + 1, sizeof *names);
    bool ok = names != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        static const char stem[] = "tokenizer.chat_template.";
        struct bitnet_buf key = {.max = 1024};
        ok = bitnet_buf_add(&key, stem, sizeof stem - 1) &&
             name_template(tokenizer->templates[i].name, &key);
        if (ok) bitnet_gguf_put_str(writer, key.at, tokenizer->templates[i].text);
        if (ok)
            names[i] = bitnet_arena_copy(
                &arena, (struct bitnet_str){key.at + sizeof stem - 1, key.n - sizeof stem + 1});
        ok = ok && names[i].at;
        bitnet_buf_free(&key);
    }
    if (ok && n) bitnet_gguf_put_strings(writer, "tokenizer.chat_templates", names, n);
    bitnet_free(names);
    bitnet_arena_free(&arena);
    if (ok && tokenizer->chat_template.n)
        bitnet_gguf_put_str(writer, "tokenizer.chat_template", tokenizer->chat_template);
    return ok ? BITNET_OK : no_memory(err);
}

/* ------------------------------------------------------------------ the whole */

/* For BERT the name says nothing that llama.cpp would read, but its converter writes it. */
static enum bitnet_status name_wordpiece(const struct bitnet_tokenizer *tokenizer,
                                         const char **name, struct bitnet_error *err)
{
    struct bitnet_tokens ids = {0};
    *name = NULL;
    enum bitnet_status status = probe_encode(tokenizer, false, &ids, err);
    if (!status) status = probe_name(BITNET_NO_TOKEN, &ids, BITNET_NO_TOKEN, name, err);
    bitnet_tokens_free(&ids);
    if (!*name) *name = "default";
    return status;
}

/* Falcon-E's pre-tokenizer is Falcon-H1's; bitnet.cpp alone knows it by a name of its own, which
 * nobody else reads. (tokenizers.md 4) */
static const char *pre_for(const char *name, enum bitnet_dialect dialect)
{
    static const char *const names[] = {"falcon-h1", "falcon_e", "falcon-e"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) return names[dialect == BITNET_DIALECT_BITNETCPP];
    return name;
}

static enum bitnet_status put_head(const struct bitnet_tokenizer *tokenizer,
                                   struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    static const char *const models[] = {[BITNET_TOKENIZER_BPE] = "gpt2",
                                         [BITNET_TOKENIZER_SPM] = "llama",
                                         [BITNET_TOKENIZER_UNIGRAM] = "t5",
                                         [BITNET_TOKENIZER_WORDPIECE] = "bert",
                                         [BITNET_TOKENIZER_RWKV] = "rwkv"};
    enum bitnet_tokenizer_kind kind = tokenizer->kind;
    const char *pre = kind == BITNET_TOKENIZER_BPE ? tokenizer->pre->name : "default";
    enum bitnet_status status = BITNET_OK;
    if (kind == BITNET_TOKENIZER_WORDPIECE) {
        status = name_wordpiece(tokenizer, &pre, err);
        bitnet_gguf_put_u32(writer, "tokenizer.ggml.token_type_count",
                            tokenizer->n_segments ? tokenizer->n_segments : 1);
    }
    bool is_gemma4 = strcmp(pre, "gemma4") == 0;
    bitnet_gguf_put_str(writer, "tokenizer.ggml.model",
                        bitnet_str_of(is_gemma4 ? "gemma4" : models[kind]));
    if (kind != BITNET_TOKENIZER_RWKV)
        bitnet_gguf_put_str(writer, "tokenizer.ggml.pre",
                            bitnet_str_of(pre_for(pre, bitnet_gguf_writer_dialect(writer))));
    return status;
}

enum bitnet_status bitnet_tokenizer_to_gguf(const struct bitnet_tokenizer *tokenizer,
                                            struct bitnet_gguf_writer *writer,
                                            struct bitnet_error *err)
{
    bool is_unigram = tokenizer->kind == BITNET_TOKENIZER_UNIGRAM;
    enum bitnet_status status = check(tokenizer, err);
    if (!status) status = put_head(tokenizer, writer, err);
    if (!status) status = put_tokens(tokenizer, writer, err);
    if (!status) status = put_scores_and_types(tokenizer, writer, err);
    if (!status && tokenizer->kind == BITNET_TOKENIZER_BPE)
        status = put_merges(tokenizer, writer, err);
    if (!status && is_unigram) status = put_unigram_rules(tokenizer, writer, err);
    if (status) return status;
    put_ids(tokenizer, writer);
    if (!is_unigram) put_flags(tokenizer, writer);
    status = put_templates(tokenizer, writer, err);
    if (!status && is_unigram) put_unigram_flags(tokenizer, writer);
    return status;
}
