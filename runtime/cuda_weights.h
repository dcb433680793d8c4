/* A model's weights on a CUDA device: the device that was chosen for a model, and the way of a
 * tensor's trits or bytes to it. Trits arrive in slices of rows from several threads and are packed
 * on the device, once; everything else keeps the bytes of its file type.
 *
 * Device addresses are typed as what lies there, and nobody on this side follows them. */
#ifndef BITNET_RUNTIME_CUDA_WEIGHTS_H
#define BITNET_RUNTIME_CUDA_WEIGHTS_H

#include "bitnet/device.h"
#include "bitnet/dtype.h"
#include "bitnet/error.h"

#include "../kernels/cuda/cuda.h"

#include <pthread.h>

struct cuda_weights {
    struct bitnet_cuda_plugin plugin;
    const struct bitnet_cuda_api *api;
    struct bitnet_cuda *cuda; /* for uploading; every context opens its own */
    int index;
    char id[16];          /* "cuda:0" */
    char name[128];       /* "NVIDIA H100 80GB HBM3" */
    char kernels[16];     /* "cuda-sm90" */
    pthread_mutex_t lock; /* of all below, and of `cuda` */
    int8_t *staging;      /* trits on their way, on the device */
    size_t n_staging;
    bool has_failed; /* the device, not the file, is why an upload ended */
};

/* Opens the plug-in and the device. On failure nothing is left open and `why` has one line. */
bool cuda_weights_open(struct cuda_weights **weights, const char *plugin_path, int index, char *why,
                       size_t why_size);
/* Frees all that was put there. NULL is fine. */
void cuda_weights_close(struct cuda_weights *weights);

/* Whether products with rows of this type run there as the file has them. */
bool cuda_weights_reads(enum bitnet_dtype type, enum bitnet_cuda_dense *dense);

/* Room for the trits of a matrix, then its rows: `row` is a multiple of 16, and all rows come
 * before the matrix is used. Any thread. Fails with MEMORY or DEVICE. */
enum bitnet_status cuda_weights_new_trits(struct cuda_weights *weights, size_t rows, size_t cols,
                                          const uint8_t **at, uint64_t *n_bytes,
                                          struct bitnet_error *err);
enum bitnet_status cuda_weights_put_trits(struct cuda_weights *weights, const uint8_t *at,
                                          const int8_t *trits, size_t row, size_t n, size_t cols,
                                          struct bitnet_error *err);
/* A copy of these bytes on the device. Any thread. */
enum bitnet_status cuda_weights_put(struct cuda_weights *weights, const void *bytes, size_t n,
                                    const void **at, struct bitnet_error *err);
void cuda_weights_drop(struct cuda_weights *weights, const void *at); /* NULL is fine */

/* What the device said, as an error of this status; the device forgets it and can go on. */
enum bitnet_status cuda_error(const struct bitnet_cuda_api *api, struct bitnet_cuda *cuda,
                              enum bitnet_status status, struct bitnet_error *err);

#endif
