/* Texts that nobody writes and everybody sends: long runs of one character, bytes that are no
 * UTF-8, NUL, numbers beyond Unicode; every algorithm, every way of cutting. The answer is right
 * (text comes back, streams give whole characters), time grows as n log n at worst, and nothing
 * recurses with the text: all of it runs on a small stack. The first argument is the number of
 * kilobytes per text (128). */
#include "cm.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/text.h>

#include "vocabulary.h"

#if defined(__SANITIZE_ADDRESS__)
#    define STACK_BYTES ((size_t)4 << 20) /* its frames are larger */
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define STACK_BYTES ((size_t)4 << 20)
#    endif
#endif
#ifndef STACK_BYTES
#    define STACK_BYTES ((size_t)192 << 10)
#endif

static size_t n_bytes = 128 << 10;

/* ------------------------------------------------------------------ texts */

static const struct unit {
    const char *bytes;
    size_t n;
    bool is_utf8;
} units[] = {
    {"a", 1, true},
    {" ", 1, true},
    {"\n", 1, true},
    {"\t", 1, true},
    {"7", 1, true},
    {"-", 1, true},
    {"\0", 1, true},
    {"ab ", 3, true},
    {"e\xCC\x81", 3, true},
    {"\xCC\x81", 2, true},
    {"\xE4\xB8\x80", 3, true},
    {"\xE2\x96\x81", 3, true},
    {"\xF0\x9F\x98\x80", 4, true},
    {"\xF0\x9F\x91\xA8\xE2\x80\x8D", 7, true},
    {"\x80", 1, false},
    {"\xFF", 1, false},
    {"\xC3", 1, false},
    {"\xF0\x9F\x98", 3, false},
    {"\xC0\x80", 2, false},
    {"\xED\xA0\x80", 3, false},
    {"\xF4\x90\x80\x80", 4, false},
    {"\xF7\xBF\xBF\xBF", 4, false},
    {"a\xFE", 2, false},
};

static struct bitnet_str repeat(const struct unit *unit, size_t total)
{
    size_t n = total / unit->n;
    char *text = malloc(n * unit->n + 1);
    if (!text) abort();
    for (size_t i = 0; i < n; i++) memcpy(text + i * unit->n, unit->bytes, unit->n);
    return (struct bitnet_str){text, n * unit->n};
}

/* ------------------------------------------------------------------ one encoding */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct job {
    const struct bitnet_tokenizer *tokenizer;
    struct bitnet_str text;
    struct bitnet_tokens ids;
    struct bitnet_buf pieces, stream;
    double seconds;
    enum bitnet_status status;
    bool is_whole; /* what the stream gave was whole characters each time */
    struct bitnet_error err;
};

static void put_together(struct job *job)
{
    struct bitnet_stream stream = {0};
    job->is_whole = true;
    for (size_t i = 0; i <= job->ids.n; i++) {
        int32_t id = i < job->ids.n ? job->ids.at[i] : BITNET_NO_TOKEN;
        size_t before = job->stream.n;
        if (i < job->ids.n && !bitnet_token_piece(job->tokenizer, id, false, &job->pieces)) abort();
        if (!bitnet_stream_token(&stream, job->tokenizer, id, false, &job->stream)) abort();
        if (job->stream.n > before && !bitnet_utf8_valid((struct bitnet_str){
                                          job->stream.at + before, job->stream.n - before}))
            job->is_whole = false;
    }
}

static void *work(void *user)
{
    struct job *job = user;
    const struct bitnet_tokenize_options options = {.no_special = true, .parse_special = true};
    double start = now_s();
    job->status = bitnet_tokenize(job->tokenizer, job->text, &options, &job->ids, &job->err);
    job->seconds = now_s() - start;
    if (!job->status) put_together(job);
    return NULL;
}

static void on_small_stack(void *(*function)(void *), void *user)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstacksize(&attr, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attr, function, user), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
}

