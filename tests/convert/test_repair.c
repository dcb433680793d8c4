/* convert/repair.c: a zoo of files that are wrong about themselves. Each is diagnosed
 * in one line that names the mending, and is sound afterwards; the weights keep their values. */
#include "cm.h"

#include <bitnet/alloc.h>
#include <bitnet/check.h>
#include <bitnet/convert.h>
#include <bitnet/doctor.h>
#include <bitnet/file.h>
#include <bitnet/logical.h>
#include <bitnet/quant.h>
#include <bitnet/repair.h>
#include <bitnet/text.h>

#include <stdio.h>
#include <stdlib.h>

#include "temp_dir.h"

#define GOLDEN BITNET_SOURCE_DIR "/../shared/data/golden/"

static struct temp_dir dir;
static struct bitnet_error err;
static char said[4096];

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static int set_up(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

static void hear(void *user, const char *line)
{
    size_t n = strlen(said);
    (void)user;
    snprintf(said + n, sizeof said - n, "%s\n", line);
}

static void hear_log(void *user, enum bitnet_log_level level, const char *line)
{
    (void)level;
    hear(user, line);
}

/* ------------------------------------------------------------------ a small model, and its faults
 */

struct zoo {
    const char *arch, *kind, *pre; /* pre NULL: no such key */
    int file_type;                 /* negative: no such key */
    enum bitnet_dtype type;        /* of the linear layers */
    bool llama3;                   /* a vocabulary with the marks of Llama 3 at their places */
};

enum { WIDTH = 256, LLAMA3_TOKENS = 128256, SMALL_TOKENS = 32 };

static void put_vocabulary(struct bitnet_gguf_writer *w, const struct zoo *zoo)
{
    size_t n = zoo->llama3 ? LLAMA3_TOKENS : SMALL_TOKENS;
    struct bitnet_str *tokens = calloc(n, sizeof *tokens);
    char(*texts)[12] = calloc(n, sizeof *texts);
    float *scores = calloc(n, sizeof *scores);
    const struct bitnet_str merges[] = {BITNET_STR("a b")};
    assert_true(tokens && texts && scores);
    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof texts[i], "t%zu", i);
        tokens[i] = bitnet_str_of(texts[i]);
    }
    for (size_t i = 0; i < 3; i++) /* what the merges make */
        tokens[i] = bitnet_str_of((const char *const[]){"a", "b", "ab"}[i]);
    if (zoo->llama3) tokens[128000] = BITNET_STR("<|begin_of_text|>");
    if (zoo->llama3) tokens[128009] = BITNET_STR("<|eot_id|>");
    bitnet_gguf_put_str(w, "tokenizer.ggml.model", bitnet_str_of(zoo->kind));
    bitnet_gguf_put_strings(w, "tokenizer.ggml.tokens", tokens, n);
    bitnet_gguf_put_array(w, "tokenizer.ggml.scores", BITNET_GGUF_F32, scores, n);
    bitnet_gguf_put_strings(w, "tokenizer.ggml.merges", merges, 1);
    if (zoo->pre) bitnet_gguf_put_str(w, "tokenizer.ggml.pre", bitnet_str_of(zoo->pre));
    free(tokens);
    free(texts);
    free(scores);
}

static void put_arch_u32(struct bitnet_gguf_writer *w, const char *arch, const char *key,
                         uint32_t value)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", arch, key);
    bitnet_gguf_put_u32(w, name, value);
}

struct shape {
    const char *name;
    uint64_t cols, rows; /* rows 0: a vector */
};

static const struct shape shapes[] = {
    {"token_embd.weight", WIDTH, SMALL_TOKENS}, {"output_norm.weight", WIDTH, 0},
    {"blk.0.attn_norm.weight", WIDTH, 0},       {"blk.0.attn_q.weight", WIDTH, WIDTH},
    {"blk.0.attn_k.weight", WIDTH, WIDTH},      {"blk.0.attn_v.weight", WIDTH, WIDTH},
    {"blk.0.attn_output.weight", WIDTH, WIDTH}, {"blk.0.attn_sub_norm.weight", WIDTH, 0},
    {"blk.0.ffn_norm.weight", WIDTH, 0},        {"blk.0.ffn_gate.weight", WIDTH, 512},
    {"blk.0.ffn_up.weight", WIDTH, 512},        {"blk.0.ffn_sub_norm.weight", 512, 0},
    {"blk.0.ffn_down.weight", 512, WIDTH},
};

