/* make_model SHAPE TYPE OUT.gguf [EMBED_TYPE [SEED [OUTPUT_TYPE [ARCH]]]]
 *
 * Writes a GGUF of a named shape with random trits, for measuring speed and memory: nothing but the
 * numbers is made up, so load, prefill and decode do what they do for the real model. The bytes
 * depend on the arguments alone, on every host and for any number of threads; one seed gives the
 * same trits and scales in every type. One tensor per thread is in memory at a time; the vocabulary
 * is bytes and numbered fillers, valid for SentencePiece readers. */
#include "bitnet/alloc.h"
#include "bitnet/arch.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/pool.h"
#include "bitnet/quant.h"
#include "bitnet/text.h"

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

#define EMBED_ROWS  512u /* rows of a float matrix made and encoded together, then repeated */
#define THREADS_MAX 16u

/* One tensor of the file, and its bytes while it is made: a block, written again and again until
 * the tensor is full. */
struct tensor {
    const struct bitnet_tensor_role *role;
    uint32_t layer;
    uint64_t random; /* its own beginning, so that who makes it and when changes nothing */
    uint8_t *block;
    uint64_t block_bytes;
};

struct maker {
    struct shape shape;
    const struct bitnet_arch *arch;
    struct bitnet_hparams hparams;
    enum bitnet_dtype type, embed_type, output_type;
    uint64_t seed;
    struct tensor *tensors;
    size_t n_tensors;
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

/* ------------------------------------------------------------------ random numbers */

/* xorshift64*: many trits, quickly. */
static uint64_t next(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * 0x2545f4914f6cdd1du;
}

/* Far apart for neighbouring numbers (splitmix64's last steps), and never 0. */
static uint64_t beginning(uint64_t seed, uint64_t n)
{
    uint64_t z = seed * 0x9e3779b97f4a7c15u + n + 1;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) | 1;
}

/* A byte below 243 is five trits. */
static int8_t five_trits[243][8];

static void make_table(void)
{
    for (int b = 0; b < 243; b++)
        for (int i = 0, v = b; i < 5; i++, v /= 3) five_trits[b][i] = (int8_t)(v % 3 - 1);
}

/* Eight bytes are copied where five count: room for three more is needed behind the last. */
static void fill_trits(uint64_t *random, int8_t *trits, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint64_t word = next(random);
        for (int k = 0; k < 8 && i < n; k++, word >>= 8) {
            unsigned byte = word & 0xff;
            if (byte >= 243) continue;
            memcpy(trits + i, five_trits[byte], 8);
            i += 5;
        }
    }
}

static float uniform(uint64_t *random)
{
    return (float)(next(random) >> 40) * 0x1p-24f;
}

/* ------------------------------------------------------------------ tensors */

static enum bitnet_dtype type_of(const struct maker *m, const struct bitnet_tensor_role *role)
{
    if (role->kind == BITNET_TENSOR_NORM) return BITNET_DTYPE_f32;
    if (role->kind == BITNET_TENSOR_LINEAR) return m->type;
    return role->role == BITNET_ROLE_OUTPUT ? m->output_type : m->embed_type;
}

