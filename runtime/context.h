/* Everything that moves while a model runs: cache, activations, position, logits. One block of
 * memory, and one on the device if there is one, sized before it is taken; a step allocates
 * nothing. Contexts that share a step hold a cache and a position each, and all else is their
 * owner's. */
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

/* What an eval does for one sequence: tokens after those that it has. */
struct slice {
    struct bitnet_context *context;
    const int32_t *tokens;
    size_t n, first_kept; /* logits are kept of the tokens from there on; n: of none */
    /* Several texts in a row: the cell in which the text of each token begins. NULL: all 0. */
    const uint32_t *first_cells;
};

/* Where a token of the batch lives: a cell of its sequence's cache, and the cell in which its text
 * begins. */
struct place {
    struct bitnet_context *context;
    uint32_t cell, first_cell;
};

/* Consecutive tokens of a batch in consecutive cells whose attention begins at the same cell. */
struct token_run {
    size_t token, n, first_cell;
};

/* The activations of one batch, by the names of the paper. On the CPU y lies where h does, and q,
 * k, v where gate and up do: no two of these are needed at once. */
struct step {
    struct vectors x;        /* [batch][n_embd] residual stream */
    struct vectors h;        /* [batch][n_embd] normed input of a block */
    struct vectors q, k, v;  /* [batch][heads * head_dim] */
    struct vectors gate, up; /* [batch][n_ffn] */
    struct vectors y;        /* [batch][n_embd] what a block adds to x */
    struct vectors normed;   /* [batch][widest] input of one projection; at NULL: not needed */
    struct angles angles, local_angles;
    int32_t *tokens;        /* [batch] ids */
    struct place *places;   /* [batch] */
    struct token_run *runs; /* [batch] */
    struct slice *slices;   /* [n_logits] */
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
struct cuda_step;

struct bitnet_context {
    const struct bitnet_model *model;
    const struct backend *backend; /* the verbs of its device */
    struct bitnet_pool *pool;      /* borrowed; may be NULL */
    unsigned n_threads;
    uint32_t n_cells, n_batch, n_used;
    bool all_logits;
    struct kv_cache cache;
    struct bitnet_context *owner; /* of the step and the logits that it uses: itself, or another */
    struct step step;
    bool gives_vectors;  /* of n_embd numbers behind the last layer, instead of logits */
    size_t result_width; /* n_vocab, or n_embd */
    float *logits;       /* [n_logits][result_width]: logits, or vectors */
    uint32_t n_logits;
    uint64_t n_evals;             /* of the owner and of those who share with it */
    uint64_t own_eval;            /* the last of them that was of this sequence */
    size_t first_kept, n_kept;    /* which of its tokens have logits */
    size_t first_row;             /* of the owner's logits: the first of these */
    uint64_t n_bytes;             /* of this machine's memory, out of the model's budget */
    bool is_named;                /* while an eval looks whether it is named twice */
    struct bitnet_op_cost *costs; /* borrowed; may be NULL */
    uint64_t n_steps, n_tokens;   /* of the owner, that went well */
    double step_ms;
    struct cuda_step *cuda; /* on a device: the owner's; NULL on the CPU */
    void *device_block;     /* there: cache, activations, all that verbs touch */
    bool wants_ids;         /* a step gives the best tokens' ids instead of logits */
    int32_t *ids;           /* [n_logits] -1: look at the logits */
};

/* As bitnet_context_new(), for vectors instead of logits when asked to. */
enum bitnet_status context_new(struct bitnet_context **context, const struct bitnet_model *model,
                               const struct bitnet_context_options *options, bool gives_vectors,
                               struct bitnet_error *err);

/* Evaluates the slices (1 or more) of contexts that share a step, together: bitnet_eval_many(). */
enum bitnet_status eval_slices(const struct slice *slices, size_t n, struct bitnet_error *err);
/* The same for one who wants the ids of the largest logits only: a device keeps the logits then. */
enum bitnet_status eval_slices_best(const struct slice *slices, size_t n, struct bitnet_error *err);
/* After that: the id for the i-th token of the context's slice; -1 when the logits have to be
 * looked at, which are in *logits then. */
int32_t context_best(const struct bitnet_context *context, size_t i, const float **logits);

/* As bitnet_eval(), with logits kept of the tokens from `first_kept` on. */
enum bitnet_status context_eval(struct bitnet_context *context, const int32_t *tokens, size_t n,
                                size_t first_kept, struct bitnet_error *err);

#endif
