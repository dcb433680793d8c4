/* The numbers of a model: from metadata keys "<architecture>.*", each within its limit and all in
 * agreement with each other; and back into such keys. Key names: ggml's docs/gguf.md; limits:
 * reliability.md section 4. */
#include "bitnet/text.h"

#include "check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define EMBED_MAX    1048576
#define FFN_MAX      8388608
#define HEADS_MAX    65536
#define HEAD_DIM_MAX 8192
#define EXPERTS_MAX  4096
#define VOCAB_MAX    2097152

static const float rope_base_default = 10000.0f;

/* ------------------------------------------------------------------ agreement */

static enum bitnet_status check_range(const char *what, uint64_t value, uint64_t high,
                                      struct bitnet_error *err)
{
    if (value >= 1 && value <= high) return BITNET_OK;
    return bitnet_fail(err, BITNET_LIMIT, "%s %" PRIu64 " (allowed 1 to %" PRIu64 ")", what, value,
                       high);
}

static enum bitnet_status check_positive(const char *what, double value, struct bitnet_error *err)
{
    if (isfinite(value) && value > 0) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "%s: %g (must be positive)", what, value);
}

enum bitnet_status bitnet_hparams_check(const struct bitnet_hparams *hparams,
                                        struct bitnet_error *err)
{
    const struct bitnet_hparams *h = hparams;
    enum bitnet_status status = check_range("layer count", h->n_layers, BITNET_LAYERS_MAX, err);
    if (!status) status = check_range("width", h->n_embd, EMBED_MAX, err);
    if (!status) status = check_range("feed-forward width", h->n_ffn, FFN_MAX, err);
    if (!status) status = check_range("head count", h->n_heads, HEADS_MAX, err);
    if (!status) status = check_range("key head count", h->n_kv_heads, h->n_heads, err);
    if (!status) status = check_range("head size", h->head_dim, HEAD_DIM_MAX, err);
    if (!status) status = check_range("rotated size", h->n_rot, h->head_dim, err);
    if (!status) status = check_range("vocabulary size", h->n_vocab, VOCAB_MAX, err);
    if (!status) status = check_range("context length", h->n_context, UINT32_MAX, err);
    if (status) return status;
    if (h->n_heads % h->n_kv_heads != 0)
        return bitnet_fail(err, BITNET_FORMAT,
                           "key head count %" PRIu32 " does not divide the head count %" PRIu32,
                           h->n_kv_heads, h->n_heads);
    if (h->n_rot % 2 != 0)
        return bitnet_fail(err, BITNET_FORMAT, "rotated size %" PRIu32 " is odd", h->n_rot);
    if (h->window != 0 && h->window_period < 2)
        return bitnet_fail(err, BITNET_FORMAT,
                           "a window of %" PRIu32 " tokens in every layer but each %" PRIu32
                           ". (allowed are 2 and more)",
                           h->window, h->window_period);
    status = check_positive("norm epsilon", (double)h->norm_eps, err);
    if (!status) status = check_positive("rope base", (double)h->rope_base, err);
    if (!status) status = check_positive("rope scale", (double)h->rope_scale, err);
    if (!status && h->query_scale != 0)
        status = check_positive("query scale", (double)h->query_scale, err);
    if (!status && h->window != 0)
        status = check_positive("local rope base", (double)h->local_rope_base, err);
    return status;
}

/* ------------------------------------------------------------------ reading */

static enum bitnet_status read_u32(const struct bitnet_gguf *gguf, const char *key, uint64_t high,
                                   enum bitnet_gguf_need need, uint32_t *value,
                                   struct bitnet_error *err)
{
    uint64_t number = *value;
    enum bitnet_status status = bitnet_gguf_u64(gguf, key, 1, high, need, &number, err);
    if (!status) *value = (uint32_t)number;
    return status;
}

static enum bitnet_status read_positive(const struct bitnet_gguf *gguf, const char *key,
                                        enum bitnet_gguf_need need, float *value,
                                        struct bitnet_error *err)
{
    double number = (double)*value;
    enum bitnet_status status = bitnet_gguf_f64(gguf, key, need, &number, err);
    if (status) return status;
    *value = (float)number;
    if (isfinite(*value) && *value > 0) return BITNET_OK;
    struct bitnet_str arch = {0}; /* as the file spells it */
    bitnet_gguf_str(gguf, "general.architecture", BITNET_GGUF_OPTIONAL, &arch, NULL);
    return bitnet_fail(err, BITNET_FORMAT, "key '%.*s%s': %g (must be positive)",
                       BITNET_STR_ARGS(arch), key + strlen("%s"), number);
}

