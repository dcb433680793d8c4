#include "checkpoint.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet/dtype.h"

static void *must(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) abort();
    return p;
}

static uint64_t next(uint64_t *s)
{
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *s)
{
    return (double)(next(s) >> 11) / 9007199254740992.0;
}

static float gauss(uint64_t *s)
{
    double u = 0;
    for (int i = 0; i < 6; i++) u += uniform(s);
    return (float)((u - 3.0) * 1.4);
}

/* --- numbers of each dtype --- */

static size_t width_of(const char *dtype)
{
    if (strcmp(dtype, "F64") == 0) return 8;
    if (strcmp(dtype, "F32") == 0) return 4;
    return strcmp(dtype, "U8") == 0 ? 1 : 2;
}

/* Stores v as `dtype` and returns what a reader gets. */
static float store(const char *dtype, uint8_t *at, float v)
{
    if (strcmp(dtype, "F64") == 0) {
        double d = (double)v;
        memcpy(at, &d, 8);
        return v;
    }
    if (strcmp(dtype, "F32") == 0) {
        memcpy(at, &v, 4);
        return v;
    }
    bool is_f16 = strcmp(dtype, "F16") == 0;
    uint16_t h = is_f16 ? bitnet_f32_to_f16(v) : bitnet_f32_to_bf16(v);
    memcpy(at, &h, 2);
    return is_f16 ? bitnet_f16_to_f32(h) : bitnet_bf16_to_f32(h);
}

/* --- tensors --- */

static struct cp_tensor *add(struct checkpoint *cp, const char *dtype, size_t rows, size_t cols)
{
    cp->tensors = realloc(cp->tensors, (cp->n + 1) * sizeof *cp->tensors);
    if (!cp->tensors) abort();
    struct cp_tensor *t = &cp->tensors[cp->n++];
    memset(t, 0, sizeof *t);
    t->dtype = dtype;
    t->n_dims = rows ? 2 : 1;
    t->dims[0] = rows ? rows : cols;
    t->dims[1] = rows ? cols : 1;
    t->rows = rows ? rows : 1;
    t->cols = cols;
    t->n_bytes = t->rows * cols * width_of(dtype);
    t->bytes = must(t->n_bytes, 1);
    return t;
}

static void name_tensor(struct cp_tensor *t, const char *gguf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    snprintf(t->gguf, sizeof t->gguf, "%s", gguf);
}

static void fill_plain(struct cp_tensor *t, uint64_t *seed, float spread, float offset)
{
    size_t n = t->rows * t->cols, width = width_of(t->dtype);
    t->values = must(n, sizeof *t->values);
    for (size_t i = 0; i < n; i++)
        t->values[i] = store(t->dtype, t->bytes + i * width, offset + spread * gauss(seed));
}

/* Rows of a checkpoint's q and k, [head][half][i], stand in GGUF's llama as [head][i][half]. */
static size_t gguf_row(size_t row, size_t heads, size_t rows)
{
    if (heads == 0) return row;
    size_t d = rows / heads, h = row / d, r = row % d;
    return h * d + (r % (d / 2)) * 2 + r / (d / 2);
}

static void permute(struct cp_tensor *t, size_t heads)
{
    if (heads == 0) return;
    size_t n = t->rows * t->cols;
    float *values = must(n, sizeof *values);
    int8_t *trits = t->trits ? must(n, 1) : NULL;
    for (size_t r = 0; r < t->rows; r++) {
        size_t to = gguf_row(r, heads, t->rows) * t->cols;
        memcpy(values + to, t->values + r * t->cols, t->cols * sizeof *values);
        if (trits) memcpy(trits + to, t->trits + r * t->cols, t->cols);
    }
    free(t->values);
    free(t->trits);
    t->values = values;
    t->trits = trits;
}

static void values_from_trits(struct cp_tensor *t)
{
    size_t n = t->rows * t->cols;
    t->values = must(n, sizeof *t->values);
    for (size_t i = 0; i < n; i++) t->values[i] = (float)t->trits[i] * t->scale;
}

static void random_trits(struct cp_tensor *t, uint64_t *seed)
{
    size_t n = t->rows * t->cols;
    t->trits = must(n, 1);
    for (size_t i = 0; i < n; i++) t->trits[i] = (int8_t)(next(seed) % 3) - 1;
}

