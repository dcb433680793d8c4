/* gguf/writer.c: what the reader finds is what was put, of every type and in every dialect; and a
 * writer that was used wrongly, or failed, leaves nothing behind. */
#include "cm.h"

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/gguf.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "faulty_io.h"
#include "temp_dir.h"

static struct temp_dir dir;
static struct bitnet_error err;
static struct bitnet_gguf_writer *writer;

static int make_dir(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    err = (struct bitnet_error){0};
    writer = NULL;
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static const char *path(void)
{
    return temp_dir_file(&dir, "out.gguf");
}

static void begin(const struct bitnet_gguf_writer_options *options)
{
    MUST(bitnet_gguf_writer_new(&writer, path(), options, &err));
}

static struct bitnet_gguf *reopen(void)
{
    struct bitnet_gguf *gguf;
    MUST(bitnet_gguf_open(&gguf, path(), NULL, &err));
    return gguf;
}

static const struct bitnet_gguf_value *find(const struct bitnet_gguf *gguf, const char *key)
{
    const struct bitnet_gguf_value *value = bitnet_gguf_find(gguf, bitnet_str_of(key));
    assert_non_null(value);
    return value;
}

static void put_everything(void)
{
    static const int16_t i16[2] = {-2, 300};
    const struct bitnet_str words[3] = {BITNET_STR("a"), BITNET_STR(""), BITNET_STR("z\0z")};
    bitnet_gguf_put_str(writer, "general.architecture", BITNET_STR("llama"));
    bitnet_gguf_put_u8(writer, "u8", 200);
    bitnet_gguf_put_u16(writer, "u16", 65000);
    bitnet_gguf_put_u32(writer, "u32", 4000000000u);
    bitnet_gguf_put_i32(writer, "i32", -2000000000);
    bitnet_gguf_put_u64(writer, "u64", UINT64_MAX - 1);
    bitnet_gguf_put_f32(writer, "f32", 0.1f);
    bitnet_gguf_put_bool(writer, "yes", true);
    bitnet_gguf_put_bool(writer, "no", false);
    bitnet_gguf_put_strings(writer, "words", words, 3);
    bitnet_gguf_put_strings(writer, "no words", NULL, 0);
    bitnet_gguf_put_array(writer, "i16s", BITNET_GGUF_I16, i16, 2);
}

static void check_everything(const struct bitnet_gguf *gguf)
{
    assert_int_equal(bitnet_gguf_version(gguf), 3);
    assert_true(bitnet_str_is(bitnet_gguf_pair_at(gguf, 1)->key, "u8"));
    assert_int_equal(find(gguf, "u8")->u64, 200);
    assert_int_equal(find(gguf, "u16")->u64, 65000);
    assert_int_equal(find(gguf, "u32")->u64, 4000000000u);
    assert_true(find(gguf, "i32")->i64 == -2000000000);
    assert_true(find(gguf, "u64")->u64 == UINT64_MAX - 1);
    assert_true(find(gguf, "f32")->f64 == (double)0.1f);
    assert_true(find(gguf, "yes")->boolean && !find(gguf, "no")->boolean);
    assert_int_equal(find(gguf, "words")->n, 3);
    assert_true(bitnet_str_equal(find(gguf, "words")->strings[2], BITNET_STR("z\0z")));
    assert_int_equal(find(gguf, "no words")->n, 0);
    assert_true(bitnet_gguf_element(find(gguf, "i16s"), 0).i64 == -2);
}

TEST(every_value_comes_back)
{
    begin(NULL);
    put_everything();
    MUST(bitnet_gguf_begin(writer, &err));
    MUST(bitnet_gguf_finish(writer, &err));
    struct bitnet_gguf *gguf = reopen();
    check_everything(gguf);
    assert_int_equal(bitnet_gguf_pair_count(gguf), 12);
    bitnet_gguf_close(gguf);
    assert_int_equal(temp_dir_count(&dir), 1);
}

/* Values that a reader returned are written as they were. */
TEST(values_are_copied_from_file_to_file)
{
    begin(NULL);
    put_everything();
    const struct bitnet_gguf_value more[] = {
        {.type = BITNET_GGUF_I8, .i64 = -7},
        {.type = BITNET_GGUF_I16, .i64 = -30000},
        {.type = BITNET_GGUF_I64, .i64 = INT64_MIN},
        {.type = BITNET_GGUF_F64, .f64 = 1.0 / 3},
        {.type = BITNET_GGUF_STRING, .text = BITNET_STR("text")},
    };
    static const char *const names[] = {"i8", "i16", "i64", "f64", "text"};
    for (size_t i = 0; i < COUNT(more); i++)
        bitnet_gguf_put_value(writer, bitnet_str_of(names[i]), &more[i]);
    MUST(bitnet_gguf_begin(writer, &err));
    MUST(bitnet_gguf_finish(writer, &err));
    struct bitnet_gguf *first = reopen();

    MUST(bitnet_gguf_writer_new(&writer, temp_dir_file(&dir, "copy.gguf"), NULL, &err));
    for (size_t i = 0; i < bitnet_gguf_pair_count(first); i++)
        bitnet_gguf_put_value(writer, bitnet_gguf_pair_at(first, i)->key,
                              &bitnet_gguf_pair_at(first, i)->value);
    MUST(bitnet_gguf_begin(writer, &err));
    MUST(bitnet_gguf_finish(writer, &err));

    struct bitnet_str a, b;
    MUST(bitnet_read_file(path(), 1 << 20, &a, &err));
    MUST(bitnet_read_file(temp_dir_file(&dir, "copy.gguf"), 1 << 20, &b, &err));
    assert_true(bitnet_str_equal(a, b));
    assert_true(find(first, "i64")->i64 == INT64_MIN && find(first, "i8")->i64 == -7);
    bitnet_free((void *)a.at);
    bitnet_free((void *)b.at);
    bitnet_gguf_close(first);
}

static void write_pattern(size_t n, uint8_t seed)
{
    uint8_t byte[1000];
    for (size_t at = 0; at < n;) {
        size_t step = n - at < 977 ? n - at : 977;
        for (size_t i = 0; i < step; i++) byte[i] = (uint8_t)(seed + 31 * (at + i));
        MUST(bitnet_gguf_tensor_write(writer, byte, step, &err));
        at += step;
    }
}

static void check_pattern(struct bitnet_bytes data, uint8_t seed)
{
    for (size_t i = 0; i < data.n; i++)
        if (data.at[i] != (uint8_t)(seed + 31 * i)) fail_msg("byte %zu differs", i);
}

/* All types of one dialect in one file. */
static void round_trip(enum bitnet_dialect dialect, uint32_t alignment)
{
    static const uint64_t dims[2] = {512, 96};
    enum bitnet_dtype types[BITNET_DTYPE_COUNT];
    char name[32];
    size_t n = 0;
    begin(&(struct bitnet_gguf_writer_options){
        .alignment = alignment, .dialect = dialect, .overwrite = true});
    for (unsigned t = 0; t < BITNET_DTYPE_COUNT; t++) {
        const struct bitnet_dtype_info *info = bitnet_dtype_info((enum bitnet_dtype)t);
        snprintf(name, sizeof name, "t.%s", info->name);
        enum bitnet_status status = bitnet_gguf_tensor_declare(writer, bitnet_str_of(name),
                                                               (enum bitnet_dtype)t, dims, 2, &err);
        if (info->type_number[dialect] == BITNET_NO_NUMBER) {
            assert_int_equal(status, BITNET_UNSUPPORTED);
            assert_text_has(err.text, "does not exist in the dialect");
        } else {
            MUST(status);
            types[n++] = (enum bitnet_dtype)t;
        }
    }
    uint64_t expected_bytes = bitnet_gguf_writer_bytes(writer), n_bytes = 0;
    MUST(bitnet_gguf_begin(writer, &err));
    for (size_t i = 0; i < n; i++) {
        MUST(bitnet_tensor_bytes(types[i], dims, 2, &n_bytes, &err));
        write_pattern((size_t)n_bytes, (uint8_t)i);
    }
    struct bitnet_gguf *gguf;
    MUST(bitnet_gguf_writer_reopen(writer, &gguf, &err)); /* before anybody else can see it */
    check_pattern(bitnet_gguf_tensor_at(gguf, n - 1)->data, (uint8_t)(n - 1));
    bitnet_gguf_close(gguf);
    MUST(bitnet_gguf_finish(writer, &err));

    MUST(bitnet_gguf_open(
        &gguf, path(), &(struct bitnet_gguf_options){.dialect_is_given = true, .dialect = dialect},
        &err));
    assert_int_equal(bitnet_gguf_file_bytes(gguf), expected_bytes);
    assert_int_equal(expected_bytes % alignment, 0); /* the last padding is there */
    assert_int_equal(bitnet_gguf_alignment(gguf), alignment);
    assert_int_equal(bitnet_gguf_tensor_count(gguf), n);
    uint64_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        const struct bitnet_tensor *tensor = bitnet_gguf_tensor_at(gguf, i);
        assert_int_equal(tensor->type, types[i]);
        assert_int_equal(tensor->offset, offset); /* sequential, as ggml wants it */
        check_pattern(tensor->data, (uint8_t)i);
        offset = (offset + tensor->data.n + alignment - 1) / alignment * alignment;
    }
    bitnet_gguf_close(gguf);
}

