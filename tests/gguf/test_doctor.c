/* gguf/edit.c, split.c, diff.c, copy.c: what was to stay stays byte for byte, what was to change
 * changes, a failure leaves nothing, and every difference is said. */
#include "cm.h"

#include "model.h"

#include <bitnet/alloc.h>
#include <bitnet/doctor.h>
#include <bitnet/file.h>
#include <bitnet/text.h>

#include <errno.h>
#include <stdio.h>

#include "faulty_io.h"
#include "temp_dir.h"

static struct temp_dir dir;
static struct bitnet_error err;
static struct bitnet_gguf *gguf; /* the model of the test, open */

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static const char *in_dir(const char *name)
{
    return temp_dir_file(&dir, name);
}

static struct bitnet_gguf *open_file(const char *name)
{
    struct bitnet_gguf *file;
    MUST(bitnet_gguf_open(&file, in_dir(name), NULL, &err));
    return file;
}

static void write_model(const char *name, const struct model_change *change)
{
    struct spell s = {0};
    model_spell(&s, change);
    struct bitnet_gguf *made;
    MUST(bitnet_gguf_open_mem(&made, spell_bytes(&s), NULL, &err));
    size_t data = (size_t)bitnet_gguf_position(made, bitnet_gguf_tensor_at(made, 0));
    bitnet_gguf_close(made);
    for (size_t i = 0; i < 4500; i++) s.at[data + i] = (uint8_t)(i * 7); /* not all zero */
    temp_dir_write(&dir, name, s.at, s.n);
    spell_free(&s);
}

static int set_up(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    err = (struct bitnet_error){0};
    write_model("a.gguf", &(struct model_change){0});
    gguf = open_file("a.gguf");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bitnet_gguf_close(gguf);
    temp_dir_remove(&dir);
    return 0;
}

static bool same_bytes(const char *a, const char *b)
{
    struct bitnet_str x, y;
    MUST(bitnet_read_file(in_dir(a), 1 << 24, &x, &err));
    MUST(bitnet_read_file(in_dir(b), 1 << 24, &y, &err));
    bool same = bitnet_str_equal(x, y);
    bitnet_free((void *)x.at);
    bitnet_free((void *)y.at);
    return same;
}

/* ------------------------------------------------------------------ edits as text */

TEST(edits_are_read_as_they_are_written)
{
    struct bitnet_gguf_edit e;
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("a.b=u8:255"), &err));
    assert_true(bitnet_str_is(e.key, "a.b") && e.value.type == BITNET_GGUF_U8);
    assert_int_equal(e.value.u64, 255);
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("k=i16:-32768"), &err));
    assert_true(e.value.type == BITNET_GGUF_I16 && e.value.i64 == -32768);
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("k=u64:18446744073709551615"), &err));
    assert_true(e.value.u64 == UINT64_MAX);
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("k=i64:-9223372036854775808"), &err));
    assert_true(e.value.i64 == INT64_MIN);
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("k=int:7"), &err));
    assert_true(e.value.type == BITNET_GGUF_I64 && e.value.i64 == 7);
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("k=f32:-1.5e3"), &err));
    assert_true(e.value.type == BITNET_GGUF_F32 && e.value.f64 == -1500);
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("k=f64:1e300"), &err));
    assert_true(e.value.f64 == 1e300);
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("k=bool:true"), &err));
    assert_true(e.value.boolean);
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("k=bool:false"), &err));
    assert_false(e.value.boolean);
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("k=string:a=b:c"), &err));
    assert_true(bitnet_str_is(e.value.text, "a=b:c"));
    MUST(bitnet_gguf_edit_parse(&e, BITNET_STR("k=str:"), &err));
    assert_int_equal(e.value.text.n, 0);
}

