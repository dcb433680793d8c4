/* A device of ours: its stream, its error, its counters; and how a verb launches. Private to the
 * plug-in. */
#ifndef BITNET_CUDA_DEVICE_CUH
#define BITNET_CUDA_DEVICE_CUH

#include "cuda.h"
#include "portable.cuh"

struct allocation; /* device.cu */

struct bitnet_cuda {
    int index;
    cudaStream_t stream;
    cudaDeviceProp properties;
    struct bitnet_cuda_stats stats;
    struct allocation *allocations;
    uint64_t fault_at[2]; /* by bitnet_cuda_fault: calls until one fails; 0: never */
    bool has[BITNET_CUDA_PATHS], uses[BITNET_CUDA_PATHS];
    bool is_capturing;
    bool was_kernel; /* the last thing put on the stream, in this recording if there is one */
    /* Pinned memory that small writes pass through, so that none waits for its copy. */
    uint8_t *staging;
    size_t staged; /* bytes of it in use since the last wait */
    char error[256];
};

/* Remembers the first failure. Returns false. */
bool cuda_fail(struct bitnet_cuda *cuda, const char *what, cudaError_t error);
/* False, with the reason remembered, when the device has failed before or a test ordered a failure.
 */
bool cuda_may_launch(struct bitnet_cuda *cuda, const char *verb);
/* Looks for a launch error; counts. */
bool cuda_launched(struct bitnet_cuda *cuda, const char *verb);

/* Puts a kernel on the device's stream. */
template <typename... P, typename... A>
static inline void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                          struct bitnet_cuda *cuda, A... arguments)
{
    launch_kernel(kernel, grid, block, shared, cuda->stream,
                  cuda->uses[BITNET_CUDA_EARLY_LAUNCH] && cuda->was_kernel, arguments...);
    cuda->was_kernel = true;
}

static inline unsigned ceil_div(size_t n, size_t d)
{
    return (unsigned)((n + d - 1) / d);
}

/* The verbs, as cuda.h describes them. */
bool cuda_pack(struct bitnet_cuda *, const int8_t *, size_t, size_t, uint32_t *);
bool cuda_embed(struct bitnet_cuda *, enum bitnet_cuda_dense, const void *, float,
                const struct bitnet_cuda_token *, size_t, struct bitnet_cuda_vectors);
bool cuda_angles(struct bitnet_cuda *, const struct bitnet_cuda_token *, size_t, const double *,
                 struct bitnet_cuda_vectors, struct bitnet_cuda_vectors);
bool cuda_norm(struct bitnet_cuda *, struct bitnet_cuda_vectors, const float *, float, size_t,
               struct bitnet_cuda_vectors, struct bitnet_cuda_codes);
bool cuda_add_norm(struct bitnet_cuda *, struct bitnet_cuda_vectors, struct bitnet_cuda_vectors,
                   const float *, float, size_t, struct bitnet_cuda_vectors,
                   struct bitnet_cuda_codes);
bool cuda_gate_norm(struct bitnet_cuda *, enum bitnet_cuda_gate, struct bitnet_cuda_vectors,
                    struct bitnet_cuda_vectors, const float *, float, size_t,
                    struct bitnet_cuda_vectors, struct bitnet_cuda_codes);
bool cuda_norm_heads(struct bitnet_cuda *, struct bitnet_cuda_vectors, size_t, const float *, float,
                     size_t);
bool cuda_ternary(struct bitnet_cuda *, struct bitnet_cuda_codes, size_t, size_t,
                  const struct bitnet_cuda_product *, size_t);
bool cuda_dense(struct bitnet_cuda *, enum bitnet_cuda_dense, const void *, size_t, float,
                const float *, struct bitnet_cuda_vectors, size_t, float *, size_t);
bool cuda_remember(struct bitnet_cuda *, const struct bitnet_cuda_attention *,
                   const struct bitnet_cuda_token *, size_t, size_t, bool,
                   struct bitnet_cuda_vectors, struct bitnet_cuda_vectors,
                   struct bitnet_cuda_vectors, struct bitnet_cuda_vectors,
                   struct bitnet_cuda_vectors);
size_t cuda_attention_scratch(const struct bitnet_cuda_attention *, size_t);
bool cuda_attend(struct bitnet_cuda *, const struct bitnet_cuda_attention *,
                 const struct bitnet_cuda_token *, size_t, struct bitnet_cuda_vectors);
bool cuda_gate(struct bitnet_cuda *, enum bitnet_cuda_gate, struct bitnet_cuda_vectors,
               struct bitnet_cuda_vectors, size_t);
bool cuda_add(struct bitnet_cuda *, struct bitnet_cuda_vectors, struct bitnet_cuda_vectors, size_t);
bool cuda_argmax(struct bitnet_cuda *, struct bitnet_cuda_vectors, size_t, int32_t *);
bool cuda_measure(struct bitnet_cuda *, const float *, size_t, size_t,
                  struct bitnet_cuda_row_facts *);
bool cuda_encode(struct bitnet_cuda *, const struct bitnet_cuda_encoding *);

#endif
