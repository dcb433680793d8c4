/* What transformers computed for models/tiny, as scripts/oracle/record_tiny.py wrote it down in
 * tests/golden/tiny: an excerpt of the held-out text with logits at some of its positions. */
#ifndef BITNET_TEST_REFERENCE_H
#define BITNET_TEST_REFERENCE_H

#include "bitnet/arena.h"
#include "bitnet/json.h"
#include "bitnet/runtime.h"

struct reference {
    struct bitnet_arena arena; /* owns all of it */
    size_t n_ids;
    int32_t *ids;
    int32_t *best; /* [n_ids]: argmax of the logits at each position */
    float *lead;   /* [n_ids]: by how much it leads */
    size_t n_positions;
    size_t *positions;   /* ascending */
    const float *logits; /* [n_positions][n_vocab] */
    size_t n_vocab;
};

/* `folder` is tests/golden/tiny. */
enum bitnet_status reference_open(struct reference *reference, const char *folder, size_t n_vocab,
                                  struct bitnet_error *err);
void reference_close(struct reference *reference);

/* One position's disagreement. */
struct logit_difference {
    size_t position;
    double max;    /* largest |ours - theirs| */
    double rms;    /* root of the mean square difference */
    double spread; /* standard deviation of their logits, for scale */
    bool same_best;
};

/* Evaluates the excerpt and fills differences[reference->n_positions]. */
enum bitnet_status reference_compare(const struct reference *reference,
                                     const struct bitnet_model *model, struct bitnet_pool *pool,
                                     struct logit_difference *differences,
                                     struct bitnet_error *err);

#endif
