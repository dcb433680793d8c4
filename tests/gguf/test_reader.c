/* gguf/reader.c and layout.c: what is read is what was spelt, and what breaks a rule is refused
 * with the right status and words. The cases are those of reliability.md section 13 and their
 * neighbours: each limit at its edge and one beyond. */
#include "cm.h"

#include "spell.h"

#include <bitnet/file.h>

#include <stdio.h>
#include <stdlib.h>

#include "temp_dir.h"

static struct spell s;

static int forget(void **state)
{
    (void)state;
    spell_free(&s);
    return 0;
}

static enum bitnet_status open_it(struct bitnet_gguf **gguf, struct bitnet_error *err)
{
    *err = (struct bitnet_error){0};
    return bitnet_gguf_open_mem(gguf, spell_bytes(&s), NULL, err);
}

static struct bitnet_gguf *must_open(void)
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err;
    if (open_it(&gguf, &err)) fail_msg("%s", err.text);
    return gguf;
}

static void must_refuse(enum bitnet_status status, const char *words)
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err;
    assert_int_equal(open_it(&gguf, &err), status);
    assert_null(gguf);
    assert_int_equal(err.status, status);
    assert_text_has(err.text, words);
}

/* ------------------------------------------------------------------ accepted */

TEST(opens_a_file_with_nothing_in_it)
{
    spell_header(&s, 3, 0, 0);
    struct bitnet_gguf *gguf = must_open();
    assert_int_equal(bitnet_gguf_version(gguf), 3);
    assert_int_equal(bitnet_gguf_alignment(gguf), 32);
    assert_int_equal(bitnet_gguf_pair_count(gguf), 0);
    assert_int_equal(bitnet_gguf_tensor_count(gguf), 0);
    assert_null(bitnet_gguf_pair_at(gguf, 0));
    assert_null(bitnet_gguf_tensor_at(gguf, 0));
    assert_null(bitnet_gguf_find(gguf, BITNET_STR("x")));
    assert_string_equal(bitnet_gguf_path(gguf), "");
    bitnet_gguf_close(gguf);
}

TEST(opens_version_2)
{
    spell_header(&s, 2, 0, 1);
    spell_key_u32(&s, "a", 7);
    struct bitnet_gguf *gguf = must_open();
    assert_int_equal(bitnet_gguf_version(gguf), 2);
    assert_int_equal(bitnet_gguf_find(gguf, BITNET_STR("a"))->u64, 7);
    bitnet_gguf_close(gguf);
}

static const struct bitnet_gguf_value *find(const struct bitnet_gguf *gguf, const char *key)
{
    const struct bitnet_gguf_value *value = bitnet_gguf_find(gguf, bitnet_str_of(key));
    assert_non_null(value);
    return value;
}

static void check_sample(const struct bitnet_gguf *gguf)
{
    assert_int_equal(bitnet_gguf_pair_count(gguf), 16);
    assert_int_equal(find(gguf, "t.u8")->u64, 0xF8);
    assert_true(find(gguf, "t.i8")->i64 == -8);
    assert_int_equal(find(gguf, "t.u16")->u64, 0xFFF8);
    assert_true(find(gguf, "t.i16")->i64 == -8);
    assert_int_equal(find(gguf, "t.u32")->u64, 0xFFFFFFF8);
    assert_true(find(gguf, "t.i32")->i64 == -8);
    assert_true(find(gguf, "t.u64")->u64 == UINT64_MAX - 7);
    assert_true(find(gguf, "t.i64")->i64 == -8);
    assert_true(find(gguf, "t.f32")->f64 == 0.5 && find(gguf, "t.f64")->f64 == 0.5);
    assert_true(find(gguf, "t.bool")->boolean);
    assert_true(bitnet_str_is(find(gguf, "t.str")->text, "gr\xC3\xBC\xC3\x9F"));

    const struct bitnet_gguf_value *text = find(gguf, "a.text");
    assert_int_equal(text->n, 3);
    assert_true(bitnet_str_is(text->strings[0], "a") && text->strings[1].n == 0);
    assert_true(bitnet_str_is(bitnet_gguf_element(text, 2).text, "b\xC3\xA9"));
    assert_true(bitnet_gguf_element(find(gguf, "a.i16"), 0).i64 == -8);
    assert_true(bitnet_gguf_element(find(gguf, "a.i16"), 1).i64 == -1);
    assert_true(bitnet_gguf_element(find(gguf, "a.bool"), 0).boolean);
    assert_false(bitnet_gguf_element(find(gguf, "a.bool"), 1).boolean);

    assert_int_equal(bitnet_gguf_tensor_count(gguf), 3);
    const struct bitnet_tensor *two = bitnet_gguf_find_tensor(gguf, BITNET_STR("two"));
    assert_ptr_equal(two, bitnet_gguf_tensor_at(gguf, 1));
    assert_int_equal(two->type, BITNET_DTYPE_q8_0);
    assert_int_equal(two->type_number, 8);
    assert_int_equal(two->n_dims, 2);
    assert_true(two->dims[0] == 32 && two->dims[1] == 2 && two->dims[2] == 1 && two->dims[3] == 1);
    assert_int_equal(two->data.n, 68);
    assert_int_equal(two->data.at[0], 33); /* the data section counts its bytes from 1 */
    assert_int_equal(bitnet_gguf_tensor_at(gguf, 2)->data.n, 24);
    assert_null(bitnet_gguf_find_tensor(gguf, BITNET_STR("tw")));
}

