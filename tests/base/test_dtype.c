/* The type table is consistent, sizes follow the rule, and the 16-bit floats are exact: all 65 536
 * patterns one way, and the other way against a reference that searches for the nearest value. */
#include "cm.h"

#include <math.h>

#include "bitnet/dtype.h"
#include "bitnet/text.h"

/* --- the table --- */

TEST(names_and_labels_find_their_type_in_any_case)
{
    enum bitnet_dtype type;
    for (size_t i = 0; i < BITNET_DTYPE_COUNT; i++) {
        const struct bitnet_dtype_info *info = bitnet_dtype_info((enum bitnet_dtype)i);
        assert_true(bitnet_dtype_from_name(bitnet_str_of(info->name), &type));
        assert_int_equal(type, i);
        assert_true(bitnet_dtype_from_name(bitnet_str_of(info->label), &type));
        assert_int_equal(type, i);
    }
    assert_true(bitnet_dtype_from_name(BITNET_STR("Tq2_0"), &type));
    assert_int_equal(type, BITNET_DTYPE_tq2_0);
    assert_false(bitnet_dtype_from_name(BITNET_STR("tq2"), &type));
    assert_false(bitnet_dtype_from_name(BITNET_STR("tq2_00"), &type));
    assert_false(bitnet_dtype_from_name(BITNET_STR(""), &type));
    assert_false(bitnet_dtype_from_name((struct bitnet_str){"f32\0", 4}, &type));
}

TEST(a_number_means_one_type_per_dialect)
{
    enum bitnet_dtype type;
    for (size_t d = 0; d < BITNET_DIALECT_COUNT; d++) {
        for (size_t i = 0; i < BITNET_DTYPE_COUNT; i++) {
            int number = bitnet_dtype_info((enum bitnet_dtype)i)->type_number[d];
            if (number == BITNET_NO_NUMBER) continue;
            assert_true(bitnet_dtype_from_number((enum bitnet_dialect)d, (uint64_t)number, &type));
            assert_int_equal(type, i);
        }
    }
    assert_true(bitnet_dtype_from_number(BITNET_DIALECT_GGML, 39, &type));
    assert_int_equal(type, BITNET_DTYPE_mxfp4);
    assert_true(bitnet_dtype_from_number(BITNET_DIALECT_BITNETCPP, 39, &type));
    assert_int_equal(type, BITNET_DTYPE_tl2);
    assert_false(bitnet_dtype_from_number(BITNET_DIALECT_GGML, 36, &type));
    assert_false(bitnet_dtype_from_number(BITNET_DIALECT_GGML, 1000, &type));
    assert_false(bitnet_dtype_from_number(BITNET_DIALECT_GGML, UINT64_MAX, &type));
    assert_false(bitnet_dtype_from_number(BITNET_DIALECT_GGML, (UINT64_C(1) << 32), &type));
}

/* --- sizes --- */

static enum bitnet_status size_of(enum bitnet_dtype type, uint64_t cols, uint64_t rows, uint64_t *n,
                                  struct bitnet_error *err)
{
    return bitnet_tensor_bytes(type, (uint64_t[]){cols, rows}, 2, n, err);
}

TEST(sizes_of_known_tensors)
{
    static const struct {
        enum bitnet_dtype type;
        uint64_t cols, rows, bytes;
    } rows[] = {
        {BITNET_DTYPE_f32, 32, 272, 34816},
        {BITNET_DTYPE_f16, 2560, 128256, 656670720},
        {BITNET_DTYPE_q4_0, 32, 3, 54},
        {BITNET_DTYPE_tq1_0, 2560, 4, 2160},
        {BITNET_DTYPE_tq2_0, 2560, 2560, 1689600},
        {BITNET_DTYPE_i2_s, 2560, 6912, 4423712}, /* n/4 + 32 */
        {BITNET_DTYPE_tl1, 3200, 8640, 6912032},  /* n/4 + 32 */
        {BITNET_DTYPE_tl2, 3200, 3200, 2167520},  /* 1962666 + 204800, to 32, plus 32 */
        {BITNET_DTYPE_tl2, 8640, 3200, 5794176},
        {BITNET_DTYPE_iq2_bn, 2560, 2, 1288}, /* 40 blocks of 16 and a float, twice */
        {BITNET_DTYPE_iq1_bn, 2560, 2, 1044},
        {BITNET_DTYPE_q6_k, 256, 1, 210},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t n = 0;
        struct bitnet_error err = {0};
        if (size_of(rows[i].type, rows[i].cols, rows[i].rows, &n, &err)) fail_msg("%s", err.text);
        if (n != rows[i].bytes)
            fail_msg("%s %lu x %lu: %lu, expected %lu", bitnet_dtype_info(rows[i].type)->name,
                     (unsigned long)rows[i].cols, (unsigned long)rows[i].rows, (unsigned long)n,
                     (unsigned long)rows[i].bytes);
    }
}

