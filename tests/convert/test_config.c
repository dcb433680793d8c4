/* config.c: what config.json may say, with which words the rest is refused. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>

#include "bitnet/alloc.h"
#include "config.h"

static struct config config;
static struct bitnet_error err;

#define BASE                                                                                       \
    "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"                         \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"max_position_embeddings\":128,"         \
    "\"rms_norm_eps\":1e-5,\"vocab_size\":300"
#define TYPE  "\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
#define LLAMA TYPE "\"hidden_act\":\"silu\","
#define BITNET                                                                                     \
    "\"architectures\":[\"BitNetForCausalLM\"],\"model_type\":\"bitnet\",\"hidden_act\":"          \
    "\"relu2\",\"rope_theta\":500000.0,"
#define ONE_BIT                                                                                    \
    "\"architectures\":[\"BitnetForCausalLM\"],\"model_type\":\"llama\",\"hidden_act\":\"silu\","

static enum bitnet_status parse(const char *text)
{
    config_free(&config);
    err = (struct bitnet_error){0};
    return config_parse(&config, bitnet_str_of(text), &err);
}

#define REFUSES(status, json, words)                                                               \
    do {                                                                                           \
        assert_int_equal(parse(json), status);                                                     \
        assert_text_has(err.text, words);                                                          \
    } while (0)

TEST(reads_a_plain_llama_as_it_was_meant_before_later_keys_came)
{
    assert_int_equal(parse("{" LLAMA BASE "}"), BITNET_OK);
    assert_string_equal(config.arch->name, "llama");
    assert_int_equal(config.hparams.n_embd, 64);
    assert_int_equal(config.hparams.n_ffn, 96);
    assert_int_equal(config.hparams.n_layers, 2);
    assert_int_equal(config.hparams.n_heads, 4);
    assert_int_equal(config.hparams.n_kv_heads, 2);
    assert_int_equal(config.hparams.head_dim, 16);
    assert_int_equal(config.hparams.n_rot, 16);
    assert_int_equal(config.hparams.n_vocab, 300);
    assert_int_equal(config.hparams.n_context, 128);
    assert_true(config.hparams.norm_eps == 1e-5f);
    assert_true(config.hparams.rope_base == 10000.0f);
    assert_true(config.hparams.rope_scale == 1.0f);
    assert_int_equal(config.quantization, QUANTIZATION_NONE);
    assert_false(config.is_tied);
}

TEST(the_class_of_the_linear_layers_gives_the_direction_of_the_scale)
{
#define Q(more) "{" BITNET BASE ",\"quantization_config\":{\"quant_method\":\"bitnet\"" more "}}"
    assert_int_equal(parse(Q("")), BITNET_OK);
    assert_int_equal(config.quantization, QUANTIZATION_PACKED_DIVIDE);
    assert_int_equal(parse(Q(",\"linear_class\":\"bitlinear\"")), BITNET_OK);
    assert_int_equal(config.quantization, QUANTIZATION_PACKED_DIVIDE);
    assert_int_equal(parse(Q(",\"linear_class\":\"autobitlinear\"")), BITNET_OK);
    assert_int_equal(config.quantization, QUANTIZATION_PACKED_MULTIPLY);
    assert_int_equal(
        parse(Q(",\"linear_class\":\"autobitlinear\",\"quantization_mode\":\"offline\"")),
        BITNET_OK);
    assert_int_equal(config.quantization, QUANTIZATION_PACKED_MULTIPLY);
    assert_int_equal(
        parse(Q(",\"linear_class\":\"autobitlinear\",\"quantization_mode\":\"online\"")),
        BITNET_OK);
    assert_int_equal(config.quantization, QUANTIZATION_ONLINE);
    REFUSES(BITNET_UNSUPPORTED, Q(",\"linear_class\":\"other\""), "linear_class' 'other'");
    REFUSES(BITNET_UNSUPPORTED, Q(",\"quantization_mode\":\"later\""),
            "quantization_mode' 'later'");
    REFUSES(BITNET_UNSUPPORTED, Q(",\"quantization_mode\":\"online\""), "bitlinear");
    REFUSES(BITNET_UNSUPPORTED, Q(",\"use_rms_norm\":true"), "use_rms_norm");
    assert_int_equal(parse(Q(",\"use_rms_norm\":false")), BITNET_OK);
#undef Q
}

TEST(layers_of_1bitllm_are_masters_without_saying_so)
{
    assert_int_equal(parse("{" ONE_BIT BASE "}"), BITNET_OK);
    assert_string_equal(config.arch->name, "bitnet");
    assert_int_equal(config.quantization, QUANTIZATION_ONLINE);
    assert_int_equal(parse("{" BITNET BASE "}"), BITNET_OK);
    assert_int_equal(config.quantization, QUANTIZATION_NONE);
}

TEST(refuses_other_ways_of_quantizing)
{
    REFUSES(BITNET_UNSUPPORTED,
            "{" LLAMA BASE ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}}",
            "'gptq'");
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"quantization_config\":{\"bits\":4}}",
            "'quant_method' is missing");
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"quantization_config\":\"x\"}", "is not an object");
    assert_int_equal(parse("{" LLAMA BASE ",\"quantization_config\":null}"), BITNET_OK);
}

TEST(knows_which_modules_are_kept)
{
    assert_int_equal(parse("{" BITNET BASE ",\"quantization_config\":{\"quant_method\":\"bitnet\","
                           "\"modules_to_not_convert\":[\"lm_head\",\"model.layers.1.mlp\",\"k_"
                           "proj\",\"self_attn.o_proj\"]}}"),
                     BITNET_OK);
    assert_true(config_keeps(&config, BITNET_STR("lm_head.weight")));
    assert_true(config_keeps(&config, BITNET_STR("model.layers.1.mlp.up_proj.weight")));
    assert_true(config_keeps(&config, BITNET_STR("model.layers.0.self_attn.k_proj.weight")));
    assert_true(config_keeps(&config, BITNET_STR("model.layers.0.self_attn.o_proj.weight")));
    assert_false(config_keeps(&config, BITNET_STR("model.layers.0.self_attn.q_proj.weight")));
    assert_false(config_keeps(&config, BITNET_STR("model.layers.0.mlp.up_proj.weight")));
    assert_false(config_keeps(&config, BITNET_STR("model.layers.10.mlp.up_proj.weight")));
    REFUSES(BITNET_FORMAT,
            "{" BITNET BASE ",\"quantization_config\":{\"quant_method\":\"bitnet\","
            "\"modules_to_not_convert\":[7]}}",
            "holds no name");
}

TEST(refuses_an_architecture_or_activation_that_it_does_not_follow)
{
    REFUSES(BITNET_UNSUPPORTED, "{\"architectures\":[\"GPT2LMHeadModel\"]," BASE "}",
            "'GPT2LMHeadModel'");
    REFUSES(BITNET_FORMAT, "{" BASE "}", "'architectures' is missing");
    REFUSES(BITNET_FORMAT, "{\"architectures\":[]," BASE "}", "'architectures'");
    REFUSES(BITNET_FORMAT, "{\"architectures\":[1]," BASE "}", "'architectures'");
    REFUSES(BITNET_UNSUPPORTED,
            "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"mamba\"," BASE "}",
            "'mamba'");
    REFUSES(BITNET_UNSUPPORTED, "{" TYPE BASE ",\"hidden_act\":\"explode\"}",
            "'hidden_act' 'explode' is not supported");
    REFUSES(BITNET_UNSUPPORTED, "{" TYPE BASE ",\"hidden_act\":\"relu2\"}", "computes silu");
    REFUSES(BITNET_UNSUPPORTED,
            "{\"architectures\":[\"BitNetForCausalLM\"],\"model_type\":\"bitnet\",\"hidden_act\":"
            "\"silu\"," BASE "}",
            "computes relu2");
    REFUSES(BITNET_FORMAT, "{" TYPE BASE ",\"hidden_act\":3}", "hidden_act");
    REFUSES(BITNET_UNSUPPORTED, "{" LLAMA BASE ",\"attention_bias\":true}",
            "'attention_bias' true");
}

TEST(names_the_number_that_is_missing_or_out_of_range)
{
    static const char *const keys[] = {
        "hidden_size", "intermediate_size",       "num_hidden_layers", "num_attention_heads",
        "vocab_size",  "max_position_embeddings", "rms_norm_eps"};
    for (size_t i = 0; i < COUNT(keys); i++) {
        char text[1024] = "{" LLAMA BASE "}", words[64];
        char *key = strstr(text, keys[i]);
        key[0] = 'X'; /* no key of that name any more */
        snprintf(words, sizeof words, "'%s' is missing", keys[i]);
        REFUSES(BITNET_FORMAT, text, words);
    }
