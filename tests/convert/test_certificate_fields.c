/* Every member of a certificate: written as docs/certificate.md says, and missed when it is not
 * true. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "../../convert/main_runner.h"
#include "bitnet/alloc.h"
#include "bitnet/certificate.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/json.h"
#include "bitnet/sha.h"
#include "bitnet/text.h"
#include "checkpoint.h"
#include "facts.h"
#include "proof.h"
#include "temp_dir.h"

static struct temp_dir dir;
static char source[512]; /* as a Hub cache has it */
static struct bitnet_error err;

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static const char *file(const char *name)
{
    return temp_dir_file(&dir, name);
}

static void make_folders(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
    mkdir(path, 0755);
}

static void make_source(void)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct checkpoint *cp = cp_new(&spec);
    snprintf(source, sizeof source, "%s/models--me--tiny/snapshots/0123abcd", dir.path);
    make_folders(source);
    cp_write(cp, source);
    cp_free(cp);
}

static struct bitnet_convert_options options_for(enum bitnet_verify level)
{
    return (struct bitnet_convert_options){.type = BITNET_DTYPE_i2_s,
                                           .verify = level,
                                           .runner = &main_runner,
                                           .overwrite = true,
                                           .n_threads = 2};
}

static void finish(struct bitnet_plan *plan, const char *out, const char *cert)
{
    MUST(bitnet_plan_run(plan, file(out), &err));
    MUST(bitnet_certificate_write(plan, bitnet_plan_published(plan), file(cert), &err));
    bitnet_plan_free(plan);
}

static void convert(const struct bitnet_convert_options *options, const char *out, const char *cert)
{
    struct bitnet_plan *plan = NULL;
    MUST(bitnet_plan_new(&plan, source, options, &err));
    finish(plan, out, cert);
}

static void quantize(const char *in, const struct bitnet_convert_options *options, const char *out,
                     const char *cert)
{
    struct bitnet_plan *plan = NULL;
    MUST(bitnet_plan_from_gguf(&plan, file(in), options, &err));
    finish(plan, out, cert);
}

static enum bitnet_status check(const char *cert, const char *gguf, const char *from)
{
    const struct bitnet_certificate_options options = {
        .source = from, .runner = &main_runner, .n_threads = 2};
    err = (struct bitnet_error){0};
    return bitnet_certificate_check(file(cert), file(gguf), &options, &err);
}

/* ------------------------------------------------------------------ each member, untrue */

static struct bitnet_str read_text(const char *name)
{
    struct bitnet_str text = {0};
    MUST(bitnet_read_file(file(name), 1 << 24, &text, &err));
    return text;
}

/* cert.json with the n-th place of `old` replaced, sealed anew or not, as bad.json. */
static void forge(const char *old, const char *new, bool is_sealed)
{
    struct bitnet_str text = read_text("cert.json");
    const char *at = strstr(text.at, old);
    struct bitnet_buf out = {.max = 1 << 24};
    if (!at) fail_msg("the certificate has no %s", old);
    bitnet_buf_add(&out, text.at, (size_t)(at - text.at));
    bitnet_buf_printf(&out, "%s%s", new, at + strlen(old));
    if (is_sealed) {
        uint8_t digest[BITNET_DIGEST_BYTES];
        char hex[65];
        assert_true(facts_seal((struct bitnet_str){out.at, out.n}, digest));
        facts_hex(digest, hex);
        memcpy(strstr(out.at, "\"certificate_sha256\": \"") + 23, hex, 64);
    }
    temp_dir_write(&dir, "bad.json", out.at, out.n);
    bitnet_buf_free(&out);
    bitnet_free((void *)(uintptr_t)text.at);
}

static void expect_fault(const char *old, const char *new, const char *from, const char *words)
{
    forge(old, new, true);
    enum bitnet_status status = check("bad.json", "good.gguf", from);
    if (status != BITNET_CHECK) fail_msg("%s: %s: %s", old, bitnet_status_name(status), err.text);
    assert_text_has(err.text, words);
}

