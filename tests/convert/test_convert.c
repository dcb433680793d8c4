/* A checkpoint through the whole room: whatever its spelling, what is read out of the GGUF by the
 * codecs is what the checkpoint means (checkpoint.h says that without the library). */
#include "cm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bitnet/alloc.h"
#include "bitnet/arch.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/quant.h"
#include "bitnet/text.h"
#include "checkpoint.h"
#include "temp_dir.h"

static struct temp_dir dir;
static struct bitnet_error err;

static const char *out_path(void)
{
    return temp_dir_file(&dir, "out.gguf");
}

/* Plans and runs; on success the plan is the caller's. */
static enum bitnet_status convert_with(const struct bitnet_convert_options *options,
                                       struct bitnet_plan **plan)
{
    struct bitnet_plan *p = NULL;
    err = (struct bitnet_error){0};
    enum bitnet_status status = bitnet_plan_new(&p, dir.path, options, &err);
    if (!status) status = bitnet_plan_run(p, out_path(), &err);
    if (plan && !status)
        *plan = p;
    else
        bitnet_plan_free(p);
    return status;
}

static struct bitnet_convert_options options_for(enum bitnet_dtype type)
{
    return (struct bitnet_convert_options){.type = type, .overwrite = true, .n_threads = 2};
}

static void expect_ok(enum bitnet_status status)
{
    if (status) fail_msg("%s: %s", bitnet_status_name(status), err.text);
}

#define REFUSES(expected, options, words)                                                          \
    do {                                                                                           \
        assert_int_equal(convert_with(options, NULL), expected);                                   \
        assert_text_has(err.text, words);                                                          \
    } while (0)

/* --- comparing --- */

static struct bitnet_tile tile_in(const struct bitnet_gguf *gguf, size_t rows, size_t cols)
{
    const char *const fields[3] = {"bm", "bk", "bmm"};
    uint64_t v[3] = {0};
    for (int i = 0; i < 3; i++) {
        char key[64];
        snprintf(key, sizeof key, "bitnet.tl.%zux%zu.%s", rows, cols, fields[i]);
        expect_ok(bitnet_gguf_u64(gguf, key, 1, 65536, BITNET_GGUF_REQUIRED, &v[i], &err));
    }
    return (struct bitnet_tile){(uint32_t)v[0], (uint32_t)v[1], (uint32_t)v[2]};
}

static void compare_trits(const struct bitnet_gguf *gguf, const struct cp_tensor *t,
                          const struct bitnet_tensor *w)
{
    const struct bitnet_codec *codec = bitnet_codec(w->type);
    struct bitnet_layout layout = {.type = w->type, .rows = t->rows, .cols = t->cols};
    if (w->type == BITNET_DTYPE_tl1 || w->type == BITNET_DTYPE_tl2)
        layout.tile = tile_in(gguf, t->rows, t->cols);
    size_t n_scales = bitnet_scale_count(&layout);
    int8_t *trits = malloc(t->rows * t->cols);
    float *scales = malloc(n_scales * sizeof *scales);
    expect_ok(codec->decode_trits(&layout, w->data.at, w->data.n, trits, scales, &err));
    assert_memory_equal(trits, t->trits, t->rows * t->cols);
    float scale = codec->scales_are_f16 ? bitnet_f16_to_f32(bitnet_f32_to_f16(t->scale)) : t->scale;
    for (size_t i = 0; i < n_scales; i++) assert_memory_equal(&scales[i], &scale, sizeof scale);
    free(trits);
    free(scales);
}

static float narrowed(enum bitnet_dtype type, float x)
{
    if (type == BITNET_DTYPE_f16) return bitnet_f16_to_f32(bitnet_f32_to_f16(x));
    if (type == BITNET_DTYPE_bf16) return bitnet_bf16_to_f32(bitnet_f32_to_bf16(x));
    return x;
}

static void compare_floats(const struct cp_tensor *t, const struct bitnet_tensor *w)
{
    struct bitnet_layout layout = {.type = w->type, .rows = t->rows, .cols = t->cols};
    float *values = malloc(t->rows * t->cols * sizeof *values);
    bitnet_codec(w->type)->decode_rows(&layout, w->data.at, t->rows, values);
    double worst = 0;
    for (size_t i = 0; i < t->rows * t->cols; i++) {
        double d = fabs((double)values[i] - (double)narrowed(w->type, t->values[i]));
        if (d > worst) worst = d;
    }
    bool is_float = bitnet_dtype_info(w->type)->kind == BITNET_KIND_FLOAT;
    if (worst > (is_float ? 0 : 0.3)) fail_msg("%s: off by %g", t->name, worst);
    free(values);
}

