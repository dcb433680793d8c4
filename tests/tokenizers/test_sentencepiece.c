/* .model files against the ids and texts that SentencePiece gave (shared data), by libsentencepiece
 * where the build has it and by our own code always; the two against each other on models made
 * here; what a GGUF of Llama 2 has of its .model, and damaged files. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>

#include "cases.h"
#include "insides.h"
#include "spm_model.h"

static void must_be_equal(struct verdict verdict, size_t at_least, const char *name)
{
    printf("  %s: %zu equal, %zu different\n", name, verdict.n_equal, verdict.n_different);
    assert_int_equal(verdict.n_different, 0);
    assert_true(verdict.n_equal >= at_least);
}

static struct bitnet_tokenizer *open_model(const char *path)
{
    struct bitnet_str file = cases_file(path);
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (bitnet_tokenizer_from_spm(&tokenizer,
                                  (struct bitnet_bytes){(const uint8_t *)file.at, file.n}, &err))
        fail_msg("%s: %s", path, err.text);
    bitnet_free((void *)(uintptr_t)file.at);
    return tokenizer;
}

static void skip_without_data(const char *name)
{
    if (cases_are_there()) return;
    printf("skipped: shared/data/tokenizers, %s\n", name);
    skip();
}

/* From now on our own code encodes; false when it did already. */
static bool take_shim_away(struct bitnet_tokenizer *tokenizer)
{
    bool had_one = tokenizer->shim != NULL;
    spm_shim_close(tokenizer->shim);
    tokenizer->shim = NULL;
    return had_one;
}

static void check(const char *model, const char *name)
{
    char ids[256], texts[256];
    skip_without_data(name);
    struct bitnet_tokenizer *tokenizer = open_model(model);
    snprintf(ids, sizeof ids, "expected/%s.sentencepiece.tsv", name);
    snprintf(texts, sizeof texts, "expected/%s.sentencepiece.decode.jsonl", name);
    for (bool again = true; again; again = take_shim_away(tokenizer)) {
        printf("  by %s:\n", tokenizer->shim ? "libsentencepiece" : "our own code");
        must_be_equal(
            cases_compare(tokenizer, ids, &(struct bitnet_tokenize_options){.no_special = true}),
            800, ids);
        must_be_equal(cases_decode(tokenizer, ids, texts), 100, texts);
    }
    bitnet_tokenizer_free(tokenizer);
}

TEST(llama_2_model_equals_sentencepiece)
{
    check("spm/llama2-tokenizer.model", "llama2-tokenizer");
}
TEST(a_bpe_model_without_bytes_equals_sentencepiece)
{
    check("spm/test_sentencepiece_bpe.model", "test_sentencepiece_bpe");
}
TEST(a_unigram_model_equals_sentencepiece)
{
    check("spm/test_sentencepiece.model", "test_sentencepiece");
}
TEST(a_unigram_model_with_nfkc_equals_sentencepiece)
{
    check("spm/sp-python-test_model.model", "sp-python-test_model");
}
TEST(a_japanese_model_equals_sentencepiece)
{
    check("spm/sp-python-test_ja_model.model", "sp-python-test_ja_model");
}
TEST(t5_model_equals_sentencepiece)
{
    check("hf/t5-legal-fr-en/spiece.model", "t5-legal-fr-en-spiece");
}

TEST(llama_2_model_holds_what_its_gguf_holds)
{
    skip_without_data("Llama 2");
    struct bitnet_tokenizer *model = open_model("spm/llama2-tokenizer.model");
    struct bitnet_tokenizer *gguf = cases_open_gguf("ggml-vocab/ggml-vocab-llama-spm.gguf");
    assert_int_equal(bitnet_tokenizer_size(model), bitnet_tokenizer_size(gguf));
    for (int32_t id = 0; id < (int32_t)bitnet_tokenizer_size(model); id++) {
        assert_int_equal(bitnet_token_type(model, id), bitnet_token_type(gguf, id));
        assert_true(bitnet_str_equal(bitnet_token_text(model, id), bitnet_token_text(gguf, id)));
    }
    bitnet_tokenizer_free(model);
    bitnet_tokenizer_free(gguf);
}

