/* The CUDA plug-in's border: plain C, opaque handles, no CUDA type. `bitnet-cuda.so` exports one
 * function, bitnet_cuda_api(), which is found at run time (<bitnet/device.h>); nobody links it, and
 * the plug-in finds the driver at run time too.
 *
 * Every verb only puts work on the device's one stream and returns; read() and sync() wait. Device
 * addresses are `void *` or typed pointers that the host never follows. All functions return true,
 * or false after a failure that last_error() tells in one line; a failure sticks to the device
 * until clear_error(). One thread at a time uses a `struct bitnet_cuda`, any thread; several of
 * them may be open on one device and read the same memory.
 *
 * Numbers. Integer sums are exact, and norm, quantization, rescale, gates, RoPE and products of
 * floats follow the fixed order of <bitnet/kernels.h>, so they are bit-equal with every CPU set.
 * Attention has its own fixed order (chunks of BITNET_CUDA_CHUNK keys), and so have products of
 * blocks (Q8_0, Q6_K, Q4_0): the same bits for every batch, within bounds of the CPU's that the
 * tests state. */
#ifndef BITNET_CUDA_H
#define BITNET_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITNET_CUDA_ABI      6
#define BITNET_CUDA_PRODUCTS 3   /* matrices that share an input, at most */
#define BITNET_CUDA_CHUNK    128 /* keys that attention reduces before it combines */

struct bitnet_cuda;
struct bitnet_cuda_graph;

struct bitnet_cuda_info {
    char name[128];
    int compute_major, compute_minor;
    int n_multiprocessors, max_threads;            /* max_threads: of one block */
    uint64_t memory_bytes, l2_bytes, shared_bytes; /* shared: of one block, at most */
};

struct bitnet_cuda_stats {
    uint64_t n_launches, n_graph_launches, n_failures;
    uint64_t bytes_to_device, bytes_to_host;
    uint64_t memory_used; /* of our own allocations, now */
    uint64_t memory_free, memory_total;
};

/* Failures to order for tests: the n-th call from now on fails (1: the next). */
enum bitnet_cuda_fault { BITNET_CUDA_FAULT_ALLOC, BITNET_CUDA_FAULT_LAUNCH };

/* Fast ways that only some devices have. Each gives the numbers of the way that it replaces, as far
 * as its line says. */
enum bitnet_cuda_path {
    BITNET_CUDA_WGMMA, /* ternary products of many tokens by Hopper's instructions: the same bits */
    /* Attention on tensor cores (sm_80 and later, heads of 8, 16, ... 128): factors in two halves,
     * so results are as near to the CPU's as those of the plain way; other bits. */
    BITNET_CUDA_TENSOR_ATTENTION,
    /* A kernel's blocks come in while the one before it ends (sm_90 and later): the same bits. Who
     * puts own work between our verbs on the native stream has to switch it off. */
    BITNET_CUDA_EARLY_LAUNCH,
    BITNET_CUDA_PATHS
};

/* One token of a step. `cache` is its sequence's: [layer][key, value][kv head][cell][head_dim] of
 * binary16, so tokens of several sequences share a step, and several texts share a cache. */
struct bitnet_cuda_token {
    int32_t id;
    int32_t position;   /* in its text: its angles */
    int32_t cell;       /* that it goes to */
    int32_t first_cell; /* of its text: it sees cells first_cell .. cell, or the window's last */
    uint16_t *cache;
};

enum bitnet_cuda_dense {
    BITNET_CUDA_F32,
    BITNET_CUDA_F16,
    BITNET_CUDA_BF16,
    BITNET_CUDA_Q8_0,
    BITNET_CUDA_Q6_K,
    BITNET_CUDA_Q4_0,
    BITNET_CUDA_DENSE_COUNT
};
enum bitnet_cuda_gate { BITNET_CUDA_SILU, BITNET_CUDA_RELU2, BITNET_CUDA_GELU };

/* [n][width] floats, rows `stride` apart. */
struct bitnet_cuda_vectors {
    float *at;
    size_t width, stride;
};

/* Quantized activations in the order of device_layout.h: [n][device_code_bytes(width)]. */
struct bitnet_cuda_codes {
    uint32_t *words;
    float *scales; /* [n], what the floats were multiplied by */
    int32_t *sums; /* [n], of the codes */
};

/* Ternary weights in the layout of device_layout.h, and where the product goes: [n][rows]. */
struct bitnet_cuda_product {
    const uint32_t *weights;
    size_t rows;
    float scale;             /* multiplies every result, unless: */
    const float *row_scales; /* [rows], or NULL */
    float *y;
    size_t y_stride;
};

