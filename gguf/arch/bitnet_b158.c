/* microsoft/bitnet-b1.58-2B-4T: grouped-query attention, a squared-ReLU gate, a norm before the
 * attention output and before the last FFN matrix, rotation by halves. Source: transformers'
 * models/bitnet/modular_bitnet.py; GGUF names: ik_llama.cpp's src/llama.cpp. (formats.md 7.2) */
#include "roles.h"

/* clang-format off */
static const struct bitnet_tensor_role roles[] = {
    ROLE_EMBED(TOKEN_EMBED,    "token_embd.weight",            "model.embed_tokens.weight", false),
    ROLE_NORM(OUTPUT_NORM,     "output_norm.weight",           "model.norm.weight", EMBED),
    ROLE_EMBED(OUTPUT,         "output.weight",                "lm_head.weight", true),
    ROLE_ROPE_FREQS,
    ROLE_NORM(ATTN_NORM,       "blk.%u.attn_norm.weight",      "model.layers.%u.input_layernorm.weight", EMBED),
    ROLE_LINEAR(ATTN_Q,        "blk.%u.attn_q.weight",         "model.layers.%u.self_attn.q_proj.weight", Q,     EMBED, AS_THEY_ARE),
    ROLE_LINEAR(ATTN_K,        "blk.%u.attn_k.weight",         "model.layers.%u.self_attn.k_proj.weight", KV,    EMBED, AS_THEY_ARE),
    ROLE_LINEAR(ATTN_V,        "blk.%u.attn_v.weight",         "model.layers.%u.self_attn.v_proj.weight", KV,    EMBED, AS_THEY_ARE),
    ROLE_NORM(ATTN_SUB_NORM,   "blk.%u.attn_sub_norm.weight",  "model.layers.%u.self_attn.attn_sub_norm.weight", Q),
    ROLE_LINEAR(ATTN_OUTPUT,   "blk.%u.attn_output.weight",    "model.layers.%u.self_attn.o_proj.weight", EMBED, Q,     AS_THEY_ARE),
    ROLE_NORM(FFN_NORM,        "blk.%u.ffn_norm.weight",       "model.layers.%u.post_attention_layernorm.weight", EMBED),
    ROLE_LINEAR(FFN_GATE,      "blk.%u.ffn_gate.weight",       "model.layers.%u.mlp.gate_proj.weight",    FFN,   EMBED, AS_THEY_ARE),
    ROLE_LINEAR(FFN_UP,        "blk.%u.ffn_up.weight",         "model.layers.%u.mlp.up_proj.weight",      FFN,   EMBED, AS_THEY_ARE),
    ROLE_NORM(FFN_SUB_NORM,    "blk.%u.ffn_sub_norm.weight",   "model.layers.%u.mlp.ffn_sub_norm.weight", FFN),
    ROLE_LINEAR(FFN_DOWN,      "blk.%u.ffn_down.weight",       "model.layers.%u.mlp.down_proj.weight",    EMBED, FFN,   AS_THEY_ARE),
};
/* clang-format on */

static const char *const source_names[] = {"BitNetForCausalLM", NULL};

const struct bitnet_arch bitnet_arch_bitnet_b158 = {
    .name = "bitnet-b1.58",
    .source_names = source_names,
    .roles = roles,
    .n_roles = COUNT(roles),
    .gate = BITNET_GATE_RELU2,
    .rope = BITNET_ROPE_HALVES,
    .has_sub_norms = true,
    .dialects = KNOWN_TO_BITNET_CPP | KNOWN_TO_IK,
};
