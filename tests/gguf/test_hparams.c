/* gguf/arch/hparams.c: numbers that are missing, out of range or in contradiction are refused with
 * key and range, and those that are written are those that are read. The messages are those of
 * reliability.md section 13, cases hp_*. */
#include "cm.h"

#include "model.h"

#include <bitnet/arch.h>

#include <math.h>
#include <stdio.h>

#include "temp_dir.h"
#include "validated.h"

TEST(missing_keys_are_named)
{
    static const char *const keys[] = {"general.architecture",
                                       "llama.block_count",
                                       "llama.context_length",
                                       "llama.embedding_length",
                                       "llama.feed_forward_length",
                                       "llama.attention.head_count",
                                       "llama.attention.layer_norm_rms_epsilon",
                                       "tokenizer.ggml.model",
                                       "tokenizer.ggml.tokens",
                                       "tokenizer.ggml.scores"};
    for (size_t i = 0; i < COUNT(keys); i++) {
        char words[96];
        snprintf(words, sizeof words, "key '%s' is missing", keys[i]);
        must_refuse((struct model_change){.drop_key = keys[i]}, BITNET_FORMAT, words);
    }
    must_refuse((struct model_change){.drop_key = "tokenizer.ggml.merges", .is_bpe = true},
                BITNET_FORMAT, "key 'tokenizer.ggml.merges' is missing");
}

U32(no_layers, "llama.block_count", 0)
U32(many_layers, "llama.block_count", 1025)
U32(one_more_layer, "llama.block_count", 3)
U32(no_width, "llama.embedding_length", 0)
U32(odd_width, "llama.embedding_length", 9)
U32(huge_width, "llama.embedding_length", 1048577)
U32(other_width, "llama.embedding_length", 16)
U32(huge_ffn, "llama.feed_forward_length", 8388609)
U32(three_heads, "llama.attention.head_count", 3)
U32(three_kv_heads, "llama.attention.head_count_kv", 3)
U32(no_context, "llama.context_length", 0)
U32(odd_rotation, "llama.rope.dimension_count", 3)
U32(wide_rotation, "llama.rope.dimension_count", 6)
U32(experts, "llama.expert_count", 8)
U32(many_experts, "llama.expert_count", 4097)
U32(used_experts, "llama.expert_used_count", 1)
U32(value_length, "llama.attention.value_length", 5)
U32(key_length, "llama.attention.key_length", 4)
U32(huge_key_length, "llama.attention.key_length", 8193)
U32(architecture_number, "general.architecture", 1)
F32(eps_nan, "llama.attention.layer_norm_rms_epsilon", 0x7FC00000)
F32(eps_zero, "llama.attention.layer_norm_rms_epsilon", 0)
F32(base_negative, "llama.rope.freq_base", 0xBF800000)
F32(base_infinite, "llama.rope.freq_base", 0x7F800000)
F32(head_count_float, "llama.attention.head_count", 0x40000000)
TEXT(scaling_linear, "llama.rope.scaling.type", "linear")
TEXT(scaling_none, "llama.rope.scaling.type", "none")
TEXT(scaling_yarn, "llama.rope.scaling.type", "yarn")
TEXT(architecture_unknown, "general.architecture", "no-such\x1b[0m")

static void head_count_list(struct spell *s)
{
    spell_key_array(s, "llama.attention.head_count", BITNET_GGUF_U32, 2);
    spell_u32(s, 2);
    spell_u32(s, 2);
}

