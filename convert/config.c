/* config.json.
 *
 * In: the text that transformers wrote. Out: architecture, hyper-parameters, quantization. Source
 * of truth: transformers' configuration classes of each model_type, and BitNetQuantConfig. Where a
 * key is absent, the number is what the format meant before the key came, or the key is missing and
 * named; positions and windows are config_rope.c's. A key that changes the mathematics and that we
 * do not follow is refused by name; keys that do not are ignored. */
#include "config.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/json.h"
#include "bitnet/text.h"

#include <inttypes.h>
#include <math.h>

#define CONFIG_BYTES_MAX (1u << 20)
#define VOCAB_MAX        2097152u
#define KEPT_MAX         65536u

/* Ranges of the numbers, so that the message can name the key of this file;
 * bitnet_hparams_check() holds the relations too. */
#define WIDTH_MAX    1048576u
#define FFN_MAX      8388608u
#define HEADS_MAX    65536u
#define HEAD_DIM_MAX 8192u

/* --- which model --- */

static const struct bitnet_arch *arch_for(struct bitnet_str source_name)
{
    for (size_t i = 0; i < bitnet_arch_count(); i++) {
        const struct bitnet_arch *arch = bitnet_arch_at(i);
        for (const char *const *name = arch->source_names; name && *name; name++)
            if (bitnet_str_is(source_name, *name)) return arch;
    }
    return NULL;
}

/* What transformers' names imply. model_type decides what transformers does, architectures[0] what
 * we do: they must tell the same story. `unsaid` is what linear layers are when there is no
 * quantization_config: 1bitLLM's own modeling code makes them ternary whenever it runs, and its
 * model_type is "llama". `is_tied` is what a configuration without tie_word_embeddings means.
 * `is_young`: num_key_value_heads and the rope base must be said, because the class has defaults of
 * its own for them (and with `has_head_dim` for the head size); for Llama the keys came later than
 * the format, and what was meant before they came is known. A backbone is saved without an output
 * matrix. */
static const struct family {
    const char *source_name;
    const char *model_types[3];
    const char *activation_key;
    enum quantization unsaid;
    bool is_tied, is_young, has_head_dim, is_backbone;
} families[] = {
    {.source_name = "LlamaForCausalLM", .model_types = {"llama"}, .activation_key = "hidden_act"},
    {.source_name = "BitnetForCausalLM",
     .model_types = {"llama", "bitnet"},
     .activation_key = "hidden_act",
     .unsaid = QUANTIZATION_ONLINE},
    {.source_name = "BitNetForCausalLM",
     .model_types = {"bitnet"},
     .activation_key = "hidden_act",
     .is_young = true},
    {.source_name = "Qwen3ForCausalLM",
     .model_types = {"qwen3"},
     .activation_key = "hidden_act",
     .is_young = true,
     .has_head_dim = true},
    {.source_name = "Qwen3Model",
     .model_types = {"qwen3"},
     .activation_key = "hidden_act",
     .is_young = true,
     .has_head_dim = true,
     .is_backbone = true},
    {.source_name = "Gemma3ForCausalLM",
     .model_types = {"gemma3_text"},
     .activation_key = "hidden_activation",
     .is_tied = true,
     .is_young = true,
     .has_head_dim = true},
    {.source_name = "Gemma3TextModel",
     .model_types = {"gemma3_text"},
     .activation_key = "hidden_activation",
     .is_tied = true,
     .is_young = true,
     .has_head_dim = true,
     .is_backbone = true},
};

/* NULL: not listed, so nobody knows what its configuration means. */
static const struct family *find_family(struct bitnet_str source_name)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (bitnet_str_is(source_name, families[i].source_name)) return &families[i];
    return NULL;
}

static bool model_type_agrees(const struct family *family, struct bitnet_str model_type)
{
    for (const char *const *t = family->model_types; *t; t++)
        if (bitnet_str_is(model_type, *t)) return true;
    return false;
}

