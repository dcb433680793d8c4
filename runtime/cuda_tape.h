/* What forward.c says, written down: one entry for each verb, in order. A tape is emitted as
 * launches when the step has been said to its end, so that neighbours become one launch, and floats
 * that nobody reads any more are not written, without forward.c knowing. */
#ifndef BITNET_RUNTIME_CUDA_TAPE_H
#define BITNET_RUNTIME_CUDA_TAPE_H

#include "backend.h"

#include "../kernels/cuda/cuda.h"

enum tape_verb {
    TAPE_EMBED,
    TAPE_ANGLES,
    TAPE_NORM,
    TAPE_NORM_HEADS,
    TAPE_MULTIPLY,
    TAPE_ROPE,
    TAPE_REMEMBER,
    TAPE_ATTEND,
    TAPE_GATE,
    TAPE_ADD
};

struct tape_op {
    enum tape_verb verb;
    bool is_local;
    size_t n;            /* tokens */
    size_t n_heads;      /* norm_heads, rope */
    size_t layer, first; /* remember, attend */
    struct vectors x, y; /* as the verb's arguments are named; remember: keys, values */
    const float *weight;
    size_t n_products;
    struct {
        const struct matrix *matrix;
        struct vectors y;
    } products[BITNET_CUDA_PRODUCTS];
};

struct tape {
    struct tape_op *ops; /* [n_max] */
    size_t n, n_max;
};

/* Verbs that a step of this model says at most. */
size_t tape_length(const struct bitnet_model *model);
/* The next entry, to be filled. */
struct tape_op *tape_add(struct tape *tape, enum tape_verb verb, size_t n);

/* What launches need beside the tape. */
struct tape_player {
    const struct bitnet_cuda_api *api;
    struct bitnet_cuda *cuda;
    const struct bitnet_model *model;
    const struct bitnet_cuda_token *tokens; /* of the step, on the device */
    struct angles angles, local_angles;
    struct bitnet_cuda_codes codes;         /* room for one input of a linear layer */
    struct bitnet_cuda_attention attention; /* layer and window are the entry's */
};

/* Puts the tape's work on the device; false when the device refuses. */
bool tape_play(const struct tape *tape, const struct tape_player *player);

#endif
