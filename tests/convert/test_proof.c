/* convert/proof.c, reference.c, reference_numbers.c: a right file computes what its checkpoint
 * computes, and a wrong one is told what it computes instead. The runner is the one of the
 * programs. */
#include "cm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../convert/main_runner.h"
#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/doctor.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/pool.h"
#include "bitnet/text.h"
#include "checkpoint.h"
#include "proof.h"
#include "reference.h"
#include "temp_dir.h"

static struct temp_dir dir, source_dir;
static struct bitnet_error err;

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static const char *file(const char *name)
{
    return temp_dir_file(&dir, name);
}

static void make_source(enum cp_arch arch, enum cp_storage storage)
{
    struct cp_spec spec = cp_spec_small(arch, storage);
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, source_dir.path);
    cp_free(cp);
}

static struct bitnet_convert_options options_for(enum bitnet_dtype type)
{
    return (struct bitnet_convert_options){.type = type,
                                           .verify = BITNET_VERIFY_PPL,
                                           .runner = &main_runner,
                                           .overwrite = true,
                                           .n_threads = 2,
                                           .name = "x"};
}

static struct bitnet_plan *plan_for(const struct bitnet_convert_options *options)
{
    struct bitnet_plan *plan = NULL;
    MUST(bitnet_plan_new(&plan, source_dir.path, options, &err));
    return plan;
}

/* ------------------------------------------------------------------ what is right */