static void job_run(struct job *job, const struct bitnet_tokenizer *tokenizer,
                    struct bitnet_str text)
{
    *job = (struct job){.tokenizer = tokenizer,
                        .text = text,
                        .pieces.max = (size_t)1 << 30,
                        .stream.max = (size_t)1 << 30};
    on_small_stack(work, job);
}

static void job_free(struct job *job)
{
    bitnet_tokens_free(&job->ids);
    bitnet_buf_free(&job->pieces);
    bitnet_buf_free(&job->stream);
}

/* ------------------------------------------------------------------ what must be true */

enum round_trip {
    EXACT,    /* every byte comes back */
    REPLACED, /* every character does; what is no UTF-8 is U+FFFD */
    LOSSY     /* unknown characters and white space may be gone */
};

static struct bitnet_str str_of(const struct bitnet_buf *buf)
{
    return (struct bitnet_str){buf->n ? buf->at : "", buf->n};
}

/* SentencePiece's prefix space aside. */
static bool same_text(struct bitnet_str got, struct bitnet_str want)
{
    if (bitnet_str_equal(got, want)) return true;
    return got.n == want.n + 1 && got.at[0] == ' ' && memcmp(got.at + 1, want.at, want.n) == 0;
}

static void check_answer(const struct job *job, const char *name, const struct unit *unit,
                         enum round_trip trip)
{
    struct bitnet_str raw = {unit->bytes, unit->n};
    if (job->status) fail_msg("%s, %s: %s", name, BITNET_QUOTE(raw), job->err.text);
    for (size_t i = 0; i < job->ids.n; i++)
        assert_true(job->ids.at[i] >= 0 &&
                    (size_t)job->ids.at[i] < bitnet_tokenizer_size(job->tokenizer));
    if (!job->is_whole) fail_msg("%s, %s: a stream split a character", name, BITNET_QUOTE(raw));
    bool is_mark = strcmp(unit->bytes, "\xE2\x96\x81") == 0; /* SentencePiece reads it as a space */
    if (trip == LOSSY || (is_mark && trip == EXACT)) return;
    if (trip == EXACT || unit->is_utf8) {
        if (!is_mark && !same_text(str_of(&job->pieces), job->text))
            fail_msg("%s, %s: does not come back", name, BITNET_QUOTE(raw));
        if (unit->is_utf8 && !is_mark && job->stream.n != job->text.n &&
            job->stream.n != job->text.n + 1)
            fail_msg("%s, %s: the stream is shorter or longer", name, BITNET_QUOTE(raw));
        return;
    }
    if (!bitnet_utf8_valid(str_of(&job->pieces)) && unit->n == 1)
        fail_msg("%s, %s: comes back as no text", name, BITNET_QUOTE(raw));
}

/* Once more, for the time it takes when the machine is not busy with something else. */
static double again(const struct job *job)
{
    struct job other;
    job_run(&other, job->tokenizer, job->text);
    double seconds = other.seconds < job->seconds ? other.seconds : job->seconds;
    job_free(&other);
    return seconds;
}

/* Four times the text may take ten times as long, and a little; not sixteen times. */
static bool is_linear(const struct job *large, const struct job *small)
{
    return large->seconds <= 10 * small->seconds + 0.05;
}

static void check_time(struct job *large, const struct job *small, const char *name,
                       const struct unit *unit)
{
    struct bitnet_str raw = {unit->bytes, unit->n};
    for (int i = 0; i < 5 && !is_linear(large, small); i++) large->seconds = again(large);
    if (!is_linear(large, small))
        fail_msg("%s, %s: %.3f s for %zu bytes, %.3f s for %zu", name, BITNET_QUOTE(raw),
                 small->seconds, small->text.n, large->seconds, large->text.n);
}