static enum bitnet_status read_arch(struct config *config, const struct family **family,
                                    const struct bitnet_json *root, struct bitnet_error *err)
{
    const struct bitnet_json *list = bitnet_json_get(root, "architectures");
    if (!list || list->kind != BITNET_JSON_ARRAY || !list->child)
        return bitnet_fail(err, BITNET_FORMAT, "'architectures' is missing or is no list");
    const struct bitnet_json *first = list->child;
    if (first->kind != BITNET_JSON_STRING)
        return bitnet_fail(err, BITNET_FORMAT, "'architectures' does not begin with a name");

    config->arch = arch_for(first->text);
    *family = find_family(first->text);
    if (!config->arch || !*family)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "architecture %s is not supported",
                           BITNET_QUOTE(first->text));
    struct bitnet_str model_type = {0};
    enum bitnet_status status =
        bitnet_json_str(root, "model_type", BITNET_REQUIRED, &model_type, err);
    if (status) return status;
    config->quantization = (*family)->unsaid;
    config->is_tied = (*family)->is_tied;
    if (model_type_agrees(*family, model_type)) return BITNET_OK;
    return bitnet_fail(err, BITNET_UNSUPPORTED,
                       "'model_type' %s does not belong to architecture %s",
                       BITNET_QUOTE(model_type), BITNET_QUOTE(first->text));
}

/* How transformers spells the gates. */
static const struct {
    const char *name;
    enum bitnet_gate gate;
} activations[] = {{"silu", BITNET_GATE_SILU},
                   {"swish", BITNET_GATE_SILU},
                   {"relu2", BITNET_GATE_RELU2},
                   {"gelu_pytorch_tanh", BITNET_GATE_GELU}};

static enum bitnet_status check_activation(const struct config *config, const struct family *family,
                                           const struct bitnet_json *root, struct bitnet_error *err)
{
    static const char *const keys[] = {"hidden_act", "hidden_activation"};
    struct bitnet_str act = {0};
    enum bitnet_status status =
        bitnet_json_str(root, family->activation_key, BITNET_REQUIRED, &act, err);
    for (size_t k = 0; k < sizeof keys / sizeof keys[0] && !status; k++) {
        bool agrees = false;
        status = bitnet_json_str(root, keys[k], BITNET_OPTIONAL, &act, err);
        for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++)
            agrees = agrees || (activations[i].gate == config->arch->gate &&
                                bitnet_str_is(act, activations[i].name));
        if (!status && !agrees)
            status = bitnet_fail(
                err, BITNET_UNSUPPORTED, "'%s' %s is not supported (%s computes %s)", keys[k],
                BITNET_QUOTE(act), config->arch->name, bitnet_gate_name(config->arch->gate));
    }
    return status;
}

/* Things that would need tensors or mathematics that the architectures here do not have. */
static enum bitnet_status check_extras(const struct bitnet_json *root, struct bitnet_error *err)
{
    static const char *const flags[] = {"attention_bias", "mlp_bias", "use_sliding_window",
                                        "use_bidirectional_attention"};
    static const struct {
        const char *key;
        double harmless;
    } numbers[] = {{"partial_rotary_factor", 1},
                   {"attn_logit_softcapping", 0},
                   {"final_logit_softcapping", 0},
                   {"weight_bits", 1}, /* 1bitLLM's */
                   {"input_bits", 8},
                   {"num_experts", 0}};
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0] && !status; i++) {
        bool is_on = false;
        status = bitnet_json_bool(root, flags[i], BITNET_OPTIONAL, &is_on, err);
        if (!status && is_on)
            status = bitnet_fail(err, BITNET_UNSUPPORTED, "'%s' true is not supported", flags[i]);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && !status; i++) {
        double value = numbers[i].harmless;
        status = bitnet_json_f64(root, numbers[i].key, BITNET_OPTIONAL, &value, err);
        if (!status && value != numbers[i].harmless)
            status = bitnet_fail(err, BITNET_UNSUPPORTED, "'%s' %g is not supported",
                                 numbers[i].key, value);
    }
    return status;
}

/* --- numbers --- */

static enum bitnet_status read_u32(const struct bitnet_json *root, const char *key, uint64_t high,
                                   enum bitnet_json_need need, uint32_t *value,
                                   struct bitnet_error *err)
{
    uint64_t v = *value;
    enum bitnet_status status = bitnet_json_u64(root, key, 1, high, need, &v, err);
    *value = (uint32_t)v;
    return status;
}

