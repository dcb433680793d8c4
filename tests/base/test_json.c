/* The JSON reader: what RFC 8259 allows and nothing else, exact places in messages, limits, failing
 * memory, and agreement with cJSON where both accept. */
#include "cm.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bitnet/alloc.h"
#include "bitnet/json.h"
#include "bitnet/text.h"

/* --- helpers --- */

static struct bitnet_arena arena;
static struct bitnet_error err;

static int free_arena(void **state)
{
    (void)state;
    bitnet_arena_free(&arena);
    return 0;
}

/* Parses a copy of exactly n bytes, so that a sanitizer sees any step past the end. */
static enum bitnet_status parse_bytes(const struct bitnet_json **root, const char *text, size_t n,
                                      const struct bitnet_json_limits *limits)
{
    static char *copy; /* the tree points into it; one document at a time */
    free(copy);
    copy = malloc(n ? n : 1);
    memcpy(copy, text, n);
    bitnet_arena_free(&arena);
    memset(&err, 0, sizeof err);
    return bitnet_json_parse(root, (struct bitnet_str){copy, n}, limits, &arena, &err);
}

static const struct bitnet_json *parse(const char *text)
{
    const struct bitnet_json *root;
    if (parse_bytes(&root, text, strlen(text), NULL)) fail_msg("%s: %s", text, err.text);
    return root;
}

static void check_refused(const char *text, size_t n, enum bitnet_status status,
                          const char *message)
{
    const struct bitnet_json *root;
    enum bitnet_status got = parse_bytes(&root, text, n, NULL);
    if (got != status) fail_msg("%s: status %d: %s", text, got, err.text);
    assert_null(root);
    assert_string_equal(err.text, message);
}

/* --- what is accepted --- */

TEST(every_kind_of_value_is_read)
{
    const struct bitnet_json *root = parse(" {\"a\": null, \"b\": true,\r\n\t\"c\": false, \"d\": "
                                           "-12.5e+3, \"e\": \"x\", \"f\": [1, 2], \"g\": {}} ");
    assert_int_equal(root->kind, BITNET_JSON_OBJECT);
    assert_int_equal(root->n_children, 7);
    assert_int_equal(bitnet_json_get(root, "a")->kind, BITNET_JSON_NULL);
    assert_true(bitnet_json_get(root, "b")->boolean);
    assert_false(bitnet_json_get(root, "c")->boolean);
    assert_true(bitnet_str_is(bitnet_json_get(root, "d")->text, "-12.5e+3"));
    assert_false(bitnet_json_get(root, "d")->is_integer);
    assert_true(bitnet_str_is(bitnet_json_get(root, "e")->text, "x"));
    const struct bitnet_json *list = bitnet_json_get(root, "f");
    assert_int_equal(list->n_children, 2);
    assert_true(list->child->is_integer);
    assert_true(bitnet_str_is(list->child->next->text, "2"));
    assert_null(list->child->next->next);
    assert_null(bitnet_json_get(root, "g")->child);
    assert_null(bitnet_json_get(root, "h"));
    assert_null(bitnet_json_get(list, "a"));
    assert_null(bitnet_json_get(NULL, "a"));
}

TEST(places_are_lines_and_columns_from_one)
{
    const struct bitnet_json *root = parse("{\n  \"a\": [\n1,\n   22]\n}");
    const struct bitnet_json *list = bitnet_json_get(root, "a");
    assert_int_equal(root->line, 1);
    assert_int_equal(root->column, 1);
    assert_int_equal(list->line, 2);
    assert_int_equal(list->column, 8);
    assert_int_equal(list->child->next->line, 4);
    assert_int_equal(list->child->next->column, 4);
}

