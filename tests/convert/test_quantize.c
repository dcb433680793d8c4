/* A GGUF through the room: ternary types into each other without loss, other types only where they
 * hold the same numbers. */
#include "cm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/pool.h"
#include "bitnet/quant.h"
#include "checkpoint.h"
#include "temp_dir.h"
#include "tiny_model.h"

#define GOLDEN BITNET_SOURCE_DIR "/../shared/data/golden/gguf/"

static struct temp_dir dir;
static struct bitnet_error err;

static void expect_ok(enum bitnet_status status)
{
    if (status) fail_msg("%s: %s", bitnet_status_name(status), err.text);
}

static const char *file(const char *name)
{
    return temp_dir_file(&dir, name);
}

static enum bitnet_status quantize_with(const char *in, const char *out,
                                        const struct bitnet_convert_options *options)
{
    struct bitnet_plan *plan = NULL;
    err = (struct bitnet_error){0};
    enum bitnet_status status = bitnet_plan_from_gguf(&plan, file(in), options, &err);
    if (!status) status = bitnet_plan_run(plan, file(out), &err);
    bitnet_plan_free(plan);
    return status;
}

static enum bitnet_status quantize(const char *in, const char *out, enum bitnet_dtype type)
{
    struct bitnet_convert_options options = {.type = type, .overwrite = true, .n_threads = 2};
    return quantize_with(in, out, &options);
}

/* A checkpoint converted to `type` as `name`. */
static void make(const char *name, enum cp_storage storage, enum bitnet_dtype type)
{
    struct temp_dir source;
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, storage);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = {.type = type, .overwrite = true, .name = "x"};
    struct bitnet_plan *plan = NULL;
    temp_dir_make(&source);
    cp_write(cp, source.path);
    expect_ok(bitnet_plan_new(&plan, source.path, &options, &err));
    expect_ok(bitnet_plan_run(plan, file(name), &err));
    bitnet_plan_free(plan);
    temp_dir_remove(&source);
    cp_free(cp);
}

static struct bitnet_gguf *open_file(const char *name)
{
    struct bitnet_gguf *gguf = NULL;
    expect_ok(bitnet_gguf_open(&gguf, file(name), NULL, &err));
    return gguf;
}

static void expect_same_tensors(const char *name_a, const char *name_b)
{
    struct bitnet_gguf *a = open_file(name_a), *b = open_file(name_b);
    assert_int_equal(bitnet_gguf_tensor_count(a), bitnet_gguf_tensor_count(b));
    for (size_t i = 0; i < bitnet_gguf_tensor_count(a); i++) {
        const struct bitnet_tensor *x = bitnet_gguf_tensor_at(a, i);
        const struct bitnet_tensor *y = bitnet_gguf_find_tensor(b, x->name);
        assert_non_null(y);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->data.n, y->data.n);
        assert_memory_equal(x->data.at, y->data.at, x->data.n);
    }
    bitnet_gguf_close(a);
    bitnet_gguf_close(b);
}

/* --- without loss --- */

static const enum bitnet_dtype ring[] = {
    BITNET_DTYPE_i2_s, BITNET_DTYPE_tl2,   BITNET_DTYPE_tq1_0, BITNET_DTYPE_iq2_bn,
    BITNET_DTYPE_tl1,  BITNET_DTYPE_tq2_0, BITNET_DTYPE_f32,   BITNET_DTYPE_iq2_bn_r4,
    BITNET_DTYPE_bf16, BITNET_DTYPE_i2_s,
};

TEST(a_ring_through_all_types_that_hold_trits_returns_the_first_bytes)
{
    make("0.gguf", CP_PACKED_MULTIPLY, ring[0]);
    for (size_t i = 1; i < COUNT(ring); i++) {
        char from[16], to[16];
        snprintf(from, sizeof from, "%zu.gguf", i - 1);
        snprintf(to, sizeof to, "%zu.gguf", i);
        enum bitnet_status status = quantize(from, to, ring[i]);
        if (status)
            fail_msg("%s -> %s: %s", bitnet_dtype_info(ring[i - 1])->name,
                     bitnet_dtype_info(ring[i])->name, err.text);
    }
    expect_same_tensors("0.gguf", "9.gguf");
}