/* ------------------------------------------------------------------ models made here */

static void add_varint(struct bitnet_buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) bitnet_buf_add(out, &(char){(char)(value | 0x80)}, 1);
    bitnet_buf_add(out, &(char){(char)value}, 1);
}

static void add_bytes(struct bitnet_buf *out, unsigned field, struct bitnet_str bytes)
{
    add_varint(out, field << 3 | 2);
    add_varint(out, bytes.n);
    bitnet_buf_add_str(out, bytes);
}

static void add_number(struct bitnet_buf *out, unsigned field, uint64_t value)
{
    add_varint(out, field << 3);
    add_varint(out, value);
}

struct row {
    const char *text;
    float score;
    enum bitnet_token_type type;
};

struct settings {
    enum spm_algorithm algorithm;
    bool bytes, merge_spaces, no_prefix, suffix;
};

static void add_piece(struct bitnet_buf *out, const char *text, float score, unsigned type)
{
    struct bitnet_buf piece = {.max = 4096};
    uint8_t bits[4];
    bitnet_store_f32(bits, score);
    add_bytes(&piece, 1, bitnet_str_of(text));
    add_varint(&piece, 2 << 3 | 5);
    bitnet_buf_add(&piece, bits, 4);
    add_number(&piece, 3, type);
    add_bytes(out, 1, (struct bitnet_str){piece.at, piece.n});
    bitnet_buf_free(&piece);
}

static struct bitnet_tokenizer *make_model(const struct row *rows, size_t n, struct settings with)
{
    struct bitnet_buf out = {.max = 1 << 20}, part = {.max = 4096};
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    add_piece(&out, "<unk>", 0, BITNET_TOKEN_UNKNOWN);
    add_piece(&out, "<s>", 0, BITNET_TOKEN_CONTROL);
    add_piece(&out, "</s>", 0, BITNET_TOKEN_CONTROL);
    for (size_t i = 0; i < n; i++) add_piece(&out, rows[i].text, rows[i].score, rows[i].type);
    for (unsigned byte = 0; byte < 256 && with.bytes; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        add_piece(&out, text, 0, BITNET_TOKEN_BYTE);
    }
    add_number(&part, 3, with.algorithm);
    add_number(&part, 24, with.suffix);
    add_number(&part, 35, with.bytes);
    add_bytes(&out, 2, (struct bitnet_str){part.at, part.n});
    part.n = 0;
    add_number(&part, 3, !with.no_prefix);
    add_number(&part, 4, with.merge_spaces);
    add_bytes(&out, 3, (struct bitnet_str){part.at, part.n});
    if (bitnet_tokenizer_from_spm(&tokenizer, (struct bitnet_bytes){(const uint8_t *)out.at, out.n},
                                  &err))
        fail_msg("%s", err.text);
    bitnet_buf_free(&out);
    bitnet_buf_free(&part);
    return tokenizer;
}

static const struct bitnet_tokenize_options plain = {.no_special = true};

static void must_become(const struct bitnet_tokenizer *tokenizer, const char *text,
                        const char *want)
{
    struct bitnet_tokens ids = {0};
    struct bitnet_buf got = {.max = 65536};
    assert_int_equal(bitnet_tokenize(tokenizer, bitnet_str_of(text), &plain, &ids, NULL), 0);
    for (size_t i = 0; i < ids.n; i++) {
        if (i) bitnet_buf_add(&got, " ", 1);
        bitnet_buf_add_str(&got, bitnet_token_text(tokenizer, ids.at[i]));
    }
    if (strcmp(got.at ? got.at : "", want) != 0)
        fail_msg("%s becomes %s, want %s (%s)", text, got.at, want,
                 tokenizer->shim ? "library" : "our own code");
    bitnet_buf_free(&got);
    bitnet_tokens_free(&ids);
}

