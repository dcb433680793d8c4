/* SentencePiece-style BPE as llama.cpp runs it: spaces become U+2581, characters are merged by the
 * score of what they spell, what is left over is spelled in bytes. Comes in: text without special
 * tokens; goes out: ids. Source: tokenizers.md section 3.
 *
 * The text is one word, but no merge can join what no token holds side by side: so it is cut before
 * each U+2581 whose left neighbour never stands there inside a token. The pieces are short, and
 * most are tokens themselves. Same ids, in linear time on real text. */
#include "insides.h"

#include <bitnet/alloc.h>

#include "unicode.h"

#define SPACE "\xE2\x96\x81"

static enum bitnet_status no_memory(struct encoder *encoder)
{
    return bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for the tokens of a text");
}

bool spm_escape_spaces(struct bitnet_buf *out, struct bitnet_str text)
{
    size_t raw = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.at[i] != ' ') continue;
        if (!bitnet_buf_add(out, text.at + raw, i - raw) || !bitnet_buf_add(out, SPACE, 3))
            return false;
        raw = i + 1;
    }
    return bitnet_buf_add(out, text.at + raw, text.n - raw);
}

static bool is_space(const char *at, size_t length)
{
    return length == 3 && memcmp(at, SPACE, 3) == 0;
}

size_t spm_piece_end(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text, size_t begin)
{
    size_t at = begin;
    while (at < text.n) {
        size_t length = unicode_announced_length(text.at + at, text.n - at);
        if (at > begin && is_space(text.at + at, length) &&
            !tokenizer->space_joins[(uint8_t)text.at[at - 1]])
            break;
        at += length;
    }
    return at;
}

static enum bitnet_status merge_piece(struct encoder *encoder, struct merge_work *merge,
                                      struct bitnet_str piece)
{
    const struct vocab *vocab = &encoder->tokenizer->vocab;
    merge->n_symbols = 0;
    merge->only_text = encoder->tokenizer->words.is_sentencepiece;
    for (size_t at = 0, length; at < piece.n; at += length) {
        length = unicode_announced_length(piece.at + at, piece.n - at);
        int32_t id = vocab_find(vocab, (struct bitnet_str){piece.at + at, length});
        if (!merge_push(merge, (uint32_t)id, at, length)) return no_memory(encoder);
    }
    return merge_run(merge, NULL, vocab, piece.at) ? BITNET_OK : no_memory(encoder);
}

enum bitnet_status spm_emit_bytes(struct encoder *encoder, const char *bytes, size_t n)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < n && !status; i++) {
        uint32_t id = encoder->tokenizer->byte_symbol[(uint8_t)bytes[i]];
        if (id == MERGE_NO_ID)
            return bitnet_fail(encoder->err, BITNET_FORMAT,
                               "the vocabulary has no token for byte 0x%02X",
                               (unsigned)(uint8_t)bytes[i]);
        status = encoder_emit(encoder, id);
    }
    return status;
}

/* What no token spells: bytes; in a .model without byte pieces the unknown piece, once for a run.
 */
static enum bitnet_status emit_unspelled(struct encoder *encoder, struct bitnet_str bytes)
{
    const struct words *words = &encoder->tokenizer->words;
    if (!words->is_sentencepiece || words->byte_fallback)
        return spm_emit_bytes(encoder, bytes.at, bytes.n);
    bool joins = encoder->after_unknown;
    encoder->after_unknown = true;
    return joins ? BITNET_OK : encoder_emit(encoder, (uint32_t)encoder->tokenizer->special.unk);
}

static enum bitnet_status emit_token(struct encoder *encoder, uint32_t id)
{
    encoder->after_unknown = false;
    return encoder_emit(encoder, id);
}

enum bitnet_status spm_emit(struct encoder *encoder, struct bitnet_str spelling)
{
    int32_t id = vocab_find_token(&encoder->tokenizer->vocab, spelling);
    bool is_control = bitnet_token_type(encoder->tokenizer, id) == BITNET_TOKEN_CONTROL;
    return id >= 0 && !is_control ? emit_token(encoder, (uint32_t)id)
                                  : emit_unspelled(encoder, spelling);
}

