/* A tokenizer from elsewhere held against a model. Two vocabularies of one size are still two
 * vocabularies, so size is only the first question: where the GGUF lists tokens, even if it cannot
 * be read as a tokenizer, a row of them must be spelled alike; where it names special ids, they
 * must be the same. Source: tokenizers.md section 17, product.md K3. */
#include "fit.h"

#include <bitnet/text.h>

#include <inttypes.h>

/* Tables are padded to a multiple for the hardware: at most one row in 32, and 256 (the most seen
 * among published models is one in 43). */
#define PADS_PER_ROW 32
#define PADS_ALWAYS  256
#define N_SPREAD     16

size_t fit_rows(const struct bitnet_gguf *gguf)
{
    const struct bitnet_tensor *embedding =
        gguf ? bitnet_gguf_find_tensor(gguf, BITNET_STR("token_embd.weight")) : NULL;
    return embedding && embedding->n_dims == 2 ? (size_t)embedding->dims[1] : 0;
}

enum bitnet_status fit_check_size(const struct bitnet_tokenizer *tokenizer, size_t n_rows,
                                  struct bitnet_error *err)
{
    size_t n = bitnet_tokenizer_size(tokenizer);
    if (!n_rows || n <= n_rows) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "it has %zu tokens, the model only %zu rows", n, n_rows);
}

static enum bitnet_status check_pads(const struct bitnet_tokenizer *tokenizer, size_t n_rows,
                                     struct bitnet_error *err)
{
    size_t n = bitnet_tokenizer_size(tokenizer);
    if (!n_rows || n_rows - n <= n_rows / PADS_PER_ROW + PADS_ALWAYS) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "it has only %zu tokens for %zu rows of the model", n,
                       n_rows);
}

/* ------------------------------------------------------------------ pieces */

static struct bitnet_str without(struct bitnet_str text, const char *prefix)
{
    size_t n = strlen(prefix);
    return bitnet_str_starts(text, prefix) ? (struct bitnet_str){text.at + n, text.n - n} : text;
}

/* U+2581 and a space are one; true when both are the same then. */
static bool same_spaces(struct bitnet_str a, struct bitnet_str b)
{
    static const char mark[] = "\xE2\x96\x81";
    size_t i = 0, k = 0;
    while (i < a.n && k < b.n) {
        bool in_a = a.n - i >= 3 && memcmp(a.at + i, mark, 3) == 0;
        bool in_b = b.n - k >= 3 && memcmp(b.at + k, mark, 3) == 0;
        bool space_a = in_a || a.at[i] == ' ', space_b = in_b || b.at[k] == ' ';
        if (space_a != space_b || (!space_a && a.at[i] != b.at[k])) return false;
        i += in_a ? 3 : 1;
        k += in_b ? 3 : 1;
    }
    return i == a.n && k == b.n;
}

/* A GGUF spells some tokens otherwise than their source: "##x" is "x", "word" is "(U+2581)word"
 * (WordPiece), added tokens have spaces for U+2581. */
static bool is_same_piece(struct bitnet_str in_model, struct bitnet_str in_tokenizer)
{
    if (same_spaces(in_model, in_tokenizer)) return true;
    return same_spaces(without(in_model, "\xE2\x96\x81"), without(in_tokenizer, "##"));
}

static bool is_pad(struct bitnet_str text)
{
    return bitnet_str_starts(text, "[PAD") || bitnet_str_starts(text, "[EMPTY_");
}

struct pieces {
    const struct bitnet_tokenizer *tokenizer;
    const struct bitnet_str *texts;
    size_t n;
};

static enum bitnet_status check_piece(const struct pieces *pieces, size_t id,
                                      struct bitnet_error *err)
{
    if (id >= pieces->n || is_pad(pieces->texts[id])) return BITNET_OK;
    struct bitnet_str own = bitnet_token_text(pieces->tokenizer, (int32_t)id);
    if (is_same_piece(pieces->texts[id], own)) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "token %zu is %s in the model and %s there", id,
                       BITNET_QUOTE(pieces->texts[id]), BITNET_QUOTE(own));
}

static const char *const special_keys[] = {
    "tokenizer.ggml.bos_token_id",     "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",     "tokenizer.ggml.unknown_token_id",
    "tokenizer.ggml.padding_token_id",
};

static enum bitnet_status check_pieces(const struct bitnet_tokenizer *tokenizer,
                                       const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    struct pieces pieces = {.tokenizer = tokenizer};
    if (bitnet_gguf_strings(gguf, "tokenizer.ggml.tokens", BITNET_GGUF_OPTIONAL, &pieces.texts,
                            &pieces.n, NULL) ||
        !pieces.n)
        return BITNET_OK;
    size_t common = bitnet_tokenizer_size(tokenizer);
    if (common > pieces.n) common = pieces.n;
    enum bitnet_status status = check_piece(&pieces, common - 1, err);
    if (!status) status = check_piece(&pieces, pieces.n - 1, err);
    for (size_t i = 0; i < N_SPREAD && !status; i++)
        status = check_piece(&pieces, common / N_SPREAD * i, err);
    for (size_t i = 0; i < sizeof special_keys / sizeof special_keys[0] && !status; i++) {
        uint64_t id = UINT64_MAX;
        bitnet_gguf_u64(gguf, special_keys[i], 0, UINT32_MAX, BITNET_GGUF_OPTIONAL, &id, NULL);
        if (id < pieces.n) status = check_piece(&pieces, (size_t)id, err);
    }
    return status;
}

/* ------------------------------------------------------------------ special ids */

static enum bitnet_status check_id(const struct bitnet_gguf *gguf, const char *key,
                                   const char *word, int32_t own, struct bitnet_error *err)
{
    uint64_t id = UINT64_MAX;
    bitnet_gguf_u64(gguf, key, 0, UINT32_MAX, BITNET_GGUF_OPTIONAL, &id, NULL);
    if (id > INT32_MAX || own < 0 || id == (uint64_t)own) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "its %s token is %" PRId32 ", the model's %" PRIu64,
                       word, own, id);
}

enum bitnet_status fit_check(const struct bitnet_tokenizer *tokenizer,
                             const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    const struct bitnet_special_tokens *special = bitnet_tokenizer_special(tokenizer);
    size_t n_rows = fit_rows(gguf);
    if (!gguf) return BITNET_OK;
    enum bitnet_status status = fit_check_size(tokenizer, n_rows, err);
    if (!status) status = check_pads(tokenizer, n_rows, err);
    if (!status) status = check_pieces(tokenizer, gguf, err);
    if (!status) status = check_id(gguf, special_keys[0], "bos", special->bos, err);
    return status;
}
