/* The codecs without anybody else's files: every ternary type gives its trits and scales back, for
 * every legal shape; illegal shapes, codes and scales are refused with their numbers; every type
 * decodes what it encodes to the value that the drawing in its file promises. */
#include <bitnet/quant.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 42;

static unsigned next_random(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static struct bitnet_layout shape(enum bitnet_dtype type, size_t rows, size_t cols)
{
    return (struct bitnet_layout){.type = type, .rows = rows, .cols = cols};
}

static struct bitnet_layout tiled(enum bitnet_dtype type, size_t rows, size_t cols, uint32_t bm,
                                  uint32_t bk, uint32_t sub_rows)
{
    struct bitnet_layout l = shape(type, rows, cols);
    l.tile = (struct bitnet_tile){bm, bk, sub_rows};
    return l;
}

static size_t tensor_bytes(const struct bitnet_layout *l)
{
    const uint64_t dims[2] = {l->cols, l->rows};
    uint64_t n = 0;
    assert_int_equal(bitnet_tensor_bytes(l->type, dims, 2, &n, NULL), BITNET_OK);
    return (size_t)n;
}

struct ternary {
    int8_t *trits;
    float *scales;
    uint8_t *bytes;
    size_t n_trits, n_scales, n_bytes;
};

static struct ternary random_ternary(const struct bitnet_layout *l)
{
    struct ternary t = {.n_trits = l->rows * l->cols, .n_scales = bitnet_scale_count(l)};
    t.n_bytes = tensor_bytes(l);
    t.trits = malloc(t.n_trits);
    t.scales = malloc(4 * t.n_scales);
    t.bytes = malloc(t.n_bytes);
    for (size_t i = 0; i < t.n_trits; i++) t.trits[i] = (int8_t)next_random(3) - 1;
    for (size_t i = 0; i < t.n_scales; i++) t.scales[i] = (float)(1 + next_random(1000)) / 512;
    memset(t.bytes, 0xee, t.n_bytes);
    return t;
}

static void free_ternary(struct ternary t)
{
    free(t.trits);
    free(t.scales);
    free(t.bytes);
}

/* Encodes and decodes random trits of this shape. False: the type refuses the shape. */
static bool round_trip(struct bitnet_layout l)
{
    const struct bitnet_codec *codec = bitnet_codec(l.type);
    struct bitnet_error err = {0};
    if (bitnet_layout_check(&l, &err)) return false;
    struct ternary t = random_ternary(&l), back = random_ternary(&l);
    codec->encode_trits(&l, t.trits, t.scales, t.bytes, t.n_bytes);
    if (codec->decode_trits(&l, t.bytes, t.n_bytes, back.trits, back.scales, &err)) {
        fail_msg("%zu x %zu: %s", l.rows, l.cols, err.text);
    }
    assert_memory_equal(back.trits, t.trits, t.n_trits);
    assert_memory_equal(back.scales, t.scales, 4 * t.n_scales);
    codec->encode_trits(&l, back.trits, back.scales, back.bytes, back.n_bytes);
    assert_memory_equal(back.bytes, t.bytes, t.n_bytes);
    free_ternary(back);
    free_ternary(t);
    return true;
}

static void every_ternary_type_gives_trits_and_scales_back_in_every_shape(void **state)
{
    (void)state;
    for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
        const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)type);
        if (!codec || !codec->encode_trits) continue;
        size_t n = 0;
        for (size_t rows = 1; rows <= 352; rows += rows < 8 ? 1 : 8) {
            for (size_t cols = 32; cols <= 1024; cols += 32) {
                n += round_trip(
                    (struct bitnet_layout){.type = codec->type, .rows = rows, .cols = cols});
            }
        }
        print_message("%s: %zu shapes\n", bitnet_dtype_info(codec->type)->name, n);
        assert_true(n >= 100);
    }
}

