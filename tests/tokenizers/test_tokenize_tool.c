/* The program: every option, what is on which stream, every exit code that it has of its own. Its
 * path is the first argument. */
#include "cm.h"

#include <sys/stat.h>

#include <bitnet/json.h>

#include "tool.h"
#include "vocabulary.h"

static const char *program;
static struct tool tool;

static int begin(void **state)
{
    (void)state;
    tool_begin(&tool, program);
    return 0;
}

static int end(void **state)
{
    (void)state;
    tool_end(&tool);
    return 0;
}

static const char *file(const char *name)
{
    return temp_dir_file(&tool.dir, name);
}

/* <s> 0, </s> 1, <|im_end|> 2, then the byte alphabet; "he" and "hel" are tokens. */
static const struct vocabulary_token tokens[] = {
    {"he", 0, 0}, {"hel", 0, 0}, {"<s>", 3, 0}, {"</s>", 3, 0}, {"<|im_end|>", 3, 0}, {0}};
static const char *const merges[] = {"h e", "he l", NULL};
static const struct vocabulary_key keys[] = {{"tokenizer.ggml.bos_token_id", 'u', 258, NULL},
                                             {"tokenizer.ggml.eos_token_id", 'u', 259, NULL},
                                             {"tokenizer.ggml.add_bos_token", 'b', 1, NULL},
                                             {0}};
static const struct vocabulary small = {.model = "gpt2",
                                        .pre = "gpt-2",
                                        .tokens = tokens,
                                        .with_bytes = true,
                                        .merges = merges,
                                        .keys = keys};

static const char *model(void)
{
    vocabulary_write(file("model.gguf"), &small);
    return file("model.gguf");
}

static void must_parse(const char *text)
{
    struct bitnet_arena arena = {0};
    const struct bitnet_json *root;
    struct bitnet_error err;
    if (bitnet_json_parse(&root, bitnet_str_of(text), NULL, &arena, &err))
        fail_msg("%s: %s", err.text, text);
    bitnet_arena_free(&arena);
}

TEST(ids_are_on_one_line)
{
    const char *m = model();
    TOOL(&tool, "-m", m, "-p", "hello");
    tool_must(&tool, 0, "258 257 108 111\n", "");
    assert_string_equal(tool.err, "");
    TOOL(&tool, "-m", m, "-p", "hello", "--ids");
    assert_string_equal(tool.out, "258 257 108 111\n");
}

TEST(no_bos_leaves_out_what_is_put_around)
{
    TOOL(&tool, "-m", model(), "-p", "hello", "--no-bos");
    assert_string_equal(tool.out, "257 108 111\n");
}

TEST(text_comes_from_an_option_a_file_or_standard_input)
{
    const char *m = model();
    temp_dir_write(&tool.dir, "text", "he", 2);
    TOOL(&tool, "-m", m, "-f", file("text"), "--no-bos");
    assert_string_equal(tool.out, "256\n");
    tool.input = "hel";
    TOOL(&tool, "-m", m, "--stdin", "--no-bos");
    assert_string_equal(tool.out, "257\n");
    tool.input = "";
    TOOL(&tool, "-m", m, "--stdin", "--no-bos");
    assert_string_equal(tool.out, "\n");
    TOOL(&tool, "-m", m, "-f", file("absent"));
    tool_must(&tool, 4, "", "absent");
}

TEST(pieces_are_a_line_each)
{
    TOOL(&tool, "-m", model(), "-p", "he\n", "--pieces");
    assert_string_equal(tool.out, "    258  '<s>'\n    256  'he'\n     10  '\\x0a'\n");
}

TEST(json_is_a_list_of_tokens_and_parses)
{
    TOOL(&tool, "-m", model(), "-p", "he\xFF", "--json");
    tool_must(&tool, 0, NULL, "");
    must_parse(tool.out);
    assert_text_has(tool.out, "\"hex\":\t\"6865\"");
    assert_text_has(tool.out, "\"text\":\t\"he\"");
    assert_text_has(tool.out, "\"hex\":\t\"ef\"\n"); /* no text: it is no character */
}

TEST(count_is_a_number)
{
    TOOL(&tool, "-m", model(), "-p", "hello", "--count");
    assert_string_equal(tool.out, "4\n");
}

TEST(parse_special_reads_control_tokens)
{
    const char *m = model();
    TOOL(&tool, "-m", m, "-p", "he<|im_end|>", "--no-bos", "--parse-special");
    assert_string_equal(tool.out, "256 260\n");
    TOOL(&tool, "-m", m, "-p", "he<|im_end|>", "--no-bos", "--count");
    assert_string_equal(tool.out, "11\n");
}

