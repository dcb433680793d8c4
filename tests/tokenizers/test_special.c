/* Special tokens, rule by rule (tokenizers.md sections 2 and 9), on small vocabularies of our own:
 * what is cut out of a text and when, which white space goes with it, what is put around a text,
 * what ends a generation. */
#include "cm.h"

#include <bitnet/alloc.h>
#include <bitnet/text.h>

#include "ids_text.h"
#include "vocabulary.h"

/* The ids of a text, as words: "256 104 260". */

/* ------------------------------------------------------------------ llama.cpp: cutting */

/* 256 <a>, 257 <a><b>, 258 <b>, 259 <user>, 260 <unk>, 261 plain, 262 unused, 263 Ġ<b> */
static const struct vocabulary_token cut_tokens[] = {
    {"<a>", 3, 0},      {"<a><b>", 3, 0},    {"<b>", 3, 0},
    {"<user>", 4, 0},   {"<unk>", 2, 0},     {"<plain>", 1, 0},
    {"<unused>", 5, 0}, {"<user><b>", 3, 0}, {0}};
static const char *const no_merges[] = {"a b", NULL};
static const struct vocabulary cutting = {
    .model = "gpt2", .pre = "gpt-2", .tokens = cut_tokens, .with_bytes = true, .merges = no_merges};

TEST(control_and_unknown_tokens_are_cut_only_when_asked_for)
{
    struct bitnet_tokenizer *t = vocabulary_open(&cutting, NULL);
    IDS(t, "x<a>", &parsed, "120 256");
    IDS(t, "x<a>", &bare, "120 60 97 62");
    IDS(t, "<unk>", &parsed, "260");
    IDS(t, "<unk>", &bare, "60 117 110 107 62");
    bitnet_tokenizer_free(t);
}

TEST(user_defined_tokens_are_always_cut)
{
    struct bitnet_tokenizer *t = vocabulary_open(&cutting, NULL);
    IDS(t, "x<user>y", &bare, "120 259 121");
    IDS(t, "x<user>y", &parsed, "120 259 121");
    bitnet_tokenizer_free(t);
}

TEST(normal_and_unused_tokens_are_never_cut)
{
    struct bitnet_tokenizer *t = vocabulary_open(&cutting, NULL);
    IDS(t, "<plain>", &parsed, "60 112 108 97 105 110 62");
    IDS(t, "<unused>", &parsed, "60 117 110 117 115 101 100 62");
    bitnet_tokenizer_free(t);
}

/* Not the leftmost: the longest of all, over the whole text, then the next. */
TEST(the_longest_token_is_cut_first)
{
    struct bitnet_tokenizer *t = vocabulary_open(&cutting, NULL);
    IDS(t, "<a><b>", &parsed, "257");
    IDS(t, "<a><a><b><b>", &parsed, "256 257 258");
    IDS(t, "<user><b>", &parsed, "263");
    IDS(t, "<user><b>", &bare, "259 60 98 62"); /* the longer one is control */
    bitnet_tokenizer_free(t);
}

/* ------------------------------------------------------------------ llama.cpp: white space */

static struct bitnet_tokenizer *open_with(const struct vocabulary *vocabulary, const char *pre,
                                          const struct vocabulary_key *keys)
{
    struct vocabulary v = *vocabulary;
    if (pre) v.pre = pre;
    v.keys = keys;
    return vocabulary_open(&v, NULL);
}

static const struct vocabulary_token strip_tokens[] = {{"<mask>", 3, 0}, {"<|end|>", 3, 0},
                                                       {"<s>", 3, 0},    {"<|endoftext|>", 3, 0},
                                                       {"<unk>", 2, 0},  {0}};
static const struct vocabulary stripping = {.model = "gpt2",
                                            .pre = "gpt-2",
                                            .tokens = strip_tokens,
                                            .with_bytes = true,
                                            .merges = no_merges};

TEST(jina_s_mask_swallows_the_space_in_front)
{
    static const char *const names[] = {"jina-v2-de", "jina-v2-es", "jina-v2-code"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct bitnet_tokenizer *t = open_with(&stripping, names[i], NULL);
        IDS(t, "a \n\t<mask> b", &parsed, "97 256 32 98");
        IDS(t, "a <s> b", &parsed, "97 32 258 32 98");
        bitnet_tokenizer_free(t);
    }
    struct bitnet_tokenizer *t = open_with(&stripping, "gpt-2", NULL);
    IDS(t, "a <mask>", &parsed, "97 32 256");
    bitnet_tokenizer_free(t);
}

