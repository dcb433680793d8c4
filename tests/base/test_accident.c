/* The well-known accidents are named; what is none of them stays unnamed. */
#include "cm.h"

#include "bitnet/file.h"

TEST(each_accident_has_its_words_and_a_hint)
{
    static const struct {
        struct bitnet_bytes head;
        const char *words;
    } rows[] = {
        {{(const uint8_t *)"", 0}, "file is empty"},
        {{(const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16}, "only zeros"},
        {{(const uint8_t *)"<!DOCTYPE html><html>", 21}, "web page"},
        {{(const uint8_t *)"\xEF\xBB\xBF \n <HTML lang", 16}, "web page"},
        {{(const uint8_t *)"<?xml version=\"1.0\"?><Error>", 28}, "XML"},
        {{(const uint8_t *)"{\"error\":\"Repository not found\"}", 32}, "server's error message"},
        {{(const uint8_t *)"{\n  \"message\": \"x\"}", 19}, "server's error message"},
        {{(const uint8_t *)"Entry not found", 15}, "server's error message"},
        {{(const uint8_t *)"Access to model x/y is restricted", 33}, "server's error message"},
        {{(const uint8_t *)"version https://git-lfs.github.com/spec/v1\noid sha256:", 54},
         "Git LFS pointer"},
        {{(const uint8_t *)"PK\x03\x04\x14\0", 6}, "ZIP"},
        {{(const uint8_t *)"\x80\x02}q\0", 5}, "pickle"},
        {{(const uint8_t *)"\x1f\x8b\x08", 3}, "gzip"},
        {{(const uint8_t *)"GGUF\x03\0\0\0", 8}, "GGUF file"},
        {{(const uint8_t *)"FUGG\0\0\0\x03", 8}, "byte-swapped"},
        {{(const uint8_t *)"tjgg\x03\0\0\0", 8}, "before GGUF"},
        {{(const uint8_t *)"\x80\x02\0\0\0\0\0\0{\"a\":", 13}, "safetensors"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *hint = NULL, *what = bitnet_file_accident(rows[i].head, &hint);
        if (!what) fail_msg("row %zu (%s) is not recognised", i, rows[i].words);
        assert_text_has(what, rows[i].words);
        assert_non_null(hint);
        assert_string_equal(bitnet_file_accident(rows[i].head, NULL), what);
    }
}

TEST(a_tar_archive_shows_at_byte_257)
{
    uint8_t head[512] = "name";
    assert_null(bitnet_file_accident((struct bitnet_bytes){head, sizeof head}, NULL));
    memcpy(head + 257, "ustar", 5);
    assert_non_null(bitnet_file_accident((struct bitnet_bytes){head, sizeof head}, NULL));
    assert_null(bitnet_file_accident((struct bitnet_bytes){head, 261}, NULL));
}

TEST(ordinary_content_is_no_accident)
{
    static const struct bitnet_bytes rows[] = {
        {(const uint8_t *)"{\"hidden_size\": 32}", 19},
        {(const uint8_t *)"{}", 2},
        {(const uint8_t *)"{", 1},
        {(const uint8_t *)"hello", 5},
        {(const uint8_t *)"GGU", 3},
        {(const uint8_t *)"\x80\x02", 2},
        {(const uint8_t *)"\x80\x02\0\0", 4},
        {(const uint8_t *)"<", 1},
        {(const uint8_t *)"\0\0\0\x01", 4},
        {(const uint8_t *)"  \n", 3},
        {(const uint8_t *)"\xEF\xBB\xBF", 3},
        {(const uint8_t *)"\xff\xff\xff\xff\xff\0\0\0{", 9}, /* too long for a header */
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (bitnet_file_accident(rows[i], NULL)) fail_msg("row %zu is taken for an accident", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_accident_has_its_words_and_a_hint),
        cmocka_unit_test(a_tar_archive_shows_at_byte_257),
        cmocka_unit_test(ordinary_content_is_no_accident),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
