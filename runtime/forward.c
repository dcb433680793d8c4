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

/* One projection: its matrix, the norm that only its input goes through (in some architectures),
 * and where the product goes. */
struct projection {
    enum bitnet_role matrix, norm;
    const struct vectors *y;
};

#define PROJECTIONS_MAX 3

/* Several projections of one input: at once where they share it, else each of its own norm of it.
 */
static void project(struct bitnet_context *c, const struct layer *layer, const struct vectors *x,
                    size_t n, const struct projection *projections, size_t n_projections)
{
    const struct backend *b = c->backend;
    struct product products[PROJECTIONS_MAX];
    struct vectors normed = c->step.normed;
    for (size_t i = 0; i < n_projections; i++)
        products[i] = (struct product){&layer->matrix[projections[i].matrix], projections[i].y};
    if (!normed.at) {
        b->multiply(c, x, n, products, n_projections);
        return;
    }
    normed.width = x->width;
    for (size_t i = 0; i < n_projections; i++) {
        b->norm(c, x, layer->norm[projections[i].norm], n, &normed);
        b->multiply(c, &normed, n, &products[i], 1);
    }
}

/* x += y, through the block's last norm where it has one. */
static void add_block(struct bitnet_context *c, const struct vectors *x, const struct vectors *y,
                      const float *norm, size_t n)
{
    const struct backend *b = c->backend;
    if (norm) b->norm(c, y, norm, n, y);
    b->add(c, x, y, n);
}

void forward(struct bitnet_context *c, size_t n, size_t n_kept, float *results)
{
    const struct backend *b = c->backend;
    const struct bitnet_model *model = c->model;
    const struct bitnet_hparams *hp = &model->hparams;
    struct step *s = &c->step;
    struct vectors x = s->x, h = s->h, q = s->q, gate = s->gate, up = s->up, y = s->y;
    size_t first = 0; /* token of the batch that is still on its way */

    b->embed(c, n, &x);
    b->angles(c, n);

    for (uint32_t i = 0; i < hp->n_layers; i++) {
        const struct layer *layer = &model->layers[i];
        float *const *norm = layer->norm; /* NULL where the architecture has none */
        const bool is_local = bitnet_layer_is_local(hp, i);

        b->norm(c, &x, norm[BITNET_ROLE_ATTN_NORM], n, &h);
        project(c, layer, &h, n,
                (struct projection[]){{BITNET_ROLE_ATTN_Q, BITNET_ROLE_ATTN_Q_NORM_IN, &q},
                                      {BITNET_ROLE_ATTN_K, BITNET_ROLE_ATTN_K_NORM_IN, &s->k},
                                      {BITNET_ROLE_ATTN_V, BITNET_ROLE_ATTN_V_NORM_IN, &s->v}},
                3);
        if (norm[BITNET_ROLE_ATTN_Q_NORM]) {
            b->norm_heads(c, &q, hp->n_heads, norm[BITNET_ROLE_ATTN_Q_NORM], n);
            b->norm_heads(c, &s->k, hp->n_kv_heads, norm[BITNET_ROLE_ATTN_K_NORM], n);
        }
        b->rope(c, &q, hp->n_heads, is_local, n);
        b->rope(c, &s->k, hp->n_kv_heads, is_local, n);
        b->remember(c, i, &s->k, &s->v, n);

        /* The last layer's keys and values are all that later tokens need of the others. */
        if (i + 1 == hp->n_layers && n_kept < n) {
            first = n - n_kept;
            x = vectors_from(&x, first);
            q = vectors_from(&q, first);
            n = n_kept;
            if (n == 0) return;
        }

        b->attend(c, i, &q, first, n);
        if (norm[BITNET_ROLE_ATTN_SUB_NORM]) b->norm(c, &q, norm[BITNET_ROLE_ATTN_SUB_NORM], n, &q);
        project(
            c, layer, &q, n,
            (struct projection[]){{BITNET_ROLE_ATTN_OUTPUT, BITNET_ROLE_ATTN_OUTPUT_NORM_IN, &y}},
            1);
        add_block(c, &x, &y, norm[BITNET_ROLE_ATTN_POST_NORM], n);

        b->norm(c, &x, norm[BITNET_ROLE_FFN_NORM], n, &h);
        project(c, layer, &h, n,
                (struct projection[]){{BITNET_ROLE_FFN_GATE, BITNET_ROLE_FFN_GATE_NORM_IN, &gate},
                                      {BITNET_ROLE_FFN_UP, BITNET_ROLE_FFN_UP_NORM_IN, &up}},
                2);
        b->gate(c, &gate, &up, n);
        if (norm[BITNET_ROLE_FFN_SUB_NORM])
            b->norm(c, &gate, norm[BITNET_ROLE_FFN_SUB_NORM], n, &gate);
        project(c, layer, &gate, n,
                (struct projection[]){{BITNET_ROLE_FFN_DOWN, BITNET_ROLE_FFN_DOWN_NORM_IN, &y}}, 1);
        add_block(c, &x, &y, norm[BITNET_ROLE_FFN_POST_NORM], n);
    }

    struct vectors out = {.at = results, .width = c->result_width, .stride = c->result_width};
    const struct vectors *last = c->gives_vectors ? &out : &h;
    b->norm(c, &x, model->global.norm[BITNET_ROLE_OUTPUT_NORM], n, last);
    if (!c->gives_vectors) b->multiply(c, &h, n, (struct product[]){{model->output, &out}}, 1);
}
