/* Single normalizers and pre-tokenizers against what Hugging Face tokenizers made of every case
 * (shared data), and against facts of the Unicode standard that need no data. */
#include "cm.h"

#include <stdio.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>

#include "cases.h"
#include "hf.h"

/* A component as the shared file calls it, and as a tokenizer.json has it. */
struct component {
    const char *name;
    const char *json;
};

static const struct component normalizers[] = {
    {"NFC", "{\"type\":\"NFC\"}"},
    {"NFD", "{\"type\":\"NFD\"}"},
    {"NFKC", "{\"type\":\"NFKC\"}"},
    {"NFKD", "{\"type\":\"NFKD\"}"},
    {"Lowercase", "{\"type\":\"Lowercase\"}"},
    {"StripAccents", "{\"type\":\"StripAccents\"}"},
    {"Strip(left,right)", "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}"},
    {"Nmt", "{\"type\":\"Nmt\"}"},
    {"Prepend(\xE2\x96\x81)", "{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"}"},
    {"Replace( ->\xE2\x96\x81)",
     "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}"},
    {"Sequence(NFD,Lowercase,StripAccents)",
     "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"Lowercase\"},"
     "{\"type\":\"StripAccents\"}]}"},
    {"Bert(clean,chinese,strip=null,lower)",
     "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
     "\"strip_accents\":null,\"lowercase\":true}"},
    {"Bert(clean,chinese,strip=false,nolower)",
     "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
     "\"strip_accents\":false,\"lowercase\":false}"},
};

#define SPLITTER(type, rest) "{\"type\":\"" type "\"" rest "}"
#define METASPACE(scheme)                                                                          \
    SPLITTER("Metaspace",                                                                          \
             ",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"" scheme "\",\"split\":true")

static const struct component splitters[] = {
    {"Bert", SPLITTER("BertPreTokenizer", "")},
    {"ByteLevel(prefix=false,regex=true)",
     SPLITTER("ByteLevel", ",\"add_prefix_space\":false,\"use_regex\":true")},
    {"ByteLevel(prefix=true,regex=true)",
     SPLITTER("ByteLevel", ",\"add_prefix_space\":true,\"use_regex\":true")},
    {"ByteLevel(prefix=false,regex=false)",
     SPLITTER("ByteLevel", ",\"add_prefix_space\":false,\"use_regex\":false")},
    {"Whitespace", SPLITTER("Whitespace", "")},
    {"WhitespaceSplit", SPLITTER("WhitespaceSplit", "")},
    {"Metaspace(\xE2\x96\x81,always)", METASPACE("always")},
    {"Metaspace(\xE2\x96\x81,never)", METASPACE("never")},
    {"Metaspace(\xE2\x96\x81,first)", METASPACE("first")},
    {"Punctuation(Isolated)", SPLITTER("Punctuation", ",\"behavior\":\"Isolated\"")},
    {"Punctuation(Removed)", SPLITTER("Punctuation", ",\"behavior\":\"Removed\"")},
    {"Punctuation(Contiguous)", SPLITTER("Punctuation", ",\"behavior\":\"Contiguous\"")},
    {"Punctuation(MergedWithPrevious)",
     SPLITTER("Punctuation", ",\"behavior\":\"MergedWithPrevious\"")},
    {"Punctuation(MergedWithNext)", SPLITTER("Punctuation", ",\"behavior\":\"MergedWithNext\"")},
    {"Digits(individual=true)", SPLITTER("Digits", ",\"individual_digits\":true")},
    {"Digits(individual=false)", SPLITTER("Digits", ",\"individual_digits\":false")},
    {"CharDelimiterSplit(-)", SPLITTER("CharDelimiterSplit", ",\"delimiter\":\"-\"")},
};

/* A tokenizer with this one component and nothing else. */
static struct bitnet_tokenizer *with_component(const char *json, bool is_normalizer)
{
    struct bitnet_tokenizer *tokenizer = tokenizer_new(BITNET_TOKENIZER_BPE);
    struct bitnet_arena arena = {0};
    const struct bitnet_json *node;
    struct bitnet_error err = {0};
    tokenizer->hf = bitnet_alloc(1, sizeof *tokenizer->hf);
    assert_int_equal(bitnet_json_parse(&node, bitnet_str_of(json), NULL, &arena, &err), BITNET_OK);
    if (is_normalizer ? hf_read_normalizer(tokenizer, node, &err)
                      : hf_read_pre_tokenizer(tokenizer, node, &err))
        fail_msg("%s", err.text);
    bitnet_arena_free(&arena);
    return tokenizer;
}

static const char *json_of(const struct component *components, size_t n, struct bitnet_str name)
{
    for (size_t i = 0; i < n; i++)
        if (bitnet_str_is(name, components[i].name)) return components[i].json;
    return NULL;
}

