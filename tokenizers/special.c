/* Owns the cutting of special tokens. See special.h; the two orders are those of
 * tokenizers.md section 9. */
#include "special.h"

#include <bitnet/alloc.h>
#include <bitnet/text.h>

#include <stdlib.h>

#include "unicode.h"

bool special_add(struct special_list *list, struct special special)
{
    if (!BITNET_GROW(list->at, list->n, list->cap, (size_t)VOCAB_MAX_TOKENS)) return false;
    list->at[list->n++] = special;
    return true;
}

static int longer_first(const void *left, const void *right)
{
    const struct special *a = left, *b = right;
    if (a->text.n != b->text.n) return a->text.n > b->text.n ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

bool special_finish(struct special_list *list)
{
    if (list->n) qsort(list->at, list->n, sizeof *list->at, longer_first);
    for (size_t i = 0; i < list->n; i++)
        if (!trie_add(&list->trie, list->at[i].text, (uint32_t)i)) return false;
    return true;
}

void special_free(struct special_list *list)
{
    bitnet_free(list->at);
    trie_free(&list->trie);
    *list = (struct special_list){0};
}

bool fragments_add(struct fragments *fragments, size_t begin, size_t end, int32_t id)
{
    if (begin == end && id == FRAGMENT_TEXT) return true;
    if (!BITNET_GROW(fragments->at, fragments->n, fragments->cap, SIZE_MAX / sizeof *fragments->at))
        return false;
    fragments->at[fragments->n++] = (struct fragment){begin, end, id};
    return true;
}

void fragments_free(struct fragments *fragments)
{
    bitnet_free(fragments->at);
    *fragments = (struct fragments){0};
}

/* ------------------------------------------------------------------ llama.cpp */

/* Marks which of the list occur anywhere, so that the others need no search. */
static bool mark_present(const struct special_list *list, struct bitnet_str text, bool *present)
{
    bool any = false;
    for (size_t begin = 0; begin < text.n; begin++) {
        uint32_t node = trie_step(&list->trie, 0, (uint8_t)text.at[begin]);
        for (size_t at = begin + 1; node; at++) {
            uint32_t value = list->trie.nodes[node].value_plus_1;
            if (value) any = present[value - 1] = true;
            node = at < text.n ? trie_step(&list->trie, node, (uint8_t)text.at[at]) : 0;
        }
    }
    return any;
}

/* The C locale's isspace. */
static bool is_ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool cut_one(const struct special *special, struct bitnet_str text, struct fragment raw,
                    struct fragments *out)
{
    size_t begin = raw.begin, length = special->text.n;
    while (raw.end - begin >= length) {
        const char *found = memmem(text.at + begin, raw.end - begin, special->text.at, length);
        if (!found) break;
        size_t left = (size_t)(found - text.at), right = left + length;
        while (special->lstrip && left > begin && is_ascii_space(text.at[left - 1])) left--;
        while (special->rstrip && right < raw.end && is_ascii_space(text.at[right])) right++;
        if (!fragments_add(out, begin, left, FRAGMENT_TEXT) ||
            !fragments_add(out, left, right, (int32_t)special->id))
            return false;
        begin = right;
    }
    return fragments_add(out, begin, raw.end, FRAGMENT_TEXT);
}

static bool cut_fragments(const struct special *special, struct bitnet_str text,
                          const struct fragments *in, struct fragments *out)
{
    out->n = 0;
    for (size_t i = 0; i < in->n; i++) {
        struct fragment fragment = in->at[i];
        bool ok = fragment.id == FRAGMENT_TEXT
                      ? cut_one(special, text, fragment, out)
                      : fragments_add(out, fragment.begin, fragment.end, fragment.id);
        if (!ok) return false;
    }
    return true;
}

bool special_cut_by_length(const struct special_list *list, struct bitnet_str text,
                           bool parse_special, struct fragments *fragments)
{
    fragments->n = 0;
    if (!fragments_add(fragments, 0, text.n, FRAGMENT_TEXT)) return false;
    if (!list->n) return true;

    bool *present = bitnet_alloc(list->n, sizeof *present), ok = present;
    struct fragments other = {0};
    if (ok && mark_present(list, text, present))
        for (size_t i = 0; ok && i < list->n; i++) {
            if (!present[i] || !(parse_special || list->at[i].always)) continue;
            ok = cut_fragments(&list->at[i], text, fragments, &other);
            struct fragments swap = *fragments;
            *fragments = other;
            other = swap;
        }
    fragments_free(&other);
    bitnet_free(present);
    return ok;
}

/* ------------------------------------------------------------------ Hugging Face */

/* The longest token that begins at `begin`, or -1. */
static int64_t longest_at(const struct special_list *list, struct bitnet_str text, size_t begin)
{
    int64_t found = -1;
    uint32_t node = trie_step(&list->trie, 0, (uint8_t)text.at[begin]);
    for (size_t at = begin + 1; node; at++) {
        uint32_t value = list->trie.nodes[node].value_plus_1;
        if (value) found = (int64_t)value - 1;
        node = at < text.n ? trie_step(&list->trie, node, (uint8_t)text.at[at]) : 0;
    }
    return found;
}

/* \w as Rust's regex crate has it: also the joiners, and letters in circles and squares. */
static bool is_word_character(uint32_t c)
{
    return (unicode_bits(c) & (UNICODE_L | UNICODE_M | UNICODE_BIT(CATEGORY_ND) |
                               UNICODE_BIT(CATEGORY_NL) | UNICODE_BIT(CATEGORY_PC))) ||
           c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
           (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

/* The start of the character that ends at `end` (> 0). */
static size_t character_before(struct bitnet_str text, size_t end)
{
    size_t at = end - 1;
    while (at && ((uint8_t)text.at[at] & 0xC0) == 0x80) at--;
    return at;
}

static uint32_t character_at(struct bitnet_str text, size_t at, size_t *length)
{
    uint32_t c = 0xFFFD;
    *length = unicode_decode_lenient(text.at + at, text.n - at, &c);
    if (!*length) *length = 1;
    return c;
}

static bool is_white_at(struct bitnet_str text, size_t at, size_t *length)
{
    return unicode_bits(character_at(text, at, length)) & UNICODE_WHITE;
}

static bool touches_word(struct bitnet_str text, size_t begin, size_t end)
{
    size_t length;
    if (begin && is_word_character(character_at(text, character_before(text, begin), &length)))
        return true;
    return end < text.n && is_word_character(character_at(text, end, &length));
}

bool special_cut_by_place(const struct special_list *list, struct bitnet_str text,
                          struct fragments *fragments)
{
    size_t raw = 0, at = 0;
    fragments->n = 0;
    while (at < text.n) {
        if (!list->trie.root[(uint8_t)text.at[at]]) {
            at++;
            continue;
        }
        int64_t index = longest_at(list, text, at);
        if (index < 0) {
            at++;
            continue;
        }
        const struct special *special = &list->at[index];
        size_t begin = at, end = at + special->text.n, length;
        at = end;
        if (special->single_word && touches_word(text, begin, end)) continue;
        while (special->lstrip && begin > raw &&
               is_white_at(text, character_before(text, begin), &length))
            begin = character_before(text, begin);
        while (special->rstrip && end < text.n && is_white_at(text, end, &length)) end += length;
        if (!fragments_add(fragments, raw, begin, FRAGMENT_TEXT) ||
            !fragments_add(fragments, begin, end, (int32_t)special->id))
            return false;
        raw = end;
        if (at < end) at = end;
    }
    return fragments_add(fragments, raw, text.n, FRAGMENT_TEXT);
}
