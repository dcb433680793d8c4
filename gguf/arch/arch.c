/* Architectures looked up, and a file's tensors compared with a descriptor: every role of every
 * layer is there, with the right shape and a type that can hold weights; and nothing is there that
 * would change the result without our knowing it. */
#include "bitnet/alloc.h"
#include "bitnet/text.h"

#include "check.h"
#include "roles.h"

#include <inttypes.h>
#include <stdio.h>

static const struct registered {
    const struct bitnet_arch *arch;
    const char *alias;
} archs[] = {
#define ARCH(descriptor, alias) {&bitnet_arch_##descriptor, alias},
#include "archs.def"
#undef ARCH
};

size_t bitnet_arch_count(void)
{
    return COUNT(archs);
}

const struct bitnet_arch *bitnet_arch_at(size_t i)
{
    return i < COUNT(archs) ? archs[i].arch : NULL;
}

const struct bitnet_arch *bitnet_arch_by_name(struct bitnet_str name)
{
    for (size_t i = 0; i < COUNT(archs); i++)
        if (bitnet_str_is(name, archs[i].arch->name) ||
            (archs[i].alias && bitnet_str_is(name, archs[i].alias)))
            return archs[i].arch;
    return NULL;
}

const char *bitnet_gate_name(enum bitnet_gate gate)
{
    static const char *const names[] = {"silu", "relu2", "gelu"};
    return names[gate];
}

uint64_t bitnet_dim_size(const struct bitnet_hparams *hparams, enum bitnet_dim dim)
{
    switch (dim) {
    case BITNET_DIM_NONE:
        return 1;
    case BITNET_DIM_VOCAB:
        return hparams->n_vocab;
    case BITNET_DIM_EMBED:
        return hparams->n_embd;
    case BITNET_DIM_FFN:
        return hparams->n_ffn;
    case BITNET_DIM_Q:
        return (uint64_t)hparams->n_heads * hparams->head_dim;
    case BITNET_DIM_KV:
        return (uint64_t)hparams->n_kv_heads * hparams->head_dim;
    case BITNET_DIM_HEAD:
        return hparams->head_dim;
    case BITNET_DIM_ROT2:
        return hparams->n_rot / 2;
    }
    return 0;
}

/* ------------------------------------------------------------------ one tensor */

struct name_text {
    char text[64];
};

static struct bitnet_str role_name(const struct bitnet_tensor_role *role, uint32_t layer,
                                   struct name_text *out)
{
    int n = snprintf(out->text, sizeof out->text, role->gguf, layer);
    return (struct bitnet_str){out->text, (size_t)n};
}

static bool is_per_layer(const struct bitnet_tensor_role *role)
{
    return strstr(role->gguf, "%u") != NULL;
}

static const char *shape_text(const uint64_t *dims, uint32_t n_dims, char *out, size_t size)
{
    size_t n = 0;
    for (uint32_t i = 0; i < n_dims && n < size; i++) {
        int k = snprintf(out + n, size - n, i ? " x %" PRIu64 : "%" PRIu64, dims[i]);
        if (k > 0) n += (size_t)k;
    }
    return out;
}

static enum bitnet_status check_shape(const struct bitnet_tensor *tensor,
                                      const struct bitnet_tensor_role *role,
                                      const struct bitnet_hparams *hparams,
                                      struct bitnet_error *err)
{
    char found[100], expected[100];
    uint64_t rows = bitnet_dim_size(hparams, role->rows);
    bool is_vector = role->cols == BITNET_DIM_NONE;
    uint64_t want[BITNET_DIMS_MAX] = {rows, 1, 1, 1};
    if (!is_vector) {
        want[0] = bitnet_dim_size(hparams, role->cols);
        want[1] = rows;
    }
    if (memcmp(tensor->dims, want, sizeof want) == 0) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "tensor %s: shape %s, expected %s",
                       BITNET_QUOTE(tensor->name),
                       shape_text(tensor->dims, tensor->n_dims, found, sizeof found),
                       shape_text(want, is_vector ? 1 : 2, expected, sizeof expected));
}

static enum bitnet_status check_type(const struct bitnet_tensor *tensor,
                                     const struct bitnet_tensor_role *role,
                                     struct bitnet_error *err)
{
    const struct bitnet_dtype_info *info = bitnet_dtype_info(tensor->type);
    bool is_norm = role->kind == BITNET_TENSOR_NORM;
    if (is_norm ? info->kind == BITNET_KIND_FLOAT : info->kind != BITNET_KIND_INTEGER)
        return BITNET_OK;
    return bitnet_fail(err, BITNET_UNSUPPORTED, "tensor %s: type %s (expected %s)",
                       BITNET_QUOTE(tensor->name), info->label,
                       is_norm ? "F32, F16 or BF16" : "a type of weights");
}

