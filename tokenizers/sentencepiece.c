/* SentencePiece's own road for tokenizers from a .model file. Comes in: text or ids; goes out: ids
 * or text. With libsentencepiece in the build it does the work (spm_shim.h); without it, its
 * normalizer, the merges or the best path of the other files, and its way back to text are here,
 * and a test compares the two. Source: SentencePiece's normalizer.cc and
 * sentencepiece_processor.cc. */
#include "insides.h"

#include "unicode.h"

#define SPACE "\xE2\x96\x81"

/* ------------------------------------------------------------------ text -> ids */

static struct bitnet_str normal_of(const struct words *words, struct bitnet_str rest, size_t *used)
{
    struct bitnet_str by;
    uint32_t c;
    *used = words_user_prefix(words, rest);
    if (*used) return (struct bitnet_str){rest.at, *used};
    *used = charsmap_find(&words->map, rest, CHARSMAP_LONGEST, &by);
    if (*used) return by;
    *used = bitnet_utf8_decode(rest.at, rest.n, &c);
    if (*used) return (struct bitnet_str){rest.at, *used};
    *used = 1;
    return BITNET_STR("\xEF\xBF\xBD");
}

static bool add_escaped(struct bitnet_buf *out, struct bitnet_str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!(text.at[i] == ' ' ? bitnet_buf_add(out, SPACE, 3)
                                : bitnet_buf_add(out, text.at + i, 1)))
            return false;
    return true;
}

static bool ends_with_space(const struct bitnet_buf *out)
{
    return out->n >= 3 && memcmp(out->at + out->n - 3, SPACE, 3) == 0;
}

/* With merge_spaces, runs become one space and the ends lose theirs; then the dummy prefix (or
 * suffix) is the only space there. */
static bool normalize(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text,
                      struct bitnet_buf *out)
{
    const struct words *words = &tokenizer->words;
    bool dummy = tokenizer->special.add_space_prefix, after_space = words->merge_spaces;
    size_t at = 0, used;
    for (; words->merge_spaces && at < text.n; at += used)
        if (!bitnet_str_is(normal_of(words, (struct bitnet_str){text.at + at, text.n - at}, &used),
                           " "))
            break;
    if (at == text.n) return true;
    if (dummy && !words->suffix_spaces && !bitnet_buf_add(out, SPACE, 3)) return false;
    for (; at < text.n; at += used) {
        struct bitnet_str by =
            normal_of(words, (struct bitnet_str){text.at + at, text.n - at}, &used);
        while (after_space && by.n && by.at[0] == ' ') {
            by.at++;
            by.n--;
        }
        if (!add_escaped(out, by)) return false;
        if (by.n) after_space = words->merge_spaces && by.at[by.n - 1] == ' ';
    }
    while (words->merge_spaces && ends_with_space(out)) out->n -= 3;
    return !(dummy && words->suffix_spaces) || bitnet_buf_add(out, SPACE, 3);
}

/* User-defined pieces are never merged with anything, so the text between them is. */
static enum bitnet_status encode_bpe(struct encoder *encoder, struct bitnet_str text)
{
    const struct words *words = &encoder->tokenizer->words;
    enum bitnet_status status = BITNET_OK;
    size_t begin = 0, at = 0;
    while (at < text.n && !status) {
        struct bitnet_str rest = {text.at + at, text.n - at};
        size_t n = words_user_prefix(words, rest);
        if (!n) {
            at += unicode_announced_length(rest.at, rest.n);
            continue;
        }
        status = spm_encode_normal(encoder, (struct bitnet_str){text.at + begin, at - begin});
        if (!status) status = spm_emit(encoder, (struct bitnet_str){rest.at, n});
        begin = at += n;
    }
    return status
               ? status
               : spm_encode_normal(encoder, (struct bitnet_str){text.at + begin, text.n - begin});
}

/* Models of whole words, which begin with a space, or of characters. */
static enum bitnet_status encode_whole(struct encoder *encoder, struct bitnet_str text)
{
    const struct words *words = &encoder->tokenizer->words;
    enum bitnet_status status = BITNET_OK;
    for (size_t at = 0, end; at < text.n && !status; at = end) {
        struct bitnet_str rest = {text.at + at, text.n - at};
        size_t n = words->by_character ? words_user_prefix(words, rest) : 0;
        end = at + (n ? n : unicode_announced_length(rest.at, rest.n));
        while (!words->by_character && end < text.n &&
               !bitnet_str_starts((struct bitnet_str){text.at + end, text.n - end}, SPACE))
            end += unicode_announced_length(text.at + end, text.n - end);
        status = spm_emit(encoder, (struct bitnet_str){text.at + at, end - at});
    }
    return status;
}