TEST(edits_that_make_no_sense_are_refused)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "'' is not KEY=TYPE:VALUE"},
        {"key", "'key' is not KEY=TYPE:VALUE"},
        {"=u8:1", "is not KEY=TYPE:VALUE"},
        {"k=5", "is not KEY=TYPE:VALUE"},
        {"k=u128:5", "key 'k': there is no type 'u128'"},
        {"k=u8:256", "key 'k': '256' is no u8 (allowed 0 to 255)"},
        {"k=u8:-1", "'-1' is no u8"},
        {"k=u8:", "'' is no u8"},
        {"k=u8: 1", "is no u8"},
        {"k=i8:128", "'128' is no i8 (allowed -128 to 127)"},
        {"k=i64:9223372036854775808", "is no i64"},
        {"k=f32:1e39", "'1e39' is no finite f32"},
        {"k=f32:nan", "'nan' is no finite f32"},
        {"k=bool:yes", "'yes' is no bool (allowed true, false)"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bitnet_gguf_edit e;
        assert_int_equal(bitnet_gguf_edit_parse(&e, bitnet_str_of(cases[i].text), &err),
                         BITNET_USAGE);
        assert_text_has(err.text, cases[i].words);
    }
}

/* ------------------------------------------------------------------ edit */

static struct bitnet_gguf_edit set(const char *text)
{
    struct bitnet_gguf_edit e;
    MUST(bitnet_gguf_edit_parse(&e, bitnet_str_of(text), &err));
    return e;
}

static struct bitnet_gguf_edit del(const char *key)
{
    return (struct bitnet_gguf_edit){.key = bitnet_str_of(key), .is_removal = true};
}

TEST(an_edit_without_changes_gives_the_same_bytes)
{
    MUST(bitnet_gguf_edit_file(gguf, NULL, 0, NULL, in_dir("b.gguf"), false, &err));
    assert_true(same_bytes("a.gguf", "b.gguf"));
}

TEST(only_what_was_named_changes)
{
    const struct bitnet_gguf_edit edits[] = {set("general.file_type=u32:40"),
                                             set("new.key=string:value"),
                                             del("tokenizer.chat_template")};
    MUST(bitnet_gguf_edit_file(gguf, edits, 3, NULL, in_dir("b.gguf"), false, &err));
    struct bitnet_gguf *b = open_file("b.gguf");
    size_t n = bitnet_gguf_pair_count(gguf);
    assert_int_equal(bitnet_gguf_pair_count(b), n);
    assert_int_equal(bitnet_gguf_find(b, BITNET_STR("general.file_type"))->u64, 40);
    assert_true(bitnet_str_is(bitnet_gguf_pair_at(b, 1)->key, "general.file_type")); /* in place */
    assert_true(bitnet_str_is(bitnet_gguf_pair_at(b, n - 1)->key, "new.key"));       /* last */
    assert_null(bitnet_gguf_find(b, BITNET_STR("tokenizer.chat_template")));

    struct bitnet_gguf_diff diff = {0};
    assert_int_equal(bitnet_gguf_compare(gguf, b, &diff, &err), BITNET_CHECK);
    assert_int_equal(diff.n_differences, 3);
    bitnet_gguf_close(b);

    /* and back again */
    b = open_file("b.gguf");
    const struct bitnet_gguf_edit back[] = {set("general.file_type=u32:1"), del("new.key"),
                                            set("tokenizer.chat_template=string:{{ messages }}")};
    MUST(bitnet_gguf_edit_file(b, back, 3, NULL, in_dir("c.gguf"), false, &err));
    bitnet_gguf_close(b);
    assert_true(same_bytes("a.gguf", "c.gguf"));
}

TEST(another_alignment_lays_the_tensors_out_anew)
{
    const struct bitnet_gguf_edit edits[] = {set("general.alignment=u32:512")};
    const struct bitnet_gguf_edit back[] = {del("general.alignment")};
    struct bitnet_gguf_diff diff = {0};
    MUST(bitnet_gguf_edit_file(gguf, edits, 1, NULL, in_dir("b.gguf"), false, &err));
    struct bitnet_gguf *b = open_file("b.gguf");
    assert_int_equal(bitnet_gguf_alignment(b), 512);
    assert_int_equal(bitnet_gguf_tensor_at(b, 1)->offset % 512, 0);
    assert_int_equal(bitnet_gguf_compare(gguf, b, &diff, &err), BITNET_CHECK);
    assert_int_equal(diff.n_differences, 1); /* the key itself */
    MUST(bitnet_gguf_edit_file(b, back, 1, NULL, in_dir("c.gguf"), false, &err));
    bitnet_gguf_close(b);
    assert_true(same_bytes("a.gguf", "c.gguf"));

    const struct bitnet_gguf_edit bad[] = {set("general.alignment=u64:64")};
    assert_int_equal(bitnet_gguf_edit_file(gguf, bad, 1, NULL, in_dir("d.gguf"), false, &err),
                     BITNET_USAGE);
    const struct bitnet_gguf_edit odd[] = {set("general.alignment=u32:48")};
    assert_int_equal(bitnet_gguf_edit_file(gguf, odd, 1, NULL, in_dir("d.gguf"), false, &err),
                     BITNET_USAGE);
}

