/* The library that runs and the header that was compiled are the same here. */
#include "cm.h"

#include "bitnet/text.h"
#include "bitnet/version.h"

TEST(library_and_header_agree)
{
    assert_string_equal(bitnet_version(), BITNET_VERSION);
    assert_int_equal(bitnet_abi_version(), BITNET_ABI_VERSION);
}

TEST(the_version_has_three_numbers)
{
    struct bitnet_str rest = bitnet_str_of(bitnet_version());
    for (int i = 0; i < 3; i++) {
        const char *dot = memchr(rest.at, '.', rest.n);
        size_t n = dot ? (size_t)(dot - rest.at) : rest.n;
        uint64_t number;
        assert_true(bitnet_parse_u64((struct bitnet_str){rest.at, n}, &number));
        assert_int_equal(dot != NULL, i < 2);
        if (dot) rest = (struct bitnet_str){dot + 1, rest.n - n - 1};
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(library_and_header_agree),
        cmocka_unit_test(the_version_has_three_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
