/* Out of memory, everywhere: each maker of tokenizers is run with its first allocation failing,
 * then its second, and so on, from opening the file to the decoded text. Each time the status is
 * MEMORY and nothing is left behind; the first run without a failure succeeds. */
#include "cm.h"

#include <sys/stat.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/text.h>

#include "temp_dir.h"
#include "vocabulary.h"

#define GOLDEN BITNET_SOURCE_DIR "/tests/golden/tokenizers/"
#define SPACE  "\xE2\x96\x81"

typedef enum bitnet_status open_fn(struct bitnet_tokenizer **tokenizer, const char *path,
                                   struct bitnet_error *err);

static enum bitnet_status open_gguf(struct bitnet_tokenizer **tokenizer, const char *path,
                                    struct bitnet_error *err)
{
    struct bitnet_gguf *gguf = NULL;
    *tokenizer = NULL;
    enum bitnet_status status = bitnet_gguf_open(&gguf, path, NULL, err);
    if (!status) status = bitnet_tokenizer_from_gguf(tokenizer, gguf, NULL, err);
    bitnet_gguf_close(gguf);
    return status;
}

static enum bitnet_status open_file(struct bitnet_tokenizer **tokenizer, const char *path,
                                    struct bitnet_error *err)
{
    return bitnet_tokenizer_from_file(tokenizer, path, NULL, err);
}

static enum bitnet_status open_folder(struct bitnet_tokenizer **tokenizer, const char *path,
                                      struct bitnet_error *err)
{
    return bitnet_tokenizer_from_dir(tokenizer, path, 0, NULL, err);
}

/* Opens, encodes and decodes text that takes every road, frees. */
static enum bitnet_status whole_life(open_fn *open, const char *path, struct bitnet_error *err)
{
    static const char text[] =
        "Ab <s> e\xCC\x81 \xE4\xB8\x80  7777 <x>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xFF\n";
    const struct bitnet_tokenize_options special = {.parse_special = true};
    struct bitnet_tokenizer *tokenizer = NULL;
    struct bitnet_tokens ids = {0};
    struct bitnet_buf out = {.max = 4096};
    enum bitnet_status status = open(&tokenizer, path, err);
    if (!status) status = bitnet_tokenize(tokenizer, BITNET_STR(text), &special, &ids, err);
    if (!status) status = bitnet_detokenize(tokenizer, ids.at, ids.n, true, &out, err);
    bitnet_tokens_free(&ids);
    bitnet_buf_free(&out);
    bitnet_tokenizer_free(tokenizer);
    return status;
}

static void fail_each(open_fn *open, const char *path, const char *name)
{
    long live = bitnet_alloc_live(), n = 0;
    for (;; n++) {
        struct bitnet_error err = {0};
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = whole_life(open, path, &err);
        bool reached = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        if (bitnet_alloc_live() != live)
            fail_msg("%s: allocation %ld failed and %ld were left", name, n,
                     bitnet_alloc_live() - live);
        if (!reached) {
            if (status) fail_msg("%s: %s", name, err.text);
            break;
        }
        if (status != BITNET_MEMORY)
            fail_msg("%s: allocation %ld failed and the status was %s: %s", name, n,
                     bitnet_status_name(status), err.text);
    }
    printf("  %s: %ld allocations\n", name, n);
    assert_true(n > 10);
}

/* ------------------------------------------------------------------ GGUF */

static void check_gguf(const struct vocabulary *v, const char *name)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "vocabulary.gguf");
    vocabulary_write(path, v);
    fail_each(open_gguf, path, name);
    temp_dir_remove(&dir);
}

static const struct vocabulary_token tokens[] = {{"aa", 1, 0}, {"<s>", 3, 0}, {"<x>", 4, 0}, {0}};
static const char *const merges[] = {"a a", NULL};

TEST(byte_level_gguf_with_expressions_and_without)
{
    static const char *const names[] = {"gpt-2", "llama-bpe", "deepseek-llm"};
    struct vocabulary v = {.model = "gpt2", .tokens = tokens, .with_bytes = true, .merges = merges};
    for (size_t i = 0; i < COUNT(names); i++) {
        v.pre = names[i];
        check_gguf(&v, names[i]);
    }
}

/* Without a name every known way of cutting is tried. */
TEST(byte_level_gguf_whose_name_is_looked_for)
{
    const struct vocabulary v = {
        .model = "gpt2", .tokens = tokens, .with_bytes = true, .merges = merges};
    check_gguf(&v, "no name");
}

TEST(gguf_of_the_other_kinds)
{
    static const struct vocabulary_token spm[] = {{SPACE, 1, -1}, {"a", 1, -9},  {"aa", 1, -2},
                                                  {"<s>", 3, 0},  {"<x>", 4, 0}, {0}};
    static const struct vocabulary_token t5[] = {{"<pad>", 3, 0},
                                                 {"</s>", 3, 0},
                                                 {"<unk>", 2, 0},
                                                 {SPACE, 1, -2},
                                                 {"a", 1, -3},
                                                 {"<x>", 4, 0},
                                                 {0}};
    static const struct vocabulary_token bert[] = {{"[PAD]", 3, 0},
                                                   {"[UNK]", 3, 0},
                                                   {"[CLS]", 3, 0},
                                                   {"[SEP]", 3, 0},
                                                   {SPACE "a", 1, 0},
                                                   {"a", 1, 0},
                                                   {0}};
    static const struct vocabulary_key bert_keys[] = {
        {"tokenizer.ggml.bos_token_id", 'u', 2, NULL},
        {"tokenizer.ggml.seperator_token_id", 'u', 3, NULL},
        {"tokenizer.ggml.unknown_token_id", 'u', 1, NULL},
        {0}};
    static struct vocabulary_token rwkv[256 + 2];
    static char names[256][8];
    rwkv[0] = (struct vocabulary_token){"<s>", 3, 0};
    for (int i = 0; i < 256; i++) {
        snprintf(names[i], sizeof names[i], "\\x%02x", (unsigned)i);
        rwkv[i + 1] = (struct vocabulary_token){.text = names[i]};
    }
    check_gguf(&(struct vocabulary){.model = "llama", .tokens = spm, .with_bytes = true}, "llama");
    check_gguf(&(struct vocabulary){.model = "t5", .tokens = t5}, "t5");
    check_gguf(&(struct vocabulary){.model = "bert", .tokens = bert, .keys = bert_keys}, "bert");
    check_gguf(&(struct vocabulary){.model = "rwkv", .tokens = rwkv}, "rwkv");
}