static enum bitnet_dtype type_of(const struct zoo *zoo, const struct shape *shape)
{
    if (!shape->rows) return BITNET_DTYPE_f32;
    if (strncmp(shape->name, "blk", 3) == 0) return zoo->type;
    return zoo->llama3 ? BITNET_DTYPE_tq1_0 : BITNET_DTYPE_f16; /* 128256 rows: small ones */
}

/* Sound bytes of any of the types used here: zeros are zeros, but for I2_S, whose zero is code 1.
 */
static void write_tensor(struct bitnet_gguf_writer *w, enum bitnet_dtype type, size_t n_bytes)
{
    uint8_t *bytes = calloc(n_bytes, 1);
    assert_non_null(bytes);
    if (type == BITNET_DTYPE_i2_s) {
        for (size_t i = 0; i < n_bytes - 32; i++) bytes[i] = (uint8_t)(i % 7 ? 0x55 : 0x86);
        bitnet_store_f32(bytes + n_bytes - 32, 0.5f);
    }
    MUST(bitnet_gguf_tensor_write(w, bytes, n_bytes, &err));
    free(bytes);
}

static struct bitnet_gguf *make(const struct zoo *zoo)
{
    struct bitnet_gguf_writer *w;
    struct bitnet_gguf *gguf;
    char eps[96];
    MUST(bitnet_gguf_writer_new(&w, temp_dir_file(&dir, "a.gguf"),
                                &(struct bitnet_gguf_writer_options){
                                    .dialect = BITNET_DIALECT_BITNETCPP, .overwrite = true},
                                &err));
    bitnet_gguf_put_str(w, "general.architecture", bitnet_str_of(zoo->arch));
    if (zoo->file_type >= 0) bitnet_gguf_put_u32(w, "general.file_type", (uint32_t)zoo->file_type);
    put_arch_u32(w, zoo->arch, "block_count", 1);
    put_arch_u32(w, zoo->arch, "context_length", 64);
    put_arch_u32(w, zoo->arch, "embedding_length", WIDTH);
    put_arch_u32(w, zoo->arch, "feed_forward_length", 512);
    put_arch_u32(w, zoo->arch, "attention.head_count", 4);
    snprintf(eps, sizeof eps, "%s.attention.layer_norm_rms_epsilon", zoo->arch);
    bitnet_gguf_put_f32(w, eps, 1e-5f);
    put_vocabulary(w, zoo);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < COUNT(shapes); i++) {
            enum bitnet_dtype type = type_of(zoo, &shapes[i]);
            uint64_t rows = shapes[i].rows, n_bytes;
            if (i == 0 && zoo->llama3) rows = LLAMA3_TOKENS;
            const uint64_t dims[2] = {shapes[i].cols, rows ? rows : 1};
            MUST(bitnet_tensor_bytes(type, dims, 2, &n_bytes, &err));
            if (pass == 0)
                MUST(bitnet_gguf_tensor_declare(w, bitnet_str_of(shapes[i].name), type, dims,
                                                rows ? 2 : 1, &err));
            else
                write_tensor(w, type, (size_t)n_bytes);
        }
        if (pass == 0) MUST(bitnet_gguf_begin(w, &err));
    }
    MUST(bitnet_gguf_finish(w, &err));
    MUST(bitnet_gguf_open(&gguf, temp_dir_file(&dir, "a.gguf"), NULL, &err));
    return gguf;
}

/* What `validate` says about it. */
static const char *diagnosis(const struct bitnet_gguf *gguf)
{
    const struct bitnet_log log = {.say = hear_log};
    said[0] = '\0';
    MUST(bitnet_gguf_validate(gguf, BITNET_GGUF_LEVEL_MODEL, &log, &err));
    return said;
}

