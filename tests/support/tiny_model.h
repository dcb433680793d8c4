/* A small model made from a seed: trits, scales, norms and embeddings as plain arrays; a GGUF of
 * it in any type; and its forward pass in naive double precision, written apart from the library,
 * as the oracle of the runtime's tests. */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include "bitnet/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tiny_linear_name {
    TINY_Q,
    TINY_K,
    TINY_V,
    TINY_O,
    TINY_GATE,
    TINY_UP,
    TINY_DOWN,
    TINY_LINEARS
};
enum tiny_norm_name { TINY_ATTN_NORM, TINY_SUB_NORM, TINY_FFN_NORM, TINY_FFN_SUB_NORM, TINY_NORMS };

struct tiny_spec {
    const char *arch; /* GGUF name */
    uint32_t n_layers, n_embd, n_ffn, n_heads, n_kv_heads, head_dim, n_rot, n_vocab, n_context;
    float rope_base;
    bool own_output; /* an output matrix beside the embedding */
    bool rope_freqs; /* divisors of the angles */
    bool vocabulary; /* an SPM vocabulary of single bytes: needs n_vocab >= 259; else "no_vocab" */
    bool row_scales; /* every row of a linear has its own scale */
    uint64_t seed;
};

struct tiny_linear {
    size_t rows, cols;
    int8_t *trits;
    float *scales;    /* [rows], binary16 holds each */
    float *floats;    /* instead of trits when not NULL: the layer is dense */
    uint8_t *encoded; /* the file's bytes of floats, when a type was chosen for them */
};

struct tiny_layer {
    struct tiny_linear linear[TINY_LINEARS];
    float *norm[TINY_NORMS];
};

struct tiny_model {
    struct tiny_spec spec;
    bool has_sub_norms, squared_relu, halves;
    struct tiny_layer *layers;
    float *embed;  /* [n_vocab][n_embd], binary16 holds each */
    float *output; /* the same as embed unless own_output */
    float *output_norm;
    float *freqs;
};

/* The three shapes that most tests use: every type can hold them. */
struct tiny_spec tiny_spec_b158(void);
struct tiny_spec tiny_spec_bitnet(void);
struct tiny_spec tiny_spec_llama(void);

/* Aborts when out of memory: it is a test's helper. */
struct tiny_model *tiny_model_new(const struct tiny_spec *spec);
void tiny_model_free(struct tiny_model *model);
/* Replaces the linear layers by random floats as `type` holds them: encoded and decoded. */
void tiny_model_make_dense(struct tiny_model *model, enum bitnet_dtype type);

struct tiny_file {
    enum bitnet_dtype linear, embed;
    bool extra_scale;         /* linears hold -1, 0, +1, the scale is a tensor beside */
    const char *extra_tensor; /* an F32 tensor that no role claims */
    bool no_tiles;            /* leave out the tile keys of TL1 and TL2 */
    uint32_t tile_version;    /* 0: no such key */
    enum bitnet_dialect dialect;
};
/* Writes the GGUF; false (with a line on stderr) when a type cannot hold it. */
bool tiny_model_write(const struct tiny_model *model, const char *path,
                      const struct tiny_file *file);

struct tiny_oracle {
    bool int8_activations;
    bool f32_cache; /* keys and values are not rounded to binary16 */
    /* Where it is not NULL: what the judged program has in its cache, element i of a layer's keys
     * or values at a position. The oracle goes on with that, after checking that it is its own
     * value as binary16 or a neighbour of it: a rounding that falls the other way is no error, and
     * must not hide one. */
    double (*cached)(void *user, size_t layer, bool is_value, size_t position, size_t i);
    void *user;
};
/* logits[n][n_vocab] of every token. */
void tiny_model_logits(const struct tiny_model *model, const int32_t *tokens, size_t n,
                       const struct tiny_oracle *how, double *logits);

/* A path of its own for this process under the temporary folder; static buffer per call site is
 * the caller's. */
void tiny_path(char *path, size_t n, const char *name);

/* splitmix64, for tests that need more random numbers. */
uint64_t tiny_random(uint64_t *state);
double tiny_uniform(uint64_t *state); /* [0, 1) */

#endif
