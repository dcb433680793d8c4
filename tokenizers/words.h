/* Vocabularies that are searched instead of merged: Unigram (the best path through all tokens),
 * WordPiece (the longest token first, word by word), RWKV (the longest token first, over bytes),
 * and whole words. Comes in: text; goes out: ids. One trie over the spellings serves all. */
#ifndef BITNET_TOKENIZERS_WORDS_H
#define BITNET_TOKENIZERS_WORDS_H

#include "charsmap.h"
#include "trie.h"

struct encoder;
struct bitnet_tokenizer;

struct words {
    struct trie trie;          /* spelling -> id, of every token that text may become */
    struct trie user;          /* user-defined spellings, which the normalizer leaves alone */
    struct charsmap map;       /* of a GGUF; its blob is in the tokenizer's arena */
    bool merge_spaces;         /* remove_extra_whitespaces */
    bool suffix_spaces;        /* treat_whitespace_as_suffix */
    bool wide_sums;            /* scores are added as double (Hugging Face), else as float */
    const double *wide_scores; /* [n_tokens], in the arena; NULL: those of the vocabulary */
    double unk_score;          /* of a character that no token covers */
    uint32_t max_chars;        /* WordPiece: a longer word is unknown; 0: no ceiling */
    bool is_sentencepiece;     /* from a .model file: sentencepiece.c is its road */
    uint32_t n_pieces;         /* of a .model file: ids from here on were added */
    bool by_character;         /* a .model of characters, not of whole words */
    bool byte_fallback;        /* of a .model file */
    bool plain_spaces;         /* of a .model file: spaces stay spaces (libsentencepiece only) */
    float max_score;           /* of a .model file: what user-defined pieces are measured by */
    struct bitnet_str unk_surface; /* what the unknown piece decodes to, in the arena */
    struct bitnet_str prefix;      /* WordPiece: what continues a word ("##"), in the arena */
};

void words_free(struct words *words);

/* How many bytes at the beginning of `text` spell a user-defined token, the longest; or 0. */
size_t words_user_prefix(const struct words *words, struct bitnet_str text);

/* The best path over one piece of text; characters that no token covers become the unknown token,
 * or bytes if the model of a tokenizer.json says so. */
enum bitnet_status unigram_encode(struct encoder *encoder, struct bitnet_str text);
/* llama.cpp's road for GGUF vocabularies: character map, spaces, then the best path. */
enum bitnet_status unigram_encode_text(struct encoder *encoder, struct bitnet_str text);

/* One word, Hugging Face's way. */
enum bitnet_status wordpiece_encode(struct encoder *encoder, struct bitnet_str word);
/* llama.cpp's road: base letters, lower case, words, each with U+2581 in front. */
enum bitnet_status wordpiece_encode_text(struct encoder *encoder, struct bitnet_str text);

/* Bytes, the longest token first. */
enum bitnet_status rwkv_encode_text(struct encoder *encoder, struct bitnet_str text);
/* The bytes that the escaped spelling of a token means ("\n", "\x41"), into `out`, which has room
 * for text.n. False when it is damaged. */
bool rwkv_unescape(struct bitnet_str text, char *out, size_t *n);

#endif
