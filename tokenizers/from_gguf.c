/* A tokenizer from the metadata of a GGUF. Comes in: an open file, whose keys and types the gguf
 * room has checked; goes out: a tokenizer that follows llama.cpp's rules. Source: tokenizers.md
 * section 2. Every id and every list length is checked here, once. */
#include "insides.h"

#include <bitnet/alloc.h>

#include <inttypes.h>
#include <math.h>

struct source {
    const struct bitnet_gguf *gguf;
    const struct bitnet_log *log;
    struct bitnet_tokenizer *tokenizer;
    const char *forced_pre; /* instead of what the file says; NULL: its word counts */
    bool pre_is_missing;
    bool is_gemma4;       /* the model is named so: it has one pre-tokenizer and no default ids */
    uint32_t last_result; /* of the merge before */
    struct bitnet_error *err;
};

/* ------------------------------------------------------------------ tokens */

static enum bitnet_status read_scores(struct source *source, size_t n_tokens,
                                      struct bitnet_bytes *scores)
{
    const char *key = "tokenizer.ggml.scores";
    size_t n = 0;
    bool needed = source->tokenizer->kind == BITNET_TOKENIZER_SPM ||
                  source->tokenizer->kind == BITNET_TOKENIZER_UNIGRAM;
    enum bitnet_status status = bitnet_gguf_array(
        source->gguf, key, BITNET_GGUF_F32, needed ? BITNET_GGUF_REQUIRED : BITNET_GGUF_OPTIONAL,
        scores, &n, source->err);
    if (status || !scores->at) return status;
    if (n < n_tokens)
        return bitnet_fail(source->err, BITNET_FORMAT, "key '%s': %zu scores for %zu tokens", key,
                           n, n_tokens);
    for (size_t i = 0; i < n_tokens; i++)
        if (!isfinite(bitnet_load_f32(scores->at + 4 * i)))
            return bitnet_fail(source->err, BITNET_FORMAT, "key '%s': score %zu is not a number",
                               key, i);
    return BITNET_OK;
}

static enum bitnet_status read_types(struct source *source, size_t n_tokens,
                                     struct bitnet_bytes *types)
{
    const char *key = "tokenizer.ggml.token_type";
    const struct bitnet_gguf_value *value = bitnet_gguf_find(source->gguf, bitnet_str_of(key));
    size_t n = 0;
    if (!value) return BITNET_OK;
    enum bitnet_gguf_type element =
        value->element == BITNET_GGUF_U32 ? BITNET_GGUF_U32 : BITNET_GGUF_I32;
    enum bitnet_status status =
        bitnet_gguf_array(source->gguf, key, element, BITNET_GGUF_REQUIRED, types, &n, source->err);
    if (status) return status;
    if (n < n_tokens)
        return bitnet_fail(source->err, BITNET_FORMAT, "key '%s': %zu types for %zu tokens", key, n,
                           n_tokens);
    for (size_t i = 0; i < n_tokens; i++)
        if (bitnet_load_u32(types->at + 4 * i) > BITNET_TOKEN_BYTE)
            return bitnet_fail(source->err, BITNET_FORMAT,
                               "key '%s': token %zu has type %" PRId32 " (allowed 0 to 6)", key, i,
                               (int32_t)bitnet_load_u32(types->at + 4 * i));
    return BITNET_OK;
}

static enum bitnet_status add_token(struct source *source, struct bitnet_str text, uint32_t type,
                                    float score)
{
    struct bitnet_tokenizer *tokenizer = source->tokenizer;
    struct bitnet_buf name = {.max = 64};
    if (!text.n) { /* llama.cpp's name for it; spellings must differ */
        bitnet_buf_printf(&name, "[EMPTY_%u]", tokenizer->vocab.n);
        text = (struct bitnet_str){name.at, name.n};
    }
    enum bitnet_status status =
        name.failed ? bitnet_fail(source->err, BITNET_MEMORY, "out of memory") : BITNET_OK;
    if (!status && type == BITNET_TOKEN_BYTE &&
        (tokenizer->kind == BITNET_TOKENIZER_SPM || tokenizer->by_chars) && byte_of_token(text) < 0)
        status = bitnet_fail(source->err, BITNET_FORMAT,
                             "token %u is a byte token but spelled %s, not '<0xHH>'",
                             tokenizer->vocab.n, BITNET_QUOTE(text));
    if (!status)
        status =
            tokenizer_add_token(tokenizer, text, (enum bitnet_token_type)type, score, source->err);
    bitnet_buf_free(&name);
    return status;
}