TEST(compat_says_whose_ids_count)
{
    const char *m = model();
    TOOL(&tool, "-m", m, "-p", "he</s>", "--no-bos", "--compat", "hf");
    tool_must(&tool, 0, "256 259\n", "");
    TOOL(&tool, "-m", m, "-p", "he</s>", "--no-bos", "--compat", "llama.cpp");
    tool_must(&tool, 0, "256 60 47 115 62\n", "");
    TOOL(&tool, "-m", m, "--explain", "--compat", "hf");
    tool_must(&tool, 0, "by the rules of Hugging Face tokenizers", "");
    const char *json = tool_golden(&tool, "gpt2.json", "tokenizer.json");
    TOOL(&tool, "-m", json, "-p", "<|eot_id|>", "--count");
    assert_string_equal(tool.out, "1\n");
    TOOL(&tool, "-m", json, "-p", "<|eot_id|>", "--count", "--compat=llama.cpp");
    assert_string_equal(tool.out, "10\n");
    TOOL(&tool, "-m", m, "-p", "x", "--compat", "ollama");
    tool_must(&tool, 2, "", "--compat is llama.cpp or hf, not 'ollama'");
}

TEST(export_writes_a_tokenizer_json_and_nothing_over)
{
    const char *m = model();
    TOOL(&tool, "-m", m, "--export", file("new.json"));
    tool_must(&tool, 0, "", "");
    TOOL(&tool, "-m", file("new.json"), "-p", "hello</s>");
    assert_string_equal(tool.out, "258 257 108 111 259\n");
    TOOL(&tool, "-m", m, "--export", file("new.json"));
    tool_must(&tool, 12, "", "new.json");
    TOOL(&tool, "-m", m, "--export", file("new.json"), "--force");
    tool_must(&tool, 0, "", "");
    TOOL(&tool, "-m", m, "-p", "x", "--force");
    tool_must(&tool, 2, "", "--force is about the file of --export");
    TOOL(&tool, "-m", m, "--export", file("no/such/folder.json"));
    tool_must(&tool, 4, "", NULL);
    TOOL(&tool, "-m", m, "--export", file("other.json"), "-p", "x");
    tool_must(&tool, 2, "", "--export takes no text");
    TOOL(&tool, "-m", m, "--export", file("other.json"), "--count");
    tool_must(&tool, 2, "", "--export prints nothing");
}

TEST(decode_prints_the_text_of_ids)
{
    const char *m = model();
    TOOL(&tool, "-m", m, "--decode", "[258, 256, 108]");
    assert_string_equal(tool.out, "hel\n");
    TOOL(&tool, "-m", m, "--decode", "258 256", "--parse-special");
    assert_string_equal(tool.out, "<s>he\n");
    TOOL(&tool, "-m", m, "--decode", "258 999");
    tool_must(&tool, 2, "", "'999' is no token id");
    TOOL(&tool, "-m", m, "--decode", "x");
    tool_must(&tool, 2, "", "'x' is no token id");
}

TEST(explain_tells_what_was_taken_and_why)
{
    const char *m = model();
    char words[600];
    TOOL(&tool, "-m", m, "--explain");
    snprintf(words, sizeof words,
             "the tokenizer inside %s: byte-level BPE gpt-2, 261 tokens, by the rules of "
             "llama.cpp\n",
             m);
    tool_must(&tool, 0, words, "");
    static const char *const lines[] = {"strategy     embedded\n",
                                        "network      not needed\n",
                                        "cache        no\n",
                                        "tokens       261\n",
                                        "  bos         258 '<s>', put in front\n",
                                        "  ends reply  259 '</s>'\n",
                                        "  ends reply  260 '<|im_end|>'\n",
                                        "model.gguf: taken\n"};
    for (size_t i = 0; i < COUNT(lines); i++) assert_text_has(tool.out, lines[i]);
    TOOL(&tool, "-m", m, "--explain", "--json");
    tool_must(&tool, 0, "\"strategy\":\t\"embedded\"", "");
    must_parse(tool.out);
    static const char *const members[] = {"\"schema\":\t\"bitnet-tokenizer\"",
                                          "\"schema_version\":\t1",
                                          "\"requires_network\":\tfalse",
                                          "\"uses_cache\":\tfalse",
                                          "\"large_vocab\":\tfalse",
                                          "\"end_of_generation\":\t[259, 260]",
                                          "\"attempts\":",
                                          "\"warnings\":\t[]"};
    for (size_t i = 0; i < COUNT(members); i++) assert_text_has(tool.out, members[i]);
}

TEST(explain_tells_every_place_also_when_there_is_no_tokenizer)
{
    const struct vocabulary none = {.model = "none", .rows = 4};
    mkdir(file("sub"), 0700);
    vocabulary_write(file("sub/model.gguf"), &none);
    TOOL(&tool, "-m", file("sub/model.gguf"), "--explain");
    tool_must(&tool, 4, "model.gguf: the file holds no tokenizer\n", "there is no tokenizer");
    assert_text_has(tool.out, "/sub/..: no tokenizer files\n");
    TOOL(&tool, "-m", file("sub/model.gguf"), "--explain", "--json");
    tool_must(&tool, 4, "\"outcome\":\t\"the file holds no tokenizer\"", "--tokenizer PATH");
    must_parse(tool.out);
}

