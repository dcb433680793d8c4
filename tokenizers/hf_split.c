/* Owns the pre-tokenizers of a tokenizer.json where they rewrite text as well as cut it. Comes in:
 * normalized text; goes out: pieces in the spelling of the vocabulary. See hf.h. Where nothing but
 * the last step rewrites (byte-level vocabularies), hf.c takes the shorter road through split.c. */
#include "hf.h"

#include <bitnet/alloc.h>

#include "alphabet.h"
#include "unicode.h"

void hf_pieces_free(struct hf_pieces *pieces)
{
    bitnet_buf_free(&pieces->text);
    bitnet_free(pieces->at);
    *pieces = (struct hf_pieces){0};
}

static bool add_piece(struct hf_pieces *pieces, size_t begin)
{
    if (begin == pieces->text.n) return true;
    if (!BITNET_GROW(pieces->at, pieces->n, pieces->cap, SIZE_MAX / sizeof *pieces->at))
        return false;
    pieces->at[pieces->n++] = (struct hf_piece){begin, pieces->text.n};
    return true;
}

static bool add_copy(struct hf_pieces *out, struct bitnet_str word)
{
    size_t begin = out->text.n;
    return bitnet_buf_add_str(&out->text, word) && add_piece(out, begin);
}

static bool cut_with(struct split_work *work, const struct split_pass *pass,
                     struct bitnet_str piece, struct hf_pieces *out,
                     bool (*add)(struct hf_pieces *, struct bitnet_str))
{
    struct splitter splitter;
    struct bitnet_str word;
    split_begin(&splitter, work, pass, pass ? 1 : 0, piece);
    while (split_next(&splitter, &word))
        if (!add(out, word)) return false;
    return !splitter.out_of_memory;
}

static bool cut(const struct split_pass *pass, struct bitnet_str piece, struct hf_pieces *out,
                bool (*add)(struct hf_pieces *, struct bitnet_str))
{
    struct split_work work = {0};
    bool ok = cut_with(&work, pass, piece, out, add);
    split_work_free(&work);
    return ok;
}

static bool add_spelled(struct hf_pieces *out, struct bitnet_str word)
{
    size_t begin = out->text.n;
    for (size_t i = 0; i < word.n; i++) {
        char letter[2];
        if (!bitnet_buf_add(&out->text, letter, alphabet_spell(word.at + i, 1, letter)))
            return false;
    }
    return add_piece(out, begin);
}

static bool byte_level(const struct hf_splitter *splitter, struct bitnet_str piece,
                       struct hf_pieces *out)
{
    struct bitnet_buf spaced = {.max = out->text.max};
    bool ok = true;
    if (splitter->add_prefix_space && piece.at[0] != ' ') {
        ok = bitnet_buf_add(&spaced, " ", 1) && bitnet_buf_add_str(&spaced, piece);
        piece = (struct bitnet_str){spaced.at, spaced.n};
    }
    ok = ok && cut(splitter->use_regex ? &splitter->pass : NULL, piece, out, add_spelled);
    bitnet_buf_free(&spaced);
    return ok;
}

/* Cuts before each replacement character, which stays with what follows it. */
static bool cut_before(struct bitnet_str text, struct bitnet_str mark, struct hf_pieces *out)
{
    size_t begin = 0;
    for (size_t at = 1; at <= text.n; at++) {
        bool here =
            at == text.n || (text.n - at >= mark.n && memcmp(text.at + at, mark.at, mark.n) == 0);
        if (!here) continue;
        if (!add_copy(out, (struct bitnet_str){text.at + begin, at - begin})) return false;
        begin = at;
    }
    return true;
}

static bool metaspace(const struct hf_splitter *splitter, struct bitnet_str piece, bool is_first,
                      struct hf_pieces *out)
{
    struct bitnet_str mark = splitter->replacement;
    struct bitnet_buf marked = {.max = out->text.max};
    bool starts = bitnet_str_starts(piece, " ") ||
                  (piece.n >= mark.n && memcmp(piece.at, mark.at, mark.n) == 0);
    bool prepend = splitter->prepend == HF_PREPEND_ALWAYS ||
                   (splitter->prepend == HF_PREPEND_FIRST && is_first);
    bool ok = !(prepend && !starts) || bitnet_buf_add_str(&marked, mark);
    ok = ok && hf_replace(&marked, piece, BITNET_STR(" "), mark);
    struct bitnet_str text = {marked.at, marked.n};
    ok = ok && (splitter->split ? cut_before(text, mark, out) : add_copy(out, text));
    bitnet_buf_free(&marked);
    return ok;
}