enum bitnet_status sentencepiece_encode_text(struct encoder *encoder, struct bitnet_str text)
{
    enum bitnet_tokenizer_kind kind = encoder->tokenizer->kind;
    if (encoder->tokenizer->shim)
        return spm_shim_encode(encoder->tokenizer->shim, text, encoder->out, encoder->err);
    encoder->text.n = 0;
    encoder->after_unknown = false;
    if (!normalize(encoder->tokenizer, text, &encoder->text))
        return bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for %zu bytes of text",
                           text.n);
    struct bitnet_str normal = {encoder->text.at, encoder->text.n};
    if (kind == BITNET_TOKENIZER_WORDS) return encode_whole(encoder, normal);
    return kind == BITNET_TOKENIZER_UNIGRAM ? unigram_encode(encoder, normal)
                                            : encode_bpe(encoder, normal);
}

/* ------------------------------------------------------------------ ids -> text */

/* Bytes in a row: whole characters, U+FFFD for a byte that is none. */
static bool flush_bytes(struct bitnet_buf *bytes, struct bitnet_buf *out)
{
    bool ok = true;
    for (size_t at = 0; at < bytes->n && ok;) {
        uint32_t c;
        size_t length = bitnet_utf8_decode(bytes->at + at, bytes->n - at, &c);
        ok = length ? bitnet_buf_add(out, bytes->at + at, length)
                    : bitnet_buf_add(out, "\xEF\xBF\xBD", 3);
        at += length ? length : 1;
    }
    bytes->n = 0;
    return ok;
}

/* One piece that is no byte. *lost_space: it began with the dummy prefix. */
static bool add_piece(const struct bitnet_tokenizer *tokenizer, int32_t id, bool with_special,
                      bool is_first, struct bitnet_buf *out, bool *lost_space)
{
    const struct words *words = &tokenizer->words;
    struct bitnet_str text = bitnet_token_text(tokenizer, id);
    enum bitnet_token_type type = bitnet_token_type(tokenizer, id);
    *lost_space = false;
    if (type == BITNET_TOKEN_CONTROL) return !with_special || bitnet_buf_add_str(out, text);
    if (type == BITNET_TOKEN_UNKNOWN)
        return bitnet_buf_add_str(out, with_special ? text : words->unk_surface);
    if (is_first && (tokenizer->special.add_space_prefix || words->merge_spaces) && text.n >= 3 &&
        memcmp(text.at, SPACE, 3) == 0) {
        text.at += 3;
        text.n -= 3;
        *lost_space = !words->merge_spaces;
    }
    for (size_t i = 0; i < text.n; i++) {
        bool is_space = i + 3 <= text.n && memcmp(text.at + i, SPACE, 3) == 0;
        if (!bitnet_buf_add(out, is_space ? " " : text.at + i, 1)) return false;
        if (is_space) i += 2;
    }
    return true;
}

enum bitnet_status sentencepiece_decode(const struct bitnet_tokenizer *tokenizer,
                                        const int32_t *ids, size_t n, bool with_special,
                                        struct bitnet_buf *out, struct bitnet_error *err)
{
    if (tokenizer->shim && !with_special && spm_shim_knows(tokenizer->shim, ids, n))
        return spm_shim_decode(tokenizer->shim, ids, n, out, err);
    struct bitnet_buf bytes = {.max = SIZE_MAX / 2};
    bool ok = true, is_first = true, lost_space = false;
    size_t begin = out->n;
    for (size_t i = 0; i < n && ok; i++) {
        if (bitnet_token_type(tokenizer, ids[i]) == BITNET_TOKEN_BYTE) {
            char byte = (char)byte_of_token(bitnet_token_text(tokenizer, ids[i]));
            ok = bitnet_buf_add(&bytes, &byte, 1);
            continue;
        }
        ok = flush_bytes(&bytes, out);
        if (lost_space || out->n > begin) is_first = false;
        ok = ok && add_piece(tokenizer, ids[i], with_special, is_first, out, &lost_space);
    }
    ok = ok && flush_bytes(&bytes, out);
    bitnet_buf_free(&bytes);
    return ok ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "out of memory for %zu tokens", n);
}
