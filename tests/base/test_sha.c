/* base/sha.c: the digests of the standard and of git, however the bytes come. */
#include "cm.h"

#include <string.h>

#include "bitnet/bytes.h"
#include "bitnet/sha.h"

static void digest_is(enum bitnet_sha_kind kind, const char *text, size_t n_times,
                      const char *expected)
{
    struct bitnet_sha sha;
    uint8_t digest[BITNET_SHA256_BYTES];
    char hex[BITNET_SHA_HEX_MAX];
    bitnet_sha_begin(&sha, kind);
    for (size_t i = 0; i < n_times; i++) bitnet_sha_add(&sha, text, strlen(text));
    assert_true(bitnet_sha_finish(&sha, digest));
    bitnet_hex(digest, kind == BITNET_SHA1 ? BITNET_SHA1_BYTES : BITNET_SHA256_BYTES, hex);
    assert_string_equal(hex, expected);
}

/* The examples of FIPS 180-2, appendices A and B, and the empty message. */
TEST(gives_the_digests_of_the_standard)
{
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    digest_is(BITNET_SHA256, "", 1,
              "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_is(BITNET_SHA256, "abc", 1,
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_is(BITNET_SHA256, two_blocks, 1,
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    digest_is(BITNET_SHA256, "a", 1000000,
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    digest_is(BITNET_SHA1, "abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d");
    digest_is(BITNET_SHA1, two_blocks, 1, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

TEST(does_not_depend_on_how_the_bytes_come)
{
    uint8_t bytes[300], whole[BITNET_SHA256_BYTES], parts[BITNET_SHA256_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 13);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        struct bitnet_sha sha;
        assert_true(bitnet_sha256(bytes, n, whole));
        bitnet_sha_begin(&sha, BITNET_SHA256);
        for (size_t at = 0, step = 1; at < n; at += step, step = step * 7 % 67 + 1) {
            if (step > n - at) step = n - at;
            bitnet_sha_add(&sha, bytes + at, step);
        }
        assert_true(bitnet_sha_finish(&sha, parts));
        assert_memory_equal(whole, parts, sizeof whole);
    }
}

TEST(numbers_are_added_as_eight_little_endian_bytes)
{
    static const uint8_t bytes[] = {0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01};
    uint8_t a[BITNET_SHA256_BYTES], b[BITNET_SHA256_BYTES];
    struct bitnet_sha sha;
    bitnet_sha_begin(&sha, BITNET_SHA256);
    bitnet_sha_add_u64(&sha, 0x0123456789abcdefu);
    assert_true(bitnet_sha_finish(&sha, a));
    assert_true(bitnet_sha256(bytes, sizeof bytes, b));
    assert_memory_equal(a, b, sizeof a);
}

/* What begin leaves when there is no memory: the caller goes on and learns it at the end. */
TEST(a_hash_that_could_not_begin_fails_at_the_end)
{
    struct bitnet_sha sha = {.context = NULL, .n_bytes = BITNET_SHA256_BYTES};
    uint8_t digest[BITNET_SHA256_BYTES], zeros[BITNET_SHA256_BYTES] = {0};
    memset(digest, 1, sizeof digest);
    bitnet_sha_add(&sha, "abc", 3);
    bitnet_sha_add_u64(&sha, 1);
    assert_false(bitnet_sha_finish(&sha, digest));
    assert_memory_equal(digest, zeros, sizeof zeros);
    bitnet_sha_free(&sha);
    bitnet_sha_begin(&sha, BITNET_SHA1);
    bitnet_sha_free(&sha);
    bitnet_sha_free(&sha);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_digests_of_the_standard),
        cmocka_unit_test(does_not_depend_on_how_the_bytes_come),
        cmocka_unit_test(numbers_are_added_as_eight_little_endian_bytes),
        cmocka_unit_test(a_hash_that_could_not_begin_fails_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
