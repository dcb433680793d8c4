/* WordPiece: each word from the left, always the longest token. Comes in: a word (Hugging Face) or
 * a text (llama.cpp, which finds the words itself); goes out: ids, or the unknown token for a word
 * that cannot be spelled. Source: tokenizers.md section 6, with the differences of the two. */
#include "insides.h"

#include "hf.h"
#include "normal.h"
#include "unicode.h"

#define PHANTOM_SPACE "\xE2\x96\x81"

/* The longest token that `rest` begins with, from a node of the trie on; -1: none. */
static int64_t longest(const struct trie *trie, uint32_t node, struct bitnet_str rest,
                       size_t *length)
{
    int64_t found = -1;
    for (size_t i = 0; i < rest.n; i++) {
        node = trie_step(trie, node, (uint8_t)rest.at[i]);
        if (!node) break;
        if (!trie->nodes[node].value_plus_1) continue;
        found = (int64_t)trie->nodes[node].value_plus_1 - 1;
        *length = i + 1;
    }
    return found;
}

static enum bitnet_status emit_unknown(struct encoder *encoder, struct bitnet_str word)
{
    int32_t unk = encoder->tokenizer->special.unk;
    if (unk >= 0) return encoder_emit(encoder, (uint32_t)unk);
    return bitnet_fail(encoder->err, BITNET_FORMAT,
                       "the vocabulary cannot spell %s and has no unknown token",
                       BITNET_QUOTE(word));
}

/* Cuts the word from left to right; after the first token the search starts at `inner`. */
static enum bitnet_status cut_word(struct encoder *encoder, struct bitnet_str word, uint32_t inner,
                                   bool has_inner)
{
    const struct trie *trie = &encoder->tokenizer->words.trie;
    size_t before = encoder->out->n, length = 0;
    enum bitnet_status status = BITNET_OK;
    for (size_t at = 0; at < word.n && !status; at += length) {
        struct bitnet_str rest = {word.at + at, word.n - at};
        int64_t id = at && !has_inner ? -1 : longest(trie, at ? inner : 0, rest, &length);
        if (id < 0) {
            encoder->out->n = before;
            return emit_unknown(encoder, word);
        }
        status = encoder_emit(encoder, (uint32_t)id);
    }
    return status;
}

static size_t count_characters(struct bitnet_str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) n += ((uint8_t)text.at[i] & 0xC0) != 0x80;
    return n;
}

enum bitnet_status wordpiece_encode(struct encoder *encoder, struct bitnet_str word)
{
    const struct words *words = &encoder->tokenizer->words;
    uint32_t inner = 0;
    bool has_inner = true;
    if (words->max_chars && count_characters(word) > words->max_chars)
        return emit_unknown(encoder, word);
    for (size_t i = 0; i < words->prefix.n && has_inner; i++) {
        inner = trie_step(&words->trie, inner, (uint8_t)words->prefix.at[i]);
        has_inner = inner != 0;
    }
    return cut_word(encoder, word, inner, has_inner);
}

/* ------------------------------------------------------------------ llama.cpp's words */

static bool is_ideograph(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* The word in the buffer (behind its phantom space) is complete. */
static enum bitnet_status end_word(struct encoder *encoder)
{
    struct bitnet_buf *word = &encoder->text;
    enum bitnet_status status = BITNET_OK;
    if (word->n > strlen(PHANTOM_SPACE))
        status = cut_word(encoder, (struct bitnet_str){word->at, word->n}, 0, true);
    word->n = 0;
    if (!status && !bitnet_buf_add(word, PHANTOM_SPACE, strlen(PHANTOM_SPACE)))
        status = bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for a word");
    return status;
}

static enum bitnet_status add_character(struct encoder *encoder, uint32_t c)
{
    uint32_t bits = unicode_bits(c), lower[2];
    char bytes[4];
    if (bits & UNICODE_WHITE) return end_word(encoder);
    if (c == 0 || c == 0xFFFD || (bits & (UNICODE_C & ~UNICODE_BIT(CATEGORY_CN)))) return BITNET_OK;
    bool alone = (bits & UNICODE_P) || (c < 0x7F && (bits & UNICODE_S)) || is_ideograph(c);
    enum bitnet_status status = alone ? end_word(encoder) : BITNET_OK;
    normal_lower(c, lower);
    if (!status && !bitnet_buf_add(&encoder->text, bytes, unicode_encode_lenient(lower[0], bytes)))
        status = bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for a word");
    return !status && alone ? end_word(encoder) : status;
}

enum bitnet_status wordpiece_encode_text(struct encoder *encoder, struct bitnet_str text)
{
    encoder->text.n = 0;
    enum bitnet_status status = end_word(encoder);
    for (size_t at = 0; at < text.n && !status;) {
        uint32_t c = 0xFFFD;
        size_t length = unicode_decode_lenient(text.at + at, text.n - at, &c);
        status = add_character(encoder, normal_base(c));
        at += length ? length : 1;
    }
    return status ? status : end_word(encoder);
}
