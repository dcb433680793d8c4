/* One batch through the transformer. */
#ifndef BITNET_RUNTIME_FORWARD_H
#define BITNET_RUNTIME_FORWARD_H

#include "context.h"

/* Evaluates n tokens (1 .. n_batch) at positions n_used .. n_used + n - 1: fills their cells of the
 * cache, and results [n_kept][result_width] of the last n_kept of them: logits, or the normed
 * vectors behind the last layer. Allocates nothing. */
void forward(struct bitnet_context *context, const int32_t *tokens, size_t n, size_t n_kept,
             float *results);

#endif
