/* BPE by rank over characters (gemma4, granite-embed-multi-311m, sarvam-moe): the text is cut at
 * newlines only, its characters are merged as the list of merges ranks them, and what is no token
 * then is spelled in bytes, "<0xHH>". Comes in: text without special tokens, spaces as U+2581; goes
 * out: ids. Source: tokenizers.md section 5 (R-NEWLINES), and for what it leaves open llama.cpp of
 * 2026-07: a run of newlines that is a token is that token, whatever the merges say.
 *
 * As in spm.c, a line is cut before each U+2581 that no symbol joins to its left neighbour. */
#include "insides.h"

#include "unicode.h"

static enum bitnet_status no_memory(struct encoder *encoder)
{
    return bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for the tokens of a text");
}

static enum bitnet_status merge_chars(struct encoder *encoder, struct bitnet_str piece)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    encoder->merge.n_symbols = 0;
    for (size_t at = 0, length; at < piece.n; at += length) {
        length = unicode_announced_length(piece.at + at, piece.n - at);
        int32_t id = vocab_find(&tokenizer->vocab, (struct bitnet_str){piece.at + at, length});
        if (!merge_push(&encoder->merge, (uint32_t)id, at, length)) return no_memory(encoder);
    }
    return merge_run(&encoder->merge, &tokenizer->merges, &tokenizer->vocab, NULL)
               ? BITNET_OK
               : no_memory(encoder);
}

static enum bitnet_status encode_piece(struct encoder *encoder, struct bitnet_str piece)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    int32_t token = vocab_find_token(&tokenizer->vocab, piece);
    enum reach reach = token < 0 ? REACH_NO : reach_of(tokenizer, (uint32_t)token);
    if (reach == REACH_YES) return encoder_emit(encoder, (uint32_t)token);

    enum bitnet_status status = merge_chars(encoder, piece);
    if (status) return status;
    const struct merge_symbol *symbols = encoder->merge.symbols;
    if (reach == REACH_UNKNOWN) reach_learn(tokenizer, (uint32_t)token, symbols[0].next < 0);
    for (int32_t i = 0; i >= 0 && !status; i = symbols[i].next)
        status = symbols[i].id < tokenizer->vocab.n_tokens
                     ? encoder_emit(encoder, symbols[i].id)
                     : spm_emit_bytes(encoder, piece.at + symbols[i].begin, symbols[i].bytes);
    return status;
}

static enum bitnet_status encode_line(struct encoder *encoder, struct bitnet_str line)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t begin = 0, end; begin < line.n && !status; begin = end) {
        end = spm_piece_end(encoder->tokenizer, line, begin);
        status = encode_piece(encoder, (struct bitnet_str){line.at + begin, end - begin});
    }
    return status;
}

/* A line, or a run of newlines. */
static enum bitnet_status encode_word(struct encoder *encoder, struct bitnet_str word)
{
    int32_t token = -1;
    if (word.at[0] == '\n') token = vocab_find_token(&encoder->tokenizer->vocab, word);
    return token < 0 ? encode_line(encoder, word) : encoder_emit(encoder, (uint32_t)token);
}

enum bitnet_status bpe_chars_encode(struct encoder *encoder, struct bitnet_str text)
{
    const struct bitnet_tokenizer *tokenizer = encoder->tokenizer;
    struct splitter splitter;
    struct bitnet_str word;
    enum bitnet_status status = BITNET_OK;
    split_begin(&splitter, &encoder->split, tokenizer->passes, tokenizer->n_passes, text);
    while (!status && split_next(&splitter, &word)) status = encode_word(encoder, word);
    return !status && splitter.out_of_memory ? no_memory(encoder) : status;
}
