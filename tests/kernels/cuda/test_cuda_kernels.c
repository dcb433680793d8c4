/* Every verb of the CUDA plug-in against the CPU's scalar set: equal bits, except attention, whose
 * bound stands beside its test, and products of blocks. Runs on the emulated device everywhere; the
 * program of the same source that is linked with the real plug-in (label gpu) runs where there is a
 * device. */
#include "bitnet/kernels.h"
#include "bitnet/quant.h"

#include "cuda.h"
#include "device_layout.h"

#include "cm.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Under AddressSanitizer every switch of a fibre is slow: the same tests, fewer repetitions. */
#if defined(__SANITIZE_ADDRESS__)
enum { N_SHAPES = 25, WIDEST = 1 << 20 };
#else
enum { N_SHAPES = 200, WIDEST = 8388608 };
#endif

static const struct bitnet_cuda_api *api;
static struct bitnet_cuda *device;
static struct bitnet_kernel_set cpu;

/* ------------------------------------------------------------------ helpers */

static uint64_t state = 0x9e3779b97f4a7c15u;
static uint32_t random_word(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}
static size_t below(size_t n)
{
    return random_word() % n;
}
static float random_float(void)
{
    return ((float)random_word() / 4294967296.0f - 0.5f) * 4.0f;
}

static void *need(void *p)
{
    if (!p) fail_msg("no memory: %s", api->last_error(device));
    return p;
}
static void good(bool ok)
{
    if (!ok) fail_msg("%s", api->last_error(device));
}
static void *on_device(const void *from, size_t bytes)
{
    void *at = need(api->alloc(device, bytes));
    good(api->write(device, at, from, bytes));
    return at;
}
static float *floats_on_device(const float *from, size_t n)
{
    return on_device(from, n * sizeof *from);
}
static float *random_floats(size_t n)
{
    float *x = need(malloc(n * sizeof *x));
    for (size_t i = 0; i < n; i++) x[i] = random_float();
    return x;
}
static void read_floats(float *to, const float *from, size_t n)
{
    good(api->read(device, to, from, n * sizeof *to));
}
static void assert_same_bits(const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s: element %zu is %.9g on the device, %.9g on the CPU", what, i, a[i], b[i]);
}
static struct bitnet_cuda_vectors vectors(float *at, size_t width, size_t stride)
{
    return (struct bitnet_cuda_vectors){.at = at, .width = width, .stride = stride};
}

struct codes {
    struct bitnet_cuda_codes device;
    size_t words;
};
static struct codes new_codes(size_t cols, size_t n)
{
    return (struct codes){
        .device = {.words = need(api->alloc(device, n * device_code_words(cols) * 4)),
                   .scales = need(api->alloc(device, n * 4)),
                   .sums = need(api->alloc(device, n * 4))},
        .words = device_code_words(cols)};
}
static void free_codes(struct codes *c)
{
    api->free(device, c->device.words);
    api->free(device, c->device.scales);
    api->free(device, c->device.sums);
}

/* ------------------------------------------------------------------ ternary */

enum values { RANDOM, ALL_PLUS, ALL_MINUS };

static int8_t trit(enum values values)
{
    return (int8_t)(values == RANDOM ? (int)below(3) - 1 : values == ALL_PLUS ? 1 : -1);
}

/* Codes as quantization would leave them, but of the worst kind when asked for. */
static void fill_codes(int8_t *q, size_t cols, enum values values)
{
    for (size_t c = 0; c < cols; c++)
        q[c] = (int8_t)(values == RANDOM ? (int)below(255) - 127 : values == ALL_PLUS ? 127 : -127);
}

