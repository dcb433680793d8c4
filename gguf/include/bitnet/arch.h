/* Architectures as data. A descriptor says which tensors a model holds, how they are named in a
 * checkpoint and in GGUF, what shape they must have, and which traits the forward pass follows.
 * Convert reads the columns left, bind reads them right, validate reads all. Nobody compares
 * architecture names: what differs is a trait.
 *
 * Sources: formats.md sections 6 and 7 (transformers' models/bitnet and models/llama; llama.cpp
 * and ik_llama.cpp for the GGUF names). */
#ifndef BITNET_ARCH_H
#define BITNET_ARCH_H

#include "bitnet/gguf.h"

#define BITNET_LAYERS_MAX 1024

/* Sizes that shapes are made of. */
enum bitnet_dim {
    BITNET_DIM_NONE,  /* 1-dimensional: the second of a pair */
    BITNET_DIM_VOCAB, /* n_vocab */
    BITNET_DIM_EMBED, /* n_embd */
    BITNET_DIM_FFN,   /* n_ffn */
    BITNET_DIM_Q,     /* n_heads * head_dim */
    BITNET_DIM_KV,    /* n_kv_heads * head_dim */
    BITNET_DIM_HEAD,  /* head_dim */
    BITNET_DIM_ROT2   /* n_rot / 2 */
};

enum bitnet_role {
    BITNET_ROLE_TOKEN_EMBED,
    BITNET_ROLE_OUTPUT_NORM,
    BITNET_ROLE_OUTPUT,
    BITNET_ROLE_ROPE_FREQS,
    BITNET_ROLE_ATTN_NORM,
    BITNET_ROLE_ATTN_Q,
    BITNET_ROLE_ATTN_K,
    BITNET_ROLE_ATTN_V,
    BITNET_ROLE_ATTN_SUB_NORM,
    BITNET_ROLE_ATTN_OUTPUT,
    BITNET_ROLE_FFN_NORM,
    BITNET_ROLE_FFN_GATE,
    BITNET_ROLE_FFN_UP,
    BITNET_ROLE_FFN_SUB_NORM,
    BITNET_ROLE_FFN_DOWN,
    BITNET_ROLE_ATTN_Q_NORM,    /* of each head, before rope */
    BITNET_ROLE_ATTN_K_NORM,    /* the same */
    BITNET_ROLE_ATTN_POST_NORM, /* of what the attention adds to the stream */
    BITNET_ROLE_FFN_POST_NORM,  /* of what the feed-forward layers add */
    /* Of the input of one projection each (BitNet-embedding). */
    BITNET_ROLE_ATTN_Q_NORM_IN,
    BITNET_ROLE_ATTN_K_NORM_IN,
    BITNET_ROLE_ATTN_V_NORM_IN,
    BITNET_ROLE_ATTN_OUTPUT_NORM_IN,
    BITNET_ROLE_FFN_GATE_NORM_IN,
    BITNET_ROLE_FFN_UP_NORM_IN,
    BITNET_ROLE_FFN_DOWN_NORM_IN,
    BITNET_ROLE_COUNT
};

enum bitnet_tensor_kind {
    BITNET_TENSOR_EMBED, /* token embedding or output matrix: --embd-type, --output-type */
    BITNET_TENSOR_NORM,  /* small vector, always f32 in the file */
    BITNET_TENSOR_LINEAR /* the matrices that BitNet makes ternary: --qtype */
};

/* What a converter does to the rows of a tensor. */
enum bitnet_row_order {
    BITNET_ROWS_AS_THEY_ARE,
    BITNET_ROWS_ROPE_Q, /* halves -> interleaved pairs, per query head (formats.md 6.4) */
    BITNET_ROWS_ROPE_KV /* the same per key head */
};

struct bitnet_tensor_role {
    enum bitnet_role role;
    const char *gguf;   /* "blk.%u.attn_q.weight"; "%u" is the layer, absent for the others */
    const char *source; /* "model.layers.%u.self_attn.q_proj.weight"; NULL: not in checkpoints */
    enum bitnet_dim rows, cols; /* a vector has rows = its length, cols = NONE */
    enum bitnet_tensor_kind kind;
    enum bitnet_row_order order;
    bool is_optional;
    bool is_shifted;  /* the checkpoint holds w - 1 (Gemma's norms) */
    bool is_together; /* all tensors of this kind are there, in every layer, or none is */
};

enum bitnet_gate { BITNET_GATE_SILU, BITNET_GATE_RELU2, BITNET_GATE_GELU };
enum bitnet_rope_kind { BITNET_ROPE_PAIRS, BITNET_ROPE_HALVES };
/* "silu", "relu2", "gelu" (by tanh) */
const char *bitnet_gate_name(enum bitnet_gate gate);