TEST(every_member_that_is_not_true_is_named)
{
    struct bitnet_convert_options options = options_for(BITNET_VERIFY_PPL);
    make_source();
    convert(&options, "good.gguf", "cert.json");
    MUST(check("cert.json", "good.gguf", source));

    static const char *const of_the_file[][3] = {
        {"\"architecture\": \"bitnet-b1.58\"", "\"architecture\": \"bitnet-25\"",
         "architecture is 'bitnet-b1.58', the certificate says 'bitnet-25'"},
        {"\"activation\": \"relu2\"", "\"activation\": \"silu\"", "activation: a file of "},
        {"\"model\": \"gpt2\"", "\"model\": \"llama\"", "tokenizer.ggml.model is 'gpt2'"},
        {"\"ids\": [", "\"ids\": [5, ", "gives other ids than certified, from number 1 on"},
        {"\"scale\": ", "\"scale\": 3", "the certificate says 3"},
        {"\"type\": \"i2_s\"", "\"type\": \"tl2\"", "it is stored as i2_s, the certificate says"},
        {"\"shape\": [262, 256]", "\"shape\": [256, 262]", "its shape is not the certified one"},
        {"\"name\": \"output_norm.weight\"", "\"name\": \"output_norm.bias\"",
         "tensor 'output_norm.bias' is missing"},
        {"\"tokens\": 256", "\"tokens\": 255", "the fixed text has 256 tokens, certified were 255"},
        {"\"text_sha256\": \"", "\"text_sha256\": \"0", "certified on another text"},
        {"\"perplexity\": ", "\"perplexity\": 2", "perplexity of the fixed text: "},
        {"\"verified\": \"ppl\"", "\"verified\": \"tensors\"", "but logits are certified"},
        {"\"file\": {\"name\": \"good.gguf\", \"bytes\": ",
         "\"file\": {\"name\": \"good.gguf\", \"bytes\": 1", "bytes, certified were 1"},
    };
    for (size_t i = 0; i < COUNT(of_the_file); i++)
        expect_fault(of_the_file[i][0], of_the_file[i][1], NULL, of_the_file[i][2]);

    static const char *const of_the_source[][3] = {
        {"\"repository\": \"me/tiny\"", "\"repository\": \"you/tiny\"",
         "source: its repository is 'me/tiny', the certificate says 'you/tiny'"},
        {"\"revision\": \"0123abcd\"", "\"revision\": \"0123abce\"",
         "source: its revision is '0123abcd'"},
        {"\"name\": \"model.safetensors\", \"bytes\": ",
         "\"name\": \"model.safetensors\", \"bytes\": 1", "certified were 1"},
        {"\"source\": \"model.norm.weight\"", "\"source\": \"model.other.weight\"",
         "tensor 'output_norm.weight': it is made from 'model.norm.weight', the certificate says"},
        {"\"source_dtype\": \"U8 packed\"", "\"source_dtype\": \"BF16 masters\"",
         "its source is U8 packed, the certificate says 'BF16 masters'"},
        {"\"exact\": true", "\"exact\": false", "the certificate says that it is not exact"},
        {"\"max_deviation\": 0,", "\"max_deviation\": 0.5,", "the certificate says 0.5"},
    };
    for (size_t i = 0; i < COUNT(of_the_source); i++)
        expect_fault(of_the_source[i][0], of_the_source[i][1], source, of_the_source[i][2]);
}

/* The value of a digest, one digit changed. */
static void expect_digest_fault(const char *member, size_t skip, const char *from,
                                const char *words)
{
    struct bitnet_str text = read_text("cert.json");
    char old[128], new[128];
    const char *at = text.at;
    for (size_t i = 0; i <= skip; i++) {
        at = strstr(at + (i > 0), member);
        assert_non_null(at);
    }
    snprintf(old, sizeof old, "%.*s", (int)strlen(member) + 64, at);
    snprintf(new, sizeof new, "%s", old);
    new[strlen(member)] = old[strlen(member)] == '0' ? '1' : '0';
    bitnet_free((void *)(uintptr_t)text.at);
    expect_fault(old, new, from, words);
}

TEST(every_hash_that_is_not_true_is_named)
{
    struct bitnet_convert_options options = options_for(BITNET_VERIFY_LOGITS);
    make_source();
    convert(&options, "good.gguf", "cert.json");
    /* in the order of the certificate: config.json's, ..., the file's, the model's, a tensor's */
    expect_digest_fault("\"sha256\": \"", 0, source, "config.json: its SHA-256 is not");
    expect_digest_fault("\"trits_sha256\": \"", 0, NULL, "its trits are not the certified ones");
    expect_digest_fault("\"logical_sha256\": \"", 0, NULL, "the model's logical hash is not");
    expect_digest_fault("\"logical_sha256\": \"", 1, NULL, "its values are not the certified");
}

