/* The forward pass of reference.h, in plain loops: one matrix after the other over all tokens, a
 * row of weights decoded once and multiplied with every token. Sums inside a product are floats in
 * 16 lanes; everything else is double.
 *
 * Sources: transformers' models llama, bitnet, qwen3 and gemma3, integrations/bitnet.py for packed
 * weights, 1bitLLM's modeling code for the names of its norms; formats.md 6.1 to 6.4 and 7. */
#include "reference.h"

#include "bitnet/alloc.h"

#include "ternary.h"

#include <math.h>
#include <stdio.h> /* snprintf */

#define LANES 16

struct linear {
    const struct st_tensor *weight, *bias, *norm;
    size_t rows, cols;
    enum { LINEAR_FLOATS, LINEAR_MASTERS, LINEAR_PACKED, LINEAR_ROUNDED } kind;
    const struct reference_rounding *rounding; /* of the last kind */
    float inverse, scale; /* of masters: before rounding; the weight is trit * scale */
};

struct pass {
    const struct reference_job *job;
    const char *prefix; /* "model." or "" */
    size_t n, n_embd, n_q, n_kv, n_ffn, n_vocab, widest;
    /* [n][...]; `y` takes what a product gives, `in` what an inner norm gives */
    float *x, *a, *in, *q, *k, *v, *o, *g, *u, *y;
    float *row;   /* [threads][widest] */
    double *sums; /* [tallest matrix], or [n] */
};

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for the reference's activations");
}

static bool changes(const struct pass *p, size_t offset)
{
    const struct reference_change *c = p->job->change;
    return c && *(const bool *)((const char *)c + offset);
}
#define CHANGES(p, field) changes(p, offsetof(struct reference_change, field))

/* --- tensors by name --- */

static const struct st_tensor *find(const struct pass *p, const char *name)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%s%s", p->prefix, name);
    return source_find(p->job->source, (struct bitnet_str){text, (size_t)n});
}

/* "layers.3.mlp.up_proj" + ".weight" */
static const struct st_tensor *find_in(const struct pass *p, uint32_t layer, const char *module,
                                       const char *suffix)
{
    char name[192];
    snprintf(name, sizeof name, "layers.%u.%s%s", layer, module, suffix);
    return find(p, name);
}

static enum bitnet_status fail_missing(uint32_t layer, const char *module, struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_FORMAT, "reference: layer %u has no %s", layer, module);
}

static bool is_floats(const struct st_tensor *t)
{
    return t->dtype->kind <= ST_BF16;
}

static enum bitnet_status load_vector(const struct st_tensor *t, size_t n, float *out,
                                      struct bitnet_error *err)
{
    if (!is_floats(t) || t->n_dims != 1 || t->dims[0] != n)
        return bitnet_fail(err, BITNET_FORMAT, "reference: tensor %s is no vector of %zu floats",
                           BITNET_QUOTE(t->name), n);
    floats_load(loops_at(0), t->dtype->kind, t->data.at, n, out);
    return BITNET_OK;
}

/* --- sums --- */

static float dot(const float *a, const float *b, size_t n)
{
    float lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) lanes[l] += a[i + l] * b[i + l];
    for (size_t l = 0; i + l < n; l++) lanes[l] += a[i + l] * b[i + l];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