static bool normalizes(const struct hf *hf, struct bitnet_str text, struct bitnet_str want)
{
    struct bitnet_buf got = {.max = 8 * text.n + (1 << 20)};
    bool ok =
        hf_normalize(hf, text, &got) && bitnet_str_equal((struct bitnet_str){got.at, got.n}, want);
    if (!ok)
        fprintf(stderr, "    %s\n    gives %s\n    want  %s\n", BITNET_QUOTE(text),
                BITNET_QUOTE(((struct bitnet_str){got.at, got.n})), BITNET_QUOTE(want));
    bitnet_buf_free(&got);
    return ok;
}

static bool splits(const struct hf *hf, struct bitnet_str text, const struct bitnet_json *want)
{
    struct hf_pieces pieces = {.text.max = 8 * text.n + (1 << 20)};
    const struct bitnet_json *node = want->child;
    bool ok = hf_split(hf, text, true, &pieces) && pieces.n == want->n_children;
    for (size_t i = 0; i < pieces.n && ok; i++, node = node->next) {
        struct bitnet_str piece = {pieces.text.at + pieces.at[i].begin,
                                   pieces.at[i].end - pieces.at[i].begin};
        ok = bitnet_str_equal(piece, node->text);
    }
    if (!ok)
        fprintf(stderr, "    %s: %zu pieces, want %zu\n", BITNET_QUOTE(text), pieces.n,
                want->n_children);
    hf_pieces_free(&pieces);
    return ok;
}

/* One line of the file; counts it in n_equal, n_different or n_unknown. */
static void check_line(struct bitnet_str line, bool is_normalizer, struct verdict *verdict,
                       const char **last_json, struct bitnet_tokenizer **tokenizer)
{
    struct bitnet_arena arena = {0};
    const struct bitnet_json *root;
    assert_int_equal(bitnet_json_parse(&root, line, NULL, &arena, NULL), BITNET_OK);
    const struct bitnet_json *name =
        bitnet_json_get(root, is_normalizer ? "normalizer" : "pre_tokenizer");
    const struct bitnet_json *out = bitnet_json_get(root, "out"), *id = bitnet_json_get(root, "id");
    const char *json = !name           ? NULL
                       : is_normalizer ? json_of(normalizers, COUNT(normalizers), name->text)
                                       : json_of(splitters, COUNT(splitters), name->text);
    if (json) {
        if (*last_json != json) {
            bitnet_tokenizer_free(*tokenizer);
            *tokenizer = with_component(json, is_normalizer);
            *last_json = json;
        }
        struct bitnet_str text = cases_text(id->text.at, id->text.n);
        bool same = is_normalizer ? normalizes((*tokenizer)->hf, text, out->text)
                                  : splits((*tokenizer)->hf, text, out);
        if (!same)
            fprintf(stderr, "  %.*s, case %.*s\n", BITNET_STR_ARGS(name->text),
                    BITNET_STR_ARGS(id->text));
        *(same ? &verdict->n_equal : &verdict->n_different) += 1;
    } else if (name) {
        verdict->n_unspecified++;
    }
    bitnet_arena_free(&arena);
}

static void check_file(const char *path, bool is_normalizer, size_t at_least)
{
    struct verdict verdict = {0};
    const char *last_json = NULL;
    struct bitnet_tokenizer *tokenizer = NULL;
    if (!cases_are_there()) {
        printf("skipped: shared/data/tokenizers, %s\n", path);
        skip();
    }
    struct bitnet_str file = cases_file(path);
    for (const char *at = file.at, *end; (end = strchr(at, '\n')); at = end + 1)
        check_line((struct bitnet_str){at, (size_t)(end - at)}, is_normalizer, &verdict, &last_json,
                   &tokenizer);
    printf("  %s: %zu equal, %zu different, %zu of components not tested here\n", path,
           verdict.n_equal, verdict.n_different, verdict.n_unspecified);
    bitnet_tokenizer_free(tokenizer);
    bitnet_free((void *)(uintptr_t)file.at);
    assert_int_equal(verdict.n_different, 0);
    assert_true(verdict.n_equal >= at_least);
}

TEST(every_normalizer_equals_hugging_face)
{
    check_file("expected/hf-components.normalizers.jsonl", true, 2000);
}

TEST(every_pre_tokenizer_equals_hugging_face)
{
    check_file("expected/hf-components.pre_tokenizers.jsonl", false, 7000);
}

/* ------------------------------------------------------------------ without data */

static void must_normalize(const char *json, const char *text, const char *want)
{
    struct bitnet_tokenizer *tokenizer = with_component(json, true);
    assert_true(normalizes(tokenizer->hf, bitnet_str_of(text), bitnet_str_of(want)));
    bitnet_tokenizer_free(tokenizer);
}