/* A matrix encoded in bands of every size is the matrix encoded at once, and so is what is read. */
static void check_bands(struct bitnet_layout l, size_t band)
{
    const struct bitnet_codec *codec = bitnet_codec(l.type);
    struct bitnet_error err = {0};
    struct ternary t = random_ternary(&l), back = random_ternary(&l);
    uint8_t *scratch = malloc(bitnet_band_scratch(&l, band) + 1);
    codec->encode_trits(&l, t.trits, t.scales, t.bytes, t.n_bytes);
    assert_int_equal(bitnet_layout_bytes(&l), t.n_bytes);
    for (size_t row = 0; row < l.rows; row += band) {
        const size_t n = l.rows - row < band ? l.rows - row : band;
        const size_t scale = t.n_scales == 1 ? 0 : row * (t.n_scales / l.rows);
        bitnet_band_encode(&l, row, n, t.trits + row * l.cols, t.scales + scale, scratch,
                           back.bytes);
    }
    assert_memory_equal(back.bytes, t.bytes, t.n_bytes);
    for (size_t row = 0; row < l.rows; row += band) {
        const size_t n = l.rows - row < band ? l.rows - row : band;
        const size_t scale = t.n_scales == 1 ? 0 : row * (t.n_scales / l.rows);
        if (bitnet_band_decode(&l, row, n, t.bytes, t.n_bytes, scratch, back.trits + row * l.cols,
                               back.scales + scale, &err)) {
            fail_msg("rows %zu on: %s", row, err.text);
        }
    }
    assert_memory_equal(back.trits, t.trits, t.n_trits);
    assert_memory_equal(back.scales, t.scales, 4 * t.n_scales);
    free(scratch);
    free_ternary(t);
    free_ternary(back);
}

static void bands_of_every_ternary_type_make_the_bytes_of_the_whole(void **state)
{
    static const size_t shapes[][2] = {{1, 256},  {4, 512},   {7, 256},
                                       {96, 256}, {320, 768}, {544, 1024}};
    (void)state;
    for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
        const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)type);
        if (!codec || !codec->encode_trits) continue;
        size_t n = 0;
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            struct bitnet_layout l = shape(codec->type, shapes[s][0], shapes[s][1]);
            if (bitnet_layout_check(&l, NULL)) continue;
            const size_t step = bitnet_band_step(&l);
            for (size_t band = step; band < 2 * l.rows && ++n; band *= 2) check_bands(l, band);
        }
        print_message("%s: %zu times\n", bitnet_dtype_info(codec->type)->name, n);
        assert_true(n >= 4);
    }
}

/* What a band refuses is named by its place in the whole. */
static void damage_in_a_band_is_named_by_its_row_in_the_tensor(void **state)
{
    (void)state;
    struct bitnet_layout l = shape(BITNET_DTYPE_tq2_0, 16, 256);
    struct ternary t = random_ternary(&l);
    struct bitnet_error err = {0};
    bitnet_codec(l.type)->encode_trits(&l, t.trits, t.scales, t.bytes, t.n_bytes);
    t.bytes[66 * 13] |= 3;
    assert_int_equal(
        bitnet_band_decode(&l, 12, 4, t.bytes, t.n_bytes, NULL, t.trits, t.scales, &err),
        BITNET_FORMAT);
    assert_non_null(strstr(err.text, "row 13, column 0 has code 3"));
    t.bytes[66 * 13] &= 0xfc;
    bitnet_store_u16(t.bytes + 66 * 14 + 64, 0x7c00);
    assert_int_equal(
        bitnet_band_decode(&l, 12, 4, t.bytes, t.n_bytes, NULL, t.trits, t.scales, &err),
        BITNET_FORMAT);
    assert_non_null(strstr(err.text, "scale 14 is inf"));
    assert_int_equal(
        bitnet_band_decode(&l, 12, 4, t.bytes, t.n_bytes - 1, NULL, t.trits, t.scales, &err),
        BITNET_FORMAT);
    free_ternary(t);
}

/* Every class of floats: all exponents, with fractions around every place where rounding decides.
 */
static void halves_are_rounded_as_base_defines_it(void **state)
{
    enum { N = 1024 };
    static const uint32_t fractions[] = {0,        1,        0xfff,    0x1000,   0x1001,   0x1fff,
                                         0x2000,   0x2fff,   0x3000,   0x3001,   0x7fff,   0x8000,
                                         0x8001,   0x18000,  0x3fffff, 0x400000, 0x400001, 0x7fe000,
                                         0x7fefff, 0x7ff000, 0x7fffff};
    const enum bitnet_dtype types[] = {BITNET_DTYPE_f16, BITNET_DTYPE_bf16};
    (void)state;
    for (uint32_t top = 0; top < 512; top++) { /* sign and exponent */
        float x[N];
        uint8_t got[2][2 * N];
        for (size_t i = 0; i < N; i++) {
            uint32_t fraction = i < sizeof fractions / 4 ? fractions[i] : next_random(1u << 23);
            uint32_t bits = top << 23 | fraction;
            memcpy(&x[i], &bits, sizeof bits);
        }
        for (size_t t = 0; t < 2; t++) {
            const struct bitnet_layout l = shape(types[t], 1, N - top % 70);
            bitnet_codec(types[t])->encode_rows(&l, x, 1, NULL, got[t]);
        }
        for (size_t i = 0; i < N - top % 70; i++) {
            assert_int_equal(bitnet_load_u16(got[0] + 2 * i), bitnet_f32_to_f16(x[i]));
            assert_int_equal(bitnet_load_u16(got[1] + 2 * i), bitnet_f32_to_bf16(x[i]));
        }
    }
}