static struct bitnet_gguf *mend(const struct bitnet_gguf *gguf,
                                struct bitnet_repair_options options, const char *words)
{
    struct bitnet_gguf *mended;
    size_t n = 0;
    options.say = hear;
    options.overwrite = true;
    said[0] = '\0';
    MUST(bitnet_repair_file(gguf, temp_dir_file(&dir, "b.gguf"), &options, &n, &err));
    assert_true(n > 0);
    assert_text_has(said, words);
    MUST(bitnet_gguf_open(&mended, temp_dir_file(&dir, "b.gguf"), NULL, &err));
    MUST(bitnet_check_data(mended, NULL, &err));
    assert_string_equal(diagnosis(mended), "");
    return mended;
}

static void check_weights_are_kept(const struct bitnet_gguf *a, const struct bitnet_gguf *b)
{
    uint8_t x[BITNET_DIGEST_BYTES], y[BITNET_DIGEST_BYTES];
    const struct bitnet_hash_options raw = {.kind = BITNET_HASH_RAW};
    MUST(bitnet_hash_model(a, &raw, x, &err));
    MUST(bitnet_hash_model(b, &raw, y, &err));
    assert_memory_equal(x, y, sizeof x);
}

static void cure(struct zoo zoo, const char *symptom, struct bitnet_repair_options options,
                 const char *words)
{
    struct bitnet_gguf *gguf = make(&zoo);
    assert_text_has(diagnosis(gguf), symptom);
    struct bitnet_gguf *mended = mend(gguf, options, words);
    check_weights_are_kept(gguf, mended);
    bitnet_gguf_close(gguf);
    bitnet_gguf_close(mended);
}

static const struct zoo sound = {"bitnet-b1.58", "gpt2", "llama-bpe", 40, BITNET_DTYPE_i2_s, false};

TEST(a_sound_file_needs_nothing_and_gets_no_copy)
{
    struct bitnet_gguf *gguf = make(&sound);
    const struct bitnet_repair_options all = {
        .file_type = true, .pre = true, .activation = true, .tiles = true};
    size_t n = 9;
    assert_string_equal(diagnosis(gguf), "");
    MUST(bitnet_repair_file(gguf, temp_dir_file(&dir, "b.gguf"), &all, &n, &err));
    assert_int_equal(n, 0);
    assert_false(bitnet_path_exists(temp_dir_file(&dir, "b.gguf")));
    bitnet_gguf_close(gguf);
}

TEST(a_wrong_file_type_is_mended)
{
    struct zoo zoo = sound;
    const struct bitnet_repair_options fix = {.file_type = true};
    zoo.file_type = 38;
    cure(zoo, " --fix filetype", fix, "general.file_type becomes 40: most weights are I2_S");
    zoo.type = BITNET_DTYPE_f16; /* F16 disguised as I2_S */
    zoo.file_type = 40;
    cure(zoo, "general.file_type is 40, but most weights are F16", fix,
         "general.file_type becomes 1: most weights are F16");
}

TEST(a_missing_pre_tokenizer_is_told_from_the_vocabulary_or_the_user)
{
    struct zoo zoo = sound;
    zoo.pre = NULL;
    zoo.llama3 = true;
    cure(zoo, " --fix pretok", (struct bitnet_repair_options){.pre = true},
         "tokenizer.ggml.pre becomes 'llama-bpe'");
    zoo.llama3 = false;
    cure(zoo, " --fix pretok", (struct bitnet_repair_options){.pre_name = "falcon3"},
         "tokenizer.ggml.pre becomes 'falcon3'");

    size_t n = 0;
    struct bitnet_gguf *gguf = make(&zoo);
    const struct bitnet_repair_options guess = {.pre = true, .overwrite = true};
    assert_int_equal(bitnet_repair_file(gguf, temp_dir_file(&dir, "b.gguf"), &guess, &n, &err),
                     BITNET_UNSUPPORTED);
    assert_text_has(err.text, "does not tell which pre-tokenizer");
    assert_text_has(err.hint, "--pre llama-bpe");
    bitnet_gguf_close(gguf);
}