TEST(normalization_forms_follow_the_standard)
{
    must_normalize("{\"type\":\"NFC\"}", "e\xCC\x81", "\xC3\xA9");
    must_normalize("{\"type\":\"NFD\"}", "\xC3\xA9", "e\xCC\x81");
    must_normalize("{\"type\":\"NFC\"}", "\xE2\x84\xAB", "\xC3\x85"); /* the Angstrom sign */
    must_normalize("{\"type\":\"NFC\"}", "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8",
                   "\xEA\xB0\x81"); /* Hangul */
    must_normalize("{\"type\":\"NFD\"}", "\xEA\xB0\x81", "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8");
    must_normalize("{\"type\":\"NFKC\"}", "\xEF\xAC\x81\xC2\xB2", "fi2");
    /* Marks of different classes come into order, those of one class stay. */
    must_normalize("{\"type\":\"NFD\"}", "a\xCC\x81\xCC\xA3", "a\xCC\xA3\xCC\x81");
    must_normalize("{\"type\":\"NFC\"}", "a\xCC\x81\xCC\x80", "\xC3\xA1\xCC\x80");
    must_normalize("{\"type\":\"Lowercase\"}", "\xC3\x84\xC4\xB0\xCE\xA3",
                   "\xC3\xA4i\xCC\x87\xCF\x83");
}

static void must_refuse(const char *json, bool is_normalizer, enum bitnet_status status,
                        const char *words)
{
    struct bitnet_tokenizer *tokenizer = tokenizer_new(BITNET_TOKENIZER_BPE);
    struct bitnet_arena arena = {0};
    const struct bitnet_json *node;
    struct bitnet_error err = {0};
    tokenizer->hf = bitnet_alloc(1, sizeof *tokenizer->hf);
    assert_int_equal(bitnet_json_parse(&node, bitnet_str_of(json), NULL, &arena, &err), BITNET_OK);
    assert_int_equal(is_normalizer ? hf_read_normalizer(tokenizer, node, &err)
                                   : hf_read_pre_tokenizer(tokenizer, node, &err),
                     status);
    assert_text_has(err.text, words);
    bitnet_arena_free(&arena);
    bitnet_tokenizer_free(tokenizer);
}

TEST(unknown_and_damaged_components_are_refused_by_name)
{
    must_refuse("{\"type\":\"Nope\"}", true, BITNET_UNSUPPORTED,
                "normalizer type 'Nope' is not supported");
    must_refuse("{\"type\":\"Nope\"}", false, BITNET_UNSUPPORTED,
                "pre_tokenizer type 'Nope' is not supported");
    must_refuse("{\"kind\":\"NFC\"}", true, BITNET_FORMAT, "type");
    must_refuse("\"NFC\"", true, BITNET_FORMAT, "no object");
    must_refuse("{\"type\":\"Sequence\",\"normalizers\":3}", true, BITNET_FORMAT, "no list");
    must_refuse(
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a{9999}\"},\"behavior\":\"Isolated\"}", false,
        BITNET_LIMIT, "pre_tokenizer pattern: position 7: repetition 9999");
    must_refuse("{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Eaten\"}", false,
                BITNET_FORMAT, "behavior 'Eaten' does not exist");
    must_refuse("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"!!!!\"}", true, BITNET_FORMAT,
                "no Base64");
    must_refuse("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"/////wAAAAA=\"}", true,
                BITNET_FORMAT, "index of 4294967295 bytes in 4 bytes");
}

/* ------------------------------------------------------------------ the whole schema */

/* Every type that Hugging Face tokenizers 0.23 can write, by the member of the root it stands in.
 */
