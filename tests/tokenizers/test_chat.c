/* Chat templates: the renderings that Jinja2 gave (shared data), the language piece by piece, its
 * budget, and the prompts of BitNet 2B-4T down to their ids. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>
#include <bitnet/json.h>

#include "cases.h"
#include "jinja.h"
#include "skeleton.h"

static enum bitnet_status render(const char *template, const char *messages, const char *tools,
                                 struct bitnet_buf *out, struct bitnet_error *err)
{
    struct bitnet_arena arena = {0};
    struct bitnet_chat chat = {.text = bitnet_str_of(template),
                               .bos_token = BITNET_STR("<s>"),
                               .eos_token = BITNET_STR("</s>"),
                               .date = BITNET_STR("26 Jul 2024"),
                               .add_generation_prompt = true};
    const struct bitnet_json *json = NULL, *tool_json = NULL;
    assert_int_equal(bitnet_json_parse(&json, bitnet_str_of(messages), NULL, &arena, NULL), 0);
    if (tools)
        assert_int_equal(bitnet_json_parse(&tool_json, bitnet_str_of(tools), NULL, &arena, NULL),
                         0);
    chat.messages_json = json;
    chat.tools = tool_json;
    *err = (struct bitnet_error){0};
    enum bitnet_status status = bitnet_chat_render(&chat, out, err);
    bitnet_arena_free(&arena);
    return status;
}

static void must_render(const char *template, const char *want)
{
    struct bitnet_buf out = {.max = 1 << 20};
    struct bitnet_error err;
    if (render(template, "[{\"role\":\"user\",\"content\":\" Hi \"}]", NULL, &out, &err))
        fail_msg("%s: %s", template, err.text);
    if (!bitnet_str_is((struct bitnet_str){out.at, out.n}, want))
        fail_msg("%s gives \"%.*s\", want \"%s\"", template, (int)out.n, out.n ? out.at : "", want);
    bitnet_buf_free(&out);
}

static void must_fail(const char *template, enum bitnet_status status, const char *words)
{
    struct bitnet_buf out = {.max = 1 << 20};
    struct bitnet_error err;
    assert_int_equal(
        render(template, "[{\"role\":\"user\",\"content\":\" Hi \"}]", NULL, &out, &err), status);
    assert_text_has(err.text, words);
    bitnet_buf_free(&out);
}

TEST(expressions)
{
    must_render("{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }}",
                "7 3 -4 2 3.5");
    must_render("{{ 'a' ~ 1 ~ none }} {{ 'a' + \"b\" }} {{ [1] + [2, 'x'] }}",
                "a1None ab [1, 2, 'x']");
    must_render("{{ 1 < 2 and not 2 < 1 or false }} {{ 'x' in 'xyz' }} {{ 3 not in [1, 2] }}",
                "True True True");
    must_render("{{ 'yes' if messages else 'no' }}{{ 'no' if false }}", "yes");
    must_render("{{ 'abcd'[1:3] }}{{ 'abc'[-1] }}{{ [1,2,3][::-1] }}{{ 'abc'[:-1] }}",
                "bcc[3, 2, 1]ab");
    must_render("{{ {'a': 1, 'b': [true, none]} }}", "{'a': 1, 'b': [True, None]}");
    must_render("{{ 'it\\'s\\n' }}|{{ \"\\u00e9\" }}", "it's\n|\xC3\xA9");
    must_render("{{ missing }}{{ messages[9] }}{{ messages[0].missing }}", "");
    must_render("{{ 1.0 }} {{ 0.1 }}", "1.0 0.1");
}

TEST(filters_tests_and_methods)
{
    must_render("{{ ' a '|trim }}{{ 'aB'|capitalize }}{{ 'ab'|upper }}{{ 'AB'|lower }}", "aAbABab");
    must_render("{{ [1,2]|length }}{{ x|default('d') }}{{ ''|default('e', true) }}", "2de");
    must_render("{{ [1,'a']|join('-') }} {{ [3,4]|first }} {{ [3,4]|last }}", "1-a 3 4");
    must_render("{{ {'a':[1,{'b':none}],'c':\"\\u00e9\\\"\"}|tojson }}",
                "{\"a\": [1, {\"b\": null}], \"c\": \"\xC3\xA9\\\"\"}");
    must_render("{{ {'a':[1],'b':{}}|tojson(indent=2) }}",
                "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}");
    must_render("{{ messages|selectattr('role','equalto','user')|list|length }}"
                "{{ [1,2,3]|reject('odd')|list }}{{ messages|map(attribute='role')|join }}",
                "1[2]user");
    must_render("{{ 'a,b,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }}",
                "['a', 'b', 'c'] ['a', 'b'] ['a', 'b c']");
    must_render("{{ 'xxaxx'.strip('x') }}{{ 'aab'.replace('a','c') }}{{ 'ab'.startswith('a') }}",
                "accbTrue");
    must_render("{% for k, v in {'a':1,'b':2}.items() %}{{k}}={{v}};{% endfor %}", "a=1;b=2;");
    must_render("{{ none is none }}{{ 1 is string }}{{ 'a' is not number }}{{ 4 is even }}",
                "TrueFalseTrueTrue");
    must_render("{{ {'a':1}.get('b', 5) }}{{ 'b' in {'b':1} }}", "5True");
}

TEST(statements_and_scopes)
{
    must_render("{% for i in [1,2,3] %}{{ loop.index }}{{ loop.last }}{% endfor %}",
                "1False2False3True");
    must_render("{% for i in [] %}x{% else %}none{% endfor %}", "none");
    must_render("{% for i in range(5) if i is odd %}{{ i }}{% endfor %}", "13");
    must_render("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}"
                "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
                "013");
    /* What a loop sets ends with it; a namespace lives on. */
    must_render("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", "1");
    must_render("{% set n = namespace(x=1) %}{% for i in [1] %}{% set n.x = 2 %}{% endfor %}"
                "{{ n.x }}",
                "2");
    must_render("{% if true %}{% set x = 3 %}{% endif %}{{ x }}", "3");
    must_render("{% set x %}a{{ 1 }}{% endset %}{{ x }}", "a1");
    must_render("{% macro f(a, b='d') %}<{{ a }}{{ b }}>{% endmacro %}{{ f(1) }}{{ f(1, b=2) }}",
                "<1d><12>");
    must_render("{% raw %}{{ x }}{% endraw %}", "{{ x }}");
    must_render("{{ strftime_now('%d %b %Y') }}{{ bos_token }}", "26 Jul 2024<s>");
}