TEST(numbers_are_what_the_grammar_says)
{
    static const char *const good[] = {
        "0",     "-0",  "1",    "-1",    "10",      "1.0",
        "0.1",   "1e1", "1E-1", "1e+00", "-0.0e-0", "123456789012345678901234567890",
        "1e400", "0e1"};
    static const char *const bad[] = {"01",    "-01",   "00",          "-",         "+1",  ".5",
                                      "1.",    "1.e1",  "1e",          "1e+",       "0x1", "1_0",
                                      "NaN",   "-NaN",  "Infinity",    "-Infinity", "1a",  "--1",
                                      "1.2.3", "1e1.5", "\xef\xbc\x91"};
    const struct bitnet_json *root;
    for (size_t i = 0; i < COUNT(good); i++) {
        root = parse(good[i]);
        assert_int_equal(root->kind, BITNET_JSON_NUMBER);
        assert_true(bitnet_str_is(root->text, good[i]));
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (parse_bytes(&root, bad[i], strlen(bad[i]), NULL) != BITNET_FORMAT)
            fail_msg("%s is taken", bad[i]);
}

TEST(strings_are_unescaped)
{
    static const struct {
        const char *source, *text;
        size_t n;
    } rows[] = {
        {"\"\"", "", 0},
        {"\"abc\"", "abc", 3},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"\\u0041\\u00e9\\u20AC\"", "A\xC3\xA9\xE2\x82\xAC", 6},
        {"\"\\ud83d\\ude00\"", "\xF0\x9F\x98\x80", 4},
        {"\"\\uDBFF\\uDFFF\"", "\xF4\x8F\xBF\xBF", 4},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\xC3\xA9 \xF0\x9F\x98\x80 \x7f\"", "\xC3\xA9 \xF0\x9F\x98\x80 \x7f", 9},
        {"\"\\ud7ff\\ue000\\uffff\"", "\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF", 9},
        {"\"12345678\\n12345678\"", "12345678\n12345678", 17},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct bitnet_json *root = parse(rows[i].source);
        assert_int_equal(root->kind, BITNET_JSON_STRING);
        assert_int_equal(root->text.n, rows[i].n);
        if (rows[i].n) assert_memory_equal(root->text.at, rows[i].text, rows[i].n);
    }
}

TEST(strings_without_escapes_are_not_copied)
{
    static const char text[] = "[\"abc\",\"a\\n\"]";
    const struct bitnet_json *root;
    bitnet_arena_free(&arena);
    assert_int_equal(bitnet_json_parse(&root, BITNET_STR(text), NULL, &arena, &err), BITNET_OK);
    assert_ptr_equal(root->child->text.at, text + 2);
    const char *copy = root->child->next->text.at;
    assert_true(copy < text || copy >= text + sizeof text);
}

/* --- what is refused, and with which words --- */

