/* model.c and matrix.c: what is bound, what is refused and in which words, what is told. */
#include "run_model.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/quant.h"

#include "model.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_TOKENS 5
static const int32_t tokens[N_TOKENS] = {1, 20, 33, 47, 5};

struct written {
    struct tiny_model *tiny;
    char path[200];
};

static struct written write_with(struct tiny_spec spec, struct tiny_file file)
{
    struct written w = {.tiny = tiny_model_new(&spec)};
    tiny_path(w.path, sizeof w.path, "model.gguf");
    assert_true(tiny_model_write(w.tiny, w.path, &file));
    return w;
}

static void forget(struct written *w)
{
    unlink(w->path);
    tiny_model_free(w->tiny);
}

static const struct tiny_file i2_s = {
    .linear = BITNET_DTYPE_i2_s, .embed = BITNET_DTYPE_f16, .dialect = BITNET_DIALECT_BITNETCPP};

TEST(tells_what_it_opened)
{
    struct written w = write_with(tiny_spec_b158(), i2_s);
    struct bitnet_model *model;
    struct bitnet_error err;
    assert_int_equal(bitnet_model_open(&model, w.path, NULL, &err), BITNET_OK);
    assert_string_equal(bitnet_model_arch(model)->name, "bitnet-b1.58");
    assert_int_equal(bitnet_model_hparams(model)->n_layers, 2);
    assert_int_equal(bitnet_model_hparams(model)->n_vocab, 300);
    assert_non_null(bitnet_model_tokenizer(model));
    /* embedding 300 x 256, layer: q, o 256 x 256; k, v 128 x 256; three of 512 x 256; norms */
    uint64_t layer = 2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256 + 3 * 256 + 512;
    assert_int_equal(bitnet_model_parameters(model), 300 * 256 + 256 + 2 * layer);
    assert_true(bitnet_model_packed_bytes(model) > 0);
    bitnet_model_close(model);
    forget(&w);
}

TEST(a_model_without_a_vocabulary_runs)
{
    struct tiny_spec spec = tiny_spec_b158();
    spec.vocabulary = false;
    struct written w = write_with(spec, i2_s);
    struct bitnet_model *model;
    struct bitnet_error err;
    assert_int_equal(bitnet_model_open(&model, w.path, NULL, &err), BITNET_OK);
    assert_null(bitnet_model_tokenizer(model));
    assert_int_equal(bitnet_model_hparams(model)->n_vocab, spec.n_vocab);
    bitnet_model_close(model);
    forget(&w);
}

/* A vocabulary beside the file stands in, if it has the model's size; else those who need one are
 * told where it was looked for. */
TEST(the_tokenizer_of_a_model_is_searched_for)
{
    struct tiny_spec spec = tiny_spec_b158();
    struct bitnet_model *model;
    struct bitnet_error err;
    const struct bitnet_tokenizer *tokenizer;
    char folder[160], path[200], beside[200];
    struct bitnet_str json;
    spec.vocabulary = false;
    spec.n_vocab = 420; /* that of the small vocabulary */
    struct tiny_model *tiny = tiny_model_new(&spec);
    tiny_path(folder, sizeof folder, "searched");
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    snprintf(beside, sizeof beside, "%s/tokenizer.json", folder);
    assert_true(tiny_model_write(tiny, path, &i2_s));

    assert_int_equal(bitnet_model_open(&model, path, NULL, &err), BITNET_OK);
    assert_int_equal(bitnet_model_need_tokenizer(model, &tokenizer, &err), BITNET_NOT_FOUND);
    assert_text_has(err.text, "there is no tokenizer inside it, beside it or in a cache");
    assert_int_equal(bitnet_model_discovery(model)->n_attempts, 3);
    bitnet_model_close(model);

    assert_int_equal(bitnet_read_file(BITNET_SOURCE_DIR "/tests/golden/tokenizers/gpt2.json",
                                      (size_t)1 << 24, &json, NULL),
                     BITNET_OK);
    FILE *f = fopen(beside, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(json.at, 1, json.n, f), json.n);
    fclose(f);
    bitnet_free((void *)(uintptr_t)json.at);
    assert_int_equal(bitnet_model_open(&model, path, NULL, &err), BITNET_OK);
    assert_int_equal(bitnet_model_need_tokenizer(model, &tokenizer, &err), BITNET_OK);
    assert_int_equal(bitnet_model_discovery(model)->strategy, BITNET_STRATEGY_BESIDE);
    assert_int_equal(bitnet_tokenizer_size(tokenizer), 420);
    bitnet_model_close(model);

    /* One that the user names and that cannot be used is the end. */
    const struct bitnet_discovery_options named = {.path = path};
    const struct bitnet_model_options options = {.tokenizer = &named};
    assert_int_equal(bitnet_model_open(&model, path, &options, &err), BITNET_FORMAT);
    assert_text_has(err.text, "the tokenizer given, ");
    unlink(beside);
    unlink(path);
    rmdir(folder);
    tiny_model_free(tiny);
}