TEST(white_space_is_controlled_as_transformers_does)
{
    must_render("a\n{% if true %}\nb\n{% endif %}\nc\n", "a\nb\nc");
    must_render("a\n    {% if true %}\n  b\n  {% endif %}\nc", "a\n  b\nc");
    must_render("a  {{- 'b' -}}  c", "abc");
    must_render("a {%- if true -%} \n b {%- endif %} c", "ab c");
    must_render("a\n  {# note #}\nb", "a\nb");
    must_render("a {# note #} b", "a  b");
    must_render("x {%+ if true %}y{% endif %}", "x y");
}

TEST(what_a_template_does_wrong_is_named)
{
    must_fail("{{ raise_exception('no system') }}", BITNET_FORMAT, "no system");
    must_fail("{% include 'x' %}", BITNET_UNSUPPORTED, "'include' is not supported");
    must_fail("{{ 1|nope }}", BITNET_UNSUPPORTED, "filter 'nope'");
    must_fail("{{ 1 is nope }}", BITNET_UNSUPPORTED, "test 'nope'");
    must_fail("{{ nope(1) }}", BITNET_UNSUPPORTED, "function 'nope'");
    must_fail("{{ ''.__class__.__mro__ }}", BITNET_FORMAT, "'__class__' is undefined");
    must_fail("{% if true %}", BITNET_FORMAT, "is missing");
    must_fail("{{ 'a", BITNET_FORMAT, "not closed");
    must_fail("\n\n{{ 1 + 'a' }}", BITNET_FORMAT, "line 3: this is not defined");
    must_fail("{{ missing + 'a' }}", BITNET_FORMAT, "'missing' is undefined");
    must_fail("{{ 1 // 0 }}", BITNET_LIMIT, "out of range");
}

