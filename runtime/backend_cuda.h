/* A step on a CUDA device: what a context has there. */
#ifndef BITNET_RUNTIME_BACKEND_CUDA_H
#define BITNET_RUNTIME_BACKEND_CUDA_H

#include "carver.h"
#include "cuda_tape.h"

#define CUDA_GRAPHS_MAX 16u
/* A step of more tokens is launched anew every time: its work hides what that costs. */
#define CUDA_GRAPH_TOKENS_MAX 128u
/* A wider batch is of no use to a device, and its launches have a limit. */
#define CUDA_BATCH_MAX     8192u
#define CUDA_BATCH_DEFAULT 2048u
#define CUDA_HEAD_DIM_MAX  256u /* of its attention */

/* What two steps have in common that run the same graph. */
struct cuda_step_shape {
    size_t n, n_kept, n_keys;
    bool one_sequence, wants_ids;
};

struct cuda_graph {
    struct cuda_step_shape shape;
    struct bitnet_cuda_graph *graph;
    uint64_t last_use;
};

struct cuda_step {
    const struct bitnet_cuda_api *api;
    struct bitnet_cuda *cuda;         /* its own stream and errors */
    struct bitnet_cuda_token *staged; /* [batch] on the host */
    struct bitnet_cuda_token *tokens; /* [batch] from here on: on the device */
    struct bitnet_cuda_codes codes;
    float *scratch; /* of attention */
    float *results; /* [kept rows][result_width] */
    int32_t *ids;   /* [kept rows] of the largest logits */
    struct tape tape;
    struct cuda_graph graphs[CUDA_GRAPHS_MAX];
    uint64_t n_uses, n_failures; /* of graphs; of steps */
    char last_error[256];
};

extern const struct backend backend_cuda;

/* Opens the device of the context's model for it. Fails with DEVICE. */
enum bitnet_status cuda_step_open(struct bitnet_context *c, struct bitnet_error *err);
/* NULL members are fine. */
void cuda_step_close(struct bitnet_context *c);
/* The memory that steps need beside activations and cache: on the host, on the device. */
void cuda_step_carve(struct bitnet_context *c, struct carver *host, struct carver *device);

#endif