static enum bitnet_status check_heads(const struct bitnet_hparams *h, bool has_head_dim,
                                      struct bitnet_error *err)
{
    if (!has_head_dim && h->n_embd % h->n_heads != 0)
        return bitnet_fail(err, BITNET_FORMAT,
                           "'num_attention_heads' %u does not divide 'hidden_size' %u", h->n_heads,
                           h->n_embd);
    if (h->n_heads % h->n_kv_heads != 0)
        return bitnet_fail(err, BITNET_FORMAT,
                           "'num_key_value_heads' %u does not divide 'num_attention_heads' %u",
                           h->n_kv_heads, h->n_heads);
    return BITNET_OK;
}

static enum bitnet_json_need needed(bool is_needed)
{
    return is_needed ? BITNET_REQUIRED : BITNET_OPTIONAL;
}

static enum bitnet_status read_shape(struct bitnet_hparams *h, const struct family *family,
                                     const struct bitnet_json *root, struct bitnet_error *err)
{
    const struct {
        const char *key;
        uint64_t high;
        uint32_t *value;
    } required[] = {
        {"hidden_size", WIDTH_MAX, &h->n_embd},
        {"intermediate_size", FFN_MAX, &h->n_ffn},
        {"num_hidden_layers", BITNET_LAYERS_MAX, &h->n_layers},
        {"num_attention_heads", HEADS_MAX, &h->n_heads},
        {"vocab_size", VOCAB_MAX, &h->n_vocab},
        {"max_position_embeddings", CONFIG_CONTEXT_MAX, &h->n_context},
    };
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < sizeof required / sizeof required[0] && !status; i++)
        status = read_u32(root, required[i].key, required[i].high, BITNET_REQUIRED,
                          required[i].value, err);
    h->n_kv_heads = h->n_heads;
    if (!status)
        status = read_u32(root, "num_key_value_heads", HEADS_MAX, needed(family->is_young),
                          &h->n_kv_heads, err);
    if (!status)
        status = read_u32(root, "head_dim", HEAD_DIM_MAX, needed(family->has_head_dim),
                          &h->head_dim, err);
    if (status) return status;

    bool has_head_dim = h->head_dim != 0;
    status = check_heads(h, has_head_dim, err);
    if (!has_head_dim) h->head_dim = h->n_embd / h->n_heads;
    h->n_rot = h->head_dim;
    return status;
}

static enum bitnet_status read_numbers(struct config *config, const struct family *family,
                                       const struct bitnet_json *root, struct bitnet_error *err)
{
    struct bitnet_hparams *h = &config->hparams;
    double eps = 0;
    enum bitnet_status status = read_shape(h, family, root, err);
    if (!status) status = bitnet_json_f64(root, "rms_norm_eps", BITNET_REQUIRED, &eps, err);
    if (!status) status = config_positive("rms_norm_eps", eps, &h->norm_eps, err);
    if (!status) status = config_read_layers(config, root, err);
    if (!status) status = config_read_rope(config, root, needed(family->is_young), err);
    if (!status)
        status =
            bitnet_json_bool(root, "tie_word_embeddings", BITNET_OPTIONAL, &config->is_tied, err);
    config->is_backbone = family->is_backbone;
    return status ? status : bitnet_hparams_check(h, err);
}

/* bos_token_id and eos_token_id: a number, a list of numbers, or null. */
static enum bitnet_status check_token_id(const struct bitnet_json *node, const char *key,
                                         uint32_t n_vocab, struct bitnet_error *err)
{
    uint64_t id = 0;
    int64_t none = 0;
    if (bitnet_json_as_i64(node, &none) && none == -1) return BITNET_OK; /* "no such token" */
    if (node->kind != BITNET_JSON_NUMBER || !bitnet_json_as_u64(node, &id) || id >= n_vocab)
        return bitnet_fail(err, BITNET_FORMAT, "'%s': %s is not a token id (allowed 0 to %u)", key,
                           node->kind == BITNET_JSON_NUMBER || node->kind == BITNET_JSON_STRING
                               ? BITNET_QUOTE(node->text)
                               : "this",
                           n_vocab - 1);
    return BITNET_OK;
}

