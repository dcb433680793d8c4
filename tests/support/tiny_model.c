/* See tiny_model.h. Everything here is as plain as can be: it judges code that is not. */
#include "tiny_model.h"

#include "bitnet/arch.h"
#include "bitnet/gguf.h"
#include "bitnet/quant.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t tiny_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double tiny_uniform(uint64_t *state)
{
    return (double)(tiny_random(state) >> 11) * 0x1p-53;
}

void tiny_path(char *path, size_t n, const char *name)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, n, "%s/bitnet-test-%d-%s", folder ? folder : "/tmp", (int)getpid(), name);
}

static void *must(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) abort();
    return p;
}

static float as_f16(double v)
{
    return bitnet_f16_to_f32(bitnet_f32_to_f16((float)v));
}

/* ------------------------------------------------------------------ making */

struct tiny_spec tiny_spec_b158(void)
{
    return (struct tiny_spec){.arch = "bitnet-b1.58",
                              .n_layers = 2,
                              .n_embd = 256,
                              .n_ffn = 512,
                              .n_heads = 4,
                              .n_kv_heads = 2,
                              .head_dim = 64,
                              .n_rot = 64,
                              .n_vocab = 300,
                              .n_context = 64,
                              .rope_base = 500000,
                              .vocabulary = true,
                              .seed = 1};
}

struct tiny_spec tiny_spec_bitnet(void)
{
    return (struct tiny_spec){.arch = "bitnet",
                              .n_layers = 2,
                              .n_embd = 256,
                              .n_ffn = 768,
                              .n_heads = 8,
                              .n_kv_heads = 8,
                              .head_dim = 32,
                              .n_rot = 32,
                              .n_vocab = 261,
                              .n_context = 64,
                              .rope_base = 10000,
                              .vocabulary = true,
                              .seed = 2};
}

struct tiny_spec tiny_spec_llama(void)
{
    return (struct tiny_spec){.arch = "llama",
                              .n_layers = 2,
                              .n_embd = 512,
                              .n_ffn = 256,
                              .n_heads = 8,
                              .n_kv_heads = 2,
                              .head_dim = 64,
                              .n_rot = 64,
                              .n_vocab = 270,
                              .n_context = 64,
                              .rope_base = 1000042,
                              .own_output = true,
                              .rope_freqs = true,
                              .vocabulary = true,
                              .seed = 3};
}

static void linear_shape(const struct tiny_spec *s, int name, size_t *rows, size_t *cols)
{
    size_t q = (size_t)s->n_heads * s->head_dim, kv = (size_t)s->n_kv_heads * s->head_dim;
    const size_t shapes[TINY_LINEARS][2] = {
        {q, s->n_embd},        {kv, s->n_embd},       {kv, s->n_embd},      {s->n_embd, q},
        {s->n_ffn, s->n_embd}, {s->n_ffn, s->n_embd}, {s->n_embd, s->n_ffn}};
    *rows = shapes[name][0];
    *cols = shapes[name][1];
}

static size_t norm_length(const struct tiny_spec *s, int name)
{
    if (name == TINY_SUB_NORM) return (size_t)s->n_heads * s->head_dim;
    return name == TINY_FFN_SUB_NORM ? s->n_ffn : s->n_embd;
}

static void fill_linear(struct tiny_linear *l, bool row_scales, uint64_t *random)
{
    l->trits = must(l->rows * l->cols, 1);
    l->scales = must(l->rows, sizeof(float));
    for (size_t i = 0; i < l->rows * l->cols; i++)
        l->trits[i] = (int8_t)((int)(tiny_random(random) % 3) - 1);
    double typical = sqrt(1.5 / (double)l->cols);
    float scale = as_f16(typical * (0.7 + 0.6 * tiny_uniform(random)));
    for (size_t r = 0; r < l->rows; r++)
        l->scales[r] = row_scales ? as_f16(typical * (0.7 + 0.6 * tiny_uniform(random))) : scale;
}