TEST(a_template_has_a_budget)
{
    must_fail("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
              BITNET_LIMIT, "more than");
    must_fail("{% for i in range(1000000000) %}{% endfor %}", BITNET_LIMIT, "range");
    must_fail("{% set n = namespace(x='aaaaaaaa') %}{% for i in range(64) %}"
              "{% set n.x = n.x + n.x %}{% endfor %}",
              BITNET_LIMIT, "memory");
    must_fail("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", BITNET_LIMIT, "too deep");
    char deep[4001];
    memset(deep, '(', 4000);
    memcpy(deep, "{{", 2);
    deep[4000] = '\0';
    must_fail(deep, BITNET_FORMAT, "");
    for (size_t i = 2; i < 3996; i++) deep[i] = i < 2000 ? '[' : ']';
    memcpy(deep + 3996, " }}", 4);
    must_fail(deep, BITNET_FORMAT, "nested too deep");
}

/* ------------------------------------------------------------------ shared renderings */

static struct bitnet_str member(const struct bitnet_json *object, const char *name)
{
    const struct bitnet_json *node = bitnet_json_get(object, name);
    return node && node->kind == BITNET_JSON_STRING ? node->text : (struct bitnet_str){0};
}

static const struct bitnet_json *named(const struct bitnet_json *object, struct bitnet_str name)
{
    const struct bitnet_json *node = object->child;
    while (node && !bitnet_str_equal(node->key, name)) node = node->next;
    return node;
}

/* One row: the rendering, or the error, is the stored one. */
static bool agrees(const struct bitnet_json *row, const struct bitnet_json *templates,
                   const struct bitnet_json *conversations)
{
    const struct bitnet_json *made = named(templates, member(row, "template"));
    const struct bitnet_json *vars = bitnet_json_get(made, "vars");
    struct bitnet_chat chat = {.text = member(made, "template"),
                               .messages_json = named(conversations, member(row, "conversation")),
                               .bos_token = member(vars, "bos_token"),
                               .eos_token = member(vars, "eos_token"),
                               .date = BITNET_STR("26 Jul 2024"),
                               .add_generation_prompt =
                                   bitnet_json_get(row, "add_generation_prompt")->boolean};
    struct bitnet_buf out = {.max = 1 << 20};
    struct bitnet_error err = {0};
    enum bitnet_status status = bitnet_chat_render(&chat, &out, &err);
    struct bitnet_str want = member(row, "text"), error = member(row, "error");
    bool same = error.at
                    ? status == BITNET_FORMAT && strstr(err.text, "the template says") &&
                          memmem(err.text, strlen(err.text), error.at, error.n < 60 ? error.n : 60)
                    : !status && bitnet_str_equal((struct bitnet_str){out.at, out.n}, want);
    if (!same)
        fprintf(stderr, "  %.*s, %.*s: %s\n    got  %.*s\n    want %.*s\n",
                BITNET_STR_ARGS(member(row, "template")),
                BITNET_STR_ARGS(member(row, "conversation")), err.text, (int)out.n,
                out.n ? out.at : "", BITNET_STR_ARGS(want));
    bitnet_buf_free(&out);
    return same;
}