#define H(value)                                                                                   \
    "{" LLAMA "\"hidden_size\":" value                                                             \
    ",\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":"  \
    "9,\"max_position_embeddings\":8,\"rms_norm_eps\":1e-5}"
    assert_int_equal(parse(H("64")), BITNET_OK);
    static const char *const bad[] = {
        H("0"),    H("-1"),   H("4294967328"), H("18446744073709551616"), H("\"64\""), H("null"),
        H("true"), H("64.5"), H("1048577")};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_not_equal(parse(bad[i]), BITNET_OK);
        assert_text_has(err.text, "'hidden_size'");
    }
#undef H
}

TEST(numbers_must_agree_with_each_other)
{
#define N(heads, kv, more)                                                                         \
    "{" LLAMA "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_"         \
    "attention_heads\":" heads ",\"num_key_value_heads\":" kv                                      \
    ",\"vocab_size\":9,\"max_position_embeddings\":8,\"rms_norm_eps\":1e-5" more "}"
    REFUSES(BITNET_FORMAT, N("3", "3", ""),
            "'num_attention_heads' 3 does not divide 'hidden_size' 64");
    REFUSES(BITNET_FORMAT, N("4", "3", ""),
            "'num_key_value_heads' 3 does not divide 'num_attention_heads' 4");
    assert_int_equal(parse(N("3", "3", ",\"head_dim\":20")), BITNET_OK);
    assert_int_equal(config.hparams.head_dim, 20);
    REFUSES(BITNET_FORMAT, N("64", "64", ""), "odd");
#undef N
}