/* One product of `n_products` matrices at once, against sums in int64. */
static void check_ternary(const size_t *rows, size_t n_products, size_t cols, size_t n,
                          enum values values)
{
    const size_t words = device_code_words(cols);
    int8_t *q = need(calloc(n, cols));
    uint32_t *permuted = need(calloc(n * words, 4));
    float *scales = need(malloc(n * sizeof *scales));
    int32_t *sums = need(calloc(n, sizeof *sums));
    for (size_t t = 0; t < n; t++) {
        fill_codes(q + t * cols, cols, values);
        scales[t] = 1.0f + (float)below(1000) / 64.0f;
        for (size_t c = 0; c < cols; c++) sums[t] += q[t * cols + c];
        for (size_t w = 0; w < words; w++)
            for (size_t b = 0; b < 4; b++) {
                size_t c = device_code_column(w) + b;
                if (c < cols)
                    permuted[t * words + w] |= (uint32_t)(uint8_t)q[t * cols + c] << 8 * b;
            }
    }
    struct bitnet_cuda_codes codes = {.words = on_device(permuted, n * words * 4),
                                      .scales = on_device(scales, n * 4),
                                      .sums = on_device(sums, n * 4)};
    struct bitnet_cuda_product products[BITNET_CUDA_PRODUCTS];
    int8_t *trits[BITNET_CUDA_PRODUCTS];
    void *row_scales[BITNET_CUDA_PRODUCTS] = {0};
    float *host_scales = random_floats(rows[0]);
    for (size_t i = 0; i < n_products; i++) {
        trits[i] = need(malloc(rows[i] * cols));
        for (size_t k = 0; k < rows[i] * cols; k++) trits[i][k] = trit(values);
        int8_t *raw = on_device(trits[i], rows[i] * cols);
        uint32_t *packed = need(api->alloc(device, device_weight_words(rows[i], cols) * 4));
        good(api->pack(device, raw, rows[i], cols, packed));
        api->free(device, raw);
        if (i == 0) row_scales[0] = floats_on_device(host_scales, rows[0]);
        products[i] =
            (struct bitnet_cuda_product){.weights = packed,
                                         .rows = rows[i],
                                         .scale = 0.25f + (float)i,
                                         .row_scales = row_scales[i],
                                         .y = need(api->alloc(device, n * (rows[i] + 3) * 4)),
                                         .y_stride = rows[i] + 3};
    }
    good(api->ternary(device, codes, cols, n, products, n_products));
    for (size_t i = 0; i < n_products; i++) {
        float *y = need(malloc(n * (rows[i] + 3) * 4));
        read_floats(y, products[i].y, n * (rows[i] + 3));
        for (size_t t = 0; t < n; t++)
            for (size_t r = 0; r < rows[i]; r++) {
                int64_t sum = 0;
                for (size_t c = 0; c < cols; c++)
                    sum += (int64_t)trits[i][r * cols + c] * q[t * cols + c];
                int32_t narrow = (int32_t)sum;
                assert_int_equal(narrow, sum);
                float want;
                cpu.rescale(&narrow, 1, scales[t], i == 0 ? host_scales[r] : products[i].scale,
                            &want);
                float got = y[t * (rows[i] + 3) + r];
                if (memcmp(&want, &got, 4) != 0)
                    fail_msg("%zu x %zu, batch %zu, matrix %zu: row %zu of token %zu is %.9g, not "
                             "%.9g",
                             rows[i], cols, n, i, r, t, got, want);
            }
        free(y);
        free(trits[i]);
        api->free(device, (void *)(uintptr_t)products[i].weights);
        api->free(device, products[i].y);
        if (row_scales[i]) api->free(device, row_scales[i]);
    }
    api->free(device, codes.words);
    api->free(device, codes.scales);
    api->free(device, codes.sums);
    free(host_scales);
    free(q), free(permuted), free(scales), free(sums);
}

static void products_equal_integer_sums_for_any_shape_and_batch(void **unused)
{
    (void)unused;
    static const size_t batches[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 65, 130};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        size_t cols = 1 + below(400), rows[3] = {1 + below(70), 1 + below(40), 1 + below(20)};
        check_ternary(rows, 1 + i % 3, cols, batches[i], RANDOM);
    }
}

static void two_hundred_random_shapes(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < N_SHAPES; i++) {
        size_t rows[3] = {1 + below(48), 1 + below(16), 1 + below(16)};
        check_ternary(rows, 1 + below(3), 1 + below(i % 10 ? 260 : 1500), 1 + below(20), RANDOM);
    }
}

static void extreme_values_do_not_overflow(void **unused)
{
    (void)unused;
    size_t rows[1] = {17};
    static const size_t batches[] = {1, 4, 9, 40};
    for (size_t i = 0; i < 4; i++) {
        check_ternary(rows, 1, 6912, batches[i], ALL_PLUS);
        check_ternary(rows, 1, 6912, batches[i], ALL_MINUS);
    }
}

/* 2^23 columns: plane 3 of the gemv has to fold, and a sum of codes comes within 1 % of 2^31. */
static void the_widest_matrix_does_not_overflow(void **unused)
{
    (void)unused;
    size_t rows[1] = {1};
    check_ternary(rows, 1, WIDEST, 1, ALL_PLUS);
    check_ternary(rows, 1, WIDEST, 1, ALL_MINUS);
}

/* ------------------------------------------------------------------ norm and quantization */

