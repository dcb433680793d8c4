/* What a type cannot hold exactly is refused by tensor and numbers; with the user's leave it is
 * written, and then the report and the certificate say how far off it is. */
#include "cm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bitnet/alloc.h"
#include "bitnet/certificate.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/quant.h"
#include "bitnet/text.h"
#include "checkpoint.h"
#include "temp_dir.h"
#include "tiny_model.h"

static struct temp_dir dir;
static struct bitnet_error err;

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static const char *file(const char *name)
{
    return temp_dir_file(&dir, name);
}

static struct bitnet_convert_options options_for(enum bitnet_dtype type, bool allow_lossy)
{
    return (struct bitnet_convert_options){
        .type = type, .allow_lossy = allow_lossy, .overwrite = true, .n_threads = 2, .name = "x"};
}

static enum bitnet_status make_plan(struct bitnet_plan **plan, const char *gguf,
                                    const struct bitnet_convert_options *options)
{
    err = (struct bitnet_error){0};
    return gguf ? bitnet_plan_from_gguf(plan, file(gguf), options, &err)
                : bitnet_plan_new(plan, dir.path, options, &err);
}

/* The status of a whole conversion without leave; nothing may be left of it. */
static enum bitnet_status try(const char *gguf, enum bitnet_dtype type)
{
    struct bitnet_convert_options options = options_for(type, false);
    struct bitnet_plan *plan = NULL;
    remove(file("out.gguf"));
    enum bitnet_status status = make_plan(&plan, gguf, &options);
    if (!status) status = bitnet_plan_run(plan, file("out.gguf"), &err);
    bitnet_plan_free(plan);
    if (status) assert_false(bitnet_path_exists(file("out.gguf")));
    remove(file("out.gguf"));
    return status;
}

/* With leave: the row of this tensor says how far off it is, and so does the certificate. */
static struct bitnet_plan_row convert_lossy(const char *gguf, enum bitnet_dtype type,
                                            const char *tensor)
{
    struct bitnet_convert_options options = options_for(type, true);
    struct bitnet_plan *plan = NULL;
    struct bitnet_plan_row row = {0}; /* its texts die with the plan */
    struct bitnet_str text = {0};
    char words[96];
    MUST(make_plan(&plan, gguf, &options));
    MUST(bitnet_plan_run(plan, file("out.gguf"), &err));
    for (size_t i = 0; i < bitnet_plan_count(plan); i++)
        if (bitnet_str_is(bitnet_plan_at(plan, i)->target, tensor)) row = *bitnet_plan_at(plan, i);
    assert_false(row.is_exact);
    assert_true(row.max_deviation > 0);
    MUST(bitnet_certificate_write(plan, file("out.gguf"), file("cert.json"), &err));
    bitnet_plan_free(plan);

    MUST(bitnet_read_file(file("cert.json"), 1 << 24, &text, &err));
    snprintf(words, sizeof words, "\"name\": \"%s\"", tensor);
    const char *entry = strstr(text.at, words);
    assert_non_null(entry);
    snprintf(words, sizeof words, "\"exact\": false, \"max_deviation\": %.9g,", row.max_deviation);
    const char *said = strstr(entry, words), *next = strchr(entry, '\n');
    assert_true(said && next && said < next);
    bitnet_free((void *)(uintptr_t)text.at);
    const struct bitnet_certificate_options with_source = {.source = gguf ? file(gguf) : dir.path};
    MUST(bitnet_certificate_check(file("cert.json"), file("out.gguf"), &with_source, &err));
    return row;
}

/* ------------------------------------------------------------------ scales that differ */

static struct tiny_model *make_rows(enum bitnet_dtype type)
{
    struct tiny_spec spec = tiny_spec_b158();
    struct tiny_file how = {.linear = type, .embed = BITNET_DTYPE_f16};
    how.dialect = type == BITNET_DTYPE_f32 ? BITNET_DIALECT_GGML : BITNET_DIALECT_IK;
    spec.row_scales = true;
    struct tiny_model *model = tiny_model_new(&spec);
    assert_true(tiny_model_write(model, file("rows.gguf"), &how));
    return model;
}

/* What least squares makes of the scales of all rows. */
static double mean_scale(const struct tiny_linear *l)
{
    double sum = 0, n = 0;
    for (size_t i = 0; i < l->rows * l->cols; i++)
        if (l->trits[i]) sum += (double)l->scales[i / l->cols], n++;
    return sum / n;
}

