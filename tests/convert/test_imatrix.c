/* imatrix.c: both forms of the file, and what quantization makes of them. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "checkpoint.h"
#include "imatrix.h"
#include "temp_dir.h"

static struct temp_dir dir;
static struct bitnet_error err;

static void expect_ok(enum bitnet_status status)
{
    if (status) fail_msg("%s: %s", bitnet_status_name(status), err.text);
}

/* --- the old form --- */

struct bytes {
    uint8_t at[4096];
    size_t n;
};

static void add_u32(struct bytes *b, uint32_t v)
{
    bitnet_store_u32(b->at + b->n, v);
    b->n += 4;
}

static void add_entry(struct bytes *b, const char *name, uint32_t n_calls, const float *sums,
                      uint32_t n)
{
    add_u32(b, (uint32_t)strlen(name));
    memcpy(b->at + b->n, name, strlen(name));
    b->n += strlen(name);
    add_u32(b, n_calls);
    add_u32(b, n);
    for (uint32_t i = 0; i < n; i++, b->n += 4) bitnet_store_f32(b->at + b->n, sums[i]);
}

static enum bitnet_status parse(const struct bytes *b, struct imatrix **im)
{
    err = (struct bitnet_error){0};
    return imatrix_parse(im, (struct bitnet_bytes){b->at, b->n}, &err);
}

TEST(the_old_form_gives_sums_divided_by_calls)
{
    const float sums[3] = {2, 4, 8};
    struct bytes b = {.n = 0};
    struct imatrix *im = NULL;
    size_t n = 0;
    add_u32(&b, 2);
    add_entry(&b, "blk.0.attn_q.weight", 2, sums, 3);
    add_entry(&b, "x", 0, sums, 2);
    add_u32(&b, 7); /* what younger files have behind */
    expect_ok(parse(&b, &im));
    const float *v = imatrix_find(im, BITNET_STR("blk.0.attn_q.weight"), &n);
    assert_int_equal(n, 3);
    assert_true(v[0] == 1 && v[1] == 2 && v[2] == 4);
    v = imatrix_find(im, BITNET_STR("x"), &n);
    assert_int_equal(n, 2);
    assert_true(v[0] == 2 && v[1] == 4);
    assert_null(imatrix_find(im, BITNET_STR("y"), &n));
    imatrix_free(im);
}

TEST(the_old_form_is_refused_when_it_lies)
{
    const float good[2] = {1, 2}, negative[2] = {1, -2}, nan[2] = {1, __builtin_nanf("")};
    const float *values[] = {negative, nan};
    struct imatrix *im = NULL;
    for (size_t i = 0; i < 2; i++) {
        struct bytes b = {.n = 0};
        add_u32(&b, 1);
        add_entry(&b, "x", 1, values[i], 2);
        assert_int_equal(parse(&b, &im), BITNET_FORMAT);
        assert_text_has(err.text, "entry 'x': value 1 is");
        assert_null(im);
    }
    struct bytes twice = {.n = 0};
    add_u32(&twice, 2);
    add_entry(&twice, "x", 1, good, 2);
    add_entry(&twice, "x", 1, good, 2);
    assert_int_equal(parse(&twice, &im), BITNET_FORMAT);
    assert_text_has(err.text, "twice");
    for (size_t cut = 0; cut < twice.n; cut++) {
        struct bytes b = twice;
        b.n = cut;
        assert_int_equal(parse(&b, &im), BITNET_FORMAT);
    }
    struct bytes many = {.n = 0};
    add_u32(&many, 0xffffffffu);
    add_u32(&many, 0);
    assert_int_equal(parse(&many, &im), BITNET_FORMAT);
    assert_text_has(err.text, "4294967295 entries");
}

/* --- the GGUF form, and quantizing with either --- */

static const size_t cols = 256;

static float importance(size_t c)
{
    return (float)(1 + c % 7 * c % 13);
}