static enum bitnet_status read_architecture(const struct bitnet_gguf *gguf,
                                            const struct bitnet_arch **arch,
                                            struct bitnet_error *err)
{
    struct bitnet_str name;
    enum bitnet_status status =
        bitnet_gguf_str(gguf, "general.architecture", BITNET_GGUF_REQUIRED, &name, err);
    if (status) return status;
    *arch = bitnet_arch_by_name(name);
    if (*arch) return BITNET_OK;
    return bitnet_fail(err, BITNET_UNSUPPORTED,
                       "key 'general.architecture': %s is not an architecture we know",
                       BITNET_QUOTE(name));
}

/* Head size: given, or the width shared out among the heads. */
static enum bitnet_status read_heads(const struct bitnet_gguf *gguf, struct bitnet_hparams *h,
                                     struct bitnet_error *err)
{
    enum bitnet_status status = read_u32(gguf, "%s.attention.head_count", HEADS_MAX,
                                         BITNET_GGUF_REQUIRED, &h->n_heads, err);
    if (status) return status;
    h->n_kv_heads = h->n_heads;
    status = read_u32(gguf, "%s.attention.head_count_kv", h->n_heads, BITNET_GGUF_OPTIONAL,
                      &h->n_kv_heads, err);
    if (!status)
        status = read_u32(gguf, "%s.attention.key_length", HEAD_DIM_MAX, BITNET_GGUF_OPTIONAL,
                          &h->head_dim, err);
    if (status) return status;
    if (h->head_dim == 0 && h->n_embd % h->n_heads != 0)
        return bitnet_fail(err, BITNET_FORMAT,
                           "head count %" PRIu32 " does not divide the width %" PRIu32, h->n_heads,
                           h->n_embd);
    if (h->head_dim == 0) h->head_dim = h->n_embd / h->n_heads;
    uint32_t value_length = h->head_dim;
    status = read_u32(gguf, "%s.attention.value_length", HEAD_DIM_MAX, BITNET_GGUF_OPTIONAL,
                      &value_length, err);
    if (!status && value_length != h->head_dim)
        status = bitnet_fail(err, BITNET_UNSUPPORTED,
                             "heads with keys of %" PRIu32 " and values of %" PRIu32
                             " numbers are not supported",
                             h->head_dim, value_length);
    return status;
}

static enum bitnet_status read_rope(const struct bitnet_gguf *gguf, struct bitnet_hparams *h,
                                    struct bitnet_error *err)
{
    struct bitnet_str scaling = BITNET_STR("none");
    h->n_rot = h->head_dim;
    h->rope_base = rope_base_default;
    h->rope_scale = 1.0f;
    enum bitnet_status status = read_u32(gguf, "%s.rope.dimension_count", h->head_dim,
                                         BITNET_GGUF_OPTIONAL, &h->n_rot, err);
    if (!status)
        status = read_positive(gguf, "%s.rope.freq_base", BITNET_GGUF_OPTIONAL, &h->rope_base, err);
    if (!status)
        status = bitnet_gguf_str(gguf, "%s.rope.scaling.type", BITNET_GGUF_OPTIONAL, &scaling, err);
    if (status) return status;
    if (bitnet_str_is(scaling, "none")) return BITNET_OK;
    if (bitnet_str_is(scaling, "linear"))
        return read_positive(gguf, "%s.rope.scaling.factor", BITNET_GGUF_OPTIONAL, &h->rope_scale,
                             err);
    return bitnet_fail(err, BITNET_UNSUPPORTED, "rope scaling %s is not supported",
                       BITNET_QUOTE(scaling));
}

/* Which layers are local, and what they rotate by. The defaults are llama.cpp's: its files of Gemma
 * 3 have neither the period nor the local base. */
static enum bitnet_status read_window(const struct bitnet_gguf *gguf,
                                      const struct bitnet_arch *arch, struct bitnet_hparams *h,
                                      struct bitnet_error *err)
{
    if (!arch->has_local_layers) return BITNET_OK;
    uint64_t window = 0;
    enum bitnet_status status = bitnet_gguf_u64(gguf, "%s.attention.sliding_window", 0, UINT32_MAX,
                                                BITNET_GGUF_OPTIONAL, &window, err);
    if (status || window == 0) return status;
    h->window = (uint32_t)window;
    h->window_period = 6;
    h->local_rope_base = rope_base_default;
    status = read_u32(gguf, "%s.attention.sliding_window_pattern", BITNET_LAYERS_MAX + 1u,
                      BITNET_GGUF_OPTIONAL, &h->window_period, err);
    if (!status)
        status = read_positive(gguf, "%s.rope.freq_base_swa", BITNET_GGUF_OPTIONAL,
                               &h->local_rope_base, err);
    return status;
}

