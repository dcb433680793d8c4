/* A tokenizer as GGUF metadata. Comes in: a tokenizer from any source; goes out: the tokenizer.*
 * keys with the types and in the order of llama.cpp's converter (tokenizers.md section 13). A
 * tokenizer that llama.cpp has no name for is refused: written under another name, its files would
 * give other ids without a word. */
#include "hf.h"

#include <bitnet/alloc.h>

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "out of memory for the tokenizer's metadata");
}

/* User-defined tokens match raw text in llama.cpp, so they hold spaces where the vocabulary of a
 * tokenizer.json has U+2581. */
static bool needs_spaces(const struct bitnet_tokenizer *tokenizer, uint32_t id)
{
    struct bitnet_str text = vocab_text(&tokenizer->vocab, id);
    return tokenizer->hf && tokenizer->vocab.type[id] == BITNET_TOKEN_USER &&
           memmem(text.at, text.n, "\xE2\x96\x81", 3);
}

static enum bitnet_status put_tokens(const struct bitnet_tokenizer *tokenizer,
                                     struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    uint32_t n = tokenizer->vocab.n_tokens;
    struct bitnet_arena arena = {0};
    struct bitnet_str *texts = bitnet_alloc(n, sizeof *texts);
    bool ok = texts != NULL;
    for (uint32_t id = 0; id < n && ok; id++) {
        texts[id] = vocab_text(&tokenizer->vocab, id);
        if (!needs_spaces(tokenizer, id)) continue;
        struct bitnet_buf spaced = {.max = VOCAB_MAX_TOKEN_BYTES + 1};
        ok = hf_replace(&spaced, texts[id], BITNET_STR("\xE2\x96\x81"), BITNET_STR(" "));
        texts[id] = bitnet_arena_copy(&arena, (struct bitnet_str){spaced.at, spaced.n});
        ok = ok && texts[id].at;
        bitnet_buf_free(&spaced);
    }
    if (ok) bitnet_gguf_put_strings(writer, "tokenizer.ggml.tokens", texts, n);
    bitnet_free(texts);
    bitnet_arena_free(&arena);
    return ok ? BITNET_OK : no_memory(err);
}

static enum bitnet_status put_scores_and_types(const struct bitnet_tokenizer *tokenizer,
                                               struct bitnet_gguf_writer *writer,
                                               struct bitnet_error *err)
{
    uint32_t n = tokenizer->vocab.n_tokens;
    uint8_t *packed = bitnet_alloc(n, 4);
    if (!packed) return no_memory(err);
    if (tokenizer->kind == BITNET_TOKENIZER_SPM) {
        for (uint32_t id = 0; id < n; id++)
            bitnet_store_f32(packed + 4 * (size_t)id, tokenizer->vocab.score[id]);
        bitnet_gguf_put_array(writer, "tokenizer.ggml.scores", BITNET_GGUF_F32, packed, n);
    }
    for (uint32_t id = 0; id < n; id++)
        bitnet_store_u32(packed + 4 * (size_t)id, tokenizer->vocab.type[id]);
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

static void put_ids(const struct bitnet_tokenizer *tokenizer, struct bitnet_gguf_writer *writer)
{
    const struct bitnet_special_tokens *special = &tokenizer->special;
    const struct {
        const char *key;
        int32_t id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", special->bos},
        {"tokenizer.ggml.eos_token_id", special->eos},
        {"tokenizer.ggml.unknown_token_id", special->unk},
        {"tokenizer.ggml.seperator_token_id", special->sep}, /* spelt so */
        {"tokenizer.ggml.padding_token_id", special->pad},
        {"tokenizer.ggml.mask_token_id", tokenizer->mask},
    };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        if (ids[i].id >= 0) bitnet_gguf_put_u32(writer, ids[i].key, (uint32_t)ids[i].id);
}

/* Flags that the source states; and where it states none, but the reader's default would add other
 * tokens than the source does, the flag that makes both agree. */
static void put_flags(const struct bitnet_tokenizer *tokenizer, struct bitnet_gguf_writer *writer)
{
    const struct bitnet_special_tokens *special = &tokenizer->special;
    bool is_spm = tokenizer->kind == BITNET_TOKENIZER_SPM;
    bool default_bos = is_spm || tokenizer->pre->bos == PRE_BOS_ADD;
    if (tokenizer->add_bos_is_given)
        bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", tokenizer->add_bos_token);
    else if (special->add_bos != default_bos)
        bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", special->add_bos);
    if (tokenizer->add_eos_is_given)
        bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_eos_token", tokenizer->add_eos_token);
    else if (special->add_eos)
        bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_eos_token", true);
    if (is_spm && (tokenizer->add_space_prefix_is_given || !special->add_space_prefix))
        bitnet_gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", special->add_space_prefix);
}

static enum bitnet_status put_templates(const struct bitnet_tokenizer *tokenizer,
                                        struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < tokenizer->n_templates && !status; i++) {
        struct bitnet_str name = tokenizer->templates[i].name;
        struct bitnet_buf key = {.max = 1024};
        bool ok = bitnet_buf_add_str(&key, BITNET_STR("tokenizer.chat_template."));
        for (size_t k = 0; k < name.n && ok; k++) {
            char c = name.at[k];
            bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
            ok = bitnet_buf_add(&key, plain ? &c : "_", 1);
        }
        if (ok)
            bitnet_gguf_put_str(writer, key.at, tokenizer->templates[i].text);
        else
            status = no_memory(err);
        bitnet_buf_free(&key);
    }
    if (!status && tokenizer->chat_template.n)
        bitnet_gguf_put_str(writer, "tokenizer.chat_template", tokenizer->chat_template);
    return status;
}

enum bitnet_status bitnet_tokenizer_to_gguf(const struct bitnet_tokenizer *tokenizer,
                                            struct bitnet_gguf_writer *writer,
                                            struct bitnet_error *err)
{
    bool is_spm = tokenizer->kind == BITNET_TOKENIZER_SPM;
    if (tokenizer->kind != BITNET_TOKENIZER_BPE && !is_spm)
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "only BPE and SentencePiece vocabularies are written into a GGUF");
    if (tokenizer->words.is_sentencepiece &&
        (tokenizer->words.map.trie.n || tokenizer->words.merge_spaces))
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "this SentencePiece model normalizes text, which llama.cpp does not do "
                           "for BPE");
    if (!tokenizer->pre)
        return bitnet_hint(
            err,
            bitnet_fail(
                err, BITNET_UNSUPPORTED,
                "llama.cpp has no pre-tokenizer that cuts text as this tokenizer.json does"),
            "a GGUF would give other token ids");
    bitnet_gguf_put_str(writer, "tokenizer.ggml.model",
                        is_spm ? BITNET_STR("llama") : BITNET_STR("gpt2"));
    bitnet_gguf_put_str(writer, "tokenizer.ggml.pre", bitnet_str_of(tokenizer->pre->name));
    enum bitnet_status status = put_tokens(tokenizer, writer, err);
    if (!status) status = put_scores_and_types(tokenizer, writer, err);
    if (!status && !is_spm) status = put_merges(tokenizer, writer, err);
    if (status) return status;
    put_ids(tokenizer, writer);
    put_flags(tokenizer, writer);
    return put_templates(tokenizer, writer, err);
}