TEST(reads_every_value_type_and_every_tensor)
{
    spell_sample(&s);
    struct bitnet_gguf *gguf = must_open();
    check_sample(gguf);
    assert_int_equal(bitnet_gguf_file_bytes(gguf), s.n);
    bitnet_gguf_close(gguf);
}

TEST(reads_the_same_from_a_file)
{
    struct temp_dir dir;
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    temp_dir_make(&dir);
    spell_sample(&s);
    temp_dir_write(&dir, "a.gguf", s.at, s.n);
    const char *path = temp_dir_file(&dir, "a.gguf");
    assert_int_equal(bitnet_gguf_open(&gguf, path, NULL, &err), BITNET_OK);
    check_sample(gguf);
    assert_string_equal(bitnet_gguf_path(gguf), path);
    assert_int_equal(bitnet_gguf_unchanged(gguf, &err), BITNET_OK);
    bitnet_gguf_release(gguf, bitnet_gguf_tensor_at(gguf, 0));
    check_sample(gguf);
    bitnet_gguf_close(gguf);
    temp_dir_remove(&dir);
}

TEST(errors_begin_with_the_path)
{
    struct temp_dir dir;
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    temp_dir_make(&dir);
    temp_dir_write(&dir, "a.gguf", "", 0);
    const char *path = temp_dir_file(&dir, "a.gguf");
    assert_int_equal(bitnet_gguf_open(&gguf, path, NULL, &err), BITNET_FORMAT);
    assert_true(strncmp(err.text, path, strlen(path)) == 0);
    assert_text_has(err.text, ": file is empty");

    const char *none = temp_dir_file(&dir, "none.gguf");
    assert_int_equal(bitnet_gguf_open(&gguf, none, NULL, &err), BITNET_NOT_FOUND);
    assert_null(gguf);
    const char *said = strstr(err.text, none);
    assert_non_null(said);
    assert_true(said - err.text <= 1);              /* perhaps in quotes */
    assert_null(strstr(said + strlen(none), none)); /* once is enough */
    temp_dir_remove(&dir);
}

