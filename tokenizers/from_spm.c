/* A tokenizer from a SentencePiece .model file. Comes in: the file; goes out: a tokenizer that
 * gives SentencePiece's own ids. Models with user-defined or unused pieces, word or character
 * models, and denormalizers are refused by name. Source: tokenizers.md sections 3, 7 and 15. */
#include "insides.h"

#include "spm_model.h"

static enum bitnet_status check_support(const struct spm_model *model, struct bitnet_error *err)
{
    if (model->algorithm != SPM_BPE && model->algorithm != SPM_UNIGRAM)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "%s models are not supported",
                           model->algorithm == SPM_WORD ? "word" : "character");
    if (model->has_denormalizer)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "a denormalizer is not supported");
    if (!model->escape_whitespaces)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "unescaped white space is not supported");
    for (size_t id = 0; id < model->n; id++)
        if (model->pieces[id].type == BITNET_TOKEN_USER ||
            model->pieces[id].type == BITNET_TOKEN_UNUSED)
            return bitnet_fail(err, BITNET_UNSUPPORTED,
                               "piece %zu: user-defined and unused pieces are not supported", id);
    return BITNET_OK;
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

enum bitnet_status tokenizer_read_spm(struct bitnet_tokenizer **tokenizer, struct bitnet_bytes file,
                                      struct bitnet_error *err)
{
    struct spm_model model = {0};
    *tokenizer = NULL;
    enum bitnet_status status = spm_model_read(&model, file, err);
    if (!status) status = check_support(&model, err);
    if (!status) {
        *tokenizer = tokenizer_new(model.algorithm == SPM_BPE ? BITNET_TOKENIZER_SPM
                                                              : BITNET_TOKENIZER_UNIGRAM);
        status = *tokenizer ? fill(*tokenizer, &model, err)
                            : bitnet_fail(err, BITNET_MEMORY, "out of memory");
    }
    spm_model_free(&model);
    if (status) {
        bitnet_tokenizer_free(*tokenizer);
        *tokenizer = NULL;
    }
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