/* The header's formula in signed arithmetic, where C's division already goes toward zero. */
static int64_t tl2_by_the_book(int64_t cols, int64_t rows)
{
    int64_t a = (cols - 256) * rows / 3 * 5 / 8 + 256 * rows / 2 * 4 / 8;
    return (a + 31) / 32 * 32 + 32;
}

TEST(tl2_follows_its_formula_also_for_narrow_tensors)
{
    for (int64_t cols = 1; cols < 1200; cols++)
        for (int64_t rows = 1; rows < 40; rows++) {
            uint64_t n;
            assert_int_equal(size_of(BITNET_DTYPE_tl2, (uint64_t)cols, (uint64_t)rows, &n, NULL),
                             0);
            if ((int64_t)n != tl2_by_the_book(cols, rows))
                fail_msg("%ld x %ld: %ld, expected %ld", (long)cols, (long)rows, (long)n,
                         (long)tl2_by_the_book(cols, rows));
        }
}

TEST(rows_must_be_whole_blocks)
{
    struct bitnet_error err;
    uint64_t n;
    assert_int_equal(size_of(BITNET_DTYPE_q4_0, 31, 4, &n, &err), BITNET_FORMAT);
    assert_string_equal(err.text, "rows of 31 elements, but Q4_0 needs a multiple of 32");
    assert_int_equal(size_of(BITNET_DTYPE_tq2_0, 128, 2, &n, &err), BITNET_FORMAT);
}

TEST(a_zero_dimension_is_refused_wherever_it_stands)
{
    struct bitnet_error err;
    uint64_t n;
    assert_int_equal(size_of(BITNET_DTYPE_f32, 0, 1, &n, &err), BITNET_FORMAT);
    assert_string_equal(err.text, "dimension 0 is zero");
    assert_int_equal(size_of(BITNET_DTYPE_f32, 5, 0, &n, &err), BITNET_FORMAT);
    assert_string_equal(err.text, "dimension 1 is zero");
}

TEST(a_size_that_overflows_is_refused_for_every_type)
{
    struct bitnet_error err;
    uint64_t n;
    assert_int_equal(size_of(BITNET_DTYPE_f32, UINT64_C(1) << 32, UINT64_C(1) << 32, &n, &err),
                     BITNET_LIMIT);
    assert_string_equal(err.text, "shape 4294967296 x 4294967296 is too large");
    assert_int_equal(size_of(BITNET_DTYPE_f32, UINT64_C(1) << 62, 1, &n, &err), BITNET_LIMIT);
    assert_int_equal(size_of(BITNET_DTYPE_f32, UINT64_C(1) << 61, 1, &n, &err), BITNET_OK);
    assert_int_equal(size_of(BITNET_DTYPE_i8, UINT64_C(1) << 63, 1, &n, &err), BITNET_LIMIT);
    assert_int_equal(size_of(BITNET_DTYPE_tl2, 1, INT64_MAX, &n, &err), BITNET_LIMIT);
    for (size_t t = 0; t < BITNET_DTYPE_COUNT; t++) {
        uint64_t dims[8] = {UINT64_C(1) << 20, UINT64_C(1) << 20, UINT64_C(1) << 20, 8, 1, 1, 1, 1};
        assert_int_equal(bitnet_tensor_bytes((enum bitnet_dtype)t, dims, 8, &n, NULL),
                         BITNET_LIMIT);
        dims[3] = UINT64_MAX;
        assert_int_equal(bitnet_tensor_bytes((enum bitnet_dtype)t, dims, 4, &n, NULL),
                         BITNET_LIMIT);
    }
}

TEST(a_tensor_without_dimensions_is_one_element)
{
    uint64_t n;
    assert_int_equal(bitnet_tensor_bytes(BITNET_DTYPE_f32, NULL, 0, &n, NULL), BITNET_OK);
    assert_int_equal(n, 4);
}

/* --- 16-bit floats --- */

/* By the definition: (-1)^s * 2^(e-15) * (1 + m/1024), or m * 2^-24 when e is 0. */
static double value_of_f16(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double v = e ? ldexp(1 + m / 1024.0, e - 15) : ldexp(m, -24);
    return h & 0x8000 ? -v : v;
}

static bool is_f16_nan(uint16_t h)
{
    return (h & 0x7FFF) > 0x7C00;
}

TEST(every_f16_is_widened_exactly_and_comes_back)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        float f = bitnet_f16_to_f32(h);
        if ((h & 0x7FFF) == 0x7C00)
            assert_true(isinf(f));
        else if (is_f16_nan(h))
            assert_true(isnan(f));
        else
            assert_true((double)f == value_of_f16(h));
        assert_int_equal(signbit(f) != 0, h >> 15);
        if (bitnet_f32_to_f16(f) != h) fail_msg("%04x becomes %04x", h, bitnet_f32_to_f16(f));
    }
}