TEST(rope_is_read_from_old_and_new_files_and_never_guessed)
{
    assert_int_equal(parse("{" LLAMA BASE ",\"rope_theta\":500000.0,\"rope_scaling\":null}"),
                     BITNET_OK);
    assert_true(config.hparams.rope_base == 500000.0f);
    assert_int_equal(
        parse("{" LLAMA BASE
              ",\"rope_parameters\":{\"rope_theta\":1000042,\"rope_type\":\"default\"}}"),
        BITNET_OK);
    assert_true(config.hparams.rope_base == 1000042.0f);
    assert_int_equal(
        parse("{" LLAMA BASE ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}}"), BITNET_OK);
    assert_true(config.hparams.rope_scale == 2.0f);
    REFUSES(BITNET_UNSUPPORTED, "{" LLAMA BASE ",\"rope_scaling\":{\"rope_type\":\"nope\"}}",
            "type 'nope' is not supported");
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.0}}",
            "'factor': 0");
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"rope_scaling\":\"x\"}",
            "'rope_scaling' is not an object");
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"rope_theta\":0}",
            "'rope_theta': 0 (must be positive)");
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"rope_theta\":\"1\"}", "rope_theta");
    REFUSES(BITNET_UNSUPPORTED, "{" LLAMA BASE ",\"partial_rotary_factor\":0.5}",
            "'partial_rotary_factor' 0.5");
}

TEST(frequencies_of_llama_3_1_are_stretched_by_wavelength)
{
#define S(more)                                                                                    \
    "{" LLAMA BASE ",\"head_dim\":128,\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":"    \
    "\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0" more "}}"
    assert_int_equal(parse(S(",\"original_max_position_embeddings\":8192")), BITNET_OK);
    /* 1 / base^(2i/d) over what transformers 5.23 computes for Llama-3.1-8B */
    static const struct {
        uint32_t i;
        double divisor;
    } expected[] = {{0, 1.0}, {28, 1.0}, {29, 1.2074839}, {32, 2.6945302}, {35, 8.0}, {63, 8.0}};
    for (size_t k = 0; k < COUNT(expected); k++) {
        double got = (double)config_rope_divisor(&config, expected[k].i);
        if (got < expected[k].divisor * 0.999 || got > expected[k].divisor * 1.001)
            fail_msg("frequency %u: %g, expected %g", expected[k].i, got, expected[k].divisor);
    }
    REFUSES(BITNET_FORMAT, S(""), "original_max_position_embeddings");