TEST(every_family_computes_what_its_checkpoint_computes)
{
    static const struct {
        enum cp_arch arch;
        enum cp_storage storage;
        enum bitnet_dtype type;
        bool is_exact;
    } cases[] = {{CP_BITNET_B158, CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s, true},
                 {CP_BITNET_B158, CP_MASTERS, BITNET_DTYPE_tl2, true},
                 {CP_BITNET, CP_MASTERS, BITNET_DTYPE_tq1_0, false},
                 {CP_LLAMA, CP_PACKED_DIVIDE, BITNET_DTYPE_iq2_bn, true},
                 {CP_LLAMA, CP_PLAIN, BITNET_DTYPE_q4_0, false},
                 {CP_LLAMA, CP_TERNARY, BITNET_DTYPE_f16, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bitnet_convert_options options = options_for(cases[i].type);
        make_source(cases[i].arch, cases[i].storage);
        struct bitnet_plan *plan = plan_for(&options);
        enum bitnet_status status = bitnet_plan_run(plan, file("a.gguf"), &err);
        if (status) fail_msg("case %zu: %s", i, err.text);
        const struct bitnet_proof *proof = bitnet_plan_proof(plan);
        assert_int_equal(proof->level, BITNET_VERIFY_PPL);
        assert_int_equal(proof->n_tokens, 256);
        assert_true(proof->difference < (cases[i].is_exact ? 5e-3 : 0.5));
        assert_true(proof->perplexity > 1 && proof->source_perplexity > 1);
        bitnet_plan_free(plan);
    }
}

TEST(the_hash_depends_on_neither_threads_nor_type)
{
    uint8_t first[32];
    make_source(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_i2_s, BITNET_DTYPE_tl2,
                                              BITNET_DTYPE_iq2_bn};
    for (unsigned i = 0; i < COUNT(types); i++) {
        struct bitnet_pool *pool = NULL;
        MUST(bitnet_pool_new(&pool, i + 1, &err));
        const struct bitnet_runner runner = {main_runner.run, pool};
        struct bitnet_convert_options options = options_for(types[i]);
        options.verify = BITNET_VERIFY_LOGITS;
        options.runner = &runner;
        struct bitnet_plan *plan = plan_for(&options);
        MUST(bitnet_plan_run(plan, file("a.gguf"), &err));
        const struct bitnet_proof *proof = bitnet_plan_proof(plan);
        assert_int_equal(proof->n_tokens, 32);
        if (i == 0) memcpy(first, proof->logits_sha256, sizeof first);
        assert_memory_equal(first, proof->logits_sha256, sizeof first);
        bitnet_plan_free(plan);
        bitnet_pool_free(pool);
    }
}

TEST(a_gguf_in_another_ternary_type_gives_the_same_bits)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    struct bitnet_plan *plan;
    make_source(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    plan = plan_for(&options);
    MUST(bitnet_plan_run(plan, file("a.gguf"), &err));
    bitnet_plan_free(plan);
    options.type = BITNET_DTYPE_tl1;
    MUST(bitnet_plan_from_gguf(&plan, file("a.gguf"), &options, &err));
    MUST(bitnet_plan_run(plan, file("b.gguf"), &err));
    assert_true(bitnet_plan_proof(plan)->is_equal);
    assert_true(bitnet_plan_proof(plan)->difference == 0);
    bitnet_plan_free(plan);

    struct bitnet_gguf_edit edit; /* equal tensors, and yet another model */
    MUST(bitnet_gguf_edit_parse(&edit, BITNET_STR("bitnet-b1.58.rope.freq_base=f32:77"), &err));
    options.edits = &edit;
    options.n_edits = 1;
    MUST(bitnet_plan_from_gguf(&plan, file("a.gguf"), &options, &err));
    remove(file("b.gguf"));
    assert_int_equal(bitnet_plan_run(plan, file("b.gguf"), &err), BITNET_INTEGRITY);
    assert_text_has(err.text, "though every tensor is equal");
    assert_false(bitnet_path_exists(file("b.gguf")));
    bitnet_plan_free(plan);
}

/* ------------------------------------------------------------------ what is wrong */

/* A right file, changed: the same plan is then asked to prove the changed one. */
struct fault {
    const char *arch; /* the architecture's new name, and its keys' */
    const char *edit; /* one key */
    void (*change)(const struct bitnet_tensor *tensor, uint8_t *bytes);
};

static bool applies(void *user, const struct bitnet_tensor *tensor)
{
    const struct fault *fault = user;
    (void)tensor;
    return fault->change != NULL;
}

static enum bitnet_status change_tensor(void *user, const struct bitnet_tensor *tensor,
                                        uint8_t *out, struct bitnet_error *e)
{
    const struct fault *fault = user;
    (void)e;
    memcpy(out, tensor->data.at, tensor->data.n);
    fault->change(tensor, out);
    return BITNET_OK;
}

static void make_wrong(struct fault *fault)
{
    const struct bitnet_gguf_transform transform = {applies, change_tensor, fault};
    struct bitnet_gguf_edit edits[128];
    static char names[64][96];
    size_t n = 0, n_names = 0;
    struct bitnet_gguf *good = NULL;
    MUST(bitnet_gguf_open(&good, file("good.gguf"), NULL, &err));
    for (size_t i = 0; fault->arch && i < bitnet_gguf_pair_count(good); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(good, i);
        if (bitnet_str_is(pair->key, "general.architecture"))
            edits[n++] = (struct bitnet_gguf_edit){
                .key = pair->key,
                .value = {.type = BITNET_GGUF_STRING, .text = bitnet_str_of(fault->arch)}};
        if (!bitnet_str_starts(pair->key, "bitnet-b1.58.")) continue;
        int length = snprintf(names[n_names], sizeof names[0], "%s.%.*s", fault->arch,
                              (int)pair->key.n - 13, pair->key.at + 13);
        edits[n++] = (struct bitnet_gguf_edit){.key = pair->key, .is_removal = true};
        edits[n++] = (struct bitnet_gguf_edit){.key = {names[n_names++], (size_t)length},
                                               .value = pair->value};
    }
    if (fault->edit) MUST(bitnet_gguf_edit_parse(&edits[n++], bitnet_str_of(fault->edit), &err));
    MUST(bitnet_gguf_edit_file(good, edits, n, &transform, file("wrong.gguf"), true, &err));
    bitnet_gguf_close(good);
}

static void expect_named(enum cp_arch arch, enum cp_storage storage, enum bitnet_dtype type,
                         struct fault fault, const char *words)
{
    struct bitnet_convert_options options = options_for(type);
    struct bitnet_gguf *wrong = NULL;
    make_source(arch, storage);
    struct bitnet_plan *plan = plan_for(&options);
    MUST(bitnet_plan_run(plan, file("good.gguf"), &err));
    make_wrong(&fault);
    MUST(bitnet_gguf_open(&wrong, file("wrong.gguf"), NULL, &err));
    assert_int_equal(plan_prove(plan, wrong, &err), BITNET_INTEGRITY);
    assert_text_has(err.text, words);
    bitnet_gguf_close(wrong);
    bitnet_plan_free(plan);
}

TEST(silu_in_place_of_relu2_is_named)
{
    expect_named(CP_BITNET_B158, CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s,
                 (struct fault){.arch = "bitnet"},
                 "verify: logits: the file computes as if the activation were SiLU; config.json "
                 "says otherwise");
}

/* Pairs back to halves: what a converter writes that forgets to permute. */
static void unpermute(const struct bitnet_tensor *t, uint8_t *bytes)
{
    bool is_q = bitnet_str_ends(t->name, "attn_q.weight");
    if (!is_q && !bitnet_str_ends(t->name, "attn_k.weight")) return;
    size_t rows = (size_t)t->dims[1], row_bytes = t->data.n / rows;
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_PLAIN);
    size_t head_dim = rows / (is_q ? spec.n_heads : spec.n_kv_heads);
    for (size_t r = 0; r < rows; r++) {
        size_t i = r % head_dim, pair = i < head_dim / 2 ? 2 * i : 2 * i - head_dim + 1;
        memcpy(bytes + r * row_bytes, t->data.at + (r - i + pair) * row_bytes, row_bytes);
    }
}

