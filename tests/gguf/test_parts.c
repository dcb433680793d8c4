/* gguf/parts.c: split sets are opened as one model, and whatever does not belong together is
 * refused. A file that changes while it is open is noticed. */
#include "cm.h"

#include "spell.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "temp_dir.h"

static struct temp_dir dir;

/* What a part of a test set says of itself. */
struct part {
    const char *name;
    int number, count, n_tensors;
    const char *tensor;
};

static void spell_part(const struct part *part, struct spell *s)
{
    spell_header(s, 3, 1, 4);
    spell_key_text(s, "general.name", part->name);
    spell_key_u16(s, "split.no", (uint16_t)part->number);
    spell_key_u16(s, "split.count", (uint16_t)part->count);
    spell_key_i32(s, "split.tensors.count", part->n_tensors);
    spell_matrix(s, part->tensor, 4, 2, 0, 0);
    spell_pad(s, 32);
    for (int i = 0; i < 8; i++) spell_u32(s, (uint32_t)part->number);
}

static void write_part(const struct part *part)
{
    struct spell s = {0};
    spell_part(part, &s);
    temp_dir_write(&dir, part->name, s.at, s.n);
    spell_free(&s);
}

static const struct part good[] = {
    {"m-00001-of-00003.gguf", 0, 3, 3, "a"},
    {"m-00002-of-00003.gguf", 1, 3, 3, "b"},
    {"m-00003-of-00003.gguf", 2, 3, 3, "c"},
};

static int set_up(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    for (size_t i = 0; i < COUNT(good); i++) write_part(&good[i]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

static void must_refuse(const char *name, enum bitnet_status status, const char *words)
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    assert_int_equal(bitnet_gguf_open(&gguf, temp_dir_file(&dir, name), NULL, &err), status);
    assert_null(gguf);
    assert_text_has(err.text, words);
}

TEST(a_split_set_is_one_model)
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    if (bitnet_gguf_open(&gguf, temp_dir_file(&dir, good[0].name), NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(bitnet_gguf_tensor_count(gguf), 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct bitnet_tensor *tensor =
            bitnet_gguf_find_tensor(gguf, bitnet_str_of(good[i].tensor));
        assert_ptr_equal(tensor, bitnet_gguf_tensor_at(gguf, i));
        assert_int_equal(tensor->part, i);
        assert_int_equal(tensor->data.n, 32);
        assert_int_equal(tensor->data.at[0], i);
        bitnet_gguf_release(gguf, tensor);
    }
    struct bitnet_str name;
    assert_int_equal(bitnet_gguf_str(gguf, "general.name", BITNET_GGUF_REQUIRED, &name, &err),
                     BITNET_OK);
    assert_true(bitnet_str_is(name, good[0].name)); /* part 1 speaks for all */
    assert_true(bitnet_gguf_file_bytes(gguf) > 3 * 128);
    bitnet_gguf_close(gguf);
}

TEST(the_other_parts_are_not_opened_alone)
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    must_refuse(good[1].name, BITNET_UNSUPPORTED, "part 2 of 3 of a split set");
    bitnet_gguf_open(&gguf, temp_dir_file(&dir, good[1].name), NULL, &err);
    assert_text_has(err.hint, "-00001-of-00003.gguf");
}

TEST(a_part_in_memory_is_refused)
{
    struct spell s = {0};
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    spell_part(&good[0], &s);
    assert_int_equal(bitnet_gguf_open_mem(&gguf, spell_bytes(&s), NULL, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "part 1 of 3 of a split set: open it by its path");
    spell_free(&s);
}

TEST(a_missing_part_is_named)
{
    assert_int_equal(remove(temp_dir_file(&dir, good[2].name)), 0);
    must_refuse(good[0].name, BITNET_NOT_FOUND, "part 3 of 3");
    must_refuse(good[0].name, BITNET_NOT_FOUND, good[2].name);
}

TEST(parts_of_other_sets_are_refused)
{
    write_part(&(struct part){good[1].name, 2, 3, 3, "b"});
    must_refuse(good[0].name, BITNET_FORMAT, "part 2 of 3: is part 3 of 3, expected part 2 of 3");
    write_part(&(struct part){good[1].name, 1, 4, 3, "b"});
    must_refuse(good[0].name, BITNET_FORMAT, "is part 2 of 4, expected part 2 of 3");
    write_part(&(struct part){good[1].name, 1, 3, 3, "a"});
    must_refuse(good[0].name, BITNET_FORMAT, "tensor 'a' appears twice");
}

TEST(the_announced_number_of_tensors_must_be_there)
{
    write_part(&(struct part){good[0].name, 0, 3, 4, "a"});
    must_refuse(good[0].name, BITNET_FORMAT,
                "key 'split.tensors.count': 4, but the parts hold 3 tensors");
}

TEST(a_renamed_first_part_is_refused)
{
    write_part(&(struct part){"model.gguf", 0, 3, 3, "a"});
    must_refuse("model.gguf", BITNET_FORMAT,
                "part 1 of 3, but its name does not end in -00001-of-00003.gguf");
}

TEST(impossible_split_numbers_are_refused)
{
    write_part(&(struct part){"n.gguf", 3, 3, 3, "a"});
    must_refuse("n.gguf", BITNET_FORMAT, "key 'split.no': 3 (allowed 0 to 2)");
    write_part(&(struct part){"n.gguf", 0, 1001, 3, "a"});
    must_refuse("n.gguf", BITNET_FORMAT, "key 'split.count': 1001 (allowed 0 to 1000)");
    write_part(&(struct part){"n.gguf", 0, 3, -1, "a"});
    must_refuse("n.gguf", BITNET_FORMAT, "key 'split.tensors.count': -1");
    struct spell s = {0};
    spell_header(&s, 3, 0, 1);
    spell_key_text(&s, "split.count", "2");
    temp_dir_write(&dir, "n.gguf", s.at, s.n);
    spell_free(&s);
    must_refuse("n.gguf", BITNET_FORMAT, "key 'split.count': expected an integer, found string");
}

TEST(a_set_of_one_is_no_set)
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    write_part(&(struct part){"n.gguf", 0, 1, 1, "a"});
    assert_int_equal(bitnet_gguf_open(&gguf, temp_dir_file(&dir, "n.gguf"), NULL, &err), BITNET_OK);
    bitnet_gguf_close(gguf);
}

TEST(a_part_that_changes_while_open_is_noticed)
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    assert_int_equal(bitnet_gguf_open(&gguf, temp_dir_file(&dir, good[0].name), NULL, &err),
                     BITNET_OK);
    assert_int_equal(bitnet_gguf_unchanged(gguf, &err), BITNET_OK);
    const struct timespec then[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, temp_dir_file(&dir, good[2].name), then, 0), 0);
    assert_int_equal(bitnet_gguf_unchanged(gguf, &err), BITNET_IO);
    assert_text_has(err.text, good[2].name);
    bitnet_gguf_close(gguf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_split_set_is_one_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_other_parts_are_not_opened_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_in_memory_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_part_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parts_of_other_sets_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_announced_number_of_tensors_must_be_there, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_renamed_first_part_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(impossible_split_numbers_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_set_of_one_is_no_set, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_that_changes_while_open_is_noticed, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