static size_t bytes_of(const struct bitnet_str *strings, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n && sum <= VOCAB_MAX_BYTES; i++) sum += strings[i].n;
    return sum;
}

static enum bitnet_status read_tokens(struct source *source)
{
    const struct bitnet_str *texts = NULL;
    struct bitnet_bytes scores = {0}, types = {0};
    size_t n = 0;
    enum bitnet_status status = bitnet_gguf_strings(source->gguf, "tokenizer.ggml.tokens",
                                                    BITNET_GGUF_REQUIRED, &texts, &n, source->err);
    if (!status && (!n || n > VOCAB_MAX_TOKENS))
        status = bitnet_fail(source->err, n ? BITNET_LIMIT : BITNET_FORMAT,
                             "key 'tokenizer.ggml.tokens': %zu tokens (allowed 1 to %u)", n,
                             VOCAB_MAX_TOKENS);
    if (!status) status = read_scores(source, n, &scores);
    if (!status) status = read_types(source, n, &types);
    if (!status && !vocab_reserve(&source->tokenizer->vocab, n, bytes_of(texts, n)))
        status = bitnet_fail(source->err, BITNET_MEMORY, "out of memory for %zu tokens", n);
    for (size_t i = 0; i < n && !status; i++)
        status = add_token(source, texts[i],
                           types.at ? bitnet_load_u32(types.at + 4 * i) : BITNET_TOKEN_NORMAL,
                           scores.at ? bitnet_load_f32(scores.at + 4 * i) : 0);
    return status;
}

/* ------------------------------------------------------------------ merges */

/* The id of a spelling that merges mention; a new symbol when it is no token. */
static enum bitnet_status symbol_of(struct source *source, struct bitnet_str text, uint32_t *id)
{
    struct vocab *vocab = &source->tokenizer->vocab;
    enum vocab_added added = vocab_add(vocab, text, BITNET_TOKEN_UNDEFINED, 0, id);
    if (added == VOCAB_NEW || added == VOCAB_EXISTS) return BITNET_OK;
    return bitnet_fail(source->err, added == VOCAB_MEMORY ? BITNET_MEMORY : BITNET_LIMIT,
                       "no room for the symbols of the merges");
}

/* Merges are listed as their results were learnt, so a result is most often that of the merge
 * before or the token behind it: two looks at memory in order save a search in a large table. */
static enum bitnet_status result_of(struct source *source, struct bitnet_str text, uint32_t *id)
{
    const struct vocab *vocab = &source->tokenizer->vocab;
    for (*id = source->last_result; *id <= source->last_result + 1 && *id < vocab->n; ++*id)
        if (bitnet_str_equal(vocab_text(vocab, *id), text)) return BITNET_OK;
    return symbol_of(source, text, id);
}

/* Merges on their way into the table, looked up together: one by one, the time would go into
 * waiting for memory. (Llama 3, 280,147 merges: 52 ms instead of 77.) */
#define BATCH 32

struct pending {
    struct bitnet_str part[2];
    uint32_t hash[2], id[2];
};

/* "left right": the space is the first one after byte 0, so that a left side of one space lives. */
static enum bitnet_status cut_merge(struct source *source, struct bitnet_str text, size_t number,
                                    struct pending *merge)
{
    const char *space = text.n > 1 ? memchr(text.at + 1, ' ', text.n - 1) : NULL;
    size_t n_left = space ? (size_t)(space - text.at) : 0;
    if (!space || n_left + 1 == text.n)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "key 'tokenizer.ggml.merges': merge %zu is %s, not two parts", number,
                           BITNET_QUOTE(text));
    merge->part[0] = (struct bitnet_str){text.at, n_left};
    merge->part[1] = (struct bitnet_str){space + 1, text.n - n_left - 1};
    return BITNET_OK;
}

static enum bitnet_status find_parts(struct source *source, struct pending *batch, size_t n)
{
    const struct vocab *vocab = &source->tokenizer->vocab;
    for (size_t i = 0; i < 2 * n; i++)
        batch[i / 2].hash[i % 2] = vocab_hash(vocab, batch[i / 2].part[i % 2]);
    for (int step = VOCAB_FETCH_SLOT; step <= VOCAB_FETCH_TEXT; step++)
        for (size_t i = 0; i < 2 * n; i++)
            vocab_fetch(vocab, batch[i / 2].hash[i % 2], (enum vocab_step)step);
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < 2 * n && !status; i++) {
        struct pending *merge = &batch[i / 2];
        int32_t id = vocab_find_hashed(vocab, merge->part[i % 2], merge->hash[i % 2]);
        merge->id[i % 2] = (uint32_t)id;
        if (id < 0) status = symbol_of(source, merge->part[i % 2], &merge->id[i % 2]);
    }
    for (size_t i = 0; i < n && !status; i++)
        merge_table_fetch(&source->tokenizer->merges, batch[i].id[0], batch[i].id[1]);
    return status;
}

