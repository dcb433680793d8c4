/* The families. Sources of the configurations: formats.md 6.1 and 6.3; transformers' configuration
 * classes (keys that it saves); tiiuae/onebitllms, utils/quantization_utils.py (what Falcon-E's
 * checkpoints say: quant_method and modules_to_not_convert, no linear_class, scale 1 / mean, packed
 * by transformers); microsoft/BitNet, docs/bitnet-embeddings-i2s-guide.md (embedding models);
 * sentence-transformers' Pooling module. */
#include "family.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The sizes, as every configuration spells them. */
#define SIZES                                                                                      \
    " \"hidden_size\": %1$u,\n \"intermediate_size\": %2$u,\n \"num_hidden_layers\": %3$u,\n"      \
    " \"num_attention_heads\": %4$u,\n \"num_key_value_heads\": %5$u,\n \"vocab_size\": %7$u,\n"   \
    " \"max_position_embeddings\": 256,\n \"initializer_range\": 0.02,\n \"use_cache\": true,\n"
#define HEAD_DIM " \"head_dim\": %6$u,\n"
#define LLAMA(more)                                                                                \
    "{\"architectures\": [\"LlamaForCausalLM\"],\n \"model_type\": \"llama\",\n"                   \
    " \"attention_bias\": false,\n \"attention_dropout\": 0.0,\n \"mlp_bias\": false,\n"           \
    " \"bos_token_id\": 1,\n \"eos_token_id\": 2,\n \"hidden_act\": \"silu\",\n" SIZES             \
    " \"pretraining_tp\": 1,\n \"torch_dtype\": \"bfloat16\",\n" more "}\n"
#define LLAMA3_ROPE                                                                                \
    " \"rope_scaling\": {\"factor\": 8.0, \"high_freq_factor\": 4.0, \"low_freq_factor\": 1.0,\n"  \
    "  \"original_max_position_embeddings\": 64, \"rope_type\": \"llama3\"},\n"
#define B158(mode)                                                                                 \
    "{\"architectures\": [\"BitNetForCausalLM\"],\n \"model_type\": \"bitnet\",\n"                 \
    " \"bos_token_id\": 1,\n \"eos_token_id\": 2,\n \"hidden_act\": \"relu2\",\n" SIZES            \
    " \"rms_norm_eps\": 1e-05,\n \"rope_theta\": 500000.0,\n \"tie_word_embeddings\": true,\n"     \
    " \"torch_dtype\": \"bfloat16\",\n \"quantization_config\": {\"quant_method\": \"bitnet\",\n"  \
    "  \"linear_class\": \"autobitlinear\", \"quantization_mode\": \"" mode "\"}}\n"
#define ONE_BIT(dtype)                                                                             \
    "{\"architectures\": [\"BitnetForCausalLM\"],\n \"model_type\": \"llama\",\n"                  \
    " \"attention_bias\": false,\n \"bos_token_id\": 1,\n \"eos_token_id\": 2,\n"                  \
    " \"hidden_act\": \"silu\",\n \"input_bits\": 8,\n \"weight_bits\": 1,\n" SIZES                \
    " \"pad_token_id\": 0,\n \"pretraining_tp\": 1,\n \"rms_norm_eps\": 1e-05,\n"                  \
    " \"rope_scaling\": null,\n \"rope_theta\": 10000.0,\n \"tie_word_embeddings\": true,\n"       \
    " \"torch_dtype\": \"" dtype "\"}\n"
#define QWEN3(class, tied)                                                                         \
    "{\"architectures\": [\"" class "\"],\n \"model_type\": \"qwen3\",\n"                          \
                                    " \"attention_bias\": false,\n \"attention_dropout\": 0.0,\n " \
                                    "\"bos_token_id\": 1,\n"                                       \
                                    " \"eos_token_id\": 2,\n \"hidden_act\": \"silu\",\n" SIZES    \
                                        HEAD_DIM                                                   \
                                    " \"max_window_layers\": 28,\n \"rms_norm_eps\": 1e-06,\n "    \
                                    "\"rope_scaling\": null,\n"                                    \
                                    " \"rope_theta\": 1000000,\n \"sliding_window\": null,\n "     \
                                    "\"use_sliding_window\": false,\n"                             \
                                    " \"tie_word_embeddings\": " tied                              \
                                    ",\n \"torch_dtype\": \"bfloat16\"}\n"
#define GEMMA3(class, bases)                                                                       \
    "{\"architectures\": [\"" class "\"],\n \"model_type\": \"gemma3_text\",\n"                    \
                                    " \"attention_bias\": false,\n \"attention_dropout\": 0.0,\n"  \
                                    " \"attn_logit_softcapping\": null,\n "                        \
                                    "\"final_logit_softcapping\": null,\n"                         \
                                    " \"bos_token_id\": 1,\n \"eos_token_id\": 2,\n "              \
                                    "\"pad_token_id\": 0,\n"                                       \
                                    " \"hidden_activation\": \"gelu_pytorch_tanh\",\n" SIZES       \
                                        HEAD_DIM                                                   \
                                    " \"query_pre_attn_scalar\": 64,\n \"rms_norm_eps\": "         \
                                    "1e-06,\n \"sliding_window\": 8,\n" bases                      \
                                    " \"use_bidirectional_attention\": false,\n \"torch_dtype\": " \
                                    "\"bfloat16\"}\n"

