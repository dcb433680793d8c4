/* Where a model goes: to the device, or to the CPU with a reason that is told once, or nowhere,
 * which is an error of the documented kind. The device is emulated (tests/kernels/cuda), so that it
 * can lack whatever a test wants. */
#include "on_device.h"

#include "context.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct bitnet_device_choice automatic = {.kind = BITNET_DEVICE_AUTO};
static const struct bitnet_device_choice cpu = {.kind = BITNET_DEVICE_CPU};

/* ------------------------------------------------------------------ the machine */

static void *library;

static void configure(void)
{
    void (*again)(void) = NULL;
    void *symbol = dlsym(library, "emulated_configure");
    assert_non_null(symbol);
    memcpy(&again, &symbol, sizeof again);
    again();
}

/* "BITNET_EMULATED_MEMORY=1000000" and the like, until as_built(). */
static void machine_has(const char *what, unsigned long long value)
{
    char name[64], text[32];
    snprintf(name, sizeof name, "BITNET_EMULATED_%s", what);
    snprintf(text, sizeof text, "%llu", value);
    setenv(name, text, 1);
    configure();
}

static int as_built(void **state)
{
    (void)state;
    unsetenv("BITNET_EMULATED_DEVICES");
    unsetenv("BITNET_EMULATED_MEMORY");
    unsetenv("BITNET_EMULATED_THREADS");
    configure();
    return 0;
}

static int open_library(void **state)
{
    library = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
    if (!library) return 1;
    return as_built(state);
}

/* ------------------------------------------------------------------ opening and listening */

struct heard {
    char lines[2048]; /* warnings, one after the other */
    size_t n_warnings;
};

static void listen(void *user, enum bitnet_log_level level, const char *text)
{
    struct heard *heard = user;
    if (level != BITNET_LOG_WARNING) return;
    heard->n_warnings++;
    strncat(heard->lines, text, sizeof heard->lines - strlen(heard->lines) - 2);
    strcat(heard->lines, "\n");
}

static char path[200];
static struct tiny_spec spec;

static void write_dense(enum bitnet_dtype linear, enum bitnet_dtype embed)
{
    spec = tiny_spec_llama();
    spec.n_layers = 1;
    struct tiny_model *m = tiny_model_new(&spec);
    if (linear != BITNET_DTYPE_i2_s) tiny_model_make_dense(m, linear);
    write_typed(m, linear, embed, path, sizeof path);
    tiny_model_free(m);
}

struct opened {
    struct heard heard;
    struct bitnet_log log;
    struct bitnet_model *model; /* NULL: it failed */
    enum bitnet_status status;
    struct bitnet_error err;
};

static void open_with(struct opened *o, struct bitnet_model_options options)
{
    memset(o, 0, sizeof *o);
    o->log = (struct bitnet_log){.say = listen, .user = &o->heard};
    options.log = &o->log;
    if (!options.cuda_plugin) options.cuda_plugin = PLUGIN;
    o->status = bitnet_model_open(&o->model, path, &options, &o->err);
    assert_true((o->status == BITNET_OK) == (o->model != NULL));
}

static void assert_on_cpu(const struct opened *o, size_t n_warnings, const char *reason)
{
    if (o->status) fail_msg("%s", o->err.text);
    assert_string_equal(bitnet_model_device(o->model), "cpu");
    assert_int_equal(o->heard.n_warnings, n_warnings);
    if (!strstr(bitnet_model_device_reason(o->model), reason))
        fail_msg("the reason is: %s", bitnet_model_device_reason(o->model));
    if (n_warnings) assert_non_null(strstr(o->heard.lines, reason));
}

static void assert_fails(const struct opened *o, enum bitnet_status status, const char *text)
{
    assert_int_equal(o->status, status);
    if (!strstr(o->err.text, text)) fail_msg("the error is: %s", o->err.text);
}

/* ------------------------------------------------------------------ what there is */

TEST(auto_takes_the_device_that_is_there)
{
    struct opened o;
    write_dense(BITNET_DTYPE_i2_s, BITNET_DTYPE_f16);
    open_with(&o, (struct bitnet_model_options){.device = &automatic});
    assert_int_equal(o.status, BITNET_OK);
    assert_string_equal(bitnet_model_device(o.model), "cuda:0");
    assert_string_equal(bitnet_model_kernels(o.model), "cuda-sm90");
    assert_string_equal(bitnet_model_device_reason(o.model), "");
    assert_int_equal(o.heard.n_warnings, 0);
    bitnet_model_close(o.model);
    open_with(&o, (struct bitnet_model_options){.device = &cpu});
    assert_on_cpu(&o, 0, "");
    bitnet_model_close(o.model);
    open_with(&o, (struct bitnet_model_options){0});
    assert_on_cpu(&o, 0, "");
    bitnet_model_close(o.model);
    unlink(path);
}