static void check_norm(size_t width, size_t n, bool with_norm, bool in_place)
{
    size_t stride = width + 5;
    float *x = random_floats(n * stride), *w = random_floats(width);
    float *y = need(malloc(n * stride * 4)), *want = need(malloc((width + 128) * 4));
    float *dx = floats_on_device(x, n * stride), *dw = floats_on_device(w, width);
    float *dy = in_place ? dx : need(api->alloc(device, n * stride * 4));
    struct codes codes = new_codes(width, n);
    good(api->norm(device, vectors(dx, width, stride), with_norm ? dw : NULL, 1e-5f, n,
                   vectors(dy, width, stride), codes.device));
    read_floats(y, dy, n * stride);
    uint32_t *words = need(malloc(n * codes.words * 4));
    float *scales = need(malloc(n * 4));
    int32_t *sums = need(malloc(n * 4));
    good(api->read(device, words, codes.device.words, n * codes.words * 4));
    good(api->read(device, scales, codes.device.scales, n * 4));
    good(api->read(device, sums, codes.device.sums, n * 4));
    int8_t *q = need(malloc(width + 128));
    for (size_t t = 0; t < n; t++) {
        if (with_norm)
            cpu.rms_norm(x + t * stride, w, width, 1e-5f, want);
        else
            memcpy(want, x + t * stride, width * 4);
        assert_same_bits(y + t * stride, want, width, "norm");
        float scale = cpu.quantize_row_i8(want, width, q);
        assert_same_bits(&scales[t], &scale, 1, "scale");
        int32_t sum = 0;
        for (size_t c = 0; c < width; c++) sum += q[c];
        assert_int_equal(sums[t], sum);
        for (size_t word = 0; word < codes.words; word++)
            for (size_t b = 0; b < 4; b++) {
                size_t c = device_code_column(word) + b;
                int8_t got = (int8_t)(words[t * codes.words + word] >> 8 * b);
                assert_int_equal(got, c < width ? q[c] : 0);
            }
    }
    api->free(device, dx), api->free(device, dw);
    if (!in_place) api->free(device, dy);
    free_codes(&codes);
    free(x), free(w), free(y), free(want), free(words), free(scales), free(sums), free(q);
}

static void norm_and_quantization_are_the_cpus(void **unused)
{
    (void)unused;
    static const size_t widths[] = {1, 31, 128, 129, 640, 2560};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        check_norm(widths[i], 3, true, false);
        check_norm(widths[i], 2, true, true);
        check_norm(widths[i], 2, false, false);
    }
}

static void a_nan_or_an_infinity_gives_a_nan_scale_and_no_codes(void **unused)
{
    (void)unused;
    float x[64];
    for (size_t bad = 0; bad < 2; bad++) {
        for (size_t i = 0; i < 64; i++) x[i] = (float)i;
        x[63 * bad] = bad ? INFINITY : NAN;
        float *dx = floats_on_device(x, 64);
        struct codes codes = new_codes(64, 1);
        good(api->norm(device, vectors(dx, 64, 64), NULL, 0, 1, vectors(NULL, 64, 64),
                       codes.device));
        float scale;
        uint32_t words[32];
        read_floats(&scale, codes.device.scales, 1);
        good(api->read(device, words, codes.device.words, sizeof words));
        assert_true(isnan(scale));
        for (size_t i = 0; i < 32; i++) assert_int_equal(words[i], 0);
        free_codes(&codes);
        api->free(device, dx);
    }
}

/* ------------------------------------------------------------------ element by element */

static void gates_are_the_cpus(void **unused)
{
    (void)unused;
    bitnet_gate_fn *const on_cpu[] = {cpu.gate_silu, cpu.gate_relu2, cpu.gate_gelu};
    enum { WIDTH = 700, N = 3 };
    for (int act = BITNET_CUDA_SILU; act <= BITNET_CUDA_GELU; act++) {
        float *gate = random_floats(N * WIDTH), *up = random_floats(N * WIDTH), y[N * WIDTH];
        for (size_t i = 0; i < 20; i++) gate[i] = (float)((int)i - 10) * 20.0f;
        float *dg = floats_on_device(gate, N * WIDTH), *du = floats_on_device(up, N * WIDTH);
        good(api->gate(device, (enum bitnet_cuda_gate)act, vectors(dg, WIDTH, WIDTH),
                       vectors(du, WIDTH, WIDTH), N));
        read_floats(y, dg, N * WIDTH);
        on_cpu[act](gate, up, N * WIDTH);
        assert_same_bits(y, gate, N * WIDTH, "gate");
        api->free(device, dg), api->free(device, du);
        free(gate), free(up);
    }
}

