/* Tokens that files beside a SentencePiece .model add or describe anew. Comes in: the tokenizer of
 * the .model and the JSON of added_tokens.json and tokenizer_config.json; goes out: the vocabulary
 * that llama.cpp's converter makes of them (tokenizers.md section 13): added tokens have score
 * -1000, control type if they are special or look so, else user-defined. */
#include "added.h"

#include <bitnet/alloc.h>

#include <inttypes.h>

#define ADDED_SCORE (-1000.0f)
#define PAD_SCORE   (-10000.0f)
#define MAX_ADDED   65536u

/* "<pad>", "<|...|>" and their like are control tokens to llama.cpp's converter, whatever the file
 * says of them. */
bool added_looks_special(struct bitnet_str text)
{
    return bitnet_str_is(text, "<pad>") || bitnet_str_is(text, "<mask>") ||
           bitnet_str_is(text, "<2mass>") || bitnet_str_is(text, "[@BOS@]") ||
           (bitnet_str_starts(text, "<|") && bitnet_str_ends(text, "|>")) ||
           (bitnet_str_starts(text, "<\xEF\xBD\x9C") && bitnet_str_ends(text, "\xEF\xBD\x9C>")) ||
           (bitnet_str_starts(text, "<unused") && bitnet_str_ends(text, ">"));
}

/* One token at one id: text.at NULL when the place is empty. */
struct place {
    struct bitnet_str text;
    enum bitnet_token_type type;
};

struct places {
    struct bitnet_tokenizer *tokenizer;
    struct place *at; /* [n], for ids from the end of the .model on */
    size_t n;
    struct bitnet_error *err;
};

static enum bitnet_status put(struct places *places, uint64_t id, struct bitnet_str text,
                              enum bitnet_token_type type)
{
    struct vocab *vocab = &places->tokenizer->vocab;
    uint32_t n_base = vocab->n_tokens;
    if (!text.n) return bitnet_fail(places->err, BITNET_FORMAT, "added token: text is empty");
    if (id >= n_base + places->n)
        return bitnet_fail(places->err, BITNET_FORMAT,
                           "added token %s: id %" PRIu64 " is beyond the vocabulary of %zu tokens",
                           BITNET_QUOTE(text), id, n_base + places->n);
    if (id >= n_base) {
        places->at[id - n_base] = (struct place){text, type};
        return BITNET_OK;
    }
    if (!bitnet_str_equal(text, vocab_text(vocab, (uint32_t)id)))
        return bitnet_fail(places->err, BITNET_FORMAT, "tokens %s and %s have the same id %" PRIu64,
                           BITNET_QUOTE(vocab_text(vocab, (uint32_t)id)), BITNET_QUOTE(text), id);
    vocab->type[id] = (uint8_t)type;
    vocab->score[id] = ADDED_SCORE;
    return BITNET_OK;
}

/* added_tokens.json: {"text": id, ...}. */
static enum bitnet_status put_list(struct places *places, const struct bitnet_json *added)
{
    enum bitnet_status status = BITNET_OK;
    for (const struct bitnet_json *node = added ? added->child : NULL; node && !status;
         node = node->next) {
        uint64_t id;
        if (!bitnet_json_as_u64(node, &id))
            return bitnet_fail(places->err, BITNET_FORMAT, "added_tokens.json: %s has no id",
                               BITNET_QUOTE(node->key));
        status = put(places, id, node->key, BITNET_TOKEN_USER);
    }
    return status;
}

/* tokenizer_config.json: "added_tokens_decoder": {"id": {"content": ..., "special": ...}, ...}. */
static enum bitnet_status put_decoder(struct places *places, const struct bitnet_json *config)
{
    const struct bitnet_json *decoder = bitnet_json_get(config, "added_tokens_decoder");
    enum bitnet_status status = BITNET_OK;
    for (const struct bitnet_json *node = decoder ? decoder->child : NULL; node && !status;
         node = node->next) {
        struct bitnet_str text = {0};
        bool is_special = false;
        uint64_t id;
        if (!bitnet_parse_u64(node->key, &id))
            return bitnet_fail(places->err, BITNET_FORMAT, "added_tokens_decoder: %s is no id",
                               BITNET_QUOTE(node->key));
        status = bitnet_json_str(node, "content", BITNET_REQUIRED, &text, places->err);
        if (!status)
            status = bitnet_json_bool(node, "special", BITNET_OPTIONAL, &is_special, places->err);
        bool control = is_special || added_looks_special(text);
        if (!status)
            status = put(places, id, text, control ? BITNET_TOKEN_CONTROL : BITNET_TOKEN_USER);
    }
    return status;
}