static const struct {
    const char *member, *json;
} schema[] = {
    {"normalizer", "{'type':'BertNormalizer'}"},
    {"normalizer", "{'type':'Strip','strip_left':true,'strip_right':false}"},
    {"normalizer", "{'type':'StripAccents'}"},
    {"normalizer", "{'type':'NFC'}"},
    {"normalizer", "{'type':'NFD'}"},
    {"normalizer", "{'type':'NFKC'}"},
    {"normalizer", "{'type':'NFKD'}"},
    {"normalizer", "{'type':'Sequence','normalizers':[]}"},
    {"normalizer", "{'type':'Lowercase'}"},
    {"normalizer", "{'type':'Nmt'}"},
    {"normalizer", "{'type':'Precompiled','precompiled_charsmap':''}"},
    {"normalizer", "{'type':'Replace','pattern':{'Regex':'a+'},'content':'b'}"},
    {"normalizer", "{'type':'Prepend','prepend':'x'}"},
    {"normalizer", "{'type':'ByteLevel'}"},
    {"pre_tokenizer", "{'type':'BertPreTokenizer'}"},
    {"pre_tokenizer", "{'type':'ByteLevel','add_prefix_space':true}"},
    {"pre_tokenizer", "{'type':'CharDelimiterSplit','delimiter':'-'}"},
    {"pre_tokenizer", "{'type':'Metaspace','replacement':'_','prepend_scheme':'first'}"},
    {"pre_tokenizer", "{'type':'Whitespace'}"},
    {"pre_tokenizer", "{'type':'Sequence','pretokenizers':[]}"},
    {"pre_tokenizer", "{'type':'Split','pattern':{'String':'a'},'behavior':'Contiguous'}"},
    {"pre_tokenizer", "{'type':'Punctuation','behavior':'Removed'}"},
    {"pre_tokenizer", "{'type':'WhitespaceSplit'}"},
    {"pre_tokenizer", "{'type':'Digits','individual_digits':true}"},
    {"pre_tokenizer", "{'type':'UnicodeScripts'}"},
    {"pre_tokenizer", "{'type':'FixedLength','length':3}"},
    {"decoder", "{'type':'BPEDecoder','suffix':'</w>'}"},
    {"decoder", "{'type':'ByteLevel'}"},
    {"decoder", "{'type':'WordPiece','prefix':'##','cleanup':true}"},
    {"decoder", "{'type':'Metaspace','replacement':'_','prepend_scheme':'always'}"},
    {"decoder", "{'type':'CTC','pad_token':'p','word_delimiter_token':'|','cleanup':true}"},
    {"decoder", "{'type':'Sequence','decoders':[]}"},
    {"decoder", "{'type':'Replace','pattern':{'String':'a'},'content':''}"},
    {"decoder", "{'type':'Fuse'}"},
    {"decoder", "{'type':'Strip','content':' ','start':1,'stop':0}"},
    {"decoder", "{'type':'ByteFallback'}"},
    {"post_processor", "{'type':'RobertaProcessing','sep':['a',0],'cls':['a',0]}"},
    {"post_processor", "{'type':'BertProcessing','sep':['a',0],'cls':['a',0]}"},
    {"post_processor", "{'type':'ByteLevel'}"},
    {"post_processor",
     "{'type':'TemplateProcessing','single':[{'Sequence':{'id':'A','type_id':0}}],"
     "'pair':[],'special_tokens':{}}"},
    {"post_processor", "{'type':'Sequence','processors':[]}"},
    {"model", "{'type':'BPE','vocab':{'a':0},'merges':[]}"},
    {"model", "{'type':'Unigram','vocab':[['a',0]],'unk_id':0}"},
    {"model", "{'type':'WordPiece','vocab':{'a':0},'unk_token':'a'}"},
    {"model", "{'type':'WordLevel','vocab':{'a':0},'unk_token':'a'}"},
};

/* Reads a file of one component beside the smallest model; 'quotes' are turned. */
static enum bitnet_status read_with(const char *member, const char *json, struct bitnet_error *err)
{
    struct bitnet_buf text = {.max = 65536};
    struct bitnet_tokenizer *tokenizer;
    bool is_model = strcmp(member, "model") == 0;
    bitnet_buf_printf(&text, "{'%s':%s%s}", member, json,
                      is_model ? ""
                               : ",'model':{'type':'WordLevel','vocab':{'a':0},'unk_token':'a'}");
    for (size_t i = 0; i < text.n; i++)
        if (text.at[i] == '\'') text.at[i] = '"';
    enum bitnet_status status =
        bitnet_tokenizer_from_json(&tokenizer, (struct bitnet_str){text.at, text.n}, NULL, err);
    bitnet_tokenizer_free(tokenizer);
    bitnet_buf_free(&text);
    return status;
}

TEST(every_component_of_the_schema_is_read_and_any_other_refused_by_name)
{
    static const char *const members[] = {"normalizer", "pre_tokenizer", "decoder",
                                          "post_processor", "model"};
    struct bitnet_error err = {0};
    for (size_t i = 0; i < COUNT(schema); i++)
        if (read_with(schema[i].member, schema[i].json, &err))
            fail_msg("%s: %s", schema[i].json, err.text);
    for (size_t i = 0; i < COUNT(members); i++) {
        assert_int_equal(read_with(members[i], "{'type':'Bogus'}", &err), BITNET_UNSUPPORTED);
        assert_text_has(err.text, "'Bogus' is not supported");
    }
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
        cmocka_unit_test(normalization_forms_follow_the_standard),
        cmocka_unit_test(unknown_and_damaged_components_are_refused_by_name),
        cmocka_unit_test(every_component_of_the_schema_is_read_and_any_other_refused_by_name),
        cmocka_unit_test(every_normalizer_equals_hugging_face),
        cmocka_unit_test(every_pre_tokenizer_equals_hugging_face),
    };
    return cmocka_run_group_tests(tests, NULL, free_cases);
}
