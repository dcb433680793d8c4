/* Products of floats and of blocks, and embeddings, of the CUDA plug-in: floats have the CPU's
 * bits, blocks are within a bound of sums in double. */
#include "cuda_support.h"

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

TEST(dense_products_are_in_order_and_embeddings_are_the_cpus)
{
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
        float row_scales[ROWS], *drs;
        for (size_t r = 0; r < ROWS; r++) row_scales[r] = 0.5f + (float)r / 8;
        drs = floats_on_device(row_scales, ROWS);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            const size_t n = batches[b];
            float *x = random_floats(n * c->cols), *y = need(malloc(n * ROWS * 4));
            float *want = need(malloc(n * ROWS * 4)), *dx = floats_on_device(x, n * c->cols);
            float *dy = need(api->alloc(device, n * ROWS * 4));
            const float *scales = b % 2 ? row_scales : NULL;
            const float scale = b == 0 ? 1.0f : 0.75f;
            good(api->dense(device, c->type, dw, ROWS, scale, scales ? drs : NULL,
                            vectors(dx, c->cols, c->cols), n, dy, ROWS));
            read_floats(y, dy, n * ROWS);
            if (c->on_cpu) {
                c->on_cpu(w, c->cols, 0, ROWS, x, c->cols, n, want, ROWS);
                for (size_t k = 0; k < n * ROWS; k++) want[k] *= scales ? scales[k % ROWS] : scale;
                assert_same_bits(y, want, n * ROWS, bitnet_dtype_info(c->dtype)->name);
            } else {
                for (size_t k = 0; k < n * ROWS; k++) y[k] /= scales ? scales[k % ROWS] : scale;
                assert_near_double(y, values, x, ROWS, c->cols, n);
            }
            api->free(device, dx), api->free(device, dy);
            free(x), free(y), free(want);
        }
        struct bitnet_cuda_token tokens[3] = {{.id = 36}, {.id = 0}, {.id = 17}};
        struct bitnet_cuda_token *dt = on_device(tokens, sizeof tokens);
        float *dy = need(api->alloc(device, 3 * c->cols * 4)), *y = need(malloc(3 * c->cols * 4));
        static const float scales[] = {1, 25.298221f};
        for (size_t k = 0; k < COUNT(scales); k++) {
            good(api->embed(device, c->type, dw, scales[k], dt, 3, vectors(dy, c->cols, c->cols)));
            read_floats(y, dy, 3 * c->cols);
            float *want = need(malloc(c->cols * 4));
            for (size_t t = 0; t < 3; t++) {
                for (size_t d = 0; d < c->cols; d++)
                    want[d] = values[(size_t)tokens[t].id * c->cols + d] * scales[k];
                assert_same_bits(y + t * c->cols, want, c->cols, "embedding");
            }
            free(want);
        }
        api->free(device, dt), api->free(device, dy), api->free(device, dw);
        api->free(device, drs);
        free(y), free(values), free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_products_are_in_order_and_embeddings_are_the_cpus),
    };
    return cmocka_run_group_tests_name("cuda dense", tests, open_device, close_device);
}