static enum bitnet_status add_place(struct places *places, const struct place *place)
{
    uint32_t id = places->tokenizer->vocab.n_tokens;
    struct bitnet_buf name = {.max = 64};
    enum bitnet_status status = BITNET_OK;
    if (place->text.at)
        return tokenizer_add_token(places->tokenizer, place->text, place->type, ADDED_SCORE,
                                   places->err);
    if (!bitnet_buf_printf(&name, "[PAD%" PRIu32 "]", id))
        status = bitnet_fail(places->err, BITNET_MEMORY, "out of memory");
    if (!status)
        status = tokenizer_add_token(places->tokenizer, (struct bitnet_str){name.at, name.n},
                                     BITNET_TOKEN_UNUSED, PAD_SCORE, places->err);
    bitnet_buf_free(&name);
    return status;
}

/* The number of ids that the files speak of, when the model does not say. */
static size_t last_id(const struct bitnet_json *added, const struct bitnet_json *config)
{
    const struct bitnet_json *decoder = bitnet_json_get(config, "added_tokens_decoder");
    uint64_t last = 0, id;
    for (const struct bitnet_json *n = added ? added->child : NULL; n; n = n->next)
        if (bitnet_json_as_u64(n, &id) && id < MAX_ADDED * 32u && id > last) last = id;
    for (const struct bitnet_json *n = decoder ? decoder->child : NULL; n; n = n->next)
        if (bitnet_parse_u64(n->key, &id) && id < MAX_ADDED * 32u && id > last) last = id;
    return (size_t)last + 1;
}

enum bitnet_status added_apply(struct bitnet_tokenizer *tokenizer, size_t n_vocab,
                               const struct bitnet_json *added, const struct bitnet_json *config,
                               struct bitnet_error *err)
{
    struct places places = {.tokenizer = tokenizer, .err = err};
    size_t n_base = tokenizer->vocab.n_tokens, n_all = n_vocab ? n_vocab : last_id(added, config);
    if (n_vocab && n_base > n_vocab)
        return bitnet_fail(err, BITNET_FORMAT, "the tokenizer has %zu tokens, the model only %zu",
                           n_base, n_vocab);
    if (n_all > VOCAB_MAX_TOKENS)
        return bitnet_fail(err, BITNET_LIMIT, "%zu tokens (limit %u)", n_all, VOCAB_MAX_TOKENS);
    places.n = n_all > n_base ? n_all - n_base : 0;
    places.at = bitnet_alloc(places.n + 1, sizeof *places.at);
    if (!places.at) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    enum bitnet_status status = put_list(&places, added);
    if (!status) status = put_decoder(&places, config);
    for (size_t i = 0; i < places.n && !status; i++) status = add_place(&places, &places.at[i]);
    bitnet_free(places.at);
    return status;
}

enum bitnet_status added_adopt(struct bitnet_tokenizer *tokenizer, const struct spm_model *model,
                               const struct bitnet_json *config, bool *adopted,
                               struct bitnet_error *err)
{
    struct vocab *vocab = &tokenizer->vocab;
    *adopted = model->n <= vocab->n_tokens;
    for (size_t id = 0; id < model->n && *adopted; id++)
        *adopted = bitnet_str_equal(model->pieces[id].text, vocab_text(vocab, (uint32_t)id));
    if (!*adopted) return BITNET_OK;
    for (uint32_t id = 0; id < vocab->n_tokens; id++) {
        bool in_model = id < model->n;
        vocab->score[id] = in_model ? model->pieces[id].score : ADDED_SCORE;
        if (in_model) vocab->type[id] = (uint8_t)model->pieces[id].type;
    }
    struct places places = {.tokenizer = tokenizer, .err = err};
    return put_decoder(&places, config);
}