#undef S
}

/* A complete configuration of each younger family; `key` is left out, or another value is put. */
#define QWEN3                                                                                      \
    "\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\",\"hidden_act\":\"silu\","   \
    "\"head_dim\":32,\"rope_theta\":1000000,\"use_sliding_window\":false,"
#define GEMMA3_BUT_ROPE                                                                            \
    "\"architectures\":[\"Gemma3TextModel\"],\"model_type\":\"gemma3_text\",\"hidden_"             \
    "activation\":"                                                                                \
    "\"gelu_pytorch_tanh\",\"head_dim\":32,\"query_pre_attn_scalar\":64,\"sliding_window\":8,"
#define GEMMA3                                                                                     \
    GEMMA3_BUT_ROPE                                                                                \
    "\"rope_theta\":1000000,\"rope_local_base_freq\":10000,\"sliding_window_pattern\":2,"

/* The text with the name of one key made another. */
static const char *without(const char *whole, const char *key)
{
    static char text[2048];
    char name[64];
    snprintf(text, sizeof text, "%s", whole);
    snprintf(name, sizeof name, "\"%s\"", key);
    char *at = strstr(text, name);
    assert_non_null(at);
    at[1] = 'X';
    return text;
}

TEST(what_a_configuration_class_would_make_up_must_be_said)
{
    static const struct {
        const char *config, *key;
    } cases[] = {
        {"{" TYPE "\"hidden_act\":\"silu\"," BASE "}", "hidden_act"},
        {"{" LLAMA BASE "}", "model_type"},
        {"{" LLAMA BASE "}", "architectures"},
        {"{" BITNET BASE "}", "hidden_act"},
        {"{" BITNET BASE "}", "rope_theta"},
        {"{" BITNET BASE "}", "num_key_value_heads"},
        {"{" ONE_BIT BASE "}", "hidden_act"},
        {"{" QWEN3 BASE "}", "hidden_act"},
        {"{" QWEN3 BASE "}", "head_dim"},
        {"{" QWEN3 BASE "}", "rope_theta"},
        {"{" QWEN3 BASE "}", "num_key_value_heads"},
        {"{" QWEN3 BASE "}", "rms_norm_eps"},
        {"{" GEMMA3 BASE "}", "hidden_activation"},
        {"{" GEMMA3 BASE "}", "head_dim"},
        {"{" GEMMA3 BASE "}", "query_pre_attn_scalar"},
        {"{" GEMMA3 BASE "}", "sliding_window"},
        {"{" GEMMA3 BASE "}", "sliding_window_pattern"},
        {"{" GEMMA3 BASE "}", "rope_theta"},
        {"{" GEMMA3 BASE "}", "rope_local_base_freq"},
        {"{" GEMMA3 BASE "}", "num_key_value_heads"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char words[64];
        snprintf(words, sizeof words, "'%s' is missing", cases[i].key);
        if (parse(cases[i].config)) fail_msg("%s", err.text);
        REFUSES(BITNET_FORMAT, without(cases[i].config, cases[i].key), words);
    }
}

TEST(what_contradicts_the_architecture_is_refused_by_name)
{
    static const struct {
        const char *config, *words;
    } cases[] = {
        {"{" QWEN3 BASE ",\"attention_bias\":true}", "'attention_bias' true is not supported"},
        {"{" LLAMA BASE ",\"mlp_bias\":true}", "'mlp_bias' true"},
        {"{" ONE_BIT BASE ",\"weight_bits\":2}", "'weight_bits' 2 is not supported"},
        {"{" ONE_BIT BASE ",\"input_bits\":4}", "'input_bits' 4 is not supported"},
        {"{" GEMMA3 BASE ",\"attn_logit_softcapping\":50.0}", "'attn_logit_softcapping' 50"},
        {"{" GEMMA3 BASE ",\"final_logit_softcapping\":30.0}", "'final_logit_softcapping' 30"},
        {"{" GEMMA3 BASE ",\"use_bidirectional_attention\":true}", "'use_bidirectional_attention'"},
        {"{" GEMMA3 BASE ",\"hidden_act\":\"silu\"}",
         "'hidden_act' 'silu' is not supported (gemma3"},
        {"{" LLAMA BASE ",\"hidden_activation\":\"gelu_pytorch_tanh\"}",
         "'hidden_activation' 'gelu_pytorch_tanh' is not supported (llama computes silu)"},
        {"{" LLAMA BASE ",\"num_experts\":8}", "'num_experts' 8"},
        {"{" LLAMA BASE ",\"layer_types\":[\"sliding_attention\",\"sliding_attention\"]}",
         "'layer_types' with sliding_attention is not supported for llama"},
        {"{" LLAMA BASE ",\"layer_types\":[\"full_attention\",\"linear_attention\"]}",
         "'layer_types' at 1 is neither"},
        {"{\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"llama\"," BASE "}",
         "'model_type' 'llama' does not belong to architecture 'Qwen3ForCausalLM'"},
        {"{\"architectures\":[\"Gemma3ForCausalLM\"],\"model_type\":\"gemma3\"," BASE "}",
         "'model_type' 'gemma3' does not belong"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        REFUSES(BITNET_UNSUPPORTED, cases[i].config, cases[i].words);
    REFUSES(BITNET_UNSUPPORTED,
            "{\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\",\"hidden_act\":"
            "\"silu\",\"head_dim\":32,\"rope_theta\":1e6,\"use_sliding_window\":true," BASE "}",
            "'use_sliding_window' true is not supported");
}

TEST(what_is_said_twice_must_agree)
{
    REFUSES(BITNET_FORMAT,
            "{" LLAMA BASE ",\"rope_theta\":10000,\"rope_parameters\":{\"rope_theta\":500000}}",
            "'rope_theta' 10000 and 'rope_theta' 500000 of 'rope_parameters' contradict");
    assert_int_equal(
        parse("{" LLAMA BASE ",\"rope_theta\":5e5,\"rope_parameters\":{\"rope_theta\":500000}}"),
        BITNET_OK);
    assert_true(config.hparams.rope_base == 500000.0f);
}

TEST(windows_and_two_rope_bases_of_gemma_are_read_in_both_spellings)
{
    assert_int_equal(parse("{" GEMMA3 BASE "}"), BITNET_OK);
    assert_string_equal(config.arch->name, "gemma3");
    assert_true(config.hparams.window == 8 && config.hparams.window_period == 2);
    assert_true(config.hparams.rope_base == 1e6f && config.hparams.local_rope_base == 1e4f);
    assert_true(config.hparams.query_scale == 0.125f && config.is_tied && config.is_backbone);
#define NESTED(types, full)                                                                        \
    "{" GEMMA3_BUT_ROPE BASE ",\"layer_types\":[" types                                            \
    "],\"rope_parameters\":{\"full_attention\":{"                                                  \
    "\"rope_theta\":2e6" full                                                                      \
    "},\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":3e4}}}"
#define S "\"sliding_attention\""
#define F "\"full_attention\""
    assert_int_equal(parse(NESTED(S "," F, "")), BITNET_OK);
    assert_true(config.hparams.window == 8 && config.hparams.window_period == 2);
    assert_true(config.hparams.rope_base == 2e6f && config.hparams.local_rope_base == 3e4f);
    assert_int_equal(parse(NESTED(S "," S, "")), BITNET_OK);
    assert_int_equal(config.hparams.window_period, 3); /* no layer reaches it */
    assert_int_equal(parse(NESTED(F "," F, "")), BITNET_OK);
    assert_int_equal(config.hparams.window, 0);
    assert_int_equal(parse(NESTED(S "," F, ",\"rope_type\":\"linear\",\"factor\":8.0")), BITNET_OK);
    assert_true(config.hparams.rope_scale == 8.0f);
    REFUSES(BITNET_UNSUPPORTED, NESTED(F "," S, ""), "'layer_types' has no period: layer 1");
    REFUSES(BITNET_FORMAT, NESTED(S, ""), "'layer_types' is no list of 2 layers");
    REFUSES(BITNET_UNSUPPORTED, NESTED(S "," F, ",\"rope_type\":\"yarn\""), "'yarn'");
#undef NESTED
#undef S
#undef F
    /* The head size gives the scale that is usual: nothing to say. */
    assert_int_equal(
        parse("{\"architectures\":[\"Gemma3ForCausalLM\"],\"model_type\":\"gemma3_text\","
              "\"hidden_activation\":\"gelu_pytorch_tanh\",\"head_dim\":32,"
              "\"query_pre_attn_scalar\":32,\"sliding_window\":8,\"rope_theta\":1e6,"
              "\"rope_local_base_freq\":1e4,\"sliding_window_pattern\":6," BASE "}"),
        BITNET_OK);
    assert_true(config.hparams.query_scale == 0 && !config.is_backbone);
}