struct bitnet_cuda_attention {
    size_t n_heads, n_kv_heads, head_dim, n_cells;
    size_t layer;
    size_t n_keys; /* no token's text reaches more cells; bounds the launch */
    size_t window; /* a token sees the last `window` cells of its text at most; 0: all of them */
    float scale;
    bool one_sequence; /* neighbours in the step have mostly the same cache: a hint for speed */
    float *scratch;    /* attention_scratch() floats */
};

/* What one pass over a row of weights tells, as kernels/quantizer.h defines it. */
struct bitnet_cuda_row_facts {
    double sum_abs;
    uint32_t largest, smallest; /* magnitudes as bits; smallest: of those above 0, or 0xffffffff */
};

enum bitnet_cuda_file_type { BITNET_CUDA_TO_I2_S, BITNET_CUDA_TO_TL2, BITNET_CUDA_TO_TQ2_0 };

/* Finite weights x[rows][cols] into the n_bytes of a tensor whose shape the type admits. TQ2_0
 * finds its own scales. */
struct bitnet_cuda_encoding {
    enum bitnet_cuda_file_type type;
    const float *x;
    size_t rows, cols;
    size_t tile_rows, tile_cols; /* TL2 */
    float inverse;               /* a trit is x * inverse, rounded; 0: the sign of x */
    float scale;                 /* that the file says */
    uint8_t *out;
    size_t n_bytes;
};

struct bitnet_cuda_api {
    uint32_t abi;

    /* What is there. `why` gets one line when there is no device: "no driver", ... */
    int (*count)(char *why, size_t why_size);
    bool (*info)(int index, struct bitnet_cuda_info *info);
    bool (*memory)(int index, uint64_t *free_bytes, uint64_t *total_bytes);

    /* NULL with a line in `why`. */
    struct bitnet_cuda *(*open)(int index, char *why, size_t why_size);
    void (*close)(struct bitnet_cuda *cuda);
    const char *(*last_error)(const struct bitnet_cuda *cuda); /* "" without one */
    void (*clear_error)(struct bitnet_cuda *cuda);
    void (*stats)(struct bitnet_cuda *cuda, struct bitnet_cuda_stats *stats);
    void (*reset_stats)(struct bitnet_cuda *cuda);
    void (*inject)(struct bitnet_cuda *cuda, enum bitnet_cuda_fault fault, uint64_t nth);
    /* Whether a fast way is taken, from now on; at first all are that the device has. Graphs keep
     * what they were recorded with. False: the device has no such way. */
    bool (*use)(struct bitnet_cuda *cuda, enum bitnet_cuda_path path, bool is_wanted);
    /* The cudaStream_t, for a caller who orders own work with ours. */
    void *(*native_stream)(struct bitnet_cuda *cuda);

    void *(*alloc)(struct bitnet_cuda *cuda, size_t bytes); /* NULL: see last_error() */
    void (*free)(struct bitnet_cuda *cuda, void *at);
    /* `from` is the caller's again at once; another `struct bitnet_cuda` of the device sees the
     * bytes, and all that verbs did, after sync(). */
    bool (*write)(struct bitnet_cuda *cuda, void *to, const void *from, size_t bytes);
    bool (*read)(struct bitnet_cuda *cuda, void *to, const void *from, size_t bytes);
    bool (*zero)(struct bitnet_cuda *cuda, void *at, size_t bytes);
    bool (*sync)(struct bitnet_cuda *cuda);

    /* Verbs between begin and end become a graph instead of running. */
    bool (*graph_begin)(struct bitnet_cuda *cuda);
    struct bitnet_cuda_graph *(*graph_end)(struct bitnet_cuda *cuda);
    bool (*graph_run)(struct bitnet_cuda *cuda, struct bitnet_cuda_graph *graph);
    void (*graph_free)(struct bitnet_cuda *cuda, struct bitnet_cuda_graph *graph);

    /* [rows][cols] trits on the device -> the device layout. */
    bool (*pack)(struct bitnet_cuda *cuda, const int8_t *trits, size_t rows, size_t cols,
                 uint32_t *weights);

