/* Where tiles come from: a kernel_config.ini as bitnet.cpp writes it, the keys of our files, the
 * published table; and the same for I2_S in a foreign layout: what a file does not say about its
 * bytes is told by the user or refused, never guessed. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/doctor.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/logical.h"
#include "bitnet/repair.h"
#include "bitnet/text.h"
#include "checkpoint.h"
#include "temp_dir.h"
#include "tiles.h"

static struct temp_dir dir;
static struct bitnet_error err;

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static const char *file(const char *name)
{
    return temp_dir_file(&dir, name);
}

/* ------------------------------------------------------------------ the ini */

static enum bitnet_status parse(struct tiles *tiles, const char *text)
{
    err = (struct bitnet_error){0};
    return tiles_parse(tiles, bitnet_str_of(text), &err);
}

TEST(an_ini_is_read_as_config_parser_reads_it)
{
    struct tiles tiles;
    struct bitnet_tile tile;
    MUST(parse(&tiles, "# made by codegen\r\n[Kernels_0]\r\nm = 3200\r\nbm = 160\r\nk = 8640\r\n"
                       "bk=64\r\nbmm: 32\r\n\r\n; more\n[Kernels_1]\nm=4096\nk=1536\nbm=256\n"
                       "bk=128\nbmm=64"));
    assert_int_equal(tiles.n, 2);
    assert_true(tiles_find(&tiles, BITNET_DTYPE_tl1, 3200, 8640, &tile));
    assert_true(tile.rows == 160 && tile.cols == 64 && tile.sub_rows == 32);
    assert_true(tiles_find(&tiles, BITNET_DTYPE_tl1, 4096, 1536, &tile));
    assert_int_equal(tile.sub_rows, 64);
    assert_true(tiles_find(&tiles, BITNET_DTYPE_tl2, 4096, 1536, &tile));
    assert_int_equal(tile.sub_rows, 32); /* TL2 has no other */
    assert_false(tiles_find(&tiles, BITNET_DTYPE_tl1, 1536, 4096, &tile));
    tiles_free(&tiles);
}

TEST(an_ini_that_leaves_doubt_is_refused_by_line)
{
    static const char *const cases[][2] = {
        {"", "no section such as [Kernels_0]"},
        {"m = 3\n", "line 1: 'm = 3' is none of m, k, bm, bk, bmm in a section"},
        {"[a]\nm = 1\nk = 1\nbm = 1\nbk = 1\n", "line 1: the section has no 'bmm'"},
        {"[a]\nm = x\n", "line 2: 'x' is no number"},
        {"[a]\nm = 0\n", "line 2: '0' is no number"},
        {"[a]\nm\n", "line 2: '' is no number"},
        {"[a]\nm = 1\nm = 2\n", "line 3: 'm' appears twice"},
        {"[a]\nrows = 1\n", "line 2: 'rows = 1' is none of"},
        {"[a\n", "line 1: '[a' is no section"},
        {"[a]\nm=1\nk=1\nbm=1\nbk=1\nbmm=1\n[b]\nm=1\nk=1\nbm=2\nbk=1\nbmm=1\n",
         "line 7: the shape 1 x 1 was given on line 1 already"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tiles tiles;
        assert_int_equal(parse(&tiles, cases[i][0]), BITNET_FORMAT);
        assert_text_has(err.text, cases[i][1]);
        assert_null(tiles.at);
    }
}

/* ------------------------------------------------------------------ files */

static enum bitnet_status quantize(const char *in, const char *out,
                                   struct bitnet_convert_options options)
{
    struct bitnet_plan *plan = NULL;
    err = (struct bitnet_error){0};
    options.overwrite = true;
    enum bitnet_status status = bitnet_plan_from_gguf(&plan, file(in), &options, &err);
    if (!status) status = bitnet_plan_run(plan, file(out), &err);
    bitnet_plan_free(plan);
    return status;
}

static enum bitnet_status convert(const char *out, struct bitnet_convert_options options)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_plan *plan = NULL;
    err = (struct bitnet_error){0};
    options.overwrite = true;
    cp_write(cp, dir.path);
    enum bitnet_status status = bitnet_plan_new(&plan, dir.path, &options, &err);
    if (!status) status = bitnet_plan_run(plan, file(out), &err);
    bitnet_plan_free(plan);
    cp_free(cp);
    return status;
}

static void hash(const char *name, uint8_t digest[BITNET_DIGEST_BYTES])
{
    struct bitnet_gguf *gguf = NULL;
    const struct bitnet_hash_options options = {.kind = BITNET_HASH_LOGICAL};
    MUST(bitnet_gguf_open(&gguf, file(name), NULL, &err));
    MUST(bitnet_hash_model(gguf, &options, digest, &err));
    bitnet_gguf_close(gguf);
}