static float *random_floats(size_t n, double mean, double spread, uint64_t *random)
{
    float *v = must(n, sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = as_f16(mean + spread * (2 * tiny_uniform(random) - 1));
    return v;
}

struct tiny_model *tiny_model_new(const struct tiny_spec *spec)
{
    struct tiny_model *m = must(1, sizeof *m);
    uint64_t random = spec->seed;
    m->spec = *spec;
    m->has_sub_norms = strncmp(spec->arch, "bitnet", 6) == 0;
    m->squared_relu = strcmp(spec->arch, "bitnet-b1.58") == 0;
    m->halves = m->has_sub_norms;
    m->layers = must(spec->n_layers, sizeof *m->layers);
    for (uint32_t layer = 0; layer < spec->n_layers; layer++) {
        for (int i = 0; i < TINY_LINEARS; i++) {
            struct tiny_linear *l = &m->layers[layer].linear[i];
            linear_shape(spec, i, &l->rows, &l->cols);
            fill_linear(l, spec->row_scales, &random);
        }
        for (int i = 0; i < TINY_NORMS; i++)
            m->layers[layer].norm[i] = random_floats(norm_length(spec, i), 1, 0.25, &random);
    }
    size_t n_embed = (size_t)spec->n_vocab * spec->n_embd;
    m->embed = random_floats(n_embed, 0, 1, &random);
    m->output = spec->own_output ? random_floats(n_embed, 0, 1, &random) : m->embed;
    m->output_norm = random_floats(spec->n_embd, 1, 0.25, &random);
    if (spec->rope_freqs) m->freqs = random_floats(spec->n_rot / 2, 4, 3, &random);
    return m;
}

void tiny_model_free(struct tiny_model *m)
{
    if (!m) return;
    for (uint32_t layer = 0; layer < m->spec.n_layers; layer++) {
        for (int i = 0; i < TINY_LINEARS; i++) {
            free(m->layers[layer].linear[i].trits);
            free(m->layers[layer].linear[i].scales);
            free(m->layers[layer].linear[i].floats);
            free(m->layers[layer].linear[i].encoded);
        }
        for (int i = 0; i < TINY_NORMS; i++) free(m->layers[layer].norm[i]);
    }
    free(m->layers);
    if (m->output != m->embed) free(m->output);
    free(m->embed);
    free(m->output_norm);
    free(m->freqs);
    free(m);
}

void tiny_model_make_dense(struct tiny_model *m, enum bitnet_dtype type)
{
    uint64_t random = m->spec.seed + 77;
    const struct bitnet_codec *codec = bitnet_codec(type);
    for (uint32_t layer = 0; layer < m->spec.n_layers; layer++)
        for (int i = 0; i < TINY_LINEARS; i++) {
            struct tiny_linear *l = &m->layers[layer].linear[i];
            struct bitnet_layout layout = {.type = type, .rows = l->rows, .cols = l->cols};
            free(l->floats);
            free(l->encoded);
            l->floats = random_floats(l->rows * l->cols, 0, sqrt(3.0 / (double)l->cols), &random);
            l->encoded = must(bitnet_rows_bytes(&layout, l->rows), 1);
            codec->encode_rows(&layout, l->floats, l->rows, NULL, l->encoded);
            codec->decode_rows(&layout, l->encoded, l->rows, l->floats);
        }
}

/* ------------------------------------------------------------------ writing */

static bool report(const char *what, const struct bitnet_error *err)
{
    fprintf(stderr, "tiny model: %s: %s\n", what, err->text);
    return false;
}

/* Piece i of a byte vocabulary: <unk> <s> </s> <0x00> .. <0xFF>, then pieces of two letters. */
static void put_vocabulary(const struct tiny_spec *s, struct bitnet_gguf_writer *w)
{
    struct bitnet_str *pieces = must(s->n_vocab, sizeof *pieces);
    float *scores = must(s->n_vocab, sizeof *scores);
    int32_t *types = must(s->n_vocab, sizeof *types);
    char(*text)[16] = must(s->n_vocab, sizeof *text);
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        const char *named[] = {"<unk>", "<s>", "</s>"};
        if (i < 3)
            snprintf(text[i], sizeof text[i], "%s", named[i]);
        else if (i < 259)
            snprintf(text[i], sizeof text[i], "<0x%02X>", (unsigned)(i - 3));
        else
            snprintf(text[i], sizeof text[i], "%c%c", 'a' + (int)((i - 259) / 26 % 26),
                     'a' + (int)((i - 259) % 26));
        pieces[i] = bitnet_str_of(text[i]);
        scores[i] = i < 259 ? 0 : -(float)(i - 258);
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
    }
    bitnet_gguf_put_str(w, "tokenizer.ggml.model", BITNET_STR("llama"));
    bitnet_gguf_put_strings(w, "tokenizer.ggml.tokens", pieces, s->n_vocab);
    bitnet_gguf_put_array(w, "tokenizer.ggml.scores", BITNET_GGUF_F32, scores, s->n_vocab);
    bitnet_gguf_put_array(w, "tokenizer.ggml.token_type", BITNET_GGUF_I32, types, s->n_vocab);
    bitnet_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    bitnet_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 2);
    bitnet_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    bitnet_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
    bitnet_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", false);
    free(pieces);
    free(scores);
    free(types);
    free(text);
}