    /* x[t] = row tokens[t].id of the table [.][x.width] of this type, times `scale`. */
    bool (*embed)(struct bitnet_cuda *cuda, enum bitnet_cuda_dense type, const void *table,
                  float scale, const struct bitnet_cuda_token *tokens, size_t n,
                  struct bitnet_cuda_vectors x);
    /* cosines and sines [n][n_rot / 2] of the tokens' positions; steps [n_rot / 2] in radians. A
     * model with local layers has two pairs of them, and remember() takes either. */
    bool (*angles)(struct bitnet_cuda *cuda, const struct bitnet_cuda_token *tokens, size_t n,
                   const double *steps, struct bitnet_cuda_vectors cosines,
                   struct bitnet_cuda_vectors sines);
    /* y = RMS norm of x by `weight`; y.at may be NULL when only `codes` of it are wanted;
     * codes.words may be NULL. Without a weight: x itself is quantized (and copied). */
    bool (*norm)(struct bitnet_cuda *cuda, struct bitnet_cuda_vectors x, const float *weight,
                 float eps, size_t n, struct bitnet_cuda_vectors y, struct bitnet_cuda_codes codes);
    /* x[t] += addend[t], then as norm() of it. */
    bool (*add_norm)(struct bitnet_cuda *cuda, struct bitnet_cuda_vectors x,
                     struct bitnet_cuda_vectors addend, const float *weight, float eps, size_t n,
                     struct bitnet_cuda_vectors y, struct bitnet_cuda_codes codes);
    /* gate[t] = act(gate[t]) * up[t], then as norm() of it. */
    bool (*gate_norm)(struct bitnet_cuda *cuda, enum bitnet_cuda_gate act,
                      struct bitnet_cuda_vectors gate, struct bitnet_cuda_vectors up,
                      const float *weight, float eps, size_t n, struct bitnet_cuda_vectors y,
                      struct bitnet_cuda_codes codes);
    /* RMS norm of each of the n_heads heads of x[t], by the same weight [x.width / n_heads], in
     * place. */
    bool (*norm_heads)(struct bitnet_cuda *cuda, struct bitnet_cuda_vectors x, size_t n_heads,
                       const float *weight, float eps, size_t n);
    bool (*ternary)(struct bitnet_cuda *cuda, struct bitnet_cuda_codes x, size_t cols, size_t n,
                    const struct bitnet_cuda_product *products, size_t n_products);
    /* y[t][r] = (row r of the weights times x[t]) * scale, or * row_scales[r] where there are some.
     */
    bool (*dense)(struct bitnet_cuda *cuda, enum bitnet_cuda_dense type, const void *weights,
                  size_t rows, float scale, const float *row_scales, struct bitnet_cuda_vectors x,
                  size_t n, float *y, size_t y_stride);
    /* Rotates q and k, and puts k and v into the tokens' cells. */
    bool (*remember)(struct bitnet_cuda *cuda, const struct bitnet_cuda_attention *shape,
                     const struct bitnet_cuda_token *tokens, size_t n, size_t n_rot, bool halves,
                     struct bitnet_cuda_vectors cosines, struct bitnet_cuda_vectors sines,
                     struct bitnet_cuda_vectors q, struct bitnet_cuda_vectors k,
                     struct bitnet_cuda_vectors v);
    size_t (*attention_scratch)(const struct bitnet_cuda_attention *shape, size_t n);
    /* q[t] = attention of q[t] over its cells, in place. */
    bool (*attend)(struct bitnet_cuda *cuda, const struct bitnet_cuda_attention *shape,
                   const struct bitnet_cuda_token *tokens, size_t n, struct bitnet_cuda_vectors q);
    /* gate[t] = act(gate[t]) * up[t] */
    bool (*gate)(struct bitnet_cuda *cuda, enum bitnet_cuda_gate act,
                 struct bitnet_cuda_vectors gate, struct bitnet_cuda_vectors up, size_t n);
    /* x[t] += y[t] */
    bool (*add)(struct bitnet_cuda *cuda, struct bitnet_cuda_vectors x,
                struct bitnet_cuda_vectors y, size_t n);
    /* ids[t] = the lowest index of the largest logit; -1 when one is NaN or the largest is
     * infinite: then the host has to look. */
    bool (*argmax)(struct bitnet_cuda *cuda, struct bitnet_cuda_vectors logits, size_t n,
                   int32_t *ids);

    /* Weights into files: facts[rows] of x[rows][cols]; bytes. All addresses are the device's. */
    bool (*measure)(struct bitnet_cuda *cuda, const float *x, size_t rows, size_t cols,
                    struct bitnet_cuda_row_facts *facts);
    bool (*encode)(struct bitnet_cuda *cuda, const struct bitnet_cuda_encoding *what);
};

#if defined(__cplusplus)
#    define BITNET_CUDA_EXPORT extern "C" __attribute__((visibility("default")))
#else
#    define BITNET_CUDA_EXPORT
#endif
BITNET_CUDA_EXPORT const struct bitnet_cuda_api *bitnet_cuda_api(void);

#endif
