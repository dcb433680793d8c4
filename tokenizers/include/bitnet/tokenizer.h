/* Text <-> token ids. A tokenizer follows the rules of the engine that owns its source: a GGUF
 * vocabulary is tokenized as llama.cpp does, a tokenizer.json as Hugging Face tokenizers do
 * (tokenizers.md section 1). Text is bytes with a length; any bytes are legal. */
#ifndef BITNET_TOKENIZER_H
#define BITNET_TOKENIZER_H

#include "bitnet/gguf.h"

/* Immutable after it was made, so any number of threads may encode and decode with it. */
struct bitnet_tokenizer;

enum bitnet_tokenizer_kind {
    BITNET_TOKENIZER_BPE,       /* BPE by rank: "gpt2" (over bytes), "gemma4" (characters) */
    BITNET_TOKENIZER_SPM,       /* SentencePiece-style BPE by scores: "llama" in GGUF */
    BITNET_TOKENIZER_UNIGRAM,   /* the best path by scores: "t5" in GGUF */
    BITNET_TOKENIZER_WORDPIECE, /* the longest piece first: "bert" in GGUF */
    BITNET_TOKENIZER_RWKV,      /* the longest byte string first: "rwkv" in GGUF */
    BITNET_TOKENIZER_WORDS      /* whole words; in tokenizer.json only */
};

enum bitnet_token_type { /* numbers are GGUF's */
                         BITNET_TOKEN_UNDEFINED = 0,
                         BITNET_TOKEN_NORMAL = 1,
                         BITNET_TOKEN_UNKNOWN = 2,
                         BITNET_TOKEN_CONTROL = 3,
                         BITNET_TOKEN_USER = 4,
                         BITNET_TOKEN_UNUSED = 5,
                         BITNET_TOKEN_BYTE = 6
};

#define BITNET_NO_TOKEN (-1)

/* Special ids; BITNET_NO_TOKEN where there is none. */
struct bitnet_special_tokens {
    int32_t bos, eos, eot, unk, sep, pad;
    bool add_bos, add_eos, add_space_prefix;
};

/* From the metadata of an open GGUF (which may be closed afterwards). FORMAT (key or token named),
 * UNSUPPORTED (model or pre-tokenizer by name), LIMIT, MEMORY. Warnings (a missing pre-tokenizer
 * on a known vocabulary is repaired, by name) go to `log`. */
enum bitnet_status bitnet_tokenizer_from_gguf(struct bitnet_tokenizer **tokenizer,
                                              const struct bitnet_gguf *gguf,
                                              const struct bitnet_log *log,
                                              struct bitnet_error *err);

/* What tokenizer.ggml.pre should say: files of converters that did not know their vocabulary lack
 * the key or say "default", and then words are cut wrongly. */
struct bitnet_pre_identity {
    const char *name;     /* "llama-bpe"; NULL: nobody knows this vocabulary, or it needs no name */
    const char *evidence; /* half a sentence; NULL without a name */
    bool is_proven;       /* by the ids of llama.cpp's probe text, not by special tokens alone */
};
/* From the vocabulary alone, whatever the file says. Fails as bitnet_tokenizer_from_gguf(). */
enum bitnet_status bitnet_tokenizer_identify_pre(const struct bitnet_gguf *gguf,
                                                 struct bitnet_pre_identity *identity,
                                                 struct bitnet_error *err);
/* Whether tokenizer.ggml.pre may have this name. */
bool bitnet_tokenizer_knows_pre(struct bitnet_str name);
/* From a folder with tokenizer.json (and, if there, tokenizer_config.json, generation_config.json
 * and config.json for special ids, flags and the chat template). `n_vocab` is the model's number of
 * embedding rows: ids beyond the vocabulary become "[PAD<id>]"; 0: as many as there are. */
enum bitnet_status bitnet_tokenizer_from_dir(struct bitnet_tokenizer **tokenizer, const char *dir,
                                             size_t n_vocab, const struct bitnet_log *log,
                                             struct bitnet_error *err);
/* From one file, told by its contents (a tokenizer.json, a SentencePiece .model, a tiktoken file,
 * vocab.json or merges.txt of a pair, vocab.txt, RWKV's list), and the documents beside it. */