/* One tensor to be written: its floats or trits, encoded when its turn comes. */
struct item {
    char name[64];
    enum bitnet_dtype type;
    size_t rows, cols; /* rows 0: a vector */
    const float *floats;
    const struct tiny_linear *linear;
    bool ones; /* a linear without its scale */
};

struct items {
    struct item *at;
    size_t n;
};

static struct item *add_item(struct items *items, enum bitnet_dtype type, size_t rows, size_t cols,
                             const float *floats)
{
    struct item *item = &items->at[items->n++];
    *item = (struct item){.type = type, .rows = rows, .cols = cols, .floats = floats};
    return item;
}

static void add_layer(struct items *items, const struct tiny_model *m, uint32_t layer,
                      const struct tiny_file *file)
{
    static const char *const linears[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                          "ffn_gate", "ffn_up", "ffn_down"};
    static const char *const norms[] = {"attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm"};
    const struct tiny_layer *l = &m->layers[layer];
    for (int i = 0; i < TINY_NORMS; i++) {
        bool is_sub = i == TINY_SUB_NORM || i == TINY_FFN_SUB_NORM;
        if (is_sub && !m->has_sub_norms) continue;
        struct item *item =
            add_item(items, BITNET_DTYPE_f32, 0, norm_length(&m->spec, i), l->norm[i]);
        snprintf(item->name, sizeof item->name, "blk.%u.%s.weight", layer, norms[i]);
    }
    for (int i = 0; i < TINY_LINEARS; i++) {
        const struct tiny_linear *linear = &l->linear[i];
        struct item *item =
            add_item(items, file->linear, linear->rows, linear->cols, linear->floats);
        snprintf(item->name, sizeof item->name, "blk.%u.%s.weight", layer, linears[i]);
        item->linear = linear;
        item->ones = file->extra_scale;
        if (!file->extra_scale) continue;
        item = add_item(items, BITNET_DTYPE_f32, 0, 1, linear->scales);
        snprintf(item->name, sizeof item->name, "blk.%u.%s.scale", layer, linears[i]);
    }
}

static void add_named(struct items *items, const char *name, enum bitnet_dtype type, size_t rows,
                      size_t cols, const float *floats)
{
    snprintf(add_item(items, type, rows, cols, floats)->name, 64, "%s", name);
}

static void add_all(struct items *items, const struct tiny_model *m, const struct tiny_file *file)
{
    static const float one = 1;
    const struct tiny_spec *s = &m->spec;
    add_named(items, "token_embd.weight", file->embed, s->n_vocab, s->n_embd, m->embed);
    add_named(items, "output_norm.weight", BITNET_DTYPE_f32, 0, s->n_embd, m->output_norm);
    if (s->own_output)
        add_named(items, "output.weight", file->embed, s->n_vocab, s->n_embd, m->output);
    if (s->rope_freqs)
        add_named(items, "rope_freqs.weight", BITNET_DTYPE_f32, 0, s->n_rot / 2, m->freqs);
    for (uint32_t layer = 0; layer < s->n_layers; layer++) add_layer(items, m, layer, file);
    if (file->extra_tensor) add_named(items, file->extra_tensor, BITNET_DTYPE_f32, 0, 1, &one);
}

/* Scales in the number that the type keeps. */
static float *file_scales(const struct bitnet_layout *layout, const struct item *item)
{
    size_t n = bitnet_scale_count(layout);
    float *scales = must(n, sizeof *scales);
    for (size_t i = 0; i < n; i++)
        scales[i] = item->ones ? 1 : item->linear->scales[i * layout->rows / n];
    return scales;
}

static void encode(const struct bitnet_layout *layout, const struct item *item, uint8_t *bytes,
                   size_t n_bytes)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    if (item->linear && item->linear->encoded) {
        memcpy(bytes, item->linear->encoded, n_bytes);
    } else if (item->linear && !item->floats && codec->encode_trits) {
        float *scales = file_scales(layout, item);
        codec->encode_trits(layout, item->linear->trits, scales, bytes, n_bytes);
        free(scales);
    } else if (item->linear && !item->floats) {
        size_t n = layout->rows * layout->cols;
        float *floats = must(n, sizeof *floats);
        for (size_t i = 0; i < n; i++)
            floats[i] = (float)item->linear->trits[i] *
                        (item->ones ? 1 : item->linear->scales[i / layout->cols]);
        codec->encode_rows(layout, floats, layout->rows, NULL, bytes);
        free(floats);
    } else {
        codec->encode_rows(layout, item->floats, layout->rows, NULL, bytes);
    }
}

