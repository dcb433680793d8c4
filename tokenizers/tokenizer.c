/* The tokenizer as a thing: made, asked about, freed. Owns what all sources share: the checks on
 * tokens, the symbols of bytes, which tokens are special, which end a generation. Source of the
 * lists of texts: llama.cpp of 2025-02, llama_vocab::impl::load (tokenizers.md section 2). */
#include "insides.h"

#include <bitnet/alloc.h>

#include <float.h>

#include "alphabet.h"
#include "hf.h"

struct bitnet_tokenizer *tokenizer_new(enum bitnet_tokenizer_kind kind)
{
    struct bitnet_tokenizer *tokenizer = bitnet_alloc(1, sizeof *tokenizer);
    if (!tokenizer) return NULL;
    tokenizer->kind = kind;
    tokenizer->vocab.seed = vocab_seed();
    tokenizer->pre = pre_find(BITNET_STR("default"));
    tokenizer->special = (struct bitnet_special_tokens){
        .bos = BITNET_NO_TOKEN,
        .eos = BITNET_NO_TOKEN,
        .eot = BITNET_NO_TOKEN,
        .unk = BITNET_NO_TOKEN,
        .sep = BITNET_NO_TOKEN,
        .pad = BITNET_NO_TOKEN,
    };
    tokenizer->cls = tokenizer->mask = BITNET_NO_TOKEN;
    for (size_t i = 0; i < sizeof tokenizer->ends / sizeof tokenizer->ends[0]; i++)
        tokenizer->ends[i] = BITNET_NO_TOKEN;
    return tokenizer;
}

void bitnet_tokenizer_free(struct bitnet_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    hf_free(tokenizer->hf);
    vocab_free(&tokenizer->vocab);
    merge_table_free(&tokenizer->merges);
    special_free(&tokenizer->specials);
    words_free(&tokenizer->words);
    spm_shim_close(tokenizer->shim);
    bitnet_free(tokenizer->reach);
    for (size_t i = 0; i < tokenizer->n_regexes; i++) regex_free(tokenizer->regexes[i]);
    bitnet_free(tokenizer->regexes);
    bitnet_arena_free(&tokenizer->arena);
    bitnet_free(tokenizer);
}

/* ------------------------------------------------------------------ making */

