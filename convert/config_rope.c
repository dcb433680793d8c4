/* config.json's words about positions: the rope base, its scaling, and which layers see a window.
 *
 * Older files have rope_theta, rope_local_base_freq and rope_scaling, newer ones rope_parameters,
 * for Gemma 3 once for each kind of layer; what is said twice must agree. Source of truth:
 * transformers' modeling_rope_utils.py and Gemma3TextConfig. */
#include "config.h"

#include "bitnet/text.h"

#include <inttypes.h>
#include <math.h>

/* What Llama's checkpoints meant before rope_theta came. */
#define ROPE_BASE_DEFAULT 10000.0

enum bitnet_status config_positive(const char *key, double value, float *out,
                                   struct bitnet_error *err)
{
    *out = (float)value;
    if (value > 0 && isfinite(*out) && *out > 0) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "'%s': %g (must be positive)", key, value);
}

static bool has_role(const struct bitnet_arch *arch, enum bitnet_role role)
{
    for (size_t i = 0; i < arch->n_roles; i++)
        if (arch->roles[i].role == role) return true;
    return false;
}

/* The stretch of Llama 3.1 and later. */
static enum bitnet_status read_stretch(struct config *config, const struct bitnet_json *scaling,
                                       struct bitnet_error *err)
{
    struct rope_stretch *s = &config->stretch;
    uint64_t original = 0;
    enum bitnet_status status =
        bitnet_json_f64(scaling, "factor", BITNET_REQUIRED, &s->factor, err);
    if (!status)
        status =
            bitnet_json_f64(scaling, "low_freq_factor", BITNET_REQUIRED, &s->low_freq_factor, err);
    if (!status)
        status = bitnet_json_f64(scaling, "high_freq_factor", BITNET_REQUIRED, &s->high_freq_factor,
                                 err);
    if (!status)
        status = bitnet_json_u64(scaling, "original_max_position_embeddings", 1, CONFIG_CONTEXT_MAX,
                                 BITNET_REQUIRED, &original, err);
    if (status) return status;
    s->original_context = (uint32_t)original;
    if (s->factor >= 1 && s->low_freq_factor > 0 && s->high_freq_factor > s->low_freq_factor)
        return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT,
                       "factor %g, low_freq_factor %g and high_freq_factor %g make no sense "
                       "together",
                       s->factor, s->low_freq_factor, s->high_freq_factor);
}

