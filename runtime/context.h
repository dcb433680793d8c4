/* Everything that moves while a model runs: cache, activations, position, logits. One block of
 * memory, sized before it is taken; a step allocates nothing. */
#ifndef BITNET_RUNTIME_CONTEXT_H
#define BITNET_RUNTIME_CONTEXT_H

#include "kv_cache.h"
#include "model.h"

/* n_tokens vectors of `width` floats, `stride` apart (a multiple of 16, so that each begins at 64
 * bytes). */
struct vectors {
    float *at;
    size_t width, stride;
};

static inline float *vector_at(const struct vectors *vectors, size_t token)
{
    return vectors->at + token * vectors->stride;
}

/* What rotates the heads of each token. */
struct angles {
    struct vectors cosines, sines; /* [batch][n_rot / 2] */
};

/* Consecutive tokens of a batch whose attention begins at the same cell. */
struct token_run {
    size_t token, n, first_cell;
};

/* The activations of one batch, by the names of the paper. */
struct step {
    struct vectors x;        /* [batch][n_embd] residual stream */
    struct vectors h;        /* [batch][n_embd] normed input of a block */
    struct vectors q, k, v;  /* [batch][heads * head_dim] */
    struct vectors gate, up; /* [batch][n_ffn] */
    struct vectors y;        /* [batch][n_embd] what a block adds to x */
    struct vectors normed;   /* [batch][widest] input of one projection; at NULL: not needed */
    struct angles angles, local_angles;
    struct token_run *runs; /* [batch] */
    int8_t *codes;          /* [batch][code_stride] quantized input of a linear */
    float *code_scales;     /* [batch] */
    size_t code_stride;
    uint8_t *fixed;      /* [batch][fixed_stride] the same input for matrices of blocks */
    float *fixed_scales; /* [batch] */
    size_t fixed_stride;
    int32_t *sums; /* [thread][batch][MATRIX_SLICE_ROWS] */
    float *scores; /* [thread][n_scores] */
    size_t n_scores;
};

struct backend;

struct bitnet_context {
    const struct bitnet_model *model;
    const struct backend *backend; /* the verbs of its device */
    struct bitnet_pool *pool;      /* borrowed; may be NULL */
    unsigned n_threads;
    uint32_t n_cells, n_batch, n_used;
    bool all_logits;
    struct kv_cache cache;
    struct step step;
    const uint32_t *first_cells; /* of each token's text, borrowed during an eval; NULL: all 0 */
    bool gives_vectors;          /* of n_embd numbers behind the last layer, instead of logits */
    size_t result_width;         /* n_vocab, or n_embd */
    float *logits;               /* [n_logits][result_width]: logits, or vectors */
    uint32_t n_logits;
    size_t first_kept, n_kept;    /* which tokens of the last eval have logits */
    struct bitnet_op_cost *costs; /* borrowed; may be NULL */
};

/* As bitnet_context_new(), for vectors instead of logits when asked to. */
enum bitnet_status context_new(struct bitnet_context **context, const struct bitnet_model *model,
                               const struct bitnet_context_options *options, bool gives_vectors,
                               struct bitnet_error *err);

/* As bitnet_eval() with all results kept, for several texts in a row: first_cells[i] is the cell in
 * which the text of token i begins. */
enum bitnet_status context_eval_texts(struct bitnet_context *context, const int32_t *tokens,
                                      const uint32_t *first_cells, size_t n,
                                      struct bitnet_error *err);

/* As bitnet_eval(), with logits kept of the tokens from `first_kept` on. */
enum bitnet_status context_eval(struct bitnet_context *context, const int32_t *tokens, size_t n,
                                size_t first_kept, struct bitnet_error *err);

#endif