static void compare_file(const struct checkpoint *cp, enum bitnet_dtype type)
{
    struct bitnet_gguf *gguf = NULL;
    size_t n = 0;
    expect_ok(bitnet_gguf_open(&gguf, out_path(), NULL, &err));
    for (size_t i = 0; i < cp->n; i++) {
        const struct cp_tensor *t = &cp->tensors[i];
        if (!t->gguf[0]) continue;
        const struct bitnet_tensor *w = bitnet_gguf_find_tensor(gguf, bitnet_str_of(t->gguf));
        if (!w) fail_msg("%s is missing", t->gguf);
        n++;
        assert_int_equal(w->dims[0], t->cols);
        assert_int_equal(w->dims[1], t->rows);
        bool is_linear = strstr(t->gguf, "attn_q.") || strstr(t->gguf, "ffn_down.");
        if (is_linear) assert_int_equal(w->type, type);
        if (bitnet_dtype_info(w->type)->kind == BITNET_KIND_TERNARY)
            compare_trits(gguf, t, w);
        else
            compare_floats(t, w);
    }
    assert_int_equal(bitnet_gguf_tensor_count(gguf), n);
    expect_ok(bitnet_arch_validate(gguf, &err));
    bitnet_gguf_close(gguf);
}

static void convert_and_compare(const struct cp_spec *spec, enum bitnet_dtype type)
{
    struct checkpoint *cp = cp_new(spec);
    struct bitnet_convert_options options = options_for(type);
    cp_write(cp, dir.path);
    enum bitnet_status status = convert_with(&options, NULL);
    if (status)
        fail_msg("arch %d storage %d as %s: %s", (int)spec->arch, (int)spec->storage,
                 bitnet_dtype_info(type)->name, err.text);
    compare_file(cp, type);
    cp_free(cp);
}

/* --- what goes in comes out --- */

static const enum bitnet_dtype ternary_types[] = {
    BITNET_DTYPE_i2_s,  BITNET_DTYPE_tl1,    BITNET_DTYPE_tl2,      BITNET_DTYPE_tq1_0,
    BITNET_DTYPE_tq2_0, BITNET_DTYPE_iq2_bn, BITNET_DTYPE_iq2_bn_r4};
static const enum bitnet_dtype float_types[] = {BITNET_DTYPE_f32, BITNET_DTYPE_f16,
                                                BITNET_DTYPE_bf16};
static const enum bitnet_dtype block_types[] = {BITNET_DTYPE_q8_0, BITNET_DTYPE_q6_k,
                                                BITNET_DTYPE_q4_0};

TEST(every_spelling_of_trits_becomes_every_ternary_type)
{
    for (int arch = CP_LLAMA; arch <= CP_BITNET; arch++)
        for (int storage = CP_TERNARY; storage <= CP_PACKED_DIVIDE; storage++)
            for (size_t t = 0; t < COUNT(ternary_types); t++) {
                struct cp_spec spec = cp_spec_small(arch, storage);
                /* without a word in config.json, 1bitLLM's floats are masters */
                if (arch == CP_BITNET && storage == CP_TERNARY) continue;
                convert_and_compare(&spec, ternary_types[t]);
            }
}

TEST(every_spelling_of_trits_becomes_floats_and_blocks)
{
    for (int arch = CP_LLAMA; arch <= CP_BITNET; arch++)
        for (int storage = CP_MASTERS; storage <= CP_PACKED_DIVIDE; storage++) {
            struct cp_spec spec = cp_spec_small(arch, storage);
            for (size_t t = 0; t < COUNT(float_types); t++)
                convert_and_compare(&spec, float_types[t]);
            for (size_t t = 0; t < COUNT(block_types); t++)
                convert_and_compare(&spec, block_types[t]);
        }
}

TEST(plain_floats_of_every_width_become_floats_and_blocks)
{
    static const char *const dtypes[] = {"BF16", "F16", "F32", "F64"};
    for (int arch = CP_LLAMA; arch <= CP_BITNET_B158; arch++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            struct cp_spec spec = cp_spec_small(arch, CP_PLAIN);
            spec.dtype = dtypes[d];
            for (size_t t = 0; t < COUNT(float_types); t++)
                convert_and_compare(&spec, float_types[t]);
            for (size_t t = 0; t < COUNT(block_types); t++)
                convert_and_compare(&spec, block_types[t]);
        }
}

