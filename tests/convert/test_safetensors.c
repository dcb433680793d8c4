/* safetensors.c: what a header may say, and every way in which it may lie. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>

#include "bitnet/alloc.h"
#include "bitnet/arena.h"
#include "safetensors.h"
#include "temp_dir.h"

static struct temp_dir dir;
static struct bitnet_arena arena;
static struct bitnet_file file;
static struct st_list list;
static struct bitnet_error err;

/* Reads a file of this header (its own length unless given) and n data bytes. */
static enum bitnet_status read_with_length(const char *header, size_t n_header, uint64_t length,
                                           size_t n_data)
{
    uint8_t *bytes = calloc(8 + n_header + n_data, 1);
    bitnet_store_u64(bytes, length);
    memcpy(bytes + 8, header, n_header);
    for (size_t i = 0; i < n_data; i++) bytes[8 + n_header + i] = (uint8_t)i;
    temp_dir_write(&dir, "x.safetensors", bytes, 8 + n_header + n_data);
    free(bytes);
    bitnet_file_close(&file);
    bitnet_arena_free(&arena);
    err = (struct bitnet_error){0};
    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "x.safetensors"), &err), 0);
    return st_read(&list, &file, &arena, &err);
}

static enum bitnet_status read_header(const char *header, size_t n_data)
{
    return read_with_length(header, strlen(header), strlen(header), n_data);
}

#define REFUSES(status, header, n_data, words)                                                     \
    do {                                                                                           \
        assert_int_equal(read_header(header, n_data), status);                                     \
        assert_text_has(err.text, words);                                                          \
        assert_null(list.at);                                                                      \
    } while (0)

TEST(lists_tensors_in_the_order_of_their_bytes)
{
    assert_int_equal(
        read_header("{\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
                    "\"__metadata__\":{\"format\":\"pt\"},"
                    "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}   ",
                    16),
        BITNET_OK);
    assert_int_equal(list.n, 2);
    assert_true(bitnet_str_is(list.at[0].name, "a"));
    assert_int_equal(list.at[0].n_dims, 0);
    assert_int_equal(list.at[0].data.n, 4);
    assert_true(bitnet_str_is(list.at[1].name, "b"));
    assert_int_equal(list.at[1].dtype->kind, ST_BF16);
    assert_int_equal(list.at[1].n_dims, 2);
    assert_int_equal(list.at[1].dims[0], 2);
    assert_int_equal(list.at[1].dims[1], 3);
    assert_int_equal(list.at[1].data.at[0], 4);
    assert_int_equal(list.at[1].data.n, 12);
}

TEST(knows_every_dtype_of_the_format_and_its_width)
{
    static const struct {
        const char *name;
        unsigned bits;
    } all[] = {{"F64", 64},    {"F32", 32}, {"F16", 16},        {"BF16", 16},       {"I64", 64},
               {"I32", 32},    {"I16", 16}, {"I8", 8},          {"U64", 64},        {"U32", 32},
               {"U16", 16},    {"U8", 8},   {"BOOL", 8},        {"F8_E4M3", 8},     {"F8_E5M2", 8},
               {"F8_E8M0", 8}, {"C64", 64}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6},
               {"F6_E3M2", 6}, {"F4", 4}};
    for (size_t i = 0; i < COUNT(all); i++) {
        char header[200];
        snprintf(header, sizeof header,
                 "{\"x\":{\"dtype\":\"%s\",\"shape\":[8],\"data_offsets\":[0,%u]}}", all[i].name,
                 all[i].bits);
        assert_int_equal(read_header(header, all[i].bits), BITNET_OK);
        assert_int_equal(list.at[0].dtype->bits, all[i].bits);
    }
    REFUSES(BITNET_FORMAT, "{\"x\":{\"dtype\":\"F33\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
            "tensor 'x': dtype 'F33' is not known");
    REFUSES(BITNET_FORMAT, "{\"x\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
            "do not fill whole bytes");
}

TEST(accepts_empty_tensors_and_an_empty_list)
{
    assert_int_equal(read_header("{}", 0), BITNET_OK);
    assert_int_equal(list.n, 0);
    assert_int_equal(
        read_header("{\"x\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[0,0]},"
                    "\"y\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                    4),
        BITNET_OK);
    assert_int_equal(list.n, 2);
}

TEST(refuses_a_length_that_lies)
{
    assert_int_equal(read_with_length("{}", 2, UINT64_MAX, 0), BITNET_LIMIT);
    assert_text_has(err.text, "18446744073709551615 exceeds the limit 100000000");
    assert_int_equal(read_with_length("{}", 2, 100000001, 0), BITNET_LIMIT);
    assert_int_equal(read_with_length("{}", 2, 3, 0), BITNET_FORMAT);
    assert_text_has(err.text, "header of 3 bytes announced, 2 present");
    assert_int_equal(read_with_length("{}", 2, 1, 0), BITNET_FORMAT);
    assert_int_equal(read_with_length("", 0, 0, 0), BITNET_FORMAT);
}

TEST(names_the_common_accidents)
{
    static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    static const char html[] = "<!DOCTYPE html><html><head><title>404</title></head></html>";
    temp_dir_write(&dir, "lfs", lfs, sizeof lfs - 1);
    temp_dir_write(&dir, "html", html, sizeof html - 1);
    temp_dir_write(&dir, "empty", "", 0);
    static const char *const expect[3][2] = {
        {"lfs", "Git LFS pointer"}, {"html", "web page"}, {"empty", "file is empty"}};
    for (size_t i = 0; i < 3; i++) {
        bitnet_file_close(&file);
        assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, expect[i][0]), &err), 0);
        assert_int_not_equal(st_read(&list, &file, &arena, &err), BITNET_OK);
        assert_text_has(err.text, expect[i][1]);
    }
}