static enum bitnet_status add_merge(struct source *source, const struct pending *merge,
                                    struct bitnet_buf *joint)
{
    struct merge_table *merges = &source->tokenizer->merges;
    uint32_t result;
    joint->n = 0;
    if (!bitnet_buf_add_str(joint, merge->part[0]) || !bitnet_buf_add_str(joint, merge->part[1]))
        return bitnet_fail(source->err, BITNET_MEMORY, "out of memory for merge %u", merges->n);
    enum bitnet_status status =
        result_of(source, (struct bitnet_str){joint->at, joint->n}, &result);
    source->last_result = status ? 0 : result;
    if (!status && !merge_table_add(merges, merge->id[0], merge->id[1], result))
        status = bitnet_fail(source->err, BITNET_MEMORY, "out of memory for merge %u", merges->n);
    return status;
}

static enum bitnet_status add_batch(struct source *source, const struct bitnet_str *texts, size_t n,
                                    size_t first, struct bitnet_buf *joint)
{
    struct pending batch[BATCH];
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = cut_merge(source, texts[i], first + i, &batch[i]);
    if (!status) status = find_parts(source, batch, n);
    for (size_t i = 0; i < n && !status; i++) status = add_merge(source, &batch[i], joint);
    return status;
}

static enum bitnet_status read_merges(struct source *source)
{
    const struct bitnet_str *texts = NULL;
    size_t n = 0;
    enum bitnet_status status = bitnet_gguf_strings(source->gguf, "tokenizer.ggml.merges",
                                                    BITNET_GGUF_REQUIRED, &texts, &n, source->err);
    if (!status && n > MERGE_MAX_RULES)
        status =
            bitnet_fail(source->err, BITNET_LIMIT,
                        "key 'tokenizer.ggml.merges': %zu merges (limit %u)", n, MERGE_MAX_RULES);
    if (!status && n && !merge_table_reserve(&source->tokenizer->merges, n))
        status = bitnet_fail(source->err, BITNET_MEMORY, "out of memory for %zu merges", n);
    struct bitnet_buf joint = {.max = VOCAB_MAX_BYTES};
    for (size_t i = 0; i < n && !status; i += BATCH)
        status = add_batch(source, texts + i, n - i < BATCH ? n - i : BATCH, i, &joint);
    bitnet_buf_free(&joint);
    return status;
}

/* ------------------------------------------------------------------ kind and pre-tokenizer */

static enum bitnet_status read_kind(struct source *source, enum bitnet_tokenizer_kind *kind)
{
    struct bitnet_str model;
    enum bitnet_status status = bitnet_gguf_str(source->gguf, "tokenizer.ggml.model",
                                                BITNET_GGUF_REQUIRED, &model, source->err);
    if (status) return status;
    static const struct {
        const char *name;
        enum bitnet_tokenizer_kind kind;
    } kinds[] = {{"gpt2", BITNET_TOKENIZER_BPE},   {"llama", BITNET_TOKENIZER_SPM},
                 {"t5", BITNET_TOKENIZER_UNIGRAM}, {"bert", BITNET_TOKENIZER_WORDPIECE},
                 {"rwkv", BITNET_TOKENIZER_RWKV},  {"gemma4", BITNET_TOKENIZER_BPE}};
    source->is_gemma4 = bitnet_str_is(model, "gemma4");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (bitnet_str_is(model, kinds[i].name)) {
            *kind = kinds[i].kind;
            return BITNET_OK;
        }
    return bitnet_fail(
        source->err, BITNET_UNSUPPORTED,
        "key 'tokenizer.ggml.model': %s is not supported (gpt2, llama, t5, bert, rwkv, gemma4)",
        BITNET_QUOTE(model));
}