static void expect_same_values(const char *a, const char *b)
{
    uint8_t x[BITNET_DIGEST_BYTES], y[BITNET_DIGEST_BYTES];
    hash(a, x);
    hash(b, y);
    assert_memory_equal(x, y, sizeof x);
}

/* The same file without its keys of tiles, as bitnet.cpp's converter would have left it. */
static void forget_tiles(const char *in, const char *out)
{
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_gguf_edit edits[64];
    size_t n = 0;
    MUST(bitnet_gguf_open(&gguf, file(in), NULL, &err));
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++) {
        struct bitnet_str key = bitnet_gguf_pair_at(gguf, i)->key;
        if (!bitnet_str_starts(key, "bitnet.tl.")) continue;
        assert_true(n < COUNT(edits));
        edits[n++] = (struct bitnet_gguf_edit){.key = key, .is_removal = true};
    }
    assert_true(n > 0);
    MUST(bitnet_gguf_edit_file(gguf, edits, n, NULL, file(out), true, &err));
    bitnet_gguf_close(gguf);
}

TEST(a_file_without_tiles_is_read_with_a_given_ini_and_else_refused)
{
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_tl1, BITNET_DTYPE_tl2};
    for (size_t i = 0; i < COUNT(types); i++) {
        MUST(convert("told.gguf", (struct bitnet_convert_options){.type = types[i]}));
        forget_tiles("told.gguf", "untold.gguf");
        struct bitnet_convert_options options = {.type = BITNET_DTYPE_i2_s};
        assert_int_equal(quantize("untold.gguf", "out.gguf", options), BITNET_UNSUPPORTED);
        assert_text_has(err.text, "tensor 'blk.0.attn_q.weight'");
        assert_text_has(err.text, "the file does not say the tile for shape");
        assert_text_has(err.hint, "--fix tl-tiles --kernel-config");
        options.source_tile_ini = file("told.kernel_config.ini"); /* written beside it */
        MUST(quantize("untold.gguf", "out.gguf", options));
        expect_same_values("told.gguf", "out.gguf");
    }
}

TEST(repair_records_the_tiles_of_a_given_ini)
{
    struct bitnet_gguf *gguf = NULL;
    size_t n = 0;
    MUST(convert("told.gguf", (struct bitnet_convert_options){.type = BITNET_DTYPE_tl2}));
    forget_tiles("told.gguf", "untold.gguf");
    struct bitnet_repair_options fix = {.tiles = true, .overwrite = true};
    MUST(bitnet_gguf_open(&gguf, file("untold.gguf"), NULL, &err));
    assert_int_equal(bitnet_repair_file(gguf, file("out.gguf"), &fix, &n, &err),
                     BITNET_UNSUPPORTED);
    fix.kernel_config = file("told.kernel_config.ini");
    MUST(bitnet_repair_file(gguf, file("out.gguf"), &fix, &n, &err));
    assert_true(n > 0);
    expect_same_values("told.gguf", "out.gguf");
    fix.kernel_config = file("none.ini");
    assert_int_equal(bitnet_repair_file(gguf, file("out.gguf"), &fix, &n, &err), BITNET_NOT_FOUND);
    bitnet_gguf_close(gguf);
}

TEST(keys_that_are_not_all_there_are_refused)
{
    struct bitnet_gguf *gguf = NULL;
    MUST(convert("told.gguf", (struct bitnet_convert_options){.type = BITNET_DTYPE_tl2}));
    const struct bitnet_gguf_edit edit = {.key = BITNET_STR("bitnet.tl.512x256.bk"),
                                          .is_removal = true};
    MUST(bitnet_gguf_open(&gguf, file("told.gguf"), NULL, &err));
    MUST(bitnet_gguf_edit_file(gguf, &edit, 1, NULL, file("half.gguf"), true, &err));
    bitnet_gguf_close(gguf);
    const struct bitnet_convert_options options = {.type = BITNET_DTYPE_i2_s};
    assert_int_equal(quantize("half.gguf", "out.gguf", options), BITNET_FORMAT);
    assert_text_has(err.text, "bitnet.tl.512x256.bm, .bk and .bmm are not all there");
}

