/* The quantizer: the same bytes from every CPU set and from the device, which are also those of
 * convert's own loops; refusals; who did it, and what is told when a device fails. */
#include "cuda_support.h"

#include "bitnet/cpu.h"
#include "bitnet/quantizer.h"

#include "ternary.h" /* convert's */

static struct bitnet_cuda_plugin plugin;
static const struct bitnet_device_choice any = {.kind = BITNET_DEVICE_AUTO},
                                         host = {.kind = BITNET_DEVICE_CPU};

static void open_on(struct bitnet_quantizer *q, const struct bitnet_device_choice *choice,
                    uint32_t mask)
{
    struct bitnet_error err;
    plugin.api = api;
    if (bitnet_quantizer_open(q, choice, &plugin, bitnet_cpu_detect() & mask, &err))
        fail_msg("%s", err.text);
}

/* ------------------------------------------------------------------ weights of every kind */

enum weights {
    NORMAL,
    TERNARY,     /* -s, 0, s */
    ZERO,        /* +0 and -0 */
    DENORMAL,    /* below the smallest normal float, and zeros */
    TIES,        /* exactly half the absmean scale and half the largest, and their neighbours */
    HUGE_VALUES, /* whose sum overflows a float */
    MIXED,       /* every exponent */
    N_WEIGHTS
};

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Number `i` of n. Of ties: magnitudes 1.5 and 0.5 in equal numbers, so that the mean is 1 and 0.5
 * lies on the edge; then a few one bit beside it, in pairs that keep the sum. */
static float weight(enum weights kind, size_t i)
{
    const float sign = random_word() & 1 ? -1.0f : 1.0f;
    switch (kind) {
    case NORMAL:
        return (random_float() + random_float() + random_float()) * 0.02f;
    case TERNARY:
        return (float)((int)below(3) - 1) * 0.0371f;
    case ZERO:
        return sign * 0.0f;
    case DENORMAL:
        return sign * from_bits(random_word() & 0x7fffff);
    case TIES:
        return sign * (i % 8 == 0   ? from_bits(0x3f000001u)
                       : i % 8 == 2 ? from_bits(0x3effffffu)
                       : i % 2      ? 1.5f
                                    : 0.5f);
    case HUGE_VALUES:
        return sign * from_bits(0x7f000000u + (random_word() & 0x7fffff));
    default:
        return from_bits((random_word() & 0x807fffffu) | (uint32_t)below(255) << 23);
    }
}

static float *new_weights(enum weights kind, size_t n)
{
    float *w = need(malloc(n * sizeof *w));
    for (size_t i = 0; i < n; i++) w[i] = weight(kind, i);
    if (kind == TIES) w[n - 1] = 3.0f; /* half of the largest is 1.5: a tie of TQ2_0 */
    return w;
}

static uint8_t *encoded(struct bitnet_quantizer *q, const struct bitnet_layout *layout,
                        const float *weights)
{
    struct bitnet_layout filled = *layout;
    struct bitnet_error err;
    uint8_t *bytes = need(malloc(bitnet_layout_bytes(layout)));
    memset(bytes, 0x5a, bitnet_layout_bytes(layout));
    if (bitnet_quantizer_encode(q, &filled, weights, bytes, &err)) fail_msg("%s", err.text);
    return bytes;
}

/* What convert writes, by its own loops. */
static uint8_t *as_converted(const struct bitnet_layout *layout, const float *weights)
{
    const size_t rows = layout->rows, cols = layout->cols;
    const struct loops *loops = loops_select(bitnet_cpu_detect());
    uint8_t *bytes = need(calloc(1, bitnet_layout_bytes(layout)));
    if (bitnet_codec(layout->type)->encode_rows) {
        bitnet_codec(layout->type)->encode_rows(layout, weights, rows, NULL, bytes);
        return bytes;
    }
    struct row_facts *facts = need(malloc(rows * sizeof *facts));
    int8_t *trits = need(malloc(rows * cols));
    uint32_t s = 0;
    bool is_ternary = true;
    for (size_t r = 0; r < rows; r++) {
        loops->measure_row(weights + r * cols, cols, &facts[r]);
        if (facts[r].smallest == TERNARY_ALL_ZERO) continue;
        if (!s) s = facts[r].largest;
        is_ternary = is_ternary && facts[r].smallest == s && facts[r].largest == s;
    }
    const struct absmean absmean = ternary_absmean(facts, rows, cols);
    float scale = absmean.scale;
    if (s && is_ternary) scale = ternary_magnitude(s);
    for (size_t r = 0; r < rows; r++) {
        if (s && is_ternary)
            loops->sign_row(weights + r * cols, cols, trits + r * cols);
        else
            loops->round_row(weights + r * cols, cols, absmean.inverse, trits + r * cols);
    }
    bitnet_codec(layout->type)
        ->encode_trits(layout, trits, &scale, bytes, bitnet_layout_bytes(layout));
    free(facts), free(trits);
    return bytes;
}

