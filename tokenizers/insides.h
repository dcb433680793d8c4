/* What a tokenizer is made of, for the files of this room. Makers (from_*.c) fill it; encode.c,
 * decode.c and to_gguf.c read it. Nothing in it changes after it was made, except `reach`, a memo
 * that every thread would fill with the same values. */
#ifndef BITNET_TOKENIZERS_INSIDES_H
#define BITNET_TOKENIZERS_INSIDES_H

#include <bitnet/arena.h>
#include <bitnet/text.h>
#include <bitnet/tokenizer.h>

#include "merge.h"
#include "pre.h"
#include "special.h"
#include "spm_shim.h"
#include "vocab.h"
#include "words.h"

/* Does merging the spelling of a token give that token? Learnt when first asked. */
enum reach {
    REACH_UNKNOWN,
    REACH_YES,
    REACH_NO,
    REACH_ADDED /* no token of the model: only cut out, never merged to */
};

/* Special tokens that swallow the white space beside them, by a name in the file (llama.cpp). */
enum strip_rule { STRIP_NONE, STRIP_LEFT_OF_MASK, STRIP_RIGHT };

struct named_template {
    struct bitnet_str name, text;
};

struct hf;

struct bitnet_tokenizer {
    enum bitnet_tokenizer_kind kind;
    struct bitnet_arena arena; /* texts and small arrays that live as long as the tokenizer */
    struct vocab vocab;
    struct merge_table merges; /* empty for SPM: its scores are in `vocab` */
    const struct pre *pre;     /* NULL: llama.cpp has no name for it (from a tokenizer.json only) */
    bool ignore_merges;
    bool clean_spaces;
    bool by_chars;             /* BPE by rank over characters, not bytes: see pre_is_by_chars() */
    uint32_t byte_symbol[256]; /* BPE: symbol that spells the byte. SPM, by_chars: its token.
                                * MERGE_NO_ID: there is none */
    uint8_t *reach;            /* [n_tokens] enum reach, read and written with relaxed atomics */
    bool space_joins[256];     /* this byte stands before U+2581 inside some token */
    bool knows_space;          /* U+2581 is a token of the model */
    struct split_pass
        passes[SPLIT_MAX_PASSES]; /* BPE: how text is cut; those of `pre`, or of `hf` */
    size_t n_passes;
    struct regex **regexes; /* [n_regexes] that passes use */
    size_t n_regexes, regexes_cap;
    struct words words;    /* UNIGRAM, WORDPIECE, RWKV */
    struct spm_shim *shim; /* of a .model file: libsentencepiece; NULL: sentencepiece.c does it */
    struct bitnet_special_tokens special;
    int32_t cls, mask;
    uint8_t
        id_order[8]; /* [n_ids]: bos, eos, unk, sep, pad, cls, mask (0 to 6) as they were found */
    size_t n_ids;    /* 0: in that order */
    uint32_t n_segments; /* WORDPIECE: type_vocab_size of the model; 0: unknown */
    bool add_bos_is_given, add_eos_is_given; /* the source says so, it is no default */
    bool add_space_prefix_is_given;
    bool add_bos_token, add_eos_token; /* what it says, for the GGUF */
    int32_t ends[4]; /* by the file's word: eom, and three of fill-in-the-middle */
    int32_t *eog;    /* [n_eog], in `arena` */
    size_t n_eog;
    enum strip_rule strip_rule;
    struct special_list specials;
    struct bitnet_str chat_template;  /* in `arena` */
    struct named_template *templates; /* [n_templates], in `arena`: all but the default */
    size_t n_templates;
    struct hf *hf; /* NULL: llama.cpp's rules; else the pipeline of a tokenizer.json */
};

/* An empty tokenizer; NULL: out of memory. */
struct bitnet_tokenizer *tokenizer_new(enum bitnet_tokenizer_kind kind);
/* What every maker does last, when vocabulary, merges, pre and special ids are there: symbols of
 * bytes, the list of special tokens, the end-of-generation set. */
enum bitnet_status tokenizer_finish(struct bitnet_tokenizer *tokenizer, struct bitnet_error *err);

/* A finished byte-level tokenizer cuts text as `pre` says from now on. Nobody else may use it yet.
 */
enum bitnet_status tokenizer_set_pre(struct bitnet_tokenizer *tokenizer, const struct pre *pre,
                                     struct bitnet_error *err);
/* from_gguf.c: as bitnet_tokenizer_from_gguf(); `pre` stands in for the file's word (NULL: what the
 * file says counts, and is repaired if it must be). */
enum bitnet_status tokenizer_read_gguf(struct bitnet_tokenizer **tokenizer,
                                       const struct bitnet_gguf *gguf, const char *pre,
                                       const struct bitnet_log *log, struct bitnet_error *err);
/* from_dir.c: the tokenizer of the vocabulary after `n` others in the folder, whose path is
 * appended to `path`. */
enum bitnet_status tokenizer_from_dir_nth(struct bitnet_tokenizer **tokenizer, const char *dir,
                                          size_t n, struct bitnet_buf *path,
                                          const struct bitnet_log *log, struct bitnet_error *err);
/* from_dir.c: takes the chat templates that the documents of a folder hold, if any. */
enum bitnet_status tokenizer_adopt_templates(struct bitnet_tokenizer *tokenizer, const char *dir,
                                             struct bitnet_error *err);
