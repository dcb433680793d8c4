/* Unigram: of all ways to cut a text into tokens, the one with the largest sum of scores (Kudo
 * 2018, by Viterbi's algorithm). Comes in: text; goes out: ids. Ties and widths follow the
 * references (tokenizers.md section 7): only a strictly better path replaces, floats for GGUF,
 * doubles for tokenizer.json. Time is the text times the longest token. */
#include "insides.h"

#include <bitnet/alloc.h>

#include <float.h>

#include "hf.h"
#include "unicode.h"

#define SPACE "\xE2\x96\x81"

void words_free(struct words *words)
{
    trie_free(&words->trie);
    trie_free(&words->user);
}

size_t words_user_prefix(const struct words *words, struct bitnet_str text)
{
    size_t longest = 0;
    uint32_t node = text.n ? trie_step(&words->user, 0, (uint8_t)text.at[0]) : 0;
    for (size_t end = 1; node; end++) {
        if (words->user.nodes[node].value_plus_1) longest = end;
        node = end < text.n ? trie_step(&words->user, node, (uint8_t)text.at[end]) : 0;
    }
    return longest;
}

static enum bitnet_status no_memory(struct encoder *encoder, size_t n)
{
    return bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for %zu bytes of text", n);
}

/* ------------------------------------------------------------------ the best path */

/* The best way to reach a place of the text. */
struct place {
    double score;
    size_t from; /* where its last token begins */
    uint32_t id;
    bool reached;
};

/* The references that keep floats compare the sum before it is rounded with the one kept, which
 * decides ties. */
static void offer(const struct words *words, struct place *place, double score, size_t from,
                  uint32_t id)
{
    if (place->reached && !(score > place->score)) return;
    *place = (struct place){words->wide_sums ? score : (double)(float)score, from, id, true};
}

/* User-defined tokens are to win: llama.cpp gives them 0, SentencePiece a bonus for their length.
 */
static double score_of(const struct bitnet_tokenizer *tokenizer, uint32_t id, size_t length)
{
    const struct words *words = &tokenizer->words;
    if (words->wide_scores) return words->wide_scores[id];
    bool is_user = !tokenizer->hf && tokenizer->vocab.type[id] == BITNET_TOKEN_USER;
    if (!is_user) return (double)tokenizer->vocab.score[id];
    return words->is_sentencepiece ? (double)((float)length * words->max_score) - 0.1 : 0;
}

/* All tokens that begin at `at`, the shortest first; the unknown one if none is the character. */
static void extend(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text, size_t at,
                   size_t length, struct place *places)
{
    const struct words *words = &tokenizer->words;
    double here = places[at].score;
    bool covered = false;
    uint32_t node = trie_step(&words->trie, 0, (uint8_t)text.at[at]);
    for (size_t end = at + 1; node; end++) {
        uint32_t value = words->trie.nodes[node].value_plus_1;
        if (value) {
            offer(words, &places[end], here + score_of(tokenizer, value - 1, end - at), at,
                  value - 1);
            covered = covered || end - at == length;
        }
        node = end < text.n ? trie_step(&words->trie, node, (uint8_t)text.at[end]) : 0;
    }
    double unknown = here + words->unk_score;
    if (!words->wide_sums) unknown = (double)(float)unknown;
    if (!covered) offer(words, &places[at + length], unknown, at, (uint32_t)tokenizer->special.unk);
}

/* Turns the chain of places around: afterwards places[at].from of each step is where it ends. */
static void turn_around(struct place *places, size_t n)
{
    size_t end = n, after = 0;
    while (end) {
        size_t from = places[end].from;
        places[end].from = after;
        after = end;
        end = from;
    }
    places[0].from = after;
}

/* Bytes of a character without a token, or the unknown token. A run of unknown characters is one,
 * and Hugging Face looks the run up once more. */
