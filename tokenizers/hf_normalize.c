/* Owns the normalizers of a tokenizer.json. Comes in: text between two added tokens; goes out: the
 * text that is split. See hf.h. */
#include "hf.h"

#include "alphabet.h"
#include "unicode.h"

bool hf_replace(struct bitnet_buf *out, struct bitnet_str text, struct bitnet_str what,
                struct bitnet_str by)
{
    size_t raw = 0;
    while (what.n && raw < text.n) {
        const char *found = memmem(text.at + raw, text.n - raw, what.at, what.n);
        if (!found) break;
        size_t at = (size_t)(found - text.at);
        if (!bitnet_buf_add(out, text.at + raw, at - raw) || !bitnet_buf_add_str(out, by))
            return false;
        raw = at + what.n;
    }
    return bitnet_buf_add(out, text.at + raw, text.n - raw);
}

bool hf_replace_regex(struct bitnet_buf *out, struct bitnet_str text, const struct regex *regex,
                      struct bitnet_str by)
{
    struct regex_work work = {0};
    size_t at = 0, begin, end;
    bool ok = regex_text(regex, &work, text);
    while (ok && regex_find(regex, &work, at, &begin, &end)) {
        ok = bitnet_buf_add(out, text.at + at, begin - at) && bitnet_buf_add_str(out, by);
        at = end;
    }
    ok = ok && !work.out_of_memory && bitnet_buf_add(out, text.at + at, text.n - at);
    regex_work_free(&work);
    return ok;
}

/* ------------------------------------------------------------------ character by character */

/* What becomes of one character: appends it, something else, or nothing. */
typedef bool map_fn(uint32_t c, struct bitnet_str bytes, struct bitnet_buf *out);

static bool map_characters(struct bitnet_str text, map_fn *map, struct bitnet_buf *out)
{
    for (size_t at = 0, length; at < text.n; at += length) {
        uint32_t c = 0xFFFD;
        length = bitnet_utf8_decode(text.at + at, text.n - at, &c);
        if (!length) length = 1;
        if (!map(c, (struct bitnet_str){text.at + at, length}, out)) return false;
    }
    return true;
}

static bool drop_marks(uint32_t c, struct bitnet_str bytes, struct bitnet_buf *out)
{
    return (unicode_bits_of(UNICODE_9, c) & UNICODE_M) || bitnet_buf_add_str(out, bytes);
}

static bool drop_nonspacing(uint32_t c, struct bitnet_str bytes, struct bitnet_buf *out)
{
    return (unicode_bits_of(UNICODE_8, c) & UNICODE_BIT(CATEGORY_MN)) ||
           bitnet_buf_add_str(out, bytes);
}

