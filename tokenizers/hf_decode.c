/* Owns the decoders of a tokenizer.json. Comes in: ids; goes out: text, always valid UTF-8. The
 * components work on a list of strings, as in Hugging Face tokenizers; here the list is one buffer
 * with the ends of its parts. See hf.h and tokenizers.md section 10. */
#include "hf.h"

#include <bitnet/alloc.h>

#include "alphabet.h"

#define MAX_DECODED_BYTES ((size_t)1 << 32)

/* ------------------------------------------------------------------ lossy UTF-8 */

/* The length of the longest prefix of `text` that could begin a character (at least 1): what one
 * U+FFFD stands for, as the Unicode standard recommends and Rust does. */
static size_t bad_length(struct bitnet_str text)
{
    uint8_t lead = (uint8_t)text.at[0], second = text.n > 1 ? (uint8_t)text.at[1] : 0;
    uint8_t low = 0x80, high = 0xBF;
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4) return 1;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    if (text.n < 2 || second < low || second > high) return 1;
    size_t n = 2;
    while (n < want - 1 && n < text.n && ((uint8_t)text.at[n] & 0xC0) == 0x80) n++;
    return n;
}

bool hf_make_valid(struct bitnet_str text, struct bitnet_buf *out)
{
    for (size_t at = 0, length; at < text.n; at += length) {
        uint32_t c;
        length = bitnet_utf8_decode(text.at + at, text.n - at, &c);
        bool ok = length ? bitnet_buf_add(out, text.at + at, length)
                         : bitnet_buf_add(out, "\xEF\xBF\xBD", 3);
        if (!ok) return false;
        if (!length) length = bad_length((struct bitnet_str){text.at + at, text.n - at});
    }
    return true;
}

/* ------------------------------------------------------------------ a list of strings */

struct strings {
    struct bitnet_buf text;
    size_t *end;
    size_t n, cap;
};

static void strings_free(struct strings *strings)
{
    bitnet_buf_free(&strings->text);
    bitnet_free(strings->end);
}

/* Ends the string that was being written. */
static bool end_string(struct strings *strings)
{
    if (!BITNET_GROW(strings->end, strings->n, strings->cap, SIZE_MAX / sizeof *strings->end))
        return false;
    strings->end[strings->n++] = strings->text.n;
    return true;
}

static struct bitnet_str string_at(const struct strings *strings, size_t i)
{
    size_t begin = i ? strings->end[i - 1] : 0;
    return (struct bitnet_str){strings->text.at ? strings->text.at + begin : "",
                               strings->end[i] - begin};
}

/* ------------------------------------------------------------------ components */

static bool byte_level(const struct strings *in, struct strings *out)
{
    struct bitnet_buf bytes = {.max = MAX_DECODED_BYTES};
    bool ok = true;
    for (size_t i = 0; i < in->n && ok; i++) {
        struct bitnet_str token = string_at(in, i);
        size_t n = 0;
        char *room = bitnet_alloc(token.n + 1, 1);
        ok = room != NULL;
        if (ok && alphabet_unspell(token, room, &n))
            ok = bitnet_buf_add(&bytes, room, n);
        else if (ok)
            ok = bitnet_buf_add_str(&bytes, token);
        bitnet_free(room);
    }
    ok = ok && hf_make_valid((struct bitnet_str){bytes.at, bytes.n}, &out->text) && end_string(out);
    bitnet_buf_free(&bytes);
    return ok;
}

static bool flush_bytes(struct bitnet_buf *bytes, struct strings *out)
{
    if (!bytes->n) return true;
    struct bitnet_str text = {bytes->at, bytes->n};
    bool ok = true;
    if (bitnet_utf8_valid(text)) {
        ok = bitnet_buf_add_str(&out->text, text) && end_string(out);
    } else {
        for (size_t i = 0; i < text.n && ok; i++)
            ok = bitnet_buf_add(&out->text, "\xEF\xBF\xBD", 3) && end_string(out);
    }
    bytes->n = 0;
    return ok;
}

static bool byte_fallback(const struct strings *in, struct strings *out)
{
    struct bitnet_buf bytes = {.max = MAX_DECODED_BYTES};
    bool ok = true;
    for (size_t i = 0; i < in->n && ok; i++) {
        struct bitnet_str token = string_at(in, i);
        int value = byte_of_token(token);
        char byte = (char)value;
        ok = value >= 0 ? bitnet_buf_add(&bytes, &byte, 1)
                        : flush_bytes(&bytes, out) && bitnet_buf_add_str(&out->text, token) &&
                              end_string(out);
    }
    ok = ok && flush_bytes(&bytes, out);
    bitnet_buf_free(&bytes);
    return ok;
}