TEST(a_tokenizer_that_is_given_is_taken)
{
    const char *m = model(), *json = tool_golden(&tool, "gpt2.json", "other.json");
    TOOL(&tool, "-m", m, "--tokenizer", json, "-p", "he", "--count");
    tool_must(&tool, 3, "", "token 260 is"); /* it does not belong to this model */
    TOOL(&tool, "-m", m, "--tokenizer", file("absent"), "-p", "he");
    tool_must(&tool, 4, "", "there is no such tokenizer");
}

TEST(the_model_may_be_a_folder_a_file_or_nothing_at_all)
{
    const char *json = tool_golden(&tool, "gpt2.json", "tokenizer.json");
    TOOL(&tool, "-m", tool.dir.path, "-p", "they", "--pieces");
    tool_must(&tool, 0, "'they'", "");
    TOOL(&tool, "-m", json, "-p", "they", "--pieces");
    tool_must(&tool, 0, "'they'", "");
    TOOL(&tool, "-m", file("absent.gguf"), "-p", "x");
    tool_must(&tool, 4, "", "there is no file or folder");
    TOOL(&tool, "-m", "a/b c", "-p", "x");
    tool_must(&tool, 4, "", "a repository is written user/name");
}

TEST(wrong_calls_are_told_apart_from_wrong_files)
{
    const char *m = model();
    TOOL(&tool, "-p", "x");
    tool_must(&tool, 2, "", "no model given");
    TOOL(&tool, "-m", m);
    tool_must(&tool, 2, "", "give one of -p, -f, --stdin, --decode");
    TOOL(&tool, "-m", m, "-p", "x", "--stdin");
    tool_must(&tool, 2, "", "give one of");
    TOOL(&tool, "-m", m, "-p", "x", "--count", "--json");
    tool_must(&tool, 2, "", "exclude each other");
    TOOL(&tool, "-m", m, "--decode", "1", "--count");
    tool_must(&tool, 2, "", "--decode prints text");
    TOOL(&tool, "-m", m, "--explain", "-p", "x");
    tool_must(&tool, 2, "", "--explain takes no text");
    TOOL(&tool, "-m", m, "--explain", "--count");
    tool_must(&tool, 2, "", "--explain prints");
    TOOL(&tool, "-m", m, "-p", "x", "--no-such-option");
    tool_must(&tool, 2, "", "--no-such-option");
    temp_dir_write(&tool.dir, "bad.json", "{\"model\":1}", 11);
    TOOL(&tool, "-m", file("bad.json"), "-p", "x");
    tool_must(&tool, 3, "", "'model' is missing or no object");
}

TEST(help_has_every_option_and_no_model_is_needed_for_it)
{
    TOOL(&tool, "--help");
    tool_must(&tool, 0, "--explain", "");
    static const char *const names[] = {"--model",   "--prompt", "--file",     "--stdin",
                                        "--ids",     "--pieces", "--json",     "--no-bos",
                                        "--decode",  "--count",  "--guess",    "--parse-special",
                                        "--offline", "--quiet",  "--tokenizer"};
    for (size_t i = 0; i < COUNT(names); i++) assert_text_has(tool.out, names[i]);
}

TEST(warnings_are_on_standard_error_and_quiet_keeps_them_away)
{
    struct vocabulary v = small;
    v.pre = NULL;
    vocabulary_write(file("model.gguf"), &v);
    TOOL(&tool, "-m", file("model.gguf"), "-p", "he", "--no-bos");
    tool_must(&tool, 0, "256\n", "warning: key 'tokenizer.ggml.pre' is missing");
    TOOL(&tool, "-m", file("model.gguf"), "-p", "he", "--no-bos", "-q");
    assert_string_equal(tool.err, "");
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    program = argv[1];
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
        T(ids_are_on_one_line),
        T(no_bos_leaves_out_what_is_put_around),
        T(text_comes_from_an_option_a_file_or_standard_input),
        T(pieces_are_a_line_each),
        T(json_is_a_list_of_tokens_and_parses),
        T(count_is_a_number),
        T(parse_special_reads_control_tokens),
        T(compat_says_whose_ids_count),
        T(export_writes_a_tokenizer_json_and_nothing_over),
        T(decode_prints_the_text_of_ids),
        T(explain_tells_what_was_taken_and_why),
        T(explain_tells_every_place_also_when_there_is_no_tokenizer),
        T(a_tokenizer_that_is_given_is_taken),
        T(the_model_may_be_a_folder_a_file_or_nothing_at_all),
        T(wrong_calls_are_told_apart_from_wrong_files),
        T(help_has_every_option_and_no_model_is_needed_for_it),
        T(warnings_are_on_standard_error_and_quiet_keeps_them_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