TEST(bad_numbers_are_refused_with_key_and_range)
{
    static const struct {
        const char *drop;
        void (*put)(struct spell *s);
        enum bitnet_status status;
        const char *words;
    } cases[] = {
        {"llama.block_count", no_layers, BITNET_FORMAT,
         "key 'llama.block_count': 0 (allowed 1 to 1024)"},
        {"llama.block_count", many_layers, BITNET_FORMAT,
         "key 'llama.block_count': 1025 (allowed 1 to 1024)"},
        {"llama.block_count", one_more_layer, BITNET_FORMAT,
         "tensor 'blk.2.attn_norm.weight' is missing"},
        {"llama.embedding_length", no_width, BITNET_FORMAT, "0 (allowed 1 to 1048576)"},
        {"llama.embedding_length", odd_width, BITNET_FORMAT,
         "head count 2 does not divide the width 9"},
        {"llama.embedding_length", huge_width, BITNET_FORMAT, "1048577 (allowed 1 to 1048576)"},
        {"llama.embedding_length", other_width, BITNET_FORMAT,
         "tensor 'token_embd.weight': shape 8 x 264, expected 16 x 264"},
        {"llama.feed_forward_length", huge_ffn, BITNET_FORMAT, "8388609 (allowed 1 to 8388608)"},
        {"llama.attention.head_count", three_heads, BITNET_FORMAT,
         "head count 3 does not divide the width 8"},
        {"llama.attention.head_count_kv", three_kv_heads, BITNET_FORMAT,
         "key 'llama.attention.head_count_kv': 3 (allowed 1 to 2)"},
        {"llama.context_length", no_context, BITNET_FORMAT,
         "key 'llama.context_length': 0 (allowed 1 to 4294967295)"},
        {"llama.rope.dimension_count", odd_rotation, BITNET_FORMAT, "rotated size 3 is odd"},
        {"llama.rope.dimension_count", wide_rotation, BITNET_FORMAT,
         "key 'llama.rope.dimension_count': 6 (allowed 1 to 4)"},
        {NULL, experts, BITNET_UNSUPPORTED, "8 experts: mixture-of-experts"},
        {NULL, many_experts, BITNET_FORMAT, "4097 (allowed 0 to 4096)"},
        {NULL, used_experts, BITNET_FORMAT, "key 'llama.expert_used_count': 1 (allowed 0 to 0)"},
        {NULL, value_length, BITNET_UNSUPPORTED, "keys of 4 and values of 5 numbers"},
        {NULL, huge_key_length, BITNET_FORMAT, "8193 (allowed 1 to 8192)"},
        {"general.architecture", architecture_number, BITNET_FORMAT,
         "key 'general.architecture': expected string, found u32"},
        {"general.architecture", architecture_unknown, BITNET_UNSUPPORTED,
         "key 'general.architecture': 'no-such\\x1b[0m' is not an architecture we know"},
        {"llama.attention.layer_norm_rms_epsilon", eps_nan, BITNET_FORMAT,
         "key 'llama.attention.layer_norm_rms_epsilon': nan (must be positive)"},
        {"llama.attention.layer_norm_rms_epsilon", eps_zero, BITNET_FORMAT, "0 (must be positive)"},
        {"llama.rope.freq_base", base_negative, BITNET_FORMAT,
         "key 'llama.rope.freq_base': -1 (must be positive)"},
        {"llama.rope.freq_base", base_infinite, BITNET_FORMAT, "inf (must be positive)"},
        {"llama.attention.head_count", head_count_float, BITNET_FORMAT,
         "expected an integer, found f32"},
        {"llama.attention.head_count", head_count_list, BITNET_FORMAT,
         "expected an integer, found array of u32"},
        {NULL, scaling_yarn, BITNET_UNSUPPORTED, "rope scaling 'yarn' is not supported"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        must_refuse((struct model_change){.drop_key = cases[i].drop, .put_key = cases[i].put},
                    cases[i].status, cases[i].words);
    must_accept((struct model_change){.put_key = key_length});
    must_accept((struct model_change){.put_key = scaling_linear});
    must_accept((struct model_change){.put_key = scaling_none});
}

TEST(numbers_that_contradict_each_other_are_refused)
{
    const struct bitnet_hparams good = {.n_layers = 2,
                                        .n_embd = 8,
                                        .n_ffn = 16,
                                        .n_heads = 4,
                                        .n_kv_heads = 2,
                                        .head_dim = 4,
                                        .n_rot = 4,
                                        .n_vocab = 10,
                                        .n_context = 64,
                                        .norm_eps = 1e-5f,
                                        .rope_base = 1e4f,
                                        .rope_scale = 1.0f};
    assert_int_equal(bitnet_hparams_check(&good, &err), BITNET_OK);
    struct bitnet_hparams h = good;
    h.n_layers = 1025;
    assert_int_equal(bitnet_hparams_check(&h, &err), BITNET_LIMIT);
    assert_text_has(err.text, "layer count 1025 (allowed 1 to 1024)");
    h = good;
    h.n_kv_heads = 3;
    assert_int_equal(bitnet_hparams_check(&h, &err), BITNET_FORMAT);
    assert_text_has(err.text, "key head count 3 does not divide the head count 4");
    h = good;
    h.n_rot = 3;
    assert_int_equal(bitnet_hparams_check(&h, &err), BITNET_FORMAT);
    h = good;
    h.n_rot = 6;
    assert_int_equal(bitnet_hparams_check(&h, &err), BITNET_LIMIT);
    h = good;
    h.head_dim = 8193;
    assert_int_equal(bitnet_hparams_check(&h, &err), BITNET_LIMIT);
    h = good;
    h.n_vocab = 2097153;
    assert_int_equal(bitnet_hparams_check(&h, &err), BITNET_LIMIT);
    h = good;
    h.rope_scale = 0.0f;
    assert_int_equal(bitnet_hparams_check(&h, &err), BITNET_FORMAT);
    h = good;
    h.norm_eps = NAN;
    assert_int_equal(bitnet_hparams_check(&h, &err), BITNET_FORMAT);
    assert_text_has(err.text, "norm epsilon: nan (must be positive)");
}

U32(window, "gemma3.attention.sliding_window", 32)
U32(no_window, "gemma3.attention.sliding_window", 0)
U32(pooled_last, "gemma3.pooling_type", 3)
U32(pooled_by_rank, "gemma3.pooling_type", 4)
U32(pooled_otherwise, "gemma3.pooling_type", 5)
F32(capped, "gemma3.final_logit_softcapping", 0x41F00000)
F32(uncapped, "gemma3.final_logit_softcapping", 0)
F32(scaled, "gemma3.attention.scale", 0x3E000000)

static void not_causal(struct spell *s)
{
    spell_key(s, "gemma3.attention.causal", BITNET_GGUF_BOOL);
    spell_raw(s, "", 1);
}

/* llama.cpp writes a window only; what it leaves out has the values that llama.cpp takes then. */
TEST(windows_scales_and_pooling_are_read_or_refused)
{
    struct spell s = {0};
    struct bitnet_hparams h;
    const struct bitnet_arch *arch;
    struct model_change change = {.architecture = "gemma3", .put_key = window};
    struct bitnet_gguf *gguf = open_model(&change, &s);
    assert_int_equal(bitnet_hparams_from_gguf(&h, &arch, gguf, &err), BITNET_OK);
    assert_true(h.window == 32 && h.window_period == 6 && h.local_rope_base == 10000.0f);
    assert_true(h.rope_base == 500000.0f && h.query_scale == 0 && h.pooling == 0);
    assert_true(bitnet_layer_is_local(&h, 0) && bitnet_layer_is_local(&h, 4));
    assert_true(!bitnet_layer_is_local(&h, 5) && bitnet_layer_is_local(&h, 6));
    bitnet_gguf_close(gguf);
    spell_free(&s);
    change.put_key = scaled;
    gguf = open_model(&change, &s);
    assert_int_equal(bitnet_hparams_from_gguf(&h, &arch, gguf, &err), BITNET_OK);
    assert_true(h.query_scale == 0.125f && h.window == 0 && !bitnet_layer_is_local(&h, 0));
    bitnet_gguf_close(gguf);
    spell_free(&s);
    change.put_key = pooled_last;
    gguf = open_model(&change, &s);
    assert_int_equal(bitnet_hparams_from_gguf(&h, &arch, gguf, &err), BITNET_OK);
    assert_int_equal(h.pooling, BITNET_POOLING_LAST);
    bitnet_gguf_close(gguf);
    spell_free(&s);
    must_accept((struct model_change){.architecture = "gemma3", .put_key = no_window});
    must_accept((struct model_change){.architecture = "gemma3", .put_key = uncapped});
    must_refuse((struct model_change){.architecture = "gemma3", .put_key = pooled_by_rank},
                BITNET_UNSUPPORTED, "pooling_type 4 (rank)");
    must_refuse((struct model_change){.architecture = "gemma3", .put_key = pooled_otherwise},
                BITNET_FORMAT, "5 (allowed 0 to 4)");
    must_refuse((struct model_change){.architecture = "gemma3", .put_key = capped},
                BITNET_UNSUPPORTED, "final_logit_softcapping 30 is not supported");
    must_refuse((struct model_change){.architecture = "gemma3", .put_key = not_causal},
                BITNET_UNSUPPORTED, "attention.causal false");
}

/* Numbers as keys, read back: what convert writes is what everybody reads. */
TEST(numbers_written_are_the_numbers_read)
{
    const struct bitnet_hparams cases[] = {
        {2, 8, 16, 2, 1, 4, 4, MODEL_TOKENS, 64, 1e-5f, 1e4f, 1.0f, 0, 0, 0, 0, 0},
        {30, 2560, 6912, 20, 5, 128, 128, 128256, 4096, 1e-6f, 500000.0f, 4.0f, 0, 0, 0, 0, 0},
        {1, 640, 2048, 4, 1, 256, 64, 10, 1, 1e-6f, 1e6f, 1.0f, 0, 0, 0, 0,
         0}, /* heads wider than the model */
        {1, 640, 2048, 4, 1, 256, 64, 10, 1, 1e-6f, 1e6f, 8.0f, 0.0625f, 512, 6, 1e4f,
         BITNET_POOLING_MEAN},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct temp_dir dir;
        struct bitnet_gguf_writer *writer;
        struct bitnet_gguf *gguf = NULL;
        struct bitnet_hparams h;
        const struct bitnet_arch *arch;
        const uint64_t dims[2] = {cases[i].n_embd, cases[i].n_vocab};
        temp_dir_make(&dir);
        const char *path = temp_dir_file(&dir, "h.gguf");
        if (bitnet_gguf_writer_new(&writer, path, NULL, &err)) fail_msg("%s", err.text);
        const char *name = cases[i].window ? "gemma3" : "bitnet-b1.58";
        bitnet_gguf_put_str(writer, "general.architecture", bitnet_str_of(name));
        bitnet_gguf_put_str(writer, "tokenizer.ggml.model", BITNET_STR("none"));
        bitnet_hparams_to_gguf(&cases[i], bitnet_arch_by_name(bitnet_str_of(name)), writer);
        static uint8_t zeros[1 << 20];
        if (bitnet_gguf_tensor_declare(writer, BITNET_STR("token_embd.weight"), BITNET_DTYPE_q8_0,
                                       (const uint64_t[]){32, dims[1]}, 2, &err) ||
            bitnet_gguf_begin(writer, &err))
            fail_msg("%s", err.text);
        for (uint64_t left = 34 * dims[1]; left > 0;) {
            size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
            if (bitnet_gguf_tensor_write(writer, zeros, n, &err)) fail_msg("%s", err.text);
            left -= n;
        }
        if (bitnet_gguf_finish(writer, &err) || bitnet_gguf_open(&gguf, path, NULL, &err) ||
            bitnet_hparams_from_gguf(&h, &arch, gguf, &err))
            fail_msg("%s", err.text);
        assert_memory_equal(&h, &cases[i], sizeof h);
        bool has_length = (uint64_t)h.n_heads * h.head_dim != h.n_embd;
        char key[64];
        snprintf(key, sizeof key, "%s.attention.key_length", name);
        assert_int_equal(bitnet_gguf_find(gguf, bitnet_str_of(key)) != NULL, has_length);
        bitnet_gguf_close(gguf);
        temp_dir_remove(&dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_keys_are_named),
        cmocka_unit_test(bad_numbers_are_refused_with_key_and_range),
        cmocka_unit_test(numbers_that_contradict_each_other_are_refused),
        cmocka_unit_test(windows_scales_and_pooling_are_read_or_refused),
        cmocka_unit_test(numbers_written_are_the_numbers_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