/* The slow reference: the nearest of all non-negative f16 by bisection over their order (which is
 * the order of their patterns); a tie goes to the even pattern. 65 536 stands where infinity does.
 */
static uint16_t nearest_f16(double size)
{
    uint16_t low = 0, high = 0x7C00;
    while (high - low > 1) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        double v = middle == 0x7C00 ? 65536.0 : value_of_f16(middle);
        if (v <= size)
            low = middle;
        else
            high = middle;
    }
    double a = size - value_of_f16(low);
    double b = (high == 0x7C00 ? 65536.0 : value_of_f16(high)) - size;
    if (b < 0) return high;
    if (a != b) return a < b ? low : high;
    return low % 2 == 0 ? low : high;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void check_f16(uint32_t bits)
{
    float f = float_of(bits);
    if (isnan(f)) {
        assert_true(is_f16_nan(bitnet_f32_to_f16(f)));
        return;
    }
    uint16_t want = (uint16_t)(nearest_f16(fabs((double)f)) | (bits >> 31 << 15));
    if (bitnet_f32_to_f16(f) != want)
        fail_msg("%08x (%a) becomes %04x, expected %04x", bits, f, bitnet_f32_to_f16(f), want);
}

TEST(f32_is_rounded_to_the_nearest_f16_ties_to_even)
{
    for (uint32_t h = 0; h < 0x7C01; h++) { /* around every value and every midpoint */
        float a = bitnet_f16_to_f32((uint16_t)h);
        float middle = (float)((value_of_f16((uint16_t)h) + value_of_f16((uint16_t)(h + 1))) / 2);
        if (h >= 0x7BFF) middle = 65520.0f;
        uint32_t bits[2];
        memcpy(&bits[0], &a, 4);
        memcpy(&bits[1], &middle, 4);
        for (int i = 0; i < 2; i++)
            for (uint32_t d = 0; d < 5; d++) {
                check_f16(bits[i] + d - 2);
                check_f16((bits[i] + d - 2) ^ 0x80000000u);
            }
    }
    uint32_t x = 2463534242u;
    for (int i = 0; i < 1000000; i++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        check_f16(x);
    }
    check_f16(0x7F800000);
    check_f16(0xFF800000);
    check_f16(0x7F800001);
    check_f16(0x7FFFFFFF);
    check_f16(0x00000001);
    check_f16(0x33000000); /* half of the smallest: down to the even zero */
    check_f16(0x33000001);
}

TEST(every_bf16_comes_back_and_nan_is_made_quiet)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        uint32_t bits;
        float f = bitnet_bf16_to_f32(h);
        memcpy(&bits, &f, 4);
        assert_int_equal(bits, i << 16);
        bool nan = (h & 0x7FFF) > 0x7F80;
        assert_int_equal(bitnet_f32_to_bf16(f), nan ? h | 0x40 : h);
    }
    assert_int_equal(bitnet_f32_to_bf16(float_of(0x7F800001)), 0x7FC0); /* not infinity */
}

TEST(f32_is_rounded_to_the_nearest_bf16_ties_to_even)
{
    uint32_t x = 123456789u;
    for (int i = 0; i < 1000000; i++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        uint32_t bits = i % 4 ? x : (x & 0xFFFF0000u) | (uint32_t)(0x7FFF + i / 4 % 3);
        if (isnan(float_of(bits))) continue;
        uint32_t low = bits >> 16, rest = bits & 0xFFFF;
        uint32_t want = rest > 0x8000 || (rest == 0x8000 && low % 2) ? low + 1 : low;
        assert_int_equal(bitnet_f32_to_bf16(float_of(bits)), want);
    }
    assert_int_equal(bitnet_f32_to_bf16(float_of(0x7F7FFFFF)), 0x7F80); /* overflow is infinity */
    assert_int_equal(bitnet_f32_to_bf16(float_of(0xFF800000)), 0xFF80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_labels_find_their_type_in_any_case),
        cmocka_unit_test(a_number_means_one_type_per_dialect),
        cmocka_unit_test(sizes_of_known_tensors),
        cmocka_unit_test(tl2_follows_its_formula_also_for_narrow_tensors),
        cmocka_unit_test(rows_must_be_whole_blocks),
        cmocka_unit_test(a_zero_dimension_is_refused_wherever_it_stands),
        cmocka_unit_test(a_size_that_overflows_is_refused_for_every_type),
        cmocka_unit_test(a_tensor_without_dimensions_is_one_element),
        cmocka_unit_test(every_f16_is_widened_exactly_and_comes_back),
        cmocka_unit_test(f32_is_rounded_to_the_nearest_f16_ties_to_even),
        cmocka_unit_test(every_bf16_comes_back_and_nan_is_made_quiet),
        cmocka_unit_test(f32_is_rounded_to_the_nearest_bf16_ties_to_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