static void check_joined(const struct tiny_linear *l, const char *tensor,
                         const struct bitnet_plan_row *row)
{
    struct bitnet_gguf *gguf = NULL;
    MUST(bitnet_gguf_open(&gguf, file("out.gguf"), NULL, &err));
    const struct bitnet_tensor *t = bitnet_gguf_find_tensor(gguf, bitnet_str_of(tensor));
    struct bitnet_layout layout = {
        .type = t->type, .rows = l->rows, .cols = l->cols, .tile = row->tile};
    int8_t *trits = malloc(l->rows * l->cols);
    float scale = 0;
    double mean = mean_scale(l), worst = 0;
    MUST(bitnet_codec(t->type)->decode_trits(&layout, t->data.at, t->data.n, trits, &scale, &err));
    assert_memory_equal(trits, l->trits, l->rows * l->cols);
    assert_true(fabs((double)scale - mean) < 1e-6 * mean);
    for (size_t r = 0; r < l->rows; r++) {
        bool has_trit = false;
        for (size_t c = 0; c < l->cols; c++) has_trit = has_trit || l->trits[r * l->cols + c];
        if (has_trit) worst = fmax(worst, fabs((double)l->scales[r] - (double)scale));
    }
    assert_true(fabs(worst - row->max_deviation) < 1e-6 * worst);
    free(trits);
    bitnet_gguf_close(gguf);
}

TEST(scales_of_rows_into_a_type_that_keeps_one)
{
    static const enum bitnet_dtype sources[] = {BITNET_DTYPE_iq2_bn, BITNET_DTYPE_f32};
    static const enum bitnet_dtype targets[] = {BITNET_DTYPE_i2_s, BITNET_DTYPE_tl1,
                                                BITNET_DTYPE_tl2};
    for (size_t s = 0; s < COUNT(sources); s++) {
        struct tiny_model *model = make_rows(sources[s]);
        for (size_t t = 0; t < COUNT(targets); t++) {
            assert_int_equal(try("rows.gguf", targets[t]), BITNET_INEXACT);
            assert_text_has(err.text, "tensor 'blk.0.attn_q.weight': ");
            assert_text_has(err.text, s ? "each row has its own scale (" : "have the scales ");
            struct bitnet_plan_row row =
                convert_lossy("rows.gguf", targets[t], "blk.0.ffn_up.weight");
            check_joined(&model->layers[0].linear[TINY_UP], "blk.0.ffn_up.weight", &row);
        }
        tiny_model_free(model);
    }
}

/* One scale for each block of 256 in TQ2_0, into one for each row. */
TEST(scales_of_blocks_into_a_type_that_keeps_one_for_a_row)
{
    struct bitnet_str text = {0};
    struct bitnet_gguf *gguf = NULL;
    struct tiny_model *model = make_rows(BITNET_DTYPE_iq2_bn);
    tiny_model_free(model);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_tq2_0, false);
    struct bitnet_plan *plan = NULL;
    MUST(make_plan(&plan, "rows.gguf", &options));
    MUST(bitnet_plan_run(plan, file("blocks.gguf"), &err));
    bitnet_plan_free(plan);
    MUST(bitnet_gguf_open(&gguf, file("blocks.gguf"), NULL, &err));
    const struct bitnet_tensor *t =
        bitnet_gguf_find_tensor(gguf, BITNET_STR("blk.0.ffn_down.weight"));
    MUST(bitnet_read_file(file("blocks.gguf"), 64u << 20, &text, &err));
    assert_true(t->dims[0] >= 512); /* two blocks in a row */
    uint8_t *scale = (uint8_t *)(uintptr_t)text.at + bitnet_gguf_position(gguf, t) + 64;
    bitnet_store_u16(scale, bitnet_f32_to_f16(2 * bitnet_f16_to_f32(bitnet_load_u16(scale))));
    temp_dir_write(&dir, "blocks.gguf", text.at, text.n);
    bitnet_free((void *)(uintptr_t)text.at);
    bitnet_gguf_close(gguf);
    assert_int_equal(try("blocks.gguf", BITNET_DTYPE_iq2_bn), BITNET_INEXACT);
    assert_text_has(err.text, "tensor 'blk.0.ffn_down.weight': ");
    convert_lossy("blocks.gguf", BITNET_DTYPE_iq2_bn, "blk.0.ffn_down.weight");
}

/* ------------------------------------------------------------------ widths */

