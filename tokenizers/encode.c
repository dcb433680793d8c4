/* Text -> ids: cuts special tokens out, hands the rest to the algorithm of the vocabulary, adds
 * what the vocabulary wants around it. Source: tokenizers.md sections 3, 4 and 9. */
#include "insides.h"

#include <bitnet/alloc.h>

#include "hf.h"
#include "unicode.h"

#define MAX_TEXT_BYTES ((size_t)1 << 30)

void bitnet_tokens_free(struct bitnet_tokens *tokens)
{
    bitnet_free(tokens->at);
    *tokens = (struct bitnet_tokens){0};
}

bool bitnet_tokens_add(struct bitnet_tokens *tokens, int32_t id)
{
    if (!BITNET_GROW(tokens->at, tokens->n, tokens->cap, SIZE_MAX / sizeof id)) return false;
    tokens->at[tokens->n++] = id;
    return true;
}

/* Text as llama.cpp's byte-level BPE reads it: a byte that is no character becomes U+FFFD, overlong
 * forms become what they mean. *repaired is `text` itself when it is well-formed. */
static bool repair(struct bitnet_str text, struct bitnet_buf *buf, struct bitnet_str *repaired)
{
    *repaired = text;
    if (bitnet_utf8_valid(text)) return true;
    for (size_t at = 0; at < text.n;) {
        uint32_t c;
        char bytes[4];
        size_t length = unicode_decode_lenient(text.at + at, text.n - at, &c);
        if (!length) c = 0xFFFD;
        if (!bitnet_buf_add(buf, bytes, unicode_encode_lenient(c, bytes))) return false;
        at += length ? length : 1;
    }
    *repaired = (struct bitnet_str){buf->at, buf->n};
    return true;
}

static enum bitnet_status encode_bpe_text(struct encoder *encoder, struct bitnet_str text)
{
    struct bitnet_str repaired;
    encoder->text.n = 0;
    if (!repair(text, &encoder->text, &repaired))
        return bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for %zu bytes of text",
                           text.n);
    return bpe_encode(encoder, repaired);
}

static enum bitnet_status encode_chars_text(struct encoder *encoder, struct bitnet_str text)
{
    struct bitnet_str repaired;
    struct bitnet_buf mended = {.max = 8 * MAX_TEXT_BYTES};
    encoder->text.n = 0;
    enum bitnet_status status = BITNET_OK;
    if (!spm_escape_spaces(&encoder->text, text) ||
        !repair((struct bitnet_str){encoder->text.at, encoder->text.n}, &mended, &repaired))
        status =
            bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for %zu bytes of text", text.n);
    if (!status) status = bpe_chars_encode(encoder, repaired);
    bitnet_buf_free(&mended);
    return status;
}

static enum bitnet_status encode_raw(struct encoder *encoder, struct bitnet_str text,
                                     bool after_special)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    if (tokenizer->words.is_sentencepiece) return sentencepiece_encode_text(encoder, text);
    switch (tokenizer->kind) {
    case BITNET_TOKENIZER_SPM:
        return spm_encode(encoder, text, after_special && tokenizer->special.add_space_prefix);
    case BITNET_TOKENIZER_UNIGRAM:
        return unigram_encode_text(encoder, text);
    case BITNET_TOKENIZER_WORDPIECE:
        return wordpiece_encode_text(encoder, text);
    case BITNET_TOKENIZER_RWKV:
        return rwkv_encode_text(encoder, text);
    case BITNET_TOKENIZER_BPE:
    case BITNET_TOKENIZER_WORDS:
        break;
    }
    return tokenizer->by_chars ? encode_chars_text(encoder, text) : encode_bpe_text(encoder, text);
}

/* SPM puts a space before every text that follows a special token, or nothing. */
static enum bitnet_status encode_fragments(struct encoder *encoder, struct bitnet_str text,
                                           const struct fragments *fragments)
{
    enum bitnet_status status = BITNET_OK;
    bool after_special = true;
    for (size_t i = 0; i < fragments->n && !status; i++) {
        struct fragment fragment = fragments->at[i];
        struct bitnet_str raw = {text.at + fragment.begin, fragment.end - fragment.begin};
        status = fragment.id != FRAGMENT_TEXT ? encoder_emit(encoder, (uint32_t)fragment.id)
                                              : encode_raw(encoder, raw, after_special);
        after_special = fragment.id != FRAGMENT_TEXT;
    }
    return status;
}

static enum bitnet_status encode_text(struct encoder *encoder, struct bitnet_str text,
                                      bool parse_special)
{
    struct fragments fragments = {0};
    enum bitnet_status status = BITNET_OK;
    if (!special_cut_by_length(&encoder->tokenizer->specials, text, parse_special, &fragments))
        status =
            bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for %zu bytes of text", text.n);
    if (!status) status = encode_fragments(encoder, text, &fragments);
    fragments_free(&fragments);
    return status;
}

static enum bitnet_status encode_around(struct encoder *encoder, struct bitnet_str text,
                                        const struct bitnet_tokenize_options *options)
{
    const struct bitnet_special_tokens *special = &encoder->tokenizer->special;
    bool add_bos = !options->no_special && special->add_bos && special->bos >= 0;
    bool is_bert = encoder->tokenizer->kind == BITNET_TOKENIZER_WORDPIECE;
    int32_t last = is_bert ? special->sep : special->eos;
    bool add_eos = !options->no_special && (is_bert || special->add_eos) && last >= 0;
    enum bitnet_status status = BITNET_OK;
    if (add_bos) status = encoder_emit(encoder, (uint32_t)special->bos);
    if (!status) status = encode_text(encoder, text, options->parse_special);
    if (!status && add_eos) status = encoder_emit(encoder, (uint32_t)last);
    return status;
}

enum bitnet_status bitnet_tokenize(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text,
                                   const struct bitnet_tokenize_options *options,
                                   struct bitnet_tokens *tokens, struct bitnet_error *err)
{
    static const struct bitnet_tokenize_options defaults;
    if (!options) options = &defaults;
    if (text.n > MAX_TEXT_BYTES)
        return bitnet_fail(err, BITNET_LIMIT, "a text of %zu bytes (limit %zu)", text.n,
                           MAX_TEXT_BYTES);
    size_t before = tokens->n;
    struct encoder encoder = {.tokenizer = tokenizer,
                              .out = tokens,
                              .text.max = 8 * MAX_TEXT_BYTES,
                              .spelling = bitnet_alloc(tokenizer->vocab.longest + 1u, 2),
                              .err = err};
    enum bitnet_status status = BITNET_OK;
    if (!encoder.spelling)
        status = bitnet_fail(err, BITNET_MEMORY, "out of memory");
    else if (tokenizer->hf)
        status = hf_encode(&encoder, text, options);
    else
        status = encode_around(&encoder, text, options);
    if (status) tokens->n = before;
    bitnet_free(encoder.spelling);
    merge_work_free(&encoder.merge);
    merge_work_free(&encoder.again);
    split_work_free(&encoder.split);
    bitnet_buf_free(&encoder.text);
    return status;
}
