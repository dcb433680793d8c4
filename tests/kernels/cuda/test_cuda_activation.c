/* Norms, quantization, gates and the greedy choice of the CUDA plug-in against the CPU's scalar
 * set: equal bits. */
#include "cuda_support.h"

static void check_norm(size_t width, size_t n, bool with_norm, bool in_place)
{
    size_t stride = width + 5;
    float *x = random_floats(n * stride), *w = random_floats(width);
    float *y = need(malloc(n * stride * 4)), *want = need(malloc((width + 128) * 4));
    float *dx = floats_on_device(x, n * stride), *dw = floats_on_device(w, width);
    float *dy = in_place ? dx : need(api->alloc(device, n * stride * 4));
    struct codes codes = new_codes(width, n);
    good(api->norm(device, vectors(dx, width, stride), with_norm ? dw : NULL, 1e-5f, n,
                   vectors(dy, width, stride), codes.device));
    read_floats(y, dy, n * stride);
    uint32_t *words = need(malloc(n * codes.words * 4));
    float *scales = need(malloc(n * 4));
    int32_t *sums = need(malloc(n * 4));
    good(api->read(device, words, codes.device.words, n * codes.words * 4));
    good(api->read(device, scales, codes.device.scales, n * 4));
    good(api->read(device, sums, codes.device.sums, n * 4));
    int8_t *q = need(malloc(width + 128));
    for (size_t t = 0; t < n; t++) {
        if (with_norm)
            cpu.rms_norm(x + t * stride, w, width, 1e-5f, want);
        else
            memcpy(want, x + t * stride, width * 4);
        assert_same_bits(y + t * stride, want, width, "norm");
        float scale = cpu.quantize_row_i8(want, width, q);
        assert_same_bits(&scales[t], &scale, 1, "scale");
        int32_t sum = 0;
        for (size_t c = 0; c < width; c++) sum += q[c];
        assert_int_equal(sums[t], sum);
        for (size_t word = 0; word < codes.words; word++)
            for (size_t b = 0; b < 4; b++) {
                size_t c = device_code_column(word) + b;
                int8_t got = (int8_t)(words[t * codes.words + word] >> 8 * b);
                assert_int_equal(got, c < width ? q[c] : 0);
            }
    }
    api->free(device, dx), api->free(device, dw);
    if (!in_place) api->free(device, dy);
    free_codes(&codes);
    free(x), free(w), free(y), free(want), free(words), free(scales), free(sums), free(q);
}

TEST(norm_and_quantization_are_the_cpus)
{
    static const size_t widths[] = {1, 31, 128, 129, 640, 2560};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        check_norm(widths[i], 3, true, false);
        check_norm(widths[i], 2, true, true);
        check_norm(widths[i], 2, false, false);
    }
}

/* What the fused verbs add to a norm: the same bits as one verb after the other. */
TEST(fused_norms_are_their_parts)
{
    enum { N = 3 };
    static const size_t widths[] = {5, 128, 700, 2560};
    for (size_t i = 0; i < COUNT(widths); i++) {
        const size_t width = widths[i], n = N * width;
        float *x = random_floats(n), *other = random_floats(n), *w = random_floats(width);
        float *dx = floats_on_device(x, n), *da = floats_on_device(other, n);
        float *dw = floats_on_device(w, width), *dy = need(api->alloc(device, n * 4));
        float *parts = need(malloc(n * 4)), *fused = need(malloc(n * 4));
        const struct bitnet_cuda_vectors vx = vectors(dx, width, width),
                                         va = vectors(da, width, width),
                                         vy = vectors(dy, width, width);
        struct codes a = new_codes(width, N), b = new_codes(width, N);
        uint32_t *wa = need(malloc(N * a.words * 4)), *wb = need(malloc(N * a.words * 4));
        for (int act = -1; act <= BITNET_CUDA_GELU; act++) {
            good(api->write(device, dx, x, n * 4));
            good(act < 0 ? api->add(device, vx, va, N)
                         : api->gate(device, (enum bitnet_cuda_gate)act, vx, va, N));
            good(api->norm(device, vx, dw, 1e-5f, N, vy, a.device));
            read_floats(parts, dy, n);
            good(api->write(device, dx, x, n * 4));
            good(act < 0 ? api->add_norm(device, vx, va, dw, 1e-5f, N, vy, b.device)
                         : api->gate_norm(device, (enum bitnet_cuda_gate)act, vx, va, dw, 1e-5f, N,
                                          vy, b.device));
            read_floats(fused, dy, n);
            assert_same_bits(fused, parts, n, act < 0 ? "add and norm" : "gate and norm");
            good(api->read(device, wa, a.device.words, N * a.words * 4));
            good(api->read(device, wb, b.device.words, N * a.words * 4));
            assert_memory_equal(wa, wb, N * a.words * 4);
            if (act < 0) { /* the sum stays in x */
                read_floats(fused, dx, n);
                for (size_t k = 0; k < n; k++) parts[k] = x[k] + other[k];
                assert_same_bits(fused, parts, n, "sum");
            }
        }
        api->free(device, dx), api->free(device, da), api->free(device, dw);
        api->free(device, dy);
        free_codes(&a), free_codes(&b);
        free(x), free(other), free(w), free(parts), free(fused), free(wa), free(wb);
    }
}