static void fill_ternary(struct cp_tensor *t, uint64_t *seed)
{
    size_t width = width_of(t->dtype);
    random_trits(t, seed);
    t->scale = store(t->dtype, t->bytes, (float)(0.01 + uniform(seed)));
    for (size_t i = 0; i < t->rows * t->cols; i++)
        store(t->dtype, t->bytes + i * width, (float)t->trits[i] * t->scale);
    values_from_trits(t);
}

static void fill_masters(struct cp_tensor *t, uint64_t *seed)
{
    size_t n = t->rows * t->cols;
    fill_plain(t, seed, 0.02f, 0.0f);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabs((double)t->values[i]);
    float mean = (float)(sum / (double)n), inverse = 1.0f / fmaxf(mean, 1e-5f);
    t->scale = 1.0f / inverse;
    t->trits = must(n, 1);
    for (size_t i = 0; i < n; i++) {
        float r = nearbyintf(t->values[i] * inverse);
        t->trits[i] = (int8_t)fmaxf(-1, fminf(1, r));
    }
    free(t->values);
    values_from_trits(t);
}

/* Packed row p holds rows p, p + R, p + 2R, p + 3R, low bits first. */
static void pack(struct cp_tensor *t)
{
    size_t packed_rows = (t->rows + 3) / 4;
    t->dims[0] = packed_rows;
    t->n_bytes = packed_rows * t->cols;
    memset(t->bytes, 0, t->n_bytes);
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->cols; c++)
            t->bytes[r % packed_rows * t->cols + c] |=
                (uint8_t)((t->trits[r * t->cols + c] + 1) << (r / packed_rows * 2));
}

static void add_scale(struct checkpoint *cp, size_t of, uint64_t *seed)
{
    struct cp_tensor *s = add(cp, "BF16", 0, 1);
    struct cp_tensor *t = &cp->tensors[of]; /* add() may have moved it */
    bool multiplies = cp->spec.storage == CP_PACKED_MULTIPLY;
    float ws = store("BF16", s->bytes,
                     (float)(multiplies ? 0.5 + uniform(seed) : 20 + 30 * uniform(seed)));
    name_tensor(s, "", "%s_scale", t->name);
    t->scale = multiplies ? ws : 1.0f / ws;
    values_from_trits(t);
}

static void add_linear(struct checkpoint *cp, size_t rows, size_t cols, size_t heads,
                       unsigned layer, const char *gguf, const char *name, uint64_t *seed)
{
    const struct cp_spec *s = &cp->spec;
    bool is_packed = s->storage == CP_PACKED_MULTIPLY || s->storage == CP_PACKED_DIVIDE;
    size_t index = cp->n;
    struct cp_tensor *t = add(cp, is_packed ? "U8" : s->dtype, rows, cols);
    char target[64];
    snprintf(target, sizeof target, "blk.%u.%s.weight", layer, gguf);
    name_tensor(t, target, "model.layers.%u.%s.weight", layer, name);
    switch (s->storage) {
    case CP_PLAIN:
        fill_plain(t, seed, 0.1f, 0.0f);
        break;
    case CP_TERNARY:
        fill_ternary(t, seed);
        break;
    case CP_MASTERS:
        fill_masters(t, seed);
        break;
    case CP_PACKED_MULTIPLY:
    case CP_PACKED_DIVIDE:
        random_trits(t, seed);
        pack(t);
        add_scale(cp, index, seed);
        break;
    }
    if (s->arch == CP_LLAMA) permute(&cp->tensors[index], heads);
}

static void add_norm(struct checkpoint *cp, size_t n, const char *gguf, const char *format,
                     unsigned layer, uint64_t *seed)
{
    /* Gemma's own norms are kept as w - 1, those that BitNet adds are not. */
    bool is_shifted = cp->spec.arch == CP_GEMMA3 && !strstr(gguf, "_norm_in.");
    struct cp_tensor *t = add(cp, "BF16", 0, n);
    char target[64];
    snprintf(target, sizeof target, gguf, layer);
    name_tensor(t, target, format, layer);
    fill_plain(t, seed, 0.1f, is_shifted ? 0.0f : 1.0f);
    for (size_t i = 0; is_shifted && i < n; i++) t->values[i] += 1.0f;
}

