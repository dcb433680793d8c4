/* Qwen3, plain and as the backbone of microsoft/bitnet-embedding-0.6b: a norm of each query and key
 * head before the rotation, heads whose size is free of the width, rotation by halves. The
 * embedding model has a norm on the input of each projection besides, which then are ternary.
 * Sources: transformers' models/qwen3; llama.cpp's src/models/qwen3.cpp; microsoft/BitNet's
 * docs/bitnet-embeddings-i2s-guide.md. (formats.md 7.4) */
#include "roles.h"

/* clang-format off */
static const struct bitnet_tensor_role roles[] = {
    ROLE_EMBED(TOKEN_EMBED,    "token_embd.weight",            "model.embed_tokens.weight", false),
    ROLE_NORM(OUTPUT_NORM,     "output_norm.weight",           "model.norm.weight", EMBED),
    ROLE_EMBED(OUTPUT,         "output.weight",                "lm_head.weight", true),
    ROLE_NORM(ATTN_NORM,       "blk.%u.attn_norm.weight",      "model.layers.%u.input_layernorm.weight", EMBED),
    ROLE_LINEAR(ATTN_Q,        "blk.%u.attn_q.weight",         "model.layers.%u.self_attn.q_proj.weight", Q,     EMBED, AS_THEY_ARE),
    ROLE_LINEAR(ATTN_K,        "blk.%u.attn_k.weight",         "model.layers.%u.self_attn.k_proj.weight", KV,    EMBED, AS_THEY_ARE),
    ROLE_LINEAR(ATTN_V,        "blk.%u.attn_v.weight",         "model.layers.%u.self_attn.v_proj.weight", KV,    EMBED, AS_THEY_ARE),
    ROLE_NORM(ATTN_Q_NORM,     "blk.%u.attn_q_norm.weight",    "model.layers.%u.self_attn.q_norm.weight", HEAD),
    ROLE_NORM(ATTN_K_NORM,     "blk.%u.attn_k_norm.weight",    "model.layers.%u.self_attn.k_norm.weight", HEAD),
    ROLE_LINEAR(ATTN_OUTPUT,   "blk.%u.attn_output.weight",    "model.layers.%u.self_attn.o_proj.weight", EMBED, Q,     AS_THEY_ARE),
    ROLE_NORM(FFN_NORM,        "blk.%u.ffn_norm.weight",       "model.layers.%u.post_attention_layernorm.weight", EMBED),
    ROLE_LINEAR(FFN_GATE,      "blk.%u.ffn_gate.weight",       "model.layers.%u.mlp.gate_proj.weight",    FFN,   EMBED, AS_THEY_ARE),
    ROLE_LINEAR(FFN_UP,        "blk.%u.ffn_up.weight",         "model.layers.%u.mlp.up_proj.weight",      FFN,   EMBED, AS_THEY_ARE),
    ROLE_LINEAR(FFN_DOWN,      "blk.%u.ffn_down.weight",       "model.layers.%u.mlp.down_proj.weight",    EMBED, FFN,   AS_THEY_ARE),
    ROLES_NORMS_IN,
};
/* clang-format on */

static const char *const source_names[] = {"Qwen3ForCausalLM", "Qwen3Model", NULL};

const struct bitnet_arch bitnet_arch_qwen3 = {
    .name = "qwen3",
    .source_names = source_names,
    .roles = roles,
    .n_roles = COUNT(roles),
    .gate = BITNET_GATE_SILU,
    .rope = BITNET_ROPE_HALVES,
    .dialects = KNOWN_TO_LLAMA_CPP | KNOWN_TO_BITNET_CPP | KNOWN_TO_IK,
    .dialects_with_norms_in = KNOWN_TO_BITNET_CPP,
};