static enum bitnet_status find_role(const struct bitnet_tensor **tensor,
                                    const struct bitnet_tensor_role *role,
                                    const struct bitnet_hparams *hparams,
                                    const struct bitnet_gguf *gguf, uint32_t layer,
                                    struct bitnet_error *err)
{
    struct name_text room;
    struct bitnet_str name = role_name(role, layer, &room);
    *tensor = bitnet_gguf_find_tensor(gguf, name);
    if (!*tensor) {
        if (role->is_optional) return BITNET_OK;
        return bitnet_fail(err, BITNET_FORMAT, "tensor %s is missing", BITNET_QUOTE(name));
    }
    enum bitnet_status status = check_shape(*tensor, role, hparams, err);
    if (!status) status = check_type(*tensor, role, err);
    return status;
}

enum bitnet_status bitnet_arch_find(const struct bitnet_tensor **tensor,
                                    const struct bitnet_arch *arch,
                                    const struct bitnet_hparams *hparams,
                                    const struct bitnet_gguf *gguf, enum bitnet_role role,
                                    uint32_t layer, struct bitnet_error *err)
{
    *tensor = NULL;
    for (size_t i = 0; i < arch->n_roles; i++)
        if (arch->roles[i].role == role)
            return find_role(tensor, &arch->roles[i], hparams, gguf, layer, err);
    return BITNET_OK; /* this architecture has no such tensor */
}

/* ------------------------------------------------------------------ all tensors */

/* The layer number of "blk.<n>.": decimal, no sign, no leading zero. */
static bool layer_of(struct bitnet_str name, uint64_t *layer)
{
    const char *at = name.at + 4;
    const char *dot = memchr(at, '.', name.n - 4);
    if (!dot) return false;
    struct bitnet_str digits = {at, (size_t)(dot - at)};
    return (digits.n == 1 || (digits.n > 0 && digits.at[0] != '0')) &&
           bitnet_parse_u64(digits, layer);
}

/* True when some descriptor knows this name outside of layers: another architecture would use it.
 */
static bool is_known_elsewhere(struct bitnet_str name)
{
    for (size_t i = 0; i < COUNT(archs); i++)
        for (size_t k = 0; k < archs[i].arch->n_roles; k++)
            if (bitnet_str_is(name, archs[i].arch->roles[k].gguf)) return true;
    return false;
}

/* A tensor that no role claimed. Inside a layer it must be taken for part of the mathematics. */
static enum bitnet_status judge_stranger(struct bitnet_str name, const struct bitnet_arch *arch,
                                         const struct bitnet_hparams *hparams,
                                         struct bitnet_error *err)
{
    bool in_layer = bitnet_str_starts(name, "blk.");
    uint64_t layer = 0;
    if (in_layer && (!layer_of(name, &layer) || layer >= hparams->n_layers))
        return bitnet_fail(err, BITNET_FORMAT,
                           "tensor %s: no such layer (the model has %" PRIu32 ")",
                           BITNET_QUOTE(name), hparams->n_layers);
    if (in_layer || is_known_elsewhere(name)) {
        bitnet_fail(err, BITNET_UNSUPPORTED, "tensor %s has no place in the architecture '%s'",
                    BITNET_QUOTE(name), arch->name);
        return bitnet_hint(err, BITNET_UNSUPPORTED, "leaving it out would change the result");
    }
    return BITNET_OK;
}

static void warn_about_strangers(struct bitnet_str first, size_t n, const struct bitnet_arch *arch,
                                 const struct bitnet_log *log)
{
    if (n == 1)
        bitnet_log_say(log, BITNET_LOG_WARNING, "tensor %s is not used by the architecture '%s'",
                       BITNET_QUOTE(first), arch->name);
    if (n > 1)
        bitnet_log_say(log, BITNET_LOG_WARNING,
                       "tensor %s and %zu more are not used by the architecture '%s'",
                       BITNET_QUOTE(first), n - 1, arch->name);
}

/* ik_llama.cpp keeps -1, 0, +1 in some files and a linear layer's scale in a tensor beside it:
 * "blk.0.attn_q.scale", one F32 (formats.md 6.5). */
