/* The float kernels of the AVX-512 set: the templates of vector/ over 16 lanes. */
#include "avx512.h"
#include "vec_avx512.h"

#define NAME(slot) bitnet_avx512_##slot

/* clang-format off: each template needs those above it */
#include "../vector/expf.h"
#include "../vector/activation.h"
#include "../vector/rope.h"
#include "../vector/attention.h"
#include "../vector/dense.h"
#include "../vector/sampling.h"
/* clang-format on */