static void sums_are_the_cpus(void **unused)
{
    (void)unused;
    enum { WIDTH = 300, STRIDE = 320, N = 2 };
    float *x = random_floats(N * STRIDE), *y = random_floats(N * STRIDE), got[N * STRIDE];
    float *dx = floats_on_device(x, N * STRIDE), *dy = floats_on_device(y, N * STRIDE);
    good(api->add(device, vectors(dx, WIDTH, STRIDE), vectors(dy, WIDTH, STRIDE), N));
    read_floats(got, dx, N * STRIDE);
    for (size_t t = 0; t < N; t++) cpu.add(x + t * STRIDE, y + t * STRIDE, WIDTH);
    assert_same_bits(got, x, N * STRIDE, "add");
    api->free(device, dx), api->free(device, dy);
    free(x), free(y);
}

static void the_greedy_choice_is_the_lowest_id_of_the_largest_logit(void **unused)
{
    (void)unused;
    enum { WIDTH = 5000, N = 4 };
    float *logits = random_floats(N * WIDTH);
    logits[77] = logits[4321] = 9;
    logits[WIDTH + 4999] = 9;
    for (size_t i = 0; i < WIDTH; i++)
        logits[2 * WIDTH + i] = i == 3 ? -0.0f : i == 900 ? 0.0f : -1;
    logits[3 * WIDTH + 10] = NAN;
    float *dl = floats_on_device(logits, N * WIDTH);
    int32_t ids[N], *di = need(api->alloc(device, sizeof ids));
    good(api->argmax(device, vectors(dl, WIDTH, WIDTH), N, di));
    good(api->read(device, ids, di, sizeof ids));
    assert_int_equal(ids[0], 77);
    assert_int_equal(ids[1], 4999);
    assert_int_equal(ids[2], 3);
    assert_int_equal(ids[3], -1);
    api->free(device, dl), api->free(device, di);
    free(logits);
}

/* ------------------------------------------------------------------ dense */

/* The CPU multiplies blocks in fixed point; the device sums floats in lanes. Both are held against
 * the sum in double: at most 512 terms below 8 in magnitude. */
#define BLOCKS_BOUND 1e-4

static void assert_near_double(const float *y, const float *values, const float *x, size_t rows,
                               size_t cols, size_t n)
{
    for (size_t t = 0; t < n; t++)
        for (size_t r = 0; r < rows; r++) {
            double sum = 0;
            for (size_t c = 0; c < cols; c++) sum += (double)values[r * cols + c] * x[t * cols + c];
            if (!(fabs(y[t * rows + r] - sum) <= BLOCKS_BOUND))
                fail_msg("row %zu of token %zu is %.9g, not %.9g", r, t, y[t * rows + r], sum);
        }
}

struct dense_case {
    enum bitnet_cuda_dense type;
    enum bitnet_dtype dtype;
    bitnet_dense_fn *on_cpu; /* NULL: compared with sums in double */
    size_t cols;
};

