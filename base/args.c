/* Command lines from one table: the same rows parse argv and print --help. Words are compared as a
 * whole, so "-ngl" is one option and never three. The last one of a repeated option counts, except
 * for lists. A name that is not known gets the closest one as a hint. */
#include "bitnet/args.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "bitnet/text.h"
#include "bitnet/version.h"

enum { HELP_WIDTH = 80, HELP_COLUMN_MAX = 32, HELP_BYTES_MAX = 64 * 1024 };

/* --- names --- */

/* The next of the names in "-m, --model"; false at the end. */
static bool next_name(const char **names, struct bitnet_str *name)
{
    const char *at = *names;
    while (*at == ',' || *at == ' ') at++;
    size_t n = strcspn(at, ", ");
    *name = (struct bitnet_str){at, n};
    *names = at + n;
    return n > 0;
}

static bool has_name(const char *names, struct bitnet_str word)
{
    struct bitnet_str name;
    while (next_name(&names, &name))
        if (bitnet_str_equal(name, word)) return true;
    return false;
}

static const struct bitnet_option *find_option(const struct bitnet_command *command,
                                               struct bitnet_str word)
{
    for (size_t i = 0; i < command->n_options; i++)
        if (has_name(command->options[i].names, word)) return &command->options[i];
    return NULL;
}

static bool is_option_word(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein's distance, one row of the table at a time; words longer than the row are far. */
static size_t distance(struct bitnet_str a, struct bitnet_str b)
{
    size_t row[64];
    if (b.n >= sizeof row / sizeof row[0]) return SIZE_MAX;
    for (size_t j = 0; j <= b.n; j++) row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t above = row[j], change = diagonal + (a.at[i - 1] != b.at[j - 1]);
            row[j] = least(change, above + 1, row[j - 1] + 1);
            diagonal = above;
        }
    }
    return row[b.n];
}

/* The known name that is nearest to `word`, if a slip of the finger could lie between them. */
static struct bitnet_str closest_name(const struct bitnet_command *command, struct bitnet_str word)
{
    struct bitnet_str best = {NULL, 0}, name;
    size_t best_distance = word.n / 3 + 1;
    if (word.n > 100) return best;
    for (size_t i = 0; i < command->n_options; i++) {
        const char *names = command->options[i].names;
        while (next_name(&names, &name)) {
            size_t d = distance(word, name);
            if (d >= best_distance && !(d == best_distance && !best.at)) continue;
            best_distance = d;
            best = name;
        }
    }
    return best;
}

/* --- values --- */

static enum bitnet_status fail_unknown(const struct bitnet_command *command, struct bitnet_str word,
                                       struct bitnet_error *err)
{
    struct bitnet_str near = closest_name(command, word);
    bitnet_fail(err, BITNET_USAGE, "there is no option %s", BITNET_QUOTE(word));
    if (near.at) return bitnet_hint(err, BITNET_USAGE, "did you mean %s?", BITNET_QUOTE(near));
    return bitnet_hint(err, BITNET_USAGE, "`%s --help` lists the options", command->name);
}

static enum bitnet_status fail_value(struct bitnet_str word, struct bitnet_str value,
                                     const char *expected, struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_USAGE, "option %s: expected %s, found %s", BITNET_QUOTE(word),
                       expected, BITNET_QUOTE(value));
}

static enum bitnet_status set_u64(const struct bitnet_option *option, struct bitnet_str word,
                                  struct bitnet_str text, struct bitnet_error *err)
{
    uint64_t value, high = option->high ? option->high : UINT64_MAX;
    if (!bitnet_parse_u64(text, &value)) return fail_value(word, text, "a whole number", err);
    if (value < option->low || value > high) {
        if (!option->high)
            return bitnet_fail(err, BITNET_USAGE, "option %s: %" PRIu64 " (at least %" PRIu64 ")",
                               BITNET_QUOTE(word), value, option->low);
        return bitnet_fail(err, BITNET_USAGE,
                           "option %s: %" PRIu64 " (allowed %" PRIu64 " to %" PRIu64 ")",
                           BITNET_QUOTE(word), value, option->low, high);
    }
    *(uint64_t *)option->value = value;
    return BITNET_OK;
}

static enum bitnet_status add_to_list(const struct bitnet_option *option, struct bitnet_str word,
                                      const char *text, struct bitnet_error *err)
{
    struct bitnet_args_list *list = option->value;
    size_t max = sizeof list->at / sizeof list->at[0];
    if (list->n == max)
        return bitnet_fail(err, BITNET_USAGE, "option %s is given more than %zu times",
                           BITNET_QUOTE(word), max);
    list->at[list->n++] = text;
    return BITNET_OK;
}

