/* gguf/arch/: a sound model is accepted for every architecture, and each way to be wrong (tensors,
 * vocabulary; test_hparams.c has the numbers) is refused in words. The messages are those of
 * reliability.md section 13, cases tm_* and tok_*. */
#include "cm.h"

#include "model.h"

#include <bitnet/alloc.h>
#include <bitnet/arch.h>

#include <stdio.h>

#include "temp_dir.h"
#include "validated.h"

/* ------------------------------------------------------------------ sound models */

TEST(a_sound_model_of_every_architecture_is_accepted)
{
    static const char *const names[] = {"llama",     "bitnet", "bitnet-b1.58",
                                        "bitnet-25", "qwen3",  "gemma3"};
    for (size_t i = 0; i < COUNT(names); i++) {
        must_accept((struct model_change){.architecture = names[i]});
        must_accept((struct model_change){.architecture = names[i], .is_bpe = true});
    }
    must_accept((struct model_change){.architecture = "qwen3", .has_norms_in = true});
    must_accept((struct model_change){.architecture = "gemma3", .has_norms_in = true});
    assert_int_equal(bitnet_arch_count(), 5);
    for (size_t i = 0; i < bitnet_arch_count(); i++) {
        const struct bitnet_arch *arch = bitnet_arch_at(i);
        assert_ptr_equal(bitnet_arch_by_name(bitnet_str_of(arch->name)), arch);
        assert_non_null(arch->source_names[0]);
    }
    assert_null(bitnet_arch_at(5));
    assert_null(bitnet_arch_by_name(BITNET_STR("llam")));
    assert_ptr_equal(bitnet_arch_by_name(BITNET_STR("bitnet-25")),
                     bitnet_arch_by_name(BITNET_STR("bitnet-b1.58")));
}

TEST(the_traits_are_those_of_the_papers)
{
    const struct bitnet_arch *b158 = bitnet_arch_by_name(BITNET_STR("bitnet-b1.58"));
    const struct bitnet_arch *bitnet = bitnet_arch_by_name(BITNET_STR("bitnet"));
    const struct bitnet_arch *llama = bitnet_arch_by_name(BITNET_STR("llama"));
    assert_true(b158->gate == BITNET_GATE_RELU2 && bitnet->gate == BITNET_GATE_SILU &&
                llama->gate == BITNET_GATE_SILU);
    assert_true(b158->rope == BITNET_ROPE_HALVES && bitnet->rope == BITNET_ROPE_HALVES &&
                llama->rope == BITNET_ROPE_PAIRS);
    assert_true(b158->has_sub_norms && bitnet->has_sub_norms && !llama->has_sub_norms);
    const struct bitnet_arch *qwen3 = bitnet_arch_by_name(BITNET_STR("qwen3"));
    const struct bitnet_arch *gemma3 = bitnet_arch_by_name(BITNET_STR("gemma3"));
    assert_true(qwen3->gate == BITNET_GATE_SILU && gemma3->gate == BITNET_GATE_GELU);
    assert_true(qwen3->rope == BITNET_ROPE_HALVES && gemma3->rope == BITNET_ROPE_HALVES);
    assert_true(gemma3->has_local_layers && gemma3->scales_embedding);
    assert_true(!qwen3->has_local_layers && !qwen3->scales_embedding);
    for (size_t k = 0; k < gemma3->n_roles;
         k++) { /* w - 1: the native norms, not those of inputs */
        const struct bitnet_tensor_role *role = &gemma3->roles[k];
        assert_int_equal(role->is_shifted, role->kind == BITNET_TENSOR_NORM && !role->is_together);
        assert_int_equal(role->is_together, strstr(role->gguf, "_norm_in.") != NULL);
    }
    /* Only where checkpoint and GGUF rotate differently are rows reordered, and only q's and k's.
     */
    for (size_t i = 0; i < bitnet_arch_count(); i++)
        for (size_t k = 0; k < bitnet_arch_at(i)->n_roles; k++) {
            const struct bitnet_tensor_role *role = &bitnet_arch_at(i)->roles[k];
            bool is_q = role->role == BITNET_ROLE_ATTN_Q, is_k = role->role == BITNET_ROLE_ATTN_K;
            enum bitnet_row_order order = bitnet_arch_at(i) != llama ? BITNET_ROWS_AS_THEY_ARE
                                          : is_q                     ? BITNET_ROWS_ROPE_Q
                                          : is_k                     ? BITNET_ROWS_ROPE_KV
                                                                     : BITNET_ROWS_AS_THEY_ARE;
            assert_int_equal(role->order, order);
        }
}

