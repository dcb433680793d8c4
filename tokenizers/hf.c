/* The road of a text through a tokenizer.json: added tokens, normalizer, pre-tokenizer, BPE,
 * post-processor. See hf.h. */
#include "hf.h"

#include <bitnet/alloc.h>

#include "unicode.h"

void hf_free(struct hf *hf)
{
    if (!hf) return;
    special_free(&hf->raw);
    special_free(&hf->normalized);
    bitnet_free(hf);
}

static enum bitnet_status no_memory(struct encoder *encoder, struct bitnet_str text)
{
    return bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for %zu bytes of text", text.n);
}

/* ------------------------------------------------------------------ BPE over characters */

static bool push_fallback(struct encoder *encoder, struct bitnet_str spelled, size_t at, bool *done)
{
    const struct hf *hf = encoder->tokenizer->hf;
    *done = hf->byte_fallback;
    for (size_t i = 0; i < spelled.n; i++)
        if (hf->byte_fallback_id[(uint8_t)spelled.at[i]] == MERGE_NO_ID) *done = false;
    for (size_t i = 0; i < spelled.n && *done; i++)
        if (!merge_push(&encoder->merge, hf->byte_fallback_id[(uint8_t)spelled.at[i]], at + i, 1))
            return false;
    return true;
}

/* Unknown characters side by side become one symbol if the model wants that. */
static bool push_unknown(struct encoder *encoder, size_t at, size_t length)
{
    const struct hf *hf = encoder->tokenizer->hf;
    struct merge_work *merge = &encoder->merge;
    if (hf->unk < 0) return true;
    if (hf->fuse_unk && merge->n_symbols) {
        struct merge_symbol *last = &merge->symbols[merge->n_symbols - 1];
        if (last->id == (uint32_t)hf->unk && last->begin + last->bytes == at) {
            last->bytes += (uint32_t)length;
            return true;
        }
    }
    return merge_push(merge, (uint32_t)hf->unk, at, length);
}

/* A character as the vocabulary spells it at its place in the word. */
static bool spell(struct encoder *encoder, struct bitnet_str word, size_t at, size_t length,
                  struct bitnet_str *spelled)
{
    const struct hf *hf = encoder->tokenizer->hf;
    *spelled = (struct bitnet_str){word.at + at, length};
    if (!hf->has_affix) return true;
    encoder->text.n = 0;
    if ((at && !bitnet_buf_add_str(&encoder->text, hf->inner_prefix)) ||
        !bitnet_buf_add_str(&encoder->text, *spelled) ||
        (at + length == word.n && !bitnet_buf_add_str(&encoder->text, hf->end_suffix)))
        return false;
    *spelled = (struct bitnet_str){encoder->text.at, encoder->text.n};
    return true;
}

static bool push_character(struct encoder *encoder, struct bitnet_str word, size_t at,
                           size_t length)
{
    struct bitnet_str character;
    if (!spell(encoder, word, at, length, &character)) return false;
    int32_t id = vocab_find_token(&encoder->tokenizer->vocab, character);
    if (id >= 0 && reach_of(encoder->tokenizer, (uint32_t)id) != REACH_ADDED)
        return merge_push(&encoder->merge, (uint32_t)id, at, length);
    bool done = false;
    if (!push_fallback(encoder, character, at, &done)) return false;
    return done || push_unknown(encoder, at, length);
}

static enum bitnet_status encode_word(struct encoder *encoder, struct bitnet_str word)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    bool is_spelled = !tokenizer->hf->has_affix || tokenizer->ignore_merges;
    int32_t token = is_spelled ? vocab_find_token(&tokenizer->vocab, word) : -1;
    enum reach reach = token < 0 ? REACH_NO : reach_of(tokenizer, (uint32_t)token);
    if (reach == REACH_YES) return encoder_emit(encoder, (uint32_t)token);

    encoder->merge.n_symbols = 0;
    for (size_t at = 0, length; at < word.n; at += length) {
        length = unicode_announced_length(word.at + at, word.n - at);
        if (!push_character(encoder, word, at, length)) return no_memory(encoder, word);
    }
    if (!encoder->merge.n_symbols) return BITNET_OK;
    if (!merge_run(&encoder->merge, &tokenizer->merges, &tokenizer->vocab, NULL))
        return no_memory(encoder, word);

    const struct merge_symbol *symbols = encoder->merge.symbols;
    if (reach == REACH_UNKNOWN)
        reach_learn(tokenizer, (uint32_t)token,
                    symbols[0].next < 0 && symbols[0].id == (uint32_t)token);
    enum bitnet_status status = BITNET_OK;
    for (int32_t i = 0; i >= 0 && !status; i = symbols[i].next)
        status = encoder_emit(encoder, symbols[i].id);
    return status;
}

/* A vocabulary without pre-tokenizer gets its text in one piece. It may be cut, without changing
 * any id, where no token holds what stands on both sides (see spm.c); an unknown character must not
 * be parted from its neighbour, with which it may fuse, so the mark has to be known. */
static size_t segment_end(const struct bitnet_tokenizer *tokenizer, struct bitnet_str piece,
                          size_t begin)
{
    for (size_t at = begin + 1; at + 3 <= piece.n; at++)
        if (memcmp(piece.at + at, "\xE2\x96\x81", 3) == 0 &&
            !tokenizer->space_joins[(uint8_t)piece.at[at - 1]] && tokenizer->knows_space)
            return at;
    return piece.n;
}

