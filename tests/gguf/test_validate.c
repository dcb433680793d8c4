/* gguf/validate.c: what is doubtful about a file that opens is said as a warning, and the summary
 * counts what is there. */
#include "cm.h"

#include "model.h"

#include <bitnet/log.h>

#include <stdio.h>
#include <stdlib.h>

static struct bitnet_error err;
static char said[8192];

static void hear(void *user, enum bitnet_log_level level, const char *text)
{
    size_t n = strlen(said);
    (void)user;
    assert_int_equal(level, BITNET_LOG_WARNING);
    snprintf(said + n, sizeof said - n, "%s\n", text);
}

static const struct bitnet_log ears = {.say = hear};

static enum bitnet_status validate(const struct spell *s, enum bitnet_gguf_level level)
{
    struct bitnet_gguf *gguf;
    said[0] = '\0';
    if (bitnet_gguf_open_mem(&gguf, spell_bytes(s), NULL, &err)) fail_msg("%s", err.text);
    enum bitnet_status status = bitnet_gguf_validate(gguf, level, &ears, &err);
    bitnet_gguf_close(gguf);
    return status;
}

static void must_warn(struct model_change change, const char *words)
{
    struct spell s = {0};
    model_spell(&s, &change);
    if (validate(&s, BITNET_GGUF_LEVEL_MODEL)) fail_msg("%s", err.text);
    if (words)
        assert_text_has(said, words);
    else
        assert_string_equal(said, "");
    spell_free(&s);
}

TEST(a_sound_model_gives_no_warning)
{
    must_warn((struct model_change){0}, NULL);
    must_warn((struct model_change){.is_bpe = true}, NULL);
    must_warn((struct model_change){.architecture = "bitnet-b1.58"}, NULL);
}

static void nested(struct spell *s)
{
    spell_key_array(s, "odd", BITNET_GGUF_ARRAY, 0);
}

static void file_type(struct spell *s)
{
    spell_key_u32(s, "general.file_type", 40);
}
static void file_type_guessed(struct spell *s)
{
    spell_key_u32(s, "general.file_type", 1025);
}
static void vocab_size(struct spell *s)
{
    spell_key_u32(s, "llama.vocab_size", 300);
}

TEST(doubts_about_a_model_are_said)
{
    must_warn((struct model_change){.put_key = nested}, "key 'odd': an array of arrays");
    must_warn((struct model_change){.put_key = vocab_size},
              "the vocabulary size is given as 300, but there are 264 tokens");
    must_warn((struct model_change){.drop_key = "tokenizer.ggml.pre", .is_bpe = true},
              "key 'tokenizer.ggml.pre' is missing");
    must_warn((struct model_change){.drop_key = "general.file_type", .put_key = file_type},
              "general.file_type is 40, but most weights are F16 (1 in ggml)");
    must_warn((struct model_change){.drop_key = "general.file_type", .put_key = file_type_guessed},
              NULL);
    must_warn((struct model_change){.drop_key = "general.file_type"}, NULL);
    must_warn((struct model_change){.architecture = "bitnet", .is_bpe = true},
              "mend: bitnet gguf repair 'model.gguf' -o 'model.mended.gguf' --fix activation");
    must_warn((struct model_change){.architecture = "bitnet"}, NULL);
    must_warn(
        (struct model_change){
            .alter_tensor = "output_norm.weight", .n_dims = 1, .dims = {8}, .type = 1},
        "tensor 'output_norm.weight' is F16; other runtimes expect F32 norms");
    must_warn((struct model_change){.extra_tensor = "some.thing", .n_dims = 1, .dims = {8}},
              "tensor 'some.thing' is not used by the architecture 'llama'");
}