TEST(edits_that_cannot_be_made_leave_nothing)
{
    size_t n = temp_dir_count(&dir);
    const struct bitnet_gguf_edit twice[] = {set("k=u8:1"), del("k")};
    assert_int_equal(bitnet_gguf_edit_file(gguf, twice, 2, NULL, in_dir("b.gguf"), false, &err),
                     BITNET_USAGE);
    assert_text_has(err.text, "key 'k' is changed twice");
    const struct bitnet_gguf_edit none[] = {del("nothing")};
    assert_int_equal(bitnet_gguf_edit_file(gguf, none, 1, NULL, in_dir("b.gguf"), false, &err),
                     BITNET_NOT_FOUND);
    assert_text_has(err.text, "key 'nothing' is not there");
    const struct bitnet_gguf_edit bad[] = {
        {.key = BITNET_STR("a\nb"), .value = {.type = BITNET_GGUF_U8}}};
    assert_int_equal(bitnet_gguf_edit_file(gguf, bad, 1, NULL, in_dir("b.gguf"), false, &err),
                     BITNET_FORMAT);
    assert_int_equal(bitnet_gguf_edit_file(gguf, NULL, 0, NULL, in_dir("a.gguf"), false, &err),
                     BITNET_POLICY);
    assert_int_equal(temp_dir_count(&dir), n);
}

TEST(a_file_may_be_edited_in_place)
{
    const struct bitnet_gguf_edit edits[] = {set("general.file_type=u32:7")};
    MUST(bitnet_gguf_edit_file(gguf, edits, 1, NULL, in_dir("a.gguf"), true, &err));
    struct bitnet_gguf *b = open_file("a.gguf");
    assert_int_equal(bitnet_gguf_find(b, BITNET_STR("general.file_type"))->u64, 7);
    bitnet_gguf_close(b);
}

/* ------------------------------------------------------------------ split and merge */

static void split_and_merge(uint64_t max_bytes, size_t expected)
{
    size_t n_parts = 0;
    char first[64];
    MUST(bitnet_gguf_split(gguf, in_dir("m"), max_bytes, true, &n_parts, &err));
    assert_int_equal(n_parts, expected);
    snprintf(first, sizeof first, "m-00001-of-%05zu.gguf", n_parts);
    struct bitnet_gguf *split = open_file(first);
    struct bitnet_gguf_diff diff = {0};
    assert_int_equal(bitnet_gguf_compare(gguf, split, &diff, &err), BITNET_CHECK);
    assert_int_equal(diff.n_differences, 3); /* split.no, split.count, split.tensors.count */
    MUST(bitnet_gguf_merge(split, in_dir("b.gguf"), true, &err));
    bitnet_gguf_close(split);
    assert_true(same_bytes("a.gguf", "b.gguf"));
}

TEST(what_was_split_is_merged_into_the_same_bytes)
{
    size_t n_tensors = bitnet_gguf_tensor_count(gguf);
    split_and_merge(0, n_tensors);
    split_and_merge(1, n_tensors);
    split_and_merge(UINT64_MAX, 1);
    split_and_merge(8 * MODEL_TOKENS * 2, 2); /* the embedding fills the first part exactly */
}

TEST(no_part_exceeds_the_size_unless_a_tensor_does)
{
    size_t n_parts = 0;
    MUST(bitnet_gguf_split(gguf, in_dir("m"), 600, false, &n_parts, &err));
    char first[64];
    snprintf(first, sizeof first, "m-00001-of-%05zu.gguf", n_parts);
    struct bitnet_gguf *split = open_file(first);
    uint64_t in_part[64] = {0};
    size_t n_in_part[64] = {0};
    for (size_t i = 0; i < bitnet_gguf_tensor_count(split); i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(split, i);
        in_part[t->part] += (t->data.n + 31) / 32 * 32;
        n_in_part[t->part]++;
    }
    for (size_t i = 0; i < n_parts; i++) assert_true(in_part[i] <= 600 || n_in_part[i] == 1);
    bitnet_gguf_close(split);
}

