/* See model.h. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writer {
    const struct model_change *change;
    const char *architecture;
    struct spell keys, infos;
    uint64_t n_keys, n_tensors, offset;
};

static bool key(struct writer *w, const char *name, enum bitnet_gguf_type type)
{
    char full[96];
    if (w->change->drop_key && strcmp(name, w->change->drop_key) == 0) return false;
    if (strncmp(name, "llama.", 6) == 0)
        snprintf(full, sizeof full, "%s.%s", w->architecture, name + 6);
    else
        snprintf(full, sizeof full, "%s", name);
    spell_key(&w->keys, full, type);
    w->n_keys++;
    return true;
}

static void key_u32(struct writer *w, const char *name, uint32_t value)
{
    if (key(w, name, BITNET_GGUF_U32)) spell_u32(&w->keys, value);
}

static void key_f32(struct writer *w, const char *name, float value)
{
    uint8_t bytes[4];
    bitnet_store_f32(bytes, value);
    if (key(w, name, BITNET_GGUF_F32)) spell_raw(&w->keys, bytes, 4);
}

static void key_text(struct writer *w, const char *name, const char *text)
{
    if (key(w, name, BITNET_GGUF_STRING)) spell_text(&w->keys, text);
}

static bool key_array(struct writer *w, const char *name, enum bitnet_gguf_type element, uint64_t n)
{
    if (!key(w, name, BITNET_GGUF_ARRAY)) return false;
    spell_u32(&w->keys, (uint32_t)element);
    spell_u64(&w->keys, n);
    return true;
}

static void token_text(uint32_t id, bool is_bpe, char text[16])
{
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    if (id < 3)
        snprintf(text, 16, "%s", first[id]);
    else if (id < 259 && !is_bpe)
        snprintf(text, 16, "<0x%02X>", id - 3);
    else
        snprintf(text, 16, "word%u", id);
}

static void vocabulary(struct writer *w)
{
    bool is_bpe = w->change->is_bpe;
    key_text(w, "tokenizer.ggml.model", is_bpe ? "gpt2" : "llama");
    if (is_bpe) key_text(w, "tokenizer.ggml.pre", "llama-bpe");
    if (key_array(w, "tokenizer.ggml.tokens", BITNET_GGUF_STRING, MODEL_TOKENS))
        for (uint32_t i = 0; i < MODEL_TOKENS; i++) {
            char text[16];
            token_text(i, is_bpe, text);
            spell_text(&w->keys, text);
        }
    if (!is_bpe && key_array(w, "tokenizer.ggml.scores", BITNET_GGUF_F32, MODEL_TOKENS))
        spell_zeros(&w->keys, (size_t)4 * MODEL_TOKENS);
    if (key_array(w, "tokenizer.ggml.token_type", BITNET_GGUF_I32, MODEL_TOKENS))
        for (uint32_t i = 0; i < MODEL_TOKENS; i++)
            spell_u32(&w->keys, i == 0 ? 2 : i < 3 ? 3 : i < 259 && !is_bpe ? 6 : 1);
    if (is_bpe && key_array(w, "tokenizer.ggml.merges", BITNET_GGUF_STRING, 2)) {
        spell_text(&w->keys, "w o");
        spell_text(&w->keys, "  r"); /* a space and r */
    }
    key_u32(w, "tokenizer.ggml.bos_token_id", 1);
    key_u32(w, "tokenizer.ggml.eos_token_id", 2);
    key_text(w, "tokenizer.chat_template", "{{ messages }}");
}

static void tensor(struct writer *w, const char *name, uint32_t n_dims, const uint64_t *dims,
                   uint32_t type)
{
    const struct model_change *change = w->change;
    if (change->drop_tensor && strcmp(name, change->drop_tensor) == 0) return;
    if (change->alter_tensor && strcmp(name, change->alter_tensor) == 0) {
        n_dims = change->n_dims;
        dims = change->dims;
        type = change->type;
    }
    spell_tensor(&w->infos, name, n_dims, dims, type, w->offset);
    uint64_t n_bytes = 0;
    enum bitnet_dtype dtype;
    if (!bitnet_dtype_from_number(BITNET_DIALECT_BITNETCPP, type, &dtype) ||
        bitnet_tensor_bytes(dtype, dims, n_dims, &n_bytes, NULL))
        abort();
    w->offset += (n_bytes + 31) / 32 * 32;
    w->n_tensors++;
}