static enum bitnet_status read_query_scale(const struct bitnet_gguf *gguf,
                                           const struct bitnet_arch *arch, struct bitnet_hparams *h,
                                           struct bitnet_error *err)
{
    if (arch->layers_scaled_by_width == h->n_layers)
        h->query_scale = (float)(1.0 / sqrt((double)h->n_embd / h->n_heads));
    double number = (double)h->query_scale;
    enum bitnet_status status =
        bitnet_gguf_f64(gguf, "%s.attention.scale", BITNET_GGUF_OPTIONAL, &number, err);
    h->query_scale = (float)number; /* 0 in files that mean the default */
    return status;
}

static enum bitnet_status read_pooling(const struct bitnet_gguf *gguf, struct bitnet_hparams *h,
                                       struct bitnet_error *err)
{
    uint64_t number = UINT64_MAX;
    enum bitnet_status status =
        bitnet_gguf_u64(gguf, "%s.pooling_type", 0, 4, BITNET_GGUF_OPTIONAL, &number, err);
    if (status || number == UINT64_MAX) return status;
    if (number == 4)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "pooling_type 4 (rank) is not supported");
    h->pooling = (enum bitnet_pooling)(number + 1);
    return BITNET_OK;
}

/* Keys that ask for mathematics which no architecture here has. */
static enum bitnet_status refuse_others(const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    static const char *const caps[] = {"%s.attn_logit_softcapping", "%s.final_logit_softcapping"};
    bool is_causal = true;
    enum bitnet_status status =
        bitnet_gguf_bool(gguf, "%s.attention.causal", BITNET_GGUF_OPTIONAL, &is_causal, err);
    if (!status && !is_causal)
        status = bitnet_fail(err, BITNET_UNSUPPORTED,
                             "attention.causal false: attention to later tokens is not supported");
    for (size_t i = 0; i < sizeof caps / sizeof caps[0] && !status; i++) {
        double cap = 0;
        status = bitnet_gguf_f64(gguf, caps[i], BITNET_GGUF_OPTIONAL, &cap, err);
        if (!status && cap != 0)
            status = bitnet_fail(err, BITNET_UNSUPPORTED, "%s %g is not supported",
                                 caps[i] + strlen("%s."), cap);
    }
    return status;
}

static enum bitnet_status refuse_experts(const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    uint64_t n_experts = 0, n_used = 0;
    enum bitnet_status status = bitnet_gguf_u64(gguf, "%s.expert_count", 0, EXPERTS_MAX,
                                                BITNET_GGUF_OPTIONAL, &n_experts, err);
    if (!status)
        status = bitnet_gguf_u64(gguf, "%s.expert_used_count", 0, n_experts, BITNET_GGUF_OPTIONAL,
                                 &n_used, err);
    if (!status && n_experts > 0)
        status = bitnet_fail(err, BITNET_UNSUPPORTED,
                             "%" PRIu64 " experts: mixture-of-experts models are not supported",
                             n_experts);
    return status;
}

static enum bitnet_status read_vocab_size(const struct bitnet_gguf *gguf, struct bitnet_hparams *h,
                                          struct bitnet_error *err)
{
    size_t n_tokens = 0;
    enum bitnet_status status = arch_count_tokens(gguf, &n_tokens, err);
    if (status) return status;
    const struct bitnet_tensor *embed =
        bitnet_gguf_find_tensor(gguf, BITNET_STR("token_embd.weight"));
    uint64_t n = n_tokens ? n_tokens : embed ? embed->dims[1] : 0;
    if (n == 0) return bitnet_fail(err, BITNET_FORMAT, "tensor 'token_embd.weight' is missing");
    if (n > VOCAB_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "vocabulary of %" PRIu64 " tokens (limit %d)", n,
                           VOCAB_MAX);
    h->n_vocab = (uint32_t)n;
    return BITNET_OK;
}