/* "default" is as wrong as nothing for a vocabulary that is known. */
TEST(a_file_without_its_known_pre_tokenizer_is_not_converted)
{
    struct zoo zoo = sound;
    struct bitnet_plan *plan = NULL;
    const struct bitnet_convert_options options = {.type = BITNET_DTYPE_tq2_0};
    static const char *const names[] = {NULL, "default"};
    zoo.llama3 = true;
    for (size_t i = 0; i < COUNT(names); i++) {
        zoo.pre = names[i];
        struct bitnet_gguf *gguf = make(&zoo);
        assert_int_equal(bitnet_plan_from_gguf(&plan, bitnet_gguf_path(gguf), &options, &err),
                         BITNET_UNSUPPORTED);
        assert_text_has(err.text, i ? "'tokenizer.ggml.pre' is 'default', but the vocabulary needs "
                                      "'llama-bpe'"
                                    : "'tokenizer.ggml.pre' is missing, but the vocabulary needs "
                                      "'llama-bpe'");
        assert_text_has(err.hint, "repair --fix pretok");
        bitnet_gguf_close(gguf);
    }
}

TEST(a_mislabelled_activation_is_mended_with_all_its_keys)
{
    struct zoo zoo = sound;
    zoo.arch = "bitnet";
    cure(zoo, " --fix activation", (struct bitnet_repair_options){.activation = true},
         "squared ReLU instead of SiLU");
    struct bitnet_gguf *mended;
    MUST(bitnet_gguf_open(&mended, temp_dir_file(&dir, "b.gguf"), NULL, &err));
    for (size_t i = 0; i < bitnet_gguf_pair_count(mended); i++)
        assert_false(bitnet_str_starts(bitnet_gguf_pair_at(mended, i)->key, "bitnet."));
    assert_non_null(bitnet_gguf_find(mended, BITNET_STR("bitnet-b1.58.attention.head_count")));
    bitnet_gguf_close(mended);
}

/* ------------------------------------------------------------------ tiles */

TEST(published_tiles_are_recorded_and_unknown_ones_refused)
{
    static const uint64_t known[2] = {1536, 1536}, unknown[2] = {1536, 96};
    const struct bitnet_repair_options fix = {.tiles = true, .overwrite = true};
    for (int round = 0; round < 2; round++) {
        const uint64_t *dims = round ? unknown : known;
        struct bitnet_gguf_writer *w;
        struct bitnet_gguf *gguf, *mended;
        uint64_t n_bytes;
        size_t n = 0;
        MUST(bitnet_gguf_writer_new(&w, temp_dir_file(&dir, "a.gguf"),
                                    &(struct bitnet_gguf_writer_options){
                                        .dialect = BITNET_DIALECT_BITNETCPP, .overwrite = true},
                                    &err));
        MUST(bitnet_gguf_tensor_declare(w, BITNET_STR("a"), BITNET_DTYPE_tl1, dims, 2, &err));
        MUST(bitnet_gguf_tensor_declare(w, BITNET_STR("b"), BITNET_DTYPE_tl1, dims, 2, &err));
        MUST(bitnet_tensor_bytes(BITNET_DTYPE_tl1, dims, 2, &n_bytes, &err));
        MUST(bitnet_gguf_begin(w, &err));
        write_tensor(w, BITNET_DTYPE_tl1, (size_t)n_bytes);
        write_tensor(w, BITNET_DTYPE_tl1, (size_t)n_bytes);
        MUST(bitnet_gguf_finish(w, &err));
        MUST(bitnet_gguf_open(&gguf, temp_dir_file(&dir, "a.gguf"), NULL, &err));
        enum bitnet_status status =
            bitnet_repair_file(gguf, temp_dir_file(&dir, "b.gguf"), &fix, &n, &err);
        if (round == 1) {
            assert_int_equal(status, BITNET_UNSUPPORTED);
            assert_text_has(err.text, "tensor 'a': TL1: the file does not say the tile");
            assert_text_has(err.hint, "--fix tl-tiles --kernel-config");
        } else {
            MUST(status);
            assert_int_equal(n, 1); /* one shape, though two tensors */
            MUST(bitnet_gguf_open(&mended, temp_dir_file(&dir, "b.gguf"), NULL, &err));
            assert_int_equal(bitnet_gguf_find(mended, BITNET_STR("bitnet.tl.1536x1536.bm"))->u64,
                             128);
            assert_int_equal(bitnet_gguf_find(mended, BITNET_STR("bitnet.tl.1536x1536.bmm"))->u64,
                             64);
            assert_int_equal(bitnet_gguf_find(mended, BITNET_STR("bitnet.tl.version"))->u64, 1);
            bitnet_gguf_close(mended);
        }
        bitnet_gguf_close(gguf);
    }
}