static void vector(struct writer *w, const char *name, uint64_t n)
{
    tensor(w, name, 1, &n, 0);
}

static void matrix(struct writer *w, const char *name, uint64_t cols, uint64_t rows)
{
    tensor(w, name, 2, (const uint64_t[]){cols, rows}, 1);
}

static void layer(struct writer *w, unsigned number)
{
    static const struct {
        const char *name;
        uint64_t cols, rows; /* rows 0: a vector */
        const char *of;      /* the beginnings of the architectures that have it; NULL: all */
    } rows[] = {
        {"attn_norm", 8, 0, NULL},
        {"attn_q", 8, 8, NULL},
        {"attn_k", 8, 4, NULL},
        {"attn_v", 8, 4, NULL},
        {"attn_output", 8, 8, NULL},
        {"ffn_norm", 8, 0, NULL},
        {"ffn_gate", 8, 16, NULL},
        {"ffn_up", 8, 16, NULL},
        {"ffn_down", 16, 8, NULL},
        {"attn_sub_norm", 8, 0, "bitnet"},
        {"ffn_sub_norm", 16, 0, "bitnet"},
        {"attn_q_norm", 4, 0, "qwen3 gemma3"},
        {"attn_k_norm", 4, 0, "qwen3 gemma3"},
        {"post_attention_norm", 8, 0, "gemma3"},
        {"post_ffw_norm", 8, 0, "gemma3"},
        {"attn_q_norm_in", 8, 0, "in"},
        {"attn_k_norm_in", 8, 0, "in"},
        {"attn_v_norm_in", 8, 0, "in"},
        {"attn_output_norm_in", 8, 0, "in"},
        {"ffn_gate_norm_in", 8, 0, "in"},
        {"ffn_up_norm_in", 8, 0, "in"},
        {"ffn_down_norm_in", 16, 0, "in"},
    };
    char family[7] = {0};
    memcpy(family, w->architecture, strnlen(w->architecture, 6));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[64];
        const char *of = rows[i].of;
        bool is_in = of && strcmp(of, "in") == 0;
        if (is_in ? !w->change->has_norms_in : of && !strstr(of, family)) continue;
        snprintf(name, sizeof name, "blk.%u.%s.weight", number, rows[i].name);
        if (rows[i].rows)
            matrix(w, name, rows[i].cols, rows[i].rows);
        else
            vector(w, name, rows[i].cols);
    }
}

void model_spell(struct spell *s, const struct model_change *change)
{
    struct writer w = {.change = change,
                       .architecture = change->architecture ? change->architecture : "llama"};
    key_text(&w, "general.architecture", w.architecture);
    key_u32(&w, "general.file_type", 1);
    key_u32(&w, "llama.block_count", 2);
    key_u32(&w, "llama.context_length", 64);
    key_u32(&w, "llama.embedding_length", 8);
    key_u32(&w, "llama.feed_forward_length", 16);
    key_u32(&w, "llama.attention.head_count", 2);
    key_u32(&w, "llama.attention.head_count_kv", 1);
    key_f32(&w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    key_f32(&w, "llama.rope.freq_base", 500000.0f);
    key_u32(&w, "llama.rope.dimension_count", 4);
    vocabulary(&w);
    if (change->put_key) {
        change->put_key(&w.keys);
        w.n_keys++;
    }
    matrix(&w, "token_embd.weight", 8, MODEL_TOKENS);
    for (unsigned i = 0; i < 2; i++) layer(&w, i);
    vector(&w, "output_norm.weight", 8);
    if (change->extra_tensor)
        tensor(&w, change->extra_tensor, change->n_dims, change->dims, change->type);

    spell_header(s, 3, w.n_tensors, w.n_keys);
    spell_raw(s, w.keys.at, w.keys.n);
    spell_raw(s, w.infos.at, w.infos.n);
    spell_pad(s, 32);
    spell_zeros(s, w.offset);
    spell_free(&w.keys);
    spell_free(&w.infos);
}
