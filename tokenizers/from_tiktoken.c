/* A tokenizer from a tiktoken file: a line per token, its bytes in Base64, a space, its rank, which
 * is its id. Comes in: the text of such a file; goes out: a tokenizer that gives tiktoken's ids: a
 * word that is a token is that token, else the two neighbours whose joint bytes have the lowest
 * rank are joined, the leftmost first. How text is cut and which special tokens follow is not in
 * the file; see tiktoken.def. Source: tokenizers.md section 14. */
#include "added.h"

#include <bitnet/alloc.h>

#include <inttypes.h>

#include "alphabet.h"
#include "base64.h"
#include "probe.h"
#include "sources.h"

#define MAX_FILE_BYTES ((size_t)64 << 20)

/* ------------------------------------------------------------------ known vocabularies */

/* Special tokens: the i-th name has the id of the last rank, plus one, plus i; a NULL is a hole.
 * `reserved` more follow, spelled by `pattern` from `first` on. */
struct specials {
    const char *const *names;
    size_t n;
    const char *pattern;
    unsigned first, n_reserved;
    int32_t bos, eos; /* index of the name, or -1 */
};

#define RESERVED(i) "<|reserved_special_token_" #i "|>"

static const char *const llama3_names[] = {
    "<|begin_of_text|>", "<|end_of_text|>",     RESERVED(0),         RESERVED(1), RESERVED(2),
    RESERVED(3),         "<|start_header_id|>", "<|end_header_id|>", RESERVED(4), "<|eot_id|>",
};
static const char *const qwen_names[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
static const char *const gpt2_names[] = {"<|endoftext|>"};
static const char *const cl100k_names[] = {NULL,
                                           "<|endoftext|>",
                                           "<|fim_prefix|>",
                                           "<|fim_middle|>",
                                           "<|fim_suffix|>",
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           "<|endofprompt|>"};
static const char *const o200k_names[] = {NULL,
                                          "<|endoftext|>",
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          "<|endofprompt|>"};

#define NAMES(list) list, sizeof list / sizeof list[0]

static const struct specials llama3 = {
    NAMES(llama3_names), "<|reserved_special_token_%u|>", 5, 246, 0, 1};
static const struct specials qwen = {NAMES(qwen_names), "<|extra_%u|>", 0, 205, -1, 0};
static const struct specials gpt2 = {NAMES(gpt2_names), NULL, 0, 0, 0, 0};
static const struct specials cl100k = {NAMES(cl100k_names), NULL, 0, 0, -1, 1};
static const struct specials o200k = {NAMES(o200k_names), NULL, 0, 0, -1, 1};

static const struct known {
    const char *name;
    uint32_t n_ranks;
    const char *pre, *hash;
    const struct specials *specials;
} known[] = {
#define TIKTOKEN(name, ranks, pre, hash, specials) {name, ranks, pre, hash, &specials},
#include "tiktoken.def"
#undef TIKTOKEN
};

static const struct known *known_of(uint32_t n_ranks)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].n_ranks == n_ranks) return &known[i];
    return NULL;
}

/* ------------------------------------------------------------------ lines */

struct line {
    struct bitnet_str base64;
    size_t number; /* 0: this rank has not been seen */
};

struct source {
    struct bitnet_tokenizer *tokenizer;
    struct line *lines; /* [n] by rank */
    size_t n;
    struct bitnet_error *err;
};

bool is_tiktoken(struct bitnet_str file)
{
    size_t n = file.n < VOCAB_MAX_TOKEN_BYTES ? file.n : VOCAB_MAX_TOKEN_BYTES;
    const char *end = n ? memchr(file.at, '\n', n) : NULL;
    const char *space = end ? memchr(file.at, ' ', (size_t)(end - file.at)) : NULL;
    struct bitnet_buf token = {.max = VOCAB_MAX_TOKEN_BYTES};
    uint64_t rank;
    if (!space || space == file.at) return false;
    size_t n_digits = (size_t)(end - space) - 1;
    if (n_digits && space[n_digits] == '\r') n_digits--;
    bool is_line = bitnet_parse_u64((struct bitnet_str){space + 1, n_digits}, &rank) &&
                   base64_decode((struct bitnet_str){file.at, (size_t)(space - file.at)}, &token);
    bitnet_buf_free(&token);
    return is_line;
}

static size_t count_lines(struct bitnet_str file)
{
    size_t n = 0;
    for (const char *at = file.at, *end = file.at + file.n; at < end; n++) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        at = next ? next + 1 : end;
    }
    return n;
}

