/* What one scored position says when two models read the same text, and the statistics of many. */
#ifndef BITNET_RUNTIME_DIVERGENCE_H
#define BITNET_RUNTIME_DIVERGENCE_H

#include "bitnet/runtime.h"

struct position {
    double divergence;      /* of the model from the base, nats */
    double nats, base_nats; /* -ln of the probability of what came next */
    double change;          /* of that probability, from the base to the model */
    bool same_best, is_equal;
};

/* Fills what `result` says about n positions (at least 1) and leaves the rest alone; the positions
 * are put in another order. */
void divergence_summarise(struct position *positions, size_t n,
                          struct bitnet_divergence_result *result);

#endif
