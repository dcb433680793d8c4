/* Ternary products of the CUDA plug-in against sums in 64 bits: equal bits for every shape,
 * whatever tokens share the launch, and nothing written beside the result.
 *
 *     test_cuda_ternary [all]     all: every shape with every batch; else every shape with some */
#include "cuda_support.h"

/* Under AddressSanitizer every switch of a fibre is slow, and watched for races every access: the
 * same tests, fewer repetitions. */
#if defined(__SANITIZE_ADDRESS__) || defined(WATCHED)
enum { N_SHAPES = 25, WIDEST = 1 << 20 };
#else
enum { N_SHAPES = 200, WIDEST = 8388608 };
#endif

static bool every_batch;

/* What trits and codes a problem has: OPPOSED makes every product +127. */
enum values { RANDOM, ALL_PLUS, ALL_MINUS, OPPOSED, VALUES_COUNT };

struct problem {
    size_t rows[BITNET_CUDA_PRODUCTS], n_products, cols, n_tokens;
    int8_t *q;                         /* [n_tokens][cols] */
    float *want[BITNET_CUDA_PRODUCTS]; /* [n_tokens][rows] */
    uint32_t *words;                   /* on the device, as all below */
    float *scales;
    int32_t *sums;
    struct bitnet_cuda_product products[BITNET_CUDA_PRODUCTS];
};

/* Codes as quantization would leave them, but of the worst kind when asked for. */
static int8_t code(enum values values, size_t c)
{
    switch (values) {
    case RANDOM:
        return (int8_t)((int)below(255) - 127);
    case ALL_MINUS:
        return -127;
    case OPPOSED:
        return c % 2 ? -127 : 127;
    default:
        return 127;
    }
}

static int8_t trit(enum values values, size_t c)
{
    switch (values) {
    case RANDOM:
        return (int8_t)((int)below(3) - 1);
    case ALL_MINUS:
        return -1;
    case OPPOSED:
        return c % 2 ? -1 : 1;
    default:
        return 1;
    }
}

static void make_activations(struct problem *p, enum values values, float *scales)
{
    const size_t words = device_code_words(p->cols);
    uint32_t *permuted = need(calloc(p->n_tokens * words, 4));
    int32_t *sums = need(calloc(p->n_tokens, sizeof *sums));
    p->q = need(calloc(p->n_tokens, p->cols));
    for (size_t t = 0; t < p->n_tokens; t++) {
        int8_t *q = p->q + t * p->cols;
        scales[t] = 1.0f + (float)below(1000) / 64.0f;
        for (size_t c = 0; c < p->cols; c++) sums[t] += q[c] = code(values, c);
        for (size_t w = 0; w < words; w++)
            for (size_t b = 0, c = device_code_column(w); b < 4 && c + b < p->cols; b++)
                permuted[t * words + w] |= (uint32_t)(uint8_t)q[c + b] << 8 * b;
    }
    p->words = on_device(permuted, p->n_tokens * words * 4);
    p->scales = on_device(scales, p->n_tokens * 4);
    p->sums = on_device(sums, p->n_tokens * 4);
    free(permuted), free(sums);
}

/* The sums in 64 bits, which must fit 32, and what the CPU makes of them. */
static void expect(struct problem *p, size_t i, const int8_t *trits, const float *row_scales,
                   const float *scales)
{
    const size_t rows = p->rows[i];
    p->want[i] = need(malloc(p->n_tokens * rows * sizeof *p->want[i]));
    for (size_t t = 0; t < p->n_tokens; t++)
        for (size_t r = 0; r < rows; r++) {
            int64_t sum = 0;
            for (size_t c = 0; c < p->cols; c++)
                sum += (int64_t)trits[r * p->cols + c] * p->q[t * p->cols + c];
            const int32_t narrow = (int32_t)sum;
            assert_int_equal(narrow, sum);
            cpu.rescale(&narrow, 1, scales[t], row_scales ? row_scales[r] : p->products[i].scale,
                        &p->want[i][t * rows + r]);
        }
}