static size_t count_parts(void)
{
    return temp_dir_count(&dir) - 1; /* a.gguf */
}

TEST(a_split_that_fails_anywhere_leaves_nothing)
{
    long live = bitnet_alloc_live();
    size_t n_parts = 0;
    for (long n = 0;; n++) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status =
            bitnet_gguf_split(gguf, in_dir("m"), 2000, false, &n_parts, &err);
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!status) break;
        assert_int_equal(status, BITNET_MEMORY);
        assert_int_equal(count_parts(), 0);
    }
    assert_true(n_parts > 2);
    assert_int_equal(count_parts(), n_parts);
    assert_int_equal(bitnet_gguf_split(gguf, in_dir("m"), 2000, false, &n_parts, &err),
                     BITNET_POLICY); /* taken */
    assert_int_equal(count_parts(), n_parts);
}

TEST(a_split_on_a_failing_disk_leaves_nothing_or_all)
{
    size_t n_parts = 0;
    for (long n = 0;; n++) {
        faulty_io_install(&(struct faulty_io_plan){.fail_at = n, .number = ENOSPC});
        enum bitnet_status status =
            bitnet_gguf_split(gguf, in_dir("m"), 4000, false, &n_parts, &err);
        long n_operations = faulty_io_remove();
        if (status && count_parts()) fail_msg("%s failed: %zu", faulty_io_failed(), count_parts());
        if (n >= n_operations) {
            assert_int_equal(status, BITNET_OK);
            break;
        }
        if (status) continue;
        for (size_t i = 0; i < n_parts; i++) { /* what was not vital failed: begin anew */
            char name[64];
            snprintf(name, sizeof name, "m-%05zu-of-%05zu.gguf", i + 1, n_parts);
            assert_int_equal(remove(in_dir(name)), 0);
        }
    }
}

TEST(a_file_without_tensors_is_not_split)
{
    struct spell s = {0};
    size_t n_parts = 0;
    spell_header(&s, 3, 0, 0);
    temp_dir_write(&dir, "empty.gguf", s.at, s.n);
    spell_free(&s);
    struct bitnet_gguf *empty = open_file("empty.gguf");
    assert_int_equal(bitnet_gguf_split(empty, in_dir("m"), 1, false, &n_parts, &err),
                     BITNET_UNSUPPORTED);
    bitnet_gguf_close(empty);
}

/* ------------------------------------------------------------------ diff */

static char said[4096];

static void hear(void *user, const char *line)
{
    size_t n = strlen(said);
    (void)user;
    snprintf(said + n, sizeof said - n, "%s\n", line);
}

static void differ(const struct model_change *change, const char *words, size_t n)
{
    write_model("b.gguf", change);
    struct bitnet_gguf *b = open_file("b.gguf");
    struct bitnet_gguf_diff diff = {.say = hear};
    said[0] = '\0';
    enum bitnet_status status = bitnet_gguf_compare(gguf, b, &diff, &err);
    assert_int_equal(status, n ? BITNET_CHECK : BITNET_OK);
    assert_text_has(said, words);
    assert_int_equal(diff.n_differences, n);
    bitnet_gguf_close(b);
}

static void file_type(struct spell *s)
{
    spell_key_u32(s, "general.file_type", 2);
}
static void file_type_text(struct spell *s)
{
    spell_key_text(s, "general.file_type", "\x1b[0m");
}

static void scores(struct spell *s)
{
    spell_key_array(s, "tokenizer.ggml.scores", BITNET_GGUF_F32, MODEL_TOKENS);
    for (int i = 0; i < MODEL_TOKENS; i++) spell_u32(s, i == 9 ? 0x3F800000 : 0);
}