TEST(every_type_of_every_dialect_comes_back)
{
    for (unsigned d = 0; d < BITNET_DIALECT_COUNT; d++) {
        round_trip((enum bitnet_dialect)d, 32);
        round_trip((enum bitnet_dialect)d, 64);
        round_trip((enum bitnet_dialect)d, 1);
        round_trip((enum bitnet_dialect)d, 65536);
    }
}

TEST(a_bad_alignment_is_a_wrong_call)
{
    static const uint32_t bad[] = {3, 48, 131072};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(
            bitnet_gguf_writer_new(&writer, path(),
                                   &(struct bitnet_gguf_writer_options){.alignment = bad[i]}, &err),
            BITNET_USAGE);
        assert_null(writer);
    }
}

/* The first failure of a row of puts is what begin says; then nothing was created. */
static void begin_fails(enum bitnet_status status, const char *words)
{
    bitnet_gguf_put_u32(writer, "later", 1);
    assert_int_equal(bitnet_gguf_begin(writer, &err), status);
    assert_text_has(err.text, words);
    assert_int_equal(temp_dir_count(&dir), 0);
    bitnet_gguf_abort(writer);
}

TEST(wrong_keys_are_told_at_begin)
{
    begin(NULL);
    bitnet_gguf_put_u32(writer, "twice", 1);
    bitnet_gguf_put_bool(writer, "twice", true);
    begin_fails(BITNET_FORMAT, "key 'twice' appears twice");
    begin(NULL);
    bitnet_gguf_put_u32(writer, "", 1);
    begin_fails(BITNET_FORMAT, "name is empty");
    begin(NULL);
    bitnet_gguf_put_u32(writer, "a\tb", 1);
    begin_fails(BITNET_FORMAT, "control character \\x09");
    begin(NULL);
    bitnet_gguf_put_value(
        writer, BITNET_STR("nested"),
        &(struct bitnet_gguf_value){.type = BITNET_GGUF_ARRAY, .element = BITNET_GGUF_ARRAY});
    begin_fails(BITNET_UNSUPPORTED, "key 'nested': arrays of arrays are not written");
    begin(&(struct bitnet_gguf_writer_options){.alignment = 64});
    bitnet_gguf_put_u32(writer, "general.alignment", 32);
    begin_fails(BITNET_FORMAT, "key 'general.alignment': 32, but the file is aligned to 64");
    begin(NULL);
    bitnet_gguf_put_u16(writer, "general.alignment", 32);
    begin_fails(BITNET_FORMAT, "key 'general.alignment': expected u32, found u16");
}