TEST(every_ternary_type_becomes_every_other_and_comes_back)
{
    for (size_t i = 0; i + 1 < COUNT(ring); i++)
        for (size_t j = 0; j + 1 < COUNT(ring); j++) {
            make("a.gguf", CP_PACKED_MULTIPLY, ring[i]);
            expect_ok(quantize("a.gguf", "b.gguf", ring[j]));
            expect_ok(quantize("b.gguf", "c.gguf", ring[i]));
            expect_same_tensors("a.gguf", "c.gguf");
        }
}

TEST(the_same_file_as_straight_from_the_checkpoint)
{
    for (size_t i = 0; i + 1 < COUNT(ring); i++) {
        make("a.gguf", CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s);
        make("direct.gguf", CP_PACKED_MULTIPLY, ring[i]);
        expect_ok(quantize("a.gguf", "b.gguf", ring[i]));
        if (ring[i] != BITNET_DTYPE_f32 && ring[i] != BITNET_DTYPE_bf16) /* embedding f16 there */
            expect_same_tensors("direct.gguf", "b.gguf");
    }
}

TEST(keys_are_kept_and_those_of_the_type_are_new)
{
    make("a.gguf", CP_PACKED_MULTIPLY, BITNET_DTYPE_tl2);
    expect_ok(quantize("a.gguf", "b.gguf", BITNET_DTYPE_tq2_0));
    struct bitnet_gguf *a = open_file("a.gguf"), *b = open_file("b.gguf");
    uint64_t file_type = 0;
    expect_ok(
        bitnet_gguf_u64(b, "general.file_type", 0, 999, BITNET_GGUF_REQUIRED, &file_type, &err));
    assert_int_equal(file_type, 37);
    assert_null(bitnet_gguf_find(b, BITNET_STR("bitnet.tl.version")));
    for (size_t i = 0; i < bitnet_gguf_pair_count(a); i++) {
        struct bitnet_str key = bitnet_gguf_pair_at(a, i)->key;
        if (bitnet_str_starts(key, "bitnet.tl.")) continue;
        const struct bitnet_gguf_value *x = bitnet_gguf_find(a, key), *y = bitnet_gguf_find(b, key);
        if (!y) fail_msg("%.*s was lost", BITNET_STR_ARGS(key));
        assert_int_equal(x->type, y->type);
        if (!bitnet_str_is(key, "general.file_type")) assert_int_equal(x->u64, y->u64);
        assert_true(bitnet_str_equal(x->text, y->text));
        assert_int_equal(x->n, y->n);
        assert_int_equal(x->raw.n, y->raw.n);
        if (x->raw.n) assert_memory_equal(x->raw.at, y->raw.at, x->raw.n);
    }
    bitnet_gguf_close(a);
    bitnet_gguf_close(b);
}

TEST(what_is_no_linear_layer_stays_unless_a_type_is_named)
{
    make("a.gguf", CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s);
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_i2_s, .overwrite = true};
    options.embed_type_is_given = true;
    options.embed_type = BITNET_DTYPE_q6_k;
    expect_ok(quantize_with("a.gguf", "b.gguf", &options));
    struct bitnet_gguf *b = open_file("b.gguf");
    assert_int_equal(bitnet_gguf_find_tensor(b, BITNET_STR("token_embd.weight"))->type,
                     BITNET_DTYPE_q6_k);
    assert_int_equal(bitnet_gguf_find_tensor(b, BITNET_STR("output_norm.weight"))->type,
                     BITNET_DTYPE_f32);
    bitnet_gguf_close(b);
    options.embed_type_is_given = false;
    expect_ok(quantize_with("b.gguf", "c.gguf", &options)); /* a copy now */
    expect_same_tensors("b.gguf", "c.gguf");
}

