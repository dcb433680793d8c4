/* Whose reader a file is for: each family in each dialect has the architecture string, keys and
 * tensors that formats.md 6.5 and 6.6 list for that runtime, or is refused by name because no
 * version of the runtime knows the architecture or the type. That llama.cpp loads what is meant for
 * it is shown live, by scripts/oracle/check_llamacpp.py. */
#include "cm.h"

#include <stdlib.h>

#include "bitnet/convert.h"
#include "bitnet/gguf.h"
#include "bitnet/text.h"
#include "bitnet/tokenizer.h"

#include "family.h"
#include "temp_dir.h"

static struct bitnet_error err;
static struct temp_dir dir;
static char warning[512];

static void keep_warning(void *user, enum bitnet_log_level level, const char *words)
{
    (void)user;
    if (level == BITNET_LOG_WARNING) snprintf(warning, sizeof warning, "%s", words);
}

static const char *path(void)
{
    return temp_dir_file(&dir, "out.gguf");
}

/* The named family as a file, or the refusal. dialect < 0: not said. */
static enum bitnet_status convert(const struct family *family, enum bitnet_dtype type, int dialect)
{
    static const struct bitnet_log log = {.say = keep_warning};
    struct bitnet_plan *plan = NULL;
    struct bitnet_convert_options options = {.type = type,
                                             .dialect_is_given = dialect >= 0,
                                             .dialect =
                                                 (enum bitnet_dialect)(dialect < 0 ? 0 : dialect),
                                             .overwrite = true,
                                             .log = &log,
                                             .n_threads = 1};
    struct temp_dir source;
    warning[0] = '\0';
    err = (struct bitnet_error){0};
    temp_dir_make(&source);
    family_write(family, source.path);
    enum bitnet_status status = bitnet_plan_new(&plan, source.path, &options, &err);
    if (!status) status = bitnet_plan_run(plan, path(), &err);
    bitnet_plan_free(plan);
    temp_dir_remove(&source);
    return status;
}

static const struct family *find(const char *name)
{
    for (size_t i = 0; i < family_count(); i++)
        if (strcmp(family_at(i)->name, name) == 0) return family_at(i);
    fail_msg("there is no family %s", name);
    return NULL;
}

static struct bitnet_gguf *open_file(void)
{
    struct bitnet_gguf *gguf = NULL;
    if (bitnet_gguf_open(&gguf, path(), NULL, &err)) fail_msg("%s", err.text);
    return gguf;
}

/* ------------------------------------------------------------------ keys */

static const char *arch_of(const struct family *family)
{
    static const char *const names[] = {"llama", "bitnet-b1.58", "bitnet", "qwen3", "gemma3"};
    return names[family->spec.arch];
}

/* "%s.block_count" of this architecture. */
static const struct bitnet_gguf_value *value(const struct bitnet_gguf *gguf, const char *key)
{
    struct bitnet_str arch = bitnet_gguf_find(gguf, BITNET_STR("general.architecture"))->text;
    char name[96];
    snprintf(name, sizeof name, key, (int)arch.n, arch.at);
    return bitnet_gguf_find(gguf, bitnet_str_of(name));
}
#define A "%.*s."

static void must_be_u32(const struct bitnet_gguf *gguf, const char *key, uint32_t expected)
{
    const struct bitnet_gguf_value *v = value(gguf, key);
    if (!v || v->type != BITNET_GGUF_U32 || v->u64 != expected)
        fail_msg("%s is not the u32 %u", key, expected);
}

static void must_be_f32(const struct bitnet_gguf *gguf, const char *key, float expected)
{
    const struct bitnet_gguf_value *v = value(gguf, key);
    if (!v || v->type != BITNET_GGUF_F32 || (float)v->f64 != expected)
        fail_msg("%s is not the f32 %g", key, (double)expected);
}

static void must_be_text(const struct bitnet_gguf *gguf, const char *key, const char *expected)
{
    const struct bitnet_gguf_value *v = value(gguf, key);
    if (!v || v->type != BITNET_GGUF_STRING || !bitnet_str_is(v->text, expected))
        fail_msg("%s is not \"%s\"", key, expected);
}

