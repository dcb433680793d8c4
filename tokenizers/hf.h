/* A tokenizer.json as Hugging Face tokenizers run it: added tokens are cut out, the rest is
 * normalized, pre-tokenized and given to the model; the post-processor puts tokens around it.
 * Decoding is a row of components of its own. Source: tokenizers.md section 11, and the behaviour
 * of the tokenizers package.
 *
 * hf_read.c reads components from JSON, hf.c runs the road, hf_normalize.c, hf_split.c and
 * hf_decode.c each one stretch of it. */
#ifndef BITNET_TOKENIZERS_HF_H
#define BITNET_TOKENIZERS_HF_H

#include <bitnet/json.h>

#include "charsmap.h"
#include "insides.h"
#include "normal.h"

#define HF_MAX_COMPONENTS 32

enum hf_normalizer_kind {
    HF_PREPEND,
    HF_REPLACE,
    HF_REPLACE_REGEX,
    HF_FORM,
    HF_LOWERCASE,
    HF_STRIP_ACCENTS,
    HF_STRIP,
    HF_NMT,
    HF_BERT,
    HF_PRECOMPILED,
    HF_SPELL_BYTES
};

struct hf_normalizer {
    enum hf_normalizer_kind kind;
    struct bitnet_str text;              /* PREPEND: what; REPLACE: what is looked for */
    struct bitnet_str content;           /* REPLACE, REPLACE_REGEX: by what */
    const struct regex *regex;           /* REPLACE_REGEX */
    enum normal_form form;               /* FORM */
    bool left, right;                    /* STRIP */
    bool clean, chinese, accents, lower; /* BERT: clean, pad, strip accents, lower-case */
    struct charsmap map;                 /* PRECOMPILED; its blob is in the tokenizer's arena */
};

enum hf_splitter_kind { HF_PASS, HF_BYTE_LEVEL, HF_METASPACE, HF_SCRIPTS, HF_LENGTH };
enum hf_prepend { HF_PREPEND_ALWAYS, HF_PREPEND_FIRST, HF_PREPEND_NEVER };

struct hf_splitter {
    enum hf_splitter_kind kind;
    struct split_pass pass;        /* PASS; BYTE_LEVEL: its expression */
    bool use_regex;                /* BYTE_LEVEL */
    bool add_prefix_space;         /* BYTE_LEVEL */
    struct bitnet_str replacement; /* METASPACE */
    enum hf_prepend prepend;       /* METASPACE */
    bool split;                    /* METASPACE */
    uint64_t length;               /* LENGTH: characters in a piece */
};

enum hf_decoder_kind {
    HF_DECODE_BYTE_LEVEL,
    HF_DECODE_REPLACE,
    HF_DECODE_BYTE_FALLBACK,
    HF_DECODE_FUSE,
    HF_DECODE_STRIP,
    HF_DECODE_METASPACE,
    HF_DECODE_WORDPIECE,
    HF_DECODE_BPE,
    HF_DECODE_CTC
};

struct hf_decoder {
    enum hf_decoder_kind kind;
    struct bitnet_str text, content; /* REPLACE; STRIP: the character; METASPACE: replacement;
                                      * WORDPIECE: prefix; BPE: suffix; CTC: pad and delimiter */
    const struct regex *regex;       /* REPLACE with an expression */
    bool cleanup;                    /* WORDPIECE, CTC */
    uint64_t start, stop;            /* STRIP: at most so many */
    enum hf_prepend prepend;         /* METASPACE */
};

/* Tokens around the text, in order. */
struct hf_ids {
    uint32_t *at; /* in the tokenizer's arena */
    size_t n;
};

/* The components as their file has them, in the tokenizer's arena: for writing them again. */
struct hf_texts {
    struct bitnet_str added_tokens, normalizer, pre_tokenizer, decoder, post_processor;
};

struct hf {
    struct hf_normalizer normalizers[HF_MAX_COMPONENTS];
    size_t n_normalizers;
    struct hf_splitter splitters[HF_MAX_COMPONENTS];
    size_t n_splitters;
    struct hf_decoder decoders[HF_MAX_COMPONENTS];
    size_t n_decoders;
    bool has_decoder;
    struct hf_ids before, after;
    /* Every splitter is a pass and the last is a plain ByteLevel: then the words are cut from the
     * raw bytes, and spelled only as needed. */
    bool is_byte_level;
    /* The model: BPE. */
    int32_t unk; /* BITNET_NO_TOKEN: characters without a token are dropped */
    bool fuse_unk, byte_fallback;
    struct bitnet_str inner_prefix; /* before every character of a word but the first */
    struct bitnet_str end_suffix;   /* after the last */
    bool has_affix;
    uint32_t byte_fallback_id[256]; /* "<0xHH>" or MERGE_NO_ID */
    struct hf_texts texts;
    struct special_list raw, normalized; /* added tokens by when they are looked for */
};

void hf_free(struct hf *hf); /* NULL is fine */

/* hf_read.c: the member of the root of a tokenizer.json, NULL when absent. UNSUPPORTED names a
 * component that is not known, FORMAT a damaged one. */
enum bitnet_status hf_read_normalizer(struct bitnet_tokenizer *tokenizer,
                                      const struct bitnet_json *node, struct bitnet_error *err);
enum bitnet_status hf_read_pre_tokenizer(struct bitnet_tokenizer *tokenizer,
                                         const struct bitnet_json *node, struct bitnet_error *err);
enum bitnet_status hf_read_decoder(struct bitnet_tokenizer *tokenizer,
                                   const struct bitnet_json *node, struct bitnet_error *err);
/* Needs the vocabulary, to check ids. */
enum bitnet_status hf_read_post_processor(struct bitnet_tokenizer *tokenizer,
                                          const struct bitnet_json *node, struct bitnet_error *err);

/* hf.c */
enum bitnet_status hf_encode(struct encoder *encoder, struct bitnet_str text,
                             const struct bitnet_tokenize_options *options);
/* hf_decode.c */
enum bitnet_status hf_decode(const struct bitnet_tokenizer *tokenizer, const int32_t *ids, size_t n,
                             bool with_special, struct bitnet_buf *out, struct bitnet_error *err);
/* hf_normalize.c: appends the normalized text. False: the buffer is_full, or out of memory. */
bool hf_normalize(const struct hf *hf, struct bitnet_str text, struct bitnet_buf *out);

/* Pieces of a text, while they are cut finer and rewritten. */
struct hf_piece {
    size_t begin, end;
};
struct hf_pieces {
    struct bitnet_buf text;
    bool at_start; /* the first one begins where the input begins */
    struct hf_piece *at;
    size_t n, cap;
};
void hf_pieces_free(struct hf_pieces *pieces);
/* hf_split.c: runs all splitters over `text`. `is_start`: it begins the whole input. */
bool hf_split(const struct hf *hf, struct bitnet_str text, bool is_start, struct hf_pieces *pieces);
/* hf_decode.c: copies, with U+FFFD for what is no UTF-8. */
bool hf_make_valid(struct bitnet_str text, struct bitnet_buf *out);
/* hf_normalize.c: replaces every `what` by `by`. */
bool hf_replace(struct bitnet_buf *out, struct bitnet_str text, struct bitnet_str what,
                struct bitnet_str by);
bool hf_replace_regex(struct bitnet_buf *out, struct bitnet_str text, const struct regex *regex,
                      struct bitnet_str by);

#endif