static enum bitnet_status bad_line(struct source *source, size_t number, const char *what)
{
    return bitnet_fail(source->err, BITNET_FORMAT, "line %zu: %s", number, what);
}

static enum bitnet_status place_line(struct source *source, struct bitnet_str text, size_t number)
{
    uint64_t rank;
    if (text.n && text.at[text.n - 1] == '\r') text.n--;
    const char *space = text.n ? memchr(text.at, ' ', text.n) : NULL;
    if (!space) return bad_line(source, number, "no Base64, space and rank");
    struct bitnet_str base64 = {text.at, (size_t)(space - text.at)};
    struct bitnet_str digits = {space + 1, text.n - base64.n - 1};
    if (!base64.n) return bad_line(source, number, "the token is empty");
    if (!bitnet_parse_u64(digits, &rank))
        return bitnet_fail(source->err, BITNET_FORMAT, "line %zu: rank %s is no number", number,
                           BITNET_QUOTE(digits));
    if (rank >= source->n)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "line %zu: rank %" PRIu64 ", but there are only %zu tokens: ranks have "
                           "a hole",
                           number, rank, source->n);
    struct line *line = &source->lines[rank];
    if (line->number)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "lines %zu and %zu have the same rank %" PRIu64, line->number, number,
                           rank);
    *line = (struct line){base64, number};
    return BITNET_OK;
}

static enum bitnet_status place_lines(struct source *source, struct bitnet_str file)
{
    enum bitnet_status status = BITNET_OK;
    size_t number = 0;
    for (size_t at = 0; at < file.n && !status;) {
        const char *end = memchr(file.at + at, '\n', file.n - at);
        size_t n = end ? (size_t)(end - file.at) - at : file.n - at;
        status = place_line(source, (struct bitnet_str){file.at + at, n}, ++number);
        at += end ? n + 1 : n;
    }
    return status;
}

static enum bitnet_status add_token(struct source *source, const struct line *line,
                                    struct bitnet_buf *bytes, struct bitnet_buf *letters)
{
    bytes->n = letters->n = 0;
    if (!base64_decode(line->base64, bytes))
        return bytes->failed ? bitnet_fail(source->err, BITNET_LIMIT,
                                           "line %zu: the token is too long", line->number)
                             : bad_line(source, line->number, "the token is no Base64");
    for (size_t i = 0; i < bytes->n; i++) {
        char letter[2];
        if (!bitnet_buf_add(letters, letter, alphabet_spell(bytes->at + i, 1, letter)))
            return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    }
    enum bitnet_status status =
        tokenizer_add_token(source->tokenizer, (struct bitnet_str){letters->at, letters->n},
                            BITNET_TOKEN_NORMAL, 0, source->err);
    return status ? bitnet_error_prefix(source->err, status, "line %zu", line->number) : BITNET_OK;
}

static enum bitnet_status add_tokens(struct source *source)
{
    struct bitnet_buf bytes = {.max = VOCAB_MAX_TOKEN_BYTES / 2};
    struct bitnet_buf letters = {.max = VOCAB_MAX_TOKEN_BYTES + 1};
    enum bitnet_status status = BITNET_OK;
    for (size_t rank = 0; rank < source->n && !status; rank++)
        status = add_token(source, &source->lines[rank], &bytes, &letters);
    bitnet_buf_free(&bytes);
    bitnet_buf_free(&letters);
    return status;
}

static enum bitnet_status read_file(struct source *source, struct bitnet_str file)
{
    if (file.n > MAX_FILE_BYTES)
        return bitnet_fail(source->err, BITNET_LIMIT, "%zu bytes (limit %zu)", file.n,
                           MAX_FILE_BYTES);
    source->n = count_lines(file);
    if (!source->n) return bitnet_fail(source->err, BITNET_FORMAT, "the file is empty");
    if (source->n > VOCAB_MAX_TOKENS)
        return bitnet_fail(source->err, BITNET_LIMIT, "%zu tokens (limit %u)", source->n,
                           VOCAB_MAX_TOKENS);
    source->lines = bitnet_alloc(source->n, sizeof *source->lines);
    if (!source->lines) return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    enum bitnet_status status = place_lines(source, file);
    return status ? status : add_tokens(source);
}

/* ------------------------------------------------------------------ merges */

struct split {
    uint32_t left, right;
};

