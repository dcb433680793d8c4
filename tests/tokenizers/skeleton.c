/* Fills the skeletons of tokenizer.json files. See skeleton.h. For Llama 3, whose publisher gives
 * tokens in the order of their ranks, merges are every split of a token into two known ones, by
 * (rank of the left, rank of the right) within a token (tokenizers.md section 14). */
#include "skeleton.h"

#include <stdio.h>
#include <stdlib.h>

#include <bitnet/alloc.h>
#include <bitnet/arena.h>
#include <bitnet/text.h>

#include "alphabet.h"
#include "cases.h"

#define MAX_TOKENS 200000

static struct bitnet_str tokens[MAX_TOKENS];
static size_t n_tokens;

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : 0;
}

static struct bitnet_str decode(struct bitnet_arena *arena, struct bitnet_str text)
{
    char *out = bitnet_arena_alloc(arena, text.n, 1);
    size_t n = 0;
    for (size_t i = 0; i + 4 <= text.n; i += 4) {
        unsigned v = (unsigned)(digit(text.at[i]) << 18 | digit(text.at[i + 1]) << 12 |
                                digit(text.at[i + 2]) << 6 | digit(text.at[i + 3]));
        out[n++] = (char)(v >> 16);
        if (text.at[i + 2] != '=') out[n++] = (char)(v >> 8);
        if (text.at[i + 3] != '=') out[n++] = (char)v;
    }
    return (struct bitnet_str){out, n};
}

static void add_json(struct bitnet_buf *out, struct bitnet_str bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        char letter[2];
        if (bytes.at[i] == '"' || bytes.at[i] == '\\') bitnet_buf_add(out, "\\", 1);
        bitnet_buf_add(out, letter, alphabet_spell(bytes.at + i, 1, letter));
    }
}

static void add_vocab(struct bitnet_buf *out)
{
    bitnet_buf_add(out, "{", 1);
    for (size_t i = 0; i < n_tokens; i++) {
        bitnet_buf_printf(out, i ? ",\"" : "\"");
        add_json(out, tokens[i]);
        bitnet_buf_printf(out, "\":%zu", i);
    }
    bitnet_buf_add(out, "}", 1);
}

struct split {
    uint32_t left, right;
};

static int by_ranks(const void *a, const void *b)
{
    const struct split *x = a, *y = b;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

static size_t add_merges(struct bitnet_buf *out, const struct bitnet_map *ranks)
{
    size_t n = 0;
    bitnet_buf_add(out, "[", 1);
    for (size_t i = 0; i < n_tokens; i++) {
        struct split splits[512];
        size_t n_splits = 0;
        for (size_t k = 1; k < tokens[i].n; k++) {
            struct bitnet_str left = {tokens[i].at, k}, right = {left.at + k, tokens[i].n - k};
            struct split found;
            if (bitnet_map_get(ranks, left, &found.left) &&
                bitnet_map_get(ranks, right, &found.right))
                splits[n_splits++] = found;
        }
        qsort(splits, n_splits, sizeof *splits, by_ranks);
        for (size_t k = 0; k < n_splits; k++) {
            bitnet_buf_printf(out, n++ ? ",\"" : "\"");
            add_json(out, tokens[splits[k].left]);
            bitnet_buf_add(out, " ", 1);
            add_json(out, tokens[splits[k].right]);
            bitnet_buf_add(out, "\"", 1);
        }
    }
    bitnet_buf_add(out, "]", 1);
    return n;
}

/* Copies the skeleton and puts `vocab` and `merges` in place of the empty ones. */
static struct bitnet_str fill(const char *name, struct bitnet_str vocab, struct bitnet_str merges)
{
    struct bitnet_str file = cases_file(name);
    struct bitnet_buf out = {.max = (size_t)1 << 28};
    const char *v = strstr(file.at, "\"vocab\": {}"), *m = strstr(file.at, "\"merges\": []");
    if (!v || !m || m < v) abort();
    bitnet_buf_add(&out, file.at, (size_t)(v - file.at));
    bitnet_buf_printf(&out, "\"vocab\": ");
    bitnet_buf_add_str(&out, vocab);
    v += strlen("\"vocab\": {}");
    bitnet_buf_add(&out, v, (size_t)(m - v));
    bitnet_buf_printf(&out, "\"merges\": ");
    bitnet_buf_add_str(&out, merges);
    m += strlen("\"merges\": []");
    bitnet_buf_add(&out, m, strlen(m));
    bitnet_free((void *)(uintptr_t)file.at);
    return (struct bitnet_str){out.at, out.n};
}

struct bitnet_str skeleton_llama3(void)
{
    struct bitnet_str file = cases_file("tiktoken/llama3-tokenizer.model");
    struct bitnet_arena arena = {0};
    struct bitnet_map ranks = {0};
    struct bitnet_buf vocab = {.max = (size_t)1 << 28}, merges = {.max = (size_t)1 << 28};
    n_tokens = 0;
    for (const char *line = file.at; *line;) {
        const char *space = strchr(line, ' '), *end = strchr(line, '\n');
        if (!space || !end) abort();
        tokens[n_tokens] = decode(&arena, (struct bitnet_str){line, (size_t)(space - line)});
        bitnet_map_put(&ranks, tokens[n_tokens], (uint32_t)n_tokens, NULL);
        n_tokens++;
        line = end + 1;
    }
    add_vocab(&vocab);
    size_t n_merges = add_merges(&merges, &ranks);
    if (n_merges != 280147) abort();
    struct bitnet_str json =
        fill("hf/skeletons/llama3.json", (struct bitnet_str){vocab.at, vocab.n},
             (struct bitnet_str){merges.at, merges.n});
    bitnet_buf_free(&vocab);
    bitnet_buf_free(&merges);
    bitnet_map_free(&ranks);
    bitnet_arena_free(&arena);
    bitnet_free((void *)(uintptr_t)file.at);
    return json;
}

struct bitnet_str skeleton_qwen2(void)
{
    struct bitnet_str vocab = cases_file("vocab-merges/qwen2/vocab.json");
    struct bitnet_str lines = cases_file("vocab-merges/qwen2/merges.txt");
    struct bitnet_buf merges = {.max = (size_t)1 << 28};
    size_t n = 0;
    bitnet_buf_add(&merges, "[", 1);
    for (const char *line = lines.at, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) abort();
        if (end == line || bitnet_str_starts(bitnet_str_of(line), "#version")) continue;
        bitnet_buf_printf(&merges, n++ ? ",\"" : "\"");
        for (const char *c = line; c < end; c++) {
            if (*c == '"' || *c == '\\') bitnet_buf_add(&merges, "\\", 1);
            bitnet_buf_add(&merges, c, 1);
        }
        bitnet_buf_add(&merges, "\"", 1);
    }
    bitnet_buf_add(&merges, "]", 1);
    struct bitnet_str json =
        fill("hf/skeletons/qwen2.json", vocab, (struct bitnet_str){merges.at, merges.n});
    bitnet_buf_free(&merges);
    bitnet_free((void *)(uintptr_t)vocab.at);
    bitnet_free((void *)(uintptr_t)lines.at);
    return json;
}