TEST(tiles_of_an_ini_are_written_and_a_shape_that_it_lacks_is_refused)
{
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_tl2, .tile_ini = NULL};
    MUST(convert("default.gguf", options));
    static const char ini[] = "[a]\nm=256\nk=256\nbm=64\nbk=192\nbmm=32\n"
                              "[b]\nm=128\nk=256\nbm=128\nbk=96\nbmm=32\n"
                              "[c]\nm=512\nk=256\nbm=32\nbk=96\nbmm=32\n"
                              "[d]\nm=256\nk=512\nbm=256\nbk=96\nbmm=32\n";
    temp_dir_write(&dir, "k.ini", ini, sizeof ini - 1);
    options.tile_ini = file("k.ini");
    MUST(convert("out.gguf", options));
    expect_same_values("default.gguf", "out.gguf");
    struct bitnet_gguf *gguf = NULL;
    uint64_t bm = 0;
    MUST(bitnet_gguf_open(&gguf, file("out.gguf"), NULL, &err));
    MUST(bitnet_gguf_u64(gguf, "bitnet.tl.512x256.bm", 1, 999, BITNET_GGUF_REQUIRED, &bm, &err));
    assert_int_equal(bm, 32);
    bitnet_gguf_close(gguf);
    temp_dir_write(&dir, "k.ini", ini, 36);
    assert_int_equal(convert("out.gguf", options), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "has no section for shape");
}

/* ------------------------------------------------------------------ I2_S layouts */

/* A file of ours with its I2_S tensors spelt in layout B or C, from the definition. */
static void respell(const char *in, const char *out, char letter)
{
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_str text = {0};
    MUST(bitnet_gguf_open(&gguf, file(in), NULL, &err));
    MUST(bitnet_read_file(file(in), 1 << 24, &text, &err));
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(gguf, i);
        size_t cols = (size_t)t->dims[0], n = cols * (size_t)t->dims[1];
        if (t->type != BITNET_DTYPE_i2_s) continue;
        uint8_t *bytes = (uint8_t *)(uintptr_t)text.at + bitnet_gguf_position(gguf, t);
        memset(bytes, 0, n / 4);
        for (size_t e = 0; e < n; e++) {
            unsigned code = t->data.at[e / 128 * 32 + e % 32] >> (6 - 2 * (e % 128 / 32)) & 3;
            size_t byte = letter == 'b' ? e / 64 * 16 + e % 16 : e / cols / 4 * cols + e % cols;
            size_t s = letter == 'b' ? e % 64 / 16 : e / cols % 4;
            bytes[byte] |= (uint8_t)(code << (6 - 2 * s));
        }
    }
    temp_dir_write(&dir, out, text.at, text.n);
    bitnet_gguf_close(gguf);
    bitnet_free((void *)(uintptr_t)text.at);
}

TEST(layouts_b_and_c_are_read_when_the_user_names_them)
{
    MUST(convert("a.gguf", (struct bitnet_convert_options){.type = BITNET_DTYPE_i2_s}));
    for (const char *letter = "bc"; *letter; letter++) {
        static const enum bitnet_dtype types[] = {BITNET_DTYPE_i2_s, BITNET_DTYPE_tl2,
                                                  BITNET_DTYPE_f16};
        respell("a.gguf", "foreign.gguf", *letter);
        for (size_t i = 0; i < COUNT(types); i++) {
            struct bitnet_convert_options options = {.type = types[i]};
            uint8_t x[BITNET_DIGEST_BYTES], y[BITNET_DIGEST_BYTES];
            MUST(quantize("foreign.gguf", "out.gguf", options)); /* in good faith: layout A */
            hash("a.gguf", x);
            hash("out.gguf", y);
            assert_memory_not_equal(x, y, sizeof x);
            options.i2_s_order = *letter == 'b' ? BITNET_I2_S_B : BITNET_I2_S_C;
            MUST(quantize("foreign.gguf", "out.gguf", options));
            if (types[i] != BITNET_DTYPE_f16) expect_same_values("a.gguf", "out.gguf");
            MUST(quantize("out.gguf", "back.gguf",
                          (struct bitnet_convert_options){.type = BITNET_DTYPE_i2_s}));
            expect_same_values("a.gguf", "back.gguf");
        }
    }
}

TEST(words_about_bytes_are_refused_for_a_checkpoint)
{
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_i2_s,
                                             .i2_s_order = BITNET_I2_S_B};
    assert_int_equal(convert("out.gguf", options), BITNET_USAGE);
    assert_text_has(err.text, "a checkpoint has no I2_S tensors");
    options = (struct bitnet_convert_options){.type = BITNET_DTYPE_i2_s, .source_tile_ini = "x"};
    assert_int_equal(convert("out.gguf", options), BITNET_USAGE);
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
        cmocka_unit_test(an_ini_is_read_as_config_parser_reads_it),
        cmocka_unit_test(an_ini_that_leaves_doubt_is_refused_by_line),
        T(a_file_without_tiles_is_read_with_a_given_ini_and_else_refused),
        T(repair_records_the_tiles_of_a_given_ini),
        T(keys_that_are_not_all_there_are_refused),
        T(tiles_of_an_ini_are_written_and_a_shape_that_it_lacks_is_refused),
        T(layouts_b_and_c_are_read_when_the_user_names_them),
        T(words_about_bytes_are_refused_for_a_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
