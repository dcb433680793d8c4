/* The codecs of ggml's types against the gguf Python package: random blocks and their numbers,
 * recorded in tests/golden/kernels by scripts/golden/make_ggml_types.py. Equal bit by bit. And the
 * two types that package does not know, against numbers worked out by hand. */
#include <bitnet/alloc.h>
#include <bitnet/arena.h>
#include <bitnet/file.h>
#include <bitnet/json.h>
#include <bitnet/quant.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>

#define RECORDED BITNET_SOURCE_DIR "/tests/golden/kernels/ggml_types.json"

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static struct bitnet_bytes unhex(const struct bitnet_json *object, const char *name)
{
    struct bitnet_str text = {NULL, 0};
    assert_int_equal(bitnet_json_str(object, name, BITNET_REQUIRED, &text, NULL), BITNET_OK);
    uint8_t *bytes = malloc(text.n / 2);
    for (size_t i = 0; i < text.n / 2; i++) {
        bytes[i] = (uint8_t)(digit(text.at[2 * i]) << 4 | digit(text.at[2 * i + 1]));
    }
    return (struct bitnet_bytes){bytes, text.n / 2};
}

static void check_type(const struct bitnet_json *entry)
{
    struct bitnet_str name = {NULL, 0};
    enum bitnet_dtype type;
    bitnet_json_str(entry, "name", BITNET_REQUIRED, &name, NULL);
    assert_true(bitnet_dtype_from_name(name, &type));
    const struct bitnet_bytes in = unhex(entry, "bytes"), want = unhex(entry, "floats");
    const struct bitnet_layout l = {.type = type, .rows = 1, .cols = want.n / 4};
    assert_int_equal(bitnet_rows_bytes(&l, 1), in.n);
    float *got = malloc(want.n);
    bitnet_codec(type)->decode_rows(&l, in.at, 1, got);
    for (size_t i = 0; i < l.cols; i++) {
        const float w = bitnet_load_f32(want.at + 4 * i);
        if (got[i] != w) {
            fail_msg("%.*s: element %zu is %.9g, gguf has %.9g", BITNET_STR_ARGS(name), i,
                     (double)got[i], (double)w);
        }
    }
    free(got);
    free((void *)in.at);
    free((void *)want.at);
}

static void every_type_of_ggml_decodes_as_the_gguf_package_does(void **state)
{
    (void)state;
    struct bitnet_arena arena = {0};
    struct bitnet_str text;
    struct bitnet_error err = {0};
    const struct bitnet_json *root = NULL;
    if (bitnet_read_file(RECORDED, 1u << 20, &text, &err)) fail_msg("%s", err.text);
    if (bitnet_json_parse(&root, text, NULL, &arena, &err)) fail_msg("%s", err.text);
    const struct bitnet_json *types = bitnet_json_get(root, "types");
    assert_true(types && types->n_children == 14);
    for (const struct bitnet_json *e = types->child; e; e = e->next) check_type(e);
    bitnet_arena_free(&arena);
    bitnet_free((void *)text.at);
}

/* Digits of 64 weights 2, 1, 0, 2, 1, 0, ... in the order of the drawing in quant/iq1_bn.c: byte =
 * ceil(v * 256 / 243) with element j as digit 4 - j. */
static void iq1_bn_decodes_as_drawn(void **state)
{
    (void)state;
    static const unsigned power[5] = {1, 3, 9, 27, 81}; /* weight of element j within its byte */
    uint8_t row[2 + 13] = {0x00, 0x38};                 /* scale 0.5 */
    int digit_of[64];
    for (int e = 0; e < 64; e++) digit_of[e] = 2 - e % 3;
    for (int g = 0; g < 4; g++) {
        for (int b = 0; b < 3; b++) {
            unsigned v = 0;
            for (int j = 0; j < 5; j++) v += (unsigned)digit_of[16 * g + 5 * b + j] * power[j];
            row[2 + 3 * g + b] = (uint8_t)((v * 256 + 242) / 243);
        }
    }
    unsigned v = 0;
    for (int g = 0; g < 4; g++) v += (unsigned)digit_of[16 * g + 15] * power[g];
    row[14] = (uint8_t)((v * 256 + 242) / 243);
    const struct bitnet_layout l = {.type = BITNET_DTYPE_iq1_bn, .rows = 1, .cols = 64};
    float x[64], scale;
    int8_t trits[64];
    bitnet_codec(l.type)->decode_rows(&l, row, 1, x);
    assert_int_equal(bitnet_codec(l.type)->decode_trits(&l, row, 15, trits, &scale, NULL), 0);
    assert_true(scale == 0.5f);
    for (int e = 0; e < 64; e++) {
        assert_int_equal(trits[e], digit_of[e] - 1);
        assert_true(x[e] == 0.5f * (float)(digit_of[e] - 1));
    }
}

static void q2_0_decodes_as_drawn(void **state)
{
    (void)state;
    uint8_t block[18] = {0x00, 0x40};                    /* scale 2 */
    for (size_t i = 0; i < 16; i++) block[2 + i] = 0xe4; /* codes 0, 1, 2, 3 */
    const struct bitnet_layout l = {.type = BITNET_DTYPE_q2_0, .rows = 1, .cols = 64};
    float x[64];
    bitnet_codec(l.type)->decode_rows(&l, block, 1, x);
    for (int e = 0; e < 64; e++) assert_true(x[e] == 2.0f * (float)(e % 4 - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_of_ggml_decodes_as_the_gguf_package_does),
        cmocka_unit_test(iq1_bn_decodes_as_drawn),
        cmocka_unit_test(q2_0_decodes_as_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