TEST(the_numbers_are_those_of_the_file)
{
    struct spell s = {0};
    struct bitnet_gguf *gguf = open_model(&(struct model_change){0}, &s);
    struct bitnet_hparams h;
    const struct bitnet_arch *arch;
    if (bitnet_hparams_from_gguf(&h, &arch, gguf, &err)) fail_msg("%s", err.text);
    assert_string_equal(arch->name, "llama");
    assert_true(h.n_layers == 2 && h.n_embd == 8 && h.n_ffn == 16 && h.n_heads == 2);
    assert_true(h.n_kv_heads == 1 && h.head_dim == 4 && h.n_rot == 4 && h.n_context == 64);
    assert_true(h.n_vocab == MODEL_TOKENS && h.norm_eps == 1e-5f && h.rope_base == 500000.0f);
    assert_true(h.rope_scale == 1.0f);
    assert_int_equal(bitnet_dim_size(&h, BITNET_DIM_Q), 8);
    assert_int_equal(bitnet_dim_size(&h, BITNET_DIM_KV), 4);
    assert_int_equal(bitnet_dim_size(&h, BITNET_DIM_HEAD), 4);
    assert_int_equal(bitnet_dim_size(&h, BITNET_DIM_ROT2), 2);

    const struct bitnet_tensor *tensor;
    assert_int_equal(bitnet_arch_find(&tensor, arch, &h, gguf, BITNET_ROLE_FFN_DOWN, 1, &err),
                     BITNET_OK);
    assert_true(bitnet_str_is(tensor->name, "blk.1.ffn_down.weight"));
    assert_int_equal(bitnet_arch_find(&tensor, arch, &h, gguf, BITNET_ROLE_OUTPUT, 0, &err),
                     BITNET_OK);
    assert_null(tensor); /* optional */
    assert_int_equal(bitnet_arch_find(&tensor, arch, &h, gguf, BITNET_ROLE_FFN_SUB_NORM, 0, &err),
                     BITNET_OK);
    assert_null(tensor); /* not of this architecture */
    assert_int_equal(bitnet_arch_find(&tensor, arch, &h, gguf, BITNET_ROLE_ATTN_Q, 2, &err),
                     BITNET_FORMAT);
    assert_text_has(err.text, "tensor 'blk.2.attn_q.weight' is missing");
    bitnet_gguf_close(gguf);
    spell_free(&s);
}

TEST(what_may_be_left_out_has_its_default)
{
    struct spell s = {0};
    struct bitnet_hparams h;
    const struct bitnet_arch *arch;
    static const char *const keys[] = {"llama.rope.dimension_count", "llama.rope.freq_base"};
    for (size_t i = 0; i < COUNT(keys); i++) {
        struct bitnet_gguf *gguf = open_model(&(struct model_change){.drop_key = keys[i]}, &s);
        if (bitnet_hparams_from_gguf(&h, &arch, gguf, &err)) fail_msg("%s", err.text);
        assert_true(h.n_rot == 4 && (h.rope_base == 500000.0f || h.rope_base == 10000.0f));
        bitnet_gguf_close(gguf);
        spell_free(&s);
    }
    must_accept((struct model_change){.drop_key = "tokenizer.ggml.token_type"});
    must_accept((struct model_change){.drop_key = "tokenizer.chat_template"});
    must_refuse((struct model_change){.drop_key = "llama.attention.head_count_kv"}, BITNET_FORMAT,
                "tensor 'blk.0.attn_k.weight': shape 8 x 4, expected 8 x 8");
}

/* ------------------------------------------------------------------ tensors */