TEST(keys_can_be_added_and_overridden)
{
    struct bitnet_gguf_edit edits[2];
    struct bitnet_convert_options options = {
        .type = BITNET_DTYPE_tl2, .overwrite = true, .edits = edits, .n_edits = 2};
    struct bitnet_str license = {0}, name = {0};
    make("a.gguf", CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s);
    expect_ok(bitnet_gguf_edit_parse(&edits[0], BITNET_STR("general.license=string:MIT"), &err));
    expect_ok(bitnet_gguf_edit_parse(&edits[1], BITNET_STR("general.name=string:new"), &err));
    expect_ok(quantize_with("a.gguf", "b.gguf", &options));
    struct bitnet_gguf *b = open_file("b.gguf");
    expect_ok(bitnet_gguf_str(b, "general.license", BITNET_GGUF_REQUIRED, &license, &err));
    expect_ok(bitnet_gguf_str(b, "general.name", BITNET_GGUF_REQUIRED, &name, &err));
    assert_true(bitnet_str_is(license, "MIT") && bitnet_str_is(name, "new"));
    bitnet_gguf_close(b);
}

TEST(the_limit_on_memory_is_kept_or_refused)
{
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_f32, .overwrite = true};
    struct bitnet_plan *plan = NULL;
    make("a.gguf", CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s);
    options.n_threads = 1;
    options.embed_type_is_given = true;
    options.embed_type = BITNET_DTYPE_f32;
    expect_ok(bitnet_plan_from_gguf(&plan, file("a.gguf"), &options, &err));
    uint64_t peak = bitnet_plan_peak_bytes(plan);
    bitnet_plan_free(plan);
    options.max_memory = peak - 300000;
    expect_ok(bitnet_plan_from_gguf(&plan, file("a.gguf"), &options, &err));
    assert_true(bitnet_plan_peak_bytes(plan) <= options.max_memory);
    expect_ok(bitnet_plan_run(plan, file("b.gguf"), &err));
    bitnet_plan_free(plan);
    options.max_memory = 0;
    expect_ok(quantize_with("a.gguf", "c.gguf", &options));
    expect_same_tensors("b.gguf", "c.gguf");
    options.max_memory = 4096;
    assert_int_equal(bitnet_plan_from_gguf(&plan, file("a.gguf"), &options, &err), BITNET_MEMORY);
    assert_text_has(err.text, "allowed are 4096");
}

/* Writes two bytes into a tensor's data, at `at` from its beginning. */
static void damage(const char *name, const char *tensor, size_t at, uint16_t value)
{
    struct bitnet_gguf *gguf = open_file(name);
    const struct bitnet_tensor *t = bitnet_gguf_find_tensor(gguf, bitnet_str_of(tensor));
    struct bitnet_str whole = {0};
    expect_ok(bitnet_read_file(file(name), 64u << 20, &whole, &err));
    const char *place = memmem(whole.at, whole.n, t->data.at, t->data.n);
    size_t offset = (size_t)(place - whole.at) + at;
    bitnet_gguf_close(gguf);
    bitnet_store_u16((uint8_t *)(uintptr_t)whole.at + offset, value);
    temp_dir_write(&dir, name, whole.at, whole.n);
    bitnet_free((void *)(uintptr_t)whole.at);
}

/* Blocks that keep their type are copied byte for byte, but not unseen. */
TEST(a_scale_that_is_no_number_in_copied_blocks_is_refused_by_name)
{
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_q8_0, BITNET_DTYPE_q6_k,
                                              BITNET_DTYPE_q4_0};
    static const size_t scale_at[] = {34 * 5, 208, 18 * 7};
    for (size_t i = 0; i < COUNT(types); i++) {
        struct bitnet_convert_options options = {.type = BITNET_DTYPE_i2_s,
                                                 .overwrite = true,
                                                 .embed_type_is_given = true,
                                                 .embed_type = types[i]};
        make("a.gguf", CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s);
        expect_ok(quantize_with("a.gguf", "b.gguf", &options));
        expect_ok(quantize("b.gguf", "c.gguf", BITNET_DTYPE_tl2)); /* the embedding is copied */
        expect_ok(remove(file("c.gguf")) == 0 ? BITNET_OK : BITNET_IO);
        damage("b.gguf", "token_embd.weight", scale_at[i], 0x7e00);
        assert_int_equal(quantize("b.gguf", "c.gguf", BITNET_DTYPE_tl2), BITNET_FORMAT);
        assert_text_has(err.text, "tensor 'token_embd.weight': value [");
        assert_text_has(err.text, "] is nan");
        assert_false(bitnet_path_exists(file("c.gguf")));
    }
}