static void add_norms_in(struct checkpoint *cp, unsigned l, uint64_t *seed)
{
    const struct cp_spec *s = &cp->spec;
    size_t q = (size_t)s->n_heads * s->head_dim;
    const struct {
        const char *gguf, *name;
        size_t n;
    } norms[] = {
        {"attn_q", "self_attn.q_proj", s->n_embd}, {"attn_k", "self_attn.k_proj", s->n_embd},
        {"attn_v", "self_attn.v_proj", s->n_embd}, {"attn_output", "self_attn.o_proj", q},
        {"ffn_gate", "mlp.gate_proj", s->n_embd},  {"ffn_up", "mlp.up_proj", s->n_embd},
        {"ffn_down", "mlp.down_proj", s->n_ffn}};
    for (size_t i = 0; i < sizeof norms / sizeof norms[0]; i++) {
        char gguf[64], name[96];
        snprintf(gguf, sizeof gguf, "blk.%%u.%s_norm_in.weight", norms[i].gguf);
        snprintf(name, sizeof name, "model.layers.%%u.%s.norm.weight", norms[i].name);
        add_norm(cp, norms[i].n, gguf, name, l, seed);
    }
}

static void add_head_norms(struct checkpoint *cp, unsigned l, uint64_t *seed)
{
    add_norm(cp, cp->spec.head_dim, "blk.%u.attn_q_norm.weight",
             "model.layers.%u.self_attn.q_norm.weight", l, seed);
    add_norm(cp, cp->spec.head_dim, "blk.%u.attn_k_norm.weight",
             "model.layers.%u.self_attn.k_norm.weight", l, seed);
}

static void add_layer(struct checkpoint *cp, unsigned l, uint64_t *seed)
{
    const struct cp_spec *s = &cp->spec;
    size_t q = (size_t)s->n_heads * s->head_dim, kv = (size_t)s->n_kv_heads * s->head_dim;
    add_norm(cp, s->n_embd, "blk.%u.attn_norm.weight", "model.layers.%u.input_layernorm.weight", l,
             seed);
    add_linear(cp, q, s->n_embd, s->n_heads, l, "attn_q", "self_attn.q_proj", seed);
    add_linear(cp, kv, s->n_embd, s->n_kv_heads, l, "attn_k", "self_attn.k_proj", seed);
    add_linear(cp, kv, s->n_embd, 0, l, "attn_v", "self_attn.v_proj", seed);
    add_linear(cp, s->n_embd, q, 0, l, "attn_output", "self_attn.o_proj", seed);
    if (s->arch == CP_GEMMA3)
        add_norm(cp, s->n_embd, "blk.%u.post_attention_norm.weight",
                 "model.layers.%u.post_attention_layernorm.weight", l, seed);
    add_norm(cp, s->n_embd, "blk.%u.ffn_norm.weight",
             s->arch == CP_GEMMA3 ? "model.layers.%u.pre_feedforward_layernorm.weight"
                                  : "model.layers.%u.post_attention_layernorm.weight",
             l, seed);
    add_linear(cp, s->n_ffn, s->n_embd, 0, l, "ffn_gate", "mlp.gate_proj", seed);
    add_linear(cp, s->n_ffn, s->n_embd, 0, l, "ffn_up", "mlp.up_proj", seed);
    add_linear(cp, s->n_embd, s->n_ffn, 0, l, "ffn_down", "mlp.down_proj", seed);
    if (s->arch == CP_GEMMA3)
        add_norm(cp, s->n_embd, "blk.%u.post_ffw_norm.weight",
                 "model.layers.%u.post_feedforward_layernorm.weight", l, seed);
    if (s->arch == CP_QWEN3 || s->arch == CP_GEMMA3) add_head_norms(cp, l, seed);
    if (s->has_norms_in) add_norms_in(cp, l, seed);
    if (s->arch != CP_BITNET_B158 && s->arch != CP_BITNET) return;
    bool is_b158 = s->arch == CP_BITNET_B158;
    add_norm(cp, q, "blk.%u.attn_sub_norm.weight",
             is_b158 ? "model.layers.%u.self_attn.attn_sub_norm.weight"
                     : "model.layers.%u.self_attn.inner_attn_ln.weight",
             l, seed);
    add_norm(cp, s->n_ffn, "blk.%u.ffn_sub_norm.weight",
             is_b158 ? "model.layers.%u.mlp.ffn_sub_norm.weight"
                     : "model.layers.%u.mlp.ffn_layernorm.weight",
             l, seed);
}

static void add_matrix(struct checkpoint *cp, const char *gguf, const char *name, uint64_t *seed)
{
    struct cp_tensor *t = add(cp, "BF16", cp->spec.n_vocab, cp->spec.n_embd);
    name_tensor(t, gguf, "%s", name);
    fill_plain(t, seed, cp->spec.embed_spread > 0 ? cp->spec.embed_spread : 0.5f, 0.0f);
}

/* --- config --- */

