/* gguf/dialect.c: a type number is read as the file's maker meant it, or refused. Number 39 is TL2
 * in bitnet.cpp and MXFP4 in ggml and ik_llama.cpp. */
#include "cm.h"

#include "spell.h"

/* Two matrices of number 39, each followed by a float tensor whose offset gives the room away. */
enum { COLS = 768, ROWS = 64 };

static uint64_t padded(enum bitnet_dtype type)
{
    uint64_t n_bytes = 0;
    assert_int_equal(bitnet_tensor_bytes(type, (const uint64_t[]){COLS, ROWS}, 2, &n_bytes, NULL),
                     BITNET_OK);
    return (n_bytes + 31) / 32 * 32;
}

struct file {
    const char *architecture;
    int file_type;  /* negative: no such key */
    uint64_t room;  /* between the matrices */
    uint32_t other; /* type number of the float tensor */
    size_t missing; /* bytes cut off the end */
};

static void spell_file(struct spell *s, const struct file *file)
{
    spell_header(s, 3, 3, 1 + (file->file_type >= 0));
    spell_key_text(s, "general.architecture", file->architecture);
    if (file->file_type >= 0) spell_key_u32(s, "general.file_type", (uint32_t)file->file_type);
    spell_matrix(s, "a", COLS, ROWS, 39, 0);
    spell_matrix(s, "b", COLS, ROWS, 39, file->room);
    spell_matrix(s, "c", 256, 4, file->other, 2 * file->room);
    spell_pad(s, 32);
    spell_zeros(s, 2 * file->room + 4096 - file->missing);
}

static enum bitnet_status open_it(struct file file, const struct bitnet_gguf_options *options,
                                  enum bitnet_dtype *type, enum bitnet_dialect *dialect,
                                  struct bitnet_error *err)
{
    struct spell s = {0};
    struct bitnet_gguf *gguf;
    spell_file(&s, &file);
    enum bitnet_status status = bitnet_gguf_open_mem(&gguf, spell_bytes(&s), options, err);
    if (!status) {
        *type = bitnet_gguf_tensor_at(gguf, 1)->type;
        *dialect = bitnet_gguf_dialect(gguf);
    }
    bitnet_gguf_close(gguf);
    spell_free(&s);
    return status;
}

static void must_be(struct file file, enum bitnet_dtype expected)
{
    enum bitnet_dtype type = BITNET_DTYPE_f32;
    enum bitnet_dialect dialect = BITNET_DIALECT_GGML;
    struct bitnet_error err = {0};
    if (open_it(file, NULL, &type, &dialect, &err)) fail_msg("%s", err.text);
    assert_string_equal(bitnet_dtype_info(type)->label, bitnet_dtype_info(expected)->label);
    assert_int_equal(dialect == BITNET_DIALECT_BITNETCPP, expected == BITNET_DTYPE_tl2);
}

TEST(the_room_decides_whatever_the_keys_say)
{
    uint64_t tl2 = padded(BITNET_DTYPE_tl2), mxfp4 = padded(BITNET_DTYPE_mxfp4);
    assert_true(tl2 < mxfp4);
    must_be((struct file){"bitnet-b1.58", 39, tl2, 0, 0}, BITNET_DTYPE_tl2);
    must_be((struct file){"llama", -1, tl2, 0, 0}, BITNET_DTYPE_tl2);
    must_be((struct file){"gpt-oss", 38, tl2, 0, 0}, BITNET_DTYPE_tl2);
    must_be((struct file){"gpt-oss", 38, mxfp4, 0, 0}, BITNET_DTYPE_mxfp4);
    must_be((struct file){"bitnet", 39, mxfp4, 0, 0}, BITNET_DTYPE_mxfp4);
}

TEST(a_tensor_that_is_too_large_for_its_room_is_another_type)
{
    uint64_t tl2 = padded(BITNET_DTYPE_tl2);
    must_be((struct file){"x", -1, tl2 + 1024, 0, 0}, BITNET_DTYPE_tl2);
}