static void must_be_absent(const struct bitnet_gguf *gguf, const char *key)
{
    if (value(gguf, key)) fail_msg("%s is there", key);
}

static float rope_base(const struct family *family)
{
    const char *at = strstr(family->spec.config, "\"rope_theta\": ");
    assert_non_null(at);
    return strtof(at + strlen("\"rope_theta\": "), NULL);
}

static float norm_eps(const struct family *family)
{
    return strtof(strstr(family->spec.config, "\"rms_norm_eps\": ") + strlen("\"rms_norm_eps\": "),
                  NULL);
}

static void check_numbers(const struct bitnet_gguf *gguf, const struct family *family)
{
    const struct cp_spec *s = &family->spec;
    must_be_u32(gguf, A "block_count", s->n_layers);
    must_be_u32(gguf, A "context_length", 256);
    must_be_u32(gguf, A "embedding_length", s->n_embd);
    must_be_u32(gguf, A "feed_forward_length", s->n_ffn);
    must_be_u32(gguf, A "vocab_size", s->n_vocab);
    must_be_u32(gguf, A "attention.head_count", s->n_heads);
    must_be_u32(gguf, A "attention.head_count_kv", s->n_kv_heads);
    must_be_f32(gguf, A "attention.layer_norm_rms_epsilon", norm_eps(family));
    must_be_f32(gguf, A "rope.freq_base", rope_base(family));
    must_be_u32(gguf, A "rope.dimension_count", s->head_dim);
    if (s->n_heads * s->head_dim != s->n_embd) {
        must_be_u32(gguf, A "attention.key_length", s->head_dim);
        must_be_u32(gguf, A "attention.value_length", s->head_dim);
    }
    must_be_u32(gguf, "general.quantization_version", 2);
    must_be_u32(gguf, "general.file_type", 1);
}

/* What depends on family or dialect. */
static void check_extras(const struct bitnet_gguf *gguf, const struct family *family, int dialect)
{
    bool is_gemma = family->spec.arch == CP_GEMMA3, is_1bitllm = family->spec.arch == CP_BITNET;
    bool says_linear =
        (is_1bitllm || family->spec.arch == CP_BITNET_B158) && dialect != BITNET_DIALECT_BITNETCPP;
    if (says_linear) {
        must_be_text(gguf, A "rope.scaling.type", "linear");
        must_be_f32(gguf, A "rope.scaling.factor", 1.0f);
    } else {
        must_be_absent(gguf, A "rope.scaling.type");
    }
    if (is_gemma) {
        must_be_u32(gguf, A "attention.sliding_window", 8);
        must_be_u32(gguf, A "attention.sliding_window_pattern", 2);
        must_be_f32(gguf, A "rope.freq_base_swa", 10000.0f);
    } else {
        must_be_absent(gguf, A "attention.sliding_window");
    }
    if (family->pooling)
        must_be_u32(gguf, A "pooling_type", 3); /* last */
    else
        must_be_absent(gguf, A "pooling_type");
    must_be_text(gguf, "tokenizer.ggml.model", "gpt2");
    assert_non_null(value(gguf, "tokenizer.ggml.pre"));
    assert_non_null(value(gguf, "tokenizer.ggml.tokens"));
    assert_non_null(value(gguf, "tokenizer.ggml.token_type"));
    assert_non_null(value(gguf, "tokenizer.ggml.merges"));
    must_be_u32(gguf, "tokenizer.ggml.eos_token_id", 2);
}

/* ------------------------------------------------------------------ tensors */

static bool has_norms_in(const struct family *family)
{
    return family->spec.has_norms_in;
}

