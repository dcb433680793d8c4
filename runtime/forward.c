/* The transformer, once, for every architecture and device: the order of formats.md section 7,
 * traits of the descriptor where architectures differ, verbs of backend.h for all arithmetic. */
#include "forward.h"

#include "backend.h"

/* The vectors of the tokens from `first` on. */
static struct vectors vectors_from(const struct vectors *vectors, size_t first)
{
    return (struct vectors){
        .at = vector_at(vectors, first), .width = vectors->width, .stride = vectors->stride};
}

void forward(struct bitnet_context *c, const int32_t *tokens, size_t n, size_t n_kept,
             float *logits)
{
    const struct bitnet_model *model = c->model;
    const struct bitnet_hparams *hp = &model->hparams;
    const bool has_sub_norms = model->arch->has_sub_norms;
    struct step *s = &c->step;
    struct vectors x = s->x, h = s->h, q = s->q, gate = s->gate, up = s->up, y = s->y;
    size_t position = c->n_used;

    backend_embed(c, tokens, n, &x);
    backend_angles(c, n);

    for (size_t layer = 0; layer < hp->n_layers; layer++) {
        float *const *norm = model->layers[layer].norm;
        const struct matrix *matrix = model->layers[layer].matrix;

        backend_norm(c, &x, norm[BITNET_ROLE_ATTN_NORM], n, &h);
        backend_multiply(c, &h, n,
                         (struct product[]){{&matrix[BITNET_ROLE_ATTN_Q], &q},
                                            {&matrix[BITNET_ROLE_ATTN_K], &s->k},
                                            {&matrix[BITNET_ROLE_ATTN_V], &s->v}},
                         3);
        backend_rope(c, &q, hp->n_heads, n);
        backend_rope(c, &s->k, hp->n_kv_heads, n);
        backend_remember(c, layer, &s->k, &s->v, n);

        /* The last layer's keys and values are all that later tokens need of the others. */
        if (layer + 1 == hp->n_layers && n_kept < n) {
            size_t first = n - n_kept;
            x = vectors_from(&x, first);
            q = vectors_from(&q, first);
            position += first;
            n = n_kept;
            if (n == 0) return;
        }

        backend_attend(c, layer, &q, position, n);
        if (has_sub_norms) backend_norm(c, &q, norm[BITNET_ROLE_ATTN_SUB_NORM], n, &q);
        backend_multiply(c, &q, n, (struct product[]){{&matrix[BITNET_ROLE_ATTN_OUTPUT], &y}}, 1);
        backend_add(c, &x, &y, n);

        backend_norm(c, &x, norm[BITNET_ROLE_FFN_NORM], n, &h);
        backend_multiply(c, &h, n,
                         (struct product[]){{&matrix[BITNET_ROLE_FFN_GATE], &gate},
                                            {&matrix[BITNET_ROLE_FFN_UP], &up}},
                         2);
        backend_gate(c, &gate, &up, n);
        if (has_sub_norms) backend_norm(c, &gate, norm[BITNET_ROLE_FFN_SUB_NORM], n, &gate);
        backend_multiply(c, &gate, n, (struct product[]){{&matrix[BITNET_ROLE_FFN_DOWN], &y}}, 1);
        backend_add(c, &x, &y, n);
    }

    struct vectors out = {.at = logits, .width = hp->n_vocab, .stride = hp->n_vocab};
    backend_norm(c, &x, model->global.norm[BITNET_ROLE_OUTPUT_NORM], n, &h);
    backend_multiply(c, &h, n, (struct product[]){{model->output, &out}}, 1);
}