/* Levels by the definition: x / (max / 127), half away from zero. */
static void levels_of_q8_0_are_rounded_half_away_from_zero(void **state)
{
    const struct bitnet_codec *codec = bitnet_codec(BITNET_DTYPE_q8_0);
    const struct bitnet_layout l = shape(BITNET_DTYPE_q8_0, 1, 32);
    (void)state;
    for (size_t n = 0; n < 20000; n++) {
        float x[32];
        uint8_t out[34];
        const float unit = ldexpf(1 + (float)next_random(1000) / 1024, (int)next_random(250) - 149);
        for (size_t i = 0; i < 32; i++) {
            x[i] = ((float)next_random(509) / 2 - 127) * unit; /* halves in every second place */
            if (next_random(16) == 0) x[i] = nextafterf(x[i], next_random(2) ? 1e30f : -1e30f);
        }
        float amax = 0;
        for (size_t i = 0; i < 32; i++) amax = fmaxf(amax, fabsf(x[i]));
        const float d = amax / 127.0f, id = d != 0 ? 1.0f / d : 0.0f;
        codec->encode_rows(&l, x, 1, NULL, out);
        assert_int_equal(bitnet_load_u16(out), bitnet_f32_to_f16(d));
        for (size_t i = 0; i < 32; i++) {
            const float r = roundf(x[i] * id);
            assert_int_equal((int8_t)out[2 + i], (int)(r > 127 ? 127 : r > -127 ? r : -127));
        }
    }
}

static void tl2_takes_every_legal_tile(void **state)
{
    (void)state;
    size_t n = 0;
    for (uint32_t rows = 32; rows <= 160; rows += 32) {
        for (uint32_t cols = 24; cols <= 240; cols += 24) {
            for (size_t k = 256; k <= 1056; k += 32) {
                n += round_trip(tiled(BITNET_DTYPE_tl2, 2 * rows, k, rows, cols, 32));
            }
        }
    }
    assert_true(n >= 200);
}

static void tl1_takes_every_legal_tile(void **state)
{
    (void)state;
    size_t n = 0;
    for (uint32_t sub = 32; sub <= 64; sub += 32) {
        for (uint32_t rows = 64; rows <= 320; rows += 64) {
            for (uint32_t cols = 32; cols <= 256; cols += 32) {
                n += round_trip(tiled(BITNET_DTYPE_tl1, 2 * rows, 3 * cols, rows, cols, sub));
            }
        }
    }
    assert_int_equal(n, 2 * 5 * 8);
}

static void known_models_get_the_tiles_of_bitnet_cpp(void **state)
{
    (void)state;
    struct bitnet_tile t;
    assert_true(bitnet_tile_known(BITNET_DTYPE_tl2, 1536, 1536, &t));
    assert_true(t.rows == 128 && t.cols == 192 && t.sub_rows == 32);
    assert_true(bitnet_tile_known(BITNET_DTYPE_tl1, 3200, 3200, &t));
    assert_true(t.rows == 320 && t.cols == 128 && t.sub_rows == 64);
    assert_false(bitnet_tile_known(BITNET_DTYPE_tl2, 2560, 6912, &t));
    assert_false(bitnet_tile_known(BITNET_DTYPE_i2_s, 1536, 1536, &t));
    struct bitnet_layout l = {.type = BITNET_DTYPE_tl2, .rows = 6912, .cols = 2560};
    assert_int_equal(bitnet_layout_check(&l, NULL), BITNET_OK);
    assert_true(l.tile.rows == 256 && l.tile.cols == 96 && l.tile.sub_rows == 32);
}