static void check(struct bitnet_tokenizer *tokenizer, const char *name, enum round_trip trip)
{
    double slowest = 0;
    for (size_t i = 0; i < COUNT(units); i++) {
        struct job small, large;
        struct bitnet_str text = repeat(&units[i], n_bytes);
        size_t quarter = text.n / 4 / units[i].n * units[i].n;
        job_run(&small, tokenizer, (struct bitnet_str){text.at, quarter});
        job_run(&large, tokenizer, text);
        check_answer(&small, name, &units[i], trip);
        check_answer(&large, name, &units[i], trip);
        check_time(&large, &small, name, &units[i]);
        if (large.seconds > slowest) slowest = large.seconds;
        job_free(&small);
        job_free(&large);
        free((void *)(uintptr_t)text.at);
    }
    printf("  %-24s slowest %.1f MB/s\n", name, (double)n_bytes / slowest * 1e-6);
    bitnet_tokenizer_free(tokenizer);
}

/* ------------------------------------------------------------------ GGUF */

#define SPACE "\xE2\x96\x81"
#define G     "\xC4\xA0" /* a space in the byte alphabet */

static const struct vocabulary_token bpe_tokens[] = {{"aa", 1, 0},       {"aaaa", 1, 0},
                                                     {"aaaaaaaa", 1, 0}, {"ab", 1, 0},
                                                     {G "a", 1, 0},      {G G, 1, 0},
                                                     {G G G G, 1, 0},    {"77", 1, 0},
                                                     {"777", 1, 0},      {"--", 1, 0},
                                                     {"----", 1, 0},     {"<|x|>", 3, 0},
                                                     {"<user>", 4, 0},   {0}};
static const char *const bpe_merges[] = {"a a",       "aa aa", "aaaa aaaa", "a b", G " a",  G " " G,
                                         G G " " G G, "7 7",   "77 7",      "- -", "-- --", NULL};

TEST(byte_level_bpe_however_it_cuts)
{
    static const char *const names[] = {"gpt-2",          "llama-bpe", "qwen2",        "default",
                                        "falcon",         "starcoder", "deepseek-llm", "tekken",
                                        "deepseek-coder", "gpt-4o",    "deepseek-v3",  "poro-chat",
                                        "viking",         "chameleon", "afmoe",        "kimi-k2",
                                        "superbpe",       "youtu",     "exaone-moe",   "tiny_aya"};
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct vocabulary v = {.model = "gpt2",
                                     .pre = names[i],
                                     .tokens = bpe_tokens,
                                     .with_bytes = true,
                                     .merges = bpe_merges};
        check(vocabulary_open(&v, NULL), names[i], REPLACED);
    }
}

static const struct vocabulary_token spm_tokens[] = {
    {SPACE, 1, -1},          {"a", 1, -9},       {"b", 1, -9},         {"aa", 1, -2},
    {"aaaa", 1, -3},         {SPACE "a", 1, -4}, {SPACE SPACE, 1, -5}, {"7", 1, -9},
    {"\xE4\xB8\x80", 1, -6}, {"<s>", 3, 0},      {"<unk>", 2, 0},      {0}};

TEST(sentencepiece_bpe)
{
    const struct vocabulary_key keys[] = {{"tokenizer.ggml.bos_token_id", 'u', 265, NULL},
                                          {"tokenizer.ggml.eos_token_id", 'u', 265, NULL},
                                          {"tokenizer.ggml.unknown_token_id", 'u', 266, NULL},
                                          {0}};
    const struct vocabulary v = {
        .model = "llama", .tokens = spm_tokens, .with_bytes = true, .keys = keys};
    check(vocabulary_open(&v, NULL), "llama", EXACT);
}

TEST(unigram)
{
    static const struct vocabulary_token tokens[] = {
        {"<pad>", 3, 0},    {"</s>", 3, 0}, {"<unk>", 2, 0},     {SPACE, 1, -2}, {"a", 1, -3},
        {SPACE "a", 1, -2}, {"aa", 1, -4},  {"aaaaaaaa", 1, -5}, {"7", 1, -4},   {0}};
    const struct vocabulary_key keys[] = {{"tokenizer.ggml.add_space_prefix", 'b', 1, NULL}, {0}};
    const struct vocabulary v = {.model = "t5", .tokens = tokens, .keys = keys};
    check(vocabulary_open(&v, NULL), "t5", LOSSY);
}