static void dense_products_are_in_order_and_embeddings_are_the_cpus(void **unused)
{
    (void)unused;
    const struct dense_case cases[] = {
        {BITNET_CUDA_F32, BITNET_DTYPE_f32, cpu.dense_f32, 321},
        {BITNET_CUDA_F16, BITNET_DTYPE_f16, cpu.dense_f16, 333},
        {BITNET_CUDA_BF16, BITNET_DTYPE_bf16, cpu.dense_bf16, 65},
        {BITNET_CUDA_Q8_0, BITNET_DTYPE_q8_0, NULL, 320},
        {BITNET_CUDA_Q6_K, BITNET_DTYPE_q6_k, NULL, 512},
        {BITNET_CUDA_Q4_0, BITNET_DTYPE_q4_0, NULL, 352},
    };
    static const size_t batches[] = {1, 2, 3, 5, 11};
    enum { ROWS = 37 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct dense_case *c = &cases[i];
        const struct bitnet_layout layout = {.type = c->dtype, .rows = ROWS, .cols = c->cols};
        float *values = random_floats(ROWS * c->cols);
        const size_t bytes = (size_t)bitnet_rows_bytes(&layout, ROWS);
        uint8_t *w = need(malloc(bytes));
        bitnet_codec(c->dtype)->encode_rows(&layout, values, ROWS, NULL, w);
        bitnet_codec(c->dtype)->decode_rows(&layout, w, ROWS, values); /* as rounded */
        uint8_t *dw = on_device(w, bytes);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            const size_t n = batches[b];
            float *x = random_floats(n * c->cols), *y = need(malloc(n * ROWS * 4));
            float *want = need(malloc(n * ROWS * 4)), *dx = floats_on_device(x, n * c->cols);
            float *dy = need(api->alloc(device, n * ROWS * 4));
            good(api->dense(device, c->type, dw, ROWS, vectors(dx, c->cols, c->cols), n, dy, ROWS));
            read_floats(y, dy, n * ROWS);
            if (c->on_cpu) {
                c->on_cpu(w, c->cols, 0, ROWS, x, c->cols, n, want, ROWS);
                assert_same_bits(y, want, n * ROWS, bitnet_dtype_info(c->dtype)->name);
            } else {
                assert_near_double(y, values, x, ROWS, c->cols, n);
            }
            api->free(device, dx), api->free(device, dy);
            free(x), free(y), free(want);
        }
        struct bitnet_cuda_token tokens[3] = {{.id = 36}, {.id = 0}, {.id = 17}};
        struct bitnet_cuda_token *dt = on_device(tokens, sizeof tokens);
        float *dy = need(api->alloc(device, 3 * c->cols * 4)), *y = need(malloc(3 * c->cols * 4));
        good(api->embed(device, c->type, dw, 1, dt, 3, vectors(dy, c->cols, c->cols)));
        read_floats(y, dy, 3 * c->cols);
        for (size_t t = 0; t < 3; t++)
            assert_same_bits(y + t * c->cols, values + (size_t)tokens[t].id * c->cols, c->cols,
                             "embedding");
        api->free(device, dt), api->free(device, dy), api->free(device, dw);
        free(y), free(values), free(w);
    }
}

/* ------------------------------------------------------------------ attention */

struct shape {
    size_t n_heads, n_kv_heads, head_dim, n_rot, n_cells;
    bool halves;
};

/* A sequence on both sides: the device's cache and, position by position, the CPU's. */
struct sequence {
    uint16_t *on_device;
    uint16_t *keys, *values; /* [kv head][cell][head_dim] */
    size_t n;
};

static size_t plane(const struct shape *s)
{
    return s->n_kv_heads * s->n_cells * s->head_dim;
}

static struct sequence new_sequence(const struct shape *s)
{
    struct sequence q = {.on_device = need(api->alloc(device, 2 * plane(s) * 2)),
                         .keys = need(calloc(plane(s), 2)),
                         .values = need(calloc(plane(s), 2))};
    return q;
}
static void free_sequence(struct sequence *q)
{
    api->free(device, q->on_device);
    free(q->keys), free(q->values);
}

static struct bitnet_cuda_attention shape_of(const struct shape *s, size_t n_keys,
                                             bool one_sequence)
{
    return (struct bitnet_cuda_attention){.n_heads = s->n_heads,
                                          .n_kv_heads = s->n_kv_heads,
                                          .head_dim = s->head_dim,
                                          .n_cells = s->n_cells,
                                          .n_keys = n_keys,
                                          .scale = (float)(1.0 / sqrt((double)s->head_dim)),
                                          .one_sequence = one_sequence};
}

/* One step of `n` tokens, token t of sequence of[t], with random q, k and v; results in
 * out[t]. The CPU's caches are kept up, and its results go to want. */