TEST(wrong_tensors_are_told_at_once)
{
    static const uint64_t dims[4] = {31, 1, 1, 1}, huge[2] = {UINT64_C(1) << 61, 2};
    char name[65] = {0};
    memset(name, 'n', 64);
    begin(NULL);
    assert_int_equal(
        bitnet_gguf_tensor_declare(writer, bitnet_str_of(name), BITNET_DTYPE_f32, dims, 1, &err),
        BITNET_LIMIT);
    assert_text_has(err.text, "name of 64 bytes (limit 63)");
    assert_int_equal(
        bitnet_gguf_tensor_declare(writer, BITNET_STR("t"), BITNET_DTYPE_q4_0, dims, 1, &err),
        BITNET_FORMAT);
    assert_text_has(err.text, "tensor 't': rows of 31 elements, but Q4_0 needs a multiple of 32");
    assert_int_equal(
        bitnet_gguf_tensor_declare(writer, BITNET_STR("u"), BITNET_DTYPE_f32, huge, 2, &err),
        BITNET_LIMIT);
    const uint64_t nearly[1] = {UINT64_C(1) << 60};
    assert_int_equal(
        bitnet_gguf_tensor_declare(writer, BITNET_STR("w"), BITNET_DTYPE_f32, nearly, 1, &err),
        BITNET_LIMIT);
    assert_text_has(err.text, "tensor 'w': the file becomes too large");
    bitnet_gguf_abort(writer);
    begin(NULL);
    MUST(bitnet_gguf_tensor_declare(writer, BITNET_STR("v"), BITNET_DTYPE_f32, dims, 1, &err));
    assert_int_equal(
        bitnet_gguf_tensor_declare(writer, BITNET_STR("v"), BITNET_DTYPE_f32, dims, 1, &err),
        BITNET_FORMAT);
    assert_text_has(err.text, "tensor 'v' appears twice");
    bitnet_gguf_abort(writer);
}