/* For every linear of `cols` columns in a small model of two layers; calls = 4. */
static const char *const names[] = {"attn_q",      "attn_k",   "attn_v",
                                    "attn_output", "ffn_gate", "ffn_up"};

static void write_old(void)
{
    size_t cap = 64 + 12 * (100 + 4 * cols), n = 4;
    uint8_t *bytes = calloc(cap, 1);
    bitnet_store_u32(bytes, 12);
    for (unsigned layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < COUNT(names); i++) {
            char name[64];
            int length = snprintf(name, sizeof name, "blk.%u.%s.weight", layer, names[i]);
            bitnet_store_u32(bytes + n, (uint32_t)length);
            memcpy(bytes + n + 4, name, (size_t)length);
            n += 4 + (size_t)length;
            bitnet_store_u32(bytes + n, 4);
            bitnet_store_u32(bytes + n + 4, (uint32_t)cols);
            n += 8;
            for (size_t c = 0; c < cols; c++, n += 4)
                bitnet_store_f32(bytes + n, 4 * importance(c));
        }
    temp_dir_write(&dir, "im.dat", bytes, n);
    free(bytes);
}

static void write_new(void)
{
    struct bitnet_gguf_writer *w = NULL;
    float sums[256], count = 4;
    for (size_t c = 0; c < cols; c++) sums[c] = 4 * importance(c);
    expect_ok(bitnet_gguf_writer_new(&w, temp_dir_file(&dir, "im.gguf"), NULL, &err));
    bitnet_gguf_put_str(w, "general.type", BITNET_STR("imatrix"));
    for (int pass = 0; pass < 2; pass++) {
        if (pass) expect_ok(bitnet_gguf_begin(w, &err));
        for (unsigned layer = 0; layer < 2; layer++)
            for (size_t i = 0; i < COUNT(names); i++) {
                char name[80];
                uint64_t dims[2] = {cols, 1}, one[2] = {1, 1};
                if (pass) {
                    expect_ok(bitnet_gguf_tensor_write(w, sums, sizeof sums, &err));
                    expect_ok(bitnet_gguf_tensor_write(w, &count, sizeof count, &err));
                    continue;
                }
                snprintf(name, sizeof name, "blk.%u.%s.weight.in_sum2", layer, names[i]);
                expect_ok(bitnet_gguf_tensor_declare(w, bitnet_str_of(name), BITNET_DTYPE_f32, dims,
                                                     2, &err));
                snprintf(name, sizeof name, "blk.%u.%s.weight.counts", layer, names[i]);
                expect_ok(bitnet_gguf_tensor_declare(w, bitnet_str_of(name), BITNET_DTYPE_f32, one,
                                                     2, &err));
            }
    }
    expect_ok(bitnet_gguf_finish(w, &err));
}

static struct bitnet_str converted(const char *imatrix)
{
    struct bitnet_convert_options options = {
        .type = BITNET_DTYPE_iq2_s, .overwrite = true, .n_threads = 2, .name = "x"};
    struct bitnet_plan *plan = NULL;
    struct bitnet_str text = {0};
    options.imatrix = imatrix;
    expect_ok(bitnet_plan_new(&plan, dir.path, &options, &err));
    expect_ok(bitnet_plan_run(plan, temp_dir_file(&dir, "out.gguf"), &err));
    bitnet_plan_free(plan);
    expect_ok(bitnet_read_file(temp_dir_file(&dir, "out.gguf"), 1 << 24, &text, &err));
    return text;
}

static void drop(struct bitnet_str text)
{
    bitnet_free((void *)(uintptr_t)text.at);
}

TEST(both_forms_quantize_to_the_same_bytes_and_others_than_without)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, dir.path);
    cp_free(cp);
    write_old();
    write_new();
    struct bitnet_str without = converted(NULL);
    struct bitnet_str old = converted(temp_dir_file(&dir, "im.dat"));
    struct bitnet_str new = converted(temp_dir_file(&dir, "im.gguf"));
    assert_true(bitnet_str_equal(old, new));
    assert_false(bitnet_str_equal(old, without));
    drop(without);
    drop(old);
    drop(new);
}

