/* A SentencePiece .model file: a protobuf message ModelProto of pieces, trainer and normalizer
 * settings. Comes in: bytes of unknown honesty; goes out: what a tokenizer needs of them. Source:
 * sentencepiece_model.proto (tokenizers.md section 15); what is refused: reliability.md section 13.
 */
#ifndef BITNET_TOKENIZERS_SPM_MODEL_H
#define BITNET_TOKENIZERS_SPM_MODEL_H

#include "vocab.h"

struct spm_piece {
    struct bitnet_str text;
    float score;
    enum bitnet_token_type type;
};

enum spm_algorithm { SPM_UNIGRAM = 1, SPM_BPE = 2, SPM_WORD = 3, SPM_CHAR = 4 };

/* Texts point into the file, which must outlive it. */
struct spm_model {
    struct spm_piece *pieces; /* [n] by id */
    size_t n, cap;
    enum spm_algorithm algorithm;
    bool byte_fallback, suffix_spaces;
    int32_t unk, bos, eos, pad; /* BITNET_NO_TOKEN: none */
    struct bitnet_str unk_surface;
    struct bitnet_bytes charsmap, denormalizer;
    bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
    bool has_denormalizer;
};

/* FORMAT (the byte or piece is named), LIMIT, UNSUPPORTED, MEMORY; then *model is empty. */
enum bitnet_status spm_model_read(struct spm_model *model, struct bitnet_bytes file,
                                  struct bitnet_error *err);
void spm_model_free(struct spm_model *model);

#endif