/* Cuts where the script changes. A space has none, nor have many signs: they stay with what stands
 * before them, and what has none before the first that has is dropped, as the reference does. */
static bool scripts(struct bitnet_str piece, struct hf_pieces *out)
{
    unsigned last = 0;
    size_t begin = piece.n;
    for (size_t at = 0, length; at < piece.n; at += length) {
        uint32_t c;
        length = bitnet_utf8_decode(piece.at + at, piece.n - at, &c);
        if (!length) length = 1;
        unsigned script = unicode_script(c);
        if (!script || script == last) continue;
        if (begin < at && !add_copy(out, (struct bitnet_str){piece.at + begin, at - begin}))
            return false;
        begin = at;
        last = script;
    }
    return begin == piece.n ||
           add_copy(out, (struct bitnet_str){piece.at + begin, piece.n - begin});
}

static bool lengths(struct bitnet_str piece, uint64_t n, struct hf_pieces *out)
{
    for (size_t begin = 0, at = 0; begin < piece.n; begin = at) {
        for (uint64_t i = 0; i < n && at < piece.n; i++)
            at += unicode_announced_length(piece.at + at, piece.n - at);
        if (!add_copy(out, (struct bitnet_str){piece.at + begin, at - begin})) return false;
    }
    return true;
}

/* Does the first piece that this pass makes begin where the text begins, or was that removed? */
static bool keeps_start(const struct hf_splitter *splitter, struct bitnet_str text)
{
    struct split_work work = {0};
    struct splitter cutter;
    struct bitnet_str word = {0};
    uint32_t c = 0;
    if (splitter->kind == HF_SCRIPTS)
        return bitnet_utf8_decode(text.at, text.n, &c) && unicode_script(c);
    if (splitter->kind != HF_PASS) return true;
    split_begin(&cutter, &work, &splitter->pass, 1, text);
    bool keeps = split_next(&cutter, &word) && word.at == text.at;
    split_work_free(&work);
    return keeps;
}

static bool apply(const struct hf_splitter *splitter, const struct hf_pieces *in,
                  struct hf_pieces *out)
{
    out->n = out->text.n = 0;
    out->at_start = in->at_start && in->n &&
                    keeps_start(splitter, (struct bitnet_str){in->text.at + in->at[0].begin,
                                                              in->at[0].end - in->at[0].begin});
    for (size_t i = 0; i < in->n; i++) {
        struct bitnet_str piece = {in->text.at + in->at[i].begin, in->at[i].end - in->at[i].begin};
        bool ok = false;
        switch (splitter->kind) {
        case HF_PASS:
            ok = cut(&splitter->pass, piece, out, add_copy);
            break;
        case HF_BYTE_LEVEL:
            ok = byte_level(splitter, piece, out);
            break;
        case HF_METASPACE:
            ok = metaspace(splitter, piece, in->at_start && i == 0, out);
            break;
        case HF_SCRIPTS:
            ok = scripts(piece, out);
            break;
        case HF_LENGTH:
            ok = lengths(piece, splitter->length, out);
            break;
        }
        if (!ok) return false;
    }
    return true;
}

bool hf_split(const struct hf *hf, struct bitnet_str text, bool is_start, struct hf_pieces *pieces)
{
    struct hf_pieces other = {.text.max = pieces->text.max};
    pieces->n = pieces->text.n = 0;
    pieces->at_start = is_start;
    bool ok = add_copy(pieces, text);
    for (size_t i = 0; i < hf->n_splitters && ok; i++) {
        ok = apply(&hf->splitters[i], pieces, &other);
        struct hf_pieces swap = *pieces;
        *pieces = other;
        other = swap;
    }
    hf_pieces_free(&other);
    return ok;
}