TEST(each_mistake_has_its_place_and_words)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "line 1 column 1: file ends, expected a value"},
        {"  \n ", "line 2 column 2: file ends, expected a value"},
        {"nul", "line 1 column 1: expected a value, found 'n'"},
        {"[nullx]", "line 1 column 6: expected ',' or ']', found 'x'"},
        {"True", "line 1 column 1: expected a value, found 'T'"},
        {"[1,]", "line 1 column 4: expected a value, found ']'"},
        {"[,1]", "line 1 column 2: expected a value, found ','"},
        {"[1 2]", "line 1 column 4: expected ',' or ']', found '2'"},
        {"[1}", "line 1 column 3: expected ',' or ']', found '}'"},
        {"{\"a\":1,}", "line 1 column 8: expected a name in quotes, found '}'"},
        {"{,}", "line 1 column 2: expected a name in quotes, found ','"},
        {"{a:1}", "line 1 column 2: expected a name in quotes, found 'a'"},
        {"{\"a\" 1}", "line 1 column 6: expected ':', found '1'"},
        {"{\"a\":}", "line 1 column 6: expected a value, found '}'"},
        {"{\"a\":1]", "line 1 column 7: expected ',' or '}', found ']'"},
        {"[1", "line 1 column 3: file ends, expected ',' or ']'"},
        {"{\"a\"", "line 1 column 5: file ends, expected ':'"},
        {"{", "line 1 column 2: file ends, expected a name in quotes"},
        {"1 2", "line 1 column 3: expected the end of the file, found '2'"},
        {"{}\n}", "line 2 column 1: expected the end of the file, found '}'"},
        {"// x\n1", "line 1 column 1: expected a value, found '/'"},
        {"'a'", "line 1 column 1: expected a value, found '\\x27'"},
        {"\xEF\xBB\xBF{}", "line 1 column 1: expected a value, found '\\xef'"},
        {"\"abc", "line 1 column 5: file ends inside a string"},
        {"\"abc\\", "line 1 column 6: file ends inside a string"},
        {"\"\\x41\"", "line 1 column 2: this escape does not exist in JSON"},
        {"\"\\u12G4\"", "line 1 column 2: \\u needs four hexadecimal digits"},
        {"\"a\tb\"", "line 1 column 3: a control character in a string"},
        {"\"a\nb\"", "line 1 column 3: a control character in a string"},
        {"\"a\xffz\"", "line 1 column 3: a string is not valid UTF-8"},
        {"\"\xC0\x80\"", "line 1 column 2: a string is not valid UTF-8"},
        {"\"\xED\xA0\x80\"", "line 1 column 2: a string is not valid UTF-8"},
        {"[\"\\ud800\"]", "line 1 column 3: half of a surrogate pair"},
        {"[\"\\udc00\"]", "line 1 column 3: half of a surrogate pair"},
        {"[\"\\ud800x\"]", "line 1 column 3: half of a surrogate pair"},
        {"[\"\\ud800\\n\"]", "line 1 column 3: half of a surrogate pair"},
        {"[\"\\ud800\\ud800\"]", "line 1 column 3: half of a surrogate pair"},
        {"[\"\\ud800\\u0041\"]", "line 1 column 3: half of a surrogate pair"},
        {"[\n01]", "line 2 column 1: a number begins with a zero too many"},
        {"[-]", "line 1 column 2: a number is malformed"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "line 1 column 18: 'a' appears twice"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check_refused(rows[i].text, strlen(rows[i].text), BITNET_FORMAT, rows[i].message);
    check_refused("1\0", 2, BITNET_FORMAT,
                  "line 1 column 2: expected the end of the file, found '\\x00'");
    check_refused("\"a\0\"", 4, BITNET_FORMAT, "line 1 column 3: a control character in a string");
}

TEST(duplicate_keys_are_seen_after_unescaping_in_small_and_large_objects)
{
    check_refused("{\"a\":1,\"\\u0061\":2}", 18, BITNET_FORMAT,
                  "line 1 column 17: 'a' appears twice");
    check_refused("{\"\":1,\"\":2}", 11, BITNET_FORMAT, "line 1 column 10: '' appears twice");
    check_refused("[{},{\"x\":{\"\\n\":1,\"\\u000A\":2}}]", 30, BITNET_FORMAT,
                  "line 1 column 27: '\\x0a' appears twice");
    char text[4000] = "{";
    size_t n = 1;
    for (int i = 0; i < 100; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "\"key %d\":%d,", i, i);
    snprintf(text + n, sizeof text - n, "\"k\\u0065y 50\":1}");
    const struct bitnet_json *root;
    assert_int_equal(parse_bytes(&root, text, strlen(text), NULL), BITNET_FORMAT);
    assert_text_has(err.text, "'key 50' appears twice");
    parse("[{\"a\":1},{\"a\":1,\"A\":1,\"a \":1}]"); /* these are different */
}

TEST(a_document_cut_at_any_byte_is_refused)
{
    static const char text[] =
        "{\"a\": [1, -2.5e3, true, false, null], \"b\\u00e9\\ud83d\\ude00\": {\"c\": "
        "\"\xF0\x9F\x98\x80\\n\"}, \"d\": \"x\"}";
    const struct bitnet_json *root;
    for (size_t n = 0; n < sizeof text - 1; n++)
        if (parse_bytes(&root, text, n, NULL) != BITNET_FORMAT) fail_msg("cut at %zu is taken", n);
    assert_int_equal(parse_bytes(&root, text, sizeof text - 1, NULL), BITNET_OK);
}