TEST(every_stored_rendering_is_equal)
{
    struct bitnet_arena arena = {0};
    const struct bitnet_json *templates, *conversations, *row;
    size_t n_equal = 0, n_different = 0;
    if (!cases_are_there()) {
        printf("skipped: shared/data/tokenizers, chat renderings\n");
        skip();
    }
    struct bitnet_str t = cases_file("chat/templates.json");
    struct bitnet_str c = cases_file("chat/conversations.json");
    struct bitnet_str rows = cases_file("chat/rendered.jsonl");
    assert_int_equal(bitnet_json_parse(&templates, t, NULL, &arena, NULL), BITNET_OK);
    assert_int_equal(bitnet_json_parse(&conversations, c, NULL, &arena, NULL), BITNET_OK);
    for (const char *at = rows.at, *end; (end = strchr(at, '\n')); at = end + 1) {
        struct bitnet_str line = {at, (size_t)(end - at)};
        assert_int_equal(bitnet_json_parse(&row, line, NULL, &arena, NULL), BITNET_OK);
        if (!bitnet_json_get(row, "template")) continue;
        *(agrees(row, templates, conversations) ? &n_equal : &n_different) += 1;
    }
    printf("  chat/rendered.jsonl: %zu equal, %zu different\n", n_equal, n_different);
    assert_int_equal(n_different, 0);
    assert_true(n_equal >= 158);
    bitnet_free((void *)(uintptr_t)t.at);
    bitnet_free((void *)(uintptr_t)c.at);
    bitnet_free((void *)(uintptr_t)rows.at);
    bitnet_arena_free(&arena);
}

/* ------------------------------------------------------------------ down to the ids */

static void must_tokenize(const struct bitnet_tokenizer *tokenizer, const char *text,
                          const int32_t *want, size_t n)
{
    static const struct bitnet_tokenize_options options = {.no_special = true,
                                                           .parse_special = true};
    struct bitnet_tokens got = {0};
    assert_int_equal(bitnet_tokenize(tokenizer, bitnet_str_of(text), &options, &got, NULL), 0);
    assert_int_equal(got.n, n);
    assert_memory_equal(got.at, want, n * sizeof *want);
    bitnet_tokens_free(&got);
}

TEST(a_prompt_of_bitnet_2b_4t_has_the_stored_ids)
{
    static const int32_t joint[] = {1502, 25, 22691, 128009, 72803, 25, 220};
    static const int32_t head[] = {1502, 25, 220}, content[] = {9906};
    if (!cases_are_there()) {
        printf("skipped: shared/data/tokenizers, prompt ids of BitNet 2B-4T\n");
        skip();
    }
    struct bitnet_str json = skeleton_llama3();
    struct bitnet_tokenizer *tokenizer;
    assert_int_equal(bitnet_tokenizer_from_json(&tokenizer, json, NULL, NULL), BITNET_OK);
    must_tokenize(tokenizer, "User: Hello<|eot_id|>Assistant: ", joint, COUNT(joint));
    must_tokenize(tokenizer, "User: ", head, COUNT(head));
    must_tokenize(tokenizer, "Hello", content, COUNT(content));
    bitnet_tokenizer_free(tokenizer);
    bitnet_free((void *)(uintptr_t)json.at);
}

/* The committed small model has the chat template of the 2B-4T. */
TEST(the_small_models_own_template_makes_its_prompt)
{
    static const struct bitnet_chat_message messages[] = {
        {{"system", 6}, {" Be brief. ", 11}},
        {{"user", 4}, {"Hello", 5}},
    };
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_buf out = {.max = 4096};
    struct bitnet_error err;
    if (bitnet_tokenizer_from_dir(&tokenizer, BITNET_SOURCE_DIR "/models/tiny", 0, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(bitnet_chat_prompt(tokenizer, messages, COUNT(messages), true, &out, &err),
                     BITNET_OK);
    assert_true(bitnet_str_is((struct bitnet_str){out.at, out.n},
                              "System: Be brief.<|eot_id|>User: Hello<|eot_id|>Assistant: "));
    bitnet_buf_free(&out);
    bitnet_tokenizer_free(tokenizer);
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
        cmocka_unit_test(expressions),
        cmocka_unit_test(filters_tests_and_methods),
        cmocka_unit_test(statements_and_scopes),
        cmocka_unit_test(white_space_is_controlled_as_transformers_does),
        cmocka_unit_test(what_a_template_does_wrong_is_named),
        cmocka_unit_test(a_template_has_a_budget),
        cmocka_unit_test(every_stored_rendering_is_equal),
        cmocka_unit_test(a_prompt_of_bitnet_2b_4t_has_the_stored_ids),
        cmocka_unit_test(the_small_models_own_template_makes_its_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