static bool item_layout(const struct item *item, struct bitnet_layout *layout)
{
    struct bitnet_error err;
    *layout = (struct bitnet_layout){
        .type = item->type, .rows = item->rows ? item->rows : 1, .cols = item->cols};
    return bitnet_layout_check(layout, &err) == BITNET_OK || report(item->name, &err);
}

static void put_tile(struct bitnet_gguf_writer *w, const struct bitnet_layout *layout)
{
    const char *names[] = {"bm", "bk", "bmm"};
    const uint32_t values[] = {layout->tile.rows, layout->tile.cols, layout->tile.sub_rows};
    for (int i = 0; i < 3 && layout->tile.rows; i++) {
        char key[96];
        snprintf(key, sizeof key, "bitnet.tl.%zux%zu.%s", layout->rows, layout->cols, names[i]);
        bitnet_gguf_put_u32(w, key, values[i]);
    }
}

/* Each shape once: all layers share them. */
static bool put_tiles(struct bitnet_gguf_writer *w, const struct items *items)
{
    for (size_t i = 0; i < items->n; i++) {
        struct bitnet_layout layout;
        bool is_new = true;
        for (size_t j = 0; j < i; j++)
            if (items->at[j].rows == items->at[i].rows && items->at[j].cols == items->at[i].cols)
                is_new = is_new && !items->at[j].linear;
        if (!items->at[i].linear || !is_new) continue;
        if (!item_layout(&items->at[i], &layout)) return false;
        put_tile(w, &layout);
    }
    return true;
}

static bool declare(struct bitnet_gguf_writer *w, const struct item *item)
{
    struct bitnet_error err;
    const uint64_t dims[] = {item->cols, item->rows};
    return bitnet_gguf_tensor_declare(w, bitnet_str_of(item->name), item->type, dims,
                                      item->rows ? 2 : 1, &err) == BITNET_OK ||
           report(item->name, &err);
}

static bool write_item(struct bitnet_gguf_writer *w, const struct item *item)
{
    struct bitnet_layout layout;
    struct bitnet_error err;
    uint64_t n_bytes = 0;
    const uint64_t dims[] = {item->cols, item->rows ? item->rows : 1};
    if (!item_layout(item, &layout)) return false;
    if (bitnet_tensor_bytes(item->type, dims, 2, &n_bytes, &err)) return report(item->name, &err);
    uint8_t *bytes = must((size_t)n_bytes, 1);
    encode(&layout, item, bytes, (size_t)n_bytes);
    bool ok = bitnet_gguf_tensor_write(w, bytes, (size_t)n_bytes, &err) == BITNET_OK ||
              report(item->name, &err);
    free(bytes);
    return ok;
}

static void put_metadata(const struct tiny_model *m, struct bitnet_gguf_writer *w)
{
    const struct tiny_spec *s = &m->spec;
    const struct bitnet_arch *arch = bitnet_arch_by_name(bitnet_str_of(s->arch));
    const struct bitnet_hparams hparams = {.n_layers = s->n_layers,
                                           .n_embd = s->n_embd,
                                           .n_ffn = s->n_ffn,
                                           .n_heads = s->n_heads,
                                           .n_kv_heads = s->n_kv_heads,
                                           .head_dim = s->head_dim,
                                           .n_rot = s->n_rot,
                                           .n_vocab = s->n_vocab,
                                           .n_context = s->n_context,
                                           .norm_eps = 1e-5f,
                                           .rope_base = s->rope_base,
                                           .rope_scale = 1};
    bitnet_gguf_put_str(w, "general.architecture", bitnet_str_of(s->arch));
    bitnet_gguf_put_str(w, "general.name", BITNET_STR("tiny"));
    bitnet_hparams_to_gguf(&hparams, arch, w);
    if (s->vocabulary)
        put_vocabulary(s, w);
    else
        bitnet_gguf_put_str(w, "tokenizer.ggml.model", BITNET_STR("no_vocab"));
}

