/* Which pre-tokenizer a byte-level vocabulary needs, when its file does not say. Comes in: a
 * finished tokenizer, or an open GGUF; goes out: a name of pre.def with the evidence for it, or
 * nothing. Proof first: the vocabulary encodes llama.cpp's probe text, cut in each way that a known
 * tokenizer cuts, and the SHA-256 of the ids is looked up in probe.def; a match means that the
 * vocabulary is that tokenizer's and no other. Failing that, special tokens at the places where
 * one family has them. Source: tokenizers.md section 5. */
#include "insides.h"

#include "probe.h"

/* Families that give themselves away by two tokens at fixed places, though their tokens have been
 * changed or cut short, so that the probe's ids are not those of the original. */
static const struct landmark {
    const char *pre, *first, *second, *evidence;
    int32_t first_id, second_id;
} landmarks[] = {
    {"llama-bpe", "<|begin_of_text|>", "<|eot_id|>",
     "its special tokens are at the places of Llama 3's", 128000, 128009},
    {"qwen2", "<|endoftext|>", "<|im_start|>", "its special tokens are at the places of Qwen 2's",
     151643, 151644},
};

/* What known tokenizers put in front of a text, when the file does not say which token it is. */
#define DEEPSEEK_BOS                                                                               \
    "<\xEF\xBD\x9C"                                                                                \
    "begin\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"
static const char *const bos_texts[] = {"<|begin_of_text|>", "<s>", "<BOS_TOKEN>", "<bos>",
                                        (DEEPSEEK_BOS)};

#define N_BOS (sizeof bos_texts / sizeof bos_texts[0])

/* The ids of the probe text, first with each token that may stand in front of it: Llama 3 without
 * its first token has the hash of a finetune that merges otherwise. */
static enum bitnet_status look_up(const struct bitnet_tokenizer *tokenizer, const char **name,
                                  struct bitnet_error *err)
{
    struct bitnet_tokens ids = {0};
    enum bitnet_status status = probe_encode(tokenizer, true, &ids, err);
    int32_t bos[N_BOS + 1] = {tokenizer->special.bos};
    for (size_t i = 0; i < N_BOS; i++)
        bos[i + 1] = bitnet_token_find(tokenizer, bitnet_str_of(bos_texts[i]));
    for (size_t i = 0; i <= N_BOS && !status && !*name; i++) {
        if (bos[i] < 0) continue;
        status = probe_name(bos[i], &ids, BITNET_NO_TOKEN, name, err);
        if (!status && !*name && tokenizer->special.eos >= 0)
            status = probe_name(bos[i], &ids, tokenizer->special.eos, name, err);
    }
    if (!status && !*name) status = probe_name(BITNET_NO_TOKEN, &ids, BITNET_NO_TOKEN, name, err);
    bitnet_tokens_free(&ids);
    return status;
}

static bool cuts_alike(const struct pre *a, const struct pre *b)
{
    return a->passes == b->passes && a->ignore_merges == b->ignore_merges;
}

/* Was this way of cutting tried under an earlier name? */
static bool is_tried(size_t i)
{
    const struct pre *pre = pre_find(bitnet_str_of(probe_known(i)));
    for (size_t k = 0; k < i; k++) {
        const struct pre *earlier = pre_find(bitnet_str_of(probe_known(k)));
        if (pre && earlier && cuts_alike(pre, earlier)) return true;
    }
    return !pre;
}

static const struct landmark *find_landmark(const struct bitnet_tokenizer *tokenizer)
{
    for (size_t i = 0; i < sizeof landmarks / sizeof landmarks[0]; i++)
        if (bitnet_str_is(bitnet_token_text(tokenizer, landmarks[i].first_id),
                          landmarks[i].first) &&
            bitnet_str_is(bitnet_token_text(tokenizer, landmarks[i].second_id),
                          landmarks[i].second))
            return &landmarks[i];
    return NULL;
}

enum bitnet_status tokenizer_identify_pre(struct bitnet_tokenizer *tokenizer,
                                          struct bitnet_pre_identity *identity,
                                          struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    *identity = (struct bitnet_pre_identity){0};
    for (size_t i = 0; probe_known(i) && !status && !identity->name; i++) {
        if (is_tried(i)) continue;
        status = tokenizer_set_pre(tokenizer, pre_find(bitnet_str_of(probe_known(i))), err);
        if (!status) status = look_up(tokenizer, &identity->name, err);
    }
    if (status) return status;
    if (identity->name) {
        identity->evidence = "the ids of the probe text are that tokenizer's";
        identity->is_proven = true;
        return BITNET_OK;
    }
    const struct landmark *landmark = find_landmark(tokenizer);
    if (landmark)
        *identity =
            (struct bitnet_pre_identity){.name = landmark->pre, .evidence = landmark->evidence};
    return BITNET_OK;
}

enum bitnet_status bitnet_tokenizer_identify_pre(const struct bitnet_gguf *gguf,
                                                 struct bitnet_pre_identity *identity,
                                                 struct bitnet_error *err)
{
    struct bitnet_tokenizer *tokenizer = NULL;
    struct bitnet_str model = {0};
    *identity = (struct bitnet_pre_identity){0};
    enum bitnet_status status =
        bitnet_gguf_str(gguf, "tokenizer.ggml.model", BITNET_GGUF_OPTIONAL, &model, err);
    if (status || !bitnet_str_is(model, "gpt2")) return status;
    status = tokenizer_read_gguf(&tokenizer, gguf, "default", NULL, err);
    if (!status) status = tokenizer_identify_pre(tokenizer, identity, err);
    bitnet_tokenizer_free(tokenizer);
    return status;
}