TEST(refuses_anything_around_the_object_but_spaces_behind_it)
{
    REFUSES(BITNET_FORMAT, " {}", 0, "must begin with '{'");
    REFUSES(BITNET_FORMAT, "[1]", 0, "must begin with '{'");
    REFUSES(BITNET_FORMAT, "{}\n", 0, "must end with '}' and spaces");
    REFUSES(BITNET_FORMAT, "{}x", 0, "must end with '}' and spaces");
    REFUSES(BITNET_FORMAT, "{}{}", 0, "header");
    assert_int_equal(read_with_length("{}\0", 3, 3, 0), BITNET_FORMAT);
    assert_int_equal(read_header("{}      ", 0), BITNET_OK);
}

TEST(refuses_names_that_are_empty_long_or_hold_control_characters)
{
    char header[2200], name[1100];
    memset(name, 'n', sizeof name);
    name[1025] = '\0';
    REFUSES(BITNET_FORMAT, "{\"\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
            "empty");
    REFUSES(BITNET_FORMAT,
            "{\"a\\u001b[1m\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
            "control character");
    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", name);
    REFUSES(BITNET_LIMIT, header, 1, "name of 1025 bytes (limit 1024)");
    name[1024] = '\0';
    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", name);
    assert_int_equal(read_header(header, 1), BITNET_OK);
}

TEST(refuses_a_name_or_field_that_appears_twice)
{
#define X "{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}"
    REFUSES(BITNET_FORMAT, "{\"a\":" X ",\"a\":" X "}", 1, "twice");
    REFUSES(BITNET_FORMAT, "{\"a\":" X ",\"\\u0061\":" X "}", 1, "twice");
    REFUSES(BITNET_FORMAT,
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"shape\":[],\"data_offsets\":[0,1]}}", 1,
            "twice");
#undef X
}

TEST(refuses_shapes_that_no_memory_could_hold)
{
    REFUSES(BITNET_FORMAT,
            "{\"x\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
            0, "shape 4294967296 x 4294967296 is too large");
    REFUSES(BITNET_FORMAT,
            "{\"x\":{\"dtype\":\"U8\",\"shape\":[4611686018427387904,4,0],\"data_offsets\":[0,0]}}",
            0, "too large");
    REFUSES(BITNET_FORMAT,
            "{\"x\":{\"dtype\":\"U8\",\"shape\":[0,4611686018427387904,4],\"data_offsets\":[0,0]}}",
            0, "too large");
    REFUSES(BITNET_FORMAT,
            "{\"x\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
            "too large");
    REFUSES(BITNET_FORMAT, "{\"x\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1,
            "dimension 0");
    REFUSES(BITNET_FORMAT, "{\"x\":{\"dtype\":\"U8\",\"shape\":[1.5],\"data_offsets\":[0,1]}}", 1,
            "dimension 0");
    REFUSES(BITNET_FORMAT, "{\"x\":{\"dtype\":\"U8\",\"shape\":3,\"data_offsets\":[0,1]}}", 1,
            "'shape' is not a list");
}

TEST(refuses_more_than_64_dimensions)
{
    char header[600] = "{\"x\":{\"dtype\":\"U8\",\"shape\":[1";
    for (int i = 1; i < 64; i++) strcat(header, ",1");
    char more[700];
    snprintf(more, sizeof more, "%s,1],\"data_offsets\":[0,1]}}", header);
    strcat(header, "],\"data_offsets\":[0,1]}}");
    assert_int_equal(read_header(header, 1), BITNET_OK);
    assert_int_equal(list.at[0].n_dims, 64);
    REFUSES(BITNET_LIMIT, more, 1, "65 dimensions (allowed 0 to 64)");
}