/* y = x / sqrt(mean(x^2) + eps) * w, w being 1 + w in gemma's own norms. */
static void normalize(const struct pass *p, const float *x, const float *w, bool plus_one, size_t n,
                      float *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    double by = 1 / sqrt(sum / (double)n + p->job->numbers->norm_eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((double)x[i] * by * ((double)w[i] + (plus_one ? 1 : 0)));
}

static enum bitnet_status normalize_all(const struct pass *p, const struct st_tensor *norm,
                                        bool is_native, const float *x, size_t width, float *y,
                                        struct bitnet_error *err)
{
    float *w = p->row;
    bool plus_one = is_native && p->job->numbers->is_gemma && !CHANGES(p, no_embed_scale);
    enum bitnet_status status = load_vector(norm, width, w, err);
    for (size_t t = 0; t < p->n && !status; t++)
        normalize(p, x + t * width, w, plus_one, width, y + t * width);
    return status;
}

/* --- a linear layer --- */

/* The trits of row r of packed bytes: packed row i holds rows i, i + R, i + 2R, i + 3R. */
static void packed_row(const struct linear *l, size_t r, float *out)
{
    size_t n_packed = (l->rows + 3) / 4;
    const uint8_t *in = l->weight->data.at + r % n_packed * l->cols;
    unsigned shift = (unsigned)(2 * (r / n_packed));
    for (size_t c = 0; c < l->cols; c++) out[c] = (float)((int)(in[c] >> shift & 3) - 1) * l->scale;
}

static void weight_row(const struct linear *l, size_t r, float *out)
{
    if (l->kind == LINEAR_PACKED) {
        packed_row(l, r, out);
        return;
    }
    if (l->kind == LINEAR_ROUNDED) {
        l->rounding->row(l->rounding->user, r, out);
        return;
    }
    const struct st_tensor *t = l->weight;
    floats_load(loops_at(0), t->dtype->kind, t->data.at + r * (t->data.n / l->rows), l->cols, out);
    if (l->kind == LINEAR_MASTERS)
        for (size_t c = 0; c < l->cols; c++) {
            float trit = rintf(out[c] * l->inverse);
            out[c] = (trit > 1 ? 1.0f : trit < -1 ? -1.0f : trit) * l->scale;
        }
}

struct mean_work {
    const struct pass *p;
    const struct linear *l;
};

static void sum_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct mean_work *w = ctx;
    float *row = w->p->row + thread * w->p->widest;
    for (size_t r = begin; r < end; r++) {
        double sum = 0;
        weight_row(w->l, r, row);
        for (size_t c = 0; c < w->l->cols; c++) sum += fabs((double)row[c]);
        w->p->sums[r] = sum;
    }
}

/* scale = max(mean |w|, 1e-5), through its inverse as integrations/bitnet.py has it. */
static void find_absmean(const struct pass *p, struct linear *l)
{
    struct linear plain = *l;
    struct mean_work work = {p, &plain};
    double sum = 0;
    plain.kind = LINEAR_FLOATS;
    bitnet_pool_run(p->job->pool, l->rows, 64, sum_rows, &work);
    for (size_t r = 0; r < l->rows; r++) sum += p->sums[r];
    float mean = (float)(sum / ((double)l->rows * (double)l->cols));
    l->inverse = 1.0f / (mean > 1e-5f ? mean : 1e-5f);
    l->scale = 1.0f / l->inverse;
}

static enum bitnet_status find_packed_scale(const struct pass *p, struct linear *l,
                                            const struct st_tensor *scale, struct bitnet_error *err)
{
    float ws = 0;
    bool multiplies = p->job->numbers->scales_multiply != CHANGES(p, inverse_scales);
    if (!scale || !is_floats(scale) || scale->data.n != scale->dtype->bits / 8)
        return bitnet_fail(err, BITNET_FORMAT, "reference: tensor %s has no single weight_scale",
                           BITNET_QUOTE(l->weight->name));
    floats_load(loops_at(0), scale->dtype->kind, scale->data.at, 1, &ws);
    l->scale = multiplies ? ws : 1.0f / ws;
    return BITNET_OK;
}

static enum bitnet_status take_rounded(const struct pass *p, struct linear *l,
                                       struct bitnet_error *err)
{
    const struct reference_rounding *rounding = p->job->rounding;
    bool is_rounded = false;
    if (!rounding) return BITNET_OK;
    enum bitnet_status status = rounding->begin(rounding->user, l->weight, &is_rounded, err);
    if (is_rounded) l->kind = LINEAR_ROUNDED;
    l->rounding = rounding;
    return status;
}

