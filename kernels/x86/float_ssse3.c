/* The float kernels of the SSSE3 set: the templates of vector/ over four lanes. */
#include "ssse3.h"
#include "vec_ssse3.h"

#define NAME(slot) bitnet_ssse3_##slot

/* clang-format off: each template needs those above it */
#include "../vector/expf.h"
#include "../vector/activation.h"
#include "../vector/rope.h"
#include "../vector/attention.h"
#include "../vector/dense.h"
#include "../vector/sampling.h"
/* clang-format on */
