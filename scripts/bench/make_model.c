/* make_model SHAPE TYPE OUT.gguf [EMBED_TYPE [SEED]]
 *
 * Writes a GGUF of a named shape with random trits, for measuring speed and memory: nothing but the
 * numbers is made up, so load, prefill and decode do what they do for the real model. One tensor is
 * in memory at a time; the vocabulary is bytes and numbered fillers. */
#include "bitnet/alloc.h"
#include "bitnet/arch.h"
#include "bitnet/gguf.h"
#include "bitnet/quant.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shape {
    const char *name, *arch;
    uint32_t n_layers, n_embd, n_ffn, n_heads, n_kv_heads, head_dim, n_vocab, n_context;
    float rope_base;
    bool own_output;
};

/* formats.md 6.3; "tiny" is for trying this program. */
static const struct shape shapes[] = {
    {"2b4t", "bitnet-b1.58", 30, 2560, 6912, 20, 5, 128, 128256, 4096, 500000, false},
    {"large", "bitnet", 24, 1536, 4096, 16, 16, 96, 32002, 2048, 10000, false},
    {"3b", "bitnet", 26, 3200, 8640, 32, 32, 100, 32002, 2048, 10000, false},
    {"llama3-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256, 8192, 500000, true},
    {"falcon3-10b", "llama", 40, 3072, 23040, 12, 4, 256, 131072, 32768, 1000042, true},
    {"tiny", "bitnet-b1.58", 2, 512, 1024, 8, 2, 64, 1000, 256, 10000, false},
};

#define EMBED_ROWS 512u /* rows of a float matrix made and encoded together, then repeated */

struct maker {
    const struct shape *shape;
    struct bitnet_hparams hparams;
    enum bitnet_dtype type, embed_type;
    uint64_t random;
    struct bitnet_gguf_writer *writer;
    struct bitnet_error err;
};

static void stop(const struct maker *m, const char *what)
{
    fprintf(stderr, "make_model: %s: %s\n", what, m->err.text);
    exit(3);
}

static void *must(size_t n, size_t size)
{
    void *p = bitnet_alloc(n, size);
    if (!p) {
        fprintf(stderr, "make_model: out of memory\n");
        exit(8);
    }
    return p;
}

/* xorshift64*: many trits, quickly. */
static uint64_t next(struct maker *m)
{
    m->random ^= m->random >> 12;
    m->random ^= m->random << 25;
    m->random ^= m->random >> 27;
    return m->random * 0x2545f4914f6cdd1du;
}

/* A byte below 243 is five trits. */
static void fill_trits(struct maker *m, int8_t *trits, size_t n)
{
    static int8_t five[243][5];
    for (int b = 0; b < 243; b++)
        for (int i = 0, v = b; i < 5; i++, v /= 3) five[b][i] = (int8_t)(v % 3 - 1);
    for (size_t i = 0; i < n;) {
        uint64_t word = next(m);
        for (int k = 0; k < 8 && i < n; k++, word >>= 8) {
            if ((word & 0xff) >= 243) continue;
            size_t part = n - i < 5 ? n - i : 5;
            memcpy(trits + i, five[word & 0xff], part);
            i += part;
        }
    }
}

static float uniform(struct maker *m)
{
    return (float)(next(m) >> 40) * 0x1p-24f;
}

/* ------------------------------------------------------------------ tensors */

static struct bitnet_layout layout_of(struct maker *m, const struct bitnet_tensor_role *role)
{
    struct bitnet_layout layout = {.rows = (size_t)bitnet_dim_size(&m->hparams, role->rows),
                                   .cols = (size_t)bitnet_dim_size(&m->hparams, role->cols)};
    layout.type = role->kind == BITNET_TENSOR_NORM    ? BITNET_DTYPE_f32
                  : role->kind == BITNET_TENSOR_EMBED ? m->embed_type
                                                      : m->type;
    if (role->cols == BITNET_DIM_NONE) {
        layout.cols = layout.rows;
        layout.rows = 1;
    }
    if (bitnet_layout_check(&layout, &m->err)) stop(m, role->gguf);
    return layout;
}

static uint64_t bytes_of(struct maker *m, const struct bitnet_layout *layout)
{
    const uint64_t dims[2] = {layout->cols, layout->rows};
    uint64_t n_bytes = 0;
    if (bitnet_tensor_bytes(layout->type, dims, 2, &n_bytes, &m->err)) stop(m, "size");
    return n_bytes;
}

static void write_trits(struct maker *m, const struct bitnet_layout *layout)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    size_t n_bytes = (size_t)bytes_of(m, layout), n_scales = bitnet_scale_count(layout);
    int8_t *trits = must(layout->rows, layout->cols);
    float *scales = must(n_scales, sizeof *scales);
    uint8_t *bytes = must(n_bytes, 1);
    float scale = bitnet_f16_to_f32(bitnet_f32_to_f16(sqrtf(1.5f / (float)layout->cols)));
    for (size_t i = 0; i < n_scales; i++) scales[i] = scale;
    fill_trits(m, trits, layout->rows * layout->cols);
    codec->encode_trits(layout, trits, scales, bytes, n_bytes);
    if (bitnet_gguf_tensor_write(m->writer, bytes, n_bytes, &m->err)) stop(m, "write");
    bitnet_free(bytes);
    bitnet_free(scales);
    bitnet_free(trits);
}