/* --- refusals --- */

static void assert_refused(struct bitnet_layout l, const char *words)
{
    struct bitnet_error err = {0};
    assert_int_equal(bitnet_layout_check(&l, &err), BITNET_UNSUPPORTED);
    if (!strstr(err.text, words)) fail_msg("'%s' does not say '%s'", err.text, words);
}

static void shapes_that_do_not_fit_are_refused_with_their_numbers(void **state)
{
    (void)state;
    assert_refused(shape(BITNET_DTYPE_i2_s, 3200, 8640),
                   "I2_S: cols 8640 is not a multiple of 128");
    assert_refused(shape(BITNET_DTYPE_tq2_0, 4, 5460), "TQ2_0: cols 5460 is not a multiple of 256");
    assert_refused(shape(BITNET_DTYPE_iq2_bn_r4, 6, 256),
                   "IQ2_BN_R4: rows 6 is not a multiple of 4");
    assert_refused(shape(BITNET_DTYPE_tl2, 64, 224), "fewer than 256");
    assert_refused(shape(BITNET_DTYPE_tl2, 48, 512), "rows 48");
    assert_refused(shape(BITNET_DTYPE_tl2, 64, 520), "cols 520");
    assert_refused(tiled(BITNET_DTYPE_tl2, 64, 512, 64, 100, 32), "tile 64,100,32 is not legal");
    assert_refused(tiled(BITNET_DTYPE_tl1, 128, 512, 128, 64, 16), "tile 128,64,16 is not legal");
    assert_refused(shape(BITNET_DTYPE_f32, 0, 4), "empty");
}

/* Sets byte `at` of an encoded matrix and expects the decoder to name row, column and code. */
static void assert_bad_code(enum bitnet_dtype type, size_t at, uint8_t byte, const char *words)
{
    struct bitnet_layout l = {.type = type, .rows = 32, .cols = 256};
    assert_int_equal(bitnet_layout_check(&l, NULL), BITNET_OK);
    struct ternary t = random_ternary(&l);
    const struct bitnet_codec *codec = bitnet_codec(type);
    codec->encode_trits(&l, t.trits, t.scales, t.bytes, t.n_bytes);
    t.bytes[at] = byte;
    struct bitnet_error err = {0};
    assert_int_equal(codec->decode_trits(&l, t.bytes, t.n_bytes, t.trits, t.scales, &err),
                     BITNET_FORMAT);
    if (!strstr(err.text, words)) fail_msg("'%s' does not say '%s'", err.text, words);
    free_ternary(t);
}

static void codes_that_no_trit_has_are_refused_where_they_are(void **state)
{
    (void)state;
    /* byte 64 + 5 of I2_S: group 2, so row 1; bits 5..4 are element 32 + 5 */
    assert_bad_code(BITNET_DTYPE_i2_s, 69, 0x30, "I2_S: row 1, column 37 has code 3");
    assert_bad_code(BITNET_DTYPE_tq2_0, 66 + 32 + 1, 0x0c, "TQ2_0: row 1, column 161 has code 3");
    assert_bad_code(BITNET_DTYPE_iq2_bn, 68 + 4 + 16 + 2, 0xc0,
                    "IQ2_BN: row 1, column 114 has code 3");
    assert_bad_code(BITNET_DTYPE_iq2_bn_r4, 16 + 64 + 16 * 1 + 4 * 2 + 3, 0x03,
                    "IQ2_BN_R4: row 2, column 83 has code 3");
    assert_bad_code(BITNET_DTYPE_tl1, 1, 0x94, "TL1: row 1, column 0 has code 9");
    assert_bad_code(BITNET_DTYPE_tl2, 8, 0x0e, "TL2: row 16, column 3 has code 14");
}

static void scales_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
        const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)type);
        if (!codec || !codec->encode_trits) continue;
        struct bitnet_layout l = {.type = codec->type, .rows = 64, .cols = 256};
        assert_int_equal(bitnet_layout_check(&l, NULL), BITNET_OK);
        struct ternary t = random_ternary(&l);
        t.scales[t.n_scales - 1] = INFINITY;
        codec->encode_trits(&l, t.trits, t.scales, t.bytes, t.n_bytes);
        struct bitnet_error err = {0};
        assert_int_equal(codec->decode_trits(&l, t.bytes, t.n_bytes, t.trits, t.scales, &err),
                         BITNET_FORMAT);
        assert_non_null(strstr(err.text, "is inf"));
        free_ternary(t);
    }
}

