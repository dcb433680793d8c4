/* The float kernels of the AVX2 set: the templates of vector/ over eight lanes. */
#include "avx2.h"
#include "vec_avx2.h"

#define NAME(slot) bitnet_avx2_##slot

/* clang-format off: each template needs those above it */
#include "../vector/expf.h"
#include "../vector/activation.h"
#include "../vector/rope.h"
#include "../vector/attention.h"
#include "../vector/dense.h"
#include "../vector/sampling.h"
/* clang-format on */
