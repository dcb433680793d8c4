/* config.json read for computing, apart from config.c, which reads it for writing: keys and their
 * defaults as transformers' configuration classes have them (LlamaConfig, BitNetConfig,
 * Qwen3Config, Gemma3TextConfig), the meaning of weight_scale as integrations/bitnet.py has it. */
#include "reference.h"

#include "bitnet/json.h"
#include "bitnet/text.h"

#include <math.h>

/* What a class assumes where a key is absent. */
static const struct class_defaults {
    const char *model_type;
    const char *act;
    double norm_eps, rope_base;
    bool is_tied;
} classes[] = {
    {"llama", "silu", 1e-6, 10000.0, false},
    {"bitnet", "relu2", 1e-5, 500000.0, false},
    {"qwen3", "silu", 1e-6, 10000.0, false},
    {"gemma3_text", "gelu_pytorch_tanh", 1e-6, 1000000.0, true},
};

static const struct class_defaults *find_class(struct bitnet_str model_type)
{
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (bitnet_str_is(model_type, classes[i].model_type)) return &classes[i];
    return NULL;
}

static enum bitnet_status read_gate(enum reference_gate *gate, const struct bitnet_json *root,
                                    const char *unsaid, struct bitnet_error *err)
{
    static const struct {
        const char *name;
        enum reference_gate gate;
    } names[] = {{"silu", REFERENCE_SILU},
                 {"swish", REFERENCE_SILU},
                 {"relu2", REFERENCE_RELU2},
                 {"gelu_pytorch_tanh", REFERENCE_GELU_TANH},
                 {"gelu_new", REFERENCE_GELU_TANH}};
    struct bitnet_str act = bitnet_str_of(unsaid);
    enum bitnet_status status = bitnet_json_str(root, "hidden_act", BITNET_OPTIONAL, &act, err);
    if (!status) status = bitnet_json_str(root, "hidden_activation", BITNET_OPTIONAL, &act, err);
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !status; i++) {
        *gate = names[i].gate;
        if (bitnet_str_is(act, names[i].name)) return BITNET_OK;
    }
    return status ? status
                  : bitnet_fail(err, BITNET_UNSUPPORTED, "'hidden_act' %s has no reference here",
                                BITNET_QUOTE(act));
}

static enum bitnet_status read_rope(struct reference_numbers *r, const struct bitnet_json *root,
                                    struct bitnet_error *err)
{
    const struct bitnet_json *newer = bitnet_json_get(root, "rope_parameters");
    if (bitnet_json_get(newer, "full_attention")) newer = bitnet_json_get(newer, "full_attention");
    const struct bitnet_json *scaling = newer ? newer : bitnet_json_get(root, "rope_scaling");
    struct bitnet_str type = BITNET_STR("default");
    enum bitnet_status status =
        bitnet_json_f64(root, "rope_theta", BITNET_OPTIONAL, &r->rope_base, err);
    r->rope_factor = 1;
    if (status || !scaling || scaling->kind != BITNET_JSON_OBJECT) return status;
    status = bitnet_json_f64(scaling, "rope_theta", BITNET_OPTIONAL, &r->rope_base, err);
    if (!status) status = bitnet_json_str(scaling, "type", BITNET_OPTIONAL, &type, err);
    if (!status) status = bitnet_json_str(scaling, "rope_type", BITNET_OPTIONAL, &type, err);
    if (status || bitnet_str_is(type, "default")) return status;
    if (bitnet_str_is(type, "linear"))
        return bitnet_json_f64(scaling, "factor", BITNET_REQUIRED, &r->rope_factor, err);
    const struct {
        const char *key;
        double *value;
    } keys[] = {{"factor", &r->stretch_factor},
                {"low_freq_factor", &r->low_freq_factor},
                {"high_freq_factor", &r->high_freq_factor},
                {"original_max_position_embeddings", &r->original_context}};
    if (!bitnet_str_is(type, "llama3"))
        return bitnet_fail(err, BITNET_UNSUPPORTED, "rope of type %s has no reference here",
                           BITNET_QUOTE(type));
    for (size_t i = 0; i < 4 && !status; i++)
        status = bitnet_json_f64(scaling, keys[i].key, BITNET_REQUIRED, keys[i].value, err);
    return status;
}

static enum bitnet_status read_u32(const struct bitnet_json *root, const char *key,
                                   enum bitnet_json_need need, uint32_t *value,
                                   struct bitnet_error *err)
{
    uint64_t v = *value;
    enum bitnet_status status = bitnet_json_u64(root, key, 1, 1u << 20, need, &v, err);
    *value = (uint32_t)v;
    return status;
}

static enum bitnet_status read_shape(struct reference_numbers *r, const struct bitnet_json *root,
                                     struct bitnet_error *err)
{
    enum bitnet_status status =
        read_u32(root, "num_hidden_layers", BITNET_REQUIRED, &r->n_layers, err);
    if (!status) status = read_u32(root, "hidden_size", BITNET_REQUIRED, &r->n_embd, err);
    if (!status) status = read_u32(root, "num_attention_heads", BITNET_REQUIRED, &r->n_heads, err);
    if (status) return status;
    r->n_kv_heads = r->n_heads;
    r->head_dim = r->n_embd / r->n_heads;
    status = read_u32(root, "num_key_value_heads", BITNET_OPTIONAL, &r->n_kv_heads, err);
    if (!status) status = read_u32(root, "head_dim", BITNET_OPTIONAL, &r->head_dim, err);
    if (status || (r->head_dim > 0 && r->head_dim % 2 == 0 && r->n_heads % r->n_kv_heads == 0))
        return status;
    return bitnet_fail(err, BITNET_FORMAT, "%u heads of %u with %u of keys make no sense",
                       r->n_heads, r->head_dim, r->n_kv_heads);
}