static void make_config(struct checkpoint *cp)
{
    static const char *const names[] = {"LlamaForCausalLM", "BitNetForCausalLM",
                                        "BitnetForCausalLM"};
    static const char *const types[] = {"llama", "bitnet", "llama"};
    static const char *const quantization[] = {
        "", "",
        ",\n \"quantization_config\": {\"quant_method\": \"bitnet\", \"linear_class\": "
        "\"autobitlinear\", \"quantization_mode\": \"online\"}",
        ",\n \"quantization_config\": {\"quant_method\": \"bitnet\", \"linear_class\": "
        "\"autobitlinear\", \"quantization_mode\": \"offline\"}",
        ",\n \"quantization_config\": {\"quant_method\": \"bitnet\"}"};
    const struct cp_spec *s = &cp->spec;
    if (s->config) {
        snprintf(cp->config, sizeof cp->config, s->config, s->n_embd, s->n_ffn, s->n_layers,
                 s->n_heads, s->n_kv_heads, s->head_dim, s->n_vocab);
        return;
    }
    if (s->arch > CP_BITNET) abort(); /* these need a config of their own: family.c */
    bool is_1bitllm = s->arch == CP_BITNET;
    snprintf(cp->config, sizeof cp->config,
             "{\"architectures\": [\"%s\"],\n \"model_type\": \"%s\",\n \"hidden_act\": \"%s\",\n"
             " \"hidden_size\": %u,\n \"intermediate_size\": %u,\n \"num_hidden_layers\": %u,\n"
             " \"num_attention_heads\": %u,\n \"num_key_value_heads\": %u,\n \"head_dim\": %u,\n"
             " \"max_position_embeddings\": 256,\n \"rms_norm_eps\": 1e-05,\n"
             " \"rope_theta\": 500000.0,\n \"vocab_size\": %u,\n \"tie_word_embeddings\": %s,\n"
             " \"bos_token_id\": 1,\n \"eos_token_id\": 2%s}\n",
             names[s->arch], types[s->arch], s->arch == CP_BITNET_B158 ? "relu2" : "silu",
             s->n_embd, s->n_ffn, s->n_layers, s->n_heads, s->n_kv_heads, s->head_dim, s->n_vocab,
             s->untied ? "false" : "true",
             is_1bitllm && s->storage == CP_MASTERS ? "" : quantization[s->storage]);
}

struct cp_spec cp_spec_small(enum cp_arch arch, enum cp_storage storage)
{
    return (struct cp_spec){.arch = arch,
                            .storage = storage,
                            .n_layers = 2,
                            .n_embd = 256,
                            .n_ffn = 512,
                            .n_heads = 8,
                            .n_kv_heads = 4,
                            .head_dim = 32,
                            .n_vocab = 262,
                            .untied = arch == CP_LLAMA,
                            .seed = 7};
}

struct checkpoint *cp_new(const struct cp_spec *spec)
{
    struct checkpoint *cp = must(1, sizeof *cp);
    uint64_t seed = spec->seed;
    cp->spec = *spec;
    if (!cp->spec.dtype) cp->spec.dtype = "BF16";
    add_matrix(cp, "token_embd.weight", "model.embed_tokens.weight", &seed);
    for (unsigned l = 0; l < spec->n_layers; l++) add_layer(cp, l, &seed);
    add_norm(cp, spec->n_embd, "output_norm.weight", "model.norm.weight", 0, &seed);
    if (spec->untied) add_matrix(cp, "output.weight", "lm_head.weight", &seed);
    make_config(cp);
    for (size_t i = 0; i < cp->n && spec->has_no_prefix; i++)
        if (strncmp(cp->tensors[i].name, "model.", 6) == 0)
            memmove(cp->tensors[i].name, cp->tensors[i].name + 6, sizeof cp->tensors[i].name - 6);
    return cp;
}

void cp_free(struct checkpoint *cp)
{
    for (size_t i = 0; i < cp->n; i++) {
        free(cp->tensors[i].bytes);
        free(cp->tensors[i].values);
        free(cp->tensors[i].trits);
    }
    free(cp->tensors);
    free(cp);
}

const struct cp_tensor *cp_find(const struct checkpoint *cp, const char *gguf)
{
    for (size_t i = 0; i < cp->n; i++)
        if (strcmp(cp->tensors[i].gguf, gguf) == 0) return &cp->tensors[i];
    return NULL;
}

