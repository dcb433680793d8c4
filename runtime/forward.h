/* One batch through the transformer. */
#ifndef BITNET_RUNTIME_FORWARD_H
#define BITNET_RUNTIME_FORWARD_H

#include "context.h"

/* Evaluates the first n tokens of the context's step (1 .. n_batch), in any order of sequences and
 * cells: fills their places, and results [n_kept][result_width] of the last n_kept of them: logits,
 * or the normed vectors behind the last layer. Allocates nothing. */
void forward(struct bitnet_context *context, size_t n, size_t n_kept, float *results);

#endif