TEST(more_tensors_than_readers_take_are_refused)
{
    static const uint64_t dims[1] = {1};
    char name[32];
    begin(NULL);
    for (unsigned i = 0; i < 262144; i++) {
        snprintf(name, sizeof name, "t%u", i);
        MUST(bitnet_gguf_tensor_declare(writer, bitnet_str_of(name), BITNET_DTYPE_f32, dims, 1,
                                        &err));
    }
    assert_int_equal(
        bitnet_gguf_tensor_declare(writer, BITNET_STR("u"), BITNET_DTYPE_f32, dims, 1, &err),
        BITNET_LIMIT);
    assert_text_has(err.text, "more than 262144 tensors");
    bitnet_gguf_abort(writer);
}

static void declare_one(void)
{
    static const uint64_t dims[1] = {16};
    begin(NULL);
    MUST(bitnet_gguf_tensor_declare(writer, BITNET_STR("t"), BITNET_DTYPE_f32, dims, 1, &err));
    MUST(bitnet_gguf_begin(writer, &err));
}

TEST(an_unfinished_file_is_never_published)
{
    uint8_t bytes[64] = {0};
    struct bitnet_gguf *gguf;
    declare_one();
    MUST(bitnet_gguf_tensor_write(writer, bytes, 63, &err));
    assert_int_equal(bitnet_gguf_writer_reopen(writer, &gguf, &err), BITNET_INTERNAL);
    assert_null(gguf);
    assert_int_equal(bitnet_gguf_finish(writer, &err), BITNET_INTERNAL);
    assert_text_has(err.text, "tensor 't' is not (fully) written");
    assert_int_equal(temp_dir_count(&dir), 0);

    declare_one();
    assert_int_equal(bitnet_gguf_tensor_write(writer, bytes, 65, &err), BITNET_INTERNAL);
    assert_text_has(err.text, "tensor 't': 65 bytes written where 64 are left");
    MUST(bitnet_gguf_tensor_write(writer, bytes, 64, &err));
    MUST(bitnet_gguf_tensor_write(writer, bytes, 0, &err));
    assert_int_equal(bitnet_gguf_tensor_write(writer, bytes, 1, &err), BITNET_INTERNAL);
    assert_text_has(err.text, "1 bytes after the last tensor");
    bitnet_gguf_abort(writer);
    assert_int_equal(temp_dir_count(&dir), 0);

    begin(NULL);
    assert_int_equal(bitnet_gguf_finish(writer, &err), BITNET_INTERNAL);
    assert_text_has(err.text, "never begun");
    bitnet_gguf_abort(NULL);
}