TEST(masters_of_every_width_become_the_same_trits_as_by_definition)
{
    static const char *const dtypes[] = {"BF16", "F16", "F32", "F64"};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_MASTERS);
        spec.dtype = dtypes[d];
        convert_and_compare(&spec, BITNET_DTYPE_i2_s);
        convert_and_compare(&spec, BITNET_DTYPE_tl2);
    }
}

TEST(heads_that_are_wider_than_their_share_of_the_width)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PACKED_DIVIDE);
    spec.head_dim = 64;
    convert_and_compare(&spec, BITNET_DTYPE_i2_s);
    convert_and_compare(&spec, BITNET_DTYPE_f32);
}

static struct bitnet_str read_out(void)
{
    struct bitnet_str text = {0};
    expect_ok(bitnet_read_file(out_path(), 64u << 20, &text, &err));
    return text;
}

TEST(shards_make_the_same_file_as_one)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PACKED_DIVIDE);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    options.name = "x";
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, dir.path);
    expect_ok(convert_with(&options, NULL));
    struct bitnet_str one = read_out();
    remove(temp_dir_file(&dir, "model.safetensors"));
    cp->spec.n_shards = 3;
    cp_write(cp, dir.path);
    expect_ok(convert_with(&options, NULL));
    struct bitnet_str three = read_out();
    assert_true(bitnet_str_equal(one, three));
    bitnet_free((void *)(uintptr_t)one.at);
    bitnet_free((void *)(uintptr_t)three.at);
    cp_free(cp);
}

/* --- the plan --- */

TEST(the_plan_tells_everything_before_a_byte_is_written)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_tl2);
    struct bitnet_plan *plan = NULL;
    cp_write(cp, dir.path);
    size_t n_files = temp_dir_count(&dir);
    expect_ok(bitnet_plan_new(&plan, dir.path, &options, &err));
    assert_int_equal(temp_dir_count(&dir), n_files);
    assert_string_equal(bitnet_plan_arch(plan), "bitnet-b1.58");
    assert_int_equal(bitnet_plan_dialect(plan), BITNET_DIALECT_BITNETCPP);
    uint64_t weights = 0;
    for (size_t i = 0; i < bitnet_plan_count(plan); i++) {
        const struct bitnet_plan_row *row = bitnet_plan_at(plan, i);
        char name[96];
        snprintf(name, sizeof name, "%.*s", BITNET_STR_ARGS(row->target));
        const struct cp_tensor *t = cp_find(cp, name);
        assert_non_null(t);
        assert_true(bitnet_str_is(row->source, t->name));
        assert_int_equal(row->dims[0] * row->dims[1], t->rows * t->cols);
        weights += t->rows * t->cols;
        if (t->trits) {
            assert_int_equal(row->type, BITNET_DTYPE_tl2);
            assert_string_equal(row->source_dtype, "U8 packed");
            assert_int_not_equal(row->tile.rows, 0);
        } else {
            assert_int_equal(row->type, row->n_dims == 1 ? BITNET_DTYPE_f32 : BITNET_DTYPE_f16);
        }
    }
    assert_int_equal(bitnet_plan_parameters(plan), weights);
    assert_null(bitnet_plan_at(plan, bitnet_plan_count(plan)));
    expect_ok(bitnet_plan_run(plan, out_path(), &err));
    struct bitnet_str written = read_out();
    assert_int_equal(written.n, bitnet_plan_file_bytes(plan));
    bitnet_free((void *)(uintptr_t)written.at);
    for (size_t i = 0; i < bitnet_plan_count(plan); i++)
        if (bitnet_plan_at(plan, i)->type != BITNET_DTYPE_f16)
            assert_true(bitnet_plan_at(plan, i)->is_exact);
    bitnet_plan_free(plan);
    cp_free(cp);
}

TEST(rounding_is_reported)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_MASTERS);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_tq2_0);
    struct bitnet_plan *plan = NULL;
    cp_write(cp, dir.path);
    expect_ok(convert_with(&options, &plan));
    for (size_t i = 0; i < bitnet_plan_count(plan); i++) {
        const struct bitnet_plan_row *row = bitnet_plan_at(plan, i);
        if (row->type != BITNET_DTYPE_tq2_0) continue;
        assert_false(row->is_exact); /* an f32 mean is no binary16 */
        assert_true(row->max_deviation > 0 && row->max_deviation < row->scale / 1024);
    }
    bitnet_plan_free(plan);
    cp_free(cp);
}