static void step(const struct shape *s, struct sequence *sequences, const size_t *of, size_t n,
                 size_t n_keys, float *out, float *want)
{
    const size_t q_width = s->n_heads * s->head_dim, kv_width = s->n_kv_heads * s->head_dim;
    float *q = random_floats(n * q_width), *k = random_floats(n * kv_width);
    float *v = random_floats(n * kv_width);
    double steps[128];
    for (size_t i = 0; i < s->n_rot / 2; i++)
        steps[i] = pow(10000.0, -2.0 * (double)i / (double)s->n_rot);
    struct bitnet_cuda_token *tokens = need(malloc(n * sizeof *tokens));
    bool one = true;
    for (size_t t = 0; t < n; t++) {
        struct sequence *sequence = &sequences[of[t]];
        tokens[t] = (struct bitnet_cuda_token){.position = (int32_t)sequence->n,
                                               .cell = (int32_t)sequence->n++,
                                               .cache = sequence->on_device};
        one = one && of[t] == of[0];
    }
    struct bitnet_cuda_attention shape = shape_of(s, n_keys, one);
    struct bitnet_cuda_token *dt = on_device(tokens, n * sizeof *tokens);
    double *ds = on_device(steps, sizeof steps);
    float *dq = floats_on_device(q, n * q_width), *dk = floats_on_device(k, n * kv_width);
    float *dv = floats_on_device(v, n * kv_width);
    const size_t pairs = s->n_rot / 2;
    float *dc = need(api->alloc(device, n * pairs * 4)),
          *dn = need(api->alloc(device, n * pairs * 4));
    shape.scratch = need(api->alloc(device, api->attention_scratch(&shape, n) * 4));
    good(api->angles(device, dt, n, ds, vectors(dc, pairs, pairs), vectors(dn, pairs, pairs)));
    good(api->remember(device, &shape, dt, n, s->n_rot, s->halves, vectors(dc, pairs, pairs),
                       vectors(dn, pairs, pairs), vectors(dq, q_width, q_width),
                       vectors(dk, kv_width, kv_width), vectors(dv, kv_width, kv_width)));
    good(api->attend(device, &shape, dt, n, vectors(dq, q_width, q_width)));
    read_floats(out, dq, n * q_width);

    float *scratch = need(malloc(bitnet_attention_floats(s->head_dim) * s->n_heads * 4));
    for (size_t t = 0; t < n; t++) {
        struct sequence *sequence = &sequences[of[t]];
        const size_t position = (size_t)tokens[t].position;
        float cosines[128], sines[128];
        for (size_t i = 0; i < pairs; i++) {
            cosines[i] = (float)cos((double)position * steps[i]);
            sines[i] = (float)sin((double)position * steps[i]);
        }
        cpu.rope(q + t * q_width, s->n_heads, s->head_dim, s->n_rot, cosines, sines, s->halves);
        cpu.rope(k + t * kv_width, s->n_kv_heads, s->head_dim, s->n_rot, cosines, sines, s->halves);
        for (size_t h = 0; h < s->n_kv_heads; h++) {
            const size_t cell = (h * s->n_cells + position) * s->head_dim;
            cpu.to_f16(k + t * kv_width + h * s->head_dim, s->head_dim, sequence->keys + cell);
            cpu.to_f16(v + t * kv_width + h * s->head_dim, s->head_dim, sequence->values + cell);
        }
    }
    for (size_t t = 0; t < n; t++) {
        const struct sequence *sequence = &sequences[of[t]];
        const size_t group = s->n_heads / s->n_kv_heads;
        for (size_t h = 0; h < s->n_kv_heads; h++) {
            const size_t at = h * s->n_cells * s->head_dim;
            cpu.attention(q + t * q_width + h * group * s->head_dim, q_width, group, 1,
                          (const uint8_t *)(sequence->keys + at),
                          (const uint8_t *)(sequence->values + at), s->head_dim * 2,
                          BITNET_DTYPE_f16, (size_t)tokens[t].position + 1, s->head_dim,
                          shape.scale, scratch, want + t * q_width + h * group * s->head_dim);
        }
    }
    uint16_t *cache = need(malloc(plane(s) * 4));
    for (size_t t = 0; t < n; t++) {
        good(api->read(device, cache, tokens[t].cache, plane(s) * 4));
        for (size_t h = 0; h < s->n_kv_heads; h++) {
            const size_t cell = (h * s->n_cells + (size_t)tokens[t].position) * s->head_dim;
            assert_memory_equal(cache + cell, sequences[of[t]].keys + cell, s->head_dim * 2);
            assert_memory_equal(cache + plane(s) + cell, sequences[of[t]].values + cell,
                                s->head_dim * 2);
        }
    }
    api->free(device, dt), api->free(device, ds), api->free(device, dq), api->free(device, dk);
    api->free(device, dv), api->free(device, dc), api->free(device, dn);
    api->free(device, shape.scratch);
    free(q), free(k), free(v), free(tokens), free(scratch), free(cache);
}

/* Weights and values below 2 in magnitude, sums of at most 600 terms in another order: a few units
 * in the last place of 1. */
#define ATTENTION_BOUND 4e-6f

static void assert_close(const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= ATTENTION_BOUND))
            fail_msg("element %zu is %.9g, not %.9g", i, got[i], want[i]);
}

static const struct shape shapes[] = {
    {.n_heads = 8, .n_kv_heads = 2, .head_dim = 64, .n_rot = 64, .n_cells = 600, .halves = true},
    {.n_heads = 5, .n_kv_heads = 5, .head_dim = 20, .n_rot = 12, .n_cells = 40},
    {.n_heads = 18, .n_kv_heads = 1, .head_dim = 128, .n_rot = 128, .n_cells = 48, .halves = true},
    {.n_heads = 3, .n_kv_heads = 1, .head_dim = 256, .n_rot = 64, .n_cells = 40},
};