/* ------------------------------------------------------------------ bytes */

struct shape {
    enum bitnet_dtype type;
    size_t rows, cols;
    struct bitnet_tile tile;
    bool is_on_device;
};

static const struct shape shapes[] = {
    {BITNET_DTYPE_i2_s, 1, 128, {0}, true},
    {BITNET_DTYPE_i2_s, 37, 384, {0}, true},
    {BITNET_DTYPE_i2_s, 200, 640, {0}, true},
    {BITNET_DTYPE_tq2_0, 1, 256, {0}, true},
    {BITNET_DTYPE_tq2_0, 133, 512, {0}, true},
    {BITNET_DTYPE_tl2, 32, 256, {32, 96, 32}, true},
    {BITNET_DTYPE_tl2, 128, 416, {64, 192, 32}, true},
    {BITNET_DTYPE_tl2, 96, 576, {96, 192, 32}, true}, /* no columns are left for pairs */
    {BITNET_DTYPE_tq1_0, 9, 256, {0}, false},
    {BITNET_DTYPE_q8_0, 5, 64, {0}, false},
};

static void check_encode(const struct shape *s, enum weights kind, struct bitnet_quantizer *on_any,
                         struct bitnet_quantizer *on_scalar, struct bitnet_quantizer *on_cpu)
{
    struct bitnet_layout layout = {.type = s->type, .rows = s->rows, .cols = s->cols};
    layout.tile = s->tile;
    struct bitnet_error err;
    if (bitnet_layout_check(&layout, &err)) fail_msg("%s", err.text);
    float *weights = new_weights(kind, s->rows * s->cols);
    uint8_t *want = as_converted(&layout, weights);
    uint8_t *of_device = encoded(on_any, &layout, weights);
    uint8_t *of_scalar = encoded(on_scalar, &layout, weights);
    uint8_t *of_cpu = encoded(on_cpu, &layout, weights);
    const size_t n = bitnet_layout_bytes(&layout);
    for (size_t i = 0; i < n; i++)
        if (of_device[i] != want[i] || of_scalar[i] != want[i] || of_cpu[i] != want[i])
            fail_msg("%s, %zu x %zu, weights %d, byte %zu: device %02x, scalar %02x, CPU %02x, "
                     "convert %02x",
                     bitnet_dtype_info(s->type)->label, s->rows, s->cols, (int)kind, i,
                     of_device[i], of_scalar[i], of_cpu[i], want[i]);
    free(weights), free(want), free(of_device), free(of_scalar), free(of_cpu);
}

TEST(bytes_are_the_same_on_every_provider)
{
    struct bitnet_quantizer on_any, on_scalar, on_cpu;
    struct bitnet_quantizer_stats stats;
    open_on(&on_any, &any, UINT32_MAX);
    open_on(&on_scalar, &host, 0);
    open_on(&on_cpu, &host, UINT32_MAX);
    uint64_t n_on_device = 0, n_rows = 0;
    for (size_t round = 0; round < 3; round++)
        for (size_t i = 0; i < COUNT(shapes); i++)
            for (int kind = 0; kind < N_WEIGHTS; kind++) {
                check_encode(&shapes[i], (enum weights)kind, &on_any, &on_scalar, &on_cpu);
                n_on_device += shapes[i].is_on_device;
                n_rows += shapes[i].rows;
            }
    assert_true(n_rows > 10000);
    bitnet_quantizer_stats(&on_any, &stats);
    assert_int_equal(stats.on_device[BITNET_QUANTIZER_ENCODE].calls, n_on_device);
    bitnet_quantizer_close(&on_any);
    bitnet_quantizer_close(&on_scalar);
    bitnet_quantizer_close(&on_cpu);
}

