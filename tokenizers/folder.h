/* A model folder as far as tokenizers are concerned: which vocabulary it holds, and the documents
 * beside it that say what its special tokens are. Comes in: a path; goes out: texts and trees. */
#ifndef BITNET_TOKENIZERS_FOLDER_H
#define BITNET_TOKENIZERS_FOLDER_H

#include <bitnet/json.h>

/* In the order in which they are looked for (tokenizers.md section 17). */
enum folder_kind {
    FOLDER_JSON,     /* tokenizer.json */
    FOLDER_MODEL,    /* tokenizer.model or spiece.model: SentencePiece */
    FOLDER_TIKTOKEN, /* tokenizer.model with lines of Base64, or a *.tiktoken */
    FOLDER_MERGES,   /* vocab.json with merges.txt */
    FOLDER_WORDS,    /* vocab.txt */
    FOLDER_RWKV      /* rwkv_vocab_v20230424.txt */
};

/* One JSON file; `root` is NULL when the file is absent. */
struct document {
    struct bitnet_str text;
    struct bitnet_arena arena;
    const struct bitnet_json *root;
};

struct folder {
    const char *dir;
    size_t n_skip; /* vocabularies still to be passed over */
    enum folder_kind kind;
    char *name;                 /* of the vocabulary's file */
    struct bitnet_str vocab;    /* its text */
    struct bitnet_str merges;   /* MERGES: that of merges.txt */
    struct bitnet_str model;    /* JSON: the .model beside it; NULL: there is none */
    struct bitnet_str template; /* chat_template.jinja; NULL: there is none */
    struct document tokenizer_config, config, generation, added, special_map;
};

/* The first vocabulary of the folder, or the one after `n_skip` others. NOT_FOUND when there is
 * none; FORMAT, LIMIT, MEMORY with the file's name. On failure the folder still wants
 * folder_close(). */
enum bitnet_status folder_open(struct folder *folder, const char *dir, size_t n_skip,
                               struct bitnet_error *err);
/* One file as the vocabulary, told by its contents, and the documents beside it. */
enum bitnet_status folder_open_file(struct folder *folder, const char *dir, const char *name,
                                    struct bitnet_error *err);
/* Only what speaks of chat templates: tokenizer_config.json and chat_template.jinja. */
enum bitnet_status folder_open_templates(struct folder *folder, const char *dir,
                                         struct bitnet_error *err);
void folder_close(struct folder *folder);

#endif