/* Many tensors that nobody needs are one warning. */
TEST(strangers_are_counted_not_listed)
{
    struct spell s = {0}, keys = {0};
    struct bitnet_gguf *gguf;
    model_spell(&s, &(struct model_change){.extra_tensor = "x.1", .n_dims = 1, .dims = {8}});
    if (bitnet_gguf_open_mem(&gguf, spell_bytes(&s), NULL, &err)) fail_msg("%s", err.text);
    /* one more info at the end of the list: the data section moves by whole alignments */
    size_t data = (size_t)bitnet_gguf_position(gguf, bitnet_gguf_tensor_at(gguf, 0));
    const struct bitnet_tensor *last =
        bitnet_gguf_tensor_at(gguf, bitnet_gguf_tensor_count(gguf) - 1);
    size_t end_of_infos =
        (size_t)((const uint8_t *)last->name.at - s.at) + last->name.n + 4 + 8 + 12;
    uint64_t offset = last->offset + 32;
    spell_raw(&keys, s.at, end_of_infos);
    spell_tensor(&keys, "x.2", 1, (const uint64_t[]){8}, 0, offset);
    spell_pad(&keys, 32);
    spell_raw(&keys, s.at + data, s.n - data);
    spell_zeros(&keys, 32);
    bitnet_store_u64(keys.at + 8, bitnet_gguf_tensor_count(gguf) + 1);
    bitnet_gguf_close(gguf);
    if (validate(&keys, BITNET_GGUF_LEVEL_MODEL)) fail_msg("%s", err.text);
    assert_string_equal(said, "tensor 'x.1' and 1 more are not used by the architecture 'llama'\n");
    spell_free(&s);
    spell_free(&keys);
}

TEST(doubts_about_a_container_are_said)
{
    char name[80] = {0};
    memset(name, 'n', 70);
    struct spell s = {0};
    spell_header(&s, 3, 2, 0);
    spell_matrix(&s, name, 8, 2, 0, 64);
    spell_matrix(&s, "b", 8, 2, 0, 192);
    spell_pad(&s, 32);
    spell_zeros(&s, 192 + 64 + 7);
    assert_int_equal(validate(&s, BITNET_GGUF_LEVEL_STRUCTURE), BITNET_OK);
    assert_text_has(said, "lies at offset 64, not at 0: llama.cpp refuses gaps");
    assert_text_has(said, "name of 70 bytes; llama.cpp refuses more than 63");
    assert_text_has(said, "7 bytes after the last tensor belong to no tensor");
    assert_int_equal(validate(&s, BITNET_GGUF_LEVEL_MODEL), BITNET_FORMAT);
    spell_free(&s);
}

TEST(the_summary_counts_what_is_there)
{
    struct spell s = {0};
    struct bitnet_gguf *gguf;
    struct bitnet_gguf_summary sum;
    model_spell(&s, &(struct model_change){0});
    if (bitnet_gguf_open_mem(&gguf, spell_bytes(&s), NULL, &err)) fail_msg("%s", err.text);
    bitnet_gguf_summarize(gguf, &sum);
    uint64_t in_layer = 64 + 32 + 32 + 64 + 3 * 128, f16 = 8 * MODEL_TOKENS + 2 * in_layer;
    assert_int_equal(sum.types[BITNET_DTYPE_f16].n_parameters, f16);
    assert_int_equal(sum.types[BITNET_DTYPE_f16].n_tensors, 15);
    assert_int_equal(sum.types[BITNET_DTYPE_f32].n_parameters, 5 * 8);
    assert_int_equal(sum.types[BITNET_DTYPE_f32].n_bytes, 5 * 32);
    assert_int_equal(sum.n_parameters, f16 + 40);
    assert_int_equal(sum.n_bytes, 2 * f16 + 160);
    assert_int_equal(sum.main_type, BITNET_DTYPE_f16);
    bitnet_gguf_close(gguf);
    spell_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_model_gives_no_warning),
        cmocka_unit_test(doubts_about_a_model_are_said),
        cmocka_unit_test(strangers_are_counted_not_listed),
        cmocka_unit_test(doubts_about_a_container_are_said),
        cmocka_unit_test(the_summary_counts_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
