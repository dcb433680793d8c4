/* The verbs that forward.c is written in, each over a batch of tokens: a table for each device, and
 * each context has one. They are the border to the device: forward.c never touches an activation
 * itself. On the CPU the pool inside splits them by rows, tokens or heads, and no result depends
 * on how.
 *
 * A verb gets the context whose step it works in. The tokens are those of its step, each with its
 * place: they may be of several sequences, and only angles, remember and attend look which.
 *
 * Every verb may be called by the thread that owns the context only. `n` counts tokens. */
#ifndef BITNET_RUNTIME_BACKEND_H
#define BITNET_RUNTIME_BACKEND_H

#include "context.h"

/* Query heads times tokens that attention handles at once: bounds its scratch. */
#define ATTENTION_QUERIES_MAX 64u

/* One matrix and where its product goes. */
struct product {
    const struct matrix *matrix;
    const struct vectors *y;
};

struct backend {
    const char *name; /* "cpu" */
    /* Runs forward() over the first n tokens and places of c->step; its results are there when it
     * returns. */
    enum bitnet_status (*step)(struct bitnet_context *c, size_t n, size_t n_kept, float *results,
                               struct bitnet_error *err);

    /* x[t] = row of token t in the token embedding, times its scale. */
    void (*embed)(struct bitnet_context *c, size_t n, const struct vectors *x);
    /* The angles of the tokens by their positions in their texts; of local layers too where there
     * are some. */
    void (*angles)(struct bitnet_context *c, size_t n);
    /* y[t] = RMS norm of x[t] by `weight`. x and y may be the same. */
    void (*norm)(struct bitnet_context *c, const struct vectors *x, const float *weight, size_t n,
                 const struct vectors *y);
    /* Each of the n_heads heads of x[t], normed by the same `weight`, in place. */
    void (*norm_heads)(struct bitnet_context *c, const struct vectors *x, size_t n_heads,
                       const float *weight, size_t n);
    /* y[t] = matrix x[t] for each product; x is quantized once when one of them is ternary. */
    void (*multiply)(struct bitnet_context *c, const struct vectors *x, size_t n,
                     const struct product *products, size_t n_products);
    /* Rotates the n_heads heads of each vector by its position's angles, a local layer's or not. */
    void (*rope)(struct bitnet_context *c, const struct vectors *x, size_t n_heads, bool is_local,
                 size_t n);
    /* Puts keys and values into the tokens' places. */
    void (*remember)(struct bitnet_context *c, size_t layer, const struct vectors *k,
                     const struct vectors *v, size_t n);
    /* q[t] = attention of q[t], in place, over the cells up to that of token first + t that belong
     * to its text and, in a local layer, to its window. */
    void (*attend)(struct bitnet_context *c, size_t layer, const struct vectors *q, size_t first,
                   size_t n);
    /* gate[t] = act(gate[t]) * up[t] */
    void (*gate)(struct bitnet_context *c, const struct vectors *gate, const struct vectors *up,
                 size_t n);
    /* x[t] += y[t] */
    void (*add)(struct bitnet_context *c, const struct vectors *x, const struct vectors *y,
                size_t n);
};

extern const struct backend backend_cpu;

#endif