TEST(a_width_that_is_no_multiple_is_refused_whatever_is_allowed)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET, CP_MASTERS);
    spec.n_layers = 1;
    spec.n_ffn = 8640; /* of bitnet_b1_58-3B: 67.5 groups of 128 */
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, dir.path);
    cp_free(cp);
    for (int allow = 0; allow < 2; allow++) {
        static const enum bitnet_dtype types[] = {BITNET_DTYPE_i2_s, BITNET_DTYPE_tq1_0,
                                                  BITNET_DTYPE_tq2_0};
        static const char *const words[] = {"cols 8640 is not a multiple of 128",
                                            "cols 8640 is not a multiple of 256",
                                            "cols 8640 is not a multiple of 256"};
        for (size_t i = 0; i < COUNT(types); i++) {
            struct bitnet_convert_options options = options_for(types[i], allow);
            struct bitnet_plan *plan = NULL;
            assert_int_equal(make_plan(&plan, NULL, &options), BITNET_UNSUPPORTED);
            assert_text_has(err.text, "tensor 'model.layers.0.mlp.down_proj.weight': ");
            assert_text_has(err.text, words[i]);
            assert_text_has(err.hint, "types that hold 256 x 8640 exactly: ");
            assert_text_has(err.hint, "tl2");
            assert_text_has(err.hint, "iq2_bn");
            assert_null(strstr(err.hint, "i2_s"));
        }
    }
    MUST(try(NULL, BITNET_DTYPE_iq2_bn));
    MUST(try(NULL, BITNET_DTYPE_tl2));
    struct bitnet_type_rule rule = {"ffn_down", BITNET_DTYPE_f16}; /* what the hint says */
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s, false);
    struct bitnet_plan *plan = NULL;
    options.rules = &rule;
    options.n_rules = 1;
    MUST(make_plan(&plan, NULL, &options));
    MUST(bitnet_plan_run(plan, file("out.gguf"), &err));
    bitnet_plan_free(plan);
}

/* ------------------------------------------------------------------ scales in f16 */

static void make_scale(float scale)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    spec.n_layers = 1;
    struct checkpoint *cp = cp_new(&spec);
    const struct cp_tensor *t = cp_find(cp, "blk.0.ffn_up.weight");
    int8_t *trits = malloc(t->rows * t->cols);
    memcpy(trits, t->trits, t->rows * t->cols);
    cp_set_trits(cp, "blk.0.ffn_up.weight", trits, scale);
    cp_write(cp, dir.path);
    free(trits);
    cp_free(cp);
}

TEST(a_scale_that_f16_rounds_by_more_than_usual)
{
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_tq1_0, BITNET_DTYPE_tq2_0};
    const float subnormal = 0x1.1ap-21f; /* f16 has 4 bits left there */
    for (size_t i = 0; i < COUNT(types); i++) {
        make_scale(subnormal);
        assert_int_equal(try(NULL, types[i]), BITNET_INEXACT);
        assert_text_has(err.text, "tensor 'model.layers.0.mlp.up_proj.weight': its scale 5.");
        assert_text_has(err.text, "where rounding is at most 0.049 %");
        assert_text_has(err.hint, "--allow-lossy");
        struct bitnet_plan_row row = convert_lossy(NULL, types[i], "blk.0.ffn_up.weight");
        assert_true(row.max_deviation < 0x1p-25);
    }
    make_scale(subnormal);
    MUST(try(NULL, BITNET_DTYPE_i2_s)); /* f32 holds it */
    make_scale(1e-9f);                  /* f16 makes it zero: no model is left */
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_tq2_0, true);
    struct bitnet_plan *plan = NULL;
    MUST(make_plan(&plan, NULL, &options));
    assert_int_equal(bitnet_plan_run(plan, file("out.gguf"), &err), BITNET_INEXACT);
    assert_text_has(err.text, "does not fit into the f16 of TQ2_0");
    bitnet_plan_free(plan);
}

TEST(floats_that_are_no_trits)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, dir.path);
    cp_free(cp);
    assert_int_equal(try(NULL, BITNET_DTYPE_i2_s), BITNET_INEXACT);
    assert_text_has(err.text, "self_attn.q_proj.weight': not ternary: it holds the magnitudes ");
    convert_lossy(NULL, BITNET_DTYPE_i2_s, "blk.0.attn_q.weight");
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
        T(scales_of_rows_into_a_type_that_keeps_one),
        T(scales_of_blocks_into_a_type_that_keeps_one_for_a_row),
        T(a_width_that_is_no_multiple_is_refused_whatever_is_allowed),
        T(a_scale_that_f16_rounds_by_more_than_usual),
        T(floats_that_are_no_trits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