static enum bitnet_status check_token_ids(const struct bitnet_json *root, uint32_t n_vocab,
                                          struct bitnet_error *err)
{
    static const char *const keys[] = {"bos_token_id", "eos_token_id"};
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !status; i++) {
        const struct bitnet_json *node = bitnet_json_get(root, keys[i]);
        if (!node || node->kind == BITNET_JSON_NULL) continue;
        if (node->kind != BITNET_JSON_ARRAY) {
            status = check_token_id(node, keys[i], n_vocab, err);
            continue;
        }
        for (const struct bitnet_json *v = node->child; v && !status; v = v->next)
            status = check_token_id(v, keys[i], n_vocab, err);
    }
    return status;
}

/* --- quantization_config --- */

static enum bitnet_status read_kept(struct config *config, const struct bitnet_json *q,
                                    struct bitnet_error *err)
{
    const struct bitnet_json *list = bitnet_json_get(q, "modules_to_not_convert");
    if (!list || list->kind == BITNET_JSON_NULL) return BITNET_OK;
    if (list->kind != BITNET_JSON_ARRAY)
        return bitnet_fail(err, BITNET_FORMAT, "'modules_to_not_convert' is not a list");
    if (list->n_children > KEPT_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "'modules_to_not_convert': %zu entries (limit %u)",
                           list->n_children, KEPT_MAX);
    struct bitnet_str *kept =
        bitnet_arena_alloc(&config->arena, list->n_children + 1, sizeof *kept);
    if (!kept) return bitnet_fail(err, BITNET_MEMORY, "no memory for config.json");
    config->kept = kept;
    for (const struct bitnet_json *v = list->child; v; v = v->next) {
        if (v->kind != BITNET_JSON_STRING)
            return bitnet_fail(err, BITNET_FORMAT, "'modules_to_not_convert' holds no name at %zu",
                               config->n_kept);
        kept[config->n_kept] = bitnet_arena_copy(&config->arena, v->text);
        if (!kept[config->n_kept++].at)
            return bitnet_fail(err, BITNET_MEMORY, "no memory for config.json");
    }
    return BITNET_OK;
}

/* The direction of weight_scale is a property of the linear class, never of its magnitude. */
static enum bitnet_status choose(struct config *config, struct bitnet_str linear_class,
                                 struct bitnet_str mode, struct bitnet_error *err)
{
    bool is_auto = bitnet_str_is(linear_class, "autobitlinear");
    if (!is_auto && !bitnet_str_is(linear_class, "bitlinear"))
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "'quantization_config.linear_class' %s is not supported",
                           BITNET_QUOTE(linear_class));
    bool is_online = bitnet_str_is(mode, "online");
    if (!is_online && !bitnet_str_is(mode, "offline"))
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "'quantization_config.quantization_mode' %s is not supported",
                           BITNET_QUOTE(mode));
    if (is_online && !is_auto)
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "'quantization_config.quantization_mode' online with linear class "
                           "bitlinear has no defined weights");
    config->quantization = is_online ? QUANTIZATION_ONLINE
                           : is_auto ? QUANTIZATION_PACKED_MULTIPLY
                                     : QUANTIZATION_PACKED_DIVIDE;
    return BITNET_OK;
}

static enum bitnet_status read_quantization(struct config *config, const struct bitnet_json *root,
                                            struct bitnet_error *err)
{
    const struct bitnet_json *q = bitnet_json_get(root, "quantization_config");
    struct bitnet_str method = {0};
    struct bitnet_str linear_class = BITNET_STR("bitlinear"), mode = BITNET_STR("offline");
    bool use_rms_norm = false;
    if (!q || q->kind == BITNET_JSON_NULL) return BITNET_OK;
    if (q->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(err, BITNET_FORMAT, "'quantization_config' is not an object");

    enum bitnet_status status = bitnet_json_str(q, "quant_method", BITNET_REQUIRED, &method, err);
    if (status) return bitnet_error_prefix(err, status, "'quantization_config'");
    if (!bitnet_str_is(method, "bitnet"))
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "'quantization_config.quant_method' %s is not supported",
                           BITNET_QUOTE(method));
    status = bitnet_json_str(q, "linear_class", BITNET_OPTIONAL, &linear_class, err);
    if (!status) status = bitnet_json_str(q, "quantization_mode", BITNET_OPTIONAL, &mode, err);
    if (!status) status = bitnet_json_bool(q, "use_rms_norm", BITNET_OPTIONAL, &use_rms_norm, err);
    if (!status) status = read_kept(config, q, err);
    if (status) return bitnet_error_prefix(err, status, "'quantization_config'");
    if (use_rms_norm)
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "'quantization_config.use_rms_norm' true is not supported: no runtime "
                           "has the norm inside each linear layer");
    return choose(config, linear_class, mode, err);
}