static struct bitnet_layout layout_of(struct maker *m, const struct bitnet_tensor_role *role)
{
    struct bitnet_layout layout = {.type = type_of(m, role),
                                   .rows = (size_t)bitnet_dim_size(&m->hparams, role->rows),
                                   .cols = (size_t)bitnet_dim_size(&m->hparams, role->cols)};
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

static float scale_of(const struct bitnet_layout *layout)
{
    return bitnet_f16_to_f32(bitnet_f32_to_f16(sqrtf(1.5f / (float)layout->cols)));
}

static int8_t *random_trits(struct tensor *t, const struct bitnet_layout *layout)
{
    int8_t *trits = must(layout->rows * layout->cols + 8, 1);
    fill_trits(&t->random, trits, layout->rows * layout->cols);
    return trits;
}

static void make_trits(struct tensor *t, const struct bitnet_layout *layout)
{
    size_t n_scales = bitnet_scale_count(layout);
    int8_t *trits = random_trits(t, layout);
    float *scales = must(n_scales, sizeof *scales);
    for (size_t i = 0; i < n_scales; i++) scales[i] = scale_of(layout);
    bitnet_codec(layout->type)->encode_trits(layout, trits, scales, t->block, t->block_bytes);
    bitnet_free(scales);
    bitnet_free(trits);
}

/* A float type spells the same trits and scale as a ternary one would. */
static void make_trits_as_floats(struct tensor *t, const struct bitnet_layout *layout)
{
    size_t row_bytes = bitnet_rows_bytes(layout, 1);
    int8_t *trits = random_trits(t, layout);
    float *floats = must(layout->cols, sizeof *floats), scale = scale_of(layout);
    for (size_t row = 0; row < layout->rows; row++) {
        for (size_t c = 0; c < layout->cols; c++)
            floats[c] = (float)trits[row * layout->cols + c] * scale;
        bitnet_codec(layout->type)
            ->encode_rows(layout, floats, 1, NULL, t->block + row * row_bytes);
    }
    bitnet_free(floats);
    bitnet_free(trits);
}

static void make_floats(struct tensor *t, const struct bitnet_layout *layout, size_t n_rows)
{
    float *floats = must(n_rows * layout->cols, sizeof *floats);
    float mean = t->role->kind == BITNET_TENSOR_NORM ? 1 : 0;
    for (size_t i = 0; i < n_rows * layout->cols; i++)
        floats[i] = mean + uniform(&t->random) - 0.5f;
    bitnet_codec(layout->type)->encode_rows(layout, floats, n_rows, NULL, t->block);
    bitnet_free(floats);
}

static bool is_float(const struct bitnet_layout *layout)
{
    return bitnet_dtype_info(layout->type)->kind == BITNET_KIND_FLOAT;
}

static void make_tensor(struct maker *m, struct tensor *t)
{
    struct bitnet_layout layout = layout_of(m, t->role);
    bool is_linear = t->role->kind == BITNET_TENSOR_LINEAR;
    bool has_trits = is_linear && (bitnet_codec(layout.type)->encode_trits || is_float(&layout));
    size_t n_rows = layout.rows < EMBED_ROWS ? layout.rows : EMBED_ROWS;
    t->block_bytes = has_trits ? bytes_of(m, &layout) : bitnet_rows_bytes(&layout, n_rows);
    t->block = must(t->block_bytes, 1);
    if (!has_trits)
        make_floats(t, &layout, n_rows);
    else if (bitnet_codec(layout.type)->encode_trits)
        make_trits(t, &layout);
    else
        make_trits_as_floats(t, &layout);
}

static void write_tensor(struct maker *m, struct tensor *t)
{
    const struct bitnet_layout layout = layout_of(m, t->role);
    for (uint64_t left = bytes_of(m, &layout); left;) {
        uint64_t part = left < t->block_bytes ? left : t->block_bytes;
        if (bitnet_gguf_tensor_write(m->writer, t->block, part, &m->err)) stop(m, "write");
        left -= part;
    }
    bitnet_free(t->block);
    t->block = NULL;
}

/* A few tensors at a time, one per thread; written in order. */
struct batch {
    struct maker *maker;
    struct tensor *tensors;
};

static void make_slice(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct batch *batch = ctx;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        struct maker own = *batch->maker; /* its error text, too */
        make_tensor(&own, &batch->tensors[i]);
    }
}

static void make_and_write(struct maker *m)
{
    struct bitnet_pool *pool;
    if (bitnet_pool_new(&pool, 0, &m->err)) stop(m, "threads");
    size_t n_threads = bitnet_pool_threads(pool);
    if (n_threads > THREADS_MAX) n_threads = THREADS_MAX;
    for (size_t i = 0; i < m->n_tensors; i += n_threads) {
        size_t n = m->n_tensors - i < n_threads ? m->n_tensors - i : n_threads;
        struct batch batch = {m, m->tensors + i};
        bitnet_pool_run(pool, n, 1, make_slice, &batch);
        for (size_t k = 0; k < n; k++) write_tensor(m, &m->tensors[i + k]);
    }
    bitnet_pool_free(pool);
}

/* Every tensor in the order of the file. */
static void list_tensors(struct maker *m)
{
    const struct shape *shape = &m->shape;
    m->tensors = must(m->arch->n_roles * (shape->n_layers + 1), sizeof *m->tensors);
    for (int layered = 0; layered < 2; layered++)
        for (uint32_t layer = 0; layer < (layered ? shape->n_layers : 1); layer++)
            for (size_t i = 0; i < m->arch->n_roles; i++) {
                const struct bitnet_tensor_role *role = &m->arch->roles[i];
                bool is_wanted =
                    !role->is_optional || (role->role == BITNET_ROLE_OUTPUT && shape->own_output);
                if (!is_wanted || (strstr(role->gguf, "%u") != NULL) != layered) continue;
                m->tensors[m->n_tensors] = (struct tensor){
                    .role = role, .layer = layer, .random = beginning(m->seed, m->n_tensors)};
                m->n_tensors++;
            }
}