enum bitnet_status tokenizer_add_token(struct bitnet_tokenizer *tokenizer, struct bitnet_str text,
                                       enum bitnet_token_type type, float score,
                                       struct bitnet_error *err)
{
    struct vocab *vocab = &tokenizer->vocab;
    if (vocab->n >= VOCAB_MAX_TOKENS)
        return bitnet_fail(err, BITNET_LIMIT, "more than %u tokens", VOCAB_MAX_TOKENS);
    if (text.n > VOCAB_MAX_TOKEN_BYTES)
        return bitnet_fail(err, BITNET_LIMIT, "token %u has %zu bytes (limit %u)", vocab->n, text.n,
                           VOCAB_MAX_TOKEN_BYTES);
    uint32_t id;
    switch (vocab_add(vocab, text, type, score, &id)) {
    case VOCAB_NEW:
        vocab->n_tokens = vocab->n;
        return BITNET_OK;
    case VOCAB_EXISTS:
        return bitnet_fail(err, BITNET_FORMAT, "tokens %u and %u are both spelled %s", id, vocab->n,
                           BITNET_QUOTE(text));
    case VOCAB_FULL:
        return bitnet_fail(err, BITNET_LIMIT, "the tokens have more than %zu bytes",
                           VOCAB_MAX_BYTES);
    case VOCAB_MEMORY:
        break;
    }
    return bitnet_fail(err, BITNET_MEMORY, "out of memory for token %u", vocab->n);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

int byte_of_token(struct bitnet_str text)
{
    if (text.n != 6 || memcmp(text.at, "<0x", 3) != 0 || text.at[5] != '>') return -1;
    int high = hex_digit(text.at[3]), low = hex_digit(text.at[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* SPM, by_chars: "<0x0A>", else the byte as a token of its own. */
static uint32_t token_of_byte(const struct vocab *vocab, unsigned byte)
{
    static const char digits[] = "0123456789ABCDEF";
    char spelled[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
    char itself = (char)byte;
    int32_t id = vocab_find_token(vocab, (struct bitnet_str){spelled, sizeof spelled});
    if (id < 0) id = vocab_find_token(vocab, (struct bitnet_str){&itself, 1});
    return (uint32_t)id;
}

static void find_byte_symbols(struct bitnet_tokenizer *tokenizer)
{
    bool is_spelled = tokenizer->kind == BITNET_TOKENIZER_BPE && !tokenizer->by_chars;
    for (unsigned byte = 0; byte < 256; byte++) {
        char raw = (char)byte, letter[2];
        struct bitnet_str spelled = {letter, alphabet_spell(&raw, 1, letter)};
        tokenizer->byte_symbol[byte] = is_spelled ? (uint32_t)vocab_find(&tokenizer->vocab, spelled)
                                                  : token_of_byte(&tokenizer->vocab, byte);
    }
}

static void find_space_joins(struct bitnet_tokenizer *tokenizer)
{
    for (uint32_t id = 0; id < tokenizer->vocab.n; id++) {
        struct bitnet_str text = vocab_text(&tokenizer->vocab, id);
        for (size_t i = 1; i + 3 <= text.n; i++)
            if (memcmp(text.at + i, "\xE2\x96\x81", 3) == 0)
                tokenizer->space_joins[(uint8_t)text.at[i - 1]] = true;
    }
}

/* ------------------------------------------------------------------ special tokens */

/* Texts that mean something by themselves. Whatever the file says about their type, llama.cpp makes
 * the first of each kind, and all that end a generation, control tokens. */
enum known_kind { KNOWN_EOT, KNOWN_EOG, KNOWN_FIM, KNOWN_FIM_EOG };

static const struct known {
    const char *text;
    enum known_kind kind;
} known_texts[] = {
    {"<|eot_id|>", KNOWN_EOT},
    {"<|im_end|>", KNOWN_EOT},
    {"<|end|>", KNOWN_EOT},
    {"<end_of_turn>", KNOWN_EOT},
    {"<|endoftext|>", KNOWN_EOT},
    {"<EOT>", KNOWN_EOT},
    {"_<EOT>", KNOWN_EOT},
    {"<\xEF\xBD\x9C"
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
     KNOWN_EOT},
    {"<|eom_id|>", KNOWN_EOG},
    {"<|fim_prefix|>", KNOWN_FIM},
    {"<fim-prefix>", KNOWN_FIM},
    {"<\xEF\xBD\x9C"
     "fim\xE2\x96\x81"
     "begin\xEF\xBD\x9C>",
     KNOWN_FIM},
    {"<PRE>", KNOWN_FIM},
    {"<|fim_suffix|>", KNOWN_FIM},
    {"<fim-suffix>", KNOWN_FIM},
    {"<\xEF\xBD\x9C"
     "fim\xE2\x96\x81hole\xEF\xBD\x9C>",
     KNOWN_FIM},
    {"<SUF>", KNOWN_FIM},
    {"<|fim_middle|>", KNOWN_FIM},
    {"<fim-middle>", KNOWN_FIM},
    {"<\xEF\xBD\x9C"
     "fim\xE2\x96\x81"
     "end\xEF\xBD\x9C>",
     KNOWN_FIM},
    {"<MID>", KNOWN_FIM},
    {"<|fim_pad|>", KNOWN_FIM_EOG},
    {"<fim-pad>", KNOWN_FIM_EOG},
    {"<PAD>", KNOWN_FIM_EOG},
    {"<|fim_repo|>", KNOWN_FIM_EOG},
    {"<|repo_name|>", KNOWN_FIM_EOG},
    {"<fim-repo>", KNOWN_FIM_EOG},
    {"<REPO>", KNOWN_FIM_EOG},
    {"<|file_sep|>", KNOWN_FIM_EOG},
};

#define N_KNOWN (sizeof known_texts / sizeof known_texts[0])
#define MAX_EOG (N_KNOWN + 8)

static void add_eog(struct bitnet_tokenizer *tokenizer, int32_t id)
{
    if (id < 0 || (uint32_t)id >= tokenizer->vocab.n_tokens) return;
    for (size_t i = 0; i < tokenizer->n_eog; i++)
        if (tokenizer->eog[i] == id) return;
    tokenizer->eog[tokenizer->n_eog++] = id;
}

enum bitnet_status tokenizer_find_eog(struct bitnet_tokenizer *tokenizer, struct bitnet_error *err)
{
    struct vocab *vocab = &tokenizer->vocab;
    tokenizer->eog = bitnet_arena_alloc(&tokenizer->arena, MAX_EOG, sizeof *tokenizer->eog);
    if (!tokenizer->eog) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    tokenizer->n_eog = 0;
    add_eog(tokenizer, tokenizer->special.eos);
    add_eog(tokenizer, tokenizer->special.eot);
    for (size_t i = 0; i < sizeof tokenizer->ends / sizeof tokenizer->ends[0]; i++)
        add_eog(tokenizer, tokenizer->ends[i]);
    for (size_t i = 0; i < N_KNOWN; i++) {
        int32_t id = vocab_find_token(vocab, bitnet_str_of(known_texts[i].text));
        if (id < 0) continue;
        if (!tokenizer->hf) vocab->type[id] = BITNET_TOKEN_CONTROL;
        if (known_texts[i].kind == KNOWN_EOT && tokenizer->special.eot < 0)
            tokenizer->special.eot = id;
        if (known_texts[i].kind != KNOWN_FIM) add_eog(tokenizer, id);
    }
    return BITNET_OK;
}

/* llama.cpp strips to the right of all of Phi-3's special tokens but three. */
static bool strips_right(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text)
{
    return tokenizer->strip_rule == STRIP_RIGHT && !bitnet_str_is(text, "<unk>") &&
           !bitnet_str_is(text, "<s>") && !bitnet_str_is(text, "<|endoftext|>");
}

static bool strips_left(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text)
{
    return tokenizer->strip_rule == STRIP_LEFT_OF_MASK && bitnet_str_is(text, "<mask>");
}

/* User-defined pieces of a .model are found by the model itself, in normalized text. */
static bool cut_by_model(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text)
{
    return tokenizer->words.is_sentencepiece &&
           words_user_prefix(&tokenizer->words, text) == text.n;
}

static enum bitnet_status list_specials(struct bitnet_tokenizer *tokenizer,
                                        struct bitnet_error *err)
{
    const struct vocab *vocab = &tokenizer->vocab;
    bool ok = true;
    for (uint32_t id = 0; id < vocab->n_tokens && ok; id++) {
        uint8_t type = vocab->type[id];
        struct bitnet_str text = vocab_text(vocab, id);
        if (!text.n || cut_by_model(tokenizer, text)) continue;
        if (type == BITNET_TOKEN_CONTROL || type == BITNET_TOKEN_USER ||
            type == BITNET_TOKEN_UNKNOWN)
            ok = special_add(&tokenizer->specials,
                             (struct special){.id = id,
                                              .text = text,
                                              .always = type == BITNET_TOKEN_USER,
                                              .lstrip = strips_left(tokenizer, text),
                                              .rstrip = strips_right(tokenizer, text)});
    }
    if (ok && special_finish(&tokenizer->specials)) return BITNET_OK;
    return bitnet_fail(err, BITNET_MEMORY, "out of memory for the special tokens");
}

enum bitnet_status tokenizer_add_regex(struct bitnet_tokenizer *tokenizer, struct bitnet_str source,
                                       const struct regex **regex, struct bitnet_error *err)
{
    if (!BITNET_GROW(tokenizer->regexes, tokenizer->n_regexes, tokenizer->regexes_cap, (size_t)256))
        return bitnet_fail(err, BITNET_MEMORY, "out of memory for an expression");
    enum bitnet_status status = regex_new(&tokenizer->regexes[tokenizer->n_regexes], source, err);
    if (!status) *regex = tokenizer->regexes[tokenizer->n_regexes++];
    return status;
}

/* Which tokens text may become. llama.cpp keeps control tokens out of Unigram's, and leaves all in
 * the others; what a tokenizer.json only adds is never part of its model. */
static bool is_searched(const struct bitnet_tokenizer *tokenizer, uint32_t id)
{
    uint8_t type = tokenizer->vocab.type[id];
    if (tokenizer->hf) return tokenizer->reach[id] != REACH_ADDED;
    if (tokenizer->words.is_sentencepiece && id >= tokenizer->words.n_pieces) return false;
    if (tokenizer->kind != BITNET_TOKENIZER_UNIGRAM) return true;
    return type == BITNET_TOKEN_NORMAL || type == BITNET_TOKEN_USER ||
           (type == BITNET_TOKEN_UNUSED && !tokenizer->words.is_sentencepiece);
}

static bool add_searched(struct bitnet_tokenizer *tokenizer, uint32_t id)
{
    struct words *words = &tokenizer->words;
    struct bitnet_str text = vocab_text(&tokenizer->vocab, id);
    if (tokenizer->kind != BITNET_TOKENIZER_RWKV)
        return trie_add(&words->trie, text, id) &&
               (tokenizer->hf || words->is_sentencepiece ||
                tokenizer->vocab.type[id] != BITNET_TOKEN_USER || trie_add(&words->user, text, id));
    size_t n = 0;
    char *bytes = bitnet_alloc(text.n + 1, 1);
    bool ok = bytes && (!rwkv_unescape(text, bytes, &n) || !n ||
                        trie_add(&words->trie, (struct bitnet_str){bytes, n}, id));
    bitnet_free(bytes);
    return ok;
}

static enum bitnet_status make_words(struct bitnet_tokenizer *tokenizer, struct bitnet_error *err)
{
    const struct vocab *vocab = &tokenizer->vocab;
    double min_score = DBL_MAX;
    for (uint32_t id = 0; id < vocab->n_tokens; id++) {
        if (is_searched(tokenizer, id) && vocab_text(vocab, id).n && !add_searched(tokenizer, id))
            return bitnet_fail(err, BITNET_MEMORY, "out of memory for the search tree");
        bool counts = tokenizer->hf ? tokenizer->reach[id] != REACH_ADDED
                                    : vocab->type[id] == BITNET_TOKEN_NORMAL;
        double score = tokenizer->words.wide_scores && counts ? tokenizer->words.wide_scores[id]
                                                              : (double)vocab->score[id];
        if (counts && score < min_score) min_score = score;
    }
    tokenizer->words.unk_score = (min_score == DBL_MAX ? 0 : min_score) - 10;
    if (!tokenizer->words.wide_sums)
        tokenizer->words.unk_score =
            (double)((float)(min_score == DBL_MAX ? 0 : min_score) - 10.0f);
    return BITNET_OK;
}

static enum bitnet_status make_passes(struct bitnet_tokenizer *tokenizer, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    const struct pre *pre = tokenizer->pre;
    for (size_t i = 0; i < pre->n_passes && !status; i++) {
        struct split_pass *pass = &tokenizer->passes[tokenizer->n_passes++];
        pass->matcher = pre->passes[i].matcher;
        if (pre->passes[i].regex)
            status = tokenizer_add_regex(tokenizer, bitnet_str_of(pre->passes[i].regex),
                                         &pass->regex, err);
    }
    return status;
}

static void set_reach(struct bitnet_tokenizer *tokenizer)
{
    memset(tokenizer->reach, tokenizer->ignore_merges ? REACH_YES : REACH_UNKNOWN,
           tokenizer->vocab.n_tokens);
}

enum bitnet_status tokenizer_set_pre(struct bitnet_tokenizer *tokenizer, const struct pre *pre,
                                     struct bitnet_error *err)
{
    while (tokenizer->n_regexes) regex_free(tokenizer->regexes[--tokenizer->n_regexes]);
    tokenizer->n_passes = 0;
    tokenizer->pre = pre;
    tokenizer->ignore_merges = pre->ignore_merges;
    tokenizer->clean_spaces = pre->clean_spaces;
    set_reach(tokenizer);
    return make_passes(tokenizer, err);
}

enum bitnet_status tokenizer_finish(struct bitnet_tokenizer *tokenizer, struct bitnet_error *err)
{
    if (!tokenizer->vocab.n_tokens)
        return bitnet_fail(err, BITNET_FORMAT, "the vocabulary is empty");
    if (!tokenizer->hf) {
        tokenizer->reach = bitnet_alloc(tokenizer->vocab.n_tokens, 1);
        if (!tokenizer->reach) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
        set_reach(tokenizer);
    }
    find_byte_symbols(tokenizer);
    find_space_joins(tokenizer);
    if (tokenizer->kind == BITNET_TOKENIZER_BPE && !tokenizer->by_chars &&
        !merge_table_index_bytes(&tokenizer->merges, tokenizer->byte_symbol))
        return bitnet_fail(err, BITNET_MEMORY, "out of memory for the merges");
    bool merges =
        tokenizer->kind == BITNET_TOKENIZER_BPE || tokenizer->kind == BITNET_TOKENIZER_SPM;
    enum bitnet_status status = BITNET_OK;
    if (!tokenizer->hf && tokenizer->kind == BITNET_TOKENIZER_BPE)
        status = make_passes(tokenizer, err);
    if (!status && !merges) status = make_words(tokenizer, err);
    if (!status) status = tokenizer_find_eog(tokenizer, err);
    if (!status && !tokenizer->hf) status = list_specials(tokenizer, err);
    return status;
}

/* ------------------------------------------------------------------ asking */

enum bitnet_tokenizer_kind bitnet_tokenizer_kind(const struct bitnet_tokenizer *tokenizer)
{
    return tokenizer->kind;
}

const char *bitnet_tokenizer_pre(const struct bitnet_tokenizer *tokenizer)
{
    return tokenizer->pre ? tokenizer->pre->name : "";
}

size_t bitnet_tokenizer_size(const struct bitnet_tokenizer *tokenizer)
{
    return tokenizer->vocab.n_tokens;
}

const struct bitnet_special_tokens *
bitnet_tokenizer_special(const struct bitnet_tokenizer *tokenizer)
{
    return &tokenizer->special;
}

static bool is_token(const struct bitnet_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (uint32_t)id < tokenizer->vocab.n_tokens;
}

bool bitnet_token_is_eog(const struct bitnet_tokenizer *tokenizer, int32_t id)
{
    for (size_t i = 0; i < tokenizer->n_eog; i++)
        if (tokenizer->eog[i] == id) return true;
    return false;
}

enum bitnet_token_type bitnet_token_type(const struct bitnet_tokenizer *tokenizer, int32_t id)
{
    if (!is_token(tokenizer, id)) return BITNET_TOKEN_UNDEFINED;
    return (enum bitnet_token_type)tokenizer->vocab.type[id];
}

struct bitnet_str bitnet_token_text(const struct bitnet_tokenizer *tokenizer, int32_t id)
{
    if (!is_token(tokenizer, id)) return (struct bitnet_str){"", 0};
    return vocab_text(&tokenizer->vocab, (uint32_t)id);
}

int32_t bitnet_token_find(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text)
{
    return vocab_find_token(&tokenizer->vocab, text);
}

struct bitnet_str bitnet_chat_template(const struct bitnet_tokenizer *tokenizer)
{
    return tokenizer->chat_template;
}
