/* gguf/metadata.c: the typed accessors let through what has the right type and range, and say what
 * they found otherwise. */
#include "cm.h"

#include "spell.h"

#include <math.h>

static struct spell s;
static struct bitnet_gguf *gguf;
static struct bitnet_error err;

static int open_values(void **state)
{
    static const uint8_t ff[8] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    (void)state;
    spell_header(&s, 3, 0, 18);
    spell_key_text(&s, "general.architecture", "llama");
    spell_key(&s, "u8", BITNET_GGUF_U8), spell_raw(&s, ff, 1);
    spell_key(&s, "i8", BITNET_GGUF_I8), spell_raw(&s, ff, 1);
    spell_key_u16(&s, "u16", 65535);
    spell_key(&s, "i16", BITNET_GGUF_I16), spell_raw(&s, "\x10\x00", 2);
    spell_key_u32(&s, "llama.block_count", 4294967295u);
    spell_key_i32(&s, "i32", 12);
    spell_key(&s, "u64", BITNET_GGUF_U64), spell_u64(&s, UINT64_MAX);
    spell_key(&s, "i64", BITNET_GGUF_I64), spell_u64(&s, UINT64_C(1) << 63);
    spell_key(&s, "f32", BITNET_GGUF_F32), spell_u32(&s, 0x3FC00000);
    spell_key(&s, "f64", BITNET_GGUF_F64), spell_u64(&s, UINT64_C(0x7FF8000000000000));
    spell_key(&s, "yes", BITNET_GGUF_BOOL), spell_raw(&s, "\1", 1);
    spell_key_text(&s, "text", "hi");
    spell_key_array(&s, "words", BITNET_GGUF_STRING, 2);
    spell_text(&s, "a");
    spell_text(&s, "b");
    spell_key_array(&s, "floats", BITNET_GGUF_F32, 1);
    spell_u32(&s, 0x3FC00000);
    spell_key_array(&s, "none", BITNET_GGUF_STRING, 0);
    spell_key_array(&s, "no floats", BITNET_GGUF_F32, 0);
    spell_key_array(&s, "nested", BITNET_GGUF_ARRAY, 0);
    if (bitnet_gguf_open_mem(&gguf, spell_bytes(&s), NULL, &err)) fail_msg("%s", err.text);
    return 0;
}

static int close_values(void **state)
{
    (void)state;
    bitnet_gguf_close(gguf);
    spell_free(&s);
    return 0;
}

#define REQUIRED BITNET_GGUF_REQUIRED
#define OPTIONAL BITNET_GGUF_OPTIONAL

static void u64_is(const char *key, uint64_t expected)
{
    uint64_t value = 77;
    if (bitnet_gguf_u64(gguf, key, 0, UINT64_MAX, REQUIRED, &value, &err)) fail_msg("%s", err.text);
    assert_true(value == expected);
}

TEST(integers_of_every_width_are_read)
{
    u64_is("u8", 255);
    u64_is("u16", 65535);
    u64_is("i16", 16);
    u64_is("i32", 12);
    u64_is("u64", UINT64_MAX);
    u64_is("%s.block_count", 4294967295u);
}

static void u64_fails(const char *key, uint64_t low, uint64_t high, const char *words)
{
    uint64_t value = 77;
    assert_int_equal(bitnet_gguf_u64(gguf, key, low, high, REQUIRED, &value, &err), BITNET_FORMAT);
    assert_text_has(err.text, words);
    assert_int_equal(value, 77);
}

TEST(integers_out_of_range_are_refused_with_the_numbers)
{
    u64_fails("%s.block_count", 1, 1024, "key 'llama.block_count': 4294967295 (allowed 1 to 1024)");
    u64_fails("i16", 17, 20, "key 'i16': 16 (allowed 17 to 20)");
    u64_fails("i8", 0, 9, "key 'i8': -1 (allowed 0 to 9)");
    u64_fails("i64", 0, 9, "key 'i64': -9223372036854775808 (allowed 0 to 9)");
    u64_is("i16", 16);
}

TEST(nothing_stands_in_for_an_integer)
{
    u64_fails("f32", 0, 9, "key 'f32': expected an integer, found f32");
    u64_fails("yes", 0, 9, "key 'yes': expected an integer, found bool");
    u64_fails("text", 0, 9, "key 'text': expected an integer, found string");
    u64_fails("words", 0, 9, "key 'words': expected an integer, found array of string");
    u64_fails("nested", 0, 9, "found array of array");
}

TEST(missing_keys_are_refused_or_left_alone)
{
    uint64_t value = 77;
    double number = 77;
    bool flag = true;
    struct bitnet_str text = BITNET_STR("as before");
    const struct bitnet_str *strings = NULL;
    struct bitnet_bytes raw = {0};
    size_t n = 77;
    u64_fails("%s.context_length", 0, 9, "key 'llama.context_length' is missing");
    assert_int_equal(bitnet_gguf_u64(gguf, "no", 1, 2, OPTIONAL, &value, &err), BITNET_OK);
    assert_int_equal(bitnet_gguf_f64(gguf, "no", OPTIONAL, &number, &err), BITNET_OK);
    assert_int_equal(bitnet_gguf_bool(gguf, "no", OPTIONAL, &flag, &err), BITNET_OK);
    assert_int_equal(bitnet_gguf_str(gguf, "no", OPTIONAL, &text, &err), BITNET_OK);
    assert_int_equal(bitnet_gguf_strings(gguf, "no", OPTIONAL, &strings, &n, &err), BITNET_OK);
    assert_int_equal(bitnet_gguf_array(gguf, "no", BITNET_GGUF_F32, OPTIONAL, &raw, &n, &err),
                     BITNET_OK);
    assert_true(value == 77 && number == 77 && flag && bitnet_str_is(text, "as before"));
    assert_true(strings == NULL && raw.at == NULL && n == 77);
    assert_int_equal(bitnet_gguf_f64(gguf, "no", REQUIRED, &number, &err), BITNET_FORMAT);
    assert_text_has(err.text, "key 'no' is missing");
    assert_int_equal(bitnet_gguf_u64(gguf, "no", 1, 2, REQUIRED, &value, NULL), BITNET_FORMAT);
}