TEST(where_both_would_fit_file_type_and_architecture_decide)
{
    uint64_t wide = padded(BITNET_DTYPE_mxfp4) + 4096;
    must_be((struct file){"bitnet", 39, wide, 0, 0}, BITNET_DTYPE_tl2);
    must_be((struct file){"bitnet", 38, wide, 0, 0}, BITNET_DTYPE_mxfp4);
    must_be((struct file){"gpt-oss", -1, wide, 0, 0}, BITNET_DTYPE_mxfp4);
    must_be((struct file){"gpt-oss", 39, wide, 0, 0}, BITNET_DTYPE_mxfp4);
}

TEST(without_evidence_both_meanings_are_named)
{
    uint64_t wide = padded(BITNET_DTYPE_mxfp4) + 4096;
    struct bitnet_error err = {0};
    enum bitnet_dtype type = BITNET_DTYPE_f32;
    enum bitnet_dialect dialect;
    assert_int_equal(open_it((struct file){"bitnet", -1, wide, 0, 0}, NULL, &type, &dialect, &err),
                     BITNET_UNSUPPORTED);
    assert_text_has(err.text, "tensor 'a': type 39 is MXFP4 in ggml and TL2 in bitnet.cpp");
    assert_text_has(err.hint, "--dialect ggml or bitnet.cpp");

    const struct bitnet_gguf_options said = {.dialect_is_given = true,
                                             .dialect = BITNET_DIALECT_BITNETCPP};
    assert_int_equal(open_it((struct file){"bitnet", -1, wide, 0, 0}, &said, &type, &dialect, &err),
                     BITNET_OK);
    assert_int_equal(type, BITNET_DTYPE_tl2);
}

TEST(the_company_decides)
{
    /* TL1 exists in bitnet.cpp alone, NVFP4 in ggml alone. */
    uint64_t wide = padded(BITNET_DTYPE_mxfp4) + 4096;
    must_be((struct file){"gpt-oss", 38, wide, 38, 0}, BITNET_DTYPE_tl2);
    must_be((struct file){"bitnet", 39, wide, 40, 0}, BITNET_DTYPE_mxfp4);
}

TEST(a_cut_file_keeps_its_types)
{
    /* Only the last tensor is outside; the first two still fill their rooms. */
    uint64_t tl2 = padded(BITNET_DTYPE_tl2);
    struct bitnet_error err = {0};
    enum bitnet_dtype type;
    enum bitnet_dialect dialect;
    assert_int_equal(open_it((struct file){"x", -1, tl2, 0, 4000}, NULL, &type, &dialect, &err),
                     BITNET_FORMAT);
    assert_text_has(err.text, "tensor 'c': data ends at byte");
    assert_int_equal(
        open_it((struct file){"x", -1, tl2, 0, 4096 + 64}, NULL, &type, &dialect, &err),
        BITNET_FORMAT);
    assert_text_has(err.text, "tensor 'b': data ends at byte");
}

static void refuse_pair(uint32_t a, uint32_t b, const struct bitnet_gguf_options *options,
                        const char *words)
{
    struct spell s = {0};
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    spell_header(&s, 3, 2, 0);
    spell_matrix(&s, "a", 256, 1, a, 0);
    spell_matrix(&s, "b", 256, 1, b, 1024);
    spell_pad(&s, 32);
    spell_zeros(&s, 4096);
    assert_int_equal(bitnet_gguf_open_mem(&gguf, spell_bytes(&s), options, &err),
                     BITNET_UNSUPPORTED);
    assert_text_has(err.text, words);
    spell_free(&s);
}

TEST(types_that_no_dialect_has_together_are_refused)
{
    refuse_pair(34, 135, NULL, "tensor 'b': no dialect has type 135 together with");
    refuse_pair(42, 36, NULL, "tensor 'b': type 36 (I2_S) does not exist in the dialect ggml");
    const struct bitnet_gguf_options said = {.dialect_is_given = true,
                                             .dialect = BITNET_DIALECT_IK};
    refuse_pair(0, 34, &said, "tensor 'b': type 34 (TQ1_0) does not exist in the dialect ik");
}

TEST(numbers_without_a_type_are_explained)
{
    refuse_pair(0, 31, NULL, "tensor 'b': type 31 (Q4_0_4_4, retired");
    refuse_pair(0, 37, NULL, "tensor 'b': type 37 (I8_S of bitnet.cpp, an activation type)");
    refuse_pair(4, 0, NULL, "tensor 'a': type 4 (Q4_2");
    refuse_pair(0, 1000, NULL, "tensor 'b': type 1000 is not known");
    refuse_pair(0, UINT32_MAX, NULL, "type 4294967295 is not known");
}