TEST(a_change_that_nothing_else_covers_breaks_the_seal)
{
    struct bitnet_convert_options options = options_for(BITNET_VERIFY_TENSORS);
    make_source();
    convert(&options, "good.gguf", "cert.json");
    static const char *const cases[][2] = {
        {"\"tool\": \"bitnet ", "\"tool\": \"bitnet-x "},
        {"\"build\": \"", "\"build\": \"x"},
        {"\"dialect\": \"", "\"dialect\": \"x"},
        {"\"exact\": true", "\"exact\": false"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        forge(cases[i][0], cases[i][1], false);
        assert_int_equal(check("bad.json", "good.gguf", NULL), BITNET_CHECK);
        assert_text_has(err.text, "the certificate itself was changed after it was written");
    }
    forge(",\n \"build\"", ",\n\n\t \"build\"", false); /* white space is no change */
    MUST(check("bad.json", "good.gguf", NULL));
    forge("\"certificate_sha256\"", "\"no_seal\"", false);
    assert_int_equal(check("bad.json", "good.gguf", NULL), BITNET_FORMAT);
}

/* ------------------------------------------------------------------ the schema */

struct paths {
    char at[160][64];
    size_t n;
};

static bool has_path(const struct paths *paths, const char *path)
{
    for (size_t i = 0; i < paths->n; i++)
        if (strcmp(paths->at[i], path) == 0) return true;
    return false;
}

static void add_path(struct paths *paths, const char *path)
{
    if (has_path(paths, path)) return;
    assert_true(paths->n < COUNT(paths->at) && strlen(path) < sizeof paths->at[0]);
    snprintf(paths->at[paths->n++], sizeof paths->at[0], "%s", path);
}

/* Every leaf as the table spells it: "source.files[].name". */
static void walk(struct paths *paths, const struct bitnet_json *node, const char *path)
{
    char below[128];
    if (node->kind != BITNET_JSON_OBJECT && node->kind != BITNET_JSON_ARRAY) {
        add_path(paths, path);
        return;
    }
    for (const struct bitnet_json *v = node->child; v; v = v->next) {
        if (node->kind == BITNET_JSON_ARRAY)
            snprintf(below, sizeof below, "%s[]", path);
        else
            snprintf(below, sizeof below, "%s%s%.*s", path, path[0] ? "." : "",
                     BITNET_STR_ARGS(v->key));
        walk(paths, v, below);
    }
}

static void walk_certificate(struct paths *paths, const char *name)
{
    struct bitnet_arena arena = {0};
    const struct bitnet_json *root = NULL;
    struct bitnet_str text = read_text(name);
    MUST(bitnet_json_parse(&root, text, NULL, &arena, &err));
    walk(paths, root, "");
    bitnet_arena_free(&arena);
    bitnet_free((void *)(uintptr_t)text.at);
}

/* The first column of the table of members. */
static void read_table(struct paths *paths, const char *doc)
{
    const char *line = strstr(doc, "| member |");
    assert_non_null(line);
    while ((line = strchr(line, '\n')) && line[1] == '|') {
        const char *end = strchr(++line + 1, '|');
        if (line[1] == '-') continue;
        for (const char *at = line; (at = strchr(at, '`')) && at < end;) {
            char path[64];
            const char *close = strchr(at + 1, '`');
            snprintf(path, sizeof path, "%.*s", (int)(close - at - 1), at + 1);
            add_path(paths, path);
            at = close + 1;
        }
    }
}

TEST(certificates_have_the_members_of_the_documented_schema_and_no_others)
{
    static struct paths written, documented;
    struct bitnet_convert_options options = options_for(BITNET_VERIFY_PPL);
    struct bitnet_str doc = {0};
    make_source();
    convert(&options, "a.gguf", "1.json");
    options.split_max_bytes = 200000;
    options.verify = BITNET_VERIFY_TENSORS;
    convert(&options, "b.gguf", "2.json");
    options.split_max_bytes = 0;
    options.i2_s_order = BITNET_I2_S_B; /* a wrong word, but told in the certificate */
    temp_dir_write(&dir, "k.ini", "[a]\nm=1\nk=1\nbm=1\nbk=1\nbmm=1\n", 29);
    options.source_tile_ini = file("k.ini");
    static const uint8_t imatrix[] = {
        1, 0, 0, 0, 1, 0, 0, 0, 'x',  1,   0,
        0, 0, 1, 0, 0, 0, 0, 0, 0x80, 0x3f}; /* one entry, x, of one value, 1 */
    temp_dir_write(&dir, "im.dat", imatrix, sizeof imatrix);
    options.imatrix = file("im.dat");
    quantize("a.gguf", &options, "c.gguf", "3.json");
    for (char name[] = "1.json"; name[0] <= '3'; name[0]++) walk_certificate(&written, name);

    MUST(bitnet_read_file(BITNET_SOURCE_DIR "/docs/certificate.md", 1 << 20, &doc, &err));
    read_table(&documented, doc.at);
    for (size_t i = 0; i < written.n; i++)
        if (!has_path(&documented, written.at[i]))
            fail_msg("docs/certificate.md does not have '%s'", written.at[i]);
    for (size_t i = 0; i < documented.n; i++)
        if (!has_path(&written, documented.at[i]))
            fail_msg("no certificate has '%s', which docs/certificate.md has", documented.at[i]);
    assert_true(documented.n > 40);

    uint8_t digest[BITNET_SHA256_BYTES];
    char hex[BITNET_SHA_HEX_MAX], size[128];
    struct bitnet_str text = proof_text();
    assert_true(bitnet_sha256(text.at, text.n, digest));
    bitnet_hex(digest, sizeof digest, hex);
    snprintf(size, sizeof size, "%zu bytes, SHA-256 `%s`", text.n, hex);
    assert_text_has(doc.at, size);
    bitnet_free((void *)(uintptr_t)doc.at);
}

/* ------------------------------------------------------------------ other sources */

TEST(a_gguf_as_the_source_is_compared_again_too)
{
    struct bitnet_convert_options options = options_for(BITNET_VERIFY_LOGITS);
    make_source();
    convert(&options, "a.gguf", "a.json");
    options.type = BITNET_DTYPE_tl1;
    options.embed_type_is_given = true;
    options.embed_type = BITNET_DTYPE_q8_0;
    quantize("a.gguf", &options, "good.gguf", "cert.json");
    MUST(check("cert.json", "good.gguf", file("a.gguf")));
    MUST(check("cert.json", "good.gguf", dir.path)); /* or its folder */
    expect_fault("\"exact\": false", "\"exact\": true", file("a.gguf"),
                 "the certificate says that it is exact");
}

TEST(parts_are_certified_each)
{
    struct bitnet_convert_options options = options_for(BITNET_VERIFY_TENSORS);
    struct bitnet_str text;
    make_source();
    options.split_max_bytes = 200000;
    convert(&options, "m.gguf", "cert.json");
    MUST(check("cert.json", "m-00001-of-00003.gguf", source));
    text = read_text("m-00002-of-00003.gguf");
    char *padding = (char *)(uintptr_t)text.at + text.n - 1; /* behind the last tensor's scale */
    *padding ^= 1;
    temp_dir_write(&dir, "m-00002-of-00003.gguf", text.at, text.n);
    assert_int_equal(check("cert.json", "m-00001-of-00003.gguf", NULL), BITNET_CHECK);
    assert_text_has(err.text, "m-00002-of-00003.gguf: its SHA-256 is not the certified one");
    bitnet_free((void *)(uintptr_t)text.at);
}

TEST(a_source_of_which_one_file_is_another_is_named)
{
    struct bitnet_convert_options options = options_for(BITNET_VERIFY_TENSORS);
    make_source();
    convert(&options, "good.gguf", "cert.json");
    char path[600];
    struct bitnet_str text;
    snprintf(path, sizeof path, "%s/model.safetensors", source);
    MUST(bitnet_read_file(path, 1 << 24, &text, &err));
    char *last = (char *)(uintptr_t)text.at + text.n - 1;
    *last ^= 1;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text.at, 1, text.n, f), text.n);
    fclose(f);
    bitnet_free((void *)(uintptr_t)text.at);
    assert_int_equal(check("cert.json", "good.gguf", source), BITNET_CHECK);
    assert_text_has(err.text, "model.safetensors: its SHA-256 is not the certified one");
}

static int begin(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_member_that_is_not_true_is_named),
        T(every_hash_that_is_not_true_is_named),
        T(a_change_that_nothing_else_covers_breaks_the_seal),
        T(certificates_have_the_members_of_the_documented_schema_and_no_others),
        T(a_gguf_as_the_source_is_compared_again_too),
        T(parts_are_certified_each),
        T(a_source_of_which_one_file_is_another_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