/* The names of formats.md 6.5, and no others. */
static void check_tensors(const struct bitnet_gguf *gguf, const struct family *family)
{
    enum {
        ALL = 31,
        SUB = 1 << CP_BITNET | 1 << CP_BITNET_B158,
        HEAD = 1 << CP_QWEN3 | 1 << CP_GEMMA3
    };
    static const struct {
        const char *name;
        int archs;
    } per_layer[] = {{"attn_norm", ALL},
                     {"ffn_norm", ALL},
                     {"attn_q", ALL},
                     {"attn_k", ALL},
                     {"attn_v", ALL},
                     {"attn_output", ALL},
                     {"ffn_gate", ALL},
                     {"ffn_up", ALL},
                     {"ffn_down", ALL},
                     {"attn_sub_norm", SUB},
                     {"ffn_sub_norm", SUB},
                     {"attn_q_norm", HEAD},
                     {"attn_k_norm", HEAD},
                     {"post_attention_norm", 1 << CP_GEMMA3},
                     {"post_ffw_norm", 1 << CP_GEMMA3}};
    static const char *const norms_in[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                           "ffn_gate", "ffn_up", "ffn_down"};
    size_t n = 2; /* token_embd, output_norm */
    assert_non_null(bitnet_gguf_find_tensor(gguf, BITNET_STR("token_embd.weight")));
    assert_non_null(bitnet_gguf_find_tensor(gguf, BITNET_STR("output_norm.weight")));
    if (family->spec.untied) {
        assert_non_null(bitnet_gguf_find_tensor(gguf, BITNET_STR("output.weight")));
        n++;
    }
    n += bitnet_gguf_find_tensor(gguf, BITNET_STR("rope_freqs.weight")) != NULL;
    for (unsigned l = 0; l < family->spec.n_layers; l++) {
        char name[64];
        for (size_t i = 0; i < COUNT(per_layer); i++) {
            if (!(per_layer[i].archs >> family->spec.arch & 1)) continue;
            snprintf(name, sizeof name, "blk.%u.%s.weight", l, per_layer[i].name);
            if (!bitnet_gguf_find_tensor(gguf, bitnet_str_of(name))) fail_msg("no %s", name);
            n++;
        }
        for (size_t i = 0; i < COUNT(norms_in) && has_norms_in(family); i++) {
            snprintf(name, sizeof name, "blk.%u.%s_norm_in.weight", l, norms_in[i]);
            if (!bitnet_gguf_find_tensor(gguf, bitnet_str_of(name))) fail_msg("no %s", name);
            n++;
        }
    }
    assert_int_equal(bitnet_gguf_tensor_count(gguf), n);
}

/* ------------------------------------------------------------------ family by dialect */

/* formats.md 6.5 and 8: b1.58 is not in llama.cpp; norms of projections are in bitnet.cpp alone. */
static bool is_known(const struct family *family, int dialect)
{
    if (has_norms_in(family)) return dialect == BITNET_DIALECT_BITNETCPP;
    return family->spec.arch != CP_BITNET_B158 || dialect != BITNET_DIALECT_GGML;
}

TEST(each_family_has_the_keys_and_tensors_that_each_runtime_expects)
{
    for (size_t i = 0; i < family_count(); i++)
        for (int dialect = 0; dialect < BITNET_DIALECT_COUNT; dialect++) {
            const struct family *family = family_at(i);
            if (!is_known(family, dialect)) continue;
            if (convert(family, BITNET_DTYPE_f16, dialect)) fail_msg("%s", err.text);
            struct bitnet_gguf *gguf = open_file();
            must_be_text(gguf, "general.architecture", arch_of(family));
            check_numbers(gguf, family);
            check_extras(gguf, family, dialect);
            check_tensors(gguf, family);
            bitnet_gguf_close(gguf);
        }
}

TEST(a_runtime_that_does_not_know_the_architecture_gets_no_file)
{
    static const char *const runtimes[] = {"llama.cpp", "bitnet.cpp", "ik_llama.cpp"};
    size_t n = 0;
    for (size_t i = 0; i < family_count(); i++)
        for (int dialect = 0; dialect < BITNET_DIALECT_COUNT; dialect++) {
            char words[128];
            const struct family *family = family_at(i);
            if (is_known(family, dialect)) continue;
            assert_int_equal(convert(family, BITNET_DTYPE_f16, dialect), BITNET_UNSUPPORTED);
            snprintf(words, sizeof words, "%s does not run the architecture '%s'%s",
                     runtimes[dialect], arch_of(family),
                     has_norms_in(family) ? " with norms before each projection" : "");
            assert_text_has(err.text, words);
            n++;
        }
    assert_int_equal(n, 2 + 4);
}