TEST(a_matrix_of_another_width_is_refused_by_name)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_iq2_s};
    struct bitnet_plan *plan = NULL;
    spec.n_embd = 512;
    spec.n_heads = 16;
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, dir.path);
    cp_free(cp);
    write_old();
    options.imatrix = temp_dir_file(&dir, "im.dat");
    assert_int_equal(bitnet_plan_new(&plan, dir.path, &options, &err), BITNET_FORMAT);
    assert_text_has(err.text, "tensor 'model.layers.0.self_attn.q_proj.weight'");
    assert_text_has(err.text, "has 256 values for it, expected 512");
    options.imatrix = temp_dir_file(&dir, "missing");
    assert_int_equal(bitnet_plan_new(&plan, dir.path, &options, &err), BITNET_NOT_FOUND);
    options.imatrix = temp_dir_file(&dir, "config.json");
    assert_int_equal(bitnet_plan_new(&plan, dir.path, &options, &err), BITNET_FORMAT);
}

TEST(types_by_pattern_the_last_that_matches_counts)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    const struct bitnet_type_rule rules[] = {{"^blk\\.1\\.", BITNET_DTYPE_tq2_0},
                                             {"ffn_down", BITNET_DTYPE_q8_0},
                                             {"token_embd", BITNET_DTYPE_q6_k}};
    struct bitnet_convert_options options = {
        .type = BITNET_DTYPE_i2_s, .rules = rules, .n_rules = 2, .overwrite = true};
    struct bitnet_plan *plan = NULL;
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, dir.path);
    /* the norms of layer 1 match too, and a norm is no trits */
    assert_int_equal(bitnet_plan_new(&plan, dir.path, &options, &err), BITNET_INEXACT);
    const struct bitnet_type_rule better[] = {
        {"^blk\\.1\\.(attn_[qkv]|ffn_(up|down))\\.", BITNET_DTYPE_tq2_0}, rules[1], rules[2]};
    options.rules = better;
    options.n_rules = 3;
    expect_ok(bitnet_plan_new(&plan, dir.path, &options, &err));
    expect_ok(bitnet_plan_run(plan, temp_dir_file(&dir, "out.gguf"), &err));
    const struct {
        const char *name;
        enum bitnet_dtype type;
    } expected[] = {
        {"blk.0.attn_q.weight", BITNET_DTYPE_i2_s},   {"blk.1.attn_q.weight", BITNET_DTYPE_tq2_0},
        {"blk.1.attn_norm.weight", BITNET_DTYPE_f32}, {"blk.0.ffn_down.weight", BITNET_DTYPE_q8_0},
        {"blk.1.ffn_down.weight", BITNET_DTYPE_q8_0}, {"token_embd.weight", BITNET_DTYPE_q6_k}};
    for (size_t i = 0; i < bitnet_plan_count(plan); i++)
        for (size_t k = 0; k < COUNT(expected); k++)
            if (bitnet_str_is(bitnet_plan_at(plan, i)->target, expected[k].name))
                assert_int_equal(bitnet_plan_at(plan, i)->type, expected[k].type);
    bitnet_plan_free(plan);
    const struct bitnet_type_rule broken = {"(", BITNET_DTYPE_f16};
    options.rules = &broken;
    options.n_rules = 1;
    assert_int_equal(bitnet_plan_new(&plan, dir.path, &options, &err), BITNET_USAGE);
    cp_free(cp);
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
        T(the_old_form_gives_sums_divided_by_calls),
        T(the_old_form_is_refused_when_it_lies),
        T(both_forms_quantize_to_the_same_bytes_and_others_than_without),
        T(a_matrix_of_another_width_is_refused_by_name),
        T(types_by_pattern_the_last_that_matches_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