TEST(types_of_embedding_and_output_can_be_chosen)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PACKED_DIVIDE);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    struct bitnet_gguf *gguf = NULL;
    options.embed_type_is_given = options.output_type_is_given = true;
    options.embed_type = BITNET_DTYPE_f32;
    options.output_type = BITNET_DTYPE_q6_k;
    cp_write(cp, dir.path);
    expect_ok(convert_with(&options, NULL));
    expect_ok(bitnet_gguf_open(&gguf, out_path(), NULL, &err));
    assert_int_equal(bitnet_gguf_find_tensor(gguf, BITNET_STR("token_embd.weight"))->type,
                     BITNET_DTYPE_f32);
    assert_int_equal(bitnet_gguf_find_tensor(gguf, BITNET_STR("output.weight"))->type,
                     BITNET_DTYPE_q6_k);
    bitnet_gguf_close(gguf);
    options.embed_type = BITNET_DTYPE_i2_s;
    REFUSES(BITNET_INEXACT, &options, "token embedding: I2_S would destroy");
    cp_free(cp);
}

TEST(modules_that_are_kept_stay_floats)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    struct bitnet_gguf *gguf = NULL;
    char *end = strrchr(cp->config, '}');
    strcpy(end, ",\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":"
                "\"autobitlinear\",\"quantization_mode\":\"online\",\"modules_to_not_convert\":"
                "[\"model.layers.1.mlp\"]}}");
    cp_write(cp, dir.path);
    expect_ok(convert_with(&options, NULL));
    expect_ok(bitnet_gguf_open(&gguf, out_path(), NULL, &err));
    const struct bitnet_tensor *kept =
        bitnet_gguf_find_tensor(gguf, BITNET_STR("blk.1.ffn_up.weight"));
    assert_int_equal(kept->type, BITNET_DTYPE_f16);
    compare_floats(cp_find(cp, "blk.1.ffn_up.weight"), kept);
    assert_int_equal(bitnet_gguf_find_tensor(gguf, BITNET_STR("blk.0.ffn_up.weight"))->type,
                     BITNET_DTYPE_i2_s);
    bitnet_gguf_close(gguf);
    cp_free(cp);
}

TEST(stretched_rope_becomes_a_tensor_of_divisors)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PACKED_DIVIDE);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    struct bitnet_gguf *gguf = NULL;
    strcpy(strrchr(cp->config, '}'),
           ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
           "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}}");
    cp_write(cp, dir.path);
    expect_ok(convert_with(&options, NULL));
    expect_ok(bitnet_gguf_open(&gguf, out_path(), NULL, &err));
    const struct bitnet_tensor *t = bitnet_gguf_find_tensor(gguf, BITNET_STR("rope_freqs.weight"));
    assert_non_null(t);
    assert_int_equal(t->dims[0], spec.head_dim / 2);
    assert_true(bitnet_load_f32(t->data.at) == 1.0f);
    assert_true(bitnet_load_f32(t->data.at + t->data.n - 4) == 8.0f);
    bitnet_gguf_close(gguf);
    cp_free(cp);
}

TEST(the_file_name_tells_name_size_and_type)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PACKED_DIVIDE);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    struct bitnet_plan *plan = NULL;
    options.name = "my model/1";
    cp_write(cp, dir.path);
    expect_ok(bitnet_plan_new(&plan, dir.path, &options, &err));
    assert_string_equal(bitnet_plan_file_name(plan), "my-model-1-1.3M-I2_S.gguf");
    bitnet_plan_free(plan);
    cp_free(cp);
}

/* --- refusals --- */

static struct cp_tensor *tensor_named(struct checkpoint *cp, const char *name)
{
    for (size_t i = 0; i < cp->n; i++)
        if (strcmp(cp->tensors[i].name, name) == 0) return &cp->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static const char up_proj[] = "model.layers.1.mlp.up_proj.weight";

TEST(refuses_to_destroy_a_model_that_is_not_ternary)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    struct bitnet_plan *plan = NULL;
    cp_write(cp, dir.path);
    REFUSES(BITNET_INEXACT, &options,
            "tensor 'model.layers.0.self_attn.q_proj.weight': not ternary");
    assert_text_has(err.hint, "--allow-lossy");
    assert_false(bitnet_path_exists(out_path()));
    options.allow_lossy = true;
    expect_ok(convert_with(&options, &plan));
    for (size_t i = 0; i < bitnet_plan_count(plan); i++) {
        const struct bitnet_plan_row *row = bitnet_plan_at(plan, i);
        if (row->type == BITNET_DTYPE_i2_s) assert_false(row->is_exact && row->max_deviation == 0);
    }
    bitnet_plan_free(plan);
    cp_free(cp);
}