TEST(a_runtime_that_does_not_know_the_type_gets_no_file)
{
    static const struct {
        enum bitnet_dtype type;
        int dialect;
        const char *words;
    } cases[] = {
        {BITNET_DTYPE_i2_s, BITNET_DIALECT_GGML, "llama.cpp does not know the type I2_S"},
        {BITNET_DTYPE_tl2, BITNET_DIALECT_GGML, "llama.cpp does not know the type TL2"},
        {BITNET_DTYPE_tl2, BITNET_DIALECT_IK, "ik_llama.cpp does not know the type TL2"},
        {BITNET_DTYPE_tq1_0, BITNET_DIALECT_IK, "ik_llama.cpp does not know the type TQ1_0"},
        {BITNET_DTYPE_tq2_0, BITNET_DIALECT_IK, "ik_llama.cpp does not know the type TQ2_0"},
        {BITNET_DTYPE_iq2_bn, BITNET_DIALECT_BITNETCPP, "bitnet.cpp does not know the type IQ2_BN"},
        {BITNET_DTYPE_iq2_bn, BITNET_DIALECT_GGML, "llama.cpp does not know the type IQ2_BN"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(convert(find("llama3-8b-1.58"), cases[i].type, cases[i].dialect),
                         BITNET_UNSUPPORTED);
        assert_text_has(err.text, cases[i].words);
    }
}

/* Unasked: the first of llama.cpp, bitnet.cpp and ik that knows architecture and types; else the
 * first that has the numbers, with a warning. */
TEST(unasked_a_file_is_for_the_first_runtime_that_runs_it)
{
    static const struct {
        const char *family;
        enum bitnet_dtype type;
        enum bitnet_dialect dialect;
        bool is_alone;
    } cases[] = {
        {"llama", BITNET_DTYPE_q8_0, BITNET_DIALECT_GGML, false},
        {"falcon3-1.58bit", BITNET_DTYPE_tq2_0, BITNET_DIALECT_GGML, false},
        {"falcon3-1.58bit", BITNET_DTYPE_i2_s, BITNET_DIALECT_BITNETCPP, false},
        {"falcon3-1.58bit", BITNET_DTYPE_iq2_bn, BITNET_DIALECT_IK, false},
        {"bitnet_b1_58-large", BITNET_DTYPE_tq1_0, BITNET_DIALECT_GGML, false},
        {"bitnet-b1.58-2b-4t", BITNET_DTYPE_tq1_0, BITNET_DIALECT_BITNETCPP, false},
        {"bitnet-b1.58-2b-4t", BITNET_DTYPE_iq2_bn, BITNET_DIALECT_IK, false},
        {"bitnet-embedding-0.6b", BITNET_DTYPE_i2_s, BITNET_DIALECT_BITNETCPP, false},
        {"bitnet-embedding-0.6b", BITNET_DTYPE_f16, BITNET_DIALECT_BITNETCPP, false},
        {"bitnet-embedding-0.6b", BITNET_DTYPE_iq2_bn, BITNET_DIALECT_IK, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bitnet_plan *plan = NULL;
        static const struct bitnet_log log = {.say = keep_warning};
        struct bitnet_convert_options options = {
            .type = cases[i].type, .log = &log, .n_threads = 1};
        struct temp_dir source;
        warning[0] = '\0';
        temp_dir_make(&source);
        family_write(find(cases[i].family), source.path);
        if (bitnet_plan_new(&plan, source.path, &options, &err)) fail_msg("%s", err.text);
        if (bitnet_plan_dialect(plan) != cases[i].dialect)
            fail_msg("%s as %s is for %s", cases[i].family, bitnet_dtype_info(cases[i].type)->label,
                     bitnet_dialect_name(bitnet_plan_dialect(plan)));
        assert_int_equal(strstr(warning, "no other runtime has both") != NULL, cases[i].is_alone);
        bitnet_plan_free(plan);
        temp_dir_remove(&source);
    }
}

/* ------------------------------------------------------------------ names of pre-tokenizers */

/* A file whose vocabulary says `pre`, written anew for a dialect: what it says then. */
static void check_pre(const char *pre, enum bitnet_dialect dialect, const char *expected)
{
    struct bitnet_gguf_edit edit = {
        .key = BITNET_STR("tokenizer.ggml.pre"),
        .value = {.type = BITNET_GGUF_STRING, .text = bitnet_str_of(pre)}};
    const char *edited = temp_dir_file(&dir, "edited.gguf"),
               *again = temp_dir_file(&dir, "again.gguf");
    struct bitnet_gguf_writer_options options = {.dialect = dialect, .overwrite = true};
    struct bitnet_gguf_writer *writer = NULL;
    struct bitnet_tokenizer *tokenizer = NULL;
    struct bitnet_gguf *gguf = open_file(), *other = NULL;
    static const uint8_t zeros[32];
    if (bitnet_gguf_edit_file(gguf, &edit, 1, NULL, edited, true, &err) ||
        bitnet_gguf_open(&other, edited, NULL, &err) ||
        bitnet_tokenizer_from_gguf(&tokenizer, other, NULL, &err) ||
        bitnet_gguf_writer_new(&writer, again, &options, &err) ||
        bitnet_tokenizer_to_gguf(tokenizer, writer, &err) ||
        bitnet_gguf_tensor_declare(writer, BITNET_STR("t"), BITNET_DTYPE_f32, (uint64_t[]){8}, 1,
                                   &err) ||
        bitnet_gguf_begin(writer, &err) || bitnet_gguf_tensor_write(writer, zeros, 32, &err) ||
        bitnet_gguf_finish(writer, &err))
        fail_msg("%s", err.text);
    bitnet_gguf_close(gguf);
    bitnet_gguf_close(other);
    bitnet_tokenizer_free(tokenizer);
    if (bitnet_gguf_open(&gguf, again, NULL, &err)) fail_msg("%s", err.text);
    const struct bitnet_gguf_value *v = bitnet_gguf_find(gguf, BITNET_STR("tokenizer.ggml.pre"));
    if (!v || !bitnet_str_is(v->text, expected)) fail_msg("%s does not become %s", pre, expected);
    bitnet_gguf_close(gguf);
}

TEST(falcon_e_has_the_name_that_each_runtime_knows)
{
    if (convert(find("falcon-e"), BITNET_DTYPE_f16, -1)) fail_msg("%s", err.text);
    check_pre("falcon_e", BITNET_DIALECT_BITNETCPP, "falcon_e");
    check_pre("falcon-h1", BITNET_DIALECT_BITNETCPP, "falcon_e");
    check_pre("falcon_e", BITNET_DIALECT_GGML, "falcon-h1");
    check_pre("falcon-e", BITNET_DIALECT_IK, "falcon-h1");
    check_pre("falcon3", BITNET_DIALECT_BITNETCPP, "falcon3");
    check_pre("llama-bpe", BITNET_DIALECT_GGML, "llama-bpe");
}

/* What a text ends with is what the tokenizer appends, though its configuration names another end
 * of generation (Qwen3's embedding models: the end of text, beside the end of a turn). */
TEST(the_token_that_ends_a_text_is_the_one_that_is_appended)
{
    static const struct {
        const char *config;
        uint32_t eos;
        int64_t eot; /* -1: not there */
    } cases[] = {
        {"{\"eos_token\": \"<s>\", \"pad_token\": \"<unk>\"}", 2, 1},
        {"{\"eos_token\": \"</s>\"}", 2, -1},
        {"{\"pad_token\": \"<unk>\"}", 2, -1},
        {"{\"eos_token\": \"<s>\", \"add_eos_token\": false}", 1, -1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct temp_dir source;
        struct bitnet_plan *plan = NULL;
        struct bitnet_convert_options options = {
            .type = BITNET_DTYPE_f16, .overwrite = true, .n_threads = 1};
        temp_dir_make(&source);
        family_write(find("bitnet-embedding-0.6b"), source.path);
        temp_dir_write(&source, "tokenizer_config.json", cases[i].config, strlen(cases[i].config));
        if (bitnet_plan_new(&plan, source.path, &options, &err) ||
            bitnet_plan_run(plan, path(), &err))
            fail_msg("%s", err.text);
        bitnet_plan_free(plan);
        temp_dir_remove(&source);
        struct bitnet_gguf *gguf = open_file();
        must_be_u32(gguf, "tokenizer.ggml.eos_token_id", cases[i].eos);
        if (cases[i].eot < 0)
            must_be_absent(gguf, "tokenizer.ggml.eot_token_id");
        else
            must_be_u32(gguf, "tokenizer.ggml.eot_token_id", (uint32_t)cases[i].eot);
        bitnet_gguf_close(gguf);
    }
}

/* ------------------------------------------------------------------ pooling */

static enum bitnet_status convert_with(const char *modules, const char *pooling)
{
    struct temp_dir source;
    struct bitnet_plan *plan = NULL;
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_f16, .n_threads = 1};
    err = (struct bitnet_error){0};
    temp_dir_make(&source);
    family_write(find("bitnet-embedding-0.6b"), source.path);
    if (modules) temp_dir_write(&source, "modules.json", modules, strlen(modules));
    if (pooling) temp_dir_write(&source, "1_Pooling/config.json", pooling, strlen(pooling));
    enum bitnet_status status = bitnet_plan_new(&plan, source.path, &options, &err);
    bitnet_plan_free(plan);
    temp_dir_remove(&source);
    return status;
}

#define POOLING(path)                                                                              \
    "[{\"type\":\"a.Transformer\",\"path\":\"\"},{\"type\":\"a.Pooling\",\"path\":\"" path "\"}]"

TEST(modules_that_change_vectors_otherwise_are_refused)
{
    static const struct {
        const char *modules, *pooling, *words;
        enum bitnet_status status;
    } cases[] = {
        {NULL, NULL, NULL, BITNET_OK},
        {NULL, "{\"pooling_mode_mean_tokens\":true}", NULL, BITNET_OK},
        {NULL, "{\"pooling_mode_max_tokens\":true}", "'pooling_mode_max_tokens' true",
         BITNET_UNSUPPORTED},
        {NULL, "{\"pooling_mode_mean_tokens\":true,\"pooling_mode_lasttoken\":true}",
         "'pooling_mode_lasttoken' true is not supported beside another mode", BITNET_UNSUPPORTED},
        {NULL, "{}", "no pooling mode", BITNET_UNSUPPORTED},
        {NULL, "{\"word_embedding_dimension\":7,\"pooling_mode_lasttoken\":true}",
         "'word_embedding_dimension' is not the model's 'hidden_size' 256", BITNET_FORMAT},
        {NULL, "[", "1_Pooling/config.json", BITNET_FORMAT},
        {"[{\"type\":\"sentence_transformers.models.Dense\",\"path\":\"2_Dense\"}]", NULL,
         "the module 'sentence_transformers.models.Dense' is not supported", BITNET_UNSUPPORTED},
        {POOLING("../1_Pooling"), NULL, "'../1_Pooling' is no folder inside", BITNET_FORMAT},
        {POOLING("2_Pooling"), NULL, "2_Pooling/config.json", BITNET_NOT_FOUND},
        {"{}", NULL, "modules.json is no list", BITNET_FORMAT},
        {"[{}]", NULL, "'type' is missing", BITNET_FORMAT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum bitnet_status status = convert_with(cases[i].modules, cases[i].pooling);
        if (status != cases[i].status) fail_msg("case %zu: %s", i, err.text);
        if (cases[i].words) assert_text_has(err.text, cases[i].words);
    }
}

static int setup(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_family_has_the_keys_and_tensors_that_each_runtime_expects),
        cmocka_unit_test(a_runtime_that_does_not_know_the_architecture_gets_no_file),
        cmocka_unit_test(a_runtime_that_does_not_know_the_type_gets_no_file),
        cmocka_unit_test(unasked_a_file_is_for_the_first_runtime_that_runs_it),
        cmocka_unit_test(falcon_e_has_the_name_that_each_runtime_knows),
        cmocka_unit_test(the_token_that_ends_a_text_is_the_one_that_is_appended),
        cmocka_unit_test(modules_that_change_vectors_otherwise_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