void cp_set_trits(struct checkpoint *cp, const char *gguf, const int8_t *trits, float scale)
{
    for (size_t i = 0; i + 1 < cp->n; i++) {
        struct cp_tensor *t = &cp->tensors[i];
        if (strcmp(t->gguf, gguf) != 0) continue;
        memcpy(t->trits, trits, t->rows * t->cols);
        pack(t);
        t->scale = store("BF16", cp->tensors[i + 1].bytes, scale); /* its scale follows it */
        free(t->values);
        values_from_trits(t);
        return;
    }
    abort();
}

/* --- files --- */

static FILE *create(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f) abort();
    return f;
}

static void close_whole(FILE *f)
{
    if (fclose(f) != 0) abort();
}

void cp_write_shard(const struct checkpoint *cp, const char *path, size_t first, size_t step)
{
    size_t cap = 4096 + cp->n * 256, n = 0;
    char *header = must(cap, 1);
    uint64_t at = 0;
    n += (size_t)snprintf(header, cap, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = first; i < cp->n; i += step) {
        const struct cp_tensor *t = &cp->tensors[i];
        char dims[64];
        snprintf(dims, sizeof dims, t->n_dims == 2 ? "%zu,%zu" : "%zu", t->dims[0], t->dims[1]);
        n += (size_t)snprintf(
            header + n, cap - n,
            ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}", t->name,
            t->dtype, dims, (unsigned long long)at, (unsigned long long)(at + t->n_bytes));
        at += t->n_bytes;
    }
    header[n++] = '}';
    while (n % 8) header[n++] = ' ';
    FILE *f = fopen(path, "wb");
    if (!f) abort();
    uint64_t length = n;
    fwrite(&length, 8, 1, f);
    fwrite(header, 1, n, f);
    for (size_t i = first; i < cp->n; i += step)
        fwrite(cp->tensors[i].bytes, 1, cp->tensors[i].n_bytes, f);
    close_whole(f);
    free(header);
}

/* A byte-level BPE without merges: three special tokens and the 256 letters of GPT-2's alphabet. */
static void write_tokenizer(const char *dir, bool ends_texts)
{
    FILE *f = create(dir, "tokenizer.json");
    fputs("{\"version\":\"1.0\",\"added_tokens\":[", f);
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    for (int i = 0; i < 3; i++)
        fprintf(f,
                "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                "\"rstrip\":false,\"normalized\":false,\"special\":true}",
                i ? "," : "", i, special[i]);
    fputs("],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
          "false,\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":",
          f);
    fputs(ends_texts ? "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\","
                       "\"type_id\":0}},{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}],"
                       "\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{"
                       "\"id\":\"B\",\"type_id\":0}}],\"special_tokens\":{\"</s>\":{\"id\":"
                       "\"</s>\",\"ids\":[2],\"tokens\":[\"</s>\"]}}}"
                     : "null",
          f);
    fputs(",\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
          "\"use_regex\":"
          "true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"vocab\":{",
          f);
    fputs("\"<unk>\":0,\"<s>\":1,\"</s>\":2", f);
    unsigned moved = 0;
    for (unsigned b = 0; b < 256; b++) {
        bool own = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        fprintf(f, ",\"\\u%04x\":%u", own ? b : 256 + moved++, b + 3);
    }
    fputs("},\"merges\":[]}}", f);
    close_whole(f);
}

static void write_index(const struct checkpoint *cp, const char *dir)
{
    FILE *f = create(dir, "model.safetensors.index.json");
    fputs("{\"metadata\":{\"total_size\":1},\"weight_map\":{", f);
    for (size_t i = 0; i < cp->n; i++)
        fprintf(f, "%s\"%s\":\"model-%05zu-of-%05u.safetensors\"", i ? ",\n" : "",
                cp->tensors[i].name, i % cp->spec.n_shards + 1, cp->spec.n_shards);
    fputs("}}", f);
    close_whole(f);
}

void cp_write(const struct checkpoint *cp, const char *dir)
{
    char path[512];
    FILE *f = create(dir, "config.json");
    fputs(cp->config, f);
    close_whole(f);
    write_tokenizer(dir, cp->spec.ends_texts);
    if (cp->spec.n_shards == 0) {
        snprintf(path, sizeof path, "%s/model.safetensors", dir);
        cp_write_shard(cp, path, 0, 1);
        return;
    }
    write_index(cp, dir);
    for (unsigned s = 0; s < cp->spec.n_shards; s++) {
        snprintf(path, sizeof path, "%s/model-%05u-of-%05u.safetensors", dir, s + 1,
                 cp->spec.n_shards);
        cp_write_shard(cp, path, s, cp->spec.n_shards);
    }
}