TEST(a_missing_file_is_not_found)
{
    struct bitnet_error err;
    assert_int_equal(open_fails("/nonexistent/model.gguf", &err), BITNET_NOT_FOUND);
    assert_text_has(err.text, "/nonexistent/model.gguf");
}

/* Sets the byte at the beginning of a tensor's data, found by its content in the file. */
static void damage(const char *path, const char *tensor_name, size_t at, uint8_t value)
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err;
    size_t n_bytes;
    uint8_t *bytes = read_all(path, &n_bytes);
    assert_int_equal(bitnet_gguf_open(&gguf, path, NULL, &err), BITNET_OK);
    const struct bitnet_tensor *t = bitnet_gguf_find_tensor(gguf, bitnet_str_of(tensor_name));
    assert_non_null(t);
    uint8_t *found = memmem(bytes, n_bytes, t->data.at, t->data.n);
    assert_non_null(found);
    found[at] = value;
    bitnet_gguf_close(gguf);
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    fclose(f);
    free(bytes);
}

TEST(a_damaged_code_is_named)
{
    struct written w = write_with(tiny_spec_b158(), i2_s);
    struct bitnet_error err;
    damage(w.path, "blk.1.ffn_up.weight", 7, 0xff); /* four codes 3 */
    assert_int_equal(open_fails(w.path, &err), BITNET_FORMAT);
    assert_text_has(err.text, "blk.1.ffn_up.weight");
    assert_text_has(err.text, w.path);
    forget(&w);
}

TEST(a_damaged_scale_is_named)
{
    struct written w = write_with(tiny_spec_b158(), i2_s);
    struct bitnet_error err;
    size_t scale = 512 * 256 / 4;
    damage(w.path, "blk.0.ffn_gate.weight", scale + 2, 0x80); /* 0x7f80....: infinite or NaN */
    damage(w.path, "blk.0.ffn_gate.weight", scale + 3, 0x7f);
    assert_int_equal(open_fails(w.path, &err), BITNET_FORMAT);
    assert_text_has(err.text, "blk.0.ffn_gate.weight");
    forget(&w);
}

TEST(a_tensor_that_no_role_claims_is_refused)
{
    struct tiny_file file = i2_s;
    file.extra_tensor = "blk.0.attn_q.bias";
    struct written w = write_with(tiny_spec_b158(), file);
    struct bitnet_error err;
    open_fails(w.path, &err);
    assert_text_has(err.text, "blk.0.attn_q.bias");
    forget(&w);
}