/* SentencePiece's nmt rules: some controls vanish, other separators are spaces. */
static bool map_nmt(uint32_t c, struct bitnet_str bytes, struct bitnet_buf *out)
{
    bool dropped = (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F ||
                   c == 0x8F || c == 0x9F;
    bool is_space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                    (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                    c == 0xFEFF || c == 0xFFFD;
    if (dropped) return true;
    return is_space ? bitnet_buf_add(out, " ", 1) : bitnet_buf_add_str(out, bytes);
}

/* BERT's clean-up: controls vanish, white space is a space. */
static bool map_clean(uint32_t c, struct bitnet_str bytes, struct bitnet_buf *out)
{
    uint32_t bits = unicode_bits_of(UNICODE_8, c);
    bool is_space = c == '\t' || c == '\n' || c == '\r' || (bits & UNICODE_WHITE);
    bool is_control =
        (bits & (UNICODE_C & ~UNICODE_BIT(CATEGORY_CN))) && !(c == '\t' || c == '\n' || c == '\r');
    if (c == 0 || c == 0xFFFD || is_control) return true;
    return is_space ? bitnet_buf_add(out, " ", 1) : bitnet_buf_add_str(out, bytes);
}

/* BERT's ranges, with the slip (2B920 for 2B820) that every copy has kept. */
static bool is_ideograph(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool map_chinese(uint32_t c, struct bitnet_str bytes, struct bitnet_buf *out)
{
    if (!is_ideograph(c)) return bitnet_buf_add_str(out, bytes);
    return bitnet_buf_add(out, " ", 1) && bitnet_buf_add_str(out, bytes) &&
           bitnet_buf_add(out, " ", 1);
}

static bool map_letters(uint32_t c, struct bitnet_str bytes, struct bitnet_buf *out)
{
    (void)c;
    for (size_t i = 0; i < bytes.n; i++) {
        char letter[2];
        if (!bitnet_buf_add(out, letter, alphabet_spell(bytes.at + i, 1, letter))) return false;
    }
    return true;
}

/* ------------------------------------------------------------------ whole texts */

static bool is_white_at(struct bitnet_str text, size_t at, size_t *length)
{
    uint32_t c = 0xFFFD;
    *length = bitnet_utf8_decode(text.at + at, text.n - at, &c);
    return *length && (unicode_bits(c) & UNICODE_WHITE);
}

static bool strip(const struct hf_normalizer *normalizer, struct bitnet_str text,
                  struct bitnet_buf *out)
{
    size_t length;
    while (normalizer->left && text.n && is_white_at(text, 0, &length)) {
        text.at += length;
        text.n -= length;
    }
    while (normalizer->right && text.n) {
        size_t last = text.n - 1;
        while (last && ((uint8_t)text.at[last] & 0xC0) == 0x80) last--;
        if (!is_white_at(text, last, &length)) break;
        text.n = last;
    }
    return bitnet_buf_add_str(out, text);
}

/* Clusters shorter than six bytes are looked up whole, then characters; where a key is only the
 * beginning of what is looked up, all of it is replaced. Both are the reference's ways. */
static bool precompiled(const struct charsmap *map, struct bitnet_str text, struct bitnet_buf *out)
{
    for (size_t at = 0, end; at < text.n; at = end) {
        struct bitnet_str by;
        end = normal_cluster_end(text, at);
        struct bitnet_str cluster = {text.at + at, end - at};
        if (cluster.n < 6 && charsmap_find(map, cluster, CHARSMAP_SHORTEST, &by)) {
            if (!bitnet_buf_add_str(out, by)) return false;
            continue;
        }
        for (size_t i = 0, length; i < cluster.n; i += length) {
            uint32_t c;
            length = bitnet_utf8_decode(cluster.at + i, cluster.n - i, &c);
            if (!length) length = 1;
            struct bitnet_str one = {cluster.at + i, length};
            if (!charsmap_find(map, one, CHARSMAP_SHORTEST, &by)) by = one;
            if (!bitnet_buf_add_str(out, by)) return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ the row */

/* Clean, part ideographs, strip accents, lower-case: each as the file asks. */
static bool bert(const struct hf_normalizer *normalizer, struct bitnet_str text,
                 struct bitnet_buf *out)
{
    struct bitnet_buf one = {.max = out->max}, two = {.max = out->max};
    bool ok =
        normalizer->clean ? map_characters(text, map_clean, &one) : bitnet_buf_add_str(&one, text);
    if (ok && normalizer->chinese) {
        ok = map_characters((struct bitnet_str){one.at, one.n}, map_chinese, &two);
        struct bitnet_buf swap = one;
        one = two;
        two = swap;
    }
    if (ok && normalizer->accents) {
        two.n = 0;
        ok = normal_apply(NORMAL_NFD, (struct bitnet_str){one.at, one.n}, &two);
        one.n = 0;
        ok = ok && map_characters((struct bitnet_str){two.at, two.n}, drop_nonspacing, &one);
    }
    struct bitnet_str made = {one.at, one.n};
    ok = ok && (normalizer->lower ? normal_lower_text(made, out) : bitnet_buf_add_str(out, made));
    out->is_full |= one.is_full || two.is_full;
    bitnet_buf_free(&one);
    bitnet_buf_free(&two);
    return ok;
}

static bool apply(const struct hf_normalizer *normalizer, struct bitnet_str text,
                  struct bitnet_buf *out)
{
    switch (normalizer->kind) {
    case HF_PREPEND:
        return !text.n ||
               (bitnet_buf_add_str(out, normalizer->text) && bitnet_buf_add_str(out, text));
    case HF_REPLACE:
        return hf_replace(out, text, normalizer->text, normalizer->content);
    case HF_REPLACE_REGEX:
        return hf_replace_regex(out, text, normalizer->regex, normalizer->content);
    case HF_FORM:
        return normal_apply(normalizer->form, text, out);
    case HF_LOWERCASE:
        return normal_lower_text(text, out);
    case HF_STRIP_ACCENTS:
        return map_characters(text, drop_marks, out);
    case HF_STRIP:
        return strip(normalizer, text, out);
    case HF_NMT:
        return map_characters(text, map_nmt, out);
    case HF_BERT:
        return bert(normalizer, text, out);
    case HF_PRECOMPILED:
        return precompiled(&normalizer->map, text, out);
    case HF_SPELL_BYTES:
        return map_characters(text, map_letters, out);
    }
    return false;
}

bool hf_normalize(const struct hf *hf, struct bitnet_str text, struct bitnet_buf *out)
{
    struct bitnet_buf from = {.max = out->max}, to = {.max = out->max};
    bool ok = true;
    for (size_t i = 0; i < hf->n_normalizers && ok; i++) {
        to.n = 0;
        ok = apply(&hf->normalizers[i], text, &to);
        struct bitnet_buf swap = from;
        from = to;
        to = swap;
        text = (struct bitnet_str){from.at, from.n};
    }
    ok = ok && bitnet_buf_add_str(out, text);
    out->is_full |= from.is_full || to.is_full;
    bitnet_buf_free(&from);
    bitnet_buf_free(&to);
    return ok;
}