TEST(an_existing_file_stays_unless_told_otherwise)
{
    temp_dir_write(&dir, "out.gguf", "precious", 8);
    begin(NULL);
    assert_int_equal(bitnet_gguf_begin(writer, &err), BITNET_POLICY);
    bitnet_gguf_abort(writer);
    struct bitnet_str text;
    MUST(bitnet_read_file(path(), 100, &text, &err));
    assert_true(bitnet_str_is(text, "precious"));
    bitnet_free((void *)text.at);

    begin(&(struct bitnet_gguf_writer_options){.overwrite = true});
    MUST(bitnet_gguf_begin(writer, &err));
    MUST(bitnet_gguf_finish(writer, &err));
    bitnet_gguf_close(reopen());
}

static enum bitnet_status write_a_file(void)
{
    static const uint64_t dims[2] = {8, 8};
    static const uint8_t bytes[256];
    struct bitnet_gguf *gguf = NULL;
    const struct bitnet_gguf_writer_options options = {.alignment = 64, .overwrite = true};
    enum bitnet_status status = bitnet_gguf_writer_new(&writer, path(), &options, &err);
    if (status) return status;
    put_everything();
    for (char name = 'a'; name < 'd' && !status; name++)
        status = bitnet_gguf_tensor_declare(writer, (struct bitnet_str){&name, 1}, BITNET_DTYPE_f32,
                                            dims, 2, &err);
    if (!status) status = bitnet_gguf_begin(writer, &err);
    for (int i = 0; i < 3 && !status; i++)
        status = bitnet_gguf_tensor_write(writer, bytes, sizeof bytes, &err);
    if (!status) status = bitnet_gguf_writer_reopen(writer, &gguf, &err);
    bitnet_gguf_close(gguf);
    if (!status) return bitnet_gguf_finish(writer, &err);
    bitnet_gguf_abort(writer);
    return status;
}

TEST(any_failing_allocation_leaves_nothing)
{
    long live = bitnet_alloc_live(), n = 0;
    for (;; n++) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = write_a_file();
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!status) break;
        assert_int_equal(status, BITNET_MEMORY);
        assert_int_equal(temp_dir_count(&dir), 0);
    }
    assert_true(n > 20); /* faults were hit */
    bitnet_gguf_close(reopen());
}

TEST(any_failing_file_operation_leaves_nothing_or_the_whole)
{
    long live = bitnet_alloc_live(), n = 0;
    for (;; n++) {
        faulty_io_install(&(struct faulty_io_plan){.fail_at = n, .number = EIO});
        enum bitnet_status status = write_a_file();
        long n_operations = faulty_io_remove();
        assert_int_equal(bitnet_alloc_live(), live);
        assert_true(temp_dir_count(&dir) <= 1);
        if (temp_dir_count(&dir) == 1) {
            bitnet_gguf_close(reopen());
            remove(path());
        }
        if (n >= n_operations) {
            assert_int_equal(status, BITNET_OK);
            break;
        }
    }
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_value_comes_back, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(values_are_copied_from_file_to_file, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(every_type_of_every_dialect_comes_back, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_bad_alignment_is_a_wrong_call, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(wrong_keys_are_told_at_begin, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(wrong_tensors_are_told_at_once, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(more_tensors_than_readers_take_are_refused, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(an_unfinished_file_is_never_published, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(an_existing_file_stays_unless_told_otherwise, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(any_failing_allocation_leaves_nothing, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(any_failing_file_operation_leaves_nothing_or_the_whole,
                                        make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
