/* bitnet_expf() against double precision. */
#include <bitnet/kernels.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

static double ulp_of(float f)
{
    return (double)nextafterf(f, INFINITY) - (double)f;
}

static double error_in_ulp(float x)
{
    const double exact = exp((double)x);
    return fabs((double)bitnet_expf(x) - exact) / ulp_of((float)exact);
}

static void stays_within_two_ulp_of_double(void **state)
{
    (void)state;
    double worst = 0;
    for (float x = -87.3f; x <= 88.7f; x += 0.000137f) worst = fmax(worst, error_in_ulp(x));
    for (float x = 1e-30f; x < 1; x *= 1.01f) {
        worst = fmax(worst, fmax(error_in_ulp(x), error_in_ulp(-x)));
    }
    print_message("worst error %.3f ulp\n", worst);
    assert_true(worst <= 2);
}

static void has_its_edges_where_the_header_says(void **state)
{
    (void)state;
    assert_true(bitnet_expf(0) == 1);
    assert_true(bitnet_expf(-0.0f) == 1);
    assert_true(bitnet_expf(-87.4f) == 0);
    assert_true(bitnet_expf(-INFINITY) == 0);
    assert_true(bitnet_expf(88.8f) == INFINITY);
    assert_true(bitnet_expf(INFINITY) == INFINITY);
    assert_true(isfinite(bitnet_expf(88.7f)));
    assert_true(isnan(bitnet_expf(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_within_two_ulp_of_double),
        cmocka_unit_test(has_its_edges_where_the_header_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