static void write_floats(struct maker *m, const struct bitnet_layout *layout, float mean)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    size_t n_rows = layout->rows < EMBED_ROWS ? layout->rows : EMBED_ROWS;
    float *floats = must(n_rows * layout->cols, sizeof *floats);
    uint8_t *bytes = must(bitnet_rows_bytes(layout, n_rows), 1);
    for (size_t i = 0; i < n_rows * layout->cols; i++) floats[i] = mean + uniform(m) - 0.5f;
    codec->encode_rows(layout, floats, n_rows, NULL, bytes);
    for (size_t row = 0; row < layout->rows; row += n_rows) {
        size_t part = layout->rows - row < n_rows ? layout->rows - row : n_rows;
        if (bitnet_gguf_tensor_write(m->writer, bytes, bitnet_rows_bytes(layout, part), &m->err))
            stop(m, "write");
    }
    bitnet_free(bytes);
    bitnet_free(floats);
}

/* A float type spells the same trits and scale as a ternary one would. */
static void write_trits_as_floats(struct maker *m, const struct bitnet_layout *layout)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    float scale = bitnet_f16_to_f32(bitnet_f32_to_f16(sqrtf(1.5f / (float)layout->cols)));
    int8_t *trits = must(layout->rows, layout->cols);
    float *floats = must(layout->cols, sizeof *floats);
    uint8_t *bytes = must(bitnet_rows_bytes(layout, 1), 1);
    fill_trits(m, trits, layout->rows * layout->cols);
    for (size_t row = 0; row < layout->rows; row++) {
        for (size_t c = 0; c < layout->cols; c++)
            floats[c] = (float)trits[row * layout->cols + c] * scale;
        codec->encode_rows(layout, floats, 1, NULL, bytes);
        if (bitnet_gguf_tensor_write(m->writer, bytes, bitnet_rows_bytes(layout, 1), &m->err))
            stop(m, "write");
    }
    bitnet_free(bytes);
    bitnet_free(floats);
    bitnet_free(trits);
}

static void write_tensor(struct maker *m, const struct bitnet_tensor_role *role)
{
    struct bitnet_layout layout = layout_of(m, role);
    bool is_float = bitnet_dtype_info(layout.type)->kind == BITNET_KIND_FLOAT;
    if (role->kind == BITNET_TENSOR_LINEAR && bitnet_codec(layout.type)->encode_trits)
        write_trits(m, &layout);
    else if (role->kind == BITNET_TENSOR_LINEAR && is_float)
        write_trits_as_floats(m, &layout);
    else
        write_floats(m, &layout, role->kind == BITNET_TENSOR_NORM ? 1 : 0);
}