/* Longer than the reader's first buffer several times over, so that the parse begins anew. */
TEST(reads_metadata_of_many_mebibytes)
{
    enum { N = 60000, BYTES = 100 };
    struct temp_dir dir;
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    char text[BYTES + 1];
    spell_header(&s, 3, 1, 2);
    spell_key_array(&s, "list", BITNET_GGUF_STRING, N);
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof text, "%08d and %070d", i, 0);
        spell_text(&s, text);
    }
    spell_key_array(&s, "numbers", BITNET_GGUF_U32, 1 << 20);
    for (uint32_t i = 0; i < 1 << 20; i++) spell_u32(&s, i);
    spell_matrix(&s, "t", 2, 2, 0, 0);
    spell_pad(&s, 32);
    spell_zeros(&s, 32);
    temp_dir_make(&dir);
    temp_dir_write(&dir, "a.gguf", s.at, s.n);
    const char *path = temp_dir_file(&dir, "a.gguf");
    if (bitnet_gguf_open(&gguf, path, NULL, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < N; i++) {
        snprintf(text, sizeof text, "%08zu and %070d", i, 0);
        assert_true(bitnet_str_is(find(gguf, "list")->strings[i], text));
    }
    assert_int_equal(bitnet_gguf_element(find(gguf, "numbers"), (1 << 20) - 1).u64, (1 << 20) - 1);
    bitnet_gguf_close(gguf);

    const struct bitnet_gguf_options little = {.max_metadata_bytes = 2 << 20};
    assert_int_equal(bitnet_gguf_open(&gguf, path, &little, &err), BITNET_LIMIT);
    assert_text_has(err.text, "exceed the limit of 2097152 bytes");
    temp_dir_remove(&dir);
}

TEST(an_array_of_arrays_is_passed_over_up_to_four_deep)
{
    for (uint32_t depth = 2; depth <= 5; depth++) {
        spell_free(&s);
        spell_header(&s, 3, 0, 2);
        spell_key_array(&s, "x", BITNET_GGUF_ARRAY, 2);
        for (int branch = 0; branch < 2; branch++) {
            for (uint32_t d = 2; d < depth; d++) {
                spell_u32(&s, BITNET_GGUF_ARRAY);
                spell_u64(&s, 1);
            }
            spell_u32(&s, branch ? BITNET_GGUF_STRING : BITNET_GGUF_U16);
            spell_u64(&s, 1);
            if (branch)
                spell_text(&s, "leaf");
            else
                spell_raw(&s, "ab", 2);
        }
        spell_key_u32(&s, "behind", 9);
        if (depth == 5) {
            must_refuse(BITNET_LIMIT, "key 'x': arrays nested deeper than 4");
            continue;
        }
        struct bitnet_gguf *gguf = must_open();
        assert_int_equal(find(gguf, "x")->n, 2);
        assert_int_equal(find(gguf, "behind")->u64, 9);
        bitnet_gguf_close(gguf);
    }
}

/* ------------------------------------------------------------------ header */

TEST(names_the_accident_when_it_is_no_gguf)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *words;
    } cases[] = {
        {"", 0, "file is empty"},
        {"GG", 2, "byte 0: file ends inside the header (2 bytes, at least 24 needed)"},
        {"<!DOCTYPE html><html>", 21, "this is a web page"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "Git LFS pointer"},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "only zeros"},
        {"PK\3\4xxxxxxxxxxxxxxxxxxxxx", 25, "ZIP archive"},
        {"\x50\4\0\0\0\0\0\0{\"a\":{}}        ", 24, "safetensors"},
        {"abcdefghijklmnopqrstuvwxyz", 26, "not a GGUF file (starts with 61 62 63 64)"},
        {"GGUF\3\0\0\0\0\0\0\0", 12,
         "byte 8: file ends inside the header (12 bytes, at least 24 needed)"},
        {"GGUF\3\0", 6, "byte 4: file ends inside the header (6 bytes, at least 24 needed)"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        spell_free(&s);
        spell_raw(&s, cases[i].bytes, cases[i].n);
        must_refuse(BITNET_FORMAT, cases[i].words);
    }
}