static enum bitnet_status open_linear(const struct pass *p, uint32_t layer, const char *module,
                                      size_t rows, size_t cols, struct linear *l,
                                      struct bitnet_error *err)
{
    *l = (struct linear){.rows = rows, .cols = cols};
    l->weight = find_in(p, layer, module, ".weight");
    l->bias = find_in(p, layer, module, ".bias");
    l->norm = find_in(p, layer, module, ".norm.weight");
    if (!l->norm) l->norm = find_in(p, layer, module, ".rms_norm.weight");
    if (!l->weight) return fail_missing(layer, module, err);
    const struct st_tensor *t = l->weight;
    bool is_packed = t->dtype->kind == ST_U8;
    if (t->n_dims != 2 || t->dims[1] != cols || t->dims[0] != (is_packed ? (rows + 3) / 4 : rows) ||
        (!is_packed && !is_floats(t)))
        return bitnet_fail(err, BITNET_FORMAT, "reference: tensor %s is no matrix of %zu x %zu",
                           BITNET_QUOTE(t->name), rows, cols);
    enum bitnet_status status = take_rounded(p, l, err);
    if (status || l->kind == LINEAR_ROUNDED) return status;
    if (is_packed) {
        l->kind = LINEAR_PACKED;
        return find_packed_scale(p, l, find_in(p, layer, module, ".weight_scale"), err);
    }
    /* a norm inside a layer is there for no other reason than that the layer is made ternary */
    bool is_masters =
        p->job->numbers->has_masters || find_in(p, layer, module, ".norm.weight") != NULL;
    if (is_masters && !config_keeps(p->job->config, t->name)) {
        l->kind = LINEAR_MASTERS;
        find_absmean(p, l);
    }
    return BITNET_OK;
}

struct product {
    const struct pass *p;
    const struct linear *l;
    const float *x; /* [n][cols] */
    float *y;       /* [n][rows] */
};

static void multiply_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct product *w = ctx;
    float *row = w->p->row + thread * w->p->widest;
    for (size_t r = begin; r < end; r++) {
        weight_row(w->l, r, row);
        for (size_t t = 0; t < w->p->n; t++)
            w->y[t * w->l->rows + r] = dot(w->x + t * w->l->cols, row, w->l->cols);
    }
}

/* y[n][rows] = x[n][cols] through the layer, its own norm and bias included. */
static enum bitnet_status apply(const struct pass *p, uint32_t layer, const char *module,
                                const float *x, size_t cols, float *y, size_t rows,
                                struct bitnet_error *err)
{
    struct linear l;
    struct product work = {p, &l, x, y};
    enum bitnet_status status = open_linear(p, layer, module, rows, cols, &l, err);
    if (!status && l.norm && !CHANGES(p, no_inner_norms)) {
        status = normalize_all(p, l.norm, false, x, cols, p->in, err);
        work.x = p->in;
    }
    if (status) return status;
    bitnet_pool_run(p->job->pool, rows, 16, multiply_rows, &work);
    source_release(p->job->source, l.weight);
    if (!l.bias) return BITNET_OK;
    status = load_vector(l.bias, rows, p->row, err);
    for (size_t i = 0; i < p->n * rows && !status; i++) y[i] += p->row[i % rows];
    return status;
}

/* --- attention --- */