static bool fuse(const struct strings *in, struct strings *out)
{
    return bitnet_buf_add(&out->text, in->text.at, in->text.n) && end_string(out);
}

static bool replace(const struct hf_decoder *decoder, const struct strings *in, struct strings *out)
{
    for (size_t i = 0; i < in->n; i++) {
        struct bitnet_str text = string_at(in, i);
        bool ok = decoder->regex
                      ? hf_replace_regex(&out->text, text, decoder->regex, decoder->content)
                      : hf_replace(&out->text, text, decoder->text, decoder->content);
        if (!ok || !end_string(out)) return false;
    }
    return true;
}

/* English text loses the spaces that tokens put before marks and endings. */
static bool add_tidy(struct bitnet_buf *out, struct bitnet_str text, size_t max)
{
    static const char *const pairs[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    struct bitnet_buf from = {.max = max}, to = {.max = max};
    bool ok = bitnet_buf_add_str(&from, text);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0] && ok; i++) {
        to.n = 0;
        ok = hf_replace(&to, (struct bitnet_str){from.at, from.n}, bitnet_str_of(pairs[i][0]),
                        bitnet_str_of(pairs[i][1]));
        struct bitnet_buf swap = from;
        from = to;
        to = swap;
    }
    ok = ok && bitnet_buf_add(out, from.at, from.n);
    bitnet_buf_free(&from);
    bitnet_buf_free(&to);
    return ok;
}

/* "##x" joins the word before it, anything else begins a new one. */
static bool wordpiece(const struct hf_decoder *decoder, const struct strings *in,
                      struct strings *out)
{
    struct bitnet_buf word = {.max = MAX_DECODED_BYTES};
    bool ok = true;
    for (size_t i = 0; i < in->n && ok; i++) {
        struct bitnet_str text = string_at(in, i), prefix = decoder->text;
        bool joins = i && text.n >= prefix.n && memcmp(text.at, prefix.at, prefix.n) == 0;
        word.n = 0;
        if (joins) text = (struct bitnet_str){text.at + prefix.n, text.n - prefix.n};
        ok = (!i || joins || bitnet_buf_add(&word, " ", 1)) && bitnet_buf_add_str(&word, text);
        struct bitnet_str made = {word.at, word.n};
        ok = ok && (decoder->cleanup ? add_tidy(&out->text, made, word.max)
                                     : bitnet_buf_add_str(&out->text, made));
        ok = ok && end_string(out);
    }
    bitnet_buf_free(&word);
    return ok;
}

/* The end-of-word suffix is a space, but for the last token's. */
static bool bpe_suffix(const struct hf_decoder *decoder, const struct strings *in,
                       struct strings *out)
{
    for (size_t i = 0; i < in->n; i++)
        if (!hf_replace(&out->text, string_at(in, i), decoder->text,
                        i + 1 == in->n ? BITNET_STR("") : BITNET_STR(" ")) ||
            !end_string(out))
            return false;
    return true;
}

/* Repeats fall together, pads vanish, delimiters are spaces. */
static bool ctc(const struct hf_decoder *decoder, const struct strings *in, struct strings *out)
{
    struct bitnet_buf word = {.max = MAX_DECODED_BYTES}, tidy = {.max = MAX_DECODED_BYTES};
    bool ok = true;
    for (size_t i = 0; i < in->n && ok; i++) {
        struct bitnet_str text = string_at(in, i);
        if (i && bitnet_str_equal(text, string_at(in, i - 1))) continue;
        word.n = tidy.n = 0;
        ok = hf_replace(&word, text, decoder->text, BITNET_STR(""));
        struct bitnet_str made = {word.at, word.n};
        if (ok && decoder->cleanup) {
            ok = add_tidy(&tidy, made, word.max);
            word.n = 0;
            ok = ok && hf_replace(&word, (struct bitnet_str){tidy.at, tidy.n}, decoder->content,
                                  BITNET_STR(" "));
        }
        if (ok && word.n) ok = bitnet_buf_add(&out->text, word.at, word.n) && end_string(out);
    }
    bitnet_buf_free(&word);
    bitnet_buf_free(&tidy);
    return ok;
}