enum bitnet_status bitnet_tokenizer_from_file(struct bitnet_tokenizer **tokenizer, const char *path,
                                              const struct bitnet_log *log,
                                              struct bitnet_error *err);
/* From the text of a tokenizer.json alone. */
enum bitnet_status bitnet_tokenizer_from_json(struct bitnet_tokenizer **tokenizer,
                                              struct bitnet_str json, const struct bitnet_log *log,
                                              struct bitnet_error *err);
/* From a SentencePiece .model file (a protobuf); gives SentencePiece's own ids. */
enum bitnet_status bitnet_tokenizer_from_spm(struct bitnet_tokenizer **tokenizer,
                                             struct bitnet_bytes file, struct bitnet_error *err);
/* From a tiktoken file (a line per token: Base64, space, rank); gives tiktoken's own ids, without
 * special tokens unless they are asked for. The file does not say how text is cut: `pre` names it
 * as a GGUF would, or is NULL for the vocabularies that are known (Llama 3, Qwen, GPT-2,
 * cl100k_base, o200k_base), which also brings their special tokens. FORMAT (the line is named),
 * UNSUPPORTED (a vocabulary nobody knows, and `pre` NULL), LIMIT, MEMORY. */
enum bitnet_status bitnet_tokenizer_from_tiktoken(struct bitnet_tokenizer **tokenizer,
                                                  struct bitnet_str file, const char *pre,
                                                  struct bitnet_error *err);
void bitnet_tokenizer_free(struct bitnet_tokenizer *tokenizer); /* NULL is fine */

/* Whose answers count where they differ (tokenizers.md section 1). Without a word it is the engine
 * that owns the source. */
enum bitnet_compat {
    BITNET_COMPAT_SOURCE,
    BITNET_COMPAT_LLAMACPP, /* as llama.cpp answers with the GGUF that its converter makes */
    BITNET_COMPAT_HF        /* as Hugging Face tokenizers answer with the model's tokenizer.json */
};
/* "llama.cpp", "hf"; NULL is BITNET_COMPAT_SOURCE. False: there is no such word. */
bool bitnet_compat_from_name(const char *name, enum bitnet_compat *compat);
/* What it follows now; SOURCE for SentencePiece's own rules. */
enum bitnet_compat bitnet_tokenizer_compat(const struct bitnet_tokenizer *tokenizer);
/* Replaces *tokenizer by one of the same vocabulary that follows `compat`; nothing to do when it
 * does already. UNSUPPORTED, in words, when the other engine cannot run this tokenizer; then
 * *tokenizer is as it was. */
enum bitnet_status bitnet_tokenizer_follow(struct bitnet_tokenizer **tokenizer,
                                           enum bitnet_compat compat, const struct bitnet_log *log,
                                           struct bitnet_error *err);

enum bitnet_tokenizer_kind bitnet_tokenizer_kind(const struct bitnet_tokenizer *tokenizer);
/* "llama-bpe", "default", ...: the pre-tokenizer's name as GGUF has it. */
const char *bitnet_tokenizer_pre(const struct bitnet_tokenizer *tokenizer);
size_t bitnet_tokenizer_size(const struct bitnet_tokenizer *tokenizer);
const struct bitnet_special_tokens *
bitnet_tokenizer_special(const struct bitnet_tokenizer *tokenizer);
/* True for eos, eot and every other end-of-generation token. False for ids out of range. */
bool bitnet_token_is_eog(const struct bitnet_tokenizer *tokenizer, int32_t id);
enum bitnet_token_type bitnet_token_type(const struct bitnet_tokenizer *tokenizer, int32_t id);
/* The vocabulary's own spelling ("Ġthe", "▁the"); empty for ids out of range. */
struct bitnet_str bitnet_token_text(const struct bitnet_tokenizer *tokenizer, int32_t id);
/* The id of a spelling, or BITNET_NO_TOKEN. */
int32_t bitnet_token_find(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text);
/* Jinja source; n == 0 when there is none. */
struct bitnet_str bitnet_chat_template(const struct bitnet_tokenizer *tokenizer);

struct bitnet_tokenize_options {
    bool no_special;    /* do not add bos and eos, whatever the vocabulary says */
    bool parse_special; /* text that spells a control token becomes that token */
};

