/* What the sampler tells its own room. */
#ifndef BITNET_RUNTIME_SAMPLER_H
#define BITNET_RUNTIME_SAMPLER_H

#include "bitnet/runtime.h"

/* Whether it always takes the largest logit, so that a device may choose in its place. */
bool sampler_is_greedy(const struct bitnet_sampler *sampler);

#endif
