/* regex.c and regex_parse.c: what each construct matches, what is refused and where, and that time
 * stays linear for expressions that make backtracking engines explode. */
#include "cm.h"

#include <time.h>

#include <bitnet/alloc.h>

#include "regex.h"

static struct regex *compile(const char *source)
{
    struct regex *regex;
    struct bitnet_error err;
    if (regex_new(&regex, bitnet_str_of(source), &err)) fail_msg("%s: %s", source, err.text);
    return regex;
}

/* All matches of `source` in `text`, each in brackets: "[ab]c[d]". */
static void must_match(const char *source, const char *text, const char *want)
{
    struct regex *regex = compile(source);
    struct regex_work work = {0};
    char got[4096];
    size_t n = 0, at = 0, begin, end, length = strlen(text);
    assert_true(regex_text(regex, &work, bitnet_str_of(text)));
    while (regex_find(regex, &work, at, &begin, &end)) {
        memcpy(got + n, text + at, begin - at);
        n += begin - at;
        got[n++] = '[';
        memcpy(got + n, text + begin, end - begin);
        n += end - begin;
        got[n++] = ']';
        at = end;
    }
    memcpy(got + n, text + at, length - at);
    got[n + length - at] = '\0';
    if (strcmp(got, want) != 0) fail_msg("%s on \"%s\": %s, want %s", source, text, got, want);
    regex_work_free(&work);
    regex_free(regex);
}

TEST(literals_classes_and_alternatives)
{
    must_match("ab", "xabab", "x[ab][ab]");
    must_match("a|ab", "ab", "[a]b"); /* the first that matches, not the longest */
    must_match("ab|a", "aba", "[ab][a]");
    must_match("[a-c]+", "xabcx", "x[abc]x");
    must_match("[^a-c]+", "abxyc", "ab[xy]c");
    must_match("[]a]+", "]ax", "[]a]x");
    must_match("[a-]+", "-a-x", "[-a-]x");
    must_match("[\\w-]+", "a-b c", "[a-b] [c]");
    must_match("[a-z&&[^aeiou]]+", "hello", "[h]e[ll]o");
    must_match("[a[0-9]]+", "a1b2", "[a1]b[2]");
    must_match(".", "a\nb", "[a]\n[b]");
    must_match("\\x41\\x{42}\\u0043\\t", "ABC\t", "[ABC\t]");
    must_match("a{2}b{1,2}c{,2}d{1,}", "aabbccddd", "[aabbccddd]");
    must_match("a{x", "a{x", "[a{x]");
}

TEST(unicode_properties)
{
    must_match("\\p{L}+", "h\xC3\xA9llo1", "[h\xC3\xA9llo]1");
    must_match("\\P{L}+", "a1 b", "a[1 ]b");
    must_match("\\p{^L}+", "a1 b", "a[1 ]b");
    must_match("[^\\s\\p{L}\\p{N}]+", "a+=1 ?", "a[+=]1 [?]");
    must_match("\\p{N}", "\xC2\xBD\xE2\x85\xA2", "[\xC2\xBD][\xE2\x85\xA2]");
    must_match("\\s+", "a\xC2\xA0\xE3\x80\x80z", "a[\xC2\xA0\xE3\x80\x80]z");
    must_match("\\p{Han}+", "a\xE6\x97\xA5\xE6\x9C\xAC\xE3\x81\xAE",
               "a[\xE6\x97\xA5\xE6\x9C\xAC]\xE3\x81\xAE");
    must_match("[\xE4\xB8\x80-\xE9\xBE\xA5]+", "a\xE6\x97\xA5z", "a[\xE6\x97\xA5]z");
    must_match("\\d+\\D", "12a", "[12a]");
}

TEST(counts_are_greedy_lazy_or_possessive)
{
    must_match("a*?b", "aab", "[aab]");
    must_match("a+?", "aa", "[a][a]");
    must_match("(ab)*", "ababa", "[abab]a");
    must_match("(a|b)*c", "abac", "[abac]");
    must_match("a++a", "aaa", "aaa");
    must_match("a?+ab", "ab", "ab"); /* a?+ keeps the a */
    must_match("(?>a|ab)c", "abc", "abc");
    must_match("(?>ab|a)c", "abc", "[abc]");
    must_match("(a{2}){2}", "aaaaa", "[aaaa]a");
    must_match("(a*)*b", "aab", "[aab]");
    must_match("(a*)+", "aab", "[aa]b");
}

TEST(look_ahead_and_anchors)
{
    must_match("\\s+(?!\\S)", "a  b ", "a[ ] b[ ]");
    must_match("a(?=b)", "abac", "[a]bac");
    must_match("a(?!b)", "abac", "ab[a]c");
    must_match("\\d(?=(\\d{3})+(?!\\d))", "1234567", "[1]23[4]567");
    must_match("^a", "a\na", "[a]\n[a]");
    must_match("a$", "a\na", "[a]\n[a]");
    must_match("\\Aa|a\\z", "aaa", "[a]a[a]");
    must_match("\\bab\\b", "ab abc", "[ab] abc");
}

