/* How a descriptor's rows are spelt, and the list of all descriptors.
 * Sources: formats.md 6.3 and 6.5 (transformers' state dict names; llama.cpp's gguf-py constants).
 */
#ifndef BITNET_ARCH_ROLES_H
#define BITNET_ARCH_ROLES_H

#include "bitnet/arch.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* clang-format off */
#define ROLE_EMBED(role_, gguf_, source_, is_optional_) \
    {BITNET_ROLE_##role_, gguf_, source_, BITNET_DIM_VOCAB, BITNET_DIM_EMBED, BITNET_TENSOR_EMBED, BITNET_ROWS_AS_THEY_ARE, is_optional_}
#define ROLE_NORM(role_, gguf_, source_, length_) \
    {BITNET_ROLE_##role_, gguf_, source_, BITNET_DIM_##length_, BITNET_DIM_NONE, BITNET_TENSOR_NORM, BITNET_ROWS_AS_THEY_ARE, false}
#define ROLE_LINEAR(role_, gguf_, source_, rows_, cols_, order_) \
    {BITNET_ROLE_##role_, gguf_, source_, BITNET_DIM_##rows_, BITNET_DIM_##cols_, BITNET_TENSOR_LINEAR, BITNET_ROWS_##order_, false}
/* Divisors of the rotation frequencies (Llama 3.1's rope scaling): computed, in no checkpoint. */
#define ROLE_ROPE_FREQS \
    {BITNET_ROLE_ROPE_FREQS, "rope_freqs.weight", NULL, BITNET_DIM_ROT2, BITNET_DIM_NONE, BITNET_TENSOR_NORM, BITNET_ROWS_AS_THEY_ARE, true}
/* clang-format on */

#define ARCH(descriptor, alias) extern const struct bitnet_arch bitnet_arch_##descriptor;
#include "archs.def"
#undef ARCH

#endif