TEST(every_number_of_every_dialect_is_read_back)
{
    for (unsigned d = 0; d < BITNET_DIALECT_COUNT; d++)
        for (unsigned t = 0; t < BITNET_DTYPE_COUNT; t++) {
            int number = bitnet_dtype_info((enum bitnet_dtype)t)->type_number[d];
            if (number == BITNET_NO_NUMBER) continue;
            struct spell s = {0};
            struct bitnet_gguf *gguf;
            struct bitnet_error err = {0};
            const struct bitnet_gguf_options options = {.dialect_is_given = true,
                                                        .dialect = (enum bitnet_dialect)d};
            spell_header(&s, 3, 1, 0);
            spell_matrix(&s, "t", 512, 96, (uint32_t)number, 0);
            spell_pad(&s, 32);
            spell_zeros(&s, 512 * 96 * 8);
            if (bitnet_gguf_open_mem(&gguf, spell_bytes(&s), &options, &err))
                fail_msg("%s", err.text);
            assert_int_equal(bitnet_gguf_tensor_at(gguf, 0)->type, t);
            assert_int_equal(bitnet_gguf_dialect(gguf), d);
            bitnet_gguf_close(gguf);
            spell_free(&s);
        }
}

/* Two I2_S matrices with the given room each, then a float tensor. */
static enum bitnet_status open_i2_s(uint64_t room, struct bitnet_error *err)
{
    struct spell s = {0};
    struct bitnet_gguf *gguf;
    spell_header(&s, 3, 3, 0);
    spell_matrix(&s, "a", 256, 4, 36, 0);
    spell_matrix(&s, "b", 256, 4, 36, room);
    spell_matrix(&s, "c", 8, 1, 0, 2 * room);
    spell_pad(&s, 32);
    spell_zeros(&s, 2 * room + 32);
    enum bitnet_status status = bitnet_gguf_open_mem(&gguf, spell_bytes(&s), NULL, err);
    bitnet_gguf_close(gguf);
    spell_free(&s);
    return status;
}

TEST(other_formats_that_are_called_i2_s_are_told_apart)
{
    struct bitnet_error err = {0};
    assert_int_equal(open_i2_s(1024 / 4 + 32, &err), BITNET_OK);
    assert_int_equal(open_i2_s(1024 / 32 * 10, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "tensor 'a': I2_S as BitNet-rs means it (blocks of 32 weights");
    assert_int_equal(open_i2_s(1024 / 4, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "(codes without a scale)");
    assert_int_equal(open_i2_s(1024, &err), BITNET_OK); /* a gap is a gap */
}

TEST(dialects_have_names)
{
    enum bitnet_dialect dialect = BITNET_DIALECT_COUNT;
    assert_true(bitnet_dialect_from_name(BITNET_STR("bitnet.cpp"), &dialect));
    assert_int_equal(dialect, BITNET_DIALECT_BITNETCPP);
    assert_true(bitnet_dialect_from_name(BITNET_STR("llama.cpp"), &dialect));
    assert_int_equal(dialect, BITNET_DIALECT_GGML);
    assert_string_equal(bitnet_dialect_name(BITNET_DIALECT_IK), "ik");
    assert_string_equal(bitnet_dialect_name(BITNET_DIALECT_COUNT), "unknown");
    assert_false(bitnet_dialect_from_name(BITNET_STR("llama"), &dialect));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_room_decides_whatever_the_keys_say),
        cmocka_unit_test(a_tensor_that_is_too_large_for_its_room_is_another_type),
        cmocka_unit_test(where_both_would_fit_file_type_and_architecture_decide),
        cmocka_unit_test(without_evidence_both_meanings_are_named),
        cmocka_unit_test(the_company_decides),
        cmocka_unit_test(a_cut_file_keeps_its_types),
        cmocka_unit_test(types_that_no_dialect_has_together_are_refused),
        cmocka_unit_test(numbers_without_a_type_are_explained),
        cmocka_unit_test(every_number_of_every_dialect_is_read_back),
        cmocka_unit_test(other_formats_that_are_called_i2_s_are_told_apart),
        cmocka_unit_test(dialects_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