static void declare_tensor(struct maker *m, const struct bitnet_tensor_role *role, uint32_t layer)
{
    struct bitnet_layout layout = layout_of(m, role);
    char name[64];
    snprintf(name, sizeof name, role->gguf, layer);
    const uint64_t dims[2] = {layout.cols, layout.rows};
    if (bitnet_gguf_tensor_declare(m->writer, bitnet_str_of(name), layout.type, dims,
                                   role->cols == BITNET_DIM_NONE ? 1 : 2, &m->err))
        stop(m, name);
}

/* Calls `what` for every tensor in the order of the file. */
static void for_each_tensor(struct maker *m,
                            void (*what)(struct maker *, const struct bitnet_tensor_role *,
                                         uint32_t layer))
{
    const struct bitnet_arch *arch = bitnet_arch_by_name(bitnet_str_of(m->shape->arch));
    for (int layered = 0; layered < 2; layered++)
        for (uint32_t layer = 0; layer < (layered ? m->shape->n_layers : 1); layer++)
            for (size_t i = 0; i < arch->n_roles; i++) {
                const struct bitnet_tensor_role *role = &arch->roles[i];
                bool wanted = !role->is_optional ||
                              (role->role == BITNET_ROLE_OUTPUT && m->shape->own_output);
                if (wanted && (strstr(role->gguf, "%u") != NULL) == layered) what(m, role, layer);
            }
}

static void write_nth(struct maker *m, const struct bitnet_tensor_role *role, uint32_t layer)
{
    (void)layer;
    write_tensor(m, role);
}

/* A tile for each shape, once: layer 0 has them all. */
static void put_tile(struct maker *m, const struct bitnet_tensor_role *role, uint32_t layer)
{
    if (role->kind != BITNET_TENSOR_LINEAR || layer > 0) return;
    if (role->role == BITNET_ROLE_FFN_UP || role->role == BITNET_ROLE_ATTN_V) return;
    struct bitnet_layout layout = layout_of(m, role);
    if (role->role == BITNET_ROLE_ATTN_OUTPUT && layout.rows == layout.cols) return;
    if (role->role == BITNET_ROLE_ATTN_K && m->shape->n_heads == m->shape->n_kv_heads) return;
    const uint32_t values[3] = {layout.tile.rows, layout.tile.cols, layout.tile.sub_rows};
    static const char *const names[3] = {"bm", "bk", "bmm"};
    for (int i = 0; i < 3 && layout.tile.rows; i++) {
        char key[96];
        snprintf(key, sizeof key, "bitnet.tl.%zux%zu.%s", layout.rows, layout.cols, names[i]);
        bitnet_gguf_put_u32(m->writer, key, values[i]);
    }
}

/* ------------------------------------------------------------------ metadata */

static void put_vocabulary(struct maker *m)
{
    uint32_t n = m->shape->n_vocab;
    struct bitnet_str *pieces = must(n, sizeof *pieces);
    float *scores = must(n, sizeof *scores);
    int32_t *types = must(n, sizeof *types);
    char(*text)[16] = must(n, sizeof *text);
    for (uint32_t i = 0; i < n; i++) {
        static const char *const named[] = {"<unk>", "<s>", "</s>"};
        if (i < 3)
            snprintf(text[i], sizeof text[i], "%s", named[i]);
        else if (i < 259)
            snprintf(text[i], sizeof text[i], "<0x%02X>", (unsigned)(i - 3));
        else
            snprintf(text[i], sizeof text[i], "[%" PRIu32 "]", i);
        pieces[i] = bitnet_str_of(text[i]);
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
        scores[i] = -(float)i;
    }
    bitnet_gguf_put_str(m->writer, "tokenizer.ggml.model", BITNET_STR("llama"));
    bitnet_gguf_put_strings(m->writer, "tokenizer.ggml.tokens", pieces, n);
    bitnet_gguf_put_array(m->writer, "tokenizer.ggml.scores", BITNET_GGUF_F32, scores, n);
    bitnet_gguf_put_array(m->writer, "tokenizer.ggml.token_type", BITNET_GGUF_I32, types, n);
    bitnet_gguf_put_u32(m->writer, "tokenizer.ggml.bos_token_id", 1);
    bitnet_gguf_put_u32(m->writer, "tokenizer.ggml.eos_token_id", 2);
    bitnet_gguf_put_u32(m->writer, "tokenizer.ggml.unknown_token_id", 0);
    bitnet_free(pieces);
    bitnet_free(scores);
    bitnet_free(types);
    bitnet_free(text);
}

