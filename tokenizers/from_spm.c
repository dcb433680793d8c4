/* A tokenizer from a SentencePiece .model file. Comes in: the file, which spm_model.c checks; goes
 * out: a tokenizer that gives SentencePiece's own ids, by libsentencepiece where the build has it,
 * else by sentencepiece.c. The vocabulary, for names of ids and for writing a GGUF, is ours either
 * way. Source: tokenizers.md sections 3, 7 and 15. */
#include "insides.h"

#include <float.h>

#include "spm_model.h"

/* What sentencepiece.c does not do, and libsentencepiece does. */
static enum bitnet_status check_support(const struct spm_model *model, struct bitnet_error *err)
{
    const char *what = model->has_denormalizer      ? "a denormalizer"
                       : !model->escape_whitespaces ? "unescaped white space"
                                                    : NULL;
    if (!what) return BITNET_OK;
    return bitnet_hint(err, bitnet_fail(err, BITNET_UNSUPPORTED, "%s is not supported", what),
                       "a build with libsentencepiece (BITNET_SENTENCEPIECE=ON) supports it");
}

static enum bitnet_status keep_charsmap(struct bitnet_tokenizer *tokenizer,
                                        struct bitnet_bytes blob, struct bitnet_error *err)
{
    if (!blob.n) return BITNET_OK;
    struct bitnet_str kept =
        bitnet_arena_copy(&tokenizer->arena, (struct bitnet_str){(const char *)blob.at, blob.n});
    if (!kept.at) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    return charsmap_open(&tokenizer->words.map,
                         (struct bitnet_bytes){(const uint8_t *)kept.at, kept.n}, err);
}

#define MAX_NESTED                                                                                 \
    64 /* user-defined pieces that begin one another, as the library expects them                  \
        */

/* libsentencepiece follows a character map and its own tables without looking where they end, so a
 * file that would lead it outside is refused before it sees any text. */
static enum bitnet_status check_for_library(const struct bitnet_tokenizer *tokenizer,
                                            const struct spm_model *model, struct bitnet_error *err)
{
    struct charsmap back;
    enum bitnet_status status = charsmap_open(&back, model->denormalizer, err);
    if (status) return bitnet_error_prefix(err, status, "denormalizer");
    if ((tokenizer->words.map.trie.n && !tokenizer->words.map.is_closed) ||
        (back.trie.n && !back.is_closed))
        return bitnet_fail(err, BITNET_FORMAT, "normalizer character map: leads outside the index");
    for (size_t id = 0; id < model->n; id++) {
        struct bitnet_str text = model->pieces[id].text;
        const struct trie *trie = &tokenizer->words.user;
        uint32_t node = 0;
        size_t n_nested = 0;
        if (model->pieces[id].type != BITNET_TOKEN_USER) continue;
        for (size_t i = 0; i < text.n; i++) {
            node = trie_step(trie, node, (uint8_t)text.at[i]);
            if (!node) break;
            n_nested += trie->nodes[node].value_plus_1 != 0;
        }
        if (n_nested > MAX_NESTED)
            return bitnet_fail(err, BITNET_LIMIT,
                               "piece %zu: %zu user-defined pieces begin it (limit %d)", id,
                               n_nested, MAX_NESTED);
    }
    return BITNET_OK;
}

static enum bitnet_status fill(struct bitnet_tokenizer *tokenizer, const struct spm_model *model,
                               struct bitnet_error *err)
{
    struct words *words = &tokenizer->words;
    enum bitnet_status status = keep_charsmap(tokenizer, model->charsmap, err);
    for (size_t id = 0; id < model->n && !status; id++)
        status = tokenizer_add_token(tokenizer, model->pieces[id].text, model->pieces[id].type,
                                     model->pieces[id].score, err);
    if (status) return status;
    words->is_sentencepiece = true;
    words->n_pieces = tokenizer->vocab.n_tokens;
    words->by_character = model->algorithm == SPM_CHAR;
    words->plain_spaces = !model->escape_whitespaces;
    words->max_score = FLT_MIN; /* as the library begins */
    for (size_t id = 0; id < model->n && !status; id++) {
        const struct spm_piece *piece = &model->pieces[id];
        if (piece->type == BITNET_TOKEN_NORMAL && piece->score > words->max_score)
            words->max_score = piece->score;
        if (piece->type == BITNET_TOKEN_USER && !trie_add(&words->user, piece->text, (uint32_t)id))
            status = bitnet_fail(err, BITNET_MEMORY, "out of memory");
    }
    if (status) return status;
    words->merge_spaces = model->remove_extra_whitespaces;
    words->suffix_spaces = model->suffix_spaces;
    words->byte_fallback = model->byte_fallback;
    words->unk_surface = bitnet_arena_copy(&tokenizer->arena, model->unk_surface);
    if (!words->unk_surface.at) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    tokenizer->special.unk = model->unk;
    tokenizer->special.bos = model->bos;
    tokenizer->special.eos = model->eos;
    tokenizer->special.pad = model->pad;
    tokenizer->special.add_space_prefix = model->add_dummy_prefix;
    tokenizer->special.add_bos = tokenizer->kind == BITNET_TOKENIZER_SPM && model->bos >= 0;
    tokenizer->special.add_eos = tokenizer->kind == BITNET_TOKENIZER_UNIGRAM && model->eos >= 0;
    return BITNET_OK;
}

static enum bitnet_tokenizer_kind kind_of(const struct spm_model *model)
{
    if (model->algorithm == SPM_BPE) return BITNET_TOKENIZER_SPM;
    return model->algorithm == SPM_UNIGRAM ? BITNET_TOKENIZER_UNIGRAM : BITNET_TOKENIZER_WORDS;
}

enum bitnet_status tokenizer_read_spm(struct bitnet_tokenizer **tokenizer, struct bitnet_bytes file,
                                      struct bitnet_error *err)
{
    struct spm_model model = {0};
    struct spm_shim *shim = NULL;
    *tokenizer = NULL;
    enum bitnet_status status = spm_model_read(&model, file, err);
    if (!status) status = spm_shim_open(&shim, file, err);
    if (!status && !shim) status = check_support(&model, err);
    if (!status) {
        *tokenizer = tokenizer_new(kind_of(&model));
        status = *tokenizer ? fill(*tokenizer, &model, err)
                            : bitnet_fail(err, BITNET_MEMORY, "out of memory");
        if (!status && shim) status = check_for_library(*tokenizer, &model, err);
    }
    spm_model_free(&model);
    if (!status) {
        (*tokenizer)->shim = shim;
        return BITNET_OK;
    }
    spm_shim_close(shim);
    bitnet_tokenizer_free(*tokenizer);
    *tokenizer = NULL;
    return status;
}

enum bitnet_status bitnet_tokenizer_from_spm(struct bitnet_tokenizer **tokenizer,
                                             struct bitnet_bytes file, struct bitnet_error *err)
{
    enum bitnet_status status = tokenizer_read_spm(tokenizer, file, err);
    if (!status) status = tokenizer_finish(*tokenizer, err);
    if (status) {
        bitnet_tokenizer_free(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}