TEST(refuses_other_versions_by_number)
{
    static const struct {
        uint32_t version;
        const char *words;
    } cases[] = {{0, "GGUF version 0 is not supported (supported: 2, 3)"},
                 {1, "GGUF version 1 is not supported"},
                 {4, "GGUF version 4 is not supported"},
                 {99, "GGUF version 99 is not supported"},
                 {0x03000000, "big-endian GGUF is not supported"},
                 {0x02000000, "big-endian GGUF is not supported"},
                 {0x63000000, "GGUF version 1660944384 is not supported"},
                 {UINT32_MAX, "GGUF version 4294967295 is not supported"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        spell_free(&s);
        spell_header(&s, cases[i].version, 0, 0);
        must_refuse(BITNET_UNSUPPORTED, cases[i].words);
    }
}

TEST(believes_a_count_only_as_far_as_the_file_goes)
{
    spell_header(&s, 3, UINT64_MAX, 0);
    must_refuse(BITNET_FORMAT,
                "tensor count 18446744073709551615 is impossible in a file of 24 bytes");
    spell_free(&s);
    spell_header(&s, 3, 0, 329406144173384851u);
    spell_zeros(&s, 40960);
    must_refuse(BITNET_FORMAT, "key count 329406144173384851 is impossible in a file of 40 KiB");
    spell_free(&s);
    spell_header(&s, 3, 0, 1048577);
    spell_zeros(&s, 14 * 1048577);
    must_refuse(BITNET_LIMIT, "key count 1048577 exceeds the limit 1048576");
    spell_free(&s);
    spell_header(&s, 3, 262145, 0);
    spell_zeros(&s, 24 * 262145);
    must_refuse(BITNET_LIMIT, "tensor count 262145 exceeds the limit 262144");
}

/* ------------------------------------------------------------------ keys and values */

static void begin_keys(uint64_t n)
{
    spell_free(&s);
    spell_header(&s, 3, 0, n);
}

TEST(refuses_bad_key_names)
{
    begin_keys(1);
    spell_u64(&s, UINT64_MAX);
    spell_zeros(&s, 64);
    must_refuse(BITNET_LIMIT,
                "byte 32: key 1: length 18446744073709551615 exceeds the limit 65535");
    begin_keys(1);
    spell_u64(&s, 90);
    spell_zeros(&s, 64);
    must_refuse(BITNET_FORMAT, "key 1: name of 90 bytes runs past the end of the file");
    begin_keys(1);
    spell_key_u32(&s, "", 0);
    must_refuse(BITNET_FORMAT, "key 1: name is empty");
    begin_keys(2);
    spell_key_u32(&s, "good", 0);
    spell_key_u32(&s, "a\x1b[0m", 0);
    must_refuse(BITNET_FORMAT, "key 2: name contains the control character \\x1b");
    begin_keys(1);
    spell_key_u32(&s, "a\xC2\x85", 0);
    must_refuse(BITNET_FORMAT, "control character \\x85");
    begin_keys(1);
    spell_key_u32(&s, "a\xff", 0);
    must_refuse(BITNET_FORMAT, "key 1: name 'a\\xff' is not valid UTF-8");
    begin_keys(2);
    spell_key_u32(&s, "general.name", 0);
    spell_key_text(&s, "general.name", "");
    must_refuse(BITNET_FORMAT, "key 'general.name' appears twice");
}

TEST(a_key_name_may_have_65535_bytes)
{
    char *name = calloc(1, 65537);
    assert_non_null(name);
    memset(name, 'k', 65536);
    begin_keys(1);
    spell_key_u32(&s, name, 1);
    must_refuse(BITNET_LIMIT, "length 65536 exceeds the limit 65535");
    name[65535] = '\0';
    begin_keys(1);
    spell_key_u32(&s, name, 1);
    bitnet_gguf_close(must_open());
    free(name);
}

TEST(refuses_bad_values)
{
    begin_keys(1);
    spell_key(&s, "general.name", (enum bitnet_gguf_type)13);
    spell_zeros(&s, 16);
    must_refuse(BITNET_FORMAT, "key 'general.name': value type 13 does not exist");
    begin_keys(1);
    spell_key(&s, "general.name", BITNET_GGUF_STRING);
    spell_u64(&s, 43936);
    must_refuse(BITNET_FORMAT,
                "key 'general.name': text of 43936 bytes runs past the end of the file");
    begin_keys(1);
    spell_key(&s, "general.name", BITNET_GGUF_STRING);
    spell_u64(&s, (64u << 20) + 1);
    must_refuse(BITNET_LIMIT, "key 'general.name': length 67108865 exceeds the limit 67108864");
    begin_keys(1);
    spell_key(&s, "flag", BITNET_GGUF_BOOL);
    spell_raw(&s, "\2", 1);
    must_refuse(BITNET_FORMAT, "key 'flag': boolean is 2 (allowed 0, 1)");
    begin_keys(1);
    spell_key(&s, "n", BITNET_GGUF_U64);
    spell_u32(&s, 0);
    must_refuse(BITNET_FORMAT, "file ends inside key 'n'");
}

TEST(refuses_bad_arrays)
{
    begin_keys(1);
    spell_key_array(&s, "a", (enum bitnet_gguf_type)14, 1);
    spell_zeros(&s, 64);
    must_refuse(BITNET_FORMAT, "key 'a': array element type 14 does not exist");
    begin_keys(1);
    spell_key_array(&s, "a", BITNET_GGUF_U64, 2305843009213693953u);
    spell_zeros(&s, 64);
    must_refuse(BITNET_FORMAT,
                "key 'a': 2305843009213693953 elements do not fit in the remaining 64 bytes");
    begin_keys(1);
    spell_key_array(&s, "a", BITNET_GGUF_STRING, 9);
    spell_zeros(&s, 64);
    must_refuse(BITNET_FORMAT, "key 'a': 9 elements do not fit in the remaining 64 bytes");
    begin_keys(1);
    spell_key_array(&s, "a", BITNET_GGUF_STRING, 2);
    spell_text(&s, "one");
    spell_u64(&s, 1000);
    must_refuse(BITNET_FORMAT, "key 'a': text of 1000 bytes runs past the end of the file");
    begin_keys(1);
    spell_key_array(&s, "a", BITNET_GGUF_BOOL, 3);
    spell_raw(&s, "\0\1\xff", 3);
    must_refuse(BITNET_FORMAT, "key 'a': boolean is 255 (allowed 0, 1)");
    begin_keys(1);
    spell_key_array(&s, "a", BITNET_GGUF_ARRAY, UINT64_C(1) << 40);
    spell_zeros(&s, 1024);
    must_refuse(BITNET_FORMAT, "key 'a': 1099511627776 elements do not fit");
}

TEST(the_alignment_is_a_u32_and_a_power_of_two_up_to_65536)
{
    static const uint32_t bad[] = {0, 3, 7, 24, 33, 48, 131072, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < COUNT(bad); i++) {
        begin_keys(1);
        spell_key_u32(&s, "general.alignment", bad[i]);
        must_refuse(BITNET_FORMAT, "is not a power of two from 1 to 65536");
    }
    for (uint32_t alignment = 1; alignment <= 65536; alignment *= 2) {
        begin_keys(1);
        spell_key_u32(&s, "general.alignment", alignment);
        struct bitnet_gguf *gguf = must_open();
        assert_int_equal(bitnet_gguf_alignment(gguf), alignment);
        bitnet_gguf_close(gguf);
    }
    begin_keys(1);
    spell_key_text(&s, "general.alignment", "32");
    must_refuse(BITNET_FORMAT, "key 'general.alignment': expected u32, found string");
    begin_keys(1);
    spell_key_i32(&s, "general.alignment", 32);
    must_refuse(BITNET_FORMAT, "key 'general.alignment': expected u32, found i32");
}

/* ------------------------------------------------------------------ tensors */

static void one_tensor(const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                       uint64_t offset, size_t data_bytes)
{
    spell_free(&s);
    spell_header(&s, 3, 1, 0);
    spell_tensor(&s, name, n_dims, dims, type, offset);
    spell_pad(&s, 32);
    spell_zeros(&s, data_bytes);
}

#define DIMS(...)                                                                                  \
    (const uint64_t[])                                                                             \
    {                                                                                              \
        __VA_ARGS__, 1, 1, 1, 1, 1                                                                 \
    }

TEST(refuses_bad_tensor_infos)
{
    static const uint64_t big = UINT64_C(1) << 32;
    char name[300] = {0};
    memset(name, 'n', 256);
    one_tensor(name, 1, DIMS(8), 0, 0, 32);
    must_refuse(BITNET_LIMIT, "tensor 1: length 256 exceeds the limit 255");
    name[255] = '\0';
    one_tensor(name, 1, DIMS(8), 0, 0, 32);
    bitnet_gguf_close(must_open());
    one_tensor("", 1, DIMS(8), 0, 0, 32);
    must_refuse(BITNET_FORMAT, "tensor 1: name is empty");
    one_tensor("t\n", 1, DIMS(8), 0, 0, 32);
    must_refuse(BITNET_FORMAT, "tensor 1: name contains the control character \\x0a");
    one_tensor("t", 0, DIMS(8), 0, 0, 32);
    must_refuse(BITNET_FORMAT, "tensor 't': 0 dimensions (allowed 1 to 4)");
    one_tensor("t", 5, DIMS(8), 0, 0, 32);
    must_refuse(BITNET_FORMAT, "tensor 't': 5 dimensions (allowed 1 to 4)");
    one_tensor("t", 2, DIMS(8, 0), 0, 0, 32);
    must_refuse(BITNET_FORMAT, "tensor 't': dimension 1 is zero");
    one_tensor("t", 2, DIMS(big, big), 0, 0, 32);
    must_refuse(BITNET_LIMIT, "tensor 't': shape 4294967296 x 4294967296 is too large");
    one_tensor("t", 2, DIMS(UINT64_C(1) << 60, 32), 2, 0, 32);
    must_refuse(BITNET_LIMIT, "tensor 't': shape 1152921504606846976 x 32 is too large");
    one_tensor("t", 2, DIMS(31, 2), 2, 0, 64);
    must_refuse(BITNET_FORMAT, "tensor 't': rows of 31 elements, but Q4_0 needs a multiple of 32");
    one_tensor("t", 1, DIMS(8), 1000, 0, 32);
    must_refuse(BITNET_UNSUPPORTED, "tensor 't': type 1000 is not known");
}

TEST(refuses_tensors_that_are_not_in_the_file)
{
    one_tensor("t", 1, DIMS(8), 0, 1, 64);
    must_refuse(BITNET_FORMAT, "tensor 't': offset 1 is not a multiple of 32");
    one_tensor("t", 1, DIMS(8), 0, UINT64_MAX - 31, 64);
    must_refuse(BITNET_FORMAT, "tensor 't': data lies outside the file");
    one_tensor("t", 1, DIMS(8), 0, 64, 64);
    must_refuse(BITNET_FORMAT, "tensor 't': data ends at byte 160 but the file has 128 bytes");
    one_tensor("t", 1, DIMS(17), 0, 0, 67);
    must_refuse(BITNET_FORMAT, "tensor 't': data ends at byte 132 but the file has 131 bytes");
    one_tensor("t", 1, DIMS(17), 0, 0, 68);
    bitnet_gguf_close(must_open()); /* the last tensor needs no padding */
    one_tensor("t", 1, DIMS(UINT64_C(1) << 62), 0, 0, 64);
    must_refuse(BITNET_LIMIT, "is too large");

    struct bitnet_gguf *gguf;
    struct bitnet_error err;
    one_tensor("t", 1, DIMS(1000), 0, 0, 64);
    assert_int_equal(open_it(&gguf, &err), BITNET_FORMAT);
    assert_text_has(err.hint, "incomplete download");
}

static void two_tensors(const char *a, const char *b, uint64_t offset_a, uint64_t offset_b)
{
    spell_free(&s);
    spell_header(&s, 3, 2, 0);
    spell_tensor(&s, a, 1, DIMS(16), 0, offset_a);
    spell_tensor(&s, b, 1, DIMS(16), 0, offset_b);
    spell_pad(&s, 32);
    spell_zeros(&s, 256);
}

TEST(refuses_tensors_that_share_bytes_or_a_name)
{
    two_tensors("a", "b", 0, 0);
    must_refuse(BITNET_FORMAT, "tensors 'a' and 'b' overlap");
    two_tensors("a", "b", 0, 32);
    must_refuse(BITNET_FORMAT, "tensors 'a' and 'b' overlap");
    two_tensors("a", "b", 96, 64);
    must_refuse(BITNET_FORMAT, "tensors 'b' and 'a' overlap");
    two_tensors("a", "a", 0, 64);
    must_refuse(BITNET_FORMAT, "tensor 'a' appears twice");
    two_tensors("a", "b", 128, 0); /* another order, with a gap */
    bitnet_gguf_close(must_open());
}

/* ------------------------------------------------------------------ everywhere */

/* Touches every byte that the handle gives out. */
static uint64_t walk(const struct bitnet_gguf *gguf)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(gguf, i);
        assert_ptr_equal(bitnet_gguf_find(gguf, pair->key), &pair->value);
        if (pair->value.type != BITNET_GGUF_ARRAY || pair->value.element == BITNET_GGUF_ARRAY)
            continue;
        for (size_t k = 0; k < pair->value.n; k++)
            sum += bitnet_gguf_element(&pair->value, k).text.n;
    }
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++) {
        struct bitnet_bytes data = bitnet_gguf_tensor_at(gguf, i)->data;
        for (size_t k = 0; k < data.n; k++) sum += data.at[k];
    }
    return sum;
}