/* --- the whole --- */

static enum bitnet_status read_root(struct config *config, const struct bitnet_json *root,
                                    struct bitnet_error *err)
{
    if (root->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(err, BITNET_FORMAT, "the configuration is not an object");
    const struct family *family = NULL;
    enum bitnet_status status = read_arch(config, &family, root, err);
    if (!status) status = check_activation(config, family, root, err);
    if (!status) status = check_extras(root, err);
    if (!status) status = read_numbers(config, family, root, err);
    if (!status) status = check_token_ids(root, config->hparams.n_vocab, err);
    if (!status) status = read_quantization(config, root, err);
    return status;
}

enum bitnet_status config_parse(struct config *config, struct bitnet_str text,
                                struct bitnet_error *err)
{
    struct bitnet_arena scratch = {0};
    const struct bitnet_json *root = NULL;
    struct bitnet_json_limits limits = {.max_bytes = CONFIG_BYTES_MAX};
    *config = (struct config){0};
    enum bitnet_status status = bitnet_json_parse(&root, text, &limits, &scratch, err);
    if (!status) status = read_root(config, root, err);
    bitnet_arena_free(&scratch);
    if (status) config_free(config);
    return status;
}

/* When the text is no JSON because it is something well known, that is the better message. */
static enum bitnet_status explain(struct bitnet_str text, enum bitnet_status status,
                                  struct bitnet_error *err)
{
    const char *hint = NULL;
    const char *accident =
        bitnet_file_accident((struct bitnet_bytes){(const uint8_t *)text.at, text.n}, &hint);
    if (status != BITNET_FORMAT || !accident || (text.n > 0 && text.at[0] == '{')) return status;
    bitnet_fail(err, status, "%s", accident);
    return hint ? bitnet_hint(err, status, "%s", hint) : status;
}

enum bitnet_status config_read(struct config *config, const char *dir, struct bitnet_error *err)
{
    struct bitnet_str text = {0};
    *config = (struct config){0};
    char *path = bitnet_path_join(dir, BITNET_STR("config.json"));
    if (!path) return bitnet_fail(err, BITNET_MEMORY, "no memory for config.json");
    enum bitnet_status status = bitnet_read_file(path, CONFIG_BYTES_MAX, &text, err);
    if (!status) {
        status = config_parse(config, text, err);
        if (status) status = explain(text, status, err);
        if (status) status = bitnet_error_prefix(err, status, "%s", path);
    }
    bitnet_free((void *)(uintptr_t)text.at);
    bitnet_free(path);
    return status;
}

void config_free(struct config *config)
{
    bitnet_arena_free(&config->arena);
    *config = (struct config){0};
}

/* transformers compares the beginning of a module's full name, its end, and (older versions) each
 * part of it. */
static bool names_module(struct bitnet_str kept, struct bitnet_str module)
{
    if (bitnet_str_equal(kept, module)) return true;
    size_t before = module.n - kept.n;
    if (module.n > kept.n && module.at[before - 1] == '.' &&
        memcmp(module.at + before, kept.at, kept.n) == 0)
        return true;
    if (module.n > kept.n && module.at[kept.n] == '.' && memcmp(module.at, kept.at, kept.n) == 0)
        return true;
    for (size_t begin = 0, i = 0; i <= module.n; i++) {
        if (i < module.n && module.at[i] != '.') continue;
        if (bitnet_str_equal(kept, (struct bitnet_str){module.at + begin, i - begin})) return true;
        begin = i + 1;
    }
    return false;
}

bool config_keeps(const struct config *config, struct bitnet_str tensor_name)
{
    struct bitnet_str module = tensor_name;
    if (bitnet_str_ends(module, ".weight")) module.n -= strlen(".weight");
    for (size_t i = 0; i < config->n_kept; i++)
        if (config->kept[i].n && names_module(config->kept[i], module)) return true;
    return false;
}