TEST(case_may_be_ignored)
{
    must_match("(?i:'s|'ll)", "x's'LL'S", "x['s]['LL]['S]");
    must_match("(?i:s)", "\xC5\xBF", "[\xC5\xBF]"); /* long s */
    must_match("(?i)ab(c)", "aBC", "[aBC]");
    must_match("(?i:a)b", "AbAB", "[Ab]AB");
    must_match("((?i)a)b", "AbAB", "[Ab]AB");
    must_match("(?i:[x-z])", "Y", "[Y]");
}

static void must_refuse(const char *source, enum bitnet_status status, const char *words)
{
    struct regex *regex;
    struct bitnet_error err = {0};
    assert_int_equal(regex_new(&regex, bitnet_str_of(source), &err), status);
    assert_null(regex);
    assert_text_has(err.text, words);
}

TEST(what_is_wrong_or_unknown_is_refused_with_its_place)
{
    must_refuse("(", BITNET_FORMAT, "position 1: a group without its closing parenthesis");
    must_refuse("a)", BITNET_FORMAT, "a closing parenthesis too many");
    must_refuse("[z-a]", BITNET_FORMAT, "runs backwards");
    must_refuse("[a", BITNET_FORMAT, "without its closing bracket");
    must_refuse("\\", BITNET_FORMAT, "lone backslash");
    must_refuse("*a", BITNET_FORMAT, "position 0: nothing to repeat");
    must_refuse("a{3,2}", BITNET_FORMAT, "runs backwards");
    must_refuse("a{1000000000}", BITNET_LIMIT, "repetition 1000000000 exceeds 1000");
    must_refuse("((a{1000}){1000}){1000}", BITNET_LIMIT, "more than 100000 states");
    must_refuse("\\p{Klingon}", BITNET_UNSUPPORTED, "Unicode property 'Klingon'");
    must_refuse("(a)\\1", BITNET_UNSUPPORTED, "back-reference");
    must_refuse("(?<=a)b", BITNET_UNSUPPORTED, "look-behind");
    must_refuse("[[:alpha:]]", BITNET_UNSUPPORTED, "POSIX");
    char deep[1001];
    memset(deep, '(', 1000);
    deep[1000] = '\0';
    must_refuse(deep, BITNET_FORMAT, "nested too deep");
}

static double find_all(const char *source, const char *unit, size_t count)
{
    struct regex *regex = compile(source);
    struct regex_work work = {0};
    size_t n = strlen(unit) * count, at = 0, begin, end;
    char *text = bitnet_alloc(n + 1, 1);
    for (size_t i = 0; i < count; i++) memcpy(text + i * strlen(unit), unit, strlen(unit));
    clock_t start = clock();
    assert_true(regex_text(regex, &work, (struct bitnet_str){text, n}));
    while (regex_find(regex, &work, at, &begin, &end)) at = end;
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_false(work.out_of_memory);
    bitnet_free(text);
    regex_work_free(&work);
    regex_free(regex);
    return seconds;
}

TEST(time_is_linear_whatever_the_expression)
{
    static const char *const sources[] = {"(a+)+b",        "(a|a)*b",         "(a*)*b",
                                          "a*a*a*b",       "a*b|a",           "(a|aa)+$b",
                                          "(.*)(.*)(.*)x", "\\s+(?!\\S)|\\s+"};
    for (size_t i = 0; i < COUNT(sources); i++) {
        assert_true(find_all(sources[i], "a", 200000) < 5);
        assert_true(find_all(sources[i], " ", 200000) < 5);
    }
}

TEST(every_failed_allocation_is_a_status)
{
    for (long n = 0;; n++) {
        struct regex *regex = NULL;
        struct regex_work work = {0};
        size_t begin, end;
        long live = bitnet_alloc_live();
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = regex_new(&regex, BITNET_STR("([a-z&&[^x]]+|(?=b)c)*?d"), NULL);
        bool ready = !status && regex_text(regex, &work, BITNET_STR("aaaaaaaad"));
        bool found = ready && regex_find(regex, &work, 0, &begin, &end);
        bool reached = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        if (reached) {
            assert_true(status == BITNET_MEMORY || work.out_of_memory);
            assert_false(found);
        }
        regex_work_free(&work);
        regex_free(regex);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!reached) {
            assert_true(found);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_classes_and_alternatives),
        cmocka_unit_test(unicode_properties),
        cmocka_unit_test(counts_are_greedy_lazy_or_possessive),
        cmocka_unit_test(look_ahead_and_anchors),
        cmocka_unit_test(case_may_be_ignored),
        cmocka_unit_test(what_is_wrong_or_unknown_is_refused_with_its_place),
        cmocka_unit_test(time_is_linear_whatever_the_expression),
        cmocka_unit_test(every_failed_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