TEST(a_file_cut_anywhere_is_refused_or_lacks_only_padding)
{
    spell_sample(&s);
    uint8_t *whole = s.at;
    size_t n = s.n, n_needed = s.n - (160 - 128 - 24);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *part = malloc(cut ? cut : 1); /* its own block, so that a sanitizer sees its end */
        struct bitnet_gguf *gguf;
        struct bitnet_error err = {0};
        assert_non_null(part);
        memcpy(part, whole, cut);
        enum bitnet_status status =
            bitnet_gguf_open_mem(&gguf, (struct bitnet_bytes){part, cut}, NULL, &err);
        assert_int_equal(!status, cut >= n_needed);
        if (status) assert_true(err.text[0] && status == BITNET_FORMAT);
        bitnet_gguf_close(gguf);
        free(part);
    }
}

static uint64_t random_state = 20240817;

static uint32_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

TEST(random_damage_is_refused_or_harmless)
{
    spell_sample(&s);
    uint8_t *copy = malloc(s.n);
    uint64_t touched = 0;
    size_t n_opened = 0;
    assert_non_null(copy);
    for (int round = 0; round < 20000; round++) {
        memcpy(copy, s.at, s.n);
        for (uint32_t k = 1 + next_random() % 4; k > 0; k--)
            copy[next_random() % (s.n - 160)] = (uint8_t)next_random();
        struct bitnet_gguf *gguf;
        struct bitnet_error err = {0};
        enum bitnet_status status =
            bitnet_gguf_open_mem(&gguf, (struct bitnet_bytes){copy, s.n}, NULL, &err);
        if (!status) {
            n_opened++;
            touched += walk(gguf);
            bitnet_gguf_validate(gguf, BITNET_GGUF_LEVEL_MODEL, NULL, &err);
            bitnet_gguf_close(gguf);
        } else {
            assert_true(err.text[0] != '\0');
        }
    }
    assert_in_range(n_opened, 1, 19999); /* both sides were seen */
    assert_true(touched > 0);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(opens_a_file_with_nothing_in_it, forget),
        cmocka_unit_test_teardown(opens_version_2, forget),
        cmocka_unit_test_teardown(reads_every_value_type_and_every_tensor, forget),
        cmocka_unit_test_teardown(reads_the_same_from_a_file, forget),
        cmocka_unit_test_teardown(errors_begin_with_the_path, forget),
        cmocka_unit_test_teardown(reads_metadata_of_many_mebibytes, forget),
        cmocka_unit_test_teardown(an_array_of_arrays_is_passed_over_up_to_four_deep, forget),
        cmocka_unit_test_teardown(names_the_accident_when_it_is_no_gguf, forget),
        cmocka_unit_test_teardown(refuses_other_versions_by_number, forget),
        cmocka_unit_test_teardown(believes_a_count_only_as_far_as_the_file_goes, forget),
        cmocka_unit_test_teardown(refuses_bad_key_names, forget),
        cmocka_unit_test_teardown(a_key_name_may_have_65535_bytes, forget),
        cmocka_unit_test_teardown(refuses_bad_values, forget),
        cmocka_unit_test_teardown(refuses_bad_arrays, forget),
        cmocka_unit_test_teardown(the_alignment_is_a_u32_and_a_power_of_two_up_to_65536, forget),
        cmocka_unit_test_teardown(refuses_bad_tensor_infos, forget),
        cmocka_unit_test_teardown(refuses_tensors_that_are_not_in_the_file, forget),
        cmocka_unit_test_teardown(refuses_tensors_that_share_bytes_or_a_name, forget),
        cmocka_unit_test_teardown(a_file_cut_anywhere_is_refused_or_lacks_only_padding, forget),
        cmocka_unit_test_teardown(random_damage_is_refused_or_harmless, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