TEST(a_document_with_any_byte_changed_is_read_or_refused_but_never_overrun)
{
    static const char text[] =
        "{\"a\": [1, -2.5e3, true, \"\\ud83d\\ude00\\u00e9\"], \"b\": {\"c\": null}}";
    char copy[sizeof text];
    const struct bitnet_json *root;
    for (size_t i = 0; i < sizeof text - 1; i++)
        for (int byte = 0; byte < 256; byte++) {
            memcpy(copy, text, sizeof text);
            copy[i] = (char)byte;
            enum bitnet_status status = parse_bytes(&root, copy, sizeof text - 1, NULL);
            assert_true((status == BITNET_OK) == (root != NULL));
            assert_true(status == BITNET_OK || err.text[0]);
        }
}

/* --- limits --- */

static char *repeat(const char *unit, size_t times, const char *middle, const char *closing)
{
    size_t n = strlen(unit) * times + strlen(middle) + strlen(closing) * times;
    char *text = malloc(n + 1), *at = text;
    for (size_t i = 0; i < times; i++) at = stpcpy(at, unit);
    at = stpcpy(at, middle);
    for (size_t i = 0; i < times; i++) at = stpcpy(at, closing);
    return text;
}

TEST(nesting_stops_at_its_limit)
{
    static const char *const kinds[][3] = {
        {"[", "1", "]"}, {"{\"a\":", "1", "}"}, {"[{\"a\":", "1", "}]"}};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        size_t per_unit = i == 2 ? 2 : 1;
        char *text = repeat(kinds[i][0], 64 / per_unit, kinds[i][1], kinds[i][2]);
        parse(text);
        free(text);
        static const size_t too_deep[] = {65, 100, 100000};
        for (size_t k = 0; k < COUNT(too_deep); k++) {
            const struct bitnet_json *root;
            text = repeat(kinds[i][0], too_deep[k], kinds[i][1], kinds[i][2]);
            assert_int_equal(parse_bytes(&root, text, strlen(text), NULL), BITNET_LIMIT);
            assert_text_has(err.text, "nested deeper than 64");
            assert_true(arena.used_bytes < 64 * 1024); /* refusing is cheap */
            free(text);
        }
    }
    char *open = repeat("[", 65, "", "");
    check_refused(open, 65, BITNET_LIMIT, "line 1 column 65: nested deeper than 64");
    free(open);
}

static char *many(const char *first, const char *each, size_t n, char last)
{
    size_t n_first = strlen(first), n_each = strlen(each);
    char *text = malloc(n_first + n * n_each + 2), *at = text + n_first;
    memcpy(text, first, n_first);
    for (size_t i = 0; i < n; i++, at += n_each) memcpy(at, each, n_each);
    at[-1] = last; /* for the last comma */
    *at = '\0';
    return text;
}

/* "0," becomes a node of eighty bytes: forty times the text. */
TEST(memory_stays_in_proportion_to_the_text)
{
    const struct bitnet_json *root;
    char *text = many("[", "0,", 5000000, ']');
    assert_int_equal(parse_bytes(&root, text, strlen(text), NULL), BITNET_LIMIT);
    assert_text_has(err.text, "take more than 16 times the text");
    assert_true(arena.used_bytes <= (64u << 20) + 16 * strlen(text));
    free(text);
    text = many("[", "0,", 500000, ']'); /* what is small anyway may be dense */
    assert_int_equal(parse_bytes(&root, text, strlen(text), NULL), BITNET_OK);
    free(text);
    text = many("[", "[\"ab\",\"cde\"], ", 1000000, ' '); /* and so may merges of a tokenizer */
    text[strlen(text) - 2] = ']';
    assert_int_equal(parse_bytes(&root, text, strlen(text), NULL), BITNET_OK);
    free(text);
}