/* Insertion keeps the splits of one token, rarely more than ten, by (left, right). */
static void insert(struct split *splits, size_t n, struct split made)
{
    while (n && (splits[n - 1].left > made.left ||
                 (splits[n - 1].left == made.left && splits[n - 1].right > made.right))) {
        splits[n] = splits[n - 1];
        n--;
    }
    splits[n] = made;
}

/* Every way to make the token of two others. */
static size_t find_splits(const struct vocab *vocab, uint32_t id, struct split *splits)
{
    struct bitnet_str text = vocab_text(vocab, id);
    size_t n = 0;
    for (size_t at = 1; at < text.n; at++) {
        if (((uint8_t)text.at[at] & 0xC0) == 0x80) continue;
        int32_t left = vocab_find(vocab, (struct bitnet_str){text.at, at});
        int32_t right =
            left < 0 ? -1 : vocab_find(vocab, (struct bitnet_str){text.at + at, text.n - at});
        if (right >= 0) insert(splits, n++, (struct split){(uint32_t)left, (uint32_t)right});
    }
    return n;
}

static enum bitnet_status add_merges(struct source *source)
{
    struct vocab *vocab = &source->tokenizer->vocab;
    struct merge_table *merges = &source->tokenizer->merges;
    struct split *splits = bitnet_alloc(vocab->longest + 1u, sizeof *splits);
    bool ok = splits != NULL;
    merges->by_result = true;
    for (uint32_t id = 0; id < vocab->n_tokens && ok; id++) {
        size_t n = find_splits(vocab, id, splits);
        if (merges->n + n > MERGE_MAX_RULES) {
            bitnet_free(splits);
            return bitnet_fail(source->err, BITNET_LIMIT, "more than %u merges", MERGE_MAX_RULES);
        }
        for (size_t i = 0; i < n && ok; i++)
            ok = merge_table_add(merges, splits[i].left, splits[i].right, id);
    }
    bitnet_free(splits);
    return ok ? BITNET_OK : bitnet_fail(source->err, BITNET_MEMORY, "out of memory for the merges");
}

static enum bitnet_status check_bytes(struct source *source)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char raw = (char)byte, letter[2];
        struct bitnet_str spelled = {letter, alphabet_spell(&raw, 1, letter)};
        if (vocab_find(&source->tokenizer->vocab, spelled) < 0)
            return bitnet_fail(source->err, BITNET_FORMAT, "there is no token for byte 0x%02X",
                               byte);
    }
    return BITNET_OK;
}

/* ------------------------------------------------------------------ special tokens */

static enum bitnet_status add_special(struct source *source, const char *name)
{
    struct bitnet_buf hole = {.max = 64};
    struct bitnet_str text = bitnet_str_of(name ? name : "");
    if (!name && bitnet_buf_printf(&hole, "[PAD%" PRIu32 "]", source->tokenizer->vocab.n_tokens))
        text = (struct bitnet_str){hole.at, hole.n};
    enum bitnet_status status =
        hole.failed ? bitnet_fail(source->err, BITNET_MEMORY, "out of memory")
                    : tokenizer_add_token(source->tokenizer, text,
                                          name ? BITNET_TOKEN_CONTROL : BITNET_TOKEN_UNUSED, 0,
                                          source->err);
    bitnet_buf_free(&hole);
    return status;
}

static enum bitnet_status add_specials(struct source *source, const struct specials *specials)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < specials->n && !status; i++)
        status = add_special(source, specials->names[i]);
    for (unsigned i = 0; i < specials->n_reserved && !status; i++) {
        struct bitnet_buf name = {.max = 64};
        if (bitnet_buf_printf(&name, specials->pattern, specials->first + i))
            status = add_special(source, name.at);
        else
            status = bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
        bitnet_buf_free(&name);
    }
    return status;
}

/* ------------------------------------------------------------------ the whole */

static enum bitnet_status choose_pre(struct source *source, const char *pre,
                                     const struct known **found)
{
    struct bitnet_tokenizer *tokenizer = source->tokenizer;
    *found = known_of((uint32_t)source->n);
    if (!pre && !*found)
        return bitnet_hint(source->err,
                           bitnet_fail(source->err, BITNET_UNSUPPORTED,
                                       "a tiktoken vocabulary of %zu tokens is not known",
                                       source->n),
                           "the file does not say how text is cut: a tokenizer.json does");
    tokenizer->pre = pre_find(bitnet_str_of(pre ? pre : (*found)->pre));
    if (!tokenizer->pre)
        return bitnet_fail(source->err, BITNET_UNSUPPORTED, "pre-tokenizer %s is not supported",
                           BITNET_QUOTE(bitnet_str_of(pre)));
    tokenizer->ignore_merges = true;
    tokenizer->clean_spaces = tokenizer->pre->clean_spaces;
    tokenizer->special.add_bos = tokenizer->pre->bos == PRE_BOS_ADD;
    return BITNET_OK;
}