static enum bitnet_status set_value(const struct bitnet_option *option, struct bitnet_str word,
                                    const char *argument, struct bitnet_error *err)
{
    struct bitnet_str text = bitnet_str_of(argument);
    switch (option->kind) {
    case BITNET_OPTION_FLAG:
        *(bool *)option->value = true;
        return BITNET_OK;
    case BITNET_OPTION_TEXT:
        *(const char **)option->value = argument;
        return BITNET_OK;
    case BITNET_OPTION_LIST:
        return add_to_list(option, word, argument, err);
    case BITNET_OPTION_U64:
        return set_u64(option, word, text, err);
    case BITNET_OPTION_I64:
        if (bitnet_parse_i64(text, option->value)) return BITNET_OK;
        return fail_value(word, text, "a whole number", err);
    case BITNET_OPTION_F64:
        if (bitnet_parse_f64(text, option->value)) return BITNET_OK;
        return fail_value(word, text, "a number", err);
    case BITNET_OPTION_SIZE:
        if (bitnet_parse_size(text, option->value)) return BITNET_OK;
        return fail_value(word, text, "a size like 512M or 2G", err);
    }
    return bitnet_fail(err, BITNET_INTERNAL, "option %s has no kind", BITNET_QUOTE(word));
}

/* --- parsing --- */

struct parser {
    const struct bitnet_command *command;
    int argc, at; /* argv[at] is the next word */
    char **argv;
    const char **operands;
    size_t n_operands;
    bool only_operands; /* after "--" */
};

/* The value after "=", or the next word, unless that is itself an option of this command. */
static enum bitnet_status take_argument(struct parser *p, const struct bitnet_option *option,
                                        struct bitnet_str word, const char *after_equals,
                                        const char **argument, struct bitnet_error *err)
{
    *argument = after_equals;
    if (option->kind == BITNET_OPTION_FLAG) {
        if (!after_equals) return BITNET_OK;
        return bitnet_fail(err, BITNET_USAGE, "option %s takes no value", BITNET_QUOTE(word));
    }
    if (after_equals) return BITNET_OK;
    const char *next = p->at < p->argc ? p->argv[p->at] : NULL;
    if (!next || find_option(p->command, bitnet_str_of(next)))
        return bitnet_fail(err, BITNET_USAGE, "option %s needs a value (%s)", BITNET_QUOTE(word),
                           option->argument ? option->argument : "VALUE");
    *argument = next;
    p->at++;
    return BITNET_OK;
}

static enum bitnet_status parse_option(struct parser *p, const char *text, struct bitnet_error *err)
{
    struct bitnet_str word = bitnet_str_of(text);
    const char *equals = strncmp(text, "--", 2) == 0 ? strchr(text, '=') : NULL, *argument;
    if (equals) word.n = (size_t)(equals - text);
    const struct bitnet_option *option = find_option(p->command, word);
    if (!option) return fail_unknown(p->command, word, err);
    enum bitnet_status status =
        take_argument(p, option, word, equals ? equals + 1 : NULL, &argument, err);
    return status ? status : set_value(option, word, argument, err);
}

static enum bitnet_status parse_operand(struct parser *p, const char *text,
                                        struct bitnet_error *err)
{
    if (p->n_operands == p->command->max_operands) {
        bitnet_fail(err, BITNET_USAGE, "one word too many: %s", BITNET_QUOTE(bitnet_str_of(text)));
        return bitnet_hint(err, BITNET_USAGE, "usage: %s %s", p->command->name,
                           p->command->synopsis);
    }
    p->operands[p->n_operands++] = text;
    return BITNET_OK;
}

static enum bitnet_status parse_word(struct parser *p, struct bitnet_error *err)
{
    const char *text = p->argv[p->at++];
    if (p->only_operands || !is_option_word(text)) return parse_operand(p, text, err);
    if (strcmp(text, "--") == 0) {
        p->only_operands = true;
        return BITNET_OK;
    }
    return parse_option(p, text, err);
}

/* --- help --- */

static size_t left_width(const struct bitnet_option *option)
{
    size_t indent = strncmp(option->names, "--", 2) == 0 ? 6 : 2; /* room for "-x, " */
    size_t n_argument = option->argument ? 1 + strlen(option->argument) : 0;
    return indent + strlen(option->names) + n_argument;
}

static size_t help_column(const struct bitnet_command *command)
{
    size_t widest = strlen("      --version");
    for (size_t i = 0; i < command->n_options; i++) {
        size_t width = left_width(&command->options[i]);
        if (width > widest && width + 2 <= HELP_COLUMN_MAX) widest = width;
    }
    return widest + 2;
}

static void add_spaces(struct bitnet_buf *help, size_t n)
{
    bitnet_buf_printf(help, "%*s", (int)n, "");
}