static void put_metadata(struct maker *m)
{
    const struct bitnet_arch *arch = bitnet_arch_by_name(bitnet_str_of(m->shape->arch));
    bitnet_gguf_put_str(m->writer, "general.architecture", bitnet_str_of(m->shape->arch));
    bitnet_gguf_put_str(m->writer, "general.name", bitnet_str_of(m->shape->name));
    bitnet_hparams_to_gguf(&m->hparams, arch, m->writer);
    put_vocabulary(m);
    for_each_tensor(m, put_tile);
}

static enum bitnet_dialect dialect_of(enum bitnet_dtype type)
{
    for (int d = 0; d < BITNET_DIALECT_COUNT; d++)
        if (bitnet_dtype_info(type)->type_number[d] != BITNET_NO_NUMBER)
            return (enum bitnet_dialect)d;
    return BITNET_DIALECT_GGML;
}

static void make(struct maker *m, const char *path)
{
    const struct bitnet_gguf_writer_options options = {.overwrite = true,
                                                       .dialect = dialect_of(m->type)};
    if (bitnet_gguf_writer_new(&m->writer, path, &options, &m->err)) stop(m, path);
    put_metadata(m);
    for_each_tensor(m, declare_tensor);
    if (bitnet_gguf_begin(m->writer, &m->err)) stop(m, path);
    for_each_tensor(m, write_nth);
    if (bitnet_gguf_finish(m->writer, &m->err)) stop(m, path);
}

static bool choose_shape(struct maker *m, const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (strcmp(shapes[i].name, name) == 0) m->shape = &shapes[i];
    if (!m->shape) return false;
    const struct shape *s = m->shape;
    m->hparams = (struct bitnet_hparams){.n_layers = s->n_layers,
                                         .n_embd = s->n_embd,
                                         .n_ffn = s->n_ffn,
                                         .n_heads = s->n_heads,
                                         .n_kv_heads = s->n_kv_heads,
                                         .head_dim = s->head_dim,
                                         .n_rot = s->head_dim,
                                         .n_vocab = s->n_vocab,
                                         .n_context = s->n_context,
                                         .norm_eps = 1e-5f,
                                         .rope_base = s->rope_base,
                                         .rope_scale = 1};
    return true;
}

int main(int argc, char **argv)
{
    struct maker m = {.embed_type = BITNET_DTYPE_f16, .random = 1};
    bool ok = argc >= 4 && choose_shape(&m, argv[1]) &&
              bitnet_dtype_from_name(bitnet_str_of(argv[2]), &m.type) && bitnet_codec(m.type) &&
              (argc < 5 || bitnet_dtype_from_name(bitnet_str_of(argv[4]), &m.embed_type)) &&
              bitnet_codec(m.embed_type) && bitnet_codec(m.embed_type)->encode_rows;
    if (argc >= 6) m.random = strtoull(argv[5], NULL, 10) + 1;
    if (!ok) {
        fprintf(stderr, "usage: make_model SHAPE TYPE OUT.gguf [EMBED_TYPE [SEED]]\nshapes:");
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            fprintf(stderr, " %s", shapes[i].name);
        fprintf(stderr, "\n");
        return 2;
    }
    make(&m, argv[3]);
    return 0;
}