static enum bitnet_status encode_whole(struct encoder *encoder, struct bitnet_str piece)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    int32_t id = vocab_find_token(&tokenizer->vocab, piece);
    if (id < 0 || reach_of(tokenizer, (uint32_t)id) == REACH_ADDED) id = tokenizer->hf->unk;
    return encoder_emit(encoder, (uint32_t)id);
}

static enum bitnet_status encode_piece(struct encoder *encoder, struct bitnet_str piece)
{
    enum bitnet_status status = BITNET_OK;
    enum bitnet_tokenizer_kind kind = encoder->tokenizer->kind;
    if (kind == BITNET_TOKENIZER_UNIGRAM) return unigram_encode(encoder, piece);
    if (kind == BITNET_TOKENIZER_WORDPIECE) return wordpiece_encode(encoder, piece);
    if (kind == BITNET_TOKENIZER_WORDS) return encode_whole(encoder, piece);
    if (encoder->tokenizer->ignore_merges || encoder->tokenizer->hf->has_affix)
        return encode_word(encoder, piece);
    for (size_t begin = 0, end; begin < piece.n && !status; begin = end) {
        end = segment_end(encoder->tokenizer, piece, begin);
        status = encode_word(encoder, (struct bitnet_str){piece.at + begin, end - begin});
    }
    return status;
}

/* ------------------------------------------------------------------ the road */

static enum bitnet_status encode_normalized(struct encoder *encoder, struct bitnet_str text,
                                            bool is_start)
{
    const struct hf *hf = encoder->tokenizer->hf;
    if (hf->is_byte_level) return bpe_encode(encoder, text);
    struct hf_pieces pieces = {.text.max = encoder->text.max};
    enum bitnet_status status = BITNET_OK;
    if (!hf_split(hf, text, is_start, &pieces)) status = no_memory(encoder, text);
    for (size_t i = 0; i < pieces.n && !status; i++)
        status = encode_piece(encoder, (struct bitnet_str){pieces.text.at + pieces.at[i].begin,
                                                           pieces.at[i].end - pieces.at[i].begin});
    hf_pieces_free(&pieces);
    return status;
}

static enum bitnet_status encode_fragments(struct encoder *encoder, struct bitnet_str text,
                                           const struct fragments *fragments, bool is_start)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < fragments->n && !status; i++) {
        struct fragment fragment = fragments->at[i];
        struct bitnet_str raw = {text.at + fragment.begin, fragment.end - fragment.begin};
        status = fragment.id == FRAGMENT_TEXT ? encode_normalized(encoder, raw, is_start && i == 0)
                                              : encoder_emit(encoder, (uint32_t)fragment.id);
    }
    return status;
}

/* Text between raw added tokens: normalized, then searched for tokens in their normalized form. */
static enum bitnet_status encode_raw(struct encoder *encoder, struct bitnet_str text, bool is_start)
{
    const struct hf *hf = encoder->tokenizer->hf;
    struct fragments fragments = {0};
    struct bitnet_buf normal = {.max = 8 * text.n + ((size_t)1 << 20)};
    enum bitnet_status status = BITNET_OK;
    if (hf->n_normalizers) {
        if (!hf_normalize(hf, text, &normal))
            status = !normal.is_full
                         ? no_memory(encoder, text)
                         : bitnet_fail(encoder->err, BITNET_LIMIT,
                                       "the normalizer makes more than %zu bytes of %zu",
                                       normal.max, text.n);
        text = (struct bitnet_str){normal.at, normal.n};
    }
    if (!status && !special_cut_by_place(&hf->normalized, text, &fragments))
        status = no_memory(encoder, text);
    if (!status) status = encode_fragments(encoder, text, &fragments, is_start);
    fragments_free(&fragments);
    bitnet_buf_free(&normal);
    return status;
}

static enum bitnet_status encode_text(struct encoder *encoder, struct bitnet_str text)
{
    struct fragments fragments = {0};
    enum bitnet_status status = BITNET_OK;
    if (!special_cut_by_place(&encoder->tokenizer->hf->raw, text, &fragments))
        status = no_memory(encoder, text);
    for (size_t i = 0; i < fragments.n && !status; i++) {
        struct fragment fragment = fragments.at[i];
        struct bitnet_str raw = {text.at + fragment.begin, fragment.end - fragment.begin};
        status = fragment.id == FRAGMENT_TEXT ? encode_raw(encoder, raw, i == 0)
                                              : encoder_emit(encoder, (uint32_t)fragment.id);
    }
    fragments_free(&fragments);
    return status;
}

static enum bitnet_status emit_ids(struct encoder *encoder, const struct hf_ids *ids)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < ids->n && !status; i++) status = encoder_emit(encoder, ids->at[i]);
    return status;
}

/* Bytes that are no UTF-8 cannot reach the reference, which takes strings: each becomes U+FFFD. */
enum bitnet_status hf_encode(struct encoder *encoder, struct bitnet_str text,
                             const struct bitnet_tokenize_options *options)
{
    const struct hf *hf = encoder->tokenizer->hf;
    struct bitnet_buf valid = {.max = 3 * text.n + 1};
    enum bitnet_status status = BITNET_OK;
    if (!bitnet_utf8_valid(text)) {
        if (!hf_make_valid(text, &valid)) status = no_memory(encoder, text);
        text = (struct bitnet_str){valid.at, valid.n};
    }
    if (!status && !options->no_special) status = emit_ids(encoder, &hf->before);
    if (!status) status = encode_text(encoder, text);
    if (!status && !options->no_special) status = emit_ids(encoder, &hf->after);
    bitnet_buf_free(&valid);
    return status;
}