static enum bitnet_status read_pre(struct source *source)
{
    struct bitnet_tokenizer *tokenizer = source->tokenizer;
    struct bitnet_str name = {0};
    enum bitnet_status status = bitnet_gguf_str(source->gguf, "tokenizer.ggml.pre",
                                                BITNET_GGUF_OPTIONAL, &name, source->err);
    if (status || tokenizer->kind != BITNET_TOKENIZER_BPE) return status;
    source->pre_is_missing = !name.n && !source->is_gemma4;
    if (!name.n) name = BITNET_STR("default");
    if (source->is_gemma4) name = BITNET_STR("gemma4");
    if (source->forced_pre) name = bitnet_str_of(source->forced_pre);
    tokenizer->pre = pre_find(name);
    if (!tokenizer->pre)
        return bitnet_fail(source->err, BITNET_UNSUPPORTED,
                           "key 'tokenizer.ggml.pre': pre-tokenizer %s is not supported",
                           BITNET_QUOTE(name));
    tokenizer->by_chars = pre_is_by_chars(tokenizer->pre);
    tokenizer->ignore_merges = tokenizer->pre->ignore_merges;
    tokenizer->clean_spaces = tokenizer->pre->clean_spaces;
    return BITNET_OK;
}

/* ------------------------------------------------------------------ special ids and flags */

/* All ones means "none"; any other number must be the id of a token. */
static enum bitnet_status read_id(struct source *source, const char *key, int32_t *id)
{
    uint32_t n_tokens = source->tokenizer->vocab.n_tokens;
    uint64_t value = UINT64_MAX;
    enum bitnet_status status = bitnet_gguf_u64(source->gguf, key, 0, UINT32_MAX,
                                                BITNET_GGUF_OPTIONAL, &value, source->err);
    if (status || value == UINT64_MAX) return status;
    if (value != UINT32_MAX && value >= n_tokens)
        return bitnet_fail(source->err, BITNET_FORMAT,
                           "key '%s': %" PRIu64 " is no token (there are %u)", key, value,
                           n_tokens);
    *id = value == UINT32_MAX ? BITNET_NO_TOKEN : (int32_t)value;
    return BITNET_OK;
}

/* What llama.cpp takes for granted where the file is silent. */
static const struct defaults {
    int32_t bos, eos, unk, sep, pad, mask;
    bool add_bos, add_eos, add_space_prefix, clean_spaces;
} defaults[] = {
    [BITNET_TOKENIZER_BPE] = {11, 11, -1, -1, -1, -1, false, false, false, false},
    [BITNET_TOKENIZER_SPM] = {1, 2, 0, -1, -1, -1, true, false, true, false},
    [BITNET_TOKENIZER_UNIGRAM] = {-1, 1, 2, -1, 0, -1, false, true, false, false},
    [BITNET_TOKENIZER_WORDPIECE] = {101, -1, 100, 102, 0, 103, true, false, false, true},
    [BITNET_TOKENIZER_RWKV] = {-1, -1, -1, -1, -1, -1, false, false, false, false},
};

static int32_t if_there(const struct bitnet_tokenizer *tokenizer, int32_t id)
{
    return id < (int32_t)tokenizer->vocab.n_tokens ? id : BITNET_NO_TOKEN;
}

static void set_default_ids(struct bitnet_tokenizer *tokenizer, bool has_none)
{
    const struct defaults *from = &defaults[has_none ? BITNET_TOKENIZER_RWKV : tokenizer->kind];
    struct bitnet_special_tokens *special = &tokenizer->special;
    special->bos = if_there(tokenizer, from->bos);
    special->eos = if_there(tokenizer, from->eos);
    special->unk = if_there(tokenizer, from->unk);
    special->sep = if_there(tokenizer, from->sep);
    special->pad = if_there(tokenizer, from->pad);
    tokenizer->mask = if_there(tokenizer, from->mask);
    special->add_bos =
        from->add_bos || tokenizer->pre->bos == PRE_BOS_ADD || tokenizer->pre->bos == PRE_BOS_FORCE;
    special->add_eos = from->add_eos;
    special->add_space_prefix = from->add_space_prefix;
    if (tokenizer->kind != BITNET_TOKENIZER_BPE) tokenizer->clean_spaces = from->clean_spaces;
}