struct bitnet_arch {
    const char *name; /* GGUF's general.architecture: "bitnet-b1.58", "bitnet", "llama" */
    const char *const *source_names; /* config.json's architectures[0], NULL-terminated */
    const struct bitnet_tensor_role *roles;
    size_t n_roles;
    enum bitnet_gate gate;
    enum bitnet_rope_kind rope;
    bool has_sub_norms;
    bool has_local_layers; /* some layers see a window only and have a rope base of their own */
    bool scales_embedding; /* a token's row is multiplied by sqrt(width) */
    /* Without a key, queries of a model with this many layers are scaled by width / heads instead
     * of the head size (how llama.cpp knows Gemma 3 27B); 0: of none. */
    uint32_t layers_scaled_by_width;
    unsigned dialects; /* bit per enum bitnet_dialect: whose runtimes know the architecture ... */
    unsigned dialects_with_norms_in; /* ... and which of them the norms of projections */
};

size_t bitnet_arch_count(void);
const struct bitnet_arch *bitnet_arch_at(size_t i);
/* By GGUF name; aliases ("bitnet-25") included. NULL when unknown. */
const struct bitnet_arch *bitnet_arch_by_name(struct bitnet_str name);

/* How vectors of tokens become the vector of a text: the key "pooling_type", less 1. */
enum bitnet_pooling {
    BITNET_POOLING_UNSAID, /* the file says nothing: no model for embeddings */
    BITNET_POOLING_NONE,   /* a vector per token */
    BITNET_POOLING_MEAN,
    BITNET_POOLING_CLS, /* the first token's */
    BITNET_POOLING_LAST
};

/* The numbers of one model, every one checked against its limit and against the others. */
struct bitnet_hparams {
    uint32_t n_layers;
    uint32_t n_embd;
    uint32_t n_ffn;
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t n_rot;
    uint32_t n_vocab;
    uint32_t n_context; /* trained */
    float norm_eps;
    float rope_base;
    float rope_scale;  /* linear: positions are divided by it; 1 without scaling */
    float query_scale; /* of q * k before softmax; 0: 1 / sqrt(head_dim) */
    uint32_t window;   /* tokens that a local layer sees, itself included; 0: no local layers */
    uint32_t window_period; /* every so many layers, the last of them is not local */
    float local_rope_base;  /* of local layers, which know no rope_scale */
    enum bitnet_pooling pooling;
};

/* Whether this layer sees a window only. */
static inline bool bitnet_layer_is_local(const struct bitnet_hparams *hparams, uint32_t layer)
{
    return hparams->window != 0 && (layer + 1) % hparams->window_period != 0;
}

/* Limits: layers 1..1024, width 1..1048576, ffn 1..8388608, head size 1..8192, heads divide the
 * width where head_dim is derived, kv heads divide heads, n_rot even and <= head_dim, eps and base
 * finite and positive; with a window, a period of 2 or more and a local base. LIMIT or FORMAT, with
 * the number's name in words ("layer count 0") and what is allowed. */
enum bitnet_status bitnet_hparams_check(const struct bitnet_hparams *hparams,
                                        struct bitnet_error *err);
/* From metadata "<arch>.*"; n_vocab from the token list, or the embedding's rows. */
enum bitnet_status bitnet_hparams_from_gguf(struct bitnet_hparams *hparams,
                                            const struct bitnet_arch **arch,
                                            const struct bitnet_gguf *gguf,
                                            struct bitnet_error *err);
/* Writes the same keys (the caller writes general.*). */
void bitnet_hparams_to_gguf(const struct bitnet_hparams *hparams, const struct bitnet_arch *arch,
                            struct bitnet_gguf_writer *writer);

uint64_t bitnet_dim_size(const struct bitnet_hparams *hparams, enum bitnet_dim dim);
/* The role's tensor of this layer in GGUF, shape checked against the hyper-parameters: *tensor is
 * NULL when it is optional and absent. FORMAT: missing, or "shape 64 x 32, expected 32 x 64". */
enum bitnet_status bitnet_arch_find(const struct bitnet_tensor **tensor,
                                    const struct bitnet_arch *arch,
                                    const struct bitnet_hparams *hparams,
                                    const struct bitnet_gguf *gguf, enum bitnet_role role,
                                    uint32_t layer, struct bitnet_error *err);
/* All of the above for every role and layer: what `validate` at level model and bind rely on. */
enum bitnet_status bitnet_arch_validate(const struct bitnet_gguf *gguf, struct bitnet_error *err);

#endif