static void attention_is_within_its_bound_and_the_cache_is_the_cpus(void **unused)
{
    (void)unused;
    const size_t of[64] = {0};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = &shapes[i];
        const size_t width = s->n_heads * s->head_dim, n = 33;
        struct sequence sequence = new_sequence(s);
        float *out = need(malloc(n * width * 4)), *want = need(malloc(n * width * 4));
        static const size_t batches[] = {33, 1, 3};
        for (size_t b = 0; b < 3; b++) {
            step(s, &sequence, of, batches[b], s->n_cells, out, want);
            assert_close(out, want, batches[b] * width);
        }
        if (s->n_cells > 512) { /* two chunk borders, and a token on each side of them */
            for (size_t past = 0; past < 15; past++)
                step(s, &sequence, of, 33, s->n_cells, out, want);
            assert_close(out, want, 33 * width);
            assert_true(sequence.n > 512);
        }
        free(out), free(want);
        free_sequence(&sequence);
    }
}

/* The same tokens alone, in a batch, and beside another sequence. */
static void a_token_has_the_same_bits_in_every_company(void **unused)
{
    (void)unused;
    const struct shape *s = &shapes[0];
    const size_t width = s->n_heads * s->head_dim;
    enum { N = 20 };
    const size_t together[N] = {0};
    struct sequence a = new_sequence(s);
    float *batch = need(malloc(N * width * 4));
    float *want = need(malloc(N * width * 4));
    step(s, &a, together, N, s->n_cells, batch, want);
    /* The cache is filled; now the same queries three times, in different company. */
    struct bitnet_cuda_attention shape = shape_of(s, s->n_cells, true);
    float *q = random_floats(N * width);
    for (size_t round = 0; round < 3; round++) {
        struct bitnet_cuda_token tokens[N];
        for (size_t t = 0; t < N; t++)
            tokens[t] = (struct bitnet_cuda_token){
                .position = (int32_t)t, .cell = (int32_t)t, .cache = a.on_device};
        struct bitnet_cuda_token *dt = on_device(tokens, sizeof tokens);
        float *dq = floats_on_device(q, N * width);
        shape.one_sequence = round != 2; /* the third time as if sequences differed */
        shape.n_keys = round == 1 ? N : s->n_cells;
        shape.scratch = need(api->alloc(device, api->attention_scratch(&shape, N) * 4));
        float *got = need(malloc(N * width * 4));
        if (round == 1)
            for (size_t t = 0; t < N; t++)
                good(api->attend(device, &shape, dt + t, 1, vectors(dq + t * width, width, width)));
        else
            good(api->attend(device, &shape, dt, N, vectors(dq, width, width)));
        read_floats(got, dq, N * width);
        if (round == 0)
            memcpy(batch, got, N * width * 4);
        else
            assert_same_bits(got, batch, N * width, round == 1 ? "alone" : "beside others");
        api->free(device, dt), api->free(device, dq), api->free(device, shape.scratch);
        free(got);
    }
    free(batch), free(want), free(q);
    free_sequence(&a);
}

static void sequences_share_a_step(void **unused)
{
    (void)unused;
    const struct shape *s = &shapes[0];
    const size_t width = s->n_heads * s->head_dim, first[7] = {0}, of[4] = {1, 0, 2, 0};
    struct sequence sequences[3] = {new_sequence(s), new_sequence(s), new_sequence(s)};
    float *out = need(malloc(7 * width * 4)), *want = need(malloc(7 * width * 4));
    step(s, sequences, first, 7, s->n_cells, out, want);
    step(s, sequences, of, 4, s->n_cells, out, want);
    assert_close(out, want, 4 * width);
    free(out), free(want);
    for (size_t i = 0; i < 3; i++) free_sequence(&sequences[i]);
}

/* ------------------------------------------------------------------ graphs, errors, counters */

static void a_recorded_step_runs_again_on_new_input(void **unused)
{
    (void)unused;
    float one[4] = {1, 2, 3, 4}, y[4];
    float *x = floats_on_device(one, 4), *sum = need(api->alloc(device, 16));
    good(api->zero(device, sum, 16));
    good(api->graph_begin(device));
    good(api->add(device, vectors(sum, 4, 4), vectors(x, 4, 4), 1));
    struct bitnet_cuda_graph *graph = need(api->graph_end(device));
    read_floats(y, sum, 4);
    assert_true(y[0] == 0); /* recording is not running */
    good(api->graph_run(device, graph));
    one[0] = 10;
    good(api->write(device, x, one, sizeof one));
    good(api->graph_run(device, graph));
    read_floats(y, sum, 4);
    assert_true(y[0] == 11 && y[3] == 8);
    api->graph_free(device, graph);
    api->free(device, x), api->free(device, sum);
}