TEST(floats_come_from_both_widths_and_nothing_else)
{
    double value = 0;
    assert_int_equal(bitnet_gguf_f64(gguf, "f32", REQUIRED, &value, &err), BITNET_OK);
    assert_true(value == 1.5);
    assert_int_equal(bitnet_gguf_f64(gguf, "f64", REQUIRED, &value, &err), BITNET_OK);
    assert_true(isnan(value));
    assert_int_equal(bitnet_gguf_f64(gguf, "u8", REQUIRED, &value, &err), BITNET_FORMAT);
    assert_text_has(err.text, "key 'u8': expected a float, found u8");
}

TEST(texts_flags_and_lists_are_read_as_what_they_are)
{
    bool flag = false;
    struct bitnet_str text;
    const struct bitnet_str *strings = NULL;
    struct bitnet_bytes raw;
    size_t n = 0;
    assert_int_equal(bitnet_gguf_bool(gguf, "yes", REQUIRED, &flag, &err), BITNET_OK);
    assert_true(flag);
    assert_int_equal(bitnet_gguf_str(gguf, "text", REQUIRED, &text, &err), BITNET_OK);
    assert_true(bitnet_str_is(text, "hi"));
    assert_int_equal(bitnet_gguf_strings(gguf, "words", REQUIRED, &strings, &n, &err), BITNET_OK);
    assert_true(n == 2 && bitnet_str_is(strings[1], "b"));
    assert_int_equal(bitnet_gguf_strings(gguf, "none", REQUIRED, &strings, &n, &err), BITNET_OK);
    assert_int_equal(n, 0);
    assert_int_equal(bitnet_gguf_array(gguf, "floats", BITNET_GGUF_F32, REQUIRED, &raw, &n, &err),
                     BITNET_OK);
    assert_true(n == 1 && raw.n == 4 && bitnet_load_f32(raw.at) == 1.5f);
    assert_int_equal(
        bitnet_gguf_array(gguf, "no floats", BITNET_GGUF_F32, REQUIRED, &raw, &n, &err), BITNET_OK);
    assert_int_equal(n, 0);

    assert_int_equal(bitnet_gguf_bool(gguf, "u8", REQUIRED, &flag, &err), BITNET_FORMAT);
    assert_text_has(err.text, "key 'u8': expected bool, found u8");
    assert_int_equal(bitnet_gguf_str(gguf, "yes", REQUIRED, &text, &err), BITNET_FORMAT);
    assert_text_has(err.text, "key 'yes': expected string, found bool");
    assert_int_equal(bitnet_gguf_strings(gguf, "floats", REQUIRED, &strings, &n, &err),
                     BITNET_FORMAT);
    assert_text_has(err.text, "key 'floats': expected array of string, found array of f32");
    assert_int_equal(bitnet_gguf_array(gguf, "words", BITNET_GGUF_I32, REQUIRED, &raw, &n, &err),
                     BITNET_FORMAT);
    assert_text_has(err.text, "key 'words': expected array of i32, found array of string");
}

static void architecture_fails(const char *words)
{
    struct bitnet_gguf *other;
    uint64_t value = 0;
    if (bitnet_gguf_open_mem(&other, spell_bytes(&s), NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(bitnet_gguf_u64(other, "%s.x", 0, 1, OPTIONAL, &value, &err), BITNET_FORMAT);
    assert_text_has(err.text, words);
    bitnet_gguf_close(other);
    spell_free(&s);
}

TEST(keys_of_an_architecture_need_one)
{
    char name[66] = {0};
    memset(name, 'a', 65);
    spell_free(&s);
    spell_header(&s, 3, 0, 0);
    architecture_fails("key 'general.architecture' is missing");
    spell_header(&s, 3, 0, 1);
    spell_key_u32(&s, "general.architecture", 1);
    architecture_fails("key 'general.architecture': expected string, found u32");
    spell_header(&s, 3, 0, 1);
    spell_key_text(&s, "general.architecture", "");
    architecture_fails("name of 0 bytes (allowed 1 to 64)");
    spell_header(&s, 3, 0, 1);
    spell_key_text(&s, "general.architecture", name);
    architecture_fails("name of 65 bytes (allowed 1 to 64)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(integers_of_every_width_are_read, open_values,
                                        close_values),
        cmocka_unit_test_setup_teardown(integers_out_of_range_are_refused_with_the_numbers,
                                        open_values, close_values),
        cmocka_unit_test_setup_teardown(nothing_stands_in_for_an_integer, open_values,
                                        close_values),
        cmocka_unit_test_setup_teardown(missing_keys_are_refused_or_left_alone, open_values,
                                        close_values),
        cmocka_unit_test_setup_teardown(floats_come_from_both_widths_and_nothing_else, open_values,
                                        close_values),
        cmocka_unit_test_setup_teardown(texts_flags_and_lists_are_read_as_what_they_are,
                                        open_values, close_values),
        cmocka_unit_test(keys_of_an_architecture_need_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