/* "rope_scaling" of older files and "rope_parameters" of newer ones say the same. */
static enum bitnet_status read_scaling(struct config *config, const struct bitnet_json *scaling,
                                       const char *name, struct bitnet_error *err)
{
    struct bitnet_str type = BITNET_STR("default");
    if (!scaling || scaling->kind == BITNET_JSON_NULL) return BITNET_OK;
    if (scaling->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(err, BITNET_FORMAT, "'%s' is not an object", name);
    enum bitnet_status status = bitnet_json_str(scaling, "type", BITNET_OPTIONAL, &type, err);
    if (!status) status = bitnet_json_str(scaling, "rope_type", BITNET_OPTIONAL, &type, err);
    if (status || bitnet_str_is(type, "default")) return status;
    if (bitnet_str_is(type, "llama3") && has_role(config->arch, BITNET_ROLE_ROPE_FREQS)) {
        status = read_stretch(config, scaling, err);
        return status ? bitnet_error_prefix(err, status, "'%s'", name) : BITNET_OK;
    }
    if (!bitnet_str_is(type, "linear"))
        return bitnet_fail(err, BITNET_UNSUPPORTED, "'%s' of type %s is not supported", name,
                           BITNET_QUOTE(type));
    double factor = 1.0;
    status = bitnet_json_f64(scaling, "factor", BITNET_REQUIRED, &factor, err);
    return status ? status : config_positive("factor", factor, &config->hparams.rope_scale, err);
}

/* One base, said at `key` of the file, in `parameters`, or in both alike. */
static enum bitnet_status read_base(const struct bitnet_json *root, const char *key,
                                    const struct bitnet_json *parameters,
                                    enum bitnet_json_need need, float *base,
                                    struct bitnet_error *err)
{
    double older = 0, newer = 0;
    bool is_in_newer = bitnet_json_get(parameters, "rope_theta") != NULL;
    enum bitnet_status status =
        bitnet_json_f64(root, key, is_in_newer ? BITNET_OPTIONAL : need, &older, err);
    bool is_in_older = bitnet_json_get(root, key) != NULL;
    if (!status && is_in_newer)
        status = bitnet_json_f64(parameters, "rope_theta", BITNET_REQUIRED, &newer, err);
    if (status) return status;
    if (is_in_older && is_in_newer && older != newer)
        return bitnet_fail(err, BITNET_FORMAT,
                           "'%s' %g and 'rope_theta' %g of 'rope_parameters' contradict each other",
                           key, older, newer);
    if (!is_in_older && !is_in_newer) return BITNET_OK;
    return config_positive(key, is_in_newer ? newer : older, base, err);
}

/* Local layers rotate by a base of their own and without scaling. */
static enum bitnet_status read_local_rope(struct config *config, const struct bitnet_json *root,
                                          const struct bitnet_json *parameters,
                                          struct bitnet_error *err)
{
    struct bitnet_str type = BITNET_STR("default");
    if (config->hparams.window == 0) return BITNET_OK;
    enum bitnet_status status = BITNET_OK;
    if (parameters) status = bitnet_json_str(parameters, "rope_type", BITNET_OPTIONAL, &type, err);
    if (!status && !bitnet_str_is(type, "default"))
        status = bitnet_fail(err, BITNET_UNSUPPORTED,
                             "'rope_parameters' of type %s is not supported for local layers",
                             BITNET_QUOTE(type));
    return status ? status
                  : read_base(root, "rope_local_base_freq", parameters, BITNET_REQUIRED,
                              &config->hparams.local_rope_base, err);
}

enum bitnet_status config_read_rope(struct config *config, const struct bitnet_json *root,
                                    enum bitnet_json_need need, struct bitnet_error *err)
{
    struct bitnet_hparams *h = &config->hparams;
    const struct bitnet_json *newer = bitnet_json_get(root, "rope_parameters"), *local = NULL;
    if (config->arch->has_local_layers && bitnet_json_get(newer, "full_attention")) {
        local = bitnet_json_get(newer, "sliding_attention");
        newer = bitnet_json_get(newer, "full_attention");
    }
    h->rope_base = (float)ROPE_BASE_DEFAULT;
    h->rope_scale = 1.0f;
    enum bitnet_status status = read_scaling(config, newer, "rope_parameters", err);
    if (!status)
        status = read_scaling(config, bitnet_json_get(root, "rope_scaling"), "rope_scaling", err);
    if (!status) status = read_base(root, "rope_theta", newer, need, &h->rope_base, err);
    return status ? status : read_local_rope(config, root, local, err);
}

/* --- which layers see a window --- */

/* Layer i's word in 'layer_types'. */
static enum bitnet_status layer_is_local(const struct bitnet_json *node, size_t i, bool *is_local,
                                         struct bitnet_error *err)
{
    *is_local = node->kind == BITNET_JSON_STRING && bitnet_str_is(node->text, "sliding_attention");
    if (*is_local ||
        (node->kind == BITNET_JSON_STRING && bitnet_str_is(node->text, "full_attention")))
        return BITNET_OK;
    return bitnet_fail(err, BITNET_UNSUPPORTED,
                       "'layer_types' at %zu is neither full_attention nor sliding_attention", i);
}

/* Every how many layers one is not local. None is: a period that no layer reaches; all: 1. */
static enum bitnet_status period_of(const struct bitnet_json *list, uint32_t n_layers,
                                    uint32_t *period, struct bitnet_error *err)
{
    if (list->kind != BITNET_JSON_ARRAY || list->n_children != n_layers)
        return bitnet_fail(err, BITNET_FORMAT, "'layer_types' is no list of %" PRIu32 " layers",
                           n_layers);
    uint32_t i = 0;
    *period = n_layers + 1;
    for (const struct bitnet_json *v = list->child; v; v = v->next, i++) {
        bool is_local;
        enum bitnet_status status = layer_is_local(v, i, &is_local, err);
        if (status) return status;
        if (!is_local && *period > n_layers) *period = i + 1;
        if (is_local != ((i + 1) % *period != 0))
            return bitnet_fail(err, BITNET_UNSUPPORTED,
                               "'layer_types' has no period: layer %" PRIu32 " breaks it", i);
    }
    return BITNET_OK;
}

static enum bitnet_status read_window(struct config *config, const struct bitnet_json *root,
                                      uint32_t period, struct bitnet_error *err)
{
    struct bitnet_hparams *h = &config->hparams;
    uint64_t window = 0;
    double scalar = 0;
    enum bitnet_status status =
        bitnet_json_f64(root, "query_pre_attn_scalar", BITNET_REQUIRED, &scalar, err);
    if (!status) status = config_positive("query_pre_attn_scalar", scalar, &h->query_scale, err);
    if (!status && scalar == h->head_dim)
        h->query_scale = 0; /* the default */
    else
        h->query_scale = (float)(1.0 / sqrt(scalar));
    if (!status && period > 1)
        status = bitnet_json_u64(root, "sliding_window", 1, CONFIG_CONTEXT_MAX, BITNET_REQUIRED,
                                 &window, err);
    h->window = (uint32_t)window;
    h->window_period = window ? period : 0;
    return status;
}

enum bitnet_status config_read_layers(struct config *config, const struct bitnet_json *root,
                                      struct bitnet_error *err)
{
    const struct bitnet_json *types = bitnet_json_get(root, "layer_types");
    uint64_t pattern = 0;
    uint32_t period = 1;
    enum bitnet_status status = BITNET_OK;
    if (types && types->kind != BITNET_JSON_NULL)
        status = period_of(types, config->hparams.n_layers, &period, err);
    else if (config->arch->has_local_layers) {
        status = bitnet_json_u64(root, "sliding_window_pattern", 1, BITNET_LAYERS_MAX,
                                 BITNET_REQUIRED, &pattern, err);
        period = (uint32_t)pattern;
    }
    if (status) return status;
    if (config->arch->has_local_layers) return read_window(config, root, period, err);
    if (period == 1) return BITNET_OK;
    return bitnet_fail(err, BITNET_UNSUPPORTED,
                       "'layer_types' with sliding_attention is not supported for %s",
                       config->arch->name);
}

/* Long waves are slowed down by the factor, short ones are left alone, and between them one goes
 * over into the other. (transformers, _compute_llama3_parameters, as a quotient of frequencies) */
float config_rope_divisor(const struct config *config, uint32_t i)
{
    const struct rope_stretch *s = &config->stretch;
    double exponent = 2.0 * i / config->hparams.n_rot;
    double wavelength = 6.283185307179586 * pow((double)config->hparams.rope_base, exponent);
    double waves = s->original_context / wavelength; /* that fit into the original context */
    if (waves > s->high_freq_factor) return 1.0f;
    if (waves < s->low_freq_factor) return (float)s->factor;
    double smooth = (waves - s->low_freq_factor) / (s->high_freq_factor - s->low_freq_factor);
    return (float)(1.0 / ((1.0 - smooth) / s->factor + smooth));
}