/* A list of ids that grows; begins as {0}. */
struct bitnet_tokens {
    int32_t *at;
    size_t n, cap;
};
void bitnet_tokens_free(struct bitnet_tokens *tokens);
bool bitnet_tokens_add(struct bitnet_tokens *tokens, int32_t id); /* false: out of memory */

/* Appends the ids of `text`. Time is n log n at worst. `options` NULL: defaults. MEMORY, LIMIT;
 * FORMAT when an SPM vocabulary cannot spell a byte of the text. (A byte-level one that lacks a
 * byte, as Falcon lacks the vertical tab, leaves it out, as llama.cpp and Hugging Face do.) */
enum bitnet_status bitnet_tokenize(const struct bitnet_tokenizer *tokenizer, struct bitnet_str text,
                                   const struct bitnet_tokenize_options *options,
                                   struct bitnet_tokens *tokens, struct bitnet_error *err);

/* The bytes of one token, appended to `out` (a piece may end in the middle of a character). Control
 * tokens give nothing unless `with_special`. Ids out of range give nothing. False: out of memory.
 */
struct bitnet_buf;
bool bitnet_token_piece(const struct bitnet_tokenizer *tokenizer, int32_t id, bool with_special,
                        struct bitnet_buf *out);
/* The whole text of a sequence: pieces, minus the space that add_space_prefix put in front. */
enum bitnet_status bitnet_detokenize(const struct bitnet_tokenizer *tokenizer, const int32_t *ids,
                                     size_t n, bool with_special, struct bitnet_buf *out,
                                     struct bitnet_error *err);

/* Streaming: pieces come out only as whole UTF-8 characters. Begins as {0}. */
struct bitnet_stream {
    char held[4];
    size_t n_held;
    bool started;
};
/* Appends to `out` what is complete now. `id` BITNET_NO_TOKEN ends: what is still held comes out
 * as U+FFFD. False: out of memory. */
bool bitnet_stream_token(struct bitnet_stream *stream, const struct bitnet_tokenizer *tokenizer,
                         int32_t id, bool with_special, struct bitnet_buf *out);

/* ------------------------------------------------------------------ chat templates */

struct bitnet_chat_message {
    struct bitnet_str role, content;
};

/* What a chat template is rendered with. Everything is borrowed for the call. */
struct bitnet_json;
struct bitnet_chat {
    struct bitnet_str text;                     /* the template, in Jinja */
    const struct bitnet_chat_message *messages; /* [n_messages] */
    size_t n_messages;
    const struct bitnet_json *messages_json; /* instead of messages: with tool calls and the like */
    const struct bitnet_json *tools;         /* NULL: undefined */
    struct bitnet_str bos_token, eos_token;  /* NULL: undefined */
    bool add_generation_prompt;
    struct bitnet_str date; /* what strftime_now() gives; NULL: "" */
};

/* Appends the prompt, to be tokenized with no_special and parse_special. FORMAT: the template is
 * damaged, or raises an error itself (its words are in the text); UNSUPPORTED: a construct, filter
 * or function by name; LIMIT: its budget of steps, memory or output is spent. */
enum bitnet_status bitnet_chat_render(const struct bitnet_chat *chat, struct bitnet_buf *out,
                                      struct bitnet_error *err);
/* The same with the template and the tokens of a vocabulary. UNSUPPORTED when it has none. The
 * template that bitnet.cpp's converter puts into its files is replaced by the models' own. */
enum bitnet_status bitnet_chat_prompt(const struct bitnet_tokenizer *tokenizer,
                                      const struct bitnet_chat_message *messages, size_t n,
                                      bool add_generation_prompt, struct bitnet_buf *out,
                                      struct bitnet_error *err);

/* Appends a tokenizer.json that Hugging Face tokenizers load with equal ids (special tokens parsed,
 * as they always are there). UNSUPPORTED: what its schema cannot hold, by name. */
enum bitnet_status bitnet_tokenizer_export_json(const struct bitnet_tokenizer *tokenizer,
                                                struct bitnet_buf *out, struct bitnet_error *err);

/* Writes all tokenizer.* keys as llama.cpp's converter does (tokenizers.md section 13), with names
 * of pre-tokenizers that the readers of the writer's dialect know. */
enum bitnet_status bitnet_tokenizer_to_gguf(const struct bitnet_tokenizer *tokenizer,
                                            struct bitnet_gguf_writer *writer,
                                            struct bitnet_error *err);

#endif