/* --- with loss: refused --- */

TEST(floats_that_are_no_trits_are_refused_unless_lossy_is_allowed)
{
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_i2_s, .overwrite = true};
    make("a.gguf", CP_PLAIN, BITNET_DTYPE_f16);
    assert_int_equal(quantize_with("a.gguf", "b.gguf", &options), BITNET_INEXACT);
    assert_text_has(err.text, "tensor 'blk.0.attn_q.weight': not ternary");
    assert_false(bitnet_path_exists(file("b.gguf")));
    options.allow_lossy = true;
    expect_ok(quantize_with("a.gguf", "b.gguf", &options));
}

/* A tiny model whose rows have a scale each, in a type that keeps them. */
static void make_rows(enum bitnet_dtype type)
{
    struct tiny_spec spec = tiny_spec_b158();
    struct tiny_file how = {.linear = type, .embed = BITNET_DTYPE_f16};
    how.dialect = type == BITNET_DTYPE_f32 ? BITNET_DIALECT_GGML : BITNET_DIALECT_IK;
    spec.row_scales = true;
    struct tiny_model *model = tiny_model_new(&spec);
    assert_true(tiny_model_write(model, file("rows.gguf"), &how));
    tiny_model_free(model);
}

TEST(scales_of_rows_go_where_there_is_one_for_each_row_and_nowhere_else)
{
    make_rows(BITNET_DTYPE_iq2_bn);
    static const enum bitnet_dtype can[] = {BITNET_DTYPE_iq2_bn_r4, BITNET_DTYPE_tq1_0,
                                            BITNET_DTYPE_tq2_0, BITNET_DTYPE_f32, BITNET_DTYPE_f16};
    static const enum bitnet_dtype cannot[] = {BITNET_DTYPE_i2_s, BITNET_DTYPE_tl1,
                                               BITNET_DTYPE_tl2};
    for (size_t i = 0; i < COUNT(can); i++) {
        enum bitnet_status status = quantize("rows.gguf", "a.gguf", can[i]);
        if (status) fail_msg("%s: %s", bitnet_dtype_info(can[i])->name, err.text);
        expect_ok(quantize("a.gguf", "b.gguf", BITNET_DTYPE_iq2_bn));
        expect_same_tensors("rows.gguf", "b.gguf");
    }
    for (size_t i = 0; i < COUNT(cannot); i++) {
        assert_int_equal(quantize("rows.gguf", "a.gguf", cannot[i]), BITNET_INEXACT);
        assert_true(strstr(err.text, "have the scales") || strstr(err.text, "not ternary"));
    }
}

TEST(refuses_a_width_a_type_and_a_dialect_that_do_not_fit)
{
    make("a.gguf", CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s);
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_i2_s, .overwrite = true};
    options.dialect_is_given = true;
    options.dialect = BITNET_DIALECT_GGML;
    assert_int_equal(quantize_with("a.gguf", "b.gguf", &options), BITNET_UNSUPPORTED);
    assert_int_equal(quantize("a.gguf", "b.gguf", BITNET_DTYPE_iq3_s), BITNET_UNSUPPORTED);
    assert_int_equal(quantize("missing.gguf", "b.gguf", BITNET_DTYPE_i2_s), BITNET_NOT_FOUND);
}

TEST(a_code_that_no_trit_has_is_refused)
{
    make("a.gguf", CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s);
    struct bitnet_str text = {0};
    struct bitnet_gguf *a = open_file("a.gguf");
    expect_ok(bitnet_read_file(file("a.gguf"), 1 << 24, &text, &err));
    const struct bitnet_tensor *t = bitnet_gguf_find_tensor(a, BITNET_STR("blk.1.ffn_up.weight"));
    uint8_t code[1] = {0xff};
    const char *at = memmem(text.at, text.n, t->data.at, 64);
    assert_non_null(at);
    memcpy((char *)(uintptr_t)at + 7, code, 1);
    bitnet_gguf_close(a);
    temp_dir_write(&dir, "a.gguf", text.at, text.n);
    assert_int_equal(quantize("a.gguf", "b.gguf", BITNET_DTYPE_tq2_0), BITNET_FORMAT);
    assert_text_has(err.text, "tensor 'blk.1.ffn_up.weight'");
    assert_text_has(err.text, "no trit");
    bitnet_free((void *)(uintptr_t)text.at);
}

