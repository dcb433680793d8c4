/* Merges for vocabularies that have scores instead. Comes in: tokens with scores; goes out: for
 * every token every split into two others, the best score first. Merging by the place in this list
 * joins what merging by score joins: both take the best result there is, and equal results from the
 * left. Source: the rule by which transformers converts SentencePiece models. See export.h. */
#include "export.h"

#include <bitnet/alloc.h>

#include <stdlib.h>

#include "json_text.h"
#include "unicode.h"

bool export_merge(struct bitnet_buf *out, struct bitnet_str left, struct bitnet_str right,
                  bool as_pairs)
{
    if (as_pairs)
        return bitnet_buf_add(out, "[", 1) && json_text_quote(out, left) &&
               bitnet_buf_add(out, ",", 1) && json_text_quote(out, right) &&
               bitnet_buf_add(out, "]", 1);
    if (!json_text_quote(out, left)) return false;
    out->n--; /* the quote that ends it */
    if (!bitnet_buf_add(out, " ", 1)) return false;
    size_t begin = out->n;
    if (!json_text_quote(out, right)) return false;
    memmove(out->at + begin, out->at + begin + 1, out->n - begin - 1); /* the one that begins it */
    out->n--;
    return true;
}

struct scored {
    float score;
    uint32_t id;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* What text is merged to: control and byte tokens never come of it. */
static bool is_merged(const struct vocab *vocab, uint32_t id)
{
    return vocab->type[id] == BITNET_TOKEN_NORMAL || vocab->type[id] == BITNET_TOKEN_USER ||
           vocab->type[id] == BITNET_TOKEN_UNUSED;
}

/* A token with a character that is none: scores can merge it, a list of merges cannot. */
static bool is_spelled(const struct vocab *vocab, struct bitnet_str text)
{
    for (size_t at = 0, length; at < text.n; at += length) {
        length = unicode_announced_length(text.at + at, text.n - at);
        if (vocab_find_token(vocab, (struct bitnet_str){text.at + at, length}) < 0) return false;
    }
    return true;
}

/* Could the scores reach it at all? */
static bool is_joined(const struct vocab *vocab, struct bitnet_str text)
{
    for (size_t at = 0, length; at < text.n; at += length) {
        length = unicode_announced_length(text.at + at, text.n - at);
        struct bitnet_str left = {text.at, at}, right = {text.at + at, text.n - at};
        bool left_fits = at && (vocab_find_token(vocab, left) >= 0 ||
                                unicode_announced_length(left.at, left.n) == left.n);
        bool right_fits = vocab_find_token(vocab, right) >= 0 || length == right.n;
        if (left_fits && right_fits) return true;
    }
    return false;
}

static bool add_splits(struct export *export, struct bitnet_str text, bool *is_first)
{
    const struct vocab *vocab = &export->tokenizer->vocab;
    bool ok = true;
    for (size_t at = unicode_announced_length(text.at, text.n); at < text.n && ok;
         at += unicode_announced_length(text.at + at, text.n - at)) {
        struct bitnet_str left = {text.at, at}, right = {text.at + at, text.n - at};
        int32_t a = vocab_find_token(vocab, left), b = vocab_find_token(vocab, right);
        if (a < 0 || b < 0 || !is_merged(vocab, (uint32_t)a) || !is_merged(vocab, (uint32_t)b))
            continue;
        ok = (*is_first || bitnet_buf_add(export->out, ",", 1)) &&
             export_merge(export->out, left, right, true);
        *is_first = false;
    }
    return ok;
}

enum bitnet_status export_scored_merges(struct export *export)
{
    const struct vocab *vocab = &export->tokenizer->vocab;
    struct scored *order = bitnet_alloc(vocab->n_tokens, sizeof *order);
    size_t n = 0;
    bool is_first = true, ok = order && bitnet_buf_add(export->out, "[", 1);
    for (uint32_t id = 0; id < vocab->n_tokens && ok; id++)
        if (is_merged(vocab, id)) order[n++] = (struct scored){vocab->score[id], id};
    if (ok) qsort(order, n, sizeof *order, by_score);
    for (size_t i = 0; i < n && ok; i++) {
        struct bitnet_str text = vocab_text(vocab, order[i].id);
        if (vocab->type[order[i].id] == BITNET_TOKEN_NORMAL && !is_spelled(vocab, text) &&
            is_joined(vocab, text)) {
            bitnet_free(order);
            return export_refuse(export, "a token with a character that is no token itself");
        }
        ok = add_splits(export, text, &is_first);
    }
    bitnet_free(order);
    ok = ok && bitnet_buf_add(export->out, "]", 1);
    return ok ? BITNET_OK : export_no_memory(export);
}