static enum bitnet_status read_special(struct source *source)
{
    struct bitnet_special_tokens *special = &source->tokenizer->special;
    const struct {
        const char *key;
        int32_t *id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", &special->bos},
        {"tokenizer.ggml.eos_token_id", &special->eos},
        {"tokenizer.ggml.eot_token_id", &special->eot},
        {"tokenizer.ggml.unknown_token_id", &special->unk},
        {"tokenizer.ggml.seperator_token_id", &special->sep}, /* spelt so */
        {"tokenizer.ggml.padding_token_id", &special->pad},
        {"tokenizer.ggml.mask_token_id", &source->tokenizer->mask},
        {"tokenizer.ggml.eom_token_id", &source->tokenizer->ends[0]},
        {"tokenizer.ggml.fim_pad_token_id", &source->tokenizer->ends[1]},
        {"tokenizer.ggml.fim_rep_token_id", &source->tokenizer->ends[2]},
        {"tokenizer.ggml.fim_sep_token_id", &source->tokenizer->ends[3]},
    };
    enum bitnet_status status = BITNET_OK;
    set_default_ids(source->tokenizer, source->is_gemma4);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0] && !status; i++)
        status = read_id(source, ids[i].key, ids[i].id);
    if (source->tokenizer->kind == BITNET_TOKENIZER_BPE &&
        source->tokenizer->pre->bos == PRE_BOS_UNSET)
        special->bos = BITNET_NO_TOKEN;
    return status;
}

static enum bitnet_status read_flag(struct source *source, const char *key, bool *flag,
                                    bool *is_given)
{
    *is_given = bitnet_gguf_find(source->gguf, bitnet_str_of(key)) != NULL;
    return bitnet_gguf_bool(source->gguf, key, BITNET_GGUF_OPTIONAL, flag, source->err);
}

static enum bitnet_status read_flags(struct source *source)
{
    struct bitnet_tokenizer *tokenizer = source->tokenizer;
    struct bitnet_special_tokens *special = &tokenizer->special;
    enum bitnet_status status = read_flag(source, "tokenizer.ggml.add_bos_token", &special->add_bos,
                                          &tokenizer->add_bos_is_given);
    if (!status)
        status = read_flag(source, "tokenizer.ggml.add_eos_token", &special->add_eos,
                           &tokenizer->add_eos_is_given);
    if (!status)
        status = read_flag(source, "tokenizer.ggml.add_space_prefix", &special->add_space_prefix,
                           &tokenizer->add_space_prefix_is_given);
    tokenizer->add_bos_token = special->add_bos;
    tokenizer->add_eos_token = special->add_eos;
    if (tokenizer->pre->bos == PRE_BOS_FORCE) special->add_bos = true;
    uint64_t n_segments = 0;
    if (!status)
        status = bitnet_gguf_u64(source->gguf, "tokenizer.ggml.token_type_count", 0, UINT32_MAX,
                                 BITNET_GGUF_OPTIONAL, &n_segments, source->err);
    tokenizer->n_segments = (uint32_t)n_segments;
    return status;
}

/* Unigram's normalizer: the character map, as i8 or u8, and what becomes of spaces. */
static enum bitnet_status read_normalizer(struct source *source)
{
    const char *key = "tokenizer.ggml.precompiled_charsmap";
    struct words *words = &source->tokenizer->words;
    const struct bitnet_gguf_value *value = bitnet_gguf_find(source->gguf, bitnet_str_of(key));
    struct bitnet_bytes blob = {0};
    size_t n = 0;
    enum bitnet_status status =
        bitnet_gguf_bool(source->gguf, "tokenizer.ggml.remove_extra_whitespaces",
                         BITNET_GGUF_OPTIONAL, &words->merge_spaces, source->err);
    if (status || !value) return status;
    status = bitnet_gguf_array(source->gguf, key,
                               value->element == BITNET_GGUF_U8 ? BITNET_GGUF_U8 : BITNET_GGUF_I8,
                               BITNET_GGUF_REQUIRED, &blob, &n, source->err);
    if (status || !n) return status;
    struct bitnet_str kept =
        bitnet_arena_copy(&source->tokenizer->arena, (struct bitnet_str){(const char *)blob.at, n});
    if (!kept.at) return bitnet_fail(source->err, BITNET_MEMORY, "out of memory");
    return charsmap_open(&words->map, (struct bitnet_bytes){(const uint8_t *)kept.at, n},
                         source->err);
}

/* llama.cpp knows two families of models by name, whose special tokens swallow white space. */
static bool contains_any_case(struct bitnet_str text, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.n; i++) {
        size_t k = 0;
        while (k < n && (text.at[i + k] | 0x20) == (word[k] | 0x20)) k++;
        if (k == n) return true;
    }
    return false;
}