/* A layer that lacks one would be computed without it. */
TEST(norms_of_projections_are_all_there_or_none)
{
    static const char *const names[] = {"blk.1.attn_q_norm_in.weight",
                                        "blk.0.ffn_down_norm_in.weight",
                                        "blk.0.attn_output_norm_in.weight"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char words[128];
        snprintf(words, sizeof words,
                 "tensor '%s' is missing, but other norms of projections are there", names[i]);
        must_refuse((struct model_change){.architecture = "qwen3",
                                          .has_norms_in = true,
                                          .drop_tensor = names[i]},
                    BITNET_FORMAT, words);
    }
    must_refuse((struct model_change){.architecture = "llama", .has_norms_in = true},
                BITNET_UNSUPPORTED, "has no place in the architecture 'llama'");
    must_refuse(
        (struct model_change){.architecture = "qwen3", .drop_tensor = "blk.1.attn_k_norm.weight"},
        BITNET_FORMAT, "tensor 'blk.1.attn_k_norm.weight' is missing");
}

TEST(missing_tensors_are_named)
{
    static const char *const names[] = {
        "token_embd.weight",     "output_norm.weight",       "blk.0.attn_norm.weight",
        "blk.1.attn_q.weight",   "blk.0.attn_k.weight",      "blk.1.attn_v.weight",
        "blk.0.ffn_norm.weight", "blk.1.attn_output.weight", "blk.0.ffn_gate.weight",
        "blk.1.ffn_up.weight",   "blk.0.ffn_down.weight"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char words[96];
        snprintf(words, sizeof words, "tensor '%s' is missing", names[i]);
        must_refuse((struct model_change){.drop_tensor = names[i]}, BITNET_FORMAT, words);
    }
    must_refuse(
        (struct model_change){.architecture = "bitnet", .drop_tensor = "blk.1.ffn_sub_norm.weight"},
        BITNET_FORMAT, "tensor 'blk.1.ffn_sub_norm.weight' is missing");
}

TEST(tensors_of_the_wrong_shape_or_type_are_refused)
{
    must_refuse((struct model_change){.alter_tensor = "blk.0.ffn_gate.weight",
                                      .n_dims = 2,
                                      .dims = {16, 8}},
                BITNET_FORMAT, "tensor 'blk.0.ffn_gate.weight': shape 16 x 8, expected 8 x 16");
    must_refuse(
        (struct model_change){.alter_tensor = "blk.0.attn_q.weight", .n_dims = 1, .dims = {64}},
        BITNET_FORMAT, "tensor 'blk.0.attn_q.weight': shape 64, expected 8 x 8");
    must_refuse(
        (struct model_change){.alter_tensor = "output_norm.weight", .n_dims = 1, .dims = {16}},
        BITNET_FORMAT, "tensor 'output_norm.weight': shape 16, expected 8");
    must_refuse(
        (struct model_change){
            .alter_tensor = "output_norm.weight", .n_dims = 1, .dims = {8}, .type = 26},
        BITNET_UNSUPPORTED, "tensor 'output_norm.weight': type I32 (expected F32, F16 or BF16)");
    must_refuse(
        (struct model_change){
            .alter_tensor = "blk.0.attn_q.weight", .n_dims = 2, .dims = {8, 8}, .type = 24},
        BITNET_UNSUPPORTED, "type I8 (expected a type of weights)");
    must_refuse(
        (struct model_change){
            .alter_tensor = "token_embd.weight", .n_dims = 2, .dims = {8, 7}, .type = 1},
        BITNET_FORMAT, "264 tokens but the embedding has 7 rows");
    must_accept((struct model_change){
        .alter_tensor = "blk.0.attn_q.weight", .n_dims = 4, .dims = {8, 8, 1, 1}, .type = 36});
}