/* ------------------------------------------------------------------ tokenizer.json and folders */

TEST(tokenizer_json_of_every_structure)
{
    static const char *const names[] = {"gpt2", "llama2", "llama3", "qwen2", "starcoder"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[512];
        snprintf(path, sizeof path, GOLDEN "%s.json", names[i]);
        fail_each(open_file, path, names[i]);
    }
}

static void check_text(const char *json, const char *name)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    temp_dir_write(&dir, "t.json", json, strlen(json));
    fail_each(open_file, temp_dir_file(&dir, "t.json"), name);
    temp_dir_remove(&dir);
}

TEST(tokenizer_json_with_every_normalizer)
{
    check_text("{\"added_tokens\":[{\"id\":4,\"content\":\"<x>\",\"normalized\":true}],"
               "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},"
               "{\"type\":\"Lowercase\"},{\"type\":\"NFD\"},{\"type\":\"StripAccents\"},"
               "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true},{\"type\":\"Nmt\"},"
               "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[0-9]+\"},\"content\":\"9\"},"
               "{\"type\":\"Replace\",\"pattern\":{\"String\":\"b\"},\"content\":\"a\"},"
               "{\"type\":\"Prepend\",\"prepend\":\"_\"}]},\"pre_tokenizer\":{\"type\":"
               "\"Metaspace\",\"replacement\":\"" SPACE "\",\"prepend_scheme\":\"always\"},"
               "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"" SPACE "\"},"
               "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1],"
               "[\"" SPACE "\",-2],[\"aa\",-1.5]]}}",
               "unigram");
    check_text("{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
               "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
               "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"decoder\":{\"type\":"
               "\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":"
               "\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
               "\"max_input_chars_per_word\":100,\"vocab\":{\"[UNK]\":0,\"a\":1,\"##a\":2}}}",
               "wordpiece");
}

TEST(a_folder_with_every_document_beside)
{
    static const char config[] =
        "{\"bos_token\":\"<|begin_of_text|>\",\"eos_token\":{\"content\":\"<|eot_id|>\"},"
        "\"add_bos_token\":true,\"chat_template\":[{\"name\":\"default\",\"template\":\"x\"},"
        "{\"name\":\"tool\",\"template\":\"y\"}]}";
    static const char generation[] = "{\"eos_token_id\":[1,2,3]}";
    struct temp_dir dir;
    struct bitnet_str json;
    temp_dir_make(&dir);
    assert_int_equal(bitnet_read_file(GOLDEN "llama3.json", (size_t)1 << 24, &json, NULL), 0);
    temp_dir_write(&dir, "tokenizer.json", json.at, json.n);
    bitnet_free((void *)(uintptr_t)json.at);
    temp_dir_write(&dir, "tokenizer_config.json", config, sizeof config - 1);
    temp_dir_write(&dir, "generation_config.json", generation, sizeof generation - 1);
    temp_dir_write(&dir, "config.json", "{\"vocab_size\":600}", 18);
    fail_each(open_folder, dir.path, "folder");
    temp_dir_remove(&dir);
}

/* ------------------------------------------------------------------ limits are no lack of memory
 */

TEST(a_normalizer_that_makes_too_much_is_a_limit)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    struct bitnet_tokens ids = {0};
    struct bitnet_buf json = {.max = 1 << 20}, text = {.max = 1 << 20};
    bitnet_buf_printf(&json, "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},"
                             "\"content\":\"");
    for (int i = 0; i < 2000; i++) bitnet_buf_add(&json, "b", 1);
    bitnet_buf_printf(&json, "\"},\"model\":{\"type\":\"BPE\",\"unk_token\":\"b\",\"vocab\":"
                             "{\"b\":0},\"merges\":[]}}");
    for (int i = 0; i < 4000; i++) bitnet_buf_add(&text, "a", 1);
    if (bitnet_tokenizer_from_json(&tokenizer, (struct bitnet_str){json.at, json.n}, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(
        bitnet_tokenize(tokenizer, (struct bitnet_str){text.at, text.n}, NULL, &ids, &err),
        BITNET_LIMIT);
    assert_text_has(err.text, "the normalizer makes more than");
    bitnet_tokens_free(&ids);
    bitnet_buf_free(&json);
    bitnet_buf_free(&text);
    bitnet_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level_gguf_with_expressions_and_without),
        cmocka_unit_test(byte_level_gguf_whose_name_is_looked_for),
        cmocka_unit_test(gguf_of_the_other_kinds),
        cmocka_unit_test(tokenizer_json_of_every_structure),
        cmocka_unit_test(tokenizer_json_with_every_normalizer),
        cmocka_unit_test(a_folder_with_every_document_beside),
        cmocka_unit_test(a_normalizer_that_makes_too_much_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