TEST(rows_in_the_order_of_another_rope_are_named)
{
    expect_named(CP_LLAMA, CP_PLAIN, BITNET_DTYPE_f32, (struct fault){.change = unpermute},
                 "as if rope turned neighbours instead of halves");
}

static void invert_scales(const struct bitnet_tensor *t, uint8_t *bytes)
{
    if (t->type == BITNET_DTYPE_i2_s)
        bitnet_store_f32(bytes + t->data.n - 32, 1 / bitnet_load_f32(bytes + t->data.n - 32));
}

TEST(scales_that_work_the_other_way_round_are_named)
{
    expect_named(CP_LLAMA, CP_PACKED_DIVIDE, BITNET_DTYPE_i2_s,
                 (struct fault){.change = invert_scales},
                 "as if weight_scale worked the other way round");
}

TEST(another_base_of_rope_is_named)
{
    expect_named(CP_BITNET_B158, CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s,
                 (struct fault){.edit = "bitnet-b1.58.rope.freq_base=f32:10000"},
                 "as if the base of rope were another one");
}

static void stretch_one(const struct bitnet_tensor *t, uint8_t *bytes)
{
    if (bitnet_str_is(t->name, "blk.1.attn_q.weight"))
        bitnet_store_f32(bytes + t->data.n - 32, 1.5f * bitnet_load_f32(bytes + t->data.n - 32));
}

TEST(a_fault_without_a_name_is_told_in_numbers)
{
    expect_named(CP_BITNET_B158, CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s,
                 (struct fault){.change = stretch_one},
                 "logits: they differ from the source's by ");
    expect_named(CP_BITNET_B158, CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s,
                 (struct fault){.edit = "bitnet-b1.58.attention.layer_norm_rms_epsilon=f32:0.01"},
                 "of their standard deviation (allowed is 0.002)");
}

TEST(ids_that_the_source_does_not_give_are_named)
{
    expect_named(CP_BITNET_B158, CP_PACKED_MULTIPLY, BITNET_DTYPE_i2_s,
                 (struct fault){.edit = "tokenizer.ggml.add_bos_token=bool:true"},
                 "tokenizer: the file gives other ids for the fixed text than its source");
}

/* A runtime that computes something else. */
static enum bitnet_status run_wrongly(void *user, struct bitnet_gguf *gguf,
                                      const struct bitnet_run *run, struct bitnet_error *e)
{
    float logits[4096];
    (void)user, (void)e;
    size_t n = (size_t)bitnet_gguf_find_tensor(gguf, BITNET_STR("token_embd.weight"))->dims[1];
    for (size_t i = 0; i < run->n; i++) {
        for (size_t c = 0; c < n; c++) logits[c] = (float)((i + c) % 7);
        run->each(run->user, i, logits, n);
    }
    return BITNET_OK;
}

TEST(nothing_is_published_when_the_file_computes_something_else)
{
    const struct bitnet_runner wrong = {.run = run_wrongly};
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    make_source(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    options.runner = &wrong;
    struct bitnet_plan *plan = plan_for(&options);
    assert_int_equal(bitnet_plan_run(plan, file("a.gguf"), &err), BITNET_INTEGRITY);
    assert_text_has(err.text, "verify: logits: they differ");
    assert_int_equal(temp_dir_count(&dir), 0);
    bitnet_plan_free(plan);
    options.runner = NULL;
    plan = plan_for(&options);
    assert_int_equal(bitnet_plan_run(plan, file("a.gguf"), &err), BITNET_USAGE);
    assert_int_equal(temp_dir_count(&dir), 0);
    bitnet_plan_free(plan);
}

TEST(every_allocation_that_fails_is_told_as_memory_and_leaves_nothing)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    make_source(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    options.verify = BITNET_VERIFY_LOGITS;
    struct bitnet_plan *plan = plan_for(&options);
    MUST(bitnet_plan_run(plan, file("good.gguf"), &err));
    struct bitnet_gguf *gguf = NULL;
    MUST(bitnet_gguf_open(&gguf, file("good.gguf"), NULL, &err));
    long live = bitnet_alloc_live(), step = 1;
    bool was_hit = true;
    const struct bitnet_proof good = *bitnet_plan_proof(plan);
    for (long n = 0; was_hit; n += step) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = plan_prove(plan, gguf, &err);
        was_hit = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        bool is_told = was_hit && status == BITNET_MEMORY;
        bool is_done_without = /* a cache that is only for speed */
            status == BITNET_OK && memcmp(&good, bitnet_plan_proof(plan), sizeof good) == 0;
        if (!is_told && !is_done_without)
            fail_msg("allocation %ld: %s: %s", n, bitnet_status_name(status), err.text);
        assert_int_equal(bitnet_alloc_live(), live);
        step = 1 + n / 40; /* most of them are the runtime's, which has its own test */
    }
    bitnet_gguf_close(gguf);
    bitnet_plan_free(plan);
}

