/* The float kernels of the NEON set: the templates of vector/ over four lanes. */
#include "neon.h"
#include "vec_neon.h"

#define NAME(slot) bitnet_neon_##slot

/* clang-format off: each template needs those above it */
#include "../vector/expf.h"
#include "../vector/activation.h"
#include "../vector/rope.h"
#include "../vector/attention.h"
#include "../vector/dense.h"
#include "../vector/sampling.h"
/* clang-format on */
