/* ternary.c and weight.c: floats and packed bytes as trits, against definitions written out here.
 */
#include "cm.h"

#include <math.h>
#include <stdlib.h>

#include "bitnet/cpu.h"
#include "bitnet/dtype.h"
#include "weight.h"

static const struct loops *loops; /* the set under test: main() goes through all */
static uint64_t seed = 1;

static uint64_t next(void)
{
    uint64_t z = (seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static float random_float(void)
{
    return (float)((double)(next() >> 11) / 4503599627370496.0 - 1.0);
}

TEST(widens_every_float_dtype_from_any_address)
{
    for (size_t shift = 0; shift < 8; shift++) {
        uint8_t raw[80] = {0};
        float out[4];
        for (int i = 0; i < 4; i++) bitnet_store_f32(raw + shift + 4 * i, (float)i - 1.5f);
        floats_load(loops, ST_F32, raw + shift, 4, out);
        assert_true(out[0] == -1.5f && out[3] == 1.5f);
        for (int i = 0; i < 4; i++) bitnet_store_f64(raw + shift + 8 * i, (double)i / 3.0);
        floats_load(loops, ST_F64, raw + shift, 4, out);
        assert_true(out[1] == (float)(1.0 / 3.0));
        for (int i = 0; i < 4; i++)
            bitnet_store_u16(raw + shift + 2 * i, bitnet_f32_to_f16((float)i * 0.25f));
        floats_load(loops, ST_F16, raw + shift, 4, out);
        assert_true(out[3] == 0.75f);
        bitnet_store_u16(raw + shift, 0xbf80);
        floats_load(loops, ST_BF16, raw + shift, 1, out);
        assert_true(out[0] == -1.0f);
    }
}

TEST(measures_a_row_of_any_length)
{
    for (size_t n = 1; n < 100; n++) {
        float x[100];
        double sum = 0;
        float largest = 0, smallest = INFINITY;
        for (size_t i = 0; i < n; i++) {
            x[i] = next() % 5 == 0 ? (next() % 2 ? 0.0f : -0.0f) : random_float();
            sum += fabs((double)x[i]);
            if (fabsf(x[i]) > largest) largest = fabsf(x[i]);
            if (x[i] != 0 && fabsf(x[i]) < smallest) smallest = fabsf(x[i]);
        }
        struct row_facts facts;
        loops->measure_row(x, n, &facts);
        assert_true(fabs(facts.sum_abs - sum) <= 1e-14 * sum);
        assert_true(ternary_magnitude(facts.largest) == largest);
        if (largest == 0)
            assert_int_equal(facts.smallest, TERNARY_ALL_ZERO);
        else
            assert_true(ternary_magnitude(facts.smallest) == smallest);
        assert_int_equal(loops->largest(x, n), facts.largest);
    }
}

TEST(sees_nan_and_infinity_wherever_they_stand)
{
    for (size_t at = 0; at < 40; at++)
        for (int kind = 0; kind < 3; kind++) {
            float x[40] = {0};
            struct row_facts facts;
            x[at] = kind == 0 ? NAN : kind == 1 ? INFINITY : -INFINITY;
            loops->measure_row(x, 40, &facts);
            assert_true(facts.largest >= TERNARY_NOT_FINITE);
            assert_true(loops->largest(x, 40) >= TERNARY_NOT_FINITE);
        }
}

TEST(rounds_halves_to_the_even_neighbour)
{
    const float x[] = {0.5f, -0.5f, 0.50000006f, -0.50000006f, 1.5f, -1.5f, 100.0f, 0.0f, -0.0f};
    const int8_t expect[] = {0, 0, 1, -1, 1, -1, 1, 0, 0};
    int8_t trits[COUNT(x)];
    loops->round_row(x, COUNT(x), 1.0f, trits);
    assert_memory_equal(trits, expect, sizeof expect);
    for (size_t i = 0; i < COUNT(x); i++)
        assert_int_equal(trits[i], (int)fminf(1, fmaxf(-1, nearbyintf(x[i]))));
}

TEST(the_absmean_scale_is_the_definition)
{
    enum { ROWS = 13, COLS = 77 };
    static float x[ROWS][COLS];
    struct row_facts facts[ROWS];
    long double sum = 0;
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < COLS; c++) sum += fabsl((long double)(x[r][c] = random_float()));
        loops->measure_row(x[r], COLS, &facts[r]);
    }
    struct absmean a = ternary_absmean(facts, ROWS, COLS);
    float mean = (float)(sum / (ROWS * COLS));
    assert_true(a.inverse == 1.0f / mean);
    assert_true(a.scale == 1.0f / a.inverse);
    memset(facts, 0, sizeof facts);
    a = ternary_absmean(facts, ROWS, COLS);
    assert_true(a.inverse == 1.0f / 1e-5f); /* the floor */
}