static enum bitnet_status complete(struct source *source, const char *pre, size_t n_vocab,
                                   const struct bitnet_json *config)
{
    struct bitnet_tokenizer *tokenizer = source->tokenizer;
    const struct known *found = NULL;
    bool is_listed = bitnet_json_get(config, "added_tokens_decoder") != NULL;
    int32_t n = (int32_t)source->n;
    enum bitnet_status status = choose_pre(source, pre, &found);
    if (!status && found && !is_listed) status = add_specials(source, found->specials);
    if (!status && (n_vocab || is_listed))
        status = added_apply(tokenizer, n_vocab, NULL, config, source->err);
    if (status || !found) return status;
    bool has_bos =
        found->specials->bos >= 0 && n + found->specials->bos < (int32_t)tokenizer->vocab.n;
    bool has_eos =
        found->specials->eos >= 0 && n + found->specials->eos < (int32_t)tokenizer->vocab.n;
    if (has_bos) tokenizer->special.bos = n + found->specials->bos;
    if (has_eos) tokenizer->special.eos = n + found->specials->eos;
    return BITNET_OK;
}

enum bitnet_status tokenizer_read_tiktoken(struct bitnet_tokenizer **tokenizer,
                                           struct bitnet_str file, const char *pre, size_t n_vocab,
                                           const struct bitnet_json *config,
                                           struct bitnet_error *err)
{
    struct source source = {.tokenizer = tokenizer_new(BITNET_TOKENIZER_BPE), .err = err};
    *tokenizer = NULL;
    enum bitnet_status status = source.tokenizer ? read_file(&source, file)
                                                 : bitnet_fail(err, BITNET_MEMORY, "out of memory");
    if (!status) status = check_bytes(&source);
    if (!status) status = add_merges(&source);
    if (!status) status = complete(&source, pre, n_vocab, config);
    bitnet_free(source.lines);
    if (status)
        bitnet_tokenizer_free(source.tokenizer);
    else
        *tokenizer = source.tokenizer;
    return status;
}

/* The proof that a vocabulary recognized by its size is the one it is taken for. */
static enum bitnet_status prove(const struct bitnet_tokenizer *tokenizer, const struct known *row,
                                struct bitnet_error *err)
{
    struct bitnet_tokens ids = {0};
    const char *name = NULL;
    bool adds_bos = tokenizer->pre->bos == PRE_BOS_ADD;
    enum bitnet_status status = probe_encode(tokenizer, true, &ids, err);
    if (!status)
        status = probe_name(adds_bos ? tokenizer->special.bos : BITNET_NO_TOKEN, &ids,
                            BITNET_NO_TOKEN, &name, err);
    bitnet_tokens_free(&ids);
    if (!status && (!name || strcmp(name, row->hash) != 0))
        status = bitnet_hint(err,
                             bitnet_fail(err, BITNET_UNSUPPORTED,
                                         "a tiktoken vocabulary of the size of %s, with other ids",
                                         row->name),
                             "the file does not say how text is cut: a tokenizer.json does");
    return status;
}

enum bitnet_status tokenizer_finish_tiktoken(struct bitnet_tokenizer *tokenizer,
                                             struct bitnet_str file, const char *pre,
                                             struct bitnet_error *err)
{
    const struct known *row = known_of((uint32_t)count_lines(file));
    enum bitnet_status status = tokenizer_finish(tokenizer, err);
    for (size_t i = 0; i < tokenizer->n_passes; i++) tokenizer->passes[i].long_s = true;
    return status || pre || !row ? status : prove(tokenizer, row, err);
}

enum bitnet_status bitnet_tokenizer_from_tiktoken(struct bitnet_tokenizer **tokenizer,
                                                  struct bitnet_str file, const char *pre,
                                                  struct bitnet_error *err)
{
    enum bitnet_status status = tokenizer_read_tiktoken(tokenizer, file, pre, 0, NULL, err);
    if (!status) status = tokenizer_finish_tiktoken(*tokenizer, file, pre, err);
    if (status) {
        bitnet_tokenizer_free(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}