/* ------------------------------------------------------------------ I2_S layouts */

/* The definitions of formats.md 2.2, written the other way round: from elements to bits. */
static void spell_layout(char layout, const int8_t *trits, size_t rows, size_t cols, uint8_t *out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) {
            size_t e = r * cols + c,
                   byte = layout == 'b' ? e / 64 * 16 + e % 64 % 16 : r / 4 * cols + c;
            size_t s = layout == 'b' ? e % 64 / 16 : r % 4;
            out[byte] |= (uint8_t)((unsigned)(trits[e] + 1) << (6 - 2 * s));
        }
}

/* As the codec reads them. */
static enum bitnet_status read_layout(char letter, const uint8_t *bytes, size_t rows, size_t cols,
                                      int8_t *trits)
{
    float scale;
    const struct bitnet_layout layout = {.type = BITNET_DTYPE_i2_s,
                                         .rows = rows,
                                         .cols = cols,
                                         .order = letter == 'b' ? BITNET_I2_S_B : BITNET_I2_S_C};
    return bitnet_codec(BITNET_DTYPE_i2_s)
        ->decode_trits(&layout, bytes, rows * cols / 4 + 32, trits, &scale, &err);
}

TEST(foreign_layouts_are_read)
{
    enum { ROWS = 8, COLS = 192 };
    int8_t trits[ROWS * COLS], back[ROWS * COLS];
    uint8_t bytes[ROWS * COLS / 4 + 32];
    for (size_t i = 0; i < COUNT(trits); i++) trits[i] = (int8_t)(i * i / 3 % 3) - 1;
    for (const char *layout = "bc"; *layout; layout++) {
        memset(bytes, 0, sizeof bytes);
        spell_layout(*layout, trits, ROWS, COLS, bytes);
        MUST(read_layout(*layout, bytes, ROWS, COLS, back));
        assert_memory_equal(trits, back, sizeof trits);
        bytes[100] |= 0xC0;
        assert_int_equal(read_layout(*layout, bytes, ROWS, COLS, back), BITNET_FORMAT);
        assert_text_has(err.text, "code 3");
    }
    assert_int_equal(read_layout('c', bytes, 6, 64, back), BITNET_UNSUPPORTED);
}

TEST(a_file_in_a_foreign_layout_is_packed_anew)
{
    struct zoo zoo = sound;
    struct bitnet_gguf *gguf = make(&zoo);
    struct bitnet_gguf *mended = mend(gguf, (struct bitnet_repair_options){.i2_s_layout = 'b'},
                                      "7 I2_S tensors are packed anew, from layout B to layout A");
    const struct bitnet_tensor *in =
        bitnet_gguf_find_tensor(gguf, BITNET_STR("blk.0.attn_q.weight"));
    const struct bitnet_tensor *out =
        bitnet_gguf_find_tensor(mended, BITNET_STR("blk.0.attn_q.weight"));
    size_t n = (size_t)WIDTH * WIDTH;
    int8_t *want = malloc(n), *got = malloc(n);
    float scale;
    const struct bitnet_layout layout = {.type = BITNET_DTYPE_i2_s, .rows = WIDTH, .cols = WIDTH};
    assert_true(want && got);
    MUST(read_layout('b', in->data.at, WIDTH, WIDTH, want));
    MUST(bitnet_codec(BITNET_DTYPE_i2_s)
             ->decode_trits(&layout, out->data.at, out->data.n, got, &scale, &err));
    assert_memory_equal(want, got, n);
    assert_true(scale == 0.5f);
    free(want);
    free(got);
    bitnet_gguf_close(mended);

    size_t n_repairs;
    assert_int_equal(bitnet_repair_file(gguf, temp_dir_file(&dir, "c.gguf"),
                                        &(struct bitnet_repair_options){.i2_s_layout = 'x'},
                                        &n_repairs, &err),
                     BITNET_USAGE);
    bitnet_gguf_close(gguf);
}