static bool strip(const struct hf_decoder *decoder, const struct strings *in, struct strings *out)
{
    struct bitnet_str mark = decoder->text;
    for (size_t i = 0; i < in->n; i++) {
        struct bitnet_str text = string_at(in, i);
        for (uint64_t k = 0; k < decoder->start && text.n >= mark.n; k++) {
            if (memcmp(text.at, mark.at, mark.n) != 0) break;
            text.at += mark.n;
            text.n -= mark.n;
        }
        for (uint64_t k = 0; k < decoder->stop && text.n >= mark.n; k++) {
            if (memcmp(text.at + text.n - mark.n, mark.at, mark.n) != 0) break;
            text.n -= mark.n;
        }
        if (!bitnet_buf_add_str(&out->text, text) || !end_string(out)) return false;
    }
    return true;
}

/* The first string loses its marks, in all others they are spaces. */
static bool metaspace(const struct hf_decoder *decoder, const struct strings *in,
                      struct strings *out)
{
    for (size_t i = 0; i < in->n; i++) {
        bool drop = i == 0 && decoder->prepend != HF_PREPEND_NEVER;
        if (!hf_replace(&out->text, string_at(in, i), decoder->text,
                        drop ? BITNET_STR("") : BITNET_STR(" ")) ||
            !end_string(out))
            return false;
    }
    return true;
}

static bool apply(const struct hf_decoder *decoder, const struct strings *in, struct strings *out)
{
    out->n = out->text.n = 0;
    switch (decoder->kind) {
    case HF_DECODE_BYTE_LEVEL:
        return byte_level(in, out);
    case HF_DECODE_REPLACE:
        return replace(decoder, in, out);
    case HF_DECODE_BYTE_FALLBACK:
        return byte_fallback(in, out);
    case HF_DECODE_FUSE:
        return fuse(in, out);
    case HF_DECODE_STRIP:
        return strip(decoder, in, out);
    case HF_DECODE_METASPACE:
        return metaspace(decoder, in, out);
    case HF_DECODE_WORDPIECE:
        return wordpiece(decoder, in, out);
    case HF_DECODE_BPE:
        return bpe_suffix(decoder, in, out);
    case HF_DECODE_CTC:
        return ctc(decoder, in, out);
    }
    return false;
}

/* ------------------------------------------------------------------ the row */

static bool gather(const struct bitnet_tokenizer *tokenizer, const int32_t *ids, size_t n,
                   bool with_special, struct strings *out)
{
    for (size_t i = 0; i < n; i++) {
        enum bitnet_token_type type = bitnet_token_type(tokenizer, ids[i]);
        if (type == BITNET_TOKEN_UNUSED || type == BITNET_TOKEN_UNDEFINED) continue;
        if (!with_special && (type == BITNET_TOKEN_CONTROL || type == BITNET_TOKEN_UNKNOWN))
            continue;
        if (!bitnet_buf_add_str(&out->text, bitnet_token_text(tokenizer, ids[i])) ||
            !end_string(out))
            return false;
    }
    return true;
}

/* Without a decoder the strings are parted by spaces. */
static bool join(const struct hf *hf, const struct strings *strings, struct bitnet_buf *out)
{
    for (size_t i = 0; i < strings->n; i++) {
        if (!hf->has_decoder && i && !bitnet_buf_add(out, " ", 1)) return false;
        if (!bitnet_buf_add_str(out, string_at(strings, i))) return false;
    }
    return true;
}

enum bitnet_status hf_decode(const struct bitnet_tokenizer *tokenizer, const int32_t *ids, size_t n,
                             bool with_special, struct bitnet_buf *out, struct bitnet_error *err)
{
    const struct hf *hf = tokenizer->hf;
    struct strings in = {.text.max = MAX_DECODED_BYTES}, next = {.text.max = MAX_DECODED_BYTES};
    bool ok = gather(tokenizer, ids, n, with_special, &in);
    for (size_t i = 0; i < hf->n_decoders && ok; i++) {
        ok = apply(&hf->decoders[i], &in, &next);
        struct strings swap = in;
        in = next;
        next = swap;
    }
    ok = ok && join(hf, &in, out);
    strings_free(&in);
    strings_free(&next);
    if (ok) return BITNET_OK;
    return bitnet_fail(err, BITNET_MEMORY, "out of memory for the text of %zu tokens", n);
}