TEST(a_tensor_that_would_change_the_result_is_not_passed_over)
{
    struct model_change change = {.n_dims = 1, .dims = {8}};
    change.extra_tensor = "blk.0.attn_q.bias";
    must_refuse(change, BITNET_UNSUPPORTED,
                "tensor 'blk.0.attn_q.bias' has no place in the architecture 'llama'");
    assert_text_has(err.hint, "change the result");
    change.extra_tensor = "blk.1.ffn_norm.scale";
    must_refuse(change, BITNET_UNSUPPORTED, "'blk.1.ffn_norm.scale' has no place");
    change.extra_tensor = "blk.2.attn_q.weight";
    must_refuse(change, BITNET_FORMAT,
                "tensor 'blk.2.attn_q.weight': no such layer (the model has 2)");
    change.extra_tensor = "blk.01.attn_q.weight";
    must_refuse(change, BITNET_FORMAT, "no such layer");
    change.extra_tensor = "blk.-1.attn_q.weight";
    must_refuse(change, BITNET_FORMAT, "no such layer");
    change.extra_tensor = "blk.99999999999999999999.x";
    must_refuse(change, BITNET_FORMAT, "no such layer");
    change.extra_tensor = "blk.0";
    must_refuse(change, BITNET_FORMAT, "no such layer");
    change.extra_tensor = "something.else";
    must_accept(change);

    change = (struct model_change){
        .extra_tensor = "output.weight", .n_dims = 2, .dims = {8, MODEL_TOKENS}, .type = 1};
    must_accept(change);
    change.architecture = "bitnet-b1.58";
    must_accept(change);
    change.architecture = "bitnet"; /* always ties its output to the embedding */
    must_refuse(change, BITNET_UNSUPPORTED,
                "tensor 'output.weight' has no place in the architecture 'bitnet'");
}

TEST(a_scale_beside_a_linear_layer_is_one_number)
{
    struct model_change change = {.extra_tensor = "blk.1.ffn_down.scale", .n_dims = 1, .dims = {1}};
    must_accept(change);
    change.dims[0] = 8;
    must_refuse(change, BITNET_FORMAT,
                "tensor 'blk.1.ffn_down.scale': F32 of 32 bytes, expected one F32");
    change.dims[0] = 1;
    change.type = 1;
    must_refuse(change, BITNET_FORMAT, "F16 of 2 bytes, expected one F32");
}

/* ------------------------------------------------------------------ vocabulary */

static void put_tokens(struct spell *s, uint64_t n, uint32_t changed, const char *text)
{
    spell_key_array(s, "tokenizer.ggml.tokens", BITNET_GGUF_STRING, n);
    for (uint32_t i = 0; i < n; i++) {
        char word[16];
        snprintf(word, sizeof word, "w%u", i);
        spell_text(s, i == changed ? text : word);
    }
}

static void tokens_short(struct spell *s)
{
    put_tokens(s, MODEL_TOKENS - 5, UINT32_MAX, "");
}
static void tokens_none(struct spell *s)
{
    put_tokens(s, 0, UINT32_MAX, "");
}
static void tokens_twice(struct spell *s)
{
    put_tokens(s, MODEL_TOKENS, 263, "w7");
}
static void tokens_hole(struct spell *s)
{
    put_tokens(s, MODEL_TOKENS, 263, "");
}

static void tokens_numbers(struct spell *s)
{
    spell_key_array(s, "tokenizer.ggml.tokens", BITNET_GGUF_U32, MODEL_TOKENS);
    spell_zeros(s, (size_t)4 * MODEL_TOKENS);
}

static void tokens_empty(struct spell *s)
{
    spell_key_array(s, "tokenizer.ggml.tokens", BITNET_GGUF_STRING, MODEL_TOKENS);
    spell_zeros(s, (size_t)8 * MODEL_TOKENS);
}

static void token_too_long(struct spell *s)
{
    spell_key_array(s, "tokenizer.ggml.tokens", BITNET_GGUF_STRING, MODEL_TOKENS);
    spell_zeros(s, (size_t)8 * (MODEL_TOKENS - 1));
    spell_u64(s, 65537);
    spell_zeros(s, 65537);
}

static void scores(struct spell *s, uint64_t n, uint32_t first)
{
    spell_key_array(s, "tokenizer.ggml.scores", BITNET_GGUF_F32, n);
    for (uint64_t i = 0; i < n; i++) spell_u32(s, i ? 0 : first);
}

static void scores_short(struct spell *s)
{
    scores(s, 10, 0);
}
static void scores_nan(struct spell *s)
{
    scores(s, MODEL_TOKENS, 0x7FC00000);
}
static void scores_infinite(struct spell *s)
{
    scores(s, MODEL_TOKENS, 0xFF800000);
}

static void types(struct spell *s, uint64_t n, uint32_t of_token_1)
{
    spell_key_array(s, "tokenizer.ggml.token_type", BITNET_GGUF_I32, n);
    for (uint64_t i = 0; i < n; i++) spell_u32(s, i == 1 ? of_token_1 : 1);
}