TEST(wordpiece)
{
    static const struct vocabulary_token tokens[] = {
        {"[PAD]", 3, 0},   {"[UNK]", 3, 0}, {"[CLS]", 3, 0},   {"[SEP]", 3, 0},
        {SPACE "a", 1, 0}, {"a", 1, 0},     {"aa", 1, 0},      {"b", 1, 0},
        {SPACE "7", 1, 0}, {"7", 1, 0},     {SPACE "-", 1, 0}, {0}};
    const struct vocabulary_key keys[] = {{"tokenizer.ggml.bos_token_id", 'u', 2, NULL},
                                          {"tokenizer.ggml.seperator_token_id", 'u', 3, NULL},
                                          {"tokenizer.ggml.unknown_token_id", 'u', 1, NULL},
                                          {0}};
    const struct vocabulary v = {.model = "bert", .tokens = tokens, .keys = keys};
    check(vocabulary_open(&v, NULL), "bert", LOSSY);
}

TEST(rwkv)
{
    static struct vocabulary_token tokens[256 + 4];
    static char names[256][8];
    for (int i = 0; i < 256; i++) {
        snprintf(names[i], sizeof names[i], "\\x%02x", (unsigned)i);
        tokens[i + 1] = (struct vocabulary_token){.text = names[i]};
    }
    tokens[0] = (struct vocabulary_token){"<s>", 3, 0};
    tokens[257] = (struct vocabulary_token){.text = "aaaa"};
    tokens[258] = (struct vocabulary_token){.text = "\xE4\xB8\x80"};
    const struct vocabulary v = {.model = "rwkv", .tokens = tokens};
    check(vocabulary_open(&v, NULL), "rwkv", EXACT);
}

/* ------------------------------------------------------------------ tokenizer.json */

static struct bitnet_tokenizer *open_json(struct bitnet_str json)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (bitnet_tokenizer_from_json(&tokenizer, json, NULL, &err)) fail_msg("%s", err.text);
    return tokenizer;
}

TEST(every_structure_of_a_tokenizer_json)
{
    static const char *const names[] = {"gpt2", "llama2", "llama3", "qwen2", "starcoder"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[512];
        struct bitnet_str json;
        snprintf(path, sizeof path, BITNET_SOURCE_DIR "/tests/golden/tokenizers/%s.json", names[i]);
        assert_int_equal(bitnet_read_file(path, (size_t)1 << 24, &json, NULL), BITNET_OK);
        /* NFC joins e and its accent: the text is another. */
        check(open_json(json), names[i], strcmp(names[i], "qwen2") == 0 ? LOSSY : REPLACED);
        bitnet_free((void *)(uintptr_t)json.at);
    }
}

TEST(unigram_and_wordpiece_of_a_tokenizer_json)
{
    check(open_json(BITNET_STR(
              "{\"normalizer\":{\"type\":\"NFKC\"},\"pre_tokenizer\":{\"type\":\"Metaspace\","
              "\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"always\",\"split\":true},"
              "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1],"
              "[\"\xE2\x96\x81\",-2],[\"aa\",-1.5],[\"\xE2\x96\x81"
              "a\",-2.5]]}}")),
          "json unigram", LOSSY);
    check(open_json(BITNET_STR(
              "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
              "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
              "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{\"type\":"
              "\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
              "\"max_input_chars_per_word\":100000000,\"vocab\":{\"[UNK]\":0,\"a\":1,"
              "\"##a\":2,\"##b\":3,\"7\":4,\"##7\":5,\"##aaaa\":6}}}")),
          "json wordpiece", LOSSY);
}

/* ------------------------------------------------------------------ chat templates */

struct rendering {
    struct bitnet_str text, content;
    struct bitnet_buf out;
    enum bitnet_status status;
    double seconds;
    struct bitnet_error err;
};

