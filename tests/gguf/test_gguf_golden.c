/* Files that other programs wrote (../shared/data/golden/gguf): every key, string, number and
 * tensor is what their maker says, and a copy made by our writer has the same bytes. Without that
 * folder the tests skip by name; the other programs of this folder test without it. */
#include "cm.h"

#include <bitnet/alloc.h>
#include <bitnet/arch.h>
#include <bitnet/arena.h>
#include <bitnet/doctor.h>
#include <bitnet/file.h>
#include <bitnet/gguf.h>
#include <bitnet/json.h>
#include <bitnet/text.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "temp_dir.h"

#define GOLDEN BITNET_SOURCE_DIR "/../shared/data/golden/gguf/"

static struct bitnet_error err;

static void need_golden(void)
{
    if (bitnet_path_is_dir(GOLDEN)) return;
    print_message("skipped: " GOLDEN " is absent\n");
    skip();
}

static struct bitnet_gguf *open_golden(const char *name)
{
    struct bitnet_gguf *gguf;
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    if (bitnet_gguf_open(&gguf, path, NULL, &err)) fail_msg("%s", err.text);
    return gguf;
}

/* ------------------------------------------------------------------ expected.json */

static void check_number(const struct bitnet_gguf_value *value, const struct bitnet_json *expected)
{
    uint64_t u;
    int64_t i;
    double f;
    assert_int_equal(expected->kind, BITNET_JSON_NUMBER);
    switch (value->type) {
    case BITNET_GGUF_F32:
        assert_true(bitnet_json_as_f64(expected, &f) && (double)(float)f == value->f64);
        break;
    case BITNET_GGUF_F64:
        assert_true(bitnet_json_as_f64(expected, &f) && f == value->f64);
        break;
    case BITNET_GGUF_I8:
    case BITNET_GGUF_I16:
    case BITNET_GGUF_I32:
    case BITNET_GGUF_I64:
        assert_true(bitnet_json_as_i64(expected, &i) && i == value->i64);
        break;
    default:
        assert_true(bitnet_json_as_u64(expected, &u) && u == value->u64);
        break;
    }
}

static void check_scalar(const struct bitnet_gguf_value *value, const struct bitnet_json *expected)
{
    if (value->type == BITNET_GGUF_STRING)
        assert_true(expected->kind == BITNET_JSON_STRING &&
                    bitnet_str_equal(value->text, expected->text));
    else if (value->type == BITNET_GGUF_BOOL)
        assert_true(expected->kind == BITNET_JSON_BOOL && value->boolean == expected->boolean);
    else
        check_number(value, expected);
}

static void check_value(const struct bitnet_gguf_value *value, const struct bitnet_json *expected)
{
    if (value->type != BITNET_GGUF_ARRAY) {
        check_scalar(value, expected);
        return;
    }
    assert_int_equal(expected->kind, BITNET_JSON_ARRAY);
    assert_int_equal(expected->n_children, value->n);
    const struct bitnet_json *item = expected->child;
    for (size_t i = 0; i < value->n; i++, item = item->next) {
        struct bitnet_gguf_value element = bitnet_gguf_element(value, i);
        check_scalar(&element, item);
    }
}

/* [[dims], sum of the values] for floats; [[dims], sha256] otherwise (not looked at here). */
static void check_tensor(const struct bitnet_tensor *tensor, const struct bitnet_json *expected)
{
    const struct bitnet_json *dims = expected->child, *value = dims->next, *dim = dims->child;
    assert_int_equal(dims->n_children, tensor->n_dims);
    uint64_t n = 1, number = 0;
    for (uint32_t i = 0; i < tensor->n_dims; i++, dim = dim->next) {
        assert_true(bitnet_json_as_u64(dim, &number) && number == tensor->dims[i]);
        n *= number;
    }
    if (value->kind == BITNET_JSON_STRING) return;
    double sum = 0, want = 0;
    for (size_t i = 0; i < n; i++)
        sum += tensor->type == BITNET_DTYPE_f32
                   ? (double)bitnet_load_f32(tensor->data.at + 4 * i)
                   : (double)bitnet_f16_to_f32(bitnet_load_u16(tensor->data.at + 2 * i));
    assert_true(bitnet_json_as_f64(value, &want));
    assert_true(fabs(sum - want) <= 1e-12 * (1 + fabs(want)));
}

