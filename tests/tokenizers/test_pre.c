/* Every named pre-tokenizer: the GPT-2 vocabulary with only the name changed, against the ids that
 * llama.cpp gave (shared data), and each name of the table loads. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include "cases.h"
#include "insides.h"
#include "temp_dir.h"

/* The vocabulary's file with another value of tokenizer.ggml.pre. */
static struct bitnet_tokenizer *with_pre(const struct bitnet_gguf *gguf, const char *pre)
{
    struct temp_dir dir;
    struct bitnet_gguf_writer *writer;
    struct bitnet_gguf *changed = NULL;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err = {0};
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "vocabulary.gguf");
    if (bitnet_gguf_writer_new(&writer, path, &(struct bitnet_gguf_writer_options){0}, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(gguf, i);
        if (bitnet_str_is(pair->key, "tokenizer.ggml.pre"))
            bitnet_gguf_put_str(writer, "tokenizer.ggml.pre", bitnet_str_of(pre));
        else
            bitnet_gguf_put_value(writer, pair->key, &pair->value);
    }
    if (bitnet_gguf_begin(writer, &err) || bitnet_gguf_finish(writer, &err) ||
        bitnet_gguf_open(&changed, path, NULL, &err))
        fail_msg("%s", err.text);
    /* The name is forced: on its own, "default" would be repaired (test_identify.c). */
    if (tokenizer_read_gguf(&tokenizer, changed, pre, NULL, &err)) fail_msg("%s", err.text);
    bitnet_gguf_close(changed);
    temp_dir_remove(&dir);
    return tokenizer;
}

/* File of the sweep, and every name that the file says it holds for. */
static const struct sweep {
    const char *file;
    const char *names[20];
} sweeps[] = {
    {"default", {"default"}},
    {"llama-bpe",
     {"llama-bpe", "falcon3", "falcon-h1", "falcon_e", "pixtral", "dbrx", "smaug-bpe",
      "chatglm-bpe", "jais-2", "minicpm5"}},
    {"mpt",
     {"mpt", "gpt-2", "phi-2", "roberta-bpe", "jina-v2-de", "olmo", "jais", "exaone4", "trillion",
      "granite-docling", "gigachat"}},
    {"qwen2",
     {"qwen2", "stablelm2", "megrez", "bailingmoe", "seed-coder", "hunyuan", "grok-2", "laguna",
      "solar-open", "deepseek-r1-qwen"}},
    {"starcoder",
     {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"}},
    {"falcon", {"falcon"}},
    {"deepseek-llm", {"deepseek-llm"}},
    {"deepseek-coder", {"deepseek-coder"}},
    {"deepseek-v3", {"deepseek-v3", "hunyuan-dense"}},
    {"poro-chat", {"poro-chat", "bloom", "gpt3-finnish"}},
    {"viking", {"viking"}},
    {"tekken", {"tekken"}},
    {"chameleon", {"chameleon"}},
    {"gpt-4o", {"gpt-4o", "llama4", "minimax-m2"}},
    {"granite-embed-multi-97m", {"granite-embed-multi-97m"}},
    {"qwen35", {"qwen35"}},
    {"exaone-moe", {"exaone-moe"}},
    {"youtu", {"youtu"}},
    {"tiny_aya", {"tiny_aya"}},
    {"superbpe", {"superbpe"}},
    {"afmoe", {"afmoe"}},
    {"kimi-k2", {"kimi-k2"}},
};

TEST(every_name_cuts_text_as_llama_cpp_does)
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err;
    size_t n_different = 0;
    if (!cases_are_there()) {
        printf("skipped: shared/data/tokenizers, pre-tokenizer sweep\n");
        skip();
    }
    if (bitnet_gguf_open(&gguf, CASES_DIR "ggml-vocab/ggml-vocab-gpt-2.gguf", NULL, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < COUNT(sweeps); i++)
        for (size_t k = 0; sweeps[i].names[k]; k++) {
            char path[128];
            struct bitnet_tokenizer *tokenizer = with_pre(gguf, sweeps[i].names[k]);
            snprintf(path, sizeof path, "expected/pre-sweep.%s.tsv", sweeps[i].file);
            struct verdict verdict = cases_compare(
                tokenizer, path, &(struct bitnet_tokenize_options){.no_special = true});
            printf("  %s as %s: %zu equal, %zu different\n", sweeps[i].names[k], sweeps[i].file,
                   verdict.n_equal, verdict.n_different);
            n_different += verdict.n_different + (verdict.n_equal < 500);
            bitnet_tokenizer_free(tokenizer);
        }
    bitnet_gguf_close(gguf);
    assert_int_equal(n_different, 0);
}

TEST(every_expression_of_the_table_compiles)
{
    static const char *const names[] = {
#define PRE(name, cuts, ignore_merges, bos, clean_spaces) name,
#include "pre.def"
#undef PRE
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct pre *pre = pre_find(bitnet_str_of(names[i]));
        assert_non_null(pre);
        assert_string_equal(pre->name, names[i]);
        for (size_t k = 0; k < pre->n_passes; k++) {
            struct regex *regex = NULL;
            struct bitnet_error err;
            assert_int_equal(pre->passes[k].regex != NULL, pre->passes[k].matcher == SPLIT_REGEX);
            if (pre->passes[k].regex &&
                regex_new(&regex, bitnet_str_of(pre->passes[k].regex), &err))
                fail_msg("%s: %s", names[i], err.text);
            regex_free(regex);
        }
    }
    assert_null(pre_find(BITNET_STR("no-such")));
}

static int free_cases(void **state)
{
    (void)state;
    cases_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_expression_of_the_table_compiles),
        cmocka_unit_test(every_name_cuts_text_as_llama_cpp_does),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