static void types_short(struct spell *s)
{
    types(s, 10, 1);
}
static void types_byte(struct spell *s)
{
    types(s, MODEL_TOKENS, 6);
}
static void types_odd(struct spell *s)
{
    types(s, MODEL_TOKENS, 99);
}

static void one_merge(struct spell *s, const char *text)
{
    spell_key_array(s, "tokenizer.ggml.merges", BITNET_GGUF_STRING, 1);
    spell_text(s, text);
}

static void merge_no_space(struct spell *s)
{
    one_merge(s, "ab");
}
static void merge_empty(struct spell *s)
{
    one_merge(s, "");
}
static void merge_space(struct spell *s)
{
    one_merge(s, " ");
}
static void merge_half(struct spell *s)
{
    one_merge(s, "ab ");
}
static void merge_left_empty(struct spell *s)
{
    one_merge(s, " ab");
}

U32(eos_beyond, "tokenizer.ggml.eos_token_id", MODEL_TOKENS)
U32(eos_last, "tokenizer.ggml.eos_token_id", MODEL_TOKENS - 1)
U32(template_number, "tokenizer.chat_template", 1)
U32(flag_number, "tokenizer.ggml.add_bos_token", 1)
U32(pre_number, "tokenizer.ggml.pre", 1)
TEXT(eos_text, "tokenizer.ggml.eos_token_id", "</s>")
TEXT(kind_unknown, "tokenizer.ggml.model", "no-such")
TEXT(kind_none, "tokenizer.ggml.model", "none")
U32(kind_number, "tokenizer.ggml.model", 1)

static void eos_negative(struct spell *s)
{
    spell_key_i32(s, "tokenizer.ggml.eos_token_id", -2);
}