TEST(phi_3_s_tokens_swallow_what_follows_but_three_do_not)
{
    static const char *const names[] = {"Phi-3-mini", "my phi3 tune", "PHI-3"};
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct vocabulary_key keys[] = {{"general.name", 's', 0, names[i]}, {0}};
        struct bitnet_tokenizer *t = open_with(&stripping, NULL, keys);
        IDS(t, "<|end|> \n\v\f\r\ta", &parsed, "257 97");
        IDS(t, " <|end|>a", &parsed, "32 257 97");
        IDS(t, "<s> a", &parsed, "258 32 97");
        IDS(t, "<|endoftext|> a", &parsed, "259 32 97");
        IDS(t, "<unk> a", &parsed, "260 32 97");
        bitnet_tokenizer_free(t);
    }
    const struct vocabulary_key other[] = {{"general.name", 's', 0, "Phi-2"}, {0}};
    struct bitnet_tokenizer *t = open_with(&stripping, NULL, other);
    IDS(t, "<|end|> a", &parsed, "257 32 97");
    bitnet_tokenizer_free(t);
}

/* ------------------------------------------------------------------ llama.cpp: around a text */

#define SPACE "\xE2\x96\x81"

/* Bytes are 0 to 255: 256 U+2581, 257 <s>, 258 </s>, 259 a, 260 U+2581 a */
static const struct vocabulary_token spm_tokens[] = {
    {SPACE, 1, -1}, {"<s>", 3, 0}, {"</s>", 3, 0}, {"a", 1, -2}, {SPACE "a", 1, -1}, {0}};
#define SPM_IDS                                                                                    \
    {"tokenizer.ggml.bos_token_id", 'u', 257, NULL},                                               \
        {"tokenizer.ggml.eos_token_id", 'u', 258, NULL},                                           \
    {                                                                                              \
        "tokenizer.ggml.unknown_token_id", 'u', 257, NULL                                          \
    }
static const struct vocabulary spm = {.model = "llama", .tokens = spm_tokens, .with_bytes = true};

TEST(spm_puts_bos_in_front_by_default_and_a_space_behind_every_special_token)
{
    const struct vocabulary_key keys[] = {SPM_IDS, {0}};
    struct bitnet_tokenizer *t = open_with(&spm, NULL, keys);
    IDS(t, "a", NULL, "257 260");
    IDS(t, "a", &bare, "260");
    IDS(t, "", NULL, "257");
    IDS(t, "a<s>a", &parsed, "260 257 260");
    IDS(t, "a</s>", &parsed, "260 258");
    bitnet_tokenizer_free(t);
}

TEST(flags_of_the_file_decide_what_is_put_around)
{
    const struct vocabulary_key none[] = {SPM_IDS,
                                          {"tokenizer.ggml.add_bos_token", 'b', 0, NULL},
                                          {"tokenizer.ggml.add_eos_token", 'b', 1, NULL},
                                          {"tokenizer.ggml.add_space_prefix", 'b', 0, NULL},
                                          {0}};
    struct bitnet_tokenizer *t = open_with(&spm, NULL, none);
    IDS(t, "a", NULL, "259 258");
    IDS(t, "a", &bare, "259");
    bitnet_tokenizer_free(t);
}