static const struct family families[] = {
    {"llama",
     "plain Llama",
     {.arch = CP_LLAMA,
      .storage = CP_PLAIN,
      .untied = true,
      .config = LLAMA(" \"rms_norm_eps\": 1e-05,\n \"rope_scaling\": null,\n"
                      " \"rope_theta\": 10000.0,\n \"tie_word_embeddings\": false")},
     NULL},
    {"llama-3.2",
     "plain Llama 3.2 (tied, stretched rope)",
     {.arch = CP_LLAMA,
      .storage = CP_PLAIN,
      .config = LLAMA(HEAD_DIM " \"rms_norm_eps\": 1e-05,\n" LLAMA3_ROPE
                               " \"rope_theta\": 500000.0,\n \"tie_word_embeddings\": true")},
     NULL},
    {"qwen3",
     "plain Qwen3 (tied)",
     {.arch = CP_QWEN3,
      .storage = CP_PLAIN,
      .head_dim = 64,
      .config = QWEN3("Qwen3ForCausalLM", "true")},
     NULL},
    {"qwen3-8b",
     "plain Qwen3 8B (untied)",
     {.arch = CP_QWEN3,
      .storage = CP_PLAIN,
      .untied = true,
      .config = QWEN3("Qwen3ForCausalLM", "false")},
     NULL},
    {"gemma3",
     "plain Gemma 3",
     {.arch = CP_GEMMA3,
      .storage = CP_PLAIN,
      .n_layers = 3,
      .head_dim = 64,
      .config = GEMMA3("Gemma3ForCausalLM",
                       " \"layer_types\": [\"sliding_attention\", \"full_attention\","
                       " \"sliding_attention\"],\n \"rope_local_base_freq\": 10000.0,\n"
                       " \"rope_scaling\": null,\n \"rope_theta\": 1000000.0,\n")},
     NULL},
    {"bitnet-b1.58-2b-4t",
     "microsoft/bitnet-b1.58-2B-4T",
     {.arch = CP_BITNET_B158, .storage = CP_PACKED_MULTIPLY, .config = B158("offline")},
     NULL},
    {"bitnet-b1.58-2b-4t-bf16",
     "microsoft/bitnet-b1.58-2B-4T-bf16",
     {.arch = CP_BITNET_B158, .storage = CP_MASTERS, .config = B158("online")},
     NULL},
    {"bitnet_b1_58-large",
     "1bitLLM/bitnet_b1_58-large",
     {.arch = CP_BITNET,
      .storage = CP_MASTERS,
      .dtype = "F32",
      .n_kv_heads = 8,
      .config = ONE_BIT("float32")},
     NULL},
    {"bitnet_b1_58-xl",
     "1bitLLM/bitnet_b1_58-xl",
     {.arch = CP_BITNET,
      .storage = CP_MASTERS,
      .dtype = "F16",
      .n_kv_heads = 8,
      .n_ffn = 340, /* 5460 and 340 leave 84 by 256 */
      .config = ONE_BIT("float16")},
     NULL},
    {"bitnet_b1_58-3b",
     "1bitLLM/bitnet_b1_58-3B",
     {.arch = CP_BITNET,
      .storage = CP_MASTERS,
      .dtype = "F16",
      .n_embd = 384, /* as 3200: 128 by 256 */
      .n_heads = 4,
      .n_kv_heads = 4,
      .head_dim = 96,
      .n_ffn = 448, /* as 8640: 192 by 256 */
      .config = ONE_BIT("float16")},
     NULL},
    {"llama3-8b-1.58",
     "HF1BitLLM/Llama3-8B-1.58-100B-tokens",
     {.arch = CP_LLAMA,
      .storage = CP_PACKED_DIVIDE,
      .untied = true,
      .config = LLAMA(" \"rms_norm_eps\": 1e-05,\n \"rope_scaling\": null,\n"
                      " \"rope_theta\": 500000.0,\n \"tie_word_embeddings\": false,\n"
                      " \"quantization_config\": {\"modules_to_not_convert\": null,"
                      " \"quant_method\": \"bitnet\"}")},
     NULL},
    {"falcon3-1.58bit",
     "tiiuae/Falcon3-*-1.58bit",
     {.arch = CP_LLAMA,
      .storage = CP_PACKED_DIVIDE,
      .untied = true,
      .n_heads = 4,
      .n_kv_heads = 2,
      .head_dim = 64,
      .config = LLAMA(HEAD_DIM " \"is_bitnet_config\": true,\n \"rms_norm_eps\": 1e-06,\n"
                               " \"rope_scaling\": null,\n \"rope_theta\": 1000042,\n"
                               " \"tie_word_embeddings\": false,\n \"quantization_config\": {"
                               "\"modules_to_not_convert\": [\"lm_head\"],"
                               " \"quant_method\": \"bitnet\"}")},
     NULL},
    {"falcon-e",
     "tiiuae/Falcon-E-*",
     {.arch = CP_LLAMA,
      .storage = CP_PACKED_DIVIDE,
      .n_kv_heads = 2,
      .config = LLAMA(" \"is_bitnet_config\": true,\n \"rms_norm_eps\": 1e-05,\n"
                      " \"rope_scaling\": null,\n \"rope_theta\": 1000042,\n"
                      " \"tie_word_embeddings\": true,\n \"quantization_config\": {"
                      "\"modules_to_not_convert\": [\"lm_head\"], \"quant_method\": \"bitnet\"}")},
     NULL},
    {"falcon-e-bfloat16",
     "tiiuae/Falcon-E-*, revision bfloat16",
     {.arch = CP_LLAMA,
      .storage = CP_TERNARY,
      .n_kv_heads = 2,
      .config = LLAMA(" \"rms_norm_eps\": 1e-05,\n \"rope_scaling\": null,\n"
                      " \"rope_theta\": 1000042,\n \"tie_word_embeddings\": true")},
     NULL},
    {"llama-autobitlinear",
     "Llama with linear_class autobitlinear",
     {.arch = CP_LLAMA,
      .storage = CP_PACKED_MULTIPLY,
      .untied = true,
      .config = LLAMA(" \"rms_norm_eps\": 1e-05,\n \"rope_scaling\": null,\n"
                      " \"rope_theta\": 500000.0,\n \"tie_word_embeddings\": false,\n"
                      " \"quantization_config\": {\"linear_class\": \"autobitlinear\","
                      " \"quantization_mode\": \"offline\", \"quant_method\": \"bitnet\"}")},
     NULL},
    {"bitnet-embedding-0.6b",
     "microsoft/bitnet-embedding-0.6b",
     {.arch = CP_QWEN3,
      .storage = CP_MASTERS,
      .head_dim = 64,
      .has_norms_in = true,
      .has_no_prefix = true,
      .ends_texts = true,
      .config = QWEN3("Qwen3Model", "true")},
     "lasttoken"},
    {"bitnet-embedding-270m",
     "microsoft/bitnet-embedding-270m",
     {.arch = CP_GEMMA3,
      .storage = CP_MASTERS,
      .n_layers = 3,
      .n_embd = 384, /* as 640: 128 by 256 */
      .n_heads = 4,
      .n_kv_heads = 1,
      .head_dim = 64,
      .has_norms_in = true,
      .ends_texts = true,
      .config = GEMMA3(
          "Gemma3TextModel",
          " \"layer_types\": [\"sliding_attention\", \"full_attention\","
          " \"sliding_attention\"],\n \"rope_parameters\": {"
          "\"full_attention\": {\"rope_theta\": 1000000.0, \"rope_type\": \"default\"},\n"
          "  \"sliding_attention\": {\"rope_theta\": 10000.0, \"rope_type\": \"default\"}},\n")},
     "lasttoken"},
};

