/* How a descriptor's rows are spelt, and the list of all descriptors.
 * Sources: formats.md 6.3 and 6.5 (transformers' state dict names; llama.cpp's gguf-py constants).
 */
#ifndef BITNET_ARCH_ROLES_H
#define BITNET_ARCH_ROLES_H

#include "bitnet/arch.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* clang-format off */
#define ROLE_EMBED(role_, gguf_, source_, is_optional_) \
    {BITNET_ROLE_##role_, gguf_, source_, BITNET_DIM_VOCAB, BITNET_DIM_EMBED, BITNET_TENSOR_EMBED, BITNET_ROWS_AS_THEY_ARE, is_optional_, false, false}
#define ROLE_NORM(role_, gguf_, source_, length_) \
    {BITNET_ROLE_##role_, gguf_, source_, BITNET_DIM_##length_, BITNET_DIM_NONE, BITNET_TENSOR_NORM, BITNET_ROWS_AS_THEY_ARE, false, false, false}
/* The checkpoint holds w - 1. */
#define ROLE_SHIFTED_NORM(role_, gguf_, source_, length_) \
    {BITNET_ROLE_##role_, gguf_, source_, BITNET_DIM_##length_, BITNET_DIM_NONE, BITNET_TENSOR_NORM, BITNET_ROWS_AS_THEY_ARE, false, true, false}
/* Of one projection's input: all of them or none. */
#define ROLE_NORM_IN(role_, gguf_, source_, length_) \
    {BITNET_ROLE_##role_, "blk.%u." gguf_ ".weight", "model.layers.%u." source_ ".norm.weight", BITNET_DIM_##length_, BITNET_DIM_NONE, BITNET_TENSOR_NORM, BITNET_ROWS_AS_THEY_ARE, true, false, true}
#define ROLES_NORMS_IN \
    ROLE_NORM_IN(ATTN_Q_NORM_IN,      "attn_q_norm_in",      "self_attn.q_proj", EMBED), \
    ROLE_NORM_IN(ATTN_K_NORM_IN,      "attn_k_norm_in",      "self_attn.k_proj", EMBED), \
    ROLE_NORM_IN(ATTN_V_NORM_IN,      "attn_v_norm_in",      "self_attn.v_proj", EMBED), \
    ROLE_NORM_IN(ATTN_OUTPUT_NORM_IN, "attn_output_norm_in", "self_attn.o_proj", Q),     \
    ROLE_NORM_IN(FFN_GATE_NORM_IN,    "ffn_gate_norm_in",    "mlp.gate_proj",    EMBED), \
    ROLE_NORM_IN(FFN_UP_NORM_IN,      "ffn_up_norm_in",      "mlp.up_proj",      EMBED), \
    ROLE_NORM_IN(FFN_DOWN_NORM_IN,    "ffn_down_norm_in",    "mlp.down_proj",    FFN)
#define ROLE_LINEAR(role_, gguf_, source_, rows_, cols_, order_) \
    {BITNET_ROLE_##role_, gguf_, source_, BITNET_DIM_##rows_, BITNET_DIM_##cols_, BITNET_TENSOR_LINEAR, BITNET_ROWS_##order_, false, false, false}
/* Divisors of the rotation frequencies (Llama 3.1's rope scaling): computed, in no checkpoint. */
#define ROLE_ROPE_FREQS \
    {BITNET_ROLE_ROPE_FREQS, "rope_freqs.weight", NULL, BITNET_DIM_ROT2, BITNET_DIM_NONE, BITNET_TENSOR_NORM, BITNET_ROWS_AS_THEY_ARE, true, false, false}
/* clang-format on */

/* Whose runtimes know an architecture (formats.md 6.5 and 8). */
#define KNOWN_TO_LLAMA_CPP  (1u << BITNET_DIALECT_GGML)
#define KNOWN_TO_BITNET_CPP (1u << BITNET_DIALECT_BITNETCPP)
#define KNOWN_TO_IK         (1u << BITNET_DIALECT_IK)

#define ARCH(descriptor, alias) extern const struct bitnet_arch bitnet_arch_##descriptor;
#include "archs.def"
#undef ARCH

#endif