static void a_tensor_of_the_wrong_size_is_refused(void **state)
{
    (void)state;
    for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
        const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)type);
        if (!codec || !codec->encode_trits) continue;
        struct bitnet_layout l = {.type = codec->type, .rows = 64, .cols = 256};
        assert_int_equal(bitnet_layout_check(&l, NULL), BITNET_OK);
        struct ternary t = random_ternary(&l);
        codec->encode_trits(&l, t.trits, t.scales, t.bytes, t.n_bytes);
        struct bitnet_error err = {0};
        assert_int_equal(codec->decode_trits(&l, t.bytes, t.n_bytes - 1, t.trits, t.scales, &err),
                         BITNET_FORMAT);
        assert_non_null(strstr(err.text, "64 x 256"));
        free_ternary(t);
    }
}

/* --- numbers --- */

/* The largest error that a type's rounding may leave, relative to the block's largest magnitude. */
static double error_bound(enum bitnet_dtype type)
{
    switch (type) {
    case BITNET_DTYPE_f32:
        return 0;
    case BITNET_DTYPE_f16:
        return 1.0 / 2048;
    case BITNET_DTYPE_bf16:
        return 1.0 / 256;
    case BITNET_DTYPE_q8_0:
        return 0.005;
    case BITNET_DTYPE_q6_k:
        return 0.04;
    case BITNET_DTYPE_q4_0:
        return 0.13;
    default:
        return 1; /* ternary types: a weight may become its neighbour; IQ2_S: see the next test */
    }
}

static void what_is_encoded_decodes_to_near_numbers(void **state)
{
    (void)state;
    enum { ROWS = 8, COLS = 1024 };
    float *x = malloc(4 * ROWS * COLS), *back = malloc(4 * ROWS * COLS);
    for (size_t i = 0; i < ROWS * COLS; i++) x[i] = (float)next_random(20001) / 10000 - 1;
    for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
        const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)type);
        if (!codec || !codec->encode_rows) continue;
        const struct bitnet_layout l = {.type = codec->type, .rows = ROWS, .cols = COLS};
        uint8_t *bytes = malloc(bitnet_rows_bytes(&l, ROWS));
        codec->encode_rows(&l, x, ROWS, NULL, bytes);
        codec->decode_rows(&l, bytes, ROWS, back);
        for (size_t i = 0; i < ROWS * COLS; i++) {
            if (fabs((double)back[i] - (double)x[i]) > error_bound(codec->type)) {
                fail_msg("%s: %g became %g", bitnet_dtype_info(codec->type)->name, (double)x[i],
                         (double)back[i]);
            }
        }
        free(bytes);
    }
    free(back);
    free(x);
}

/* IQ2_S chooses eight numbers at once, so that a single one may be far off; what it keeps is the
 * sum of squares. At two and a half bits it must lose less than rounding to three levels would: a
 * ninth of uniform numbers' power (a step of 2/3, squared, by 12, over 1/3). */
static void iq2_s_loses_less_power_than_three_levels_would(void **state)
{
    (void)state;
    enum { ROWS = 32, COLS = 1024 };
    static float x[ROWS * COLS], back[ROWS * COLS];
    const struct bitnet_codec *codec = bitnet_codec(BITNET_DTYPE_iq2_s);
    const struct bitnet_layout l = {.type = codec->type, .rows = ROWS, .cols = COLS};
    uint8_t *bytes = malloc(bitnet_rows_bytes(&l, ROWS));
    for (size_t i = 0; i < ROWS * COLS; i++) x[i] = (float)next_random(20001) / 10000 - 1;
    codec->encode_rows(&l, x, ROWS, NULL, bytes);
    codec->decode_rows(&l, bytes, ROWS, back);
    for (size_t r = 0; r < ROWS; r++) {
        double lost = 0, power = 0;
        for (size_t i = r * COLS; i < (r + 1) * COLS; i++) {
            lost += pow((double)back[i] - (double)x[i], 2);
            power += pow((double)x[i], 2);
        }
        if (lost > power / 9) fail_msg("row %zu: %g of its power is lost", r, lost / power);
    }
    free(bytes);
}

