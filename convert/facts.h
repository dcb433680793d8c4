/* What a certificate says about a GGUF, measured: each tensor's type, shape, values and scale, how
 * the model computes, what its tokenizer makes of fixed texts. The one who writes a certificate and
 * the one who checks it measure with the same code and compare. */
#ifndef CONVERT_FACTS_H
#define CONVERT_FACTS_H

#include "bitnet/arch.h"
#include "bitnet/arena.h"
#include "bitnet/logical.h"
#include "bitnet/tokenizer.h"

struct tensor_fact {
    const struct bitnet_tensor *tensor;
    uint8_t digest[BITNET_DIGEST_BYTES]; /* logical: values, free of their spelling */
    bool has_trits;
    uint8_t trits[BITNET_DIGEST_BYTES]; /* of the trits alone */
    bool has_scale;                     /* one for the whole tensor */
    float scale;
};

#define FACTS_PROBES 8

struct facts {
    struct bitnet_arena arena;
    const struct bitnet_arch *arch;
    uint8_t digest[BITNET_DIGEST_BYTES]; /* of the model, logical */
    struct tensor_fact *tensors;         /* in the order of the file */
    size_t n_tensors;
    struct bitnet_str pre;             /* tokenizer.ggml.pre; n 0: missing */
    struct bitnet_str tokenizer_model; /* tokenizer.ggml.model */
    struct bitnet_tokens ids[FACTS_PROBES];
};

/* Fails as opening and decoding do. On failure *facts is {0}. Text lives as long as `gguf`. */
enum bitnet_status facts_measure(struct facts *facts, const struct bitnet_gguf *gguf,
                                 enum bitnet_i2_s_order i2_s_order, struct bitnet_error *err);
void facts_free(struct facts *facts);
struct bitnet_str facts_probe(size_t i);
/* "silu", "relu2" */
const char *facts_activation(const struct bitnet_arch *arch);

/* SHA-256 of trits[rows][cols]: rows, cols, then one byte for each trit, trit + 1. False: no
 * memory. */
bool facts_trits_digest(const int8_t *trits, size_t rows, size_t cols,
                        uint8_t digest[BITNET_DIGEST_BYTES]);
/* Where a Hub cache has a folder or file from: ".../models--user--repo/snapshots/<revision>...".
 * False when the path is no such place; `repository` ("user/repo") is the caller's to free. */
struct bitnet_buf;
bool facts_origin(const char *path, struct bitnet_buf *repository, struct bitnet_str *revision);
/* SHA-256 of a certificate's text up to its member "certificate_sha256", white space between the
 * parts of the JSON left out. False: no memory. */
bool facts_seal(struct bitnet_str text, uint8_t digest[BITNET_DIGEST_BYTES]);
/* SHA-256 of a file's bytes. NOT_FOUND, IO. */
enum bitnet_status facts_file_digest(const char *path, uint64_t *n_bytes,
                                     uint8_t digest[BITNET_DIGEST_BYTES], struct bitnet_error *err);
/* 64 hexadecimal digits and a NUL. */
void facts_hex(const uint8_t digest[BITNET_DIGEST_BYTES], char hex[65]);

#endif