TEST(a_vocabulary_that_contradicts_itself_is_refused)
{
    static const struct {
        const char *drop;
        void (*put)(struct spell *s);
        enum bitnet_status status;
        const char *words;
    } cases[] = {
        {"tokenizer.ggml.tokens", tokens_short, BITNET_FORMAT,
         "259 tokens but the embedding has 264 rows"},
        {"tokenizer.ggml.tokens", tokens_none, BITNET_FORMAT,
         "key 'tokenizer.ggml.tokens': the list is empty"},
        {"tokenizer.ggml.tokens", tokens_numbers, BITNET_FORMAT,
         "key 'tokenizer.ggml.tokens': expected array of string, found array of u32"},
        {"tokenizer.ggml.scores", scores_short, BITNET_FORMAT, "10 scores for 264 tokens"},
        {"tokenizer.ggml.scores", scores_nan, BITNET_FORMAT, "token 0: the score is nan"},
        {"tokenizer.ggml.scores", scores_infinite, BITNET_FORMAT, "token 0: the score is -inf"},
        {"tokenizer.ggml.token_type", types_short, BITNET_FORMAT, "10 types for 264 tokens"},
        {"tokenizer.ggml.token_type", types_byte, BITNET_FORMAT,
         "token 1: '<s>' is not a byte token"},
        {"tokenizer.ggml.eos_token_id", eos_beyond, BITNET_FORMAT,
         "key 'tokenizer.ggml.eos_token_id': 264 (allowed 0 to 263)"},
        {"tokenizer.ggml.eos_token_id", eos_negative, BITNET_FORMAT, "-2 (allowed 0 to 263)"},
        {"tokenizer.ggml.eos_token_id", eos_text, BITNET_FORMAT,
         "expected an integer, found string"},
        {"tokenizer.ggml.model", kind_unknown, BITNET_UNSUPPORTED,
         "key 'tokenizer.ggml.model': 'no-such' is not known"},
        {"tokenizer.ggml.model", kind_number, BITNET_FORMAT, "expected string, found u32"},
        {"tokenizer.chat_template", template_number, BITNET_FORMAT,
         "key 'tokenizer.chat_template': expected string, found u32"},
        {NULL, flag_number, BITNET_FORMAT,
         "key 'tokenizer.ggml.add_bos_token': expected bool, found u32"},
        {NULL, pre_number, BITNET_FORMAT, "key 'tokenizer.ggml.pre': expected string, found u32"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        must_refuse((struct model_change){.drop_key = cases[i].drop, .put_key = cases[i].put},
                    cases[i].status, cases[i].words);
    must_accept(
        (struct model_change){.drop_key = "tokenizer.ggml.eos_token_id", .put_key = eos_last});
    must_accept(
        (struct model_change){.drop_key = "tokenizer.ggml.token_type", .put_key = types_odd});
    must_accept((struct model_change){.drop_key = "tokenizer.ggml.model", .put_key = kind_none});
}

static void too_many_tokens(struct spell *s)
{
    spell_key_array(s, "tokenizer.ggml.tokens", BITNET_GGUF_STRING, 2097153);
    spell_zeros(s, (size_t)8 * 2097153);
}

static void too_many_merges(struct spell *s)
{
    spell_key_array(s, "tokenizer.ggml.merges", BITNET_GGUF_STRING, 4194305);
    spell_zeros(s, (size_t)8 * 4194305);
}

TEST(vocabularies_beyond_the_limits_are_refused)
{
    must_refuse(
        (struct model_change){.drop_key = "tokenizer.ggml.tokens", .put_key = too_many_tokens},
        BITNET_LIMIT, "2097153 tokens (limit 2097152)");
    must_refuse((struct model_change){.is_bpe = true,
                                      .drop_key = "tokenizer.ggml.merges",
                                      .put_key = too_many_merges},
                BITNET_LIMIT, "4194305 merges (limit 4194304)");
}

/* A vocabulary without byte types, so that only the texts are judged. */
TEST(tokens_must_be_different_and_not_too_long)
{
    struct model_change change = {.is_bpe = true, .drop_key = "tokenizer.ggml.tokens"};
    change.put_key = tokens_twice;
    must_refuse(change, BITNET_FORMAT, "tokens 7 and 263 are both 'w7'");
    change.put_key = tokens_empty;
    must_refuse(change, BITNET_FORMAT, "all 264 tokens are empty");
    change.put_key = token_too_long;
    must_refuse(change, BITNET_LIMIT, "token 263: 65537 bytes (limit 65536)");
    change.put_key = tokens_hole;
    must_accept(change);
}

TEST(merges_are_two_pieces_and_a_space)
{
    struct model_change change = {.is_bpe = true, .drop_key = "tokenizer.ggml.merges"};
    void (*const bad[])(struct spell * s) = {merge_no_space, merge_empty, merge_space, merge_half,
                                             merge_left_empty};
    for (size_t i = 0; i < COUNT(bad); i++) {
        change.put_key = bad[i];
        must_refuse(change, BITNET_FORMAT, "is not two pieces and a space");
    }
}

TEST(any_failing_allocation_is_out_of_memory)
{
    struct spell s = {0};
    long live = bitnet_alloc_live(), n = 0;
    model_spell(&s, &(struct model_change){.is_bpe = true});
    for (;; n++) {
        struct bitnet_gguf *gguf;
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = bitnet_gguf_open_mem(&gguf, spell_bytes(&s), NULL, &err);
        if (!status) status = bitnet_gguf_validate(gguf, BITNET_GGUF_LEVEL_MODEL, NULL, &err);
        bitnet_alloc_fail_at(-1);
        bitnet_gguf_close(gguf);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!status) break;
        assert_int_equal(status, BITNET_MEMORY);
    }
    assert_true(n > 15);
    spell_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_model_of_every_architecture_is_accepted),
        cmocka_unit_test(the_traits_are_those_of_the_papers),
        cmocka_unit_test(the_numbers_are_those_of_the_file),
        cmocka_unit_test(what_may_be_left_out_has_its_default),
        cmocka_unit_test(norms_of_projections_are_all_there_or_none),
        cmocka_unit_test(missing_tensors_are_named),
        cmocka_unit_test(tensors_of_the_wrong_shape_or_type_are_refused),
        cmocka_unit_test(a_tensor_that_would_change_the_result_is_not_passed_over),
        cmocka_unit_test(a_scale_beside_a_linear_layer_is_one_number),
        cmocka_unit_test(a_vocabulary_that_contradicts_itself_is_refused),
        cmocka_unit_test(vocabularies_beyond_the_limits_are_refused),
        cmocka_unit_test(tokens_must_be_different_and_not_too_long),
        cmocka_unit_test(merges_are_two_pieces_and_a_space),
        cmocka_unit_test(any_failing_allocation_is_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
