/* A checkpoint, computed: logits straight from config.json and the tensors, by the mathematics of
 * transformers' modeling code and with nothing that writes or runs a GGUF: names, activation, rope,
 * norms and the meaning of scales are read here a second time. What a file computes is held against
 * this, so a mistake in a descriptor, in a row of the plan or in the runtime shows as a number.
 *
 * Activations are floats everywhere, because rounded ones (int8) would make two right programs
 * differ; keys and values alone pass through binary16, as every runtime's cache holds them. */
#ifndef CONVERT_REFERENCE_H
#define CONVERT_REFERENCE_H

#include "bitnet/pool.h"

#include "config.h"
#include "source.h"

enum reference_gate { REFERENCE_SILU, REFERENCE_RELU2, REFERENCE_GELU_TANH };

/* The numbers of config.json that the mathematics needs. */
struct reference_numbers {
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim;
    double norm_eps, rope_base, local_rope_base; /* local: gemma3's sliding layers */
    size_t window;                               /* tokens that those see */
    bool is_local[BITNET_LAYERS_MAX];            /* which those are */
    double rope_factor;                          /* linear scaling; 1: none */
    double stretch_factor, low_freq_factor, high_freq_factor,
        original_context; /* llama3; 0: none */
    double query_scale;   /* scores are multiplied by it */
    double embed_scale;
    enum reference_gate gate;
    bool is_gemma; /* native norms multiply by 1 + w; norms behind attention and feed-forward */
    bool is_tied;
    bool has_masters;     /* linear layers are made ternary by absmean when they run */
    bool scales_multiply; /* weight_scale of packed layers: multiply, or divide by it */
};

/* From config.json's text. UNSUPPORTED for a model_type whose mathematics is not written down here;
 * FORMAT, LIMIT, MEMORY. */
enum bitnet_status reference_numbers_parse(struct reference_numbers *numbers,
                                           struct bitnet_str text, struct bitnet_error *err);

/* One thing done otherwise than config.json says: to find out what a wrong file does. */
struct reference_change {
    const char *words; /* "the activation is SiLU" */
    bool has_gate;
    enum reference_gate gate;
    bool rope_in_pairs;  /* rows of q and k are turned as neighbours instead of halves */
    bool other_rope;     /* base 10000 where another is said, 500000 where 10000 is */
    bool inverse_scales; /* of packed layers */
    bool no_inner_norms; /* those before the output projections, or inside linear layers */
    bool no_embed_scale; /* and native norms without the one */
};

/* Other numbers for tensors that a file holds rounded: what is left to be compared is then the
 * mathematics alone. */
struct reference_rounding {
    /* Is this tensor one of them? Until the next call, row() then gives its rows, in the order of
     * the checkpoint, to any number of threads. */
    enum bitnet_status (*begin)(void *user, const struct st_tensor *tensor, bool *is_rounded,
                                struct bitnet_error *err);
    void (*row)(void *user, size_t row, float *out);
    void *user;
};

struct reference_job {
    const struct source *source;
    const struct config *config; /* modules_to_not_convert, and nothing else, is taken from it */
    const struct reference_numbers *numbers;
    const struct reference_change *change;     /* NULL: none */
    const struct reference_rounding *rounding; /* NULL: none */
    struct bitnet_pool *pool;
    const int32_t *tokens;
    size_t n;        /* evaluated, from an empty context */
    size_t n_logits; /* the logits of the first so many are kept */
};

struct reference_result {
    size_t n_vocab;
    float *logits; /* [n_logits][n_vocab] */
    double nats;   /* sum of -ln p(tokens[i + 1]) over i = 0 .. n - 2 */
};

/* Memory: activations of n tokens for the widest layer, and the logits. FORMAT naming a tensor that
 * is missing or has another shape, MEMORY. On failure *result is {0}. */
enum bitnet_status reference_run(const struct reference_job *job, struct reference_result *result,
                                 struct bitnet_error *err);
void reference_result_free(struct reference_result *result);

#endif