/* The angle of pair i at position 1. */
static double frequency(const struct reference_numbers *r, double base, size_t i)
{
    double f = pow(base, -2.0 * (double)i / (double)r->head_dim) / r->rope_factor;
    if (r->stretch_factor == 0) return f;
    double wavelength = 2 * 3.14159265358979323846 / f;
    double longest = r->original_context / r->low_freq_factor;
    double shortest = r->original_context / r->high_freq_factor;
    if (wavelength < shortest) return f;
    if (wavelength > longest) return f / r->stretch_factor;
    double smooth = (r->original_context / wavelength - r->low_freq_factor) /
                    (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * f / r->stretch_factor + smooth * f;
}

static double rope_base_of(const struct pass *p, uint32_t layer)
{
    const struct reference_numbers *r = p->job->numbers;
    double base = r->is_local[layer] ? r->local_rope_base : r->rope_base;
    return CHANGES(p, other_rope) ? (base == 10000 ? 500000 : 10000) : base;
}

static void turn_head(const struct pass *p, double base, size_t position, float *head)
{
    const struct reference_numbers *r = p->job->numbers;
    bool in_pairs = CHANGES(p, rope_in_pairs);
    size_t half = r->head_dim / 2;
    for (size_t i = 0; i < half; i++) {
        float *a = in_pairs ? head + 2 * i : head + i, *b = in_pairs ? a + 1 : a + half;
        double angle = (double)position * frequency(r, base, i);
        double x = (double)*a, y = (double)*b;
        *a = (float)(x * cos(angle) - y * sin(angle));
        *b = (float)(x * sin(angle) + y * cos(angle));
    }
}

static void turn(const struct pass *p, uint32_t layer, float *x, size_t width)
{
    double base = rope_base_of(p, layer);
    size_t head_dim = p->job->numbers->head_dim;
    for (size_t t = 0; t < p->n; t++)
        for (size_t at = 0; at < width; at += head_dim) turn_head(p, base, t, x + t * width + at);
}

/* One norm for all heads of q or k, over each head's own numbers. */
static enum bitnet_status normalize_heads(const struct pass *p, uint32_t layer, const char *module,
                                          float *x, size_t width, struct bitnet_error *err)
{
    const struct st_tensor *norm = find_in(p, layer, module, ".weight");
    size_t head_dim = p->job->numbers->head_dim;
    bool plus_one = p->job->numbers->is_gemma && !CHANGES(p, no_embed_scale);
    if (!norm) return BITNET_OK;
    enum bitnet_status status = load_vector(norm, head_dim, p->row, err);
    for (size_t at = 0; at < p->n * width && !status; at += head_dim)
        normalize(p, x + at, p->row, plus_one, head_dim, x + at);
    return status;
}

/* Keys and values are kept in binary16, as every runtime's cache keeps them. */
static void narrow(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = bitnet_f16_to_f32(bitnet_f32_to_f16(x[i]));
}

struct attending {
    const struct pass *p;
    size_t window; /* 0: all that came before */
};

static void attend(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct attending *w = ctx;
    const struct pass *p = w->p;
    const struct reference_numbers *r = p->job->numbers;
    size_t head_dim = r->head_dim, per_kv = r->n_heads / r->n_kv_heads;
    (void)thread;
    for (size_t i = begin; i < end; i++) { /* one head of one token */
        size_t t = i / r->n_heads, h = i % r->n_heads, kv = h / per_kv * head_dim;
        const float *q = p->q + t * p->n_q + h * head_dim;
        double sum[8192] = {0}, weights = 0, largest = -INFINITY;
        size_t first = w->window && t >= w->window ? t + 1 - w->window : 0;
        for (size_t s = first; s <= t; s++) {
            double score = (double)dot(q, p->k + s * p->n_kv + kv, head_dim) * r->query_scale;
            if (score > largest) {
                double by = exp(largest - score);
                for (size_t d = 0; d < head_dim; d++) sum[d] *= by;
                weights *= by;
                largest = score;
            }
            double by = exp(score - largest);
            for (size_t d = 0; d < head_dim; d++) sum[d] += by * (double)p->v[s * p->n_kv + kv + d];
            weights += by;
        }
        for (size_t d = 0; d < head_dim; d++)
            p->o[t * p->n_q + h * head_dim + d] = (float)(sum[d] / weights);
    }
}

/* The norm between two linear layers, under either of its names; none is fine. */
static enum bitnet_status apply_sub_norm(const struct pass *p, uint32_t layer, const char *name,
                                         const char *other, float *x, size_t width,
                                         struct bitnet_error *err)
{
    const struct st_tensor *norm = find_in(p, layer, name, ".weight");
    if (!norm) norm = find_in(p, layer, other, ".weight");
    if (!norm || CHANGES(p, no_inner_norms)) return BITNET_OK;
    return normalize_all(p, norm, false, x, width, x, err);
}

static enum bitnet_status attention(const struct pass *p, uint32_t layer, struct bitnet_error *err)
{
    enum bitnet_status status =
        apply(p, layer, "self_attn.q_proj", p->a, p->n_embd, p->q, p->n_q, err);
    if (!status) status = apply(p, layer, "self_attn.k_proj", p->a, p->n_embd, p->k, p->n_kv, err);
    if (!status) status = apply(p, layer, "self_attn.v_proj", p->a, p->n_embd, p->v, p->n_kv, err);
    if (!status) status = normalize_heads(p, layer, "self_attn.q_norm", p->q, p->n_q, err);
    if (!status) status = normalize_heads(p, layer, "self_attn.k_norm", p->k, p->n_kv, err);
    if (status) return status;
    turn(p, layer, p->q, p->n_q);
    turn(p, layer, p->k, p->n_kv);
    narrow(p->k, p->n * p->n_kv);
    narrow(p->v, p->n * p->n_kv);
    const struct reference_numbers *r = p->job->numbers;
    struct attending work = {p, r->is_local[layer] ? r->window : 0};
    bitnet_pool_run(p->job->pool, p->n * r->n_heads, 4, attend, &work);
    status = apply_sub_norm(p, layer, "self_attn.attn_sub_norm", "self_attn.inner_attn_ln", p->o,
                            p->n_q, err);
    return status ? status
                  : apply(p, layer, "self_attn.o_proj", p->o, p->n_q, p->y, p->n_embd, err);
}

/* --- feed-forward --- */

static double gate_of(enum reference_gate gate, double x)
{
    switch (gate) {
    case REFERENCE_RELU2:
        return x > 0 ? x * x : 0;
    case REFERENCE_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case REFERENCE_SILU:
        break;
    }
    return x / (1 + exp(-x));
}

static enum bitnet_status feed_forward(const struct pass *p, uint32_t layer,
                                       struct bitnet_error *err)
{
    const struct reference_change *c = p->job->change;
    enum reference_gate gate = c && c->has_gate ? c->gate : p->job->numbers->gate;
    enum bitnet_status status =
        apply(p, layer, "mlp.gate_proj", p->a, p->n_embd, p->g, p->n_ffn, err);
    if (!status) status = apply(p, layer, "mlp.up_proj", p->a, p->n_embd, p->u, p->n_ffn, err);
    if (status) return status;
    for (size_t i = 0; i < p->n * p->n_ffn; i++)
        p->g[i] = (float)(gate_of(gate, (double)p->g[i]) * (double)p->u[i]);
    status = apply_sub_norm(p, layer, "mlp.ffn_sub_norm", "mlp.ffn_layernorm", p->g, p->n_ffn, err);
    return status ? status : apply(p, layer, "mlp.down_proj", p->g, p->n_ffn, p->y, p->n_embd, err);
}

/* --- the whole --- */

/* x += y, through a norm where the model has one behind its blocks. */
static enum bitnet_status add(const struct pass *p, uint32_t layer, const char *norm_name,
                              struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (p->job->numbers->is_gemma) {
        const struct st_tensor *norm = find_in(p, layer, norm_name, ".weight");
        status = norm ? normalize_all(p, norm, true, p->y, p->n_embd, p->y, err)
                      : fail_missing(layer, norm_name, err);
    }
    for (size_t i = 0; i < p->n * p->n_embd && !status; i++) p->x[i] += p->y[i];
    return status;
}

static enum bitnet_status enter(const struct pass *p, uint32_t layer, const char *norm_name,
                                struct bitnet_error *err)
{
    const struct st_tensor *norm = find_in(p, layer, norm_name, ".weight");
    return norm ? normalize_all(p, norm, true, p->x, p->n_embd, p->a, err)
                : fail_missing(layer, norm_name, err);
}

static enum bitnet_status run_layer(const struct pass *p, uint32_t layer, struct bitnet_error *err)
{
    bool is_gemma = p->job->numbers->is_gemma;
    enum bitnet_status status = enter(p, layer, "input_layernorm", err);
    if (!status) status = attention(p, layer, err);
    if (!status) status = add(p, layer, "post_attention_layernorm", err);
    if (!status)
        status = enter(p, layer,
                       is_gemma ? "pre_feedforward_layernorm" : "post_attention_layernorm", err);
    if (!status) status = feed_forward(p, layer, err);
    return status ? status : add(p, layer, "post_feedforward_layernorm", err);
}

/* The embedding or the output matrix as a layer. */
static enum bitnet_status open_table(const struct pass *p, const struct st_tensor *table,
                                     struct linear *l, struct bitnet_error *err)
{
    *l = (struct linear){.weight = table, .rows = p->n_vocab, .cols = p->n_embd};
    return take_rounded(p, l, err);
}

static enum bitnet_status embed(const struct pass *p, const struct st_tensor *table,
                                struct bitnet_error *err)
{
    struct linear l;
    double scale = CHANGES(p, no_embed_scale) ? 1 : p->job->numbers->embed_scale;
    enum bitnet_status status = open_table(p, table, &l, err);
    for (size_t t = 0; t < p->n && !status; t++) {
        float *x = p->x + t * p->n_embd;
        int32_t id = p->job->tokens[t];
        if (id < 0 || (size_t)id >= p->n_vocab)
            return bitnet_fail(err, BITNET_FORMAT, "reference: token %d is beyond the embedding",
                               (int)id);
        weight_row(&l, (size_t)id, x);
        for (size_t i = 0; i < p->n_embd && scale != 1; i++) x[i] = (float)((double)x[i] * scale);
    }
    return status;
}

/* Logits of a block of vocabulary for all tokens at a time, so that the table is read once. */
struct head {
    const struct pass *p;
    const struct linear *table;
    size_t first;
    float *block; /* [rows of the block][n] */
    struct reference_result *result;
    double *largest, *sums, *scores; /* [n]: for log-sum-exp; the logit of the next token */
};

#define HEAD_ROWS 1024

static void multiply_head(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct head *h = ctx;
    const struct pass *p = h->p;
    float *row = p->row + thread * p->widest;
    for (size_t r = begin; r < end; r++) {
        weight_row(h->table, h->first + r, row);
        for (size_t t = 0; t < p->n; t++)
            h->block[r * p->n + t] = dot(p->a + t * p->n_embd, row, p->n_embd);
    }
}

static void gather_logit(const struct head *h, size_t t, size_t id, double logit)
{
    const struct reference_job *job = h->p->job;
    if (logit > h->largest[t]) {
        h->sums[t] *= exp(h->largest[t] - logit);
        h->largest[t] = logit;
    }
    h->sums[t] += exp(logit - h->largest[t]);
    if (t < job->n_logits) h->result->logits[t * h->p->n_vocab + id] = (float)logit;
    if (t + 1 < h->p->n && (size_t)job->tokens[t + 1] == id) h->scores[t] = logit;
}

static void run_head(struct head *h)
{
    const struct pass *p = h->p;
    for (h->first = 0; h->first < p->n_vocab; h->first += HEAD_ROWS) {
        size_t left = p->n_vocab - h->first, rows = left < HEAD_ROWS ? left : HEAD_ROWS;
        bitnet_pool_run(p->job->pool, rows, 16, multiply_head, h);
        for (size_t r = 0; r < rows; r++)
            for (size_t t = 0; t < p->n; t++)
                gather_logit(h, t, h->first + r, (double)h->block[r * p->n + t]);
    }
    for (size_t t = 0; t + 1 < p->n; t++)
        h->result->nats += h->largest[t] + log(h->sums[t]) - h->scores[t];
}

static enum bitnet_status head(const struct pass *p, const struct st_tensor *table,
                               struct reference_result *result, struct bitnet_error *err)
{
    struct linear l;
    struct head h = {.p = p, .table = &l, .result = result};
    double *numbers = bitnet_alloc(3 * p->n, sizeof *numbers);
    h.block = bitnet_alloc(HEAD_ROWS * p->n, sizeof *h.block);
    result->n_vocab = p->n_vocab;
    result->logits = bitnet_alloc(p->job->n_logits * p->n_vocab, sizeof *result->logits);
    enum bitnet_status status = open_table(p, table, &l, err);
    if (!status && (!numbers || !h.block || !result->logits)) status = no_memory(err);
    if (!status) {
        h.largest = numbers;
        h.sums = numbers + p->n;
        h.scores = numbers + 2 * p->n;
        for (size_t t = 0; t < p->n; t++) h.largest[t] = -INFINITY;
        run_head(&h);
    }
    bitnet_free(numbers);
    bitnet_free(h.block);
    return status;
}

static enum bitnet_status find_table(const struct pass *p, const struct st_tensor **embedding,
                                     const struct st_tensor **output, struct bitnet_error *err)
{
    *embedding = find(p, "embed_tokens.weight");
    *output = p->job->numbers->is_tied ? *embedding
                                       : source_find(p->job->source, BITNET_STR("lm_head.weight"));
    for (int i = 0; i < 2; i++) {
        const struct st_tensor *t = i ? *output : *embedding;
        if (!t || !is_floats(t) || t->n_dims != 2 || t->dims[1] != p->n_embd ||
            t->dims[0] != (*embedding)->dims[0])
            return bitnet_fail(err, BITNET_FORMAT, "reference: the %s is missing or has no floats",
                               i ? "output matrix" : "token embedding");
    }
    return BITNET_OK;
}

static enum bitnet_status measure(struct pass *p, struct bitnet_error *err)
{
    const struct reference_numbers *r = p->job->numbers;
    const struct st_tensor *embedding = NULL, *output = NULL;
    p->prefix =
        source_find(p->job->source, BITNET_STR("model.embed_tokens.weight")) ? "model." : "";
    p->n = p->job->n;
    p->n_embd = r->n_embd;
    p->n_q = (size_t)r->n_heads * r->head_dim;
    p->n_kv = (size_t)r->n_kv_heads * r->head_dim;
    const struct st_tensor *down = find_in(p, 0, "mlp.down_proj", ".weight");
    if (!down || down->n_dims != 2) return fail_missing(0, "mlp.down_proj", err);
    p->n_ffn = (size_t)down->dims[1];
    if (r->head_dim > 8192)
        return bitnet_fail(err, BITNET_LIMIT, "reference: heads of %u numbers", r->head_dim);
    enum bitnet_status status = find_table(p, &embedding, &output, err);
    if (status) return status;
    p->n_vocab = (size_t)embedding->dims[0];
    const size_t widths[] = {p->n_embd, p->n_q, p->n_kv, p->n_ffn};
    for (size_t i = 0; i < 4; i++)
        if (widths[i] > p->widest) p->widest = widths[i];
    return BITNET_OK;
}

/* Every buffer of the pass: where it is kept, and how many floats it has. */
static enum bitnet_status take(struct pass *p, struct bitnet_error *err)
{
    unsigned n_threads = p->job->pool ? bitnet_pool_threads(p->job->pool) : 1;
    const struct {
        float **at;
        size_t width;
    } buffers[] = {{&p->x, p->n_embd}, {&p->a, p->n_embd}, {&p->in, p->widest}, {&p->q, p->n_q},
                   {&p->k, p->n_kv},   {&p->v, p->n_kv},   {&p->o, p->n_q},     {&p->g, p->n_ffn},
                   {&p->u, p->n_ffn},  {&p->y, p->n_embd}};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        *buffers[i].at = bitnet_alloc(p->n * buffers[i].width, sizeof(float));
        if (!*buffers[i].at) return no_memory(err);
    }
    p->row = bitnet_alloc(n_threads * p->widest, sizeof(float));
    p->sums = bitnet_alloc(p->widest, sizeof *p->sums);
    return p->row && p->sums ? BITNET_OK : no_memory(err);
}

