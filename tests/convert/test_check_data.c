/* convert/check_data.c: a file whose every value can be used is accepted, and one bad code, scale
 * or float anywhere is found and named. */
#include "cm.h"

#include <bitnet/alloc.h>
#include <bitnet/check.h>
#include <bitnet/quant.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "temp_dir.h"

/* 96 rows of 768: legal for every type; TL2 then has a tile in metadata. */
enum { ROWS = 96, COLS = 768 };

static struct temp_dir dir;
static struct bitnet_error err;
static char said[2048];

static int make_dir(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

static void hear(void *user, enum bitnet_log_level level, const char *text)
{
    (void)user;
    (void)level;
    snprintf(said, sizeof said, "%s", text);
}

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static uint32_t next_random(void)
{
    static uint64_t state = 7;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

/* The bytes of a matrix of small numbers, or of trits with sound scales. */
static uint8_t *encode(struct bitnet_layout *layout, size_t n_bytes)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    size_t n = layout->rows * layout->cols;
    uint8_t *bytes = calloc(n_bytes, 1);
    assert_non_null(bytes);
    MUST(bitnet_layout_check(layout, &err));
    if (codec->encode_trits) {
        int8_t *trits = malloc(n);
        float *scales = malloc(bitnet_scale_count(layout) * sizeof *scales);
        assert_true(trits && scales);
        for (size_t i = 0; i < n; i++) trits[i] = (int8_t)(next_random() % 3 - 1);
        for (size_t i = 0; i < bitnet_scale_count(layout); i++) scales[i] = 0.5f;
        codec->encode_trits(layout, trits, scales, bytes, n_bytes);
        free(trits);
        free(scales);
    } else if (codec->encode_rows) {
        float *values = malloc(n * sizeof *values);
        assert_non_null(values);
        for (size_t i = 0; i < n; i++) values[i] = (float)next_random() / 4294967296.0f - 0.5f;
        codec->encode_rows(layout, values, layout->rows, NULL, bytes);
        free(values);
    } /* else: a type that is only read; all bytes zero, so all scales are zero */
    return bytes;
}

/* A file with one tensor, `patch_n` bytes of it replaced from byte `at` on. */
static struct bitnet_gguf *make(enum bitnet_dtype type, size_t at, const void *patch,
                                size_t patch_n)
{
    static const uint64_t dims[2] = {COLS, ROWS};
    const struct bitnet_dtype_info *info = bitnet_dtype_info(type);
    struct bitnet_layout layout = {.type = type, .rows = ROWS, .cols = COLS};
    struct bitnet_gguf_writer *writer;
    struct bitnet_gguf *gguf;
    uint64_t n_bytes;
    enum bitnet_dialect dialect = BITNET_DIALECT_GGML;
    while (info->type_number[dialect] == BITNET_NO_NUMBER) dialect++;
    MUST(bitnet_tensor_bytes(type, dims, 2, &n_bytes, &err));
    uint8_t *bytes = encode(&layout, (size_t)n_bytes);
    assert_true(at + patch_n <= n_bytes);
    if (patch_n) memcpy(bytes + at, patch, patch_n);

    const char *path = temp_dir_file(&dir, "a.gguf");
    MUST(bitnet_gguf_writer_new(
        &writer, path, &(struct bitnet_gguf_writer_options){.dialect = dialect, .overwrite = true},
        &err));
    if (layout.tile.rows) {
        bitnet_gguf_put_u32(writer, "bitnet.tl.96x768.bm", layout.tile.rows);
        bitnet_gguf_put_u32(writer, "bitnet.tl.96x768.bk", layout.tile.cols);
        bitnet_gguf_put_u32(writer, "bitnet.tl.96x768.bmm", layout.tile.sub_rows);
    }
    MUST(bitnet_gguf_tensor_declare(writer, BITNET_STR("t"), type, dims, 2, &err));
    MUST(bitnet_gguf_begin(writer, &err));
    MUST(bitnet_gguf_tensor_write(writer, bytes, (size_t)n_bytes, &err));
    MUST(bitnet_gguf_finish(writer, &err));
    free(bytes);
    MUST(bitnet_gguf_open(
        &gguf, path, &(struct bitnet_gguf_options){.dialect_is_given = true, .dialect = dialect},
        &err));
    return gguf;
}

static void must_accept(enum bitnet_dtype type)
{
    const struct bitnet_log log = {.say = hear};
    struct bitnet_gguf *gguf = make(type, 0, NULL, 0);
    said[0] = '\0';
    if (bitnet_check_data(gguf, &log, &err))
        fail_msg("%s: %s", bitnet_dtype_info(type)->label, err.text);
    bool is_tiled = type == BITNET_DTYPE_tl1 || type == BITNET_DTYPE_tl2;
    if (is_tiled) /* they are read with the published tiles, and that is said */
        assert_text_has(said, "tensors are not recorded");
    else
        assert_string_equal(said, "");
    bitnet_gguf_close(gguf);
}

static void must_refuse(enum bitnet_dtype type, size_t at, const void *patch, size_t n,
                        const char *words)
{
    struct bitnet_gguf *gguf = make(type, at, patch, n);
    assert_int_equal(bitnet_check_data(gguf, NULL, &err), BITNET_FORMAT);
    assert_text_has(err.text, "a.gguf: tensor 't': ");
    assert_text_has(err.text, words);
    bitnet_gguf_close(gguf);
}

TEST(sound_tensors_of_every_type_that_we_read_are_accepted)
{
    size_t n = 0;
    for (unsigned type = 0; type < BITNET_DTYPE_COUNT; type++)
        if (bitnet_codec((enum bitnet_dtype)type)) {
            must_accept((enum bitnet_dtype)type);
            n++;
        }
    assert_true(n >= 15);
}

TEST(floats_that_are_not_finite_are_found_wherever_they_are)
{
    static const uint8_t nan32[4] = {0, 0, 0xC0, 0x7F}, inf32[4] = {0, 0, 0x80, 0xFF};
    static const uint8_t nan16[2] = {0, 0x7E}, inf16[2] = {0, 0x7C};
    must_refuse(BITNET_DTYPE_f32, 0, nan32, 4, "row 0, column 0 is nan");
    must_refuse(BITNET_DTYPE_f32, 4 * (ROWS * COLS - 1), inf32, 4, "row 95, column 767 is -inf");
    must_refuse(BITNET_DTYPE_f16, 2 * (50 * COLS + 3), inf16, 2, "row 50, column 3 is inf");
    must_refuse(BITNET_DTYPE_bf16, 2 * COLS, nan32 + 2, 2, "row 1, column 0 is nan");
    must_refuse(BITNET_DTYPE_q8_0, 34 * 24 * 95, nan16, 2, "row 95, column 0 is nan");
    must_refuse(BITNET_DTYPE_q4_0, 18 * 24, nan16, 2, "row 1, column 0 is nan");
}

TEST(codes_that_are_no_trit_are_found)
{
    static const uint8_t bad = 0xFF, nan32[4] = {0, 0, 0xC0, 0x7F}, nan16[2] = {0, 0x7E};
    must_refuse(BITNET_DTYPE_i2_s, ROWS * COLS / 4 - 1, &bad, 1, "row 95, column 671 has code 3");
    must_refuse(BITNET_DTYPE_i2_s, ROWS * COLS / 4, nan32, 4, "scale 0 is nan");
    must_refuse(BITNET_DTYPE_tq2_0, 66 * 3, &bad, 1, "row 1, column 0 has code 3");
    must_refuse(BITNET_DTYPE_tq2_0, 66 * 4 + 64, nan16, 2, "scale 4 is nan");
    must_refuse(BITNET_DTYPE_tq1_0, 52, nan16, 2, "scale 0 is nan");
    must_refuse(BITNET_DTYPE_tl2, 0, &bad, 1, "which is no trit");
    must_refuse(BITNET_DTYPE_iq2_bn, 0, nan32, 4, "scale 0 is nan");
}

TEST(a_tile_that_nobody_knows_is_told)
{
    static const uint64_t dims[2] = {COLS, ROWS};
    static uint8_t bytes[ROWS * COLS];
    struct bitnet_gguf_writer *writer;
    struct bitnet_gguf *gguf;
    uint64_t n_bytes;
    const char *path = temp_dir_file(&dir, "a.gguf");
    MUST(bitnet_gguf_writer_new(
        &writer, path, &(struct bitnet_gguf_writer_options){.dialect = BITNET_DIALECT_BITNETCPP},
        &err));
    MUST(bitnet_gguf_tensor_declare(writer, BITNET_STR("t"), BITNET_DTYPE_tl1, dims, 2, &err));
    MUST(bitnet_tensor_bytes(BITNET_DTYPE_tl1, dims, 2, &n_bytes, &err));
    MUST(bitnet_gguf_begin(writer, &err));
    MUST(bitnet_gguf_tensor_write(writer, bytes, (size_t)n_bytes, &err));
    MUST(bitnet_gguf_finish(writer, &err));
    MUST(bitnet_gguf_open(&gguf, path, NULL, &err));
    assert_int_equal(bitnet_check_data(gguf, NULL, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "does not say the tile for shape 96 x 768");
    bitnet_gguf_close(gguf);
}

TEST(a_type_that_cannot_be_decoded_is_said_to_be_unchecked)
{
    const struct bitnet_log log = {.say = hear};
    for (unsigned type = 0; type < BITNET_DTYPE_COUNT; type++) {
        const struct bitnet_dtype_info *info = bitnet_dtype_info((enum bitnet_dtype)type);
        if (bitnet_codec((enum bitnet_dtype)type) || info->kind == BITNET_KIND_INTEGER) continue;
        static const uint64_t dims[2] = {COLS, ROWS};
        static uint8_t bytes[2 * ROWS * COLS];
        struct bitnet_gguf_writer *writer;
        struct bitnet_gguf *gguf;
        uint64_t n_bytes;
        const char *path = temp_dir_file(&dir, "a.gguf");
        MUST(bitnet_gguf_writer_new(&writer, path,
                                    &(struct bitnet_gguf_writer_options){.overwrite = true}, &err));
        MUST(bitnet_gguf_tensor_declare(writer, BITNET_STR("t"), (enum bitnet_dtype)type, dims, 2,
                                        &err));
        MUST(bitnet_tensor_bytes((enum bitnet_dtype)type, dims, 2, &n_bytes, &err));
        MUST(bitnet_gguf_begin(writer, &err));
        MUST(bitnet_gguf_tensor_write(writer, bytes, (size_t)n_bytes, &err));
        MUST(bitnet_gguf_finish(writer, &err));
        MUST(bitnet_gguf_open(&gguf, path, NULL, &err));
        said[0] = '\0';
        MUST(bitnet_check_data(gguf, &log, &err));
        assert_text_has(said, "were not checked");
        assert_text_has(said, info->label);
        bitnet_gguf_close(gguf);
        return;
    }
    skip(); /* every type has a codec */
}

TEST(any_failing_allocation_is_out_of_memory)
{
    struct bitnet_gguf *gguf = make(BITNET_DTYPE_tq2_0, 0, NULL, 0);
    long live = bitnet_alloc_live(), n = 0;
    for (;; n++) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = bitnet_check_data(gguf, NULL, &err);
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!status) break;
        assert_int_equal(status, BITNET_MEMORY);
    }
    assert_true(n >= 2);
    bitnet_gguf_close(gguf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sound_tensors_of_every_type_that_we_read_are_accepted,
                                        make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(floats_that_are_not_finite_are_found_wherever_they_are,
                                        make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(codes_that_are_no_trit_are_found, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_tile_that_nobody_knows_is_told, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_type_that_cannot_be_decoded_is_said_to_be_unchecked,
                                        make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(any_failing_allocation_is_out_of_memory, make_dir,
                                        remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