/* The edge by hand: mean 1, so 0.5 is rounded to the even 0 and its upper neighbour to 1. */
TEST(half_the_scale_is_rounded_to_even)
{
    struct bitnet_quantizer q;
    open_on(&q, &any, UINT32_MAX);
    float w[128];
    for (size_t i = 0; i < 128; i++) w[i] = i % 2 ? 1.5f : 0.5f;
    w[2] = -0.5f, w[3] = -1.5f;
    const struct bitnet_layout layout = {.type = BITNET_DTYPE_i2_s, .rows = 1, .cols = 128};
    uint8_t *bytes = encoded(&q, &layout, w);
    int8_t trits[128];
    float scale;
    struct bitnet_error err;
    assert_int_equal(
        bitnet_codec(BITNET_DTYPE_i2_s)
            ->decode_trits(&layout, bytes, bitnet_layout_bytes(&layout), trits, &scale, &err),
        BITNET_OK);
    assert_true(scale == 1);
    for (size_t i = 0; i < 128; i++) assert_int_equal(trits[i], i == 3 ? -1 : (int)(i % 2));
    free(bytes);
    bitnet_quantizer_close(&q);
}

TEST(what_is_not_finite_is_refused_by_its_place_on_every_provider)
{
    static const uint32_t bad[] = {0x7fc00000u, 0xffc00001u, 0x7f800001u, 0x7f800000u, 0xff800000u};
    struct bitnet_quantizer q[2];
    open_on(&q[0], &any, UINT32_MAX);
    open_on(&q[1], &host, UINT32_MAX);
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct bitnet_layout layout = {
            .type = shapes[i].type, .rows = shapes[i].rows, .cols = shapes[i].cols};
        layout.tile = shapes[i].tile;
        const size_t n = layout.rows * layout.cols;
        float *weights = new_weights(NORMAL, n);
        uint8_t *bytes = need(malloc(bitnet_layout_bytes(&layout)));
        for (size_t b = 0; b < COUNT(bad); b++) {
            const size_t at = b == 0 ? n - 1 : below(n);
            const float old = weights[at];
            weights[at] = from_bits(bad[b]);
            char want[80];
            snprintf(want, sizeof want, "value [%zu][%zu] is %s", at / layout.cols,
                     at % layout.cols, b < 3 ? "nan" : "infinite");
            for (size_t k = 0; k < 2; k++) {
                struct bitnet_error err;
                assert_int_equal(bitnet_quantizer_encode(&q[k], &layout, weights, bytes, &err),
                                 BITNET_FORMAT);
                assert_string_equal(err.text, want);
            }
            weights[at] = old;
        }
        free(weights), free(bytes);
    }
    bitnet_quantizer_close(&q[0]);
    bitnet_quantizer_close(&q[1]);
}

TEST(what_no_encoder_makes_is_refused)
{
    struct bitnet_quantizer q;
    struct bitnet_error err;
    float w[256] = {0};
    uint8_t bytes[1024];
    open_on(&q, &any, UINT32_MAX);
    struct bitnet_layout narrow = {.type = BITNET_DTYPE_i2_s, .rows = 1, .cols = 130};
    assert_int_equal(bitnet_quantizer_encode(&q, &narrow, w, bytes, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "130");
    bitnet_quantizer_close(&q);
}

/* ------------------------------------------------------------------ products */

static void check_multiply(struct bitnet_quantizer *q, const struct shape *s, enum weights kind,
                           size_t n)
{
    struct bitnet_layout layout = {.type = s->type, .rows = s->rows, .cols = s->cols};
    layout.tile = s->tile;
    struct bitnet_error err;
    if (bitnet_layout_check(&layout, &err)) fail_msg("%s", err.text);
    const size_t rows = s->rows, cols = s->cols, n_bytes = bitnet_layout_bytes(&layout);
    float *weights = new_weights(kind, rows * cols);
    uint8_t *bytes = encoded(q, &layout, weights);
    int8_t *x = need(malloc(n * cols)), *trits = need(malloc(rows * cols));
    float *scales = need(malloc(bitnet_scale_count(&layout) * 4)), *x_scales = random_floats(n);
    float *y = need(malloc(n * rows * 4));
    for (size_t i = 0; i < n * cols; i++) x[i] = (int8_t)((int)below(255) - 127);
    assert_int_equal(
        bitnet_codec(s->type)->decode_trits(&layout, bytes, n_bytes, trits, scales, &err),
        BITNET_OK);
    if (bitnet_quantizer_multiply(q, &layout, bytes, n_bytes, x, x_scales, n, y, &err))
        fail_msg("%s", err.text);
    const size_t per_row = bitnet_scale_count(&layout) / rows, n_blocks = per_row ? per_row : 1;
    bool is_one = true; /* scale for a row */
    for (size_t i = 0; i < rows * n_blocks; i++)
        is_one = is_one && (!per_row || scales[i] == scales[i / n_blocks * n_blocks]);
    const size_t width = is_one ? cols : cols / n_blocks;
    for (size_t t = 0; t < n; t++)
        for (size_t r = 0; r < rows; r++) {
            float want = 0;
            for (size_t b = 0; b < cols / width; b++) {
                int64_t sum = 0;
                for (size_t c = b * width; c < (b + 1) * width; c++)
                    sum += trits[r * cols + c] * x[t * cols + c];
                want += (float)sum / x_scales[t] * scales[per_row ? r * n_blocks + b : 0];
            }
            assert_true(y[t * rows + r] == want);
        }
    free(weights), free(bytes), free(x), free(trits), free(scales), free(x_scales), free(y);
}

TEST(products_are_exact_on_every_provider)
{
    struct bitnet_quantizer q[3];
    struct bitnet_quantizer_stats stats;
    open_on(&q[0], &any, UINT32_MAX);
    open_on(&q[1], &host, 0);
    open_on(&q[2], &host, UINT32_MAX);
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < 9; i++) { /* all but Q8_0 */
            check_multiply(&q[k], &shapes[i], TERNARY, 3);
            check_multiply(&q[k], &shapes[i], NORMAL, 1);
        }
    bitnet_quantizer_stats(&q[0], &stats);
    assert_true(stats.on_device[BITNET_QUANTIZER_MULTIPLY].calls > 9);
    for (size_t k = 0; k < 3; k++) bitnet_quantizer_close(&q[k]);
}