TEST(norms_of_heads_are_the_cpus)
{
    static const size_t dims[] = {20, 64, 128, 256};
    enum { N = 2, N_HEADS = 9 };
    for (size_t i = 0; i < COUNT(dims); i++) {
        const size_t dim = dims[i], width = N_HEADS * dim, stride = width + 4;
        float *x = random_floats(N * stride), *w = random_floats(dim);
        float *dx = floats_on_device(x, N * stride), *dw = floats_on_device(w, dim);
        float *got = need(malloc(N * stride * 4));
        good(api->norm_heads(device, vectors(dx, width, stride), N_HEADS, dw, 1e-6f, N));
        read_floats(got, dx, N * stride);
        for (size_t t = 0; t < N; t++)
            for (size_t head = 0; head < N_HEADS; head++) {
                float *at = x + t * stride + head * dim;
                cpu.rms_norm(at, w, dim, 1e-6f, at);
            }
        assert_same_bits(got, x, N * stride, "norm of heads");
        api->free(device, dx), api->free(device, dw);
        free(x), free(w), free(got);
    }
}

TEST(a_nan_or_an_infinity_gives_a_nan_scale_and_no_codes)
{
    float x[64];
    for (size_t bad = 0; bad < 2; bad++) {
        for (size_t i = 0; i < 64; i++) x[i] = (float)i;
        x[63 * bad] = bad ? INFINITY : NAN;
        float *dx = floats_on_device(x, 64);
        struct codes codes = new_codes(64, 1);
        good(api->norm(device, vectors(dx, 64, 64), NULL, 0, 1, vectors(NULL, 64, 64),
                       codes.device));
        float scale;
        uint32_t words[32];
        read_floats(&scale, codes.device.scales, 1);
        good(api->read(device, words, codes.device.words, sizeof words));
        assert_true(isnan(scale));
        for (size_t i = 0; i < 32; i++) assert_int_equal(words[i], 0);
        free_codes(&codes);
        api->free(device, dx);
    }
}

/* ------------------------------------------------------------------ element by element */

TEST(gates_are_the_cpus)
{
    bitnet_gate_fn *const on_cpu[] = {cpu.gate_silu, cpu.gate_relu2, cpu.gate_gelu};
    enum { WIDTH = 700, N = 3 };
    for (int act = BITNET_CUDA_SILU; act <= BITNET_CUDA_GELU; act++) {
        float *gate = random_floats(N * WIDTH), *up = random_floats(N * WIDTH), y[N * WIDTH];
        for (size_t i = 0; i < 20; i++) gate[i] = (float)((int)i - 10) * 20.0f;
        float *dg = floats_on_device(gate, N * WIDTH), *du = floats_on_device(up, N * WIDTH);
        good(api->gate(device, (enum bitnet_cuda_gate)act, vectors(dg, WIDTH, WIDTH),
                       vectors(du, WIDTH, WIDTH), N));
        read_floats(y, dg, N * WIDTH);
        on_cpu[act](gate, up, N * WIDTH);
        assert_same_bits(y, gate, N * WIDTH, "gate");
        api->free(device, dg), api->free(device, du);
        free(gate), free(up);
    }
}

TEST(sums_are_the_cpus)
{
    enum { WIDTH = 300, STRIDE = 320, N = 2 };
    float *x = random_floats(N * STRIDE), *y = random_floats(N * STRIDE), got[N * STRIDE];
    float *dx = floats_on_device(x, N * STRIDE), *dy = floats_on_device(y, N * STRIDE);
    good(api->add(device, vectors(dx, WIDTH, STRIDE), vectors(dy, WIDTH, STRIDE), N));
    read_floats(got, dx, N * STRIDE);
    for (size_t t = 0; t < N; t++) cpu.add(x + t * STRIDE, y + t * STRIDE, WIDTH);
    assert_same_bits(got, x, N * STRIDE, "add");
    api->free(device, dx), api->free(device, dy);
    free(x), free(y);
}

TEST(the_greedy_choice_is_the_lowest_id_of_the_largest_logit)
{
    enum { WIDTH = 5000, N = 4 };
    float *logits = random_floats(N * WIDTH);
    logits[77] = logits[4321] = 9;
    logits[WIDTH + 4999] = 9;
    for (size_t i = 0; i < WIDTH; i++)
        logits[2 * WIDTH + i] = i == 3 ? -0.0f : i == 900 ? 0.0f : -1;
    logits[3 * WIDTH + 10] = NAN;
    float *dl = floats_on_device(logits, N * WIDTH);
    int32_t ids[N], *di = need(api->alloc(device, sizeof ids));
    good(api->argmax(device, vectors(dl, WIDTH, WIDTH), N, di));
    good(api->read(device, ids, di, sizeof ids));
    assert_int_equal(ids[0], 77);
    assert_int_equal(ids[1], 4999);
    assert_int_equal(ids[2], 3);
    assert_int_equal(ids[3], -1);
    api->free(device, dl), api->free(device, di);
    free(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_and_quantization_are_the_cpus),
        cmocka_unit_test(fused_norms_are_their_parts),
        cmocka_unit_test(norms_of_heads_are_the_cpus),
        cmocka_unit_test(a_nan_or_an_infinity_gives_a_nan_scale_and_no_codes),
        cmocka_unit_test(gates_are_the_cpus),
        cmocka_unit_test(sums_are_the_cpus),
        cmocka_unit_test(the_greedy_choice_is_the_lowest_id_of_the_largest_logit),
    };
    return cmocka_run_group_tests_name("cuda activation", tests, open_device, close_device);
}