static struct bitnet_str read_golden(const char *name)
{
    char path[512];
    struct bitnet_str text;
    snprintf(path, sizeof path, GOLDEN "q/%s", name);
    MUST(bitnet_read_file(path, 1 << 24, &text, &err));
    return text;
}

/* The peers' own bytes: what they wrote in B or C is, packed anew, what they wrote in A. */
TEST(the_layouts_of_the_peers_become_the_one_that_everybody_reads)
{
    static const struct {
        const char *name;
        size_t rows, cols;
        const char *layouts;
    } vectors[] = {{"gauss_4x256", 4, 256, "BC"},  {"gauss_4x384", 4, 384, "BC"},
                   {"gauss_2x2560", 2, 2560, "B"}, {"tern_4x512", 4, 512, "BC"},
                   {"tern_8x640", 8, 640, "C"},    {"ternbig_32x2560", 32, 2560, "BC"},
                   {"edge_4x256", 4, 256, "BC"},   {"const_1x256", 1, 256, "B"}};
    if (!bitnet_path_is_dir(GOLDEN)) {
        print_message("skipped: " GOLDEN " is absent\n");
        skip();
    }
    for (size_t i = 0; i < COUNT(vectors); i++)
        for (const char *layout = vectors[i].layouts; *layout; layout++) {
            char name[64];
            size_t rows = vectors[i].rows, cols = vectors[i].cols, n = rows * cols;
            snprintf(name, sizeof name, "%s.I2_S.A.bin", vectors[i].name);
            struct bitnet_str a = read_golden(name);
            snprintf(name, sizeof name, "%s.I2_S.%c.bin", vectors[i].name, *layout);
            struct bitnet_str b = read_golden(name);
            int8_t *trits = malloc(n);
            uint8_t *out = calloc(a.n, 1);
            float scale = bitnet_load_f32(b.at + n / 4);
            const struct bitnet_layout to = {.type = BITNET_DTYPE_i2_s, .rows = rows, .cols = cols};
            assert_true(trits && out && a.n == n / 4 + 32 && b.n == a.n);
            MUST(
                read_layout((char)(*layout - 'A' + 'a'), (const uint8_t *)b.at, rows, cols, trits));
            bitnet_codec(BITNET_DTYPE_i2_s)->encode_trits(&to, trits, &scale, out, a.n);
            assert_memory_equal(out, a.at, n / 4 + 4); /* the rest of the tail means nothing */
            free(trits);
            free(out);
            bitnet_free((void *)a.at);
            bitnet_free((void *)b.at);
        }
}

TEST(any_failing_allocation_leaves_nothing)
{
    struct zoo zoo = sound;
    zoo.arch = "bitnet";
    zoo.file_type = 1;
    struct bitnet_gguf *gguf = make(&zoo);
    const struct bitnet_repair_options fix = {
        .file_type = true, .activation = true, .i2_s_layout = 'b'};
    long live = bitnet_alloc_live(), n = 0;
    for (;; n++) {
        size_t n_repairs;
        bitnet_alloc_fail_at(n);
        enum bitnet_status status =
            bitnet_repair_file(gguf, temp_dir_file(&dir, "b.gguf"), &fix, &n_repairs, &err);
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!status) break;
        assert_int_equal(status, BITNET_MEMORY);
        assert_int_equal(temp_dir_count(&dir), 1);
    }
    assert_true(n > 20);
    bitnet_gguf_close(gguf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sound_file_needs_nothing_and_gets_no_copy, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_file_type_is_mended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_missing_pre_tokenizer_is_told_from_the_vocabulary_or_the_user, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_without_its_known_pre_tokenizer_is_not_converted,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mislabelled_activation_is_mended_with_all_its_keys,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(published_tiles_are_recorded_and_unknown_ones_refused,
                                        set_up, tear_down),
        cmocka_unit_test(foreign_layouts_are_read),
        cmocka_unit_test_setup_teardown(a_file_in_a_foreign_layout_is_packed_anew, set_up,
                                        tear_down),
        cmocka_unit_test(the_layouts_of_the_peers_become_the_one_that_everybody_reads),
        cmocka_unit_test_setup_teardown(any_failing_allocation_leaves_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