TEST(the_caller_may_choose_the_limits)
{
    const struct bitnet_json *root;
    assert_int_equal(parse_bytes(&root, "[[]]", 4, &(struct bitnet_json_limits){.max_depth = 2}),
                     BITNET_OK);
    assert_int_equal(parse_bytes(&root, "[[]]", 4, &(struct bitnet_json_limits){.max_depth = 1}),
                     BITNET_LIMIT);
    assert_int_equal(parse_bytes(&root, "[1,2]", 5, &(struct bitnet_json_limits){.max_nodes = 3}),
                     BITNET_OK);
    assert_int_equal(parse_bytes(&root, "[1,2]", 5, &(struct bitnet_json_limits){.max_nodes = 2}),
                     BITNET_LIMIT);
    assert_string_equal(err.text, "line 1 column 4: too many values");
    assert_int_equal(parse_bytes(&root, "[1,2]", 5, &(struct bitnet_json_limits){.max_bytes = 5}),
                     BITNET_OK);
    assert_int_equal(parse_bytes(&root, "[1,2]", 5, &(struct bitnet_json_limits){.max_bytes = 4}),
                     BITNET_LIMIT);
    assert_string_equal(err.text, "5 bytes of JSON, the limit is 4");
    char *text = repeat("[", 1024, "", "]"); /* the ceiling of what may be asked for */
    struct bitnet_json_limits deep = {.max_depth = 1000000};
    assert_int_equal(parse_bytes(&root, text, strlen(text), &deep), BITNET_OK);
    free(text);
    text = repeat("[", 1025, "", "]");
    assert_int_equal(parse_bytes(&root, text, strlen(text), &deep), BITNET_LIMIT);
    free(text);
}

TEST(a_number_has_at_most_400_characters)
{
    char text[500];
    const struct bitnet_json *root;
    double value;
    memset(text, '1', sizeof text);
    assert_int_equal(parse_bytes(&root, text, 400, NULL), BITNET_OK);
    assert_false(bitnet_json_as_f64(root, &value)); /* 10^399 is no double */
    assert_int_equal(parse_bytes(&root, text, 401, NULL), BITNET_LIMIT);
    text[1] = '.';
    assert_int_equal(parse_bytes(&root, text, 400, NULL), BITNET_OK);
    assert_true(bitnet_json_as_f64(root, &value));
    assert_true(value > 1.1111 && value < 1.1112);
}

TEST(any_allocation_that_fails_is_reported)
{
    static const char text[] =
        "{\"a\":[1,2,\"x\\n\"],\"b\":{\"1\":1,\"2\":2,\"3\":3,\"4\":4,\"5\":5,\"6\":6,"
        "\"7\":7,\"8\":8,\"9\":9}}";
    long before = bitnet_alloc_live();
    enum bitnet_status status = BITNET_MEMORY;
    bitnet_arena_free(&arena);
    for (long k = 0; status; k++) {
        const struct bitnet_json *root;
        bitnet_alloc_fail_at(k);
        status = bitnet_json_parse(&root, BITNET_STR(text), NULL, &arena, &err);
        bitnet_alloc_fail_at(-1);
        if (status) {
            assert_int_equal(status, BITNET_MEMORY);
            assert_null(root);
            assert_text_has(err.text, "out of memory");
        }
        bitnet_arena_free(&arena);
        assert_int_equal(bitnet_alloc_live(), before);
        assert_true(k < 10);
    }
}

/* --- access --- */

TEST(integers_are_exact_to_their_last_bit)
{
    const struct bitnet_json *root = parse("[18446744073709551615, 18446744073709551616, "
                                           "-9223372036854775808, 1.0, 1e2, -1, \"1\", -0]");
    uint64_t u = 0;
    int64_t i = 0;
    const struct bitnet_json *node = root->child;
    assert_true(bitnet_json_as_u64(node, &u));
    assert_true(u == UINT64_MAX);
    assert_false(bitnet_json_as_i64(node, &i));
    node = node->next;
    assert_false(bitnet_json_as_u64(node, &u));
    node = node->next;
    assert_true(bitnet_json_as_i64(node, &i));
    assert_true(i == INT64_MIN);
    assert_false(bitnet_json_as_u64(node, &u));
    for (node = node->next; node->next; node = node->next)
        assert_false(bitnet_json_as_u64(node, &u));
    assert_false(bitnet_json_as_u64(node, &u)); /* -0 has a sign */
    assert_true(bitnet_json_as_i64(node, &i));
    assert_int_equal(i, 0);
    assert_false(bitnet_json_as_u64(NULL, &u));
    assert_false(bitnet_json_as_f64(NULL, NULL));
}