TEST(every_difference_of_keys_is_said)
{
    differ(&(struct model_change){0}, "", 0);
    differ(&(struct model_change){.drop_key = "general.file_type"},
           "key 'general.file_type' is only in A", 1);
    differ(&(struct model_change){.drop_key = "general.file_type", .put_key = file_type},
           "key 'general.file_type': u32 1 in A, u32 2 in B", 1);
    differ(&(struct model_change){.drop_key = "general.file_type", .put_key = file_type_text},
           "key 'general.file_type': u32 1 in A, string '\\x1b[0m' in B", 1);
    differ(&(struct model_change){.drop_key = "tokenizer.ggml.scores", .put_key = scores},
           "key 'tokenizer.ggml.scores': element 9 is f32 0 in A, f32 1 in B", 1);
}

TEST(every_difference_of_tensors_is_said)
{
    differ(&(struct model_change){.extra_tensor = "more", .n_dims = 1, .dims = {8}},
           "tensor 'more' is only in B", 1);
    differ(&(struct model_change){.alter_tensor = "output_norm.weight", .n_dims = 1, .dims = {16}},
           "tensor 'output_norm.weight': shape 8 x 1 x 1 x 1 in A, 16 x 1 x 1 x 1 in B", 1);
}

/* Pairs of values of one type, written out. */
TEST(values_of_every_type_are_shown)
{
    static const char *const sets[][3] = {
        {"k=u8:1", "k=u8:2", "key 'k': u8 1 in A, u8 2 in B"},
        {"k=i8:-1", "k=i8:2", "key 'k': i8 -1 in A, i8 2 in B"},
        {"k=u64:18446744073709551615", "k=i64:-1",
         "key 'k': u64 18446744073709551615 in A, i64 -1 in B"},
        {"k=f32:0.1", "k=f64:0.1", "key 'k': f32 0.100000001 in A, f64 0.10000000000000001 in B"},
        {"k=bool:true", "k=bool:false", "key 'k': bool true in A, bool false in B"},
        {"k=string:x", "k=u8:1", "key 'k': string 'x' in A, u8 1 in B"},
        {"k=u8:1", "tokenizer.ggml.tokens=u8:1",
         "key 'tokenizer.ggml.tokens': array of 264 string in A, u8 1 in B"},
    };
    for (size_t i = 0; i < COUNT(sets); i++) {
        const struct bitnet_gguf_edit a = set(sets[i][0]), b = set(sets[i][1]);
        struct bitnet_gguf_diff diff = {.say = hear};
        MUST(bitnet_gguf_edit_file(gguf, &a, 1, NULL, in_dir("b.gguf"), true, &err));
        MUST(bitnet_gguf_edit_file(gguf, &b, 1, NULL, in_dir("c.gguf"), true, &err));
        struct bitnet_gguf *x = open_file("b.gguf"), *y = open_file("c.gguf");
        said[0] = '\0';
        assert_int_equal(bitnet_gguf_compare(x, y, &diff, &err), BITNET_CHECK);
        assert_text_has(said, sets[i][2]);
        bitnet_gguf_close(x);
        bitnet_gguf_close(y);
    }
}

static enum bitnet_status judge(const struct bitnet_gguf *a, const struct bitnet_tensor *in_a,
                                const struct bitnet_gguf *b, const struct bitnet_tensor *in_b,
                                struct bitnet_error *e)
{
    assert_true(a != b && bitnet_str_equal(in_a->name, in_b->name));
    if (bitnet_str_is(in_a->name, "output_norm.weight"))
        return bitnet_fail(e, BITNET_CHECK, "another flavour");
    if (bitnet_str_is(in_a->name, "blk.0.attn_q.weight"))
        return bitnet_fail(e, BITNET_UNSUPPORTED, "cannot be tasted");
    return BITNET_OK;
}