/* 1bitLLM's own modeling code makes its layers ternary whenever it runs, and says so nowhere; its
 * configuration class is llama's, whatever model_type says. */
static bool is_1bitllm(const struct bitnet_json *root)
{
    const struct bitnet_json *names = bitnet_json_get(root, "architectures");
    return names && names->child && names->child->kind == BITNET_JSON_STRING &&
           bitnet_str_is(names->child->text, "BitnetForCausalLM");
}

static enum bitnet_status read_layers(struct reference_numbers *r, const struct bitnet_json *root,
                                      struct bitnet_error *err)
{
    const struct bitnet_json *q = bitnet_json_get(root, "quantization_config");
    struct bitnet_str linear_class = BITNET_STR("bitlinear"), mode = BITNET_STR("offline");
    if (!q || q->kind == BITNET_JSON_NULL) {
        r->has_masters = is_1bitllm(root);
        return BITNET_OK;
    }
    enum bitnet_status status =
        bitnet_json_str(q, "linear_class", BITNET_OPTIONAL, &linear_class, err);
    if (!status) status = bitnet_json_str(q, "quantization_mode", BITNET_OPTIONAL, &mode, err);
    r->scales_multiply = bitnet_str_is(linear_class, "autobitlinear");
    r->has_masters = bitnet_str_is(mode, "online");
    return status;
}

/* Five local layers and one that sees all, unless the file says otherwise. */
static enum bitnet_status read_local(struct reference_numbers *r, const struct bitnet_json *root,
                                     struct bitnet_error *err)
{
    const struct bitnet_json *types = bitnet_json_get(root, "layer_types");
    const struct bitnet_json *type = types ? types->child : NULL;
    uint64_t pattern = 6, window = 4096;
    enum bitnet_status status = bitnet_json_u64(root, "sliding_window_pattern", 1, UINT32_MAX,
                                                BITNET_OPTIONAL, &pattern, err);
    if (!status)
        status =
            bitnet_json_u64(root, "sliding_window", 1, UINT32_MAX, BITNET_OPTIONAL, &window, err);
    r->window = (size_t)window;
    for (uint32_t i = 0; i < r->n_layers && i < BITNET_LAYERS_MAX; i++) {
        r->is_local[i] = (i + 1) % pattern != 0;
        if (type) r->is_local[i] = bitnet_str_is(type->text, "sliding_attention");
        if (type) type = type->next;
    }
    return status;
}

static enum bitnet_status read_gemma(struct reference_numbers *r, const struct bitnet_json *root,
                                     struct bitnet_error *err)
{
    double scalar = 256;
    r->is_gemma = true;
    r->local_rope_base = 10000;
    r->embed_scale = sqrt((double)r->n_embd);
    enum bitnet_status status =
        bitnet_json_f64(root, "query_pre_attn_scalar", BITNET_OPTIONAL, &scalar, err);
    if (!status)
        status = bitnet_json_f64(root, "rope_local_base_freq", BITNET_OPTIONAL, &r->local_rope_base,
                                 err);
    const struct bitnet_json *newer =
        bitnet_json_get(bitnet_json_get(root, "rope_parameters"), "sliding_attention");
    if (!status && newer)
        status = bitnet_json_f64(newer, "rope_theta", BITNET_OPTIONAL, &r->local_rope_base, err);
    r->query_scale = 1 / sqrt(scalar);
    return status ? status : read_local(r, root, err);
}

static enum bitnet_status read_root(struct reference_numbers *r, const struct bitnet_json *root,
                                    struct bitnet_error *err)
{
    struct bitnet_str model_type = {0};
    if (root->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(err, BITNET_FORMAT, "the configuration is not an object");
    enum bitnet_status status =
        bitnet_json_str(root, "model_type", BITNET_REQUIRED, &model_type, err);
    if (status) return status;
    const struct class_defaults *c =
        find_class(is_1bitllm(root) ? BITNET_STR("llama") : model_type);
    if (!c)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "model_type %s has no reference here",
                           BITNET_QUOTE(model_type));
    r->norm_eps = c->norm_eps;
    r->rope_base = c->rope_base;
    r->is_tied = c->is_tied;
    status = read_shape(r, root, err);
    r->query_scale = 1 / sqrt((double)r->head_dim);
    r->embed_scale = 1;
    if (!status) status = read_gate(&r->gate, root, c->act, err);
    if (!status) status = read_rope(r, root, err);
    if (!status) status = bitnet_json_f64(root, "rms_norm_eps", BITNET_OPTIONAL, &r->norm_eps, err);
    if (!status)
        status = bitnet_json_bool(root, "tie_word_embeddings", BITNET_OPTIONAL, &r->is_tied, err);
    if (!status) status = read_layers(r, root, err);
    if (!status && bitnet_str_is(model_type, "gemma3_text")) status = read_gemma(r, root, err);
    return status;
}

enum bitnet_status reference_numbers_parse(struct reference_numbers *numbers,
                                           struct bitnet_str text, struct bitnet_error *err)
{
    const struct bitnet_json *root = NULL;
    struct bitnet_arena arena = {0};
    *numbers = (struct reference_numbers){0};
    enum bitnet_status status = bitnet_json_parse(&root, text, NULL, &arena, err);
    if (!status) status = read_root(numbers, root, err);
    bitnet_arena_free(&arena);
    return status;
}
