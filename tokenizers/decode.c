/* Ids -> text: the bytes of one token, of a sequence, of a stream. Comes in: ids; goes out: bytes.
 * Source: tokenizers.md section 10 (llama.cpp: token_to_piece and detokenize). */
#include "insides.h"

#include <bitnet/alloc.h>

#include "alphabet.h"
#include "hf.h"
#include "unicode.h"

#define SPACE       "\xE2\x96\x81"
#define REPLACEMENT "\xEF\xBF\xBD"

static bool add_unescaped(struct bitnet_buf *out, struct bitnet_str text)
{
    size_t raw = 0;
    for (size_t i = 0; i + 3 <= text.n; i++) {
        if (memcmp(text.at + i, SPACE, 3) != 0) continue;
        if (!bitnet_buf_add(out, text.at + raw, i - raw) || !bitnet_buf_add(out, " ", 1))
            return false;
        i += 2;
        raw = i + 1;
    }
    return bitnet_buf_add(out, text.at + raw, text.n - raw);
}

/* Letters of the byte alphabet become their bytes; anything else stays what it is. */
static bool add_unspelled(struct bitnet_buf *out, struct bitnet_str text)
{
    for (size_t at = 0; at < text.n;) {
        uint32_t c = 0;
        size_t length = unicode_decode_lenient(text.at + at, text.n - at, &c);
        int byte = length ? alphabet_byte(c) : -1;
        char raw = (char)byte;
        if (!length) length = 1;
        if (!(byte < 0 ? bitnet_buf_add(out, text.at + at, length) : bitnet_buf_add(out, &raw, 1)))
            return false;
        at += length;
    }
    return true;
}

static bool add_rwkv(const struct bitnet_tokenizer *tokenizer, int32_t id, bool with_special,
                     struct bitnet_buf *out)
{
    struct bitnet_str text = bitnet_token_text(tokenizer, id);
    enum bitnet_token_type type = bitnet_token_type(tokenizer, id);
    if (!with_special && (type == BITNET_TOKEN_CONTROL || type == BITNET_TOKEN_UNKNOWN))
        return true;
    size_t n = 0;
    char *bytes = bitnet_alloc(text.n + 1, 1);
    bool ok = bytes && (!rwkv_unescape(text, bytes, &n) || bitnet_buf_add(out, bytes, n));
    bitnet_free(bytes);
    return ok;
}

bool bitnet_token_piece(const struct bitnet_tokenizer *tokenizer, int32_t id, bool with_special,
                        struct bitnet_buf *out)
{
    struct bitnet_str text = bitnet_token_text(tokenizer, id);
    bool is_spm = tokenizer->kind != BITNET_TOKENIZER_BPE || tokenizer->by_chars;
    if (tokenizer->kind == BITNET_TOKENIZER_RWKV) return add_rwkv(tokenizer, id, with_special, out);
    switch (bitnet_token_type(tokenizer, id)) {
    case BITNET_TOKEN_UNKNOWN:
    case BITNET_TOKEN_CONTROL:
        return !with_special || bitnet_buf_add_str(out, text);
    case BITNET_TOKEN_USER:
        return bitnet_buf_add_str(out, text);
    case BITNET_TOKEN_NORMAL:
        return is_spm ? add_unescaped(out, text) : add_unspelled(out, text);
    case BITNET_TOKEN_BYTE: {
        char byte = (char)byte_of_token(text);
        return !is_spm || bitnet_buf_add(out, &byte, 1);
    }
    case BITNET_TOKEN_UNDEFINED:
    case BITNET_TOKEN_UNUSED:
        break;
    }
    return true;
}

/* ------------------------------------------------------------------ whole sequences */

/* " ?" -> "?", and the same for ! . , */
static size_t tidy_punctuation(char *text, size_t n)
{
    size_t kept = n ? 1 : 0;
    for (size_t i = 1; i < n; i++) {
        char c = text[i];
        if (text[i - 1] == ' ' && (c == '?' || c == '!' || c == '.' || c == ',')) kept--;
        text[kept++] = c;
    }
    return kept;
}

/* " ' " -> "'" */
static size_t tidy_apostrophe(char *text, size_t n)
{
    size_t kept = n ? 1 : 0;
    for (size_t i = 1; i < n; i++) {
        char c = text[i];
        if (c == '\'' && i + 1 < n && text[i - 1] == ' ' && text[i + 1] == ' ') {
            kept--;
            text[++i] = '\0'; /* this space is gone, also as the neighbour of what follows */
        }
        text[kept++] = c;
    }
    return kept;
}