TEST(members_are_checked_for_presence_kind_and_range)
{
    const struct bitnet_json *root =
        parse("{\"n\": 4294967328,\n \"f\": 1e400, \"s\": \"text\", \"b\": true, "
              "\"z\": null, \"h\": 0.5}");
    uint64_t u = 7;
    double f = 7;
    bool b = false;
    struct bitnet_str s;
    assert_int_equal(bitnet_json_u64(root, "n", 1, UINT64_MAX, BITNET_REQUIRED, &u, &err),
                     BITNET_OK);
    assert_true(u == 4294967328);
    assert_int_equal(bitnet_json_u64(root, "n", 1, 1048576, BITNET_OPTIONAL, &u, &err),
                     BITNET_FORMAT);
    assert_string_equal(
        err.text, "line 1 column 7: 'n': 4294967328 (allowed are integers from 1 to 1048576)");
    assert_int_equal(bitnet_json_u64(root, "h", 0, 10, BITNET_REQUIRED, &u, &err), BITNET_FORMAT);
    assert_int_equal(bitnet_json_u64(root, "s", 0, 10, BITNET_REQUIRED, &u, &err), BITNET_FORMAT);
    assert_string_equal(err.text, "line 2 column 19: 's': expected an integer, found text");
    assert_int_equal(bitnet_json_u64(root, "x", 0, 10, BITNET_REQUIRED, &u, &err), BITNET_FORMAT);
    assert_string_equal(err.text, "'x' is missing");
    assert_int_equal(bitnet_json_f64(root, "f", BITNET_REQUIRED, &f, &err), BITNET_FORMAT);
    assert_string_equal(err.text, "line 2 column 7: 'f': 1e400 is out of range");
    assert_true(f == 7);
    assert_int_equal(bitnet_json_f64(root, "h", BITNET_REQUIRED, &f, &err), BITNET_OK);
    assert_true(f == 0.5);
    assert_int_equal(bitnet_json_bool(root, "b", BITNET_REQUIRED, &b, &err), BITNET_OK);
    assert_true(b);
    assert_int_equal(bitnet_json_bool(root, "n", BITNET_REQUIRED, &b, &err), BITNET_FORMAT);
    assert_int_equal(bitnet_json_str(root, "s", BITNET_REQUIRED, &s, &err), BITNET_OK);
    assert_true(bitnet_str_is(s, "text"));
    assert_int_equal(bitnet_json_str(root, "z", BITNET_REQUIRED, &s, &err), BITNET_FORMAT);
    assert_text_has(err.text, "expected text, found null");
}

TEST(what_is_optional_and_absent_leaves_the_default)
{
    const struct bitnet_json *root = parse("{\"z\": null}");
    uint64_t u = 7;
    static const char *const names[] = {"z", "absent"};
    for (size_t i = 0; i < COUNT(names); i++) {
        double f = 7;
        bool b = true;
        struct bitnet_str s = BITNET_STR("default");
        assert_int_equal(bitnet_json_u64(root, names[i], 0, 1, BITNET_OPTIONAL, &u, &err),
                         BITNET_OK);
        assert_int_equal(bitnet_json_f64(root, names[i], BITNET_OPTIONAL, &f, &err), BITNET_OK);
        assert_int_equal(bitnet_json_bool(root, names[i], BITNET_OPTIONAL, &b, &err), BITNET_OK);
        assert_int_equal(bitnet_json_str(root, names[i], BITNET_OPTIONAL, &s, &err), BITNET_OK);
        assert_true(u == 7 && f == 7 && b && bitnet_str_is(s, "default"));
    }
    assert_int_equal(bitnet_json_u64(NULL, "a", 0, 1, BITNET_OPTIONAL, &u, &err), BITNET_OK);
    assert_int_equal(bitnet_json_u64(NULL, "a", 0, 1, BITNET_REQUIRED, &u, &err), BITNET_FORMAT);
}