static enum bitnet_status read_strip_rule(struct source *source)
{
    struct bitnet_str name = {0};
    enum bitnet_status status =
        bitnet_gguf_str(source->gguf, "general.name", BITNET_GGUF_OPTIONAL, &name, source->err);
    const char *pre = source->tokenizer->pre->name;
    if (strcmp(pre, "jina-v2-de") == 0 || strcmp(pre, "jina-v2-es") == 0 ||
        strcmp(pre, "jina-v2-code") == 0)
        source->tokenizer->strip_rule = STRIP_LEFT_OF_MASK;
    else if (contains_any_case(name, "phi-3") || contains_any_case(name, "phi3"))
        source->tokenizer->strip_rule = STRIP_RIGHT;
    return status;
}

static enum bitnet_status read_chat_template(struct source *source)
{
    struct bitnet_str text = {0};
    enum bitnet_status status = bitnet_gguf_str(source->gguf, "tokenizer.chat_template",
                                                BITNET_GGUF_OPTIONAL, &text, source->err);
    if (status || !text.n) return status;
    source->tokenizer->chat_template = bitnet_arena_copy(&source->tokenizer->arena, text);
    if (source->tokenizer->chat_template.at) return BITNET_OK;
    return bitnet_fail(source->err, BITNET_MEMORY, "out of memory for the chat template");
}

/* Files without the key, or with "default", were written by converters that did not know the
 * vocabulary; the default cuts words differently, so a vocabulary we know gets its own name back.
 */
static enum bitnet_status repair_pre(struct source *source)
{
    struct bitnet_tokenizer *tokenizer = source->tokenizer;
    struct bitnet_pre_identity identity;
    if (tokenizer->kind != BITNET_TOKENIZER_BPE || source->forced_pre ||
        strcmp(tokenizer->pre->name, "default") != 0)
        return BITNET_OK;
    enum bitnet_status status = tokenizer_identify_pre(tokenizer, &identity, source->err);
    const char *name = identity.name ? identity.name : "default";
    if (!status) status = tokenizer_set_pre(tokenizer, pre_find(bitnet_str_of(name)), source->err);
    if (!status) status = read_special(source); /* defaults depend on the name */
    if (!status) status = read_flags(source);
    if (!status) status = tokenizer_find_eog(tokenizer, source->err);
    const char *what = source->pre_is_missing ? "missing" : "'default'";
    if (!status && identity.name)
        bitnet_log_say(source->log, BITNET_LOG_WARNING,
                       "key 'tokenizer.ggml.pre' is %s: read as '%s', because %s", what, name,
                       identity.evidence);
    else if (!status)
        bitnet_log_say(
            source->log, BITNET_LOG_WARNING,
            "key 'tokenizer.ggml.pre' is %s and the vocabulary is not a known one: words "
            "are cut by the default rules, which may not be the model's",
            what);
    return status;
}

static enum bitnet_status read_all(struct source *source)
{
    enum bitnet_tokenizer_kind kind = source->tokenizer->kind;
    enum bitnet_status status = read_pre(source);
    if (!status) status = read_tokens(source);
    if (!status && kind == BITNET_TOKENIZER_BPE) status = read_merges(source);
    if (!status) status = read_special(source);
    if (!status) status = read_flags(source);
    if (!status) status = read_strip_rule(source);
    if (!status && kind == BITNET_TOKENIZER_UNIGRAM) status = read_normalizer(source);
    if (!status) status = read_chat_template(source);
    if (!status) status = tokenizer_finish(source->tokenizer, source->err);
    return status ? status : repair_pre(source);
}

enum bitnet_status tokenizer_read_gguf(struct bitnet_tokenizer **tokenizer,
                                       const struct bitnet_gguf *gguf, const char *pre,
                                       const struct bitnet_log *log, struct bitnet_error *err)
{
    struct source source = {.gguf = gguf, .log = log, .forced_pre = pre, .err = err};
    enum bitnet_tokenizer_kind kind = BITNET_TOKENIZER_BPE;
    *tokenizer = NULL;
    enum bitnet_status status = read_kind(&source, &kind);
    if (status) return status;
    source.tokenizer = tokenizer_new(kind);
    if (!source.tokenizer) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    status = read_all(&source);
    if (status)
        bitnet_tokenizer_free(source.tokenizer);
    else
        *tokenizer = source.tokenizer;
    return status;
}

enum bitnet_status bitnet_tokenizer_from_gguf(struct bitnet_tokenizer **tokenizer,
                                              const struct bitnet_gguf *gguf,
                                              const struct bitnet_log *log,
                                              struct bitnet_error *err)
{
    return tokenizer_read_gguf(tokenizer, gguf, NULL, log, err);
}