TEST(refuses_a_width_that_the_type_cannot_hold)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    spec.n_ffn = 544;
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, dir.path);
    assert_int_equal(bitnet_status_exit_code(convert_with(&options, NULL)), 3);
    assert_text_has(err.text, "tensor 'model.layers.0.mlp.down_proj.weight'");
    assert_text_has(err.text, "cols 544 is not a multiple of 128");
    cp_free(cp);
}

TEST(refuses_tensors_that_are_missing_or_have_another_shape_or_dtype)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_f16);
    struct checkpoint *cp = cp_new(&spec);
    struct cp_tensor *t = tensor_named(cp, up_proj);
    strcpy(t->name, "x");
    cp_write(cp, dir.path);
    REFUSES(BITNET_FORMAT, &options, "tensor 'model.layers.1.mlp.up_proj.weight' is missing");
    strcpy(t->name, up_proj);
    size_t rows = t->dims[0];
    t->dims[0] = t->dims[1];
    t->dims[1] = rows;
    cp_write(cp, dir.path);
    REFUSES(BITNET_FORMAT, &options, "shape 256 x 512, expected 512 x 256");
    t->dims[1] = t->dims[0];
    t->dims[0] = rows;
    t->dtype = "I16";
    cp_write(cp, dir.path);
    REFUSES(BITNET_UNSUPPORTED, &options, "dtype I16 is not supported here");
    cp_free(cp);
}

TEST(refuses_packed_weights_whose_scale_means_nothing)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    struct checkpoint *cp = cp_new(&spec);
    struct cp_tensor *s = tensor_named(cp, "model.layers.1.mlp.up_proj.weight_scale");
    bitnet_store_u16(s->bytes, 0);
    cp_write(cp, dir.path);
    REFUSES(BITNET_FORMAT, &options, "weight_scale is 0 (must be positive and finite)");
    bitnet_store_u16(s->bytes, 0x7f80);
    cp_write(cp, dir.path);
    REFUSES(BITNET_FORMAT, &options, "weight_scale is inf");
    strcpy(s->name, "x");
    cp_write(cp, dir.path);
    REFUSES(BITNET_FORMAT, &options, "'weight_scale' is missing");
    *strstr(cp->config, "quantization_config") = 'X';
    cp_write(cp, dir.path);
    REFUSES(BITNET_UNSUPPORTED, &options, "config.json does not say that weights are packed");
    cp_free(cp);
}

TEST(refuses_a_packed_code_that_no_trit_has)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    struct checkpoint *cp = cp_new(&spec);
    tensor_named(cp, up_proj)->bytes[5] |= 0x0c;
    cp_write(cp, dir.path);
    REFUSES(BITNET_FORMAT, &options, "tensor 'model.layers.1.mlp.up_proj.weight': packed byte 5");
    assert_false(bitnet_path_exists(out_path()));
    cp_free(cp);
}

TEST(refuses_nan_and_infinity_by_place)
{
    static const uint16_t bad[] = {0x7fc0, 0x7f80, 0xff80};
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_f32, BITNET_DTYPE_f16,
                                              BITNET_DTYPE_q8_0};
    for (int storage = CP_PLAIN; storage <= CP_MASTERS; storage++) {
        if (storage == CP_TERNARY) continue;
        for (size_t b = 0; b < COUNT(bad); b++)
            for (size_t t = 0; t < COUNT(types); t++) {
                struct cp_spec spec = cp_spec_small(CP_LLAMA, storage);
                struct checkpoint *cp = cp_new(&spec);
                struct bitnet_convert_options options = options_for(types[t]);
                bitnet_store_u16(tensor_named(cp, up_proj)->bytes + 2 * (3 * 256 + 17), bad[b]);
                cp_write(cp, dir.path);
                REFUSES(BITNET_FORMAT, &options, "value [3][17] is ");
                assert_text_has(err.text, up_proj);
                cp_free(cp);
            }
    }
}