TEST(tl2_without_its_tile_is_refused)
{
    struct tiny_file file = {.linear = BITNET_DTYPE_tl2,
                             .embed = BITNET_DTYPE_f16,
                             .dialect = BITNET_DIALECT_BITNETCPP,
                             .no_tiles = true};
    struct written w = write_with(tiny_spec_b158(), file);
    struct bitnet_error err;
    assert_int_equal(open_fails(w.path, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "TL2");
    assert_text_has(err.text, "256 x 256");
    forget(&w);
}

TEST(tiles_of_an_unknown_version_are_refused)
{
    struct tiny_file file = {.linear = BITNET_DTYPE_tl2,
                             .embed = BITNET_DTYPE_f16,
                             .dialect = BITNET_DIALECT_BITNETCPP,
                             .tile_version = 2};
    struct written w = write_with(tiny_spec_b158(), file);
    struct bitnet_error err;
    assert_int_equal(open_fails(w.path, &err), BITNET_FORMAT);
    assert_text_has(err.text, "bitnet.tl.version");
    forget(&w);
    file.tile_version = 1;
    w = write_with(tiny_spec_b158(), file);
    free(run_model(w.path, tokens, N_TOKENS, &(struct run){0}));
    forget(&w);
}

TEST(the_scale_beside_a_matrix_of_ones_is_its_scale)
{
    struct tiny_spec spec = tiny_spec_bitnet();
    struct written w = write_with(spec, i2_s);
    float *want = run_model(w.path, tokens, N_TOKENS, &(struct run){0});
    forget(&w);
    struct tiny_file file = {
        .linear = BITNET_DTYPE_f32, .embed = BITNET_DTYPE_f16, .extra_scale = true};
    w = write_with(spec, file);
    float *got = run_model(w.path, tokens, N_TOKENS, &(struct run){0});
    assert_same_logits("matrix of ones and .scale", want, got, N_TOKENS, spec.n_vocab);
    free(want);
    free(got);
    forget(&w);
}

struct heard {
    size_t n;
    char text[400];
};

static void hear(void *user, enum bitnet_log_level level, const char *text)
{
    struct heard *heard = user;
    if (level != BITNET_LOG_WARNING) return;
    heard->n++;
    snprintf(heard->text, sizeof heard->text, "%s", text);
}

TEST(one_line_tells_of_layers_that_are_not_ternary)
{
    struct tiny_spec spec = tiny_spec_b158();
    struct tiny_model *m = tiny_model_new(&spec);
    struct heard heard = {0};
    const struct bitnet_log log = {.say = hear, .user = &heard};
    char path[200];
    tiny_model_make_dense(m, BITNET_DTYPE_q8_0);
    tiny_path(path, sizeof path, "dense.gguf");
    assert_true(tiny_model_write(
        m, path, &(struct tiny_file){.linear = BITNET_DTYPE_q8_0, .embed = BITNET_DTYPE_f16}));
    free(run_model(path, tokens, N_TOKENS, &(struct run){.log = &log}));
    assert_int_equal(heard.n, 1);
    assert_text_has(heard.text, "14 linear layers are not exactly ternary");
    assert_text_has(heard.text, "Q8_0");
    unlink(path);
    tiny_model_free(m);
}

TEST(a_ternary_model_is_opened_in_silence)
{
    struct heard heard = {0};
    const struct bitnet_log log = {.say = hear, .user = &heard};
    struct written w = write_with(tiny_spec_llama(), i2_s);
    free(run_model(w.path, tokens, N_TOKENS, &(struct run){.log = &log}));
    assert_int_equal(heard.n, 0);
    forget(&w);
}

/* A TQ2_0 row whose blocks differ in scale has no single scale: it runs dense, with the values of
 * its blocks. */
TEST(blocks_of_a_row_that_differ_in_scale_run_dense)
{
    const struct bitnet_codec *codec = bitnet_codec(BITNET_DTYPE_tq2_0);
    if (!codec || !codec->encode_trits || !codec->decode_rows) {
        print_message("[  SKIPPED ] TQ2_0 has no codec\n");
        skip();
    }
    struct tiny_spec spec = tiny_spec_b158();
    struct tiny_model *m = tiny_model_new(&spec);
    struct tiny_linear *l = &m->layers[0].linear[TINY_DOWN];
    char path[200];
    tiny_path(path, sizeof path, "blocks.gguf");
    const struct tiny_file file = {.linear = BITNET_DTYPE_tq2_0, .embed = BITNET_DTYPE_f16};
    assert_true(tiny_model_write(m, path, &file));
    /* The f16 scale of the second block of row 3: the 66-byte blocks end with it. */
    damage(path, "blk.0.ffn_down.weight", (3 * l->cols / 256 + 1) * 66 + 65, 0x3c);
    struct heard heard = {0};
    const struct bitnet_log log = {.say = hear, .user = &heard};
    float *got =
        run_model(path, tokens, N_TOKENS, &(struct run){.log = &log, .float_activations = true});
    assert_int_equal(heard.n, 2); /* not ternary; decoded, for TQ2_0 has no dense kernel */

    size_t n_bytes = l->rows * l->cols / 256 * 66;
    uint8_t *bytes = calloc(n_bytes, 1);
    const struct bitnet_layout layout = {
        .type = BITNET_DTYPE_tq2_0, .rows = l->rows, .cols = l->cols};
    struct bitnet_gguf *gguf;
    assert_int_equal(bitnet_gguf_open(&gguf, path, NULL, NULL), BITNET_OK);
    l->floats = calloc(l->rows * l->cols, sizeof(float));
    codec->decode_rows(&layout,
                       bitnet_gguf_find_tensor(gguf, BITNET_STR("blk.0.ffn_down.weight"))->data.at,
                       l->rows, l->floats);
    bitnet_gguf_close(gguf);
    double *want = calloc((size_t)N_TOKENS * spec.n_vocab, sizeof *want);
    tiny_model_logits(m, tokens, N_TOKENS, &(struct tiny_oracle){0}, want);
    struct difference d = compare_logits(got, want, N_TOKENS, spec.n_vocab);
    assert_true(d.max <= 1e-3 * d.spread);
    free(want);
    free(bytes);
    free(got);
    unlink(path);
    tiny_model_free(m);
}

/* --- memory --- */

static enum bitnet_status open_and_eval(const char *path)
{
    struct bitnet_model *model = NULL;
    struct bitnet_context *context = NULL;
    struct bitnet_error err = {0};
    enum bitnet_status status = bitnet_model_open(&model, path, NULL, &err);
    if (!status) status = bitnet_context_new(&context, model, NULL, &err);
    if (!status) status = bitnet_eval(context, tokens, N_TOKENS, &err);
    bitnet_context_free(context);
    bitnet_model_close(model);
    return status;
}

TEST(every_failing_allocation_is_reported_and_leaks_nothing)
{
    struct written w = write_with(tiny_spec_b158(), i2_s);
    long live = bitnet_alloc_live(), n = 0;
    for (;; n++) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = open_and_eval(w.path);
        bool was_reached = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!was_reached) {
            assert_int_equal(status, BITNET_OK);
            break;
        }
        if (status != BITNET_MEMORY) fail_msg("allocation %ld: status %d", n, (int)status);
    }
    assert_true(n > 20);
    forget(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_it_opened),
        cmocka_unit_test(a_model_without_a_vocabulary_runs),
        cmocka_unit_test(the_tokenizer_of_a_model_is_searched_for),
        cmocka_unit_test(a_missing_file_is_not_found),
        cmocka_unit_test(a_damaged_code_is_named),
        cmocka_unit_test(a_damaged_scale_is_named),
        cmocka_unit_test(a_tensor_that_no_role_claims_is_refused),
        cmocka_unit_test(tl2_without_its_tile_is_refused),
        cmocka_unit_test(tiles_of_an_unknown_version_are_refused),
        cmocka_unit_test(the_scale_beside_a_matrix_of_ones_is_its_scale),
        cmocka_unit_test(one_line_tells_of_layers_that_are_not_ternary),
        cmocka_unit_test(a_ternary_model_is_opened_in_silence),
        cmocka_unit_test(blocks_of_a_row_that_differ_in_scale_run_dense),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