static void an_ordered_failure_is_told_and_sticks(void **unused)
{
    (void)unused;
    float *x = need(api->alloc(device, 64));
    api->inject(device, BITNET_CUDA_FAULT_LAUNCH, 2);
    good(api->zero(device, x, 64));
    good(api->add(device, vectors(x, 4, 4), vectors(x, 4, 4), 1));
    assert_false(api->add(device, vectors(x, 4, 4), vectors(x, 4, 4), 1));
    assert_non_null(strstr(api->last_error(device), "add"));
    float y[4];
    assert_false(api->read(device, y, x, sizeof y));
    api->clear_error(device);
    assert_string_equal(api->last_error(device), "");
    good(api->add(device, vectors(x, 4, 4), vectors(x, 4, 4), 1));
    api->inject(device, BITNET_CUDA_FAULT_ALLOC, 1);
    assert_null(api->alloc(device, 64));
    assert_non_null(strstr(api->last_error(device), "64 bytes"));
    api->clear_error(device);
    assert_null(api->alloc(device, (size_t)1 << 60));
    assert_non_null(strstr(api->last_error(device), "memory"));
    api->clear_error(device);
    api->free(device, x);
}

static void counters_rise_by_what_was_done(void **unused)
{
    (void)unused;
    struct bitnet_cuda_stats before, after;
    api->stats(device, &before);
    float zeros[8] = {0}, *x = floats_on_device(zeros, 8);
    good(api->add(device, vectors(x, 8, 8), vectors(x, 8, 8), 1));
    good(api->add(device, vectors(x, 8, 8), vectors(x, 8, 8), 1));
    read_floats(zeros, x, 8);
    api->stats(device, &after);
    assert_int_equal(after.n_launches - before.n_launches, 2);
    assert_int_equal(after.bytes_to_device - before.bytes_to_device, 32);
    assert_int_equal(after.bytes_to_host - before.bytes_to_host, 32);
    assert_int_equal(after.memory_used - before.memory_used, 32);
    api->free(device, x);
    api->reset_stats(device);
    api->stats(device, &after);
    assert_int_equal(after.n_launches, 0);
    assert_int_equal(after.memory_used, before.memory_used);
}

static int open_device(void **unused)
{
    (void)unused;
    char why[200] = "";
    api = bitnet_cuda_api();
    if (api->count(why, sizeof why) == 0) {
        print_message("SKIPPED: no CUDA device (%s)\n", why);
        exit(77);
    }
    device = api->open(0, why, sizeof why);
    if (!device) fail_msg("%s", why);
    cpu = *bitnet_kernels_at(0);
    return 0;
}

static int close_device(void **unused)
{
    (void)unused;
    struct bitnet_cuda_stats stats;
    api->stats(device, &stats);
    assert_int_equal(stats.memory_used, 0);
    api->close(device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_integer_sums_for_any_shape_and_batch),
        cmocka_unit_test(two_hundred_random_shapes),
        cmocka_unit_test(extreme_values_do_not_overflow),
        cmocka_unit_test(the_widest_matrix_does_not_overflow),
        cmocka_unit_test(norm_and_quantization_are_the_cpus),
        cmocka_unit_test(a_nan_or_an_infinity_gives_a_nan_scale_and_no_codes),
        cmocka_unit_test(gates_are_the_cpus),
        cmocka_unit_test(sums_are_the_cpus),
        cmocka_unit_test(the_greedy_choice_is_the_lowest_id_of_the_largest_logit),
        cmocka_unit_test(dense_products_are_in_order_and_embeddings_are_the_cpus),
        cmocka_unit_test(attention_is_within_its_bound_and_the_cache_is_the_cpus),
        cmocka_unit_test(a_token_has_the_same_bits_in_every_company),
        cmocka_unit_test(sequences_share_a_step),
        cmocka_unit_test(a_recorded_step_runs_again_on_new_input),
        cmocka_unit_test(an_ordered_failure_is_told_and_sticks),
        cmocka_unit_test(counters_rise_by_what_was_done),
    };
    return cmocka_run_group_tests_name("cuda", tests, open_device, close_device);
}