static enum bitnet_status claim_scale(const struct bitnet_gguf *gguf, struct bitnet_str weight,
                                      bool *claimed, struct bitnet_error *err)
{
    char name[80];
    if (!bitnet_str_ends(weight, ".weight") || weight.n >= sizeof name) return BITNET_OK;
    size_t stem = weight.n - strlen(".weight");
    memcpy(name, weight.at, stem);
    memcpy(name + stem, ".scale", sizeof ".scale");
    const struct bitnet_tensor *scale = bitnet_gguf_find_tensor(gguf, bitnet_str_of(name));
    if (!scale) return BITNET_OK;
    if (scale->type != BITNET_DTYPE_f32 || scale->data.n != sizeof(float))
        return bitnet_fail(err, BITNET_FORMAT, "tensor '%s': %s of %zu bytes, expected one F32",
                           name, bitnet_dtype_info(scale->type)->label, scale->data.n);
    claimed[scale - bitnet_gguf_tensor_at(gguf, 0)] = true;
    return BITNET_OK;
}

/* Norms of projections: a layer without one would silently be another model. */
static enum bitnet_status check_together(const struct bitnet_gguf *gguf,
                                         const struct bitnet_arch *arch,
                                         const struct bitnet_hparams *hparams,
                                         struct bitnet_error *err)
{
    struct name_text room;
    struct bitnet_str missing = {0};
    char text[sizeof room.text];
    bool is_any = false;
    for (size_t i = 0; i < arch->n_roles; i++) {
        if (!arch->roles[i].is_together) continue;
        for (uint32_t layer = 0; layer < hparams->n_layers; layer++) {
            struct bitnet_str name = role_name(&arch->roles[i], layer, &room);
            bool is_there = bitnet_gguf_find_tensor(gguf, name) != NULL;
            is_any = is_any || is_there;
            if (is_there || missing.at) continue;
            memcpy(text, name.at, name.n);
            missing = (struct bitnet_str){text, name.n};
        }
    }
    if (!is_any || !missing.at) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT,
                       "tensor %s is missing, but other norms of projections are there",
                       BITNET_QUOTE(missing));
}

/* Finds every role's tensor and marks it in `claimed`, one flag per tensor of the file. */
static enum bitnet_status claim_roles(const struct bitnet_gguf *gguf,
                                      const struct bitnet_arch *arch,
                                      const struct bitnet_hparams *hparams, bool *claimed,
                                      struct bitnet_error *err)
{
    const struct bitnet_tensor *tensor;
    for (size_t i = 0; i < arch->n_roles; i++) {
        uint32_t n = is_per_layer(&arch->roles[i]) ? hparams->n_layers : 1;
        for (uint32_t layer = 0; layer < n; layer++) {
            enum bitnet_status status =
                find_role(&tensor, &arch->roles[i], hparams, gguf, layer, err);
            if (status) return status;
            if (tensor) claimed[tensor - bitnet_gguf_tensor_at(gguf, 0)] = true;
            if (tensor && arch->roles[i].kind == BITNET_TENSOR_LINEAR)
                status = claim_scale(gguf, tensor->name, claimed, err);
            if (status) return status;
        }
    }
    return BITNET_OK;
}

static enum bitnet_status check_tensors(const struct bitnet_gguf *gguf,
                                        const struct bitnet_arch *arch,
                                        const struct bitnet_hparams *hparams,
                                        const struct bitnet_log *log, struct bitnet_error *err)
{
    size_t n = bitnet_gguf_tensor_count(gguf);
    bool *claimed = bitnet_alloc(n ? n : 1, sizeof *claimed);
    if (!claimed) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    enum bitnet_status status = claim_roles(gguf, arch, hparams, claimed, err);
    struct bitnet_str first = {0};
    size_t n_strangers = 0;
    for (size_t i = 0; i < n && !status; i++) {
        struct bitnet_str name = bitnet_gguf_tensor_at(gguf, i)->name;
        if (claimed[i]) continue;
        if (n_strangers++ == 0) first = name;
        status = judge_stranger(name, arch, hparams, err);
    }
    if (!status) warn_about_strangers(first, n_strangers, arch, log);
    bitnet_free(claimed);
    return status;
}

enum bitnet_status arch_validate(const struct bitnet_gguf *gguf, const struct bitnet_log *log,
                                 struct bitnet_error *err)
{
    const struct bitnet_arch *arch;
    struct bitnet_hparams hparams;
    enum bitnet_status status = bitnet_hparams_from_gguf(&hparams, &arch, gguf, err);
    const struct bitnet_tensor *embed =
        bitnet_gguf_find_tensor(gguf, BITNET_STR("token_embd.weight"));
    if (!status && embed) status = arch_check_vocabulary(gguf, embed->dims[1], err);
    if (!status) status = check_tensors(gguf, arch, &hparams, log, err);
    if (!status) status = check_together(gguf, arch, &hparams, err);
    return status;
}

enum bitnet_status bitnet_arch_validate(const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    return arch_validate(gguf, NULL, err);
}