/* identify.c: which name a finished byte-level tokenizer needs. Leaves it with another one: call
 * tokenizer_set_pre() afterwards. */
enum bitnet_status tokenizer_identify_pre(struct bitnet_tokenizer *tokenizer,
                                          struct bitnet_pre_identity *identity,
                                          struct bitnet_error *err);

/* Compiles an expression that lives as long as the tokenizer. */
enum bitnet_status tokenizer_add_regex(struct bitnet_tokenizer *tokenizer, struct bitnet_str source,
                                       const struct regex **regex, struct bitnet_error *err);
/* Finds eot and the end-of-generation set; again when the special ids have changed. */
enum bitnet_status tokenizer_find_eog(struct bitnet_tokenizer *tokenizer, struct bitnet_error *err);

/* Adds the next token with the checks that every source needs. FORMAT: the spelling is taken;
 * LIMIT, MEMORY. */
enum bitnet_status tokenizer_add_token(struct bitnet_tokenizer *tokenizer, struct bitnet_str text,
                                       enum bitnet_token_type type, float score,
                                       struct bitnet_error *err);
/* The value of "<0xHH>": exactly six characters; or -1. */
int byte_of_token(struct bitnet_str text);

/* from_json.c: the text of a tokenizer.json, still to be finished. */
enum bitnet_status tokenizer_read_json(struct bitnet_tokenizer **tokenizer, struct bitnet_str json,
                                       const struct bitnet_log *log, struct bitnet_error *err);
/* Makes it ready: pads the vocabulary to n_vocab ids (0: no), finishes it, finds the name of its
 * pre-tokenizer. LIMIT of the model: more tokens than n_vocab is FORMAT. */
enum bitnet_status tokenizer_finish_json(struct bitnet_tokenizer *tokenizer, size_t n_vocab,
                                         struct bitnet_error *err);
/* from_spm.c: a SentencePiece .model, still to be finished. */
enum bitnet_status tokenizer_read_spm(struct bitnet_tokenizer **tokenizer, struct bitnet_bytes file,
                                      struct bitnet_error *err);
/* probe.c: the name under which llama.cpp knows a byte-level tokenizer.json, or NULL. */
enum bitnet_status probe_pre(const struct bitnet_tokenizer *tokenizer, const struct pre **pre,
                             struct bitnet_error *err);

/* The state of one call of tokenize. */
struct encoder {
    const struct bitnet_tokenizer *tokenizer;
    struct bitnet_tokens *out;
    struct merge_work merge;
    struct merge_work again; /* for unused pieces, which are taken apart */
    struct split_work split;
    struct bitnet_buf text; /* the text as the merges see it */
    bool after_unknown;     /* the last id was the unknown piece of a .model */
    char *spelling;         /* room for two bytes per byte of the longest token */
    struct bitnet_error *err;
};

/* Appends the ids of a text that holds no special token. */
enum bitnet_status bpe_encode(struct encoder *encoder, struct bitnet_str text);
/* The same for one word of it. */
enum bitnet_status bpe_encode_word(struct encoder *encoder, struct bitnet_str word);
/* bpe_chars.c: text whose spaces are U+2581 already, well-formed as encode.c makes it. */
enum bitnet_status bpe_chars_encode(struct encoder *encoder, struct bitnet_str text);
enum bitnet_status spm_encode(struct encoder *encoder, struct bitnet_str text, bool with_prefix);
/* The same for text whose spaces are U+2581 already. It may lie in encoder->text. */
enum bitnet_status spm_encode_normal(struct encoder *encoder, struct bitnet_str text);
/* The token of this spelling; bytes, or the unknown token, when there is none but a control token.
 */
enum bitnet_status spm_emit(struct encoder *encoder, struct bitnet_str spelling);
/* What BPE over characters shares with it. Spaces become U+2581; false: out of memory. */
bool spm_escape_spaces(struct bitnet_buf *out, struct bitnet_str text);
/* The end of the piece that begins at `begin`: no merge joins what is on both sides of it. */
size_t spm_piece_end(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text,
                     size_t begin);
/* A token per byte. FORMAT: the vocabulary has none for one of them. */
enum bitnet_status spm_emit_bytes(struct encoder *encoder, const char *bytes, size_t n);
enum bitnet_status sentencepiece_encode_text(struct encoder *encoder, struct bitnet_str text);
enum bitnet_status sentencepiece_decode(const struct bitnet_tokenizer *tokenizer,
                                        const int32_t *ids, size_t n, bool with_special,
                                        struct bitnet_buf *out, struct bitnet_error *err);

static inline enum bitnet_status encoder_emit(struct encoder *encoder, uint32_t id)
{
    if (bitnet_tokens_add(encoder->out, (int32_t)id)) return BITNET_OK;
    return bitnet_fail(encoder->err, BITNET_MEMORY, "out of memory for the tokens of a text");
}

/* Remembers, or asks, whether merging gives this token. */
static inline enum reach reach_of(const struct bitnet_tokenizer *tokenizer, uint32_t id)
{
    return (enum reach)__atomic_load_n(&tokenizer->reach[id], __ATOMIC_RELAXED);
}

static inline void reach_learn(const struct bitnet_tokenizer *tokenizer, uint32_t id, bool reached)
{
    __atomic_store_n(&tokenizer->reach[id], (uint8_t)(reached ? REACH_YES : REACH_NO),
                     __ATOMIC_RELAXED);
}

#endif