/* Nothing was asked for, so there is nothing to warn of; the reason can be read. */
TEST(without_plugin_driver_or_device_auto_takes_the_cpu)
{
    const struct bitnet_device_choice second = {.kind = BITNET_DEVICE_CUDA, .index = 1};
    struct opened o;
    write_dense(BITNET_DTYPE_i2_s, BITNET_DTYPE_f16);
    open_with(&o, (struct bitnet_model_options){.device = &automatic, .cuda_plugin = "/none.so"});
    assert_on_cpu(&o, 0, "/none.so");
    bitnet_model_close(o.model);
    open_with(&o, (struct bitnet_model_options){.device = &cuda0, .cuda_plugin = "/none.so"});
    assert_fails(&o, BITNET_UNSUPPORTED, "/none.so");
    machine_has("DEVICES", 0);
    open_with(&o, (struct bitnet_model_options){.device = &automatic});
    assert_on_cpu(&o, 0, "no CUDA-capable device");
    bitnet_model_close(o.model);
    open_with(&o, (struct bitnet_model_options){.device = &cuda0});
    assert_fails(&o, BITNET_UNSUPPORTED, "cuda:0");
    machine_has("DEVICES", 1);
    open_with(&o, (struct bitnet_model_options){.device = &second});
    assert_fails(&o, BITNET_UNSUPPORTED, "there is no cuda:1");
    unlink(path);
}

/* ------------------------------------------------------------------ memory and launches */

TEST(a_device_without_memory_leaves_the_model_to_the_cpu_or_is_an_error)
{
    struct opened o;
    write_dense(BITNET_DTYPE_i2_s, BITNET_DTYPE_f16);
    open_with(&o, (struct bitnet_model_options){.device = &cuda0});
    const uint64_t need = bitnet_model_packed_bytes(o.model);
    bitnet_model_close(o.model);
    /* 10: seen before anything is sent. Else at the first allocation, and so on, to the last. */
    for (uint64_t tenths = 1; tenths <= 9; tenths++) {
        machine_has("MEMORY", need * tenths / 10);
        open_with(&o, (struct bitnet_model_options){.device = &automatic});
        assert_on_cpu(&o, 1, "cuda:0");
        bitnet_model_close(o.model);
        open_with(&o, (struct bitnet_model_options){.device = &cuda0});
        assert_fails(&o, BITNET_MEMORY, "cuda:0");
    }
    machine_has("MEMORY", 2 * need);
    open_with(&o, (struct bitnet_model_options){.device = &automatic});
    assert_string_equal(bitnet_model_device(o.model), "cuda:0");
    bitnet_model_close(o.model);
    unlink(path);
}

TEST(a_device_that_refuses_launches_leaves_the_model_to_the_cpu_or_is_an_error)
{
    struct opened o;
    write_dense(BITNET_DTYPE_i2_s, BITNET_DTYPE_f16);
    machine_has("THREADS", 1);
    open_with(&o, (struct bitnet_model_options){.device = &automatic});
    assert_on_cpu(&o, 1, "pack");
    struct bitnet_context *context = NULL;
    struct bitnet_device_stats stats;
    assert_int_equal(bitnet_context_new(&context, o.model, NULL, NULL), BITNET_OK);
    assert_int_equal(bitnet_eval(context, some_tokens, 3, NULL), BITNET_OK);
    bitnet_context_device_stats(context, &stats);
    assert_int_equal(stats.n_fallbacks, 1);
    assert_true(stats.last_error[0] != '\0' && stats.device_share == 0);
    assert_int_equal(stats.n_tokens, 3);
    bitnet_context_free(context);
    bitnet_model_close(o.model);
    open_with(&o, (struct bitnet_model_options){.device = &cuda0});
    assert_fails(&o, BITNET_DEVICE, "pack");
    unlink(path);
}

/* ------------------------------------------------------------------ kernels */

/* 7 linear layers and nothing else have a type that no kernel reads. */
TEST(a_type_without_a_kernel_is_told_once_with_operation_type_and_count)
{
    static const struct bitnet_device_choice *const devices[] = {&cuda0, &automatic, &cpu};
    static const char *const said = "has no kernel for products of type IQ2_S: 7 tensors";
    struct opened o;
    write_dense(BITNET_DTYPE_iq2_s, BITNET_DTYPE_f16);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        open_with(&o, (struct bitnet_model_options){.device = devices[i]});
        assert_int_equal(o.status, BITNET_OK);
        assert_int_equal(o.heard.n_warnings, 1);
        assert_non_null(strstr(o.heard.lines, said));
        assert_non_null(strstr(o.heard.lines, i < 2 ? "cuda:0" : "the CPU"));
        bitnet_model_close(o.model);
        open_with(&o, (struct bitnet_model_options){.device = devices[i], .strict_device = true});
        assert_fails(&o, BITNET_UNSUPPORTED, said);
        assert_int_equal(bitnet_status_exit_code(o.status), 3);
    }
    unlink(path);
}