static void give_back(struct pass *p)
{
    float *const buffers[] = {p->x, p->a, p->in, p->q, p->k, p->v, p->o, p->g, p->u, p->y, p->row};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) bitnet_free(buffers[i]);
    bitnet_free(p->sums);
}

enum bitnet_status reference_run(const struct reference_job *job, struct reference_result *result,
                                 struct bitnet_error *err)
{
    struct pass p = {.job = job};
    const struct st_tensor *embedding = NULL, *output = NULL, *norm = NULL;
    *result = (struct reference_result){0};
    enum bitnet_status status = measure(&p, err);
    if (!status) status = take(&p, err);
    if (!status) status = find_table(&p, &embedding, &output, err);
    if (!status) status = embed(&p, embedding, err);
    for (uint32_t layer = 0; layer < job->numbers->n_layers && !status; layer++)
        status = run_layer(&p, layer, err);
    if (!status) {
        norm = find(&p, "norm.weight");
        status = norm ? normalize_all(&p, norm, true, p.x, p.n_embd, p.a, err)
                      : bitnet_fail(err, BITNET_FORMAT, "reference: the last norm is missing");
    }
    if (!status) status = head(&p, output, result, err);
    give_back(&p);
    if (status) reference_result_free(result);
    return status;
}

void reference_result_free(struct reference_result *result)
{
    bitnet_free(result->logits);
    *result = (struct reference_result){0};
}