static bool write_all(const struct tiny_model *m, const struct tiny_file *file,
                      struct bitnet_gguf_writer *w, const struct items *items)
{
    struct bitnet_error err;
    put_metadata(m, w);
    if (file->tile_version) bitnet_gguf_put_u32(w, "bitnet.tl.version", file->tile_version);
    if (!file->no_tiles && !put_tiles(w, items)) return false;
    for (size_t i = 0; i < items->n; i++)
        if (!declare(w, &items->at[i])) return false;
    if (bitnet_gguf_begin(w, &err)) return report("begin", &err);
    for (size_t i = 0; i < items->n; i++)
        if (!write_item(w, &items->at[i])) return false;
    return true;
}

bool tiny_model_write(const struct tiny_model *m, const char *path, const struct tiny_file *file)
{
    struct bitnet_gguf_writer *w;
    struct bitnet_error err;
    struct bitnet_gguf_writer_options options = {.overwrite = true, .dialect = file->dialect};
    struct items items = {.at = must(16 + 20 * (size_t)m->spec.n_layers, sizeof(struct item))};
    add_all(&items, m, file);
    if (bitnet_gguf_writer_new(&w, path, &options, &err)) {
        free(items.at);
        return report(path, &err);
    }
    bool ok = write_all(m, file, w, &items);
    free(items.at);
    if (!ok) {
        bitnet_gguf_abort(w);
        return false;
    }
    return bitnet_gguf_finish(w, &err) == BITNET_OK || report(path, &err);
}

/* ------------------------------------------------------------------ the oracle */

/* Everything is double and [position][...]; the past is kept whole. */
struct oracle {
    const struct tiny_model *m;
    const struct tiny_oracle *how;
    double *keys, *values; /* [layer][position][kv] */
    size_t n;
};

static void norm(const double *x, const float *w, size_t n, double *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    double factor = 1 / sqrt(sum / (double)n + (double)1e-5f);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * factor * (double)w[i];
}

static void multiply(const struct oracle *o, const struct tiny_linear *l, const double *x,
                     double *y)
{
    double *q = must(l->cols, sizeof *q), s = 1;
    memcpy(q, x, l->cols * sizeof *q);
    if (o->how->int8_activations && !l->floats) {
        double largest = 1e-5;
        for (size_t c = 0; c < l->cols; c++) largest = fmax(largest, fabs(x[c]));
        s = 127 / largest;
        for (size_t c = 0; c < l->cols; c++) q[c] = rint(x[c] * s);
    }
    for (size_t r = 0; r < l->rows; r++) {
        double sum = 0;
        for (size_t c = 0; c < l->cols; c++)
            sum += q[c] * (l->floats ? (double)l->floats[r * l->cols + c]
                                     : (double)l->trits[r * l->cols + c]);
        y[r] = sum / s * (l->floats ? 1 : (double)l->scales[r]);
    }
    free(q);
}

static void rotate(const struct tiny_model *m, double *v, size_t n_heads, size_t position)
{
    const struct tiny_spec *s = &m->spec;
    for (size_t head = 0; head < n_heads; head++)
        for (size_t i = 0; i < s->n_rot / 2; i++) {
            double angle = (double)position *
                           pow((double)s->rope_base, -2.0 * (double)i / (double)s->n_rot) /
                           (m->freqs ? (double)m->freqs[i] : 1);
            double *a = v + head * s->head_dim + (m->halves ? i : 2 * i);
            double *b = a + (m->halves ? s->n_rot / 2 : 1), u = *a, w = *b;
            *a = u * cos(angle) - w * sin(angle);
            *b = u * sin(angle) + w * cos(angle);
        }
}

static void attend(const struct oracle *o, size_t layer, const double *q, size_t position,
                   double *out)
{
    const struct tiny_spec *s = &o->m->spec;
    size_t kv = (size_t)s->n_kv_heads * s->head_dim, group = s->n_heads / s->n_kv_heads;
    double *weight = must(position + 1, sizeof *weight);
    for (size_t head = 0; head < s->n_heads; head++) {
        const double *k = o->keys + layer * o->n * kv + head / group * s->head_dim;
        const double *v = o->values + layer * o->n * kv + head / group * s->head_dim;
        double largest = -INFINITY, sum = 0;
        for (size_t p = 0; p <= position; p++) {
            double score = 0;
            for (size_t d = 0; d < s->head_dim; d++)
                score += q[head * s->head_dim + d] * k[p * kv + d];
            weight[p] = score / sqrt((double)s->head_dim);
            largest = fmax(largest, weight[p]);
        }
        for (size_t p = 0; p <= position; p++) sum += weight[p] = exp(weight[p] - largest);
        for (size_t d = 0; d < s->head_dim; d++) {
            double total = 0;
            for (size_t p = 0; p <= position; p++) total += weight[p] / sum * v[p * kv + d];
            out[head * s->head_dim + d] = total;
        }
    }
    free(weight);
}