/* A row alone has the same bytes as within its matrix, so big tensors can be streamed. */
static void rows_can_be_encoded_in_pieces(void **state)
{
    (void)state;
    enum { ROWS = 12, COLS = 512 };
    float *x = malloc(4 * ROWS * COLS);
    for (size_t i = 0; i < ROWS * COLS; i++) x[i] = (float)next_random(20001) / 10000 - 1;
    for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
        const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)type);
        if (!codec || !codec->encode_rows) continue;
        const struct bitnet_layout l = {.type = codec->type, .rows = ROWS, .cols = COLS};
        const size_t n = bitnet_rows_bytes(&l, ROWS), piece = n / 3;
        uint8_t *whole = malloc(n), *pieces = malloc(n);
        codec->encode_rows(&l, x, ROWS, NULL, whole);
        for (size_t p = 0; p < 3; p++) {
            codec->encode_rows(&l, x + p * 4 * COLS, 4, NULL, pieces + p * piece);
        }
        assert_memory_equal(pieces, whole, n);
        free(pieces);
        free(whole);
    }
    free(x);
}

/* Any bytes decode to something without a fault: what the sanitized build is for. */
static void random_bytes_decode_without_a_fault(void **state)
{
    (void)state;
    for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
        const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)type);
        if (!codec) continue;
        struct bitnet_layout l = {.type = codec->type, .rows = 64, .cols = 512};
        assert_int_equal(bitnet_layout_check(&l, NULL), BITNET_OK);
        struct ternary t = random_ternary(&l);
        float *x = malloc(4 * t.n_trits);
        for (size_t i = 0; i < t.n_bytes; i++) t.bytes[i] = (uint8_t)next_random(256);
        if (codec->decode_rows) codec->decode_rows(&l, t.bytes, l.rows, x);
        if (codec->decode_trits) {
            codec->decode_trits(&l, t.bytes, t.n_bytes, t.trits, t.scales, NULL);
        }
        free(x);
        free_ternary(t);
    }
}

/* Quantizers meet zeros, subnormals and huge numbers in real checkpoints. */
static void extreme_numbers_encode_without_a_fault(void **state)
{
    (void)state;
    static const float values[] = {0.0f, -0.0f, 1e-45f, -1e-40f, 1e-20f, 3e38f, -3e38f, 65519.0f};
    enum { ROWS = 4, COLS = 256 };
    float x[ROWS * COLS], back[ROWS * COLS];
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
        for (size_t i = 0; i < ROWS * COLS; i++) {
            x[i] = i % 3 ? values[v] : values[next_random(8)] * (i / COLS % 2 ? 1.0f : 0.0f);
        }
        for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
            const struct bitnet_codec *codec = bitnet_codec((enum bitnet_dtype)type);
            if (!codec || !codec->encode_rows) continue;
            const struct bitnet_layout l = {.type = codec->type, .rows = ROWS, .cols = COLS};
            uint8_t *bytes = malloc(bitnet_rows_bytes(&l, ROWS));
            codec->encode_rows(&l, x, ROWS, NULL, bytes);
            codec->decode_rows(&l, bytes, ROWS, back);
            free(bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ternary_type_gives_trits_and_scales_back_in_every_shape),
        cmocka_unit_test(bands_of_every_ternary_type_make_the_bytes_of_the_whole),
        cmocka_unit_test(damage_in_a_band_is_named_by_its_row_in_the_tensor),
        cmocka_unit_test(halves_are_rounded_as_base_defines_it),
        cmocka_unit_test(tl2_takes_every_legal_tile),
        cmocka_unit_test(tl1_takes_every_legal_tile),
        cmocka_unit_test(known_models_get_the_tiles_of_bitnet_cpp),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused_with_their_numbers),
        cmocka_unit_test(codes_that_no_trit_has_are_refused_where_they_are),
        cmocka_unit_test(scales_that_are_not_finite_are_refused),
        cmocka_unit_test(a_tensor_of_the_wrong_size_is_refused),
        cmocka_unit_test(what_is_encoded_decodes_to_near_numbers),
        cmocka_unit_test(iq2_s_loses_less_power_than_three_levels_would),
        cmocka_unit_test(rows_can_be_encoded_in_pieces),
        cmocka_unit_test(random_bytes_decode_without_a_fault),
        cmocka_unit_test(extreme_numbers_encode_without_a_fault),
        cmocka_unit_test(levels_of_q8_0_are_rounded_half_away_from_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