TEST(byte_level_vocabularies_go_by_the_name_of_their_pre_tokenizer)
{
    const struct vocabulary_key ids[] = {{"tokenizer.ggml.bos_token_id", 'u', 256, NULL},
                                         {"tokenizer.ggml.eos_token_id", 'u', 258, NULL},
                                         {0}};
    static const struct {
        const char *pre, *words;
    } rows[] = {{"llama-bpe", "256 120"}, {"falcon3", "256 120"}, {"tekken", "256 120"},
                {"chameleon", "256 120"}, {"gpt-2", "120"},       {"qwen2", "120"},
                {"falcon", "120"},        {"smaug-bpe", "120"},   {"chatglm-bpe", "120"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bitnet_tokenizer *t = open_with(&cutting, rows[i].pre, ids);
        IDS(t, "x", NULL, rows[i].words);
        bitnet_tokenizer_free(t);
    }
    /* This name has no bos, whatever the file says. */
    struct bitnet_tokenizer *t = open_with(&cutting, "chatglm-bpe", ids);
    assert_int_equal(bitnet_tokenizer_special(t)->bos, BITNET_NO_TOKEN);
    bitnet_tokenizer_free(t);
}

/* The reference warns and doubles it too: the chat road passes no_special. */
TEST(a_text_that_begins_with_bos_gets_another)
{
    const struct vocabulary_key keys[] = {SPM_IDS, {0}};
    const struct bitnet_tokenize_options both = {.parse_special = true};
    struct bitnet_tokenizer *t = open_with(&spm, NULL, keys);
    IDS(t, "<s>a", &both, "257 257 260");
    IDS(t, "<s>a", &parsed, "257 260");
    bitnet_tokenizer_free(t);
}

/* 0 [PAD] ... WordPiece has cls and sep around every text, T5 an end, RWKV nothing. */
TEST(other_kinds_have_their_own_rules)
{
    static const struct vocabulary_token words[] = {
        {"[PAD]", 3, 0}, {"[UNK]", 3, 0}, {"[CLS]", 3, 0}, {"[SEP]", 3, 0}, {SPACE "a", 1, 0}, {0}};
    const struct vocabulary_key bert[] = {{"tokenizer.ggml.bos_token_id", 'u', 2, NULL},
                                          {"tokenizer.ggml.seperator_token_id", 'u', 3, NULL},
                                          {"tokenizer.ggml.unknown_token_id", 'u', 1, NULL},
                                          {"tokenizer.ggml.padding_token_id", 'u', 0, NULL},
                                          {0}};
    const struct vocabulary wordpiece = {.model = "bert", .tokens = words, .keys = bert};
    struct bitnet_tokenizer *t = vocabulary_open(&wordpiece, NULL);
    IDS(t, "A b", NULL, "2 4 1 3");
    IDS(t, "A b", &bare, "4 1");
    bitnet_tokenizer_free(t);

    static const struct vocabulary_token t5_tokens[] = {
        {"<pad>", 3, 0}, {"</s>", 3, 0}, {"<unk>", 2, 0}, {SPACE, 1, -2}, {SPACE "a", 1, -1}, {0}};
    const struct vocabulary_key t5_keys[] = {{"tokenizer.ggml.add_space_prefix", 'b', 1, NULL},
                                             {0}};
    const struct vocabulary t5 = {.model = "t5", .tokens = t5_tokens, .keys = t5_keys};
    t = vocabulary_open(&t5, NULL);
    IDS(t, "a", NULL, "4 1");
    IDS(t, "a", &bare, "4");
    bitnet_tokenizer_free(t);

    static const struct vocabulary_token rwkv_tokens[] = {
        {"<s>", 3, 0}, {"a", 1, 0}, {"\\n", 1, 0}, {"\\x00", 1, 0}, {0}};
    const struct vocabulary rwkv = {.model = "rwkv", .tokens = rwkv_tokens};
    t = vocabulary_open(&rwkv, NULL);
    IDS(t, "a\na", NULL, "1 2 1");
    bitnet_tokenizer_free(t);
}

/* ------------------------------------------------------------------ what ends a generation */

static const struct vocabulary_token end_tokens[] = {
    {"<|eot_id|>", 1, 0},   {"<|im_end|>", 3, 0},
    {"<|end|>", 4, 0},      {"<end_of_turn>", 3, 0},
    {"<EOT>", 3, 0},        {"<|endoftext|>", 3, 0},
    {"_<EOT>", 3, 0},       {"<|eom_id|>", 3, 0},
    {"<|fim_pad|>", 3, 0},  {"<|repo_name|>", 3, 0},
    {"<|file_sep|>", 3, 0}, {"<|fim_prefix|>", 3, 0},
    {"other", 3, 0},        {"end by key", 3, 0},
    {"eot by key", 3, 0},   {"eom by key", 3, 0},
    {"pad by key", 3, 0},   {"rep by key", 3, 0},
    {"sep by key", 3, 0},   {0}};
static const struct vocabulary ending = {
    .model = "gpt2", .pre = "gpt-2", .tokens = end_tokens, .with_bytes = true, .merges = no_merges};

TEST(every_text_that_ends_a_generation_is_known)
{
    const struct vocabulary_key keys[] = {{"tokenizer.ggml.eos_token_id", 'u', 269, NULL},
                                          {"tokenizer.ggml.eot_token_id", 'u', 270, NULL},
                                          {"tokenizer.ggml.eom_token_id", 'u', 271, NULL},
                                          {"tokenizer.ggml.fim_pad_token_id", 'u', 272, NULL},
                                          {"tokenizer.ggml.fim_rep_token_id", 'u', 273, NULL},
                                          {"tokenizer.ggml.fim_sep_token_id", 'u', 274, NULL},
                                          {0}};
    struct bitnet_tokenizer *t = open_with(&ending, NULL, keys);
    for (int32_t id = 256; id <= 274; id++) {
        bool ends = id != 267 && id != 268;
        if (bitnet_token_is_eog(t, id) != ends)
            fail_msg("token %d, %s: %s", (int)id, end_tokens[id - 256].text,
                     ends ? "does not end a generation" : "ends a generation");
    }
    assert_int_equal(bitnet_tokenizer_special(t)->eot, 270);
    assert_false(bitnet_token_is_eog(t, 97));
    assert_false(bitnet_token_is_eog(t, -1));
    assert_false(bitnet_token_is_eog(t, 100000));
    bitnet_tokenizer_free(t);
}

/* A token known by its text becomes control, which changes how text is read. */
TEST(known_texts_become_control_tokens_and_the_first_is_eot)
{
    struct bitnet_tokenizer *t = open_with(&ending, NULL, NULL);
    assert_int_equal(bitnet_token_type(t, 256), BITNET_TOKEN_CONTROL);
    assert_int_equal(bitnet_token_type(t, 258), BITNET_TOKEN_CONTROL);
    assert_int_equal(bitnet_tokenizer_special(t)->eot, 256);
    IDS(t, "<|end|>", &parsed, "258");
    IDS(t, "<|end|>", &bare, "60 124 101 110 100 124 62");
    bitnet_tokenizer_free(t);
}

/* ------------------------------------------------------------------ Hugging Face */

#define LETTERS                "\"a\":0,\"b\":1,\"<\":2,\">\":3,\"x\":4,\"\xE2\x96\x81\":5,\"u\":6,\"n\":7"
#define ADDED(id, text, flags) "{\"id\":" #id ",\"content\":\"" text "\"" flags "}"
#define JSON(normalizer, post, added)                                                              \
    "{\"added_tokens\":[" added "],\"normalizer\":" normalizer ",\"pre_tokenizer\":null,"          \
    "\"post_processor\":" post                                                                     \
    ",\"decoder\":null,\"model\":{\"type\":\"BPE\",\"unk_token\":\"u\","                           \
    "\"vocab\":{" LETTERS "},\"merges\":[]}}"

static struct bitnet_tokenizer *json(const char *text)
{
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (bitnet_tokenizer_from_json(&tokenizer, bitnet_str_of(text), NULL, &err))
        fail_msg("%s: %s", err.text, text);
    return tokenizer;
}

/* A space is unknown here: "u", 6. */
static void check_json(const char *text, const char *input, const char *words)
{
    struct bitnet_tokenizer *t = json(text);
    IDS(t, input, &bare, words);
    IDS(t, input, &parsed, words); /* Hugging Face asks nobody */
    bitnet_tokenizer_free(t);
}

#define SPECIAL ",\"special\":true"

TEST(added_tokens_of_a_tokenizer_json_are_always_cut)
{
    check_json(JSON("null", "null", ADDED(8, "<a>", SPECIAL)), "x<a>b", "4 8 1");
    check_json(JSON("null", "null", ADDED(8, "<a>", "")), "x<a>b", "4 8 1");
}

/* The leftmost, and there the longest. */
TEST(added_tokens_are_found_leftmost_longest)
{
    static const char text[] = JSON(
        "null", "null",
        ADDED(8, "<a>", SPECIAL) "," ADDED(9, "<a><b>", SPECIAL) "," ADDED(10, "><b><", SPECIAL));
    check_json(text, "<a><b>", "9");
    check_json(text, "<a><b><", "9 2");
    check_json(text, "a><b><", "0 10");
}

TEST(lstrip_and_rstrip_swallow_white_space)
{
    check_json(JSON("null", "null", ADDED(8, "<a>", SPECIAL ",\"lstrip\":true")), "x \n<a> b",
               "4 8 6 1");
    check_json(JSON("null", "null", ADDED(8, "<a>", SPECIAL ",\"rstrip\":true")), "x <a>\t\n b",
               "4 6 8 1");
    check_json(JSON("null", "null", ADDED(8, "<a>", SPECIAL ",\"lstrip\":true,\"rstrip\":true")),
               "x \xC2\xA0<a>\xE2\x80\x83 b", "4 8 1"); /* all of Unicode's white space */
    check_json(JSON("null", "null", ADDED(8, "<a>", SPECIAL)), "x <a> b", "4 6 8 6 1");
}

TEST(single_word_tokens_stand_alone)
{
    static const char text[] = JSON("null", "null", ADDED(8, "ab", ",\"single_word\":true"));
    check_json(text, "ab", "8");
    check_json(text, "<ab>", "2 8 3");
    check_json(text, "xab", "4 0 1");
    check_json(text, "abx", "0 1 4");
    check_json(text, "ab\xE2\x80\x8D", "0 1 6"); /* the joiner is a part of words */
    check_json(text, "ab\xE2\x93\x90", "0 1 6"); /* so is a letter in a circle */
    check_json(text, "ab\xE2\x80\x8B", "8 6");   /* a space without width is not */
}

/* A token with normalized:true is looked for in the normalized text, in its normalized form. */
TEST(normalized_tokens_are_looked_for_after_the_normalizer)
{
#define LOWER "{\"type\":\"Lowercase\"}"
    check_json(JSON(LOWER, "null", ADDED(8, "<A>", ",\"normalized\":true")), "<a><A>", "8 8");
    check_json(JSON(LOWER, "null", ADDED(8, "<A>", ",\"normalized\":false")), "<A><a>", "8 2 0 3");
    /* Special ones are not normalized unless they say so; ordinary ones are. */
    check_json(JSON(LOWER, "null", ADDED(8, "<A>", SPECIAL)), "<A><a>", "8 2 0 3");
    check_json(JSON(LOWER, "null", ADDED(8, "<A>", "")), "<A><a>", "8 8");
}

/* A character map of one entry, a half becomes "a", in base64: the size of the index, a double
 * array (root, C2, BD, its value), and the replacements. */
static void half_to_a(char out[1500])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const uint32_t units[] = {1024, 0xC3u << 10, 0xC2 | 0xBEu << 10,
                                     0xBD | 1u << 8 | 1u << 10, 1u << 31};
    uint8_t bytes[4 + 1024 + 2] = {[4 + 1024] = 'a'};
    for (size_t i = 0; i < sizeof units; i++) bytes[i] = (uint8_t)(units[i / 4] >> 8 * (i % 4));
    _Static_assert(sizeof bytes % 3 == 1, "the last group has one byte");
    size_t n = 0;
    for (size_t i = 0; i < sizeof bytes; i += 3) {
        bool whole = i + 2 < sizeof bytes;
        uint32_t group = (uint32_t)bytes[i] << 16;
        if (whole) group |= (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        for (unsigned digit = 0; digit < 4; digit++)
            out[n++] = whole || digit < 2 ? digits[group >> (18 - 6 * digit) & 63] : '=';
    }
    out[n] = 0;
}

/* A cluster of less than six bytes is looked up whole, and what follows the part that the map knows
 * is dropped. */
TEST(a_character_map_is_applied_to_clusters)
{
    char map[1500], text[3000];
    half_to_a(map);
    snprintf(text, sizeof text,
             JSON("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"%s\"}", "null", ""), map);
#define HALF "\xC2\xBD"
    check_json(text, HALF "b", "0 1");
    check_json(text, HALF "\xCC\x81", "0");       /* a combining accent */
    check_json(text, HALF "\xE0\xB8\xB3", "0");   /* Thai sara am is a letter, and extends */
    check_json(text, "b\xE0\xB8\xB3", "1 6");     /* unknown to the map: stays */
    check_json(text, HALF "\xE1\x80\xAB", "0 6"); /* Myanmar tall aa is a mark, and does not */
    check_json(text, "\xD8\x80" HALF, "6 0");     /* a sign before numbers begins the cluster */
}

/* Llama 2's old files: the token's own text gets the prefix that the text gets. */
TEST(an_old_llama_2_token_is_found_only_behind_a_space)
{
#define LLAMA                                                                                      \
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"}," \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}]}"
    static const char text[] = JSON(LLAMA, "null", ADDED(8, "<x>", SPECIAL ",\"normalized\":true"));
    check_json(text, "<x>", "8");
    check_json(text, "b <x>", "5 1 8");
    check_json(text, "b<x>", "5 1 2 4 3");
    check_json(JSON(LLAMA, "null", ADDED(8, "<x>", SPECIAL ",\"normalized\":false")), "b<x>",
               "5 1 8");
}