TEST(every_key_and_tensor_of_the_container_is_as_its_maker_says)
{
    need_golden();
    struct bitnet_arena arena = {0};
    struct bitnet_str text;
    const struct bitnet_json *root = NULL;
    if (bitnet_read_file(GOLDEN "container-kv-align64.expected.json", 1 << 20, &text, &err) ||
        bitnet_json_parse(&root, text, NULL, &arena, &err))
        fail_msg("%s", err.text);
    struct bitnet_gguf *gguf = open_golden("container-kv-align64.gguf");
    assert_int_equal(bitnet_gguf_alignment(gguf), 64);
    size_t n_keys = 0, n_tensors = 0;
    for (const struct bitnet_json *item = root->child; item; item = item->next) {
        const struct bitnet_gguf_value *value = bitnet_gguf_find(gguf, item->key);
        const struct bitnet_tensor *tensor = bitnet_gguf_find_tensor(gguf, item->key);
        /* gguf-py's writer leaves out a key whose text is empty: it is expected, but not there. */
        if (item->kind == BITNET_JSON_STRING && item->text.n == 0 && !value) continue;
        if (!value && !tensor) fail_msg("%.*s is missing", BITNET_STR_ARGS(item->key));
        if (value) check_value(value, item);
        if (tensor) check_tensor(tensor, item);
        n_keys += value != NULL;
        n_tensors += tensor != NULL;
    }
    assert_int_equal(n_keys + 2, bitnet_gguf_pair_count(gguf)); /* architecture, alignment */
    assert_int_equal(n_tensors, bitnet_gguf_tensor_count(gguf));
    assert_int_equal(n_tensors, 5);
    bitnet_gguf_close(gguf);
    bitnet_arena_free(&arena);
    bitnet_free((void *)text.at);
}

/* Same names, types and shapes (the values were drawn anew). */
TEST(the_split_set_is_made_like_the_container)
{
    need_golden();
    struct bitnet_gguf *split = open_golden("container-split-00001-of-00003.gguf");
    struct bitnet_gguf *whole = open_golden("container-kv-align64.gguf");
    assert_int_equal(bitnet_gguf_tensor_count(split), 5);
    for (size_t i = 0; i < 5; i++) {
        const struct bitnet_tensor *a = bitnet_gguf_tensor_at(split, i);
        const struct bitnet_tensor *b = bitnet_gguf_find_tensor(whole, a->name);
        assert_non_null(b);
        assert_int_equal(a->type, b->type);
        assert_memory_equal(a->dims, b->dims, sizeof a->dims);
        assert_int_equal(a->part, i / 2);
        assert_int_equal(a->data.n, b->data.n);
    }
    for (size_t i = 0; i < bitnet_gguf_pair_count(whole); i++) {
        struct bitnet_str key = bitnet_gguf_pair_at(whole, i)->key;
        if (bitnet_str_starts(key, "t.")) assert_non_null(bitnet_gguf_find(split, key));
    }
    bitnet_gguf_close(split);
    bitnet_gguf_close(whole);
}

TEST(the_tiny_models_are_sound)
{
    static const struct {
        const char *name;
        enum bitnet_dialect dialect;
        enum bitnet_dtype type;
        const char *arch;
        uint32_t n_layers, n_vocab;
    } models[] = {
        {"tiny-bitnet.I2_S.gguf", BITNET_DIALECT_BITNETCPP, BITNET_DTYPE_i2_s, "bitnet", 2, 384},
        {"tiny-bitnet.TQ2_0.gguf", BITNET_DIALECT_GGML, BITNET_DTYPE_tq2_0, "bitnet", 2, 384},
        {"tiny-b158.I2_S.gguf", BITNET_DIALECT_BITNETCPP, BITNET_DTYPE_i2_s, "bitnet-b1.58", 1,
         290},
    };
    need_golden();
    for (size_t i = 0; i < COUNT(models); i++) {
        struct bitnet_gguf *gguf = open_golden(models[i].name);
        struct bitnet_hparams h;
        const struct bitnet_arch *arch = NULL;
        struct bitnet_gguf_summary sum;
        if (bitnet_gguf_validate(gguf, BITNET_GGUF_LEVEL_MODEL, NULL, &err) ||
            bitnet_hparams_from_gguf(&h, &arch, gguf, &err))
            fail_msg("%s", err.text);
        bitnet_gguf_summarize(gguf, &sum);
        assert_int_equal(bitnet_gguf_dialect(gguf), models[i].dialect);
        assert_int_equal(sum.main_type, models[i].type);
        assert_string_equal(arch->name, models[i].arch);
        assert_int_equal(h.n_layers, models[i].n_layers);
        assert_int_equal(h.n_vocab, models[i].n_vocab);
        bitnet_gguf_close(gguf);
    }
}