static enum bitnet_status emit_unknown(struct encoder *encoder, struct bitnet_str run)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    const struct hf *hf = tokenizer->hf;
    int32_t token = hf ? vocab_find_token(&tokenizer->vocab, run) : BITNET_NO_TOKEN;
    bool in_bytes = hf ? hf->byte_fallback : tokenizer->words.byte_fallback;
    const uint32_t *byte_ids = hf ? hf->byte_fallback_id : tokenizer->byte_symbol;
    if (token >= 0 && reach_of(tokenizer, (uint32_t)token) != REACH_ADDED)
        return encoder_emit(encoder, (uint32_t)token);
    for (size_t i = 0; i < run.n && in_bytes; i++)
        in_bytes = byte_ids[(uint8_t)run.at[i]] != MERGE_NO_ID;
    if (!in_bytes && tokenizer->special.unk < 0)
        return bitnet_fail(encoder->err, BITNET_FORMAT,
                           "the vocabulary has no token for %s and no unknown token",
                           BITNET_QUOTE(run));
    if (!in_bytes) return encoder_emit(encoder, (uint32_t)tokenizer->special.unk);
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < run.n && !status; i++)
        status = encoder_emit(encoder, byte_ids[(uint8_t)run.at[i]]);
    return status;
}

static enum bitnet_status emit_path(struct encoder *encoder, struct bitnet_str text,
                                    const struct place *places)
{
    uint32_t unk = (uint32_t)encoder->tokenizer->special.unk;
    enum bitnet_status status = BITNET_OK;
    for (size_t at = 0; at < text.n && !status;) {
        size_t end = places[at].from, begin = at;
        uint32_t id = places[end].id;
        while (id == unk && end < text.n && places[places[end].from].id == unk)
            end = places[end].from;
        status = id == unk
                     ? emit_unknown(encoder, (struct bitnet_str){text.at + begin, end - begin})
                     : encoder_emit(encoder, id);
        at = end;
    }
    return status;
}

enum bitnet_status unigram_encode(struct encoder *encoder, struct bitnet_str text)
{
    if (!text.n) return BITNET_OK;
    struct place *places = bitnet_alloc(text.n + 1, sizeof *places);
    if (!places) return no_memory(encoder, text.n);
    places[0].reached = true;
    for (size_t at = 0, length; at < text.n; at += length) {
        length = unicode_announced_length(text.at + at, text.n - at);
        extend(encoder->tokenizer, text, at, length, places);
    }
    turn_around(places, text.n);
    enum bitnet_status status = emit_path(encoder, text, places);
    bitnet_free(places);
    return status;
}

/* ------------------------------------------------------------------ llama.cpp's normalizer */

/* What the text at `at` becomes: a user-defined token itself, a replacement, or one character. */
static struct bitnet_str normal_of(const struct words *words, struct bitnet_str rest, size_t *used)
{
    struct bitnet_str by;
    uint32_t c;
    *used = words_user_prefix(words, rest);
    if (*used) return (struct bitnet_str){rest.at, *used};
    *used = charsmap_find(&words->map, rest, CHARSMAP_LONGEST, &by);
    if (*used) return by;
    *used = unicode_decode_lenient(rest.at, rest.n, &c);
    if (*used) return (struct bitnet_str){rest.at, *used};
    *used = 1;
    return BITNET_STR("\xEF\xBF\xBD");
}

static bool normalize(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text,
                      struct bitnet_buf *out)
{
    const struct words *words = &tokenizer->words;
    bool add_space = tokenizer->special.add_space_prefix, in_word = false, prefixed = false;
    for (size_t at = 0, used; at < text.n; at += used) {
        struct bitnet_str by =
            normal_of(words, (struct bitnet_str){text.at + at, text.n - at}, &used);
        for (size_t i = 0; i < by.n; i++) {
            bool is_space = by.at[i] == ' ';
            bool begins =
                !is_space && !in_word &&
                ((add_space && !words->suffix_spaces && !prefixed) || words->merge_spaces);
            in_word = !is_space;
            prefixed = prefixed || begins;
            if (begins && !bitnet_buf_add(out, SPACE, 3)) return false;
            if (is_space && !words->merge_spaces && !bitnet_buf_add(out, SPACE, 3)) return false;
            if (!is_space && !bitnet_buf_add(out, by.at + i, 1)) return false;
        }
    }
    return !(add_space && words->suffix_spaces) || bitnet_buf_add(out, SPACE, 3);
}

enum bitnet_status unigram_encode_text(struct encoder *encoder, struct bitnet_str text)
{
    encoder->text.n = 0;
    if (!normalize(encoder->tokenizer, text, &encoder->text)) return no_memory(encoder, text.n);
    return unigram_encode(encoder, (struct bitnet_str){encoder->text.at, encoder->text.n});
}