static void *render(void *user)
{
    struct rendering *r = user;
    const struct bitnet_chat_message message = {BITNET_STR("user"), r->content};
    const struct bitnet_chat chat = {
        .text = r->text, .messages = &message, .n_messages = 1, .add_generation_prompt = true};
    double start = now_s();
    r->status = bitnet_chat_render(&chat, &r->out, &r->err);
    r->seconds = now_s() - start;
    return NULL;
}

TEST(chat_templates_take_any_content)
{
    static const char text[] =
        "{% for m in messages %}<{{ m['role'] | capitalize }}>{{ m['content'] | trim }}"
        "{{ m.content.replace('a', 'b') | length }}{% endfor %}"
        "{% if add_generation_prompt %}!{% endif %}";
    for (size_t i = 0; i < COUNT(units); i++) {
        struct rendering r = {.text = BITNET_STR(text),
                              .content = repeat(&units[i], n_bytes),
                              .out.max = (size_t)1 << 26};
        on_small_stack(render, &r);
        struct bitnet_str raw = {units[i].bytes, units[i].n};
        if (r.status) fail_msg("%s: %s", BITNET_QUOTE(raw), r.err.text);
        assert_true(r.out.n > 6 && r.out.at[r.out.n - 1] == '!');
        if (r.seconds > 2) fail_msg("%s: %.1f s", BITNET_QUOTE(raw), r.seconds);
        bitnet_buf_free(&r.out);
        free((void *)(uintptr_t)r.content.at);
    }
}

/* A template is a program from a stranger: nesting ends in an error, not at the end of a stack. */
TEST(chat_templates_of_one_character_end_in_words)
{
    static const char *const openings[] = {"{{",
                                           "{% if x %}",
                                           "{{ (",
                                           "{{ [",
                                           "{{ not not not ",
                                           "{% for a in b %}",
                                           "{{ -",
                                           "{{ a.b",
                                           "{{ a|b",
                                           "{{ {",
                                           "{%",
                                           "{#",
                                           "{{ '",
                                           "{{ a[",
                                           "{{ f("};
    static const struct unit fill[] = {{"(", 1, true},
                                       {"[", 1, true},
                                       {"{% if x %}", 10, true},
                                       {"not ", 4, true},
                                       {"-", 1, true},
                                       {".a", 2, true},
                                       {"|trim", 5, true},
                                       {"{", 1, true},
                                       {"a ~ ", 4, true},
                                       {"{% for a in b %}", 16, true},
                                       {"f(", 2, true},
                                       {"\\", 1, true},
                                       {"x if y else ", 12, true}};
    for (size_t i = 0; i < COUNT(openings); i++)
        for (size_t k = 0; k < COUNT(fill); k++) {
            struct bitnet_str run = repeat(&fill[k], 32 << 10);
            struct bitnet_buf text = {.max = (size_t)1 << 20};
            bitnet_buf_add_str(&text, bitnet_str_of(openings[i]));
            bitnet_buf_add_str(&text, run);
            struct rendering r = {
                .text = str_of(&text), .content = BITNET_STR("x"), .out.max = (size_t)1 << 20};
            on_small_stack(render, &r);
            assert_true(r.status == BITNET_OK || r.err.text[0]);
            assert_true(r.status == BITNET_OK || r.status == BITNET_FORMAT ||
                        r.status == BITNET_LIMIT || r.status == BITNET_UNSUPPORTED);
            bitnet_buf_free(&r.out);
            bitnet_buf_free(&text);
            free((void *)(uintptr_t)run.at);
        }
}

int main(int argc, char **argv)
{
    if (argc > 1) n_bytes = (size_t)strtoul(argv[1], NULL, 10) << 10;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level_bpe_however_it_cuts),
        cmocka_unit_test(sentencepiece_bpe),
        cmocka_unit_test(unigram),
        cmocka_unit_test(wordpiece),
        cmocka_unit_test(rwkv),
        cmocka_unit_test(every_structure_of_a_tokenizer_json),
        cmocka_unit_test(unigram_and_wordpiece_of_a_tokenizer_json),
        cmocka_unit_test(chat_templates_take_any_content),
        cmocka_unit_test(chat_templates_of_one_character_end_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