/* Words of a small alphabet, which meet every kind of piece; a fixed seed. */
static void must_agree(const struct row *rows, size_t n, struct settings with)
{
    static const char *const parts[] = {
        "a",   "b",  "c", "ab",       "abc", " ",    "  ",  "\xE2\x96\x81",
        "<u>", "<u", ">", "\xC3\xA9", "z",   "\xFF", "<s>", "bca"};
    struct bitnet_tokenizer *library = make_model(rows, n, with), *own = make_model(rows, n, with);
    uint64_t seed = 1;
    take_shim_away(own);
    for (int round = 0; round < 3000 && library->shim; round++) {
        struct bitnet_buf text = {.max = 4096}, back[2] = {{.max = 65536}, {.max = 65536}};
        struct bitnet_tokens ids[2] = {{0}, {0}};
        seed = seed * UINT64_C(6364136223846793005) + 1;
        for (uint64_t k = seed >> 60; k > 0; k--) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            /* The library fails when a whole word spells a control token. */
            if (with.algorithm != SPM_WORD || seed >> 60 != 14)
                bitnet_buf_add_str(&text, bitnet_str_of(parts[seed >> 60]));
        }
        struct bitnet_str input = {text.at ? text.at : "", text.n};
        struct bitnet_error err;
        if (bitnet_tokenize(library, input, &plain, &ids[0], &err) ||
            bitnet_tokenize(own, input, &plain, &ids[1], &err))
            fail_msg("round %d: %s: %s", round, BITNET_QUOTE(input), err.text);
        if (ids[0].n != ids[1].n || (ids[0].n && memcmp(ids[0].at, ids[1].at, 4 * ids[0].n) != 0))
            fail_msg("round %d: %s is %zu tokens to the library and %zu to us, or others", round,
                     BITNET_QUOTE(input), ids[0].n, ids[1].n);
        assert_int_equal(bitnet_detokenize(library, ids[0].at, ids[0].n, false, &back[0], NULL), 0);
        assert_int_equal(bitnet_detokenize(own, ids[0].at, ids[0].n, false, &back[1], NULL), 0);
        if (back[0].n != back[1].n || (back[0].n && memcmp(back[0].at, back[1].at, back[0].n) != 0))
            fail_msg("round %d: %s comes back differently", round, BITNET_QUOTE(input));
        for (int k = 0; k < 2; k++) {
            bitnet_tokens_free(&ids[k]);
            bitnet_buf_free(&back[k]);
        }
        bitnet_buf_free(&text);
    }
    if (!library->shim) printf("  this build has no libsentencepiece to compare with\n");
    bitnet_tokenizer_free(library);
    bitnet_tokenizer_free(own);
}

#define SPACE "\xE2\x96\x81"

/* The user-defined piece is cut out first; "abc" is unused and falls apart as it was made. */
static const struct row mixed[] = {
    {"a", -5, BITNET_TOKEN_NORMAL},       {"b", -6, BITNET_TOKEN_NORMAL},
    {"c", -7, BITNET_TOKEN_NORMAL},       {SPACE, -4, BITNET_TOKEN_NORMAL},
    {"bc", -1, BITNET_TOKEN_NORMAL},      {"abc", -2, BITNET_TOKEN_UNUSED},
    {SPACE "a", -3, BITNET_TOKEN_NORMAL}, {"<u>", 0, BITNET_TOKEN_USER},
    {"z", -8, BITNET_TOKEN_UNUSED},       {"ca", -2.5f, BITNET_TOKEN_NORMAL},
    {"<u", -1.5f, BITNET_TOKEN_NORMAL},   {"<", -9, BITNET_TOKEN_NORMAL},
    {"u", -9, BITNET_TOKEN_NORMAL},       {"abca", -1, BITNET_TOKEN_UNUSED},
    {SPACE SPACE, 0, BITNET_TOKEN_USER},
};