static void declare_tensor(struct maker *m, const struct tensor *t)
{
    struct bitnet_layout layout = layout_of(m, t->role);
    char name[64];
    snprintf(name, sizeof name, t->role->gguf, t->layer);
    const uint64_t dims[2] = {layout.cols, layout.rows};
    if (bitnet_gguf_tensor_declare(m->writer, bitnet_str_of(name), layout.type, dims,
                                   t->role->cols == BITNET_DIM_NONE ? 1 : 2, &m->err))
        stop(m, name);
}

/* A tile for each shape, once: layer 0 has them all. */
static void put_tile(struct maker *m, const struct tensor *t)
{
    const struct bitnet_tensor_role *role = t->role;
    if (role->kind != BITNET_TENSOR_LINEAR || t->layer > 0) return;
    if (role->role == BITNET_ROLE_FFN_UP || role->role == BITNET_ROLE_ATTN_V) return;
    struct bitnet_layout layout = layout_of(m, role);
    if (role->role == BITNET_ROLE_ATTN_OUTPUT && layout.rows == layout.cols) return;
    if (role->role == BITNET_ROLE_ATTN_K && m->shape.n_heads == m->shape.n_kv_heads) return;
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
    uint32_t n = m->shape.n_vocab;
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
    bitnet_gguf_put_str(m->writer, "general.architecture", bitnet_str_of(m->arch->name));
    bitnet_gguf_put_str(m->writer, "general.name", bitnet_str_of(m->shape.name));
    bitnet_hparams_to_gguf(&m->hparams, m->arch, m->writer);
    put_vocabulary(m);
    for (size_t i = 0; i < m->n_tensors; i++) put_tile(m, &m->tensors[i]);
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
    make_table();
    list_tensors(m);
    if (bitnet_gguf_writer_new(&m->writer, path, &options, &m->err)) stop(m, path);
    put_metadata(m);
    for (size_t i = 0; i < m->n_tensors; i++) declare_tensor(m, &m->tensors[i]);
    if (bitnet_gguf_begin(m->writer, &m->err)) stop(m, path);
    make_and_write(m);
    if (bitnet_gguf_finish(m->writer, &m->err)) stop(m, path);
    bitnet_free(m->tensors);
}

/* ------------------------------------------------------------------ the command line */

static bool choose_shape(struct maker *m, const char *name, const char *arch)
{
    bool is_known = false;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (strcmp(shapes[i].name, name) == 0) {
            m->shape = shapes[i];
            is_known = true;
        }
    const struct shape *s = &m->shape;
    m->arch = is_known ? bitnet_arch_by_name(bitnet_str_of(arch ? arch : s->arch)) : NULL;
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
    return m->arch != NULL;
}

/* A type that linear layers can be written in. */
static bool choose_type(enum bitnet_dtype *type, const char *name)
{
    if (!bitnet_dtype_from_name(bitnet_str_of(name), type) || !bitnet_codec(*type)) return false;
    return bitnet_codec(*type)->encode_trits || bitnet_codec(*type)->encode_rows;
}

/* A type whose rows of floats can be encoded. */
static bool choose_float_type(enum bitnet_dtype *type, const char *name)
{
    return bitnet_dtype_from_name(bitnet_str_of(name), type) && bitnet_codec(*type) &&
           bitnet_codec(*type)->encode_rows;
}

static int stay_in_memory(int fd)
{
    (void)fd;
    return 0;
}

/* Nobody waits for the disk to have a file of the tiny shape: it is for trying this program, and a
 * test makes dozens. */
static void spare_the_disk(void)
{
    static struct bitnet_io io;
    io = *bitnet_io_swap(NULL);
    io.fsync = stay_in_memory;
    (void)bitnet_io_swap(&io);
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: make_model SHAPE TYPE OUT.gguf [EMBED_TYPE [SEED [OUTPUT_TYPE [ARCH]]]]\n"
        "TYPE of the linear layers; EMBED_TYPE of the embedding (default f16), OUTPUT_TYPE of an\n"
        "output matrix of its own (default EMBED_TYPE); ARCH instead of the shape's own\nshapes:");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        fprintf(stderr, " %s", shapes[i].name);
    fprintf(stderr, "\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct maker m = {0};
    bool ok = argc >= 4 && argc <= 8 && choose_shape(&m, argv[1], argc > 7 ? argv[7] : NULL) &&
              choose_type(&m.type, argv[2]) &&
              choose_float_type(&m.embed_type, argc > 4 ? argv[4] : "f16") &&
              (argc < 6 || bitnet_parse_u64(bitnet_str_of(argv[5]), &m.seed));
    m.output_type = m.embed_type;
    if (!ok || (argc > 6 && !choose_float_type(&m.output_type, argv[6]))) return usage();
    if (strcmp(m.shape.name, "tiny") == 0) spare_the_disk();
    make(&m, argv[3]);
    return 0;
}