TEST(unpacks_rows_from_four_groups_also_when_the_last_is_short)
{
    for (size_t rows = 1; rows < 20; rows++) {
        enum { COLS = 5 };
        size_t packed_rows = (rows + 3) / 4;
        int8_t trits[20][COLS], row[COLS];
        uint8_t packed[5 * COLS] = {0};
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < COLS; c++) {
                trits[r][c] = (int8_t)(next() % 3) - 1;
                packed[r % packed_rows * COLS + c] |=
                    (uint8_t)((trits[r][c] + 1) << 2 * (r / packed_rows));
            }
        for (size_t r = 0; r < rows; r++) {
            ternary_unpack_row(packed, rows, COLS, r, row);
            assert_memory_equal(row, trits[r], COLS);
        }
    }
}

static struct weight floats_weight(const float *x, size_t rows, size_t cols)
{
    return (struct weight){.kind = WEIGHT_FLOATS,
                           .dtype = ST_F32,
                           .data = {(const uint8_t *)x, rows * cols * sizeof *x},
                           .rows = rows,
                           .cols = cols};
}

TEST(rope_order_is_a_permutation_from_halves_to_pairs)
{
    float x[24];
    for (int i = 0; i < 24; i++) x[i] = (float)i;
    struct weight w = floats_weight(x, 24, 1);
    w.n_heads = 3; /* heads of 8 rows */
    static const size_t expect[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    for (size_t r = 0; r < 24; r++)
        assert_int_equal(weight_source_row(&w, r), r / 8 * 8 + expect[r % 8]);
}

TEST(tells_exactly_ternary_floats_from_others)
{
    const float ternary[] = {0.3f, -0.3f, 0, -0.0f, 0.3f, 0, 0, 0};
    const float other[] = {0.3f, -0.3f, 0, 0, 0.3f, 0.30000004f, 0, 0};
    const float zeros[8] = {0};
    struct weight_verdict v;
    struct weight w = floats_weight(ternary, 2, 4);
    assert_int_equal(weight_measure(&w, NULL, &v, NULL), BITNET_OK);
    assert_true(v.is_ternary && v.s == 0.3f);
    w = floats_weight(other, 2, 4);
    assert_int_equal(weight_measure(&w, NULL, &v, NULL), BITNET_OK);
    assert_false(v.is_ternary);
    assert_int_equal(v.row, 1);
    assert_true(v.magnitude == 0.3f && v.other == 0.30000004f);
    w = floats_weight(zeros, 2, 4);
    assert_int_equal(weight_measure(&w, NULL, &v, NULL), BITNET_OK);
    assert_true(v.is_ternary && v.s == 0.0f);
}

TEST(measuring_names_the_place_of_a_nan)
{
    float x[12] = {0};
    struct bitnet_error err = {0};
    struct weight w = floats_weight(x, 3, 4);
    x[9] = NAN;
    assert_int_equal(weight_measure(&w, NULL, NULL, &err), BITNET_FORMAT);
    assert_text_has(err.text, "value [2][1] is nan");
    x[9] = -INFINITY;
    assert_int_equal(weight_measure(&w, NULL, NULL, &err), BITNET_FORMAT);
    assert_text_has(err.text, "value [2][1] is infinite");
}

TEST(measuring_refuses_a_packed_code_that_no_trit_has)
{
    uint8_t packed[6] = {0x55, 0x55, 0x55, 0x55, 0x5d, 0x55}; /* 2 x 3: rows of 8 */
    struct bitnet_error err = {0};
    struct weight w = {
        .kind = WEIGHT_PACKED, .dtype = ST_U8, .data = {packed, 6}, .rows = 8, .cols = 3};
    assert_int_equal(weight_measure(&w, NULL, NULL, &err), BITNET_FORMAT);
    assert_text_has(err.text, "packed byte 1 of row 1 is 0x5d: code 3 for row 3");
    w.rows = 5; /* rows 5 .. 7 are padding now, and may hold anything */
    packed[4] = 0xd5;
    assert_int_equal(weight_measure(&w, NULL, NULL, &err), BITNET_OK);
}

TEST(the_same_for_every_number_of_threads)
{
    enum { ROWS = 300, COLS = 333 };
    float *x = malloc(ROWS * COLS * sizeof *x);
    for (size_t i = 0; i < ROWS * COLS; i++) x[i] = random_float();
    float scale = 0;
    for (unsigned n = 1; n < 8; n += 2) {
        struct bitnet_pool *pool = NULL;
        assert_int_equal(bitnet_pool_new(&pool, n, NULL), BITNET_OK);
        struct weight w = floats_weight(x, ROWS, COLS);
        w.kind = WEIGHT_MASTERS;
        assert_int_equal(weight_measure(&w, pool, NULL, NULL), BITNET_OK);
        if (n > 1) assert_memory_equal(&scale, &w.scale, sizeof scale);
        scale = w.scale;
        bitnet_pool_free(pool);
    }
    free(x);
}

static float wild_float(void)
{
    static const float wild[] = {0.0f, -0.0f, 0.5f, -0.5f, 1.0f, 1e-45f, 1e38f, -3e38f, 65520.0f};
    return next() % 4 ? random_float() : wild[next() % COUNT(wild)];
}

TEST(gives_the_bits_of_the_plain_set)
{
    const struct loops *plain = loops_at(0);
    float x[401], y[401];
    for (size_t n = 0; n < 400; n++) {
        const float *at = x + n % 2; /* vectors need not begin where vectors do */
        struct row_facts a, b;
        int8_t trits[2][401];
        for (size_t i = 0; i < COUNT(x); i++) x[i] = wild_float(), y[i] = wild_float();
        plain->measure_row(at, n, &a);
        loops->measure_row(at, n, &b);
        assert_memory_equal(&a, &b, sizeof a);
        assert_int_equal(plain->largest(at, n), loops->largest(at, n));
        float inverse = 1.0f / fabsf(random_float());
        plain->round_row(at, n, inverse, trits[0]);
        loops->round_row(at, n, inverse, trits[1]);
        assert_memory_equal(trits[0], trits[1], n);
        double sum = loops->expect_rounded(at, n, inverse, trits[1]); /* in its other words */
        assert_memory_equal(trits[0], trits[1], n);
        assert_true(sum == plain->expect_rounded(at, n, inverse, trits[1]));
        plain->expect_signs(at, n, 0.5f, trits[0]);
        loops->expect_signs(at, n, 0.5f, trits[1]);
        assert_memory_equal(trits[0], trits[1], n);
        plain->sign_row(at, n, trits[0]);
        loops->sign_row(at, n, trits[1]);
        assert_memory_equal(trits[0], trits[1], n);
        assert_true(plain->largest_difference(at, y, n) == loops->largest_difference(at, y, n));
    }
}

TEST(widens_every_number_of_16_bits)
{
    enum { N = 65536 };
    uint8_t *raw = malloc(2 * N);
    float *out = malloc(N * sizeof *out);
    for (uint32_t h = 0; h < N; h++) bitnet_store_u16(raw + 2 * h, (uint16_t)h);
    loops->load_f16(raw, N, out);
    for (uint32_t h = 0; h < N; h++) {
        float expected = bitnet_f16_to_f32((uint16_t)h);
        assert_memory_equal(&out[h], &expected, sizeof expected);
    }
    loops->load_bf16(raw, N - 3, out); /* with a tail */
    for (uint32_t h = 0; h < N - 3; h++) {
        float expected = bitnet_bf16_to_f32((uint16_t)h);
        assert_memory_equal(&out[h], &expected, sizeof expected);
    }
    free(raw);
    free(out);
}

/* Where a row is read from must not change what is read. */
TEST(floats_are_read_in_place_only_where_they_lie_as_floats)
{
    float x[4] = {1, 2, 3, 4};
    const uint8_t *at = (const uint8_t *)x;
    assert_ptr_equal(floats_in_place(ST_F32, at), BITNET_IS_LITTLE_ENDIAN ? x : NULL);
    assert_null(floats_in_place(ST_F32, at + 1));
    assert_null(floats_in_place(ST_BF16, at));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_bits_of_the_plain_set),
        cmocka_unit_test(widens_every_number_of_16_bits),
        cmocka_unit_test(floats_are_read_in_place_only_where_they_lie_as_floats),
        cmocka_unit_test(widens_every_float_dtype_from_any_address),
        cmocka_unit_test(measures_a_row_of_any_length),
        cmocka_unit_test(sees_nan_and_infinity_wherever_they_stand),
        cmocka_unit_test(rounds_halves_to_the_even_neighbour),
        cmocka_unit_test(the_absmean_scale_is_the_definition),
        cmocka_unit_test(unpacks_rows_from_four_groups_also_when_the_last_is_short),
        cmocka_unit_test(rope_order_is_a_permutation_from_halves_to_pairs),
        cmocka_unit_test(tells_exactly_ternary_floats_from_others),
        cmocka_unit_test(measuring_names_the_place_of_a_nan),
        cmocka_unit_test(measuring_refuses_a_packed_code_that_no_trit_has),
        cmocka_unit_test(the_same_for_every_number_of_threads),
    };
    int n_failed = 0;
    for (size_t i = 0; (loops = loops_at(i)) != NULL; i++) {
        if (loops != loops_select(loops->needs & bitnet_cpu_detect())) {
            print_message("SKIPPED: this CPU cannot run the loops '%s'\n", loops->name);
            continue;
        }
        print_message("the loops '%s'\n", loops->name);
        n_failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return n_failed;
}