/* ------------------------------------------------------------------ copies */

static enum bitnet_status copy_model(const struct bitnet_gguf *gguf, const char *path)
{
    struct bitnet_gguf_writer *writer;
    enum bitnet_status status = bitnet_gguf_writer_new(
        &writer, path,
        &(struct bitnet_gguf_writer_options){.alignment = (uint32_t)bitnet_gguf_alignment(gguf),
                                             .dialect = bitnet_gguf_dialect(gguf),
                                             .overwrite = true},
        &err);
    if (status) return status;
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++)
        bitnet_gguf_put_value(writer, bitnet_gguf_pair_at(gguf, i)->key,
                              &bitnet_gguf_pair_at(gguf, i)->value);
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf) && !status; i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(gguf, i);
        status = bitnet_gguf_tensor_declare(writer, t->name, t->type, t->dims, t->n_dims, &err);
    }
    if (!status) status = bitnet_gguf_begin(writer, &err);
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf) && !status; i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(gguf, i);
        status = bitnet_gguf_tensor_write(writer, t->data.at, t->data.n, &err);
    }
    if (!status) return bitnet_gguf_finish(writer, &err);
    bitnet_gguf_abort(writer);
    return status;
}

TEST(a_copy_has_the_same_bytes)
{
    static const char *const names[] = {"container-kv-align64.gguf", "tiny-bitnet.I2_S.gguf",
                                        "tiny-bitnet.TQ2_0.gguf", "tiny-b158.I2_S.gguf"};
    struct temp_dir dir;
    need_golden();
    temp_dir_make(&dir);
    for (size_t i = 0; i < COUNT(names); i++) {
        struct bitnet_gguf *gguf = open_golden(names[i]);
        const char *path = temp_dir_file(&dir, "copy.gguf");
        struct bitnet_str a, b;
        if (copy_model(gguf, path) || bitnet_read_file(bitnet_gguf_path(gguf), 1 << 24, &a, &err) ||
            bitnet_read_file(path, 1 << 24, &b, &err))
            fail_msg("%s", err.text);
        assert_int_equal(a.n, b.n);
        for (size_t k = 0; k < a.n; k++)
            if (a.at[k] != b.at[k]) fail_msg("%s: byte %zu differs", names[i], k);
        bitnet_free((void *)a.at);
        bitnet_free((void *)b.at);
        bitnet_gguf_close(gguf);
    }
    temp_dir_remove(&dir);
}

/* gguf-py made the parts; what we merge differs from the set by its three keys alone. */
TEST(a_set_that_others_split_is_merged)
{
    struct temp_dir dir;
    struct bitnet_gguf *merged = NULL;
    struct bitnet_gguf_diff diff = {0};
    need_golden();
    temp_dir_make(&dir);
    struct bitnet_gguf *split = open_golden("container-split-00001-of-00003.gguf");
    const char *path = temp_dir_file(&dir, "merged.gguf");
    if (bitnet_gguf_merge(split, path, false, &err) || bitnet_gguf_open(&merged, path, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(bitnet_gguf_compare(split, merged, &diff, &err), BITNET_CHECK);
    assert_int_equal(diff.n_differences, 3);
    assert_int_equal(bitnet_gguf_tensor_count(merged), 5);
    bitnet_gguf_close(split);
    bitnet_gguf_close(merged);
    temp_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_and_tensor_of_the_container_is_as_its_maker_says),
        cmocka_unit_test(the_split_set_is_made_like_the_container),
        cmocka_unit_test(the_tiny_models_are_sound),
        cmocka_unit_test(a_copy_has_the_same_bytes),
        cmocka_unit_test(a_set_that_others_split_is_merged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