static struct problem new_problem(const size_t *rows, size_t n_products, size_t cols,
                                  size_t n_tokens, enum values values)
{
    struct problem p = {.n_products = n_products, .cols = cols, .n_tokens = n_tokens};
    float *scales = need(malloc(n_tokens * sizeof *scales));
    make_activations(&p, values, scales);
    for (size_t i = 0; i < n_products; i++) {
        p.rows[i] = rows[i];
        int8_t *trits = need(malloc(rows[i] * cols));
        float *row_scales = i == 0 ? random_floats(rows[i]) : NULL;
        for (size_t k = 0; k < rows[i] * cols; k++) trits[k] = trit(values, k % cols);
        int8_t *raw = on_device(trits, rows[i] * cols);
        uint32_t *packed = need(api->alloc(device, device_weight_words(rows[i], cols) * 4));
        good(api->pack(device, raw, rows[i], cols, packed));
        api->free(device, raw);
        p.products[i] = (struct bitnet_cuda_product){
            .weights = packed,
            .rows = rows[i],
            .scale = 0.25f + (float)i,
            .row_scales = row_scales ? floats_on_device(row_scales, rows[i]) : NULL,
            .y = need(api->alloc(device, n_tokens * (rows[i] + 3) * 4)),
            .y_stride = rows[i] + 3};
        expect(&p, i, trits, row_scales, scales);
        free(trits), free(row_scales);
    }
    free(scales);
    return p;
}

static void free_problem(struct problem *p)
{
    for (size_t i = 0; i < p->n_products; i++) {
        api->free(device, (void *)(uintptr_t)p->products[i].weights);
        api->free(device, (void *)(uintptr_t)p->products[i].row_scales);
        api->free(device, p->products[i].y);
        free(p->want[i]);
    }
    api->free(device, p->words), api->free(device, p->scales), api->free(device, p->sums);
    free(p->q);
}

static void check_result(const struct problem *p, size_t i, size_t first, size_t n)
{
    const size_t rows = p->rows[i], stride = rows + 3;
    float *y = need(malloc(p->n_tokens * stride * 4));
    float untouched;
    memset(&untouched, 0x55, sizeof untouched);
    read_floats(y, p->products[i].y, p->n_tokens * stride);
    for (size_t t = 0; t < p->n_tokens; t++)
        for (size_t r = 0; r < stride; r++) {
            const bool is_result = t < n && r < rows;
            const float want = is_result ? p->want[i][(first + t) * rows + r] : untouched;
            if (memcmp(&want, &y[t * stride + r], 4) != 0)
                fail_msg("%zu x %zu, tokens %zu and %zu more, matrix %zu: row %zu of token %zu is "
                         "%.9g, not %.9g",
                         rows, p->cols, first, n - 1, i, r, t, y[t * stride + r], want);
        }
    free(y);
}

/* Tokens first .. first + n - 1 in one launch. */
static void check_path(const struct problem *p, size_t first, size_t n)
{
    const struct bitnet_cuda_codes codes = {.words = p->words + first * device_code_words(p->cols),
                                            .scales = p->scales + first,
                                            .sums = p->sums + first};
    for (size_t i = 0; i < p->n_products; i++) {
        const size_t bytes = p->n_tokens * (p->rows[i] + 3) * 4;
        uint8_t *pattern = need(malloc(bytes));
        memset(pattern, 0x55, bytes);
        good(api->write(device, p->products[i].y, pattern, bytes));
        free(pattern);
    }
    good(api->ternary(device, codes, p->cols, n, p->products, p->n_products));
    for (size_t i = 0; i < p->n_products; i++) check_result(p, i, first, n);
}

