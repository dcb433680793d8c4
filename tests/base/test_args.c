/* Command lines: every kind of option, every wrong word named, help that lines up. */
#include "cm.h"

#include <stdio.h>
#include <unistd.h>

#include "bitnet/args.h"
#include "bitnet/text.h"

static struct {
    bool force;
    const char *model;
    uint64_t threads, memory, seed;
    int64_t offset;
    double temp;
    struct bitnet_args_list stops;
} values;

static const struct bitnet_option options[] = {
    {"-m, --model", "FILE", BITNET_OPTION_TEXT, &values.model, "the model to use", 0, 0},
    {"-t, --threads", "N", BITNET_OPTION_U64, &values.threads, "threads", 1, 1024},
    {"--seed", "N", BITNET_OPTION_U64, &values.seed, "seed", 0, 0},
    {"--offset", "N", BITNET_OPTION_I64, &values.offset, NULL, 0, 0},
    {"--temp", "F", BITNET_OPTION_F64, &values.temp,
     "how much chance there is in the choice of the next word; 0 always takes the likeliest one, "
     "and so "
     "gives the same text each time",
     0, 0},
    {"--max-memory", "SIZE", BITNET_OPTION_SIZE, &values.memory, "refuse to use more", 0, 0},
    {"--force", NULL, BITNET_OPTION_FLAG, &values.force, "replace an existing file", 0, 0},
    {"--stop", "TEXT", BITNET_OPTION_LIST, &values.stops, "stop there; may be repeated", 0, 0},
    {"-cnv, --an-option-with-a-name-that-is-very-long", "ARGUMENT", BITNET_OPTION_TEXT,
     &values.model, "on a line of its own", 0, 0},
};

static const struct bitnet_command command = {
    .name = "bitnet-test",
    .synopsis = "IN [OUT] [OPTION]...",
    .summary = "Tests the reading of command lines.",
    .examples = "bitnet-test a\nbitnet-test a b\nbitnet-test --force a",
    .options = options,
    .n_options = COUNT(options),
    .min_operands = 1,
    .max_operands = 2,
};

static const char *operands[2];
static size_t n_operands;
static struct bitnet_buf help;
static bool done;
static struct bitnet_error err;

