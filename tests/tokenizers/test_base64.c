/* Base64: the examples of RFC 4648 section 10, every byte, and everything that is not whole. */
#include "cm.h"

#include "base64.h"

static void check(const char *text, const void *bytes, size_t n)
{
    struct bitnet_buf out = {.max = 1000};
    if (!base64_decode(bitnet_str_of(text), &out)) fail_msg("%s is refused", text);
    assert_int_equal(out.n, n);
    if (n) assert_memory_equal(out.at, bytes, n);
    bitnet_buf_free(&out);
}

TEST(the_examples_of_the_standard)
{
    check("", "", 0);
    check("Zg==", "f", 1);
    check("Zm8=", "fo", 2);
    check("Zm9v", "foo", 3);
    check("Zm9vYg==", "foob", 4);
    check("Zm9vYmE=", "fooba", 5);
    check("Zm9vYmFy", "foobar", 6);
    check("+/+/AAD/", "\xfb\xff\xbf\x00\x00\xff", 6);
}

TEST(every_byte_comes_back_at_every_place)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned v = 0; v < 1u << 24; v += 251) {
        char text[5] = {digits[v >> 18], digits[v >> 12 & 63], digits[v >> 6 & 63], digits[v & 63],
                        0};
        uint8_t bytes[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        check(text, bytes, 3);
    }
}

TEST(what_is_not_whole_is_refused)
{
    static const char *const bad[] = {"Z",    "Zg",    "Zg=",      "Zm9",   "====",
                                      "Z===", "=Zg=",  "Zg==Zg==", "Zm 9v", "Zm9v\n",
                                      "Zm-_", "Zm9v=", "Zm9\xff"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct bitnet_buf out = {.max = 1000};
        if (base64_decode(bitnet_str_of(bad[i]), &out)) fail_msg("'%s' is taken", bad[i]);
        bitnet_buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_standard),
        cmocka_unit_test(every_byte_comes_back_at_every_place),
        cmocka_unit_test(what_is_not_whole_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