enum bitnet_status bitnet_hparams_from_gguf(struct bitnet_hparams *hparams,
                                            const struct bitnet_arch **arch,
                                            const struct bitnet_gguf *gguf,
                                            struct bitnet_error *err)
{
    struct bitnet_hparams *h = hparams;
    *h = (struct bitnet_hparams){0};
    enum bitnet_status status = read_architecture(gguf, arch, err);
    if (status) return status;
    status = read_u32(gguf, "%s.block_count", BITNET_LAYERS_MAX, BITNET_GGUF_REQUIRED, &h->n_layers,
                      err);
    if (!status)
        status = read_u32(gguf, "%s.context_length", UINT32_MAX, BITNET_GGUF_REQUIRED,
                          &h->n_context, err);
    if (!status)
        status =
            read_u32(gguf, "%s.embedding_length", EMBED_MAX, BITNET_GGUF_REQUIRED, &h->n_embd, err);
    if (!status)
        status =
            read_u32(gguf, "%s.feed_forward_length", FFN_MAX, BITNET_GGUF_REQUIRED, &h->n_ffn, err);
    if (!status)
        status = read_positive(gguf, "%s.attention.layer_norm_rms_epsilon", BITNET_GGUF_REQUIRED,
                               &h->norm_eps, err);
    if (!status) status = read_heads(gguf, h, err);
    if (!status) status = read_rope(gguf, h, err);
    if (!status) status = read_window(gguf, *arch, h, err);
    if (!status) status = read_query_scale(gguf, *arch, h, err);
    if (!status) status = read_pooling(gguf, h, err);
    if (!status) status = refuse_others(gguf, err);
    if (!status) status = refuse_experts(gguf, err);
    if (!status) status = read_vocab_size(gguf, h, err);
    if (!status) status = bitnet_hparams_check(h, err);
    return status;
}

/* ------------------------------------------------------------------ writing */

struct key_text {
    char text[96];
};

static const char *key_of(const struct bitnet_arch *arch, const char *key, struct key_text *out)
{
    snprintf(out->text, sizeof out->text, "%s.%s", arch->name, key);
    return out->text;
}
/* A key's text inside one call. */
#define KEY(key) key_of(arch, key, &(struct key_text){{0}})

void bitnet_hparams_to_gguf(const struct bitnet_hparams *hparams, const struct bitnet_arch *arch,
                            struct bitnet_gguf_writer *writer)
{
    const struct bitnet_hparams *h = hparams;
    bitnet_gguf_put_u32(writer, KEY("block_count"), h->n_layers);
    bitnet_gguf_put_u32(writer, KEY("context_length"), h->n_context);
    bitnet_gguf_put_u32(writer, KEY("embedding_length"), h->n_embd);
    bitnet_gguf_put_u32(writer, KEY("feed_forward_length"), h->n_ffn);
    bitnet_gguf_put_u32(writer, KEY("vocab_size"), h->n_vocab);
    bitnet_gguf_put_u32(writer, KEY("attention.head_count"), h->n_heads);
    bitnet_gguf_put_u32(writer, KEY("attention.head_count_kv"), h->n_kv_heads);
    bitnet_gguf_put_f32(writer, KEY("attention.layer_norm_rms_epsilon"), h->norm_eps);
    if ((uint64_t)h->n_heads * h->head_dim != h->n_embd) {
        bitnet_gguf_put_u32(writer, KEY("attention.key_length"), h->head_dim);
        bitnet_gguf_put_u32(writer, KEY("attention.value_length"), h->head_dim);
    }
    bitnet_gguf_put_u32(writer, KEY("rope.dimension_count"), h->n_rot);
    bitnet_gguf_put_f32(writer, KEY("rope.freq_base"), h->rope_base);
    if (h->rope_scale != 1.0f) {
        bitnet_gguf_put_str(writer, KEY("rope.scaling.type"), BITNET_STR("linear"));
        bitnet_gguf_put_f32(writer, KEY("rope.scaling.factor"), h->rope_scale);
    }
    if (h->query_scale != 0) bitnet_gguf_put_f32(writer, KEY("attention.scale"), h->query_scale);
    if (h->window != 0) {
        bitnet_gguf_put_u32(writer, KEY("attention.sliding_window"), h->window);
        bitnet_gguf_put_u32(writer, KEY("attention.sliding_window_pattern"), h->window_period);
        bitnet_gguf_put_f32(writer, KEY("rope.freq_base_swa"), h->local_rope_base);
    }
    if (h->pooling != BITNET_POOLING_UNSAID)
        bitnet_gguf_put_u32(writer, KEY("pooling_type"), (uint32_t)h->pooling - 1);
}