TEST(special_token_ids_must_be_ids)
{
    assert_int_equal(parse("{" LLAMA BASE ",\"bos_token_id\":1,\"eos_token_id\":[2,299]}"),
                     BITNET_OK);
    assert_int_equal(parse("{" LLAMA BASE ",\"bos_token_id\":null}"), BITNET_OK);
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"bos_token_id\":300}",
            "'bos_token_id': '300' is not a token id (allowed 0 to 299)");
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"eos_token_id\":[2,300]}", "'eos_token_id'");
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"eos_token_id\":\"2\"}", "'eos_token_id'");
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"eos_token_id\":-5}", "'eos_token_id'");
}

TEST(refuses_text_that_is_no_object)
{
    REFUSES(BITNET_FORMAT, "[]", "not an object");
    REFUSES(BITNET_FORMAT, "", "line 1");
    REFUSES(BITNET_FORMAT, "{" LLAMA BASE ",\"hidden_size\":64}", "twice");
}

TEST(survives_the_failure_of_each_allocation)
{
    enum bitnet_status status = BITNET_MEMORY;
    const char *text = "{" BITNET BASE ",\"quantization_config\":{\"quant_method\":\"bitnet\","
                       "\"modules_to_not_convert\":[\"lm_head\",\"a.b\"]}}";
    for (long n = 0; status; n++) {
        config_free(&config);
        long live = bitnet_alloc_live();
        bitnet_alloc_fail_at(n);
        status = config_parse(&config, bitnet_str_of(text), &err);
        bool was_hit = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        assert_int_equal(status, was_hit ? BITNET_MEMORY : BITNET_OK);
        config_free(&config);
        assert_int_equal(bitnet_alloc_live(), live);
        assert_true(n < 1000);
    }
}