TEST(another_judge_of_tensors_is_asked_and_its_failure_is_no_difference)
{
    struct bitnet_gguf *b = open_file("a.gguf");
    struct bitnet_gguf_diff diff = {.say = hear, .compare = judge, .only = "output_norm.weight"};
    said[0] = '\0';
    assert_int_equal(bitnet_gguf_compare(gguf, b, &diff, &err), BITNET_CHECK);
    assert_string_equal(said, "tensor 'output_norm.weight': another flavour\n");
    diff.only = NULL;
    assert_int_equal(bitnet_gguf_compare(gguf, b, &diff, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "tensor 'blk.0.attn_q.weight': cannot be tasted");
    bitnet_gguf_close(b);
}

/* Every byte of one tensor turned around. */
static bool is_output_norm(void *user, const struct bitnet_tensor *tensor)
{
    (void)user;
    return bitnet_str_is(tensor->name, "output_norm.weight");
}

static enum bitnet_status turn(void *user, const struct bitnet_tensor *tensor, uint8_t *out,
                               struct bitnet_error *e)
{
    bool *must_fail = user;
    if (*must_fail) return bitnet_fail(e, BITNET_FORMAT, "will not turn");
    for (size_t i = 0; i < tensor->data.n; i++) out[i] = (uint8_t)~tensor->data.at[i];
    return BITNET_OK;
}

TEST(a_transform_changes_the_tensors_it_applies_to)
{
    bool must_fail = false;
    const struct bitnet_gguf_transform t = {is_output_norm, turn, &must_fail};
    struct bitnet_gguf_diff diff = {.say = hear};
    MUST(bitnet_gguf_edit_file(gguf, NULL, 0, &t, in_dir("b.gguf"), false, &err));
    struct bitnet_gguf *b = open_file("b.gguf");
    said[0] = '\0';
    assert_int_equal(bitnet_gguf_compare(gguf, b, &diff, &err), BITNET_CHECK);
    assert_text_has(said, "tensor 'output_norm.weight': 32 of 32 bytes differ, the first is 0");
    assert_int_equal(diff.n_differences, 1);
    bitnet_gguf_close(b);
    must_fail = true;
    assert_int_equal(bitnet_gguf_edit_file(gguf, NULL, 0, &t, in_dir("c.gguf"), false, &err),
                     BITNET_FORMAT);
    assert_text_has(err.text, "tensor 'output_norm.weight': will not turn");
    assert_false(bitnet_path_exists(in_dir("c.gguf")));
}

TEST(bytes_that_differ_are_counted_and_shown)
{
    struct spell s = {0};
    struct bitnet_str bytes;
    MUST(bitnet_read_file(in_dir("a.gguf"), 1 << 24, &bytes, &err));
    spell_raw(&s, bytes.at, bytes.n);
    bitnet_free((void *)bytes.at);
    const struct bitnet_tensor *last =
        bitnet_gguf_find_tensor(gguf, BITNET_STR("output_norm.weight"));
    size_t at = (size_t)bitnet_gguf_position(gguf, last);
    uint8_t old = s.at[at + 5];
    s.at[at + 5] ^= 0x40;
    s.at[at + 31] ^= 1;
    temp_dir_write(&dir, "b.gguf", s.at, s.n);
    spell_free(&s);

    char words[128];
    struct bitnet_gguf *b = open_file("b.gguf");
    struct bitnet_gguf_diff diff = {.say = hear};
    said[0] = '\0';
    assert_int_equal(bitnet_gguf_compare(gguf, b, &diff, &err), BITNET_CHECK);
    snprintf(words, sizeof words,
             "tensor 'output_norm.weight': 2 of 32 bytes differ, the first is 5 (%02x in A, %02x",
             old, old ^ 0x40);
    assert_text_has(said, words);
    diff.only = "token_embd.weight";
    assert_int_equal(bitnet_gguf_compare(gguf, b, &diff, &err), BITNET_OK);
    diff.only = "no such";
    assert_int_equal(bitnet_gguf_compare(gguf, b, &diff, &err), BITNET_NOT_FOUND);
    bitnet_gguf_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_are_read_as_they_are_written),
        cmocka_unit_test(edits_that_make_no_sense_are_refused),
        cmocka_unit_test_setup_teardown(an_edit_without_changes_gives_the_same_bytes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(only_what_was_named_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_alignment_lays_the_tensors_out_anew, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(edits_that_cannot_be_made_leave_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_may_be_edited_in_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_split_is_merged_into_the_same_bytes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(no_part_exceeds_the_size_unless_a_tensor_does, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_split_that_fails_anywhere_leaves_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_split_on_a_failing_disk_leaves_nothing_or_all, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_without_tensors_is_not_split, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_difference_of_keys_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_difference_of_tensors_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_of_every_type_are_shown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            another_judge_of_tensors_is_asked_and_its_failure_is_no_difference, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_transform_changes_the_tensors_it_applies_to, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(bytes_that_differ_are_counted_and_shown, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
