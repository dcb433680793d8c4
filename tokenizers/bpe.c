/* Byte-level BPE (GPT-2): split into words, spell each byte as a letter, merge by rank. Comes in:
 * text without special tokens; goes out: ids. Source: tokenizers.md section 4.
 *
 * Most words of real text are tokens themselves. A word that is in the vocabulary is emitted at
 * once if merging is known to give just that token; whether it does is found out the first time. */
#include "insides.h"

#include "alphabet.h"

/* The token that is spelled like the word, or -1. */
static int32_t find_word(struct encoder *encoder, struct bitnet_str word)
{
    const struct vocab *vocab = &encoder->tokenizer->vocab;
    if (word.n > vocab->longest) return -1;
    size_t n = alphabet_spell(word.at, word.n, encoder->spelling);
    return vocab_find_token(vocab, (struct bitnet_str){encoder->spelling, n});
}

/* A symbol that is no token (its spelling occurs in merges only): llama.cpp looks for a token per
 * byte of the spelling. Where it would drop the text without a word, we fail. */
static enum bitnet_status emit_spelling(struct encoder *encoder, uint32_t symbol)
{
    const struct vocab *vocab = &encoder->tokenizer->vocab;
    struct bitnet_str spelling = vocab_text(vocab, symbol);
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < spelling.n && !status; i++) {
        int32_t id = vocab_find_token(vocab, (struct bitnet_str){spelling.at + i, 1});
        if (id < 0)
            return bitnet_fail(encoder->err, BITNET_FORMAT,
                               "the vocabulary has no token for %s, which its merges make",
                               BITNET_QUOTE(spelling));
        status = encoder_emit(encoder, (uint32_t)id);
    }
    return status;
}

/* A byte that the vocabulary cannot spell (Falcon has no vertical tab) is left out, as both
 * references do: by llama.cpp at the end, by Hugging Face before merging, so that its neighbours
 * meet. */
static bool push_bytes(struct encoder *encoder, struct bitnet_str word)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    encoder->merge.n_symbols = 0;
    for (size_t i = 0, n; i < word.n; i += n) {
        uint32_t symbol = MERGE_NO_ID;
        n = 2;
        if (i + 1 < word.n)
            symbol = merge_table_sure_pair(&tokenizer->merges, word.at[i], word.at[i + 1]);
        if (symbol == MERGE_NO_ID) {
            n = 1;
            symbol = tokenizer->byte_symbol[(uint8_t)word.at[i]];
        }
        if (symbol == MERGE_NO_ID && tokenizer->hf) continue;
        if (!merge_push(&encoder->merge, symbol, i, n)) return false;
    }
    return true;
}

static enum bitnet_status emit_symbol(struct encoder *encoder, uint32_t symbol)
{
    if (symbol < encoder->tokenizer->vocab.n_tokens) return encoder_emit(encoder, symbol);
    return symbol == MERGE_NO_ID ? BITNET_OK : emit_spelling(encoder, symbol);
}

enum bitnet_status bpe_encode_word(struct encoder *encoder, struct bitnet_str word)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    int32_t token = find_word(encoder, word);
    enum reach reach = token < 0 ? REACH_NO : reach_of(tokenizer, (uint32_t)token);
    if (reach == REACH_YES) return encoder_emit(encoder, (uint32_t)token);

    if (!push_bytes(encoder, word) ||
        !merge_run(&encoder->merge, &tokenizer->merges, &tokenizer->vocab, word.at))
        return bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for %zu bytes of text",
                           word.n);
    if (!encoder->merge.n_symbols) return BITNET_OK;
    const struct merge_symbol *symbols = encoder->merge.symbols;
    if (reach == REACH_UNKNOWN)
        reach_learn(tokenizer, (uint32_t)token,
                    symbols[0].next < 0 && symbols[0].id == (uint32_t)token);
    enum bitnet_status status = BITNET_OK;
    for (int32_t i = 0; i >= 0 && !status; i = symbols[i].next)
        status = emit_symbol(encoder, symbols[i].id);
    return status;
}

enum bitnet_status bpe_encode(struct encoder *encoder, struct bitnet_str text)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    struct splitter splitter;
    struct bitnet_str word;
    enum bitnet_status status = BITNET_OK;
    split_begin(&splitter, &encoder->split, tokenizer->passes, tokenizer->n_passes, text);
    while (!status && split_next(&splitter, &word)) status = bpe_encode_word(encoder, word);
    if (!status && splitter.out_of_memory)
        status =
            bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for %zu bytes of text", text.n);
    return status;
}
