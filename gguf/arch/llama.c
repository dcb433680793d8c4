/* Llama, and what has its shape: HF1BitLLM/Llama3-8B-1.58, tiiuae/Falcon3-*-1.58bit, Falcon-E. No
 * sub-norms, SiLU gate, rotation by pairs: converters permute the rows of q and k, because
 * checkpoints rotate by halves. Source: transformers' models/llama; llama.cpp's
 * convert_hf_to_gguf.py. (formats.md 6.4, 7.3) */
#include "roles.h"

/* clang-format off */
static const struct bitnet_tensor_role roles[] = {
    ROLE_EMBED(TOKEN_EMBED,    "token_embd.weight",            "model.embed_tokens.weight", false),
    ROLE_NORM(OUTPUT_NORM,     "output_norm.weight",           "model.norm.weight", EMBED),
    ROLE_EMBED(OUTPUT,         "output.weight",                "lm_head.weight", true),
    ROLE_ROPE_FREQS,
    ROLE_NORM(ATTN_NORM,       "blk.%u.attn_norm.weight",      "model.layers.%u.input_layernorm.weight", EMBED),
    ROLE_LINEAR(ATTN_Q,        "blk.%u.attn_q.weight",         "model.layers.%u.self_attn.q_proj.weight", Q,     EMBED, ROPE_Q),
    ROLE_LINEAR(ATTN_K,        "blk.%u.attn_k.weight",         "model.layers.%u.self_attn.k_proj.weight", KV,    EMBED, ROPE_KV),
    ROLE_LINEAR(ATTN_V,        "blk.%u.attn_v.weight",         "model.layers.%u.self_attn.v_proj.weight", KV,    EMBED, AS_THEY_ARE),
    ROLE_LINEAR(ATTN_OUTPUT,   "blk.%u.attn_output.weight",    "model.layers.%u.self_attn.o_proj.weight", EMBED, Q,     AS_THEY_ARE),
    ROLE_NORM(FFN_NORM,        "blk.%u.ffn_norm.weight",       "model.layers.%u.post_attention_layernorm.weight", EMBED),
    ROLE_LINEAR(FFN_GATE,      "blk.%u.ffn_gate.weight",       "model.layers.%u.mlp.gate_proj.weight",    FFN,   EMBED, AS_THEY_ARE),
    ROLE_LINEAR(FFN_UP,        "blk.%u.ffn_up.weight",         "model.layers.%u.mlp.up_proj.weight",      FFN,   EMBED, AS_THEY_ARE),
    ROLE_LINEAR(FFN_DOWN,      "blk.%u.ffn_down.weight",       "model.layers.%u.mlp.down_proj.weight",    EMBED, FFN,   AS_THEY_ARE),
};
/* clang-format on */

static const char *const source_names[] = {"LlamaForCausalLM", NULL};

const struct bitnet_arch bitnet_arch_llama = {
    .name = "llama",
    .source_names = source_names,
    .roles = roles,
    .n_roles = COUNT(roles),
    .gate = BITNET_GATE_SILU,
    .rope = BITNET_ROPE_PAIRS,
    .has_sub_norms = false,
    .dialects = KNOWN_TO_LLAMA_CPP | KNOWN_TO_BITNET_CPP | KNOWN_TO_IK,
};