TEST(an_operation_without_a_kernel_leaves_the_model_to_the_cpu_or_is_an_error)
{
    struct opened o;
    struct bitnet_model_options options = {.device = &cuda0, .quantized_cache = true};
    write_dense(BITNET_DTYPE_i2_s, BITNET_DTYPE_f16);
    open_with(&o, options);
    assert_on_cpu(&o, 1, "cuda:0 has no kernel for attention over a cache of type q8_0");
    bitnet_model_close(o.model);
    options.strict_device = true;
    open_with(&o, options);
    assert_fails(&o, BITNET_UNSUPPORTED, "q8_0");
    unlink(path);
    spec = tiny_spec_llama();
    spec.n_layers = 1;
    spec.head_dim = spec.n_rot = 512;
    spec.n_heads = spec.n_kv_heads = 1;
    struct tiny_model *m = tiny_model_new(&spec);
    write_typed(m, BITNET_DTYPE_i2_s, BITNET_DTYPE_f16, path, sizeof path);
    tiny_model_free(m);
    open_with(&o, (struct bitnet_model_options){.device = &automatic});
    assert_on_cpu(&o, 1, "attention with heads of 512 numbers (1 layers)");
    bitnet_model_close(o.model);
    open_with(&o, (struct bitnet_model_options){.device = &automatic, .strict_device = true});
    assert_fails(&o, BITNET_UNSUPPORTED, "heads of 512");
    unlink(path);
}

TEST(every_type_of_a_bitnet_file_has_its_kernel_there)
{
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_i2_s, BITNET_DTYPE_tl1, BITNET_DTYPE_tl2,
                                              BITNET_DTYPE_tq1_0, BITNET_DTYPE_tq2_0};
    struct opened o;
    spec = tiny_spec_b158();
    spec.n_layers = 1;
    struct tiny_model *m = tiny_model_new(&spec);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        write_typed(m, types[i], BITNET_DTYPE_q6_k, path, sizeof path);
        open_with(&o, (struct bitnet_model_options){.device = &cuda0, .strict_device = true});
        if (o.status) fail_msg("%s", o.err.text);
        assert_int_equal(o.heard.n_warnings, 0);
        bitnet_model_close(o.model);
        unlink(path);
    }
    tiny_model_free(m);
}

/* ------------------------------------------------------------------ what it tells */

TEST(a_context_tells_what_its_device_did)
{
    struct opened o;
    struct bitnet_context *context = NULL;
    struct bitnet_device_stats stats;
    char text[400];
    write_dense(BITNET_DTYPE_i2_s, BITNET_DTYPE_f16);
    open_with(&o, (struct bitnet_model_options){.device = &cuda0});
    assert_int_equal(bitnet_context_new(&context, o.model, NULL, NULL), BITNET_OK);
    assert_int_equal(bitnet_eval(context, some_tokens, 3, NULL), BITNET_OK);
    for (size_t i = 3; i < 6; i++)
        assert_int_equal(bitnet_eval(context, some_tokens + i, 1, NULL), BITNET_OK);
    assert_int_equal(bitnet_context_sync(context, NULL), BITNET_OK);
    assert_non_null(bitnet_context_native_stream(context));
    bitnet_context_device_stats(context, &stats);
    assert_string_equal(stats.device, "cuda:0");
    assert_true(stats.device_share == 1 && stats.n_fallbacks == 0 && stats.last_error[0] == '\0');
    assert_int_equal(stats.n_steps, 4);
    assert_int_equal(stats.n_tokens, 6);
    assert_int_equal(stats.n_graph_launches, 4);
    assert_true(stats.memory_used > 0 && stats.memory_used <= stats.memory_total);
    bitnet_device_stats_text(&stats, text, sizeof text);
    assert_non_null(strstr(text, "cuda:0: 4 steps, 6 tokens"));
    bitnet_context_reset_device_stats(context);
    bitnet_context_device_stats(context, &stats);
    assert_int_equal(stats.n_steps + stats.n_tokens + stats.n_graph_launches, 0);
    assert_true(stats.memory_used > 0);
    bitnet_context_free(context);
    bitnet_model_close(o.model);
    unlink(path);
}

int main(void)
{
#define IN(test) cmocka_unit_test_setup_teardown(test, as_built, as_built)
    const struct CMUnitTest tests[] = {
        IN(auto_takes_the_device_that_is_there),
        IN(without_plugin_driver_or_device_auto_takes_the_cpu),
        IN(a_device_without_memory_leaves_the_model_to_the_cpu_or_is_an_error),
        IN(a_device_that_refuses_launches_leaves_the_model_to_the_cpu_or_is_an_error),
        IN(a_type_without_a_kernel_is_told_once_with_operation_type_and_count),
        IN(an_operation_without_a_kernel_leaves_the_model_to_the_cpu_or_is_an_error),
        IN(every_type_of_a_bitnet_file_has_its_kernel_there),
        IN(a_context_tells_what_its_device_did),
    };
    return cmocka_run_group_tests(tests, open_library, NULL);
}
