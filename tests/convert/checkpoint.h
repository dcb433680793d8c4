/* A checkpoint made from a seed, in every spelling that a converter meets, together with what it
 * means: the numbers that a model made of it computes with. Written apart from the library, so that
 * it can judge it: own packing, own absmean, own order of rows. */
#ifndef TEST_CHECKPOINT_H
#define TEST_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cp_arch { CP_LLAMA, CP_BITNET_B158, CP_BITNET, CP_QWEN3, CP_GEMMA3 };
enum cp_storage {
    CP_PLAIN,           /* floats of `dtype` */
    CP_TERNARY,         /* floats of `dtype` that are exactly -s, 0, +s; no quantization_config */
    CP_MASTERS,         /* floats of `dtype`, quantization_mode online */
    CP_PACKED_MULTIPLY, /* autobitlinear */
    CP_PACKED_DIVIDE    /* bitlinear */
};

struct cp_spec {
    enum cp_arch arch;
    enum cp_storage storage;
    const char *dtype; /* of linear floats: "BF16" (NULL), "F16", "F32", "F64" */
    uint32_t n_layers, n_embd, n_ffn, n_heads, n_kv_heads, head_dim, n_vocab;
    bool untied;
    unsigned n_shards; /* 0: one model.safetensors */
    uint64_t seed;
    float embed_spread; /* of the numbers in embedding and output matrix; 0: 0.5 */
    bool has_norms_in;  /* a norm on the input of each projection */
    bool has_no_prefix; /* names without "model.": a backbone saved alone */
    bool ends_texts;    /* the tokenizer puts </s> after a text */
    /* Instead of the config.json that the fields above give: a format for width, feed-forward
     * width, layers, heads, key heads, head size, vocabulary, as %1$u to %7$u. */
    const char *config;
};

struct cp_tensor {
    char name[96];     /* in the checkpoint */
    char gguf[64];     /* in GGUF; empty: none (weight_scale) */
    const char *dtype; /* in the checkpoint */
    uint32_t n_dims;
    size_t dims[2]; /* in the checkpoint, slowest first */
    uint8_t *bytes; /* in the checkpoint */
    size_t n_bytes;
    /* What it means, rows in the order of GGUF: */
    size_t rows, cols;
    float *values; /* NULL for weight_scale */
    int8_t *trits; /* NULL unless ternary */
    float scale;
};

struct checkpoint {
    struct cp_spec spec;
    struct cp_tensor *tensors;
    size_t n;
    char config[4096];
};

/* Small, legal for every type, with numbers of heads that make a wrong permutation show. */
struct cp_spec cp_spec_small(enum cp_arch arch, enum cp_storage storage);
/* Aborts when out of memory: it is a test's helper. */
struct checkpoint *cp_new(const struct cp_spec *spec);
void cp_free(struct checkpoint *cp);
/* Writes config.json, tokenizer.json and the shards into the folder. */
void cp_write(const struct checkpoint *cp, const char *dir);
/* The tensor with this GGUF name. */
const struct cp_tensor *cp_find(const struct checkpoint *cp, const char *gguf);
/* Gives a packed linear these trits (rows in the order of the checkpoint; no permuted tensor) and
 * this scale, which bf16 holds. */
void cp_set_trits(struct checkpoint *cp, const char *gguf, const int8_t *trits, float scale);
/* One safetensors file of tensors first, first + step, ...; for tests that change things. */
void cp_write_shard(const struct checkpoint *cp, const char *path, size_t first, size_t step);

#endif