TEST(an_activation_of_minus_128_is_refused)
{
    struct bitnet_quantizer q;
    struct bitnet_error err;
    const struct bitnet_layout layout = {.type = BITNET_DTYPE_i2_s, .rows = 1, .cols = 128};
    float w[128] = {1}, y[2];
    int8_t x[256] = {0};
    open_on(&q, &host, 0);
    uint8_t *bytes = encoded(&q, &layout, w);
    x[130] = -128;
    assert_int_equal(bitnet_quantizer_multiply(&q, &layout, bytes, bitnet_layout_bytes(&layout), x,
                                               NULL, 2, y, &err),
                     BITNET_USAGE);
    assert_text_has(err.text, "[1][2]");
    free(bytes);
    bitnet_quantizer_close(&q);
}

/* ------------------------------------------------------------------ who did it */

TEST(the_provider_has_a_name_and_can_be_forced)
{
    struct bitnet_quantizer q;
    open_on(&q, &any, 0);
    assert_true(bitnet_quantizer_is_active(&q));
    assert_int_equal(bitnet_quantizer_device(&q).kind, BITNET_DEVICE_CUDA);
    assert_int_equal(strncmp(bitnet_quantizer_provider(&q), "cuda-sm", 7), 0);
    bitnet_quantizer_force_cpu(&q, true);
    assert_false(bitnet_quantizer_is_active(&q));
    assert_string_equal(bitnet_quantizer_provider(&q), "cpu-scalar");
    float w[128] = {1, -1};
    const struct bitnet_layout layout = {.type = BITNET_DTYPE_i2_s, .rows = 1, .cols = 128};
    free(encoded(&q, &layout, w));
    struct bitnet_quantizer_stats stats;
    bitnet_quantizer_stats(&q, &stats);
    assert_int_equal(stats.on_cpu[BITNET_QUANTIZER_ENCODE].calls, 1);
    assert_int_equal(stats.fallbacks, 0);
    bitnet_quantizer_force_cpu(&q, false);
    assert_true(bitnet_quantizer_is_active(&q));
    bitnet_quantizer_close(&q);
    open_on(&q, &host, 0);
    assert_false(bitnet_quantizer_is_active(&q));
    assert_string_equal(bitnet_quantizer_provider(&q), "cpu-scalar");
    bitnet_quantizer_close(&q);
}

/* Every allocation and every launch of a call fails once: the CPU steps in, the bytes are right,
 * and it is told. */
