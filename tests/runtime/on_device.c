#include "on_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const int32_t some_tokens[N_TOKENS] = {1, 20, 33, 47, 5, 250, 12, 8, 100, 2, 77};
const struct bitnet_device_choice cuda0 = {.kind = BITNET_DEVICE_CUDA};

const char *cuda_plugin_path(void)
{
    const char *given = getenv("BITNET_CUDA_PLUGIN");
    return given ? given : PLUGIN;
}

bool device_is_there(void)
{
    struct bitnet_cuda_plugin plugin;
    struct bitnet_device_info device;
    struct bitnet_error err = {0};
    bitnet_cuda_plugin_open(&plugin, cuda_plugin_path());
    const bool is_there = bitnet_device_pick(&cuda0, &plugin, &device, &err) == BITNET_OK;
    bitnet_cuda_plugin_close(&plugin);
    if (!is_there) print_message("[  SKIPPED ] no device: %s\n", err.text);
    return is_there;
}

struct run on_device(void)
{
    return (struct run){.device = &cuda0, .cuda_plugin = cuda_plugin_path()};
}

void write_typed(const struct tiny_model *m, enum bitnet_dtype linear, enum bitnet_dtype embed,
                 char *path, size_t n)
{
    const struct tiny_file file = {.linear = linear,
                                   .embed = embed,
                                   .dialect = linear == BITNET_DTYPE_i2_s ||
                                                      linear == BITNET_DTYPE_tl1 ||
                                                      linear == BITNET_DTYPE_tl2
                                                  ? BITNET_DIALECT_BITNETCPP
                                                  : BITNET_DIALECT_GGML};
    tiny_path(path, n, bitnet_dtype_info(linear)->name);
    assert_true(tiny_model_write(m, path, &file));
}

struct difference against_cpu(const char *path, size_t n_tokens, size_t n_vocab,
                              bool float_activations)
{
    struct run here = {.float_activations = float_activations}, there = on_device();
    there.float_activations = float_activations;
    float *want = run_model(path, some_tokens, n_tokens, &here);
    float *got = run_model(path, some_tokens, n_tokens, &there);
    double *exact = calloc(n_tokens * n_vocab, sizeof *exact);
    for (size_t i = 0; i < n_tokens * n_vocab; i++) exact[i] = (double)want[i];
    struct difference d = compare_logits(got, exact, n_tokens, n_vocab);
    print_message("%s, %s: max %.3g rms %.3g of %.3g, other best %zu\n", path,
                  float_activations ? "float" : "int8", d.max, d.rms, d.spread, d.n_other_best);
    free(exact);
    free(want);
    free(got);
    return d;
}

void assert_near(const struct tiny_spec *spec, enum bitnet_dtype linear, enum bitnet_dtype embed,
                 size_t n_tokens, bool float_activations)
{
    char path[200];
    struct tiny_model *m = tiny_model_new(spec);
    write_typed(m, linear, embed, path, sizeof path);
    struct difference d = against_cpu(path, n_tokens, spec->n_vocab, float_activations);
    unlink(path);
    tiny_model_free(m);
    assert_true(d.spread > 1);
    assert_true(float_activations ? d.max <= 1e-3 * d.spread : d.rms <= 0.03 * d.spread);
    assert_int_equal(d.n_other_best, 0);
}