TEST(the_post_processor_says_what_is_put_around)
{
#define AROUND                                                                                     \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<a>\",\"type_id\":"  \
    "0}},"                                                                                         \
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"<b>\",\"type_id\":0}" \
    "}],"                                                                                          \
    "\"pair\":[],\"special_tokens\":{\"<a>\":{\"id\":\"<a>\",\"ids\":[8],\"tokens\":[\"<a>\"]},"   \
    "\"<b>\":{\"id\":\"<b>\",\"ids\":[9],\"tokens\":[\"<b>\"]}}}"
    struct bitnet_tokenizer *t =
        json(JSON("null", AROUND, ADDED(8, "<a>", SPECIAL) "," ADDED(9, "<b>", SPECIAL)));
    IDS(t, "x", NULL, "8 4 9");
    IDS(t, "x", &bare, "4");
    IDS(t, "", NULL, "8 9");
    assert_int_equal(bitnet_tokenizer_special(t)->bos, 8);
    assert_int_equal(bitnet_tokenizer_special(t)->eos, 9);
    assert_true(bitnet_token_is_eog(t, 9));
    bitnet_tokenizer_free(t);
}

TEST(special_tokens_stay_out_of_decoded_text_unless_asked_for)
{
    struct bitnet_tokenizer *t =
        json(JSON("null", "null", ADDED(8, "<a>", SPECIAL) "," ADDED(9, "<b>", "")));
    const int32_t ids[] = {8, 4, 9};
    struct bitnet_buf text = {.max = 100};
    assert_int_equal(bitnet_detokenize(t, ids, 3, false, &text, NULL), BITNET_OK);
    assert_null(strstr(text.at, "<a>"));
    assert_non_null(strstr(text.at, "<b>"));
    text.n = 0;
    assert_int_equal(bitnet_detokenize(t, ids, 3, true, &text, NULL), BITNET_OK);
    assert_non_null(strstr(text.at, "<a>"));
    bitnet_buf_free(&text);
    bitnet_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_and_unknown_tokens_are_cut_only_when_asked_for),
        cmocka_unit_test(user_defined_tokens_are_always_cut),
        cmocka_unit_test(normal_and_unused_tokens_are_never_cut),
        cmocka_unit_test(the_longest_token_is_cut_first),
        cmocka_unit_test(jina_s_mask_swallows_the_space_in_front),
        cmocka_unit_test(phi_3_s_tokens_swallow_what_follows_but_three_do_not),
        cmocka_unit_test(spm_puts_bos_in_front_by_default_and_a_space_behind_every_special_token),
        cmocka_unit_test(flags_of_the_file_decide_what_is_put_around),
        cmocka_unit_test(byte_level_vocabularies_go_by_the_name_of_their_pre_tokenizer),
        cmocka_unit_test(a_text_that_begins_with_bos_gets_another),
        cmocka_unit_test(other_kinds_have_their_own_rules),
        cmocka_unit_test(every_text_that_ends_a_generation_is_known),
        cmocka_unit_test(known_texts_become_control_tokens_and_the_first_is_eot),
        cmocka_unit_test(added_tokens_of_a_tokenizer_json_are_always_cut),
        cmocka_unit_test(added_tokens_are_found_leftmost_longest),
        cmocka_unit_test(lstrip_and_rstrip_swallow_white_space),
        cmocka_unit_test(single_word_tokens_stand_alone),
        cmocka_unit_test(a_character_map_is_applied_to_clusters),
        cmocka_unit_test(normalized_tokens_are_looked_for_after_the_normalizer),
        cmocka_unit_test(an_old_llama_2_token_is_found_only_behind_a_space),
        cmocka_unit_test(the_post_processor_says_what_is_put_around),
        cmocka_unit_test(special_tokens_stay_out_of_decoded_text_unless_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