/* ------------------------------------------------------------------ config.json, read again */

static enum bitnet_status parse(struct reference_numbers *numbers, const char *text)
{
    err = (struct bitnet_error){0};
    return reference_numbers_parse(numbers, bitnet_str_of(text), &err);
}

#define SHAPE "\"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 4"

TEST(what_is_absent_is_as_transformers_has_it)
{
    struct reference_numbers r;
    MUST(parse(&r, "{\"model_type\": \"bitnet\", " SHAPE "}"));
    assert_int_equal(r.gate, REFERENCE_RELU2);
    assert_true(r.rope_base == 500000 && r.norm_eps == 1e-5 && !r.is_tied);
    assert_true(r.head_dim == 16 && r.n_kv_heads == 4 && !r.has_masters);
    MUST(parse(&r, "{\"model_type\": \"llama\", \"architectures\": [\"BitnetForCausalLM\"], " SHAPE
                   ", \"num_key_value_heads\": 2, \"head_dim\": 32}"));
    assert_int_equal(r.gate, REFERENCE_SILU);
    assert_true(r.has_masters && r.head_dim == 32 && r.n_kv_heads == 2 && r.rope_base == 10000);
    MUST(parse(&r, "{\"model_type\": \"gemma3_text\", " SHAPE ", \"query_pre_attn_scalar\": 64}"));
    assert_int_equal(r.gate, REFERENCE_GELU_TANH);
    assert_true(r.is_gemma && r.is_tied && r.embed_scale == 8 && r.query_scale == 0.125);
    MUST(parse(&r, "{\"model_type\": \"llama\", " SHAPE ", \"quantization_config\": "
                   "{\"linear_class\": \"autobitlinear\"}, \"rope_parameters\": "
                   "{\"rope_theta\": 5.0, \"rope_type\": \"linear\", \"factor\": 4.0}}"));
    assert_true(r.scales_multiply && r.rope_base == 5 && r.rope_factor == 4);
}

TEST(mathematics_that_is_not_written_down_here_is_refused)
{
    static const char *const cases[][2] = {
        {"{\"model_type\": \"mamba\", " SHAPE "}", "model_type 'mamba' has no reference here"},
        {"{\"model_type\": \"llama\", " SHAPE ", \"hidden_act\": \"tanh\"}",
         "'hidden_act' 'tanh' has no reference here"},
        {"{\"model_type\": \"llama\", " SHAPE ", \"rope_scaling\": {\"type\": \"yarn\"}}",
         "rope of type 'yarn' has no reference here"},
        {"{\"model_type\": \"llama\"}", "'num_hidden_layers'"},
        {"{\"model_type\": \"llama\", " SHAPE ", \"num_key_value_heads\": 3}", "make no sense"},
        {"[]", "not an object"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct reference_numbers r;
        assert_int_not_equal(parse(&r, cases[i][0]), BITNET_OK);
        assert_text_has(err.text, cases[i][1]);
    }
}

static int begin(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    temp_dir_make(&source_dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    temp_dir_remove(&source_dir);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_family_computes_what_its_checkpoint_computes),
        T(the_hash_depends_on_neither_threads_nor_type),
        T(a_gguf_in_another_ternary_type_gives_the_same_bits),
        T(silu_in_place_of_relu2_is_named),
        T(rows_in_the_order_of_another_rope_are_named),
        T(scales_that_work_the_other_way_round_are_named),
        T(another_base_of_rope_is_named),
        T(a_fault_without_a_name_is_told_in_numbers),
        T(ids_that_the_source_does_not_give_are_named),
        T(nothing_is_published_when_the_file_computes_something_else),
        T(every_allocation_that_fails_is_told_as_memory_and_leaves_nothing),
        T(what_is_absent_is_as_transformers_has_it),
        T(mathematics_that_is_not_written_down_here_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