static int end(void **state)
{
    (void)state;
    config_free(&config);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_plain_llama_as_it_was_meant_before_later_keys_came),
        cmocka_unit_test(the_class_of_the_linear_layers_gives_the_direction_of_the_scale),
        cmocka_unit_test(layers_of_1bitllm_are_masters_without_saying_so),
        cmocka_unit_test(refuses_other_ways_of_quantizing),
        cmocka_unit_test(knows_which_modules_are_kept),
        cmocka_unit_test(refuses_an_architecture_or_activation_that_it_does_not_follow),
        cmocka_unit_test(names_the_number_that_is_missing_or_out_of_range),
        cmocka_unit_test(numbers_must_agree_with_each_other),
        cmocka_unit_test(rope_is_read_from_old_and_new_files_and_never_guessed),
        cmocka_unit_test(frequencies_of_llama_3_1_are_stretched_by_wavelength),
        cmocka_unit_test(what_a_configuration_class_would_make_up_must_be_said),
        cmocka_unit_test(what_contradicts_the_architecture_is_refused_by_name),
        cmocka_unit_test(what_is_said_twice_must_agree),
        cmocka_unit_test(windows_and_two_rope_bases_of_gemma_are_read_in_both_spellings),
        cmocka_unit_test(special_token_ids_must_be_ids),
        cmocka_unit_test(refuses_text_that_is_no_object),
        cmocka_unit_test(survives_the_failure_of_each_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