/* --- speed --- */

/* What grows with the square of the keys takes a hundred times as long as is allowed below; what we
 * do takes a hundredth of it here. Between the two there is room for slow machines and sanitizers.
 */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

TEST(a_hundred_thousand_keys_take_a_moment)
{
    char *text = malloc(4000000), *at = text;
    const struct bitnet_json *root;
    *at++ = '{';
    for (int i = 0; i < 100000; i++)
        at += snprintf(at, 64, "%s\"token %d\":%d", i ? "," : "", i, i);
    *at++ = '}';
    double start = seconds();
    assert_int_equal(parse_bytes(&root, text, (size_t)(at - text), NULL), BITNET_OK);
    assert_true(seconds() - start < 5);
    assert_int_equal(root->n_children, 100000);
    free(text);
}

TEST(thirty_megabytes_take_a_moment_and_few_allocations)
{
    size_t n_max = 32000000;
    char *text = malloc(n_max), *at = text;
    const struct bitnet_json *root;
    at += snprintf(at, 64, "{\"vocab\":{");
    for (int i = 0; at - text < 16000000; i++)
        at += snprintf(at, 64, "%s\"\\u0120tok%d\": %d", i ? ",\n  " : "", i, i);
    at += snprintf(at, 64, "},\"merges\":[");
    for (int i = 0; at - text < 30000000; i++)
        at += snprintf(at, 64, "%s[\"left%d\", \"right%d\"]", i ? "," : "", i, i);
    at += snprintf(at, 64, "]}");
    bitnet_arena_free(&arena);
    struct bitnet_str source = {text, (size_t)(at - text)};
    bitnet_alloc_fail_at(-1);
    double start = seconds();
    assert_int_equal(bitnet_json_parse(&root, source, NULL, &arena, &err), BITNET_OK);
    double took = seconds() - start;
    print_message("%zu MB in %.3f s, %ld allocations\n", source.n / 1000000, took,
                  bitnet_alloc_count());
    assert_true(took < 30);
    assert_true(bitnet_alloc_count() < 150);
    bitnet_arena_free(&arena);
    free(text);
}

/* --- against cJSON --- */

static void compare(const struct bitnet_json *ours, const cJSON *theirs)
{
    double number;
    switch (ours->kind) {
    case BITNET_JSON_NULL:
        assert_true(cJSON_IsNull(theirs));
        break;
    case BITNET_JSON_BOOL:
        assert_true(ours->boolean ? cJSON_IsTrue(theirs) : cJSON_IsFalse(theirs));
        break;
    case BITNET_JSON_NUMBER:
        assert_true(cJSON_IsNumber(theirs));
        assert_true(bitnet_json_as_f64(ours, &number));
        assert_true(number == theirs->valuedouble);
        break;
    case BITNET_JSON_STRING:
        assert_true(cJSON_IsString(theirs));
        assert_true(bitnet_str_is(ours->text, theirs->valuestring));
        break;
    case BITNET_JSON_ARRAY:
    case BITNET_JSON_OBJECT:
        assert_true(ours->kind == BITNET_JSON_ARRAY ? cJSON_IsArray(theirs)
                                                    : cJSON_IsObject(theirs));
        assert_int_equal(ours->n_children, cJSON_GetArraySize(theirs));
        const cJSON *b = theirs->child;
        for (const struct bitnet_json *a = ours->child; a; a = a->next, b = b->next) {
            if (ours->kind == BITNET_JSON_OBJECT) assert_true(bitnet_str_is(a->key, b->string));
            compare(a, b);
        }
        assert_null(b);
    }
}

static uint32_t random_state = 2463534242u;

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 17,
        random_state ^= random_state << 5;
    return random_state % n;
}