/* " 's" -> "'s", and the same for 'm 're 've */
static size_t tidy_contractions(char *text, size_t n)
{
    size_t kept = n ? 1 : 0;
    for (size_t i = 1; i < n; i++) {
        char c = text[i];
        if (text[i - 1] == ' ' && c == '\'' && i + 1 < n) {
            char first = text[i + 1], second = i + 2 < n ? text[i + 2] : '\0';
            if (first == 's' || first == 'm' || (first == 'r' && second == 'e') ||
                (first == 'v' && second == 'e'))
                kept--;
        }
        text[kept++] = c;
    }
    return kept;
}

static void tidy(struct bitnet_buf *out, size_t begin)
{
    char *text = out->at + begin;
    size_t n = tidy_punctuation(text, out->n - begin);
    n = tidy_apostrophe(text, n);
    n = tidy_contractions(text, n);
    out->n = begin + n;
    out->at[out->n] = '\0';
}

enum bitnet_status bitnet_detokenize(const struct bitnet_tokenizer *tokenizer, const int32_t *ids,
                                     size_t n, bool with_special, struct bitnet_buf *out,
                                     struct bitnet_error *err)
{
    if (tokenizer->hf) return hf_decode(tokenizer, ids, n, with_special, out, err);
    if (tokenizer->words.is_sentencepiece)
        return sentencepiece_decode(tokenizer, ids, n, with_special, out, err);
    const struct bitnet_special_tokens *special = &tokenizer->special;
    bool strip_space = special->add_space_prefix;
    size_t begin = out->n, first = 0;
    if (!with_special && special->add_bos && n && ids[0] == special->bos) {
        strip_space = false;
        first = 1;
    }
    if (!with_special && special->add_eos && n > first && ids[n - 1] == special->eos) n--;
    for (size_t i = first; i < n; i++) {
        size_t at = out->n;
        if (!bitnet_token_piece(tokenizer, ids[i], with_special, out))
            return bitnet_fail(err, BITNET_MEMORY, "out of memory for the text of %zu tokens", n);
        if (i == first && strip_space && out->n > at && out->at[at] == ' ') {
            memmove(out->at + at, out->at + at + 1, out->n - at - 1);
            out->at[--out->n] = '\0';
        }
    }
    if (tokenizer->clean_spaces && out->n > begin) tidy(out, begin);
    return BITNET_OK;
}

/* ------------------------------------------------------------------ streams */

/* Whole characters of `text`, U+FFFD for a byte that is none; the beginning of a character at its
 * end is held back. */
static bool stream_bytes(struct bitnet_stream *stream, struct bitnet_str text,
                         struct bitnet_buf *out)
{
    size_t tail = bitnet_utf8_incomplete_tail(text);
    for (size_t at = 0, length; at < text.n - tail; at += length) {
        uint32_t c;
        length = bitnet_utf8_decode(text.at + at, text.n - tail - at, &c);
        bool ok = length ? bitnet_buf_add(out, text.at + at, length)
                         : bitnet_buf_add(out, REPLACEMENT, 3);
        if (!ok) return false;
        if (!length) length = 1;
    }
    memcpy(stream->held, text.at + text.n - tail, tail);
    stream->n_held = tail;
    return true;
}

bool bitnet_stream_token(struct bitnet_stream *stream, const struct bitnet_tokenizer *tokenizer,
                         int32_t id, bool with_special, struct bitnet_buf *out)
{
    if (id == BITNET_NO_TOKEN) {
        bool ok = !stream->n_held || bitnet_buf_add(out, REPLACEMENT, 3);
        stream->n_held = 0;
        return ok;
    }
    struct bitnet_buf piece = {.max = VOCAB_MAX_TOKEN_BYTES + sizeof stream->held};
    bool ok = bitnet_buf_add(&piece, stream->held, stream->n_held);
    size_t begin = piece.n;
    ok = ok && bitnet_token_piece(tokenizer, id, with_special, &piece);
    if (ok && piece.n > begin) {
        bool strip =
            !stream->started && tokenizer->special.add_space_prefix && piece.at[begin] == ' ';
        if (strip) {
            memmove(piece.at + begin, piece.at + begin + 1, piece.n - begin - 1);
            piece.n--;
        }
        stream->started = true;
        ok = stream_bytes(stream, (struct bitnet_str){piece.at, piece.n}, out);
    }
    bitnet_buf_free(&piece);
    return ok;
}
