/* convert/values.c, logical.c, hash.c: the same trits and scales are the same model in
 * every type that holds them; any other trit, scale, name or shape is another one. */
#include "cm.h"

#include <bitnet/alloc.h>
#include <bitnet/doctor.h>
#include <bitnet/logical.h>
#include <bitnet/quant.h>

#include <stdio.h>
#include <stdlib.h>

#include "temp_dir.h"

/* Legal for every ternary type. */
enum { ROWS = 96, COLS = 768 };

static struct temp_dir dir;
static struct bitnet_error err;
static int8_t trits[ROWS * COLS];
static float row_scales[ROWS]; /* all the same unless a test says otherwise */
static const char *tensor_name = "t";

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static int set_up(void **state)
{
    uint32_t random = 12345;
    (void)state;
    temp_dir_make(&dir);
    for (size_t i = 0; i < ROWS * COLS; i++) {
        random = random * 1664525u + 1013904223u;
        trits[i] = (int8_t)((random >> 24) % 3 - 1);
    }
    memset(trits + 5 * COLS, 0, 2 * COLS); /* rows, and so blocks, of zeros */
    for (size_t r = 0; r < ROWS; r++) row_scales[r] = 0.625f;
    tensor_name = "t";
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

static bool is_zero(const int8_t *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (t[i]) return false;
    return true;
}

/* What the type keeps; a block of zeros keeps `of_zeros`. */
static float *spread_scales(const struct bitnet_layout *layout, float of_zeros)
{
    size_t n = bitnet_scale_count(layout), per_row = n >= ROWS ? n / ROWS : 1;
    float *scales = calloc(n, sizeof *scales);
    assert_non_null(scales);
    for (size_t i = 0; i < n; i++) {
        size_t run = COLS / per_row;
        bool zeros = n >= ROWS && is_zero(trits + i * run, run);
        scales[i] = zeros ? of_zeros : row_scales[n >= ROWS ? i / per_row : 0];
    }
    return scales;
}

static uint8_t *encode(struct bitnet_layout *layout, float of_zeros, size_t n_bytes)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    uint8_t *bytes = calloc(n_bytes, 1);
    assert_non_null(bytes);
    MUST(bitnet_layout_check(layout, &err));
    if (codec->encode_trits) {
        float *scales = spread_scales(layout, of_zeros);
        codec->encode_trits(layout, trits, scales, bytes, n_bytes);
        free(scales);
        return bytes;
    }
    float *values = malloc(sizeof *values * ROWS * COLS);
    assert_non_null(values);
    for (size_t i = 0; i < ROWS * COLS; i++) values[i] = (float)trits[i] * row_scales[i / COLS];
    codec->encode_rows(layout, values, ROWS, NULL, bytes);
    free(values);
    return bytes;
}

static struct bitnet_gguf *make(enum bitnet_dtype type, float of_zeros)
{
    static const uint64_t dims[2] = {COLS, ROWS}, two[1] = {2};
    static const float extra[2] = {1.5f, -0.0f};
    const struct bitnet_dtype_info *info = bitnet_dtype_info(type);
    struct bitnet_layout layout = {.type = type, .rows = ROWS, .cols = COLS};
    struct bitnet_gguf_writer *writer;
    struct bitnet_gguf *gguf;
    uint64_t n_bytes;
    enum bitnet_dialect dialect = BITNET_DIALECT_GGML;
    while (info->type_number[dialect] == BITNET_NO_NUMBER) dialect++;
    MUST(bitnet_tensor_bytes(type, dims, 2, &n_bytes, &err));
    uint8_t *bytes = encode(&layout, of_zeros, (size_t)n_bytes);
    const char *path = temp_dir_file(&dir, "a.gguf");
    MUST(bitnet_gguf_writer_new(
        &writer, path, &(struct bitnet_gguf_writer_options){.dialect = dialect, .overwrite = true},
        &err));
    if (layout.tile.rows) {
        bitnet_gguf_put_u32(writer, "bitnet.tl.96x768.bm", layout.tile.rows);
        bitnet_gguf_put_u32(writer, "bitnet.tl.96x768.bk", layout.tile.cols);
        bitnet_gguf_put_u32(writer, "bitnet.tl.96x768.bmm", layout.tile.sub_rows);
    }
    MUST(bitnet_gguf_tensor_declare(writer, bitnet_str_of(tensor_name), type, dims, 2, &err));
    MUST(bitnet_gguf_tensor_declare(writer, BITNET_STR("extra"), BITNET_DTYPE_f32, two, 1, &err));
    MUST(bitnet_gguf_begin(writer, &err));
    MUST(bitnet_gguf_tensor_write(writer, bytes, (size_t)n_bytes, &err));
    MUST(bitnet_gguf_tensor_write(writer, extra, sizeof extra, &err));
    MUST(bitnet_gguf_finish(writer, &err));
    free(bytes);
    MUST(bitnet_gguf_open(
        &gguf, path, &(struct bitnet_gguf_options){.dialect_is_given = true, .dialect = dialect},
        &err));
    return gguf;
}