TEST(refuses_offsets_that_do_not_fit_the_shape_or_the_file)
{
#define X(offsets) "{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" offsets "}}"
    REFUSES(BITNET_FORMAT, X("[4,0]"), 4, "data ends (0) before it begins (4)");
    REFUSES(BITNET_FORMAT, X("[0,3]"), 4, "needs 4 bytes, its offsets span 3");
    REFUSES(BITNET_FORMAT, X("[0,4]"), 3, "data ends at byte 4 but only 3 bytes are present");
    assert_text_has(err.hint, "incomplete download");
    REFUSES(BITNET_FORMAT, X("[18446744073709551612,18446744073709551616]"), 4, "whole numbers");
    REFUSES(BITNET_FORMAT, X("[18446744073709551611,18446744073709551615]"), 4, "only 4 bytes");
    REFUSES(BITNET_FORMAT, X("[0]"), 4, "has 1 numbers, not 2");
    REFUSES(BITNET_FORMAT, X("[-4,0]"), 4, "whole numbers");
#undef X
}

TEST(refuses_bytes_that_belong_to_nobody_or_to_two)
{
#define X(name, from, to)                                                                          \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[" #from "," #to "]}"
    REFUSES(BITNET_FORMAT, "{" X("a", 0, 4) "," X("b", 2, 6) "}", 6, "tensors 'a' and 'b' overlap");
    REFUSES(BITNET_FORMAT, "{" X("a", 0, 4) "," X("b", 0, 4) "}", 4, "overlap");
    REFUSES(BITNET_FORMAT, "{" X("a", 0, 4) "," X("b", 6, 10) "}", 10,
            "bytes 4 to 5 of the data belong to no tensor");
    REFUSES(BITNET_FORMAT, "{" X("a", 1, 5) "}", 5, "bytes 0 to 0");
    REFUSES(BITNET_FORMAT, "{" X("a", 0, 4) "}", 9, "5 bytes after the last tensor");
#undef X
}

TEST(refuses_metadata_that_is_not_text)
{
    REFUSES(BITNET_FORMAT, "{\"__metadata__\":[]}", 0, "__metadata__ is not an object");
    REFUSES(BITNET_FORMAT, "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ 'a' is not text");
    REFUSES(BITNET_FORMAT, "{\"__metadata__\":{\"a\":null}}", 0, "__metadata__ 'a' is not text");
    assert_int_equal(read_header("{\"__metadata__\":{\"a\":\"\"}}", 0), BITNET_OK);
}

TEST(refuses_entries_that_are_incomplete)
{
    REFUSES(BITNET_FORMAT, "{\"x\":null}", 0, "its entry is not an object");
    REFUSES(BITNET_FORMAT, "{\"x\":{\"shape\":[],\"data_offsets\":[0,1]}}", 1,
            "'dtype' is missing");
    REFUSES(BITNET_FORMAT, "{\"x\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1,
            "'shape' is missing");
    REFUSES(BITNET_FORMAT, "{\"x\":{\"dtype\":\"U8\",\"shape\":[]}}", 1,
            "'data_offsets' is missing");
    REFUSES(BITNET_FORMAT, "{\"x\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,1]}}", 1,
            "'dtype' is not text");
}

TEST(survives_the_failure_of_each_allocation)
{
    static const char header[] =
        "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}";
    assert_int_equal(read_header(header, 16), BITNET_OK);
    enum bitnet_status status = BITNET_MEMORY;
    for (long n = 0; status; n++) {
        bitnet_arena_free(&arena);
        long live = bitnet_alloc_live();
        bitnet_alloc_fail_at(n);
        status = st_read(&list, &file, &arena, &err);
        bool was_hit = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        assert_int_equal(status, was_hit ? BITNET_MEMORY : BITNET_OK);
        bitnet_arena_free(&arena);
        assert_int_equal(bitnet_alloc_live(), live);
        assert_true(n < 1000);
    }
}

static int begin(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    file.fd = -1;
    return 0;
}

static int end(void **state)
{
    (void)state;
    bitnet_file_close(&file);
    bitnet_arena_free(&arena);
    temp_dir_remove(&dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_tensors_in_the_order_of_their_bytes),
        cmocka_unit_test(knows_every_dtype_of_the_format_and_its_width),
        cmocka_unit_test(accepts_empty_tensors_and_an_empty_list),
        cmocka_unit_test(refuses_a_length_that_lies),
        cmocka_unit_test(names_the_common_accidents),
        cmocka_unit_test(refuses_anything_around_the_object_but_spaces_behind_it),
        cmocka_unit_test(refuses_names_that_are_empty_long_or_hold_control_characters),
        cmocka_unit_test(refuses_a_name_or_field_that_appears_twice),
        cmocka_unit_test(refuses_shapes_that_no_memory_could_hold),
        cmocka_unit_test(refuses_more_than_64_dimensions),
        cmocka_unit_test(refuses_offsets_that_do_not_fit_the_shape_or_the_file),
        cmocka_unit_test(refuses_bytes_that_belong_to_nobody_or_to_two),
        cmocka_unit_test(refuses_metadata_that_is_not_text),
        cmocka_unit_test(refuses_entries_that_are_incomplete),
        cmocka_unit_test(survives_the_failure_of_each_allocation),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