static enum bitnet_status parse(const char *const *words)
{
    char *argv[200] = {(char *)(uintptr_t) "bitnet-test"};
    int argc = 1;
    memset(&values, 0, sizeof values);
    memset(&err, 0, sizeof err);
    for (; words[argc - 1]; argc++) argv[argc] = (char *)(uintptr_t)words[argc - 1];
    return bitnet_args_parse(&command, argc, argv, operands, &n_operands, &help, &done, &err);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

TEST(all_kinds_are_read_in_both_spellings)
{
    assert_int_equal(PARSE("in", "-m", "a b", "--threads=7", "--offset", "-3", "--temp=-1.5e0",
                           "--max-memory", "1.5G", "--force", "--stop", "x", "--stop=", "out",
                           "--seed", "18446744073709551615"),
                     BITNET_OK);
    assert_false(done);
    assert_int_equal(n_operands, 2);
    assert_string_equal(operands[0], "in");
    assert_string_equal(operands[1], "out");
    assert_string_equal(values.model, "a b");
    assert_int_equal(values.threads, 7);
    assert_int_equal(values.offset, -3);
    assert_true(values.temp == -1.5);
    assert_true(values.memory == UINT64_C(3) << 29);
    assert_true(values.force);
    assert_true(values.seed == UINT64_MAX);
    assert_int_equal(values.stops.n, 2);
    assert_string_equal(values.stops.at[1], "");
}

TEST(two_dashes_end_the_options_and_one_is_an_operand)
{
    assert_int_equal(PARSE("-", "--", "--force"), BITNET_OK);
    assert_string_equal(operands[0], "-");
    assert_string_equal(operands[1], "--force");
    assert_false(values.force);
}

TEST(the_last_of_a_repeated_option_counts)
{
    assert_int_equal(PARSE("x", "-m", "a", "--model=b=c"), BITNET_OK);
    assert_string_equal(values.model, "b=c");
}

static void check_usage(enum bitnet_status status, const char *text, const char *hint)
{
    assert_int_equal(status, BITNET_USAGE);
    assert_string_equal(err.text, text);
    assert_text_has(err.hint, hint);
}

TEST(a_wrong_word_is_named)
{
    check_usage(PARSE("x", "--modle", "a"), "there is no option '--modle'",
                "did you mean '--model'?");
    check_usage(PARSE("x", "--thread=3"), "there is no option '--thread'",
                "did you mean '--threads'?");
    check_usage(PARSE("x", "--zzzzzzzzzz"), "there is no option '--zzzzzzzzzz'",
                "`bitnet-test --help`");
    check_usage(PARSE("x", "-q"), "there is no option '-q'", "");
    check_usage(PARSE("x", "-mfile"), "there is no option '-mfile'", "");
    check_usage(PARSE("x", "--a\x1b[31m"), "there is no option '--a\\x1b[31m'", "");
    check_usage(PARSE("x", "--model"), "option '--model' needs a value (FILE)", "");
    check_usage(PARSE("x", "--model", "--force"), "option '--model' needs a value (FILE)", "");
    check_usage(PARSE("x", "--force=1"), "option '--force' takes no value", "");
    check_usage(PARSE("x", "-t", "0"), "option '-t': 0 (allowed 1 to 1024)", "");
    check_usage(PARSE("x", "-t", "1025"), "option '-t': 1025 (allowed 1 to 1024)", "");
    check_usage(PARSE("x", "-t", "-1"), "option '-t': expected a whole number, found '-1'", "");
    check_usage(PARSE("x", "-t="), "there is no option '-t='", "");
    check_usage(PARSE("x", "--seed", "18446744073709551616"),
                "option '--seed': expected a whole number, found '18446744073709551616'", "");
    check_usage(PARSE("x", "--offset="), "option '--offset': expected a whole number, found ''",
                "");
    check_usage(PARSE("x", "--temp", "nan"), "option '--temp': expected a number, found 'nan'", "");
    check_usage(PARSE("x", "--max-memory", "lots"),
                "option '--max-memory': expected a size like 512M or 2G, found 'lots'", "");
    check_usage(PARSE("--force"), "0 words given, 1 needed", "usage: bitnet-test IN [OUT]");
    check_usage(PARSE("a", "b", "c"), "one word too many: 'c'", "usage: bitnet-test IN [OUT]");
}

TEST(a_list_has_room_for_64)
{
    const char *words[140] = {"in"};
    size_t n = 1;
    for (int i = 0; i < 64; i++) {
        words[n++] = "--stop";
        words[n++] = "x";
    }
    assert_int_equal(parse(words), BITNET_OK);
    assert_int_equal(values.stops.n, 64);
    words[n++] = "--stop=y";
    check_usage(parse(words), "option '--stop' is given more than 64 times", "");
}

TEST(help_is_made_from_the_table)
{
    static const char want[] =
        "Usage: bitnet-test IN [OUT] [OPTION]...\n"
        "\n"
        "Tests the reading of command lines.\n"
        "\n"
        "Options:\n"
        "  -m, --model FILE       the model to use\n"
        "  -t, --threads N        threads\n"
        "      --seed N           seed\n"
        "      --offset N\n"
        "      --temp F           how much chance there is in the choice of the next\n"
        "                         word; 0 always takes the likeliest one, and so gives\n"
        "                         the same text each time\n"
        "      --max-memory SIZE  refuse to use more\n"
        "      --force            replace an existing file\n"
        "      --stop TEXT        stop there; may be repeated\n"
        "  -cnv, --an-option-with-a-name-that-is-very-long ARGUMENT\n"
        "                         on a line of its own\n"
        "  -h, --help             print this text\n"
        "      --version          print the version\n"
        "\n"
        "Examples:\n"
        "  bitnet-test a\n"
        "  bitnet-test a b\n"
        "  bitnet-test --force a\n";
    static const char *const words[] = {"--help", "-h"};
    for (size_t i = 0; i < COUNT(words); i++) {
        assert_int_equal(PARSE(words[i]), BITNET_OK);
        assert_true(done);
        assert_string_equal(help.at, want);
        bitnet_buf_free(&help);
    }
    assert_int_equal(PARSE("a", "--", "--help"), BITNET_OK);
    assert_false(done);
}

TEST(version_names_the_program)
{
    assert_int_equal(PARSE("--version"), BITNET_OK);
    assert_true(done);
    assert_true(bitnet_str_starts(bitnet_str_of(help.at), "bitnet-test "));
    bitnet_buf_free(&help);
}

/* What bitnet_report_error writes to standard error. */
static int report(const struct bitnet_error *error, char *out, size_t n_out)
{
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    int code = bitnet_report_error("bitnet-x", error);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], out, n_out - 1);
    close(ends[0]);
    out[n > 0 ? n : 0] = '\0';
    return code;
}

TEST(an_error_is_one_line_and_maybe_a_hint)
{
    char out[3000];
    bitnet_fail(&err, BITNET_FORMAT, "m.gguf: 100%% wrong %s", "%s%n");
    assert_int_equal(report(&err, out, sizeof out), 3);
    assert_string_equal(out, "bitnet-x: error: m.gguf: 100% wrong %s%n\n");
    bitnet_hint(&err, BITNET_FORMAT, "fetch it again");
    assert_int_equal(report(&err, out, sizeof out), 3);
    assert_string_equal(
        out, "bitnet-x: error: m.gguf: 100% wrong %s%n\nbitnet-x: hint: fetch it again\n");
    assert_int_equal(report(&(struct bitnet_error){.status = BITNET_MEMORY}, out, sizeof out), 8);
    assert_string_equal(out, "bitnet-x: error: out of memory\n");
    bitnet_fail(&err, BITNET_IO, "%511d", 1);
    assert_int_equal(report(&err, out, sizeof out), 7);
    assert_int_equal(strlen(out), strlen("bitnet-x: error: ") + 511 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds_are_read_in_both_spellings),
        cmocka_unit_test(two_dashes_end_the_options_and_one_is_an_operand),
        cmocka_unit_test(the_last_of_a_repeated_option_counts),
        cmocka_unit_test(a_wrong_word_is_named),
        cmocka_unit_test(a_list_has_room_for_64),
        cmocka_unit_test(help_is_made_from_the_table),
        cmocka_unit_test(version_names_the_program),
        cmocka_unit_test(an_error_is_one_line_and_maybe_a_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