TEST(refuses_a_number_that_f16_cannot_hold)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_f16);
    struct checkpoint *cp = cp_new(&spec);
    struct cp_tensor *t = tensor_named(cp, up_proj);
    bitnet_store_u16(t->bytes + 2, bitnet_f32_to_bf16(65280)); /* the largest bf16 that fits */
    cp_write(cp, dir.path);
    expect_ok(convert_with(&options, NULL));
    bitnet_store_u16(t->bytes + 2, bitnet_f32_to_bf16(65536));
    cp_write(cp, dir.path);
    REFUSES(BITNET_INEXACT, &options, "value [0][1] is 65536, too large for F16");
    options.type = BITNET_DTYPE_bf16;
    expect_ok(convert_with(&options, NULL));
    cp_free(cp);
}

TEST(refuses_tensors_whose_loss_would_change_the_model)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_f16);
    struct checkpoint *cp = cp_new(&spec);
    struct cp_tensor *extra = tensor_named(cp, "model.norm.weight");
    char name[96];
    memcpy(name, extra->name, sizeof name);
    strcpy(extra->name, "model.layers.0.mlp.up_proj.rms_norm.weight");
    cp_write(cp, dir.path);
    assert_int_equal(convert_with(&options, NULL), BITNET_FORMAT); /* the norm is missing */
    memcpy(extra->name, name, sizeof name);
    extra = tensor_named(cp, "lm_head.weight");
    strcpy(extra->name, "model.layers.0.mlp.up_proj.bias");
    char *tie = strstr(cp->config, "false");
    memcpy(tie, "true ", 5);
    cp_write(cp, dir.path);
    REFUSES(BITNET_UNSUPPORTED, &options, "leaving it out would change the model");
    strcpy(extra->name, "model.layers.0.self_attn.rotary_emb.inv_freq");
    cp_write(cp, dir.path);
    expect_ok(convert_with(&options, NULL));
    strcpy(extra->name, "somebody.else");
    cp_write(cp, dir.path);
    expect_ok(convert_with(&options, NULL));
    cp_free(cp);
}

TEST(a_head_that_is_tied_is_left_out_and_one_that_is_not_is_needed)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_f16);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_gguf *gguf = NULL;
    strcpy(tensor_named(cp, "lm_head.weight")->name, "y");
    cp_write(cp, dir.path);
    REFUSES(BITNET_FORMAT, &options, "tensor 'lm_head.weight' is missing");
    assert_text_has(err.hint, "tie_word_embeddings");
    strcpy(tensor_named(cp, "y")->name, "lm_head.weight");
    memcpy(strstr(cp->config, "false"), "true ", 5);
    cp_write(cp, dir.path);
    expect_ok(convert_with(&options, NULL));
    expect_ok(bitnet_gguf_open(&gguf, out_path(), NULL, &err));
    assert_null(bitnet_gguf_find_tensor(gguf, BITNET_STR("output.weight")));
    bitnet_gguf_close(gguf);
    cp_free(cp);
}

TEST(says_which_file_is_missing)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_f16);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_plan *plan = NULL;
    assert_int_equal(bitnet_plan_new(&plan, "/nonexistent", &options, &err), BITNET_NOT_FOUND);
    assert_null(plan);
    cp_write(cp, dir.path);
    remove(temp_dir_file(&dir, "tokenizer.json"));
    assert_int_equal(convert_with(&options, NULL), BITNET_NOT_FOUND);
    assert_text_has(err.text, "tokenizer");
    cp_write(cp, dir.path);
    remove(temp_dir_file(&dir, "config.json"));
    assert_int_equal(convert_with(&options, NULL), BITNET_NOT_FOUND);
    assert_text_has(err.text, "config.json");
    cp_write(cp, dir.path);
    remove(temp_dir_file(&dir, "model.safetensors"));
    REFUSES(BITNET_NOT_FOUND, &options, "model.safetensors");
    temp_dir_write(&dir, "pytorch_model.bin", "\x80\x02", 2);
    REFUSES(BITNET_POLICY, &options, "pickle");
    cp_free(cp);
}