TEST(a_failure_of_the_device_is_a_fallback_that_is_told)
{
    struct bitnet_quantizer q;
    struct bitnet_quantizer_stats stats;
    float *w = new_weights(NORMAL, 256);
    const struct bitnet_layout layout = {.type = BITNET_DTYPE_i2_s, .rows = 1, .cols = 256};
    uint8_t *want = as_converted(&layout, w);
    open_on(&q, &any, UINT32_MAX);
    static const struct {
        enum bitnet_cuda_fault fault;
        uint64_t nth;
    } faults[] = {{BITNET_CUDA_FAULT_ALLOC, 1},
                  {BITNET_CUDA_FAULT_ALLOC, 2},
                  {BITNET_CUDA_FAULT_ALLOC, 3},
                  {BITNET_CUDA_FAULT_LAUNCH, 1},
                  {BITNET_CUDA_FAULT_LAUNCH, 2}};
    for (size_t i = 0; i < COUNT(faults); i++) {
        bitnet_quantizer_reset_stats(&q);
        q.api->inject(q.cuda, faults[i].fault, faults[i].nth);
        uint8_t *bytes = encoded(&q, &layout, w);
        assert_memory_equal(bytes, want, bitnet_layout_bytes(&layout));
        free(bytes);
        bitnet_quantizer_stats(&q, &stats);
        assert_int_equal(stats.fallbacks, 1);
        assert_true(stats.last_error[0] != 0);
        assert_int_equal(stats.on_cpu[BITNET_QUANTIZER_ENCODE].calls, 1);
        assert_int_equal(stats.on_device[BITNET_QUANTIZER_ENCODE].calls, 0);
        assert_true(bitnet_quantizer_device_share(&stats) == 0);
        char text[400];
        bitnet_quantizer_summary(&stats, text, sizeof text);
        assert_text_has(text, "1 fallback: ");
        assert_true(bitnet_quantizer_is_active(&q)); /* the next call tries again */
    }
    for (size_t i = 0; i < 9; i++) free(encoded(&q, &layout, w));
    bitnet_quantizer_stats(&q, &stats);
    assert_true(bitnet_quantizer_device_share(&stats) == 0.9);
    assert_true(bitnet_quantizer_is_device_effective(&stats));
    struct bitnet_cuda_stats device_stats;
    q.api->stats(q.cuda, &device_stats);
    assert_int_equal(device_stats.memory_used, 0);
    bitnet_quantizer_reset_stats(&q);
    bitnet_quantizer_stats(&q, &stats);
    assert_int_equal(stats.fallbacks + stats.on_device[0].calls + stats.on_cpu[0].calls, 0);
    assert_string_equal(stats.last_error, "");
    bitnet_quantizer_close(&q);
    free(w), free(want);
}

TEST(a_device_that_is_not_there_is_refused_or_passed_over)
{
    struct bitnet_cuda_plugin none = {.why = "no driver here"};
    const struct bitnet_device_choice third = {.kind = BITNET_DEVICE_CUDA, .index = 200};
    struct bitnet_quantizer q;
    struct bitnet_error err;
    assert_int_equal(bitnet_quantizer_open(&q, &third, &none, 0, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "no driver here");
    plugin.api = api;
    assert_int_equal(bitnet_quantizer_open(&q, &third, &plugin, 0, &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "cuda:200");
    assert_int_equal(bitnet_quantizer_open(&q, &any, &none, 0, &err), BITNET_OK);
    assert_string_equal(bitnet_quantizer_provider(&q), "cpu-scalar");
    bitnet_quantizer_close(&q);
    assert_int_equal(bitnet_quantizer_open(&q, &any, NULL, 0, &err), BITNET_OK);
    bitnet_quantizer_close(&q);
    assert_false(bitnet_device_is_available(&third, &plugin));
    assert_true(bitnet_device_is_available(&host, NULL));
}

TEST(a_device_tells_its_memory_and_capabilities)
{
    plugin.api = api;
    struct bitnet_device_info devices[2];
    assert_true(bitnet_devices(&plugin, devices, 2) >= 2);
    for (size_t i = 0; i < 2; i++) {
        struct bitnet_device_memory memory;
        struct bitnet_device_capabilities can;
        assert_true(bitnet_device_memory(&devices[i], &plugin, &memory));
        assert_true(memory.total > 0 && memory.free > 0);
        assert_int_equal(memory.used, memory.total - memory.free);
        assert_true(bitnet_device_capabilities(&devices[i], &plugin, &can));
        assert_true(can.max_threads >= 1);
        assert_int_equal(can.cpu, i == 0 ? bitnet_cpu_detect() : 0);
        assert_true(i == 0 || (can.compute_major >= 7 && can.int8_dot && can.n_multiprocessors));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_the_same_on_every_provider),
        cmocka_unit_test(half_the_scale_is_rounded_to_even),
        cmocka_unit_test(what_is_not_finite_is_refused_by_its_place_on_every_provider),
        cmocka_unit_test(what_no_encoder_makes_is_refused),
        cmocka_unit_test(products_are_exact_on_every_provider),
        cmocka_unit_test(an_activation_of_minus_128_is_refused),
        cmocka_unit_test(the_provider_has_a_name_and_can_be_forced),
        cmocka_unit_test(a_failure_of_the_device_is_a_fallback_that_is_told),
        cmocka_unit_test(a_device_that_is_not_there_is_refused_or_passed_over),
        cmocka_unit_test(a_device_tells_its_memory_and_capabilities),
    };
    return cmocka_run_group_tests_name("cuda quantizer", tests, open_device, close_device);
}