size_t family_count(void)
{
    return sizeof families / sizeof families[0];
}

static struct family whole;

/* With the sizes that the table leaves out. */
const struct family *family_at(size_t i)
{
    whole = families[i];
    struct cp_spec small = cp_spec_small(CP_LLAMA, CP_PLAIN), *s = &whole.spec;
    s->n_layers = s->n_layers ? s->n_layers : small.n_layers;
    s->n_embd = s->n_embd ? s->n_embd : small.n_embd;
    s->n_ffn = s->n_ffn ? s->n_ffn : small.n_ffn;
    s->n_heads = s->n_heads ? s->n_heads : small.n_heads;
    s->n_kv_heads = s->n_kv_heads ? s->n_kv_heads : small.n_kv_heads;
    s->head_dim = s->head_dim ? s->head_dim : small.head_dim;
    s->n_vocab = small.n_vocab;
    s->embed_spread = 0.1f; /* so that no token is beyond doubt */
    s->seed = 100 + i;
    return &whole;
}

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0) abort();
}

static void write_pooling(const struct family *family, const char *dir)
{
    char folder[512], text[512];
    write_text(dir, "modules.json",
               "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": "
               "\"sentence_transformers.models.Transformer\"},\n"
               " {\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": "
               "\"sentence_transformers.models.Pooling\"},\n"
               " {\"idx\": 2, \"name\": \"2\", \"path\": \"2_Normalize\", \"type\": "
               "\"sentence_transformers.models.Normalize\"}]\n");
    snprintf(folder, sizeof folder, "%s/1_Pooling", dir);
    if (mkdir(folder, 0777) != 0) abort();
    snprintf(text, sizeof text,
             "{\"word_embedding_dimension\": %u, \"pooling_mode_cls_token\": false,\n"
             " \"pooling_mode_mean_tokens\": false, \"pooling_mode_max_tokens\": false,\n"
             " \"pooling_mode_%s\": true, \"include_prompt\": true}\n",
             family->spec.n_embd, family->pooling);
    write_text(folder, "config.json", text);
}

void family_write(const struct family *family, const char *dir)
{
    struct checkpoint *cp = cp_new(&family->spec);
    cp_write(cp, dir);
    cp_free(cp);
    if (family->pooling) write_pooling(family, dir);
}