static void add_random_string(struct bitnet_buf *buf, bool as_key)
{
    static const char *const parts[] = {
        "a", "\\n",   "\\\"", "\\u00e9",          "\xE2\x82\xAC", "\\ud83d\\ude00",
        " ", "token", "\\\\", "\xF0\x9F\x98\x80", "\\/",          "0"};
    static unsigned n_keys;
    bitnet_buf_printf(buf, "\"");
    for (uint32_t i = random_below(6); i > 0; i--)
        bitnet_buf_printf(buf, "%s", parts[random_below(COUNT(parts))]);
    if (as_key) bitnet_buf_printf(buf, "#%u", n_keys++); /* no duplicates */
    bitnet_buf_printf(buf, "\"");
}

static void add_random_value(struct bitnet_buf *buf, int depth)
{
    static const char *const leaves[] = {"null",      "true", "false", "0",
                                         "-1",        "3.25", "1e10",  "-2.5E-3",
                                         "123456789", "0.1",  "1e-7",  "6.02214076e23"};
    static const char *const spaces[] = {"", " ", "\n", "\t ", "\r\n"};
    uint32_t kind = random_below(depth > 0 ? 5 : 2);
    bitnet_buf_printf(buf, "%s", spaces[random_below(COUNT(spaces))]);
    if (kind == 0)
        add_random_string(buf, false);
    else if (kind < 3)
        bitnet_buf_printf(buf, "%s", leaves[random_below(COUNT(leaves))]);
    else {
        bool object = kind == 3;
        uint32_t n = random_below(14);
        bitnet_buf_printf(buf, object ? "{" : "[");
        for (uint32_t i = 0; i < n; i++) {
            if (i) bitnet_buf_printf(buf, ",");
            if (object) add_random_string(buf, true);
            if (object) bitnet_buf_printf(buf, " :");
            add_random_value(buf, depth - 1);
        }
        bitnet_buf_printf(buf, object ? " }" : " ]");
    }
    bitnet_buf_printf(buf, "%s", spaces[random_below(COUNT(spaces))]);
}

TEST(random_documents_read_as_cjson_reads_them)
{
    for (int round = 0; round < 3000; round++) {
        struct bitnet_buf buf = {.max = 10000000};
        add_random_value(&buf, 4);
        assert_false(buf.failed);
        cJSON *theirs = cJSON_Parse(buf.at);
        assert_non_null(theirs);
        compare(parse(buf.at), theirs);
        cJSON_Delete(theirs);
        bitnet_buf_free(&buf);
    }
}

#define WITH_ARENA(test) cmocka_unit_test_teardown(test, free_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ARENA(every_kind_of_value_is_read),
        WITH_ARENA(places_are_lines_and_columns_from_one),
        WITH_ARENA(numbers_are_what_the_grammar_says),
        WITH_ARENA(strings_are_unescaped),
        WITH_ARENA(strings_without_escapes_are_not_copied),
        WITH_ARENA(each_mistake_has_its_place_and_words),
        WITH_ARENA(duplicate_keys_are_seen_after_unescaping_in_small_and_large_objects),
        WITH_ARENA(a_document_cut_at_any_byte_is_refused),
        WITH_ARENA(a_document_with_any_byte_changed_is_read_or_refused_but_never_overrun),
        WITH_ARENA(nesting_stops_at_its_limit),
        WITH_ARENA(memory_stays_in_proportion_to_the_text),
        WITH_ARENA(the_caller_may_choose_the_limits),
        WITH_ARENA(a_number_has_at_most_400_characters),
        WITH_ARENA(any_allocation_that_fails_is_reported),
        WITH_ARENA(integers_are_exact_to_their_last_bit),
        WITH_ARENA(members_are_checked_for_presence_kind_and_range),
        WITH_ARENA(what_is_optional_and_absent_leaves_the_default),
        WITH_ARENA(a_hundred_thousand_keys_take_a_moment),
        WITH_ARENA(thirty_megabytes_take_a_moment_and_few_allocations),
        WITH_ARENA(random_documents_read_as_cjson_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