/* ------------------------------------------------------------------ unused pieces */

/* A .model may call pieces unused: they take part in merging, and what became one is taken apart
 * again into the two that were joined last. Merging the spelling by itself shows them. */
static bool is_unused(const struct bitnet_tokenizer *tokenizer, uint32_t id)
{
    return tokenizer->words.is_sentencepiece && id < tokenizer->vocab.n_tokens &&
           tokenizer->vocab.type[id] == BITNET_TOKEN_UNUSED;
}

/* The two sides of an unused piece; false when it is a single character, which stays. */
static enum bitnet_status take_apart(struct encoder *encoder, struct bitnet_str piece, size_t *left)
{
    *left = 0;
    if (unicode_announced_length(piece.at, piece.n) == piece.n) return BITNET_OK;
    enum bitnet_status status = merge_piece(encoder, &encoder->again, piece);
    if (!status && encoder->again.symbols[0].next < 0) *left = encoder->again.last_left;
    return status;
}

/* Depth first, from the left, with a stack of its own. */
static enum bitnet_status emit_parts(struct encoder *encoder, struct bitnet_str piece)
{
    const struct vocab *vocab = &encoder->tokenizer->vocab;
    struct bitnet_str *stack = NULL, part = piece;
    size_t n = 0, cap = 0, left;
    enum bitnet_status status = BITNET_OK;
    for (bool more = true; more && !status;) {
        int32_t id = vocab_find(vocab, part);
        left = 0;
        if (id >= 0 && is_unused(encoder->tokenizer, (uint32_t)id))
            status = take_apart(encoder, part, &left);
        if (!status && left) {
            if (!BITNET_GROW(stack, n, cap, (size_t)VOCAB_MAX_TOKEN_BYTES)) {
                status = no_memory(encoder);
                continue;
            }
            stack[n++] = (struct bitnet_str){part.at + left, part.n - left};
            part.n = left;
            continue;
        }
        if (!status) status = spm_emit(encoder, part);
        more = n > 0;
        if (more) part = stack[--n];
    }
    bitnet_free(stack);
    return status;
}

/* ------------------------------------------------------------------ pieces of text */

static enum bitnet_status encode_piece(struct encoder *encoder, struct bitnet_str piece)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    int32_t token = vocab_find(&tokenizer->vocab, piece);
    if (token >= 0 && is_unused(tokenizer, (uint32_t)token)) token = -1;
    enum reach reach = token < 0 ? REACH_NO : reach_of(tokenizer, (uint32_t)token);
    if (reach == REACH_YES) return emit_token(encoder, (uint32_t)token);

    enum bitnet_status status = merge_piece(encoder, &encoder->merge, piece);
    const struct merge_symbol *symbols = encoder->merge.symbols;
    if (!status && reach == REACH_UNKNOWN)
        reach_learn(tokenizer, (uint32_t)token, symbols[0].next < 0);
    for (int32_t i = 0; i >= 0 && !status; i = symbols[i].next) {
        struct bitnet_str bytes = {piece.at + symbols[i].begin, symbols[i].bytes};
        if (symbols[i].id == MERGE_NO_ID)
            status = emit_unspelled(encoder, bytes);
        else if (is_unused(tokenizer, symbols[i].id))
            status = emit_parts(encoder, bytes);
        else
            status = emit_token(encoder, symbols[i].id);
    }
    return status;
}

enum bitnet_status spm_encode_normal(struct encoder *encoder, struct bitnet_str text)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t begin = 0, end; begin < text.n && !status; begin = end) {
        end = spm_piece_end(encoder->tokenizer, text, begin);
        status = encode_piece(encoder, (struct bitnet_str){text.at + begin, end - begin});
    }
    return status;
}

enum bitnet_status spm_encode(struct encoder *encoder, struct bitnet_str text, bool with_prefix)
{
    encoder->text.n = 0;
    if ((with_prefix && !bitnet_buf_add(&encoder->text, SPACE, 3)) ||
        !spm_escape_spaces(&encoder->text, text))
        return no_memory(encoder);
    return spm_encode_normal(encoder, (struct bitnet_str){encoder->text.at, encoder->text.n});
}