TEST(user_defined_pieces_stand_alone_and_unused_ones_fall_apart)
{
    struct bitnet_tokenizer *tokenizer =
        make_model(mixed, COUNT(mixed), (struct settings){.algorithm = SPM_BPE});
    for (bool again = true; again; again = take_shim_away(tokenizer)) {
        must_become(tokenizer, "abc", SPACE " a bc");
        must_become(tokenizer, "babc", SPACE " b a bc");
        must_become(tokenizer, "b<u>c", SPACE " b <u> c");
        must_become(tokenizer, "b  b", SPACE " b " SPACE SPACE " b");
        must_become(tokenizer, "bz", SPACE " b z");
    }
    bitnet_tokenizer_free(tokenizer);
}

TEST(our_own_code_and_the_library_agree_on_every_kind_of_model)
{
    static const enum spm_algorithm algorithms[] = {SPM_BPE, SPM_UNIGRAM, SPM_CHAR, SPM_WORD};
    for (size_t i = 0; i < COUNT(algorithms); i++)
        for (unsigned bits = 0; bits < 16; bits++)
            must_agree(mixed, COUNT(mixed),
                       (struct settings){.algorithm = algorithms[i],
                                         .bytes = bits & 1,
                                         .merge_spaces = bits & 2,
                                         .no_prefix = bits & 4,
                                         .suffix = bits & 8});
}

/* ------------------------------------------------------------------ damaged files */

static void must_refuse(const char *bytes, size_t n, const char *words)
{
    struct spm_model model;
    struct bitnet_error err = {0};
    assert_int_equal(spm_model_read(&model, (struct bitnet_bytes){(const uint8_t *)bytes, n}, &err),
                     BITNET_FORMAT);
    assert_null(model.pieces);
    assert_text_has(err.text, words);
}
#define MUST_REFUSE(literal, words) must_refuse(literal, sizeof(literal) - 1, words)

TEST(damaged_files_are_refused_with_their_place)
{
    MUST_REFUSE("", "there are no pieces");
    MUST_REFUSE("\x0A\x7F\x0A\x01x", "byte 0: 127 bytes run past the end");
    MUST_REFUSE("\x0B", "group fields are not supported");
    MUST_REFUSE("\x0E", "a wire type that does not exist");
    MUST_REFUSE("\x02\x00", "a field number that does not exist");
    MUST_REFUSE("\x08\x01", "a field of the wrong type");
    MUST_REFUSE("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "a damaged field number");
    MUST_REFUSE("\x0A\x00", "piece 0 has no text");
    MUST_REFUSE("\x0A\x03\x0A\x01x", "beginning id 1 is no piece (there are 1)");
    MUST_REFUSE("\x0A\x03\x0A\x01x\x0A\x03\x0A\x01y\x0A\x03\x0A\x01z", "no unknown piece");
    MUST_REFUSE("\x0A\x05\x0A\x01x\x18\x63", "type 99");
    MUST_REFUSE("\x0A\x08\x0A\x01x\x15\x00\x00\xC0\x7F", "score is not a number");
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
        cmocka_unit_test(damaged_files_are_refused_with_their_place),
        cmocka_unit_test(user_defined_pieces_stand_alone_and_unused_ones_fall_apart),
        cmocka_unit_test(our_own_code_and_the_library_agree_on_every_kind_of_model),
        cmocka_unit_test(llama_2_model_equals_sentencepiece),
        cmocka_unit_test(a_bpe_model_without_bytes_equals_sentencepiece),
        cmocka_unit_test(a_unigram_model_equals_sentencepiece),
        cmocka_unit_test(a_unigram_model_with_nfkc_equals_sentencepiece),
        cmocka_unit_test(a_japanese_model_equals_sentencepiece),
        cmocka_unit_test(t5_model_equals_sentencepiece),
        cmocka_unit_test(llama_2_model_holds_what_its_gguf_holds),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