struct digest {
    uint8_t bytes[BITNET_DIGEST_BYTES];
};

static struct digest hash(enum bitnet_dtype type, float of_zeros, enum bitnet_hash_kind kind)
{
    struct digest digest;
    struct bitnet_gguf *gguf = make(type, of_zeros);
    MUST(bitnet_hash_model(gguf, &(struct bitnet_hash_options){.kind = kind}, digest.bytes, &err));
    bitnet_gguf_close(gguf);
    return digest;
}

static struct digest logical(enum bitnet_dtype type)
{
    return hash(type, 0.0f, BITNET_HASH_LOGICAL);
}

static bool same(struct digest a, struct digest b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

static bool is_written_ternary(enum bitnet_dtype type)
{
    const struct bitnet_codec *codec = bitnet_codec(type);
    return codec && codec->encode_trits && codec->decode_trits;
}

TEST(the_logical_hash_is_the_same_in_every_ternary_type)
{
    struct digest first = logical(BITNET_DTYPE_i2_s);
    size_t n = 0;
    for (unsigned type = 0; type < BITNET_DTYPE_COUNT; type++) {
        if (!is_written_ternary((enum bitnet_dtype)type)) continue;
        if (!same(first, logical((enum bitnet_dtype)type)))
            fail_msg("%s differs", bitnet_dtype_info((enum bitnet_dtype)type)->label);
        n++;
    }
    assert_true(n >= 7);
}

TEST(the_scale_of_zeros_does_not_count)
{
    struct digest first = logical(BITNET_DTYPE_tq2_0);
    assert_true(same(first, hash(BITNET_DTYPE_tq2_0, 17.0f, BITNET_HASH_LOGICAL)));
    assert_true(same(first, hash(BITNET_DTYPE_iq2_bn, -3.0f, BITNET_HASH_LOGICAL)));
    assert_false(same(hash(BITNET_DTYPE_tq2_0, 0.0f, BITNET_HASH_RAW),
                      hash(BITNET_DTYPE_tq2_0, 17.0f, BITNET_HASH_RAW)));
}

TEST(a_negative_scale_is_its_opposite_with_opposite_trits)
{
    struct digest first = logical(BITNET_DTYPE_i2_s);
    for (size_t i = 0; i < ROWS * COLS; i++) trits[i] = (int8_t)-trits[i];
    assert_false(same(first, logical(BITNET_DTYPE_i2_s)));
    for (size_t r = 0; r < ROWS; r++) row_scales[r] = -row_scales[r];
    assert_true(same(first, logical(BITNET_DTYPE_i2_s)));
}

TEST(any_other_trit_scale_or_name_gives_another_hash)
{
    struct digest first = logical(BITNET_DTYPE_iq2_bn);
    trits[ROWS * COLS - 1] = trits[ROWS * COLS - 1] ? 0 : 1;
    struct digest other_trit = logical(BITNET_DTYPE_iq2_bn);
    assert_false(same(first, other_trit));
    row_scales[ROWS - 1] = 0.5f;
    struct digest other_scale = logical(BITNET_DTYPE_iq2_bn);
    assert_false(same(other_trit, other_scale));
    tensor_name = "u";
    assert_false(same(other_scale, logical(BITNET_DTYPE_iq2_bn)));
}

static size_t n_named;

static void count_name(void *user, struct bitnet_str name, const uint8_t *digest)
{
    (void)user;
    assert_non_null(digest);
    assert_true(bitnet_str_is(name, n_named == 0 ? "extra" : "t")); /* in the order of the names */
    n_named++;
}

TEST(every_tensor_has_its_own_digest_in_the_order_of_names)
{
    struct digest digest;
    struct bitnet_gguf *gguf = make(BITNET_DTYPE_f16, 0);
    n_named = 0;
    MUST(bitnet_hash_model(
        gguf, &(struct bitnet_hash_options){.kind = BITNET_HASH_LOGICAL, .each = count_name},
        digest.bytes, &err));
    assert_int_equal(n_named, 2);
    bitnet_gguf_close(gguf);
}

TEST(floats_of_any_width_hash_by_value)
{
    assert_true(same(logical(BITNET_DTYPE_f32), logical(BITNET_DTYPE_f16)));
    assert_true(same(logical(BITNET_DTYPE_f32), logical(BITNET_DTYPE_bf16)));
    assert_false(same(hash(BITNET_DTYPE_f32, 0, BITNET_HASH_RAW),
                      hash(BITNET_DTYPE_f16, 0, BITNET_HASH_RAW)));
}

/* ------------------------------------------------------------------ compare */

static enum bitnet_status compare(struct bitnet_gguf *a, struct bitnet_gguf *b)
{
    struct bitnet_gguf_diff diff = {.compare = bitnet_logical_compare, .only = "t"};
    enum bitnet_status status = bitnet_gguf_compare(a, b, &diff, &err);
    if (status != BITNET_CHECK) return status;
    return bitnet_logical_compare(a, bitnet_gguf_find_tensor(a, BITNET_STR("t")), b,
                                  bitnet_gguf_find_tensor(b, BITNET_STR("t")), &err);
}

TEST(values_are_compared_whatever_the_types)
{
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_f32, BITNET_DTYPE_f16, BITNET_DTYPE_tl2,
                                              BITNET_DTYPE_tq1_0, BITNET_DTYPE_iq2_bn_r4};
    struct bitnet_gguf *a = make(BITNET_DTYPE_i2_s, 0);
    for (size_t i = 0; i < COUNT(types); i++) {
        struct bitnet_gguf *b = make(types[i], 0);
        MUST(compare(a, b));
        MUST(compare(b, a));
        bitnet_gguf_close(b);
    }
    trits[3 * COLS + 7] = (int8_t)(trits[3 * COLS + 7] == 1 ? -1 : 1);
    trits[9 * COLS + 1] = (int8_t)(trits[9 * COLS + 1] == 1 ? -1 : 1);
    struct bitnet_gguf *b = make(BITNET_DTYPE_tl2, 0);
    assert_int_equal(compare(a, b), BITNET_CHECK);
    assert_text_has(err.text, "row 3, column 7 is ");
    assert_text_has(err.text, "2 values differ, by ");
    bitnet_gguf_close(a);
    bitnet_gguf_close(b);
}

TEST(any_failing_allocation_is_out_of_memory)
{
    struct bitnet_gguf *a = make(BITNET_DTYPE_tq2_0, 0), *b = make(BITNET_DTYPE_i2_s, 0);
    long live = bitnet_alloc_live(), n = 0;
    for (;; n++) {
        struct digest digest;
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = bitnet_hash_model(
            a, &(struct bitnet_hash_options){.kind = BITNET_HASH_LOGICAL}, digest.bytes, &err);
        if (!status) status = compare(a, b);
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!status) break;
        assert_int_equal(status, BITNET_MEMORY);
    }
    assert_true(n > 8);
    bitnet_gguf_close(a);
    bitnet_gguf_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_logical_hash_is_the_same_in_every_ternary_type, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_scale_of_zeros_does_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_negative_scale_is_its_opposite_with_opposite_trits,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_other_trit_scale_or_name_gives_another_hash, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_tensor_has_its_own_digest_in_the_order_of_names,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(floats_of_any_width_hash_by_value, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_are_compared_whatever_the_types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_failing_allocation_is_out_of_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