/* With Hopper's instructions, where the device has them and they are taken, and without. */
static void check_batch(const struct problem *p, size_t first, size_t n)
{
    check_path(p, first, n);
    if (n < 64 || !api->use(device, BITNET_CUDA_WGMMA, false)) return;
    check_path(p, first, n);
    api->use(device, BITNET_CUDA_WGMMA, true);
}

#if defined(__SANITIZE_ADDRESS__) || defined(WATCHED)
static const size_t batches[] = {1, 3, 4, 7, 16, 33, 65, 130}; /* each kernel once */
#else
static const size_t batches[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 65, 130, 512};
#endif
enum { N_BATCHES = sizeof batches / sizeof *batches };
#define MOST (batches[N_BATCHES - 1])

/* All tokens of a problem in batches of every size: so each token's results are compared with the
 * same numbers in every company, on both sides of every switch between kernels. */
TEST(every_row_is_exact_in_every_batch)
{
    static const size_t rows[][3] = {{70, 1, 16}, {17, 40, 3}, {129, 0, 0}};
    static const size_t cols[] = {1, 400, 641};
    for (size_t i = 0; i < 3; i++) {
        struct problem p = new_problem(rows[i], 3 - i, cols[i], MOST, RANDOM);
        for (size_t b = 0; b < N_BATCHES; b++) {
            check_batch(&p, 0, batches[b]);
            check_batch(&p, (MOST - batches[b]) / 2, batches[b]);
        }
        free_problem(&p);
    }
}

TEST(two_hundred_random_shapes_are_exact)
{
    for (size_t i = 0; i < N_SHAPES; i++) {
        const size_t rows[3] = {1 + below(i % 20 ? 48 : 300), 1 + below(16), 1 + below(16)};
        const size_t n_products = 1 + below(3), cols = 1 + below(i % 10 ? 260 : 1500);
        const size_t some = batches[i % N_BATCHES],
                     others = batches[(i + N_BATCHES / 2) % N_BATCHES];
        struct problem p = new_problem(rows, n_products, cols,
                                       every_batch     ? MOST
                                       : some > others ? some
                                                       : others,
                                       RANDOM);
        for (size_t b = 0; b < N_BATCHES; b++)
            if (every_batch || batches[b] == some || batches[b] == others)
                check_batch(&p, 0, batches[b]);
        free_problem(&p);
    }
}

TEST(extreme_values_do_not_overflow)
{
    static const size_t rows[1] = {17}, sizes[] = {1, 4, 9, 40, 100};
    for (int values = ALL_PLUS; values < VALUES_COUNT; values++) {
        struct problem p = new_problem(rows, 1, 6912, 100, (enum values)values);
        for (size_t i = 0; i < COUNT(sizes); i++) check_batch(&p, 0, sizes[i]);
        free_problem(&p);
    }
}

/* 2^23 columns: plane 3 of the gemv has to fold, and a sum of codes comes within 1 % of 2^31. */
TEST(the_widest_matrix_does_not_overflow)
{
    static const size_t rows[1] = {1};
    for (int values = ALL_PLUS; values < VALUES_COUNT; values++) {
        struct problem p = new_problem(rows, 1, WIDEST, 1, (enum values)values);
        check_batch(&p, 0, 1);
        free_problem(&p);
    }
}

TEST(no_token_is_no_work)
{
    static const size_t rows[1] = {3};
    struct problem p = new_problem(rows, 1, 64, 2, RANDOM);
    check_batch(&p, 0, 0);
    free_problem(&p);
}

int main(int argc, char **argv)
{
    every_batch = argc > 1 && strcmp(argv[1], "all") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_exact_in_every_batch),
        cmocka_unit_test(two_hundred_random_shapes_are_exact),
        cmocka_unit_test(extreme_values_do_not_overflow),
        cmocka_unit_test(the_widest_matrix_does_not_overflow),
        cmocka_unit_test(no_token_is_no_work),
    };
    return cmocka_run_group_tests_name("cuda ternary", tests, open_device, close_device);
}
