/* Texts become vectors, and vectors are compared.
 *
 * A model for embeddings (BitNet-embedding, Qwen3-Embedding) says in its file how the vectors of a
 * text's tokens become one. Any other model can be asked too, by naming the pooling; a chat model's
 * vectors are poor ones, because it was trained to foretell tokens, not to tell texts apart. */
#ifndef BITNET_EMBED_H
#define BITNET_EMBED_H

#include "bitnet/runtime.h"

struct bitnet_embed_options {
    enum bitnet_pooling pooling; /* UNSAID: what the file says */
    bool keeps_length;           /* vectors as they come out; else each has the length 1 */
    uint32_t n_batch;            /* tokens evaluated together; 0: 256 */
    struct bitnet_pool *pool;    /* borrowed; NULL: the caller's thread alone */
    const volatile sig_atomic_t *cancel;
};

/* Begins as {0}. Vectors of text i: first[i] .. first[i + 1] - 1, one unless nothing is pooled. */
struct bitnet_embeddings {
    size_t n_texts, n_vectors, n_tokens, width;
    bool is_pooled; /* one vector per text, not one per token */
    size_t *first;  /* [n_texts + 1] */
    float *at;      /* [n_vectors][width] */
};
void bitnet_embeddings_free(struct bitnet_embeddings *embeddings);

/* Texts are evaluated in batches that hold as many of them as fit; what comes out for one does not
 * depend on the others, bit for bit. Control tokens that the vocabulary asks for are added. Fails
 * with USAGE (the file says no pooling and neither do you), LIMIT (a text is longer than the model
 * was trained for), FORMAT (a text without tokens; a vector that is not finite), MEMORY, CANCELLED.
 */
enum bitnet_status bitnet_embed(struct bitnet_embeddings *embeddings,
                                const struct bitnet_model *model, const struct bitnet_str *texts,
                                size_t n_texts, const struct bitnet_embed_options *options,
                                struct bitnet_error *err);
/* The same of texts that are tokens already. */
enum bitnet_status bitnet_embed_tokens(struct bitnet_embeddings *embeddings,
                                       const struct bitnet_model *model,
                                       const struct bitnet_tokens *texts, size_t n_texts,
                                       const struct bitnet_embed_options *options,
                                       struct bitnet_error *err);

/* Cosine of the angle between two vectors, in doubles; 0 when one of them is zero. */
double bitnet_similarity(const float *a, const float *b, size_t width);

struct bitnet_similar {
    size_t index;
    double similarity;
};
/* The k vectors of vectors[n][width] most similar to the query, best first, ties by index; returns
 * how many there are (n when k is more). */
size_t bitnet_most_similar(const float *query, const float *vectors, size_t n, size_t width,
                           size_t k, struct bitnet_similar *best);

#endif