/* What the past holds of keys (or values). */
static void keep(const struct oracle *o, size_t layer, bool is_value, size_t position,
                 const double *from)
{
    size_t n = (size_t)o->m->spec.n_kv_heads * o->m->spec.head_dim;
    double *to = (is_value ? o->values : o->keys) + (layer * o->n + position) * n;
    for (size_t i = 0; i < n; i++) {
        to[i] = o->how->f32_cache ? from[i] : (double)as_f16(from[i]);
        if (!o->how->cached) continue;
        to[i] = o->how->cached(o->how->user, layer, is_value, position, i);
        if (fabs(to[i] - from[i]) > fabs(from[i]) / 1024 + 1e-4) {
            fprintf(stderr, "tiny model: the cache holds %g where %g belongs\n", to[i], from[i]);
            abort();
        }
    }
}

static void run_token(const struct oracle *o, int32_t token, size_t position, double *logits)
{
    const struct tiny_model *m = o->m;
    const struct tiny_spec *s = &m->spec;
    size_t d = s->n_embd, qw = (size_t)s->n_heads * s->head_dim;
    size_t kv = (size_t)s->n_kv_heads * s->head_dim, widest = d + qw + kv + s->n_ffn;
    double *x = must(widest * 8, sizeof *x), *h = x + widest, *q = h + widest, *k = q + widest;
    double *v = k + widest, *a = v + widest, *gate = a + widest, *up = gate + widest;
    for (size_t i = 0; i < d; i++) x[i] = (double)m->embed[(size_t)token * d + i];
    for (size_t layer = 0; layer < s->n_layers; layer++) {
        const struct tiny_layer *l = &m->layers[layer];
        norm(x, l->norm[TINY_ATTN_NORM], d, h);
        multiply(o, &l->linear[TINY_Q], h, q);
        multiply(o, &l->linear[TINY_K], h, k);
        multiply(o, &l->linear[TINY_V], h, v);
        rotate(m, q, s->n_heads, position);
        rotate(m, k, s->n_kv_heads, position);
        keep(o, layer, false, position, k);
        keep(o, layer, true, position, v);
        attend(o, layer, q, position, a);
        if (m->has_sub_norms) norm(a, l->norm[TINY_SUB_NORM], qw, a);
        multiply(o, &l->linear[TINY_O], a, h);
        for (size_t i = 0; i < d; i++) x[i] += h[i];
        norm(x, l->norm[TINY_FFN_NORM], d, h);
        multiply(o, &l->linear[TINY_GATE], h, gate);
        multiply(o, &l->linear[TINY_UP], h, up);
        for (size_t i = 0; i < s->n_ffn; i++) {
            double g = gate[i];
            gate[i] = up[i] * (m->squared_relu ? (g > 0 ? g * g : 0) : g / (1 + exp(-g)));
        }
        if (m->has_sub_norms) norm(gate, l->norm[TINY_FFN_SUB_NORM], s->n_ffn, gate);
        multiply(o, &l->linear[TINY_DOWN], gate, h);
        for (size_t i = 0; i < d; i++) x[i] += h[i];
    }
    norm(x, m->output_norm, d, h);
    for (size_t r = 0; r < s->n_vocab; r++) {
        logits[r] = 0;
        for (size_t i = 0; i < d; i++) logits[r] += h[i] * (double)m->output[r * d + i];
    }
    free(x);
}

void tiny_model_logits(const struct tiny_model *m, const int32_t *tokens, size_t n,
                       const struct tiny_oracle *how, double *logits)
{
    size_t kv = (size_t)m->spec.n_kv_heads * m->spec.head_dim;
    struct oracle o = {.m = m, .how = how, .n = n};
    o.keys = must(m->spec.n_layers * n * kv, sizeof(double));
    o.values = must(m->spec.n_layers * n * kv, sizeof(double));
    for (size_t i = 0; i < n; i++) run_token(&o, tokens[i], i, logits + i * m->spec.n_vocab);
    free(o.keys);
    free(o.values);
}