TEST(refuses_an_index_that_lies)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_f16);
    spec.n_shards = 2;
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, dir.path);
    struct bitnet_str text = {0};
    expect_ok(bitnet_read_file(temp_dir_file(&dir, "model.safetensors.index.json"), 1 << 20, &text,
                               &err));
    static const char *const changes[][3] = {
        {"model-00001-of-00002", "../el-00001-of-00002", "is not a plain file name"},
        {"model-00001-of-00002", "model-00003-of-00002", "does not exist"},
        {"model-00001-of-00002", "model-00002-of-00002", "where the index maps it"},
        {"weight_map", "weight_nap", "'weight_map' is missing"},
    };
    for (size_t i = 0; i < COUNT(changes); i++) {
        char *copy = malloc(text.n + 1);
        memcpy(copy, text.at, text.n + 1);
        memcpy(strstr(copy, changes[i][0]), changes[i][1], strlen(changes[i][1]));
        temp_dir_write(&dir, "model.safetensors.index.json", copy, text.n);
        free(copy);
        assert_int_not_equal(convert_with(&options, NULL), BITNET_OK);
        assert_text_has(err.text, changes[i][2]);
    }
    bitnet_free((void *)(uintptr_t)text.at);
    cp_free(cp);
}

TEST(an_existing_file_is_kept_unless_asked_for)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    cp_write(cp, dir.path);
    temp_dir_write(&dir, "out.gguf", "mine", 4);
    size_t n_files = temp_dir_count(&dir);
    options.overwrite = false;
    assert_int_equal(convert_with(&options, NULL), BITNET_POLICY);
    struct bitnet_str kept = read_out();
    assert_int_equal(kept.n, 4);
    bitnet_free((void *)(uintptr_t)kept.at);
    assert_int_equal(temp_dir_count(&dir), n_files);
    options.overwrite = true;
    expect_ok(convert_with(&options, NULL));
    compare_file(cp, BITNET_DTYPE_i2_s);
    cp_free(cp);
}

TEST(tiles_come_with_the_file_and_beside_it)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_tl2);
    struct bitnet_str ini = {0};
    struct bitnet_gguf *gguf = NULL;
    cp_write(cp, dir.path);
    options.tile = (struct bitnet_tile){128, 96, 32};
    expect_ok(convert_with(&options, NULL));
    compare_file(cp, BITNET_DTYPE_tl2);
    expect_ok(bitnet_gguf_open(&gguf, out_path(), NULL, &err));
    struct bitnet_tile tile = tile_in(gguf, 512, 256);
    assert_true(tile.rows == 128 && tile.cols == 96 && tile.sub_rows == 32);
    bitnet_gguf_close(gguf);
    expect_ok(bitnet_read_file(temp_dir_file(&dir, "out.kernel_config.ini"), 1 << 20, &ini, &err));
    assert_text_has(ini.at, "m = 512\nk = 256\nbm = 128\nbk = 96\nbmm = 32\n");
    bitnet_free((void *)(uintptr_t)ini.at);
    options.tile = (struct bitnet_tile){100, 96, 32};
    assert_int_not_equal(convert_with(&options, NULL), BITNET_OK);
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
        T(every_spelling_of_trits_becomes_every_ternary_type),
        T(every_spelling_of_trits_becomes_floats_and_blocks),
        T(plain_floats_of_every_width_become_floats_and_blocks),
        T(masters_of_every_width_become_the_same_trits_as_by_definition),
        T(heads_that_are_wider_than_their_share_of_the_width),
        T(shards_make_the_same_file_as_one),
        T(the_plan_tells_everything_before_a_byte_is_written),
        T(rounding_is_reported),
        T(types_of_embedding_and_output_can_be_chosen),
        T(modules_that_are_kept_stay_floats),
        T(stretched_rope_becomes_a_tensor_of_divisors),
        T(the_file_name_tells_name_size_and_type),
        T(refuses_to_destroy_a_model_that_is_not_ternary),
        T(refuses_a_width_that_the_type_cannot_hold),
        T(refuses_tensors_that_are_missing_or_have_another_shape_or_dtype),
        T(refuses_packed_weights_whose_scale_means_nothing),
        T(refuses_a_packed_code_that_no_trit_has),
        T(refuses_nan_and_infinity_by_place),
        T(refuses_a_number_that_f16_cannot_hold),
        T(refuses_tensors_whose_loss_would_change_the_model),
        T(a_head_that_is_tied_is_left_out_and_one_that_is_not_is_needed),
        T(says_which_file_is_missing),
        T(refuses_an_index_that_lies),
        T(an_existing_file_is_kept_unless_asked_for),
        T(tiles_come_with_the_file_and_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
