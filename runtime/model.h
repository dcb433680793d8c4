/* The bound model: every role's tensor, ready for forward.c. Immutable after open, shared by
 * threads and contexts. Roles index the tables, so nothing here names an architecture.
 *
 * A model lies in one place as a whole: in this machine's memory, or on a device. There, every norm
 * and every matrix's bytes and scales are addresses of the device. */
#ifndef BITNET_RUNTIME_MODEL_H
#define BITNET_RUNTIME_MODEL_H

#include "bitnet/runtime.h"

#include "cuda_weights.h"
#include "budget.h"
#include "matrix.h"

/* What one layer holds, or, for roles without a layer, the model. Absent: norm NULL, rows 0. */
struct layer {
    float *norm[BITNET_ROLE_COUNT]; /* vectors as f32; owned unless they are on a device */
    struct matrix matrix[BITNET_ROLE_COUNT];
};

/* Rows of the token embedding, decoded one at a time. */
struct embedding {
    struct bitnet_layout layout;
    const struct bitnet_codec *codec; /* NULL: `decoded` has the rows */
    const uint8_t *bytes;             /* in the mapping */
    size_t row_bytes;
    /* Not NULL: the rows lie in the file, and a copy of them is read elsewhere; so that memory does
     * not fill with both, their pages are released after each look-up. */
    const struct bitnet_tensor *released;
    const float *decoded; /* [n_vocab][n_embd], owned by the embedding's matrix */
    float scale;          /* of every row */
};

struct bitnet_model {
    struct bitnet_gguf *gguf;
    bool gguf_is_borrowed;
    struct bitnet_tokenizer *tokenizer; /* NULL: none was found */
    struct bitnet_discovery discovery;  /* how it was found */
    struct bitnet_error no_tokenizer;   /* why it was not */
    const struct bitnet_arch *arch;
    struct bitnet_hparams hparams;
    struct bitnet_kernel_set kernels;
    bitnet_gate_fn *gate;
    struct embedding embedding;
    struct layer global;
    struct layer *layers;        /* [n_layers] */
    const struct matrix *output; /* the output matrix: its own, or the token embedding's */
    uint8_t *room;               /* all packed trits, one after the other; owned */
    uint64_t room_bytes;
    double *rope_steps;       /* [n_rot / 2] radians per position */
    double *local_rope_steps; /* of local layers; NULL: there are none */
    float query_scale;        /* of q * k */
    uint64_t n_parameters, tensor_bytes, packed_bytes;
    struct budget *budget;       /* of this machine's memory; contexts ask it too */
    struct cuda_weights *device; /* where its weights lie; NULL: here */
    const double *device_rope_steps, *device_local_rope_steps;
    char device_reason[512]; /* why it is on the CPU although a device was asked for; or "" */
};

#endif