/* --- files of other programs --- */

TEST(files_of_other_programs_pass_through_and_keep_their_numbers)
{
    static const char *const names[] = {"tiny-b158.I2_S.gguf", "tiny-bitnet.I2_S.gguf",
                                        "tiny-bitnet.TQ2_0.gguf"};
    if (!bitnet_path_exists(GOLDEN "tiny-b158.I2_S.gguf")) {
        print_message("SKIPPED: " GOLDEN " is not there\n");
        skip();
    }
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[512];
        struct bitnet_str text = {0};
        snprintf(path, sizeof path, GOLDEN "%s", names[i]);
        expect_ok(bitnet_read_file(path, 1 << 24, &text, &err));
        temp_dir_write(&dir, "a.gguf", text.at, text.n);
        bitnet_free((void *)(uintptr_t)text.at);
        expect_ok(quantize("a.gguf", "i2_s.gguf", BITNET_DTYPE_i2_s));
        expect_ok(quantize("i2_s.gguf", "tl2.gguf", BITNET_DTYPE_tl2));
        expect_ok(quantize("tl2.gguf", "again.gguf", BITNET_DTYPE_i2_s));
        expect_same_tensors("i2_s.gguf", "again.gguf");
    }
}

/* How often a count of the processors asks for memory. Without an answer, threads that wait do so a
 * little more slowly: nobody is told. */
static size_t count_optional(void)
{
    struct bitnet_cores cores;
    bitnet_alloc_fail_at(-1);
    bitnet_cores_detect(&cores);
    return (size_t)bitnet_alloc_count();
}

TEST(every_allocation_that_fails_is_told_as_memory)
{
    make("a.gguf", CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s);
    expect_ok(quantize("a.gguf", "good.gguf", BITNET_DTYPE_tq2_0));
    size_t n_optional = count_optional(), n_forgiven = 0;
    long live = bitnet_alloc_live();
    bool was_hit = true;
    for (long n = 0; was_hit; n++) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = quantize("a.gguf", "b.gguf", BITNET_DTYPE_tq2_0);
        was_hit = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        if (status != BITNET_OK && (status != BITNET_MEMORY || !was_hit))
            fail_msg("allocation %ld: %s: %s", n, bitnet_status_name(status), err.text);
        assert_int_equal(bitnet_alloc_live(), live);
        if (status) {
            assert_int_equal(temp_dir_count(&dir), 2);
        } else {
            n_forgiven += was_hit;
            expect_same_tensors("good.gguf", "b.gguf");
            remove(file("b.gguf"));
        }
        assert_true(n < 100000);
    }
    assert_int_equal(n_forgiven, n_optional);
}

static int begin(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_ring_through_all_types_that_hold_trits_returns_the_first_bytes),
        T(every_ternary_type_becomes_every_other_and_comes_back),
        T(the_same_file_as_straight_from_the_checkpoint),
        T(keys_are_kept_and_those_of_the_type_are_new),
        T(what_is_no_linear_layer_stays_unless_a_type_is_named),
        T(keys_can_be_added_and_overridden),
        T(the_limit_on_memory_is_kept_or_refused),
        T(a_scale_that_is_no_number_in_copied_blocks_is_refused_by_name),
        T(floats_that_are_no_trits_are_refused_unless_lossy_is_allowed),
        T(scales_of_rows_go_where_there_is_one_for_each_row_and_nowhere_else),
        T(refuses_a_width_a_type_and_a_dialect_that_do_not_fit),
        T(a_code_that_no_trit_has_is_refused),
        T(files_of_other_programs_pass_through_and_keep_their_numbers),
        T(every_allocation_that_fails_is_told_as_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