/* Words of `text` between two columns; `at` is where the line stands now. */
static void add_wrapped(struct bitnet_buf *help, const char *text, size_t at, size_t column)
{
    bool first = true;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (!first && at + 1 + n > HELP_WIDTH) {
            bitnet_buf_add(help, "\n", 1);
            add_spaces(help, column);
            at = column;
            first = true;
        }
        if (!first) bitnet_buf_add(help, " ", 1);
        bitnet_buf_add(help, text, n);
        at += n + !first;
        first = false;
        text += n;
        while (*text == ' ') text++;
    }
    bitnet_buf_add(help, "\n", 1);
}

static void add_option_help(struct bitnet_buf *help, const struct bitnet_option *option,
                            size_t column)
{
    size_t width = left_width(option);
    add_spaces(help, strncmp(option->names, "--", 2) == 0 ? 6 : 2);
    bitnet_buf_printf(help, "%s%s%s", option->names, option->argument ? " " : "",
                      option->argument ? option->argument : "");
    if (!option->help) {
        bitnet_buf_add(help, "\n", 1);
        return;
    }
    if (width + 2 > column) {
        bitnet_buf_add(help, "\n", 1);
        width = 0;
    }
    add_spaces(help, column - width);
    add_wrapped(help, option->help, column, column);
}

static void add_examples(struct bitnet_buf *help, const char *examples)
{
    bitnet_buf_printf(help, "\nExamples:\n");
    while (*examples) {
        size_t n = strcspn(examples, "\n");
        bitnet_buf_printf(help, "  %.*s\n", (int)n, examples);
        examples += n + (examples[n] == '\n');
    }
}

static void make_help(const struct bitnet_command *command, struct bitnet_buf *help)
{
    static const struct bitnet_option ours[] = {
        {.names = "-h, --help", .help = "print this text"},
        {.names = "--version", .help = "print the version"},
    };
    size_t column = help_column(command);
    bitnet_buf_printf(help, "Usage: %s %s\n\n", command->name, command->synopsis);
    if (command->summary) add_wrapped(help, command->summary, 0, 0);
    bitnet_buf_printf(help, "\nOptions:\n");
    for (size_t i = 0; i < command->n_options; i++)
        add_option_help(help, &command->options[i], column);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (!find_option(command, bitnet_str_of(strstr(ours[i].names, "--"))))
            add_option_help(help, &ours[i], column);
    if (command->examples) add_examples(help, command->examples);
}

/* --help and --version, unless the command has an option of that name. */
static bool asks_for_text(const struct parser *p, const char *word, struct bitnet_buf *help)
{
    if (p->only_operands || find_option(p->command, bitnet_str_of(word))) return false;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        make_help(p->command, help);
        return true;
    }
    if (strcmp(word, "--version") != 0) return false;
    bitnet_buf_printf(help, "%s %s\n", p->command->name, BITNET_VERSION);
    return true;
}

enum bitnet_status bitnet_args_parse(const struct bitnet_command *command, int argc, char **argv,
                                     const char **operands, size_t *n_operands,
                                     struct bitnet_buf *help, bool *done, struct bitnet_error *err)
{
    struct parser p = {command, argc, 1, argv, operands, 0, false};
    *help = (struct bitnet_buf){.max = HELP_BYTES_MAX};
    *done = false;
    *n_operands = 0;
    while (p.at < argc) {
        if (asks_for_text(&p, argv[p.at], help)) {
            *done = true;
            return help->failed ? bitnet_fail(err, BITNET_MEMORY, "out of memory") : BITNET_OK;
        }
        enum bitnet_status status = parse_word(&p, err);
        if (status) return status;
    }
    *n_operands = p.n_operands;
    if (p.n_operands >= command->min_operands) return BITNET_OK;
    bitnet_fail(err, BITNET_USAGE, "%zu word%s given, %zu needed", p.n_operands,
                p.n_operands == 1 ? "" : "s", command->min_operands);
    return bitnet_hint(err, BITNET_USAGE, "usage: %s %s", command->name, command->synopsis);
}

/* --- errors --- */

static void write_line(const char *name, const char *what, const char *text)
{
    char line[1024];
    int n = snprintf(line, sizeof line, "%s: %s: %s\n", name, what, text);
    if (n < 0) return;
    size_t n_line = (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    line[n_line - 1] = '\n';
    if (write(STDERR_FILENO, line, n_line) < 0) return; /* nobody left to tell */
}

int bitnet_report_error(const char *name, const struct bitnet_error *err)
{
    write_line(name, "error", err->text[0] ? err->text : bitnet_status_text(err->status));
    if (err->hint[0]) write_line(name, "hint", err->hint);
    return bitnet_status_exit_code(err->status);
}
