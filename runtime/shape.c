/* See shape.h. */
#include "shape.h"

#include <stdio.h>

static const char *type_of(const struct shape *s, enum bitnet_role role)
{
    const struct bitnet_tensor *tensor = NULL;
    bitnet_arch_find(&tensor, s->arch, s->hparams, s->gguf, role, 0, NULL);
    return tensor ? bitnet_dtype_info(tensor->type)->label : NULL;
}

const char *shape_linear_type(const struct shape *s)
{
    for (size_t i = 0; i < s->arch->n_roles; i++) {
        if (s->arch->roles[i].kind != BITNET_TENSOR_LINEAR) continue;
        const char *label = type_of(s, s->arch->roles[i].role);
        if (label) return label;
    }
    return "?";
}

const char *shape_head_type(const struct shape *s)
{
    const char *label = type_of(s, BITNET_ROLE_OUTPUT);
    if (!label) label = type_of(s, BITNET_ROLE_TOKEN_EMBED);
    return label ? label : "?";
}

void shape_text(const struct shape *s, char text[SHAPE_TEXT_MAX])
{
    const struct bitnet_hparams *h = s->hparams;
    snprintf(text, SHAPE_TEXT_MAX, "%s %ux%u ffn %u heads %u/%ux%u vocab %u %s head %s",
             s->arch->name, (unsigned)h->n_layers, (unsigned)h->n_embd, (unsigned)h->n_ffn,
             (unsigned)h->n_heads, (unsigned)h->n_kv_heads, (unsigned)h->head_dim,
             (unsigned)h->n_vocab, shape_linear_type(s), shape_head_type(s));
}
